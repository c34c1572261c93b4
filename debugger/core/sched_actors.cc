// sched_actors.cc: what the target's threads do inside the runtime, from their stacks; and the one word that says what
// an M is about. The part of sched_state.h that needs functions' names.
//
// Only what lies inside of the user's innermost function counts: below that are the goroutine's entry and whoever
// called it, and no function of the runtime calls the user's code in the middle of a change.
//
// A thread that sleeps in the runtime's own note, or in its poller, or that only watches and is between two looks,
// holds nothing that others could miss: whatever it moved, it moved before. Those are `asleep` and excuse nothing. All
// others may stand between two steps of a change. What a thread begins with is over when it has come to where it stays.
#include <algorithm>

#include "backtrace.h"
#include "layout.h"
#include "sched_state.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kDepth = 96;  // frames; the runtime's are the innermost, or the outermost few of a short stack
constexpr std::string_view kSleep[] = {"notetsleep", "notesleep", "netpoll"};
// Where a thread sleeps says less than what made it sleep.
constexpr std::string_view kDull[] = {"futexsleep", "usleep_", "notetsleep", "notesleep", "mpark"};
constexpr std::string_view kStart[] = {"mstart_thread", "mstart", "mstart1",   "minit",   "minitsignals", "san_m0",
                                       "acquirep",      "wirep",  "mspinning", "gettid_", "sigaltstack"};
constexpr std::string_view kPoll[] = {"pollsleep", "netpoll"};
constexpr std::string_view kSysmon[] = {"sysmon"};
constexpr std::string_view kBegin = "mstart1";
constexpr std::string_view kStay[] = {"schedule", "sysmon", "templateThread"};  // called by kBegin, and never come back
constexpr std::string_view kPause[] = {"usleep_", "sysmon"};                    // the innermost
constexpr std::string_view kAside = "systemstack";  // calls something on another stack, and comes back
constexpr std::string_view kAway = "mcall";         // calls something there, which may go on with another goroutine
constexpr std::string_view kExit[] = {"mexit", "stopforexit"};

}  // namespace

const std::string_view* Actor::first_of(std::span<const std::string_view> names) const {
  for (const std::string_view& f : functions) {
    if (std::find(names.begin(), names.end(), f) != names.end()) return &f;
  }
  return nullptr;
}

const std::vector<Actor>& SchedState::actors() {
  if (actors_) return *actors_;
  actors_.emplace();
  const std::vector<Thread>& threads = session_.target().threads();
  std::vector<std::uint32_t> machine_of(threads.size(), kNone);
  for (std::size_t m = 0; m < model_.machines().size(); ++m) {
    if (std::uint32_t t = model_.machines()[m].thread; t != kNone) machine_of[t] = static_cast<std::uint32_t>(m);
  }
  auto in_library = [&](std::uint64_t pc) {
    const auto& modules = session_.target().modules();
    return std::any_of(modules.begin(), modules.end(),
                       [&](const Module& m) { return pc >= m.lo && pc < m.hi && plumbing_module(m.path); });
  };
  actor_of_.assign(model_.machines().size(), kNone);
  const Dialect& dialect = layout_.dialect();
  for (std::size_t t = 0; t < threads.size(); ++t) {
    if (session_.cancelled()) break;
    Actor a;
    a.thread = static_cast<std::uint32_t>(t);
    a.machine = machine_of[t];
    a.cut = !threads[t].regs.has(kRip) || !threads[t].regs.has(kRsp);
    SourceFrame innermost;
    if (!a.cut) {
      StackWalk walk = session_.unwinder().walk(threads[t].regs, true, {}, kDepth);
      a.cut = walk.end != StackEnd::bottom && walk.end != StackEnd::depth_limit;
      const Machine* m = machine_of[t] == kNone ? nullptr : &model_.machines()[machine_of[t]];
      if (m && m->goroutine != kNone &&
          !walk.frames.empty()) {  // no rows lead from there to the goroutine's own frames
        const Location& outermost = session_.program().locate(walk.frames.back().lookup_pc()).back();
        const std::string_view own = dialect.runtime_function(outermost.function);
        if (own == kAside || (own == kAway && walk.frames.size() == 1))
          add_saved_context(session_.unwinder(), layout_, model_.goroutines()[m->goroutine], walk);
      }
      for (const Frame& f : walk.frames) {
        for (const Location& l : session_.program().locate(f.lookup_pc())) {
          std::string_view own = dialect.runtime_function(l.function);
          // A stub on the way into a library (memset@plt) is nobody's code.
          const bool stub = l.function.ends_with("@plt");
          const bool users =
              a.user_code || (!l.function.empty() && !stub && !dialect.plumbing(l.function) && !in_library(f.pc));
          a.user_code = users;
          if (!own.empty() && !users && !(own == kBegin && a.in(kStay))) {
            a.functions.push_back(own);
            a.qualified.push_back(l.function);
          }
          const bool dull = std::find(std::begin(kDull), std::end(kDull), own) != std::end(kDull);
          SourceFrame here{f.pc, l.function, l.file, l.line, l.inlined};
          if (!own.empty() && !dull && !innermost.valid()) innermost = here;
          if (!a.where.valid() && users && !l.file.empty()) a.where = here;
        }
      }
    }
    bool own_code = a.machine != kNone && model_.machines()[a.machine].curg != 0;
    if (!a.where.valid() || (!own_code && innermost.valid())) a.where = innermost;
    a.asleep = a.in(kSleep) || (a.functions.size() >= std::size(kPause) &&
                                std::equal(std::begin(kPause), std::end(kPause), a.functions.begin()));
    a.starting = a.machine != kNone && !a.functions.empty() &&
                 std::all_of(a.functions.begin(), a.functions.end(), [](std::string_view f) {
                   return std::find(std::begin(kStart), std::end(kStart), f) != std::end(kStart);
                 });
    if (a.machine == kNone && a.functions.empty()) continue;
    if (a.machine != kNone) actor_of_[a.machine] = static_cast<std::uint32_t>(actors_->size());
    actors_->push_back(std::move(a));
  }
  return *actors_;
}

const Actor* SchedState::actor_of(std::uint32_t machine) {
  actors();
  std::uint32_t i = actor_of_[machine];
  return i == kNone ? nullptr : &(*actors_)[i];
}

bool SchedState::seen(std::uint32_t machine) {
  const Actor* a = actor_of(machine);
  return a ? !a->cut : !model_.machines()[machine].procid;
}

bool SchedState::spare(std::uint32_t index) const {
  const Machine& m = model_.machines()[index];
  if (!m.curg || m.procid || m.p) return false;
  const std::vector<std::uint64_t>& dead = model_.dead_addresses();
  return std::find(dead.begin(), dead.end(), m.curg) != dead.end();
}

std::string SchedState::machine_state(std::uint32_t index) {
  const Machine& m = model_.machines()[index];
  const Actor* a = actor_of(index);
  if (m.curg) {
    std::uint32_t g = goroutine_at(m.curg);
    if (g != kNone && model_.in_syscall(model_.goroutines()[g])) return "syscall";
    if (!m.procid && !m.p) return "spare";  // kept for a thread of C's that calls in
    if (!m.p && g != kNone && model_.goroutines()[g].is(Goroutine::noproc)) return "noproc";
    return "running";
  }
  if (m.spinning) return "spinning";
  const std::vector<std::uint64_t>& idle = idle_machines().items;
  if (std::find(idle.begin(), idle.end(), m.addr) != idle.end()) return m.nextp ? "waking" : "idle";
  if (!m.procid) return "starting";
  if (a && a->in(kExit)) return "exited";
  if (a && a->in(kSysmon)) return "sysmon";
  if (a && a->starting) return "starting";
  if (a && a->in(kPoll)) return "polling";
  if (machines_[index].mstartfn) {
    const auto& names = session_.program().locate(machines_[index].mstartfn);
    if (!names.empty() && layout_.dialect().runtime_function(names.back().function) == kSysmon[0]) return "sysmon";
  }
  if (m.lockedg && m.blocked) return "locked";
  if (m.nextp) return "waking";
  if (m.blocked) return "blocked";
  return seen(index) ? "scheduling" : "unknown";
}

}  // namespace vitrine::inspect
