// commands_trace.h: what `trace` takes of a debugger's command of the same name.
#pragma once
#include "commands.h"

namespace vitrine::inspect {

// True for words behind `trace` that are ours; first: the first of them.
bool claims_trace(const Line& line, std::size_t first);

}  // namespace vitrine::inspect
