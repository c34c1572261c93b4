// goroutine_store.h: the goroutines of a Model, packed: a million of them take 44 MB, and what is read out is a Goroutine by
// value, as wide as it likes.
//
//   - What many have in common — pc, creator, entry, status, wait reason, flags, size of the stack — is kept once, as a
//     Kind. A program has as many kinds as it has places where goroutines wait, not as it has goroutines.
//   - sp and bp are offsets within the stack. What does not lie there (0, or something broken) is kept as it is, aside.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <unordered_map>
#include <vector>

namespace vitrine::inspect {

constexpr std::uint32_t kNone = 0xffffffff;

struct Goroutine {
  std::uint64_t addr = 0;
  std::uint64_t goid = 0;
  std::uint64_t stack_lo = 0;
  std::uint64_t sp = 0, pc = 0, bp = 0;  // saved context; in a system call that of its entry
  std::uint64_t gopc = 0, startpc = 0;
  std::int64_t waitsince = 0;
  std::uint32_t stack_size = 0;   // bytes; 0xffffffff: not believable
  std::uint32_t status = 0;       // without the scan bit
  std::uint32_t machine = kNone;  // index of its M while it runs
  std::uint8_t wait_reason = 0;
  std::uint16_t flags = 0;
  enum : std::uint16_t {
    unreadable = 1,
    system = 2,
    scan = 4,
    bad_stack = 8,
    bad_m = 16,
    bad_sp = 32,
    current = 64,
    foreign = 128,  // stands for a thread that is no M
    noproc = 256,   // runs on although its P was taken
    locked = 512,   // to its M
  };
  bool is(std::uint16_t flag) const { return flags & flag; }
  std::uint64_t stack_hi() const { return stack_lo + stack_size; }
};

class Goroutines {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Goroutine;
    using difference_type = std::ptrdiff_t;
    using pointer = const Goroutine*;
    using reference = Goroutine;
    Iterator(const Goroutines& of, std::size_t at) : of_(&of), at_(at) {}
    Goroutine operator*() const { return (*of_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const Goroutines* of_;
    std::size_t at_;
  };

  void reserve(std::size_t n) { slots_.reserve(n); }
  void add(const Goroutine& g) { slots_.push_back(pack(g)); }
  void replace(std::size_t i, const Goroutine& g) { slots_[i] = pack(g); }
  // By goid; those that cannot be read come last, by address.
  void sort();

  std::size_t size() const { return slots_.size(); }
  bool empty() const { return slots_.empty(); }
  Goroutine operator[](std::size_t i) const;
  std::uint64_t addr(std::size_t i) const { return slots_[i].addr; }
  std::uint64_t goid(std::size_t i) const { return slots_[i].goid; }
  bool readable(std::size_t i) const { return !(kinds_[slots_[i].kind].flags & Goroutine::unreadable); }
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  struct __attribute__((packed, aligned(4))) Slot {
    std::uint64_t addr, goid, stack_lo;
    std::int64_t waitsince;
    std::uint32_t sp, bp;  // kAside: the rest is an index of aside_, else bytes above stack_lo
    std::uint32_t kind;
  };
  static_assert(sizeof(Slot) == 44, "a million of these are 44 MB");
  static constexpr std::uint32_t kAside = 0x80000000;
  struct Kind {
    std::uint64_t pc = 0, gopc = 0, startpc = 0;
    std::uint32_t stack_size = 0, status = 0, machine = kNone;
    std::uint8_t wait_reason = 0;
    std::uint16_t flags = 0;
    bool operator==(const Kind&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Kind& k) const;
  };
  Slot pack(const Goroutine& g);
  std::uint32_t pack(std::uint64_t at, std::uint64_t stack_lo);
  std::uint64_t unpack(std::uint32_t at, std::uint64_t stack_lo) const {
    return at & kAside ? aside_[at & ~kAside] : stack_lo + at;
  }

  std::vector<Slot> slots_;
  std::vector<Kind> kinds_;
  std::unordered_map<Kind, std::uint32_t, Hash> kind_of_;
  std::vector<std::uint64_t> aside_ = {0};
  std::uint32_t last_ = 0;  // kind of the goroutine that was added last: mostly the next one's too
};

}  // namespace vitrine::inspect
