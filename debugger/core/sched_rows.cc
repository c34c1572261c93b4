// sched_rows.cc: see sched_rows.h: the rows of Ps and Ms.
#include "sched_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "render.h"

namespace vitrine::inspect {
namespace {

enum PColumn : int {
  kId,
  kStatus,
  kM,
  kG,
  kRunq,
  kTimers,
  kSchedtick,
  kSyscalltick,
  kQueue,
  kRunnext,
  kNext,
  kFree,
  kStolen,
  kPreempt,
  kAddr
};
constexpr ColumnSpec kProcessorColumns[] = {
    {"id", "ID", ColumnType::number, true, false, "its number"},
    {"status", "STATUS", ColumnType::text, false, false, "idle running syscall gcstop dead"},
    {"m", "M", ColumnType::number, true, false, "the M that has it"},
    {"g", "G", ColumnType::number, true, false, "the goroutine that runs on it", "goid"},
    {"runq", "RUNQ", ColumnType::number, true, false, "goroutines queued, runnext included"},
    {"timers", "TIMERS", ColumnType::number, true, false, "timers in its heap"},
    {"schedtick", "SCHEDTICK", ColumnType::number, true, false, "time slices begun"},
    {"syscalltick", "SYSCALLTICK", ColumnType::number, true, false, "system calls ended"},
    {"queue", "QUEUE", ColumnType::text, false, false, "goids in the order they run; next: marks runnext"},
    {"runnext", "RUNNEXT", ColumnType::number, true, false, "the goroutine in runnext"},
    {"next", "NEXT", ColumnType::duration, true, false, "until its first timer is due", "next_timer_ns"},
    {"free", "FREE", ColumnType::number, true, false, "dead goroutines kept for new ones"},
    {"stolen", "STOLEN", ColumnType::number, true, false, "goroutines that others took from it"},
    {"preempt", "PREEMPT", ColumnType::flag, false, false, "asked to let another run"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of its p"},
};

enum MColumn : int {
  kMId,
  kTid,
  kState,
  kMP,
  kCurg,
  kSpinning,
  kBlocked,
  kLocks,
  kLockedg,
  kWhere,
  kFunction,
  kNextp,
  kOldp,
  kSteals,
  kPreempts,
  kMAddr
};
constexpr ColumnSpec kMachineColumns[] = {
    {"id", "ID", ColumnType::number, true, false, "its number"},
    {"tid", "TID", ColumnType::number, true, false, "its kernel thread"},
    {"state", "STATE", ColumnType::text, false, false, "running noproc syscall spinning idle … (info sched)"},
    {"p", "P", ColumnType::number, true, false, "the P that it has"},
    {"curg", "CURG", ColumnType::number, true, false, "the goroutine that it runs", "goid"},
    {"spinning", "SPINNING", ColumnType::flag, false, false, "looks for work"},
    {"blocked", "BLOCKED", ColumnType::flag, false, false, "sleeps in the runtime"},
    {"locks", "LOCKS", ColumnType::number, true, false, "locks and pins held: no preemption"},
    {"lockedg", "LOCKEDG", ColumnType::number, true, false, "the goroutine that is locked to it"},
    {"where", "WHERE", ColumnType::text, false, false, "function at file:line of its thread"},
    {"function", "FUNCTION", ColumnType::text, false, false, "the function of where"},
    {"nextp", "NEXTP", ColumnType::number, true, false, "the P that it was handed and has not taken yet"},
    {"oldp", "OLDP", ColumnType::number, true, false, "the P that it had last"},
    {"steals", "STEALS", ColumnType::number, true, false, "goroutines that it took from other Ps"},
    {"preempts", "PREEMPTS", ColumnType::number, true, false, "Ps that its signal handler gave away"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of its m"},
};

}  // namespace

std::span<const ColumnSpec> processor_columns() { return kProcessorColumns; }
std::span<const ColumnSpec> machine_columns() { return kMachineColumns; }

// ---- Ps

ProcessorRows::ProcessorRows(SchedState& state, bool queues) : SchedRows(state, kProcessorColumns), queues_(queues) {}

std::vector<int> ProcessorRows::default_columns() const {
  std::vector<int> columns{kId, kStatus, kM, kG, kRunq, kTimers, kSchedtick, kSyscalltick};
  if (queues_) columns.push_back(kQueue);
  return columns;
}

int ProcessorRows::last_column() const { return queues_ ? kQueue : kSyscalltick; }

std::uint64_t ProcessorRows::current(std::uint32_t row) const {
  std::uint32_t m = state_.machine_at(state_.model().processors()[row].m);
  return m == kNone ? 0 : state_.model().machines()[m].curg;
}

Value ProcessorRows::value(std::uint32_t row, int column) {
  const Processor& p = state_.model().processors()[row];
  const ProcessorState& s = state_.processors()[row];
  auto goid = [&](std::uint64_t g) -> Value {
    std::uint32_t i = g ? state_.goroutine_at(g) : kNone;
    return i == kNone ? Value{} : number(state_.model().goroutines()[i].goid);
  };
  if (s.unread && column != kId && column != kStatus && column != kM && column != kG && column != kAddr) return {};
  switch (column) {
    case kId:
      return number(p.id);
    case kStatus:
      return text(state_.layout().p_status(p.status));
    case kM: {
      std::uint32_t m = state_.machine_at(p.m);
      return m == kNone ? Value{} : number(state_.model().machines()[m].id);
    }
    case kG:
      return goid(current(row));
    case kRunq:
      return number(s.queued());
    case kTimers:
      return number(s.timers_pending());
    case kSchedtick:
      return maybe(s.schedtick);
    case kSyscalltick:
      return maybe(s.syscalltick);
    case kQueue: {
      std::string out;
      if (s.runnext) out = "next:" + state_.goid_text(s.runnext);
      for (std::uint64_t g : s.ring) out += (out.empty() ? "" : " ") + state_.goid_text(g);
      return text(std::move(out));
    }
    case kRunnext:
      return goid(s.runnext);
    case kNext: {
      std::int64_t now = state_.model().now();
      return s.timers_minwhen && now > 0 ? number(s.timers_minwhen - now) : Value{};
    }
    case kFree:
      return number(s.gfree_n);
    case kStolen:
      return maybe(s.nsteal);
    case kPreempt:
      return number(s.preempt);
    case kAddr:
      return number(p.addr);
    default:
      return {};
  }
}

std::string ProcessorRows::short_text(std::uint32_t row) { return std::to_string(state_.model().processors()[row].id); }

void ProcessorRows::json(std::uint32_t row, Json& json) {
  const ProcessorState& s = state_.processors()[row];
  auto g = [&](std::uint64_t addr) {
    std::uint32_t i = state_.goroutine_at(addr);
    if (i == kNone) {
      json.null();
    } else {
      json.value(state_.model().goroutines()[i].goid);
    }
  };
  json.open_object();
  json_value(json, "id", row, kId);
  json_value(json, "addr", row, kAddr);
  json_value(json, "status", row, kStatus);
  json_value(json, "m", row, kM);
  json_value(json, "goid", row, kG);
  json_value(json, "runnext", row, kRunnext);
  json.key("runq").open_array();
  for (std::uint64_t addr : s.ring) g(addr);
  json.close_array();
  json_value(json, "timers", row, kTimers);
  json_value(json, "next_timer_ns", row, kNext);
  json_value(json, "schedtick", row, kSchedtick);
  json_value(json, "syscalltick", row, kSyscalltick);
  json_value(json, "free", row, kFree);
  json_value(json, "stolen", row, kStolen);
  json_value(json, "preempt", row, kPreempt);
  json_errors(json, row);
  json.close_object();
}

// ---- Ms

MachineRows::MachineRows(SchedState& state) : SchedRows(state, kMachineColumns) {
  order_.resize(state.machines().size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto& all = state.model().machines();
  std::stable_sort(order_.begin(), order_.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return all[a].id < all[b].id; });
}

std::vector<int> MachineRows::default_columns() const {
  return {kMId, kTid, kState, kMP, kCurg, kSpinning, kBlocked, kLocks, kLockedg, kWhere};
}

int MachineRows::last_column() const { return kWhere; }

Value MachineRows::value(std::uint32_t row, int column) {
  const Machine& m = state_.model().machines()[order_[row]];
  const MachineState& s = state_.machines()[order_[row]];
  auto goid = [&](std::uint64_t g) -> Value {
    std::uint32_t i = g ? state_.goroutine_at(g) : kNone;
    return i == kNone ? Value{} : number(state_.model().goroutines()[i].goid);
  };
  auto processor = [&](std::uint64_t p) -> Value {
    std::uint32_t i = p ? state_.processor_at(p) : kNone;
    return i == kNone ? Value{} : number(state_.model().processors()[i].id);
  };
  switch (column) {
    case kMId:
      return number(m.id);
    case kTid:
      return m.procid ? number(m.procid) : Value{};
    case kState:
      return text(state_.machine_state(order_[row]));
    case kMP:
      return processor(m.p);
    case kCurg:
      return goid(m.curg);
    case kSpinning:
      return number(m.spinning);
    case kBlocked:
      return number(m.blocked);
    case kLocks:
      return maybe(s.locks);
    case kLockedg:
      return goid(m.lockedg);
    case kWhere:
    case kFunction: {
      const Actor* a = state_.actor_of(order_[row]);
      if (!a || !a->where.valid()) return {};
      return text(column == kWhere ? describe(a->where) : std::string(a->where.function));
    }
    case kNextp:
      return processor(m.nextp);
    case kOldp:
      return processor(s.oldp);
    case kSteals:
      return maybe(s.nsteal);
    case kPreempts:
      return maybe(s.npreempt);
    case kMAddr:
      return number(m.addr);
    default:
      return {};
  }
}

std::string MachineRows::short_text(std::uint32_t row) {
  return std::to_string(state_.model().machines()[order_[row]].id);
}

void MachineRows::json(std::uint32_t row, Json& json) {
  static constexpr std::pair<std::string_view, int> kKeys[] = {
      {"id", kMId},      {"addr", kMAddr},      {"tid", kTid},       {"state", kState},       {"p", kMP},
      {"goid", kCurg},   {"nextp", kNextp},     {"oldp", kOldp},     {"spinning", kSpinning}, {"blocked", kBlocked},
      {"locks", kLocks}, {"lockedg", kLockedg}, {"steals", kSteals}, {"preempts", kPreempts}};
  json.open_object();
  for (auto& [key, column] : kKeys) json_value(json, key, row, column);
  const Actor* a = state_.actor_of(order_[row]);
  json.key("where");
  if (!a || !a->where.valid()) {
    json.null();
  } else {
    json.open_object().key("pc").address(a->where.pc).key("function").text_or_null(a->where.function);
    json.key("file").text_or_null(a->where.file).key("line");
    if (a->where.line) {
      json.value(std::int64_t{a->where.line});
    } else {
      json.null();
    }
    json.close_object();
  }
  json_errors(json, row);
  json.close_object();
}

}  // namespace vitrine::inspect
