// fake_heap.h: fake_sched.h with a span heap, at rest and in order: what mheap and its kin show, and what mheap check
// must find wrong when one thing is changed. Pages are 8 KiB, an arena has 64 of them and lies at kArena:
//
//   page  0      class 5 (48 bytes), the mcache of P 0 has it: 10 of 170 allocated
//         1      class 5, on nonempty: objects 0 1 2 5 allocated
//         2- 3   a large object, 10000 bytes asked for
//         4      the runtime's objects of class 9: 0 1 2 taken, 2 in P 0's cache
//         5-12   stacks of 16 KiB: G8's, one in P 0's cache, two free
//        13-16   one large stack, G9's
//        17-20   free                    21-28  free, scavenged
//        29      class 2 (16 bytes) without pointers, full      30-31  free
//        32-63   not handed out yet
// One mspan has no pages. The treap: the 4 pages above 2 and 8.
#pragma once
#include "fake_sched.h"

namespace vitrine::inspect {

class FakeHeap : public FakeSched {
 public:
  static constexpr std::uint64_t kPage = 8192, kArena = 0x40000000, kMheap = 0x300000, kStats = 0x310000,
                                 kPool = 0x311000, kLarge = 0x312000, kEmpty = 0x313000, kSpans = 0x320000,
                                 kIndex = 0x330000, kMeta = 0x340000, kBits = 0x350000, kCache = 0x360000,
                                 kTreap = 0x370000, kAll = 0x380000, kArenas = 0x381000, kSpecial = 0x382000;
  static constexpr std::uint64_t kSpanSize = 192, kClasses = 11;
  enum : std::uint64_t {
    // mspan
    sNext = 8,
    sPrev = 0,
    sList = 16,
    sStart = 24,
    sPages = 32,
    sFreeindex = 40,
    sNelems = 48,
    sCache = 56,
    sBits = 64,
    sMarks = 72,
    sGen = 80,
    sCount = 84,
    sClass = 86,
    sState = 87,
    sZero = 88,
    sScavenged = 89,
    sIncache = 90,
    sOwner = 91,
    sElem = 96,
    sUnused = 104,
    sLimit = 112,
    sSpecials = 120,
    sGuard = 128,
    // mheap
    hLock = 0,
    hTreap = 8,
    hGen = 16,
    hDone = 20,
    hAll = 24,     // array, len
    hArenas = 40,  // array, len
    hL2 = 56,
    hCur = 64,  // base, end
    hInuse = 80,
    hMcache0 = 88,
    hSpanalloc = 96,
    hTreapalloc = 112,
    hMcache0lock = 128,
    hCentral = 256,
    hRuntime = hCentral + 128 * 2 * kClasses,
    hSize = hRuntime + 128 * kClasses,
    // mcentral, 16 bytes into its padding
    cLock = 0,
    cNonempty = 8,
    cEmpty = 24,
    cNmalloc = 40,
    cNfree = 48,
    // mcache
    mcTiny = 0,
    mcOffset = 8,
    mcAlloc = 16,
    mcStacks = mcAlloc + 8 * 2 * kClasses,  // two orders of {n, slot[4]}
    mcObjects = mcStacks + 2 * 40,          // {n, slot[3]}
    mcAhead = mcObjects + 32 * kClasses,    // {n, slot[2]}
    mcSize = mcAhead + 24 * 2 * kClasses,
    // heapArena
    aSpans = 16384,
    aInuse = aSpans + 512,
    aSize = aInuse + 16,
    // treapNode
    nLeft = 0,
    nRight = 8,
    nParent = 16,
    nPages = 24,
    nSpan = 32,
    nPriority = 40,
  };
  enum SpanIndex : std::uint64_t {
    cached,
    partly,
    large,
    runtime,
    stacks,
    stack,
    free4,
    free8,
    full,
    free2,
    dead,
    kCount
  };

  static constexpr std::uint64_t page(std::uint64_t n) { return kArena + n * kPage; }
  static constexpr std::uint64_t span(std::uint64_t n) { return kSpans + 256 * n; }
  static constexpr std::uint64_t node(std::uint64_t n) { return kTreap + 64 * n; }
  static constexpr std::uint64_t bits(std::uint64_t n) { return kBits + 256 * n; }
  static constexpr std::uint64_t central(std::uint64_t c) { return kMheap + hCentral + 128 * c + 16; }
  static constexpr std::uint64_t own(std::uint64_t c) { return kMheap + hRuntime + 128 * c + 16; }
  static constexpr std::uint64_t cache(std::uint64_t p) { return kCache + 0x1000 * p; }
  static constexpr std::uint64_t entry(std::uint64_t p) { return kMeta + aSpans + 8 * p; }

  FakeHeap() {
    describe_heap();
    target.map(kMheap, hSize).map(kStats, 0x100).map(kPool, 0x100).map(kLarge, 0x100).map(kEmpty, kSpanSize);
    target.map(kSpans, 0x1000).map(kIndex, 0x5000).map(kMeta, aSize).map(kBits, 0x1000).map(kCache, 0x3000);
    target.map(kTreap, 0x1000).map(kAll, 0x100).map(kArenas, 0x100).map(kSpecial, 0x100);
    target.map(kArena, 32 * kPage);
    poke(kMheap + hGen, std::uint32_t{2});
    poke(kMheap + hDone, std::uint32_t{1});
    poke(kMheap + hAll, kAll);
    poke(kMheap + hAll + 8, std::uint64_t{kCount});
    poke(kMheap + hArenas, kArenas);
    poke(kMheap + hArenas + 8, std::uint64_t{1});
    poke(kArenas, kArena);
    poke(kMheap + hL2, kIndex);
    poke(kIndex + 8 * (kArena / 0x80000), kMeta);
    poke(kMheap + hCur, page(32));
    poke(kMheap + hCur + 8, page(64));
    poke(kMheap + hInuse, std::uint64_t{5});
    poke(kMheap + hMcache0, cache(2));
    poke(kMheap + hSpanalloc, std::uint64_t{(kCount - 1) * kSpanSize});
    poke(kMheap + hTreapalloc, std::uint64_t{3 * 64});
    poke(kP + pMcache, cache(0));
    poke(kP1 + pMcache, cache(1));
    for (std::uint64_t p = 0; p < 3; ++p) {
      for (std::uint64_t i = 0; i < 2 * kClasses; ++i) poke(cache(p) + mcAlloc + 8 * i, kEmpty);
    }
    for (std::uint64_t i = 0; i < kCount; ++i) poke(kAll + 8 * i, span(i));

    make(cached, 0, 1, 1, 10, 48, 170, 10);
    poke(span(cached) + sFreeindex, std::uint64_t{10});
    poke(span(cached) + sCache, ~std::uint64_t{0} >> 10);
    poke(span(cached) + sGen, std::uint32_t{5});
    poke(span(cached) + sIncache, std::uint8_t{1});
    poke(cache(0) + mcAlloc + 8 * 10, span(cached));
    push(cached, central(10) + cEmpty);
    poke(central(10) + cNmalloc, std::uint64_t{174});

    make(partly, 1, 1, 1, 10, 48, 170, 4);
    poke(span(partly) + sFreeindex, std::uint64_t{3});
    poke(bits(partly), std::uint8_t{0x27});
    push(partly, central(10) + cNonempty);

    make(large, 2, 2, 1, 1, 2 * kPage, 1, 1);
    poke(span(large) + sFreeindex, std::uint64_t{1});
    poke(span(large) + sLimit, page(2) + 10'000);

    make(runtime, 4, 1, 2, 19, 112, 73, 3);
    poke(span(runtime) + sOwner, std::uint8_t{3});
    poke(span(runtime) + sFreeindex, std::uint64_t{3});
    poke(bits(runtime), std::uint8_t{7});
    push(runtime, own(9) + cNonempty);
    poke(own(9) + cNmalloc, std::uint64_t{5});
    poke(own(9) + cNfree, std::uint64_t{2});
    poke(cache(0) + mcObjects + 32 * 9, std::uint32_t{1});
    poke(cache(0) + mcObjects + 32 * 9 + 8, page(4) + 2 * 112);

    make(stacks, 5, 8, 2, 0, 16384, 4, 2);
    poke(span(stacks) + sOwner, std::uint8_t{1});
    poke(span(stacks) + sCache, std::uint64_t{0b1100});
    poke(span(stacks) + sGuard, kSpecial + 0x80);
    push(stacks, kPool + 8);
    poke(cache(0) + mcStacks, std::uint32_t{1});
    poke(cache(0) + mcStacks + 8, page(7));
    stand_on(8, page(5), page(7));

    make(stack, 13, 4, 2, 0, 4 * kPage, 1, 1);
    poke(span(stack) + sOwner, std::uint8_t{2});
    stand_on(9, page(13), page(17));

    make(free4, 17, 4, 3, 0, 0, 0, 0);
    make(free8, 21, 8, 3, 0, 0, 0, 0);
    poke(span(free8) + sScavenged, std::uint8_t{1});
    make(full, 29, 1, 1, 5, 16, 512, 512);
    poke(span(full) + sFreeindex, std::uint64_t{512});
    push(full, central(5) + cEmpty);
    poke(central(5) + cNmalloc, std::uint64_t{512});
    make(free2, 30, 2, 3, 0, 0, 0, 0);

    poke(kMheap + hTreap, node(0));
    grow(0, free4, 4, 10, 0, node(1), node(2));
    grow(1, free2, 2, 20, node(0), 0, 0);
    grow(2, free8, 8, 30, node(0), 0, 0);

    std::uint64_t at = kStats;  // idle inuse released stacks runtime manual sys
    for (std::uint64_t pages : {14, 5, 8, 12, 1, 0, 32}) {
      poke(at, pages * kPage);
      at += 8;
    }
  }

  static constexpr std::uint64_t pMcache = 136;

 private:
  void make(std::uint64_t n, std::uint64_t first, std::uint64_t npages, std::uint8_t state, std::uint8_t spanclass,
            std::uint64_t elem, std::uint64_t nelems, std::uint16_t count) {
    poke(span(n) + sStart, page(first));
    poke(span(n) + sPages, npages);
    poke(span(n) + sState, state);
    poke(span(n) + sClass, spanclass);
    poke(span(n) + sElem, elem);
    poke(span(n) + sNelems, nelems);
    poke(span(n) + sCount, count);
    poke(span(n) + sGen, std::uint32_t{2});
    poke(span(n) + sBits, bits(n));
    poke(span(n) + sMarks, bits(n) + 128);
    poke(span(n) + sLimit, page(first) + nelems * elem);
    for (std::uint64_t p = first; p < first + npages; ++p) {
      if (state != 3 || p == first || p == first + npages - 1) poke(entry(p), span(n));
    }
    if (state == 1) inuse_ |= std::uint64_t{1} << first;
    poke(kMeta + aInuse, inuse_);
  }
  // The only one on this list.
  void push(std::uint64_t n, std::uint64_t list) {
    poke(list, span(n));
    poke(list + 8, span(n));
    poke(span(n) + sList, list);
  }
  void grow(std::uint64_t n, std::uint64_t s, std::uint64_t pages, std::uint32_t priority, std::uint64_t parent,
            std::uint64_t left, std::uint64_t right) {
    poke(node(n) + nLeft, left);
    poke(node(n) + nRight, right);
    poke(node(n) + nParent, parent);
    poke(node(n) + nPages, pages);
    poke(node(n) + nSpan, span(s));
    poke(node(n) + nPriority, priority);
  }
  // Goroutine n's stack becomes lo … hi: two frames, gopark's and worker's, and the end.
  void stand_on(std::uint64_t n, std::uint64_t lo, std::uint64_t hi) {
    std::uint64_t bp = hi - 0x100;
    poke(g(n) + gLo, lo + 4096);
    poke(g(n) + gHi, hi);
    poke(g(n) + gSp, bp - 32);
    poke(g(n) + gPc, std::uint64_t{0x5110});
    poke(g(n) + gBp, bp);
    poke(bp, bp + 64);
    poke(bp + 8, std::uint64_t{0x6010});
    poke(bp + 64, bp + 128);
    poke(bp + 72, std::uint64_t{0x5301});
  }

  void describe_heap() {
    auto type = [&](const char* name) { return program.types.at(name).get(); };
    Type *u64 = type("u64"), *u32 = type("u32"), *u8 = type("u8"), *i64 = type("i64"), *ptr = type("ptr");
    Type* u16 = program.add("u16", 2, Type::Kind::unsigned_integer);
    auto array = [&](std::uint64_t size) {
      const std::string name = "bytes" + std::to_string(size);
      return program.types.count(name) ? type(name.c_str()) : program.add(name, size, Type::Kind::array);
    };
    auto rt = [&](const std::string& name, std::uint64_t size, std::vector<Field> fields) {
      Type* t = program.add("vitrine::rt::" + name, size);
      t->fields = std::move(fields);
      return t;
    };
    type("vitrine::rt::p")->fields.push_back({"mcache", pMcache, ptr});
    rt("mspan", kSpanSize,
       {{"next", sNext, ptr},          {"prev", sPrev, ptr},          {"list", sList, ptr},
        {"startAddr", sStart, u64},    {"npages", sPages, u64},       {"freeindex", sFreeindex, u64},
        {"nelems", sNelems, u64},      {"allocCache", sCache, u64},   {"allocBits", sBits, ptr},
        {"gcmarkBits", sMarks, ptr},   {"sweepgen", sGen, u32},       {"allocCount", sCount, u16},
        {"spanclass", sClass, u8},     {"state", sState, u8},         {"needzero", sZero, u8},
        {"scavenged", sScavenged, u8}, {"incache", sIncache, u8},     {"owner", sOwner, u8},
        {"elemsize", sElem, u64},      {"unusedsince", sUnused, i64}, {"limit", sLimit, u64},
        {"specials", sSpecials, ptr},  {"slotguard", sGuard, ptr}});
    Type* slice = rt("slice<mspan*>", 16, {{"array", 0, ptr}, {"len", 8, i64}});
    Type* mtreap = rt("mTreap", 16, {{"treap", 0, ptr}, {"unused", 8, u64}});
    Type* cur = rt("curArena", 16, {{"base", 0, u64}, {"end", 8, u64}});
    Type* fix = rt("fixalloc", 16, {{"inuse", 0, u32}, {"size", 8, u64}});
    // What only obj asks about, behind what fits here.
    fix->size = 40;
    fix->fields.insert(fix->fields.end(), {{"list", 16, ptr}, {"chunk", 24, u64}, {"nchunk", 32, u32}});
    Type* list = rt("mSpanList", 16, {{"first", 0, ptr}, {"last", 8, ptr}});
    rt("mheap", hSize,
       {{"lock", hLock, u32},
        {"free", hTreap, mtreap},
        {"sweepgen", hGen, u32},
        {"sweepdone", hDone, u32},
        {"allspans", hAll, slice},
        {"allArenas", hArenas, slice},
        {"arenas", hL2, array(8)},
        {"curArena", hCur, cur},
        {"pagesInUse", hInuse, u64},
        {"mcache0", hMcache0, ptr},
        {"mcache0lock", hMcache0lock, u32},
        {"spanalloc", hSpanalloc, fix},
        {"treapalloc", hTreapalloc, fix},
        {"central", hCentral, array(128 * 2 * kClasses)},
        {"runtime", hRuntime, array(128 * kClasses)}});
    rt("heapArena", aSize,
       {{"bitmap", 0, array(16384)}, {"spans", aSpans, array(512)}, {"pageInUse", aInuse, array(8)}});
    Type* mcentral = rt("mcentral", 64,
                        {{"lock", cLock, u32},
                         {"nonempty", cNonempty, list},
                         {"empty", cEmpty, list},
                         {"nmalloc", cNmalloc, u64},
                         {"nfree", cNfree, u64}});
    rt("mcentralPadded", 128, {{"before", 0, u64}, {"mcentral", 16, mcentral}});
    Type* item = rt("stackpoolItem", 24, {{"lock", 0, u32}, {"span", 8, list}});
    rt("stackpoolPadded", 64, {{"item", 0, item}, {"after", 32, u64}});
    rt("stackLargeT", 136, {{"lock", 0, u32}, {"free", 8, array(128)}});
    rt("spansAhead", 24, {{"n", 0, u32}, {"slot", 8, array(16)}});
    rt("rawCache", 32, {{"n", 0, u32}, {"slot", 8, array(24)}});
    rt("stackfreelist", 40, {{"n", 0, u32}, {"slot", 8, array(32)}});
    rt("mcache", mcSize,
       {{"tiny", mcTiny, u64},
        {"tinyoffset", mcOffset, u64},
        {"alloc", mcAlloc, array(8 * 2 * kClasses)},
        {"stackcache", mcStacks, array(80)},
        {"rawcache", mcObjects, array(32 * kClasses)},
        {"ahead", mcAhead, array(24 * 2 * kClasses)}});
    rt("treapNode", 64,
       {{"left", nLeft, ptr},
        {"right", nRight, ptr},
        {"parent", nParent, ptr},
        {"npagesKey", nPages, u64},
        {"spanKey", nSpan, ptr},
        {"priority", nPriority, u32}});
    rt("special", 16, {{"next", 0, ptr}, {"offset", 8, u32}, {"kind", 12, u8}});
    rt("specialprofile", 40,
       {{"special", 0, type("vitrine::rt::special")}, {"size", 16, u64}, {"pc", 24, u64}, {"goid", 32, u64}});
    std::vector<Field> stats;
    for (const char* name :
         {"heap_idle", "heap_inuse", "heap_released", "stacks_inuse", "runtime_inuse", "manual_inuse", "heap_sys"})
      stats.push_back({name, 8 * stats.size(), u64});
    rt("mstats", 64, stats);
    program.add("vitrine::rt::mSpanState", 1, Type::Kind::enumeration)->enumerators = {
        {"mSpanDead", 0}, {"mSpanInUse", 1}, {"mSpanManual", 2}, {"mSpanFree", 3}};
    program.add("vitrine::rt::spanOwner", 1, Type::Kind::enumeration)->enumerators = {
        {"spanNobody", 0}, {"spanStackPool", 1}, {"spanStackLarge", 2}, {"spanRuntime", 3}, {"spanRuntimeLarge", 4}};
    auto variable = [&](const char* name, std::uint64_t address) {
      program.variables[std::string("vitrine::rt::") + name] = {address, nullptr};
    };
    variable("mheap_", kMheap);
    variable("memstats", kStats);
    variable("stackpool", kPool);
    variable("stackLarge", kLarge);
    variable("emptymspan", kEmpty);
    program.functions.push_back({0x7600, 0x7700, "vitrine::rt::mheap::freeSpanLocked", "/rt/mheap.cc", 500});
    program.functions.push_back({0x7700, 0x7800, "vitrine::rt::mallocgc", "/rt/malloc.cc", 600});
    program.functions.push_back({0x7800, 0x7900, "vitrine::rt::flushmcaches", "/rt/mgc.cc", 700});
    program.functions.push_back({0x7900, 0x7a00, "memset@plt", "", 0});
  }

  std::uint64_t inuse_ = 0;
};

}  // namespace vitrine::inspect
