// sync_cond.cc: the condition variable. Follows Go's sync.Cond and notifyList in what it promises; the queue is in the
// object.
//
// A wait: under c->lock the waiter queues itself and then unlocks the mutex; c->lock is released on g0, when it is
// Gwaiting. So a notifier that changed the condition with the mutex held, hence after that unlock, finds the waiter on
// the queue, and a notifier that takes c->lock finds it parked: no wakeup is lost, and none is given to somebody who
// does not wait yet. Lock order: cond.lock → syncMutex.lock.
//
// The queue is first come first served. A waiter that is woken locks the mutex like anybody else.
//
// condsignal looks at the queue without the lock first. That is no race with a waiter who counts: one that saw the
// condition before the notifier changed it under the mutex had queued before it unlocked the mutex, which the notifier
// has locked since.
//
// Timeout against notify: sync_timed.cc.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

static void checkheld(syncMutex* mu) {
  if (mu == nullptr || (mu->state.load(__ATOMIC_RELAXED) & mutexLocked) == 0 || mu->owner != ownerid())
    fatal("sync: cond wait with a mutex that the caller has not locked");
}

static void lockasmutex(syncMutex* mu) { mutexlockas(mu, waitReasonSyncMutexLock, mu); }

// deadline: nanotime, 0 for none. Inline: what is told to ThreadSanitizer bears the address that the caller returns to.
static inline __attribute__((always_inline)) bool wait(syncCond* c, syncMutex* mu, int64 deadline) {
  checkheld(mu);
  g* gp = parkable("sync.Cond.Wait");
  sudog* sg = acquireSudog();
  sg->g = gp;
  lock(&c->lock);
  waitq_enqueue(&c->waitq, sg);
  san_unlocking(mu, lockkind::write);
  mutexunlock1(mu);
  bool notified = true;
  if (deadline == 0) {
    gp->waiting = sg;
    goparkunlock(&c->lock, waitReasonSyncCondWait, c);
    gp->waiting = nullptr;
  } else {
    timedwait tw{};
    tw.t.when = deadline;
    tw.lock = &c->lock;
    tw.q = &c->waitq;
    tw.sg = sg;
    tw.object = c;
    notified = parktimed(&tw, waitReasonSyncCondWait);
  }
  releaseSudog(sg);
  entry();
  lock_and_tell<lockasmutex>(mu, lockkind::write);
  return notified;
}

void condwait(syncCond* c, syncMutex* mu) {
  entry();
  wait(c, mu, 0);
}

bool condtimedwait(syncCond* c, syncMutex* mu, int64 ns) {
  entry();
  if (ns > 0) return wait(c, mu, timeafter(ns));
  checkheld(mu);
  return false;
}

static bool nobody(syncCond* c) { return __atomic_load_n(&c->waitq.first, __ATOMIC_ACQUIRE) == nullptr; }

void condsignal(syncCond* c) {
  entry();
  if (nobody(c)) return;
  lock(&c->lock);
  sudog* sg = waitq_dequeue(&c->waitq);
  if (sg != nullptr) sg->success = 1;
  g* gp = sg != nullptr ? sg->g : nullptr;
  unlock(&c->lock);
  if (gp != nullptr) goready(gp);
}

void condbroadcast(syncCond* c) {
  entry();
  if (nobody(c)) return;
  lock(&c->lock);
  sudog* all = waitq_takeall(&c->waitq);
  for (sudog* sg = all; sg != nullptr; sg = sg->next) sg->success = 1;
  unlock(&c->lock);
  waitq_readyall(all);
}

}  // namespace vitrine::rt
