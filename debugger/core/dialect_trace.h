// dialect_trace.h: what the annotator must be told about a runtime, because no DWARF says it: which structure a context
// is saved in, which thread-local variable holds the current g, and what its routines in assembly are called with.
#pragma once
#include <optional>
#include <span>
#include <string_view>

#include "program.h"

namespace vitrine::inspect {

struct TraceNames {
  std::string_view runtime;     // "vitrine", "go"
  std::string_view prefix;      // of its functions and types: "vitrine::rt::"
  std::string_view own_prefix;  // of the user's functions; "": they need none
  std::string_view context, g;
  std::string_view sp, pc, bp, owner;      // fields of the context
  std::string_view current_g;              // symbol of the thread-local variable
  std::optional<std::int64_t> usual_slot;  // where it is when there is no such symbol
  bool go_abi = false;  // arguments in rax rbx rcx …, or on the stack for symbols that end in .abi0

  // The nth argument of a routine. type "": a plain word.
  struct Argument {
    std::string_view routine;
    int n;
    std::string_view name, type;
  };
  std::span<const Argument> arguments;
  // Fields that are integers to the compiler (to keep the collector off) and pointers in truth.
  struct Untyped {
    std::string_view in, field, to;
  };
  std::span<const Untyped> untyped;
  // A routine that this runtime has under another symbol; symbol "": only as a part of one that calls it.
  struct Other {
    std::string_view routine, symbol, in;
  };
  std::span<const Other> others;
};

// Of the program; null: no runtime's types are in its DWARF.
const TraceNames* trace_names(Program& program);
// What a routine of any runtime's can be called, where no DWARF says whose the program is.
std::span<const TraceNames> all_trace_names();
// How a pointer to a structure of a runtime is commonly called: "g" → "gp"; "": by its type.
std::string_view usual_name(std::string_view bare_type);
// The words of `trace` that are routines of a runtime, so that a debugger's own `trace` keeps all others.
std::span<const std::string_view> trace_routines();

}  // namespace vitrine::inspect
