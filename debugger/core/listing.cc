// listing.cc: see listing.h.
#include "listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "layout.h"
#include "relay.h"
#include "render.h"
#include "target.h"
#include "version.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"where", Takes::value, "EXPR: only rows for which this holds"},
    {"sort", Takes::value, "COL[,-COL]: order by these columns, - for descending"},
    {"limit", Takes::value, "N: at most N rows, 0 for all (default 100)"},
    {"cols", Takes::value, "COL[,COL]: these columns"},
    {"json", Takes::maybe, "a JSON array of all rows; -json=full adds schema, runtime, counts and warnings"},
    {"short", Takes::nothing, "one identifier a line"},
    {"count", Takes::nothing, "only the number of rows"},
    {"all", Takes::nothing, "the runtime's own as well"},
};

constexpr std::size_t kWorthAThread = 10'000;  // rows of a table
constexpr std::size_t kRowsBetweenPolls = 4096;

// One row of Rows for Where::eval.
class View : public RowView {
 public:
  explicit View(Rows& rows) : rows_(rows) {}
  std::uint32_t row = 0;
  Value value(int column) override { return rows_.value(row, column); }
  Tri frames_match(int column, const Pattern& pattern) override { return rows_.frames_match(row, column, pattern); }

 private:
  Rows& rows_;
};

std::vector<std::string_view> split_commas(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    auto comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == text.npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

struct SortKey {
  int column;
  bool descending;
};

Result<std::vector<SortKey>> parse_sort(std::string_view text, std::span<const ColumnSpec> columns) {
  std::vector<SortKey> keys;
  for (std::string_view part : split_commas(text)) {
    bool descending = part.starts_with('-');
    if (descending) part.remove_prefix(1);
    auto column = find_column(part, columns);
    if (!column) return Error{"-sort: " + column.error().message, {}};
    keys.push_back({*column, descending});
  }
  return keys;
}

void sort_rows(Rows& rows, std::vector<std::uint32_t>& order, const std::vector<SortKey>& keys) {
  struct Key {
    Value value;
    std::string text;
  };
  std::vector<Key> values(order.size() * keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t k = 0; k < keys.size(); ++k) {
      Key& key = values[i * keys.size() + k];
      key.value = rows.value(order[i], keys[k].column);
      if (!key.value.text.empty()) key.text = key.value.text;
    }
  }
  for (Key& key : values) key.value.text = key.text;
  std::vector<std::uint32_t> index(order.size());
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::uint32_t>(i);
  std::stable_sort(index.begin(), index.end(), [&](std::uint32_t a, std::uint32_t b) {
    for (std::size_t k = 0; k < keys.size(); ++k) {
      const Value& x = values[a * keys.size() + k].value;
      const Value& y = values[b * keys.size() + k].value;
      if (x.known != y.known) return x.known;  // unknown last, whichever the direction
      int c = compare(x, y, rows.columns()[static_cast<std::size_t>(keys[k].column)].type);
      if (c) return keys[k].descending ? c > 0 : c < 0;
    }
    return false;
  });
  std::vector<std::uint32_t> sorted(order.size());
  for (std::size_t i = 0; i < index.size(); ++i) sorted[i] = order[index[i]];
  order = std::move(sorted);
}

void print_table(Rows& rows, const std::vector<std::uint32_t>& order, const std::vector<int>& columns, bool colour,
                 Buffered& out, const std::function<bool()>& stop) {
  std::vector<Table::Column> headings;
  for (int c : columns) {
    const ColumnSpec& spec = rows.columns()[static_cast<std::size_t>(c)];
    headings.push_back({std::string(spec.heading), spec.right});
  }
  Table table(out, std::move(headings), colour);
  Cells cells;
  for (std::size_t i = 0; i < order.size(); ++i) {
    cells.clear();
    for (int c : columns) {
      rows.add_cell(cells.text(), order[i], c);
      cells.end();
    }
    table.row(cells, rows.emphasis(order[i]));
    if (i % kRowsBetweenPolls == kRowsBetweenPolls - 1 && stop()) return;
  }
}

}  // namespace

void warn(Sink& sink, const std::vector<std::string>& warnings) {
  for (const std::string& w : warnings) sink.err("warning: " + w);
}

std::span<const OptionSpec> listing_options() { return kOptions; }

Result<std::uint64_t> limit_of(const Options& options, std::uint64_t fallback) {
  const std::string* text = options.get("limit");
  if (!text) return fallback;
  auto n = parse_number(*text);
  const std::string* top = options.get("top");  // the same by another name
  if (!n) return Error{fmt::format("-{} needs a number, not '{}'", top && *top == *text ? "top" : "limit", *text), {}};
  return *n == 0 ? ~std::uint64_t{0} : *n;
}

Result<int> json_mode(const Options& options) {
  const std::string* text = options.get("json");
  if (!text) return 0;
  if (text->empty()) return 1;
  if (*text == "full") return 2;
  return Error{fmt::format("-json={} is not known; there are -json and -json=full", *text), {}};
}

FilterResult filter_rows(Session& session, Rows& rows, const std::string* where, bool all) {
  FilterResult result;
  std::optional<Where> expression;
  if (where) {
    auto parsed = Where::parse(*where, rows.columns());
    if (!parsed) return {Outcome::error, parsed.error(), {}};
    expression = std::move(*parsed);
    if (expression->uses(rows.hidden_column())) all = true;
  }
  std::vector<std::uint32_t>& kept = result.filtered.rows;
  kept.reserve(rows.size());
  for (std::uint32_t i = 0; i < rows.size(); ++i) {
    if (rows.outside(i)) continue;
    if (!all && rows.hidden(i)) {
      ++result.filtered.hidden;
    } else {
      kept.push_back(i);
    }
  }
  if (!expression) return result;
  std::vector<int> used;
  for (int c = 0; c < static_cast<int>(rows.columns().size()); ++c) {
    if (expression->uses(c)) used.push_back(c);
  }
  if (expression->uses_frames()) used.push_back(Rows::kFrames);
  if (!rows.prepare(kept, used)) return {Outcome::cancelled, Error{"stopped by Ctrl-C", {}}, {}};
  View view(rows);
  std::size_t out = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    view.row = kept[i];
    Tri tri = expression->eval(view);
    if (tri == Tri::yes) kept[out++] = kept[i];
    if (tri == Tri::unknown) ++result.filtered.unknown;
    if (i % 65536 == 65535 && session.cancelled()) {
      return {Outcome::cancelled, Error{"stopped by Ctrl-C", {}}, {}};
    }
  }
  kept.resize(out);
  return result;
}

void open_full_json(Session& session, Json& json, std::string_view schema, std::uint64_t shown, std::uint64_t total,
                    const std::vector<std::string>& warnings) {
  json.open_object().key("schema").value(fmt::format("vitrine/{}/1", schema));
  json.key("runtime").open_object();
  if (auto layout = session.layout()) {
    json.key("name").value((*layout)->dialect().name());
    json.key("layout").value((*layout)->source() == Layout::Source::dwarf ? "dwarf" : "note");
  }
  json.key("inspector").value(version());
  json.key("target").value(session.target().describe());
  json.close_object();
  json.key("shown").value(shown).key("total").value(total);
  json.key("warnings").open_array();
  for (const std::string& w : warnings) json.value(std::string_view(w));
  json.close_array();
  json.key("rows");
}

std::string left_out(const Filtered& filtered, std::string_view hidden_noun, std::string_view verb) {
  std::string text;
  if (filtered.hidden) text += fmt::format("; {} not shown (-all)", plural(filtered.hidden, hidden_noun));
  if (filtered.unknown) {
    text += fmt::format("; {} {}: the expression is unknown for {}", filtered.unknown, verb,
                        filtered.unknown == 1 ? "it" : "them");
  }
  return text;
}

Outcome run_listing(Session& session, Sink& sink, Rows& rows, const Options& options,
                    const std::vector<std::string>& about) {
  auto mode = json_mode(options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(options, *mode ? ~std::uint64_t{0} : default_limit());
  if (!limit) return fail(sink, limit.error());
  std::vector<int> columns = rows.default_columns();
  if (const std::string* text = options.get("cols")) {
    if (*mode) return fail(sink, "-cols and -json cannot be combined: JSON rows have all keys");
    columns.clear();
    for (std::string_view part : split_commas(*text)) {
      auto column = find_column(part, rows.columns());
      if (!column) return fail(sink, "-cols: " + column.error().message);
      columns.push_back(*column);
    }
  }
  std::vector<SortKey> keys;
  if (const std::string* text = options.get("sort")) {
    auto parsed = parse_sort(*text, rows.columns());
    if (!parsed) return fail(sink, parsed.error());
    keys = std::move(*parsed);
  }
  auto found = filter_rows(session, rows, options.get("where"),
                           options.has("all") || *mode || (settings().system && rows.hidden_noun() == kSystemNoun));
  if (found.outcome != Outcome::ok) {
    fail(sink, found.error);
    return found.outcome;
  }
  std::vector<std::uint32_t>& order = found.filtered.rows;
  std::uint64_t total = order.size();
  // What has a footer only in a table.
  std::vector<std::string> warnings = about;
  if (std::size_t n = found.filtered.unknown)
    warnings.push_back(fmt::format("{} not in this: the expression is unknown for {}", plural(n, rows.noun()),
                                   n == 1 ? "it" : "them"));
  if (options.has("count")) {
    sink.out(fmt::format("{}\n", total));
    warn(sink, warnings);
    return Outcome::ok;
  }
  if (!keys.empty()) {
    std::vector<int> used;
    for (const SortKey& k : keys) used.push_back(k.column);
    if (!rows.prepare(order, used)) {
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
    sort_rows(rows, order, keys);
  } else {
    std::stable_partition(order.begin(), order.end(), [&](std::uint32_t r) { return rows.emphasis(r); });
  }
  if (order.size() > *limit && keys.empty() && rows.newest_last())
    order.erase(order.begin(), order.end() - static_cast<std::ptrdiff_t>(*limit));
  if (order.size() > *limit) order.resize(*limit);

  Buffered out(sink);
  auto stopped = [&](std::size_t i) { return i % kRowsBetweenPolls == kRowsBetweenPolls - 1 && session.cancelled(); };
  auto cancelled = [&] {
    out.flush();
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  };
  if (options.has("short")) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      out.add(rows.short_text(order[i]) + "\n");
      if (stopped(i)) return cancelled();
    }
    out.flush();
    if (order.size() < total) warnings.push_back(fmt::format("{} of {} shown (-limit 0 for all)", order.size(), total));
    warn(sink, warnings);
    return Outcome::ok;
  }
  if (*mode) {
    if (!rows.prepare_json(order)) return cancelled();
    Json json(out);
    if (*mode == 2) open_full_json(session, json, rows.schema(), order.size(), total, warnings);
    json.open_array();
    for (std::size_t i = 0; i < order.size(); ++i) {
      json.line_break();
      rows.json(order[i], json);
      if (stopped(i)) return cancelled();
    }
    if (!order.empty()) out.add("\n");
    json.close_array();
    if (*mode == 2) json.close_object();
    out.add("\n");
    out.flush();
    if (*mode == 1) warn(sink, warnings);
    return Outcome::ok;
  }

  if (!rows.prepare(order, columns)) return cancelled();
  const auto table = [&](Sink& to, const std::function<bool()>& stop) {
    Buffered text(to);
    print_table(rows, order, columns, session.colour, text, stop);
  };
  const std::function<bool()> stop = [&] { return session.cancelled(); };
  const bool by_two = order.size() >= kWorthAThread && session.target().concurrent() && rows.any_thread(columns);
  if (by_two) {
    if (!Relay(sink, stop).run(table)) return cancelled();
  } else {
    table(sink, stop);
    if (session.was_cancelled()) return cancelled();
  }
  std::string footer = order.size() < total ? fmt::format("{} of {} shown (-limit 0 for all)", order.size(), total)
                                            : plural(total, rows.noun());
  footer += left_out(found.filtered, rows.hidden_noun(), "not shown");
  out.add(footer + "\n");
  for (const std::string& w : about) out.add("warning: " + w + "\n");
  return Outcome::ok;
}

}  // namespace vitrine::inspect
