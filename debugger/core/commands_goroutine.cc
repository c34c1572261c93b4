// commands_goroutine.cc: info goroutines, and the commands that choose one or many goroutines: goroutine, goroutine
// off, goroutine apply. Choosing is a list of actions for the host — select, execute, show — made one at a time;
// without a host (vitrine-inspect) we print the backtrace ourselves, and say so for other commands.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backtrace.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "model.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

struct View {
  Model* model = nullptr;
  Stacks* stacks = nullptr;
};

// The scheduler of the target, or Outcome::error after having said why not.
std::optional<View> look(Session& session, Sink& sink) {
  auto stacks = session.stacks();
  if (!stacks) {
    fail(sink, stacks.error());
    return std::nullopt;
  }
  return View{*session.model(), *stacks};
}

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
  return run_listing(session, sink, rows, *options, all_warnings(session, *view->model));
}

void complete_options(std::span<const OptionSpec> specs, std::string_view partial, const Complete& offer) {
  if (!partial.starts_with('-')) return;
  for (const OptionSpec& spec : specs) {
    std::string word = fmt::format("-{}", spec.name);
    if (word.starts_with(partial)) offer(word);
  }
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

Action select_action(const Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  Context c = context_of(model, g);
  Action a;
  a.kind = Action::Kind::select;
  a.goid = g.goid;
  a.g = g.addr;
  a.tid = c.tid;
  a.regs = c.regs;
  return a;
}

// Why a goroutine cannot be shown at all; "" when it can.
std::string cannot_show(const Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  if (g.is(Goroutine::unreadable)) return fmt::format("the g at {:#x} is unreadable", g.addr);
  if (!context_of(model, g).tid) {
    if (!g.sp || !g.pc) return fmt::format("goroutine {} (g at {:#x}) has no saved context", g.goid, g.addr);
    auto errors = model.errors_of(g);
    if (g.is(Goroutine::bad_sp)) return fmt::format("goroutine {} (g at {:#x}): {}", g.goid, g.addr, errors[0]);
  }
  return {};
}

// The goroutine that a word means: a goid, or the address of a g. kNone after having said why not.
std::uint32_t find_goroutine(const Model& model, std::string_view word, Sink& sink) {
  auto number = parse_number(word);
  if (!number) {
    fail(sink, fmt::format("'{}' is no goroutine: give its number, 0xADDRESS of its g, off, stacks or apply", word));
    return kNone;
  }
  bool address = word.starts_with("0x") || word.starts_with("0X");
  std::uint32_t index = address ? model.find_addr(*number) : model.find_goid(*number);
  if (index != kNone) return index;
  std::size_t n = model.goroutines().size();
  std::string facts =
      n == 0 ? "there are none"
             : fmt::format("{} exist{}", n == 1 ? "1 goroutine" : fmt::format("{} goroutines", n), n == 1 ? "s" : "");
  std::uint64_t last = 0;
  for (const Goroutine& g : model.goroutines()) {
    if (!g.is(Goroutine::unreadable)) last = std::max(last, g.goid);
  }
  if (n) facts += fmt::format(", the newest is {}", last);
  if (address) {
    fail(sink, fmt::format("there is no goroutine whose g is at {:#x}: {}", *number, facts));
  } else {
    bool gone = *number && *number < last;
    fail(sink, fmt::format("there is no goroutine {}{}: {}", *number, gone ? " (any more)" : "", facts));
  }
  warn(sink, model.warnings());  // the list may be cut
  return kNone;
}

void print_choice(const View& view, std::uint32_t index, std::string_view verb, Sink& sink) {
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
  if (context_of(model, g).thread_on_g0) {
    sink.out(fmt::format("thread {} of M{} stands on its scheduling stack; this is the goroutine's saved context\n",
                         model.thread(g)->tid, model.machine(g)->id));
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

// Back to what was selected before a temporary choice.
Action restore_action(Session& session) {
  Action back;
  back.kind = Action::Kind::deselect;
  if (!session.selection().selected) return back;
  auto model = session.model();
  std::uint32_t index = model ? (*model)->find_addr(session.selection().g) : kNone;
  return index == kNone ? back : select_action(**model, index);
}

// Without a host only a backtrace can be made: bt, backtrace, where, with an optional count. nullopt: another command.
std::optional<long> own_backtrace(std::string_view command) {
  Line line = split(command);
  if (line.words.empty()) return std::nullopt;
  static constexpr std::string_view kNames[] = {"bt", "backtrace", "where"};
  if (std::find(std::begin(kNames), std::end(kNames), line.words[0].text) == std::end(kNames)) return std::nullopt;
  if (line.words.size() == 1) return 0;
  if (line.words.size() > 2) return std::nullopt;
  std::string_view n = line.words[1].text;
  bool outer = n.starts_with('-');
  auto count = parse_number(outer ? n.substr(1) : n);
  if (!count || *count > 1000000000) return std::nullopt;
  return outer ? -static_cast<long>(*count) : static_cast<long>(*count);
}

std::string no_host(std::string_view command) {
  return fmt::format("'{}' needs a debugger; without one there is bt [N]", command);
}

Outcome run_current(Session& session, const View& view, Sink& sink) {
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
  std::uint32_t index = find_goroutine(model, line.words[first].text, sink);
  if (index == kNone) return Outcome::error;
  std::string problem = cannot_show(model, index);
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
      print_choice(*view, index, "Goroutine not selected:", sink);
    }
    return fail(sink, problem);
  }
  if (!command.empty()) {
    if (session.host_has_frames) {
      Action execute;
      execute.kind = Action::Kind::execute;
      execute.text = command;
      session.set_actions(std::make_unique<Steps>(
          std::vector<Action>{select_action(model, index), execute, restore_action(session)}, 2));
      return Outcome::ok;
    }
    auto count = own_backtrace(command);
    if (!count) return fail(sink, no_host(command));
    print_backtrace(session, model, index, *count, sink);
    return Outcome::ok;
  }
  print_choice(*view, index, session.host_has_frames ? "Switching to" : "Looking at", sink);
  if (session.host_has_frames) {
    Action show;
    show.kind = Action::Kind::show_frame;
    session.set_actions(std::make_unique<Steps>(std::vector<Action>{select_action(model, index), show}));
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

// ---- apply
// -----------------------------------------------------------------------------------------------------------

class Apply : public ActionSource {
 public:
  Apply(Session& session, std::vector<std::uint32_t> rows, std::string command, bool quiet)
      : session_(session), rows_(std::move(rows)), command_(std::move(command)), quiet_(quiet) {
    back_ = restore_action(session);
  }
  Action next() override {
    auto model = session_.model();
    if (!model || stop_id_ != session_.stop_id()) return finish();  // the target ran: goroutines are others now
    Action a;
    switch (step_) {
      case Step::heading:
        if (at_ >= rows_.size()) return finish();
        step_ = Step::select;
        problem_ = cannot_show(**model, rows_[at_]);
        if (!quiet_ || !problem_.empty()) {
          a.kind = Action::Kind::print;
          a.text = fmt::format("\n[{}]\n", title(**model, rows_[at_]));
          if (!problem_.empty()) {
            a.text += fmt::format("left out: {}\n", problem_);
            ++failed_;
            ++at_;
            step_ = Step::heading;
          }
          return a;
        }
        [[fallthrough]];
      case Step::select:
        step_ = Step::execute;
        return select_action(**model, rows_[at_]);
      case Step::execute:
        step_ = Step::heading;
        ++at_;
        a.kind = Action::Kind::execute;
        a.text = command_;
        return a;
      case Step::over:
        return {};
    }
    return {};
  }
  void done(bool ok, std::string_view message, Sink& sink) override {
    if (ok) {
      if (step_ == Step::over && failed_) {
        sink.err(fmt::format("the command failed for {} of {}", failed_, plural(rows_.size(), "goroutine")));
      }
      return;
    }
    ++failed_;
    if (!message.empty()) sink.err(message);
    if (step_ == Step::execute) {  // could not be selected: on with the next
      step_ = Step::heading;
      ++at_;
    }
    if (session_.cancelled()) at_ = rows_.size();
  }

 private:
  enum class Step { heading, select, execute, over };
  Action finish() {
    if (step_ == Step::over) return {};
    step_ = Step::over;
    if (stop_id_ != session_.stop_id()) back_ = Action{Action::Kind::deselect, 0, 0, 0, {}, {}};
    return back_;
  }
  Session& session_;
  std::vector<std::uint32_t> rows_;
  std::string command_, problem_;
  bool quiet_;
  Action back_;
  Step step_ = Step::heading;
  std::size_t at_ = 0, failed_ = 0;
  std::uint64_t stop_id_ = session_.stop_id();
};

constexpr OptionSpec kApplyOptions[] = {
    {"where", Takes::value, "EXPR: the goroutines for which this holds"},
    {"limit", Takes::value, "N: at most N of them, 0 for all (the default)"},
    {"quiet", Takes::nothing, "no heading before each"},
    {"all", Takes::nothing, "the runtime's own as well"},
};

Outcome run_apply(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kApplyOptions, Mixing::before_first);
  if (!options) return fail(sink, options.error());
  constexpr std::string_view kUsage = "goroutine apply all|LIST|-where EXPR -- COMMAND";
  const std::string* where = options->get("where");
  if (options->positional.empty()) return fail(sink, fmt::format("which goroutines, and what command? {}", kUsage));
  std::size_t command = options->positional[0];
  std::string_view chosen = where ? std::string_view("all") : std::string_view(line.words[command].text);
  bool all = chosen == "all";
  std::optional<GoidList> list;
  if (!where) {
    if (!all) {
      auto parsed = parse_goid_list(chosen);
      if (!parsed) return fail(sink, fmt::format("{}; {}", parsed.error().message, kUsage));
      list = std::move(*parsed);
    }
    ++command;
    if (command < line.words.size() && line.words[command].text == "--") ++command;
  }
  if (command >= line.words.size()) {
    if (line.error) return fail(sink, *line.error);
    return fail(sink, fmt::format("what command? {}", kUsage));
  }
  std::string text(line.from(command));
  auto limit = limit_of(*options, ~std::uint64_t{0});
  if (!limit) return fail(sink, limit.error());
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Model& model = *view->model;
  GoroutineRows rows(session, model, *view->stacks);
  auto found = filter_rows(session, rows, where, options->has("all") || list);
  if (found.outcome != Outcome::ok) {
    fail(sink, found.error);
    return found.outcome;
  }
  std::vector<std::uint32_t>& picked = found.filtered.rows;
  if (list) {
    std::erase_if(picked, [&](std::uint32_t i) {
      const Goroutine& g = model.goroutines()[i];
      return g.is(Goroutine::unreadable) || !list->contains(g.goid);
    });
  }
  if (picked.empty()) {
    fail(sink, "no such goroutine: there is nothing to apply the command to");
    warn(sink, model.warnings());
    return Outcome::error;
  }
  if (list) {  // single numbers that are missing are said; of a range only what exists is meant
    for (auto [lo, hi] : list->ranges) {
      if (lo == hi && model.find_goid(lo) == kNone) sink.err(fmt::format("there is no goroutine {}", lo));
    }
  }
  if (picked.size() > *limit) {
    sink.out(fmt::format("{} of {} goroutines (-limit 0 for all)\n", *limit, picked.size()));
    picked.resize(*limit);
  }
  if (session.host_has_frames) {
    session.set_actions(std::make_unique<Apply>(session, std::move(picked), std::move(text), options->has("quiet")));
    return Outcome::ok;
  }
  auto count = own_backtrace(text);
  if (!count) return fail(sink, no_host(text));
  std::size_t failed = 0;
  for (std::size_t i = 0; i < picked.size(); ++i) {
    if (i % 64 == 63 && session.cancelled()) {
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
    std::string problem = cannot_show(model, picked[i]);
    if (!options->has("quiet")) sink.out(fmt::format("\n[{}]\n", title(model, picked[i])));
    if (problem.empty()) {
      print_backtrace(session, model, picked[i], *count, sink);
    } else {
      sink.out(fmt::format("left out: {}\n", problem));
      ++failed;
    }
  }
  if (!failed) return Outcome::ok;
  return fail(sink, fmt::format("the command failed for {} of {}", failed, plural(picked.size(), "goroutine")));
}

void complete_apply(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kApplyOptions, partial, offer);
  if (std::string_view("all").starts_with(partial)) offer("all");
}

constexpr CommandSpec kCommands[] = {
    {"info goroutines", "List goroutines: state, why and how long they wait, where they are.",
     "info goroutines [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count] [-all]\n\n"
     "One row a goroutine; the selected or current one comes first, marked *.\n"
     "  AGE    how long it has waited; 5.0s+ means at least so long (a core has no exact now)\n"
     "  M, P   what runs it, - when nothing does\n"
     "  STACK  bytes used/total\n"
     "  WHERE  the first frame of your own code, past the runtime and the C++ library; else the entry function\n"
     "The first 100 rows are shown unless -limit says otherwise. The runtime's own goroutines need -all or\n"
     "-where system; -json lists them too.\n\n"
     "-where takes one word, so quote it. Columns: goid status wait age m p stack where name current addr thread\n"
     "system function file line used total guard depth waiting_on parent created start scan errors.\n"
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
     "goroutine 0xADDR     the same, by the address of its g\n"
     "goroutine off        back to the debugger's own threads\n"
     "goroutine N COMMAND  run one command on it, then go back\n\n"
     "A running goroutine selects its thread, unless that thread stands on its scheduling stack: then the saved\n"
     "context is shown, and said. Nothing is written to the program. In vitrine-inspect a backtrace is printed\n"
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
    {"goroutine apply", "Run a debugger command on many goroutines.",
     "goroutine apply all [--] COMMAND\n"
     "goroutine apply LIST [--] COMMAND        LIST: 1-5,9\n"
     "goroutine apply -where EXPR -- COMMAND   EXPR as in info goroutines, one word\n"
     "Options before: -limit N, -quiet (no heading before each), -all (the runtime's own as well)\n\n"
     "Selects each in turn and runs COMMAND, word for word. A failure is counted and the next follows; the old\n"
     "selection comes back at the end. It ends early when the program runs.\n\n"
     "Example: the top three frames of whoever waits for a mutex\n"
     "  goroutine apply -where \"wait ~ Mutex\" -- bt 3\n",
     run_apply, complete_apply},
};

}  // namespace

std::span<const CommandSpec> goroutine_commands() { return kCommands; }

}  // namespace vitrine::inspect
