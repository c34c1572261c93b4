// sync.cc: the mutex. Follows Go's sync.Mutex (normal and starving operation); the queue of waiters is in the object
// itself, first come first served, instead of in a table of semaphores, so that a debugger finds all who wait in one
// place.
//
// Mutex. state is four bits: Locked, Woken, Waiters, Starving.
//   * lock: a mutex that is not locked is taken, by a CAS (acquire), whoever waits for it. Else, if another P could be
//     running the holder, spin a little: with Woken set, if there are waiters, so that the unlock wakes none of them.
//     Else, under mu->lock, set Waiters by a CAS from a state that has Locked, queue, and park.
//   * unlock: if nobody waits, or somebody is on his way already (Woken), just clear Locked, by a CAS (release). Else,
//     under mu->lock, dequeue the first waiter, clear Locked, set Woken, and ready him. He competes with whoever runs,
//     which is what makes a busy mutex fast: it need not stand idle while he is being scheduled.
//   * A loser clears Woken and goes back to the front of the queue, with the time of his first arrival. If that is 1 ms
//     ago he sets Starving, and from then on the mutex is handed over: it stays locked, unlock makes the first waiter
//     its holder, and newcomers neither spin nor take it. That ends with a waiter who came less than 1 ms ago, or
//     the last one. Only who has lost begins it: in a long queue everybody waits long, and handing over each time would
//     make every lock a wait for the scheduler.
//   Who has the right to which bit: Waiters and Starving change under mu->lock only. Woken is set under it by unlock,
//   or by who spins, always from a state without it, and cleared by the one for whom it was set. Locked is anybody's.
//   Starving implies Waiters and Locked.
//   No wakeup is lost. A waiter queues only while Locked is set in the very CAS that sets Waiters; from then on the
//   holder's unlock cannot be the short one, and it looks at the queue after taking mu->lock, that is after he has
//   parked. If it leaves him queued because of Woken, the one for whom that was set either takes the mutex, and his
//   unlock sees Waiters without Woken, or finds it taken, clears Woken while it is Locked, and the taker's unlock does.
//   The mutex may be destroyed by who held it last: unlock does not touch it after the CAS that clears Locked, or else
//   has dequeued somebody whom it readies only after its last use, unlock(mu->lock), and who still wants the mutex.
//
// A lock with a timeout waits on the same queue. If its time is over it is off the queue (sync_timed.cc) and nobody
// counts on it; if it was woken instead, it tries once more whatever the time, and clears Woken if it must give up.
//
// rw_mutex has a syncMutex inside for its writers: mutexlockas lets their waits be shown as what the user wrote.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

constexpr int64 starvationThresholdNs = 1000000;

// Whether an unlock in this state has somebody to ready.
static bool mustready(uint32 state) {
  return (state & mutexStarving) != 0 || (state & (mutexWaiters | mutexWoken)) == mutexWaiters;
}

bool mutextrylock1(syncMutex* mu) {
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
  if (!mutextrylock1(mu)) return false;
  san_locked(mu, lockkind::trywrite);
  return true;
}

// A waiter that gave up left the queue; mu->lock is held.
static void dropped(void* object) {
  auto* mu = static_cast<syncMutex*>(object);
  if (mu->waitq.first != nullptr) return;
  uint32 old;
  do old = mu->state.load(__ATOMIC_RELAXED);
  while (!mu->state.cas(old, old & ~uint32(mutexWaiters | mutexStarving), __ATOMIC_RELAXED));
}

// The wait of one lock call.
namespace {
struct lockwait {
  sudog* sg;      // null: it has not queued yet
  bool woken;     // mutexWoken was set for it
  bool starving;  // it has waited for a millisecond
};
}  // namespace

// One step towards the mutex that needs no queue: taken, by the result, or a moment has passed.
static bool taken(syncMutex* mu, lockwait* w) {
  for (int32 spins = 0;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    uint32 mine = w->woken ? uint32(mutexWoken) : 0;
    if ((old & mutexLocked) == 0) {
      if (mu->state.cas(old, (old | mutexLocked) & ~mine, __ATOMIC_ACQUIRE)) {
        mu->owner = ownerid();
        return true;
      }
      continue;
    }
    if ((old & mutexStarving) != 0 || !canspin(spins)) return false;
    if (!w->woken && (old & (mutexWoken | mutexWaiters)) == mutexWaiters)
      w->woken = mu->state.cas(old, old | mutexWoken, __ATOMIC_RELAXED);
    procyield(30);
    spins++;
  }
}

// Takes back a Woken that is ours, and with `announce` sets what says that we queue. False: the mutex is not locked any
// more, and nothing is done.
static bool announced(syncMutex* mu, lockwait* w, bool announce) {
  for (;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    if ((old & mutexLocked) == 0) return false;
    uint32 now = w->woken ? old & ~uint32(mutexWoken) : old;
    if (announce) now |= w->starving ? uint32(mutexWaiters | mutexStarving) : uint32(mutexWaiters);
    if (mu->state.cas(old, now, __ATOMIC_ACQUIRE)) break;
  }
  w->woken = false;
  return true;
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
  lockwait w{};
  bool got = true;
  while (!taken(mu, &w)) {
    int64 now = w.sg != nullptr ? nanotime() : 0;
    if (w.sg != nullptr && deadline != 0 && now >= deadline) {
      if (!announced(mu, &w, false)) continue;
      got = false;
      break;
    }
    lock(&mu->lock);
    w.starving = w.sg != nullptr && now - w.sg->acquiretime >= starvationThresholdNs;
    if (!announced(mu, &w, true)) {
      unlock(&mu->lock);
      continue;
    }
    if (w.sg == nullptr) {
      g* gp = parkable("sync.Mutex.Lock");
      w.sg = acquireSudog();
      w.sg->g = gp;
      w.sg->acquiretime = nanotime();
      waitq_enqueue(&mu->waitq, w.sg);
    } else {
      w.sg->success = 0;
      waitq_pushfront(&mu->waitq, w.sg);
    }
    if (!park(mu, w.sg, reason, object, deadline)) {
      got = false;
      break;
    }
    if (w.sg->ticket != 0) break;  // handed over: locked, and owner is set
    w.woken = true;
  }
  if (w.sg != nullptr) releaseSudog(w.sg);
  return got;
}

static inline __attribute__((always_inline)) void lockas(syncMutex* mu, waitReason reason, void* object) {
  uint32 old = mu->state.load(__ATOMIC_RELAXED);
  if (__builtin_expect((old & mutexLocked) == 0 && mu->state.cas(old, old | mutexLocked, __ATOMIC_ACQUIRE), 1))
    mu->owner = ownerid();
  else
    mutexlockslow(mu, reason, object, 0);
}

void mutexlockas(syncMutex* mu, waitReason reason, void* object) { lockas(mu, reason, object); }

static inline __attribute__((always_inline)) void lockasmutex(syncMutex* mu) {
  lockas(mu, waitReasonSyncMutexLock, mu);
}

void mutexlock(syncMutex* mu) {
  entry();
  lock_and_tell<lockasmutex>(mu, lockkind::write);
}

bool mutextimedlock(syncMutex* mu, int64 ns) {
  entry();
  if (!mutextrylock1(mu) && (ns <= 0 || !mutexlockslow(mu, waitReasonSyncMutexLock, mu, timeafter(ns)))) return false;
  san_locked(mu, lockkind::trywrite);
  return true;
}

// Under mu->lock: takes the first waiter off the queue, wakes him up to compete or makes him the holder. Null: nobody
// is to be readied after all.
static g* nextwaiter(syncMutex* mu) {
  for (;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    if (!mustready(old)) return nullptr;
    sudog* sg = mu->waitq.first;
    bool handover = (old & mutexStarving) != 0;
    uint32 now = handover ? old : (old | mutexWoken) & ~uint32(mutexLocked);
    if (sg->next == nullptr) now &= ~uint32(mutexWaiters | mutexStarving);
    if (handover && nanotime() - sg->acquiretime < starvationThresholdNs) now &= ~uint32(mutexStarving);
    if (handover) mu->owner = sg->g->goid;
    if (!mu->state.cas(old, now, __ATOMIC_RELEASE)) continue;
    waitq_dequeue(&mu->waitq);
    sg->success = 1;
    sg->ticket = handover;
    return sg->g;
  }
}

VITRINE_NOINLINE static void mutexunlockslow(syncMutex* mu) {
  for (;;) {
    uint32 old = mu->state.load(__ATOMIC_RELAXED);
    if ((old & mutexLocked) == 0) fatal("sync: unlock of unlocked mutex");
    if (!mustready(old)) {
      if (mu->state.cas(old, old & ~uint32(mutexLocked), __ATOMIC_RELEASE)) return;
      continue;
    }
    lock(&mu->lock);
    g* gp = nextwaiter(mu);
    unlock(&mu->lock);
    if (gp == nullptr) continue;
    goready(gp);
    return;
  }
}

static inline __attribute__((always_inline)) void unlockas(syncMutex* mu) {
  mu->owner = 0;
  uint32 old = mu->state.load(__ATOMIC_RELAXED);
  if (__builtin_expect((old & mutexLocked) == 0 || mustready(old) ||
                           !mu->state.cas(old, old & ~uint32(mutexLocked), __ATOMIC_RELEASE),
                       0))
    mutexunlockslow(mu);
}

void mutexunlock1(syncMutex* mu) { unlockas(mu); }

void mutexunlock(syncMutex* mu) {
  entry();
  if (san_locks() && (mu->state.load(__ATOMIC_RELAXED) & mutexLocked) != 0) san_unlocking(mu, lockkind::write);
  unlockas(mu);
}

}  // namespace vitrine::rt
