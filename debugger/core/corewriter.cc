// corewriter.cc: a sparse core of a live process.
//
// gdb's generate-core-file writes every page, touched or not, and gives up on the rest of a mapping at the first page
// that it cannot read, such as a stack's guard: the stacks after it are lost. Here:
//   1. /proc/PID/maps gives the mappings, /proc/PID/pagemap which of their pages were ever touched. The headers are
//      made first, so every segment's place in the file is known before a byte of memory is copied.
//   2. Private memory: touched pages are copied, the rest stay holes of the file, which read as the zeros that an
//      untouched page is. A gap of kSplitGap or more ends the segment, so that terabytes of reserved address space
//      (a sanitizer's shadow) do not make the file longer than a file system allows.
//   3. Private mappings of files: wholly if writable (an untouched page shows the file, so it must not become zeros) or
//      if some page is no longer the file's (relocated, then made read-only: the link map hangs on such a page); of
//      others only the first page, whose ELF header holds the build id — unless the file was replaced on
//      disk since: then nobody could read it again, and it is copied.
//   4. Shared memory: the pages that the process has mapped. Device memory, [vvar] and unreadable mappings get a
//      segment without contents. Pages of zeros stay holes everywhere.
//   5. A page that cannot be read (a guard inside a mapping) is skipped by itself.
// Notes: NT_PRSTATUS per thread, the current one first, as debuggers expect; NT_PRPSINFO, NT_AUXV, NT_FILE. Floating
// point registers are left out: no unwinder needs them.
// Everything is read through /proc; only the output file is written, and removed again if it cannot be completed.
#include "corewriter.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "low_text.h"
#include "proc_files.h"
#include "target_regs.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kCopy = 256 * kPage;  // bytes copied between two looks at `cancelled`
constexpr std::uint64_t kSplitGap = 1ull << 30;
constexpr std::size_t kPagemapBatch = 1 << 16;  // pages
constexpr std::uint64_t kPresent = 1ull << 63, kSwapped = 1ull << 62, kOfFile = 1ull << 61;

struct Segment {
  std::uint64_t lo, hi;
  std::uint32_t flags;
  std::uint64_t filesz = 0;
  bool touched_only = false;  // copy touched pages; else all
  std::uint64_t offset = 0;
};

struct Run {  // touched pages in a row
  std::uint64_t lo, hi;
};

class Writer {
 public:
  Writer(int pid, Target& target, const std::string& file, const std::function<bool()>& cancelled)
      : pid_(pid), target_(target), path_(file), cancelled_(cancelled) {}
  ~Writer() {
    for (int fd : {out_, mem_, pagemap_})
      if (fd >= 0) close(fd);
  }
  Result<CoreStats> run();

 private:
  Status plan();
  void plan_mapping(const ProcMapping& m);
  bool has_own_pages(const ProcMapping& m);
  Status write_headers();
  Status copy(const Segment& s);
  Status copy_range(const Segment& s, std::uint64_t lo, std::uint64_t hi);
  Status put(std::uint64_t offset, const void* bytes, std::size_t n);
  void note(std::vector<char>& out, std::uint32_t type, const void* desc, std::size_t n);
  std::vector<char> notes();
  bool stop() { return cancelled_ && cancelled_(); }
  // Calls fn(run) for the touched pages of [lo, hi), in order; fn returns false to end. False: ended, or no pagemap.
  template <class Fn>
  bool touched(std::uint64_t lo, std::uint64_t hi, Fn fn);
  Error fail(const std::string& what) { return Error{path_ + ": " + what, {}}; }

  const int pid_;
  Target& target_;
  const std::string path_;
  const std::function<bool()>& cancelled_;
  int out_ = -1, mem_ = -1, pagemap_ = -1;
  std::vector<ProcMapping> maps_;
  std::vector<Segment> segments_;
  CoreStats stats_;
};

template <class Fn>
bool Writer::touched(std::uint64_t lo, std::uint64_t hi, Fn fn) {
  std::vector<std::uint64_t> bits(std::min<std::uint64_t>(kPagemapBatch, (hi - lo) / kPage));
  Run run{0, 0};
  for (std::uint64_t at = lo; at < hi;) {
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(bits.size(), (hi - at) / kPage));
    const ssize_t got = pread(pagemap_, bits.data(), want * 8, static_cast<off_t>(at / kPage * 8));
    if (got < 8) return false;
    const std::size_t n = static_cast<std::size_t>(got) / 8;
    for (std::size_t i = 0; i < n; i++, at += kPage) {
      if (!(bits[i] & (kPresent | kSwapped))) continue;
      if (run.hi == at && run.hi > run.lo) {
        run.hi = at + kPage;
      } else {
        if (run.hi > run.lo && !fn(run)) return false;
        run = {at, at + kPage};
      }
    }
    if (stop()) return false;
  }
  return run.hi <= run.lo || fn(run);
}

// True when some page of a private file mapping was written.
bool Writer::has_own_pages(const ProcMapping& m) {
  std::vector<std::uint64_t> bits(std::min<std::uint64_t>(kPagemapBatch, (m.hi - m.lo) / kPage));
  for (std::uint64_t at = m.lo; at < m.hi; at += bits.size() * kPage) {
    const ssize_t got = pread(pagemap_, bits.data(), bits.size() * 8, static_cast<off_t>(at / kPage * 8));
    if (got < 8) return false;
    bits.resize(static_cast<std::size_t>(got) / 8);
    for (std::uint64_t b : bits)
      if ((b & kSwapped) || ((b & kPresent) && !(b & kOfFile))) return true;
  }
  return false;
}

void Writer::plan_mapping(const ProcMapping& m) {
  Segment s{m.lo, m.hi, (m.r ? PF_R : 0u) | (m.w ? PF_W : 0u) | (m.x ? PF_X : 0u), 0, false, 0};
  const bool file = m.inode != 0;
  const bool special = m.path == "[vvar]" || m.path == "[vvar_vclock]" || m.path == "[vsyscall]" ||
                       m.path.starts_with("/dev/dri") || m.path.starts_with("/dev/nvidia");
  if (m.path == "[vsyscall]") return;  // the same in every process, above the addresses of programs
  if (!m.r || special) {
    segments_.push_back(s);
    return;
  }
  if (file && !m.shared) {
    struct stat st;
    const bool as_on_disk = stat(m.path.c_str(), &st) == 0 && st.st_ino == m.inode;
    s.filesz = m.w || !as_on_disk || has_own_pages(m) ? m.hi - m.lo : m.offset == 0 ? std::min(kPage, m.hi - m.lo) : 0;
    segments_.push_back(s);
    return;
  }
  if (m.path == "[vdso]") {
    s.filesz = m.hi - m.lo;
    segments_.push_back(s);
    return;
  }
  // Anonymous or shared: cut at large gaps.
  s.touched_only = true;
  Segment part = s;
  part.hi = part.lo;
  std::uint64_t end = m.lo;  // of the last touched page
  touched(m.lo, m.hi, [&](Run r) {
    if (r.lo - end >= kSplitGap) {
      part.hi = end;
      part.filesz = part.hi - part.lo;
      if (part.hi > part.lo) segments_.push_back(part);
      Segment gap = s;
      gap.lo = end;
      gap.hi = r.lo;
      segments_.push_back(gap);
      part.lo = r.lo;
    }
    end = r.hi;
    return true;
  });
  const bool long_tail = m.hi - end >= kSplitGap;
  part.hi = long_tail ? end : m.hi;
  part.filesz = part.hi - part.lo;
  if (part.hi > part.lo) segments_.push_back(part);
  if (long_tail) {
    s.lo = end;
    segments_.push_back(s);
  }
}

Status Writer::plan() {
  auto maps = proc_maps(pid_);
  if (!maps) return maps.error();
  maps_ = std::move(*maps);
  if (maps_.empty()) return fail("process " + std::to_string(pid_) + " has no memory (a kernel thread or a zombie?)");
  for (const ProcMapping& m : maps_) {
    plan_mapping(m);
    if (stop()) return fail("cancelled");
  }
  return Ok{};
}

void Writer::note(std::vector<char>& out, std::uint32_t type, const void* desc, std::size_t n) {
  const Elf64_Nhdr nh{5, static_cast<Elf64_Word>(n), type};
  const auto add = [&out](const void* p, std::size_t size) {
    out.insert(out.end(), static_cast<const char*>(p), static_cast<const char*>(p) + size);
    out.resize((out.size() + 3) & ~std::size_t{3});
  };
  add(&nh, sizeof nh);
  add("CORE", 5);
  add(desc, n);
}

std::vector<char> Writer::notes() {
  std::vector<char> out;
  std::vector<Thread> threads = target_.threads();
  std::stable_sort(threads.begin(), threads.end(),
                   [](const Thread& a, const Thread& b) { return a.current > b.current; });
  stats_.threads = threads.size();

  const auto status = [](const Thread& t) {
    elf_prstatus st{};
    st.pr_pid = static_cast<int>(t.tid);
    st.pr_cursig = static_cast<short>(t.signal);
    st.pr_info.si_signo = t.signal;
    user_regs_struct u = user_registers(t.regs);
    u.fs_base = t.fs_base.value_or(0);
    u.orig_rax = ~0ull;
    u.cs = 0x33, u.ss = 0x2b;  // user mode, or gdb takes the registers for those of an i386 thread
    std::memcpy(&st.pr_reg, &u, sizeof u);
    return st;
  };
  if (!threads.empty()) {
    const elf_prstatus first = status(threads[0]);
    note(out, NT_PRSTATUS, &first, sizeof first);
  }
  elf_prpsinfo info{};
  info.pr_pid = pid_;
  info.pr_sname = 'T';
  const std::string name = proc_status(pid_, "Name");
  std::memcpy(info.pr_fname, name.data(), std::min(name.size(), sizeof info.pr_fname - 1));
  if (auto args = proc_file(pid_, "cmdline")) {
    for (char& c : *args)
      if (c == 0) c = ' ';
    std::memcpy(info.pr_psargs, args->data(), std::min(args->size(), sizeof info.pr_psargs - 1));
  }
  note(out, NT_PRPSINFO, &info, sizeof info);
  if (auto auxv = proc_file(pid_, "auxv")) note(out, NT_AUXV, auxv->data(), auxv->size());

  std::vector<std::uint64_t> words{0, kPage};
  std::string names;
  for (const ProcMapping& m : maps_) {
    if (m.inode == 0) continue;
    words.insert(words.end(), {m.lo, m.hi, m.offset / kPage});
    names += m.path;
    names += '\0';
    words[0]++;
  }
  std::vector<char> files(words.size() * 8);
  std::memcpy(files.data(), words.data(), files.size());
  files.insert(files.end(), names.begin(), names.end());
  note(out, NT_FILE, files.data(), files.size());

  for (std::size_t i = 1; i < threads.size(); i++) {
    const elf_prstatus st = status(threads[i]);
    note(out, NT_PRSTATUS, &st, sizeof st);
  }
  return out;
}

Status Writer::put(std::uint64_t offset, const void* bytes, std::size_t n) {
  const char* p = static_cast<const char*>(bytes);
  while (n > 0) {
    const ssize_t did = pwrite(out_, p, n, static_cast<off_t>(offset));
    if (did < 0 && errno == EINTR) continue;
    if (did <= 0) return fail(did < 0 ? std::strerror(errno) : "nothing could be written");
    p += did;
    offset += static_cast<std::uint64_t>(did);
    n -= static_cast<std::size_t>(did);
  }
  return Ok{};
}

Status Writer::write_headers() {
  const std::vector<char> note_bytes = notes();
  const std::size_t phnum = segments_.size() + 1;
  const bool many = phnum >= PN_XNUM;
  Elf64_Ehdr eh{};
  std::memcpy(eh.e_ident, ELFMAG, SELFMAG);
  eh.e_ident[EI_CLASS] = ELFCLASS64;
  eh.e_ident[EI_DATA] = ELFDATA2LSB;
  eh.e_ident[EI_VERSION] = EV_CURRENT;
  // LLDB refuses a core that does not say so, unless it finds a path of a Linux library in it: a static program has none.
  eh.e_ident[EI_OSABI] = ELFOSABI_LINUX;
  eh.e_type = ET_CORE;
  eh.e_machine = EM_X86_64;
  eh.e_version = EV_CURRENT;
  eh.e_ehsize = sizeof eh;
  eh.e_phentsize = sizeof(Elf64_Phdr);
  eh.e_phnum = static_cast<Elf64_Half>(many ? PN_XNUM : phnum);
  eh.e_phoff = sizeof eh;
  std::uint64_t at = sizeof eh;
  Elf64_Shdr real_number{};
  if (many) {
    real_number.sh_info = static_cast<Elf64_Word>(phnum);
    real_number.sh_size = 1;
    eh.e_shoff = at;
    eh.e_shentsize = sizeof real_number;
    eh.e_shnum = 1;
    if (Status s = put(at, &real_number, sizeof real_number); !s) return s;
    at += sizeof real_number;
    eh.e_phoff = at;
  }
  at += phnum * sizeof(Elf64_Phdr);
  std::vector<Elf64_Phdr> phdrs;
  phdrs.reserve(phnum);
  phdrs.push_back({PT_NOTE, 0, at, 0, 0, note_bytes.size(), 0, 4});
  if (Status s = put(at, note_bytes.data(), note_bytes.size()); !s) return s;
  at = (at + note_bytes.size() + kPage - 1) & ~(kPage - 1);
  for (Segment& s : segments_) {
    s.offset = at;
    phdrs.push_back({PT_LOAD, s.flags, at, s.lo, 0, s.filesz, s.hi - s.lo, kPage});
    at += s.filesz;
  }
  if (Status s = put(0, &eh, sizeof eh); !s) return s;
  if (Status s = put(eh.e_phoff, phdrs.data(), phdrs.size() * sizeof(Elf64_Phdr)); !s) return s;
  if (ftruncate(out_, static_cast<off_t>(at)) != 0) return fail(std::strerror(errno));
  stats_.apparent = at;
  stats_.segments = segments_.size();
  return Ok{};
}

Status Writer::copy_range(const Segment& s, std::uint64_t lo, std::uint64_t hi) {
  static const std::vector<char> zeros(kPage);
  std::vector<char> buffer(std::min(kCopy, hi - lo));
  for (std::uint64_t at = lo; at < hi;) {
    if (stop()) return fail("cancelled");
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), hi - at));
    const ssize_t got = pread(mem_, buffer.data(), want, static_cast<off_t>(at));
    const std::size_t whole = got > 0 ? static_cast<std::size_t>(got) / kPage * kPage : 0;
    if (whole == 0) {  // this page cannot be read: a guard
      stats_.unreadable += kPage;
      at += kPage;
      continue;
    }
    for (std::size_t from = 0; from < whole;) {
      const auto is_zero = [&](std::size_t i) { return std::memcmp(&buffer[i], zeros.data(), kPage) == 0; };
      if (is_zero(from)) {
        from += kPage;
        continue;
      }
      std::size_t to = from + kPage;
      while (to < whole && !is_zero(to)) to += kPage;
      if (Status st = put(s.offset + (at - s.lo) + from, &buffer[from], to - from); !st) return st;
      stats_.written += to - from;
      from = to;
    }
    at += whole;
  }
  return Ok{};
}

Status Writer::copy(const Segment& s) {
  if (s.filesz == 0) return Ok{};
  if (!s.touched_only) return copy_range(s, s.lo, s.lo + s.filesz);
  Status result = Ok{};
  touched(s.lo, s.lo + s.filesz, [&](Run r) {
    result = copy_range(s, r.lo, r.hi);
    return bool(result);
  });
  if (result && stop()) return fail("cancelled");
  return result;
}

Result<CoreStats> Writer::run() {
  const std::string proc = "/proc/" + std::to_string(pid_) + "/";
  mem_ = open((proc + "mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (mem_ < 0) return Error{proc + "mem: " + std::strerror(errno), {}};
  pagemap_ = open((proc + "pagemap").c_str(), O_RDONLY | O_CLOEXEC);
  if (pagemap_ < 0) return Error{proc + "pagemap: " + std::strerror(errno), {}};
  struct stat st;
  if (stat(path_.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) return fail("exists and is not a regular file");
  out_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out_ < 0) return fail(std::strerror(errno));
  Status s = plan();
  if (s) s = write_headers();
  for (std::size_t i = 0; s && i < segments_.size(); i++) s = copy(segments_[i]);
  if (s && close(std::exchange(out_, -1)) != 0) s = fail(std::strerror(errno));
  if (!s) {
    unlink(path_.c_str());
    return s.error();
  }
  return stats_;
}

}  // namespace

Result<CoreStats> write_core(int pid, Target& target, const std::string& file, const std::function<bool()>& cancelled) {
  return Writer(pid, target, file, cancelled).run();
}

}  // namespace vitrine::inspect
