// program_types.cc: looks names up in DWARF and makes plain Types of what it finds.
//
// The index. DWARF's own name tables are optional and hardly ever there, so units are scanned; a scan looks at the
// children of the unit and of its namespaces only, never into functions or classes, and stops as soon as the lookup is
// answered (a later one goes on from there). What is kept per name is a 64-bit hash of the qualified name and an
// offset: every unit that includes a header repeats its types, so only the first definition is kept.
//   * A type inside a class is found through its class.
//   * A variable that was declared in a namespace and defined outside has a definition whose DIE only points at the
//     declaration: the declarations of the unit are remembered while it is scanned. For a static member the class was
//     not entered; such definitions are kept by their bare name, and the scope is compared at the lookup.
//
// Types. Typedefs and qualifiers are peeled off; a declaration is replaced by the definition of the same qualified name
// (of any module); members of a base class and of an unnamed member appear among the members, since that is how source
// code names them. A type is registered before its members are made, so that cycles through pointers close.
#include "program_types.h"

#include <dwarf.h>

#include <algorithm>
#include <cstring>

namespace vitrine::inspect {
namespace {

constexpr int kMaxPeel = 64;
constexpr int kMaxTypeDepth = 2000;        // of nested builds
constexpr unsigned kDescribedAt = 0x2904;  // DW_AT_go_runtime_type

constexpr std::uint64_t kFnvStart = 0xcbf29ce484222325ull;
std::uint64_t hash_on(std::uint64_t h, std::string_view s) {
  for (char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

bool is_class(int tag) {
  return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
         tag == DW_TAG_interface_type;
}
bool is_named_type(int tag) {
  return is_class(tag) || tag == DW_TAG_enumeration_type || tag == DW_TAG_typedef || tag == DW_TAG_base_type;
}

bool flag(Dwarf_Die* die, unsigned name) {
  Dwarf_Attribute a;
  bool v = false;
  return dwarf_attr(die, name, &a) && dwarf_formflag(&a, &v) == 0 && v;
}

std::uint64_t number(Dwarf_Die* die, unsigned name, std::uint64_t otherwise) {
  Dwarf_Attribute a;
  Dwarf_Word v = 0;
  return dwarf_attr_integrate(die, name, &a) && dwarf_formudata(&a, &v) == 0 ? v : otherwise;
}

// "a::b<c::d>::e" → "a::b<c::d>", "e"; false: no scope.
bool split_scope(std::string_view name, std::string_view& scope, std::string_view& last) {
  int angle = 0, round = 0;
  for (std::size_t i = name.size(); i-- > 1;) {
    const char c = name[i];
    if (c == '>') angle++;
    if (c == '<') angle--;
    if (c == ')') round++;
    if (c == '(') round--;
    if (c == ':' && name[i - 1] == ':' && angle == 0 && round == 0) {
      scope = name.substr(0, i - 1);
      last = name.substr(i + 1);
      return !scope.empty() && !last.empty();
    }
  }
  return false;
}

// The address of a variable, file-relative. Go writes its locations as blocks, which dwarf_getlocation refuses.
bool static_address(Dwarf_Die* die, Dwarf_Addr& out) {
  Dwarf_Attribute a;
  if (!dwarf_attr(die, DW_AT_location, &a)) return false;
  Dwarf_Block block;
  if (dwarf_formblock(&a, &block) == 0 && block.length == 9 && block.data[0] == DW_OP_addr) {
    std::memcpy(&out, block.data + 1, 8);
    return true;
  }
  Dwarf_Op* ops = nullptr;
  std::size_t n = 0;
  if (dwarf_getlocation(&a, &ops, &n) != 0 || n != 1) return false;
  if (ops[0].atom == DW_OP_addr) {
    out = ops[0].number;
    return true;
  }
  Dwarf_Attribute at;
  if (ops[0].atom != DW_OP_addrx && ops[0].atom != DW_OP_GNU_addr_index) return false;
  return dwarf_getlocation_attr(&a, ops, &at) == 0 && dwarf_formaddr(&at, &out) == 0;
}

}  // namespace

// ---- NameIndex -----------------------------------------------------------------------------------------------------

bool NameIndex::die(const Ref& ref, Dwarf_Die& out) {
  return ref.types_section ? dwarf_offdie_types(files_.dwarf(), ref.offset, &out) != nullptr
                           : dwarf_offdie(files_.dwarf(), ref.offset, &out) != nullptr;
}

void NameIndex::scan(Dwarf_Die* parent, Hash prefix, bool types_section,
                     std::unordered_map<Dwarf_Off, Hash>& declared) {
  Dwarf_Die child;
  if (dwarf_child(parent, &child) != 0) return;
  do {
    const int tag = dwarf_tag(&child);
    if (tag == DW_TAG_namespace) {
      const char* name = dwarf_diename(&child);
      scan(&child, hash_on(hash_on(prefix, name ? name : "(anonymous namespace)"), "::"), types_section, declared);
    } else if (is_named_type(tag)) {
      const char* name = dwarf_diename(&child);
      if (!name || dwarf_hasattr(&child, DW_AT_declaration)) continue;
      types_.try_emplace(hash_on(prefix, name), Ref{dwarf_dieoffset(&child), types_section});
    } else if (tag == DW_TAG_variable) {
      Dwarf_Attribute a;
      Dwarf_Die decl;
      const Ref ref{dwarf_dieoffset(&child), types_section};
      if (dwarf_attr(&child, DW_AT_specification, &a) && dwarf_formref_die(&a, &decl)) {
        if (!dwarf_hasattr(&child, DW_AT_location)) continue;
        const auto known = declared.find(dwarf_dieoffset(&decl));
        const char* name = dwarf_diename(&decl);
        if (known != declared.end())
          variables_.emplace(known->second, ref);
        else if (name)
          members_.emplace(hash_on(kFnvStart, name), ref);
        continue;
      }
      const char* name = dwarf_diename(&child);
      if (!name) continue;
      const Hash h = hash_on(prefix, name);
      if (dwarf_hasattr(&child, DW_AT_location))
        variables_.emplace(h, ref);
      else
        declared.emplace(ref.offset, h);
    }
  } while (dwarf_siblingof(&child, &child) == 0);
}

bool NameIndex::scan_next() {
  Dwarf* dwarf = done_ ? nullptr : files_.dwarf();
  Dwarf_Half version = 0;
  std::uint8_t kind = 0;
  Dwarf_Die die, sub;
  if (!dwarf || dwarf_get_units(dwarf, cu_, &cu_, &version, &kind, &die, &sub) != 0) {
    done_ = true;
    return false;
  }
  if (kind == DW_UT_skeleton && dwarf_tag(&sub) != DW_TAG_invalid) {
    // A split unit: its offsets are those of another file, which Ref cannot name; its types are found by debuggers
    // that follow .dwo files. The runtime itself is never built so.
    return true;
  }
  std::unordered_map<Dwarf_Off, Hash> declared;
  scan(&die, kFnvStart, version == 4 && kind == DW_UT_type, declared);
  return true;
}

bool NameIndex::type(std::string_view qualified, Dwarf_Die& out) {
  const Hash h = hash_on(kFnvStart, qualified);
  do {
    const auto it = types_.find(h);
    if (it != types_.end()) return die(it->second, out);
  } while (scan_next());
  std::string_view scope, last;
  Dwarf_Die outer, child;
  if (!split_scope(qualified, scope, last) || !type(scope, outer) || !is_class(dwarf_tag(&outer)) ||
      dwarf_child(&outer, &child) != 0)
    return false;
  do {
    const char* name = dwarf_diename(&child);
    if (is_named_type(dwarf_tag(&child)) && name && last == name && !dwarf_hasattr(&child, DW_AT_declaration)) {
      out = child;
      return true;
    }
  } while (dwarf_siblingof(&child, &child) == 0);
  return false;
}

void NameIndex::read_described() {
  Dwarf* dwarf = files_.dwarf();
  Dwarf_CU* cu = nullptr;
  Dwarf_Half version = 0;
  std::uint8_t kind = 0;
  Dwarf_Die unit, child;
  Dwarf_Attribute a;
  Dwarf_Addr at = 0;
  while (dwarf && dwarf_get_units(dwarf, cu, &cu, &version, &kind, &unit, nullptr) == 0) {
    if (dwarf_srclang(&unit) != DW_LANG_Go || dwarf_child(&unit, &child) != 0) continue;
    do {
      // A distance, although its form is that of an address.
      if (dwarf_attr(&child, kDescribedAt, &a) && dwarf_formaddr(&a, &at) == 0)
        described_.try_emplace(at, dwarf_dieoffset(&child));
    } while (dwarf_siblingof(&child, &child) == 0);
  }
}

bool NameIndex::described_type(std::uint64_t offset, Dwarf_Die& out) {
  if (!described_read_) read_described();
  described_read_ = true;
  const auto it = described_.find(offset);
  return it != described_.end() && dwarf_offdie(files_.dwarf(), it->second, &out) != nullptr;
}

void NameIndex::variables(std::string_view qualified, std::vector<Dwarf_Die>& out) {
  const Hash h = hash_on(kFnvStart, qualified);
  // One definition answers, since two of one name would not have linked; static ones of several units are given
  // together only when a lookup has to go through all units anyway.
  while (variables_.find(h) == variables_.end() && scan_next()) {
  }
  Dwarf_Die found;
  for (auto [it, end] = variables_.equal_range(h); it != end; ++it)
    if (die(it->second, found)) out.push_back(found);
  if (!out.empty()) return;
  std::string_view scope, last = qualified;
  split_scope(qualified, scope, last);
  for (auto [it, end] = members_.equal_range(hash_on(kFnvStart, last)); it != end; ++it) {
    if (!die(it->second, found)) continue;
    Dwarf_Die decl = declared(found);
    const char* name = dwarf_diename(&decl);
    if (name && units_.prefix(&decl) + name == qualified) out.push_back(found);
  }
}

// ---- TypeTable -----------------------------------------------------------------------------------------------------

// Removes typedefs and qualifiers. False: nothing is left (void).
bool TypeTable::peel(Dwarf_Die& die) const {
  for (int i = 0; i < kMaxPeel; i++) {
    switch (dwarf_tag(&die)) {
      case DW_TAG_typedef:
      case DW_TAG_const_type:
      case DW_TAG_volatile_type:
      case DW_TAG_restrict_type:
      case DW_TAG_atomic_type:
      case DW_TAG_immutable_type: {
        Dwarf_Attribute a;
        Dwarf_Die next;
        if (!dwarf_attr_integrate(&die, DW_AT_type, &a) || !dwarf_formref_die(&a, &next)) return false;
        die = next;
        break;
      }
      default:
        return true;
    }
  }
  return false;
}

// Replaces a declaration by its definition, if any module has one.
bool TypeTable::definition(Dwarf_Die& die, const Unit*& in) {
  if (!flag(&die, DW_AT_declaration)) return true;
  Dwarf_Attribute a;
  Dwarf_Die found;
  if (dwarf_attr(&die, DW_AT_signature, &a) && dwarf_formref_die(&a, &found)) {
    die = found;
    return true;
  }
  const char* name = dwarf_diename(&die);
  if (!name) return false;
  const std::string qualified = in->units->prefix(&die) + name;
  for (const Unit& m : modules_) {
    if (!m.index->type(qualified, found)) continue;
    die = found;
    in = &m;
    return peel(die);
  }
  return false;
}

const Type* TypeTable::target_of(Dwarf_Die* die, const Unit& in) {
  Dwarf_Attribute a;
  Dwarf_Die target;
  if (!dwarf_attr_integrate(die, DW_AT_type, &a) || !dwarf_formref_die(&a, &target)) return nullptr;
  return build(target, in);
}

void TypeTable::build_structure(Type& type, Dwarf_Die* die, const Unit& in) {
  Dwarf_Die child;
  if (dwarf_child(die, &child) != 0) return;
  do {
    const int tag = dwarf_tag(&child);
    const bool base = tag == DW_TAG_inheritance;
    if ((tag != DW_TAG_member && !base) || flag(&child, DW_AT_declaration) || flag(&child, DW_AT_external)) continue;
    Field field;
    Dwarf_Attribute a;
    Dwarf_Word at = 0;
    if (dwarf_attr(&child, DW_AT_data_member_location, &a)) {
      Dwarf_Op* ops = nullptr;
      std::size_t n = 0;
      if (dwarf_formudata(&a, &at) == 0)
        field.offset = at;
      else if (dwarf_getlocation(&a, &ops, &n) == 0 && n == 1 && ops[0].atom == DW_OP_plus_uconst)
        field.offset = ops[0].number;
      else
        continue;  // a virtual base: its place is known at run time only
    } else if (dwarf_attr(&child, DW_AT_data_bit_offset, &a) && dwarf_formudata(&a, &at) == 0) {
      field.offset = at / 8;
    }
    field.type = target_of(&child, in);
    const char* name = dwarf_diename(&child);
    if (name) field.name = name;
    const bool through = base || !name;
    if (base && field.type) field.name = field.type->name;
    const Type* inner = through ? field.type : nullptr;
    const std::uint64_t offset = field.offset;
    if (!field.name.empty()) type.fields.push_back(std::move(field));
    if (inner && inner != &type)
      for (Field f : std::vector<Field>(inner->fields)) {
        f.offset += offset;
        type.fields.push_back(std::move(f));
      }
  } while (dwarf_siblingof(&child, &child) == 0);
}

void TypeTable::build_array(Type& type, Dwarf_Die* die, const Unit& in) {
  std::vector<std::uint64_t> counts;
  Dwarf_Die child;
  if (dwarf_child(die, &child) == 0) {
    do {
      if (dwarf_tag(&child) != DW_TAG_subrange_type) continue;
      const std::uint64_t upper = number(&child, DW_AT_upper_bound, ~0ull);
      counts.push_back(number(&child, DW_AT_count, upper + 1));  // an unknown bound gives 0
    } while (dwarf_siblingof(&child, &child) == 0);
  }
  if (counts.empty()) counts.push_back(0);
  const Type* element = target_of(die, in);
  // Of several dimensions the last is the innermost.
  for (std::size_t i = counts.size(); i-- > 0;) {
    Type* t = i == 0 ? &type : fresh(Type::Kind::array);
    t->element = element;
    t->count = counts[i];
    t->size = element ? element->size * counts[i] : 0;
    if (t->name.empty()) t->name = (element ? element->name : "void") + "[" + std::to_string(counts[i]) + "]";
    element = t;
  }
}

const Type* TypeTable::build(Dwarf_Die die, const Unit& from) {
  const Unit* in = &from;
  if (!peel(die)) return nullptr;
  if (const auto it = by_die_.find(die.addr); it != by_die_.end()) return it->second;
  const void* asked = die.addr;
  definition(die, in);
  if (const auto it = by_die_.find(die.addr); it != by_die_.end()) return by_die_[asked] = it->second;
  Type* type = fresh(Type::Kind::other);
  by_die_[asked] = by_die_[die.addr] = type;
  const int tag = dwarf_tag(&die);
  const char* bare = dwarf_diename(&die);
  if (bare) type->name = tag == DW_TAG_base_type || tag == DW_TAG_pointer_type ? bare : in->units->prefix(&die) + bare;
  type->size = number(&die, DW_AT_byte_size, 0);
  if (depth_ > kMaxTypeDepth) return type;
  depth_++;
  if (is_class(tag)) {
    type->kind = Type::Kind::structure;
    build_structure(*type, &die, *in);
  } else if (tag == DW_TAG_base_type) {
    switch (number(&die, DW_AT_encoding, 0)) {
      case DW_ATE_boolean:
        type->kind = Type::Kind::boolean;
        break;
      case DW_ATE_float:
        type->kind = Type::Kind::floating;
        break;
      case DW_ATE_signed:
      case DW_ATE_signed_char:
        type->kind = Type::Kind::integer;
        break;
      case DW_ATE_unsigned:
      case DW_ATE_unsigned_char:
      case DW_ATE_UTF:
      case DW_ATE_address:
        type->kind = Type::Kind::unsigned_integer;
        break;
      default:
        break;
    }
  } else if (tag == DW_TAG_pointer_type || tag == DW_TAG_reference_type || tag == DW_TAG_rvalue_reference_type) {
    type->kind = Type::Kind::pointer;
    if (type->size == 0) type->size = 8;
    type->element = target_of(&die, *in);
    if (type->name.empty())
      type->name = (type->element ? type->element->name : "void") + (tag == DW_TAG_pointer_type     ? "*"
                                                                     : tag == DW_TAG_reference_type ? "&"
                                                                                                    : "&&");
  } else if (tag == DW_TAG_enumeration_type) {
    type->kind = Type::Kind::enumeration;
    Dwarf_Die child;
    if (dwarf_child(&die, &child) == 0) {
      do {
        Dwarf_Attribute a;
        Dwarf_Sword value = 0;
        const char* name = dwarf_diename(&child);
        if (dwarf_tag(&child) == DW_TAG_enumerator && name && dwarf_attr(&child, DW_AT_const_value, &a) &&
            dwarf_formsdata(&a, &value) == 0) {
          // A fixed-size form is read with its sign; an enumerator is negative only where the form says so.
          Dwarf_Word plain = 0;
          if (dwarf_whatform(&a) != DW_FORM_sdata && dwarf_whatform(&a) != DW_FORM_implicit_const &&
              dwarf_formudata(&a, &plain) == 0)
            value = static_cast<Dwarf_Sword>(plain);
          type->enumerators.push_back({name, value});
        }
      } while (dwarf_siblingof(&child, &child) == 0);
    }
  } else if (tag == DW_TAG_array_type) {
    type->kind = Type::Kind::array;
    build_array(*type, &die, *in);
  }
  depth_--;
  return type;
}

const Type* TypeTable::type(std::string_view qualified) {
  if (const auto it = by_name_.find(std::string(qualified)); it != by_name_.end()) return it->second;
  const Type* found = nullptr;
  Dwarf_Die die;
  for (const Unit& m : modules_) {
    if (!m.index->type(qualified, die)) continue;
    found = build(die, m);
    if (found) break;
  }
  by_name_.emplace(qualified, found);
  return found;
}

const Type* TypeTable::described_type(std::uint64_t offset) {
  Dwarf_Die die;
  for (const Unit& m : modules_) {
    if (m.index->described_type(offset, die)) return build(die, m);
  }
  return nullptr;
}

const Type* TypeTable::type_of(Dwarf_Die* die, const ModuleFiles& files) {
  for (const Unit& m : modules_) {
    if (m.files == &files) return target_of(die, m);
  }
  return nullptr;
}

std::vector<Variable> TypeTable::variable(std::string_view qualified) {
  std::vector<Variable> out;
  for (const Unit& m : modules_) {
    std::vector<Dwarf_Die> dies;
    m.index->variables(qualified, dies);
    for (Dwarf_Die& d : dies) {
      Dwarf_Addr at = 0;
      if (static_address(&d, at)) out.push_back({at + m.files->bias(), target_of(&d, m)});
    }
    if (!out.empty()) break;
  }
  return out;
}

}  // namespace vitrine::inspect
