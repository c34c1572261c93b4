// values.h: values of the target's program as text — what lies in a channel's buffer, what a sender holds. A type is
// known by its name as the compiler spells it (the runtime records that) or from DWARF: numbers, bool, characters,
// enumerations, pointers, C strings and std::string, and structures of these. Anything else is shown as bytes, and says
// so.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "program.h"
#include "target.h"

namespace vitrine::inspect {

class Values {
 public:
  // The type whose description by Go's runtime lies at an address: its name, "" if that is not known, and DWARF's type.
  struct Described {
    std::string name;
    const Type* type = nullptr;
  };
  using RuntimeType = std::function<Described(std::uint64_t)>;
  Values(Program& program, Memory& memory, RuntimeType runtime_type = {})
      : program_(program), memory_(memory), runtime_type_(std::move(runtime_type)) {}
  // Never empty. Unreadable memory: "<unreadable 0x…>", and `bad` is set.
  std::string text(std::uint64_t addr, std::string_view type, std::uint64_t size, bool& bad);
  std::string text(std::uint64_t addr, const Type& type, bool& bad);
  std::string of_register(std::uint64_t word, const Type& type, bool& bad);

 private:
  enum class Known : std::uint8_t {
    no,
    integer,
    unsigned_integer,
    boolean,
    character,
    floating,
    pointer,
    c_string,
    string,
    view
  };
  static Known known(std::string_view type, std::uint64_t& size);
  std::string simple(Known known, std::uint64_t addr, std::uint64_t size, bool& bad);
  std::string of_type(const Type& type, std::uint64_t addr, int depth, bool& bad);
  std::string pointee(const Type& to, std::uint64_t addr, int depth, bool& bad);  // "": of no size, or not there
  std::string go_word(const Type& type, std::uint64_t word, int depth, bool& bad);
  template <class T>
  std::string complex(std::uint64_t addr, bool& bad);
  bool is_text(std::uint64_t addr, std::uint64_t len);  // all of it that is shown
  std::string go_interface(const Type& type, std::uint64_t addr, int depth, bool& bad);
  std::string go_map(const Type& map, std::uint64_t addr, int depth, bool& bad);
  std::string quoted(std::uint64_t addr, std::uint64_t len, bool& bad);
  std::string bytes(std::uint64_t addr, std::uint64_t size, bool& bad);

  Program& program_;
  Memory& memory_;
  RuntimeType runtime_type_;
};

}  // namespace vitrine::inspect
