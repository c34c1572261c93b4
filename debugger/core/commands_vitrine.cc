// commands_vitrine.cc: the commands about the tool itself and about what it sees: help, version, doctor, core,
// threads.
#include <fmt/format.h>
#include <sys/stat.h>

#include "backtrace.h"
#include "commands.h"
#include "corewriter.h"
#include "doctor.h"
#include "goroutine_rows.h"
#include "json.h"
#include "listing.h"
#include "render.h"
#include "version.h"

namespace vitrine::inspect {
namespace {

Outcome run_version(Session&, const Line&, std::size_t, Sink& sink) {
  sink.out(fmt::format("vitrine {}\n", version()));
  return Outcome::ok;
}

Outcome run_help(Session&, const Line& line, std::size_t first, Sink& sink) {
  if (line.error) return fail(sink, *line.error);
  if (first < line.words.size()) {
    std::string rest(line.from(first));
    Line wanted = split(rest);
    Match match = match_command(wanted);
    if (!match.spec) return fail(sink, match.problem);
    sink.out(fmt::format("{} -- {}\n\n{}", match.spec->words, match.spec->summary, match.spec->help));
    return Outcome::ok;
  }
  for (const CommandSpec& c : command_table()) sink.out(fmt::format("{:<20} {}\n", c.words, c.summary));
  sink.out("\n\"vitrine help WORDS\" tells all about one of them. Each also works as \"vitrine WORDS\".\n");
  return Outcome::ok;
}

void complete_help(Session& session, const Line& line, std::size_t first, std::string_view partial,
                   const Complete& offer) {
  Line wanted;
  wanted.raw = line.raw;
  for (std::size_t i = first; i < line.words.size(); ++i) wanted.words.push_back(line.words[i]);
  if (!wanted.words.empty() && wanted.words[0].text == "vitrine") return;
  Session none;
  complete_command(wanted.words.empty() ? none : session, wanted, partial, offer);
}

constexpr OptionSpec kDoctorOptions[] = {{"json", Takes::nothing, "a JSON array of findings"}};

Outcome run_doctor(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kDoctorOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty()) return fail(sink, "vitrine doctor takes no arguments but -json");
  if (!session.has_target()) return fail(sink, "there is no program: nothing to examine");
  bool found_runtime = false, cancelled = false;
  auto findings = examine(session, found_runtime, cancelled);
  Buffered out(sink);
  if (options->has("json")) {
    Json json(out);
    json.open_array();
    for (const Finding& f : findings) {
      json.line_break().open_object().key("about").value(std::string_view(f.about));
      json.key("problem").value(f.problem).key("text").value(std::string_view(f.text)).close_object();
    }
    out.add("\n");
    json.close_array();
    out.add("\n");
  } else {
    for (const Finding& f : findings)
      out.add(fmt::format("{} {:<12} {}\n", f.problem ? "!" : " ", f.about, printable(f.text)));
  }
  out.flush();
  if (cancelled) {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  if (!found_runtime) return fail(sink, "there are no goroutines to look at in this target (see ! above)");
  return Outcome::ok;
}

Outcome run_core(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, {}, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->positional.size() != 1) return fail(sink, "vitrine core FILE: one file name is needed");
  const std::string& file = line.words[options->positional[0]].text;
  if (!session.has_target()) return fail(sink, "there is no program: nothing to write a core of");
  if (session.target().kind() == Target::Kind::core)
    return fail(sink, "this is a core already: vitrine core needs a live process");
  if (session.local_pid <= 0)
    return fail(sink, "vitrine core needs a process of this machine; this one is read through the debugger");
  if (session.moving) return fail(sink, "vitrine core needs the process to stand still: leave --nostop out");
  struct stat st {};
  if (stat(file.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    return fail(sink, fmt::format("{} exists and is no plain file", file));
  session.progress("writing " + file);
  auto written =
      write_core(static_cast<int>(session.local_pid), session.target(), file, [&] { return session.cancelled(); });
  session.progress("");
  if (!written) {
    fail(sink, written.error());
    return session.cancelled() ? Outcome::cancelled : Outcome::error;
  }
  sink.out(fmt::format("Saved core {}: {} of memory, {} long, {}, {}\n", file, format_size(written->written),
                       format_size(written->apparent), plural(written->threads, "thread"),
                       plural(written->segments, "segment")));
  if (written->unreadable) {
    sink.out(fmt::format("warning: {} of touched memory could not be read and are zeros in it\n",
                         format_size(written->unreadable)));
  }
  return Outcome::ok;
}

constexpr OptionSpec kThreadsOptions[] = {
    {"limit", Takes::value, "N: at most N frames of each thread, 0 for all (default 100)"},
    {"json", Takes::nothing, "a JSON array with one row a thread"},
};

void json_thread(Session& session, const Thread& thread, const StackWalk& walk, Json& json) {
  json.line_break().open_object().key("thread").value(std::int64_t{thread.tid}).key("frames").open_array();
  for (const Frame& f : walk.frames) {
    for (const Location& l : session.program().locate(f.lookup_pc()))
      json_frame(json, {f.pc, l.function, l.line ? std::string_view(l.file) : "", l.line, l.inlined});
  }
  json.close_array().key("errors").open_array();
  if (walk.end != StackEnd::bottom) json.value(walk.explain());
  json.close_array().close_object();
}

Outcome run_threads(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kThreadsOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (!options->positional.empty()) return fail(sink, "vitrine threads takes options only");
  if (!session.has_target()) return fail(sink, "there is no program: nothing to inspect");
  auto limit = limit_of(*options, default_limit());
  if (!limit) return fail(sink, limit.error());
  (void)session.layout();  // with or without one, it is known then where stacks end
  Buffered out(sink);
  Json json(out);
  const bool as_json = options->has("json");
  if (as_json) json.open_array();
  for (const Thread& t : session.target().threads()) {
    if (session.cancelled()) {
      out.flush();
      fail(sink, "stopped by Ctrl-C");
      return Outcome::cancelled;
    }
    StackWalk walk = session.unwinder().walk(t.regs, true, {});
    if (as_json) {
      json_thread(session, t, walk, json);
      continue;
    }
    out.add(fmt::format("thread {}\n", t.tid));
    auto lines = frame_lines(session.program(), walk);
    for (std::size_t i = 0; i < lines.size() && i < *limit; ++i) out.add("    " + lines[i]);
    if (*limit < lines.size())
      out.add(fmt::format("    {} of {} frames shown (-limit 0 for all)\n", *limit, lines.size()));
    if (walk.end != StackEnd::bottom) out.add(fmt::format("    the stack ends here: {}\n", walk.explain()));
  }
  if (as_json) {
    out.add("\n");
    json.close_array();
    out.add("\n");
  }
  return Outcome::ok;
}

constexpr CommandSpec kCommands[] = {
    {"vitrine core", "Write a core of the live process that keeps every stack.",
     "vitrine core FILE\n\n"
     "Writes a sparse ELF core of the process as it stands. gdb's own generate-core-file writes every reserved page\n"
     "and can lose the stacks behind guard pages; this one reads page by page and leaves holes. The process goes on\n"
     "afterwards. FILE is removed again on failure and on Ctrl-C.\n\n"
     "Example:\n"
     "  vitrine core /tmp/server.core\n"
     "Next, in a shell: vitrine-inspect --core /tmp/server.core ./server goroutine stacks\n",
     run_core, nullptr},
    {"vitrine doctor", "What was found in this program, what is missing, and what that costs.",
     "vitrine doctor [-json]\n\n"
     "The target and its files, where the runtime's layout comes from, goroutines, threads matched with Ms, stacks\n"
     "absent from a core, and for a live process whether this machine would keep a core of it. Lines that begin\n"
     "with ! are problems. A good thing to put into a bug report.\n\n"
     "Example:\n"
     "  vitrine doctor\n",
     run_doctor, nullptr},
    {"vitrine help", "What each command does, with an example.",
     "vitrine help [WORDS]\n\n"
     "Without words: the list of commands. With the words of a command: all about it.\n\n"
     "Example:\n"
     "  vitrine help goroutine stacks\n",
     run_help, complete_help},
    {"vitrine threads", "Where each thread is, with or without goroutines.",
     "vitrine threads [-limit N] [-json]\n\n"
     "The frames of every thread, by what the files say: DWARF, symbols, and the table of functions that every Go\n"
     "program has, so that a stripped one shows its functions and lines too. There, inlined functions are shown as\n"
     "part of the one that they are in.\n\n"
     "Example:\n"
     "  vitrine threads\n",
     run_threads, nullptr},
    {"vitrine version", "The version of the inspector.",
     "vitrine version\n\n"
     "Prints the version and a hash of the host scripts that this library was built with.\n\n"
     "Example:\n"
     "  vitrine version\n",
     run_version, nullptr},
};

}  // namespace

std::span<const CommandSpec> vitrine_commands() { return kCommands; }

}  // namespace vitrine::inspect
