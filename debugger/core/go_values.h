// go_values.h: what Go's DWARF describes and no C++ program has: maps, by the structures that the linker makes up for
// them, and the labels of a goroutine, which are a map or a list. Both are known by their fields.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "program.h"
#include "target.h"

namespace vitrine::inspect {

struct MapEntry {
  const Type* key;
  const Type* value;
  std::uint64_t key_at, value_at;
};

// True for the structure that a variable of a map's type points to.
bool is_go_map(const Type& type);
// How many entries it says it has.
Result<std::uint64_t> go_map_count(Memory& memory, const Type& map, std::uint64_t addr);
// Its entries in the order of memory, until `entry` returns false. An error names what could not be read; what came
// before it stands.
Status walk_go_map(Memory& memory, const Type& map, std::uint64_t addr,
                   const std::function<bool(const MapEntry&)>& entry);

using Labels = std::vector<std::pair<std::string, std::string>>;
// What lies at `addr`, of a type that is a list of pairs of strings, or a map of them.
Result<Labels> read_go_labels(Memory& memory, const Type& type, std::uint64_t addr);

}  // namespace vitrine::inspect
