// host_target.cc: see host_target.h. One read:
//   1. code → the host's callback, always, on a live process.
//   2. data → the direct target (core file, /proc/PID/mem) when there is one; what it cannot read is asked of the host,
//      which may know more (a section of a file, say).
//   3. A callback that did not set *done failed, whatever it wrote.
// Worker threads may only use view(), read_many() and the direct read: read() falls back to the host on the session's thread alone.
#include "host_target.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

namespace vitrine::inspect {
namespace {

class LentTarget : public HostTarget {
 public:
  LentTarget(const vi_host& host, const vi_target& wanted)
      : host_(host),
        core_(wanted.kind == VI_TARGET_CORE),
        pid_(wanted.pid),
        stop_id_(wanted.stop_id),
        owner_(std::this_thread::get_id()) {
    if (wanted.core_path) core_path_ = wanted.core_path;
    if (wanted.program) program_ = wanted.program;
  }

  Status open(bool force) {
    if (core_ && !core_path_.empty()) {
      auto opened = open_core(core_path_, program_, force);
      if (!opened) return opened.error();
      direct_ = std::move(*opened);
    } else if (!host_.read) {
      return Error{"the debugger lends no way to read memory", {}};
    } else {
      try_direct();
    }
    return Ok{};
  }

  Kind kind() const override { return core_ ? Kind::core : Kind::live; }
  std::string describe() const override {
    if (direct_) return direct_->describe();
    if (core_) return "a core file, read through the debugger";
    return pid_ > 0 ? fmt::format("process {}, read through the debugger", pid_)
                    : "a process read through the debugger";
  }
  std::int64_t local_pid() const override { return !core_ && direct_ ? pid_ : 0; }
  std::uint64_t stop_id() override { return stop_id_; }

  void stopped(std::uint64_t stop_id) override {
    stop_id_ = stop_id;
    threads_read_ = false;
    modules_read_ = false;
    if (!core_) try_direct();  // maps may have changed; another process may have the pid by now
  }

  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
    bool here = std::this_thread::get_id() == owner_;
    if (direct_ && (space == Space::data || core_ || !here)) {
      std::size_t got = direct_->read(addr, out, space);
      if (got == out.size() || core_ || !here) return got;
      std::size_t more = host_read(addr + got, out.subspan(got), space);
      return got + more;
    }
    return here ? host_read(addr, out, space) : 0;
  }
  void read_many(std::span<Piece> pieces) override {
    if (direct_) return direct_->read_many(pieces);
    Target::read_many(pieces);
  }
  const std::byte* view(std::uint64_t addr, std::size_t len) override {
    return direct_ ? direct_->view(addr, len) : nullptr;
  }
  bool concurrent() const override { return direct_ && direct_->concurrent(); }

  const std::vector<Thread>& threads() override {
    if (threads_read_) return threads_;
    threads_.clear();
    threads_read_ = true;
    std::vector<Thread> lent = host_threads();
    if (core_ && direct_) {  // the core's own registers; the host's idea of the current thread
      threads_ = direct_->threads();
      auto chosen = std::find_if(lent.begin(), lent.end(), [](const Thread& t) { return t.current; });
      bool known = chosen != lent.end() &&
                   std::any_of(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.tid == chosen->tid; });
      for (Thread& t : threads_) {
        if (known) t.current = t.tid == chosen->tid;
      }
    } else {
      threads_ = std::move(lent);
    }
    return threads_;
  }

  const std::vector<Module>& modules() override {
    if (modules_read_) return modules_;
    modules_read_ = true;
    modules_ = direct_ ? direct_->modules() : host_modules();
    return modules_;
  }

  bool cut() override { return direct_ && direct_->cut(); }
  std::vector<std::string> warnings() override {
    auto all = direct_ ? direct_->warnings() : std::vector<std::string>{};
    all.insert(all.end(), warnings_.begin(), warnings_.end());
    return all;
  }

 private:
  std::size_t host_read(std::uint64_t addr, std::span<std::byte> out, Space space) {
    if (!host_.read || out.empty()) return 0;
    std::uint64_t got = 0;
    std::int32_t done = 0;
    host_.read(host_.ctx, addr, out.data(), out.size(), space == Space::code ? VI_SPACE_CODE : VI_SPACE_DATA, &got,
               &done);
    return done == 1 ? std::min<std::uint64_t>(got, out.size()) : 0;
  }

  std::vector<Thread> host_threads() {
    std::vector<Thread> threads;
    if (!host_.threads) return threads;
    std::int32_t done = 0;
    auto sink = [](void* ctx, const vi_thread* lent) {
      if (!lent || lent->size < offsetof(vi_thread, current)) return;
      vi_thread t{};
      std::memcpy(&t, lent, std::min<std::size_t>(lent->size, sizeof t));
      Thread made;
      made.tid = t.tid;
      for (int n = 0; n < kRegs; ++n) {
        if (t.known >> n & 1) made.regs.set(n, t.regs[n]);
      }
      if (t.has_fs_base) made.fs_base = t.fs_base;
      made.current = t.current != 0;
      made.signal = t.signal;
      static_cast<std::vector<Thread>*>(ctx)->push_back(made);
    };
    host_.threads(host_.ctx, sink, &threads, &done);
    if (done != 1) warnings_.push_back("the debugger could not list its threads");
    return threads;
  }

  std::vector<Module> host_modules() {
    std::vector<Module> modules;
    if (!host_.modules) return modules;
    std::int32_t done = 0;
    auto sink = [](void* ctx, const vi_module* lent) {
      if (!lent || lent->size < sizeof(vi_module) || !lent->path) return;
      Module made;
      made.path = lent->path;
      made.bias = lent->bias;
      made.lo = lent->lo & ~(kPage - 1);  // a host may know no more than where the first section begins
      made.hi = lent->hi;
      made.main = lent->main != 0;
      if (lent->build_id) made.build_id = lent->build_id;
      static_cast<std::vector<Module>*>(ctx)->push_back(std::move(made));
    };
    host_.modules(host_.ctx, sink, &modules, &done);
    if (done != 1) warnings_.push_back("the debugger could not list its modules");
    return modules;
  }

  // A pid may belong to another machine. The stack of each thread (up to four) must read the same both ways.
  void try_direct() {
    direct_.reset();
    if (pid_ <= 0) return;
    auto opened = open_process(static_cast<int>(pid_), false);
    if (!opened) return;
    if (!host_.read) {
      direct_ = std::move(*opened);
      return;
    }
    std::array<std::byte, 64> ours, theirs;
    int compared = 0;
    for (const Thread& t : host_threads()) {
      if (!t.regs.has(kRsp) || compared == 4) break;
      std::size_t a = (*opened)->read(t.regs.r[kRsp], ours, Space::data);
      std::size_t b = host_read(t.regs.r[kRsp], theirs, Space::data);
      if (a != b || std::memcmp(ours.data(), theirs.data(), a) != 0) return;
      if (a) ++compared;
    }
    if (compared) direct_ = std::move(*opened);
  }

  vi_host host_;
  bool core_;
  std::int64_t pid_;
  std::uint64_t stop_id_;
  std::thread::id owner_;
  std::string core_path_, program_;
  std::unique_ptr<Target> direct_;
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
  bool threads_read_ = false, modules_read_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace

Result<std::unique_ptr<HostTarget>> open_host_target(const vi_host& host, const vi_target& wanted) {
  auto target = std::make_unique<LentTarget>(host, wanted);
  auto status = target->open(wanted.force != 0);
  if (!status) return status.error();
  return std::unique_ptr<HostTarget>(std::move(target));
}

}  // namespace vitrine::inspect
