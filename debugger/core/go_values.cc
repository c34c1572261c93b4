// go_values.cc: see go_values.h.
//
// Two kinds of map have been in Go:
//   * Buckets (before 1.24): an array of 2^B buckets of eight, each with a byte of hash for every slot, keys, values and
//     a pointer to a further bucket. While a map grows there are old buckets too; a slot that was moved says so in its
//     byte, so that those that say "in use" in either array are all entries, each once.
//   * Tables (since 1.24): a directory of pointers to tables, one of them several times in a row; each table has groups
//     of eight slots behind a word of control bytes, whose high bit says "not in use". A small map is one group.
// Of keys and values of more than 128 bytes either kind has pointers, which the name of the map's type,
// "map<string,main.large>", does not tell.
// A map that a thread is changing shows what is there. Every loop is bounded by what the structures say and by kMost.
#include "go_values.h"

#include <algorithm>

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMost = 1 << 20;  // buckets or groups that are looked at
constexpr std::uint8_t kInUse = 5;        // the least byte of hash of a slot of a bucket
constexpr std::uint64_t kSlots = 8;
constexpr std::size_t kMostLabels = 64;
constexpr std::uint64_t kLongest = 256;  // of a label

Result<std::uint64_t> number(Memory& memory, const Type& type, std::uint64_t addr, std::string_view name) {
  const Field* f = type.field(name);
  if (!f || !f->type || f->type->size == 0 || f->type->size > 8)
    return Error{"there is no field " + std::string(name) + " in " + type.name, {}};
  std::uint64_t v = 0;
  auto read = memory.read(addr + f->offset, std::as_writable_bytes(std::span(&v, 1)).first(f->type->size));
  if (!read) return read.error();
  return v;
}

const Type* target_of(const Type& type, std::string_view name) {
  const Field* f = type.field(name);
  return f && f->type && f->type->kind == Type::Kind::pointer ? f->type->element : nullptr;
}

const Field* array_of(const Type& type, std::string_view name) {
  const Field* f = type.field(name);
  return f && f->type && f->type->kind == Type::Kind::array && f->type->element && f->type->count == kSlots ? f
                                                                                                            : nullptr;
}

class Walk {
 public:
  Walk(Memory& memory, const std::string& name, const std::function<bool(const MapEntry&)>& entry)
      : memory_(memory), name_(name), entry_(entry) {}

  Status buckets(const Type& map, std::uint64_t addr) {
    const Type* bucket = target_of(map, "buckets");
    auto log = number(memory_, map, addr, "B");
    auto now = number(memory_, map, addr, "buckets");
    auto old = number(memory_, map, addr, "oldbuckets");
    auto flags = number(memory_, map, addr, "flags");
    for (auto* v : {&log, &now, &old, &flags})
      if (!*v) return v->error();
    if (!bucket || *log > 40) return unknown(map);
    const std::uint64_t count = std::uint64_t{1} << *log;
    const bool same_size = *flags & 8;
    if (auto ok = *now ? array(*bucket, *now, count) : Status(Ok{}); !ok) return ok;
    return *old ? array(*bucket, *old, same_size ? count : std::max<std::uint64_t>(count / 2, 1)) : Status(Ok{});
  }

  Status tables(const Type& map, std::uint64_t addr) {
    const Type* table = target_of(map, "dirPtr");
    if (table && table->kind == Type::Kind::pointer) table = table->element;
    const Field* groups = table ? table->field("groups") : nullptr;
    const Type* group = groups && groups->type ? target_of(*groups->type, "data") : nullptr;
    if (!group || !array_of(*group, "slots") || !group->field("ctrl")) return unknown(map);
    auto length = number(memory_, map, addr, "dirLen");
    auto at = number(memory_, map, addr, "dirPtr");
    if (!length) return length.error();
    if (!at) return at.error();
    if (!*at) return Ok{};
    if (*length == 0) return one_group(*group, *at);
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < *length && !ended_; ++i) {
      auto one = memory_.get<std::uint64_t>(*at + 8 * i);
      if (!one) return one.error();
      if (*one == last) continue;
      last = *one;
      const std::uint64_t reference = *one + groups->offset;
      auto data = number(memory_, *groups->type, reference, "data");
      auto mask = number(memory_, *groups->type, reference, "lengthMask");
      if (!data) return data.error();
      if (!mask) return mask.error();
      for (std::uint64_t n = 0; n <= *mask && !ended_; ++n) {
        if (auto ok = one_group(*group, *data + n * group->size); !ok) return ok;
      }
    }
    return Ok{};
  }

 private:
  void offer(MapEntry e) {
    auto follow = [&](const Type*& type, std::uint64_t& at) {
      auto to = memory_.get<std::uint64_t>(at);
      if (!to) return;  // whoever reads it there meets the same
      type = type->element;
      at = *to;
    };
    auto large = [](const Type* type) {
      return type && type->kind == Type::Kind::pointer && type->element && type->name == "*" + type->element->name;
    };
    if (large(e.key) && name_.find("<" + e.key->element->name + ",") != name_.npos) follow(e.key, e.key_at);
    if (large(e.value) && name_.ends_with("," + e.value->element->name + ">")) follow(e.value, e.value_at);
    ended_ = !entry_(e);
  }
  static Error unknown(const Type& map) { return Error{"a map of an unknown kind: " + map.name, {}}; }
  bool looked() {
    ended_ = ended_ || ++steps_ > kMost;
    return !ended_;
  }

  Status array(const Type& bucket, std::uint64_t at, std::uint64_t count) {
    const Field* hashes = array_of(bucket, "tophash");
    const Field* keys = array_of(bucket, "keys");
    const Field* values = array_of(bucket, "values");
    const Field* further = bucket.field("overflow");
    if (!hashes || !keys || !values || !further) return unknown(bucket);
    for (std::uint64_t i = 0; i < count && !ended_; ++i) {
      for (std::uint64_t here = at + i * bucket.size; here && looked();) {
        std::uint8_t used[kSlots];
        if (auto ok = memory_.read(here + hashes->offset, std::as_writable_bytes(std::span(used))); !ok) return ok;
        for (std::uint64_t n = 0; n < kSlots && !ended_; ++n) {
          if (used[n] < kInUse) continue;
          const Type *key = keys->type->element, *value = values->type->element;
          offer({key, value, here + keys->offset + n * key->size, here + values->offset + n * value->size});
        }
        auto next = memory_.get<std::uint64_t>(here + further->offset);
        if (!next) return next.error();
        here = *next;
      }
    }
    return Ok{};
  }

  Status one_group(const Type& group, std::uint64_t at) {
    if (!looked()) return Ok{};
    const Field* slots = array_of(group, "slots");
    const Type& slot = *slots->type->element;
    const Field *key = slot.field("key"), *value = slot.field("elem");
    if (!key || !value || !key->type || !value->type) return unknown(group);
    auto control = memory_.get<std::uint64_t>(at + group.field("ctrl")->offset);
    if (!control) return control.error();
    for (std::uint64_t n = 0; n < kSlots && !ended_; ++n) {
      if (*control >> (8 * n + 7) & 1) continue;
      const std::uint64_t here = at + slots->offset + n * slot.size;
      offer({key->type, value->type, here + key->offset, here + value->offset});
    }
    return Ok{};
  }

  Memory& memory_;
  const std::string& name_;  // of the map's type
  const std::function<bool(const MapEntry&)>& entry_;
  std::uint64_t steps_ = 0;
  bool ended_ = false;
};

bool has_buckets(const Type& type) { return type.field("buckets") && type.field("oldbuckets") && type.field("B"); }
bool has_tables(const Type& type) { return type.field("dirPtr") && type.field("dirLen") && type.field("used"); }

Result<std::string> go_string(Memory& memory, std::uint64_t addr) {
  std::uint64_t words[2];
  if (auto ok = memory.read(addr, std::as_writable_bytes(std::span(words))); !ok) return ok.error();
  std::string text(std::min(words[1], kLongest), 0);
  if (auto ok = memory.read(words[0], std::as_writable_bytes(std::span(text))); !ok && !text.empty()) return ok.error();
  return words[1] > kLongest ? text + "…" : text;
}

}  // namespace

bool is_go_map(const Type& type) {
  return type.kind == Type::Kind::structure && (has_buckets(type) || has_tables(type));
}

Result<std::uint64_t> go_map_count(Memory& memory, const Type& map, std::uint64_t addr) {
  return number(memory, map, addr, has_buckets(map) ? "count" : "used");
}

Status walk_go_map(Memory& memory, const Type& map, std::uint64_t addr,
                   const std::function<bool(const MapEntry&)>& entry) {
  Walk walk(memory, map.name, entry);
  return has_buckets(map) ? walk.buckets(map, addr) : walk.tables(map, addr);
}

Result<Labels> read_go_labels(Memory& memory, const Type& type, std::uint64_t addr) {
  Labels out;
  std::optional<Error> wrong;
  auto add = [&](std::uint64_t key_at, std::uint64_t value_at) {
    auto key = go_string(memory, key_at);
    auto value = key ? go_string(memory, value_at) : key;
    if (!value) wrong = value.error();
    if (value) out.emplace_back(*key, *value);
    return !wrong && out.size() < kMostLabels;
  };
  const Type* list = &type;
  while (list->kind == Type::Kind::structure && list->fields.size() == 1 && list->fields[0].type)
    list = list->fields[0].type;
  const Field* array = list->kind == Type::Kind::structure ? list->field("array") : nullptr;
  const Type* pair = array && array->type ? array->type->element : nullptr;
  if (list->kind == Type::Kind::pointer && list->element && is_go_map(*list->element)) {
    auto map = memory.get<std::uint64_t>(addr);
    if (!map) return map.error();
    if (*map) {
      auto ok = walk_go_map(memory, *list->element, *map, [&](const MapEntry& e) { return add(e.key_at, e.value_at); });
      if (!ok) return ok.error();
    }
    std::sort(out.begin(), out.end());
  } else if (pair && pair->fields.size() == 2) {
    auto first = number(memory, *list, addr, "array"), count = number(memory, *list, addr, "len");
    if (!first) return first.error();
    if (!count) return count.error();
    for (std::uint64_t i = 0; i < *count; ++i) {
      const std::uint64_t at = *first + i * pair->size;
      if (!add(at + pair->fields[0].offset, at + pair->fields[1].offset)) break;
    }
  } else {
    return Error{"labels of an unknown kind: " + type.name, {}};
  }
  if (wrong) return *wrong;
  return out;
}

}  // namespace vitrine::inspect
