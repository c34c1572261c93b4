// target_core.cc: a Target over an ELF core file: the kernel's, gdb's generate-core-file's, or our own sparse one.
//
// What an address is answered from, in this order:
//   1. the core's own bytes: the part of a PT_LOAD that has file contents and that the file really holds (a truncated
//      core ends earlier than its headers say);
//   2. the ELF file that NT_FILE names for that address. Kernel cores leave file-backed text and constants out, and
//      for a private mapping that was never written the file still has the right bytes;
//   3. nothing: the read is short. A segment's memsz beyond its filesz is *not* zeros in a core, it is memory that was
//      not dumped.
// The core is mapped, never read ahead, so one larger than RAM costs address space only; view() hands out the mapped
// bytes. read() of more than a few words is a system call instead: it costs 1 µs a page where the first touch of a
// mapped page costs 1.3 to 3.5 (fault-around maps its neighbours), and leaves no mapped pages behind. Everything after
// opening is immutable but the table of opened files, which has a lock.
//
// A file serves only if its build id is the one that the core's copy of the ELF header shows. For the program itself a
// mismatch is refused (unless forced: every answer would be made from wrong offsets); for a library it is a warning.
//
// Threads are the NT_PRSTATUS notes in their order: Linux and gdb write the thread that crashed, or was current, first.
#include <sys/procfs.h>
#include <sys/user.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "elf_image.h"
#include "low_text.h"
#include "target.h"
#include "target_regs.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kReadByCall = 256;

struct Segment {
  std::uint64_t lo, hi;     // addresses
  std::uint64_t bytes_end;  // [lo, bytes_end) is in the file
  std::uint64_t offset;     // of lo
  std::uint64_t whole_end;  // [lo, whole_end) would be, were the core not truncated
};

std::string dir_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}
std::string base_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

class CoreTarget : public Target {
 public:
  CoreTarget(std::string path, std::shared_ptr<MappedFile> file) : path_(std::move(path)), file_(std::move(file)) {}

  Status init(const std::string& program, bool force);

  Kind kind() const override { return Kind::core; }
  std::string describe() const override { return "core " + path_; }
  bool concurrent() const override { return true; }
  const std::vector<Thread>& threads() override { return threads_; }
  const std::vector<Module>& modules() override { return modules_; }
  std::uint64_t stop_id() override { return 1; }
  bool cut() override { return cut_; }
  std::vector<std::string> warnings() override {
    std::lock_guard lock(mutex_);
    return warnings_;
  }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space) override;
  const std::byte* view(std::uint64_t addr, std::size_t len) override;

 private:
  struct Backing {
    std::shared_ptr<MappedFile> file;  // null: not to be had
    std::string path;
    bool tried = false;
  };

  void read_segments(const ElfImage& core);
  void read_notes(const ElfImage& core);
  void read_thread(std::span<const std::byte> desc);
  void read_files(std::span<const std::byte> desc);
  void without_nt_file(const std::string& program);
  Status check_program(const std::string& program, bool force);
  Backing& backing(const std::string& path);
  std::span<const std::byte> run_in_core(std::uint64_t addr) const;
  std::span<const std::byte> run_in_files(std::uint64_t addr);
  std::span<const std::byte> run_at(std::uint64_t addr) {
    auto run = run_in_core(addr);
    return run.empty() ? run_in_files(addr) : run;
  }
  void warn(std::string text) {
    std::lock_guard lock(mutex_);
    if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.push_back(std::move(text));
  }

  std::string path_;
  std::shared_ptr<MappedFile> file_;
  std::vector<Segment> segments_;      // by lo
  std::vector<FileMapping> mappings_;  // by lo
  std::vector<std::byte> auxv_bytes_;
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
  std::map<std::string, std::string> build_ids_;  // path → what the core shows
  std::mutex files_mutex_;                        // guards files_
  std::map<std::string, Backing> files_;
  std::mutex mutex_;  // guards warnings_
  std::vector<std::string> warnings_;
  bool cut_ = false;
};

void CoreTarget::read_segments(const ElfImage& core) {
  std::uint64_t wanted = 0;
  for (const Elf64_Phdr& p : core.phdrs) {
    wanted = std::max(wanted, p.p_offset + p.p_filesz);
    if (p.p_type != PT_LOAD || p.p_memsz == 0 || p.p_vaddr + p.p_memsz < p.p_vaddr) continue;
    const std::uint64_t have =
        p.p_offset >= file_->size() ? 0 : std::min({p.p_filesz, p.p_memsz, file_->size() - p.p_offset});
    segments_.push_back(
        {p.p_vaddr, p.p_vaddr + p.p_memsz, p.p_vaddr + have, p.p_offset, p.p_vaddr + std::min(p.p_filesz, p.p_memsz)});
  }
  std::sort(segments_.begin(), segments_.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
  cut_ = wanted > file_->size();
  if (cut_)
    warn("the core is truncated: " + std::to_string(file_->size()) + " of " + std::to_string(wanted) + " bytes");
}

void CoreTarget::read_thread(std::span<const std::byte> desc) {
  elf_prstatus st;
  if (desc.size() < sizeof st) {
    warn("a thread of the core has no readable registers");
    return;
  }
  std::memcpy(&st, desc.data(), sizeof st);
  user_regs_struct regs;
  static_assert(sizeof regs == sizeof st.pr_reg);
  std::memcpy(&regs, &st.pr_reg, sizeof regs);
  Thread t;
  t.tid = st.pr_pid;
  t.regs = dwarf_registers(regs);
  t.fs_base = regs.fs_base;
  t.signal = st.pr_cursig;
  t.current = threads_.empty();
  threads_.push_back(t);
}

void CoreTarget::read_files(std::span<const std::byte> desc) {
  auto word = [&](std::size_t i) {
    std::uint64_t v = 0;
    if ((i + 1) * 8 <= desc.size()) std::memcpy(&v, desc.data() + i * 8, 8);
    return v;
  };
  const std::uint64_t count = word(0), unit = word(1);
  if (count > desc.size() / 24) {
    warn("the core's list of mapped files is damaged");
    return;
  }
  const char* s = reinterpret_cast<const char*>(desc.data()) + 16 + count * 24;
  const char* end = reinterpret_cast<const char*>(desc.data()) + desc.size();
  for (std::uint64_t i = 0; i < count && s < end; i++) {
    const std::size_t len = strnlen(s, static_cast<std::size_t>(end - s));
    mappings_.push_back({word(2 + 3 * i), word(3 + 3 * i), word(4 + 3 * i) * unit, std::string(s, len)});
    s += len + 1;
  }
  std::sort(mappings_.begin(), mappings_.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
}

void CoreTarget::read_notes(const ElfImage& core) {
  for (const Elf64_Phdr& p : core.phdrs) {
    if (p.p_type != PT_NOTE || p.p_offset >= file_->size()) continue;
    const std::span notes(file_->data() + p.p_offset,
                          static_cast<std::size_t>(std::min(p.p_filesz, file_->size() - p.p_offset)));
    each_note(notes, p.p_align, [&](std::string_view owner, std::uint32_t type, auto desc, std::size_t) {
      if (owner != "CORE") return;
      if (type == NT_PRSTATUS) read_thread(desc);
      if (type == NT_FILE) read_files(desc);
      if (type == NT_AUXV) auxv_bytes_.assign(desc.begin(), desc.end());
    });
  }
  if (threads_.empty()) warn("the core names no threads");
}

// A core without NT_FILE: the program's place follows from AT_PHDR; libraries stay unknown.
void CoreTarget::without_nt_file(const std::string& program) {
  warn("the core does not list its mapped files: only the program itself is known");
  const Auxv auxv = parse_auxv(auxv_bytes_);
  auto image = program.empty() ? Result<ElfImage>(Error{"", {}}) : read_elf_file(program);
  if (!image || !auxv.phdr) return;
  const std::uint64_t bias = image->type == ET_EXEC ? 0 : auxv.phdr - image->phoff - image->lowest();
  for (const Elf64_Phdr& p : image->phdrs) {
    if (p.p_type != PT_LOAD) continue;
    const std::uint64_t lo = (bias + p.p_vaddr) & ~(kPage - 1);
    mappings_.push_back({lo, bias + p.p_vaddr + p.p_filesz, p.p_offset & ~(kPage - 1), program});
  }
}

// The file behind a path, opened once: at its recorded place, else beside the core.
CoreTarget::Backing& CoreTarget::backing(const std::string& path) {
  std::lock_guard lock(files_mutex_);
  Backing& b = files_[path];
  if (b.tried) return b;
  b.tried = true;
  const auto known = build_ids_.find(path);
  std::string problem;
  for (const std::string& at : {path, dir_of(path_) + "/" + base_of(path)}) {
    auto file = MappedFile::open(at);
    if (!file) {
      if (problem.empty()) problem = file.error().message + ": what the core leaves to this file cannot be read";
      continue;
    }
    auto image = parse_elf_file([&](std::uint64_t a, std::span<std::byte> out) { return (*file)->read(a, out); });
    if (image && known != build_ids_.end() && !known->second.empty() && image->build_id != known->second) {
      problem = at + ": not the file that the core was made from (build id " + build_id_text(image->build_id) +
                ", the core has " + build_id_text(known->second) + "): not used";
      continue;
    }
    b.file = *file;
    b.path = at;
    return b;
  }
  warn(problem);
  return b;
}

std::span<const std::byte> CoreTarget::run_in_core(std::uint64_t addr) const {
  auto it = std::upper_bound(segments_.begin(), segments_.end(), addr,
                             [](std::uint64_t a, const Segment& s) { return a < s.lo; });
  if (it == segments_.begin()) return {};
  --it;
  if (addr >= it->bytes_end) return {};
  return {file_->data() + it->offset + (addr - it->lo), static_cast<std::size_t>(it->bytes_end - addr)};
}

std::span<const std::byte> CoreTarget::run_in_files(std::uint64_t addr) {
  auto it = std::upper_bound(mappings_.begin(), mappings_.end(), addr,
                             [](std::uint64_t a, const FileMapping& m) { return a < m.lo; });
  if (it == mappings_.begin()) return {};
  --it;
  if (addr >= it->hi) return {};
  const auto& file = backing(it->path).file;
  const std::uint64_t offset = it->offset + (addr - it->lo);
  if (!file || offset >= file->size()) return {};
  // Not past the mapping, nor over bytes that the core has, or had before it was truncated: they may have been written
  // since the program started.
  std::uint64_t end = std::min(it->hi, addr + (file->size() - offset));
  auto next = std::upper_bound(segments_.begin(), segments_.end(), addr,
                               [](std::uint64_t a, const Segment& s) { return a < s.lo; });
  if (next != segments_.begin() && addr < std::prev(next)->whole_end) return {};
  for (; next != segments_.end() && next->lo < end; ++next) {
    if (next->whole_end > next->lo) {
      end = next->lo;
      break;
    }
  }
  return {file->data() + offset, static_cast<std::size_t>(end - addr)};
}

std::size_t CoreTarget::read(std::uint64_t addr, std::span<std::byte> out, Space) {
  std::size_t done = 0;
  while (done < out.size()) {
    if (addr + done < addr) break;
    auto run = run_in_core(addr + done);
    const bool in_core = !run.empty();
    if (!in_core) run = run_in_files(addr + done);
    if (run.empty()) break;
    std::size_t n = std::min(run.size(), out.size() - done);
    const auto piece = out.subspan(done, n);
    if (in_core && n >= kReadByCall) {
      n = file_->read_call(static_cast<std::uint64_t>(run.data() - file_->data()), piece);
      if (n == 0) break;
    } else {
      std::memcpy(piece.data(), run.data(), n);
    }
    done += n;
  }
  return done;
}

const std::byte* CoreTarget::view(std::uint64_t addr, std::size_t len) {
  const auto run = run_at(addr);
  return run.size() >= len && len > 0 ? run.data() : nullptr;
}

Status CoreTarget::check_program(const std::string& program, bool force) {
  auto main = std::find_if(modules_.begin(), modules_.end(), [](const Module& m) { return m.main; });
  if (main == modules_.end()) {
    warn("the core does not show where its program lies");
    return Ok{};
  }
  const std::string recorded = main->path;
  auto image = read_elf_file(recorded);
  if (!image) {
    const std::string beside = dir_of(path_) + "/" + base_of(main->path);
    if (auto other = read_elf_file(beside)) {
      image = std::move(other);
      main->path = beside;
    }
  }
  if (!image) {
    if (!program.empty()) return image.error();
    warn(image.error().message + ": the program's code and symbols are missing");
    return Ok{};
  }
  const Auxv auxv = parse_auxv(auxv_bytes_);
  std::string why;
  if (!main->build_id.empty()) {
    if (image->build_id != main->build_id)
      why = "build id " + build_id_text(image->build_id) + ", the core has " + build_id_text(main->build_id);
  } else if (auxv.entry && image->entry + main->bias != auxv.entry) {
    why = "its entry would be at " + hex(image->entry + main->bias) + ", the core's is at " + hex(auxv.entry);
  }
  if (why.empty()) return Ok{};
  const std::string text = main->path + " is not the program that " + path_ + " was made from (" + why + ")";
  if (!force)
    return Error{text + "; --force, or VITRINE_FORCE=1 in a debugger's environment, reads it all the same", {}};
  warn(text + ": read all the same, answers may be wrong");
  build_ids_[recorded].clear();
  main->build_id.clear();
  return Ok{};
}

Status CoreTarget::init(const std::string& program, bool force) {
  auto core = parse_elf_file([this](std::uint64_t at, std::span<std::byte> out) { return file_->read(at, out); });
  if (!core) return Error{path_ + ": " + core.error().message, {}};
  if (core->type != ET_CORE) return Error{path_ + ": an ELF file, but not a core", {}};
  if (core->machine != EM_X86_64)
    return Error{path_ + ": a core of another machine (ELF machine " + std::to_string(core->machine) + ")", {}};
  read_segments(*core);
  read_notes(*core);
  if (segments_.empty()) return Error{path_ + ": the core holds no memory", {}};
  if (mappings_.empty()) without_nt_file(program);
  // At this point the core's own bytes can be read; files cannot yet, since build ids are still unknown.
  const ByteReader memory = [this](std::uint64_t at, std::span<std::byte> out) -> std::size_t {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto run = run_in_core(at + done);
      if (run.empty()) break;
      const std::size_t n = std::min(run.size(), out.size() - done);
      std::memcpy(out.data() + done, run.data(), n);
      done += n;
    }
    return done;
  };
  const auto from_file = [this](const std::string& path) -> std::optional<ElfImage> {
    for (const std::string& at : {path, dir_of(path_) + "/" + base_of(path)})
      if (auto image = read_elf_file(at)) return std::move(*image);
    return std::nullopt;
  };
  const Auxv auxv = parse_auxv(auxv_bytes_);
  modules_ = modules_of(mappings_, auxv, memory, from_file);
  if (!program.empty()) {  // the program as the user names it stands for the recorded path
    const auto main = std::find_if(modules_.begin(), modules_.end(), [](const Module& m) { return m.main; });
    if (main == modules_.end()) {
      if (auto image = read_elf_file(program); !image) return image.error();
    } else if (const std::string recorded = main->path; recorded != program) {
      for (FileMapping& m : mappings_)
        if (m.path == recorded) m.path = program;
      // Where the core lacks the headers, extent and bias came from the recorded file: take them from this one.
      modules_ = modules_of(mappings_, auxv, memory, from_file);
      if (std::none_of(modules_.begin(), modules_.end(), [](const Module& m) { return m.main; })) {
        if (auto image = read_elf_file(program); !image) return image.error();
        if (!force) return Error{program + " is not the program that " + path_ + " was made from", {}};
      }
    }
  }
  for (const Module& m : modules_) build_ids_[m.path] = m.build_id;
  if (Status s = check_program(program, force); !s) return s;
  for (Module& m : modules_) {  // a library that lies beside the core is used, and named, there
    if (m.path == "[vdso]" || m.main) continue;
    const Backing& b = backing(m.path);
    if (b.file && b.path != m.path) m.path = b.path;
  }
  return Ok{};
}

}  // namespace

Result<std::unique_ptr<Target>> open_core(const std::string& core, const std::string& program, bool force) {
  auto file = MappedFile::open(core, true);
  if (!file) return file.error();
  auto target = std::make_unique<CoreTarget>(core, *file);
  if (Status s = target->init(program, force); !s) return s.error();
  return std::unique_ptr<Target>(std::move(target));
}

}  // namespace vitrine::inspect
