// json.h: writes JSON as a stream, compact, keys in the order given. Numbers that could lose digits in a reader's
// double are for the caller to avoid: addresses go out as "0x…" strings. Bytes that are not UTF-8 become U+FFFD.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "session.h"

namespace vitrine::inspect {

// Collects text and hands it to a sink in pieces of some size.
class Buffered {
 public:
  explicit Buffered(Sink& sink) : sink_(sink) {}
  ~Buffered() { flush(); }
  Buffered(const Buffered&) = delete;
  void add(std::string_view text) {
    text_ += text;
    if (text_.size() >= 1 << 16) flush();
  }
  void flush() {
    if (!text_.empty()) sink_.out(text_);
    text_.clear();
  }

 private:
  Sink& sink_;
  std::string text_;
};

class Json {
 public:
  explicit Json(Buffered& out) : out_(out) {}
  Json& open_object() { return open('{'); }
  Json& close_object() { return close('}'); }
  Json& open_array() { return open('['); }
  Json& close_array() { return close(']'); }
  Json& key(std::string_view name);
  Json& value(std::string_view text);
  Json& value(const char* text) { return value(std::string_view(text)); }
  Json& value(bool flag);
  Json& value(std::int64_t number);
  Json& value(std::uint64_t number);
  Json& null();
  Json& address(std::uint64_t addr);  // "0x…"
  template <class T>
  Json& value_or_null(std::optional<T> v) {
    return v ? value(*v) : null();
  }
  Json& address_or_null(std::optional<std::uint64_t> addr) { return addr ? address(*addr) : null(); }
  Json& text_or_null(std::string_view text) { return text.empty() ? null() : value(text); }
  // A line break between rows keeps a bare array readable by line tools.
  Json& line_break();

 private:
  Json& open(char c);
  Json& close(char c);
  void separate();
  Buffered& out_;
  bool comma_ = false;
};

}  // namespace vitrine::inspect
