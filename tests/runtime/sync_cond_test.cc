// cond and once, and the mutex's timed locks.
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "fixture.h"

using vitrine::cond;
using vitrine::once;
using vitrine::wait_group;
using lock_t = std::unique_lock<vitrine::mutex>;

namespace {

class Cond : public Goroutines {};
class Once : public Goroutines {};
class TimedMutex : public Goroutines {};

using steady = std::chrono::steady_clock;

TEST_F(Cond, ASignalWakesTheLongestWaiterAndOnlyIt) {
  vitrine::mutex m;
  cond c;
  std::vector<int> woken;
  wait_group wg;
  for (int i = 0; i < 4; i++) {
    wg.add(1);
    rt::g* gp = startedparked(rt::waitReasonSyncCondWait, [&, i] {
      {
        lock_t lock(m);
        c.wait(lock);
        woken.push_back(i);
      }
      wg.done();
    });
    EXPECT_EQ(gp->waitobject, &c);
  }
  for (std::size_t i = 1; i <= 2; i++) {
    c.notify_one();
    EXPECT_TRUE(eventually([&] {
      std::lock_guard guard(m);
      return woken.size() == i;
    }));
  }
  vitrine::sleep_for(2ms);
  {
    std::lock_guard guard(m);
    EXPECT_EQ(woken, (std::vector<int>{0, 1}));
  }
  c.notify_all();
  wg.wait();
  EXPECT_EQ(woken.size(), 4u);
}

// Producers and consumers on a queue of one: with one wakeup lost, everybody sleeps.
TEST_F(Cond, NoWakeupIsLost) {
  vitrine::mutex m;
  cond notempty, notfull;
  std::deque<int> queue;
  long sum = 0;
  wait_group wg;
  constexpr int each = underTsan ? 300 : 3000;
  auto produce = [&] {
    for (int k = 1; k <= each; k++) {
      lock_t lock(m);
      notfull.wait(lock, [&] { return queue.empty(); });
      queue.push_back(k);
      notempty.notify_one();
    }
  };
  auto consume = [&] {
    for (int k = 1; k <= each; k++) {
      lock_t lock(m);
      notempty.wait(lock, [&] { return !queue.empty(); });
      sum += queue.front();
      queue.pop_front();
      notfull.notify_one();
    }
  };
  for (int i = 0; i < 3; i++) wg.go(produce), wg.go(consume);
  std::thread a(produce), b(consume);
  wg.wait();
  a.join();
  b.join();
  EXPECT_EQ(sum, 4L * each * (each + 1) / 2);
}

TEST_F(Cond, TimesOutNotEarlyAndLeavesTheQueue) {
  vitrine::mutex m;
  cond c;
  lock_t lock(m);
  auto begin = steady::now();
  EXPECT_EQ(c.wait_for(lock, 3ms), std::cv_status::timeout);
  EXPECT_GE(steady::now() - begin, 3ms);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_FALSE(m.try_lock()) << "the mutex is held again";
  EXPECT_EQ(c.wait_until(lock, std::chrono::system_clock::now() + 2ms), std::cv_status::timeout);
  EXPECT_FALSE(c.wait_for(lock, 1ms, [] { return false; }));
  EXPECT_TRUE(c.wait_until(lock, steady::now() - 1s, [] { return true; }));
  EXPECT_EQ(c.wait_for(lock, -1s), std::cv_status::timeout);
  EXPECT_EQ(reinterpret_cast<rt::syncCond&>(c).waitq.first, nullptr);
  std::thread([&] {
    vitrine::mutex other;
    lock_t mine(other);
    EXPECT_EQ(c.wait_for(mine, 3ms), std::cv_status::timeout);
  }).join();
}

// A notification is either spent on a waiter that says so, or is still there for another: tokens are never lost.
TEST_F(Cond, ATimeoutAndANotifyHaveOneWinner) {
  vitrine::mutex m;
  auto c = std::make_unique<cond>();
  constexpr int rounds = underTsan ? 100 : 600;
  for (int round = 0; round < rounds; round++) {
    std::atomic<int> notified{0}, timedout{0};
    wait_group wg;
    for (int i = 0; i < 4; i++)
      wg.go([&] {
        lock_t lock(m);
        (c->wait_for(lock, 100us) == std::cv_status::timeout ? timedout : notified)++;
      });
    std::thread t;
    if (round % 50 == 0) t = std::thread([&] { c->notify_one(); });
    auto end = steady::now() + std::chrono::microseconds(90 + round % 40);
    while (steady::now() < end) {
    }
    c->notify_one();
    c->notify_one();
    if (t.joinable()) t.join();
    wg.wait();
    ASSERT_EQ(notified + timedout, 4);
    ASSERT_LE(notified, 3);
    c = std::make_unique<cond>();  // nothing may look at the old one any more
  }
}

TEST_F(Once, RunsOneFunctionAndAllWaitForIt) {
  constexpr int many = 16;
  once o;
  std::atomic<int> ran{0}, passed{0};
  wait_group wg;
  vitrine::chan<int> go;
  rt::g* runner = started([&] {
    o.call([&] {
      go.recv();
      ran++;
    });
  });
  EXPECT_TRUE(eventually([&] { return parked(runner, rt::waitReasonChanReceive); }));
  for (int i = 0; i < many; i++)
    wg.go([&] {
      o.call([&] { ran += 100; });
      EXPECT_EQ(ran, 1);
      passed++;
    });
  std::thread t([&] {
    o.call([&] { ran += 100; });
    EXPECT_EQ(ran, 1);
  });
  rt::g* waiter = startedparked(rt::waitReasonSyncOnceDo, [&] { o.call([] {}); });
  EXPECT_EQ(waiter->waitobject, &o);
  EXPECT_EQ(reinterpret_cast<rt::syncOnce&>(o).runner, runner->goid);
  EXPECT_EQ(passed, 0);
  go.send(0);
  wg.wait();
  t.join();
  EXPECT_EQ(passed, many);
}

TEST_F(Once, AThrowLeavesItUndoneAndTheNextTries) {
  once o;
  EXPECT_THROW(o.call([] { throw std::runtime_error("first"); }), std::runtime_error);
  for (int round = 0; round < 200; round++) {
    once each;
    std::atomic<int> tries{0}, threw{0}, done{0};
    wait_group wg;
    for (int i = 0; i < 6; i++)
      wg.go([&] {
        try {
          each.call([&] {
            vitrine::yield();
            if (++tries < 4) throw 1;
            done++;
          });
        } catch (int) {
          threw++;
        }
      });
    wg.wait();
    ASSERT_EQ(tries, 4);
    ASSERT_EQ(threw, 3);
    ASSERT_EQ(done, 1);
  }
  int n = 0;
  o.call([&] { n++; });
  o.call([&] { n++; });
  EXPECT_EQ(n, 1);
}

TEST_F(TimedMutex, GivesUpNotEarlyAndLeavesNothing) {
  vitrine::mutex m;
  m.lock();
  auto task = vitrine::spawn([&] {
    auto begin = steady::now();
    EXPECT_FALSE(m.try_lock_for(3ms));
    EXPECT_GE(steady::now() - begin, 3ms);
    EXPECT_FALSE(m.try_lock_until(std::chrono::system_clock::now() + 1ms));
    EXPECT_FALSE(m.try_lock_for(0ms));
  });
  task.join();
  EXPECT_EQ(reinterpret_cast<rt::syncMutex&>(m).state.load(), std::uint32_t(rt::mutexLocked));
  m.unlock();
  EXPECT_TRUE(m.try_lock_for(1ms));
  m.unlock();
}

TEST_F(TimedMutex, MixesWithOthersAndLosesNobody) {
  vitrine::mutex m;
  long n = 0, expected = 0;
  std::atomic<long> got{0};
  wait_group wg;
  constexpr int each = underTsan ? 100 : 1000;
  auto work = [&](int i) {
    for (int k = 0; k < each; k++) {
      lock_t lock(m, std::defer_lock);
      if (i % 2 == 0)
        lock.lock();
      else if (!lock.try_lock_for(std::chrono::microseconds(20 + k % 50)))
        continue;
      got++;
      n++;
      if (k % 16 == 0) vitrine::sleep_for(10us);
    }
  };
  for (int i = 0; i < 12; i++) wg.go([&work, i] { work(i); });
  std::thread a(work, 0), b(work, 1);
  wg.wait();
  a.join();
  b.join();
  expected = got;
  EXPECT_EQ(n, expected);
  EXPECT_EQ(reinterpret_cast<rt::syncMutex&>(m).state.load(), 0u);
}

}  // namespace
