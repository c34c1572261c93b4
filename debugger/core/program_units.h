// program_units.h: the DWARF units of one module, each indexed when it is first asked about: which function a pc is
// in, and in which scope a DIE stands (DWARF has no way up).
#pragma once
#include <elfutils/libdw.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "program.h"
#include "program_files.h"

namespace vitrine::inspect {

class ModuleUnits {
 public:
  explicit ModuleUnits(ModuleFiles& files) : files_(files) {}

  // Source locations of a pc of the target, innermost first; false: no unit covers it. A unit of assembly may leave
  // the function's name empty.
  bool locate(std::uint64_t pc, std::vector<Location>& out);
  std::uint64_t function_start(std::uint64_t pc);  // 0: unknown
  std::string language(std::uint64_t pc);
  bool function_die(std::uint64_t pc, Dwarf_Die& out);

  // "ns::Class::" for a DIE that stands in there.
  std::string prefix(Dwarf_Die* die);
  std::string function_name(Dwarf_Die* die);

 private:
  static constexpr std::uint32_t kNone = ~0u;
  struct Scope {  // a DIE that others stand in: a namespace, class, function
    Dwarf_Die die;
    std::uint32_t parent;
    bool named = false;
    int lambda = 0;  // the closures of one scope are numbered in the order of the source
    std::string prefix;
  };
  struct Entry {
    Dwarf_Off offset;
    std::uint32_t scope;
  };
  struct Function {
    Dwarf_Addr lo, hi;
    Dwarf_Die die;
  };
  struct Unit {
    std::vector<Scope> scopes;
    std::vector<Entry> entries;       // by offset
    std::vector<Function> functions;  // by lo
    int language = 0;
  };
  struct Range {
    Dwarf_Addr lo, hi;
    Dwarf_Die die;   // of the unit (the skeleton, when split)
    Dwarf_Die root;  // where the functions are
  };

  void load_ranges();
  const Range* range_at(std::uint64_t pc);
  Unit& unit_of(Dwarf_Die* die);
  void walk(Unit& unit, Dwarf_Die* die, std::uint32_t scope);
  static void number_lambdas(Unit& unit);
  const Function* function_at(Unit& unit, Dwarf_Addr at);
  std::uint32_t scope_of(const Unit& unit, Dwarf_Die* die) const;
  const std::string& scope_prefix(Unit& unit, std::uint32_t scope);

  ModuleFiles& files_;
  bool loaded_ = false;
  std::vector<Range> ranges_;  // by lo
  std::unordered_map<const void*, std::unique_ptr<Unit>> units_;
};

const char* language_name(int dwarf_language);
// Follows abstract_origin and specification to the DIE that was declared where the name belongs.
Dwarf_Die declared(Dwarf_Die die);

}  // namespace vitrine::inspect
