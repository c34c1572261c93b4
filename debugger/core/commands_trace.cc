// commands_trace.cc: trace and gotrace: the routines that switch contexts, decoded. In gdb `trace` is the tracepoint
// command; ours takes of it only what can be no tracepoint of a user's (claims_trace), everything else is passed on.
#include "commands_trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "backtrace.h"
#include "choose.h"
#include "listing.h"
#include "render.h"
#include "trace_facts.h"
#include "trace_listing.h"
#include "trace_live.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"limit", Takes::value, "N: at most N instructions, 0 for all (default 400)"},
    {"live", Takes::nothing, "one line for each switch, while the process runs"},
    {"step", Takes::nothing, "the next switch, instruction by instruction"},
    {"n", Takes::value, "N: with -live, end after N lines"},
    {"where", Takes::value, "EXPR: with -live or -step, only switches for which this holds"},
    {"stacks", Takes::nothing, "with -live, the frames that each goes on in"},
    {"conventions", Takes::nothing, "how Go's assembly is written"},
    {"json", Takes::maybe, "a JSON array with one row a routine; -json=full adds schema, runtime and warnings"},
};
constexpr std::uint64_t kDefaultInstructions = 400;
constexpr std::size_t kResumeFrames = 6;

// The frames that a goroutine goes on in.
std::vector<std::string> resume_frames(Session& session, std::uint32_t index) {
  auto stacks = session.stacks();
  if (!stacks || !(*stacks)->ensure({index})) return {};
  const std::uint32_t shape = (*stacks)->shape_of(index);
  if (shape == kNone) return {};
  std::vector<std::string> out;
  const auto& frames = (*stacks)->frames(shape);
  for (std::size_t i = 0; i < frames.size() && i < kResumeFrames; ++i) out.push_back(describe(frames[i]));
  if (frames.size() > kResumeFrames) {
    SourceFrame own = (*stacks)->user_frame(shape);
    out.push_back(fmt::format("… {} more; the first of your own code: {}", frames.size() - kResumeFrames,
                              own.valid() ? describe(own) : "none"));
  }
  if (std::string problem = (*stacks)->problem(index); !problem.empty()) out.push_back("the stack ends: " + problem);
  return out;
}

// Why a goroutine has no saved context to show; "": it has one.
std::string no_context(Model& model, std::uint32_t index) {
  const Goroutine& g = model.goroutines()[index];
  if (g.is(Goroutine::unreadable)) return fmt::format("the g at {:#x} is unreadable", g.addr);
  if (model.running(g)) {
    return fmt::format(
        "{} is running: its registers are its thread's, and its saved context is history (goroutine {} bt)",
        title(model, index), g.goid);
  }
  if (model.in_syscall(g))
    return fmt::format("{} is in a system call: it goes on from there, by no saved context", title(model, index));
  if (!g.pc || !g.sp) return fmt::format("{} has no saved context", title(model, index));
  return {};
}

struct Subject {
  Model* model = nullptr;
  std::uint32_t index = kNone;
};

// The goroutine that the second word names. False: said why not.
bool find_subject(Session& session, std::string_view word, Subject& out, Sink& sink) {
  auto number = parse_number(word);
  if (!number) {
    fail(sink, fmt::format("'{}' is no goroutine: give its number or 0xADDRESS of its g", word));
    return false;
  }
  auto view = look(session, sink);
  if (!view) return false;
  out.model = view->model;
  out.index = word.starts_with("0x") ? view->model->find_addr(*number) : view->model->find_goid(*number);
  if (out.index == kNone) {
    const auto& dead = view->model->dead_addresses();
    const bool is_dead = std::find(dead.begin(), dead.end(), *number) != dead.end();
    if (is_dead) {
      fail(sink, fmt::format("the g at {} is dead: it has no saved context", word));
    } else if (word.starts_with("0x")) {
      fail(sink,
           fmt::format("there is no goroutine whose g is at {}: info goroutines -cols goid,addr lists them", word));
    } else if (view->model->warnings().empty()) {
      fail(sink, fmt::format("there is no goroutine {} (dead ones have no number any more): info goroutines lists them",
                             word));
    } else {
      fail(sink, fmt::format("goroutine {} is none of those that could be read", word));
    }
    warn(sink, view->model->warnings());
    return false;
  }
  std::string why = no_context(*view->model, out.index);
  if (!why.empty()) fail(sink, why);
  return why.empty();
}

Outcome run_static(Session& session, const Line& line, const Options& options, Sink& sink) {
  auto mode = json_mode(options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(options, kDefaultInstructions);
  if (!limit) return fail(sink, limit.error());
  std::string why;
  Session* of = session.has_target() ? &session : session.of_file(why);
  if (!of) return fail(sink, why);
  const std::string& word = line.words[options.positional[0]].text;
  TraceFacts facts(of->program(), of->memory());
  auto part = facts.part(word);
  auto found = part ? part->in : facts.find(word);
  if (!found) {
    fail(sink, found.error());
    warn(sink, of->target().warnings());
    return Outcome::error;
  }
  if (found->size == 0) return fail(sink, fmt::format("how long {} is, is not known", word));
  std::byte first{};
  if (of->memory().read_prefix(found->start, {&first, 1}, Space::code) == 0)
    return fail(sink, Error{fmt::format("the code of {} at {:#x} cannot be read", word, found->start), found->start});
  Subject subject;
  if (options.positional.size() > 1) {
    if (!session.has_target()) return fail(sink, "the program does not run: there are no goroutines");
    if (!find_subject(session, line.words[options.positional[1]].text, subject, sink)) return Outcome::error;
    facts.look_at(*subject.model, subject.index);
  }
  Listing listing = make_listing(facts, of->program(), *found);
  if (part && !keep_part(listing, of->program(), part->routine)) return fail(sink, facts.find(word).error());
  if (subject.model) {
    listing.subject = title(*subject.model, subject.index);
    listing.resumes = resume_frames(session, subject.index);
  }
  std::vector<std::string> warnings = of->target().warnings();
  if (!of->program().has_debug_info())
    warnings.push_back("there is no DWARF: structures and their fields have no names");
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(*of, json, "trace", listing.parts.size(), listing.parts.size(), warnings);
    json.open_array();
    json_listing(listing, json);
    json.close_array();
    if (*mode == 2) json.close_object();
    out.add("\n");
  } else {
    print_listing(listing, *limit, session.colour, out);
  }
  out.flush();
  if (*mode != 2) warn(sink, warnings);
  for (const disasm::Routine& r : listing.parts) session.incomplete = session.incomplete || !r.cut.empty();
  return Outcome::ok;
}

Outcome run_live(Session& session, const Line& line, const Options& options, Sink& sink) {
  if (options.has("live") && options.has("step")) return fail(sink, "-live and -step exclude each other");
  for (std::string_view other : {"json", "limit", "conventions"})
    if (options.has(other)) return fail(sink, fmt::format("-{} is not for a process that runs", other));
  for (std::string_view of_live : {"n", "stacks"})
    if (options.has("step") && options.has(of_live)) return fail(sink, fmt::format("-{} belongs to -live", of_live));
  LiveOptions live;
  live.stacks = options.has("stacks");
  if (const std::string* n = options.get("n")) {
    live.count = parse_number(*n);
    if (!live.count || *live.count == 0) return fail(sink, fmt::format("-n {}: a number of lines is needed", *n));
  }
  if (const std::string* where = options.get("where")) live.where = *where;
  if (options.positional.size() > 1) {
    const std::string& word = line.words[options.positional[1]].text;
    live.goid = parse_number(word);
    if (!live.goid) return fail(sink, fmt::format("'{}' is no goroutine: give its number", word));
  }
  if (!session.has_target()) return fail(sink, "the program does not run: there are no switches to watch");
  TraceFacts facts(session.program(), session.memory());
  auto found = facts.find(line.words[options.positional[0]].text);
  if (!found) return fail(sink, found.error());
  return options.has("step") ? trace_step(session, *found, live, sink) : trace_live(session, *found, live, sink);
}

// A row `trace WORD` of its own (trace history): it is reached by gotrace WORD as well, the only way in LLDB.
const CommandSpec* row_behind(const Line& line, std::size_t first) {
  if (line.words.size() <= first || line.words[first].quoted) return nullptr;
  for (const CommandSpec& c : command_table())
    if (std::string_view(c.words) == "trace " + line.words[first].text) return &c;
  return nullptr;
}

Outcome run_trace(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (const CommandSpec* row = row_behind(line, first)) return row->run(session, line, first + 1, sink);
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->has("conventions") && options->positional.empty()) {
    Buffered out(sink);
    print_conventions(out);
    return Outcome::ok;
  }
  if (options->positional.empty())
    return fail(sink, "trace what? gogo, mcall, systemstack, gosave, goexit, gostartcall or any function's name");
  if (options->positional.size() > 2) {
    return fail(sink, fmt::format("trace ROUTINE [GOROUTINE]: '{}' is one word too many",
                                  line.words[options->positional[2]].text));
  }
  if (options->has("live") || options->has("step")) return run_live(session, line, *options, sink);
  for (std::string_view of_live : {"n", "where", "stacks"})
    if (options->has(of_live)) return fail(sink, fmt::format("-{} belongs to -live", of_live));
  Outcome outcome = run_static(session, line, *options, sink);
  if (outcome == Outcome::ok && options->has("conventions")) {
    Buffered out(sink);
    print_conventions(out);
  }
  return outcome;
}

void complete_trace(Session& session, const Line& line, std::size_t first, std::string_view partial,
                    const Complete& offer) {
  if (const CommandSpec* row = row_behind(line, first)) {
    if (row->complete) row->complete(session, line, first + 1, partial, offer);
    return;
  }
  complete_options(kOptions, partial, offer);
  if (line.words.size() > first) return;
  for (const CommandSpec& c : command_table()) {
    std::string_view words = c.words;
    if (words.starts_with("trace ") && words.substr(6).starts_with(partial)) offer(words.substr(6));
  }
  for (std::string_view routine : trace_routines())
    if (routine.starts_with(partial)) offer(routine);
}

// Of gotrace; without the first two letters, of trace.
constexpr const char* kHelp =
    "gotrace ROUTINE [GOROUTINE] [-limit N] [-conventions] [-json[=full]]\n"
    "gotrace gogo [GOROUTINE] -live [-n N] [-where EXPR] [-stacks]\n"
    "gotrace gogo [GOROUTINE] -step [-where EXPR]\n\n"
    "ROUTINE: gogo mcall systemstack gosave goexit gostartcall, any function, FILE:FUNCTION where there are several "
    "of\n"
    "that name, or 0xADDRESS of code. Each instruction is shown with what it does: registers and memory by the names\n"
    "that DWARF has for what lies there, jumps and calls by symbol, ▌ where another stack is in use. A label that the\n"
    "routine saves is where a saved context goes on. CFA is the caller's SP at the call. Then\n"
    "  saves, restores   which register goes where, and comes from where\n"
    "  switches          the instruction that moves SP from one stack to another\n"
    "  leaves            where control goes\n"
    "  checked, DIFFERS  the layout that the code itself has, against the structures in DWARF and the rows of CFI\n"
    "With a goroutine: with its values, and the frames that it goes on in. Needs no process: the program's file will\n"
    "do. In gdb `trace gogo` is the same; other words after trace stay gdb's own tracepoints.\n\n"
    "-live lets the process run and prints a line for each switch: when, on which M and P, from which goroutine (its\n"
    "status, why, where) to which (where it goes on), until N lines, Ctrl-C, or anything else that stops it. -step "
    "runs\n"
    "to the next switch and goes through it by instructions, with what each reads and writes. Their breakpoint is\n"
    "taken out whatever happens. A breakpoint is slow: a program that switches a million times a second runs a "
    "thousand\n"
    "times slower meanwhile. Columns of -where: from to m p thread status wait name where time; `stack ~ RE`.\n\n"
    "Example:\n"
    "  gotrace gogo -live -n 20 -where 'wait ~ chan'\n"
    "  gotrace gogo\n"
    "  gotrace gogo 17\n"
    "Next: goroutine 17 to look at it in the debugger.\n";

constexpr CommandSpec kCommands[] = {
    {"gotrace", "Decode a routine that switches contexts: what each instruction does, where control lands.", kHelp,
     run_trace, complete_trace},
    {"trace", "Decode a routine that switches contexts (gotrace); anything else is the debugger's own trace.",
     kHelp + 2, run_trace, complete_trace, kMayDecline},
};

}  // namespace

bool claims_trace(const Line& line, std::size_t first) {
  if (line.error || line.words.size() <= first) return false;
  const Word& word = line.words[first];
  if (word.quoted) return false;
  if (word.text == "-conventions") return line.words.size() == first + 1;
  // Words behind `trace` that have a row of their own.
  for (const CommandSpec& c : command_table()) {
    std::string_view words = c.words;
    if (words.starts_with("trace ") && words.substr(6, words.find(' ', 6) - 6) == word.text) return true;
  }
  auto routines = trace_routines();
  if (std::find(routines.begin(), routines.end(), word.text) == routines.end()) return false;
  // `trace gogo if x > 1` is a tracepoint on a function of the user's that is called so.
  for (std::size_t i = first + 1; i < line.words.size(); ++i) {
    const std::string& w = line.words[i].text;
    if (i == first + 1 && parse_number(w)) continue;
    const bool after_option = line.words[i - 1].text.starts_with('-');
    if (!w.starts_with('-') && !after_option) return false;
  }
  return true;
}

std::span<const CommandSpec> trace_commands() { return kCommands; }

}  // namespace vitrine::inspect
