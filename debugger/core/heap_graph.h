// heap_graph.h: the objects of the heap as a graph in compact arrays — who points to whom, and what keeps them. One build:
//   1. Every place for an object in a span of objects is a node, in the order of addresses: a node is a span's first number
//      and an index, so that nothing is looked up by name. Which of them are objects follows from allocation bits; in a
//      span that is not swept yet, from marks: what a collection found dead is dead.
//   2. One pass over the spans in the order of addresses reads every object with pointers once and notes where each of its
//      pointer words (by the heap's bitmap) leads: a number a word, kNone for nothing. So the k-th number of an object is
//      its k-th pointer word, which is what types are told by (heap_types.h).
//   3. Roots, by the runtime's own rules (the head of its mgcmark.cc): each word that keeps an object, and where it is.
//
// Rejected: nodes in maps, and edges found again at each walk. A heap of 1 GiB with 10 million objects has some 20 million
// edges, 80 MB here; walks then never touch the target, and take tenths of a second.
//
// A wide graph (`goroutine leaks`) has two more kinds of nodes, the runtime's own objects and the stacks of goroutines,
// and takes every word of every object for a pointer to those: handles of channels are in no bitmap. In it only pointers
// that lead somewhere are noted.
//
// Damage: what cannot be read has no edges and is counted; a pointer to what is not allocated is counted and the first
// few are kept. Numbers are 32 bits: more than 4 billion objects or pointers is an error.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gc_state.h"
#include "heap_state.h"

namespace vitrine::inspect {

enum class RootKind : std::uint8_t { handle, global, stack, reg, held, queued, finalizer, caller };
std::string_view root_kind_text(RootKind kind);  // "gc::root", "global", …

// One word that keeps an object.
struct GraphRoot {
  std::uint64_t slot = 0;     // its address; of a register: its DWARF number
  std::uint32_t node = 0;     // what it keeps
  std::uint32_t who = kNone;  // stack, reg: index of the goroutine; finalizer: the node of the object that has one
  RootKind kind = RootKind::global;
};

struct BadPointer {
  std::uint64_t object = 0, offset = 0, value = 0;
  bool free_object = false;  // else it points to a span without objects
};

// A word of the heap's bitmap that contradicts its neighbours.
struct BadBits {
  std::uint64_t object = 0, offset = 0;
  bool pointer_alone = false;  // "pointer" without "more may follow"; else "more may follow" after an end
};

class HeapGraph {
 public:
  enum : std::uint8_t { object = 1, unread = 2, raw = 4, stack = 8 };
  // Error: cancelled, or there is no such heap.
  static Result<std::unique_ptr<HeapGraph>> build(HeapState& heap, const GcState& gc, bool wide);

  HeapState& heap() const { return heap_; }
  const GcState& gc() const { return gc_; }
  std::uint32_t size() const { return nodes_; }  // places for objects, and in a wide graph stacks
  bool is(std::uint32_t node, std::uint8_t flag) const { return flags_[node] & flag; }
  std::uint64_t objects() const { return objects_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t dead_unswept() const { return dead_unswept_; }  // objects that a collection found dead, not swept yet
  std::uint64_t unreadable() const { return unread_; }          // objects of which some word was unreadable
  std::uint64_t bad_pointers() const { return bad_count_; }
  const std::vector<BadPointer>& bad() const { return bad_; }  // the first of them

  const std::vector<BadBits>& bad_bits() const { return bad_bits_; }  // the first of them

  std::uint64_t address(std::uint32_t node) const;
  std::uint64_t bytes_of(std::uint32_t node) const;
  bool noscan(std::uint32_t node) const;
  std::uint32_t goroutine_of(std::uint32_t node) const { return node - first_stack_; }  // of a node that is a stack
  std::uint32_t stack_node(std::uint32_t goroutine) const { return first_stack_ + goroutine; }
  // The object that an address is in; kNone: none that is allocated.
  std::uint32_t find(std::uint64_t addr) const {
    bool inside;
    return find(addr, inside);
  }
  std::uint32_t find(std::uint64_t addr, bool& inside) const;  // inside: not where it begins
  std::span<const std::uint32_t> edges(std::uint32_t node) const {
    return {targets_.data() + start_[node], start_[node + 1] - start_[node]};
  }
  bool interior(std::uint32_t edge) const { return interior_[edge]; }  // it points into the middle. edge: by number
  std::uint32_t first_edge(std::uint32_t node) const { return start_[node]; }
  std::uint64_t edge_count() const { return targets_.size(); }
  const std::vector<GraphRoot>& roots() const { return roots_; }
  // Where in `from` pointers to `to` are: offsets, by reading it again.
  std::vector<std::uint64_t> offsets(std::uint32_t from, std::uint32_t to) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Everything that can be reached from these nodes, breadth first; parent (if not null) gets from where, kNone for a
  // start. False: cancelled.
  bool reach(const std::vector<std::uint32_t>& from, std::vector<bool>& seen, std::vector<std::uint32_t>* parent,
             const std::function<bool(std::uint32_t)>& visit = {}) const;
  std::vector<std::uint32_t> root_nodes() const;  // each once
  // Edges turned round, made when first asked for.
  struct Reverse {
    std::vector<std::uint32_t> start, sources;
    std::span<const std::uint32_t> of(std::uint32_t node) const {
      return {sources.data() + start[node], start[node + 1] - start[node]};
    }
  };
  const Reverse& reverse() const;
  bool cancelled() const { return heap_.session().cancelled(); }

 private:
  struct Part {  // a span with objects
    std::uint32_t span, first, count;
  };
  class Window;
  HeapGraph(HeapState& heap, const GcState& gc, bool wide);
  Status number();
  Status mark_objects();
  Status read_edges();
  Status read_part(const Part& part, Window& objects);
  void bitmap(std::uint64_t base, std::uint64_t bytes, std::vector<std::uint8_t>& out, bool& whole);
  void check_bits(const std::vector<std::uint8_t>& bits, std::uint64_t first, std::uint64_t words,
                  std::uint64_t object);
  Status read_roots();
  void root_word(std::uint64_t slot, std::uint64_t value, RootKind kind, std::uint32_t who);
  Status root_range(std::uint64_t lo, std::uint64_t hi, RootKind kind, std::uint32_t who);
  Status read_handles();
  Status read_queue();
  Status read_specials();
  Status read_globals();
  Status read_held();
  Status read_stacks();
  const Part* part_of(std::uint32_t node) const;
  const Part* part_at(std::uint64_t addr) const;
  bool add_edge(std::uint32_t to, bool inside);
  void note(std::string text);
  bool tick(const char* what, std::uint64_t done, std::uint64_t all);

  HeapState& heap_;
  const GcState& gc_;
  bool wide_;
  std::uint64_t lo_ = 0, hi_ = 0;                               // of all parts
  std::vector<Part> parts_;                                     // by address
  std::vector<std::uint32_t> arena_slot_, page_part_, coarse_;  // coarse_: the part of every 256th node
  std::uint64_t arena_lo_ = 0;
  std::uint32_t nodes_ = 0, first_stack_ = 0;
  std::vector<std::uint8_t> flags_;
  std::vector<std::uint32_t> start_, targets_;
  std::vector<bool> interior_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> stack_at_;  // lo → goroutine, by address
  std::uint64_t stacks_lo_ = 0, stacks_hi_ = 0;
  std::vector<GraphRoot> roots_;
  std::vector<BadPointer> bad_;
  std::vector<BadBits> bad_bits_;
  std::uint64_t bad_count_ = 0, objects_ = 0, bytes_ = 0, dead_unswept_ = 0, unread_ = 0, unread_roots_ = 0;
  std::uint64_t first_unread_ = 0, first_unread_root_ = 0;
  std::vector<std::string> warnings_;
  mutable std::unique_ptr<Reverse> reverse_;
};

}  // namespace vitrine::inspect
