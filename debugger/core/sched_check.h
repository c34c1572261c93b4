// sched_check.h: holds the scheduler's queues, links and counters against each other: `info sched -check`.
//
// What is checked is written at each check in sched_check*.cc. A disagreement is a violation unless somebody is in the
// middle of the change that makes it: then it is "in transit", and the finding names who, with the evidence — a
// function of the runtime on that thread's stack that makes such changes (sched_movers.h), or a held lock that guards
// what disagrees while some thread is inside the runtime. Threads that sleep in the runtime excuse nothing, so on a
// process at rest the check is exact; where a change involves one goroutine, one thread excuses one goroutine. In a core
// that was cut what is missing may be what would agree: nothing is certain there.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sched_state.h"

namespace vitrine::inspect {

struct SchedFinding {
  const char* kind;  // queue, link, count, timer, free
  std::string text;  // with addresses
  std::vector<std::uint64_t> addresses;
  std::string transit;  // who is at it; "" for a violation, if it is certain
  bool certain = true;
};

struct SchedChecked {
  std::vector<SchedFinding> findings;
  std::size_t goroutines = 0, machines = 0, processors = 0, queued = 0, timers = 0;
  std::size_t violations() const, transits() const;
  bool cancelled = false;
};

class SchedCheck {
 public:
  SchedCheck(Session& session, SchedState& state);
  SchedChecked run();

 private:
  using Names = std::span<const std::string_view>;
  struct Queued {
    std::string where;
    std::size_t times = 0;
  };

  // sched_check.cc
  void say(const char* kind, std::string text, std::vector<std::uint64_t> addresses, std::string transit = {});
  // "M 3 (thread 17) is in vitrine::rt::ready" of an awake thread; the M's own when one is given; "" for none.
  std::string mover(Names names, std::uint32_t machine = kNone);
  std::string mover_text(const Actor& a, Names names);
  bool moves(const Actor& a, Names names) const;
  std::size_t count_movers(Names names);
  std::string locked(std::optional<std::int64_t> key, std::string_view which);
  std::string sched_locked() { return locked(state_.word(F::schedt_lock), "the scheduler's lock"); }
  // A counter against what was counted: off by no more than `movers` threads that are about to set it right.
  void counter(std::string_view what, std::uint64_t address, std::int64_t says, std::int64_t counted,
               const std::string& transit, std::int64_t slack);
  bool holds(const Actor& a, std::uint64_t g);  // in a register or in the frames near its stack pointer

  // sched_check_queues.cc
  void queues();
  void put_queued(std::uint64_t g, const std::string& where);
  void unqueued(const std::vector<std::uint32_t>& lost);
  std::string taken_by_thief(std::uint64_t g);
  std::string handed_to_locked(const Goroutine& g);
  void free_lists();
  // sched_check_links.cc
  void machine_links();
  bool waits_running(std::uint32_t machine);
  void processor_links();
  void goroutine_links();
  void counts();
  // sched_check_timers.cc
  void timers();

  Session& session_;
  SchedState& state_;
  Model& model_;
  Layout& layout_;
  SchedChecked result_;
  std::unordered_map<std::uint64_t, Queued> queued_;
  std::uint32_t runnable_, running_, syscall_, waiting_, dead_;
  std::uint32_t p_idle_, p_running_, p_syscall_, p_gcstop_, p_dead_;
  bool names_known_ = false, exiting_ = false, stopping_ = false, p_running_known_ = false;
};

}  // namespace vitrine::inspect
