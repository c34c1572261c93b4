// machine.cc: see machine.h. What is not understood is forgotten, never guessed: an instruction of no interest makes
// unknown what it writes, a store to an unknown place makes unknown what the routine had stored by name.
#include "machine.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

namespace vitrine::disasm {
namespace {

constexpr std::int64_t kWord = 8;
constexpr std::size_t kSmallRoutine = 48;  // instructions of a callee that is looked into for what it clobbers

std::optional<std::uint64_t> plus(std::optional<std::uint64_t> a, std::int64_t n) {
  if (a) return *a + static_cast<std::uint64_t>(n);
  return a;
}

std::int64_t wrapped(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

}  // namespace

std::string hex(std::uint64_t v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%" PRIx64, v);
  return text;
}
std::string signed_hex(std::int64_t v) {
  return v < 0 ? "-" + hex(0 - static_cast<std::uint64_t>(v)) : "+" + hex(static_cast<std::uint64_t>(v));
}

bool State::meet(const State& other) {
  bool lost = false;
  for (int i = 0; i < kRegs; ++i) {
    if (regs[i].known() && !(regs[i] == other.regs[i])) {
      regs[i] = {};
      lost = true;
    }
  }
  auto keep_common = [&](auto& mine, const auto& theirs) {
    for (auto it = mine.begin(); it != mine.end();) {
      auto found = theirs.find(it->first);
      if (found != theirs.end() && found->second == it->second) {
        ++it;
      } else {
        it = mine.erase(it);
        lost = true;
      }
    }
  };
  keep_common(frame, other.frame);
  keep_common(stored, other.stored);
  if (away && !other.away) {
    away = false;
    lost = true;
  }
  return lost;
}

Value Machine::typed(const Typed& t, std::optional<std::uint64_t> actual) {
  Value v = Value::of(t.to ? Value::Kind::pointer : Value::Kind::word);
  v.type = t.to;
  v.name = t.name;
  v.actual = t.value ? t.value : actual;
  return v;
}

Value Machine::constant(std::int64_t n) {
  Value v = Value::of(Value::Kind::constant, n);
  v.actual = static_cast<std::uint64_t>(n);
  // A small negative number may be the distance of a thread-local variable from the thread pointer.
  if (n < 0 && n > -(1 << 20)) {
    if (auto slot = facts_.thread_local_slot(n)) {
      v.kind = Value::Kind::slot;
      v.name = slot->name;
    }
  }
  return v;
}

State Machine::entry() {
  State s;
  for (int i = 0; i < kRegs; ++i) {
    Reg r = static_cast<Reg>(i);
    if (auto known = facts_.at_entry(r)) {
      s[r] = typed(*known, {});
    } else {
      s[r] = Value::entry(r);
    }
  }
  s[Reg::rsp] = Value::of(Value::Kind::stack);
  return s;
}

Place Machine::place(const State& s, const Instruction& in, const Operand& o) {
  Place p;
  const bool plain = o.index == Reg::none;
  if (o.segment != Operand::Segment::none) {
    std::int64_t at = o.disp;
    if (!plain || o.segment != Operand::Segment::fs) return p;
    if (o.base != Reg::none) {
      const Value& b = s[o.base];
      if (b.kind != Value::Kind::constant && b.kind != Value::Kind::slot) return p;
      at = wrapped(at, b.number);
    }
    p.kind = Place::Kind::slot;
    p.offset = at;
    auto slot = facts_.thread_local_slot(at);
    p.name = slot ? "current " + slot->name : "fs:" + signed_hex(at);
    return p;
  }
  if (o.base == Reg::rip || (o.base == Reg::none && plain)) {
    p.kind = Place::Kind::absolute;
    p.address = (o.base == Reg::rip ? in.end() : 0) + static_cast<std::uint64_t>(o.disp);
    if (!plain) return {};
    p.actual = p.address;
    p.name = facts_.symbol(p.address);
    return p;
  }
  if (o.base == Reg::none || !plain) return p;
  const Value& b = s[o.base];
  p.actual = plus(b.actual, o.disp);
  if (b.kind == Value::Kind::stack) {
    p.kind = Place::Kind::frame;
    p.at = {b.name, wrapped(b.number, o.disp)};
    return p;
  }
  if (b.kind == Value::Kind::pointer) {
    p.base = b.type;
    p.base_name = b.name;
    p.offset = wrapped(b.number, o.disp);
    auto member = p.offset >= 0 ? facts_.member(b.type, static_cast<std::uint64_t>(p.offset)) : std::nullopt;
    if (!member) {
      p.name = "*(" + b.name + signed_hex(p.offset) + ")";
      return p;
    }
    p.kind = Place::Kind::member;
    p.member = std::move(*member);
    p.name = b.name + "->" + p.member.path();
    if (p.member.rest) p.name += signed_hex(static_cast<std::int64_t>(p.member.rest));
    return p;
  }
  // A word that is followed all the same: a pointer to something that has no structure here.
  if (b.kind == Value::Kind::word) {
    const std::int64_t at = wrapped(b.number, o.disp);
    p.name = at ? "*(" + b.name + signed_hex(at) + ")" : "*" + b.name;
  }
  return p;
}

Value Machine::load(const State& s, const Place& from, std::uint8_t size) {
  Value v;
  auto actual = [&]() -> std::optional<std::uint64_t> {
    return from.actual ? facts_.word(*from.actual, size) : std::nullopt;
  };
  switch (from.kind) {
    case Place::Kind::frame: {
      if (auto found = s.frame.find(from.at); found != s.frame.end() && size == kWord) {
        v = found->second;
        if (!v.actual && v.kind != Value::Kind::stack) v.actual = actual();
        return v;
      }
      if (!from.at.first.empty() || size != kWord) break;
      if (from.at.second == 0) {
        v = Value::of(Value::Kind::return_address);
      } else if (auto argument = facts_.argument_on_stack(from.at.second)) {
        return typed(*argument, actual());
      }
      break;
    }
    case Place::Kind::slot: {
      if (auto found = s.stored.find(from.name); found != s.stored.end() && size == kWord) return found->second;
      if (auto slot = facts_.thread_local_slot(from.offset); slot && size == kWord) return typed(*slot, {});
      v = Value::of(Value::Kind::word);
      v.name = from.name;
      return v;
    }
    case Place::Kind::member: {
      if (auto found = s.stored.find(from.name); found != s.stored.end() && size == kWord) return found->second;
      const bool pointer = from.member.pointee && size == kWord && from.member.rest == 0;
      v = Value::of(pointer ? Value::Kind::pointer : Value::Kind::word);
      v.type = pointer ? from.member.pointee : nullptr;
      v.name = from.name;
      break;
    }
    case Place::Kind::absolute:
      if (size == kWord) {
        if (auto c = facts_.constant(from.address)) return constant(static_cast<std::int64_t>(*c));
      }
      [[fallthrough]];
    case Place::Kind::unknown:
      if (from.name.empty()) break;
      v = Value::of(Value::Kind::word);
      v.name = from.name;
      break;
  }
  v.actual = actual();
  return v;
}

Value Machine::address_of(const State& s, const Instruction& in, const Operand& o) {
  if (o.segment != Operand::Segment::none) return {};
  if (o.base == Reg::rip) {
    std::uint64_t at = in.end() + static_cast<std::uint64_t>(o.disp);
    Value v = Value::of(Value::Kind::code, static_cast<std::int64_t>(at));
    v.actual = at;
    return v;
  }
  if (o.base == Reg::none || o.index != Reg::none) return {};
  Value v = s[o.base];
  v.actual = plus(v.actual, o.disp);
  switch (v.kind) {
    case Value::Kind::stack:
    case Value::Kind::pointer:
    case Value::Kind::word:
    case Value::Kind::code:
      v.number = wrapped(v.number, o.disp);
      return v;
    case Value::Kind::constant:
      return constant(wrapped(v.number, o.disp));
    default:
      return o.disp == 0 ? v : Value{};
  }
}

Value Machine::read(const State& s, const Instruction& in, const Operand& o) {
  switch (o.kind) {
    case Operand::Kind::reg:
      if (index_of(o.reg) >= kRegs || o.high_byte) return {};
      if (o.size == kWord) return s[o.reg];
      if (o.size == 4 && s[o.reg].kind == Value::Kind::constant)
        return constant(static_cast<std::uint32_t>(s[o.reg].number));
      return {};
    case Operand::Kind::imm:
      return constant(o.imm);
    case Operand::Kind::mem:
      return load(s, place(s, in, o), o.size);
    case Operand::Kind::other:
      break;
  }
  return {};
}

void Machine::move_stack(State& s, Value v) {
  Value& sp = s[Reg::rsp];
  if (v.kind != Value::Kind::stack) {
    const bool named = v.kind == Value::Kind::pointer || v.kind == Value::Kind::word;
    if (!s.away && sp.own_stack()) {
      left_.happened = true;
      left_.sp = sp;
      left_.frame = s.frame;
      // The stack pointer that was saved, where it is another one (the caller's, say).
      const ContextFacts* context = facts_.context();
      for (const auto& [path, stored] : s.stored)
        if (stored.own_stack() && context && context->sp && path.ends_with(context->sp->field)) left_.sp = stored;
    }
    Value moved = Value::of(Value::Kind::stack);
    moved.name = named ? v.name : "an unknown address";
    moved.actual = v.actual;
    sp = moved;
    s.away = true;
    return;
  }
  sp = std::move(v);
  s.away = !sp.name.empty();
}

void Machine::set(State& s, Reg r, Value v) {
  if (index_of(r) >= kRegs) return;
  if (r == Reg::rsp) return move_stack(s, std::move(v));
  s[r] = std::move(v);
}

void Machine::store(State& s, const Place& to, Value v, std::uint8_t size) {
  if (v.kind == Value::Kind::code && inside(static_cast<std::uint64_t>(v.number)) && size == kWord)
    labels_.emplace(static_cast<std::uint64_t>(v.number), to.name);
  switch (to.kind) {
    case Place::Kind::frame: {
      auto it = s.frame.lower_bound({to.at.first, wrapped(to.at.second, -(kWord - 1))});
      while (it != s.frame.end() && it->first.first == to.at.first && it->first.second < to.at.second + size)
        it = s.frame.erase(it);
      if (size == kWord) s.frame[to.at] = std::move(v);
      return;
    }
    case Place::Kind::member:
    case Place::Kind::slot:
      if (size == kWord) {
        s.stored[to.name] = std::move(v);
      } else {
        s.stored.erase(to.name);
      }
      // Whatever was reached through this field is another thing now.
      std::erase_if(s.stored, [&](const auto& e) { return e.first.starts_with(to.name + "->"); });
      return;
    case Place::Kind::absolute:
      return;
    case Place::Kind::unknown:
      std::erase_if(s.stored, [](const auto& e) { return !e.second.own_stack(); });
      return;
  }
}

void Machine::move(State& s, const Instruction& in) {
  const Operand &to = in.operands[0], &from = in.operands[1];
  Value v = read(s, in, from);
  if (to.kind == Operand::Kind::mem) {
    store(s, place(s, in, to), to.size == kWord || v.kind == Value::Kind::constant ? v : Value{}, to.size);
  } else if (to.size == kWord) {
    set(s, to.reg, std::move(v));
  } else if (to.size == 4 && v.kind == Value::Kind::constant) {
    set(s, to.reg, Value::of(Value::Kind::constant, static_cast<std::uint32_t>(v.number)));
  } else if (to.size == 4 && v.kind == Value::Kind::word && from.kind == Operand::Kind::mem) {
    set(s, to.reg, std::move(v));  // a 32-bit field, zero-extended: still that field
  } else {
    set(s, to.reg, {});
  }
}

void Machine::arithmetic(State& s, const Instruction& in) {
  const Operand &to = in.operands[0], &from = in.operands[1];
  if (to.kind != Operand::Kind::reg) return forget(s, in);
  Value v;
  if (in.op == Op::logic_xor) {
    if (from.kind == Operand::Kind::reg && from.reg == to.reg && to.size >= 4) v = constant(0);
  } else if (to.size == kWord) {
    Value by = read(s, in, from);
    v = s[to.reg];
    if (by.kind != Value::Kind::constant && by.kind != Value::Kind::slot) {
      v = {};
    } else {
      const std::int64_t n = in.op == Op::add ? by.number : wrapped(0, -by.number);
      switch (v.kind) {
        case Value::Kind::stack:
        case Value::Kind::pointer:
        case Value::Kind::word:
        case Value::Kind::code:
          v.number = wrapped(v.number, n);
          v.actual = plus(v.actual, n);
          break;
        case Value::Kind::constant:
          v = constant(wrapped(v.number, n));
          break;
        default:
          v = {};
      }
    }
  }
  if (to.reg == Reg::rsp) {
    s[Reg::rsp] = v.kind == Value::Kind::stack ? v : Value{};
  } else {
    set(s, to.reg, std::move(v));
  }
}

void Machine::forget(State& s, const Instruction& in) {
  for (int i = 0; i < kRegs; ++i)
    if (in.writes & bit(static_cast<Reg>(i))) s.regs[i] = {};
  for (const Operand& o : in.operands) {
    if (o.write && o.kind == Operand::Kind::reg && index_of(o.reg) < kRegs) s[o.reg] = {};
    if (o.write && o.kind == Operand::Kind::mem) store(s, place(s, in, o), {}, o.size);
  }
}

// Which registers a small routine writes, itself and what it calls; a large or unreadable one: all that it may.
std::uint32_t Machine::clobbers(std::uint64_t routine, int depth) {
  if (auto known = clobbers_.find(routine); known != clobbers_.end()) return known->second;
  const std::uint32_t all = ~facts_.preserved();
  std::uint32_t written = 0;
  auto extent = facts_.routine_at(routine);
  std::vector<std::byte> code(extent && extent->start == routine ? std::min<std::uint64_t>(extent->size, 512) : 0);
  if (depth > 2 || code.empty() || code.size() < extent->size || facts_.code(routine, code) < code.size()) return all;
  std::size_t n = 0;
  for (std::size_t at = 0; at < code.size(); ++n) {
    Instruction in = decoder_.decode(std::span(code).subspan(at), routine + at);
    at += in.size;
    if (n > kSmallRoutine) return clobbers_[routine] = all;
    if (in.op == Op::call || in.op == Op::jump || in.op == Op::branch) {
      const bool direct = !in.operands.empty() && in.operands[0].kind == Operand::Kind::imm;
      const std::uint64_t target = direct ? static_cast<std::uint64_t>(in.operands[0].imm) : 0;
      if (!direct) return clobbers_[routine] = all;
      if (target < routine || target >= routine + extent->size) written |= clobbers(target, depth + 1);
    }
    if (in.op != Op::push && in.op != Op::call) written |= in.writes & ~bit(Reg::rsp);
  }
  return clobbers_[routine] = written & all;
}

void Machine::call(State& s, const Instruction& in) {
  std::uint32_t gone = ~facts_.preserved();
  if (!in.operands.empty() && in.operands[0].kind == Operand::Kind::imm)
    gone = clobbers(static_cast<std::uint64_t>(in.operands[0].imm), 0);
  // A local whose address the callee may have is the callee's to change; saved registers lie where no address goes.
  for (int i = 0; i < kRegs; ++i) {
    const Reg r = static_cast<Reg>(i);
    if (r == Reg::rsp || r == Reg::rbp || !s.regs[i].own_stack()) continue;
    const std::int64_t from = s.regs[i].number;
    std::erase_if(s.frame, [&](const auto& e) {
      return e.first.first.empty() && e.first.second >= from && e.second.kind != Value::Kind::entry;
    });
  }
  for (int i = 0; i < kRegs; ++i)
    if (gone & bit(static_cast<Reg>(i))) s.regs[i] = {};
  std::erase_if(s.stored, [](const auto& e) { return !e.second.own_stack(); });
}

void Machine::step(State& s, const Instruction& in) {
  auto top = [&]() -> Place {
    Place p;
    const Value& sp = s[Reg::rsp];
    if (sp.kind != Value::Kind::stack) return p;
    p.kind = Place::Kind::frame;
    p.at = {sp.name, sp.number};
    p.actual = sp.actual;
    return p;
  };
  auto move_top = [&](std::int64_t by) {
    Value& sp = s[Reg::rsp];
    if (sp.kind != Value::Kind::stack) return;
    sp.number = wrapped(sp.number, by);
    sp.actual = plus(sp.actual, by);
  };
  const bool two = in.operands.size() == 2;
  switch (in.op) {
    case Op::mov:
      if (two) return move(s, in);
      break;
    case Op::lea:
      if (!two || in.operands[0].kind != Operand::Kind::reg) break;
      if (in.operands[0].size != kWord) break;
      return set(s, in.operands[0].reg, address_of(s, in, in.operands[1]));
    case Op::push: {
      if (in.operands.size() != 1 || in.operands[0].size == 2) break;
      Value v = read(s, in, in.operands[0]);
      move_top(-kWord);
      return store(s, top(), std::move(v), kWord);
    }
    case Op::pop: {
      if (in.operands.size() != 1 || in.operands[0].kind != Operand::Kind::reg || in.operands[0].size != kWord) break;
      Value v = load(s, top(), kWord);
      move_top(kWord);
      return set(s, in.operands[0].reg, std::move(v));
    }
    case Op::add:
    case Op::sub:
    case Op::logic_xor:
      if (two) return arithmetic(s, in);
      break;
    case Op::exchange:
      if (two && in.operands[0].kind == Operand::Kind::reg && in.operands[1].kind == Operand::Kind::reg &&
          in.operands[0].size == kWord) {
        Value a = read(s, in, in.operands[0]), b = read(s, in, in.operands[1]);
        set(s, in.operands[0].reg, std::move(b));
        return set(s, in.operands[1].reg, std::move(a));
      }
      break;
    case Op::store_control:
      return forget(s, in);
    case Op::call:
      return call(s, in);
    case Op::leave: {
      set(s, Reg::rsp, s[Reg::rbp]);
      Value v = load(s, top(), kWord);
      move_top(kWord);
      return set(s, Reg::rbp, std::move(v));
    }
    case Op::compare:
    case Op::test:
    case Op::jump:
    case Op::branch:
    case Op::ret:
    case Op::nop:
    case Op::trap:
    case Op::load_control:
      return;
    case Op::other:
      break;
  }
  forget(s, in);
}

std::string Machine::text(const Value& v) {
  switch (v.kind) {
    case Value::Kind::unknown:
      return {};
    case Value::Kind::entry:
      return std::string("the caller's ") + name_of(v.reg);
    case Value::Kind::return_address:
      return "the return address";
    case Value::Kind::stack:
      if (!v.name.empty()) return v.number ? v.name + signed_hex(v.number) : v.name;
      return v.number == kWord ? "the caller's SP" : "CFA" + signed_hex(v.number - kWord);
    case Value::Kind::pointer: {
      if (v.number == 0) return v.name;
      auto member = v.number > 0 ? facts_.member(v.type, static_cast<std::uint64_t>(v.number)) : std::nullopt;
      if (!member) return v.name + signed_hex(v.number);
      // The address of the field that begins there, not of what is first inside it.
      while (member->steps.size() > 1 && member->steps.back().offset == 0) member->steps.pop_back();
      return "&" + v.name + "->" + member->path();
    }
    case Value::Kind::word:
      return v.number ? v.name + signed_hex(v.number) : v.name;
    case Value::Kind::constant:
      if (v.number >= 0 && v.number < 10) return std::to_string(v.number);
      return v.number < 0 && v.number > -(1 << 20) ? signed_hex(v.number) : hex(static_cast<std::uint64_t>(v.number));
    case Value::Kind::code: {
      const std::uint64_t at = static_cast<std::uint64_t>(v.number);
      if (inside(at)) return "the address of +" + hex(at - start_);
      std::string name = facts_.symbol(at);
      return name.empty() ? hex(at) : "&" + name;
    }
    case Value::Kind::slot:
      return "where the current " + v.name + " lies from the thread pointer";
  }
  return {};
}

}  // namespace vitrine::disasm
