// leaks.cc: see leaks.h.
#include "leaks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kNamed = 4;  // goroutines named in one clause
constexpr std::size_t kMaxChain = 32;

std::string goids(const std::vector<std::uint64_t>& ids) {
  std::string out;
  for (std::size_t i = 0; i < std::min(ids.size(), kNamed); ++i) out += fmt::format("{}{}", i ? ", " : "", ids[i]);
  if (ids.size() > kNamed) out += fmt::format(" and {} more", ids.size() - kNamed);
  return out;
}

}  // namespace

Leaks::Leaks(HeapGraph& graph)
    : graph_(graph),
      heap_(graph.heap()),
      model_(graph.heap().model()),
      session_(graph.heap().session()),
      objects_(session_, model_) {}

Leaks::Place Leaks::place(std::uint64_t addr) {
  if (const std::uint32_t node = graph_.find(addr); node != kNone) return {Lies::node, node};
  for (auto [lo, hi] : globals_) {
    if (addr >= lo && addr < hi) return {Lies::global, kNone};
  }
  return {};
}

void Leaks::start(std::uint32_t node, Cause cause) {
  if (alive_[node]) return;
  alive_[node] = true;
  from_[node] = kNone;
  causes_.emplace(node, cause);
  queue_.push_back(node);
}

// What the stack, the registers and the g of a goroutine lead to.
void Leaks::own_words(std::uint32_t goroutine, std::vector<std::uint32_t>& out) {
  for (std::uint32_t r : of_stack_[goroutine]) out.push_back(graph_.roots()[r].node);
  const Goroutine& g = model_.goroutines()[goroutine];
  std::vector<std::uint64_t> words(heap_.layout().size_of("g") / 8);
  const std::size_t got = session_.memory().read_prefix(g.addr, std::as_writable_bytes(std::span(words))) / 8;
  for (std::size_t i = 0; i < got; ++i) {
    const std::uint32_t node = words[i] ? graph_.find(words[i]) : kNone;
    // Its own stack is named there, and is no news.
    if (node != kNone && !graph_.is(node, HeapGraph::stack)) out.push_back(node);
  }
}

void Leaks::revive(std::uint32_t goroutine, const char* what) {
  Cause cause{kNone, kNone, goroutine, what};
  start(graph_.stack_node(goroutine), cause);
  std::vector<std::uint32_t> words;
  own_words(goroutine, words);
  for (std::uint32_t n : words) start(n, cause);
}

bool Leaks::spread() {
  for (std::size_t at = 0; at < queue_.size(); ++at) {
    if (at % (1 << 18) == 0 && session_.cancelled()) return false;
    const std::uint32_t n = queue_[at];
    auto reach = [&](std::uint32_t to) {
      if (to == kNone || alive_[to]) return;
      alive_[to] = true;
      from_[to] = n;
      queue_.push_back(to);
    };
    if (graph_.is(n, HeapGraph::stack)) {
      for (std::uint32_t r : of_stack_[graph_.goroutine_of(n)]) reach(graph_.roots()[r].node);
    } else {
      for (std::uint32_t to : graph_.edges(n)) reach(to);
    }
  }
  queue_.clear();
  return true;
}

bool Leaks::run() {
  const auto& all = model_.goroutines();
  const std::size_t n = all.size();
  state_.assign(n, State::free);
  of_stack_.resize(n);
  alive_.assign(graph_.size(), false);
  from_.assign(graph_.size(), kNone);
  globals_ = session_.program().writable_segments();
  for (std::uint32_t r = 0; r < graph_.roots().size(); ++r) {
    const GraphRoot& root = graph_.roots()[r];
    if (root.kind == RootKind::stack || root.kind == RootKind::reg) of_stack_[root.who].push_back(r);
    if (root.kind == RootKind::global && globals_.empty()) globals_.emplace_back(root.slot, root.slot + 8);
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    if (i % 4096 == 0 && session_.cancelled()) return false;
    const Goroutine& g = all[i];
    if (g.is(Goroutine::unreadable) || g.is(Goroutine::system) || g.is(Goroutine::foreign) || !model_.waiting(g))
      continue;
    if (g.is(Goroutine::bad_stack) || g.is(Goroutine::bad_sp) || objects_.served(g)) continue;
    Candidate c{i, objects_.waits_of(g), false};
    const std::string_view reason = model_.wait_text(g);
    c.forever = reason.ends_with("(no cases)") || reason.ends_with("(nil chan)");
    if (c.waits.on.empty() && !c.forever) continue;
    if (!c.waits.errors.empty()) continue;  // what else it waits on is not known
    state_[i] = State::leaked;
    all_.push_back(std::move(c));
  }
  candidates_ = all_.size();

  // Objects of the runtime's that no candidate leads to are somebody's.
  std::vector<bool> theirs(graph_.size());
  std::vector<std::uint32_t> begin;
  for (const Candidate& c : all_) own_words(c.goroutine, begin);
  if (!graph_.reach(begin, theirs, nullptr)) return false;
  for (std::uint32_t node = 0; node < graph_.size(); ++node) {
    if (graph_.is(node, HeapGraph::raw) && graph_.is(node, HeapGraph::object) && !theirs[node])
      start(node, {kNone, kNone, kNone, "an object of the runtime's that no blocked goroutine leads to"});
  }
  for (std::uint32_t r = 0; r < graph_.roots().size(); ++r) {
    const GraphRoot& root = graph_.roots()[r];
    if (root.kind != RootKind::stack && root.kind != RootKind::reg) start(root.node, {kNone, r, kNone, ""});
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    if (state_[i] == State::free) revive(i, "which is not blocked on an object");
  }
  if (!spread()) return false;

  for (bool again = true; again;) {
    again = false;
    for (const Candidate& c : all_) {
      if (state_[c.goroutine] != State::leaked || c.forever) continue;
      State now = State::leaked;
      for (const Wait& w : c.waits.on) {
        const Place p = place(w.object);
        bool awake = p.lies == Lies::global || (p.lies == Lies::node && alive_[p.node]);
        if (!awake && (w.kind == ObjectKind::mutex || w.kind == ObjectKind::rw_mutex || w.kind == ObjectKind::once)) {
          if (auto object = objects_.read(w.kind, w.object, false)) {
            const Holder h = objects_.holder(*object);
            awake = h.how == Holder::How::goroutine && h.goroutine != kNone && state_[h.goroutine] != State::leaked;
          }
        }
        if (awake) now = State::alive;
        if (!awake && p.lies == Lies::elsewhere && now == State::leaked) {
          now = State::unknown;
          unknown_example_ = w.object;
        }
      }
      if (now == State::leaked) continue;
      state_[c.goroutine] = now;
      revive(c.goroutine,
             now == State::alive ? "which what it waits for can wake" : "which waits in memory that is not looked at");
      again = true;
    }
    if (!spread()) return false;
  }

  for (const Candidate& c : all_) {
    if (state_[c.goroutine] == State::unknown) ++unknown_;
    if (state_[c.goroutine] != State::leaked) continue;
    LeakRow row{c.goroutine, c.waits, true, {}};
    if (c.forever) row.why = "nothing can end such a wait";
    for (const Wait& w : c.waits.on) {
      const Place p = place(w.object);
      std::vector<std::uint64_t> known;
      for (std::uint32_t i = 0; i < n; ++i) {
        for (std::uint32_t r : of_stack_[i]) {
          if (graph_.roots()[r].node != p.node || (i == c.goroutine)) continue;
          known.push_back(all[i].goid);
          break;
        }
      }
      if (!row.why.empty()) row.why += "; ";
      row.why += known.empty() ? "nobody else knows it"
                               : fmt::format("known to goroutine{} {} only, leaked as well",
                                             known.size() > 1 ? "s" : "", goids(known));
      if (w.kind != ObjectKind::chan) {
        row.certain = false;
        row.why += "; a pointer to it in malloc's memory would not be seen";
        continue;
      }
      auto object = objects_.read(w.kind, w.object, false);
      if (!object || !heap_.layout().has(F::hchan_refs)) {
        row.certain = false;
        row.why += "; how many handles there are is not known";
        continue;
      }
      const Words found = words_to(w.object, p.node);
      const auto handles = static_cast<std::uint64_t>(std::max<std::int64_t>(0, object->handles));
      if (found.objects >= handles) continue;
      row.certain = false;
      if (found.objects + found.stacks < handles) {
        row.why += fmt::format("; {} of its {} are in memory that is not looked at",
                               handles - found.objects - found.stacks, plural(handles, "handle"));
      } else {
        row.why +=
            fmt::format("; of its {} {} in closures and objects, the others on stacks, where a word need not be one",
                        plural(handles, "handle"), found.objects == 1 ? "1 is" : fmt::format("{} are", found.objects));
      }
    }
    rows_.push_back(std::move(row));
  }
  return true;
}

// Words that hold the address itself, where only leaked goroutines look: their stacks and objects that are not alive.
// What waits there (a sudog) names it as well and is no handle.
Leaks::Words Leaks::words_to(std::uint64_t addr, std::uint32_t node) {
  const Layout& l = heap_.layout();
  Words found;
  for (const Candidate& c : all_) {
    if (state_[c.goroutine] != State::leaked) continue;
    for (std::uint32_t r : of_stack_[c.goroutine]) {
      const GraphRoot& root = graph_.roots()[r];
      if (root.node != node || root.kind == RootKind::reg) continue;
      auto value = session_.memory().get<std::uint64_t>(root.slot);
      found.stacks += value && *value == addr;
    }
  }
  for (std::uint32_t from : graph_.reverse().of(node)) {
    if (from == node || alive_[from] || graph_.is(from, HeapGraph::stack)) continue;
    bool waiter = false;
    if (graph_.is(from, HeapGraph::raw) && l.has(F::sudog_g) && l.has(F::sudog_c)) {
      auto g = l.get(session_.memory(), graph_.address(from), F::sudog_g);
      auto c = l.get(session_.memory(), graph_.address(from), F::sudog_c);
      waiter = g && c && *c == addr && objects_.goroutine_at(*g) != kNone;
    }
    if (waiter) continue;
    ++found.objects;
  }
  return found;
}

std::string Leaks::object_text(const Wait& w) {
  std::string text = fmt::format("{} {:#x}", kind_text(w.kind), w.object);
  const Place p = place(w.object);
  if (p.lies == Lies::global) {
    Program::Symbol s = session_.program().data_symbol(w.object);
    return text + (s.name.empty() ? ", a global" : fmt::format(", in the global {}", s.name));
  }
  if (p.lies == Lies::elsewhere) return text + ", in memory that is not looked at (malloc's?)";
  if (graph_.is(p.node, HeapGraph::stack))
    return text + fmt::format(", on the stack of goroutine {}", model_.goroutines()[graph_.goroutine_of(p.node)].goid);
  return text + (graph_.is(p.node, HeapGraph::raw) ? "" : ", in a managed object");
}

std::string Leaks::owner_text(std::uint32_t node) {
  if (graph_.is(node, HeapGraph::stack))
    return fmt::format("the stack of goroutine {}", model_.goroutines()[graph_.goroutine_of(node)].goid);
  return fmt::format("{} {:#x}", graph_.is(node, HeapGraph::raw) ? "the runtime's object" : "the object",
                     graph_.address(node));
}

std::vector<std::string> Leaks::explain(std::uint32_t goroutine) {
  std::vector<std::string> out;
  const Goroutine& g = model_.goroutines()[goroutine];
  if (state_[goroutine] == State::free) {
    out.push_back(
        fmt::format("goroutine {} is not blocked on an object of the runtime's, so it is not leaked", g.goid));
    return out;
  }
  const auto& c = *std::find_if(all_.begin(), all_.end(), [&](const Candidate& a) { return a.goroutine == goroutine; });
  out.push_back(fmt::format("goroutine {} {}", g.goid,
                            state_[goroutine] == State::leaked    ? "is leaked"
                            : state_[goroutine] == State::unknown ? "is not judged"
                                                                  : "is not leaked"));
  for (const Wait& w : c.waits.on) {
    out.push_back(fmt::format("  waits to {} on {}", side_text(w.side), object_text(w)));
    const Place p = place(w.object);
    if (p.lies == Lies::global) out.push_back("    which everybody can reach");
    if (p.lies != Lies::node) continue;
    if (!alive_[p.node]) {
      std::size_t n = 0;
      for (std::uint32_t i = 0; i < model_.goroutines().size() && n < kMaxChain; ++i) {
        for (std::uint32_t r : of_stack_[i]) {
          if (graph_.roots()[r].node != p.node) continue;
          out.push_back(fmt::format("    known to goroutine {}, {}", model_.goroutines()[i].goid,
                                    i == goroutine ? "itself" : "which is leaked"));
          ++n;
          break;
        }
      }
      for (std::uint32_t from : graph_.reverse().of(p.node)) {
        if (from == p.node || graph_.is(from, HeapGraph::stack) || ++n > kMaxChain) continue;
        out.push_back(fmt::format("    known to {}, which nothing alive knows", owner_text(from)));
      }
      out.push_back("    nothing that can run leads to it");
      continue;
    }
    std::uint32_t at = p.node;
    for (std::size_t i = 0; i < kMaxChain && from_[at] != kNone; ++i) {
      at = from_[at];
      out.push_back(fmt::format("    known to {}", owner_text(at)));
    }
    if (auto it = causes_.find(at); it != causes_.end()) {
      const Cause& cause = it->second;
      if (cause.root != kNone) {
        const GraphRoot& root = graph_.roots()[cause.root];
        Program::Symbol s = session_.program().data_symbol(root.slot);
        out.push_back(fmt::format("    known to {} {}", root_kind_text(root.kind),
                                  s.name.empty() ? fmt::format("{:#x}", root.slot) : s.name));
      } else if (cause.goroutine != kNone) {
        out.push_back(
            fmt::format("    known to goroutine {}, {}", model_.goroutines()[cause.goroutine].goid, cause.what));
      } else {
        out.push_back(fmt::format("    {}", cause.what));
      }
    }
  }
  for (const LeakRow& row : rows_) {
    if (row.goroutine == goroutine)
      out.push_back(fmt::format("  {}: {}", row.certain ? "no doubt" : "with doubt", row.why));
  }
  return out;
}

}  // namespace vitrine::inspect
