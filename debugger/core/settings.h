// settings.h: what a user sets once for all commands and printed values, in every host: `vitrine set NAME VALUE`, in gdb
// `set vitrine NAME VALUE` as well. One set for the whole library: it outlives the sessions, of which each target is one.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "result.h"

namespace vitrine::inspect {

struct Settings {
  std::atomic<std::uint64_t> limit{100};        // rows of a list; no_limit: all
  std::atomic<std::uint64_t> string_limit{64};  // characters of a text in a value; no_limit: all
  std::atomic<std::uint64_t> system{0};         // lists show the runtime's own goroutines, too
  std::atomic<std::uint64_t> progress{1};       // long work tells how far it is
};
constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
Settings& settings();

struct SettingSpec {
  enum class Kind : std::uint8_t { number, flag };  // number: 0 and "unlimited" are kNoLimit
  std::string_view name;
  Kind kind;
  const char* summary;  // "how many rows a list shows": after "set" and "show"
  const char* help;
  std::atomic<std::uint64_t> Settings::*value;
};
std::span<const SettingSpec> setting_table();
const SettingSpec* find_setting(std::string_view name, std::string& problem);  // a unique prefix will do
std::string value_text(const SettingSpec& spec);                               // "100", "unlimited", "on"
Status set_setting(const SettingSpec& spec, std::string_view value);

}  // namespace vitrine::inspect
