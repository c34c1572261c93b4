// commands_mheap.cc: mheap and mheap spans: the heap on one page, and its spans as a list.
#include <fmt/format.h>

#include "choose.h"
#include "commands.h"
#include "gc_state.h"
#include "heap_commands.h"
#include "heap_page.h"
#include "span_rows.h"

namespace vitrine::inspect {

std::optional<HeapState*> look_at_heap(Session& session, Sink& sink) {
  if (!look(session, sink)) return std::nullopt;
  auto heap = session.heap();
  if (!heap) {
    fail(sink, heap.error());
    return std::nullopt;
  }
  return *heap;
}

std::string no_such_class(const HeapState& heap, std::uint64_t sizeclass) {
  return fmt::format("there is no size class {}; they are 0 to {}", sizeclass, heap.central_count() / 2 - 1);
}

std::vector<std::string> heap_warnings(HeapState& heap) {
  std::vector<std::string> warnings = all_warnings(heap.session(), heap.model());
  warnings.insert(warnings.end(), heap.warnings().begin(), heap.warnings().end());
  if (std::string doubt = GcState(heap).doubt(); !doubt.empty()) warnings.push_back(std::move(doubt));
  if (!warnings.empty()) heap.session().incomplete = true;
  return warnings;
}

std::vector<OptionSpec> heap_list_options(std::initializer_list<OptionSpec> more) {
  std::vector<OptionSpec> options;
  for (const OptionSpec& o : listing_options()) {
    if (o.name != "all") options.push_back(o);
  }
  options.insert(options.end(), more);
  return options;
}

Outcome list_rows(HeapState& heap, Sink& sink, PlainRows& rows, const Options& options, std::string_view nothing,
                  const std::vector<std::string>& more) {
  Session& session = heap.session();
  std::vector<std::string> warnings = heap_warnings(heap);
  warnings.insert(warnings.end(), more.begin(), more.end());
  session.incomplete = session.incomplete || !more.empty();
  if (rows.size() == 0 && !options.has("json") && !options.has("short") && !options.has("count")) {
    sink.out(fmt::format("{}{}\n", nothing, warnings.empty() ? "" : ", or it cannot be read"));
    for (const std::string& w : warnings) sink.out(fmt::format("warning: {}\n", w));
    return Outcome::ok;
  }
  Outcome outcome = run_listing(session, sink, rows, options, warnings);
  session.incomplete = session.incomplete || rows.damaged();
  return outcome;
}

Outcome page_end(Buffered& out, Sink& sink, const std::vector<std::string>& warnings, int mode) {
  if (mode) {
    out.add("\n");
    out.flush();
    if (mode == 1) warn(sink, warnings);
    return Outcome::ok;
  }
  for (const std::string& w : warnings) out.add("warning: " + w + "\n");
  return Outcome::ok;
}

void complete_columns(std::span<const OptionSpec> specs, std::span<const ColumnSpec> columns, const Line& line,
                      std::string_view partial, const Complete& offer) {
  std::string_view before = line.words.empty() ? std::string_view() : std::string_view(line.words.back().text);
  if (before != "-sort" && before != "-cols" && before != "-where") return complete_options(specs, partial, offer);
  auto comma = partial.rfind(',');
  std::string done(partial.substr(0, comma == partial.npos ? 0 : comma + 1));
  std::string_view last = partial.substr(done.size());
  std::string minus(before == "-sort" && last.starts_with('-') ? "-" : "");
  for (const ColumnSpec& c : columns) {
    if (c.name.starts_with(last.substr(minus.size()))) offer(done + minus + std::string(c.name));
  }
}

namespace {

constexpr OptionSpec kPageOptions[] = {
    {"json", Takes::maybe, "a JSON array with one row; -json=full adds schema, runtime and warnings"},
};

std::span<const OptionSpec> span_options() {
  static const std::vector<OptionSpec> options = [] {
    std::vector<OptionSpec> all(listing_options().begin(), listing_options().end());
    for (OptionSpec& o : all) {
      if (o.name == "all") o.what = "those without pages as well";
    }
    all.push_back({"class", Takes::value, "N: only spans of objects of this size class, 0 for large ones"});
    return all;
  }();
  return options;
}

Outcome run_mheap(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kPageOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("there is no 'mheap {}'; mheap alone is the heap on one page; vitrine help mheap "
                                  "lists its parts",
                                  line.words[options->positional[0]].text));
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  HeapPage page = heap_page(**heap);
  Buffered out(sink), text(sink);
  std::vector<std::string> warnings;
  if (*mode) {
    Json json(out);
    (*heap)->arenas();
    warnings = heap_warnings(**heap);
    if (*mode == 2) open_full_json(session, json, "mheap", 1, 1, warnings);
    json.open_array();
    json_heap_page(**heap, page, json);
    json.close_array();
    if (*mode == 2) json.close_object();
  } else {
    print_heap_page(**heap, page, out);
    warnings = heap_warnings(**heap);
  }
  session.incomplete = session.incomplete || page.unreadable;
  return page_end(out, sink, warnings, *mode);
}

Outcome run_spans(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, span_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("mheap spans takes options only, not '{}'; mheap span ADDR shows one",
                                  line.words[options->positional[0]].text));
  std::optional<std::uint64_t> only;
  if (const std::string* wanted = options->get("class")) {
    only = parse_number(*wanted);
    if (!only) return fail(sink, fmt::format("-class: '{}' is not a number", *wanted));
    std::string where = fmt::format("class = {}", *only);
    if (const std::string* other = options->get("where")) where = fmt::format("({}) and {}", *other, where);
    options->set.emplace_back("where", where);
  }
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  (*heap)->stack_uses();  // reads what OWNER needs, so that its warnings come first
  if (std::size_t n = (*heap)->central_count() / 2; n && only && *only >= n)
    return fail(sink, no_such_class(**heap, *only));
  SpanRows rows(**heap, only);
  return list_rows(**heap, sink, rows, *options, "the heap has no spans yet");
}

void complete_mheap(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kPageOptions, partial, offer);
}
void complete_spans(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(span_options(), span_columns(), line, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"mheap", "The heap on one page: arenas, pages, spans, sweep state, stacks, what the system gave.",
     "mheap [-json[=full]]\n\n"
     "Arenas and how much of them is not in spans yet; pages by use; spans by use; the size classes with the most\n"
     "pages, with how many of their objects are allocated; the state of the sweep; stacks; the runtime's metadata;\n"
     "what was asked of the system, and of a live process on this machine how much of the arenas has memory now.\n"
     "What Ps hold in their caches counts as allocated.\n\n"
     "The parts:\n"
     "  mheap spans    all spans                    mheap arenas   arenas\n"
     "  mheap span     one, with its objects        mheap treap    the free spans in their tree\n"
     "  mheap classes  size classes and waste       mheap stacks   pools and caches of stacks\n"
     "  mheap map      pages as a picture           mheap check    does all of it agree?\n"
     "  mcache         what Ps hold                 mcentral       the lists of each class\n"
     "  obj            what an address is\n\n"
     "Example:\n"
     "  mheap\n"
     "Next: mheap spans -sort -pages for the largest, mheap classes for where memory is lost.\n",
     run_mheap, complete_mheap},
    {"mheap spans", "List spans: pages, state, class, objects, sweep state, who has it.",
     "mheap spans [-class N] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count] "
     "[-all]\n\n"
     "One row a span, by address. STATE is the program's word: inuse (objects), manual (stacks and the runtime's own\n"
     "objects), free. SWEEP is where it stands against the heap's generation. OWNER is\n"
     "  mcache of P 2           the span from which P 2 allocates objects of this class, or one that it took ahead\n"
     "  mcentral nonempty       has free objects; any P may take it; empty: it has none\n"
     "  large                   one object\n"
     "  stack pool: 3 goroutines, 2 cached, 11 free    stacks of one size, and who has them\n"
     "  stack of goroutine 7    one large stack\n"
     "  runtime objects         channels, closures and the like\n"
     "  free treap              nobody\n"
     "-all adds mspans that describe no pages at present.\n\n"
     "Columns: base pages state class elem nelems alloc free sweep owner noscan bytes scavenged freeindex unused\n"
     "needzero limit addr.\n\n"
     "Example: spans of one class that are mostly empty\n"
     "  mheap spans -class 5 -where \"free > 80\"\n"
     "  mheap spans -where \"owner ~ goroutine\" -sort -pages -limit 10\n"
     "Next: mheap span ADDR for the objects of one.\n",
     run_spans, complete_spans},
};

}  // namespace

std::span<const CommandSpec> mheap_commands() { return kCommands; }

}  // namespace vitrine::inspect
