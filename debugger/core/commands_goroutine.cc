// commands_goroutine.cc: info goroutines, and the commands that choose one goroutine: goroutine, goroutine off.
// Choosing is a list of actions for the host — select, execute, show — made one at a time; without a host
// (vitrine-inspect) we print the backtrace ourselves, and say so for other commands.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backtrace.h"
#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "model.h"
#include "objects.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

// ---- info goroutines -----------------------------------------------------------------------------------------------

Outcome run_info(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, listing_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty()) {
    return fail(sink, fmt::format("info goroutines takes options only, not '{}' (goroutine N selects one)",
                                  line.words[options->positional[0]].text));
  }
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  GoroutineRows rows(session, *view->model, *view->stacks);
  Outcome outcome = run_listing(session, sink, rows, *options, all_warnings(session, *view->model));
  session.incomplete = session.incomplete || rows.damaged();
  return outcome;
}

void complete_info(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  std::string_view before = line.words.empty() ? std::string_view() : std::string_view(line.words.back().text);
  if (before == "-sort" || before == "-cols" || before == "-where") {
    auto comma = partial.rfind(',');
    std::string done(partial.substr(0, comma == partial.npos ? 0 : comma + 1));
    std::string_view last = partial.substr(done.size());
    std::string minus(before == "-sort" && last.starts_with('-') ? "-" : "");
    for (const ColumnSpec& c : goroutine_columns()) {
      if (c.name.starts_with(last.substr(minus.size()))) offer(done + minus + std::string(c.name));
    }
    return;
  }
  complete_options(listing_options(), partial, offer);
}

// ---- selecting
// -------------------------------------------------------------------------------------------------------

// The goroutine that a word means: a goid, or the address of a g. kNone after having said why not.
std::uint32_t find_goroutine(Session& session, const Model& model, std::string_view word, Sink& sink) {
  auto number = parse_number(word);
  bool address = word.starts_with("0x") || word.starts_with("0X");
  if (!number && looks_like_goid_list(word)) {
    fail(sink, fmt::format("'{0}' names several goroutines, and one is selected at a time: goroutine apply {0} -- CMD",
                           word));
    return kNone;
  }
  // An expression of the host's, $g or gp or &pool[3]: its value is the address of a g. Nothing that could call or
  // assign.
  if (!number && session.eval_hook && word.find_first_of("(=") == word.npos && word.find("++") == word.npos &&
      word.find("--") == word.npos) {
    if (auto found = session.eval_hook(std::string(word))) number = found->value;
    address = true;
  }
  if (!number) {
    fail(sink,
         fmt::format("'{}' is no goroutine: give its number, 0xADDRESS of its g, off, stacks, graph or apply", word));
    return kNone;
  }
  std::uint32_t index = address ? model.find_addr(*number) : model.find_goid(*number);
  if (index != kNone) return index;
  fail(sink, no_goroutine(model, *number, address));
  warn(sink, model.warnings());  // the list may be cut
  return kNone;
}

void print_choice(Session& session, const Scheduler& view, std::uint32_t index, std::string_view verb, Sink& sink) {
  Model& model = *view.model;
  const Goroutine& g = model.goroutines()[index];
  sink.out(fmt::format("[{} {}]\n", verb, title(model, index)));
  if (g.gopc) {
    SourceFrame by = view.stacks->creator(g);
    auto parent = model.parent(g);
    std::string place = by.function.empty() ? fmt::format("{:#x}", by.pc) : std::string(by.function);
    if (!by.file.empty() && by.line) place += fmt::format(" ({}:{})", basename_of(by.file), by.line);
    sink.out(fmt::format("created {}at {}\n", parent ? fmt::format("by goroutine {} ", *parent) : "", place));
  }
  if (std::string labels = describe(view.stacks->labels(g)); !labels.empty())
    sink.out(fmt::format("labels {}\n", printable(labels)));
  Objects objects(session, model);
  if (Waits waits = objects.waits_of(g); waits.select) {
    sink.out(fmt::format("waits in a select for any of {}:\n", plural(waits.on.size(), "case")));
    for (const Wait& w : waits.on) {
      sink.out(fmt::format("  {} {} chan {:#x}\n", side_text(w.side), w.side == Side::send ? "to" : "from", w.object));
    }
    for (const std::string& e : waits.errors) sink.out(fmt::format("  damaged: {}\n", e));
  }
  if (session.host_has_frames) {
    if (std::string why = ends_early(session, model, index); !why.empty())
      sink.out(fmt::format("its frames end early: {}\n", why));
  }
  const Context c = context_of(session.unwinder(), model, g);
  if (c.resuming) {
    sink.out(fmt::format("thread {} of M{} is about to jump here, to go on with it\n", model.thread(g)->tid,
                         model.machine(g)->id));
  }
  if (c.interrupted) {
    sink.out(fmt::format("thread {} of M{} is in a signal handler; this is where the signal came\n",
                         model.thread(g)->tid, model.machine(g)->id));
  }
  if (c.asking) {
    sink.out(fmt::format("thread {} of M{} calls the vDSO, on its scheduling stack; this is who asked for that\n",
                         model.thread(g)->tid, model.machine(g)->id));
  }
  if (c.thread_on_g0) {
    sink.out(fmt::format("thread {} of M{} {}; this is the goroutine's saved context\n", model.thread(g)->tid,
                         model.machine(g)->id,
                         c.in_handler ? "is in a signal handler, and came from its scheduling stack"
                                      : "stands on its scheduling stack"));
  }
}

// A fixed list of actions. A failure ends it, except for those that put the old selection back.
class Steps : public ActionSource {
 public:
  Steps(std::vector<Action> steps, std::size_t cleanup_from = ~std::size_t{0})
      : steps_(std::move(steps)), cleanup_(cleanup_from) {}
  Action next() override {
    if (at_ >= steps_.size()) return {};
    return steps_[at_++];
  }
  void done(bool ok, std::string_view message, Sink& sink) override {
    if (ok) return;
    if (!message.empty()) sink.err(message);
    at_ = at_ > cleanup_ ? steps_.size() : std::max(at_, std::min(cleanup_, steps_.size()));
  }

 private:
  std::vector<Action> steps_;
  std::size_t at_ = 0, cleanup_;
};

Outcome run_current(Session& session, const Scheduler& view, Sink& sink) {
  Model& model = *view.model;
  if (session.selection().selected) {
    std::uint32_t index = model.find_addr(session.selection().g);
    if (index != kNone) {
      sink.out(fmt::format("{} is selected\n", title(model, index)));
      return Outcome::ok;
    }
  }
  if (model.current() != kNone) {
    sink.out(fmt::format("the current thread runs {}\n", title(model, model.current())));
    return Outcome::ok;
  }
  const Thread* current = nullptr;
  for (const Thread& t : session.target().threads()) {
    if (t.current) current = &t;
  }
  if (!current) {
    sink.out("no goroutine is selected, and which thread is current is not known\n");
    return Outcome::ok;
  }
  for (const Machine& m : model.machines()) {
    if (m.thread != kNone && &session.target().threads()[m.thread] == current) {
      sink.out(
          fmt::format("no goroutine is selected; the current thread {} is M{} and runs none\n", current->tid, m.id));
      return Outcome::ok;
    }
  }
  sink.out(fmt::format("no goroutine is selected; the current thread {} is none of the runtime's\n", current->tid));
  return Outcome::ok;
}

Outcome run_goroutine(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (line.words.size() <= first && line.error) return fail(sink, *line.error);
  if (line.words.size() > first && line.words[first].text == "--") ++first;
  if (line.words.size() > first && line.words[first].text.starts_with('-')) {
    return fail(sink,
                fmt::format("goroutine has no options, {} is none: goroutine N [COMMAND], info goroutines for the list",
                            line.words[first].text));
  }
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Model& model = *view->model;
  if (line.words.size() <= first) return run_current(session, *view, sink);
  if (line.words.size() > first + 1 && line.words[first + 1].text == "history" && !line.words[first + 1].quoted)
    return goroutine_history(session, line, first, sink);
  std::uint32_t index = find_goroutine(session, model, line.words[first].text, sink);
  if (index == kNone) return Outcome::error;
  std::string problem = cannot_show(session, model, index);
  // What follows the number is the host's, verbatim, an open quote included.
  std::string command;
  if (line.words.size() > first + 1 || line.error) {
    std::string_view raw = line.raw;
    raw.remove_prefix(line.words[first].end);
    raw.remove_prefix(std::min(raw.find_first_not_of(" \t"), raw.size()));
    while (!raw.empty() && (raw.back() == ' ' || raw.back() == '\t' || raw.back() == '\n')) raw.remove_suffix(1);
    command = raw;
  }
  if (!problem.empty()) {
    if (command.empty() && !model.goroutines()[index].is(Goroutine::unreadable)) {
      print_choice(session, *view, index, "Goroutine not selected:", sink);
    }
    return fail(sink, problem);
  }
  if (!command.empty()) {
    if (session.host_has_frames) {
      Action execute;
      execute.kind = Action::Kind::execute;
      execute.text = command;
      session.set_actions(std::make_unique<Steps>(
          std::vector<Action>{select_action(session, model, index), execute, restore_action(session)}, 2));
      return Outcome::ok;
    }
    auto count = own_backtrace(command);
    if (!count) return fail(sink, no_host(command));
    print_backtrace(session, model, index, *count, sink);
    return Outcome::ok;
  }
  print_choice(session, *view, index, session.host_has_frames ? "Switching to" : "Looking at", sink);
  if (session.host_has_frames) {
    Action show;
    show.kind = Action::Kind::show_frame;
    session.set_actions(std::make_unique<Steps>(std::vector<Action>{select_action(session, model, index), show}));
  } else {
    print_backtrace(session, model, index, 0, sink);
  }
  return Outcome::ok;
}

Outcome run_off(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (line.words.size() > first) return fail(sink, "goroutine off takes no arguments");
  if (!session.host_has_frames) return fail(sink, "nothing can stay selected here: vitrine-inspect runs one command");
  if (!session.selection().selected) {
    sink.out("no goroutine is selected\n");
    return Outcome::ok;
  }
  sink.out(fmt::format("[No longer at goroutine {}: back to the debugger's own thread]\n", session.selection().goid));
  Action off, show;
  off.kind = Action::Kind::deselect;
  show.kind = Action::Kind::show_frame;
  session.set_actions(std::make_unique<Steps>(std::vector<Action>{off, show}));
  return Outcome::ok;
}

constexpr CommandSpec kCommands[] = {
    {"info goroutines", "List goroutines: state, why and how long they wait, where they are.",
     "info goroutines [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count] [-all]\n\n"
     "One row a goroutine; the selected or current one comes first, marked *.\n"
     "  AGE    how long it has waited; 5.0s+ means at least so long (a core has no exact now), ~5.0s about so long\n"
     "         (of a Go program: the time of the collection before the one that first met it waiting)\n"
     "  M, P   what runs it, - when nothing does\n"
     "  STACK  bytes used/total\n"
     "  WHERE  the first frame of your own code, past the runtime and the C++ library; else the entry function\n"
     "The first 100 rows are shown unless -limit says otherwise. The runtime's own goroutines need -all or\n"
     "-where system; -json lists them too. A thread that is none of the runtime's and waits for a channel or a lock\n"
     "is a row as well, named \"thread TID\".\n\n"
     "-where takes one word, so quote it. Columns: goid status wait age m p stack where name current addr thread\n"
     "system function file line used total guard depth waiting_on parent created start scan foreign noproc locked "
     "labels\n"
     "errors.\n"
     "Operators: = != < <= > >= ~ !~ (regular expressions), and or not ( ). Durations 10s 5ms 2m, sizes 64KiB.\n"
     "`stack ~ RE` looks at the functions of all frames. A row for which the expression is unknown (the age of a\n"
     "running goroutine) is not shown, but counted.\n\n"
     "Example: who has waited for a channel for more than ten seconds, the longest first\n"
     "  info goroutines -where \"wait ~ chan and age > 10s\" -sort -age\n"
     "Next: goroutine N to look at one, goroutine stacks to see them grouped.\n",
     run_info, complete_info},
    {"goroutine", "Select a goroutine, or run a command on it.",
     "goroutine            say which goroutine is current\n"
     "goroutine N          select goroutine N: bt, up, frame, print then act on it, until the program runs\n"
     "goroutine 0xADDR     the same, by the address of its g; in a debugger also an expression without calls: gp\n"
     "goroutine off        back to the debugger's own threads\n"
     "goroutine N COMMAND  run one command on it, then go back\n"
     "goroutine N history  its life as the flight recorder saw it, also when it is dead (trace history)\n\n"
     "A running goroutine selects its thread, unless that thread stands on its scheduling stack or is in a signal\n"
     "handler: then the saved context is shown, or where the signal came, and said. Nothing is written to the program. "
     "In vitrine-inspect a backtrace is printed\n"
     "instead, and bt [N] is the only COMMAND.\n\n"
     "Example:\n"
     "  goroutine 17\n"
     "  bt\n"
     "  goroutine 18 info locals\n"
     "Next: goroutine apply for many, goroutine stacks for all at once.\n",
     run_goroutine, nullptr},
    {"goroutine off", "Back to the debugger's own threads.",
     "goroutine off\n\n"
     "Ends the selection that goroutine N made.\n\n"
     "Example:\n"
     "  goroutine 17\n"
     "  goroutine off\n",
     run_off, nullptr},
};

}  // namespace

std::span<const CommandSpec> goroutine_commands() { return kCommands; }

}  // namespace vitrine::inspect
