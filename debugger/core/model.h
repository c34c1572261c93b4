// model.h: the scheduler of a stopped target as plain structures — goroutines, machines (Ms), processors (Ps) — read in
// bulk. One load:
//   1. allgs in one read; its pointers sorted by address, so that g's lying together are read together, and the next
//      ones while some are decoded. A million goroutines take some tenths of a second and 44 bytes each.
//   2. allm by its links (bounded, cycle-checked) and allp; Ms are matched with threads by thread pointer, by the stack
//      that the thread stands on, or by thread id, in that order.
//   3. What is wrong with one row stays with that row (errors_of), and the list goes on.
// Rarely wanted facts (name, waited-on object, creator) are read when asked for.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "goroutine_store.h"
#include "layout.h"
#include "target.h"

namespace vitrine::inspect {

struct Machine {
  std::uint64_t addr = 0;
  std::int64_t id = 0, procid = 0;
  std::uint64_t curg = 0, g0 = 0, gsignal = 0, p = 0, nextp = 0, lockedg = 0;
  std::uint64_t thread_pointer = 0;
  std::uint64_t vdso_sp = 0,
                vdso_pc = 0;  // of who called a function that calls the vDSO, on g0's stack; sp 0: none does
  std::uint64_t g0_lo = 0, g0_hi = 0, signal_lo = 0, signal_hi = 0;
  std::uint32_t thread = kNone;     // index in Target::threads()
  std::uint32_t goroutine = kNone;  // index of curg, when it is a listed goroutine
  const char* matched_by = "";
  bool spinning = false, blocked = false;
};

struct Processor {
  std::uint64_t addr = 0;
  std::int32_t id = 0;
  std::uint32_t status = 0;
  std::uint64_t m = 0;
};

// Where the thread of a running goroutine stands.
enum class Standing : std::uint8_t { no_thread, on_goroutine, on_g0, on_signal, elsewhere };

class Model {
 public:
  static constexpr std::size_t kMaxProcessors = 1 << 16;  // that are read

  // now: a clock reading to compare with waitsince (live on this machine), or 0.
  static Result<std::unique_ptr<Model>> load(Layout& layout, Memory& memory, std::int64_t now,
                                             const std::function<bool()>& cancelled);

  const Goroutines& goroutines() const { return goroutines_; }  // neither dead nor idle ones; by goid
  const std::vector<Machine>& machines() const { return machines_; }
  const std::vector<Processor>& processors() const { return processors_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  std::size_t dead() const { return dead_.size(); }
  const std::vector<std::uint64_t>& dead_addresses() const { return dead_; }
  std::size_t system_count() const { return system_; }
  Layout& layout() const { return layout_; }

  std::uint32_t find_goid(std::uint64_t goid) const;  // index or kNone
  std::uint32_t find_addr(std::uint64_t addr) const;
  std::uint32_t current() const { return current_; }  // on the current or crashed thread; kNone

  bool waiting(const Goroutine& g) const { return waiting_status_ && g.status == *waiting_status_; }
  bool running(const Goroutine& g) const { return running_status_ && g.status == *running_status_; }
  bool in_syscall(const Goroutine& g) const { return syscall_status_ && g.status == *syscall_status_; }
  std::string_view status_text(const Goroutine& g);
  std::string_view wait_text(const Goroutine& g);             // "" when it does not wait
  std::string_view reason_text(std::uint32_t reason);         // of a wait reason's number
  std::optional<std::int64_t> age(const Goroutine& g) const;  // ns
  std::uint64_t lost() const { return lost_; }             // goroutines of which not even the g's address could be read
  bool machines_cut() const { return machines_cut_; }      // there are more Ms, that could not be read
  bool processors_cut() const { return processors_cut_; }  // or Ps
  std::size_t most_processors() const { return processors_cut_ ? kMaxProcessors : processors_.size(); }
  bool age_at_least() const { return age_at_least_; }
  bool age_about() const { return age_about_; }  // it may have waited for less time as well as for more
  std::string age_text(std::int64_t age) const;  // "5.0s", "5.0s+", "~5.0s"
  bool now_exact() const { return now_exact_; }  // false: now() is the last that is known of the clock, or nothing
  std::int64_t now() const { return now_; }  // ns; live: the clock; a core: the runtime's last look at it; 0: unknown
  std::string name(const Goroutine& g) const;
  std::optional<std::uint64_t> waiting_on(const Goroutine& g) const;  // nullopt: unknown or nothing
  std::optional<std::uint64_t> parent(const Goroutine& g) const;
  std::uint64_t labels(const Goroutine& g) const;                     // where they lie; 0: it has none
  std::optional<std::uint64_t> locked_to(const Goroutine& g) const;   // the address of its M
  std::optional<std::int64_t> foreign_tid(const Goroutine& g) const;  // of a foreign one: its thread
  std::string guard(const Goroutine& g) const;                        // "" unknown
  const Machine* machine(const Goroutine& g) const;
  const Machine* locked_machine(const Goroutine& g) const;  // null: locked to none, or to one that is not in allm
  const Processor* processor(const Machine& m) const;
  const Thread* thread(const Goroutine& g) const;
  Standing standing(const Goroutine& g) const;
  Standing standing_at(const Goroutine& g, std::uint64_t sp) const;  // of its thread, if its stack pointer were this
  // Its thread is about to jump to where it goes on: on its stack already, in the routine that resumes.
  bool resuming(const Goroutine& g) const;
  // Where a goroutine goes on whose thread, at `where`, went to its scheduling stack to call the vDSO for it.
  std::optional<Registers> asking(const Goroutine& g, Standing where) const;
  // Bytes between sp and the top; nullopt: not known.
  std::optional<std::uint64_t> stack_used(const Goroutine& g) const;
  std::vector<std::string> errors_of(const Goroutine& g) const;
  std::size_t matched_threads() const;

 private:
  Model(Layout& layout, Memory& memory) : layout_(layout), memory_(memory) {}
  Status read_goroutines(const std::function<bool()>& cancelled);
  void decode(const std::byte* bytes, std::uint64_t addr);
  void read_machines();
  void read_processors();
  void read_last_now();
  void read_wait_reasons();
  void match_threads();
  std::optional<std::uint64_t> word(const Goroutine& g, F f) const;

  Layout& layout_;
  Memory& memory_;
  Goroutines goroutines_;
  std::vector<Machine> machines_;
  std::vector<Processor> processors_;
  std::unordered_map<std::uint64_t, std::uint32_t> machine_at_;
  std::vector<std::string> warnings_;
  std::vector<std::string> wait_reasons_;
  std::unordered_map<std::uint32_t, std::string> number_texts_;
  std::array<std::string, 16> status_texts_;  // of the small numbers; "": not asked yet
  std::optional<std::uint32_t> waiting_status_, running_status_, syscall_status_, dead_status_, idle_status_,
      extra_status_;
  std::vector<std::uint64_t> dead_;
  std::size_t system_ = 0;
  std::uint32_t current_ = kNone;
  std::int64_t now_ = 0;
  std::uint64_t lost_ = 0;
  bool machines_cut_ = false, processors_cut_ = false;
  bool now_exact_ = false;
  bool age_at_least_ = false, age_about_ = false, by_entry_ = false;
};

}  // namespace vitrine::inspect
