// program_names.cc: turns the demangler's full signatures into qualified names.
//
// The text is read once, left to right, outside of brackets:
//   * template arguments `<…>` are kept as they are; `operator<`, `operator->`, `operator()` and their kin are not
//   brackets;
//   * a parameter list `(…)` is dropped, with the qualifiers after it; if `::` follows (something local to a function),
//     the name goes on, else it is complete;
//   * `(anonymous namespace)` is kept; `{lambda(int)#1}` becomes `{lambda#1}`, and the operator() behind it is dropped,
//     since that is the only thing that a lambda is called by;
//   * a space ends a return type (or "vtable for", "non-virtual thunk to"), unless it belongs to a conversion operator.
#include "program_names.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>

namespace vitrine::inspect {
namespace {

// The index just past the bracket that closes s[at].
std::size_t past_bracket(std::string_view s, std::size_t at) {
  int round = 0, angle = 0, curly = 0, square = 0;
  for (std::size_t i = at; i < s.size(); i++) {
    switch (s[i]) {
      case '(':
        round++;
        break;
      case ')':
        round--;
        break;
      case '{':
        curly++;
        break;
      case '}':
        curly--;
        break;
      case '[':
        square++;
        break;
      case ']':
        square--;
        break;
      case '<':
        if (round == 0 || s[at] != '<') angle++;
        break;
      case '>':
        if (i > 0 && s[i - 1] == '-') break;  // ->
        if (round == 0 || s[at] != '<') angle--;
        break;
      default:
        break;
    }
    const bool closed = s[at] == '<'   ? angle <= 0 && round <= 0
                        : s[at] == '(' ? round <= 0
                        : s[at] == '{' ? curly <= 0
                                       : square <= 0;
    if (closed) return i + 1;
  }
  return s.size();
}

bool ends_with_word(const std::string& s, std::string_view word) {
  if (!s.ends_with(word)) return false;
  if (s.size() == word.size()) return true;
  const char before = s[s.size() - word.size() - 1];
  return before == ':' || before == ' ';
}

void erase_all(std::string& s, std::string_view what, std::size_t keep) {
  for (std::size_t at = 0; (at = s.find(what, at)) != std::string::npos;) s.erase(at + keep, what.size() - keep);
}

}  // namespace

std::string simplify_demangled(std::string_view s) {
  std::string out;
  std::size_t i = 0;
  bool conversion = false;  // inside "operator some type"
  while (i < s.size()) {
    const char c = s[i];
    if (ends_with_word(out, "operator")) {
      if (s.substr(i).starts_with("()")) {
        out += "()";
        i += 2;
        continue;
      }
      if (std::strchr("<>-=!+*/%^&|~,[", c)) {
        const std::size_t end = s.find('(', i);
        std::string_view symbol = s.substr(i, end == std::string_view::npos ? s.npos : end - i);
        // "operator<< <char>": the symbol ends at a space or where its template arguments begin.
        std::size_t n = 0;
        while (n < symbol.size() && std::strchr("<>-=!+*/%^&|~,[]", symbol[n])) n++;
        if (n > 1 && symbol[n - 1] == '<' && n < symbol.size() && symbol[n] != ' ' &&
            (symbol.substr(0, n) != "<<" && symbol.substr(0, n) != "<<="))
          n--;
        out += symbol.substr(0, n);
        i += n;
        if (i < s.size() && s[i] == ' ' && i + 1 < s.size() && s[i + 1] == '<') i++;
        if (i < s.size() && s[i] == '<') {
          const std::size_t past = past_bracket(s, i);
          out += s.substr(i, past - i);
          i = past;
        }
        continue;
      }
      if (c == ' ') {  // "operator bool", "operator new[]"
        conversion = true;
        out += c;
        i++;
        continue;
      }
    }
    if (c == '<') {
      const std::size_t past = past_bracket(s, i);
      out += s.substr(i, past - i);
      i = past;
    } else if (c == '{') {
      const std::size_t past = past_bracket(s, i);
      std::string_view part = s.substr(i, past - i);
      if (const auto open = part.find('('); part.starts_with("{lambda") && open != part.npos) {
        const std::size_t close = past_bracket(part, open);
        out += part.substr(0, open);
        out += part.substr(close);
      } else {
        out += part;
      }
      i = past;
    } else if (c == '(') {
      const std::size_t past = past_bracket(s, i);
      const std::string_view part = s.substr(i, past - i);
      i = past;
      if (part == "(anonymous namespace)") {
        out += part;
        continue;
      }
      if (ends_with_word(out, "decltype") || ends_with_word(out, "decltype ")) continue;  // part of a return type
      if (out.empty()) {  // "(anonymous …" was handled: nothing that we know starts so
        out += part;
        continue;
      }
      // What follows: qualifiers, then :: or the end (or a clone's tag).
      std::size_t next = i;
      for (bool more = true; more;) {
        more = false;
        for (std::string_view q : {" const", " volatile", " &&", " &", "&&", "&", " noexcept"})
          if (s.substr(next).starts_with(q)) {
            next += q.size();
            more = true;
            break;
          }
      }
      if (!s.substr(next).starts_with("::")) break;
      i = next;
      conversion = false;
    } else if (c == '[') {  // [abi:cxx11], [clone .cold]; but "operator new[]"
      const std::size_t past = past_bracket(s, i);
      if (conversion) out += s.substr(i, past - i);
      i = past;
    } else if (c == ' ' && !conversion) {
      if (s.substr(i).starts_with(" [clone")) break;
      if (ends_with_word(out, "decltype")) {
        out += c;
      } else {
        out.clear();  // that was a return type
      }
      i++;
    } else {
      out += c;
      i++;
    }
  }
  erase_all(out, "}::operator()", 1);
  for (std::string_view thunk : {"}::_FUN", "}::__invoke"})
    if (out.ends_with(thunk)) out.resize(out.size() - thunk.size() + 1);
  return out;
}

std::string readable_symbol(const char* symbol) {
  if (!symbol) return "";
  if (std::strncmp(symbol, "_Z", 2) != 0) return symbol;
  if (const char* at = std::strrchr(symbol, '@'); at && std::strcmp(at, "@plt") == 0)
    return readable_symbol(std::string(symbol, at).c_str()) + at;
  int status = 0;
  char* text = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
  std::string name = status == 0 && text ? simplify_demangled(text) : symbol;
  std::free(text);
  return name.empty() ? symbol : name;
}

// By their marks: any other point may be of the language ("main.f.func1").
bool made_of(std::string_view symbol, std::string_view function) {
  if (function.empty() || !symbol.starts_with(function)) return false;
  symbol.remove_prefix(function.size());
  if (!symbol.starts_with('.')) return false;
  const std::string_view mark = symbol.substr(1, symbol.find('.', 1) - 1);
  for (std::string_view known : {"cold", "part", "isra", "constprop", "lto_priv", "localalias", "llvm", "__uniq"})
    if (mark == known) return true;
  return false;
}

}  // namespace vitrine::inspect
