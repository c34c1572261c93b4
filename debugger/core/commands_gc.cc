// commands_gc.cc: gc: the collector on one page.
#include <fmt/format.h>

#include "choose.h"
#include "gc_state.h"
#include "heap_commands.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"json", Takes::maybe, "a JSON array with one row; -json=full adds schema, runtime and warnings"},
};

constexpr std::uint64_t kNever = ~std::uint64_t{0};

std::string size_text(std::optional<std::uint64_t> v) { return v ? format_size(*v) : std::string("?"); }
std::string time_text(std::optional<std::int64_t> v) { return v ? format_duration(*v) : std::string("?"); }
std::string count_text(std::optional<std::uint64_t> v) { return v ? std::to_string(*v) : std::string("?"); }

std::string percent_text(const GcState& gc) {
  auto percent = gc.controller(F::gcController_gcPercent);
  if (!percent) return "?";
  const auto n = static_cast<std::int32_t>(*percent);
  return n < 0 ? "off" : std::to_string(n);
}

// Whether the program runs while this collector marks; of ours, whether it did in this cycle.
bool beside(HeapState& heap, const GcState& gc) {
  auto stopped = gc.work(F::work_stopped);
  return stopped ? *stopped == 0 : heap.layout().dialect().marks_beside();
}

bool marking(const GcState& gc) { return gc.phase().value_or(0) == 1; }

// Markers that are at work now.
std::optional<std::uint64_t> markers(const GcState& gc) {
  if (!gc.collecting()) return 0;
  auto all = gc.work(F::work_nproc), idle = gc.work(F::work_nwait);
  if (!all || !idle) return std::nullopt;
  return static_cast<std::uint32_t>(*all - *idle);
}

// What goroutines have allocated in this cycle beyond what they have worked off.
struct Debt {
  std::uint64_t goroutines = 0, bytes = 0, unread = 0;
};
std::optional<Debt> debt(HeapState& heap, const GcState& gc) {
  const FieldPlace &at = heap.layout().place(F::g_gcAssistBytes), &of = heap.layout().place(F::g_gcAssistCycle);
  auto cycle = gc.work(F::work_cycles);
  if (!at.present || !of.present || !cycle) return std::nullopt;
  Debt d;
  if (!gc.collecting()) return d;
  auto model = heap.session().model();
  if (!model) return std::nullopt;
  for (const Goroutine& g : (*model)->goroutines()) {
    if (g.is(Goroutine::unreadable)) continue;
    auto credit = heap.session().memory().get<std::int64_t>(g.addr + at.offset);
    auto when = heap.session().memory().get<std::uint32_t>(g.addr + of.offset);
    if (!credit || !when) {
      ++d.unread;
    } else if (*when == *cycle && *credit < 0) {
      ++d.goroutines;
      d.bytes += static_cast<std::uint64_t>(-*credit);
    }
  }
  return d;
}

std::string workers_text(HeapState& heap, const GcState& gc) {
  std::string text = "none at work";
  if (gc.collecting()) {
    text = count_text(markers(gc)) + " at work now";
    if (auto d = debt(heap, gc)) {
      text += fmt::format("; {} {} {}", plural(d->goroutines, "goroutine"), d->goroutines == 1 ? "owes" : "owe",
                          format_size(d->bytes));
      if (d->unread) text += fmt::format(" ({} could not be read)", d->unread);
    }
  }
  auto cpu = [&](F f) {
    auto v = gc.work(f);
    return v ? format_duration(static_cast<std::int64_t>(*v)) : std::string("?");
  };
  return text + fmt::format("; {} cycle: dedicated {}, fractional {}, on idle Ps {}, assists {}",
                            gc.collecting() ? "this" : "last", cpu(F::work_dedicatedMarkTime),
                            cpu(F::work_fractionalMarkTime), cpu(F::work_idleMarkTime), cpu(F::work_assistTime));
}

std::optional<std::int64_t> last_pause(HeapState& heap, const GcState& gc) {
  if (auto all = gc.work(F::work_pauseNS)) return static_cast<std::int64_t>(*all);
  if (beside(heap, gc)) return std::nullopt;
  return gc.span(F::work_tSweepTerm, F::work_tEnd);
}

// Of the last cycle, or of the present one as far as it has come.
std::string pauses_text(HeapState& heap, const GcState& gc) {
  const std::string before = time_text(gc.span(F::work_tSweepTerm, F::work_tMark));
  auto total = gc.work(F::work_pauseTotal);
  const std::string all = total ? format_duration(static_cast<std::int64_t>(*total)) : "?";
  if (marking(gc) && beside(heap, gc)) return fmt::format("{} before marking, which goes on; {} in all", before, all);
  if (gc.work(F::work_tEnd).value_or(0) == 0) return gc.collecting() ? "the first is going on" : "none yet";
  const std::string mark = time_text(gc.span(F::work_tMark, F::work_tMarkTerm)),
                    end = time_text(gc.span(F::work_tMarkTerm, F::work_tEnd));
  if (beside(heap, gc))
    return fmt::format("last {} before marking and {} after it; marking, beside the program, took {}; {} in all",
                       before, end, mark, all);
  return fmt::format("last {} (stop and sweep {}, mark {}, end {}), {} in all", time_text(last_pause(heap, gc)), before,
                     mark, end, all);
}

std::string phase_line(HeapState& heap, const GcState& gc) {
  if (!gc.collecting()) return gc.phase_text() + ": no collection is going on";
  return gc.phase_text() +
         (marking(gc) && beside(heap, gc) ? ": the program runs meanwhile" : ": the world is stopped");
}

std::string next_text(const GcState& gc) {
  auto goal = gc.controller(F::gcController_heapGoal), trigger = gc.controller(F::gcController_trigger);
  auto at = trigger ? trigger : goal;
  if (!at) return "at ?";
  if (*at == kNever) return "only when it is asked for";
  return "at " + format_size(*at) + (trigger && goal ? ", to end by " + format_size(*goal) : "");
}

void print(HeapState& heap, const GcState& gc, Buffered& out) {
  auto line = [&](std::string_view key, std::string text) { out.add(fmt::format("{:<11} {}\n", key, text)); };
  const std::string doubt = gc.doubt();
  const bool ours = !heap.layout().dialect().marks_beside();
  line("phase", phase_line(heap, gc));
  if (!gc.alive()) {
    line("cycle", "none yet: no managed object was ever made, so the collector has not started");
  } else {
    line("cycle", fmt::format("{} begun, {} of them forced", count_text(gc.work(F::work_cycles)),
                              count_text(gc.work(F::work_nforced))));
  }
  line("pacing",
       fmt::format("GOGC {}; {} live by now, {} kept by the last one; the next begins {}", percent_text(gc),
                   size_text(gc.live()), size_text(gc.controller(F::gcController_heapMarked)), next_text(gc)));
  if (ours) line("workers", workers_text(heap, gc));
  const GcState::Sweep& sweep = gc.sweep();
  line("sweep",
       fmt::format("{} of {} swept, {} being swept; {} in the background, {} with the world stopped so far",
                   sweep.swept, plural(sweep.swept + sweep.sweeping + sweep.to_sweep, "span"), sweep.sweeping,
                   count_text(gc.sweeper(F::sweepdata_nbgsweep)), count_text(gc.sweeper(F::sweepdata_npausesweep))));
  line("pauses", pauses_text(heap, gc));
  if (gc.work(F::work_tEnd).value_or(0) != 0)
    line("last", fmt::format("{} at its beginning, {} at the end of marking, {} kept; {} of stacks and {} of globals "
                             "were looked through",
                             size_text(gc.work(F::work_heap0)), size_text(gc.work(F::work_heap1)),
                             size_text(gc.work(F::work_heap2)), size_text(gc.work(F::work_stacksScanned)),
                             size_text(gc.work(F::work_globalsScanned))));
  if (ours) {
    line("handles", fmt::format("{} gc::root", count_text(gc.handles())));
    auto queued = gc.finalizers(F::finalizers_queued), run = gc.finalizers(F::finalizers_run);
    std::string finalizers = fmt::format("{} queued so far, {} of them run", count_text(queued), count_text(run));
    if (std::uint64_t object = gc.running_object()) finalizers += fmt::format("; one runs now, for {:#x}", object);
    line("finalizers", finalizers);
  }
  line("walk", doubt.empty() ? std::string("yes: the heap may be walked now") : "with doubt: " + doubt);
}

void json_row(HeapState& heap, const GcState& gc, Json& json) {
  auto number = [&](std::string_view key, std::optional<std::uint64_t> v) { json.key(key).value_or_null(v); };
  auto time = [&](std::string_view key, std::optional<std::int64_t> v) { json.key(key).value_or_null(v); };
  json.open_object().key("phase").value(gc.phase_text());
  json.key("started").value(gc.alive());
  number("cycles", gc.work(F::work_cycles));
  number("forced", gc.work(F::work_nforced));
  auto percent = gc.controller(F::gcController_gcPercent);
  time("gogc", percent ? std::optional<std::int64_t>(static_cast<std::int32_t>(*percent)) : std::nullopt);
  number("live_bytes", gc.live());
  number("marked_bytes", gc.controller(F::gcController_heapMarked));
  auto goal = gc.controller(F::gcController_heapGoal);
  number("goal_bytes", goal && *goal != kNever ? goal : std::nullopt);
  number("workers", markers(gc));
  auto owed = debt(heap, gc);
  number("assist_debt_bytes", owed ? std::optional(owed->bytes) : std::nullopt);
  json.key("sweep").open_object().key("swept").value(std::uint64_t{gc.sweep().swept});
  json.key("sweeping").value(std::uint64_t{gc.sweep().sweeping});
  json.key("to_sweep").value(std::uint64_t{gc.sweep().to_sweep});
  number("background", gc.sweeper(F::sweepdata_nbgsweep));
  number("stopped", gc.sweeper(F::sweepdata_npausesweep));
  json.close_object();
  const bool done = gc.work(F::work_tEnd).value_or(0) != 0;
  time("last_pause_ns", done ? last_pause(heap, gc) : std::nullopt);
  time("last_stop_ns", done ? gc.span(F::work_tSweepTerm, F::work_tMark) : std::nullopt);
  time("last_mark_ns", done ? gc.span(F::work_tMark, F::work_tMarkTerm) : std::nullopt);
  time("last_end_ns", done ? gc.span(F::work_tMarkTerm, F::work_tEnd) : std::nullopt);
  number("pause_total_ns", gc.work(F::work_pauseTotal));
  number("last_begin_bytes", gc.work(F::work_heap0));
  number("last_end_bytes", gc.work(F::work_heap1));
  number("last_kept_bytes", gc.work(F::work_heap2));
  number("last_stacks_bytes", gc.work(F::work_stacksScanned));
  number("last_globals_bytes", gc.work(F::work_globalsScanned));
  number("handles", gc.handles());
  number("finalizers_queued", gc.finalizers(F::finalizers_queued));
  number("finalizers_run", gc.finalizers(F::finalizers_run));
  json.key("finalizer_running_for");
  if (std::uint64_t object = gc.running_object()) {
    json.address(object);
  } else {
    json.null();
  }
  const std::string doubt = gc.doubt();
  json.key("walkable").value(doubt.empty()).key("doubt").text_or_null(doubt);
  json.close_object();
}

Outcome run_gc(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty())
    return fail(sink, fmt::format("gc takes options only, not '{}'", line.words[options->positional[0]].text));
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  GcState gc(**heap);
  if (!gc.work(F::work_cycles) || !(*heap)->layout().has(F::gcController_heapGoal))
    return fail(sink, fmt::format("the collector of {} is not described in a way that is known here",
                                  (*heap)->layout().dialect().title()));
  std::vector<std::string> warnings = heap_warnings(**heap);
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "gc", 1, 1, warnings);
    json.open_array();
    json_row(**heap, gc, json);
    json.close_array();
    if (*mode == 2) json.close_object();
  } else {
    print(**heap, gc, out);
  }
  return page_end(out, sink, warnings, *mode);
}

void complete_gc(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"gc", "The collector on one page: phase, cycle, pacing, sweep, pauses, finalizers; may the heap be walked?",
     "gc [-json[=full]]\n\n"
     "The phase (off, mark, marktermination); how many cycles began, and how many were asked for; GOGC, what lives, "
     "and\n"
     "at how much the next cycle begins; who marks, what goroutines owe for what they allocated, and the CPU time "
     "that\n"
     "the last cycle took; how far the sweep is; the last cycle's pauses, and all of them; gc::root\n"
     "handles; finalizers and destructors that were queued and that were called. The last line says whether the heap "
     "can\n"
     "be walked: commands about it say so too when they are asked in the middle of a phase.\n\n"
     "Example:\n"
     "  gc\n"
     "  phase       off: no collection is going on\n"
     "  cycle       3 begun, 1 of them forced\n"
     "Next: heap types for what is in the heap, heap roots for what keeps it.\n",
     run_gc, complete_gc},
};

}  // namespace

std::span<const CommandSpec> gc_commands() { return kCommands; }

}  // namespace vitrine::inspect
