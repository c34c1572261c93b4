// heap_page.cc: see heap_page.h. What is resident is known of a live process on this machine only: its page map says of
// each page whether it has memory.
#include "heap_page.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "gc_state.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

HeapPage::Use use_of(SpanKind k) {
  switch (k) {
    case SpanKind::free:
      return HeapPage::free;
    case SpanKind::small:
      return HeapPage::small;
    case SpanKind::large:
      return HeapPage::large;
    case SpanKind::stack_pool:
    case SpanKind::stack_large:
      return HeapPage::stacks;
    case SpanKind::runtime:
    case SpanKind::runtime_large:
      return HeapPage::runtime;
    default:
      return HeapPage::other;
  }
}

constexpr std::string_view kUseText[] = {"small objects", "large objects", "stacks", "runtime objects", "other"};
constexpr std::string_view kUseKeys[] = {"small", "large", "stacks", "runtime", "other", "free"};

std::optional<std::uint64_t> resident(HeapState& heap) {
  Session& session = heap.session();
  if (session.local_pid <= 0 || session.target().kind() != Target::Kind::live) return std::nullopt;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  int fd = open(fmt::format("/proc/{}/pagemap", session.local_pid).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::optional<std::uint64_t> bytes = 0;
  std::vector<std::uint64_t> entries(heap.arena_bytes() / page);
  for (const Arena& a : heap.arenas()) {
    ssize_t got = pread(fd, entries.data(), entries.size() * 8, static_cast<off_t>(a.base / page * 8));
    if (got != static_cast<ssize_t>(entries.size() * 8)) {
      bytes.reset();
      break;
    }
    for (std::uint64_t e : entries) *bytes += (e >> 63) * page;
    if (session.cancelled()) break;
  }
  close(fd);
  return bytes;
}

// Those that ended.
std::optional<std::uint64_t> cycles_of(HeapState& heap, const GcState& gc) {
  auto begun = gc.work(F::work_cycles);
  if (!begun) return heap.stat(F::mstats_numgc);
  return *begun - (*begun && gc.collecting());
}

std::string gc_text(HeapState& heap, const GcState& gc) {
  if (!heap.layout().root(Root::gcphase)) return "off: this runtime has no collector";
  static constexpr std::string_view kPhases[] = {"not marking", "marking", "mark termination"};
  auto cycles = cycles_of(heap, gc);
  std::string text = cycles ? plural(*cycles, "cycle") + " done" : "cycles unreadable";
  if (auto forced = gc.work(F::work_nforced); forced && *forced)
    text += fmt::format(" ({} of them asked for)", *forced);
  text += !gc.phase()                        ? ", phase unreadable"
          : *gc.phase() < std::size(kPhases) ? fmt::format(", {}", kPhases[*gc.phase()])
                                             : fmt::format(", phase {}", *gc.phase());
  if (auto pause = gc.work(F::work_pauseTotal); pause && *pause)
    text += fmt::format("; {:.3f} ms stopped in all", static_cast<double>(*pause) / 1e6);
  return text;
}

std::string goal_text(const GcState& gc) {
  auto goal = gc.controller(F::gcController_heapGoal);
  auto marked = gc.controller(F::gcController_heapMarked);
  auto percent = gc.controller(F::gcController_gcPercent);
  auto live = gc.live();
  auto size = [](std::optional<std::uint64_t> v) { return v ? format_size(*v) : std::string("?"); };
  const auto gogc = percent ? std::optional(static_cast<std::int32_t>(*percent)) : std::nullopt;
  std::string text = !goal                        ? "? (not described)"
                     : *goal == ~std::uint64_t{0} ? std::string("none")
                                                  : format_size(*goal);
  return fmt::format("{}; {} live now, {} kept by the last cycle, GOGC={}", text, size(live), size(marked),
                     !gogc       ? std::string("?")
                     : *gogc < 0 ? std::string("off")
                                 : fmt::format("{}", *gogc));
}

std::string size_or_unknown(std::optional<std::uint64_t> v) { return v ? format_size(*v) : std::string("?"); }
std::string number_or_unknown(std::optional<std::uint64_t> v) { return v ? std::to_string(*v) : std::string("?"); }

struct FreePages {
  std::optional<std::uint64_t> all, scavenged;
};

FreePages free_pages(HeapState& heap, const HeapPage& page) {
  std::uint64_t at = heap.layout().root(Root::gcController);
  if (!at || !heap.layout().has(F::gcController_heapFree) || !heap.page_size())
    return {page.pages[HeapPage::free], page.scavenged};
  // Free pages are bits of Go's page allocator, not spans; the sums are kept.
  auto kept = heap.get(at, F::gcController_heapFree), released = heap.get(at, F::gcController_heapReleased);
  FreePages free;
  if (released) free.scavenged = *released / heap.page_size();
  if (kept && released) free.all = (*kept + *released) / heap.page_size();
  return free;
}

}  // namespace

std::uint64_t HeapPage::all_pages() const { return std::accumulate(pages.begin(), pages.end(), std::uint64_t{0}); }

HeapPage heap_page(HeapState& heap) {
  HeapPage page;
  for (const Span& s : heap.spans()) {
    const SpanKind k = heap.kind(s);
    if (k == SpanKind::dead) {
      ++page.dead;
      continue;
    }
    if (!heap.flaw(s).empty()) ++page.unreadable;
    if (k == SpanKind::unreadable) continue;
    const HeapPage::Use use = use_of(k);
    const std::uint64_t pages = heap.flaw(s).empty() ? s.npages : 0;
    page.pages[use] += pages;
    ++page.spans[use];
    if (k == SpanKind::free && s.scavenged) page.scavenged += pages;
    if (k == SpanKind::small || k == SpanKind::large) {
      ++page.sweep[heap.sweep_text(s)];
      HeapPage::Class& c = page.classes[s.sizeclass()];
      c.elem = s.sizeclass() ? s.elemsize : 0;
      ++c.spans;
      c.pages += pages;
      c.objects += heap.nelems(s);
      c.allocated += s.alloc_count;
    }
    if (use == HeapPage::stacks) {
      page.stack_slots += heap.nelems(s);
      page.stack_free += k == SpanKind::stack_large
                             ? s.list != 0
                             : heap.nelems(s) - std::min<std::uint64_t>(s.alloc_count, heap.nelems(s));
    }
  }
  for (auto& [index, use] : heap.stack_uses()) {
    page.stack_live += use.live;
    page.stack_own += use.own;
    page.stack_dead += use.dead;
    page.stack_cached += use.cached;
  }
  page.resident = resident(heap);
  return page;
}

void print_heap_page(HeapState& heap, const HeapPage& page, Buffered& out) {
  const char* part = heap.spans_lost() ? "; of the spans that could be read" : "";
  auto line = [&](std::string_view key, std::string text) { out.add(fmt::format("{:<12} {}\n", key, text)); };
  const auto& arenas = heap.arenas();
  std::string where;
  for (std::size_t i = 0; i < arenas.size(); ++i) {
    std::size_t j = i;  // neighbours as one
    while (j + 1 < arenas.size() && arenas[j + 1].base == arenas[j].base + heap.arena_bytes()) ++j;
    if (where.size() > 120) {
      where += ", …";
      break;
    }
    where +=
        fmt::format("{}{:#x}-{:#x}", where.empty() ? "" : ", ", arenas[i].base, arenas[j].base + heap.arena_bytes());
    i = j;
  }
  std::uint64_t rest = heap.word(F::mheap_curArena_end).value_or(0) - heap.word(F::mheap_curArena_base).value_or(0);
  line("arenas", fmt::format("{} of {}{}{}; {} not handed out yet",
                             arenas.empty() && !heap.warnings().empty() ? "?" : std::to_string(arenas.size()),
                             format_size(heap.arena_bytes()), where.empty() ? "" : ": ", where, format_size(rest)));
  std::string pages = fmt::format("{} of {}: {} in use", page.all_pages(), format_size(heap.page_size()),
                                  page.all_pages() - page.pages[HeapPage::free]);
  std::string uses;
  for (int u = 0; u < HeapPage::free; ++u) {
    if (page.pages[u]) uses += fmt::format("{}{} {}", uses.empty() ? "" : ", ", page.pages[u], kUseText[u]);
  }
  const FreePages free = free_pages(heap, page);
  line("pages",
       fmt::format("{}{}{}{}; {} free, {} of them scavenged{}", pages, uses.empty() ? "" : " (", uses,
                   uses.empty() ? "" : ")", number_or_unknown(free.all), number_or_unknown(free.scavenged), part));
  std::string spans;
  std::uint64_t all = 0;
  for (int u = 0; u < HeapPage::kUses; ++u) {
    all += page.spans[u];
    if (page.spans[u])
      spans += fmt::format("{}{} {}", spans.empty() ? "" : ", ", page.spans[u],
                           u == HeapPage::free ? std::string_view("free") : kUseText[u]);
  }
  line("spans", fmt::format("{}: {}{}; {} without pages{}", all, spans.empty() ? "none" : spans,
                            page.unreadable ? fmt::format("; {} damaged", page.unreadable) : "", page.dead, part));
  std::vector<std::pair<std::uint32_t, HeapPage::Class>> classes(page.classes.begin(), page.classes.end());
  std::stable_sort(classes.begin(), classes.end(),
                   [](const auto& a, const auto& b) { return a.second.pages > b.second.pages; });
  std::string top;
  for (std::size_t i = 0; i < classes.size() && i < 4; ++i) {
    const HeapPage::Class& c = classes[i].second;
    std::string what = classes[i].first ? fmt::format("{} B", c.elem) : std::string("large");
    top += fmt::format("{}{}: {} of {} in {}", top.empty() ? "" : ", ", what, c.allocated, c.objects,
                       plural(c.spans, "span"));
  }
  line("classes", fmt::format("{} in use{}{}{}{}", classes.size(), top.empty() ? "" : "; by pages: ", top,
                              classes.size() > 4 ? ", …" : "", part));
  std::string sweep;
  for (auto& [word, n] : page.sweep) sweep += fmt::format("{}{} {}", sweep.empty() ? "" : ", ", n, word);
  auto done = heap.word(F::mheap_sweepdone);
  const GcState gc(heap);
  line("gc", gc_text(heap, gc));
  if (heap.layout().root(Root::gcController)) line("gc goal", goal_text(gc));
  std::string progress;
  if (auto swept = heap.word(F::mheap_pagesSwept)) {
    progress = fmt::format("; {} swept since", plural(*swept, "page"));
    if (auto mine = gc.sweeper(F::sweepdata_nbgsweep))
      progress += fmt::format(", bgsweep {} in all", plural(*mine, "span"));
  }
  std::string state;  // Go's is elsewhere
  if (done) state += *done ? ", done" : ", not done";
  if (auto sweepers = heap.word(F::mheap_sweepers)) state += fmt::format(", {} sweeping", *sweepers);
  line("sweep",
       fmt::format("generation {}{}{}{}{}", heap.sweepgen(), state, progress, sweep.empty() ? "" : "; spans: ", sweep));
  line("stacks", fmt::format("{} of {} used by goroutines, {}{} by dead ones, {} cached by Ps, {} free in pools{}",
                             page.stack_live, page.stack_slots,
                             page.stack_own ? fmt::format("{} by the runtime itself, ", page.stack_own) : "",
                             page.stack_dead, page.stack_cached, page.stack_free, part));
  auto stat = [&](F f) { return size_or_unknown(heap.stat(f)); };
  line("metadata", fmt::format("mspans {}, mcaches {}, arenas and bitmaps {}, other {}", stat(F::mstats_mspan_sys),
                               stat(F::mstats_mcache_sys), stat(F::mstats_gc_sys), stat(F::mstats_other_sys)));
  // A sum that lacks the heap itself (Go's) would be no answer.
  std::optional<std::uint64_t> asked = heap.stat(F::mstats_heap_sys);
  for (F f :
       {F::mstats_mspan_sys, F::mstats_mcache_sys, F::mstats_gc_sys, F::mstats_buckhash_sys, F::mstats_other_sys}) {
    if (auto v = heap.stat(f); v && asked) *asked += *v;
  }
  line("system", fmt::format("{} asked for, {} of it in spans, {} of these given back", size_or_unknown(asked),
                             stat(F::mstats_heap_sys), stat(F::mstats_heap_released)));
  line("resident", page.resident ? format_size(*page.resident) + " of the arenas"
                                 : std::string("? (known of a live process on this machine)"));
}

void json_heap_page(HeapState& heap, const HeapPage& page, Json& json) {
  auto number = [&](std::string_view key, std::optional<std::uint64_t> v) { json.key(key).value_or_null(v); };
  json.open_object();
  const FreePages free = free_pages(heap, page);
  number("arenas", heap.arenas().size());
  number("arena_bytes", heap.arena_bytes());
  number("page_bytes", heap.page_size());
  for (auto [key, counts] : {std::pair("pages", &page.pages), std::pair("spans", &page.spans)}) {
    json.key(key).open_object();
    for (int u = 0; u < HeapPage::kUses; ++u) {
      number(kUseKeys[u], u == HeapPage::free && counts == &page.pages ? free.all : std::optional((*counts)[u]));
    }
    json.close_object();
  }
  number("scavenged_pages", free.scavenged);
  number("dead_spans", page.dead);
  number("damaged_spans", page.unreadable);
  json.key("classes").open_array();
  for (auto& [index, c] : page.classes) {
    json.open_object().key("class").value(std::uint64_t{index}).key("elem_size");
    if (index) {
      json.value(c.elem);
    } else {
      json.null();
    }
    json.key("spans").value(c.spans).key("pages").value(c.pages).key("nelems").value(c.objects);
    json.key("alloc_count").value(c.allocated).close_object();
  }
  const GcState gc(heap);
  json.close_array().key("gc_phase");
  if (!heap.layout().root(Root::gcphase)) {
    json.value("off");
  } else if (gc.phase()) {
    json.value(gc.phase_text());
  } else {
    json.null();
  }
  number("gc_cycles", cycles_of(heap, gc));
  auto goal = gc.controller(F::gcController_heapGoal);
  number("gc_goal_bytes", goal == ~std::uint64_t{0} ? std::nullopt : goal);
  number("gc_marked_bytes", gc.controller(F::gcController_heapMarked));
  number("gc_live_bytes", gc.live());
  auto gogc = gc.controller(F::gcController_gcPercent);
  json.key("gc_percent");
  if (gogc) {
    json.value(std::int64_t{static_cast<std::int32_t>(*gogc)});
  } else {
    json.null();
  }
  number("pages_swept", heap.word(F::mheap_pagesSwept));
  number("sweepgen", heap.word(F::mheap_sweepgen));
  json.key("sweepdone");
  if (auto done = heap.word(F::mheap_sweepdone)) {
    json.value(*done != 0);
  } else {
    json.null();
  }
  number("sweepers", heap.word(F::mheap_sweepers));
  json.key("stacks").open_object().key("slots").value(page.stack_slots).key("goroutines").value(page.stack_live);
  json.key("runtime").value(page.stack_own);
  json.key("dead").value(page.stack_dead).key("cached").value(page.stack_cached).key("free").value(page.stack_free);
  json.close_object().key("memstats").open_object();
  for (const FieldSpec& f : field_table()) {
    if (std::string_view(f.type) == "mstats") number(f.path, heap.stat(f.id));
  }
  json.close_object();
  number("resident_bytes", page.resident);
  json.close_object();
}

}  // namespace vitrine::inspect
