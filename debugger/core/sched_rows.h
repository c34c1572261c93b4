// sched_rows.h: Ps, Ms, timers and descriptors as Rows: the columns and JSON of `info ps`, `info ms`, `info timers` and
// `info netpoll`.
#pragma once
#include <string>
#include <vector>

#include "plain_rows.h"
#include "sched_state.h"

namespace vitrine::inspect {

class SchedRows : public PlainRows {
 public:
  SchedRows(SchedState& state, std::span<const ColumnSpec> columns) : PlainRows(columns), state_(state) {}

 protected:
  SchedState& state_;
};

class ProcessorRows : public SchedRows {
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

class MachineRows : public SchedRows {
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

class TimerRows : public SchedRows {
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
  std::string kind_of(std::uint32_t row);
  std::uint64_t waiter(std::uint32_t row);  // the g that it wakes; 0: none
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

class NetpollRows : public SchedRows {
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
