// commands_stacks.cc: goroutine stacks — goroutines that stand in the same place for the same reason, merged. Two
// belong together when their whole stacks (all pcs, to the last frame), their status and their wait reason are equal;
// frames that look alike but were called from different lines stay apart. Names are looked up only for what is printed.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "model.h"
#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kGoidsShown = 4, kCreatorsShown = 3;

constexpr OptionSpec kOptions[] = {
    {"where", Takes::value, "EXPR: only goroutines for which this holds"},
    {"limit", Takes::value, "N: at most N stacks, 0 for all (default 100)"},
    {"json", Takes::maybe, "a JSON array of all stacks; -json=full adds schema, runtime, counts and warnings"},
    {"short", Takes::nothing, "one line a stack"},
    {"count", Takes::nothing, "only the numbers"},
    {"all", Takes::nothing, "the runtime's own goroutines as well"},
};

struct Group {
  std::uint32_t shape = kNone, status = 0;
  std::uint8_t wait = 0;
  std::uint32_t first = 0, count = 0;  // members[first … first + count)
};

struct Groups {
  std::vector<Group> groups;
  std::vector<std::uint32_t> members;  // goroutine rows, by group, by goid
};

Groups group(const Model& model, const Stacks& stacks, const std::vector<std::uint32_t>& rows) {
  Groups made;
  std::vector<std::uint32_t> group_of(rows.size());
  std::unordered_map<std::uint64_t, std::uint32_t> known;
  std::unordered_map<std::uint32_t, std::uint32_t> statuses;  // small numbers for them, absurd ones included
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Goroutine& g = model.goroutines()[rows[i]];
    std::uint32_t shape = stacks.shape_of(rows[i]);
    std::uint8_t wait = model.waiting(g) ? g.wait_reason : 0;
    auto status = statuses.try_emplace(g.status, static_cast<std::uint32_t>(statuses.size())).first->second;
    std::uint64_t key = std::uint64_t{shape} << 32 | std::uint64_t{wait} << 24 | (status & 0xffffff);
    if (g.is(Goroutine::unreadable)) key = ~std::uint64_t{0};
    auto [it, fresh] = known.try_emplace(key, static_cast<std::uint32_t>(made.groups.size()));
    if (fresh) made.groups.push_back({shape, g.status, wait, 0, 0});
    group_of[i] = it->second;
    ++made.groups[it->second].count;
  }
  std::uint32_t at = 0;
  for (Group& g : made.groups) {
    g.first = at;
    at += g.count;
    g.count = 0;
  }
  made.members.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Group& g = made.groups[group_of[i]];
    made.members[g.first + g.count++] = rows[i];
  }
  // Most frequent first; equal ones by their first goroutine, so that the order is the same on every run.
  std::sort(made.groups.begin(), made.groups.end(), [&](const Group& a, const Group& b) {
    return a.count != b.count ? a.count > b.count : made.members[a.first] < made.members[b.first];
  });
  return made;
}

std::string frame_text(const SourceFrame& f) {
  if (f.function.empty()) return fmt::format("{:#x}", f.pc);
  return describe(f);
}

class Printer {
 public:
  Printer(Session& session, Model& model, Stacks& stacks, const Groups& groups)
      : session_(session), model_(model), stacks_(stacks), groups_(groups) {}

  std::string heading(const Group& g) {
    const Goroutine& sample = model_.goroutines()[groups_.members[g.first]];
    std::string out = plural(g.count, "goroutine");
    if (sample.is(Goroutine::unreadable)) {
      out += ", unreadable: " + addresses(g);
      return out;
    }
    out += fmt::format(", {}", model_.status_text(sample));
    if (std::string_view wait = model_.wait_text(sample); !wait.empty()) out += fmt::format(": {}", wait);
    return out + fmt::format(" [{}]", goids(g));
  }

  void text(const Group& g, Buffered& out) {
    out.add(fmt::format("{}{}{}\n", session_.colour ? "\x1b[1m" : "", heading(g), session_.colour ? "\x1b[0m" : ""));
    if (g.shape == kNone) {
      out.add("    (no stack)\n\n");
      return;
    }
    int n = 0;
    for (const SourceFrame& f : stacks_.frames(g.shape)) {
      out.add(fmt::format("    #{:<3} {}{}\n", n++, printable(frame_text(f)), f.inlined ? " (inlined)" : ""));
    }
    std::string problem = stacks_.problem(groups_.members[g.first]);
    if (!problem.empty()) {
      out.add(fmt::format("    the stack ends here: {}{}\n", problem, g.count > 1 ? " (in the first of these)" : ""));
    }
    auto creators = creators_of(g);
    for (std::size_t i = 0; i < creators.size() && i < kCreatorsShown; ++i) {
      auto [by, count] = creators[i];
      std::string times = creators.size() > 1 ? fmt::format(" ({} of them)", count) : "";
      out.add(fmt::format("    created by {}{}\n", printable(frame_text(by)), times));
    }
    if (creators.size() > kCreatorsShown)
      out.add(fmt::format("    created in {} more places\n", creators.size() - kCreatorsShown));
    if (auto [labels, same] = labels_of(g); !labels.empty())
      out.add(fmt::format("    labels {}{}\n", printable(describe(labels)), same ? "" : " (not all of them)"));
    out.add("\n");
  }

  void brief(const Group& g, Buffered& out) {
    SourceFrame where = stacks_.where(groups_.members[g.first]);
    out.add(fmt::format("{:>8}  {}\n", g.count, where.valid() ? describe(where) : heading(g)));
  }

  void json(const Group& g, Json& json) {
    const Goroutine& sample = model_.goroutines()[groups_.members[g.first]];
    bool readable = !sample.is(Goroutine::unreadable);
    json.open_object().key("count").value(std::uint64_t{g.count}).key("goids").open_array();
    for (std::uint32_t i = 0; i < g.count && readable; ++i) {
      json.value(model_.goroutines()[groups_.members[g.first + i]].goid);
    }
    json.close_array();
    json.key("status").text_or_null(readable ? model_.status_text(sample) : std::string_view());
    json.key("wait_reason").text_or_null(readable ? model_.wait_text(sample) : std::string_view());
    json.key("frames").open_array();
    if (g.shape != kNone) {
      for (const SourceFrame& f : stacks_.frames(g.shape)) json_frame(json, f);
    }
    json.close_array();
    json.key("created_by").open_array();
    for (auto& [by, count] : creators_of(g)) {
      json.open_object().key("count").value(std::uint64_t{count});
      json_frame_keys(json, by);
      json.close_object();
    }
    json.close_array();
    json.key("labels");
    auto [labels, same] = labels_of(g);
    json_labels(json, same ? labels : Labels{});
    json.key("errors").open_array();
    if (!readable) json.value("unreadable: " + addresses(g));
    std::string problem = stacks_.problem(groups_.members[g.first]);
    if (!problem.empty()) json.value(std::string_view(problem));
    json.close_array().close_object();
  }

 private:
  // Where the group's goroutines were created, the most frequent place first.
  std::vector<std::pair<SourceFrame, std::uint32_t>> creators_of(const Group& g) {
    std::unordered_map<std::uint64_t, std::uint32_t> known;       // by pc
    std::vector<std::pair<std::uint32_t, std::uint32_t>> places;  // a goroutine that was created there, how many were
    for (std::uint32_t i = 0; i < g.count; ++i) {
      const Goroutine& one = model_.goroutines()[groups_.members[g.first + i]];
      if (one.is(Goroutine::unreadable) || !one.gopc) continue;
      auto [it, fresh] = known.try_emplace(one.gopc, static_cast<std::uint32_t>(places.size()));
      if (fresh) places.emplace_back(groups_.members[g.first + i], 0);
      ++places[it->second].second;
    }
    std::stable_sort(places.begin(), places.end(), [](auto& a, auto& b) { return a.second > b.second; });
    std::vector<std::pair<SourceFrame, std::uint32_t>> out;
    for (auto [row, count] : places) out.emplace_back(stacks_.creator(model_.goroutines()[row]), count);
    return out;
  }
  // The labels of the group's first goroutine that has any, and whether all have the same.
  std::pair<Labels, bool> labels_of(const Group& g) {
    if (!model_.layout().has(F::g_labels)) return {{}, true};
    Labels labels;
    bool same = true;
    for (std::uint32_t i = 0; i < g.count; ++i) {
      const Labels& own = stacks_.labels(model_.goroutines()[groups_.members[g.first + i]]);
      if (own == labels) continue;
      same = i == 0 && same;
      if (labels.empty()) labels = own;
    }
    return {std::move(labels), same};
  }
  std::string goids(const Group& g) {
    std::string out;
    std::uint32_t shown = std::min<std::uint32_t>(g.count, kGoidsShown);
    for (std::uint32_t i = 0; i < shown; ++i) {
      out += fmt::format("{}{}", i ? ", " : "", model_.goroutines()[groups_.members[g.first + i]].goid);
    }
    if (shown < g.count) out += fmt::format(", +{} more", g.count - shown);
    return out;
  }
  std::string addresses(const Group& g) {
    std::string out;
    std::uint32_t shown = std::min<std::uint32_t>(g.count, kGoidsShown);
    for (std::uint32_t i = 0; i < shown; ++i) {
      out += fmt::format("{}{:#x}", i ? ", " : "", model_.goroutines()[groups_.members[g.first + i]].addr);
    }
    if (shown < g.count) out += fmt::format(", +{} more", g.count - shown);
    return out;
  }
  Session& session_;
  Model& model_;
  Stacks& stacks_;
  const Groups& groups_;
};

Outcome run_stacks(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty()) {
    return fail(sink, fmt::format("goroutine stacks takes options only, not '{}' (goroutine N bt shows one)",
                                  line.words[options->positional[0]].text));
  }
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(*options, *mode ? ~std::uint64_t{0} : default_limit());
  if (!limit) return fail(sink, limit.error());
  auto stacks = session.stacks();
  if (!stacks) return fail(sink, stacks.error());
  Model& model = **session.model();
  GoroutineRows rows(session, model, **stacks);
  auto found = filter_rows(session, rows, options->get("where"), options->has("all") || *mode || settings().system);
  if (found.outcome != Outcome::ok) {
    fail(sink, found.error);
    return found.outcome;
  }
  auto cancelled = [&] {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  };
  if (!(*stacks)->ensure(found.filtered.rows)) return cancelled();
  Groups groups = group(model, **stacks, found.filtered.rows);
  std::uint64_t total = groups.groups.size();
  auto warnings = all_warnings(session, model);
  std::string footer = fmt::format("{} in {}", plural(found.filtered.rows.size(), "goroutine"), plural(total, "stack"));
  if (options->has("count")) {
    sink.out(footer + "\n");
    warn(sink, warnings);
    return Outcome::ok;
  }
  std::uint64_t shown = std::min<std::uint64_t>(total, *limit);
  Printer printer(session, model, **stacks, groups);
  Buffered out(sink);
  Json json(out);
  if (*mode) {
    if (*mode == 2) open_full_json(session, json, "stacks", shown, total, warnings);
    json.open_array();
  }
  for (std::uint64_t i = 0; i < shown; ++i) {
    const Group& g = groups.groups[i];
    if (*mode) {
      json.line_break();
      printer.json(g, json);
    } else if (options->has("short")) {
      printer.brief(g, out);
    } else {
      printer.text(g, out);
    }
    if (i % 256 == 255 && session.cancelled()) {
      out.flush();
      return cancelled();
    }
  }
  if (*mode) {
    if (shown) out.add("\n");
    json.close_array();
    if (*mode == 2) json.close_object();
    out.add("\n");
    out.flush();
    if (*mode == 1) warn(sink, warnings);
    return Outcome::ok;
  }
  if (shown < total) footer += fmt::format("; {} of {} shown (-limit 0 for all)", shown, total);
  footer += left_out(found.filtered, rows.hidden_noun(), "left out");
  out.add(footer + "\n");
  for (const std::string& w : warnings) out.add("warning: " + w + "\n");
  return Outcome::ok;
}

void complete_stacks(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"goroutine stacks", "All stacks, equal ones merged, the most frequent first.",
     "goroutine stacks [-where EXPR] [-limit N] [-json[=full]] [-short] [-count] [-all]\n\n"
     "Goroutines whose whole stacks, status and wait reason are equal are shown once, with their number and a few\n"
     "of their ids (+N more: there are others). The runtime's own frames are shown too: frame #0 is where the\n"
     "goroutine was switched out. The first 100 stacks are shown unless -limit says otherwise; -json has all,\n"
     "with all ids. -short gives one line a stack: the number and the first frame of your own code. Frames that\n"
     "the compiler inlined say so. Below the frames: where they were created, and the labels that they have.\n\n"
     "Example: where those stand that have been waiting for more than a minute\n"
     "  goroutine stacks -where \"age > 1m\"\n"
     "Next: goroutine N for one of them, info goroutines -where \"stack ~ FUNCTION\" for all in a function.\n",
     run_stacks, complete_stacks},
};

}  // namespace

std::span<const CommandSpec> stacks_commands() { return kCommands; }

}  // namespace vitrine::inspect
