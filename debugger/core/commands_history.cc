// commands_history.cc: trace history — the flight recorder's timeline, as a list or as a file for Perfetto — and
// goroutine N history, the life of one goroutine.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "heap_commands.h"
#include "listing.h"
#include "output_file.h"
#include "plain_rows.h"
#include "recorder.h"
#include "recorder_chrome.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

// "1.234567890": seconds since the recording began.
std::string seconds(std::int64_t ns) {
  const std::uint64_t n = ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
  return fmt::format("{}{}.{:09}", ns < 0 ? "-" : "", n / 1'000'000'000, n % 1'000'000'000);
}

// Local time to the nanosecond.
std::string wall_clock(std::int64_t ns) {
  if (ns <= 0) return {};
  const std::time_t t = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm tm{};
  if (!localtime_r(&t, &tm)) return {};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                     tm.tm_hour, tm.tm_min, tm.tm_sec, ns % 1'000'000'000);
}

enum Column : int { kTime, kEvent, kGoid, kM, kP, kWhat, kName, kReason, kBy, kAgo, kEarly, kSeq, kFunction, kWall };
constexpr ColumnSpec kColumns[] = {
    {"time", "TIME", ColumnType::duration, true, false, "since the recording began, in seconds; ~: that or later"},
    {"event", "EVENT", ColumnType::text, false, false, "GoCreate GoStart GoStop GoBlock GoUnblock …"},
    {"goid", "GOID", ColumnType::number, true, false, "the goroutine that it is about"},
    {"m", "M", ColumnType::number, true, false, "the M that did it; -1: a thread that is no M"},
    {"p", "P", ColumnType::number, true, false, "that M's P"},
    {"what", "WHAT", ColumnType::text, false, false, "why it blocked, by whom it was readied or created"},
    {"name", "NAME", ColumnType::text, false, false, "the goroutine's name, else its function"},
    {"reason", "REASON", ColumnType::text, false, false, "why it blocked or stopped"},
    {"by", "BY", ColumnType::number, true, false, "the goroutine that created or readied it"},
    {"ago", "AGO", ColumnType::duration, true, false, "before the last moment that is known"},
    {"early", "EARLY", ColumnType::flag, false, false, "it happened at `time` or later, before its M's next event"},
    {"seq", "SEQ", ColumnType::number, true, false, "its number among the goroutine's events"},
    {"function", "FUNCTION", ColumnType::text, false, false, "GoCreate: the function that it runs"},
    {"wall", "WALL", ColumnType::text, false, false, "the time of day"},
};

class HistoryRows : public PlainRows {
 public:
  HistoryRows(Recorder& recorder, Stacks& stacks, std::vector<std::uint32_t> rows)
      : PlainRows(kColumns), recorder_(recorder), stacks_(stacks), rows_(std::move(rows)) {}
  std::string_view noun() const override { return "event"; }
  std::string_view schema() const override { return "history"; }
  std::size_t size() const override { return rows_.size(); }
  std::vector<int> default_columns() const override { return {kTime, kEvent, kGoid, kM, kP, kWhat, kName}; }
  bool newest_last() const override { return true; }

  Value value(std::uint32_t row, int column) override {
    const Event& e = recorder_.events()[rows_[row]];
    const bool about = e.goid != 0 && e.kind != Ev::thread;
    switch (column) {
      case kTime:
        return number(e.time);
      case kEvent:
        return text(std::string(recorder_.event_text(e)));
      case kGoid:
        return about ? number(e.goid) : Value{};
      case kM:
        return number(e.m);
      case kP:
        return e.p >= 0 ? number(e.p) : Value{};
      case kWhat:
        return text(what(e));
      case kName:
        return about ? text(recorder_.goroutine_text(stacks_, e.goid)) : Value{};
      case kReason:
        return text(reason(e));
      case kBy:
        return e.by ? number(e.by) : Value{};
      case kAgo:
        return number(recorder_.end() - e.time);
      case kEarly:
        return number(e.early);
      case kSeq:
        return about ? number(e.seq) : Value{};
      case kFunction:
        return e.kind == Ev::create && e.arg ? text(describe(stacks_.at(e.arg, true))) : Value{};
      case kWall:
        return text(wall_clock(recorder_.wall(e.time)));
      default:
        return {};
    }
  }
  std::string cell(std::uint32_t row, int column) override {
    const Event& e = recorder_.events()[rows_[row]];
    if (column == kTime) return (e.early ? "~" : "") + seconds(e.time);
    std::string out = PlainRows::cell(row, column);
    return out.empty() ? "-" : out;
  }
  void json(std::uint32_t row, Json& json) override {
    json.open_object();
    for (std::size_t i = 0; i < columns_.size(); ++i) json_value(json, columns_[i].name, row, static_cast<int>(i));
    json_errors(json, row);
    json.close_object();
  }
  std::string short_text(std::uint32_t row) override { return cell(row, kTime) + " " + cell(row, kEvent); }

 protected:
  std::string error(std::uint32_t) const override { return {}; }
  int last_column() const override { return kName; }

 private:
  std::string reason(const Event& e) {
    if (e.kind == Ev::block || e.kind == Ev::stop || e.kind == Ev::proc_stop)
      return std::string(recorder_.reason_text(e));
    return e.kind == Ev::stw_begin ? recorder_.stw_reason(e) : std::string();
  }
  std::string what(const Event& e) {
    switch (e.kind) {
      case Ev::create:
      case Ev::unblock:
        return e.by ? fmt::format("by {}", e.by) : e.m < 0 ? "by a thread that is no M" : "by the scheduler";
      case Ev::stop:
        return e.reason ? reason(e) : "yield";
      case Ev::proc_stop:
        return e.reason ? fmt::format("taken from {} by a signal", e.by) : std::string();
      case Ev::proc_steal:
        return "from a system call";
      case Ev::thread:
        return fmt::format("thread {}", e.arg);
      default:
        return reason(e);
    }
  }
  Recorder& recorder_;
  Stacks& stacks_;
  std::vector<std::uint32_t> rows_;
};

std::span<const OptionSpec> history_options() {
  static const std::vector<OptionSpec> options = [] {
    std::vector<OptionSpec> all;
    for (const OptionSpec& o : listing_options())
      if (o.name != "all") all.push_back(o);
    all.push_back({"g", Takes::value, "LIST: events of these goroutines, or done by them: 1-5,9"});
    all.push_back({"m", Takes::value, "LIST: events of these Ms"});
    all.push_back({"p", Takes::value, "LIST: events on these Ps"});
    all.push_back({"last", Takes::value, "DURATION: the last 10ms, say"});
    all.push_back({"chrome", Takes::value, "FILE: write it all for ui.perfetto.dev or chrome://tracing"});
    return all;
  }();
  return options;
}

// The rows that -g, -m, -p and -last leave.
Result<std::vector<std::uint32_t>> choose(const Recorder& recorder, const Options& options) {
  std::optional<GoidList> lists[3];
  constexpr std::string_view kNames[3] = {"g", "m", "p"};
  for (int i = 0; i < 3; ++i) {
    const std::string* text = options.get(kNames[i]);
    if (!text) continue;
    auto list = parse_goid_list(*text);
    if (!list) return Error{fmt::format("-{} takes numbers, 1-5,9 say, not '{}'", kNames[i], *text), {}};
    lists[i] = *list;
  }
  std::int64_t since = INT64_MIN;
  if (const std::string* text = options.get("last")) {
    auto duration = parse_duration(*text);
    if (!duration) return Error{fmt::format("-last takes a duration, 10ms or 2s, not '{}'", *text), {}};
    since = recorder.end() - *duration;
  }
  auto in = [](const std::optional<GoidList>& list, std::int64_t n) {
    return !list || (n >= 0 && list->contains(static_cast<std::uint64_t>(n)));
  };
  std::vector<std::uint32_t> rows;
  for (std::uint32_t i = 0; i < recorder.events().size(); ++i) {
    const Event& e = recorder.events()[i];
    if (e.time < since || !in(lists[1], e.m) || !in(lists[2], e.p)) continue;
    if (lists[0] && !(e.goid && e.kind != Ev::thread && lists[0]->contains(e.goid)) &&
        !(e.by && lists[0]->contains(e.by)))
      continue;
    rows.push_back(i);
  }
  return rows;
}

// What every answer out of the rings has to say about them.
std::vector<std::string> warnings_of(Session& session, Model& model, const Recorder& recorder) {
  std::vector<std::string> warnings = all_warnings(session, model);
  warnings.insert(warnings.end(), recorder.warnings().begin(), recorder.warnings().end());
  if (std::string lost = recorder.lost_text(); !lost.empty()) warnings.push_back(lost);
  if (!warnings.empty()) session.incomplete = true;
  return warnings;
}

void rings_footer(const Recorder& recorder, Sink& sink) {
  std::uint64_t overwritten = 0;
  std::size_t ended = 0;
  for (const Ring& r : recorder.rings()) {
    overwritten += r.overwritten;
    ended += !r.live;
  }
  std::string text = plural(recorder.rings().size(), "ring");
  if (ended) text += fmt::format(", {} of ended threads", ended);
  if (overwritten) text += fmt::format("; {} overwritten", plural(overwritten, "older record"));
  if (!recorder.recording()) text += "; the recorder is off by now";
  sink.out(text + "\n");
}

Outcome chrome(Session& session, Recorder& recorder, Stacks& stacks, const std::string& file, Sink& sink) {
  ChromeCounts counts;
  auto failed = write_file(file, sink, [&](Sink& to) {
    Buffered out(to);
    return write_chrome(session, recorder, stacks, out, counts);
  });
  if (failed) return *failed;
  sink.out(fmt::format("{} written: {}, {} (open it in ui.perfetto.dev or chrome://tracing)\n", file,
                       plural(counts.slices, "slice"), plural(counts.arrows, "arrow")));
  return Outcome::ok;
}

Outcome run_history(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, history_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty()) {
    return fail(sink, fmt::format("trace history takes options only, not '{}' (goroutine N history, or -g N)",
                                  line.words[options->positional[0]].text));
  }
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  auto recorder = Recorder::load(session, *view->model);
  if (!recorder) return fail(sink, recorder.error());
  std::vector<std::string> warnings = warnings_of(session, *view->model, **recorder);
  if (const std::string* file = options->get("chrome")) {
    if (options->set.size() > 1) return fail(sink, "-chrome writes everything: it takes no other option");
    Outcome outcome = chrome(session, **recorder, *view->stacks, *file, sink);
    if (outcome == Outcome::ok) rings_footer(**recorder, sink);
    warn(sink, warnings);
    return outcome;
  }
  auto chosen = choose(**recorder, *options);
  if (!chosen) return fail(sink, chosen.error());
  HistoryRows rows(**recorder, *view->stacks, std::move(*chosen));
  Outcome outcome = run_listing(session, sink, rows, *options, warnings);
  if (outcome == Outcome::ok && !options->has("json") && !options->has("short") && !options->has("count"))
    rings_footer(**recorder, sink);
  return outcome;
}

void complete_history(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(history_options(), kColumns, line, partial, offer);
}

// ---- the life of one goroutine

constexpr ColumnSpec kLifeColumns[] = {
    {"time", "TIME", ColumnType::text, true, false, "since the recording began, in seconds; ~: that or later"},
    {"state", "STATE", ColumnType::text, false, false, "runnable running waiting syscall dead unknown"},
    {"for", "FOR", ColumnType::text, true, false, "how long; +: still; <, >: at most, at least"},
    {"m", "M", ColumnType::number, true, false, "the M that it runs on, or that did it"},
    {"p", "P", ColumnType::number, true, false, "that M's P"},
    {"what", "WHAT", ColumnType::text, false, false, "why it waits, by whom it was readied or created"},
    {"begin", "BEGIN", ColumnType::duration, true, false, "time, as a duration"},
    {"length", "LENGTH", ColumnType::duration, true, false, "for, as a duration"},
};

// Short times to the nanosecond: 340ns, 12.5us; longer ones as everywhere.
std::string length(std::int64_t ns) {
  if (ns < 1000) return fmt::format("{}ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.1f}us", static_cast<double>(ns) / 1e3);
  if (ns < 999'995'000) return fmt::format("{:.2f}ms", static_cast<double>(ns) / 1e6);
  return format_duration(ns);
}

// When a boundary is the earliest that it can have been: < at most, > at least so long.
std::string bounded_length(const Stretch& s) {
  return fmt::format("{}{}{}",
                     s.begin_early == s.end_early ? ""
                     : s.begin_early              ? "<"
                                                  : ">",
                     length(s.end - s.begin), s.open ? "+" : "");
}

std::string why(const Recorder& recorder, const Stretch& s) {
  const Event& e = recorder.events()[s.first];
  if (s.state == LifeState::unknown)
    return s.lost ? fmt::format("{} overwritten or lost", plural(s.lost, "event")) : "events overwritten or lost";
  switch (e.kind) {
    case Ev::create:
      return e.by ? fmt::format("created by {}", e.by) : "created";
    case Ev::unblock:
      return e.by      ? fmt::format("readied by {}", e.by)
             : e.m < 0 ? "readied by a thread that is no M"
                       : "readied by the scheduler";
    case Ev::stop:
      return e.reason ? std::string(recorder.reason_text(e)) : "yield";
    case Ev::block:
      return std::string(recorder.reason_text(e));
    case Ev::syscall_end_blocked:
      return "no P after a system call";
    case Ev::status:
      return "already, when the recording began";
    default:
      return {};
  }
}

class LifeRows : public GridRows {
 public:
  using GridRows::GridRows;
  bool newest_last() const override { return true; }
};

struct Total {
  std::int64_t time = 0;
  std::uint64_t n = 0;
};

std::string totals_text(const Recorder& recorder, const std::vector<Stretch>& life) {
  std::map<std::pair<LifeState, std::string>, Total> totals;
  for (const Stretch& s : life) {
    if (s.state == LifeState::dead) continue;
    std::string which = s.state == LifeState::waiting ? why(recorder, s) : std::string();
    Total& t = totals[{s.state, std::move(which)}];
    t.time += s.end - s.begin;
    ++t.n;
  }
  std::string out;
  for (auto& [key, t] : totals) {
    out += fmt::format("{}{}{} {} ({})", out.empty() ? "in all: " : ", ", life_word(key.first),
                       key.second.empty() ? "" : fmt::format(" [{}]", printable(key.second)), length(t.time),
                       t.n == 1 ? "once" : fmt::format("{} times", t.n));
  }
  return out;
}

}  // namespace

Outcome goroutine_history(Session& session, const Line& line, std::size_t at, Sink& sink) {
  auto options = parse_options(line, at + 2, history_options().first(listing_options().size() - 1), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  const std::string& word = line.words[at].text;
  if (!options->positional.empty())
    return fail(
        sink, fmt::format("goroutine N history takes options only, not '{}'", line.words[options->positional[0]].text));
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Model& model = *view->model;
  auto goid = parse_number(word);
  if (goid && word.starts_with("0x")) {
    std::uint32_t index = model.find_addr(*goid);
    if (index == kNone) return fail(sink, fmt::format("there is no goroutine whose g is at {}", word));
    goid = model.goroutines()[index].goid;
  }
  if (!goid) return fail(sink, fmt::format("'{}' is no goroutine: give its number, or 0xADDRESS of its g", word));
  auto loaded = Recorder::load(session, model);
  if (!loaded) return fail(sink, loaded.error());
  Recorder& recorder = **loaded;
  std::vector<std::string> warnings = warnings_of(session, model, recorder);
  const std::vector<Stretch> life = recorder.life(*goid);
  if (life.empty()) {
    const bool lives = model.find_goid(*goid) != kNone;
    fail(sink, fmt::format("the flight recorder has no event of goroutine {}: {}", *goid,
                           recorder.incomplete() ? "its own may be among those that are lost"
                           : lives               ? "nothing has happened to it lately"
                                                 : "there is none of that number, or it is long dead"));
    warn(sink, warnings);
    return Outcome::error;
  }
  LifeRows rows(kLifeColumns, 6, "state", "life");
  for (const Stretch& s : life) {
    const Event& e = recorder.events()[s.first];
    const bool placed = s.state != LifeState::unknown;
    const bool dead = s.state == LifeState::dead;
    rows.add({(s.begin_early ? "~" : "") + seconds(s.begin), life_word(s.state),
              dead ? std::string() : bounded_length(s), placed ? std::optional(e.m) : std::nullopt,
              placed && e.p >= 0 ? std::optional<std::int64_t>(e.p) : std::nullopt, why(recorder, s), s.begin,
              dead ? std::nullopt : std::optional(s.end - s.begin)});
  }
  const bool table = !options->has("json") && !options->has("short") && !options->has("count");
  if (table) {
    std::string name = recorder.goroutine_text(*view->stacks, *goid);
    const bool from_birth = recorder.events()[life.front().first].kind == Ev::create;
    sink.out(fmt::format("goroutine {}{}{}\n", *goid, name.empty() ? "" : " " + printable(name),
                         from_birth ? "" : ", from the oldest event that is left"));
  }
  Outcome outcome = run_listing(session, sink, rows, *options, warnings);
  if (outcome == Outcome::ok && table) sink.out(totals_text(recorder, life) + "\n");
  return outcome;
}

namespace {

// Of gotrace history; without the first two letters, of trace history.
constexpr const char* kHelp =
    "gotrace history [-g LIST] [-m LIST] [-p LIST] [-last DURATION] [-where EXPR] [-sort COL,…] [-limit N]\n"
    "                [-cols COL,…] [-json[=full]] [-short] [-count]\n"
    "trace history -chrome FILE\n\n"
    "What the scheduler did lately, out of the rings that each M keeps, live or in a core. One row an event, oldest\n"
    "first; the last 100 unless -limit says otherwise. The events are Go's: GoCreate GoStart GoStop (a yield, or\n"
    "preempted) GoBlock GoUnblock GoDestroy GoSyscallBegin GoSyscallEnd GoSyscallEndBlocked ProcStart ProcStop\n"
    "ProcSteal STWBegin STWEnd Thread. A time with ~ is the earliest that it can have been.\n"
    "Records that are only half written, or damaged, are not shown but counted.\n\n"
    "The recorder runs in programs whose main file is compiled without optimisation and without NDEBUG, with\n"
    "GODEBUG=flightrecorder=1 (or =4MiB, the size of each ring), and after vitrine::runtime::recorder::start().\n\n"
    "-chrome writes everything into FILE for ui.perfetto.dev or chrome://tracing: a track for each P and each M,\n"
    "arrows from who readied a goroutine to where it ran.\n\n"
    "Columns: time event goid m p what name reason by ago early seq function wall.\n\n"
    "Example: who waited for a channel in the last 10 milliseconds, and who woke them\n"
    "  trace history -last 10ms -where \"reason ~ chan or event = GoUnblock\"\n"
    "Next: goroutine N history for the life of one of them.\n";

constexpr CommandSpec kCommands[] = {
    {"trace history", "The flight recorder's timeline: who ran where, blocked why, woke whom.", kHelp + 2, run_history,
     complete_history},
    {"gotrace history", "The same as trace history, which LLDB keeps for itself.", kHelp, run_history,
     complete_history},
};

}  // namespace

std::span<const CommandSpec> history_commands() { return kCommands; }

}  // namespace vitrine::inspect
