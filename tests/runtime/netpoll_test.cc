// The protocol of netpoll.cc's rg and wg words: readiness, deadlines and close against one another, without and with
// the kernel. Random choices come from a seed that is printed when a test fails; VITRINE_SEED replays it.
#include "netpoll.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <vector>

#include "fixture.h"

namespace {

class Netpoll : public Goroutines {
 protected:
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return rt::netpollWaiters.load() == 0; })) << rt::netpollWaiters.load();
    Goroutines::TearDown();
  }
};

unsigned seed() {
  static unsigned s = [] {
    const char* given = getenv("VITRINE_SEED");
    return given != nullptr ? unsigned(strtoul(given, nullptr, 10)) : std::random_device{}();
  }();
  return s;
}

// Not SCOPED_TRACE: that is by thread, and this goroutine moves.
std::string replay() { return "VITRINE_SEED=" + std::to_string(seed()) + " "; }

// An eventfd and its pollDesc.
struct event {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  rt::pollDesc* pd = nullptr;
  event() { EXPECT_EQ(rt::pollOpen(fd, &pd), 0); }
  void shut() {
    rt::pollUnblock(pd);
    finish();
  }
  void finish() {
    rt::pollClose(pd);
    close(fd);
  }
};

std::int64_t in(std::chrono::nanoseconds d) { return rt::nanotime() + d.count(); }

void announce(rt::pollDesc* pd, int modes) {
  rt::readyList ready{};
  rt::netpollready(&ready, pd, modes);
  rt::injectglist(&ready.list);
}

TEST_F(Netpoll, AReadinessThatNobodyWaitsForIsKeptForTheNextWait) {
  event e;
  ASSERT_EQ(rt::pollReset(e.pd, rt::pollRead), 0);
  announce(e.pd, rt::pollRead);
  EXPECT_EQ(e.pd->rg.load(), rt::uintptr(rt::pdReady));
  EXPECT_EQ(rt::pollWait(e.pd, rt::pollRead), 0);
  EXPECT_EQ(e.pd->rg.load(), 0u);
  announce(e.pd, rt::pollBoth);
  ASSERT_EQ(rt::pollReset(e.pd, rt::pollRead), 0);
  EXPECT_EQ(e.pd->rg.load(), 0u);
  e.shut();
}

TEST_F(Netpoll, AWaiterIsSeenByToolsWithItsDescriptor) {
  event e;
  EXPECT_EQ(rt::pollReset(e.pd, rt::pollRead), 0);
  rt::g* gp = startedparked(rt::waitReasonIOWait, [&] { EXPECT_EQ(rt::pollWait(e.pd, rt::pollRead), 0); });
  EXPECT_EQ(gp->waitobject, e.pd);
  EXPECT_EQ(e.pd->rg.load(), rt::uintptr(gp));
  EXPECT_EQ(e.pd->fd, e.fd);
  EXPECT_EQ(e.pd->goid, vitrine::goid());
  announce(e.pd, rt::pollRead);  // not by the kernel, through which ThreadSanitizer does not see the order
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  e.shut();
}

TEST_F(Netpoll, EventsOfAnEarlierUseAreDropped) {
  event e;
  std::uint64_t old = rt::netpolltag(e.pd);
  EXPECT_EQ(rt::netpolluntag(old), e.pd);
  rt::pollDesc* pd = e.pd;
  e.shut();
  EXPECT_EQ(rt::netpolluntag(old), nullptr);
  event again;
  EXPECT_EQ(again.pd, pd) << "the free list is last in, first out";
  EXPECT_EQ(rt::netpolluntag(old), nullptr);
  EXPECT_EQ(rt::netpolluntag(rt::netpolltag(pd)), pd);
  again.shut();
}

TEST_F(Netpoll, ADeadlineOfAnEarlierSettingDoesNothing) {
  event e;
  rt::pollSetDeadline(e.pd, in(1ms), rt::pollRead);
  rt::pollSetDeadline(e.pd, in(1h), rt::pollRead);
  vitrine::sleep_for(3ms);
  EXPECT_EQ(e.pd->info.load(), 0u);
  // As one that was taken off its heap before it was replaced, and runs late.
  rt::pollSetDeadline(e.pd, in(1h), rt::pollBoth);
  auto f = e.pd->rt.f;
  f(e.pd, e.pd->rseq - 1);
  EXPECT_EQ(e.pd->info.load(), 0u);
  f(e.pd, e.pd->rseq);
  EXPECT_EQ(e.pd->info.load(), rt::uint32(rt::pollExpiredRead));
  e.shut();
  EXPECT_EQ(pendingtimers(), 0);
}

TEST_F(Netpoll, BreakEndsTheWaitOfThePoller) {
  event e;  // so that the poller exists
  for (int i = 0; i < 100; i++) {
    vitrine::wait_group wg;
    auto start = rt::nanotime();
    wg.go([] { vitrine::sleep_for(1ms); });  // an idle M polls until then, and is sent back by an earlier timer
    vitrine::sleep_for(200us);
    wg.wait();
    EXPECT_LT(rt::nanotime() - start, 1'000'000'000);
  }
  e.shut();
}

// Ready, deadline and close race for one waiter: it must wake, with a result that one of them gave.
TEST_F(Netpoll, OneOfReadyDeadlineAndCloseEndsEachWait) {
  std::mt19937 random(seed());
  const int rounds = underTsan || underAsan ? 1500 : 10000;
  for (int i = 0; i < rounds; i++) {
    event e;
    rt::pollMode mode = random() % 2 ? rt::pollRead : rt::pollWrite;
    unsigned what = 1 + random() % 7;
    int spins[4];
    for (int& s : spins) s = int(random() % 400);
    auto spin = [](int n) {
      if (n % 4 == 0) vitrine::yield();
      rt::procyield(n);
    };
    std::atomic<int> result = -1;
    vitrine::wait_group wg, waiter;
    waiter.go([&] {
      int err = rt::pollReset(e.pd, mode);
      spin(spins[0]);
      result = err != 0 ? err : rt::pollWait(e.pd, mode);
    });
    if (what & 1)
      wg.go([&] {
        spin(spins[1]);
        // The word alone: as an event that comes at this moment. Again, should the reset have come after it.
        for (int n = 0; result.load() < 0; n++) {
          announce(e.pd, mode);
          if (n > 10) vitrine::yield();
        }
      });
    if (what & 2)
      wg.go([&] {
        spin(spins[2]);
        rt::pollSetDeadline(e.pd, random() % 2 ? -1 : in(std::chrono::microseconds(spins[2])), mode);
      });
    bool closed = (what & 4) != 0;
    if (closed)
      wg.go([&] {
        spin(spins[3]);
        rt::pollUnblock(e.pd);
      });
    ASSERT_TRUE(eventually([&] { return result.load() >= 0; }))
        << replay() << "round " << i << " what " << what << " mode " << mode;
    waiter.wait();
    wg.wait();
    int r = result;
    // An eventfd is writable from the start, so the kernel's own event may come first.
    EXPECT_TRUE((r == 0 && ((what & 1) || mode == rt::pollWrite)) || (r == ETIMEDOUT && (what & 2)) ||
                (r == ECANCELED && closed))
        << replay() << "round " << i << " result " << r << " what " << what;
    if (!closed) rt::pollUnblock(e.pd);
    e.finish();
  }
}

// Through the kernel, with all directions at once: readers and writers on socket pairs, deadlines that come and go,
// closes at random. Everything that was written before the close and read is in order; nothing hangs.
TEST_F(Netpoll, ConnectionsUnderDeadlinesAndClosesLoseNothing) {
  const int pairs = 8, rounds = underTsan || underAsan ? 6 : 30;
  for (int round = 0; round < rounds; round++) {
    vitrine::wait_group wg;
    std::atomic<int> bad = 0, hangs = 4 * pairs;
    for (int n = 0; n < pairs; n++)
      wg.go([&, n] {
        std::mt19937 random(seed() + unsigned(round * pairs + n));
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::abort();
        vitrine::net::conn a = vitrine::net::adopt(fds[0]), b = vitrine::net::adopt(fds[1]);
        vitrine::wait_group both;
        bool close = random() % 2;
        std::atomic<bool> ended = false;
        both.go([&] {
          try {
            for (std::uint32_t i = 0; i < 3000 && !(close && ended); i++) a.write(std::as_bytes(std::span(&i, 1)));
            if (!close) a.shutdown_write();
          } catch (const std::system_error& e) {
            if (!close) bad++;
          }
          hangs--;
        });
        both.go([&] {
          std::uint32_t want = 0, got = 0;
          std::size_t have = 0;
          for (;;) try {
              std::size_t k = b.read(std::as_writable_bytes(std::span(&got, 1)).subspan(have));
              if (k == 0) break;
              if ((have += k) < 4) continue;
              have = 0;
              if (got != want++) bad++;
            } catch (const std::system_error& e) {
              if (e.code() == std::errc::timed_out) try {
                  b.set_read_deadline(vitrine::net::no_deadline);
                  continue;
                } catch (const std::system_error&) {
                }
              if (!close) bad++;
              break;
            }
          if (!close && want != 3000) bad++;
          hangs--;
        });
        both.go([&] {
          try {
            std::mt19937 random(seed() * 31 + unsigned(n));
            for (int i = 0; i < 50; i++) {
              b.set_read_deadline(vitrine::poll::clock::now() + std::chrono::microseconds(random() % 200));
              vitrine::sleep_for(std::chrono::microseconds(random() % 100));
            }
            b.set_read_deadline(vitrine::net::no_deadline);
          } catch (const std::system_error& e) {
            if (!close) bad++;
          }
          hangs--;
        });
        if (close) {
          vitrine::sleep_for(std::chrono::microseconds(random() % 3000));
          b.close();
          ended = true;
          a.close();
        }
        both.wait();
        hangs--;
      });
    ASSERT_TRUE(eventually([&] { return hangs == 0; })) << replay() << "round " << round << ": " << hangs << " hang";
    wg.wait();
    EXPECT_EQ(bad, 0) << replay() << "round " << round;
  }
}

}  // namespace
