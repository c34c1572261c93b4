// model_facts.cc: what can be said about one goroutine of the Model: its words, age, thread, creator, and what is wrong
// with it. Reads that fail make a fact unknown; errors_of says why, with the address.
#include <fmt/format.h>

#include <algorithm>

#include "model.h"
#include "render.h"

namespace vitrine::inspect {

std::string_view Model::status_text(const Goroutine& g) {
  if (g.status < status_texts_.size()) {  // all that there are: a million rows ask
    std::string& text = status_texts_[g.status];
    if (text.empty()) text = layout_.g_status(g.status);
    return text;
  }
  auto [it, fresh] = number_texts_.try_emplace(g.status);
  if (fresh) it->second = layout_.g_status(g.status);
  return it->second;
}

std::string_view Model::wait_text(const Goroutine& g) {
  return waiting(g) ? reason_text(g.wait_reason) : std::string_view();
}

std::string_view Model::reason_text(std::uint32_t reason) {
  if (reason < wait_reasons_.size() && !wait_reasons_[reason].empty()) return wait_reasons_[reason];
  if (reason == 0) return {};
  auto [it, fresh] = number_texts_.try_emplace(0x80000000u + reason);
  if (fresh) it->second = std::to_string(reason);
  return it->second;
}

std::optional<std::int64_t> Model::age(const Goroutine& g) const {
  if (!waiting(g) || g.waitsince <= 0 || now_ <= 0) return std::nullopt;
  return std::max<std::int64_t>(0, now_ - g.waitsince);
}

std::string Model::age_text(std::int64_t age) const {
  return (age_about_ ? "~" : "") + format_duration(age) + (age_at_least_ ? "+" : "");
}

std::optional<std::uint64_t> Model::word(const Goroutine& g, F f) const {
  if (g.is(Goroutine::unreadable) || !layout_.has(f)) return std::nullopt;
  auto v = layout_.get(memory_, g.addr, f);
  if (!v) return std::nullopt;
  return *v;
}

std::string Model::name(const Goroutine& g) const {
  const FieldPlace& place = layout_.place(F::g_name);
  if (!place.present || g.is(Goroutine::unreadable)) return {};
  return memory_.c_string(g.addr + place.offset, place.size).value_or({});
}

std::optional<std::uint64_t> Model::waiting_on(const Goroutine& g) const {
  if (!waiting(g)) return std::nullopt;
  auto v = word(g, F::g_waitobject);
  // Without such a field, a single channel is what g's one sudog is for.
  const bool chan = g.wait_reason < wait_reasons_.size() && wait_reasons_[g.wait_reason].starts_with("chan ");
  if (!layout_.has(F::g_waitobject) && chan) {
    auto sudog = word(g, F::g_waiting);
    if (!sudog || !*sudog) return std::nullopt;
    auto c = layout_.get(memory_, *sudog, F::sudog_c);
    if (c && *c) return *c;
  }
  return v && *v ? v : std::nullopt;
}

std::optional<std::uint64_t> Model::parent(const Goroutine& g) const {
  auto v = word(g, F::g_parentGoid);
  return v && *v ? v : std::nullopt;
}

std::uint64_t Model::labels(const Goroutine& g) const { return word(g, F::g_labels).value_or(0); }

std::optional<std::uint64_t> Model::locked_to(const Goroutine& g) const {
  return g.is(Goroutine::locked) ? word(g, F::g_lockedm) : std::nullopt;
}

std::optional<std::int64_t> Model::foreign_tid(const Goroutine& g) const {
  auto v = g.is(Goroutine::foreign) ? word(g, F::g_foreigntid) : std::nullopt;
  return v && *v ? std::optional(static_cast<std::int64_t>(*v)) : std::nullopt;
}

std::string Model::guard(const Goroutine& g) const {
  auto v = word(g, F::g_guard);
  return v ? layout_.guard(static_cast<std::uint32_t>(*v)) : std::string();
}

const Machine* Model::machine(const Goroutine& g) const { return g.machine == kNone ? nullptr : &machines_[g.machine]; }

const Machine* Model::locked_machine(const Goroutine& g) const {
  auto m = locked_to(g);
  auto it = machine_at_.find(m.value_or(0));
  return it == machine_at_.end() ? nullptr : &machines_[it->second];
}

const Processor* Model::processor(const Machine& m) const {
  for (const Processor& p : processors_) {
    if (m.p && p.addr == m.p) return &p;
  }
  return nullptr;
}

const Thread* Model::thread(const Goroutine& g) const {
  if (auto tid = foreign_tid(g)) {
    for (const Thread& t : memory_.target().threads()) {
      if (t.tid == *tid) return &t;
    }
    return nullptr;
  }
  const Machine* m = machine(g);
  if (!m || m->thread == kNone || m->curg != g.addr) return nullptr;
  return &memory_.target().threads()[m->thread];
}

Standing Model::standing(const Goroutine& g) const {
  const Thread* t = thread(g);
  if (!t || !t->regs.has(kRsp) || !t->regs.has(kRip)) return Standing::no_thread;
  return standing_at(g, t->regs.r[kRsp]);
}

Standing Model::standing_at(const Goroutine& g, std::uint64_t sp) const {
  const Machine* m = machine(g);
  if (g.stack_size && !g.is(Goroutine::bad_stack) && sp >= g.stack_lo && sp < g.stack_hi())
    return Standing::on_goroutine;
  if (!m) return Standing::elsewhere;
  if (m->signal_lo && sp >= m->signal_lo && sp < m->signal_hi) return Standing::on_signal;
  if (m->g0_lo && sp >= m->g0_lo && sp < m->g0_hi) {
    // The vdso works on g0's stack, and goes back to the goroutine's: the thread's frames are the goroutine's.
    const bool asks = g.stack_size && m->vdso_sp > g.stack_lo && m->vdso_sp <= g.stack_hi();
    return asks ? Standing::elsewhere : Standing::on_g0;
  }
  // Just under its stack: it overflowed into the guard.
  if (g.stack_lo && sp < g.stack_lo && g.stack_lo - sp < 1 << 20) return Standing::on_goroutine;
  return Standing::elsewhere;
}

std::optional<Registers> Model::asking(const Goroutine& g, Standing where) const {
  const Machine* m = machine(g);
  if (where != Standing::elsewhere || !m || m->curg != g.addr || g.is(Goroutine::bad_stack)) return std::nullopt;
  if (m->vdso_sp < g.stack_lo || m->vdso_sp > g.stack_hi()) return std::nullopt;
  Registers regs;
  regs.set(kRip, m->vdso_pc);
  regs.set(kRsp, m->vdso_sp);
  return regs;
}

bool Model::resuming(const Goroutine& g) const {
  return standing(g) == Standing::on_goroutine && layout_.resumes(thread(g)->regs.r[kRip]);
}

std::optional<std::uint64_t> Model::stack_used(const Goroutine& g) const {
  if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || !g.stack_size) return std::nullopt;
  std::uint64_t sp = g.sp;
  const Standing where = g.machine != kNone || g.is(Goroutine::foreign) ? standing(g) : Standing::no_thread;
  const bool here = where == Standing::on_goroutine;
  if (here) sp = thread(g)->regs.r[kRsp];
  if (auto asked = asking(g, where)) sp = asked->r[kRsp];
  if (sp > g.stack_hi()) return std::nullopt;
  if (sp < g.stack_lo && !here) return std::nullopt;
  return g.stack_hi() - sp;
}

std::vector<std::string> Model::errors_of(const Goroutine& g) const {
  std::vector<std::string> errors;
  if (g.is(Goroutine::unreadable)) {
    errors.push_back(fmt::format("the g at {:#x} is unreadable", g.addr));
    return errors;
  }
  if (g.is(Goroutine::bad_stack)) {
    errors.push_back(fmt::format("the g at {:#x} has no believable stack: it begins at {:#x}", g.addr, g.stack_lo));
  }
  if (g.is(Goroutine::bad_sp)) {
    errors.push_back(fmt::format("the saved sp {:#x} is not in the stack {:#x}-{:#x}", g.sp, g.stack_lo, g.stack_hi()));
  }
  if (g.is(Goroutine::bad_m)) {
    auto m = word(g, F::g_m);
    errors.push_back(fmt::format("its m {:#x} is not in allm", m.value_or(0)));
  }
  if (running(g) && g.machine != kNone && machines_[g.machine].curg != g.addr) {
    errors.push_back(
        fmt::format("it runs on M{}, whose curg is {:#x}", machines_[g.machine].id, machines_[g.machine].curg));
  }
  return errors;
}

std::size_t Model::matched_threads() const {
  return static_cast<std::size_t>(
      std::count_if(machines_.begin(), machines_.end(), [](const Machine& m) { return m.thread != kNone; }));
}

}  // namespace vitrine::inspect
