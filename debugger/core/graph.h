// graph.h: who waits for whom. Nodes are goroutines and the objects that they wait on; an edge goes from a goroutine to
// each object that it waits on, and from an object to the goroutine that holds it, where the runtime writes that down
// (objects.h). A goroutine waits for one holder at most (a select waits on channels, which have none), so
//   next(g) = the goroutine that holds what g waits on
// is a function, and its cycles are the deadlocks. They are found in one pass: each goroutine is visited once, on a
// walk along next() that ends at one visited before; if that was on the same walk, a cycle is closed. A million
// goroutines that wait for one another cost a million steps.
//
// A goroutine that has been handed what it waited for and only has to be made runnable (Objects::served) waits no more;
// with such edges a hand-over seen half-way would read as a goroutine that waits for itself.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "objects.h"

namespace vitrine::inspect {

struct Blocked {
  std::uint32_t goroutine = 0;   // index
  std::uint32_t next = kNone;    // index of the goroutine that holds what it waits on
  std::uint32_t cycle = kNone;   // the deadlock that it is part of
  std::uint32_t behind = kNone;  // the deadlock that its chain leads to, when it is not part of it
};

class Graph {
 public:
  // False: cancelled.
  bool build(Session& session, Objects& objects);
  const std::vector<Blocked>& blocked() const { return blocked_; }  // goroutines that wait on an object, by goid
  const Blocked* find(std::uint32_t goroutine) const;               // null: it waits on nothing
  // The goroutines of a deadlock, each waiting for the one after it, the last for the first.
  const std::vector<std::uint32_t>& cycle(std::uint32_t id) const { return cycles_[id]; }
  std::size_t cycles() const { return cycles_.size(); }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void find_cycles();
  std::vector<Blocked> blocked_;
  std::vector<std::uint32_t> at_;  // goroutine index → index in blocked_ or kNone
  std::vector<std::vector<std::uint32_t>> cycles_;
  std::vector<std::string> errors_;
};

}  // namespace vitrine::inspect
