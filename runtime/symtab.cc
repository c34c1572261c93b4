// symtab.cc: what the code at an address is called, for the dumps of a program that has no debugger at hand. Named
// after Go's symtab.go; unlike Go: a C++ program carries no table of its own, so the ELF symbols of its files are read.
//
//   1. /proc/self/maps says which file an address belongs to and at which offset (no lock of the dynamic linker is
//      taken, so this works in a signal handler; a file found once is remembered for the dump);
//   2. the file is mapped read-only; its program headers turn the offset into the address within the file, which is
//      what addr2line takes;
//   3. .symtab, or .dynsym in a stripped file, is scanned for the function around it; answers are remembered by
//      address, because parked goroutines stand at the same few places.
// Everything read from a file is checked against its size: a file that was replaced while the program runs gives wrong
// names at worst. Memory is static, owned by the thread that holds `panicking` (traceback.cc).
//
// Rejected: source lines. They need a DWARF reader, which is what debugger/ has; the dump says how to ask addr2line.
#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "linereader.h"
#include "mgc.h"
#include "traceback.h"

namespace vitrine::rt {

namespace {

constexpr int nimages = 32, ncached = 512, maxpath = 1024;

struct image {
  uintptr lo, hi;  // one executable mapping
  uint64 offset;   // of lo in the file
  const char* base;
  uint64 size;  // mapped bytes of the file; base null: it could not be read
  const Elf64_Sym* syms;
  uint64 nsyms;
  const char* strings;
  uint64 stringbytes;
  char path[maxpath];
};

struct {
  bool maymalloc;
  image images[nimages];
  int used, next;  // next: the one that is replaced when all are used
  struct {
    uintptr pc;
    symbol sym;
  } cache[ncached];
  char line[maxpath + 128];
  char exe[maxpath];
} state;

uint64 hexnumber(const char** s) {
  uint64 v = 0;
  for (;; (*s)++) {
    char c = **s;
    if (c >= '0' && c <= '9')
      v = v * 16 + uint64(c - '0');
    else if (c >= 'a' && c <= 'f')
      v = v * 16 + uint64(c - 'a' + 10);
    else
      return v;
  }
}

// T at that offset of the file, n of them; null when they do not fit.
template <class T>
const T* within(const image* im, uint64 offset, uint64 n = 1) {
  if (im->base == nullptr || offset > im->size || n > (im->size - offset) / sizeof(T) || offset % alignof(T) != 0)
    return nullptr;
  return reinterpret_cast<const T*>(im->base + offset);
}

const Elf64_Ehdr* header(const image* im) {
  auto* eh = within<Elf64_Ehdr>(im, 0);
  return eh != nullptr && memcmp(eh->e_ident, ELFMAG, SELFMAG) == 0 && eh->e_ident[EI_CLASS] == ELFCLASS64 ? eh
                                                                                                           : nullptr;
}

void findtables(image* im) {
  const Elf64_Ehdr* eh = header(im);
  if (eh == nullptr) return;
  auto* sh = within<Elf64_Shdr>(im, eh->e_shoff, eh->e_shnum);
  for (int i = 0; sh != nullptr && i < eh->e_shnum; i++) {
    if (sh[i].sh_type != SHT_SYMTAB && (sh[i].sh_type != SHT_DYNSYM || im->syms != nullptr)) continue;
    if (sh[i].sh_link >= eh->e_shnum) continue;
    const Elf64_Shdr& str = sh[sh[i].sh_link];
    uint64 n = sh[i].sh_size / sizeof(Elf64_Sym);
    auto* syms = within<Elf64_Sym>(im, sh[i].sh_offset, n);
    auto* strings = within<char>(im, str.sh_offset, str.sh_size);
    if (syms == nullptr || strings == nullptr || str.sh_size == 0 || strings[str.sh_size - 1] != 0) continue;
    im->syms = syms;
    im->nsyms = n;
    im->strings = strings;
    im->stringbytes = str.sh_size;
  }
}

void unmap(image* im) {
  if (im->base != nullptr) munmap(const_cast<char*>(im->base), im->size);
  im->base = nullptr;
  im->syms = nullptr;
}

image* load(uintptr lo, uintptr hi, uint64 offset, const char* path) {
  image* im = &state.images[state.next];
  state.next = (state.next + 1) % nimages;
  if (state.used < nimages)
    state.used++;
  else {
    unmap(im);
    memset(state.cache, 0, sizeof state.cache);  // its names are gone
  }
  *im = {};
  im->lo = lo;
  im->hi = hi;
  im->offset = offset;
  strncpy(im->path, path, maxpath - 1);
  if (path[0] != '/') return im;
  // A program that was deleted or replaced while it runs is still there under this name.
  bool program = strcmp(path, state.exe) == 0;
  int fd = open(program ? "/proc/self/exe" : path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return im;
  struct stat st;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
    void* p = mmap(nullptr, size_t(st.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (p != MAP_FAILED) {
      im->base = static_cast<const char*>(p);
      im->size = uint64(st.st_size);
    }
  }
  close(fd);
  if (program) strcpy(im->path, "program");
  findtables(im);
  return im;
}

image* imageof(uintptr pc) {
  for (int i = 0; i < state.used; i++)
    if (pc >= state.images[i].lo && pc < state.images[i].hi) return &state.images[i];
  linereader l("/proc/self/maps");
  image* im = nullptr;
  while (im == nullptr && l.next(state.line, sizeof state.line)) {
    // lo-hi perms offset major:minor inode    path
    const char* s = state.line;
    uint64 lo = hexnumber(&s);
    if (*s++ != '-') break;
    uint64 hi = hexnumber(&s);
    if (pc < lo || pc >= hi) continue;
    if (strlen(s) < 6 || s[3] != 'x') break;
    s += 6;
    uint64 offset = hexnumber(&s);
    for (int word = 0; word < 2 && *s != 0; word++) {
      while (*s == ' ') s++;
      while (*s != 0 && *s != ' ') s++;
    }
    while (*s == ' ') s++;
    im = load(lo, hi, offset, s);
  }
  return im;
}

uintptr vaddrof(const image* im, uint64 offset) {
  const Elf64_Ehdr* eh = header(im);
  if (eh == nullptr) return 0;
  auto* ph = within<Elf64_Phdr>(im, eh->e_phoff, eh->e_phnum);
  for (int i = 0; ph != nullptr && i < eh->e_phnum; i++)
    if (ph[i].p_type == PT_LOAD && offset - ph[i].p_offset < ph[i].p_filesz)
      return ph[i].p_vaddr + (offset - ph[i].p_offset);
  return 0;
}

const Elf64_Sym* around(const image* im, uintptr vaddr) {
  const Elf64_Sym* best = nullptr;
  for (uint64 i = 0; im->syms != nullptr && i < im->nsyms; i++) {
    const Elf64_Sym& s = im->syms[i];
    int type = ELF64_ST_TYPE(s.st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || s.st_shndx == SHN_UNDEF || s.st_name >= im->stringbytes)
      continue;
    if (s.st_value <= vaddr && vaddr - s.st_value < (s.st_size != 0 ? s.st_size : 1) &&
        (best == nullptr || s.st_value > best->st_value))
      best = &s;
  }
  return best;
}

}  // namespace

symbol findsym(uintptr pc) {
  auto& slot = state.cache[(pc ^ pc >> 9) % ncached];
  if (slot.pc == pc && pc != 0) return slot.sym;
  symbol sym{};
  if (image* im = imageof(pc); im != nullptr) {
    sym.file = im->path;
    sym.vaddr = vaddrof(im, pc - im->lo + im->offset);
    if (sym.vaddr != 0) {
      if (const Elf64_Sym* s = around(im, sym.vaddr); s != nullptr) {
        sym.name = im->strings + s->st_name;
        sym.entry = pc - (sym.vaddr - s->st_value);
      }
    }
  }
  slot.pc = pc;
  slot.sym = sym;
  return sym;
}

void printsymname(const char* name) {
  if (state.maymalloc && name[0] == '_' && name[1] == 'Z') {
    int status;
    if (char* readable = abi::__cxa_demangle(name, nullptr, nullptr, &status); readable != nullptr) {
      print(static_cast<const char*>(readable));
      free(readable);
      return;
    }
  }
  print(name);
}

bool demangled() { return state.maymalloc; }

const char* programpath() { return state.exe; }

void symbegin(bool maymalloc) {
  state.maymalloc = maymalloc;
  ssize_t n = readlink("/proc/self/exe", state.exe, sizeof state.exe - 1);
  state.exe[n > 0 ? n : 0] = 0;
}

void symend() {
  for (int i = 0; i < state.used; i++) unmap(&state.images[i]);
  state.used = state.next = 0;
  memset(state.cache, 0, sizeof state.cache);
}

gcsegment symtabmemory() { return {uintptr(&state), uintptr(&state + 1)}; }

}  // namespace vitrine::rt
