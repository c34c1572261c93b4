// program_units.cc: from a pc to functions and lines.
//
// How one pc is located:
//   1. the unit: by the ranges of all units, read once (.debug_aranges is not trusted: clang and Go leave it out);
//   2. the function: by the table of that unit, built by one walk over its DIEs when the unit is first met. libdw's own
//      dwarf_getscopes walks the unit for every pc: a millisecond each in a large unit, seconds for ten thousand pcs;
//   3. the inlined calls: down from the function through the blocks that contain the pc;
//   4. the lines: the innermost frame's from the line table, each outer one's from the call_file and call_line of the
//      inlined call within it.
//
// Names: the DIE's own name behind the names of the scopes that it was declared in. What is local to a function, above
// all a lambda's operator(), has a number that only the linkage name knows, so there the demangled linkage name is
// used.
#include "program_units.h"

#include <dwarf.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "program_names.h"

namespace vitrine::inspect {
namespace {

constexpr int kMaxChain = 16;   // abstract_origin → specification → …; malformed DWARF may loop
constexpr int kMaxDepth = 512;  // of nested blocks

bool is_class(int tag) {
  return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
         tag == DW_TAG_interface_type;
}

// gcc and clang give closures no name, or one that begins so.
bool is_lambda(Dwarf_Die* die) {
  const char* name = dwarf_diename(die);
  return is_class(dwarf_tag(die)) &&
         (!name || std::strncmp(name, "<lambda", 7) == 0 || std::strncmp(name, "._anon", 6) == 0);
}

const char* linkage_name(Dwarf_Die* die) {
  Dwarf_Attribute a;
  if (dwarf_attr_integrate(die, DW_AT_linkage_name, &a) || dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &a))
    return dwarf_formstring(&a);
  return nullptr;
}

std::uint64_t udata(Dwarf_Die* die, unsigned name) {
  Dwarf_Attribute a;
  Dwarf_Word v = 0;
  return dwarf_attr(die, name, &a) && dwarf_formudata(&a, &v) == 0 ? v : 0;
}

std::string scope_name(Dwarf_Die* die, int lambda) {
  if (lambda) return "{lambda#" + std::to_string(lambda) + "}";
  if (const char* name = dwarf_diename(die)) return name;
  return dwarf_tag(die) == DW_TAG_namespace ? "(anonymous namespace)" : "{unnamed}";
}

}  // namespace

const char* language_name(int language) {
  switch (language) {
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
    case 0x2a:  // C++17, 20 and 23: newer than this dwarf.h
    case 0x2b:
    case 0x3a:
      return "c++";
    case DW_LANG_C89:
    case DW_LANG_C:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case 0x2c:
      return "c";  // C17
    case DW_LANG_Go:
      return "go";
    case DW_LANG_Mips_Assembler:
      return "asm";
    default:
      return "";
  }
}

Dwarf_Die declared(Dwarf_Die die) {
  for (int i = 0; i < kMaxChain; i++) {
    Dwarf_Attribute a;
    Dwarf_Die next;
    if (!dwarf_attr(&die, DW_AT_abstract_origin, &a) && !dwarf_attr(&die, DW_AT_specification, &a)) break;
    if (!dwarf_formref_die(&a, &next)) break;
    die = next;
  }
  return die;
}

void ModuleUnits::load_ranges() {
  if (loaded_) return;
  loaded_ = true;
  Dwarf* dwarf = files_.dwarf();
  if (!dwarf) return;
  Dwarf_CU* cu = nullptr;
  Dwarf_Die die, sub;
  std::uint8_t type = 0;
  while (dwarf_get_units(dwarf, cu, &cu, nullptr, &type, &die, &sub) == 0) {
    if (type == DW_UT_type || type == DW_UT_split_type || dwarf_tag(&die) == DW_TAG_partial_unit) continue;
    const Dwarf_Die root = type == DW_UT_skeleton && dwarf_tag(&sub) != DW_TAG_invalid ? sub : die;
    Dwarf_Addr base = 0, lo = 0, hi = 0;
    for (std::ptrdiff_t at = 0; (at = dwarf_ranges(&die, at, &base, &lo, &hi)) > 0;)
      if (lo < hi) ranges_.push_back({lo, hi, die, root});
  }
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
}

const ModuleUnits::Range* ModuleUnits::range_at(std::uint64_t pc) {
  load_ranges();
  const Dwarf_Addr at = pc - files_.bias();
  auto it = std::upper_bound(ranges_.begin(), ranges_.end(), at, [](Dwarf_Addr a, const Range& r) { return a < r.lo; });
  // Ranges of different units hardly ever overlap; a few steps back find an outer one all the same.
  for (int looked = 0; it != ranges_.begin() && looked < 8; looked++) {
    --it;
    if (at < it->hi) return &*it;
  }
  return nullptr;
}

void ModuleUnits::walk(Unit& unit, Dwarf_Die* die, std::uint32_t scope) {
  Dwarf_Die child;
  if (dwarf_child(die, &child) != 0) return;
  do {
    const int tag = dwarf_tag(&child);
    const bool scoping = tag == DW_TAG_namespace || is_class(tag) || tag == DW_TAG_subprogram;
    if (scoping || tag == DW_TAG_enumeration_type || tag == DW_TAG_typedef || tag == DW_TAG_variable ||
        tag == DW_TAG_member)
      unit.entries.push_back({dwarf_dieoffset(&child), scope});
    if (tag == DW_TAG_subprogram) {
      Dwarf_Addr base = 0, lo = 0, hi = 0;
      for (std::ptrdiff_t at = 0; (at = dwarf_ranges(&child, at, &base, &lo, &hi)) > 0;)
        if (lo < hi) unit.functions.push_back({lo, hi, child});
    }
    if (scoping) {
      unit.scopes.push_back({child, scope, false, 0, {}});
      if (dwarf_haschildren(&child)) walk(unit, &child, static_cast<std::uint32_t>(unit.scopes.size() - 1));
    } else if (tag == DW_TAG_lexical_block || tag == DW_TAG_module) {
      walk(unit, &child, scope);
    }
  } while (dwarf_siblingof(&child, &child) == 0);
}

void ModuleUnits::number_lambdas(Unit& unit) {
  struct Closure {
    std::uint32_t parent;
    int line, column;
    std::uint32_t index;
  };
  std::vector<Closure> closures;
  for (std::uint32_t i = 0; i < unit.scopes.size(); i++) {
    Scope& s = unit.scopes[i];
    if (!is_lambda(&s.die)) continue;
    Closure c{s.parent, 0, 0, i};
    dwarf_decl_line(&s.die, &c.line);
    dwarf_decl_column(&s.die, &c.column);
    closures.push_back(c);
  }
  std::sort(closures.begin(), closures.end(), [](const Closure& a, const Closure& b) {
    return std::tie(a.parent, a.line, a.column, a.index) < std::tie(b.parent, b.line, b.column, b.index);
  });
  int n = 0;
  for (std::size_t i = 0; i < closures.size(); i++) {
    n = i > 0 && closures[i].parent == closures[i - 1].parent ? n + 1 : 1;
    unit.scopes[closures[i].index].lambda = n;
  }
}

ModuleUnits::Unit& ModuleUnits::unit_of(Dwarf_Die* die) {
  auto& slot = units_[die->cu];
  if (slot) return *slot;
  slot = std::make_unique<Unit>();
  Dwarf_Die cu, sub;
  std::uint8_t type = 0;
  if (dwarf_cu_info(die->cu, nullptr, &type, &cu, &sub, nullptr, nullptr, nullptr) != 0) return *slot;
  slot->language = dwarf_srclang(&cu);
  walk(*slot, &cu, kNone);
  number_lambdas(*slot);
  std::sort(slot->functions.begin(), slot->functions.end(),
            [](const Function& a, const Function& b) { return a.lo < b.lo; });
  std::sort(slot->entries.begin(), slot->entries.end(),
            [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
  return *slot;
}

const std::string& ModuleUnits::scope_prefix(Unit& unit, std::uint32_t index) {
  static const std::string none;
  if (index == kNone) return none;
  Scope& scope = unit.scopes[index];
  if (!scope.named) {
    scope.named = true;  // set first: a loop in the DWARF then ends here
    if (dwarf_tag(&scope.die) == DW_TAG_subprogram)
      scope.prefix = function_name(&scope.die) + "::";
    else
      scope.prefix = scope_prefix(unit, scope.parent) + scope_name(&scope.die, scope.lambda) + "::";
  }
  return scope.prefix;
}

std::uint32_t ModuleUnits::scope_of(const Unit& unit, Dwarf_Die* die) const {
  const Dwarf_Off offset = dwarf_dieoffset(die);
  auto it = std::lower_bound(unit.entries.begin(), unit.entries.end(), offset,
                             [](const Entry& e, Dwarf_Off o) { return e.offset < o; });
  return it != unit.entries.end() && it->offset == offset ? it->scope : kNone;
}

std::string ModuleUnits::prefix(Dwarf_Die* die) {
  Unit& unit = unit_of(die);
  return scope_prefix(unit, scope_of(unit, die));
}

std::string ModuleUnits::function_name(Dwarf_Die* die) {
  Dwarf_Die decl = declared(*die);
  Unit& unit = unit_of(&decl);
  const char* name = dwarf_diename(&decl);
  if (!name) {
    const char* linkage = linkage_name(die);
    return readable_symbol(linkage ? linkage : linkage_name(&decl));
  }
  if (unit.language == DW_LANG_Go) return name;
  const std::uint32_t scope = scope_of(unit, &decl);
  if (scope != kNone && unit.scopes[scope].lambda) {
    const std::string_view n = name;
    if (n.starts_with("operator()") || n == "_FUN" || n == "__invoke") {
      const std::string& closure = scope_prefix(unit, scope);
      return closure.substr(0, closure.size() - 2);
    }
  }
  return scope_prefix(unit, scope) + name;
}

const ModuleUnits::Function* ModuleUnits::function_at(Unit& unit, Dwarf_Addr at) {
  auto it = std::upper_bound(unit.functions.begin(), unit.functions.end(), at,
                             [](Dwarf_Addr a, const Function& f) { return a < f.lo; });
  for (int looked = 0; it != unit.functions.begin() && looked < 8; looked++) {
    --it;
    if (at < it->hi) return &*it;
  }
  return nullptr;
}

bool ModuleUnits::locate(std::uint64_t pc, std::vector<Location>& out) {
  const Range* range = range_at(pc);
  if (!range) return false;
  const Dwarf_Addr at = pc - files_.bias();
  Dwarf_Die die = range->die, root = range->root;
  Unit& unit = unit_of(&root);

  std::vector<Dwarf_Die> chain;  // the function, then the inlined calls in it, outermost first
  if (const Function* f = function_at(unit, at)) {
    chain.push_back(f->die);
    Dwarf_Die at_die = f->die;
    for (int depth = 0; depth < kMaxDepth; depth++) {
      Dwarf_Die child;
      if (dwarf_child(&at_die, &child) != 0) break;
      bool down = false;
      do {
        const int tag = dwarf_tag(&child);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_lexical_block && tag != DW_TAG_try_block &&
            tag != DW_TAG_catch_block)
          continue;
        if (dwarf_haspc(&child, at) != 1) continue;
        if (tag == DW_TAG_inlined_subroutine) chain.push_back(child);
        at_die = child;
        down = true;
        break;
      } while (dwarf_siblingof(&child, &child) == 0);
      if (!down) break;
    }
  }

  std::string file;
  int line = 0;
  if (Dwarf_Line* l = dwarf_getsrc_die(&die, at)) {
    if (const char* name = dwarf_linesrc(l, nullptr, nullptr)) file = name;
    dwarf_lineno(l, &line);
  }
  if (chain.empty()) {
    out.push_back({"", std::move(file), line, false});
    return true;
  }
  Dwarf_Files* files = nullptr;
  std::size_t nfiles = 0;
  if (chain.size() > 1) dwarf_getsrcfiles(&die, &files, &nfiles);
  for (std::size_t i = chain.size(); i-- > 0;) {
    out.push_back({function_name(&chain[i]), std::move(file), line, i > 0});
    file.clear();
    if (i == 0) break;
    const char* name = files ? dwarf_filesrc(files, udata(&chain[i], DW_AT_call_file), nullptr, nullptr) : nullptr;
    if (name) file = name;
    line = static_cast<int>(udata(&chain[i], DW_AT_call_line));
  }
  return true;
}

std::uint64_t ModuleUnits::function_start(std::uint64_t pc) {
  const Range* range = range_at(pc);
  if (!range) return 0;
  Dwarf_Die root = range->root;
  const Function* f = function_at(unit_of(&root), pc - files_.bias());
  if (!f) return 0;
  Dwarf_Die die = f->die;
  Dwarf_Addr entry = 0;
  return dwarf_entrypc(&die, &entry) == 0 && entry ? entry + files_.bias() : f->lo + files_.bias();
}

bool ModuleUnits::function_die(std::uint64_t pc, Dwarf_Die& out) {
  const Range* range = range_at(pc);
  if (!range) return false;
  Dwarf_Die root = range->root;
  const Function* f = function_at(unit_of(&root), pc - files_.bias());
  if (f) out = f->die;
  return f != nullptr;
}

std::string ModuleUnits::language(std::uint64_t pc) {
  const Range* range = range_at(pc);
  if (!range) return "";
  Dwarf_Die die = range->die;
  return language_name(dwarf_srclang(&die));
}

}  // namespace vitrine::inspect
