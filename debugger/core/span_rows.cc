// span_rows.cc: see span_rows.h. A span that cannot be read is a row with its address and the reason.
#include "span_rows.h"

#include <fmt/format.h>

namespace vitrine::inspect {
namespace {

enum Column : int {
  kBase,
  kPages,
  kState,
  kClass,
  kElem,
  kNelems,
  kAlloc,
  kFree,
  kSweep,
  kOwner,
  kNoscan,
  kBytes,
  kScavenged,
  kFreeindex,
  kUnused,
  kNeedzero,
  kLimit,
  kAddr
};
constexpr ColumnSpec kColumns[] = {
    {"base", "BASE", ColumnType::address, true, false, "address of its first page"},
    {"pages", "PAGES", ColumnType::number, true, false, "how many pages"},
    {"state", "STATE", ColumnType::text, false, false, "inuse manual free dead"},
    {"class", "CLASS", ColumnType::number, true, false,
     "size class of its objects; 0: one object with pages of its own"},
    {"elem", "ELEM", ColumnType::number, true, false, "bytes of one object or stack", "elem_size"},
    {"nelems", "NELEMS", ColumnType::number, true, false, "objects it has room for"},
    {"alloc", "ALLOC", ColumnType::number, true, false, "of those allocated; what Ps hold counts as allocated",
     "alloc_count"},
    {"free", "FREE%", ColumnType::number, true, false, "of those free, in percent", "free_percent"},
    {"sweep", "SWEEP", ColumnType::text, false, false, "swept; needs sweep; sweeping; cached; cached, needs sweep"},
    {"owner", "OWNER", ColumnType::text, false, false, "who has it"},
    {"noscan", "NOSCAN", ColumnType::flag, false, false, "its objects have no pointers"},
    {"bytes", "BYTES", ColumnType::size, true, false, "of its pages"},
    {"scavenged", "SCAVENGED", ColumnType::flag, false, false, "free, and its pages were given back or never touched"},
    {"freeindex", "FREEINDEX", ColumnType::number, true, false, "where the search for a free object begins"},
    {"unused", "UNUSED", ColumnType::duration, true, false, "how long it has been free"},
    {"needzero", "NEEDZERO", ColumnType::flag, false, false, "its memory may be other than zero"},
    {"limit", "LIMIT", ColumnType::address, true, false, "end of its last object"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of its mspan"},
};

}  // namespace

std::span<const ColumnSpec> span_columns() { return kColumns; }

std::optional<std::int64_t> free_percent(const HeapState& heap, const Span& s) {
  SpanKind k = heap.kind(s);
  if (k == SpanKind::unreadable || k == SpanKind::dead || k == SpanKind::free || s.nelems == 0) return std::nullopt;
  if (s.alloc_count > s.nelems) return std::nullopt;
  return static_cast<std::int64_t>((s.nelems - s.alloc_count) * 100 / s.nelems);
}

std::optional<std::uint32_t> class_of(const HeapState& heap, const Span& s) {
  return heap.has_objects(s) ? std::optional<std::uint32_t>(s.sizeclass()) : std::nullopt;
}

SpanRows::SpanRows(HeapState& heap, std::optional<std::uint64_t> only)
    : PlainRows(kColumns), heap_(heap), only_(only) {}

std::vector<int> SpanRows::default_columns() const {
  return {kBase, kPages, kState, kClass, kElem, kNelems, kAlloc, kFree, kSweep, kOwner, kNoscan};
}

int SpanRows::last_column() const { return kNoscan; }
int SpanRows::hidden_column() const { return kState; }
bool SpanRows::outside(std::uint32_t row) const {
  const Span& s = heap_.spans()[row];
  return only_ && !s.unreadable && class_of(heap_, s) != only_;
}
bool SpanRows::hidden(std::uint32_t row) const { return heap_.kind(heap_.spans()[row]) == SpanKind::dead; }

Value SpanRows::value(std::uint32_t row, int column) {
  const Span& s = heap_.spans()[row];
  const SpanKind k = heap_.kind(s);
  if (column == kAddr) return number(s.addr);
  if (column == kState) return text(heap_.state_text(s));
  if (k == SpanKind::unreadable) return {};
  const bool elems = k != SpanKind::free && k != SpanKind::dead;
  switch (column) {
    case kBase:
      return number(s.base);
    case kPages:
      return number(s.npages);
    case kClass:
      return maybe(class_of(heap_, s));
    case kElem:
      return elems ? number(s.elemsize) : Value{};
    case kNelems:
      return elems ? number(s.nelems) : Value{};
    case kAlloc:
      return elems ? number(s.alloc_count) : Value{};
    case kFree:
      return maybe(free_percent(heap_, s));
    case kSweep: {
      std::string sweep = heap_.sweep_text(s);
      return sweep.empty() ? Value{} : text(std::move(sweep));
    }
    case kOwner: {
      std::string owner = heap_.owner_text(s);
      return owner.empty() ? Value{} : text(std::move(owner));
    }
    case kNoscan:
      return heap_.has_objects(s) ? number(s.noscan()) : Value{};
    case kBytes:
      return number(heap_.bytes(s));
    case kScavenged:
      return k == SpanKind::free ? number(s.scavenged) : Value{};
    case kFreeindex:
      return elems ? number(s.freeindex) : Value{};
    case kUnused: {
      std::int64_t now = heap_.model().now();
      return k == SpanKind::free && s.unused_since > 0 && now > 0
                 ? number(std::max<std::int64_t>(0, now - s.unused_since))
                 : Value{};
    }
    case kNeedzero:
      return number(s.needzero);
    case kLimit:
      return elems ? number(s.limit) : Value{};
    default:
      return {};
  }
}

std::string SpanRows::short_text(std::uint32_t row) {
  const Span& s = heap_.spans()[row];
  return fmt::format("{:#x}", s.unreadable ? s.addr : s.base);
}

void SpanRows::json(std::uint32_t row, Json& json) {
  static constexpr std::pair<std::string_view, int> kKeys[] = {
      {"base", kBase},      {"pages", kPages},   {"state", kState},       {"class", kClass},
      {"elem_size", kElem}, {"nelems", kNelems}, {"alloc_count", kAlloc}, {"free_percent", kFree},
      {"sweep", kSweep},    {"owner", kOwner},   {"noscan", kNoscan}};
  json.open_object();
  for (auto& [key, column] : kKeys) json_value(json, key, row, column);
  if (!error(row).empty()) json_errors(json, row);
  json.close_object();
}

}  // namespace vitrine::inspect
