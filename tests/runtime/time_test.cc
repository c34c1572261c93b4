// Sleeping and the timers below it.
#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "fixture.h"

namespace {

using clock_type = std::chrono::steady_clock;

class Time : public Goroutines {};

TEST_F(Time, SleepNeverEndsEarly) {
  for (auto d : {1us, 100us, 1000us, 3000us}) {
    auto start = clock_type::now();
    vitrine::sleep_for(d);
    EXPECT_GE(clock_type::now() - start, d);
  }
  auto start = clock_type::now();
  vitrine::sleep_until(start + 2ms);
  EXPECT_GE(clock_type::now() - start, 2ms);
  auto wall = std::chrono::system_clock::now() + 2ms;
  vitrine::sleep_until(wall);
  EXPECT_GE(std::chrono::system_clock::now(), wall);
}

TEST_F(Time, SleepOfNothingReturnsAtOnce) {
  auto start = clock_type::now();
  vitrine::sleep_for(0s);
  vitrine::sleep_for(-5h);
  vitrine::sleep_until(start - 1h);
  EXPECT_LT(clock_type::now() - start, 1s);
}

TEST_F(Time, SleepersWakeInTheOrderOfTheirTimes) {
  std::vector<int> order;
  vitrine::mutex m;
  vitrine::wait_group wg;
  for (int i : {3, 0, 4, 1, 2})
    wg.go([&, i] {
      vitrine::sleep_for(20ms + i * 40ms);
      std::lock_guard guard(m);
      order.push_back(i);
    });
  wg.wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_F(Time, DurationsRoundUpAndSaturate) {
  using namespace std::chrono;
  EXPECT_EQ(rt::nanoseconds(1ns), 1);
  EXPECT_EQ(rt::nanoseconds(duration<double, std::nano>(1.25)), 2);
  EXPECT_EQ(rt::nanoseconds(duration<double>(0.5)), 500000000);
  EXPECT_EQ(rt::nanoseconds(duration<int, std::pico>(1)), 1);
  EXPECT_EQ(rt::nanoseconds(-1s), 0);
  EXPECT_EQ(rt::nanoseconds(hours::max()), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(rt::nanoseconds(duration<double>(std::numeric_limits<double>::quiet_NaN())), 0);
}

TEST_F(Time, LongestSleepIsNotInThePast) {
  std::atomic<bool> woke{false};
  rt::g* forever = startedparked(rt::waitReasonSleep, [&] {
    vitrine::sleep_for(std::chrono::hours::max());
    woke = true;
  });
  vitrine::sleep_for(40ms);
  EXPECT_FALSE(woke);
  // Bring it forward, so that it ends: its timer is the only one left.
  for (std::int64_t i = 0; i < rt::allp.len; i++) {
    rt::timers& ts = rt::allp.array[i]->timers;
    rt::lock(&ts.lock);
    if (ts.heap.len == 1 && ts.heap.array[0].timer == forever->timer_) {
      EXPECT_EQ(ts.heap.array[0].when, std::numeric_limits<std::int64_t>::max());
      ts.heap.array[0].when = ts.heap.array[0].timer->when = 1;
      ts.minWhen.store(1);
    }
    rt::unlock(&ts.lock);
  }
  EXPECT_TRUE(eventually([&] { return woke.load(); }));
}

TEST_F(Time, HeapsKeepTheirOrder) {
  std::mt19937 random(7);
  vitrine::wait_group wg;
  const int n = underTsan ? 300 : 3000;
  for (int i = 0; i < n; i++) wg.go([d = random() % 60] { vitrine::sleep_for(30ms + std::chrono::milliseconds(d)); });
  int seen = 0;
  auto check = [&] {
    for (std::int64_t k = 0; k < rt::allp.len; k++) {
      rt::timers& ts = rt::allp.array[k]->timers;
      rt::lock(&ts.lock);
      EXPECT_EQ(ts.len.load(), ts.heap.len);
      EXPECT_EQ(ts.minWhen.load(), ts.heap.len == 0 ? 0 : ts.heap.array[0].when);
      for (std::int64_t i = 0; i < ts.heap.len; i++, seen++) {
        rt::timerWhen tw = ts.heap.array[i];
        EXPECT_EQ(tw.timer->index, i);
        EXPECT_EQ(tw.timer->when, tw.when);
        EXPECT_EQ(tw.timer->pp, rt::allp.array[k]);
        EXPECT_GE(tw.when, ts.heap.array[i == 0 ? 0 : (i - 1) / 4].when);
      }
      rt::unlock(&ts.lock);
    }
  };
  for (int i = 0; i < 20; i++) {
    vitrine::sleep_for(4ms);
    check();
  }
  EXPECT_GT(seen, 0);
  wg.wait();
}

TEST_F(Time, TimersOfABusyPAreRunByOthers) {
  std::atomic<bool> woke{false};
  vitrine::go([&] {
    vitrine::sleep_for(5ms);
    woke = true;
  });
  // This P goes on without a call while the sleeper, whose timer may be its own, must wake up elsewhere.
  ASSERT_TRUE(eventually([&] { return pendingtimers() == 1 || woke; }));
  auto end = clock_type::now() + 10s;
  while (!woke && clock_type::now() < end) rt::procyield(10);
  EXPECT_TRUE(woke);
}

TEST_F(Time, EarlierSleepCutsTheSleepOfThePoller) {
  // One long sleep makes some M the poller; a shorter one that begins then must not wait for it.
  vitrine::chan<int> done(2);
  vitrine::go([done] {
    vitrine::sleep_for(1500ms);
    done.send(2);
  });
  vitrine::sleep_for(20ms);
  auto start = clock_type::now();
  vitrine::go([done] {
    vitrine::sleep_for(5ms);
    done.send(1);
  });
  EXPECT_EQ(done.recv(), 1);
  EXPECT_LT(clock_type::now() - start, 1s);
  EXPECT_EQ(done.recv(), 2);
}

// Adds a timer and computes on: only another M can run it, and it has to be told that there is one. Before that it
// computes for a while, so that the others have looked for timers and gone to sleep.
bool runswhilebusy(clock_type::duration limit) {
  static std::atomic<bool> ran;
  ran = false;
  for (auto end = clock_type::now() + 30ms; clock_type::now() < end;) rt::procyield(10);
  rt::timer t{};
  t.when = rt::nanotime() + 3'000'000;
  t.f = [](void*, std::uint64_t) { ran = true; };
  rt::addtimer(&t);
  for (auto end = clock_type::now() + limit; !ran && clock_type::now() < end;) rt::procyield(10);
  return ran;
}

TEST_F(Time, NewTimerWakesThePollerThatSleepsBeyondIt) {
  auto sleeper = vitrine::spawn([] { vitrine::sleep_for(1500ms); });
  ASSERT_TRUE(eventually([] { return pendingtimers() == 1; }));
  EXPECT_TRUE(runswhilebusy(1300ms));
}

TEST_F(Time, NewTimerFindsAPollerWhenThereIsNone) { EXPECT_TRUE(runswhilebusy(10s)); }

// What the runtime keeps of timers that a test made, checked while nothing else changes them.
void checkheaps() {
  for (std::int64_t k = 0; k < rt::allp.len; k++) {
    rt::timers& ts = rt::allp.array[k]->timers;
    rt::lock(&ts.lock);
    std::int64_t zombies = 0;
    for (std::int64_t i = 0; i < ts.heap.len; i++) {
      const rt::timer* t = ts.heap.array[i].timer;
      EXPECT_EQ(t->index, i);
      EXPECT_GE(ts.heap.array[i].when, ts.heap.array[i == 0 ? 0 : (i - 1) / 4].when);
      if (t->zombie == 0)
        EXPECT_LE(ts.heap.array[i].when, t->when);
      else
        zombies++;
    }
    EXPECT_EQ(ts.minWhen.load(), ts.heap.len == 0 ? 0 : ts.heap.array[0].when);
    EXPECT_EQ(ts.zombies, zombies);
    EXPECT_EQ(ts.len.load(), ts.heap.len - zombies);
    EXPECT_TRUE(zombies == 0 || zombies < ts.heap.len);
    rt::unlock(&ts.lock);
  }
}

void countone(void* arg, std::uint64_t n) { *static_cast<std::atomic<std::uint64_t>*>(arg) += n; }

TEST_F(Time, TimersLeaveTheMiddleOfTheHeap) {
  std::mt19937 random(11);
  std::vector<rt::timer> ts(2000);
  std::atomic<std::uint64_t> fired{0};
  for (auto& t : ts) {
    t.when = rt::nanotime() + 3600'000'000'000 + random() % 1000;
    t.f = countone;
    t.arg = &fired;
    t.seq = 1;
    t.index = -1;
    EXPECT_FALSE(rt::deltimer(&t));
    rt::addtimer(&t);
  }
  std::vector<rt::timer*> order;
  for (auto& t : ts) order.push_back(&t);
  std::shuffle(order.begin(), order.end(), random);
  for (std::size_t i = 0; i < order.size(); i++) {
    if (i % 3 == 0)
      EXPECT_TRUE(rt::modtimer(order[i], rt::nanotime() + 7200'000'000'000 - random() % 7200'000'000'000, 0));
    else
      EXPECT_TRUE(rt::deltimer(order[i]));
    if (i % 100 == 0) checkheaps();
  }
  for (std::size_t i = 0; i < order.size(); i++) EXPECT_EQ(rt::deltimer(order[i]), i % 3 == 0);
  EXPECT_EQ(pendingtimers(), 0);
  EXPECT_EQ(fired, 0u);
}

TEST_F(Time, ModtimerBringsATimerForwardAndBack) {
  std::atomic<std::uint64_t> fired{0};
  rt::timer t{};
  t.when = rt::nanotime() + 3600'000'000'000;
  t.f = countone;
  t.arg = &fired;
  t.seq = 1;
  t.index = -1;
  rt::addtimer(&t);
  EXPECT_TRUE(rt::modtimer(&t, rt::nanotime() + 1'000'000, 0));
  EXPECT_TRUE(eventually([&] { return fired == 1; }));
  EXPECT_FALSE(rt::modtimer(&t, rt::nanotime() + 3600'000'000'000, 0));
  EXPECT_EQ(pendingtimers(), 1);
  EXPECT_TRUE(rt::deltimer(&t));
  EXPECT_EQ(fired, 1u);
}

// Stopped, put off, brought forward, taken out and started again in any order, each timer has the time that it was last
// given, and what is out of the heap was dropped once for each time that it left as a zombie.
TEST_F(Time, StopAndResetLeaveTheHeapSound) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  struct timed : rt::timer {
    bool set = false;
    int drops = 0, stops = 0, revivals = 0;
  };
  std::vector<timed> ts(300);
  std::atomic<std::uint64_t> fired{0};
  const std::int64_t base = rt::nanotime() + 3600'000'000'000;
  for (auto& t : ts) {
    t.f = countone;
    t.arg = &fired;
    t.index = -1;
    t.drop = [](rt::timer* self) { static_cast<timed*>(self)->drops++; };
  }
  for (int i = 0; i < 20'000; i++) {
    timed& t = ts[random() % ts.size()];
    const std::int64_t when = base + std::int64_t(random() % 1'000'000);
    const bool zombie = t.zombie != 0;
    switch (random() % 3) {
      case 0:
        EXPECT_EQ(rt::stoptimer(&t), t.set) << "seed " << seed;
        t.stops += t.set;
        t.set = false;
        break;
      case 1: {
        bool wake;
        const bool inheap = rt::resettimer(&t, when, 0, 0, &wake);
        EXPECT_EQ(inheap, t.set || zombie) << "seed " << seed;
        t.revivals += inheap && zombie;
        t.set = inheap;
        break;
      }
      default:
        if (!t.set && !zombie) {
          t.when = when;
          rt::addtimer(&t);
          t.set = true;
        } else if (t.set) {
          EXPECT_TRUE(rt::deltimer(&t)) << "seed " << seed;
          t.set = false;
        }
    }
    if (i % 500 == 0) checkheaps();
  }
  EXPECT_EQ(pendingtimers(), std::count_if(ts.begin(), ts.end(), [](auto& t) { return t.set; })) << "seed " << seed;
  for (auto& t : ts) EXPECT_EQ(rt::stoptimer(&t), t.set) << "seed " << seed;
  checkheaps();
  for (std::int64_t k = 0; k < rt::allp.len; k++) EXPECT_EQ(rt::allp.array[k]->timers.heap.len, 0);
  for (auto& t : ts) EXPECT_EQ(t.drops, t.stops + t.set - t.revivals) << "seed " << seed;
  EXPECT_EQ(fired, 0u);
}

// Every timer either is cancelled or fires, and exactly one of both, whoever cancels it.
TEST_F(Time, CancelAndFireRaceToOneEnd) {
  const unsigned seed = std::random_device{}();
  std::atomic<std::uint64_t> fired{0}, cancelled{0};
  constexpr int workers = 8, rounds = underTsan ? 400 : 4000;
  vitrine::wait_group wg;
  for (int w = 0; w < workers; w++)
    wg.go([&, w] {
      std::mt19937 random(seed + unsigned(w));
      for (int i = 0; i < rounds; i++) {
        rt::timer t{};
        t.when = rt::nanotime() + random() % 60'000;
        t.f = countone;
        t.arg = &fired;
        t.seq = 1;
        t.index = -1;
        rt::addtimer(&t);
        if (i % 2 == 0)
          for (unsigned k = random() % 2000; k > 0; k--) rt::procyield(1);
        else
          vitrine::yield();
        if (random() % 4 == 0 && rt::modtimer(&t, rt::nanotime() + random() % 30'000, 0) == false) cancelled--;
        if (random() % 2 == 0) vitrine::yield();
        if (rt::deltimer(&t)) cancelled++;
      }
    });
  wg.wait();
  // A modtimer that came too late made one more.
  EXPECT_TRUE(eventually([&] { return std::int64_t(fired + cancelled) >= workers * rounds; })) << "seed " << seed;
  EXPECT_EQ(std::int64_t(fired + cancelled), workers * rounds) << "seed " << seed;
}

TEST_F(Time, ForeignThreadsAddAndCancelTimers) {
  std::atomic<std::uint64_t> fired{0};
  std::atomic<std::uint64_t> cancelled{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < 3; w++)
    threads.emplace_back([&, w] {
      std::mt19937 random(unsigned(w + 1));
      std::vector<rt::timer> ts(200);
      for (auto& t : ts) {
        t.when = rt::nanotime() + random() % 3'000'000;
        t.f = countone;
        t.arg = &fired;
        t.seq = 1;
        t.index = -1;
        rt::addtimer(&t);
      }
      vitrine::sleep_for(1500us);
      for (auto& t : ts) cancelled += rt::deltimer(&t);
    });
  for (auto& t : threads) t.join();
  EXPECT_TRUE(eventually([&] { return fired + cancelled == 600; })) << fired << " " << cancelled;
}

TEST_F(Time, TimersMoveToAnotherP) {
  std::atomic<std::uint64_t> fired{0};
  std::vector<rt::timer> ts(100);
  vitrine::wait_group wg;
  for (int w = 0; w < 10; w++)
    wg.go([&, w] {
      for (int i = 0; i < 10; i++) {
        rt::timer& t = ts[std::size_t(w * 10 + i)];
        t.when = rt::nanotime() + (i < 5 ? 30'000'000 : 3600'000'000'000);
        t.f = countone;
        t.arg = &fired;
        t.seq = 1;
        t.index = -1;
        rt::addtimer(&t);
        vitrine::yield();
      }
    });
  wg.wait();
  int procs = vitrine::gomaxprocs(1);
  EXPECT_EQ(vitrine::gomaxprocs(), 1);
  EXPECT_EQ(rt::allp.array[0]->timers.heap.len + std::int64_t(fired), 100);
  checkheaps();
  EXPECT_TRUE(eventually([&] { return fired == 50; }));
  int cancelled = 0;
  for (auto& t : ts) cancelled += rt::deltimer(&t);
  EXPECT_EQ(cancelled, 50);
  vitrine::gomaxprocs(procs);
}

}  // namespace
