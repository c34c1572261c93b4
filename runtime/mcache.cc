// mcache.cc: what a P allocates from without a lock. Follows Go's mcache.go.
//
// alloc[class] is a span that only this P allocates from; &emptymspan stands for none, so that the fast path needs no
// test. refill changes a full span for one that was taken ahead (mcentral.cc says when and why), or for one of
// mcentral's. A P's M uses the mcache while pinned, so nobody else is in
// it: the P cannot be taken away, and stopping the world waits.
//
// flushGen: when a collection begins its sweep, spans in mcaches are not swept, so each mcache has to give them up
// before it is used again: acquirep calls prepareForSweep, and so does the collector for Ps that stay where they are.
//
// Unlike Go: mcache0 serves everybody who has no P, under mcache0lock: threads that are no Ms, goroutines that lost
// their P, and code before and after run().
#include "mgc.h"

namespace vitrine::rt {

mcache* allocmcache() {
  lock(&mheap_.lock);
  auto* c = static_cast<mcache*>(mheap_.cachealloc.alloc());
  c->flushGen.store(load_relaxed(mheap_.sweepgen), __ATOMIC_RELAXED);
  unlock(&mheap_.lock);
  for (mspan*& s : c->alloc) s = &emptymspan;
  c->next_sample = MemProfileRate;
  return c;
}

void freemcache(mcache* c) {
  c->releaseAll();
  stackcache_clear(c);
  rawcacheflush(c);
  lock(&mheap_.lock);
  mheap_.largefree += c->local_largefree;
  mheap_.nlargefree += c->local_nlargefree;
  for (int32 i = 0; i < numSizeClasses; i++) mheap_.nsmallfree[i] += c->local_nsmallfree[i];
  mheap_.cachealloc.free(c);
  unlock(&mheap_.lock);
}

void mcache::refill(spanClass sc) {
  mspan* s = alloc[sc];
  if (s->allocCount != s->nelems) throw_("mcache: refill of a span with free objects");
  if (s != &emptymspan) {
    uint32 sg = load_relaxed(mheap_.sweepgen);
    if (s->sweepgen.load(__ATOMIC_RELAXED) != sg + 3) throw_("mcache: the cached span has a wrong sweepgen");
    // Full, it stays on mcentral's empty. In no mcache from here on: getting the next one may take a while.
    store_relaxed(alloc[sc], &emptymspan);
    s->incache = 0;
    __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
    s->sweepgen.store(sg, __ATOMIC_RELEASE);
  }
  spansAhead& next = ahead[sc];
  if (next.n > 0) {
    s = next.slot[next.n - 1];  // as mcentral.grow left it: cached, nothing allocated, freeIndexForScan 0
    s->clear();
    store_relaxed(alloc[sc], s);
    store_relaxed(next.n, next.n - 1);
    return;
  }
  s = mheap_.central[sc].mcentral.cacheSpan(&next);
  if (s == nullptr) {
    outofmemory(uintptr(class_to_allocnpages[spansizeclass(sc)]) << pageShift);
    fatal("out of memory");
  }
  s->sweepgen.store(load_relaxed(mheap_.sweepgen) + 3, __ATOMIC_RELAXED);
  __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
  store_relaxed(alloc[sc], s);
  if (__builtin_expect(gcBlackenEnabled.load(__ATOMIC_RELAXED) != 0, 0)) {
    mSysStatInc(&memstats.heap_scan, local_scan);
    local_scan = 0;
    gcController.revise();  // heap_live has grown
  }
}

void mcache::releaseAll() {
  for (int32 i = 0; i < numSpanClasses; i++) {
    mcentral& c = mheap_.central[i].mcentral;
    for (spansAhead& a = ahead[i]; a.n > 0;) {
      store_relaxed(a.n, a.n - 1);
      c.uncacheSpan(a.slot[a.n]);
    }
    ahead[i].want = 0;
    mspan* s = alloc[i];
    if (s == &emptymspan) continue;
    store_relaxed(alloc[i], &emptymspan);
    c.uncacheSpan(s);
  }
  tiny = 0;
  tinyoffset = 0;
  mSysStatInc(&memstats.heap_scan, local_scan);
  local_scan = 0;
  mSysStatInc(&memstats.tinyallocs, local_tinyallocs);
  store_relaxed(local_tinyallocs, 0);
}

void mcache::prepareForSweep() {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  uint32 mine = flushGen.load(__ATOMIC_RELAXED);
  if (mine == sg) return;
  if (mine != sg - 2) throw_("mcache: missed a sweep");
  releaseAll();
  stackcache_clear(this);
  flushGen.store(sg, __ATOMIC_RELEASE);
}

}  // namespace vitrine::rt
