// commands_graph.cc: goroutine graph — what graph.h finds as text, JSON or Graphviz. As text: the deadlocks, then each
// blocked goroutine with what it waits on and who holds that; those in a deadlock first, then those behind one. With a
// goroutine, the chain from it: what it waits on, who holds that, what that one waits on, and so on.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "graph.h"
#include "graph_text.h"
#include "listing.h"
#include "output_file.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"limit", Takes::value, "N: at most N goroutines, 0 for all (default 100)"},
    {"dot", Takes::value, "FILE: write the whole graph for Graphviz; - for the output"},
    {"json", Takes::maybe,
     "a JSON array of all blocked goroutines; -json=full adds schema, runtime, counts and warnings"},
    {"count", Takes::nothing, "only the numbers"},
    {"all", Takes::nothing, "the runtime's own goroutines as well"},
};

Outcome write_dot(GraphText& printer, const std::vector<const Blocked*>& rows, const std::string& file, Sink& sink) {
  auto draw = [&](Sink& to) {
    Buffered out(to);
    return printer.dot(rows, out);
  };
  if (file == "-") {
    if (draw(sink)) return Outcome::ok;
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  if (auto failed = write_file(file, sink, draw)) return *failed;
  sink.out(fmt::format("{} with {} written (dot -Tsvg {} draws it)\n", file, plural(rows.size(), "blocked goroutine"),
                       file));
  return Outcome::ok;
}

Outcome run_graph(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(*options, *mode ? ~std::uint64_t{0} : default_limit());
  if (!limit) return fail(sink, limit.error());
  if (*mode && options->has("dot")) return fail(sink, "-json and -dot cannot be combined");
  if (options->positional.size() > 1) return fail(sink, "goroutine graph [N]: one goroutine at most");
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Model& model = *view->model;
  std::uint32_t from = kNone;
  if (!options->positional.empty()) {
    const std::string& word = line.words[options->positional[0]].text;
    auto number = parse_number(word);
    if (number) from = word.starts_with("0x") ? model.find_addr(*number) : model.find_goid(*number);
    if (from == kNone) return fail(sink, fmt::format("there is no goroutine '{}': info goroutines lists them", word));
  }
  Objects objects(session, model);
  Graph graph;
  if (!graph.build(session, objects)) {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  std::vector<std::string> warnings = all_warnings(session, model);
  warnings.insert(warnings.end(), graph.errors().begin(), graph.errors().end());
  session.incomplete = session.incomplete || !graph.errors().empty();

  // The rows: of one goroutine those on its chain; else all, those in deadlocks first, then those behind one.
  std::vector<const Blocked*> rows;
  std::size_t hidden = 0;
  if (from != kNone) {
    std::unordered_set<std::uint32_t> seen;
    for (std::uint32_t i = from; i != kNone && seen.insert(i).second;) {
      const Blocked* b = graph.find(i);
      if (!b) break;
      rows.push_back(b);
      i = b->next;
    }
  } else {
    for (const Blocked& b : graph.blocked()) {
      const Goroutine& g = model.goroutines()[b.goroutine];
      bool own = g.is(Goroutine::system) && b.cycle == kNone && !objects.foreign(g);
      if (own && !options->has("all") && !settings().system && !*mode && !options->has("dot")) {
        ++hidden;
      } else {
        rows.push_back(&b);
      }
    }
    auto rank = [](const Blocked* b) { return b->cycle != kNone ? 0 : b->behind != kNone ? 1 : 2; };
    std::stable_sort(rows.begin(), rows.end(), [&](const Blocked* a, const Blocked* b) {
      return rank(a) != rank(b) ? rank(a) < rank(b) : a->cycle < b->cycle;
    });
  }
  GraphText printer(session, *view, objects, graph);
  std::string counts =
      fmt::format("{}, {}", plural(rows.size(), "blocked goroutine"), plural(graph.cycles(), "deadlock"));
  if (options->has("count")) {
    sink.out(counts + "\n");
    warn(sink, warnings);
    return Outcome::ok;
  }
  if (const std::string* file = options->get("dot")) {
    Outcome outcome = write_dot(printer, rows, *file, sink);
    warn(sink, warnings);
    return outcome;
  }
  std::uint64_t total = rows.size();
  if (rows.size() > *limit) rows.resize(*limit);
  Buffered out(sink);
  auto cancelled = [&] {
    out.flush();
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  };
  if (*mode) {
    std::vector<std::uint32_t> shown;
    for (const Blocked* b : rows) shown.push_back(b->goroutine);
    if (!view->stacks->ensure(shown)) return cancelled();
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "graph", rows.size(), total, warnings);
    json.open_array();
    std::size_t n = 0;
    for (const Blocked* b : rows) {
      json.line_break();
      printer.json(*b, json);
      if (++n % 4096 == 0 && session.cancelled()) return cancelled();
    }
    if (!rows.empty()) out.add("\n");
    json.close_array();
    if (*mode == 2) json.close_object();
    out.add("\n");
    out.flush();
    session.incomplete = session.incomplete || printer.damaged;
    if (*mode == 1) warn(sink, warnings);
    return Outcome::ok;
  }
  if (from != kNone) {
    const Blocked* b = graph.find(from);
    std::uint32_t id = !b ? kNone : b->cycle != kNone ? b->cycle : b->behind;
    if (id != kNone) out.add(printer.deadlock(id, *limit == ~std::uint64_t{0}) + "\n");
    if (!printer.chain(from, *limit, out)) {
      out.add(fmt::format("{} lines of a longer chain shown (-limit 0 for all)\n", *limit));
    }
    if (session.cancelled()) return cancelled();
    session.incomplete = session.incomplete || printer.damaged;
    for (const std::string& w : warnings) out.add("warning: " + w + "\n");
    return Outcome::ok;
  }
  std::uint64_t deadlocks = std::min<std::uint64_t>(graph.cycles(), *limit);
  for (std::uint32_t id = 0; id < deadlocks; ++id) {
    out.add(printer.deadlock(id, *limit == ~std::uint64_t{0}));
    if (id % 256 == 255 && session.cancelled()) return cancelled();
  }
  if (deadlocks < graph.cycles()) {
    out.add(fmt::format("{} of {} deadlocks shown (-limit 0 for all)\n", deadlocks, graph.cycles()));
  }
  if (deadlocks && !rows.empty()) out.add("\n");
  std::vector<std::uint32_t> shown;
  for (const Blocked* b : rows) shown.push_back(b->goroutine);
  if (!view->stacks->ensure(shown)) return cancelled();
  std::size_t n = 0;
  for (const Blocked* b : rows) {
    printer.entry(*b, out);
    if (++n % 256 == 0 && session.cancelled()) return cancelled();
  }
  if (rows.size() < total) {
    counts = fmt::format("{} of {} shown (-limit 0 for all), {}", rows.size(), plural(total, "blocked goroutine"),
                         plural(graph.cycles(), "deadlock"));
  }
  if (hidden) counts += fmt::format("; {} not shown (-all)", plural(hidden, "system goroutine"));
  out.add(counts + "\n");
  for (const std::string& w : warnings) out.add("warning: " + w + "\n");
  session.incomplete = session.incomplete || printer.damaged;
  return Outcome::ok;
}

void complete_graph(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"goroutine graph", "Who waits for what, and who holds it; deadlocks.",
     "goroutine graph [N] [-limit N] [-dot FILE] [-json[=full]] [-count] [-all]\n\n"
     "Each goroutine that waits on a channel, a mutex or another such object, what that is, and who holds it:\n"
     "  mutex     the goroutine that locked it        rw_mutex  its writer; readers are not written down\n"
     "  once      the one that runs its function      task      the goroutine that computes it\n"
     "  the others: unknown, because any goroutine may act; of a channel, who is parked on its other side\n"
     "Goroutines that wait for one another in a ring can never go on: each ring is a deadlock and is shown with its\n"
     "chain, before everything else. Threads that wait without being goroutines take part.\n"
     "With N: what goroutine N waits for, who holds that, what that one waits for, and so on.\n"
     "-dot writes the graph for Graphviz (dot -Tsvg), to the output if FILE is -.\n\n"
     "Example: why does goroutine 17 not get on?\n"
     "  goroutine graph 17\n"
     "Next: goroutine N and bt for what a holder is doing, mutex ADDR or chan ADDR for all that wait on one object.\n",
     run_graph, complete_graph},
};

}  // namespace

std::span<const CommandSpec> graph_commands() { return kCommands; }

}  // namespace vitrine::inspect
