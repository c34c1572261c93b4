// heap_dominators.cc: see heap_dominators.h.
#include "heap_dominators.h"

#include <utility>

namespace vitrine::inspect {
namespace {

using Numbers = std::vector<std::uint32_t>;

class Dominators {
 public:
  Dominators(const HeapGraph& graph, Retained& out) : graph_(graph), out_(out), number_(graph.size(), 0) {}

  bool run() {
    if (!walk()) return false;
    const auto n = static_cast<std::uint32_t>(out_.node.size());
    semi_.resize(n);
    label_.resize(n);
    ancestor_.assign(n, kNone);
    bucket_.assign(n, kNone);
    next_.assign(n, kNone);
    out_.dominator.assign(n, 0);
    for (std::uint32_t v = 0; v < n; ++v) semi_[v] = label_[v] = v;
    const HeapGraph::Reverse& reverse = graph_.reverse();
    for (std::uint32_t w = n; w-- > 1;) {
      if (w % (1 << 20) == 0 && graph_.cancelled()) return false;
      const std::uint32_t node = out_.node[w];
      for (std::uint32_t from : reverse.of(node)) {
        if (const std::uint32_t v = number_[from]) semi_[w] = std::min(semi_[w], semi_[eval(v)]);
      }
      if (rooted_[node]) semi_[w] = 0;
      next_[w] = bucket_[semi_[w]];
      bucket_[semi_[w]] = w;
      const std::uint32_t p = parent_[w];
      ancestor_[w] = p;
      for (std::uint32_t v = std::exchange(bucket_[p], kNone); v != kNone; v = next_[v]) {
        const std::uint32_t u = eval(v);
        out_.dominator[v] = semi_[u] < semi_[v] ? u : p;
      }
    }
    for (std::uint32_t w = 1; w < n; ++w) {
      if (out_.dominator[w] != semi_[w]) out_.dominator[w] = out_.dominator[out_.dominator[w]];
    }
    out_.bytes.assign(n, 0);
    out_.objects.assign(n, 0);
    for (std::uint32_t w = n; w-- > 1;) {
      out_.bytes[w] += graph_.bytes_of(out_.node[w]);
      out_.objects[w] += 1;
      out_.bytes[out_.dominator[w]] += out_.bytes[w];
      out_.objects[out_.dominator[w]] += out_.objects[w];
    }
    return true;
  }

 private:
  // Depth first from the roots: numbers, parents.
  bool walk() {
    rooted_.assign(graph_.size(), false);
    out_.node.push_back(kNone);
    parent_.push_back(0);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> path;  // node, its next edge
    auto enter = [&](std::uint32_t node, std::uint32_t from) {
      number_[node] = static_cast<std::uint32_t>(out_.node.size());
      out_.node.push_back(node);
      parent_.push_back(from);
      path.emplace_back(node, 0);
    };
    for (const GraphRoot& r : graph_.roots()) {
      rooted_[r.node] = true;
      if (number_[r.node]) continue;
      enter(r.node, 0);
      while (!path.empty()) {
        const std::uint32_t node = path.back().first;
        const auto edges = graph_.edges(node);
        std::uint32_t& at = path.back().second;
        while (at < edges.size() && (edges[at] == kNone || number_[edges[at]])) ++at;
        if (at == edges.size()) {
          path.pop_back();
        } else {
          enter(edges[at++], number_[node]);
          if (out_.node.size() % (1 << 20) == 0 && graph_.cancelled()) return false;
        }
      }
    }
    return true;
  }

  // The node of least semidominator on the way up to, and without, the root of v's tree.
  std::uint32_t eval(std::uint32_t v) {
    if (ancestor_[v] == kNone) return v;
    stack_.clear();
    for (std::uint32_t u = v; ancestor_[ancestor_[u]] != kNone; u = ancestor_[u]) stack_.push_back(u);
    while (!stack_.empty()) {
      const std::uint32_t u = stack_.back();
      stack_.pop_back();
      const std::uint32_t a = ancestor_[u];
      if (semi_[label_[a]] < semi_[label_[u]]) label_[u] = label_[a];
      ancestor_[u] = ancestor_[a];
    }
    return label_[v];
  }

  const HeapGraph& graph_;
  Retained& out_;
  Numbers number_, parent_, semi_, label_, ancestor_, bucket_, next_, stack_;
  std::vector<bool> rooted_;
};

}  // namespace

bool retained(const HeapGraph& graph, Retained& out) { return Dominators(graph, out).run(); }

}  // namespace vitrine::inspect
