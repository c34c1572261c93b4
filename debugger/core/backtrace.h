// backtrace.h: our own backtrace of one goroutine, for where no debugger is at hand (vitrine-inspect).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session.h"

namespace vitrine::inspect {

class Model;
struct Goroutine;

struct Context {
  Registers regs;
  bool exact = false;         // pc is the instruction that comes next, not a return address
  std::int64_t tid = 0;       // a host should select this thread instead (0: present regs)
  bool resuming = false;      // its thread is about to jump there
  bool thread_on_g0 = false;  // regs are the saved ones although a thread runs it
  bool in_handler = false;    // of a signal its thread is, on a stack for those; or it came from there to g0's
  bool interrupted = false;   // regs are what the handler goes back to
  bool asking = false;        // its thread calls the vDSO for it, on g0's stack; regs are those of who asked for that
  bool live() const { return tid || interrupted; }  // regs are all of a thread's
};

// Where a goroutine is: its thread's registers, those that a signal handler will give back to it, or the saved context.
Context context_of(Unwinder& unwinder, const Model& model, const Goroutine& g);
// Of the stack that it is on; {}: not known, or not the goroutine's.
StackBounds bounds_of(const Context& context, const Goroutine& g);

// A thread that got its signal while it stood on its scheduling stack: its walk never comes to the goroutine's, whose
// frames are those of the saved context.
void add_saved_context(Unwinder& unwinder, Layout& layout, const Goroutine& g, StackWalk& walk);

// The numbers that the host's own backtrace gives to the frames of a walk that began at a context; where functions that
// were inlined count, a frame's are those of its functions, innermost first.
class FrameNumbers {
 public:
  FrameNumbers(Session& session, const Context& context, const StackWalk& walk);
  std::uint32_t inlined(std::size_t frame) const { return numbers_[frame]; }  // of the innermost one
  std::uint32_t real(std::size_t frame) const { return numbers_[frame + 1] - 1; }
  std::optional<std::size_t> find(std::uint64_t number) const;

 private:
  std::vector<std::uint32_t> numbers_;
};

// The frames of a walk as a debugger prints them, a line each, inlined ones included.
std::vector<std::string> frame_lines(Program& program, const StackWalk& walk);

// Prints frames, at most `limit` (0: all); negative limit: the outermost ones, as gdb's `bt -3`.
void print_backtrace(Session& session, Model& model, std::uint32_t goroutine, long limit, Sink& sink);

// "goroutine 17 "reader" (waiting: chan receive)"
std::string title(Model& model, std::uint32_t goroutine);

}  // namespace vitrine::inspect
