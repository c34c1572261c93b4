// trace_facts.h: the inspection core as the annotator sees it: bytes and values from the target, types from DWARF, rows
// of CFI, names; and finding the routine that a user means.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dialect_trace.h"
#include "disasm/facts.h"
#include "model.h"
#include "program.h"
#include "session.h"

namespace vitrine::inspect {

class TraceFacts : public disasm::Facts {
 public:
  TraceFacts(Program& program, Memory& memory);
  const TraceNames* names() const { return names_; }

  // What a word means: a symbol, a readable name, FILE:NAME, a routine of the runtime without its namespace, an address.
  Result<Program::Function> find(std::string_view word);
  // A routine that the compiler has made a part of another one: of which.
  struct Part {
    std::string routine;  // "runtime.gostartcall"
    Program::Function in;
  };
  std::optional<Part> part(std::string_view word);
  // The name as a listing shows it: without the runtime's namespace.
  std::string shown(const Program::Function& f) const;
  // The routine whose entry is described from now on.
  void enter(const Program::Function& f);
  // One goroutine's values from now on.
  void look_at(Model& model, std::uint32_t goroutine);
  // A live thread's registers instead: what it holds at the entry (trace -step).
  void look_at_thread(Model* model, const Registers& regs, std::uint64_t current_g);

  std::size_t code(std::uint64_t address, std::span<std::byte> out) override;
  std::optional<disasm::Typed> at_entry(disasm::Reg r) override;
  std::optional<disasm::Typed> argument_on_stack(std::int64_t offset) override;
  std::optional<disasm::Typed> thread_local_slot(std::int64_t offset) override;
  std::optional<disasm::Member> member(disasm::TypeId type, std::uint64_t offset) override;
  std::string type_name(disasm::TypeId type) override;
  std::optional<std::uint64_t> context_in(disasm::TypeId type) override;
  std::string symbol(std::uint64_t address) override;
  std::optional<Extent> routine_at(std::uint64_t address) override;
  std::optional<disasm::CfiFacts> cfi(std::uint64_t pc) override;
  const disasm::ContextFacts* context() override { return names_ ? &context_ : nullptr; }
  std::optional<std::uint64_t> constant(std::uint64_t address) override;
  std::optional<std::uint64_t> word(std::uint64_t address, std::uint8_t size) override;
  std::string about(std::uint64_t value) override;
  Resume resume() override { return resume_; }
  std::span<const disasm::Reg> argument_order() const override;
  std::uint32_t preserved() const override;

 private:
  std::string namesakes(std::string_view word, std::vector<Program::Function>& found);
  const Type* type(std::string_view bare);
  std::string bare(std::string_view name) const;
  std::optional<std::uint64_t> own_address(const Type* to);
  void add_argument(int n, std::string name, const Type* to);
  void arguments_from_name(const std::string& symbol);
  void arguments_from_dwarf(std::uint64_t entry);

  Program& program_;
  Memory& memory_;
  const TraceNames* names_;
  disasm::ContextFacts context_;
  std::optional<std::int64_t> slot_;  // of the current g
  bool on_stack_ = false;             // arguments are
  struct Argument {
    std::string name;
    const Type* to = nullptr;
  };
  std::map<int, Argument> arguments_;
  bool values_ = false;
  Model* model_ = nullptr;
  std::uint64_t g_ = 0;
  std::optional<Registers> regs_;
  Resume resume_;
};

}  // namespace vitrine::inspect
