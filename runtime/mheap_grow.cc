// mheap_grow.cc: where the heap's address space comes from, and how its memory goes back. Follows Go's mheap.grow,
// mheap.sysAlloc (malloc.go) and the scavenger's scavengeLocked (1.13, without a goroutine in the background).
//
// The heap grows by arenas of 64 MiB, aligned to their size, wanted at 0x00c0'0000'0000 and up: such addresses are rare
// in other data, easily seen in a dump, and next to each other, so that spans may cross arenas. Each arena gets a
// heapArena (bitmap and spans), entered in the index mheap_.arenas by its address. Under a sanitizer, which has the low
// half of the address space for itself, and when the hints are used up, the kernel chooses.
//
// An arena is mapped as a whole, and cut off piece by piece: [curArena.base, curArena.end) is not in spans yet. Each
// piece enters the treap as a scavenged span, because nobody has touched it.
//
// Huge pages. Marking is kept waiting by the translation of addresses more than by anything else, and new memory by its page
// faults. So, from 16 MiB of objects on, a block of 2 MiB that has no memory and of which small objects get a part, gets
// huge pages: with the first access all of it has memory, and all of it counts as used, what is free of it too. It is so with
// no other: large objects may never be touched as a whole; stacks never are. hugeBlocks says which blocks those are.
//   Of such a block all pages have memory. Who gives back some of it ends it: it becomes one of small pages first, or the
//   kernel would make its pages huge again some day, and what is given back come back. So does who takes some of it for
//   stacks (takePages), which are elsewhere if there is another place; what it takes is given back at once, as a stack
//   would not touch it.
//   A smaller heap does not get them: up to 2 MiB more than it needs would be too much for it.
//   The first access takes as long as the kernel needs to clear 2 MiB; in a virtual machine whose host has not given it that
//   memory yet, 5 to 12 ms, and no signal is looked at before the end. A world that is to stop would wait for that. So who
//   allocates an object in a block that nobody has touched (coldBlocks) asks for the huge page and touches it without a P, as
//   if it were a system call (touchCold): to ask waits for other threads' faults. The others who get a span there meanwhile do
//   the same; the kernel keeps the first one's memory. Only who must keep its P has the fault with it.
// Rejected: blocks, or two treaps, for stacks and for objects apart. A free span is used by either, as always; a block that
// becomes one of small pages costs one system call. Rejected: MADV_COLLAPSE of blocks that are full: copies them, and stops
// who uses them meanwhile, and the page faults of new memory are there all the same. Unlike Go: it leaves huge pages to the system's defaults.
//
// Only a failure to get address space or metadata ends here in `false`; who asked decides what that means.
#include <cstring>

#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

constexpr uintptr growStep = 4 << 20;

static void addhint(mheap* h, uintptr addr) {
  auto* hint = static_cast<arenaHint*>(h->arenaHintAlloc.alloc());
  hint->addr = addr;
  hint->next = h->arenaHints;
  h->arenaHints = hint;
}

static void inithints(mheap* h) {
  static bool done;
  if (done) return;
  done = true;
  if (sanitized()) return;
  for (int32 i = 0x7f; i >= 0; i--) addhint(h, uintptr(i) << 40 | uintptr(0x00c0) << 32);
}

// n bytes anywhere, aligned to an arena.
static uintptr reservealigned(uintptr n) {
  auto p = uintptr(sysReserve(nullptr, n + heapArenaBytes));
  if (p == 0) return 0;
  uintptr base = alignUp(p, heapArenaBytes);
  if (base > p) sysFree(reinterpret_cast<void*>(p), base - p, nullptr);
  if (uintptr end = p + n + heapArenaBytes; end > base + n)
    sysFree(reinterpret_cast<void*>(base + n), end - (base + n), nullptr);
  return base;
}

// At least n bytes of mapped arenas. mheap_.lock held.
bool mheap::sysAlloc(uintptr n, uintptr* base, uintptr* size) {
  inithints(this);
  n = alignUp(n, heapArenaBytes);
  uintptr v = 0;
  while (arenaHints != nullptr && v == 0) {
    arenaHint* hint = arenaHints;
    v = uintptr(sysReserve(reinterpret_cast<void*>(hint->addr), n));
    if (v == hint->addr) {
      hint->addr += n;
      break;
    }
    // Taken: this hint is of no use any more.
    if (v != 0) sysFree(reinterpret_cast<void*>(v), n, nullptr);
    if (v == 0) break;
    v = 0;
    arenaHints = hint->next;
    arenaHintAlloc.free(hint);
  }
  if (v == 0) v = reservealigned(n);
  if (v == 0) return false;
  if (v + n > uintptr(1) << heapAddrBits) throw_("runtime: memory reserved beyond the address space of the heap");
  if (!sysMap(reinterpret_cast<void*>(v), n, nullptr)) {
    sysFree(reinterpret_cast<void*>(v), n, nullptr);
    return false;
  }
  for (uintptr at = v; at < v + n; at += heapArenaBytes) {
    auto* ha = static_cast<heapArena*>(rt::sysAlloc(sizeof(heapArena), &memstats.gc_sys));
    if (ha == nullptr) return false;  // what is mapped stays unused
    metadatanote(ha, sizeof(heapArena), "heapArena", 0);
    ha->base = at;
    if (allArenas.len == allArenas.cap) {
      int64 cap = allArenas.cap == 0 ? 512 : allArenas.cap * 2;
      auto* array = static_cast<uintptr*>(
          persistentalloc(uintptr(cap) * sizeof(uintptr), 64, &memstats.other_sys, "uintptr", sizeof(uintptr)));
      if (allArenas.len > 0) memcpy(array, allArenas.array, uintptr(allArenas.len) * sizeof(uintptr));
      __atomic_store_n(&allArenas.array, array, __ATOMIC_RELEASE);
      allArenas.cap = cap;
    }
    allArenas.array[allArenas.len] = at;
    __atomic_store_n(&allArenas.len, allArenas.len + 1, __ATOMIC_RELEASE);
    arenaIdx i = arenaIndex(at);
    __atomic_store_n(&arenas[i.l1()][i.l2()], ha, __ATOMIC_RELEASE);
  }
  *base = v;
  *size = n;
  return true;
}

// [base, base+n) becomes a free span that nobody has touched. mheap_.lock held.
static void addfree(mheap* h, uintptr base, uintptr n) {
  auto* s = static_cast<mspan*>(h->spanalloc.alloc());
  s->init(base, n >> pageShift);
  s->scavenged = 1;
  s->unusedsince = nanotime();
  s->state.store(mSpanFree, __ATOMIC_RELAXED);
  h->setSpan(base, s);
  h->setSpan(base + n - 1, s);
  mSysStatInc(&memstats.heap_sys, n);
  mSysStatInc(&memstats.heap_idle, n);
  mSysStatInc(&memstats.heap_released, s->released());
  h->coalesce(s);
  h->free.insert(s);
}

// The treap gets a span of at least npages; false: no memory. mheap_.lock held.
bool mheap::grow(uintptr npages) {
  if (npages > (uintptr(1) << heapAddrBits) / pageSize) return false;
  uintptr ask = alignUp(npages << pageShift, growStep);
  if (curArena.end - curArena.base < ask) {
    uintptr base, size;
    if (!sysAlloc(ask, &base, &size)) return false;
    if (base == curArena.end) {
      curArena.end = base + size;
    } else {
      if (curArena.end > curArena.base) addfree(this, curArena.base, curArena.end - curArena.base);
      curArena = {base, base + size};
    }
  }
  uintptr base = curArena.base;
  curArena.base += ask;
  addfree(this, base, ask);
  return true;
}

mspan* spanOfHeap(uintptr p) {
  mspan* s = spanOf(p);
  if (s == nullptr || s->state.load(__ATOMIC_ACQUIRE) != mSpanInUse || p < s->base() || p >= s->limit) return nullptr;
  return s;
}

// ---- huge pages

static constexpr uintptr hugeFrom = 16 << 20;  // bytes of objects

static uint32 hugebit(uintptr block) { return uint32(1) << block % heapArenaBytes / hugeBlockBytes; }

static bool iscold(uintptr at) { return (load_relaxed(arenaOf(at)->coldBlocks) & hugebit(at)) != 0; }

static void setcold(uintptr at) {
  if ((__atomic_fetch_or(&arenaOf(at)->coldBlocks, hugebit(at), __ATOMIC_RELAXED) & hugebit(at)) == 0)
    mheap_.ncold.add(1, __ATOMIC_RELAXED);
}

static void clearcold(uintptr at) {
  if ((__atomic_fetch_and(&arenaOf(at)->coldBlocks, ~hugebit(at), __ATOMIC_RELAXED) & hugebit(at)) != 0)
    mheap_.ncold.add(-1, __ATOMIC_RELAXED);
}

// Of the free pages [base, end), which have no memory, those before upto are to be used for small objects. Blocks that are
// wholly among the free ones, and of which some are used, get huge pages. Returns where what is used ends by that. mheap_.lock held.
uintptr mheap::useHuge(uintptr base, uintptr upto, uintptr end) {
  if (load_relaxed(memstats.heap_inuse) < hugeFrom || physPageSize > pageSize) return upto;
  uintptr first = alignUp(base, hugeBlockBytes), last = alignUp(upto, hugeBlockBytes);
  if (last > end) last = alignDown(end, hugeBlockBytes);
  if (last <= first || !sysHasHugePages()) return upto;
  for (uintptr at = first; at < last; at += hugeBlockBytes) {
    store_relaxed(arenaOf(at)->hugeBlocks, arenaOf(at)->hugeBlocks | hugebit(at));
    setcold(at);
  }
  return last > upto ? last : upto;
}

// Whether a block with huge pages has some of these pages. mheap_.lock held.
bool mheap::hasHuge(uintptr base, uintptr end) const {
  for (uintptr at = alignDown(base, hugeBlockBytes); at < end; at += hugeBlockBytes)
    if ((arenaOf(at)->hugeBlocks & hugebit(at)) != 0) return true;
  return false;
}

// Blocks with these pages get no huge pages any more; those that they have stay until something is given back. Whether there
// was one. mheap_.lock held.
bool mheap::noHuge(uintptr base, uintptr end) {
  if (!hasHuge(base, end)) return false;
  base = alignDown(base, hugeBlockBytes);
  end = alignUp(end, hugeBlockBytes);
  for (uintptr at = base; at < end; at += hugeBlockBytes) {
    store_relaxed(arenaOf(at)->hugeBlocks, arenaOf(at)->hugeBlocks & ~hugebit(at));
    clearcold(at);
  }
  sysNoHugePages(reinterpret_cast<void*>(base), end - base);
  return true;
}

// Gets huge pages for the blocks that s is in, and their memory. By who holds an object of s; without its P, if it may lose
// that. Meanwhile noHuge may take the huge pages from a block: it clears the block's bit and then asks for small pages, here it
// is the other way round, and the kernel does one after the other. So whoever is last leaves small ones.
void mheap::touchCold(const mspan* s, bool mayLoseP) {
  for (uintptr at = s->base(); at < s->limit; at = alignDown(at, hugeBlockBytes) + hugeBlockBytes) {
    if (!iscold(at)) continue;
    bool away = mayLoseP && entersyscall();
    auto* block = reinterpret_cast<void*>(alignDown(at, hugeBlockBytes));
    sysHugePages(block, hugeBlockBytes);
    if ((load_relaxed(arenaOf(at)->hugeBlocks) & hugebit(at)) == 0) sysNoHugePages(block, hugeBlockBytes);
    // Changes nothing, whatever others write there at the same time.
    asm volatile("lock orb $0, %0" : "+m"(*reinterpret_cast<uint8*>(at))::"memory");
    if (away) exitsyscall();
    clearcold(at);
  }
}

// ---- giving memory back

// Gives back at least nbytes, if there are so many, from the largest free spans down; returns how many. lock held.
uintptr mheap::scavengeLocked(uintptr nbytes) {
  if (scavengeCredit >= nbytes) {
    scavengeCredit -= nbytes;
    return nbytes;
  }
  uintptr gone = 0;
  for (treapNode* t = free.end(); t != nullptr && gone < nbytes;) {
    treapNode* before = treappred(t);
    mspan* s = t->spanKey;
    uintptr start, end;
    s->physPageBounds(&start, &end);
    if (s->scavenged != 0 || end <= start) {
      t = before;
      continue;
    }
    free.removeNode(t);
    gone += s->scavenge();
    // It may merge now, and take the one before it, or any other, out of the treap: start anew from the end. What is
    // scavenged already is passed quickly, and each round scavenges one.
    coalesce(s);
    free.insert(s);
    t = free.end();
  }
  if (gone > nbytes) scavengeCredit += gone - nbytes;
  return gone;
}

uintptr scavengeAll() {
  lock(&mheap_.lock);
  mheap_.scavengeCredit = 0;
  uintptr n = mheap_.scavengeLocked(~uintptr(0) >> 1);
  unlock(&mheap_.lock);
  return n;
}

uint64 heapRetained() { return load_relaxed(memstats.heap_sys) - load_relaxed(memstats.heap_released); }

// ---- what spans have beside their pages

void addspecial(mspan* s, special* sp) {
  lock(&s->speciallock);
  special** at = &s->specials;
  while (*at != nullptr && (*at)->offset <= sp->offset) at = &(*at)->next;
  sp->next = *at;
  store_relaxed(*at, sp);
  unlock(&s->speciallock);
}

uint8* allocslotguard(uintptr n) {
  if (n > stackCacheSlots) throw_("allocslotguard: too many slots");
  lock(&mheap_.lock);
  auto* p = static_cast<uint8*>(mheap_.slotguardalloc.alloc());
  unlock(&mheap_.lock);
  memset(p, slotUnused, n);
  return p;
}

void freeslotguard(uint8* p) {
  lock(&mheap_.lock);
  mheap_.slotguardalloc.free(p);
  unlock(&mheap_.lock);
}

}  // namespace vitrine::rt
