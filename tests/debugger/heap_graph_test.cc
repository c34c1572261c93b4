// gc, heap types, heap why, heap roots, heap retained, heap diff and what mheap check knows of marks and pointers, over a
// heap made of bytes; damage of each kind, and the nth read that fails.
#include "heap_graph.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <random>

#include "answer.h"
#include "fake_gc.h"
#include "heap_dominators.h"

namespace vitrine::inspect {
namespace {

using G = FakeGc;

std::string squeeze(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  return out;
}

// head → 0 → 1, 2; both → 3; 3 ⇄ 4. handle → 5 → 6. 7 is garbage.
struct Known : G {
  Known() {
    only_nodes();
    left(0, 1);
    right(0, 2);
    left(1, 3);
    left(2, 3);
    left(3, 4);
    left(4, 3);
    left(5, 6);
    poke(kHeadVar, object(0));
    handle(object(5));
  }
};

TEST(GcPage, SaysWhereTheCollectorStands) {
  Known heap;
  Answer r = run(heap, "gc");
  EXPECT_EQ(r.err, "");
  EXPECT_TRUE(contains(r.out, "phase       off: no collection is going on\ncycle       3 begun, 1 of them forced\n"))
      << r.out;
  EXPECT_TRUE(contains(r.out, "GOGC 100; ? live by now, 480 kept by the last one; the next begins at 4M\n")) << r.out;
  EXPECT_TRUE(contains(r.out, "pauses      last 9ms (stop and sweep 1ms, mark 3ms, end 5ms), 9ms in all\n")) << r.out;
  EXPECT_TRUE(contains(r.out, "walk        yes: the heap may be walked now\n")) << r.out;
}

TEST(GcPage, InTheMiddleOfAPhaseEveryHeapCommandSaysSo) {
  for (const char* line : {"gc", "mheap", "mheap spans", "heap types", "heap roots", "heap retained", "mheap check"}) {
    Known heap;
    heap.poke(G::kPhase, std::uint32_t{1});
    Answer r = run(heap, line);
    EXPECT_TRUE(contains(r.out, "a collection is in its phase mark")) << line << "\n" << r.out;
    EXPECT_TRUE(r.incomplete) << line;
  }
}

TEST(HeapTypes, SpreadFromGlobalsAlongMembers) {
  Known heap;
  Answer r = run(heap, "heap types -live");
  EXPECT_EQ(r.err, "");
  const std::string text = squeeze(r.out);
  EXPECT_TRUE(contains(text, "node 5 240 48 ")) << r.out;
  EXPECT_TRUE(contains(text, "untyped 2 96 48 ")) << r.out;  // what the handle keeps
}

TEST(HeapTypes, GarbageCountsUnlessOnlyTheLivingAreAskedFor) {
  Known heap;
  auto session = heap.session();
  // 8 nodes, the large object and 512 small ones.
  EXPECT_TRUE(contains(run(*session, "heap types").out, "521 objects of ")) << run(*session, "heap types").out;
  EXPECT_TRUE(contains(run(*session, "heap types -live").out, "7 objects of 336 that can be reached"))
      << run(*session, "heap types -live").out;
}

TEST(HeapTypes, APointerIntoTheMiddleSaysNothing) {
  Known heap;
  heap.poke(G::kHeadVar, G::object(0) + 8);
  EXPECT_FALSE(contains(run(heap, "heap types -live").out, "node")) << "the object lives, and is not typed";
}

TEST(HeapTypes, WhatACollectionFoundDeadIsNoObjectBeforeItIsSwept) {
  Known heap;
  heap.poke(G::span(G::cached) + G::sGen, std::uint32_t{0});  // to be swept
  heap.poke(G::span(G::cached) + G::sMarks, G::bits(G::cached) + 128);
  heap.poke(G::bits(G::cached) + 128, std::uint8_t{0x7f});  // not object 7
  Answer r = run(heap, "heap types");
  EXPECT_TRUE(contains(r.out, "520 objects of ")) << r.out;
  EXPECT_TRUE(contains(r.out, "1 more are dead and not swept yet\n")) << r.out;
}

TEST(HeapWhy, TheShortestChainOfEachRoot) {
  Known heap;
  heap.poke(G::kTailVar, G::object(3));
  auto session = heap.session();
  Answer r = run(*session, fmt::format("heap why {:#x}", G::object(4) + 20));
  EXPECT_EQ(r.err, "");
  const std::string text = squeeze(r.out);
  EXPECT_TRUE(contains(
      text, fmt::format("1. global: tail\n → {:#x} node, 48 bytes\n left → {:#x} node", G::object(3), G::object(4))))
      << r.out;
  EXPECT_TRUE(contains(text, "2. global: head\n")) << r.out;
  EXPECT_TRUE(contains(text, "2 roots lead to it\n")) << r.out;
  EXPECT_TRUE(contains(text, "is 20 bytes inside")) << r.out;
  EXPECT_TRUE(contains(run(*session, fmt::format("heap why {:#x} -paths 1", G::object(4))).out,
                       "1 of 2 roots that lead to it"));
}

TEST(HeapWhy, GarbageIsSaidToBeGarbage) {
  Known heap;
  EXPECT_TRUE(
      contains(run(heap, fmt::format("heap why {:#x}", G::object(7))).out, "no root leads to it: it is garbage\n"));
}

TEST(HeapRoots, AFinalizerKeepsWhatItsObjectRefersToAndNotTheObject) {
  Known heap;
  heap.left(7, 6);
  heap.poke(G::kHandle, std::uint64_t{0});
  heap.poke(G::span(G::cached) + G::sSpecials, G::kSpecial);
  heap.poke(G::kSpecial, std::uint64_t{0});
  heap.poke(G::kSpecial + 8, std::uint32_t{48 * 7});
  heap.poke(G::kSpecial + 12, std::uint8_t{1});
  auto session = heap.session();
  Answer r = run(*session, "heap roots");
  EXPECT_TRUE(contains(squeeze(r.out), fmt::format("finalizer of {:#x} {:#x}", G::object(7), G::object(6)))) << r.out;
  EXPECT_TRUE(contains(run(*session, "heap types -live").out, "6 objects of ")) << r.out;
}

TEST(HeapRetained, AJoinIsKeptByNeitherWay) {
  Known heap;
  Answer r = run(heap, "heap retained");
  EXPECT_EQ(r.err, "");
  const std::string text = squeeze("\n" + r.out);
  EXPECT_TRUE(contains(text, fmt::format("\n{:#x} node 240 71 5 48\n", G::object(0)))) << r.out;
  EXPECT_TRUE(contains(text, fmt::format("\n{:#x} node 96 29 2 48\n", G::object(3)))) << r.out;
  EXPECT_TRUE(contains(text, fmt::format("\n{:#x} node 48 14 1 48\n", G::object(1)))) << r.out;
}

// By taking each node away and looking what can still be reached.
std::vector<std::uint64_t> by_removal(const HeapGraph& graph) {
  std::vector<std::uint64_t> kept(graph.size());
  auto bytes = [&](std::uint32_t without) {
    std::vector<bool> seen(graph.size());
    if (without != kNone) seen[without] = true;
    std::uint64_t sum = 0;
    graph.reach(graph.root_nodes(), seen, nullptr, [&](std::uint32_t n) {
      sum += graph.bytes_of(n);
      return true;
    });
    return sum;
  };
  const std::uint64_t all = bytes(kNone);
  for (std::uint32_t n = 0; n < graph.size(); ++n) {
    if (graph.is(n, HeapGraph::object)) kept[n] = all - bytes(n);
  }
  return kept;
}

TEST(HeapRetained, IsWhatTakingEachAwayWouldFree) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const std::uint64_t n = 5 + random() % 100;
    G heap(n);
    heap.only_nodes();
    for (std::uint64_t i = 0; i < n; ++i) {
      if (random() % 4) heap.left(i, random() % n);
      if (random() % 2) heap.right(i, round % 2 ? random() % n : std::min(n - 1, i + 1 + random() % 3));
    }
    heap.poke(G::kHeadVar, G::object(0));
    if (round % 3 == 0) heap.poke(G::kTailVar, G::object(random() % n));
    auto session = heap.session();
    auto state = session->heap();
    ASSERT_TRUE(state);
    GcState gc(**state);
    auto graph = HeapGraph::build(**state, gc, false);
    ASSERT_TRUE(graph) << graph.error().message;
    Retained r;
    ASSERT_TRUE(retained(**graph, r));
    const auto expected = by_removal(**graph);
    for (std::uint32_t w = 1; w < r.node.size(); ++w)
      EXPECT_EQ(r.bytes[w], expected[r.node[w]]) << "round " << round << ", node " << r.node[w];
  }
}

struct Break {
  const char* name;
  std::function<void(G&)> make;
  const char* row;
};
class MheapCheckFindsOfTheCollector : public testing::TestWithParam<Break> {};

TEST_P(MheapCheckFindsOfTheCollector, OneChange) {
  {
    Known sound;
    EXPECT_TRUE(run(sound, "mheap check").out.starts_with("consistent: ")) << run(sound, "mheap check").out;
  }
  Known heap;
  GetParam().make(heap);
  auto session = heap.session();
  Answer r = run(*session, "mheap check -limit 0");
  EXPECT_TRUE(contains(squeeze("\n" + r.out), GetParam().row)) << r.out << r.err;
  for (const char* line : {"gc", "heap types", "heap types -live", "heap roots", "heap retained", "heap why 0x40000000",
                           "goroutine leaks", "goroutine leaks -why 2"})
    run(*session, line);  // none crashes or hangs
}

const Break kBreaks[] = {
    {"MarkedThoughSwept", [](G& h) { h.poke(G::bits(G::partly) + 128, std::uint8_t{4}); },
     "span 0x40002000 mark bits none in a span that is swept object 2 is marked"},
    {"FreeObjectMarked",
     [](G& h) {
       h.poke(G::span(G::cached) + G::sGen, std::uint32_t{0});
       h.poke(G::bits(G::cached) + 128 + 2, std::uint8_t{1});
     },
     "span 0x40000000 mark bits of allocated objects only object 16 is marked"},
    {"ToAFreeObject", [](G& h) { h.left(2, 100); },
     "object 0x40000060+0 pointer to what is allocated 0x400012c0, a free object"},
    {"ToAFreeSpan", [](G& h) { h.poke(G::object(2), G::page(22)); },
     "object 0x40000060+0 pointer to what is allocated 0x4002c000, no span of objects"},
    {"APointerAlone", [](G& h) { h.poke(G::kMeta, std::uint8_t{0x13}); },
     "object 0x40000000+8 pointer bits a pointer only where pointers may follow a pointer alone"},
    {"MoreBehindTheEnd", [](G& h) { h.poke(G::kMeta, std::uint8_t{0xb3}); },
     "object 0x40000000+24 pointer bits none behind the last more"},
};
INSTANTIATE_TEST_SUITE_P(All, MheapCheckFindsOfTheCollector, testing::ValuesIn(kBreaks),
                         [](const auto& info) { return info.param.name; });

TEST(HeapGraphDamage, AHandleListInACircleIsCutAndSaid) {
  Known heap;
  heap.poke(G::kHandle + 8, G::kHandle);
  Answer r = run(heap, "heap roots");
  EXPECT_TRUE(contains(r.out, "the list of gc::root handles comes back to 0x398000 after 1; cut there")) << r.out;
  EXPECT_TRUE(r.incomplete);
}

TEST(HeapGraphDamage, UnreadableObjectsAreCounted) {
  Known heap;
  heap.target.bad(G::page(0), G::page(0) + 4096);
  Answer r = run(heap, "heap types");
  EXPECT_TRUE(contains(r.out, "8 objects partly unreadable, from 0x40000000 on")) << r.out;
}

TEST(HeapGraphDamage, EveryFailingReadIsAnsweredAndNothingHangs) {
  for (const char* line :
       {"gc", "heap types", "heap why 0x40000000", "heap roots", "heap retained", "goroutine leaks"}) {
    for (std::size_t n = 1; n < 400; n += n < 60 ? 1 : 17) {
      Known heap;
      FakeTarget& target = heap.target;
      auto session = heap.session();
      target.fail_read(n);
      Answer r = run(*session, line);
      if (!target.faulted()) break;
      EXPECT_TRUE(!r.out.empty() || !r.err.empty()) << line << " " << n;
    }
  }
}

// Random bytes over objects, spans, bitmaps, roots and the collector's own words: whatever is asked is answered, by rows or
// by what is wrong.
TEST(HeapGraphDamage, RandomBytesAreAnsweredAndNothingHangs) {
  const char* commands[] = {"gc",          "heap types",    "heap types -live",
                            "heap roots",  "heap retained", "goroutine leaks",
                            "mheap check", "mheap spans"};
  int different = 0;
  for (unsigned seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Known heap;
    auto session = heap.session();
    const std::string whole = run(*session, "heap types").out;
    const std::uint64_t where[] = {G::object(random() % 8) + random() % 48,
                                   G::kRoots + random() % 32,
                                   G::kHandle + random() % 24,
                                   G::kFinalizers + random() % 64,
                                   heap.bits(G::cached) + random() % 16,
                                   heap.bits(G::partly) + random() % 16,
                                   heap.span(random() % 8) + random() % 160,
                                   G::kMeta + random() % 64,
                                   G::kSegments + random() % 24,
                                   G::kGlobals + random() % 24};
    for (unsigned n = 1 + random() % 8; n > 0; --n) {
      const std::uint64_t at = where[random() % std::size(where)];
      // A byte, or a word that looks like a pointer nearby.
      if (random() % 2)
        heap.poke(at, static_cast<std::uint8_t>(random()));
      else
        heap.poke(at / 8 * 8, G::object(random() % 200) + random() % 8);
    }
    session->set_stop(2);
    for (const char* line : commands) {
      const Answer r = run(*session, line);
      EXPECT_TRUE(!r.out.empty() || !r.err.empty()) << line;
    }
    run(*session, fmt::format("heap why {:#x}", G::object(random() % 8)));
    different += run(*session, "heap types").out != whole;
  }
  EXPECT_GT(different, 10);
}

TEST(HeapGraph, IsMadeOnceUntilTheProcessRuns) {
  Known heap;
  FakeTarget& target = heap.target;
  auto session = heap.session();
  const std::string first = run(*session, "heap types -live").out;
  const std::size_t reads = target.reads();
  heap.poke(G::kHeadVar, G::object(7));
  EXPECT_EQ(run(*session, "heap types -live").out, first);
  EXPECT_LT(target.reads() - reads, reads / 4);
  session->set_stop(2);
  EXPECT_NE(run(*session, "heap types -live").out, first);
}

// Wherever Ctrl-C comes, and whichever of these commands it meets.
TEST(HeapGraphDamage, CancelledWorkSaysSo) {
  for (const char* line :
       {"heap types", "heap types -live", "heap roots", "heap why 0x40000000", "heap retained", "goroutine leaks"}) {
    unsigned cancelled = 0;
    for (bool over = false; !over; ++cancelled) {
      Known heap;
      auto session = heap.session();
      unsigned asked = 0;
      session->cancelled_hook = [&] { return asked++ >= cancelled; };
      const Answer r = run(*session, line);
      over = asked <= cancelled;
      EXPECT_EQ(r.outcome == Outcome::cancelled, !over) << line << ", asked " << asked << " times: " << r.out << r.err;
      ASSERT_LT(cancelled, 1000u) << line;
    }
    EXPECT_GT(cancelled, 1u) << line << " never asks";
  }
}

TEST(HeapDiff, SaysWhatGrewAndWhatIsNoListOfTypes) {
  const std::string dir = testing::TempDir();
  std::ofstream(dir + "a.json") << R"([{"type":"node","count":2,"bytes":96},{"type":"same","count":1,"bytes":8}])";
  std::ofstream(dir + "b.json")
      << R"({"rows":[{"type":"node","count":5,"bytes":240},{"type":"same","count":1,"bytes":8},{"type":"new","count":1,"bytes":16}]})";
  std::ofstream(dir + "c.json") << R"([{"kind":3}])";
  Known heap;
  auto session = heap.session();
  Answer r = run(*session, fmt::format("heap diff {0}a.json {0}b.json", dir));
  const std::string text = squeeze("\n" + r.out);
  EXPECT_TRUE(contains(text, "\nnode 3 144 2 5 96 240\nnew 1 16 0 1 0 16\n")) << r.out << r.err;
  EXPECT_TRUE(contains(text, "+4 objects, +160 bytes; 1 type unchanged\n")) << r.out;
  EXPECT_TRUE(contains(run(*session, fmt::format("heap diff {0}a.json {0}c.json", dir)).err,
                       "is not what heap types -json writes"));
  EXPECT_TRUE(contains(run(*session, fmt::format("heap diff {0}a.json {0}none.json", dir)).err, "cannot be read"));
}

}  // namespace
}  // namespace vitrine::inspect
