// mheap check over a heap made of bytes: what is in order is silent, and each kind of contradiction, made by changing
// one thing, is one row. No command crashes or hangs on any of them, nor when the nth read fails.
#include <gtest/gtest.h>

#include <functional>

#include "answer.h"
#include "commands.h"
#include "fake_heap.h"

namespace vitrine::inspect {
namespace {

using H = FakeHeap;

TEST(MheapCheck, WhatIsInOrderIsSilent) {
  H heap;
  Answer r = run(heap, "mheap check");
  EXPECT_TRUE(r.out.starts_with("consistent: ")) << r.out;
  EXPECT_TRUE(r.out.ends_with(" checks\n")) << r.out;
  EXPECT_FALSE(r.incomplete);
}

// Wherever Ctrl-C comes, though the host says it only once; and the next command has everything again.
TEST(MheapCheck, WhatWasStoppedIsNotCalledConsistent) {
  H whole;
  auto undisturbed = whole.session();
  const std::string consistent = run(*undisturbed, "mheap check").out, treap = run(*undisturbed, "mheap treap").out;
  for (bool once : {false, true}) {
    unsigned at = 0;
    for (bool over = false; !over; ++at) {
      H heap;
      auto session = heap.session();
      unsigned asked = 0;
      session->cancelled_hook = [&] { return once ? asked++ == at : asked++ >= at; };
      const Answer r = run(*session, "mheap check");
      over = asked <= at;
      if (over) {
        EXPECT_EQ(r.out, consistent);
        break;
      }
      EXPECT_EQ(r.outcome, Outcome::cancelled) << at;
      EXPECT_EQ(r.out, "") << at;
      EXPECT_TRUE(contains(r.err, "stopped by Ctrl-C")) << at << ": " << r.err;
      session->cancelled_hook = nullptr;
      EXPECT_EQ(run(*session, "mheap check").out, consistent) << at;
      EXPECT_EQ(run(*session, "mheap treap").out, treap) << at;
      ASSERT_LT(at, 1000u);
    }
    EXPECT_GT(at, 5u);
  }
}

struct Break {
  const char* name;
  std::function<void(H&)> make;
  const char* row;  // of the answer, blanks as one
};

class MheapCheckFinds : public testing::TestWithParam<Break> {};

std::string squeeze(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  return out;
}

TEST_P(MheapCheckFinds, OneChange) {
  H heap;
  GetParam().make(heap);
  auto session = heap.session();
  Answer r = run(*session, "mheap check -limit 0");
  EXPECT_TRUE(contains(squeeze("\n" + r.out), GetParam().row)) << r.out << r.err;
  EXPECT_TRUE(r.incomplete);
  for (const char* line :
       {"mheap", "mheap spans", "mheap treap", "mheap stacks", "mcentral", "mcentral 5", "mcache", "mcache 0",
        "mheap classes", "mheap arenas", "mheap span 0x40000000", "obj 0x40000030", "mheap map"})
    run(*session, line);  // none crashes or hangs
}

const Break kBreaks[] = {
    {"PageToNowhere", [](H& h) { h.poke(H::entry(6), std::uint64_t{0x1234}); },
     "page 0x4000c000 spans map a span of the list of all 0x1234"},
    {"PageToAnother", [](H& h) { h.poke(H::entry(3), H::span(H::cached)); },
     "page 0x40006000 spans map 0x320200 (span 0x40004000) 0x320000"},
    {"LastPageOfAFreeSpan", [](H& h) { h.poke(H::entry(20), std::uint64_t{0}); }, "page 0x40028000 spans map"},
    {"PageInUse", [](H& h) { h.poke(H::kMeta + H::aInuse, std::uint8_t{0}); }, "span 0x40000000 pageInUse 1 0"},
    {"PageInUseOfNoSpan", [](H& h) { h.poke(H::kMeta + H::aInuse + 7, std::uint8_t{0x80}); },
     "page 0x4007e000 pageInUse 0, as no span begins here 1"},
    {"PageInUseInsideOfASpan", [](H& h) { h.poke(H::kMeta + H::aInuse + 2, std::uint8_t{0xff}); },
     "pageInUse 0, as no span begins here 1"},
    {"FreshMemoryInASpan", [](H& h) { h.poke(H::kMheap + H::hCur, H::page(29)); },
     "curArena overlap memory that no span has 0x4003a000, in span 0x4003a000"},
    {"ArenaNotInIndex", [](H& h) { h.poke(H::kIndex + 8 * (H::kArena / 0x80000), std::uint64_t{0}); },
     "arena 0x40000000 arena its table of spans not in the index"},
    {"SpansOverlap", [](H& h) { h.poke(H::span(H::large) + H::sPages, std::uint64_t{3}); },
     "span 0x40008000 overlap at 0x4000a000 or above 0x40008000"},
    {"FreeNeighbours", [](H& h) { h.poke(H::span(H::free8) + H::sScavenged, std::uint8_t{0}); },
     "span 0x4002a000 coalescing merged with span 0x40022000 both free"},
    {"UnknownState", [](H& h) { h.poke(H::span(H::full) + H::sState, std::uint8_t{9}); },
     "span 0x4003a000 numbers believable the span at 0x320800 has the state 9"},
    {"UnreadableSpan", [](H& h) { h.poke(H::kAll, std::uint64_t{0x7f0000000000}); }, "span 0x7f0000000000 numbers"},
    {"NoPages", [](H& h) { h.poke(H::span(H::full) + H::sPages, std::uint64_t{0}); }, "span 0x4003a000 numbers"},
    {"CrookedAddress", [](H& h) { h.poke(H::span(H::full) + H::sStart, H::page(29) + 8); },
     "has the address 0x4003a008"},
    {"TooManyObjects", [](H& h) { h.poke(H::span(H::full) + H::sNelems, std::uint64_t{600}); },
     "has 600 objects of 16 bytes in 8192"},
    {"CountBeyondNelems", [](H& h) { h.poke(H::span(H::full) + H::sCount, std::uint16_t{513}); },
     "has 513 of 512 objects allocated"},
    {"FreeindexBeyondNelems", [](H& h) { h.poke(H::span(H::full) + H::sFreeindex, std::uint64_t{513}); },
     "has freeindex 513 of 512"},
    {"AllocCount", [](H& h) { h.poke(H::span(H::partly) + H::sCount, std::uint16_t{5}); },
     "span 0x40002000 allocCount 4 (by its bits) 5"},
    {"AllocBits", [](H& h) { h.poke(H::bits(H::partly) + 3, std::uint8_t{1}); },
     "span 0x40002000 allocCount 5 (by its bits) 4"},
    {"AllocBitsUnreadable", [](H& h) { h.poke(H::span(H::partly) + H::sBits, std::uint64_t{0x7f0000000000}); },
     "span 0x40002000 allocBits readable the bitmap at 0x7f0000000000 is unreadable"},
    {"FreeBeforeFreeindex", [](H& h) { h.poke(H::bits(H::runtime), std::uint8_t{13}); },
     "span 0x40008000 freeindex no free object before 3 1 is free"},
    {"AllocCache", [](H& h) { h.poke(H::span(H::cached) + H::sCache, std::uint64_t{5}); },
     "span 0x40000000 allocCache 0x3fffffffffffff 0x5"},
    {"StackBits", [](H& h) { h.poke(H::span(H::stacks) + H::sCache, std::uint64_t{0b1000}); },
     "span 0x4000a000 allocCount 3 (by its bits) 2"},
    {"Elemsize", [](H& h) { h.poke(H::span(H::partly) + H::sElem, std::uint64_t{40}); },
     "span 0x40002000 elemsize 48 (as span 0x40000000) 40"},
    {"LargeOnAList", [](H& h) { h.poke(H::span(H::large) + H::sList, H::central(10) + H::cNonempty); },
     "span 0x40004000 list on none mcentral 5 nonempty"},
    {"FreeOnAList", [](H& h) { h.poke(H::span(H::free4) + H::sList, std::uint64_t{0x77}); },
     "span 0x40022000 list on none 0x77, no list"},
    {"FullOnNonempty", [](H& h) { h.poke(H::span(H::full) + H::sList, H::central(5) + H::cNonempty); },
     "span 0x4003a000 list mcentral 2 noscan empty mcentral 2 noscan nonempty"},
    {"OnTheListOfAnotherClass", [](H& h) { h.poke(H::span(H::partly) + H::sList, H::central(5) + H::cNonempty); },
     "span 0x40002000 list mcentral 5 nonempty mcentral 2 noscan nonempty"},
    {"IncacheWithoutCache", [](H& h) { h.poke(H::cache(0) + H::mcAlloc + 80, H::kEmpty); },
     "span 0x40000000 incache in an mcache in none"},
    {"CacheWithoutIncache", [](H& h) { h.poke(H::span(H::cached) + H::sIncache, std::uint8_t{0}); },
     "span 0x40000000 incache in none in that of P 0"},
    {"Sweepgen", [](H& h) { h.poke(H::span(H::partly) + H::sGen, std::uint32_t{4}); },
     "span 0x40002000 sweepgen -2 to 0 of 2 4"},
    {"ListInACircle", [](H& h) { h.poke(H::span(H::partly) + H::sNext, H::span(H::partly)); },
     "mcentral 5 nonempty list walk an end mcentral 5 nonempty: comes back to the span at 0x320100 after 1"},
    {"ListIntoNowhere", [](H& h) { h.poke(H::span(H::partly) + H::sNext, std::uint64_t{0x7f0000000000}); },
     "mcentral 5 nonempty: 0x7f0000000000 is no span of this heap"},
    {"ListWithoutAMember", [](H& h) { h.poke(H::central(10) + H::cNonempty, std::uint64_t{0}); },
     "mcentral 5 nonempty list 1 spans, as many as say so 0"},
    {"ListPrev", [](H& h) { h.poke(H::span(H::partly) + H::sPrev, H::span(H::full)); },
     "span 0x40002000 list links prev 0x0 0x320800"},
    {"ListLast", [](H& h) { h.poke(H::central(10) + H::cNonempty + 8, H::span(H::full)); },
     "mcentral 5 nonempty list links last 0x320100 0x320800"},
    {"AStrangerOnAList", [](H& h) { h.poke(H::central(10) + H::cNonempty, H::span(H::full)); },
     "span 0x4003a000 list member what belongs on mcentral 5 nonempty"},
    {"TreapPriority", [](H& h) { h.poke(H::node(1) + H::nPriority, std::uint32_t{3}); },
     "treap node 0x370040 treap priority at least its parent's, 10 3"},
    {"TreapOrder", [](H& h) { h.poke(H::node(1) + H::nPages, std::uint64_t{5}); }, "treap node 0x370000 treap order"},
    {"TreapKey", [](H& h) { h.poke(H::node(2) + H::nPages, std::uint64_t{9}); },
     "treap node 0x370080 treap key 8 pages 9"},
    {"TreapParent", [](H& h) { h.poke(H::node(2) + H::nParent, H::node(1)); },
     "treap node 0x370080 treap links parent 0x370000 0x370040"},
    {"TreapInACircle", [](H& h) { h.poke(H::node(2) + H::nRight, H::node(0)); },
     "the treap comes back to 0x370000 from 0x370080"},
    {"TreapIntoNowhere", [](H& h) { h.poke(H::node(2) + H::nLeft, std::uint64_t{0x7f0000000000}); },
     "the treap node at 0x7f0000000000 is unreadable"},
    {"TreapWithoutASpan", [](H& h) { h.poke(H::node(0) + H::nLeft, std::uint64_t{0}); },
     "span 0x4003c000 treap span in the treap, as it is free not in it"},
    {"TreapOfASpanInUse", [](H& h) { h.poke(H::node(1) + H::nSpan, H::span(H::partly)); },
     "treap node 0x370040 treap span a free span span 0x40002000, inuse"},
    {"TreapOfNoSpan", [](H& h) { h.poke(H::node(1) + H::nSpan, std::uint64_t{0x99}); },
     "treap node 0x370040 treap span a span of the heap 0x99"},
    {"TreapTwice", [](H& h) { h.poke(H::node(1) + H::nSpan, H::span(H::free4)); },
     "a span that no other node has span 0x40022000"},
    {"CachedInTwo", [](H& h) { h.poke(H::cache(1) + H::mcAlloc + 80, H::span(H::cached)); },
     "mcache of P 1 mcache span spans that nobody else has 0x320000, which P 0 has too"},
    {"AheadWithObjects",
     [](H& h) {
       h.poke(H::cache(1) + H::mcAhead + 24 * 10, std::uint32_t{1});
       h.poke(H::cache(1) + H::mcAhead + 24 * 10 + 8, H::span(H::partly));
     },
     "mcache of P 1, span 0x40002000 ahead mcache span without objects 4"},
    {"AheadAndCached",
     [](H& h) {
       h.poke(H::cache(1) + H::mcAhead + 24 * 10, std::uint32_t{1});
       h.poke(H::cache(1) + H::mcAhead + 24 * 10 + 8, H::span(H::cached));
     },
     "mcache of P 1 mcache span spans that nobody else has 0x320000, which P 0 has too"},
    {"TooManyAhead", [](H& h) { h.poke(H::cache(1) + H::mcAhead + 24 * 10, std::uint32_t{3}); },
     "claims 3 entries in 2 slots"},
    {"CachedOfAnotherClass", [](H& h) { h.poke(H::cache(1) + H::mcAlloc, H::span(H::full)); },
     "mcache of P 1, span class 0 mcache span a span of that class span 0x4003a000, inuse, span class 5"},
    {"CachedNowhere", [](H& h) { h.poke(H::cache(1) + H::mcAlloc, std::uint64_t{0x99}); },
     "mcache of P 1, span class 0 mcache span a span of that class 0x99"},
    {"CachedObjectFree", [](H& h) { h.poke(H::bits(H::runtime), std::uint8_t{3}); },
     "mcache of P 0, 0x400080e0 mcache object allocated, by its span's bits free"},
    {"CachedObjectOfNoOne", [](H& h) { h.poke(H::cache(0) + H::mcObjects + 32 * 9 + 8, H::page(1)); },
     "mcache of P 0, 0x40002000 mcache object an object of the runtime of class 9"},
    {"CachedObjectTwice",
     [](H& h) {
       h.poke(H::cache(1) + H::mcObjects + 32 * 9, std::uint32_t{1});
       h.poke(H::cache(1) + H::mcObjects + 32 * 9 + 8, H::page(4) + 224);
     },
     "mcache of P 1, 0x400080e0 mcache slot once twice, also in that of P 0"},
    {"CacheOverfull", [](H& h) { h.poke(H::cache(0) + H::mcStacks, std::uint32_t{99}); },
     "mcache of P 0 mcache readable the mcache at 0x360000 claims 99 entries in 4 slots"},
    {"CacheUnreadable", [](H& h) { h.poke(H::kP1 + H::pMcache, std::uint64_t{0x7f0000000000}); },
     "mcache of P 1 mcache readable the mcache at 0x7f0000000000 is unreadable"},
    {"CachedStackFree", [](H& h) { h.poke(H::cache(0) + H::mcStacks + 8, H::page(9)); },
     "mcache of P 0, 0x40012000 mcache stack taken from its span free in its span too"},
    {"CachedStackOfNoOne", [](H& h) { h.poke(H::cache(0) + H::mcStacks + 8, H::page(14)); },
     "mcache of P 0, 0x4001c000 mcache stack a stack of order 0"},
    {"StackOfAGoroutineFree", [](H& h) { h.poke(H::span(H::stacks) + H::sCache, std::uint64_t{0b1101}); },
     "stack of goroutine 8 stack taken from its span free in it"},
    {"StackOfAGoroutineCached", [](H& h) { h.poke(H::cache(0) + H::mcStacks + 8, H::page(5)); },
     "stack of goroutine 8 stack in no cache of free stacks in that of P 0"},
    {"StackOfTwo",
     [](H& h) {
       h.poke(H::g(7) + H::gLo, H::page(5) + 4096);
       h.poke(H::g(7) + H::gHi, H::page(7));
     },
     "stack its own that of goroutine 7 as well"},
    {"StackOfNobody",
     [](H& h) {
       h.poke(H::g(8) + H::gLo, std::uint64_t{0x1080000});
       h.poke(H::g(8) + H::gHi, std::uint64_t{0x1088000});
     },
     "span 0x4000a000 stack 2 stacks that somebody has 1"},
    {"StackInASpanOfObjects",
     [](H& h) {
       h.poke(H::g(8) + H::gLo, H::page(2));
       h.poke(H::g(8) + H::gHi, H::page(4));
     },
     "stack of goroutine 8 stack in a span of stacks span 0x40004000, large"},
    {"StackBounds", [](H& h) { h.poke(H::g(8) + H::gHi, H::page(7) - 16); },
     "stack of goroutine 8 stack 0x4000a000-0x4000e000"},
    {"HeapIdle", [](H& h) { h.poke(H::kStats, std::uint64_t{5}); }, "heap_idle statistics 114688 (by a walk) 5"},
    {"HeapInuse", [](H& h) { h.poke(H::kStats + 8, std::uint64_t{5}); }, "heap_inuse statistics"},
    {"HeapReleased", [](H& h) { h.poke(H::kStats + 16, std::uint64_t{5}); }, "heap_released statistics"},
    {"StacksInuse", [](H& h) { h.poke(H::kStats + 24, std::uint64_t{5}); }, "stacks_inuse statistics"},
    {"RuntimeInuse", [](H& h) { h.poke(H::kStats + 32, std::uint64_t{5}); }, "runtime_inuse statistics"},
    {"ManualInuse", [](H& h) { h.poke(H::kStats + 40, std::uint64_t{5}); }, "manual_inuse statistics"},
    {"HeapSys", [](H& h) { h.poke(H::kStats + 48, std::uint64_t{5}); }, "heap_sys statistics"},
    {"PagesInUse", [](H& h) { h.poke(H::kMheap + H::hInuse, std::uint64_t{6}); },
     "pagesInUse statistics 5 (by a walk) 6"},
    {"Spanalloc", [](H& h) { h.poke(H::kMheap + H::hSpanalloc, std::uint32_t{0}); }, "spanalloc.inuse statistics"},
    {"Treapalloc", [](H& h) { h.poke(H::kMheap + H::hTreapalloc, std::uint32_t{0}); }, "treapalloc.inuse statistics"},
    {"Nmalloc", [](H& h) { h.poke(H::own(9) + H::cNmalloc, std::uint64_t{9}); },
     "runtime 9 nonempty's nmalloc statistics 3 (by a walk) 9 less 2 freed"},
    {"DeadOnAList", [](H& h) { h.poke(H::span(H::dead) + H::sList, H::kPool + 8); },
     "mspan 0x320a00 without pages list on no list 0x311008"},
};

INSTANTIATE_TEST_SUITE_P(All, MheapCheckFinds, testing::ValuesIn(kBreaks),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MheapCheck, AHeldLockWithAThreadInsideIsInTransition) {
  H heap;
  heap.poke(H::span(H::free8) + H::sScavenged, std::uint8_t{0});
  heap.poke(H::kMheap + H::hLock, std::uint32_t{1});
  heap.stand(1, {0x7610, 0x7310});
  Answer r = run(heap, "mheap check");
  EXPECT_TRUE(contains(squeeze(r.out),
                       "both free the heap's lock is held; M 1 (thread 101) is in "
                       "vitrine::rt::mheap::freeSpanLocked"))
      << r.out;
  EXPECT_TRUE(contains(r.out, "no violation")) << r.out;
  EXPECT_FALSE(r.incomplete);
}

TEST(MheapCheck, WhoMayHoldALockIsNamedBeforeWhoAllocates) {
  H heap;
  heap.poke(H::span(H::free8) + H::sScavenged, std::uint8_t{0});
  heap.poke(H::kMheap + H::hLock, std::uint32_t{1});
  heap.stand(0, {0x7710, 0x6210});
  heap.stand(1, {0x7610, 0x7310});
  EXPECT_TRUE(contains(run(heap, "mheap check").out, "M 1 (thread 101) is in vitrine::rt::mheap::freeSpanLocked"));
}

TEST(MheapCheck, AThreadThatSleepsExcusesNothing) {
  H heap;
  heap.poke(H::span(H::free8) + H::sScavenged, std::uint8_t{0});
  heap.stand(1, {0x7210, 0x7610});
  Answer r = run(heap, "mheap check");
  EXPECT_FALSE(contains(r.out, "no violation")) << r.out;
  EXPECT_TRUE(r.incomplete);
}

TEST(MheapCheck, TheOwnerOfAnMcacheExcusesItsSpans) {
  H heap;
  heap.poke(H::span(H::cached) + H::sCount, std::uint16_t{9});
  heap.poke(H::span(H::partly) + H::sCount, std::uint16_t{9});
  heap.poke(H::central(10) + H::cNmalloc, std::uint64_t{999});
  heap.stand(0, {0x7710, 0x6210});
  Answer r = run(heap, "mheap check");
  EXPECT_TRUE(contains(squeeze(r.out),
                       "span 0x40000000 allocCount 10 (by its bits) 9 M 0 (thread 100) is in "
                       "vitrine::rt::mallocgc"))
      << r.out;
}

TEST(MheapCheck, WhoEmptiesAllMcachesExcusesThoseOfOthers) {
  auto with = [](std::vector<std::uint64_t> frames) {
    H heap;
    heap.poke(H::span(H::cached) + H::sCount, std::uint16_t{9});
    heap.stand(1, std::move(frames));
    return run(heap, "mheap check");
  };
  EXPECT_TRUE(with({0x7710, 0x6210}).incomplete) << "who allocates on another P has nothing to do with it";
  Answer r = with({0x7610, 0x7810});
  EXPECT_TRUE(contains(r.out, "M 1 (thread 101) is in vitrine::rt::flushmcaches")) << r.out;
  EXPECT_FALSE(r.incomplete);
  EXPECT_FALSE(with({0x7910, 0x7810}).incomplete) << "a stub on the way into a library is not the user's code";
}

// Every read fails once; each command answers, with an address, and ends.
TEST(MheapFaults, TheNthReadFails) {
  for (const char* line : {"mheap", "mheap spans", "mheap span 0x40002000", "mheap classes", "mheap arenas",
                           "mheap treap", "mheap stacks", "mcache", "mcache 0", "mcentral", "mcentral 5", "mheap check",
                           "mheap map", "obj 0x40002030", "obj 0x4000dff0", "mheap spans -json", "mheap -json"}) {
    std::size_t faults = 0;
    for (std::size_t n = 1; n < 400; ++n) {
      H heap;
      FakeTarget& target = heap.target;
      auto session = heap.session();
      target.fail_read(n);
      Answer r = run(*session, line);
      if (!target.faulted()) break;
      ++faults;
      EXPECT_NE(r.out + r.err, "") << line << " " << n;
      if (!r.incomplete && r.outcome == Outcome::ok) {
        // A read that only decorates the answer may fail silently in no list: the answer must then be the whole one.
        H sound;
        EXPECT_EQ(r.out, run(sound, line).out) << line << " " << n;
      }
    }
    EXPECT_GT(faults, 3u) << line;
  }
}

}  // namespace
}  // namespace vitrine::inspect
