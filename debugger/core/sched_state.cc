// sched_state.cc: see sched_state.h. A ring holds at most as many g's as it has slots; a heap is read as far as its
// array is readable and no further than its length claims; a list ends at the first repeated or unreadable link.
#include "sched_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxList = 1 << 24;
constexpr std::int64_t kMaxTimers = 1 << 24;

std::int64_t sign_extend(std::uint64_t v, std::uint32_t size) {
  if (size >= 8) return static_cast<std::int64_t>(v);
  const unsigned shift = 64 - 8 * size;
  return static_cast<std::int64_t>(v << shift) >> shift;
}

}  // namespace

SchedState::SchedState(Session& session, Model& model)
    : session_(session), model_(model), layout_(model.layout()), sched_(model.layout().root(Root::sched)) {
  for (std::size_t i = 0; i < model.processors().size(); ++i)
    processor_at_[model.processors()[i].addr] = static_cast<std::uint32_t>(i);
  for (std::size_t i = 0; i < model.machines().size(); ++i)
    machine_at_[model.machines()[i].addr] = static_cast<std::uint32_t>(i);
  read_processors();
  read_machines();
}

std::optional<std::int64_t> SchedState::word(F f) {
  if (!sched_ || !layout_.has(f)) return std::nullopt;
  auto v = layout_.get(session_.memory(), sched_, f);
  if (v) return sign_extend(*v, layout_.place(f).size);
  warnings_.push_back(fmt::format("{}: {}", field_table()[static_cast<std::size_t>(f)].name(), v.error().message));
  return std::nullopt;
}

std::optional<std::int64_t> SchedState::variable(Root r, std::size_t size, bool is_signed) {
  std::uint64_t at = layout_.root(r), v = 0;
  if (!at || !session_.memory().read(at, std::as_writable_bytes(std::span(&v, 1)).first(size))) return std::nullopt;
  return is_signed ? sign_extend(v, static_cast<std::uint32_t>(size)) : static_cast<std::int64_t>(v);
}

void SchedState::read_processors() {
  Memory& memory = session_.memory();
  for (const Processor& p : model_.processors()) {
    ProcessorState s;
    auto get = [&](F f) -> std::uint64_t {
      auto v = layout_.get(memory, p.addr, f);
      if (v) return *v;
      if (s.error.empty()) s.error = fmt::format("the P at {:#x}: {}", p.addr, v.error().message);
      s.unread = true;
      return 0;
    };
    auto maybe = [&](F f) { return layout_.has(f) ? std::optional(get(f)) : std::nullopt; };
    s.link = get(F::p_link);
    s.runnext = get(F::p_runnext);
    s.gfree_list = get(F::p_gfree_list);
    s.gfree_n = static_cast<std::int32_t>(get(F::p_gfree_n));
    s.head = static_cast<std::uint32_t>(get(F::p_runqhead));
    s.tail = static_cast<std::uint32_t>(get(F::p_runqtail));
    s.timers_lock = static_cast<std::uint32_t>(get(F::p_timers_lock));
    s.timers_len = static_cast<std::uint32_t>(get(F::p_timers_len));
    if (layout_.has(F::p_timers_zombies)) s.timers_zombies = static_cast<std::uint32_t>(get(F::p_timers_zombies));
    s.timers_array = get(F::p_timers_array);
    s.timers_heaplen = static_cast<std::int64_t>(get(F::p_timers_heaplen));
    s.timers_minwhen = static_cast<std::int64_t>(get(F::p_timers_minwhen));
    s.schedtick = maybe(F::p_schedtick);
    s.syscalltick = maybe(F::p_syscalltick);
    s.nsteal = maybe(F::p_nsteal);
    s.preempt = get(F::p_preempt) != 0;
    const FieldPlace& ring = layout_.place(F::p_runq);
    std::uint32_t slots = ring.present ? ring.size / 8 : 0;
    std::vector<std::uint64_t> all(slots);
    if (slots && !memory.read(p.addr + ring.offset, std::as_writable_bytes(std::span(all)))) {
      s.error = fmt::format("the run queue of the P at {:#x} is unreadable", p.addr);
      s.unread = true;
      slots = 0;
    }
    std::uint32_t queued = s.tail - s.head;
    if (queued > slots) {
      if (slots) s.error = fmt::format("the P at {:#x} claims {} queued goroutines in {} slots", p.addr, queued, slots);
      queued = slots;
    }
    for (std::uint32_t i = 0; i < slots; ++i) {
      std::uint64_t g = all[(s.head + i) % slots];
      (i < queued ? s.ring : s.beyond).push_back(g);
    }
    processors_.push_back(std::move(s));
  }
}

void SchedState::read_machines() {
  Memory& memory = session_.memory();
  for (const Machine& m : model_.machines()) {
    MachineState s;
    auto get = [&](F f) -> std::uint64_t {
      auto v = layout_.get(memory, m.addr, f);
      if (v) return *v;
      if (s.error.empty()) s.error = fmt::format("the M at {:#x}: {}", m.addr, v.error().message);
      return 0;
    };
    s.oldp = get(F::m_oldp);
    s.schedlink = get(F::m_schedlink);
    s.mstartfn = get(F::m_mstartfn);
    if (layout_.has(F::m_locks)) s.locks = sign_extend(get(F::m_locks), layout_.place(F::m_locks).size);
    if (layout_.has(F::m_nsteal)) s.nsteal = get(F::m_nsteal);
    if (layout_.has(F::m_npreempt)) s.npreempt = get(F::m_npreempt);
    machines_.push_back(std::move(s));
  }
}

const std::vector<TimerState>& SchedState::timers() {
  if (timers_) return *timers_;
  timers_.emplace();
  // Entries with the time beside the pointer, or only pointers (Go before 1.23).
  const bool pairs = layout_.has(F::timerWhen_timer);
  const std::uint64_t stride = pairs ? layout_.size_of("timerWhen") : 8;
  if (!stride || !layout_.has(F::p_timers_array)) return *timers_;
  const bool closures = layout_.dialect().functions_are_closures();
  Memory& memory = session_.memory();
  std::vector<std::byte> entry(stride);
  for (std::uint32_t i = 0; i < processors_.size(); ++i) {
    const ProcessorState& p = processors_[i];
    std::int64_t n = std::clamp<std::int64_t>(p.timers_heaplen, 0, kMaxTimers);
    for (std::int64_t k = 0; k < n; ++k) {
      if (k % 4096 == 4095 && session_.cancelled()) return *timers_;
      TimerState t;
      t.processor = i;
      t.slot = k;
      std::uint64_t at = p.timers_array + static_cast<std::uint64_t>(k) * stride;
      if (!memory.read(at, entry)) {
        t.error = fmt::format("the timers of P {} are unreadable from slot {} at {:#x} on; {} are claimed",
                              model_.processors()[i].id, k, at, p.timers_heaplen);
        timers_->push_back(std::move(t));
        break;
      }
      std::uint64_t addr = 0;
      if (pairs) {
        addr = layout_.take(entry.data(), F::timerWhen_timer);
        t.heap_when = static_cast<std::int64_t>(layout_.take(entry.data(), F::timerWhen_when));
      } else {
        std::memcpy(&addr, entry.data(), sizeof addr);
      }
      auto get = [&](F f) -> std::uint64_t {
        auto v = layout_.get(memory, addr, f);
        if (!v && t.error.empty()) t.error = fmt::format("the timer at {:#x} is unreadable", addr);
        return v ? *v : 0;
      };
      t.when = static_cast<std::int64_t>(get(F::timer_when));
      t.period = static_cast<std::int64_t>(get(F::timer_period));
      t.index = static_cast<std::int64_t>(get(F::timer_index));
      t.f = get(F::timer_f);
      if (closures && t.f) t.f = memory.get<std::uint64_t>(t.f).value_or(0);
      if (!pairs) t.heap_when = t.when;
      t.arg = get(F::timer_arg);
      t.pp = get(F::timer_pp);
      t.goid = get(F::timer_goid);
      t.kind = static_cast<std::uint32_t>(get(F::timer_kind));
      t.zombie = layout_.has(F::timer_zombie) && get(F::timer_zombie) != 0;
      if (layout_.has(F::timer_state)) {
        const std::uint64_t state = get(F::timer_state);
        t.zombie = t.zombie || layout_.timer_stopped(state);
        if (layout_.has(F::timer_nextwhen) && layout_.timer_moved(state))
          t.when = static_cast<std::int64_t>(get(F::timer_nextwhen));
      }
      t.addr = addr;
      timers_->push_back(std::move(t));
    }
  }
  return *timers_;
}

ListWalk SchedState::walk(std::uint64_t head, F link, std::string_view what) {
  ListWalk walk;
  std::unordered_map<std::uint64_t, bool> seen;
  for (std::uint64_t at = head; at;) {
    if (!seen.emplace(at, true).second) {
      walk.problem = fmt::format("{}: the list comes back to {:#x} after {}", what, at, walk.items.size());
      break;
    }
    if (walk.items.size() == kMaxList) {
      walk.problem = fmt::format("{}: cut after {} entries", what, kMaxList);
      break;
    }
    auto next = layout_.get(session_.memory(), at, link);
    if (!next) {
      walk.problem = fmt::format("{}: {:#x} is unreadable", what, at);
      break;
    }
    walk.items.push_back(at);
    at = *next;
  }
  return walk;
}

const ListWalk& SchedState::global_queue() {
  if (!global_) {
    auto head = layout_.has(F::g_schedlink) ? word(F::schedt_runq_head) : std::nullopt;
    global_ = walk(static_cast<std::uint64_t>(head.value_or(0)), F::g_schedlink, "the global run queue");
  }
  return *global_;
}

const ListWalk& SchedState::idle_processors() {
  if (!idle_p_) {
    auto head = layout_.has(F::p_link) ? word(F::schedt_pidle) : std::nullopt;
    idle_p_ = walk(static_cast<std::uint64_t>(head.value_or(0)), F::p_link, "the list of idle Ps");
  }
  return *idle_p_;
}

const ListWalk& SchedState::idle_machines() {
  if (!idle_m_) {
    auto head = layout_.has(F::m_idlelink) ? word(F::schedt_midle) : std::nullopt;
    idle_m_ = walk(static_cast<std::uint64_t>(head.value_or(0)), F::m_idlelink, "the list of idle Ms");
  }
  return *idle_m_;
}

std::uint32_t SchedState::goroutine_at(std::uint64_t g) {
  if (goroutine_at_.empty()) {
    const auto& all = model_.goroutines();
    for (std::size_t i = 0; i < all.size(); ++i) goroutine_at_[all[i].addr] = static_cast<std::uint32_t>(i);
    goroutine_at_.emplace(0, kNone);
  }
  auto it = goroutine_at_.find(g);
  return it == goroutine_at_.end() ? kNone : it->second;
}

std::uint32_t SchedState::processor_at(std::uint64_t p) const {
  auto it = processor_at_.find(p);
  return it == processor_at_.end() ? kNone : it->second;
}

std::uint32_t SchedState::machine_at(std::uint64_t m) const {
  auto it = machine_at_.find(m);
  return it == machine_at_.end() ? kNone : it->second;
}

std::optional<std::uint32_t> SchedState::idle_bit(std::int32_t p) {
  std::uint64_t mask = layout_.root(Root::idlepMask);
  if (!mask || p < 0) return std::nullopt;
  if (layout_.dialect().masks_are_slices()) {
    auto array = layout_.get(session_.memory(), mask, F::slice_array);
    if (!array || !*array) return std::nullopt;
    mask = *array;
  }
  auto bits = session_.memory().get<std::uint32_t>(mask + static_cast<std::uint64_t>(p) / 32 * 4);
  if (!bits) return std::nullopt;
  return *bits >> (p % 32) & 1;
}

std::string SchedState::goid_text(std::uint64_t g) {
  std::uint32_t i = goroutine_at(g);
  if (i == kNone || model_.goroutines()[i].is(Goroutine::unreadable)) return fmt::format("{:#x}", g);
  return std::to_string(model_.goroutines()[i].goid);
}

std::string SchedState::goroutine_name(std::uint64_t g) {
  std::uint32_t i = goroutine_at(g);
  if (i == kNone || model_.goroutines()[i].is(Goroutine::unreadable)) return fmt::format("the g at {:#x}", g);
  return fmt::format("goroutine {} (g at {:#x})", model_.goroutines()[i].goid, g);
}

std::string SchedState::short_machine(std::uint32_t m) {
  const Machine& mp = model_.machines()[m];
  std::int64_t tid = mp.thread != kNone ? session_.target().threads()[mp.thread].tid : mp.procid;
  return fmt::format("M {} (thread {})", mp.id, tid ? std::to_string(tid) : "not started");
}

std::string SchedState::machine_name(std::uint32_t m) {
  std::string name = short_machine(m);
  name.pop_back();
  return fmt::format("{}, m at {:#x})", name, model_.machines()[m].addr);
}

std::string SchedState::actor_name(const Actor& a) {
  if (a.machine != kNone) return short_machine(a.machine);
  return fmt::format("thread {}", session_.target().threads()[a.thread].tid);
}

std::string SchedState::processor_name(std::uint32_t p) {
  return fmt::format("P {} (p at {:#x})", model_.processors()[p].id, model_.processors()[p].addr);
}

}  // namespace vitrine::inspect
