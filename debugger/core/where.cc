// where.cc: a recursive-descent parser that checks each literal against its column's type at once, so that evaluation
// (a million rows) has nothing left to fail on.
#include "where.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "words.h"

namespace vitrine::inspect {
namespace {

struct Token {
  enum class Kind { word, text, op, open, close, end } kind = Kind::end;
  std::string text;
  std::size_t at = 0;
};

constexpr int kMaxDepth = 200;

const char* type_name(ColumnType type) {
  switch (type) {
    case ColumnType::number:
      return "a number such as 17";
    case ColumnType::address:
      return "an address such as 0x7f00";
    case ColumnType::text:
      return "a text";
    case ColumnType::flag:
      return "true or false";
    case ColumnType::duration:
      return "a duration such as 10s, 5ms or 2m";
    case ColumnType::size:
      return "a size such as 512 or 64KiB";
  }
  return "";
}

// "12.5" → value and what follows it. Only digits and one point; no sign.
std::optional<double> leading_number(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && (std::isdigit(static_cast<unsigned char>(text[n])) || text[n] == '.')) ++n;
  double value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + n, value);
  if (n == 0 || ec != std::errc() || end != text.data() + n) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

struct Unit {
  std::string_view name;
  double scale;
};

std::optional<std::int64_t> parse_units(std::string_view text, std::span<const Unit> units, bool repeat) {
  double total = 0;
  bool any = false;
  do {
    auto value = leading_number(text);
    if (!value) return std::nullopt;
    std::size_t n = 0;
    while (n < text.size() && std::isalpha(static_cast<unsigned char>(text[n]))) ++n;
    auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == text.substr(0, n); });
    if (unit == units.end() && !(n == 0 && *value == 0)) return std::nullopt;
    if (unit != units.end()) total += *value * unit->scale;
    text.remove_prefix(n);
    any = true;
  } while (repeat && !text.empty());
  if (!any || !text.empty() || total > 9e18) return std::nullopt;
  return static_cast<std::int64_t>(total);
}

}  // namespace

std::optional<std::int64_t> parse_duration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3},   {"ms", 1e6},   {"s", 1e9},
                                    {"m", 6e10}, {"h", 3.6e12}, {"d", 8.64e13}};
  return parse_units(text, kUnits, true);
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1},        {"B", 1},         {"K", 1024},       {"KiB", 1024},
                                    {"M", 1048576}, {"MiB", 1048576}, {"G", 1073741824}, {"GiB", 1073741824}};
  return parse_units(text, kUnits, false);
}

Result<int> find_column(std::string_view name, std::span<const ColumnSpec> columns) {
  std::vector<std::string_view> names;
  for (const ColumnSpec& c : columns) names.push_back(c.name);
  // What a table or a JSON row calls it may be another column's beginning: whole words first, the columns' own before all.
  auto heading = [&](const ColumnSpec& c) { return c.heading == name; };
  auto key = [&](const ColumnSpec& c) {
    return c.key == name ||
           (c.type == ColumnType::duration && name.ends_with("_ns") && name.substr(0, name.size() - 3) == c.name);
  };
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    auto other = std::find_if(columns.begin(), columns.end(), heading);
    if (other == columns.end()) other = std::find_if(columns.begin(), columns.end(), key);
    if (other != columns.end()) return static_cast<int>(other - columns.begin());
  }
  auto found = match_prefix(name, names);
  if (found.size() == 1) {
    return static_cast<int>(std::find(names.begin(), names.end(), found[0]) - names.begin());
  }
  std::string all;
  for (std::string_view n : found.empty() ? names : found) all += fmt::format(" {}", n);
  return Error{fmt::format("{} column '{}'; columns:{}", found.empty() ? "unknown" : "ambiguous", name, all), {}};
}

int compare(const Value& a, const Value& b, ColumnType type) {
  if (!a.known || !b.known) return a.known == b.known ? 0 : a.known ? -1 : 1;
  if (type == ColumnType::text) return a.text < b.text ? -1 : a.text > b.text;
  if (type == ColumnType::address) {
    auto x = static_cast<std::uint64_t>(a.n), y = static_cast<std::uint64_t>(b.n);
    return x < y ? -1 : x > y;
  }
  return a.n < b.n ? -1 : a.n > b.n;
}

bool Pattern::matches(std::string_view text) const {
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *re);
}

struct Where::Parser {
  std::string_view text;
  std::span<const ColumnSpec> columns;
  Where& where;
  std::size_t at = 0;
  Token token{};
  std::optional<Error> error{};
  std::size_t patterns = 0;
  int depth = 0;

  int bad(std::string message) {
    if (!error) error = Error{std::move(message), {}};
    return -1;
  }

  void next() {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
    token = {Token::Kind::end, "", at};
    if (at == text.size()) return;
    char c = text[at];
    if (c == '(' || c == ')') {
      token.kind = c == '(' ? Token::Kind::open : Token::Kind::close;
      token.text = c;
      ++at;
      return;
    }
    if (c == '\'' || c == '"') {
      std::size_t end = text.find(c, at + 1);
      if (end == text.npos) {
        bad(fmt::format("-where: no closing {} for the one at: {}", c, text.substr(at)));
        at = text.size();
        return;
      }
      token.kind = Token::Kind::text;
      token.text = text.substr(at + 1, end - at - 1);
      at = end + 1;
      return;
    }
    static constexpr std::string_view kOps[] = {"!=", "!~", "<=", ">=", "==", "=", "<", ">", "~"};
    for (std::string_view op : kOps) {
      if (!text.substr(at).starts_with(op)) continue;
      token.kind = Token::Kind::op;
      token.text = op == "==" ? "=" : op;
      at += op.size();
      return;
    }
    std::size_t end = at;
    while (end < text.size() && !std::isspace(static_cast<unsigned char>(text[end])) &&
           std::string_view("()=<>~'\"!").find(text[end]) == std::string_view::npos) {
      ++end;
    }
    if (end == at) {
      bad(fmt::format("-where: cannot read '{}' at: {}", c, text.substr(at)));
      at = text.size();
      return;
    }
    token.kind = Token::Kind::word;
    token.text = text.substr(at, end - at);
    at = end;
  }

  bool word(std::string_view w) const { return token.kind == Token::Kind::word && token.text == w; }
  int add(Node node) {
    where.nodes_.push_back(std::move(node));
    return static_cast<int>(where.nodes_.size()) - 1;
  }
  int pair(Op op, int left, int right) {
    Node node{};
    node.op = op;
    node.left = left;
    node.right = right;
    return add(std::move(node));
  }

  int disjunction() {
    int left = conjunction();
    while (!error && word("or")) {
      next();
      left = pair(Op::or_, left, conjunction());
    }
    return left;
  }
  int conjunction() {
    int left = negation();
    while (!error && word("and")) {
      next();
      left = pair(Op::and_, left, negation());
    }
    return left;
  }
  int negation() {
    if (++depth > kMaxDepth) return bad("-where: nested too deeply");
    int made;
    if (word("not")) {
      next();
      made = pair(Op::not_, negation(), -1);
    } else if (token.kind == Token::Kind::open) {
      next();
      made = disjunction();
      if (!error && token.kind != Token::Kind::close) bad("-where: a ( is not closed");
      next();
    } else {
      made = comparison();
    }
    --depth;
    return made;
  }

  int comparison() {
    if (error) return -1;
    if (token.kind != Token::Kind::word) {
      return bad(token.kind == Token::Kind::end
                     ? "-where: the expression ends too early"
                     : fmt::format("-where: a column is expected at: {}", text.substr(token.at)));
    }
    auto column = find_column(token.text, columns);
    if (!column) return bad("-where: " + column.error().message);
    const ColumnSpec& spec = columns[static_cast<std::size_t>(*column)];
    Node node{};
    node.column = *column;
    node.type = spec.type;
    next();
    if (token.kind != Token::Kind::op) {
      if (spec.type != ColumnType::flag) {
        return bad(fmt::format("-where: what of {}? It is {}, so compare it: {} = …", spec.name, type_name(spec.type),
                               spec.name));
      }
      node.op = Op::flag;
      return add(std::move(node));
    }
    std::string op = token.text;
    next();
    if (token.kind != Token::Kind::word && token.kind != Token::Kind::text) {
      return bad(fmt::format("-where: {} {} needs {}", spec.name, op, type_name(spec.type)));
    }
    std::string literal = token.text;
    next();
    if (op == "~" || op == "!~") {
      node.op = op == "~" ? Op::match : Op::no_match;
      node.frames = spec.frames;
      if (spec.type != ColumnType::text && !spec.frames) {
        return bad(fmt::format("-where: {} wants a text column, {} is {}", op, spec.name, type_name(spec.type)));
      }
      RE2::Options quiet;
      quiet.set_log_errors(false);
      node.pattern.re = std::make_shared<RE2>(literal, quiet);
      node.pattern.index = patterns++;
      if (!node.pattern.re->ok()) {
        return bad(fmt::format("-where: bad regular expression '{}': {}", literal, node.pattern.re->error()));
      }
      return add(std::move(node));
    }
    static constexpr std::pair<std::string_view, Op> kOps[] = {{"=", Op::eq},  {"!=", Op::ne}, {"<", Op::lt},
                                                               {"<=", Op::le}, {">", Op::gt},  {">=", Op::ge}};
    for (auto& [name, kind] : kOps) {
      if (op == name) node.op = kind;
    }
    return literal_for(spec, literal, std::move(node));
  }

  int literal_for(const ColumnSpec& spec, const std::string& literal, Node node) {
    std::optional<std::int64_t> n;
    switch (spec.type) {
      case ColumnType::text:
        node.text = literal;
        return add(std::move(node));
      case ColumnType::number:
      case ColumnType::address: {
        bool minus = literal.starts_with('-');
        if (auto v = parse_number(std::string_view(literal).substr(minus))) {
          n = static_cast<std::int64_t>(minus ? 0 - *v : *v);
        }
        break;
      }
      case ColumnType::flag:
        if (literal == "true" || literal == "yes" || literal == "1") n = 1;
        if (literal == "false" || literal == "no" || literal == "0") n = 0;
        break;
      case ColumnType::duration:
        n = parse_duration(literal);
        break;
      case ColumnType::size:
        n = parse_size(literal);
        break;
    }
    if (!n) return bad(fmt::format("-where: {} needs {}, not '{}'", spec.name, type_name(spec.type), literal));
    node.number = *n;
    return add(std::move(node));
  }
};

Result<Where> Where::parse(std::string_view text, std::span<const ColumnSpec> columns) {
  Where where;
  Parser parser{text, columns, where};
  parser.next();
  where.root_ = parser.disjunction();
  if (!parser.error && parser.token.kind != Token::Kind::end) {
    parser.bad(fmt::format("-where: 'and' or 'or' is expected at: {}", text.substr(parser.token.at)));
  }
  if (parser.error) return *parser.error;
  return where;
}

bool Where::uses(int column) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.column == column && !n.frames; });
}

bool Where::uses_frames() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.frames; });
}

Tri Where::eval(int index, RowView& row) const {
  const Node& node = nodes_[static_cast<std::size_t>(index)];
  auto yes = [](bool b) { return b ? Tri::yes : Tri::no; };
  switch (node.op) {
    case Op::and_: {
      Tri a = eval(node.left, row);
      if (a == Tri::no) return Tri::no;
      Tri b = eval(node.right, row);
      return b == Tri::no ? Tri::no : a == Tri::yes ? b : Tri::unknown;
    }
    case Op::or_: {
      Tri a = eval(node.left, row);
      if (a == Tri::yes) return Tri::yes;
      Tri b = eval(node.right, row);
      return b == Tri::yes ? Tri::yes : a == Tri::no ? b : Tri::unknown;
    }
    case Op::not_: {
      Tri a = eval(node.left, row);
      return a == Tri::unknown ? Tri::unknown : yes(a == Tri::no);
    }
    case Op::match:
    case Op::no_match: {
      Tri found = Tri::unknown;
      if (node.frames) {
        found = row.frames_match(node.column, node.pattern);
      } else if (Value v = row.value(node.column); v.known) {
        found = yes(node.pattern.matches(v.text));
      }
      if (found == Tri::unknown) return found;
      return yes((found == Tri::yes) == (node.op == Op::match));
    }
    default:
      break;
  }
  Value v = row.value(node.column);
  if (!v.known) return Tri::unknown;
  if (node.op == Op::flag) return yes(v.n != 0);
  Value literal{true, node.number, node.text};
  int order = compare(v, literal, node.type);
  switch (node.op) {
    case Op::eq:
      return yes(order == 0);
    case Op::ne:
      return yes(order != 0);
    case Op::lt:
      return yes(order < 0);
    case Op::le:
      return yes(order <= 0);
    case Op::gt:
      return yes(order > 0);
    case Op::ge:
      return yes(order >= 0);
    default:
      return Tri::unknown;
  }
}

}  // namespace vitrine::inspect
