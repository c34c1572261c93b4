// trace.cc: the flight recorder — each M writes what the scheduler does into a ring of its own, which a debugger reads
// from the stopped process or its core (`trace history`). Follows Go's trace.go (the names of the functions) and
// traceevent.go of its second version (the events).
//
// A switch, step by step:
//   1. On g0, with the goroutine still Grunning, park_m and its like call traceGoPark, …: the time is read, and who left
//      and why is noted in the ring's stop fields. Before the status moves on: whatever another M does with the
//      goroutine has a later time.
//   2. schedule finds the next one in the P's own queue; execute calls traceGoStart: one record for both, with that
//      time. Whoever is in the queue was put there by this M, or with the P, so it was readied before.
//   3. If the queue is empty, or anything else happens first, the note becomes a record of its own (traceflush), and
//      the start gets a time of its own: what comes from other Ms may have been readied meanwhile.
// So a switch costs one reading of the clock, which is half of what an event costs. Who readies another reads it too,
// unless the time slices of this M are short just now (quickTicks): then the first GoUnblock of a slice gets the time at
// which the slice began, and is marked with traceEarlier; or it is not recorded at all but by a bit of the switch
// (traceEvReadied), if the goroutine that was readied is the next to run.
//
// Order of events. The time-stamp counter runs alike on all processors (constant_tsc, checked; else CLOCK_MONOTONIC is
// read). g.eventseq counts the events that begin or end a state of the goroutine; it is written by whoever may move the
// status on, before doing so, and stands in each record: a reader sees whether an event of a goroutine is missing —
// its record was overwritten in one ring and not in the other — and does not invent a state over the gap.
//
// Writing and reading without a lock. A ring has one writer: its M, on g0 or pinned. The preemption signal's handler
// writes as well, on the same thread, but only if it interrupted neither (sigpreempted), so never within a write.
//   writer: fence (release); the record's words; head = n + 1 (release)
//   reader: h0 = head (acquire); copies the ring; fence (acquire); h1 = head
// Records [h1 + 1 - size, h0) are whole: the copy has seen their words because head was stored after them, and record
// number h1 is the last whose words may have been stored before h1 was read (fence: the words of number n + 1 come
// after head = n + 1), which destroys number h1 - size. In a stopped process h0 == h1. On top of this, each record has a
// check over its words and its number (tracecheck): for cores that somebody else's memory has run over, and for
// debuggers that copy a running process without such care.
//
// Time: trace.base is a moment on the ticks' clock, on nanotime and on the wall clock; point[lastpoint - 1] a later one.
// A reader needs both for the ticks' length. Two points that take turns: the newest is never the one being written.
#include "trace.h"

#include <cpuid.h>

#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

alignas(64) constinit tracet trace;

constexpr uint64 quickTicks = 4096;  // a microsecond or two

static inline uint64 ticks() {
  if (__builtin_expect(trace.clock == traceClockTSC, 1)) return __builtin_ia32_rdtsc();
  return uint64(nanotime());
}

inline __attribute__((always_inline)) void tracewrite_(traceBuf* b, traceRecord r) {
  uint64 i = b->head.load(__ATOMIC_RELAXED);
  traceRecord* slot = &b->records[i & b->mask];
  __atomic_thread_fence(__ATOMIC_RELEASE);  // pairs with the reader's acquire fence
  store_relaxed(slot->time, r.time);
  store_relaxed(slot->g, r.g);
  store_relaxed(slot->other, r.other);
  store_relaxed(slot->what, r.what | uint64(tracecheck(i, r)) << 32);
  b->head.store(i + 1, __ATOMIC_RELEASE);
  if (__builtin_expect((i & 1023) == 1023, 0)) tracecalibrate();
}
void tracewrite(traceBuf* b, traceRecord r) { tracewrite_(b, r); }

static inline uint64 traceG(g* gp, uint32 seq) {
  return (gp->goid & ((uint64(1) << traceSeqShift) - 1)) | uint64(seq) << traceSeqShift;
}
static inline uint64 nextG(g* gp) { return traceG(gp, ++gp->eventseq); }

static inline uint32 what(m* mp, traceEv ev, uint32 reason) {
  return ev | reason << 8 | (mp->p != nullptr ? uint32(mp->p->id) : traceNoP) << 16;
}

// ---- rings

// A ring of trace.size bytes, on trace.bufs; null: no memory. trace.lock held.
static traceBuf* newbuf() {
  for (traceBuf** at = &trace.free; *at != nullptr; at = &(*at)->freelink) {
    traceBuf* b = *at;
    if ((b->mask + 1) * sizeof(traceRecord) != trace.size) continue;
    *at = b->freelink;
    b->freelink = nullptr;
    return b;
  }
  auto* records = static_cast<traceRecord*>(sysAlloc(trace.size, &memstats.other_sys));
  if (records == nullptr) return nullptr;
  sysName(records, trace.size, "vitrine: flight recorder");
  metadatanote(records, trace.size, "traceRecord", sizeof(traceRecord));
  auto* b = static_cast<traceBuf*>(persistentalloc(sizeof(traceBuf), 64, "traceBuf"));
  b->mask = trace.size / sizeof(traceRecord) - 1;
  b->records = records;
  b->mid = -2;
  b->alllink = trace.bufs;
  __atomic_store_n(&trace.bufs, b, __ATOMIC_RELEASE);
  return b;
}

// b, or a new ring, for the recording number gen.
static traceBuf* adopt(traceBuf* b, uint32 gen, int64 mid, int64 tid) {
  lock(&trace.lock);
  if (b != nullptr && (b->mask + 1) * sizeof(traceRecord) != trace.size) {
    store_relaxed(b->live, 0);
    b->freelink = trace.free;
    trace.free = b;
    b = nullptr;
  }
  if (b == nullptr) b = newbuf();
  unlock(&trace.lock);
  if (b == nullptr) {
    trace.dropped.add(1);
    return nullptr;
  }
  bool newcomer = b->gen != gen || b->mid != mid;
  // The end of one M's records and the beginning of the next one's: whichever is left says whose they are.
  if (b->gen == gen && b->mid != mid)
    tracewrite(b, {ticks(), uint64(b->mid), uint64(b->tid), traceEvThread | uint64(traceNoP) << 16});
  if (b->gen != gen) store_relaxed(b->first, b->head.load(__ATOMIC_RELAXED));
  store_relaxed(b->mid, mid);
  store_relaxed(b->tid, tid);
  store_relaxed(b->live, 1);
  __atomic_store_n(&b->gen, gen, __ATOMIC_RELEASE);  // who sees it sees the others
  b->stopwhat = 0;
  b->readyg = 0;
  b->quick = 0;
  if (newcomer) tracewrite(b, {ticks(), uint64(mid), uint64(tid), traceEvThread | uint64(traceNoP) << 16});
  return b;
}

// The M's ring; null: nothing records any more, or there is no memory.
VITRINE_NOINLINE static traceBuf* ring_slow(m* mp, uint32 gen) {
  if (gen == 0) return nullptr;
  traceBuf* b = mp->tracebuf = adopt(mp->tracebuf, gen, mp->id, gettid_());
  // Who was at work before the recording began, or before this M had anything to tell.
  if (g* gp = mp->curg; b != nullptr && gp != nullptr)
    tracewrite(b, {ticks(), traceG(gp, gp->eventseq), 0, what(mp, traceEvGoStatus, 0)});
  return b;
}
static inline traceBuf* ring(m* mp) {
  uint32 gen = trace.enabled.load(__ATOMIC_RELAXED);
  traceBuf* b = mp->tracebuf;
  if (__builtin_expect(b != nullptr && b->gen == gen, 1)) return b;
  return ring_slow(mp, gen);
}

static void flushready(traceBuf* b) {
  tracewrite(b, {b->readytime, b->readyg, b->readier, traceEvGoUnblock | traceEarlier << 8 | uint64(traceNoP) << 16});
  b->readyg = 0;
}
static inline void flush(traceBuf* b) {
  if (__builtin_expect(b->readyg != 0, 0)) flushready(b);
  if (b->stopwhat == 0) return;
  tracewrite(b, {b->stoptime, b->stopg, 0, b->stopwhat});
  b->stopwhat = 0;
}
void traceflush_slow(m* mp) {
  if (traceBuf* b = ring(mp); b != nullptr) flush(b);
}

// An event of its own, by this M.
static void event(m* mp, traceEv ev, uint32 reason, uint64 gw, uint64 other) {
  traceBuf* b = ring(mp);
  if (b == nullptr) return;
  flush(b);
  b->last = ticks();
  tracewrite_(b, {b->last, gw, other, what(mp, ev, reason)});
}

// The same about gp.
static void gevent(m* mp, traceEv ev, g* gp, uint64 other) {
  if (ring(mp) == nullptr) return;  // first: GoStatus has the number before
  event(mp, ev, 0, nextG(gp), other);
}

static void foreignevent(traceEv ev, uint32 reason, uint64 gw, uint64 other) {
  lock(&trace.foreignlock);
  uint32 gen = trace.enabled.load(__ATOMIC_RELAXED);
  traceBuf* b = trace.foreign;
  if (gen != 0 && (b == nullptr || b->gen != gen)) b = trace.foreign = adopt(b, gen, -1, 0);
  if (b != nullptr && gen != 0) tracewrite(b, {ticks(), gw, other, ev | uint64(reason) << 8 | uint64(traceNoP) << 16});
  unlock(&trace.foreignlock);
}

// ---- events

// gp leaves this M.
static inline void leave(g* gp, traceEv ev, uint32 reason) {
  m* mp = getg()->m;
  traceBuf* b = ring(mp);
  if (b == nullptr) return;
  uint64 now = ticks();
  b->quick = now - b->last < quickTicks;
  b->last = b->stoptime = now;
  b->stopg = nextG(gp);
  b->stopwhat = what(mp, ev, reason);
}
void traceGoPark(g* gp, waitReason reason) {
  if (gp->isforeign) return foreignevent(traceEvGoBlock, reason, nextG(gp), 0);
  leave(gp, traceEvGoBlock, reason);
}
void traceGoSched(g* gp) { leave(gp, traceEvGoStop, waitReasonZero); }
void traceGoPreempt(g* gp) { leave(gp, traceEvGoStop, waitReasonPreempted); }
void traceGoEnd(g* gp) { leave(gp, traceEvGoDestroy, waitReasonZero); }

void traceGoStart(g* gp) {
  if (gp->isforeign) return foreignevent(traceEvGoStart, 0, nextG(gp), 0);
  m* mp = getg()->m;
  traceBuf* b = ring(mp);
  if (b == nullptr) return;
  uint64 gw = nextG(gp);
  if (b->stopwhat == 0) {
    b->last = ticks();
    return tracewrite_(b, {b->last, gw, 0, what(mp, traceEvGoStart, 0)});
  }
  uint64 what = b->stopwhat;
  if (b->readyg != 0) {
    if (b->readyg + (uint64(1) << traceSeqShift) == gw)
      what |= traceEvReadied;
    else
      flushready(b);
    b->readyg = 0;
  }
  tracewrite_(b, {b->stoptime, b->stopg, gw, what});
  b->stopwhat = 0;
}

// By whom: the goroutine that runs here; 0 on a scheduling stack.
static uint64 me(g* self) { return self == self->m->g0 || self == self->m->gsignal ? 0 : traceG(self, 0); }

void traceGoCreate(g* gp, uintptr pc) {
  gp->eventseq = 0;
  g* self = getg();
  if (self == nullptr) return foreignevent(traceEvGoCreate, 0, nextG(gp), pc);
  gevent(self->m, traceEvGoCreate, gp, pc);
}

// Pinned, or on g0.
void traceGoUnpark(g* gp) {
  g* self = getg();
  if (self == nullptr) return foreignevent(traceEvGoUnblock, 0, nextG(gp), 0);
  traceBuf* b = ring(self->m);
  if (b == nullptr) return;
  uint64 by = me(self);
  if (b->quick != 0 && by != 0) {
    b->quick = 0;
    b->readytime = b->last;
    b->readier = by;
    b->readyg = nextG(gp);
    return;
  }
  flush(b);
  b->last = ticks();
  tracewrite_(b, {b->last, nextG(gp), by, what(self->m, traceEvGoUnblock, 0)});
}

void traceGoSysCall(g* gp) { gevent(gp->m, traceEvGoSyscallBegin, gp, 0); }
void traceGoSysExit(g* gp) { gevent(gp->m, traceEvGoSyscallEnd, gp, 0); }
void traceGoSysExitBlocked(g* gp) { gevent(getg()->m, traceEvGoSyscallEndBlocked, gp, 0); }

void traceProcStart() { event(getg()->m, traceEvProcStart, 0, 0, 0); }

// pp is still this M's.
void traceProcStop(p* pp) {
  if (getg()->m->p == pp) event(getg()->m, traceEvProcStop, 0, 0, 0);
}
void traceProcLost(g* gp, p*) {
  m* mp = gp->m;
  // Nothing is allocated in a handler.
  if (mp->tracebuf != nullptr && mp->tracebuf->gen == trace.enabled.load(__ATOMIC_RELAXED))
    event(mp, traceEvProcStop, waitReasonPreempted, traceG(gp, 0), 0);
}
void traceProcSteal(p* pp) {
  m* mp = getg()->m;
  traceBuf* b = ring(mp);
  if (b == nullptr) return;
  flush(b);
  tracewrite(b, {ticks(), 0, 0, traceEvProcSteal | uint64(pp->id) << 16});
}
void traceSTWStart(const char* reason) { event(getg()->m, traceEvSTWBegin, 0, 0, uint64(reason)); }
void traceSTWDone() { event(getg()->m, traceEvSTWEnd, 0, 0, 0); }

// mp's thread ends; its ring stays as it is until another M takes it over.
void traceMexit(m* mp) {
  traceBuf* b = mp->tracebuf;
  if (b == nullptr) return;
  if (tracing() && b->gen == trace.enabled.load(__ATOMIC_RELAXED)) flush(b);
  lock(&trace.lock);
  store_relaxed(b->live, 0);
  b->freelink = trace.free;
  trace.free = b;
  unlock(&trace.lock);
  mp->tracebuf = nullptr;
}

// ---- clocks

// The narrowest of a few tries: an interrupt between the readings would shift them.
static tracePoint now3() {
  tracePoint best{};
  uint64 width = UINT64_MAX;
  for (int i = 0; i < 4; i++) {
    tracePoint t;
    uint64 before = ticks();
    t.mono = nanotime();
    t.ticks = ticks();
    if (t.ticks - before >= width) continue;
    width = t.ticks - before;
    t.ticks = before + width / 2;
    t.wall = walltime();
    best = t;
  }
  return best;
}

void tracecalibrate() {
  if (trace.pointing.xchg(1, __ATOMIC_ACQUIRE) != 0) return;
  uint32 next = trace.lastpoint.load(__ATOMIC_RELAXED) == 1 ? 1 : 0;
  tracePoint t = now3();
  store_relaxed(trace.point[next].ticks, t.ticks);
  store_relaxed(trace.point[next].mono, t.mono);
  store_relaxed(trace.point[next].wall, t.wall);
  trace.lastpoint.store(next + 1, __ATOMIC_RELEASE);
  trace.pointing.store(0, __ATOMIC_RELEASE);
}

static bool invariantTSC() {
  uint32 a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}

// ---- on and off

void tracestart(uint64 bytes) {
  uint64 size = traceMinSize;
  while (size < bytes && size < traceMaxSize) size *= 2;
  lock(&trace.lock);
  if (trace.enabled.load(__ATOMIC_RELAXED) == 0) {
    if (trace.ngen == 0) {
      trace.clock = invariantTSC() ? traceClockTSC : traceClockMonotonic;
      trace.base = now3();
    }
    trace.size = size;
    tracecalibrate();
    // Release: who sees it on sees the clock and the base.
    trace.enabled.store(++trace.ngen, __ATOMIC_RELEASE);
  }
  unlock(&trace.lock);
}

void tracestop() {
  lock(&trace.lock);
  if (trace.enabled.load(__ATOMIC_RELAXED) != 0) tracecalibrate();
  trace.enabled.store(0, __ATOMIC_RELAXED);
  unlock(&trace.lock);
}

uint64 tracesize() {
  lock(&trace.lock);
  uint64 size = trace.enabled.load(__ATOMIC_RELAXED) != 0 ? trace.size : 0;
  unlock(&trace.lock);
  return size;
}

void traceinit(bool debugbuild) {
  int64 size = debug.flightrecorder;
  if (size < 0) size = debugbuild ? 1 : 0;
  if (size > 0) tracestart(size == 1 ? traceDefaultSize : uint64(size));
}

}  // namespace vitrine::rt
