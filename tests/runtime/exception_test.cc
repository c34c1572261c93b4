// C++ exceptions and goroutines: the state that the C++ library keeps per thread belongs to the goroutine here.
#include <exception>
#include <stdexcept>

#include "fixture.h"

namespace {

class Exceptions : public Goroutines {};

struct numbered {
  int n;
};

TEST_F(Exceptions, AreThrownAndCaughtInManyGoroutines) {
  std::atomic<int> wrong{0};
  vitrine::wait_group wg;
  for (int i = 0; i < 64; i++)
    wg.go([&, i] {
      for (int k = 0; k < (underTsan ? 20 : 200); k++) {
        try {
          vitrine::yield();
          throw numbered{i * 1000 + k};
        } catch (const numbered& e) {
          wrong += e.n != i * 1000 + k;
        }
      }
    });
  wg.wait();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Exceptions, ParkInsideCatchKeepsTheExceptionOfEachOfAThousand) {
  const int n = 1000;
  vitrine::chan<int> gate;
  std::atomic<int> parkedInCatch{0}, wrong{0};
  vitrine::wait_group wg;
  for (int i = 0; i < n; i++)
    wg.go([&, i] {
      try {
        throw numbered{i};
      } catch (const numbered& outer) {
        try {
          throw std::runtime_error(std::to_string(i));
        } catch (const std::runtime_error& inner) {
          parkedInCatch++;
          gate.recv();
          wrong += std::uncaught_exceptions() != 0;
          wrong += inner.what() != std::to_string(i);
          try {
            throw;
          } catch (const std::runtime_error& again) {
            wrong += again.what() != std::to_string(i);
          }
          vitrine::yield();
        }
        vitrine::yield();
        try {
          throw;
        } catch (const numbered& again) {
          wrong += again.n != i || outer.n != i;
        }
      }
      wrong += std::current_exception() != nullptr;
    });
  ASSERT_TRUE(eventually([&] { return parkedInCatch == n; }));
  EXPECT_EQ(std::current_exception(), nullptr) << "this goroutine has caught nothing";
  gate.close();
  wg.wait();
  EXPECT_EQ(wrong, 0);
}

struct yielder {
  std::atomic<int>& wrong;
  ~yielder() {
    for (int i = 0; i < 5; i++) {
      wrong += std::uncaught_exceptions() != 1;
      vitrine::yield();
    }
    try {
      throw 1;
    } catch (int) {
      wrong += std::uncaught_exceptions() != 1;
    }
  }
};

TEST_F(Exceptions, ParkDuringUnwindingKeepsUncaughtExceptions) {
  std::atomic<int> wrong{0}, caught{0};
  vitrine::wait_group wg;
  for (int i = 0; i < 100; i++)
    wg.go([&, i] {
      wrong += std::uncaught_exceptions() != 0;
      if (i % 2 == 0) return vitrine::yield();
      try {
        yielder y{wrong};
        throw numbered{i};
      } catch (const numbered& e) {
        caught += e.n == i;
      }
      wrong += std::uncaught_exceptions() != 0;
    });
  wg.wait();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(caught, 50);
}

TEST_F(Exceptions, PassFromATaskThroughAJoinInsideACatch) {
  auto inner = vitrine::spawn([] {
    vitrine::yield();
    throw numbered{1};
  });
  try {
    throw numbered{2};
  } catch (const numbered& outer) {
    EXPECT_THROW(inner.join(), numbered);
    EXPECT_EQ(outer.n, 2);
  }
}

TEST_F(Exceptions, ChanClosedIsAStandardException) {
  vitrine::chan<int> c;
  c.close();
  try {
    c.send(1);
    FAIL();
  } catch (const std::exception& e) {
    EXPECT_STREQ(e.what(), "send on closed channel");
  }
}

}  // namespace
