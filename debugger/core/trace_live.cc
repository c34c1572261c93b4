// trace_live.cc: see trace_live.h.
//
// One run of -live:
//   1. What it costs is said; a breakpoint is planted on the routine's first instruction.
//   2. The host lets the process run. At a hit the argument is the context that is switched to: its owner is the
//      goroutine, that one's M and P are where it happens. Whom this M switched to before is whom it comes from.
//   3. The line is printed if -where and the goroutine say so; when there are as many as asked for, the process stays
//      where it is.
//   4. Whatever ended it, the breakpoint is taken out (Planted), and the last line says what happened.
// At a hit the process is read by a handful of words; the goroutines are not listed anew. Every switch to a goroutine
// goes through this routine; whom each M runs at the beginning is known, so "before" is right from the first on.
#include "trace_live.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <map>

#include "layout.h"
#include "model.h"
#include "render.h"
#include "run_control.h"
#include "stacks.h"
#include "trace_facts.h"
#include "trace_listing.h"
#include "where.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kFrames = 32;
constexpr std::size_t kShownFrames = 12;
constexpr int kMaxSteps = 256;
constexpr std::size_t kMeasured = 1000;

std::int64_t clock_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * std::int64_t{1000000000} + t.tv_nsec;
}

enum Column { cFrom, cTo, cM, cP, cThread, cStatus, cWait, cName, cWhere, cTime, cStack };
constexpr ColumnSpec kColumns[] = {
    {"from", "FROM", ColumnType::number, true, false, "goid that is left"},
    {"to", "TO", ColumnType::number, true, false, "goid that goes on"},
    {"m", "M", ColumnType::number, true, false, "its M"},
    {"p", "P", ColumnType::number, true, false, "its P"},
    {"thread", "THREAD", ColumnType::number, true, false, "kernel thread id"},
    {"status", "STATUS", ColumnType::text, false, false, "of the one that is left"},
    {"wait", "WAIT", ColumnType::text, false, false, "why the one that is left waits"},
    {"name", "NAME", ColumnType::text, false, false, "of the one that goes on"},
    {"where", "WHERE", ColumnType::text, false, false, "your function that goes on"},
    {"time", "TIME", ColumnType::duration, true, false, "since tracing began"},
    {"stack", "STACK", ColumnType::text, false, true, "functions of the one that goes on (~ only)"},
};

// A goroutine at a switch.
struct Party {
  std::uint64_t g = 0;
  std::optional<std::uint64_t> goid;
  std::string name, status, wait, where;
  std::vector<std::string> frames, functions;
  std::string text() const {
    if (!g) return "?";
    std::string out = goid ? fmt::format("{}", *goid) : fmt::format("g {:#x}", g);
    if (!name.empty()) out += fmt::format(" \"{}\"", printable(name));
    return out;
  }
};

struct Switch : RowView {
  Party from, to;
  std::optional<std::int64_t> m, p;
  std::int64_t tid = 0, time = 0;

  Value value(int column) override {
    auto number = [](auto v) { return v ? Value::number(static_cast<std::int64_t>(*v)) : Value{}; };
    auto text = [](const std::string& s) { return s.empty() ? Value{} : Value::string(s); };
    switch (column) {
      case cFrom:
        return number(from.goid);
      case cTo:
        return number(to.goid);
      case cM:
        return number(m);
      case cP:
        return number(p);
      case cThread:
        return Value::number(tid);
      case cStatus:
        return text(from.status);
      case cWait:
        return from.status.empty() ? Value{} : Value::string(from.wait);
      case cName:
        return Value::string(to.name);
      case cWhere:
        return text(to.where);
      case cTime:
        return Value::number(time);
      default:
        return {};
    }
  }
  Tri frames_match(int, const Pattern& pattern) override {
    for (const std::string& f : to.functions)
      if (pattern.matches(f)) return Tri::yes;
    return to.functions.empty() ? Tri::unknown : Tri::no;
  }
};

// Reads what a switch needs of a goroutine, without listing all of them.
class Reader {
 public:
  Reader(Session& session, Layout& layout, Model& model, TraceFacts& facts)
      : session_(session), layout_(layout), model_(model), facts_(facts) {}

  std::optional<std::uint64_t> word(std::uint64_t structure, F f) {
    if (!structure || !layout_.has(f)) return std::nullopt;
    auto v = layout_.get(session_.memory(), structure, f);
    if (!v) return std::nullopt;
    return *v;
  }

  // frames: how many of its saved context are named; 0: none.
  Party party(std::uint64_t g, bool with_frames) {
    Party out;
    out.g = g;
    out.goid = word(g, F::g_goid);
    if (!out.goid) return out;
    if (layout_.has(F::g_name)) {
      auto name = session_.memory().c_string(g + layout_.place(F::g_name).offset, layout_.place(F::g_name).size);
      if (name) out.name = *name;
    }
    Goroutine fake;
    fake.addr = g;
    fake.status = static_cast<std::uint32_t>(word(g, F::g_atomicstatus).value_or(0)) & ~layout_.scan_bit();
    fake.wait_reason = static_cast<std::uint8_t>(word(g, F::g_waitreason).value_or(0));
    out.status = model_.status_text(fake);
    out.wait = model_.wait_text(fake);
    if (with_frames) frames(out);
    return out;
  }

  // The context that the routine was called with: buf, in its first argument.
  std::uint64_t context(const Registers& regs) {
    if (auto at = facts_.argument_on_stack(8)) {
      auto v = session_.memory().get<std::uint64_t>(regs.r[kRsp] + 8);
      return v ? *v : 0;
    }
    return regs.r[disasm::index_of(facts_.argument_order()[0])];
  }

  bool read(const Registers& regs, std::map<std::int64_t, std::uint64_t>& last, Switch& out) {
    session_.memory().flush();
    const std::uint64_t buf = context(regs);
    auto owner = session_.memory().get<std::uint64_t>(buf + facts_.context()->current->offset);
    if (!owner || !*owner) return false;
    out.to = party(*owner, true);
    auto m = word(*owner, F::g_m);
    if (m && *m) {
      if (auto id = word(*m, F::m_id)) out.m = static_cast<std::int64_t>(*id);
      auto p = word(*m, F::m_p);
      if (p && *p) {
        if (auto id = word(*p, F::p_id)) out.p = static_cast<std::int32_t>(*id);
      }
    }
    if (auto before = last.find(out.tid); before != last.end())
      out.from = party(before->second, before->second != *owner);
    last[out.tid] = *owner;
    return true;
  }

 private:
  void frames(Party& out) {
    Registers regs;
    auto pc = word(out.g, F::g_sched_pc), sp = word(out.g, F::g_sched_sp), bp = word(out.g, F::g_sched_bp);
    if (!pc || !sp || !*pc || !*sp) return;
    regs.set(kRip, *pc);
    regs.set(kRsp, *sp);
    regs.set(kRbp, bp.value_or(0));
    StackWalk walk = session_.unwinder().walk(regs, false, {}, kFrames);
    for (const Frame& f : walk.frames) {
      for (const Location& l : session_.program().locate(f.lookup_pc())) {
        std::string text = l.function.empty() ? fmt::format("{:#x}", f.pc) : l.function;
        out.functions.push_back(text);
        if (!l.file.empty() && l.line) text += fmt::format(" at {}:{}", basename_of(l.file), l.line);
        if (out.where.empty() && !l.function.empty() && !layout_.dialect().plumbing(l.function)) out.where = text;
        out.frames.push_back(std::move(text));
      }
    }
    if (!out.where.empty()) return;
    if (auto start = word(out.g, F::g_startpc); start && *start) {
      const Location& l = session_.program().locate(*start).back();
      if (!l.function.empty()) out.where = "the start of " + l.function;
    }
  }

  Session& session_;
  Layout& layout_;
  Model& model_;
  TraceFacts& facts_;
};

std::string number_or_dash(std::optional<std::int64_t> n) { return n ? fmt::format("{}", *n) : "-"; }

std::string line_of(const Switch& s) {
  std::string from = s.from.text();
  if (!s.from.status.empty()) from += " " + s.from.status + (s.from.wait.empty() ? "" : ": " + s.from.wait);
  if (!s.from.where.empty()) from += ", " + s.from.where;
  if (!s.from.g) from = "?";
  if (s.from.g && s.from.g == s.to.g) from = "the same";
  return fmt::format("{:>11.6f}  {:>2}  {:>2}  {:<52} → {}{}\n", static_cast<double>(s.time) / 1e9, number_or_dash(s.m),
                     number_or_dash(s.p), from, s.to.text(), s.to.where.empty() ? "" : "  " + s.to.where);
}

// What a switch really cost: how long it was from one to the next, of the first kMeasured. What the program did in
// between is in there, so the least of them bounds the cost from above.
class Pace {
 public:
  void hit(std::int64_t at) {
    if (last_ && gaps_.size() < kMeasured) gaps_.push_back(at - *last_);
    last_ = at;
  }
  std::string text() {
    if (gaps_.size() < 2) return {};
    std::sort(gaps_.begin(), gaps_.end());
    return fmt::format("; from one to the next at least {:.0f} µs, mostly {:.0f}", gaps_.front() / 1e3,
                       gaps_[gaps_.size() / 2] / 1e3);
  }

 private:
  std::optional<std::int64_t> last_;
  std::vector<std::int64_t> gaps_;
};

// All that both kinds of watching need; error text when it cannot be.
struct Watch {
  RunControl* control = nullptr;
  Layout* layout = nullptr;
  Model* model = nullptr;
  std::optional<TraceFacts> facts;
  std::optional<Where> where;
  std::uint32_t wanted = 0;
  std::string problem;
};

Watch prepare(Session& session, const Program::Function& routine, const LiveOptions& options, std::string_view how) {
  Watch w;
  auto cannot = [&](std::string why) {
    w.problem = std::move(why);
    return std::move(w);
  };
  if (!session.has_target() || session.target().kind() != Target::Kind::live || session.moving)
    return cannot(fmt::format("{} needs a live process that is stopped in a debugger", how));
  if (!session.run_control) return cannot(fmt::format("{} lets the process run: that takes gdb or LLDB", how));
  w.control = session.run_control;
  auto layout = session.layout();
  if (!layout) return cannot(layout.error().message);
  auto model = session.model();
  if (!model) return cannot(model.error().message);
  w.layout = *layout;
  w.model = *model;
  w.facts.emplace(session.program(), session.memory());
  w.facts->enter(routine);
  const disasm::ContextFacts* context = w.facts->context();
  auto first = w.facts->at_entry(w.facts->argument_order()[0]);
  if (auto stack = w.facts->argument_on_stack(8)) first = stack;
  bool switches = context && context->current && first && first->to && w.facts->context_in(first->to) == 0;
  if (switches) {
    switches = false;
    for (const disasm::Routine& r : make_listing(*w.facts, session.program(), routine).parts)
      switches = switches || !r.summary.switches.empty();
  }
  w.facts->enter(routine);
  if (!switches)
    return cannot(fmt::format("{} watches the routine that continues a saved context (gogo); {} is not one", how,
                              w.facts->shown(routine)));
  if (options.where) {
    auto parsed = Where::parse(*options.where, kColumns);
    if (!parsed) return cannot(parsed.error().message);
    w.where = std::move(*parsed);
  }
  w.wanted = 1u << disasm::index_of(w.facts->argument_order()[0]) | 1u << kRsp | 1u << kRip;
  return w;
}

// Whom each thread runs as it stands: the g that its first switch leaves.
std::map<std::int64_t, std::uint64_t> running(Session& session, const Model& model) {
  std::map<std::int64_t, std::uint64_t> out;
  const auto& threads = session.target().threads();
  for (const Machine& m : model.machines())
    if (m.curg && m.thread < threads.size()) out[threads[m.thread].tid] = m.curg;
  return out;
}

bool wanted(const Watch& w, const LiveOptions& options, Switch& s) {
  if (options.goid && s.from.goid != options.goid && s.to.goid != options.goid) return false;
  return !w.where || w.where->eval(s) == Tri::yes;
}

std::string ending(const Stop& stop) {
  switch (stop.why) {
    case Stop::Why::done:
      return "the process is stopped at the last one";
    case Stop::Why::other:
      return "the process stopped for another reason" + (stop.text.empty() ? std::string() : ": " + stop.text);
    case Stop::Why::exited:
      return "the process has ended";
    case Stop::Why::interrupted:
      return "interrupted; the process is stopped";
    case Stop::Why::failed:
      break;
  }
  return stop.text.empty() ? "the debugger could not go on" : stop.text;
}

}  // namespace

Outcome trace_live(Session& session, const Program::Function& routine, const LiveOptions& options, Sink& sink) {
  Watch w = prepare(session, routine, options, "-live");
  if (!w.problem.empty()) return fail(sink, w.problem);
  Planted planted(*w.control, routine.start);
  if (!planted) return fail(sink, fmt::format("no breakpoint could be planted at {:#x}", routine.start));
  std::string cost = w.control->cost_high()
                         ? fmt::format("{} to {} µs on an idle machine", w.control->cost_low(), w.control->cost_high())
                         : std::string("some hundred µs");
  sink.out(fmt::format(
      "every switch stops the process for {}; {}\n", cost,
      options.count ? fmt::format("{} or Ctrl-C ends it", plural(*options.count, "line")) : "Ctrl-C ends it"));
  sink.out(fmt::format("{:>11}  {:>2}  {:>2}  {:<52}   {}\n", "TIME", "M", "P", "FROM", "TO"));
  Reader reader(session, *w.layout, *w.model, *w.facts);
  std::map<std::int64_t, std::uint64_t> last = running(session, *w.model);
  std::uint64_t seen = 0, shown = 0, unreadable = 0;
  Pace pace;
  const std::int64_t begin = clock_now();
  bool cancelled = false;
  Stop stop = w.control->run(w.wanted, [&](std::int64_t tid, const Registers& regs) {
    Switch s;
    s.tid = tid;
    s.time = clock_now() - begin;
    pace.hit(s.time);
    ++seen;
    if (!reader.read(regs, last, s)) {
      ++unreadable;
    } else if (wanted(w, options, s)) {
      ++shown;
      std::string text = line_of(s);
      if (options.stacks) {
        for (std::size_t i = 0; i < s.to.frames.size() && i < kShownFrames; ++i)
          text += fmt::format("{:23}#{:<2} {}\n", "", i, s.to.frames[i]);
        if (s.to.frames.size() > kShownFrames)
          text += fmt::format("{:23}… {} more\n", "", s.to.frames.size() - kShownFrames);
      }
      sink.out(text);
    }
    cancelled = session.cancelled();
    return !cancelled && !(options.count && shown >= *options.count);
  });
  const std::int64_t took = clock_now() - begin;
  const bool removed = planted.remove();
  if (cancelled) stop.why = Stop::Why::interrupted;
  const std::uint64_t rate = took > 0 ? seen * 1000000000 / static_cast<std::uint64_t>(took) : 0;
  sink.out(fmt::format("{} {} in {} ({} a second{}); {}\n", seen, seen == 1 ? "switch" : "switches",
                       format_duration(took), rate, pace.text(), ending(stop)));
  if (shown < seen)
    sink.out(fmt::format("{} shown{}\n", shown, unreadable ? fmt::format("; {} could not be read", unreadable) : ""));
  if (!removed && stop.why != Stop::Why::exited)
    return fail(sink, fmt::format("the breakpoint at {:#x} could not be taken out: delete it by hand", routine.start));
  return stop.why == Stop::Why::failed ? Outcome::error : Outcome::ok;
}

namespace {

// The values of an operand and of registers, as they really were.
std::optional<std::uint64_t> address_of(const disasm::Operand& o, const disasm::Instruction& in, const Registers& regs,
                                        std::optional<std::uint64_t> fs) {
  std::uint64_t at = static_cast<std::uint64_t>(o.disp);
  if (o.segment == disasm::Operand::Segment::fs && fs) {
    at += *fs;
  } else if (o.segment != disasm::Operand::Segment::none) {
    return std::nullopt;
  }
  auto add = [&](disasm::Reg r, std::uint64_t times) {
    if (r == disasm::Reg::none) return;
    at += times * (r == disasm::Reg::rip ? in.end() : regs.r[disasm::index_of(r)]);
  };
  add(o.base, 1);
  add(o.index, o.scale);
  return at;
}

std::string said(TraceFacts& facts, std::uint64_t v) {
  std::string about = facts.about(v);
  return about.empty() ? fmt::format("{:#x}", v) : fmt::format("{:#x} ({})", v, about);
}

// What the instruction read from memory, and what it left in registers and memory.
std::string values(TraceFacts& facts, const disasm::Instruction& in, const Registers& before, const Registers& after,
                   const std::map<std::uint64_t, std::uint64_t>& was, std::optional<std::uint64_t> fs) {
  std::string out;
  auto add = [&](std::string text) { out += (out.empty() ? "" : ", ") + std::move(text); };
  for (const disasm::Operand& o : in.operands) {
    if (o.kind != disasm::Operand::Kind::mem || !(o.read || o.write)) continue;
    auto at = address_of(o, in, before, fs);
    if (!at) continue;
    auto now = facts.word(*at, o.size);
    if (o.write) {
      auto old = was.find(*at);
      add(fmt::format("[{:#x}] {}{}", *at, old == was.end() ? "" : fmt::format("{:#x} → ", old->second),
                      now ? said(facts, *now) : "unreadable"));
    } else if (now && !(in.writes && in.op == disasm::Op::mov)) {
      add(fmt::format("[{:#x}] = {}", *at, said(facts, *now)));
    }
  }
  for (int n = 0; n < 16; ++n) {
    if ((in.writes >> n & 1) && after.has(n))
      add(fmt::format("{} = {}", disasm::name_of(static_cast<disasm::Reg>(n)), said(facts, after.r[n])));
  }
  return out;
}

std::string owner_of(TraceFacts& facts, std::uint64_t sp) {
  std::string about = facts.about(sp);
  return about.empty() ? fmt::format("SP = {:#x}, on no stack that is known", sp) : fmt::format("SP {}", about);
}

constexpr int kMaxAttempts = 20;

// Whether the instruction that follows is the next one in memory.
bool falls_through(disasm::Op op) {
  return op != disasm::Op::call && op != disasm::Op::jump && op != disasm::Op::branch && op != disasm::Op::ret;
}

// Stands at the routine's first instruction, on the way to `to`; nullopt, and said why: it does not.
struct Caught {
  std::int64_t tid = 0;
  Party to;
  Registers regs;
};
std::optional<Caught> catch_switch(Session& session, const Program::Function& routine, const LiveOptions& options,
                                   Sink& sink) {
  Caught c;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Watch w = prepare(session, routine, options, "-step");  // anew: after a stop the model is another one
    if (!w.problem.empty()) {
      fail(sink, w.problem);
      return std::nullopt;
    }
    Planted planted(*w.control, routine.start);
    if (!planted) {
      fail(sink, fmt::format("no breakpoint could be planted at {:#x}", routine.start));
      return std::nullopt;
    }
    Reader reader(session, *w.layout, *w.model, *w.facts);
    std::map<std::int64_t, std::uint64_t> last = running(session, *w.model);
    bool found = false;
    Stop stop = w.control->run(w.wanted, [&](std::int64_t at, const Registers& regs) {
      Switch s;
      s.tid = at;
      found = reader.read(regs, last, s) && wanted(w, options, s);
      if (found) {
        c.tid = at;
        c.to = s.to;
      }
      return !found && !session.cancelled();
    });
    if (stop.why != Stop::Why::done || !found) {
      fail(sink, fmt::format("there was no such switch: {}",
                             session.cancelled() ? "interrupted; the process is stopped" : ending(stop)));
      return std::nullopt;
    }
    session.set_stop(session.stop_id() + 1);  // it ran: who is where must be read anew
    auto regs = w.control->registers(c.tid);
    if (!regs) {
      fail(sink, "the thread's registers cannot be read");
      return std::nullopt;
    }
    c.regs = *regs;
    if (c.regs.r[kRip] == routine.start) return c;  // else the debugger let it go on before it stopped
  }
  fail(sink, fmt::format("the debugger did not stop thread {} at {:#x}, where the switch begins, {} times", c.tid,
                         routine.start, kMaxAttempts));
  return std::nullopt;
}

// Nothing: a signal came in between.
std::optional<Outcome> step_through(Session& session, const Program::Function& routine, const Caught& caught,
                                    Sink& sink) {
  RunControl& control = *session.run_control;
  const std::int64_t tid = caught.tid;
  const Party& to = caught.to;
  std::optional<Registers> regs = caught.regs;
  auto model = session.model();
  if (!model) return fail(sink, "the structures of the runtime cannot be read");
  TraceFacts facts(session.program(), session.memory());
  Listing listing = make_listing(facts, session.program(), routine);
  facts.look_at_thread(*model, *regs, 0);
  sink.out(
      fmt::format("thread {} switches to goroutine {}; every step is one instruction, the other threads stand still\n",
                  tid, to.text()));
  std::optional<std::uint64_t> fs;
  for (const Thread& t : session.target().threads())
    if (t.tid == tid) fs = t.fs_base;
  std::string owner;
  int steps = 0;
  for (; steps < kMaxSteps && !session.cancelled(); ++steps) {
    const disasm::Note* note = nullptr;
    const disasm::Routine* in = nullptr;
    for (const disasm::Routine& r : listing.parts)
      for (const disasm::Note& n : r.notes)
        if (n.insn.address == regs->r[kRip]) note = &n, in = &r;
    std::string now = owner_of(facts, regs->r[kRsp]);
    if (now != owner) sink.out(fmt::format("  ── {} ──\n", now));
    owner = now;
    if (!note) break;
    std::map<std::uint64_t, std::uint64_t> was;
    for (const disasm::Operand& o : note->insn.operands) {
      auto at = o.kind == disasm::Operand::Kind::mem && o.write ? address_of(o, note->insn, *regs, fs) : std::nullopt;
      auto v = at ? facts.word(*at, o.size) : std::nullopt;
      if (v) was[*at] = *v;
    }
    Stop stop = control.step(tid);
    if (stop.why != Stop::Why::done) return fail(sink, "the step ended otherwise: " + ending(stop));
    session.memory().flush();
    auto after = control.registers(tid);
    if (!after) return fail(sink, "the thread's registers cannot be read after the step");
    const std::uint64_t next = after->r[kRip];
    if (next != note->insn.end() && next != note->insn.address && falls_through(note->insn.op)) {
      sink.out(fmt::format("a signal came: thread {} is at {} now, and its handler runs first; on to another switch\n",
                           tid, said(facts, next)));
      return std::nullopt;
    }
    std::string what = values(facts, note->insn, *regs, *after, was, fs);
    sink.out(fmt::format("  +{:#04x}  {:<28}{}{}\n", note->insn.address - in->start, note->insn.text,
                         note->insn.text.size() < 28 ? "" : "  ", note->says));
    if (!what.empty()) sink.out(fmt::format("{:38}{}\n", "", what));
    regs = after;
  }
  for (const disasm::Routine& r : listing.parts) {  // it did not land: the routine's code is not known from there on
    if (steps == kMaxSteps || session.cancelled() || regs->r[kRip] - r.start >= r.size) continue;
    return fail(sink, fmt::format("the code of {} at {:#x} cannot be read: the thread stands there after {}", r.name,
                                  regs->r[kRip], plural(static_cast<std::uint64_t>(steps), "step")));
  }
  const Location& at = session.program().locate(regs->r[kRip]).back();
  sink.out(fmt::format("{} after {} steps: {}{}\n", steps == kMaxSteps ? "given up" : "landed", steps,
                       said(facts, regs->r[kRip]),
                       at.file.empty() ? "" : fmt::format(", {}:{}", basename_of(at.file), at.line)));
  for (std::size_t i = 0; i < to.frames.size() && i < kShownFrames; ++i)
    sink.out(fmt::format("  #{:<2} {}\n", i, to.frames[i]));
  return Outcome::ok;
}

}  // namespace

Outcome trace_step(Session& session, const Program::Function& routine, const LiveOptions& options, Sink& sink) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto caught = catch_switch(session, routine, options, sink);
    if (!caught) return Outcome::error;
    const auto outcome = step_through(session, routine, *caught, sink);
    if (outcome) return *outcome;
    if (session.cancelled()) break;
  }
  return fail(sink, session.cancelled() ? "interrupted; the process is stopped"
                                        : "a signal came into each of these switches: no whole one was seen");
}

}  // namespace vitrine::inspect
