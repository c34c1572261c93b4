// program_files.h: the files of one module — the ELF image that is loaded and the file with its debug information.
#pragma once
#include <elfutils/libdw.h>

#include <string>
#include <string_view>
#include <vector>

#include "target.h"

namespace vitrine::inspect {

class ModuleFiles {
 public:
  ModuleFiles(Target& target, const Module& module) : target_(target), module_(module) {}
  ~ModuleFiles();
  ModuleFiles(const ModuleFiles&) = delete;

  const Module& module() const { return module_; }
  std::uint64_t bias() const { return module_.bias; }
  // The loaded image; null: not to be had. Opened on first use, as is everything here.
  Elf* elf();
  // The file that has .symtab and DWARF: the image itself when it was not stripped.
  Elf* debug_elf();
  Dwarf* dwarf();
  // True when the image itself carries DWARF.
  bool has_own_dwarf();
  // True when the image or its debug file does.
  bool has_any_dwarf();
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct File {
    int fd = -1;
    Elf* elf = nullptr;
  };
  File open_file(const std::string& path, std::string& why);
  bool use_debug_file(const std::string& path, bool check_crc, std::uint32_t crc);
  void find_debug_file();

  Target& target_;
  const Module module_;
  File image_, debug_;
  std::vector<char> memory_image_;  // of the vdso
  Dwarf* dwarf_ = nullptr;
  bool image_tried_ = false, debug_tried_ = false, dwarf_tried_ = false;
  std::vector<std::string> problems_;
};

// The section of that name, or null; `data`: with contents (not SHT_NOBITS).
Elf_Scn* find_section(Elf* elf, std::string_view name, bool data = false);

}  // namespace vitrine::inspect
