// chan, mutex, sync over objects made of bytes: exact text, and every way in which such an object can be broken.
#include "objects.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "answer.h"
#include "commands.h"
#include "fake_objects.h"

namespace vitrine::inspect {
namespace {

using O = FakeObjects;

// A channel whose buffer is full, and two goroutines that want to send into it.
void senders(FakeObjects& o) {
  o.channel(O::kChan, 4, 4, 3);
  o.poke(O::kRing + 8, std::int32_t{14});
  o.waits(6, O::rSend, O::kChan);
  o.target.text(O::g(6) + O::gName, "writer");
  o.waits(7, O::rSend, O::kChan);
  o.poke(O::kElems, std::int32_t{77});
  o.poke(O::kElems + 8, std::int32_t{88});
  o.enqueue(O::kChan + O::chanSendq, 1, 6, O::kElems);
  o.enqueue(O::kChan + O::chanSendq, 2, 7, O::kElems + 8);
}

TEST(Chan, ShowsItsRingFromTheOldestValueOnAndWhoWaits) {
  FakeObjects o;
  senders(o);
  auto session = o.session();
  Answer r = run(*session, "chan 0x4000000");
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out,
            "chan 0x4000000: 4 of 4 buffered, open\n"
            "of int, 4 bytes each; 2 handles\n"
            "buffered, the next to be received first:\n"
            "    0  11\n"
            "    1  12\n"
            "    2  -13\n"
            "    3  14\n"
            "SIDE  GOID  NAME       AGE  VALUE  WHERE\n"
            "send     6  writer  12.0s+  77     reader at app.cc:32\n"
            "send     7          12.0s+  88     reader at app.cc:32\n"
            "2 wait\n");
  EXPECT_FALSE(session->incomplete);
}

TEST(Chan, TheListCountsBothSides) {
  FakeObjects o;
  senders(o);
  o.channel(O::kChan + 0x80, 0, 0, 0);
  o.poke(O::kChan + 0x80 + 32, std::uint32_t{1});  // closed
  o.waits(8, O::rReceive, O::kChan + 0x80);
  o.enqueue(O::kChan + 0x80 + O::chanRecvq, 3, 8);
  auto session = o.session();
  EXPECT_EQ(run(*session, "chan -where 'senders > 0 or receivers = 1'").out,
            "     ADDR  LEN  CAP  CLOSED  TYPE  SENDERS  RECEIVERS\n"
            "0x4000000    4    4  no      int         2          0\n"
            "0x4000080    0    0  yes     int         0          1\n"
            "2 channels\n");
  EXPECT_EQ(run(*session, "chan -count").out, "2\n");
  EXPECT_EQ(run(*session, "chan -short -where closed").out, "0x4000080\n");
  EXPECT_EQ(run(*session, "chan -limit 1 -cols len").out, "LEN\n  4\n1 of 2 shown (-limit 0 for all)\n");
}

TEST(Chan, ALimitIsSaidForValuesAndForWaiters) {
  FakeObjects o;
  senders(o);
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000 -limit 1").out;
  EXPECT_TRUE(contains(out, "  1 of 4 values shown (-limit 0 for all)\n")) << out;
  EXPECT_TRUE(contains(out, "\n1 of 2 shown (-limit 0 for all)\n")) << out;
}

TEST(Chan, MoreValuesThanPlacesAreNotBelieved) {
  FakeObjects o;
  o.poke(O::kChan, ~std::uint64_t{0});
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000").out;
  EXPECT_TRUE(contains(out, "    3  ")) << out;
  EXPECT_FALSE(contains(out, "    4  ")) << out;
  EXPECT_TRUE(contains(out, "damaged: it claims 18446744073709551615 values in 4 places\n")) << out;
  EXPECT_TRUE(session->incomplete);
}

TEST(Chan, ElementsWithoutASizeOrOfAnImpossibleOneAreSaid) {
  for (std::uint64_t size : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 60}) {
    FakeObjects o;
    o.poke(O::kChan + 24, size);
    auto session = o.session();
    Answer r = run(*session, "chan 0x4000000");
    EXPECT_EQ(r.outcome, Outcome::ok) << size;
    EXPECT_TRUE(
        contains(r.out, size ? "damaged: no memory could hold its 4 places" : "damaged: its elements have no size"))
        << r.out;
    EXPECT_FALSE(contains(r.out, "buffered, the next")) << r.out;
  }
}

TEST(Chan, APlaceOutsideOfTheRingIsSaidAndNotRead) {
  FakeObjects o;
  o.poke(O::kChan + 56, std::uint64_t{1} << 40);
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000").out;
  EXPECT_TRUE(contains(out, "damaged: its next value is in place 1099511627776 of 4\n")) << out;
  FakeObjects other;
  other.poke(O::kChan + 48, std::uint64_t{0});
  auto second = other.session();
  EXPECT_TRUE(contains(run(*second, "chan 0x4000000").out, "damaged: recvx 3 and 3 values do not lead to sendx 0\n"));
}

TEST(Chan, ValuesThatCannotBeReadNameTheirAddress) {
  FakeObjects o;
  o.poke(O::kChan + 16, std::uint64_t{0xdead0000});
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "chan 0x4000000").out, "    0  <unreadable 0xdead000c>\n"));
  EXPECT_TRUE(session->incomplete);
}

TEST(Chan, ABadElementPointerOfASenderNamesItsAddress) {
  FakeObjects o;
  senders(o);
  o.poke(O::sudog(2) + 24, std::uint64_t{0xdead0000});
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "chan 0x4000000").out, "  <unreadable 0xdead0000>  "));
}

TEST(Chan, AQueueThatComesBackIsCut) {
  FakeObjects o;
  senders(o);
  o.poke(O::sudog(2) + 8, O::sudog(1));
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000").out;
  EXPECT_TRUE(contains(out, "damaged: sendq comes back to the sudog at 0x4001048; cut there\n")) << out;
  EXPECT_TRUE(contains(out, "\n2 wait\n")) << out;
}

TEST(Chan, LastThatIsNotTheEndIsSaid) {
  FakeObjects o;
  senders(o);
  o.poke(O::kChan + O::chanSendq + 8, O::sudog(1));
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "chan 0x4000000").out,
                       "damaged: sendq.last is 0x4001048, but the list ends at 0x4001090\n"));
  FakeObjects other;
  senders(other);
  other.poke(O::sudog(2) + 16, std::uint64_t{0});
  auto second = other.session();
  EXPECT_TRUE(contains(run(*second, "chan 0x4000000").out,
                       "damaged: sendq: the sudog at 0x4001090 has prev 0x0, but stands behind 0x4001048\n"));
}

TEST(Chan, AnUnreadableSudogEndsItsQueueOnly) {
  FakeObjects o;
  senders(o);
  o.poke(O::sudog(1) + 8, std::uint64_t{0xdead0000});
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000").out;
  EXPECT_TRUE(contains(out, "damaged: sendq: the sudog at 0xdead0000 is unreadable")) << out;
  EXPECT_TRUE(contains(out, "\n1 waits\n")) << out;
}

TEST(Chan, ASudogOfNoGoroutineIsShownAsSuch) {
  FakeObjects o;
  senders(o);
  o.poke(O::sudog(1), std::uint64_t{0x1234});
  auto session = o.session();
  std::string out = run(*session, "chan 0x4000000").out;
  EXPECT_TRUE(contains(out, "<no goroutine at 0x1234>")) << out;
  EXPECT_TRUE(contains(out, "damaged: sendq: the sudog at 0x4001048 is of a g at 0x1234, where no goroutine is\n"))
      << out;
}

TEST(Chan, AHandleServesAsWell) {
  FakeObjects o;
  o.poke(O::kOthers, O::kChan);
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "chan 0x4000c00").out, "chan 0x4000000: 3 of 4"));
}

TEST(Chan, WhatCannotBeReadIsOneMessage) {
  FakeObjects o;
  auto session = o.session();
  Answer r = run(*session, "chan 0xdead0000");
  EXPECT_EQ(r.outcome, Outcome::error);
  EXPECT_TRUE(contains(r.err, "the chan at 0xdead0000 is unreadable: ")) << r.err;
  EXPECT_EQ(run(*session, "chan 0").err, "there is nothing at address 0\n");
  EXPECT_TRUE(contains(run(*session, "chan 0xffffffffffffffff").err, "0xffffffffffffffff"));
  EXPECT_EQ(run(*session, "chan nosuch").err, "'nosuch' is neither an address nor the name of a global variable\n");
  EXPECT_EQ(run(*session, "chan 0x4000000 -sort len").err, "-sort is for the list; one object has -limit and -json\n");
}

TEST(Expression, ItsTypeTellsWhatItIsAndNothingThatActsIsEvaluated) {
  FakeObjects o;
  o.poke(O::kOthers, O::kChan);        // a chan<int> object
  o.poke(O::kOthers + 8, O::kOthers);  // a pointer to it
  o.poke(O::kOthers + 16, std::uint64_t{0});
  o.lock(0, 1);
  auto session = o.session();
  std::string asked;
  std::map<std::string, Session::Evaluated> answers = {
      {"c", {O::kOthers, "vitrine::chan<int>"}},
      {"*c", {O::kOthers, "const vitrine::chan<int> &"}},
      {"this->q", {O::kOthers, "vitrine::chan<int>"}},
      {"p", {O::kOthers, "vitrine::chan<int> * const"}},
      {"pp", {O::kOthers + 8, "vitrine::chan<int> **"}},
      {"(vitrine::rt::hchan *)x", {O::kChan, "vitrine::rt::hchan *"}},
      {"raw", {O::kChan, "void *"}},
      {"none", {O::kOthers + 16, "vitrine::chan<int>"}},
      {"nullp", {0, "vitrine::chan<int> *"}},
      {"m", {O::mutex(0), "vitrine::mutex"}},
      {"a == b", {O::kOthers, "vitrine::chan<int>"}},
      {"n", {O::kOthers, "int"}},
  };
  session->eval_hook = [&](const std::string& e) -> std::optional<Session::Evaluated> {
    asked += e + "|";
    auto it = answers.find(e);
    return it == answers.end() ? std::nullopt : std::optional(it->second);
  };
  for (const char* e :
       {"c", "*c", "this->q", "p", "pp", "(vitrine::rt::hchan *)x", "raw", "a == b", "-limit 3 c", "*c -limit=3"}) {
    Answer r = run(*session, std::string("chan ") + e);
    EXPECT_TRUE(contains(r.out, "chan 0x4000000: 3 of 4")) << e << ": " << r.err;
  }
  EXPECT_TRUE(contains(run(*session, "sync c").out, "chan 0x4000000"));
  EXPECT_TRUE(contains(run(*session, "mutex m").out, "mutex 0x4000800: locked\nheld by goroutine 1 (running"));
  EXPECT_EQ(run(*session, "chan m").err, "'m' is a mutex, not a chan: mutex m\n");
  EXPECT_EQ(run(*session, "chan none").err, "the vitrine::chan<int> at 0x4000c10 is a handle of nothing\n");
  EXPECT_EQ(run(*session, "chan nullp").err, "it is a null pointer (vitrine::chan<int> *)\n");
  EXPECT_TRUE(contains(run(*session, "chan n").err, "an object of type int is none that goroutines wait on"));
  asked.clear();
  for (const char* e : {"f()", "x = 1", "x++", "--x", "a.size()", "v[3](1)", "x += 1", "x <<= 1", "f (1)", "(*f)(1)"}) {
    EXPECT_TRUE(contains(run(*session, std::string("chan -- ") + e).err, "nothing that acts is evaluated")) << e;
  }
  EXPECT_EQ(asked, "");
}

TEST(Expression, AGlobalIsFoundByItsNameWithoutADebugger) {
  FakeObjects o;
  o.poke(O::kOthers, O::kChan);
  Type* handle = o.program.add("vitrine::chan<int>", 8);
  handle->fields = {{"c_", 0, o.program.type("ptr")}};
  o.program.variables["jobs"] = {O::kOthers, handle};
  Type* wrapper = o.program.add("Queue", 16);
  wrapper->fields = {{"inner", 0, handle}};
  o.program.variables["(anonymous namespace)::wrapped"] = {O::kOthers, wrapper};
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "chan jobs").out, "chan 0x4000000"));
  EXPECT_TRUE(contains(run(*session, "chan &jobs").out, "chan 0x4000000"));
  EXPECT_TRUE(contains(run(*session, "chan wrapped").out, "chan 0x4000000"));
}

TEST(Mutex, ShowsTheHolderAndWhereItIs) {
  FakeObjects o;
  o.lock(0, 1);
  o.wait_for(0, 6);
  auto session = o.session();
  EXPECT_EQ(run(*session, "mutex 0x4000800").out,
            "mutex 0x4000800: locked, waiters\n"
            "held by goroutine 1 (running, in main_loop at app.cc:51)\n"
            "SIDE  GOID  NAME     AGE  WHERE\n"
            "lock     6        12.0s+  reader at app.cc:32\n"
            "1 waits\n");
  EXPECT_EQ(run(*session, "mutex").out,
            "KIND        ADDR  STATE            HOLDER  WAITERS  OLDEST\n"
            "mutex  0x4000800  locked, waiters       1        1  12.0s+\n"
            "1 mutex object\n");
}

TEST(Mutex, AHolderThatIsGoneOrNotWrittenDownIsSaid) {
  FakeObjects o;
  o.lock(0, 4711);
  o.lock(1, 0);
  o.poke(O::mutex(2), std::uint32_t{0x40});
  o.poke(O::mutex(2) + 4, std::uint32_t{1});
  auto session = o.session();
  EXPECT_TRUE(
      contains(run(*session, "mutex 0x4000800").out, "\nheld by goroutine 4711, which does not exist (any more)\n"));
  EXPECT_TRUE(contains(run(*session, "mutex 0x4000828").out,
                       "\nholder unknown: the runtime has not written down who locked it\n"));
  EXPECT_EQ(run(*session, "mutex 0x4000850").out,
            "mutex 0x4000850: free, unknown bits 0x40, being changed (its inner lock is held)\nnobody waits\n");
}

TEST(Sync, TheKindFollowsFromWhoWaitsElseItMustBeSaid) {
  FakeObjects o;
  o.lock(0, 1);
  o.wait_for(0, 6);
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "sync 0x4000800").out, "mutex 0x4000800: locked"));
  EXPECT_EQ(run(*session, "sync task 0x4000800").err,
            "goroutine 6 waits on 0x4000800 as on a mutex, not a task: mutex 0x4000800\n");
  EXPECT_EQ(run(*session, "sync 0x4000c00").err,
            "what is at 0x4000c00 cannot be known: nobody waits on it. Say it: chan 0x4000c00, mutex 0x4000c00, sync "
            "KIND 0x4000c00\n");
  EXPECT_EQ(run(*session, "sync semaphore 0x4000c00").out,
            "semaphore 0x4000c00: 0 permits free\nholder unknown: permits have no owner\nnobody waits\n");
}

TEST(Sync, EachKindSaysItsStateAndItsHolder) {
  FakeObjects o;
  std::uint64_t at = O::kOthers;
  o.poke(at + 24, std::uint32_t{1});  // a once that goroutine 1 runs
  o.poke(at + 32, std::uint64_t{1});
  o.waits(6, O::rOnce, at);
  o.enqueue(at + 8, 1, 6);
  o.poke(at + 64, std::uint64_t{3} << 32 | 1);  // a wait group
  o.waits(7, O::rWaitGroup, at + 64);
  o.enqueue(at + 64 + 16, 2, 7);
  o.poke(at + 128 + 24, std::uint64_t{4});  // a task
  o.waits(8, O::rTask, at + 128);
  o.enqueue(at + 128 + 8, 3, 8);
  o.poke(at + 192 + 48, std::uint64_t{1});  // an rw_mutex with a writer
  o.waits(9, O::rRead, at + 192);
  o.enqueue(at + 192 + 16, 4, 9);
  o.waits(10, O::rWrite, at + 192);
  o.enqueue(at + 192 + 32, 5, 10);
  auto session = o.session();
  EXPECT_EQ(run(*session, "sync -cols kind,holder,waiters,state").out,
            "KIND         HOLDER  WAITERS  STATE\n"
            "once              1        1  running\n"
            "wait_group  unknown        1  counter 3\n"
            "task              4        1  computing\n"
            "rw_mutex          1        2  held by a writer\n"
            "4 objects\n");
  std::string out = run(*session, "sync rw_mutex 0x4000cc0").out;
  EXPECT_TRUE(contains(out, "\nread      9")) << out;
  EXPECT_TRUE(contains(out, "\nwrite    10")) << out;
  EXPECT_TRUE(contains(run(*session, "sync task").out, "1 task object"));
}

// The first line of `sync KIND` about an object nobody waits on, whose first word is `state`.
std::string state_line(const char* kind, std::uint64_t state) {
  FakeObjects o;
  o.poke(O::kOthers, state);
  auto session = o.session();
  std::string out = run(*session, fmt::format("sync {} {:#x}", kind, O::kOthers)).out;
  return out.substr(0, out.find('\n'));
}

TEST(Sync, APermitIsFreeThoughSomebodyWaitsForMore) {
  // ~1: one is free, and the first in the queue wants more.
  EXPECT_EQ(state_line("semaphore", ~std::uint64_t{1}), "semaphore 0x4000c00: 1 permit free");
  EXPECT_EQ(state_line("semaphore", 3), "semaphore 0x4000c00: 3 permits free");
}

TEST(Sync, AReaderWriterLockCountsItsReadersAndAllItsWriters) {
  EXPECT_EQ(state_line("rw_mutex", 0), "rw_mutex 0x4000c00: free");
  EXPECT_EQ(state_line("rw_mutex", std::uint64_t{1} << 32), "rw_mutex 0x4000c00: held by 1 reader");
  EXPECT_EQ(state_line("rw_mutex", std::uint64_t{3} << 32 | 1),
            "rw_mutex 0x4000c00: held by 3 readers, a writer is next");
  EXPECT_EQ(state_line("rw_mutex", 1), "rw_mutex 0x4000c00: held by a writer");
  FakeObjects o;
  std::uint64_t at = O::kOthers;
  o.poke(at, std::uint64_t{1});
  o.waits(9, O::rWrite, at);
  o.enqueue(at + 32, 4, 9);
  o.waits(10, O::rWrite, at);
  o.enqueue(at + 56 + 16, 5, 10);
  auto session = o.session();
  std::string out = run(*session, "sync rw_mutex 0x4000c00").out;
  EXPECT_TRUE(contains(out, "\nwrite     9")) << out;
  EXPECT_TRUE(contains(out, "\nwrite    10")) << out;
  EXPECT_TRUE(contains(out, "2 wait")) << out;
}

TEST(Select, AGoroutineSaysItsCases) {
  FakeObjects o;
  o.channel(O::kChan + 0x80, 0, 0, 0);
  o.waits(6, O::rSelect, 0);
  o.enqueue(O::kChan + O::chanRecvq, 1, 6);
  o.enqueue(O::kChan + 0x80 + O::chanSendq, 2, 6, O::kElems);
  for (std::uint64_t n : {1, 2}) o.poke(O::sudog(n) + 32, std::uint8_t{1});
  o.poke(O::g(6) + O::gWaiting, O::sudog(1));
  o.poke(O::sudog(1) + 40, O::sudog(2));
  o.poke(O::sudog(1) + 48, O::kChan);
  o.poke(O::sudog(2) + 48, O::kChan + 0x80);
  auto session = o.session();
  session->host_has_frames = true;
  EXPECT_TRUE(
      contains(run(*session, "goroutine 6").out,
               "waits in a select for any of 2 cases:\n  receive from chan 0x4000000\n  send to chan 0x4000080\n"));
  EXPECT_TRUE(contains(run(*session, "chan 0x4000000").out, "\nreceive (select)     6"));
  EXPECT_TRUE(contains(run(*session, "goroutine graph 6").out, "\n  select: send to chan 0x4000080 (int,"));
}

TEST(Select, ACaseListThatComesBackIsCut) {
  FakeObjects o;
  o.waits(6, O::rSelect, 0);
  o.poke(O::g(6) + O::gWaiting, O::sudog(1));
  o.poke(O::sudog(1) + 40, O::sudog(1));
  o.poke(O::sudog(1) + 48, O::kChan);
  auto session = o.session();
  EXPECT_TRUE(
      contains(run(*session, "goroutine 6").out, "its list of cases comes back to the sudog at 0x4001048; cut there"));
  EXPECT_TRUE(contains(run(*session, "chan").out, "warning: goroutine 6: its list of cases comes back"));
}

TEST(Objects, EveryCommandAnswersWhicheverReadFails) {
  for (const char* command :
       {"chan 0x4000000", "chan", "sync", "mutex 0x4000800", "goroutine graph", "goroutine graph 6",
        "goroutine graph -json", "chan 0x4000000 -json", "goroutine graph -dot -"}) {
    std::size_t n = 1;
    for (;; ++n) {
      FakeObjects o;
      senders(o);
      o.lock(0, 9);
      o.wait_for(0, 8);
      o.lock(1, 8);
      o.wait_for(1, 9);
      o.target.fail_read(n);
      FakeTarget& target = o.target;
      auto session = o.session();
      Answer r = run(*session, command);
      if (!target.faulted()) break;
      EXPECT_FALSE(r.out.empty() && r.err.empty()) << command << ", read " << n;
      ASSERT_LT(n, 5000u);
    }
    EXPECT_GT(n, 5u) << command;
  }
}

}  // namespace
}  // namespace vitrine::inspect
