// program_constants.h: the integer constants of one unit, by its name.
#pragma once
#include <string_view>
#include <vector>

#include "program.h"
#include "program_files.h"

namespace vitrine::inspect {

void read_constants(ModuleFiles& files, std::string_view unit, std::vector<Enumerator>& out);

}  // namespace vitrine::inspect
