// goroutine_rows.h: the goroutines of a Model as Rows: the columns of `info goroutines`, of -where in every command
// that picks goroutines, and the JSON row.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "listing.h"
#include "model.h"
#include "stacks.h"

namespace vitrine::inspect {

class GoroutineRows : public Rows {
 public:
  GoroutineRows(Session& session, Model& model, Stacks& stacks);
  std::string_view noun() const override { return "goroutine"; }
  std::string_view schema() const override { return "goroutines"; }
  std::size_t size() const override { return model_.goroutines().size(); }
  std::span<const ColumnSpec> columns() const override;
  std::vector<int> default_columns() const override;
  bool prepare(const std::vector<std::uint32_t>& rows, const std::vector<int>& columns) override;
  bool prepare_json(const std::vector<std::uint32_t>& rows) override { return stacks_.ensure(rows); }
  Value value(std::uint32_t row, int column) override;
  Tri frames_match(std::uint32_t row, int column, const Pattern& pattern) override;
  std::string cell(std::uint32_t row, int column) override {
    std::string out;
    add_cell(out, row, column);
    return out;
  }
  void add_cell(std::string& out, std::uint32_t row, int column) override;
  bool any_thread(const std::vector<int>& columns) const override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;
  bool hidden(std::uint32_t row) const override;
  std::string_view hidden_noun() const override { return kSystemNoun; }
  int hidden_column() const override;
  bool emphasis(std::uint32_t row) const override { return row == marked_; }

  std::vector<std::string> errors(std::uint32_t row);
  bool damaged() const { return damaged_; }  // some row had errors so far

 private:
  // Valid until another row is asked for.
  const Goroutine& at(std::uint32_t row) const {
    if (row != at_) at_is_ = model_.goroutines()[at_ = row];
    return at_is_;
  }
  Value text(std::string text);
  Model& model_;
  Stacks& stacks_;
  mutable std::uint32_t at_ = kNone;  // what at() gave last
  mutable Goroutine at_is_;
  std::uint32_t marked_ = kNone;  // the selected goroutine, else that of the current thread
  void add_where(std::string& out, std::uint32_t row);
  std::string scratch_;
  std::vector<std::string> where_;               // by shape: what add_where prints of it; "": not known yet
  std::vector<std::vector<std::uint8_t>> memo_;  // by pattern and shape: 0 not asked, else 1 + Tri
  bool damaged_ = false;
};

std::span<const ColumnSpec> goroutine_columns();

// {pc, function, file, line} or null.
void json_frame(Json& json, const SourceFrame& frame);
void json_frame_keys(Json& json, const SourceFrame& frame);
void json_labels(Json& json, const Labels& labels);
// What the session's target, files and scheduler warn of. Any of it makes the session's answers incomplete.
std::vector<std::string> all_warnings(Session& session, const Model& model);

}  // namespace vitrine::inspect
