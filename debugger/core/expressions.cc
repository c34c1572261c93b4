// expressions.cc: see expressions.h.
#include "expressions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "layout.h"
#include "words.h"

namespace vitrine::inspect {

// An identifier or a closing bracket right before "(" would be a call; "=" other than a comparison an assignment.
bool could_act(std::string_view e) {
  char before = 0;  // the last character that is no blank
  for (std::size_t i = 0; i < e.size(); ++i) {
    char c = e[i], next = i + 1 < e.size() ? e[i + 1] : '\0';
    if ((c == '+' || c == '-') && next == c) return true;
    if (c == '=' && next == '=') {
      ++i;
      before = '=';
      continue;
    }
    if (c == '=' && (i == 0 || std::string_view("<>!").find(e[i - 1]) == std::string_view::npos)) return true;
    if (c == '=' && i >= 2 && e[i - 1] == e[i - 2]) return true;  // <<= and >>=
    bool callable = std::isalnum(static_cast<unsigned char>(before)) || before == '_' || before == ')' ||
                    before == ']' || before == '>';
    bool anonymous = c == '(' && e.substr(i).starts_with("(anonymous namespace)");
    if (c == '(' && callable && !anonymous) return true;
    if (c != ' ') before = c;
  }
  return false;
}

Error acts(std::string_view expression) {
  return Error{fmt::format("'{}' could call a function or assign: nothing that acts is evaluated", expression), {}};
}

Error names_nothing(Session& session, std::string_view expression) {
  return Error{
      fmt::format("'{}' is neither an address nor {}", expression,
                  session.eval_hook ? "an expression that the debugger can evaluate here, nor a global variable"
                                    : "the name of a global variable"),
      {}};
}

Result<std::optional<Variable>> global_named(Session& session, std::string_view name) {
  auto found = session.program().variable(name);
  if (found.empty()) found = session.program().variable("(anonymous namespace)::" + std::string(name));
  if (found.size() > 1) {
    std::string all;
    for (const Variable& v : found) all += fmt::format("{}{:#x}", all.empty() ? "" : ", ", v.address);
    return Error{fmt::format("'{}' is the name of several variables, at {}: give an address", name, all), {}};
  }
  if (!found.empty()) return std::optional(found[0]);
  const auto dot = name.rfind('.');
  if (dot == name.npos || dot == 0) return std::optional<Variable>();
  auto whole = global_named(session, name.substr(0, dot));
  if (!whole || !*whole) return whole;
  Variable v = **whole;
  if (v.type && v.type->kind == Type::Kind::pointer) {
    auto to = session.memory().get<std::uint64_t>(v.address);
    if (!to) return to.error();
    v = {*to, v.type->element};
    if (!v.address) return Error{fmt::format("'{}' is a null pointer", name.substr(0, dot)), {}};
  }
  const Field* field = v.type ? v.type->field(name.substr(dot + 1)) : nullptr;
  if (!field) return std::optional<Variable>();
  return std::optional(Variable{v.address + field->offset, field->type});
}

std::optional<Session::Evaluated> evaluated(Session& session, std::string_view expression) {
  if (!session.eval_hook) return std::nullopt;
  if (auto value = session.eval_hook(std::string(expression))) return value;
  // The first name in it, if it is that of a variable.
  auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  const auto begin = std::find_if(expression.begin(), expression.end(), letter);
  const auto end = std::find_if_not(begin, expression.end(), letter);
  auto layout = session.layout();
  if (begin == end || !layout) return std::nullopt;
  const std::string moved = (*layout)->dialect().moved_variable(std::string_view(begin, end));
  if (moved.empty()) return std::nullopt;
  return session.eval_hook(fmt::format("{}(*'{}'){}", std::string_view(expression.begin(), begin), moved,
                                       std::string_view(end, expression.end())));
}

namespace {

// A collected pointer (gc::ptr, gc::root) is a pointer to the user, though a class to the debugger.
Result<Session::Evaluated> follow(Session& session, Session::Evaluated at) {
  auto layout = session.layout();
  auto target = layout ? (*layout)->dialect().collected_pointer(at.type) : std::nullopt;
  if (!target) return at;
  auto to = session.memory().get<std::uint64_t>(at.value);
  if (!to) return to.error();
  return Session::Evaluated{*to, std::string(*target)};
}

}  // namespace

Result<Session::Evaluated> address_of(Session& session, std::string_view expression) {
  if (auto number = parse_number(expression)) return Session::Evaluated{*number, {}};
  if (could_act(expression)) return acts(expression);
  if (auto value = evaluated(session, expression)) {
    std::string& type = value->type;
    if (!type.ends_with('*')) return follow(session, *value);
    type.pop_back();
    while (type.ends_with(' ')) type.pop_back();
    return *value;
  }
  const bool address = expression.starts_with('&');
  std::string_view name = expression.substr(address ? 1 : 0);
  auto found = global_named(session, name);
  if (!found) return found.error();
  if (*found) {
    const Type* type = (*found)->type;
    if (address || !type || type->kind != Type::Kind::pointer) {
      Session::Evaluated at{(*found)->address, type ? type->name : std::string()};
      return address ? at : follow(session, at);
    }
    auto to = session.memory().get<std::uint64_t>((*found)->address);
    if (!to) return to.error();
    return Session::Evaluated{*to, type->element ? type->element->name : std::string()};
  }
  if (std::uint64_t at = session.program().symbol(name)) return Session::Evaluated{at, {}};
  return names_nothing(session, expression);
}

}  // namespace vitrine::inspect
