// program_pclntab.cc: .gopclntab, after Go's runtime/symtab.go.
//
// The section begins with a header: a word that says which form the table has, the number of functions, and where in the
// section each part lies:
//   functions  pairs (offset of the code, offset of the record), by address, and the end of the last one
//   records    ten 32-bit words or more for each function: the code's offset, the name's, and where its tables of values
//              begin — frame sizes, files, lines. The words read here are the same in all forms that are known here.
//   names      strings that end in 0
//   units      for each number of a file in a unit, where its name lies among the files
//   values     pairs of variable-length numbers: how much the value changes, and for how many bytes of code it holds
//
// Offsets of code count from where Go's code begins, which the table need not say. In order: the header (before Go 1.26), as the
// target has it, since a loader moved it; the structure of the runtime's that points to this table, known by that and by
// two words next to each other that are as far apart as the first function and the end of the last; the start of the
// code section if the program's entry then falls on _rt0_amd64_linux. When none of these answers there are no names rather than wrong ones.
//
// Everything is checked against the section's size: a damaged table ends a search, never a read beyond it.
#include "program_pclntab.h"

#include <gelf.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace vitrine::inspect {
namespace {

constexpr std::uint32_t kForms[] = {0xfffffff0, 0xfffffff1};  // since Go 1.18 and 1.20
constexpr std::uint64_t kHeader = 8 + 8 * 8;
constexpr std::uint64_t kMost = 64 << 20;  // bytes of a section that are searched for the runtime's structure

enum Word : std::uint64_t { kName = 4, kFrames = 16, kFiles = 20, kLines = 24, kUnit = 32 };  // in a record

}  // namespace

template <class T>
bool ModulePclntab::get(std::uint64_t at, T& out) const {
  if (at > table_.size() || table_.size() - at < sizeof out) return false;
  std::memcpy(&out, table_.data() + at, sizeof out);
  return true;
}

const char* ModulePclntab::c_string(std::uint64_t at) const {
  if (at >= table_.size()) return nullptr;
  const auto* text = reinterpret_cast<const char*>(table_.data() + at);
  return std::memchr(text, 0, table_.size() - at) ? text : nullptr;
}

bool ModulePclntab::load_header() {
  Elf_Scn* scn = find_section(files_.elf(), ".gopclntab", true);
  if (!scn) scn = find_section(files_.elf(), ".data.rel.ro.gopclntab", true);
  GElf_Shdr sh;
  Elf_Data* data = scn && gelf_getshdr(scn, &sh) ? elf_rawdata(scn, nullptr) : nullptr;
  if (!data || !data->d_buf || data->d_size < kHeader) return false;
  table_ = {static_cast<const std::byte*>(data->d_buf), data->d_size};
  address_ = sh.sh_addr + files_.bias();
  std::uint32_t form = 0;
  std::uint8_t word = 0;
  get(0, form);
  get(6, quantum_);
  get(7, word);
  if (std::find(std::begin(kForms), std::end(kForms), form) == std::end(kForms) || word != 8 || quantum_ == 0)
    return false;
  std::uint64_t* const parts[] = {&functions_, nullptr, nullptr, &names_, &units_, &files_at_, &values_, &records_};
  for (std::size_t i = 0; i < std::size(parts); ++i) {
    if (parts[i]) get(8 + 8 * i, *parts[i]);
  }
  return records_ < table_.size() && functions_ > 0 && functions_ < (table_.size() - records_) / 8;
}

bool ModulePclntab::text_in(std::span<const std::uint64_t> words, std::uint64_t& text) const {
  std::uint32_t first = 0, end = 0;
  if (!get(records_, first) || !get(records_ + 8 * functions_, end)) return false;
  for (std::size_t i = 0; i + 64 < words.size(); ++i) {
    if (words[i] != address_ || words[i + 1] != address_ + names_) continue;
    for (std::size_t j = i + 2; j < i + 64; ++j) {
      if (words[j] - words[j - 1] != end - first || words[j - 1] < first) continue;
      text = words[j - 1] - first;
      return true;
    }
  }
  return false;
}

std::uint64_t ModulePclntab::find_text() {
  Elf* elf = files_.elf();
  std::size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) return 0;
  std::uint64_t text = 0, code = 0, word = 0;
  if (target_.read(address_ + 24, std::as_writable_bytes(std::span(&word, 1)), Space::data) == 8 && word) return word;
  for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh;
    if (!gelf_getshdr(scn, &sh)) continue;
    const char* name = elf_strptr(elf, names, sh.sh_name);
    if (name && std::string_view(name) == ".text") code = sh.sh_addr;
    if (!(sh.sh_flags & SHF_WRITE) || !(sh.sh_flags & SHF_ALLOC) || sh.sh_type != SHT_PROGBITS || sh.sh_size > kMost)
      continue;
    std::vector<std::uint64_t> words(sh.sh_size / 8);
    std::size_t got = target_.read(sh.sh_addr + files_.bias(), std::as_writable_bytes(std::span(words)), Space::data);
    if (text_in(std::span(words).first(got / 8), text)) return text;
  }
  GElf_Ehdr header;
  if (!code || !gelf_getehdr(elf, &header)) return 0;
  for (std::uint64_t n = 0; n < functions_; ++n) {
    Entry e = entry(n);
    std::uint32_t at = 0;
    if (code + e.start != header.e_entry || !get(e.record + kName, at)) continue;
    const char* name = c_string(names_ + at);
    return name && std::string_view(name) == "_rt0_amd64_linux" ? code + files_.bias() : 0;
  }
  return 0;
}

void ModulePclntab::load() {
  if (loaded_) return;
  loaded_ = true;
  if (!files_.elf()) return;
  if (load_header()) text_ = find_text();
  if (!text_) table_ = {};
}

ModulePclntab::Entry ModulePclntab::entry(std::uint64_t n) const {
  std::uint32_t start = 0, record = 0, end = 0;
  get(records_ + 8 * n, start);
  get(records_ + 8 * n + 4, record);
  get(records_ + 8 * n + 8, end);
  return {text_ + start, end > start ? end - start : 0, records_ + record};
}

bool ModulePclntab::find(std::uint64_t pc, Entry& out) {
  load();
  if (table_.empty() || pc < text_) return false;
  std::uint64_t lo = 0, hi = functions_;  // the last function that does not begin behind pc is in [lo, hi)
  while (hi - lo > 1) {
    const std::uint64_t middle = lo + (hi - lo) / 2;
    (entry(middle).start <= pc ? lo : hi) = middle;
  }
  out = entry(lo);
  return pc - out.start < out.size;
}

bool ModulePclntab::value_at(std::uint64_t at, const Entry& of, std::uint64_t pc, std::int64_t& out) const {
  at += values_;
  auto varint = [&](std::uint64_t& v) {
    v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      std::uint8_t b = 0;
      if (!get(at++, b)) return false;
      v |= std::uint64_t{b & 0x7fu} << shift;
      if (b < 0x80) return true;
    }
    return false;
  };
  out = -1;
  for (std::uint64_t here = of.start; here - of.start < of.size;) {
    std::uint64_t change = 0, length = 0;
    if (!varint(change) || (change == 0 && here != of.start) || !varint(length)) return false;
    out += static_cast<std::int64_t>(change >> 1 ^ (0 - (change & 1)));
    here += length * quantum_;
    if (pc < here) return true;
  }
  return false;
}

void ModulePclntab::each_function(
    const std::function<void(const char* name, std::uint64_t start, std::uint64_t size)>& sink) {
  load();
  for (std::uint64_t n = 0; !table_.empty() && n < functions_; ++n) {
    const Entry e = entry(n);
    std::uint32_t at = 0;
    const char* name = get(e.record + kName, at) ? c_string(names_ + at) : nullptr;
    if (name && *name && e.size) sink(name, e.start, e.size);
  }
}

bool ModulePclntab::locate(std::uint64_t pc, Location& out) {
  Entry e;
  std::uint32_t name = 0, file = 0, line = 0, unit = 0, at = 0;
  if (!find(pc, e) || !get(e.record + kName, name)) return false;
  const char* text = c_string(names_ + name);
  if (!text) return false;
  out = {};
  out.function = text;
  std::int64_t number = 0;
  if (get(e.record + kLines, line) && line && value_at(line, e, pc, number) && number > 0)
    out.line = static_cast<int>(number);
  if (get(e.record + kFiles, file) && file && value_at(file, e, pc, number) && number >= 0 &&
      get(e.record + kUnit, unit) && get(units_ + 4 * (std::uint64_t{unit} + static_cast<std::uint64_t>(number)), at)) {
    if (const char* path = at == ~0u ? nullptr : c_string(files_at_ + at)) out.file = path;
  }
  return true;
}

bool ModulePclntab::row(std::uint64_t pc, CfiRow& out) {
  Entry e;
  std::uint32_t frames = 0;
  std::int64_t size = 0;
  if (!find(pc, e) || !get(e.record + kFrames, frames) || !frames || !value_at(frames, e, pc, size)) return false;
  if (size < 0 || size > INT32_MAX - 8) return false;
  out = {};
  out.cfa = CfiRow::Cfa::reg_offset;
  out.cfa_reg = kRsp;
  out.cfa_offset = static_cast<std::int32_t>(size + 8);
  out.saved = 0;
  out.offset[16] = -8;
  return true;
}

}  // namespace vitrine::inspect
