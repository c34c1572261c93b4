// program_locals.cc: see program_locals.h. The function that contains the pc is walked, with those of its blocks and inlined
// calls that contain the pc as well. A location is an expression or, by pc, one of a list; understood are the forms that Go's compiler and an
// unoptimised C++ frame use: an address, an offset from the frame's CFA (fbreg too, where the frame base is the CFA), a
// register, and pieces of these. Anything else is "not known where".
//
// Go writes expressions as blocks, which libdw's dwarf_getlocation refuses: those are decoded here.
#include "program_locals.h"

#include <dwarf.h>

#include <algorithm>
#include <cstring>

namespace vitrine::inspect {
namespace {

constexpr int kMaxDepth = 64;

// One operation of an expression, decoded.
struct Op {
  unsigned atom;
  std::uint64_t number;
};

bool leb(std::span<const std::uint8_t> bytes, std::size_t& at, bool is_signed, std::uint64_t& out) {
  out = 0;
  unsigned shift = 0;
  while (at < bytes.size() && shift < 64) {
    const std::uint8_t b = bytes[at++];
    out |= std::uint64_t{b & 0x7fu} << shift;
    shift += 7;
    if (b & 0x80) continue;
    if (is_signed && (b & 0x40) && shift < 64) out |= ~std::uint64_t{0} << shift;
    return true;
  }
  return false;
}

bool decode(std::span<const std::uint8_t> bytes, std::vector<Op>& out) {
  for (std::size_t at = 0; at < bytes.size();) {
    Op op{bytes[at++], 0};
    if (op.atom == DW_OP_addr) {
      if (bytes.size() - at < 8) return false;
      std::memcpy(&op.number, bytes.data() + at, 8);
      at += 8;
    } else if (op.atom == DW_OP_fbreg || op.atom == DW_OP_consts) {
      if (!leb(bytes, at, true, op.number)) return false;
    } else if (op.atom == DW_OP_piece || op.atom == DW_OP_plus_uconst) {
      if (!leb(bytes, at, false, op.number)) return false;
    } else if (op.atom != DW_OP_call_frame_cfa && op.atom != DW_OP_plus &&
               !(op.atom >= DW_OP_reg0 && op.atom <= DW_OP_reg16)) {
      return false;
    }
    out.push_back(op);
  }
  return true;
}

// What holds at the pc; false: nothing is said, or nothing that libdw could read.
bool operations(Dwarf_Attribute& location, Dwarf_Addr at, std::vector<Op>& out) {
  Dwarf_Block block;
  if (dwarf_whatform(&location) != DW_FORM_exprloc && dwarf_formblock(&location, &block) == 0)
    return decode(std::span(block.data, block.length), out);
  Dwarf_Op* ops = nullptr;
  std::size_t n = 0;
  if (dwarf_getlocation_addr(&location, at, &ops, &n, 1) != 1) return false;
  for (std::size_t i = 0; i < n; ++i) out.push_back({ops[i].atom, ops[i].number});
  return true;
}

// Go's compiler describes what is left of a string or structure that it took apart without pieces when only one part is
// left, and does not say which. It shows where one register has it, at some pc: a whole one does not fit there.
bool fragment(Dwarf_Attribute& location) {
  Dwarf_Block block;
  if (dwarf_whatform(&location) == DW_FORM_exprloc || dwarf_formblock(&location, &block) == 0) return false;
  Dwarf_Addr base = 0, begin = 0, end = 0;
  Dwarf_Op* ops = nullptr;
  std::size_t n = 0;
  bool in_register = false;
  for (std::ptrdiff_t at = 0; (at = dwarf_getlocations(&location, at, &base, &begin, &end, &ops, &n)) > 0;) {
    if (std::any_of(ops, ops + n, [](const Dwarf_Op& op) { return op.atom == DW_OP_piece; })) return false;
    in_register = in_register || (n == 1 && ops[0].atom >= DW_OP_reg0 && ops[0].atom <= DW_OP_reg16);
  }
  return in_register;
}

bool places(const std::vector<Op>& ops, std::uint64_t bias, std::vector<Local::Piece>& out) {
  Local::Piece now;
  bool base = false;  // the CFA is on the expression's stack
  std::uint64_t pushed = 0;
  for (const Op& op : ops) {
    switch (op.atom) {
      case DW_OP_call_frame_cfa:
        now = {Local::Place::cfa, 0, 0};
        base = true;
        break;
      case DW_OP_fbreg:
        now = {Local::Place::cfa, static_cast<std::int64_t>(op.number), 0};
        break;
      case DW_OP_addr:
        now = {Local::Place::address, static_cast<std::int64_t>(op.number + bias), 0};
        break;
      case DW_OP_consts:
        pushed = op.number;
        break;
      case DW_OP_plus:
        if (!base) return false;
        now.at += static_cast<std::int64_t>(pushed);
        break;
      case DW_OP_plus_uconst:
        if (!base) return false;
        now.at += static_cast<std::int64_t>(op.number);
        break;
      case DW_OP_piece:
        now.size = op.number;
        out.push_back(now);
        now = {};
        base = false;
        break;
      default:
        if (op.atom < DW_OP_reg0 || op.atom > DW_OP_reg16) return false;
        now = {Local::Place::reg, static_cast<std::int64_t>(op.atom - DW_OP_reg0), 0};
    }
  }
  if (now.place != Local::Place::none) out.push_back(now);
  return true;
}

class Walk {
 public:
  Walk(ModuleFiles& files, TypeTable& types, Dwarf_Addr at, bool called, bool go, std::vector<Local>& out)
      : files_(files), types_(types), at_(at), called_(called), go_(go), out_(out) {}

  void block(Dwarf_Die* parent, int depth) {
    Dwarf_Die child;
    if (depth > kMaxDepth || dwarf_child(parent, &child) != 0) return;
    do {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_lexical_block && dwarf_haspc(&child, at_) == 1) block(&child, depth + 1);
      // One chain of calls, as locate() has it, whatever broken DWARF says.
      if (tag == DW_TAG_inlined_subroutine && calls_ == deepest_ && dwarf_haspc(&child, at_) == 1) {
        const std::uint32_t caller = calls_;
        calls_ = ++deepest_;
        block(&child, depth + 1);
        calls_ = caller;
      }
      if (tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) variable(child, tag == DW_TAG_formal_parameter);
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  // So far a variable has the number of calls around its function; from here on the innermost is 0.
  void innermost_first(std::size_t begin) {
    for (std::size_t i = begin; i < out_.size(); ++i) out_[i].function = deepest_ - out_[i].function;
    std::stable_sort(out_.begin() + static_cast<std::ptrdiff_t>(begin), out_.end(),
                     [](const Local& a, const Local& b) { return a.function < b.function; });
  }

 private:
  void variable(Dwarf_Die die, bool parameter) {
    Dwarf_Die named = declared(die);
    const char* name = dwarf_diename(&named);
    if (!name || !*name) return;
    // "~r0.ptr": a part that Go's compiler made of an unnamed result, under a name that no source has.
    if (go_ && *name == '~' && std::strchr(name, '.')) return;
    Local local;
    local.name = name;
    local.parameter = parameter;
    local.function = calls_;
    local.type = types_.type_of(&named, files_);
    Dwarf_Attribute result;
    if (parameter && dwarf_attr(&named, DW_AT_variable_parameter, &result)) dwarf_formflag(&result, &local.result);
    Dwarf_Attribute location;
    if (dwarf_attr(&die, DW_AT_location, &location)) local.pieces = pieces(location, at_);
    local.partial = go_ && local.pieces.size() == 1 && local.type && local.type->size > 8 && fragment(location);
    if (called_ && in_registers(local.pieces)) {
      auto after = pieces(location, at_ + 1);  // the return address: nothing has run since
      if (!after.empty() && !in_registers(after)) local.pieces = std::move(after);
    }
    out_.push_back(std::move(local));
  }

  std::vector<Local::Piece> pieces(Dwarf_Attribute& location, Dwarf_Addr at) {
    std::vector<Op> ops;
    std::vector<Local::Piece> out;
    if (!operations(location, at, ops) || !places(ops, files_.bias(), out)) out.clear();
    return out;
  }
  static bool in_registers(const std::vector<Local::Piece>& pieces) {
    return std::any_of(pieces.begin(), pieces.end(),
                       [](const Local::Piece& p) { return p.place == Local::Place::reg; });
  }

  ModuleFiles& files_;
  TypeTable& types_;
  Dwarf_Addr at_;
  bool called_, go_;
  std::vector<Local>& out_;
  std::uint32_t calls_ = 0, deepest_ = 0;
};

}  // namespace

void read_locals(ModuleFiles& files, ModuleUnits& units, TypeTable& types, std::uint64_t pc, bool called,
                 std::vector<Local>& out) {
  Dwarf_Die function;
  if (!units.function_die(pc, function)) return;
  Walk walk(files, types, pc - files.bias(), called, units.language(pc) == "go", out);
  const std::size_t begin = out.size();
  walk.block(&function, 0);
  walk.innermost_first(begin);
}

}  // namespace vitrine::inspect
