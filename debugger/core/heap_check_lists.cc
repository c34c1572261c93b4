// heap_check_lists.cc: see heap_check.h: the treap, the lists, mcaches, and stacks against goroutines.
#include <fmt/format.h>

#include <unordered_set>

#include "heap_check.h"

namespace vitrine::inspect {

// In order of (pages, address); no child has a lesser priority; links and keys fit; it has all free spans and no other.
void HeapCheck::treap() {
  const auto& nodes = heap_.treap();
  std::unordered_map<std::uint64_t, std::uint32_t> at;
  for (std::uint32_t i = 0; i < nodes.size(); ++i) at.emplace(nodes[i].addr, i);
  std::unordered_set<std::uint64_t> spans;
  const TreapNode* before = nullptr;
  const Span* span_before = nullptr;
  for (const TreapNode& n : nodes) {
    auto name = [&] { return fmt::format("treap node {:#x}", n.addr); };
    if (!expect(n.error.empty(), "treap", heap_lock(), [&] { return Text{name(), "a node, once", n.error}; })) continue;
    expect(n.parent == n.reached_from, "treap links", heap_lock(), [&] {
      return Text{name(), fmt::format("parent {:#x}", n.reached_from), fmt::format("{:#x}", n.parent)};
    });
    if (auto up = at.find(n.reached_from); n.reached_from && up != at.end()) {
      const std::uint32_t above = nodes[up->second].priority;
      expect(above <= n.priority, "treap priority", heap_lock(), [&] {
        return Text{name(), fmt::format("at least its parent's, {}", above), std::to_string(n.priority)};
      });
    }
    std::uint32_t index = heap_.at_structure(n.span);
    const Span* s = index == kNone || heap_.spans()[index].unreadable ? nullptr : &heap_.spans()[index];
    if (!expect(s != nullptr, "treap span", heap_lock(), [&] {
          return Text{name(), "a span of the heap", fmt::format("{:#x}", n.span)};
        }))
      continue;
    expect(spans.insert(n.span).second, "treap span", heap_lock(), [&] {
      return Text{name(), "a span that no other node has", fmt::format("span {:#x}", s->base)};
    });
    expect(heap_.kind(*s) == SpanKind::free, "treap span", heap_lock(), [&] {
      return Text{name(), "a free span", fmt::format("span {:#x}, {}", s->base, heap_.state_text(*s))};
    });
    expect(n.npages == s->npages, "treap key", heap_lock(), [&] {
      return Text{name(), fmt::format("{} pages", s->npages), std::to_string(n.npages)};
    });
    if (before) {
      const bool ordered = before->npages != n.npages ? before->npages < n.npages : span_before->base < s->base;
      expect(ordered, "treap order", heap_lock(), [&] {
        return Text{name(), fmt::format("after ({}, {:#x})", before->npages, span_before->base),
                    fmt::format("({}, {:#x})", n.npages, s->base)};
      });
    }
    before = &n;
    span_before = s;
  }
  if (!layout_.has(F::mheap_free_treap)) return;
  for (std::size_t i = 0; i < heap_.with_pages(); ++i) {
    const Span& s = heap_.spans()[i];
    if (heap_.kind(s) != SpanKind::free) continue;
    expect(spans.count(s.addr) != 0, "treap span", heap_lock(), [&] {
      return Text{fmt::format("span {:#x}", s.base), "in the treap, as it is free", "not in it"};
    });
  }
}

// What list a span says it is on, by what it is.
void HeapCheck::membership(const Span& s) {
  if (!layout_.has(F::mspan_list)) return;
  if (s.list) ++claimed_[s.list];
  const ListName on = heap_.list_at(s.list);
  auto text = [&] {
    return s.list == 0                 ? std::string("on none")
           : on.kind == ListKind::none ? fmt::format("{:#x}, no list", s.list)
                                       : heap_.list_text(on);
  };
  // What is expected is a list, or said in words.
  auto wanted = [&](bool ok, ListName list, std::string_view words, const Guard& guard) {
    expect(ok, "list", guard, [&] {
      return Text{fmt::format("span {:#x}", s.base), words.empty() ? heap_.list_text(list) : std::string(words),
                  text()};
    });
  };
  auto is = [&](ListKind k, std::uint32_t index) { return on.kind == k && on.index == index; };
  const bool full = s.alloc_count == s.nelems;
  switch (heap_.kind(s)) {
    case SpanKind::small: {
      const Guard guard = list_lock({ListKind::central_nonempty, s.spanclass});
      const HeapCache* cache = heap_.cache_of(s.addr);
      const bool empty = full || s.incache;
      const ListKind list = empty ? ListKind::central_empty : ListKind::central_nonempty;
      wanted(is(list, s.spanclass), {list, s.spanclass}, {}, guard);
      expect((cache != nullptr) == s.incache, "incache", {0, {}, cache}, [&] {
        return Text{fmt::format("span {:#x}", s.base), s.incache ? "in an mcache" : "in none",
                    cache ? "in that of " + heap_.cache_name(*cache) : "in none"};
      });
      const std::int32_t ahead = static_cast<std::int32_t>(s.sweepgen - heap_.sweepgen());
      const bool known = s.incache ? ahead == 1 || ahead == 3 : ahead >= -2 && ahead <= 0;
      expect(known, "sweepgen", guard, [&] {
        return Text{fmt::format("span {:#x}", s.base),
                    fmt::format("{} of {}", s.incache ? "+1 or +3" : "-2 to 0", heap_.sweepgen()),
                    std::to_string(s.sweepgen)};
      });
      break;
    }
    case SpanKind::runtime: {
      const ListKind list = full ? ListKind::runtime_empty : ListKind::runtime_nonempty;
      wanted(is(list, s.sizeclass()), {list, s.sizeclass()}, {},
             list_lock({ListKind::runtime_nonempty, s.sizeclass()}));
      break;
    }
    case SpanKind::stack_pool:
      wanted(s.alloc_cache ? is(ListKind::pool, s.spanclass) : s.list == 0, {ListKind::pool, s.spanclass},
             s.alloc_cache ? "" : "on none, it has no free stack", list_lock({ListKind::pool, s.spanclass}));
      break;
    case SpanKind::stack_large:
      wanted(s.list == 0 || on.kind == ListKind::large, {}, "stackLarge, or none", list_lock({ListKind::large, 0}));
      break;
    default:
      wanted(s.list == 0, {}, "on none", heap_lock());
  }
}

void HeapCheck::list(ListName name) {
  const Guard guard = list_lock(name);
  const std::uint64_t head = heap_.list_address(name);
  ListWalk walk = heap_.walk(name);
  expect(walk.problem.empty(), "list walk", guard, [&] { return Text{heap_.list_text(name), "an end", walk.problem}; });
  std::uint64_t before = 0;
  for (std::uint64_t at : walk.items) {
    const Span& s = heap_.spans()[heap_.at_structure(at)];
    auto where = [&] { return fmt::format("span {:#x}", s.base); };
    expect(s.list == head, "list", guard, [&] {
      return Text{where(), heap_.list_text(name) + ", where it is", heap_.list_text(heap_.list_at(s.list))};
    });
    expect(s.prev == before, "list links", guard, [&] {
      return Text{where(), fmt::format("prev {:#x}", before), fmt::format("{:#x}", s.prev)};
    });
    const SpanKind k = heap_.kind(s);
    const bool own = name.kind == ListKind::runtime_empty || name.kind == ListKind::runtime_nonempty;
    const bool ok = name.kind == ListKind::pool    ? k == SpanKind::stack_pool && s.spanclass == name.index
                    : name.kind == ListKind::large ? k == SpanKind::stack_large
                    : own                          ? k == SpanKind::runtime && s.sizeclass() == name.index
                                                   : k == SpanKind::small && s.spanclass == name.index;
    expect(ok, "list member", guard, [&] {
      return Text{where(), "what belongs on " + heap_.list_text(name),
                  fmt::format("{}, {}", heap_.state_text(s), heap_.owner_text(s))};
    });
    before = at;
  }
  if (!walk.problem.empty()) return;
  auto last = heap_.get(head, F::mSpanList_last);
  if (last)
    expect(*last == before, "list links", guard, [&] {
      return Text{heap_.list_text(name), fmt::format("last {:#x}", before), fmt::format("{:#x}", *last)};
    });
  auto it = claimed_.find(head);
  const std::uint64_t claims = it == claimed_.end() ? 0 : it->second;
  expect(claims == walk.items.size(), "list", guard, [&] {
    return Text{heap_.list_text(name), fmt::format("{} spans, as many as say so", claims),
                std::to_string(walk.items.size())};
  });
}

void HeapCheck::lists() {
  if (!layout_.has(F::mSpanList_first) || !layout_.has(F::mspan_list)) return;
  for (std::uint32_t i = 0; i < heap_.central_count(); ++i) {
    list({ListKind::central_nonempty, i});
    list({ListKind::central_empty, i});
  }
  for (std::uint32_t i = 0; i < heap_.runtime_count(); ++i) {
    list({ListKind::runtime_nonempty, i});
    list({ListKind::runtime_empty, i});
  }
  if (layout_.root(Root::stackpool)) {
    for (std::uint32_t i = 0; i < heap_.pool_count(); ++i) list({ListKind::pool, i});
  }
  if (layout_.root(Root::stackLarge)) {
    for (std::uint32_t i = 0; i < heap_.large_count(); ++i) list({ListKind::large, i});
  }
}

// What mcaches have: spans of the right class that one of them has; objects and stacks that their spans count as
// allocated, each once.
void HeapCheck::caches() {
  std::unordered_map<std::uint64_t, const HeapCache*> spans, slots;
  for (const HeapCache& c : heap_.caches()) {
    const Guard guard{heap_.root() + layout_.place(F::mheap_mcache0lock).offset, "the lock for who has no P", &c};
    const std::string name = "mcache of " + heap_.cache_name(c);
    expect(c.error.empty(), "mcache", guard, [&] { return Text{name, "readable", c.error}; });
    // i: its class; fresh: nobody has taken anything from it.
    auto span = [&](std::uint64_t at, std::size_t i, bool fresh) {
      std::uint32_t index = heap_.at_structure(at);
      const Span* s = index == kNone || heap_.spans()[index].unreadable ? nullptr : &heap_.spans()[index];
      const bool ok = s && heap_.kind(*s) == SpanKind::small && s->spanclass == i;
      expect(ok, "mcache span", guard, [&] {
        return Text{fmt::format("{}, span class {}", name, i), "a span of that class",
                    !s ? fmt::format("{:#x}", at)
                       : fmt::format("span {:#x}, {}, span class {}", s->base, heap_.state_text(*s), s->spanclass)};
      });
      if (ok && fresh)
        expect(s->alloc_count == 0, "mcache span", guard, [&] {
          return Text{fmt::format("{}, span {:#x} ahead", name, s->base), "without objects",
                      std::to_string(s->alloc_count)};
        });
      auto [it, once] = spans.emplace(at, &c);
      expect(once, "mcache span", guard, [&] {
        return Text{name, "spans that nobody else has",
                    fmt::format("{:#x}, which {} has too", at, heap_.cache_name(*it->second))};
      });
    };
    for (std::size_t i = 0; i < c.alloc.size(); ++i) {
      if (c.alloc[i]) span(c.alloc[i], i, false);
    }
    for (std::size_t i = 0; i < c.ahead.size(); ++i) {
      for (std::uint64_t at : c.ahead[i]) span(at, i, true);
    }
    cached_objects(c);
    cached_stacks(c);
    for (const auto* all : {&c.objects, &c.stacks}) {
      for (const auto& list : *all) {
        for (std::uint64_t at : list) {
          auto [it, fresh] = slots.emplace(at, &c);
          expect(fresh, "mcache slot", guard, [&] {
            return Text{fmt::format("{}, {:#x}", name, at), "once",
                        fmt::format("twice, also in that of {}", heap_.cache_name(*it->second))};
          });
        }
      }
    }
  }
}

void HeapCheck::cached_objects(const HeapCache& c) {
  for (std::uint32_t sc = 0; sc < c.objects.size(); ++sc) {
    for (std::uint64_t at : c.objects[sc]) {
      std::uint32_t index = heap_.at_address(at);
      const Span* s = index == kNone ? nullptr : &heap_.spans()[index];
      const bool ours = s && heap_.kind(*s) == SpanKind::runtime && s->sizeclass() == sc && s->elemsize &&
                        (at - s->base) % s->elemsize == 0;
      auto name = [&] { return fmt::format("mcache of {}, {:#x}", heap_.cache_name(c), at); };
      if (!expect(ours, "mcache object", {0, {}, &c}, [&] {
            return Text{name(), fmt::format("an object of the runtime of class {}", sc),
                        s ? heap_.owner_text(*s) : std::string("in no span")};
          }))
        continue;
      std::string error;
      const std::uint64_t i = (at - s->base) / s->elemsize;
      std::vector<std::byte> bits = heap_.bits(s->alloc_bits, heap_.nelems(*s), error);
      expect(HeapState::bit(bits, i), "mcache object", {0, {}, &c}, [&] {
        return Text{name(), "allocated, by its span's bits", error.empty() ? "free" : error};
      });
    }
  }
}

void HeapCheck::cached_stacks(const HeapCache& c) {
  for (std::uint32_t order = 0; order < c.stacks.size(); ++order) {
    for (std::uint64_t at : c.stacks[order]) {
      std::uint32_t index = heap_.at_address(at);
      const Span* s = index == kNone ? nullptr : &heap_.spans()[index];
      const bool ours = s && heap_.kind(*s) == SpanKind::stack_pool && s->spanclass == order && s->elemsize &&
                        (at - s->base) % s->elemsize == 0;
      auto name = [&] { return fmt::format("mcache of {}, {:#x}", heap_.cache_name(c), at); };
      if (!expect(ours, "mcache stack", {0, {}, &c}, [&] {
            return Text{name(), fmt::format("a stack of order {}", order),
                        s ? heap_.owner_text(*s) : std::string("in no span")};
          }))
        continue;
      const std::uint64_t i = (at - s->base) / s->elemsize;
      expect(i >= 64 || !(s->alloc_cache >> i & 1), "mcache stack", {0, {}, &c}, [&] {
        return Text{name(), "taken from its span", "free in its span too"};
      });
    }
  }
}

// Each goroutine's stack is a slot of its own that is neither free nor cached; no slot is taken by nobody.
void HeapCheck::stacks() {
  const Model& model = heap_.model();
  std::unordered_map<std::uint64_t, std::uint64_t> slots;  // base → goid
  for (const Goroutine& g : model.goroutines()) {
    if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || !g.stack_size) continue;
    std::uint32_t index = heap_.at_address(g.stack_hi() - 1);
    if (index == kNone) continue;  // a stack of somebody else's: the first thread's, say
    const Span& s = heap_.spans()[index];
    const SpanKind k = heap_.kind(s);
    const std::string name = fmt::format("stack of goroutine {}", g.goid);
    const Guard guard = list_lock({ListKind::pool, k == SpanKind::stack_pool ? s.spanclass : 0u});
    if (!expect((k == SpanKind::stack_pool || k == SpanKind::stack_large) && s.elemsize, "stack", guard, [&] {
          return Text{name, "in a span of stacks", fmt::format("span {:#x}, {}", s.base, heap_.owner_text(s))};
        }))
      continue;
    const std::uint64_t i = (g.stack_hi() - 1 - s.base) / s.elemsize, base = s.base + i * s.elemsize;
    expect(g.stack_hi() == base + s.elemsize && g.stack_lo >= base, "stack", guard, [&] {
      return Text{name, fmt::format("{:#x}-{:#x}", base, base + s.elemsize),
                  fmt::format("{:#x}-{:#x}", g.stack_lo, g.stack_hi())};
    });
    const bool free = k == SpanKind::stack_large ? s.list != 0 : i < 64 && (s.alloc_cache >> i & 1);
    expect(!free, "stack", guard, [&] { return Text{name, "taken from its span", "free in it"}; });
    const HeapCache* cache = heap_.cache_with(base);
    expect(!cache, "stack", {0, {}, cache}, [&] {
      return Text{name, "in no cache of free stacks", "in that of " + heap_.cache_name(*cache)};
    });
    auto [it, fresh] = slots.emplace(base, g.goid);
    expect(fresh, "stack", guard, [&] {
      return Text{name, "its own", fmt::format("that of goroutine {} as well", it->second)};
    });
  }
  auto& uses = heap_.stack_uses();
  for (std::uint32_t i = 0; i < heap_.with_pages(); ++i) {
    const Span& s = heap_.spans()[i];
    if (heap_.kind(s) != SpanKind::stack_pool) continue;
    auto it = uses.find(i);
    const std::uint64_t used = it == uses.end() ? 0 : it->second.live + it->second.dead + it->second.cached;
    expect(used == s.alloc_count, "stack", list_lock({ListKind::pool, s.spanclass}), [&] {
      return Text{fmt::format("span {:#x}", s.base), fmt::format("{} stacks that somebody has", s.alloc_count),
                  std::to_string(used)};
    });
  }
}

}  // namespace vitrine::inspect
