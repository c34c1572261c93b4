// commands_objects.cc: chan, mutex and sync — with an argument one object and who waits on it, without one all objects
// of that kind that goroutines wait on. The argument is an address, an expression of the host's or a global's name.
//
// There is no word `cond` (gdb's users type that for `condition`) and no `task` (Ada's, in gdb): `sync KIND` has them
// all.
#include <fmt/format.h>

#include "choose.h"
#include "commands.h"
#include "goroutine_rows.h"
#include "listing.h"
#include "object_rows.h"
#include "objects.h"

namespace vitrine::inspect {
namespace {

// The words of the argument as they were typed, options taken out; they must stand together.
Result<std::string> expression_of(const Line& line, const Options& options, std::size_t skip) {
  const std::vector<std::size_t>& at = options.positional;
  if (at.size() <= skip) return std::string();
  for (std::size_t i = skip + 1; i < at.size(); ++i) {
    if (at[i] == at[i - 1] + 1) continue;
    return Error{
        fmt::format("options go before or behind the whole expression, not into it: {}", line.words[at[i] - 1].text),
        {}};
  }
  std::size_t begin = line.words[at[skip]].begin, end = line.words[at.back()].end;
  const Word& only = line.words[at[skip]];
  if (at.size() == skip + 1 && only.quoted && line.raw[only.begin] != '(') return only.text;
  return line.raw.substr(begin, end - begin);
}

std::string command_for(ObjectKind kind) {
  if (kind == ObjectKind::chan || kind == ObjectKind::mutex) return std::string(kind_text(kind));
  return fmt::format("sync {}", kind_text(kind));
}

// Makes sure what kind of object the place holds, and that it is the one that was asked for.
Result<ObjectPlace> settle(Objects& objects, ObjectPlace place, ObjectKind wanted, std::string_view expression) {
  if (place.kind != ObjectKind::unknown) {
    if (wanted == ObjectKind::unknown || place.kind == wanted) return place;
    return Error{fmt::format("'{}' is a {}, not a {}: {} {}", expression, kind_text(place.kind), kind_text(wanted),
                             command_for(place.kind), expression),
                 {}};
  }
  std::uint32_t who = kNone;
  ObjectKind by_waiters = objects.kind_by_waiters(place.addr, who);
  if (by_waiters != ObjectKind::unknown && wanted != ObjectKind::unknown && by_waiters != wanted) {
    return Error{fmt::format("{} waits on {:#x} as on a {}, not a {}: {} {:#x}", goroutine_label(objects.model(), who),
                             place.addr, kind_text(by_waiters), kind_text(wanted), command_for(by_waiters), place.addr),
                 {}};
  }
  place.kind = wanted != ObjectKind::unknown ? wanted : by_waiters;
  if (place.kind == ObjectKind::unknown) {
    return Error{
        fmt::format("what is at {0:#x} cannot be known: nobody waits on it. Say it: chan {0:#x}, mutex {0:#x}, "
                    "sync KIND {0:#x}",
                    place.addr),
        {}};
  }
  return place;
}

Outcome list(Session& session, Sink& sink, const Scheduler& view, Objects& objects, ObjectKind kind,
             const Options& options) {
  std::vector<std::string> warnings = all_warnings(session, *view.model);
  std::vector<std::string> errors;
  auto found = objects.waited_on(errors);
  if (!found) {
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  session.incomplete = session.incomplete || !errors.empty();
  warnings.insert(warnings.end(), errors.begin(), errors.end());
  ObjectRows rows(session, objects, *view.stacks, std::move(*found), kind, false);
  Outcome outcome = run_listing(session, sink, rows, options, warnings);
  session.incomplete = session.incomplete || rows.damaged();
  return outcome;
}

Outcome show(Session& session, Sink& sink, const Scheduler& view, Objects& objects, ObjectKind kind,
             const std::string& expression, const Options& options) {
  for (std::string_view name : {"where", "sort", "cols", "short", "count", "all"}) {
    if (options.has(name)) return fail(sink, fmt::format("-{} is for the list; one object has -limit and -json", name));
  }
  auto mode = json_mode(options);
  if (!mode) return fail(sink, mode.error());
  auto limit = limit_of(options, default_limit());
  if (!limit) return fail(sink, limit.error());
  auto named = find_object(session, objects, expression);
  if (!named) return fail(sink, named.error());
  auto place = settle(objects, *named, kind, expression);
  if (!place) return fail(sink, place.error());
  // A bare address may be that of a handle: of a chan<T> object.
  if (named->kind == ObjectKind::unknown && place->kind == ObjectKind::chan && !objects.looks_like_chan(place->addr)) {
    auto to = session.memory().get<std::uint64_t>(place->addr);
    if (to && *to && objects.looks_like_chan(*to)) place->addr = *to;
  }
  std::vector<std::string> warnings = all_warnings(session, *view.model);
  ObjectRows rows(session, objects, *view.stacks, {{place->kind, place->addr}}, place->kind, true);
  Outcome outcome = *mode ? run_listing(session, sink, rows, options, warnings) : rows.print(0, *limit, sink);
  for (const std::string& w : warnings) {
    if (!*mode) sink.out("warning: " + w + "\n");
  }
  session.incomplete = session.incomplete || rows.damaged();
  return outcome;
}

Outcome run(Session& session, const Line& line, std::size_t first, Sink& sink, ObjectKind kind, bool generic) {
  auto options = parse_options(line, first, listing_options(), Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  std::size_t skip = 0;
  if (generic && !options->positional.empty()) {
    const Word& word = line.words[options->positional[0]];
    auto found = match_prefix(word.text, kind_words());
    bool alone = options->positional.size() == 1;
    // A variable may be called like a kind: alone, a word that is no whole kind is an expression.
    if (!word.quoted && found.size() == 1 && (!alone || found[0] == word.text)) {
      kind = *kind_of_word(found[0]);
      skip = 1;
    }
  }
  auto expression = expression_of(line, *options, skip);
  if (!expression) return fail(sink, expression.error());
  auto view = look(session, sink);
  if (!view) return Outcome::error;
  Objects objects(session, *view->model);
  if (expression->empty()) return list(session, sink, *view, objects, kind, *options);
  return show(session, sink, *view, objects, kind, *expression, *options);
}

Outcome run_chan(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run(session, line, first, sink, ObjectKind::chan, false);
}
Outcome run_mutex(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run(session, line, first, sink, ObjectKind::mutex, false);
}
Outcome run_sync(Session& session, const Line& line, std::size_t first, Sink& sink) {
  return run(session, line, first, sink, ObjectKind::unknown, true);
}

// Addresses of the objects that somebody waits on; columns behind -sort and -cols; options.
void complete(Session& session, const Line& line, std::string_view partial, const Complete& offer, ObjectKind kind) {
  std::string_view before = line.words.empty() ? std::string_view() : std::string_view(line.words.back().text);
  if (before == "-sort" || before == "-cols" || before == "-where") {
    for (const ColumnSpec& c : object_columns()) {
      if (c.name.starts_with(partial)) offer(c.name);
    }
    return;
  }
  complete_options(listing_options(), partial, offer);
  if (!partial.starts_with("0x") || !session.has_target()) return;
  auto model = session.model();
  if (!model) return;
  Objects objects(session, **model);
  std::vector<std::string> errors;
  auto found = objects.waited_on(errors);
  if (!found) return;
  std::size_t offered = 0;
  for (const Objects::WaitedOn& w : *found) {
    std::string addr = fmt::format("{:#x}", w.addr);
    if ((kind != ObjectKind::unknown && w.kind != kind) || !addr.starts_with(partial)) continue;
    offer(addr);
    if (++offered == 200) return;
  }
}
void complete_chan(Session& session, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete(session, line, partial, offer, ObjectKind::chan);
}
void complete_mutex(Session& session, const Line& line, std::size_t, std::string_view partial, const Complete& offer) {
  complete(session, line, partial, offer, ObjectKind::mutex);
}
void complete_sync(Session& session, const Line& line, std::size_t first, std::string_view partial,
                   const Complete& offer) {
  if (line.words.size() == first) {
    for (std::string_view word : kind_words()) {
      if (word.starts_with(partial)) offer(word);
    }
  }
  complete(session, line, partial, offer, ObjectKind::unknown);
}

constexpr CommandSpec kCommands[] = {
    {"chan", "Show a channel: its values, who waits on which side and where; or list channels.",
     "chan ADDR|EXPR [-limit N] [-json[=full]]\n"
     "chan [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "With an argument: how many values it holds, of how many, of what type; whether it is closed; how many handles "
     "of\n"
     "it exist; the values in the order in which they will be received; and each goroutine on its queues:\n"
     "  SIDE   send or receive; (select): by one of several cases; (woken): on its way already\n"
     "  VALUE  what a sender wants to send\n"
     "  AGE    how long it has waited; WHERE: the first frame of your own code\n"
     "EXPR is evaluated by the debugger and may be a vitrine::chan<T>, a reference or pointer to one, or the hchan\n"
     "itself; nothing that calls or assigns is evaluated. In vitrine-inspect: an address or a global's name. Values "
     "of\n"
     "types that are not known are shown as their first bytes.\n\n"
     "Without one: every channel that a goroutine waits on. Columns: addr kind len cap closed type senders receivers\n"
     "handles state holder waiters oldest errors.\n\n"
     "Example: which channels have more than ten senders waiting, and who they are\n"
     "  chan -where \"senders > 10\"\n"
     "  chan 0x7ffff0000b70\n"
     "Next: goroutine N to look at one that waits, goroutine graph for who waits for whom.\n",
     run_chan, complete_chan},
    {"mutex", "Show a mutex: who holds it, who waits for it and where; or list mutexes.",
     "mutex ADDR|EXPR [-limit N] [-json[=full]]\n"
     "mutex [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "With an argument: free or locked, the goroutine that holds it and where that is, and who waits, in the order of\n"
     "the queue. EXPR as in `help chan`: a vitrine::mutex, a reference or pointer to one, or an address.\n"
     "Without one: every mutex that a goroutine waits for.\n\n"
     "Example: which mutex has the longest wait, and who holds it\n"
     "  mutex -sort -oldest -limit 1\n"
     "  mutex 0x55555561a0c0\n"
     "Next: sync for the other kinds, goroutine graph for deadlocks.\n",
     run_mutex, complete_mutex},
    {"sync", "Show what goroutines wait on, of any kind: who holds it and who waits; or list all.",
     "sync [KIND] ADDR|EXPR [-limit N] [-json[=full]]\n"
     "sync [KIND] [-where EXPR] [-sort COL,…] [-limit N] [-cols COL,…] [-json[=full]] [-short] [-count]\n\n"
     "KIND: chan mutex rw_mutex cond once semaphore wait_group task. Of an expression the type tells the kind, of an\n"
     "address who waits on it; when nobody does, KIND must be said.\n"
     "The holder is what the runtime writes down: who locked a mutex, who writes under an rw_mutex, who runs a once's\n"
     "function, which goroutine computes a task. For the others it is unknown.\n"
     "Without an argument: everything that goroutines wait on, with KIND that kind only.\n\n"
     "Example: what is waited on, by the number of goroutines\n"
     "  sync -sort -waiters\n"
     "  sync 0x7fffffffd9f0\n"
     "Next: goroutine N, goroutine graph.\n",
     run_sync, complete_sync},
};

}  // namespace

std::span<const CommandSpec> object_commands() { return kCommands; }

}  // namespace vitrine::inspect
