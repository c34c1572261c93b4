// graph.cc: see graph.h.
#include "graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace vitrine::inspect {
namespace {

constexpr std::size_t kErrors = 20;  // that are spelled out

bool has_holder(ObjectKind kind) {
  return kind == ObjectKind::mutex || kind == ObjectKind::rw_mutex || kind == ObjectKind::once ||
         kind == ObjectKind::task;
}

}  // namespace

bool Graph::build(Session& session, Objects& objects) {
  const Goroutines& all = objects.model().goroutines();
  at_.assign(all.size(), kNone);
  std::unordered_map<std::uint64_t, std::uint32_t> holders;  // object and kind → goroutine index
  std::size_t bad = 0;
  auto say = [&](const std::string& text) {
    if (++bad <= kErrors) errors_.push_back(text);
  };
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    if (i % 4096 == 4095) {
      if (session.cancelled()) return false;
      session.progress(fmt::format("goroutine {} of {}", i + 1, all.size()));
    }
    Waits waits = objects.waits_of(all[i]);
    for (const std::string& e : waits.errors) say(fmt::format("goroutine {}: {}", all[i].goid, e));
    if (waits.on.empty() && !waits.select) continue;
    Blocked b;
    b.goroutine = i;
    if (waits.on.size() == 1 && has_holder(waits.on[0].kind)) {
      const Wait& w = waits.on[0];
      auto [it, fresh] = holders.try_emplace(w.object * 16 + static_cast<std::uint64_t>(w.kind), kNone);
      if (fresh) {
        if (auto object = objects.read(w.kind, w.object, false)) {
          Holder h = objects.holder(*object);
          if (h.how == Holder::How::goroutine) it->second = h.goroutine;
        } else {
          say(fmt::format("goroutine {}: {}", all[i].goid, object.error().message));
        }
      }
      b.next = it->second;
      if (b.next == i && objects.served(all[i])) b.next = kNone;
    }
    at_[i] = static_cast<std::uint32_t>(blocked_.size());
    blocked_.push_back(b);
  }
  session.progress("");
  if (bad > kErrors) errors_.push_back(fmt::format("and {} more", bad - kErrors));
  find_cycles();
  return true;
}

const Blocked* Graph::find(std::uint32_t goroutine) const {
  return goroutine >= at_.size() || at_[goroutine] == kNone ? nullptr : &blocked_[at_[goroutine]];
}

void Graph::find_cycles() {
  constexpr std::uint32_t kNew = 0;
  std::vector<std::uint32_t> walk_of(blocked_.size(), kNew);
  std::vector<std::uint32_t> path;
  for (std::uint32_t start = 0; start < blocked_.size(); ++start) {
    path.clear();
    std::uint32_t at = start;
    while (at != kNone && walk_of[at] == kNew) {
      walk_of[at] = start + 1;
      path.push_back(at);
      std::uint32_t next = blocked_[at].next;
      at = next == kNone ? kNone : at_[next];
    }
    if (at == kNone) continue;
    std::uint32_t id = kNone;
    if (walk_of[at] == start + 1) {  // closed on this very walk
      id = static_cast<std::uint32_t>(cycles_.size());
      auto first = std::find(path.begin(), path.end(), at);
      std::vector<std::uint32_t> members(first, path.end());
      std::rotate(members.begin(), std::min_element(members.begin(), members.end()), members.end());
      for (std::uint32_t& m : members) {
        blocked_[m].cycle = id;
        m = blocked_[m].goroutine;
      }
      cycles_.push_back(std::move(members));
    } else {
      id = blocked_[at].cycle != kNone ? blocked_[at].cycle : blocked_[at].behind;
    }
    for (std::uint32_t b : path) {
      if (blocked_[b].cycle == kNone) blocked_[b].behind = id;
    }
  }
}

}  // namespace vitrine::inspect
