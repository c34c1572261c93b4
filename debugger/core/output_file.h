// output_file.h: answers that go into a file that the user named.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "commands.h"

namespace vitrine::inspect {

// Writes to `file` what fill gives to its argument. nullopt: all of it is there. Else the outcome, with the reason said:
// the file cannot be made, is not whole, or fill returned false (Ctrl-C), after which there is no file. What is no
// regular file (/dev/null, a pipe) is never removed.
std::optional<Outcome> write_file(const std::string& file, Sink& sink, const std::function<bool(Sink&)>& fill);

}  // namespace vitrine::inspect
