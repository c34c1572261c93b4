// mix_test.cc: protocols that meet: stops of the world while timers, system calls, locked goroutines and foreign
// threads are at work; threads that end; run() that returns while goroutines are on their way. The whole runtime,
// booted anew in each run. See sim.h.
#include <gtest/gtest.h>

#include "proc.h"
#include "sim.h"
#include "vitrine/vitrine.h"

using namespace vitrine;
using std::chrono::microseconds;

namespace {

using flag = rt::atomic<rt::uint32>;

sim::Options quiet(int runs) { return {.runs = runs, .sysmon = false}; }

void call(rt::uint32 us) {
  blocking_scope scope;
  rt::usleep_(us);
}

// The timers of a P that goes must fire all the same, and in time.
TEST(Mix, TimersOutliveTheirP) {
  sim::check({.runs = 1000, .sysmon = false, .jumpodds = 0}, [] {
    run({.procs = 3}, [] {
      wait_group wg;
      for (int i = 0; i < 4; i++)
        wg.go([i] {
          std::int64_t due = sim::now() + 20'000 * (i + 1);
          sleep_for(microseconds(20 * (i + 1)));
          sim::require(sim::now() >= due, "a sleep ended before its time");
          sim::require(sim::now() < due + 3'000'000, "a timer was lost");
        });
      yield();
      gomaxprocs(1);
      yield();
      gomaxprocs(2);
      wg.wait();
    });
  });
}

TEST(Mix, ALockedGoroutineThatEndsTakesItsThreadAlong) {
  sim::check(quiet(800), [] {
    int sum = 0;
    run({.procs = 2}, [&] {
      chan<int> c;
      for (int i = 0; i < 3; i++)
        go([c] {
          rt::LockOSThread();
          c.send(1);
        });
      for (int i = 0; i < 3; i++) sum += c.recv().value();
      yield();
    });
    sim::require(sum == 3, "a message was lost");
  });
}

TEST(Mix, SystemCallsTimersAndStopsWithSysmon) {
  sim::check({.runs = 1000, .maxtime = 60'000'000, .jumpodds = 500}, [] {
    flag sum{};
    run({.procs = 2}, [&] {
      wait_group wg;
      wg.go([&] {
        for (int i = 0; i < 2; i++) {
          call(30);
          sum.add(1);
        }
      });
      wg.go([&] {
        os_thread_lock here;
        sleep_for(microseconds(25));
        call(10);
        sum.add(1);
      });
      wg.go([&] {
        gomaxprocs(1);
        sleep_for(microseconds(40));
        gomaxprocs(3);
        sum.add(1);
      });
      call(50);
      wg.wait();
    });
    sim::require(sum.load() == 4, "somebody did not come to an end");
  });
}

TEST(Mix, AThreadSendsWhileTheWorldStops) {
  sim::check(quiet(800), [] {
    int sum = 0;
    run({.procs = 2}, [&] {
      static chan<int>* to;
      chan<int> c(1);
      to = &c;
      for (int i = 0; i < 2; i++)
        sim::spawn("thread", [] {
          to->send(1);
          to->send(2);
        });
      gomaxprocs(1);
      sum += c.recv().value();
      gomaxprocs(2);
      for (int i = 0; i < 3; i++) sum += c.recv().value();
    });
    sim::require(sum == 6, "a message was lost");
  });
}

TEST(Mix, RunReturnsWhileOthersAreOnTheirWay) {
  sim::check({.runs = 800}, [] {
    static flag n;
    run({.procs = 3}, [] {
      static chan<int>* to;
      static chan<int> c;
      to = &c;
      for (int i = 0; i < 3; i++)
        go([i] {
          n.add(1);
          sleep_for(microseconds(5 * i));
          call(5);
          to->send(1);
        });
      c.recv();
    });
    sim::require(rt::getg() == nullptr, "the thread is still an M");
  });
}

TEST(Mix, ATimerIsStoppedOrRunsButNotBoth) {
  sim::check(quiet(1000), [] {
    run({.procs = 2}, [] {
      flag ran{};
      for (int i = 0; i < 3; i++) {
        ran.store(0);
        timer t(microseconds(3), [&] { ran.add(1); });
        sleep_for(microseconds(sim::draw(5)));
        bool stopped = t.stop();
        if (stopped) {
          yield();
          sim::require(ran.load() == 0, "a timer ran that had been stopped");
        } else {
          while (ran.load() == 0) yield();
        }
      }
    });
  });
}

}  // namespace
