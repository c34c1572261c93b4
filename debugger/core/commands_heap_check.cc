// commands_heap_check.cc: mheap check.
#include <fmt/format.h>

#include "choose.h"
#include "heap_check.h"
#include "heap_commands.h"
#include "listing.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr ColumnSpec kColumns[] = {
    {"where", "WHERE", ColumnType::text, false, false, "the span, list, node, page or counter"},
    {"check", "CHECK", ColumnType::text, false, false, "what was compared"},
    {"expected", "EXPECTED", ColumnType::text, false, false, "by the other side"},
    {"got", "GOT", ColumnType::text, false, false, "what it says"},
    {"in_transition", "IN TRANSITION", ColumnType::text, false, false, "who is in the middle of the change"},
};

std::span<const OptionSpec> check_options() {
  static const std::vector<OptionSpec> options = heap_list_options();
  return options;
}

Outcome run_check(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, check_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("mheap check takes options only, not '{}'", line.words[options->positional[0]].text));
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  if (!(*heap)->layout().has(F::mcentral_nonempty))
    return fail(sink, fmt::format("mheap check holds spans against lists, which the heap of {} has not",
                                  (*heap)->layout().dialect().title()));
  SchedState sched(session, (*heap)->model());
  session.progress("checking the heap");
  HeapChecked checked = HeapCheck(**heap, sched).run();
  session.progress("");
  if (checked.cancelled) {
    fail(sink, fmt::format("stopped by Ctrl-C after {}, with {} until then; of the rest nothing is known",
                           plural(checked.checks, "check"),
                           checked.found ? plural(checked.found, "finding") : std::string("no finding")));
    return Outcome::cancelled;
  }
  bool moving = false;
  for (const HeapFinding& f : checked.findings) moving = moving || !f.transition.empty();
  GridRows rows(kColumns, moving ? 5 : 4, "finding", "mheap_check");
  for (HeapFinding& f : checked.findings)
    rows.add({std::move(f.where), f.check, std::move(f.expected), std::move(f.got), std::move(f.transition)});
  if (session.moving) rows.warnings.push_back("the program runs while we look: what is found may only be torn");
  if (checked.found > checked.findings.size())
    rows.warnings.push_back(
        fmt::format("{} findings in all, of which {} were kept", checked.found, checked.findings.size()));
  rows.warnings.insert(rows.warnings.end(), checked.warnings.begin(), checked.warnings.end());
  const bool table = !options->has("json") && !options->has("short") && !options->has("count");
  if (checked.violations) session.incomplete = true;
  if (checked.found == 0 && table) {
    sink.out(fmt::format("consistent: {}\n", plural(checked.checks, "check")));
    for (const std::string& w : heap_warnings(**heap)) sink.out(fmt::format("warning: {}\n", w));
    return Outcome::ok;
  }
  Outcome outcome = list_rows(**heap, sink, rows, *options, "", rows.warnings);
  if (outcome == Outcome::ok && table)
    sink.out(fmt::format("{}: {}, {} in transition\n", plural(checked.checks, "check"),
                         checked.violations ? plural(checked.violations, "violation") : "no violation",
                         checked.found - checked.violations));
  return outcome;
}

void complete_check(Session&, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete_columns(check_options(), kColumns, line, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"mheap check",
     "Hold spans, page tables, bits, lists, the treap, caches, stacks and statistics against each other.",
     "mheap check [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "One row a disagreement: WHERE it is, which CHECK, what is EXPECTED by the other side, what was GOT. Compared "
     "are\n"
     "  spans map, pageInUse   the arenas' tables against the spans\n"
     "  overlap, coalescing    neighbours: free ones of a kind are merged\n"
     "  allocCount, freeindex, allocCache, elemsize   counts against bits, object by object\n"
     "  mark bits              swept: none; not swept yet: of allocated objects only, and bits of objects only\n"
     "  pointer bits           none where no pointers are, none behind the end of an object's, none without the other\n"
     "  pointer                what objects point to is allocated\n"
     "  list, list links, list member, incache, sweepgen   what a span says, and where it is\n"
     "  treap order, priority, links, key, span       all free spans and no other, best fit first\n"
     "  mcache span, object, stack                    held once, and taken from their spans\n"
     "  stack                  goroutines' stacks against the spans of stacks\n"
     "  statistics             counters against a walk\n"
     "What is only on its way, because its lock is held or a thread is in a function that changes it, is \"in\n"
     "transition\" with that thread. vitrine-inspect ends with status 1 if there are violations.\n\n"
     "Example:\n"
     "  mheap check\n"
     "  consistent: 2140 checks\n"
     "Next: mheap span ADDR, or obj ADDR, for what is wrong with one.\n",
     run_check, complete_check},
};

}  // namespace

std::span<const CommandSpec> heap_check_commands() { return kCommands; }

}  // namespace vitrine::inspect
