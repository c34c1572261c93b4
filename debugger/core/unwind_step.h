// unwind_step.h: the walk over one stack that Unwinder::walk and the bulk walker's slow path share.
#pragma once
#include <functional>

#include "unwind.h"

namespace vitrine::inspect {

struct StepResult {
  bool ok = false;
  How how = How::start;             // of the caller's frame, when ok
  bool exact = false;               // the caller's pc is an interrupted instruction
  StackEnd end = StackEnd::bottom;  // why not, when not ok
  std::uint64_t bad_address = 0;
};

// The row by which the frame with this pc is unwound; null: no CFI covers it.
const CfiRow* row_of(Program& program, std::uint64_t pc, bool exact);

// Whether what seems to have called the code at a pc was interrupted there by a signal: its pc is no return address.
bool interrupts(Program& program, Memory& memory, std::uint64_t lookup_pc);

// The registers of the caller of a frame; a pc of 0 in them says that there is none. Bounds {0, 0}: unknown.
StepResult unwind_step(Program& program, Memory& memory, const Registers& in, bool exact, StackBounds bounds,
                       Registers& out);

// Gives every frame, the first included, to `frame`; it returns false to end the walk (depth_limit).
struct WalkEnd {
  StackEnd end = StackEnd::bottom;
  std::uint64_t bad_address = 0;
};
WalkEnd walk_stack(Program& program, Memory& memory, Registers regs, bool exact, StackBounds bounds,
                   const std::function<bool(const Frame&)>& frame);

}  // namespace vitrine::inspect
