// commands_vitrine.cc: the commands about the tool itself and about what it sees: help, version.
#include <fmt/format.h>

#include "commands.h"
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

constexpr CommandSpec kCommands[] = {
    {"vitrine help", "What each command does, with an example.",
     "vitrine help [WORDS]\n\n"
     "Without words: the list of commands. With the words of a command: all about it.\n\n"
     "Example:\n"
     "  vitrine help goroutine stacks\n",
     run_help, complete_help},
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
