// program_symbols.h: the ELF symbols of one module, by name and by address, and its notes. The functions of
// a stripped Go program come from its table of them.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "program.h"
#include "program_files.h"
#include "program_pclntab.h"

namespace vitrine::inspect {

class ModuleSymbols {
 public:
  ModuleSymbols(ModuleFiles& files, ModulePclntab& pclntab) : files_(files), pclntab_(pclntab) {}
  // The address in the target; 0: no such symbol.
  std::uint64_t address(std::string_view name);
  struct Found {
    const char* name = nullptr;  // null: none
    std::uint64_t start = 0;     // in the target
    std::uint64_t size = 0;
  };
  // The function (or label of code) that contains pc.
  Found at(std::uint64_t pc);
  // The variable that contains the address.
  Found data_at(std::uint64_t addr);
  // Every function, by address. size 0: unknown, and nothing follows it.
  void each_function(const std::function<void(const Found&)>& sink);
  // Of the program's own thread-local block; see Program.
  std::optional<std::int64_t> thread_local_offset(std::string_view name);
  // The section that an address lies in; no name: in none.
  Program::Symbol section(std::uint64_t addr);
  // Parts that can be written to, as the target has them.
  void writable(std::vector<std::pair<std::uint64_t, std::uint64_t>>& out);
  void notes(std::string_view owner, std::uint32_t type, std::vector<Program::Note>& out);

 private:
  struct Code {
    std::uint64_t start, size;
    const char* name;
    int rank;  // of several at one place the highest is shown
  };
  void load();
  void load_table(Elf* elf, std::uint32_t section_type);
  void load_linkage();

  ModuleFiles& files_;
  ModulePclntab& pclntab_;
  bool loaded_ = false;
  std::deque<std::string> linkage_names_;                              // "write@plt"
  std::unordered_map<std::string_view, std::uint64_t> thread_locals_;  // offset in the block
  std::unordered_map<std::string_view, std::uint64_t> by_name_;        // into the files' string tables
  std::vector<Code> code_, data_;                                      // by start
};

}  // namespace vitrine::inspect
