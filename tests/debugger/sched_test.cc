// info sched, -check and the lists, over a scheduler made of bytes: what is in order is silent, and each kind of
// contradiction, made by changing one field, is one line with its addresses.
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <functional>
#include <iterator>

#include "answer.h"
#include "commands.h"
#include "fake_sched.h"
#include "sched_movers.h"

namespace vitrine::inspect {
namespace {

using S = FakeSched;

TEST(InfoSched, OnePage) {
  S runtime;
  Answer r = run(runtime, "info sched");
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out,
            "processors   2 (gomaxprocs 2): 1 idle, 1 running\n"
            "machines     2 of at most ?: 1 idle, 1 running\n"
            "spinning     0, needspinning ?\n"
            "runnable     2 in the global queue, 3 in local queues\n"
            "goroutines   8: 5 runnable, 1 running, 2 waiting; 1 the runtime's own; 2 dead\n"
            "timers       3, the next about in 1.0s\n"
            "poller       nobody sleeps in it\n"
            "sysmon       none\n"
            "world        running (gcwaiting 0)\n"
            "uptime       40.0s+\n");
}

TEST(InfoSched, WhatCouldNotBeReadIsNotSaidToBeSo) {
  S runtime;
  runtime.poke(S::kM + 40, std::uint64_t{0x7f0000000000});
  auto session = runtime.session();
  std::string out = run(*session, "info sched").out;
  EXPECT_TRUE(contains(out, "\npoller       ? (not all Ms could be read)\n")) << out;
  EXPECT_TRUE(contains(out, "\nsysmon       ? (not all Ms could be read)\n")) << out;
  EXPECT_TRUE(contains(out, "\nmachines     1 could be read, of at most ?: 1 running\n")) << out;
  EXPECT_TRUE(contains(run(*session, "info ms").out, "\n1 M\n"));

  S other;
  other.target.threads_[1].regs.set(kRbp, 0x7f0000000000);
  out = run(other, "info sched").out;
  EXPECT_TRUE(contains(out, "\npoller       ? (what 1 M is in could not be found out)\n")) << out;
  EXPECT_TRUE(contains(out, "\nsysmon       ? (what 1 M is in could not be found out)\n")) << out;
}

TEST(InfoSched, WhatPsThatCouldNotBeReadHaveIsUnknown) {
  constexpr std::uint64_t kWait = 200, kNowhere = 0x7f0000000000;
  auto session = [&](S& runtime, std::uint64_t lost) {  // a world that is being stopped
    Type& schedt = *runtime.program.types.at("vitrine::rt::schedt");
    schedt.fields.push_back({"stopwait", kWait, schedt.field("gcwaiting")->type});
    runtime.poke(S::kSched + S::sWaiting, std::uint32_t{1});
    runtime.poke(S::kSched + kWait, std::uint32_t{2});
    for (std::uint64_t n = 0; n < lost; ++n) runtime.poke(S::kPArray + 8 * (1 - n), kNowhere);
    return runtime.session();
  };
  S whole, one, two;
  EXPECT_TRUE(
      contains(run(*session(whole, 0), "info sched").out, "\nworld        stopping, 2 Ps to go (gcwaiting 1)\n"));
  auto less = session(one, 1);
  const std::string out = run(*less, "info sched").out;
  for (const char* line : {"processors   1 could be read (gomaxprocs 2): 1 running\n",
                           "\nrunnable     2 in the global queue, at least 3 in local queues\n",
                           "\ntimers       at least 3\n", "\nworld        stopping, 2 Ps to go (gcwaiting 1)\n"})
    EXPECT_TRUE(contains(out, line)) << line << out;
  EXPECT_TRUE(
      contains(run(*less, "info sched -json").out, "\"runnable_local\":null,\"timers\":null,\"next_timer_ns\":null,"));
  auto none = session(two, 2);
  EXPECT_TRUE(run(*none, "info ps").out.starts_with("none that could be read\n"));
  EXPECT_TRUE(run(*none, "info timers").out.starts_with("none that could be read\n"));

  S holed;  // the middle of one P is missing
  holed.target.bad(S::kP + S::pRing, S::kP + S::pRing + 8);
  auto gap = holed.session();
  const std::string rows = run(*gap, "info ps").out;
  EXPECT_TRUE(contains(
      rows, "\n 0  running  0  1     -       -          -  - <the run queue of the P at 0x31000 is unreadable>\n"))
      << rows;
  EXPECT_TRUE(contains(run(*gap, "info sched").out, ", at least "));
}

TEST(InfoSched, WhatIsInOrderIsSilent) {
  S runtime;
  Answer r = run(runtime, "info sched -check");
  EXPECT_EQ(r.out, "checked 8 goroutines, 2 Ms, 2 Ps, 5 queued, 3 timers: no violation, 0 in transit\n");
  EXPECT_FALSE(r.incomplete);
}

struct Break {
  const char* name;
  std::function<void(S&)> make;
  const char* line;  // of the answer
};

class SchedCheckFinds : public testing::TestWithParam<Break> {};

TEST_P(SchedCheckFinds, OneChangedField) {
  S runtime;
  GetParam().make(runtime);
  Answer r = run(runtime, "info sched -check");
  EXPECT_TRUE(contains(r.out, std::string("violation: ") + GetParam().line)) << r.out;
  EXPECT_TRUE(r.incomplete);
}

const Break kBreaks[] = {
    {"RunnableInNoQueue", [](S& s) { s.poke(S::kP + S::pNext, std::uint64_t{0}); },
     "goroutine 4 (g at 0x100400) is runnable and in no run queue"},
    {"RunnableInTwo", [](S& s) { s.poke(S::kP + S::pNext, S::g(8)); },
     "goroutine 8 (g at 0x100800) is in the global queue and in P 0's runnext"},
    {"TwiceInTheRing", [](S& s) { s.ring(8, S::g(6)); },
     "goroutine 6 (g at 0x100600) is in P 0's ring and in P 0's ring"},
    {"WaitingInAQueue", [](S& s) { s.poke(S::g(6) + S::gStatus, S::kWaiting); },
     "goroutine 6 (g at 0x100600) is waiting, not runnable, and in P 0's ring"},
    {"DeadInAQueue", [](S& s) { s.ring(7, S::g(5)); }, "the g at 0x100500 is dead and in P 0's ring"},
    {"ForeignInAQueue", [](S& s) { s.poke(S::g(6) + S::gForeign, std::uint8_t{1}); },
     "goroutine 6 (g at 0x100600) stands for a thread and is in P 0's ring"},
    {"NullInAQueue", [](S& s) { s.ring(7, 0); }, "an entry of P 0's ring is null"},
    {"UnreadableInAQueue", [](S& s) { s.ring(7, 0x7f0000000000); }, "<unreadable 0x7f0000000000> is in P 0's ring"},
    {"TooFullARing", [](S& s) { s.poke(S::kP + S::pTail, std::uint32_t{99}); },
     "the P at 0x31000 claims 92 queued goroutines in 4 slots"},
    {"GlobalQueueInACircle", [](S& s) { s.poke(S::g(9) + S::gLink, S::g(8)); },
     "the global run queue: the list comes back to 0x100800 after 2"},
    {"GlobalQueueIntoNowhere", [](S& s) { s.poke(S::g(9) + S::gLink, std::uint64_t{0x7f0000000000}); },
     "the global run queue: 0x7f0000000000 is unreadable"},
    {"GlobalTail", [](S& s) { s.poke(S::kSched + S::sTail, S::g(8)); },
     "the global queue's tail is 0x100800, its last goroutine 0x100900"},
    {"GlobalLength", [](S& s) { s.poke(S::kSched + S::sSize, std::int32_t{3}); },
     "the global queue's length says 3 (at 0x11040), counted are 2"},
    {"PofMNamesAnother", [](S& s) { s.poke(S::kP + 8, S::kM1); },
     "M 0 (thread 100, m at 0x30000) has P 0 (p at 0x31000), whose m is 0x30400"},
    {"MofPNamesAnother", [](S& s) { s.poke(S::kM + 32, std::uint64_t{0}); },
     "P 0 (p at 0x31000) has m of M 0 (thread 100, m at 0x30000), whose p is 0x0"},
    {"POutsideAllp", [](S& s) { s.poke(S::kM + 32, std::uint64_t{0x31008}); },
     "M 0 (thread 100, m at 0x30000) has the P at 0x31008, which is not in allp"},
    {"PofMIdle", [](S& s) { s.poke(S::kP + 4, std::uint32_t{0}); },
     "M 0 (thread 100, m at 0x30000) has P 0 (p at 0x31000), which is idle"},
    {"IdlePWithM", [](S& s) { s.poke(S::kP1 + 8, S::kM1); }, "P 1 (p at 0x32000) is idle and has m 0x30400"},
    {"PWithUnknownM", [](S& s) { s.poke(S::kP + 8, std::uint64_t{0x123}); },
     "P 0 (p at 0x31000) has m 0x123, which is not in allm"},
    {"IdlePNowhere", [](S& s) { s.poke(S::kSched + S::sPidle, std::uint64_t{0}); },
     "P 1 (p at 0x32000) is idle, on no list, and handed to no M"},
    {"IdlePTwice", [](S& s) { s.poke(S::kM1 + 48, S::kP1); },
     "P 1 (p at 0x32000) is idle, on the idle list and handed to 1 Ms"},
    {"IdlePWithWork", [](S& s) { s.poke(S::kP1 + S::pNext, S::g(4)); },
     "P 1 (p at 0x32000) is on the idle list with 1 goroutines queued"},
    {"RunningPOnIdleList", [](S& s) { s.poke(S::kP1 + 4, std::uint32_t{1}); },
     "P 1 (p at 0x32000) is on the idle list and running"},
    {"RunningPWithoutM", [](S& s) { s.poke(S::kP + 8, std::uint64_t{0}); },
     "P 0 (p at 0x31000) is running and has no m"},
    {"SyscallPForgotten", [](S& s) { s.poke(S::kP1 + 4, std::uint32_t{2}); },
     "P 1 (p at 0x32000) is let go of for a system call by no M"},
    {"StoppedPInARunningWorld", [](S& s) { s.poke(S::kP1 + 4, std::uint32_t{3}); },
     "P 1 (p at 0x32000) is stopped, and the world is not"},
    {"DeadPInAllp", [](S& s) { s.poke(S::kP1 + 4, std::uint32_t{4}); }, "P 1 (p at 0x32000) is dead and in allp"},
    {"IdleMask", [](S& s) { s.poke(S::kMask, std::uint32_t{0}); },
     "P 1 (p at 0x32000) is on the idle list, and its idle bit is 0"},
    {"IdlePsInACircle", [](S& s) { s.poke(S::kP1 + S::pLink, S::kP1); },
     "the list of idle Ps: the list comes back to 0x32000 after 1"},
    {"CurgDead", [](S& s) { s.poke(S::kM + 16, S::g(5)); },
     "M 0 (thread 100, m at 0x30000) runs the g at 0x100500, which is no live goroutine"},
    {"CurgWithoutM", [](S& s) { s.poke(S::g(1) + S::gM, std::uint64_t{0}); },
     "M 0 (thread 100, m at 0x30000) runs goroutine 1 (g at 0x100100), which has no m"},
    {"CurgWaiting", [](S& s) { s.poke(S::g(1) + S::gStatus, S::kWaiting); },
     "M 0 (thread 100, m at 0x30000) runs goroutine 1 (g at 0x100100), which is waiting"},
    {"RunningWithoutP", [](S& s) { s.poke(S::kM + 32, std::uint64_t{0}); },
     "M 0 (thread 100, m at 0x30000) runs goroutine 1 (g at 0x100100) without a P"},
    {"NoprocWithP", [](S& s) { s.poke(S::g(1) + S::gNoproc, std::uint8_t{1}); },
     "M 0 (thread 100, m at 0x30000) has a P, although goroutine 1 (g at 0x100100) gave it up"},
    {"SyscallWithP", [](S& s) { s.poke(S::g(1) + S::gStatus, S::kSyscall); },
     "M 0 (thread 100, m at 0x30000) has a P, although goroutine 1 (g at 0x100100) is in a system call"},
    {"RunningOnNobody", [](S& s) { s.poke(S::g(2) + S::gStatus, S::kRunning); },
     "goroutine 2 (g at 0x100200) is running and has no m"},
    {"RunningElsewhere", [](S& s) { s.poke(S::kM + 16, std::uint64_t{0}); },
     "goroutine 1 (g at 0x100100) is running on M 0 (thread 100, m at 0x30000), whose curg is 0x0"},
    {"ParkedWithM", [](S& s) { s.poke(S::g(2) + S::gM, S::kM1); },
     "goroutine 2 (g at 0x100200) is waiting and has m of M 1 (thread 101, m at 0x30400)"},
    {"MNotInAllm", [](S& s) { s.poke(S::g(2) + S::gM, std::uint64_t{0x555}); },
     "goroutine 2 (g at 0x100200) has m 0x555, which is not in allm"},
    {"G0OfAnother", [](S& s) { s.poke(S::g(0) + S::gM, S::kM1); },
     "M 0 (thread 100, m at 0x30000): its g0 at 0x100000 has m 0x30400"},
    {"GsignalOfAnother", [](S& s) { s.poke(S::kM + S::mSignal, S::g(20)); },
     "M 0 (thread 100, m at 0x30000): its gsignal at 0x101400 has m 0x0"},
    {"LockedgAlone", [](S& s) { s.poke(S::kM + S::mLockedg, S::g(1)); },
     "M 0 (thread 100, m at 0x30000) is locked to goroutine 1 (g at 0x100100), whose lockedm is 0x0"},
    {"LockedmAlone", [](S& s) { s.poke(S::g(1) + S::gLockedm, S::kM); },
     "goroutine 1 (g at 0x100100) is locked to M 0 (thread 100, m at 0x30000), whose lockedg is 0x0"},
    {"IdleMSpins", [](S& s) { s.poke(S::kM1 + S::mSpinning, std::uint8_t{1}); },
     "M 1 (thread 101, m at 0x30400) is on the list of idle Ms and spins"},
    {"IdleMsInACircle", [](S& s) { s.poke(S::kM1 + S::mLink, S::kM1); },
     "the list of idle Ms: the list comes back to 0x30400 after 1"},
    {"Npidle", [](S& s) { s.poke(S::kSched + S::sNpidle, std::int32_t{0}); },
     "the number of idle Ps says 0 (at 0x11028), counted are 1"},
    {"Nmidle", [](S& s) { s.poke(S::kSched + S::sNmidle, std::int32_t{5}); },
     "the number of idle Ms says 5 (at 0x11018), counted are 1"},
    {"Nmspinning", [](S& s) { s.poke(S::kSched + S::sNmspinning, std::int32_t{1}); },
     "the number of spinning Ms says 1 (at 0x1102c), counted are 0"},
    {"Ngsys", [](S& s) { s.poke(S::kSched + S::sNgsys, std::int32_t{7}); },
     "the number of system goroutines says 7 (at 0x11060), counted are 1"},
    {"Nforeignparked", [](S& s) { s.poke(S::kSched + S::sNforeign, std::int32_t{1}); },
     "the number of parked foreign threads says 1 (at 0x11064), counted are 0"},
    {"Mnext", [](S& s) { s.poke(S::kSched + S::sMnext, std::int64_t{3}); },
     "the number of Ms made, less those freed, says 3 (at 0x11068), counted are 2"},
    {"TimersLen", [](S& s) { s.poke(S::kP + S::pLen, std::uint32_t{2}); },
     "P 0's number of timers says 2 (at 0x31068), counted are 3"},
    {"MinWhen", [](S& s) { s.poke(S::kP + S::pMin, std::int64_t{1}); },
     "P 0's timers.minWhen is 1 (at 0x31070), its first timer's 61000000000"},
    {"HeapOrder", [](S& s) { s.set_timer(2, 5, 2, 0xabc0, 0); },
     "the timer at 0x60080 in slot 2 of P 0 is due at 5, before its parent (61000000000)"},
    {"HeapTime", [](S& s) { s.poke(S::timer(2) + S::tWhen, std::int64_t{89'000'000'000}); },
     "the timer at 0x60080 in slot 2 of P 0 is due at 89000000000, the heap says 90000000000"},
    {"Zombies", [](S& s) { s.poke(S::timer(2) + S::tZombie, std::uint32_t{1}); },
     "P 0's timers.zombies says 0 (at 0x3106c), its heap has 1 among 3"},
    {"TimerOfAnotherP", [](S& s) { s.poke(S::timer(1) + S::tPp, S::kP1); },
     "the timer at 0x60040 in slot 1 of P 0 says that its P is at 0x32000"},
    {"TimerIndex", [](S& s) { s.poke(S::timer(1) + S::tIndex, std::int64_t{2}); },
     "the timer at 0x60040 in slot 1 of P 0 says that it is in slot 2"},
    {"TimerUnreadable", [](S& s) { s.poke(S::kHeap + 16, std::uint64_t{0x7f0000000000}); },
     "the timer at 0x7f0000000000 is unreadable"},
    {"HeapUnreadable", [](S& s) { s.poke(S::kP + S::pHeap, std::uint64_t{0x7f0000000000}); },
     "the timers of P 0 are unreadable from slot 0 at 0x7f0000000000 on; 3 are claimed"},
    {"FreeListLength", [](S& s) { s.poke(S::kP + S::pFreeN, std::int32_t{2}); },
     "P 0's free list's length says 2 (at 0x31050), counted are 1"},
    {"FreeTwice", [](S& s) { s.poke(S::kSched + S::sFreeStack, S::g(5)); },
     "the g at 0x100500 is on P 0's free list and on the global free list"},
    {"LiveOnAFreeList", [](S& s) { s.poke(S::g(5) + S::gLink, S::g(2)); },
     "goroutine 2 (g at 0x100200) is not dead and is on P 0's free list"},
    {"DeadAndLost", [](S& s) { s.poke(S::kSched + S::sFreeNone, std::uint64_t{0}); },
     "the g at 0x100a00 is dead and on no free list"},
    {"GlobalFreeLength", [](S& s) { s.poke(S::kSched + S::sFreeN, std::int32_t{0}); },
     "the global free list's length says 0 (at 0x11058), counted are 1"},
    {"UnreadableG", [](S& s) { s.poke(S::kArray + 8, std::uint64_t{0x7f0000000000}); },
     "<unreadable 0x7f0000000000> is in allgs"},
};
INSTANTIATE_TEST_SUITE_P(Each, SchedCheckFinds, testing::ValuesIn(kBreaks),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SchedCheck, AGoroutineOnItsWayIsLaidAtTheDoorOfWhoMovesIt) {
  S runtime;
  runtime.poke(S::kP + S::pNext, std::uint64_t{0});
  runtime.stand(1, {0x7010, 0x7310});
  Answer r = run(runtime, "info sched -check");
  EXPECT_TRUE(contains(r.out,
                       "in transit: goroutine 4 (g at 0x100400) is runnable and in no run queue: M 1 (thread 101) is "
                       "in vitrine::rt::runqsteal\n"))
      << r.out;
  EXPECT_TRUE(contains(r.out, "no violation, 1 in transit")) << r.out;
  EXPECT_FALSE(r.incomplete);
}

TEST(SchedCheck, WhoSleepsExcusesNothing) {
  S runtime;
  runtime.poke(S::kP + S::pNext, std::uint64_t{0});
  runtime.stand(1, {0x7210, 0x7310, 0x7010});
  EXPECT_TRUE(contains(run(runtime, "info sched -check").out, "1 violation, 0 in transit"));
}

// A P that nobody has: excused by who starts an M, or takes Ps, not by whoever once was started.
TEST(SchedCheck, WhatAThreadBeganWithIsOver) {
  auto check = [](const std::vector<std::uint64_t>& stack) {
    S runtime;
    runtime.poke(S::kSched + S::sPidle, std::uint64_t{0});
    runtime.poke(S::kSched + S::sNpidle, std::int32_t{0});
    runtime.poke(S::kMask, std::uint32_t{0});
    runtime.stand(1, stack);
    return run(runtime, "info sched -check").out;
  };
  EXPECT_TRUE(contains(check({0x7610}), "no violation, 1 in transit"));
  EXPECT_TRUE(contains(check({0x7810, 0x7710, 0x7610}), "M 1 (thread 101) is in vitrine::rt::retake"));
  EXPECT_TRUE(contains(check({0x7710, 0x7610}), "1 violation, 0 in transit"));
  EXPECT_TRUE(contains(check({0x7910, 0x7710, 0x7610}), "1 violation, 0 in transit"));
  EXPECT_TRUE(contains(check({0x7310, 0x7610}), "1 violation, 0 in transit"));
}

TEST(SchedCheck, OneThreadThatMovesOneGoroutineExcusesNoSecond) {
  S runtime;
  runtime.poke(S::kP + S::pNext, std::uint64_t{0});
  runtime.poke(S::kP + S::pHead, std::uint32_t{8});
  runtime.stand(1, {0x7510});
  EXPECT_TRUE(contains(run(runtime, "info sched -check").out, "1 violation, 1 in transit"));
}

TEST(SchedCheck, WhatAThiefCopiedBehindItsTailIsItsOwn) {
  S runtime;
  runtime.poke(S::kP + S::pNext, std::uint64_t{0});
  runtime.ring(9, S::g(4));
  runtime.stand(0, {0x7010});
  EXPECT_TRUE(contains(run(runtime, "info sched -check").out, "M 0 (thread 100) is in vitrine::rt::runqsteal"));
}

TEST(SchedCheck, AGoroutineThatIsAboutToRunIsNamedWithItsM) {
  S runtime;
  runtime.poke(S::kP + S::pNext, std::uint64_t{0});
  runtime.poke(S::kM + 16, S::g(4));
  runtime.poke(S::g(1) + S::gStatus, S::kWaiting);
  runtime.poke(S::g(1) + S::gM, std::uint64_t{0});
  runtime.stand(0, {0x7110});
  Answer r = run(runtime, "info sched -check");
  EXPECT_TRUE(contains(r.out, "is runnable and in no run queue: M 0 (thread 100) is in vitrine::rt::execute")) << r.out;
  EXPECT_TRUE(contains(r.out, "no violation, 3 in transit")) << r.out;
}

TEST(SchedCheck, AHeldLockExcusesWhatItGuardsWhileSomebodyIsInside) {
  S runtime;
  runtime.poke(S::kSched + S::sNpidle, std::int32_t{0});
  runtime.poke(S::kSched + S::sLock, std::uint32_t{1});
  EXPECT_TRUE(contains(run(runtime, "info sched -check").out, "1 violation, 0 in transit")) << "nobody is inside";
  S other;
  other.poke(S::kSched + S::sNpidle, std::int32_t{0});
  other.poke(S::kSched + S::sLock, std::uint32_t{1});
  other.poke(S::kM1 + S::mLocks, std::int32_t{1});
  other.stand(1, {0x7410});
  EXPECT_TRUE(contains(run(other, "info sched -check").out,
                       "counted are 1: the scheduler's lock is held; M 1 (thread 101) is in vitrine::rt::startm"));
}

// A counter that changes under a lock, while that is held and a thread is inside: excused if it is off by no more than
// one holder changes.
struct Counter {
  const char* name;
  std::uint64_t counter, lock;  // lock 0: the P's own M
  std::int32_t near, far;
  const char* line;
};

class SchedCheckCounts : public testing::TestWithParam<Counter> {
 protected:
  std::string check(std::int32_t value) {
    S runtime;
    const Counter& c = GetParam();
    runtime.poke(c.counter, value);
    if (c.lock) runtime.poke(c.lock, std::uint32_t{1});
    runtime.stand(c.lock ? 1 : 0, {0x7510});
    return run(runtime, "info sched -check").out;
  }
};

TEST_P(SchedCheckCounts, OnlyWhatOneHolderChangesIsExcused) {
  std::string near = check(GetParam().near), far = check(GetParam().far);
  EXPECT_TRUE(contains(near, std::string("in transit: ") + GetParam().line)) << near;
  EXPECT_TRUE(contains(near, "no violation, 1 in transit")) << near;
  EXPECT_TRUE(contains(far, std::string("violation: ") + GetParam().line)) << far;
  EXPECT_TRUE(contains(far, "1 violation, 0 in transit")) << far;
}

const Counter kCounters[] = {
    {"IdlePs", S::kSched + S::sNpidle, S::kSched + S::sLock, 2, 3, "the number of idle Ps says"},
    {"IdleMs", S::kSched + S::sNmidle, S::kSched + S::sLock, 0, -1, "the number of idle Ms says"},
    {"GlobalQueue", S::kSched + S::sSize, S::kSched + S::sLock, 5, 6, "the global queue's length says"},
    {"FreeOfAP", S::kP + S::pFreeN, 0, 2, 3, "P 0's free list's length says"},
    {"FreeOfAll", S::kSched + S::sFreeN, S::kSched + S::sFreeLock, 0, -1, "the global free list's length says"},
    {"Timers", S::kP + S::pLen, S::kP + S::pTimersLock, 2, 1, "P 0's number of timers says"},
};
INSTANTIATE_TEST_SUITE_P(Each, SchedCheckCounts, testing::ValuesIn(kCounters),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SchedCheck, MoreIsOnItsWayWhileTheNumberOfPsChanges) {
  for (auto [length, timers, excused] : {std::tuple(7, 0u, true), {8, 2u, false}}) {
    S runtime;
    runtime.poke(S::timer(2) + S::tZombie, std::uint32_t{1});
    runtime.poke(S::kP + S::pZombies, std::uint32_t{1});
    runtime.poke(S::kSched + S::sWaiting, std::uint32_t{1});
    runtime.poke(S::kSched + S::sLock, std::uint32_t{1});
    runtime.poke(S::kP + S::pTimersLock, std::uint32_t{1});
    runtime.poke(S::kSched + S::sSize, std::int32_t{length});
    runtime.poke(S::kP + S::pLen, timers);
    runtime.stand(1, {0x7510});
    std::string out = run(runtime, "info sched -check").out;
    EXPECT_TRUE(contains(out, excused ? "no violation, 2 in transit" : "1 violation, 0 in transit")) << out;
  }
}

// sweepzombies: the heap is without the stopped timers before their number is.
TEST(SchedCheck, WhoTakesStoppedTimersOutExcusesThemAndOneMore) {
  for (auto [timers, excused] : {std::pair(0u, true), {4u, true}, {5u, false}}) {
    S runtime;
    runtime.poke(S::timer(2) + S::tZombie, std::uint32_t{1});
    runtime.poke(S::kP + S::pZombies, std::uint32_t{1});
    runtime.poke(S::kP + S::pTimersLock, std::uint32_t{1});
    runtime.poke(S::kP + S::pLen, timers);
    runtime.stand(1, {0x7510});
    std::string out = run(runtime, "info sched -check").out;
    EXPECT_TRUE(contains(out, excused ? "no violation, 1 in transit" : "1 violation, 0 in transit")) << out;
  }
}

TEST(SchedCheck, WhereNoTimerIsMarkedAsStoppedAllOfTheHeapCount) {
  S runtime;
  std::erase_if(runtime.program.types.at("vitrine::rt::timer")->fields,
                [](const Field& f) { return f.name == "zombie"; });
  runtime.poke(S::kP + S::pZombies, std::uint32_t{1});
  EXPECT_EQ(run(runtime, "info sched -check").out,
            "checked 8 goroutines, 2 Ms, 2 Ps, 5 queued, 3 timers: no violation, 0 in transit\n");
}

TEST(SchedCheck, WhoFreesGoroutinesExcusesOneEach) {
  S runtime;
  runtime.poke(S::kSched + S::sFreeNone, std::uint64_t{0});
  runtime.poke(S::kSched + S::sFreeN, std::int32_t{0});
  runtime.poke(S::kP + S::pFree, std::uint64_t{0});
  runtime.poke(S::kP + S::pFreeN, std::int32_t{0});
  runtime.poke(S::kSched + S::sFreeLock, std::uint32_t{1});
  runtime.stand(1, {0x7510});
  std::string out = run(runtime, "info sched -check").out;
  EXPECT_TRUE(contains(out, "1 violation, 1 in transit")) << out;
}

TEST(SchedCheck, AStoppedWorldAndAGoroutineWithoutAPAreNoViolations) {
  S runtime;
  runtime.poke(S::kSched + S::sWaiting, std::uint32_t{1});
  runtime.poke(S::kSched + S::sPidle, std::uint64_t{0});
  runtime.poke(S::kSched + S::sNpidle, std::int32_t{0});
  runtime.poke(S::kMask, std::uint32_t{0});
  runtime.poke(S::kP1 + 4, std::uint32_t{3});
  runtime.poke(S::kP + 4, std::uint32_t{2});
  runtime.poke(S::kP + 8, std::uint64_t{0});
  runtime.poke(S::kM + 32, std::uint64_t{0});
  runtime.poke(S::kM + S::mOldp, S::kP);
  runtime.poke(S::g(1) + S::gNoproc, std::uint8_t{1});
  EXPECT_TRUE(contains(run(runtime, "info sched -check").out, "no violation, 0 in transit"));
}

TEST(SchedCheck, EveryReadMayFail) {
  for (std::size_t n = 1;; ++n) {
    S runtime;
    FakeTarget& target = runtime.target;
    auto session = runtime.session();
    target.fail_read(n);
    for (const char* line :
         {"info sched -check", "info sched", "info ps -runq", "info ms", "info timers", "info netpoll"}) {
      Collected sink;
      run_command(*session, split(line), sink);
      EXPECT_NE(sink.text + sink.errors, "") << line << " at read " << n;
    }
    if (!target.faulted()) break;
    ASSERT_LT(n, 5000u);
  }
}

TEST(SchedCheck, ARuntimeWithoutTheNewFieldsIsAnsweredWithWhatThereIs) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::g(0) + FakeRuntime::gM, FakeRuntime::kM);
  auto session = runtime.session();
  for (const char* line :
       {"info sched", "info sched -check", "info ps -runq", "info ms", "info timers", "info netpoll"}) {
    Collected sink;
    EXPECT_EQ(run_command(*session, split(line), sink), Outcome::ok) << line;
    EXPECT_FALSE(contains(sink.text, "violation:")) << sink.text;
  }
}

// Names that the check relies on are words of the runtime's own sources.
TEST(SchedCheck, TheFunctionsThatItKnowsExist) {
  std::string sources;
  for (const char* name :
       {"proc.cc", "proc_find.cc", "proc_m.cc", "proc_new.cc", "proc_runq.cc", "proc_syscall.cc", "proc_world.cc",
        "proc_exit.cc", "proc_foreign.cc", "rt0.cc", "sysmon.cc", "asm_amd64.S", "lock_futex.cc"}) {
    std::ifstream in(std::string(VITRINE_TEST_SOURCE) + "/runtime/" + name);
    sources.append(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_FALSE(sources.empty());
  for (auto names : std::initializer_list<std::span<const std::string_view>>{
           movers::kRunnable, movers::kRunnableMany, movers::kThief, movers::kCurrent, movers::kProcessor,
           movers::kWorld, movers::kSpinning, movers::kMachine, movers::kLocked, movers::kProxy, movers::kForeign,
           movers::kFree}) {
    for (std::string_view name : names) {
      bool found = false;
      for (std::size_t at = 0; !found && (at = sources.find(name, at)) != sources.npos; at += name.size()) {
        char before = at ? sources[at - 1] : ' ', after = sources[at + name.size()];
        found = after == '(' || (before == ' ' && after == ' ');
        found = found && !std::isalnum(static_cast<unsigned char>(before)) && before != '_';
      }
      EXPECT_TRUE(found) << name;
    }
  }
}

TEST(InfoPs, RowsAndQueues) {
  S runtime;
  EXPECT_EQ(run(runtime, "info ps -runq").out,
            "ID  STATUS   M  G  RUNQ  TIMERS  SCHEDTICK  SYSCALLTICK  QUEUE\n"
            " 0  running  0  1     3       3          0            -  next:4 6 7\n"
            " 1  idle     -  -     0       0          0            -\n"
            "2 Ps\n"
            "global queue (2): 8 9\n");
  S other;
  EXPECT_EQ(run(other, "info ps -where '(runq > 0 or timers > 0) and not status = idle' -cols id,runnext").out,
            "ID  RUNNEXT\n 0        4\n1 P\n");
  S third;
  EXPECT_EQ(run(third, "info ps -short -sort -id").out, "1\n0\n");
}

TEST(InfoMs, Rows) {
  S runtime;
  EXPECT_EQ(run(runtime, "info ms").out,
            "ID  TID  STATE    P  CURG  SPINNING  BLOCKED  LOCKS  LOCKEDG  WHERE\n"
            " 0  100  running  0     1  no        no           0        -  main_loop at app.cc:51\n"
            " 1  101  idle     -     -  no        yes          0        -  vitrine::rt::schedule at proc.cc:360\n"
            "2 Ms\n");
}

TEST(InfoTimers, SoonestFirstJoinedToWhatTheyAreFor) {
  S runtime;
  EXPECT_EQ(run(runtime, "info timers").out,
            "   DUE  P  KIND   PERIOD  GOID  WHAT\n"
            " ~1.0s  0  sleep       -     2  goroutine 2 \"reader\"\n"
            " ~5.0s  0  chan     5.0s     -  channel 0x67000\n"
            "~30.0s  0  func        -     -  reader\n"
            "3 timers\n");
  // One was put off, one stopped.
  auto later = [](const char* command) {
    S changed;
    changed.poke(S::timer(0) + S::tWhen, std::int64_t{96'000'000'000});
    changed.poke(S::timer(1) + S::tZombie, std::uint32_t{1});
    changed.poke(S::kP + S::pZombies, std::uint32_t{1});
    changed.poke(S::kP + S::pLen, std::uint32_t{2});
    return run(changed, command).out;
  };
  EXPECT_EQ(later("info timers -cols due,kind"),
            "   DUE  KIND\n"
            "~30.0s  func\n"
            "~36.0s  sleep\n"
            "2 timers\n");
  EXPECT_TRUE(contains(later("info sched"), "timers       2,"));
  EXPECT_TRUE(contains(later("info sched -check"), "no violation"));
  S none;
  none.poke(S::kP + S::pHeap + 8, std::int64_t{0});
  none.poke(S::kP + S::pLen, std::uint32_t{0});
  EXPECT_EQ(run(none, "info timers").out, "no timer is set\n");
}

TEST(InfoTimers, AnUnreadableOneIsNamedAndTheListGoesOn) {
  S runtime;
  runtime.poke(S::kHeap, std::uint64_t{0x7f0000000000});
  Answer r = run(runtime, "info timers");
  EXPECT_TRUE(contains(r.out, "<the timer at 0x7f0000000000 is unreadable>")) << r.out;
  EXPECT_TRUE(contains(r.out, "channel 0x67000")) << r.out;
  EXPECT_TRUE(r.incomplete);
}

TEST(InfoNetpoll, WhoWaitsOnWhichSide) {
  S runtime;
  EXPECT_EQ(run(runtime, "info netpoll").out,
            "FD  MODE  READER  WRITER  READ_DUE  WRITE_DUE  CLOSING  WHAT\n"
            " 5  r     2       -          ~3.0s          -  no       -\n"
            " 6  -     -       ready          -       past  no       -\n"
            "2 descriptors\n");
  S none;
  none.poke(S::kPolls, std::uint64_t{0});
  EXPECT_EQ(run(none, "info netpoll").out, "no descriptor is watched: the program uses no netpoll\n");
}

TEST(InfoNetpoll, AListInACircleIsCutAndSaid) {
  S runtime;
  runtime.poke(S::kPoll + 0x100, S::kPoll);
  Answer r = run(runtime, "info netpoll");
  EXPECT_TRUE(contains(r.out, "2 descriptors\nwarning: the list of descriptors: the list comes back to 0x64000"))
      << r.out;
}

TEST(InfoGoroutines, AForeignThreadThatWaitsIsARow) {
  S runtime;
  runtime.poke(S::g(3) + S::gForeign, std::uint8_t{1});
  runtime.poke(S::g(3) + S::gTid, std::int64_t{4711});
  runtime.target.text(S::g(3) + S::gName, "thread 4711");
  EXPECT_TRUE(contains(run(runtime, "info goroutines -cols goid,name,foreign").out, "   3  thread 4711  yes\n"));
  S running;
  running.poke(S::g(3) + S::gForeign, std::uint8_t{1});
  running.poke(S::g(3) + S::gStatus, S::kRunning);
  EXPECT_EQ(run(running, "info goroutines -where 'foreign and not system' -count").out, "0\n");
  S hidden;
  hidden.poke(S::g(3) + S::gForeign, std::uint8_t{1});
  hidden.poke(S::g(3) + S::gStatus, S::kRunning);
  EXPECT_FALSE(contains(run(hidden, "info goroutines -cols goid").out, "   3\n"));
}

TEST(Completion, OptionsAndColumns) {
  Session session;
  auto offers = [&](std::string_view typed, std::string_view partial) {
    std::string all;
    complete_command(session, split(typed), partial, [&](std::string_view s) { all += std::string(s) + " "; });
    return all;
  };
  EXPECT_EQ(offers("info sched", "-"), "-check -json ");
  EXPECT_EQ(offers("info ps", "-r"), "-runq ");
  EXPECT_EQ(offers("info ms -cols", "id,sp"), "id,spinning ");
  EXPECT_EQ(offers("info timers -sort", "-d"), "-due ");
  EXPECT_EQ(offers("info netpoll", "-a"), "");
}

}  // namespace
}  // namespace vitrine::inspect
