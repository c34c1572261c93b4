// heap_graph.cc: see heap_graph.h: nodes and edges. Roots are in heap_graph_roots.cc.
#include "heap_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxBad = 64;
constexpr std::uint64_t kMaxArenas = 1 << 22;
constexpr std::uint32_t kNoPart = kNone;
constexpr std::uint32_t kCoarse = 256;
constexpr std::uint64_t kBlock = 1 << 20;
constexpr std::uint64_t kChunk = 4096;  // of an object, read at once

}  // namespace

// Reads forward through memory in blocks; what is asked for lies in one of them.
class HeapGraph::Window {
 public:
  Window(Memory& memory) : memory_(memory), buffer_(kBlock) {}
  void upto(std::uint64_t end) { end_ = end; }
  // len <= kChunk. Null: not readable.
  const std::byte* at(std::uint64_t addr, std::uint64_t len) {
    if (addr >= lo_ && addr + len <= hi_) return buffer_.data() + (addr - lo_);
    const std::uint64_t want = std::min(kBlock, std::max(end_ > addr ? end_ - addr : 0, len));
    lo_ = addr;
    hi_ = addr + memory_.read_prefix(addr, std::span(buffer_).first(want));
    if (addr + len <= hi_) return buffer_.data();
    return nullptr;
  }

 private:
  Memory& memory_;
  std::vector<std::byte> buffer_;
  std::uint64_t lo_ = 0, hi_ = 0, end_ = 0;
};

HeapGraph::HeapGraph(HeapState& heap, const GcState& gc, bool wide) : heap_(heap), gc_(gc), wide_(wide) {}

Result<std::unique_ptr<HeapGraph>> HeapGraph::build(HeapState& heap, const GcState& gc, bool wide) {
  const Layout& l = heap.layout();
  if (!l.has(F::gcroots_head) || !l.has(F::mspan_freeindex) || !l.has(F::mspan_allocBits) ||
      !l.has(F::heapArena_bitmap))
    return Error{fmt::format("which objects point to which is not known for the heap of {}", l.dialect().title()), {}};
  std::unique_ptr<HeapGraph> graph(new HeapGraph(heap, gc, wide));
  for (auto step : {&HeapGraph::number, &HeapGraph::mark_objects, &HeapGraph::read_edges, &HeapGraph::read_roots}) {
    Status ok = (graph.get()->*step)();
    if (!ok) {
      heap.session().progress("");
      return ok.error();
    }
  }
  heap.session().progress("");
  return graph;
}

void HeapGraph::note(std::string text) {
  if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.push_back(std::move(text));
}

bool HeapGraph::tick(const char* what, std::uint64_t done, std::uint64_t all) {
  heap_.session().progress(fmt::format("{}: {}%", what, all ? done * 100 / all : 100));
  return !heap_.session().cancelled();
}

// ---- which nodes there are

Status HeapGraph::number() {
  const std::uint64_t arena = heap_.arena_bytes(), page = heap_.page_size(), pages = arena / page;
  std::vector<std::uint64_t> bases;
  for (const Arena& a : heap_.arenas()) bases.push_back(a.base);
  std::sort(bases.begin(), bases.end());
  if (!bases.empty()) arena_lo_ = bases.front();
  if (!bases.empty() && (bases.back() - arena_lo_) / arena >= kMaxArenas)
    return Error{
        fmt::format("the heap's arenas, from {:#x} to {:#x}, cannot lie so far apart", bases.front(), bases.back()),
        bases.back()};
  if (!bases.empty()) arena_slot_.assign((bases.back() - arena_lo_) / arena + 1, kNone);
  std::uint32_t slots = 0;
  for (std::uint64_t b : bases) {
    std::uint32_t& slot = arena_slot_[(b - arena_lo_) / arena];
    if (slot == kNone) slot = slots++;
  }
  page_part_.assign(slots * pages, kNoPart);
  std::uint64_t first = 0, damaged = 0, end = 0;
  for (std::uint32_t i = 0; i < heap_.with_pages(); ++i) {
    const Span& s = heap_.spans()[i];
    const SpanKind k = heap_.kind(s);
    const bool own = k == SpanKind::runtime || k == SpanKind::runtime_large;
    if (k != SpanKind::small && k != SpanKind::large && !(wide_ && own)) continue;
    if (!heap_.flaw(s).empty() || s.base < end) {
      ++damaged;
      continue;
    }
    end = heap_.end(s);
    bool in_arenas = true;
    for (std::uint64_t at = s.base; at < end && in_arenas; at = (at / arena + 1) * arena)
      in_arenas = at >= arena_lo_ && (at - arena_lo_) / arena < arena_slot_.size() &&
                  arena_slot_[(at - arena_lo_) / arena] != kNone;
    if (!in_arenas) {
      ++damaged;
      continue;
    }
    const auto count =
        static_cast<std::uint32_t>(k == SpanKind::large || k == SpanKind::runtime_large ? 1 : heap_.nelems(s));
    if (first + count >= kNone) return Error{"the heap has more places for objects than can be numbered", {}};
    for (std::uint64_t at = s.base; at < end; at += page) {
      const std::uint64_t n = at - arena_lo_;
      page_part_[arena_slot_[n / arena] * pages + n % arena / page] = static_cast<std::uint32_t>(parts_.size());
    }
    parts_.push_back({i, static_cast<std::uint32_t>(first), count});
    first += count;
  }
  if (damaged) note(fmt::format("{} of objects left out: damaged, or in no arena", plural(damaged, "span")));
  first_stack_ = static_cast<std::uint32_t>(first);
  if (wide_) {
    const auto& all = heap_.model().goroutines();
    first += all.size();
    if (first >= kNone) return Error{"the heap has more places for objects than can be numbered", {}};
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      const Goroutine& g = all[i];
      if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || !g.stack_lo) continue;
      stack_at_.emplace_back(g.stack_lo, i);
    }
    std::sort(stack_at_.begin(), stack_at_.end());
    if (!stack_at_.empty()) {
      stacks_lo_ = stack_at_.front().first;
      for (auto& [lo, i] : stack_at_) stacks_hi_ = std::max(stacks_hi_, all[i].stack_hi());
    }
  }
  nodes_ = static_cast<std::uint32_t>(first);
  if (!parts_.empty()) {
    std::uint32_t p = 0;
    for (std::uint32_t n = 0; n < first_stack_ + kCoarse; n += kCoarse) {
      while (p + 1 < parts_.size() && parts_[p + 1].first <= n) ++p;
      coarse_.push_back(p);
    }
    coarse_.push_back(static_cast<std::uint32_t>(parts_.size() - 1));
    lo_ = heap_.spans()[parts_.front().span].base;
    hi_ = heap_.end(heap_.spans()[parts_.back().span]);
  }
  flags_.assign(nodes_, 0);
  return Ok{};
}

const HeapGraph::Part* HeapGraph::part_at(std::uint64_t addr) const {
  const std::uint64_t n = addr - arena_lo_, arena = heap_.arena_bytes();
  if (addr < lo_ || addr >= hi_) return nullptr;
  const std::uint32_t slot = arena_slot_[n / arena];
  if (slot == kNone) return nullptr;
  const std::uint32_t part = page_part_[slot * (arena / heap_.page_size()) + n % arena / heap_.page_size()];
  return part == kNoPart ? nullptr : &parts_[part];
}

const HeapGraph::Part* HeapGraph::part_of(std::uint32_t node) const {
  const std::size_t i = node / kCoarse;
  if (i + 1 >= coarse_.size()) return nullptr;
  auto lo = parts_.begin() + coarse_[i], hi = parts_.begin() + coarse_[i + 1] + 1;
  auto it = std::upper_bound(lo, hi, node, [](std::uint32_t n, const Part& p) { return n < p.first; });
  return &*--it;
}

std::uint32_t HeapGraph::find(std::uint64_t addr, bool& inside) const {
  inside = false;
  if (const Part* p = part_at(addr)) {
    const Span& s = heap_.spans()[p->span];
    const std::uint64_t limit = s.limit ? s.limit : heap_.end(s);
    if (addr >= limit && (heap_.kind(s) == SpanKind::small || heap_.kind(s) == SpanKind::large)) return kNone;
    const std::uint64_t i = p->count == 1 ? 0 : (addr - s.base) / s.elemsize;
    if (i >= p->count) return kNone;
    const auto node = static_cast<std::uint32_t>(p->first + i);
    inside = addr != s.base + i * s.elemsize;
    return flags_[node] & object ? node : kNone;
  }
  if (!wide_ || addr < stacks_lo_ || addr >= stacks_hi_) return kNone;
  auto it = std::upper_bound(stack_at_.begin(), stack_at_.end(), std::pair(addr, kNone));
  if (it == stack_at_.begin()) return kNone;
  --it;
  return addr < heap_.model().goroutines()[it->second].stack_hi() ? stack_node(it->second) : kNone;
}

std::uint64_t HeapGraph::address(std::uint32_t node) const {
  if (node >= first_stack_) return heap_.model().goroutines()[goroutine_of(node)].stack_lo;
  const Part* p = part_of(node);
  const Span& s = heap_.spans()[p->span];
  return s.base + std::uint64_t{node - p->first} * s.elemsize;
}

std::uint64_t HeapGraph::bytes_of(std::uint32_t node) const {
  if (node >= first_stack_) return heap_.model().goroutines()[goroutine_of(node)].stack_size;
  return heap_.spans()[part_of(node)->span].elemsize;
}

bool HeapGraph::noscan(std::uint32_t node) const {
  return node >= first_stack_ || heap_.spans()[part_of(node)->span].noscan();
}

Status HeapGraph::mark_objects() {
  std::uint64_t unknown = 0, done = 0;
  for (const Part& p : parts_) {
    if (++done % 4096 == 0 && !tick("finding objects", done, parts_.size())) return Error{"stopped by Ctrl-C", {}};
    const Span& s = heap_.spans()[p.span];
    const SpanKind k = heap_.kind(s);
    const bool own = k == SpanKind::runtime || k == SpanKind::runtime_large;
    std::string error;
    std::vector<std::byte> alloc, marks;
    if (k != SpanKind::runtime_large && k != SpanKind::large) {
      alloc = heap_.bits(s.alloc_bits, p.count, error);
      if (alloc.empty() && p.count) ++unknown;
    }
    const auto age = static_cast<std::int32_t>(s.sweepgen - heap_.sweepgen());
    const bool to_sweep = !own && (age == -2 || age == 1);
    if (to_sweep) {
      marks = heap_.bits(s.mark_bits, p.count, error);
      if (marks.empty() && p.count) ++unknown;
    }
    for (std::uint32_t i = 0; i < p.count; ++i) {
      bool there = k == SpanKind::large           ? s.freeindex > 0 || s.alloc_count > 0
                   : k == SpanKind::runtime_large ? s.alloc_count != 0
                                                  : (!own && i < s.freeindex) || HeapState::bit(alloc, i);
      if (!there) continue;
      if (to_sweep && !marks.empty() && !HeapState::bit(marks, i)) {
        ++dead_unswept_;
        continue;
      }
      if (own && k == SpanKind::runtime && heap_.cache_with(s.base + std::uint64_t{i} * s.elemsize)) continue;
      flags_[p.first + i] = static_cast<std::uint8_t>(object | (own ? raw : 0));
      if (own) continue;
      ++objects_;
      bytes_ += s.elemsize;
    }
  }
  for (std::uint32_t n = first_stack_; n < nodes_; ++n) flags_[n] = stack | object;
  if (unknown) note(fmt::format("{} unreadable: their spans' objects are not known", plural(unknown, "bitmap")));
  return Ok{};
}

// ---- edges

// The bytes of the heap's bitmap for [base, base + bytes): one for four words.
void HeapGraph::bitmap(std::uint64_t base, std::uint64_t bytes, std::vector<std::uint8_t>& out, bool& whole) {
  const std::uint64_t arena = heap_.arena_bytes();
  const FieldPlace& place = heap_.layout().place(F::heapArena_bitmap);
  out.assign((bytes + 31) / 32, 0);
  whole = true;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t at = base + done, here = at / arena * arena, n = std::min(bytes - done, here + arena - at);
    const Arena* in = nullptr;
    for (const Arena& a : heap_.arenas()) {
      if (a.base == here) in = &a;
    }
    auto part = std::as_writable_bytes(std::span(out).subspan(done / 32, (n + 31) / 32));
    if (!in || !in->addr || !heap_.session().memory().read(in->addr + place.offset + (at - here) / 32, part))
      whole = false;
    done += n;
  }
}

bool HeapGraph::add_edge(std::uint32_t to, bool inside) {
  if (targets_.size() >= kNone - 1) return false;
  targets_.push_back(to);
  interior_.push_back(inside);
  return true;
}

// The bits of a small object, all of whose words are written.
void HeapGraph::check_bits(const std::vector<std::uint8_t>& bits, std::uint64_t first, std::uint64_t words,
                           std::uint64_t object) {
  bool ended = false;
  for (std::uint64_t i = 0; i < words && bad_bits_.size() < kMaxBad; ++i) {
    const unsigned b = bits[(first + i) / 4] >> (first + i) % 4;
    const bool pointer = b & 1, more = b & 16;
    if ((pointer && !more) || (more && ended)) {
      bad_bits_.push_back({object, 8 * i, pointer && !more});
      return;
    }
    ended = ended || !more;
  }
}

Status HeapGraph::read_part(const Part& part, Window& window) {
  const Span& s = heap_.spans()[part.span];
  const SpanKind k = heap_.kind(s);
  const bool own = k == SpanKind::runtime || k == SpanKind::runtime_large;
  const Error full{"the heap has more pointers than can be numbered", {}};
  const bool look = wide_ || (!own && !s.noscan());
  std::vector<std::uint8_t> bits;
  if (look && !own && !s.noscan()) {
    bool whole = true;
    bitmap(s.base, std::uint64_t{part.count} * s.elemsize, bits, whole);
    if (!whole)
      note(fmt::format("the heap's bitmap is unreadable for the span at {:#x}: its pointers are not known", s.base));
  }
  window.upto(s.base + std::uint64_t{part.count} * s.elemsize);
  const std::uint64_t limit = own ? s.elemsize : std::min(s.elemsize, s.limit > s.base ? s.limit - s.base : s.elemsize);
  for (std::uint32_t i = 0; i < part.count; ++i) {
    const std::uint32_t node = part.first + i;
    start_[node] = static_cast<std::uint32_t>(targets_.size());
    if (!look || !(flags_[node] & object)) continue;
    const std::uint64_t base = s.base + std::uint64_t{i} * s.elemsize, size = part.count == 1 ? limit : s.elemsize;
    bool more = !bits.empty();  // pointers may follow
    if (more && k == SpanKind::small) check_bits(bits, (base - s.base) / 8, s.elemsize / 8, base);
    bool damaged = false;
    for (std::uint64_t at = 0; at + 8 <= size && (more || wide_); at += kChunk) {
      if (size > kBlock && at % (64 * kBlock) == 0 && heap_.session().cancelled())
        return Error{"stopped by Ctrl-C", {}};
      const std::uint64_t n = std::min(kChunk, size - at) / 8 * 8;
      const std::byte* bytes = nullptr;
      for (std::uint64_t w = 0; w < n && (more || wide_); w += 8) {
        bool pointer = false;
        if (more) {
          const std::uint64_t word = (base + at + w - s.base) / 8;
          const unsigned b = bits[word / 4] >> word % 4;
          more = b & 16;
          pointer = more && (b & 1);
        }
        if (!pointer && !wide_) continue;
        if (!bytes && !damaged) {
          bytes = window.at(base + at, n);
          if (!bytes) {
            damaged = true;
            if (!unread_++) first_unread_ = base + at;
            flags_[node] |= unread;
          }
        }
        std::uint64_t value = 0;
        if (bytes) std::memcpy(&value, bytes + w, 8);
        bool inside = false;
        const std::uint32_t to = value ? find(value, inside) : kNone;
        if (wide_) {
          // One past its own end: a channel without a buffer has its buffer there. That is the next object's address.
          if (own && value == base + s.elemsize) continue;
          if (to == kNone || (!pointer && !(flags_[to] & (raw | stack)))) {
            if (!own || to == kNone) continue;
          }
          if (!add_edge(to, false)) return full;
          continue;
        }
        if (to == kNone && value) {
          // To a stack or to what the runtime keeps is allowed; to a free object or to no object is not.
          const std::uint32_t in = heap_.at_address(value);
          const bool arena = value >= arena_lo_ && (value - arena_lo_) / heap_.arena_bytes() < arena_slot_.size() &&
                             arena_slot_[(value - arena_lo_) / heap_.arena_bytes()] != kNone;
          const bool mine = in != kNone && (heap_.kind(heap_.spans()[in]) == SpanKind::small ||
                                            heap_.kind(heap_.spans()[in]) == SpanKind::large);
          if (arena && (mine || in == kNone || heap_.kind(heap_.spans()[in]) == SpanKind::free)) {
            if (!(value - base < size)) {
              ++bad_count_;
              if (bad_.size() < kMaxBad) bad_.push_back({base, at + w, value, mine});
            }
          }
        }
        if (!add_edge(to, inside)) return full;
      }
      if (damaged && !wide_) {
        // The k-th edge must stay the k-th pointer word: the rest of the object is left out, which its flag says.
        break;
      }
    }
  }
  return Ok{};
}

Status HeapGraph::read_edges() {
  start_.assign(std::size_t{nodes_} + 1, 0);
  Window window(heap_.session().memory());
  std::uint64_t read = 0, all = 0, next = 0;
  for (const Part& p : parts_) all += heap_.bytes(heap_.spans()[p.span]);
  for (const Part& p : parts_) {
    if (auto ok = read_part(p, window); !ok) return ok.error();
    read += heap_.bytes(heap_.spans()[p.span]);
    if (read < next) continue;
    if (!tick("reading objects", read, all)) return Error{"stopped by Ctrl-C", {}};
    next = read + (16 << 20);
  }
  for (std::uint32_t n = first_stack_; n <= nodes_; ++n) start_[n] = static_cast<std::uint32_t>(targets_.size());
  targets_.shrink_to_fit();
  if (unread_)
    note(fmt::format("{} partly unreadable, from {:#x} on: what only they keep is not seen", plural(unread_, "object"),
                     first_unread_));
  if (bad_count_)
    note(fmt::format("{} in objects lead to nothing that is allocated, the first at {:#x}+{} ({:#x}): mheap check",
                     plural(bad_count_, "pointer"), bad_[0].object, bad_[0].offset, bad_[0].value));
  return Ok{};
}

std::vector<std::uint64_t> HeapGraph::offsets(std::uint32_t from, std::uint32_t to) const {
  std::vector<std::uint64_t> out;
  if (from >= first_stack_) return out;
  const Span& s = heap_.spans()[part_of(from)->span];
  const std::uint64_t base = address(from), target = address(to), size = bytes_of(to);
  bool whole = true;
  std::vector<std::uint8_t> bits;
  const bool precise = !(flags_[from] & raw);
  if (precise && s.noscan() && !wide_) return out;
  if (precise && !s.noscan()) const_cast<HeapGraph*>(this)->bitmap(base / 32 * 32, s.elemsize + base % 32, bits, whole);
  const std::uint64_t skew = base % 32 / 8;
  for (std::uint64_t at = 0; at + 8 <= s.elemsize && out.size() < 16; at += 8) {
    if (precise && !wide_) {
      const std::uint64_t word = skew + at / 8;
      const unsigned b = bits[word / 4] >> word % 4;
      if (!(b & 16)) break;
      if (!(b & 1)) continue;
    }
    auto value = heap_.session().memory().get<std::uint64_t>(base + at);
    if (value && *value - target < size) out.push_back(at);
  }
  return out;
}

// ---- walks

bool HeapGraph::reach(const std::vector<std::uint32_t>& from, std::vector<bool>& seen,
                      std::vector<std::uint32_t>* parent, const std::function<bool(std::uint32_t)>& visit) const {
  std::vector<std::uint32_t> queue;
  for (std::uint32_t n : from) {
    if (seen[n]) continue;
    seen[n] = true;
    if (parent) (*parent)[n] = kNone;
    queue.push_back(n);
  }
  for (std::size_t at = 0; at < queue.size(); ++at) {
    const std::uint32_t n = queue[at];
    if (at % (1 << 20) == 0 && cancelled()) return false;
    if (visit && !visit(n)) return false;
    for (std::uint32_t to : edges(n)) {
      if (to == kNone || seen[to]) continue;
      seen[to] = true;
      if (parent) (*parent)[to] = n;
      queue.push_back(to);
    }
  }
  return true;
}

std::vector<std::uint32_t> HeapGraph::root_nodes() const {
  std::vector<std::uint32_t> nodes;
  std::vector<bool> seen(nodes_);
  for (const GraphRoot& r : roots_) {
    if (seen[r.node]) continue;
    seen[r.node] = true;
    nodes.push_back(r.node);
  }
  return nodes;
}

const HeapGraph::Reverse& HeapGraph::reverse() const {
  if (reverse_) return *reverse_;
  reverse_ = std::make_unique<Reverse>();
  std::vector<std::uint32_t>& start = reverse_->start;
  start.assign(std::size_t{nodes_} + 2, 0);
  std::uint32_t all = 0;
  for (std::uint32_t to : targets_) {
    if (to == kNone) continue;
    ++start[to + 2];
    ++all;
  }
  for (std::size_t i = 2; i < start.size(); ++i) start[i] += start[i - 1];
  reverse_->sources.resize(all);
  for (std::uint32_t n = 0; n < nodes_; ++n) {
    for (std::uint32_t to : edges(n)) {
      if (to != kNone) reverse_->sources[start[to + 1]++] = n;
    }
  }
  start.pop_back();
  return *reverse_;
}

}  // namespace vitrine::inspect
