// semaphore and gls.
#include <memory>
#include <string>
#include <vector>

#include "fixture.h"

using vitrine::gls;
using vitrine::semaphore;
using vitrine::wait_group;

namespace {

class Semaphore : public Goroutines {};
class Gls : public Goroutines {};

rt::syncSema& shape(semaphore& s) { return reinterpret_cast<rt::syncSema&>(s); }

constinit semaphore global(3);

TEST_F(Semaphore, CountsPermits) {
  EXPECT_TRUE(global.try_acquire(2));
  EXPECT_FALSE(global.try_acquire(2));
  EXPECT_TRUE(global.try_acquire());
  EXPECT_EQ(global.available(), 0);
  global.release(3);
  EXPECT_EQ(global.available(), 3);
}

TEST_F(Semaphore, AdmitsNoMoreThanItHasUnderContention) {
  semaphore s(5);
  std::atomic<int> inside{0}, most{0};
  wait_group wg;
  constexpr int each = underTsan ? 200 : 2000;
  auto work = [&](int i) {
    for (int k = 0; k < each; k++) {
      int n = 1 + (i + k) % 5;
      if (k % 7 == 0) {
        if (!s.try_acquire_for(std::chrono::microseconds(k % 60), n)) continue;
      } else {
        s.acquire(n);
      }
      int now = inside += n;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      if (k % 8 == 0) vitrine::yield();
      inside -= n;
      s.release(n);
    }
  };
  for (int i = 0; i < 12; i++) wg.go([&, i] { work(i); });
  std::thread a(work, 1), b(work, 2);
  wg.wait();
  a.join();
  b.join();
  EXPECT_LE(most, 5);
  EXPECT_EQ(shape(s).count.load(), 5);
  EXPECT_EQ(shape(s).nwait.load(), 0u);
}

TEST_F(Semaphore, TheFirstWaiterIsNotOvertaken) {
  semaphore s(4);
  wait_group wg;
  std::vector<int> order;
  wg.add(2);
  rt::g* big = startedparked(rt::waitReasonSyncSemaphore, [&] {
    s.acquire(5);
    order.push_back(5);
    s.release(5);
    wg.done();
  });
  EXPECT_EQ(big->waitobject, &s);
  EXPECT_EQ(shape(s).waitq.first->ticket, 5u);
  EXPECT_EQ(s.available(), 4) << "they stay free";
  EXPECT_FALSE(s.try_acquire());
  startedparked(rt::waitReasonSyncSemaphore, [&] {
    s.acquire(1);
    order.push_back(1);
    s.release(1);
    wg.done();
  });
  EXPECT_EQ(shape(s).nwait.load(), 2u);
  s.release(1);
  wg.wait();
  EXPECT_EQ(order, (std::vector<int>{5, 1}));
  EXPECT_EQ(s.available(), 5);
}

TEST_F(Semaphore, WhoGivesUpLetsTheNextIn) {
  semaphore s(1);
  vitrine::chan<int> in(1);
  std::atomic<bool> over{false};  // on a machine that is busy for so long, before anybody came to wait behind it
  auto big = vitrine::spawn([&] {
    bool got = s.try_acquire_for(20ms, 2);
    over = true;
    return got;
  });
  EXPECT_TRUE(eventually([&] { return shape(s).nwait.load() == 1 || over; }));
  vitrine::go([&] {
    s.acquire(1);
    in.send(1);
  });
  EXPECT_TRUE(eventually([&] { return shape(s).nwait.load() == 2 || in.size() == 1; }));
  EXPECT_FALSE(big.get());
  EXPECT_TRUE(in.recv());
  EXPECT_EQ(shape(s).count.load(), 0);
  EXPECT_EQ(shape(s).waitq.first, nullptr);
}

TEST_F(Semaphore, ForeignThreadsTimeOut) {
  semaphore s(0);
  std::thread([&] { EXPECT_FALSE(s.try_acquire_until(std::chrono::system_clock::now() + 3ms)); }).join();
  EXPECT_EQ(shape(s).count.load(), 0);
}

// ---- gls

gls<int> number;
std::atomic<int> alive{0};

struct counted {
  counted() { alive++; }
  ~counted() { alive--; }
};

TEST_F(Gls, EachGoroutineAndThreadHasItsOwn) {
  *number = 1;
  wait_group wg;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 50; i++)
    wg.go([&, i] {
      wrong += *number != 0;
      *number = i;
      for (int k = 0; k < 20; k++) {
        vitrine::yield();
        wrong += number.get() != i;
      }
    });
  wg.wait();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(*number, 1);
  std::thread([&] {
    EXPECT_EQ(*number, 0);
    *number = 9;
  }).join();
  EXPECT_EQ(*number, 1);
}

TEST_F(Gls, ValuesBeginAsTold) {
  gls<std::string> copies(std::string("init"));
  std::atomic<int> made{0};
  gls<std::unique_ptr<int>> makes([&] { return std::make_unique<int>(++made); });
  EXPECT_EQ(*copies, "init");
  copies->append("!");
  int mine = **makes;
  vitrine::spawn([&] {
    EXPECT_EQ(*copies, "init");
    EXPECT_NE(**makes, mine);
    EXPECT_EQ(&*makes, &*makes);
  }).join();
  EXPECT_EQ(*copies, "init!");
  EXPECT_EQ(**makes, mine);
}

TEST_F(Gls, ValuesDieWithTheirGoroutineOrThread) {
  static gls<counted> c;
  constexpr int many = 100;
  for (int i = 0; i < many; i++)
    vitrine::go([] {
      c.get();
      vitrine::yield();
    });
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  EXPECT_EQ(alive, 0);
  std::thread([] {
    c.get();
    EXPECT_EQ(alive, 1);
  }).join();
  EXPECT_EQ(alive, 0);
}

struct recorder {
  static inline std::vector<int> order;
  static inline vitrine::mutex mu;
  int id = 0;
  ~recorder() {
    EXPECT_EQ(rt::getg()->goid, vitrine::goid());
    vitrine::yield();  // a destructor may park
    {
      std::lock_guard lock(mu);
      order.push_back(id);
    }
    if (id == 2) *number = 3;  // and make another value
  }
};

TEST_F(Gls, ReverseOrderOnTheGoroutinesOwnStackAndDestructorsMayPark) {
  static gls<recorder> many[20];
  recorder::order.clear();
  vitrine::go([] {
    for (int i = 0; i < 20; i++) many[i]->id = i;
    for (int i = 0; i < 20; i++) EXPECT_EQ(many[i]->id, i);
  });
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  std::lock_guard lock(recorder::mu);
  ASSERT_EQ(recorder::order.size(), 20u);
  for (int i = 0; i < 20; i++) EXPECT_EQ(recorder::order[std::size_t(i)], 19 - i);
}

TEST_F(Gls, WhatTheMakingThrowsComesOutAndNothingStays) {
  int tries = 0;
  gls<int> g([&]() -> int {
    if (++tries == 1) throw 5;
    return 8;
  });
  EXPECT_THROW(g.get(), int);
  EXPECT_EQ(*g, 8);
}

TEST_F(Gls, ALaterObjectAtTheSameAddressHasNoneOfTheValues) {
  alignas(gls<int>) unsigned char room[sizeof(gls<int>)];
  for (int i = 0; i < 3; i++) {
    auto* g = new (room) gls<int>();
    EXPECT_EQ(**g, 0);
    **g = 7;
    g->~gls();
  }
}

}  // namespace
