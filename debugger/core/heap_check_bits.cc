// heap_check_bits.cc: see heap_check.h: mark bits and the bitmap of pointers, against what is allocated.
//   marks          outside of a cycle a span that is swept has none (sweeping clears them for the next cycle); one that is
//                  not swept yet has them for allocated objects only, and none behind its last object
//   pointer bits   "a pointer" only where "more may follow" as well, and nothing after a word without the latter up to
//                  the end of a small object: heapBitsSetType writes all words of those
//   pointer        what a pointer word leads to is allocated (the graph of objects finds those that do not)
// In the middle of a cycle marks are on their way: then they are left alone, and that is said.
#include <fmt/format.h>

#include "gc_state.h"
#include "heap_check.h"
#include "heap_graph.h"
#include "render.h"

namespace vitrine::inspect {

void HeapCheck::marks_of(const Span& s) {
  const SpanKind k = heap_.kind(s);
  if ((k != SpanKind::small && k != SpanKind::large) || !s.mark_bits || !layout_.has(F::gcroots_head)) return;
  if (!phase_) phase_ = GcState::phase(heap_).value_or(1);
  if (*phase_ != 0) return;
  const auto age = static_cast<std::int32_t>(s.sweepgen - heap_.sweepgen());
  if (age == -1) return;
  const bool swept = age == 0 || age == 3;
  std::string error;
  const std::uint64_t room = (s.nelems + 63) / 64 * 64;
  const std::vector<std::byte> marks = heap_.bits(s.mark_bits, room, error);
  auto name = [&] { return fmt::format("span {:#x}", s.base); };
  if (!expect(error.empty(), "mark bits", heap_lock(), [&] { return Text{name(), "readable", error}; })) return;
  if (swept) {
    std::uint64_t i = 0;
    while (i < room && !HeapState::bit(marks, i)) ++i;
    expect(i == room, "mark bits", heap_lock(), [&] {
      return Text{name(), "none in a span that is swept", fmt::format("object {} is marked", i)};
    });
    return;
  }
  const std::vector<std::byte> alloc =
      k == SpanKind::small ? heap_.bits(s.alloc_bits, room, error) : std::vector<std::byte>();
  if (!error.empty()) return;  // said by allocBits
  for (std::uint64_t i = 0; i < room; ++i) {
    if (!HeapState::bit(marks, i)) continue;
    const bool there = i < s.nelems && (k == SpanKind::large || i < s.freeindex || HeapState::bit(alloc, i));
    if (!expect(there, "mark bits", heap_lock(), [&] {
          return Text{name(), "of allocated objects only", fmt::format("object {} is marked", i)};
        }))
      return;
  }
}

void HeapCheck::pointers() {
  if (!layout_.has(F::gcroots_head) || heap_.session().cancelled()) return;
  GcState gc(heap_);
  auto graph = HeapGraph::build(heap_, gc, false);
  if (!graph) {
    if (!heap_.session().cancelled()) result_.warnings.push_back("pointers are not checked: " + graph.error().message);
    return;
  }
  result_.checks += (*graph)->edge_count();
  for (const BadPointer& b : (*graph)->bad()) {
    expect(false, "pointer", heap_lock(), [&] {
      return Text{fmt::format("object {:#x}+{}", b.object, b.offset), "to what is allocated",
                  fmt::format("{:#x}, {}", b.value, b.free_object ? "a free object" : "no span of objects")};
    });
  }
  if ((*graph)->bad_pointers() > (*graph)->bad().size())
    result_.warnings.push_back(fmt::format("{} such pointers in all, of which {} are listed", (*graph)->bad_pointers(),
                                           (*graph)->bad().size()));
  for (const BadBits& b : (*graph)->bad_bits()) {
    expect(false, "pointer bits", heap_lock(), [&] {
      return Text{fmt::format("object {:#x}+{}", b.object, b.offset),
                  b.pointer_alone ? "a pointer only where pointers may follow" : "none behind the last",
                  b.pointer_alone ? "a pointer alone" : "more"};
    });
  }
  if ((*graph)->unreadable())
    result_.warnings.push_back(fmt::format("{} are partly unreadable: their pointers are not checked",
                                           plural((*graph)->unreadable(), "object")));
}

}  // namespace vitrine::inspect
