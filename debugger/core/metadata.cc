// metadata.cc: see metadata.h.
#include "metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxBlocks = 1 << 16;
constexpr std::size_t kMaxLinks = 1 << 18;
constexpr std::uint64_t kMaxBlock = 1 << 20;

}  // namespace

std::optional<MetadataPiece> metadata_at(HeapState& heap, std::uint64_t addr, std::vector<std::string>& errors) {
  Layout& layout = heap.layout();
  const FieldPlace& entries = layout.place(F::metadataBlock_entry);
  const std::uint64_t size = layout.size_of("metadataBlock"), each = layout.size_of("metadataEntry");
  std::uint64_t block = layout.root(Root::metadata);
  if (!block || !entries.present || !each || size > kMaxBlock || entries.offset > size) return std::nullopt;
  const std::uint64_t room = (size - entries.offset) / each;
  std::optional<MetadataPiece> best;
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::byte> bytes(size);
  for (; block; block = layout.take(bytes.data(), F::metadataBlock_next)) {
    if (!seen.insert(block).second || seen.size() > kMaxBlocks) {
      errors.push_back(fmt::format("the records of the runtime's own memory come back to {:#x}; cut there", block));
      break;
    }
    if (!heap.session().memory().read(block, bytes)) {
      errors.push_back(
          fmt::format("the records of the runtime's own memory are unreadable at {:#x}; cut there", block));
      break;
    }
    const std::uint64_t n = layout.take(bytes.data(), F::metadataBlock_n);
    if (n > room)
      errors.push_back(
          fmt::format("a block of records of the runtime's own memory, at {:#x}, has {} of {}", block, n, room));
    for (std::uint64_t i = 0; i < std::min(n, room); ++i) {
      const std::byte* at = bytes.data() + entries.offset + i * each;
      MetadataPiece p{layout.take(at, F::metadataEntry_base), layout.take(at, F::metadataEntry_size),
                      layout.take(at, F::metadataEntry_unit), layout.take(at, F::metadataEntry_type),
                      layout.take(at, F::metadataEntry_owner)};
      if (!p.base || addr - p.base >= p.size || p.size > ~std::uint64_t{0} - p.base) continue;
      if (p.unit > p.size) p.unit = 0;
      if (!best || p.size < best->size) best = p;
    }
  }
  return best;
}

std::string fixed_state(HeapState& heap, std::uint64_t allocator, std::uint64_t object,
                        std::vector<std::string>& errors) {
  if (!heap.layout().has(F::fixalloc_list)) return {};
  auto rest = heap.get(allocator, F::fixalloc_chunk), left = heap.get(allocator, F::fixalloc_nchunk);
  auto at = heap.get(allocator, F::fixalloc_list);
  if (!at) {
    errors.push_back(fmt::format("the allocator at {:#x} is unreadable", allocator));
    return {};
  }
  if (rest && left && object - *rest < *left) return "unused";
  std::unordered_set<std::uint64_t> seen;
  for (std::uint64_t link = *at; link;) {
    if (link == object) return "free";
    auto next = heap.session().memory().get<std::uint64_t>(link);
    if (!next || !seen.insert(link).second || seen.size() > kMaxLinks) {
      errors.push_back(fmt::format("the free objects of the allocator at {:#x}: {} at {:#x}; cut there", allocator,
                                   !next                     ? "unreadable"
                                   : seen.size() > kMaxLinks ? "too many to look at"
                                                             : "a cycle",
                                   link));
      return {};
    }
    link = *next;
  }
  return "allocated";
}

}  // namespace vitrine::inspect
