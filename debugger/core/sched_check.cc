// sched_check.cc: what the checks of sched_check.h share: the evidence that something is on its way.
#include "sched_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sched_movers.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint32_t kNoStatus = 0xfffffffe;
constexpr std::size_t kHeldBytes = 2048;  // of stack, from the stack pointer up

}  // namespace

std::size_t SchedChecked::violations() const {
  return static_cast<std::size_t>(std::count_if(findings.begin(), findings.end(),
                                                [](const SchedFinding& f) { return f.transit.empty() && f.certain; }));
}

std::size_t SchedChecked::transits() const {
  return static_cast<std::size_t>(
      std::count_if(findings.begin(), findings.end(), [](const SchedFinding& f) { return !f.transit.empty(); }));
}

SchedCheck::SchedCheck(Session& session, SchedState& state)
    : session_(session), state_(state), model_(state.model()), layout_(state.layout()) {
  auto g = [&](const char* word) { return layout_.g_status_number(word).value_or(kNoStatus); };
  auto p = [&](const char* word) { return layout_.p_status_number(word).value_or(kNoStatus); };
  runnable_ = g("runnable");
  running_ = g("running");
  syscall_ = g("syscall");
  waiting_ = g("waiting");
  dead_ = g("dead");
  p_idle_ = p("idle");
  p_running_ = p("running");
  p_running_known_ = p_running_ != kNoStatus;
  p_syscall_ = p("syscall");
  p_gcstop_ = p("gcstop");
  p_dead_ = p("dead");
}

SchedChecked SchedCheck::run() {
  for (const Actor& a : state_.actors()) names_known_ = names_known_ || !a.functions.empty();
  exiting_ = state_.word(F::schedt_exiting).value_or(0) != 0;
  stopping_ = state_.word(F::schedt_gcwaiting).value_or(0) != 0;
  result_.goroutines = model_.goroutines().size();
  result_.machines = model_.machines().size();
  result_.processors = model_.processors().size();
  queues();
  machine_links();
  processor_links();
  goroutine_links();
  counts();
  timers();
  free_lists();
  result_.cancelled = session_.cancelled();
  return std::move(result_);
}

void SchedCheck::say(const char* kind, std::string text, std::vector<std::uint64_t> addresses, std::string transit) {
  std::erase(addresses, 0);
  result_.findings.push_back(
      {kind, std::move(text), std::move(addresses), std::move(transit), !session_.target().cut()});
}

bool SchedCheck::moves(const Actor& a, Names names) const { return !a.asleep && a.in(names); }

std::string SchedCheck::mover_text(const Actor& a, Names names) {
  for (std::size_t i = 0; i < a.functions.size(); ++i) {
    if (std::find(names.begin(), names.end(), a.functions[i]) != names.end())
      return fmt::format("{} is in {}", state_.actor_name(a), a.qualified[i]);
  }
  return {};
}

std::string SchedCheck::mover(Names names, std::uint32_t machine) {
  for (const Actor& a : state_.actors()) {
    if (machine != kNone && a.machine != machine) continue;
    if (moves(a, names)) return mover_text(a, names);
    if (machine != kNone && a.starting) return fmt::format("{} is starting", state_.actor_name(a));
  }
  if (machine != kNone && !model_.machines()[machine].procid)
    return fmt::format("{} is being made", state_.short_machine(machine));
  if (names_known_) return {};
  // A program without any names: who is awake may be at it, and that is all that can be known.
  for (std::size_t i = 0; i < model_.machines().size(); ++i) {
    const Machine& m = model_.machines()[i];
    if (m.blocked || m.thread == kNone || (machine != kNone && machine != i)) continue;
    return fmt::format("{} is awake, and no function has a name", state_.short_machine(static_cast<std::uint32_t>(i)));
  }
  return {};
}

std::size_t SchedCheck::count_movers(Names names) {
  const auto& all = state_.actors();
  auto n = static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const Actor& a) { return moves(a, names) || a.starting; }));
  for (const Machine& m : model_.machines()) n += !m.procid;
  return !n && !names_known_ ? model_.machines().size() : n;
}

std::string SchedCheck::locked(std::optional<std::int64_t> key, std::string_view which) {
  if (!key || !*key) return {};
  const Actor* inside = nullptr;
  for (const Actor& a : state_.actors()) {
    if (a.asleep || a.functions.empty()) continue;
    const bool counts_locks = a.machine != kNone && state_.machines()[a.machine].locks.value_or(0) > 0;
    if (!inside || counts_locks) inside = &a;
    if (counts_locks) break;
  }
  if (inside)
    return fmt::format("{} is held; {} is in {}", which, state_.actor_name(*inside), inside->qualified.front());
  return names_known_ ? std::string() : fmt::format("{} is held", which);
}

void SchedCheck::counter(std::string_view what, std::uint64_t address, std::int64_t says, std::int64_t counted,
                         const std::string& transit, std::int64_t slack) {
  if (says == counted) return;
  std::int64_t off = says < counted ? counted - says : says - counted;
  say("count", fmt::format("{} says {} (at {:#x}), counted are {}", what, says, address, counted), {address},
      off <= slack ? transit : std::string());
}

bool SchedCheck::holds(const Actor& a, std::uint64_t g) {
  const Registers& regs = session_.target().threads()[a.thread].regs;
  for (int i = 0; i < kRegs; ++i) {
    if (regs.has(i) && regs.r[i] == g) return true;
  }
  if (!regs.has(kRsp)) return false;
  std::array<std::uint64_t, kHeldBytes / 8> words;
  std::size_t got = session_.memory().read_prefix(regs.r[kRsp] & ~7ull, std::as_writable_bytes(std::span(words)));
  return std::find(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(got / 8), g) !=
         words.begin() + static_cast<std::ptrdiff_t>(got / 8);
}

}  // namespace vitrine::inspect
