// proc_runq.cc: the run queues. Follows Go's runqput, runqget, runqgrab, runqsteal, globrunqget.
//
// A P's queue is a ring of 256 slots. Only the owner advances runqtail; the owner and thieves advance runqhead by CAS.
//   * runqput stores the slot, then release-stores runqtail: pairs with the acquire load of runqtail in runqgrab, which
//     therefore sees the slot and everything the g did before.
//   * A consumer reads slots first and then CASes runqhead with release: pairs with the owner's acquire load of
//     runqhead in runqput, so a slot is not reused before its reader is done. A failed CAS discards what was read.
// runnext is one more slot in front: what a goroutine readies runs next, in the same time slice. Only the owner sets it
// to a g; anyone may CAS it to null. A full ring sheds half of itself to the global queue.
#include "proc.h"

namespace vitrine::rt {

bool runqempty(p* pp) {
  // head and tail must be of one moment: between two reads of the same tail, runnext may have moved into the ring.
  for (;;) {
    uint32 head = pp->runqhead.load(__ATOMIC_ACQUIRE);
    uint32 tail = pp->runqtail.load(__ATOMIC_ACQUIRE);
    g* next = pp->runnext.load(__ATOMIC_ACQUIRE);
    if (tail == pp->runqtail.load(__ATOMIC_ACQUIRE)) return head == tail && next == nullptr;
  }
}

bool canspin(int32 spins) {
  if (spins >= 4 || ncpu < 2 || load_relaxed(gomaxprocs) <= sched.npidle.load() + sched.nmspinning.load() + 1)
    return false;
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  bool alone = pp == nullptr || runqempty(pp);
  releasem(mp);
  return alone;
}

static void slot_store(p* pp, uint32 i, g* gp) { __atomic_store_n(&pp->runq[i % runqsize_], gp, __ATOMIC_RELAXED); }
static g* slot_load(p* pp, uint32 i) { return __atomic_load_n(&pp->runq[i % runqsize_], __ATOMIC_RELAXED); }

// Moves half of a full ring and gp to the global queue. False: somebody stole meanwhile, there is room.
static bool runqputslow(p* pp, g* gp, uint32 h, uint32 t) {
  g* batch[runqsize_ / 2 + 1];
  uint32 n = (t - h) / 2;
  if (n != runqsize_ / 2) throw_("runqputslow: queue is not full");
  for (uint32 i = 0; i < n; i++) batch[i] = slot_load(pp, h + i);
  if (!pp->runqhead.cas(h, h + n, __ATOMIC_ACQ_REL)) return false;
  batch[n] = gp;
  for (uint32 i = 0; i < n; i++) batch[i]->schedlink = batch[i + 1];
  batch[n]->schedlink = nullptr;
  lock(&sched.lock);
  if (sched.runq.tail != nullptr)
    sched.runq.tail->schedlink = batch[0];
  else
    sched.runq.head = batch[0];
  sched.runq.tail = batch[n];
  sched.runqsize.add(int32(n + 1), __ATOMIC_RELAXED);
  unlock(&sched.lock);
  return true;
}

void runqput(p* pp, g* gp, bool next) {
  if (next) {
    gp = pp->runnext.xchg(gp, __ATOMIC_ACQ_REL);
    if (gp == nullptr) return;
  }
  for (;;) {
    uint32 h = pp->runqhead.load(__ATOMIC_ACQUIRE);
    uint32 t = pp->runqtail.load(__ATOMIC_RELAXED);
    if (t - h < runqsize_) {
      slot_store(pp, t, gp);
      pp->runqtail.store(t + 1, __ATOMIC_RELEASE);
      return;
    }
    if (runqputslow(pp, gp, h, t)) return;
  }
}

g* runqget(p* pp, bool* inheritTime) {
  g* next = pp->runnext.load(__ATOMIC_ACQUIRE);
  // A thief may take runnext between the load and the CAS; then it is gone for us too.
  if (next != nullptr && pp->runnext.cas(next, nullptr, __ATOMIC_ACQ_REL)) {
    *inheritTime = true;
    return next;
  }
  *inheritTime = false;
  for (;;) {
    uint32 h = pp->runqhead.load(__ATOMIC_ACQUIRE);
    uint32 t = pp->runqtail.load(__ATOMIC_RELAXED);
    if (t == h) return nullptr;
    g* gp = slot_load(pp, h);
    if (pp->runqhead.cas(h, h + 1, __ATOMIC_RELEASE)) return gp;
  }
}

// Takes half of victim's ring into pp's, from tail position t on; returns how many.
static uint32 runqgrab(p* victim, p* pp, uint32 t, bool stealRunNext) {
  for (;;) {
    uint32 h = victim->runqhead.load(__ATOMIC_ACQUIRE);
    uint32 tail = victim->runqtail.load(__ATOMIC_ACQUIRE);
    uint32 n = tail - h;
    n -= n / 2;
    if (n == 0) {
      if (!stealRunNext) return 0;
      g* next = victim->runnext.load(__ATOMIC_ACQUIRE);
      if (next == nullptr) return 0;
      // A running P is about to take its runnext itself: give it a moment, so that two goroutines that talk to each
      // other do not bounce between Ps.
      if (__atomic_load_n(&victim->status, __ATOMIC_RELAXED) == Prunning) usleep_(3);
      if (!victim->runnext.cas(next, nullptr, __ATOMIC_ACQ_REL)) continue;
      slot_store(pp, t, next);
      return 1;
    }
    if (n > runqsize_ / 2) continue;  // h and tail were not of one moment
    for (uint32 i = 0; i < n; i++) slot_store(pp, t + i, slot_load(victim, h + i));
    if (victim->runqhead.cas(h, h + n, __ATOMIC_ACQ_REL)) return n;
  }
}

g* runqsteal(p* pp, p* victim, bool stealRunNext) {
  uint32 t = pp->runqtail.load(__ATOMIC_RELAXED);
  uint32 n = runqgrab(victim, pp, t, stealRunNext);
  if (n == 0) return nullptr;
  getg()->m->nsteal += n;
  __atomic_fetch_add(&victim->nsteal, n, __ATOMIC_RELAXED);
  sched.nsteal.add(n, __ATOMIC_RELAXED);
  g* gp = slot_load(pp, t + n - 1);
  if (n == 1) return gp;
  uint32 h = pp->runqhead.load(__ATOMIC_ACQUIRE);
  if (t - h + (n - 1) >= runqsize_) throw_("runqsteal: run queue overflow");
  pp->runqtail.store(t + n - 1, __ATOMIC_RELEASE);
  return gp;
}

void globrunqput(g* gp) {
  assertLockHeld(&sched.lock);
  sched.runq.pushBack(gp);
  sched.runqsize.add(1, __ATOMIC_RELAXED);
}

static g* globrunqpop() {
  g* gp = sched.runq.pop();
  sched.runqsize.add(-1, __ATOMIC_RELAXED);
  return gp;
}

// Takes a fair share of the global queue, at most max (0: no such limit): one to run, the rest into pp's ring.
g* globrunqget(p* pp, int32 max) {
  assertLockHeld(&sched.lock);
  int32 size = sched.runqsize.load(__ATOMIC_RELAXED);
  if (size == 0) return nullptr;
  int32 n = size / load_relaxed(gomaxprocs) + 1;
  if (n > size) n = size;
  if (max > 0 && n > max) n = max;
  if (n > int32(runqsize_ / 2)) n = runqsize_ / 2;
  g* gp = globrunqpop();
  while (--n > 0) runqput(pp, globrunqpop(), false);
  return gp;
}

}  // namespace vitrine::rt
