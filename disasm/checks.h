// checks.h: what the code says about a saved context against what DWARF and CFI say.
#pragma once
#include "annotate.h"
#include "machine.h"

namespace vitrine::disasm {

// Collects what the instructions do with the context's parts, and compares in the end.
class LayoutCheck {
 public:
  LayoutCheck(Machine& machine, Facts& facts, std::map<std::string, Place> loaded)
      : machine_(machine), facts_(facts), loaded_(std::move(loaded)) {}
  const std::map<std::string, Place>& loaded() const { return loaded_; }
  void look(const State& before, const State& after, const Instruction& in);
  void compare(Summary& out) const;

 private:
  enum class Role : std::uint8_t { sp, pc, bp, current };
  struct Seen {
    Role role;
    bool write;
    std::string base;
    std::int64_t offset;  // in the context
    std::string path;
    std::uint64_t at;
  };
  void saw(Role role, bool write, const Place& p, std::uint64_t at);
  bool is_current(const std::string& path) const;
  void saw_path(Role role, const std::string& path, std::uint64_t at);

  Machine& machine_;
  Facts& facts_;
  std::vector<Seen> seen_;
  std::map<std::string, Place> loaded_;  // by path: where a value came from
  bool moves_stack_ = false;
};

// One row against the registers and the frame as they are there. False: there was nothing to compare.
bool compare_cfi(Machine& machine, Facts& facts, const State& s, const Instruction& in, std::vector<std::string>& out);

}  // namespace vitrine::disasm
