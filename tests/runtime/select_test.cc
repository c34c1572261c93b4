// select: which case is taken, what becomes of the others, and everything that can come between.
#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <vector>

#include "fixture.h"

using vitrine::chan;
using vitrine::on_recv;
using vitrine::on_send;
using vitrine::on_timeout;
using vitrine::otherwise;
using vitrine::select;

namespace {

class Select : public Goroutines {};
using clock_type = std::chrono::steady_clock;

const auto drop = [](auto&&) {};

// What a select left behind on a channel.
template <class T>
void expectunused(const chan<T>& c) {
  rt::hchan* h = rt::chanaccess::of(c);
  rt::lock(&h->lock);
  EXPECT_EQ(h->recvq.first, nullptr);
  EXPECT_EQ(h->recvq.last, nullptr);
  EXPECT_EQ(h->sendq.first, nullptr);
  EXPECT_EQ(h->sendq.last, nullptr);
  rt::unlock(&h->lock);
}

TEST_F(Select, TakesTheCaseThatCanProceed) {
  chan<int> a(1), b(1), c;
  b.send(5);
  std::optional<int> got;
  EXPECT_EQ(select(on_recv(a, drop), on_recv(b, [&](std::optional<int> v) { got = v; }), on_recv(c, drop)), 1);
  EXPECT_EQ(got, 5);
  int sent = 0;
  EXPECT_EQ(select(on_recv(b, drop), on_send(a, 7, [&] { sent++; })), 1);
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(a.recv(), 7);
}

TEST_F(Select, WaitsForAReceive) {
  chan<std::string> a, b;
  rt::g* gp = startedparked(rt::waitReasonSelect, [=] {
    std::string got;
    EXPECT_EQ(select(on_recv(a, drop), on_recv(b, [&](std::optional<std::string> v) { got = v.value(); })), 1);
    EXPECT_EQ(got, "a value that is too long for the string itself");
  });
  ASSERT_NE(gp->waiting, nullptr);
  EXPECT_EQ(gp->waiting->c, rt::chanaccess::of(a));
  EXPECT_EQ(gp->waiting->waitlink->c, rt::chanaccess::of(b));
  EXPECT_EQ(gp->waiting->waitlink->waitlink, nullptr);
  EXPECT_EQ(gp->waiting->isSelect, 1);
  b.send("a value that is too long for the string itself");
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  expectunused(a);
  expectunused(b);
}

TEST_F(Select, WaitsForASend) {
  chan<std::unique_ptr<int>> a, b(1);
  b.send(nullptr);
  startedparked(rt::waitReasonSelect, [=] {
    auto forA = std::make_unique<int>(1), forB = std::make_unique<int>(2);
    EXPECT_EQ(select(on_send(a, std::move(forA)), on_send(b, std::move(forB))), 0);
    EXPECT_EQ(forA, nullptr);
    EXPECT_TRUE(forB != nullptr && *forB == 2) << "moved from, though its case was not taken";
  });
  auto v = a.recv();
  ASSERT_TRUE(v && *v);
  EXPECT_EQ(**v, 1);
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  expectunused(a);
  expectunused(b);
}

TEST_F(Select, AnLvalueIsCopied) {
  chan<std::string> c(1);
  const std::string s = "stays";
  EXPECT_EQ(select(on_send(c, s)), 0);
  EXPECT_EQ(s, "stays");
  EXPECT_EQ(select(on_send(c, s), otherwise()), 1);
  EXPECT_EQ(c.recv(), "stays");
}

TEST_F(Select, OtherwiseDoesNotWait) {
  chan<int> a, b;
  bool ran = false;
  EXPECT_EQ(select(on_recv(a, drop), otherwise([&] { ran = true; }), on_send(b, 1)), 1);
  EXPECT_TRUE(ran);
  EXPECT_EQ(select(on_recv(a, drop), otherwise()), 1);
  EXPECT_EQ(select(otherwise()), 0);
  // A due timeout is no reason to wait either.
  EXPECT_EQ(select(on_recv(a, drop), on_timeout(10h), otherwise()), 2);
  EXPECT_EQ(select(on_recv(a, drop), otherwise(), on_timeout(0s)), 2);
  expectunused(a);
  expectunused(b);
}

TEST_F(Select, TimeoutIsTakenWhenItsTimeIsOver) {
  chan<int> a, b;
  auto start = clock_type::now();
  EXPECT_EQ(select(on_recv(a, drop), on_timeout(10h), on_timeout(5ms), on_send(b, 1)), 2);
  EXPECT_GE(clock_type::now() - start, 5ms);
  expectunused(a);
  expectunused(b);
  EXPECT_EQ(select(on_timeout(1ms)), 0);
  EXPECT_EQ(select(on_timeout(2ms), on_recv(a, drop)), 0);
}

TEST_F(Select, TimeoutOfNothingLooksOnce) {
  chan<int> a, b(1);
  EXPECT_EQ(select(on_recv(a, drop), on_timeout(0s)), 1);
  EXPECT_EQ(select(on_recv(a, drop), on_timeout(-3h)), 1);
  b.send(1);
  EXPECT_EQ(select(on_recv(a, drop), on_timeout(0s), on_recv(b, drop)), 2);
}

TEST_F(Select, TimerOfATimeoutGoesWithTheSelect) {
  chan<int> a, b;
  vitrine::go([=] { a.send(1); });
  EXPECT_EQ(select(on_recv(a, drop), on_recv(b, drop), on_timeout(1h)), 0);
  EXPECT_EQ(pendingtimers(), 0);
}

TEST_F(Select, ClosedChannelIsReceivedFrom) {
  chan<int> a, b(2);
  b.send(3);
  b.close();
  std::vector<std::optional<int>> got;
  auto keep = [&](std::optional<int> v) { got.push_back(v); };
  EXPECT_EQ(select(on_recv(a, drop), on_recv(b, keep)), 1);
  EXPECT_EQ(select(on_recv(a, drop), on_recv(b, keep)), 1);
  EXPECT_EQ(got, (std::vector<std::optional<int>>{3, {}}));
  EXPECT_EQ(select(on_recv(b, keep), otherwise()), 0);
}

TEST_F(Select, ClosingEndsTheWait) {
  chan<int> a, b, c;
  startedparked(rt::waitReasonSelect, [=] {
    std::optional<int> got = 1;
    EXPECT_EQ(select(on_recv(a, drop), on_recv(b, [&](std::optional<int> v) { got = v; })), 1);
    EXPECT_EQ(got, std::nullopt);
  });
  startedparked(rt::waitReasonSelect,
                [=] { EXPECT_THROW(select(on_recv(a, drop), on_send(c, 1), on_send(c, 2)), vitrine::chan_closed); });
  b.close();
  c.close();
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  // Both ways on one channel: readied once.
  chan<int> d;
  startedparked(rt::waitReasonSelect, [=] {
    try {
      select(on_recv(d, drop), on_recv(d, drop), on_send(d, 1));
    } catch (const vitrine::chan_closed&) {
    }
  });
  d.close();
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  for (auto& x : {a, b, c, d}) expectunused(x);
}

TEST_F(Select, SendOnAClosedChannelThrows) {
  chan<int> a, b(1);
  b.close();
  EXPECT_THROW(select(on_recv(a, drop), on_send(b, 1)), vitrine::chan_closed);
  EXPECT_THROW(select(on_send(b, 1), otherwise()), vitrine::chan_closed);
  EXPECT_THROW(select(on_send(b, 1)), vitrine::chan_closed);
  EXPECT_THROW(select(on_send(b, 1), on_timeout(1s)), vitrine::chan_closed);
}

TEST_F(Select, FunctionsMayThrowAndSelect) {
  chan<std::string> a(2), b;
  a.send("one");
  a.send("two");
  EXPECT_THROW(select(on_recv(a, [](auto) { throw 5; }), on_recv(b, drop)), int);
  int inner = -1;
  EXPECT_EQ(select(on_recv(b, drop), on_recv(a,
                                             [&](std::optional<std::string> v) {
                                               EXPECT_EQ(v, "two");
                                               inner = select(on_recv(a, drop), on_timeout(1ms));
                                               return 1.5;
                                             })),
            1);
  EXPECT_EQ(inner, 1);
  EXPECT_EQ(a.size(), 0u);
}

TEST_F(Select, IsNoPartnerOfItself) {
  chan<int> c;
  EXPECT_EQ(select(on_recv(c, drop), on_send(c, 1), otherwise()), 2);
  EXPECT_EQ(select(on_recv(c, drop), on_send(c, 1), on_timeout(1ms)), 2);
  expectunused(c);
  // But of another.
  std::atomic<int> sent{0}, received{0};
  constexpr int rounds = underTsan ? 200 : 2000;
  vitrine::wait_group wg;
  for (int w = 0; w < 4; w++)
    wg.go([&] {
      for (int i = 0; i < rounds; i++)
        select(on_recv(c, [&](auto v) { received += *v; }), on_send(c, 1, [&] { sent += 1; }), on_timeout(5ms));
    });
  wg.wait();
  EXPECT_GT(sent, 0);
  EXPECT_EQ(sent, received);
  expectunused(c);
}

TEST_F(Select, WithoutCasesWaitsForEver) {
  // Its goroutine is one more for the rest of the process: count it as the system's.
  rt::g* gp = startedparked(rt::waitReasonSelectNoCases, [] { select(); });
  EXPECT_EQ(gp->waiting, nullptr);
  gp->issystem = 1;
  rt::sched.ngsys.add(1);
}

// Chi-square of how often each of k cases was taken; the 99.99 % point for 7 degrees of freedom is 29.9.
double chisquare(const std::vector<int>& counts) {
  double n = 0, sum = 0;
  for (int c : counts) n += c;
  const double expected = n / double(counts.size());
  for (int c : counts) sum += (c - expected) * (c - expected) / expected;
  return sum;
}

TEST_F(Select, ChoosesEvenlyAmongTheReady) {
  std::vector<chan<int>> cs;
  for (int i = 0; i < 8; i++) cs.emplace_back(1);
  for (auto& c : cs) c.send(1);
  rt::lockOSThread();
  rt::getg()->m->fastrand = 20240615;  // the same draws each time
  std::vector<int> counts(8);
  for (int i = 0; i < 16000; i++) {
    int k = select(on_recv(cs[0], drop), on_recv(cs[1], drop), on_recv(cs[2], drop), on_recv(cs[3], drop),
                   on_recv(cs[4], drop), on_recv(cs[5], drop), on_recv(cs[6], drop), on_recv(cs[7], drop));
    counts[std::size_t(k)]++;
    cs[std::size_t(k)].send(1);
  }
  rt::unlockOSThread();
  EXPECT_LT(chisquare(counts), 29.9) << testing::PrintToString(counts);
}

TEST_F(Select, ChoosesEvenlyAmongSomeOfThem) {
  chan<int> never, a(1), b(1), c(1);
  std::vector<int> counts(3);
  for (int i = 0; i < 6000; i++) {
    for (auto* x : {&a, &b})
      if (x->size() == 0) x->send(1);
    int k = select(on_recv(never, drop), on_recv(a, drop), on_send(never, 1), on_recv(b, drop), on_send(c, 1));
    if (k == 4) c.recv();
    counts[k == 1 ? 0 : k == 3 ? 1 : 2]++;
  }
  EXPECT_LT(chisquare(counts), 25) << testing::PrintToString(counts);  // 2 degrees of freedom: 1 in 250,000
}

TEST_F(Select, StaleWaitersAreNoPartners) {
  // A goroutine that waits on both is woken by `a` and not yet run when `b` is tried: there is nobody on b.
  chan<int> a, b;
  for (int i = 0; i < 200; i++) {
    startedparked(rt::waitReasonSelect, [=] { select(on_recv(a, drop), on_recv(b, drop)); });
    EXPECT_TRUE(a.try_send(1));
    EXPECT_FALSE(b.try_send(2));
    EXPECT_EQ(select(on_send(b, 2), on_send(a, 2), otherwise()), 2);
    eventually([] { return rt::gcount() == 1; });
  }
  expectunused(a);
  expectunused(b);
}

TEST_F(Select, PartnerMayDropTheOtherHandles) {
  // What the select receives is the sign to destroy every handle but those that its own frame refers to.
  struct pair {
    chan<int> a, b{1};
  };
  for (int i = 0; i < 300; i++) {
    auto p = std::make_unique<pair>();
    chan<int> mine = p->a;
    vitrine::go([&q = *p] { select(on_recv(q.b, drop), on_recv(q.a, drop)); });
    if (i % 2 == 0) vitrine::sleep_for(50us);
    mine.send(1);
    p.reset();
    EXPECT_EQ(mine.size(), 0u);
  }
}

TEST_F(Select, ForeignThreadsSelect) {
  chan<int> a, b, back;
  std::thread t([=] {
    EXPECT_EQ(select(on_recv(a, drop), on_recv(b, drop), on_timeout(2ms)), 2);
    EXPECT_EQ(select(on_recv(a, drop), otherwise()), 1);
    back.send(0);
    int sum = 0;
    for (int i = 0; i < 200; i++)
      select(on_recv(a, [&](auto v) { sum += *v; }), on_recv(b, [&](auto v) { sum += *v; }), on_timeout(10s));
    select(on_send(back, std::move(sum)), on_recv(a, drop));
  });
  EXPECT_EQ(back.recv(), 0);
  for (int i = 0; i < 100; i++) {
    a.send(1);
    b.send(10);
  }
  EXPECT_EQ(back.recv(), 1100);
  t.join();
  EXPECT_EQ(rt::sched.nforeignparked.load(), 0);
}

// Every value sent arrives once, whatever the selects of both sides do, with timeouts of all lengths in between.
TEST_F(Select, StressLosesAndDoublesNothing) {
  const unsigned seed = std::random_device{}();
  constexpr int nchan = 4, workers = 6, rounds = underTsan ? 300 : 4000;
  std::vector<chan<std::unique_ptr<int>>> cs;
  for (int i = 0; i < nchan; i++) cs.emplace_back(std::size_t(i % 3));
  std::atomic<std::int64_t> sent{0}, received{0}, sumsent{0}, sumreceived{0};
  auto work = [&](unsigned w, bool mayclose) {
    std::mt19937 random(seed + w);
    for (int i = 0; i < rounds; i++) {
      auto& a = cs[random() % nchan];
      auto& b = cs[random() % nchan];
      auto& c = cs[random() % nchan];
      int v = int(random() % 1000);
      auto x = std::make_unique<int>(v), y = std::make_unique<int>(v);
      auto tosend = [&] {
        sent++;
        sumsent += v;
      };
      auto got = [&](std::optional<std::unique_ptr<int>> p) {
        received++;
        sumreceived += **p;
      };
      std::chrono::microseconds d(random() % 60);
      switch (random() % 4) {
        case 0: {
          int k = select(on_send(a, std::move(x), tosend), on_send(b, std::move(y), tosend), on_recv(c, got),
                         on_timeout(d));
          EXPECT_EQ(x == nullptr, k == 0);
          EXPECT_EQ(y == nullptr, k == 1);
          break;
        }
        case 1:
          select(on_recv(a, got), on_timeout(d), on_recv(b, got), on_recv(c, got));
          break;
        case 2:
          select(on_recv(a, got), on_send(b, std::move(x), tosend), otherwise());
          break;
        case 3:
          select(on_send(a, std::move(x), tosend), on_timeout(d));
          break;
      }
      if (mayclose && random() % 8 == 0) vitrine::yield();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 2; t++) threads.emplace_back(work, 100 + t, false);
  vitrine::wait_group wg;
  for (unsigned w = 0; w < workers; w++) wg.go([&, w] { work(w, true); });
  wg.wait();
  for (auto& t : threads) t.join();
  for (auto& c : cs) {
    expectunused(c);
    c.close();
    for (auto& p : c) {
      received++;
      sumreceived += *p;
    }
  }
  EXPECT_EQ(sent, received) << "seed " << seed;
  EXPECT_EQ(sumsent, sumreceived) << "seed " << seed;
  EXPECT_GT(received, 0);
}

TEST_F(Select, TimeoutAndPartnerRaceToOneEnd) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  chan<int> c;
  std::atomic<int> sent{0};
  int received = 0, timeouts = 0;
  constexpr int rounds = underTsan ? 1000 : 10000;
  std::atomic<bool> over{false};
  vitrine::wait_group wg;
  wg.go([&] {
    while (!over)
      if (select(on_send(c, 1), on_timeout(20us)) == 0) sent++;
  });
  for (int i = 0; i < rounds; i++)
    select(on_recv(c, [&](auto) { received++; }),
           on_timeout(std::chrono::microseconds(random() % 40), [&] { timeouts++; }));
  over = true;
  wg.wait();
  EXPECT_EQ(received, sent) << "seed " << seed;
  EXPECT_EQ(received + timeouts, rounds) << "seed " << seed;
}

}  // namespace
