// recorder.h: the flight recorder of a target — the rings into which each M writes what its scheduler does — merged into
// one timeline of events, and the life of one goroutine out of it. The rings' format is the runtime's (trace.h there,
// version 1); where the fields are comes from the layout.
//
// Loading:
//   1. The clock: two moments on the recorder's clock and on the system's, so ticks become nanoseconds and wall time.
//   2. Each ring: head, the records, head again if the process runs meanwhile. Records [head2 + 1 - size, head1) can be
//      whole; of those, one whose check does not fit its words and its number is torn: counted, not shown. Records
//      before them are overwritten; pages that cannot be read are counted as unreadable.
//   3. A record that tells of two things (a goroutine stops, the next one starts) becomes two events, so that all
//      further steps deal with Go's events one by one.
//   4. By time. An unblocking whose time is only known to be later than some moment moves behind the block that it ends.
//
// Each goroutine's events are numbered; where a number is missing, its state up to the next event is unknown, and said
// to be. The walks over rings, and each ring's size, are bounded.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model.h"
#include "session.h"
#include "stacks.h"

namespace vitrine::inspect {

// What an event is, whatever number the program gives it.
enum class Ev : std::uint8_t {
  other,
  create,
  start,
  stop,
  block,
  destroy,
  unblock,
  syscall_begin,
  syscall_end,
  syscall_end_blocked,
  proc_start,
  proc_stop,
  proc_steal,
  stw_begin,
  stw_end,
  thread,
  status,
  count
};

struct Event {
  std::int64_t time = 0;  // ns since the recording began
  Ev kind = Ev::other;
  std::uint8_t number = 0;  // as recorded
  std::uint8_t reason = 0;  // of a block or stop
  bool early = false;       // happened at `time` or later, before the ring's next event
  std::int32_t p = -1;
  std::int64_t m = 0;      // -1: a thread that is no M
  std::uint64_t goid = 0;  // whom it is about; 0: no goroutine
  std::uint32_t seq = 0;   // its number among that goroutine's events
  std::uint64_t arg = 0;   // start address (create), by whom (unblock, create: a goid), text (stw_begin), tid (thread)
  std::uint64_t by = 0;    // goid of who created or readied it; 0: nobody known
};

struct Ring {
  std::uint64_t addr = 0;
  std::int64_t m = 0, tid = 0;
  bool live = false;
  std::uint64_t written = 0, overwritten = 0, torn = 0, unreadable = 0, shown = 0;
  std::uint64_t first_unreadable = 0;  // address; unreadable != 0
};

// A stretch of a goroutine's life in one state.
enum class LifeState : std::uint8_t { unknown, runnable, running, waiting, syscall, dead };
std::string_view life_word(LifeState state);
struct Stretch {
  LifeState state = LifeState::unknown;
  std::int64_t begin = 0, end = 0;  // ns since the recording began
  bool open = false;                // it goes on: end is the last that is known
  bool begin_early = false;         // began at `begin` or later
  bool end_early = false;           // ended at `end` or later
  std::uint32_t first = 0;          // the event that began it; of an unknown one, the event that ends it
  std::uint32_t lost = 0;           // unknown: how many events are missing (modulo 2^20); 0: what was before the first
};

class Recorder {
 public:
  // Error: this program has none, or it never ran, or cannot be understood.
  static Result<std::unique_ptr<Recorder>> load(Session& session, Model& model);

  const std::vector<Event>& events() const { return events_; }  // by time
  const std::vector<Ring>& rings() const { return rings_; }
  bool recording() const { return recording_; }
  std::int64_t end() const { return end_; }  // the last moment that is known
  std::int64_t wall(std::int64_t time) const {
    std::int64_t sum;
    return __builtin_add_overflow(wall_base_, time, &sum) ? 0 : sum;
  }
  std::string_view event_text(const Event& e) const;
  std::string_view reason_text(const Event& e) const { return model_.reason_text(e.reason); }
  // Its own name, else that of its first function; "" when neither is known.
  std::string goroutine_text(Stacks& stacks, std::uint64_t goid);
  std::vector<Stretch> life(std::uint64_t goid) const;
  std::string stw_reason(const Event& e);
  // "2 torn records skipped, …": what is not in the timeline, for the footer; "" when all is.
  std::string lost_text() const;
  // Records were lost, or rings were not found: what is not there may have been.
  bool incomplete() const { return cut_ || !lost_text().empty(); }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Raw {
    std::uint64_t time, g, other, what;
  };
  struct Context;
  Recorder(Session& session, Model& model) : session_(session), model_(model), layout_(model.layout()) {}
  Status read_clock(std::uint64_t trace);
  Status read_rings(std::uint64_t trace);
  void read_ring(const std::vector<std::byte>& head, Ring& ring);
  void add(const Raw& raw, Context& context);
  void merge();
  std::int64_t to_ns(std::uint64_t ticks) const;

  Session& session_;
  Model& model_;
  Layout& layout_;
  std::vector<Event> events_;
  std::vector<Ring> rings_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> by_goid_;
  std::unordered_map<std::uint64_t, std::string> names_;
  std::vector<std::string> warnings_;
  bool cut_ = false;                       // not every ring could be read
  std::array<std::uint8_t, 256> kinds_{};  // Ev of a recorded number
  std::uint32_t readied_ = 0, generation_ = 0;
  std::uint64_t base_ticks_ = 0;
  double ns_per_tick_ = 1;
  std::int64_t wall_base_ = 0, mono_base_ = 0, end_ = 0;
  std::uint64_t out_of_order_ = 0, dropped_ = 0;
  bool recording_ = false;
};

}  // namespace vitrine::inspect
