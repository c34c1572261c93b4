// unwind.cc: walks one stack.
//
// One step, from a frame's registers to its caller's:
//   1. The CFI row of the lookup pc: the pc itself where execution was interrupted (frame 0 of a thread, the frame
//      below a signal handler), pc - 1 for a return address and for a saved context, because a call may be the last
//      instruction of its function and a resume label has a `nop` of the same row before it.
//   2. Return address undefined: this is the outermost frame, a clean end.
//   3. CFA and saved registers by the row; by libdw's expressions where the row cannot hold them.
//   4. No row: the frame pointer, if it points up this stack; such frames are tagged, since compilers use rbp for
//      other things. But the return address is at the stack pointer still in a frame that was entered at an address
//      without any code (a call of a null pointer), and in an interrupted routine that has pushed nothing: the C
//      library's clone3 has no rows from its system call on, and no frame. The word there counts as a return address if
//      the code before it is a call and has a row.
//   5. A routine that is nothing but the system call rt_sigreturn stands on a signal's context, which has all registers:
//      Go's own such routine has no usable rows, and begins where a handler returns to.
//   6. A function that calls C on another stack, with its own stack pointer in r12 (Go asks the vdso what time it is
//      like that), is unwound from r12, by the row that it had when it copied the pointer.
//   7. A return address of 0 also ends the stack: what Go's older goexit and hand-made stacks have at their bottom.
//
// A walk ends for sure: the CFA must grow from frame to frame. Only an interrupted routine may have none of the stack:
// gogo and mcall, whose caller is in a register, just before they jump there. It may go elsewhere only through a signal
// frame (from the signal stack back), or, when the caller gave no bounds, by leaving the part that was walked so far (a
// switch to another stack that CFI follows, as systemstack's does) — and that at most kMaxSwitches times. Rejected:
// scanning the stack for words that look like return addresses. It finds frames that are long gone.
#include "unwind.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "low_text.h"
#include "unwind_step.h"

namespace vitrine::inspect {
namespace {

constexpr int kMaxSwitches = 8;
constexpr int kMaxHandlerFrames = 256;

StepResult fail(StackEnd end, std::uint64_t bad) { return {false, How::start, false, end, bad}; }

bool inside(StackBounds b, std::uint64_t lo, std::uint64_t hi) {
  return b.hi == 0 || (lo >= b.lo && hi <= b.hi && lo <= hi);
}

StepResult by_frame_pointer(Memory& memory, const Registers& in, StackBounds bounds, Registers& out) {
  const std::uint64_t sp = in.r[kRsp], bp = in.r[kRbp];
  if (!in.has(kRbp) || bp < sp || (bp & 7) != 0 || bp + 16 < bp || !inside(bounds, bp, bp + 16))
    return fail(StackEnd::no_rule, in.r[kRip]);
  std::uint64_t words[2];
  if (Status s = memory.read(bp, std::as_writable_bytes(std::span(words))); !s)
    return fail(StackEnd::unreadable, s.error().address.value_or(bp));
  out = Registers{};
  out.set(kRbp, words[0]);
  out.set(kRsp, bp + 16);
  out.set(kRip, words[1]);
  return {true, How::frame_pointer, false, StackEnd::bottom, 0};
}

StepResult by_return_slot(Memory& memory, const Registers& in, Registers& out) {
  const std::uint64_t sp = in.r[kRsp];
  auto ra = memory.get<std::uint64_t>(sp);
  if (!ra) return fail(StackEnd::unreadable, ra.error().address.value_or(sp));
  out = in;
  out.set(kRsp, sp + 8);
  out.set(kRip, *ra);
  return {true, How::return_slot, false, StackEnd::bottom, 0};
}

// Whether the instruction that ends at `end` may be a call, by its last seven bytes: e8 with a displacement, or ff /2
// with the length that its ModRM byte asks for.
bool ends_with_call(std::span<const std::uint8_t, 7> code) {
  if (code[2] == 0xe8) return true;
  for (std::size_t n = 2; n <= 7; ++n) {
    if (n == 5 || code[7 - n] != 0xff) continue;
    const std::uint8_t modrm = code[8 - n];
    if ((modrm >> 3 & 7) != 2) continue;
    const unsigned mod = modrm >> 6, rm = modrm & 7;
    std::size_t length = 2;
    if (mod != 3 && rm == 4) ++length;  // SIB
    if (mod == 1) length += 1;
    if (mod == 2 || (mod == 0 && (rm == 5 || (rm == 4 && (code[9 - n] & 7) == 5)))) length += 4;
    if (length == n) return true;
  }
  return false;
}

bool stands_on_a_return_address(Program& program, Memory& memory, const Registers& in) {
  auto ra = memory.get<std::uint64_t>(in.r[kRsp]);
  if (!ra || *ra < 7 || !program.cfi(*ra - 1)) return false;
  std::array<std::uint8_t, 7> code;
  return memory.read(*ra - 7, std::as_writable_bytes(std::span(code)), Space::code) && ends_with_call(code);
}

// mov $15, %rax; syscall, and no rows that say so, which libc's has. Functions are aligned, so that other return
// addresses are hardly ever looked at.
bool is_bare_sigreturn(Program& program, Memory& memory, std::uint64_t pc) {
  static constexpr std::array<std::uint8_t, 9> kCode = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
  std::array<std::uint8_t, 9> code;
  if (pc % 16 || !pc || !memory.read(pc, std::as_writable_bytes(std::span(code)), Space::code) || code != kCode)
    return false;
  const CfiRow* row = program.cfi(pc);
  return !row || !row->signal;
}

// Whether the call in front of a return address is a direct one of a function that stays on the stack.
bool called_one_that_stays(Program& program, Memory& memory, std::uint64_t pc) {
  std::array<std::uint8_t, 5> code;
  if (pc < 5 || !memory.read(pc - 5, std::as_writable_bytes(std::span(code)), Space::code) || code[0] != 0xe8)
    return false;
  std::int32_t by;
  std::memcpy(&by, &code[1], sizeof by);
  const CfiRow* row = program.cfi(pc + static_cast<std::uint64_t>(static_cast<std::int64_t>(by)));
  return row && row->stays;
}

// The kernel's ucontext_t lies at the stack pointer.
StepResult by_signal_context(Memory& memory, const Registers& in, Registers& out) {
  constexpr std::uint64_t kRegisters = 40;  // behind flags, link and stack
  static constexpr std::array<int, kRegs> kOrder = {8, 9,    10,   11, 12, 13, 14,   15,  5,
                                                    4, kRbp, kRbx, 1,  0,  2,  kRsp, kRip};
  std::uint64_t words[kRegs];
  const std::uint64_t at = in.r[kRsp] + kRegisters;
  if (Status s = memory.read(at, std::as_writable_bytes(std::span(words))); !s)
    return fail(StackEnd::unreadable, s.error().address.value_or(at));
  out = Registers{};
  for (std::size_t i = 0; i < kOrder.size(); ++i) out.set(kOrder[i], words[i]);
  return {true, How::signal, true, StackEnd::bottom, 0};
}

// The row by which a borrowing function is unwound from r12, if that is where its stack pointer is at pc.
const CfiRow* row_by_r12(Program& program, Memory& memory, std::uint64_t pc) {
  static constexpr std::array<std::uint8_t, 3> kKeep = {0x49, 0x89, 0xe4};     // mov %rsp, %r12
  static constexpr std::array<std::uint8_t, 3> kRestore = {0x4c, 0x89, 0xe4};  // mov %r12, %rsp
  const std::uint64_t start = program.function_start(pc);
  std::array<std::uint8_t, 512> code;
  const std::size_t got = memory.read_prefix(start, std::as_writable_bytes(std::span(code)), Space::code);
  const auto end = code.begin() + static_cast<std::ptrdiff_t>(got);
  const auto keep = std::search(code.begin(), end, kKeep.begin(), kKeep.end());
  const auto restore = std::search(keep, end, kRestore.begin(), kRestore.end());
  if (restore == end) return nullptr;
  const std::uint64_t kept = start + static_cast<std::uint64_t>(keep - code.begin()) + kKeep.size();
  return pc >= kept && pc <= start + static_cast<std::uint64_t>(restore - code.begin()) ? program.cfi(kept) : nullptr;
}

StepResult by_row(Program& program, Memory& memory, const CfiRow& row, std::uint64_t lookup, const Registers& in,
                  StackBounds bounds, Registers& out) {
  const How how = row.signal ? How::signal : How::cfi;
  if (row.complex_rules) {
    std::uint64_t bad = 0;
    if (!program.unwind_slow(lookup, in, memory, out, &bad))
      return bad ? fail(StackEnd::unreadable, bad) : fail(StackEnd::no_rule, lookup);
    return {true, how, row.signal, StackEnd::bottom, 0};
  }
  if (!in.has(row.cfa_reg)) return fail(StackEnd::no_rule, lookup);
  std::uint64_t cfa = in.r[row.cfa_reg] + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.cfa_offset));
  if (row.cfa == CfiRow::Cfa::deref) {
    auto word = memory.get<std::uint64_t>(cfa);
    if (!word) return fail(StackEnd::unreadable, word.error().address.value_or(cfa));
    cfa = *word;
  }
  // Before anything is read at a CFA that cannot be one.
  if (!row.signal && bounds.hi != 0 && (cfa < bounds.lo || cfa > bounds.hi)) return fail(StackEnd::left_stack, cfa);
  const auto slot = [&](int n) { return cfa + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.offset[n])); };
  auto ra = memory.get<std::uint64_t>(slot(kRip));
  if (!ra) return fail(StackEnd::unreadable, ra.error().address.value_or(slot(kRip)));
  out = in;
  for (int n = 0; n < kRip; n++) {
    if (row.undefined >> n & 1) out.forget(n);
    if (!(row.saved >> n & 1)) continue;
    if (auto v = memory.get<std::uint64_t>(slot(n)))
      out.set(n, *v);
    else
      out.forget(n);
  }
  out.set(kRsp, cfa);
  out.set(kRip, *ra);
  return {true, how, row.signal, StackEnd::bottom, 0};
}

}  // namespace

// A pc on a stack that is a function's first instruction is no return address, if nothing is known of what lies before
// it: Go saves systemstack_switch itself as where to go on.
const CfiRow* row_of(Program& program, std::uint64_t pc, bool exact) {
  const CfiRow* row = program.cfi(exact || pc == 0 ? pc : pc - 1);
  return row || exact || pc == 0 || program.function_start(pc) != pc ? row : program.cfi(pc);
}

bool interrupts(Program& program, Memory& memory, std::uint64_t lookup_pc) {
  const CfiRow* row = program.cfi(lookup_pc);
  return (row && row->signal) || is_bare_sigreturn(program, memory, lookup_pc);
}

StepResult unwind_step(Program& program, Memory& memory, const Registers& in, bool exact, StackBounds bounds,
                       Registers& out) {
  const std::uint64_t pc = in.r[kRip];
  const std::uint64_t lookup = exact || pc == 0 ? pc : pc - 1;
  StepResult step;
  if (is_bare_sigreturn(program, memory, pc)) return by_signal_context(memory, in, out);
  if (const CfiRow* row = row_of(program, pc, exact)) {
    if (row->end || (row->leaves && !exact && !called_one_that_stays(program, memory, pc)))
      return fail(StackEnd::bottom, 0);
    Registers own = in;
    if (const CfiRow* kept = row->borrows && in.has(kR12) ? row_by_r12(program, memory, lookup) : nullptr) {
      own.set(kRsp, in.r[kR12]);
      row = kept;
    }
    step = by_row(program, memory, *row, lookup, own, bounds, out);
    // It was on the other stack already, where nobody called it.
    if (step.ok && row->leaves && !row_of(program, out.r[kRip], false)) return fail(StackEnd::bottom, 0);
  } else {
    std::byte code;
    const bool no_code = exact && memory.read_prefix(pc, std::span(&code, 1), Space::code) == 0;
    const bool at_slot = no_code || (exact && stands_on_a_return_address(program, memory, in));
    step = at_slot ? by_return_slot(memory, in, out) : by_frame_pointer(memory, in, bounds, out);
  }
  return step;
}

WalkEnd walk_stack(Program& program, Memory& memory, Registers regs, bool exact, StackBounds bounds,
                   const std::function<bool(const Frame&)>& frame) {
  How how = How::start;
  if (bounds.hi != 0 && (regs.r[kRsp] < bounds.lo || regs.r[kRsp] > bounds.hi)) {
    frame({regs.r[kRip], regs.r[kRsp], how, exact});
    return {StackEnd::left_stack, regs.r[kRsp]};
  }
  std::uint64_t walked_from = regs.r[kRsp];
  int switches = 0;
  for (;;) {
    if (!frame({regs.r[kRip], regs.r[kRsp], how, exact})) return {StackEnd::depth_limit, regs.r[kRsp]};
    Registers caller;
    const StepResult step = unwind_step(program, memory, regs, exact, bounds, caller);
    if (!step.ok) return {step.end, step.bad_address};
    const std::uint64_t sp = caller.r[kRsp];
    if (sp < regs.r[kRsp] || (sp == regs.r[kRsp] && !exact)) {
      const bool elsewhere = sp < walked_from && walked_from - sp >= kPage;
      const bool allowed = step.how == How::signal || (bounds.hi == 0 && elsewhere);
      if (!allowed || ++switches > kMaxSwitches) return {StackEnd::not_growing, sp};
      walked_from = sp;
    }
    if (bounds.hi != 0 && step.how != How::signal && sp > bounds.hi) return {StackEnd::left_stack, sp};
    if (caller.r[kRip] == 0) return {StackEnd::bottom, 0};
    regs = caller;
    how = step.how;
    // A handler's return address is its first instruction.
    exact = step.exact || is_bare_sigreturn(program, memory, regs.r[kRip]);
  }
}

std::string StackWalk::explain() const {
  switch (end) {
    case StackEnd::bottom:
      return "";
    case StackEnd::depth_limit:
      return "the stack goes on beyond " + std::to_string(frames.size()) + " frames";
    case StackEnd::no_rule:
      return "no unwind information for the code at " + hex(bad_address);
    case StackEnd::unreadable:
      return "the stack cannot be read at " + hex(bad_address);
    case StackEnd::not_growing:
      return "the stack does not grow at " + hex(bad_address) + " (corrupt?)";
    case StackEnd::left_stack:
      return hex(bad_address) + " is outside of the stack (corrupt?)";
  }
  return "";
}

StackWalk Unwinder::walk(const Registers& start, bool exact, StackBounds bounds, std::size_t max_depth) {
  StackWalk w;
  const WalkEnd end = walk_stack(program_, memory_, start, exact, bounds, [&](const Frame& f) {
    if (w.frames.size() >= max_depth) return false;
    w.frames.push_back(f);
    return true;
  });
  w.end = end.end;
  w.bad_address = end.bad_address;
  return w;
}

std::optional<Registers> Unwinder::interrupted(const Registers& start, StackBounds handlers) {
  Registers at = start;
  bool exact = true;
  for (int n = 0; n < kMaxHandlerFrames; ++n) {
    Registers caller;
    const StepResult step = unwind_step(program_, memory_, at, exact, {}, caller);
    if (!step.ok) return std::nullopt;
    const std::uint64_t sp = caller.r[kRsp];
    if (step.how == How::signal && (sp < handlers.lo || sp >= handlers.hi)) return caller;
    at = caller;
    exact = step.exact || is_bare_sigreturn(program_, memory_, at.r[kRip]);
  }
  return std::nullopt;
}

bool Unwinder::step(const Registers& in, bool exact, Registers& out, How& how, std::uint64_t& bad_address) {
  const StepResult s = unwind_step(program_, memory_, in, exact, {}, out);
  how = s.how;
  bad_address = s.bad_address;
  return s.ok && out.r[kRip] != 0;
}

}  // namespace vitrine::inspect
