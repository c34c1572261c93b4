// stack_test.cc: goroutine stacks in the heap's spans: the pool, the caches of Ps, large ones, guards, and where freed
// memory goes.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "heapfixture.h"

namespace {

using rt::mspan;

class Stack : public Heap {};

struct FakeG {
  rt::g* gp = rt::galloc();  // never freed, as all g's; unknown to allgs
  explicit FakeG(std::uint64_t size) { EXPECT_TRUE(rt::stackalloc(gp, size)); }
  std::uintptr_t base() const { return gp->stack.hi - (std::uintptr_t(1) << gp->stackclass); }
};

// What a stack of so many bytes is in this build.
std::uintptr_t scaled(std::uintptr_t bytes) { return bytes << rt::stackScale; }

void clearcaches() {
  rt::withworldstopped(
      "test",
      [](void*) {
        for (std::int64_t i = 0; i < rt::nallp(); i++) rt::stackcache_clear(rt::allp.array[i]->mcache);
      },
      nullptr);
}

std::size_t spansof(rt::spanOwner owner) {
  std::size_t n = 0;
  rt::lock(&rt::mheap_.lock);
  for (std::int64_t i = 0; i < rt::mheap_.allspans.len; i++) {
    mspan* s = rt::mheap_.allspans.array[i];
    n += s->state.load() == rt::mSpanManual && s->owner == owner;
  }
  rt::unlock(&rt::mheap_.lock);
  return n;
}

TEST_F(Stack, EachOrderIsASlotOfASpanOfItsOrder) {
  for (std::uint32_t order = 0; order < rt::numStackOrders; order++) {
    FakeG f(std::uint64_t(16 << 10) << order);
    EXPECT_EQ(f.gp->stackclass, 14 + order + rt::stackScale);
    mspan* s = rt::spanOf(f.base());
    EXPECT_EQ(s, rt::spanOf(f.gp->stack.hi - 1));
    EXPECT_EQ(s->state.load(), rt::mSpanManual);
    EXPECT_EQ(s->owner, rt::spanStackPool);
    EXPECT_EQ(s->spanclass, order);
    EXPECT_EQ(s->elemsize, scaled(16 << 10) << order);
    EXPECT_EQ((f.base() - s->base()) % s->elemsize, 0u);
    EXPECT_EQ(s->slotguard[(f.base() - s->base()) / s->elemsize], f.gp->guard);
    *reinterpret_cast<volatile char*>(f.gp->stack.lo + 64) = 1;
    *reinterpret_cast<volatile char*>(f.gp->stack.hi - 1) = 1;
    rt::stackfree(f.gp);
    EXPECT_EQ(f.gp->stack.lo, 0u);
  }
}

TEST_F(Stack, ManyAtOnceNeverOverlap) {
  std::vector<rt::g*> have;
  std::set<std::uintptr_t> bases;
  for (int step = 0; step < 4000; step++) {
    if (have.size() < 20 || (have.size() < 300 && random(2) == 0)) {
      FakeG f(1 + random(400 << 10));
      EXPECT_TRUE(bases.insert(f.base()).second);
      *reinterpret_cast<volatile std::uint64_t*>(f.gp->stack.hi - 8) = f.base();
      have.push_back(f.gp);
    } else {
      std::swap(have[random(have.size())], have.back());
      rt::g* gp = have.back();
      have.pop_back();
      std::uintptr_t base = gp->stack.hi - (std::uintptr_t(1) << gp->stackclass);
      EXPECT_EQ(*reinterpret_cast<volatile std::uint64_t*>(gp->stack.hi - 8), base);
      bases.erase(base);
      rt::stackfree(gp);
    }
  }
  for (rt::g* gp : have) rt::stackfree(gp);
}

TEST_F(Stack, SpansWithoutStacksGoBackToTheHeapWithoutGuards) {
  clearcaches();
  std::size_t before = spansof(rt::spanStackPool);
  std::vector<FakeG> stacks;
  for (int i = 0; i < 200; i++) stacks.emplace_back(32 << 10);
  std::uintptr_t base = rt::spanOf(stacks[100].base())->base();
  EXPECT_GE(spansof(rt::spanStackPool), before + 6);
  for (auto& f : stacks) {
    *reinterpret_cast<volatile char*>(f.gp->stack.hi - 1) = 1;
    rt::stackfree(f.gp);
  }
  clearcaches();
  EXPECT_LE(spansof(rt::spanStackPool), before);
  std::vector<mspan*> taken;
  for (bool found = false; !found && taken.size() < 1000;) {
    mspan* s =
        rt::mheap_.allocManual(scaled(rt::stackSpanBytes) / rt::pageSize, rt::spanOther, &rt::memstats.manual_inuse, 0);
    found = s->base() <= base && base < s->base() + s->bytes();
    if (found) {
      EXPECT_EQ(s->needzero, 0) << "pages of stacks were not given back";
    }
    std::memset(reinterpret_cast<void*>(s->base()), 1, s->bytes());  // would fault on a guard
    taken.push_back(s);
  }
  EXPECT_LT(taken.size(), 1000u) << "the memory of the stacks was not there to be had";
  for (mspan* s : taken) {
    s->allocCount = 0;
    rt::mheap_.freeManual(s, &rt::memstats.manual_inuse, false);
  }
}

std::size_t resident(std::uintptr_t base, std::size_t bytes) {
  std::vector<unsigned char> pages(bytes / 4096);
  mincore(reinterpret_cast<void*>(base), bytes, pages.data());
  return std::size_t(std::count_if(pages.begin(), pages.end(), [](unsigned char c) { return c & 1; })) * 4096;
}

TEST_F(Stack, AColdFreeStackHasNoPages) {
  FakeG keep(128 << 10), f(128 << 10);
  std::memset(reinterpret_cast<void*>(f.gp->stack.lo), 1, f.gp->stack.hi - f.gp->stack.lo);
  std::uintptr_t base = f.base();
  EXPECT_GT(resident(base, scaled(128 << 10)), std::size_t(100) << 10);
  rt::stackfree(f.gp);
  clearcaches();
  EXPECT_EQ(resident(base, scaled(128 << 10)), 0u);
  rt::stackfree(keep.gp);
}

TEST_F(Stack, LargeStacksAreKeptForTheNext) {
  FakeG f(1 << 20);
  std::uintptr_t base = f.base();
  mspan* s = rt::spanOf(base);
  EXPECT_EQ(s->owner, rt::spanStackLarge);
  EXPECT_EQ(s->bytes(), scaled(1 << 20));
  rt::stackfree(f.gp);
  EXPECT_EQ(s->list, &rt::stackLarge.free[rt::stacklog2(s->npages)]);
  FakeG again(1 << 20);
  EXPECT_EQ(again.base(), base);
  EXPECT_EQ(s->list, nullptr);
  rt::stackfree(again.gp);
}

TEST_F(Stack, TheCachesOfProcessorsMoveInHalves) {
  rt::m* mp = rt::acquirem();
  rt::mcache* c = mp->p->mcache;
  rt::stackcache_clear(c);
  EXPECT_EQ(c->stackcache[3].n, 0u);
  FakeG f(128 << 10);
  EXPECT_EQ(c->stackcache[3].n, 3u) << "4 of 8 came, one is in use";
  rt::stackfree(f.gp);
  std::vector<FakeG> stacks;
  for (int i = 0; i < 12; i++) stacks.emplace_back(128 << 10);
  for (auto& s : stacks) rt::stackfree(s.gp);
  EXPECT_LE(c->stackcache[3].n, 8u);
  EXPECT_GE(c->stackcache[3].n, 4u);
  rt::stackcache_clear(c);
  rt::releasem(mp);
}

// The flags of the mapping that has this address.
std::string vmflags(std::uintptr_t at) {
  std::ifstream smaps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t lo, hi;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2) here = lo <= at && at < hi;
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

TEST_F(Stack, DumpsHaveStacksThatAreUsedAndNoneThatNeverWere) {
  clearcaches();
  std::vector<FakeG> stacks;
  for (int i = 0; i < 100; i++) stacks.emplace_back(128 << 10);  // dead goroutines keep 64 KiB ones
  for (auto& f : stacks) EXPECT_EQ(vmflags(f.gp->stack.hi - 1).find(" dd "), std::string::npos);
  mspan* s = rt::spanOf(stacks[50].base());
  std::uintptr_t at = s->base() + s->bytes() - 1;
  for (auto& f : stacks) rt::stackfree(f.gp);
  clearcaches();
  EXPECT_NE(vmflags(at).find(" dd "), std::string::npos) << "a free span is dumped";
  EXPECT_NE(vmflags(rt::mheap_.curArena.end - 1).find(" dd "), std::string::npos) << "an untouched arena is dumped";
}

}  // namespace
