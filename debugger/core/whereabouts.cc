// whereabouts.cc: see whereabouts.h.
#include "whereabouts.h"

#include <fmt/format.h>

#include "backtrace.h"
#include "metadata.h"
#include "objects.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kGuard = 4096;
constexpr std::size_t kMaxSpecials = 100'000;
constexpr std::uint64_t kMaxWords = 64;  // of an object whose pointers are listed

// "sched.sp": the innermost member that contains the offset, but for what is in a structure of the type `whole`.
std::string member_at(const Type* type, std::uint64_t offset, std::string_view whole = {}) {
  std::string path;
  for (int depth = 0; type && type->kind == Type::Kind::structure && type->name != whole && depth < 8; ++depth) {
    const Field* in = type->field_at(offset);
    if (!in) break;
    path += (path.empty() ? "" : ".") + in->name;
    offset -= in->offset;
    type = in->type;
  }
  if (!path.empty() && type && type->kind == Type::Kind::array && type->element && type->element->size)
    path += fmt::format("[{}]", offset / type->element->size);
  return path;
}

class Search {
 public:
  Search(HeapState& heap, Stacks& stacks, std::uint64_t addr)
      : heap_(heap), stacks_(stacks), model_(heap.model()), session_(heap.session()), layout_(heap.layout()) {
    w_.addr = addr;
  }

  Whereabouts run() {
    if (w_.addr == 0) {
      w_.kind = "unmapped";
      w_.what = "the null pointer";
    } else if (!structure() && !in_arena() && !stack_elsewhere() && !variable() && !code() && !treap_node() &&
               !metadata() && !module()) {
      memory();
    }
    return std::move(w_);
  }

 private:
  bool within(std::uint64_t base, std::uint64_t size) {
    if (!base || w_.addr - base >= size) return false;
    w_.base = base;
    w_.size = size;
    return true;
  }

  bool is_structure(const char* type, std::uint64_t base, auto text) {
    if (!within(base, layout_.size_of(type))) return false;
    w_.kind = "structure";
    w_.what = text();
    w_.name = type;
    const Type* t = session_.program().type(layout_.dialect().type_name(type));
    if (std::string member = member_at(t, w_.addr - base); !member.empty()) w_.name += "." + member;
    return true;
  }

  bool structure() {
    for (std::uint32_t i = 0; i < model_.goroutines().size(); ++i) {
      const Goroutine& g = model_.goroutines()[i];
      if (!is_structure("g", g.addr, [&] { return "the g of " + title(model_, i); })) continue;
      w_.goroutine = i;
      return true;
    }
    for (std::uint64_t g : model_.dead_addresses()) {
      if (is_structure("g", g, [] { return std::string("the g of a dead goroutine"); })) return true;
    }
    for (const Machine& m : model_.machines()) {
      if (is_structure("m", m.addr, [&] { return fmt::format("M {}, thread {}", m.id, m.procid); })) return true;
      if (is_structure("g", m.g0, [&] { return fmt::format("the g0 of M {}", m.id); })) return true;
      if (is_structure("g", m.gsignal, [&] { return fmt::format("the gsignal of M {}", m.id); })) return true;
    }
    for (const Processor& p : model_.processors()) {
      if (is_structure("p", p.addr, [&] { return fmt::format("P {}", p.id); })) return true;
    }
    const std::uint64_t span_size = layout_.size_of("mspan");
    for (std::uint32_t i = 0; i < heap_.spans().size(); ++i) {
      const Span& s = heap_.spans()[i];
      if (w_.addr - s.addr >= span_size) continue;
      w_.span = i;
      return is_structure("mspan", s.addr, [&] {
        return heap_.kind(s) == SpanKind::dead ? std::string("a mspan without pages")
                                               : fmt::format("the mspan of the span at {:#x}", s.base);
      });
    }
    for (const HeapCache& c : heap_.caches()) {
      if (is_structure("mcache", c.addr, [&] { return "the mcache of " + heap_.cache_name(c); })) return true;
    }
    for (const Arena& a : heap_.arenas()) {
      if (is_structure("heapArena", a.addr, [&] { return fmt::format("the metadata of the arena at {:#x}", a.base); }))
        return about(a);
    }
    return is_structure("mheap", heap_.root(), [] { return std::string("the heap itself"); });
  }

  // What the part of an arena's metadata that the address is in speaks of.
  bool about(const Arena& a) {
    auto part = [&](F f, std::uint64_t each, std::uint64_t covers) {
      const FieldPlace& p = layout_.place(f);
      const std::uint64_t in = w_.addr - a.addr - p.offset;
      if (!p.present || in >= p.size) return;
      const std::uint64_t from = a.base + in / each * covers;
      w_.what += fmt::format(", about {:#x}-{:#x}", from, from + covers);
    };
    part(F::heapArena_bitmap, 1, 4 * 8);
    part(F::heapArena_spans, 8, heap_.page_size());
    part(F::heapArena_pageInUse, 1, 8 * heap_.page_size());
    part(F::heapArena_pageMarks, 1, 8 * heap_.page_size());
    return true;
  }

  // In a piece that the runtime cut for itself.
  bool metadata() {
    auto piece = metadata_at(heap_, w_.addr, w_.errors);
    if (!piece) return false;
    w_.kind = "structure";
    if (!piece->type) {
      w_.base = piece->base;
      w_.size = piece->size;
      w_.what = "in a chunk of the runtime's own memory, in no piece of it that has a record";
      return true;
    }
    auto name = session_.memory().c_string(piece->type, 64);
    if (!name) w_.errors.push_back(fmt::format("the name of its type is unreadable at {:#x}", piece->type));
    const std::string type = name ? printable(*name) : "unknown";
    const std::uint64_t unit = piece->unit ? piece->unit : piece->size, n = piece->size / unit;
    w_.index = (w_.addr - piece->base) / unit;
    w_.count = n;
    w_.base = piece->base + *w_.index * unit;
    w_.size = unit;
    w_.name = type;
    w_.what = fmt::format("metadata of the runtime: {}", type);
    if (*w_.index >= n) {
      w_.what = fmt::format("metadata of the runtime: behind the last {}", type);
      w_.index.reset();
      w_.size = piece->base + piece->size - *w_.base;
      return true;
    }
    const Type* t = session_.program().type(layout_.dialect().type_name(type));
    if (std::string member = member_at(t, w_.addr - *w_.base); !member.empty()) w_.name += "." + member;
    if (piece->owner) {
      w_.state = fixed_state(heap_, piece->owner, *w_.base, w_.errors);
      Program::Symbol symbol = session_.program().data_symbol(piece->owner);
      if (!symbol.name.empty()) {
        auto variables = session_.program().variable(symbol.name);
        std::string member = variables.size() == 1 ? member_at(variables[0].type, piece->owner - symbol.start,
                                                               layout_.dialect().type_name("fixalloc"))
                                                   : std::string();
        w_.what += fmt::format(" of {}{}{}", symbol.name, member.empty() ? "" : ".", member);
      }
      if (w_.state != "free" && w_.state != "unused") bitmap_of(*w_.base, unit);
    }
    return true;
  }

  // Which span has a bitmap in these bytes.
  void bitmap_of(std::uint64_t base, std::uint64_t size) {
    for (std::uint32_t i = 0; i < heap_.spans().size(); ++i) {
      const Span& s = heap_.spans()[i];
      const bool allocated = s.alloc_bits && s.alloc_bits - base < size;
      if (!allocated && !(s.mark_bits && s.mark_bits - base < size)) continue;
      w_.span = i;
      w_.what += fmt::format(", what is {} in the span at {:#x}", allocated ? "allocated" : "marked", s.base);
      return;
    }
  }

  // What an object of the runtime is by who points to it: a P's timers, a place where a goroutine waits, used or kept.
  bool runtime_part(std::uint64_t base) {
    constexpr std::size_t kLinks = 1 << 16;
    for (const Processor& p : model_.processors()) {
      if (heap_.get(p.addr, F::p_timers_array).value_or(0) == base) {
        w_.type = "timers";
        w_.what += fmt::format(": the heap of timers of P {}", p.id);
        return true;
      }
      std::uint64_t at = heap_.get(p.addr, F::p_sudogcache_head).value_or(0);
      for (std::size_t n = 0; at && n < kLinks; ++n) {
        if (at == base) {
          w_.type = "sudog";
          w_.what += fmt::format(": a place to wait that is not in use, kept by P {}", p.id);
          return true;
        }
        at = heap_.get(at, F::sudog_next).value_or(0);
      }
    }
    if (!layout_.has(F::sudog_g) || *w_.size < layout_.size_of("sudog")) return false;
    const std::uint64_t who = heap_.get(base, F::sudog_g).value_or(0);
    for (std::uint32_t i = 0; who && i < model_.goroutines().size(); ++i) {
      if (model_.goroutines()[i].addr != who) continue;
      std::uint64_t at = heap_.get(who, F::g_waiting).value_or(0);
      for (std::size_t n = 0; at && n < kLinks && at != base; ++n) at = heap_.get(at, F::sudog_waitlink).value_or(0);
      if (at != base) return false;
      w_.type = "sudog";
      w_.goroutine = i;
      w_.what += ": the place of " + title(model_, i) + " in a queue";
      return true;
    }
    return false;
  }

  bool in_arena() {
    std::uint32_t index = heap_.at_address(w_.addr);
    if (index != kNone) {
      w_.span = index;
      const Span& s = heap_.spans()[index];
      if (std::string flaw = heap_.flaw(s); !flaw.empty()) w_.errors.push_back(flaw);
      switch (heap_.kind(s)) {
        case SpanKind::small:
        case SpanKind::large:
        case SpanKind::runtime:
        case SpanKind::runtime_large:
          object(s);
          break;
        case SpanKind::stack_pool:
        case SpanKind::stack_large:
          stack(s);
          break;
        case SpanKind::free:
          w_.kind = "span";
          w_.state = "free";
          w_.what = s.scavenged ? "in a free span; its pages were given back or never touched" : "in a free span";
          break;
        default:
          w_.kind = "span";
          w_.what = "in a span that somebody else manages";
      }
      return true;
    }
    for (const Arena& a : heap_.arenas()) {
      if (w_.addr - a.base >= heap_.arena_bytes()) continue;
      w_.kind = "arena";
      std::uint64_t lo = heap_.word(F::mheap_curArena_base).value_or(0);
      std::uint64_t hi = heap_.word(F::mheap_curArena_end).value_or(0);
      const bool later = w_.addr >= lo && w_.addr < hi;
      const bool spans_of_free = layout_.has(F::mheap_free_treap);  // else free pages are bits, and in no span
      // Where the heap begins at a random place, what lies before that is never handed out.
      const bool before = heap_.with_pages() == 0 || w_.addr < heap_.spans().front().base;
      w_.what = fmt::format("in the arena at {:#x}, {}", a.base,
                            later           ? "which has not handed out this part yet"
                            : spans_of_free ? "and in no span: the spans' table is damaged"
                            : before        ? "in pages before the first span"
                                            : "in pages that are free");
      if (!later && !spans_of_free && !before) w_.state = "free";
      w_.base = a.base;
      w_.size = heap_.arena_bytes();
      return true;
    }
    return false;
  }

  void object(const Span& s) {
    const SpanKind k = heap_.kind(s);
    const bool own = k == SpanKind::runtime || k == SpanKind::runtime_large;
    w_.kind = own ? "runtime_object" : "object";
    const std::uint64_t n = heap_.nelems(s);
    const std::uint64_t i = s.elemsize ? (w_.addr - s.base) / s.elemsize : 0;
    if (!s.elemsize || i >= n) {
      w_.kind = "span";
      w_.what = "behind the last object of its span";
      return;
    }
    w_.base = s.base + i * s.elemsize;
    w_.size = s.elemsize;
    w_.index = i;
    w_.count = n;
    Slots slots = heap_.slots(s);
    for (std::string& e : slots.errors) w_.errors.push_back(std::move(e));
    const char c = i < slots.map.size() ? slots.map[i] : Slots::unknown;
    w_.state = c == Slots::free ? "free" : c == Slots::cached ? "cached" : c == Slots::unknown ? "" : "allocated";
    w_.what = own ? "in an object of the runtime" : "in an object of the heap";
    if (c == Slots::cached) {
      if (const HeapCache* by = heap_.cache_with(*w_.base))
        w_.what += fmt::format(", kept by {}", heap_.cache_name(*by));
    }
    if (w_.state == "free") return;
    if (own) {
      Objects objects(session_, model_);
      std::uint32_t who = kNone;
      ObjectKind kind = objects.kind_by_waiters(*w_.base, who);
      if (kind != ObjectKind::unknown)
        w_.type = std::string(kind_text(kind));
      else
        runtime_part(*w_.base);
      return;
    }
    special(s);
    if (!s.noscan()) pointers();
    for (const HeapCache& cache : heap_.caches()) {
      if (cache.tiny && cache.tiny == *w_.base)
        w_.what += fmt::format(", the block for tiny objects of {} ({} bytes of it used)", heap_.cache_name(cache),
                               cache.tiny_offset);
    }
  }

  // A record of who allocated the object, if it was sampled.
  void special(const Span& s) {
    const std::uint64_t offset = *w_.base - s.base;
    std::uint64_t at = s.specials;
    for (std::size_t n = 0; at && n < kMaxSpecials; ++n) {
      auto o = heap_.get(at, F::special_offset), kind = heap_.get(at, F::special_kind);
      if (!o || !kind) return;
      if (*o == offset && *kind == 2) {
        if (auto pc = heap_.get(at, F::specialprofile_pc); pc && *pc) w_.allocated_at = stacks_.at(*pc, false);
        w_.allocated_by = heap_.get(at, F::specialprofile_goid);
        return;
      }
      at = heap_.get(at, F::special_next).value_or(0);
    }
  }

  void pointers() {
    if (!layout_.has(F::heapArena_bitmap)) return;  // Go's since 1.22: not in one place for all objects
    const std::uint64_t arena = *w_.base / heap_.arena_bytes() * heap_.arena_bytes();
    const Arena* in = nullptr;
    for (const Arena& a : heap_.arenas()) {
      if (a.base == arena) in = &a;
    }
    if (!in || !in->addr) return;
    const std::uint64_t first = (*w_.base - arena) / 8, n = std::min(*w_.size / 8, kMaxWords);
    std::vector<std::byte> bits((first % 4 + n + 3) / 4);
    const std::uint64_t at = in->addr + layout_.place(F::heapArena_bitmap).offset + first / 4;
    if (!session_.memory().read(at, bits)) {
      w_.errors.push_back(fmt::format("which words are pointers is unreadable at {:#x}", at));
      return;
    }
    w_.pointers.emplace();
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t word = first % 4 + i;
      if (std::to_integer<unsigned>(bits[word / 4]) >> word % 4 & 1) w_.pointers->push_back(i);
    }
  }

  void stack(const Span& s) {
    w_.kind = "stack";
    if (!s.elemsize) return;
    const std::uint64_t i = (w_.addr - s.base) / s.elemsize, base = s.base + i * s.elemsize;
    w_.base = base;
    w_.size = s.elemsize;
    w_.index = i;
    w_.count = heap_.nelems(s);
    HeapState::StackOf of = heap_.stack_of(base);
    if (of.goroutine != kNone) return on_stack(of.goroutine, base);
    if (of.machine != kNone) {
      const Machine& m = model_.machines()[of.machine];
      return of.signal ? on_own_stack(m, "signal", m.signal_lo, m.signal_hi) : on_own_stack(m, "g0", m.g0_lo, m.g0_hi);
    }
    Slots slots = heap_.slots(s);
    const char c = i < slots.map.size() ? slots.map[i] : Slots::unknown;
    const HeapCache* by = heap_.cache_with(base);
    w_.state = c == Slots::free ? "free" : c == Slots::cached ? "cached" : of.dead_g ? "dead" : "";
    w_.what = c == Slots::free     ? std::string("in a free stack of the pool")
              : c == Slots::cached ? fmt::format("in a free stack, kept by {}", by ? heap_.cache_name(*by) : "a P")
              : of.fatal           ? std::string("in the stack that is kept for fatal errors")
              : of.dead_g          ? fmt::format("in the stack of a dead goroutine (g at {:#x})", of.dead_g)
                                   : std::string("in a stack that no goroutine has");
    if (w_.addr - base < kGuard && s.slotguard) {
      auto guard = session_.memory().get<std::uint8_t>(s.slotguard + i);
      std::string word = guard ? layout_.guard(*guard) : std::string();
      if (word == "mprotect" || word == "madvise") {
        w_.kind = "guard";
        w_.what += ", in its guard page";
      }
    }
  }

  // In the stack of a live goroutine, whose slot begins at base.
  void on_stack(std::uint32_t index, std::uint64_t base) {
    const Goroutine& g = model_.goroutines()[index];
    w_.kind = "stack";
    w_.goroutine = index;
    if (w_.addr < g.stack_lo) {
      w_.kind = "guard";
      w_.base = base;
      w_.size = g.stack_lo - base;
      w_.what = "in the guard page of the stack of " + title(model_, index);
      return;
    }
    w_.what = "on the stack of " + title(model_, index);
    const Context c = context_of(session_.unwinder(), model_, g);
    const bool inside = c.regs.has(kRsp) && c.regs.r[kRsp] >= g.stack_lo && c.regs.r[kRsp] < g.stack_hi();
    if (!inside) return;
    if (w_.addr < c.regs.r[kRsp]) {
      w_.state = "below_sp";
      w_.what += ", below its stack pointer: nothing that counts";
      return;
    }
    w_.state = "used";
    StackWalk walk = session_.unwinder().walk(c.regs, c.exact, {g.stack_lo, g.stack_hi()});
    for (std::size_t i = 0; i < walk.frames.size(); ++i) {
      const Frame& f = walk.frames[i];
      if (i + 1 < walk.frames.size() && w_.addr >= walk.frames[i + 1].sp) continue;
      // Whose frame it is: what is inlined has none of its own.
      const Location& real = session_.program().locate(f.lookup_pc()).back();
      w_.frame = FrameNumbers(session_, c, walk).real(i);
      w_.where = {f.pc, real.function, real.file, real.line, false};
      return;
    }
  }

  // In a stack of an M's own.
  void on_own_stack(const Machine& m, const char* what, std::uint64_t lo, std::uint64_t hi) {
    w_.kind = "stack";
    w_.base = lo;
    w_.size = hi - lo;
    w_.what = fmt::format("on the {} stack of M {}, thread {}", what, m.id, m.procid);
  }

  bool stack_elsewhere() {
    for (std::uint32_t i = 0; i < model_.goroutines().size(); ++i) {
      const Goroutine& g = model_.goroutines()[i];
      if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || g.is(Goroutine::foreign)) continue;
      if (w_.addr < g.stack_lo || w_.addr >= g.stack_hi()) continue;
      w_.base = g.stack_lo;
      w_.size = g.stack_size;
      on_stack(i, g.stack_lo);
      return true;
    }
    for (const Machine& m : model_.machines()) {
      for (auto [lo, hi, what] : {std::tuple(m.g0_lo, m.g0_hi, "g0"), std::tuple(m.signal_lo, m.signal_hi, "signal")}) {
        if (w_.addr < lo || w_.addr >= hi) continue;
        on_own_stack(m, what, lo, hi);
        return true;
      }
    }
    return false;
  }

  bool variable() {
    Program::Symbol symbol = session_.program().data_symbol(w_.addr);
    if (symbol.name.empty()) return false;
    w_.kind = "global";
    w_.base = symbol.start;
    w_.size = symbol.size;
    w_.name = symbol.name;
    auto variables = session_.program().variable(symbol.name);
    if (variables.size() == 1 && variables[0].type) {
      w_.type = variables[0].type->name;
      std::string member = member_at(variables[0].type, w_.addr - symbol.start);
      if (!member.empty()) w_.name += "." + member;
    }
    w_.what = "in the variable " + w_.name;
    return true;
  }

  bool code() {
    // A label without a size would claim all that follows it.
    std::uint64_t start = session_.program().cfi(w_.addr) ? session_.program().function_start(w_.addr) : 0;
    if (!start) return false;
    SourceFrame at = stacks_.at(w_.addr, true);
    w_.kind = "code";
    w_.base = start;
    w_.where = at;
    w_.name = std::string(at.function);
    w_.what = fmt::format("in the code of {}", describe(at));
    return true;
  }

  // Late, as there may be hundreds of thousands of them.
  bool treap_node() {
    for (const TreapNode& n : heap_.treap()) {
      if (!is_structure("treapNode", n.addr, [] { return std::string("a node of the treap of free spans"); })) continue;
      w_.span = heap_.at_structure(n.span);
      if (!n.error.empty()) w_.errors.push_back(n.error);
      return true;
    }
    return false;
  }

  bool module() {
    for (const Module& m : session_.target().modules()) {
      if (w_.addr < m.lo || w_.addr >= m.hi) continue;
      w_.kind = "module";
      w_.name = m.path;
      w_.what = fmt::format("in {}, under no symbol", basename_of(m.path));
      return true;
    }
    return false;
  }

  void memory() {
    std::byte b;
    if (session_.memory().read(w_.addr, std::span(&b, 1))) {
      w_.kind = "memory";
      w_.what = heap_.warnings().empty()
                    ? "memory outside of the heap, in no structure that is known"
                    : "memory; whether it is the runtime's cannot be known, as parts of the heap are "
                      "unreadable";
    } else {
      w_.kind = "unmapped";
      w_.what =
          session_.target().kind() == Target::Kind::core ? "not in this core: unmapped, or left out of it" : "unmapped";
    }
  }

  HeapState& heap_;
  Stacks& stacks_;
  Model& model_;
  Session& session_;
  Layout& layout_;
  Whereabouts w_;
};

}  // namespace

Whereabouts where_is(HeapState& heap, Stacks& stacks, std::uint64_t addr) { return Search(heap, stacks, addr).run(); }

}  // namespace vitrine::inspect
