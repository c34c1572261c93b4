// commands_locals.cc: goroutine locals — the variables of one frame of a goroutine, read by ourselves. For LLDB, which has no
// types for Go, and for where no debugger is at hand; gdb's own `info locals` knows more.
//
// A frame's variables lie at offsets from its CFA, which is the stack pointer of the frame above. Registers are known
// only in the innermost frame of a thread; what an outer frame kept in one is said to be so, not guessed.
#include <fmt/format.h>

#include <algorithm>

#include "backtrace.h"
#include "choose.h"
#include "commands.h"
#include "listing.h"
#include "objects.h"
#include "render.h"
#include "values.h"

namespace vitrine::inspect {
namespace {

// Where all of it lies in memory, if it lies in one piece.
std::optional<std::uint64_t> address_of(const Local& local, std::uint64_t cfa) {
  std::optional<std::uint64_t> first;
  std::uint64_t next = 0;
  for (const Local::Piece& p : local.pieces) {
    if (p.place != Local::Place::cfa && p.place != Local::Place::address) return std::nullopt;
    const std::uint64_t at = static_cast<std::uint64_t>(p.at) + (p.place == Local::Place::cfa ? cfa : 0);
    if (!first) {
      first = next = at;
    } else if (at != next) {
      return std::nullopt;
    }
    next += p.size;
  }
  return first;
}

std::string value_of(Session& session, Model& model, const Local& local, std::uint64_t cfa, const Registers* regs) {
  Values values(session.program(), session.memory(),
                [&](std::uint64_t type) { return Objects(session, model).described_type(type); });
  if (!local.type) return "<of unknown type>";
  if (local.pieces.empty()) return "<optimised out>";
  if (local.partial) return "<partly optimised out>";
  bool bad = false;
  if (auto at = address_of(local, cfa)) {
    std::string text = values.text(*at, *local.type, bad);
    session.incomplete = session.incomplete || bad;
    return text;
  }
  const Local::Piece& p = local.pieces.front();
  if (local.pieces.size() > 1) {
    const bool lost = std::any_of(local.pieces.begin(), local.pieces.end(),
                                  [](const Local::Piece& piece) { return piece.place == Local::Place::none; });
    return lost ? "<partly optimised out>" : "<partly in registers>";
  }
  if (p.place != Local::Place::reg || p.at >= kRegs) return "<not known where>";
  if (!regs || !regs->has(static_cast<int>(p.at)) || local.type->size > 8) return "<in a register>";
  std::string text = values.of_register(regs->r[p.at], *local.type, bad);
  session.incomplete = session.incomplete || bad;
  return text;
}

// Go's compiler calls a variable that it moved to the heap "&x" and describes the pointer.
void print_local(Session& session, Model& model, Local local, std::uint64_t cfa, const Registers* regs, Buffered& out) {
  if (local.name.starts_with('&') && local.type && local.type->kind == Type::Kind::pointer && local.type->element) {
    auto at = address_of(local, cfa);
    auto heap = at ? session.memory().get<std::uint64_t>(*at) : Result<std::uint64_t>(Error{"", {}});
    if (heap) {
      local.name.erase(0, 1);
      local.type = local.type->element;
      local.pieces = {{Local::Place::address, static_cast<std::int64_t>(*heap), 0}};
    }
  }
  out.add(fmt::format("{}{} = {}\n", local.name,
                      local.result      ? " (result)"
                      : local.parameter ? " (parameter)"
                                        : "",
                      value_of(session, model, local, cfa, regs)));
}

std::optional<std::uint32_t> which(Session& session, Model& model, const Line& line, std::size_t first, Sink& sink) {
  if (line.words.size() <= first) {
    std::uint32_t index = session.selection().selected ? model.find_addr(session.selection().g) : model.current();
    if (index != kNone) return index;
    fail(sink, "no goroutine is selected: goroutine locals N [FRAME]");
    return std::nullopt;
  }
  auto goid = parse_number(line.words[first].text);
  std::uint32_t index = goid ? model.find_goid(*goid) : kNone;
  if (index != kNone) return index;
  fail(sink, goid ? no_goroutine(model, *goid, false)
                  : fmt::format("'{}' is no goroutine: give its number", line.words[first].text));
  warn(sink, model.warnings());  // the list may be cut
  return std::nullopt;
}

Outcome run_locals(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (line.words.size() > first + 2) return fail(sink, "goroutine locals [N [FRAME]] takes two numbers at most");
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Model& model = *view->model;
  auto index = which(session, model, line, first, sink);
  if (!index) return Outcome::error;
  if (std::string problem = cannot_show(session, model, *index); !problem.empty()) return fail(sink, problem);
  const Goroutine& g = model.goroutines()[*index];
  const Context c = context_of(session.unwinder(), model, g);
  StackWalk walk = session.unwinder().walk(c.regs, c.exact, bounds_of(c, g));
  const FrameNumbers numbers(session, c, walk);
  std::size_t frame = walk.frames.size();
  if (line.words.size() > first + 1) {
    auto number = parse_number(line.words[first + 1].text);
    auto found = number ? numbers.find(*number) : std::nullopt;
    if (!found)
      return fail(sink, fmt::format("goroutine {} has frames {} to {}", g.goid, numbers.inlined(0),
                                    numbers.real(walk.frames.size() - 1)));
    frame = *found;
  } else {  // the innermost of the user's own
    const Dialect& dialect = model.layout().dialect();
    const auto users = [&](const Frame& f) {  // inlined into plumbing, too: what C calls is, into a function of cgo's
      const std::vector<Location>& at = session.program().locate(f.lookup_pc());
      return std::any_of(at.begin(), at.end(), [&](const Location& l) { return !dialect.plumbing(l.function); });
    };
    for (frame = 0; frame + 1 < walk.frames.size() && !users(walk.frames[frame]);) ++frame;
  }
  const Frame& f = walk.frames[frame];
  const std::vector<Location> functions = session.program().locate(f.lookup_pc());
  std::vector<Local> locals;
  if (frame + 1 < walk.frames.size()) locals = session.program().locals(f.lookup_pc(), f.lookup_pc() != f.pc);
  const Registers* regs = frame == 0 && c.live() ? &c.regs : nullptr;
  Buffered out(sink);
  const std::uint32_t inner = numbers.inlined(frame), last = numbers.real(frame);
  out.add(fmt::format("{}, frame {}: ", title(model, *index), inner));
  for (std::size_t n = 0; n < functions.size(); ++n) {  // those inlined into the next, then the function itself
    const Location& at = functions[n];
    if (n) out.add(inner == last ? std::string("in ") : fmt::format("in frame {}: ", inner + n));
    out.add(at.function.empty() ? "??" : at.function);
    if (at.line) out.add(fmt::format(" at {}:{}", basename_of(at.file), at.line));
    out.add(at.inlined ? " (inlined)\n" : "\n");
    std::size_t shown = 0;
    for (Local& local : locals) {
      if (local.function != n) continue;
      print_local(session, model, local, walk.frames[frame + 1].sp, regs, out);
      ++shown;
    }
    if (frame + 1 < walk.frames.size() && shown == 0) out.add("no variables are described here\n");
  }
  if (frame + 1 >= walk.frames.size())
    out.add(walk.end == StackEnd::bottom ? std::string("the outermost frame has no variables that could be found\n")
                                         : fmt::format("where its variables are is not known: {}\n", walk.explain()));
  return Outcome::ok;
}

constexpr CommandSpec kCommands[] = {
    {"goroutine locals", "The variables of one frame of a goroutine, without the debugger's help.",
     "goroutine locals [N [FRAME]]\n\n"
     "Parameters and variables of a frame with their values: numbers, strings, pointers, structures, slices, maps,\n"
     "interfaces; first those of the functions that were inlined there. Without FRAME it is the innermost frame of "
     "your\n"
     "own code; FRAME is its number in the bt of the debugger, or of vitrine-inspect. Without N it is the selected\n"
     "goroutine. For LLDB, which knows no types of Go, and for vitrine-inspect; gdb's info locals shows more. What\n"
     "was kept in a register, or nowhere, is said to be so.\n\n"
     "Example:\n"
     "  goroutine locals 19\n"
     "Next: goroutine N to go there.\n",
     run_locals, nullptr},
};

}  // namespace

std::span<const CommandSpec> locals_commands() { return kCommands; }

}  // namespace vitrine::inspect
