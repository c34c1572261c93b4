// heap_page.h: the heap on one page: what `mheap` prints. One pass over the spans.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "heap_state.h"
#include "json.h"

namespace vitrine::inspect {

struct HeapPage {
  // Pages and spans by what they are for.
  enum Use { small, large, stacks, runtime, other, free, kUses };
  std::array<std::uint64_t, kUses> pages{}, spans{};
  std::uint64_t scavenged = 0, dead = 0, unreadable = 0;
  std::map<std::string, std::uint64_t> sweep;  // spans of objects by the state of their sweep
  struct Class {
    std::uint64_t elem = 0, spans = 0, pages = 0, objects = 0, allocated = 0;
  };
  std::map<std::uint32_t, Class> classes;  // by size class, large ones as 0
  std::uint64_t stack_slots = 0, stack_live = 0, stack_own = 0, stack_dead = 0, stack_cached = 0, stack_free = 0;
  std::optional<std::uint64_t> resident;  // bytes of the arenas that have memory now
  std::uint64_t all_pages() const;
};

HeapPage heap_page(HeapState& heap);
void print_heap_page(HeapState& heap, const HeapPage& page, Buffered& out);
void json_heap_page(HeapState& heap, const HeapPage& page, Json& json);

}  // namespace vitrine::inspect
