// mstats.cc: how much memory is where. Follows Go's mstats.go.
//
// memstats holds the counts that change with each span: each is a word that only mSysStatInc and mSysStatDec change, by
// atomic adds, so a reader needs no lock. What changes with each object is counted in mcentral and the mcaches, and
// summed up here when somebody asks.
//
// Unlike Go: mem_stats does not stop the world. Each number was right at some moment of the call; sums of them may be
// off by what was allocated meanwhile.
#include "include/vitrine/detail/rt.h"
#include "mem.h"

namespace vitrine::rt {

mstats memstats;

void mSysStatInc(uint64* stat, uintptr n) { __atomic_fetch_add(stat, n, __ATOMIC_RELAXED); }

void mSysStatDec(uint64* stat, uintptr n) {
  uint64 was = __atomic_fetch_sub(stat, n, __ATOMIC_RELAXED);
  if (was < n) {
    print("runtime: stat underflow: val ", was - n, ", n ", uint64(n), "\n");
    throw_("runtime: memstats underflow");
  }
}

namespace {

// Objects of collected spans, class by class. nmalloc counts a span's objects when a P gets it, before it can be seen in
// the P's cache: so the caches are read first.
void addclasses(memStats* st) {
  for (int32 i = 0; i < numSpanClasses; i++) {
    uint64 idle = 0, size = class_to_size[i >> 1];  // in spans that Ps have, and not yet allocated
    for (int64 k = -1; k < nallp(); k++) {
      const mcache* cache = k < 0 ? mheap_.mcache0 : load_relaxed(allp.array[k]->mcache);
      if (cache == nullptr) continue;
      const mspan* s = load_relaxed(cache->alloc[i]);
      if (s != nullptr && s != &emptymspan) idle += s->nelems - load_relaxed(s->allocCount);
      const spansAhead& a = cache->ahead[i];
      uint32 spans = __atomic_load_n(&a.n, __ATOMIC_ACQUIRE);  // with the slots: mcentral::grow
      for (uint32 j = 0; j < spans; j++)
        if (load_relaxed(a.slot[j]) != s) idle += load_relaxed(a.slot[j])->nelems;
    }
    uint64 n = load_relaxed(mheap_.central[i].mcentral.nmalloc);
    n -= idle < n ? idle : n;
    st->by_size[i >> 1].size = uint32(size);
    st->by_size[i >> 1].mallocs += n;
    st->mallocs += n;
    st->total_alloc += n * size;
  }
}

}  // namespace

void readmemstats(memStats* st) {
  mallocinit();
  *st = {};
  lock(&mheap_.lock);
  addclasses(st);
  st->mallocs += mheap_.nlargealloc;
  st->total_alloc += mheap_.largealloc;
  st->frees += mheap_.nlargefree;
  uint64 freed = mheap_.largefree;
  for (int32 i = 0; i < numSizeClasses; i++) {
    st->by_size[i].frees += mheap_.nsmallfree[i];
    st->frees += mheap_.nsmallfree[i];
    freed += mheap_.nsmallfree[i] * class_to_size[i];
  }
  st->mspan_inuse = mheap_.spanalloc.inuse;
  st->mcache_inuse = mheap_.cachealloc.inuse;
  unlock(&mheap_.lock);
  uint64 tiny = load_relaxed(memstats.tinyallocs);
  st->runtime_mallocs = load_relaxed(memstats.rawallocs);
  st->runtime_frees = load_relaxed(memstats.rawfrees);
  for (int64 k = -1; k < nallp(); k++) {
    const mcache* c = k < 0 ? mheap_.mcache0 : load_relaxed(allp.array[k]->mcache);
    if (c == nullptr) continue;
    tiny += load_relaxed(c->local_tinyallocs);
    st->runtime_mallocs += load_relaxed(c->local_rawallocs);
    st->runtime_frees += load_relaxed(c->local_rawfrees);
  }
  st->mallocs += tiny;
  st->frees += tiny;  // as Go: each lives in a block that is counted itself
  st->alloc = st->heap_alloc = st->total_alloc - freed;
  st->heap_objects = st->mallocs - st->frees;
  st->heap_sys = load_relaxed(memstats.heap_sys);
  st->heap_idle = load_relaxed(memstats.heap_idle);
  st->heap_inuse = load_relaxed(memstats.heap_inuse);
  st->heap_released = load_relaxed(memstats.heap_released);
  st->stack_inuse = st->stack_sys = load_relaxed(memstats.stacks_inuse);
  st->runtime_inuse = load_relaxed(memstats.runtime_inuse);
  st->heap_sys -= st->stack_sys + st->runtime_inuse + load_relaxed(memstats.manual_inuse);
  st->mspan_sys = load_relaxed(memstats.mspan_sys);
  st->mcache_sys = load_relaxed(memstats.mcache_sys);
  st->gc_sys = load_relaxed(memstats.gc_sys);
  st->buck_hash_sys = load_relaxed(memstats.buckhash_sys);
  st->other_sys = load_relaxed(memstats.other_sys);
  st->sys =
      load_relaxed(memstats.heap_sys) + st->mspan_sys + st->mcache_sys + st->gc_sys + st->buck_hash_sys + st->other_sys;
}

}  // namespace vitrine::rt
