// sched_soak.cc: sched_soak SECONDS PROGRAM [ARGS…]: starts PROGRAM, stops all its threads at random moments, and takes
// `info sched -check` and `mheap check` each time; every thread's stack must be walked to its end as well. At the end the
// program gets SIGTERM, and has a minute to end with status 0. The last line is `stops S, in transit T, violations V`;
// status 1 if there was a violation, if an answer or a stack could not be had, or if the program ended otherwise. A
// violation is printed with what every thread is doing.
//
// How it is fast enough to matter: one session for all stops. The target behind it is opened anew each time (ptrace
// seizes and interrupts every thread, its destructor lets them go), while the program's files stay read.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "commands.h"
#include "heap_check.h"
#include "sched_check.h"
#include "session.h"
#include "target.h"

using namespace vitrine::inspect;
using Clock = std::chrono::steady_clock;

namespace {

class Stops : public Target {
 public:
  explicit Stops(int pid) : pid_(pid) {}
  bool stop() {
    auto opened = open_process(pid_, true);
    if (!opened) return false;
    inner_ = std::move(*opened);
    ++id_;
    return true;
  }
  void go() { inner_.reset(); }
  Kind kind() const override { return Kind::live; }
  std::string describe() const override { return inner_->describe(); }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
    return inner_->read(addr, out, space);
  }
  const std::vector<Thread>& threads() override { return inner_->threads(); }
  const std::vector<Module>& modules() override { return inner_->modules(); }
  std::uint64_t stop_id() override { return id_; }
  std::vector<std::string> warnings() override { return inner_->warnings(); }

 private:
  int pid_;
  std::uint64_t id_ = 0;
  std::unique_ptr<Target> inner_;
};

class Printed : public Sink {
 public:
  void out(std::string_view text) override { std::fwrite(text.data(), 1, text.size(), stdout); }
  void err(std::string_view message) override {
    fmt::print("error: {}\n", message);
    failed = true;
  }
  bool failed = false;
};

// All that a thread is doing, not only what the check sees: a violation may be a frame that was not found.
void print_stack(Session& session, const Thread& thread) {
  if (!thread.regs.has(kRip) || !thread.regs.has(kRsp)) {
    fmt::print(" no registers\n");
    return;
  }
  StackWalk walk = session.unwinder().walk(thread.regs, true, {}, 64);
  for (const Frame& f : walk.frames) {
    auto names = session.program().locate(f.lookup_pc());
    if (names.empty()) fmt::print(" {:#x}", f.pc);
    for (const Location& l : names) fmt::print(" {}", l.function.empty() ? fmt::format("{:#x}", f.pc) : l.function);
  }
  fmt::print("{}\n", walk.explain().empty() ? "" : " (" + walk.explain() + ")");
}

void print_threads(Session& session, SchedState& state) {
  for (const Actor& a : state.actors()) {
    fmt::print("  {}{}:", state.actor_name(a), a.asleep ? " asleep" : "");
    print_stack(session, session.target().threads()[a.thread]);
  }
}

struct Tally {
  std::uint64_t stops = 0, transit = 0, violations = 0, failures = 0, unwound = 0, broken = 0, heap_checks = 0;
};

// Where no unwinder gets anywhere: a thread that the kernel has just made stands in clone3, on a stack with nothing on
// it; and libgcc, about to jump to a handler, has the handler's registers where its rows say that its caller's are.
bool hopeless(Session& session, const Thread& thread) {
  StackWalk walk = session.unwinder().walk(thread.regs, true, {}, 3);
  return std::any_of(walk.frames.begin(), walk.frames.end(), [&](const Frame& f) {
    const auto names = session.program().locate(f.lookup_pc());
    return !names.empty() &&
           (names.back().function.ends_with("clone3") || names.back().function.starts_with("_Unwind_"));
  });
}

// Every thread stands somewhere at random: its stack must be walked to its end.
void unwind(Session& session, Tally& tally) {
  for (const Thread& t : session.target().threads()) {
    ++tally.unwound;
    if (t.regs.has(kRip) && session.unwinder().walk(t.regs, true, {}, 256).end == StackEnd::bottom) continue;
    if (t.regs.has(kRip) && hopeless(session, t)) continue;
    ++tally.broken;
    fmt::print("stop {}: thread {}:", tally.stops, t.tid);
    print_stack(session, t);
  }
}

void look_at_heap(Session& session, SchedState& state, Tally& tally) {
  auto heap = session.heap();
  if (!heap) {
    fmt::print("stop {}: {}\n", tally.stops, heap.error().message);
    ++tally.failures;
    return;
  }
  HeapChecked checked = HeapCheck(**heap, state).run();
  tally.heap_checks += checked.checks;
  tally.violations += checked.violations;
  tally.transit += checked.found - checked.violations;
  for (const std::string& w : (*heap)->warnings()) {
    fmt::print("stop {}: warning: {}\n", tally.stops, w);
    ++tally.failures;
  }
  if (!checked.violations) return;
  fmt::print("stop {}: the heap:\n", tally.stops);
  for (const HeapFinding& f : checked.findings)
    fmt::print("  {}: {}: {}, expected {}, got {}{}{}\n", f.transition.empty() ? "violation" : "in transition", f.where,
               f.check, f.expected, f.got, f.transition.empty() ? "" : ": ", f.transition);
  print_threads(session, state);
  std::fflush(stdout);
}

void look(Session& session, Tally& tally) {
  auto model = session.model();
  if (!model) {
    fmt::print("stop {}: {}\n", tally.stops, model.error().message);
    ++tally.failures;
    return;
  }
  unwind(session, tally);
  SchedState state(session, **model);
  SchedChecked checked = SchedCheck(session, state).run();
  std::size_t bad = checked.violations();
  tally.violations += bad;
  tally.transit += checked.findings.size() - bad;
  for (const std::string& w : (*model)->warnings()) {
    fmt::print("stop {}: warning: {}\n", tally.stops, w);
    ++tally.failures;
  }
  look_at_heap(session, state, tally);
  if (!bad) return;
  fmt::print("stop {}:\n", tally.stops);
  for (const SchedFinding& f : checked.findings)
    fmt::print("  {}: {}{}{}\n", f.transit.empty() ? "violation" : "in transit", f.text, f.transit.empty() ? "" : ": ",
               f.transit);
  print_threads(session, state);
  Printed page;
  run_command(session, split("info sched"), page);
  std::fflush(stdout);
}

// ended: it has, with `status`, before anybody told it to. Else it has been told, and gets a minute.
bool ended_well(int pid, bool ended, int status) {
  const bool early = ended;
  for (int tenths = 0; !ended && tenths < 600; ++tenths) {
    ended = waitpid(pid, &status, WNOHANG) == pid;
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  if (!ended) {
    fmt::print("the program does not end\n");
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return false;
  }
  if (!early && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  if (WIFSIGNALED(status))
    fmt::print("the program was killed by signal {}\n", WTERMSIG(status));
  else
    fmt::print("the program ended {}with status {}\n", early ? "early, " : "", WEXITSTATUS(status));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: sched_soak SECONDS PROGRAM [ARGS…]\n");
    return 2;
  }
  const char* seed_text = std::getenv("VITRINE_SOAK_SEED");
  const std::uint64_t seed = seed_text ? std::strtoull(seed_text, nullptr, 0) : std::random_device()();
  fmt::print("seed {} (VITRINE_SOAK_SEED)\n", seed);
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  int running[2];  // closed by execv
  if (pipe2(running, O_CLOEXEC) != 0) return 2;
  int pid = fork();
  if (pid == 0) {
    setenv("VITRINE_SOAK_SEED", std::to_string(seed).c_str(), 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(argv[2], argv + 2);
    _exit(127);
  }
  close(running[1]);
  char none;
  while (read(running[0], &none, 1) < 0 && errno == EINTR) continue;
  close(running[0]);
  Session session;
  auto owned = std::make_unique<Stops>(pid);
  Stops& stops = *owned;
  session.local_pid = pid;
  Tally tally;
  if (!stops.stop()) {
    fmt::print("the program cannot be stopped\n");
    kill(pid, SIGKILL);
    return 1;
  }
  session.set_target(std::move(owned), stops.stop_id());
  // Until its runtime is there. If it never is, the first look says why.
  session.set_stop(stops.stop_id());
  for (int i = 0; i < 1000 && !session.model(); ++i) {
    stops.go();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!stops.stop()) break;
    session.set_stop(stops.stop_id());
  }
  const auto end = Clock::now() + std::chrono::seconds(std::atoi(argv[1]));
  bool died = false;
  int status = 0;
  while (Clock::now() < end && tally.failures < 10 && tally.violations < 50) {
    ++tally.stops;
    session.set_stop(stops.stop_id());
    look(session, tally);
    stops.go();
    if ((died = waitpid(pid, &status, WNOHANG) == pid)) break;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    if (!stops.stop()) {
      died = waitpid(pid, &status, WNOHANG) == pid;
      ++tally.failures;
      break;
    }
  }
  stops.go();
  if (!died) kill(pid, SIGTERM);
  const bool well = ended_well(pid, died, status);
  fmt::print("stacks {}, not walked to their end {}\n", tally.unwound, tally.broken);
  fmt::print("comparisons in the heap {}\n", tally.heap_checks);
  fmt::print("stops {}, in transit {}, violations {}\n", tally.stops, tally.transit, tally.violations);
  return tally.violations || tally.failures || tally.broken || !well || tally.stops < 2;
}
