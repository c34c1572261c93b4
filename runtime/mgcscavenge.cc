// mgcscavenge.cc: what the collector does over time, not when somebody allocates: free memory goes back to the system, and
// a program that makes little is collected every two minutes all the same. Follows Go's mgcscavenge.go (1.13) and the
// forcegc part of proc.go.
//
// bgscavenge gives back what the heap holds beyond what the next cycle will need: after each cycle gcPaceScavenger sets
// scavenge.goal to what was in use at the end of marking, scaled as the heap's goal grew, and a tenth more. While
// heapRetained is above it, bgscavenge gives back a piece, largest free spans first, and parks; sysmon readies it again
// after scavengePause. Unlike Go: no timer, which would keep a deadlock from being seen and an idle program awake.
//
// forcegchelper is readied by sysmon when the last cycle is forcegcperiod ago, and starts one. A program that is idle
// sleeps as deeply as any other: sysmon looks once a minute then.
//
// Parking: `parked` is set under the lock that goparkunlock releases once the status is Gwaiting; who sees it set, under
// the lock, clears it and may ready the goroutine.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

scavengedata scavenge;
forcegcstate forcegc;
int64 forcegcperiod = 120'000'000'000;

constexpr uintptr scavengePiece = 256 << 10;
constexpr int64 scavengePause = 4'000'000;  // ns; a piece takes some tens of microseconds
constexpr uint64 retainExtraPercent = 10;

// Bytes of the heap that have memory, or may have; stacks and the runtime's objects left out.
uint64 gcRetained() {
  int64 n = int64(load_relaxed(memstats.heap_inuse) + load_relaxed(memstats.heap_idle)) -
            int64(load_relaxed(memstats.heap_released));
  return n > 0 ? uint64(n) : 0;
}

// At the end of marking, the world stopped.
void gcPaceScavenger(uint64 lastgoal) {
  uint64 goal = load_relaxed(gcController.heapGoal), inuse = load_relaxed(memstats.heap_inuse);
  if (goal == ~uint64(0) || lastgoal == 0 || lastgoal == ~uint64(0)) {
    store_relaxed(scavenge.goal, ~uint64(0));
    return;
  }
  double want = double(inuse) * (double(goal) / double(lastgoal));
  store_relaxed(scavenge.goal, alignUp(uint64(want) + uint64(want) / 100 * retainExtraPercent, physPageSize));
}

static bool toscavenge() { return gcRetained() > load_relaxed(scavenge.goal); }

void bgscavenge(void*) {
  sched.ngsys.add(1);
  store_relaxed(getg()->issystem, 1);
  store_relaxed(scavenge.goal, ~uint64(0));
  store_relaxed(scavenge.g_, getg());
  for (;;) {
    if (toscavenge()) {
      lock(&mheap_.lock);
      uintptr n = mheap_.scavengeLocked(scavengePiece);
      unlock(&mheap_.lock);
      // Nothing is left that could be given back: not before the next cycle.
      if (n == 0) store_relaxed(scavenge.goal, ~uint64(0));
      store_relaxed(scavenge.released, scavenge.released + n);
    }
    lock(&scavenge.lock);
    store_relaxed(scavenge.parked, 1);
    goparkunlock(&scavenge.lock, waitReasonGCScavengeWait, &scavenge);
  }
}

void forcegchelper(void*) {
  sched.ngsys.add(1);
  store_relaxed(getg()->issystem, 1);
  store_relaxed(forcegc.g_, getg());
  for (;;) {
    lock(&forcegc.lock);
    store_relaxed(forcegc.parked, 1);
    goparkunlock(&forcegc.lock, waitReasonForceGCIdle, &forcegc);
    gcStart({gcTrigger::time, 0});
  }
}

// ---- sysmon's part

static void readyfromsysmon(mutex* l, uint8* parked, g* gp) {
  lock(l);
  bool wake = *parked != 0;
  store_relaxed(*parked, 0);
  unlock(l);
  if (!wake) return;
  gp->schedlink = nullptr;
  gList list{gp};
  busysysmon(true);
  injectglist(&list);
  busysysmon(false);
}

// Whether sysmon should look more often than once a minute.
bool gcwantssysmon() { return load_relaxed(scavenge.parked) != 0 && toscavenge(); }

void gcsysmon(int64 now) {
  static int64 lastscavenge;
  if (load_relaxed(scavenge.parked) != 0 && now - lastscavenge >= scavengePause && toscavenge()) {
    lastscavenge = now;
    readyfromsysmon(&scavenge.lock, &scavenge.parked, scavenge.g_);
  }
  if (load_relaxed(forcegc.parked) != 0 && gcTrigger{gcTrigger::time, 0}.test())
    readyfromsysmon(&forcegc.lock, &forcegc.parked, forcegc.g_);
}

}  // namespace vitrine::rt
