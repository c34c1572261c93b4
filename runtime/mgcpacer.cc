// mgcpacer.cc: when a collection begins, and how its work is shared out. Follows Go's gcControllerState (1.12 to 1.17).
//
// The goal of a cycle: as much again as the last one kept, in hundredths by GOGC, at least 4 MiB × GOGC / 100, and at least
// 1 MiB more than was kept, so that there is something to sweep in between (GOGC=0 would collect at each allocation). Since the
// program allocates while the cycle marks, it has to begin earlier, at `trigger`. How much earlier, as a part of what
// was kept, is triggerRatio: each cycle sees how far the heap has grown at its end and how much of the CPU it took, and
// moves the ratio half of the way to what would have been right (endCycle).
//
// Who marks: background workers have a quarter of the Ps. Of n Ps that is n / 4 dedicated workers; where that is far
// from a whole number, one fewer, and fractional workers, which take the rest of the share in time slices on every P.
// Workers also run on Ps that have nothing else to do. And who allocates has to work along, if that does not suffice:
// for each byte assistWorkPerByte bytes of scanning, which is the work that is left (as far as known: what was
// scannable at the beginning, at the rate at which it survives) over the bytes that are left until the goal. revise
// computes it anew whenever either has changed.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

gcControllerState gcController = {.gcPercent = 100,
                                  .heapMinimum = 4 << 20,
                                  .heapMarked = 0,
                                  .heapGoal = ~uint64(0),
                                  .trigger = ~uint64(0),
                                  .triggerRatio = 7.0 / 8,
                                  .scanWork = {},
                                  .bgScanCredit = {},
                                  .markStartTime = 0,
                                  .dedicatedMarkWorkersNeeded = {},
                                  .fractionalUtilizationGoal = 0,
                                  .assistWorkPerByte = 0,
                                  .assistBytesPerWork = 0};

constexpr uint64 defaultHeapMinimum = 4 << 20;
constexpr uint64 sweepMinHeapDistance = 1 << 20;
constexpr double gcBackgroundUtilization = 0.25;
constexpr double gcGoalUtilization = 0.30;  // assists included

static void storedouble(double& at, double v) { __atomic_store(&at, &v, __ATOMIC_RELAXED); }

// Whether a collection is due, or no longer.
bool gcTrigger::test() const {
  if (gcphase.load(__ATOMIC_RELAXED) != GCoff) return false;
  if (kind == heap) return load_relaxed(memstats.heap_live) >= load_relaxed(gcController.trigger);
  if (kind == time)
    return load_relaxed(gcController.gcPercent) >= 0 && load_relaxed(work.tEnd) != 0 &&
           nanotime() - load_relaxed(work.tEnd) > load_relaxed(forcegcperiod);
  return int32(n - load_relaxed(work.cycles)) > 0;
}

// From heapMarked, gcPercent and triggerRatio. With gcsema, or the world stopped.
void gcControllerState::setTrigger() {
  int32 percent = load_relaxed(gcPercent);
  if (percent < 0) {
    store_relaxed(heapGoal, ~uint64(0));
    store_relaxed(trigger, ~uint64(0));
    return;
  }
  heapMinimum = defaultHeapMinimum * uint64(percent) / 100;
  uint64 goal = heapMarked + heapMarked * uint64(percent) / 100;
  double least = 0.6 * percent / 100, most = 0.95 * percent / 100;
  if (triggerRatio < least) triggerRatio = least;
  if (triggerRatio > most) triggerRatio = most;
  uint64 at = debug.gcstoptheworld != 0 ? goal : heapMarked + uint64(double(heapMarked) * triggerRatio);
  if (at < heapMinimum) at = heapMinimum;
  if (at < heapMarked + sweepMinHeapDistance) at = heapMarked + sweepMinHeapDistance;
  if (goal < at) goal = at;
  store_relaxed(heapGoal, goal);
  store_relaxed(trigger, at);
}

// The world is stopped, and marking begins.
void gcControllerState::startCycle() {
  for (atomic<int64>* n : {&scanWork, &bgScanCredit, &work.assistTime, &work.dedicatedMarkTime,
                           &work.fractionalMarkTime, &work.idleMarkTime})
    n->store(0, __ATOMIC_RELAXED);
  markStartTime = nanotime();
  // A cycle that begins late, or by request, has little left until its goal: nobody shall have to do all of it at once.
  constexpr uint64 leastdistance = 1 << 20;
  uint64 live = load_relaxed(memstats.heap_live);
  if (heapGoal != ~uint64(0) && heapGoal < live + leastdistance) store_relaxed(heapGoal, live + leastdistance);
  double total = double(gomaxprocs) * gcBackgroundUtilization;
  int64 dedicated = int64(total + 0.5);
  double error = double(dedicated) / total - 1;
  double fractional = 0;
  if (error < -0.3 || error > 0.3) {
    if (double(dedicated) > total) dedicated--;
    fractional = (total - double(dedicated)) / double(gomaxprocs);
  }
  dedicatedMarkWorkersNeeded.store(dedicated, __ATOMIC_RELAXED);
  storedouble(fractionalUtilizationGoal, fractional);
  for (int64 i = 0; i < nallp(); i++) {
    allp.array[i]->gcFractionalMarkTime = 0;
    allp.array[i]->gcAssistTime = 0;
  }
  revise();
}

// From any P, at any time of the mark phase: what is read is a little old, which does no harm.
void gcControllerState::revise() {
  int32 percent = load_relaxed(gcPercent);
  if (percent < 0) percent = 100000;
  uint64 live = load_relaxed(memstats.heap_live), goal = load_relaxed(heapGoal);
  double scannable = double(load_relaxed(memstats.heap_scan));
  // What survives in the steady state, of the part that was there at the beginning.
  double expected = scannable * 100 / (100 + percent);
  if (live > goal) {
    // Past it already: a tenth more may be used, and nothing may be taken for dead.
    goal = uint64(double(goal) * 1.1);
    expected = scannable;
  }
  double left = expected - double(scanWork.load(__ATOMIC_RELAXED));
  if (left < 1000) left = 1000;
  double distance = goal == ~uint64(0) ? double(uint64(1) << heapAddrBits) : double(int64(goal - live));
  if (distance < 1) distance = 1;
  storedouble(assistWorkPerByte, left / distance);
  storedouble(assistBytesPerWork, distance / left);
}

// All is marked, heapMarked is still that of the cycle before.
void gcControllerState::endCycle() {
  int32 percent = load_relaxed(gcPercent);
  if (work.userForced != 0 || percent < 0 || heapMarked == 0 || work.stopped != 0) return;
  double grown = double(work.heap1) / double(heapMarked) - 1, wanted = double(percent) / 100;
  double utilization = gcBackgroundUtilization;
  int64 duration = nanotime() - markStartTime;
  if (duration > 0) utilization += double(work.assistTime.load(__ATOMIC_RELAXED)) / (double(duration) * gomaxprocs);
  double error = wanted - triggerRatio - utilization / gcGoalUtilization * (grown - triggerRatio);
  triggerRatio += error / 2;
}

}  // namespace vitrine::rt
