// timer.cc: the timers that users make — vitrine::timer, ticker, after. Follows Go's sleep.go and tick.go, with the
// promises that Go makes since 1.23. The heaps below are in time.cc.
//
// A usertimer has a lock, which guards all of it, and at most one entry in a heap. What is due either starts a
// goroutine with the user's function, or sends the time on a channel of capacity 1, without waiting: a tick that nobody
// takes before the next one replaces nothing, the next one is dropped.
//
// After stop() or reset() nothing of the old time comes any more. deltimer may be too late for that: the function that
// fires (firechan, firefunc) has been chosen already and is about to take the lock that stop() holds. So stop() notes
// in `stale` how many such firings are on their way; each one that finds it above 0 takes 1 off and goes. If a reset
// has made a further one due meanwhile, it does not matter which of them counts as the stale one: all are due. And
// stop() takes back a value that is in the channel, so what is received after it was sent by a later reset().
//
// Memory: the handle counts as one reference, the entry in a heap, as a zombie too, as another, which goes to the
// firing that takes it off. A ticker's firing passes it on, as it puts the timer back itself. The heap drops a
// zombie's. The user's function is counted apart, by the handle and by the goroutines that run it: its destructor,
// which may do anything, must not run on a scheduling stack, where a late firing drops the last reference to the rest.
//
// Locks: usertimer.lock → hchan.lock, timers.lock. The heap's drop is called under timers.lock: it frees memory at
// most.
#include <stdexcept>

#include "include/vitrine/time.h"
#include "runtime.h"

namespace vitrine::rt {

struct usertimer {
  timer t;
  atomic<int32> refs;
  mutex lock;
  uint32 armed;  // it is in a heap, or its firing is on its way and not stale
  uint32 stale;  // firings that are on their way and must do nothing
  hchan* c;      // one of these two
  timerfunc* fn;
};

void panicticker() { throw std::logic_error("vitrine::ticker: the period must be positive"); }

static void drop(usertimer* ut) {
  if (ut->refs.add(-1, __ATOMIC_ACQ_REL) != 0) return;
  if (ut->c != nullptr) chanrelease(ut->c);
  rawfree(ut);
}

static void dropfunc(timerfunc* fn) {
  if (fn->refs.add(-1, __ATOMIC_ACQ_REL) == 0) fn->destroy(fn);
}

// Whether the firing that calls this is the one that counts; locks ut if it is, drops its reference if not.
static bool arrive(usertimer* ut) {
  lock(&ut->lock);
  if (ut->stale == 0) return true;
  ut->stale--;
  unlock(&ut->lock);
  drop(ut);
  return false;
}

static void firechan(void* c, uint64 self) {
  auto* ut = reinterpret_cast<usertimer*>(self);
  if (!arrive(ut)) return;
  int64 now = nanotime();
  chansend(static_cast<hchan*>(c), &now, false);  // full or, by the user, closed: not sent
  if (ut->t.period > 0) {
    ut->t.when += ut->t.period * (1 + (now - ut->t.when) / ut->t.period);
    // Nobody need be woken: this M is looking for timers.
    armtimer(&ut->t);
    unlock(&ut->lock);
    return;
  }
  ut->armed = 0;
  unlock(&ut->lock);
  drop(ut);
}

static void funcentry(void* arg) {
  auto* fn = static_cast<timerfunc*>(arg);
  fn->call(fn);
  dropfunc(fn);
}

static void firefunc(void* arg, uint64) {
  auto* ut = static_cast<usertimer*>(arg);
  if (!arrive(ut)) return;
  ut->armed = 0;
  timerfunc* fn = ut->fn;
  fn->refs.add(1, __ATOMIC_RELAXED);
  unlock(&ut->lock);
  newproc(funcentry, fn, fn->startpc, fn->gopc, nullptr, 0, 0);
  drop(ut);
}

// ut->lock is held, here and in the next two. The caller unlocks, and then wakes the poller if the result is true.
static bool arm(usertimer* ut, int64 when, int64 period) {
  ut->t.when = when;
  ut->t.period = period;
  ut->refs.add(1, __ATOMIC_RELAXED);
  return armtimer(&ut->t);
}

// Takes back what has come and nobody has received.
static bool takeback(usertimer* ut) {
  int64 untaken;
  return ut->c != nullptr && chanrecv(ut->c, &untaken, false) == chanOk;
}

// A firing that is on its way, if there is one, is not to count.
static void forestall(usertimer* ut) {
  if (ut->armed != 0) ut->stale++;
}

static void dropzombie(timer* t) { drop(reinterpret_cast<usertimer*>(t)); }

static usertimer* newusertimer(int64 ns, int64 period, hchan* c, timerfunc* fn) {
  entry();
  auto* ut = static_cast<usertimer*>(rawalloc(sizeof(usertimer)));
  ut->refs.store(1, __ATOMIC_RELAXED);
  ut->c = c;
  ut->fn = fn;
  ut->t.f = c != nullptr ? firechan : firefunc;
  ut->t.arg = c != nullptr ? static_cast<void*>(c) : ut;
  ut->t.seq = reinterpret_cast<uint64>(ut);
  ut->t.index = -1;
  ut->t.drop = dropzombie;
  ut->t.kind = c != nullptr ? timerChan : timerFunc;
  ut->t.goid = callergoid();
  ut->armed = 1;
  int64 when = timeafter(ns);
  lock(&ut->lock);
  bool wake = arm(ut, when, period);
  unlock(&ut->lock);
  if (wake) wakePoller(when);
  return ut;
}

usertimer* newchantimer(int64 ns, int64 period, hchan* c) { return newusertimer(ns, period, c, nullptr); }

usertimer* newfunctimer(int64 ns, timerfunc* fn) {
  fn->refs.store(1, __ATOMIC_RELAXED);
  fn->gopc = uintptr(__builtin_return_address(0));
  return newusertimer(ns, 0, nullptr, fn);
}

hchan* timerchannel(usertimer* ut) {
  if (ut->c == nullptr) throw std::logic_error("vitrine::timer: a timer with a function has no channel");
  chanretain(ut->c);
  return ut->c;
}

// In both: if the entry was in the heap and is of a timer that comes once, nothing has come since it was set, and arm
// or the last stop or reset had found the channel empty.
bool timerstop(usertimer* ut) {
  entry();
  lock(&ut->lock);
  bool was = ut->armed != 0;
  bool inheap = was && stoptimer(&ut->t);
  if (!inheap) forestall(ut);
  ut->armed = 0;
  if (!inheap || ut->t.period != 0) was |= takeback(ut);
  unlock(&ut->lock);
  return was;
}

bool timerreset(usertimer* ut, int64 ns, int64 period) {
  entry();
  int64 when = timeafter(ns);
  bool wake;
  lock(&ut->lock);
  bool was = ut->armed != 0, once = ut->t.period == 0;
  bool inheap = resettimer(&ut->t, when, period, ut->t.seq, &wake);
  if (!inheap) forestall(ut);
  ut->armed = 1;
  if (!inheap || !once) was |= takeback(ut);
  if (!inheap) wake = arm(ut, when, period);
  unlock(&ut->lock);
  if (wake) wakePoller(when);
  return was;
}

void timerrelease(usertimer* ut) {
  timerfunc* fn = ut->fn;
  drop(ut);
  if (fn != nullptr) dropfunc(fn);
}

}  // namespace vitrine::rt
