// mheap.h: the shapes of the memory system — mheap, heapArena, mspan, mcentral, mcache, stack pools — and the globals
// that own them. Follows Go's mheap.go, mcentral.go, mcache.go, mgclarge.go, mfixalloc.go and mstats.go (1.12 to 1.14,
// the time of the treap). debugger/core reads these structures through DWARF and never includes this file.
//
// The layers, from the kernel up; each takes from the one above it in this list:
//   mem_linux.cc   sysReserve sysMap sysUsed sysUnused: address space and its pages
//   mheap_         pages of 8 KiB in runs called spans; arenas of 64 MiB that are found by address
//   mcentral       per class: spans of equal objects with free ones (nonempty) and without (empty)
//   mcache         per P: one span per class to allocate from, without a lock
//   mallocgc       tiny, small and large objects
// Beside them, on spans of the state mSpanManual, which no collector touches: goroutine stacks (stack.cc) and the
// runtime's own objects, which are freed by hand (malloc_raw.cc).
//
// Whose is a span? state and owner say it:
//   mSpanFree    in mheap_.free; pages that are not `scavenged` may have memory
//   mSpanInUse   objects of one class: on the lists of mheap_.central[spanclass] (`list` says on which); incache, then
//                on `empty`, and some p.mcache.alloc[spanclass] is it, or one of p.mcache.ahead[spanclass].slot[0 … n);
//                large objects, spanclass 0 or 1, are on none
//   mSpanManual  owner: spanStackPool (slots of one order; `list` is stackpool's if a slot is free), spanStackLarge
//                (one stack; list: if it is free), spanRuntime (list: of mheap_.runtime[class]) or spanRuntimeLarge (one
//                object; list: mheap_.runtimelarge)
//   mSpanDead    a mspan that describes nothing
//
// Whether object i of a span is free:
//   mSpanInUse             i >= freeindex and bit i of allocBits is 0
//   spanRuntime            bit i of allocBits is 0, or its address is in some p.mcache.rawcache[class].slot[0 … n)
//   spanRuntimeLarge       if it is on no list: the span goes with its object
//   spanStackPool          bit i of allocCache is 1, or its base is in some p.mcache.stackcache[order].slot[0 … n)
//   spanStackLarge         list is not null
// allocCount is the number of objects that are not free by the span's own bits: what Ps hold counts as allocated.
//
// Lock order (outer first): mheap_.mcache0lock → mcentral.lock, runtimelargelock, stackpool[].item.lock, stackLarge.lock
// (one of these at a time) → mheap_.lock → the lock of persistentalloc. mheap_.speciallock and mspan.speciallock, also one at a time,
// are taken without the ones in the middle, and gcSweepBuf.spineLock without any; persistentalloc's is below these too.
// All of runtime2.h's locks are outside of all of these.
#pragma once
#include "runtime2.h"
#include "sizeclasses.h"

namespace vitrine::rt {

constexpr uintptr pageShift = 13;
constexpr uintptr pageSize = uintptr(1) << pageShift;
constexpr uintptr pageMask = pageSize - 1;
constexpr uintptr ptrSize = 8;
constexpr uintptr heapArenaBytes = 64 << 20;
constexpr uintptr pagesPerArena = heapArenaBytes / pageSize;
constexpr uintptr heapArenaBitmapBytes = heapArenaBytes / (ptrSize * 8 / 2);  // two bits a word
constexpr uintptr heapAddrBits = 48;
constexpr uintptr arenaL1Bits = 0;  // so L1 has one entry, and L2 all of the address space
constexpr uintptr arenaL2Bits = heapAddrBits - 26 - arenaL1Bits;
constexpr uintptr hugeBlockBytes = 2 << 20;
constexpr int32 numSpanClasses = numSizeClasses << 1;
constexpr uintptr maxTinySize = 16;
constexpr uintptr tinySizeClass = 2;

constexpr int32 numStackOrders = 4;  // 16, 32, 64 and 128 KiB, times 1 << stackScale
constexpr uint32 fixedStackLog2 = 14;
constexpr uintptr stackSpanBytes = 1 << 20;  // a span of stackpool, times 1 << stackScale
constexpr uintptr stackCacheSize = 1 << 20;  // what a P keeps of each order, at most; also scaled
constexpr uint32 stackCacheSlots = stackCacheSize >> fixedStackLog2;
constexpr uint32 heapAddrClasses = heapAddrBits - pageShift;

struct mspan;
struct mcache;
struct mcentral;
struct spansAhead;
struct special;

// A size class and whether its objects have no pointers: class << 1 | noscan.
using spanClass = uint8;
constexpr spanClass makeSpanClass(uint8 sizeclass, bool noscan) { return spanClass(sizeclass << 1 | (noscan ? 1 : 0)); }
constexpr uint8 spansizeclass(spanClass sc) { return sc >> 1; }
constexpr bool spannoscan(spanClass sc) { return (sc & 1) != 0; }

using gcBits = uint8;  // bitmaps of a span: bit i is object i

enum mSpanState : uint8 { mSpanDead = 0, mSpanInUse = 1, mSpanManual = 2, mSpanFree = 3 };

// What pages are wanted for, as far as it decides on huge ones.
enum pageUse : uint8 { forSmallObjects, forStacks, forOthers };

// Who uses a span of state mSpanManual.
enum spanOwner : uint8 {
  spanNobody = 0,
  spanStackPool = 1,     // stacks of one order; spanclass is the order
  spanStackLarge = 2,    // one stack
  spanRuntime = 3,       // objects of the runtime
  spanRuntimeLarge = 4,  // one object of the runtime
  spanOther = 5,         // a test's, say
};

// A doubly linked list of spans. Guarded by the lock of whatever has it.
struct mSpanList {
  mspan* first;
  mspan* last;
  void init();
  void remove(mspan* s);
  bool isEmpty() const { return first == nullptr; }
  void insert(mspan* s);
  void insertBack(mspan* s);
  void takeAll(mSpanList* other);
};

// One run of pages. Type-stable: comes from mheap_.spanalloc, which reuses it for nothing else.
// Guards: "heap" is mheap_.lock; "owner" is the P whose mcache has the span, or the lock of the list that it is on, or
// of the stack pool.
// What a marker has to know of the span that a pointer leads to is one line of the cache; what allocation changes is in
// others, but for freeIndexForScan.
struct alignas(64) mspan {
  mspan* next;  // on `list`
  uintptr startAddr;
  uintptr limit;  // end of the last object
  uintptr elemsize;
  gcBits* gcmarkBits;       // marked in this cycle: atomic or; spanRuntime: held. Atomic or, and
  gcBits* allocBits;        // allocated at the last sweep; spanRuntime: allocated. Owner
  uint32 divMagic;          // offset / elemsize == offset * divMagic >> 32, small objects only
  uint16 freeIndexForScan;  // freeindex as a marker may believe it: objects before it are initialised. Owner: release
  uint8 divShift;           // log2(elemsize) if that is a power of two
  rt::spanClass spanclass;
  atomic<mSpanState>
      state;            // heap; read without it by spanOf's callers (acquire), so set last when a span comes to life
  rt::spanOwner owner;  // of a span in state mSpanManual; set before the state
  uint8 needzero;       // its memory is not known to be zero; heap, then owner
  uint8 scavenged;      // free, and its pages were given back, or never touched; heap
  uint8 bitsclass;      // mheap_.bitsalloc that allocBits and gcmarkBits are from; heap
  atomic<uint32> sweepgen;  // against mheap_.sweepgen h: h-2 to sweep, h-1 being swept, h swept, h+1 in an mcache since
                            // before the sweep began and to sweep, h+3 swept and then in an mcache
  // freeindex: where to look for the next free object, 0 … nelems. Objects before it are allocated. Owner.
  uintptr freeindex;
  uintptr nelems;  // objects in the span; set while it has no owner
  // The complement of allocBits from freeindex on: its lowest bit is object freeindex. In a span of stackpool: bit i is
  // free slot i. Owner.
  uint64 allocCache;
  uint16 allocCount;  // objects allocated; owner
  uint16 divMul;      // for offset / elemsize where divShift serves; 0: a power of two, or use divMagic
  uint16 baseMask;    // if not 0, elemsize is a power of two: object base = address & ~(elemsize - 1)
  uint8 incache;      // some mcache has it; owner
  uintptr npages;
  mspan* prev;             // on `list`
  mSpanList* list;         // what it is on, for debuggers and checks; guarded by the lock of that list
  uintptr manualFreeList;  // unused: free slots of manual spans are in allocCache or allocBits, not in their memory
  int64 unusedsince;       // nanotime when it became free; heap
  rt::mutex speciallock;   // guards specials
  uint32 heldindex;       // 1 + its place in heldspans (malloc_raw.cc); 0: nothing in it was ever held. That one's lock
  rt::special* specials;  // sorted by offset
  uint8* slotguard;  // spans of stacks: slotguard[i] is the gguard of slot i, slotUnused before its first use; owner

  uintptr base() const { return startAddr; }
  uintptr bytes() const { return npages << pageShift; }
  void init(uintptr base, uintptr npages);
  void clear();                                     // all of its memory, unless that is known to be zero
  uintptr layout(uintptr* size, uintptr* n) const;  // returns all bytes of the span
  void physPageBounds(uintptr* start, uintptr* end) const;
  uintptr released() const;  // bytes that have no memory
  uintptr scavenge();        // gives the pages back; the bytes that had (or may have had) memory. mheap_.lock held
  uintptr objIndex(uintptr p) const;
  bool isFree(uintptr index) const;  // mSpanInUse; the owner's view
  uintptr nextFreeIndex();
  void refillAllocCache(uintptr whichByte);
  bool sweep(bool preserve);
  void ensureSwept();
};
static_assert(offsetof(mspan, bitsclass) < 64 && offsetof(mspan, sweepgen) >= 64 && sizeof(mspan) == 192);
constexpr uint8 slotUnused = 255;

struct treapNode {
  treapNode* right;
  treapNode* left;
  treapNode* parent;
  uintptr npagesKey;  // spanKey->npages when it was inserted
  mspan* spanKey;
  uint32 priority;  // random; no child's is less
};

// Free spans by (npages, address): a search tree on the keys, a heap on the priorities. Guarded by mheap_.lock.
struct mTreap {
  treapNode* treap;

  void insert(mspan* s);
  void removeSpan(mspan* s);
  treapNode* find(uintptr npages) const;      // the smallest span that has so many pages, of those the lowest
  treapNode* findSpan(const mspan* s) const;  // null: not in it
  treapNode* end() const;                     // the largest
  void removeNode(treapNode* t);
  void rotateLeft(treapNode* x);
  void rotateRight(treapNode* y);
  void rotated(treapNode* parent, treapNode* from, treapNode* to);
};
treapNode* treappred(treapNode* t);  // the next smaller
treapNode* treapsucc(treapNode* t);

// A free list of objects of one size, cut from persistentalloc's chunks; never given back. The caller locks.
struct mlink {
  mlink* next;
};
struct fixalloc {
  uintptr size;
  void (*first)(void* arg, void* p);  // called the first time that p is given out
  void* arg;
  mlink* list;
  uintptr chunk;     // address of the rest of the newest chunk
  uint32 nchunk;     // bytes left there
  uint32 inuse;      // bytes given out
  uint64* stat;      // counts bytes taken from the system
  const char* type;  // of the objects, as DWARF has it
  bool zero;         // what is given out again is cleared

  void init(uintptr size, const char* type, void (*first)(void*, void*), void* arg, uint64* stat);
  void* alloc();
  void free(void* p);
};

// A piece of the runtime's own memory, and what it is (mpersistent.cc). For debuggers.
struct metadataEntry {
  uintptr base, size;
  uintptr unit;      // bytes of one element
  const char* type;  // of one element; null: nothing, or what other records say
  fixalloc* owner;   // elements are that one's objects; null: not cut further
};
constexpr uint32 metadataEntries = 100;
struct metadataBlock {
  metadataBlock* next;
  uint32 n;  // entries so far; release
  uint32 pad;
  metadataEntry entry[metadataEntries];
};
extern metadataBlock metadata __attribute__((visibility("hidden")));  // the first block

// Which arena: address / heapArenaBytes.
struct arenaIdx {
  uintptr value;
  uintptr l1() const;
  uintptr l2() const;
};

// The metadata of one arena. From sysAlloc, never freed; pages that are not touched cost nothing.
struct heapArena {
  uint8 bitmap[heapArenaBitmapBytes];  // four words a byte: bit i pointer, bit 4+i "more may follow"; the span's owner
  mspan* spans[pagesPerArena];         // page → span. In use: every page; free: the first and the last, others stale
  uint8 pageInUse[pagesPerArena / 8];  // bit: first page of a span in state mSpanInUse; mheap_.lock
  uint8 pageMarks[pagesPerArena / 8];  // bit: first page of a span with marked objects; atomic or
  uintptr base;
  uint32 hugeBlocks;  // bit i: its ith 2 MiB have huge pages (mheap_grow.cc); mheap_.lock
  uint32 coldBlocks;  // bit i: and no memory yet. Set under mheap_.lock, cleared by who has touched them
};
static_assert(heapArenaBytes / hugeBlockBytes == 32);

// Addresses [base, end).
struct addrRange {
  uintptr base, end;
};

// Where the heap would like to grow: an address that is probably free.
struct arenaHint {
  uintptr addr;
  bool down;
  arenaHint* next;
};

// Blocks of span pointers; append-only between two sweeps. push and pop are safe among themselves, but not at once.
constexpr uintptr gcSweepBlockEntries = 512;
constexpr uintptr gcSweepBufBlocks = 1 << 14;
struct gcSweepBlock {
  mspan* spans[gcSweepBlockEntries];
};
struct gcSweepBuf {
  rt::mutex spineLock;           // guards growth of the spine
  atomic<gcSweepBlock**> spine;  // gcSweepBufBlocks pointers, NORESERVE
  atomic<uintptr> spineLen;
  atomic<uint32> index;  // one past the last span
  void push(mspan* s) { push(&s, 1); }
  void push(mspan* const* s, uint32 n);
  mspan* pop();
  uint32 numBlocks() const;
};

// Spans of one class. `nonempty` have a free object; `empty` have none, or are in an mcache.
struct mcentral {
  rt::mutex lock;
  rt::spanClass spanclass;
  mSpanList nonempty;  // lock
  mSpanList empty;     // lock
  uint64 nmalloc;      // objects taken, all those of spans in mcaches included; lock (relaxed reads by mem_stats)
  uint64 nfree;        // objects given back by hand, spanRuntime only; lock

  void init(rt::spanClass sc);
  mspan* cacheSpan(spansAhead* ahead);
  mspan* takeSpan();
  void uncacheSpan(mspan* s);
  bool freeSpan(mspan* s, bool preserve);
  mspan* grow(spansAhead* ahead);
};
struct alignas(64) mcentralPadded {
  rt::mcentral mcentral;
};

// Spans of one class that a P took together with one that it needed (mcentral.cc): all of their objects are free. The
// last is used next. Owner P.
constexpr uint32 maxSpansAhead = 15;
struct spansAhead {
  uint32 n;
  uint32 want;  // how many to take with the next: grows when the heap's lock is found held, 0 after a collection
  mspan* slot[maxSpansAhead];
};

// Objects of the runtime of one size class that a P may hand out; last in, first out. Owner P.
constexpr uint32 rawCacheSlots = 30;
struct rawCache {
  uint32 n;
  uint32 pad;
  void* slot[rawCacheSlots];
};

// Free stacks of one order that a P may hand out: their bases (with the guard page). Owner P.
// Unlike Go: listed here and not in their memory, which may have no pages, and begins with a guard.
struct stackfreelist {
  uint32 n;
  uint32 pad;
  uintptr slot[stackCacheSlots];
};

// Per P. The P's M uses it while pinned; with the world stopped, who stopped it.
struct mcache {
  // Touched at every allocation.
  int32 next_sample;   // bytes until the next profiled allocation
  uintptr local_scan;  // bytes of scannable heap allocated
  uintptr tiny;        // the current block for objects below 16 bytes without pointers; 0: none
  uintptr tinyoffset;
  uint64 local_tinyallocs;           // objects put into such blocks
  mspan* alloc[numSpanClasses];      // the span to allocate from; &emptymspan: none
  spansAhead ahead[numSpanClasses];  // those that come after it
  stackfreelist stackcache[numStackOrders];
  uint64 local_largefree;
  uint64 local_nlargefree;
  uint64 local_nsmallfree[numSizeClasses];
  atomic<uint32> flushGen;  // mheap_.sweepgen when the spans were last given up
  uint32 pad;
  uint64 local_rawallocs;  // objects of the runtime
  uint64 local_rawfrees;
  rawCache rawcache[numSizeClasses];

  void refill(spanClass sc);
  void releaseAll();
  void prepareForSweep();
};

enum specialKind : uint8 {
  kindSpecialFinalizer = 1,
  kindSpecialProfile = 2,
  kindSpecialDestructor = 3,
  kindSpecialWeak = 4,
};
struct special {
  special* next;
  uint32 offset;  // of the object in the span, or of what in it was named
  specialKind kind;
};
// A function that runs when the object is found dead (mfinal.cc). fn(object, arg).
struct specialfinalizer {
  rt::special special;
  void (*fn)(void* object, void* arg);
  void* arg;
};
// The destructor of a C++ object, or of n of them in a row.
struct specialdestructor {
  rt::special special;
  void (*destroy)(void* object, uintptr n);
  uintptr n;
};
// What the gc::weak<T> of one address share, and the special of its object. Not freed before all of them are gone.
struct weakHandle {
  atomic<uintptr> ptr;  // 0: the object is gone
  atomic<int32> refs;   // the special's, while there is one, and each gc::weak's
};
struct specialweak {
  rt::special special;
  weakHandle* handle;
};
// A sampled allocation.
struct specialprofile {
  rt::special special;
  uint64 size;
  uintptr pc;   // who allocated
  uint64 goid;  //
};

struct mheap {
  rt::mutex lock;
  uint8 initialised;          // lock; read with acquire
  mTreap free;                // lock: free spans, scavenged ones too
  uint32 sweepgen;            // grows by 2 when a collection begins to sweep, the world stopped
  atomic<uint32> sweepdone;   // all spans are swept
  atomic<uint32> sweepers;    // how many sweep
  slice<mspan*> allspans;     // every mspan ever; lock, readers as allgs
  gcSweepBuf sweepSpans[2];   // spans in state mSpanInUse: [sweepgen/2%2] swept, the other to sweep
  atomic<uint64> pagesInUse;  // of spans in state mSpanInUse
  atomic<uint64> pagesSwept;
  atomic<uintptr> reclaimCredit;  // pages that sweeping freed beyond what was asked for
  // Proportional sweep (mgcsweep.cc): set with the world stopped.
  double sweepPagesPerByte;              // pages to sweep for each byte that is allocated; 0: none
  uint64 sweepHeapLiveBasis;             // memstats.heap_live when sweeping began
  uint64 pagesSweptBasis;                // pagesSwept then
  uint64 largealloc;                     // bytes of large objects; lock
  uint64 nlargealloc;                    // lock
  uint64 largefree;                      // lock
  uint64 nlargefree;                     // lock
  uint64 nsmallfree[numSizeClasses];     // lock
  uint64 scavengeCredit;                 // bytes given back beyond what was asked; lock
  heapArena** arenas[1 << arenaL1Bits];  // [l1][l2]; l2 entries NORESERVE. Written under lock with release
  slice<uintptr> allArenas;              // bases of the arenas, in the order of their making; lock, readers as allgs
  arenaHint* arenaHints;                 // lock
  addrRange curArena;                    // mapped, and not yet in a span; lock
  addrRange dumped;                      // in core dumps already, but scavenged; lock
  atomic<int64> ncold;                   // blocks in coldBlocks: whether it is worth looking there
  mcentralPadded central[numSpanClasses];
  mcentralPadded runtime[numSizeClasses];  // objects of the runtime; their spans are never in an mcache
  mutex runtimelargelock;                  // guards the list
  mSpanList runtimelarge;                  // objects of the runtime that have spans of their own
  fixalloc spanalloc;                      // mspan; lock
  fixalloc cachealloc;                     // mcache; lock
  fixalloc treapalloc;                     // treapNode; lock
  fixalloc specialfinalizeralloc;          // speciallock
  fixalloc specialdestructoralloc;         // speciallock
  fixalloc specialweakalloc;               // speciallock
  fixalloc weakhandlealloc;                // speciallock
  fixalloc specialprofilealloc;            // speciallock
  fixalloc arenaHintAlloc;                 // lock
  fixalloc bitsalloc[3];                   // bitmaps of 8, 32 and 128 bytes; lock
  fixalloc slotguardalloc;                 // mspan.slotguard; lock
  rt::mutex speciallock;
  rt::mutex mcache0lock;
  rt::mcache* mcache0;  // for who has no P; mcache0lock

  void init();
  mspan* alloc(uintptr npages, rt::spanClass sc, bool needzero);
  mspan* alloc_m(uintptr npages, rt::spanClass sc);
  uintptr allocSmall(uintptr npages, rt::spanClass sc, uintptr want, uintptr window, mspan** out);
  // State mSpanManual; null: no memory. The pages may hold anything if needzero. sizeclass: for spanRuntime.
  mspan* allocManual(uintptr npages, rt::spanOwner owner, uint64* stat, uint8 sizeclass);
  void reclaim(uintptr npages);
  void freeSpan(mspan* s, bool large);
  void freeManual(mspan* s, uint64* stat, bool unused);  // unused: its pages were given back by the caller
  mspan* allocSpanLocked(uintptr npages, pageUse use, uint64* stat, addrRange* window = nullptr);
  mspan* takePages(treapNode* t, uintptr npages, pageUse use, uint64* stat, addrRange* window = nullptr);
  void freeSpanLocked(mspan* s, uint64* stat, bool unused);
  void coalesce(mspan* s);
  bool grow(uintptr npages);
  bool sysAlloc(uintptr n, uintptr* base, uintptr* size);
  void setSpan(uintptr base, mspan* s);
  void setSpans(uintptr base, uintptr npages, mspan* s);
  uintptr scavengeLocked(uintptr nbytes);
  uintptr useHuge(uintptr base, uintptr upto, uintptr end);
  bool hasHuge(uintptr base, uintptr end) const;
  bool noHuge(uintptr base, uintptr end);
  void touchCold(const mspan* s, bool mayLoseP);
};

// Slots for stacks of one order, in spans of stackSpanBytes.
struct stackpoolItem {
  rt::mutex lock;
  mSpanList span;  // those with a free slot
};
struct alignas(64) stackpoolPadded {
  stackpoolItem item;
};
struct stackLargeT {
  rt::mutex lock;
  mSpanList free[heapAddrClasses];  // by log2(npages)
};

// The words of Go's MemStats that the runtime keeps itself; others are summed up by mem_stats. Changed by mSysStatInc.
struct mstats {
  uint64 heap_sys;       // bytes of arenas that are in spans
  uint64 heap_idle;      // … in free spans
  uint64 heap_inuse;     // … in spans in state mSpanInUse
  uint64 heap_released;  // … in free spans, and given back
  uint64 stacks_inuse;   // … in spans of stacks
  uint64 runtime_inuse;  // … in spans of the runtime's objects
  uint64 manual_inuse;   // … in other manual spans
  uint64 heap_live;      // what the last collection kept, and about what was allocated since
  uint64 heap_scan;
  uint64 mspan_sys;
  uint64 mcache_sys;
  uint64 gc_sys;  // heapArenas, bitmaps, special records
  uint64 buckhash_sys;
  uint64 other_sys;   // persistentalloc
  uint64 tinyallocs;  // by mcaches that are gone, or were flushed
  uint64 rawallocs, rawfrees;
  uint64 nprofiled;   // allocations that were sampled
  uint64 nscavenged;  // bytes given back in all
};

#pragma GCC visibility push(hidden)
extern mheap mheap_;
extern mstats memstats;
extern stackpoolPadded stackpool[numStackOrders];
extern stackLargeT stackLarge;
extern mspan emptymspan;  // nothing free in it
extern uintptr zerobase;  // the address of all objects without size
extern uintptr physPageSize;
extern int32 MemProfileRate;  // bytes per sampled allocation, on average; 0: none
#pragma GCC visibility pop

}  // namespace vitrine::rt
