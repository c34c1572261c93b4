// where.h: the expressions of -where, over typed columns. Precedence: not > and > or; parentheses; comparisons
// = != < <= > >= ~ !~; a flag column may stand alone. What a literal may be follows from its column: 17, 0x7f00,
// 10s 5ms 1h30m, 64KiB, true, or text ('quoted' when it holds blanks).
//
// Logic is three-valued: a comparison with an unknown value is unknown; `unknown or yes` is yes, `unknown and no` is
// no. Rows that come out unknown are not shown, but counted. Regular expressions are RE2's (linear time).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "result.h"

namespace re2 {
class RE2;
}

namespace vitrine::inspect {

enum class ColumnType : std::uint8_t { number, address, text, flag, duration, size };

struct ColumnSpec {
  std::string_view name;     // in -where, -sort, -cols
  std::string_view heading;  // in tables
  ColumnType type;
  bool right = false;          // aligned to the right
  bool frames = false;         // `~` looks at the functions of all frames, whatever the type
  std::string_view what = {};  // one clause for help
  std::string_view key = {};   // in JSON, if that is another word (beside NAME_ns of a duration)
};

// A cell. Numbers of every type are in n; text is valid until the same column is asked again.
struct Value {
  bool known = false;
  std::int64_t n = 0;
  std::string_view text;
  static Value number(std::int64_t v) { return {true, v, {}}; }
  static Value string(std::string_view v) { return {true, 0, v}; }
};

enum class Tri : std::uint8_t { no, yes, unknown };

// One regular expression of an expression. index tells them apart, for memoising.
struct Pattern {
  std::shared_ptr<re2::RE2> re;
  std::size_t index = 0;
  bool matches(std::string_view text) const;
};

class RowView {
 public:
  virtual ~RowView() = default;
  virtual Value value(int column) = 0;
  // `~` on a column whose spec says frames.
  virtual Tri frames_match(int column, const Pattern& pattern) = 0;
};

class Where {
 public:
  static Result<Where> parse(std::string_view text, std::span<const ColumnSpec> columns);
  Tri eval(RowView& row) const { return eval(root_, row); }
  bool uses(int column) const;  // its value
  bool uses_frames() const;     // `stack ~ RE`

 private:
  enum class Op : std::uint8_t { and_, or_, not_, eq, ne, lt, le, gt, ge, match, no_match, flag };
  struct Node {
    Op op;
    int left = -1, right = -1;  // nodes of and, or, not
    int column = -1;
    ColumnType type = ColumnType::text;
    bool frames = false;
    std::int64_t number = 0;
    std::string text;
    Pattern pattern;
  };
  struct Parser;
  Tri eval(int node, RowView& row) const;
  std::vector<Node> nodes_;
  int root_ = -1;
};

// The column of that name, heading or JSON key, or of which that is a unique prefix; the error lists the columns.
Result<int> find_column(std::string_view name, std::span<const ColumnSpec> columns);
// -1, 0, 1; unknown values order last.
int compare(const Value& a, const Value& b, ColumnType type);

std::optional<std::int64_t> parse_duration(std::string_view text);  // ns
std::optional<std::int64_t> parse_size(std::string_view text);      // bytes

}  // namespace vitrine::inspect
