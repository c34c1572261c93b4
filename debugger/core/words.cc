// words.cc: see words.h. Splitting never fails as a whole: words before an open quote are good, and a command that
// hands the rest of the line to the debugger does not care about it.
#include "words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace vitrine::inspect {
namespace {

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

std::string_view Line::from(std::size_t i) const {
  if (i >= words.size()) return {};
  std::string_view rest = std::string_view(raw).substr(words[i].begin);
  while (!rest.empty() && blank(rest.back())) rest.remove_suffix(1);
  return rest;
}

Line split(std::string_view raw) {
  Line line;
  line.raw = raw;
  std::size_t i = 0;
  while (true) {
    while (i < raw.size() && blank(raw[i])) ++i;
    if (i == raw.size()) return line;
    Word word;
    word.begin = i;
    char quote_char = 0;
    std::size_t quote_at = 0;
    for (; i < raw.size() && (quote_char || !blank(raw[i])); ++i) {
      char c = raw[i];
      if (quote_char == '\'') {
        if (c == '\'') {
          quote_char = 0;
        } else {
          word.text += c;
        }
      } else if (quote_char == '"') {
        if (c == '"') {
          quote_char = 0;
        } else if (c == '\\' && i + 1 < raw.size() && (raw[i + 1] == '"' || raw[i + 1] == '\\')) {
          word.text += raw[++i];
        } else {
          word.text += c;
        }
      } else if (c == '\'' || c == '"') {
        quote_char = c;
        quote_at = i;
        word.quoted = true;
      } else if (c == '\\' && i + 1 < raw.size()) {
        word.text += raw[++i];
        word.quoted = true;
      } else {
        word.text += c;
      }
    }
    word.end = i;
    if (quote_char) {
      line.error = Error{fmt::format("no closing {} for the one at: {}", quote_char, raw.substr(quote_at)), {}};
      return line;
    }
    line.words.push_back(std::move(word));
  }
}

std::string quote(std::string_view word) {
  bool plain = !word.empty() && std::all_of(word.begin(), word.end(),
                                            [](char c) { return !blank(c) && c != '\'' && c != '"' && c != '\\'; });
  if (plain) return std::string(word);
  std::string out = "\"";
  if (word.starts_with('-')) {  // outside the quotes, so that it still reads as an option
    out = "-\"";
    word.remove_prefix(1);
  }
  for (char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

Line join(std::span<const char* const> words) {
  Line line;
  for (const char* text : words) {
    if (!line.raw.empty()) line.raw += ' ';
    Word word;
    word.text = text;
    word.begin = line.raw.size();
    line.raw += quote(text);
    word.end = line.raw.size();
    line.words.push_back(std::move(word));
  }
  return line;
}

bool Options::has(std::string_view name) const { return get(name) != nullptr; }

const std::string* Options::get(std::string_view name) const {
  for (auto it = set.rbegin(); it != set.rend(); ++it) {
    if (it->first == name) return &it->second;
  }
  return nullptr;
}

Result<Options> parse_options(const Line& line, std::size_t first, std::span<const OptionSpec> specs, Mixing mixing) {
  Options options;
  bool ended = false;
  for (std::size_t i = first; i < line.words.size(); ++i) {
    const Word& word = line.words[i];
    bool is_option = !ended && word.text.size() > 1 && word.text[0] == '-' && line.raw[word.begin] == '-' &&
                     !(word.text[1] >= '0' && word.text[1] <= '9');
    if (!is_option) {
      options.positional.push_back(i);
      if (mixing == Mixing::before_first) return options;
      continue;
    }
    if (word.text == "--") {
      ended = true;
      continue;
    }
    std::string_view body = std::string_view(word.text).substr(word.text[1] == '-' ? 2 : 1);
    std::optional<std::string> value;
    if (auto eq = body.find('='); eq != body.npos) {
      value = std::string(body.substr(eq + 1));
      body = body.substr(0, eq);
    }
    std::vector<std::string_view> names;
    for (const OptionSpec& s : specs) names.push_back(s.name);
    auto found = match_prefix(body, names);
    if (found.size() != 1) {
      std::string all;
      for (std::string_view n : found.empty() ? names : found) all += fmt::format(" -{}", n);
      const char* problem = found.empty() ? "unknown option" : "ambiguous option";
      if (names.empty()) return Error{fmt::format("{} -{}: this command has no options", problem, body), {}};
      return Error{fmt::format("{} -{}; choose from:{}", problem, body, all), {}};
    }
    const OptionSpec& spec =
        *std::find_if(specs.begin(), specs.end(), [&](const OptionSpec& s) { return s.name == found[0]; });
    if (spec.takes == Takes::nothing && value) {
      return Error{fmt::format("option -{} takes no value", spec.name), {}};
    }
    if (spec.takes == Takes::value && !value) {
      if (i + 1 == line.words.size()) {
        if (line.error) return *line.error;
        return Error{fmt::format("option -{} needs a value ({})", spec.name, spec.what), {}};
      }
      value = line.words[++i].text;
    }
    options.set.emplace_back(spec.name, value.value_or(""));
  }
  if (line.error) return *line.error;
  return options;
}

bool GoidList::contains(std::uint64_t goid) const {
  auto it = std::upper_bound(ranges.begin(), ranges.end(), goid,
                             [](std::uint64_t id, const auto& range) { return id < range.first; });
  return it != ranges.begin() && goid <= std::prev(it)->second;
}

bool looks_like_goid_list(std::string_view word) {
  return !word.empty() && word[0] >= '0' && word[0] <= '9' &&
         word.find_first_not_of("0123456789,-") == std::string_view::npos;
}

Result<GoidList> parse_goid_list(std::string_view word) {
  GoidList list;
  std::string_view rest = word;
  while (true) {
    std::string_view item = rest.substr(0, rest.find(','));
    auto dash = item.find('-');
    auto lo = parse_number(item.substr(0, dash));
    auto hi = dash == item.npos ? lo : parse_number(item.substr(dash + 1));
    if (!lo || !hi) return Error{fmt::format("'{}' is no list of goroutines such as 1-5,9", word), {}};
    if (*lo > *hi) return Error{fmt::format("the range {} runs backwards", item), {}};
    list.ranges.emplace_back(*lo, *hi);
    if (item.size() == rest.size()) break;
    rest.remove_prefix(item.size() + 1);
  }
  std::sort(list.ranges.begin(), list.ranges.end());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> merged;
  for (auto range : list.ranges) {
    if (!merged.empty() && (range.first <= merged.back().second || range.first == merged.back().second + 1)) {
      merged.back().second = std::max(merged.back().second, range.second);
    } else {
      merged.push_back(range);
    }
  }
  list.ranges = std::move(merged);
  return list;
}

std::optional<std::uint64_t> parse_number(std::string_view word) {
  int base = 10;
  if (word.starts_with("0x") || word.starts_with("0X")) {
    word.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (word.empty() || ec != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> match_prefix(std::string_view word, std::span<const std::string_view> choices) {
  std::vector<std::string_view> found;
  for (std::string_view c : choices) {
    if (c == word) return {c};
    if (!word.empty() && c.starts_with(word)) found.push_back(c);
  }
  return found;
}

}  // namespace vitrine::inspect
