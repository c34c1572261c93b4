// plain_rows.cc: see plain_rows.h.
#include "plain_rows.h"

#include <fmt/format.h>

#include <numeric>

#include "render.h"

namespace vitrine::inspect {

std::string PlainRows::cell(std::uint32_t row, int column) {
  Value v = value(row, column);
  std::string out = "-";
  if (v.known) {
    switch (columns_[static_cast<std::size_t>(column)].type) {
      case ColumnType::text:
        out = printable(v.text);
        break;
      case ColumnType::number:
        out = std::to_string(v.n);
        break;
      case ColumnType::address:
        out = fmt::format("{:#x}", static_cast<std::uint64_t>(v.n));
        break;
      case ColumnType::flag:
        out = v.n ? "yes" : "no";
        break;
      case ColumnType::duration:
        out = v.n < 0 ? "-" + format_duration(-v.n) : format_duration(v.n);
        break;
      case ColumnType::size:
        out = format_size(static_cast<std::uint64_t>(v.n));
        break;
    }
  }
  std::string wrong = error(row);
  damaged_ = damaged_ || !wrong.empty();
  if (column == last_column() && !wrong.empty()) out += fmt::format(" <{}>", wrong);
  return out;
}

void PlainRows::json_value(Json& json, std::string_view key, std::uint32_t row, int column) {
  json.key(key);
  Value v = value(row, column);
  const ColumnType type = columns_[static_cast<std::size_t>(column)].type;
  if (!v.known || (type == ColumnType::text && v.text.empty())) {
    json.null();
  } else if (type == ColumnType::text) {
    json.value(v.text);
  } else if (type == ColumnType::address) {
    json.address(static_cast<std::uint64_t>(v.n));
  } else if (type == ColumnType::flag) {
    json.value(v.n != 0);
  } else {
    json.value(v.n);
  }
}

void PlainRows::json_errors(Json& json, std::uint32_t row) {
  std::string wrong = error(row);
  damaged_ = damaged_ || !wrong.empty();
  json.key("errors").open_array();
  if (!wrong.empty()) json.value(std::string_view(wrong));
  json.close_array();
}

std::vector<int> GridRows::default_columns() const {
  std::vector<int> columns(static_cast<std::size_t>(shown_));
  std::iota(columns.begin(), columns.end(), 0);
  return columns;
}

Value GridRows::value(std::uint32_t row, int column) {
  const Cell& c = rows_[row].cells[static_cast<std::size_t>(column)];
  return Value{c.known, c.n, c.text};
}

void GridRows::json(std::uint32_t row, Json& json) {
  json.open_object();
  for (std::size_t i = 0; i < columns_.size(); ++i) json_value(json, columns_[i].name, row, static_cast<int>(i));
  json_errors(json, row);
  json.close_object();
}

}  // namespace vitrine::inspect
