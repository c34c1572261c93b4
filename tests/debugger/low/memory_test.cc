// Memory: exact reads and prefixes over a target with holes and faults.
#include <gtest/gtest.h>

#include <array>

#include "fake_target.h"

namespace vitrine::inspect {
namespace {

std::vector<std::byte> pattern(std::size_t n) {
  std::vector<std::byte> b(n);
  for (std::size_t i = 0; i < n; i++) b[i] = static_cast<std::byte>(i * 7 + i / 251);
  return b;
}

TEST(Memory, ReadsAcrossPagesWhatTheTargetHas) {
  FakeTarget t;
  const auto all = pattern(0x5000);
  t.bytes(0x10000, all);
  Memory m(t);
  std::array<std::byte, 100> out;
  for (std::uint64_t at : {0x10000ull, 0x10fc0ull, 0x11000ull, 0x14f9cull}) {
    ASSERT_TRUE(m.read(at, out)) << std::hex << at;
    EXPECT_EQ(0, std::memcmp(out.data(), all.data() + (at - 0x10000), out.size())) << std::hex << at;
  }
}

TEST(Memory, AsksTheTargetOncePerPage) {
  FakeTarget t;
  t.map(0x10000, 0x10000);
  Memory m(t);
  for (int i = 0; i < 100; i++) ASSERT_TRUE(m.get<std::uint64_t>(0x10000 + 8 * i));
  EXPECT_EQ(t.reads(), 1u);
}

TEST(Memory, ALongReadGoesOnAfterAGuardOfAnotherOne) {
  FakeTarget t;
  const auto all = pattern(0x8000);
  t.bytes(0x10000, all);
  t.bad(0x12000, 0x13000);
  Memory m(t);
  std::vector<std::byte> out(0x8000);
  EXPECT_EQ(m.read_prefix(0x10000, out), 0x2000u);
  EXPECT_EQ(m.read_prefix(0x13000, std::span(out).first(0x5000)), 0x5000u);
  EXPECT_EQ(0, std::memcmp(out.data(), all.data() + 0x3000, 0x5000));
}

// What /proc/PID/mem does at a guard inside a long read: it answers with less than lies before the guard.
TEST(Memory, AShortAnswerIsRetriedPageByPage) {
  struct Stingy : FakeTarget {
    std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
      if (out.size() > 0x1000) out = out.first(out.size() / 3);
      return FakeTarget::read(addr, out, space);
    }
  } t;
  const auto all = pattern(0x9000);
  t.bytes(0x10000, all);
  Memory m(t);
  std::vector<std::byte> out(0x9000);
  ASSERT_TRUE(m.read(0x10000, out));
  EXPECT_EQ(out, all);
}

TEST(Memory, AFailedReadNamesTheFirstBadAddress) {
  FakeTarget t;
  t.map(0x10000, 0x3000);
  t.bad(0x11000, 0x12000);
  Memory m(t);
  std::array<std::byte, 16> out;
  const Status s = m.read(0x10ff8, out);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().address, 0x11000u);
  EXPECT_NE(s.error().message.find("0x11000"), std::string::npos) << s.error().message;
}

TEST(Memory, RegionsThatEndInsideAPageAreReadToTheirEnds) {
  FakeTarget t;
  t.put<std::uint64_t>(0x10010, 0x1122334455667788);
  Memory m(t);
  EXPECT_EQ(m.get<std::uint64_t>(0x10010).value_or(0), 0x1122334455667788u);
  EXPECT_FALSE(m.get<std::uint64_t>(0x10008));
  EXPECT_FALSE(m.get<std::uint64_t>(0x10011));
}

TEST(Memory, FlushForgetsWhatWasRead) {
  FakeTarget t;
  t.map(0x10000, 0x1000);
  Memory m(t);
  EXPECT_EQ(m.get<std::uint32_t>(0x10020).value_or(9), 0u);
  t.put<std::uint32_t>(0x10020, 5);
  EXPECT_EQ(m.get<std::uint32_t>(0x10020).value_or(9), 0u) << "cached until the flush";
  m.flush();
  EXPECT_EQ(m.get<std::uint32_t>(0x10020).value_or(9), 5u);
}

TEST(Memory, DataAndCodeAreCachedApart) {
  struct Host : FakeTarget {
    std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
      const std::size_t n = FakeTarget::read(addr, out, space);
      if (space == Space::data && n) out[0] = std::byte{0xcc};  // a planted breakpoint
      return n;
    }
  } t;
  t.map(0x10000, 0x1000);
  Memory m(t);
  EXPECT_EQ(m.get<std::uint8_t>(0x10000, Space::data).value_or(1), 0xcc);
  EXPECT_EQ(m.get<std::uint8_t>(0x10000, Space::code).value_or(1), 0);
}

TEST(Memory, AViewIsReadWithoutTheTargetBeingAsked) {
  FakeTarget t;
  t.viewable_ = true;
  t.put<std::uint64_t>(0x10000, 42);
  Memory m(t);
  EXPECT_EQ(m.get<std::uint64_t>(0x10000).value_or(0), 42u);
  EXPECT_EQ(t.reads(), 0u);
}

TEST(Memory, CStringsEndAtTheirNulAtTheLimitOrAtTheFault) {
  FakeTarget t;
  t.map(0x10000, 0x1000);
  t.text(0x10010, "goroutine");
  for (int i = 0; i < 8; i++) t.put<char>(0x10ff8 + i, 'x');
  Memory m(t);
  EXPECT_EQ(m.c_string(0x10010, 100).value_or("?"), "goroutine");
  EXPECT_EQ(m.c_string(0x10010, 4).value_or("?"), "goro");
  const auto cut = m.c_string(0x10ff8, 100);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().address, 0x11000u);
}

TEST(Memory, TheEndOfTheAddressSpaceIsNoSpecialCase) {
  FakeTarget t;
  t.map(0xfffffffffffff000, 0x800);
  Memory m(t);
  std::array<std::byte, 0x2000> out;
  EXPECT_EQ(m.read_prefix(0xfffffffffffff700, out), 0x100u);
  EXPECT_FALSE(m.get<std::uint64_t>(0xfffffffffffffffc));
}

TEST(Memory, AnyFailingReadIsAnsweredWithItsAddressAndNeverLoops) {
  const auto all = pattern(0x8000);
  int faults = 0;
  for (std::size_t n = 1; n < 100; n++) {
    FakeTarget t;
    t.bytes(0x10000, all);
    t.fail_read(n);
    Memory m(t);
    for (std::uint64_t at = 0x10000; at + 24 <= 0x18000; at += 0x7f8) {
      std::array<std::byte, 24> out;
      const Status s = m.read(at, out);
      if (s) {
        EXPECT_EQ(0, std::memcmp(out.data(), all.data() + (at - 0x10000), out.size()));
      } else {
        EXPECT_GE(s.error().address.value_or(0), at);
        EXPECT_LT(s.error().address.value_or(~0ull), at + 24);
      }
    }
    EXPECT_LT(t.reads(), 500u);
    if (!t.faulted()) break;
    faults++;
  }
  EXPECT_GT(faults, 0);
}

}  // namespace
}  // namespace vitrine::inspect
