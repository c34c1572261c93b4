#include "program.h"
namespace vitrine::inspect {
namespace {
class Empty : public Program {
 public:
  const Type* type(std::string_view) override { return nullptr; }
  std::vector<Variable> variable(std::string_view) override { return {}; }
  std::uint64_t symbol(std::string_view) override { return 0; }
  std::vector<Note> notes(std::string_view, std::uint32_t) override { return {}; }
  const std::vector<Location>& locate(std::uint64_t) override { return unknown_; }
  std::uint64_t function_start(std::uint64_t) override { return 0; }
  const CfiRow* cfi(std::uint64_t) override { return nullptr; }
  bool unwind_slow(std::uint64_t, const Registers&, Memory&, Registers&) override { return false; }
  bool has_debug_info() const override { return false; }
  std::vector<std::string> warnings() const override { return {}; }
  std::string language(std::uint64_t) override { return ""; }

 private:
  std::vector<Location> unknown_ = std::vector<Location>(1);
};
}  // namespace
const Field* Type::field(std::string_view wanted) const {
  for (const Field& f : fields)
    if (f.name == wanted) return &f;
  return nullptr;
}
std::unique_ptr<Program> Program::open(Target&) { return std::make_unique<Empty>(); }
}  // namespace vitrine::inspect
