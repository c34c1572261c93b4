// backtrace.h: our own backtrace of one goroutine, for where no debugger is at hand (vitrine-inspect).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "session.h"

namespace vitrine::inspect {

class Model;
struct Goroutine;

struct Context {
  Registers regs;
  bool exact = false;         // the registers of a thread, not a saved resume point
  std::int64_t tid = 0;       // a host should select this thread instead (0: present regs)
  bool resuming = false;      // its thread is about to jump there
  bool thread_on_g0 = false;  // regs are the saved ones although a thread runs it
};

// Where a goroutine is: its thread's registers, or the saved context.
Context context_of(const Model& model, const Goroutine& g);

// A thread that got its signal while it stood on its scheduling stack: its walk never comes to the goroutine's, whose
// frames are those of the saved context.
void add_saved_context(Unwinder& unwinder, Layout& layout, const Goroutine& g, StackWalk& walk);

// The frames of a walk as a debugger prints them, a line each, inlined ones included.
std::vector<std::string> frame_lines(Program& program, const StackWalk& walk);

// Prints frames, at most `limit` (0: all); negative limit: the outermost ones, as gdb's `bt -3`.
void print_backtrace(Session& session, Model& model, std::uint32_t goroutine, long limit, Sink& sink);

// "goroutine 17 "reader" (waiting: chan receive)"
std::string title(Model& model, std::uint32_t goroutine);

}  // namespace vitrine::inspect
