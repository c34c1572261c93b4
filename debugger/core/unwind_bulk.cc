// unwind_bulk.cc: walks the stacks of all goroutines at once. A million of them, twenty frames each, is what this file
// is for, so nothing is allocated, locked or read twice per frame.
//
// A worker takes kChunk contexts at once and walks them by address. The used parts of their stacks, kBatchRead bytes of
// each at first, are read together: what lies close is one piece (Go's smallest stacks are two to a page), and
// a group of pieces one Target::read_many. The kernel's work per page is most of the whole walk, so pages count.
//
// One stack, on the fast path:
//   1. A window on its used part, [sp, hi): the group's bytes, then the worker's own reads, longer and longer, as the
//      walk gets there.
//   2. Per frame: the lookup pc's rule from the worker's table (open addressing; a rule is 24 bytes and says how to get
//      the CFA from rsp or rbp, and where rbp was saved), two loads, the checks of unwind.cc: the CFA grows and stays
//      within the bounds.
//   3. A pc that is not in the table yet is asked of Program::cfi, under its lock: once per distinct pc and worker.
//   4. Anything that the small rule cannot say — a CFA from another register, an expression, a signal frame, a word
//      that cannot be read — sends the stack, from its start, through walk_stack, which is exact about everything and
//      slower.
//
// Workers take chunks from a shared counter; the calling thread is one of them, and the only one that polls
// `cancelled`. Threads are made only if the target may be read by several.
//
// Rejected: walking in the mapped bytes of a core (Target::view). Over the first touch of 200,000 stacks that took
// twice the time of reading each into a buffer that stays in the cache: a page fault a stack, then a cache miss a
// frame. Also rejected: keeping rules in one shared table (every worker then pays for the coherence of lines that are
// never written again; a private copy is 24 bytes per distinct pc); and remembering whole stacks by a hash of their
// words, since two stacks with equal words but different CFI do not exist, but finding the words is the work.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "quiet_thread.h"
#include "unwind.h"
#include "unwind_step.h"

namespace vitrine::inspect {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunk = 1024;         // contexts taken at once
constexpr std::size_t kBatchRead = 2048;     // of a stack at least, to the page's end
constexpr std::size_t kGap = 2048;           // between stacks that are read as one piece
constexpr std::size_t kPiece = 64 << 10;     // a piece at most
constexpr std::size_t kGroup = 256 << 10;    // and the pieces that are read at once: stays in the cache
constexpr std::size_t kMinPerWorker = 2048;  // fewer are not worth a thread
constexpr unsigned kMaxWorkers = 8;
constexpr std::size_t kFirstRead = 8192;
constexpr std::size_t kMaxRead = 1 << 18;
constexpr std::size_t kMaxDepth = 1 << 20;
constexpr std::size_t kPollFrames = 4096;  // frames between looks at the clock
constexpr auto kPollEvery = std::chrono::milliseconds(20);

enum class Rule : std::uint8_t { sp_offset, bp_offset, bp_deref, end, frame_pointer, slow };

struct SmallRow {
  std::uint64_t pc = 0;  // 0: free
  std::int32_t cfa = 0;
  std::int32_t bp = 0;  // from the CFA
  Rule rule = Rule::slow;
  bool bp_saved = false;
};

SmallRow small_row(std::uint64_t pc, const CfiRow* row) {
  SmallRow s;
  s.pc = pc;
  if (!row) {
    s.rule = Rule::frame_pointer;
    return s;
  }
  if (row->end || row->leaves) {
    s.rule = Rule::end;
    return s;
  }
  if (row->complex_rules || row->signal || row->offset[kRip] != -8 || (row->undefined >> kRbp & 1)) return s;
  if (row->cfa == CfiRow::Cfa::reg_offset && row->cfa_reg == kRsp) s.rule = Rule::sp_offset;
  if (row->cfa == CfiRow::Cfa::reg_offset && row->cfa_reg == kRbp) s.rule = Rule::bp_offset;
  if (row->cfa == CfiRow::Cfa::deref && row->cfa_reg == kRbp) s.rule = Rule::bp_deref;
  s.cfa = row->cfa_offset;
  s.bp_saved = row->saved >> kRbp & 1;
  s.bp = row->offset[kRbp];
  return s;
}

// pc → SmallRow, of one worker.
class RowTable {
 public:
  explicit RowTable(Program& program) : program_(program), slots_(1024) {}
  const SmallRow& at(std::uint64_t pc) {
    for (std::size_t i = index(pc);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].pc == pc) return slots_[i];
      if (slots_[i].pc == 0) return add(pc);
    }
  }

 private:
  std::size_t index(std::uint64_t pc) const { return (pc * 0x9e3779b97f4a7c15ull) >> shift_; }
  const SmallRow& add(std::uint64_t pc) {
    if ((used_ + 1) * 2 > slots_.size()) {
      std::vector<SmallRow> old(slots_.size() * 2);
      old.swap(slots_);
      shift_--;
      for (const SmallRow& s : old)
        if (s.pc) slots_[free_slot(s.pc)] = s;
    }
    used_++;
    const std::size_t i = free_slot(pc);
    slots_[i] = small_row(pc, row_of(program_, pc + 1, false));
    return slots_[i];
  }
  std::size_t free_slot(std::uint64_t pc) const {
    std::size_t i = index(pc);
    while (slots_[i].pc) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  Program& program_;
  std::vector<SmallRow> slots_;  // a power of two, at most half full
  std::size_t used_ = 0;
  int shift_ = 64 - 10;
};

// What is at hand of a stack.
class Window {
 public:
  explicit Window(Target& target) : target_(target) {}
  // `at`: bytes of this stack that are at hand.
  void start(std::uint64_t hi, std::uint64_t lo, std::span<const std::byte> at) {
    hi_ = hi;
    lo_ = lo;
    size_ = at.size();
    bytes_ = at.data();
    next_read_ = kFirstRead;
  }
  bool load(std::uint64_t at, std::uint64_t& v) {
    if (at - lo_ >= size_ || size_ - (at - lo_) < 8) {
      if (!fill(at)) return false;
    }
    std::memcpy(&v, bytes_ + (at - lo_), 8);
    return true;
  }

 private:
  bool fill(std::uint64_t at) {
    // Reads end at page ends, so that a page that cannot be read costs no part of the one before it.
    std::uint64_t end = (at + next_read_) & ~(kPage - 1);
    if (hi_ > at) end = std::min(end, hi_);
    if (end < at + 8) end = at + 8;
    buffer_.resize(std::max(buffer_.size(), static_cast<std::size_t>(end - at)));
    const std::size_t got = target_.read(at, std::span(buffer_).first(static_cast<std::size_t>(end - at)), Space::data);
    next_read_ = std::min(next_read_ * 2, kMaxRead);
    lo_ = at;
    size_ = got;
    bytes_ = buffer_.data();
    return got >= 8;
  }

  Target& target_;
  std::uint64_t lo_ = 0, size_ = 0, hi_ = 0;
  const std::byte* bytes_ = nullptr;
  std::size_t next_read_ = kFirstRead;
  std::vector<std::byte> buffer_;
};

struct Shared {
  std::size_t count;
  const std::function<Unwinder::Context(std::size_t)>& context;
  const Unwinder::BulkSink& sink;
  Program& program;
  Target& target;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
};

class Worker {
 public:
  // poll: null on all but the calling thread.
  Worker(Shared& shared, const std::function<bool()>* poll)
      : shared_(shared),
        poll_(poll),
        rows_(shared.program),
        window_(shared.target),
        memory_(shared.target),
        pcs_(256) {}

  void run() {
    for (;;) {
      const std::size_t from = shared_.next.fetch_add(kChunk, std::memory_order_relaxed);
      if (from >= shared_.count) return;
      chunk_.clear();
      for (std::size_t i = from; i < std::min(from + kChunk, shared_.count); i++)
        chunk_.push_back({i, shared_.context(i), 0});
      std::sort(chunk_.begin(), chunk_.end(), [](const Taken& a, const Taken& b) { return a.c.sp < b.c.sp; });
      for (std::size_t i = 0; i < chunk_.size();) {
        if (poll()) return;  // a stack may have to come from a disk: once a group, not once a chunk
        const std::size_t end = read_group(i);
        for (; i < end; i++) {
          if (!walk(chunk_[i])) return;
        }
      }
    }
  }

  // Asks whether to stop, if it is time. True: stop.
  bool poll() {
    if (shared_.stop.load(std::memory_order_relaxed)) return true;  // told so already
    if (poll_ && *poll_) {
      const auto now = Clock::now();
      if (now - polled_ >= kPollEvery) {
        polled_ = now;
        if ((*poll_)()) shared_.stop.store(true, std::memory_order_relaxed);
      }
    }
    return shared_.stop.load(std::memory_order_relaxed);
  }

 private:
  struct Taken {
    std::size_t index;
    Unwinder::Context c;
    std::size_t piece;  // in pieces_; kNoPiece: nothing was read of it
  };
  static constexpr std::size_t kNoPiece = ~std::size_t{0};

  // Reads of the stacks from `first` on as many as fit into a group; returns which is the first that is not among them.
  std::size_t read_group(std::size_t first) {
    pieces_.clear();
    std::size_t used = 0, i = first;  // used: of group_
    for (; i < chunk_.size(); i++) {
      const Unwinder::Context& c = chunk_[i].c;
      chunk_[i].piece = kNoPiece;
      std::uint64_t end = (c.sp + kBatchRead + kPage - 1) & ~(kPage - 1);
      if (c.bounds.hi) end = std::min(end, c.bounds.hi);
      if (end <= c.sp || c.sp < c.bounds.lo) continue;  // a broken one
      if (!pieces_.empty()) {
        Target::Piece& p = pieces_.back();
        const std::uint64_t have = p.addr + p.out.size();
        const std::uint64_t more = end > have ? end - have : 0;
        if (c.sp <= have + kGap && p.out.size() + more <= kPiece && used + more <= kGroup) {
          used += more;
          p.out = {p.out.data(), p.out.size() + more};
          chunk_[i].piece = pieces_.size() - 1;
          continue;
        }
      }
      if (used + (end - c.sp) > kGroup) break;
      pieces_.push_back({c.sp, std::span(group_).subspan(used, end - c.sp)});
      used += end - c.sp;
      chunk_[i].piece = pieces_.size() - 1;
    }
    if (!pieces_.empty()) shared_.target.read_many(pieces_);
    return i;
  }

  // False: stop.
  bool walk(const Taken& taken) {
    const Unwinder::Context& c = taken.c;
    window_.start(c.bounds.hi, c.sp, {});
    if (taken.piece != kNoPiece) {
      const Target::Piece& p = pieces_[taken.piece];
      const std::uint64_t skip = c.sp - p.addr;
      if (skip < p.got) window_.start(c.bounds.hi, c.sp, p.out.first(p.got).subspan(skip));
    }
    WalkEnd end;
    if (poll()) return false;
    if (!fast(c, end)) end = slow(c);
    if (shared_.stop.load(std::memory_order_relaxed)) return false;  // the walk may have been cut short
    shared_.sink(taken.index, pcs_.data(), count_, end.end, end.bad_address);
    return true;
  }

  bool add(std::uint64_t pc) {
    if (count_ == pcs_.size()) {
      if (count_ >= kMaxDepth) return false;
      pcs_.resize(pcs_.size() * 2);
    }
    pcs_[count_++] = pc;
    return true;
  }
  // Counts work within one stack, and polls now and then. True: stop.
  bool tick(std::size_t work = 1) {
    ticks_ += work;
    if (ticks_ < kPollFrames) return false;
    ticks_ = 0;
    return poll();
  }

  bool fast(const Unwinder::Context& c, WalkEnd& end);
  WalkEnd slow(const Unwinder::Context& c);

  Shared& shared_;
  const std::function<bool()>* poll_;
  RowTable rows_;
  std::vector<Taken> chunk_;
  std::vector<Target::Piece> pieces_;
  std::vector<std::byte> group_ = std::vector<std::byte>(kGroup);
  Window window_;
  Memory memory_;  // of the slow path
  std::vector<std::uint64_t> pcs_;
  std::size_t count_ = 0;
  std::size_t ticks_ = 0;
  Clock::time_point polled_{};
};

// False: this stack needs the slow path.
bool Worker::fast(const Unwinder::Context& c, WalkEnd& end) {
  count_ = 0;
  std::uint64_t pc = c.pc, sp = c.sp, bp = c.bp;
  const std::uint64_t lo = c.bounds.lo, hi = c.bounds.hi;
  if (hi != 0 && (sp < lo || sp > hi)) {
    add(pc ? pc - 1 : 0);
    end = {StackEnd::left_stack, sp};
    return true;
  }
  for (;;) {
    if (pc == 0) return false;
    const std::uint64_t lookup = pc - 1;
    if (lookup == 0) return false;  // 0 marks a free slot
    if (!add(lookup)) {
      end = {StackEnd::depth_limit, sp};
      return true;
    }
    if (tick()) return true;
    const SmallRow& row = rows_.at(lookup);
    std::uint64_t cfa = 0;
    switch (row.rule) {
      case Rule::sp_offset:
        cfa = sp + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.cfa));
        break;
      case Rule::bp_offset:
        cfa = bp + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.cfa));
        break;
      case Rule::bp_deref: {
        const std::uint64_t at = bp + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.cfa));
        if (!window_.load(at, cfa)) return false;
        break;
      }
      case Rule::end:
        end = {StackEnd::bottom, 0};
        return true;
      case Rule::frame_pointer:
        if (bp < sp || (bp & 7) != 0 || bp + 16 < bp || (hi != 0 && (bp < lo || bp + 16 > hi))) {
          end = {StackEnd::no_rule, pc};
          return true;
        }
        cfa = bp + 16;
        break;
      case Rule::slow:
        return false;
    }
    if (cfa <= sp) return false;  // broken, or another stack: the slow path knows what is allowed
    if (hi != 0 && cfa > hi) {
      end = {StackEnd::left_stack, cfa};
      return true;
    }
    std::uint64_t saved = bp;
    if (row.rule == Rule::frame_pointer || row.bp_saved) {
      const std::uint64_t at =
          row.rule == Rule::frame_pointer ? bp : cfa + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.bp));
      if (!window_.load(at, saved)) return false;
    }
    if (!window_.load(cfa - 8, pc)) return false;
    if (pc == 0) {
      end = {StackEnd::bottom, 0};
      return true;
    }
    sp = cfa;
    bp = saved;
  }
}

WalkEnd Worker::slow(const Unwinder::Context& c) {
  count_ = 0;
  Registers regs;
  regs.set(kRip, c.pc);
  regs.set(kRsp, c.sp);
  regs.set(kRbp, c.bp);
  return walk_stack(shared_.program, memory_, regs, false, c.bounds,
                    [this](const Frame& f) { return add(f.lookup_pc()) && !tick(64); });
}

unsigned workers_for(std::size_t n, bool concurrent) {
  if (!concurrent) return 1;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  unsigned count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? static_cast<unsigned>(CPU_COUNT(&cpus)) : 1;
  count = std::min(count, kMaxWorkers);
  return static_cast<unsigned>(std::clamp<std::size_t>(n / kMinPerWorker, 1, std::max(count, 1u)));
}

}  // namespace

bool Unwinder::walk_many(std::size_t count, const std::function<Context(std::size_t)>& context, const BulkSink& sink,
                         const std::function<bool()>& cancelled) {
  Shared shared{count, context, sink, program_, memory_.target(), {}, {}};
  Worker own(shared, &cancelled);
  std::mutex mutex;
  std::condition_variable finished;
  unsigned running = workers_for(count, shared.target.concurrent()) - 1;
  std::vector<std::thread> threads;
  const auto work = [&] {
    Worker(shared, nullptr).run();
    std::lock_guard lock(mutex);
    running--;
    finished.notify_one();
  };
  for (unsigned i = running; i > 0; i--) {
    std::thread thread;
    if (start_quiet_thread(thread, work)) {
      threads.push_back(std::move(thread));
    } else {  // fewer do it
      std::lock_guard lock(mutex);
      running--;
    }
  }
  if (!own.poll()) own.run();
  const auto all_done = [&] {
    std::unique_lock lock(mutex);
    return finished.wait_for(lock, kPollEvery, [&] { return running == 0; });
  };
  while (!all_done()) own.poll();
  for (std::thread& t : threads) t.join();
  return !shared.stop.load();
}

}  // namespace vitrine::inspect
