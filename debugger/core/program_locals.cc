// program_locals.cc: see program_locals.h. The function that contains the pc is walked, with those of its blocks that contain
// the pc as well. A location is an expression or, by pc, one of a list; understood are the forms that Go's compiler and an
// unoptimised C++ frame use: an address, an offset from the frame's CFA (fbreg too, where the frame base is the CFA), a
// register, and pieces of these. Anything else is "not known where".
//
// Go writes expressions as blocks, which libdw's dwarf_getlocation refuses: those are decoded here.
#include "program_locals.h"

#include <dwarf.h>

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
  Walk(ModuleFiles& files, TypeTable& types, Dwarf_Addr at, std::vector<Local>& out)
      : files_(files), types_(types), at_(at), out_(out) {}

  void block(Dwarf_Die* parent, int depth) {
    Dwarf_Die child;
    if (depth > kMaxDepth || dwarf_child(parent, &child) != 0) return;
    do {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_lexical_block && dwarf_haspc(&child, at_) == 1) block(&child, depth + 1);
      if (tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) variable(child, tag == DW_TAG_formal_parameter);
    } while (dwarf_siblingof(&child, &child) == 0);
  }

 private:
  void variable(Dwarf_Die die, bool parameter) {
    Dwarf_Die named = declared(die);
    const char* name = dwarf_diename(&named);
    if (!name || !*name) return;
    Local local;
    local.name = name;
    local.parameter = parameter;
    local.type = types_.type_of(&named, files_);
    Dwarf_Attribute location;
    std::vector<Op> ops;
    if (!dwarf_attr(&die, DW_AT_location, &location) || !operations(location, at_, ops) ||
        !places(ops, files_.bias(), local.pieces))
      local.pieces.clear();
    out_.push_back(std::move(local));
  }

  ModuleFiles& files_;
  TypeTable& types_;
  Dwarf_Addr at_;
  std::vector<Local>& out_;
};

}  // namespace

void read_locals(ModuleFiles& files, ModuleUnits& units, TypeTable& types, std::uint64_t pc, std::vector<Local>& out) {
  Dwarf_Die function;
  if (!units.function_die(pc, function)) return;
  Walk(files, types, pc - files.bias(), out).block(&function, 0);
}

}  // namespace vitrine::inspect
