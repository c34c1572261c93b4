// annotate.h: a routine, instruction by instruction, in words; and what it does as a whole.
//
//   1. The routine's bytes are decoded from its start to its end.
//   2. An abstract interpreter follows what each register and stack slot holds, from what the caller knows at the
//      entry, over branches (states that meet keep what they agree on), until nothing changes. A label whose address
//      the routine stores into memory is where a saved context goes on: there the frame is as it was when the stack
//      was left, and everything else is unknown.
//   3. Each instruction gets its sentence from the state in front of it; each store of the stack pointer, of a resume
//      address and so on is noted: that is the layout of the saved context as the code has it.
//   4. That layout is compared with the context's DWARF, and each row of CFI with where the registers really are.
// Work is bounded: so many instructions, so many visits; what was cut is said.
#pragma once
#include <map>

#include "facts.h"
#include "values.h"

namespace vitrine::disasm {

enum class Side : std::uint8_t { own, other, unreached };  // which stack an instruction runs on

struct Note {
  Instruction insn;
  std::string says;     // one clause; "": nothing but what the text says
  std::string heading;  // stands in front of it: a label, another stack
  Side side = Side::unreached;
  std::string stack;  // "CFA-64", or the path that the stack pointer was loaded from
  struct Access {
    std::string path;
    bool write = false;
    std::optional<std::uint64_t> value;
  };
  std::vector<Access> accesses;
};

struct Fact {
  std::string what, where;
  std::uint64_t at = 0;
};

struct Summary {
  std::vector<Fact> saved, restored, switches, current, set, cleared, calls, exits;
  std::vector<std::string> differences;
  bool bottom = false;             // CFI ends every stack here
  std::size_t cfi_rows = 0;        // compared
  std::vector<std::string> agree;  // the context's fields that the code and DWARF agree on
};

struct Routine {
  std::string name;
  std::uint64_t start = 0, size = 0;
  std::vector<std::string> entry;  // "rdi = buf (gobuf*)"
  std::vector<Note> notes;
  Summary summary;
  // Where it goes on when its only way out is a jump to another routine: that one's state is known as well.
  std::optional<std::uint64_t> tail;
  bool tail_only = false;
  State tail_state;
  std::map<std::string, Place> loaded;  // by path: where a value came from, for whoever goes on with it
  std::string cut;                      // why the listing is not whole; "": it is
};

constexpr std::size_t kMaxInstructions = 20000;

// `from`: the routine that jumped here, whose state is the one at the start.
Routine annotate(Facts& facts, std::string name, std::uint64_t start, std::uint64_t size,
                 const Routine* from = nullptr);

}  // namespace vitrine::disasm
