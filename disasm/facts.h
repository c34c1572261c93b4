// facts.h: what the annotator asks of its caller: bytes, names, types, CFI. Nothing in this directory knows a runtime;
// which register holds what at a routine's entry, what a thread-local slot means and which structure a saved context is
// come through here, from DWARF or wherever the caller has them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "decoder.h"

namespace vitrine::disasm {

// A structure, as the caller tells them apart; null: not known.
using TypeId = const void*;

// Something typed that a register or a slot holds: a pointer to `to`, or a plain word when `to` is null.
struct Typed {
  std::string name;  // how it is called: "buf", "g"
  TypeId to = nullptr;
  std::string type;                    // for people: "gobuf*"
  std::optional<std::uint64_t> value;  // when one particular goroutine is looked at
};

// What lies at an offset of a structure: the way down to it, outermost field first.
struct Member {
  struct Step {
    TypeId in = nullptr;
    std::string field;         // "" for a wrapper that people do not say (atomic<T>'s value)
    std::uint64_t offset = 0;  // in `in`
  };
  std::vector<Step> steps;
  std::uint64_t rest = 0;     // bytes into the last field
  std::uint64_t size = 0;     // of the last field
  TypeId pointee = nullptr;   // the last field is a pointer to this structure
  bool is_pointer = false;    // to anything
  std::string path() const {  // "sched.pc"
    std::string out;
    for (const Step& s : steps)
      if (!s.field.empty()) out += (out.empty() || s.field[0] == '[' ? "" : ".") + s.field;
    return out;
  }
};

// The CFI row of an instruction, as far as it can be compared. Offsets are from the CFA.
struct CfiFacts {
  bool undefined_pc = false;  // the outermost frame
  bool has_cfa = false;
  Reg cfa_reg = Reg::none;
  std::int64_t cfa_offset = 0;
  struct Rule {
    Reg reg = Reg::none;  // rip: the return address
    bool in_register = false;
    Reg holder = Reg::none;   // in_register
    std::int64_t offset = 0;  // else
  };
  std::vector<Rule> rules;
  std::uint32_t same = 0;  // registers that the row says are still the caller's: bit(Reg)
};

// The structure that a context is saved in, with the fields that play a part in a switch.
struct ContextFacts {
  TypeId type = nullptr;
  std::string name;  // "gobuf"
  struct Role {
    std::string field;
    std::uint64_t offset = 0;
  };
  std::optional<Role> sp, pc, bp, current;
};

class Facts {
 public:
  virtual ~Facts() = default;
  // A prefix of [address, address + out.size()): how many bytes could be read.
  virtual std::size_t code(std::uint64_t address, std::span<std::byte> out) = 0;
  virtual std::optional<Typed> at_entry(Reg) { return std::nullopt; }
  virtual std::optional<Typed> argument_on_stack(std::int64_t) { return std::nullopt; }  // offset from the entry's SP
  // A word relative to the thread pointer.
  virtual std::optional<Typed> thread_local_slot(std::int64_t) { return std::nullopt; }
  virtual std::optional<Member> member(TypeId, std::uint64_t) { return std::nullopt; }
  virtual std::string type_name(TypeId) { return {}; }
  // Where in a structure the context lies: 0 for the context itself.
  virtual std::optional<std::uint64_t> context_in(TypeId) { return std::nullopt; }
  // "name" or "name+0x10"; "": nothing known.
  virtual std::string symbol(std::uint64_t) { return {}; }
  // The routine at a call's target: where it begins and how long it is.
  struct Extent {
    std::uint64_t start = 0, size = 0;
  };
  virtual std::optional<Extent> routine_at(std::uint64_t) { return std::nullopt; }
  virtual std::optional<CfiFacts> cfi(std::uint64_t) { return std::nullopt; }
  virtual const ContextFacts* context() { return nullptr; }
  // Data: a constant of the program (a GOT slot), or a value of the goroutine that is looked at.
  virtual std::optional<std::uint64_t> constant(std::uint64_t) { return std::nullopt; }
  virtual std::optional<std::uint64_t> word(std::uint64_t, std::uint8_t) { return std::nullopt; }
  // "goroutine 17", "stack of goroutine 17"; "": nothing to say about this value.
  virtual std::string about(std::uint64_t) { return {}; }
  // The goroutine that is looked at is parked in here: its registers when it goes on. Else rip is 0.
  struct Resume {
    std::uint64_t pc = 0, sp = 0;
  };
  virtual Resume resume() { return {}; }
  // Registers that hold arguments, in their order; registers that a call leaves alone.
  virtual std::span<const Reg> argument_order() const {
    static constexpr Reg kOrder[] = {Reg::rdi, Reg::rsi, Reg::rdx, Reg::rcx, Reg::r8, Reg::r9};
    return kOrder;
  }
  virtual std::uint32_t preserved() const {
    return bit(Reg::rbx) | bit(Reg::rbp) | bit(Reg::rsp) | bit(Reg::r12) | bit(Reg::r13) | bit(Reg::r14) |
           bit(Reg::r15);
  }
};

}  // namespace vitrine::disasm
