// mgcworker.cc: who marks while the program runs. Follows gcBgMarkWorker, gcAssistAlloc and their kin of Go's mgc.go and
// mgcmark.go (1.12 to 1.17).
//
// Background workers are goroutines of the runtime, as many as there are Ps. Parked, they are in a pool; the scheduler
// takes one out when its P is to mark (gcFindRunnableWorker, first in each round; gcFindIdleWorker, before the P would
// sleep), with a mode that says for how long. A worker drains on g0, so that nothing of it is on a stack that is
// scanned, and puts what it did not get to on work.full before it parks, so that no work waits for its P.
//
// An assist is made by a goroutine that allocates: gcAssistBytes is what it may still allocate; negative, it has to work
// it off, or pay with what background workers have done beyond need (bgScanCredit). If there is neither credit nor work
// to be had, it waits in assistQueue, and what background workers do then goes to those first (gcFlushBgCredit). Who is
// pinned, or must not be preempted, only gets deeper into debt.
//
// The end. nproc counts markers, nwait those of them that are not at work. Whoever is the last to stop, and finds that
// nothing is left to mark, ends the mark phase (gcMarkDone, mgc.cc). nwait is raised after a marker has given away what it
// had, so what nobody has is on work.full, in a write barrier's buffer, or there is none. gcMarkDone looks at the buffers
// when the world is stopped.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

static struct {
  mutex lock;
  gcworker* pool;  // parked ones
  int32 n;         // made; gcsema
  atomic<int32> started;
} gcworkers;

static struct {
  mutex lock;
  gQueue q;
  atomic<uint32> n;
} assistQueue;

// ---- workers

static bool park(g*, void* arg) {
  auto* w = static_cast<gcworker*>(arg);
  lock(&gcworkers.lock);
  w->next = gcworkers.pool;
  __atomic_store_n(&gcworkers.pool, w, __ATOMIC_RELEASE);
  unlock(&gcworkers.lock);
  return true;
}

static gcworker* takeworker() {
  if (load_relaxed(gcworkers.pool) == nullptr) return nullptr;
  lock(&gcworkers.lock);
  gcworker* w = gcworkers.pool;
  if (w != nullptr) store_relaxed(gcworkers.pool, w->next);
  unlock(&gcworkers.lock);
  return w;
}

static g* startworker(gcworker* w, uint32 mode) {
  w->mode = mode;
  if (tracing()) traceGoUnpark(w->g_);
  casgstatus(w->g_, Gwaiting, Grunnable);
  return w->g_;
}

static bool mayfraction(p* pp) {
  double share = 0;
  __atomic_load(&gcController.fractionalUtilizationGoal, &share, __ATOMIC_RELAXED);
  if (share == 0) return false;
  int64 all = nanotime() - gcController.markStartTime;
  return all <= 0 || double(load_relaxed(pp->gcFractionalMarkTime)) / double(all) <= share;
}

g* gcFindRunnableWorker(p* pp) {
  if (!gcMarkWorkAvailable(pp)) return nullptr;
  uint32 mode = gcMarkWorkerFractional;
  int64 needed = gcController.dedicatedMarkWorkersNeeded.load(__ATOMIC_RELAXED);
  while (needed > 0) {
    if (gcController.dedicatedMarkWorkersNeeded.cas(needed, needed - 1, __ATOMIC_RELAXED)) {
      mode = gcMarkWorkerDedicated;
      break;
    }
    needed = gcController.dedicatedMarkWorkersNeeded.load(__ATOMIC_RELAXED);
  }
  if (mode == gcMarkWorkerFractional && !mayfraction(pp)) return nullptr;
  gcworker* w = takeworker();
  if (w != nullptr) return startworker(w, mode);
  if (mode == gcMarkWorkerDedicated) gcController.dedicatedMarkWorkersNeeded.add(1, __ATOMIC_RELAXED);
  return nullptr;
}

g* gcFindIdleWorker(p* pp) {
  if (!gcMarkWorkAvailable(pp)) return nullptr;
  gcworker* w = takeworker();
  return w != nullptr ? startworker(w, gcMarkWorkerIdle) : nullptr;
}

// This marker has stopped, after giving away what it had. True: it was the last, and nothing is left.
static bool stopped() { return work.nwait.add(1) == work.nproc.load() && !gcMarkWorkAvailable(nullptr); }

static void drainas(void* arg) {
  auto* w = static_cast<gcworker*>(arg);
  p* pp = getg()->m->p;
  gcWork* gcw = &pp->gcw;
  switch (w->mode) {
    case gcMarkWorkerDedicated:
      gcDrain(gcw, drainUntilPreempt);
      // Who asks it to yield shall find its own goroutines on another P.
      if (load_relaxed(w->g_->preempt) != 0) {
        bool inherit;
        while (g* gp = runqget(pp, &inherit)) {
          lock(&sched.lock);
          globrunqput(gp);
          unlock(&sched.lock);
        }
        wakep();
        gcDrain(gcw, 0);
      }
      break;
    case gcMarkWorkerFractional:
      gcDrain(gcw, drainUntilPreempt | drainFractional);
      break;
    default:
      gcDrain(gcw, drainUntilPreempt | drainIdle);
  }
  gcw->dispose();
}

// One stretch of marking; true: the mark phase seems to be over.
static bool workonce(gcworker* w) {
  m* mp = acquirem();
  p* pp = mp->p;
  if (pp == nullptr || gcBlackenEnabled.load(__ATOMIC_RELAXED) == 0) {
    if (w->mode == gcMarkWorkerDedicated) gcController.dedicatedMarkWorkersNeeded.add(1, __ATOMIC_RELAXED);
    releasem(mp);
    return false;
  }
  int64 begin = nanotime();
  work.nwait.add(uint32(-1));
  store_relaxed(getg()->waitreason, waitReasonGCWorkerActive);
  systemstack(drainas, w);
  int64 took = nanotime() - begin;
  __atomic_add_fetch(&work.markCPU, took, __ATOMIC_RELAXED);
  switch (w->mode) {
    case gcMarkWorkerDedicated:
      work.dedicatedMarkTime.add(took, __ATOMIC_RELAXED);
      gcController.dedicatedMarkWorkersNeeded.add(1, __ATOMIC_RELAXED);
      break;
    case gcMarkWorkerFractional:
      work.fractionalMarkTime.add(took, __ATOMIC_RELAXED);
      store_relaxed(pp->gcFractionalMarkTime, pp->gcFractionalMarkTime + took);
      break;
    default:
      work.idleMarkTime.add(took, __ATOMIC_RELAXED);
  }
  bool last = stopped();
  releasem(mp);
  return last;
}

static void gcBgMarkWorker(void*) {
  sched.ngsys.add(1);
  store_relaxed(getg()->issystem, 1);
  gcworker w{nullptr, getg(), gcMarkWorkerNotWorker};
  gcworkers.started.add(1);
  for (;;) {
    gopark(park, &w, waitReasonGCWorkerIdle, nullptr);
    if (workonce(&w)) gcMarkDone();
  }
}

void* const gcBgMarkWorkerFn = reinterpret_cast<void*>(gcBgMarkWorker);

void gcBgMarkStartWorkers() {
  for (; gcworkers.n < load_relaxed(gomaxprocs); gcworkers.n++)
    startsystemgoroutine(gcBgMarkWorker, uintptr(gcBgMarkWorker), "gcBgMarkWorker", 0);
  while (gcworkers.started.load() < gcworkers.n) gosched();
}

// ---- assists

constexpr int64 leastAssist = 64 << 10;  // bytes scanned: what is done at once, so that the next ones come cheap
constexpr int64 assistTimeSlack = 5000;  // ns

static double ratio(const double& at) {
  double v;
  __atomic_load(&const_cast<double&>(at), &v, __ATOMIC_RELAXED);
  return v;
}

// Pays `want` with work of the background, as far as there is some; returns what is still to be done.
static int64 stealcredit(int64 want) {
  int64 credit = gcController.bgScanCredit.load(__ATOMIC_RELAXED);
  if (credit <= 0) return want;
  int64 take = credit < want ? credit : want;
  gcController.bgScanCredit.add(-take, __ATOMIC_RELAXED);
  return want - take;
}

namespace {
struct assist {
  g* gp;
  int64 want;
  bool last;
};
}  // namespace

// On g0. Nothing is to be done if the phase ended on the way here.
static void assist1(void* arg) {
  auto* a = static_cast<assist*>(arg);
  if (gcBlackenEnabled.load(__ATOMIC_RELAXED) == 0) {
    a->gp->gcAssistBytes = 0;
    return;
  }
  p* pp = getg()->m->p;
  if (pp == nullptr) return;
  int64 begin = nanotime();
  work.nwait.add(uint32(-1));
  int64 did = gcDrainN(&pp->gcw, a->want);
  pp->gcw.dispose();
  a->gp->gcAssistBytes += 1 + int64(ratio(gcController.assistBytesPerWork) * double(did));
  a->last = stopped();
  int64 took = nanotime() - begin;
  __atomic_add_fetch(&work.markCPU, took, __ATOMIC_RELAXED);
  pp->gcAssistTime += took;
  if (pp->gcAssistTime > assistTimeSlack) {
    work.assistTime.add(pp->gcAssistTime, __ATOMIC_RELAXED);
    pp->gcAssistTime = 0;
    gcController.revise();
  }
}

// Waits until the background has paid. False: there is credit, or the phase is over, so the caller looks again.
static bool parkassist(g* gp) {
  lock(&assistQueue.lock);
  if (gcBlackenEnabled.load(__ATOMIC_RELAXED) == 0) {
    gp->gcAssistBytes = 0;
    unlock(&assistQueue.lock);
    return true;
  }
  // Counted first, then the look at the credit; who gives credit looks at the count after: one of the two sees the other.
  assistQueue.n.add(1);
  if (gcController.bgScanCredit.load() > 0) {
    assistQueue.n.add(uint32(-1));
    unlock(&assistQueue.lock);
    return false;
  }
  assistQueue.q.pushBack(gp);
  goparkunlock(&assistQueue.lock, waitReasonGCAssistWait, &assistQueue);
  return true;
}

void gcAssistAlloc(g* gp) {
  for (;;) {
    if (gcBlackenEnabled.load(__ATOMIC_RELAXED) == 0) {
      gp->gcAssistBytes = 0;
      return;
    }
    int64 debt = -gp->gcAssistBytes;
    if (debt <= 0) return;
    auto want = int64(ratio(gcController.assistWorkPerByte) * double(debt));
    if (want < leastAssist) {
      want = leastAssist;
      debt = int64(ratio(gcController.assistBytesPerWork) * double(want));
    }
    int64 left = stealcredit(want);
    if (left == 0) {
      gp->gcAssistBytes += debt;
      return;
    }
    gp->gcAssistBytes += int64(double(debt) * (double(want - left) / double(want)));
    assist a{gp, left, false};
    m* mp = acquirem();
    systemstack(assist1, &a);
    releasem(mp);
    if (a.last) gcMarkDone();
    if (gp->gcAssistBytes >= 0) return;
    if (load_relaxed(gp->preempt) != 0) {
      entry();
      continue;
    }
    if (parkassist(gp)) return;
  }
}

// The first of the queue owes nothing any more: from there to l. lock held.
static bool release(gList* l) {
  g* gp = assistQueue.q.pop();
  if (gp == nullptr) return false;
  assistQueue.n.add(uint32(-1));
  gp->gcAssistBytes = 0;
  gp->schedlink = l->head;
  l->head = gp;
  return true;
}

void gcWakeAllAssists() {
  gList list{};
  lock(&assistQueue.lock);
  while (release(&list)) {
  }
  unlock(&assistQueue.lock);
  injectglist(&list);
}

void gcFlushBgCredit(int64 did) {
  gcController.bgScanCredit.add(did);
  if (assistQueue.n.load() == 0) return;
  gList list{};
  double bytes = ratio(gcController.assistBytesPerWork);
  lock(&assistQueue.lock);
  while (assistQueue.q.head != nullptr) {
    g* gp = assistQueue.q.head;
    int64 credit = gcController.bgScanCredit.load(__ATOMIC_RELAXED);
    int64 owed = int64(double(-gp->gcAssistBytes) / bytes) + 1;
    if (credit <= 0) break;
    if (credit < owed) {
      // A part of it, and to the end, so that a small one does not wait for a large one.
      gp->gcAssistBytes += int64(double(credit) * bytes);
      gcController.bgScanCredit.add(-credit);
      assistQueue.q.pushBack(assistQueue.q.pop());
      break;
    }
    gcController.bgScanCredit.add(-owed);
    release(&list);
  }
  unlock(&assistQueue.lock);
  injectglist(&list);
}

}  // namespace vitrine::rt
