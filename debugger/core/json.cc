// json.cc: see json.h.
#include "json.h"

#include <fmt/format.h>

namespace vitrine::inspect {
namespace {

// The length of the UTF-8 sequence at text[i], 0 when it is none.
std::size_t sequence(std::string_view text, std::size_t i) {
  auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  unsigned char c = byte(i);
  std::size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (n == 0 || i + n > text.size()) return 0;
  for (std::size_t k = 1; k < n; ++k) {
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
  }
  if (n == 3 && ((c == 0xe0 && byte(i + 1) < 0xa0) || (c == 0xed && byte(i + 1) >= 0xa0))) return 0;
  if (n == 4 && ((c == 0xf0 && byte(i + 1) < 0x90) || (c == 0xf4 && byte(i + 1) >= 0x90))) return 0;
  return n;
}

}  // namespace

void Json::separate() {
  if (comma_) out_.add(",");
  comma_ = true;
}
Json& Json::open(char c) {
  separate();
  out_.add({&c, 1});
  comma_ = false;
  return *this;
}
Json& Json::close(char c) {
  out_.add({&c, 1});
  comma_ = true;
  return *this;
}
Json& Json::key(std::string_view name) {
  value(name);
  out_.add(":");
  comma_ = false;
  return *this;
}
Json& Json::value(std::string_view text) {
  separate();
  std::string quoted = "\"";
  for (std::size_t i = 0; i < text.size();) {
    char c = text[i];
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
      ++i;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      ++i;
    } else if (std::size_t n = sequence(text, i)) {
      quoted += text.substr(i, n);
      i += n;
    } else {
      quoted += "\xef\xbf\xbd";
      ++i;
    }
  }
  out_.add(quoted + '"');
  return *this;
}
Json& Json::value(bool flag) {
  separate();
  out_.add(flag ? "true" : "false");
  return *this;
}
Json& Json::value(std::int64_t number) {
  separate();
  out_.add(std::to_string(number));
  return *this;
}
Json& Json::value(std::uint64_t number) {
  separate();
  out_.add(std::to_string(number));
  return *this;
}
Json& Json::null() {
  separate();
  out_.add("null");
  return *this;
}
Json& Json::address(std::uint64_t addr) { return value(fmt::format("{:#x}", addr)); }
Json& Json::line_break() {
  if (comma_) out_.add(",");
  out_.add("\n");
  comma_ = false;
  return *this;
}

}  // namespace vitrine::inspect
