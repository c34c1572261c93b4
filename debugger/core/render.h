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

class Table {
 public:
  struct Column {
    std::string heading;
    bool right = false;
  };
  Table(Buffered& out, std::vector<Column> columns, bool colour);
  ~Table() { finish(); }
  // emphasis: the current row, bold where colours are on.
  void row(std::vector<std::string> cells, bool emphasis);
  void finish();

 private:
  void print(const std::vector<std::string>& cells, const char* before);
  void lay_out();
  Buffered& out_;
  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::vector<std::pair<std::vector<std::string>, bool>> waiting_;
  bool colour_, laid_out_ = false;
};

}  // namespace vitrine::inspect
