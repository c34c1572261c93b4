// program_symbols.cc: .symtab of the image or its debug file, and .dynsym; both tables are read on first use.
#include "program_symbols.h"

#include <gelf.h>

#include <algorithm>
#include <cstring>

#include "elf_image.h"

namespace vitrine::inspect {

void ModuleSymbols::load_table(Elf* elf, std::uint32_t section_type) {
  for (Elf_Scn* scn = nullptr; elf && (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh;
    if (!gelf_getshdr(scn, &sh) || sh.sh_type != section_type || sh.sh_entsize == 0) continue;
    Elf_Data* data = elf_getdata(scn, nullptr);
    if (!data) continue;
    const std::size_t n = sh.sh_size / sh.sh_entsize;
    by_name_.reserve(by_name_.size() + n);
    for (std::size_t i = 0; i < n; i++) {
      GElf_Sym sym;
      if (!gelf_getsym(data, static_cast<int>(i), &sym)) break;
      const int type = GELF_ST_TYPE(sym.st_info);
      if (type == STT_TLS && sym.st_shndx != SHN_UNDEF) {
        if (const char* own = elf_strptr(elf, sh.sh_link, sym.st_name)) thread_locals_.emplace(own, sym.st_value);
      }
      if (sym.st_shndx == SHN_UNDEF || sym.st_shndx == SHN_ABS || type == STT_TLS || type == STT_SECTION ||
          type == STT_FILE)
        continue;
      const char* name = elf_strptr(elf, sh.sh_link, sym.st_name);
      if (!name || !*name) continue;
      const std::uint64_t at = sym.st_value + files_.bias();
      const bool global = GELF_ST_BIND(sym.st_info) != STB_LOCAL;
      auto [it, fresh] = by_name_.try_emplace(name, at);
      if (!fresh && global) it->second = at;
      if (type == STT_OBJECT && sym.st_size) data_.push_back({at, sym.st_size, name, global ? 1 : 0});
      if (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) {
        GElf_Shdr in;
        Elf_Scn* home = elf_getscn(elf, sym.st_shndx);
        if (!home || !gelf_getshdr(home, &in) || !(in.sh_flags & SHF_EXECINSTR)) continue;
        code_.push_back({at, sym.st_size, name, (type == STT_NOTYPE ? 0 : 2) + (global ? 1 : 0)});
      }
    }
  }
}

// The stubs that calls into libraries go through have no symbols; each jumps by a word that a relocation names.
void ModuleSymbols::load_linkage() {
  Elf* elf = files_.elf();
  std::size_t names = 0;
  if (!elf || elf_getshdrstrndx(elf, &names) != 0) return;
  std::map<std::uint64_t, const char*> words;  // as the file has them
  for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh, table;
    if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_RELA || sh.sh_entsize == 0) continue;
    Elf_Scn* symbols = elf_getscn(elf, sh.sh_link);
    Elf_Data *data = elf_getdata(scn, nullptr), *syms = symbols ? elf_getdata(symbols, nullptr) : nullptr;
    if (!data || !syms || !gelf_getshdr(symbols, &table)) continue;
    for (std::size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
      GElf_Rela rela;
      GElf_Sym sym;
      if (!gelf_getrela(data, static_cast<int>(i), &rela)) break;
      const auto type = GELF_R_TYPE(rela.r_info);
      if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) ||
          !gelf_getsym(syms, static_cast<int>(GELF_R_SYM(rela.r_info)), &sym))
        continue;
      const char* name = elf_strptr(elf, table.sh_link, sym.st_name);
      if (name && *name) words.emplace(rela.r_offset, name);
    }
  }
  for (Elf_Scn* scn = nullptr; !words.empty() && (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh;
    if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_PROGBITS || !(sh.sh_flags & SHF_EXECINSTR)) continue;
    const char* section = elf_strptr(elf, names, sh.sh_name);
    Elf_Data* data = section && std::string_view(section).starts_with(".plt") ? elf_getdata(scn, nullptr) : nullptr;
    if (!data || !data->d_buf) continue;
    const auto* bytes = static_cast<const unsigned char*>(data->d_buf);
    const std::uint64_t step = sh.sh_entsize == 8 ? 8 : 16;
    for (std::uint64_t at = 0; at + step <= data->d_size; at += step) {
      // jmp *word(%rip) is ff 25 and a distance; endbr64 or a prefix may stand in front of it.
      for (std::uint64_t k = at; k + 6 <= at + step && k < at + 6; ++k) {
        if (bytes[k] != 0xff || bytes[k + 1] != 0x25) continue;
        std::int32_t distance = 0;
        std::memcpy(&distance, bytes + k + 2, sizeof distance);
        auto word = words.find(sh.sh_addr + k + 6 + static_cast<std::uint64_t>(std::int64_t{distance}));
        if (word == words.end()) continue;
        linkage_names_.push_back(std::string(word->second) + "@plt");
        code_.push_back({sh.sh_addr + at + files_.bias(), step, linkage_names_.back().c_str(), 0});
        break;
      }
    }
  }
}

void ModuleSymbols::load() {
  if (loaded_) return;
  loaded_ = true;
  if (!files_.elf()) return;
  load_table(files_.debug_elf(), SHT_SYMTAB);
  if (files_.debug_elf() != files_.elf()) load_table(files_.elf(), SHT_SYMTAB);
  load_table(files_.elf(), SHT_DYNSYM);
  load_linkage();
  if (!find_section(files_.debug_elf(), ".symtab", true)) {
    pclntab_.each_function([&](const char* name, std::uint64_t start, std::uint64_t size) {
      by_name_.try_emplace(name, start);
      code_.push_back({start, size, name, 2});
    });
  }
  for (auto* symbols : {&code_, &data_}) {
    std::sort(symbols->begin(), symbols->end(),
              [](const Code& a, const Code& b) { return a.start != b.start ? a.start < b.start : a.rank < b.rank; });
  }
}

std::uint64_t ModuleSymbols::address(std::string_view name) {
  load();
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? 0 : it->second;
}

ModuleSymbols::Found ModuleSymbols::at(std::uint64_t pc) {
  load();
  auto it =
      std::upper_bound(code_.begin(), code_.end(), pc, [](std::uint64_t a, const Code& c) { return a < c.start; });
  // A sized symbol that covers pc is best; a label without a size covers what follows it up to the next symbol.
  const Code* label = nullptr;
  for (int looked = 0; it != code_.begin() && looked < 64; looked++) {
    --it;
    if (it->size ? pc < it->start + it->size : false) return {it->name, it->start, it->size};
    if (!label && it->size == 0) label = &*it;
    if (it->size) break;
  }
  return label ? Found{label->name, label->start, 0} : Found{};
}

ModuleSymbols::Found ModuleSymbols::data_at(std::uint64_t addr) {
  load();
  auto it =
      std::upper_bound(data_.begin(), data_.end(), addr, [](std::uint64_t a, const Code& c) { return a < c.start; });
  for (int looked = 0; it != data_.begin() && looked < 8; looked++) {
    --it;
    if (addr - it->start < it->size) return {it->name, it->start, it->size};
  }
  return {};
}

void ModuleSymbols::each_function(const std::function<void(const Found&)>& sink) {
  load();
  for (std::size_t i = 0; i < code_.size(); ++i) {
    std::uint64_t size = code_[i].size;
    for (std::size_t next = i + 1; size == 0 && next < code_.size(); ++next) size = code_[next].start - code_[i].start;
    sink({code_[i].name, code_[i].start, size});
  }
}

std::optional<std::int64_t> ModuleSymbols::thread_local_offset(std::string_view name) {
  load();
  std::uint64_t in_block = 0;
  if (!name.empty()) {
    auto found = thread_locals_.find(name);
    if (found == thread_locals_.end()) return std::nullopt;
    in_block = found->second;
  }
  Elf* elf = files_.elf();
  std::size_t n = 0;
  if (!elf || elf_getphdrnum(elf, &n) != 0) return std::nullopt;
  for (std::size_t i = 0; i < n; i++) {
    GElf_Phdr p;
    if (!gelf_getphdr(elf, static_cast<int>(i), &p) || p.p_type != PT_TLS) continue;
    const std::uint64_t align = p.p_align ? p.p_align : 1;
    // The block of the program ends at the thread pointer; what is before it is aligned.
    return static_cast<std::int64_t>(in_block - (p.p_memsz + align - 1) / align * align);
  }
  return std::nullopt;
}

Program::Symbol ModuleSymbols::section(std::uint64_t addr) {
  Elf* elf = files_.elf();
  std::size_t names = 0;
  if (!elf || elf_getshdrstrndx(elf, &names) != 0) return {};
  for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh;
    if (!gelf_getshdr(scn, &sh) || addr - files_.bias() - sh.sh_addr >= sh.sh_size || !sh.sh_addr) continue;
    const char* name = elf_strptr(elf, names, sh.sh_name);
    return name ? Program::Symbol{name, files_.bias() + sh.sh_addr, sh.sh_size} : Program::Symbol{};
  }
  return {};
}

void ModuleSymbols::writable(std::vector<std::pair<std::uint64_t, std::uint64_t>>& out) {
  Elf* elf = files_.elf();
  std::size_t n = 0;
  if (!elf || elf_getphdrnum(elf, &n) != 0) return;
  for (std::size_t i = 0; i < n; i++) {
    GElf_Phdr p;
    if (!gelf_getphdr(elf, static_cast<int>(i), &p) || p.p_type != PT_LOAD || !(p.p_flags & PF_W) || !p.p_memsz)
      continue;
    out.emplace_back(files_.bias() + p.p_vaddr, files_.bias() + p.p_vaddr + p.p_memsz);
  }
}

void ModuleSymbols::notes(std::string_view owner, std::uint32_t type, std::vector<Program::Note>& out) {
  Elf* elf = files_.elf();
  std::size_t n = 0;
  if (!elf || elf_getphdrnum(elf, &n) != 0) return;
  for (std::size_t i = 0; i < n; i++) {
    GElf_Phdr p;
    if (!gelf_getphdr(elf, static_cast<int>(i), &p) || p.p_type != PT_NOTE) continue;
    Elf_Data* data = elf_getdata_rawchunk(elf, static_cast<std::int64_t>(p.p_offset), p.p_filesz, ELF_T_BYTE);
    if (!data || !data->d_buf) continue;
    each_note(std::span(static_cast<const std::byte*>(data->d_buf), data->d_size), p.p_align,
              [&](std::string_view o, std::uint32_t t, std::span<const std::byte> desc, std::size_t at) {
                if (o == owner && t == type)
                  out.push_back({files_.bias() + p.p_vaddr + at, std::vector<std::byte>(desc.begin(), desc.end())});
              });
  }
}

}  // namespace vitrine::inspect
