// commands.h: the command table. One row a command: its words, one line of summary, the long help with a worked
// example, the function, the completion. A new command is one row in the table of a commands_*.cc file; every host, the
// command line, `vitrine help` and completion take it from there.
//
// How words find their row: the row with the most words that all match (each word exact or a unique prefix) wins, the
// rest are its arguments. "vitrine WORDS…" means WORDS unless a row of that name begins with "vitrine".
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "session.h"
#include "words.h"

namespace vitrine::inspect {

using Complete = std::function<void(std::string_view)>;

struct CommandSpec {
  const char* words;
  const char* summary;
  const char* help;
  Outcome (*run)(Session&, const Line&, std::size_t first, Sink&);
  // Offers completions of the last word (partial: its text so far, may be empty). May be null.
  void (*complete)(Session&, const Line&, std::size_t first, std::string_view partial, const Complete&);
  unsigned flags = 0;
};
// The debugger has a command of that name: what is not ours is answered with Outcome::not_ours, and it does its own.
constexpr unsigned kMayDecline = 2;

std::span<const CommandSpec> command_table();

struct Match {
  const CommandSpec* spec = nullptr;
  std::size_t first = 0;  // the first word that is an argument
  std::string problem;    // when spec is null
};
Match match_command(const Line& line);

// Runs the words. Errors are told through sink.err; nothing throws.
Outcome run_command(Session& session, const Line& line, Sink& sink);
void complete_command(Session& session, const Line& line, std::string_view partial, const Complete& offer);

// Tables of the parts, joined by commands.cc.
std::span<const CommandSpec> goroutine_commands();
std::span<const CommandSpec> apply_commands();
std::span<const CommandSpec> stacks_commands();
std::span<const CommandSpec> locals_commands();
std::span<const CommandSpec> object_commands();
std::span<const CommandSpec> graph_commands();
std::span<const CommandSpec> vitrine_commands();
std::span<const CommandSpec> settings_commands();
std::span<const CommandSpec> sched_commands();
std::span<const CommandSpec> list_commands();
std::span<const CommandSpec> mheap_commands();
std::span<const CommandSpec> span_commands();
std::span<const CommandSpec> heap_list_commands();
std::span<const CommandSpec> heap_check_commands();
std::span<const CommandSpec> heap_map_commands();
std::span<const CommandSpec> obj_commands();
std::span<const CommandSpec> gc_commands();
std::span<const CommandSpec> heap_graph_commands();
std::span<const CommandSpec> leak_commands();
std::span<const CommandSpec> trace_commands();
std::span<const CommandSpec> history_commands();

// goroutine N history [OPTIONS]; `at` is the word N. (commands_history.cc)
Outcome goroutine_history(Session& session, const Line& line, std::size_t at, Sink& sink);

// For command functions: says an error with its address and returns Outcome::error.
Outcome fail(Sink& sink, const Error& error);
Outcome fail(Sink& sink, std::string_view message);

}  // namespace vitrine::inspect
