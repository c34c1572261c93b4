// annotate.cc: see annotate.h: decoding, the fixpoint, and the pass that writes notes and summary from its result.
#include "annotate.h"

#include <algorithm>
#include <map>
#include <set>

#include "checks.h"
#include "machine.h"
#include "sentences.h"

namespace vitrine::disasm {
namespace {

constexpr std::size_t kMaxVisitsEach = 12;  // of one instruction; states only ever lose, so few are needed
constexpr std::size_t kMaxDifferences = 12;
constexpr std::uint64_t kMaxBytes = 256 << 10;

class Annotator {
 public:
  Annotator(Facts& facts, Routine& out)
      : facts_(facts), out_(out), machine_(facts, decoder_, out.start, out.start + out.size) {}

  void run(const Routine* from) {
    if (!decode()) return;
    if (from) out_.loaded = from->loaded;
    State first = from ? from->tail_state : machine_.entry();
    describe_entry(first);
    in_.resize(code_.size());
    visits_.resize(code_.size());
    arrive(0, first);
    settle();
    resume_labels();
    write();
  }

 private:
  bool decode() {
    if (!decoder_.usable()) {
      out_.cut = "the disassembler could not be started";
      return false;
    }
    std::vector<std::byte> bytes(std::min(out_.size, kMaxBytes));
    const std::size_t got = facts_.code(out_.start, bytes);
    if (got < out_.size) {
      out_.cut = got < bytes.size() ? "its code cannot be read from " + hex(out_.start + got) + " on"
                                    : "only its first " + std::to_string(bytes.size()) + " bytes are shown";
    }
    std::span<const std::byte> code(bytes.data(), std::min(got, bytes.size()));
    for (std::size_t at = 0; at < code.size();) {
      if (code_.size() == kMaxInstructions) {
        out_.cut = "only its first " + std::to_string(kMaxInstructions) + " instructions are shown";
        break;
      }
      code_.push_back(decoder_.decode(code.subspan(at), out_.start + at));
      index_[out_.start + at] = code_.size() - 1;
      at += code_.back().size;
    }
    return !code_.empty();
  }

  void describe_entry(const State& s) {
    std::vector<Reg> order(facts_.argument_order().begin(), facts_.argument_order().end());
    for (int i = 0; i < kRegs; ++i)
      if (std::find(order.begin(), order.end(), static_cast<Reg>(i)) == order.end())
        order.push_back(static_cast<Reg>(i));
    for (Reg r : order) {
      const Value& v = s[r];
      if (v.kind != Value::Kind::pointer && v.kind != Value::Kind::word) continue;
      std::string type = v.type ? facts_.type_name(v.type) + "*" : std::string();
      std::string value = v.actual ? " = " + hex(*v.actual) : std::string();
      out_.entry.push_back(std::string(name_of(r)) + " = " + machine_.text(v) +
                           (type.empty() ? "" : " (" + type + ")") + value);
    }
    for (std::int64_t at = 8; s[Reg::rsp].own_stack() && s[Reg::rsp].number == 0; at += 8) {
      auto argument = facts_.argument_on_stack(at);
      if (!argument) break;
      out_.entry.push_back("[" + std::string(at == 8 ? "CFA" : "CFA" + signed_hex(at - 8)) + "] = " + argument->name +
                           (argument->to ? " (" + facts_.type_name(argument->to) + "*)" : ""));
    }
  }

  void arrive(std::size_t i, const State& s) {
    if (i >= code_.size() || visits_[i] >= kMaxVisitsEach) return;
    if (!in_[i]) {
      in_[i] = s;
    } else if (!in_[i]->meet(s)) {
      return;
    }
    if (++visits_[i] == kMaxVisitsEach) {  // does not settle: nothing is known here, and that is final
      in_[i] = State{};
    }
    work_.insert(i);
  }

  void settle() {
    while (!work_.empty()) {
      const std::size_t i = *work_.begin();
      work_.erase(work_.begin());
      State s = *in_[i];
      const Instruction& in = code_[i];
      machine_.step(s, in);
      if (in.op == Op::jump || in.op == Op::branch) {
        if (!in.operands.empty() && in.operands[0].kind == Operand::Kind::imm) {
          auto to = index_.find(static_cast<std::uint64_t>(in.operands[0].imm));
          if (to != index_.end()) arrive(to->second, s);
        }
      }
      if (in.op != Op::jump && in.op != Op::ret && in.op != Op::trap) arrive(i + 1, s);
    }
  }

  // Labels that the routine stored and that nothing else reaches: where a saved context goes on.
  void resume_labels() {
    for (const auto& [label, path] : std::map(machine_.labels())) {
      auto at = index_.find(label);
      if (at == index_.end() || in_[at->second]) continue;
      State s;
      if (machine_.left().happened) {
        s.frame = machine_.left().frame;
        s[Reg::rsp] = machine_.left().sp;
      }
      const Facts::Resume resume = facts_.resume();
      if (resume.pc == label) {
        s[Reg::rsp].actual = resume.sp;
        // What lies in the frame is the goroutine's own now; what it stands for is as before.
        for (auto& [slot, v] : s.frame) v.actual.reset();
      }
      arrive(at->second, s);
      settle();
    }
  }

  void add(std::vector<Fact>& to, std::string what, std::string where, std::uint64_t at) {
    to.push_back({std::move(what), std::move(where), at});
  }

  void write() {
    LayoutCheck layout(machine_, facts_, std::move(out_.loaded));
    std::vector<std::string> cfi;
    bool away = false;
    std::string stack;
    for (std::size_t i = 0; i < code_.size(); ++i) {
      Note note;
      note.insn = code_[i];
      if (in_[i]) {
        const State& before = *in_[i];
        State after = before;
        machine_.step(after, note.insn);
        note.side = before.away ? Side::other : Side::own;
        note.stack = machine_.text(before[Reg::rsp]);
        note.says = sentence(machine_, facts_, before, after, note.insn);
        heading(note, before, away, stack);
        away = before.away;
        stack = before[Reg::rsp].name;
        accesses(note, before);
        summarize(before, after, note.insn);
        layout.look(before, after, note.insn);
        if (compare_cfi(machine_, facts_, before, note.insn, cfi)) ++out_.summary.cfi_rows;
      }
      out_.notes.push_back(std::move(note));
    }
    // Padding behind the last instruction that can run says nothing.
    while (!out_.notes.empty() && out_.notes.back().side == Side::unreached &&
           (out_.notes.back().insn.op == Op::nop || out_.notes.back().insn.op == Op::trap))
      out_.notes.pop_back();
    if (auto row = facts_.cfi(out_.start)) out_.summary.bottom = row->undefined_pc;
    layout.compare(out_.summary);
    out_.loaded = layout.loaded();
    report(cfi);
    saved_frame();
    out_.tail_only = out_.tail && exits_ == 1;
  }

  void heading(Note& note, const State& before, bool away, const std::string& stack) {
    if (auto label = machine_.labels().find(note.insn.address); label != machine_.labels().end()) {
      note.heading = "+" + hex(note.insn.address - out_.start) + ", saved in " + label->second +
                     (before[Reg::rsp].own_stack() ? ": a saved context goes on here, SP = " + note.stack : "");
    } else if (before.away && (!away || stack != before[Reg::rsp].name)) {
      // "buf->sp" is what buf saved, "g->m->g0->sched.sp" what g->m->g0 did.
      const std::string& name = before[Reg::rsp].name;
      const std::size_t arrow = name.rfind("->");
      note.heading = "on the stack saved in " + (arrow == name.npos ? name : name.substr(0, arrow));
    } else if (!before.away && away) {
      note.heading = "on the stack that it was entered on";
    }
  }

  void accesses(Note& note, const State& before) {
    for (const Operand& o : note.insn.operands) {
      if (o.kind != Operand::Kind::mem || !(o.read || o.write)) continue;
      Place p = machine_.place(before, note.insn, o);
      std::string path = place_text(machine_, p);
      if (path.empty()) continue;
      note.accesses.push_back({path, o.write, p.actual ? facts_.word(*p.actual, o.size) : std::nullopt});
    }
  }

  // A register's part in the picture: where it went, where it came from.
  void summarize(const State& before, const State& after, const Instruction& in) {
    Summary& sum = out_.summary;
    auto store = [&](const Place& p, const Operand& from) {
      Value v = machine_.read(before, in, from);
      if (p.kind == Place::Kind::slot) {  // errno is another
        if (facts_.thread_local_slot(p.offset)) add(sum.current, p.name, machine_.text(v), in.address);
        return;
      }
      // What is put onto the stack of a context, where it is to go on.
      if (p.kind == Place::Kind::unknown && p.name.starts_with("*(") && !sum.set.empty())
        return add(sum.set, p.name, machine_.text(v), in.address);
      if (p.kind != Place::Kind::member) return;
      if (v.kind == Value::Kind::constant && v.number == 0) return add(sum.cleared, p.name, "", in.address);
      const bool context = facts_.context_in(p.base).has_value();
      const bool register_of_context = v.own_stack() || v.kind == Value::Kind::return_address ||
                                       v.kind == Value::Kind::entry || v.kind == Value::Kind::code;
      if (context && (register_of_context || v.kind == Value::Kind::pointer)) {
        const bool is_sp = from.kind == Operand::Kind::reg && from.reg == Reg::rsp;
        const bool is_bp = from.kind == Operand::Kind::reg && from.reg == Reg::rbp && v.kind != Value::Kind::entry;
        add(sum.saved,
            is_sp   ? "SP (" + machine_.text(v) + ")"
            : is_bp ? "rbp (" + machine_.text(v) + ")"
                    : machine_.text(v),
            p.name, in.address);
      } else if (std::string value = machine_.text(v); context && !value.empty()) {
        add(sum.set, p.name, std::move(value), in.address);
      }
    };
    const Operand* first = in.operands.empty() ? nullptr : &in.operands[0];
    switch (in.op) {
      case Op::mov:
        if (in.operands.size() != 2) break;
        if (first->kind == Operand::Kind::mem) store(machine_.place(before, in, *first), in.operands[1]);
        if (first->kind == Operand::Kind::reg && first->reg == Reg::rsp && (before.away || after.away)) {
          const std::string from = in.operands[1].kind == Operand::Kind::mem
                                       ? machine_.place(before, in, in.operands[1]).name
                                       : machine_.text(machine_.read(before, in, in.operands[1]));
          add(sum.switches, after.away ? "onto another stack" : "back on its first stack", from, in.address);
        }
        break;
      case Op::call:
        add(sum.calls, call_target(before, in), before.away ? "on the other stack" : "", in.address);
        break;
      case Op::pop:
        if (after[first->reg].kind == Value::Kind::entry) popped_.emplace_back(first->reg, before[Reg::rsp].number);
        break;
      case Op::jump:
        if (!first || (first->kind == Operand::Kind::imm && machine_.inside(static_cast<std::uint64_t>(first->imm))))
          break;
        if (first->kind == Operand::Kind::imm) {
          out_.tail = static_cast<std::uint64_t>(first->imm);
          out_.tail_state = after;
          add(sum.exits, "goes on in", facts_.symbol(*out_.tail), in.address);
        } else {
          Value v = machine_.read(before, in, *first);
          add(sum.exits, "jumps to", v.known() ? machine_.text(v) : "an unknown address", in.address);
          if (before.away) loaded(after, v);
          saved_registers(before, in);
        }
        ++exits_;
        break;
      case Op::ret:
        add(sum.exits, "returns", before.away ? "on the other stack" : "", in.address);
        saved_registers(before, in);
        ++exits_;
        break;
      default:
        break;
    }
  }

  std::string call_target(const State& before, const Instruction& in) {
    if (in.operands.empty()) return {};
    const Operand& to = in.operands[0];
    if (to.kind == Operand::Kind::imm) return facts_.symbol(static_cast<std::uint64_t>(to.imm));
    Value v = machine_.read(before, in, to);
    return v.kind == Value::Kind::code ? facts_.symbol(static_cast<std::uint64_t>(v.number)) : machine_.text(v);
  }

  // What the registers hold when control leaves for a context: that which came from the same place as SP.
  void loaded(const State& s, const Value& pc) {
    const std::string& sp = s[Reg::rsp].name;
    const std::size_t end = sp.rfind("->");
    if (end == sp.npos) return;
    const std::string base = sp.substr(0, end);
    add(out_.summary.restored, "SP", sp, 0);
    add(out_.summary.restored, "PC", machine_.text(pc), 0);
    // Of several registers with one value, that which outlives a call is meant; the others were on the way.
    auto restores = [&](Reg r) {
      const Value& v = s[r];
      const bool named = (v.kind == Value::Kind::word || v.kind == Value::Kind::pointer) && v.number == 0;
      return named && v.name.rfind("->") == base.size() && v.name.starts_with(base) && v.name != pc.name;
    };
    auto kept = [&](Reg r) { return (facts_.preserved() & bit(r)) != 0; };
    for (int i = 0; i < kRegs; ++i) {
      const Reg r = static_cast<Reg>(i);
      if (!restores(r)) continue;
      bool better = false;
      for (int k = 0; k < kRegs && !kept(r); ++k) {
        const Reg o = static_cast<Reg>(k);
        better = better || (kept(o) && restores(o) && s[o].name == s[r].name);
      }
      if (!better) add(out_.summary.restored, name_of(r), machine_.text(s[r]), 0);
    }
  }

  // At the way out the caller's registers must be the caller's.
  void saved_registers(const State& s, const Instruction& in) {
    for (int i = 0; i < kRegs && !s.away; ++i) {
      const Reg r = static_cast<Reg>(i);
      const Value& v = s.regs[i];
      if (!(facts_.preserved() & bit(r)) || r == Reg::rsp || v.kind != Value::Kind::entry || v.reg == r ||
          !(facts_.preserved() & bit(v.reg)))
        continue;
      out_.summary.differences.push_back("+" + hex(in.address - out_.start) + ": " + name_of(r) + " goes back as " +
                                         machine_.text(v) + ": it is restored from another slot than it was saved to");
    }
  }

  void report(const std::vector<std::string>& cfi) {
    std::vector<std::string>& out = out_.summary.differences;
    const std::size_t room = kMaxDifferences - std::min(out.size(), kMaxDifferences);
    std::size_t shown = 0;
    for (std::size_t i = 0; i < cfi.size(); ++shown) {
      // The same difference row after row is one.
      auto what = [&](std::size_t k) { return std::string_view(cfi[k]).substr(cfi[k].find(": ")); };
      std::size_t end = i + 1;
      while (end < cfi.size() && what(end) == what(i)) ++end;
      if (shown < room)
        out.push_back(cfi[i] + (end - i > 1 ? " (and in the next " + std::to_string(end - i - 1) + " rows)" : ""));
      i = end;
    }
    if (shown > room) out.push_back(std::to_string(shown - room) + " more differences from CFI");
  }

  // The frame that a switch leaves behind: which register of the caller lies where, from the saved SP up.
  void saved_frame() {
    if (!machine_.left().happened || !machine_.left().sp.own_stack()) return;
    const std::int64_t sp = machine_.left().sp.number;
    std::vector<Fact> frame;
    for (const auto& [slot, v] : machine_.left().frame) {
      if (slot.second < sp || !slot.first.empty() || v.kind != Value::Kind::entry || !(facts_.preserved() & bit(v.reg)))
        continue;
      frame.push_back({machine_.text(v), "saved SP" + signed_hex(slot.second - sp), 0});
    }
    if (!frame.empty()) frame.push_back({"the return address", "saved SP" + signed_hex(-sp), 0});
    out_.summary.saved.insert(out_.summary.saved.end(), frame.begin(), frame.end());
    for (const auto& [r, at] : popped_) add(out_.summary.restored, name_of(r), "saved SP" + signed_hex(at - sp), 0);
  }

  Facts& facts_;
  Routine& out_;
  Decoder decoder_;
  Machine machine_;
  std::vector<Instruction> code_;
  std::map<std::uint64_t, std::size_t> index_;
  std::vector<std::optional<State>> in_;
  std::vector<std::size_t> visits_;
  std::set<std::size_t> work_;
  std::vector<std::pair<Reg, std::int64_t>> popped_;
  int exits_ = 0;
};

}  // namespace

Routine annotate(Facts& facts, std::string name, std::uint64_t start, std::uint64_t size, const Routine* from) {
  Routine out;
  out.name = std::move(name);
  out.start = start;
  out.size = size;
  Annotator(facts, out).run(from);
  return out;
}

}  // namespace vitrine::disasm
