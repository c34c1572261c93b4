// commands.cc: finds the row of the table that the words name and runs it; see commands.h for the rule. What is
// ambiguous or unknown is answered with the choices. A command that throws (out of memory, say) becomes one message.
#include "commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace vitrine::inspect {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    auto space = text.find(' ');
    words.push_back(text.substr(0, space));
    text.remove_prefix(space == text.npos ? text.size() : space + 1);
  }
  return words;
}

std::string list_of(const std::vector<std::string_view>& choices) {
  std::string out;
  for (std::string_view c : choices) out += (out.empty() ? "" : ", ") + std::string(c);
  return out;
}

Match match_from(const Line& line, std::size_t begin) {
  Match best;
  std::vector<const CommandSpec*> candidates;
  for (const CommandSpec& c : command_table()) candidates.push_back(&c);
  for (std::size_t depth = 0;; ++depth) {
    std::vector<std::string_view> next;
    for (const CommandSpec* c : candidates) {
      auto words = words_of(c->words);
      if (words.size() == depth) {
        best.spec = c;
        best.first = begin + depth;
        best.problem.clear();
      } else if (std::find(next.begin(), next.end(), words[depth]) == next.end()) {
        next.push_back(words[depth]);
      }
    }
    if (next.empty()) return best;
    bool at_end = begin + depth >= line.words.size();
    std::string_view word = at_end ? std::string_view() : std::string_view(line.words[begin + depth].text);
    auto found =
        at_end || line.words[begin + depth].quoted ? std::vector<std::string_view>{} : match_prefix(word, next);
    if (found.size() == 1) {
      std::erase_if(candidates, [&](const CommandSpec* c) {
        auto words = words_of(c->words);
        return words.size() <= depth || words[depth] != found[0];
      });
      continue;
    }
    if (best.spec && found.empty()) return best;
    best.spec = nullptr;
    if (at_end) {
      best.problem = fmt::format("which one? {}", list_of(next));
    } else if (found.empty()) {
      best.problem = fmt::format("unknown command '{}'; choose from: {}", word, list_of(next));
    } else {
      best.problem = fmt::format("'{}' is ambiguous: {}", word, list_of(found));
    }
    return best;
  }
}

}  // namespace

std::span<const CommandSpec> command_table() {
  static const std::vector<CommandSpec> table = [] {
    std::vector<CommandSpec> all;
    for (auto part :
         {goroutine_commands(), apply_commands(),   stacks_commands(),     locals_commands(),     object_commands(),
          graph_commands(),     vitrine_commands(), settings_commands(),   sched_commands(),      list_commands(),
          mheap_commands(),     span_commands(),    heap_list_commands(),  heap_check_commands(), heap_map_commands(),
          obj_commands(),       gc_commands(),      heap_graph_commands(), leak_commands(),       trace_commands(),
          history_commands()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}

Match match_command(const Line& line) {
  if (!line.words.empty() && line.words[0].text == "vitrine" && line.words.size() > 1) {
    Match own = match_from(line, 0);
    if (own.spec && own.first > 1) return own;
    Match other = match_from(line, 1);
    if (other.spec || !own.spec) return other;
    return Match{nullptr, 0, other.problem};
  }
  Match match = match_from(line, 0);
  if (match.spec || line.words.empty()) return match;
  Match own = match_from(split("vitrine " + line.raw), 0);  // "doctor" alone will do where nothing else is called so
  if (!own.spec || own.first < 2) return match;
  --own.first;
  return own;
}

Outcome run_command(Session& session, const Line& line, Sink& sink) try {
  session.begin_command();
  Match match = match_command(line);
  if (!match.spec) {
    if (line.words.empty() && line.error) return fail(sink, *line.error);
    return fail(sink, match.problem);
  }
  Outcome outcome = match.spec->run(session, line, match.first, sink);
  if (outcome == Outcome::ok && session.was_cancelled()) {
    fail(sink, "stopped by Ctrl-C: this is not all");
    return Outcome::cancelled;
  }
  return outcome == Outcome::error && session.cancelled() ? Outcome::cancelled : outcome;
} catch (const std::exception& e) {
  return fail(sink, fmt::format("the command failed inside the inspector: {}", e.what()));
}

void complete_command(Session& session, const Line& line, std::string_view partial, const Complete& offer) try {
  Match match = match_command(line);
  // Sub-words that could follow what has been typed.
  std::size_t skip = !line.words.empty() && line.words[0].text == "vitrine" ? 1 : 0;
  for (std::size_t begin = 0; begin <= skip; ++begin) {
    std::size_t depth = line.words.size() - std::min(line.words.size(), begin);
    std::vector<std::string_view> seen;
    for (const CommandSpec& c : command_table()) {
      auto words = words_of(c.words);
      if (words.size() <= depth) continue;
      bool same = true;
      for (std::size_t i = 0; i < depth; ++i) same = same && words[i].starts_with(line.words[begin + i].text);
      if (!same || !words[depth].starts_with(partial)) continue;
      if (std::find(seen.begin(), seen.end(), words[depth]) != seen.end()) continue;
      seen.push_back(words[depth]);
      offer(words[depth]);
    }
  }
  if (match.spec && match.spec->complete && match.first <= line.words.size()) {
    match.spec->complete(session, line, match.first, partial, offer);
  }
} catch (const std::exception&) {
  // A failed completion offers what it had; there is nobody to tell.
}

Outcome fail(Sink& sink, const Error& error) {
  sink.err(error.message);
  return Outcome::error;
}

Outcome fail(Sink& sink, std::string_view message) {
  sink.err(message);
  return Outcome::error;
}

}  // namespace vitrine::inspect
