// world_test.cc: the whole runtime, booted anew in each run: how work is found, how Ms sleep and are woken, timers,
// system calls, stopping the world, preemption. See sim.h.
//
// Most scenarios keep sysmon from running: it makes lost wakeups good after a while, and that is what they look for.
#include <gtest/gtest.h>

#include "proc.h"
#include "sim.h"
#include "vitrine/vitrine.h"

using namespace vitrine;

namespace {

sim::Options quiet(int runs) { return {.runs = runs, .sysmon = false}; }

using flag = rt::atomic<rt::uint32>;

// Computes, as far as the runtime knows, until it is set.
void spinuntil(flag& f, rt::uint32 value = 1) {
  while (f.load() < value) {
  }
}

TEST(World, BootsAndEnds) {
  sim::check(quiet(200), [] {
    int n = 0;
    run({.procs = 2}, [&] {
      chan<int> c;
      go([c] { c.send(41); });
      n = c.recv().value() + 1;
    });
    sim::require(n == 42, "run() lost a value");
  });
}

// Goroutine 1 gives its P to nobody and the others wait for each other without a park, so each needs an M of its own:
// the first that is woken has to see to it that the next is.
TEST(World, AnMThatFindsWorkWakesTheNext) {
  sim::check(quiet(1000), [] {
    flag ran{};
    run({.procs = 3}, [&] {
      for (rt::uint32 round = 1; round <= 3; round++) {
        for (int i = 0; i < 2; i++)
          go([&, round] {
            ran.add(1);
            spinuntil(ran, 2 * round);
          });
        spinuntil(ran, 2 * round);
      }
    });
  });
}

// Who hands ready goroutines over looks at the number of idle Ps, which others change meanwhile: both end just then.
TEST(World, GoroutinesThatBecomeReadyAreQueuedWhileOthersGoIdle) {
  sim::check(quiet(1000), [] {
    run({.procs = 3}, [] {
      flag ran{}, begun{}, end{};
      rt::g* waits = nullptr;
      for (rt::uint32 round = 1; round <= 6; round++) {
        __atomic_store_n(&waits, nullptr, __ATOMIC_RELEASE);
        go([&] {
          rt::gopark(
              [](rt::g* gp, void* out) {
                __atomic_store_n(static_cast<rt::g**>(out), gp, __ATOMIC_RELEASE);
                return true;
              },
              &waits, rt::waitReasonIOWait, nullptr);
          ran.add(1);
        });
        while (__atomic_load_n(&waits, __ATOMIC_ACQUIRE) == nullptr || rt::readgstatus(waits) != rt::Gwaiting) yield();
        for (int i = 0; i < 2; i++)
          go([&, round] {
            begun.add(1);
            spinuntil(end, round);
            ran.add(1);
          });
        spinuntil(begun, 2 * round);
        end.store(round);
        rt::gList list{waits};
        rt::injectglist(&list);
        while (ran.load() < 3 * round) yield();
      }
    });
  });
}

rt::g* parked;
flag woken;

// What a submitter does, by itself: status, ring, wakep. The put has no locked instruction, so it is wakep's fence that
// orders it and the look for idle Ps.
void submit() {
  while (rt::readgstatus(parked) != rt::Gwaiting) {
  }
  rt::m* mp = rt::acquirem();
  rt::casgstatus(parked, rt::Gwaiting, rt::Grunnable);
  rt::runqput(rt::pinnedp(mp), parked, false);
  rt::wakep();
  rt::releasem(mp);
}

TEST(World, WhatIsPutIntoTheRingWhileAnMGoesIdleIsFound) {
  sim::check(quiet(2500), [] {
    run({.procs = 2}, [] {
      go([] {
        parked = rt::getg();
        for (;;) {
          woken.add(1);
          rt::gopark(nullptr, nullptr, rt::waitReasonZero, nullptr);
        }
      });
      spinuntil(woken);
      for (rt::uint32 round = 2; round <= 4; round++) {
        submit();
        spinuntil(woken, round);
      }
    });
  });
}

// Both wait for each other without a park, so both must get a P, again and again, while Ms go idle.
TEST(World, AGoroutineMadeWhileTheLastMGoesIdleGetsAP) {
  sim::check(quiet(1500), [] {
    flag turn{};
    run({.procs = 2}, [&] {
      for (rt::uint32 round = 0; round < 6; round += 2) {
        go([&, round] {
          turn.store(round + 1);
          yield();
          turn.store(round + 2);
        });
        spinuntil(turn, round + 2);
      }
    });
  });
}

// ---- system calls

// A blocking call of the thread, with the P given away.
void call(rt::uint32 us) {
  blocking_scope scope;
  rt::usleep_(us);
}

TEST(Syscall, APIsTakenBackOrHandedOnButNeverUsedTwice) {
  sim::check({.runs = 1000, .jumpodds = 400}, [] {
    flag sum{};
    run({.procs = 2}, [&] {
      wait_group wg;
      for (int i = 0; i < 3; i++)
        wg.go([&, i] {
          for (int k = 0; k < 3; k++) {
            call(rt::uint32(10 * i + 15 * k));
            sum.add(1);
            yield();
          }
        });
      wg.wait();
    });
    sim::require(sum.load() == 9, "a goroutine did not come back");
  });
}

// Nobody but sysmon can give the P of the only system call to the goroutine that waits for it.
TEST(Syscall, ThePOfALongCallServesOthers) {
  sim::check({.runs = 300, .jumpodds = 100}, [] {
    flag done{};
    run({.procs = 1}, [&] {
      go([&] { done.store(1); });
      blocking_scope scope;
      while (done.load() == 0) rt::usleep_(100);
    });
  });
}

// With nothing to watch sysmon sleeps for a minute, unless it is woken.
TEST(Syscall, SysmonWakesUpWithTheFirstPThatRuns) {
  sim::check({.runs = 300, .maxtime = 5'000'000'000, .jumpodds = 300}, [] {
    flag done{};
    run({.procs = 1}, [&] {
      for (rt::uint32 round = 1; round <= 2; round++) {
        sleep_for(std::chrono::milliseconds(1500));
        go([&] { done.add(1); });
        std::int64_t begin = sim::now();
        blocking_scope scope;
        while (done.load() < round) rt::usleep_(200);
        sim::require(sim::now() - begin < 300'000'000, "a P stayed with its system call");
      }
    });
  });
}

// ---- stopping the world

TEST(StopTheWorld, CountsEveryPWhileOthersEnterAndLeaveSystemCalls) {
  sim::check({.runs = 1000, .maxtime = 20'000'000, .jumpodds = 400}, [] {
    run({.procs = 3}, [&] {
      wait_group wg;
      for (int i = 0; i < 2; i++)
        wg.go([&, i] {
          for (int k = 0; k < 3; k++) {
            call(rt::uint32(7 * i + 3));
            yield();
          }
        });
      for (int n : {2, 3, 1}) {
        gomaxprocs(n);
        sim::require(gomaxprocs() == n, "another number of Ps than was asked for");
      }
      wg.wait();
    });
  });
}

TEST(StopTheWorld, TwoStoppersTakeTurnsAndWorkGoesOn) {
  sim::check(quiet(600), [] {
    flag sum{};
    run({.procs = 2}, [&] {
      wait_group wg;
      for (int i = 0; i < 2; i++)
        wg.go([&, i] {
          gomaxprocs(2 + i);
          go([&] { sum.add(1); });
          gomaxprocs(1 + i);
          sum.add(1);
        });
      wg.wait();
      while (sum.load() < 4) yield();
    });
  });
}

// Without sysmon only the stopper can send the signal that takes the P of a goroutine that never calls the runtime.
TEST(StopTheWorld, TakesThePOfWhoComputes) {
  sim::check({.runs = 100, .maxsteps = 2'000'000, .maxtime = 60'000'000'000, .sysmon = false, .jumpodds = 40}, [] {
    flag stage{};
    run({.procs = 2}, [&] {
      go([&] {
        stage.store(1);
        spinuntil(stage, 2);
        stage.store(3);
      });
      spinuntil(stage, 1);
      gomaxprocs(3);
      stage.store(2);
      while (stage.load() != 3) yield();
    });
  });
}

// ---- preemption and locked threads

TEST(Preempt, AGoroutineThatComputesLosesItsP) {
  sim::check({.runs = 200, .maxsteps = 2'000'000, .maxtime = 60'000'000'000, .jumpodds = 40}, [] {
    flag stage{};
    run({.procs = 1}, [&] {
      go([&] {
        stage.store(1);
        spinuntil(stage, 2);
        stage.store(3);
      });
      spinuntil(stage, 1);  // until the signal takes the P, nobody else runs
      stage.store(2);
      while (stage.load() != 3) yield();
    });
  });
}

TEST(Locked, GoroutinesAndTheirThreadsFindEachOther) {
  sim::check(quiet(800), [] {
    rt::int64 rounds = 0;
    run({.procs = 2}, [&] {
      chan<int> ping, pong;
      wait_group wg;
      wg.go([&] {
        os_thread_lock here;
        rt::m* mp = rt::getg()->m;
        for (int i = 0; i < 3; i++) {
          pong.send(ping.recv().value());
          sim::require(rt::getg()->m == mp, "a locked goroutine changed its thread");
        }
      });
      os_thread_lock here;
      for (int i = 0; i < 3; i++) {
        ping.send(i);
        rounds += pong.recv().value() == i;
      }
      wg.wait();
    });
    sim::require(rounds == 3, "a message was lost");
  });
}

}  // namespace
