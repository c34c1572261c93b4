// sched_check_queues.cc: run queues and free lists.
//
//   * A runnable goroutine is in exactly one place: the global queue, one P's ring, or one P's runnext. (A foreign
//     thread's g is in none: it only wakes its thread.)
//   * What is in such a place is runnable.
//   * The global queue ends at its tail and is as long as its counter says; a ring has no more than its slots.
//   * A dead g is on exactly one free list, and the lists hold dead g's only, as many as their counters say.
#include <fmt/format.h>

#include <algorithm>

#include "sched_check.h"
#include "sched_movers.h"
#include "sched_slack.h"

namespace vitrine::inspect {

void SchedCheck::put_queued(std::uint64_t g, const std::string& where) {
  ++result_.queued;
  if (!g) {
    say("queue", fmt::format("an entry of {} is null", where), {});
    return;
  }
  Queued& q = queued_[g];
  if (q.times++) {
    say("queue", fmt::format("{} is in {} and in {}", state_.goroutine_name(g), q.where, where), {g},
        mover(movers::kDestroys));
    return;
  }
  q.where = where;
  std::uint32_t index = state_.goroutine_at(g);
  if (index != kNone && !model_.goroutines()[index].is(Goroutine::unreadable)) {
    const Goroutine& gp = model_.goroutines()[index];
    if (gp.is(Goroutine::foreign)) {
      say("queue", fmt::format("{} stands for a thread and is in {}", state_.goroutine_name(g), where), {g});
    } else if (gp.status != runnable_) {
      say("queue",
          fmt::format("{} is {}, not runnable, and in {}", state_.goroutine_name(g), layout_.g_status(gp.status),
                      where),
          {g});
    }
    return;
  }
  auto status = layout_.get(session_.memory(), g, F::g_atomicstatus);
  if (!status) {
    say("queue", fmt::format("<unreadable {:#x}> is in {}", g, where), {g});
    return;
  }
  say("queue",
      fmt::format("{} is {} and in {}", state_.goroutine_name(g),
                  layout_.g_status(static_cast<std::uint32_t>(*status) & ~layout_.scan_bit()), where),
      {g});
}

void SchedCheck::queues() {
  const bool global = state_.word(F::schedt_runq_head).has_value() && layout_.has(F::g_schedlink);
  const bool local = layout_.has(F::p_runq) && layout_.has(F::p_runqhead) && layout_.has(F::p_runnext);
  if (!global || !local) return;
  const ListWalk& walk = state_.global_queue();
  for (std::uint64_t g : walk.items) put_queued(g, "the global queue");
  std::string busy = sched_locked();
  const std::uint64_t sched = state_.root();
  auto at = [&](F f) { return sched + layout_.place(f).offset; };
  if (!walk.problem.empty()) say("queue", walk.problem, {at(F::schedt_runq_head)}, busy);
  if (auto tail = state_.word(F::schedt_runq_tail)) {
    std::uint64_t last = walk.items.empty() ? 0 : walk.items.back();
    if (static_cast<std::uint64_t>(*tail) != last && walk.problem.empty()) {
      say("queue",
          fmt::format("the global queue's tail is {:#x}, its last goroutine {:#x}", static_cast<std::uint64_t>(*tail),
                      last),
          {at(F::schedt_runq_tail), last}, busy);
    }
  }
  if (auto n = state_.word(F::schedt_runqsize); n && walk.problem.empty()) {
    const std::int64_t ring = layout_.place(F::p_runq).size / 8;
    counter("the global queue's length", at(F::schedt_runqsize), *n, static_cast<std::int64_t>(walk.items.size()), busy,
            stopping_ ? slack::queued_stopped(ring) : slack::queued(ring));
  }
  for (std::uint32_t i = 0; i < state_.processors().size(); ++i) {
    const ProcessorState& p = state_.processors()[i];
    std::string name = fmt::format("P {}", model_.processors()[i].id);
    if (!p.error.empty()) say("queue", p.error, {model_.processors()[i].addr});
    for (std::uint64_t g : p.ring) put_queued(g, name + "'s ring");
    if (p.runnext) put_queued(p.runnext, name + "'s runnext");
  }
  std::vector<std::uint32_t> lost;
  for (std::uint32_t i = 0; i < model_.goroutines().size(); ++i) {
    const Goroutine& g = model_.goroutines()[i];
    if (g.status == runnable_ && !(g.flags & (Goroutine::unreadable | Goroutine::foreign)) && !queued_.count(g.addr))
      lost.push_back(i);
  }
  unqueued(lost);
}

// A thief copies what it takes behind its own ring's tail, then takes it by one exchange, then moves its tail.
std::string SchedCheck::taken_by_thief(std::uint64_t g) {
  for (std::uint32_t i = 0; i < state_.processors().size(); ++i) {
    const std::vector<std::uint64_t>& beyond = state_.processors()[i].beyond;
    if (std::find(beyond.begin(), beyond.end(), g) == beyond.end()) continue;
    std::uint32_t m = state_.machine_at(model_.processors()[i].m);
    if (m == kNone) continue;
    if (std::string who = mover(movers::kThief, m); !who.empty()) return who;
  }
  return {};
}

// Who schedules a goroutine that is locked to another M hands that M its P; the g is on no queue meanwhile.
std::string SchedCheck::handed_to_locked(const Goroutine& g) {
  auto m = model_.locked_to(g);
  if (!m) return {};
  std::uint32_t index = state_.machine_at(*m);
  if (index == kNone) return {};
  const Machine& mp = model_.machines()[index];
  if (mp.lockedg != g.addr || mp.curg || !(mp.nextp || mp.p)) return {};
  return fmt::format("{} is locked to it and was handed a P", state_.short_machine(index));
}

void SchedCheck::unqueued(const std::vector<std::uint32_t>& lost) {
  std::vector<const Actor*> single, many;
  for (const Actor& a : state_.actors()) {
    if (moves(a, movers::kRunnableMany)) {
      many.push_back(&a);
    } else if (moves(a, movers::kRunnable)) {
      single.push_back(&a);
    }
  }
  auto text = [&](const Actor& a) {
    std::string who = mover_text(a, movers::kRunnableMany);
    return who.empty() ? mover_text(a, movers::kRunnable) : who;
  };
  std::vector<std::pair<std::uint32_t, std::string>> rest;
  std::vector<const Actor*> used;
  // First those for which the evidence is certain, so that nobody is left to excuse the others wrongly.
  for (std::uint32_t i : lost) {
    const Goroutine& g = model_.goroutines()[i];
    std::string who;
    for (std::uint32_t m = 0; who.empty() && m < model_.machines().size(); ++m) {
      if (model_.machines()[m].curg == g.addr) who = mover(movers::kCurrent, m);
      if (!who.empty()) used.push_back(state_.actor_of(m));
    }
    if (who.empty()) who = taken_by_thief(g.addr);
    if (who.empty()) who = handed_to_locked(g);
    for (const Actor* a : single) {
      if (!who.empty()) break;
      if (std::find(used.begin(), used.end(), a) != used.end() || !holds(*a, g.addr)) continue;
      who = text(*a);
      used.push_back(a);
    }
    rest.emplace_back(i, std::move(who));
  }
  for (auto& [i, who] : rest) {
    const Goroutine& g = model_.goroutines()[i];
    if (who.empty() && !many.empty()) who = text(*many.front());
    for (const Actor* a : single) {
      if (!who.empty()) break;
      if (std::find(used.begin(), used.end(), a) != used.end()) continue;
      who = text(*a);
      used.push_back(a);
    }
    if (who.empty() && !names_known_) who = mover(movers::kRunnable);
    say("queue", fmt::format("{} is runnable and in no run queue", state_.goroutine_name(g.addr)), {g.addr},
        std::move(who));
  }
}

void SchedCheck::free_lists() {
  if (!layout_.has(F::p_gfree_list) || !layout_.has(F::g_schedlink)) return;
  const std::vector<std::uint64_t>& dead = model_.dead_addresses();
  std::unordered_map<std::uint64_t, std::string> where;
  std::string moved = mover(movers::kFree);
  auto collect = [&](const ListWalk& walk, const std::string& name, const std::string& busy) {
    if (!walk.problem.empty()) say("free", walk.problem, {}, busy);
    for (std::uint64_t g : walk.items) {
      auto [it, fresh] = where.emplace(g, name);
      if (!fresh) say("free", fmt::format("the g at {:#x} is on {} and on {}", g, it->second, name), {g}, busy);
      if (state_.goroutine_at(g) != kNone)
        say("free", fmt::format("{} is not dead and is on {}", state_.goroutine_name(g), name), {g}, busy);
    }
  };
  for (std::uint32_t i = 0; i < state_.processors().size(); ++i) {
    const ProcessorState& p = state_.processors()[i];
    const Processor& pp = model_.processors()[i];
    std::string name = fmt::format("P {}'s free list", pp.id);
    ListWalk walk = state_.walk(p.gfree_list, F::g_schedlink, name);
    // Only its M touches it; when the P has just been taken from that M, whoever is at it counts.
    std::uint32_t m = state_.machine_at(pp.m);
    std::string busy = m == kNone ? moved : mover(movers::kFree, m);
    collect(walk, name, busy);
    counter(name + "'s length", pp.addr + layout_.place(F::p_gfree_n).offset, p.gfree_n,
            static_cast<std::int64_t>(walk.items.size()), busy, slack::kFreeGoroutines);
  }
  std::string held = locked(state_.word(F::schedt_gfree_lock), "the free lists' lock");
  std::int64_t global = 0;
  for (F f : {F::schedt_gfree_stack, F::schedt_gfree_nostack}) {
    ListWalk walk =
        state_.walk(static_cast<std::uint64_t>(state_.word(f).value_or(0)), F::g_schedlink, "the global free list");
    collect(walk, "the global free list", held);
    global += static_cast<std::int64_t>(walk.items.size());
  }
  if (auto n = state_.word(F::schedt_gfree_n))
    counter("the global free list's length", state_.root() + layout_.place(F::schedt_gfree_n).offset, *n, global, held,
            slack::kFreeGoroutines);
  for (std::uint32_t i = 0; i < model_.machines().size(); ++i)
    if (state_.spare(i)) where.emplace(model_.machines()[i].curg, state_.short_machine(i));
  std::size_t excused = 0, movers_now = count_movers(movers::kFree);
  for (std::uint64_t g : dead) {
    if (where.count(g)) continue;
    auto status = layout_.get(session_.memory(), g, F::g_atomicstatus);
    if (!status || (static_cast<std::uint32_t>(*status) & ~layout_.scan_bit()) != dead_) continue;  // never used yet
    // Each thread that is at it carries one at most, who holds the lock too.
    const bool ok = excused < movers_now;
    ++excused;
    say("free", fmt::format("the g at {:#x} is dead and on no free list", g), {g}, ok ? moved : std::string());
  }
}

}  // namespace vitrine::inspect
