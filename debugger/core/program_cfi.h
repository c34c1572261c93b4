// program_cfi.h: the CFI of one module, compiled row by row.
#pragma once
#include <elfutils/libdw.h>

#include "program.h"
#include "program_files.h"

namespace vitrine::inspect {

class ModuleCfi {
 public:
  explicit ModuleCfi(ModuleFiles& files) : files_(files) {}
  ~ModuleCfi();
  ModuleCfi(const ModuleCfi&) = delete;

  // The row for a pc of the target; false: no CFI covers it.
  bool row(std::uint64_t pc, CfiRow& out);
  // Applies every rule at pc, expressions included.
  bool unwind(std::uint64_t pc, const Registers& in, Memory& memory, Registers& out, std::uint64_t* bad_address);

 private:
  Dwarf_Frame* frame(std::uint64_t pc);  // malloc'd; null: none

  ModuleFiles& files_;
  Dwarf_CFI* eh_ = nullptr;  // .eh_frame of the image
  bool eh_tried_ = false;
};

}  // namespace vitrine::inspect
