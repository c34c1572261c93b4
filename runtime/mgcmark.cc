// mgcmark.cc: from what is marked to all that it refers to. Follows Go's mgcmark.go. Where it begins: mgcroot.cc.
//
// An object is white (not marked), grey (marked, in somebody's gcWork) or black (marked and scanned). A marker takes a
// grey one, looks at its pointers, and makes each white object that they point to grey. Several do so at once, each with
// the gcWork of its P: the mark bit, set by an atomic or, decides who has an object. Who marks: background workers and
// assists (mgcworker.cc), while the program runs; with the world stopped the collector.
//
// Precisely or conservatively. In an object: by the heap bitmap. There a pointer to nothing that is allocated cannot come
// from a program that keeps the rules of gc.h, and ends it ("found bad pointer"). On stacks and in other memory any word
// that is an address inside an object that is allocated keeps it, wherever in it it points. Words are aligned; a pointer
// in a packed struct is not found.
//
// What is allocated meanwhile. The state of a span is stored with release when the rest of it is there. An object is seen
// as allocated once freeIndexForScan is past it, which its allocator stores with release when its memory is zero, its
// pointer bits are written and it is marked: so a word on a stack that happens to be its address leads to nothing, or to
// a black object. Spans of objects are not freed while a cycle marks. Other spans are: who comes to one by an old word
// finds it in another state, or another range of pages, and looks again with the heap's lock before it says that a
// pointer is bad.
//
// Large objects are scanned in pieces of maxOblet bytes, so that several can do it, and so that who wants to stop does
// not wait for long.
//
// No function here is instrumented by a sanitizer: what is read may be written meanwhile, red zones and all.
#include "mgc.h"
#include "proc.h"

#define NOSAN __attribute__((no_sanitize("thread", "address")))

namespace vitrine::rt {

constexpr uintptr maxOblet = 128 << 10;
constexpr int64 creditSlack = 2000;     // scan work that is told to others at once
constexpr int64 idleCheck = 100'000;    // scan work between two looks for something better to do
constexpr int64 boundedWork = 100'000;  // that is done while the world waits

// ---- one pointer

NOSAN static inline __attribute__((always_inline)) void greyobject(uintptr obj, mspan* s, uintptr index, gcWork* w) {
  gcBits* bits = &s->gcmarkBits[index / 8];
  auto mask = gcBits(1 << index % 8);
  if ((__atomic_load_n(bits, __ATOMIC_RELAXED) & mask) != 0) return;
  if ((__atomic_fetch_or(bits, mask, __ATOMIC_RELAXED) & mask) != 0) return;
  w->bytesMarked += s->elemsize;
  if (!spannoscan(s->spanclass)) w->put(obj);
}

// Also of one that is no span at the moment.
NOSAN static inline mSpanState stateof(const mspan* s) { return __atomic_load_n(&s->state.value, __ATOMIC_ACQUIRE); }

NOSAN static inline bool isobject(const mspan* s, uintptr p) {
  return stateof(s) == mSpanInUse && p >= s->base() && p < s->limit;
}

NOSAN static inline bool isfree(const mspan* s, uintptr i) {
  return i >= __atomic_load_n(&s->freeIndexForScan, __ATOMIC_ACQUIRE) && (s->allocBits[i / 8] >> i % 8 & 1) == 0;
}

// p's object, or 0. *sp: p's span, null if it is in no arena.
NOSAN static inline __attribute__((always_inline)) uintptr find(uintptr p, mspan** sp, uintptr* index) {
  mspan* s = *sp = spanOf(p);
  if (s == nullptr || !isobject(s, p)) return 0;
  uintptr i = s->objIndex(p);
  if (isfree(s, i)) return 0;
  *index = i;
  return s->base() + i * s->elemsize;
}

NOSAN uintptr findObject(uintptr p, mspan** s, uintptr* index) { return find(p, s, index); }

NOSAN void gcshade(uintptr p, gcWork* w) {
  mspan* s;
  uintptr index;
  if (uintptr obj = find(p, &s, &index); obj != 0) greyobject(obj, s, index, w);
}

NOSAN void gcmarknewobject(mspan* s, uintptr obj, gcWork* w) {
  uintptr i = s->objIndex(obj);
  __atomic_fetch_or(&s->gcmarkBits[i / 8], gcBits(1 << i % 8), __ATOMIC_RELAXED);
  w->bytesMarked += s->elemsize;
}

// ---- a pointer to nothing

static const char* statename(const mspan* s) {
  switch (stateof(s)) {
    case mSpanInUse:
      return "in use";
    case mSpanManual:
      return "manual";
    case mSpanFree:
      return "free";
    default:
      return "dead";
  }
}

// p was found in the object at obj and leads to no object. A pointer to a stack, or to what the runtime keeps, is none of
// ours; one to what was such a moment ago neither, but that may be over: with the heap's lock nothing changes any more.
VITRINE_NOINLINE NOSAN static void maybebad(uintptr p, uintptr obj, uintptr off, const mspan* from) {
  if (debug.invalidptr == 0) return;
  lock(&mheap_.lock);
  mspan* s = spanOf(p);
  uintptr index;
  bool bad = s != nullptr && stateof(s) != mSpanManual && find(p, &s, &index) == 0 &&
             *reinterpret_cast<uintptr*>(obj + off) == p;
  unlock(&mheap_.lock);
  if (!bad) return;
  uintptr whole = from->base() + from->objIndex(obj) * from->elemsize;
  off += obj - whole;
  obj = whole;
  print("runtime: pointer ", hex{p}, " to ", isobject(s, p) ? "a free object" : "an unallocated span",
        ": span.base=", hex{s->base()}, " span.limit=", hex{s->limit}, " span.elemsize=", uint64(s->elemsize),
        " span.state=", statename(s), "\nruntime: found in object at *(", hex{obj}, "+", hex{off}, ") of ",
        uint64(from->elemsize), " bytes\n");
  for (uintptr i = 0; i < from->elemsize && i < 128 * ptrSize; i += ptrSize)
    print(" *(object+", uint64(i), ") = ", hex{*reinterpret_cast<uintptr*>(obj + i)}, i == off ? " <==\n" : "\n");
  throw_("found bad pointer in the heap (was the object only known to memory that the collector does not see?)");
}

// ---- one object

// n bytes at b, an object of s or a part of one.
NOSAN static inline __attribute__((always_inline)) void scanwords(uintptr b, uintptr n, mspan* s, gcWork* w) {
  const uint8* bitp = nullptr;
  uintptr i = 0;
  while (i < n) {
    uintptr addr = b + i;
    if (bitp == nullptr || addr % heapArenaBytes == 0)
      bitp = &arenaOf(addr)->bitmap[addr / (ptrSize * 4) % heapArenaBitmapBytes];
    uint32 shift = uint32(addr / ptrSize % 4);
    uint32 bits = uint32(*bitp++) >> shift;
    for (; shift < 4 && i < n; shift++, i += ptrSize, bits >>= 1) {
      if ((bits & bitScan) == 0) {
        w->scanWork += int64(i);
        return;
      }
      if ((bits & bitPointer) == 0) continue;
      uintptr p = __atomic_load_n(reinterpret_cast<uintptr*>(b + i), __ATOMIC_RELAXED);
      if (p - b < n || p == 0) continue;
      mspan* to;
      uintptr index;
      if (uintptr obj = find(p, &to, &index); obj != 0)
        greyobject(obj, to, index, w);
      else if (__builtin_expect(to != nullptr && stateof(to) != mSpanManual, 0))
        maybebad(p, b, i, s);
    }
  }
  w->scanWork += int64(n);
}

// b is an object, or, in one that is larger than maxOblet, the beginning of a part.
NOSAN static inline __attribute__((always_inline)) void scanobject(uintptr b, gcWork* w) {
  mspan* s = spanOfUnchecked(b);
  uintptr n = s->elemsize;
  if (__builtin_expect(n > maxOblet, 0)) {
    if (b == s->base())
      for (uintptr part = b + maxOblet; part < s->base() + s->elemsize; part += maxOblet) w->put(part);
    n = s->base() + s->elemsize - b;
    if (n > maxOblet) n = maxOblet;
  }
  scanwords(b, n, s, w);
}

NOSAN void scanreferents(mspan* s, uintptr obj, gcWork* w) {
  if (!spannoscan(s->spanclass)) scanwords(obj, s->elemsize, s, w);
}

// ---- memory without pointer bits

// From the lowest arena to the end of the highest, as of the beginning of the cycle: most words are none of these, and
// what is in later ones is marked. Kept as the address before, since this is scanned as well, and the first object may
// begin at that one.
static uintptr belowheap, heapbytes;

void gcsetheaprange() {
  uintptr lo = ~uintptr(0), hi = 0;
  int64 n = __atomic_load_n(&mheap_.allArenas.len, __ATOMIC_ACQUIRE);
  uintptr* bases = __atomic_load_n(&mheap_.allArenas.array, __ATOMIC_ACQUIRE);
  for (int64 i = 0; i < n; i++) {
    uintptr base = bases[i];
    if (base < lo) lo = base;
    if (base + heapArenaBytes > hi) hi = base + heapArenaBytes;
  }
  belowheap = lo - 1;
  heapbytes = hi > lo ? hi - lo : 0;
}

NOSAN static inline __attribute__((always_inline)) bool inheaprange(uintptr p) { return p - 1 - belowheap < heapbytes; }

NOSAN void scanblock(uintptr b, uintptr n, gcWork* w) {
  const auto* at = reinterpret_cast<const uintptr*>(alignUp(b, ptrSize));
  const auto* end = reinterpret_cast<const uintptr*>(alignDown(b + n, ptrSize));
  // Four at a time are asked whether one of them needs a closer look.
  for (; at + 4 <= end; at += 4) {
    uintptr p[] = {at[0], at[1], at[2], at[3]};
    if (__builtin_expect(!(inheaprange(p[0]) | inheaprange(p[1]) | inheaprange(p[2]) | inheaprange(p[3])), 1)) continue;
    for (uintptr one : p)
      if (inheaprange(one)) gcshade(one, w);
  }
  for (; at < end; at++)
    if (uintptr p = *at; inheaprange(p)) gcshade(p, w);
}

// ---- draining

bool gcMarkWorkAvailable(p* pp) {
  if (pp != nullptr && !pp->gcw.empty()) return true;
  return load_relaxed(work.full) != nullptr || work.markrootNext.load(__ATOMIC_RELAXED) < work.markrootJobs;
}

static bool haswork(p* pp) { return !runqempty(pp) || sched.runqsize.load(__ATOMIC_RELAXED) != 0; }

static bool shareused(p* pp, int64 since) {
  int64 now = nanotime(), all = now - gcController.markStartTime;
  if (all <= 0) return true;
  int64 mine = load_relaxed(pp->gcFractionalMarkTime) + now - since;
  return double(mine) / double(all) > 1.2 * gcController.fractionalUtilizationGoal;
}

namespace {
// Whether a marker should leave, asked often.
struct drainer {
  p* pp;
  g* gp;  // whom a request to yield is made to
  uint32 flags;
  int64 since, until;  // until: scan work that may be done before more than the cheap questions are asked

  bool stop() const {
    if ((flags & drainUntilPreempt) != 0 && load_relaxed(gp->preempt) != 0) return true;
    return sched.gcwaiting.load(__ATOMIC_RELAXED) != 0 || sched.exiting.load(__ATOMIC_RELAXED) != 0;
  }
  bool leave() const {
    if ((flags & drainIdle) != 0) return haswork(pp);
    return (flags & drainFractional) != 0 && shareused(pp, since);
  }
};
}  // namespace

// What this marker did is told to the others; another P is woken for what it gave away.
static void tell(gcWork* w, bool background) {
  int64 n = w->scanWork;
  w->scanWork = 0;
  gcController.scanWork.add(n, __ATOMIC_RELAXED);
  if (background) gcFlushBgCredit(n);
  if (w->flushedWork != 0) {
    w->flushedWork = 0;
    wakep();
  }
}

// Objects that were taken and not scanned yet, oldest first out: their memory is on its way to the cache meanwhile.
constexpr uint32 ahead = 8;

NOSAN static uintptr take(gcWork* w, p* pp) {
  uintptr b = w->tryGet();
  if (b == 0) {
    wbBufFlush(pp, w);
    b = w->tryGet();
  }
  return b;
}

NOSAN void gcDrain(gcWork* w, uint32 flags) {
  m* mp = getg()->m;
  bool world = sched.gcwaiting.load(__ATOMIC_RELAXED) != 0 && load_relaxed(mp->p->status) == Pgcstop;  // it is stopped
  drainer d{mp->p, mp->curg, flags, nanotime(), idleCheck};
  auto stop = [&] { return !world && d.stop(); };
  while (!stop()) {
    if (work.markrootNext.load(__ATOMIC_RELAXED) >= work.markrootJobs) break;
    uint32 job = work.markrootNext.add(1) - 1;
    if (job >= work.markrootJobs) break;
    markroot(w, job);
    if (!world) tell(w, true);
    if (d.leave()) return;
  }
  uintptr ring[ahead] = {};
  uint32 next = 0, held = 0;
  int64 done = 0;
  while (!stop()) {
    if (load_relaxed(work.full) == nullptr && !world) w->balance();
    while (held < ahead) {
      uintptr b = take(w, d.pp);
      if (b == 0) break;
      __builtin_prefetch(reinterpret_cast<void*>(b));
      ring[(next + held++) % ahead] = b;
    }
    if (held == 0) break;
    uintptr b = ring[next];
    next = (next + 1) % ahead;
    held--;
    scanobject(b, w);
    if (world && (flags & drainBounded) != 0 && w->scanWork >= boundedWork) break;
    if (w->scanWork < creditSlack || world) continue;
    done += w->scanWork;
    tell(w, true);
    if (done < d.until) continue;
    d.until = done + idleCheck;
    if (d.leave()) break;
  }
  for (; held > 0; held--, next = (next + 1) % ahead) w->put(ring[next]);
  if (!world && w->scanWork > 0) tell(w, true);
}

NOSAN int64 gcDrainN(gcWork* w, int64 want) {
  m* mp = getg()->m;
  p* pp = mp->p;
  g* gp = mp->curg;
  int64 before = w->scanWork;
  while (w->scanWork - before < want && load_relaxed(gp->preempt) == 0 && sched.gcwaiting.load(__ATOMIC_RELAXED) == 0 &&
         sched.exiting.load(__ATOMIC_RELAXED) == 0) {
    if (load_relaxed(work.full) == nullptr) w->balance();
    uintptr b = take(w, pp);
    if (b == 0) {
      if (work.markrootNext.load(__ATOMIC_RELAXED) >= work.markrootJobs) break;
      uint32 job = work.markrootNext.add(1) - 1;
      if (job >= work.markrootJobs) break;
      markroot(w, job);
      w->scanWork += 1;
      continue;
    }
    scanobject(b, w);
  }
  int64 done = w->scanWork - before;
  tell(w, false);
  return done;
}

}  // namespace vitrine::rt
