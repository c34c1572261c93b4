// mheap.cc: spans — runs of pages — given out, taken back and merged. Follows Go's mheap.go (1.12 to 1.13).
//
// alloc(npages):
//   1. the best fit of the treap (mgclarge.cc), or one of the next best if that has memory and the best has none, which
//      would have to be faulted in; none: grow (mheap_grow.cc), and again
//   2. a larger span is cut: its tail stays in the treap as a span of its own
//   3. of a scavenged span what is taken becomes used (sysUsed): one system call for many spans (useahead). For small
//      objects it may get memory as well (sysPopulate), and some of what is behind it, which stays in the treap as a span
//      that is not scavenged
//   4. every page of the span points to it in its arena's spans[], then the state says what it is
// allocSmall(npages, want): the same for several spans of one class, cut from one run of pages (mcentral.cc says why)
// free(s):
//   5. coalesce: the free spans next to it are found through spans[] and become part of it. Spans in use have all their
//      pages there; of a free span only the first and the last are right, and only those are looked at
//   6. into the treap; the pages stay until scavengeLocked, largest spans first, gives them back
//
// Two free neighbours stay apart only if one is scavenged and the other is not: merging them would either forget which
// pages have memory or give memory back (and fault it in again) each time that a span next to untouched memory comes
// and goes. Where physical pages are larger than ours, the border between the two moves to a physical page's, towards
// the scavenged one: a page counts as used if a part of it is.
//
// needzero: a span's memory may be other than zero. Given-back pages read as zero, so scavenging clears it; merging
// takes the or of both.
//
// Who holds mheap_.lock may call nothing that allocates but fixalloc and persistentalloc. A span between alloc and free
// belongs to who asked for it. `state` is what readers without the lock go by (spanOfHeap): stored last, with release,
// when a span comes to life, and first when it dies.
//
// Unlike Go: runs on the caller's stack. A goroutine's stack has room for these few frames, and the lock pins it.
#include <cstring>

#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

alignas(64) mheap mheap_;
mspan emptymspan;
uintptr zerobase;
uintptr physPageSize;

// ---- lists

void mSpanList::init() { first = last = nullptr; }

void mSpanList::remove(mspan* s) {
  if (s->list != this) {
    print("runtime: span ", hex{s->startAddr}, " is on list ", s->list, ", not on ", this, "\n");
    throw_("mSpanList.remove");
  }
  (first == s ? first : s->prev->next) = s->next;
  (last == s ? last : s->next->prev) = s->prev;
  s->next = s->prev = nullptr;
  s->list = nullptr;
}

void mSpanList::insert(mspan* s) {
  if (s->next != nullptr || s->prev != nullptr || s->list != nullptr) throw_("mSpanList.insert: on a list already");
  s->next = first;
  (first != nullptr ? first->prev : last) = s;
  first = s;
  s->list = this;
}

void mSpanList::insertBack(mspan* s) {
  if (s->next != nullptr || s->prev != nullptr || s->list != nullptr) throw_("mSpanList.insertBack: on a list already");
  s->prev = last;
  (last != nullptr ? last->next : first) = s;
  last = s;
  s->list = this;
}

void mSpanList::takeAll(mSpanList* other) {
  while (mspan* s = other->first) {
    other->remove(s);
    insertBack(s);
  }
}

// ---- one span

void mspan::init(uintptr base, uintptr n) {
  *this = {};
  startAddr = base;
  npages = n;
}

void mspan::clear() {
  if (needzero == 0) return;
  memset(reinterpret_cast<void*>(base()), 0, bytes());
  needzero = 0;
}

uintptr mspan::layout(uintptr* size, uintptr* n) const {
  *size = elemsize;
  *n = elemsize == 0 ? 0 : bytes() / elemsize;
  return bytes();
}

// The whole physical pages in the span.
void mspan::physPageBounds(uintptr* start, uintptr* end) const {
  *start = alignUp(base(), physPageSize);
  *end = alignDown(base() + bytes(), physPageSize);
}

uintptr mspan::released() const {
  if (scavenged == 0) return 0;
  uintptr start, end;
  physPageBounds(&start, &end);
  return end > start ? end - start : 0;
}

uintptr mspan::scavenge() {
  uintptr start, end;
  physPageBounds(&start, &end);
  if (end <= start) return 0;
  mheap_.noHuge(start, end);
  sysUnused(reinterpret_cast<void*>(start), end - start);
  scavenged = 1;
  if (end - start == bytes()) needzero = 0;
  mSysStatInc(&memstats.heap_released, end - start);
  mSysStatInc(&memstats.nscavenged, end - start);
  return end - start;
}

// ---- the map from pages to spans. mheap_.lock held

void mheap::setSpan(uintptr base, mspan* s) { store_relaxed(arenaOf(base)->spans[base / pageSize % pagesPerArena], s); }

void mheap::setSpans(uintptr base, uintptr npages, mspan* s) {
  while (npages > 0) {
    heapArena* ha = arenaOf(base);
    for (uintptr i = base / pageSize % pagesPerArena; i < pagesPerArena && npages > 0; i++, npages--, base += pageSize)
      store_relaxed(ha->spans[i], s);
  }
}

static void setPageInUse(mspan* s, bool on) {
  uintptr page = s->base() / pageSize % pagesPerArena;
  uint8* at = &arenaOf(s->base())->pageInUse[page / 8];
  uint8 bit = uint8(1 << page % 8);
  __atomic_store_n(at, uint8(on ? *at | bit : *at & ~bit), __ATOMIC_RELAXED);
}

// A new span is on allspans for ever: called by spanalloc the first time that it gives one out.
static void recordspan(void*, void* vp) {
  auto* h = &mheap_;
  if (h->allspans.len == h->allspans.cap) {
    int64 cap = h->allspans.cap == 0 ? (64 << 10) / int64(ptrSize) : h->allspans.cap * 3 / 2;
    auto** array = static_cast<mspan**>(sysAlloc(uintptr(cap) * ptrSize, &memstats.other_sys));
    if (array == nullptr) {
      outofmemory(uintptr(cap) * ptrSize);
      fatal("out of memory");
    }
    metadatanote(array, uintptr(cap) * ptrSize, "mspan*", ptrSize);
    if (h->allspans.len > 0) memcpy(array, h->allspans.array, uintptr(h->allspans.len) * ptrSize);
    // The old array stays for readers that loaded it. Array before len, as with allgs.
    __atomic_store_n(&h->allspans.array, array, __ATOMIC_RELEASE);
    h->allspans.cap = cap;
  }
  h->allspans.array[h->allspans.len] = static_cast<mspan*>(vp);
  __atomic_store_n(&h->allspans.len, h->allspans.len + 1, __ATOMIC_RELEASE);
}

void mheap::init() {
  treapalloc.init(sizeof(treapNode), "treapNode", nullptr, nullptr, &memstats.other_sys);
  spanalloc.init(sizeof(mspan), "mspan", recordspan, nullptr, &memstats.mspan_sys);
  cachealloc.init(sizeof(mcache), "mcache", nullptr, nullptr, &memstats.mcache_sys);
  specialfinalizeralloc.init(sizeof(specialfinalizer), "specialfinalizer", nullptr, nullptr, &memstats.other_sys);
  specialdestructoralloc.init(sizeof(specialdestructor), "specialdestructor", nullptr, nullptr, &memstats.other_sys);
  specialweakalloc.init(sizeof(specialweak), "specialweak", nullptr, nullptr, &memstats.other_sys);
  weakhandlealloc.init(sizeof(weakHandle), "weakHandle", nullptr, nullptr, &memstats.other_sys);
  specialprofilealloc.init(sizeof(specialprofile), "specialprofile", nullptr, nullptr, &memstats.other_sys);
  arenaHintAlloc.init(sizeof(arenaHint), "arenaHint", nullptr, nullptr, &memstats.other_sys);
  for (int32 i = 0; i < 3; i++) bitsalloc[i].init(uintptr(8) << 2 * i, "gcBits", nullptr, nullptr, &memstats.gc_sys);
  slotguardalloc.init(stackCacheSlots, "gguard", nullptr, nullptr, &memstats.gc_sys);
  sweepgen = 2;  // so that sweepgen - 2 of a zeroed span is never this one's
  sweepdone.store(1);
  for (int32 i = 0; i < numSpanClasses; i++) central[i].mcentral.init(spanClass(i));
  for (int32 i = 0; i < numSizeClasses; i++) runtime[i].mcentral.init(makeSpanClass(uint8(i), true));
  runtimelarge.init();
  auto* l2 = rt::sysAlloc(sizeof(heapArena*) << arenaL2Bits, &memstats.gc_sys);
  if (l2 == nullptr) {
    outofmemory(sizeof(heapArena*) << arenaL2Bits);
    fatal("out of memory");
  }
  sysName(l2, sizeof(heapArena*) << arenaL2Bits, "vitrine: heap index");
  metadatanote(l2, sizeof(heapArena*) << arenaL2Bits, "heapArena*", sizeof(heapArena*));
  store_relaxed(arenas[0], static_cast<heapArena**>(l2));
}

// ---- allocation

// What is cut off a free span, of which the first pages are given out: free, and as the whole was. What is above it did
// not merge with the whole, and does not with its end. mheap_.lock held.
static void keeptail(mheap* h, uintptr base, uintptr npages, const mspan* of, uint8 scavenged) {
  auto* t = static_cast<mspan*>(h->spanalloc.alloc());
  t->init(base, npages);
  t->needzero = of->needzero;
  t->scavenged = scavenged;
  t->unusedsince = of->unusedsince;
  t->state.store(mSpanFree, __ATOMIC_RELAXED);
  h->setSpan(base, t);
  h->setSpan(base + t->bytes() - 1, t);
  h->free.insert(t);
}

// [base, base+n), from the bottom of a scavenged span that ends at `end`, is to be used. The system call keeps every page
// fault of the process waiting, so it is made for a quarter of what is in use, 1 to 16 MiB, and most calls here find that
// done: h->dumped is the part of the scavenged span that is left of it. That is scavenged to its end until we come here
// again: nobody else makes free pages used, nor gives back what is given back. mheap_.lock held.
static void useahead(mheap* h, uintptr base, uintptr n, uintptr end) {
  uintptr upto = base + n;
  if (base >= h->dumped.base && upto <= h->dumped.end) {
    h->dumped.base = upto;
    return;
  }
  if (physPageSize <= pageSize) {
    constexpr uintptr least = 1 << 20, most = 16 << 20;
    uintptr ahead = alignDown(load_relaxed(memstats.heap_inuse) / 4, least);
    ahead = ahead < least ? least : ahead > most ? most : ahead;
    if (ahead > n) upto = ahead < end - base ? base + ahead : end;
  }
  sysUsed(reinterpret_cast<void*>(base), upto - base);
  h->dumped = {base + n, upto};
}

// The best fit for npages; of the next few in order, if it has no memory, one that has. Those with huge pages are not for
// stacks if another is among them, or the largest one will do. Null: none. mheap_.lock held.
static treapNode* fit(const mheap* h, uintptr npages, pageUse use) {
  treapNode* best = h->free.find(npages);
  treapNode* other = nullptr;
  treapNode* t = best;
  auto unfit = [&](const mspan* s) {
    return use == forStacks && h->hasHuge(s->base(), s->base() + (npages << pageShift));
  };
  for (int32 i = 0; t != nullptr && i < 4; i++, t = treapsucc(t)) {
    if (unfit(t->spanKey)) continue;
    if (t->spanKey->scavenged == 0) return t;
    if (other == nullptr) other = t;
  }
  if (best == nullptr || other != nullptr) return other;
  t = h->free.end();
  return unfit(t->spanKey) ? best : t;
}

// A span of exactly npages, in no state yet; null: no memory. window: as takePages. mheap_.lock held.
mspan* mheap::allocSpanLocked(uintptr npages, pageUse use, uint64* stat, addrRange* window) {
  treapNode* t = fit(this, npages, use);
  if (t == nullptr) {
    if (!grow(npages)) return nullptr;
    t = free.find(npages);
    if (t == nullptr) throw_("mheap: grew and has no span");
  }
  return takePages(t, npages, use, stat, window);
}

// Of a free span the first npages, as a span in no state yet. window, of which the end is a number of bytes: if the free
// span is scavenged, so many of its first ones are to get memory, and *window says which; the caller sees to that when it
// has given up the lock. What of them is not in the span is free, and no longer scavenged. So is the rest of a block that
// gets huge pages. mheap_.lock held.
mspan* mheap::takePages(treapNode* t, uintptr npages, pageUse use, uint64* stat, addrRange* window) {
  mspan* s = t->spanKey;
  if (s->state.load(__ATOMIC_RELAXED) != mSpanFree) throw_("mheap: the span in the treap is not free");
  free.removeNode(t);
  uintptr whole = s->npages, released = s->released(), used = npages;
  s->npages = npages;
  if (s->scavenged != 0) {
    bool populate = window != nullptr && window->end > 0 && physPageSize <= pageSize;
    uintptr pages = used;
    if (populate) {
      pages = window->end >> pageShift;
      if (pages > whole) pages = whole;
      if (used < pages) used = pages;
    }
    if (use == forSmallObjects) {
      uintptr upto = s->base() + (used << pageShift);
      uintptr huge = useHuge(s->base(), upto, s->base() + (whole << pageShift));
      if (huge > upto) used = pages = (huge - s->base()) >> pageShift;
    }
    if (populate) {
      uintptr upto = s->base() + (pages << pageShift), block = alignUp(s->base(), hugeBlockBytes);
      *window = {s->base(), block < upto && hasHuge(block, upto) ? block : upto};  // touchCold does those
    }
    useahead(this, s->base(), used << pageShift, s->base() + (whole << pageShift));
  }
  if (used > npages) keeptail(this, s->base() + s->bytes(), used - npages, s, 0);
  if (whole > used) keeptail(this, s->base() + (used << pageShift), whole - used, s, s->scavenged);
  if (s->scavenged != 0) {
    mspan rest{};
    rest.startAddr = s->base() + (used << pageShift);
    rest.npages = whole - used;
    rest.scavenged = 1;
    mSysStatDec(&memstats.heap_released, released - rest.released());
    s->scavenged = 0;
  }
  if (use == forStacks && noHuge(s->base(), s->base() + s->bytes()))
    sysDrop(reinterpret_cast<void*>(s->base()), s->bytes());
  s->unusedsince = 0;
  setSpans(s->base(), npages, s);
  mSysStatDec(&memstats.heap_idle, s->bytes());
  mSysStatInc(stat, s->bytes());
  return s;
}

static uint8 bitsclass(uintptr nelems) { return nelems <= 64 ? 0 : nelems <= 256 ? 1 : 2; }

// What a span of objects needs to know of its class; both bitmaps are zero. mheap_.lock held.
static void setclass(mheap* h, mspan* s, uint8 sizeclass) {
  s->divShift = 0;
  s->divMul = 0;
  s->baseMask = 0;
  if (sizeclass == 0) {
    s->elemsize = s->bytes();
    s->nelems = 1;
    s->divMagic = 0;
  } else {
    s->elemsize = class_to_size[sizeclass];
    s->nelems = s->bytes() / s->elemsize;
    s->divMagic = class_to_divmagic[sizeclass];
    if ((s->elemsize & (s->elemsize - 1)) == 0) {
      s->divShift = uint8(__builtin_ctzll(s->elemsize));
      s->baseMask = uint16(~(s->elemsize - 1));
    }
  }
  s->limit = s->base() + s->nelems * s->elemsize;
  s->allocCount = 0;
  s->freeindex = 0;
  s->freeIndexForScan = 0;
  s->allocCache = ~uint64(0);
  s->bitsclass = bitsclass(s->nelems);
  s->allocBits = static_cast<gcBits*>(h->bitsalloc[s->bitsclass].alloc());
  s->gcmarkBits = static_cast<gcBits*>(h->bitsalloc[s->bitsclass].alloc());
}

// s comes to life, for objects. mheap_.lock held.
static void setinuse(mheap* h, mspan* s, spanClass sc) {
  s->sweepgen.store(load_relaxed(h->sweepgen), __ATOMIC_RELAXED);
  s->spanclass = sc;
  s->owner = spanNobody;
  setclass(h, s, spansizeclass(sc));
  setPageInUse(s, true);
  s->state.store(mSpanInUse, __ATOMIC_RELEASE);
}

// A span for one large object; null: no memory.
mspan* mheap::alloc_m(uintptr npages, rt::spanClass sc) {
  if (sweepdone.load(__ATOMIC_RELAXED) == 0) reclaim(npages);
  rt::lock(&lock);
  mspan* s = allocSpanLocked(npages, forOthers, &memstats.heap_inuse);
  if (s != nullptr) {
    setinuse(this, s, sc);
    pagesInUse.add(npages, __ATOMIC_RELAXED);
    largealloc += s->elemsize;
    nlargealloc++;
    mSysStatInc(&memstats.heap_live, s->bytes());
  }
  rt::unlock(&lock);
  if (s != nullptr) sweepSpans[load_relaxed(sweepgen) / 2 % 2].push(s);
  return s;
}

mspan* mheap::alloc(uintptr npages, rt::spanClass sc, bool needzero) {
  mspan* s = alloc_m(npages, sc);
  if (s != nullptr && needzero) s->clear();
  return s;
}

// Up to `want` spans of npages, each for objects of class sc, by one hold of the lock; returns how many, 0: no memory.
// As many as are in the best fit for one, then in the next: holes are filled as by want calls, and what is next to each
// other costs the treap one change. window: bytes that get memory at once, where they have none (mcentral.cc).
//
// That is done when the lock was given up: the others need not wait for it, and if they come to touch these pages first,
// or the scavenger to give them back, nothing is wrong but a window's worth in heap_released.
uintptr mheap::allocSmall(uintptr npages, rt::spanClass sc, uintptr want, uintptr window, mspan** out) {
  if (sweepdone.load(__ATOMIC_RELAXED) == 0) reclaim(want * npages);
  rt::lock(&lock);
  addrRange fresh{0, window};
  uintptr n = 0;
  while (n < want) {
    treapNode* t = fit(this, npages, forSmallObjects);
    if (t == nullptr && n > 0) break;  // the heap grows for who has none
    uintptr row = want - n;
    if (t != nullptr && t->npagesKey / npages < row) row = t->npagesKey / npages;
    addrRange* w = fresh.base == 0 ? &fresh : nullptr;
    mspan* s = t == nullptr ? allocSpanLocked(row * npages, forSmallObjects, &memstats.heap_inuse, w)
                            : takePages(t, row * npages, forSmallObjects, &memstats.heap_inuse, w);
    if (s == nullptr) break;
    for (uintptr i = 0; i < row; i++) {
      if (i > 0) {
        auto* next = static_cast<mspan*>(spanalloc.alloc());
        next->init(s->base() + s->bytes(), npages);
        next->needzero = s->needzero;
        s = next;
        setSpans(s->base(), npages, s);
      }
      s->npages = npages;
      setinuse(this, s, sc);
      out[n++] = s;
    }
  }
  pagesInUse.add(n * npages, __ATOMIC_RELAXED);
  rt::unlock(&lock);
  if (fresh.base != 0 && fresh.end > fresh.base)
    sysPopulate(reinterpret_cast<void*>(fresh.base), fresh.end - fresh.base);
  sweepSpans[load_relaxed(sweepgen) / 2 % 2].push(out, uint32(n));
  return n;
}

mspan* mheap::allocManual(uintptr npages, rt::spanOwner owner, uint64* stat, uint8 sizeclass) {
  rt::lock(&lock);
  mspan* s = allocSpanLocked(npages, owner == spanStackPool || owner == spanStackLarge ? forStacks : forOthers, stat);
  if (s != nullptr) {
    s->sweepgen.store(load_relaxed(sweepgen), __ATOMIC_RELAXED);
    s->owner = owner;
    s->spanclass = makeSpanClass(sizeclass, true);
    if (owner == spanRuntime) {
      setclass(this, s, sizeclass);
    } else {
      s->elemsize = s->bytes();
      s->nelems = 1;
      s->limit = s->base() + s->bytes();
      s->allocCount = 1;
      s->allocBits = s->gcmarkBits = nullptr;
    }
    s->state.store(mSpanManual, __ATOMIC_RELEASE);
  }
  rt::unlock(&lock);
  return s;
}

// ---- and back

void mheap::freeSpan(mspan* s, bool large) {
  rt::lock(&lock);
  if (large) {
    largefree += s->elemsize;
    nlargefree++;  // heap_live has not counted it since the collection that found it dead
  }
  freeSpanLocked(s, &memstats.heap_inuse, false);
  rt::unlock(&lock);
}

void mheap::freeManual(mspan* s, uint64* stat, bool unused) {
  rt::lock(&lock);
  freeSpanLocked(s, stat, unused);
  rt::unlock(&lock);
}

// unused: the pages were given back (sysUnused) by who frees. mheap_.lock held.
void mheap::freeSpanLocked(mspan* s, uint64* stat, bool unused) {
  mSpanState was = s->state.load(__ATOMIC_RELAXED);
  if (was == mSpanInUse) {
    if (s->sweepgen.load(__ATOMIC_RELAXED) != load_relaxed(sweepgen) || s->allocCount != 0)
      throw_("mheap: a span that is freed has objects, or is not swept");
    pagesInUse.add(-s->npages, __ATOMIC_RELAXED);
    setPageInUse(s, false);
  } else if (was == mSpanManual) {
    if (s->allocCount != 0) throw_("mheap: a manual span that is freed is in use");
  } else {
    print("runtime: span ", hex{s->base()}, " has state ", uint64(was), "\n");
    throw_("mheap: a span that is freed is not in use");
  }
  if (s->list != nullptr) throw_("mheap: a span that is freed is on a list");
  s->state.store(mSpanFree, __ATOMIC_RELEASE);
  if (s->allocBits != nullptr) bitsalloc[s->bitsclass].free(s->allocBits);
  if (s->gcmarkBits != nullptr) bitsalloc[s->bitsclass].free(s->gcmarkBits);
  s->allocBits = s->gcmarkBits = nullptr;
  s->owner = spanNobody;
  s->needzero = !unused;
  s->scavenged = unused;
  mSysStatDec(stat, s->bytes());
  mSysStatInc(&memstats.heap_idle, s->bytes());
  if (unused) mSysStatInc(&memstats.heap_released, s->released());
  s->unusedsince = nanotime();
  coalesce(s);
  free.insert(s);
}

// Moves the border between free neighbours a (below) and b, of which one is scavenged, to that of a physical page.
static void realign(mspan* a, mspan* b) {
  if (pageSize >= physPageSize) return;
  uintptr border = a->scavenged ? alignDown(b->base(), physPageSize) : alignUp(b->base(), physPageSize);
  uintptr end = b->base() + b->bytes();
  if (border <= a->base() || border >= end) return;
  a->npages = (border - a->base()) >> pageShift;
  b->startAddr = border;
  b->npages = (end - border) >> pageShift;
  bool needzero = a->needzero != 0 || b->needzero != 0;
  (a->scavenged ? b : a)->needzero = needzero;
}

// Makes s, which is free and in no treap, as large as its free neighbours allow. mheap_.lock held.
void mheap::coalesce(mspan* s) {
  auto isfree = [](mspan* o) { return o != nullptr && o->state.load(__ATOMIC_RELAXED) == mSpanFree; };
  for (int32 side = 0; side < 2; side++) {
    bool below = side == 0;
    mspan* o = spanOf(below ? s->base() - 1 : s->base() + s->bytes());
    if (!isfree(o)) continue;
    if (o->scavenged == s->scavenged) {
      free.removeSpan(o);
      if (below) s->startAddr = o->startAddr;
      s->npages += o->npages;
      s->needzero |= o->needzero;
      o->state.store(mSpanDead, __ATOMIC_RELAXED);
      spanalloc.free(o);
    } else if (pageSize < physPageSize) {
      free.removeSpan(o);
      below ? realign(o, s) : realign(s, o);
      setSpan(o->base(), o);
      setSpan(o->base() + o->bytes() - 1, o);
      free.insert(o);
    }
  }
  setSpan(s->base(), s);
  setSpan(s->base() + s->bytes() - 1, s);
}

}  // namespace vitrine::rt
