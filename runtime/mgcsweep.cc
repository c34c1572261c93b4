// mgcsweep.cc: objects that were not marked become free. Follows Go's mgcsweep.go (1.12).
//
// A collection ends with the world stopped and every span of objects unswept: mheap_.sweepgen grows by 2, and the two
// sets of mheap_.sweepSpans change roles (mheap.h has what a span's sweepgen says). From then on whoever moves a span
// from h-2 to h-1 by a CAS sweeps it, pinned, so that the next collection finds no span in the middle:
//   * bgsweep, a goroutine, one span after another, yielding in between;
//   * who needs a span: mcentral.cacheSpan sweeps those of its class before it asks the heap for a new one;
//   * who needs pages: mheap.reclaim sweeps until as many came back;
//   * who allocates: deductSweepCredit, see below;
//   * gc::weak, before it says that an object is alive; gc::collect, to the end.
// So a span is swept before anything in it is given out, and all of them before the next collection begins.
//
// Sweeping a span: specials first (mfinal.cc: a finalizer keeps its object for one more cycle), then the marks become
// the allocation bits. The bitmaps are exchanged; the new mark bits are cleared for the next cycle. Unlike Go: a span
// has its two bitmaps for life, so there are no arenas of bits to be freed together.
//
// Proportional sweep. All must be swept before heap_live reaches the trigger of the next collection. sweepPagesPerByte is
// that line's slope: who is about to take spanBytes from the heap first sweeps until pagesSwept is as far as it says.
//
// Who may see a span in between: with the lock of its mcentral, list and sweepgen agree: freeSpan moves it to nonempty
// and then stores the new sweepgen with release; cacheSpan loads it under the same lock.
#include <cstring>

#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

sweepdata sweep;

bool isSweepDone() { return mheap_.sweepdone.load() != 0; }

static uintptr popcount(const gcBits* bits, uintptr n) {
  uintptr count = 0, words = (n + 63) / 64;
  for (uintptr i = 0; i < words; i++) {
    uint64 w;
    memcpy(&w, bits + i * 8, 8);
    count += uintptr(__builtin_popcountll(w));
  }
  return count;
}

// GODEBUG=clobberfree=1: what is read after this was read through a pointer that the collector did not see.
static void clobberfree(mspan* s) {
  for (uintptr i = 0; i < s->nelems; i++) {
    if (s->isFree(i) || markBitsForIndex(s, i).isMarked()) continue;
    auto* p = reinterpret_cast<uint32*>(s->base() + i * s->elemsize);
    for (uintptr k = 0; k < s->elemsize / sizeof *p; k++) p[k] = 0xdeadbeef;
  }
}

static uintptr bitmapbytes(const mspan* s) { return uintptr(8) << 2 * s->bitsclass; }

// Of a span that the caller has moved to h-1. preserve: it stays where it is, for the caller. True: its pages went back
// to the heap.
bool mspan::sweep(bool preserve) {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  if (state.load(__ATOMIC_RELAXED) != mSpanInUse || sweepgen.load(__ATOMIC_RELAXED) != sg - 1) {
    print("runtime: span ", hex{base()}, " has state ", uint64(state.load()), ", sweepgen ", sweepgen.load(),
          ", the heap's is ", sg, "\n");
    throw_("mspan.sweep: the span is not to be swept");
  }
  mheap_.pagesSwept.add(npages, __ATOMIC_RELAXED);
  if (specials != nullptr) sweepspecials(this);
  if (__builtin_expect(debug.clobberfree != 0, 0)) clobberfree(this);
  uintptr nalloc = popcount(gcmarkBits, nelems);
  if (nalloc > allocCount) {
    print("runtime: span ", hex{base()}, ": ", uint64(nalloc), " marked of ", uint64(allocCount), " objects\n");
    throw_("mspan.sweep: more objects are marked than were allocated");
  }
  uintptr nfreed = allocCount - nalloc;
  store_relaxed(allocCount, uint16(nalloc));
  store_relaxed(freeindex, 0);
  store_relaxed(freeIndexForScan, uint16(0));
  gcBits* old = allocBits;
  allocBits = gcmarkBits;
  gcmarkBits = old;
  memset(gcmarkBits, 0, bitmapbytes(this));
  refillAllocCache(0);
  bool large = spansizeclass(spanclass) == 0, freed = false;
  if (large && nalloc == 0) {
    sweepgen.store(sg, __ATOMIC_RELEASE);
    freed = true;
    if (__builtin_expect(debug.efence != 0, 0)) {
      limit = 0;  // in no object any more, and no span for others
      sysFault(reinterpret_cast<void*>(base()), bytes());
    } else {
      mheap_.freeSpan(this, true);
    }
  } else if (nfreed > 0) {
    mSysStatInc(&mheap_.nsmallfree[spansizeclass(spanclass)], nfreed);
    freed = mheap_.central[spanclass].mcentral.freeSpan(this, preserve);
  } else {
    sweepgen.store(sg, __ATOMIC_RELEASE);
  }
  if (!freed) mheap_.sweepSpans[sg / 2 % 2].push(this);
  return freed;
}

// When it returns the span has been swept in this cycle. The caller is pinned.
void mspan::ensureSwept() {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  uint32 now = sweepgen.load(__ATOMIC_ACQUIRE);
  if (now == sg || now == sg + 3) return;
  if (sweepgen.cas(sg - 2, sg - 1)) {
    sweep(false);
    return;
  }
  while ((now = sweepgen.load(__ATOMIC_ACQUIRE)) == sg - 1) osyield();
}

static uintptr sweepone_m() {
  m* mp = acquirem();
  if (isSweepDone()) {
    releasem(mp);
    return ~uintptr(0);
  }
  mheap_.sweepers.add(1);
  uint32 sg = load_relaxed(mheap_.sweepgen);
  uintptr npages = ~uintptr(0);
  for (;;) {
    mspan* s = mheap_.sweepSpans[1 - sg / 2 % 2].pop();
    if (s == nullptr) {
      mheap_.sweepdone.store(1);
      break;
    }
    // Freed, or swept, by another way.
    if (s->state.load(__ATOMIC_ACQUIRE) != mSpanInUse || !s->sweepgen.cas(sg - 2, sg - 1)) continue;
    uintptr pages = s->npages;
    npages = s->sweep(false) ? pages : 0;
    if (npages > 0) mheap_.reclaimCredit.add(npages, __ATOMIC_RELAXED);
    break;
  }
  mheap_.sweepers.add(uint32(-1));
  releasem(mp);
  return npages;
}

// Not on a goroutine's stack: the address of a span that is left there would keep the span's first object.
uintptr sweepone() {
  uintptr npages;
  cleanstack([](void* n) { *static_cast<uintptr*>(n) = sweepone_m(); }, &npages);
  return npages;
}

// What is left is swept, with the world stopped: nobody is in the middle of a span.
void finishsweep_m() {
  while (sweepone() != ~uintptr(0)) sweep.npausesweep++;
  if (mheap_.sweepers.load() != 0) throw_("finishsweep: somebody sweeps in a stopped world");
}

void gcSweep() {
  if (!isSweepDone()) throw_("gcSweep: the last cycle is not swept");
  store_relaxed(mheap_.sweepgen, mheap_.sweepgen + 2);
  if (mheap_.sweepSpans[mheap_.sweepgen / 2 % 2].index.load() != 0) throw_("gcSweep: a span was not swept");
  mheap_.pagesSwept.store(0);
  mheap_.reclaimCredit.store(0);
  mheap_.pagesSweptBasis = 0;
  mheap_.sweepHeapLiveBasis = load_relaxed(memstats.heap_live);
  // Done a little before it is reached: an allocation may go past it by a span.
  constexpr int64 slack = 1 << 20;
  int64 distance = int64(gcController.trigger - mheap_.sweepHeapLiveBasis) - slack;
  if (gcController.trigger == ~uint64(0))
    mheap_.sweepPagesPerByte = 0;
  else
    mheap_.sweepPagesPerByte =
        double(mheap_.pagesInUse.load()) / double(distance < int64(pageSize) ? int64(pageSize) : distance);
  mheap_.sweepdone.store(0);
}

// Sweeps as much as allocating spanBytes costs; callerSweepPages were swept for it already. Not with a lock held.
void deductSweepCredit(uintptr spanBytes, uintptr callerSweepPages) {
  if (mheap_.sweepPagesPerByte == 0 || isSweepDone()) return;
  int64 live = int64(load_relaxed(memstats.heap_live) - mheap_.sweepHeapLiveBasis) + int64(spanBytes);
  int64 target = int64(mheap_.sweepPagesPerByte * double(live)) - int64(callerSweepPages);
  while (target > int64(mheap_.pagesSwept.load(__ATOMIC_RELAXED) - mheap_.pagesSweptBasis))
    if (sweepone() == ~uintptr(0)) break;
}

// Before npages are taken from the heap: sweeps until as many have come back, or all is swept.
void mheap::reclaim(uintptr npages) {
  while (npages > 0 && !isSweepDone()) {
    uintptr credit = reclaimCredit.load(__ATOMIC_RELAXED);
    if (credit > 0) {
      uintptr take = credit < npages ? credit : npages;
      if (reclaimCredit.cas(credit, credit - take, __ATOMIC_RELAXED)) npages -= take;
      continue;
    }
    if (sweepone() == ~uintptr(0)) return;
  }
}

// ---- in the background

void bgsweep(void*) {
  store_relaxed(sweep.g_, getg());
  for (;;) {
    while (sweepone() != ~uintptr(0)) {
      sweep.nbgsweep++;
      wakefing();
      gosched();
    }
    // Others may be in the middle of the last ones, and queue finalizers yet.
    while (mheap_.sweepers.load() != 0) gosched();
    wakefing();
    lock(&sweep.lock);
    if (!isSweepDone()) {
      unlock(&sweep.lock);
      continue;
    }
    sweep.parked = 1;
    goparkunlock(&sweep.lock, waitReasonGCSweepWait, &sweep);
  }
}

void wakebgsweep() {
  lock(&sweep.lock);
  bool wake = sweep.parked != 0;
  sweep.parked = 0;
  unlock(&sweep.lock);
  if (wake) goready(sweep.g_);
}

}  // namespace vitrine::rt
