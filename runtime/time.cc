// time.cc: timers and sleep. Follows Go's time.go from 1.14 on: each P has its own heap of timers.
//
// A heap is an array of {timer, when}, 4-ary: the children of i are 4i+1 … 4i+4, no child is due before its parent.
// `when` is beside the pointer so that sifting touches one array. timers.lock guards the heap, and the timers in it;
// two words are kept for readers without the lock: len, and minWhen, the time of the first (0: none).
//
// Who runs timers: whoever looks for work. schedule and findrunnable call checkTimers for their own P; on its last try
// to steal, findrunnable does for the others in timerpMask, so that a busy P's timers are not late; the M that sleeps
// as the poller does so until the earliest of all (sched.pollUntil) and then looks again.
//
// A sleep:
//   1. timeSleep makes a timer on the goroutine's own stack and parks; still on the M, but on g0 and with the g
//   Gwaiting,
//      armsleep adds it to the heap of the current P. Not earlier: the timer could fire for a goroutine that still
//      runs. Once timers.lock is released the goroutine may be running again elsewhere and the timer be gone.
//   2. addtimer stores minWhen, then (wakePoller) looks whether a poller sleeps beyond it, and wakes that. The poller
//      stores its pollUntil first and then looks at every minWhen once more. Both sides store, then load, with seq_cst:
//      one of them sees the other, so no timer is slept past.
//   3. checkTimers, on any P, takes the timer off the heap, copies what it needs of it, unlocks and calls its function,
//      which readies the goroutine.
//
// A P that goes idle keeps its timers; pidleput clears its bit in timerpMask when it has none, which needs no lock:
// only the owner of a running P adds timers to it, others only take them off. pidleget sets the bit again.
#include "waitq.h"

namespace vitrine::rt {

void runtimers_init(p* pp) { pp->timers.minWhen.store(0, __ATOMIC_RELAXED); }

static void place(timers* ts, int64 i, timerWhen tw) {
  ts->heap.array[i] = tw;
  tw.timer->index = i;
}

static void siftup(timers* ts, int64 i) {
  timerWhen tw = ts->heap.array[i];
  while (i > 0) {
    int64 parent = (i - 1) / 4;
    if (tw.when >= ts->heap.array[parent].when) break;
    place(ts, i, ts->heap.array[parent]);
    i = parent;
  }
  place(ts, i, tw);
}

static void siftdown(timers* ts, int64 i) {
  timerWhen tw = ts->heap.array[i];
  for (;;) {
    int64 first = 4 * i + 1;
    if (first >= ts->heap.len) break;
    int64 least = first;
    int64 end = first + 4 < ts->heap.len ? first + 4 : ts->heap.len;
    for (int64 c = first + 1; c < end; c++)
      if (ts->heap.array[c].when < ts->heap.array[least].when) least = c;
    if (ts->heap.array[least].when >= tw.when) break;
    place(ts, i, ts->heap.array[least]);
    i = least;
  }
  place(ts, i, tw);
}

// seq_cst: step 2 above.
static void publish(timers* ts) {
  ts->len.store(uint32(ts->heap.len));
  ts->minWhen.store(ts->heap.len == 0 ? 0 : ts->heap.array[0].when);
}

static void grow(timers* ts) {
  int64 cap = ts->heap.cap == 0 ? 16 : ts->heap.cap * 2;
  auto* array = static_cast<timerWhen*>(rawalloc(uintptr(cap) * sizeof(timerWhen)));
  if (ts->heap.len > 0) __builtin_memcpy(array, ts->heap.array, uintptr(ts->heap.len) * sizeof(timerWhen));
  rawfree(ts->heap.array);
  ts->heap.array = array;
  ts->heap.cap = cap;
}

void addtimer(timer* t) {
  if (t->when <= 0) throw_("addtimer: timer without a time");
  int64 when = t->when;
  m* mp = acquirem();
  p* pp = mp->p;
  if (pp == nullptr) throw_("addtimer: no p");
  timers* ts = &pp->timers;
  lock(&ts->lock);
  if (ts->heap.len == ts->heap.cap) grow(ts);
  t->pp = pp;
  int64 i = ts->heap.len++;
  place(ts, i, timerWhen{t, when});
  siftup(ts, i);
  publish(ts);
  unlock(&ts->lock);
  releasem(mp);
  wakePoller(when);
}

// Takes the first timer off the heap, or, if it is periodic, moves it to its next time. ts->lock is held.
static void advance(timers* ts, int64 now) {
  timer* t = ts->heap.array[0].timer;
  if (t->period > 0) {
    t->when += t->period * (1 + (now - t->when) / t->period);
    ts->heap.array[0].when = t->when;
  } else {
    t->index = -1;
    t->pp = nullptr;
    ts->heap.len--;
    if (ts->heap.len > 0) ts->heap.array[0] = ts->heap.array[ts->heap.len];
  }
  if (ts->heap.len > 0) siftdown(ts, 0);
  publish(ts);
}

// Runs the timers of pp that are due. now: a time just read, or 0 to have it read here if it is needed; returned either
// way. *pollUntil: when the next one is due; 0: there is none. *ran: whether any was run.
int64 checkTimers(p* pp, int64 now, int64* pollUntil, bool* ran) {
  timers* ts = &pp->timers;
  *ran = false;
  int64 next = ts->minWhen.load();
  if (next == 0) {
    *pollUntil = 0;
    return now;
  }
  if (now == 0) now = nanotime();
  if (now < next) {
    *pollUntil = next;
    return now;
  }
  lock(&ts->lock);
  while (ts->heap.len > 0 && ts->heap.array[0].when <= now) {
    timer* t = ts->heap.array[0].timer;
    auto f = t->f;
    void* arg = t->arg;
    uint64 seq = t->seq;
    advance(ts, now);
    // From here on t may be gone. f may add timers and ready goroutines: not under the lock.
    unlock(&ts->lock);
    f(arg, seq);
    *ran = true;
    lock(&ts->lock);
  }
  *pollUntil = ts->heap.len == 0 ? 0 : ts->heap.array[0].when;
  unlock(&ts->lock);
  return now;
}

int64 timeSleepUntil() {
  int64 first = 0;
  for (int64 i = 0; i < nallp(); i++) {
    int64 when = allp.array[i]->timers.minWhen.load();
    if (when != 0 && (first == 0 || when < first)) first = when;
  }
  return first;
}

static void goroutineReady(void* arg, uint64) { goready(static_cast<g*>(arg)); }

static bool armsleep(g*, void* t) {
  addtimer(static_cast<timer*>(t));
  return true;
}

void timeSleep(int64 ns) {
  entry();
  if (ns <= 0) return;
  g* gp = parkable("sleep");
  timer t{};
  t.f = goroutineReady;
  t.arg = gp;
  t.when = timeafter(ns);
  t.index = -1;
  gp->timer_ = &t;
  gopark(armsleep, &t, waitReasonSleep, nullptr);
  gp->timer_ = nullptr;
}

}  // namespace vitrine::rt
