// malloc.cc: allocation of objects on the heap, by size. Follows Go's malloc.go (1.12 to 1.14).
//
//   tiny   < 16 bytes, no pointers   several share a block of 16: the mcache's `tiny`, cut from the front; a new block
//                                    when the next does not fit. Such a block lives as long as any of its objects
//   small  <= 32 KiB                 rounded up to a size class; the next free object of the mcache's span of that class:
//                                      nextFreeFast  one count of trailing zeros in allocCache
//                                      nextFree      the span's next 64 bits; at its end a new span from mcentral
//   large                            a span of its own from the heap
//   0                                &zerobase
// Then the object's pointer bits are written (mbitmap.cc), a fence publishes it, and one allocation in MemProfileRate
// bytes is remembered (profilealloc). Memory is zero if the span's needzero is clear or the caller asked for it.
//
// gc::make (gcalloc) has a short way for what most of its calls are: see mallocfast.
//
// The whole is one pin: nobody can take the P, and nothing parks. A thread or goroutine without a P uses mcache0 under
// its lock. There is no way to free an object here: that is the collector's. (What is freed by hand: malloc_raw.cc.)
//
// GODEBUG: sbrk=1 takes everything from persistentalloc; efence=1 gives each object pages of its own;
// allocfreetrace=1 prints each allocation, and each free of malloc_raw.cc.
#include <climits>
#include <cstring>

#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

int32 MemProfileRate = 512 << 10;

// ---- begin

void mallocinit() {
  static mutex once;
  if (__atomic_load_n(&mheap_.initialised, __ATOMIC_ACQUIRE) != 0) return;
  lock(&once);
  if (mheap_.initialised == 0) {
    static_assert(class_to_size[tinySizeClass] == maxTinySize);
    static_assert(heapArenaBytes % (pageSize * 8) == 0);
    physPageSize = getPageSize();
    if (physPageSize < 4096 || (physPageSize & (physPageSize - 1)) != 0) throw_("mallocinit: bad system page size");
    emptymspan.nelems = 0;
    mheap_.init();
    for (auto& pool : stackpool) pool.item.span.init();
    for (auto& l : stackLarge.free) l.init();
    mheap_.mcache0 = allocmcache();
    __atomic_store_n(&mheap_.initialised, uint8(1), __ATOMIC_RELEASE);
  }
  unlock(&once);
}

void outofmemory(uintptr bytes) {
  print("runtime: out of memory: cannot allocate ", uint64(bytes), "-byte block (", load_relaxed(memstats.heap_sys),
        " in use)\n");
}

// ---- which mcache

static inline __attribute__((always_inline)) pinnedcache pin() {
  g* gp = getg();
  m* mp = nullptr;
  if (__builtin_expect(gp != nullptr, 1)) {
    mp = gp->m;
    mp->locks++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);  // which P it is, is known from here on only
    if (p* pp = mp->p; __builtin_expect(pp != nullptr && pp->mcache != nullptr, 1)) return {mp, pp->mcache, false};
  }
  mallocinit();
  lock(&mheap_.mcache0lock);
  return {mp, mheap_.mcache0, true};
}

static inline __attribute__((always_inline)) void unpin(const pinnedcache& pin) {
  if (__builtin_expect(pin.shared, 0)) unlock(&mheap_.mcache0lock);
  if (pin.mp != nullptr) rt::unpin(pin.mp, getg());
}

pinnedcache gomcache() { return pin(); }
void ungomcache(const pinnedcache& p) { unpin(p); }

// ---- the ways to an object

static inline __attribute__((always_inline)) uintptr nextFreeFast(mspan* s) {
  if (__builtin_expect(s->allocCache == 0, 0)) return 0;
  int bit = __builtin_ctzll(s->allocCache);
  uintptr result = s->freeindex + uintptr(bit);
  if (__builtin_expect(result >= s->nelems, 0)) return 0;
  uintptr freeidx = result + 1;
  if (__builtin_expect(freeidx % 64 == 0 && freeidx != s->nelems, 0)) return 0;
  s->allocCache = s->allocCache >> bit >> 1;
  store_relaxed(s->freeindex, freeidx);
  store_relaxed(s->allocCount, uint16(s->allocCount + 1));
  return s->base() + result * s->elemsize;
}

VITRINE_NOINLINE static uintptr nextFree(mcache* c, spanClass sc) {
  mspan* s = c->alloc[sc];
  uintptr i = s->nextFreeIndex();
  if (i == s->nelems) {
    struct {
      mcache* c;
      spanClass sc;
    } r{c, sc};
    cleanstack([](void* a) { static_cast<decltype(r)*>(a)->c->refill(static_cast<decltype(r)*>(a)->sc); }, &r);
    s = c->alloc[sc];
    i = s->nextFreeIndex();
  }
  if (i >= s->nelems) throw_("mallocgc: the new span has no free object");
  store_relaxed(s->allocCount, uint16(s->allocCount + 1));
  if (s->allocCount > s->nelems) throw_("mallocgc: allocCount is beyond nelems");
  return s->base() + i * s->elemsize;
}

VITRINE_NOINLINE static mspan* largeAlloc(uintptr size, bool needzero, bool noscan) {
  if (size + pageSize < size) {
    outofmemory(size);
    fatal("out of memory");
  }
  uintptr npages = alignUp(size, pageSize) >> pageShift;
  mspan* s = mheap_.alloc(npages, makeSpanClass(0, noscan), needzero);
  if (s == nullptr) {
    outofmemory(npages << pageShift);
    fatal("out of memory");
  }
  s->limit = s->base() + size;
  s->freeindex = 1;
  if (gcphase.load(__ATOMIC_RELAXED) == GCoff) store_relaxed(s->freeIndexForScan, uint16(1));
  s->allocCount = 1;
  if (!noscan) heapBitsForSpan(s->base()).initSpan(s);
  return s;
}

// ---- what is remembered of allocations

VITRINE_NOINLINE static void tracealloc(void* x, uintptr size, const _type* typ) {
  print("tracealloc(", x, ", ", hex{size});
  if (typ != nullptr) print(", ", typ->name);
  print(")\n");
}

// Bytes until the next sample. Unlike Go: even from 0 to twice the rate, not exponential, which takes a logarithm.
static int32 nextSample() {
  int32 rate = load_relaxed(MemProfileRate);
  if (rate <= 1) return rate == 1 ? 0 : INT32_MAX;
  return int32(fastrandn(uint32(rate < (1 << 30) ? rate * 2 : rate)));
}

// Remembers who allocated the object, as a record of its span.
VITRINE_NOINLINE static void profilealloc(mcache* c, void* x, uintptr size, uintptr pc) {
  c->next_sample = nextSample();
  if (load_relaxed(MemProfileRate) <= 0) return;
  mspan* s = spanOfUnchecked(uintptr(x));
  lock(&mheap_.speciallock);
  auto* sp = static_cast<specialprofile*>(mheap_.specialprofilealloc.alloc());
  unlock(&mheap_.speciallock);
  g* gp = curgoroutine();
  sp->special.kind = kindSpecialProfile;
  sp->special.offset = uint32(uintptr(x) - s->base());
  sp->size = size;
  sp->pc = pc;
  sp->goid = gp != nullptr ? gp->goid : 0;
  addspecial(s, &sp->special);
  mSysStatInc(&memstats.nprofiled, 1);
}

// Most objects are small: calling memset would take longer than this. size: a multiple of 8.
static inline __attribute__((always_inline)) void zerosmall(uintptr x, uintptr size) {
  typedef uintptr pair __attribute__((vector_size(16), aligned(8), may_alias));
  if (size > 256) {
    memset(reinterpret_cast<void*>(x), 0, size);
    return;
  }
  uintptr at = 0;
  for (; at + sizeof(pair) <= size; at += sizeof(pair)) {
    *reinterpret_cast<pair*>(x + at) = pair{};
    asm volatile("");  // or it becomes a call of memset
  }
  if (at < size) memset(reinterpret_cast<void*>(x + at), 0, 8);
}

// A new block for tiny objects, of which the first takes size bytes. The rest is for others, if that is more than what
// the block before has left.
static inline void tinyblock(mcache* c, uintptr x, uintptr size) {
  zerosmall(x, maxTinySize);
  if (size < c->tinyoffset || c->tiny == 0) {
    c->tiny = x;
    c->tinyoffset = size;
  }
}

// A block for tiny objects has room: its address there; else 0.
static inline uintptr tinyroom(mcache* c, uintptr size) {
  uintptr align = (size & 7) == 0 ? 8 : (size & 3) == 0 ? 4 : (size & 1) == 0 ? 2 : 1;
  uintptr off = alignUp(c->tinyoffset, align);
  if (c->tiny == 0 || off + size > maxTinySize) return 0;
  c->tinyoffset = off + size;
  return c->tiny + off;
}

// A cycle marks: object i of s, which is as its allocator wants it, is marked, and only then seen as allocated.
static inline void bornmarked(mspan* s, uintptr i, gcWork* w) {
  gcmarknewobject(s, i, w);
  __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
}

// The same for who has no P, and for a block of tiny objects with the first that it gets in this cycle.
VITRINE_NOINLINE static void bornmarked(const pinnedcache& pinned, uintptr x) {
  mspan* s = spanOfUnchecked(x);
  gcWork mine{};
  p* pp = pinned.shared ? nullptr : pinned.mp->p;
  uintptr i = s->objIndex(x);
  if (!markBitsForIndex(s, i).isMarked()) bornmarked(s, i, pp != nullptr ? &pp->gcw : &mine);
  mine.dispose();
}

VITRINE_NOINLINE static void* mallocgc_debug(uintptr size) {
  return persistentalloc(size, size >= 16 ? 16 : 8, &memstats.other_sys, nullptr);
}

void* mallocgc(uintptr size, const _type* typ, bool needzero) {
  if (size == 0) return &zerobase;
  if (__builtin_expect(debug.sbrk != 0, 0)) return mallocgc_debug(size);
  pinnedcache pinned = pin();
  mcache* c = pinned.c;
  if (m* mp = pinned.mp; mp != nullptr) {
    if (__builtin_expect(mp->mallocing != 0, 0)) throw_("malloc deadlock");
    mp->mallocing = 1;
  }
  bool noscan = typ == nullptr || typ->ptrdata == 0;
  uintptr dataSize = size, x;
  if (__builtin_expect(size <= maxSmallSize && debug.efence == 0, 1)) {
    if (noscan && size < maxTinySize) {
      store_relaxed(c->local_tinyallocs, c->local_tinyallocs + 1);
      x = tinyroom(c, size);
      if (x == 0) {
        spanClass sc = makeSpanClass(tinySizeClass, true);
        x = nextFreeFast(c->alloc[sc]);
        if (x == 0) x = nextFree(c, sc);
        tinyblock(c, x, size);
        size = maxTinySize;
      }
    } else {
      uint8 sizeclass = sizeToClass(size);
      size = class_to_size[sizeclass];
      spanClass sc = makeSpanClass(sizeclass, noscan);
      x = nextFreeFast(c->alloc[sc]);
      if (__builtin_expect(x == 0, 0)) x = nextFree(c, sc);
      if (needzero && c->alloc[sc]->needzero != 0) memset(reinterpret_cast<void*>(x), 0, size);
    }
  } else {
    mspan* s = largeAlloc(size, needzero, noscan);
    x = s->base();
    size = s->elemsize;
  }
  if (!noscan) {
    heapBitsSetType(x, size, dataSize, typ);
    c->local_scan += dataSize;
  }
  publicationBarrier();
  if (__builtin_expect(gcphase.load(__ATOMIC_RELAXED) != GCoff, 0)) bornmarked(pinned, x);
  if (__builtin_expect(c->next_sample <= int64(size), 0))
    profilealloc(c, reinterpret_cast<void*>(x), dataSize, uintptr(__builtin_return_address(0)));
  else
    c->next_sample -= int32(size);
  if (pinned.mp != nullptr) pinned.mp->mallocing = 0;
  unpin(pinned);
  if (__builtin_expect(debug.allocfreetrace != 0, 0)) tracealloc(reinterpret_cast<void*>(x), dataSize, typ);
  return reinterpret_cast<void*>(x);
}

// ---- gc::make

// Whether there is a short way. Not while GODEBUG wants to see, or to place, every allocation, or the collector is not
// there yet. While a cycle marks, for who has credit, and its objects are born marked. It changes for these reasons with
// the world stopped, so who is pinned and has a P finds it as it will stay.
enum : uint32 { wayShort, wayMarked, wayLong };
static uint32 way = wayLong;

void mallocshort(gcPhase phase) {
  bool all = debug.sbrk != 0 || debug.efence != 0 || debug.allocfreetrace != 0 || debug.gcevery > 0;
  store_relaxed(way, all || phase == GCmarktermination ? wayLong : phase == GCmark ? wayMarked : wayShort);
}

// Whether gp can pay for what it allocates while a cycle marks.
static inline bool hascredit(const g* gp, uintptr size) {
  return gp->gcAssistCycle == load_relaxed(work.cycles) && gp->gcAssistBytes >= int64(size);
}

// The common case, and nothing that it does not need: one small object, by a goroutine with a P, out of a span that the
// P has already, no sample due. Null: by mallocgc. Unlike there, whether to collect is not asked: heap_live grows when
// an mcache gets a span, and that is not here.
static inline __attribute__((always_inline)) void* mallocfast(const _type* typ) {
  g* gp = getg();
  uintptr size = typ->size;
  if (__builtin_expect(gp == nullptr || size - 1 >= maxSmallSize || typ->align > 16, 0)) return nullptr;
  if (__builtin_expect(load_relaxed(gp->stackguard0) == stackPreempt || sched.exiting.load(__ATOMIC_RELAXED) != 0, 0))
    return nullptr;
  m* mp = gp->m;
  if (__builtin_expect(gp != mp->curg, 0)) return nullptr;
  mp->locks++;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  uintptr x = 0;
  bool noscan = typ->ptrdata == 0;
  p* pp = mp->p;
  const uint32 how = load_relaxed(way);
  if (__builtin_expect(pp != nullptr && mp->mallocing == 0 && how != wayLong, 1)) {
    mcache* c = pp->mcache;
    uintptr got = 0;
    if (noscan && size < maxTinySize) {
      if (how == wayShort) x = tinyroom(c, size);
      got = size;
      if (x == 0 && how == wayShort) {
        got = maxTinySize;
        if (__builtin_expect(c->next_sample > int64(got), 1))
          x = nextFreeFast(c->alloc[makeSpanClass(tinySizeClass, true)]);
        if (x != 0) tinyblock(c, x, size);
      }
      if (x != 0) store_relaxed(c->local_tinyallocs, c->local_tinyallocs + 1);
    } else {
      uint8 sizeclass = sizeToClass(size);
      got = class_to_size[sizeclass];
      mspan* s = c->alloc[makeSpanClass(sizeclass, noscan)];
      bool may = c->next_sample > int64(got) && (how == wayShort || hascredit(gp, size));
      if (__builtin_expect(may, 1)) x = nextFreeFast(s);
      if (__builtin_expect(x != 0, 1)) {
        if (s->needzero != 0) zerosmall(x, got);
        if (!noscan) {
          heapBitsSetSmall(x, got, typ);
          c->local_scan += size;
        }
        if (how != wayShort) {
          gp->gcAssistBytes -= int64(size);
          bornmarked(s, s->freeindex - 1, &pp->gcw);
        }
      }
    }
    if (__builtin_expect(x != 0, 1)) c->next_sample -= int32(got);
  }
  publicationBarrier();
  rt::unpin(mp, gp);
  return reinterpret_cast<void*>(x);
}

void* gcalloc(const _type* t, uintptr n, bool array) {
  if (__builtin_expect(n == 1 && !array, 1))
    if (void* p = mallocfast(t); __builtin_expect(p != nullptr, 1)) return p;
  return gcalloc1(t, n, array);
}

void* newobject(const _type* typ) { return mallocgc(typ->size, typ, true); }

// The bytes that an object of this size gets.
uintptr roundupsize(uintptr size) {
  if (size <= maxSmallSize) return class_to_size[sizeToClass(size)];
  return size + pageSize < size ? size : alignUp(size, pageSize);
}

}  // namespace vitrine::rt
