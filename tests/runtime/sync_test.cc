// mutex, wait_group and task.
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "fixture.h"

using vitrine::spawn;
using vitrine::task;
using vitrine::wait_group;

namespace {

class Mutex : public Goroutines {};
class WaitGroup : public Goroutines {};
class Task : public Goroutines {};

constinit vitrine::mutex global;

const rt::syncMutex& shape(const vitrine::mutex& m) { return reinterpret_cast<const rt::syncMutex&>(m); }

TEST_F(Mutex, ExcludesUnderContention) {
  constexpr int workers = 32, each = underTsan ? 300 : 3000;
  vitrine::mutex m;
  wait_group wg;
  long n = 0;
  for (int i = 0; i < workers; i++)
    wg.go([&, i] {
      for (int k = 0; k < each; k++) {
        std::lock_guard guard(m);
        long seen = n;
        if ((k + i) % 64 == 0) vitrine::yield();
        n = seen + 1;
      }
    });
  wg.wait();
  EXPECT_EQ(n, workers * each);
  EXPECT_EQ(shape(m).state.load(), 0u) << "nothing is left in the word";
  EXPECT_EQ(shape(m).waitq.first, nullptr);
}

TEST_F(Mutex, TryLockFailsOnlyWhileHeld) {
  EXPECT_TRUE(global.try_lock());
  EXPECT_FALSE(spawn([] { return global.try_lock(); }).get());
  global.unlock();
  EXPECT_TRUE(spawn([] { return global.try_lock() && (global.unlock(), true); }).get());
}

TEST_F(Mutex, OwnerIsTheHoldersGoid) {
  vitrine::mutex m;
  m.lock();
  EXPECT_EQ(shape(m).owner, vitrine::goid());
  rt::g* gp = startedparked(rt::waitReasonSyncMutexLock, [&] {
    m.lock();
    EXPECT_EQ(shape(m).owner, vitrine::goid());
    m.unlock();
  });
  EXPECT_EQ(gp->waitobject, &m);
  EXPECT_EQ(shape(m).waitq.first->g, gp);
  m.unlock();
  EXPECT_TRUE(eventually([&] { return shape(m).state.load(__ATOMIC_ACQUIRE) == 0; }));
  EXPECT_EQ(shape(m).owner, 0u);
}

TEST_F(Mutex, StandardLocksTakeIt) {
  vitrine::mutex a, b;
  {
    std::scoped_lock both(a, b);
    EXPECT_FALSE(a.try_lock());
  }
  std::unique_lock lock(a, std::try_to_lock);
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(Mutex, WhoHasWaitedForAMillisecondAndLosesIsHandedTheMutex) {
  const int procs = vitrine::gomaxprocs(1);  // nobody runs before we wait
  vitrine::mutex m;
  vitrine::chan<int> release;
  m.lock();
  rt::g* waiter = startedparked(rt::waitReasonSyncMutexLock, [&] {
    std::lock_guard guard(m);
    release.recv();
  });
  vitrine::sleep_for(3ms);
  m.unlock();
  EXPECT_TRUE(m.try_lock()) << "it was not free for whoever comes";
  EXPECT_TRUE(eventually([&] { return (shape(m).state.load() & rt::mutexStarving) != 0; }));
  vitrine::chan<int> done;
  rt::g* next = started([&] {
    std::lock_guard guard(m);
    done.recv();
  });
  EXPECT_TRUE(eventually([&] { return parked(next, rt::waitReasonSyncMutexLock); }));
  const std::uint64_t nextid = next->goid;
  m.unlock();
  EXPECT_FALSE(m.try_lock()) << "it was free for a moment";
  EXPECT_EQ(shape(m).owner, waiter->goid);
  EXPECT_EQ(shape(m).state.load() & rt::mutexStarving, std::uint32_t(rt::mutexStarving));
  vitrine::sleep_for(3ms);
  release.send(0);
  // Handed on to the last one, which is the end of it however long it has waited.
  EXPECT_TRUE(eventually([&] { return shape(m).owner == nextid; }));
  EXPECT_TRUE(eventually([&] { return shape(m).state.load() == rt::mutexLocked; }));
  done.send(0);
  EXPECT_TRUE(eventually([&] { return shape(m).state.load() == 0; })) << "a bit is left: " << shape(m).state.load();
  vitrine::gomaxprocs(procs);
}

TEST_F(Mutex, BusyHolderDoesNotStarveAWaiter) {
  vitrine::mutex m;
  std::atomic<bool> got{false};
  m.lock();
  startedparked(rt::waitReasonSyncMutexLock, [&] {
    std::lock_guard guard(m);
    got = true;
  });
  m.unlock();
  long rounds = 0;
  for (auto end = std::chrono::steady_clock::now() + 10s; !got && std::chrono::steady_clock::now() < end; rounds++) {
    std::lock_guard guard(m);
    for (auto stop = std::chrono::steady_clock::now() + 20us; std::chrono::steady_clock::now() < stop;) {
    }
  }
  EXPECT_TRUE(got) << "after " << rounds << " rounds";
  std::lock_guard guard(m);  // m must not go before the waiter has unlocked it
}

TEST_F(WaitGroup, WaitReturnsWhenEverybodyIsDone) {
  wait_group wg;
  std::atomic<int> n{0};
  for (int i = 0; i < 100; i++)
    wg.go([&] {
      vitrine::yield();
      n++;
    });
  wg.wait();
  EXPECT_EQ(n, 100);
  wg.wait();  // of nothing: at once
}

TEST_F(WaitGroup, EveryWaiterIsWoken) {
  wait_group wg, waiters;
  wg.add(1);
  std::atomic<int> woken{0};
  for (int i = 0; i < 5; i++) {
    waiters.add(1);
    rt::g* gp = startedparked(rt::waitReasonSyncWaitGroupWait, [&] {
      wg.wait();
      woken++;
      waiters.done();
    });
    EXPECT_EQ(gp->waitobject, &wg);
  }
  EXPECT_EQ(woken, 0);
  wg.done();
  waiters.wait();
  EXPECT_EQ(woken, 5);
}

TEST_F(WaitGroup, MayBeUsedAgainAtOnce) {
  wait_group wg;
  for (int round = 0; round < 500; round++) {
    std::atomic<int> n{0};
    for (int i = 0; i < 4; i++) wg.go([&] { n++; });
    wg.wait();
    ASSERT_EQ(n, 4);
  }
}

TEST_F(WaitGroup, MayDieAsSoonAsWaitReturns) {
  for (int i = 0; i < 2000; i++) {
    auto wg = std::make_unique<wait_group>();
    std::atomic<bool> ran{false};
    wg->go([&] { ran = true; });
    wg->wait();
    ASSERT_TRUE(ran);
  }
}

TEST_F(WaitGroup, GoDestroysTheFunctionBeforeDone) {
  auto alive = std::make_shared<int>(0);
  wait_group wg;
  wg.go([alive] { vitrine::yield(); });
  wg.wait();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_F(WaitGroup, ThrowingCopyCountsNobody) {
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::runtime_error("copy"); }
    void operator()() {}
  } f;
  wait_group wg;
  EXPECT_THROW(wg.go(f), std::runtime_error);
  wg.wait();
}

int answer(int a, int b) { return a * b; }

TEST_F(Task, GetReturnsTheResult) {
  EXPECT_EQ(spawn(answer, 6, 7).get(), 42);
  EXPECT_EQ(*spawn([] { return std::make_unique<int>(3); }).get(), 3);
  int x = 0;
  int& r = spawn([&]() -> int& { return x; }).get();
  EXPECT_EQ(&r, &x);
  task<void> t = spawn([&] { x = 5; });
  t.join();
  EXPECT_EQ(x, 5);
  EXPECT_TRUE(t.done());
}

TEST_F(Task, JoinAndGetRethrow) {
  task<int> t = spawn([]() -> int { throw std::runtime_error("boom"); });
  EXPECT_THROW(t.join(), std::runtime_error);
  EXPECT_THROW(t.join(), std::runtime_error);
  EXPECT_THROW(t.get(), std::runtime_error);
  EXPECT_FALSE(t.valid());
}

TEST_F(Task, DestructorJoins) {
  std::atomic<bool> ended{false};
  {
    auto t = spawn([&] {
      vitrine::sleep_for(2ms);
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
  {
    auto t = spawn([] { throw 1; });  // nobody asks: dropped
  }
}

TEST_F(Task, JoinerFindsTheCapturesDestroyed) {
  auto alive = std::make_shared<int>(0);
  auto t = spawn([alive] { vitrine::yield(); });
  t.join();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_F(Task, JoinParksOnTheTask) {
  vitrine::chan<int> c;
  vitrine::chan<std::uint64_t> child(1);
  rt::g* joiner = startedparked(rt::waitReasonTaskJoin, [=] {
    auto t = spawn([=] {
      child.send(vitrine::goid());
      return *c.recv();
    });
    EXPECT_EQ(t.get(), 8);
  });
  auto* ts = static_cast<rt::taskState*>(joiner->waitobject);
  ASSERT_NE(ts, nullptr);
  EXPECT_EQ(ts->waitq.first->g, joiner);
  EXPECT_EQ(ts->goid, child.recv());
  c.send(8);
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
}

TEST_F(Task, AssignmentJoinsWhatItReplaces) {
  std::atomic<bool> ended{false};
  task<void> t = spawn([&] {
    vitrine::sleep_for(1ms);
    ended = true;
  });
  t = task<void>();
  EXPECT_TRUE(ended);
  EXPECT_FALSE(t.valid());
}

TEST_F(Task, ATreeOfTasksAddsUp) {
  struct fib {
    static int of(int n) {
      if (n < 2) return n;
      auto left = spawn(of, n - 1);
      int right = of(n - 2);
      return left.get() + right;
    }
  };
  EXPECT_EQ(fib::of(underTsan ? 10 : 16), underTsan ? 55 : 987);
}

}  // namespace
