// values.cc: see values.h. Texts are cut after as many characters as is set (settings.h), bytes after kMaxBytes, with "…" and the full
// size. std::string is libstdc++'s {pointer, length, …} and std::string_view its {length, pointer}; a length that is
// not believable makes it bytes.
#include "values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "go_values.h"
#include "render.h"
#include "settings.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMostText = 1 << 20, kMaxBytes = 16;  // whatever is set
constexpr std::size_t kMaxFields = 8;
constexpr int kMaxDepth = 3;

std::uint64_t max_text() { return std::min<std::uint64_t>(settings().string_limit, kMostText); }

std::string unreadable(std::uint64_t addr, bool& bad) {
  bad = true;
  return fmt::format("<unreadable {:#x}>", addr);
}

bool is_string(std::string_view type) {
  for (std::string_view s :
       {"std::string", "std::basic_string<char>", "std::__cxx11::basic_string<char>", "std::__cxx11::string"}) {
    if (type == s) return true;
  }
  return type.starts_with("std::__cxx11::basic_string<char, std::char_traits<char>") ||
         type.starts_with("std::basic_string<char, std::char_traits<char>");
}
// Go's, as its DWARF has them: structures of plain names.
bool is_go_string(const Type& type) {
  return type.size == 16 && type.fields.size() == 2 && type.fields[0].name == "str" && type.fields[1].name == "len";
}
bool is_go_slice(const Type& type) {
  return type.size == 24 && type.fields.size() == 3 && type.fields[0].name == "array" && type.fields[1].name == "len" &&
         type.fields[2].name == "cap";
}
// One without methods has the type itself, one with methods a table that has it.
bool is_go_interface(const Type& type) {
  return (type.name == "runtime.eface" || type.name == "runtime.iface") && type.size == 16 && type.fields.size() == 2 &&
         type.fields[0].type && type.fields[1].name == "data";
}
bool is_go_function(const Type& type) {
  return type.kind == Type::Kind::other && type.size == 8 && type.name.starts_with("func(");
}
// Kept in an interface as it is; all else lies behind a pointer.
bool pointer_shaped(const Type& type) {
  if (type.kind == Type::Kind::array) return type.count == 1 && type.element && pointer_shaped(*type.element);
  if (type.kind != Type::Kind::structure) return type.kind == Type::Kind::pointer || type.kind == Type::Kind::other;
  return type.size == 8 && std::any_of(type.fields.begin(), type.fields.end(), [](const Field& f) {
           return !f.type || (f.type->size == 8 && pointer_shaped(*f.type));
         });
}
// The runtime has only the last part of a package's path, so that others may share the name.
bool unambiguous(std::string_view name) { return name.find('.') == name.npos || name.starts_with("main."); }
bool is_view(std::string_view type) {
  return type == "std::string_view" || type == "std::basic_string_view<char>" ||
         type.starts_with("std::basic_string_view<char, std::char_traits<char>");
}

}  // namespace

Values::Known Values::known(std::string_view type, std::uint64_t& size) {
  struct Row {
    std::string_view name;
    Known known;
    std::uint64_t size;
  };
  static constexpr Row kRows[] = {
      {"bool", Known::boolean, 1},
      {"char", Known::character, 1},
      {"signed char", Known::integer, 1},
      {"unsigned char", Known::unsigned_integer, 1},
      {"short", Known::integer, 2},
      {"short int", Known::integer, 2},
      {"unsigned short", Known::unsigned_integer, 2},
      {"short unsigned int", Known::unsigned_integer, 2},
      {"int", Known::integer, 4},
      {"unsigned int", Known::unsigned_integer, 4},
      {"unsigned", Known::unsigned_integer, 4},
      {"long", Known::integer, 8},
      {"long int", Known::integer, 8},
      {"unsigned long", Known::unsigned_integer, 8},
      {"long unsigned int", Known::unsigned_integer, 8},
      {"long long", Known::integer, 8},
      {"long long int", Known::integer, 8},
      {"unsigned long long", Known::unsigned_integer, 8},
      {"long long unsigned int", Known::unsigned_integer, 8},
      {"float", Known::floating, 4},
      {"double", Known::floating, 8},
  };
  for (const Row& row : kRows) {
    if (row.name != type) continue;
    size = row.size;
    return row.known;
  }
  if (is_string(type)) {
    size = 32;
    return Known::string;
  }
  if (is_view(type)) {
    size = 16;
    return Known::view;
  }
  if (type.ends_with('*')) {
    size = 8;
    std::string_view to = type.substr(0, type.size() - 1);
    while (to.ends_with(' ')) to.remove_suffix(1);
    return to == "char" || to == "const char" ? Known::c_string : Known::pointer;
  }
  return Known::no;
}

std::string Values::quoted(std::uint64_t addr, std::uint64_t len, bool& bad) {
  std::string text(std::min(len, max_text()), '\0');
  if (!text.empty() && !memory_.read(addr, std::as_writable_bytes(std::span(text)))) return unreadable(addr, bad);
  std::string escaped;
  for (char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return fmt::format("\"{}\"{}", printable(escaped), len > text.size() ? fmt::format("… ({} characters)", len) : "");
}

std::string Values::bytes(std::uint64_t addr, std::uint64_t size, bool& bad) {
  if (!size) return "{}";  // a structure without members, an array without elements
  std::vector<std::byte> some(std::min(size, kMaxBytes));
  std::size_t got = memory_.read_prefix(addr, some);
  if (got == 0 && !some.empty()) return unreadable(addr, bad);
  std::string out = fmt::format("<{}:", plural(size, "byte"));
  for (std::size_t i = 0; i < got; ++i) out += fmt::format(" {:02x}", static_cast<unsigned>(some[i]));
  return out + (got < size ? " …>" : ">");
}

std::string Values::simple(Known known, std::uint64_t addr, std::uint64_t size, bool& bad) {
  std::uint64_t words[2] = {};
  if (!memory_.read(addr, std::as_writable_bytes(std::span(words)).first(std::min<std::size_t>(size, 16)))) {
    return unreadable(addr, bad);
  }
  std::uint64_t v = words[0];
  switch (known) {
    case Known::integer: {
      unsigned shift = static_cast<unsigned>(64 - 8 * std::min<std::uint64_t>(size, 8));
      return std::to_string(static_cast<std::int64_t>(v << shift) >> shift);
    }
    case Known::unsigned_integer:
      return std::to_string(v);
    case Known::boolean:
      return v == 0 ? "false" : v == 1 ? "true" : fmt::format("{} (no bool)", v);
    case Known::character:
      return v >= 0x20 && v < 0x7f ? fmt::format("{} '{}'", v, static_cast<char>(v)) : std::to_string(v);
    case Known::floating: {
      float f;
      double d;
      std::memcpy(&f, words, sizeof f);
      std::memcpy(&d, words, sizeof d);
      return size == 4 ? fmt::format("{}", f) : fmt::format("{}", d);
    }
    case Known::pointer:
      return v ? fmt::format("{:#x}", v) : "null";
    case Known::c_string: {
      if (!v) return "null";
      auto text = memory_.c_string(v, max_text() + 1);
      if (!text) return fmt::format("{:#x} {}", v, unreadable(v, bad));
      return fmt::format("{:#x} \"{}\"{}", v, printable(text->substr(0, max_text())),
                         text->size() > max_text() ? "…" : "");
    }
    case Known::string:
      return words[1] < 1ull << 40 ? quoted(v, words[1], bad) : bytes(addr, size, bad);
    case Known::view:
      return v < 1ull << 40 ? quoted(words[1], v, bad) : bytes(addr, size, bad);
    case Known::no:
      break;
  }
  return bytes(addr, size, bad);
}

std::string Values::of_type(const Type& type, std::uint64_t addr, int depth, bool& bad) {
  std::uint64_t size = 0;
  if (Known k = known(type.name, size); k != Known::no && size == type.size) return simple(k, addr, size, bad);
  bool small = type.size == 1 || type.size == 2 || type.size == 4 || type.size == 8;
  switch (type.kind) {
    case Type::Kind::integer:
      if (small) return simple(Known::integer, addr, type.size, bad);
      break;
    case Type::Kind::unsigned_integer:
      if (small) return simple(Known::unsigned_integer, addr, type.size, bad);
      break;
    case Type::Kind::boolean:
      if (small) return simple(Known::boolean, addr, type.size, bad);
      break;
    case Type::Kind::floating:
      if (type.size == 4 || type.size == 8) return simple(Known::floating, addr, type.size, bad);
      break;
    case Type::Kind::pointer: {
      if (type.name.starts_with('*')) {
        auto word = memory_.get<std::uint64_t>(addr);
        return word ? go_word(type, *word, depth, bad) : unreadable(addr, bad);
      }
      bool text = type.element && type.element->name == "char";
      return simple(text ? Known::c_string : Known::pointer, addr, 8, bad);
    }
    case Type::Kind::enumeration: {
      if (!small) break;
      std::uint64_t v = 0;
      if (!memory_.read(addr, std::as_writable_bytes(std::span(&v, 1)).first(type.size))) return unreadable(addr, bad);
      for (const Enumerator& e : type.enumerators) {
        if ((static_cast<std::uint64_t>(e.value) ^ v) << (64 - 8 * type.size) == 0) {
          auto colons = e.name.rfind("::");
          return colons == e.name.npos ? e.name : e.name.substr(colons + 2);
        }
      }
      return std::to_string(v);
    }
    case Type::Kind::structure: {
      if (is_go_string(type)) {
        std::uint64_t words[2];
        if (!memory_.read(addr, std::as_writable_bytes(std::span(words)))) return unreadable(addr, bad);
        return words[1] < 1ull << 40 ? quoted(words[0], words[1], bad) : bytes(addr, type.size, bad);
      }
      if (is_go_interface(type)) return go_interface(type, addr, depth, bad);
      if (is_go_slice(type)) {
        std::uint64_t words[3];
        if (!memory_.read(addr, std::as_writable_bytes(std::span(words)))) return unreadable(addr, bad);
        const Type* element = type.fields[0].type ? type.fields[0].type->element : nullptr;
        std::string out = fmt::format("len {}, cap {}", words[1], words[2]);
        if (!words[0] && !words[1] && !words[2]) return "nil";
        if (element && element->name == "uint8" && words[1] <= words[2] && is_text(words[0], words[1]))
          return "{" + out + " " + quoted(words[0], words[1], bad) + "}";
        if (!element || !element->size || words[1] > words[2] || depth == 0) return "{" + out + "}";
        out += " [";
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(words[1], kMaxFields); ++i)
          out += (i ? ", " : "") + of_type(*element, words[0] + i * element->size, depth - 1, bad);
        return "{" + out + (words[1] > kMaxFields ? ", …]}" : "]}");
      }
      if (depth == 0 || type.fields.empty() || type.size == 0 || type.size > 4096) break;
      std::string out = "{";
      std::size_t n = 0;
      for (const Field& f : type.fields) {
        if (n == kMaxFields) {
          out += fmt::format(", … ({} more)", type.fields.size() - n);
          break;
        }
        if (!f.type) return bytes(addr, type.size, bad);
        out += fmt::format("{}{} = {}", n++ ? ", " : "", f.name, of_type(*f.type, addr + f.offset, depth - 1, bad));
      }
      return out + "}";
    }
    case Type::Kind::array: {
      const Type* element = type.element;
      if (depth == 0 || !element || element->size < 2 || type.count == 0) break;
      std::string out = "[";
      for (std::uint64_t i = 0; i < std::min<std::uint64_t>(type.count, kMaxFields); ++i)
        out += (i ? ", " : "") + of_type(*element, addr + i * element->size, depth - 1, bad);
      return out + (type.count > kMaxFields ? fmt::format(", … ({} more)]", type.count - kMaxFields) : "]");
    }
    case Type::Kind::other: {
      if (is_go_function(type)) {
        auto word = memory_.get<std::uint64_t>(addr);
        return word ? go_word(type, *word, depth, bad) : unreadable(addr, bad);
      }
      if (type.name == "complex128" && type.size == 16) return complex<double>(addr, bad);
      if (type.name == "complex64" && type.size == 8) return complex<float>(addr, bad);
      break;
    }
  }
  return bytes(addr, type.size, bad);
}

template <class T>
std::string Values::complex(std::uint64_t addr, bool& bad) {
  T parts[2];
  if (!memory_.read(addr, std::as_writable_bytes(std::span(parts)))) return unreadable(addr, bad);
  return fmt::format("({}{:+}i)", parts[0], parts[1]);
}

bool Values::is_text(std::uint64_t addr, std::uint64_t len) {
  std::string text(std::min(len, max_text()), '\0');
  return !text.empty() && memory_.read(addr, std::as_writable_bytes(std::span(text))) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\t'; });
}

// What one word holds: a pointer, a map, a channel, a function.
std::string Values::go_word(const Type& type, std::uint64_t word, int depth, bool& bad) {
  if (!word) return "nil";
  if (is_go_function(type)) {  // a closure, whose first word is the code
    auto code = memory_.get<std::uint64_t>(word);
    const std::string name = code ? program_.locate(*code).back().function : "";
    return name.empty() ? fmt::format("{:#x}", word) : name;
  }
  const Type* to = type.element;
  if (to && is_go_map(*to)) return go_map(*to, word, depth, bad);
  std::string out = fmt::format("{:#x}", word);
  if (!to) return out;
  if (to->name.starts_with("hchan<") && to->name.ends_with('>')) {
    const Field *count = to->field("qcount"), *size = to->field("dataqsiz");
    auto n = count ? memory_.get<std::uint64_t>(word + count->offset) : Result<std::uint64_t>(Error{"", {}});
    auto of = size ? memory_.get<std::uint64_t>(word + size->offset) : Result<std::uint64_t>(Error{"", {}});
    if (!n || !of) return out + " " + unreadable(word, bad);
    return fmt::format("{} (chan {}, {} of {} buffered)", out, to->name.substr(6, to->name.size() - 7), *n, *of);
  }
  // Of a variable, not of all that can be reached from it.
  return depth < kMaxDepth ? out : out + pointee(*to, word, depth - 1, bad);
}

std::string Values::pointee(const Type& to, std::uint64_t addr, int depth, bool& bad) {
  std::byte first;
  if (!to.size || !memory_.read(addr, std::span(&first, 1))) return {};  // not set yet, maybe
  return " → " + of_type(to, addr, depth, bad);
}

std::string Values::go_interface(const Type& type, std::uint64_t addr, int depth, bool& bad) {
  std::uint64_t words[2];
  if (!memory_.read(addr, std::as_writable_bytes(std::span(words)))) return unreadable(addr, bad);
  if (!words[0]) return "nil";
  std::uint64_t described = words[0];
  if (type.fields[0].name == "tab") {
    const Type* table = type.fields[0].type ? type.fields[0].type->element : nullptr;
    const Field* in = table ? table->field("Type") : nullptr;
    if (!in && table) in = table->field("_type");
    auto at = in ? memory_.get<std::uint64_t>(words[0] + in->offset) : Result<std::uint64_t>(0);
    if (!at) return unreadable(words[0] + in->offset, bad);
    described = *at;
  }
  const auto [name, type_of_it] = described && runtime_type_ ? runtime_type_(described) : Described{};
  if (name.empty()) return fmt::format("{{of the type at {:#x}, data = {:#x}}}", described, words[1]);
  if (name.starts_with('*')) {  // the pointer itself
    if (!words[1]) return fmt::format("({}) nil", name);
    const Type* to = type_of_it && type_of_it->kind == Type::Kind::pointer ? type_of_it->element : nullptr;
    return fmt::format("({}) {:#x}{}", name, words[1], to && depth > 1 ? pointee(*to, words[1], depth - 1, bad) : "");
  }
  if (name.starts_with("func(")) {
    Type function;
    function.name = name;
    function.size = 8;
    return fmt::format("({}) {}", name, go_word(function, words[1], 0, bad));
  }
  const Type* dynamic = !depth ? nullptr : type_of_it ? type_of_it : unambiguous(name) ? program_.type(name) : nullptr;
  if (dynamic && dynamic->kind == Type::Kind::pointer && dynamic->name.starts_with('*'))
    return fmt::format("({}) {}", name, go_word(*dynamic, words[1], depth - 1, bad));
  if (!dynamic || pointer_shaped(*dynamic)) return fmt::format("({}) {:#x}", name, words[1]);
  return fmt::format("({}) {}", name, of_type(*dynamic, words[1], depth - 1, bad));
}

std::string Values::go_map(const Type& map, std::uint64_t addr, int depth, bool& bad) {
  auto count = go_map_count(memory_, map, addr);
  if (!count) return unreadable(count.error().address.value_or(addr), bad);
  std::string out = fmt::format("{{len {}", *count);
  if (*count == 0 || depth == 0) return out + "}";
  std::size_t n = 0;
  auto ok = walk_go_map(memory_, map, addr, [&](const MapEntry& e) {
    if (n == kMaxFields) {
      out += ", …";
      return false;
    }
    out += n++ ? ", " : " [";
    out += of_type(*e.key, e.key_at, depth - 1, bad) + ": " + of_type(*e.value, e.value_at, depth - 1, bad);
    return true;
  });
  if (!ok) out += " " + (ok.error().address ? unreadable(*ok.error().address, bad) : "<" + ok.error().message + ">");
  return out + (n ? "]}" : "}");
}

std::string Values::text(std::uint64_t addr, const Type& type, bool& bad) {
  return of_type(type, addr, kMaxDepth, bad);
}

std::string Values::of_register(std::uint64_t word, const Type& type, bool& bad) {
  const unsigned shift = type.size && type.size < 8 ? static_cast<unsigned>(64 - 8 * type.size) : 0;
  if (type.kind == Type::Kind::integer) return std::to_string(static_cast<std::int64_t>(word << shift) >> shift);
  word = word << shift >> shift;
  if (type.kind == Type::Kind::unsigned_integer) return std::to_string(word);
  if (type.kind == Type::Kind::boolean && word < 2) return word ? "true" : "false";
  if (is_go_function(type) || (type.kind == Type::Kind::pointer && type.name.starts_with('*')))
    return go_word(type, word, kMaxDepth, bad);
  return fmt::format("{:#x}", word);
}

std::string Values::text(std::uint64_t addr, std::string_view type, std::uint64_t size, bool& bad) {
  std::uint64_t its_size = 0;
  if (Known k = known(type, its_size); k != Known::no && its_size == size) return simple(k, addr, size, bad);
  const Type* described = type.empty() ? nullptr : program_.type(type);
  if (described && described->size == size) return of_type(*described, addr, kMaxDepth, bad);
  return bytes(addr, size, bad);
}

}  // namespace vitrine::inspect
