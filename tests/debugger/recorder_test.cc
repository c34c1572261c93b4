// trace history and goroutine N history over rings made of bytes: the timeline, the life of a goroutine, and what a
// damaged ring costs: torn, overwritten and unreadable records are counted and never shown.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "answer.h"
#include "fake_rings.h"

namespace vitrine::inspect {
namespace {

using Json = nlohmann::json;

std::string lines(const Answer& a) { return a.out + a.err; }

TEST(History, MergesTheRingsByTime) {
  FakeRings fake;
  fake.little();
  Answer a = run(fake, "trace history -cols time,event,goid,m,p,what");
  EXPECT_EQ(a.out,
            "        TIME  EVENT           GOID  M  P  WHAT\n"
            " 0.000000000  Thread             -  0  -  thread 100\n"
            " 0.000000005  GoStart            4  1  1  -\n"
            " 0.000000010  GoStart            1  0  0  -\n"
            " 0.000000020  GoCreate           9  0  0  by 1\n"
            "~0.000000020  GoUnblock          2  0  0  by 1\n"
            " 0.000000025  GoSyscallBegin     4  1  1  -\n"
            " 0.000000030  GoBlock            1  0  0  chan receive\n"
            " 0.000000030  GoStart            2  0  0  -\n"
            " 0.000000045  GoSyscallEnd       4  1  1  -\n"
            " 0.000000050  GoDestroy          2  0  0  -\n"
            "10 events\n2 rings\n")
      << lines(a);
  EXPECT_FALSE(a.incomplete);
}

TEST(History, ChoosesByGoroutineMachineProcessorAndTime) {
  auto count = [](const char* options) {
    FakeRings fake;
    fake.little();
    return lines(run(fake, std::string("trace history -count ") + options));
  };
  EXPECT_EQ(count(""), "10\n");
  EXPECT_EQ(count("-g 1"), "4\n");  // GoStart, GoBlock, and what it did: GoCreate, GoUnblock
  EXPECT_EQ(count("-g 2,4"), "6\n");
  EXPECT_EQ(count("-m 1"), "3\n");
  EXPECT_EQ(count("-p 0-7 -m 0"), "6\n");
  EXPECT_EQ(count("-where 'event = GoBlock and reason ~ chan'"), "1\n");
  EXPECT_EQ(count("-where 'time > 30ns'"), "2\n");
  EXPECT_EQ(count("-last 1x"), "-last takes a duration, 10ms or 2s, not '1x'\n");
  EXPECT_EQ(count("-m x"), "-m takes numbers, 1-5,9 say, not 'x'\n");
  EXPECT_EQ(count("7"), "trace history takes options only, not '7' (goroutine N history, or -g N)\n");
}

TEST(History, ALimitKeepsTheNewest) {
  FakeRings fake;
  fake.little();
  Answer a = run(fake, "trace history -limit 1 -cols event,goid");
  EXPECT_EQ(a.out, "EVENT      GOID\nGoDestroy     2\n1 of 10 shown (-limit 0 for all)\n2 rings\n");
}

TEST(History, OverwrittenRecordsAreCounted) {
  FakeRings fake;
  for (std::uint64_t i = 0; i < 20; ++i) fake.add(0, i, i % 2 ? FakeRings::stop : FakeRings::start, fake.g(1, i));
  // The slot of number 12 is where number 20 may be being written.
  Answer a = run(fake, "trace history -cols seq");
  EXPECT_TRUE(contains(a.out, "\n 13\n")) << a.out;
  EXPECT_FALSE(contains(a.out, "12")) << a.out;
  EXPECT_TRUE(contains(a.out, "7 events\n")) << a.out;
  EXPECT_TRUE(contains(a.out, "; 13 older records overwritten\n")) << a.out;
  EXPECT_FALSE(a.incomplete);
}

TEST(History, TornRecordsAreCountedAndNotShown) {
  for (std::uint64_t word = 0; word < 32; word += 8) {
    FakeRings fake;
    fake.little();
    std::uint64_t at = FakeRings::slot(0, 3) + word;  // G1 blocks, G2 starts
    fake.poke(at, std::uint64_t{0x1234});
    Answer a = run(fake, "trace history");
    EXPECT_TRUE(contains(a.out, "\n7 events\nwarning: 1 record torn and not shown\n")) << word << a.out;
    EXPECT_FALSE(contains(a.out, "GoBlock")) << a.out;
    EXPECT_TRUE(a.incomplete);
  }
  // A whole record, of the round before.
  FakeRings fake;
  for (std::uint64_t i = 0; i < 12; ++i) fake.add(0, i, FakeRings::start, fake.g(1, i));
  fake.poke(FakeRings::buf(0), std::uint64_t{13});
  Answer a = run(fake, "trace history -cols seq");
  EXPECT_TRUE(contains(a.out, "warning: 1 record torn and not shown\n")) << a.out;
  EXPECT_TRUE(contains(a.out, "\n6 events\n")) << a.out;
}

TEST(History, PagesThatCannotBeReadAreCounted) {
  FakeRings fake;
  fake.little();
  fake.target.bad(FakeRings::kRecords, FakeRings::kRecords + 0x1000);
  Answer a = run(fake, "trace history -cols event");
  EXPECT_TRUE(contains(a.out, "\n3 events\nwarning: 5 records on pages that cannot be read, the first at 0x"))
      << lines(a);
  FakeRings other;
  other.little();
  other.target.bad(FakeRings::kRecords, FakeRings::kRecords + 0x1000);
  EXPECT_TRUE(contains(run(other, "goroutine 77 history").err, "its own may be among those that are lost"));
}

TEST(History, DamagedRingsAreNamedAndTheOthersShown) {
  struct Case {
    std::uint64_t at, value;
    const char* says;
  } cases[] = {
      {FakeRings::buf(0) + 8, 6, "warning: the ring at 0x71000 claims to have 7 records\n"},
      {FakeRings::buf(0) + 8, ~std::uint64_t{0}, "warning: the ring at 0x71000 claims to have 0 records\n"},
      {FakeRings::buf(0) + 8, (std::uint64_t{1} << 40) - 1,
       "warning: the ring at 0x71000 claims to have 1099511627776 records\n"},
      {FakeRings::buf(0) + 24, 77, "warning: the ring at 0x71000 begins with record 77, after its end 5\n"},
      {FakeRings::buf(0) + 16, 0xdead000, "warning: 5 records on pages that cannot be read, the first at 0xdead000\n"},
      {FakeRings::buf(1) + 104, FakeRings::buf(0), "warning: the list of rings comes back to 0x71000\n"},
      {FakeRings::buf(1) + 104, 0xbad000, "warning: the list of rings is cut: "},
      {FakeRings::buf(0), ~std::uint64_t{0},
       "warning: the ring at 0x71000 claims that 18446744073709551615 records were written\n"},
  };
  for (const Case& c : cases) {
    FakeRings fake;
    fake.little();
    fake.poke(c.at, c.value);
    Answer a = run(fake, "trace history");
    EXPECT_TRUE(contains(a.out, c.says)) << c.says << lines(a);
    EXPECT_TRUE(contains(a.out, "GoSyscallEnd")) << lines(a);
    EXPECT_TRUE(a.incomplete);
  }
}

TEST(History, SaysWhyThereIsNone) {
  FakeRings never;
  never.poke(FakeRings::kTrace + 12, std::uint32_t{0});
  EXPECT_TRUE(contains(run(never, "trace history").err, "the flight recorder never ran: start the program with"));
  FakeRings newer;
  newer.poke(FakeRings::kTrace + 4, std::uint32_t{9});
  EXPECT_EQ(run(newer, "trace history").err,
            "the flight recorder at 0x70000 writes version 9 of its records; this inspector reads 1\n");
  FakeRuntime without;
  EXPECT_EQ(run(without, "trace history").err, "this program has no flight recorder\n");
  FakeRings unreadable;
  unreadable.target.bad(FakeRings::kTrace, FakeRings::kTrace + 0x1000);
  EXPECT_TRUE(contains(run(unreadable, "trace history").err, "0x70004"));
}

TEST(History, WithoutASecondMomentTimesAreTicks) {
  FakeRings fake;
  fake.little();
  fake.poke(FakeRings::kTrace + 96, std::uint32_t{0});
  EXPECT_TRUE(contains(run(fake, "trace history").out, "times are ticks, not nanoseconds"));
}

TEST(History, AnEarlyUnblockComesBehindTheBlockThatItEnds) {
  FakeRings fake;
  fake.add(0, 10, FakeRings::start, fake.g(1, 1));
  fake.add(1, 40, FakeRings::block, fake.g(2, 8), 0, 1, 1);  // after M0's time slice began
  fake.add(0, 90, FakeRings::block | FakeRings::kReadied, fake.g(1, 2), fake.g(2, 10), 1);
  Answer a = run(fake, "trace history -g 2 -cols time,event");
  EXPECT_EQ(a.out,
            "        TIME  EVENT\n 0.000000040  GoBlock\n~0.000000040  GoUnblock\n 0.000000090  GoStart\n3 events\n2 "
            "rings\n");
}

TEST(History, AnEarlyUnblockWasOnThePWithWhichTheTimeSliceBegan) {
  FakeRings fake;
  fake.add(0, 10, FakeRings::start, fake.g(1, 1), 0, 0, 3);
  fake.add(0, 10, FakeRings::unblock, fake.g(2, 8), fake.g(1, 0), 1, 0xffff);
  fake.add(0, 50, FakeRings::block, fake.g(1, 2), 0, 1, 3);
  fake.add(0, 40, FakeRings::unblock, fake.g(4, 1), fake.g(1, 0), 1, 0xffff);  // of another time: whose P is not known
  EXPECT_EQ(run(fake, "trace history -where 'event = GoUnblock' -cols goid,p").out,
            "GOID  P\n   2  3\n   4  -\n2 events\n2 rings\n");
}

TEST(History, ARingThatChangedHandsNamesBothMs) {
  FakeRings fake;
  fake.add(0, 10, FakeRings::start, fake.g(1, 1));
  fake.add(0, 20, FakeRings::thread, 7, 700, 0, 0xffff);  // M7's records end
  fake.add(0, 30, FakeRings::thread, 0, 100, 0, 0xffff);  // M0's begin
  fake.add(0, 40, FakeRings::start, fake.g(2, 1));
  fake.poke(FakeRings::buf(0) + 36, std::uint32_t{0});
  Answer a = run(fake, "trace history -where 'event = GoStart' -cols goid,m");
  EXPECT_EQ(a.out, "GOID  M\n   1  7\n   2  0\n2 events\n2 rings, 1 of ended threads\n");
}

TEST(History, WhatIsNotRecordedYetIsShown) {
  FakeRings fake;
  fake.add(0, 10, FakeRings::start, fake.g(1, 1));
  fake.poke(FakeRings::buf(0) + 56, std::uint64_t{1030});
  fake.poke(FakeRings::buf(0) + 64, fake.g(1, 2));
  fake.poke(FakeRings::buf(0) + 72, std::uint32_t{FakeRings::block | 2 << 8});
  fake.poke(FakeRings::buf(0) + 80, std::uint64_t{1010});
  fake.poke(FakeRings::buf(0) + 88, fake.g(2, 4));
  fake.poke(FakeRings::buf(0) + 96, fake.g(1, 0));
  EXPECT_EQ(run(fake, "trace history -cols time,event,what").out,
            "        TIME  EVENT      WHAT\n 0.000000010  GoStart    -\n~0.000000010  GoUnblock  by 1\n"
            " 0.000000030  GoBlock    sleep\n3 events\n2 rings\n");
}

TEST(History, EveryFailedReadIsAnsweredWithItsAddress) {
  for (int n = 1; n < 200; ++n) {
    FakeRings fake;
    fake.little();
    fake.target.fail_read(static_cast<std::size_t>(n));
    FakeTarget& target = fake.target;
    auto session = fake.session();
    Answer a = run(*session, "trace history");
    if (!target.faulted()) return;  // fewer reads than n
    EXPECT_TRUE(!a.err.empty() || !a.out.empty()) << n;
    EXPECT_TRUE(a.outcome == Outcome::ok || contains(a.err, "0x")) << n << a.err;
  }
  FAIL() << "the command never stops reading";
}

TEST(GoroutineHistory, TellsStatesWithTheirTimes) {
  FakeRings fake;
  fake.add(0, 0, FakeRings::start, fake.g(1, 1));
  fake.add(0, 10, FakeRings::create, fake.g(2, 1), 0x6300);
  fake.add(0, 20, FakeRings::block, fake.g(1, 2), fake.g(2, 2), 1);
  fake.add(0, 50, FakeRings::begin, fake.g(2, 3));
  fake.add(0, 1050, FakeRings::end, fake.g(2, 4));
  fake.add(0, 1060, FakeRings::block, fake.g(2, 5), 0, 2);
  Answer a = run(fake, "goroutine 2 history");
  EXPECT_EQ(
      a.out,
      "goroutine 2 reader\n"
      "       TIME  STATE        FOR  M  P  WHAT\n"
      "0.000000010  runnable    10ns  0  0  created by 1\n"
      "0.000000020  running     30ns  0  0  -\n"
      "0.000000050  syscall    1.0us  0  0  -\n"
      "0.000001050  running     10ns  0  0  -\n"
      "0.000001060  waiting   999ms+  0  0  sleep\n"
      "5 states\n"
      "in all: runnable 10ns (once), running 40ns (2 times), waiting [sleep] 999ms (once), syscall 1.0us (once)\n")
      << a.err;
}

TEST(GoroutineHistory, ALimitKeepsTheNewest) {
  FakeRings fake;
  fake.little();
  Answer a = run(fake, "goroutine 4 history -limit 1 -cols state");
  EXPECT_EQ(a.out,
            "goroutine 4 entry, from the oldest event that is left\nSTATE\nrunning\n1 of 3 shown (-limit 0 for all)\n"
            "in all: running 999ms (2 times), syscall 20ns (once)\n");
}

TEST(GoroutineHistory, LostEventsMakeTheStateUnknown) {
  FakeRings fake;
  fake.add(0, 0, FakeRings::start, fake.g(1, 4));
  fake.add(0, 10, FakeRings::block, fake.g(1, 5), 0, 1);
  fake.add(0, 900, FakeRings::start, fake.g(1, 9));
  Answer a = run(fake, "goroutine 1 history");
  EXPECT_TRUE(contains(a.out, "goroutine 1 entry, from the oldest event that is left\n")) << a.out;
  EXPECT_TRUE(contains(a.out, "0.000000010  unknown   890ns  -  -  3 events overwritten or lost\n")) << a.out;
}

TEST(GoroutineHistory, KnowsTheDeadAndSaysWhoIsUnknown) {
  FakeRings fake;
  fake.little();
  EXPECT_TRUE(contains(run(fake, "goroutine 9 history").out, "goroutine 9 entry\n"));
  FakeRings none;
  none.little();
  EXPECT_EQ(run(none, "goroutine 3 history").err,
            "the flight recorder has no event of goroutine 3: nothing has happened to it lately\n");
  FakeRings dead;
  dead.little();
  EXPECT_EQ(run(dead, "goroutine 77 history").err,
            "the flight recorder has no event of goroutine 77: there is none of that number, or it is long dead\n");
  FakeRings json;
  json.little();
  Json rows = Json::parse(run(json, "goroutine 4 history -json").out);
  EXPECT_EQ(rows[1]["state"], "syscall");
  EXPECT_EQ(rows[1]["length"], 20);
}

// What a reader of the trace event format needs of each phase; slices of a track nest or follow each other.
void check_format(const Json& trace) {
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> tracks;
  std::map<int, std::pair<int, int>> arrows;
  ASSERT_TRUE(trace.is_object() && trace["traceEvents"].is_array());
  for (const Json& e : trace["traceEvents"]) {
    const std::string ph = e.at("ph");
    ASSERT_TRUE(e.at("pid").is_number_integer() && e.at("tid").is_number_integer()) << e;
    ASSERT_TRUE(e.at("name").is_string()) << e;
    if (ph == "M") {
      ASSERT_TRUE(e.at("args").contains("name") || e.at("args").contains("sort_index")) << e;
      continue;
    }
    ASSERT_TRUE(e.at("ts").is_number() && e.at("cat").is_string()) << e;
    const std::pair<int, int> track{e["pid"], e["tid"]};
    const double ts = e["ts"];
    if (ph == "X") {
      ASSERT_GE(e.at("dur").get<double>(), 0) << e;
      tracks[track].push_back({ts, ts + e["dur"].get<double>()});
    } else if (ph == "s") {
      arrows[e.at("id")].first++;
    } else if (ph == "f") {
      ASSERT_EQ(e.at("bp"), "e");
      arrows[e.at("id")].second++;
    } else {
      ASSERT_EQ(ph, "i") << e;
      ASSERT_EQ(e.at("s"), "t") << e;
    }
  }
  for (auto& [id, ends] : arrows) EXPECT_EQ(ends, std::pair(1, 1)) << "arrow " << id;
  for (auto& [track, slices] : tracks) {
    std::sort(slices.begin(), slices.end());
    for (std::size_t i = 1; i < slices.size(); ++i) EXPECT_LE(slices[i - 1].second, slices[i].first + 1e-6);
  }
}

TEST(History, WritesTheTraceEventFormat) {
  const std::string file = testing::TempDir() + "recorder_test.json";
  FakeRings fake;
  fake.little();
  fake.target.text(FakeRuntime::g(2) + FakeRuntime::gName, "a \"b\"\\\n");
  Answer a = run(fake, "trace history -chrome " + file);
  EXPECT_TRUE(contains(a.out, "recorder_test.json written: 9 slices, 2 arrows (open it in")) << lines(a);
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  Json trace = Json::parse(text.str(), nullptr, false);
  ASSERT_FALSE(trace.is_discarded()) << text.str();
  check_format(trace);
  EXPECT_TRUE(contains(text.str(), R"x("name":"M 1 (thread 101)")x"));
  std::remove(file.c_str());
  FakeRings other;
  EXPECT_TRUE(contains(run(other, "trace history -chrome /nonexistent/x").err, "/nonexistent/x cannot be written: "));
  FakeRings both;
  EXPECT_EQ(run(both, "trace history -chrome x -g 1").err, "-chrome writes everything: it takes no other option\n");
}

}  // namespace
}  // namespace vitrine::inspect
