// program_cfi.cc: call frame information through libdw, once per pc.
//
// .eh_frame of the loaded image is asked first (it has a search table, and for C++ it is complete), then .debug_frame
// (Go's linker writes only that). libdw answers with one expression per register, at about 20 µs a frame; a row holds
// the same as plain offsets:
//   * the CFA is register + offset in all ordinary code; the word at register + offset in functions that realign their
//     stack; anything else (PLT entries, glibc's signal trampoline) stays an expression;
//   * a saved register lies at CFA + offset; `same value` needs no entry; the stack pointer is the CFA unless said
//     otherwise; every other rule makes the row `complex`, and unwind() evaluates its expressions.
#include "program_cfi.h"

#include <dwarf.h>

#include <cstdlib>
#include <memory>

namespace vitrine::inspect {
namespace {

constexpr int kMaxSteps = 1000;  // a malformed expression may loop

struct FreeFrame {
  void operator()(Dwarf_Frame* f) const { std::free(f); }
};
using FramePtr = std::unique_ptr<Dwarf_Frame, FreeFrame>;

// register + offset, or false.
bool is_breg(const Dwarf_Op& op, int& reg, std::int64_t& offset) {
  if (op.atom >= DW_OP_breg0 && op.atom <= DW_OP_breg16) {
    reg = op.atom - DW_OP_breg0;
    offset = static_cast<std::int64_t>(op.number);
    return true;
  }
  if (op.atom == DW_OP_bregx && op.number < kRegs) {
    reg = static_cast<int>(op.number);
    offset = static_cast<std::int64_t>(op.number2);
    return true;
  }
  return false;
}

bool fits(std::int64_t v) { return v == static_cast<std::int32_t>(v); }

// One evaluation. A result is a value, or the address of one (a location), or the name of a register.
class Evaluator {
 public:
  Evaluator(const Registers& in, Memory& memory) : in_(in), memory_(memory) {}
  enum class Kind { address, value, reg };

  bool run(const Dwarf_Op* ops, std::size_t n, const std::uint64_t* cfa, std::uint64_t& result, Kind& kind);
  std::uint64_t bad_address() const { return bad_; }

 private:
  bool push(std::uint64_t v) {
    if (depth_ >= kStack) return false;
    stack_[depth_++] = v;
    return true;
  }
  bool need(std::size_t n) const { return depth_ >= n; }
  std::uint64_t pop() { return stack_[--depth_]; }
  std::uint64_t& top(std::size_t i = 0) { return stack_[depth_ - 1 - i]; }
  bool reg(std::uint64_t n, std::uint64_t& v) const {
    if (n >= kRegs || !in_.has(static_cast<int>(n))) return false;
    v = in_.r[n];
    return true;
  }
  bool deref(std::uint64_t at, std::size_t size, std::uint64_t& v) {
    v = 0;
    if (size == 0 || size > 8) return false;
    if (memory_.read(at, std::as_writable_bytes(std::span(&v, 1)).first(size))) return true;
    bad_ = at;
    return false;
  }
  bool binary(unsigned atom);
  bool step(const Dwarf_Op& op, const std::uint64_t* cfa);

  static constexpr std::size_t kStack = 64;
  const Registers& in_;
  Memory& memory_;
  std::uint64_t stack_[kStack];
  std::size_t depth_ = 0;
  std::uint64_t bad_ = 0;
};

bool Evaluator::binary(unsigned atom) {
  if (!need(2)) return false;
  const std::uint64_t b = pop(), a = pop();
  const auto sa = static_cast<std::int64_t>(a), sb = static_cast<std::int64_t>(b);
  switch (atom) {
    case DW_OP_and:
      return push(a & b);
    case DW_OP_or:
      return push(a | b);
    case DW_OP_xor:
      return push(a ^ b);
    case DW_OP_plus:
      return push(a + b);
    case DW_OP_minus:
      return push(a - b);
    case DW_OP_mul:
      return push(a * b);
    case DW_OP_div:
      return sb != 0 && !(sa == INT64_MIN && sb == -1) && push(static_cast<std::uint64_t>(sa / sb));
    case DW_OP_mod:
      return b != 0 && push(a % b);
    case DW_OP_shl:
      return push(b < 64 ? a << b : 0);
    case DW_OP_shr:
      return push(b < 64 ? a >> b : 0);
    case DW_OP_shra:
      return push(static_cast<std::uint64_t>(sa >> (b < 64 ? b : 63)));
    case DW_OP_eq:
      return push(sa == sb);
    case DW_OP_ne:
      return push(sa != sb);
    case DW_OP_lt:
      return push(sa < sb);
    case DW_OP_le:
      return push(sa <= sb);
    case DW_OP_gt:
      return push(sa > sb);
    case DW_OP_ge:
      return push(sa >= sb);
    default:
      return false;
  }
}

bool Evaluator::step(const Dwarf_Op& op, const std::uint64_t* cfa) {
  std::uint64_t v = 0;
  int r = 0;
  std::int64_t offset = 0;
  if (op.atom >= DW_OP_lit0 && op.atom <= DW_OP_lit31) return push(op.atom - DW_OP_lit0);
  if (is_breg(op, r, offset))
    return reg(static_cast<std::uint64_t>(r), v) && push(v + static_cast<std::uint64_t>(offset));
  switch (op.atom) {
    case DW_OP_const1u:
    case DW_OP_const1s:
    case DW_OP_const2u:
    case DW_OP_const2s:
    case DW_OP_const4u:
    case DW_OP_const4s:
    case DW_OP_const8u:
    case DW_OP_const8s:
    case DW_OP_constu:
    case DW_OP_consts:
      return push(op.number);
    case DW_OP_call_frame_cfa:
      return cfa && push(*cfa);
    case DW_OP_plus_uconst:
      if (!need(1)) return false;
      top() += op.number;
      return true;
    case DW_OP_dup:
      return need(1) && push(top());
    case DW_OP_drop:
      if (!need(1)) return false;
      pop();
      return true;
    case DW_OP_over:
      return need(2) && push(top(1));
    case DW_OP_pick:
      return need(static_cast<std::size_t>(op.number) + 1) && push(top(static_cast<std::size_t>(op.number)));
    case DW_OP_swap:
      if (!need(2)) return false;
      std::swap(top(0), top(1));
      return true;
    case DW_OP_rot:
      if (!need(3)) return false;
      std::swap(top(0), top(1));
      std::swap(top(1), top(2));
      return true;
    case DW_OP_abs:
      if (!need(1)) return false;
      if (static_cast<std::int64_t>(top()) < 0) top() = 0 - top();
      return true;
    case DW_OP_neg:
      if (!need(1)) return false;
      top() = 0 - top();
      return true;
    case DW_OP_not:
      if (!need(1)) return false;
      top() = ~top();
      return true;
    case DW_OP_deref:
    case DW_OP_deref_size:
      return need(1) && deref(pop(), op.atom == DW_OP_deref ? 8 : static_cast<std::size_t>(op.number), v) && push(v);
    case DW_OP_nop:
      return true;
    default:
      return binary(op.atom);
  }
}

bool Evaluator::run(const Dwarf_Op* ops, std::size_t n, const std::uint64_t* cfa, std::uint64_t& result, Kind& kind) {
  depth_ = 0;
  kind = Kind::address;
  std::size_t i = 0;
  for (int steps = 0; i < n; steps++) {
    if (steps > kMaxSteps) return false;
    const Dwarf_Op& op = ops[i];
    if ((op.atom >= DW_OP_reg0 && op.atom <= DW_OP_reg31) || op.atom == DW_OP_regx) {
      kind = Kind::reg;
      return reg(op.atom == DW_OP_regx ? op.number : op.atom - DW_OP_reg0, result);
    }
    if (op.atom == DW_OP_stack_value) {
      kind = Kind::value;
      break;
    }
    if (op.atom == DW_OP_bra || op.atom == DW_OP_skip) {
      if (op.atom == DW_OP_bra && !need(1)) return false;
      if (op.atom == DW_OP_skip || pop() != 0) {
        // The operand counts bytes from the end of this operation, which is 3 bytes long.
        const Dwarf_Word to = op.offset + 3 + static_cast<Dwarf_Word>(static_cast<std::int16_t>(op.number));
        std::size_t target = 0;
        while (target < n && ops[target].offset != to) target++;
        i = target;
        continue;
      }
    } else if (!step(op, cfa)) {
      return false;
    }
    i++;
  }
  if (!need(1)) return false;
  result = top();
  return true;
}

// The CFA as a row can hold it.
void compile_cfa(Dwarf_Frame* frame, CfiRow& row) {
  Dwarf_Op* ops = nullptr;
  std::size_t n = 0;
  int reg = 0;
  std::int64_t offset = 0;
  if (dwarf_frame_cfa(frame, &ops, &n) != 0 || n == 0) return;
  row.cfa = CfiRow::Cfa::expression;
  if (is_breg(ops[0], reg, offset) && fits(offset)) {
    if (n == 1) row.cfa = CfiRow::Cfa::reg_offset;
    if (n == 2 && ops[1].atom == DW_OP_deref) row.cfa = CfiRow::Cfa::deref;
  }
  if (row.cfa == CfiRow::Cfa::expression) {
    row.complex_rules = true;
    return;
  }
  row.cfa_reg = static_cast<std::uint8_t>(reg);
  row.cfa_offset = static_cast<std::int32_t>(offset);
}

// The rule of one register.
void compile_rule(Dwarf_Frame* frame, int n, CfiRow& row) {
  Dwarf_Op mem[3];
  Dwarf_Op* ops = nullptr;
  std::size_t count = 0;
  if (dwarf_frame_register(frame, n, mem, &ops, &count) != 0) {
    row.undefined |= 1u << n;
    return;
  }
  if (count == 0) {
    if (ops == mem)
      row.undefined |= 1u << n;
    else if (n == kRip)
      row.complex_rules = true;
    return;
  }
  const bool from_cfa = ops[0].atom == DW_OP_call_frame_cfa;
  std::int64_t offset = 0;
  std::size_t at = 1;
  if (count > 1 && ops[1].atom == DW_OP_plus_uconst) {
    offset = static_cast<std::int64_t>(ops[1].number);
    at = 2;
  }
  if (from_cfa && at == count && fits(offset) && n != kRsp) {
    row.offset[n] = static_cast<std::int32_t>(offset);
    if (n < 16) row.saved = static_cast<std::uint16_t>(row.saved | 1u << n);
    return;
  }
  const bool is_cfa = from_cfa && offset == 0 && at + 1 == count && ops[at].atom == DW_OP_stack_value;
  if (n == kRsp && is_cfa) return;
  const bool itself =
      count == 1 && ((ops[0].atom >= DW_OP_reg0 && ops[0].atom <= DW_OP_reg31 && ops[0].atom - DW_OP_reg0 == n) ||
                     (ops[0].atom == DW_OP_regx && ops[0].number == static_cast<Dwarf_Word>(n)));
  if (!itself || n == kRip || n == kRsp) row.complex_rules = true;
}

}  // namespace

ModuleCfi::~ModuleCfi() {
  if (eh_) dwarf_cfi_end(eh_);
}

Dwarf_Frame* ModuleCfi::frame(std::uint64_t pc) {
  Elf* elf = files_.elf();
  if (!elf) return nullptr;
  if (!eh_tried_) {
    eh_tried_ = true;
    eh_ = dwarf_getcfi_elf(elf);
  }
  const Dwarf_Addr at = pc - files_.bias();
  Dwarf_Frame* f = nullptr;
  if (eh_ && dwarf_cfi_addrframe(eh_, at, &f) == 0) return f;
  Dwarf* dwarf = files_.dwarf();
  Dwarf_CFI* debug = dwarf ? dwarf_getcfi(dwarf) : nullptr;
  if (debug && dwarf_cfi_addrframe(debug, at, &f) == 0) return f;
  return nullptr;
}

bool ModuleCfi::row(std::uint64_t pc, CfiRow& out) {
  FramePtr f(frame(pc));
  if (!f) return false;
  bool signal = false;
  const int ra = dwarf_frame_info(f.get(), nullptr, nullptr, &signal);
  if (ra != kRip) return false;
  out.signal = signal;
  compile_cfa(f.get(), out);
  for (int n = 0; n < kRegs; n++) compile_rule(f.get(), n, out);
  out.end = out.undefined >> kRip & 1;
  if (out.cfa == CfiRow::Cfa::none && !out.end) return false;
  return true;
}

bool ModuleCfi::unwind(std::uint64_t pc, const Registers& in, Memory& memory, Registers& out,
                       std::uint64_t* bad_address) {
  FramePtr f(frame(pc));
  if (!f) return false;
  Evaluator eval(in, memory);
  const auto fail = [&] {
    if (bad_address) *bad_address = eval.bad_address();
    return false;
  };
  Dwarf_Op* ops = nullptr;
  std::size_t count = 0;
  std::uint64_t cfa = 0;
  Evaluator::Kind kind;
  if (dwarf_frame_cfa(f.get(), &ops, &count) != 0 || count == 0) return false;
  if (!eval.run(ops, count, nullptr, cfa, kind)) return fail();
  out = Registers{};
  for (int n = 0; n < kRegs; n++) {
    Dwarf_Op mem[3];
    if (dwarf_frame_register(f.get(), n, mem, &ops, &count) != 0) continue;
    if (count == 0) {
      if (ops == nullptr && in.has(n)) out.set(n, in.r[n]);
      continue;
    }
    std::uint64_t v = 0;
    bool got = eval.run(ops, count, &cfa, v, kind);
    if (got && kind == Evaluator::Kind::address) {
      const std::uint64_t at = v;
      got = bool(memory.read(at, std::as_writable_bytes(std::span(&v, 1))));
      if (!got && n == kRip) {
        if (bad_address) *bad_address = at;
        return false;
      }
    }
    if (got) out.set(n, v);
  }
  if (!out.has(kRsp)) out.set(kRsp, cfa);
  return out.has(kRip) || fail();
}

}  // namespace vitrine::inspect
