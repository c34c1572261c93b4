// mheap_test.cc: spans and what finds them — the treap against a model, coalescing, spanOf, scavenging, fixalloc, the
// sets of spans for a sweeper.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

#include "heapfixture.h"

namespace {

using rt::mspan;

class Treap : public Heap {};
class MHeap : public Heap {};
class Fixalloc : public Heap {};

struct Locked {
  Locked() { rt::lock(&rt::mheap_.lock); }
  ~Locked() { rt::unlock(&rt::mheap_.lock); }
};

// Counts the nodes and looks at each: parents, priorities.
std::size_t walk(const rt::treapNode* t, const rt::treapNode* parent, bool* ok) {
  if (t == nullptr) return 0;
  *ok = *ok && t->parent == parent && (parent == nullptr || parent->priority <= t->priority) &&
        t->npagesKey == t->spanKey->npages;
  return 1 + walk(t->left, t, ok) + walk(t->right, t, ok);
}

using Model = std::set<std::pair<std::uint64_t, std::uint64_t>>;  // (npages, address)

bool same(rt::mTreap* treap, const Model& model) {
  bool ok = true;
  if (walk(treap->treap, nullptr, &ok) != model.size() || !ok) return false;
  rt::treapNode* t = treap->end();
  for (auto it = model.rbegin(); it != model.rend(); ++it, t = rt::treappred(t))
    if (t == nullptr || t->npagesKey != it->first || t->spanKey->base() != it->second) return false;
  if (t != nullptr) return false;
  for (t = treap->treap; t != nullptr && t->left != nullptr;) t = t->left;
  for (auto& key : model) {
    if (t == nullptr || t->spanKey->base() != key.second) return false;
    t = rt::treapsucc(t);
  }
  return t == nullptr;
}

TEST_F(Treap, RandomInsertsRemovesAndFindsAgreeWithAnOrderedSet) {
  constexpr int n = 400;
  std::vector<mspan> spans(n);
  std::vector<char> in(n);
  rt::mTreap treap{};
  Model model;
  Locked locked;
  for (int i = 0; i < n; i++) spans[i].init((i + 1) * 0x1000000ull, 1 + random(40));
  for (int step = 0; step < 20000; step++) {
    int i = int(random(n));
    std::pair key{spans[i].npages, spans[i].base()};
    if (in[i]) {
      ASSERT_NE(treap.findSpan(&spans[i]), nullptr);
      treap.removeSpan(&spans[i]);
      model.erase(key);
    } else {
      ASSERT_EQ(treap.findSpan(&spans[i]), nullptr);
      treap.insert(&spans[i]);
      model.insert(key);
    }
    in[i] ^= 1;
    std::uint64_t want = 1 + random(45);
    auto best = model.lower_bound({want, 0});
    rt::treapNode* t = treap.find(want);
    ASSERT_EQ(t == nullptr, best == model.end());
    if (t != nullptr) {
      ASSERT_EQ(t->spanKey->base(), best->second) << "best fit for " << want;
    }
    if (step % 500 == 0) {
      ASSERT_TRUE(same(&treap, model)) << step;
    }
  }
  ASSERT_TRUE(same(&treap, model));
  for (int i = 0; i < n; i++)
    if (in[i]) treap.removeSpan(&spans[i]);
  EXPECT_EQ(treap.treap, nullptr);
}

TEST_F(Treap, StaysShallow) {
  constexpr int n = 20000;
  std::vector<mspan> spans(n);
  rt::mTreap treap{};
  Locked locked;
  for (int i = 0; i < n; i++) {
    spans[i].init((i + 1) * 0x1000000ull, 1 + i);  // in order: the worst that a plain tree can get
    treap.insert(&spans[i]);
  }
  int deepest = 0;
  for (auto& s : spans) {
    int depth = 0;
    for (rt::treapNode* t = treap.findSpan(&s); t != nullptr; t = t->parent) depth++;
    deepest = std::max(deepest, depth);
  }
  EXPECT_LT(deepest, 60);
  for (auto& s : spans) treap.removeSpan(&s);
}

// Manual spans of many sizes, taken and freed at random.
TEST_F(MHeap, SpansNeverOverlapAndFreeOnesAreMerged) {
  std::vector<mspan*> have;
  std::map<std::uintptr_t, std::uintptr_t> taken;  // base → end
  for (int step = 0; step < 3000; step++) {
    if (have.empty() || random(5) < 3) {
      std::uint64_t n = random(10) == 0 ? 1 + random(2000) : 1 + random(40);
      mspan* s = rt::mheap_.allocManual(n, rt::spanOther, &rt::memstats.manual_inuse, 0);
      ASSERT_NE(s, nullptr);
      ASSERT_EQ(s->npages, n);
      ASSERT_EQ(s->state.load(), rt::mSpanManual);
      auto after = taken.lower_bound(s->base());
      ASSERT_TRUE(after == taken.end() || after->first >= s->base() + s->bytes());
      ASSERT_TRUE(after == taken.begin() || std::prev(after)->second <= s->base());
      taken[s->base()] = s->base() + s->bytes();
      for (std::uintptr_t page = s->base(); page < s->base() + s->bytes(); page += rt::pageSize) {
        auto* word = reinterpret_cast<volatile std::uint64_t*>(page);
        ASSERT_TRUE(s->needzero || *word == 0) << "said to be zero and is not";
        *word = page;
      }
      have.push_back(s);
    } else {
      std::swap(have[random(have.size())], have.back());
      mspan* s = have.back();
      have.pop_back();
      taken.erase(s->base());
      s->allocCount = 0;
      rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
    }
    if (step % 500 == 0) {
      ASSERT_EQ(checkedheap(), 0);
    }
  }
  for (mspan* s : have) {
    s->allocCount = 0;
    rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
  }
  EXPECT_EQ(rt::memstats.manual_inuse, 0u);
}

TEST_F(MHeap, NeighboursThatAreFreedInAnyOrderBecomeOneSpan) {
  for (int order = 0; order < 6; order++) {
    mspan* whole = rt::mheap_.allocManual(300, rt::spanOther, &rt::memstats.manual_inuse, 0);
    std::uintptr_t base = whole->base();
    whole->allocCount = 0;
    rt::mheap_.freeManual(whole, &rt::memstats.manual_inuse, false);
    mspan* three[3];  // best fit, lowest first: out of the one that was just freed, or of one that fits better
    for (auto& s : three) s = rt::mheap_.allocManual(100, rt::spanOther, &rt::memstats.manual_inuse, 0);
    bool together = three[1]->base() == three[0]->base() + three[0]->bytes() &&
                    three[2]->base() == three[1]->base() + three[1]->bytes();
    int permutation[] = {0, 1, 2};
    for (int i = 0; i < order; i++) std::next_permutation(permutation, permutation + 3);
    std::uintptr_t lowest = three[0]->base();
    for (int i : permutation) {
      three[i]->allocCount = 0;
      rt::mheap_.freeManual(three[i], &rt::memstats.manual_inuse, false);
    }
    if (!together) continue;
    Locked locked;
    mspan* s = rt::spanOf(lowest);
    if (s->base() > lowest || s->base() + s->bytes() < lowest + 300 * rt::pageSize) {
      s = rt::spanOf(lowest + 300 * rt::pageSize - 1);
      EXPECT_TRUE(s->base() <= lowest && s->state.load() == rt::mSpanFree) << order << " " << base;
    }
  }
}

// A scavenged span becomes used as a whole, and its tail is next to one that is used, and free as well.
TEST_F(MHeap, TheTailOfAScavengedSpanMergesWithTheFreeOneBehindIt) {
  auto take = [](std::uintptr_t pages) {
    mspan* s = rt::mheap_.allocManual(pages, rt::spanOther, &rt::memstats.manual_inuse, 0);
    s->allocCount = 0;
    return s;
  };
  auto give = [](mspan* s) { rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false); };
  // Until three lie next to each other: what is free elsewhere, and fits better, is taken first.
  std::vector<mspan*> elsewhere;
  mspan *first = nullptr, *second = nullptr, *after = nullptr;
  for (int i = 0; i < 100 && after == nullptr; i++) {
    mspan* whole = take(1100);
    std::uintptr_t at = whole->base();
    give(whole);
    first = take(500);
    if (first->base() != at) {
      elsewhere.push_back(first);
      continue;
    }
    second = take(300);
    after = second->base() == at + first->bytes() ? take(300) : nullptr;
    if (after != nullptr && after->base() == second->base() + second->bytes()) break;
    elsewhere.push_back(second);
    if (after != nullptr) elsewhere.push_back(after);
    after = nullptr;
    give(first);
  }
  ASSERT_NE(after, nullptr);
  std::uintptr_t base = first->base();
  give(first);
  rt::scavengeAll();
  give(second);
  mspan* again = take(490);  // more than the second: what has memory is preferred
  EXPECT_EQ(again->base(), base);
  EXPECT_EQ(checkedheap(), 0);
  give(again);
  give(after);
  for (mspan* s : elsewhere) give(s);
}

TEST_F(MHeap, SpanOfKnowsEachPageOfASpanAndNothingElse) {
  mspan* s = rt::mheap_.alloc(7, rt::makeSpanClass(0, true), true);
  ASSERT_NE(s, nullptr);
  s->allocCount = 1;
  s->freeindex = 1;
  for (std::uintptr_t p = s->base(); p < s->base() + s->bytes(); p += 1000) {
    EXPECT_EQ(rt::spanOf(p), s);
    EXPECT_EQ(rt::spanOfHeap(p), s);
    EXPECT_EQ(rt::spanOfUnchecked(p), s);
  }
  EXPECT_NE(rt::spanOf(s->base() - 1), s);
  EXPECT_NE(rt::spanOf(s->base() + s->bytes()), s);
  s->limit = s->base() + 100;
  EXPECT_EQ(rt::spanOfHeap(s->base() + 100), nullptr) << "behind the last object";
  int local = 0;
  static int global;
  EXPECT_EQ(rt::spanOf(std::uintptr_t(&global)), nullptr);
  EXPECT_EQ(rt::spanOf(0), nullptr);
  EXPECT_EQ(rt::spanOf(8), nullptr);
  EXPECT_EQ(rt::spanOf(~std::uintptr_t(0)), nullptr);
  EXPECT_EQ(rt::spanOf(std::uintptr_t(1) << 48), nullptr);
  EXPECT_EQ(rt::spanOfHeap(std::uintptr_t(&local)), nullptr) << "a goroutine's stack is not the collector's";
  std::uintptr_t base = s->base();
  s->allocCount = 0;
  rt::mheap_.freeSpan(s, true);
  EXPECT_EQ(rt::spanOfHeap(base), nullptr);
}

TEST_F(MHeap, ALargeSpanCrossesArenas) {
  constexpr std::uintptr_t pages = 3 * rt::pagesPerArena + 5;
  mspan* s = rt::mheap_.allocManual(pages, rt::spanOther, &rt::memstats.manual_inuse, 0);
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(rt::spanOf(s->base() + s->bytes() - 1), s);
  EXPECT_EQ(rt::spanOf(s->base() + s->bytes() / 2), s);
  s->allocCount = 0;
  rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
}

std::size_t resident(std::uintptr_t base, std::size_t bytes) {
  std::vector<unsigned char> pages(bytes / 4096);
  mincore(reinterpret_cast<void*>(base), bytes, pages.data());
  return std::size_t(std::count_if(pages.begin(), pages.end(), [](unsigned char c) { return c & 1; })) * 4096;
}

TEST_F(MHeap, ScavengingGivesPagesBackThatReadAsZeroAgain) {
  mspan* s = rt::mheap_.allocManual(512, rt::spanOther, &rt::memstats.manual_inuse, 0);
  std::uintptr_t base = s->base(), bytes = s->bytes();
  std::memset(reinterpret_cast<void*>(base), 0x5a, bytes);
  EXPECT_EQ(resident(base, bytes), bytes);
  s->allocCount = 0;
  rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
  std::uint64_t retained = rt::heapRetained();
  EXPECT_GE(rt::scavengeAll(), bytes);
  EXPECT_LE(rt::heapRetained(), retained - bytes);
  EXPECT_EQ(resident(base, bytes), 0u);
  s = rt::mheap_.allocManual(512, rt::spanOther, &rt::memstats.manual_inuse, 0);
  EXPECT_EQ(s->needzero, 0);
  EXPECT_EQ(*reinterpret_cast<volatile char*>(s->base() + 12345), 0);
  s->allocCount = 0;
  rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
}

TEST_F(MHeap, ScavengeLockedGivesBackAboutWhatWasAsked) {
  mspan* spans[16];
  for (auto& s : spans) s = rt::mheap_.allocManual(64, rt::spanOther, &rt::memstats.manual_inuse, 0);
  rt::scavengeAll();
  for (int i = 0; i < 16; i += 2) {
    spans[i]->allocCount = 0;
    rt::mheap_.freeManual(spans[i], &rt::memstats.manual_inuse, false);
  }
  std::uint64_t before = rt::heapRetained();
  {
    Locked locked;
    rt::mheap_.scavengeCredit = 0;
    EXPECT_EQ(rt::mheap_.scavengeLocked(1), 64 * rt::pageSize);
    EXPECT_EQ(rt::mheap_.scavengeLocked(1), 1u) << "from the credit";
  }
  EXPECT_EQ(rt::heapRetained(), before - 64 * rt::pageSize);
  for (int i = 1; i < 16; i += 2) {
    spans[i]->allocCount = 0;
    rt::mheap_.freeManual(spans[i], &rt::memstats.manual_inuse, false);
  }
}

TEST_F(MHeap, WithLargePhysicalPagesBordersBetweenUsedAndGivenBackAreTheirs) {
  std::uintptr_t real = rt::physPageSize;
  rt::physPageSize = 64 << 10;
  std::vector<mspan*> have;
  for (int step = 0; step < 400; step++) {
    if (have.empty() || random(2) == 0) {
      have.push_back(rt::mheap_.allocManual(1 + random(30), rt::spanOther, &rt::memstats.manual_inuse, 0));
      std::memset(reinterpret_cast<void*>(have.back()->base()), 1, have.back()->bytes());
    } else {
      std::swap(have[random(have.size())], have.back());
      have.back()->allocCount = 0;
      rt::mheap_.freeManual(have.back(), &rt::memstats.manual_inuse, false);
      have.pop_back();
    }
    if (random(20) == 0) {
      Locked locked;
      rt::mheap_.scavengeLocked(100 << 10);
    }
    for (mspan* s : have) {
      ASSERT_EQ(*reinterpret_cast<volatile char*>(s->base() + s->bytes() - 1), 1) << "memory in use was given back";
    }
  }
  for (mspan* s : have) {
    s->allocCount = 0;
    rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
  }
  rt::scavengeAll();
  rt::physPageSize = real;
  std::uint64_t released = 0;
  Locked locked;  // with the real size more may count as given back than did
  for (std::int64_t i = 0; i < rt::mheap_.allspans.len; i++)
    if (mspan* s = rt::mheap_.allspans.array[i]; s->state.load() == rt::mSpanFree) released += s->released();
  rt::memstats.heap_released = released;
}

// Of memory that is got at once, what the span does not take is free, counts as having memory, is used next, and goes back.
TEST_F(MHeap, AWindowOfMemoryIsFreeAndNotScavenged) {
  void* probe = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool can = madvise(probe, 4096, 23) == 0;  // MADV_POPULATE_WRITE
  munmap(probe, 4096);
  constexpr std::uintptr_t window = 64 << 10;
  vitrine::no_preempt pinned;
  const auto sc = rt::makeSpanClass(rt::sizeToClass(6144), true);  // spans of three pages: the window ends in the third
  rt::scavengeAll();
  const std::uint64_t retained = rt::heapRetained();
  mspan *s[4], *left = nullptr;
  ASSERT_EQ(rt::mheap_.allocSmall(3, sc, 1, window, &s[0]), 1u);
  const std::uintptr_t base = s[0]->base();
  {
    Locked locked;
    left = rt::spanOf(base + s[0]->bytes());
    ASSERT_EQ(left->state.load(), rt::mSpanFree);
    EXPECT_EQ(left->npages, 5u);
    EXPECT_EQ(left->scavenged + left->needzero, 0);
    mspan* behind = rt::spanOf(base + window);
    EXPECT_EQ(behind->state.load(), rt::mSpanFree);
    EXPECT_EQ(behind->scavenged, 1);
    EXPECT_EQ(resident(behind->base(), 4096), 0u) << "more than was asked for";
  }
  if (can) {
    EXPECT_EQ(resident(base, window), window);
  }
  EXPECT_EQ(rt::heapRetained(), retained + window);
  ASSERT_EQ(rt::mheap_.allocSmall(3, sc, 1, window, &s[1]), 1u);
  EXPECT_EQ(s[1]->base(), base + s[0]->bytes()) << "what has memory comes first";
  EXPECT_EQ(rt::heapRetained(), retained + window);
  ASSERT_EQ(rt::mheap_.allocSmall(3, sc, 2, window, &s[2]), 2u);
  EXPECT_EQ(rt::heapRetained(), retained + 2 * window) << "one window for both";
  for (mspan* span : s) rt::mheap_.freeSpan(span, false);
  rt::scavengeAll();
  EXPECT_EQ(resident(base, window), 0u);
  EXPECT_EQ(rt::heapRetained(), retained);
}

// Whether the kernel may give that page a huge one.
bool mayBeHuge(std::uintptr_t at) {
  std::ifstream smaps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t lo, hi;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2) here = lo <= at && at < hi;
    if (here && line.rfind("VmFlags:", 0) == 0) return (line + " ").find(" hg ") != std::string::npos;
  }
  return false;
}

struct hugeheap {
  const std::uint8_t sc = rt::makeSpanClass(rt::sizeToClass(1024), true);
  std::vector<mspan*> spans;
  mspan* large;
  mspan* huge = nullptr;  // the last of spans: it begins a block with huge pages

  explicit hugeheap(bool enough) {
    rt::scavengeAll();
    large = rt::mheap_.alloc_m(enough ? 2048 : 1, rt::makeSpanClass(0, true));
    for (int i = 0; i < (enough ? 64 : 16) && huge == nullptr; i++) {
      mspan* s = nullptr;
      EXPECT_EQ(rt::mheap_.allocSmall(64, sc, 1, 0, &s), 1u);
      spans.push_back(s);
      Locked locked;
      if (rt::mheap_.hasHuge(s->base(), s->base() + s->bytes())) huge = s;
    }
    if (huge != nullptr) rt::mheap_.touchCold(huge, false);
  }
  ~hugeheap() {
    for (mspan* s : spans) rt::mheap_.freeSpan(s, false);
    rt::mheap_.freeSpan(large, true);
  }
};

bool hasHuge(std::uintptr_t base, std::uintptr_t bytes) {
  Locked locked;
  return rt::mheap_.hasHuge(base, base + bytes);
}

TEST_F(MHeap, SmallObjectsHaveHugePagesWhenThereAreMany) {
  if (!systemHasHugePages()) GTEST_SKIP() << "this system has none";
  vitrine::no_preempt pinned;
  ASSERT_LT(rt::memstats.heap_inuse, 8u << 20);
  { EXPECT_EQ(hugeheap(false).huge, nullptr) << "too few objects"; }
  rt::scavengeAll();
  const std::uint64_t retained = rt::heapRetained();
  {
    hugeheap h(true);
    ASSERT_NE(h.huge, nullptr);
    const std::uintptr_t block = rt::alignUp(h.huge->base(), rt::hugeBlockBytes);
    EXPECT_TRUE(mayBeHuge(block));
    EXPECT_FALSE(mayBeHuge(h.large->base()));
    *reinterpret_cast<volatile char*>(block) = 1;
    {
      Locked locked;
      mspan* rest = rt::spanOf(block + rt::hugeBlockBytes - 1);
      ASSERT_EQ(rest->state.load(), rt::mSpanFree);
      EXPECT_EQ(rest->base(), h.huge->base() + h.huge->bytes());
      EXPECT_EQ(rest->base() + rest->bytes(), block + rt::hugeBlockBytes);
      EXPECT_EQ(rest->scavenged, 0) << "it has memory";
    }
    std::uint64_t used = h.large->bytes() + rt::hugeBlockBytes;
    for (mspan* s : h.spans) used += s == h.huge ? block - s->base() : s->bytes();
    EXPECT_EQ(rt::heapRetained(), retained + used);
  }
  rt::scavengeAll();
  EXPECT_EQ(rt::heapRetained(), retained);
  for (std::int64_t i = 0; i < rt::mheap_.allArenas.len; i++)
    EXPECT_FALSE(hasHuge(rt::mheap_.allArenas.array[i], rt::heapArenaBytes)) << "what is given back has small pages";
}

TEST_F(MHeap, StacksAreInNoBlockOfHugePages) {
  if (!systemHasHugePages()) GTEST_SKIP() << "this system has none";
  vitrine::no_preempt pinned;
  ASSERT_LT(rt::memstats.heap_inuse, 8u << 20);
  mspan* elsewhere = rt::mheap_.allocManual(1024, rt::spanOther, &rt::memstats.manual_inuse, 0);
  hugeheap h(true);
  ASSERT_NE(h.huge, nullptr);
  const std::uintptr_t block = rt::alignUp(h.huge->base(), rt::hugeBlockBytes);
  *reinterpret_cast<volatile char*>(block) = 1;
  elsewhere->allocCount = 0;
  rt::mheap_.freeManual(elsewhere, &rt::memstats.manual_inuse, false);
  mspan* stack = rt::mheap_.allocManual(16, rt::spanStackLarge, &rt::memstats.manual_inuse, 0);
  EXPECT_FALSE(stack->base() >= block && stack->base() < block + rt::hugeBlockBytes) << "another place would do";
  EXPECT_TRUE(hasHuge(block, 1));
  // None would.
  mspan* other;
  {
    Locked locked;
    rt::treapNode* t = rt::mheap_.free.findSpan(rt::spanOf(h.huge->base() + h.huge->bytes()));
    ASSERT_NE(t, nullptr);
    other = rt::mheap_.takePages(t, 16, rt::forStacks, &rt::memstats.manual_inuse);
    other->owner = rt::spanStackLarge;
    other->allocCount = 1;
    other->state.store(rt::mSpanManual);
  }
  EXPECT_EQ(other->base(), h.huge->base() + h.huge->bytes());
  EXPECT_EQ(resident(other->base(), other->bytes()), 0u) << "a stack's memory comes when it is touched";
  EXPECT_FALSE(hasHuge(block, rt::hugeBlockBytes));
  EXPECT_FALSE(mayBeHuge(other->base()));
  for (mspan* s : {stack, other}) {
    s->allocCount = 0;
    rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
  }
}

TEST_F(MHeap, MapsHaveNamesWhereTheKernelCan) {
  std::ifstream maps("/proc/self/maps");
  bool heap = false, names = false;
  for (std::string line; std::getline(maps, line);) {
    names = names || line.find("[anon:") != std::string::npos;
    heap = heap || line.find("[anon:vitrine: heap]") != std::string::npos;
  }
  if (!names) GTEST_SKIP() << "this kernel has no names for anonymous memory";
  EXPECT_TRUE(heap);
}

TEST_F(Fixalloc, FreedObjectsComeBackZeroedAndFirstIsCalledOnce) {
  static int firsts;
  firsts = 0;
  std::uint64_t stat = 0;
  rt::fixalloc f;
  f.init(
      40, "test", [](void*, void*) { firsts++; }, nullptr, &stat);
  std::set<void*> objects;
  for (int i = 0; i < 1000; i++) {
    void* p = f.alloc();
    EXPECT_EQ(std::uintptr_t(p) % 8, 0u);
    EXPECT_TRUE(objects.insert(p).second);
    std::memset(p, 0xff, 40);
  }
  EXPECT_EQ(firsts, 1000);
  EXPECT_EQ(f.inuse, 40000u);
  EXPECT_GE(stat, 40000u);
  for (void* p : objects) f.free(p);
  EXPECT_EQ(f.inuse, 0u);
  std::uint64_t before = stat;
  for (int i = 0; i < 1000; i++) {
    auto* p = static_cast<unsigned char*>(f.alloc());
    EXPECT_TRUE(objects.count(p)) << "memory of another";
    EXPECT_TRUE(std::all_of(p, p + 40, [](unsigned char c) { return c == 0; }));
  }
  EXPECT_EQ(firsts, 1000);
  EXPECT_EQ(stat, before);
}

TEST_F(MHeap, TheSetForSweepersKeepsEachSpanOnceWhenManyPush) {
  static rt::gcSweepBuf buf;
  constexpr int threads = 4, each = 3000;
  std::vector<mspan> spans(threads * each);
  std::vector<std::thread> pushers;
  for (int t = 0; t < threads; t++)
    pushers.emplace_back([&, t] {
      for (int i = 0; i < each; i++) buf.push(&spans[t * each + i]);
    });
  for (auto& t : pushers) t.join();
  EXPECT_EQ(buf.numBlocks(), (threads * each + 511) / 512u);
  std::set<mspan*> got;
  while (mspan* s = buf.pop()) EXPECT_TRUE(got.insert(s).second);
  EXPECT_EQ(got.size(), spans.size());
  EXPECT_EQ(buf.pop(), nullptr);
}

}  // namespace
