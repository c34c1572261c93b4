// sched_rows.h: Ps, Ms, timers and descriptors as Rows: the columns and JSON of `info ps`, `info ms`, `info timers` and
// `info netpoll`. What they share is in PlainRows: rows that need no preparation, cells made of values by type.
#pragma once
#include <string>
#include <vector>

#include "listing.h"
#include "sched_state.h"

namespace vitrine::inspect {

class PlainRows : public Rows {
 public:
  PlainRows(SchedState& state, std::span<const ColumnSpec> columns) : state_(state), columns_(columns) {}
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
  SchedState& state_;
  std::span<const ColumnSpec> columns_;
  std::string scratch_;
  bool damaged_ = false;
};

class ProcessorRows : public PlainRows {
 public:
  ProcessorRows(SchedState& state, bool queues);
  std::string_view noun() const override { return "P"; }
  std::string_view schema() const override { return "ps"; }
  std::size_t size() const override { return state_.processors().size(); }
  std::vector<int> default_columns() const override;
  Value value(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;

 protected:
  std::string error(std::uint32_t row) const override { return state_.processors()[row].error; }
  int last_column() const override;

 private:
  std::uint64_t current(std::uint32_t row) const;  // the g that runs on it; 0: none
  bool queues_;
};

class MachineRows : public PlainRows {
 public:
  MachineRows(SchedState& state);
  std::string_view noun() const override { return "M"; }
  std::string_view schema() const override { return "ms"; }
  std::size_t size() const override { return state_.machines().size(); }
  std::vector<int> default_columns() const override;
  Value value(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;

 protected:
  std::string error(std::uint32_t row) const override { return state_.machines()[order_[row]].error; }
  int last_column() const override;

 private:
  std::vector<std::uint32_t> order_;  // by id
};

class TimerRows : public PlainRows {
 public:
  TimerRows(Session& session, SchedState& state);
  std::string_view noun() const override { return "timer"; }
  std::string_view schema() const override { return "timers"; }
  std::size_t size() const override { return order_.size(); }
  std::vector<int> default_columns() const override;
  Value value(std::uint32_t row, int column) override;
  std::string cell(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;

 protected:
  std::string error(std::uint32_t row) const override { return at(row).error; }
  int last_column() const override;

 private:
  const TimerState& at(std::uint32_t row) const { return state_.timers()[order_[row]]; }
  std::optional<std::int64_t> due(std::uint32_t row) const;
  std::uint64_t waiter(std::uint32_t row) const;  // the g that it wakes; 0: none
  std::string what(std::uint32_t row);
  Session& session_;
  std::vector<std::uint32_t> order_;  // by time
};

struct Descriptor {
  std::uint64_t addr = 0, rg = 0, wg = 0, goid = 0;
  std::int64_t fd = -1, rd = 0, wd = 0;
  bool closing = false;
  std::string error;
};

class NetpollRows : public PlainRows {
 public:
  NetpollRows(Session& session, SchedState& state);
  std::string_view noun() const override { return "descriptor"; }
  std::string_view schema() const override { return "netpoll"; }
  std::size_t size() const override { return open_.size(); }
  std::vector<int> default_columns() const override;
  Value value(std::uint32_t row, int column) override;
  std::string cell(std::uint32_t row, int column) override;
  void json(std::uint32_t row, Json& json) override;
  std::string short_text(std::uint32_t row) override;
  const std::vector<std::string>& warnings() const { return warnings_; }

 protected:
  std::string error(std::uint32_t row) const override { return open_[row].error; }
  int last_column() const override;

 private:
  std::string what(const Descriptor& d) const;  // of a live process: what its fd is
  std::string side(std::uint64_t word);
  Session& session_;
  std::vector<Descriptor> open_;
  std::vector<std::string> warnings_;
};

std::span<const ColumnSpec> processor_columns();
std::span<const ColumnSpec> machine_columns();
std::span<const ColumnSpec> timer_columns();
std::span<const ColumnSpec> netpoll_columns();

}  // namespace vitrine::inspect
