// machine.h: the abstract interpreter: one instruction's effect on a State. It follows names and types, not numbers;
// the numbers of one goroutine ride along where the caller can read them.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "decoder.h"
#include "facts.h"
#include "values.h"

namespace vitrine::disasm {

class Machine {
 public:
  Machine(Facts& facts, Decoder& decoder, std::uint64_t start, std::uint64_t end)
      : facts_(facts), decoder_(decoder), start_(start), end_(end) {}

  State entry();
  void step(State& s, const Instruction& in);
  Place place(const State& s, const Instruction& in, const Operand& o);
  Value load(const State& s, const Place& from, std::uint8_t size);
  Value read(const State& s, const Instruction& in, const Operand& o);

  // What was saved when SP was last moved to another stack: the SP that was stored, and the frame as it then was.
  struct Left {
    bool happened = false;
    Value sp;
    std::map<State::Slot, Value> frame;
  };
  const Left& left() const { return left_; }
  // Code of this routine whose address it stored: label → the path it was stored to.
  const std::map<std::uint64_t, std::string>& labels() const { return labels_; }
  std::uint64_t start() const { return start_; }
  bool inside(std::uint64_t address) const { return address >= start_ && address < end_; }

  // In words: "the caller's rbx", "g->m->g0", "CFA-0x40", "+0x6b".
  std::string text(const Value& v);

 private:
  void store(State& s, const Place& to, Value v, std::uint8_t size);
  void set(State& s, Reg r, Value v);
  void move_stack(State& s, Value v);
  void move(State& s, const Instruction& in);
  void arithmetic(State& s, const Instruction& in);
  void call(State& s, const Instruction& in);
  void forget(State& s, const Instruction& in);
  Value address_of(const State& s, const Instruction& in, const Operand& o);
  Value typed(const Typed& t, std::optional<std::uint64_t> actual);
  Value constant(std::int64_t n);
  std::uint32_t clobbers(std::uint64_t routine, int depth);

  Facts& facts_;
  Decoder& decoder_;
  std::uint64_t start_, end_;
  Left left_;
  std::map<std::uint64_t, std::string> labels_;
  std::map<std::uint64_t, std::uint32_t> clobbers_;
};

}  // namespace vitrine::disasm
