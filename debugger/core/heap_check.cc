// heap_check.cc: see heap_check.h: evidence that something is on its way; each span by itself and with its neighbours;
// the statistics. Lists, caches, the treap and stacks are in heap_check_lists.cc.
#include "heap_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "heap_movers.h"

namespace vitrine::inspect {
namespace {

std::string span_name(const Span& s) { return fmt::format("span {:#x}", s.unreadable ? s.addr : s.base); }

}  // namespace

HeapCheck::HeapCheck(HeapState& heap, SchedState& sched)
    : heap_(heap),
      sched_(sched),
      layout_(heap.layout()),
      taken_(heap.central_count()),
      raw_taken_(heap.runtime_count()) {}

HeapChecked HeapCheck::run() {
  for (const Actor& a : sched_.actors()) names_known_ = names_known_ || !a.functions.empty();
  span_checks();
  treap();
  lists();
  caches();
  stacks();
  statistics();
  pointers();
  result_.cancelled = heap_.session().cancelled();
  return std::move(result_);
}

// ---- who is at it

HeapCheck::Guard HeapCheck::heap_lock() const {
  return {heap_.root() + layout_.place(F::mheap_lock).offset, "the heap's lock", nullptr};
}

HeapCheck::Guard HeapCheck::list_lock(ListName name) const {
  return {heap_.lock_address(name), "the list's lock", nullptr};
}

std::string HeapCheck::inside(std::uint32_t machine, std::span<const std::string_view> names) {
  for (const Actor& a : sched_.actors()) {
    if (a.asleep || (machine != kNone && a.machine != machine)) continue;
    for (std::size_t i = 0; i < a.functions.size(); ++i) {
      if (std::find(names.begin(), names.end(), a.functions[i]) != names.end())
        return fmt::format("{} is in {}", sched_.actor_name(a), a.qualified[i]);
    }
  }
  return {};
}

// Who may hold a lock says more than who only allocates.
std::string HeapCheck::inside(std::uint32_t machine) {
  std::string who = inside(machine, movers::kHeapLocked);
  return who.empty() ? inside(machine, movers::kHeapUnlocked) : who;
}

std::string HeapCheck::transition(const Guard& guard) {
  if (guard.lock && layout_.has(F::mheap_lock)) {
    auto key = heap_.session().memory().get<std::uint32_t>(guard.lock);
    if (key && *key) {
      std::string who = inside(kNone);
      if (!who.empty()) return fmt::format("{} is held; {}", guard.which, who);
      for (const Actor& a : sched_.actors()) {
        if (!a.asleep && !a.functions.empty())
          return fmt::format("{} is held; {} is in {}", guard.which, sched_.actor_name(a), a.qualified.front());
      }
      if (!names_known_) return fmt::format("{} is held", guard.which);
    }
  }
  if (guard.cache && guard.cache->processor != kNone) {
    std::uint32_t m = sched_.machine_at(heap_.model().processors()[guard.cache->processor].m);
    std::string who = m == kNone ? std::string() : inside(m);
    return who.empty() ? inside(kNone, movers::kAnyCache) : who;
  }
  return inside(kNone);
}

void HeapCheck::say(const char* check, const Guard& guard, Text text) {
  ++result_.found;
  std::string who = transition(guard);
  if (who.empty()) ++result_.violations;
  if (result_.findings.size() < kMaxFindings)
    result_.findings.push_back(
        {std::move(text.where), check, std::move(text.expected), std::move(text.got), std::move(who)});
}

// ---- spans

void HeapCheck::span_checks() {
  const Span* before = nullptr;
  std::size_t n = 0;
  for (const Span& s : heap_.spans()) {
    if (++n % 4096 == 0 && heap_.session().cancelled()) return;
    const SpanKind k = heap_.kind(s);
    if (k == SpanKind::dead) {
      expect(s.list == 0, "list", heap_lock(), [&] {
        return Text{fmt::format("mspan {:#x} without pages", s.addr), "on no list", fmt::format("{:#x}", s.list)};
      });
      continue;
    }
    std::string flaw = heap_.flaw(s);
    const bool sound = expect(flaw.empty(), "numbers", heap_lock(), [&] {
      return Text{span_name(s), "believable", flaw};
    });
    if (!sound && (k == SpanKind::unreadable || !s.npages || heap_.bytes(s) > 1ull << 46)) continue;
    neighbours(s, before);
    before = &s;
    pages_of(s);
    if (sound) {
      objects_of(s);
      marks_of(s);
    }
    membership(s);
    const std::uint64_t bytes = heap_.bytes(s);
    switch (k) {
      case SpanKind::free:
        sums_.idle += bytes;
        sums_.released += s.scavenged ? bytes : 0;
        ++sums_.free_spans;
        break;
      case SpanKind::small:
      case SpanKind::large:
        sums_.inuse += bytes;
        sums_.pages += s.npages;
        break;
      case SpanKind::stack_pool:
      case SpanKind::stack_large:
        sums_.stacks += bytes;
        break;
      case SpanKind::runtime:
      case SpanKind::runtime_large:
        sums_.runtime += bytes;
        break;
      default:
        sums_.other += bytes;
    }
  }
  bits_of_no_span();
}

const std::vector<std::uint64_t>* HeapCheck::table(std::uint64_t arena) {
  auto [it, fresh] = tables_.try_emplace(arena);
  if (fresh) {
    const Arena* in = nullptr;
    for (const Arena& a : heap_.arenas()) {
      if (a.base == arena) in = &a;
    }
    Table& t = it->second;
    const FieldPlace &spans = layout_.place(F::heapArena_spans), &in_use = layout_.place(F::heapArena_pageInUse);
    t.spans.resize(spans.size / 8);
    t.in_use.resize(in_use.size);
    Memory& memory = heap_.session().memory();
    bool ok = in && in->addr && memory.read(in->addr + spans.offset, std::as_writable_bytes(std::span(t.spans)));
    if (!ok) t.spans.clear();
    if (!ok || !memory.read(in->addr + in_use.offset, t.in_use)) t.in_use.clear();
    expect(ok, "arena", heap_lock(), [&] {
      return Text{fmt::format("arena {:#x}", arena), "its table of spans",
                  !in        ? "not in the list of arenas"
                  : in->addr ? "unreadable"
                             : "not in the index"};
    });
    // Every entry is a span of ours; stale ones in free spans are as well.
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < t.spans.size(); ++i) {
      if (t.spans[i] == last || !t.spans[i]) continue;
      last = t.spans[i];
      expect(heap_.at_structure(last) != kNone, "spans map", heap_lock(), [&] {
        return Text{fmt::format("page {:#x}", arena + i * heap_.page_size()), "a span of the list of all",
                    fmt::format("{:#x}", last)};
      });
    }
  }
  return it->second.spans.empty() ? nullptr : &it->second.spans;
}

// Its pages point to it: all of them, or of a free one the first and the last.
void HeapCheck::pages_of(const Span& s) {
  const bool free = heap_.kind(s) == SpanKind::free;
  for (std::uint64_t i = 0; i < s.npages; ++i) {
    if (free && i != 0) i = s.npages - 1;
    const std::uint64_t at = s.base + i * heap_.page_size(), arena = at / heap_.arena_bytes() * heap_.arena_bytes();
    const auto* spans = table(arena);
    if (!spans) return;
    const std::uint64_t said = (*spans)[(at - arena) / heap_.page_size()];
    if (!expect(said == s.addr, "spans map", heap_lock(), [&] {
          return Text{fmt::format("page {:#x}", at), fmt::format("{:#x} ({})", s.addr, span_name(s)),
                      fmt::format("{:#x}", said)};
        }))
      break;
    if (i != 0 || !layout_.has(F::heapArena_pageInUse)) continue;
    const SpanKind k = heap_.kind(s);
    const bool wanted = k == SpanKind::small || k == SpanKind::large;
    const bool bit = HeapState::bit(tables_[arena].in_use, (at - arena) / heap_.page_size());
    tables_[arena].bits += bit;
    expect(bit == wanted, "pageInUse", heap_lock(), [&] {
      return Text{span_name(s), wanted ? "1" : "0", bit ? "1" : "0"};
    });
  }
}

// No bit where no span begins, and what no span has yet is above all of them.
void HeapCheck::bits_of_no_span() {
  for (const auto& [arena, t] : tables_) {
    std::uint64_t set = 0;
    for (std::byte b : t.in_use) set += static_cast<std::uint64_t>(std::popcount(std::to_integer<unsigned>(b)));
    if (set == t.bits) continue;
    for (std::size_t i = 0; i < std::min(t.in_use.size() * 8, t.spans.size()); ++i) {
      if (!HeapState::bit(t.in_use, i)) continue;
      const std::uint64_t page = arena + i * heap_.page_size();
      const std::uint32_t span = heap_.at_structure(t.spans[i]);
      if (span != kNone && (heap_.spans()[span].base == page || !heap_.flaw(heap_.spans()[span]).empty())) continue;
      expect(false, "pageInUse", heap_lock(), [&] {
        return Text{fmt::format("page {:#x}", page), "0, as no span begins here", "1"};
      });
    }
  }
  auto base = heap_.word(F::mheap_curArena_base), end = heap_.word(F::mheap_curArena_end);
  if (!base || !end || *base >= *end) return;
  const std::uint32_t span = heap_.at_address(*base);
  expect(span == kNone, "overlap", heap_lock(), [&] {
    return Text{"curArena", "memory that no span has",
                fmt::format("{:#x}, in {}", *base, span_name(heap_.spans()[span]))};
  });
}

// Spans do not lie over each other, and free ones are merged with free neighbours of their kind.
void HeapCheck::neighbours(const Span& s, const Span* before) {
  if (!before) return;
  expect(heap_.end(*before) <= s.base, "overlap", heap_lock(), [&] {
    return Text{span_name(s), fmt::format("at {:#x} or above", heap_.end(*before)), fmt::format("{:#x}", s.base)};
  });
  const bool apart = heap_.kind(*before) != SpanKind::free || heap_.kind(s) != SpanKind::free ||
                     heap_.end(*before) != s.base || before->scavenged != s.scavenged;
  expect(apart, "coalescing", heap_lock(), [&] {
    return Text{span_name(s), "merged with " + span_name(*before), s.scavenged ? "both free, scavenged" : "both free"};
  });
}

// allocCount is what the bits say; nothing before freeindex is free; allocCache is the rest of the bits turned over.
void HeapCheck::objects_of(const Span& s) {
  const SpanKind k = heap_.kind(s);
  if (k == SpanKind::free || k == SpanKind::other) return;
  Guard guard = heap_lock();
  const HeapCache* cache = k == SpanKind::small ? heap_.cache_of(s.addr) : nullptr;
  if (cache) guard = {heap_.root() + layout_.place(F::mheap_mcache0lock).offset, "the lock for who has no P", cache};
  if (k == SpanKind::runtime) guard = list_lock({ListKind::runtime_nonempty, s.sizeclass()});
  if (k == SpanKind::stack_pool) guard = list_lock({ListKind::pool, s.spanclass});
  if (k == SpanKind::stack_large) guard = list_lock({ListKind::large, 0});
  auto size = [&](std::string_view what, std::uint64_t expected, std::uint64_t got) {
    expect(expected == got, "elemsize", guard, [&] {
      return Text{span_name(s), fmt::format("{} ({})", expected, what), std::to_string(got)};
    });
  };
  if (heap_.has_objects(s) && s.sizeclass()) {
    auto [it, fresh] = sizes_.try_emplace(s.sizeclass(), s.elemsize, s.base);
    if (!fresh) size(fmt::format("as span {:#x}", it->second.second), it->second.first, s.elemsize);
  }
  if (k == SpanKind::large || k == SpanKind::runtime_large) {
    expect(s.alloc_count == 1, "allocCount", guard, [&] {
      return Text{span_name(s), "1", std::to_string(s.alloc_count)};
    });
    return;
  }
  std::string error;
  std::uint64_t counted = 0;
  if (k == SpanKind::stack_pool) {
    counted = s.nelems - std::min<std::uint64_t>(s.nelems, static_cast<std::uint64_t>(std::popcount(s.alloc_cache)));
  } else if (k == SpanKind::stack_large) {
    counted = s.list == 0;
  } else {
    std::vector<std::byte> bits = heap_.bits(s.alloc_bits, (s.nelems + 63) / 64 * 64, error);
    if (!expect(error.empty(), "allocBits", guard, [&] { return Text{span_name(s), "readable", error}; })) return;
    for (std::uint64_t i = 0; i < s.nelems; ++i)
      counted += HeapState::bit(bits, i) || (k == SpanKind::small && i < s.freeindex);
    if (k == SpanKind::runtime) {
      std::uint64_t i = 0;
      while (i < s.freeindex && HeapState::bit(bits, i)) ++i;
      expect(i == s.freeindex, "freeindex", guard, [&] {
        return Text{span_name(s), fmt::format("no free object before {}", s.freeindex), fmt::format("{} is free", i)};
      });
    }
    if (cache && s.freeindex < s.nelems) {
      const std::uint64_t valid = 64 - s.freeindex % 64;
      std::uint64_t wanted = 0;
      for (std::uint64_t i = 0; i < valid; ++i) wanted |= std::uint64_t{!HeapState::bit(bits, s.freeindex + i)} << i;
      expect(wanted == s.alloc_cache, "allocCache", guard, [&] {
        return Text{span_name(s), fmt::format("{:#x}", wanted), fmt::format("{:#x}", s.alloc_cache)};
      });
    }
    auto& taken = k == SpanKind::small ? taken_ : raw_taken_;
    const std::size_t index = k == SpanKind::small ? s.spanclass : s.sizeclass();
    if (index < taken.size()) taken[index] += s.incache && k == SpanKind::small ? s.nelems : s.alloc_count;
  }
  expect(counted == s.alloc_count, "allocCount", guard, [&] {
    return Text{span_name(s), fmt::format("{} (by its bits)", counted), std::to_string(s.alloc_count)};
  });
}

// ---- what is counted

void HeapCheck::statistics() {
  if (result_.cancelled || heap_.session().cancelled()) return;
  auto same = [&](const char* name, std::optional<std::uint64_t> said, std::uint64_t counted) {
    if (!said) return;
    expect(*said == counted, "statistics", heap_lock(), [&] {
      return Text{name, fmt::format("{} (by a walk)", counted), std::to_string(*said)};
    });
  };
  same("heap_idle", heap_.stat(F::mstats_heap_idle), sums_.idle);
  same("heap_inuse", heap_.stat(F::mstats_heap_inuse), sums_.inuse);
  same("heap_released", heap_.stat(F::mstats_heap_released), sums_.released);
  same("stacks_inuse", heap_.stat(F::mstats_stacks_inuse), sums_.stacks);
  same("runtime_inuse", heap_.stat(F::mstats_runtime_inuse), sums_.runtime);
  same("manual_inuse", heap_.stat(F::mstats_manual_inuse), sums_.other);
  same("heap_sys", heap_.stat(F::mstats_heap_sys),
       sums_.idle + sums_.inuse + sums_.stacks + sums_.runtime + sums_.other);
  same("pagesInUse", heap_.word(F::mheap_pagesInUse), sums_.pages);
  const auto dead = static_cast<std::uint64_t>(std::count_if(
      heap_.spans().begin(), heap_.spans().end(), [&](const Span& s) { return heap_.kind(s) == SpanKind::dead; }));
  same("spanalloc.inuse", heap_.word(F::mheap_spanalloc_inuse),
       (heap_.spans().size() - dead) * ((layout_.size_of("mspan") + 7) / 8 * 8));
  same("treapalloc.inuse", heap_.word(F::mheap_treapalloc_inuse),
       sums_.free_spans * ((layout_.size_of("treapNode") + 7) / 8 * 8));
  // Objects taken from each class. Until objects are swept none comes back to a collected span's class.
  for (bool own : {false, true}) {
    const auto& taken = own ? raw_taken_ : taken_;
    for (std::uint32_t i = 0; i < taken.size(); ++i) {
      const std::uint64_t at = heap_.central(i, own);
      auto nmalloc = heap_.get(at, F::mcentral_nmalloc), nfree = heap_.get(at, F::mcentral_nfree);
      if (!nmalloc || !nfree) continue;
      const ListName name{own ? ListKind::runtime_nonempty : ListKind::central_nonempty, i};
      expect(own ? *nmalloc - *nfree == taken[i] : *nmalloc >= taken[i], "statistics", list_lock(name), [&] {
        return Text{heap_.list_text(name) + "'s nmalloc",
                    fmt::format("{}{} (by a walk)", own ? "" : "at least ", taken[i]),
                    own ? fmt::format("{} less {} freed", *nmalloc, *nfree) : std::to_string(*nmalloc)};
      });
    }
  }
}

}  // namespace vitrine::inspect
