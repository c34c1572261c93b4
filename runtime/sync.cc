// sync.cc: the mutex and the wait group. Follows Go's sync.Mutex (normal and starving operation) and sync.WaitGroup;
// the queue of waiters is in the object itself, first come first served, instead of in a table of semaphores, so that a
// debugger finds all who wait in one place.
//
// Mutex. state is three bits: Locked, Woken, Waiters.
//   * Free of waiters it is a word: lock is a CAS 0 → Locked (acquire), unlock one Locked → 0 (release).
//   * Everything else happens under mu->lock, except that try_lock may add Locked to any state without it.
//   lock, slow: spin a little if another P could be running the holder; then under mu->lock either take a free mutex,
//   or
//     set Waiters by a CAS from a state that has Locked, queue, and park.
//   unlock, slow (Waiters or Woken is set): under mu->lock
//     – Woken: somebody is on his way already: just clear Locked;
//     – the first waiter has waited for less than 1 ms: dequeue him, clear Locked, set Woken, ready him. He competes
//     with
//       whoever runs, which is what makes a busy mutex fast: it need not stand idle while he is being scheduled;
//     – else: dequeue him and leave Locked set: it is his. This is the answer to starvation. A loser goes back to the
//       front of the queue with the time of his first arrival, so from his first millisecond on he loses at most once
//       more, to who held the mutex then.
//   No wakeup is lost. A waiter queues only while Locked is set in the very CAS that sets Waiters; from then on the
//   holder's unlock cannot be the short one, and it looks at the queue after taking mu->lock, that is after he has
//   parked. If it leaves him queued because of Woken, the woken one either takes the mutex, and his unlock sees
//   Waiters, or finds it taken, clears Woken, and the taker's unlock does. The mutex may be destroyed by who held it
//   last: an unlock that found waiters ends its use of mu with unlock(mu->lock), and until then Woken or Locked is set,
//   so that nobody gets past the slow paths, which take mu->lock.
//
// Wait group. state is counter << 32 | waiters. add is a CAS. Only the step to counter 0 with waiters takes the lock,
// under which waiters are added too; so the queue it takes is exactly who waited for that zero, and the group can be
// used again at once, by anybody. Unlike Go: that makes "reused before previous Wait has returned" impossible.
#include "include/vitrine/detail/rt.h"
#include "waitq.h"

namespace vitrine::rt {

constexpr int64 starvationThresholdNs = 1000000;

static void own(syncMutex* mu) {
  g* gp = getg();
  mu->owner = gp == nullptr ? 0 : gp->goid;
}

bool mutextrylock(syncMutex* mu) {
  entry();
  uint32 old = mu->state.load(__ATOMIC_RELAXED);
  while ((old & mutexLocked) == 0) {
    if (mu->state.cas(old, old | mutexLocked, __ATOMIC_ACQUIRE)) {
      own(mu);
      return true;
    }
    old = mu->state.load(__ATOMIC_RELAXED);
  }
  return false;
}

// Takes the mutex if it is free; else announces a waiter. Clears Woken either way when it is ours. mu->lock is held.
static bool takeorwait(syncMutex* mu, bool woken) {
  for (;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    bool taken = (old & mutexLocked) != 0;
    uint32 now = taken ? old | mutexWaiters : old | mutexLocked;
    if (woken) now &= ~uint32(mutexWoken);
    if (mu->state.cas(old, now, __ATOMIC_ACQUIRE)) return !taken;
  }
}

static bool spinlock(syncMutex* mu) {
  if (ncpu < 2 || load_relaxed(gomaxprocs) < 2) return false;
  for (int i = 0; i < 4; i++) {
    procyield(30);
    if ((mu->state.load(__ATOMIC_RELAXED) & mutexLocked) == 0 && mutextrylock(mu)) return true;
  }
  return false;
}

VITRINE_NOINLINE static void mutexlockslow(syncMutex* mu) {
  if (spinlock(mu)) return;
  sudog* sg = nullptr;
  for (;;) {
    lock(&mu->lock);
    if (takeorwait(mu, sg != nullptr)) {
      unlock(&mu->lock);
      own(mu);
      break;
    }
    g* gp = parkable("sync.Mutex.Lock");
    if (sg == nullptr) {
      sg = acquireSudog();
      sg->g = gp;
      sg->acquiretime = nanotime();
      waitq_enqueue(&mu->waitq, sg);
    } else {
      waitq_pushfront(&mu->waitq, sg);
    }
    gp->waiting = sg;
    goparkunlock(&mu->lock, waitReasonSyncMutexLock, mu);
    gp->waiting = nullptr;
    if (sg->success != 0) break;  // handed over: locked, and owner is set
  }
  if (sg != nullptr) releaseSudog(sg);
}

void mutexlock(syncMutex* mu) {
  entry();
  if (mu->state.cas(0, mutexLocked, __ATOMIC_ACQUIRE))
    own(mu);
  else
    mutexlockslow(mu);
}

// Adds and removes bits; mu->lock is held, so only Locked may change meanwhile (by a try_lock).
static void changestate(syncMutex* mu, uint32 set, uint32 clear) {
  uint32 old;
  do old = mu->state.load(__ATOMIC_RELAXED);
  while (!mu->state.cas(old, (old | set) & ~clear, __ATOMIC_RELEASE));
}

VITRINE_NOINLINE static void mutexunlockslow(syncMutex* mu) {
  lock(&mu->lock);
  uint32 state = mu->state.load(__ATOMIC_RELAXED);
  if ((state & mutexLocked) == 0) {
    unlock(&mu->lock);
    fatal("sync: unlock of unlocked mutex");
  }
  sudog* sg = mu->waitq.first;
  if (sg == nullptr || (state & mutexWoken) != 0) {
    changestate(mu, 0, mutexLocked);
    unlock(&mu->lock);
    return;
  }
  waitq_dequeue(&mu->waitq);
  uint32 clear = mu->waitq.first == nullptr ? uint32(mutexWaiters) : 0;
  g* gp = sg->g;
  if (nanotime() - sg->acquiretime < starvationThresholdNs) {
    changestate(mu, mutexWoken, clear | mutexLocked);
  } else {
    mu->owner = gp->goid;
    sg->success = 1;
    if (clear != 0) changestate(mu, 0, clear);
  }
  unlock(&mu->lock);
  goready(gp);
}

void mutexunlock(syncMutex* mu) {
  entry();
  mu->owner = 0;
  if (!mu->state.cas(mutexLocked, 0, __ATOMIC_RELEASE)) mutexunlockslow(mu);
}

// ---- wait group

static int32 wgcounter(uint64 state) { return int32(uint32(state >> 32)); }
static uint32 wgwaiters(uint64 state) { return uint32(state); }

// The last step to zero with goroutines waiting, and any step that became another one meanwhile.
VITRINE_NOINLINE static void wgaddslow(syncWaitGroup* wg, int64 delta) {
  lock(&wg->lock);
  sudog* all = nullptr;
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_RELAXED);
    int64 counter = wgcounter(old) + delta;
    if (counter < 0) fatal("sync: negative WaitGroup counter");
    uint64 now = counter == 0 ? 0 : uint64(counter) << 32 | wgwaiters(old);
    if (!wg->state.cas(old, now, __ATOMIC_ACQ_REL)) continue;
    if (counter == 0) all = waitq_takeall(&wg->waitq);
    break;
  }
  unlock(&wg->lock);
  waitq_readyall(all);
}

void wgadd(syncWaitGroup* wg, int64 delta) {
  entry();
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_RELAXED);
    int64 counter = wgcounter(old) + delta;
    if (counter < 0) fatal("sync: negative WaitGroup counter");
    if (counter > INT32_MAX) fatal("sync: WaitGroup counter too large");
    if (counter == 0 && wgwaiters(old) != 0) return wgaddslow(wg, delta);
    // Release: what was done before done() is seen after wait(); acquire: so is what other calls of done() released.
    if (wg->state.cas(old, uint64(counter) << 32 | wgwaiters(old), __ATOMIC_ACQ_REL)) return;
  }
}

void wgwait(syncWaitGroup* wg) {
  entry();
  if (wgcounter(wg->state.load(__ATOMIC_ACQUIRE)) == 0) return;
  g* gp = parkable("sync.WaitGroup.Wait");
  sudog* sg = acquireSudog();
  sg->g = gp;
  lock(&wg->lock);
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_ACQUIRE);
    if (wgcounter(old) == 0) {
      unlock(&wg->lock);
      releaseSudog(sg);
      return;
    }
    if (wg->state.cas(old, old + 1, __ATOMIC_ACQUIRE)) break;
  }
  waitq_enqueue(&wg->waitq, sg);
  gp->waiting = sg;
  goparkunlock(&wg->lock, waitReasonSyncWaitGroupWait, wg);
  gp->waiting = nullptr;
  releaseSudog(sg);
}

}  // namespace vitrine::rt
