// runq_test.cc: the run queues, the runtime's lock and the note, by themselves: simulated threads call the real
// functions with Ms, Ps and g's that the scenario sets up. See sim.h.
#include <gtest/gtest.h>

#include <cstring>

#include "proc.h"
#include "sim.h"

using namespace vitrine;
using namespace vitrine::rt;

namespace {

constexpr int maxthreads = 4, maxgs = 16;

// What these scenarios use of the runtime's globals, as at boot.
struct World {
  m ms[maxthreads];
  rt::g g0s[maxthreads];
  p ps[maxthreads];
  rt::g gs[maxgs];
};
World w;

void reset() {
  memset(static_cast<void*>(&w), 0, sizeof w);
  memset(static_cast<void*>(&sched), 0, sizeof sched);
  ncpu = 1;
  gomaxprocs = maxthreads;
  for (int i = 0; i < maxthreads; i++) {
    w.ms[i].g0 = &w.g0s[i];
    w.g0s[i].m = &w.ms[i];
    w.ps[i].id = i;
    w.ps[i].status = Prunning;
    w.ps[i].m = &w.ms[i];
    w.ms[i].p = &w.ps[i];
    static const char* const names[] = {"p0", "p1", "p2", "p3"};
    sim::name(&w.ps[i], sizeof(p), names[i]);
  }
}

// A simulated thread that is M number i, on its g0.
int asM(int i, std::function<void()> fn) {
  static const char* const names[] = {"M0", "M1", "M2", "M3"};
  return sim::spawn(names[i], [i, fn = std::move(fn)] {
    vitrine_tls_g = &w.g0s[i];
    fn();
  });
}

// A g may be taken by one only.
void take(rt::g* gp) {
  sim::require(gp >= w.gs && gp < w.gs + maxgs, "a queue gave something that is no g");
  sim::require(gp->goid++ == 0, "a goroutine was taken twice");
}

int taken() {
  int n = 0;
  for (auto& gp : w.gs) n += gp.goid != 0;
  return n;
}

void drain() {
  vitrine_tls_g = &w.g0s[0];
  bool inherit;
  for (auto& pp : w.ps)
    while (rt::g* gp = runqget(&pp, &inherit)) take(gp);
  while (rt::g* gp = sched.runq.head) {
    sched.runq.head = gp->schedlink;
    take(gp);
  }
  vitrine_tls_g = nullptr;
}

constexpr sim::Options small{.runs = 3000, .batch = 500, .maxsteps = 50'000, .cpus = 1};

TEST(Runq, EveryGoroutineIsTakenOnceByTheOwnerAndTwoThieves) {
  sim::check(small, [] {
    reset();
    asM(0, [] {
      bool inherit;
      for (int i = 0; i < 12; i++) {
        runqput(&w.ps[0], &w.gs[i], i % 3 == 2);
        if (i % 4 == 3)
          if (rt::g* gp = runqget(&w.ps[0], &inherit)) take(gp);
      }
    });
    for (int i = 1; i < 3; i++)
      asM(i, [i] {
        for (int k = 0; k < 5; k++) {
          if (rt::g* gp = runqsteal(&w.ps[i], &w.ps[0], k % 2 == 1)) take(gp);
          bool inherit;
          while (rt::g* gp = runqget(&w.ps[i], &inherit)) take(gp);
        }
      });
    sim::joinall();
    drain();
    sim::require(taken() == 12, "a goroutine was lost");
  });
}

TEST(Runq, TheOwnerAndOneThiefInAllSchedulesWithThreePreemptions) {
  sim::Options o = small;
  o.preemptions = 3;
  o.runs = 60'000;
  sim::check(o, [] {
    reset();
    asM(0, [] {
      bool inherit;
      runqput(&w.ps[0], &w.gs[0], false);
      runqput(&w.ps[0], &w.gs[1], false);
      if (rt::g* gp = runqget(&w.ps[0], &inherit)) take(gp);
      runqput(&w.ps[0], &w.gs[2], true);
    });
    asM(1, [] {
      if (rt::g* gp = runqsteal(&w.ps[1], &w.ps[0], true)) take(gp);
    });
    sim::joinall();
    drain();
    sim::require(taken() == 3, "a goroutine was lost");
  });
}

TEST(Runq, EmptyIsNotSaidWhileSomethingIsQueued) {
  sim::check(small, [] {
    reset();
    runqput(&w.ps[0], &w.gs[0], true);
    asM(0, [] {
      // What was next moves into the ring and stays there; another is next for a moment.
      bool inherit;
      runqput(&w.ps[0], &w.gs[1], true);
      runqget(&w.ps[0], &inherit);
    });
    asM(1, [] {
      for (int i = 0; i < 3; i++) sim::require(!runqempty(&w.ps[0]), "runqempty of a queue that never was");
    });
    sim::joinall();
  });
}

TEST(Lock, ExcludesThreeThreadsAndLosesNoWakeup) {
  sim::check(small, [] {
    reset();
    static rt::mutex l;
    static int inside, sum;
    l = {};
    inside = sum = 0;
    for (int i = 0; i < 3; i++)
      asM(i, [] {
        for (int k = 0; k < 3; k++) {
          lock(&l);
          sim::require(inside++ == 0, "two hold the lock");
          sum++;
          inside--;
          unlock(&l);
        }
      });
    sim::joinall();
    sim::require(sum == 9, "an increment was lost");
  });
}

TEST(Lock, TwoThreadsInAllSchedulesWithThreePreemptions) {
  sim::Options o = small;
  o.preemptions = 3;
  o.runs = 60'000;
  sim::check(o, [] {
    reset();
    static rt::mutex l;
    static int inside;
    l = {};
    inside = 0;
    for (int i = 0; i < 2; i++)
      asM(i, [] {
        for (int k = 0; k < 2; k++) {
          lock(&l);
          sim::require(inside++ == 0, "two hold the lock");
          inside--;
          unlock(&l);
        }
      });
    sim::joinall();
  });
}

TEST(Note, OneWakeupEndsOneSleepInAllSchedulesWithThreePreemptions) {
  sim::Options o = small;
  o.preemptions = 3;
  o.runs = 60'000;
  sim::check(o, [] {
    reset();
    static note n;
    static int payload;
    n = {};
    payload = 0;
    asM(0, [] {
      for (int i = 1; i <= 2; i++) {
        notesleep(&n);
        noteclear(&n);
        sim::require(payload == i, "woken before the payload was written");
        payload = -i;
        notewakeup(&w.ms[1].park);
      }
    });
    asM(1, [] {
      for (int i = 1; i <= 2; i++) {
        payload = i;
        notewakeup(&n);
        notesleep(&w.ms[1].park);
        noteclear(&w.ms[1].park);
        sim::require(payload == -i, "woken before the answer was written");
      }
    });
    sim::joinall();
  });
}

TEST(Note, ATimedSleepIsWokenOrTimesOut) {
  sim::check(small, [] {
    reset();
    static note n;
    n = {};
    asM(0, [] {
      bool woken = notetsleep(&n, 2000);
      if (!woken) sim::require(sim::now() >= 2000, "timed out too early");
      notesleep(&n);  // the wakeup is not lost with the timeout
    });
    asM(1, [] { notewakeup(&n); });
    sim::joinall();
  });
}

}  // namespace
