// malloc_test.cc: objects — size classes, tiny and large ones, pointer bits, statistics, and the runtime's own objects
// that are freed by hand.
#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "heapfixture.h"

namespace {

using rt::mspan;

class Malloc : public Heap {};
class Freeobject : public Heap {};

bool zero(const void* p, std::size_t n) {
  auto* c = static_cast<const unsigned char*>(p);
  return std::all_of(c, c + n, [](unsigned char b) { return b == 0; });
}

// The mcache of this goroutine's P at this moment.
rt::mcache* mycache() {
  rt::m* mp = rt::acquirem();
  rt::mcache* c = mp->p->mcache;
  rt::releasem(mp);
  return c;
}

const std::uint8_t everyword[64] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
const std::uint8_t odd[] = {0b101};
const rt::_type pair{32, 24, 8, 0, odd, {"pair", 4}};  // words 0 and 2 of 4
const std::uint8_t thirds[] = {0b10010010, 0b01};
const rt::_type ten{80, 72, 8, 0, thirds, {"ten", 3}};  // words 1, 4, 7 and 8 of 10
const rt::_type pointer{8, 8, 8, 0, everyword, {"pointer", 7}};

TEST_F(Malloc, EverySizeHasTheSmallestClassThatHoldsIt) {
  for (std::uintptr_t size = 1; size <= rt::maxSmallSize; size++) {
    std::uint8_t c = rt::sizeToClass(size);
    ASSERT_LT(c, rt::numSizeClasses);
    ASSERT_GE(rt::class_to_size[c], size);
    ASSERT_LT(rt::class_to_size[c - 1], size);
  }
  EXPECT_EQ(rt::roundupsize(1), 8u);
  EXPECT_EQ(rt::roundupsize(32769), 40960u);
  EXPECT_EQ(rt::roundupsize(~std::uintptr_t(0)), ~std::uintptr_t(0));
}

TEST_F(Malloc, EveryClassGivesZeroedObjectsThatDoNotOverlap) {
  for (int noscan = 0; noscan < 2; noscan++) {
    std::map<std::uintptr_t, std::uintptr_t> taken;
    for (int c = 1; c < rt::numSizeClasses; c++) {
      std::uintptr_t size = rt::class_to_size[c];
      if (noscan && size < 16) continue;
      const std::vector<std::uint8_t> bits(size / 64 + 1, 255);
      rt::_type t{size, noscan ? 0 : size, 8, 0, bits.data(), {"t", 1}};
      int n = int(std::min<std::uintptr_t>(1100, 3 * rt::class_to_allocnpages[c] * rt::pageSize / size));
      for (int i = 0; i < n; i++) {
        void* p = rt::mallocgc(size, &t, true);
        ASSERT_TRUE(zero(p, size)) << "class " << c;
        std::memset(p, 0xee, size);
        auto at = std::uintptr_t(p);
        auto after = taken.lower_bound(at);
        ASSERT_TRUE(after == taken.end() || after->first >= at + size) << "class " << c;
        ASSERT_TRUE(after == taken.begin() || std::prev(after)->second <= at) << "class " << c;
        taken[at] = at + size;
        mspan* s = rt::spanOfHeap(at);
        ASSERT_NE(s, nullptr);
        ASSERT_EQ(s->spanclass, rt::makeSpanClass(std::uint8_t(c), noscan != 0));
        ASSERT_EQ(s->base() + s->objIndex(at) * s->elemsize, at);
        ASSERT_EQ(s->objIndex(at + size - 1), s->objIndex(at));
        ASSERT_FALSE(s->isFree(s->objIndex(at)));
      }
    }
  }
}

TEST_F(Malloc, TinyObjectsShareBlocksAlignedAsTheirSizesNeed) {
  std::map<std::uintptr_t, std::uintptr_t> taken;
  std::set<std::uintptr_t> blocks;
  for (int i = 0; i < 2000; i++) {
    std::uintptr_t size = 1 + random(15);
    auto p = std::uintptr_t(rt::mallocgc(size, nullptr, true));
    EXPECT_EQ(p % (size % 8 == 0 ? 8 : size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1), 0u);
    EXPECT_TRUE(zero(reinterpret_cast<void*>(p), size));
    std::memset(reinterpret_cast<void*>(p), 0xee, size);
    EXPECT_EQ(p / 16, (p + size - 1) / 16);
    auto after = taken.lower_bound(p);
    ASSERT_TRUE(after == taken.end() || after->first >= p + size);
    ASSERT_TRUE(after == taken.begin() || std::prev(after)->second <= p);
    taken[p] = p + size;
    blocks.insert(p / 16);
  }
  EXPECT_LT(blocks.size(), 1500u);
}

TEST_F(Malloc, NothingHasOneAddress) {
  EXPECT_EQ(rt::mallocgc(0, nullptr, true), &rt::zerobase);
  EXPECT_EQ(rt::mallocgc(0, &pair, true), &rt::zerobase);
}

TEST_F(Malloc, LargeObjectsHaveSpansOfTheirOwn) {
  std::uint64_t before = rt::mheap_.nlargealloc;
  void* p = rt::mallocgc(100'000, nullptr, true);
  EXPECT_TRUE(zero(p, 100'000));
  mspan* s = rt::spanOfHeap(std::uintptr_t(p));
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(s->base(), std::uintptr_t(p));
  EXPECT_EQ(s->npages, 13u);
  EXPECT_EQ(s->nelems, 1u);
  EXPECT_EQ(rt::spansizeclass(s->spanclass), 0);
  EXPECT_EQ(s->objIndex(std::uintptr_t(p) + 99'999), 0u);
  EXPECT_EQ(s->limit, s->base() + 100'000);
  EXPECT_EQ(rt::mheap_.nlargealloc, before + 1);
}

// What the bitmap says of n words from p.
std::string bitsof(void* p, int n) {
  std::string text;
  rt::heapBits h = rt::heapBitsForAddr(std::uintptr_t(p));
  for (int i = 0; i < n; i++, h = h.next()) text += h.isPointer() ? 'p' : h.morePointers() ? 's' : '.';
  return text;
}

TEST_F(Malloc, PointerBitsAreTheTypesRepeated) {
  EXPECT_EQ(bitsof(rt::newobject(&pair), 4), "psp.");
  EXPECT_EQ(bitsof(rt::newobject(&pointer), 1), "p");
  EXPECT_EQ(bitsof(rt::mallocgc(3 * pair.size, &pair, true), 12), "pspspspspsp.");
  // 80 bytes of 96: the rest of the slot has no pointers.
  EXPECT_EQ(bitsof(rt::mallocgc(10 * pointer.size + 8, &pointer, true), 12), "ppppppppppp.");
  void* large = rt::mallocgc(5000 * pair.size, &pair, true);
  EXPECT_EQ(bitsof(large, 8), "pspspsps");
  auto* end = static_cast<char*>(large) + 5000 * pair.size;
  EXPECT_EQ(bitsof(end - 32, 5), "psp..");
}

// Values and arrays of types with any bits, beside each other: what is in the bitmap is what a simple loop would write.
TEST_F(Malloc, PointerBitsOfAnyTypeAndLength) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto below = [&](std::uintptr_t n) { return std::uintptr_t(random() % n); };
  void* made[16] = {};  // on the stack, where a collection finds them
  std::string want[16];
  for (int i = 0; i < 1000; i++) {
    void*& p = made[i % 16];
    std::string& text = want[i % 16];
    ASSERT_TRUE(p == nullptr || bitsof(p, int(text.size())) == text) << "seed " << seed;  // whatever was made since
    const std::uintptr_t ptrwords = 1 + below(i % 3 ? 70 : 700), words = ptrwords + below(2) * below(40);
    std::vector<std::uint8_t> bits((ptrwords + 7) / 8);
    for (auto& b : bits) b = std::uint8_t(random());  // those behind the last word mean nothing
    bits[(ptrwords - 1) / 8] |= std::uint8_t(1 << (ptrwords - 1) % 8);
    const rt::_type t{words * 8, ptrwords * 8, 8, 0, bits.data(), {"any", 3}};
    const std::uintptr_t n = below(2) ? 1 : 1 + below(i % 50 ? 10 : 1000);
    text.clear();
    for (std::uintptr_t w = 0; w < n * words; w++) {
      const std::uintptr_t in = w % words;
      text += in < ptrwords && bits[in / 8] >> in % 8 & 1 ? 'p' : w < (n - 1) * words + ptrwords ? 's' : '.';
    }
    p = rt::mallocgc(n * words * 8, &t, true);
    ASSERT_EQ(bitsof(p, int(text.size())), text) << "seed " << seed;
  }
}

TEST_F(Malloc, NeighboursKeepTheirBits) {
  std::vector<void*> pointers, pairs, tens;
  for (int i = 0; i < 3000; i++) {
    pointers.push_back(rt::newobject(&pointer));
    pairs.push_back(rt::newobject(&pair));
    tens.push_back(rt::newobject(&ten));
  }
  for (void* p : pointers) ASSERT_EQ(bitsof(p, 1), "p");
  for (void* p : pairs) ASSERT_EQ(bitsof(p, 4), "psp.");
  // They begin at the first or the third word of a byte of the bitmap.
  for (void* p : tens) ASSERT_EQ(bitsof(p, 10), "spsspsspp.");
}

TEST_F(Malloc, EverybodyAllocatesAtOnce) {
  constexpr int goroutines = 8, each = 4000;
  std::vector<std::vector<std::uint64_t*>> got(goroutines + 2);
  auto work = [&](int who) {
    for (int i = 0; i < each; i++) {
      auto* p = static_cast<std::uint64_t*>(rt::mallocgc(16 + (i * 37 + who) % 500, nullptr, true));
      EXPECT_EQ(p[0] | p[1], 0u);
      p[0] = p[1] = std::uint64_t(who) << 32 | unsigned(i);
      got[who].push_back(p);
      if (i % 64 == 0 && rt::getg() != nullptr) vitrine::yield();
    }
  };
  std::thread foreign[] = {std::thread(work, goroutines), std::thread(work, goroutines + 1)};
  vitrine::wait_group wg;
  for (int i = 0; i < goroutines; i++) wg.go([&, i] { work(i); });
  wg.wait();
  for (auto& t : foreign) t.join();
  std::set<void*> all;
  for (std::size_t who = 0; who < got.size(); who++)
    for (int i = 0; i < each; i++) {
      EXPECT_TRUE(all.insert(got[who][i]).second);
      EXPECT_EQ(got[who][i][1], std::uint64_t(who) << 32 | unsigned(i));
    }
}

TEST_F(Malloc, MemStatsCountObjects) {
  auto before = vitrine::runtime::mem_stats();
  for (int i = 0; i < 1000; i++) rt::mallocgc(200, nullptr, true);
  for (int i = 0; i < 50; i++) rt::mallocgc(5, nullptr, true);
  rt::mallocgc(1 << 20, nullptr, true);
  auto after = vitrine::runtime::mem_stats();
  EXPECT_EQ(after.by_size[rt::sizeToClass(200)].mallocs - before.by_size[rt::sizeToClass(200)].mallocs, 1000u);
  EXPECT_EQ(after.by_size[rt::sizeToClass(200)].size, 208u);
  EXPECT_GE(after.mallocs - before.mallocs, 1051u);
  EXPECT_GE(after.total_alloc - before.total_alloc, 1000 * 208u + (1 << 20));
  EXPECT_EQ(after.heap_inuse + after.heap_idle, after.heap_sys);
  EXPECT_GE(after.sys, after.heap_sys + after.stack_sys);
  EXPECT_GE(after.heap_idle, after.heap_released);
  EXPECT_GT(after.stack_inuse, 0u);
}

TEST_F(Malloc, SamplesRememberWhoAllocated) {
  std::int32_t rate = rt::MemProfileRate;
  rt::store_relaxed(rt::MemProfileRate, 1);
  rt::mcache* c = mycache();
  c->next_sample = 0;
  void* p = rt::mallocgc(1000, nullptr, true);
  rt::store_relaxed(rt::MemProfileRate, rate);
  mspan* s = rt::spanOfHeap(std::uintptr_t(p));
  rt::special* sp = s->specials;
  while (sp != nullptr && s->base() + sp->offset != std::uintptr_t(p)) sp = sp->next;
  ASSERT_NE(sp, nullptr);
  EXPECT_EQ(sp->kind, rt::kindSpecialProfile);
  EXPECT_EQ(reinterpret_cast<rt::specialprofile*>(sp)->size, 1000u);
  EXPECT_EQ(reinterpret_cast<rt::specialprofile*>(sp)->goid, vitrine::goid());
  for (sp = s->specials; sp != nullptr && sp->next != nullptr; sp = sp->next) EXPECT_LE(sp->offset, sp->next->offset);
}

TEST_F(Malloc, AFlushedMcacheGivesItsSpansUp) {
  for (int i = 0; i < 100; i++) rt::mallocgc(100, nullptr, true);
  rt::withworldstopped(
      "test",
      [](void*) {
        for (std::int64_t i = 0; i < rt::nallp(); i++) {
          rt::mcache* c = rt::allp.array[i]->mcache;
          c->releaseAll();
          for (mspan* s : c->alloc) EXPECT_EQ(s, &rt::emptymspan);
          for (auto& a : c->ahead) EXPECT_EQ(a.n + a.want, 0u);
          EXPECT_EQ(c->tiny, 0u);
        }
      },
      nullptr);
  EXPECT_EQ(checkedheap(), 0);
  mspan* s = rt::mheap_.central[rt::makeSpanClass(rt::sizeToClass(100), true)].mcentral.nonempty.first;
  ASSERT_NE(s, nullptr);
  std::uintptr_t had = s->allocCount;
  void* p = rt::mallocgc(100, nullptr, true);
  EXPECT_EQ(rt::spanOf(std::uintptr_t(p)), s) << "the span with free objects is used before a new one";
  EXPECT_EQ(s->allocCount, had + 1);
}

// As many spans come with the next as were asked for, are used in their order, and count as free until then; what was not
// used is free memory again after a flush.
TEST_F(Malloc, SpansThatWereTakenAheadAreUsedNextOrGivenBack) {
  constexpr std::uintptr_t size = 6784;  // a class of its own here: spans of 5 pages with 6 objects
  const rt::spanClass sc = rt::makeSpanClass(rt::sizeToClass(size), true);
  auto taken = [] { return vitrine::runtime::mem_stats().mallocs; };
  auto inuse = [] { return vitrine::runtime::mem_stats().heap_inuse; };
  std::uint64_t used = 0, was = inuse();
  struct {
    rt::spanClass sc;
    rt::spansAhead* a;
  } here{sc, nullptr};
  vitrine::no_preempt pinned;  // one P all the time
  here.a = &mycache()->ahead[sc];
  here.a->want = 2;
  std::uint64_t before = taken();
  void* first = rt::mallocgc(size, nullptr, true);
  used++;
  ASSERT_EQ(here.a->n, 2u);
  EXPECT_EQ(taken() - before, 1u) << "what is ahead counts as free";
  EXPECT_EQ(checkedheap(), 0);
  mspan* s = rt::spanOf(std::uintptr_t(first));
  mspan* next = here.a->slot[1];
  EXPECT_EQ(next->base(), s->base() + s->bytes()) << "neighbours, lowest first";
  void* p = first;
  while (rt::spanOf(std::uintptr_t(p)) == s) p = rt::mallocgc(size, nullptr, true), used++;
  EXPECT_EQ(rt::spanOf(std::uintptr_t(p)), next);
  EXPECT_EQ(here.a->n, 1u);
  EXPECT_EQ(taken() - before, used);
  EXPECT_EQ(checkedheap(), 0);
  mspan* last = here.a->slot[0];
  EXPECT_EQ(inuse() - was, 3 * s->bytes());
  std::uint64_t live = rt::load_relaxed(rt::memstats.heap_live);
  rt::withworldstopped(
      "test", [](void*) { mycache()->releaseAll(); }, nullptr);
  EXPECT_EQ(here.a->n + here.a->want, 0u);
  EXPECT_EQ(last->state.load(), rt::mSpanFree);
  EXPECT_EQ(inuse() - was, 2 * s->bytes());
  EXPECT_GE(live - rt::load_relaxed(rt::memstats.heap_live), last->bytes() / size * size);
  EXPECT_EQ(taken() - before, used);
  EXPECT_EQ(checkedheap(), 0);
}

// ---- what is freed by hand

// Whether a debugger would call it free.
bool isfree(void* p) {
  mspan* s = rt::spanOf(std::uintptr_t(p));
  if (s->state.load() != rt::mSpanManual || s->owner != rt::spanRuntime) return true;
  std::uintptr_t i = s->objIndex(std::uintptr_t(p));
  if ((s->allocBits[i / 8] >> i % 8 & 1) == 0) return true;
  for (std::int64_t k = 0; k < rt::nallp(); k++) {
    rt::rawCache& r = rt::allp.array[k]->mcache->rawcache[rt::spansizeclass(s->spanclass)];
    if (std::find(r.slot, r.slot + r.n, p) != r.slot + r.n) return true;
  }
  return false;
}

TEST_F(Freeobject, ObjectsAreZeroedAlignedAndApart) {
  std::map<std::uintptr_t, std::uintptr_t> taken;
  for (int step = 0; step < 20000; step++) {
    if (taken.empty() || random(2) == 0) {
      std::uintptr_t size = random(20) == 0 ? random(100'000) : random(600);
      void* p = rt::allocobject(size);
      ASSERT_EQ(std::uintptr_t(p) % 16, 0u);
      ASSERT_TRUE(zero(p, size));
      std::memset(p, 0xdd, size);
      auto at = std::uintptr_t(p);
      auto after = taken.lower_bound(at);
      ASSERT_TRUE(after == taken.end() || after->first >= at + size);
      ASSERT_TRUE(after == taken.begin() || std::prev(after)->second <= at);
      taken[at] = at + size;
    } else {
      auto it = taken.lower_bound(std::next(taken.begin(), long(random(taken.size())))->first);
      rt::freeobject(reinterpret_cast<void*>(it->first));
      taken.erase(it);
    }
  }
  for (auto& [base, end] : taken) rt::freeobject(reinterpret_cast<void*>(base));
  rt::freeobject(nullptr);
}

TEST_F(Freeobject, TheLastFreedIsTheNextAllocated) {
  rt::m* mp = rt::acquirem();
  void* p = rt::allocobject(100);
  rt::freeobject(p);
  EXPECT_EQ(rt::allocobject(97), p);
  rt::freeobject(p);
  rt::releasem(mp);
}

TEST_F(Freeobject, WhatIsFreeIsSeenAsFree) {
  std::vector<void*> objects;
  for (int i = 0; i < 500; i++) objects.push_back(rt::allocobject(320));
  for (void* p : objects) EXPECT_FALSE(isfree(p));
  for (std::size_t i = 0; i < objects.size(); i += 2) rt::freeobject(objects[i]);
  for (std::size_t i = 0; i < objects.size(); i++) EXPECT_EQ(isfree(objects[i]), i % 2 == 0) << i;
  EXPECT_EQ(checkedheap(), 0);
  for (std::size_t i = 1; i < objects.size(); i += 2) rt::freeobject(objects[i]);
}

TEST_F(Freeobject, SpansWithoutObjectsGoBack) {
  std::uint64_t before = vitrine::runtime::mem_stats().runtime_inuse;
  std::vector<void*> objects;
  for (int i = 0; i < 2000; i++) objects.push_back(rt::allocobject(8192));
  EXPECT_GE(vitrine::runtime::mem_stats().runtime_inuse, before + 1900 * 8192);
  for (void* p : objects) rt::freeobject(p);
  EXPECT_LT(vitrine::runtime::mem_stats().runtime_inuse, before + 200 * 8192);
}

TEST_F(Freeobject, AnyThreadFreesWhatAnotherAllocated) {
  constexpr int n = 3000;
  vitrine::chan<std::uint64_t*> pipe(100);
  std::atomic<int> freed{0};
  vitrine::wait_group wg;
  for (int w = 0; w < 3; w++)
    wg.go([&, w] {
      for (int i = 0; i < n; i++) {
        auto* p = static_cast<std::uint64_t*>(rt::allocobject(64 + 16 * (i % 5)));
        *p = std::uint64_t(w) * n + i;
        pipe.send(p);
      }
    });
  auto drain = [&] {
    for (std::uint64_t* p : pipe) {
      EXPECT_LT(*p, 3u * n);
      rt::freeobject(p);
      freed++;
    }
  };
  std::thread foreign(drain);
  vitrine::wait_group drains;
  for (int i = 0; i < 3; i++) drains.go(drain);
  wg.wait();
  pipe.close();
  drains.wait();
  foreign.join();
  EXPECT_EQ(freed, 3 * n);
}

TEST_F(Freeobject, AProcessorThatGoesReturnsAllThatItKept) {
  std::atomic<std::uint32_t> seen{0};  // bit id: that P has such objects
  vitrine::wait_group wg;
  for (int i = 0; i < 8; i++)
    wg.go([&] {
      EXPECT_TRUE(eventually([&] {
        rt::m* mp = rt::acquirem();
        if (mp->p != nullptr) seen |= 1u << mp->p->id;
        rt::freeobject(rt::allocobject(27000));
        rt::releasem(mp);
        return (seen & ~1u) != 0;
      }));
    });
  wg.wait();
  int procs = vitrine::gomaxprocs();
  vitrine::gomaxprocs(1);
  EXPECT_EQ(checkedheap(), 0);
  std::uint8_t sc = rt::sizeToClass(27000);  // nobody else has such
  const rt::mcentral& c = rt::mheap_.runtime[sc].mcentral;
  EXPECT_EQ(c.nmalloc - c.nfree, rt::allp.array[0]->mcache->rawcache[sc].n);
  for (std::int32_t i = 1; i < procs; i++) EXPECT_EQ(rt::allp.array[i]->mcache, nullptr);
  std::uint32_t caches = rt::mheap_.cachealloc.inuse;
  EXPECT_EQ(caches, 2 * sizeof(rt::mcache)) << "one P's, and mcache0";
  vitrine::gomaxprocs(procs);
  for (std::int32_t i = 0; i < procs; i++) EXPECT_NE(rt::allp.array[i]->mcache, nullptr);
}

}  // namespace
