// time.cc: timers and sleep. Follows Go's time.go from 1.14 on: each P has its own heap of timers. The timers that
// users make are in timer.cc.
//
// A heap is an array of {timer, when}, 4-ary: the children of i are 4i+1 … 4i+4, no child is due before its parent.
// `when` is beside the pointer so that sifting touches one array; a timer knows its index, so that taking it out of the
// middle costs a sift as well and no search. timers.lock guards the heap, and the timers in it; two words are kept for
// readers without the lock: len, and minWhen, the time of the first (0: none).
//
// Most timers are timeouts that are stopped, or put off, long before they are due, so neither moves anything:
//   * A timer that is put off keeps its place; the time in the heap is then earlier than the timer's own. checkTimers
//     finds that out when it has come to the top, and sifts it down then. One that becomes due earlier is sifted up.
//   * stoptimer leaves the timer in the heap as a zombie. Zombies go when they come to the top, or all at once when
//     they are more than a quarter of the heap, or the whole heap: so a stop costs a constant on average, a heap is at
//     most a third larger than need be, and one without timers to come is empty (checkdead, idle Ps). Their memory
//     stays in use until then, which is why a timer on a stack is taken out at once, by deltimer.
// What it costs: an M that sleeps until the first time in the heap may wake up for nothing.
//
// Who runs timers: whoever looks for work. schedule and findrunnable call checkTimers for their own P; on its last try
// to steal, findrunnable does for the others in timerpMask, so that a busy P's timers are not late; the M that sleeps
// as the poller does so until the earliest of all (sched.pollUntil) and then looks again.
//
// A sleep:
//   1. timeSleep makes a timer on the goroutine's own stack and parks; still on the M, but on g0 and with the g
//      Gwaiting, armsleep adds it to the heap of the current P. Not earlier: the timer could fire for a goroutine that
//      still runs. Once timers.lock is released the goroutine may be running again elsewhere and the timer be gone.
//   2. addtimer stores minWhen, then (wakePoller) looks whether a poller sleeps beyond it, and wakes that. The poller
//      stores its pollUntil first and then looks at every minWhen once more. Both sides store, then load, with seq_cst:
//      one of them sees the other, so no timer is slept past. A timer that is not the first of its heap wakes nobody:
//      who added the first has seen to that.
//   3. checkTimers, on any P, takes the timer off the heap, copies what it needs of it, unlocks and calls its function,
//      which readies the goroutine.
// A thread that is no goroutine sleeps by itself.
//
// Whose is a timer's memory? The caller's of addtimer, who calls addtimer, modtimer, deltimer and their like for one
// timer one after the other, never two at once. While the timer is in a heap the runtime uses it. It leaves the heap
// under timers.lock, and the last store to it there is `pp` = null (release). So once deltimer has returned, with
// either result, or f has been called, the runtime does not touch the timer again, and its memory may be freed or used
// anew. (deltimer's first look at pp is its acquire partner: it returns without the lock when pp is null.) That says
// nothing about what f touches. deltimer's false can mean that f is running at this moment, or has been chosen to run
// and not begun. Three ways to be safe from it, by what `arg` is:
//   * arg is never freed (a g, a pollDesc): f gets the `seq` that the timer had when it was taken off, and compares it
//     with the present one in *arg, under a lock of arg's or by a CAS that includes it. Who cancels moves the present
//     one on, under the same lock. A late f finds another number and does nothing. (select.cc: g.selectDone.)
//   * arg is counted: who arms gives the timer a reference. deltimer's true returns it; after false f drops it.
//     (timer.cc)
//   * the canceller waits for a word that f sets last. Only if f cannot be held up.
// f runs on g0 and holds up all other timers of the P: it takes locks of the runtime at most, and never waits.
//
// Unlike Go: a periodic timer is not put back by checkTimers; `period` is f's to use, and a debugger's to show. So a
// timer is never in a heap while its f runs, unless f has put it there as the last thing it did, and a reference that
// belongs to the timer is in one place only.
//
// deltimer takes the lock of the P that `pp` names. While it waits for that the timer may have fired, or have been
// moved to another P's heap (movetimers); it looks at pp again under the lock, and starts over if it has changed.
//
// Whose heap? The current P's. Without a P (the goroutine lost it, a thread that is no goroutine) it is P 0's, the only
// P that no gomaxprocs(n) destroys. A P that goes idle keeps its timers. timerpMask says which Ps may have some:
// pidleget sets the bit of a P that begins to run; pidleput clears it if there are none, and looks at len once more,
// which pairs with addtimer to a P that is not the caller's: it stores len, then sets the bit.
//
// Locks: timers.lock is a leaf, nothing is locked under it but, in movetimers, a second one; f is called without it.
#include "proc.h"
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

// seq_cst: step 2 above. len's readers are content with release: those of another thread that decide something first
// change, or see changed, the P's bit in a mask, by seq_cst operations.
static void publish(timers* ts) {
  ts->len.store(uint32(ts->heap.len) - ts->zombies, __ATOMIC_RELEASE);
  int64 first = ts->heap.len == 0 ? 0 : ts->heap.array[0].when;
  if (ts->minWhen.load(__ATOMIC_RELAXED) != first) ts->minWhen.store(first);
}

static void grow(timers* ts) {
  int64 cap = ts->heap.cap == 0 ? 16 : ts->heap.cap * 2;
  auto* array = static_cast<timerWhen*>(rawalloc(uintptr(cap) * sizeof(timerWhen)));
  if (ts->heap.len > 0) __builtin_memcpy(array, ts->heap.array, uintptr(ts->heap.len) * sizeof(timerWhen));
  rawfree(ts->heap.array);
  ts->heap.array = array;
  ts->heap.cap = cap;
}

// ts->lock is held, here and in the next three.
static void insert(p* pp, timer* t) {
  timers* ts = &pp->timers;
  if (ts->heap.len == ts->heap.cap) grow(ts);
  int64 i = ts->heap.len++;
  place(ts, i, timerWhen{t, t->when});
  siftup(ts, i);
  __atomic_store_n(&t->pp, pp, __ATOMIC_RELAXED);
}

// The timer at i, whose entry has a new time.
static void fix(timers* ts, int64 i) {
  timer* t = ts->heap.array[i].timer;
  siftup(ts, i);
  if (t->index == i) siftdown(ts, i);
}

// It is in no heap any more. From the release store of pp on its memory may be gone, unless it is a zombie.
static void letgo(timer* t) {
  t->index = -1;
  __atomic_store_n(&t->pp, static_cast<p*>(nullptr), __ATOMIC_RELEASE);
}

static void bury(timer* t) {
  t->zombie = 0;
  letgo(t);
  t->drop(t);
}

static void takeout(timers* ts, timer* t) {
  int64 i = t->index;
  timerWhen last = ts->heap.array[--ts->heap.len];
  if (last.timer != t) {
    place(ts, i, last);
    fix(ts, i);
  }
}

// Takes all zombies out, and puts right the times of those that were put off. Linear in the heap.
static void sweepzombies(timers* ts) {
  int64 n = 0;
  constexpr int64 ahead = 8;  // each timer is a cache miss, but one that can be seen coming
  for (int64 i = 0; i < ts->heap.len; i++) {
    if (i + ahead < ts->heap.len) __builtin_prefetch(ts->heap.array[i + ahead].timer, 1);
    timer* t = ts->heap.array[i].timer;
    if (t->zombie)
      bury(t);
    else
      place(ts, n++, timerWhen{t, t->when});
  }
  ts->heap.len = n;
  ts->zombies = 0;
  for (int64 i = (n - 2) / 4; n > 1 && i >= 0; i--) siftdown(ts, i);
}

static void remove(timers* ts, timer* t) {
  takeout(ts, t);
  if (ts->zombies == ts->heap.len && ts->zombies != 0) sweepzombies(ts);
  publish(ts);
  letgo(t);
}

// The heap that t is in, locked; null when it is in none.
static timers* lockheap(timer* t) {
  for (;;) {
    p* pp = __atomic_load_n(&t->pp, __ATOMIC_ACQUIRE);
    if (pp == nullptr) return nullptr;
    lock(&pp->timers.lock);
    if (load_relaxed(t->pp) == pp) return &pp->timers;
    unlock(&pp->timers.lock);
  }
}

bool armtimer(timer* t) {
  if (t->when <= 0) throw_("addtimer: timer without a time");
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  bool others = pp == nullptr;
  if (others) {
    if (load_relaxed(allp.array) == nullptr) fatal("timer started before vitrine::run()");
    pp = allp.array[0];
  }
  timers* ts = &pp->timers;
  lock(&ts->lock);
  insert(pp, t);
  bool first = t->index == 0;
  publish(ts);
  unlock(&ts->lock);
  if (others) mask_set(timerpMask, pp->id);
  releasem(mp);
  return first;
}

void addtimer(timer* t) {
  int64 when = t->when;
  if (armtimer(t)) wakePoller(when);
}

bool deltimer(timer* t) {
  timers* ts = lockheap(t);
  if (ts == nullptr) return false;
  remove(ts, t);
  unlock(&ts->lock);
  return true;
}

bool stoptimer(timer* t) {
  timers* ts = lockheap(t);
  if (ts == nullptr) return false;
  bool was = t->zombie == 0;
  if (was) {
    t->zombie = 1;
    ts->zombies++;
    if (ts->zombies > ts->heap.len / 4) sweepzombies(ts);
    publish(ts);
  }
  unlock(&ts->lock);
  return was;
}

bool resettimer(timer* t, int64 when, int64 period, uint64 seq, bool* wake) {
  if (when <= 0) throw_("resettimer: timer without a time");
  *wake = false;
  timers* ts = lockheap(t);
  if (ts == nullptr) return false;
  t->when = when;
  t->period = period;
  t->seq = seq;
  bool back = t->zombie != 0;
  if (back) {
    t->zombie = 0;
    ts->zombies--;
  }
  bool earlier = when < ts->heap.array[t->index].when;
  if (earlier) {
    ts->heap.array[t->index].when = when;
    siftup(ts, t->index);
    *wake = t->index == 0;
  }
  if (back || earlier) publish(ts);
  unlock(&ts->lock);
  return true;
}

bool modtimer(timer* t, int64 when, int64 period) {
  bool wake, was = resettimer(t, when, period, t->seq, &wake);
  if (!was) {
    t->when = when;
    t->period = period;
    wake = armtimer(t);
  }
  if (wake) wakePoller(when);
  return was;
}

// `from` is about to be destroyed: its owner has stopped. Threads without a P may still call deltimer, hence the locks;
// only here are two held, `from` first.
void movetimers(p* to, p* from) {
  lock(&from->timers.lock);
  lock(&to->timers.lock);
  sweepzombies(&from->timers);
  slice<timerWhen>* heap = &from->timers.heap;
  for (int64 i = 0; i < heap->len; i++) insert(to, heap->array[i].timer);
  heap->len = 0;
  publish(&from->timers);
  publish(&to->timers);
  unlock(&to->timers.lock);
  unlock(&from->timers.lock);
  mask_set(timerpMask, to->id);
}

// Goroutines on the caller's queue with which checkTimers leaves it at that. A million timers that are due at once
// would else make a million goroutines, with a stack each, before the first of them runs.
constexpr uint32 enough = 64;

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
    if (t->zombie) {
      takeout(ts, t);
      ts->zombies--;
      bury(t);
      publish(ts);
      continue;
    }
    if (t->when > ts->heap.array[0].when) {
      ts->heap.array[0].when = t->when;
      siftdown(ts, 0);
      publish(ts);
      continue;
    }
    auto f = t->f;
    void* arg = t->arg;
    uint64 seq = t->seq;
    remove(ts, t);
    // From here on t may be gone. f may add timers and ready goroutines: not under the lock.
    unlock(&ts->lock);
    f(arg, seq);
    *ran = true;
    lock(&ts->lock);
    // The rest at the scheduler's next round, which runs one at least.
    p* mine = getg()->m->p;
    if (mine->runqtail.load(__ATOMIC_RELAXED) - mine->runqhead.load(__ATOMIC_RELAXED) >= enough) break;
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
  if (getg() == nullptr) {
    note never{};
    notetsleep(&never, ns);
    return;
  }
  g* gp = parkable("sleep");
  timer t{};
  t.f = goroutineReady;
  t.arg = gp;
  t.when = timeafter(ns);
  t.index = -1;
  t.kind = timerSleep;
  t.goid = gp->goid;
  gp->timer_ = &t;
  gopark(armsleep, &t, waitReasonSleep, nullptr);
  gp->timer_ = nullptr;
}

}  // namespace vitrine::rt
