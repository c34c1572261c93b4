// program_pclntab.h: the table of functions that Go's linker puts into every program for the program's own tracebacks:
// names, files, lines and frame sizes. What is left of a Go program whose DWARF and symbols are gone.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "program.h"
#include "program_files.h"

namespace vitrine::inspect {

class ModulePclntab {
 public:
  ModulePclntab(Target& target, ModuleFiles& files) : target_(target), files_(files) {}

  // Every function by address; the name lives as long as the files.
  void each_function(const std::function<void(const char* name, std::uint64_t start, std::uint64_t size)>& sink);
  // Function, file and line of a pc of the target; false: not in the table. Functions that were inlined are not told
  // apart: file and line are the innermost one's, the function is the one that was really called.
  bool locate(std::uint64_t pc, Location& out);
  // Where the caller of the frame is, by the size of the function's frame at pc.
  bool row(std::uint64_t pc, CfiRow& out);

 private:
  struct Entry {
    std::uint64_t start, size;
    std::uint64_t record;  // offset in table_ of what is known of it
  };
  void load();
  bool load_header();
  std::uint64_t find_text();
  bool text_in(std::span<const std::uint64_t> words, std::uint64_t& text) const;
  bool find(std::uint64_t pc, Entry& out);
  Entry entry(std::uint64_t n) const;
  const char* c_string(std::uint64_t at) const;
  // The value at pc of a table of (value, distance) pairs that begins at `at`.
  bool value_at(std::uint64_t at, const Entry& of, std::uint64_t pc, std::int64_t& out) const;
  template <class T>
  bool get(std::uint64_t at, T& out) const;

  Target& target_;
  ModuleFiles& files_;
  bool loaded_ = false;
  std::span<const std::byte> table_;  // empty: none that can be read
  std::uint64_t address_ = 0;         // of the table in the target
  std::uint64_t text_ = 0;            // what the offsets of functions count from
  std::uint64_t functions_ = 0, names_ = 0, units_ = 0, files_at_ = 0, values_ = 0, records_ = 0;
  std::uint8_t quantum_ = 1;
};

}  // namespace vitrine::inspect
