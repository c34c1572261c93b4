// stack_guard.cc: what lies below a goroutine's stack, so that running over its end is noticed.
//
// Guards cost VMAs, and vm.max_map_count (65,530) is what stops fiber runtimes at 32,000 stacks. So:
//   1. the first 8,192 stacks (GODEBUG=stackguardbudget=N) get an mprotect guard: two VMAs each, and every tool
//      understands them;
//   2. the rest get MADV_GUARD_INSTALL where the kernel has it (6.13): a guard in the page tables, no VMA;
//   3. otherwise a canary word at the low end, checked whenever the goroutine leaves its M.
// GODEBUG=stackguard=mprotect|madvise|canary forces one of them.
//
// A guard is the slot's: installed when the slot is first handed out (mspan.slotguard says which kind), kept over all
// its stacks, and removed with all others of the span when that goes back to the heap, which also returns them to the
// budget.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "proc.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace vitrine::rt {

namespace {

constexpr uint64 canaryWord = 0xc0defa11ba5eba11;

atomic<int32> guardbudget;  // mprotect guards left
atomic<uint32> madviseworks;

bool takebudget() {
  if (guardbudget.load(__ATOMIC_RELAXED) <= 0) return false;
  if (guardbudget.add(-1, __ATOMIC_RELAXED) >= 0) return true;
  guardbudget.add(1, __ATOMIC_RELAXED);
  return false;
}

}  // namespace

void stackinit() {
  guardbudget.store(debug.stackguardbudget);
  if (san_sanitized()) stackScale = 2;
  madviseworks.store(debug.stackguard != gguardMprotect && debug.stackguard != gguardCanary);
}

uint8 installguard(uintptr base) {
  void* p = reinterpret_cast<void*>(base);
  uint8 forced = uint8(debug.stackguard);
  if (forced == gguardMprotect || (forced == 0 && takebudget())) {
    if (mprotect(p, guardBytes, PROT_NONE) == 0) return gguardMprotect;
    if (forced != 0) return gguardNone;
  }
  if (madviseworks.load(__ATOMIC_RELAXED) != 0 && forced != gguardCanary) {
    if (madvise(p, guardBytes, MADV_GUARD_INSTALL) == 0) return gguardMadvise;
    madviseworks.store(0, __ATOMIC_RELAXED);
  }
  return gguardCanary;
}

void removeguards(uintptr base, uintptr bytes, const uint8* guards, uintptr n) {
  int32 mprotected = 0;
  bool madvised = false;
  for (uintptr i = 0; i < n; i++) {
    mprotected += guards[i] == gguardMprotect;
    madvised |= guards[i] == gguardMadvise;
  }
  void* p = reinterpret_cast<void*>(base);
  if (mprotected > 0) {
    if (mprotect(p, bytes, PROT_READ | PROT_WRITE) != 0) throw_("stackfree: a guard cannot be removed");
    if (debug.stackguard == 0) guardbudget.add(mprotected, __ATOMIC_RELAXED);
  }
  if (madvised && madvise(p, bytes, MADV_GUARD_REMOVE) != 0) throw_("stackfree: a guard cannot be removed");
}

uint64 guardsize(const g* gp) { return gp->guard == gguardMprotect || gp->guard == gguardMadvise ? guardBytes : 0; }

void setcanary(g* gp) {
  gp->stackcanary = gp->stack.lo;
  memcpy(reinterpret_cast<void*>(gp->stackcanary), &canaryWord, sizeof canaryWord);
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
