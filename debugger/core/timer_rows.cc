// timer_rows.cc: the timers of all Ps, soonest first, and the descriptors that the poller watches. A timer says whom or
// what it is for by its kind: the goroutine that sleeps or selects, the channel that it sends to, the function that it
// calls, the descriptor whose deadline it is.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "render.h"
#include "sched_rows.h"

namespace vitrine::inspect {
namespace {

enum TColumn : int { kDue, kP, kKind, kPeriod, kGoid, kWhat, kBy, kWhen, kFunction, kArg, kTAddr };
constexpr ColumnSpec kTimerColumns[] = {
    {"due", "DUE", ColumnType::duration, true, false,
     "until it is due; below 0 it is late; ~ from a core's last clock"},
    {"p", "P", ColumnType::number, true, false, "the P in whose heap it is"},
    {"kind", "KIND", ColumnType::text, false, false, "sleep select func chan deadline"},
    {"period", "PERIOD", ColumnType::duration, true, false, "of one that repeats"},
    {"goid", "GOID", ColumnType::number, true, false, "the goroutine that it wakes"},
    {"what", "WHAT", ColumnType::text, false, false, "the goroutine, channel, function or descriptor that it is for"},
    {"by", "BY", ColumnType::number, true, false, "the goroutine that started it"},
    {"when", "WHEN", ColumnType::number, true, false, "its time on the runtime's clock, in ns"},
    {"function", "FUNCTION", ColumnType::text, false, false, "what the runtime calls when it is due"},
    {"arg", "ARG", ColumnType::address, true, false, "the argument of that"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of the timer"},
};

enum NColumn : int { kFd, kIs, kMode, kReader, kWriter, kReadDue, kWriteDue, kClosing, kOpener, kNAddr };
constexpr ColumnSpec kNetpollColumns[] = {
    {"fd", "FD", ColumnType::number, true, false, "the descriptor"},
    {"what", "WHAT", ColumnType::text, false, false, "what it is, of a live process on this machine"},
    {"mode", "MODE", ColumnType::text, false, false, "r, w or rw: what is waited for"},
    {"reader", "READER", ColumnType::text, false, false,
     "the goroutine that waits to read; ready: an event nobody took"},
    {"writer", "WRITER", ColumnType::text, false, false, "the same for writing"},
    {"read_due", "READ_DUE", ColumnType::duration, true, false, "until the read deadline"},
    {"write_due", "WRITE_DUE", ColumnType::duration, true, false, "until the write deadline"},
    {"closing", "CLOSING", ColumnType::flag, false, false, "it is being closed"},
    {"by", "BY", ColumnType::number, true, false, "the goroutine that opened it"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of its pollDesc"},
};

}  // namespace

std::span<const ColumnSpec> timer_columns() { return kTimerColumns; }
std::span<const ColumnSpec> netpoll_columns() { return kNetpollColumns; }

TimerRows::TimerRows(Session& session, SchedState& state) : SchedRows(state, kTimerColumns), session_(session) {
  for (std::uint32_t i = 0; i < state.timers().size(); ++i)
    if (!state.timers()[i].zombie) order_.push_back(i);
  std::stable_sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
    const TimerState &x = state.timers()[a], &y = state.timers()[b];
    if (x.error.empty() != y.error.empty()) return x.error.empty();
    return x.due() < y.due();
  });
}

std::vector<int> TimerRows::default_columns() const { return {kDue, kP, kKind, kPeriod, kGoid, kWhat}; }
int TimerRows::last_column() const { return kWhat; }

std::optional<std::int64_t> TimerRows::due(std::uint32_t row) const {
  const std::int64_t now = state_.model().now();
  if (now <= 0 || !at(row).due()) return std::nullopt;
  return at(row).due() - now;
}

std::string TimerRows::kind_of(std::uint32_t row) {
  const TimerState& t = at(row);
  if (state_.layout().has(F::timer_kind)) return state_.layout().timer_kind(t.kind);
  std::string_view kind = state_.layout().dialect().timer_kind(session_.program().locate(t.f).back().function);
  return std::string(kind.empty() ? "?" : kind);
}

std::uint64_t TimerRows::waiter(std::uint32_t row) {
  const TimerState& t = at(row);
  std::string kind = kind_of(row);
  return kind == "sleep" || kind == "select" ? t.arg : 0;
}

std::string TimerRows::what(std::uint32_t row) {
  const TimerState& t = at(row);
  if (!t.error.empty()) return {};
  if (std::uint64_t g = waiter(row)) {
    std::uint32_t i = state_.goroutine_at(g);
    if (i == kNone) return fmt::format("the g at {:#x}, which is no live goroutine", g);
    const Goroutine& gp = state_.model().goroutines()[i];
    std::string name = state_.model().name(gp);
    std::string out = fmt::format("goroutine {}", gp.goid);
    return name.empty() ? out : fmt::format("{} \"{}\"", out, name);
  }
  std::string kind = kind_of(row);
  if (kind == "chan") return fmt::format("channel {:#x}", t.arg);
  if (kind == "deadline") {
    auto fd = state_.layout().get(session_.memory(), t.arg, F::pollDesc_fd);
    return fd ? fmt::format("fd {}", static_cast<std::int32_t>(*fd)) : fmt::format("<unreadable {:#x}>", t.arg);
  }
  std::uint64_t f = t.f;
  // A Go program's own function is what its library's helper is given.
  if (kind == "func" && state_.layout().dialect().functions_are_closures())
    f = session_.memory().get<std::uint64_t>(t.arg).value_or(0);
  std::string function = session_.program().locate(f).back().function;
  return function.empty() ? fmt::format("{:#x}", f) : function;
}

Value TimerRows::value(std::uint32_t row, int column) {
  const TimerState& t = at(row);
  switch (column) {
    case kDue:
      return maybe(due(row));
    case kP:
      return number(state_.model().processors()[t.processor].id);
    case kWhat:
      return text(what(row));
    case kTAddr:
      return t.addr ? number(t.addr) : Value{};
    case kWhen:
      return t.due() ? number(t.due()) : Value{};
    default:
      break;
  }
  if (!t.error.empty()) return {};
  switch (column) {
    case kKind:
      return text(kind_of(row));
    case kPeriod:
      return t.period ? number(t.period) : Value{};
    case kGoid: {
      std::uint64_t g = waiter(row);
      std::uint32_t i = g ? state_.goroutine_at(g) : kNone;
      return i == kNone ? Value{} : number(state_.model().goroutines()[i].goid);
    }
    case kBy:
      return t.goid ? number(t.goid) : Value{};
    case kFunction:
      return text(session_.program().locate(t.f).back().function);
    case kArg:
      return number(t.arg);
    default:
      return {};
  }
}

std::string TimerRows::cell(std::uint32_t row, int column) {
  std::string out = PlainRows::cell(row, column);
  return column == kDue && due(row) && !state_.model().now_exact() ? "~" + out : out;
}

std::string TimerRows::short_text(std::uint32_t row) { return fmt::format("{:#x}", at(row).addr); }

void TimerRows::json(std::uint32_t row, Json& json) {
  static constexpr std::pair<std::string_view, int> kKeys[] = {
      {"addr", kTAddr}, {"due_ns", kDue},        {"when", kWhen}, {"p", kP},
      {"kind", kKind},  {"period_ns", kPeriod},  {"goid", kGoid}, {"what", kWhat},
      {"by", kBy},      {"function", kFunction}, {"arg", kArg}};
  json.open_object();
  for (auto& [key, column] : kKeys) json_value(json, key, row, column);
  json_errors(json, row);
  json.close_object();
}

// ---- descriptors

NetpollRows::NetpollRows(Session& session, SchedState& state) : SchedRows(state, kNetpollColumns), session_(session) {
  Layout& layout = state.layout();
  std::uint64_t root = layout.root(Root::allpolldescs);
  if (!root || !layout.has(F::pollDesc_alllink)) return;
  auto head = session.memory().get<std::uint64_t>(root);
  if (!head) {
    warnings_.push_back(fmt::format("the list of descriptors at {:#x} is unreadable", root));
    return;
  }
  ListWalk walk = state.walk(*head, F::pollDesc_alllink, "the list of descriptors");
  if (!walk.problem.empty()) warnings_.push_back(walk.problem);
  for (std::uint64_t addr : walk.items) {
    Descriptor d;
    d.addr = addr;
    auto get = [&](F f) -> std::uint64_t {
      auto v = layout.get(session.memory(), addr, f);
      if (!v && d.error.empty()) d.error = fmt::format("the pollDesc at {:#x} is unreadable", addr);
      return v ? *v : 0;
    };
    if (layout.has(F::pollDesc_open) && !get(F::pollDesc_open) && d.error.empty()) continue;
    d.fd = static_cast<std::int32_t>(get(F::pollDesc_fd));
    d.rg = get(F::pollDesc_rg);
    d.wg = get(F::pollDesc_wg);
    d.rd = static_cast<std::int64_t>(get(F::pollDesc_rd));
    d.wd = static_cast<std::int64_t>(get(F::pollDesc_wd));
    d.goid = get(F::pollDesc_goid);
    d.closing = get(F::pollDesc_closing) != 0;
    open_.push_back(std::move(d));
  }
  std::stable_sort(open_.begin(), open_.end(), [](const Descriptor& a, const Descriptor& b) { return a.fd < b.fd; });
}

std::vector<int> NetpollRows::default_columns() const {
  return {kFd, kMode, kReader, kWriter, kReadDue, kWriteDue, kClosing, kIs};
}
int NetpollRows::last_column() const { return kIs; }

std::string NetpollRows::what(const Descriptor& d) const {
  if (session_.local_pid <= 0 || session_.target().kind() != Target::Kind::live) return {};
  char link[PATH_MAX];
  ssize_t n = readlink(fmt::format("/proc/{}/fd/{}", session_.local_pid, d.fd).c_str(), link, sizeof link);
  return n < 0 ? std::string() : std::string(link, static_cast<std::size_t>(n));
}

// A word that says who waits on one side: nobody, two small marks, or a g.
std::string NetpollRows::side(std::uint64_t word) {
  switch (word) {
    case 0:
      return {};
    case 1:
      return "ready";
    case 2:
      return "parking";
    default:
      return state_.goid_text(word);
  }
}

Value NetpollRows::value(std::uint32_t row, int column) {
  const Descriptor& d = open_[row];
  auto due = [&](std::int64_t when) -> Value {
    const std::int64_t now = state_.model().now();
    if (when < 0) return number(0);
    return when && now > 0 ? number(when - now) : Value{};
  };
  auto shown = [&](std::string s) { return s.empty() ? Value{} : text(std::move(s)); };
  if (column == kNAddr) return number(d.addr);
  if (!d.error.empty()) return {};
  switch (column) {
    case kFd:
      return number(d.fd);
    case kIs:
      return shown(what(d));
    case kMode:
      return shown(std::string(d.rg > 1 ? "r" : "") + (d.wg > 1 ? "w" : ""));
    case kReader:
      return shown(side(d.rg));
    case kWriter:
      return shown(side(d.wg));
    case kReadDue:
      return due(d.rd);
    case kWriteDue:
      return due(d.wd);
    case kClosing:
      return number(d.closing);
    case kOpener:
      return d.goid ? number(d.goid) : Value{};
    default:
      return {};
  }
}

std::string NetpollRows::cell(std::uint32_t row, int column) {
  std::string out = PlainRows::cell(row, column);
  const Descriptor& d = open_[row];
  if ((column == kReadDue && d.rd < 0) || (column == kWriteDue && d.wd < 0)) return "past";
  const bool due = (column == kReadDue && d.rd > 0) || (column == kWriteDue && d.wd > 0);
  return due && !state_.model().now_exact() && out != "-" ? "~" + out : out;
}

std::string NetpollRows::short_text(std::uint32_t row) { return std::to_string(open_[row].fd); }

void NetpollRows::json(std::uint32_t row, Json& json) {
  static constexpr std::pair<std::string_view, int> kKeys[] = {{"fd", kFd},
                                                               {"addr", kNAddr},
                                                               {"what", kIs},
                                                               {"mode", kMode},
                                                               {"reader", kReader},
                                                               {"writer", kWriter},
                                                               {"read_due_ns", kReadDue},
                                                               {"write_due_ns", kWriteDue},
                                                               {"closing", kClosing},
                                                               {"by", kOpener}};
  json.open_object();
  for (auto& [key, column] : kKeys) json_value(json, key, row, column);
  json_errors(json, row);
  json.close_object();
}

}  // namespace vitrine::inspect
