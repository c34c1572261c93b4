// doctor.cc: see doctor.h. In order: the target and its files, the runtime and its layout, goroutines and threads, the
// stacks, this machine's settings that decide whether a core or an attach works at all, and the runtime's own limits.
// Every finding stands alone: one that cannot be made is said, and the next follows.
#include "doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "backtrace.h"
#include "elf_image.h"
#include "layout.h"
#include "model.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

class Examination {
 public:
  Examination(Session& session, std::vector<Finding>& found) : session_(session), found_(found) {}

  bool cancelled = false;

  void files() {
    Target& target = session_.target();
    good("target", target.describe());
    const Module* main = nullptr;
    for (const Module& m : target.modules()) {
      if (m.main) main = &m;
    }
    if (main) {
      good("program", fmt::format("{}, build id {}, loaded at {:#x}", main->path,
                                  main->build_id.empty() ? "unknown" : build_id_text(main->build_id), main->lo));
    } else {
      bad("program", "which file the target runs is not known: no names, no lines, no types");
    }
    good("modules", plural(target.modules().size(), "module"));
    if (session_.program().has_debug_info()) {
      good("debug info", "present");
    } else {
      const auto [owner, type] = go_dialect()->mark();
      if (session_.program().notes(owner, type).empty())
        bad("debug info", "none was found: no lines, no inlined functions; build with -g or keep the .debug file near");
      else
        bad("debug info", "none was found: functions and lines are of Go's own table, variables and types not known");
    }
    for (const std::string& w : target.warnings()) bad("target", w);
    for (const std::string& w : session_.program().warnings()) bad("files", w);
  }

  bool runtime() {
    auto layout = session_.layout();
    if (!layout) {
      bad("runtime", layout.error().message);
      return false;
    }
    Layout& l = **layout;
    auto notes = session_.program().notes(l.dialect().note_owner(), 1);
    std::string note = notes.empty() ? "no layout note" : fmt::format("layout note at {:#x}", notes[0].address);
    if (l.source() == Layout::Source::dwarf) {
      good("runtime", fmt::format("{}, described by DWARF ({})", l.dialect().title(), note));
    } else {
      bad("runtime",
          fmt::format("{}, described by its layout note, version {}: the program was stripped of DWARF, so there "
                      "are no names of functions unless it kept its symbols",
                      l.dialect().title(), l.version()));
    }
    if (!l.missing().empty()) {
      std::string all;
      for (const std::string& m : l.missing()) all += " " + m;
      bad("layout", fmt::format("not described, so the columns that need them stay empty:{}", all));
    }
    return true;
  }

  bool scheduler() {
    auto made = session_.model();
    if (!made) {
      bad("scheduler", made.error().message);
      return false;
    }
    Model& m = **made;
    auto broken = std::count_if(m.goroutines().begin(), m.goroutines().end(), [&](const Goroutine& g) {
      return g.flags & (Goroutine::unreadable | Goroutine::bad_stack | Goroutine::bad_sp | Goroutine::bad_m);
    });
    good("goroutines",
         fmt::format("{}, {} of them the runtime's own; {} dead", m.goroutines().size(), m.system_count(), m.dead()));
    if (broken)
      bad("goroutines", fmt::format("something is wrong with {} (info goroutines -where \"errors > 0\")", broken));
    std::size_t matched = m.matched_threads();
    std::string how;
    for (const char* by : {"thread pointer", "stack", "thread id"}) {
      auto n = std::count_if(m.machines().begin(), m.machines().end(),
                             [&](const Machine& x) { return x.matched_by == std::string_view(by); });
      if (n) how += fmt::format("{}{} by {}", how.empty() ? ": " : ", ", n, by);
    }
    std::string text =
        fmt::format("{} of {} Ms matched with threads{}; {}, {}", matched, m.machines().size(), how,
                    plural(session_.target().threads().size(), "thread"), plural(m.processors().size(), "P"));
    // Go keeps an M for threads of C's that call it; until one does, it has none.
    const auto spare = static_cast<std::size_t>(std::count_if(
        m.machines().begin(), m.machines().end(), [](const Machine& x) { return x.thread == kNone && x.procid == 0; }));
    if (spare) text += fmt::format("; {} of them without a thread so far", spare);
    if (matched + spare < m.machines().size()) {
      bad("threads", text + "; a goroutine that runs on an unmatched M shows its last saved context");
    } else {
      good("threads", text);
    }
    if (!m.now_exact())
      good("age", m.now() > 0 ? "there is no exact now: AGE counts up to the runtime's last look at the clock (+)"
                              : "no time is known: neither how long anything has waited nor when a timer is due");
    for (const std::string& w : m.warnings()) bad("scheduler", w);
    stacks(m);
    return true;
  }

  // Nothing was ever above the frame that it is in: one that Go keeps for a thread of C's, say.
  bool at_its_end(Model& m, const Goroutine& g) {
    const std::uint64_t pc = context_of(session_.unwinder(), m, g).regs.r[kRip];
    const CfiRow* row = pc ? session_.program().cfi(pc - 1) : nullptr;
    return row && row->end;
  }

  // A stack is absent when the bytes at its saved sp cannot be read, or are all zero, to its end or for 4 KiB: a frame
  // may be zeros, but not all of them and their return addresses.
  void stacks(Model& m) {
    std::size_t total = 0, absent = 0, zero = 0;
    std::uint64_t first = 0;
    for (std::size_t i = 0; i < m.goroutines().size(); ++i) {
      const Goroutine& g = m.goroutines()[i];
      if (i % 4096 == 4095 && session_.cancelled()) {
        cancelled = true;
        return;
      }
      if (g.is(Goroutine::unreadable) || m.running(g) || !g.sp || g.is(Goroutine::bad_sp)) continue;
      ++total;
      std::array<std::byte, 4096> bytes;
      std::size_t want = 64, got = 0;
      bool nothing = false;
      for (;;) {
        if (!g.is(Goroutine::bad_stack)) want = std::min<std::uint64_t>(want, g.stack_hi() - g.sp);
        got = session_.memory().read_prefix(g.sp, std::span(bytes).first(want));
        nothing = got == want && want >= 16 &&
                  std::all_of(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(want),
                              [](std::byte b) { return b == std::byte{0}; });
        if (!nothing || want != 64) break;
        want = bytes.size();
      }
      if (got == want && !nothing) continue;
      if (nothing && at_its_end(m, g)) continue;
      if (!absent++) first = g.sp;
      zero += nothing;
    }
    const char* source = session_.target().kind() == Target::Kind::core ? "core" : "process";
    if (!absent) {
      good("stacks", fmt::format("all {} saved stacks are in this {}", total, source));
      return;
    }
    bad("stacks",
        fmt::format("stacks absent from this {}: {} of {} ({} read as zeros), the first at {:#x}: those goroutines "
                    "have no frames. gdb's generate-core-file loses them behind guard pages; "
                    "vitrine core FILE keeps them",
                    source, absent, total, zero, first));
  }

  void machine() {
    std::string pid = session_.local_pid > 0 ? std::to_string(session_.local_pid) : "self";
    if (session_.target().kind() == Target::Kind::live && session_.local_pid > 0) {
      std::ifstream limits("/proc/" + pid + "/limits");
      for (std::string line; std::getline(limits, line);) {
        if (!line.starts_with("Max core file size")) continue;
        std::string rest = line.substr(std::min<std::size_t>(line.size(), 26));
        std::string soft = rest.substr(0, rest.find(' '));
        if (soft == "0") {
          bad("core dumps",
              "ulimit -c is 0 in this process: a crash leaves no core; prlimit --core=unlimited --pid " + pid);
        } else {
          good("core dumps", "ulimit -c is " + soft + " in this process");
        }
      }
      pattern();
      yama();
    }
    if (const char* urls = std::getenv("DEBUGINFOD_URLS"); urls && *urls) {
      const char* wanted = std::getenv("VITRINE_DEBUGINFOD");
      good("debuginfod",
           fmt::format("DEBUGINFOD_URLS is set ({}); {}", urls,
                       wanted && !std::strcmp(wanted, "1")
                           ? "VITRINE_DEBUGINFOD=1: it is asked for debug information that is not on this machine"
                           : "the inspector asks it only with VITRINE_DEBUGINFOD=1"));
    }
  }

  void limits() {
    auto layout = session_.layout();
    if (!layout) return;
    for (std::string_view text : (*layout)->dialect().limits()) good("limits", std::string(text));
  }

 private:
  void good(std::string about, std::string text) { found_.push_back({std::move(about), std::move(text), false}); }
  void bad(std::string about, std::string text) { found_.push_back({std::move(about), std::move(text), true}); }

  void pattern() {
    std::string p = first_line("/proc/sys/kernel/core_pattern");
    if (p.find("systemd-coredump") != p.npos) {
      good("core dumps", "systemd-coredump takes them: coredumpctl list, coredumpctl dump -o FILE PID");
    } else if (p.starts_with('|')) {
      good("core dumps", fmt::format("they are piped to {}", p.substr(1)));
    } else if (p.starts_with('/')) {
      good("core dumps", fmt::format("they are written to {}", p));
    } else if (!p.empty()) {
      good("core dumps", fmt::format("they are written as {} in the directory that the process is in", p));
    }
  }

  void yama() {
    std::string scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
    if (scope.empty() || scope == "0") {
      good("attach", "ptrace is not restricted (no Yama, or kernel.yama.ptrace_scope = 0)");
    } else if (scope == "1") {
      good("attach", "kernel.yama.ptrace_scope = 1: only a parent or root may attach (--pid)");
    } else {
      bad("attach", fmt::format("kernel.yama.ptrace_scope = {}: attaching (--pid) needs root{}", scope,
                                scope == "3" ? ", and even that is refused" : ""));
    }
  }

  Session& session_;
  std::vector<Finding>& found_;
};

}  // namespace

std::vector<Finding> examine(Session& session, bool& found_runtime, bool& cancelled) {
  std::vector<Finding> found;
  Examination examination(session, found);
  examination.files();
  found_runtime = examination.runtime() && examination.scheduler();
  examination.machine();
  examination.limits();
  cancelled = examination.cancelled;
  return found;
}

}  // namespace vitrine::inspect
