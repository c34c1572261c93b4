// settings.cc: see settings.h.
#include "settings.h"

#include <fmt/format.h>

#include <vector>

#include "words.h"

namespace vitrine::inspect {
namespace {

constexpr SettingSpec kSettings[] = {
    {"limit", SettingSpec::Kind::number, "how many rows a list shows",
     "100 at first; `unlimited' or 0: all. What is left out is said below the list, and -limit N goes before this.\n"
     "JSON has all rows unless -limit is given.\n",
     &Settings::limit},
    {"progress", SettingSpec::Kind::flag, "whether long work tells on the terminal how far it is",
     "On at first. The line is cleared again when the answer comes.\n", &Settings::progress},
    {"string-limit", SettingSpec::Kind::number, "how many characters of a text are shown in a value",
     "64 at first; `unlimited' or 0: all. How long a text is that was cut stands behind it. What the debugger itself\n"
     "prints goes by its own settings.\n",
     &Settings::string_limit},
    {"system", SettingSpec::Kind::flag, "whether lists show the runtime's own goroutines",
     "Off at first: they are left out and counted below the list. -all does the same for one command.\n",
     &Settings::system},
};

}  // namespace

Settings& settings() {
  static Settings all;
  return all;
}

std::span<const SettingSpec> setting_table() { return kSettings; }

const SettingSpec* find_setting(std::string_view name, std::string& problem) {
  std::vector<std::string_view> names;
  for (const SettingSpec& s : kSettings) names.push_back(s.name);
  auto found = match_prefix(name, names);
  if (found.size() == 1) {
    for (const SettingSpec& s : kSettings) {
      if (s.name == found[0]) return &s;
    }
  }
  std::string all;
  for (std::string_view n : found.empty() ? names : found) all += (all.empty() ? "" : ", ") + std::string(n);
  problem = found.empty() ? fmt::format("there is no setting '{}'; there are: {}", name, all)
                          : fmt::format("'{}' is ambiguous: {}", name, all);
  return nullptr;
}

std::string value_text(const SettingSpec& spec) {
  const std::uint64_t v = settings().*spec.value;
  if (spec.kind == SettingSpec::Kind::flag) return v ? "on" : "off";
  return v == kNoLimit ? "unlimited" : std::to_string(v);
}

Status set_setting(const SettingSpec& spec, std::string_view value) {
  std::uint64_t v = 0;
  if (spec.kind == SettingSpec::Kind::flag) {
    if (value == "on" || value == "yes" || value == "1" || value == "true") {
      v = 1;
    } else if (value != "off" && value != "no" && value != "0" && value != "false") {
      return Error{fmt::format("{} is on or off, not '{}'", spec.name, value), {}};
    }
  } else if (value == "unlimited") {
    v = kNoLimit;
  } else if (auto n = parse_number(value)) {
    v = *n ? *n : kNoLimit;
  } else {
    return Error{fmt::format("{} is a number or unlimited, not '{}'", spec.name, value), {}};
  }
  (settings().*spec.value) = v;
  return Ok{};
}

}  // namespace vitrine::inspect
