// layout_heap.h: the rows of layout.h's table for the memory system — spans, arenas, the treap, mcentrals, mcaches,
// stack pools, statistics. All optional: a program that lacks one of the types only loses the commands that look at it.
//
// Arrays are rows of the kind `bytes`: how many elements there are follows from the size and the element's type.
#pragma once

// X(name, type, path, kind, need)
#define VITRINE_HEAP_FIELDS(X)                                                             \
  X(p_mcache, "p", "mcache", pointer, optional)                                            \
  X(mspan_next, "mspan", "next", pointer, optional)                                        \
  X(mspan_prev, "mspan", "prev", pointer, optional)                                        \
  X(mspan_list, "mspan", "list", pointer, optional)                                        \
  X(mspan_startAddr, "mspan", "startAddr", word, optional)                                 \
  X(mspan_npages, "mspan", "npages", word, optional)                                       \
  X(mspan_freeindex, "mspan", "freeindex", word, optional)                                 \
  X(mspan_nelems, "mspan", "nelems", word, optional)                                       \
  X(mspan_allocCache, "mspan", "allocCache", word, optional)                               \
  X(mspan_allocBits, "mspan", "allocBits", pointer, optional)                              \
  X(mspan_gcmarkBits, "mspan", "gcmarkBits", pointer, optional)                            \
  X(mspan_sweepgen, "mspan", "sweepgen", word, optional)                                   \
  X(mspan_allocCount, "mspan", "allocCount", word, optional)                               \
  X(mspan_spanclass, "mspan", "spanclass", word, optional)                                 \
  X(mspan_state, "mspan", "state", word, optional)                                         \
  X(mspan_needzero, "mspan", "needzero", word, optional)                                   \
  X(mspan_scavenged, "mspan", "scavenged", word, optional)                                 \
  X(mspan_incache, "mspan", "incache", word, optional)                                     \
  X(mspan_owner, "mspan", "owner", word, optional)                                         \
  X(mspan_elemsize, "mspan", "elemsize", word, optional)                                   \
  X(mspan_unusedsince, "mspan", "unusedsince", word, optional)                             \
  X(mspan_limit, "mspan", "limit", word, optional)                                         \
  X(mspan_specials, "mspan", "specials", pointer, optional)                                \
  X(mspan_manualFreeList, "mspan", "manualFreeList", pointer, optional)                    \
  X(mspan_slotguard, "mspan", "slotguard", pointer, optional)                              \
  X(inlineMarks_marks, "spanInlineMarkBits", "marks", bytes, optional)                     \
  X(inlineMarks_class, "spanInlineMarkBits", "class", word, optional)                      \
  X(mheap_lock, "mheap", "lock", word, optional)                                           \
  X(mheap_free_treap, "mheap", "free.treap", pointer, optional)                            \
  X(mheap_sweepgen, "mheap", "sweepgen", word, optional)                                   \
  X(mheap_sweepdone, "mheap", "sweepdone", word, optional)                                 \
  X(mheap_sweepers, "mheap", "sweepers", word, optional)                                   \
  X(mheap_allspans_array, "mheap", "allspans.array", pointer, optional)                    \
  X(mheap_allspans_len, "mheap", "allspans.len", word, optional)                           \
  X(mheap_pagesInUse, "mheap", "pagesInUse", word, optional)                               \
  X(mheap_largealloc, "mheap", "largealloc", word, optional)                               \
  X(mheap_nlargealloc, "mheap", "nlargealloc", word, optional)                             \
  X(mheap_largefree, "mheap", "largefree", word, optional)                                 \
  X(mheap_nlargefree, "mheap", "nlargefree", word, optional)                               \
  X(mheap_arenas, "mheap", "arenas", bytes, optional)                                      \
  X(mheap_allArenas_array, "mheap", "allArenas.array|heapArenas.array", pointer, optional) \
  X(mheap_allArenas_len, "mheap", "allArenas.len|heapArenas.len", word, optional)          \
  X(mheap_curArena_base, "mheap", "curArena.base", word, optional)                         \
  X(mheap_curArena_end, "mheap", "curArena.end", word, optional)                           \
  X(mheap_central, "mheap", "central", bytes, optional)                                    \
  X(mheap_runtime, "mheap", "runtime", bytes, optional)                                    \
  X(mheap_spanalloc_inuse, "mheap", "spanalloc.inuse", word, optional)                     \
  X(mheap_cachealloc_inuse, "mheap", "cachealloc.inuse", word, optional)                   \
  X(mheap_treapalloc_inuse, "mheap", "treapalloc.inuse", word, optional)                   \
  X(mheap_mcache0lock, "mheap", "mcache0lock", word, optional)                             \
  X(mheap_mcache0, "mheap", "mcache0", pointer, optional)                                  \
  X(heapArena_bitmap, "heapArena", "bitmap", bytes, optional)                              \
  X(heapArena_spans, "heapArena", "spans", bytes, optional)                                \
  X(heapArena_pageInUse, "heapArena", "pageInUse", bytes, optional)                        \
  X(heapArena_pageMarks, "heapArena", "pageMarks", bytes, optional)                        \
  X(heapArena_base, "heapArena", "base", word, optional)                                   \
  X(mcentral_lock, "mcentral", "lock", word, optional)                                     \
  X(mcentral_spanclass, "mcentral", "spanclass", word, optional)                           \
  X(mcentral_nonempty, "mcentral", "nonempty", bytes, optional)                            \
  X(mcentral_empty, "mcentral", "empty", bytes, optional)                                  \
  X(mcentral_nmalloc, "mcentral", "nmalloc", word, optional)                               \
  X(mcentral_nfree, "mcentral", "nfree", word, optional)                                   \
  X(mcentralPadded_mcentral, "mcentralPadded", "mcentral", bytes, optional)                \
  X(mSpanList_first, "mSpanList", "first", pointer, optional)                              \
  X(mSpanList_last, "mSpanList", "last", pointer, optional)                                \
  X(stackpoolPadded_item_lock, "stackpoolPadded", "item.lock", word, optional)             \
  X(stackpoolPadded_item_span, "stackpoolPadded", "item.span", bytes, optional)            \
  X(stackLargeT_lock, "stackLargeT", "lock", word, optional)                               \
  X(stackLargeT_free, "stackLargeT", "free", bytes, optional)                              \
  X(mcache_tiny, "mcache", "tiny", word, optional)                                         \
  X(mcache_tinyoffset, "mcache", "tinyoffset", word, optional)                             \
  X(mcache_local_tinyallocs, "mcache", "local_tinyallocs|tinyAllocs", word, optional)      \
  X(mcache_alloc, "mcache", "alloc", bytes, optional)                                      \
  X(mcache_stackcache, "mcache", "stackcache", bytes, optional)                            \
  X(mcache_flushGen, "mcache", "flushGen", word, optional)                                 \
  X(mcache_local_rawallocs, "mcache", "local_rawallocs", word, optional)                   \
  X(mcache_local_rawfrees, "mcache", "local_rawfrees", word, optional)                     \
  X(mcache_rawcache, "mcache", "rawcache", bytes, optional)                                \
  X(mcache_ahead, "mcache", "ahead", bytes, optional)                                      \
  X(spansAhead_n, "spansAhead", "n", word, optional)                                       \
  X(spansAhead_slot, "spansAhead", "slot", bytes, optional)                                \
  X(rawCache_n, "rawCache", "n", word, optional)                                           \
  X(rawCache_slot, "rawCache", "slot", bytes, optional)                                    \
  X(stackfreelist_n, "stackfreelist", "n", word, optional)                                 \
  X(stackfreelist_slot, "stackfreelist", "slot", bytes, optional)                          \
  X(stackfreelist_list, "stackfreelist", "list", pointer, optional)                        \
  X(fixalloc_size, "fixalloc", "size", word, optional)                                     \
  X(fixalloc_list, "fixalloc", "list", pointer, optional)                                  \
  X(fixalloc_chunk, "fixalloc", "chunk", word, optional)                                   \
  X(fixalloc_nchunk, "fixalloc", "nchunk", word, optional)                                 \
  X(metadataEntry_base, "metadataEntry", "base", word, optional)                           \
  X(metadataEntry_size, "metadataEntry", "size", word, optional)                           \
  X(metadataEntry_unit, "metadataEntry", "unit", word, optional)                           \
  X(metadataEntry_type, "metadataEntry", "type", pointer, optional)                        \
  X(metadataEntry_owner, "metadataEntry", "owner", pointer, optional)                      \
  X(metadataBlock_next, "metadataBlock", "next", pointer, optional)                        \
  X(metadataBlock_n, "metadataBlock", "n", word, optional)                                 \
  X(metadataBlock_entry, "metadataBlock", "entry", bytes, optional)                        \
  X(treapNode_right, "treapNode", "right", pointer, optional)                              \
  X(treapNode_left, "treapNode", "left", pointer, optional)                                \
  X(treapNode_parent, "treapNode", "parent", pointer, optional)                            \
  X(treapNode_npagesKey, "treapNode", "npagesKey", word, optional)                         \
  X(treapNode_spanKey, "treapNode", "spanKey", pointer, optional)                          \
  X(treapNode_priority, "treapNode", "priority", word, optional)                           \
  X(special_next, "special", "next", pointer, optional)                                    \
  X(special_offset, "special", "offset", word, optional)                                   \
  X(special_kind, "special", "kind", word, optional)                                       \
  X(specialprofile_size, "specialprofile", "size", word, optional)                         \
  X(specialprofile_pc, "specialprofile", "pc", word, optional)                             \
  X(specialprofile_goid, "specialprofile", "goid", word, optional)                         \
  X(mstats_heap_sys, "mstats", "heap_sys", word, optional)                                 \
  X(mstats_heap_idle, "mstats", "heap_idle", word, optional)                               \
  X(mstats_heap_inuse, "mstats", "heap_inuse", word, optional)                             \
  X(mstats_heap_released, "mstats", "heap_released", word, optional)                       \
  X(mstats_stacks_inuse, "mstats", "stacks_inuse", word, optional)                         \
  X(mstats_runtime_inuse, "mstats", "runtime_inuse", word, optional)                       \
  X(mstats_manual_inuse, "mstats", "manual_inuse", word, optional)                         \
  X(mstats_heap_live, "mstats", "heap_live", word, optional)                               \
  X(mstats_mspan_sys, "mstats", "mspan_sys", word, optional)                               \
  X(mstats_mcache_sys, "mstats", "mcache_sys", word, optional)                             \
  X(mstats_gc_sys, "mstats", "gc_sys", word, optional)                                     \
  X(mstats_buckhash_sys, "mstats", "buckhash_sys", word, optional)                         \
  X(mstats_other_sys, "mstats", "other_sys", word, optional)                               \
  X(mstats_numgc, "mstats", "numgc", word, optional)                                       \
  X(gcController_heapInUse, "gcControllerState", "heapInUse", word, optional)              \
  X(gcController_heapFree, "gcControllerState", "heapFree", word, optional)                \
  X(gcController_heapReleased, "gcControllerState", "heapReleased", word, optional)        \
  X(gcController_heapLive, "gcControllerState", "heapLive", word, optional)

// X(name, variable, need)
#define VITRINE_HEAP_ROOTS(X)           \
  X(mheap, "mheap_", optional)          \
  X(memstats, "memstats", optional)     \
  X(stackpool, "stackpool", optional)   \
  X(stackLarge, "stackLarge", optional) \
  X(emptymspan, "emptymspan", optional) \
  X(metadata, "metadata", optional)     \
  X(zerobase, "zerobase", optional)     \
  X(gcphase, "gcphase", optional)       \
  X(gcController, "gcController", optional)

// The types of these rows that the rows of layout.h do not name.
#define VITRINE_HEAP_TYPES                                                                                            \
  "mspan", "mheap", "heapArena", "mcentral", "mcentralPadded", "mSpanList", "stackpoolPadded", "stackLargeT",         \
      "mcache", "spansAhead", "rawCache", "stackfreelist", "treapNode", "fixalloc", "metadataEntry", "metadataBlock", \
      "special", "specialprofile", "mstats", "gcControllerState"
