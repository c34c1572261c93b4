// session.h: one debugger session as the core sees it — the target with everything that is cached about it, the
// selection, and the actions that a host still has to carry out. Commands get a Session and a Sink and nothing else.
//
// One stop:
//   1. set_stop(id): when the id changed, caches, goroutines, stacks and the selection are dropped; files stay open.
//   2. A command asks for what it needs: model() (goroutines, Ms, Ps), heap(), program(), unwinder(); each is made
//      once a stop.
//   3. What a host must do afterwards (select, execute, show) waits in a queue of actions, made one by one on demand.
//
// A command that a host executes for us (`goroutine apply all -- goroutine stacks`) may call in again: queues nest.
// Single-threaded; worker threads exist only inside walks and only when the target allows it.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"
#include "settings.h"
#include "target.h"
#include "unwind.h"

namespace vitrine::inspect {

class Model;
class Stacks;
class Layout;
class HeapState;
class RunControl;
class Describer;

// Where output goes. out: pieces of the answer; err: whole messages without a newline.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void out(std::string_view text) = 0;
  virtual void err(std::string_view message) = 0;
};

enum class Outcome { ok, error, cancelled, not_ours };

// Something for the host to do; mirrors vi_action.
struct Action {
  enum class Kind { none, select, deselect, execute, show_frame, print };
  Kind kind = Kind::none;
  std::uint64_t goid = 0, g = 0;
  std::int64_t tid = 0;
  Registers regs;
  bool exact = false;  // select: regs' pc is the next instruction, and what lies before it is something else
  // select: the stack pointer of the outermost frame (0: unknown), and rbp as an unwinder wants it that believes in frame
  // pointers where a function begins with `push rbp`, though its callees' rows do not restore it (0: as in regs).
  std::uint64_t outer_sp = 0, link_rbp = 0;
  std::string text;
};

// Makes actions one at a time. done() hears how the last one went, before the next is asked for.
class ActionSource {
 public:
  virtual ~ActionSource() = default;
  virtual Action next() = 0;  // Kind::none: finished
  virtual void done(bool ok, std::string_view message, Sink& sink) = 0;
};

struct Selection {
  bool selected = false;
  std::uint64_t goid = 0, g = 0, stop_id = 0;
};

class Session {
 public:
  Session();
  ~Session();
  Session(const Session&) = delete;

  void set_target(std::unique_ptr<Target> target, std::uint64_t stop_id = 0);
  bool has_target() const { return target_ != nullptr; }
  Target& target() { return *target_; }
  Memory& memory() { return *memory_; }
  Program& program();
  void use_program(std::unique_ptr<Program> program);  // instead of what the target's files say (tests)
  Unwinder& unwinder();
  Result<Layout*> layout();  // error: no runtime of ours in there
  Result<Model*> model();
  Result<Stacks*> stacks();
  Result<HeapState*> heap();
  Describer& describer();
  // The program's file by itself, for what needs no process; null: the host named none, or it cannot be read (why).
  Session* of_file(std::string& why);
  // stopped_at: CLOCK_MONOTONIC, in ns, as the process came to stand still; 0: not known, this is the first that is heard of
  // it.
  void set_stop(std::uint64_t stop_id, std::int64_t stopped_at = 0);
  std::uint64_t stop_id() const { return stop_id_; }

  const Selection& selection() const { return selection_; }
  void select(std::uint64_t goid, std::uint64_t g) { selection_ = {true, goid, g, stop_id_}; }
  void deselect() { selection_ = {}; }

  // Actions. begin_command() opens a queue for one command; next_action() empties it and closes it with Kind::none.
  void begin_command();
  void set_actions(std::unique_ptr<ActionSource> source);
  Action next_action();
  void action_done(bool ok, std::string_view message, Sink& sink);

  // What the host lends besides the target.
  std::function<bool()> cancelled_hook;
  std::function<void(std::string_view)> progress_hook;
  std::function<void(std::uint64_t)> stop_hook;  // tells the target that the stop id changed
  // Asks whether Ctrl-C came. Once it did, and somebody left off for it, it stays so until the next command: a host may
  // say it only once.
  bool cancelled() { return cancelled_ = cancelled_ || (cancelled_hook && cancelled_hook()); }
  bool was_cancelled() const { return cancelled_; }
  // Cut to the terminal's width: a progress line that wraps could not be cleared.
  void progress(std::string_view text) {
    if (progress_hook && settings().progress) progress_hook(width > 1 ? text.substr(0, width - 1) : text);
  }
  // An expression of the user's by the host's evaluator: a pointer's value, else the address of an object, else its
  // value; and its type. nullopt: there is no evaluator or it could not.
  struct Evaluated {
    std::uint64_t value = 0;
    std::string type;
  };
  std::function<std::optional<Evaluated>(const std::string&)> eval_hook;
  RunControl* run_control = nullptr;  // for live tracing only; null: the host cannot let the process run for us
  // A host with frames of its own (gdb, LLDB) shows a selected goroutine; without one we print the backtrace.
  bool host_has_frames = false;
  std::string program_file;    // of a program that does not run yet
  std::int64_t local_pid = 0;  // live and on this machine
  bool moving = false;         // and it runs while we look
  bool incomplete = false;     // an answer lacked something: damaged or missing data
  unsigned width = 0;          // columns; 0: unknown
  // How the host's own backtrace numbers what it is made to show of a goroutine (backtrace.h).
  std::uint32_t first_frame = 0;
  bool counts_inlined = true;  // those of Go
  bool colour = false;

 private:
  bool cancelled_ = false;
  struct Queue {
    std::unique_ptr<ActionSource> source;
    bool waiting = false;    // an action is out, its done() has not come
    bool executing = false;  // and it is an execute: commands may nest in it
  };
  void drop_stop_caches();
  std::vector<std::string> module_names();

  std::unique_ptr<Target> target_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Program> program_;
  std::vector<std::string> program_modules_;
  std::unique_ptr<Layout> layout_;
  std::unique_ptr<Unwinder> unwinder_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Stacks> stacks_;
  std::unique_ptr<HeapState> heap_;
  std::unique_ptr<Describer> describer_;
  std::unique_ptr<Session> file_;
  std::uint64_t stop_id_ = 0;
  std::int64_t stopped_at_ = 0;
  Selection selection_;
  std::vector<Queue> queues_;
};

}  // namespace vitrine::inspect
