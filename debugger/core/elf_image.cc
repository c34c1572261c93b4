// elf_image.cc: see elf_image.h.
#include "elf_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "low_text.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxPhdrs = 1 << 20;
constexpr std::uint64_t kMaxNotes = 64 << 20;

Result<ElfImage> parse(const ByteReader& bytes, std::uint64_t base, bool memory) {
  Elf64_Ehdr eh;
  const auto out = std::as_writable_bytes(std::span(&eh, 1));
  const std::size_t got = bytes(base, out);
  if (got < SELFMAG || std::memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0) return Error{"not an ELF file", {}};
  if (got < sizeof eh) return Error{"the ELF header is cut off", {}};
  if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB)
    return Error{"not a 64-bit little-endian ELF file", {}};
  ElfImage image;
  image.type = eh.e_type;
  image.machine = eh.e_machine;
  image.entry = eh.e_entry;
  image.phoff = eh.e_phoff;
  std::size_t n = eh.e_phnum;
  if (n == PN_XNUM) {  // the real number stands in the first section header, which a truncated core has lost
    Elf64_Shdr sh{};
    if (eh.e_shoff && bytes(base + eh.e_shoff, std::as_writable_bytes(std::span(&sh, 1))) == sizeof sh && sh.sh_info) {
      n = sh.sh_info;
    } else {  // a core's first segment is its notes, which follow the table
      Elf64_Phdr first{};
      if (bytes(base + eh.e_phoff, std::as_writable_bytes(std::span(&first, 1))) == sizeof first &&
          first.p_offset > eh.e_phoff)
        n = (first.p_offset - eh.e_phoff) / sizeof(Elf64_Phdr);
    }
  }
  if (n && eh.e_phentsize != sizeof(Elf64_Phdr)) return Error{"program headers of an unknown size", {}};
  n = std::min(n, kMaxPhdrs);
  image.phdrs.resize(n);
  const std::size_t have = bytes(base + eh.e_phoff, std::as_writable_bytes(std::span(image.phdrs)));
  image.phdrs.resize(have / sizeof(Elf64_Phdr));
  if (image.type == ET_CORE) return image;
  const std::uint64_t bias = memory ? elf_bias(image, base) : 0;
  std::string go_id;
  for (const Elf64_Phdr& p : image.phdrs) {
    if (p.p_type != PT_NOTE || !image.build_id.empty() || p.p_filesz > kMaxNotes) continue;
    std::vector<std::byte> notes(p.p_filesz);
    notes.resize(bytes(memory ? bias + p.p_vaddr : p.p_offset, notes));
    each_note(notes, p.p_align, [&](std::string_view owner, std::uint32_t type, auto desc, std::size_t) {
      if (owner == "GNU" && type == NT_GNU_BUILD_ID) image.build_id = to_hex(desc);
      if (owner == "Go" && type == kGoBuildId) go_id = to_hex(desc);
    });
  }
  // Go's linker leaves the GNU note, if it writes one, out of the segment of notes; its own id is always there.
  if (image.build_id.empty()) image.build_id = go_id;
  return image;
}

}  // namespace

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string& path, bool keep_descriptor) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{path + ": " + std::strerror(errno), {}};
  struct stat st;
  const std::byte* data = nullptr;
  std::string why;
  if (fstat(fd, &st) != 0) {
    why = std::strerror(errno);
  } else if (!S_ISREG(st.st_mode)) {
    why = "not a regular file";
  } else if (st.st_size == 0) {
    why = "the file is empty";
  } else {
    void* p = mmap(nullptr, static_cast<std::size_t>(st.st_size), PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED)
      why = std::strerror(errno);
    else
      data = static_cast<const std::byte*>(p);
  }
  if (!data || !keep_descriptor) ::close(fd);
  if (!data) return Error{path + ": " + why, {}};
  return std::shared_ptr<MappedFile>(
      new MappedFile(data, static_cast<std::uint64_t>(st.st_size), keep_descriptor ? fd : -1));
}

MappedFile::~MappedFile() {
  munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

std::size_t MappedFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_) return 0;
  const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
  std::memcpy(out.data(), data_ + offset, n);
  return n;
}

std::size_t MappedFile::read_call(std::uint64_t offset, std::span<std::byte> out) const {
  if (fd_ < 0) return read(offset, out);
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::uint64_t ElfImage::lowest() const {
  std::uint64_t lo = ~0ull;
  for (const Elf64_Phdr& p : phdrs)
    if (p.p_type == PT_LOAD) lo = std::min(lo, p.p_vaddr & ~(kPage - 1));
  return lo == ~0ull ? 0 : lo;
}

std::uint64_t ElfImage::highest() const {
  std::uint64_t hi = 0;
  for (const Elf64_Phdr& p : phdrs)
    if (p.p_type == PT_LOAD) hi = std::max(hi, p.p_vaddr + p.p_memsz);
  return hi;
}

Result<ElfImage> read_elf_file(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return file.error();
  auto image = parse_elf_file([&](std::uint64_t at, std::span<std::byte> out) { return (*file)->read(at, out); });
  if (!image) return Error{path + ": " + image.error().message, {}};
  return image;
}

Result<ElfImage> parse_elf_file(const ByteReader& file) { return parse(file, 0, false); }

std::optional<ElfImage> parse_elf_memory(const ByteReader& memory, std::uint64_t base) {
  auto image = parse(memory, base, true);
  if (!image || image->phdrs.empty()) return std::nullopt;
  return std::move(*image);
}

std::uint64_t elf_bias(const ElfImage& image, std::uint64_t base) {
  if (image.type == ET_EXEC) return 0;
  for (const Elf64_Phdr& p : image.phdrs)
    if (p.p_type == PT_LOAD && (p.p_offset & ~(kPage - 1)) == 0) return base - (p.p_vaddr & ~(kPage - 1));
  return base - image.lowest();
}

void each_note(
    std::span<const std::byte> notes, std::uint64_t align,
    const std::function<void(std::string_view, std::uint32_t, std::span<const std::byte>, std::size_t)>& fn) {
  const std::size_t pad = align == 8 ? 8 : 4;
  auto up = [pad](std::size_t n) { return (n + pad - 1) & ~(pad - 1); };
  std::size_t at = 0;
  while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr nh;
    std::memcpy(&nh, notes.data() + at, sizeof nh);
    const std::size_t name = at + sizeof nh, desc = up(name + nh.n_namesz);
    if (desc > notes.size() || nh.n_descsz > notes.size() - desc) return;
    std::string_view owner(reinterpret_cast<const char*>(notes.data()) + name, nh.n_namesz);
    while (!owner.empty() && owner.back() == 0) owner.remove_suffix(1);
    fn(owner, nh.n_type, notes.subspan(desc, nh.n_descsz), desc);
    at = std::min(up(desc + nh.n_descsz), notes.size());
  }
}

std::string to_hex(std::span<const std::byte> bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string s;
  for (std::byte b : bytes) {
    s += digits[static_cast<unsigned>(b) >> 4];
    s += digits[static_cast<unsigned>(b) & 15];
  }
  return s;
}

std::string build_id_text(const std::string& hex) {
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    text += static_cast<char>(std::strtol(hex.substr(i, 2).c_str(), nullptr, 16));
    if (text.back() <= ' ' || text.back() > '~') return hex;
  }
  return hex.empty() ? "none" : text;
}

Auxv parse_auxv(std::span<const std::byte> bytes) {
  Auxv a;
  for (std::size_t at = 0; at + sizeof(Elf64_auxv_t) <= bytes.size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t e;
    std::memcpy(&e, bytes.data() + at, sizeof e);
    switch (e.a_type) {
      case AT_PHDR:
        a.phdr = e.a_un.a_val;
        break;
      case AT_PHENT:
        a.phent = e.a_un.a_val;
        break;
      case AT_PHNUM:
        a.phnum = e.a_un.a_val;
        break;
      case AT_ENTRY:
        a.entry = e.a_un.a_val;
        break;
      case AT_SYSINFO_EHDR:
        a.vdso = e.a_un.a_val;
        break;
      case AT_EXECFN:
        a.execfn = e.a_un.a_val;
        break;
      default:
        break;
    }
  }
  return a;
}

std::vector<Module> modules_of(std::vector<FileMapping> mappings, const Auxv& auxv, const ByteReader& memory,
                               const std::function<std::optional<ElfImage>(const std::string&)>& file) {
  std::sort(mappings.begin(), mappings.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
  std::vector<Module> modules;
  for (const FileMapping& m : mappings) {
    if (!modules.empty() && m.lo < modules.back().hi && m.path == modules.back().path) continue;  // a later piece
    if (m.offset != 0) continue;
    Module mod;
    std::optional<ElfImage> image = parse_elf_memory(memory, m.lo);
    if (image) {
      mod.build_id = image->build_id;
    } else {
      image = file(m.path);
    }
    if (!image || (image->type != ET_EXEC && image->type != ET_DYN) || image->highest() == 0) continue;
    mod.path = m.path;
    mod.bias = elf_bias(*image, m.lo);
    mod.lo = mod.bias + image->lowest();
    mod.hi = mod.bias + image->highest();
    if (mod.lo != m.lo) continue;  // an ELF file mapped as data
    mod.main = auxv.phdr && auxv.phdr >= mod.lo && auxv.phdr < mod.hi;
    modules.push_back(std::move(mod));
  }
  if (auxv.vdso) {
    if (auto image = parse_elf_memory(memory, auxv.vdso)) {
      Module mod;
      mod.path = "[vdso]";
      mod.bias = elf_bias(*image, auxv.vdso);
      mod.lo = auxv.vdso;
      mod.hi = mod.bias + image->highest();
      mod.build_id = image->build_id;
      modules.push_back(std::move(mod));
    }
  }
  std::sort(modules.begin(), modules.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
  return modules;
}

}  // namespace vitrine::inspect
