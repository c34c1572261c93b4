// functions.h: what a user may ask inside of an expression — gdb has `$goroutine(17)` of each of these, every host
// `vitrine value goroutine 17`. They read, and answer with a number, a pointer or a text.
//
// Some are asked in a breakpoint's condition, hundreds of times a second and while the host has not said yet that the
// process ran: `goid` and `goroutine_name` without an argument read what they need anew, and no list of goroutines.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "session.h"

namespace vitrine::inspect {

// Where the host asks from.
struct Here {
  std::optional<std::uint64_t> thread_pointer;  // of its current thread; nullopt: the target's current one
  bool moving = false;                          // nothing that was read or selected before need hold any more
};

struct FunctionValue {
  enum class Kind : std::uint8_t { number, pointer, text };
  Kind kind = Kind::number;
  std::uint64_t number = 0;
  std::string text;  // or the type that is pointed to
};

struct FunctionSpec {
  const char* name;
  unsigned least, most;  // arguments
  const char* help;
  Result<FunctionValue> (*call)(Session&, std::span<const std::uint64_t>, const Here&);
};
std::span<const FunctionSpec> function_table();
Result<FunctionValue> call_function(Session& session, std::string_view name, std::span<const std::uint64_t> arguments,
                                    const Here& here);

}  // namespace vitrine::inspect
