// values.h: what the interpreter knows of a register or a slot, and a whole machine state made of that.
#pragma once
#include <array>
#include <map>
#include <string>
#include <utility>

#include "facts.h"

namespace vitrine::disasm {

struct Value {
  enum class Kind : std::uint8_t {
    unknown,
    entry,           // what `reg` held when the routine was entered
    return_address,  // of the routine
    stack,           // the entry's stack pointer + number; `name` not empty: another stack's, loaded from `name`
    pointer,         // `name` + number bytes, `name` points to a `type`
    word,            // loaded from `name`; nothing more is known
    constant,        // number
    code,            // the address of code: number
    slot,            // number: distance of a thread-local slot from the thread pointer; `name` is what it holds
  };
  Kind kind = Kind::unknown;
  Reg reg = Reg::none;
  std::int64_t number = 0;
  TypeId type = nullptr;
  std::string name;
  std::optional<std::uint64_t> actual;  // of the goroutine that is looked at

  bool operator==(const Value& o) const {
    return kind == o.kind && reg == o.reg && number == o.number && type == o.type && name == o.name &&
           actual == o.actual;
  }
  bool known() const { return kind != Kind::unknown; }
  bool own_stack() const { return kind == Kind::stack && name.empty(); }
  static Value of(Kind kind, std::int64_t number = 0) {
    Value v;
    v.kind = kind;
    v.number = number;
    return v;
  }
  static Value entry(Reg r) {
    Value v;
    v.kind = Kind::entry;
    v.reg = r;
    return v;
  }
};

struct State {
  using Slot = std::pair<std::string, std::int64_t>;  // which stack, offset from its pointer as loaded (or at entry)
  std::array<Value, kRegs> regs;
  std::map<Slot, Value> frame;
  std::map<std::string, Value> stored;  // by path: what this routine itself has put there
  bool away = false;                    // on another stack than the one it was entered on

  Value& operator[](Reg r) { return regs[static_cast<std::size_t>(r)]; }
  const Value& operator[](Reg r) const { return regs[static_cast<std::size_t>(r)]; }
  // Keeps what both agree on. True: something was lost.
  bool meet(const State& other);
};

// A memory operand with its meaning.
struct Place {
  enum class Kind : std::uint8_t { unknown, frame, member, slot, absolute };
  Kind kind = Kind::unknown;
  std::string name;           // "buf->pc"; "": no better name than its own
  State::Slot at;             // frame
  std::uint64_t address = 0;  // absolute
  TypeId base = nullptr;      // member: the structure, and where in it
  std::string base_name;
  std::int64_t offset = 0;
  Member member;
  std::optional<std::uint64_t> actual;  // the address, when the goroutine's values are known
};

std::string hex(std::uint64_t v);
std::string signed_hex(std::int64_t v);  // "+0x10", "-0x8"

}  // namespace vitrine::disasm
