// program.h: what the files say — ELF modules, their DWARF and their symbols, found through elfutils. Types and globals
// become the plain structures below; pcs become functions and lines; CFI rows come out compiled for the unwinder.
// Works for C++ (DWARF 4 and 5, separate debug files) and for Go (block-form locations, compressed sections).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.h"
#include "target.h"

namespace vitrine::inspect {

struct Type;

struct Field {
  std::string name;
  std::uint64_t offset = 0;  // bytes from the start of the containing type
  const Type* type = nullptr;
};

struct Enumerator {
  std::string name;
  std::int64_t value = 0;
};

// A type as DWARF describes it, typedefs and qualifiers removed. Owned by the Program.
struct Type {
  enum class Kind { structure, integer, unsigned_integer, boolean, floating, pointer, array, enumeration, other };
  std::string name;  // qualified: "vitrine::rt::g", "runtime.g"
  Kind kind = Kind::other;
  std::uint64_t size = 0;
  std::vector<Field> fields;            // structure
  const Type* element = nullptr;        // pointer (may be null: void) and array
  std::uint64_t count = 0;              // array
  std::vector<Enumerator> enumerators;  // enumeration
  const Field* field(std::string_view name) const;
  const Field* field_at(std::uint64_t offset) const;  // that has this byte, of several the last; null: none has
};

struct Variable {
  std::uint64_t address = 0;  // in the target, bias applied
  const Type* type = nullptr;
};

// One source-level function at a pc: the innermost inlined one first, the real function last.
struct Location {
  std::string function;  // qualified, without parameters: "vitrine::chan<int>::recv", "main::{lambda#1}"
  std::string file;      // as DWARF records it (absolute if it can be known); empty: unknown
  int line = 0;          // 0: unknown
  bool inlined = false;
  bool operator==(const Location&) const = default;
};

// A variable or parameter of a function, and where it is at some pc. No pieces: nowhere, or not known where.
struct Local {
  enum class Place : std::uint8_t { none, cfa, address, reg };
  struct Piece {
    Place place = Place::none;
    std::int64_t at = 0;     // offset from the CFA, address, number of the register
    std::uint64_t size = 0;  // 0: the whole variable
  };
  std::string name;
  const Type* type = nullptr;
  bool parameter = false;
  bool result = false;         // of Go, where results have places of their own
  bool partial = false;        // the piece is of one part of it, and it is not said which
  std::uint32_t function = 0;  // whose it is: an index into what locate() says of the same pc
  std::vector<Piece> pieces;   // in the order of the variable's bytes
};

// How one CFI row finds the caller. Rows are the same for every pc of a range, so they are cached by pc.
struct CfiRow {
  // deref: the CFA is the word at cfa_reg + cfa_offset (functions that realign their stack).
  enum class Cfa : std::uint8_t { none, reg_offset, deref, expression };
  Cfa cfa = Cfa::none;
  bool end = false;      // return address undefined: the outermost frame
  bool signal = false;   // a signal frame: the pc is exact, not a return address
  bool leaves = false;   // what it called is on another stack: the outermost frame, unless it was interrupted itself
  bool borrows = false;  // what it calls is on another stack, and r12 has its own stack pointer then
  bool stays = false;    // who called it, and leaves otherwise, has not left yet
  std::uint8_t cfa_reg = 0;
  std::int32_t cfa_offset = 0;
  std::uint16_t saved = 0;          // bit n (DWARF number): register n was saved at CFA + offset[n]
  std::uint32_t undefined = 0;      // bit n: register n is lost here
  bool complex_rules = false;       // some rule is an expression or register rule: use the slow path
  std::int32_t offset[kRegs] = {};  // [16]: the return address
  bool operator==(const CfiRow&) const = default;
};

class Program {
 public:
  // Reads the target's modules. Never fails as a whole: what could not be opened is in warnings().
  static std::unique_ptr<Program> open(Target& target);
  virtual ~Program() = default;

  virtual const Type* type(std::string_view qualified) = 0;                // null: not there
  virtual std::vector<Variable> variable(std::string_view qualified) = 0;  // usually one
  // The type that a Go program describes to itself at this distance from where such descriptions begin.
  virtual const Type* described_type(std::uint64_t) { return nullptr; }
  // An ELF symbol's address (dynamic or not), 0 when absent; for stripped programs and assembly labels.
  virtual std::uint64_t symbol(std::string_view name) = 0;
  // The variable that an address lies in, by its ELF symbol; name "": none.
  struct Symbol {
    std::string name;  // qualified
    std::uint64_t start = 0, size = 0;
  };
  virtual Symbol data_symbol(std::uint64_t) { return {}; }
  // The integer constants that a unit of that name defines (Go has them where C++ has enumerators).
  virtual std::vector<Enumerator> constants(std::string_view) { return {}; }
  // Functions that CFI says too little of. From now on no frame of an outermost one has a caller, nor one of a leaving
  // one that called something; the caller of an injected one was interrupted: its pc is the next instruction, no return
  // address. A borrowing one keeps its stack pointer in r12 while it is on another stack.
  struct Special {
    std::vector<std::string> outermost, leaving, staying, injected, borrowing;
  };
  virtual void set_special(Special) {}
  // A function as an ELF symbol describes it.
  struct Function {
    std::string symbol;                 // as the file has it: "_ZN7vitrine2rt4gogoEPNS0_5gobufE"
    std::string name;                   // readable, without parameters
    std::uint64_t start = 0, size = 0;  // 0: the symbol has no size, and nothing follows it
  };
  // All of that name, which is a symbol's own or its readable one: the program's, or else those of all libraries. What
  // a compiler has split off a function or made of it beside it is there too.
  virtual std::vector<Function> functions(std::string_view) { return {}; }
  // The one that contains pc; start 0: none.
  virtual Function function_at(std::uint64_t) { return {}; }
  // A thread-local variable of the main program: its distance from the thread pointer. name "": of the program's whole
  // thread-local block. nullopt: there is none of that name.
  virtual std::optional<std::int64_t> thread_local_offset(std::string_view) { return std::nullopt; }
  // True for a word that the loader fills in and nobody writes after that.
  virtual bool in_got(std::uint64_t) { return false; }
  // The section of the file that an address lies in; no name: in none.
  virtual Symbol section(std::uint64_t) { return {}; }
  // The parts of the target that modules can write to: data, bss. {}: not known.
  virtual std::vector<std::pair<std::uint64_t, std::uint64_t>> writable_segments() { return {}; }
  // The descriptor bytes of an ELF note (owner, type) of the main program or a library, with its address in the target.
  struct Note {
    std::uint64_t address;
    std::vector<std::byte> desc;
  };
  virtual std::vector<Note> notes(std::string_view owner, std::uint32_t type) = 0;

  // Source locations of an instruction. For a return address ask for pc - 1. Never empty: an unknown pc gives one
  // Location whose function is "" (or the ELF symbol). Results are cached by pc.
  virtual const std::vector<Location>& locate(std::uint64_t pc) = 0;
  // The declared (not artificial) entry of the function that contains pc; 0: unknown.
  virtual std::uint64_t function_start(std::uint64_t pc) = 0;

  // The variables of all functions at an instruction, inlined ones too: the innermost's first, as locate() has them.
  // called: the instruction is a call that has not returned, so what registers held is lost; what the caller needs
  // after it is then said to be where it will be found.
  virtual std::vector<Local> locals(std::uint64_t, bool /*called*/) { return {}; }

  // The CFI row for an instruction; null when no CFI covers it. Like every function here it may be called from several
  // threads (there is one lock); the row lives as long as the Program.
  virtual const CfiRow* cfi(std::uint64_t pc) = 0;
  // The slow path for rows with expressions: applies the rules with libdw. False: cannot; a memory word that could
  // not be read is then in *bad_address, if given.
  virtual bool unwind_slow(std::uint64_t pc, const Registers& in, Memory& memory, Registers& out,
                           std::uint64_t* bad_address = nullptr) = 0;

  virtual bool has_debug_info() const = 0;  // any module of ours with DWARF
  virtual std::vector<std::string> warnings() const = 0;
  // Which language the unit of pc was written in: "c++", "go", "asm", "c", "".
  virtual std::string language(std::uint64_t pc) = 0;
};

}  // namespace vitrine::inspect
