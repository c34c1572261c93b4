// elf_image.h: ELF headers read by hand from a file or from a target's memory: enough to place a module (bias, extent),
// to know its build id and to serve bytes that a core leaves to its files. The DWARF side uses libelf instead; a target
// must not depend on it, because what it reads may be garbage.
#pragma once
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "target.h"

namespace vitrine::inspect {

// A file mapped read-only for as long as the object lives.
class MappedFile {
 public:
  // keep_descriptor: for read_call.
  static Result<std::shared_ptr<MappedFile>> open(const std::string& path, bool keep_descriptor = false);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  const std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }
  // Copies a prefix of [offset, offset + out.size()).
  std::size_t read(std::uint64_t offset, std::span<std::byte> out) const;
  // The same by a system call: nothing of the mapping is touched.
  std::size_t read_call(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  MappedFile(const std::byte* data, std::uint64_t size, int fd) : data_(data), size_(size), fd_(fd) {}
  const std::byte* data_;
  std::uint64_t size_;
  int fd_;  // -1: not kept
};

struct ElfImage {
  std::uint16_t type = 0;  // ET_EXEC, ET_DYN, ET_CORE
  std::uint16_t machine = 0;
  std::uint64_t entry = 0;
  std::vector<Elf64_Phdr> phdrs;
  std::string build_id;  // hex; empty: none found
  std::uint64_t phoff = 0;

  std::uint64_t lowest() const;   // page-aligned start of the first PT_LOAD
  std::uint64_t highest() const;  // end of the last one
};

// Copies a prefix of the bytes at a position (file offset or address).
using ByteReader = std::function<std::size_t(std::uint64_t at, std::span<std::byte> out)>;

// An ELF64 file. Fails with a reason that names what is wrong with it.
Result<ElfImage> read_elf_file(const std::string& path);
Result<ElfImage> parse_elf_file(const ByteReader& file);
// An ELF image as it lies in memory, its header at `base`. Null when there is none.
std::optional<ElfImage> parse_elf_memory(const ByteReader& memory, std::uint64_t base);
// The bias of an image whose header lies at `base`.
std::uint64_t elf_bias(const ElfImage& image, std::uint64_t base);

inline constexpr std::uint32_t kGoBuildId = 4;  // type of the note whose owner is "Go"
// Calls fn(owner, type, descriptor, descriptor's offset in `notes`) for each note; stops at the first malformed one.
void each_note(std::span<const std::byte> notes, std::uint64_t align,
               const std::function<void(std::string_view, std::uint32_t, std::span<const std::byte>, std::size_t)>& fn);

std::string to_hex(std::span<const std::byte> bytes);
// A build id as people know it: in hex; Go's, which is a text, as that text; "none".
std::string build_id_text(const std::string& hex);

// A mapping of a file into the target's memory.
struct FileMapping {
  std::uint64_t lo = 0, hi = 0;
  std::uint64_t offset = 0;
  std::string path;
};

struct Auxv {
  std::uint64_t phdr = 0, phent = 0, phnum = 0, entry = 0, vdso = 0, execfn = 0;
};
Auxv parse_auxv(std::span<const std::byte> bytes);

// The modules that the mappings tell of, sorted by address. `memory` reads what the target itself has (build ids are
// taken from there only); `file` gives the image of a path when memory lacks the headers.
std::vector<Module> modules_of(std::vector<FileMapping> mappings, const Auxv& auxv, const ByteReader& memory,
                               const std::function<std::optional<ElfImage>(const std::string&)>& file);

}  // namespace vitrine::inspect
