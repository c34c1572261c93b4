// Live processes: every thread is stopped, and every thread goes on whatever becomes of us.
#include <algorithm>
#include <chrono>
#include <thread>

#include "elf_image.h"
#include "fixture.h"
#include "proc_files.h"

namespace vitrine::inspect {
namespace {

using namespace std::chrono_literals;

std::uint64_t address_of_ticks(Program& program) {
  const auto v = program.variable("low::ticks");
  return v.empty() ? 0 : v[0].address;
}

// Reads the fixture's counter without stopping it.
class Ticks {
 public:
  explicit Ticks(int pid) {
    auto t = open_process(pid, false);
    if (!t) {
      ADD_FAILURE() << t.error().message;
      return;
    }
    target_ = std::move(*t);
    address_ = address_of_ticks(*Program::open(*target_));
  }
  std::uint64_t now() {
    std::uint64_t v = 0;
    target_->read(address_, std::as_writable_bytes(std::span(&v, 1)), Space::data);
    return v;
  }
  bool advance() {
    const std::uint64_t before = now();
    for (int i = 0; i < 1000; i++) {
      std::this_thread::sleep_for(5ms);
      if (now() != before) return true;
    }
    return false;
  }
  bool stand_still() {
    const std::uint64_t before = now();
    std::this_thread::sleep_for(100ms);
    return now() == before;
  }

 private:
  std::unique_ptr<Target> target_;
  std::uint64_t address_ = 0;
};

struct Running {
  Child child{{LOW_TARGET, "wait"}};
  Running() { EXPECT_TRUE(child.wait_for("ready")) << child.output(); }
  int pid() const { return child.pid(); }
};

TEST(Process, StopsEveryThreadAndLetsThemGoOn) {
  Running p;
  Ticks ticks(p.pid());
  ASSERT_TRUE(ticks.advance());
  {
    auto t = open_process(p.pid(), true);
    ASSERT_TRUE(t) << t.error().message;
    EXPECT_TRUE(ticks.stand_still());
    ASSERT_EQ((*t)->threads().size(), 2u);
    for (const Thread& th : (*t)->threads()) {
      EXPECT_TRUE(th.regs.has(kRip) && th.regs.has(kRsp));
      EXPECT_NE(th.fs_base.value_or(0), 0u);
      EXPECT_EQ(th.current, th.tid == p.pid());
    }
    EXPECT_TRUE((*t)->warnings().empty());
  }
  EXPECT_TRUE(ticks.advance());
  EXPECT_EQ(proc_status(p.pid(), "TracerPid"), "0");
  EXPECT_EQ(proc_status(p.pid(), "ShdPnd"), "0000000000000000") << "no signal was sent";
}

TEST(Process, HasTheStacksOfItsThreads) {
  Running p;
  auto t = open_process(p.pid(), true);
  ASSERT_TRUE(t) << t.error().message;
  auto program = Program::open(**t);
  Memory memory(**t);
  Unwinder u(*program, memory);
  const StackWalk s = u.walk(current_thread(**t)->regs, true, {});
  EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
  EXPECT_EQ(between(functions_of(*program, s), "low::fourth", "main"),
            (std::vector<std::string>{"low::fourth", "low::third::{lambda#2}", "low::third", "low::second",
                                      "low::first", "main"}));
}

// Where the fixture has three pages, of which the one in the middle is a guard.
std::uint64_t guarded_in(Target& target) {
  Memory memory(target);
  return memory.get<std::uint64_t>(Program::open(target)->variable("low::guarded").at(0).address).value_or(0);
}

TEST(Process, ReadsUpToAGuardAndBehindIt) {
  Running p;
  auto t = open_process(p.pid(), true);
  ASSERT_TRUE(t) << t.error().message;
  Memory memory(**t);
  const std::uint64_t at = guarded_in(**t);
  // PROT_NONE does not stop /proc/PID/mem; an unmapped page does.
  std::vector<std::byte> bytes(3 * 4096);
  ASSERT_GE(memory.read_prefix(at, bytes), 4096u);
  EXPECT_EQ(bytes[4095], std::byte{0x5a});
  ASSERT_TRUE(memory.read(at + 8192, std::span(bytes).first(4096)));
  EXPECT_EQ(bytes[0], std::byte{0x5a});
  EXPECT_EQ(memory.read_prefix(8, bytes), 0u);
  EXPECT_EQ(memory.read_prefix(0xffff800000000000, bytes), 0u) << "the kernel's half is not ours";
}

TEST(Process, ManyPiecesSayEachWhatOneReadSays) {
  Running p;
  auto t = open_process(p.pid(), true);
  ASSERT_TRUE(t) << t.error().message;
  const std::uint64_t at = guarded_in(**t);
  std::vector<std::uint64_t> from = {at,    at + 4096, at + 100,        8, at + 8192, 0xffff800000000000, at + 4000,
                                     ~7ull, at + 8000, at + 8192 + 4000};
  for (int i = 0; i < 700; i++)
    from.push_back(at + static_cast<std::uint64_t>(i % 40) * 300);  // more than one call takes
  std::vector<std::vector<std::byte>> bytes;
  std::vector<Target::Piece> pieces;
  for (std::size_t i = 0; i < from.size(); i++) bytes.emplace_back(i % 5 * 1500 + 8);
  for (std::size_t i = 0; i < from.size(); i++) pieces.push_back({from[i], bytes[i]});
  (*t)->read_many(pieces);
  for (std::size_t i = 0; i < from.size(); i++) {
    std::vector<std::byte> one(bytes[i].size());
    ASSERT_EQ(pieces[i].got, (*t)->read(from[i], one, Space::data)) << "piece " << i;
    one.resize(pieces[i].got);
    bytes[i].resize(pieces[i].got);
    ASSERT_EQ(bytes[i], one) << "piece " << i;
  }
}

// Its number says nothing of which memory that was.
TEST(Process, NothingIsReadOfAProgramThatAnotherTookThePlaceOf) {
  Child child({"setarch", "-R", "sh", "-c", "echo ready; sleep 0.3; exec sh -c 'echo again; exec sleep 1000'"});
  ASSERT_TRUE(child.wait_for("ready")) << child.output();
  auto t = open_process(child.pid(), false);
  ASSERT_TRUE(t) << t.error().message;
  auto maps = proc_maps(child.pid());
  ASSERT_TRUE(maps);
  const auto stack = std::find_if(maps->begin(), maps->end(), [](const ProcMapping& m) { return m.path == "[stack]"; });
  ASSERT_NE(stack, maps->end());
  std::vector<std::byte> bytes(32 << 10);
  const std::uint64_t at = stack->hi - bytes.size();  // the next program has its stack there too
  ASSERT_EQ((*t)->read(at, bytes, Space::data), bytes.size());
  ASSERT_TRUE(child.wait_for("again")) << child.output();
  Target::Piece piece{at, bytes};
  (*t)->read_many(std::span(&piece, 1));
  EXPECT_EQ(piece.got, 0u);
  EXPECT_EQ((*t)->read(at, bytes, Space::data), 0u);
}

TEST(Process, ThreadsBornWhileAttachingAreStoppedToo) {
  Child child({LOW_TARGET, "spawn"});
  ASSERT_TRUE(child.wait_for("ready"));
  Ticks ticks(child.pid());
  for (int i = 0; i < 20; i++) {
    {
      auto t = open_process(child.pid(), true);
      ASSERT_TRUE(t) << t.error().message;
      const std::uint64_t before = ticks.now();
      std::this_thread::sleep_for(5ms);
      ASSERT_EQ(ticks.now(), before) << "round " << i;
      EXPECT_EQ((*t)->threads().size(), proc_threads(child.pid()).size());
    }
    ASSERT_TRUE(ticks.advance()) << "round " << i;
  }
}

// Attaches in a process of its own, which then ends by `how`.
void tracer_ends_by(int how) {
  Running p;
  Ticks ticks(p.pid());
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t tracer = fork();
  if (tracer == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL);
    auto t = open_process(p.pid(), true);
    const char ok = t ? 'y' : 'n';
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    if (how == SIGSEGV) raise(SIGSEGV);
    if (how == 0) _exit(0);  // without the destructor
    for (;;) pause();
  }
  close(ready[1]);
  char ok = 0;
  ASSERT_EQ(read(ready[0], &ok, 1), 1);
  close(ready[0]);
  EXPECT_EQ(ok, 'y');
  if (how != 0 && how != SIGSEGV) {
    EXPECT_TRUE(ticks.stand_still());
    kill(tracer, how);
  }
  int status = 0;
  waitpid(tracer, &status, 0);
  if (how) {
    EXPECT_EQ(WTERMSIG(status), how);
  }
  EXPECT_TRUE(ticks.advance()) << "the process stays stopped after its tracer ended by signal " << how;
  EXPECT_EQ(proc_status(p.pid(), "TracerPid"), "0");
}
TEST(Process, GoesOnAfterOurSigint) { tracer_ends_by(SIGINT); }
TEST(Process, GoesOnAfterOurSigterm) { tracer_ends_by(SIGTERM); }
TEST(Process, GoesOnAfterOurSigkill) { tracer_ends_by(SIGKILL); }
TEST(Process, GoesOnAfterOurCrash) { tracer_ends_by(SIGSEGV); }
TEST(Process, GoesOnAfterOurExitWithoutADetach) { tracer_ends_by(0); }

TEST(Process, ASignalThatWasBeingDeliveredIsHandedBack) {
  Child child({"sleep", "1000"});
  for (int i = 0; i < 500 && proc_status(child.pid(), "Name") != "sleep"; i++) std::this_thread::sleep_for(1ms);
  kill(child.pid(), SIGSTOP);
  for (int i = 0; i < 500 && proc_status(child.pid(), "State")[0] != 'T'; i++) std::this_thread::sleep_for(1ms);
  {
    auto t = open_process(child.pid(), true);
    ASSERT_TRUE(t) << t.error().message;
  }
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(proc_status(child.pid(), "State")[0], 'T') << "what somebody else stopped stays stopped";
  kill(child.pid(), SIGTERM);
  kill(child.pid(), SIGCONT);
  EXPECT_EQ(WTERMSIG(child.finish()), SIGTERM);
}

TEST(Process, IsReadWithoutStoppingIt) {
  Running p;
  Ticks ticks(p.pid());
  auto t = open_process(p.pid(), false);
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_TRUE(ticks.advance());
  EXPECT_EQ(proc_status(p.pid(), "TracerPid"), "0");
  EXPECT_EQ((*t)->threads().size(), 2u);
  EXPECT_NE((*t)->stop_id(), (*t)->stop_id()) << "what was read may have changed since";
  const Thread* main = current_thread(**t);
  ASSERT_NE(main, nullptr);
  EXPECT_TRUE(main->regs.has(kRip)) << "it sleeps in a system call";
}

std::string failure(int pid) {
  auto t = open_process(pid, true);
  return t ? "opened" : t.error().message;
}

TEST(ProcessErrors, NameTheProcessAndWhatToDo) {
  EXPECT_EQ(failure(0x3ffffff), "no such process: 67108863");
  EXPECT_EQ(failure(0), "not a process id: 0");
  EXPECT_EQ(failure(-5), "not a process id: -5");
  EXPECT_TRUE(contains(failure(getpid()), "is this one"));
}

TEST(ProcessErrors, AThreadIsToldFromAProcess) {
  Running p;
  const std::vector<int> tids = proc_threads(p.pid());
  ASSERT_EQ(tids.size(), 2u);
  EXPECT_EQ(failure(tids[1]), std::to_string(tids[1]) + " is a thread; its process is " + std::to_string(p.pid()));
}

TEST(ProcessErrors, AnotherTracerIsNamed) {
  Running p;
  auto first = open_process(p.pid(), true);
  ASSERT_TRUE(first) << first.error().message;
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const pid_t second = fork();
  if (second == 0) {
    const std::string text = failure(p.pid());
    _exit(write(out[1], text.data(), text.size()) > 0 ? 0 : 1);
  }
  close(out[1]);
  waitpid(second, nullptr, 0);
  char text[512] = "";
  EXPECT_GT(read(out[0], text, sizeof text - 1), 0);
  close(out[0]);
  EXPECT_TRUE(contains(text, "already traced by process " + std::to_string(getpid()))) << text;
}

TEST(ProcessErrors, AZombieIsCalledOne) {
  const pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  for (int i = 0; i < 500 && proc_status(zombie, "State")[0] != 'Z'; i++) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(failure(zombie), "process " + std::to_string(zombie) + " has already exited (it is a zombie)");
  waitpid(zombie, nullptr, 0);
}

TEST(ProcessErrors, MissingRightsAreExplained) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody without rights";
  Running p;
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const pid_t nobody = fork();
  if (nobody == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    const std::string text = failure(p.pid());
    _exit(write(out[1], text.data(), text.size()) > 0 ? 0 : 1);
  }
  close(out[1]);
  waitpid(nobody, nullptr, 0);
  char text[512] = "";
  EXPECT_GT(read(out[0], text, sizeof text - 1), 0);
  close(out[0]);
  EXPECT_TRUE(contains(text, "permission denied")) << text;
  EXPECT_TRUE(contains(text, "another user") || contains(text, "kernel.yama.ptrace_scope")) << text;
}

// A program that was replaced on disk while it ran, as every rebuild does.
TEST(Process, AReplacedProgramIsStillReadByItsOwnFile) {
  Scratch dir;
  const std::string path = dir / "prog";
  std::filesystem::copy_file(LOW_TARGET, path);
  Child child({path, "wait"});
  ASSERT_TRUE(child.wait_for("ready"));
  std::filesystem::remove(path);
  std::filesystem::copy_file(LOW_TARGET_DWARF4, path);
  auto t = open_process(child.pid(), true);
  ASSERT_TRUE(t) << t.error().message;
  auto program = Program::open(**t);
  EXPECT_EQ(program->variable("low::ticks").size(), 1u);
  EXPECT_TRUE(program->warnings().empty());
}

}  // namespace
}  // namespace vitrine::inspect
