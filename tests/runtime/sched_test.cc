// The scheduler: goroutines run at once, work moves to where there is none, run queues keep every goroutine exactly
// once.
#include <limits>
#include <memory>
#include <vector>

#include "fixture.h"
#include "proc.h"

using vitrine::go;

namespace {

class Sched : public Goroutines {};
class Runq : public Goroutines {};

TEST_F(Sched, TwoGoroutinesRunAtOnce) {
  // Each waits, without a call, for the other: on one M this would never end.
  std::atomic<int> here{0};
  std::atomic<rt::m*> ms[2];
  vitrine::wait_group wg;
  for (int i = 0; i < 2; i++)
    wg.go([&, i] {
      here++;
      while (here < 2) rt::procyield(1);
      ms[i] = rt::getg()->m;
    });
  wg.wait();
  EXPECT_NE(ms[0].load(), ms[1].load());
}

TEST_F(Sched, EveryPRunsAGoroutine) {
  int n = vitrine::gomaxprocs();
  ASSERT_EQ(n, 4);
  std::atomic<int> here{0};
  std::vector<rt::p*> ps(n);
  vitrine::wait_group wg;
  for (int i = 0; i < n; i++)
    wg.go([&, i] {
      vitrine::no_preempt keeps;  // its P, however long the others take to come
      here++;
      while (here < n) rt::procyield(1);
      ps[i] = rt::getg()->m->p;
    });
  wg.wait();
  for (int i = 0; i < n; i++)
    for (int k = 0; k < i; k++) EXPECT_NE(ps[i], ps[k]);
}

TEST_F(Sched, IdleMsStealFromABusyOne) {
  std::uint64_t before = rt::sched.nsteal.load();
  std::atomic<int> ran{0};
  rt::m* own = rt::getg()->m;
  std::atomic<bool> elsewhere{false};
  for (int i = 0; i < 50; i++)
    go([&] {
      if (rt::getg()->m != own) elsewhere = true;
      ran++;
    });
  // No call that could schedule: only others can run them.
  while (ran < 50) rt::procyield(10);
  EXPECT_TRUE(elsewhere);
  EXPECT_GT(rt::sched.nsteal.load(), before);
  std::uint64_t byM = 0, fromP = 0;
  for (rt::m* mp = rt::allm; mp != nullptr; mp = mp->alllink) byM += __atomic_load_n(&mp->nsteal, __ATOMIC_RELAXED);
  for (std::int64_t i = 0; i < rt::allp.len; i++)
    fromP += __atomic_load_n(&rt::allp.array[i]->nsteal, __ATOMIC_RELAXED);
  EXPECT_GT(byM, 0u);
  EXPECT_GT(fromP, 0u);
}

TEST_F(Sched, YieldLetsEveryOtherGoroutineRun) {
  std::atomic<int> turns[3] = {};
  std::atomic<bool> stop{false};
  vitrine::wait_group wg;
  for (int i = 0; i < 3; i++)
    wg.go([&, i] {
      while (!stop) {
        turns[i]++;
        vitrine::yield();
      }
    });
  EXPECT_TRUE(eventually([&] { return turns[0] > 100 && turns[1] > 100 && turns[2] > 100; }));
  stop = true;
  wg.wait();
}

// What a foreign thread starts comes by the global queue; runs while `others` keep all Ps busy.
bool ranfromtheglobalqueue() {
  std::atomic<bool> ran{false};
  std::thread([&] { go([&] { ran = true; }); }).join();
  return eventually([&] { return ran.load(); });
}

// With several Ps an idle one always comes by the global queue; with one, only fairness gets to it.
struct OnlyP {
  int before = vitrine::gomaxprocs(1);
  ~OnlyP() { vitrine::gomaxprocs(before); }
};

TEST_F(Sched, GlobalQueueIsNotStarvedByGoroutinesThatYield) {
  OnlyP one;
  std::atomic<bool> stop{false};
  vitrine::wait_group wg;
  for (int i = 0; i < 3; i++)
    wg.go([&] {
      while (!stop) vitrine::yield();
    });
  for (int i = 0; i < 10; i++) EXPECT_TRUE(ranfromtheglobalqueue());
  stop = true;
  wg.wait();
}

TEST_F(Sched, NeitherIsTheRingByAPairThatReadiesEachOther) {
  // The pair hands a token back and forth through runnext, all in one time slice: sysmon has to end it.
  OnlyP one;
  vitrine::chan<int> ping, pong;
  std::atomic<bool> stop{false}, ran{false};
  vitrine::wait_group wg;
  wg.go([=, &stop] {
    while (!stop) {
      ping.send(1);
      pong.recv();
    }
    ping.close();
  });
  wg.go([=] {
    for (int v : ping) pong.send(v);
  });
  vitrine::yield();
  go([&] { ran = true; });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
  stop = true;
  wg.wait();
}

TEST_F(Sched, GlobalQueueIsNotStarvedByAPairThatReadiesEachOther) {
  // On every P a pair that hands a token back and forth through runnext.
  vitrine::chan<int> stop;
  vitrine::wait_group wg;
  for (int i = 0; i < vitrine::gomaxprocs(); i++) {
    vitrine::chan<int> ping, pong;
    wg.go([=] {
      while (!stop.closed()) {
        ping.send(1);
        pong.recv();
      }
      ping.close();
    });
    wg.go([=] {
      for (int v : ping) pong.send(v);
    });
  }
  EXPECT_TRUE(ranfromtheglobalqueue());
  stop.close();
  wg.wait();
}

TEST_F(Sched, ParkedGoroutinesSayWhyAndOnWhat) {
  vitrine::chan<int> c;
  rt::g* receiver = startedparked(rt::waitReasonChanReceive, [c] { c.recv(); });
  rt::g* sleeper = startedparked(rt::waitReasonSleep, [] { vitrine::sleep_for(500ms); });
  EXPECT_NE(receiver->waitobject, nullptr);
  EXPECT_EQ(receiver->m, nullptr);
  EXPECT_GT(receiver->waitsince, 0);
  EXPECT_GE(receiver->sched.sp, receiver->stack.lo);
  EXPECT_LT(receiver->sched.sp, receiver->stack.hi);
  // It is parked first, then its timer is armed.
  ASSERT_TRUE(eventually([] { return pendingtimers() == 1; }));
  ASSERT_NE(sleeper->timer_, nullptr);
  EXPECT_EQ(sleeper->timer_->index, 0);
  c.send(1);
  for (int r = 0; r < rt::waitReasonCount; r++) EXPECT_NE(rt::waitReasonStrings[r].str, nullptr) << r;
  EXPECT_STREQ(rt::waitReasonStrings[rt::waitReasonChanReceive].str, "chan receive");
  EXPECT_STREQ(rt::waitReasonStrings[rt::waitReasonSyncMutexLock].str, "sync.Mutex.Lock");
  EXPECT_STREQ(rt::waitReasonStrings[rt::waitReasonTaskJoin].str, "task join");
}

TEST_F(Sched, IdleProgramUsesNoCpu) {
  vitrine::chan<int> hold;
  for (int i = 0; i < 100; i++) go([hold] { hold.recv(); });
  vitrine::sleep_for(50ms);
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  vitrine::sleep_for(500ms);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double used = double(after.tv_sec - before.tv_sec) + double(after.tv_nsec - before.tv_nsec) / 1e9;
  EXPECT_LT(used, 0.05) << "seconds of CPU in half a second of sleep";
  hold.close();
}

// A queue of its own, with g's that nobody runs.
struct queue {
  rt::p pp{};
  std::vector<rt::g> gs;
  explicit queue(int n) : gs(n) {}
};

TEST_F(Runq, IsFifoWithOneInFront) {
  queue q(4);
  for (int i = 0; i < 3; i++) rt::runqput(&q.pp, &q.gs[i], false);
  rt::runqput(&q.pp, &q.gs[3], true);
  bool inherit;
  EXPECT_EQ(rt::runqget(&q.pp, &inherit), &q.gs[3]);
  EXPECT_TRUE(inherit);
  for (int i = 0; i < 3; i++) {
    EXPECT_EQ(rt::runqget(&q.pp, &inherit), &q.gs[i]);
    EXPECT_FALSE(inherit);
  }
  EXPECT_TRUE(rt::runqempty(&q.pp));
  EXPECT_EQ(rt::runqget(&q.pp, &inherit), nullptr);
}

TEST_F(Runq, RunnextKicksTheFormerOneToTheTail) {
  queue q(2);
  rt::runqput(&q.pp, &q.gs[0], true);
  rt::runqput(&q.pp, &q.gs[1], true);
  bool inherit;
  EXPECT_EQ(rt::runqget(&q.pp, &inherit), &q.gs[1]);
  EXPECT_EQ(rt::runqget(&q.pp, &inherit), &q.gs[0]);
}

TEST_F(Runq, StealTakesHalfAndLeavesRunnext) {
  queue victim(9), thief(0);
  for (int i = 0; i < 8; i++) rt::runqput(&victim.pp, &victim.gs[i], false);
  rt::runqput(&victim.pp, &victim.gs[8], true);
  rt::g* first = rt::runqsteal(&thief.pp, &victim.pp, false);
  EXPECT_EQ(first, &victim.gs[3]) << "the last of the four taken is run at once";
  EXPECT_EQ(thief.pp.runqtail.value - thief.pp.runqhead.value, 3u);
  EXPECT_EQ(victim.pp.runqtail.value - victim.pp.runqhead.value, 4u);
  EXPECT_EQ(victim.pp.runnext.value, &victim.gs[8]);
  EXPECT_EQ(victim.pp.nsteal, 4u);
}

TEST_F(Runq, StealTakesRunnextOnlyWhenAskedTo) {
  queue victim(1), thief(0);
  rt::runqput(&victim.pp, &victim.gs[0], true);
  EXPECT_EQ(rt::runqsteal(&thief.pp, &victim.pp, false), nullptr);
  EXPECT_EQ(rt::runqsteal(&thief.pp, &victim.pp, true), &victim.gs[0]);
  EXPECT_TRUE(rt::runqempty(&victim.pp));
}

TEST_F(Runq, ThievesAndOwnerGetEachExactlyOnce) {
  constexpr int n = 200, rounds = underTsan ? 100 : 2000;
  queue q(n);
  std::vector<std::atomic<int>> got(n);
  std::atomic<bool> stop{false};
  std::atomic<int> taken{0};
  auto count = [&](rt::g* gp) {
    got[gp - q.gs.data()]++;
    taken++;
  };
  auto drain = [&](rt::p* pp) {
    bool inherit;
    while (rt::g* gp = rt::runqget(pp, &inherit)) count(gp);
  };
  vitrine::wait_group wg;
  for (int t = 0; t < 2; t++)
    wg.go([&, t] {
      queue own(0);
      while (!stop) {
        if (rt::g* gp = rt::runqsteal(&own.pp, &q.pp, t == 0)) {
          count(gp);
          drain(&own.pp);
        }
        vitrine::checkpoint();
      }
    });
  for (int r = 1; r <= rounds; r++) {
    for (int i = 0; i < n; i++) {
      rt::runqput(&q.pp, &q.gs[i], i % 5 == 0);
      bool inherit;
      if (i % 7 == 0)
        if (rt::g* gp = rt::runqget(&q.pp, &inherit)) count(gp);
    }
    drain(&q.pp);
    while (taken != n * r) rt::procyield(1);
  }
  stop = true;
  wg.wait();
  for (int i = 0; i < n; i++) EXPECT_EQ(got[i], rounds) << "g " << i;
}

TEST(Note, LongestSleepEndsAtItsWakeup) {
  // The end of that sleep is past the clock's range from now, whenever "now" is.
  EXPECT_EQ(rt::timeafter(std::numeric_limits<std::int64_t>::max()), std::numeric_limits<std::int64_t>::max());
  rt::note n{};
  std::atomic<bool> woken{false};
  std::thread sleeper([&] { woken = rt::notetsleep(&n, std::numeric_limits<std::int64_t>::max()); });
  std::this_thread::sleep_for(5ms);
  rt::notewakeup(&n);
  sleeper.join();
  EXPECT_TRUE(woken);
}

}  // namespace
