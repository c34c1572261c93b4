// render.h: how values look in text: durations, sizes, tables. Tables are laid out over the first rows and then
// streamed, so that a million rows need no memory; a later cell that is wider than its column only shifts its own row.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace vitrine::inspect {

std::string format_duration(std::int64_t ns);                // 340ms, 5.2s, 3m12s, 2h05m, 3d4h
std::string format_size(std::uint64_t bytes);                // 512, 1.2K, 60K, 1.5M
std::string plural(std::uint64_t n, std::string_view noun);  // "1 goroutine", "2 spans without pages"
// Control characters of the target's strings must not reach a terminal.
std::string printable(std::string_view text);
// The same, behind what `out` has already: a million rows make no string of their own for each cell.
void add_duration(std::string& out, std::int64_t ns);
void add_size(std::string& out, std::uint64_t bytes);
void add_number(std::string& out, std::uint64_t n);
void add_number(std::string& out, std::int64_t n);
void add_printable(std::string& out, std::string_view text);

// The texts of one row, one behind the other.
class Cells {
 public:
  std::string& text() { return text_; }          // append a cell here,
  void end() { ends_.push_back(text_.size()); }  // and say that it is whole
  void clear() {
    text_.clear();
    ends_.clear();
  }
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t i) const {
    const std::size_t from = i ? ends_[i - 1] : 0;
    return std::string_view(text_).substr(from, ends_[i] - from);
  }

 private:
  std::string text_;
  std::vector<std::size_t> ends_;
};

class Table {
 public:
  struct Column {
    std::string heading;
    bool right = false;
  };
  Table(Buffered& out, std::vector<Column> columns, bool colour);
  ~Table() { finish(); }
  // emphasis: the current row, bold where colours are on.
  void row(const Cells& cells, bool emphasis);
  void row(const std::vector<std::string>& cells, bool emphasis);
  void finish();

 private:
  void print(const Cells& cells, const char* before);
  void lay_out();
  Buffered& out_;
  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::vector<std::pair<Cells, bool>> waiting_;
  std::string line_;
  bool colour_, laid_out_ = false;
};

}  // namespace vitrine::inspect
