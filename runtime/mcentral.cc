// mcentral.cc: the spans of one class between the heap and the mcaches. Follows Go's mcentral.go (1.12).
//
// cacheSpan: an mcache wants a span with a free object
//   1. the first of nonempty, which moves to the back of empty: it is about to have no free object that others may take
//   2. none: grow() gets a fresh span from the heap, which goes to the back of empty as well
// uncacheSpan: the mcache gives it back; with free objects it goes to nonempty, else it stays on empty
//
// nmalloc counts all objects of a span as allocated from the moment that an mcache has it; uncacheSpan takes back those
// that are still free. So mem_stats needs to look at no mcache to know an upper bound, and at the cached spans'
// allocCount to be exact.
//
// The states of sweepgen (mheap.h) are kept: a cached span is at sweepgen + 3. Who starts a collection adds 2 and makes
// spans of the previous generation count as unswept; then those are swept before they are used here. Until there is a
// sweeper all spans are swept, and one that is not ends the program.
#include "mem.h"

namespace vitrine::rt {

void mcentral::init(rt::spanClass sc) {
  spanclass = sc;
  nonempty.init();
  empty.init();
}

mspan* mcentral::cacheSpan() {
  rt::lock(&lock);
  mspan* s = nonempty.first;
  if (s != nullptr) {
    nonempty.remove(s);
  } else {
    rt::unlock(&lock);
    s = grow();
    if (s == nullptr) return nullptr;
    rt::lock(&lock);
  }
  empty.insertBack(s);
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
  uintptr n = s->nelems - s->allocCount;
  if (n > 0) {
    empty.remove(s);
    nonempty.insert(s);
    store_relaxed(nmalloc, nmalloc - n);
  }
  rt::unlock(&lock);
  if (n > 0) mSysStatDec(&memstats.heap_live, n * s->elemsize);
}

mspan* mcentral::grow() {
  mspan* s = mheap_.alloc(class_to_allocnpages[spansizeclass(spanclass)], spanclass, false, true);
  if (s != nullptr && !spannoscan(spanclass)) heapBitsForSpan(s->base()).initSpan(s);
  return s;
}

}  // namespace vitrine::rt
