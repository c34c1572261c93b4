// program.cc: the Program over all modules of a target: finds the module of an address, asks its parts, remembers the
// answers. Opening reads nothing but the list of modules; each file is opened when something is asked of it.
//
// Parts (each of one module): program_files (which files), program_symbols (ELF symbols, notes), program_units (pc →
// functions and lines), program_cfi (pc → CFI row), program_pclntab (all of that for a Go program without DWARF); and
// program_types (names → types and variables, over all modules).
//
// One lock around everything: libdw is not safe for use by several threads, and the unwinder's workers ask for rows.
#include "program.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "program_cfi.h"
#include "program_constants.h"
#include "program_files.h"
#include "program_locals.h"
#include "program_names.h"
#include "program_pclntab.h"
#include "program_symbols.h"
#include "program_types.h"
#include "program_units.h"

namespace vitrine::inspect {
namespace {

// Of one module; the members are in the order of their dependence.
struct ModuleParts {
  ModuleParts(Target& target, const Module& module)
      : files(target, module),
        pclntab(target, files),
        symbols(files, pclntab),
        units(files),
        cfi(files),
        names(files, units) {}
  ModuleFiles files;
  ModulePclntab pclntab;
  ModuleSymbols symbols;
  ModuleUnits units;
  ModuleCfi cfi;
  NameIndex names;
};

// Libraries of the system, whose types are never asked for: a name that is nowhere must not cost their DWARF.
bool is_system_library(const std::string& path) {
  const std::string_view base = std::string_view(path).substr(path.rfind('/') + 1);
  for (std::string_view s : {"ld-linux", "libc.so", "libc-", "libm.so", "libm-", "libpthread", "libdl.so", "librt.so",
                             "libgcc_s", "libstdc++", "libc++", "["})
    if (base.starts_with(s)) return true;
  return false;
}

class ElfProgram : public Program {
 public:
  explicit ElfProgram(Target& target);
  const Type* type(std::string_view qualified) override {
    std::lock_guard lock(mutex_);
    return types_->type(qualified);
  }
  const Type* described_type(std::uint64_t offset) override {
    std::lock_guard lock(mutex_);
    return types_->described_type(offset);
  }
  std::vector<Variable> variable(std::string_view qualified) override {
    std::lock_guard lock(mutex_);
    return types_->variable(qualified);
  }
  std::uint64_t symbol(std::string_view name) override;
  Symbol data_symbol(std::uint64_t addr) override;
  std::vector<Enumerator> constants(std::string_view unit) override;
  void set_special(Special special) override {
    std::lock_guard lock(mutex_);
    special_ = std::move(special);
    rows_.clear();
  }
  std::vector<Function> functions(std::string_view name) override;
  Function function_at(std::uint64_t pc) override;
  std::optional<std::int64_t> thread_local_offset(std::string_view name) override;
  bool in_got(std::uint64_t addr) override;
  Symbol section(std::uint64_t addr) override;
  std::vector<Note> notes(std::string_view owner, std::uint32_t type) override;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> writable_segments() override {
    std::lock_guard lock(mutex_);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> out;
    for (ModuleParts& m : modules_) m.symbols.writable(out);
    return out;
  }
  const std::vector<Location>& locate(std::uint64_t pc) override;
  std::uint64_t function_start(std::uint64_t pc) override;
  std::vector<Local> locals(std::uint64_t pc, bool called) override {
    std::lock_guard lock(mutex_);
    std::vector<Local> out;
    if (ModuleParts* m = at(pc)) read_locals(m->files, m->units, *types_, pc, called, out);
    return out;
  }
  const CfiRow* cfi(std::uint64_t pc) override;
  bool unwind_slow(std::uint64_t pc, const Registers& in, Memory& memory, Registers& out,
                   std::uint64_t* bad_address) override;
  bool has_debug_info() const override;
  std::vector<std::string> warnings() const override;
  std::string language(std::uint64_t pc) override;

 private:
  ModuleParts* at(std::uint64_t pc);
  bool in_one_of(const std::vector<std::string>& functions, std::uint64_t pc);

  mutable std::recursive_mutex mutex_;
  mutable std::deque<ModuleParts> modules_;  // the program first, then by address
  std::vector<ModuleParts*> by_address_;
  std::unique_ptr<TypeTable> types_;
  std::unordered_map<std::uint64_t, std::vector<Location>> located_;
  std::unordered_map<std::uint64_t, std::unique_ptr<CfiRow>> rows_;
  Special special_;
};

ElfProgram::ElfProgram(Target& target) {
  std::vector<const Module*> order;
  for (const Module& m : target.modules()) order.push_back(&m);
  std::stable_sort(order.begin(), order.end(), [](const Module* a, const Module* b) { return a->main > b->main; });
  for (const Module* m : order) modules_.emplace_back(target, *m);
  std::vector<TypeTable::Unit> sources;
  for (ModuleParts& m : modules_) {
    by_address_.push_back(&m);
    if (m.files.module().main || !is_system_library(m.files.module().path))
      sources.push_back({&m.files, &m.units, &m.names});
  }
  std::sort(by_address_.begin(), by_address_.end(),
            [](ModuleParts* a, ModuleParts* b) { return a->files.module().lo < b->files.module().lo; });
  types_ = std::make_unique<TypeTable>(std::move(sources));
}

ModuleParts* ElfProgram::at(std::uint64_t pc) {
  auto it = std::upper_bound(by_address_.begin(), by_address_.end(), pc,
                             [](std::uint64_t a, ModuleParts* m) { return a < m->files.module().lo; });
  if (it == by_address_.begin()) return nullptr;
  --it;
  return pc < (*it)->files.module().hi ? *it : nullptr;
}

std::uint64_t ElfProgram::symbol(std::string_view name) {
  std::lock_guard lock(mutex_);
  for (ModuleParts& m : modules_)
    if (const std::uint64_t a = m.symbols.address(name)) return a;
  return 0;
}

Program::Symbol ElfProgram::data_symbol(std::uint64_t addr) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(addr);
  if (!m) return {};
  ModuleSymbols::Found found = m->symbols.data_at(addr);
  return found.name ? Symbol{readable_symbol(found.name), found.start, found.size} : Symbol{};
}

std::vector<Program::Function> ElfProgram::functions(std::string_view name) {
  std::lock_guard lock(mutex_);
  std::vector<Function> out;
  // Only a symbol that contains the last part of the name can be it once it is readable.
  std::string_view last = name.substr(std::min(name.size(), name.find('<')));
  last = last.empty() ? name : name.substr(0, name.size() - last.size());
  if (auto colons = last.rfind("::"); colons != last.npos) last.remove_prefix(colons + 2);
  if (last.starts_with('~')) last.remove_prefix(1);
  // Operators and lambdas are not called that in a symbol.
  if (last.starts_with("operator") || last.find_first_of("{(") != last.npos) last = "";
  for (ModuleParts& m : modules_) {
    m.symbols.each_function([&](const ModuleSymbols::Found& f) {
      const std::string_view symbol = f.name;
      if (symbol.find(last) == symbol.npos) return;
      std::string readable = readable_symbol(f.name);
      if (symbol != name && readable != name && !made_of(symbol, name)) return;
      auto twin = std::find_if(out.begin(), out.end(), [&](const Function& o) { return o.start == f.start; });
      if (twin == out.end()) out.push_back({f.name, std::move(readable), f.start, f.size});
    });
    if (!out.empty() && m.files.module().main) break;  // what the program has itself is meant, and no library's
  }
  return out;
}

Program::Function ElfProgram::function_at(std::uint64_t pc) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(pc);
  if (!m) return {};
  ModuleSymbols::Found f = m->symbols.at(pc);
  if (!f.name) return {};
  Function out{f.name, readable_symbol(f.name), f.start, f.size};
  if (out.size == 0) {
    m->symbols.each_function([&](const ModuleSymbols::Found& o) {
      if (o.start == out.start) out.size = std::max(out.size, o.size);
    });
  }
  return out;
}

std::optional<std::int64_t> ElfProgram::thread_local_offset(std::string_view name) {
  std::lock_guard lock(mutex_);
  for (ModuleParts& m : modules_)
    if (m.files.module().main) return m.symbols.thread_local_offset(name);
  return std::nullopt;
}

bool ElfProgram::in_got(std::uint64_t addr) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(addr);
  return m && m->symbols.section(addr).name.starts_with(".got");  // its contents are the loader's
}

Program::Symbol ElfProgram::section(std::uint64_t addr) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(addr);
  return m ? m->symbols.section(addr) : Symbol{};
}

std::vector<Program::Note> ElfProgram::notes(std::string_view owner, std::uint32_t type) {
  std::lock_guard lock(mutex_);
  std::vector<Note> out;
  for (ModuleParts& m : modules_) m.symbols.notes(owner, type, out);
  return out;
}

const std::vector<Location>& ElfProgram::locate(std::uint64_t pc) {
  std::lock_guard lock(mutex_);
  if (const auto it = located_.find(pc); it != located_.end()) return it->second;
  std::vector<Location> out;
  if (ModuleParts* m = at(pc)) {
    m->units.locate(pc, out);
    if (Location l; out.empty() && m->pclntab.locate(pc, l)) out.push_back(std::move(l));
    if (out.empty()) out.emplace_back();
    if (out.back().function.empty()) out.back().function = readable_symbol(m->symbols.at(pc).name);
  }
  if (out.empty()) out.emplace_back();
  // Nothing is there and a function begins behind it: of a saved pc that is no return address (Go's 1.19
  // systemstack_switch) the instruction before was asked for.
  if (out.back().function.empty() && function_start(pc + 1) == pc + 1) out = locate(pc + 1);
  return located_[pc] = std::move(out);
}

std::uint64_t ElfProgram::function_start(std::uint64_t pc) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(pc);
  if (!m) return 0;
  const std::uint64_t start = m->units.function_start(pc);
  return start ? start : m->symbols.at(pc).start;
}

std::vector<Enumerator> ElfProgram::constants(std::string_view unit) {
  std::lock_guard lock(mutex_);
  std::vector<Enumerator> out;
  for (ModuleParts& m : modules_) {
    if (m.files.module().main || !is_system_library(m.files.module().path)) read_constants(m.files, unit, out);
    if (!out.empty()) break;
  }
  return out;
}

bool ElfProgram::in_one_of(const std::vector<std::string>& functions, std::uint64_t pc) {
  return !functions.empty() &&
         std::find(functions.begin(), functions.end(), locate(pc).back().function) != functions.end();
}

const CfiRow* ElfProgram::cfi(std::uint64_t pc) {
  std::lock_guard lock(mutex_);
  auto [it, fresh] = rows_.try_emplace(pc);
  if (fresh) {
    if (ModuleParts* m = at(pc)) {
      CfiRow row;
      const bool found = m->cfi.row(pc, row) || m->pclntab.row(pc, row);
      if (const bool end = in_one_of(special_.outermost, pc); found || end) {
        row.end = row.end || end;
        row.leaves = in_one_of(special_.leaving, pc);
        row.stays = in_one_of(special_.staying, pc);
        row.signal = row.signal || in_one_of(special_.injected, pc);
        row.borrows = in_one_of(special_.borrowing, pc);
        it->second = std::make_unique<CfiRow>(row);
      }
    }
  }
  return it->second.get();
}

bool ElfProgram::unwind_slow(std::uint64_t pc, const Registers& in, Memory& memory, Registers& out,
                             std::uint64_t* bad_address) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(pc);
  return m && m->cfi.unwind(pc, in, memory, out, bad_address);
}

bool ElfProgram::has_debug_info() const {
  std::lock_guard lock(mutex_);
  for (ModuleParts& m : modules_) {
    if (m.files.module().main) {
      if (m.files.has_any_dwarf()) return true;
    } else if (!is_system_library(m.files.module().path) && m.files.has_own_dwarf()) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> ElfProgram::warnings() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const ModuleParts& m : modules_) out.insert(out.end(), m.files.problems().begin(), m.files.problems().end());
  return out;
}

std::string ElfProgram::language(std::uint64_t pc) {
  std::lock_guard lock(mutex_);
  ModuleParts* m = at(pc);
  return m ? m->units.language(pc) : "";
}

}  // namespace

const Field* Type::field(std::string_view wanted) const {
  for (const Field& f : fields)
    if (f.name == wanted) return &f;
  return nullptr;
}

const Field* Type::field_at(std::uint64_t offset) const {
  const Field* in = nullptr;
  for (const Field& f : fields)
    if (f.type && offset >= f.offset && offset - f.offset < f.type->size) in = &f;
  return in;
}

std::unique_ptr<Program> Program::open(Target& target) { return std::make_unique<ElfProgram>(target); }

}  // namespace vitrine::inspect
