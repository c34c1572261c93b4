// The unwinder over rows and stacks made by hand: each rule, each way for a stack to be broken, and the bulk walker
// against the single one.
#include "unwind.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "fake_target.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kStack = 0x700000, kTop = 0x710000;  // [kStack, kTop)

// Answers from a map of rows: code at [start, end) has one row.
class FakeProgram : public Program {
 public:
  struct Range {
    std::uint64_t end;
    CfiRow row;
  };
  std::map<std::uint64_t, Range> rows;
  std::atomic<int> asked{0};
  std::function<bool(const Registers&, Memory&, Registers&)> slow;

  const Type* type(std::string_view) override { return nullptr; }
  std::vector<Variable> variable(std::string_view) override { return {}; }
  std::uint64_t symbol(std::string_view) override { return 0; }
  std::vector<Note> notes(std::string_view, std::uint32_t) override { return {}; }
  const std::vector<Location>& locate(std::uint64_t) override { return unknown_; }
  std::uint64_t start = 0;  // of the function that is asked about
  std::uint64_t function_start(std::uint64_t) override { return start; }
  const CfiRow* cfi(std::uint64_t pc) override {
    asked++;
    auto it = rows.upper_bound(pc);
    if (it == rows.begin()) return nullptr;
    --it;
    return pc < it->second.end ? &it->second.row : nullptr;
  }
  bool unwind_slow(std::uint64_t, const Registers& in, Memory& m, Registers& out, std::uint64_t*) override {
    return slow && slow(in, m, out);
  }
  bool has_debug_info() const override { return false; }
  std::vector<std::string> warnings() const override { return {}; }
  std::string language(std::uint64_t) override { return ""; }

 private:
  std::vector<Location> unknown_ = std::vector<Location>(1);
};

CfiRow row(int reg, int offset) {
  CfiRow r;
  r.cfa = CfiRow::Cfa::reg_offset;
  r.cfa_reg = static_cast<std::uint8_t>(reg);
  r.cfa_offset = offset;
  r.offset[kRip] = -8;
  return r;
}
CfiRow saving(CfiRow r, int reg, int offset) {
  r.saved = static_cast<std::uint16_t>(r.saved | 1u << reg);
  r.offset[reg] = offset;
  return r;
}
CfiRow bottom() {
  CfiRow r;
  r.end = true;
  r.undefined = 1u << kRip;
  return r;
}

struct World {
  FakeTarget target;
  FakeProgram program;
  Memory memory{target};
  Unwinder unwinder{program, memory};
  World() {
    target.map(kStack, kTop - kStack);
    target.map(0x1000, 0x9000);  // code is readable
    // 0x1000 leaf: rsp+16 · 0x2000 saves rbx at cfa-16 and rbp at cfa-24: rsp+32 · 0x3000 rbp frame · 0x9000 the end
    code(0x1000, row(kRsp, 16));
    code(0x2000, saving(saving(row(kRsp, 32), kRbx, -16), kRbp, -24));
    code(0x3000, saving(row(kRbp, 16), kRbp, -16));
    code(0x9000, bottom());
  }
  void code(std::uint64_t at, const CfiRow& r) { program.rows[at] = {at + 0x1000, r}; }
  static Registers regs(std::uint64_t pc, std::uint64_t sp, std::uint64_t bp = 0) {
    Registers r;
    r.set(kRip, pc);
    r.set(kRsp, sp);
    r.set(kRbp, bp);
    return r;
  }
  StackWalk walk(std::uint64_t pc, std::uint64_t sp, std::uint64_t bp = 0, StackBounds b = {kStack, kTop}) {
    return unwinder.walk(regs(pc, sp, bp), true, b);
  }
  // leaf (0x1010) called by 0x2020 called by 0x3030 called by the end
  std::uint64_t good_stack() {
    const std::uint64_t sp = kTop - 0x200;
    target.put<std::uint64_t>(sp + 8, 0x2020);  // cfa of the leaf: sp+16
    const std::uint64_t cfa2 = sp + 16 + 32;
    target.put<std::uint64_t>(cfa2 - 8, 0x3030);
    target.put<std::uint64_t>(cfa2 - 16, 0xb0b);      // rbx
    target.put<std::uint64_t>(cfa2 - 24, kTop - 64);  // rbp of 0x3030's frame
    target.put<std::uint64_t>(kTop - 64, 0);
    target.put<std::uint64_t>(kTop - 56, 0x9001);
    return sp;
  }
};

std::vector<std::uint64_t> pcs(const StackWalk& w) {
  std::vector<std::uint64_t> out;
  for (const Frame& f : w.frames) out.push_back(f.pc);
  return out;
}

TEST(Unwind, FollowsRowsToTheUndefinedReturnAddress) {
  World w;
  const StackWalk s = w.walk(0x1010, w.good_stack());
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x1010, 0x2020, 0x3030, 0x9001}));
  EXPECT_EQ(s.end, StackEnd::bottom);
  EXPECT_EQ(s.explain(), "");
  EXPECT_TRUE(s.frames[0].exact);
  EXPECT_EQ(s.frames[0].how, How::start);
  EXPECT_EQ(s.frames[1].how, How::cfi);
  EXPECT_EQ(s.frames[1].lookup_pc(), 0x201fu);
}

TEST(Unwind, RestoresCalleeSavedRegistersStepByStep) {
  World w;
  Registers in = World::regs(0x1010, w.good_stack()), out;
  in.set(kRbx, 1);
  How how;
  std::uint64_t bad;
  ASSERT_TRUE(w.unwinder.step(in, true, out, how, bad));
  EXPECT_EQ(out.r[kRbx], 1u) << "the leaf does not touch it";
  in = out;
  ASSERT_TRUE(w.unwinder.step(in, false, out, how, bad));
  EXPECT_EQ(out.r[kRbx], 0xb0bu);
  EXPECT_EQ(out.r[kRbp], kTop - 64);
}

// The return address of a call that ends its function lies in the next one.
TEST(Unwind, ReturnAddressesAreLookedUpOneByteBefore) {
  World w;
  const std::uint64_t sp = kTop - 0x100;
  w.target.put<std::uint64_t>(sp + 8, 0x2000);  // belongs to the leaf's code: 0x1fff
  w.target.put<std::uint64_t>(sp + 24, 0x9001);
  const StackWalk s = w.walk(0x1010, sp);
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x1010, 0x2000, 0x9001}));
}

TEST(Unwind, ASavedContextIsLookedUpOneByteBeforeToo) {
  World w;
  const std::uint64_t sp = kTop - 0x100;
  w.target.put<std::uint64_t>(sp + 8, 0x9001);
  const StackWalk s = w.unwinder.walk(World::regs(0x2000, sp), false, {kStack, kTop});
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x2000, 0x9001}));
  EXPECT_FALSE(s.frames[0].exact);
}

TEST(Unwind, WithoutCfiTheFramePointerIsFollowedAndTheFrameSaysSo) {
  World w;
  const std::uint64_t bp = kTop - 0x80;
  w.target.put<std::uint64_t>(bp, 0);
  w.target.put<std::uint64_t>(bp + 8, 0x9001);
  w.target.map(0x50000, 0x1000);
  const StackWalk s = w.walk(0x50000, bp - 32, bp);
  ASSERT_EQ(pcs(s), (std::vector<std::uint64_t>{0x50000, 0x9001}));
  EXPECT_EQ(s.frames[1].how, How::frame_pointer);
  EXPECT_EQ(s.end, StackEnd::bottom);
}

TEST(Unwind, WithoutCfiAFramePointerThatIsNoneEndsTheWalkWithThePc) {
  World w;
  w.target.map(0x50000, 0x1000);
  for (std::uint64_t bp : {0ull, 0x1234ull, kTop - 0x81ull, kTop - 8ull, ~0ull - 7}) {
    const StackWalk s = w.walk(0x50010, kTop - 0x100, bp);
    EXPECT_EQ(s.frames.size(), 1u);
    EXPECT_EQ(s.end, StackEnd::no_rule);
    EXPECT_EQ(s.bad_address, 0x50010u);
    EXPECT_NE(s.explain().find("0x50010"), std::string::npos);
  }
}

TEST(Unwind, ACallOfANullPointerIsSteppedOverByItsReturnAddress) {
  World w;
  const std::uint64_t sp = w.good_stack();
  w.target.put<std::uint64_t>(sp - 8, 0x1010);
  const StackWalk s = w.walk(0, sp - 8);
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0, 0x1010, 0x2020, 0x3030, 0x9001}));
  EXPECT_EQ(s.frames[1].how, How::return_slot);
}

// The C library's clone3 after its system call: no row, nothing pushed, rbp somebody's own.
TEST(Unwind, CodeWithoutRowsThatHasPushedNothingIsLeftByItsReturnAddress) {
  const std::vector<std::uint8_t> calls[] = {{0xe8, 1, 2, 3, 4},    {0xff, 0xd0},
                                             {0xff, 0x50, 8},       {0xff, 0x15, 1, 2, 3, 4},
                                             {0xff, 0x54, 0x24, 8}, {0xff, 0x94, 0x24, 1, 2, 3, 4},
                                             {0x41, 0xff, 0xd4}};
  const std::vector<std::uint8_t> others[] = {{0x90, 0x90}, {0xff, 0xe0}, {0xff, 0x50}, {0xff, 0x15, 1, 2}};
  auto walk = [](const std::vector<std::uint8_t>& before) {
    World w;
    w.target.map(0x50000, 0x1000);
    for (std::size_t i = 0; i < before.size(); ++i) w.target.put<std::uint8_t>(0x1010 - before.size() + i, before[i]);
    const std::uint64_t sp = w.good_stack();
    w.target.put<std::uint64_t>(sp - 8, 0x1010);
    return w.walk(0x50010, sp - 8, 0x7f0000);
  };
  for (const auto& code : calls) {
    const StackWalk s = walk(code);
    EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x50010, 0x1010, 0x2020, 0x3030, 0x9001})) << code.size();
    EXPECT_EQ(s.frames.at(1).how, How::return_slot);
  }
  for (const auto& code : others) EXPECT_EQ(walk(code).end, StackEnd::no_rule) << code.size();
}

TEST(Unwind, AReturnAddressOfZeroIsTheBottom) {
  World w;
  const StackWalk s = w.walk(0x1010, kTop - 0x100);
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x1010}));
  EXPECT_EQ(s.end, StackEnd::bottom);
}

TEST(Unwind, ACyclicStackEndsWhereTheCfaStopsGrowing) {
  World w;
  // Two rbp frames that point at each other.
  const std::uint64_t a = kTop - 0x100, b = kTop - 0x80;
  w.target.put<std::uint64_t>(a, b);
  w.target.put<std::uint64_t>(a + 8, 0x3030);
  w.target.put<std::uint64_t>(b, a);
  w.target.put<std::uint64_t>(b + 8, 0x3040);
  for (StackBounds bounds : {StackBounds{kStack, kTop}, StackBounds{}}) {
    const StackWalk s = w.walk(0x3010, a - 16, a, bounds);
    EXPECT_EQ(s.end, StackEnd::not_growing);
    EXPECT_EQ(s.bad_address, a + 16);
    EXPECT_EQ(s.frames.size(), 3u);
    EXPECT_NE(s.explain().find("0x70ff10"), std::string::npos) << s.explain();
  }
}

// gogo, on the goroutine's stack and about to jump: the CFA is the stack pointer, the return address in a register.
TEST(Unwind, AnInterruptedRoutineMayHaveNothingOnTheStack) {
  struct Jumping : World {
    Jumping() {
      CfiRow jumps = row(kRsp, 0);
      jumps.complex_rules = true;
      code(0x4000, jumps);
      program.slow = [](const Registers& in, Memory&, Registers& out) {
        out = in;
        out.set(kRip, 0x1010);
        return true;
      };
    }
  };
  Jumping w;
  const std::uint64_t sp = w.good_stack();
  for (StackBounds bounds : {StackBounds{kStack, kTop}, StackBounds{}})
    EXPECT_EQ(pcs(w.walk(0x4010, sp, 0, bounds)), (std::vector<std::uint64_t>{0x4010, 0x1010, 0x2020, 0x3030, 0x9001}));
  // A frame that was called has its return address at least.
  Jumping called;
  called.target.put<std::uint64_t>(called.good_stack() + 8, 0x4010);
  EXPECT_EQ(called.walk(0x1010, sp).end, StackEnd::not_growing);
}

TEST(Unwind, ACfaOutsideOfTheStackIsNamedAndNotRead) {
  World w;
  const StackWalk s = w.walk(0x3010, kTop - 0x100, 0xdead0000);
  EXPECT_EQ(s.end, StackEnd::left_stack);
  EXPECT_EQ(s.bad_address, 0xdead0010u);
  EXPECT_EQ(s.frames.size(), 1u);
}

TEST(Unwind, AWildStackPointerIsNamed) {
  World w;
  const StackWalk s = w.walk(0x1010, 0xbad0000);
  EXPECT_EQ(s.end, StackEnd::left_stack);
  EXPECT_EQ(s.bad_address, 0xbad0000u);
  ASSERT_EQ(s.frames.size(), 1u);
  EXPECT_EQ(s.frames[0].pc, 0x1010u);
}

TEST(Unwind, AnUnreadableSlotIsNamedAndTheFramesBeforeItAreKept) {
  World w;
  const std::uint64_t sp = w.good_stack();
  w.target.bad(kTop - 0x100, kTop);  // where the frame of 0x3030 lies
  const StackWalk s = w.walk(0x1010, sp);
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x1010, 0x2020, 0x3030}));
  EXPECT_EQ(s.end, StackEnd::unreadable);
  EXPECT_EQ(s.bad_address, kTop - 56);
  EXPECT_NE(s.explain().find("0x70ffc8"), std::string::npos) << s.explain();
}

TEST(Unwind, ASignalFrameLeadsToAnotherStackAndAnExactPc) {
  World w;
  const std::uint64_t alt = 0x20000;
  w.target.map(alt, 0x1000);
  CfiRow trampoline;
  trampoline.cfa = CfiRow::Cfa::expression;
  trampoline.signal = trampoline.complex_rules = true;
  w.code(0x6000, trampoline);
  const std::uint64_t sp = w.good_stack();
  w.program.slow = [sp](const Registers&, Memory&, Registers& out) {
    out = World::regs(0x1000, sp);  // the first byte of its function: pc - 1 would miss it
    return true;
  };
  w.target.put<std::uint64_t>(alt + 0x108, 0x6001);
  for (StackBounds bounds : {StackBounds{}, StackBounds{alt, alt + 0x1000}}) {
    const StackWalk s = w.walk(0x1010, alt + 0x100, 0, bounds);
    ASSERT_GE(s.frames.size(), 3u);
    EXPECT_EQ(s.frames[2].how, How::signal);
    EXPECT_TRUE(s.frames[2].exact);
    EXPECT_EQ(s.frames[2].lookup_pc(), 0x1000u);
    if (bounds.hi == 0) {
      EXPECT_EQ(s.end, StackEnd::bottom);
      EXPECT_EQ(s.frames.size(), 6u);
    }
  }
}

TEST(Unwind, WithoutBoundsCfiMayLeadToAnotherStackButNotRoundAndRound) {
  World w;
  const std::uint64_t other = 0x20000;
  w.target.map(other, 0x1000);
  // From kStack's top part down to `other` by rbp, and to the end there.
  w.target.put<std::uint64_t>(other + 0x80, 0);
  w.target.put<std::uint64_t>(other + 0x88, 0x9001);
  StackWalk s = w.walk(0x3010, kTop - 0x100, other + 0x80, {});
  EXPECT_EQ(s.end, StackEnd::bottom);
  EXPECT_EQ(s.frames.size(), 2u);
  EXPECT_EQ(w.walk(0x3010, kTop - 0x100, other + 0x80).end, StackEnd::left_stack) << "with bounds it may not";
  // Now back up again, and down, for ever.
  w.memory.flush();
  w.target.put<std::uint64_t>(other + 0x80, kTop - 0x80);
  w.target.put<std::uint64_t>(other + 0x88, 0x3020);
  w.target.put<std::uint64_t>(kTop - 0x80, other + 0x80);
  w.target.put<std::uint64_t>(kTop - 0x78, 0x3020);
  s = w.walk(0x3010, kTop - 0x100, other + 0x80, {});
  EXPECT_EQ(s.end, StackEnd::not_growing);
  EXPECT_LT(s.frames.size(), 100u);
}

// Its code: sub $16, %rsp; mov %rsp, %r12; (to another stack, call) …; mov %r12, %rsp; add $16, %rsp; ret. CFI has the row
// of the second instruction, and on the other stack an offset that means nothing.
TEST(Unwind, AFunctionThatBorrowsAStackIsUnwoundFromItsOwn) {
  World w;
  const std::uint64_t other = kTop - 0x8000, sp = kTop - 0x100, at = 0x7000;  // the other one is the lower one
  const std::uint8_t code[] = {0x48, 0x83, 0xec, 0x10, 0x49, 0x89, 0xe4, 0x48, 0x8b, 0x63, 0x38,
                               0xff, 0xd0, 0x90, 0x4c, 0x89, 0xe4, 0x48, 0x83, 0xc4, 0x10, 0xc3};
  w.target.map(at, 0x1000);
  for (std::size_t i = 0; i < sizeof code; ++i) w.target.put(at + i, code[i]);
  CfiRow inside = row(kRsp, 24);
  inside.borrows = true;
  w.program.rows[at] = {at + 4, row(kRsp, 8)};
  w.program.rows[at + 4] = {at + 21, inside};
  w.program.start = at;
  w.target.put<std::uint64_t>(sp + 16, 0x1010);
  w.target.put<std::uint64_t>(sp + 24 + 8, 0x9001);
  w.target.put<std::uint64_t>(other + 16, 0x1010);  // what the row would take for a return address
  w.target.put<std::uint64_t>(other + 24 + 8, 0);
  auto walk = [&](std::uint64_t pc, std::uint64_t on, std::uint64_t r12) {
    Registers r = World::regs(pc, on);
    r.set(kR12, r12);
    return w.unwinder.walk(r, true, {});
  };
  for (auto [offset, on, r12] :
       {std::tuple(4u, sp, other), {7u, sp, sp}, {11u, other, sp}, {14u, other, sp}, {17u, sp, other}}) {
    StackWalk s = walk(at + offset, on, r12);
    EXPECT_EQ(s.end, StackEnd::bottom) << offset;
    EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{at + offset, 0x1010, 0x9001})) << offset;
    EXPECT_EQ(s.frames[1].sp, sp + 24) << offset;
  }
  // One that it called, by the call's return address.
  w.target.put<std::uint64_t>(other - 16 + 8, at + 13);
  w.memory.flush();
  EXPECT_EQ(pcs(walk(0x1010, other - 16, sp)), (std::vector<std::uint64_t>{0x1010, at + 13, 0x1010, 0x9001}));
}

TEST(Unwind, StopsAtTheDepthThatWasAskedFor) {
  World w;
  const std::uint64_t sp = w.good_stack();
  StackWalk s = w.unwinder.walk(World::regs(0x1010, sp), true, {kStack, kTop}, 2);
  EXPECT_EQ(s.frames.size(), 2u);
  EXPECT_EQ(s.end, StackEnd::depth_limit);
  s = w.unwinder.walk(World::regs(0x1010, sp), true, {kStack, kTop}, 4);
  EXPECT_EQ(s.end, StackEnd::bottom) << "exactly as deep as allowed is not cut";
}

TEST(Unwind, ACfaThatIsReadFromTheStackIsFollowed) {
  World w;
  CfiRow r = row(kRbp, -8);
  r.cfa = CfiRow::Cfa::deref;
  w.code(0x5000, r);
  const std::uint64_t bp = kTop - 0x100, cfa = kTop - 0x40;
  w.target.put<std::uint64_t>(bp - 8, cfa);
  w.target.put<std::uint64_t>(cfa - 8, 0x9001);
  const StackWalk s = w.walk(0x5010, bp - 64, bp);
  EXPECT_EQ(pcs(s), (std::vector<std::uint64_t>{0x5010, 0x9001}));
}

TEST(Unwind, AnyFailingReadEndsTheWalkWithItsAddress) {
  int faults = 0;
  for (std::size_t n = 1; n < 50; n++) {
    World w;
    const std::uint64_t sp = w.good_stack();
    w.target.fail_read(n);
    const StackWalk s = w.walk(0x1010, sp);
    if (!w.target.faulted()) {
      EXPECT_EQ(s.end, StackEnd::bottom);
      break;
    }
    faults++;
    EXPECT_GE(s.frames.size(), 1u);
    if (s.end != StackEnd::bottom) {
      EXPECT_EQ(s.end, StackEnd::unreadable);
      EXPECT_GE(s.bad_address, kStack);
      EXPECT_LT(s.bad_address, kTop);
    }
  }
  EXPECT_GT(faults, 0);
}

// ---- many stacks
// -----------------------------------------------------------------------------------------------------

struct Bulk {
  std::vector<std::uint64_t> pcs;
  StackEnd end;
  std::uint64_t bad;
};

std::vector<Bulk> walk_all(World& w, const std::vector<Unwinder::Context>& contexts) {
  std::vector<Bulk> out(contexts.size());
  std::mutex mutex;
  std::vector<int> seen(contexts.size());
  EXPECT_TRUE(
      w.unwinder.walk_many(contexts,
                           [&](std::size_t i, const std::uint64_t* p, std::size_t n, StackEnd end, std::uint64_t bad) {
                             std::lock_guard lock(mutex);
                             seen[i]++;
                             out[i] = {{p, p + n}, end, bad};
                           },
                           {}));
  for (int s : seen) EXPECT_EQ(s, 1) << "each context is given exactly once";
  return out;
}

// Random stacks, whole and broken, with every kind of row: both walkers must say the same.
void expect_walkers_agree(std::uint32_t seed, bool viewable, bool concurrent, bool bounded, std::uint64_t slot = 0x2000,
                          std::size_t many = ~std::size_t{0}) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  World w;
  CfiRow deref = row(kRbp, -8);
  deref.cfa = CfiRow::Cfa::deref;
  w.code(0x5000, deref);
  w.code(0x6000, row(kRbx, 16));  // a CFA from a register that a saved context does not have
  CfiRow forgets = row(kRsp, 24);
  forgets.undefined = 1u << kRbp;
  w.code(0x7000, forgets);
  const std::uint64_t stacks = 0x1000000;
  w.target.many_ = many;
  std::vector<Unwinder::Context> contexts;
  w.target.viewable_ = viewable;
  const std::size_t count = concurrent ? 6000 : 500;
  for (std::size_t i = 0; i < count; i++) {
    const std::uint64_t lo = stacks + i * slot, hi = lo + slot;
    w.target.map(lo, slot);
    static const std::uint64_t kinds[] = {0x1010, 0x2020, 0x3030, 0x3030, 0x5050, 0x6060, 0x7070, 0x9001, 0x60000, 0};
    for (std::uint64_t at = lo; at < hi; at += 8) {
      const std::uint32_t r = random() % 16;
      std::uint64_t v = r < 10 ? kinds[r] : r < 15 ? lo + random() % (slot / 8) * 8 : random();
      w.target.put(at, v);
    }
    if (random() % 8 == 0) w.target.bad(lo + slot / 2, hi);
    const std::uint64_t sp = random() % 20 ? lo + random() % (slot / 8) * 8 : random();
    const std::uint64_t bp = lo + random() % (slot / 8) * 8;
    contexts.push_back({kinds[random() % 9], sp, bp, bounded ? StackBounds{lo, hi} : StackBounds{}});
  }
  w.target.concurrent_ = concurrent;
  const std::vector<Bulk> bulk = walk_all(w, contexts);
  for (std::size_t i = 0; i < contexts.size(); i++) {
    const Unwinder::Context& c = contexts[i];
    const StackWalk s = w.unwinder.walk(World::regs(c.pc, c.sp, c.bp), false, c.bounds);
    std::vector<std::uint64_t> want;
    for (const Frame& f : s.frames) want.push_back(f.lookup_pc());
    ASSERT_EQ(bulk[i].pcs, want) << "context " << i;
    ASSERT_EQ(bulk[i].end, s.end) << "context " << i << ": " << s.explain();
    ASSERT_EQ(bulk[i].bad, s.bad_address) << "context " << i;
  }
}

TEST(WalkMany, SaysWhatTheSingleWalkSaysOfViews) { expect_walkers_agree(1, true, false, true); }
TEST(WalkMany, SaysWhatTheSingleWalkSaysOfReads) { expect_walkers_agree(2, false, false, true); }
TEST(WalkMany, SaysWhatTheSingleWalkSaysWithoutBounds) { expect_walkers_agree(3, false, false, false); }
TEST(WalkMany, SaysWhatTheSingleWalkSaysFromSeveralThreads) { expect_walkers_agree(4, true, true, true); }

TEST(WalkMany, SaysWhatTheSingleWalkSaysOfStacksThatShareAPage) { expect_walkers_agree(5, false, false, true, 0x800); }
TEST(WalkMany, SaysWhatTheSingleWalkSaysWhenReadsTogetherAreCutShort) {
  for (std::size_t many : {0, 1, 7, 1000, 5000}) expect_walkers_agree(6, false, false, true, 0x800, many);
}

TEST(WalkMany, ReadsStacksThatLieTogetherAtOnce) {
  World w;
  const std::uint64_t stacks = 0x1000000, slot = 0x800;
  std::vector<Unwinder::Context> contexts;
  w.target.map(stacks, 1000 * slot);
  for (std::uint64_t i = 0; i < 1000; i++) {
    // By goid they come in another order than by address.
    const std::uint64_t lo = stacks + i * 7 % 1000 * slot, hi = lo + slot;
    contexts.push_back({0x9001, hi - 0x100, hi - 0x40, {lo, hi}});  // a frame that is found by frame pointer
  }
  for (const Bulk& b : walk_all(w, contexts)) EXPECT_EQ(b.end, StackEnd::bottom);
  EXPECT_LT(w.target.many_calls_, 12u) << "2 MB, a quarter of a MB at a time";
  EXPECT_LT(w.target.reads(), 100u) << "pieces of 64 KiB, not stacks";
}

TEST(WalkMany, AsksForEachRowOncePerWorker) {
  World w;
  const std::uint64_t sp = w.good_stack();
  const std::vector<Unwinder::Context> contexts(5000, {0x1011, sp, 0, {kStack, kTop}});
  walk_all(w, contexts);
  EXPECT_EQ(w.program.asked.load(), 4);
}

TEST(WalkMany, NeverUsesThreadsOnATargetThatIsNotForThem) {
  World w;
  const std::uint64_t sp = w.good_stack();
  const auto self = std::this_thread::get_id();
  const std::vector<Unwinder::Context> contexts(20000, {0x1011, sp, 0, {kStack, kTop}});
  w.unwinder.walk_many(contexts,
                       [&](std::size_t, const std::uint64_t*, std::size_t, StackEnd, std::uint64_t) {
                         ASSERT_EQ(std::this_thread::get_id(), self);
                       },
                       {});
}

TEST(WalkMany, IsCancelledFromTheCallingThreadAndSaysSo) {
  World w;
  w.target.concurrent_ = true;
  const std::uint64_t sp = w.good_stack();
  const std::vector<Unwinder::Context> contexts(2'000'000, {0x1011, sp, 0, {kStack, kTop}});
  std::atomic<std::size_t> given{0};
  const auto self = std::this_thread::get_id();
  int polls = 0;
  const bool all = w.unwinder.walk_many(
      contexts, [&](std::size_t, const std::uint64_t*, std::size_t, StackEnd, std::uint64_t) { given++; },
      [&] {
        EXPECT_EQ(std::this_thread::get_id(), self);
        return ++polls == 2;
      });
  EXPECT_FALSE(all);
  EXPECT_EQ(polls, 2) << "after the answer it is not asked again";
  EXPECT_LT(given.load(), contexts.size());
}

TEST(WalkMany, PollsDuringOneEndlessStack) {
  World w;
  CfiRow slow;
  slow.cfa = CfiRow::Cfa::expression;
  slow.complex_rules = true;
  w.code(0x6000, slow);
  w.program.slow = [](const Registers& in, Memory&, Registers& out) {
    out = in;
    out.set(kRsp, in.r[kRsp] + 16);
    for (int i = 0; i < 200; i++) asm volatile("");
    return true;
  };
  std::size_t given = 0;
  int polls = 0;
  EXPECT_FALSE(w.unwinder.walk_many(
      {{0x6011, 0x10000000, 0, {0x10000000, 0x20000000}}},
      [&](std::size_t, const std::uint64_t*, std::size_t, StackEnd, std::uint64_t) { given++; },
      [&] { return ++polls > 3; }));
  EXPECT_EQ(polls, 4);
  EXPECT_EQ(given, 0u) << "a stack that was cut short is not given";
}

}  // namespace
}  // namespace vitrine::inspect
