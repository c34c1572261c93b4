// gc_test.cc: managed objects — which die and which do not, by the shape of what they are in; maps of types; memory that
// is used again.
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "gcfixture.h"

namespace {

struct asfound {
  asfound() noexcept {}
  unsigned char bytes[80];
};

struct node {
  gc::ptr<node> left, right;
  std::uint64_t value;
};

struct pair2 {
  std::uint32_t number;
  gc::ptr<node> a;
  double weight;
  gc::ptr<node> b;
};
struct nested {
  int before;
  pair2 inner;
  std::array<gc::ptr<node>, 3> three;
  int after;
};
struct plain {
  int a;
  double b;
  char c;
};
class listed {
 public:
  explicit listed(int n) : numbers_(std::size_t(n), n) {}
  gc::ptr<node> next_;
  VITRINE_GC_FIELDS(listed, next_, others_);

 private:
  std::vector<int> numbers_;
  gc::ptr<node> others_[2];
};
class derived : public listed {
 public:
  derived() : listed(3) {}
  VITRINE_GC_FIELDS(derived, static_cast<listed&>(*this), own_);

 private:
  gc::ptr<node> own_;
};
struct foreigntype {
  foreigntype() : first(0) {}
  long first;
  gc::ptr<node> hidden;
};

}  // namespace

template <>
struct vitrine::gc::type_traits<asfound> : vitrine::gc::noscan {};
template <>
struct vitrine::gc::type_traits<foreigntype> {
  static void fields(auto& visit, foreigntype& f) { visit(f.hidden); }
};

namespace {

template <class T>
std::string mapof() {
  const rt::_type& t = gc::detail::typeof_<T>.type;
  std::string text;
  for (std::size_t i = 0; i < t.ptrdata / 8; i++) text += (t.gcdata[i / 8] >> i % 8 & 1) != 0 ? 'p' : '.';
  return text;
}

TEST_F(Gc, MapsOfTypes) {
  EXPECT_EQ(mapof<node>(), "pp");
  EXPECT_EQ(mapof<pair2>(), ".p.p");
  EXPECT_EQ(mapof<nested>(), "..p.pppp");
  EXPECT_EQ(mapof<plain>(), "");
  EXPECT_EQ(mapof<listed>(), "p...pp");
  EXPECT_EQ(mapof<derived>(), "p...ppp");
  EXPECT_EQ(mapof<foreigntype>(), ".p");
  EXPECT_EQ(mapof<gc::ptr<int>>(), "p");
  EXPECT_EQ(mapof<int>(), "");
  using rows = std::array<std::array<pair2, 2>, 2>;
  EXPECT_EQ(mapof<rows>(), ".p.p.p.p.p.p.p.p");
}

Hidden makeone() { return Hidden(gc::make<node>().get()); }

struct hugetype {
  gc::ptr<int> first;
  char between[(64 << 20) - 16];
  gc::ptr<int> last;
  VITRINE_GC_FIELDS(hugetype, first, last);
};

// Its map is made, as of each type, before main().
TEST_F(Gc, ALargeTypeCostsNoMemory) {
  const rt::_type& t = gc::detail::typeof_<hugetype>.type;
  EXPECT_EQ(t.ptrdata, sizeof(hugetype));
  EXPECT_EQ(t.gcdata[0], 1);
  std::ifstream maps("/proc/self/maps");
  std::uintptr_t lo, hi, self = reinterpret_cast<std::uintptr_t>(&t);
  char dash;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    words >> std::hex >> lo >> dash >> hi;
    if (self >= lo && self < hi) {
      EXPECT_LT(hi - lo, sizeof(hugetype)) << line;
    }
  }
}

TEST_F(Gc, WhatNobodyKnowsDies) {
  Hidden h = elsewhere(makeone);
  collect();
  EXPECT_FALSE(alive(h));
}

TEST_F(Gc, WhatALocalPointsToLives) {
  gc::ptr<node> p = gc::make<node>();
  p->value = 7;
  node* raw = gc::make<node>();
  raw->value = 8;
  Hidden hp(p.get()), hr(raw);
  collect();
  EXPECT_TRUE(alive(hp));
  EXPECT_TRUE(alive(hr));
  EXPECT_EQ(p->value + raw->value, 15u);
}

TEST_F(Gc, InteriorPointersKeepTheirObject) {
  auto h = elsewhere([] {
    auto a = gc::make_array<std::uint64_t>(1000);
    std::uint64_t* middle = &a[500];
    a = nullptr;
    Hidden hidden(middle);
    collect();
    *middle = 1;
    return std::pair(hidden, alive(hidden));
  });
  EXPECT_TRUE(h.second);
  collect();
  EXPECT_FALSE(alive(h.first));
}

VITRINE_NOINLINE std::uint64_t* endofnew(std::size_t n) { return gc::make_array<std::uint64_t>(n) + n; }

TEST_F(Gc, OnePastTheEndOfAnArrayKeepsIt) {
  bool lived = elsewhere([] {
    for (std::size_t n : {1u, 2u, 4u, 64u, 512u, 4096u, 100'000u}) {
      std::uint64_t* end = endofnew(n);
      Hidden h(end - 1);
      collect();
      if (!alive(h)) return false;
      asm volatile("" : : "r"(end));
    }
    return true;
  });
  EXPECT_TRUE(lived);
}

TEST_F(Gc, ListsTreesAndRings) {
  std::vector<Hidden> all;
  gc::root<node> list;
  elsewhere([&] {
    for (int i = 0; i < 20'000; i++) {
      auto n = gc::make<node>();
      n->left = list.get();
      list = n.get();
      n->value = std::uint64_t(i);
      all.emplace_back(n.get());
    }
    return 0;
  });
  collect();
  std::uint64_t wrong = elsewhere([&] {
    std::uint64_t expected = 20'000, bad = 0;
    for (node* n = list; n != nullptr; n = n->left) bad += n->value != --expected;
    return bad + expected;
  });
  EXPECT_EQ(wrong, 0u);
  // The first half goes.
  elsewhere([&] {
    node* n = list;
    for (int i = 0; i < 9'999; i++) n = n->left;
    n->left = nullptr;
    return 0;
  });
  collect();
  expectliving(all, 10'000);
  list = nullptr;
  collect();
  expectliving(all, 0);

  std::vector<Hidden> ring;
  elsewhere([&] {
    gc::ptr<node> first = gc::make<node>(), last = first;
    for (int i = 0; i < 100; i++) {
      ring.emplace_back(last.get());
      last->right = gc::make<node>();
      last->right->left = last;
      last = last->right;
    }
    last->right = first;
    return 0;
  });
  collect();
  expectliving(ring, 0);
}

TEST_F(Gc, ArraysOfPointersKeepTheirElements) {
  for (std::size_t n : {1u, 7u, 100u, 5000u, 300'000u}) {
    gc::root<gc::ptr<node>> array;
    std::vector<Hidden> elements;
    elsewhere([&] {
      array = gc::make_array<gc::ptr<node>>(n).get();
      for (std::size_t i = 0; i < n; i += n / 7 + 1) {
        array.get()[i] = gc::make<node>();
        elements.emplace_back(array.get()[i].get());
      }
      if (array.get()[n - 1] == nullptr) {
        array.get()[n - 1] = gc::make<node>();
        elements.emplace_back(array.get()[n - 1].get());
      }
      return 0;
    });
    collect();
    EXPECT_EQ(living(elements), int(elements.size())) << n;
    array = nullptr;
    collect();
    EXPECT_EQ(living(elements), 0) << n;
  }
}

TEST_F(Gc, EveryFieldOfEveryKindOfMapKeeps) {
  gc::root<nested> n;
  gc::root<derived> d;
  gc::root<foreigntype> f;
  std::vector<Hidden> all;
  elsewhere([&] {
    auto fresh = [&] {
      auto p = gc::make<node>();
      all.emplace_back(p.get());
      return p;
    };
    n = gc::make<nested>().get();
    n->inner.a = fresh();
    n->inner.b = fresh();
    for (auto& p : n->three) p = fresh();
    d = gc::make<derived>().get();
    d->next_ = fresh();
    f = gc::make<foreigntype>().get();
    f->hidden = fresh();
    return 0;
  });
  collect();
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(living(all), 7);
}

TEST_F(Gc, ObjectsWithoutPointersAreNotLookedInto) {
  gc::root<std::uint64_t> words;
  Hidden h = elsewhere([&] {
    words = gc::make_array<std::uint64_t>(10).get();
    node* n = gc::make<node>();
    words.get()[3] = std::uint64_t(n);
    return Hidden(n);
  });
  collect();
  EXPECT_FALSE(alive(h));
}

TEST_F(Gc, FreedMemoryIsUsedAgainAndZero) {
  std::uint64_t sysbefore = 0;
  for (int round = 0; round < 30; round++) {
    elsewhere([] {
      for (int i = 0; i < 3000; i++) {
        auto a = gc::make_array<unsigned char>(1000);
        for (int k = 0; k < 1000; k++)
          if (a[k] != 0) return ADD_FAILURE() << "not zero", 0;
        std::memset(a.get(), 0xee, 1000);
        // No constructor hides what the allocator leaves.
        auto b = gc::make<asfound>();
        for (unsigned char c : b->bytes)
          if (c != 0) return ADD_FAILURE() << "not zero", 0;
        std::memset(b->bytes, 0xee, sizeof b->bytes);
      }
      return 0;
    });
    collect();
    if (round == 3) sysbefore = vitrine::runtime::mem_stats().heap_sys;
  }
  EXPECT_LE(vitrine::runtime::mem_stats().heap_sys, sysbefore + (8u << 20));
}

TEST_F(Gc, LargeObjectsGoBackToTheHeap) {
  std::uint64_t before = vitrine::runtime::mem_stats().heap_inuse;
  Hidden h = elsewhere([] { return Hidden(gc::make_array<char>(10 << 20).get()); });
  EXPECT_GE(vitrine::runtime::mem_stats().heap_inuse, before + (10 << 20));
  collect();
  if (fakestacks()) return;  // ten MiB are where many a stale word points
  EXPECT_FALSE(alive(h));
  EXPECT_LT(vitrine::runtime::mem_stats().heap_inuse, before + (5 << 20));
}

TEST_F(Gc, CollectsByItselfAsGOGCSays) {
  std::uint64_t before = gc::stats().num_gc;
  elsewhere([] {
    for (int i = 0; i < 400'000; i++) gc::make<node>();  // 9.6 MB
    return 0;
  });
  std::uint64_t hundred = gc::stats().num_gc - before;
  EXPECT_GE(hundred, 1u);
  EXPECT_LE(hundred, 5u);
  EXPECT_EQ(gc::set_percent(-1), 100);
  before = gc::stats().num_gc;
  elsewhere([] {
    for (int i = 0; i < 400'000; i++) gc::make<node>();
    return 0;
  });
  EXPECT_EQ(gc::stats().num_gc, before);
  EXPECT_EQ(gc::set_percent(0), -1);
  collect();
  before = gc::stats().num_gc;
  elsewhere([] {
    for (int i = 0; i < 400'000; i++) gc::make<node>();
    return 0;
  });
  EXPECT_GE(gc::stats().num_gc - before, 2u);
  EXPECT_LE(gc::stats().num_gc - before, 13u) << "a MiB is made in between";
  EXPECT_EQ(gc::set_percent(100), 0);
}

TEST_F(Gc, MemoryGoesBackToTheSystem) {
  elsewhere([] {
    std::vector<gc::root<char>> all;
    for (int i = 0; i < 60; i++) {
      all.emplace_back(gc::make_array<char>(1 << 20));
      std::memset(all.back().get(), 1, 1 << 20);
    }
    return 0;
  });
  EXPECT_GE(rt::gcRetained(), 60u << 20);
  collect();
  collect();
  EXPECT_TRUE(eventually([] { return rt::gcRetained() < 20u << 20; })) << rt::gcRetained();
  EXPECT_TRUE(eventually([] { return rt::load_relaxed(rt::scavenge.released) > 0; })) << "which is counted after it";
}

TEST_F(Gc, CollectsAfterAWhileAllTheSame) {
  gc::collect();
  std::uint64_t before = gc::stats().num_gc;
  rt::store_relaxed(rt::forcegcperiod, 2'000'000);
  EXPECT_TRUE(eventually([&] { return gc::stats().num_gc >= before + 3; }));
  rt::store_relaxed(rt::forcegcperiod, 120'000'000'000);
}

TEST_F(Gc, StatsCountCollections) {
  auto before = gc::stats();
  gc::collect();
  auto after = gc::stats();
  EXPECT_EQ(after.num_gc, before.num_gc + 1);
  EXPECT_EQ(after.num_forced, before.num_forced + 1);
  EXPECT_GT(after.pause_total_ns, before.pause_total_ns);
  EXPECT_GE(after.heap_goal, 4u << 20);
}

TEST_F(Gc, AllocatedObjectsAreCounted) {
  auto before = vitrine::runtime::mem_stats();
  elsewhere([] {
    for (int i = 0; i < 1000; i++) gc::make<node>();
    return 0;
  });
  collect();
  auto after = vitrine::runtime::mem_stats();
  EXPECT_GE(after.mallocs - before.mallocs, 1000u);
  EXPECT_GE(after.frees - before.frees, 998u);  // a word somewhere may look like one of them
}

struct alignas(64) wide {
  gc::ptr<node> p;
  double d;
};
struct alignas(128) wider {
  double d;
};

TEST_F(Gc, AlignedTypesAreAligned) {
  for (int i = 0; i < 100; i++) {
    EXPECT_EQ(std::uintptr_t(gc::make<long double>().get()) % 16, 0u);
    EXPECT_EQ(std::uintptr_t(gc::make<wide>().get()) % 64, 0u);
    EXPECT_EQ(std::uintptr_t(gc::make_array<wide>(3).get()) % 64, 0u);
    EXPECT_EQ(std::uintptr_t(gc::make<wider>().get()) % 128, 0u);
  }
  gc::root<wide> w;
  Hidden h = elsewhere([&] {
    w = gc::make_array<wide>(3).get();
    w.get()[2].p = gc::make<node>();
    return Hidden(w.get()[2].p.get());
  });
  collect();
  EXPECT_TRUE(alive(h));
}

int hugeblocks() {
  int n = 0;
  rt::lock(&rt::mheap_.lock);
  for (std::int64_t i = 0; i < rt::mheap_.allArenas.len; i++)
    n += std::popcount(rt::arenaOf(rt::mheap_.allArenas.array[i])->hugeBlocks);
  rt::unlock(&rt::mheap_.lock);
  return n;
}

std::uint64_t systemcalls() {
  std::uint64_t n = 0;
  for (std::int64_t i = 0; i < rt::allp.len; i++) n += rt::load_relaxed(rt::allp.array[i]->syscalltick);
  return n;
}

// The page fault of a block with huge pages takes milliseconds where the host has to find the memory first; the world could
// not be stopped meanwhile.
TEST_F(Gc, BlocksOfHugePagesAreTouchedWithoutAP) {
  if (!systemHasHugePages()) GTEST_SKIP() << "this system has none";
  rt::scavengeAll();
  const int blocks = hugeblocks();
  const std::uint64_t calls = systemcalls();
  gc::root<node> list;
  elsewhere([&] {
    for (int i = 0; i < 2'000'000; i++) {
      auto n = gc::make<node>();
      n->left = list.get();
      list = n.get();
    }
    return 0;
  });
  EXPECT_GT(hugeblocks(), blocks + 8);
  EXPECT_GE(systemcalls() - calls, std::uint64_t(hugeblocks() - blocks) / 2);
  EXPECT_LE(rt::mheap_.ncold.load(), 1) << "the last may have nothing but the end of a span";
  list = nullptr;
  collect();
  rt::scavengeAll();
  EXPECT_EQ(rt::mheap_.ncold.load(), 0);
}

}  // namespace
