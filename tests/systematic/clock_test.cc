// clock_test.cc: timers, and descriptors that goroutines wait for: who sleeps as the poller, and until when. The whole
// runtime, booted anew in each run; sysmon rescues nobody. See sim.h.
#include <gtest/gtest.h>
#include <unistd.h>

#include "proc.h"
#include "sim.h"
#include "vitrine/poll.h"
#include "vitrine/vitrine.h"

using namespace vitrine;
using std::chrono::microseconds;

namespace {

sim::Options quiet(int runs) { return {.runs = runs, .sysmon = false, .jumpodds = 0}; }

constexpr std::int64_t late = 3'000'000;  // ns; the other timers are due much later

void sleepsuntil(std::int64_t us) {
  std::int64_t due = sim::now() + us * 1000;
  sleep_for(microseconds(us));
  sim::require(sim::now() >= due, "a sleep ended before its time");
  sim::require(sim::now() < due + late, "a timer was slept past");
}

TEST(Timers, AnEarlierOneShortensThePollersSleep) {
  sim::check(quiet(1500), [] {
    run({.procs = 2}, [] {
      wait_group wg;
      wg.go([] { sleepsuntil(20'000); });
      wg.go([] { sleepsuntil(30); });
      sleepsuntil(5);
      sleepsuntil(10);
      wg.wait();
    });
  });
}

TEST(Timers, OneThatAThreadStartsIsNotSleptPast) {
  sim::check(quiet(1000), [] {
    run({.procs = 2}, [] {
      static chan<int>* done;
      chan<int> c;
      done = &c;
      wait_group wg;
      wg.go([] { sleep_for(microseconds(20'000)); });
      sim::spawn("thread", [] {
        std::int64_t due = sim::now() + 50'000;
        chan<int> never;
        select(on_recv(never, [](std::optional<int>) {}), on_timeout(microseconds(50)));
        sim::require(sim::now() >= due && sim::now() < due + late, "a thread's timer was slept past");
        done->send(1);
      });
      c.recv();
      wg.wait();
    });
  });
}

// ---- descriptors

struct Pipe {
  int fds[2];
  Pipe() { sim::require(pipe(fds) == 0, "pipe"); }
};

TEST(Netpoll, AReaderHearsOfEveryByte) {
  sim::check(quiet(800), [] {
    int got = 0;
    run({.procs = 2}, [&] {
      Pipe p;
      poll::fd in(p.fds[0], poll::own);
      go([&] {
        for (int i = 0; i < 3; i++) {
          rt::usleep_(2);
          sim::require(write(p.fds[1], "x", 1) == 1, "write");
        }
      });
      char buffer[8];
      while (got < 3) got += int(in.read(buffer, sizeof buffer));
      in.close();
    });
    sim::require(got == 3, "more bytes than were written");
  });
}

TEST(Netpoll, ADeadlineCloseOrAByteEndsTheWaitOnce) {
  sim::check(quiet(800), [] {
    int ends = 0;
    run({.procs = 2}, [&] {
      Pipe p;
      poll::fd in(p.fds[0], poll::own);
      std::int64_t due = sim::now() + 20'000;
      in.set_read_deadline(poll::deadline(std::chrono::nanoseconds(due)));
      wait_group wg;
      wg.go([&] {
        char c;
        try {
          in.read(&c, 1);
        } catch (const std::system_error&) {
        }
        ends++;
      });
      sleep_for(microseconds(15));
      if (sim::draw(2) == 0) sim::require(write(p.fds[1], "x", 1) == 1, "write");
      if (sim::draw(2) == 0) in.close();
      wg.wait();
      sim::require(sim::now() < due + late, "the deadline was slept past");
    });
    sim::require(ends == 1, "the reader is still waiting");
  });
}

// The deadline comes when the reader is anywhere between its look at the descriptor and its park.
TEST(Netpoll, ADeadlineIsSeenByAReaderThatIsAboutToPark) {
  sim::check(quiet(1500), [] {
    run({.procs = 2}, [&] {
      Pipe p;
      poll::fd in(p.fds[0], poll::own);
      wait_group wg;
      wg.go([&] {
        std::int64_t due = sim::now() + 500 + sim::draw(4000);
        in.set_read_deadline(poll::deadline(std::chrono::nanoseconds(due)));
        bool timedout = false;
        char c;
        try {
          in.read(&c, 1);
        } catch (const std::system_error& e) {
          timedout = e.code() == std::errc::timed_out;
        }
        sim::require(timedout && sim::now() < due + late, "a deadline was slept past");
      });
      // Timers run where somebody looks for work.
      for (int i = 0; i < 8; i++) sleep_for(microseconds(1));
      sleep_for(microseconds(20'000));
      in.close();
      wg.wait();
    });
  });
}

}  // namespace
