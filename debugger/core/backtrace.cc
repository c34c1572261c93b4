// backtrace.cc: see backtrace.h. Each frame that was not found by CFI says how it was found; a walk that ended early
// says why, with the address.
#include "backtrace.h"

#include <fmt/format.h>

#include <algorithm>

#include "model.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {

Context context_of(Unwinder& unwinder, const Model& model, const Goroutine& g) {
  Context c;
  bool runs = model.running(g) || model.in_syscall(g);
  Standing standing = runs ? model.standing(g) : Standing::no_thread;
  if (standing == Standing::on_goroutine && model.resuming(g)) {
    const Registers& at = model.thread(g)->regs;
    c.exact = model.layout().is_entry(g.pc);
    c.resuming = true;
    c.regs.set(kRip, g.pc);
    c.regs.set(kRsp, at.r[kRsp]);
    c.regs.set(kRbp, g.bp ? g.bp : at.r[kRbp]);  // the routine clears the saved one once it has loaded it
    return c;
  }
  if (standing == Standing::on_signal) {
    const Machine& m = *model.machine(g);
    if (auto at = unwinder.interrupted(model.thread(g)->regs, {m.signal_lo, m.signal_hi})) {
      c.in_handler = true;
      standing = model.standing_at(g, at->r[kRsp]);
      if (standing == Standing::on_goroutine) {
        c.regs = *at;
        c.exact = c.interrupted = true;
        return c;
      }
    }
  }
  if (auto asked = model.asking(g, standing)) {
    c.regs = *asked;
    c.asking = true;
    return c;
  }
  if (standing == Standing::on_goroutine || standing == Standing::on_signal || standing == Standing::elsewhere) {
    const Thread* t = model.thread(g);
    c.regs = t->regs;
    c.exact = true;
    c.tid = t->tid;
    return c;
  }
  c.thread_on_g0 = standing == Standing::on_g0;
  c.exact = model.layout().is_entry(g.pc);
  c.regs.set(kRip, g.pc);
  c.regs.set(kRsp, g.sp);
  c.regs.set(kRbp, g.bp);
  return c;
}

StackBounds bounds_of(const Context& context, const Goroutine& g) {
  if (!g.stack_size || g.is(Goroutine::bad_stack)) return {};
  const std::uint64_t sp = context.regs.r[kRsp];
  if (context.live() && (sp < g.stack_lo || sp > g.stack_hi())) return {};
  return {g.stack_lo, g.stack_hi()};
}

void add_saved_context(Unwinder& unwinder, Layout& layout, const Goroutine& g, StackWalk& walk) {
  if (!g.sp || g.is(Goroutine::bad_stack) || g.sp < g.stack_lo || g.sp > g.stack_hi()) return;
  for (const Frame& f : walk.frames) {
    if (f.sp >= g.stack_lo && f.sp <= g.stack_hi()) return;
  }
  Registers saved;
  saved.set(kRip, g.pc);
  saved.set(kRsp, g.sp);
  saved.set(kRbp, g.bp);
  StackWalk rest = unwinder.walk(saved, layout.is_entry(g.pc), {g.stack_lo, g.stack_hi()});
  walk.frames.insert(walk.frames.end(), rest.frames.begin(), rest.frames.end());
  walk.end = rest.end;
  walk.bad_address = rest.bad_address;
}

std::string title(Model& model, std::uint32_t goroutine) {
  const Goroutine& g = model.goroutines()[goroutine];
  if (g.is(Goroutine::unreadable)) return fmt::format("goroutine at {:#x} (unreadable)", g.addr);
  std::string out = fmt::format("goroutine {}", g.goid);
  if (std::string name = model.name(g); !name.empty()) out += fmt::format(" \"{}\"", printable(name));
  out += fmt::format(" ({}", model.status_text(g));
  if (std::string_view wait = model.wait_text(g); !wait.empty()) out += fmt::format(": {}", printable(wait));
  if (const Machine* m = model.machine(g)) {
    out += fmt::format(" on M{}", m->id);
    if (const Thread* t = model.thread(g)) out += fmt::format(", thread {}", t->tid);
  }
  return out + ")";
}

FrameNumbers::FrameNumbers(Session& session, const Context& context, const StackWalk& walk) {
  std::uint32_t next = context.tid ? 0 : session.first_frame;
  const bool all = session.counts_inlined || &(*session.layout())->dialect() != go_dialect();
  for (const Frame& f : walk.frames) {
    numbers_.push_back(next);
    next += all ? static_cast<std::uint32_t>(session.program().locate(f.lookup_pc()).size()) : 1;
  }
  numbers_.push_back(next);
}

std::optional<std::size_t> FrameNumbers::find(std::uint64_t number) const {
  if (number < numbers_.front() || number >= numbers_.back()) return std::nullopt;
  return std::upper_bound(numbers_.begin(), numbers_.end(), number) - numbers_.begin() - 1;
}

std::vector<std::string> frame_lines(Program& program, const StackWalk& walk) {
  std::vector<std::string> lines;
  for (const Frame& f : walk.frames) {
    const auto& locations = program.locate(f.lookup_pc());
    for (std::size_t i = 0; i < locations.size(); ++i) {
      const Location& l = locations[i];
      std::string line = fmt::format("#{:<3}", lines.size());
      line += l.inlined ? std::string(22, ' ') : fmt::format("{:#018x} in ", f.pc);
      line += l.function.empty() ? "??" : l.function;
      if (!l.file.empty() && l.line) line += fmt::format(" at {}:{}", basename_of(l.file), l.line);
      if (l.inlined) line += " (inlined)";
      if (f.how == How::frame_pointer && i == 0) line += " (found by frame pointer)";
      if (f.how == How::signal && i == 0) line += " (found through a signal frame)";
      lines.push_back(line + "\n");
    }
  }
  return lines;
}

void print_backtrace(Session& session, Model& model, std::uint32_t goroutine, long limit, Sink& sink) {
  const Goroutine& g = model.goroutines()[goroutine];
  const Context c = context_of(session.unwinder(), model, g);
  StackWalk walk = session.unwinder().walk(c.regs, c.exact, bounds_of(c, g));
  std::vector<std::string> lines = frame_lines(session.program(), walk);
  std::size_t begin = 0, end = lines.size();
  if (limit > 0) end = std::min(end, static_cast<std::size_t>(limit));
  if (limit < 0) begin = end - std::min(end, static_cast<std::size_t>(-limit));
  Buffered out(sink);
  for (std::size_t i = begin; i < end; ++i) out.add(lines[i]);
  if (end < lines.size()) out.add(fmt::format("({} more frames follow)\n", lines.size() - end));
  if (end == lines.size() && walk.end != StackEnd::bottom)
    out.add(fmt::format("the stack ends here: {}\n", walk.explain()));
}

}  // namespace vitrine::inspect
