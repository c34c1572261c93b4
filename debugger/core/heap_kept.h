// heap_kept.h: the graph of objects and their types, kept with the heap that they were read from until the process runs.
#pragma once
#include <memory>

#include "gc_state.h"
#include "heap_graph.h"
#include "heap_types.h"

namespace vitrine::inspect {

struct KeptGraph {
  explicit KeptGraph(HeapState& heap) : gc(heap) {}
  GcState gc;
  std::unique_ptr<HeapGraph> graph;
  std::unique_ptr<HeapTypes> types;
};

}  // namespace vitrine::inspect
