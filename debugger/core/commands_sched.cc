// commands_sched.cc: info sched, the scheduler on one page, and -check.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "render.h"
#include "sched_check.h"
#include "sched_state.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"check", Takes::nothing, "hold queues, links and counters against each other"},
    {"json", Takes::maybe, "a JSON array with one row; -json=full adds schema, runtime and warnings"},
};

struct Page {
  std::map<std::string, std::size_t> processors, machines, goroutines;
  std::size_t system = 0, foreign = 0, local = 0, timers = 0;
  bool less = false;  // not all Ps could be read: there may be more of what is theirs
  std::optional<std::int64_t> next_timer, uptime, polled, poll_until;
  std::uint32_t poller = kNone, sysmon = kNone;
  std::size_t unseen = 0;  // Ms of which it is not known what they are in
};

std::string listed(const std::map<std::string, std::size_t>& counts) {
  std::string out;
  for (auto& [word, n] : counts) out += fmt::format("{}{} {}", out.empty() ? ": " : ", ", n, word);
  return out;
}

Page look_at(SchedState& state) {
  Model& model = state.model();
  Page page;
  for (const Processor& p : model.processors()) ++page.processors[model.layout().p_status(p.status)];
  for (std::uint32_t i = 0; i < model.machines().size(); ++i) {
    std::string word = state.machine_state(i);
    if (word == "polling") page.poller = i;
    if (word == "sysmon") page.sysmon = i;
    page.unseen += !state.seen(i);
    ++page.machines[word];
  }
  for (const Goroutine& g : model.goroutines()) {
    page.foreign += g.is(Goroutine::foreign);
    page.system += g.is(Goroutine::system) && !g.is(Goroutine::foreign);
    ++page.goroutines[g.is(Goroutine::unreadable) ? std::string("unreadable") : std::string(model.status_text(g))];
  }
  page.less = model.processors_cut();
  bool stopped = false;  // a heap's first timer may be one that was stopped
  for (const ProcessorState& p : state.processors()) {
    page.less = page.less || p.unread;
    page.local += p.queued();
    stopped = stopped || p.timers_zombies != 0;
    page.timers += static_cast<std::size_t>(std::max<std::int64_t>(0, p.timers_pending()));
    if (p.timers_minwhen && (!page.next_timer || p.timers_minwhen < *page.next_timer))
      page.next_timer = p.timers_minwhen;
  }
  if (stopped) page.next_timer.reset();
  for (const TimerState& t : stopped ? state.timers() : std::vector<TimerState>()) {
    if (!t.zombie && t.due() && (!page.next_timer || t.due() < *page.next_timer)) page.next_timer = t.due();
  }
  if (page.less) page.next_timer.reset();
  const std::int64_t now = model.now();
  auto since = [&](std::optional<std::int64_t> t) {
    return t && *t > 0 && now > 0 ? std::optional(std::max<std::int64_t>(0, now - *t)) : std::nullopt;
  };
  if (page.next_timer) page.next_timer = now > 0 ? std::optional(*page.next_timer - now) : std::nullopt;
  page.uptime = since(model.layout().root(Root::runtimeInitTime) ? state.variable(Root::runtimeInitTime, 8)
                                                                 : state.word(F::schedt_starttime));
  page.polled = since(state.word(F::schedt_lastpoll));
  auto until = state.word(F::schedt_pollUntil);
  if (until && *until > 0 && *until != INT64_MAX && now > 0) page.poll_until = *until - now;
  return page;
}

std::string due_text(std::int64_t ns, bool approximate) {
  std::string text = ns < 0 ? format_duration(-ns) + " ago" : "in " + format_duration(ns);
  return approximate ? "about " + text : text;
}

void print_page(SchedState& state, const Page& page, Buffered& out) {
  Model& model = state.model();
  const char* plus = model.now_exact() ? "" : "+";
  auto line = [&](std::string_view key, std::string text) { out.add(fmt::format("{:<12} {}\n", key, text)); };
  auto number = [&](F f) {
    auto v = state.word(f);
    return v ? std::to_string(*v) : std::string("?");
  };
  auto procs = state.variable(Root::gomaxprocs, 4);
  const char* less = page.less ? "at least " : "";
  line("processors",
       fmt::format("{}{} (gomaxprocs {}){}", model.processors().size(), model.processors_cut() ? " could be read" : "",
                   procs ? std::to_string(*procs) : "?", listed(page.processors)));
  line("machines",
       fmt::format("{}{} of at most {}{}", model.machines().size(), model.machines_cut() ? " could be read," : "",
                   number(F::schedt_maxmcount), listed(page.machines)));
  line("spinning", fmt::format("{}, needspinning {}", number(F::schedt_nmspinning), number(F::schedt_needspinning)));
  line("runnable",
       fmt::format("{} in the global queue, {}{} in local queues", number(F::schedt_runqsize), less, page.local));
  std::string gs = fmt::format("{}{}", model.goroutines().size(), listed(page.goroutines));
  if (page.system) gs += fmt::format("; {} the runtime's own", page.system);
  if (page.foreign) gs += fmt::format("; {} foreign", plural(page.foreign, "thread"));
  if (model.lost()) gs = fmt::format("{}; {} could not be found", gs, model.lost());
  line("goroutines", fmt::format("{}; {} dead", gs, model.dead()));
  std::string timers = less + std::to_string(page.timers);
  if (page.next_timer) timers += ", the next " + due_text(*page.next_timer, !model.now_exact());
  line("timers", timers);
  std::string poller, doubt;
  if (page.unseen)
    doubt = fmt::format("? (what {} in could not be found out)",
                        page.unseen == 1 ? "1 M is" : fmt::format("{} Ms are", page.unseen));
  if (model.machines_cut()) doubt = "? (not all Ms could be read)";
  if (page.poller != kNone) {
    poller = state.short_machine(page.poller) + " sleeps in it";
    if (page.poll_until) poller += ", wakes " + due_text(*page.poll_until, !model.now_exact());
  } else {
    poller = doubt.empty() ? "nobody sleeps in it" : doubt;
    if (page.polled) poller += fmt::format(", last polled {}{} ago", format_duration(*page.polled), plus);
  }
  line("poller", poller);
  auto asleep = state.word(F::schedt_sysmonwait);
  line("sysmon", page.sysmon == kNone ? (doubt.empty() ? "none" : doubt)
                                      : fmt::format("{}, {}", state.short_machine(page.sysmon),
                                                    !asleep   ? "?"
                                                    : *asleep ? "asleep"
                                                              : "awake"));
  auto stopping = state.word(F::schedt_gcwaiting), wait = state.word(F::schedt_stopwait);
  std::string world = model.layout().has(F::schedt_gcwaiting) && !stopping ? "?" : "running";
  if (stopping.value_or(0))
    world = !wait ? "stopping or stopped" : *wait ? fmt::format("stopping, {} Ps to go", *wait) : "stopped";
  // More than there are is what Go counts down from as it dies: all are told to stop, and nobody waits until they do.
  if (stopping.value_or(0) && wait.value_or(0) > static_cast<std::int64_t>(model.most_processors()))
    world = fmt::format("being stopped for good, as the program ends in a fatal error (stopwait {:#x})", *wait);
  if (state.word(F::schedt_exiting).value_or(0)) world = "run() is over";
  line("world", world + fmt::format(" (gcwaiting {})", number(F::schedt_gcwaiting)));
  line("uptime", page.uptime ? format_duration(*page.uptime) + plus : "?");
}

void print_check(const SchedChecked& checked, Buffered& out) {
  for (const SchedFinding& f : checked.findings) {
    if (f.transit.empty()) out.add(fmt::format("{}: {}\n", f.certain ? "violation" : "not certain", f.text));
  }
  for (const SchedFinding& f : checked.findings) {
    if (!f.transit.empty()) out.add(fmt::format("in transit: {}: {}\n", f.text, f.transit));
  }
  std::size_t bad = checked.violations(), unsure = checked.findings.size() - bad - checked.transits();
  out.add(fmt::format("checked {}, {}, {}, {} queued, {}: {}, {} in transit{}\n",
                      plural(checked.goroutines, "goroutine"), plural(checked.machines, "M"),
                      plural(checked.processors, "P"), checked.queued, plural(checked.timers, "timer"),
                      bad ? plural(bad, "violation") : "no violation", checked.transits(),
                      unsure ? fmt::format(", {} not certain: the core is cut", unsure) : ""));
}

void json_counts(Json& json, std::string_view key, const std::map<std::string, std::size_t>& counts) {
  json.key(key).open_object();
  for (auto& [word, n] : counts) json.key(word).value(std::uint64_t{n});
  json.close_object();
}

void json_page(SchedState& state, const Page& page, const SchedChecked* checked, Json& json) {
  Model& model = state.model();
  auto number = [&](std::string_view key, std::optional<std::int64_t> v) { json.key(key).value_or_null(v); };
  auto machine = [&](std::string_view key, std::uint32_t m) {
    number(key, m == kNone ? std::nullopt : std::optional(model.machines()[m].id));
  };
  json.open_object();
  number("gomaxprocs", state.variable(Root::gomaxprocs, 4));
  json_counts(json, "ps", page.processors);
  json_counts(json, "ms", page.machines);
  json_counts(json, "goroutines", page.goroutines);
  json.key("system").value(std::uint64_t{page.system}).key("foreign").value(std::uint64_t{page.foreign});
  json.key("dead").value(std::uint64_t{model.dead()});
  number("maxmcount", state.word(F::schedt_maxmcount));
  number("npidle", state.word(F::schedt_npidle));
  number("nmidle", state.word(F::schedt_nmidle));
  number("nmspinning", state.word(F::schedt_nmspinning));
  number("needspinning", state.word(F::schedt_needspinning));
  number("runqsize", state.word(F::schedt_runqsize));
  number("runnable_local", page.less ? std::nullopt : std::optional<std::int64_t>(page.local));
  number("timers", page.less ? std::nullopt : std::optional<std::int64_t>(page.timers));
  number("next_timer_ns", page.next_timer);
  machine("poller_m", page.poller);
  number("poll_until_ns", page.poll_until);
  number("last_poll_age_ns", page.polled);
  machine("sysmon_m", page.sysmon);
  number("sysmonwait", state.word(F::schedt_sysmonwait));
  number("gcwaiting", state.word(F::schedt_gcwaiting));
  number("stopwait", state.word(F::schedt_stopwait));
  number("exiting", state.word(F::schedt_exiting));
  number("uptime_ns", page.uptime);
  json.key("check");
  if (!checked) {
    json.null();
  } else {
    json.open_object().key("violations").value(std::uint64_t{checked->violations()}).key("findings").open_array();
    for (const SchedFinding& f : checked->findings) {
      json.open_object().key("kind").value(f.kind).key("text").value(std::string_view(f.text));
      json.key("addresses").open_array();
      for (std::uint64_t a : f.addresses) json.address(a);
      json.close_array().key("in_transit").text_or_null(f.transit).key("certain").value(f.certain).close_object();
    }
    json.close_array().close_object();
  }
  json.close_object();
}

Outcome run_sched(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("info sched takes options only, not '{}'", line.words[options->positional[0]].text));
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  SchedState state(session, *view->model);
  Page page = look_at(state);
  std::optional<SchedChecked> checked;
  if (options->has("check")) checked = SchedCheck(session, state).run();
  if (session.cancelled()) {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  std::vector<std::string> warnings = all_warnings(session, *view->model);
  warnings.insert(warnings.end(), state.warnings().begin(), state.warnings().end());
  if (session.moving && checked) warnings.push_back("the program runs while we look: what is found may only be torn");
  if (!warnings.empty() || (checked && checked->violations())) session.incomplete = true;
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "sched", 1, 1, warnings);
    json.open_array();
    json_page(state, page, checked ? &*checked : nullptr, json);
    json.close_array();
    if (*mode == 2) json.close_object();
    out.add("\n");
    out.flush();
    if (*mode == 1) warn(sink, warnings);
    return Outcome::ok;
  }
  if (checked) {
    print_check(*checked, out);
  } else {
    print_page(state, page, out);
  }
  for (const std::string& w : warnings) out.add("warning: " + w + "\n");
  return Outcome::ok;
}

void complete_sched(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"info sched", "The scheduler on one page; -check holds its parts against each other.",
     "info sched [-check] [-json[=full]]\n\n"
     "Processors and machines by state, goroutines by status, what is queued, timers, who sleeps in the poller,\n"
     "sysmon, and whether the world is stopped. Machines are\n"
     "  running     a goroutine, with a P\n"
     "  noproc      a goroutine that lost its P because it did not yield\n"
     "  syscall     a goroutine in a blocking call, without a P\n"
     "  spinning    looks for work          scheduling  between two goroutines\n"
     "  idle        sleeps, listed as idle  waking      was handed a P and is about to run\n"
     "  polling     sleeps until a descriptor is ready or a timer due\n"
     "  locked      sleeps until the goroutine that it is locked to may run\n"
     "  sysmon, starting, exited, blocked   as the words say; unknown: its stack could not be followed\n"
     "  spare       has no thread: kept for one of C's that calls Go\n\n"
     "-check instead lists what contradicts itself: a runnable goroutine in no queue or in two, links between M, P\n"
     "and goroutine that do not agree, counters that are not what a walk counts, timer heaps out of order. What is\n"
     "only on its way, because a thread stands in the middle of the change, is listed as \"in transit\" with that\n"
     "thread and the function that it is in. vitrine-inspect ends with status 1 if there are violations.\n\n"
     "Example:\n"
     "  info sched -check\n"
     "  in transit: goroutine 17 (g at 0x7f…) is runnable and in no run queue: M 3 (thread 1234) is in\n"
     "  vitrine::rt::runqsteal\n"
     "  checked 40 goroutines, 5 Ms, 4 Ps, 12 queued, 3 timers: no violation, 1 in transit\n"
     "Next: info ps -runq for the queues, info ms for the threads.\n",
     run_sched, complete_sched},
};

}  // namespace

std::span<const CommandSpec> sched_commands() { return kCommands; }

}  // namespace vitrine::inspect
