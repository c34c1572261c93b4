// mcentral.cc: the spans of one class between the heap and the mcaches. Follows Go's mcentral.go (1.12).
//
// cacheSpan: an mcache wants a span with a free object
//   1. the first of nonempty, which moves to the back of empty: it is about to have no free object that others may take.
//      One that is unswept is swept first; one that somebody else sweeps at this moment is left alone
//   2. none: the first of empty that is unswept is swept, and taken if it has a free object then. Spans that are swept
//      are at the back of empty, so the first swept one ends the search
//   3. none: grow() gets a fresh span from the heap, which goes to the back of empty as well; where Ps wait for each
//      other, several
// uncacheSpan: the mcache gives it back; with free objects it goes to nonempty, else it stays on empty. One that nothing
// was taken from goes back to the heap
//
// Spans ahead. A refill for objects of 2 KiB and more is one span, and so two holds of this lock, one of the heap's and
// some counters: where two Ps did that at once, each cost the other as much as clearing the pages. So each time that grow
// finds the heap's lock held it takes one span more than the last time, at most 16 or 128 KiB; they wait in
// mcache.ahead[class], from where refill takes them without any lock. One P by itself never finds the lock held, and
// takes one at a time: clearing one page goes on in the memory's queues while the next span is made.
//   To everybody else they are as the span that the mcache allocates from: cached, at sweepgen + 3, on empty, all
//   objects counted in nmalloc and heap_live. Only the P's M, pinned, touches mcache.ahead and those spans; the others
//   that come across them leave them alone as they are: takeSpan and sweepone change a span only from sweepgen - 2, markers
//   look at no object from freeIndexForScan, 0, on. When a collection begins to sweep, the world is stopped and all mcaches
//   are empty (releaseAll), so no span ahead is ever to be swept. Unlike Go: its Ps have pages ahead (pageCache), not spans;
//   that needs a third place where a page can be, and still a list of mcentral for each span.
//
// Memory at once. A page fault takes most of what a new small object costs, and one for 4 KiB twice as long here as a page
// does where many of them are asked for together. So a span that has no memory gets it from the heap together with what is
// behind it, 32 to 128 KiB, at most a sixteenth of what objects of the class have had, and a 32nd of what is in use: who
// has few objects of a class pays for the pages that they touch. What nobody takes of it is free memory as any other, is
// preferred to what has none (fit, mheap.cc), and the scavenger's. Objects of more than a page count as used whole, and
// large ones, which are not from here, do not. Unlike Go: it has a fault for each page.
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

mspan* mcentral::cacheSpan(spansAhead* ahead) {
  deductSweepCredit(uintptr(class_to_allocnpages[spansizeclass(spanclass)]) << pageShift, 0);
  rt::lock(&lock);
  mspan* s = takeSpan();
  if (s == nullptr) {
    rt::unlock(&lock);
    return grow(ahead);
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
  uint32 sg = load_relaxed(mheap_.sweepgen);
  rt::lock(&lock);
  // sg + 1: cached since before the sweep began, so still to be swept.
  // Of an unused one there is nothing to sweep.
  bool unused = s->allocCount == 0, stale = !unused && s->sweepgen.load(__ATOMIC_RELAXED) == sg + 1;
  s->sweepgen.store(stale ? sg - 2 : sg, __ATOMIC_RELEASE);
  s->incache = 0;
  __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
  uintptr n = s->nelems - s->allocCount;
  if (n > 0) {
    empty.remove(s);
    if (!unused) nonempty.insert(s);
    store_relaxed(nmalloc, nmalloc - n);
  }
  rt::unlock(&lock);
  if (n > 0) mSysStatDec(&memstats.heap_live, n * s->elemsize);
  if (unused) mheap_.freeSpan(s, false);
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

// Memory for how many bytes to ask for at once, if a new span has none: 0, that is at its page faults, as long as that might
// be too much. Whole spans, of `span` bytes: what is left of the last would be nobody's. had: bytes that objects of the
// class have had.
static uintptr window(uintptr had, uintptr span) {
  constexpr uintptr least = 32 << 10, most = 128 << 10;
  uintptr n = had / 16, heap = load_relaxed(memstats.heap_inuse) / 32;
  if (heap < n) n = heap;
  if (n < least) return 0;
  if (n > most) n = most;
  return n < span ? span : n / span * span;
}

// A fresh span, and perhaps others for *ahead, which is empty; all of them cached from now on. Null: no memory.
mspan* mcentral::grow(spansAhead* ahead) {
  constexpr uintptr maxPages = 16;
  mspan* fresh[1 + maxSpansAhead];
  // A glance, which may be wrong: it decides only how many.
  if (mheap_.lock.key.load(__ATOMIC_RELAXED) != 0 && ahead->want < maxSpansAhead) ahead->want++;
  uintptr pages = class_to_allocnpages[spansizeclass(spanclass)], want = 1 + ahead->want;
  if (want > 1 && want * pages > maxPages) want = maxPages / pages > 1 ? maxPages / pages : 1;
  if (want > 1) deductSweepCredit((want - 1) * pages << pageShift, 0);
  uintptr n = mheap_.allocSmall(
      pages, spanclass, want,
      window(load_relaxed(nmalloc) * class_to_size[spansizeclass(spanclass)], pages << pageShift), fresh);
  if (n == 0) return nullptr;
  uintptr objects = n * fresh[0]->nelems;
  uint32 cached = load_relaxed(mheap_.sweepgen) + 3;  // it does not change while we are pinned
  for (uintptr i = 0; i < n; i++) {
    if (!spannoscan(spanclass)) heapBitsForSpan(fresh[i]->base()).initSpan(fresh[i]);
    fresh[i]->sweepgen.store(cached, __ATOMIC_RELAXED);
    fresh[i]->incache = 1;
  }
  rt::lock(&lock);
  for (uintptr i = 0; i < n; i++) empty.insertBack(fresh[i]);
  store_relaxed(nmalloc, nmalloc + objects);
  rt::unlock(&lock);
  mSysStatInc(&memstats.heap_live, objects * fresh[0]->elemsize);
  for (uintptr i = n - 1; i > 0; i--) store_relaxed(ahead->slot[n - 1 - i], fresh[i]);  // the lowest is the last
  __atomic_store_n(&ahead->n, uint32(n - 1), __ATOMIC_RELEASE);                         // with the slots: addclasses
  fresh[0]->clear();
  return fresh[0];
}

}  // namespace vitrine::rt
