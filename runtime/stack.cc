// stack.cc: goroutine stacks, from spans of the heap. Follows Go's stack.go (stackalloc, stackfree, stackpool,
// stackcache). Unlike Go: a C++ stack can neither move nor grow, so a stack is a slot of a power of two (16 KiB up) of
// which only touched pages cost memory.
//
//   p.mcache.stackcache[order]   up to 1 MiB of free slots, last in, first out; the P's alone
//   stackpool[order]             16, 32, 64 and 128 KiB: spans of 1 MiB cut into slots; the list of those with a free one
//   stackLarge.free[log2]        larger: spans that are one free stack, by log2 of their pages
//   mheap_                       spans that have no stack at all
//
// All sizes are doubled in a debug build of this library and four times as large in a program with a sanitizer, whose
// frames are that much larger (stackScale; fixed at boot): what a user asked for, and the orders with it.
//
//   slot: │ guard page │ stack.lo … stack.hi │     (stack_guard.cc)
//
// stackalloc takes from the P's cache; an empty cache gets half of its capacity from the pool under one lock, a full
// one gives half of it back. Who has no P uses the pool directly.
//
// Memory: a slot in a P's cache keeps its pages, since the next goroutine touches them soon. One that goes to the pool
// gives them back first (MADV_DONTNEED). A span of which all slots are free loses its guards and goes back to the heap
// as a scavenged span: without pages and not dumped. A new span's pages are dumped from then on: a core that is piped
// somewhere writes at most 1 MiB of untouched stacks per order as zeros.
//
// Which slots are free is in the span, never in the slots' memory, which has no pages, or a guard where a link would
// be: bit i of allocCache for slot i, allocCount for the number of the others. Those in a P's cache count as allocated
// there, and are in its array. So a debugger needs no pointer out of a free stack. Guarded by
// stackpool[order].item.lock, but for slotguard[i], which belongs to who has slot i.
//
// A large stack that is freed goes to stackLarge, up to four of each size, until the next collection ends.
#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

stackpoolPadded stackpool[numStackOrders];
stackLargeT stackLarge;

constexpr uint32 maxStackLog2 = 36;
constexpr int32 stackLargeKept = 4;

// For who debugs this file.
extern const int32 stackDebug, stackFromSystem, stackFaultOnFree, stackNoCache;
const int32 stackDebug = 0;        // > 0: prints each stackalloc and stackfree
const int32 stackFromSystem = 0;   // stacks are mappings of their own
const int32 stackFaultOnFree = 0;  // with stackFromSystem: a freed stack's memory faults, and is never used again
const int32 stackNoCache = 0;      // no caches of Ps

#ifdef NDEBUG
uint32 stackScale = 0;
#else
uint32 stackScale = 1;
#endif

// log2 of a slot of this order.
static uint32 orderlog2(uint32 order) { return fixedStackLog2 + stackScale + order; }

uint32 stackclassof(uint64 size) {
  uint32 log2 = fixedStackLog2;
  while ((1ull << log2) < size && log2 < maxStackLog2) log2++;
  return log2 + stackScale;
}

uint32 stacklog2(uintptr npages) { return uint32(63 - __builtin_clzll(npages)); }

// ---- the pool

// A slot of this order; 0: no memory. The pool's lock held.
static uintptr stackpoolalloc(uint32 order) {
  mSpanList* list = &stackpool[order].item.span;
  mspan* s = list->first;
  if (s == nullptr) {
    s = mheap_.allocManual((stackSpanBytes << stackScale) >> pageShift, spanStackPool, &memstats.stacks_inuse, 0);
    if (s == nullptr) return 0;
    s->spanclass = spanClass(order);
    s->elemsize = uintptr(1) << orderlog2(order);
    s->nelems = s->bytes() / s->elemsize;
    s->allocCache = ~uint64(0) >> (64 - s->nelems);
    s->slotguard = allocslotguard(s->nelems);
    s->allocCount = 0;
    list->insert(s);
  }
  int i = __builtin_ctzll(s->allocCache);
  s->allocCache &= s->allocCache - 1;
  s->allocCount++;
  if (s->allocCache == 0) list->remove(s);
  return s->base() + uintptr(i) * s->elemsize;
}

static uintptr slotindex(const mspan* s, uintptr base) { return (base - s->base()) / s->elemsize; }

// The pages of a slot that nobody will use soon.
static void givepages(uintptr base, uintptr bytes) { sysDrop(reinterpret_cast<void*>(base), bytes); }

// A span that is all free goes back to the heap. It is on no list.
static void freestackspan(mspan* s) {
  removeguards(s->base(), s->bytes(), s->slotguard, s->nelems);
  freeslotguard(s->slotguard);
  s->slotguard = nullptr;
  s->allocCache = 0;
  sysUnused(reinterpret_cast<void*>(s->base()), s->bytes());
  mheap_.freeManual(s, &memstats.stacks_inuse, true);
}

// The slot is free. The pool's lock held.
void stackpoolfree(uintptr base, uint32 order) {
  mspan* s = spanOfUnchecked(base);
  if (s->state.load(__ATOMIC_RELAXED) != mSpanManual || s->owner != spanStackPool || s->spanclass != order)
    throw_("stackfree: not a stack of ours");
  uint64 bit = uint64(1) << slotindex(s, base);
  if ((s->allocCache & bit) != 0) throw_("stackfree: freed twice");
  if (s->allocCache == 0) stackpool[order].item.span.insert(s);
  s->allocCache |= bit;
  if (--s->allocCount == 0) {
    stackpool[order].item.span.remove(s);
    freestackspan(s);
  }
}

// ---- caches

constexpr uint32 cacheslots(uint32 order) { return stackCacheSlots >> order; }

void stackcacherefill(mcache* c, uint32 order) {
  stackfreelist& list = c->stackcache[order];
  uint32 want = cacheslots(order) / 2, n = 0;
  uintptr got[stackCacheSlots / 2];
  lock(&stackpool[order].item.lock);
  while (n < want) {
    uintptr base = stackpoolalloc(order);
    if (base == 0) break;
    got[n++] = base;
  }
  unlock(&stackpool[order].item.lock);
  // The lowest is handed out first, so that the memory which is touched lies together.
  while (n > 0) list.slot[list.n++] = got[--n];
}

static void release(mcache* c, uint32 order, uint32 keep) {
  stackfreelist& list = c->stackcache[order];
  if (list.n <= keep) return;
  uint32 n = list.n - keep;  // the oldest
  for (uint32 i = 0; i < n; i++) givepages(list.slot[i], uintptr(1) << orderlog2(order));
  lock(&stackpool[order].item.lock);
  for (uint32 i = 0; i < n; i++) stackpoolfree(list.slot[i], order);
  unlock(&stackpool[order].item.lock);
  for (uint32 i = 0; i < keep; i++) list.slot[i] = list.slot[i + n];
  list.n = keep;
}

void stackcacherelease(mcache* c, uint32 order) { release(c, order, cacheslots(order) / 2); }

void stackcache_clear(mcache* c) {
  for (uint32 order = 0; order < numStackOrders; order++) release(c, order, 0);
}

// All large stacks that nobody uses go back to the heap. When a collection ends.
void freeStackSpans() {
  lock(&stackLarge.lock);
  for (mSpanList& list : stackLarge.free)
    while (mspan* s = list.first) {
      list.remove(s);
      freestackspan(s);
    }
  unlock(&stackLarge.lock);
}

// ---- one stack

// The mcache to use while pinned by *mp; null: none.
static mcache* pinnedcacheof(m** mp) {
  *mp = acquirem();
  rt::p* pp = pinnedp(*mp);
  return pp != nullptr && stackNoCache == 0 ? pp->mcache : nullptr;
}

static uintptr poolalloc(uint32 order) {
  m* mp;
  uintptr base = 0;
  if (mcache* c = pinnedcacheof(&mp); c != nullptr) {
    stackfreelist& list = c->stackcache[order];
    if (list.n == 0) stackcacherefill(c, order);
    if (list.n > 0) base = list.slot[--list.n];
  } else {
    mallocinit();
    lock(&stackpool[order].item.lock);
    base = stackpoolalloc(order);
    unlock(&stackpool[order].item.lock);
  }
  releasem(mp);
  return base;
}

static void poolfree(uintptr base, uint32 order) {
  m* mp;
  if (mcache* c = pinnedcacheof(&mp); c != nullptr) {
    stackfreelist& list = c->stackcache[order];
    if (list.n == cacheslots(order)) stackcacherelease(c, order);
    list.slot[list.n++] = base;
  } else {
    givepages(base, uintptr(1) << orderlog2(order));
    lock(&stackpool[order].item.lock);
    stackpoolfree(base, order);
    unlock(&stackpool[order].item.lock);
  }
  releasem(mp);
}

static uintptr largealloc(uintptr npages) {
  mallocinit();
  mSpanList* list = &stackLarge.free[stacklog2(npages)];
  lock(&stackLarge.lock);
  mspan* s = list->first;
  if (s != nullptr) list->remove(s);
  unlock(&stackLarge.lock);
  if (s == nullptr) {
    s = mheap_.allocManual(npages, spanStackLarge, &memstats.stacks_inuse, 0);
    if (s == nullptr) return 0;
    s->slotguard = allocslotguard(1);
  }
  s->allocCount = 1;
  return s->base();
}

static void largefree(uintptr base) {
  mspan* s = spanOfUnchecked(base);
  if (s->state.load(__ATOMIC_RELAXED) != mSpanManual || s->owner != spanStackLarge || s->list != nullptr)
    throw_("stackfree: not a stack of ours");
  s->allocCount = 0;
  mSpanList* list = &stackLarge.free[stacklog2(s->npages)];
  lock(&stackLarge.lock);
  int32 n = 0;
  for (mspan* o = list->first; o != nullptr; o = o->next) n++;
  if (n < stackLargeKept) {
    givepages(base, s->bytes());
    list->insert(s);
    s = nullptr;
  }
  unlock(&stackLarge.lock);
  if (s != nullptr) freestackspan(s);
}

static uint8 guardof(uintptr base) {
  mspan* s = spanOfUnchecked(base);
  uint8& guard = s->slotguard[slotindex(s, base)];
  if (guard == slotUnused) guard = installguard(base);
  return guard;
}

bool stackalloc(g* gp, uint64 size) {
  uint32 log2 = stackclassof(size);
  if ((1ull << (log2 - stackScale)) < size) return false;
  uintptr base;
  uint8 guard;
  if (stackFromSystem != 0) {
    base = uintptr(sysAlloc(1ull << log2, &memstats.stacks_inuse));
    guard = base != 0 ? installguard(base) : 0;
  } else {
    base = log2 < orderlog2(numStackOrders) ? poolalloc(log2 - orderlog2(0))
                                            : largealloc((uintptr(1) << log2) >> pageShift);
    guard = base != 0 ? guardof(base) : 0;
  }
  if (base == 0) return false;
  gp->guard = guard;
  gp->stackclass = log2;
  gp->stack.hi = base + (1ull << log2);
  gp->stack.lo = base + (guardsize(gp) != 0 ? guardBytes : 0);
  store_relaxed(gp->stackguard0, gp->stack.lo + stackGuard);  // sysmon may still ask the g that it was
  gp->stackcanary = 0;
  if (guard == gguardCanary) setcanary(gp);
  if (stackDebug > 0) print("stackalloc ", uint64(1) << log2, " at ", hex{base}, "\n");
  return true;
}

void stackfree(g* gp) {
  uint32 log2 = gp->stackclass;
  uintptr bytes = uintptr(1) << log2, base = gp->stack.hi - bytes;
  if (stackDebug > 0) print("stackfree ", uint64(bytes), " at ", hex{base}, "\n");
  gp->stack = {0, 0};
  gp->stackcanary = 0;
  gp->guard = gguardNone;
  if (stackFromSystem != 0) {
    if (stackFaultOnFree != 0)
      sysFault(reinterpret_cast<void*>(base), bytes);
    else
      sysFree(reinterpret_cast<void*>(base), bytes, &memstats.stacks_inuse);
  } else if (log2 < orderlog2(numStackOrders)) {
    poolfree(base, log2 - orderlog2(0));
  } else {
    largefree(base);
  }
}

}  // namespace vitrine::rt
