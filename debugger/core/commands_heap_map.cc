// commands_heap_map.cc: mheap map: the pages of the heap as letters, or as a page for a browser.
#include <fmt/format.h>

#include "choose.h"
#include "heap_commands.h"
#include "heap_map.h"
#include "listing.h"
#include "output_file.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"arena", Takes::value, "N: only this arena, counted from 0 as in mheap arenas"},
    {"html", Takes::value, "FILE: a page for a browser, with zoom and the span under the mouse"},
    {"limit", Takes::value, "N: at most N lines, 0 for all (default 100)"},
    {"json", Takes::maybe, "a JSON array with a row an arena; -json=full adds schema, runtime and warnings"},
};
constexpr std::size_t kPerLine = 64;

// Coloured, where a run of letters of one kind is coloured once.
std::string painted(const std::string& letters, bool colour) {
  if (!colour) return letters;
  std::string out;
  std::string_view now;
  for (char c : letters) {
    std::string_view ansi;
    for (int u = 0; u < static_cast<int>(PageUse::count); ++u) {
      const PageUseLook& l = look_of(static_cast<PageUse>(u));
      if (std::tolower(static_cast<unsigned char>(c)) == l.letter) ansi = l.ansi;
    }
    if (ansi != now) out += ansi.empty() ? std::string("\x1b[0m") : fmt::format("\x1b[{}m", ansi);
    now = ansi;
    out += c;
  }
  return now.empty() ? out : out + "\x1b[0m";
}

void print(HeapState& heap, const std::vector<Arena>& arenas, std::uint64_t limit, bool colour, Buffered& out) {
  std::vector<std::string> lines;
  for (const Arena& a : arenas) {
    lines.push_back(fmt::format("arena {:#x}-{:#x}", a.base, a.base + heap.arena_bytes()));
    const std::string letters = arena_letters(heap, a);
    std::uint64_t same = 0;
    std::string before;
    auto end_same = [&] {
      if (same) lines.push_back(fmt::format("  … {} more like that", plural(same, "line")));
      same = 0;
    };
    for (std::size_t i = 0; i < letters.size(); i += kPerLine) {
      std::string line = letters.substr(i, kPerLine);
      const bool plain = line.find_first_not_of(line[0]) == line.npos;
      if (plain && line == before) {
        ++same;
        continue;
      }
      end_same();
      before = line;
      lines.push_back(fmt::format("  {:#x} |{}|", a.base + i * heap.page_size(), painted(line, colour)));
    }
    end_same();
  }
  std::string legend =
      fmt::format("one letter a page of {}, a capital where a span begins:", format_size(heap.page_size()));
  for (int u = 0; u < static_cast<int>(PageUse::count); ++u) {
    const PageUseLook& l = look_of(static_cast<PageUse>(u));
    legend +=
        fmt::format(" {} {}{}", l.letter == ' ' ? std::string("blank") : painted(std::string(1, l.letter), colour),
                    l.what, u + 1 < static_cast<int>(PageUse::count) ? "," : "");
  }
  out.add(legend + "\n");
  for (std::size_t i = 0; i < lines.size() && i < limit; ++i) out.add(lines[i] + "\n");
  if (lines.size() > limit) out.add(fmt::format("{} of {} lines shown (-limit 0 for all)\n", limit, lines.size()));
}

Outcome run_map(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("mheap map takes options only, not '{}'", line.words[options->positional[0]].text));
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(*options, default_limit());
  if (!limit) return fail(sink, limit.error());
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  std::vector<Arena> arenas = (*heap)->arenas();
  if (const std::string* wanted = options->get("arena")) {
    auto n = parse_number(*wanted);
    if (!n || *n >= arenas.size())
      return fail(sink, fmt::format("-arena: there is no arena '{}'; there are {}", *wanted, arenas.size()));
    arenas = {arenas[*n]};
  }
  std::vector<std::string> warnings = heap_warnings(**heap);
  Buffered out(sink);
  if (const std::string* file = options->get("html")) {
    auto failed = write_file(*file, sink, [&](Sink& to) {
      write_map_page(**heap, arenas, [&](std::string_view text) { to.out(text); });
      return true;
    });
    if (failed) return *failed;
    out.add(fmt::format("Saved {}: {}\n", *file, plural(arenas.size(), "arena")));
    return page_end(out, sink, warnings, 0);
  }
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "mheap_map", arenas.size(), arenas.size(), warnings);
    json.open_array();
    for (const Arena& a : arenas) {
      json.line_break().open_object().key("base").address(a.base).key("pages").value(arena_letters(**heap, a));
      json.key("errors").open_array();
      if (!a.error.empty()) json.value(std::string_view(a.error));
      json.close_array().close_object();
    }
    json.close_array();
    if (*mode == 2) json.close_object();
  } else {
    print(**heap, arenas, *limit, session.colour, out);
  }
  return page_end(out, sink, warnings, *mode);
}

void complete_map(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"mheap map", "The pages of the heap as a picture, in the terminal or as a page for a browser.",
     "mheap map [-arena N] [-html FILE] [-limit N] [-json[=full]]\n\n"
     "One letter a page, a capital where a span begins: o small objects, l a large one, s stacks, r the runtime's own\n"
     "objects, . free, _ free and given back, blank: in no span yet. Lines that repeat are counted, not shown.\n"
     "-html writes one file that needs nothing else: zoom, a legend with counts, the span under the mouse.\n\n"
     "Example:\n"
     "  mheap map -arena 0\n"
     "  mheap map -html /tmp/heap.html\n"
     "Next: mheap span ADDR for what lies at one place.\n",
     run_map, complete_map},
};

}  // namespace

std::span<const CommandSpec> heap_map_commands() { return kCommands; }

}  // namespace vitrine::inspect
