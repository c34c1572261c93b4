// Threads that are no goroutines: they send, receive, lock and wait like goroutines.
#include <memory>
#include <vector>

#include "fixture.h"

using vitrine::chan;

namespace {

class Foreign : public Goroutines {};

// std::thread::join keeps this M and its P; there are three more.
void join(std::thread& t) { t.join(); }

TEST_F(Foreign, ThreadWaitsForAValue) {
  chan<int> c;
  std::atomic<int> got{0};
  std::thread t([&] { got = c.recv().value_or(-1); });
  EXPECT_TRUE(eventually([&] { return rt::sched.nforeignparked.load() == 1; }));
  c.send(7);
  join(t);
  EXPECT_EQ(got, 7);
  EXPECT_EQ(rt::sched.nforeignparked.load(), 0);
}

TEST_F(Foreign, ThreadWaitsForAReceiver) {
  chan<std::unique_ptr<int>> c;
  std::thread t([&] { c.send(std::make_unique<int>(5)); });
  vitrine::sleep_for(2ms);
  auto v = c.recv();
  ASSERT_TRUE(v && *v);
  EXPECT_EQ(**v, 5);
  join(t);
}

TEST_F(Foreign, TwoThreadsMeetOnAChannel) {
  chan<int> c;
  std::atomic<int> sum{0};
  std::thread a([&] {
    for (int i = 1; i <= 1000; i++) c.send(i);
    c.close();
  });
  std::thread b([&] {
    for (int v : c) sum += v;
  });
  join(a);
  join(b);
  EXPECT_EQ(sum, 500500);
}

TEST_F(Foreign, ClosingWakesAThread) {
  chan<int> c;
  std::atomic<bool> empty{false};
  std::thread t([&] { empty = !c.recv(); });
  EXPECT_TRUE(eventually([&] { return rt::sched.nforeignparked.load() == 1; }));
  c.close();
  join(t);
  EXPECT_TRUE(empty);
}

TEST_F(Foreign, ThreadsAndGoroutinesShareAMutex) {
  vitrine::mutex mu;
  std::int64_t n = 0;
  vitrine::wait_group wg;
  std::vector<std::thread> threads;
  constexpr int rounds = underTsan ? 500 : 5000;
  for (int i = 0; i < 3; i++) {
    threads.emplace_back([&] {
      for (int k = 0; k < rounds; k++) {
        std::lock_guard lock(mu);
        n++;
      }
    });
    wg.go([&] {
      for (int k = 0; k < rounds; k++) {
        std::lock_guard lock(mu);
        n++;
        if (k % 16 == 0) vitrine::yield();
      }
    });
  }
  wg.wait();
  for (auto& t : threads) join(t);
  EXPECT_EQ(n, 6 * rounds);
}

TEST_F(Foreign, ThreadJoinsATaskAndWaitsForAGroup) {
  vitrine::wait_group wg;
  std::atomic<int> got{0};
  std::thread t([&] {
    auto task = vitrine::spawn([] {
      vitrine::sleep_for(2ms);
      return 11;
    });
    got = task.get();
    wg.go([&] {
      vitrine::sleep_for(2ms);
      got += 100;
    });
    wg.wait();
    got += 1000;
  });
  join(t);
  EXPECT_EQ(got, 1111);
}

TEST_F(Foreign, ThreadThatWaitsForATimeoutIsNoDeadlock) {
  // It parks and we park; all that is left then is its timer.
  chan<int> c;
  constexpr int rounds = underTsan ? 300 : 3000;
  std::thread t([c] {
    chan<int> never;
    for (int i = 0; i < rounds; i++) {
      vitrine::select(vitrine::on_recv(never, [](auto) {}),
                      vitrine::on_timeout(std::chrono::microseconds(10 + i % 50)));
      c.send(i);
    }
  });
  for (int i = 0; i < rounds; i++) ASSERT_EQ(c.recv(), i);
  join(t);
}

TEST_F(Foreign, ProxyEndsWithItsThread) {
  std::int32_t before = rt::sched.ngsys.load();
  std::atomic<rt::g*> proxy{nullptr};
  for (int i = 0; i < 3; i++) {
    std::thread t([&] {
      EXPECT_EQ(rt::getg(), nullptr);
      proxy = rt::foreignproxy("test");
      EXPECT_EQ(rt::callergoid(), proxy.load()->goid);
      EXPECT_EQ(rt::sched.ngsys.load(), before + 1);
      EXPECT_EQ(std::string(proxy.load()->name), "thread " + std::to_string(rt::gettid_()));
    });
    join(t);
    EXPECT_EQ(rt::readgstatus(proxy), rt::Gdead);
    EXPECT_EQ(proxy.load()->stack.lo, 0u);
    EXPECT_EQ(rt::sched.ngsys.load(), before);
  }
  // A dead proxy becomes a goroutine like any dead g.
  std::vector<vitrine::task<int>> tasks;
  for (int i = 0; i < 200; i++)
    tasks.push_back(vitrine::spawn([i] {
      vitrine::yield();
      return i;
    }));
  for (int i = 0; i < 200; i++) EXPECT_EQ(tasks[std::size_t(i)].get(), i);
}

}  // namespace
