// stack.cc: where goroutine stacks come from until the span heap takes them over, and what lies below them.
// Follows the role of Go's stack.go; unlike Go: a C++ stack can neither move nor grow, so a stack is a slot of a power
// of two (16 KiB up) of which only touched pages cost memory.
//
//   slab (4 MiB, doubling to 64 MiB; one mapping, NORESERVE, no huge pages, not dumped until used)
//   ├─ slot: │ guard page │ stack.lo … stack.hi │   ├─ slot … │   ├─ never used: MADV_DONTDUMP │
//
// Guards cost VMAs, and vm.max_map_count (65,530) is what stops fiber runtimes at 32,000 stacks. So:
//   1. the first 8,192 stacks (GODEBUG=stackguardbudget=N) get an mprotect guard: two VMAs each, and every tool
//      understands them;
//   2. the rest get MADV_GUARD_INSTALL where the kernel has it (6.13): a guard in the page tables, no VMA;
//   3. otherwise a canary word at the low end, checked whenever the goroutine leaves its M.
// GODEBUG=stackguard=mprotect|madvise|canary forces one of them.
//
// Who owns a slot: its g, from stackalloc to stackfree; the free lists between. All lists are guarded by stacks.lock.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "proc.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace vitrine::rt {

namespace {

constexpr uint32 minlog2 = 14, maxlog2 = 36;
constexpr uint64 guardBytes = 4096;
constexpr uint64 firstSlab = 4 << 20, largestSlab = 64 << 20, dumpStep = 1 << 20;
constexpr uint64 canaryWord = 0xc0defa11ba5eba11;

struct freestack {
  uintptr base;  // of the slot
  stackslab* slab;
  uint8 guard;
  freestack* next;
};

struct stackorder {
  stackslab* slabs;  // newest first; only the newest has never-used slots
  freestack* free;
  uint64 nextslab;  // bytes of the next slab
};

struct {
  mutex lock;
  stackorder order[maxlog2 + 1];
  int32 guardbudget;  // mprotect guards left
  bool madviseworks;
} stacks;

// One slot's slab is needed again when the slot is freed: looked up by address, newest first.
stackslab* slabof(uint32 log2, uintptr base) {
  for (stackslab* s = stacks.order[log2].slabs; s != nullptr; s = s->next)
    if (base - s->base < s->bytes) return s;
  return nullptr;
}

stackslab* newslab(uint32 log2) {
  stackorder& o = stacks.order[log2];
  uint64 slot = 1ull << log2;
  if (o.nextslab < slot) o.nextslab = slot > firstSlab ? slot : firstSlab;
  uint64 bytes = o.nextslab;
  void* p =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  madvise(p, bytes, MADV_NOHUGEPAGE);
  madvise(p, bytes, MADV_DONTDUMP);
  if (bytes < largestSlab) o.nextslab = bytes * 2;
  auto* s = static_cast<stackslab*>(persistentalloc(sizeof(stackslab), 8));
  *s = {uintptr(p), bytes, log2, uint32(bytes >> log2), 0, 0, o.slabs};
  o.slabs = s;
  return s;
}

uint8 installguard(uintptr base) {
  void* p = reinterpret_cast<void*>(base);
  uint8 forced = uint8(debug.stackguard);
  if (forced == gguardMprotect || (forced == 0 && stacks.guardbudget > 0)) {
    if (mprotect(p, guardBytes, PROT_NONE) == 0) {
      stacks.guardbudget--;
      return gguardMprotect;
    }
    if (forced != 0) return gguardNone;
  }
  if (stacks.madviseworks && forced != gguardCanary) {
    if (madvise(p, guardBytes, MADV_GUARD_INSTALL) == 0) return gguardMadvise;
    stacks.madviseworks = false;
  }
  return gguardCanary;
}

bool takeslot(uint32 log2, uintptr* base, uint8* guard) {
  stackorder& o = stacks.order[log2];
  if (freestack* f = o.free; f != nullptr) {
    o.free = f->next;
    *base = f->base;
    *guard = f->guard;
    if (f->slab->nlive++ == 0)
      madvise(reinterpret_cast<void*>(f->slab->base), uint64(f->slab->used) << log2, MADV_DODUMP);
    rawfree(f);
    return true;
  }
  stackslab* s = o.slabs;
  if (s == nullptr || s->used == s->nslots) {
    s = newslab(log2);
    if (s == nullptr) return false;
  }
  uint64 offset = uint64(s->used) << log2, end = offset + (1ull << log2);
  // Dumped from here on, in steps, so that the boundary moves rarely.
  uint64 dumped = offset == 0 ? 0 : (offset + dumpStep - 1) & ~(dumpStep - 1);
  if (end > dumped) {
    uint64 upto = (end + dumpStep - 1) & ~(dumpStep - 1);
    if (upto > s->bytes) upto = s->bytes;
    madvise(reinterpret_cast<void*>(s->base + dumped), upto - dumped, MADV_DODUMP);
  }
  s->used++;
  s->nlive++;
  *base = s->base + offset;
  *guard = installguard(*base);
  return true;
}

}  // namespace

void stackinit() {
  stacks.guardbudget = debug.stackguardbudget;
  stacks.madviseworks = debug.stackguard != gguardMprotect && debug.stackguard != gguardCanary;
}

uint32 stackclassof(uint64 size) {
  uint32 log2 = minlog2;
  while ((1ull << log2) < size && log2 < maxlog2) log2++;
  return log2;
}

uint64 guardsize(const g* gp) { return gp->guard == gguardMprotect || gp->guard == gguardMadvise ? guardBytes : 0; }

bool stackalloc(g* gp, uint64 size) {
  uint32 log2 = stackclassof(size);
  if ((1ull << log2) < size) return false;
  uintptr base;
  uint8 guard;
  lock(&stacks.lock);
  bool ok = takeslot(log2, &base, &guard);
  unlock(&stacks.lock);
  if (!ok) return false;
  gp->guard = guard;
  gp->stackclass = log2;
  gp->stack.hi = base + (1ull << log2);
  gp->stack.lo = base + (guardsize(gp) != 0 ? guardBytes : 0);
  store_relaxed(gp->stackguard0, gp->stack.lo + stackGuard);  // sysmon may still ask the g that it was
  gp->stackcanary = 0;
  if (guard == gguardCanary) {
    gp->stackcanary = gp->stack.lo;
    memcpy(reinterpret_cast<void*>(gp->stackcanary), &canaryWord, sizeof canaryWord);
  }
  return true;
}

void stackfree(g* gp) {
  uint32 log2 = gp->stackclass;
  uintptr base = gp->stack.hi - (1ull << log2);
  auto* f = static_cast<freestack*>(rawalloc(sizeof(freestack)));
  lock(&stacks.lock);
  stackslab* s = slabof(log2, base);
  if (s == nullptr) throw_("stackfree: not a stack of ours");
  *f = {base, s, gp->guard, stacks.order[log2].free};
  stacks.order[log2].free = f;
  if (--s->nlive == 0) {
    // Nobody lives here: give the pages back and leave them out of core dumps. Guards stay.
    void* p = reinterpret_cast<void*>(s->base);
    uint64 bytes = uint64(s->used) << log2;
    madvise(p, bytes, MADV_DONTNEED);
    madvise(p, bytes, MADV_DONTDUMP);
  }
  unlock(&stacks.lock);
  gp->stack = {0, 0};
  gp->stackcanary = 0;
  gp->guard = gguardNone;
}

void checkcanary_slow(g* gp) {
  uint64 word;
  memcpy(&word, reinterpret_cast<void*>(gp->stackcanary), sizeof word);
  if (word == canaryWord) return;
  print("runtime: goroutine ", gp->goid, " ");
  printname(gp->name);
  print(" overflowed its stack of ", uint64(1) << gp->stackclass, " bytes [", hex{gp->stack.lo}, ", ",
        hex{gp->stack.hi}, "): its canary word is overwritten\n");
  throw_("stack overflow");
}

}  // namespace vitrine::rt
