// sentences.cc: see sentences.h. An arrow is an assignment; a name stands for the value that has it; what a value is at
// this moment, where one goroutine is looked at, follows after "=".
#include "sentences.h"

#include <string_view>

namespace vitrine::disasm {
namespace {

std::string with_value(Facts& facts, std::string text, std::optional<std::uint64_t> actual) {
  if (!actual) return text;
  const std::string number = hex(*actual);
  if (text != number && !text.ends_with(" = " + number)) text += " = " + number;  // what has no name is its number
  if (std::string about = facts.about(*actual); !about.empty()) text += " (" + about + ")";
  return text;
}

bool is_name(const Value& v) { return v.known() && v.kind != Value::Kind::constant; }

// The value of a source operand: "rdx = m->g0" when a register holds something with a name.
std::string source(Machine& m, Facts& facts, const State& s, const Instruction& in, const Operand& o) {
  Value v = m.read(s, in, o);
  std::string value = m.text(v);
  if (o.kind == Operand::Kind::imm) return value;
  if (o.kind == Operand::Kind::mem) {
    Place p = m.place(s, in, o);
    std::string place = place_text(m, p);
    if (place.empty()) return with_value(facts, value, v.actual);
    const bool says_more = is_name(v) && value != p.name && "current " + value != p.name && !value.empty();
    if (v.kind == Value::Kind::slot) return value;
    if (p.kind == Place::Kind::frame && says_more) return with_value(facts, value + ", saved at " + place, v.actual);
    return with_value(facts, says_more ? place + " = " + value : place, v.actual);
  }
  const std::string reg = o.kind == Operand::Kind::reg ? name_of(o.reg) : "";
  if (o.reg == Reg::rsp) return v.own_stack() ? "SP (" + value + ")" : "SP";
  // A constant rides in a register without a name of its own; what the caller had there is that register itself.
  if (v.kind == Value::Kind::entry && v.reg == o.reg) return value;
  if (value.empty()) return reg;
  return with_value(facts, v.kind == Value::Kind::constant ? reg + " = " + value : value,
                    m.inside(v.actual.value_or(0)) ? std::nullopt : v.actual);
}

std::string stack_move(Machine& m, Facts& facts, const State& before, const State& after, std::string from) {
  const Value& sp = after[Reg::rsp];
  if (sp.kind != Value::Kind::stack) return "SP ← " + from + ": where that is, is not known";
  if (sp.own_stack()) return "SP ← " + (before.away ? from + ": back on its first stack" : m.text(sp));
  std::string to = sp.actual ? facts.about(*sp.actual) : std::string();
  if (!to.empty()) return "SP ← " + from + ": now " + to;
  if (before.away && before[Reg::rsp].name == sp.name) return "SP ← " + m.text(sp);
  return "SP ← " + from + ": now on that stack";
}

std::string move(Machine& m, Facts& facts, const State& before, const State& after, const Instruction& in) {
  const Operand &to = in.operands[0], &from = in.operands[1];
  std::string value = source(m, facts, before, in, from);
  if (to.kind == Operand::Kind::reg && to.reg == Reg::rsp) {  // the stack's owner is said at the end
    if (std::size_t about = value.find(" (on "); about != value.npos) value.resize(about);
  }
  if (to.kind == Operand::Kind::mem) {
    std::string place = place_text(m, m.place(before, in, to));
    return place.empty() || value.empty() ? std::string() : place + " ← " + value;
  }
  if (to.reg == Reg::rsp) return stack_move(m, facts, before, after, value.empty() ? "an unknown value" : value);
  if (value.empty() || (from.kind == Operand::Kind::reg && value == name_of(from.reg))) return {};
  return std::string(name_of(to.reg)) + " ← " + value;
}

std::string_view condition(std::string_view mnemonic) {
  struct Row {
    std::string_view mnemonic, words;
  };
  static constexpr Row kRows[] = {{"je", "if equal"},        {"jne", "if not equal"}, {"ja", "if above"},
                                  {"jae", "if not below"},   {"jb", "if below"},      {"jbe", "if not above"},
                                  {"jg", "if greater"},      {"jge", "if not less"},  {"jl", "if less"},
                                  {"jle", "if not greater"}, {"js", "if negative"},   {"jns", "if not negative"}};
  for (const Row& row : kRows)
    if (row.mnemonic == mnemonic) return row.words;
  return "on its condition";
}

// The target of a jump or call in words.
std::string target(Machine& m, Facts& facts, const State& s, const Instruction& in, std::uint64_t start) {
  if (in.operands.empty()) return {};
  const Operand& o = in.operands[0];
  if (o.kind == Operand::Kind::imm) {
    const std::uint64_t to = static_cast<std::uint64_t>(o.imm);
    if (m.inside(to)) return "+" + hex(to - start);
    std::string name = facts.symbol(to);
    return name.empty() ? hex(to) : name;
  }
  Value v = m.read(s, in, o);
  if (v.kind == Value::Kind::code) {
    std::string text = m.text(v);
    return text.starts_with("&") ? text.substr(1) : text;
  }
  return source(m, facts, s, in, o);
}

std::string compare(Machine& m, Facts& facts, const State& s, const Instruction& in) {
  if (in.operands.size() != 2) return {};
  const Operand &a = in.operands[0], &b = in.operands[1];
  std::string left = source(m, facts, s, in, a), right = source(m, facts, s, in, b);
  if (in.op == Op::test) {
    if (a.kind != Operand::Kind::reg || b.kind != Operand::Kind::reg || a.reg != b.reg) return {};
    return (left.empty() ? name_of(a.reg) : left) + " = 0?";
  }
  if (left.empty() || right.empty()) return {};
  return "compares " + left + " with " + right;
}

std::string stack_room(const State& before, const State& after, const Instruction& in) {
  const Value &a = before[Reg::rsp], &b = after[Reg::rsp];
  if (a.kind != Value::Kind::stack || b.kind != Value::Kind::stack || a.name != b.name) return {};
  const std::int64_t by = a.number - b.number;
  if (in.op == Op::sub || by > 0) return "makes room for " + std::to_string(by) + " bytes";
  return "gives " + std::to_string(-by) + " bytes back";
}

std::string control(Machine& m, const State& before, const Instruction& in) {
  if (in.operands.empty()) return {};
  std::string place = place_text(m, m.place(before, in, in.operands[0]));
  if (place.empty()) return {};
  const std::string what =
      in.mnemonic.find("mxcsr") != std::string::npos ? "the SSE control word" : "the x87 control word";
  return in.op == Op::store_control ? place + " ← " + what : what + " ← " + place;
}

}  // namespace

std::string place_text(Machine& m, const Place& p) {
  if (p.kind != Place::Kind::frame) return p.name;
  Value v = Value::of(Value::Kind::stack, p.at.second);
  v.name = p.at.first;
  if (v.own_stack() && v.number == 8) return "[CFA]";
  return "[" + m.text(v) + "]";
}

std::string sentence(Machine& m, Facts& facts, const State& before, const State& after, const Instruction& in) {
  const std::uint64_t start = m.start();
  switch (in.op) {
    case Op::mov:
      if (in.operands.size() == 2) return move(m, facts, before, after, in);
      return {};
    case Op::lea: {
      if (in.operands.size() != 2 || in.operands[0].kind != Operand::Kind::reg) return {};
      const Reg r = in.operands[0].reg;
      if (r == Reg::rsp) return stack_move(m, facts, before, after, m.text(after[r]));
      std::string value = m.text(after[r]);
      return value.empty() ? std::string() : std::string(name_of(r)) + " ← " + value;
    }
    case Op::push: {
      if (in.operands.size() != 1) return {};
      std::string value = source(m, facts, before, in, in.operands[0]);
      const Value& sp = after[Reg::rsp];
      if (value.empty() || sp.kind != Value::Kind::stack) return {};
      return "[" + m.text(sp) + "] ← " + value;
    }
    case Op::pop: {
      if (in.operands.size() != 1 || in.operands[0].kind != Operand::Kind::reg) return {};
      const Reg r = in.operands[0].reg;
      const Value& sp = before[Reg::rsp];
      std::string value = m.text(after[r]);
      if (sp.kind != Value::Kind::stack) return {};
      const std::string at = "[" + m.text(sp) + "]";
      return with_value(facts, std::string(name_of(r)) + " ← " + (value.empty() ? at : value + ", saved at " + at),
                        after[r].actual);
    }
    case Op::add:
    case Op::sub:
      if (in.operands.empty() || in.operands[0].reg != Reg::rsp) {
        if (in.operands.empty() || in.operands[0].kind != Operand::Kind::reg) return {};
        std::string value = m.text(after[in.operands[0].reg]);
        return value.empty() ? value : std::string(name_of(in.operands[0].reg)) + " ← " + value;
      }
      return stack_room(before, after, in);
    case Op::logic_xor:
      if (in.operands.size() != 2 || in.operands[0].kind != Operand::Kind::reg ||
          after[in.operands[0].reg].kind != Value::Kind::constant)
        return {};
      if (in.operands[0].reg == Reg::rbp) return "rbp ← 0: the chain of frames ends here";
      return std::string(name_of(in.operands[0].reg)) + " ← 0";
    case Op::compare:
    case Op::test:
      return compare(m, facts, before, in);
    case Op::call: {
      std::string to = target(m, facts, before, in, start);
      return to.empty() ? std::string() : "calls " + to;
    }
    case Op::jump: {
      std::string to = target(m, facts, before, in, start);
      if (to.empty()) return {};
      const Operand& o = in.operands[0];
      if (o.kind == Operand::Kind::imm)
        return m.inside(static_cast<std::uint64_t>(o.imm)) ? "to " + to : "goes on in " + to;
      return "jumps to " + to;
    }
    case Op::branch:
      return std::string(condition(in.mnemonic)) + ": to " + target(m, facts, before, in, start);
    case Op::ret: {
      const Value& sp = before[Reg::rsp];
      if (sp.own_stack() && sp.number == 0) return "returns";
      if (before.away) return "returns to what lies at " + m.text(sp);
      return sp.own_stack() ? "returns to what lies at [" + m.text(sp) + "]" : "returns";
    }
    case Op::leave:
      return "SP ← the frame's; rbp ← " +
             (after[Reg::rbp].known() ? m.text(after[Reg::rbp]) : std::string("what was pushed"));
    case Op::trap:
      return "not meant to be reached";
    case Op::store_control:
    case Op::load_control:
      return control(m, before, in);
    case Op::exchange:
    case Op::nop:
    case Op::other:
      return {};
  }
  return {};
}

}  // namespace vitrine::disasm
