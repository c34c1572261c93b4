// gc_mark_test.cc: what a program may do with pointers while a collection marks. Each test holds a cycle right after its
// roots that have no barrier were read: nothing else is marked yet. It then takes the only pointer to an object from a
// place that is still to be looked at, to one where nobody will look, and lets the cycle end.
#include <atomic>
#include <memory>
#include <thread>

#include "gcfixture.h"
#include "proc.h"

using namespace std::chrono_literals;

// void gc_test_halfstore(void** slot, const char* stop): the first half of a store of null to slot, up to where the barrier
// would be asked; what was there is in a register that no call keeps, until *stop.
extern "C" void gc_test_halfstore(void** slot, const char* stop);
asm(R"(
.text
.globl gc_test_halfstore
.type gc_test_halfstore, @function
gc_test_halfstore:
  .cfi_startproc
  movq (%rdi), %r10
  movq $0, (%rdi)
1: pause
  cmpb $0, (%rsi)
  je 1b
  xorl %r10d, %r10d
  ret
  .cfi_endproc
.size gc_test_halfstore, . - gc_test_halfstore
)");

namespace {

struct node {
  gc::ptr<node> next, other;
  std::uint64_t number;
};

gc::ptr<node> holder;  // a global: what it refers to is grey from the beginning

class GcMark : public Gc {
 protected:
  void SetUp() override {
    Gc::SetUp();
    rt::gcmarkhold.store(1);
  }
  void TearDown() override {
    rt::gcmarkhold.store(0);
    holder = nullptr;
    Gc::TearDown();
  }

  // A cycle whose marking does not begin before finish.
  static void begin() {
    eventually([] { return rt::gcphase.load() == rt::GCoff; });
    rt::gcStart({rt::gcTrigger::cycle, rt::work.cycles + 1});
    ASSERT_EQ(rt::gcphase.load(), rt::GCmark);
  }
  static void finish() {
    rt::gcBlackenEnabled.store(1);
    EXPECT_TRUE(eventually([] { return rt::gcphase.load() == rt::GCoff; }));
    while (rt::sweepone() != ~std::uintptr_t(0)) {
    }
    EXPECT_TRUE(eventually([] { return rt::mheap_.sweepers.load() == 0; }));
  }
};

__attribute__((noinline)) Hidden newnode() { return Hidden(gc::make<node>()); }

// The pointer goes from an object into an integer.
__attribute__((noinline)) Hidden takenext() {
  Hidden h(holder->next.get());
  holder->next = nullptr;
  return h;
}

// A node that holder has, and the next one, which is returned. Made elsewhere: this stack is scanned at the end, and may
// have old words.
Hidden hold() {
  return elsewhere([] {
    holder = gc::make<node>();
    holder->next = gc::make<node>();
    return Hidden(holder->next.get());
  });
}

TEST_F(GcMark, APointerThatIsOverwrittenIsMarked) {
  holder = gc::make<node>();
  holder->next = gc::make<node>();
  holder->next->next = gc::make<node>();
  begin();
  Hidden second(holder->next->next.get());
  Hidden h = takenext();
  finish();
  EXPECT_TRUE(alive(h));
  EXPECT_TRUE(alive(second));
}

// In an object that is made while the cycle marks: it is marked, so nobody will look into it.
TEST_F(GcMark, APointerThatIsStoredIsMarked) {
  holder = gc::make<node>();
  Hidden h = elsewhere([] { return newnode(); });
  begin();
  holder->next = gc::make<node>();
  holder->next->next = static_cast<node*>(h.address());
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMark, WhatIsMadeIsMarked) {
  elsewhere([] { return newnode(); });  // its span is in the mcache when the cycle begins
  begin();
  std::vector<Hidden> all;
  elsewhere([&] {
    for (int i = 0; i < 3000; i++) all.push_back(newnode());
    return 0;
  });
  Hidden large = elsewhere([] { return Hidden(gc::make_array<gc::ptr<node>>(100'000).get()); });
  finish();
  EXPECT_EQ(living(all), 3000);
  EXPECT_TRUE(alive(large));
  rt::gcmarkhold.store(0);
  collect();
  EXPECT_LT(living(all), 10);
}

TEST_F(GcMark, WhatIsMadeWithCreditIsMarked) {
  elsewhere([] { return newnode(); });
  begin();
  std::vector<Hidden> all;
  elsewhere([&] {
    constexpr std::int64_t credit = 1 << 20;
    rt::g* gp = rt::getg();
    gp->gcAssistCycle = rt::work.cycles;
    gp->gcAssistBytes = credit;
    for (int i = 0; i < 3000; i++) all.push_back(newnode());
    EXPECT_LT(gp->gcAssistBytes, credit - std::int64_t(2000 * sizeof(node)));  // so most took the short way
    return 0;
  });
  finish();
  EXPECT_EQ(living(all), 3000);
}

TEST_F(GcMark, BlocksOfTinyObjectsAreMarked) {
  elsewhere([] { return Hidden(gc::make<char>()); });  // begins a block
  begin();
  Hidden h = elsewhere([] { return Hidden(gc::make<char>()); });
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMark, WhatAWeakPointerGivesIsMarked) {
  gc::weak<node> w;
  Hidden h = elsewhere([&] {
    auto n = gc::make<node>();
    w = n;
    return Hidden(n);
  });
  begin();
  EXPECT_TRUE(elsewhere([&] { return w.lock() != nullptr; }));
  finish();
  EXPECT_TRUE(alive(h));
  EXPECT_TRUE(elsewhere([&] { return w.lock() != nullptr; }));
}

// What it knows, only its stack knows until it runs.
TEST_F(GcMark, AParkedGoroutineIsScannedBeforeItRuns) {
  Hidden h;
  std::atomic<int> stage{0};
  vitrine::chan<int> ch(0);
  vitrine::go([&] {
    node* volatile mine = gc::make<node>();
    h = Hidden(mine);
    stage = 1;
    ch.recv();
    mine = nullptr;
    wipe();
    stage = 2;
  });
  ASSERT_TRUE(eventually([&] { return stage == 1; }));
  vitrine::sleep_for(1ms);
  begin();
  ch.send(1);
  ASSERT_TRUE(eventually([&] { return stage == 2; }));
  finish();
  EXPECT_TRUE(alive(h));
}

// An element that is null at its sender once it was received.
struct moving {
  node* p = nullptr;
  explicit moving(node* n) : p(n) {}
  // Not in line: a register of the sender's would keep what it moved.
  __attribute__((noinline)) moving(moving&& other) noexcept : p(std::exchange(other.p, nullptr)) {}
  moving& operator=(moving&& other) noexcept {
    p = std::exchange(other.p, nullptr);
    return *this;
  }
};

// Only the element has it afterwards, no register and no frame.
__attribute__((noinline)) void fill(moving* m, Hidden* h) {
  gc::make<node>();  // not the span's first object, which the allocator's words for the span would keep
  m->p = gc::make<node>();
  *h = Hidden(m->p);
}

TEST_F(GcMark, WhatIsReceivedFromAParkedSenderIsMarked) {
  Hidden h;
  std::atomic<int> stage{0};
  vitrine::chan<moving> ch(0);
  vitrine::go([&] {
    moving m(nullptr);
    fill(&m, &h);
    wipe();
    stage = 1;
    ch.send(std::move(m));
  });
  ASSERT_TRUE(eventually([&] { return stage == 1 && rt::gcount() > 1; }));
  vitrine::sleep_for(1ms);
  begin();
  elsewhere([&] {
    auto got = ch.recv();
    got->p = nullptr;
    return 0;
  });
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMark, WhatIsCopiedOrClearedAsBytesIsMarked) {
  static gc::ptr<gc::ptr<node>> from, to, other;
  constexpr int n = 100;
  std::vector<Hidden> lost, copied, cleared;
  elsewhere([&] {
    from = gc::make_array<gc::ptr<node>>(n);
    to = gc::make_array<gc::ptr<node>>(n);
    other = gc::make_array<gc::ptr<node>>(n);
    for (int i = 0; i < n; i++) {
      other.get()[i] = gc::make<node>();
      cleared.emplace_back(other.get()[i].get());
      from.get()[i] = gc::make<node>();
      to.get()[i] = gc::make<node>();
      copied.emplace_back(from.get()[i].get());
      lost.emplace_back(to.get()[i].get());
    }
    return 0;
  });
  begin();
  gc::copy(to.get(), from.get(), n);
  gc::clear(from.get(), n);
  for (int i = 0; i < n; i++) EXPECT_TRUE(pointsto(to.get()[i].get(), copied[i]));
  for (int i = 0; i < n; i++) EXPECT_EQ(from.get()[i].get(), nullptr);
  gc::clear(to.get(), n);
  gc::clear(other.get(), n);
  finish();
  EXPECT_EQ(living(cleared), n);
  EXPECT_EQ(living(lost), n);
  EXPECT_EQ(living(copied), n);
  // Both ways that an overlap can have.
  elsewhere([&] {
    for (int i = 0; i < n; i++) from.get()[i] = gc::make<node>(nullptr, nullptr, std::uint64_t(i));
    gc::copy(from.get() + 10, from.get(), n - 10);
    for (int i = 10; i < n; i++) EXPECT_EQ(from.get()[i]->number, std::uint64_t(i - 10));
    gc::copy(from.get(), from.get() + 10, n - 10);
    for (int i = 0; i < n - 20; i++) EXPECT_EQ(from.get()[i]->number, std::uint64_t(i));
    return 0;
  });
  from = to = other = nullptr;
}

// The barriers that nobody calls through gc.h, by themselves: what is at the source is known to an integer only.
TEST_F(GcMark, EachBulkBarrierMarksWhatItSays) {
  static gc::ptr<gc::ptr<node>> to;
  static node* plain[4];
  std::vector<Hidden> sources, olds;
  elsewhere([&] {
    to = gc::make_array<gc::ptr<node>>(4);
    for (int i = 0; i < 10; i++) sources.push_back(newnode());
    for (int i = 0; i < 4; i++) {
      to.get()[i] = gc::make<node>();
      olds.emplace_back(to.get()[i].get());
    }
    return 0;
  });
  begin();
  elsewhere([&] {
    std::uintptr_t words[4];
    auto fill = [&](int first, int n) {
      for (int i = 0; i < n; i++) words[i] = std::uintptr_t(sources[std::size_t(first + i)].address());
    };
    auto dst = std::uintptr_t(to.get());
    fill(0, 2);  // two of four: the destination counts as new, so what is there is not looked at
    rt::bulkBarrierPreWriteSrcOnly(dst, std::uintptr_t(words), 16);
    fill(2, 4);
    const std::uint8_t mask = 0b1010 << 1;  // bit 0 is a word before dst: words 1 and 3
    rt::bulkBarrierBitmap(std::uintptr_t(plain), std::uintptr_t(words), 32, 8, &mask);
    fill(6, 3);
    rt::_type three{};
    const std::uint8_t bits = 0b101;
    three.size = three.ptrdata = 24;
    three.gcdata = &bits;
    rt::typeBitsBulkBarrier(&three, std::uintptr_t(plain), std::uintptr_t(words), 24);
    fill(9, 1);
    rt::bulkBarrierPreWriteSrcOnly(std::uintptr_t(plain), std::uintptr_t(words), 8);
    for (auto& w : words) w = 0;
    return 0;
  });
  elsewhere([] {
    for (int i = 0; i < 4; i++) to.get()[i] = nullptr;  // with a barrier: these live
    return 0;
  });
  finish();
  bool marked[] = {true, true, false, true, false, true, true, false, true, true};
  for (int i = 0; i < 10; i++) EXPECT_EQ(alive(sources[std::size_t(i)]), marked[i]) << i;
  EXPECT_EQ(living(olds), 4);
  to = nullptr;
}

TEST_F(GcMark, FinalizersThatAreTakenOffTheQueueKeepWhatTheySee) {
  static Hidden seen;
  static std::atomic<int> stage;
  stage = 0;
  vitrine::chan<int> go_on(0);
  static vitrine::chan<int>* gate;
  gate = &go_on;
  elsewhere([] {
    auto first = gc::make<node>();
    gc::set_finalizer(first, [](node*) {
      stage = 1;
      gate->recv();
    });
    return 0;
  });
  rt::gcmarkhold.store(0);
  collect();
  ASSERT_TRUE(eventually([] { return stage == 1; }));
  // The next one waits in the queue behind it.
  elsewhere([] {
    auto n = gc::make<node>();
    n->next = gc::make<node>();
    seen = Hidden(n->next.get());
    gc::set_finalizer(n, [](node* p) { stage = pointsto(p->next.get(), seen) ? 3 : 4; });
    return 0;
  });
  collect();
  rt::gcmarkhold.store(1);
  begin();
  go_on.send(1);
  ASSERT_TRUE(eventually([] { return stage >= 3; }));
  EXPECT_EQ(stage, 3);
  finish();
  EXPECT_TRUE(alive(seen));
}

// The only copy is in an element: on its way from an integer, by no place that a collection reads before it is gone there.
template <class T>
void sendhidden(vitrine::chan<T>& ch, Hidden h) {
  elsewhere([&] {
    ch.send(T{static_cast<node*>(h.address())});
    return 0;
  });
}

TEST_F(GcMark, WhatIsSentIntoABufferIsMarked) {
  struct __attribute__((packed)) odd {
    node* p;
    std::uint32_t more = 0;
  };
  vitrine::chan<node*> ch(1);
  vitrine::chan<odd> packed(1);
  Hidden plain = elsewhere([] { return newnode(); }), inodd = elsewhere([] { return newnode(); });
  begin();
  sendhidden(ch, plain);
  // Its bytes are no whole number of words; where they lie, the pointer is aligned.
  elsewhere([&] {
    alignas(8) static odd element;
    element.p = static_cast<node*>(inodd.address());
    packed.try_send(std::move(element));
    element.p = nullptr;
    return 0;
  });
  finish();
  EXPECT_TRUE(alive(plain));
  EXPECT_TRUE(alive(inodd));
}

TEST_F(GcMark, WhatIsCopiedToAGlobalIsMarked) {
  static gc::ptr<node> to[2];
  std::vector<Hidden> all;
  elsewhere([&] {
    all = {newnode(), newnode()};
    return 0;
  });
  begin();
  elsewhere([&] {
    gc::ptr<node> from[2] = {static_cast<node*>(all[0].address()), static_cast<node*>(all[1].address())};
    gc::copy(to, from, 2);
    return 0;
  });
  finish();
  EXPECT_EQ(living(all), 2);
  gc::clear(to, 2);
}

// Nobody marks on the P of the store: what its buffer has is looked at when the world is stopped at the end.
TEST_F(GcMark, TheBuffersOfAllPsAreLookedAtAtTheEnd) {
  hold();
  begin();
  Hidden h = takenext();
  wipe();
  rt::gcBlackenEnabled.store(1);
  rt::wakep();
  const auto end = std::chrono::steady_clock::now() + 3s;
  while (rt::gcphase.load() != rt::GCoff && std::chrono::steady_clock::now() < end) {
  }
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMark, PsThatGoHandOverTheirBuffers) {
  static gc::ptr<gc::ptr<node>> all;
  const int procs = vitrine::gomaxprocs();
  std::vector<Hidden> taken(static_cast<std::size_t>(procs));
  elsewhere([&] {
    all = gc::make_array<gc::ptr<node>>(std::size_t(procs));
    for (int i = 0; i < procs; i++) {
      all.get()[i] = gc::make<node>();
      taken[std::size_t(i)] = Hidden(all.get()[i].get());
    }
    return 0;
  });
  begin();
  // All at once, so each on a P of its own.
  std::atomic<int> here{0}, done{0};
  auto take = [&](int i) {
    here++;
    while (here < procs) {
    }
    all.get()[i] = nullptr;
    wipe();
    done++;
  };
  for (int i = 1; i < procs; i++) vitrine::go([&, i] { take(i); });
  take(0);
  EXPECT_TRUE(eventually([&] { return done == procs; }));
  vitrine::gomaxprocs(1);
  finish();
  vitrine::gomaxprocs(procs);
  EXPECT_EQ(living(taken), procs);
  all = nullptr;
}

// Computes without a P until the test is over.
class GcMarkWithoutP : public GcMark {
 protected:
  template <class F>
  void compute(F f, bool locked = false) {
    if (underTsan) return;
    rt::gcmarkhold.store(0);
    stage = 0;
    rt::g* gp = started([f, locked] {
      alignas(vitrine::os_thread_lock) static char lock[sizeof(vitrine::os_thread_lock)];
      if (locked) {
        while (rt::getg()->m == &rt::m0) vitrine::sleep_for(1ms);  // which would only go to sleep
        new (lock) vitrine::os_thread_lock;                        // for good, so the thread ends with it
      }
      while (stage == 0) {
      }
      f();
      stage = 2;
      while (stage != 3) {
      }
    });
    EXPECT_TRUE(eventually([&] {
      collect();
      return rt::load_relaxed(gp->noproc) != 0;
    }));
    rt::gcmarkhold.store(1);
  }
  void TearDown() override {
    stage = 3;
    GcMark::TearDown();
  }
  static inline std::atomic<int> stage;
};

TEST_F(GcMarkWithoutP, WhatItOverwritesIsMarked) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer delivers no signal to a loop without calls";
  static Hidden h;
  hold();
  compute([] {
    h = takenext();
    wipe();
  });
  begin();
  stage = 1;
  ASSERT_TRUE(eventually([] { return stage == 2; }));
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMarkWithoutP, WhatItOverwroteBeforeItsThreadEndedIsMarked) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer delivers no signal to a loop without calls";
  static Hidden h;
  hold();
  compute(
      [] {
        h = takenext();
        wipe();
      },
      true);
  begin();
  stage = 1;
  ASSERT_TRUE(eventually([] { return stage == 2; }));
  const auto ended = [] {
    rt::lock(&rt::sched.lock);
    auto n = rt::sched.nmfreed;
    rt::unlock(&rt::sched.lock);
    return n;
  };
  const auto before = ended();
  stage = 3;
  ASSERT_TRUE(eventually([&] { return ended() > before; }));
  finish();
  EXPECT_TRUE(alive(h));
}

TEST_F(GcMarkWithoutP, InTheMiddleOfAStoreItsRegistersAreLookedAtAtTheEnd) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer delivers no signal to a loop without calls";
  static char stop;
  __atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
  Hidden h = hold();
  compute([] { gc_test_halfstore(reinterpret_cast<void**>(&holder->next), &stop); });
  begin();
  stage = 1;
  ASSERT_TRUE(eventually([] { return elsewhere([] { return holder->next == nullptr; }); }));
  finish();
  EXPECT_TRUE(alive(h));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  EXPECT_TRUE(eventually([] { return stage == 2; }));
}

// With mutators on all Ps, objects that are found dead overwritten, and every cycle checked.
TEST_F(GcMark, MutatorsOnAllPsLoseNothing) {
  rt::gcmarkhold.store(0);
  auto clobber = rt::debug.clobberfree, check = rt::debug.gccheckmark;
  rt::debug.clobberfree = rt::debug.gccheckmark = 1;
  constexpr std::uint64_t magic = 0x0dd0b1ec7;
  constexpr int slots = 512;
  std::atomic<int> bad{0};
  vitrine::wait_group wg;
  const int n = rounds(underTsan ? 4'000 : 60'000);
  std::uint32_t before = rt::load_relaxed(rt::work.cycles);
  for (int who = 0; who < 4; who++) {
    wg.add(1);
    vitrine::go([&, seed = random(~0ull) | 1] {
      std::uint64_t state = seed;
      auto next = [&](std::uint64_t below) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return (state >> 20) % below;
      };
      auto all = gc::make_array<gc::ptr<node>>(slots);
      auto enough = [&] { return rt::load_relaxed(rt::work.cycles) - before >= 20; };
      for (int i = 0; (i < n || !enough()) && bad == 0; i++) {
        gc::ptr<node>& slot = all.get()[next(slots)];
        switch (next(6)) {
          case 0:
            slot = gc::make<node>(slot, nullptr, magic);
            break;
          case 1:
            if (slot != nullptr) slot = slot->next;
            break;
          case 2: {  // from one to another, by way of the stack
            node* moved = slot;
            slot = nullptr;
            gc::ptr<node>& to = all.get()[next(slots)];
            if (moved != nullptr) moved->other = to;
            to = moved;
            break;
          }
          case 3:
            if (slot != nullptr) std::swap(slot->next, slot->other);
            break;
          case 4:
            if (next(8) == 0) gc::clear(all.get() + next(slots - 16), 16);
            break;
          default:
            if (next(4) == 0) gc::copy(all.get() + next(slots - 16), all.get() + next(slots - 16), 16);
        }
        int depth = 0;
        for (node* at = slot; at != nullptr && depth < 8; at = at->next, depth++)
          if (at->number != magic) bad++;
        if (next(256) == 0) vitrine::yield();
      }
      wg.done();
    });
  }
  std::atomic<bool> stop{false};
  vitrine::go([&] {
    while (!stop) gc::collect();
  });
  wg.wait();
  stop = true;
  EXPECT_EQ(bad, 0);
  EXPECT_TRUE(eventually([] { return livegoroutines() <= 1; }));
  rt::debug.clobberfree = clobber;
  rt::debug.gccheckmark = check;
}

}  // namespace
