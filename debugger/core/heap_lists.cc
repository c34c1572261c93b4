// heap_lists.cc: the parts of heap_state.h beside the spans: mcaches, the lists of mcentrals and stack pools, arenas,
// the treap.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "heap_state.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMaxArenas = 1 << 22;
constexpr std::size_t kMaxNodes = 1 << 26;

std::uint64_t u64_at(const std::vector<std::byte>& bytes, std::uint64_t at) {
  std::uint64_t v = 0;
  if (at + 8 <= bytes.size()) std::memcpy(&v, bytes.data() + at, 8);
  return v;
}

constexpr std::size_t kMaxCached = 1 << 16;

}  // namespace

// ---- mcaches

void HeapState::read_cache(std::uint64_t addr, std::uint32_t processor) {
  HeapCache c;
  c.addr = addr;
  c.processor = processor;
  std::vector<std::byte> b(layout_.size_of("mcache"));
  if (auto ok = session_.memory().read(addr, b); !ok) {
    c.error = fmt::format("the mcache at {:#x} is unreadable: {}", addr, ok.error().message);
    caches_->push_back(std::move(c));
    return;
  }
  auto take = [&](F f) { return layout_.take(b.data(), f); };
  auto maybe = [&](F f) { return layout_.has(f) ? std::optional(take(f)) : std::nullopt; };
  c.tiny = take(F::mcache_tiny);
  c.tiny_offset = take(F::mcache_tinyoffset);
  c.tiny_allocs = take(F::mcache_local_tinyallocs);
  c.flush_gen = maybe(F::mcache_flushGen);
  c.raw_allocs = maybe(F::mcache_local_rawallocs);
  c.raw_frees = maybe(F::mcache_local_rawfrees);
  const std::uint64_t none = layout_.root(Root::emptymspan);
  const FieldPlace& alloc = layout_.place(F::mcache_alloc);
  for (std::uint32_t i = 0; i < alloc.size / 8; ++i) {
    std::uint64_t s = u64_at(b, alloc.offset + 8 * i);
    c.alloc.push_back(s == none ? 0 : s);
  }
  auto slots = [&](F array, const char* element, F count, F slot, std::vector<std::vector<std::uint64_t>>& out) {
    const FieldPlace &all = layout_.place(array), &first = layout_.place(slot);
    const std::uint64_t stride = layout_.size_of(element);
    if (!all.present || !first.present || !stride) return;
    for (std::uint64_t at = all.offset; at + stride <= all.offset + all.size; at += stride) {
      std::uint64_t n = layout_.take(b.data() + at, count), room = first.size / 8;
      if (n > room && c.error.empty())
        c.error = fmt::format("the mcache at {:#x} claims {} entries in {} slots at {:#x}", addr, n, room, addr + at);
      auto& list = out.emplace_back();
      for (std::uint64_t i = 0; i < std::min(n, room); ++i) list.push_back(u64_at(b, at + first.offset + 8 * i));
    }
  };
  slots(F::mcache_ahead, "spansAhead", F::spansAhead_n, F::spansAhead_slot, c.ahead);
  slots(F::mcache_rawcache, "rawCache", F::rawCache_n, F::rawCache_slot, c.objects);
  slots(F::mcache_stackcache, "stackfreelist", F::stackfreelist_n, F::stackfreelist_slot, c.stacks);
  const FieldPlace& linked = layout_.place(F::stackfreelist_list);  // instead of slots: through their first words
  for (std::uint64_t order = 0; linked.present && order < pool_count(); ++order) {
    const std::size_t at = layout_.place(F::mcache_stackcache).offset + order * layout_.size_of("stackfreelist");
    auto& list = c.stacks.emplace_back();
    std::unordered_set<std::uint64_t> seen;
    for (std::uint64_t stack = layout_.take(b.data() + at, F::stackfreelist_list); stack;) {
      if (!seen.insert(stack).second || seen.size() > kMaxCached) {
        c.error = fmt::format("the mcache at {:#x}: its free stacks of order {} come back to {:#x}; cut there", addr,
                              order, stack);
        break;
      }
      list.push_back(stack);
      auto next = session_.memory().get<std::uint64_t>(stack);
      if (!next) c.error = fmt::format("the mcache at {:#x}: the free stack at {:#x} is unreadable", addr, stack);
      stack = next.value_or(0);
    }
  }
  caches_->push_back(std::move(c));
}

const std::vector<HeapCache>& HeapState::caches() {
  if (caches_) return *caches_;
  caches_.emplace();
  if (!layout_.size_of("mcache")) return *caches_;
  if (std::uint64_t shared = word(F::mheap_mcache0).value_or(0)) read_cache(shared, kNone);
  for (std::uint32_t i = 0; i < model_.processors().size(); ++i) {
    auto c = get(model_.processors()[i].addr, F::p_mcache);
    if (c && *c) read_cache(*c, i);
  }
  for (std::uint32_t i = 0; i < caches_->size(); ++i) {
    const HeapCache& c = (*caches_)[i];
    if (!c.error.empty()) warn(c.error);
    for (std::uint64_t s : c.alloc) {
      if (s) cached_spans_.emplace(s, i);
    }
    for (const auto& list : c.ahead) {
      for (std::uint64_t s : list) cached_spans_.emplace(s, i);
    }
    for (const auto* lists : {&c.objects, &c.stacks}) {
      for (const auto& list : *lists) {
        for (std::uint64_t at : list) cached_objects_.emplace(at, i);
      }
    }
  }
  return *caches_;
}

std::string HeapState::cache_name(const HeapCache& c) const {
  return c.processor == kNone ? std::string("no P") : fmt::format("P {}", model_.processors()[c.processor].id);
}

const HeapCache* HeapState::cache_of(std::uint64_t span) {
  caches();
  auto it = cached_spans_.find(span);
  return it == cached_spans_.end() ? nullptr : &(*caches_)[it->second];
}

const HeapCache* HeapState::cache_with(std::uint64_t object) {
  caches();
  auto it = cached_objects_.find(object);
  return it == cached_objects_.end() ? nullptr : &(*caches_)[it->second];
}

// ---- lists

std::size_t HeapState::count(F array, const char* element) const {
  std::uint64_t size = layout_.size_of(element);
  return size ? layout_.place(array).size / size : 0;
}

// Every span is held against all kinds of lists: where these lie is found once.
void HeapState::find_lists() {
  const std::uint64_t central = layout_.size_of("mcentralPadded"), pool = layout_.size_of("stackpoolPadded");
  auto at = [&](F f) { return layout_.place(f).offset; };
  auto put = [&](ListKind kind, std::uint64_t first, std::uint64_t stride, std::size_t n, std::uint64_t list,
                 std::uint64_t lock) {
    areas_[static_cast<std::size_t>(kind)] = {first, first ? stride : 0, n, list, lock};
  };
  for (bool runtime : {false, true}) {
    const F array = runtime ? F::mheap_runtime : F::mheap_central;
    const std::uint64_t first = mheap_ + at(array) + at(F::mcentralPadded_mcentral);
    const std::size_t n = count(array, "mcentralPadded");
    put(runtime ? ListKind::runtime_nonempty : ListKind::central_nonempty, first, central, n, at(F::mcentral_nonempty),
        at(F::mcentral_lock));
    put(runtime ? ListKind::runtime_empty : ListKind::central_empty, first, central, n, at(F::mcentral_empty),
        at(F::mcentral_lock));
  }
  put(ListKind::pool, layout_.root(Root::stackpool), pool, count(F::mcache_stackcache, "stackfreelist"),
      at(F::stackpoolPadded_item_span), at(F::stackpoolPadded_item_lock));
  // One lock for all lists of large stacks, before them.
  put(ListKind::large, layout_.root(Root::stackLarge), layout_.size_of("mSpanList"),
      count(F::stackLargeT_free, "mSpanList"), at(F::stackLargeT_free), at(F::stackLargeT_lock));
}

std::uint64_t HeapState::central(std::size_t i, bool runtime) const {
  const ListArea& area = this->area(runtime ? ListKind::runtime_nonempty : ListKind::central_nonempty);
  return area.first + i * area.stride;
}

std::uint64_t HeapState::list_address(ListName name) const {
  if (name.kind == ListKind::none) return 0;
  const ListArea& area = this->area(name.kind);
  return area.first + name.index * area.stride + area.list;
}

ListName HeapState::list_at(std::uint64_t list) const {
  if (!list) return {};
  for (ListKind k : {ListKind::central_nonempty, ListKind::central_empty, ListKind::runtime_nonempty,
                     ListKind::runtime_empty, ListKind::pool, ListKind::large}) {
    const ListArea& area = this->area(k);
    const std::uint64_t first = area.first + area.list;
    if (!area.stride || list < first || (list - first) % area.stride || (list - first) / area.stride >= area.count)
      continue;
    return {k, static_cast<std::uint32_t>((list - first) / area.stride)};
  }
  return {};
}

std::string HeapState::list_text(ListName name) const {
  switch (name.kind) {
    case ListKind::central_nonempty:
    case ListKind::central_empty:
      return fmt::format("mcentral {}{} {}", name.index >> 1, name.index & 1 ? " noscan" : "",
                         name.kind == ListKind::central_empty ? "empty" : "nonempty");
    case ListKind::runtime_nonempty:
    case ListKind::runtime_empty:
      return fmt::format("runtime {} {}", name.index, name.kind == ListKind::runtime_empty ? "empty" : "nonempty");
    case ListKind::pool:
      return fmt::format("stackpool {}", name.index);
    case ListKind::large:
      return fmt::format("stackLarge {}", name.index);
    case ListKind::none:
      break;
  }
  return "no list";
}

std::uint64_t HeapState::lock_address(ListName name) const {
  const ListArea& area = this->area(name.kind);
  return area.first + (name.kind == ListKind::large ? 0 : name.index) * area.stride + area.lock;
}

ListWalk HeapState::walk(ListName name) {
  ListWalk walk;
  auto first = get(list_address(name), F::mSpanList_first);
  if (!first) walk.problem = fmt::format("{}: its head at {:#x} is unreadable", list_text(name), list_address(name));
  walked_.resize(spans_.size());
  ++walks_;
  for (std::uint64_t at = first.value_or(0); at;) {
    std::uint32_t index = at_structure(at);
    if (index == kNone || spans_[index].unreadable) {
      walk.problem =
          fmt::format("{}: {:#x} is {}", list_text(name), at, index == kNone ? "no span of this heap" : "unreadable");
      break;
    }
    if (std::exchange(walked_[index], walks_) == walks_) {
      walk.problem =
          fmt::format("{}: comes back to the span at {:#x} after {}", list_text(name), at, walk.items.size());
      break;
    }
    walk.items.push_back(at);
    at = spans_[index].next;
  }
  return walk;
}

std::uint32_t HeapState::at_structure(std::uint64_t mspan) {
  if (by_structure_.empty()) {
    by_structure_.reserve(spans_.size());
    for (std::size_t i = 0; i < spans_.size(); ++i)
      by_structure_.emplace(spans_[i].addr, static_cast<std::uint32_t>(i));
  }
  auto it = by_structure_.find(mspan);
  return it == by_structure_.end() ? kNone : it->second;
}

// ---- arenas and the treap

const std::vector<Arena>& HeapState::arenas() {
  if (arenas_) return *arenas_;
  arenas_.emplace();
  const std::uint64_t array = word(F::mheap_allArenas_array).value_or(0);
  const std::uint64_t len = word(F::mheap_allArenas_len).value_or(0);
  if (len > kMaxArenas) warn(fmt::format("the list of arenas claims {}; reading as far as it goes", len));
  std::vector<std::uint64_t> bases(std::min(len, kMaxArenas));
  std::size_t got = session_.memory().read_prefix(array, std::as_writable_bytes(std::span(bases)));
  if (got / 8 < bases.size())
    warn(fmt::format("the list of arenas: {} of {} entries are unreadable, from {:#x} on", len - got / 8, len,
                     array + got / 8 * 8));
  bases.resize(got / 8);
  arenas_lost_ = got / 8 < len && len <= kMaxArenas;
  const std::uint64_t l2 = u64_at(words_, layout_.place(F::mheap_arenas).offset);
  std::unordered_set<std::uint64_t> seen;
  std::size_t again = 0, flawed = 0;
  std::string first_again, first_flaw;
  for (std::uint64_t base : bases) {
    Arena a;
    std::uint64_t index = base / arena_bytes_;
    if (auto first = layout_.dialect().arena_base(base, arena_bytes_)) {
      index = base;
      base = *first;
    }
    if (!seen.insert(base).second || base >> kAddressBits || base % arena_bytes_) {
      if (again++ == 0) first_again = fmt::format("{:#x}", base);
      continue;
    }
    a.base = base;
    auto addr = session_.memory().get<std::uint64_t>(l2 + 8 * index);
    if (addr) a.addr = *addr;
    if (!addr) {
      a.error = fmt::format("the arena at {:#x} has no readable entry in the index at {:#x}", base, l2);
    } else if (!a.addr) {
      a.error = fmt::format("the arena at {:#x} is not in the index at {:#x}", base, l2);
    }
    if (!a.error.empty() && flawed++ == 0) first_flaw = a.error;
    arenas_->push_back(std::move(a));
  }
  if (flawed) warn(first_flaw + (flawed > 1 ? fmt::format("; {} more like that", flawed - 1) : std::string()));
  if (again)
    warn(fmt::format("the list of arenas: {} of {} entries cannot be or are there twice, {} is the first", again,
                     bases.size(), first_again));
  return *arenas_;
}

const std::vector<TreapNode>& HeapState::treap() {
  if (treap_) return *treap_;
  treap_.emplace();
  const std::uint64_t size = layout_.size_of("treapNode");
  if (!size) return *treap_;
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::byte> b(size);
  std::vector<TreapNode> path;  // nodes whose right side is still to come
  struct Go {
    std::uint64_t at, from;
    std::uint32_t depth;
  };
  Go go{word(F::mheap_free_treap).value_or(0), 0, 0};
  while (true) {
    while (go.at) {
      TreapNode n;
      n.addr = go.at;
      n.reached_from = go.from;
      n.depth = go.depth;
      if (!seen.insert(go.at).second) {
        n.error = fmt::format("the treap comes back to {:#x} from {:#x}", go.at, go.from);
      } else if (auto ok = session_.memory().read(go.at, b); !ok) {
        n.error = fmt::format("the treap node at {:#x} is unreadable", go.at);
      } else if (seen.size() > kMaxNodes) {
        n.error = fmt::format("the treap has more than {} nodes", kMaxNodes);
      } else {
        n.left = layout_.take(b.data(), F::treapNode_left);
        n.right = layout_.take(b.data(), F::treapNode_right);
        n.parent = layout_.take(b.data(), F::treapNode_parent);
        n.npages = layout_.take(b.data(), F::treapNode_npagesKey);
        n.span = layout_.take(b.data(), F::treapNode_spanKey);
        n.priority = static_cast<std::uint32_t>(layout_.take(b.data(), F::treapNode_priority));
      }
      path.push_back(n);
      go = {n.left, n.addr, n.depth + 1};
    }
    if (path.empty()) return *treap_;
    if (session_.cancelled()) {  // the next command shall have all of it
      treap_part_ = std::move(*treap_);
      treap_.reset();
      return treap_part_;
    }
    TreapNode n = std::move(path.back());
    path.pop_back();
    go = {n.right, n.addr, n.depth + 1};
    treap_->push_back(std::move(n));
  }
}

}  // namespace vitrine::inspect
