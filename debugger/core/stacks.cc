// stacks.cc: see stacks.h. Interning is called from several threads at once by Unwinder::walk_many; shards of one map,
// chosen by hash, keep them apart. Lock order: a shard, then mutex_. Numbers of shapes follow the order in which they
// were first seen, which differs from run to run: nothing that is printed may depend on them.
#include "stacks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "backtrace.h"
#include "session.h"
#include "unwind_step.h"

namespace vitrine::inspect {
namespace {

std::uint64_t hash_of(const std::uint64_t* pcs, std::size_t count, std::uint64_t seed) {
  std::uint64_t h = seed * 0x9e3779b97f4a7c15ull + count;
  for (std::size_t i = 0; i < count; ++i) {
    h = (h ^ pcs[i]) * 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  }
  return h * 0x9e3779b97f4a7c15ull;  // the shard is taken from the top bits
}

}  // namespace

Stacks::Stacks(Session& session, Model& model, Program& program, Unwinder& unwinder)
    : session_(session), model_(model), program_(program), unwinder_(unwinder) {
  shape_of_.assign(model.goroutines().size(), kNone);
  walked_.assign(model.goroutines().size(), false);
  for (const Module& m : session.target().modules()) {
    if (!m.main && plumbing_module(m.path)) plumbing_ranges_.emplace_back(m.lo, m.hi);
  }
}

std::uint32_t Stacks::intern(const std::uint64_t* pcs, std::size_t count, bool exact, StackEnd end) {
  std::uint64_t hash = hash_of(pcs, count, static_cast<std::uint64_t>(end) * 2 + exact);
  Shard& shard = shards_[hash >> 58];
  std::lock_guard lock(shard.mutex);
  auto [it, last] = shard.by_hash.equal_range(hash);
  for (; it != last; ++it) {
    const Shape& s = *it->second.shape;
    if (s.pcs.size() == count && s.exact == exact && s.end == end &&
        std::memcmp(s.pcs.data(), pcs, count * sizeof *pcs) == 0) {
      return it->second.id;
    }
  }
  auto made = std::make_unique<Shape>();
  made->pcs.assign(pcs, pcs + count);
  made->exact = exact;
  made->end = end;
  Known known{made.get(), 0};
  {
    std::lock_guard all(mutex_);
    known.id = static_cast<std::uint32_t>(shapes_.size());
    shapes_.push_back(std::move(made));
  }
  shard.by_hash.emplace(hash, known);
  return known.id;
}

bool Stacks::ensure(const std::vector<std::uint32_t>& goroutines) {
  struct Saved {
    std::uint32_t goroutine : 31;
    std::uint32_t entered : 1;  // it never ran: its pc is no return address
  };
  std::vector<Saved> saved;  // those with a saved context, which is made of the goroutine only as it is walked
  saved.reserve(goroutines.size());
  std::unordered_map<std::uint32_t, Registers> resuming;
  const auto bounds_of = [](const Goroutine& g) {
    return g.stack_size && !g.is(Goroutine::bad_stack) ? StackBounds{g.stack_lo, g.stack_hi()} : StackBounds{};
  };
  for (std::uint32_t i : goroutines) {
    if (walked_[i]) continue;
    const Goroutine& g = model_.goroutines()[i];
    if (g.is(Goroutine::unreadable)) continue;
    Standing standing = model_.running(g) || model_.in_syscall(g) ? model_.standing(g) : Standing::no_thread;
    if (standing == Standing::on_goroutine && model_.resuming(g)) {
      const Context c = context_of(unwinder_, model_, g);
      saved.push_back({i, c.exact});
      resuming[i] = c.regs;
      continue;
    }
    bool own = standing == Standing::on_goroutine || standing == Standing::on_signal || standing == Standing::elsewhere;
    if (own) {
      const Thread& t = *model_.thread(g);
      // In a signal handler the walk crosses to the goroutine's stack: only growth could be checked, and not even that.
      StackWalk walk = unwinder_.walk(t.regs, true, standing == Standing::on_goroutine ? bounds_of(g) : StackBounds{});
      if (standing == Standing::on_signal) add_saved_context(unwinder_, model_.layout(), g, walk);
      std::vector<std::uint64_t> pcs;
      for (const Frame& f : walk.frames) pcs.push_back(f.lookup_pc());
      if (walk.end != StackEnd::bottom) bad_[i] = {walk.end, walk.bad_address};
      shape_of_[i] = intern(pcs.data(), pcs.size(), true, walk.end);
      walked_[i] = true;
    } else if (g.sp) {
      saved.push_back({i, model_.layout().is_entry(g.pc)});
    }
  }
  if (saved.empty()) return true;
  auto context = [&](std::size_t index) -> Unwinder::Context {
    const Saved s = saved[index];
    const Goroutine& g = model_.goroutines()[s.goroutine];
    if (auto it = resuming.find(s.goroutine); !resuming.empty() && it != resuming.end()) {
      const std::uint64_t* r = it->second.r;
      return {r[kRip] + s.entered, r[kRsp], r[kRbp], bounds_of(g)};
    }
    return {g.pc + s.entered, g.sp, g.bp, bounds_of(g)};
  };
  std::atomic<std::size_t> done{0};
  auto sink = [&](std::size_t index, const std::uint64_t* pcs, std::size_t count, StackEnd end, std::uint64_t bad) {
    const Saved s = saved[index];
    shape_of_[s.goroutine] = intern(pcs, count, s.entered, end);
    if (end != StackEnd::bottom) {
      std::lock_guard lock(mutex_);
      bad_[s.goroutine] = {end, bad};
    }
    done.fetch_add(1, std::memory_order_relaxed);
  };
  auto cancelled = [&] {
    if (saved.size() > 20000) {
      session_.progress(fmt::format("walking stacks: {} of {}", done.load(std::memory_order_relaxed), saved.size()));
    }
    return session_.cancelled();
  };
  bool finished = unwinder_.walk_many(saved.size(), context, sink, cancelled);
  if (saved.size() > 20000) session_.progress("");
  if (!finished) return false;
  for (Saved s : saved) walked_[s.goroutine] = true;
  return true;
}

std::string Stacks::problem(std::uint32_t goroutine) const {
  if (bad_.empty()) return {};
  auto it = bad_.find(goroutine);
  if (it == bad_.end()) return {};
  StackWalk walk;
  walk.end = it->second.end;
  walk.bad_address = it->second.address;
  return walk.explain();
}

bool Stacks::plumbing(const Location& location, std::uint64_t pc) {
  if (location.function.empty()) return true;
  for (auto [lo, hi] : plumbing_ranges_) {
    if (pc >= lo && pc < hi) return true;
  }
  return model_.layout().dialect().plumbing(location.function);
}

std::uint64_t Stacks::display_pc(const Shape& shape, std::size_t frame) {
  const bool exact = frame ? interrupts(program_, session_.memory(), shape.pcs[frame - 1]) : shape.exact;
  return shape.pcs[frame] + !exact;
}

const std::vector<SourceFrame>& Stacks::frames(std::uint32_t shape) {
  if (lazy_.size() < shapes_.size()) lazy_.resize(shapes_.size());
  Lazy& lazy = lazy_[shape];
  if (lazy.have_frames) return lazy.frames;
  const Shape& s = *shapes_[shape];
  for (std::size_t i = 0; i < s.pcs.size(); ++i) {
    for (const Location& l : program_.locate(s.pcs[i])) {
      lazy.frames.push_back({display_pc(s, i), l.function, l.file, l.line, l.inlined});
    }
  }
  lazy.have_frames = true;
  return lazy.frames;
}

const SourceFrame& Stacks::user_frame(std::uint32_t shape) {
  if (lazy_.size() < shapes_.size()) lazy_.resize(shapes_.size());
  Lazy& lazy = lazy_[shape];
  if (lazy.have_user) return lazy.user;
  lazy.have_user = true;
  const Shape& s = *shapes_[shape];
  for (std::size_t i = 0; i < s.pcs.size(); ++i) {
    for (const Location& l : program_.locate(s.pcs[i])) {
      if (plumbing(l, s.pcs[i])) continue;
      lazy.user = {display_pc(s, i), l.function, l.file, l.line, l.inlined};
      return lazy.user;
    }
  }
  return lazy.user;
}

SourceFrame Stacks::where(std::uint32_t goroutine) {
  if (shape_of_[goroutine] != kNone) {
    const SourceFrame& user = user_frame(shape_of_[goroutine]);
    if (user.valid()) return user;
  }
  const Goroutine& g = model_.goroutines()[goroutine];
  return g.startpc ? at(g.startpc, true) : SourceFrame{};
}

SourceFrame Stacks::at(std::uint64_t pc, bool exact) {
  const Location& l = program_.locate(exact ? pc : pc - 1).front();
  return {pc, l.function, l.file, l.line, l.inlined};
}

SourceFrame Stacks::creator(const Goroutine& g) {
  if (!g.gopc) return {};
  const std::vector<Location>& all = program_.locate(g.gopc - 1);
  for (const Location& l : all) {
    if (!plumbing(l, g.gopc - 1)) return {g.gopc, l.function, l.file, l.line, l.inlined};
  }
  const Location& l = all.back();
  return {g.gopc, l.function, l.file, l.line, l.inlined};
}

std::string_view basename_of(std::string_view path) {
  auto slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

std::string describe(const SourceFrame& frame) {
  if (!frame.valid()) return {};
  if (frame.function.empty()) return fmt::format("{:#x}", frame.pc);
  if (frame.file.empty() || frame.line == 0) return std::string(frame.function);
  return fmt::format("{} at {}:{}", frame.function, basename_of(frame.file), frame.line);
}

const Labels& Stacks::labels(const Goroutine& g) {
  const std::uint64_t at = model_.labels(g);
  auto [it, fresh] = labels_.try_emplace(at);
  if (!fresh || !at) return it->second;
  const std::string_view name = model_.layout().dialect().labels_type();
  const Type* type = name.empty() ? nullptr : program_.type(name);
  if (!type) return it->second;
  auto read = read_go_labels(session_.memory(), *type, at);
  if (read) {
    it->second = std::move(*read);
  } else {
    it->second = {{fmt::format("<unreadable {:#x}>", read.error().address.value_or(at)), ""}};
  }
  return it->second;
}

std::string describe(const Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out += fmt::format("{}{}={}", out.empty() ? "" : " ", key, value);
  return out;
}

}  // namespace vitrine::inspect
