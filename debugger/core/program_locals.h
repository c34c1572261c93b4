// program_locals.h: the variables of one frame, as DWARF describes them at a pc: where they are, if they are anywhere.
#pragma once
#include <cstdint>
#include <vector>

#include "program.h"
#include "program_files.h"
#include "program_types.h"
#include "program_units.h"

namespace vitrine::inspect {

void read_locals(ModuleFiles& files, ModuleUnits& units, TypeTable& types, std::uint64_t pc, bool called,
                 std::vector<Local>& out);

}  // namespace vitrine::inspect
