// plain_rows.h: what lists of small rows share: rows that need no preparation, cells made of values by type, errors
// behind the last column and in the JSON row. GridRows are such rows made beforehand.
#pragma once
#include <string>
#include <vector>

#include "listing.h"

namespace vitrine::inspect {

class PlainRows : public Rows {
 public:
  explicit PlainRows(std::span<const ColumnSpec> columns) : columns_(columns) {}
  std::span<const ColumnSpec> columns() const override { return columns_; }
  bool prepare(const std::vector<std::uint32_t>&, const std::vector<int>&) override { return true; }
  bool prepare_json(const std::vector<std::uint32_t>&) override { return true; }
  Tri frames_match(std::uint32_t, int, const Pattern&) override { return Tri::unknown; }
  std::string cell(std::uint32_t row, int column) override;
  bool hidden(std::uint32_t) const override { return false; }
  std::string_view hidden_noun() const override { return {}; }
  int hidden_column() const override { return -2; }
  bool emphasis(std::uint32_t) const override { return false; }
  bool damaged() const { return damaged_; }  // some row that was asked for had errors

 protected:
  virtual std::string error(std::uint32_t row) const = 0;  // "" when the row is sound
  virtual int last_column() const = 0;                     // where an error is shown
  static Value number(auto v) { return Value::number(static_cast<std::int64_t>(v)); }
  static Value maybe(const auto& v) { return v ? number(*v) : Value{}; }
  Value text(std::string text) {
    scratch_ = std::move(text);
    return Value::string(scratch_);
  }
  // Key and value of a column, by its type; unknown is null.
  void json_value(Json& json, std::string_view key, std::uint32_t row, int column);
  void json_errors(Json& json, std::uint32_t row);
  std::span<const ColumnSpec> columns_;
  std::string scratch_;
  bool damaged_ = false;
};

// Cells that were made beforehand: for lists of at most some thousand rows.
class GridRows : public PlainRows {
 public:
  struct Cell {
    bool known = false;
    std::int64_t n = 0;
    std::string text;
    Cell() = default;
    template <class N>
    requires std::is_integral_v<N> Cell(N number) : known(true), n(static_cast<std::int64_t>(number)) {}
    template <class N>
    Cell(std::optional<N> number) : known(number.has_value()), n(static_cast<std::int64_t>(number.value_or(0))) {}
    Cell(std::string t) : known(!t.empty()), text(std::move(t)) {}
    Cell(std::string_view t) : Cell(std::string(t)) {}
    Cell(const char* t) : Cell(std::string(t)) {}
  };
  std::vector<std::string> warnings;  // about the list as a whole

  // shown: how many of the columns are shown if nothing else is asked for; the first is what -short prints.
  GridRows(std::span<const ColumnSpec> columns, int shown, std::string_view noun, std::string_view schema)
      : PlainRows(columns), shown_(shown), noun_(noun), schema_(schema) {}
  void add(std::vector<Cell> cells, std::string error = {}) { rows_.push_back({std::move(cells), std::move(error)}); }
  std::string_view noun() const override { return noun_; }
  std::string_view schema() const override { return schema_; }
  std::size_t size() const override { return rows_.size(); }
  std::vector<int> default_columns() const override;
  Value value(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override { return cell(row, 0); }

 protected:
  std::string error(std::uint32_t row) const override { return rows_[row].error; }
  int last_column() const override { return shown_ - 1; }

 private:
  struct Row {
    std::vector<Cell> cells;
    std::string error;
  };
  std::vector<Row> rows_;
  int shown_;
  std::string_view noun_, schema_;
};

}  // namespace vitrine::inspect
