// Values in words, functions for expressions and settings over a runtime made of bytes: exact texts, and what is broken.
#include "describe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "answer.h"
#include "commands.h"
#include "fake_objects.h"
#include "functions.h"
#include "settings.h"

namespace vitrine::inspect {
namespace {

using O = FakeObjects;
constexpr std::uint64_t kHandle = O::kElems + 0x100;  // where a test puts a handle, a slice, …

std::string summary(Session& session, std::string_view type, std::uint64_t addr) {
  auto d = session.describer().describe(type, addr);
  return d ? d->summary : "not ours";
}

TEST(Describe, AChanSaysHowFullItIsWhoWaitsAndHasItsValuesAsParts) {
  O o;
  o.poke(kHandle, O::kChan);
  o.waits(6, O::rSend, O::kChan);
  o.enqueue(O::kChan + O::chanSendq, 1, 6, O::kElems);
  auto session = o.session();
  auto d = session->describer().describe("vitrine::chan<int>", kHandle);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->summary, "chan 3 of 4 buffered, open, 1 sender waits");
  EXPECT_EQ(d->shows, Shows::elements);
  ASSERT_EQ(d->parts, 3u);
  const std::uint64_t at[] = {O::kRing + 12, O::kRing, O::kRing + 4};
  for (std::uint64_t i = 0; i < 3; ++i) {
    auto part = session->describer().part("vitrine::chan<int>", kHandle, i);
    ASSERT_TRUE(part);
    EXPECT_EQ(part->name, fmt::format("[{}]", i));
    EXPECT_EQ(part->addr, at[i]);
    EXPECT_EQ(part->argument, 0);
  }
  EXPECT_FALSE(session->describer().part("vitrine::chan<int>", kHandle, 3));
  // The structure itself has its own members below the same words.
  d = session->describer().describe("vitrine::rt::hchan", O::kChan);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->summary, "chan 3 of 4 buffered, open, 1 sender waits");
  EXPECT_EQ(d->shows, Shows::members);
}

TEST(Describe, WhatIsBrokenIsSaidInTheSummary) {
  O o;
  o.poke(kHandle, std::uint64_t{0x666000});
  o.poke(kHandle + 8, std::uint64_t{0});
  o.poke(O::kChan, std::uint64_t{9});  // values in 4 places
  o.poke(kHandle + 16, O::kChan);
  o.lock(0, 99);
  auto session = o.session();
  EXPECT_EQ(summary(*session, "vitrine::chan<int>", kHandle), "chan <unreadable 0x666000>");
  EXPECT_EQ(summary(*session, "vitrine::chan<int>", kHandle + 8), "chan of nothing");
  EXPECT_EQ(summary(*session, "vitrine::task<int>", kHandle + 8), "task of nothing");
  EXPECT_EQ(summary(*session, "vitrine::chan<int>", 0x667000), "chan <unreadable 0x667000>");
  EXPECT_EQ(summary(*session, "vitrine::chan<int>", kHandle + 16),
            "chan 9 of 4 buffered, open, damaged: it claims 9 values in 4 places");
  EXPECT_EQ(session->describer().describe("vitrine::chan<int>", kHandle + 16)->parts, 4u);
  EXPECT_EQ(summary(*session, "vitrine::mutex", O::mutex(0)),
            "mutex locked, held by goroutine 99, which does not exist");
  EXPECT_EQ(summary(*session, "vitrine::mutex", 0x667000), "mutex <unreadable 0x667000>");
  EXPECT_EQ(summary(*session, "vitrine::rt::g *", 0x667000), "<unreadable 0x667000>");
  EXPECT_EQ(summary(*session, "vitrine::rt::g *", O::kChan), "no goroutine of this program");
  EXPECT_EQ(summary(*session, "vitrine::gc::ptr<int>", kHandle), "gc::ptr <unreadable 0x666000>");
}

TEST(Describe, LocksSayWhoHoldsThemAndHowManyWait) {
  O o;
  o.lock(0, 2);
  o.wait_for(0, 6);
  auto session = o.session();
  EXPECT_EQ(summary(*session, "vitrine::mutex", O::mutex(0)),
            "mutex locked, waiters, held by goroutine 2 \"reader\", 1 waits");
  EXPECT_EQ(summary(*session, "vitrine::mutex", O::mutex(1)), "mutex free");
}

TEST(Describe, PointersOfTheSchedulerAreNamed) {
  O o;
  auto session = o.session();
  EXPECT_EQ(summary(*session, "vitrine::rt::g *", O::g(2)), "goroutine 2 \"reader\" waiting (chan receive)");
  EXPECT_EQ(session->describer().describe("vitrine::rt::g *", O::g(2))->shows, Shows::text);
  EXPECT_EQ(session->describer().describe("vitrine::rt::g", O::g(2))->shows, Shows::members);
  EXPECT_EQ(summary(*session, "vitrine::rt::g *", O::g(5)), "dead goroutine");
  EXPECT_EQ(summary(*session, "vitrine::rt::m *", O::kM), "M 0, thread 100, runs goroutine 1, on P 0");
  EXPECT_EQ(summary(*session, "vitrine::rt::p *", O::kP), "P 0 1, of M 0");  // no names of states here
}

TEST(Describe, ASliceWhoseLengthCannotBeHasNoParts) {
  O o;
  o.poke(kHandle, O::kRing);
  o.poke(kHandle + 8, std::uint64_t{3});
  o.poke(kHandle + 16, std::uint64_t{4});
  auto session = o.session();
  auto d = session->describer().describe("vitrine::rt::slice<int>", kHandle);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->summary, "slice of length 3, capacity 4");
  EXPECT_EQ(d->parts, 3u);
  auto part = session->describer().part("vitrine::rt::slice<int>", kHandle, 2);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->addr, O::kRing);
  EXPECT_EQ(part->index, 2u);
  O wrong;
  wrong.poke(kHandle, O::kRing);
  wrong.poke(kHandle + 8, std::uint64_t{5});
  wrong.poke(kHandle + 16, std::uint64_t{4});
  auto other = wrong.session();
  d = other->describer().describe("vitrine::rt::slice<int>", kHandle);
  EXPECT_EQ(d->summary, "slice of length 5, capacity 4, damaged: its length cannot be");
  EXPECT_EQ(d->parts, 0u);
}

TEST(Describe, WhatIsNotOursIsLeftToTheHost) {
  O o;
  auto session = o.session();
  for (const char* type : {"int", "std::vector<int>", "vitrine::chan<int> *", "vitrine::channel", "my::mutex", ""})
    EXPECT_FALSE(session->describer().describe(type, O::kChan)) << type;
  EXPECT_FALSE(session->describer().describe("vitrine::rt::g *", 0));
  Session none;
  EXPECT_FALSE(none.describer().describe("vitrine::mutex", 1));
}

TEST(Describe, EveryFailingReadIsAnAnswer) {
  for (std::size_t n = 1; n < 40; ++n) {
    O o;
    o.poke(kHandle, O::kChan);
    auto session = o.session();
    static_cast<FakeTarget&>(session->target()).fail_read(n);
    auto d = session->describer().describe("vitrine::chan<int>", kHandle);
    if (d) {
      EXPECT_TRUE(d->summary.starts_with("chan ")) << d->summary;
    }
  }
}

TEST(Functions, ReadAnewWhatAConditionAsksFor) {
  O o;
  auto session = o.session();
  EXPECT_EQ(run(*session, "vitrine value goid").out, "1\n");
  EXPECT_EQ(run(*session, "vitrine value goroutine 2").out, fmt::format("(vitrine::rt::g *) {:#x}\n", O::g(2)));
  EXPECT_EQ(run(*session, "vitrine value goroutine_name 2").out, "\"reader\"\n");
  EXPECT_EQ(run(*session, "vitrine value goroutine 77").err, "there is no goroutine 77\n");
  EXPECT_EQ(run(*session, "vitrine value goid 3").err, "goid takes no argument\n");
  EXPECT_EQ(run(*session, "vitrine value mspan").err, "mspan takes one argument\n");
  EXPECT_TRUE(contains(run(*session, "vitrine value nope").err, "there is no function 'nope'; there are: goid,"));
  session->select(2, O::g(2));
  EXPECT_EQ(run(*session, "vitrine value goid").out, "2\n");
  // The process went on: neither what is selected nor what was read before counts.
  static_cast<FakeTarget&>(session->target()).put(O::g(2) + O::gGoid, std::uint64_t{222});
  EXPECT_EQ(call_function(*session, "goid", {}, {})->number, 222u);
  EXPECT_EQ(call_function(*session, "goid", {}, {std::nullopt, true})->number, 1u);
}

class SettingsTest : public testing::Test {
 protected:
  void TearDown() override {
    for (const char* line : {"vitrine set limit 100", "vitrine set system off", "vitrine set string-limit 64"}) {
      Session none;
      none.host_has_frames = true;
      EXPECT_EQ(run(none, line).outcome, Outcome::ok);
    }
  }
};

TEST_F(SettingsTest, HoldForLaterCommandsAndSessions) {
  {
    Session none;
    none.host_has_frames = true;
    Answer r = run(none, "vitrine set lim 2");
    EXPECT_EQ(r.err + r.out, "");
    EXPECT_TRUE(contains(run(none, "vitrine show").out, "limit         2          how many rows a list shows\n"));
  }
  FakeRuntime f;
  auto session = f.session();
  EXPECT_TRUE(contains(run(*session, "info goroutines").out, "2 of 3 shown (-limit 0 for all)"));
  EXPECT_FALSE(contains(run(*session, "info goroutines -limit 0").out, " shown (-limit"));
  run(*session, "vitrine set limit unlimited");
  EXPECT_FALSE(contains(run(*session, "info goroutines").out, " shown (-limit"));
  EXPECT_TRUE(contains(run(*session, "info goroutines").out, "1 system goroutine not shown"));
  run(*session, "vitrine set system on");
  EXPECT_FALSE(contains(run(*session, "info goroutines").out, "not shown"));
}

TEST_F(SettingsTest, WhatIsWrongIsSaidWithTheChoices) {
  Session none;
  EXPECT_EQ(run(none, "vitrine set colour red").err,
            "there is no setting 'colour'; there are: limit, progress, string-limit, system\n");
  EXPECT_EQ(run(none, "vitrine set s on").err, "'s' is ambiguous: string-limit, system\n");
  EXPECT_EQ(run(none, "vitrine set limit many").err, "limit is a number or unlimited, not 'many'\n");
  EXPECT_EQ(run(none, "vitrine set progress 7").err, "progress is on or off, not '7'\n");
  EXPECT_EQ(run(none, "vitrine set limit").err, "vitrine set NAME VALUE; vitrine show lists the names\n");
  EXPECT_TRUE(contains(run(none, "vitrine set limit 100").err, "lasts as long as the inspector runs"));
  std::string offered;
  complete_command(none, split("vitrine set limit"), "", [&](std::string_view w) { offered += std::string(w) + "|"; });
  EXPECT_EQ(offered, "unlimited|");
}

TEST_F(SettingsTest, ALongTextIsCutWhereItIsSet) {
  O o;
  o.target.text(O::kElems, "a longer text");
  o.poke(kHandle, O::kElems);
  o.poke(kHandle + 8, std::uint64_t{13});
  auto session = o.session();
  EXPECT_EQ(summary(*session, "vitrine::rt::string", kHandle), "\"a longer text\"");
  run(*session, "vitrine set string-limit 8");
  EXPECT_EQ(summary(*session, "vitrine::rt::string", kHandle), "\"a longer\"… (13 characters)");
}

}  // namespace
}  // namespace vitrine::inspect
