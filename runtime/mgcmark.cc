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
// What is allocated meanwhile. The state of a span is stored with release when the rest of it is there. An object is
// seen as allocated once freeIndexForScan is past it, which its allocator stores with release when its memory is
// zero, its pointer bits are written and it is marked: so a word on a stack that happens to be its address leads to
// nothing, or to a black object. Spans that ever had an object are not freed while a cycle marks. Other spans are:
// who comes to one by an old word finds it in another state, or another range of pages, and looks again with the
// heap's lock before it says that a pointer is bad.
//
// Large objects are scanned in pieces of maxOblet bytes, so that several can do it, and so that who wants to stop does
// not wait for long.
//
// No function here is instrumented by a sanitizer: what is read may be written meanwhile, red zones and all.
#include <emmintrin.h>

#include "mgc.h"
#include "proc.h"

#define NOSAN __attribute__((no_sanitize("thread", "address")))

namespace vitrine::rt {

constexpr uintptr maxOblet = 128 << 10;
constexpr int64 creditSlack = 20'000;   // scan work that is told to others at once
constexpr int64 idleCheck = 100'000;    // scan work between two looks for something better to do
constexpr int64 boundedWork = 100'000;  // that is done while the world waits

// ---- one pointer

// Also of one that is no span at the moment.
NOSAN static inline mSpanState stateof(const mspan* s) { return __atomic_load_n(&s->state.value, __ATOMIC_ACQUIRE); }

NOSAN static inline bool isobject(const mspan* s, uintptr p) {
  return stateof(s) == mSpanInUse && p >= s->base() && p < s->limit;
}

NOSAN static inline bool isfree(const mspan* s, uintptr i) {
  return i >= __atomic_load_n(&s->freeIndexForScan, __ATOMIC_ACQUIRE) && (s->allocBits[i / 8] >> i % 8 & 1) == 0;
}

// As mspan::objIndex.
NOSAN static inline __attribute__((always_inline)) uintptr indexof(const mspan* s, uintptr p) {
  uintptr offset = p - s->base();
  if (s->divShift != 0) return offset >> s->divShift;
  return uintptr(uint64(offset) * s->divMagic >> 32);  // 0 for large objects
}

// p's object, or 0. *sp: p's span, null if it is in no arena.
NOSAN static inline __attribute__((always_inline)) uintptr find(uintptr p, mspan** sp, uintptr* index) {
  mspan* s = *sp = spanOf(p);
  if (s == nullptr || !isobject(s, p)) return 0;
  uintptr i = indexof(s, p);
  if (isfree(s, i)) return 0;
  *index = i;
  return s->base() + i * s->elemsize;
}

NOSAN uintptr findObject(uintptr p, mspan** s, uintptr* index) { return find(p, s, index); }

NOSAN static inline __attribute__((always_inline)) void put(gcWork* w, uintptr obj) {
  workbuf* b = w->wbuf1;
  if (__builtin_expect(b == nullptr || b->nobj == workbufSlots, 0)) return w->put(obj);
  b->obj[b->nobj++] = obj;
}

// Object i of s is marked, if it is one. False: it is none that is allocated.
NOSAN static inline __attribute__((always_inline)) bool grey(mspan* s, uintptr i, gcWork* w) {
  gcBits* bits = &s->gcmarkBits[i / 8];
  auto mask = gcBits(1 << i % 8);
  if ((__atomic_load_n(bits, __ATOMIC_RELAXED) & mask) != 0) return true;
  if (isfree(s, i)) return false;
  if ((__atomic_fetch_or(bits, mask, __ATOMIC_RELAXED) & mask) != 0) return true;
  w->bytesMarked += s->elemsize;
  if (!spannoscan(s->spanclass)) put(w, s->base() + i * s->elemsize);
  return true;
}

NOSAN void gcshade(uintptr p, gcWork* w) {
  mspan* s = spanOf(p);
  if (s != nullptr && isobject(s, p)) grey(s, indexof(s, p), w);
}

NOSAN void gcshadeall(const uintptr* p, uintptr n, gcWork* w) {
  for (uintptr i = 0; i < n; i++) {
    mspan* s = spanOf(p[i]);
    if (s != nullptr && isobject(s, p[i])) grey(s, indexof(s, p[i]), w);
  }
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

// p was found at slot, in an object, and leads to no object. A pointer to a stack, or to what the runtime keeps, is none of
// ours; one to what was such a moment ago neither, but that may be over: with the heap's lock nothing changes any more.
VITRINE_NOINLINE NOSAN static void maybebad(uintptr p, uintptr slot) {
  if (debug.invalidptr == 0) return;
  lock(&mheap_.lock);
  mspan* s = spanOf(p);
  uintptr index;
  bool bad =
      s != nullptr && stateof(s) != mSpanManual && find(p, &s, &index) == 0 && *reinterpret_cast<uintptr*>(slot) == p;
  unlock(&mheap_.lock);
  if (!bad) return;
  const mspan* from = spanOfUnchecked(slot);
  uintptr obj = from->base() + indexof(from, slot) * from->elemsize, off = slot - obj;
  print("runtime: pointer ", hex{p}, " to ", isobject(s, p) ? "a free object" : "an unallocated span",
        ": span.base=", hex{s->base()}, " span.limit=", hex{s->limit}, " span.elemsize=", uint64(s->elemsize),
        " span.state=", statename(s), "\nruntime: found in object at *(", hex{obj}, "+", hex{off}, ") of ",
        uint64(from->elemsize), " bytes\n");
  for (uintptr i = 0; i < from->elemsize && i < 128 * ptrSize; i += ptrSize)
    print(" *(object+", uint64(i), ") = ", hex{*reinterpret_cast<uintptr*>(obj + i)}, i == off ? " <==\n" : "\n");
  throw_("found bad pointer in the heap (was the object only known to memory that the collector does not see?)");
}

// ---- pointers on their way

// What has to be known of an object that a pointer leads to is nearly always out of the cache: first its span, then its
// mark bits. So a pointer that was found waits until `apart` others were, and once more, while these come.
namespace {
constexpr uint32 apart = 8;

class pointers {
 public:
  NOSAN explicit pointers(gcWork* to) : w(to) {}
  // p, at slot in an object, leads to some span.
  NOSAN inline __attribute__((always_inline)) void found(uintptr p, uintptr slot) {
    mspan* s = spanOf(p);
    if (s == nullptr) return;
    __builtin_prefetch(s);
    step({s, p, slot});
  }
  NOSAN void finish() {
    for (uint32 i = 0; i < 2 * apart; i++) step({});
  }

 private:
  struct first {
    mspan* s;
    uintptr p, slot;
  };
  struct second {
    mspan* s;
    uintptr index, p, slot;
  };
  NOSAN inline __attribute__((always_inline)) void step(first in) {
    first f = firsts[at];
    firsts[at] = in;
    second mid{};
    if (f.s != nullptr) {
      if (__builtin_expect(isobject(f.s, f.p), 1)) {
        mid = {f.s, indexof(f.s, f.p), f.p, f.slot};
        __builtin_prefetch(&f.s->gcmarkBits[mid.index / 8]);
      } else if (stateof(f.s) != mSpanManual) {
        maybebad(f.p, f.slot);
      }
    }
    second g = seconds[at];
    seconds[at] = mid;
    at = (at + 1) % apart;
    if (g.s != nullptr && __builtin_expect(!grey(g.s, g.index, w), 0)) maybebad(g.p, g.slot);
  }

  gcWork* const w;
  uint32 at = 0;
  first firsts[apart] = {};
  second seconds[apart] = {};
};

// Whom scanreferents and the like tell: at once.
struct atonce {
  gcWork* w;
  NOSAN inline __attribute__((always_inline)) void found(uintptr p, uintptr slot) const {
    mspan* s = spanOf(p);
    if (s == nullptr) return;
    if (isobject(s, p) ? !grey(s, indexof(s, p), w) : stateof(s) != mSpanManual) maybebad(p, slot);
  }
};
}  // namespace

// ---- one object

// n bytes at b, an object or a part of one.
template <class To>
NOSAN static inline __attribute__((always_inline)) void scanwords(uintptr b, uintptr n, gcWork* w, To& to) {
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
      to.found(p, b + i);
    }
  }
  w->scanWork += int64(n);
}

// b is an object of s, or, in one that is larger than maxOblet, the beginning of a part.
NOSAN static inline __attribute__((always_inline)) void scanobject(uintptr b, mspan* s, gcWork* w, pointers& to) {
  uintptr n = s->elemsize;
  if (__builtin_expect(n > maxOblet, 0)) {
    if (b == s->base())
      for (uintptr part = b + maxOblet; part < s->base() + s->elemsize; part += maxOblet) w->put(part);
    n = s->base() + s->elemsize - b;
    if (n > maxOblet) n = maxOblet;
  }
  scanwords(b, n, w, to);
}

NOSAN void scanreferents(mspan* s, uintptr obj, gcWork* w) {
  atonce to{w};
  if (!spannoscan(s->spanclass)) scanwords(obj, s->elemsize, w, to);
}

// ---- memory without pointer bits

// From the lowest arena to the end of the highest, as of the beginning of the cycle: most words are none of these, and
// what is in later ones is marked. Kept as the address before, since this is scanned as well, and the first object may
// begin at that one.
static uintptr belowheap, heapbytes;
// And what the upper halves of all those addresses have in common: a word with another one needs no closer look.
static uint32 commonbits, commonmask;

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
  auto first = uint32(lo >> 32), differ = uint32(first ^ (hi - 1) >> 32);
  commonmask = differ == 0 ? ~uint32(0) : ~uint32(0) << (31 - __builtin_clz(differ)) << 1;
  commonbits = first & commonmask;
}

NOSAN static inline __attribute__((always_inline)) bool inheaprange(uintptr p) { return p - 1 - belowheap < heapbytes; }

NOSAN void scanblock(uintptr b, uintptr n, gcWork* w) {
  const auto* at = reinterpret_cast<const uintptr*>(alignUp(b, ptrSize));
  const auto* end = reinterpret_cast<const uintptr*>(alignDown(b + n, ptrSize));
  // Eight at a time are asked whether one of them may need a closer look.
  const __m128i bits = _mm_set1_epi32(int(commonbits)), mask = _mm_set1_epi32(int(commonmask));
  auto near = [&](const uintptr* four) __attribute__((always_inline, no_sanitize("thread", "address"))) {
    __m128 a = _mm_loadu_ps(reinterpret_cast<const float*>(four)),
           c = _mm_loadu_ps(reinterpret_cast<const float*>(four + 2));
    __m128i upper = _mm_castps_si128(_mm_shuffle_ps(a, c, _MM_SHUFFLE(3, 1, 3, 1)));
    return _mm_cmpeq_epi32(_mm_and_si128(upper, mask), bits);
  };
  for (; at + 8 <= end; at += 8) {
    if (__builtin_expect(_mm_movemask_epi8(_mm_or_si128(near(at), near(at + 4))) == 0, 1)) continue;
    for (int i = 0; i < 8; i++)
      if (uintptr p = at[i]; inheaprange(p)) gcshade(p, w);
  }
  for (; at < end; at++)
    if (uintptr p = *at; inheaprange(p)) gcshade(p, w);
}

// ---- draining

bool gcMarkWorkAvailable(p* pp) {
  if (pp != nullptr && !pp->gcw.empty()) return true;
  return load_relaxed(work.full) != nullptr ||
         work.markrootNext.load(__ATOMIC_RELAXED) < load_relaxed(work.markrootJobs);
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

// Objects that were taken and not scanned yet, oldest first out: their memory, their spans and their pointer bits are on
// their way to the cache meanwhile.
namespace {
class objects {
 public:
  NOSAN explicit objects(p* on) : pp(on), w(&on->gcw), to(w) {}
  // Scans one. False: there was none, and all that was found is in w.
  NOSAN inline __attribute__((always_inline)) bool one() {
    fill();
    if (__builtin_expect(held == 0, 0)) {
      to.finish();
      fill();
      if (held == 0 && !more()) return false;
    }
    item it = ring[next];
    next = (next + 1) % ahead;
    held--;
    // One link of a chain: what comes next is known by this one only.
    if (held == 0 && it.s->elemsize <= chainBytes) {
      atonce now{w};
      scanwords(it.b, it.s->elemsize, w, now);
    } else {
      scanobject(it.b, it.s, w, to);
    }
    return true;
  }
  // Whoever leaves: what was taken goes back.
  NOSAN void leave() {
    to.finish();
    for (; held > 0; held--, next = (next + 1) % ahead) w->put(ring[next].b);
  }

 private:
  static constexpr uint32 ahead = 8;
  static constexpr uintptr chainBytes = 128;
  struct item {
    uintptr b;
    mspan* s;
  };
  NOSAN inline __attribute__((always_inline)) void add(uintptr b) {
    mspan* s = spanOfUnchecked(b);
    __builtin_prefetch(s);
    __builtin_prefetch(reinterpret_cast<void*>(b));
    __builtin_prefetch(&arenaOf(b)->bitmap[b / (ptrSize * 4) % heapArenaBitmapBytes]);
    ring[(next + held++) % ahead] = {b, s};
  }
  // From the buffer at hand: looking further only when nothing is left here.
  NOSAN inline __attribute__((always_inline)) void fill() {
    workbuf* buf = w->wbuf1;
    if (buf == nullptr) return;
    while (held < ahead && buf->nobj != 0) add(buf->obj[--buf->nobj]);
  }
  NOSAN bool more() {
    uintptr b = w->tryGet();
    if (b == 0) {
      wbBufFlush(pp, w);
      b = w->tryGet();
    }
    if (b == 0) return false;
    add(b);
    return true;
  }

  p* const pp;
  gcWork* const w;
  pointers to;
  uint32 next = 0, held = 0;
  item ring[ahead] = {};
};
}  // namespace

NOSAN static inline __attribute__((always_inline)) void share(gcWork* w) {
  if (load_relaxed(work.full) != nullptr || w->wbuf1 == nullptr) return;
  if (w->wbuf2->nobj != 0 || w->wbuf1->nobj > 4) w->balance();
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
  objects taken(d.pp);
  int64 done = 0;
  while (!stop()) {
    if (!world) share(w);
    if (!taken.one()) break;
    if (world && (flags & drainBounded) != 0 && w->scanWork >= boundedWork) break;
    if (w->scanWork < creditSlack || world) continue;
    done += w->scanWork;
    tell(w, true);
    if (done < d.until) continue;
    d.until = done + idleCheck;
    if (d.leave()) break;
  }
  taken.leave();
  if (!world && w->scanWork > 0) tell(w, true);
}

NOSAN int64 gcDrainN(gcWork* w, int64 want) {
  m* mp = getg()->m;
  g* gp = mp->curg;
  int64 before = w->scanWork;
  objects taken(mp->p);
  while (w->scanWork - before < want && load_relaxed(gp->preempt) == 0 && sched.gcwaiting.load(__ATOMIC_RELAXED) == 0 &&
         sched.exiting.load(__ATOMIC_RELAXED) == 0) {
    share(w);
    if (taken.one()) continue;
    if (work.markrootNext.load(__ATOMIC_RELAXED) >= work.markrootJobs) break;
    uint32 job = work.markrootNext.add(1) - 1;
    if (job >= work.markrootJobs) break;
    markroot(w, job);
    w->scanWork += 1;
  }
  taken.leave();
  int64 done = w->scanWork - before;
  tell(w, false);
  return done;
}

}  // namespace vitrine::rt
