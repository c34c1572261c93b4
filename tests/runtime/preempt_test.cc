// Goroutines that compute: they are asked to yield, and if they ignore that they lose their P and go on without one.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "fixture.h"
#include "proc.h"

using vitrine::chan;
using vitrine::go;

namespace {

class Preempt : public Goroutines {};
class World : public Goroutines {};

// Computes without a call of the runtime. ThreadSanitizer delivers signals at calls that it knows.
void spin() {
  if (underTsan)
    usleep(50);
  else
    rt::procyield(10);
}

void spinfor(std::chrono::nanoseconds d) {
  for (auto end = std::chrono::steady_clock::now() + d; std::chrono::steady_clock::now() < end;) spin();
}

struct hogs {
  std::atomic<bool> stop{false};
  std::vector<std::atomic<rt::g*>> gs;
  vitrine::wait_group wg;

  template <class F>
  hogs(int n, F body) : gs(std::size_t(n)) {
    for (int i = 0; i < n; i++)
      wg.go([this, i, body] {
        gs[std::size_t(i)] = rt::getg();
        while (!stop) body();
      });
  }
  void end() {
    stop = true;
    wg.wait();
  }
};

TEST_F(Preempt, GoroutineThatComputesLosesItsP) {
  hogs h(vitrine::gomaxprocs() + 1, spin);
  // All Ps are taken, and one goroutine more wants one, and so do we.
  EXPECT_TRUE(eventually([&] {
    for (auto& gp : h.gs)
      if (gp == nullptr) return false;
    return true;
  })) << "not every goroutine got to run";
  int without = 0;
  EXPECT_TRUE(eventually([&] {
    without = 0;
    for (auto& gp : h.gs) without += rt::load_relaxed(gp.load()->noproc);
    return without != 0;
  }));
  h.end();
  for (auto& gp : h.gs) EXPECT_EQ(rt::load_relaxed(gp.load()->noproc), 0);
}

TEST_F(Preempt, WithoutAPEverythingStillWorks) {
  const std::uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  chan<int> c(4);
  vitrine::mutex mu;
  std::int64_t guarded = 0;
  std::atomic<int> spawned{0}, lost{0};
  vitrine::wait_group wg;
  const int workers = 8, rounds = 6;
  std::atomic<std::int64_t> sum{0};
  vitrine::wait_group receivers;
  for (int i = 0; i < 2; i++)
    receivers.go([&] {
      for (int v : c) sum += v;
    });
  for (int w = 0; w < workers; w++)
    wg.go([&, w] {
      std::mt19937_64 random(seed + std::uint64_t(w));
      for (int r = 0; r < rounds; r++) {
        spinfor(std::chrono::milliseconds(random() % 40));
        if (rt::getg()->noproc) lost++;
        switch (random() % 6) {
          case 0:
            go([&] { spawned++; });
            break;
          case 1:
            vitrine::sleep_for(1ms);
            break;
          case 2: {
            std::lock_guard lock(mu);
            guarded++;
            spinfor(2ms);
            guarded++;
            break;
          }
          case 3:
            vitrine::spawn([] { return 1; }).join();
            break;
          case 4:
            vitrine::yield();
            break;
          default:
            break;
        }
        c.send(1);
      }
    });
  wg.wait();
  c.close();
  receivers.wait();
  EXPECT_EQ(sum, workers * rounds);
  EXPECT_EQ(guarded % 2, 0);
  EXPECT_GT(lost, 0) << "no goroutine ever lost its P";
}

TEST_F(Preempt, NoPreemptKeepsTheP) {
  std::atomic<bool> lost{false};
  vitrine::wait_group wg;
  for (int i = 1; i < vitrine::gomaxprocs(); i++)
    wg.go([&] {
      vitrine::no_preempt keep;
      vitrine::go([] {});  // waits on this P, which therefore is needed: sysmon sends no signal otherwise
      for (auto end = std::chrono::steady_clock::now() + 80ms; std::chrono::steady_clock::now() < end;) {
        spin();
        if (rt::getg()->noproc || rt::getg()->m->p == nullptr) lost = true;
      }
    });
  // As long as there are hogs on the last P's queue, its Ms do not steal those.
  hogs h(8, spin);
  wg.wait();
  EXPECT_FALSE(lost);
  h.end();
}

TEST_F(Preempt, CheckpointYields) {
  rt::m* own = rt::getg()->m;
  hogs h(vitrine::gomaxprocs() + 2, [] {
    spin();
    vitrine::checkpoint();
  });
  EXPECT_TRUE(eventually([&] {
    for (auto& gp : h.gs)
      if (gp == nullptr) return false;
    return true;
  }));
  h.end();
  (void)own;
}

TEST_F(Preempt, RequestDuringAPinIsPutOff) {
  rt::g* gp = rt::getg();
  rt::m* mp = rt::acquirem();
  bool putoff = false;
  for (int i = 0; i < 20 && !putoff; i++) {  // sysmon may ask at any moment, on a busy machine
    rt::store_relaxed(gp->preempt, 1);
    rt::store_relaxed(gp->stackguard0, rt::stackPreempt);
    rt::entry();
    putoff = rt::load_relaxed(gp->stackguard0) != rt::stackPreempt;
  }
  EXPECT_TRUE(putoff);
  EXPECT_EQ(rt::getg()->m, mp);
  EXPECT_EQ(rt::load_relaxed(gp->preempt), 1);
  rt::releasem(mp);
  EXPECT_EQ(rt::load_relaxed(gp->stackguard0), rt::stackPreempt) << "releasem brings it back";
  rt::entry();
  EXPECT_EQ(rt::load_relaxed(gp->preempt), 0);
}

TEST_F(Preempt, SignalDoesNotInterruptARead) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer puts signals off until the call has returned";
  // A read that was not announced: the thread is signalled because others need its P, and the read goes on.
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  // They come back for a P after they have lost one.
  hogs h(vitrine::gomaxprocs() + 4, [] {
    spinfor(25ms);
    vitrine::checkpoint();
  });
  char byte = 0;
  long got = 0;
  std::atomic<rt::g*> reader{nullptr};
  vitrine::wait_group wg;
  wg.go([&] {
    reader = rt::getg();
    got = read(fds[0], &byte, 1);
  });
  std::thread writer([&] {
    EXPECT_TRUE(eventually([&] { return reader != nullptr && rt::load_relaxed(reader.load()->noproc) != 0; }));
    EXPECT_EQ(write(fds[1], "x", 1), 1);
  });
  wg.wait();
  writer.join();
  h.end();
  EXPECT_EQ(got, 1);
  EXPECT_EQ(byte, 'x');
  close(fds[0]);
  close(fds[1]);
}

TEST_F(World, NumberOfPsChanges) {
  int before = vitrine::gomaxprocs();
  EXPECT_EQ(vitrine::gomaxprocs(2), before);
  EXPECT_EQ(vitrine::gomaxprocs(), 2);
  EXPECT_EQ(rt::allp.len, 2);
  for (int i = 2; i < before; i++) EXPECT_EQ(rt::allp.array[i]->status, rt::Pdead);
  EXPECT_EQ(vitrine::gomaxprocs(7), 2);
  EXPECT_EQ(rt::allp.len, 7);
  EXPECT_EQ(vitrine::gomaxprocs(0), 7);
  EXPECT_EQ(vitrine::gomaxprocs(1'000'000), 7);
  EXPECT_EQ(vitrine::gomaxprocs(before), rt::MaxGomaxprocs);
  EXPECT_EQ(vitrine::gomaxprocs(-1), before);
}

TEST_F(World, IsStoppedSoonThoughSomebodyComputes) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer delivers signals late";
  int before = vitrine::gomaxprocs(2);
  auto least = std::chrono::nanoseconds::max();
  for (int i = 0; i < 20; i++) {
    std::atomic<bool> runs{false}, stop{false};
    vitrine::wait_group wg;
    wg.go([&] {
      for (runs = true; !stop;) spin();
    });
    EXPECT_TRUE(eventually([&] { return runs.load(); }));
    auto begin = std::chrono::steady_clock::now();
    vitrine::gomaxprocs(2 + i % 2);
    vitrine::gomaxprocs(3 - i % 2);
    least = std::min<std::chrono::nanoseconds>(least, std::chrono::steady_clock::now() - begin);
    stop = true;
    wg.wait();
  }
  vitrine::gomaxprocs(before);
  EXPECT_LT(least, 1ms) << "ns";
}

TEST_F(World, WorkGoesOnWhileTheNumberChanges) {
  const std::uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  int before = vitrine::gomaxprocs();
  chan<int> c(3);
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> sent{0}, got{0}, slept{0};
  vitrine::wait_group senders, receivers;
  for (int i = 0; i < 6; i++)
    senders.go([&, i] {
      for (int n = 0; !stop; n++) {
        c.send(1);
        sent++;
        if (n % 64 == i) {
          vitrine::sleep_for(100us);
          slept++;
        }
      }
    });
  for (int i = 0; i < 3; i++)
    receivers.go([&] {
      for (int v : c) got += v;
    });
  std::mt19937_64 random(seed);
  const int changes = underTsan ? 60 : 400;
  for (int i = 0; i < changes; i++) {
    vitrine::gomaxprocs(1 + int(random() % 8));
    if (i % 3 == 0) vitrine::sleep_for(std::chrono::microseconds(random() % 500));
  }
  // A thread that is no goroutine may do it too.
  int seen = 0;
  std::thread([&] { seen = vitrine::gomaxprocs(3); }).join();
  EXPECT_GT(seen, 0);
  EXPECT_EQ(vitrine::gomaxprocs(before), 3);
  stop = true;
  senders.wait();
  c.close();
  receivers.wait();
  EXPECT_EQ(sent, got);
  EXPECT_GT(slept, 0);
}

TEST_F(World, StopsInSpiteOfGoroutinesThatCompute) {
  int before = vitrine::gomaxprocs();
  hogs h(before + 2, spin);
  EXPECT_TRUE(eventually([&] { return h.gs[0] != nullptr && h.gs[1] != nullptr; }));
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; i++) {
    EXPECT_EQ(vitrine::gomaxprocs(before + 1), before);
    EXPECT_EQ(vitrine::gomaxprocs(before), before + 1);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);
  h.end();
}

}  // namespace
