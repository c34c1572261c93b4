// span_rows.h: the spans of the heap as Rows: the columns and JSON of `mheap spans`, and its one-line texts elsewhere.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "heap_state.h"
#include "plain_rows.h"

namespace vitrine::inspect {

class SpanRows : public PlainRows {
 public:
  // only: of this size class; a span of which that cannot be known is among them.
  explicit SpanRows(HeapState& heap, std::optional<std::uint64_t> only = {});
  std::string_view noun() const override { return "span"; }
  std::string_view schema() const override { return "spans"; }
  std::size_t size() const override { return heap_.spans().size(); }
  std::vector<int> default_columns() const override;
  bool prepare(const std::vector<std::uint32_t>&, const std::vector<int>&) override { return !cancelled(); }
  bool prepare_json(const std::vector<std::uint32_t>&) override { return !cancelled(); }
  Value value(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;
  bool outside(std::uint32_t row) const override;
  bool hidden(std::uint32_t row) const override;
  std::string_view hidden_noun() const override { return "span without pages"; }
  int hidden_column() const override;

 protected:
  std::string error(std::uint32_t row) const override { return heap_.flaw(heap_.spans()[row]); }
  int last_column() const override;

 private:
  bool cancelled() { return heap_.session().cancelled(); }
  HeapState& heap_;
  std::optional<std::uint64_t> only_;
};

std::span<const ColumnSpec> span_columns();
// Free objects of all, in percent; nullopt: it has none.
std::optional<std::int64_t> free_percent(const HeapState& heap, const Span& s);
// The size class of its objects; nullopt: they have none.
std::optional<std::uint32_t> class_of(const HeapState& heap, const Span& s);

}  // namespace vitrine::inspect
