// commands_apply.cc: goroutine apply — one command on many goroutines. For a host it is a source of actions, made one
// at a time: heading, select, execute, and at the end the old selection again; a million goroutines cost nothing until
// their turn comes. It ends early when the command let the target run, because its goroutines are others then.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backtrace.h"
#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

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
        problem_ = cannot_show(session_, **model, rows_[at_]);
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
        return select_action(session_, **model, rows_[at_]);
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
    if (stop_id_ != session_.stop_id()) {
      back_ = Action{};
      back_.kind = Action::Kind::deselect;
    }
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
  constexpr std::string_view kUsage = "goroutine apply all|LIST|-where EXPR [OPTIONS] [--] COMMAND";
  const auto usage = [&](std::string_view problem) { return fail(sink, fmt::format("{}; {}", problem, kUsage)); };
  auto options = parse_options(line, first, kApplyOptions, Mixing::before_first);
  if (!options) return usage(options.error().message);
  if (options->positional.empty()) return fail(sink, fmt::format("which goroutines, and what command? {}", kUsage));
  std::size_t command = options->positional[0];
  const std::string& chosen = line.words[command].text;
  const bool ended = command > first && line.words[command - 1].text == "--";  // then a command follows
  std::optional<GoidList> list;
  if (!options->has("where") || (!ended && (chosen == "all" || looks_like_goid_list(chosen)))) {
    if (chosen != "all") {
      auto parsed = parse_goid_list(chosen);
      if (!parsed) return usage(parsed.error().message);
      list = std::move(*parsed);
    }
    auto more = parse_options(line, command + 1, kApplyOptions, Mixing::before_first);
    if (!more) return usage(more.error().message);
    options->set.insert(options->set.end(), more->set.begin(), more->set.end());
    command = more->positional.empty() ? line.words.size() : more->positional[0];
  }
  const std::string* where = options->get("where");
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
    std::string problem = cannot_show(session, model, picked[i]);
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
    {"goroutine apply", "Run a debugger command on many goroutines.",
     "goroutine apply all [--] COMMAND\n"
     "goroutine apply LIST [--] COMMAND            LIST: 1-5,9\n"
     "goroutine apply [all] -where EXPR COMMAND    EXPR as in info goroutines, one word\n"
     "Options, before all or LIST or after it: -where EXPR, -limit N, -quiet (no heading before each), -all (the\n"
     "runtime's own as well). A COMMAND that begins with a dash comes after --.\n\n"
     "Selects each in turn and runs COMMAND, word for word. A failure is counted and the next follows; the old\n"
     "selection comes back at the end. It ends early when the program runs.\n\n"
     "Example: the top three frames of whoever waits for a mutex\n"
     "  goroutine apply -where \"wait ~ Mutex\" -- bt 3\n",
     run_apply, complete_apply},
};

}  // namespace

std::span<const CommandSpec> apply_commands() { return kCommands; }

}  // namespace vitrine::inspect
