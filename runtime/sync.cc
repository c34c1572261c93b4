// sync.cc: the mutex. Follows Go's sync.Mutex (normal and starving operation); the queue of waiters is in the object
// itself, first come first served, instead of in a table of semaphores, so that a debugger finds all who wait in one
// place.
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
// A lock with a timeout waits on the same queue. If its time is over it is off the queue (sync_timed.cc) and nobody
// counts on it; if it was woken instead, it tries once more whatever the time, and clears Woken if it must give up.
//
// rw_mutex has a syncMutex inside for its writers: mutexlockas lets their waits be shown as what the user wrote.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

constexpr int64 starvationThresholdNs = 1000000;

static bool trylock(syncMutex* mu) {
  uint32 old = mu->state.load(__ATOMIC_RELAXED);
  while ((old & mutexLocked) == 0) {
    if (mu->state.cas(old, old | mutexLocked, __ATOMIC_ACQUIRE)) {
      mu->owner = ownerid();
      return true;
    }
    old = mu->state.load(__ATOMIC_RELAXED);
  }
  return false;
}

bool mutextrylock(syncMutex* mu) {
  entry();
  return trylock(mu);
}

// Takes the mutex if it is free; else, with `announce`, sets Waiters. Clears Woken either way when it is ours. mu->lock
// is held.
static bool takeorwait(syncMutex* mu, bool woken, bool announce) {
  for (;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    bool taken = (old & mutexLocked) != 0;
    uint32 now = !taken ? old | mutexLocked : announce ? old | mutexWaiters : old;
    if (woken) now &= ~uint32(mutexWoken);
    if (mu->state.cas(old, now, __ATOMIC_ACQUIRE)) return !taken;
  }
}

static bool spinlock(syncMutex* mu) {
  if (ncpu < 2 || load_relaxed(gomaxprocs) < 2) return false;
  for (int i = 0; i < 4; i++) {
    procyield(30);
    if ((mu->state.load(__ATOMIC_RELAXED) & mutexLocked) == 0 && trylock(mu)) return true;
  }
  return false;
}

// Adds and removes bits; mu->lock is held, so only Locked may change meanwhile (by a try_lock).
static void changestate(syncMutex* mu, uint32 set, uint32 clear) {
  uint32 old;
  do old = mu->state.load(__ATOMIC_RELAXED);
  while (!mu->state.cas(old, (old | set) & ~clear, __ATOMIC_RELEASE));
}

// A waiter that gave up left the queue; mu->lock is held. Waiters is changed under it only.
static void dropped(void* object) {
  auto* mu = static_cast<syncMutex*>(object);
  if (mu->waitq.first == nullptr) changestate(mu, 0, mutexWaiters);
}

// Parks, queued; mu->lock is held. False: it is `deadline`, and sg is off the queue.
static bool park(syncMutex* mu, sudog* sg, waitReason reason, void* object, int64 deadline) {
  if (deadline == 0) {
    sg->g->waiting = sg;
    goparkunlock(&mu->lock, reason, object);
    sg->g->waiting = nullptr;
    return true;
  }
  timedwait tw{};
  tw.t.when = deadline;
  tw.lock = &mu->lock;
  tw.q = &mu->waitq;
  tw.sg = sg;
  tw.dropped = dropped;
  tw.object = mu;
  return parktimed(&tw, reason);
}

// deadline: nanotime, 0 for none. object: what a debugger shows as waited on; mu if there is a deadline.
VITRINE_NOINLINE static bool mutexlockslow(syncMutex* mu, waitReason reason, void* object, int64 deadline) {
  if (spinlock(mu)) return true;
  sudog* sg = nullptr;
  bool got = true;
  for (;;) {
    bool late = sg != nullptr && deadline != 0 && nanotime() >= deadline;
    lock(&mu->lock);
    if (takeorwait(mu, sg != nullptr, !late)) {
      unlock(&mu->lock);
      mu->owner = ownerid();
      break;
    }
    if (late) {
      unlock(&mu->lock);
      got = false;
      break;
    }
    if (sg == nullptr) {
      g* gp = parkable("sync.Mutex.Lock");
      sg = acquireSudog();
      sg->g = gp;
      sg->acquiretime = nanotime();
      waitq_enqueue(&mu->waitq, sg);
    } else {
      sg->success = 0;
      waitq_pushfront(&mu->waitq, sg);
    }
    if (!park(mu, sg, reason, object, deadline)) {
      got = false;
      break;
    }
    if (sg->ticket != 0) break;  // handed over: locked, and owner is set
  }
  if (sg != nullptr) releaseSudog(sg);
  return got;
}

void mutexlockas(syncMutex* mu, waitReason reason, void* object) {
  if (mu->state.cas(0, mutexLocked, __ATOMIC_ACQUIRE))
    mu->owner = ownerid();
  else
    mutexlockslow(mu, reason, object, 0);
}

void mutexlock(syncMutex* mu) {
  entry();
  mutexlockas(mu, waitReasonSyncMutexLock, mu);
}

bool mutextimedlock(syncMutex* mu, int64 ns) {
  entry();
  return trylock(mu) || (ns > 0 && mutexlockslow(mu, waitReasonSyncMutexLock, mu, timeafter(ns)));
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
  sg->success = 1;
  uint32 clear = mu->waitq.first == nullptr ? uint32(mutexWaiters) : 0;
  g* gp = sg->g;
  if (nanotime() - sg->acquiretime < starvationThresholdNs) {
    changestate(mu, mutexWoken, clear | mutexLocked);
  } else {
    mu->owner = gp->goid;
    sg->ticket = 1;
    if (clear != 0) changestate(mu, 0, clear);
  }
  unlock(&mu->lock);
  goready(gp);
}

void mutexunlock1(syncMutex* mu) {
  mu->owner = 0;
  if (!mu->state.cas(mutexLocked, 0, __ATOMIC_RELEASE)) mutexunlockslow(mu);
}

void mutexunlock(syncMutex* mu) {
  entry();
  mutexunlock1(mu);
}

}  // namespace vitrine::rt
