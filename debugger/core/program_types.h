// program_types.h: types and global variables by qualified name, over all modules.
#pragma once
#include <elfutils/libdw.h>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "program.h"
#include "program_files.h"
#include "program_units.h"

namespace vitrine::inspect {

// Names → DIEs of one module. Units are scanned only as far as a lookup needs.
class NameIndex {
 public:
  NameIndex(ModuleFiles& files, ModuleUnits& units) : files_(files), units_(units) {}
  // The defining DIE of a type. False: no unit has it.
  bool type(std::string_view qualified, Dwarf_Die& out);
  // All definitions with an address.
  void variables(std::string_view qualified, std::vector<Dwarf_Die>& out);
  // Of Go: by where the program's own description of the type lies among all of them.
  bool described_type(std::uint64_t offset, Dwarf_Die& out);

 private:
  using Hash = std::uint64_t;
  struct Ref {
    Dwarf_Off offset;
    bool types_section;  // DWARF 4's .debug_types
  };
  bool die(const Ref& ref, Dwarf_Die& out);
  bool scan_next();  // false: all units are in
  void scan(Dwarf_Die* die, Hash prefix, bool types_section, std::unordered_map<Dwarf_Off, Hash>& declared);
  void read_described();

  ModuleFiles& files_;
  ModuleUnits& units_;
  Dwarf_CU* cu_ = nullptr;
  bool done_ = false;
  std::unordered_map<Hash, Ref> types_;
  std::unordered_multimap<Hash, Ref> variables_;
  std::unordered_multimap<Hash, Ref> members_;  // out-of-class definitions, by bare name
  std::unordered_map<std::uint64_t, Dwarf_Off> described_;
  bool described_read_ = false;
};

class TypeTable {
 public:
  struct Unit {
    ModuleFiles* files;
    ModuleUnits* units;
    NameIndex* index;
  };
  explicit TypeTable(std::vector<Unit> modules) : modules_(std::move(modules)) {}
  const Type* type(std::string_view qualified);
  const Type* described_type(std::uint64_t offset);
  std::vector<Variable> variable(std::string_view qualified);
  // Of the DW_AT_type of a DIE of that module; null: none.
  const Type* type_of(Dwarf_Die* die, const ModuleFiles& files);

 private:
  const Type* build(Dwarf_Die die, const Unit& in);
  bool peel(Dwarf_Die& die) const;
  void build_structure(Type& type, Dwarf_Die* die, const Unit& in);
  void build_array(Type& type, Dwarf_Die* die, const Unit& in);
  const Type* target_of(Dwarf_Die* die, const Unit& in);  // of DW_AT_type; null: void
  bool definition(Dwarf_Die& die, const Unit*& in);
  Type* fresh(Type::Kind kind) {
    types_.emplace_back();
    types_.back().kind = kind;
    return &types_.back();
  }

  std::vector<Unit> modules_;
  std::deque<Type> types_;
  std::unordered_map<const void*, const Type*> by_die_;
  std::unordered_map<std::string, const Type*> by_name_;
  int depth_ = 0;
};

}  // namespace vitrine::inspect
