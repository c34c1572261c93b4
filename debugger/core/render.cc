// render.cc: see render.h.
#include "render.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace vitrine::inspect {
namespace {

constexpr std::size_t kLayoutRows = 1000;

// Columns that a UTF-8 text takes: its code points (no attempt at double width).
std::size_t width_of(std::string_view text) {
  std::size_t extra = 0, i = 0;
  for (; i + 8 <= text.size(); i += 8) {  // mostly there is nothing but ASCII
    std::uint64_t eight;
    std::memcpy(&eight, text.data() + i, 8);
    if (eight & 0x8080808080808080ull) break;
  }
  for (; i < text.size(); ++i) extra += (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
  return text.size() - extra;
}

void add_two_digits(std::string& out, std::int64_t n) {
  out += static_cast<char>('0' + n / 10);
  out += static_cast<char>('0' + n % 10);
}

template <class F>
std::string made(F add) {
  std::string out;
  add(out);
  return out;
}

}  // namespace

void add_number(std::string& out, std::uint64_t n) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void add_number(std::string& out, std::int64_t n) {
  if (n < 0) out += '-';
  add_number(out, n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n));
}

void add_duration(std::string& out, std::int64_t ns) {
  const auto one = [&](std::int64_t n, std::string_view unit) {
    add_number(out, n);
    out += unit;
  };
  if (ns < 1000) return one(ns, "ns");
  if (ns < 1000000) return one(ns / 1000, "us");
  if (ns < 1000000000) return one(ns / 1000000, "ms");
  const std::int64_t tenths = ns / 100000000, s = tenths / 10;
  if (s < 60) {
    one(s, ".");
    one(tenths % 10, "s");
  } else if (s < 3600) {
    one(s / 60, "m");
    add_two_digits(out, s % 60);
    out += 's';
  } else if (s < 86400) {
    one(s / 3600, "h");
    add_two_digits(out, s / 60 % 60);
    out += 'm';
  } else {
    one(s / 86400, "d");
    one(s / 3600 % 24, "h");
  }
}

// In units of 1,024 and their powers: with one decimal below 9.95, unless it is a whole number. Rounded to the nearest, a
// half to the even digit.
void add_size(std::string& out, std::uint64_t bytes) {
  if (bytes < 1024) return add_number(out, bytes);
  static constexpr char kUnits[] = {'K', 'M', 'G', 'T', 'P', 'E'};
  unsigned unit = 0;
  while (unit + 1 < sizeof kUnits && bytes >> (10 * (unit + 2))) ++unit;
  const unsigned shift = 10 * (unit + 1);
  const std::uint64_t one = std::uint64_t{1} << shift, whole = bytes >> shift, rest = bytes & (one - 1);
  const auto nearest = [&](std::uint64_t up, std::uint64_t part) {  // part of one
    return up + (part > one / 2 || (part == one / 2 && up & 1));
  };
  if (rest == 0 || whole > 9 || (whole == 9 && one - rest <= one / 20)) {
    add_number(out, nearest(whole, rest));
  } else {
    const std::uint64_t tenths = nearest(whole * 10 + (rest * 10 >> shift), rest * 10 & (one - 1));
    add_number(out, tenths / 10);
    out += '.';
    out += static_cast<char>('0' + tenths % 10);
  }
  out += kUnits[unit];
}

void add_printable(std::string& out, std::string_view text) {
  for (std::size_t from = 0; from < text.size();) {
    std::size_t i = from;
    while (i < text.size() && static_cast<unsigned char>(text[i]) >= 0x20 && text[i] != 0x7f) ++i;
    out += text.substr(from, i - from);
    if (i < text.size()) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    from = i + 1;
  }
}

std::string format_duration(std::int64_t ns) {
  return made([&](std::string& out) { add_duration(out, ns); });
}
std::string format_size(std::uint64_t bytes) {
  return made([&](std::string& out) { add_size(out, bytes); });
}
std::string printable(std::string_view text) {
  return made([&](std::string& out) { add_printable(out, text); });
}

std::string plural(std::uint64_t n, std::string_view noun) {
  const std::string_view head = noun.substr(0, noun.find(" without "));
  return fmt::format("{} {}{}{}", n, head, n == 1 ? "" : "s", noun.substr(head.size()));
}

Table::Table(Buffered& out, std::vector<Column> columns, bool colour)
    : out_(out), columns_(std::move(columns)), colour_(colour) {}

void Table::row(const Cells& cells, bool emphasis) {
  if (laid_out_) {
    print(cells, emphasis && colour_ ? "\x1b[1m" : "");
    return;
  }
  waiting_.emplace_back(cells, emphasis);
  if (waiting_.size() == kLayoutRows) lay_out();
}

void Table::row(const std::vector<std::string>& cells, bool emphasis) {
  Cells made;
  for (const std::string& cell : cells) {
    made.text() += cell;
    made.end();
  }
  row(made, emphasis);
}

void Table::finish() {
  if (!laid_out_) lay_out();
}

void Table::lay_out() {
  laid_out_ = true;
  Cells headings;
  for (const Column& c : columns_) {
    headings.text() += c.heading;
    headings.end();
    widths_.push_back(width_of(c.heading));
  }
  for (auto& [cells, emphasis] : waiting_) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], width_of(cells[i]));
  }
  print(headings, colour_ ? "\x1b[2m" : "");
  for (auto& [cells, emphasis] : waiting_) print(cells, emphasis && colour_ ? "\x1b[1m" : "");
  waiting_ = {};
}

void Table::print(const Cells& cells, const char* before) {
  line_ = before;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string_view cell = cells[i];
    const std::size_t have = width_of(cell), pad = widths_[i] > have ? widths_[i] - have : 0;
    if (i) line_ += i == 1 && columns_[0].heading.size() == 1 ? " " : "  ";
    if (columns_[i].right) line_.append(pad, ' ');
    line_ += cell;
    if (!columns_[i].right && i + 1 < cells.size()) line_.append(pad, ' ');
  }
  while (!line_.empty() && line_.back() == ' ') line_.pop_back();
  line_ += *before ? "\x1b[0m\n" : "\n";
  out_.add(line_);
}

}  // namespace vitrine::inspect
