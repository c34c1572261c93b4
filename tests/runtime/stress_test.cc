// A random mix of everything that parks, by a few dozen goroutines at once. The seed is printed at the start, so that a
// crash leaves it too; VITRINE_SEED=N runs that mix again (the same choices; how the threads interleave is not
// repeated). No SCOPED_TRACE in here: GoogleTest keeps those per thread, and a goroutine wakes up on another one.
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "fixture.h"

namespace {

class Stress : public Goroutines {};

struct world {
  vitrine::chan<std::unique_ptr<int>> shared{16};
  vitrine::mutex m;
  long locked = 0;  // guarded by m
  std::atomic<long> locks{0}, sent{0}, received{0}, children{0}, childrenDone{0}, wrong{0};
};

int depth(int n) {
  if (n == 0) {
    vitrine::yield();
    return 0;
  }
  volatile int here = n;
  return depth(n - 1) + (here == n);
}

void step(world& w, std::mt19937& random) {
  switch (random() % 9) {
    case 0: {  // a child sends over a channel of its own
      vitrine::chan<int> c(random() % 3);
      int n = int(random() % 5), sum = 0;
      vitrine::go([c, n] {
        for (int i = 1; i <= n; i++) c.send(i);
        c.close();
      });
      for (int v : c) sum += v;
      w.wrong += sum != n * (n + 1) / 2;
      break;
    }
    case 1:
      if (w.shared.try_send(std::make_unique<int>(1))) w.sent++;
      break;
    case 2: {
      std::unique_ptr<int> p;
      if (w.shared.try_recv(p) == vitrine::chan_status::ok) w.received += *p;
      break;
    }
    case 3: {
      std::lock_guard guard(w.m);
      w.locks++;
      long before = w.locked;
      if (random() % 8 == 0) vitrine::yield();
      w.locked = before + 1;
      break;
    }
    case 4: {
      vitrine::wait_group wg;
      int n = int(random() % 6);
      std::atomic<int> done{0};
      for (int i = 0; i < n; i++)
        wg.go([&, pause = random() % 4] {
          if (pause == 0) vitrine::yield();
          done++;
        });
      w.children += n;
      wg.wait();
      w.childrenDone += done;
      break;
    }
    case 5:
      vitrine::sleep_for(std::chrono::microseconds(random() % 300));
      break;
    case 6: {
      int n = int(random() % 100);
      auto t = vitrine::spawn([n] {
        if (n % 3 == 0) throw n;
        return n;
      });
      try {
        w.wrong += t.get() != n;
      } catch (int e) {
        vitrine::yield();
        w.wrong += e != n;
      }
      break;
    }
    case 7: {
      int n = int(random() % 40);
      w.wrong += depth(n) != n;
      break;
    }
    case 8: {  // request and reply
      vitrine::chan<vitrine::chan<int>> requests;
      auto server = vitrine::spawn([requests] {
        for (auto reply : requests) reply.send(42);
      });
      for (int i = 0; i < 3; i++) {
        vitrine::chan<int> reply;
        requests.send(reply);
        w.wrong += reply.recv() != 42;
      }
      requests.close();
      break;
    }
  }
}

TEST_F(Stress, NothingIsLostInARandomMix) {
  const char* env = std::getenv("VITRINE_SEED");
  unsigned seed = env != nullptr ? unsigned(std::strtoul(env, nullptr, 0)) : std::random_device()();
  std::printf("VITRINE_SEED=%u\n", seed);
  std::fflush(stdout);
  world w;
  vitrine::wait_group wg;
  const int workers = 40, steps = underTsan || underAsan ? 100 : 1000;
  for (int i = 0; i < workers; i++)
    wg.go([&, i] {
      std::mt19937 random(seed + i);
      for (int k = 0; k < steps; k++) step(w, random);
    });
  wg.wait();
  EXPECT_EQ(w.wrong, 0) << "VITRINE_SEED=" << seed;
  EXPECT_EQ(w.locked, w.locks);
  EXPECT_EQ(w.children, w.childrenDone);
  EXPECT_EQ(w.sent - w.received, long(w.shared.size()));
}

}  // namespace
