// layout.cc: see layout.h. Finding a layout:
//   1. For each dialect: the type "g" by DWARF; if it is there, every row of the table is resolved in DWARF.
//   2. Else the note of the dialect's owner; rows are looked up in it by name ("g.sched.sp").
//   3. A required row that is absent is an error that names it; absent optional rows are remembered for `vitrine
//   doctor`.
#include "layout.h"

#include <fmt/format.h>

namespace vitrine::inspect {
namespace {

constexpr FieldSpec kFields[] = {
#define X(name, type, path, kind, need) {F::name, type, path, FieldKind::kind, Need::need},
    VITRINE_FIELD_TABLE(X)
#undef X
};
constexpr RootSpec kRoots[] = {
#define X(name, variable, need) {Root::name, variable, Need::need},
    VITRINE_ROOT_TABLE(X)
#undef X
};

constexpr std::string_view kTypes[] = {"g",
                                       "m",
                                       "p",
                                       "schedt",
                                       "string",
                                       "timer",
                                       "timerWhen",
                                       "pollDesc",
                                       "moduledata",
                                       "semaRoot",
                                       "spanInlineMarkBits",
                                       VITRINE_OBJECT_TYPES,
                                       VITRINE_HEAP_TYPES,
                                       VITRINE_GC_TYPES,
                                       VITRINE_RECORDER_TYPES};

// The one member that has a size; null: there are none or several.
const Field* only_member(const Type& type) {
  const Field* only = nullptr;
  for (const Field& f : type.fields) {
    if (f.type && f.type->size == 0) continue;  // Go's noCopy and align64
    if (only) return nullptr;
    only = &f;
  }
  return only;
}

// atomic<T>{value}, guintptr and the like: the one member is what is meant.
const Type* unwrap(const Type* type, std::uint64_t& offset) {
  for (int depth = 0; type && type->kind == Type::Kind::structure && depth < 8; ++depth) {
    const Field* only = only_member(*type);
    if (!only) break;
    offset += only->offset;
    type = only->type;
  }
  return type;
}

bool resolve(const Type* type, std::string_view path, FieldPlace& place) {
  std::uint64_t offset = 0;
  while (!path.empty()) {
    auto dot = path.find('.');
    if (!type) return false;
    const Field* field = type->field(path.substr(0, dot));
    if (!field) return false;
    offset += field->offset;
    type = field->type;
    path.remove_prefix(dot == path.npos ? path.size() : dot + 1);
  }
  type = unwrap(type, offset);
  place = {true, static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(type ? type->size : 0)};
  return place.size != 0;
}

// Calls f with each of "a|b|c" until it says true.
template <class Fn>
bool alternatives(std::string_view names, Fn f) {
  while (!names.empty()) {
    auto bar = names.find('|');
    if (f(names.substr(0, bar))) return true;
    names.remove_prefix(bar == names.npos ? names.size() : bar + 1);
  }
  return false;
}

}  // namespace

std::span<const FieldSpec> field_table() { return kFields; }
std::span<const RootSpec> root_table() { return kRoots; }

// The dialect whose mark the program bears, whether or not anything else is known of it.
static const Dialect* marked(Program& program) {
  for (const Dialect* dialect : dialects()) {
    auto [owner, type] = dialect->mark();
    if (!owner.empty() && !program.notes(owner, type).empty()) return dialect;
  }
  return nullptr;
}

Result<std::unique_ptr<Layout>> Layout::find(Program& program) {
  auto found = find_any(program);
  const Dialect* dialect = found ? &(*found)->dialect() : marked(program);
  if (found) (*found)->program_ = &program;
  if (dialect) {
    auto strings = [](std::span<const std::string_view> names) {
      return std::vector<std::string>(names.begin(), names.end());
    };
    program.set_special({strings(dialect->outermost()), strings(dialect->leaving()), strings(dialect->staying()),
                         strings(dialect->injected()), strings(dialect->borrowing())});
  }
  return found;
}

bool Layout::system_entry(std::uint64_t entry) {
  if (!program_ || !entry) return false;
  auto [it, fresh] = system_entries_.try_emplace(entry);
  if (fresh) it->second = dialect_->system_entry(program_->locate(entry).back().function);
  return it->second;
}

// Most are not, and their symbol tells: to ask for the name that DWARF has would read all of libc's (14 MB) for a thread
// that is in one of its functions.
bool Layout::resumes(std::uint64_t pc) {
  if (!program_) return false;
  if (const Program::Function f = program_->function_at(pc); f.start) {
    std::string_view name = f.name;
    if (name.ends_with(".abi0")) name.remove_suffix(5);
    if (!dialect_->resumes(name)) return false;
  }
  return dialect_->resumes(program_->locate(pc).back().function);
}

bool Layout::is_entry(std::uint64_t pc) {
  if (!program_ || !pc) return false;
  auto [it, fresh] = entries_.try_emplace(pc);
  if (!fresh) return it->second;
  it->second = program_->function_start(pc) == pc;
  // No call changes the CFA: behind an instruction that does, it is no return address either. Where a recovered
  // function of Go's goes on is of that kind.
  const CfiRow *at = program_->cfi(pc), *before = program_->cfi(pc - 1);
  if (at && before && at->cfa == CfiRow::Cfa::reg_offset && before->cfa == at->cfa)
    it->second = it->second || at->cfa_reg != before->cfa_reg || at->cfa_offset != before->cfa_offset;
  return it->second;
}

Result<std::unique_ptr<Layout>> Layout::find_any(Program& program) {
  std::optional<Error> first_error;
  for (const Dialect* dialect : dialects()) {
    if (auto found = from_dwarf(program, *dialect)) {
      return found;
    } else if (program.type(dialect->type_name("g"))) {
      first_error = found.error();
    }
    if (dialect->note_owner().empty()) continue;
    if (auto found = from_note(program, *dialect)) {
      return found;
    } else if (!first_error && !program.notes(dialect->note_owner(), 1).empty()) {
      first_error = found.error();
    }
  }
  if (first_error) return *first_error;
  if (const Dialect* dialect = marked(program)) {
    return Error{
        fmt::format(
            "this is a {} program without its runtime's DWARF (stripped, or linked without): where its "
            "goroutines are is not known, nor any structure. Its threads' functions and lines are (vitrine "
            "threads). For the rest build it without that, or keep the unstripped file and the core of one and "
            "the same build together{}",
            dialect->title(),
            program.has_debug_info() ? ". There is DWARF in the file, but it is damaged or of something else" : ""),
        {}};
  }
  return Error{"no goroutine runtime found in this program: neither DWARF of one nor a layout note", {}};
}

Result<std::unique_ptr<Layout>> Layout::from_dwarf(Program& program, const Dialect& dialect) {
  auto layout = std::make_unique<Layout>();
  layout->dialect_ = &dialect;
  layout->source_ = Source::dwarf;
  std::map<std::string, const Type*> types;
  for (std::string_view name : kTypes) {
    std::string names = dialect.type_name(name);
    alternatives(names,
                 [&](std::string_view one) { return (types[std::string(name)] = program.type(one)) != nullptr; });
  }
  if (!types["g"]) return Error{fmt::format("no DWARF type {}", dialect.type_name("g")), {}};
  for (const RootSpec& spec : kRoots) {
    alternatives(spec.variable, [&](std::string_view name) {
      for (const Variable& v : program.variable(dialect.variable_name(name))) {
        if (!v.address) continue;
        layout->roots_[static_cast<std::size_t>(spec.id)] = v.address;
        if (v.type && v.type->kind == Type::Kind::array && v.type->element)
          layout->root_arrays_[static_cast<std::size_t>(spec.id)] = {v.type->element->size, v.type->count};
        if (spec.id == Root::allgs) types["slice"] = v.type;
        if (spec.id == Root::waitReasonStrings && v.type) {
          layout->wait_reasons_ = static_cast<std::uint32_t>(v.type->count);
          if (!types["string"]) types["string"] = v.type->element;
        }
        return true;
      }
      return false;
    });
  }
  for (const FieldSpec& spec : kFields) {
    const Type* type = types[spec.type];
    FieldPlace& place = layout->places_[static_cast<std::size_t>(spec.id)];
    alternatives(spec.path, [&](std::string_view path) { return type && resolve(type, path, place); });
  }
  for (auto& [name, type] : types) {
    if (type) layout->sizes_[name] = type->size;
  }
  for (std::string_view name : {"gstatus", "pstatus", "gguard", "waitReason", "timerKind", "syncMutexState",
                                "syncRWMutexState", "mSpanState", "spanOwner", "traceEv", "gcPhase", "specialKind"}) {
    const Type* type = program.type(dialect.type_name(name));
    if (!type) continue;
    for (const Enumerator& e : type->enumerators) {
      layout->add_enumerator(name, e.name, static_cast<std::uint32_t>(e.value));
    }
  }
  for (std::string_view unit : dialect.constants_units()) {
    for (const Enumerator& c : program.constants(unit)) {
      std::string_view enumeration = dialect.enumeration_of(c.name), name = c.name;
      if (enumeration.starts_with("sync")) name.remove_prefix(name.rfind('.') + 1);  // its package may be another's
      if (!enumeration.empty()) layout->add_enumerator(enumeration, name, static_cast<std::uint32_t>(c.value));
    }
  }
  if (auto ok = layout->check(); !ok) return ok.error();
  return layout;
}

Result<std::unique_ptr<Layout>> Layout::from_note(Program& program, const Dialect& dialect) {
  auto notes = program.notes(dialect.note_owner(), 1);
  if (notes.empty()) return Error{"no layout note", {}};
  const Program::Note& note = notes[0];
  auto layout = std::make_unique<Layout>();
  layout->dialect_ = &dialect;
  layout->source_ = Source::note;

  constexpr std::size_t kName = 32, kHeader = 24, kRootSize = kName + 8, kFieldSize = kName + 8;
  struct Header {
    std::uint32_t magic, version;
    std::uint64_t features;
    std::uint32_t nroots, nfields;
  } header;
  static_assert(sizeof header == kHeader);
  const std::vector<std::byte>& bytes = note.desc;
  if (bytes.size() < kHeader)
    return Error{fmt::format("the layout note at {:#x} is too short", note.address), note.address};
  std::memcpy(&header, bytes.data(), kHeader);
  if (header.magic != 0x4e525456) {
    return Error{fmt::format("the layout note at {:#x} begins with {:#x}, not with VTRN", note.address, header.magic),
                 note.address};
  }
  if (header.nroots > bytes.size() / kRootSize || header.nfields > bytes.size() / kFieldSize ||
      kHeader + header.nroots * kRootSize + header.nfields * kFieldSize > bytes.size()) {
    return Error{fmt::format("the layout note at {:#x} is cut short", note.address), note.address};
  }
  layout->version_ = header.version;
  auto name_at = [&](std::size_t at) {
    const char* text = reinterpret_cast<const char*>(bytes.data() + at);
    return std::string(text, strnlen(text, kName));
  };
  std::size_t at = kHeader;
  std::map<std::string, std::uint64_t> roots;
  for (std::uint32_t i = 0; i < header.nroots; ++i, at += kRootSize) {
    std::int64_t rel;
    std::memcpy(&rel, bytes.data() + at + kName, sizeof rel);
    if (rel) roots[name_at(at)] = note.address + at + kName + static_cast<std::uint64_t>(rel);
  }
  std::map<std::string, FieldPlace> fields;
  for (std::uint32_t i = 0; i < header.nfields; ++i, at += kFieldSize) {
    FieldPlace place{true, 0, 0};
    std::memcpy(&place.offset, bytes.data() + at + kName, 4);
    std::memcpy(&place.size, bytes.data() + at + kName + 4, 4);
    std::string name = name_at(at);
    if (auto colon = name.find(':'); colon != name.npos) {
      layout->add_enumerator(name.substr(0, colon), name.substr(colon + 1), place.offset);
    } else if (name.find('.') == name.npos) {
      layout->sizes_[name] = place.size;
    } else {
      fields[name] = place;
    }
  }
  for (const RootSpec& spec : kRoots) {
    alternatives(spec.variable, [&](std::string_view name) {
      auto it = roots.find(std::string(name));
      if (it == roots.end()) return false;
      layout->roots_[static_cast<std::size_t>(spec.id)] = it->second;
      return true;
    });
  }
  for (const FieldSpec& spec : kFields) {
    alternatives(spec.path, [&](std::string_view path) {
      auto it = fields.find(fmt::format("{}.{}", spec.type, path));
      if (it == fields.end()) return false;
      layout->places_[static_cast<std::size_t>(spec.id)] = it->second;
      return true;
    });
  }
  if (auto ok = layout->check(); !ok) return ok.error();
  return layout;
}

Status Layout::check() {
  for (const RootSpec& spec : kRoots) {
    if (root(spec.id)) continue;
    if (spec.need == Need::required) {
      return Error{fmt::format("the runtime's variable {} is not described", dialect_->variable_name(spec.variable)),
                   {}};
    }
    if (!dialect_->lacks(spec.variable)) missing_.push_back(spec.variable);
  }
  for (const FieldSpec& spec : kFields) {
    const FieldPlace& p = place(spec.id);
    bool odd = p.present && spec.kind != FieldKind::bytes && p.size != 1 && p.size != 2 && p.size != 4 && p.size != 8;
    std::uint64_t whole = size_of(spec.type);
    odd = odd || (p.present && whole && p.offset + std::uint64_t{p.size} > whole);
    if (p.present && !odd) continue;
    if (spec.need == Need::required) {
      return Error{
          fmt::format("the runtime's field {} is {}", spec.name(), odd ? "of no believable size" : "not described"),
          {}};
    }
    places_[static_cast<std::size_t>(spec.id)] = {};
    if (!dialect_->lacks(spec.name())) missing_.push_back(spec.name());
  }
  if (size_of("g") == 0 || size_of("g") > 1 << 16) return Error{"the size of the runtime's type g is not known", {}};
  return Ok{};
}

void Layout::add_enumerator(std::string_view enumeration, std::string_view name, std::uint32_t value) {
  auto put = [&](std::map<std::uint32_t, std::string>& words, std::string_view prefix) {
    words.emplace(value, dialect_->enumerator_text(name, prefix));
  };
  if (enumeration == "gstatus") {
    std::string text = dialect_->enumerator_text(name, "G");
    if (text == "scan") {
      scan_bit_ = value;
    } else {
      g_status_.emplace(value, text);
    }
  }
  if (enumeration.starts_with("sync") || enumeration.starts_with("special") || enumeration == "timerState" ||
      enumeration == "constant")
    constants_.emplace(dialect_->bare(name), value);
  if (enumeration == "pstatus") put(p_status_, "P");
  if (enumeration == "gguard") put(guard_, "gguard");
  if (enumeration == "timerKind") put(timer_kind_, "timer");
  if (enumeration == "mSpanState") put(span_state_, "mSpan");
  if (enumeration == "spanOwner") put(span_owner_, "span");
  if (enumeration == "gcPhase") put(gc_phase_, "GC");
  if (enumeration == "traceEv") {
    std::string_view event = dialect_->bare(name);
    constexpr std::string_view kPrefix = "traceEv";
    if (event.starts_with(kPrefix)) event.remove_prefix(kPrefix.size());
    trace_event_.emplace(value, event);
  }
  if (enumeration == "waitReason" && dialect_->enumerator_text(name, "waitReason") == "count") wait_reasons_ = value;
}

std::optional<std::uint32_t> Layout::constant(std::string_view enumerator) const {
  auto it = constants_.find(enumerator);
  return it == constants_.end() ? std::nullopt : std::optional(it->second);
}

// Go has bits since 1.23, and before that one state of many.
bool Layout::timer_stopped(std::uint64_t state) const {
  if (auto bit = constant("timerZombie")) return (state & *bit) != 0;
  return constant("timerDeleted") == state || constant("timerRemoving") == state || constant("timerRemoved") == state;
}

bool Layout::timer_moved(std::uint64_t state) const {
  return constant("timerModifiedEarlier") == state || constant("timerModifiedLater") == state;
}

std::uint64_t Layout::size_of(const std::string& type) const {
  auto it = sizes_.find(type);
  return it == sizes_.end() ? 0 : it->second;
}

Result<std::uint64_t> Layout::get(Memory& memory, std::uint64_t structure, F f) const {
  const FieldPlace& p = place(f);
  std::uint64_t v = 0;
  if (!p.present) return v;
  auto status = memory.read(structure + p.offset, std::as_writable_bytes(std::span(&v, 1)).first(std::min(p.size, 8u)));
  if (!status) return status.error();
  return v;
}

std::string Layout::word(const std::map<std::uint32_t, std::string>& words, std::uint32_t number) {
  auto it = words.find(number);
  return it == words.end() ? std::to_string(number) : it->second;
}

std::optional<std::uint32_t> Layout::number(const std::map<std::uint32_t, std::string>& words, std::string_view word) {
  for (auto& [number, text] : words) {
    if (text == word) return number;
  }
  return std::nullopt;
}

}  // namespace vitrine::inspect
