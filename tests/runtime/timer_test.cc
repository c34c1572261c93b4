// vitrine::timer, ticker and after.
#include <memory>
#include <random>
#include <vector>

#include "fixture.h"

namespace {

using clock_type = std::chrono::steady_clock;
using vitrine::ticker;
using vitrine::timer;

class Timer : public Goroutines {};

// What is in the heaps.
std::vector<rt::timer> pending() {
  std::vector<rt::timer> all;
  for (std::int64_t k = 0; k < rt::allp.len; k++) {
    rt::timers& ts = rt::allp.array[k]->timers;
    rt::lock(&ts.lock);
    for (std::int64_t i = 0; i < ts.heap.len; i++)
      if (ts.heap.array[i].timer->zombie == 0) all.push_back(*ts.heap.array[i].timer);
    rt::unlock(&ts.lock);
  }
  return all;
}

TEST_F(Timer, RunsAFunctionOnItsOwnGoroutine) {
  std::atomic<std::uint64_t> id{0};
  auto start = clock_type::now();
  std::atomic<clock_type::duration::rep> took{0};
  timer t(300ms, [&] {  // so long that it is still pending when we look
    took = (clock_type::now() - start).count();
    vitrine::yield();
    id = vitrine::goid();
  });
  auto all = pending();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].kind, rt::timerFunc);
  EXPECT_EQ(all[0].goid, vitrine::goid());
  EXPECT_TRUE(eventually([&] { return id != 0; }));
  EXPECT_NE(id, vitrine::goid());
  EXPECT_GE(took, 300'000'000);
  EXPECT_FALSE(t.stop());
  EXPECT_THROW(t.channel(), std::logic_error);
}

TEST_F(Timer, SendsTheTimeOnAChannel) {
  timer t(1h);
  auto all = pending();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].kind, rt::timerChan);
  EXPECT_EQ(all[0].arg, rt::chanaccess::of(t.channel()));
  EXPECT_EQ(t.channel().capacity(), 1u);
  auto start = clock_type::now();
  t.reset(2ms);
  auto at = t.channel().recv();
  ASSERT_TRUE(at);
  EXPECT_GE(*at - start, 2ms);
  EXPECT_LE(*at, clock_type::now());
  EXPECT_FALSE(t.stop());
}

TEST_F(Timer, StopPreventsIt) {
  std::atomic<int> runs{0};
  timer f(200ms, [&] { runs++; }), c(200ms);
  EXPECT_TRUE(f.stop());
  EXPECT_TRUE(c.stop());
  EXPECT_FALSE(f.stop());
  EXPECT_FALSE(c.stop());
  EXPECT_EQ(pendingtimers(), 0);
  vitrine::sleep_for(250ms);
  EXPECT_EQ(runs, 0);
  EXPECT_EQ(c.channel().size(), 0u);
}

TEST_F(Timer, NoStaleTimeAfterStopOrReset) {
  timer t(1ms);
  EXPECT_TRUE(eventually([&] { return t.channel().size() == 1; }));
  EXPECT_TRUE(t.stop()) << "nobody had received its time";
  EXPECT_EQ(t.channel().size(), 0u);
  EXPECT_FALSE(t.reset(1ms));
  EXPECT_TRUE(eventually([&] { return t.channel().size() == 1; }));
  EXPECT_TRUE(t.reset(1h));
  EXPECT_EQ(t.channel().size(), 0u);
  auto before = clock_type::now();
  EXPECT_TRUE(t.reset(1ms));
  EXPECT_GE(*t.channel().recv() - before, 1ms);
}

// The firing was chosen before the stop or reset, and comes after it.
TEST_F(Timer, LateFiringDoesNothing) {
  std::atomic<int> runs{0};
  timer f(1h, [&] { runs++; }), c(2h);
  rt::timer* raw[2];
  for (std::int64_t k = 0; k < rt::allp.len; k++) {
    rt::timers& ts = rt::allp.array[k]->timers;
    for (std::int64_t i = 0; i < ts.heap.len; i++)
      raw[ts.heap.array[i].timer->kind == rt::timerChan] = ts.heap.array[i].timer;
  }
  for (rt::timer* t : raw) EXPECT_TRUE(rt::deltimer(t));
  EXPECT_TRUE(f.stop());
  EXPECT_TRUE(c.reset(1h));
  for (rt::timer* t : raw) t->f(t->arg, t->seq);
  EXPECT_EQ(c.channel().size(), 0u);
  EXPECT_FALSE(f.reset(1ms));
  EXPECT_TRUE(eventually([&] { return runs == 1; }));
  EXPECT_TRUE(c.stop());
}

TEST_F(Timer, PutOffItComesAtItsNewTimeOnly) {
  timer t(5ms);
  auto start = clock_type::now();
  EXPECT_TRUE(t.reset(60ms));
  EXPECT_GE(*t.channel().recv() - start, 60ms);
  EXPECT_EQ(pendingtimers(), 0);
  EXPECT_FALSE(t.reset(1h));
  EXPECT_TRUE(t.stop());
  EXPECT_FALSE(t.reset(1ms));  // a zombie if others are pending, else out of the heap
  t.channel().recv();
}

std::int64_t inheaps() {
  std::int64_t n = 0;
  for (std::int64_t k = 0; k < rt::allp.len; k++) n += rt::allp.array[k]->timers.heap.len;
  return n;
}

TEST_F(Timer, StoppedOnesLeaveTheHeapTogether) {
  const int procs = vitrine::gomaxprocs(1);
  std::vector<timer> all;
  for (int i = 0; i < 100; i++) all.emplace_back(1h);
  for (int i = 0; i < 25; i++) EXPECT_TRUE(all[std::size_t(i)].stop());
  EXPECT_EQ(pendingtimers(), 75);
  EXPECT_EQ(inheaps(), 100);
  EXPECT_FALSE(all[3].reset(2h));
  EXPECT_TRUE(all[3].stop());
  EXPECT_TRUE(all[25].stop());
  EXPECT_EQ(inheaps(), 74);
  for (int i = 0; i < 10; i++) EXPECT_TRUE(all[std::size_t(30 + i)].stop());
  EXPECT_EQ(inheaps(), 74);
  // Their memory is the heap's until then.
  all.erase(all.begin() + 30, all.begin() + 40);
  all.clear();
  EXPECT_EQ(pendingtimers(), 0);
  EXPECT_EQ(inheaps(), 0);
  vitrine::gomaxprocs(procs);
}

TEST_F(Timer, ResetRunsTheFunctionAgain) {
  std::atomic<int> runs{0};
  timer t(0s, [&, state = std::make_unique<int>(5)] { runs += *state; });
  EXPECT_TRUE(eventually([&] { return runs == 5; }));
  EXPECT_FALSE(t.reset(-1s));
  EXPECT_TRUE(eventually([&] { return runs == 10; }));
  EXPECT_FALSE(t.reset(1h));
  EXPECT_TRUE(t.reset(1ms));
  EXPECT_TRUE(eventually([&] { return runs == 15; }));
}

TEST_F(Timer, DestructorStopsAndFreesTheFunction) {
  auto token = std::make_shared<int>();
  std::atomic<int> runs{0};
  {
    timer t(1h, [&, token] { runs++; });
    EXPECT_EQ(token.use_count(), 2);
    timer moved = std::move(t);
    EXPECT_EQ(token.use_count(), 2);
    EXPECT_FALSE(t.stop());
    moved = timer(2h);
    EXPECT_EQ(token.use_count(), 1);
    EXPECT_EQ(pendingtimers(), 1);
  }
  EXPECT_EQ(pendingtimers(), 0);
  // One that runs while its timer goes keeps what it needs.
  vitrine::chan<int> go, done;
  {
    timer t(0s, [token, go, done] {
      go.send(0);
      go.recv();
      done.send(int(token.use_count()));
    });
    go.recv();
  }
  EXPECT_EQ(token.use_count(), 2);
  go.send(0);
  EXPECT_EQ(done.recv(), 2);
  EXPECT_TRUE(eventually([&] { return token.use_count() == 1; }));
}

TEST_F(Timer, TickerTicks) {
  auto start = clock_type::now();
  ticker t(2ms);
  EXPECT_EQ(pending().at(0).period, 2'000'000);
  auto c = t.channel();
  for (int i = 1; i <= 5; i++) EXPECT_GE(*c.recv() - start, i * 2ms);
  t.stop();
  EXPECT_EQ(pendingtimers(), 0);
  EXPECT_EQ(c.size(), 0u);
  EXPECT_FALSE(c.closed());
  t.reset(1ms);
  c.recv();
  EXPECT_EQ(pending().at(0).period, 1'000'000);
  EXPECT_THROW(ticker(0s), std::logic_error);
}

TEST_F(Timer, TickerDropsTicksForSlowReaders) {
  ticker t(1ms);
  vitrine::sleep_for(30ms);
  EXPECT_EQ(t.channel().size(), 1u);
  auto first = *t.channel().recv();
  auto second = *t.channel().recv();
  EXPECT_GT(second - first, 10ms) << "ticks were kept";
}

TEST_F(Timer, AfterNeedsNoTimer) {
  auto start = clock_type::now();
  vitrine::chan<int> never;
  EXPECT_EQ(vitrine::select(vitrine::on_recv(never, [](auto) {}),
                            vitrine::on_recv(vitrine::after(3ms), [&](auto at) { EXPECT_GE(*at - start, 3ms); })),
            1);
  auto dropped = vitrine::after(1ms);
  dropped = vitrine::after(2ms);
  dropped.recv();
}

TEST_F(Timer, ForeignThreadsUseTimers) {
  std::atomic<int> runs{0};
  std::thread t([&] {
    timer f(1ms, [&] { runs++; });
    timer c(1ms);
    EXPECT_TRUE(c.channel().recv());
    ticker k(500us);
    for (int i = 0; i < 5; i++) k.channel().recv();
    while (runs == 0) vitrine::sleep_for(100us);
  });
  t.join();
  EXPECT_EQ(runs, 1);
}

// stop() and reset() against the firing, on several Ps: a stop that says true means that it did not run.
TEST_F(Timer, StopsAndFiringsAgree) {
  const unsigned seed = std::random_device{}();
  std::atomic<std::int64_t> runs{0}, expected{0};
  constexpr int workers = 6, rounds = underTsan ? 200 : 2000;
  vitrine::wait_group wg;
  for (int w = 0; w < workers; w++)
    wg.go([&, w] {
      std::mt19937 random(seed + unsigned(w));
      auto soon = [&] { return std::chrono::microseconds(random() % 50); };
      for (int i = 0; i < rounds; i++) {
        timer f(soon(), [&] { runs++; });
        timer c(soon());
        expected++;
        for (unsigned k = random() % 1500; k > 0; k--) rt::procyield(1);
        if (random() % 3 == 0) expected += f.reset(soon()) ? 0 : 1;
        if (random() % 3 == 0) vitrine::yield();
        auto before = clock_type::now();
        c.reset(soon());
        if (random() % 2 == 0) {
          auto at = c.channel().recv();
          if (*at < before) ADD_FAILURE() << "a stale time; seed " << seed;
        }
        ticker t(1us + soon());
        if (random() % 2 == 0) t.channel().recv();
        expected -= f.stop() ? 1 : 0;
        c.stop();
        if (c.channel().size() != 0) ADD_FAILURE() << "a value after stop; seed " << seed;
      }
    });
  wg.wait();
  EXPECT_TRUE(eventually([&] { return runs >= expected; }));
  EXPECT_EQ(runs, expected) << "seed " << seed;
}

TEST_F(Timer, ManyTimersFireAndAreCancelled) {
  constexpr int n = underTsan ? 5000 : 100000;
  std::mt19937 random(3);
  std::atomic<int> runs{0};
  std::vector<timer> ts;
  ts.reserve(n);
  for (int i = 0; i < n; i++) ts.emplace_back(std::chrono::microseconds(random() % 50000), [&] { runs++; });
  int stopped = 0;
  for (int i = 0; i < n; i += 2) stopped += ts[std::size_t(i)].stop();
  EXPECT_TRUE(eventually([&] { return runs == n - stopped; })) << runs << " " << stopped;
}

}  // namespace
