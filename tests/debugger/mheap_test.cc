// mheap, obj and their kin over a heap made of bytes: what is in order is shown as it is, what is damaged is named and
// the rest is shown.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "answer.h"
#include "commands.h"
#include "fake_heap.h"

namespace vitrine::inspect {
namespace {

using H = FakeHeap;

TEST(Mheap, OnePage) {
  H heap;
  Answer r = run(heap, "mheap");
  EXPECT_EQ(r.err, "");
  EXPECT_EQ("\n" + r.out, R"(
arenas       1 of 512K: 0x40000000-0x40080000; 256K not handed out yet
pages        32 of 8K: 18 in use (3 small objects, 2 large objects, 12 stacks, 1 runtime objects); 14 free, 8 of them scavenged
spans        10: 3 small objects, 1 large objects, 2 stacks, 1 runtime objects, 3 free; 1 without pages
classes      3 in use; by pages: large: 1 of 1 in 1 span, 48 B: 14 of 340 in 2 spans, 16 B: 512 of 512 in 1 span
gc           off: this runtime has no collector
sweep        generation 2, done; spans: 1 cached, 3 swept
stacks       2 of 5 used by goroutines, 0 by dead ones, 1 cached by Ps, 2 free in pools
metadata     mspans ?, mcaches ?, arenas and bitmaps ?, other ?
system       256K asked for, 256K of it in spans, 64K of these given back
resident     ? (known of a live process on this machine)
)");
}

TEST(Mheap, SpansSayWhoHasThem) {
  H heap;
  Answer r = run(heap, "mheap spans");
  EXPECT_EQ(r.err, "");
  EXPECT_EQ("\n" + r.out, R"(
      BASE  PAGES  STATE   CLASS   ELEM  NELEMS  ALLOC  FREE%  SWEEP   OWNER                                      NOSCAN
0x40000000      1  inuse       5     48     170     10     94  cached  mcache of P 0                              no
0x40002000      1  inuse       5     48     170      4     97  swept   mcentral nonempty                          no
0x40004000      2  inuse       0  16384       1      1      0  swept   large                                      yes
0x40008000      1  manual      9    112      73      3     95  -       runtime objects                            yes
0x4000a000      8  manual      -  16384       4      2     50  -       stack pool: goroutine 8, 1 cached, 2 free  -
0x4001a000      4  manual      -  32768       1      1      0  -       stack of goroutine 9                       -
0x40022000      4  free        -      -       -      -      -  -       free treap                                 -
0x4002a000      8  free        -      -       -      -      -  -       free treap                                 -
0x4003a000      1  inuse       2     16     512    512      0  swept   mcentral empty                             yes
0x4003c000      2  free        -      -       -      -      -  -       free treap                                 -
10 spans; 1 span without pages not shown (-all)
)");
}

TEST(Mheap, ClassIsShortForWhere) {
  H heap;
  auto session = heap.session();
  EXPECT_EQ(run(*session, "mheap spans -class 5 -short").out, "0x40000000\n0x40002000\n");
  EXPECT_EQ(run(*session, "mheap spans -class 5 -where 'alloc < 5' -short").out, "0x40002000\n");
  EXPECT_TRUE(run(*session, "mheap spans -class 5").out.ends_with("\n2 spans\n"));
  EXPECT_EQ(run(*session, "mheap spans -class x").err, "-class: 'x' is not a number\n");
  EXPECT_EQ(run(*session, "mheap spans -class 99").err, run(*session, "mcentral 99").err);
  EXPECT_TRUE(contains(run(*session, "mheap spans -class 99").err, "there is no size class 99; they are 0 to "));
}

TEST(Mheap, AnUnreadableSpanIsNamedAndTheRestIsShown) {
  H heap;
  heap.poke(H::kAll + 8 * H::large, std::uint64_t{0x7f0000000000});
  Answer r = run(heap, "mheap spans");
  EXPECT_TRUE(contains(r.out, "<the span at 0x7f0000000000 is unreadable>")) << r.out;
  EXPECT_TRUE(contains(r.out, "10 spans")) << r.out;
  EXPECT_TRUE(r.incomplete);
}

TEST(Mheap, ASpanThatCannotBeIsNamedAndNotBelieved) {
  H heap;
  heap.poke(H::span(H::partly) + H::sNelems, std::uint64_t{1} << 60);
  heap.poke(H::span(H::full) + H::sPages, std::uint64_t{0});
  auto session = heap.session();
  Answer r = run(*session, "mheap spans");
  EXPECT_TRUE(contains(r.out, "objects of 48 bytes in 8192>")) << r.out;
  EXPECT_TRUE(contains(r.out, "has 0 pages>")) << r.out;
  r = run(*session, "mheap span 0x40002000");
  EXPECT_TRUE(contains(r.out, "error: the span at")) << r.out;
  EXPECT_TRUE(contains(r.out, "objects    170: 4 allocated, 166 free")) << r.out;
}

TEST(Mheap, ASpanThatReachesOutOfTheArenasIsNotFollowed) {
  H heap;
  heap.poke(H::span(H::full) + H::sPages, std::uint64_t{1} << 40);
  heap.poke(H::kMheap + H::hArenas + 8, ~std::uint64_t{0});
  auto session = heap.session();
  Answer r = run(*session, "mheap arenas");
  EXPECT_TRUE(contains(r.out, "0x40000000 ")) << r.out;
  EXPECT_TRUE(contains(r.out, "the list of arenas claims 18446744073709551615")) << r.out;
  EXPECT_TRUE(contains(r.out, "entries cannot be or are there twice")) << r.out;
  EXPECT_TRUE(contains(r.out, " has 1099511627776 pages from 0x")) << r.out;
  EXPECT_TRUE(contains(r.out, ", which is not all in arenas")) << r.out;
  r = run(*session, "mheap");
  EXPECT_FALSE(contains(r.out.substr(0, r.out.find("warning")), "1099511627")) << "nor counted\n" << r.out;
}

TEST(Mheap, WhatIsNotThereIsToldFromWhatCannotBeRead) {
  H heap;
  heap.poke(H::kMheap + H::hAll, std::uint64_t{0x7f0000000000});
  heap.poke(H::kMheap + H::hArenas, std::uint64_t{0x7f0000000000});
  auto session = heap.session();
  Answer r = run(*session, "mheap spans");
  EXPECT_TRUE(contains(r.out, "the heap has no spans yet, or it cannot be read\n")) << r.out;
  EXPECT_TRUE(contains(r.out, "11 of 11 entries are unreadable, from 0x7f0000000000 on")) << r.out;
  EXPECT_TRUE(contains(run(*session, "mheap").out, "0 without pages; of the spans that could be read\n"));
  EXPECT_TRUE(contains(run(*session, "obj 0x40002030").out, "whether it is the runtime's cannot be known"));
}

TEST(Mheap, OneSpanShowsItsObjects) {
  H heap;
  auto session = heap.session();
  EXPECT_EQ("\n" + run(*session, "mheap span 0x40002030").out, R"(
span 0x40002000-0x40004000: 1 page, inuse (mspan at 0x320100)
owner      mcentral nonempty
class      5, objects of 48 bytes
objects    170: 4 allocated, 166 free; allocCount 4, freeindex 3; 32 bytes left over
sweep      swept (generation 2, the heap's 2)
list       mcentral 5 nonempty
# allocated  m marked too  c kept by a P  . free  ? unknown
  0x40002000  ###..#..........................................................
  0x40002c00  ................................................................
  0x40003800  ..........................................
)");
  EXPECT_EQ("\n" + run(*session, "mheap span 0x4000a000").out, R"(
span 0x4000a000-0x4001a000: 8 pages, manual (mspan at 0x320400)
owner      stack pool: goroutine 8, 1 cached, 2 free
stacks     4: 1 allocated, 1 cached, 2 free; allocCount 2
list       stackpool 0
  0x4000a000  allocated: goroutine 8
  0x4000e000  cached: P 0
  0x40012000  free
  0x40016000  free
)");
  EXPECT_EQ("\n" + run(*session, "mheap span 0x40008000 -limit 10").out, R"(
span 0x40008000-0x4000a000: 1 page, manual (mspan at 0x320300)
owner      runtime objects
class      9, objects of 112 bytes without pointers
objects    73: 2 allocated, 1 cached, 70 free; allocCount 3, freeindex 3; 16 bytes left over
list       runtime 9 nonempty
# allocated  m marked too  c kept by a P  . free  ? unknown
  0x40008000  ##c.......
kept       1 by P 0
10 of 73 shown (-limit 0 for all)
)");
  EXPECT_EQ(run(*session, "mheap span 0x50000000").err, "0x50000000 is in no span: obj 0x50000000 says what it is\n");
}

TEST(Mheap, WhatSampledObjectsLoseInsideIsCounted) {
  H heap, endless;
  for (H* h : {&heap, &endless}) {
    h->poke(H::span(H::partly) + H::sSpecials, H::kSpecial);
    h->poke(H::kSpecial, H::kSpecial + 0x30);
    h->poke(H::kSpecial + 12, std::uint8_t{2});
    h->poke(H::kSpecial + 16, std::uint64_t{40});
    h->poke(H::kSpecial + 0x30 + 12, std::uint8_t{1});  // a finalizer
  }
  EXPECT_EQ("\n" + run(heap, "mheap classes -cols class,sampled,sampled_inner").out, R"(
CLASS  SAMPLED  SAMPLED_INNER
    0        0              -
    2        0              -
    5        1              8
    9        0              -
4 sizes
)");
  endless.poke(H::kSpecial + 0x30, H::kSpecial);
  Answer r = run(endless, "mheap classes");
  EXPECT_TRUE(r.incomplete);
  EXPECT_TRUE(contains(r.out, "the specials of the span at")) << r.out;
}

TEST(Mheap, Lists) {
  H heap;
  auto session = heap.session();
  const std::pair<const char*, const char*> kCases[] = {
      {"mheap classes", R"(
CLASS  OF       ELEM  SPANS  PARTLY  NELEMS  ALLOC  FREE%  BYTES  TAIL  INNER
    0  heap        -      1       0       1      1      0    16K     0   6.2K
    2  heap       16      1       0     512    512      0     8K     0      -
    5  heap       48      2       2     340     14     95    672    64      -
    9  runtime   112      1       1      73      3     95    336    16      -
4 sizes
)"},
      {"mheap arenas", R"(
      BASE  SPANS  USED  FREE  SCAVENGED  REST      ADDR
0x40000000     10    18    14          8    32  0x340000
1 arena
)"},
      {"mheap treap", R"(
      BASE  PAGES  DEPTH  PRIORITY  SCAVENGED  VIOLATION      NODE
0x4003c000      2      1        20  no         -          0x370040
0x40022000      4      0        10  no         -          0x370000
0x4002a000      8      1        30  yes        -          0x370080
3 free spans
)"},
      {"mheap stacks", R"(
SIZE  KIND   SPANS  SLOTS  GOROUTINES  RUNTIME  DEAD  CACHED  FREE  REST  BYTES
 16K  pool       1      4           1        0     0       1     2     0    64K
 32K  large      1      1           1        0     0       0     0     0    32K
2 sizes
)"},
      {"mcache", R"(
P SPANS  FREE  TINY  USED  OBJECTS  STACKS  BYTES  FLUSHGEN      ADDR
-     0     0     -     -        0       0      0         -  0x362000
0     1   160     -     -        1       1    16K         -  0x360000
1     0     0     -     -        0       0      0         -  0x361000
3 mcaches
)"},
      {"mcache 0", R"(
WHAT     CLASS   ELEM  FREE  NELEMS  NOSCAN       FIRST
span         5     48   160     170  no      0x40000000
objects      9    112     1       -  -       0x400080e0
stacks       0  16384     1       -  -       0x4000e000
3 parts
)"},
      {"mcentral", R"(
CLASS  OF       NOSCAN  ELEM  NONEMPTY  EMPTY  CACHED  FREE  NMALLOC  NFREE
    2  heap     yes       16         0      1       0     0      512      0
    5  heap     no        48         1      1       1   166      174      0
    9  runtime  -        112         1      0       0    70        5      2
3 mcentrals
)"},
      {"mcentral 5", R"(
LIST                       BASE  PAGES  ALLOC  NELEMS  SWEEP   OWNER
mcentral 5 nonempty  0x40002000      1      4     170  swept   mcentral nonempty
mcentral 5 empty     0x40000000      1     10     170  cached  mcache of P 0
2 spans
)"},
  };
  for (auto& [line, text] : kCases) {
    Answer r = run(*session, line);
    EXPECT_EQ(r.err, "") << line;
    EXPECT_EQ("\n" + r.out, text) << line;
  }
  EXPECT_EQ(run(*session, "mcache 9").err, "there is no P 9 with an mcache; mcache lists them\n");
  EXPECT_EQ(run(*session, "mcentral 99").err, "there is no size class 99; they are 0 to 10\n");
  EXPECT_EQ(run(*session, "mheap nonsense").err,
            "there is no 'mheap nonsense'; mheap alone is the heap on one page; vitrine help mheap lists its parts\n");
}

TEST(Mheap, AMap) {
  H heap;
  auto session = heap.session();
  Answer r = run(*session, "mheap map");
  EXPECT_TRUE(contains(r.out,
                       "arena 0x40000000-0x40080000\n"
                       "  0x40000000 |OOLlRSsssssssSsss....________O..                                |\n"))
      << r.out;
  session->colour = true;
  EXPECT_TRUE(contains(run(*session, "mheap map").out, "|\x1b[32mOO\x1b[36mLl")) << r.out;
  EXPECT_EQ(run(*session, "mheap map -arena 1").err, "-arena: there is no arena '1'; there are 1\n");
  std::string file = testing::TempDir() + "mheap_map.html";
  EXPECT_EQ(run(*session, "mheap map -html " + file).out, "Saved " + file + ": 1 arena\n");
  std::ifstream in(file);
  std::string page((std::istreambuf_iterator<char>(in)), {});
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
  EXPECT_TRUE(contains(page, "[1073741824,1,0,5,48,170,10,0],\n")) << "the first span";
  EXPECT_TRUE(contains(page, "stack of goroutine 9"));
  EXPECT_FALSE(contains(page, "http")) << "nothing is fetched";
  EXPECT_TRUE(run(*session, "mheap map -html /nonsense/x").err.starts_with("/nonsense/x cannot be written: "));
}

TEST(Mheap, SpansAsJsonHaveTheseKeys) {
  H heap;
  Answer r = run(heap, "mheap spans -json -limit 1");
  EXPECT_EQ(
      r.out,
      "[\n{\"base\":\"0x40000000\",\"pages\":1,\"state\":\"inuse\",\"class\":5,\"elem_size\":48,\"nelems\":170,"
      "\"alloc_count\":10,\"free_percent\":94,\"sweep\":\"cached\",\"owner\":\"mcache of P 0\",\"noscan\":false}\n]\n");
}

TEST(Mheap, WordsAndColumnsAreCompleted) {
  H heap;
  auto session = heap.session();
  auto offers = [&](std::string_view text, std::string_view partial) {
    std::string all;
    complete_command(*session, split(text), partial, [&](std::string_view w) { all += std::string(w) + " "; });
    return all;
  };
  EXPECT_EQ(offers("mheap", "s"), "spans span stacks ");
  EXPECT_EQ(offers("mheap spans", "-cl"), "-class ");
  EXPECT_EQ(offers("mheap spans -sort", "-fr"), "-free -freeindex ");
  EXPECT_EQ(offers("mheap treap -where", "pr"), "priority ");
  EXPECT_EQ(offers("mheap map", "-h"), "-html ");
  EXPECT_EQ(offers("obj", "-"), "-json ");
}

TEST(Mheap, AProgramWithoutAHeapIsTold) {
  FakeSched none;
  auto session = none.session();
  EXPECT_EQ(run(*session, "mheap").err,
            "this program's span heap is not described: it has none, or one that is not known here\n");
}

// A list of this length is one pass: seconds on a slow machine, where spans times lists would be hours.
TEST(Mheap, AMillionSpans) {
  H heap;
  constexpr std::uint64_t kMany = 1'000'000, kAt = 0x7000000000;
  heap.target.map(kAt, kMany * H::kSpanSize).map(kAt - 8 * kMany, 8 * kMany);
  auto put = [&](std::uint64_t addr, auto v) {
    std::memcpy(const_cast<std::byte*>(heap.target.view(addr, sizeof v)), &v, sizeof v);
  };
  heap.target.viewable_ = true;
  for (std::uint64_t i = 0; i < kMany; ++i) {
    const std::uint64_t s = kAt + i * H::kSpanSize;
    put(kAt - 8 * kMany + 8 * i, s);
    put(s + H::sStart, H::kArena + 0x80000 + i * H::kPage);
    put(s + H::sPages, std::uint64_t{1});
    put(s + H::sState, std::uint8_t{1});
    put(s + H::sClass, std::uint8_t{10});
    put(s + H::sElem, std::uint64_t{48});
    put(s + H::sNelems, std::uint64_t{170});
    put(s + H::sCount, static_cast<std::uint16_t>(i % 171));
  }
  heap.poke(H::kMheap + H::hAll, kAt - 8 * kMany);
  heap.poke(H::kMheap + H::hAll + 8, kMany);
  auto session = heap.session();
  auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(contains(run(*session, "mheap spans").out, "100 of 1000000 shown (-limit 0 for all)\n"));
  auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty("ms", static_cast<int>(took / std::chrono::milliseconds(1)));
  std::printf("a million spans: %d ms\n", static_cast<int>(took / std::chrono::milliseconds(1)));
  EXPECT_LT(took, std::chrono::seconds(20));
  EXPECT_EQ(run(*session, "mheap spans -where 'free = 100' -count").out, "5848\n");
}

TEST(Obj, SaysWhatAnAddressIs) {
  H heap;
  heap.poke(H::span(H::partly) + H::sSpecials, H::kSpecial);
  heap.poke(H::kSpecial + 8, std::uint32_t{48});
  heap.poke(H::kSpecial + 12, std::uint8_t{2});
  heap.poke(H::kSpecial + 24, std::uint64_t{0x6010});
  heap.poke(H::kSpecial + 32, std::uint64_t{4});
  heap.poke(H::kMeta + (8192 + 48) / 32, std::uint8_t{0x44});
  heap.poke(H::cache(0) + H::mcTiny, H::page(29));
  auto session = heap.session();
  const std::pair<std::uint64_t, const char*> kCases[] = {
      {H::page(0) + 48, "in an object of the heap: allocated\n"},
      {H::page(0) + 480, "in an object of the heap: free\n"},
      {H::page(1) + 3 * 48, "in an object of the heap: free\n"},
      {H::page(1) + 48 + 5, "48 bytes; 5 bytes from its start; number 1 of 170\n"},
      {H::page(1) + 48, "allocated  at worker at app.cc:10 by goroutine 4\n"},
      {H::page(1) + 48, "pointers   in words 0\n"},
      {H::page(3), "0x40004000-0x40008000, 16384 bytes; 8192 bytes from its start\n"},
      {H::page(4) + 224, "in an object of the runtime, kept by P 0: cached\n"},
      {H::page(0) + 8190, "behind the last object of its span\n"},
      {H::page(5) + 100, "in the guard page of the stack of goroutine 8"},
      {H::page(5) + 5000, "below its stack pointer: nothing that counts\n"},
      {H::page(7) - 0x100 - 32, "frame      #0 vitrine::rt::gopark at proc.cc:100\n"},
      {H::page(7) - 0x100 + 16, "frame      #1 worker at app.cc:10\n"},
      {H::page(7) + 10, "in a free stack, kept by P 0"},
      {H::page(9) + 10, "in a free stack of the pool: free\n"},
      {H::page(14), "on the stack of goroutine 9"},
      {H::page(18), "in a free span: free\n"},
      {H::page(22), "in a free span; its pages were given back or never touched: free\n"},
      {H::page(40), "in the arena at 0x40000000, which has not handed out this part yet\n"},
      {H::g(2) + H::gSp, "member     g.sched.sp\n"},
      {H::g(2), "the g of goroutine 2 \"reader\" (waiting: chan receive)\n"},
      {H::g(5), "the g of a dead goroutine\n"},
      {H::kM + 16, "M 0, thread 100\n"},
      {H::kP1, "P 1\n"},
      {H::span(H::partly) + H::sGen, "the mspan of the span at 0x40002000\n"},
      {H::cache(1), "the mcache of P 1\n"},
      {H::kMeta + 5, "the metadata of the arena at 0x40000000, about 0x400000a0-0x400000c0\n"},
      {H::entry(3), "the metadata of the arena at 0x40000000, about 0x40006000-0x40008000\n"},
      {H::kMeta + H::aInuse + 1, "the metadata of the arena at 0x40000000, about 0x40010000-0x40020000\n"},
      {H::node(0) + 8, "a node of the treap of free spans\n"},
      {H::node(0), "4 pages, free; free treap\n"},
      {H::page(29) + 1, "the block for tiny objects of P 0 (0 bytes of it used)"},
      {0x6010, "in the code of worker at app.cc:11\n"},
      {0x9000, "in app, under no symbol\n"},
      {0x7f0000000000, "not in this core: unmapped, or left out of it\n"},
      {0, "the null pointer\n"},
  };
  for (auto& [addr, text] : kCases) {
    Answer r = run(*session, "obj " + std::to_string(addr));
    EXPECT_TRUE(contains(r.out, text)) << std::hex << addr << ": " << r.out << r.err;
  }
  EXPECT_EQ(run(*session, "obj").err, "obj ADDR|EXPR: an address or an expression is needed\n");
  EXPECT_TRUE(contains(run(*session, "obj f()").err, "could call a function"));
}

// What the runtime cut for itself, by its records: a chunk at 0x200000 with, in it, a buffer of 256 bytes, an array of
// three words, and a chunk of an allocator of 24 bytes, of which 0 is given out, 1 and 2 were given back, 3 never was.
class Records : public H {
 public:
  static constexpr std::uint64_t kChunk = 0x200000, kBlock = 0x210000, kNext = 0x211000, kNames = 0x212000,
                                 kAllocator = 0x213000, kFixed = kChunk + 0x400;
  Records() {
    auto type = [&](const char* name) { return program.types.at(name).get(); };
    Type *u64 = type("u64"), *u32 = type("u32"), *ptr = type("ptr");
    auto rt = [&](const char* name, std::uint64_t size, std::vector<Field> fields) {
      program.add(std::string("vitrine::rt::") + name, size)->fields = std::move(fields);
    };
    rt("metadataEntry", 40,
       {{"base", 0, u64}, {"size", 8, u64}, {"unit", 16, u64}, {"type", 24, ptr}, {"owner", 32, ptr}});
    rt("metadataBlock", 16 + 2 * 40,
       {{"next", 0, ptr}, {"n", 8, u32}, {"entry", 16, program.add("bytes80records", 80, Type::Kind::array)}});
    target.map(kChunk, 0x1000).map(kBlock, 96).map(kNext, 96).map(kNames, 0x100).map(kAllocator, 0x40);
    program.variables["vitrine::rt::metadata"] = {kBlock, nullptr};
    name(0, "workbuf");
    name(1, "mspan*");
    name(2, "special");
    poke(kBlock, kNext);
    entry(kBlock, 0, kChunk, 0x1000, 0x1000, 0, 0);
    entry(kBlock, 1, kChunk + 0x100, 256, 256, kNames, 0);
    entry(kNext, 0, kChunk + 0x200, 26, 8, kNames + 16, 0);
    entry(kNext, 1, kFixed, 4 * 24, 24, kNames + 32, kAllocator);
    poke(kAllocator + 16, kFixed + 48);  // list
    poke(kFixed + 48, kFixed + 24);
    poke(kAllocator + 24, kFixed + 72);  // chunk
    poke(kAllocator + 32, std::uint32_t{24});
  }
  void entry(std::uint64_t block, std::uint64_t i, std::uint64_t base, std::uint64_t size, std::uint64_t unit,
             std::uint64_t type, std::uint64_t owner) {
    std::uint64_t at = block + 16 + 40 * i;
    for (std::uint64_t v : {base, size, unit, type, owner}) poke(at, v), at += 8;
    poke(block + 8, static_cast<std::uint32_t>(i + 1));
  }
  void name(std::uint64_t i, std::string_view text) {
    for (std::size_t k = 0; k < text.size(); ++k) poke(kNames + 16 * i + k, text[k]);
  }
};

TEST(Mheap, ObjNamesWhatTheRuntimeCutForItself) {
  Records heap;
  auto session = heap.session();
  const std::pair<std::uint64_t, const char*> kCases[] = {
      {heap.kChunk + 8, "in a chunk of the runtime's own memory, in no piece of it that has a record\n"},
      {heap.kChunk + 0x110, "metadata of the runtime: workbuf\n"},
      {heap.kChunk + 0x110, "structure  0x200100-0x200200, 256 bytes; 16 bytes from its start\n"},
      {heap.kChunk + 0x208, "structure  0x200208-0x200210, 8 bytes; number 1 of 3\ntype       mspan*\n"},
      {heap.kChunk + 0x218, "metadata of the runtime: behind the last mspan*\n"},
      {heap.kFixed, "metadata of the runtime: special: allocated\n"},
      {heap.kFixed + 9, "member     special.offset\n"},
      {heap.kFixed + 24, "metadata of the runtime: special: free\n"},
      {heap.kFixed + 48, "metadata of the runtime: special: free\n"},
      {heap.kFixed + 72, "metadata of the runtime: special: unused\n"},
  };
  for (auto& [addr, text] : kCases) {
    Answer r = run(*session, "obj " + std::to_string(addr));
    EXPECT_TRUE(contains(r.out, text)) << std::hex << addr << ": " << r.out << r.err;
  }
}

TEST(Mheap, BrokenRecordsOfTheRuntimesMemoryAreNamed) {
  using R = Records;
  const struct {
    std::uint64_t at, value, ask;
    const char* text;
  } kCases[] = {
      {R::kNext, R::kBlock, R::kChunk + 0x110,
       "error: the records of the runtime's own memory come back to 0x210000; cut there\n"},
      {R::kBlock, 0x5000, R::kChunk + 0x110,
       "error: the records of the runtime's own memory are unreadable at 0x5000; cut there\n"},
      {R::kBlock + 8, 7, R::kChunk + 0x110,
       "error: a block of records of the runtime's own memory, at 0x210000, has 7 of 2\n"},
      {R::kBlock + 16 + 40 + 24, 0x5000, R::kChunk + 0x110, "metadata of the runtime: unknown\n"},
      {R::kBlock + 16 + 40 + 24, 0x5000, R::kChunk + 0x110, "error: the name of its type is unreadable at 0x5000\n"},
      {R::kNext + 16 + 40 + 16, 0, R::kFixed + 30, "96 bytes; 30 bytes from its start\n"},
      {R::kNext + 16 + 40 + 16, ~0ull, R::kFixed + 30, "96 bytes; 30 bytes from its start\n"},
      {R::kNext + 16 + 40 + 32, 0x5000, R::kFixed, "error: the allocator at 0x5000 is unreadable\n"},
      {R::kFixed + 24, R::kFixed + 48, R::kFixed,
       "error: the free objects of the allocator at 0x213000: a cycle at 0x200430; cut there\n"},
      {R::kFixed + 24, 0x5000, R::kFixed, "unreadable at 0x5000; cut there\n"},
      {R::kBlock + 16 + 40, ~0ull - 8, ~0ull - 4, "not in this core: unmapped, or left out of it\n"},
  };
  for (const auto& c : kCases) {
    R heap;
    heap.poke(c.at, c.value);
    auto session = heap.session();
    Answer r = run(*session, "obj " + std::to_string(c.ask));
    EXPECT_TRUE(contains(r.out, c.text)) << std::hex << c.at << ": " << r.out << r.err;
  }
}

}  // namespace
}  // namespace vitrine::inspect
