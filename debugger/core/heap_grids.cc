// heap_grids.cc: see heap_grids.h.
#include "heap_grids.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace vitrine::inspect {
namespace {

using Cell = GridRows::Cell;
using T = ColumnType;

constexpr ColumnSpec kClasses[] = {
    {"class", "CLASS", T::number, true, false, "size class; 0: large objects"},
    {"of", "OF", T::text, false, false, "objects, or the runtime's own"},
    {"elem_size", "ELEM", T::number, true, false, "bytes of one object"},
    {"spans", "SPANS", T::number, true, false, "how many"},
    {"partly", "PARTLY", T::number, true, false, "of those neither full nor without objects"},
    {"nelems", "NELEMS", T::number, true, false, "objects they have room for"},
    {"alloc_count", "ALLOC", T::number, true, false, "of those allocated"},
    {"free_percent", "FREE%", T::number, true, false, "of those free, in percent"},
    {"alloc_bytes", "BYTES", T::size, true, false, "of the allocated"},
    {"tail_bytes", "TAIL", T::size, true, false, "left over at the ends of its spans"},
    {"inner_bytes", "INNER", T::size, true, false,
     "lost inside of objects, where the size that was asked for is known"},
    {"pages", "PAGES", T::number, true, false, "of its spans"},
    {"sampled", "SAMPLED", T::number, true, false,
     "allocated objects of which the size that was asked for is on record"},
    {"sampled_inner", "SAMPLED_INNER", T::size, true, false, "lost inside of those"},
};
constexpr ColumnSpec kArenas[] = {
    {"base", "BASE", T::address, true, false, "its first address"},
    {"spans", "SPANS", T::number, true, false, "spans that begin in it"},
    {"used_pages", "USED", T::number, true, false, "pages in use"},
    {"free_pages", "FREE", T::number, true, false, "pages in free spans"},
    {"scavenged_pages", "SCAVENGED", T::number, true, false, "of those given back or never touched"},
    {"rest_pages", "REST", T::number, true, false, "pages that are in no span yet"},
    {"addr", "ADDR", T::address, true, false, "address of its metadata"},
};
constexpr ColumnSpec kTreap[] = {
    {"base", "BASE", T::address, true, false, "the free span"},
    {"pages", "PAGES", T::number, true, false, "its key"},
    {"depth", "DEPTH", T::number, true, false, "below the root"},
    {"priority", "PRIORITY", T::number, true, false, "random; no child's is less"},
    {"scavenged", "SCAVENGED", T::flag, false, false, "its pages were given back or never touched"},
    {"violation", "VIOLATION", T::text, false, false, "what is out of order"},
    {"node", "NODE", T::address, true, false, "address of the node"},
    {"left", "LEFT", T::address, true, false, "smaller ones"},
    {"right", "RIGHT", T::address, true, false, "larger ones"},
};
constexpr ColumnSpec kStacks[] = {
    {"size", "SIZE", T::size, true, false, "bytes of one stack"},
    {"kind", "KIND", T::text, false, false, "pool: cut from spans of several; large: a span each"},
    {"spans", "SPANS", T::number, true, false, "spans of them"},
    {"slots", "SLOTS", T::number, true, false, "stacks in them"},
    {"goroutines", "GOROUTINES", T::number, true, false, "used by goroutines"},
    {"runtime", "RUNTIME", T::number, true, false, "of Ms themselves (g0's, and for signals), and for fatal errors"},
    {"dead", "DEAD", T::number, true, false, "kept by dead goroutines"},
    {"cached", "CACHED", T::number, true, false, "kept by Ps"},
    {"free", "FREE", T::number, true, false, "in the pool"},
    {"rest", "REST", T::number, true, false, "of nobody that is known: on the way from one to the other"},
    {"bytes", "BYTES", T::size, true, false, "of the spans"},
};
constexpr ColumnSpec kCaches[] = {
    {"p", "P", T::number, true, false, "the P; none: for who has no P"},
    {"spans", "SPANS", T::number, true, false, "spans to allocate from, now or later"},
    {"free_objects", "FREE", T::number, true, false, "free objects in them"},
    {"tiny", "TINY", T::address, true, false, "block for tiny objects"},
    {"tiny_offset", "USED", T::number, true, false, "bytes of it used"},
    {"objects", "OBJECTS", T::number, true, false, "free objects of the runtime"},
    {"stacks", "STACKS", T::number, true, false, "free stacks"},
    {"stack_bytes", "BYTES", T::size, true, false, "of the stacks"},
    {"flushgen", "FLUSHGEN", T::number, true, false, "sweep generation when it gave its spans up"},
    {"addr", "ADDR", T::address, true, false, "address of the mcache"},
};
constexpr ColumnSpec kCacheParts[] = {
    {"what", "WHAT", T::text, false, false, "span, ahead (a span for later), objects, stacks"},
    {"class", "CLASS", T::number, true, false, "size class, or order of stacks"},
    {"elem_size", "ELEM", T::number, true, false, "bytes of one"},
    {"free", "FREE", T::number, true, false, "that may be handed out"},
    {"nelems", "NELEMS", T::number, true, false, "objects of the span"},
    {"noscan", "NOSCAN", T::flag, false, false, "without pointers"},
    {"first", "FIRST", T::address, true, false, "base of the span; the object or stack that comes next"},
};
constexpr ColumnSpec kCentral[] = {
    {"class", "CLASS", T::number, true, false, "size class"},
    {"of", "OF", T::text, false, false, "objects, or the runtime's own"},
    {"noscan", "NOSCAN", T::flag, false, false, "without pointers"},
    {"elem_size", "ELEM", T::number, true, false, "bytes of one"},
    {"nonempty", "NONEMPTY", T::number, true, false, "spans with free objects"},
    {"empty", "EMPTY", T::number, true, false, "spans without, or in an mcache"},
    {"cached", "CACHED", T::number, true, false, "of those in an mcache"},
    {"free_objects", "FREE", T::number, true, false, "free objects on nonempty"},
    {"nmalloc", "NMALLOC", T::number, true, false, "objects taken"},
    {"nfree", "NFREE", T::number, true, false, "objects given back by hand"},
    {"locked", "LOCKED", T::flag, false, false, "its lock is held"},
    {"addr", "ADDR", T::address, true, false, "address of the mcentral"},
};
constexpr ColumnSpec kCentralParts[] = {
    {"list", "LIST", T::text, false, false, "which of its lists"},
    {"base", "BASE", T::address, true, false, "the span"},
    {"pages", "PAGES", T::number, true, false, "its pages"},
    {"alloc_count", "ALLOC", T::number, true, false, "objects allocated"},
    {"nelems", "NELEMS", T::number, true, false, "of how many"},
    {"sweep", "SWEEP", T::text, false, false, "as in mheap spans"},
    {"owner", "OWNER", T::text, false, false, "who has it"},
};

std::string_view of_text(bool own) { return own ? "runtime" : "heap"; }

std::uint64_t count_all(const std::vector<std::vector<std::uint64_t>>& lists) {
  std::uint64_t n = 0;
  for (const auto& l : lists) n += l.size();
  return n;
}

struct CentralSum {
  std::optional<std::uint64_t> elem;
  std::uint64_t nonempty = 0, empty = 0, cached = 0, free = 0;
};

}  // namespace

const std::span<const ColumnSpec> class_columns = kClasses;
const std::span<const ColumnSpec> arena_columns = kArenas;
const std::span<const ColumnSpec> treap_columns = kTreap;
const std::span<const ColumnSpec> stack_columns = kStacks;
const std::span<const ColumnSpec> cache_columns = kCaches;
const std::span<const ColumnSpec> central_columns = kCentral;

// Of the objects in a span whose allocation was sampled: how many, and what is lost inside of them.
static void add_samples(HeapState& heap, const Span& s, std::uint64_t& count, std::uint64_t& lost) {
  constexpr std::uint64_t kProfile = 2, kKinds = 4;
  std::uint64_t at = s.specials;
  for (std::uint64_t n = 0; at; ++n) {
    if (n > s.nelems * kKinds) {
      heap.warn(fmt::format("the specials of the span at {:#x} do not end (at {:#x})", s.addr, at));
      return;
    }
    auto kind = heap.get(at, F::special_kind);
    auto size = kind == kProfile ? heap.get(at, F::specialprofile_size) : std::nullopt;
    if (size && *size <= s.elemsize) {
      ++count;
      lost += s.elemsize - *size;
    }
    auto next = heap.get(at, F::special_next);
    if (!next) return;
    at = *next;
  }
}

GridRows classes_grid(HeapState& heap) {
  struct Sum {
    std::uint64_t elem = 0, spans = 0, partly = 0, nelems = 0, alloc = 0, bytes = 0, tail = 0, pages = 0;
    std::optional<std::uint64_t> inner;
    std::uint64_t sampled = 0, sampled_inner = 0;
  };
  const bool samples = heap.layout().has(F::specialprofile_size) && heap.layout().has(F::special_next);
  std::map<std::pair<bool, std::uint32_t>, Sum> sums;
  for (const Span& s : heap.spans()) {
    if (!heap.has_objects(s) || !heap.flaw(s).empty()) continue;
    const SpanKind k = heap.kind(s);
    Sum& sum = sums[{k == SpanKind::runtime || k == SpanKind::runtime_large, s.sizeclass()}];
    sum.elem = s.elemsize;
    ++sum.spans;
    sum.partly += s.alloc_count > 0 && s.alloc_count < s.nelems;
    sum.nelems += s.nelems;
    sum.alloc += s.alloc_count;
    sum.bytes += s.alloc_count * s.elemsize;
    sum.tail += heap.bytes(s) - s.nelems * s.elemsize;
    sum.pages += s.npages;
    // The end of a large object is where it was asked to end.
    if (k == SpanKind::large && s.limit >= s.base && s.limit <= heap.end(s))
      sum.inner = sum.inner.value_or(0) + heap.end(s) - s.limit;
    if (samples && s.specials) add_samples(heap, s, sum.sampled, sum.sampled_inner);
  }
  GridRows rows(kClasses, 11, "size", "classes");
  for (auto& [key, s] : sums) {
    auto elem = key.second ? std::optional(s.elem) : std::nullopt;
    rows.add({key.second, of_text(key.first), elem, s.spans, s.partly, s.nelems, s.alloc,
              s.nelems ? std::optional((s.nelems - s.alloc) * 100 / s.nelems) : std::nullopt, s.bytes, s.tail, s.inner,
              s.pages, samples ? std::optional(s.sampled) : std::nullopt,
              s.sampled ? std::optional(s.sampled_inner) : std::nullopt});
  }
  return rows;
}

GridRows arenas_grid(HeapState& heap) {
  struct Sum {
    std::uint64_t spans = 0, used = 0, free = 0, scavenged = 0;
  };
  std::map<std::uint64_t, Sum> sums;  // by base
  for (const Arena& a : heap.arenas()) sums[a.base];
  const std::uint64_t size = heap.arena_bytes();
  for (std::size_t i = 0; i < heap.with_pages(); ++i) {
    const Span& s = heap.spans()[i];
    if (!heap.flaw(s).empty()) continue;
    const std::uint64_t first = s.base / size * size;
    for (auto it = sums.lower_bound(first); it != sums.end() && it->first < heap.end(s); ++it) {
      auto& [base, sum] = *it;
      sum.spans += base == first;
      const std::uint64_t pages = (std::min(heap.end(s), base + size) - std::max(s.base, base)) / heap.page_size();
      if (heap.kind(s) == SpanKind::free) {
        sum.free += pages;
        sum.scavenged += s.scavenged ? pages : 0;
      } else {
        sum.used += pages;
      }
    }
  }
  GridRows rows(kArenas, 7, "arena", "arenas");
  for (const Arena& a : heap.arenas()) {
    const Sum& s = sums[a.base];
    const std::uint64_t all = size / heap.page_size(), known = s.used + s.free;
    const bool listed = heap.layout().has(F::mheap_free_treap);  // else free pages are bits, and no spans
    rows.add({a.base, s.spans, s.used, listed ? std::optional(s.free) : std::nullopt,
              listed ? std::optional(s.scavenged) : std::nullopt, all - std::min(all, known),
              a.addr ? std::optional(a.addr) : std::nullopt},
             a.error);
  }
  return rows;
}

GridRows treap_grid(HeapState& heap) {
  GridRows rows(kTreap, 7, "free span", "treap");
  std::unordered_map<std::uint64_t, std::uint32_t> priorities;
  for (const TreapNode& n : heap.treap()) priorities.emplace(n.addr, n.priority);
  const TreapNode* before = nullptr;
  std::uint64_t base_before = 0;
  for (const TreapNode& n : heap.treap()) {
    std::uint32_t index = heap.at_structure(n.span);
    const Span* s = index == kNone || heap.spans()[index].unreadable ? nullptr : &heap.spans()[index];
    std::string wrong;
    auto say = [&](std::string text) { wrong += (wrong.empty() ? "" : "; ") + text; };
    if (n.error.empty()) {
      if (!s) say(fmt::format("{:#x} is no span", n.span));
      if (s && heap.kind(*s) != SpanKind::free) say(fmt::format("its span is {}", heap.state_text(*s)));
      if (s && s->npages != n.npages) say(fmt::format("its span has {} pages", s->npages));
      if (n.parent != n.reached_from) say(fmt::format("its parent is {:#x}, not {:#x}", n.reached_from, n.parent));
      auto up = priorities.find(n.reached_from);
      if (n.reached_from && up != priorities.end() && up->second > n.priority)
        say(fmt::format("its parent's priority is {}", up->second));
      const std::uint64_t base = s ? s->base : 0;
      if (before && (before->npages != n.npages ? before->npages > n.npages : base_before >= base)) say("out of order");
      before = &n;
      base_before = base;
    }
    auto link = [](std::uint64_t a) { return a ? std::optional(a) : std::nullopt; };
    rows.add({s ? std::optional(s->base) : std::nullopt, n.npages, n.depth, n.priority,
              s ? std::optional<int>(s->scavenged) : std::nullopt, wrong, n.addr, link(n.left), link(n.right)},
             n.error);
    if (!wrong.empty()) heap.session().incomplete = true;
  }
  return rows;
}

GridRows stacks_grid(HeapState& heap) {
  struct Sum {
    std::uint64_t spans = 0, slots = 0, live = 0, own = 0, dead = 0, cached = 0, free = 0, bytes = 0;
    std::uint64_t rest() const { return slots - std::min(slots, live + own + dead + cached + free); }
  };
  std::map<std::pair<std::uint64_t, bool>, Sum> sums;
  auto& uses = heap.stack_uses();
  for (std::uint32_t i = 0; i < heap.with_pages(); ++i) {
    const Span& s = heap.spans()[i];
    const bool large = heap.kind(s) == SpanKind::stack_large;
    if ((!large && heap.kind(s) != SpanKind::stack_pool) || !heap.flaw(s).empty()) continue;
    Sum& sum = sums[{s.elemsize, large}];
    ++sum.spans;
    sum.slots += s.nelems;
    sum.bytes += heap.bytes(s);
    sum.free += large ? s.list != 0 : s.nelems - s.alloc_count;
    if (auto it = uses.find(i); it != uses.end()) {
      sum.live += it->second.live;
      sum.own += it->second.own;
      sum.dead += it->second.dead;
      sum.cached += it->second.cached;
    }
  }
  GridRows rows(kStacks, 11, "size", "heap_stacks");
  for (auto& [key, s] : sums)
    rows.add({key.first, key.second ? "large" : "pool", s.spans, s.slots, s.live, s.own, s.dead, s.cached, s.free,
              s.rest(), s.bytes});
  return rows;
}

GridRows caches_grid(HeapState& heap) {
  GridRows rows(kCaches, 10, "mcache", "mcache");
  for (const HeapCache& c : heap.caches()) {
    std::uint64_t spans = 0, free = 0, bytes = 0;
    auto span = [&](std::uint64_t at) {
      std::uint32_t i = at ? heap.at_structure(at) : kNone;
      spans += at != 0;
      if (i != kNone)
        free += heap.spans()[i].nelems - std::min<std::uint64_t>(heap.spans()[i].nelems, heap.spans()[i].alloc_count);
    };
    for (std::uint64_t at : c.alloc) span(at);
    for (const auto& list : c.ahead) std::for_each(list.begin(), list.end(), span);
    for (const auto& list : c.stacks) {
      for (std::uint64_t at : list) {
        std::uint32_t i = heap.at_address(at);
        bytes += i == kNone ? 0 : heap.spans()[i].elemsize;
      }
    }
    auto p = c.processor == kNone ? std::nullopt : std::optional(heap.model().processors()[c.processor].id);
    rows.add({p, spans, free, c.tiny ? std::optional(c.tiny) : std::nullopt,
              c.tiny ? std::optional(c.tiny_offset) : std::nullopt, count_all(c.objects), count_all(c.stacks), bytes,
              c.flush_gen, c.addr},
             c.error);
  }
  return rows;
}

GridRows cache_grid(HeapState& heap, const HeapCache& c) {
  GridRows rows(kCacheParts, 7, "part", "mcache_parts");
  auto span = [&](const char* what, std::uint32_t i, std::uint64_t addr) {
    std::uint32_t at = heap.at_structure(addr);
    if (at == kNone || heap.spans()[at].unreadable) {
      rows.add({what, i >> 1, Cell(), Cell(), Cell(), i & 1, Cell()},
               fmt::format("{:#x} is no span that can be read", addr));
      return;
    }
    const Span& s = heap.spans()[at];
    rows.add({what, i >> 1, s.elemsize, s.nelems - std::min<std::uint64_t>(s.nelems, s.alloc_count), s.nelems, i & 1,
              s.base},
             heap.flaw(s));
  };
  for (std::uint32_t i = 0; i < c.alloc.size(); ++i) {
    if (c.alloc[i]) span("span", i, c.alloc[i]);
    if (i >= c.ahead.size()) continue;
    for (std::size_t k = c.ahead[i].size(); k-- > 0;) span("ahead", i, c.ahead[i][k]);
  }
  for (bool stack : {false, true}) {
    const auto& lists = stack ? c.stacks : c.objects;
    for (std::uint32_t i = 0; i < lists.size(); ++i) {
      if (lists[i].empty()) continue;
      std::uint32_t at = heap.at_address(lists[i].back());
      rows.add({stack ? "stacks" : "objects", i, at == kNone ? std::nullopt : std::optional(heap.spans()[at].elemsize),
                lists[i].size(), Cell(), Cell(), lists[i].back()});
    }
  }
  return rows;
}

GridRows centrals_grid(HeapState& heap) {
  std::map<std::pair<bool, std::uint32_t>, CentralSum> sums;
  for (const Span& s : heap.spans()) {
    const ListName on = s.unreadable ? ListName{} : heap.list_at(s.list);
    const bool own = on.kind == ListKind::runtime_empty || on.kind == ListKind::runtime_nonempty;
    if (!own && on.kind != ListKind::central_empty && on.kind != ListKind::central_nonempty) continue;
    CentralSum& sum = sums[{own, on.index}];
    const bool nonempty = on.kind == ListKind::runtime_nonempty || on.kind == ListKind::central_nonempty;
    sum.elem = s.elemsize;
    ++(nonempty ? sum.nonempty : sum.empty);
    sum.cached += s.incache;
    if (nonempty) sum.free += s.nelems - std::min<std::uint64_t>(s.nelems, s.alloc_count);
  }
  GridRows rows(kCentral, 10, "mcentral", "mcentral");
  for (bool own : {false, true}) {
    const std::size_t n = own ? heap.runtime_count() : heap.central_count();
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint64_t at = heap.central(i, own);
      auto nmalloc = heap.get(at, F::mcentral_nmalloc), nfree = heap.get(at, F::mcentral_nfree);
      auto it = sums.find({own, i});
      if (it == sums.end() && !nmalloc.value_or(0)) continue;  // nobody ever asked it for anything
      const CentralSum s = it == sums.end() ? CentralSum{} : it->second;
      auto lock = heap.get(at, F::mcentral_lock);
      rows.add({own ? i : i >> 1, of_text(own), own ? Cell() : Cell(i & 1), s.elem, s.nonempty, s.empty, s.cached,
                s.free, nmalloc, nfree, lock ? std::optional<int>(*lock != 0) : std::nullopt, at});
    }
  }
  return rows;
}

GridRows central_grid(HeapState& heap, std::uint64_t sizeclass) {
  GridRows rows(kCentralParts, 7, "span", "mcentral_parts");
  auto list = [&](ListKind kind, std::uint32_t index) {
    ListWalk walk = heap.walk({kind, index});
    for (std::uint64_t at : walk.items) {
      const Span& s = heap.spans()[heap.at_structure(at)];
      rows.add({heap.list_text({kind, index}), s.base, s.npages, s.alloc_count, s.nelems, heap.sweep_text(s),
                heap.owner_text(s)},
               heap.flaw(s));
    }
    if (!walk.problem.empty()) rows.warnings.push_back(walk.problem);
  };
  for (std::uint32_t noscan : {0u, 1u}) {
    const auto index = static_cast<std::uint32_t>(sizeclass << 1 | noscan);
    if (index >= heap.central_count()) continue;
    list(ListKind::central_nonempty, index);
    list(ListKind::central_empty, index);
  }
  if (sizeclass < heap.runtime_count()) {
    list(ListKind::runtime_nonempty, static_cast<std::uint32_t>(sizeclass));
    list(ListKind::runtime_empty, static_cast<std::uint32_t>(sizeclass));
  }
  return rows;
}

}  // namespace vitrine::inspect
