// render.cc: see render.h.
#include "render.h"

#include <fmt/format.h>

#include <algorithm>

namespace vitrine::inspect {
namespace {

constexpr std::size_t kLayoutRows = 1000;

// Columns that a UTF-8 text takes: its code points (no attempt at double width).
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string format_duration(std::int64_t ns) {
  if (ns < 1000) return fmt::format("{}ns", ns);
  if (ns < 1000000) return fmt::format("{}us", ns / 1000);
  if (ns < 1000000000) return fmt::format("{}ms", ns / 1000000);
  std::int64_t tenths = ns / 100000000, s = tenths / 10;
  if (s < 60) return fmt::format("{}.{}s", s, tenths % 10);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d{}h", s / 86400, s / 3600 % 24);
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  static constexpr char kUnits[] = {'K', 'M', 'G', 'T', 'P', 'E'};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < sizeof kUnits) {
    value /= 1024;
    ++unit;
  }
  auto whole = static_cast<std::uint64_t>(value);
  if (value < 9.95 && value != static_cast<double>(whole)) return fmt::format("{:.1f}{}", value, kUnits[unit]);
  return fmt::format("{:.0f}{}", value, kUnits[unit]);
}

std::string plural(std::uint64_t n, std::string_view noun) {
  const std::string_view head = noun.substr(0, noun.find(" without "));
  return fmt::format("{} {}{}{}", n, head, n == 1 ? "" : "s", noun.substr(head.size()));
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) {
      out += fmt::format("\\x{:02x}", u);
    } else {
      out += c;
    }
  }
  return out;
}

Table::Table(Buffered& out, std::vector<Column> columns, bool colour)
    : out_(out), columns_(std::move(columns)), colour_(colour) {}

void Table::row(std::vector<std::string> cells, bool emphasis) {
  if (laid_out_) {
    print(cells, emphasis && colour_ ? "\x1b[1m" : "");
    return;
  }
  waiting_.emplace_back(std::move(cells), emphasis);
  if (waiting_.size() == kLayoutRows) lay_out();
}

void Table::finish() {
  if (!laid_out_) lay_out();
}

void Table::lay_out() {
  laid_out_ = true;
  std::vector<std::string> headings;
  for (const Column& c : columns_) {
    headings.push_back(c.heading);
    widths_.push_back(width_of(c.heading));
  }
  for (auto& [cells, emphasis] : waiting_) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], width_of(cells[i]));
  }
  print(headings, colour_ ? "\x1b[2m" : "");
  for (auto& [cells, emphasis] : waiting_) print(cells, emphasis && colour_ ? "\x1b[1m" : "");
  waiting_.clear();
}

void Table::print(const std::vector<std::string>& cells, const char* before) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    std::size_t have = width_of(cells[i]);
    std::string pad(widths_[i] > have ? widths_[i] - have : 0, ' ');
    if (i) line += i == 1 && columns_[0].heading.size() == 1 ? " " : "  ";
    line += columns_[i].right ? pad + cells[i] : cells[i] + pad;
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  out_.add(before);
  out_.add(line);
  out_.add(*before ? "\x1b[0m\n" : "\n");
}

}  // namespace vitrine::inspect
