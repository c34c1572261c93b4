// decoder.h: x86-64 machine code as plain structures. Capstone is behind this header and nowhere else, so that what it
// gets wrong is put right in one place (decoder.cc lists it).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace vitrine::disasm {

// General registers by their DWARF number.
enum class Reg : std::uint8_t {
  rax,
  rdx,
  rcx,
  rbx,
  rsi,
  rdi,
  rbp,
  rsp,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rip,
  none
};
constexpr int kRegs = 16;  // without rip
const char* name_of(Reg r);
constexpr std::uint32_t bit(Reg r) { return 1u << static_cast<unsigned>(r); }
constexpr int index_of(Reg r) { return static_cast<int>(r); }

// What the interpreter understands; everything else is `other` and only forgets what it writes.
enum class Op : std::uint8_t {
  other,
  mov,
  lea,
  push,
  pop,
  add,
  sub,
  logic_xor,
  compare,
  test,
  exchange,
  call,
  jump,
  branch,
  ret,
  leave,
  nop,
  trap,
  store_control,
  load_control
};

struct Operand {
  enum class Kind : std::uint8_t { reg, imm, mem, other };
  Kind kind = Kind::other;
  std::uint8_t size = 0;  // bytes
  bool read = false, write = false;
  Reg reg = Reg::none;     // reg: the 64-bit register that it is part of; none: an x87, SSE or control register
  bool high_byte = false;  // ah, bh, ch, dh
  std::int64_t imm = 0;    // imm; a jump's or call's target
  Reg base = Reg::none, index = Reg::none;  // mem
  std::uint8_t scale = 1;
  std::int64_t disp = 0;
  enum class Segment : std::uint8_t { none, fs, gs } segment = Segment::none;
};

struct Instruction {
  std::uint64_t address = 0;
  std::uint8_t size = 0;
  std::uint8_t bytes[16] = {};
  Op op = Op::other;
  bool known = false;  // false: no instruction; text is ".byte 0x…"
  std::string text;    // Intel syntax, "mov rdx, [rdi+0x10]"
  std::string mnemonic;
  std::vector<Operand> operands;
  std::uint32_t writes = 0;  // general registers, implied ones included: bit(Reg)
  bool writes_memory = false;
  std::uint64_t end() const { return address + size; }
};

class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  bool usable() const;
  // One instruction at the front of `code`; bytes that are none come back one at a time with known = false.
  Instruction decode(std::span<const std::byte> code, std::uint64_t address);

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace vitrine::disasm
