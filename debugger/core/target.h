// target.h: what the core reads of a process or a core file, and nothing else. There is no write method: read-only is a
// property of the type. Implementations: CoreTarget (target_core.cc: an ELF core, mmapped, text from the ELF files
// named by NT_FILE), ProcTarget (target_proc.cc: ptrace + /proc/PID/mem), HostTarget (capi.cc: a debugger's callbacks,
// with /proc/PID/mem as the fast path for data), FakeTarget (tests: bytes, with faults on demand).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "result.h"

namespace vitrine::inspect {

// Of memory, as the kernel maps, loses and protects it. (What the runtime calls a page is the heap's.)
inline constexpr std::uint64_t kPage = 4096;

// What is being read. Code goes to the host on a live process, because the host hides the breakpoints it has planted.
enum class Space { data, code };

// x86-64 registers by DWARF number: 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp 8..15 r8..r15 16 rip.
inline constexpr int kRegs = 17;
inline constexpr int kRbx = 3, kRbp = 6, kRsp = 7, kR12 = 12, kRip = 16;

struct Registers {
  std::uint64_t r[kRegs] = {};
  std::uint32_t known = 0;  // bit n: r[n] is a value, not a guess
  bool has(int n) const { return known >> n & 1; }
  void set(int n, std::uint64_t v) {
    r[n] = v;
    known |= 1u << n;
  }
  void forget(int n) { known &= ~(1u << n); }
};

struct Thread {
  std::int64_t tid = 0;
  Registers regs;
  std::optional<std::uint64_t> fs_base;
  int signal = 0;        // that this thread got (cores)
  bool current = false;  // the host's selected thread, or the one that crashed
};

struct Module {
  std::string path;        // as the target names it
  std::uint64_t bias = 0;  // address in the target minus address in the file
  std::uint64_t lo = 0, hi = 0;
  std::string build_id;  // hex, of what is loaded in the target; empty: unknown
  bool main = false;     // the program itself
};

class Target {
 public:
  virtual ~Target() = default;
  enum class Kind { live, core };
  virtual Kind kind() const = 0;
  virtual std::string describe() const = 0;  // "core /tmp/core.17", "process 1234"

  // Reads a prefix of [addr, addr + out.size()): returns how many bytes could be read, 0 when not even the first.
  virtual std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) = 0;

  // Many pieces of data at once, where the target can do that for less than one by one. `got` counts a prefix as read()
  // does, but may be less than read() would give: ask it for the rest that is wanted.
  struct Piece {
    std::uint64_t addr = 0;
    std::span<std::byte> out;
    std::size_t got = 0;
  };
  virtual void read_many(std::span<Piece> pieces) {
    for (Piece& p : pieces) p.got = read(p.addr, p.out, Space::data);
  }

  // The bytes themselves when they lie in memory of ours (a mmapped core), else nullptr. Valid while the target lives.
  virtual const std::byte* view(std::uint64_t addr, std::size_t len) {
    (void)addr, (void)len;
    return nullptr;
  }
  // True when read(), read_many() and view() may be called from several threads at once (cores and /proc, never a host callback).
  virtual bool concurrent() const { return false; }

  virtual const std::vector<Thread>& threads() = 0;
  virtual const std::vector<Module>& modules() = 0;
  virtual std::uint64_t stop_id() { return 0; }               // changes whenever the target ran
  virtual std::vector<std::string> warnings() { return {}; }  // truncated core, missing file, build id mismatch, …
  virtual bool cut() { return false; }                        // a core that ends too early
};

// Opens a core. `program` may be empty (then NT_FILE and AT_EXECFN tell). A core of another program (build id) is
// refused unless `force`. sysroot-less: files are looked for at their recorded paths, then beside the core.
Result<std::unique_ptr<Target>> open_core(const std::string& core, const std::string& program, bool force);

// Attaches to a running process: PTRACE_SEIZE and INTERRUPT every thread (stop), or only read (nostop). The
// destructor, SIGINT and a crash of ours all let the threads go on.
Result<std::unique_ptr<Target>> open_process(int pid, bool stop);

// Reads with a page cache in front, exact-length reads and typed reads. flush() when the target ran.
class Memory {
 public:
  explicit Memory(Target& target) : target_(target) {}
  Memory(const Memory&) = delete;
  Status read(std::uint64_t addr, std::span<std::byte> out, Space space = Space::data);
  std::size_t read_prefix(std::uint64_t addr, std::span<std::byte> out, Space space = Space::data);
  template <class T>
  Result<T> get(std::uint64_t addr, Space space = Space::data) {
    T v;
    auto s = read(addr, std::as_writable_bytes(std::span(&v, 1)), space);
    if (!s) return s.error();
    return v;
  }
  Result<std::string> c_string(std::uint64_t addr, std::size_t max);
  void flush();
  Target& target() { return target_; }

 private:
  Target& target_;
  struct Cache;
  std::shared_ptr<Cache> cache_;
};

}  // namespace vitrine::inspect
