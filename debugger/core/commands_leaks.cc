// commands_leaks.cc: goroutine leaks, and heap diff.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "choose.h"
#include "heap_commands.h"
#include "heap_kept.h"
#include "leaks.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

// ---- goroutine leaks

constexpr ColumnSpec kLeakColumns[] = {
    {"goid", "GOID", ColumnType::number, true, false, "the goroutine's number"},
    {"wait", "WAIT", ColumnType::text, false, false, "how it is blocked"},
    {"object", "OBJECT", ColumnType::address, false, false, "on what; null: on nothing, or on several"},
    {"certain", "CERTAIN", ColumnType::flag, false, false,
     "no: it may yet be woken through memory that is not looked at"},
    {"age", "AGE", ColumnType::duration, true, false, "since when"},
    {"where", "WHERE", ColumnType::text, false, false, "in your code"},
    {"why", "WHY", ColumnType::text, false, false, "who else knows the object, and what is in doubt"},
    {"name", "NAME", ColumnType::text, false, false, "as set_name gave it"},
};

std::span<const OptionSpec> leak_options() {
  static const std::vector<OptionSpec> options = heap_list_options({
      {"why", Takes::value, "N: the reasons for goroutine N, leaked or not, instead of the list"},
  });
  return options;
}

Outcome run_leaks(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, leak_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink,
                fmt::format("goroutine leaks takes options only, not '{}'", line.words[options->positional[0]].text));
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  Model& model = (*heap)->model();
  std::uint32_t asked = kNone;
  if (const std::string* n = options->get("why")) {
    auto goid = parse_number(*n);
    asked = goid ? model.find_goid(*goid) : kNone;
    if (asked == kNone) return fail(sink, fmt::format("-why: there is no goroutine {}", *n));
  }
  GcState gc(**heap);
  auto stopped = [&] {
    session.progress("");
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  };
  (*heap)->kept_graph().reset();  // one at a time: each may take as much memory as half of the heap
  auto graph = HeapGraph::build(**heap, gc, true);
  if (!graph) return session.cancelled() ? stopped() : fail(sink, graph.error());
  session.progress("looking for what can still run");
  Leaks leaks(**graph);
  if (!leaks.run()) return stopped();
  session.progress("");
  std::vector<std::string> more = (*graph)->warnings();
  if (leaks.unknown())
    more.push_back(fmt::format("{} not judged: what {} on is in memory that is not looked at, {:#x} for one",
                               plural(leaks.unknown(), "goroutine"), leaks.unknown() == 1 ? "it waits" : "they wait",
                               leaks.unknown_example()));
  if (asked != kNone) {
    if (options->has("json")) return fail(sink, "-why is text: the rows of goroutine leaks -json have their reasons");
    for (const std::string& l : leaks.explain(asked)) sink.out(printable(l) + "\n");
    for (const std::string& w : heap_warnings(**heap)) sink.out(fmt::format("warning: {}\n", w));
    for (const std::string& w : more) sink.out(fmt::format("warning: {}\n", w));
    session.incomplete = session.incomplete || !more.empty();
    return Outcome::ok;
  }
  auto stacks = session.stacks();
  if (!stacks) return fail(sink, stacks.error());
  std::vector<std::uint32_t> ids;
  for (const LeakRow& r : leaks.rows()) ids.push_back(r.goroutine);
  if (!(*stacks)->ensure(ids)) return stopped();
  GridRows rows(kLeakColumns, 7, "leaked goroutine", "leaks");
  std::size_t doubtful = 0;
  for (const LeakRow& r : leaks.rows()) {
    const Goroutine& g = model.goroutines()[r.goroutine];
    doubtful += !r.certain;
    rows.add({g.goid, std::string(model.wait_text(g)),
              r.waits.on.size() == 1 ? std::optional(r.waits.on[0].object) : std::nullopt, int{r.certain}, model.age(g),
              describe((*stacks)->where(r.goroutine)), r.why, model.name(g)});
  }
  Outcome outcome = list_rows(
      **heap, sink, rows, *options,
      fmt::format("no leaked goroutine: what each of {} blocked waits for can still be reached", leaks.candidates()),
      more);
  const bool table = !options->has("json") && !options->has("short") && !options->has("count");
  if (outcome == Outcome::ok && table && rows.size())
    sink.out(fmt::format("{} of {} blocked on objects; {} in doubt\n", plural(leaks.rows().size(), "goroutine"),
                         leaks.candidates(), doubtful));
  return outcome;
}

void complete_leaks(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(leak_options(), kLeakColumns, line, partial, offer);
}

// ---- heap diff

constexpr ColumnSpec kDiffColumns[] = {
    {"type", "TYPE", ColumnType::text, false, false, "of the objects"},
    {"count_change", "COUNT±", ColumnType::number, true, false, "objects more (or fewer)"},
    {"bytes_change", "BYTES±", ColumnType::number, true, false, "bytes more (or fewer)"},
    {"count_before", "COUNT A", ColumnType::number, true, false, "objects in A"},
    {"count_after", "COUNT B", ColumnType::number, true, false, "objects in B"},
    {"bytes_before", "BYTES A", ColumnType::size, true, false, "bytes in A"},
    {"bytes_after", "BYTES B", ColumnType::size, true, false, "bytes in B"},
};

std::span<const OptionSpec> diff_options() {
  static const std::vector<OptionSpec> options = heap_list_options({
      {"top", Takes::value, "N: only the first N rows"},
  });
  return options;
}

struct TypeSum {
  std::int64_t count = 0, bytes = 0;
};

// What heap types -json, or -json=full, wrote.
Result<std::map<std::string, TypeSum>> read_types(const std::string& file) {
  std::ifstream in(file);
  if (!in) return Error{fmt::format("{} cannot be read", file), {}};
  nlohmann::json all = nlohmann::json::parse(in, nullptr, false);
  const nlohmann::json* rows = &all;
  if (all.is_object() && all.contains("rows")) rows = &all["rows"];
  const Error wrong{fmt::format("{} is not what heap types -json writes", file), {}};
  if (!rows->is_array()) return wrong;
  std::map<std::string, TypeSum> sums;
  for (const nlohmann::json& row : *rows) {
    if (!row.is_object() || !row.contains("type") || !row["type"].is_string() || !row.contains("count") ||
        !row["count"].is_number_integer() || !row.contains("bytes") || !row["bytes"].is_number_integer())
      return wrong;
    TypeSum& s = sums[row["type"].get<std::string>()];
    s.count += row["count"].get<std::int64_t>();
    s.bytes += row["bytes"].get<std::int64_t>();
  }
  return sums;
}

Outcome run_diff(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, diff_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->positional.size() != 2)
    return fail(sink, "heap diff A.json B.json: two files that heap types -json wrote are needed");
  if (const std::string top = options->has("top") ? *options->get("top") : ""; !top.empty())
    options->set.emplace_back("limit", top);
  auto a = read_types(line.words[options->positional[0]].text);
  if (!a) return fail(sink, a.error());
  auto b = read_types(line.words[options->positional[1]].text);
  if (!b) return fail(sink, b.error());
  struct Row {
    std::string type;
    TypeSum a, b;
    std::int64_t change() const { return b.bytes - a.bytes; }
  };
  std::vector<Row> rows;
  for (auto& [type, sum] : *a) rows.push_back({type, sum, b->count(type) ? (*b)[type] : TypeSum{}});
  for (auto& [type, sum] : *b) {
    if (!a->count(type)) rows.push_back({type, {}, sum});
  }
  std::int64_t objects = 0, bytes = 0;
  std::size_t same = 0;
  std::erase_if(rows, [&](const Row& r) {
    objects += r.b.count - r.a.count;
    bytes += r.change();
    const bool equal = r.a.count == r.b.count && r.a.bytes == r.b.bytes;
    same += equal;
    return equal;
  });
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& x, const Row& y) { return std::llabs(x.change()) > std::llabs(y.change()); });
  GridRows grid(kDiffColumns, 7, "type", "heap_diff");
  for (const Row& r : rows)
    grid.add({r.type, r.b.count - r.a.count, r.change(), r.a.count, r.b.count, r.a.bytes, r.b.bytes});
  const bool table = !options->has("json") && !options->has("short") && !options->has("count");
  if (rows.empty() && table) {
    sink.out(fmt::format("no difference: {}\n", plural(same, "type")));
    return Outcome::ok;
  }
  Outcome outcome = run_listing(session, sink, grid, *options, {});
  if (outcome == Outcome::ok && table)
    sink.out(fmt::format("{:+} objects, {:+} bytes; {} unchanged\n", objects, bytes, plural(same, "type")));
  return outcome;
}

void complete_diff(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(diff_options(), kDiffColumns, line, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"goroutine leaks", "Goroutines that nothing can wake any more: blocked on what nothing that runs can reach.",
     "goroutine leaks [-why N] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] "
     "[-count]\n\n"
     "Who can still run, globals, handles, timers and finalizers are followed to all that they lead to; a goroutine "
     "whose\n"
     "channel or lock is among that can be woken, and all that it leads to is followed as well. Who is left over is\n"
     "leaked. No collection is needed: a core will do. A channel counts its handles: CERTAIN is no unless all "
     "of\n"
     "them are found in closures and objects of leaked ones (words on stacks need not be handles; malloc's memory and "
     "other\n"
     "threads' stacks are not looked at), and always no for locks, which count nothing. A number that looks like a "
     "pointer may hide a leak, never make one up.\n"
     "-why N says for one goroutine what it waits on, who knows that, and from where that is alive.\n\n"
     "Columns: goid wait object certain age where why name.\n\n"
     "Example:\n"
     "  goroutine leaks\n"
     "  goroutine leaks -why 12\n"
     "Next: goroutine N for its stack, goroutine graph for who waits for whom.\n",
     run_leaks, complete_leaks},
    {"heap diff", "What changed between two answers of heap types -json.",
     "heap diff A.json B.json [-top N] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] "
     "[-count]\n\n"
     "One row a type whose count or bytes differ, the largest change first. Both files are what heap types -json (or\n"
     "-json=full) wrote, of one process at two times, or of two.\n\n"
     "Columns: type count_change bytes_change count_before count_after bytes_before bytes_after.\n\n"
     "Example:\n"
     "  heap diff before.json after.json -top 10\n"
     "Next: heap retained for what keeps what grew.\n",
     run_diff, complete_diff},
};

}  // namespace

std::span<const CommandSpec> leak_commands() { return kCommands; }

}  // namespace vitrine::inspect
