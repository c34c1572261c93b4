// sched_state.h: the queues, lists and counters of a stopped scheduler, beside the Model's goroutines, Ms and Ps — what
// `info sched`, `info ps`, `info ms` and `info timers` show and `info sched -check` holds against each other.
//
//   1. Words of the one scheduler structure are read when asked for; one that is not described is unknown.
//   2. Each P's ring is read in one piece, each list by its links: bounded, cut where it comes back to itself or cannot
//      be read, and then `problem` says so with the address.
//   3. What the threads of the target do inside the runtime (Actors) comes from their stacks, walked once a command.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model.h"
#include "session.h"
#include "stacks.h"

namespace vitrine::inspect {

struct ListWalk {
  std::vector<std::uint64_t> items;
  std::string problem;  // "" when the whole list was walked
};

// What a P has beyond Processor; same order as Model::processors().
struct ProcessorState {
  std::uint64_t link = 0, runnext = 0, gfree_list = 0;
  std::uint32_t head = 0, tail = 0;
  std::vector<std::uint64_t> ring;    // the queued g's, the next one first
  std::vector<std::uint64_t> beyond;  // slots from the tail on, where a thief puts what it is taking
  std::uint32_t timers_lock = 0, timers_len = 0, timers_zombies = 0;
  std::uint64_t timers_array = 0;
  std::int64_t timers_heaplen = 0, timers_minwhen = 0;
  std::int64_t gfree_n = 0;
  std::optional<std::uint64_t> schedtick, syscalltick, nsteal;
  bool preempt = false;
  bool unread = false;  // some field is unreadable: none of them counts
  std::string error;
  std::uint64_t queued() const { return ring.size() + (runnext != 0); }
  std::int64_t timers_pending() const { return timers_heaplen - timers_zombies; }
};

struct MachineState {
  std::uint64_t oldp = 0, schedlink = 0, mstartfn = 0;
  std::optional<std::int64_t> locks;
  std::optional<std::uint64_t> nsteal, npreempt;
  std::string error;
};

struct TimerState {
  std::uint64_t addr = 0;       // 0: a slot of the heap that holds none, or whose timer is unreadable
  std::uint32_t processor = 0;  // index of the P in whose heap it is
  std::int64_t slot = 0;        // there
  std::int64_t heap_when = 0;   // beside the pointer
  std::int64_t when = 0, period = 0, index = 0;
  std::uint64_t f = 0, arg = 0, pp = 0, goid = 0;
  std::uint32_t kind = 0;
  bool zombie = false;  // stopped, and still in the heap
  std::string error;
  // The heap's time may be earlier than the timer's own.
  std::int64_t due() const { return error.empty() && when ? when : heap_when; }
};

// A thread that is inside the runtime, or an M's.
struct Actor {
  std::uint32_t thread = kNone;   // index in Target::threads()
  std::uint32_t machine = kNone;  // kNone: a thread that is no M
  std::vector<std::string_view>
      functions;  // the runtime's own on its stack, innermost first, as the dialect names them
  std::vector<std::string_view> qualified;  // the same in full
  SourceFrame where;                        // of the user's code, else the innermost of the runtime
  bool user_code = false;                   // the program's own code is on its stack
  bool asleep = false;                      // waits to be woken: moves nothing
  bool starting = false;                    // a new M that has not come to the scheduler yet
  bool cut = false;                         // its stack could not be followed to the end: it may be in other functions
  bool in(std::span<const std::string_view> names) const { return first_of(names) != nullptr; }
  // The innermost of these on its stack; null: none.
  const std::string_view* first_of(std::span<const std::string_view> names) const;
};

class SchedState {
 public:
  SchedState(Session& session, Model& model);

  Model& model() const { return model_; }
  Layout& layout() const { return layout_; }
  std::uint64_t root() const { return sched_; }
  // A word of the scheduler structure; signed ones sign-extended. nullopt: not described, or unreadable (a warning).
  std::optional<std::int64_t> word(F f);
  std::optional<std::int64_t> variable(Root r, std::size_t size, bool is_signed = true);
  const std::vector<ProcessorState>& processors() const { return processors_; }
  const std::vector<MachineState>& machines() const { return machines_; }
  const std::vector<TimerState>& timers();
  const std::vector<Actor>& actors();
  const Actor* actor_of(std::uint32_t machine);  // null: its thread is not known
  bool seen(std::uint32_t machine);              // all that its thread is in is known, or it has none
  // Follows a link field from `head`.
  ListWalk walk(std::uint64_t head, F link, std::string_view what);
  const ListWalk& global_queue();
  const ListWalk& idle_processors();
  const ListWalk& idle_machines();

  std::uint32_t goroutine_at(std::uint64_t g);  // index in the model, kNone: not a live one
  std::uint32_t processor_at(std::uint64_t p) const;
  std::uint32_t machine_at(std::uint64_t m) const;
  std::optional<std::uint32_t> idle_bit(std::int32_t p);  // the P's bit in the mask of idle ones

  std::string goroutine_name(std::uint64_t g);  // "goroutine 17 (g at 0x…)"; dead or foreign memory: "the g at 0x…"
  std::string machine_name(std::uint32_t m);    // "M 3 (thread 1234, m at 0x…)"
  std::string short_machine(std::uint32_t m);   // "M 3 (thread 1234)"
  std::string actor_name(const Actor& a);       // the same, or "thread 1234"
  std::string processor_name(std::uint32_t p);  // "P 1 (p at 0x…)"
  std::string goid_text(std::uint64_t g);       // "17", "0x…" when it is none of ours

  // One word for what an M is doing: running syscall noproc spinning idle waking polling sysmon locked starting blocked
  // scheduling exited.
  std::string machine_state(std::uint32_t m);
  // It has no thread, and a dead g: kept for a thread of C's that calls in.
  bool spare(std::uint32_t m) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void read_processors();
  void read_machines();
  Session& session_;
  Model& model_;
  Layout& layout_;
  std::uint64_t sched_;
  std::vector<ProcessorState> processors_;
  std::vector<MachineState> machines_;
  std::optional<std::vector<TimerState>> timers_;
  std::optional<std::vector<Actor>> actors_;
  std::vector<std::uint32_t> actor_of_;
  std::optional<ListWalk> global_, idle_p_, idle_m_;
  std::unordered_map<std::uint64_t, std::uint32_t> goroutine_at_, processor_at_, machine_at_;
  std::vector<std::string> warnings_;
};

}  // namespace vitrine::inspect
