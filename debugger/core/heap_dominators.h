// heap_dominators.h: how much memory each object alone keeps: all that would be garbage without it, by dominators of the
// graph of what can be reached. A node dominates another if every way from the roots to that goes through it.
//
// The simple version of Lengauer's and Tarjan's algorithm (1979), O(m log n) whatever the graph's shape, without
// recursion: numbers in the order of a depth-first walk, semidominators from the last to the first over a forest whose
// paths are compressed, then dominators from the first to the last. All roots hang on one node 0 that is no object.
// Rejected: the iterative algorithm over sets of predecessors, which takes n² steps where two long lists are tied together.
#pragma once
#include <cstdint>
#include <vector>

#include "heap_graph.h"

namespace vitrine::inspect {

struct Retained {
  // By number in depth-first order; 0 is what stands for all roots.
  std::vector<std::uint32_t> node;       // which object
  std::vector<std::uint32_t> dominator;  // number
  std::vector<std::uint64_t> bytes;      // kept by it, its own included
  std::vector<std::uint32_t> objects;
};
// False: cancelled.
bool retained(const HeapGraph& graph, Retained& out);

}  // namespace vitrine::inspect
