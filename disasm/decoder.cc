// decoder.cc: Capstone's answers, put into our structures. What Capstone 4.0.2 says wrongly, corrected here:
//   * `lea` has a memory operand that is marked as read; nothing is read.
//   * `stmxcsr`, `fnstcw` and their kin are marked as reading the memory that they store to.
//   * An operand relative to fs or gs has no base register although its address is not its displacement alone: the
//     segment is kept, and nobody may take such an operand for an absolute address.
//   * `mov` to memory of an immediate is marked read-and-write by some versions: the op says that it only writes.
#include "decoder.h"

#include <capstone/capstone.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vitrine::disasm {
namespace {

struct Part {
  Reg reg;
  bool high = false;
};

Part part_of(unsigned r) {
  switch (r) {
#define FOUR(R, A, B, C, D) \
  case X86_REG_##A:         \
  case X86_REG_##B:         \
  case X86_REG_##C:         \
  case X86_REG_##D:         \
    return {Reg::R};
    FOUR(rax, RAX, EAX, AX, AL)
    FOUR(rbx, RBX, EBX, BX, BL)
    FOUR(rcx, RCX, ECX, CX, CL)
    FOUR(rdx, RDX, EDX, DX, DL)
    FOUR(rsi, RSI, ESI, SI, SIL)
    FOUR(rdi, RDI, EDI, DI, DIL)
    FOUR(rbp, RBP, EBP, BP, BPL)
    FOUR(rsp, RSP, ESP, SP, SPL)
    FOUR(r8, R8, R8D, R8W, R8B)
    FOUR(r9, R9, R9D, R9W, R9B)
    FOUR(r10, R10, R10D, R10W, R10B)
    FOUR(r11, R11, R11D, R11W, R11B)
    FOUR(r12, R12, R12D, R12W, R12B)
    FOUR(r13, R13, R13D, R13W, R13B)
    FOUR(r14, R14, R14D, R14W, R14B)
    FOUR(r15, R15, R15D, R15W, R15B)
#undef FOUR
    case X86_REG_AH:
      return {Reg::rax, true};
    case X86_REG_BH:
      return {Reg::rbx, true};
    case X86_REG_CH:
      return {Reg::rcx, true};
    case X86_REG_DH:
      return {Reg::rdx, true};
    case X86_REG_RIP:
    case X86_REG_EIP:
      return {Reg::rip};
    default:
      return {Reg::none};
  }
}

Op op_of(unsigned id) {
  switch (id) {
    case X86_INS_MOV:
    case X86_INS_MOVABS:
      return Op::mov;
    case X86_INS_LEA:
      return Op::lea;
    case X86_INS_PUSH:
      return Op::push;
    case X86_INS_POP:
      return Op::pop;
    case X86_INS_ADD:
      return Op::add;
    case X86_INS_SUB:
      return Op::sub;
    case X86_INS_XOR:
      return Op::logic_xor;
    case X86_INS_CMP:
      return Op::compare;
    case X86_INS_TEST:
      return Op::test;
    case X86_INS_XCHG:
      return Op::exchange;
    case X86_INS_LEAVE:
      return Op::leave;
    case X86_INS_NOP:
    case X86_INS_ENDBR64:
    case X86_INS_PAUSE:
      return Op::nop;
    case X86_INS_UD2:
    case X86_INS_INT3:
    case X86_INS_HLT:
      return Op::trap;
    case X86_INS_STMXCSR:
    case X86_INS_FNSTCW:
      return Op::store_control;
    case X86_INS_LDMXCSR:
    case X86_INS_FLDCW:
      return Op::load_control;
    default:
      return Op::other;
  }
}

// "mov rdx, qword ptr [rdi + 0x10]" → "mov rdx, [rdi+0x10]": the size is told by the register, or kept as one word.
std::string written(const cs_insn& in, const std::vector<Operand>& operands) {
  std::string text = in.mnemonic;
  if (!*in.op_str) return text;
  std::string ops = in.op_str;
  bool has_register = false;
  for (const Operand& o : operands) has_register = has_register || o.kind == Operand::Kind::reg;
  auto replace = [&](std::string_view from, std::string_view to) {
    for (std::size_t at; (at = ops.find(from)) != ops.npos;) ops.replace(at, from.size(), to);
  };
  replace(" ptr ", has_register || op_of(in.id) == Op::lea ? "\x01" : " ");
  for (std::size_t at; (at = ops.find('\x01')) != ops.npos;) {
    std::size_t begin = ops.find_last_of(" ,", at);
    begin = begin == ops.npos ? 0 : begin + 1;
    ops.erase(begin, at + 1 - begin);
  }
  replace(" + ", "+");
  replace(" - ", "-");
  replace("*1]", "]");
  // An offset from a segment's base is signed.
  if (std::size_t at = ops.find("s:[0x"); at != ops.npos) {
    char* end = nullptr;
    const auto v = static_cast<std::int64_t>(std::strtoull(ops.c_str() + at + 3, &end, 16));
    char offset[24];
    std::snprintf(offset, sizeof offset, v > -10 ? "-%llx" : "-0x%llx", 0 - static_cast<unsigned long long>(v));
    if (v < 0 && *end == ']') ops.replace(at + 3, static_cast<std::size_t>(end - ops.c_str()) - at - 3, offset);
  }
  return text + " " + ops;
}

}  // namespace

const char* name_of(Reg r) {
  static const char* const names[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8",
                                      "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip", "?"};
  return names[static_cast<unsigned>(r)];
}

struct Decoder::Engine {
  csh handle = 0;
  cs_insn* insn = nullptr;
};

Decoder::Decoder() : engine_(std::make_unique<Engine>()) {
  if (cs_open(CS_ARCH_X86, CS_MODE_64, &engine_->handle) != CS_ERR_OK) {
    engine_->handle = 0;
    return;
  }
  cs_option(engine_->handle, CS_OPT_DETAIL, CS_OPT_ON);
  engine_->insn = cs_malloc(engine_->handle);
}

Decoder::~Decoder() {
  if (engine_->insn) cs_free(engine_->insn, 1);
  if (engine_->handle) cs_close(&engine_->handle);
}

bool Decoder::usable() const { return engine_->insn != nullptr; }

namespace {

Operand operand_of(const cs_x86_op& from, Op op) {
  Operand o;
  o.size = from.size;
  o.read = from.access & CS_AC_READ;
  o.write = from.access & CS_AC_WRITE;
  switch (from.type) {
    case X86_OP_REG: {
      Part p = part_of(from.reg);
      o.kind = p.reg == Reg::none ? Operand::Kind::other : Operand::Kind::reg;
      o.reg = p.reg;
      o.high_byte = p.high;
      break;
    }
    case X86_OP_IMM:
      o.kind = Operand::Kind::imm;
      o.imm = from.imm;
      break;
    case X86_OP_MEM:
      o.kind = Operand::Kind::mem;
      o.base = part_of(from.mem.base).reg;
      o.index = part_of(from.mem.index).reg;
      o.scale = static_cast<std::uint8_t>(from.mem.scale);
      o.disp = from.mem.disp;
      if (from.mem.segment == X86_REG_FS) o.segment = Operand::Segment::fs;
      if (from.mem.segment == X86_REG_GS) o.segment = Operand::Segment::gs;
      if (op == Op::lea || op == Op::nop) o.read = o.write = false;
      if (op == Op::store_control) {
        o.read = false;
        o.write = true;
      }
      break;
    default:
      break;
  }
  return o;
}

}  // namespace

Instruction Decoder::decode(std::span<const std::byte> code, std::uint64_t address) {
  Instruction out;
  out.address = address;
  const std::uint8_t* bytes = reinterpret_cast<const std::uint8_t*>(code.data());
  std::size_t left = code.size();
  std::uint64_t at = address;
  cs_insn* in = engine_->insn;
  if (!in || code.empty() || !cs_disasm_iter(engine_->handle, &bytes, &left, &at, in)) {
    out.size = 1;
    if (!code.empty()) out.bytes[0] = static_cast<std::uint8_t>(code[0]);
    char text[16];
    std::snprintf(text, sizeof text, ".byte 0x%02x", out.bytes[0]);
    out.text = text;
    return out;
  }
  out.known = true;
  out.size = static_cast<std::uint8_t>(in->size);
  std::memcpy(out.bytes, in->bytes, in->size < sizeof out.bytes ? in->size : sizeof out.bytes);
  out.mnemonic = in->mnemonic;
  out.op = op_of(in->id);
  const cs_detail* detail = in->detail;
  if (in->id == X86_INS_INT && detail->x86.op_count == 1 && detail->x86.operands[0].imm == 3) out.op = Op::trap;
  for (unsigned i = 0; i < detail->groups_count; ++i) {
    if (detail->groups[i] == CS_GRP_CALL) out.op = Op::call;
    if (detail->groups[i] == CS_GRP_RET) out.op = Op::ret;
    if (detail->groups[i] == CS_GRP_JUMP) out.op = in->id == X86_INS_JMP ? Op::jump : Op::branch;
  }
  for (unsigned i = 0; i < detail->x86.op_count; ++i) {
    out.operands.push_back(operand_of(detail->x86.operands[i], out.op));
    const Operand& o = out.operands.back();
    if (o.kind == Operand::Kind::mem && o.write) out.writes_memory = true;
  }
  if (out.op == Op::mov && out.operands.size() == 2) {
    Operand& to = out.operands[0];
    to.write = true;
    to.read = false;
    out.writes_memory = to.kind == Operand::Kind::mem;
    // A segment or control register in a `mov` is nothing that we follow.
    if (to.kind == Operand::Kind::other || out.operands[1].kind == Operand::Kind::other) out.op = Op::other;
  }
  // A `rep` or `lock` prefix makes another instruction of it than the interpreter thinks.
  if (detail->x86.prefix[0] && out.op != Op::nop && out.op != Op::ret && out.op != Op::jump && out.op != Op::branch &&
      out.op != Op::call)
    out.op = Op::other;
  cs_regs read, written_regs;
  std::uint8_t nread = 0, nwritten = 0;
  if (cs_regs_access(engine_->handle, in, read, &nread, written_regs, &nwritten) == CS_ERR_OK) {
    for (unsigned i = 0; i < nwritten; ++i) {
      Reg r = part_of(written_regs[i]).reg;
      if (index_of(r) < kRegs) out.writes |= bit(r);
    }
  }
  out.text = written(*in, out.operands);
  return out;
}

}  // namespace vitrine::disasm
