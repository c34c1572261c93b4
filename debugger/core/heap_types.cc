// heap_types.cc: see heap_types.h.
#include "heap_types.h"

#include <fmt/format.h>

#include <algorithm>

#include "backtrace.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxSlots = 4096;  // pointers of one type
constexpr std::size_t kMaxTypes = 65'000;
constexpr int kMaxDepth = 16;
constexpr const char* kRegisters[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8",
                                      "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip"};

}  // namespace

HeapTypes::HeapTypes(HeapGraph& graph)
    : graph_(graph),
      heap_(graph.heap()),
      session_(graph.heap().session()),
      types_(graph.size()),
      certain_(graph.size()) {
  infos_.emplace_back();
}

// ---- types of pointers

// What a pointer at that offset of a value of the type points to.
const Type* HeapTypes::pointee(const Type* type, std::uint64_t offset) {
  const Dialect& dialect = heap_.layout().dialect();
  for (int depth = 0; type && depth < kMaxDepth; ++depth) {
    if (type->kind == Type::Kind::pointer) return offset == 0 ? type->element : nullptr;
    if (type->kind == Type::Kind::array) {
      if (!type->element || !type->element->size) return nullptr;
      offset %= type->element->size;
      type = type->element;
      continue;
    }
    if (type->kind != Type::Kind::structure) return nullptr;
    if (auto target = dialect.collected_pointer(type->name)) {
      for (const Field& f : type->fields) {
        if (f.type && f.type->kind == Type::Kind::pointer && f.type->element && type->size == f.type->size)
          return offset == f.offset ? f.type->element : nullptr;
      }
      return offset == 0 ? session_.program().type(*target) : nullptr;
    }
    const Field* in = type->field_at(offset);
    if (!in) return nullptr;
    offset -= in->offset;
    type = in->type;
  }
  return nullptr;
}

// The pointers to collected objects in a value of the type.
void HeapTypes::collect(const Type* type, std::uint64_t base, std::map<std::uint64_t, const Type*>& out, int depth) {
  if (!type || depth > kMaxDepth || out.size() > kMaxSlots) return;
  if (type->kind == Type::Kind::array && type->element && type->element->size) {
    for (std::uint64_t i = 0; i < type->count && out.size() <= kMaxSlots; ++i) {
      const std::size_t before = out.size();
      collect(type->element, base + i * type->element->size, out, depth + 1);
      if (i == 0 && out.size() == before) return;  // no pointers in it
    }
  }
  if (type->kind != Type::Kind::structure) return;
  if (heap_.layout().dialect().collected_pointer(type->name)) {
    if (type->size == 8) out[base] = pointee(type, 0);
    return;
  }
  for (const Field& f : type->fields) collect(f.type, base + f.offset, out, depth + 1);
}

std::uint16_t HeapTypes::id(const Type* type) {
  auto [it, fresh] = ids_.try_emplace(type, kUntyped);
  if (!fresh) return it->second;
  // One type may be described several times.
  const std::string& name = type->name;
  if (auto known = names_.find(name); known != names_.end() && !name.empty()) return it->second = known->second;
  if (name.empty() || infos_.size() >= kMaxTypes) return kUntyped;
  Info info;
  info.name = name;
  info.type = type;
  std::map<std::uint64_t, const Type*> slots;
  collect(type, 0, slots, 0);
  info.too_many = slots.size() > kMaxSlots;
  for (auto& [offset, target] : slots) info.slots.push_back({offset, target, 0});
  infos_.push_back(std::move(info));
  names_[name] = it->second = static_cast<std::uint16_t>(infos_.size() - 1);
  return it->second;
}

void HeapTypes::assign(std::uint32_t node, const Type* type, bool certain) {
  if (!type || !type->size || type->size > graph_.bytes_of(node)) return;
  const std::uint16_t now = types_[node];
  if (certain_[node] && !certain) return;
  if (now && !certain && infos_[now].type->size >= type->size) return;
  const std::uint16_t t = id(type);
  if (!t || t == now) return;
  const std::size_t pointers = graph_.edges(node).size();
  const bool has = !infos_[t].slots.empty();
  if (!certain && has != !graph_.noscan(node)) return;
  if (!certain && has && pointers == 0 && !graph_.is(node, HeapGraph::unread)) return;
  types_[node] = t;
  certain_[node] = certain;
  queue_.push_back(node);
}

// ---- where roots are

HeapTypes::Place HeapTypes::global(std::uint64_t slot) {
  Program& program = session_.program();
  Program::Symbol symbol = program.data_symbol(slot);
  if (symbol.name.empty()) return {fmt::format("{:#x}", slot), nullptr};
  auto [it, fresh] = symbols_.try_emplace(symbol.start, symbol.name, nullptr);
  if (fresh) {
    for (const Variable& v : program.variable(symbol.name)) {
      if (v.address == symbol.start) it->second.second = v.type;
    }
  }
  const std::uint64_t offset = slot - symbol.start;
  return {offset ? fmt::format("{}+{}", symbol.name, offset) : symbol.name, pointee(it->second.second, offset)};
}

const std::vector<Local>& HeapTypes::locals(const Frame& f) {
  auto [it, fresh] = locals_.try_emplace(f.lookup_pc());
  if (fresh) it->second = session_.program().locals(f.lookup_pc(), f.lookup_pc() != f.pc);
  return it->second;
}

HeapTypes::Place HeapTypes::on_stack(std::uint32_t goroutine, std::uint64_t slot) {
  Model& model = heap_.model();
  const Goroutine& g = model.goroutines()[goroutine];
  if (walked_ != goroutine) {
    const Context c = context_of(session_.unwinder(), model, g);
    walk_ = session_.unwinder().walk(c.regs, c.exact, bounds_of(c, g));
    numbers_.emplace(session_, c, walk_);
    walked_ = goroutine;
  }
  Place place{fmt::format("goroutine {}", g.goid), nullptr};
  const auto& frames = walk_.frames;
  auto next =
      std::upper_bound(frames.begin(), frames.end(), slot, [](std::uint64_t at, const Frame& f) { return at < f.sp; });
  if (next == frames.begin() && next != frames.end()) ++next;  // below the innermost: its red zone
  if (next == frames.begin()) return place;
  const Frame& f = *std::prev(next);
  const Location& where = session_.program().locate(f.lookup_pc()).back();
  place.text +=
      fmt::format(", frame #{} {}", numbers_->real(static_cast<std::size_t>(std::prev(next) - frames.begin())),
                  where.function.empty() ? fmt::format("{:#x}", f.pc) : where.function);
  if (next == frames.end()) return place;
  for (const Local& local : locals(f)) {
    if (!local.type || local.partial || local.pieces.size() != 1 || local.pieces[0].place != Local::Place::cfa)
      continue;
    const std::uint64_t at = next->sp + static_cast<std::uint64_t>(local.pieces[0].at);
    if (slot - at >= local.type->size) continue;
    place.text += fmt::format(", {}", local.name);
    if (slot != at) place.text += fmt::format("+{}", slot - at);
    place.pointee = pointee(local.type, slot - at);
    break;
  }
  return place;
}

HeapTypes::Place HeapTypes::place(const GraphRoot& root) {
  switch (root.kind) {
    case RootKind::global:
      return global(root.slot);
    case RootKind::stack:
      return on_stack(root.who, root.slot);
    case RootKind::reg: {
      const Goroutine& g = heap_.model().goroutines()[root.who];
      return {fmt::format("goroutine {}, {}", g.goid,
                          root.slot < std::size(kRegisters) ? std::string(kRegisters[root.slot]) : "a saved register"),
              nullptr};
    }
    case RootKind::handle: {
      // Where the handle itself is says what it points to.
      Place in = global(root.slot);
      if (session_.program().data_symbol(root.slot).name.empty()) {
        in.text = fmt::format("handle {:#x}", root.slot);
        for (std::uint32_t i = 0; i < heap_.model().goroutines().size(); ++i) {
          const Goroutine& g = heap_.model().goroutines()[i];
          if (g.is(Goroutine::unreadable) || g.is(Goroutine::bad_stack) || root.slot < g.stack_lo ||
              root.slot >= g.stack_hi())
            continue;
          in = on_stack(i, root.slot);
          break;
        }
      }
      return in;
    }
    case RootKind::finalizer:
      return {fmt::format("finalizer of {:#x}{}", graph_.address(root.who),
                          types_[root.who] ? " " + infos_[types_[root.who]].name : ""),
              nullptr};
    case RootKind::queued:
      return {"finalizers to be run", nullptr};
    case RootKind::held:
      return {fmt::format("runtime object {:#x}", root.slot), nullptr};
    case RootKind::caller:
      return {fmt::format("caller of run, {:#x}", root.slot), nullptr};
  }
  return {};
}

// ---- spreading

// Objects with destructors: the function that calls it is of one type.
void HeapTypes::certain_ones() {
  const Layout& l = heap_.layout();
  const auto destructor = l.constant("kindSpecialDestructor");
  if (!destructor || !l.has(F::specialdestructor_destroy)) return;
  Memory& memory = session_.memory();
  std::unordered_map<std::uint64_t, const Type*> by_function;
  for (std::uint32_t i = 0; i < heap_.with_pages(); ++i) {
    const Span& s = heap_.spans()[i];
    if (heap_.kind(s) != SpanKind::small && heap_.kind(s) != SpanKind::large) continue;
    std::uint64_t n = 0;
    for (std::uint64_t at = s.specials; at && n < heap_.nelems(s) * 64 + 64; ++n) {
      auto kind = l.get(memory, at, F::special_kind), offset = l.get(memory, at, F::special_offset),
           next = l.get(memory, at, F::special_next), destroy = l.get(memory, at, F::specialdestructor_destroy);
      if (!kind || !offset || !next || !destroy) break;
      if (*kind == *destructor) {
        auto [it, fresh] = by_function.try_emplace(*destroy, nullptr);
        if (fresh) {
          const Program::Function f = session_.program().function_at(*destroy);
          std::string_view name = l.dialect().destroyed_type(f.name);
          if (!name.empty()) it->second = session_.program().type(name);
        }
        const std::uint32_t node = graph_.find(s.base + *offset);
        if (node != kNone) assign(node, it->second, true);
      }
      at = *next;
    }
    if (i % 4096 == 0 && session_.cancelled()) return;
  }
}

bool HeapTypes::run() {
  session_.progress("telling types");
  certain_ones();
  std::size_t n = 0;
  for (const GraphRoot& r : graph_.roots()) {
    if (++n % 1024 == 0 && session_.cancelled()) return false;
    if (r.kind != RootKind::global && r.kind != RootKind::stack && r.kind != RootKind::handle) continue;
    std::uint64_t value = 0;
    if (auto v = session_.memory().get<std::uint64_t>(r.slot)) value = *v;
    if (value == graph_.address(r.node)) assign(r.node, place(r).pointee, false);
  }
  for (std::size_t at = 0; at < queue_.size(); ++at) {
    const std::uint32_t node = queue_[at];
    if (at % (1 << 18) == 0) {
      if (session_.cancelled()) return false;
      session_.progress(fmt::format("telling types: {} objects", at));
    }
    const std::uint16_t t = types_[node];
    const std::size_t slots = infos_[t].slots.size();
    for (std::size_t k = 0; k < slots; ++k) {
      if (const Type* target = infos_[t].slots[k].target; target && !infos_[t].slots[k].id) {
        const std::uint16_t known = id(target);  // may move infos_
        infos_[t].slots[k].id = known;
      }
    }
    const auto edges = graph_.edges(node);
    if (!slots || infos_[t].too_many || edges.size() % slots || graph_.is(node, HeapGraph::unread)) continue;
    const std::uint32_t first = graph_.first_edge(node);
    for (std::uint32_t k = 0; k < edges.size(); ++k) {
      if (edges[k] == kNone || types_[edges[k]] == infos_[t].slots[k % slots].id || graph_.interior(first + k))
        continue;
      assign(edges[k], infos_[t].slots[k % slots].target, false);
    }
  }
  std::vector<std::uint32_t>().swap(queue_);
  session_.progress("");
  return true;
}

std::string HeapTypes::text(std::uint32_t node) const { return types_[node] ? infos_[types_[node]].name : "untyped"; }

std::string HeapTypes::member(std::uint32_t node, std::uint64_t offset) const {
  const Type* type = infos_[types_[node]].type;
  if (!type || !type->size) return {};
  std::string path;
  if (graph_.edges(node).size() > infos_[types_[node]].slots.size()) path = fmt::format("[{}]", offset / type->size);
  offset %= type->size;
  const Dialect& dialect = heap_.layout().dialect();
  for (int depth = 0; type && depth < kMaxDepth; ++depth) {
    if (type->kind == Type::Kind::array && type->element && type->element->size) {
      path += fmt::format("[{}]", offset / type->element->size);
      offset %= type->element->size;
      type = type->element;
      continue;
    }
    if (type->kind != Type::Kind::structure || dialect.collected_pointer(type->name)) break;
    const Field* in = type->field_at(offset);
    if (!in) break;
    path += (path.empty() ? "" : ".") + in->name;
    offset -= in->offset;
    type = in->type;
  }
  return path;
}

}  // namespace vitrine::inspect
