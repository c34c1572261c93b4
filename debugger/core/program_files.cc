// program_files.cc: finds and opens the files of a module.
//
// The image is the file at the module's path, if its build id is the one that the target shows; the vdso has no file
// and is read out of the target's memory. Debug information is looked for, in this order, until a file with DWARF is
// found:
//   1. in the image;
//   2. below /usr/lib/debug/.build-id, by build id;
//   3. by .gnu_debuglink: beside the image, in .debug/ beside it, below /usr/lib/debug — build id or CRC must agree;
//   4. from debuginfod, only when the user asked for it (DEBUGINFOD_URLS set and VITRINE_DEBUGINFOD=1): a debugger that
//      waits for a network unasked is a complaint of every user of one.
// libdw itself follows a debug file's .gnu_debugaltlink (dwz).
#include "program_files.h"

#include <dlfcn.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "elf_image.h"
#include "low_text.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMaxVdso = 1 << 20;

std::string build_id_of(Elf* elf) {
  const void* id = nullptr;
  const ssize_t n = dwelf_elf_gnu_build_id(elf, &id);
  return n > 0 ? to_hex(std::span(static_cast<const std::byte*>(id), static_cast<std::size_t>(n))) : "";
}

// The id that Go's linker gives a program, as parse_elf_file finds it.
std::string go_build_id_of(Elf* elf) {
  std::size_t n = 0;
  std::string id;
  if (!elf || elf_getphdrnum(elf, &n) != 0) return id;
  for (std::size_t i = 0; i < n; i++) {
    GElf_Phdr p;
    if (!gelf_getphdr(elf, static_cast<int>(i), &p) || p.p_type != PT_NOTE) continue;
    Elf_Data* data = elf_getdata_rawchunk(elf, static_cast<std::int64_t>(p.p_offset), p.p_filesz, ELF_T_BYTE);
    if (!data || !data->d_buf) continue;
    each_note(std::span(static_cast<const std::byte*>(data->d_buf), data->d_size), p.p_align,
              [&](std::string_view owner, std::uint32_t type, std::span<const std::byte> desc, std::size_t) {
                if (owner == "Go" && type == kGoBuildId) id = to_hex(desc);
              });
  }
  return id;
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t;
    for (std::uint32_t i = 0; i < 256; i++) {
      std::uint32_t c = i;
      for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t c = ~0u;
  for (std::byte b : bytes) c = table[(c ^ static_cast<std::uint32_t>(b)) & 255] ^ (c >> 8);
  return ~c;
}

// Asks debuginfod, loaded only now: the library brings libcurl along, which nobody else should pay for.
std::string ask_debuginfod(const std::string& build_id) {
  const char* urls = std::getenv("DEBUGINFOD_URLS");
  const char* wanted = std::getenv("VITRINE_DEBUGINFOD");
  if (!urls || !*urls || !wanted || std::strcmp(wanted, "1") != 0) return "";
  void* lib = dlopen("libdebuginfod.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (!lib) return "";
  auto begin = reinterpret_cast<void* (*)()>(dlsym(lib, "debuginfod_begin"));
  auto find =
      reinterpret_cast<int (*)(void*, const unsigned char*, int, char**)>(dlsym(lib, "debuginfod_find_debuginfo"));
  auto end = reinterpret_cast<void (*)(void*)>(dlsym(lib, "debuginfod_end"));
  std::string path;
  if (begin && find && end) {
    if (void* client = begin()) {
      char* at = nullptr;
      const int fd = find(client, reinterpret_cast<const unsigned char*>(build_id.c_str()), 0, &at);
      if (fd >= 0) {
        if (at) path = at;
        close(fd);
      }
      std::free(at);
      end(client);
    }
  }
  return path;
}

bool has_dwarf(Elf* elf) { return find_section(elf, ".debug_info", true) || find_section(elf, ".zdebug_info", true); }

}  // namespace

Elf_Scn* find_section(Elf* elf, std::string_view name, bool data) {
  std::size_t names = 0;
  if (!elf || elf_getshdrstrndx(elf, &names) != 0) return nullptr;
  for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf, scn));) {
    GElf_Shdr sh;
    if (!gelf_getshdr(scn, &sh)) continue;
    const char* n = elf_strptr(elf, names, sh.sh_name);
    if (n && name == n && (!data || sh.sh_type != SHT_NOBITS)) return scn;
  }
  return nullptr;
}

ModuleFiles::~ModuleFiles() {
  if (dwarf_) dwarf_end(dwarf_);
  for (File& f : {std::ref(image_), std::ref(debug_)}) {
    if (f.elf) elf_end(f.elf);
    if (f.fd >= 0) close(f.fd);
  }
}

ModuleFiles::File ModuleFiles::open_file(const std::string& path, std::string& why) {
  File f;
  f.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (f.fd < 0) {
    why = path + ": " + std::strerror(errno);
    return f;
  }
  f.elf = elf_begin(f.fd, ELF_C_READ_MMAP, nullptr);
  if (!f.elf || elf_kind(f.elf) != ELF_K_ELF) {
    why = path + ": not an ELF file";
    if (f.elf) elf_end(f.elf);
    close(f.fd);
    return {};
  }
  return f;
}

Elf* ModuleFiles::elf() {
  if (image_tried_) return image_.elf;
  image_tried_ = true;
  elf_version(EV_CURRENT);
  if (module_.path.find('/') == module_.path.npos && access(module_.path.c_str(), F_OK) != 0) {  // [vdso]
    const std::uint64_t size = module_.hi - module_.lo;
    if (module_.hi <= module_.lo || size > kMaxVdso) return nullptr;
    memory_image_.resize((size + 4095) & ~4095ull);  // section headers lie behind the last segment
    const auto bytes = std::as_writable_bytes(std::span(memory_image_));
    const std::size_t got = target_.read(module_.lo, bytes, Space::data);
    if (got < size) return nullptr;
    image_.elf = elf_memory(memory_image_.data(), memory_image_.size());
    return image_.elf;
  }
  std::string why;
  File f = open_file(module_.path, why);
  if (f.elf && !module_.build_id.empty()) {
    if (const std::string id = build_id_of(f.elf);
        id != module_.build_id && go_build_id_of(f.elf) != module_.build_id) {
      why = module_.path + ": not the file that is loaded (build id " +
            build_id_text(id.empty() ? go_build_id_of(f.elf) : id) + ", the target has " +
            build_id_text(module_.build_id) + "): not used";
      elf_end(f.elf);
      close(f.fd);
      f = {};
    }
  }
  image_ = f;
  if (!f.elf) problems_.push_back(why);
  return image_.elf;
}

bool ModuleFiles::has_own_dwarf() { return has_dwarf(elf()); }
bool ModuleFiles::has_any_dwarf() { return has_dwarf(debug_elf()); }

// Takes the file if it is the right one and has something to say.
bool ModuleFiles::use_debug_file(const std::string& path, bool check_crc, std::uint32_t crc) {
  std::string why;
  File f = open_file(path, why);
  if (!f.elf) return false;
  const std::string ours = build_id_of(elf()), theirs = build_id_of(f.elf);
  bool right = ours == theirs && !ours.empty();
  if (!right && check_crc && (ours.empty() || theirs.empty())) {
    if (auto file = MappedFile::open(path))
      right = crc32(std::span((*file)->data(), static_cast<std::size_t>((*file)->size()))) == crc;
  }
  const bool useful = has_dwarf(f.elf) || find_section(f.elf, ".symtab", true);
  if (!right || !useful) {
    elf_end(f.elf);
    close(f.fd);
    return false;
  }
  debug_ = f;
  return true;
}

void ModuleFiles::find_debug_file() {
  const std::string id = build_id_of(elf());
  const std::string root = "/usr/lib/debug";
  if (id.size() > 2 && use_debug_file(root + "/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug", false, 0))
    return;
  GElf_Word crc = 0;
  if (const char* link = dwelf_elf_gnu_debuglink(elf(), &crc)) {
    std::string real = module_.path;
    if (char* resolved = realpath(module_.path.c_str(), nullptr)) {
      real = resolved;
      std::free(resolved);
    }
    const auto slash = real.rfind('/');
    const std::string dir = slash == std::string::npos ? "." : real.substr(0, slash);
    for (const std::string& at : {dir + "/" + link, dir + "/.debug/" + link, root + dir + "/" + link})
      if (at != real && use_debug_file(at, true, crc)) return;
  }
  if (!id.empty())
    if (const std::string path = ask_debuginfod(id); !path.empty()) use_debug_file(path, false, 0);
}

Elf* ModuleFiles::debug_elf() {
  if (!elf()) return nullptr;
  if (!debug_tried_) {
    debug_tried_ = true;
    if (!has_own_dwarf() && module_.path[0] != '[') find_debug_file();
  }
  return debug_.elf ? debug_.elf : elf();
}

Dwarf* ModuleFiles::dwarf() {
  if (dwarf_tried_) return dwarf_;
  dwarf_tried_ = true;
  Elf* from = debug_elf();
  if (!from || !(has_dwarf(from) || find_section(from, ".debug_frame", true))) return nullptr;
  dwarf_ = dwarf_begin_elf(from, DWARF_C_READ, nullptr);
  if (!dwarf_) problems_.push_back(module_.path + ": its debug information cannot be read: " + dwarf_errmsg(-1));
  return dwarf_;
}

}  // namespace vitrine::inspect
