// commands_span.cc: mheap span: one span with the state of each of its objects or stacks.
#include <fmt/format.h>

#include "choose.h"
#include "expressions.h"
#include "heap_commands.h"
#include "listing.h"
#include "render.h"
#include "span_rows.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"limit", Takes::value, "N: the states of at most N objects, 0 for all (default 1024)"},
    {"json", Takes::maybe, "a JSON array with one row; -json=full adds schema, runtime and warnings"},
};
constexpr std::uint64_t kPerLine = 64;
constexpr std::uint64_t kDefaultObjects = 1024;

std::string_view word_of(char c) {
  switch (c) {
    case Slots::allocated:
      return "allocated";
    case Slots::marked:
      return "marked";
    case Slots::free:
      return "free";
    case Slots::cached:
      return "cached";
    default:
      return "unknown";
  }
}

// Who has object i, where that is known: "P 2" for cached ones, "goroutine 7" for stacks.
std::string holder(HeapState& heap, const Span& s, std::uint64_t i, char c) {
  const std::uint64_t at = s.base + i * s.elemsize;
  if (c == Slots::cached) {
    const HeapCache* by = heap.cache_with(at);
    return by ? heap.cache_name(*by) : std::string();
  }
  const SpanKind k = heap.kind(s);
  if (c != Slots::allocated || (k != SpanKind::stack_pool && k != SpanKind::stack_large)) return {};
  HeapState::StackOf of = heap.stack_of(at);
  if (of.goroutine != kNone) return fmt::format("goroutine {}", heap.model().goroutines()[of.goroutine].goid);
  return of.dead_g ? fmt::format("a dead goroutine (g at {:#x})", of.dead_g) : std::string();
}

void print(HeapState& heap, const Span& s, const Slots& slots, std::uint64_t limit, Buffered& out) {
  auto line = [&](std::string_view key, std::string text) { out.add(fmt::format("{:<10} {}\n", key, text)); };
  out.add(fmt::format("span {:#x}-{:#x}: {}, {} (mspan at {:#x})\n", s.base, heap.end(s), plural(s.npages, "page"),
                      heap.state_text(s), s.addr));
  if (std::string flaw = heap.flaw(s); !flaw.empty()) out.add("error: " + flaw + "\n");
  if (std::string owner = heap.owner_text(s); !owner.empty()) line("owner", owner);
  const SpanKind k = heap.kind(s);
  if (k == SpanKind::free) {
    line("pages", s.scavenged ? "scavenged: given back or never touched" : "may have memory");
    std::int64_t now = heap.model().now();
    if (s.unused_since > 0 && now > 0)
      line("free for", format_duration(std::max<std::int64_t>(0, now - s.unused_since)));
    return;
  }
  const bool stacks = k == SpanKind::stack_pool || k == SpanKind::stack_large;
  if (auto c = class_of(heap, s))
    line("class", *c ? fmt::format("{}, objects of {} bytes{}", *c, s.elemsize, s.noscan() ? " without pointers" : "")
                     : fmt::format("one object of {} bytes{}", s.elemsize, s.noscan() ? " without pointers" : ""));
  std::string counts;
  for (char c : {Slots::allocated, Slots::marked, Slots::cached, Slots::free, Slots::unknown}) {
    if (std::size_t n = slots.count(c)) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", n, word_of(c));
  }
  const std::uint64_t tail = heap.bytes(s) - std::min(heap.bytes(s), slots.map.size() * s.elemsize);
  line(stacks ? "stacks" : "objects", fmt::format("{}: {}; allocCount {}{}{}", slots.map.size(), counts, s.alloc_count,
                                                  stacks ? std::string() : fmt::format(", freeindex {}", s.freeindex),
                                                  tail ? fmt::format("; {} bytes left over", tail) : std::string()));
  if (k == SpanKind::small || k == SpanKind::large)
    line("sweep", fmt::format("{} (generation {}, the heap's {})", heap.sweep_text(s), s.sweepgen, heap.sweepgen()));
  line("list", heap.list_text(heap.list_at(s.list)));
  for (const std::string& e : slots.errors) out.add("error: " + e + "\n");
  const std::uint64_t shown = std::min<std::uint64_t>(limit, slots.map.size());
  if (stacks) {
    for (std::uint64_t i = 0; i < shown; ++i) {
      std::string who = holder(heap, s, i, slots.map[i]);
      out.add(fmt::format("  {:#x}  {}{}{}\n", s.base + i * s.elemsize, word_of(slots.map[i]), who.empty() ? "" : ": ",
                          who));
    }
  } else if (slots.map.size() > 1) {
    out.add("# allocated  m marked too  c kept by a P  . free  ? unknown\n");
    for (std::uint64_t i = 0; i < shown; i += kPerLine)
      out.add(
          fmt::format("  {:#x}  {}\n", s.base + i * s.elemsize, slots.map.substr(i, std::min(kPerLine, shown - i))));
    if (k == SpanKind::runtime && slots.count(Slots::cached)) {
      std::string who;
      for (const HeapCache& c : heap.caches()) {
        std::size_t n = 0;
        for (std::uint64_t i = 0; i < slots.map.size(); ++i)
          n += slots.map[i] == Slots::cached && heap.cache_with(s.base + i * s.elemsize) == &c;
        if (n) who += fmt::format("{}{} by {}", who.empty() ? "" : ", ", n, heap.cache_name(c));
      }
      line("kept", who);
    }
  }
  if (shown < slots.map.size()) out.add(fmt::format("{} of {} shown (-limit 0 for all)\n", shown, slots.map.size()));
}

void json_row(HeapState& heap, const Span& s, const Slots& slots, Json& json) {
  json.open_object().key("base").address(s.base).key("addr").address(s.addr).key("pages").value(s.npages);
  json.key("state").value(std::string_view(heap.state_text(s))).key("class");
  if (auto c = class_of(heap, s)) {
    json.value(std::uint64_t{*c});
  } else {
    json.null();
  }
  json.key("elem_size").value(s.elemsize).key("nelems").value(s.nelems);
  json.key("alloc_count").value(std::uint64_t{s.alloc_count}).key("freeindex").value(s.freeindex);
  json.key("sweep").text_or_null(heap.sweep_text(s)).key("owner").text_or_null(heap.owner_text(s));
  json.key("list").value(std::string_view(heap.list_text(heap.list_at(s.list))));
  json.key("noscan").value(heap.has_objects(s) && s.noscan()).key("scavenged").value(s.scavenged);
  json.key("objects").open_array();
  for (std::uint64_t i = 0; i < slots.map.size(); ++i) {
    json.open_object().key("addr").address(s.base + i * s.elemsize);
    json.key("state").value(word_of(slots.map[i])).key("by").text_or_null(holder(heap, s, i, slots.map[i]));
    json.close_object();
  }
  json.close_array().key("errors").open_array();
  if (std::string flaw = heap.flaw(s); !flaw.empty()) json.value(std::string_view(flaw));
  for (const std::string& e : slots.errors) json.value(std::string_view(e));
  json.close_array().close_object();
}

Outcome run_span(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->positional.empty()) return fail(sink, "mheap span ADDR: an address is needed; mheap spans lists all");
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(*options, kDefaultObjects);
  if (!limit) return fail(sink, limit.error());
  const Word &begin = line.words[options->positional.front()], &end = line.words[options->positional.back()];
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  auto place = address_of(session, line.raw.substr(begin.begin, end.end - begin.begin));
  if (!place) return fail(sink, place.error());
  std::uint32_t index = (*heap)->at_address(place->value);
  if (index == kNone) index = (*heap)->at_structure(place->value);
  if (index == kNone) return fail(sink, fmt::format("{0:#x} is in no span: obj {0:#x} says what it is", place->value));
  const Span& s = (*heap)->spans()[index];
  if (s.unreadable) return fail(sink, (*heap)->flaw(s));
  if ((*heap)->kind(s) == SpanKind::dead)
    return fail(sink, fmt::format("the mspan at {:#x} has no pages at present", s.addr));
  Slots slots = (*heap)->slots(s);
  if (!slots.errors.empty() || !(*heap)->flaw(s).empty()) session.incomplete = true;
  std::vector<std::string> warnings = heap_warnings(**heap);
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "span", 1, 1, warnings);
    json.open_array();
    json_row(**heap, s, slots, json);
    json.close_array();
    if (*mode == 2) json.close_object();
  } else {
    print(**heap, s, slots, *limit, out);
  }
  return page_end(out, sink, warnings, *mode);
}

void complete_span(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"mheap span", "One span: who has it, and the state of each object or stack in it.",
     "mheap span ADDR|EXPR [-limit N] [-json[=full]]\n\n"
     "ADDR is any address in the span, or that of its mspan. Objects are shown as a map, a letter each:\n"
     "  #  allocated      m  allocated, and marked in this collection\n"
     "  c  free, in the cache of a P (counted as allocated in the span)\n"
     "  .  free           ?  not known, because the bitmap cannot be read\n"
     "Stacks are shown one a line, with the goroutine or the P that has each.\n\n"
     "Example:\n"
     "  mheap span 0xc000004000\n"
     "Next: obj ADDR for one object, mcentral CLASS for the other spans of the class.\n",
     run_span, complete_span},
};

}  // namespace

std::span<const CommandSpec> span_commands() { return kCommands; }

}  // namespace vitrine::inspect
