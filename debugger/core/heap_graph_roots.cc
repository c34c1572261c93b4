// heap_graph_roots.cc: what keeps objects, as the runtime's own mark has it (the head of its mgcmark.cc):
//   handle     gc::root objects, from their list
//   queued     finalizers that wait to be run, or run: their object and their argument
//   finalizer  what an object with a finalizer refers to; not the object itself
//   global     writable data of the program and its libraries, but for the heap's own structure
//   held       the runtime's own objects: closures, channels' buffers, results; not those that a P keeps free
//   stack      of goroutines that can run again, from the saved stack pointer up, and their saved registers (reg)
//   caller     the first thread's stack above what runs the scheduler
// The collector's own goroutines know no objects. What differs from a mark by the runtime itself: a goroutine that runs is
// taken with its thread's registers where it stands now, not where it would be stopped; vector registers are not looked
// at; which library's data there is follows from the program's files rather than from the loader's list.
//
// In a wide graph the runtime's own objects are nodes, and neither they nor stacks are roots: who reads it decides.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "backtrace.h"
#include "heap_graph.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMaxHandles = 1ull << 28;
constexpr std::uint64_t kMaxBlocks = 1 << 24;
constexpr std::uint64_t kRedZone = 128;  // below the stack pointer of a thread that was interrupted
constexpr std::uint64_t kPiece = 256 << 10;

}  // namespace

std::string_view root_kind_text(RootKind kind) {
  static constexpr std::string_view kTexts[] = {
      "gc::root", "global", "stack", "register", "held", "queued finalizer", "finalizer's object", "caller of run"};
  return kTexts[static_cast<std::size_t>(kind)];
}

void HeapGraph::root_word(std::uint64_t slot, std::uint64_t value, RootKind kind, std::uint32_t who) {
  const bool heap = value >= lo_ && value < hi_, stacks = wide_ && value >= stacks_lo_ && value < stacks_hi_;
  if (!heap && !stacks) return;
  const std::uint32_t node = find(value);
  if (node != kNone) roots_.push_back({slot, node, who, kind});
}

// Every aligned word of [lo, hi).
Status HeapGraph::root_range(std::uint64_t lo, std::uint64_t hi, RootKind kind, std::uint32_t who) {
  std::vector<std::byte> piece;
  lo = (lo + 7) / 8 * 8;
  hi = hi / 8 * 8;
  // A range whose end is damaged may go on for ever: so many pages in a row without memory are no part of it.
  constexpr std::uint64_t kMostHoles = 4096;
  std::uint64_t holes = 0;
  while (lo < hi) {
    if (holes == kMostHoles) {
      note(fmt::format("{:#x}-{:#x} cannot be read: roots there are not known", lo - kMostHoles * 4096, hi));
      return Ok{};
    }
    if (heap_.session().cancelled()) return Error{"stopped by Ctrl-C", {}};
    const std::uint64_t n = std::min(kPiece, hi - lo);
    piece.resize(n);
    const std::uint64_t got = heap_.session().memory().read_prefix(lo, piece) / 8 * 8;
    for (std::uint64_t at = 0; at < got; at += 8) {
      std::uint64_t value;
      std::memcpy(&value, piece.data() + at, 8);
      root_word(lo + at, value, kind, who);
    }
    lo += got;
    holes = got ? 0 : holes + 1;
    if (got == n) continue;
    // A hole: on with the next page.
    if (!unread_roots_++) first_unread_root_ = lo;
    lo = (lo / 4096 + 1) * 4096;
  }
  return Ok{};
}

Status HeapGraph::read_roots() {
  const bool ok_ = tick("reading roots", 0, 1);
  if (!ok_) return Error{"stopped by Ctrl-C", {}};
  for (auto step : {&HeapGraph::read_handles, &HeapGraph::read_queue, &HeapGraph::read_specials,
                    &HeapGraph::read_globals, &HeapGraph::read_held, &HeapGraph::read_stacks}) {
    if (auto ok = (this->*step)(); !ok) return ok.error();
  }
  if (unread_roots_)
    note(fmt::format("{} of roots unreadable, the first at {:#x}: what only they keep seems to be garbage",
                     plural(unread_roots_, "page"), first_unread_root_));
  return Ok{};
}

Status HeapGraph::read_handles() {
  const Layout& l = heap_.layout();
  const std::uint64_t root = l.root(Root::gcroots);
  if (!root) return Ok{};
  const std::uint64_t head = root + l.place(F::gcroots_head).offset;
  const std::uint64_t claimed = gc_.handles().value_or(0);
  Memory& memory = heap_.session().memory();
  std::unordered_set<std::uint64_t> seen;
  auto next = l.get(memory, head, F::gcroot_next);
  std::uint64_t before = head;
  while (next && *next && *next != head) {
    const std::uint64_t at = *next;
    if (!seen.insert(at).second || seen.size() > kMaxHandles) {
      note(fmt::format("the list of gc::root handles comes back to {:#x} after {}; cut there", at, seen.size()));
      return Ok{};
    }
    if (seen.size() % 65536 == 0 && heap_.session().cancelled()) return Error{"stopped by Ctrl-C", {}};
    auto p = l.get(memory, at, F::gcroot_p);
    next = l.get(memory, at, F::gcroot_next);
    if (!p || !next) {
      note(fmt::format("the gc::root handle at {:#x} is unreadable: the list is cut there", at));
      return Ok{};
    }
    root_word(at + l.place(F::gcroot_p).offset, *p, RootKind::handle, kNone);
    before = at;
  }
  if (!next) note(fmt::format("the list of gc::root handles is unreadable at {:#x}", before));
  if (next && gc_.handles() && seen.size() != claimed && gc_.alive())
    note(fmt::format("{} on the list, {} by its count", plural(seen.size(), "gc::root handle"), claimed));
  return Ok{};
}

Status HeapGraph::read_queue() {
  const Layout& l = heap_.layout();
  const std::uint64_t root = l.root(Root::gcfinalizers), size = l.size_of("finalizer");
  if (!root || !size) return Ok{};
  const std::uint64_t object = l.place(F::finalizer_object).offset;
  Memory& memory = heap_.session().memory();
  std::uint64_t block = gc_.finalizers(F::finalizers_finq).value_or(0);
  const std::uint64_t room = l.place(F::finblock_fin).size / size;
  std::unordered_set<std::uint64_t> seen;
  while (block) {
    auto n = l.get(memory, block, F::finblock_cnt), next = l.get(memory, block, F::finblock_next);
    if (!n || !next || !seen.insert(block).second || seen.size() > kMaxBlocks) {
      note(fmt::format("the queue of finalizers is cut at the block {:#x}", block));
      break;
    }
    if (*n > room) note(fmt::format("the block of finalizers at {:#x} claims {} of {}", block, *n, room));
    for (std::uint64_t i = 0; i < std::min(*n, room); ++i) {
      const std::uint64_t at = block + l.place(F::finblock_fin).offset + i * size + object;
      if (auto ok = root_range(at, at + 16, RootKind::queued, kNone); !ok) return ok;
    }
    block = *next;
  }
  const std::uint64_t running = root + l.place(F::finalizers_running).offset + object;
  return root_range(running, running + 16, RootKind::queued, kNone);
}

Status HeapGraph::read_specials() {
  const Layout& l = heap_.layout();
  const auto finalizer = l.constant("kindSpecialFinalizer");
  if (!finalizer || !l.has(F::special_next)) return Ok{};
  Memory& memory = heap_.session().memory();
  for (const Part& p : parts_) {
    const Span& s = heap_.spans()[p.span];
    std::uint64_t count = 0;
    for (std::uint64_t at = s.state && !(flags_[p.first] & raw) ? s.specials : 0; at;) {
      auto kind = l.get(memory, at, F::special_kind), offset = l.get(memory, at, F::special_offset),
           next = l.get(memory, at, F::special_next);
      if (!kind || !offset || !next || ++count > std::uint64_t{p.count} * 64 + 64) {
        note(fmt::format("the list of records of the span at {:#x} is cut at {:#x}", s.base, at));
        break;
      }
      if (*kind == *finalizer && *offset / s.elemsize < p.count) {
        const auto node = static_cast<std::uint32_t>(p.first + *offset / s.elemsize);
        const std::uint64_t base = address(node);
        for (std::uint32_t to : edges(node)) {
          if (to != kNone) roots_.push_back({base, to, node, RootKind::finalizer});
        }
        const std::uint64_t arg = at + l.place(F::specialfinalizer_arg).offset;
        if (l.has(F::specialfinalizer_arg)) {
          if (auto ok = root_range(arg, arg + 8, RootKind::finalizer, node); !ok) return ok;
        }
      }
      at = *next;
      if (count % 65536 == 0 && heap_.session().cancelled()) return Error{"stopped by Ctrl-C", {}};
    }
  }
  return Ok{};
}

Status HeapGraph::read_globals() {
  const Layout& l = heap_.layout();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> segments = heap_.session().program().writable_segments();
  if (segments.empty()) {
    const std::uint64_t root = l.root(Root::gcsegments), size = l.size_of("gcsegment");
    auto n = root ? l.get(heap_.session().memory(), root, F::gcsegments_n) : Result<std::uint64_t>(std::uint64_t{0});
    const std::uint64_t room = size ? l.place(F::gcsegments_at).size / size : 0;
    for (std::uint64_t i = 0; n && i < std::min(*n, room); ++i) {
      const std::uint64_t at = root + l.place(F::gcsegments_at).offset + i * size;
      auto lo = l.get(heap_.session().memory(), at, F::gcsegment_lo),
           hi = l.get(heap_.session().memory(), at, F::gcsegment_hi);
      if (lo && hi && *lo < *hi && *hi - *lo < 1ull << 40) segments.emplace_back(*lo, *hi);
    }
    if (segments.empty()) note("where the program's writable data is is not known: globals keep nothing here");
  }
  const std::uint64_t own = heap_.root(), own_end = own + l.size_of("mheap");
  for (auto [lo, hi] : segments) {
    if (own < lo || own >= hi) {
      if (auto ok = root_range(lo, hi, RootKind::global, kNone); !ok) return ok;
      continue;
    }
    if (auto ok = root_range(lo, own, RootKind::global, kNone); !ok) return ok;
    if (auto ok = root_range(own_end, hi, RootKind::global, kNone); !ok) return ok;
  }
  return Ok{};
}

// The runtime's own objects, all of which are looked at.
Status HeapGraph::read_held() {
  bool any = false;
  for (std::uint32_t i = 0; i < heap_.with_pages(); ++i) {
    const Span& s = heap_.spans()[i];
    const SpanKind k = heap_.kind(s);
    if (k != SpanKind::runtime && k != SpanKind::runtime_large) continue;
    any = true;
    if (wide_ || !heap_.flaw(s).empty()) continue;
    if (k == SpanKind::runtime_large) {
      if (s.alloc_count == 0) continue;
      if (auto ok = root_range(s.base, heap_.end(s), RootKind::held, i); !ok) return ok;
      continue;
    }
    std::string error;
    const std::vector<std::byte> bits = heap_.bits(s.alloc_bits, heap_.nelems(s), error);
    if (!error.empty()) note(error + ": what the runtime's own objects in its span keep is not seen");
    for (std::uint64_t n = 0; n < heap_.nelems(s); ++n) {
      const std::uint64_t at = s.base + n * s.elemsize;
      if (!HeapState::bit(bits, n) || heap_.cache_with(at)) continue;
      if (auto ok = root_range(at, at + s.elemsize, RootKind::held, i); !ok) return ok;
    }
  }
  if (!any)
    note(
        "the runtime's own objects are in the C library's heap (a sanitizer, or Valgrind): what they keep is not seen");
  return Ok{};
}

Status HeapGraph::read_stacks() {
  const Layout& l = heap_.layout();
  Model& model = heap_.model();
  Memory& memory = heap_.session().memory();
  std::uint64_t lost = 0, first_lost = 0, done = 0;
  // The runtime's own goroutines know no objects, only spans; but the one that calls finalizers has that one's.
  const std::uint64_t finalizing = gc_.running_object() ? gc_.finalizers(F::finalizers_fing).value_or(0) : 0;
  for (std::uint32_t i = 0; i < model.goroutines().size(); ++i) {
    const Goroutine& g = model.goroutines()[i];
    if (++done % 4096 == 0 && !tick("reading stacks", done, model.goroutines().size()))
      return Error{"stopped by Ctrl-C", {}};
    if (g.is(Goroutine::foreign) || (!g.is(Goroutine::unreadable) && g.is(Goroutine::system) && g.addr != finalizing))
      continue;
    if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || g.is(Goroutine::bad_sp)) {
      if (!lost++) first_lost = g.addr;
      continue;
    }
    std::uint64_t sp = g.sp;
    if (model.in_syscall(g)) {
      const FieldPlace& regs = l.place(F::g_syscallregs);
      if (regs.present) {
        if (auto ok = root_range(g.addr + regs.offset, g.addr + regs.offset + regs.size, RootKind::reg, i); !ok)
          return ok;
      }
      root_word(kRbp, g.bp, RootKind::reg, i);
    } else if (model.running(g)) {
      const Context c = context_of(heap_.session().unwinder(), model, g);
      if (c.live() && c.regs.has(kRsp)) {
        for (int r = 0; r < kRegs; ++r) {
          if (c.regs.has(r)) root_word(static_cast<std::uint64_t>(r), c.regs.r[r], RootKind::reg, i);
        }
        sp = c.regs.r[kRsp] - kRedZone;
      }
      auto starter = gc_.work(F::work_startersp);
      if (gc_.collecting() && starter && *starter >= g.stack_lo && *starter < g.stack_hi()) sp = *starter;
      if (sp < g.stack_lo || sp > g.stack_hi()) sp = g.stack_lo;  // not known: all of it
    }
    if (sp < g.stack_lo || sp > g.stack_hi()) {
      if (!lost++) first_lost = g.addr;
      continue;
    }
    if (auto ok = root_range(sp, g.stack_hi(), RootKind::stack, i); !ok) return ok;
  }
  if (lost)
    note(fmt::format("{} of goroutines not known, the first of the g at {:#x}: what only they keep seems to be garbage",
                     plural(lost, "stack"), first_lost));
  if (const std::uint64_t g0 = l.root(Root::g0)) {
    auto sp = l.get(memory, g0, F::g_sched_sp), lo = l.get(memory, g0, F::g_stack_lo),
         hi = l.get(memory, g0, F::g_stack_hi);
    if (sp && lo && hi && *sp >= *lo && *sp < *hi && *hi - *lo < 1ull << 31)
      if (auto ok = root_range(*sp, *hi, RootKind::caller, kNone); !ok) return ok;
  }
  return Ok{};
}

}  // namespace vitrine::inspect
