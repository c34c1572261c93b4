// listing.h: what every list command has in common — -where -sort -limit -cols -json -short -count -all, the default
// limit with its footer, the JSON envelope — over rows that a command supplies. `info machines` or `mheap spans` need
// only another Rows.
//
//   1. -where is parsed; rows hidden by default (system ones) fall away unless -all, -json or the expression asks.
//   2. What -where and -sort need is prepared in bulk, rows are filtered (three-valued) and ordered.
//   3. The limit cuts; only what is shown is prepared further, then printed as a table or streamed as JSON.
//   4. The footer says how many of how many, what was hidden and what was unknown; -short, -count and -json, which have
//      none, warn of rows that a limit nobody asked for or an unknown value left out.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "commands.h"
#include "json.h"
#include "where.h"

namespace vitrine::inspect {

class Rows {
 public:
  virtual ~Rows() = default;
  virtual std::string_view noun() const = 0;    // "goroutine"
  virtual std::string_view schema() const = 0;  // "goroutines": docs/schema/goroutines.json
  virtual std::size_t size() const = 0;
  virtual std::span<const ColumnSpec> columns() const = 0;
  virtual std::vector<int> default_columns() const = 0;
  static constexpr int kFrames = -1;  // in prepare(): the expression looks at all frames
  // Reads in bulk what these columns of these rows need. False: cancelled.
  virtual bool prepare(const std::vector<std::uint32_t>& rows, const std::vector<int>& columns) = 0;
  virtual bool prepare_json(const std::vector<std::uint32_t>& rows) = 0;
  virtual Value value(std::uint32_t row, int column) = 0;
  virtual Tri frames_match(std::uint32_t row, int column, const Pattern& pattern) = 0;
  virtual std::string cell(std::uint32_t row, int column) = 0;
  // The same, behind what is there.
  virtual void add_cell(std::string& out, std::uint32_t row, int column) { out += cell(row, column); }
  // Cells of these columns, once prepared, may be made by another thread, while the session's does nothing with the rows.
  virtual bool any_thread(const std::vector<int>&) const { return false; }
  virtual void json(std::uint32_t row, Json& json) = 0;
  virtual std::string short_text(std::uint32_t row) = 0;
  virtual bool outside(std::uint32_t) const { return false; }  // not what the command was asked about; never counted
  virtual bool hidden(std::uint32_t row) const = 0;            // by default
  virtual std::string_view hidden_noun() const = 0;            // "system goroutine"
  virtual int hidden_column() const = 0;                       // a -where that uses it hides nothing
  virtual bool emphasis(std::uint32_t row) const = 0;          // comes first when nothing else orders
  virtual bool newest_last() const { return false; }           // a limit keeps the last rows, unless -sort orders them
};

std::span<const OptionSpec> listing_options();

// Rows that pass -where and the default hiding. Used by commands that act on rows (apply, stacks) as well.
struct Filtered {
  std::vector<std::uint32_t> rows;
  std::size_t unknown = 0;  // not shown: the expression was unknown
  std::size_t hidden = 0;   // not shown: hidden by default
};
// Error, or nullopt-like cancelled flag.
struct FilterResult {
  Outcome outcome = Outcome::ok;
  Error error;
  Filtered filtered;
};
FilterResult filter_rows(Session& session, Rows& rows, const std::string* where, bool all);

// The footer's account of rows that are missing from an answer: "; 2 system goroutines not shown (-all); 1 VERB: …".
std::string left_out(const Filtered& filtered, std::string_view hidden_noun, std::string_view verb);

Outcome run_listing(Session& session, Sink& sink, Rows& rows, const Options& options,
                    const std::vector<std::string>& about);

// -limit: absent → fallback; 0 → no limit.
Result<std::uint64_t> limit_of(const Options& options, std::uint64_t fallback);
// -json: 0 absent, 1 bare, 2 full.
Result<int> json_mode(const Options& options);
// {"schema":…,"runtime":…,"shown":…,"total":…,"warnings":[…],"rows": — the caller adds the rows and closes the object.
void open_full_json(Session& session, Json& json, std::string_view schema, std::uint64_t shown, std::uint64_t total,
                    const std::vector<std::string>& warnings);
// Warnings where the answer itself has no place for them (a bare number, a bare array).
void warn(Sink& sink, const std::vector<std::string>& warnings);
constexpr std::string_view kSystemNoun = "system goroutine";  // the hidden_noun() of lists of goroutines
// How many rows where no -limit is given.
inline std::uint64_t default_limit() { return settings().limit; }

}  // namespace vitrine::inspect
