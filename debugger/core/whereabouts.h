// whereabouts.h: what an address is — the answer of `obj`. Asked in this order, so that the most particular answer
// comes first:
//   1. a structure of the runtime: g, m, p, mspan, mcache, an arena's metadata, the heap's own
//   2. a page of an arena: the object, stack or guard in its span; a free span; an arena's part that is in no span
//   3. a stack elsewhere: of a goroutine, of a thread of the runtime
//   4. a function, a global variable, a node of the treap, a module of the program
//   5. what else the runtime cut for its own use, by its records (metadata.h)
//   6. anything else that is readable; else nothing
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "heap_state.h"
#include "stacks.h"

namespace vitrine::inspect {

struct Whereabouts {
  std::uint64_t addr = 0;
  // object runtime_object stack guard span structure arena code global module memory unmapped
  std::string kind;
  std::string state;                          // allocated free cached; of a stack: used, below_sp, free, cached
  std::string what;                           // one clause
  std::optional<std::uint64_t> base, size;    // of the object, stack, structure, function or variable
  std::optional<std::uint64_t> index, count;  // which object of its span, of how many
  std::uint32_t span = kNone;                 // index
  std::uint32_t goroutine = kNone;            // whose stack, or whose g
  std::optional<std::uint32_t> frame;         // number of the frame, as the host counts
  SourceFrame where;                          // of that frame, or of the code
  std::string name;                           // function, variable, field of a structure ("g.sched.sp"), module
  std::string type;                           // of a variable, or what is known of an object
  std::optional<std::vector<std::uint64_t>> pointers;  // words of the object that hold pointers
  SourceFrame allocated_at;                            // of a sampled allocation
  std::optional<std::uint64_t> allocated_by;           // goid
  std::vector<std::string> errors;
};

Whereabouts where_is(HeapState& heap, Stacks& stacks, std::uint64_t addr);

}  // namespace vitrine::inspect
