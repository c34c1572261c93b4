// commands_heap_lists.cc: mheap classes, arenas, treap, stacks; mcache and mcentral: the heap's parts as lists.
#include <fmt/format.h>

#include "heap_commands.h"
#include "heap_grids.h"
#include "listing.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

std::span<const OptionSpec> options_of() {
  static const std::vector<OptionSpec> options = heap_list_options();
  return options;
}

// What all of them do. make(heap, argument) gives the rows; an argument that it does not take is an error.
template <class Make>
Outcome run(Session& session, const Line& line, std::size_t first, Sink& sink, std::string_view name,
            std::string_view argument, std::string_view nothing, Make make) {
  auto options = parse_options(line, first, options_of(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  std::optional<std::uint64_t> number;
  for (std::size_t at : options->positional) {
    const std::string& word = line.words[at].text;
    number = argument.empty() || at != options->positional[0] ? std::nullopt : parse_number(word);
    if (number) continue;
    return fail(sink, argument.empty() ? fmt::format("{} takes options only, not '{}'", name, word)
                                       : fmt::format("{} [{}]: '{}' is not one number", name, argument, word));
  }
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  Result<GridRows> rows = make(**heap, number);
  if (!rows) return fail(sink, rows.error());
  return list_rows(**heap, sink, *rows, *options, nothing, rows->warnings);
}

template <GridRows (*make)(HeapState&)>
Outcome run_plain(Session& session, const Line& line, std::size_t first, Sink& sink, std::string_view name,
                  std::string_view nothing) {
  return run(session, line, first, sink, name, {}, nothing,
             [](HeapState& heap, auto) -> Result<GridRows> { return make(heap); });
}

Outcome run_classes(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run_plain<classes_grid>(session, line, first, sink, "mheap classes", "no span has objects");
}
Outcome run_arenas(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run_plain<arenas_grid>(session, line, first, sink, "mheap arenas", "the heap has no arena yet");
}
// True, and said, when this heap has not what a command shows.
bool heap_lacks(Session& session, F part, std::string_view why, Sink& sink) {
  auto layout = session.layout();
  if (!layout || (*layout)->has(part)) return false;
  fail(sink, why);
  return true;
}
Outcome run_treap(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (heap_lacks(session, F::mheap_free_treap,
                 "this heap has no treap: its free pages are bits of a page allocator (mheap has their number)", sink))
    return Outcome::error;
  return run_plain<treap_grid>(session, line, first, sink, "mheap treap", "no span is free");
}
Outcome run_stacks(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run_plain<stacks_grid>(session, line, first, sink, "mheap stacks", "there are no spans of stacks");
}

Outcome run_mcache(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run(session, line, first, sink, "mcache", "P", "it holds nothing",
             [](HeapState& heap, std::optional<std::uint64_t> p) -> Result<GridRows> {
               if (!p) return caches_grid(heap);
               for (const HeapCache& c : heap.caches()) {
                 if (c.processor == kNone) continue;
                 if (static_cast<std::uint64_t>(heap.model().processors()[c.processor].id) != *p) continue;
                 GridRows rows = cache_grid(heap, c);
                 if (!c.error.empty()) rows.warnings.push_back(c.error);
                 return rows;
               }
               return Error{fmt::format("there is no P {} with an mcache; mcache lists them", *p), {}};
             });
}

Outcome run_mcentral(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (heap_lacks(
          session, F::mcentral_nonempty,
          "this heap's mcentrals have sets of spans, not lists; mheap spans -where \"owner ~ mcentral\" lists them",
          sink))
    return Outcome::error;
  return run(session, line, first, sink, "mcentral", "CLASS", "it has no spans",
             [](HeapState& heap, std::optional<std::uint64_t> sizeclass) -> Result<GridRows> {
               if (!sizeclass) return centrals_grid(heap);
               if (*sizeclass >= heap.central_count() / 2) return Error{no_such_class(heap, *sizeclass), {}};
               return central_grid(heap, *sizeclass);
             });
}

template <auto& columns>
void complete(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(options_of(), columns, line, partial, offer);
}

#define OPTIONS "[-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
constexpr CommandSpec kCommands[] = {
    {"mheap classes", "Size classes: spans, objects, and the memory that is lost.",
     "mheap classes " OPTIONS
     "One row a size class that has spans; the runtime's own objects (OF runtime) apart. BYTES is what is allocated,\n"
     "TAIL what is left over at the ends of spans, PARTLY the spans that are neither full nor without objects. INNER\n"
     "is the part of objects that nobody asked for; that is known of large objects only. Of small ones it is known of\n"
     "those whose allocation was sampled (one in 512 KiB by default): SAMPLED are how many, SAMPLED_INNER what is "
     "lost\n"
     "inside of them.\n\n"
     "Columns: class of elem_size spans partly nelems alloc_count free_percent alloc_bytes tail_bytes inner_bytes "
     "pages sampled sampled_inner.\n\n"
     "Example: where most memory lies idle in started spans\n"
     "  mheap classes -sort -partly\n"
     "Next: mheap spans -class N.\n",
     run_classes, complete<class_columns>},
    {"mheap arenas", "Arenas: pages in use, free, given back, not handed out yet.",
     "mheap arenas " OPTIONS "One row an arena, in the order of their making. REST is what no span has had yet.\n\n"
     "Columns: base spans used_pages free_pages scavenged_pages rest_pages addr.\n\n"
     "Example:\n"
     "  mheap arenas -where \"used_pages = 0\"\n"
     "Next: mheap map -arena N for its pages.\n",
     run_arenas, complete<arena_columns>},
    {"mheap treap", "The free spans in their tree: in order, with depth, priority and what is out of order.",
     "mheap treap " OPTIONS
     "One row a node, the smallest span first: the order in which best fit looks at them. VIOLATION says what is\n"
     "wrong: a priority less than the parent's, a key that is not the span's, a span that is not free.\n\n"
     "Columns: base pages depth priority scavenged violation node left right.\n\n"
     "Example:\n"
     "  mheap treap -sort -depth -limit 5\n"
     "Next: mheap check.\n",
     run_treap, complete<treap_columns>},
    {"mheap stacks", "Stacks by size: who has them, what Ps keep, what is free.",
     "mheap stacks " OPTIONS
     "One row a size. Dead goroutines may keep theirs for the next one. CACHED are with Ps, FREE in the pool.\n\n"
     "Columns: size kind spans slots goroutines dead cached free bytes.\n\n"
     "Example:\n"
     "  mheap stacks\n"
     "Next: mheap spans -where \"owner ~ stack\", mcache N for what one P keeps.\n",
     run_stacks, complete<stack_columns>},
    {"mcache", "What each P allocates from without a lock; with a number: all that P keeps.",
     "mcache [P] " OPTIONS "Without a number one row a P, and one for who has no P. With one: each span that it "
     "allocates from, those that it\n"
     "took ahead because Ps waited for the heap (WHAT ahead, the next one first), the free objects of the runtime and\n"
     "the free stacks that it keeps, by class.\n\n"
     "Columns: p spans free_objects tiny tiny_offset objects stacks stack_bytes flushgen addr; with a number: what\n"
     "class elem_size free nelems noscan first.\n\n"
     "Example:\n"
     "  mcache -sort -stack_bytes\n"
     "  mcache 0\n"
     "Next: mcentral CLASS for the spans of a class.\n",
     run_mcache, complete<cache_columns>},
    {"mcentral", "Spans of each class between the heap and the Ps; with a class: the spans on its lists.",
     "mcentral [CLASS] " OPTIONS
     "One row a class that was ever asked for a span; those of the runtime's own objects apart (OF runtime). With a\n"
     "class: the spans on its lists in their order, read from the lists themselves.\n\n"
     "Columns: class of noscan elem_size nonempty empty cached free_objects nmalloc nfree locked addr; with a class:\n"
     "list base pages alloc_count nelems sweep owner.\n\n"
     "Example:\n"
     "  mcentral -where \"nonempty > 10\"\n"
     "  mcentral 5\n"
     "Next: mheap span ADDR.\n",
     run_mcentral, complete<central_columns>},
};
#undef OPTIONS

}  // namespace

std::span<const CommandSpec> heap_list_commands() { return kCommands; }

}  // namespace vitrine::inspect
