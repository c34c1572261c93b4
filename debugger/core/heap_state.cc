// heap_state.cc: see heap_state.h: what a load reads, and what one span says of itself. Caches, stacks, lists and the
// treap are in heap_lists.cc.
#include "heap_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "heap_kept.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMaxSpans = 1ull << 26;
constexpr std::uint64_t kBlock = 1 << 20;  // spans are read in pieces of at most this
constexpr std::uint64_t kGap = 64 << 10;   // and a hole of this size ends a piece
constexpr std::uint64_t kMaxNelems = 1 << 20;

}  // namespace

HeapState::HeapState(Session& session, Model& model)
    : session_(session), model_(model), layout_(model.layout()), mheap_(model.layout().root(Root::mheap)) {}

HeapState::~HeapState() = default;

std::size_t Slots::count(char c) const { return static_cast<std::size_t>(std::count(map.begin(), map.end(), c)); }

Result<std::unique_ptr<HeapState>> HeapState::load(Session& session, Model& model) {
  std::unique_ptr<HeapState> heap(new HeapState(session, model));
  if (!heap->mheap_ || !model.layout().size_of("mspan") || !model.layout().has(F::mheap_allspans_array) ||
      !model.layout().has(F::mspan_startAddr) || !model.layout().has(F::mspan_npages) ||
      !model.layout().has(F::mspan_state))
    return Error{"this program's span heap is not described: it has none, or one that is not known here", {}};
  const Layout& l = model.layout();
  heap->inuse_ = l.span_state_number("inuse");
  heap->manual_ = l.span_state_number("manual");
  heap->free_ = l.span_state_number("free");
  heap->dead_ = l.span_state_number("dead");
  heap->pool_ = l.span_owner_number("stackpool");
  heap->large_ = l.span_owner_number("stacklarge");
  heap->runtime_ = l.span_owner_number("runtime");
  heap->runtime_large_ = l.span_owner_number("runtimelarge");
  // Two bits a word in the bitmap: an arena's bytes are 32 times the bitmap's. As many pages as there are in spans[].
  std::uint64_t pages = l.place(F::heapArena_spans).size / 8;
  heap->arena_bytes_ = std::uint64_t{l.place(F::heapArena_bitmap).size} * 32;
  if (auto bytes = l.constant("heapArenaBytes")) heap->arena_bytes_ = *bytes;  // where the program says so itself
  heap->page_size_ = pages ? heap->arena_bytes_ / pages : 0;
  if (!heap->page_size_) return Error{"the size of this heap's pages is not known: its arenas are not described", {}};
  heap->find_lists();
  if (auto ok = heap->read_words(); !ok) return ok.error();
  if (auto ok = heap->read_spans(); !ok) return ok.error();
  return heap;
}

void HeapState::warn(std::string text) {
  if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.push_back(std::move(text));
}

Status HeapState::read_words() {
  words_.resize(layout_.size_of("mheap"));
  if (auto ok = session_.memory().read(mheap_, words_); !ok)
    return Error{fmt::format("the heap's structure at {:#x} is unreadable: {}", mheap_, ok.error().message),
                 ok.error().address};
  std::uint64_t at = layout_.root(Root::memstats);
  stats_.resize(at ? layout_.size_of("mstats") : 0);
  if (auto ok = session_.memory().read(at, stats_); !ok && at) {
    warn(fmt::format("the statistics at {:#x} are unreadable: {}", at, ok.error().message));
    stats_.clear();
  }
  return Ok{};
}

std::optional<std::uint64_t> HeapState::word(F f) const {
  return layout_.has(f) ? std::optional(layout_.take(words_.data(), f)) : std::nullopt;
}

std::optional<std::uint64_t> HeapState::stat(F f) const {
  return layout_.has(f) && !stats_.empty() ? std::optional(layout_.take(stats_.data(), f)) : std::nullopt;
}

std::optional<std::uint64_t> HeapState::get(std::uint64_t structure, F f) {
  if (!layout_.has(f)) return std::nullopt;
  auto v = layout_.get(session_.memory(), structure, f);
  if (v) return *v;
  warn(fmt::format("{} of what is at {:#x}: {}", field_table()[static_cast<std::size_t>(f)].name(), structure,
                   v.error().message));
  return std::nullopt;
}

Status HeapState::read_spans() {
  const std::uint64_t array = *word(F::mheap_allspans_array), len = word(F::mheap_allspans_len).value_or(0);
  const std::uint64_t wanted = std::min(len, kMaxSpans);
  if (wanted != len) warn(fmt::format("the list of spans claims {} of them; reading as far as it goes", len));
  std::vector<std::uint64_t> pointers;
  constexpr std::uint64_t kChunk = 1 << 17;
  for (std::uint64_t done = 0; done < wanted;) {
    std::uint64_t now = std::min(kChunk, wanted - done);
    pointers.resize(done + now);
    std::size_t got =
        session_.memory().read_prefix(array + 8 * done, std::as_writable_bytes(std::span(pointers).subspan(done)));
    done += got / 8;
    if (got < now * 8) {
      pointers.resize(done);
      spans_lost_ = true;
      warn(fmt::format("the list of spans: {} of {} entries are unreadable, from {:#x} on", len - done, len,
                       array + 8 * done));
      break;
    }
    if (session_.cancelled()) return Error{"stopped by Ctrl-C", {}};
  }
  std::size_t listed = pointers.size();
  std::erase(pointers, 0);
  if (pointers.size() != listed) warn(fmt::format("the list of spans: {} entries are null", listed - pointers.size()));
  if (!std::is_sorted(pointers.begin(), pointers.end())) std::sort(pointers.begin(), pointers.end());
  listed = pointers.size();
  pointers.erase(std::unique(pointers.begin(), pointers.end()), pointers.end());
  if (pointers.size() != listed)
    warn(fmt::format("the list of spans: {} entries occur more than once", listed - pointers.size()));

  spans_.reserve(pointers.size());
  const std::uint64_t size = layout_.size_of("mspan");
  std::vector<std::byte> buffer, alone(size);
  for (std::size_t i = 0; i < pointers.size();) {
    std::uint64_t lo = pointers[i];
    std::size_t j = i + 1;
    while (j < pointers.size() && pointers[j] - lo + size <= kBlock && pointers[j] - pointers[j - 1] <= size + kGap)
      ++j;
    std::uint64_t bytes = pointers[j - 1] + size - lo;
    const std::byte* at = lo + bytes > lo ? session_.memory().target().view(lo, bytes) : nullptr;
    std::size_t got = bytes;
    if (!at) {
      buffer.resize(bytes);
      got = lo + bytes > lo ? session_.memory().read_prefix(lo, buffer) : 0;
      at = buffer.data();
    }
    for (; i < j; ++i) {
      std::uint64_t offset = pointers[i] - lo;
      if (offset + size <= got) {
        decode(at + offset, pointers[i]);
      } else if (session_.memory().read(pointers[i], alone)) {  // past a hole
        decode(alone.data(), pointers[i]);
      } else {
        Span s;
        s.addr = pointers[i];
        s.unreadable = true;
        spans_.push_back(s);
      }
    }
    if (session_.cancelled()) return Error{"stopped by Ctrl-C", {}};
  }
  auto pages = [&](const Span& s) { return kind(s) != SpanKind::dead && kind(s) != SpanKind::unreadable; };
  auto less = [](const Span& a, const Span& b) { return a.base != b.base ? a.base < b.base : a.addr < b.addr; };
  auto middle = std::stable_partition(spans_.begin(), spans_.end(), pages);
  with_pages_ = static_cast<std::size_t>(middle - spans_.begin());
  find_extents();
  std::size_t damaged = 0;
  std::string first;
  for (const Span& s : spans_) {
    std::string wrong = flaw(s);
    if (!wrong.empty() && damaged++ == 0) first = std::move(wrong);
  }
  if (damaged) warn(fmt::format("{} damaged: {}{}", plural(damaged, "span"), first, damaged > 1 ? ", …" : ""));
  if (!std::is_sorted(spans_.begin(), middle, less)) std::sort(spans_.begin(), middle, less);
  return Ok{};
}

void HeapState::decode(const std::byte* b, std::uint64_t addr) {
  auto take = [&](F f) { return layout_.take(b, f); };
  Span s;
  s.addr = addr;
  s.base = take(F::mspan_startAddr);
  s.npages = take(F::mspan_npages);
  s.limit = take(F::mspan_limit);
  s.list = take(F::mspan_list);
  s.next = take(F::mspan_next);
  s.prev = take(F::mspan_prev);
  s.freeindex = take(F::mspan_freeindex);
  s.nelems = take(F::mspan_nelems);
  s.elemsize = take(F::mspan_elemsize);
  s.alloc_cache = take(F::mspan_allocCache);
  s.alloc_bits = take(F::mspan_allocBits);
  s.mark_bits = take(F::mspan_gcmarkBits);
  s.slotguard = take(F::mspan_slotguard);
  s.specials = take(F::mspan_specials);
  s.unused_since = static_cast<std::int64_t>(take(F::mspan_unusedsince));
  s.sweepgen = static_cast<std::uint32_t>(take(F::mspan_sweepgen));
  s.alloc_count = static_cast<std::uint16_t>(take(F::mspan_allocCount));
  s.spanclass = static_cast<std::uint8_t>(take(F::mspan_spanclass));
  s.state = static_cast<std::uint8_t>(take(F::mspan_state));
  s.owner = static_cast<std::uint8_t>(take(F::mspan_owner));
  s.manual_free = take(F::mspan_manualFreeList);
  // Go does not say what a manual span is for: those of stacks have a size of elements, but no number of them.
  if (s.state == manual_ && !layout_.has(F::mspan_owner) && s.elemsize) s.nelems = s.npages * page_size_ / s.elemsize;
  s.scavenged = take(F::mspan_scavenged) != 0;
  s.incache = take(F::mspan_incache) != 0;
  s.needzero = take(F::mspan_needzero) != 0;
  spans_.push_back(s);
}

SpanKind HeapState::kind(const Span& s) const {
  if (s.unreadable) return SpanKind::unreadable;
  if (s.state == dead_) return SpanKind::dead;
  if (s.state == free_) return SpanKind::free;
  if (s.state == inuse_) return s.sizeclass() ? SpanKind::small : SpanKind::large;
  if (s.state != manual_) return SpanKind::other;
  if (!layout_.has(F::mspan_owner) && s.elemsize)
    return s.elemsize < s.npages * page_size_ ? SpanKind::stack_pool : SpanKind::stack_large;
  if (!layout_.has(F::mspan_owner)) return SpanKind::other;
  if (s.owner == pool_) return SpanKind::stack_pool;
  if (s.owner == large_) return SpanKind::stack_large;
  if (s.owner == runtime_) return SpanKind::runtime;
  if (s.owner == runtime_large_) return SpanKind::runtime_large;
  return SpanKind::other;
}

bool HeapState::has_objects(const Span& s) const {
  SpanKind k = kind(s);
  return k == SpanKind::small || k == SpanKind::large || k == SpanKind::runtime || k == SpanKind::runtime_large;
}

// Arenas that lie side by side make one extent. None: part of the arenas is not known, so nothing can be held to them.
void HeapState::find_extents() {
  std::vector<std::uint64_t> bases;
  for (const Arena& a : arenas()) bases.push_back(a.base);
  if (arenas_lost_) return;
  std::sort(bases.begin(), bases.end());
  for (std::uint64_t base : bases) {
    if (extents_.empty() || extents_.back().second != base) extents_.emplace_back(base, base);
    extents_.back().second += arena_bytes_;
  }
}

bool HeapState::in_arenas(std::uint64_t lo, std::uint64_t hi) const {
  if (extents_.empty()) return true;
  auto after = std::upper_bound(extents_.begin(), extents_.end(), std::pair(lo, ~std::uint64_t{0}));
  return after != extents_.begin() && hi <= std::prev(after)->second;
}

std::string HeapState::flaw(const Span& s) const {
  if (s.unreadable) return fmt::format("the span at {:#x} is unreadable", s.addr);
  if (kind(s) == SpanKind::dead) return {};
  auto wrong = [&](std::string what) { return fmt::format("the span at {:#x} {}", s.addr, what); };
  if (!inuse_ || (s.state != inuse_ && s.state != free_ && s.state != manual_))
    return wrong(fmt::format("has the state {}", s.state));
  if (s.npages == 0 || s.npages > (1ull << kAddressBits) / page_size_)
    return wrong(fmt::format("has {} pages", s.npages));
  if (s.base % page_size_ || s.base >> kAddressBits || end(s) < s.base)
    return wrong(fmt::format("has the address {:#x}", s.base));
  if (!in_arenas(s.base, end(s)))
    return wrong(fmt::format("has {} from {:#x} on, which is not all in arenas", plural(s.npages, "page"), s.base));
  if (s.state == free_ || (s.state == manual_ && !layout_.has(F::mspan_owner) && !s.elemsize)) return {};
  if (s.elemsize == 0 || s.nelems == 0 || s.elemsize > bytes(s) || s.nelems > bytes(s) / s.elemsize)
    return wrong(fmt::format("has {} objects of {} bytes in {}", s.nelems, s.elemsize, bytes(s)));
  if (s.alloc_count > s.nelems) return wrong(fmt::format("has {} of {} objects allocated", s.alloc_count, s.nelems));
  if (s.freeindex > s.nelems) return wrong(fmt::format("has freeindex {} of {}", s.freeindex, s.nelems));
  return {};
}

std::uint64_t HeapState::nelems(const Span& s) const {
  std::uint64_t room = s.elemsize ? bytes(s) / s.elemsize : 0;
  return std::min({s.nelems, room, kMaxNelems});
}

std::string HeapState::state_text(const Span& s) const {
  return s.unreadable ? std::string("unreadable") : layout_.span_state(s.state);
}

std::string HeapState::sweep_text(const Span& s) const {
  if (s.unreadable || s.state != inuse_ || !layout_.has(F::mspan_sweepgen) || !layout_.has(F::mheap_sweepgen))
    return {};
  switch (static_cast<std::int32_t>(s.sweepgen - sweepgen())) {
    case -2:
      return "needs sweep";
    case -1:
      return "sweeping";
    case 0:
      return "swept";
    case 1:
      return "cached, needs sweep";
    case 3:
      return "cached";
    default:
      return fmt::format("generation {}", s.sweepgen);
  }
}

std::uint32_t HeapState::at_address(std::uint64_t addr) const {
  auto end_of = spans_.begin() + static_cast<std::ptrdiff_t>(with_pages_);
  auto it = std::upper_bound(spans_.begin(), end_of, addr, [](std::uint64_t a, const Span& s) { return a < s.base; });
  // Damaged spans may lie over each other: a few before it may reach that far as well.
  for (int tries = 0; it != spans_.begin() && tries < 4; ++tries) {
    --it;
    if (addr - it->base < bytes(*it)) return static_cast<std::uint32_t>(it - spans_.begin());
  }
  return kNone;
}

std::vector<std::byte> HeapState::bits(std::uint64_t at, std::uint64_t n, std::string& error) {
  std::vector<std::byte> out((n + 7) / 8);
  if (n == 0) return out;
  if (auto ok = session_.memory().read(at, out); !ok) {
    error = fmt::format("the bitmap at {:#x} is unreadable", at);
    out.clear();
  }
  return out;
}

}  // namespace vitrine::inspect
