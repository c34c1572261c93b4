// program_constants.cc: see program_constants.h. Only units of that name are walked (a package that has assembly has
// several): constants are their children.
#include "program_constants.h"

#include <dwarf.h>
#include <elfutils/libdw.h>

namespace vitrine::inspect {

void read_constants(ModuleFiles& files, std::string_view unit, std::vector<Enumerator>& out) {
  Dwarf* dwarf = files.dwarf();
  Dwarf_CU* cu = nullptr;
  Dwarf_Die die, child;
  while (dwarf && dwarf_get_units(dwarf, cu, &cu, nullptr, nullptr, &die, nullptr) == 0) {
    const char* name = dwarf_diename(&die);
    if (!name || unit != name || dwarf_child(&die, &child) != 0) continue;
    do {
      Dwarf_Attribute value;
      Dwarf_Sword v = 0;
      const char* constant = dwarf_diename(&child);
      if (dwarf_tag(&child) != DW_TAG_constant || !constant || !dwarf_attr(&child, DW_AT_const_value, &value) ||
          dwarf_formsdata(&value, &v) != 0)
        continue;
      out.push_back({constant, v});
    } while (dwarf_siblingof(&child, &child) == 0);
  }
}

}  // namespace vitrine::inspect
