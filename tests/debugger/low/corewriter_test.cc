// Our own cores: gdb opens them, nothing is lost, and nothing but the file is left behind.
#include "corewriter.h"

#include <fstream>
#include <thread>

#include "elf_image.h"
#include "fixture.h"
#include "proc_files.h"

namespace vitrine::inspect {
namespace {

const std::vector<std::string> kChain{
    "low::fourth", "low::third::{lambda#2}", "low::third", "low::second", "low::first", "main"};

class CoreWriter : public testing::Test {
 protected:
  Scratch dir_;
  Child child_{{LOW_TARGET, "wait"}};
  std::unique_ptr<Target> live_;
  const std::string core_ = dir_ / "out.core";

  void SetUp() override {
    ASSERT_TRUE(child_.wait_for("ready") && child_.wait_until_asleep());
    auto t = open_process(child_.pid(), true);
    ASSERT_TRUE(t) << t.error().message;
    live_ = std::move(*t);
  }
  CoreStats write() {
    auto stats = write_core(child_.pid(), *live_, core_, {});
    EXPECT_TRUE(stats) << stats.error().message;
    return stats.value_or({});
  }
};

TEST_F(CoreWriter, ItsCoreHasTheThreadsStacksAndMemoryOfTheProcess) {
  const CoreStats stats = write();
  EXPECT_EQ(stats.threads, 2u);
  auto core = open_core(core_, "", false);
  ASSERT_TRUE(core) << core.error().message;
  EXPECT_TRUE((*core)->warnings().empty()) << (*core)->warnings()[0];
  ASSERT_EQ((*core)->threads().size(), 2u);
  for (std::size_t i = 0; i < 2; i++) {
    const Thread &a = (*core)->threads()[i], &b = live_->threads()[i];
    EXPECT_EQ(a.tid, b.tid);
    EXPECT_EQ(a.fs_base, b.fs_base);
    for (int r = 0; r < kRegs; r++) EXPECT_EQ(a.regs.r[r], b.regs.r[r]) << r;
  }
  auto program = Program::open(**core);
  Memory memory(**core), original(*live_);
  Unwinder u(*program, memory);
  const StackWalk s = u.walk(current_thread(**core)->regs, true, {});
  EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
  EXPECT_EQ(between(functions_of(*program, s), "low::fourth", "main"), kChain);
  // Every writable byte of the process is in the core.
  auto maps = proc_maps(child_.pid());
  ASSERT_TRUE(maps);
  for (const ProcMapping& m : *maps) {
    if (!m.r || !m.w) continue;
    std::vector<std::byte> a(m.hi - m.lo), b(m.hi - m.lo);
    const std::size_t n = original.read_prefix(m.lo, a);
    ASSERT_EQ(memory.read_prefix(m.lo, b), n) << m.path;
    EXPECT_TRUE(a == b) << m.path;
  }
}

// LLDB refuses the core of a static program (Go's) that does not.
TEST_F(CoreWriter, ItsCoreSaysThatItIsLinuxs) {
  write();
  std::ifstream in(core_, std::ios::binary);
  char ident[EI_NIDENT] = {};
  ASSERT_TRUE(in.read(ident, sizeof ident));
  EXPECT_EQ(ident[EI_OSABI], ELFOSABI_LINUX);
}

TEST_F(CoreWriter, ItsFileIsSparseAndShowsItsSize) {
  const CoreStats stats = write();
  struct stat st;
  ASSERT_EQ(stat(core_.c_str(), &st), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(st.st_size), stats.apparent);
  EXPECT_LE(static_cast<std::uint64_t>(st.st_blocks) * 512, stats.written + (256 << 10));
  EXPECT_LT(stats.written, stats.apparent / 2) << "thread stacks and arenas are mostly untouched";
}

TEST_F(CoreWriter, GuardsAreLeftOutAndWhatFollowsThemIsKept) {
  write();
  auto core = open_core(core_, "", false);
  ASSERT_TRUE(core) << core.error().message;
  auto program = Program::open(**core);
  Memory memory(**core);
  const std::uint64_t at = memory.get<std::uint64_t>(program->variable("low::guarded").at(0).address).value_or(0);
  EXPECT_EQ(memory.get<std::uint8_t>(at).value_or(0), 0x5a);
  EXPECT_FALSE(memory.get<std::uint8_t>(at + 4096)) << "no access there in the process either";
  EXPECT_EQ(memory.get<std::uint8_t>(at + 8192).value_or(0), 0x5a);
}

TEST_F(CoreWriter, GdbOpensItWithTheRightBacktraces) {
  write();
  const std::string text = run_command({"gdb", "-batch", "-nx", "-ex", "thread apply all bt", LOW_TARGET, core_});
  if (!contains(text, "Thread 1")) GTEST_SKIP() << "no gdb here: " << text;
  std::size_t from = text.find("Thread 1 ");
  for (const char* f : {"low::fourth", "low::third", "low::second", "low::first", "main"}) {
    const std::size_t at = text.find(f, from);
    ASSERT_NE(at, std::string::npos) << f << "\n" << text;
    from = at;
  }
  EXPECT_TRUE(contains(text, "Thread 2 ")) << text;
  EXPECT_FALSE(contains(text, "warning: Unexpected size")) << text;
  EXPECT_TRUE(contains(text, "nanosleep")) << "libc's symbols: the link map is in the core\n" << text;
}

TEST_F(CoreWriter, WritesNothingButTheFileAndLeavesTheProcessAlone) {
  const auto before = live_->threads();
  const std::string maps = proc_file(child_.pid(), "maps").value_or("");
  write();
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(dir_.path())) files++;
  EXPECT_EQ(files, 1u);
  EXPECT_EQ(proc_file(child_.pid(), "maps").value_or("?"), maps);
}

TEST_F(CoreWriter, ACancelledCoreIsRemoved) {
  for (int polls = 0; polls < 6; polls++) {
    int n = 0;
    auto stats = write_core(child_.pid(), *live_, core_, [&] { return n++ >= polls; });
    ASSERT_FALSE(stats);
    EXPECT_TRUE(contains(stats.error().message, "cancelled")) << stats.error().message;
    EXPECT_FALSE(std::filesystem::exists(core_));
  }
}

TEST_F(CoreWriter, AFullDiskIsSaidAndThePartialFileRemoved) {
  const pid_t writer = fork();
  if (writer == 0) {  // a limit on the size of files is as good as a full disk
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto stats = write_core(child_.pid(), *live_, core_, {});
    _exit(!stats && contains(stats.error().message, core_) && !std::filesystem::exists(core_) ? 0 : 1);
  }
  int status = 0;
  waitpid(writer, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(CoreWriter, APlaceThatCannotBeWrittenIsNamed) {
  auto stats = write_core(child_.pid(), *live_, "/nowhere/core", {});
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().message, "/nowhere/core: No such file or directory");
  stats = write_core(child_.pid(), *live_, dir_.path(), {});
  ASSERT_FALSE(stats);
  EXPECT_TRUE(contains(stats.error().message, "not a regular file"));
  EXPECT_TRUE(std::filesystem::exists(dir_.path()));
}

TEST(CoreWriterErrors, AProcessThatIsGoneIsNamed) {
  Child child({LOW_TARGET, "wait"});
  ASSERT_TRUE(child.wait_for("ready"));
  auto t = open_process(child.pid(), false);
  ASSERT_TRUE(t) << t.error().message;
  Scratch dir;
  auto stats = write_core(0x3ffffff, **t, dir / "core", {});
  ASSERT_FALSE(stats);
  EXPECT_TRUE(contains(stats.error().message, "67108863")) << stats.error().message;
}

}  // namespace
}  // namespace vitrine::inspect
