// mem.h: the functions of the memory system, bottom-up, as runtime.h lists the others. Shapes are in mheap.h.
//
// Whoever is on a P allocates from that P's mcache while pinned (acquirem); who has none — a foreign thread, a
// goroutine that lost its P, a thread before run() or after it — takes a central lock instead. Nothing here parks.
#pragma once
#include "mheap.h"
#include "runtime.h"

namespace vitrine::rt {

constexpr uintptr alignUp(uintptr n, uintptr a) { return (n + a - 1) & ~(a - 1); }
constexpr uintptr alignDown(uintptr n, uintptr a) { return n & ~(a - 1); }

// ---- os_linux.cc
uintptr getPageSize();

// ---- mem_linux.cc: a stretch of address space is reserved (sysReserve), mapped (sysMap: may be used, costs nothing),
// used (sysUsed) and given back (sysUnused: reads as zero, no memory, not in core dumps). stat may be null.
void* sysAlloc(uintptr n, uint64* stat);  // zeroed, mapped and used; null: none. For metadata
void sysFree(void* v, uintptr n, uint64* stat);
void* sysReserve(void* hint, uintptr n);  // null: none; elsewhere than hint if that is taken
bool sysMap(void* v, uintptr n, uint64* stat);
void sysUsed(void* v, uintptr n);
void sysPopulate(void* v, uintptr n);  // what is used gets its memory now, where the kernel can do that in one go
void sysUnused(void* v, uintptr n);
void sysDrop(void* v, uintptr n);                    // reads as zero, has no memory, stays used
bool sysHasHugePages();                              // whether the system has some for who asks; mheap_.lock held
void sysHugePages(void* v, uintptr n);               // whole blocks: what has no page yet gets pages of 2 MiB
void sysNoHugePages(void* v, uintptr n);             // no more of them; those that are there stay
void sysFault(void* v, uintptr n);                   // any access faults from now on
void sysName(void* v, uintptr n, const char* name);  // as /proc/PID/maps shows it, where the kernel can

// ---- mstats.cc
void mSysStatInc(uint64* stat, uintptr n);
void mSysStatDec(uint64* stat, uintptr n);

// ---- mpersistent.cc: memory that is never returned. type: of what it is an array of, by its name in DWARF, null: of
// nobody else's concern; unit: the size of an element, 0: it is one; owner: cuts it further
constexpr uintptr persistentChunkSize = 256 << 10;
void* persistentalloc(uintptr size, uintptr align, uint64* stat, const char* type, uintptr unit = 0,
                      fixalloc* owner = nullptr);
void metadatanote(const void* p, uintptr size, const char* type, uintptr unit);  // the same, of what sysAlloc gave

// ---- mheap.cc
inline arenaIdx arenaIndex(uintptr p) { return {p / heapArenaBytes}; }
inline uintptr arenaBase(arenaIdx i) { return i.value * heapArenaBytes; }
inline uintptr arenaIdx::l1() const { return arenaL1Bits == 0 ? 0 : value >> arenaL2Bits; }
inline uintptr arenaIdx::l2() const { return value & ((uintptr(1) << arenaL2Bits) - 1); }
// The arena of an address, null if that is in none.
inline heapArena* arenaOf(uintptr p) {
  if (p >> heapAddrBits != 0 || load_relaxed(mheap_.arenas[0]) == nullptr) return nullptr;
  arenaIdx i = arenaIndex(p);
  return __atomic_load_n(&mheap_.arenas[i.l1()][i.l2()], __ATOMIC_ACQUIRE);
}
// The span of an address that is known to be in an arena. Right for pages of spans in use; else it may be anything.
inline mspan* spanOfUnchecked(uintptr p) {
  arenaIdx i = arenaIndex(p);
  return load_relaxed(mheap_.arenas[i.l1()][i.l2()]->spans[p / pageSize % pagesPerArena]);
}
// As spanOfUnchecked, null for an address in no arena.
inline mspan* spanOf(uintptr p) {
  heapArena* ha = arenaOf(p);
  return ha == nullptr ? nullptr : load_relaxed(ha->spans[p / pageSize % pagesPerArena]);
}
// The span whose objects the collector cares for, null if p is in none.
mspan* spanOfHeap(uintptr p);
uint64 heapRetained();  // bytes of spans that may have memory
uintptr scavengeAll();  // gives all free pages back; returns the bytes
void addspecial(mspan* s, special* sp);
uint8* allocslotguard(uintptr n);  // n bytes, all slotUnused
void freeslotguard(uint8* p);

// ---- mbitmap.cc: two bits for each word of the heap: is it a pointer, and may another follow in this object
constexpr uint8 bitPointer = 1, bitScan = 1 << 4;
struct heapBits {
  uint8* bitp;   // the byte with this word's bits
  uint32 shift;  // 0 … 3: which of its four words
  uint32 arena;
  uint8* last;  // the arena's last byte
  uint32 bits() const { return uint32(*bitp) >> shift; }
  bool isPointer() const { return (bits() & bitPointer) != 0; }
  bool morePointers() const { return (bits() & bitScan) != 0; }
  heapBits next() const;
  heapBits forward(uintptr n) const;  // n words on
  void initSpan(mspan* s) const;
};
heapBits heapBitsForAddr(uintptr addr);
inline heapBits heapBitsForSpan(uintptr base) { return heapBitsForAddr(base); }
// The memory [x, x+size) holds dataSize / typ->size values of typ; what is behind them holds no pointers.
void heapBitsSetType(uintptr x, uintptr size, uintptr dataSize, const _type* typ);
// As that, for one value. The bits of most fit into a register: a byte of them is written for four words, from `shift` on.
inline __attribute__((always_inline)) void heapBitsSetSmall(uintptr x, uintptr size, const _type* typ) {
  const uintptr words = size / ptrSize, ptrwords = typ->ptrdata / ptrSize;
  if (__builtin_expect(words > 28 || ptrwords > 8 || (x ^ (x + size - 1)) >= heapArenaBytes, 0))
    return heapBitsSetType(x, size, typ->size, typ);
  const uint32 shift = uint32(x / ptrSize % 4), scan = ((uint32(1) << ptrwords) - 1) << shift;
  uint32 pointers = uint32(typ->gcdata[0]) << shift & scan, more = scan, all = ((uint32(1) << words) - 1) << shift;
  arenaIdx i = arenaIndex(x);
  uint8* b = &load_relaxed(mheap_.arenas[i.l1()][i.l2()])->bitmap[x / (ptrSize * 4) % heapArenaBitmapBytes];
  for (; all != 0; all >>= 4, pointers >>= 4, more >>= 4, b++)
    *b = uint8((*b & ~((all & 0xf) * (bitPointer | bitScan))) | (pointers & 0xf) * bitPointer | (more & 0xf) * bitScan);
}
struct markBits {
  gcBits* bytep;
  uint8 mask;
  uintptr index;
  bool isMarked() const { return (__atomic_load_n(bytep, __ATOMIC_RELAXED) & mask) != 0; }
  void setMarked() const { __atomic_fetch_or(bytep, mask, __ATOMIC_RELAXED); }
  void clearMarked() const { __atomic_fetch_and(bytep, gcBits(~mask), __ATOMIC_RELAXED); }
};
markBits markBitsForIndex(mspan* s, uintptr index);
markBits allocBitsForIndex(mspan* s, uintptr index);
// What was written to a new object is visible before its address is.
inline void publicationBarrier() { __atomic_thread_fence(__ATOMIC_RELEASE); }

// ---- mcache.cc
mcache* allocmcache();
void freemcache(mcache* c);  // with all that it has

// ---- malloc.cc
void mallocinit();  // any thread, any number of times
uintptr roundupsize(uintptr size);
inline uint8 sizeToClass(uintptr size) {
  return size <= smallSizeMax - 8 ? size_to_class8[(size + smallSizeDiv - 1) / smallSizeDiv]
                                  : size_to_class128[(size - smallSizeMax + largeSizeDiv - 1) / largeSizeDiv];
}
void* mallocgc(uintptr size, const _type* typ,
               bool needzero);  // typ null: no pointers. Ends the program without memory
void* newobject(const _type* typ);
void outofmemory(uintptr bytes);  // prints how much of what is there
// This M's pin and the mcache to use with it: its P's or, locked, mcache0.
struct pinnedcache {
  m* mp;
  mcache* c;
  bool shared;
};
pinnedcache gomcache();
void ungomcache(const pinnedcache& pin);

// ---- malloc_raw.cc: objects of the runtime, freed by hand. rawalloc and rawfree are these, under a sanitizer libc's
void* allocobject(uintptr size);  // 16-byte aligned, zeroed; ends the program when memory is out
void freeobject(void* p);
void rawcacheflush(mcache* c, uintptr least = 0);
// Calls f(p, size, arg) for each block that heldalloc gave, but for those that are a goroutine's: g.closure, g.nascent.
void eachheld(void (*f)(uintptr p, uintptr size, void* arg), void* arg);
bool heldtake(g* gp, void* p);
void closurememory(const void* p, uintptr* lo, uintptr* hi);

// ---- stack.cc
void stackcacherefill(mcache* c, uint32 order);
void stackcacherelease(mcache* c, uint32 order);
void stackcache_clear(mcache* c);
void freeStackSpans();
void stackpoolfree(uintptr base, uint32 order);
uint32 stacklog2(uintptr npages);

// ---- mheap_check.cc
// Walks everything that the heap consists of and returns the number of contradictions; describes the first few on fd 2.
// With nobody allocating (the world stopped, or a test with its threads at rest).
int32 checkheap();

}  // namespace vitrine::rt
