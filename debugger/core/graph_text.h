// graph_text.h: what graph.h finds, as text, JSON rows or Graphviz. What is said of an object is the same for all who
// wait on one side of it, so it is made once and kept: a queue may hold a million.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "choose.h"
#include "graph.h"
#include "json.h"
#include "object_rows.h"

namespace vitrine::inspect {

class GraphText {
 public:
  GraphText(Session& session, const Scheduler& view, Objects& objects, const Graph& graph)
      : session_(session), model_(*view.model), stacks_(*view.stacks), objects_(objects), graph_(graph) {}

  bool damaged = false;  // something of what was shown is broken

  std::string label(std::uint32_t i) { return goroutine_label(model_, i); }

  // deadlock: goroutine 17 "a" waits for mutex 0x… held by goroutine 18 "b" waits for … held by goroutine 17
  std::string deadlock(std::uint32_t id, bool all);

  // A goroutine and, indented, what it waits on.
  void entry(const Blocked& b, Buffered& out);

  // The chain from a goroutine, each level two deeper; false when the limit cut it.
  bool chain(std::uint32_t from, std::uint64_t limit, Buffered& out);
  void json(const Blocked& b, Json& json);
  // False: cancelled.
  bool dot(const std::vector<const Blocked*>& rows, Buffered& out);

 private:
  Goroutine at(std::uint32_t i) const { return model_.goroutines()[i]; }
  static std::string quoted(std::string_view text);
  static const char* verb_of(ObjectKind kind);
  static const char* verb(const Waits& waits) { return waits.on.empty() ? "held by" : verb_of(waits.on[0].kind); }
  static std::string object_name(const Waits& waits);
  std::string state(std::uint32_t i);

  // goroutine 5 "locker" (waiting: sync.Mutex.Lock, 12.0s+) in f at x.cc:3
  std::string heading(std::uint32_t i);
  std::string marks(const Blocked& b);
  void say_damaged(const std::string& text, Buffered& out);

  // The same for all who wait on one side of an object, so it is made once: a queue may hold a million.
  std::string waits_on(const Wait& w, bool select);
  std::string describe_wait(const Wait& w);

  Session& session_;
  Model& model_;
  Stacks& stacks_;
  Objects& objects_;
  const Graph& graph_;
  std::unordered_map<std::uint64_t, std::string> texts_;
};

}  // namespace vitrine::inspect
