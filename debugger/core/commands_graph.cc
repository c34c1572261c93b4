// commands_graph.cc: goroutine graph — what graph.h finds as text, JSON or Graphviz. As text: the deadlocks, then each
// blocked goroutine with what it waits on and who holds that; those in a deadlock first, then those behind one. With a
// goroutine, the chain from it: what it waits on, who holds that, what that one waits on, and so on.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "graph.h"
#include "listing.h"
#include "object_rows.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kChainShown = 20;  // goroutines of one deadlock, unless -limit 0
constexpr std::size_t kOthersShown = 3;

constexpr OptionSpec kOptions[] = {
    {"limit", Takes::value, "N: at most N goroutines, 0 for all (default 100)"},
    {"dot", Takes::value, "FILE: write the whole graph for Graphviz; - for the output"},
    {"json", Takes::maybe,
     "a JSON array of all blocked goroutines; -json=full adds schema, runtime, counts and warnings"},
    {"count", Takes::nothing, "only the numbers"},
    {"all", Takes::nothing, "the runtime's own goroutines as well"},
};

class Printer {
 public:
  Printer(Session& session, const Scheduler& view, Objects& objects, const Graph& graph)
      : session_(session), model_(*view.model), stacks_(*view.stacks), objects_(objects), graph_(graph) {}

  bool damaged = false;

  std::string label(std::uint32_t i) { return goroutine_label(model_, i); }

  // deadlock: goroutine 17 "a" waits for mutex 0x… held by goroutine 18 "b" waits for … held by goroutine 17
  std::string deadlock(std::uint32_t id, bool all) {
    const std::vector<std::uint32_t>& members = graph_.cycle(id);
    std::string text = "deadlock: ";
    std::size_t shown = all ? members.size() : std::min(members.size(), kChainShown);
    for (std::size_t i = 0; i < shown; ++i) {
      Waits waits = objects_.waits_of(at(members[i]));
      text += fmt::format("{} waits for {} {} ", label(members[i]), object_name(waits), verb(waits));
    }
    if (shown < members.size()) {
      text += fmt::format("… ({} more goroutines; -limit 0 for all) … ", members.size() - shown);
    }
    return text + fmt::format("goroutine {}\n", at(members[0]).goid);
  }

  // A goroutine and, indented, what it waits on.
  void entry(const Blocked& b, Buffered& out) {
    out.add(heading(b.goroutine) + marks(b) + "\n");
    Waits waits = objects_.waits_of(at(b.goroutine));
    if (waits.select && waits.on.empty()) out.add("  select: its cases are not known\n");
    for (const Wait& w : waits.on) out.add("  " + waits_on(w, waits.select) + "\n");
    for (const std::string& e : waits.errors) say_damaged(e, out);
  }

  // The chain from a goroutine, each level two deeper; false when the limit cut it.
  bool chain(std::uint32_t from, std::uint64_t limit, Buffered& out) {
    std::unordered_set<std::uint32_t> seen;
    std::string indent;
    std::uint64_t lines = 0;
    for (std::uint32_t i = from;;) {
      const Blocked* b = graph_.find(i);
      if (lines++ == limit) return false;
      out.add(indent + heading(i) + (b ? marks(*b) : "") + "\n");
      if (!seen.insert(i).second || !b) return true;
      Waits waits = objects_.waits_of(at(i));
      for (const Wait& w : waits.on) {
        if (lines++ == limit) return false;
        out.add(indent + "  " + waits_on(w, waits.select) + "\n");
      }
      if (b->next == kNone || session_.cancelled()) return true;
      i = b->next;
      if (indent.size() < 64) indent += "  ";
    }
  }

  void json(const Blocked& b, Json& json) {
    const Goroutine& g = at(b.goroutine);
    json.open_object();
    json.key("goid").value(g.goid).key("addr").address(g.addr);
    json.key("name").text_or_null(model_.name(g));
    json.key("foreign").value(objects_.foreign(g));
    json.key("wait_reason").text_or_null(model_.wait_text(g));
    json.key("age_ns");
    number(json, model_.age(g));
    json.key("where");
    json_frame(json, stacks_.where(b.goroutine));
    Waits waits = objects_.waits_of(g);
    json.key("select").value(waits.select);
    json.key("waits_on").open_array();
    for (const Wait& w : waits.on) {
      json.open_object().key("kind").value(kind_text(w.kind)).key("addr").address(w.object);
      json.key("side").value(side_text(w.side));
      auto object = objects_.read(w.kind, w.object, false);
      Holder h = object ? objects_.holder(*object) : Holder{Holder::How::unknown, 0, kNone, object.error().message};
      json.key("holder_goid");
      number(json, h.how == Holder::How::goroutine ? std::optional(static_cast<std::int64_t>(h.goid)) : std::nullopt);
      json.key("holder_exists");
      if (h.how == Holder::How::goroutine) {
        json.value(h.goroutine != kNone);
      } else {
        json.null();
      }
      json.key("holder_unknown").text_or_null(h.how == Holder::How::unknown ? h.why : std::string());
      json.close_object();
      if (!object) waits.errors.push_back(object.error().message);
    }
    json.close_array();
    auto id = [](std::uint32_t n) { return n == kNone ? std::nullopt : std::optional(std::int64_t{n} + 1); };
    json.key("deadlock");
    number(json, id(b.cycle));
    json.key("behind_deadlock");
    number(json, id(b.behind));
    json.key("errors").open_array();
    for (const std::string& e : waits.errors) json.value(std::string_view(e));
    json.close_array();
    json.close_object();
    damaged = damaged || !waits.errors.empty();
  }

  bool dot(const std::vector<const Blocked*>& rows, Buffered& out) {
    out.add("digraph goroutines {\n  rankdir=LR;\n  node [fontname=\"sans\"];\n");
    std::unordered_set<std::uint64_t> nodes;
    auto goroutine = [&](std::uint32_t i) {
      if (!nodes.insert(at(i).addr).second) return;
      const Blocked* b = graph_.find(i);
      out.add(fmt::format("  g{} [label={} shape=box{}];\n", at(i).goid, quoted(label(i) + "\n" + state(i)),
                          b && b->cycle != kNone ? " color=red" : ""));
    };
    std::size_t n = 0;
    for (const Blocked* b : rows) {
      if (++n % 4096 == 0 && session_.cancelled()) return false;
      goroutine(b->goroutine);
      for (const Wait& w : objects_.waits_of(at(b->goroutine)).on) {
        std::string node = fmt::format("o{:x}_{}", w.object, kind_text(w.kind));
        const char* colour = b->cycle != kNone ? " color=red" : "";
        out.add(fmt::format("  g{} -> {} [label=\"{}\"{}];\n", at(b->goroutine).goid, node, side_text(w.side), colour));
        if (!nodes.insert(w.object * 16 + static_cast<std::uint64_t>(w.kind) + 8).second) continue;
        out.add(fmt::format("  {} [label=\"{} {:#x}\" shape=ellipse];\n", node, kind_text(w.kind), w.object));
        auto object = objects_.read(w.kind, w.object, false);
        Holder h = object ? objects_.holder(*object) : Holder{};
        if (h.how != Holder::How::goroutine) continue;
        if (h.goroutine != kNone) {
          goroutine(h.goroutine);
        } else {
          out.add(fmt::format("  g{} [label=\"goroutine {}, which does not exist\" shape=box style=dashed];\n", h.goid,
                              h.goid));
        }
        out.add(fmt::format("  {} -> g{} [label=\"{}\"{}];\n", node, h.goid, verb_of(w.kind), colour));
      }
    }
    out.add("}\n");
    return true;
  }

 private:
  const Goroutine& at(std::uint32_t i) const { return model_.goroutines()[i]; }

  static void number(Json& json, std::optional<std::int64_t> n) {
    if (n) {
      json.value(*n);
    } else {
      json.null();
    }
  }

  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    return out + '"';
  }

  static const char* verb_of(ObjectKind kind) {
    return kind == ObjectKind::once ? "run by" : kind == ObjectKind::task ? "computed by" : "held by";
  }
  static const char* verb(const Waits& waits) { return waits.on.empty() ? "held by" : verb_of(waits.on[0].kind); }
  static std::string object_name(const Waits& waits) {
    return waits.on.empty() ? "something" : fmt::format("{} {:#x}", kind_text(waits.on[0].kind), waits.on[0].object);
  }

  std::string state(std::uint32_t i) {
    const Goroutine& g = at(i);
    std::string text(model_.status_text(g));
    if (std::string_view wait = model_.wait_text(g); !wait.empty()) text += fmt::format(": {}", wait);
    return text;
  }

  // goroutine 5 "locker" (waiting: sync.Mutex.Lock, 12.0s+) in f at x.cc:3
  std::string heading(std::uint32_t i) {
    const Goroutine& g = at(i);
    std::string text = fmt::format("{} ({}", label(i), state(i));
    if (auto age = model_.age(g)) {
      text += fmt::format(", {}{}", format_duration(*age), model_.age_at_least() ? "+" : "");
    }
    text += ")";
    stacks_.ensure({i});
    SourceFrame where = stacks_.where(i);
    if (where.valid()) text += " in " + printable(describe(where));
    return text;
  }

  std::string marks(const Blocked& b) {
    if (b.cycle != kNone) return fmt::format(" [deadlock {}]", b.cycle + 1);
    return b.behind == kNone ? std::string() : fmt::format(" [behind deadlock {}]", b.behind + 1);
  }

  void say_damaged(const std::string& text, Buffered& out) {
    out.add("  damaged: " + text + "\n");
    damaged = true;
  }

  // The same for all who wait on one side of an object, so it is made once: a queue may hold a million.
  std::string waits_on(const Wait& w, bool select) {
    std::uint64_t key = w.object * 128 + static_cast<std::uint64_t>(w.kind) * 8 + static_cast<std::uint64_t>(w.side);
    auto [it, fresh] = texts_.try_emplace(key);
    if (fresh) it->second = describe_wait(w);
    return select ? "select: " + it->second : it->second;
  }

  std::string describe_wait(const Wait& w) {
    auto object = objects_.read(w.kind, w.object, w.kind == ObjectKind::chan);
    if (!object) {
      damaged = true;
      return fmt::format("{} {:#x}: {}", kind_text(w.kind), w.object, object.error().message);
    }
    damaged = damaged || !object->errors.empty();
    std::string text;
    if (w.kind == ObjectKind::chan) {
      text = fmt::format("{}{} chan {:#x}", side_text(w.side), w.side == Side::send ? " to" : " from", w.object);
      text += fmt::format(" ({}, {})", object->type.empty() ? "type unknown" : printable(object->type),
                          objects_.state_text(*object));
      Side other = w.side == Side::send ? Side::receive : Side::send;
      std::size_t n = object->on(other), shown = 0;
      text += n ? "; on its other side: " : ", holder unknown: nobody is parked on its other side";
      for (const Waiter& o : object->waiters) {
        if (o.side != other || shown == kOthersShown) continue;
        text += fmt::format("{}{}", shown++ ? ", " : "",
                            o.goroutine == kNone ? fmt::format("<no goroutine at {:#x}>", o.g) : label(o.goroutine));
      }
      if (n > shown) text += fmt::format(" and {} more", n - shown);
      return text;
    }
    text = fmt::format("{} {:#x}", kind_text(w.kind), w.object);
    if (w.side == Side::read || w.side == Side::write) text += fmt::format(" (to {})", side_text(w.side));
    Holder h = objects_.holder(*object);
    std::string by = holder_text(model_, stacks_, *object, h);
    if (by.empty()) by = "free: " + objects_.state_text(*object);
    return fmt::format("{}, {}", text, by);
  }

  Session& session_;
  Model& model_;
  Stacks& stacks_;
  Objects& objects_;
  const Graph& graph_;
  std::unordered_map<std::uint64_t, std::string> texts_;
};

Outcome write_dot(Session& session, Printer& printer, const std::vector<const Blocked*>& rows, const std::string& file,
                  Sink& sink) {
  class File : public Sink {
   public:
    explicit File(std::FILE* f) : f_(f) {}
    void out(std::string_view text) override {
      good = std::fwrite(text.data(), 1, text.size(), f_) == text.size() && good;
    }
    void err(std::string_view) override {}
    bool good = true;

   private:
    std::FILE* f_;
  };
  auto cancelled = [&] {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  };
  if (file == "-") {
    Buffered out(sink);
    if (!printer.dot(rows, out)) return cancelled();
    return Outcome::ok;
  }
  std::FILE* f = std::fopen(file.c_str(), "we");
  if (!f) return fail(sink, fmt::format("{} cannot be written: {}", file, std::strerror(errno)));
  File to(f);
  bool done;
  {
    Buffered out(to);
    done = printer.dot(rows, out);
  }
  bool closed = std::fclose(f) == 0;
  if (!done) return cancelled();
  if (!to.good || !closed) return fail(sink, fmt::format("{} could not be written in full", file));
  sink.out(fmt::format("{} with {} written (dot -Tsvg {} draws it)\n", file, plural(rows.size(), "blocked goroutine"),
                       file));
  (void)session;
  return Outcome::ok;
}

Outcome run_graph(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(*options, *mode ? ~std::uint64_t{0} : kDefaultLimit);
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
      if (own && !options->has("all") && !*mode && !options->has("dot")) {
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
  Printer printer(session, *view, objects, graph);
  std::string counts =
      fmt::format("{}, {}", plural(rows.size(), "blocked goroutine"), plural(graph.cycles(), "deadlock"));
  if (options->has("count")) {
    sink.out(counts + "\n");
    warn(sink, warnings);
    return Outcome::ok;
  }
  if (const std::string* file = options->get("dot")) {
    Outcome outcome = write_dot(session, printer, rows, *file, sink);
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
  if (rows.size() < total) counts = fmt::format("{} of {} shown (-limit 0 for all)", rows.size(), counts);
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
