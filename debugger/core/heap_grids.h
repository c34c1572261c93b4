// heap_grids.h: the parts of the heap as rows: size classes, arenas, the treap, stacks, mcaches, mcentrals. Each is one
// pass over the spans.
#pragma once
#include "heap_state.h"
#include "plain_rows.h"

namespace vitrine::inspect {

GridRows classes_grid(HeapState& heap);
GridRows arenas_grid(HeapState& heap);
GridRows treap_grid(HeapState& heap);
GridRows stacks_grid(HeapState& heap);
GridRows caches_grid(HeapState& heap);
GridRows centrals_grid(HeapState& heap);
GridRows cache_grid(HeapState& heap, const HeapCache& c);         // what one mcache has
GridRows central_grid(HeapState& heap, std::uint64_t sizeclass);  // the spans on a class's lists, in their order

extern const std::span<const ColumnSpec> class_columns, arena_columns, treap_columns, stack_columns, cache_columns,
    central_columns;

}  // namespace vitrine::inspect
