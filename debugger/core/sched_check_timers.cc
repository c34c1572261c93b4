// sched_check_timers.cc: the timer heap of each P, which the P's timers.lock guards.
//
//   * len is the heap's length less its zombies (timers that were stopped), or where no timer is marked as one (Go) the
//     heap's length; minWhen the time of its first timer, 0 when
//     it has none. A heap does not consist of zombies.
//   * No time in the 4-ary heap is before its parent's, and none is later than the timer's own.
//   * Each timer names the P and the slot that it is in.
#include <fmt/format.h>

#include <algorithm>

#include "sched_check.h"
#include "sched_movers.h"
#include "sched_slack.h"

namespace vitrine::inspect {

void SchedCheck::timers() {
  if (!layout_.has(F::p_timers_array) || !layout_.has(F::p_timers_heaplen) || !layout_.size_of("timerWhen")) return;
  const bool linked = layout_.has(F::timer_pp);  // a timer says in which heap it is
  const std::vector<TimerState>& all = state_.timers();
  result_.timers = all.size();
  std::size_t next = 0;
  for (std::uint32_t i = 0; i < state_.processors().size(); ++i) {
    const ProcessorState& p = state_.processors()[i];
    const Processor& pp = model_.processors()[i];
    const std::size_t first = next;
    while (next < all.size() && all[next].processor == i) ++next;
    std::string busy = locked(p.timers_lock, fmt::format("P {}'s timers lock", pp.id));
    if (busy.empty() && stopping_) busy = mover(movers::kTimers);
    auto at = [&](F f) { return pp.addr + layout_.place(f).offset; };
    auto wrong = [&](std::string text, std::vector<std::uint64_t> where) {
      say("timer", std::move(text), std::move(where), busy);
    };
    if (layout_.has(F::p_timers_len))
      counter(fmt::format("P {}'s number of timers", pp.id), at(F::p_timers_len), p.timers_len,
              layout_.has(F::timer_zombie) ? p.timers_pending() : p.timers_heaplen, busy,
              stopping_ ? slack::kTimersMoved : slack::timers(p.timers_zombies));
    const std::size_t zombies = static_cast<std::size_t>(std::count_if(all.begin() + static_cast<std::ptrdiff_t>(first),
                                                                       all.begin() + static_cast<std::ptrdiff_t>(next),
                                                                       [](const TimerState& t) { return t.zombie; }));
    if (layout_.has(F::timer_zombie) && layout_.has(F::p_timers_zombies) &&
        (p.timers_zombies != zombies || (zombies && zombies == next - first)))
      wrong(fmt::format("P {}'s timers.zombies says {} (at {:#x}), its heap has {} among {}", pp.id, p.timers_zombies,
                        at(F::p_timers_zombies), zombies, next - first),
            {at(F::p_timers_zombies)});
    const std::int64_t least = first < next ? all[first].heap_when : 0;
    if (layout_.has(F::p_timers_minwhen) && p.timers_minwhen != least)
      wrong(fmt::format("P {}'s timers.minWhen is {} (at {:#x}), its first timer's {}", pp.id, p.timers_minwhen,
                        at(F::p_timers_minwhen), least),
            {at(F::p_timers_minwhen)});
    for (std::size_t k = first; k < next; ++k) {
      const TimerState& t = all[k];
      if (!t.error.empty()) {
        wrong(t.error, {t.addr});
        continue;
      }
      const std::string name = fmt::format("the timer at {:#x} in slot {} of P {}", t.addr, t.slot, pp.id);
      if (t.slot > 0) {
        const TimerState& parent = all[first + static_cast<std::size_t>((t.slot - 1) / 4)];
        if (t.heap_when < parent.heap_when)
          wrong(fmt::format("{} is due at {}, before its parent ({})", name, t.heap_when, parent.heap_when),
                {t.addr, parent.addr});
      }
      if (linked && !t.zombie && t.when < t.heap_when)  // Go ≥ 1.23 puts a change into the heap later
        wrong(fmt::format("{} is due at {}, the heap says {}", name, t.when, t.heap_when), {t.addr});
      if (linked && t.pp != pp.addr) wrong(fmt::format("{} says that its P is at {:#x}", name, t.pp), {t.addr, t.pp});
      if (layout_.has(F::timer_index) && t.index != t.slot)
        wrong(fmt::format("{} says that it is in slot {}", name, t.index), {t.addr});
    }
  }
}

}  // namespace vitrine::inspect
