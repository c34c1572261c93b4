// choose.cc: see choose.h. A running goroutine is its thread, unless that stands on g0: then it is its saved context.
#include "choose.h"

#include <fmt/format.h>

#include <algorithm>

#include "backtrace.h"
#include "listing.h"

namespace vitrine::inspect {

std::optional<Scheduler> look(Session& session, Sink& sink) {
  auto stacks = session.stacks();
  if (!stacks) {
    fail(sink, stacks.error());
    if (session.has_target()) warn(sink, session.target().warnings());  // why: a core that is cut too early, say
    return std::nullopt;
  }
  return Scheduler{*session.model(), *stacks};
}

Action select_action(const Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  Context c = context_of(model, g);
  Action a;
  a.kind = Action::Kind::select;
  a.goid = g.goid;
  a.g = g.addr;
  a.tid = c.tid;
  a.regs = c.regs;
  // A host takes a saved pc for a return address: one further in, that is right for a function's first instruction.
  if (!c.tid && c.exact) a.regs.r[kRip] += 1;
  return a;
}

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

Action restore_action(Session& session) {
  Action back;
  back.kind = Action::Kind::deselect;
  if (!session.selection().selected) return back;
  auto model = session.model();
  std::uint32_t index = model ? (*model)->find_addr(session.selection().g) : kNone;
  return index == kNone ? back : select_action(**model, index);
}

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

void complete_options(std::span<const OptionSpec> specs, std::string_view partial, const Complete& offer) {
  if (!partial.starts_with('-')) return;
  for (const OptionSpec& spec : specs) {
    std::string word = fmt::format("-{}", spec.name);
    if (word.starts_with(partial)) offer(word);
  }
}

}  // namespace vitrine::inspect
