// malloc_raw.cc: the runtime's own objects — sudogs, channels, closures, timer heaps — which are freed by hand. No Go
// ancestor: Go leaves such objects to its collector, and frees by hand only what fixalloc and the stacks have.
//
// They live in spans of the state mSpanManual, owner spanRuntime, one size class each, so a collector neither frees nor
// walks them by itself. Three layers:
//   mcache.rawcache[class]     up to 30 free objects, last in, first out; the P's alone
//   mheap_.runtime[class]      an mcentral: spans that have a free object on nonempty, the others on empty
//   mheap_                     a span whose last object comes back is freed, unless it is the only one on nonempty
// A rawcache that is empty takes half of its slots from mcentral under one lock; one that is full gives its older half
// back. Who has no P uses mcentral directly.
//
// What is free is known exactly, and not from the memory of the objects, which a late write may have spoilt:
//   bit i of the span's allocBits is 1: some P has it in its rawcache, or it is in use
//   allocCount is the number of these bits
// freeindex is where the search for a 0 bit begins: no bit before it is 0. Bits, allocCount and freeindex change only
// under the mcentral's lock. Freeing what is free is found when the object returns to its span.
//
// Rejected: spans in mcaches, as for collected objects. A free on another P than the one that has the span would need
// atomic operations on the span, and channels and closures are mostly freed by another.
// Rejected: free lists through the objects: a debugger would have to trust freed memory.
//
// A size is rounded up to 16 first, so that every object is aligned to 16: class 3, of 24 bytes, is never used.
//
// Under AddressSanitizer, ThreadSanitizer and Valgrind rawalloc is libc's calloc, so that these tools see each object,
// its leak and its use after free (and in the systematic tests, which watch libc's free). That is decided once, at the
// first call: an object is freed where it came from. The functions here are tested there all the same.
#include <malloc.h>

#include <cstdlib>
#include <cstring>

#include "include/vitrine/detail/rt.h"
#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

static bool rawfromlibc() {
#ifdef VITRINE_SYSTEMATIC
  return true;
#else
  return sanitized() || san_watched();
#endif
}

// ---- the spans that have, or had, something held

static struct {
  mutex lock;
  mspan** at;  // lock; any order
  uint32 n, cap;
} heldspans;

// An object in s is to be held.
VITRINE_NOINLINE static void remember(mspan* s) {
  auto& h = heldspans;
  lock(&h.lock);
  if (s->heldindex == 0) {
    if (h.n == h.cap) {
      uint32 cap = h.cap == 0 ? 512 : h.cap * 2;
      auto* more = static_cast<mspan**>(persistentalloc(cap * sizeof(mspan*), 64, &memstats.gc_sys, "mspan*", ptrSize));
      if (h.n != 0) memcpy(more, h.at, h.n * sizeof(mspan*));
      h.at = more;
      h.cap = cap;
    }
    h.at[h.n++] = s;
    store_relaxed(s->heldindex, h.n);
  }
  unlock(&h.lock);
}

// s is about to be freed.
static void forget(mspan* s) {
  auto& h = heldspans;
  if (load_relaxed(s->heldindex) == 0) return;
  lock(&h.lock);
  mspan* last = h.at[--h.n];
  h.at[s->heldindex - 1] = last;
  store_relaxed(last->heldindex, s->heldindex);
  store_relaxed(s->heldindex, 0);
  unlock(&h.lock);
}

// ---- the spans. c->lock held

static void fill(mcentral* c, mspan* s, void** out, uint32* n, uint32 want) {
  auto* words = reinterpret_cast<uint64*>(s->allocBits);
  uintptr at = s->freeindex;
  while (*n < want && s->allocCount < s->nelems) {
    uint64 freebits = ~words[at / 64] & ~uint64(0) << at % 64;
    if (freebits == 0) {
      at = alignDown(at, 64) + 64;
      continue;
    }
    uintptr i = alignDown(at, 64) + uintptr(__builtin_ctzll(freebits));
    if (i >= s->nelems) throw_("allocobject: allocCount says that an object is free");
    words[i / 64] |= uint64(1) << i % 64;
    s->allocCount++;
    out[(*n)++] = reinterpret_cast<void*>(s->base() + i * s->elemsize);
    at = i + 1;
  }
  s->freeindex = at < s->nelems ? at : s->nelems;
  if (s->allocCount == s->nelems) {
    c->nonempty.remove(s);
    c->empty.insertBack(s);
  }
}

// `want` objects of class sc; fewer only if memory is out.
static uint32 takeobjects(uint8 sc, void** out, uint32 want) {
  mcentral* c = &mheap_.runtime[sc].mcentral;
  uint32 n = 0;
  lock(&c->lock);
  while (n < want) {
    mspan* s = c->nonempty.first;
    if (s == nullptr) {
      s = mheap_.allocManual(class_to_allocnpages[sc], spanRuntime, &memstats.runtime_inuse, sc);
      if (s == nullptr) break;
      c->nonempty.insert(s);
    }
    fill(c, s, out, &n, want);
  }
  store_relaxed(c->nmalloc, c->nmalloc + n);
  unlock(&c->lock);
  return n;
}

// Objects of class sc that are free.
static void giveobjects(uint8 sc, void** objects, uint32 n) {
  mcentral* c = &mheap_.runtime[sc].mcentral;
  lock(&c->lock);
  for (uint32 k = 0; k < n; k++) {
    mspan* s = spanOfUnchecked(uintptr(objects[k]));
    uintptr i = s->objIndex(uintptr(objects[k]));
    markBits bit = allocBitsForIndex(s, i);
    if ((*bit.bytep & bit.mask) == 0 || s->base() + i * s->elemsize != uintptr(objects[k])) {
      print("runtime: ", objects[k], " in span ", hex{s->base()}, " of ", uint64(s->elemsize), "-byte objects\n");
      throw_("freeobject: not an object that is in use");
    }
    *bit.bytep &= gcBits(~bit.mask);
    if (s->allocCount-- == s->nelems) {
      c->empty.remove(s);
      c->nonempty.insert(s);
    }
    if (i < s->freeindex) s->freeindex = i;
    if (s->allocCount == 0 && (c->nonempty.first != s || s->next != nullptr)) {
      c->nonempty.remove(s);
      forget(s);
      mheap_.freeManual(s, &memstats.runtime_inuse, false);
    }
  }
  store_relaxed(c->nfree, c->nfree + n);
  unlock(&c->lock);
}

// ---- one object

static void* nomemory(uintptr size) {
  outofmemory(size);
  fatal("out of memory");
}

VITRINE_NOINLINE static void* alloclarge(uintptr size) {
  if (size + pageSize < size) return nomemory(size);
  mspan* s = mheap_.allocManual(alignUp(size, pageSize) >> pageShift, spanRuntimeLarge, &memstats.runtime_inuse, 0);
  if (s == nullptr) return nomemory(size);
  if (s->needzero) memset(reinterpret_cast<void*>(s->base()), 0, s->bytes());
  lock(&mheap_.runtimelargelock);
  mheap_.runtimelarge.insert(s);
  unlock(&mheap_.runtimelargelock);
  return reinterpret_cast<void*>(s->base());
}

VITRINE_NOINLINE static void freelarge(mspan* s, void* p) {
  if (s->base() != uintptr(p) || s->allocCount != 1) throw_("freeobject: not an object that is in use");
  lock(&mheap_.runtimelargelock);
  mheap_.runtimelarge.remove(s);
  unlock(&mheap_.runtimelargelock);
  forget(s);
  s->allocCount = 0;
  if (debug.efence != 0)
    sysFault(p, s->bytes());  // the span stays as it is, for ever
  else
    mheap_.freeManual(s, &memstats.runtime_inuse, false);
}

void* allocobject(uintptr size) {
  if (__builtin_expect(size > maxSmallSize || debug.efence != 0, 0)) {
    mallocinit();
    return alloclarge(size == 0 ? 1 : size);
  }
  uint8 sc = sizeToClass(size == 0 ? 16 : alignUp(size, 16));
  void* p = nullptr;
  m* mp = acquirem();
  if (rt::p* pp = pinnedp(mp); __builtin_expect(pp != nullptr && pp->mcache != nullptr, 1)) {
    mcache* c = pp->mcache;
    rawCache& cache = c->rawcache[sc];
    if (__builtin_expect(cache.n == 0, 0)) cache.n = takeobjects(sc, cache.slot, rawCacheSlots / 2);
    if (__builtin_expect(cache.n > 0, 1)) p = cache.slot[--cache.n];
    store_relaxed(c->local_rawallocs, c->local_rawallocs + 1);
  } else {
    mallocinit();
    takeobjects(sc, &p, 1);
    mSysStatInc(&memstats.rawallocs, 1);
  }
  if (p == nullptr) return nomemory(size);
  releasem(mp);
  memset(p, 0, class_to_size[sc]);
  if (__builtin_expect(debug.allocfreetrace != 0, 0)) print("tracealloc(", p, ", ", hex{size}, ")\n");
  return p;
}

void freeobject(void* p) {
  if (p == nullptr) return;
  mspan* s = spanOf(uintptr(p));
  if (s == nullptr || s->state.load(__ATOMIC_ACQUIRE) != mSpanManual)
    throw_("freeobject: not an object of the runtime");
  if (__builtin_expect(debug.allocfreetrace != 0, 0)) print("tracefree(", p, ", ", hex{s->elemsize}, ")\n");
  if (__builtin_expect(s->owner != spanRuntime, 0)) {
    if (s->owner != spanRuntimeLarge) throw_("freeobject: not an object of the runtime");
    return freelarge(s, p);
  }
  uint8 sc = spansizeclass(s->spanclass);
  m* mp = acquirem();
  if (rt::p* pp = pinnedp(mp); __builtin_expect(pp != nullptr && pp->mcache != nullptr, 1)) {
    mcache* c = pp->mcache;
    rawCache& cache = c->rawcache[sc];
    if (__builtin_expect(cache.n == rawCacheSlots, 0)) {
      constexpr uint32 half = rawCacheSlots / 2;
      giveobjects(sc, cache.slot, half);
      cache.n -= half;
      memmove(cache.slot, cache.slot + half, cache.n * sizeof(void*));
    }
    if (cache.n > 0 && cache.slot[cache.n - 1] == p) throw_("freeobject: freed twice");
    cache.slot[cache.n++] = p;
    store_relaxed(c->local_rawfrees, c->local_rawfrees + 1);
  } else {
    giveobjects(sc, &p, 1);
    mSysStatInc(&memstats.rawfrees, 1);
  }
  releasem(mp);
}

// c's free objects of at least so many bytes go back to their spans.
void rawcacheflush(mcache* c, uintptr least) {
  for (int32 sc = 0; sc < numSizeClasses; sc++) {
    rawCache& cache = c->rawcache[sc];
    if (class_to_size[sc] < least) continue;
    if (cache.n > 0) giveobjects(uint8(sc), cache.slot, cache.n);
    cache.n = 0;
  }
  mSysStatInc(&memstats.rawallocs, c->local_rawallocs);
  mSysStatInc(&memstats.rawfrees, c->local_rawfrees);
  store_relaxed(c->local_rawallocs, 0);
  store_relaxed(c->local_rawfrees, 0);
}

// ---- what the rest of the runtime calls

void* rawalloc(uintptr size) {
  if (__builtin_expect(!rawfromlibc(), 1)) return allocobject(size);
  void* p = calloc(1, size == 0 ? 1 : size);
  return p != nullptr ? p : nomemory(size);
}

void rawfree(void* p) {
  if (__builtin_expect(!rawfromlibc(), 1)) return freeobject(p);
  free(p);
}

// ---- held memory: what the collector scans
//
// Most is read when a collection begins, with the world stopped. Which objects, the span's gcmarkBits say, and heldspans
// lists the spans that have such: sudogs and the like are as many as goroutines, know no managed object, and need not be
// passed by. Nor need closures: there is one for each goroutine, that goroutine's own (g.closure), and is read with its
// stack. Until the goroutine is there it is the maker's (g.nascent).

// From libc such a block has this at its end, where malloc_usable_size says, and is on a list. The links are
// complements, so that a leak checker does not take the list for a reason to keep a block; and the program's pointer is
// the block's own address, as one to its inside would be reported.
namespace {
struct heldblock {
  uintptr next, prev;  // ~address, 0: none; under heldlock
  uintptr at, size;    // ~address of the object; its bytes
};
}  // namespace
static mutex heldlock;
static uintptr heldfirst;

static heldblock* linked(uintptr link) { return link == 0 ? nullptr : reinterpret_cast<heldblock*>(~link); }

static heldblock* tailof(void* p) {
  uintptr end = (uintptr(p) + malloc_usable_size(p)) & ~uintptr(alignof(heldblock) - 1);
  return reinterpret_cast<heldblock*>(end) - 1;
}

static void* heldfromlibc(uintptr size, uintptr align) {
  uintptr bytes = alignUp(size, alignof(heldblock)) + sizeof(heldblock);
  void* p = nullptr;
  if (align <= 16)
    p = calloc(1, bytes);
  else if (posix_memalign(&p, align, bytes) == 0)
    memset(p, 0, bytes);
  else
    p = nullptr;
  if (p == nullptr) return nomemory(size);
  heldblock* h = tailof(p);
  h->at = ~uintptr(p);
  h->size = size;
  lock(&heldlock);
  h->next = heldfirst;
  h->prev = 0;
  if (heldblock* after = linked(heldfirst)) after->prev = ~uintptr(h);
  heldfirst = ~uintptr(h);
  unlock(&heldlock);
  return p;
}

static void heldtolibc(void* p) {
  heldblock* h = tailof(p);
  lock(&heldlock);
  if (heldblock* before = linked(h->prev))
    before->next = h->next;
  else
    heldfirst = h->next;
  if (heldblock* after = linked(h->next)) after->prev = h->prev;
  unlock(&heldlock);
  free(p);
}

// Whether the collector reads the object when it begins.
static void hold(void* p) {
  mspan* s = spanOfUnchecked(uintptr(p));
  if (s->gcmarkBits != nullptr) {
    uintptr i = s->objIndex(uintptr(p));
    __atomic_fetch_or(&s->gcmarkBits[i / 8], gcBits(1 << i % 8), __ATOMIC_RELAXED);
  }
  if (load_relaxed(s->heldindex) == 0) remember(s);
}

static void letgo(void* p) {
  mspan* s = spanOfUnchecked(uintptr(p));
  if (s->gcmarkBits == nullptr) return;
  uintptr i = s->objIndex(uintptr(p));
  auto bit = gcBits(1 << i % 8);
  if ((__atomic_load_n(&s->gcmarkBits[i / 8], __ATOMIC_RELAXED) & bit) != 0)
    __atomic_fetch_and(&s->gcmarkBits[i / 8], gcBits(~bit), __ATOMIC_RELAXED);
}

// The goroutine that calls has a P, so that it is stopped or scanned when a collection begins, and room for one more
// closure. A thread, or a goroutine in a blocking_scope, goes on: a collection has to find what it makes elsewhere.
static bool mayown(g* gp) {
  if (gp == nullptr || gp->nnascent == gnascent) return false;
  m* mp = gp->m;
  return mp->curg == gp && mp->p != nullptr && gp->isforeign == 0;
}

void* heldalloc(uintptr size, uintptr align, heldkind kind) {
  if (__builtin_expect(rawfromlibc(), 0)) return heldfromlibc(size, align);
  void* block = allocobject(align <= 16 ? size : size + align);
  void* p = block;
  if (align > 16) {
    p = reinterpret_cast<void*>(alignUp(uintptr(block) + sizeof(uintptr), align));
    static_cast<uintptr*>(p)[-1] = uintptr(block);
  }
  if (kind == heldkind::shared) hold(block);
  if (kind == heldkind::closure) {
    if (g* gp = getg(); mayown(gp)) {
      gp->nascent[gp->nnascent] = p;
      store_relaxed(gp->nnascent, gp->nnascent + 1);
    } else {
      hold(block);
    }
  }
  return p;
}

// Whether p is one of gp's new closures. It is none any more.
bool heldtake(g* gp, void* p) {
  for (uint32 i = gp->nnascent; i-- > 0;) {
    if (gp->nascent[i] != p) continue;
    for (; i + 1 < gp->nnascent; i++) gp->nascent[i] = gp->nascent[i + 1];
    store_relaxed(gp->nnascent, gp->nnascent - 1);
    gp->nascent[gp->nnascent] = nullptr;  // or a debugger would take it for something that the goroutine knows
    return true;
  }
  return false;
}

void heldfree(void* p, uintptr align) {
  if (p == nullptr) return;
  if (__builtin_expect(rawfromlibc(), 0)) return heldtolibc(p);
  if (g* gp = getg(); gp != nullptr) {
    if (gp->closure == p) store_relaxed(gp->closure, nullptr);
    if (gp->nnascent != 0) heldtake(gp, p);
  }
  void* block = align <= 16 ? p : reinterpret_cast<void*>(static_cast<uintptr*>(p)[-1]);
  letgo(block);
  freeobject(block);
}

void eachheld(void (*f)(uintptr p, uintptr size, void* arg), void* arg) {
  if (rawfromlibc()) {
    lock(&heldlock);
    for (heldblock* h = linked(heldfirst); h != nullptr; h = linked(h->next)) f(~h->at, h->size, arg);
    unlock(&heldlock);
    return;
  }
  lock(&heldspans.lock);
  for (uint32 k = 0; k < heldspans.n; k++) {
    mspan* s = heldspans.at[k];
    if (s->gcmarkBits == nullptr) {
      f(s->base(), s->bytes(), arg);
      continue;
    }
    for (uintptr i = 0; i < s->nelems; i += 8)
      for (uint32 bits = __atomic_load_n(&s->gcmarkBits[i / 8], __ATOMIC_RELAXED); bits != 0; bits &= bits - 1)
        f(s->base() + (i + uintptr(__builtin_ctz(bits))) * s->elemsize, s->elemsize, arg);
  }
  unlock(&heldspans.lock);
}

// The block that closure p is in; nothing if it is held like others.
void closurememory(const void* p, uintptr* lo, uintptr* hi) {
  *lo = *hi = 0;
  mspan* s = p != nullptr ? spanOf(uintptr(p)) : nullptr;
  if (s == nullptr || s->state.load(__ATOMIC_ACQUIRE) != mSpanManual) return;
  uintptr n = s->elemsize, b = s->base();
  if (n == 0 || uintptr(p) < b) return;
  *lo = b + (uintptr(p) - b) / n * n;
  *hi = *lo + n;
}

}  // namespace vitrine::rt
