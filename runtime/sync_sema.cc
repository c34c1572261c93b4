// sync_sema.cc: the counting semaphore. One word says all that a fast path has to know:
//     count >= 0: so many permits are free, and nobody waits. acquire and release are one CAS to another such value.
//     count <  0: somebody waits, and ~count permits are free, fewer than the first waiter wants.
// Every step from or to a negative value is taken under s->lock, which also guards the queue; since a fast path never
// starts at a negative value, a holder of the lock that reads one may just store. So nobody gets past the first waiter
// (permits are kept for one that wants five until there are five), and a release that comes while a waiter is about to
// queue either is before the CAS that makes count negative, and is seen by it, or finds the negative value and takes
// the lock.
//
// A waiter is given its permits by whoever dequeues it. When one gives up (sync_timed.cc) or is served, the next may be
// satisfied with what is left: grant() goes on until one is not.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

constexpr int64 maxPermits = INT32_MAX;

// Serves waiters in order, with `avail` free permits; returns those to ready, linked through waitlink. s->lock is held,
// and count is negative.
static sudog* grant(syncSema* s, int64 avail) {
  sudog* served = nullptr;
  sudog** end = &served;
  while (s->waitq.first != nullptr && int64(s->waitq.first->ticket) <= avail) {
    sudog* sg = waitq_dequeue(&s->waitq);
    avail -= int64(sg->ticket);
    s->nwait.store(s->nwait.load(__ATOMIC_RELAXED) - 1, __ATOMIC_RELAXED);
    sg->success = 1;
    sg->waitlink = nullptr;
    *end = sg;
    end = &sg->waitlink;
  }
  s->count.store(s->waitq.first == nullptr ? avail : ~avail, __ATOMIC_RELEASE);
  return served;
}

// Each sudog is dead to us once its g is ready.
static void readyserved(sudog* sg) {
  while (sg != nullptr) {
    sudog* next = sg->waitlink;
    goready(sg->g);
    sg = next;
  }
}

// A waiter has given up; s->lock is held. Those behind it may want less. They are readied under the lock: this is rare.
static void dropped(void* object) {
  auto* s = static_cast<syncSema*>(object);
  s->nwait.store(s->nwait.load(__ATOMIC_RELAXED) - 1, __ATOMIC_RELAXED);
  readyserved(grant(s, ~s->count.load(__ATOMIC_ACQUIRE)));
}

void semcheck(int64 n) {
  if (n < 0) fatal("sync: semaphore with a negative number of permits");
  if (n > maxPermits) fatal("sync: more permits wanted than a semaphore can have");
}

static bool tryfast(syncSema* s, int64 n) {
  int64 c = s->count.load(__ATOMIC_RELAXED);
  while (c >= n && c >= 0) {
    if (s->count.cas(c, c - n, __ATOMIC_ACQUIRE)) return true;
    c = s->count.load(__ATOMIC_RELAXED);
  }
  return n == 0;
}

// s->lock is held. True: taken. False: from now on count is negative, and the caller has to queue.
static bool takeorannounce(syncSema* s, int64 n) {
  for (;;) {
    int64 c = s->count.load(__ATOMIC_RELAXED);
    if (c < 0) return false;
    if (c >= n ? s->count.cas(c, c - n, __ATOMIC_ACQUIRE) : s->count.cas(c, ~c, __ATOMIC_ACQUIRE)) return c >= n;
  }
}

// deadline: nanotime, 0 for none.
VITRINE_NOINLINE static bool acquireslow(syncSema* s, int64 n, int64 deadline) {
  g* gp = parkable("semaphore acquire");
  sudog* sg = acquireSudog();
  sg->g = gp;
  sg->ticket = uint32(n);
  lock(&s->lock);
  if (takeorannounce(s, n)) {
    unlock(&s->lock);
    releaseSudog(sg);
    return true;
  }
  waitq_enqueue(&s->waitq, sg);
  s->nwait.store(s->nwait.load(__ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
  bool served = true;
  if (deadline == 0) {
    gp->waiting = sg;
    goparkunlock(&s->lock, waitReasonSyncSemaphore, s);
    gp->waiting = nullptr;
  } else {
    timedwait tw{};
    tw.t.when = deadline;
    tw.lock = &s->lock;
    tw.q = &s->waitq;
    tw.sg = sg;
    tw.dropped = dropped;
    tw.object = s;
    served = parktimed(&tw, waitReasonSyncSemaphore);
  }
  releaseSudog(sg);
  return served;
}

void semacquire(syncSema* s, int64 n) {
  entry();
  semcheck(n);
  if (!tryfast(s, n)) acquireslow(s, n, 0);
}

bool semtryacquire(syncSema* s, int64 n) {
  entry();
  semcheck(n);
  return tryfast(s, n);
}

bool semtimedacquire(syncSema* s, int64 n, int64 ns) {
  entry();
  semcheck(n);
  if (tryfast(s, n)) return true;
  return ns > 0 && acquireslow(s, n, timeafter(ns));
}

static void checkoverflow(int64 count) {
  if (count > maxPermits) fatal("sync: semaphore overflow");
}

void semrelease(syncSema* s, int64 n) {
  entry();
  semcheck(n);
  int64 c = s->count.load(__ATOMIC_RELAXED);
  while (c >= 0) {
    checkoverflow(c + n);
    if (s->count.cas(c, c + n, __ATOMIC_RELEASE)) return;
    c = s->count.load(__ATOMIC_RELAXED);
  }
  lock(&s->lock);
  sudog* served = nullptr;
  for (;;) {
    c = s->count.load(__ATOMIC_ACQUIRE);
    checkoverflow((c < 0 ? ~c : c) + n);
    if (c < 0) {
      served = grant(s, ~c + n);
      break;
    }
    if (s->count.cas(c, c + n, __ATOMIC_RELEASE)) break;  // the last waiter went meanwhile
  }
  unlock(&s->lock);
  readyserved(served);
}

int64 semfree(const syncSema* s) {
  int64 c = s->count.load(__ATOMIC_RELAXED);
  return c < 0 ? ~c : c;
}

}  // namespace vitrine::rt
