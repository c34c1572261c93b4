// sched_check_links.cc: who belongs to whom, and what the scheduler counts.
//
//   * m.p and p.m name each other, and that P is running; a P that is idle has no M, is on the idle list or handed to
//     exactly one M (nextp), has nothing queued, and its bit is set; a P let go of for a system call has no M and is
//     remembered (oldp) by one; a stopped P belongs to a world that is stopped or stopping; a dead P is not in allp.
//   * m.curg and g.m name each other, and that g is running or in a system call (or waits for its M: Go's does). A running g has a P unless it lost it
//     to the preemption signal (noproc); one in a system call has none. No other g has an M.
//   * m.g0.m and m.gsignal.m are m; lockedg and lockedm name each other.
//   * An M on the idle list has neither P nor goroutine and does not spin.
//   * Counters are what walks count. After run() has ended Ps and Ms are where they stopped, and only queues are
//     checked.
#include <fmt/format.h>

#include <algorithm>

#include "sched_check.h"
#include "sched_movers.h"
#include "sched_slack.h"

namespace vitrine::inspect {

bool SchedCheck::waits_running(std::uint32_t machine) {
  const Actor* a = state_.actor_of(machine);
  return a && a->in(layout_.dialect().waits_running());
}

void SchedCheck::machine_links() {
  const ListWalk& idle = state_.idle_machines();
  for (std::uint32_t i = 0; i < model_.machines().size(); ++i) {
    const Machine& m = model_.machines()[i];
    const MachineState& ms = state_.machines()[i];
    const std::string name = state_.machine_name(i);
    if (!ms.error.empty()) say("link", ms.error, {m.addr});
    if (m.p) {
      std::uint32_t p = state_.processor_at(m.p);
      if (p == kNone) {
        say("link", fmt::format("{} has the P at {:#x}, which is not in allp", name, m.p), {m.addr, m.p},
            mover(movers::kWorld));
      } else if (const Processor& pp = model_.processors()[p]; pp.m != m.addr) {
        say("link", fmt::format("{} has {}, whose m is {:#x}", name, state_.processor_name(p), pp.m),
            {m.addr, m.p, pp.m}, mover(movers::kProcessor, i));
      } else if (p_running_known_ && pp.status != p_running_ && !(stopping_ && pp.status == p_gcstop_)) {
        say("link", fmt::format("{} has {}, which is {}", name, state_.processor_name(p), layout_.p_status(pp.status)),
            {m.addr, m.p}, mover(movers::kProcessor, i));
      }
    }
    auto back = [&](std::uint64_t g, const char* which) {
      auto found = layout_.get(session_.memory(), g, F::g_m);
      if (found && *found == m.addr) return;
      std::string text = found ? fmt::format("{}: its {} at {:#x} has m {:#x}", name, which, g, *found)
                               : fmt::format("{}: its {} at <unreadable {:#x}>", name, which, g);
      say("link", text, {m.addr, g}, mover(movers::kMachine, i));
    };
    if (layout_.has(F::g_m)) {
      if (m.g0) back(m.g0, "g0");
      if (m.gsignal) back(m.gsignal, "gsignal");
    }
    if (!m.g0) say("link", fmt::format("{} has no g0", name), {m.addr}, mover(movers::kMachine));
    if (m.curg) {
      std::uint32_t g = state_.goroutine_at(m.curg);
      if (g == kNone && state_.spare(i)) {
        // Its g is dead, and on no list, until a thread of C's takes it.
      } else if (g == kNone) {
        say("link", fmt::format("{} runs the g at {:#x}, which is no live goroutine", name, m.curg), {m.addr, m.curg},
            mover(movers::kCurrent, i));
      } else {
        const Goroutine& gp = model_.goroutines()[g];
        if (gp.machine != i)
          say("link",
              fmt::format("{} runs {}, which {}", name, state_.goroutine_name(m.curg),
                          gp.machine == kNone ? "has no m" : "has m of " + state_.machine_name(gp.machine)),
              {m.addr, m.curg}, mover(movers::kCurrent, i));
        if (gp.status != running_ && gp.status != syscall_ && !(gp.status == waiting_ && waits_running(i)))
          say("link",
              fmt::format("{} runs {}, which is {}", name, state_.goroutine_name(m.curg), layout_.g_status(gp.status)),
              {m.addr, m.curg}, mover(movers::kCurrent, i));
        if (layout_.has(F::m_p) && !exiting_) {
          // Where Ps have no status for system calls (Go 1.26) they stay with their M until somebody takes them.
          const bool kept = gp.status == syscall_ && !layout_.p_status_number("syscall");
          const bool without = (gp.status == syscall_ && !kept) || gp.is(Goroutine::noproc);
          if (gp.status == running_ && !without && !m.p)
            say("link", fmt::format("{} runs {} without a P", name, state_.goroutine_name(m.curg)), {m.addr, m.curg},
                mover(movers::kProcessor, i));
          if (without && m.p)
            say("link",
                fmt::format("{} has a P, although {} {}", name, state_.goroutine_name(m.curg),
                            gp.status == syscall_ ? "is in a system call" : "gave it up"),
                {m.addr, m.curg, m.p}, mover(movers::kProcessor, i));
        }
      }
    }
    if (m.lockedg && layout_.has(F::g_lockedm)) {
      auto lockedm = layout_.get(session_.memory(), m.lockedg, F::g_lockedm);
      if (!lockedm || *lockedm != m.addr)
        say("link",
            fmt::format("{} is locked to {}, whose lockedm is {:#x}", name, state_.goroutine_name(m.lockedg),
                        lockedm ? *lockedm : 0),
            {m.addr, m.lockedg}, mover(movers::kLocked, i));
    }
  }
  for (std::uint64_t addr : idle.items) {
    std::uint32_t i = state_.machine_at(addr);
    if (i == kNone) {
      say("link", fmt::format("the M at {:#x} is on the list of idle Ms and not in allm", addr), {addr});
      continue;
    }
    const Machine& m = model_.machines()[i];
    if (m.p || m.curg || m.spinning)
      say("link",
          fmt::format("{} is on the list of idle Ms and {}", state_.machine_name(i),
                      m.p      ? fmt::format("has the P at {:#x}", m.p)
                      : m.curg ? fmt::format("runs the g at {:#x}", m.curg)
                               : std::string("spins")),
          {addr});
  }
  if (!idle.problem.empty()) say("link", idle.problem, {}, sched_locked());
}

void SchedCheck::processor_links() {
  if (!layout_.has(F::p_m)) return;
  const ListWalk& idle = state_.idle_processors();
  const bool listed_known = layout_.has(F::schedt_pidle) && layout_.has(F::p_link) && !exiting_;
  const std::string busy = sched_locked();
  if (!idle.problem.empty()) say("link", idle.problem, {}, busy);
  for (std::uint64_t addr : idle.items) {
    if (state_.processor_at(addr) == kNone)
      say("link", fmt::format("the P at {:#x} is on the list of idle Ps and not in allp", addr), {addr},
          mover(movers::kWorld));
  }
  for (std::uint32_t i = 0; i < model_.processors().size(); ++i) {
    const Processor& p = model_.processors()[i];
    const ProcessorState& ps = state_.processors()[i];
    const std::string name = state_.processor_name(i);
    auto wrong = [&](std::string text, std::string transit, std::uint64_t other = 0) {
      say("link", fmt::format("{} {}", name, text), {p.addr, other}, std::move(transit));
    };
    if (p.m) {
      std::uint32_t m = state_.machine_at(p.m);
      if (m == kNone) {
        wrong(fmt::format("has m {:#x}, which is not in allm", p.m), mover(movers::kMachine), p.m);
      } else if (model_.machines()[m].p != p.addr) {
        std::string who = mover(movers::kProcessor, m);
        if (who.empty()) who = mover(movers::kWorld);
        wrong(fmt::format("has m of {}, whose p is {:#x}", state_.machine_name(m), model_.machines()[m].p),
              std::move(who), p.m);
      }
    }
    const bool listed = std::find(idle.items.begin(), idle.items.end(), p.addr) != idle.items.end();
    auto handed = std::count_if(model_.machines().begin(), model_.machines().end(),
                                [&](const Machine& m) { return m.nextp == p.addr; });
    if (p.status == p_idle_) {
      if (p.m) wrong(fmt::format("is idle and has m {:#x}", p.m), mover(movers::kProcessor), p.m);
      if (listed_known && listed + handed != 1)
        wrong(listed + handed == 0
                  ? std::string("is idle, on no list, and handed to no M")
                  : fmt::format("is idle, {}handed to {} Ms", listed ? "on the idle list and " : "", handed),
              mover(movers::kProcessor));
      if (listed && ps.queued())
        wrong(fmt::format("is on the idle list with {} goroutines queued", ps.queued()), mover(movers::kProcessor));
    } else if (listed) {
      wrong(fmt::format("is on the idle list and {}", layout_.p_status(p.status)), busy);
    }
    if (p.status == p_running_ && !p.m) wrong("is running and has no m", mover(movers::kProcessor));
    if (p.status == p_syscall_) {
      if (p.m)
        wrong(fmt::format("is let go of for a system call and has m {:#x}", p.m), mover(movers::kProcessor), p.m);
      bool remembered = std::any_of(state_.machines().begin(), state_.machines().end(),
                                    [&](const MachineState& m) { return m.oldp == p.addr; });
      if (layout_.has(F::m_oldp) && !remembered)
        wrong("is let go of for a system call by no M", mover(movers::kProcessor));
    }
    if (p.status == p_gcstop_ && !stopping_ && !exiting_)
      wrong("is stopped, and the world is not", mover(movers::kWorld));
    if (p.status == p_dead_) wrong("is dead and in allp", mover(movers::kWorld));
    if (auto bit = state_.idle_bit(p.id); bit && listed_known && *bit != (listed ? 1u : 0u))
      wrong(fmt::format("is {}on the idle list, and its idle bit is {}", listed ? "" : "not ", *bit), busy);
  }
}

void SchedCheck::goroutine_links() {
  if (!layout_.has(F::g_m)) return;
  for (std::size_t i = 0; i < model_.goroutines().size(); ++i) {
    const Goroutine& g = model_.goroutines()[i];
    if (g.is(Goroutine::unreadable)) {
      say("link", fmt::format("<unreadable {:#x}> is in allgs", g.addr), {g.addr});
      continue;
    }
    auto name = [&] { return state_.goroutine_name(g.addr); };
    if (g.is(Goroutine::bad_m)) {
      auto m = layout_.get(session_.memory(), g.addr, F::g_m);
      say("link", fmt::format("{} has m {:#x}, which is not in allm", name(), m ? *m : 0), {g.addr, m ? *m : 0});
      continue;
    }
    const bool on = g.status == running_ || g.status == syscall_;
    if (g.is(Goroutine::foreign)) {
      if (g.machine != kNone)
        say("link", fmt::format("{} stands for a thread and has m of {}", name(), state_.machine_name(g.machine)),
            {g.addr});
      continue;
    }
    if (on && g.machine == kNone) {
      say("link", fmt::format("{} is {} and has no m", name(), layout_.g_status(g.status)), {g.addr},
          mover(movers::kCurrent));
    } else if (on && model_.machines()[g.machine].curg != g.addr) {
      say("link",
          fmt::format("{} is {} on {}, whose curg is {:#x}", name(), layout_.g_status(g.status),
                      state_.machine_name(g.machine), model_.machines()[g.machine].curg),
          {g.addr, model_.machines()[g.machine].addr}, mover(movers::kCurrent, g.machine));
    } else if (!on && g.machine != kNone && model_.machines()[g.machine].curg != g.addr) {
      say("link",
          fmt::format("{} is {} and has m of {}", name(), layout_.g_status(g.status), state_.machine_name(g.machine)),
          {g.addr, model_.machines()[g.machine].addr}, mover(movers::kCurrent, g.machine));
    }
    if (g.is(Goroutine::locked)) {
      auto m = model_.locked_to(g);
      std::uint32_t index = state_.machine_at(m.value_or(0));
      if (index == kNone) {
        say("link", fmt::format("{} is locked to the M at {:#x}, which is not in allm", name(), m.value_or(0)),
            {g.addr, m.value_or(0)}, mover(movers::kMachineEnd));
      } else if (model_.machines()[index].lockedg != g.addr) {
        say("link",
            fmt::format("{} is locked to {}, whose lockedg is {:#x}", name(), state_.machine_name(index),
                        model_.machines()[index].lockedg),
            {g.addr, *m}, mover(movers::kLocked, index));
      }
    }
  }
}

void SchedCheck::counts() {
  const std::string busy = sched_locked();
  auto at = [&](F f) { return state_.root() + layout_.place(f).offset; };
  auto size = [](const ListWalk& w) { return static_cast<std::int64_t>(w.items.size()); };
  if (auto n = state_.word(F::schedt_npidle); n && layout_.has(F::p_link) && !exiting_)
    counter("the number of idle Ps", at(F::schedt_npidle), *n, size(state_.idle_processors()), busy,
            slack::kIdleProcessors);
  if (auto n = state_.word(F::schedt_nmidle); n && layout_.has(F::m_schedlink))
    counter("the number of idle Ms", at(F::schedt_nmidle), *n, size(state_.idle_machines()), busy,
            slack::kIdleMachines);
  if (auto n = state_.word(F::schedt_nmspinning); n && layout_.has(F::m_spinning) && !exiting_) {
    auto spinning =
        std::count_if(model_.machines().begin(), model_.machines().end(), [](const Machine& m) { return m.spinning; });
    std::string who = mover(movers::kSpinning);
    for (std::uint32_t m = 0; who.empty() && m < model_.machines().size(); ++m) {
      const Actor* a = state_.actor_of(m);
      if ((a && a->starting) || !model_.machines()[m].procid) who = mover(movers::kMachine, m);
    }
    counter("the number of spinning Ms", at(F::schedt_nmspinning), *n, spinning, who,
            static_cast<std::int64_t>(count_movers(movers::kSpinning)));
  }
  if (auto n = state_.word(F::schedt_ngsys); n && layout_.has(F::g_issystem)) {
    counter("the number of system goroutines", at(F::schedt_ngsys), *n,
            static_cast<std::int64_t>(model_.system_count()), mover(movers::kProxy),
            static_cast<std::int64_t>(count_movers(movers::kProxy)));
  }
  if (auto n = state_.word(F::schedt_nforeignparked); n && layout_.has(F::g_isforeign)) {
    auto parked = std::count_if(model_.goroutines().begin(), model_.goroutines().end(),
                                [&](const Goroutine& g) { return g.is(Goroutine::foreign) && g.status == waiting_; });
    counter("the number of parked foreign threads", at(F::schedt_nforeignparked), *n, parked, mover(movers::kForeign),
            static_cast<std::int64_t>(count_movers(movers::kForeign)));
  }
  auto made = state_.word(F::schedt_mnext), freed = state_.word(F::schedt_nmfreed);
  if (made && freed) {
    // The first M stays in the list when its thread is given up: run() has to return on it.
    std::int64_t kept = 0;
    for (const Actor& a : state_.actors()) kept += a.asleep && a.machine != kNone && a.in(movers::kMachineEnd);
    std::string who = mover(movers::kMachine);
    counter("the number of Ms made, less those freed,", at(F::schedt_mnext), *made - *freed + kept,
            static_cast<std::int64_t>(model_.machines().size()), who.empty() ? busy : who,
            static_cast<std::int64_t>(count_movers(movers::kMachine)));
  }
}

}  // namespace vitrine::inspect
