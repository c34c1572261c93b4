// Stacks walked by several threads at once (Unwinder::walk_many), over bytes and rules made here: what each of them
// shares with the others, under ThreadSanitizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "unwind.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kBase = 0x10000000, kStack = 256, kFrame = 32, kEnd = 0x500001;
constexpr std::size_t kDepth = 5;

// Stack n: kDepth frames of kFrame bytes, each with the pc of the one further out in its last word. Every hundredth
// cannot be read.
std::uint64_t pc_of(std::size_t n, std::size_t depth) {
  return depth == kDepth ? kEnd : 0x400001 + n % 700 * 256 + depth * 16;
}
bool bad(std::size_t n) { return n % 100 == 99; }

class Bytes : public Target {
 public:
  explicit Bytes(std::size_t stacks) : bytes_(stacks * kStack) {
    for (std::size_t n = 0; n < stacks; ++n) {
      for (std::size_t d = 0; d < kDepth; ++d) {
        const std::uint64_t pc = pc_of(n, d + 1);
        std::memcpy(&bytes_[n * kStack + d * kFrame + kFrame - 8], &pc, sizeof pc);
      }
    }
  }
  Kind kind() const override { return Kind::core; }
  std::string describe() const override { return "bytes"; }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space) override {
    if (addr < kBase || addr - kBase >= bytes_.size()) return 0;
    const std::size_t at = addr - kBase, hole = at / (100 * kStack) * 100 * kStack + 99 * kStack;
    if (at >= hole) return 0;
    const std::size_t n = std::min({out.size(), bytes_.size() - at, hole - at});
    std::memcpy(out.data(), &bytes_[at], n);
    return n;
  }
  bool concurrent() const override { return true; }
  const std::vector<Thread>& threads() override { return threads_; }
  const std::vector<Module>& modules() override { return modules_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
};

// Every function's frame has kFrame bytes; rows are made when they are asked for, under a lock, as the real ones are.
class Rules : public Program {
 public:
  const Type* type(std::string_view) override { return nullptr; }
  std::vector<Variable> variable(std::string_view) override { return {}; }
  std::uint64_t symbol(std::string_view) override { return 0; }
  std::vector<Note> notes(std::string_view, std::uint32_t) override { return {}; }
  const std::vector<Location>& locate(std::uint64_t) override { return nowhere_; }
  std::uint64_t function_start(std::uint64_t) override { return 0; }
  const CfiRow* cfi(std::uint64_t pc) override {
    std::lock_guard lock(mutex_);
    auto [it, fresh] = rows_.try_emplace(pc);
    CfiRow& row = it->second;
    if (!fresh) return &row;
    row.cfa = CfiRow::Cfa::reg_offset;
    row.cfa_reg = kRsp;
    row.cfa_offset = kFrame;
    row.saved = 1;
    row.offset[kRip] = -8;
    row.end = pc >= kEnd - 1;
    return &row;
  }
  bool unwind_slow(std::uint64_t, const Registers&, Memory&, Registers&, std::uint64_t*) override { return false; }
  bool has_debug_info() const override { return false; }
  std::vector<std::string> warnings() const override { return {}; }
  std::string language(std::uint64_t) override { return {}; }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, CfiRow> rows_;  // which stay where they are
  std::vector<Location> nowhere_{1};
};

Unwinder::Context context_of(std::size_t n) {
  const std::uint64_t lo = kBase + n * kStack;
  return {pc_of(n, 0), lo, 0, {lo, lo + kStack}};
}

TEST(WalkMany, SeveralThreadsFindEachStackOnce) {
  constexpr std::size_t kStacks = 10000;
  Bytes target(kStacks);
  Rules rules;
  Memory memory(target);
  std::vector<std::uint8_t> seen(kStacks), right(kStacks);
  const bool done =
      Unwinder(rules, memory)
          .walk_many(
              kStacks, context_of,
              [&](std::size_t n, const std::uint64_t* pcs, std::size_t count, StackEnd end, std::uint64_t) {
                ++seen[n];
                if (bad(n)) {
                  right[n] = end == StackEnd::unreadable && count == 1;
                  return;
                }
                bool same = end == StackEnd::bottom && count == kDepth + 1;
                for (std::size_t d = 0; same && d < count; ++d) same = pcs[d] == pc_of(n, d) - 1;
                right[n] = same;
              },
              [] { return false; });
  EXPECT_TRUE(done);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), kStacks);
  EXPECT_EQ(std::count(right.begin(), right.end(), 1), kStacks);
}

TEST(WalkMany, OneThreadAsksAndAllStop) {
  constexpr std::size_t kStacks = 10000;
  Bytes target(kStacks);
  Rules rules;
  Memory memory(target);
  std::atomic<std::size_t> walked{0};
  const bool done = Unwinder(rules, memory)
                        .walk_many(
                            kStacks, context_of,
                            [&](std::size_t, const std::uint64_t*, std::size_t, StackEnd, std::uint64_t) { ++walked; },
                            [] { return true; });
  EXPECT_FALSE(done);
  EXPECT_LT(walked.load(), kStacks);
}

}  // namespace
}  // namespace vitrine::inspect
