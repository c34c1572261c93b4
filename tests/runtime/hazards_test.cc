// What C++ and its library keep per thread and a goroutine takes along: docs/hazards.md names each test with the hazard
// that it stands for. (The kernel's side: hazards_os_test.cc; programs of their own: hazards_exec_test.cc.)
#include <cerrno>
#include <cfenv>
#include <exception>
#include <memory>

#include "fixture.h"
#include "proc.h"

using vitrine::chan;
using vitrine::go;

namespace {

class Hazard : public Goroutines {};

// The address of errno is another thread's after a wait, and the compiler takes it for a constant of the function.
[[gnu::noinline]] int& theerrno() {
  asm volatile("");
  return errno;
}

// Parks until this goroutine is on another M: it is readied by one that then keeps its M busy until we run, so we run
// elsewhere, unless that one had moved itself, or all Ps are kept busy by others who move. Not all of them for the same
// time, then.
[[gnu::noinline]] bool move() {
  auto deadline = std::chrono::steady_clock::now() + 30s;
  for (std::uint32_t tries = 0; std::chrono::steady_clock::now() < deadline; tries++) {
    rt::m* from = rt::getg()->m;
    auto back = std::make_shared<std::atomic<bool>>(false);
    chan<int> c;
    auto busy = std::chrono::microseconds(50 + rt::fastrandn(200 << (tries < 7 ? tries : 7)));
    go([back, c, busy] {
      c.send(1);
      auto end = std::chrono::steady_clock::now() + busy;
      while (!*back && std::chrono::steady_clock::now() < end) rt::procyield(1);
    });
    c.recv();
    bool moved = rt::getg()->m != from;
    *back = true;
    if (moved) return true;
  }
  return false;
}

// ---- exceptions

struct counted {
  static inline std::atomic<int> live{0};
  int n;
  explicit counted(int k) : n(k) { live++; }
  counted(const counted& o) : n(o.n) { live++; }
  ~counted() { live--; }
};

TEST_F(Hazard, RethrownAfterAMoveIsTheSameException) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 20; i++)
    wg.go([&, i] {
      const counted* thrown = nullptr;
      try {
        try {
          throw counted(i);
        } catch (const counted& e) {
          thrown = &e;
          stayed += !move();
          wrong += std::uncaught_exceptions() != 0 || std::current_exception() == nullptr;
          throw;
        }
      } catch (const counted& e) {
        stayed += !move();
        wrong += &e != thrown || e.n != i;
      }
      wrong += std::current_exception() != nullptr;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted::live, 0);
}

TEST_F(Hazard, NestedHandlersMoveAsOne) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 12; i++)
    wg.go([&, i] {
      try {
        throw counted(i);
      } catch (const counted& a) {
        stayed += !move();
        try {
          throw counted(i + 100);
        } catch (const counted& b) {
          stayed += !move();
          try {
            throw counted(i + 200);
          } catch (const counted& c) {
            stayed += !move();
            wrong += a.n != i || b.n != i + 100 || c.n != i + 200;
          }
          try {
            throw;
          } catch (const counted& again) {
            wrong += &again != &b;
          }
        }
        stayed += !move();
        try {
          throw;
        } catch (const counted& again) {
          wrong += &again != &a;
        }
      }
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted::live, 0);
}

// Leaves by an exception of its own inside each of `depth` destructors that an exception already runs.
struct unwinding {
  std::atomic<int>&wrong, &stayed;
  int depth;
  int before = std::uncaught_exceptions();
  ~unwinding() {
    wrong += std::uncaught_exceptions() != before + 1;
    stayed += !move();
    wrong += std::uncaught_exceptions() != before + 1;
    if (depth == 0) return;
    try {
      unwinding inner{wrong, stayed, depth - 1};
      throw counted(depth);
    } catch (const counted& e) {
      stayed += !move();
      wrong += e.n != depth || std::uncaught_exceptions() != before + 1;
    }
  }
};

TEST_F(Hazard, UncaughtExceptionsMoveWithTheGoroutineThatUnwinds) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0}, caught{0};
  for (int i = 0; i < 12; i++)
    wg.go([&, i] {
      if (i % 3 == 0) {
        stayed += !move();
        wrong += std::uncaught_exceptions() != 0;
        return;
      }
      try {
        unwinding outer{wrong, stayed, 2};
        throw counted(1);
      } catch (const counted& e) {
        caught += e.n;
      }
      wrong += std::uncaught_exceptions() != 0;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(caught, 8);
  EXPECT_EQ(counted::live, 0);
}

TEST_F(Hazard, ExceptionPointersPassBetweenGoroutines) {
  chan<std::exception_ptr> c;
  std::atomic<int> sum{0};
  vitrine::wait_group senders, receivers;
  for (int i = 0; i < 10; i++)
    senders.go([&, i] {
      try {
        throw counted(i);
      } catch (...) {
        for (int k = 0; k < 5; k++) c.send(std::current_exception());
      }
    });
  for (int i = 0; i < 5; i++)
    receivers.go([&] {
      for (std::exception_ptr p : c) try {
          std::rethrow_exception(p);
        } catch (const counted& e) {
          vitrine::yield();
          sum += e.n;
        }
    });
  senders.wait();
  c.close();
  receivers.wait();
  EXPECT_EQ(sum, 5 * 45);
  EXPECT_EQ(counted::live, 0);
}

// ---- errno, floating point

TEST_F(Hazard, ErrnoMovesWithTheGoroutine) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 20; i++)
    wg.go([&, i] {
      wrong += theerrno() != 0;
      theerrno() = 1000 + i;
      stayed += !move();
      wrong += theerrno() != 1000 + i;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
}

TEST_F(Hazard, RoundingModeMovesWithTheGoroutineAndIsNotInherited) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (int i = 0; i < 40; i++)
    wg.go([&, i] {
      wrong += std::fegetround() != FE_TONEAREST;
      std::fesetround(modes[i % 4]);
      vitrine::yield();
      if (i < 8) stayed += !move();
      wrong += std::fegetround() != modes[i % 4];
      vitrine::spawn([&] { wrong += std::fegetround() != FE_TONEAREST; }).join();
      wrong += std::fegetround() != modes[i % 4];
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

}  // namespace
