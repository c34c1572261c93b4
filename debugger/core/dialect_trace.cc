// dialect_trace.cc: see dialect_trace.h. Arguments of functions that a compiler made come from their names or DWARF;
// the tables hold only routines written in assembly.
#include "dialect_trace.h"

#include <array>
#include <string>

namespace vitrine::inspect {
namespace {

constexpr TraceNames::Argument kOurArguments[] = {
    {"gogo", 0, "buf", "gobuf"},  {"gosave", 0, "buf", "gobuf"},  {"mcall", 0, "fn", ""},
    {"systemstack", 0, "fn", ""}, {"systemstack", 1, "arg", ""},  {"gostartcall", 0, "buf", "gobuf"},
    {"gostartcall", 1, "fn", ""}, {"gostartcall", 2, "ctxt", ""},
};
constexpr TraceNames::Argument kGoArguments[] = {
    {"gogo", 0, "buf", "gobuf"},          {"mcall", 0, "fn", ""},         {"systemstack", 0, "fn", ""},
    {"gostartcall", 0, "buf", "gobuf"},   {"gostartcall", 1, "fn", ""},   {"gostartcall", 2, "ctxt", ""},
    {"gostartcallfn", 0, "buf", "gobuf"}, {"gostartcallfn", 1, "fv", ""},
};
constexpr TraceNames::Untyped kGoUntyped[] = {
    {"gobuf", "g", "g"}, {"g", "schedlink", "g"}, {"g", "lockedm", "m"}, {"m", "p", "p"},
    {"m", "nextp", "p"}, {"m", "oldp", "p"},      {"m", "lockedg", "g"}, {"p", "m", "m"},
};

constexpr TraceNames::Other kGoOthers[] = {{"gosave", "gosave_systemstack_switch", ""},
                                           {"gostartcall", "", "gostartcallfn"}};

constexpr std::array<TraceNames, 2> kAll = {{
    {"vitrine",
     "vitrine::rt::",
     "",
     "gobuf",
     "g",
     "sp",
     "pc",
     "bp",
     "g",
     "vitrine_tls_g",
     std::nullopt,
     false,
     kOurArguments,
     {},
     {}},
    {"go", "runtime.", "main.", "gobuf", "g", "sp", "pc", "bp", "g", "runtime.tlsg", -8, true, kGoArguments, kGoUntyped,
     kGoOthers},
}};

}  // namespace

const TraceNames* trace_names(Program& program) {
  for (const TraceNames& names : kAll) {
    if (program.type(std::string(names.prefix) + std::string(names.context))) return &names;
  }
  return nullptr;
}

std::span<const TraceNames> all_trace_names() { return kAll; }

std::string_view usual_name(std::string_view bare_type) {
  if (bare_type == "g") return "gp";
  if (bare_type == "m") return "mp";
  if (bare_type == "p") return "pp";
  if (bare_type == "gobuf") return "buf";
  return {};
}

std::span<const std::string_view> trace_routines() {
  static constexpr std::string_view kRoutines[] = {"gogo",   "mcall",       "systemstack", "gosave",
                                                   "goexit", "gostartcall", "goentry",     "mstart"};
  return kRoutines;
}

}  // namespace vitrine::inspect
