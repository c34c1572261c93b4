// gc_roots_test.cc: each place where a pointer keeps its object alive, and those where it does not: stacks and registers
// of goroutines that wait, compute without a P or are in a system call; globals; what the runtime holds for goroutines.
#include <map>

#include "gcfixture.h"

// void* gc_test_hold_REG(uintptr hidden, void (*fn)(void*), void* arg): calls fn(arg) with ~hidden in the callee-saved
// register, and nowhere else; returns what is there afterwards.
#define HOLD(REG)                                                                                                   \
  extern "C" void* gc_test_hold_##REG(std::uintptr_t hidden, void (*fn)(void*), void* arg);                         \
  asm(".text\n.globl gc_test_hold_" #REG "\n.type gc_test_hold_" #REG ", @function\ngc_test_hold_" #REG             \
      ":\n.cfi_startproc\npushq %rbp\n.cfi_adjust_cfa_offset 8\nmovq %rsp, %rbp\npushq %" #REG "\npushq %" #REG     \
      "\n.cfi_adjust_cfa_offset 16\nmovq %rdi, %" #REG "\nnotq %" #REG "\nmovq %rdx, %rdi\ncall *%rsi\nmovq %" #REG \
      ", %rax\npopq %" #REG "\npopq %" #REG                                                                         \
      "\npopq %rbp\n.cfi_adjust_cfa_offset -24\nret\n.cfi_endproc\n.size gc_test_hold_" #REG                        \
      ", . - gc_test_hold_" #REG "\n")
HOLD(rbx);
HOLD(r12);
HOLD(r13);
HOLD(r14);
HOLD(r15);

// void* gc_test_spin(uintptr hidden, const char* stop): computes until *stop, with ~hidden in a register that no call
// keeps; gc_test_spin_xmm in a vector register.
extern "C" void* gc_test_spin(std::uintptr_t hidden, const char* stop);
extern "C" void* gc_test_spin_xmm(std::uintptr_t hidden, const char* stop);
asm(R"(
.text
.globl gc_test_spin
.type gc_test_spin, @function
gc_test_spin:
  .cfi_startproc
  movq %rdi, %r10
  notq %r10
  xorl %edi, %edi
1: pause
  cmpb $0, (%rsi)
  je 1b
  movq %r10, %rax
  ret
  .cfi_endproc
.size gc_test_spin, . - gc_test_spin
.globl gc_test_spin_xmm
.type gc_test_spin_xmm, @function
gc_test_spin_xmm:
  .cfi_startproc
  notq %rdi
  movq %rdi, %xmm7
  xorl %edi, %edi
1: pause
  cmpb $0, (%rsi)
  je 1b
  movq %xmm7, %rax
  ret
  .cfi_endproc
.size gc_test_spin_xmm, . - gc_test_spin_xmm
)");

namespace {

struct item {
  gc::ptr<item> next;
  std::uint64_t value;
};

std::uintptr_t hide(const void* p) { return ~std::uintptr_t(p); }
VITRINE_NOINLINE std::uintptr_t hiddenitem(std::uint64_t value) {
  auto p = gc::make<item>();
  p->value = value;
  std::uintptr_t h = hide(p.get());
  p = nullptr;
  return h;
}
Hidden hiddenof(std::uintptr_t h) { return Hidden(reinterpret_cast<void*>(~h)); }

class GcRoots : public Gc {};

// ---- stacks and registers

TEST_F(GcRoots, ObjectsOnlyInACalleeSavedRegisterOfAParkedGoroutine) {
  using holder = void* (*)(std::uintptr_t, void (*)(void*), void*);
  for (holder hold : {&gc_test_hold_rbx, &gc_test_hold_r12, &gc_test_hold_r13, &gc_test_hold_r14, &gc_test_hold_r15}) {
    vitrine::chan<int> c;
    std::atomic<std::uintptr_t> h{0};
    std::atomic<std::uint64_t> got{0};
    rt::g* gp = startedparked(rt::waitReasonChanReceive, [&, hold] {
      std::uintptr_t hidden = hiddenitem(42);
      h = hidden;
      wipe();
      auto* p = static_cast<item*>(hold(
          hidden, [](void* arg) { static_cast<vitrine::chan<int>*>(arg)->recv(); }, &c));
      got = p->value;
    });
    EXPECT_TRUE(gp != nullptr);
    collect();
    EXPECT_TRUE(alive(hiddenof(h)));
    c.send(1);
    EXPECT_TRUE(eventually([&] { return got != 0; }));
    EXPECT_EQ(got, 42u);
  }
}

TEST_F(GcRoots, ObjectsOnlyInACalleeSavedRegisterOfTheCollector) {
  using holder = void* (*)(std::uintptr_t, void (*)(void*), void*);
  for (holder hold : {&gc_test_hold_rbx, &gc_test_hold_r12, &gc_test_hold_r13, &gc_test_hold_r14, &gc_test_hold_r15}) {
    std::uintptr_t h = hiddenitem(7);
    wipe();
    auto* p = static_cast<item*>(hold(
        h, [](void*) { gc::collect(); }, nullptr));
    EXPECT_TRUE(alive(Hidden(p)));
    EXPECT_EQ(p->value, 7u);
  }
}

TEST_F(GcRoots, ObjectsOnlyInACalleeSavedRegisterInABlockingScope) {
  std::atomic<std::uintptr_t> h{0};
  std::atomic<bool> in{false}, out{false}, done{false};
  struct flags {
    std::atomic<bool>*in, *out;
  } f{&in, &out};
  vitrine::go([&] {
    std::uintptr_t hidden = hiddenitem(9);
    h = hidden;
    wipe();
    auto* p = static_cast<item*>(gc_test_hold_r13(
        hidden,
        [](void* arg) {
          auto* flag = static_cast<flags*>(arg);
          vitrine::blocking_scope scope;
          *flag->in = true;
          while (!*flag->out) usleep(100);
        },
        &f));
    EXPECT_EQ(p->value, 9u);
    done = true;
  });
  EXPECT_TRUE(eventually([&] { return in.load(); }));
  collect();
  EXPECT_TRUE(alive(hiddenof(h)));
  out = true;
  EXPECT_TRUE(eventually([&] { return done.load(); }));
}

// ThreadSanitizer puts signals off until the goroutine calls something; such a loop would never be stopped.
TEST_F(GcRoots, ObjectsOnlyInRegistersOfAGoroutineThatComputesWithoutAP) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer delivers no signal to a loop without calls";
  using spinner = void* (*)(std::uintptr_t, const char*);
  for (spinner spin : {&gc_test_spin, &gc_test_spin_xmm}) {
    std::atomic<std::uintptr_t> h{0};
    std::atomic<bool> done{false};
    static char stop;
    __atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
    rt::g* gp = started([&, spin] {
      std::uintptr_t hidden = hiddenitem(11);
      h = hidden;
      wipe();
      auto* p = static_cast<item*>(spin(hidden, &stop));
      EXPECT_EQ(p->value, 11u);
      done = true;
    });
    // The first has to take its P, and from the next on it has none.
    for (int i = 0; i < 20; i++) collect();
    EXPECT_EQ(rt::load_relaxed(gp->noproc), 1);
    EXPECT_TRUE(alive(hiddenof(h)));
    EXPECT_FALSE(done);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    EXPECT_TRUE(eventually([&] { return done.load(); }));
  }
}

TEST_F(GcRoots, DeepFramesOfManyParkedGoroutines) {
  vitrine::chan<int> stop;
  std::atomic<int> ready{0}, wrong{0};
  for (int i = 0; i < 50; i++)
    vitrine::go([&, i] {
      auto down = [&](auto& self, int depth) -> void {
        gc::ptr<item> p = gc::make<item>();
        p->value = std::uint64_t(i * 1000 + depth);
        if (depth < 20) {
          self(self, depth + 1);
        } else {
          ready++;
          stop.recv();
        }
        if (p->value != std::uint64_t(i * 1000 + depth)) wrong++;
      };
      down(down, 0);
    });
  EXPECT_TRUE(eventually([&] { return ready == 50; }));
  for (int i = 0; i < 3; i++) {
    collect();
    elsewhere([] {
      for (int k = 0; k < 5000; k++) gc::make<item>()->value = ~std::uint64_t(0);
      return 0;
    });
  }
  stop.close();
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  EXPECT_EQ(wrong, 0);
}

// ---- what the runtime holds

TEST_F(GcRoots, ClosuresOfGoroutinesThatDidNotRunYet) {
  std::atomic<std::uint64_t> sum{0};
  std::vector<Hidden> all;
  vitrine::wait_group wg;
  wg.add(100);
  for (int i = 0; i < 100; i++) {
    auto p = gc::make<item>();
    p->value = 1;
    all.emplace_back(p.get());
    vitrine::go([&, raw = i % 2 == 0 ? p.get() : nullptr, managed = i % 2 != 0 ? p : gc::ptr<item>()] {
      sum += (raw != nullptr ? raw : managed.get())->value;
      wg.done();
    });
  }
  gc::collect();
  elsewhere([] {
    for (int k = 0; k < 5000; k++) gc::make<item>()->value = 1000;
    return 0;
  });
  wg.wait();
  EXPECT_EQ(sum, 100u);
}

// Parked, with an object that only the closure has; made by a goroutine, by one in a blocking_scope, and by a thread.
TEST_F(GcRoots, ClosuresOfGoroutinesThatWait) {
  std::vector<Hidden> all;
  vitrine::chan<int> gate(0);
  vitrine::wait_group down, up;
  for (int how = 0; how < 3; how++) {
    for (int i = 0; i < 10; i++) {
      auto start = [&](gc::root<item> r) {
        up.add(1);
        down.add(1);
        vitrine::go([&, p = r.get()] {
          down.done();
          gate.recv();
          EXPECT_EQ(p->value, 7u);
          up.done();
        });
      };
      vitrine::spawn([&] {
        gc::root<item> r(gc::make<item>());
        r->value = 7;
        all.emplace_back(r.get());
        if (how == 0) start(std::move(r));
        if (how == 1) {
          vitrine::blocking_scope blocking;
          start(std::move(r));
        }
        if (how == 2) std::thread([&] { start(std::move(r)); }).join();
      }).get();
    }
  }
  down.wait();
  collect();
  elsewhere([] {
    for (int k = 0; k < 5000; k++) gc::make<item>()->value = 1000;
    return 0;
  });
  expectliving(all, 30);
  gate.close();
  up.wait();
  collect();
  expectliving(all, 0);
}

// What a closure gets while it is made is in no other place; and what it gets may make goroutines itself.
VITRINE_NOINLINE void take(item** to, gc::root<item>* from) {
  *to = from->get();
  *from = nullptr;
}
struct collectsonmove {
  gc::root<item>* from;
  int depth;
  vitrine::wait_group* wg;
  item* p = nullptr;
  collectsonmove(gc::root<item>* f, int d, vitrine::wait_group* w) : from(f), depth(d), wg(w) {}
  collectsonmove(collectsonmove&& o) : from(o.from), depth(o.depth), wg(o.wg) {
    take(&p, &from[depth]);
    if (depth > 0)
      vitrine::go(collectsonmove(from, depth - 1, wg));
    else
      collect();
  }
  void operator()() {
    EXPECT_EQ(p->value, 3u);
    wg->done();
  }
};
TEST_F(GcRoots, ClosuresThatAreBeingMade) {
  constexpr int deep = 6;  // more than a goroutine keeps apart
  std::vector<Hidden> all;
  std::vector<gc::root<item>> roots(deep + 1);
  elsewhere([&] {
    for (auto& r : roots) {
      r = gc::make<item>();
      r->value = 3;
      all.emplace_back(r.get());
    }
    return 0;
  });
  vitrine::wait_group wg;
  wg.add(deep + 1);
  elsewhere([&] {
    vitrine::go(collectsonmove(roots.data(), deep, &wg));
    return 0;
  });
  wg.wait();
  collect();
  expectliving(all, 0);
}

TEST_F(GcRoots, ElementsInAChannelsBuffer) {
  for (std::size_t n : {5u, 5000u}) {
    vitrine::chan<gc::ptr<item>> managed(n);
    vitrine::chan<item*> raw(n);
    std::vector<Hidden> all;
    elsewhere([&] {
      for (std::size_t i = 0; i < n; i++) {
        auto p = gc::make<item>(), q = gc::make<item>();
        p->value = q->value = i;
        all.emplace_back(p.get());
        all.emplace_back(q.get());
        managed.send(p);
        raw.send(q);
      }
      return 0;
    });
    collect();
    EXPECT_EQ(living(all), int(all.size()));
    elsewhere([&] {
      for (std::size_t i = 0; i < n; i++) {
        EXPECT_EQ((*managed.recv())->value, i);
        EXPECT_EQ((*raw.recv())->value, i);
      }
      return 0;
    });
  }
}

TEST_F(GcRoots, ElementsOfSendersAndReceiversThatWait) {
  vitrine::chan<gc::ptr<item>> c;
  std::atomic<int> sum{0};
  for (int i = 0; i < 10; i++)
    startedparked(rt::waitReasonChanSend, [&] {
      auto p = gc::make<item>();
      p->value = 3;
      c.send(p);
    });
  collect();
  elsewhere([] {
    for (int k = 0; k < 5000; k++) gc::make<item>()->value = 1000;
    return 0;
  });
  elsewhere([&] {
    for (int i = 0; i < 5; i++) sum += int((*c.recv())->value);
    for (int i = 0; i < 5; i++)
      vitrine::select(vitrine::on_recv(c, [&](auto p) { sum += p ? int(p.value()->value) : 0; }));
    return 0;
  });
  EXPECT_EQ(sum, 30);
}

TEST_F(GcRoots, ResultsOfTasksAndGlsValuesAndTimersFunctions) {
  static vitrine::gls<gc::ptr<item>> local;
  vitrine::task<item*> t = vitrine::spawn([] {
    auto* p = gc::make<item>().get();
    p->value = 5;
    return p;
  });
  EXPECT_TRUE(eventually([&] { return t.done(); }));
  vitrine::chan<int> go(0);
  std::atomic<std::uint64_t> fromgls{0}, fromtimer{0};
  startedparked(rt::waitReasonChanReceive, [&] {
    local.get() = gc::make<item>();
    local.get()->value = 6;
    go.recv();
    fromgls = local.get()->value;
  });
  auto timer = elsewhere([&] {
    auto p = gc::make<item>();
    p->value = 7;
    return vitrine::timer(50ms, [p, &fromtimer] { fromtimer = p->value; });
  });
  for (int i = 0; i < 3; i++) {
    collect();
    elsewhere([] {
      for (int k = 0; k < 5000; k++) gc::make<item>()->value = 1000;
      return 0;
    });
  }
  EXPECT_EQ(t.get()->value, 5u);
  go.send(1);
  EXPECT_TRUE(eventually([&] { return fromgls != 0 && fromtimer != 0; }));
  EXPECT_EQ(fromgls, 6u);
  EXPECT_EQ(fromtimer, 7u);
}

// ---- globals, gc::root

gc::ptr<item> global;
item* volatile rawglobal;  // its stores are not for the compiler to drop

TEST_F(GcRoots, Globals) {
  static gc::ptr<item> local;
  std::vector<Hidden> all;
  elsewhere([&] {
    for (gc::ptr<item>* p : {&global, &local}) {
      *p = gc::make<item>();
      all.emplace_back(p->get());
    }
    rawglobal = gc::make<item>();
    all.emplace_back(rawglobal);
    return 0;
  });
  collect();
  EXPECT_EQ(living(all), 3);
  // Elsewhere: a store has what was there before in a register, or on the stack.
  elsewhere([] {
    global = local = nullptr;
    rawglobal = nullptr;
    return 0;
  });
  collect();
  EXPECT_EQ(living(all), 0);
}

TEST_F(GcRoots, RootsKeepWhereverTheyAre) {
  std::map<int, gc::root<item>> roots;
  std::vector<Hidden> all;
  elsewhere([&] {
    for (int i = 0; i < 100; i++) {
      auto p = gc::make<item>();
      p->value = std::uint64_t(i);
      all.emplace_back(p.get());
      roots.emplace(i, p);
    }
    return 0;
  });
  collect();
  elsewhere([&] {
    for (int i = 0; i < 100; i++) EXPECT_EQ(roots[i]->value, std::uint64_t(i));
    return 0;
  });
  // Copies and moves.
  {
    gc::root<item> copy = roots[0], moved = std::move(roots[1]), assigned;
    assigned = roots[2];
    roots.erase(0);
    roots.erase(2);
    EXPECT_EQ(roots[1].get(), nullptr);
    collect();
    EXPECT_TRUE(alive(all[0]));
    EXPECT_TRUE(alive(all[1]));
    EXPECT_TRUE(alive(all[2]));
    assigned = elsewhere([] { return gc::root<item>(gc::make<item>()); }).get();
    assigned = nullptr;
    assigned = gc::ptr<item>();
    assigned = std::move(copy);
    EXPECT_EQ(copy.get(), nullptr);
    collect();
    EXPECT_FALSE(alive(all[2]));
    EXPECT_TRUE(alive(all[0]));
  }
  for (int i = 1; i < 50; i++) roots.erase(i);
  collect();
  for (int i = 0; i < 100; i++) EXPECT_EQ(alive(all[std::size_t(i)]), i >= 50) << i;
  roots.clear();
  collect();
  EXPECT_EQ(rt::gcroots.n, 0u);
}

struct problem {
  gc::root<item> what;
};

TEST_F(GcRoots, AnExceptionWithTheLastReference) {
  std::uint64_t value = elsewhere([] {
    try {
      auto p = gc::make<item>();
      p->value = 77;
      problem x{p};
      p = nullptr;
      throw x;
    } catch (const problem& x) {
      wipe();
      for (int i = 0; i < 3; i++) {
        gc::collect();
        elsewhere([] {
          for (int k = 0; k < 2000; k++) gc::make<item>()->value = 1000;
          return 0;
        });
      }
      return x.what->value;
    }
  });
  EXPECT_EQ(value, 77u);
}

TEST_F(GcRoots, ThreadsKeepByRoots) {
  gc::root<item> list;
  elsewhere([&] {
    for (int i = 0; i < 1000; i++) {
      auto p = gc::make<item>();
      p->next = list.get();
      p->value = 1;
      list = p.get();
    }
    return 0;
  });
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0}, wrong{0};
  std::thread reader([&, mine = list] {
    while (!stop) {
      gc::root<item> again = mine;
      int n = 0;
      for (item* p = again; p != nullptr; p = p->next) n += int(p->value);
      if (n != 1000) wrong++;
      rounds++;
    }
  });
  list = nullptr;
  for (int i = 0; i < 10 || rounds < 10; i++) {
    collect();
    elsewhere([] {
      for (int k = 0; k < 2000; k++) gc::make<item>()->value = 1000;
      return 0;
    });
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

// ---- not roots

TEST_F(GcRoots, MemoryOfMallocIsNotLookedAt) {
  auto box = std::make_unique<item*>();
  Hidden h = elsewhere([&] {
    *box = gc::make<item>().get();
    return Hidden(*box);
  });
  collect();
  EXPECT_FALSE(alive(h));
}

TEST_F(GcRoots, ADestroyedChannelKeepsNothing) {
  Hidden h = elsewhere([] {
    vitrine::chan<item*> c(3);
    auto* p = gc::make<item>().get();
    c.send(p);
    return Hidden(p);
  });
  collect();
  EXPECT_FALSE(alive(h));
}

}  // namespace
