// commands_heap_graph.cc: heap types, heap roots, heap why, heap retained: what the graph of objects says (heap_graph.h).
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "choose.h"
#include "expressions.h"
#include "heap_commands.h"
#include "heap_dominators.h"
#include "heap_graph.h"
#include "heap_kept.h"
#include "heap_types.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kDefaultPaths = 3;

// The graph with its types, or what happened instead.
struct Look {
  HeapState* heap = nullptr;  // which keeps the other two
  HeapGraph* graph = nullptr;
  HeapTypes* types = nullptr;
  Outcome outcome = Outcome::error;
};

// Made once a stop, as far as it is whole: on a core, and while the process does not run, the next command has it.
Look look_at_graph(Session& session, Sink& sink) {
  Look l;
  auto heap = look_at_heap(session, sink);
  if (!heap) return l;
  auto stopped = [&] {
    session.progress("");
    fail(sink, "stopped by Ctrl-C");
    l.outcome = Outcome::cancelled;
  };
  std::unique_ptr<KeptGraph>& kept = (*heap)->kept_graph();
  if (!kept || session.moving) {
    kept.reset();
    auto made = std::make_unique<KeptGraph>(**heap);
    auto graph = HeapGraph::build(**heap, made->gc, false);
    if (!graph) {
      if (session.cancelled())
        stopped();
      else
        fail(sink, graph.error());
      return l;
    }
    made->graph = std::move(*graph);
    made->types = std::make_unique<HeapTypes>(*made->graph);
    if (!made->types->run()) {
      stopped();
      return l;
    }
    kept = std::move(made);
  }
  l.heap = *heap;
  l.graph = kept->graph.get();
  l.types = kept->types.get();
  return l;
}

std::uint64_t percent(std::uint64_t part, std::uint64_t whole) { return whole ? (part * 100 + whole / 2) / whole : 0; }

bool is_table(const Options& options) { return !options.has("json") && !options.has("short") && !options.has("count"); }

// -top N is -limit N.
void take_top(Options& options) {
  if (!options.has("top")) return;
  std::string top = *options.get("top");
  options.set.emplace_back("limit", std::move(top));
}

// ---- heap types

constexpr ColumnSpec kTypeColumns[] = {
    {"type", "TYPE", ColumnType::text, false, false, "of the objects; untyped: what could not be told"},
    {"count", "COUNT", ColumnType::number, true, false, "objects"},
    {"bytes", "BYTES", ColumnType::size, true, false, "of all of them, as the heap gives them out"},
    {"average", "AVERAGE", ColumnType::size, true, false, "bytes of one"},
    {"share", "SHARE%", ColumnType::number, true, false, "of all bytes"},
    {"typed", "TYPED", ColumnType::flag, false, false, "no: the row of all that could not be told"},
};

std::span<const OptionSpec> types_options() {
  static const std::vector<OptionSpec> options = heap_list_options({
      {"top", Takes::value, "N: only the first N rows"},
      {"by", Takes::value, "bytes|count: the order (default bytes)"},
      {"live", Takes::nothing, "only what can be reached from roots"},
  });
  return options;
}

Outcome run_types(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, types_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("heap types takes options only, not '{}'", line.words[options->positional[0]].text));
  const std::string by = options->has("by") ? *options->get("by") : "bytes";
  if (by != "bytes" && by != "count") return fail(sink, fmt::format("-by: bytes or count, not '{}'", by));
  take_top(*options);
  Look look = look_at_graph(session, sink);
  if (!look.heap) return look.outcome;
  const HeapGraph& graph = *look.graph;
  std::vector<bool> live;
  if (options->has("live")) {
    live.resize(graph.size());
    if (!graph.reach(graph.root_nodes(), live, nullptr)) {
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
  }
  struct Sum {
    std::uint64_t count = 0, bytes = 0;
  };
  std::vector<Sum> sums(look.types->count());
  Sum all;
  for (std::uint32_t n = 0; n < graph.size(); ++n) {
    if (n % (1 << 20) == 0 && session.cancelled()) {
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
    if (!graph.is(n, HeapGraph::object) || (!live.empty() && !live[n])) continue;
    const std::uint64_t bytes = graph.bytes_of(n);
    Sum& s = sums[look.types->of(n)];
    s.count += 1;
    s.bytes += bytes;
    all.count += 1;
    all.bytes += bytes;
  }
  std::vector<std::uint32_t> order(sums.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::uint32_t t) { return sums[t].count == 0; });
  const bool by_count = by == "count";
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint64_t ka = by_count ? sums[a].count : sums[a].bytes, kb = by_count ? sums[b].count : sums[b].bytes;
    return ka != kb ? ka > kb
                    : look.types->name(static_cast<std::uint16_t>(a)) < look.types->name(static_cast<std::uint16_t>(b));
  });
  GridRows rows(kTypeColumns, 5, "type", "heap_types");
  for (std::uint32_t t : order) {
    const Sum& s = sums[t];
    rows.add({t ? look.types->name(static_cast<std::uint16_t>(t)) : std::string("untyped"), s.count, s.bytes,
              s.bytes / s.count, percent(s.bytes, all.bytes), int{t != 0}});
  }
  Outcome outcome = list_rows(*look.heap, sink, rows, *options,
                              live.empty() ? "the heap has no objects" : "nothing can be reached", graph.warnings());
  if (outcome != Outcome::ok || !is_table(*options) || rows.size() == 0) return outcome;
  sink.out(fmt::format("{} of {}{}; {}% of the bytes could not be typed\n", plural(all.count, "object"),
                       format_size(all.bytes), live.empty() ? "" : " that can be reached",
                       percent(sums[0].bytes, all.bytes)));
  if (look.graph->dead_unswept())
    sink.out(fmt::format("{} more are dead and not swept yet\n", look.graph->dead_unswept()));
  return outcome;
}

// ---- heap roots

constexpr ColumnSpec kRootColumns[] = {
    {"kind", "KIND", ColumnType::text, false, false, "gc::root, global, stack, register, held, finalizer, …"},
    {"where", "WHERE", ColumnType::text, false, false, "the variable, or the goroutine with its frame"},
    {"object", "OBJECT", ColumnType::address, false, false, "what it keeps"},
    {"type", "TYPE", ColumnType::text, false, false, "of that"},
    {"size", "SIZE", ColumnType::size, true, false, "bytes of that"},
    {"slot", "SLOT", ColumnType::address, false, false, "address of the word; null for a register"},
    {"goid", "GOID", ColumnType::number, true, false, "whose stack or register"},
    {"certain", "CERTAIN", ColumnType::flag, false, false, "no: any word that looks like a pointer counts there"},
};

class RootRows : public PlainRows {
 public:
  RootRows(const HeapGraph& graph, HeapTypes& types) : PlainRows(kRootColumns), graph_(graph), types_(types) {}
  std::string_view noun() const override { return "root"; }
  std::string_view schema() const override { return "heap_roots"; }
  std::size_t size() const override { return graph_.roots().size(); }
  std::vector<int> default_columns() const override { return {0, 1, 2, 3, 4}; }
  Value value(std::uint32_t row, int column) override {
    const GraphRoot& r = graph_.roots()[row];
    switch (column) {
      case 0:
        return text(std::string(root_kind_text(r.kind)));
      case 1:
        return text(types_.place(r).text);
      case 2:
        return number(graph_.address(r.node));
      case 3:
        return types_.of(r.node) ? text(types_.text(r.node)) : Value{};
      case 4:
        return number(graph_.bytes_of(r.node));
      case 5:
        return r.kind == RootKind::reg ? Value{} : number(r.slot);
      case 6:
        return r.kind == RootKind::reg || r.kind == RootKind::stack
                   ? number(graph_.heap().model().goroutines()[r.who].goid)
                   : Value{};
      default:
        return number(r.kind == RootKind::handle || r.kind == RootKind::finalizer || r.kind == RootKind::queued);
    }
  }
  void json(std::uint32_t row, Json& json) override {
    json.open_object();
    for (std::size_t i = 0; i < columns_.size(); ++i) json_value(json, columns_[i].name, row, static_cast<int>(i));
    json_errors(json, row);
    json.close_object();
  }
  std::string short_text(std::uint32_t row) override { return cell(row, 2); }

 protected:
  std::string error(std::uint32_t) const override { return {}; }
  int last_column() const override { return 4; }

 private:
  const HeapGraph& graph_;
  HeapTypes& types_;
};

std::span<const OptionSpec> roots_options() {
  static const std::vector<OptionSpec> options = heap_list_options();
  return options;
}

Outcome run_roots(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, roots_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("heap roots takes options only, not '{}'", line.words[options->positional[0]].text));
  Look look = look_at_graph(session, sink);
  if (!look.heap) return look.outcome;
  RootRows rows(*look.graph, *look.types);
  return list_rows(*look.heap, sink, rows, *options, "nothing keeps any object", look.graph->warnings());
}

// ---- heap why

constexpr OptionSpec kWhyOptions[] = {
    {"paths", Takes::value, "K: at most K chains, 0 for all (default 3)"},
    {"json", Takes::maybe, "a JSON array, one row a chain; -json=full adds schema, runtime and warnings"},
};

// A chain's objects from the root on.
struct Chain {
  std::uint32_t root;
  std::vector<std::uint32_t> nodes;
};

void print_chain(const HeapGraph& graph, HeapTypes& types, const Chain& chain, std::size_t number, Buffered& out) {
  const GraphRoot& root = graph.roots()[chain.root];
  out.add(fmt::format("{}. {}: {}\n", number, root_kind_text(root.kind), types.place(root).text));
  for (std::size_t i = 0; i < chain.nodes.size(); ++i) {
    const std::uint32_t n = chain.nodes[i];
    std::string by;
    if (i > 0) {
      const auto offsets = graph.offsets(chain.nodes[i - 1], n);
      if (offsets.empty()) {
        by = std::string(1, '?');
      } else {
        std::string member = types.member(chain.nodes[i - 1], offsets[0]);
        by = member.empty() ? fmt::format("+{}", offsets[0]) : member;
      }
    }
    out.add(fmt::format("   {:<12} {:#x} {}, {} bytes\n", i ? by + " →" : std::string("→"), graph.address(n),
                        printable(types.text(n)), graph.bytes_of(n)));
  }
}

void json_chain(const HeapGraph& graph, HeapTypes& types, const Chain& chain, Json& json) {
  const GraphRoot& root = graph.roots()[chain.root];
  json.open_object().key("kind").value(root_kind_text(root.kind));
  json.key("where").value(types.place(root).text).key("slot");
  if (root.kind == RootKind::reg) {
    json.null();
  } else {
    json.address(root.slot);
  }
  json.key("chain").open_array();
  for (std::size_t i = 0; i < chain.nodes.size(); ++i) {
    const std::uint32_t n = chain.nodes[i];
    json.open_object().key("object").address(graph.address(n)).key("type");
    json.text_or_null(types.of(n) ? types.text(n) : std::string());
    json.key("size").value(graph.bytes_of(n));
    const auto offsets = i ? graph.offsets(chain.nodes[i - 1], n) : std::vector<std::uint64_t>{};
    json.key("offset");
    if (offsets.empty()) {
      json.null();
    } else {
      json.value(offsets[0]);
    }
    json.key("member").text_or_null(offsets.empty() ? std::string() : types.member(chain.nodes[i - 1], offsets[0]));
    json.close_object();
  }
  json.close_array().key("errors").open_array().close_array().close_object();
}

Outcome run_why(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kWhyOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->positional.empty()) return fail(sink, "heap why ADDR|EXPR: an address or an expression is needed");
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  std::uint64_t wanted = kDefaultPaths;
  if (const std::string* k = options->get("paths")) {
    auto number = parse_number(*k);
    if (!number) return fail(sink, fmt::format("-paths: '{}' is not a number", *k));
    wanted = *number;
  }
  const Word& begin = line.words[options->positional.front()];
  std::string expression = options->positional.size() == 1
                               ? begin.text
                               : line.raw.substr(begin.begin, line.words[options->positional.back()].end - begin.begin);
  if (!look_at_heap(session, sink)) return Outcome::error;
  auto place = address_of(session, expression);
  if (!place) return fail(sink, place.error());
  Look look = look_at_graph(session, sink);
  if (!look.heap) return look.outcome;
  const HeapGraph& graph = *look.graph;
  HeapTypes& types = *look.types;
  const std::uint32_t target = graph.find(place->value);
  std::vector<std::string> warnings = heap_warnings(*look.heap);
  warnings.insert(warnings.end(), graph.warnings().begin(), graph.warnings().end());
  session.incomplete = session.incomplete || !graph.warnings().empty();
  if (target == kNone)
    return fail(sink, fmt::format("{:#x} is in no object that is allocated: obj {:#x} says what it is", place->value,
                                  place->value));
  // From the object back to the roots, breadth first: what is found first is shortest.
  std::vector<std::uint32_t> toward(graph.size(), kNone), queue{target};
  std::vector<bool> seen(graph.size());
  seen[target] = true;
  const HeapGraph::Reverse& reverse = graph.reverse();
  for (std::size_t at = 0; at < queue.size(); ++at) {
    if (at % (1 << 20) == 0 && session.cancelled()) {
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
    for (std::uint32_t from : reverse.of(queue[at])) {
      if (seen[from]) continue;
      seen[from] = true;
      toward[from] = queue[at];
      queue.push_back(from);
    }
  }
  std::vector<std::uint32_t> depth(graph.size(), kNone);
  for (std::size_t at = 0; at < queue.size(); ++at)
    depth[queue[at]] = queue[at] == target ? 0 : depth[toward[queue[at]]] + 1;
  std::vector<std::uint32_t> ends;  // roots that lead to it
  for (std::uint32_t r = 0; r < graph.roots().size(); ++r) {
    if (seen[graph.roots()[r].node]) ends.push_back(r);
  }
  std::stable_sort(ends.begin(), ends.end(), [&](std::uint32_t a, std::uint32_t b) {
    return depth[graph.roots()[a].node] < depth[graph.roots()[b].node];
  });
  const std::uint64_t total = ends.size(), shown = wanted ? std::min<std::uint64_t>(wanted, total) : total;
  std::vector<Chain> chains;
  for (std::uint64_t i = 0; i < shown; ++i) {
    Chain chain{ends[i], {}};
    for (std::uint32_t n = graph.roots()[ends[i]].node; n != kNone; n = toward[n]) chain.nodes.push_back(n);
    chains.push_back(std::move(chain));
  }
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "heap_why", shown, total, warnings);
    json.open_array();
    for (const Chain& c : chains) json_chain(graph, types, c, json);
    json.close_array();
    if (*mode == 2) json.close_object();
    return page_end(out, sink, warnings, *mode);
  }
  out.add(fmt::format(
      "{:#x}: {}, {} bytes{}\n", graph.address(target), printable(types.text(target)), graph.bytes_of(target),
      place->value == graph.address(target)
          ? ""
          : fmt::format("; {:#x} is {} bytes inside", place->value, place->value - graph.address(target))));
  for (std::size_t i = 0; i < chains.size(); ++i) print_chain(graph, types, chains[i], i + 1, out);
  if (total == 0) {
    out.add(fmt::format(
        "no root leads to it: it is garbage{}\n",
        queue.size() > 1 ? fmt::format(", as {} that lead to it", plural(queue.size() - 1, "object")) : std::string()));
  } else if (shown < total) {
    out.add(fmt::format("{} of {} roots that lead to it (-paths 0 for all)\n", shown, total));
  } else {
    out.add(fmt::format("{}\n", total == 1 ? "1 root leads to it" : fmt::format("{} roots lead to it", total)));
  }
  return page_end(out, sink, warnings, *mode);
}

// ---- heap retained

constexpr ColumnSpec kRetainedColumns[] = {
    {"object", "OBJECT", ColumnType::address, false, false, "address"},
    {"type", "TYPE", ColumnType::text, false, false, "of it"},
    {"retained", "RETAINED", ColumnType::size, true, false, "bytes that would be garbage without it, its own included"},
    {"share", "SHARE%", ColumnType::number, true, false, "of all that can be reached"},
    {"objects", "OBJECTS", ColumnType::number, true, false, "how many that are"},
    {"size", "SIZE", ColumnType::size, true, false, "bytes of its own"},
    {"by", "BY", ColumnType::address, false, false, "the object that keeps it alone; null: none does"},
};

std::span<const OptionSpec> retained_options() {
  static const std::vector<OptionSpec> options = heap_list_options({
      {"top", Takes::value, "N: only the first N rows"},
  });
  return options;
}

class RetainedRows : public PlainRows {
 public:
  RetainedRows(const HeapGraph& graph, const HeapTypes& types, const Retained& r, std::vector<std::uint32_t> order)
      : PlainRows(kRetainedColumns), graph_(graph), types_(types), r_(r), order_(std::move(order)) {}
  std::string_view noun() const override { return "object"; }
  std::string_view schema() const override { return "heap_retained"; }
  std::size_t size() const override { return order_.size(); }
  std::vector<int> default_columns() const override { return {0, 1, 2, 3, 4, 5}; }
  Value value(std::uint32_t row, int column) override {
    const std::uint32_t w = order_[row], n = r_.node[w];
    switch (column) {
      case 0:
        return number(graph_.address(n));
      case 1:
        return types_.of(n) ? text(types_.text(n)) : Value{};
      case 2:
        return number(r_.bytes[w]);
      case 3:
        return number(percent(r_.bytes[w], r_.bytes[0]));
      case 4:
        return number(r_.objects[w]);
      case 5:
        return number(graph_.bytes_of(n));
      default:
        return r_.dominator[w] ? number(graph_.address(r_.node[r_.dominator[w]])) : Value{};
    }
  }
  void json(std::uint32_t row, Json& json) override {
    json.open_object();
    for (std::size_t i = 0; i < columns_.size(); ++i) json_value(json, columns_[i].name, row, static_cast<int>(i));
    json_errors(json, row);
    json.close_object();
  }
  std::string short_text(std::uint32_t row) override { return cell(row, 0); }

 protected:
  std::string error(std::uint32_t) const override { return {}; }
  int last_column() const override { return 5; }

 private:
  const HeapGraph& graph_;
  const HeapTypes& types_;
  const Retained& r_;
  std::vector<std::uint32_t> order_;
};

Outcome run_retained(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, retained_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink,
                fmt::format("heap retained takes options only, not '{}'", line.words[options->positional[0]].text));
  take_top(*options);
  Look look = look_at_graph(session, sink);
  if (!look.heap) return look.outcome;
  session.progress("dominators");
  Retained r;
  const bool done = retained(*look.graph, r);
  session.progress("");
  if (!done) {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  std::vector<std::uint32_t> order(r.node.size() - 1);
  std::iota(order.begin(), order.end(), 1);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return r.bytes[a] != r.bytes[b] ? r.bytes[a] > r.bytes[b] : r.node[a] < r.node[b];
  });
  const std::uint64_t bytes = r.bytes.empty() ? 0 : r.bytes[0], objects = order.size();
  RetainedRows rows(*look.graph, *look.types, r, std::move(order));
  Outcome outcome = list_rows(*look.heap, sink, rows, *options, "nothing can be reached", look.graph->warnings());
  if (outcome == Outcome::ok && is_table(*options) && objects)
    sink.out(fmt::format("{} of {} can be reached\n", plural(objects, "object"), format_size(bytes)));
  return outcome;
}

void complete_types(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(types_options(), kTypeColumns, line, partial, offer);
}
void complete_roots(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(roots_options(), kRootColumns, line, partial, offer);
}
void complete_why(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kWhyOptions, partial, offer);
}
void complete_retained(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(retained_options(), kRetainedColumns, line, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"heap types", "What managed objects there are, by type: count, bytes, average.",
     "heap types [-top N] [-by bytes|count] [-live] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] "
     "[-json[=full]] "
     "[-short] [-count]\n\n"
     "One row a type. The heap does not record types: they are told from destructors, from globals, variables and\n"
     "gc::root handles whose pointers have a type, and from there by the members of objects, on and on. What no typed\n"
     "pointer leads to is the row \"untyped\": what only a closure, a register or a void* keeps, and garbage. -live "
     "counts\n"
     "only what can be reached. An array counts as one object. Objects of less than 16 bytes without pointers may "
     "share "
     "a\n"
     "block, which counts as one.\n\n"
     "Columns: type count bytes average share typed.\n\n"
     "Example: what fills the heap\n"
     "  heap types -live -top 10\n"
     "  heap types -json > before.json\n"
     "Next: heap retained for what keeps the most; heap diff BEFORE AFTER for what grew.\n",
     run_types, complete_types},
    {"heap roots", "The words that keep managed objects: globals, stacks, handles, finalizers.",
     "heap roots [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row a word, in the order in which the collector reads them: gc::root handles, finalizers, writable data of "
     "the\n"
     "program and its libraries, what the runtime holds (closures, channels' buffers), stacks and registers of "
     "goroutines.\n"
     "Where it is conservative (CERTAIN no) a number that looks like an address counts as well. WHERE names the "
     "global,\n"
     "or the goroutine, its frame and the variable.\n\n"
     "Columns: kind where object type size slot goid certain.\n\n"
     "Example:\n"
     "  heap roots -where \"kind = global\"\n"
     "  heap roots -where \"goid = 7\"\n"
     "Next: heap why ADDR for the chain from a root to an object.\n",
     run_roots, complete_roots},
    {"heap why", "Why an object lives: the chains from roots to it, shortest first.",
     "heap why ADDR|EXPR [-paths K] [-json[=full]]\n\n"
     "Each chain begins with the root — which global, which frame of which goroutine, which handle — and goes from "
     "object\n"
     "to object by the member that points on. There is one chain a root, and it is the shortest from there. Of an "
     "object "
     "that\n"
     "no root leads to it is said that it is garbage; the next collection frees it.\n\n"
     "Example:\n"
     "  heap why 0xc000012040\n"
     "  0xc000012040: node, 32 bytes\n"
     "  1. global: head\n"
     "     →            0xc000012000 node, 32 bytes\n"
     "     left →       0xc000012040 node, 32 bytes\n"
     "Next: obj ADDR for one object, goroutine N for the one whose frame it is.\n",
     run_why, complete_why},
    {"heap retained", "Which objects alone keep the most: what would be garbage without each.",
     "heap retained [-top N] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row an object that can be reached, by what it retains: the bytes of all objects to which every way from the\n"
     "roots goes through it (dominators), its own included. BY (not shown by default) is the nearest object that "
     "retains "
     "it.\n"
     "An object that two others keep is retained by neither.\n\n"
     "Columns: object type retained share objects size by.\n\n"
     "Example:\n"
     "  heap retained -top 20\n"
     "Next: heap why OBJECT for what keeps it.\n",
     run_retained, complete_retained},
};

}  // namespace

std::span<const CommandSpec> heap_graph_commands() { return kCommands; }

}  // namespace vitrine::inspect
