// sentences.h: one instruction in words, from the state in front of it.
#pragma once
#include <string>

#include "machine.h"

namespace vitrine::disasm {

// `after`: the state behind it, for what moves SP.
std::string sentence(Machine& machine, Facts& facts, const State& before, const State& after, const Instruction& in);

// The name of a memory operand: its path, "[CFA-0x18]" for the frame, "" when nothing is known.
std::string place_text(Machine& machine, const Place& p);

}  // namespace vitrine::disasm
