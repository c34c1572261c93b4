// heap_map.h: the pages of the heap as a picture: letters for a terminal, one self-contained page for a browser.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "heap_state.h"

namespace vitrine::inspect {

// What a page is for; the letter of its first page in a span is a capital, where there is one.
enum class PageUse : std::uint8_t { small, large, stack, runtime, other, free, scavenged, rest, count };
struct PageUseLook {
  char letter;
  std::string_view what, ansi, css;
};
const PageUseLook& look_of(PageUse use);
PageUse page_use(const HeapState& heap, const Span& s);

// The pages of one arena, a letter each. Damaged spans that lie beyond it or over others are cut.
std::string arena_letters(HeapState& heap, const Arena& arena);
// HTML of these arenas, in pieces.
void write_map_page(HeapState& heap, const std::vector<Arena>& arenas,
                    const std::function<void(std::string_view)>& out);

}  // namespace vitrine::inspect
