// sync_timed.cc: a wait that ends at a time, for the primitives whose waiters queue under a lock.
//
// Two may want to end the wait, the notifier and the timer. Both do so under the object's lock, and who takes the
// waiter's sudog off the queue has won and readies it: a notifier sets sg->success as it dequeues, the timer looks at
// that. Exactly one readies.
//   1. The waiter queues sg and parks. On g0, Gwaiting, it arms the timer and only then unlocks, so neither the timer's
//      function nor a notifier gets at sg before there is something to ready.
//   2a. The timer wins: expire() dequeues sg and sets `expired` under the lock, unlocks, and readies the waiter. Until
//      then the waiter, and so the timedwait on its stack, stays where it is; after that expire touches neither.
//   2b. A notifier wins. The waiter runs, and its timedwait and the object may be gone as soon as it returns; so
//      first it calls deltimer. If that says that the function has begun, it waits until expire has found out that it
//      lost, which takes no longer than the object's lock is held, and has said so (finished, release; the last thing
//      it does).
// Rejected: leaving a late expire() to find a stale sequence number. It has to take a lock inside the object to look,
// and the object may be gone.
#include "syncwait.h"

namespace vitrine::rt {

static_assert(offsetof(timedwait, t) == 0, "g.timer_ is the timedwait too");

// On some M's g0. arg is the g that waits, for debuggers; what it waits in is its timer_, which it leaves there until
// this has ended.
static void expire(void* arg, uint64) {
  g* gp = static_cast<g*>(arg);
  auto* tw = reinterpret_cast<timedwait*>(gp->timer_);
  mutex* l = tw->lock;
  lock(l);
  if (tw->sg->success != 0) {
    unlock(l);
    tw->finished.store(1, __ATOMIC_RELEASE);
    return;
  }
  waitq_remove(tw->q, tw->sg);
  tw->expired = true;
  if (tw->dropped != nullptr) tw->dropped(tw->object);
  unlock(l);
  goready(gp);
}

static bool armunlock(g*, void* arg) {
  auto* tw = static_cast<timedwait*>(arg);
  mutex* l = tw->lock;
  int64 when = tw->t.when;
  bool wake = armtimer(&tw->t);
  unlock(l);
  if (wake) wakePoller(when);
  return true;
}

bool parktimed(timedwait* tw, waitReason reason) {
  g* gp = tw->sg->g;
  tw->t.f = expire;
  tw->t.arg = gp;
  tw->t.index = -1;
  tw->t.kind = timerWait;
  tw->t.goid = gp->goid;
  gp->timer_ = &tw->t;
  gp->waiting = tw->sg;
  gopark(armunlock, tw, reason, tw->object);
  gp->waiting = nullptr;
  if (!tw->expired && !deltimer(&tw->t)) {
    for (int32 i = 0; tw->finished.load(__ATOMIC_ACQUIRE) == 0; i++) {
      if (i < 64)
        procyield(10);
      else
        osyield();
    }
  }
  gp->timer_ = nullptr;
  return !tw->expired;
}

}  // namespace vitrine::rt
