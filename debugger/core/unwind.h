// unwind.h: walks a stack from a saved context or a thread's registers, with CFI rows cached by pc and frame pointers
// where CFI is missing. Reads the target only; every frame says how it was found; never loops (the CFA must grow).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "program.h"
#include "target.h"

namespace vitrine::inspect {

// return_slot: the return address of the frame below lies at its stack pointer: it had jumped to an address without
// code (a call of a null pointer), or is a routine without rows that has pushed nothing.
enum class How : std::uint8_t { start, cfi, frame_pointer, signal, return_slot };

struct Frame {
  std::uint64_t pc = 0;  // for display and lookup use lookup_pc()
  std::uint64_t sp = 0;  // stack pointer in this frame
  How how = How::start;
  bool exact = false;  // pc is the next instruction itself (frame 0 of a thread, after a signal), not a return address
  std::uint64_t lookup_pc() const { return exact || pc == 0 ? pc : pc - 1; }
};

enum class StackEnd : std::uint8_t { bottom, depth_limit, no_rule, unreadable, not_growing, left_stack };

struct StackWalk {
  std::vector<Frame> frames;
  StackEnd end = StackEnd::bottom;
  std::uint64_t bad_address = 0;  // unreadable: what could not be read; not_growing, left_stack: the CFA
  std::string explain() const;    // "" for bottom; else one clause naming the address
};

// Bounds of the stack being walked; {0, 0}: unknown (then only growth is checked).
struct StackBounds {
  std::uint64_t lo = 0, hi = 0;
};

class Unwinder {
 public:
  Unwinder(Program& program, Memory& memory) : program_(program), memory_(memory) {}
  // exact: the start pc is an interrupted instruction (a thread), not a saved resume point.
  StackWalk walk(const Registers& start, bool exact, StackBounds bounds, std::size_t max_depth = 1 << 20);
  // What a thread in a signal handler goes back to, once that is off the stack that handlers run on (one may have
  // interrupted another). nullopt: its frames do not lead there.
  std::optional<Registers> interrupted(const Registers& start, StackBounds handlers);
  // Registers of the caller of a frame; false: there is none, or (bad_address != 0) it cannot be found. When how is
  // signal, the caller's pc is exact.
  bool step(const Registers& in, bool exact, Registers& out, How& how, std::uint64_t& bad_address);

  // Many stacks at once: walks contexts in parallel where the target allows it and calls
  // sink(index, pcs, count, end, bad_address) for each, from several threads; pcs are lookup pcs, valid during the
  // call. Returns false when cancelled; `cancelled` is polled on the calling thread only.
  struct Context {
    std::uint64_t pc, sp, bp;
    StackBounds bounds;
  };
  using BulkSink = std::function<void(std::size_t index, const std::uint64_t* pcs, std::size_t count, StackEnd end,
                                      std::uint64_t bad_address)>;
  // `context` says where the stack of an index begins; it is called once for each, from several threads.
  bool walk_many(std::size_t count, const std::function<Context(std::size_t)>& context, const BulkSink& sink,
                 const std::function<bool()>& cancelled);
  bool walk_many(const std::vector<Context>& contexts, const BulkSink& sink, const std::function<bool()>& cancelled) {
    return walk_many(
        contexts.size(), [&](std::size_t i) { return contexts[i]; }, sink, cancelled);
  }

 private:
  Program& program_;
  Memory& memory_;
};

}  // namespace vitrine::inspect
