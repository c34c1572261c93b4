// What a million goroutines are kept in, and how they are read.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <tuple>

#include "fake_target.h"
#include "goroutine_store.h"
#include "read_ahead.h"

namespace vitrine::inspect {
namespace {

TEST(Goroutines, ArePackedWithoutLoss) {
  Goroutines store;
  std::vector<Goroutine> want;
  std::mt19937_64 random(1);
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Goroutine g;
    g.addr = random();
    g.goid = random() % 1000;  // some twice
    g.stack_lo = random() % 4 ? 0xc000000000 + i * 2048 : random();
    const auto in_stack = [&] { return random() % 4 ? g.stack_lo + random() % 2048 : random() % 2 ? 0 : random(); };
    g.sp = in_stack();
    g.bp = in_stack();
    g.pc = 0x401000 + random() % 5;
    g.gopc = 0x402000 + random() % 5;
    g.startpc = 0x403000 + random() % 2;
    g.waitsince = static_cast<std::int64_t>(random());
    g.stack_size = random() % 2 ? 2048 : kNone;
    g.status = static_cast<std::uint32_t>(random() % 7);
    g.machine = random() % 2 ? kNone : static_cast<std::uint32_t>(random() % 3);
    g.wait_reason = static_cast<std::uint8_t>(random());
    g.flags = static_cast<std::uint16_t>(random() % 1024);
    want.push_back(g);
    store.add(g);
  }
  want[7].flags |= Goroutine::current;
  store.replace(7, want[7]);
  std::sort(want.begin(), want.end(), [](const Goroutine& a, const Goroutine& b) {
    const bool ua = a.is(Goroutine::unreadable), ub = b.is(Goroutine::unreadable);
    return std::tuple(ua, a.goid, a.addr) < std::tuple(ub, b.goid, b.addr);
  });
  store.sort();
  ASSERT_EQ(store.size(), want.size());
  const auto all = [](const Goroutine& g) {
    return std::tuple(g.addr, g.goid, g.stack_lo, g.sp, g.bp, g.pc, g.gopc, g.startpc, g.waitsince, g.stack_size,
                      g.status, g.machine, g.wait_reason, g.flags);
  };
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(all(store[i]), all(want[i])) << i;
}

// Every range's bytes in order. Where another thread is due, the caller's reads wait for its first one: on a busy machine
// the caller may be through before it starts.
void expect_all_are_read(bool concurrent, std::size_t count, bool to_the_end) {
  struct Counting : FakeTarget {
    std::atomic<std::size_t> others{0};
    std::thread::id self = std::this_thread::get_id();
    bool wait = false;
    std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
      if (std::this_thread::get_id() != self) others++;
      for (int i = 0; i < 5000 && wait && others == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return FakeTarget::read(addr, out, space);
    }
  } target;
  target.concurrent_ = concurrent;
  target.wait = concurrent && count > 100;
  const std::size_t size = 64 << 10;
  target.map(0x100000, count * size);
  std::vector<ReadAhead::Range> ranges;
  for (std::size_t i = 0; i < count; ++i) {
    target.put<std::uint64_t>(0x100000 + i * size, i + 1);
    ranges.push_back({0x100000 + i * size, size});
  }
  if (count > 3) ranges[3].size = 0;                                           // nothing is wanted of one
  if (count > 9) target.bad(0x100000 + 9 * size + 100, 0x100000 + 10 * size);  // one is short
  ReadAhead reader(target, ranges);
  for (std::size_t i = 0; i < (to_the_end ? count : count / 2); ++i) {
    const auto bytes = reader.next();
    ASSERT_EQ(bytes.size(), i == 3 ? 0u : i == 9 ? 100u : size) << "range " << i;
    if (i == 3) continue;
    std::uint64_t v = 0;
    std::memcpy(&v, bytes.data(), 8);
    ASSERT_EQ(v, i + 1);
  }
  EXPECT_EQ(target.others.load() > 0, target.wait);
}

TEST(ReadAhead, GivesEveryRangeInOrder) { expect_all_are_read(true, 1000, true); }
TEST(ReadAhead, EndsBeforeAllWasGiven) { expect_all_are_read(true, 1000, false); }
TEST(ReadAhead, ReadsByItselfWhatIsNotWorthAThread) { expect_all_are_read(true, 12, true); }
TEST(ReadAhead, UsesNoThreadOnATargetThatIsNotForThem) { expect_all_are_read(false, 1000, true); }

// The first range is read by nobody's thread until another one was: by whom, if not by the caller?
TEST(ReadAhead, ACallerThatWouldWaitReadsTheNextRange) {
  struct Held : FakeTarget {
    std::atomic<bool> mine{false};
    std::thread::id self = std::this_thread::get_id();
    std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
      if (std::this_thread::get_id() == self) mine = true;
      for (int i = 0; i < 5000 && std::this_thread::get_id() != self && !mine; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return FakeTarget::read(addr, out, space);
    }
  } target;
  target.concurrent_ = true;
  const std::size_t size = 1 << 20;
  target.map(0x100000, 8 * size);
  std::vector<ReadAhead::Range> ranges;
  for (std::size_t i = 0; i < 8; ++i) ranges.push_back({0x100000 + i * size, size});
  ReadAhead reader(target, ranges);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(reader.next().size(), size);
  EXPECT_TRUE(target.mine);
}

}  // namespace
}  // namespace vitrine::inspect
