// heap_owners.cc: the parts of heap_state.h that say who has something: whose stacks lie in a span, who has the span,
// and what each object in it is.
#include <fmt/format.h>

#include <unordered_set>

#include "heap_state.h"

namespace vitrine::inspect {

// ---- stacks

const std::unordered_map<std::uint32_t, StackUse>& HeapState::stack_uses() {
  if (stack_uses_) return *stack_uses_;
  stack_uses_.emplace();
  // The slot of a stack that ends at hi: where it begins, guard included. 0: it lies in no span of stacks.
  auto slot = [&](std::uint64_t hi, std::uint32_t& index) -> std::uint64_t {
    index = hi ? at_address(hi - 1) : kNone;
    if (index == kNone) return 0;
    const Span& s = spans_[index];
    SpanKind k = kind(s);
    if (k == SpanKind::stack_large) return s.base;
    if (k != SpanKind::stack_pool || !s.elemsize) return 0;
    return s.base + (hi - 1 - s.base) / s.elemsize * s.elemsize;
  };
  std::uint32_t index;
  for (std::uint32_t i = 0; i < model_.goroutines().size(); ++i) {
    const Goroutine& g = model_.goroutines()[i];
    if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || !g.stack_size) continue;
    std::uint64_t base = slot(g.stack_hi(), index);
    if (!base) continue;
    StackUse& use = (*stack_uses_)[index];
    ++use.live;
    use.goroutine = i;
    stacks_[base] = {i, 0, kNone, false, false};
  }
  for (std::uint32_t i = 0; i < model_.machines().size(); ++i) {
    const Machine& m = model_.machines()[i];
    for (const auto& [hi, signal] : {std::pair(m.g0_hi, false), std::pair(m.signal_hi, true)}) {
      const std::uint64_t base = slot(hi, index);
      if (!base || !stacks_.try_emplace(base, StackOf{kNone, 0, i, signal, false}).second) continue;
      ++(*stack_uses_)[index].own;
    }
  }
  if (const std::uint64_t g = layout_.root(Root::gcrash)) {
    const std::uint64_t base = slot(get(g, F::g_stack_hi).value_or(0), index);
    if (base && stacks_.try_emplace(base, StackOf{kNone, 0, kNone, false, true}).second) ++(*stack_uses_)[index].own;
  }
  for (std::uint64_t g : model_.dead_addresses()) {
    auto hi = get(g, F::g_stack_hi);
    std::uint64_t base = hi ? slot(*hi, index) : 0;
    if (!base) continue;
    StackUse& use = (*stack_uses_)[index];
    ++use.dead;
    use.dead_g = g;
    stacks_.try_emplace(base, StackOf{kNone, g, kNone, false, false});
  }
  for (const HeapCache& c : caches()) {
    for (const auto& list : c.stacks) {
      for (std::uint64_t base : list) {
        if (std::uint32_t s = at_address(base); s != kNone) ++(*stack_uses_)[s].cached;
      }
    }
  }
  return *stack_uses_;
}

HeapState::StackOf HeapState::stack_of(std::uint64_t base) {
  stack_uses();
  auto it = stacks_.find(base);
  return it == stacks_.end() ? StackOf{} : it->second;
}

std::string HeapState::owner_text(const Span& s) {
  switch (kind(s)) {
    case SpanKind::unreadable:
    case SpanKind::dead:
      return {};
    case SpanKind::free:
      return "free treap";
    case SpanKind::large:
      return "large";
    case SpanKind::runtime:
      return "runtime objects";
    case SpanKind::runtime_large:
      return "runtime object";
    case SpanKind::small: {
      if (const HeapCache* c = cache_of(s.addr)) return fmt::format("mcache of {}", cache_name(*c));
      if (s.incache) return "an mcache";
      ListName on = list_at(s.list);
      if (on.kind == ListKind::central_nonempty) return "mcentral nonempty";
      if (on.kind == ListKind::central_empty) return "mcentral empty";
      if (!layout_.has(F::mcentral_nonempty)) return s.alloc_count < s.nelems ? "mcentral partial" : "mcentral full";
      return s.list ? fmt::format("a list at {:#x}", s.list) : std::string("nobody");
    }
    case SpanKind::stack_pool: {
      StackUse use;
      auto& uses = stack_uses();
      if (auto it = uses.find(static_cast<std::uint32_t>(&s - spans_.data())); it != uses.end()) use = it->second;
      std::string out;
      auto part = [&](std::string text) { out += (out.empty() ? "" : ", ") + text; };
      if (use.live == 1) part(fmt::format("goroutine {}", model_.goroutines()[use.goroutine].goid));
      if (use.live > 1) part(fmt::format("{} goroutines", use.live));
      if (use.own) part(fmt::format("{} of the runtime's own", use.own));
      if (use.dead) part(fmt::format("{} dead", use.dead));
      if (use.cached) part(fmt::format("{} cached", use.cached));
      if (s.nelems > s.alloc_count) part(fmt::format("{} free", s.nelems - s.alloc_count));
      const char* what =
          use.cached && !use.live && !use.dead && s.alloc_count == s.nelems ? "stack cache" : "stack pool";
      return out.empty() ? std::string(what) : fmt::format("{}: {}", what, out);
    }
    case SpanKind::stack_large: {
      if (s.list) return "stack pool: 1 free";
      StackOf of = stack_of(s.base);
      if (of.goroutine != kNone) return fmt::format("stack of goroutine {}", model_.goroutines()[of.goroutine].goid);
      if (of.machine != kNone)
        return fmt::format("{} stack of M {}", of.signal ? "signal" : "g0", model_.machines()[of.machine].id);
      if (of.fatal) return "stack for fatal errors";
      return of.dead_g ? "stack of a dead goroutine" : "a stack";
    }
    case SpanKind::other:
      break;
  }
  if (!layout_.has(F::mspan_owner)) return "the collector";  // its work buffers and pointer bitmaps
  return fmt::format("owner {}", s.owner);
}

// Marks that lie at the end of a span of small objects, of one page (Go since 1.25), until it is swept: then they are where its other
// marks are. That they are there is told by the span's class, which is kept beside them.
void HeapState::add_inline_marks(const Span& s, std::vector<std::byte>& marked) {
  const std::uint64_t size = layout_.size_of("spanInlineMarkBits"), bytes = s.npages * page_size_;
  if (!size || s.npages != 1 || size > bytes || bytes - size < s.nelems * s.elemsize) return;
  const FieldPlace &marks = layout_.place(F::inlineMarks_marks), &spanclass = layout_.place(F::inlineMarks_class);
  std::vector<std::byte> all(size);
  if (!marks.present || !spanclass.present || marks.offset + marks.size > size ||
      !session_.memory().read(s.base + bytes - size, all) ||
      layout_.take(all.data(), F::inlineMarks_class) != s.spanclass)
    return;
  marked.resize(std::max<std::size_t>(marked.size(), marks.size));
  for (std::size_t i = 0; i < marks.size; ++i) marked[i] |= all[marks.offset + i];
}

Slots HeapState::slots(const Span& s) {
  Slots out;
  SpanKind k = kind(s);
  if (k == SpanKind::unreadable || k == SpanKind::dead || k == SpanKind::free || k == SpanKind::other) return out;
  const std::uint64_t n = nelems(s);
  if (n != s.nelems) out.errors.push_back(flaw(s));
  std::string error;
  std::vector<std::byte> allocated, marked;
  if (k == SpanKind::small || k == SpanKind::large || k == SpanKind::runtime) {
    allocated = bits(s.alloc_bits, n, error);
    if (k != SpanKind::runtime && s.mark_bits) marked = bits(s.mark_bits, n, error);
    if (k == SpanKind::small) add_inline_marks(s, marked);
  }
  if (!error.empty()) out.errors.push_back(error);
  std::unordered_set<std::uint64_t> free_stacks;
  for (std::uint64_t at = s.manual_free; at && free_stacks.size() < n && free_stacks.insert(at).second;)
    at = session_.memory().get<std::uint64_t>(at).value_or(0);
  out.map.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t at = s.base + i * s.elemsize;
    char c = Slots::allocated;
    if (k == SpanKind::small || k == SpanKind::large) {
      if (i >= s.freeindex && !bit(allocated, i)) c = allocated.empty() ? Slots::unknown : Slots::free;
      if (c == Slots::allocated && bit(marked, i)) c = Slots::marked;
    } else if (k == SpanKind::runtime) {
      c = allocated.empty() ? Slots::unknown : !bit(allocated, i) ? Slots::free : Slots::allocated;
    } else if (k == SpanKind::stack_pool) {
      const bool listed = !layout_.has(F::mspan_owner);  // in their own first words
      if (listed ? free_stacks.count(at) != 0 : i < 64 && (s.alloc_cache >> i & 1)) c = Slots::free;
    } else if (k == SpanKind::stack_large && s.list) {
      c = Slots::free;
    }
    if (c == Slots::allocated && (k == SpanKind::runtime || k == SpanKind::stack_pool) && cache_with(at))
      c = Slots::cached;
    out.map.push_back(c);
  }
  return out;
}

}  // namespace vitrine::inspect
