// words.h: how a command line becomes words — one splitter, one option grammar and one goid-list grammar for every
// command under every host. The splitter remembers where each word stood in the raw text, so that what follows a goid
// (`goroutine 17 print "a  b"`) reaches the debugger verbatim.
//
// Quote rules: blanks separate words; '…' is literal; in "…" a backslash escapes `"` and `\`; outside quotes a
// backslash takes the next character as it is. An open quote is an error only of a command that needs that word.
//
// Options: -name, --name, -name=value, -name value; a unique prefix of a name will do; `--` ends the options.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.h"

namespace vitrine::inspect {

struct Word {
  std::string text;
  std::size_t begin = 0, end = 0;  // in Line::raw
  bool quoted = false;
};

struct Line {
  std::string raw;
  std::vector<Word> words;
  std::optional<Error> error;  // an open quote after the last word
  // The raw text from word i on, blanks at its end removed; "" when there is no such word.
  std::string_view from(std::size_t i) const;
};

Line split(std::string_view raw);
// The words of an argument vector; raw is the text that would split into them.
Line join(std::span<const char* const> words);
// A word as it must be written to come out of split() unchanged.
std::string quote(std::string_view word);

enum class Takes : std::uint8_t { nothing, value, maybe };  // maybe: only as -name=value

struct OptionSpec {
  std::string_view name;
  Takes takes = Takes::nothing;
  std::string_view what;  // one line for help and for error messages: "N: at most N rows"
};

struct Options {
  std::vector<std::pair<std::string_view, std::string>> set;  // in order given; the name is the spec's
  std::vector<std::size_t> positional;                        // indexes of words that are no options
  bool has(std::string_view name) const;
  const std::string* get(std::string_view name) const;  // the last value given; null: absent
};

enum class Mixing {
  anywhere,
  before_first
};  // before_first: options end at the first other word (the rest is verbatim)
Result<Options> parse_options(const Line& line, std::size_t first, std::span<const OptionSpec> specs, Mixing mixing);

// Ranges of goids, ends included, sorted and merged: "1-5,9" → {1,5},{9,9}.
struct GoidList {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  bool contains(std::uint64_t goid) const;
};
bool looks_like_goid_list(std::string_view word);
Result<GoidList> parse_goid_list(std::string_view word);

// "17", "0x7f00": the number; nullopt when the word is not one (or does not fit).
std::optional<std::uint64_t> parse_number(std::string_view word);

// The choices that `word` is a prefix of; an exact match is the only answer.
std::vector<std::string_view> match_prefix(std::string_view word, std::span<const std::string_view> choices);

}  // namespace vitrine::inspect
