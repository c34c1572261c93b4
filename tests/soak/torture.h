// torture.h: what the parts of gc_torture share. A part is a goroutine that does one kind of thing with managed objects
// over and over until over(), and checks each time that what it knows is what it was. torture.cc says how they are run.
#pragma once
#include <vitrine/vitrine.h>

#include <atomic>
#include <cstdint>

namespace torture {

namespace gc = vitrine::gc;

bool over();
// Ends the program with a message that says part, claim and numbers.
[[noreturn]] void lost(const char* part, const char* claim, std::uint64_t a, std::uint64_t b);
inline void require(bool holds, const char* part, const char* claim, std::uint64_t a = 0, std::uint64_t b = 0) {
  if (!holds) [[unlikely]]
    lost(part, claim, a, b);
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull | 1) {}
  std::uint64_t operator()(std::uint64_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 16) % n;
  }
  bool one_in(std::uint64_t n) { return (*this)(n) == 0; }

 private:
  std::uint64_t state_;
};

// Knows its number, and something that follows from it: memory that is used for another, or overwritten, does not agree.
struct Node {
  gc::ptr<Node> next, other;
  std::uint64_t number, check;
};
inline std::uint64_t check_of(std::uint64_t number) { return ~number * 0x9e3779b97f4a7c15ull; }
inline bool sound(const Node* n) { return n->check == check_of(n->number); }
inline Node* make(std::uint64_t number, Node* next = nullptr) {
  return gc::make<Node>(next, nullptr, number, check_of(number));
}
inline void require_sound(const Node* n, const char* part) {
  require(sound(n), part, "a node is what it was", n->number, n->check);
}

struct Part {
  const char* name;
  void (*run)(Dice dice);
  int goroutines;
};
extern const Part kParts[];
extern const std::size_t kPartCount;
bool settled(std::uint64_t& made, std::uint64_t& ended);  // what was to be finalised or destroyed has been

}  // namespace torture
