// target_proc.cc: a Target over a running process of this machine: memory by pread of /proc/PID/mem, registers by
// ptrace.
//
// Stopping, and what guarantees that the process goes on:
//   1. Every thread is PTRACE_SEIZEd and PTRACE_INTERRUPTed. That sends no signal and leaves no trace in the process.
//   2. Threads born meanwhile are found by listing /proc/PID/task again until a whole pass finds none that is new; once
//      every known thread stands still, nobody is left to make another.
//   3. The destructor PTRACE_DETACHes each, handing back a signal that was just being delivered when it stopped.
//   4. If we die — SIGINT, SIGTERM, SIGKILL or a crash of our own — the kernel detaches the tracees of a tracer that
//      exits, and a seized thread that was interrupted (not signalled) then simply runs on. So no signal handler is
//      installed here: it could add nothing but a way to fail. PTRACE_O_EXITKILL must never be set.
// PTRACE_ATTACH was rejected: it stops by SIGSTOP, which a crash of the tracer leaves behind.
// ptrace is bound to the attaching thread, so open and destroy a stopped target on the same one; read() may be called
// from any.
//
// Without stopping (nostop) only memory is read; what the kernel tells of a thread that waits in a system call (its pc
// and sp, /proc/PID/task/TID/syscall) stands for its registers.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstring>
#include <thread>

#include "elf_image.h"
#include "low_text.h"
#include "proc_files.h"
#include "target.h"
#include "target_regs.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kPieces = 256;           // in one call
constexpr std::size_t kReadByCall = 16 << 10;  // a read of this length is worth it

constexpr auto kStopPatience = std::chrono::seconds(5);

// Why ptrace or /proc refused: one sentence that says what to do.
std::string refusal(int pid, int error) {
  const std::string process = "process " + std::to_string(pid);
  if (error == ESRCH || error == ENOENT || proc_status(pid, "Pid").empty())
    return "no such process: " + std::to_string(pid);
  const std::string state = proc_status(pid, "State");
  if (!state.empty() && (state[0] == 'Z' || state[0] == 'X')) return process + " has already exited (it is a zombie)";
  if (const std::string tracer = proc_status(pid, "TracerPid"); !tracer.empty() && tracer != "0") {
    const std::string name = proc_status(std::atoi(tracer.c_str()), "Name");
    return process + " is already traced by process " + tracer + (name.empty() ? "" : " (" + name + ")") +
           ": detach that debugger first, or read without stopping (-nostop)";
  }
  if (error != EPERM && error != EACCES) return process + ": " + std::strerror(error);
  std::string text = process + ": permission denied";
  if (const int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC); fd >= 0) {
    char scope = '0';
    if (::read(fd, &scope, 1) == 1 && scope != '0') {
      text += "; the sysctl kernel.yama.ptrace_scope is " + std::string(1, scope) +
              (scope == '3' ? " (no process may be traced until the next boot)"
                            : ": run as root, or `sudo sysctl kernel.yama.ptrace_scope=0`");
      close(fd);
      return text;
    }
    close(fd);
  }
  return text + ": it belongs to another user, or may not be traced; run as that user or as root";
}

struct Tracee {
  int tid;
  int signal = 0;  // was about to be delivered when it stopped: goes back with the detach
};

class ProcTarget : public Target {
 public:
  ProcTarget(int pid, bool stop) : pid_(pid), stop_(stop) {}
  ~ProcTarget() override {
    for (Tracee& t : tracees_) {
      if (detach(t) || errno != ESRCH) continue;
      wait_stopped(t);  // it had not stopped yet, and would now do so with nobody to let it go
      detach(t);
    }
    if (mem_ >= 0) close(mem_);
  }

  Status init();

  Kind kind() const override { return Kind::live; }
  std::string describe() const override { return "process " + std::to_string(pid_); }
  bool concurrent() const override { return true; }
  const std::vector<Thread>& threads() override {
    if (!stop_) read_running_threads();
    return threads_;
  }
  const std::vector<Module>& modules() override { return modules_; }
  std::uint64_t stop_id() override { return stop_ ? 1 : ++stop_id_; }
  std::vector<std::string> warnings() override { return warnings_; }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space) override;
  void read_many(std::span<Piece> pieces) override;

 private:
  std::size_t read_by_call(std::span<const Piece> pieces);
  std::size_t read_file(std::uint64_t addr, std::span<std::byte> out);
  Status seize_all();
  int seize(int tid);
  bool wait_stopped(Tracee& t);
  static bool detach(const Tracee& t) {
    return ptrace(PTRACE_DETACH, t.tid, nullptr, reinterpret_cast<void*>(static_cast<std::intptr_t>(t.signal))) == 0;
  }
  void read_stopped_threads();
  void read_running_threads();
  void read_modules();

  const int pid_;
  const bool stop_;
  int mem_ = -1;
  std::atomic<bool> calls_{true};  // process_vm_readv is there, and allowed
  std::uint64_t stop_id_ = 0;
  std::vector<Tracee> tracees_;
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
  std::vector<std::string> warnings_;
};

// How much of the pieces, at most kPieces, one process_vm_readv could copy: in order, up to the first that it could not.
// It copies once what pread of /proc/PID/mem copies twice, and takes many pieces. But it goes by the pid, so what came
// counts only while the descriptor's process is there; and it reads no page that its owner may not read, so that what is
// missing is for read_file.
std::size_t ProcTarget::read_by_call(std::span<const Piece> pieces) {
  if (!calls_.load(std::memory_order_relaxed)) return 0;
  std::array<iovec, kPieces> ours, theirs;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ours[i] = {pieces[i].out.data(), pieces[i].out.size()};
    theirs[i] = {reinterpret_cast<void*>(pieces[i].addr), pieces[i].out.size()};
  }
  const ssize_t n = process_vm_readv(pid_, ours.data(), pieces.size(), theirs.data(), pieces.size(), 0);
  if (n < 0 && (errno == ENOSYS || errno == EPERM)) calls_.store(false, std::memory_order_relaxed);
  std::byte byte;
  if (n <= 0 || read_file(pieces[0].addr, std::span(&byte, 1)) != 1) return 0;
  return static_cast<std::size_t>(n);
}

void ProcTarget::read_many(std::span<Piece> pieces) {
  for (std::size_t from = 0; from < pieces.size();) {
    const auto some = pieces.subspan(from, std::min(kPieces, pieces.size() - from));
    std::size_t came = read_by_call(some);
    for (Piece& p : some) {
      ++from;
      p.got = std::min(came, p.out.size());
      came -= p.got;
      if (p.got == p.out.size()) continue;
      p.got += read_file(p.addr + p.got, p.out.subspan(p.got));
      break;
    }
  }
}

std::size_t ProcTarget::read(std::uint64_t addr, std::span<std::byte> out, Space) {
  std::size_t done = 0;
  if (const Piece piece{addr, out}; out.size() >= kReadByCall) done = read_by_call(std::span(&piece, 1));
  return done == out.size() ? done : done + read_file(addr + done, out.subspan(done));
}

std::size_t ProcTarget::read_file(std::uint64_t addr, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = addr + done;
    if (at < addr || at > static_cast<std::uint64_t>(INT64_MAX)) break;  // pread's offset is signed
    const ssize_t n = pread(mem_, out.data() + done, out.size() - done, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

// 0, or errno. A thread that has exited meanwhile is no failure.
int ProcTarget::seize(int tid) {
  if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) {
    const int error = errno;
    const std::string state = proc_status(pid_, "State", "task/" + std::to_string(tid) + "/status");
    const bool gone = error == ESRCH || state.empty() || state[0] == 'Z' || state[0] == 'X';
    return gone && (tid != pid_ || (!state.empty() && proc_threads(pid_).size() > 1)) ? 0 : error;
  }
  tracees_.push_back({tid, 0});
  if (ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0 || !wait_stopped(tracees_.back())) tracees_.pop_back();
  return 0;
}

// False: the thread is gone.
bool ProcTarget::wait_stopped(Tracee& t) {
  const auto deadline = std::chrono::steady_clock::now() + kStopPatience;
  for (auto nap = std::chrono::microseconds(20);;
       nap = std::min<std::chrono::microseconds>(nap * 2, std::chrono::milliseconds(5))) {
    int status = 0;
    const pid_t got = waitpid(t.tid, &status, __WALL | WNOHANG);
    if (got == t.tid) {
      if (!WIFSTOPPED(status)) return false;
      if (status >> 16 == 0) t.signal = WSTOPSIG(status);  // a signal on its way: given back by the detach
      return true;
    }
    if (got < 0 && errno != EINTR) return false;
    if (std::chrono::steady_clock::now() > deadline) {
      warnings_.push_back("thread " + std::to_string(t.tid) + " did not stop within 5 s (state " +
                          proc_status(pid_, "State", "task/" + std::to_string(t.tid) + "/status") +
                          "): its registers are unknown");
      return true;
    }
    std::this_thread::sleep_for(nap);
  }
}

Status ProcTarget::seize_all() {
  auto known = [this](int tid) {
    return std::any_of(tracees_.begin(), tracees_.end(), [tid](const Tracee& t) { return t.tid == tid; });
  };
  for (bool news = true; news;) {
    news = false;
    for (const int tid : proc_threads(pid_)) {
      if (known(tid)) continue;
      if (const int error = seize(tid)) return Error{refusal(pid_, error), {}};
      news |= known(tid);
    }
  }
  if (tracees_.empty()) return Error{refusal(pid_, ESRCH), {}};
  return Ok{};
}

void ProcTarget::read_stopped_threads() {
  for (const Tracee& tracee : tracees_) {
    Thread t;
    t.tid = tracee.tid;
    t.signal = tracee.signal;
    t.current = tracee.tid == pid_;
    user_regs_struct u;
    iovec io{&u, sizeof u};
    if (ptrace(PTRACE_GETREGSET, tracee.tid, reinterpret_cast<void*>(NT_PRSTATUS), &io) == 0 &&
        io.iov_len == sizeof u) {
      t.regs = dwarf_registers(u);
      t.fs_base = u.fs_base;
    }
    threads_.push_back(t);
  }
  if (!threads_.empty() && std::none_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.current; }))
    threads_.front().current = true;
}

void ProcTarget::read_running_threads() {
  threads_.clear();
  for (const int tid : proc_threads(pid_)) {
    Thread t;
    t.tid = tid;
    t.current = tid == pid_;
    if (auto text = proc_file(pid_, "task/" + std::to_string(tid) + "/syscall")) {
      std::uint64_t sp = 0, pc = 0;  // "running", or number, six arguments, sp, pc
      if (std::sscanf(text->c_str(), "%*d %*x %*x %*x %*x %*x %*x %" SCNx64 " %" SCNx64, &sp, &pc) == 2) {
        t.regs.set(kRsp, sp);
        t.regs.set(kRip, pc);
      }
    }
    threads_.push_back(t);
  }
}

void ProcTarget::read_modules() {
  auto maps = proc_maps(pid_);
  if (!maps) {
    warnings_.push_back(maps.error().message);
    return;
  }
  std::vector<FileMapping> files;
  for (const ProcMapping& m : *maps)
    if (m.inode != 0 && m.r) files.push_back({m.lo, m.hi, m.offset, m.path});
  Auxv auxv;
  if (auto text = proc_file(pid_, "auxv")) auxv = parse_auxv(std::as_bytes(std::span(*text)));
  modules_ = modules_of(
      std::move(files), auxv, [this](std::uint64_t at, std::span<std::byte> out) { return read(at, out, Space::data); },
      [](const std::string&) { return std::nullopt; });
  for (Module& module : modules_)
    for (const ProcMapping& m : *maps)
      if (m.lo == module.lo && m.inode != 0) module.path = proc_real_path(pid_, m);
}

Status ProcTarget::init() {
  if (pid_ <= 0) return Error{"not a process id: " + std::to_string(pid_), {}};
  if (pid_ == getpid()) return Error{"process " + std::to_string(pid_) + " is this one", {}};
  const std::string group = proc_status(pid_, "Tgid");
  if (group.empty()) return Error{refusal(pid_, ESRCH), {}};
  if (group != std::to_string(pid_)) return Error{std::to_string(pid_) + " is a thread; its process is " + group, {}};
  if (stop_) {
    if (Status s = seize_all(); !s) return s;
  }
  const std::string path = "/proc/" + std::to_string(pid_) + "/mem";
  mem_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (mem_ < 0) return Error{refusal(pid_, errno), {}};
  if (stop_) read_stopped_threads();
  read_modules();
  if (modules_.empty()) return Error{"process " + std::to_string(pid_) + " maps no program (a kernel thread?)", {}};
  return Ok{};
}

}  // namespace

Result<std::unique_ptr<Target>> open_process(int pid, bool stop) {
  auto target = std::make_unique<ProcTarget>(pid, stop);
  if (Status s = target->init(); !s) return s.error();
  return std::unique_ptr<Target>(std::move(target));
}

}  // namespace vitrine::inspect
