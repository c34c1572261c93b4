// choose.cc: see choose.h. A running goroutine is its thread, unless that stands on g0: then it is its saved context.
#include "choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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

namespace {

constexpr std::size_t kDeepest = 1 << 16;

StackWalk walk_saved(Session& session, const Context& c, const Goroutine& g) {
  return session.unwinder().walk(c.regs, c.exact, bounds_of(c, g), kDeepest);
}

// Whether who takes a pc for a return address, and so looks at the byte before it, finds what is at the pc.
bool same_a_byte_before(Program& program, std::uint64_t pc) {
  const CfiRow *at = program.cfi(pc), *before = program.cfi(pc - 1);
  return at && before && *at == *before && !at->complex_rules && program.locate(pc) == program.locate(pc - 1);
}

void look_outwards(Session& session, const Context& c, const Goroutine& g, Action& a) {
  StackWalk walk = walk_saved(session, c, g);
  if (walk.end == StackEnd::bottom && !walk.frames.empty()) a.outer_sp = walk.frames.back().sp;
  for (std::size_t i = 0; i + 1 < walk.frames.size(); ++i) {
    const CfiRow* row = session.program().cfi(walk.frames[i].lookup_pc());
    if (!row || (row->saved >> kRbp & 1)) return;  // its caller's rbp is known as it is
    static constexpr std::array<std::uint8_t, 4> kPush = {0x55, 0x48, 0x89, 0xe5};  // push %rbp; mov %rsp, %rbp
    std::array<std::uint8_t, 4> code;
    const std::uint64_t start = session.program().function_start(walk.frames[i].lookup_pc());
    if (i == 0 || !start || !session.memory().read(start, std::as_writable_bytes(std::span(code)), Space::code))
      continue;
    if (code != kPush) continue;
    a.link_rbp = walk.frames[i + 1].sp - 16;
    return;
  }
}

}  // namespace

Action select_action(Session& session, const Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  const Context c = context_of(session.unwinder(), model, g);
  Action a;
  a.kind = Action::Kind::select;
  a.goid = g.goid;
  a.g = g.addr;
  a.tid = c.tid;
  a.regs = c.regs;
  a.exact = !c.tid && c.exact && !same_a_byte_before(session.program(), c.regs.r[kRip]);
  if (!c.tid) look_outwards(session, c, g, a);
  return a;
}

std::string ends_early(Session& session, const Model& model, std::uint32_t index) {
  const Context c = context_of(session.unwinder(), model, model.goroutines()[index]);
  if (c.tid) return {};
  StackWalk walk = walk_saved(session, c, model.goroutines()[index]);
  return walk.end == StackEnd::depth_limit ? std::string() : walk.explain();
}

std::string no_goroutine(const Model& model, std::uint64_t number, bool address) {
  const std::size_t n = model.goroutines().size();
  std::uint64_t last = 0, unread = model.lost();
  for (const Goroutine& g : model.goroutines()) {
    if (g.is(Goroutine::unreadable)) {
      ++unread;
    } else {
      last = std::max(last, g.goid);
    }
  }
  const std::string named =
      address ? fmt::format("goroutine whose g is at {:#x}", number) : fmt::format("goroutine {}", number);
  if (unread)
    return fmt::format("there is no {} among those that could be read; {} of {} could not", named, unread,
                       n + model.lost());
  const bool gone = !address && number && number < last;
  if (n == 0) return fmt::format("there is no {}: there are none", named);
  return fmt::format("there is no {}{}: {}, the newest is {}", named, gone ? " (any more)" : "",
                     n == 1 ? "1 goroutine exists" : fmt::format("{} goroutines exist", n), last);
}

std::string cannot_show(Session& session, const Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  if (g.is(Goroutine::unreadable)) return fmt::format("the g at {:#x} is unreadable", g.addr);
  if (const Context c = context_of(session.unwinder(), model, g); !c.live()) {
    if (!c.regs.r[kRsp] || !c.regs.r[kRip])
      return fmt::format("goroutine {} (g at {:#x}) has no saved context", g.goid, g.addr);
    auto errors = model.errors_of(g);
    if (g.is(Goroutine::bad_sp) && !c.resuming)
      return fmt::format("goroutine {} (g at {:#x}): {}", g.goid, g.addr, errors[0]);
  }
  return {};
}

Action restore_action(Session& session) {
  Action back;
  back.kind = Action::Kind::deselect;
  if (!session.selection().selected) return back;
  auto model = session.model();
  std::uint32_t index = model ? (*model)->find_addr(session.selection().g) : kNone;
  return index == kNone ? back : select_action(session, **model, index);
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
