// mgcsweepbuf.cc: the set of spans in use, for the sweeper to walk. Follows Go's mgcsweepbuf.go (1.12).
//
// Blocks of 512 spans under a spine of pointers to blocks. push takes the next indices by one atomic add; who gets one
// in a block that is not there yet makes that, under spineLock. pop takes from the end. push and push, pop
// and pop may run at once; push and pop may not: mheap_ has two of these, of swept and of unswept spans, which change
// roles with the world stopped. A span that was freed stays in the set until it is popped, so who pops looks at its
// state.
//
// Unlike Go: the spine is one reservation of its greatest length, which costs no memory until it is used, and so never
// moves: 16,384 blocks are 8 Mi spans.
#include "mem.h"

namespace vitrine::rt {

void gcSweepBuf::push(mspan* const* s, uint32 n) {
  if (n == 0) return;
  uint32 first = index.add(n) - n;
  uintptr top = (first + n - 1) / gcSweepBlockEntries;
  if (top >= gcSweepBufBlocks) throw_("gcSweepBuf: too many spans");
  if (top >= spineLen.load(__ATOMIC_ACQUIRE)) {
    lock(&spineLock);
    gcSweepBlock** sp = spine.load(__ATOMIC_RELAXED);
    if (sp == nullptr) {
      sp = static_cast<gcSweepBlock**>(sysAlloc(gcSweepBufBlocks * sizeof(void*), &memstats.gc_sys));
      if (sp == nullptr) {
        outofmemory(gcSweepBufBlocks * sizeof(void*));
        fatal("out of memory");
      }
      metadatanote(sp, gcSweepBufBlocks * sizeof(void*), "gcSweepBlock*", sizeof(void*));
      spine.store(sp, __ATOMIC_RELEASE);
    }
    // Who is late finds it done; who is early, past a block that another is about to make, makes that too.
    for (uintptr k = spineLen.load(__ATOMIC_RELAXED); k <= top; k++) {
      if (sp[k] == nullptr)
        sp[k] = static_cast<gcSweepBlock*>(persistentalloc(sizeof(gcSweepBlock), 64, &memstats.gc_sys, "gcSweepBlock"));
      spineLen.store(k + 1, __ATOMIC_RELEASE);
    }
    unlock(&spineLock);
  }
  gcSweepBlock** sp = spine.load(__ATOMIC_ACQUIRE);
  for (uint32 at = first; at < first + n; at++)
    store_relaxed(sp[at / gcSweepBlockEntries]->spans[at % gcSweepBlockEntries], s[at - first]);
}

mspan* gcSweepBuf::pop() {
  uint32 cursor = index.load();
  do {
    if (cursor == 0) return nullptr;
  } while (!index.cas(cursor, cursor - 1) && (cursor = index.load(), true));
  cursor--;
  mspan** at = &spine.load(__ATOMIC_ACQUIRE)[cursor / gcSweepBlockEntries]->spans[cursor % gcSweepBlockEntries];
  mspan* s = load_relaxed(*at);
  store_relaxed(*at, nullptr);
  return s;
}

uint32 gcSweepBuf::numBlocks() const { return uint32((index.load() + gcSweepBlockEntries - 1) / gcSweepBlockEntries); }

}  // namespace vitrine::rt
