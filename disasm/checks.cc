// checks.cc: see checks.h. The parts of a context are told by what the code does with them, never by their offset:
//   the stack pointer    what SP is loaded from, and where SP (or the caller's SP) is stored
//   the resume address   what is jumped to, and where the return address or a label of the routine is stored
//   the frame pointer    what rbp is loaded from, and where the caller's or the present rbp is stored
//   the context's owner  what the thread's current pointer is loaded from, and where a structure's own address is put
//                        into the context in it
// Only a routine that switches (it loads SP, or saves both SP and a resume address) is held to that: any other function
// may store an address of its frame where it likes.
#include "checks.h"

#include <algorithm>

#include "sentences.h"

namespace vitrine::disasm {

void LayoutCheck::saw(Role role, bool write, const Place& p, std::uint64_t at) {
  if (!p.base) return;
  auto context = facts_.context_in(p.base);
  if (!context) return;
  seen_.push_back({role, write, p.base_name, p.offset - static_cast<std::int64_t>(*context), p.name, at});
}

void LayoutCheck::saw_path(Role role, const std::string& path, std::uint64_t at) {
  if (auto found = loaded_.find(path); found != loaded_.end()) saw(role, false, found->second, at);
}

bool LayoutCheck::is_current(const std::string& path) const {
  auto found = loaded_.find("current " + path);
  return found != loaded_.end() && found->second.kind == Place::Kind::slot;
}

void LayoutCheck::look(const State& before, const State& after, const Instruction& in) {
  if (in.operands.empty()) return;
  for (const Operand& o : in.operands) {
    if (o.kind != Operand::Kind::mem) continue;
    Place p = machine_.place(before, in, o);
    if ((p.base || p.kind == Place::Kind::slot) && !p.name.empty()) loaded_.emplace(p.name, p);
  }
  const Operand& first = in.operands[0];
  if (in.op == Op::jump && first.kind != Operand::Kind::imm && after.away)
    saw_path(Role::pc, machine_.read(before, in, first).name, in.address);
  if (in.op != Op::mov || in.operands.size() != 2) return;
  const Operand& from = in.operands[1];
  const Value v = machine_.read(before, in, from);
  if (first.kind == Operand::Kind::reg) {
    if (first.reg == Reg::rsp && after.away && v.kind != Value::Kind::stack) {
      moves_stack_ = true;
      if (from.kind == Operand::Kind::mem) {
        saw(Role::sp, false, machine_.place(before, in, from), in.address);
      } else {
        saw_path(Role::sp, v.name, in.address);
      }
    }
    if (first.reg == Reg::rbp && !v.name.empty() && v.kind != Value::Kind::stack && after.away)
      saw_path(Role::bp, v.name, in.address);
    return;
  }
  Place p = machine_.place(before, in, first);
  if (p.kind == Place::Kind::slot) {
    if (v.kind == Value::Kind::pointer && v.number == 0) saw_path(Role::current, v.name, in.address);
    return;
  }
  if (!p.base) return;
  const bool callers_sp = v.own_stack() && v.number == 8;
  if (from.kind == Operand::Kind::reg && (from.reg == Reg::rsp || callers_sp)) {
    saw(Role::sp, true, p, in.address);
  } else if (v.kind == Value::Kind::pointer && v.number == 0 && (v.name == p.base_name || is_current(v.name))) {
    saw(Role::current, true, p, in.address);
  } else if (v.kind == Value::Kind::return_address ||
             (v.kind == Value::Kind::code && from.kind == Operand::Kind::reg)) {
    saw(Role::pc, true, p, in.address);
  } else if ((v.kind == Value::Kind::entry && v.reg == Reg::rbp) ||
             (from.kind == Operand::Kind::reg && from.reg == Reg::rbp)) {
    saw(Role::bp, true, p, in.address);
  }
}

void LayoutCheck::compare(Summary& out) const {
  const ContextFacts* context = facts_.context();
  if (!context) return;
  auto stores = [&](Role role) {
    return std::any_of(seen_.begin(), seen_.end(), [&](const Seen& s) { return s.write && s.role == role; });
  };
  if (!moves_stack_ && !(stores(Role::sp) && stores(Role::pc))) return;
  struct Part {
    Role role;
    const std::optional<ContextFacts::Role>& is;
    const char* what;
  };
  const Part parts[] = {{Role::sp, context->sp, "the stack pointer"},
                        {Role::pc, context->pc, "the resume address"},
                        {Role::bp, context->bp, "the frame pointer"},
                        {Role::current, context->current, "the owner"}};
  for (const Part& part : parts) {
    if (!part.is) continue;
    bool agrees = false, told = false;
    for (const Seen& s : seen_) {
      if (s.role != part.role) continue;
      const std::int64_t want = static_cast<std::int64_t>(part.is->offset);
      if (s.offset == want) {
        agrees = true;
        continue;
      }
      // The owner is often found without the context (m->g0, say); and a second copy of an address is no mistake when
      // the right place has it too.
      if (part.role == Role::current) continue;
      if (std::any_of(seen_.begin(), seen_.end(), [&](const Seen& o) {
            return o.role == s.role && o.write == s.write && o.base == s.base && o.offset == want;
          }))
        continue;
      if (told) continue;
      told = true;
      out.differences.push_back("+" + hex(s.at - machine_.start()) + ": " + part.what + " is " +
                                (s.write ? "saved to " : "loaded from ") + s.path + ", offset " + signed_hex(s.offset) +
                                " of " + context->name + "; DWARF has " + part.is->field + " at " + signed_hex(want));
    }
    if (agrees && !told) out.agree.push_back(part.is->field);
  }
}

namespace {

bool is_callers(const Value& v, Reg r) { return v.kind == Value::Kind::entry && v.reg == r; }

std::string registers_of(const CfiFacts& f) { return name_of(f.cfa_reg) + signed_hex(f.cfa_offset); }

}  // namespace

bool compare_cfi(Machine& m, Facts& facts, const State& s, const Instruction& in, std::vector<std::string>& out) {
  auto row = facts.cfi(in.address);
  if (!row || row->undefined_pc || !row->has_cfa || index_of(row->cfa_reg) >= kRegs) return false;
  const std::string at = "+" + hex(in.address - m.start()) + ": CFI ";
  const Value& base = s[row->cfa_reg];
  bool compared = false;
  if (s.away) {
    // Between two stacks the caller is what the registers describe: each must come from where SP came from.
    for (const CfiFacts::Rule& r : row->rules) {
      if (!r.in_register || index_of(r.holder) >= kRegs) continue;
      compared = true;
      const Value& v = s[r.holder];
      if (v.kind != Value::Kind::word && v.kind != Value::Kind::pointer)
        out.push_back(at + "takes the caller's " + name_of(r.reg) + " from " + name_of(r.holder) + "; that holds " +
                      (v.known() ? m.text(v) : "nothing known"));
    }
    return compared;
  }
  if (base.own_stack()) {
    compared = true;
    const std::int64_t cfa = base.number + row->cfa_offset;
    if (cfa != 8) {
      out.push_back(at + "has the CFA at " + registers_of(*row) + "; by the code it is at " + name_of(row->cfa_reg) +
                    signed_hex(8 - base.number));
      return true;
    }
  }
  if (!compared) return false;
  for (const CfiFacts::Rule& r : row->rules) {
    if (r.in_register) {
      if (index_of(r.holder) >= kRegs) continue;
      const Value& v = s[r.holder];
      const bool right =
          r.reg == Reg::rip ? v.kind == Value::Kind::return_address || !v.known() : !v.known() || is_callers(v, r.reg);
      if (!right)
        out.push_back(at + "has " + name_of(r.reg) + " in " + name_of(r.holder) + "; that holds " + m.text(v));
      continue;
    }
    if (r.reg == Reg::rip || index_of(r.reg) >= kRegs) continue;
    auto found = s.frame.find({"", r.offset + 8});
    const std::string where = "CFA" + signed_hex(r.offset);
    if (found == s.frame.end()) {
      out.push_back(at + "has the caller's " + name_of(r.reg) + " at " + where + "; the code has put nothing there");
    } else if (!is_callers(found->second, r.reg) && found->second.known()) {
      out.push_back(at + "has the caller's " + name_of(r.reg) + " at " + where + "; the code has " +
                    m.text(found->second) + " there");
    }
  }
  for (int i = 0; i < kRegs; ++i) {
    const Reg r = static_cast<Reg>(i);
    if (!(row->same & bit(r)) || r == Reg::rsp) continue;
    const Value& v = s[r];
    if (v.known() && !is_callers(v, r))
      out.push_back(at + "has " + name_of(r) + " still the caller's; by the code it is " + m.text(v));
  }
  return true;
}

}  // namespace vitrine::disasm
