// go(): what becomes of the callable, its arguments and options; what a goroutine knows about itself; how many there
// can be and how their objects are used again.
#include <unwind.h>

#include <cerrno>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "fixture.h"
#include "proc.h"

using vitrine::chan;
using vitrine::go;

namespace {

class Go : public Goroutines {};

chan<std::string> results(64);

void tell(std::string a, int b) { results.send(a + std::to_string(b)); }

TEST_F(Go, CallsAnyCallableWithCopiesOfItsArguments) {
  struct speaker {
    std::string name;
    void speak(int n) { tell(name, n); }
  } s{"member"};
  struct functor {
    void operator()(const char* a, int b) const { tell(a, b); }
  } f;
  std::string text = "function";
  go(tell, text, 1);
  text = "changed";
  EXPECT_EQ(results.recv(), "function1");
  go(&speaker::speak, &s, 2);
  EXPECT_EQ(results.recv(), "member2");
  go(f, "functor", 3);
  EXPECT_EQ(results.recv(), "functor3");
  go([](auto... v) { tell("generic", (v + ...)); }, 1, 2, 3);
  EXPECT_EQ(results.recv(), "generic6");
  go([p = std::make_unique<int>(7)] { tell("moved", *p); });
  EXPECT_EQ(results.recv(), "moved7");
  int changed = 0;
  go([](int& n, std::unique_ptr<int> p) { n = *p, tell("ref", n); }, std::ref(changed), std::make_unique<int>(8));
  EXPECT_EQ(results.recv(), "ref8");
  EXPECT_EQ(changed, 8);
}

TEST_F(Go, ThrowingCopyComesOutOfGoAndStartsNothing) {
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::runtime_error("copy"); }
  } t;
  EXPECT_THROW(go([](const thrower&) {}, t), std::runtime_error);
  EXPECT_EQ(rt::gcount(), 1);
}

TEST_F(Go, ArgumentsDieWhenTheFunctionHasReturned) {
  auto alive = std::make_shared<int>(1);
  go([](std::shared_ptr<int>) {}, alive);
  EXPECT_TRUE(eventually([&] { return alive.use_count() == 1; }));
}

TEST_F(Go, OptionsNameTheGoroutineAndSizeItsStack) {
  chan<int> hold;
  std::atomic<rt::g*> gp{nullptr};
  go({.name = "reader", .stack_size = 1 << 20}, [&, hold] {
    gp = rt::getg();
    volatile char big[700 << 10];
    big[0] = 1;
    big[sizeof big - 1] = 1;
    hold.recv();
  });
  ASSERT_TRUE(eventually([&] { return gp.load() && parked(gp, rt::waitReasonChanReceive); }));
  EXPECT_STREQ(gp.load()->name, "reader");
  EXPECT_GE(gp.load()->stack.hi - gp.load()->stack.lo, (1u << 20) - 8192);
  hold.close();
}

TEST_F(Go, NameIsCutAt31Bytes) {
  rt::g* gp = rt::getg();
  vitrine::set_name(std::string(40, 'x'));
  EXPECT_EQ(std::string(gp->name), std::string(31, 'x'));
  vitrine::set_name(std::string(30, 'x') + "\xc3\xa4");  // the 31st and 32nd byte are one character
  EXPECT_EQ(std::string(gp->name), std::string(30, 'x'));
  vitrine::set_name(std::string(29, 'x') + "\xc3\xa4");
  EXPECT_EQ(std::string(gp->name), std::string(29, 'x') + "\xc3\xa4");
  vitrine::set_name("");
  EXPECT_STREQ(gp->name, "");
  chan<std::string> c;
  go({.name = std::string(40, 'y')}, [c] { c.send(rt::getg()->name); });
  EXPECT_EQ(c.recv(), std::string(31, 'y'));
  go([c] { c.send(rt::getg()->name); });
  EXPECT_EQ(c.recv(), "") << "a used g keeps no name";
}

void tellself(const chan<rt::g*>& self, const chan<int>& hold) {
  self.send(rt::getg());
  hold.recv();
}

__attribute__((noinline)) void creator(const chan<rt::g*>& self, const chan<int>& hold) { go(tellself, self, hold); }

TEST_F(Go, RecordsWhoCreatedIt) {
  chan<rt::g*> self;
  chan<int> hold;
  creator(self, hold);
  rt::g* gp = *self.recv();
  EXPECT_EQ(_Unwind_FindEnclosingFunction(reinterpret_cast<void*>(gp->gopc)), reinterpret_cast<void*>(&creator))
      << "although the call of go() is the last thing there";
  EXPECT_EQ(gp->parentGoid, vitrine::goid());
  hold.close();
}

TEST_F(Go, StartpcIsTheUsersFunction) {
  chan<rt::g*> self;
  chan<int> hold;
  go(tellself, self, hold);
  EXPECT_EQ((*self.recv())->startpc, reinterpret_cast<std::uintptr_t>(&tellself));
  auto lambda = [=] { tellself(self, hold); };
  vitrine::wait_group wg;
  auto task = vitrine::spawn(lambda);
  EXPECT_EQ((*self.recv())->startpc, rt::memberpc(&decltype(lambda)::operator()));
  wg.go(lambda);
  EXPECT_EQ((*self.recv())->startpc, rt::memberpc(&decltype(lambda)::operator()));
  struct object {
    void method(const chan<rt::g*>& s, const chan<int>& h) { tellself(s, h); }
  } o;
  go(&object::method, &o, self, hold);
  EXPECT_EQ((*self.recv())->startpc, rt::memberpc(&object::method));
  hold.close();
  wg.wait();
}

TEST_F(Go, GoidsComeInBatchesAndAreNeverUsedTwice) {
  constexpr int n = 1000;
  std::vector<std::uint64_t> ids(n);
  vitrine::wait_group wg;
  for (int i = 0; i < n; i++) wg.go([&, i] { ids[i] = vitrine::goid(); });
  wg.wait();
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), std::size_t(n));
  EXPECT_EQ(std::set(ids.begin(), ids.end()).count(0), 0u);
  for (std::int64_t i = 0; i < rt::allp.len; i++) {
    rt::p* pp = rt::allp.array[i];
    if (pp->goidcacheend != 0) {
      EXPECT_LE(pp->goidcacheend, rt::sched.goidgen.load() + 1) << "P " << i;
      EXPECT_LE(pp->goidcacheend - pp->goidcache, rt::GoidCacheBatch);
    }
  }
}

TEST_F(Go, DeadGoroutinesAreUsedAgain) {
  auto burst = [] {
    vitrine::wait_group wg;
    for (int i = 0; i < 100; i++) wg.go([] {});
    wg.wait();
    eventually([] { return rt::gcount() == 1; });
  };
  std::int64_t before = rt::allgs.len;
  const int bursts = underTsan ? 10 : 50;
  for (int i = 0; i < bursts; i++) burst();
  // At most 101 live at once, and a P keeps fewer than 64 dead ones to itself; the others are there for all.
  std::int64_t enough = 101 + 64 * vitrine::gomaxprocs();
  EXPECT_LE(rt::allgs.len, std::max(before, enough)) << 100 * bursts << " goroutines were started since";
}

// Nothing else orders what they did before what comes here (TSan says so if this does not): who counts takes no lock
// and lets no goroutine run on its own P.
TEST_F(Go, WhoCountsNoneLeftSeesWhatTheyDid) {
  for (int round = 0; round < 20; round++) {
    int done = 0;
    go([&] { done = 1; });
    vitrine::no_preempt alone;
    auto end = std::chrono::steady_clock::now() + 20s;
    while (rt::gcount() > 1 && std::chrono::steady_clock::now() < end) {
    }
    ASSERT_EQ(done, 1) << "round " << round;
  }
}

TEST_F(Go, AHundredThousandParkAtOnce) {
  const int n = underTsan ? 1000 : underAsan ? 20000 : 100000;
  chan<int> hold;
  vitrine::wait_group wg;
  std::atomic<int> running{0};
  for (int i = 0; i < n; i++)
    wg.go([&] {
      running++;
      hold.recv();
    });
  ASSERT_TRUE(eventually([&] { return running == n; }));
  EXPECT_EQ(vitrine::num_goroutine(), std::size_t(n) + 1);
  hold.close();
  wg.wait();
}

TEST_F(Go, WorksFromAForeignThread) {
  chan<std::uint64_t> c(1);
  std::thread([c] {
    EXPECT_EQ(vitrine::goid(), 0u);
    vitrine::set_name("not a goroutine");
    vitrine::yield();
    vitrine::checkpoint();
    go([c] { c.send(vitrine::goid()); });
  }).join();
  EXPECT_NE(*c.recv(), 0u);
}

__attribute__((noinline)) int readerrno() { return errno; }
__attribute__((noinline)) void writeerrno(int e) { errno = e; }

TEST_F(Go, ErrnoAndGoidStayWithTheGoroutine) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, moved{0};
  for (int i = 0; i < 16; i++)
    wg.go([&, i] {
      std::uint64_t id = vitrine::goid();
      std::thread::id before = std::this_thread::get_id();
      for (int k = 0; k < (underTsan ? 300 : 3000); k++) {
        writeerrno(1000 + i);
        vitrine::yield();
        wrong += readerrno() != 1000 + i || vitrine::goid() != id || rt::getg()->goid != id;
      }
      moved += std::this_thread::get_id() != before;
    });
  wg.wait();
  EXPECT_EQ(wrong, 0);
}

_Unwind_Reason_Code count(_Unwind_Context* context, void* arg) {
  static_cast<std::vector<std::uintptr_t>*>(arg)->push_back(_Unwind_GetIP(context));
  return _URC_NO_REASON;
}

TEST_F(Go, BacktraceEndsAtGoexit) {
  std::vector<std::uintptr_t> pcs;
  _Unwind_Reason_Code code = vitrine::spawn([&] {
                               vitrine::yield();
                               return _Unwind_Backtrace(count, &pcs);
                             }).get();
  EXPECT_EQ(code, _URC_END_OF_STACK);
  // libgcc reports the undefined return address of goexit as one more frame, at 0.
  if (!pcs.empty() && pcs.back() == 0) pcs.pop_back();
  ASSERT_FALSE(pcs.empty());
  EXPECT_LT(pcs.size(), 12u);
  EXPECT_EQ(pcs.back(), reinterpret_cast<std::uintptr_t>(&rt::goexit) + 1);
}

}  // namespace
