// metadata.h: what a piece of the runtime's own memory is, by the records that the runtime keeps of what it cut for itself:
// arrays and buffers, and chunks of allocators of one size. Asked for one address; a million records are read in blocks.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "heap_state.h"

namespace vitrine::inspect {

struct MetadataPiece {
  std::uint64_t base = 0, size = 0, unit = 0;  // unit: bytes of one element, 0 if that cannot be
  std::uint64_t type = 0;                      // address of the name; 0: a chunk of which no piece has the address
  std::uint64_t owner = 0;                     // the allocator that its elements are from; 0: none
};

// The smallest piece that has the address. What cannot be read, or cannot be, becomes an error.
std::optional<MetadataPiece> metadata_at(HeapState& heap, std::uint64_t addr, std::vector<std::string>& errors);

// Of an object of an allocator: "free", "allocated", or "unused", never given out; "" with an error: not to be known.
std::string fixed_state(HeapState& heap, std::uint64_t allocator, std::uint64_t object,
                        std::vector<std::string>& errors);

}  // namespace vitrine::inspect
