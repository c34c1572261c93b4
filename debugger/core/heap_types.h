// heap_types.h: of which type the objects of the heap are. The runtime does not write it down: an object costs what its
// bytes cost. What is known is where pointers are, and DWARF knows of which type each pointer is, so types spread:
//   1. certain: who has a destructor has a record with the function that calls it, and that is of one type
//   2. from roots: a global's or a local variable's type says what its pointers point to; a gc::root names it
//   3. from objects: the k-th pointer word of an object of type T is T's k-th gc::ptr, whose target is of its type; in an
//      array of T they come round again
// A guess is taken only if the object has room for the type, and pointers where the type has any. Two types for one
// object: the larger one stays, since a first member has the address of what it is in. Pointers into the middle say
// nothing. What no typed pointer leads to stays untyped, and is shown as such: objects that only untyped words keep (a
// closure's, a register's), and garbage.
//
// Rejected: a word for each object with its type, written at allocation in a debug build or by a GODEBUG. It would type
// the rest as well, but a core of a process that nobody had prepared is what one has; it costs 8 bytes an object; and with
// it on the heap that one looks at is another one than the heap that fails.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backtrace.h"
#include "heap_graph.h"
#include "unwind.h"

namespace vitrine::inspect {

class HeapTypes {
 public:
  static constexpr std::uint16_t kUntyped = 0;
  explicit HeapTypes(HeapGraph& graph);
  bool run();  // false: cancelled
  std::uint16_t of(std::uint32_t node) const { return types_[node]; }
  std::size_t count() const { return infos_.size(); }
  // "" for kUntyped.
  const std::string& name(std::uint16_t type) const { return infos_[type].name; }
  std::string text(std::uint32_t node) const;  // "node", "untyped"
  // The member of an object of that node at an offset: "left", "[3].left"; "" when not known.
  std::string member(std::uint32_t node, std::uint64_t offset) const;

  // Where a root is: "head", "goroutine 3, frame #2 worker, n".
  struct Place {
    std::string text;
    const Type* pointee = nullptr;  // what a pointer there points to; null: not known
  };
  Place place(const GraphRoot& root);

 private:
  struct Slot {
    std::uint64_t offset;
    const Type* target;
    std::uint16_t id = 0;  // of target, once it is known
  };
  struct Info {
    std::string name;
    const Type* type = nullptr;
    std::vector<Slot> slots;
    bool too_many = false;
  };
  std::uint16_t id(const Type* type);
  void collect(const Type* type, std::uint64_t base, std::map<std::uint64_t, const Type*>& out, int depth);
  const Type* pointee(const Type* type, std::uint64_t offset);
  void assign(std::uint32_t node, const Type* type, bool certain);
  void certain_ones();
  Place global(std::uint64_t slot);
  Place on_stack(std::uint32_t goroutine, std::uint64_t slot);
  const std::vector<Local>& locals(const Frame& f);

  HeapGraph& graph_;
  HeapState& heap_;
  Session& session_;
  std::vector<std::uint16_t> types_;
  std::vector<bool> certain_;
  std::vector<Info> infos_;
  std::unordered_map<const Type*, std::uint16_t> ids_;
  std::unordered_map<std::string, std::uint16_t> names_;
  std::vector<std::uint32_t> queue_;
  std::uint32_t walked_ = kNone;  // the goroutine whose frames these are
  StackWalk walk_;
  std::optional<FrameNumbers> numbers_;
  std::unordered_map<std::uint64_t, std::vector<Local>> locals_;
  std::unordered_map<std::uint64_t, std::pair<std::string, const Type*>> symbols_;  // by start
};

}  // namespace vitrine::inspect
