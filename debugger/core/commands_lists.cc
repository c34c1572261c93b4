// commands_lists.cc: info ps, info ms, info timers, info netpoll: the scheduler's other lists, with the options of
// info goroutines.
#include <fmt/format.h>

#include <algorithm>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "heap_commands.h"
#include "listing.h"
#include "sched_rows.h"

namespace vitrine::inspect {
namespace {

std::vector<OptionSpec> own_options() {  // without -all: nothing is hidden in these lists
  std::vector<OptionSpec> options;
  for (const OptionSpec& o : listing_options()) {
    if (o.name != "all") options.push_back(o);
  }
  return options;
}

std::span<const OptionSpec> list_options() {
  static const std::vector<OptionSpec> options = own_options();
  return options;
}

std::span<const OptionSpec> ps_options() {
  static const std::vector<OptionSpec> options = [] {
    auto all = own_options();
    all.push_back({"runq", Takes::nothing, "the goroutines in each queue, in order"});
    return all;
  }();
  return options;
}

// What all four do before and after. `nothing`: the answer when there are no rows at all.
template <class MakeRows, class After>
Outcome run_list(Session& session, const Line& line, std::size_t first, Sink& sink, std::span<const OptionSpec> specs,
                 std::string_view name, std::string_view nothing, MakeRows make, After after) {
  auto options = parse_options(line, first, specs, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("{} takes options only, not '{}'", name, line.words[options->positional[0]].text));
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  SchedState state(session, *view->model);
  auto rows = make(state, *options);
  std::vector<std::string> warnings = all_warnings(session, *view->model);
  after(state, rows, *options, warnings);
  if (!warnings.empty()) session.incomplete = true;
  const bool table = !options->has("json") && !options->has("short") && !options->has("count");
  if (rows.size() == 0 && table) {
    const bool lost = view->model->processors_cut() || view->model->machines_cut();
    sink.out(fmt::format("{}\n", lost ? "none that could be read" : nothing));
    for (const std::string& w : warnings) sink.out(fmt::format("warning: {}\n", w));
    return Outcome::ok;
  }
  Outcome outcome = run_listing(session, sink, rows, *options, warnings);
  session.incomplete = session.incomplete || rows.damaged();
  return outcome;
}

Outcome run_ps(Session& session, const Line& line, std::size_t first, Sink& sink) {
  std::string global;
  Outcome outcome = run_list(
      session, line, first, sink, ps_options(), "info ps", "there are no Ps yet",
      [](SchedState& state, const Options& options) { return ProcessorRows(state, options.has("runq")); },
      [&](SchedState& state, ProcessorRows&, const Options& options, std::vector<std::string>& warnings) {
        if (!options.has("runq") || options.has("json") || options.has("short") || options.has("count")) return;
        const ListWalk& queue = state.global_queue();
        global = fmt::format("global queue ({}):", queue.items.size());
        for (std::uint64_t g : queue.items) global += " " + state.goid_text(g);
        if (!queue.problem.empty()) warnings.push_back(queue.problem);
      });
  if (outcome == Outcome::ok && !global.empty()) sink.out(global + "\n");
  return outcome;
}

Outcome run_ms(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run_list(
      session, line, first, sink, list_options(), "info ms", "there are no Ms yet",
      [](SchedState& state, const Options&) { return MachineRows(state); },
      [](SchedState&, MachineRows&, const Options&, std::vector<std::string>&) {});
}

Outcome run_timers(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run_list(
      session, line, first, sink, list_options(), "info timers", "no timer is set",
      [&](SchedState& state, const Options&) { return TimerRows(session, state); },
      [](SchedState&, TimerRows&, const Options&, std::vector<std::string>&) {});
}

Outcome run_netpoll(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto layout = session.layout();
  const bool listed = !layout || (*layout)->root(Root::allpolldescs);
  return run_list(
      session, line, first, sink, list_options(), "info netpoll",
      listed ? "no descriptor is watched: the program uses no netpoll"
             : "this runtime keeps no list of the descriptors that it watches (info goroutines -where \"wait ~ IO\")",
      [&](SchedState& state, const Options&) { return NetpollRows(session, state); },
      [](SchedState&, NetpollRows& rows, const Options&, std::vector<std::string>& warnings) {
        warnings.insert(warnings.end(), rows.warnings().begin(), rows.warnings().end());
      });
}

void complete_ps(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(ps_options(), processor_columns(), line, partial, offer);
}
void complete_ms(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(list_options(), machine_columns(), line, partial, offer);
}
void complete_timers(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(list_options(), timer_columns(), line, partial, offer);
}
void complete_netpoll(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(list_options(), netpoll_columns(), line, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"info ps", "List Ps: status, M, goroutine, queue lengths; -runq shows what is queued.",
     "info ps [-runq] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row a processor. RUNQ counts what waits to run on it, runnext included; TIMERS its timers.\n"
     "-runq adds the goroutines themselves in the order that they will run (next: is the one in runnext), and the\n"
     "global queue as the last line. -json always has them.\n\n"
     "Columns: id status m g runq timers schedtick syscalltick queue runnext next free stolen preempt addr.\n\n"
     "Example: the Ps that have work waiting\n"
     "  info ps -where \"runq > 0\" -runq\n"
     "Next: goroutine N for one of them, info ms for the threads.\n",
     run_ps, complete_ps},
    {"info ms", "List Ms: thread, state, P, goroutine, where the thread stands.",
     "info ms [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row a machine, that is, a thread of the runtime. STATE is as in info sched; LOCKS counts locks and pins\n"
     "that keep it from being preempted; LOCKEDG is the goroutine that holds it by os_thread_lock; WHERE is the\n"
     "user's function that it runs, else the runtime's.\n\n"
     "Columns: id tid state p curg spinning blocked locks lockedg where function nextp oldp steals preempts addr.\n\n"
     "Example: the threads that are in blocking calls\n"
     "  info ms -where \"state = syscall\"\n"
     "Next: goroutine N for what one of them runs.\n",
     run_ms, complete_ms},
    {"info timers", "List timers, soonest first: when, what kind, for which goroutine or channel.",
     "info timers [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row a timer of any P. DUE counts from now; a minus says how late it is. In a core the last clock that the\n"
     "runtime saw stands for now, so the time left is at most what is shown: ~. WHAT is the goroutine that sleeps or\n"
     "whose select times out, the channel that a timer or ticker sends to, the function that is called, or the\n"
     "descriptor whose deadline it is.\n\n"
     "Columns: due p kind period goid what by when function arg addr.\n\n"
     "Example: who sleeps for more than a minute\n"
     "  info timers -where \"kind = sleep and due > 1m\"\n"
     "Next: goroutine N for the one that waits, chan ADDR for the channel.\n",
     run_timers, complete_timers},
    {"info netpoll", "List descriptors that goroutines wait for: side, deadline, what each is.",
     "info netpoll [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row an open descriptor of the network poller. READER and WRITER are the goroutines parked on each side;\n"
     "\"ready\" is an event that nobody has taken yet, \"parking\" a goroutine on its way to sleep. WHAT comes from\n"
     "/proc of a live process on this machine.\n\n"
     "Columns: fd what mode reader writer read_due write_due closing by addr.\n\n"
     "Example: who waits to read\n"
     "  info netpoll -where \"mode ~ r\"\n"
     "Next: goroutine N for the one that waits.\n",
     run_netpoll, complete_netpoll},
};

}  // namespace

std::span<const CommandSpec> list_commands() { return kCommands; }

}  // namespace vitrine::inspect
