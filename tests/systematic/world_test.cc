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
  sim::explore(quiet(200), [] {
    int n = 0;
    run({.procs = 2}, [&] {
      chan<int> c;
      go([c] { c.send(41); });
      n = c.recv().value() + 1;
    });
    sim::require(n == 42, "run() lost a value");
  });
}

// Goroutine 1 gives its P to nobody, so what it starts runs only if an idle M is woken for each. The ring's goroutines
// are put there without a locked instruction: wakep's fence is what orders the put and the look for idle Ps.
TEST(World, WorkIsFoundByIdleMsWhileItsPComputes) {
  sim::explore(quiet(1500), [] {
    flag ran{};
    run({.procs = 3}, [&] {
      for (int round = 1; round <= 3; round++) {
        go([&] { ran.add(1); });
        go([&] { ran.add(1); });
        spinuntil(ran, rt::uint32(2 * round));
      }
    });
  });
}

// Both wait for each other without a park, so both must get a P, again and again, while Ms go idle.
TEST(World, AGoroutineMadeWhileTheLastMGoesIdleGetsAP) {
  sim::explore(quiet(1500), [] {
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

}  // namespace
