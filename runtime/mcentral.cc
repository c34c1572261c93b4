// mcentral.cc: the spans of one class between the heap and the mcaches. Follows Go's mcentral.go (1.12).
//
// cacheSpan: an mcache wants a span with a free object
//   1. the first of nonempty, which moves to the back of empty: it is about to have no free object that others may take.
//      One that is unswept is swept first; one that somebody else sweeps at this moment is left alone
//   2. none: the first of empty that is unswept is swept, and taken if it has a free object then. Spans that are swept
//      are at the back of empty, so the first swept one ends the search
//   3. none: grow() gets a fresh span from the heap, which goes to the back of empty as well
// uncacheSpan: the mcache gives it back; with free objects it goes to nonempty, else it stays on empty
//
// nmalloc counts all objects of a span as allocated from the moment that an mcache has it; uncacheSpan takes back those
// that are still free. So mem_stats needs to look at no mcache to know an upper bound, and at the cached spans'
// allocCount to be exact.
//
// The states of sweepgen (mheap.h) are kept: a cached span is at sweepgen + 3. Who collects empties all mcaches, adds 2,
// and so makes every span unswept; mgcsweep.cc says who sweeps it.
#include "mgc.h"

namespace vitrine::rt {

void mcentral::init(rt::spanClass sc) {
  spanclass = sc;
  nonempty.init();
  empty.init();
}

// Moves s to the back of empty and, if it is unswept, sweeps it. lock held, but not meanwhile.
static void takeforcache(mcentral* c, mspan* s, bool sweep) {
  s->list->remove(s);
  c->empty.insertBack(s);
  if (!sweep) return;
  unlock(&c->lock);
  s->sweep(true);
  lock(&c->lock);
}

// A span with a free object, swept, at the back of empty; null: there is none. lock held.
mspan* mcentral::takeSpan() {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  for (;;) {
    mspan* s = nonempty.first;
    while (s != nullptr && s->sweepgen.load(__ATOMIC_ACQUIRE) == sg - 1) s = s->next;  // somebody sweeps it
    if (s != nullptr) {
      bool unswept = s->sweepgen.cas(sg - 2, sg - 1);
      if (!unswept && s->sweepgen.load(__ATOMIC_ACQUIRE) != sg) continue;  // sweeping began just now
      takeforcache(this, s, unswept);
      return s;
    }
    // Full ones that are not swept may have room then. Swept ones are behind them.
    s = empty.first;
    while (s != nullptr && s->sweepgen.load(__ATOMIC_ACQUIRE) == sg - 1) s = s->next;
    if (s == nullptr || !s->sweepgen.cas(sg - 2, sg - 1)) return nullptr;
    takeforcache(this, s, true);
    if (s->allocCount < s->nelems) return s;
  }
}

mspan* mcentral::cacheSpan() {
  deductSweepCredit(uintptr(class_to_allocnpages[spansizeclass(spanclass)]) << pageShift, 0);
  rt::lock(&lock);
  mspan* s = takeSpan();
  if (s == nullptr) {
    rt::unlock(&lock);
    s = grow();
    if (s == nullptr) return nullptr;
    rt::lock(&lock);
    empty.insertBack(s);
  }
  uintptr n = s->nelems - s->allocCount;
  if (n == 0 || s->freeindex == s->nelems) throw_("mcentral: the span has no free objects");
  if (s->sweepgen.load(__ATOMIC_RELAXED) != load_relaxed(mheap_.sweepgen)) throw_("mcentral: the span is not swept");
  store_relaxed(nmalloc, nmalloc + n);
  s->incache = 1;
  rt::unlock(&lock);
  mSysStatInc(&memstats.heap_live, n * s->elemsize);
  // allocCache begins at a multiple of 64; freeindex may be anywhere.
  s->refillAllocCache(s->freeindex / 64 * 8);
  s->allocCache >>= s->freeindex % 64;
  return s;
}

void mcentral::uncacheSpan(mspan* s) {
  if (s->allocCount == 0) throw_("mcentral: an unused span comes back");
  uint32 sg = load_relaxed(mheap_.sweepgen);
  rt::lock(&lock);
  // sg + 1: cached since before the sweep began, so still to be swept.
  bool stale = s->sweepgen.load(__ATOMIC_RELAXED) == sg + 1;
  s->sweepgen.store(stale ? sg - 2 : sg, __ATOMIC_RELEASE);
  s->incache = 0;
  __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
  uintptr n = s->nelems - s->allocCount;
  if (n > 0) {
    empty.remove(s);
    nonempty.insert(s);
    store_relaxed(nmalloc, nmalloc - n);
  }
  rt::unlock(&lock);
  if (n > 0) mSysStatDec(&memstats.heap_live, n * s->elemsize);
}

// s was just swept, has free objects, and is still at h-1. preserve: the caller takes it. True: its pages went back.
bool mcentral::freeSpan(mspan* s, bool preserve) {
  if (s->incache != 0) throw_("mcentral: a span in an mcache is freed");
  s->needzero = 1;
  uint32 sg = load_relaxed(mheap_.sweepgen);
  if (preserve) {
    s->sweepgen.store(sg, __ATOMIC_RELEASE);
    return false;
  }
  rt::lock(&lock);
  if (s->list == &empty) {
    empty.remove(s);
    nonempty.insert(s);
  }
  s->sweepgen.store(sg, __ATOMIC_RELEASE);
  if (s->allocCount != 0) {
    rt::unlock(&lock);
    return false;
  }
  nonempty.remove(s);
  rt::unlock(&lock);
  mheap_.freeSpan(s, false);
  return true;
}

mspan* mcentral::grow() {
  mspan* s = mheap_.alloc(class_to_allocnpages[spansizeclass(spanclass)], spanclass, false, true);
  if (s != nullptr && !spannoscan(spanclass)) heapBitsForSpan(s->base()).initSpan(s);
  return s;
}

}  // namespace vitrine::rt
