// leaks.h: goroutines that nothing can wake any more: blocked on objects that nothing runnable can reach. From a stopped
// target; no collection is forced.
//
//   1. Who may be leaked (a candidate) is who waits on a channel, in a select, on a lock or another object of the
//      runtime's, or for ever (a nil channel, a select without cases). Everybody else — running, runnable, in a system
//      call, asleep, waiting for a descriptor, the runtime's own — goes on by himself.
//   2. A wide graph (heap_graph.h): managed objects, the runtime's own objects (channels, closures, timers) and stacks.
//      Alive are: globals, gc::root handles, finalizers, armed timers, stacks and g's of those who are no candidates, and
//      such of the runtime's objects as no candidate leads to: who has them is not known, so somebody has.
//   3. A candidate whose object is alive is alive, and all that its stack and its g lead to with it; again until nothing
//      changes. A pointer into somebody's stack makes that stack readable, and so alive what it leads to and objects in it,
//      but does not wake its goroutine.
//   4. Who is left is leaked.
//
// What is certain. A channel counts its handles. If as many words that point to it are found in objects (closures, mostly)
// that only leaked goroutines know, there is no other handle and the leak is certain. A word on a stack may be a handle or
// the argument of a call: if only with those there are enough, it is in doubt, and if even then some are missing, these are
// in memory that is not looked at (malloc's, another thread's stack), which is said. Locks have no count: always in doubt, since somebody may know
// one by a pointer in malloc's memory. An object that is itself in such memory is not judged: its waiters are counted as
// unknown, not as leaked. Words that only look like pointers make goroutines seem alive, never leaked.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "heap_graph.h"
#include "objects.h"

namespace vitrine::inspect {

struct LeakRow {
  std::uint32_t goroutine = 0;
  Waits waits;
  bool certain = false;
  std::string why;  // why it is, or why it is in doubt
};

class Leaks {
 public:
  explicit Leaks(HeapGraph& graph);
  bool run();  // false: cancelled
  const std::vector<LeakRow>& rows() const { return rows_; }
  std::size_t candidates() const { return candidates_; }
  std::size_t unknown() const { return unknown_; }  // wait on what is in memory that is not looked at
  std::uint64_t unknown_example() const { return unknown_example_; }
  bool leaked(std::uint32_t goroutine) const { return state_[goroutine] == State::leaked; }
  bool candidate(std::uint32_t goroutine) const { return state_[goroutine] != State::free; }
  // Why one is leaked or not, line by line.
  std::vector<std::string> explain(std::uint32_t goroutine);

 private:
  enum class State : std::uint8_t { free, leaked, alive, unknown };
  enum class Lies : std::uint8_t { node, global, elsewhere };
  struct Place {
    Lies lies = Lies::elsewhere;
    std::uint32_t node = kNone;
  };
  struct Candidate {
    std::uint32_t goroutine;
    Waits waits;
    bool forever = false;
  };
  // Why a node is alive: from which one (kNone: see `what`).
  struct Cause {
    std::uint32_t from = kNone;
    std::uint32_t root = kNone;       // index of a root
    std::uint32_t goroutine = kNone;  // whose stack or g
    const char* what = "";
  };
  Place place(std::uint64_t addr);
  void start(std::uint32_t node, Cause cause);
  bool spread();
  void own_words(std::uint32_t goroutine, std::vector<std::uint32_t>& out);
  void revive(std::uint32_t goroutine, const char* what);
  std::string object_text(const Wait& w);
  std::string owner_text(std::uint32_t node);
  struct Words {
    std::uint64_t objects = 0, stacks = 0;
  };
  Words words_to(std::uint64_t addr, std::uint32_t node);

  HeapGraph& graph_;
  HeapState& heap_;
  Model& model_;
  Session& session_;
  Objects objects_;
  std::vector<State> state_;
  std::vector<Candidate> all_;
  std::vector<bool> alive_;
  std::vector<std::uint32_t> queue_;
  std::vector<std::uint32_t> from_;  // alive by which node; kNone: a start
  std::unordered_map<std::uint32_t, Cause> causes_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> globals_;
  std::vector<std::vector<std::uint32_t>> of_stack_;  // by goroutine: indexes of roots
  std::vector<LeakRow> rows_;
  std::size_t candidates_ = 0, unknown_ = 0;
  std::uint64_t unknown_example_ = 0;
};

}  // namespace vitrine::inspect
