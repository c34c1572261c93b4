// heap_check.h: holds all that the heap says of itself against each other: `mheap check`.
//
// What is checked is written at each check in heap_check*.cc; every comparison counts as one check. A disagreement is a
// violation unless somebody is in the middle of the change that makes it: then it is "in transition" and names who,
// with the evidence — the lock that guards what disagrees is held and a thread is inside the runtime, or a thread is in
// one of the functions that change it without that lock (heap_movers.h). Threads that sleep in the runtime excuse
// nothing, so on a process at rest the check is exact. One pass over the spans, one over each list.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "heap_state.h"
#include "sched_state.h"

namespace vitrine::inspect {

struct HeapFinding {
  std::string where;  // "span 0xc000004000", "stackpool 2", "heap_idle"
  const char* check;  // "spans map", "treap order", …
  std::string expected, got;
  std::string transition;  // who is at it; "" for a violation
};

struct HeapChecked {
  std::vector<HeapFinding> findings;
  std::uint64_t checks = 0, found = 0;  // found: all of them; findings has at most kMaxFindings
  std::uint64_t violations = 0;
  bool cancelled = false;
  std::vector<std::string> warnings;  // what could not be checked
};
constexpr std::size_t kMaxFindings = 10'000;

class HeapCheck {
 public:
  HeapCheck(HeapState& heap, SchedState& sched);
  HeapChecked run();

 private:
  // Who may be at it: the lock that guards it (its address; 0: none), the mcache that it belongs to.
  struct Guard {
    std::uint64_t lock = 0;
    std::string_view which;
    const HeapCache* cache = nullptr;
  };
  // make() gives {where, expected, got}.
  template <class Make>
  bool expect(bool ok, const char* check, const Guard& guard, Make make) {
    ++result_.checks;
    if (!ok) say(check, guard, make());
    return ok;
  }
  struct Text {
    std::string where, expected, got;
  };
  void say(const char* check, const Guard& guard, Text text);
  std::string transition(const Guard& guard);
  std::string inside(std::uint32_t machine);  // a thread in a function that changes the heap; kNone: any
  std::string inside(std::uint32_t machine, std::span<const std::string_view> names);
  Guard heap_lock() const;
  Guard list_lock(ListName name) const;

  // heap_check.cc
  void span_checks();
  void pages_of(const Span& s);
  void bits_of_no_span();
  void neighbours(const Span& s, const Span* before);
  void objects_of(const Span& s);
  void statistics();
  // heap_check_bits.cc
  void marks_of(const Span& s);
  void pointers();
  const std::vector<std::uint64_t>* table(std::uint64_t base);
  // heap_check_lists.cc
  void treap();
  void lists();
  void list(ListName name);
  void membership(const Span& s);
  void caches();
  void cached_objects(const HeapCache& c);
  void cached_stacks(const HeapCache& c);
  void stacks();

  HeapState& heap_;
  SchedState& sched_;
  Layout& layout_;
  HeapChecked result_;
  struct Table {
    std::vector<std::uint64_t> spans;
    std::vector<std::byte> in_use;
    std::uint64_t bits = 0;  // of in_use that belong to a span
  };
  std::unordered_map<std::uint64_t, Table> tables_;  // by the arena's base
  struct Sums {
    std::uint64_t idle = 0, inuse = 0, released = 0, stacks = 0, runtime = 0, other = 0, pages = 0, free_spans = 0;
  } sums_;
  std::unordered_map<std::uint8_t, std::pair<std::uint64_t, std::uint64_t>> sizes_;  // class → elemsize, whose
  std::unordered_map<std::uint64_t, std::uint64_t> claimed_;                         // list → how many say so
  std::vector<std::uint64_t> taken_, raw_taken_;  // objects by span class, size class
  bool names_known_ = false;
  std::optional<std::uint32_t> phase_;  // the collector's; unknown counts as collecting
};

}  // namespace vitrine::inspect
