// object_rows.h: the objects that goroutines wait on as Rows (chan, mutex, sync without an argument), and one of them
// in full (with an argument). Each object is read when its row is looked at and not kept: a million goroutines may wait
// on a million of them.
#pragma once
#include <string>
#include <vector>

#include "listing.h"
#include "objects.h"
#include "stacks.h"
#include "values.h"

namespace vitrine::inspect {

class ObjectRows : public Rows {
 public:
  // only: unknown for all kinds. `full`: JSON rows have all values and waiters.
  ObjectRows(Session& session, Objects& objects, Stacks& stacks, std::vector<Objects::WaitedOn> rows, ObjectKind only,
             bool full);
  std::string_view noun() const override { return noun_; }
  std::string_view schema() const override { return "objects"; }
  std::size_t size() const override { return rows_.size(); }
  std::span<const ColumnSpec> columns() const override;
  std::vector<int> default_columns() const override;
  bool prepare(const std::vector<std::uint32_t>&, const std::vector<int>&) override { return !session_.cancelled(); }
  bool prepare_json(const std::vector<std::uint32_t>&) override { return !session_.cancelled(); }
  Value value(std::uint32_t row, int column) override;
  Tri frames_match(std::uint32_t, int, const Pattern&) override { return Tri::unknown; }
  std::string cell(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;
  bool hidden(std::uint32_t) const override { return false; }
  std::string_view hidden_noun() const override { return "object"; }
  int hidden_column() const override { return Rows::kFrames; }
  bool emphasis(std::uint32_t) const override { return false; }

  // The text of one object: its state, its holder, its values, who waits; at most `limit` of each.
  Outcome print(std::uint32_t row, std::uint64_t limit, Sink& sink);
  bool damaged() const { return damaged_; }

 private:
  const SyncObject& at(std::uint32_t row);
  Value text(std::string text);
  std::optional<std::int64_t> oldest(const SyncObject& object);
  std::string value_text(const SyncObject& object, std::uint64_t addr);
  void json_holder(const SyncObject& object, Json& json);
  void json_waiters(const SyncObject& object, Json& json);
  void print_values(const SyncObject& object, std::uint64_t limit, Buffered& out);
  void print_waiters(const SyncObject& object, std::uint64_t limit, Buffered& out);

  Session& session_;
  Objects& objects_;
  Stacks& stacks_;
  Values values_;
  std::vector<Objects::WaitedOn> rows_;
  ObjectKind only_;
  bool full_;
  std::string noun_;
  std::uint32_t read_row_ = kNone;
  SyncObject read_;
  std::string scratch_;
  bool damaged_ = false;
};

std::span<const ColumnSpec> object_columns();
// "goroutine 17 "reader"", or by its address when there is none: how messages name one.
std::string goroutine_label(const Model& model, std::uint32_t goroutine);
// Who holds it, in one clause: "held by goroutine 1 "main" (running, main at x.cc:3)", "holder unknown: …", "".
std::string holder_text(Model& model, Stacks& stacks, const SyncObject& object, const Holder& holder);

}  // namespace vitrine::inspect
