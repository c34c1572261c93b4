// Hazards that need a program of their own: how it was compiled, how it ends, what it costs when it is idle, what
// valgrind or gdb say of it. docs/hazards.md names each test with the hazard that it stands for; the programs are in
// hazards/.
#include <dirent.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runcase.h"

namespace {

// SANITIZED and UNDER_TSAN come from the build. What is left out there has its reason at the #if.

[[maybe_unused]] ended hazard(const char* name, const std::vector<std::string>& settings = {}) {
  return runprogram({"hazard_cases", name}, settings);
}

// The first of `programs` that is in PATH, or empty.
std::string which(const std::string& program) {
  std::istringstream path(getenv("PATH") != nullptr ? getenv("PATH") : "/usr/bin");
  for (std::string dir; std::getline(path, dir, ':');)
    if (access((dir + "/" + program).c_str(), X_OK) == 0) return dir + "/" + program;
  return {};
}

// ---- thread-local storage

// Every hazard_tls_… and hazard_plaintls_… that was built: with each compiler that there is, at -O2, -O3 and with
// -flto.
std::vector<std::string> programs(const std::string& prefix) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(beside("")))
    if (entry.path().filename().string().rfind(prefix, 0) == 0) found.push_back(entry.path());
  return found;
}

struct outcome {
  long moved = -1, wrong = -1;
};
// Runs it until something was wrong, or `enough` was moved, or five times.
outcome roam(const std::string& program, long enough) {
  outcome all{0, 0};
  for (int runs = 0; runs < 5 && all.wrong == 0 && all.moved < enough; runs++) {
    ended e = runprogram({program});
    outcome o;
    if (std::sscanf(e.out.c_str(), "moved %ld wrong %ld", &o.moved, &o.wrong) != 2) {
      ADD_FAILURE() << program << " printed " << e.out << e.err;
      return {};
    }
    all.moved += o.moved;
    all.wrong += o.wrong;
  }
  return all;
}

TEST(HazardTls, NothingIsTakenFromTheThreadThatAGoroutineLeft) {
  auto built = programs("hazard_tls_");
  ASSERT_EQ(built.size(), std::size_t(TLS_VARIANTS));
  for (const std::string& program : built) {
    outcome o = roam(program, 400);
    EXPECT_GE(o.moved, 100) << program << ": hardly a goroutine moved, so nothing was tested";
    EXPECT_EQ(o.wrong, 0) << program;
  }
}

#if !SANITIZED  // the compiler keeps no address in a sanitizer's build
TEST(HazardTls, APlainThreadLocalIsTakenFromTheWrongThread) {
  auto built = programs("hazard_plaintls_");
  ASSERT_EQ(built.size(), std::size_t(PLAIN_TLS_VARIANTS));
  for (const std::string& program : built)
    EXPECT_GT(roam(program, 1 << 20).wrong, 0) << program << ": the other test could not find it in getg() either";
}
#endif

// ---- memory checkers

#if !SANITIZED  // valgrind and sanitizers do not go together
TEST(HazardValgrind, FindsNothingInABusyProgram) {
  std::string valgrind = which("valgrind");
  if (valgrind.empty()) GTEST_SKIP() << "no valgrind here";
#if defined(__clang__)
  GTEST_SKIP() << "valgrind 3.19 cannot read the DWARF of clang 14";
#endif
  if (!BUILT_FOR_VALGRIND) GTEST_SKIP() << "the runtime was built without <valgrind/valgrind.h>";
  for (const char* guard : {"GODEBUG=", "GODEBUG=stackguard=canary"}) {
    ended e = runprogram({valgrind, "--error-exitcode=9", "--leak-check=full", "--suppressions=" SUPPRESSIONS,
                          beside("hazard_busy"), guard[8] == 0 ? "1000" : "300"},
                         {guard});
    EXPECT_EQ(e.status, 0) << e.err;
    EXPECT_TRUE(says(e, "ERROR SUMMARY: 0 errors"));
    EXPECT_TRUE(says(e, "definitely lost: 0 bytes") || says(e, "All heap blocks were freed"));
    EXPECT_EQ(e.err.find("switching stacks"), std::string::npos) << e.err;
  }
}
#endif

TEST(HazardSanitizers, FindNothingInABusyProgram) {
  // Here in whatever build this is: ASan with LeakSanitizer, TSan, or none.
  ended e = runprogram({"hazard_busy", "1000"}, {"ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1"});
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_EQ(e.out, "right 2022 of 2022\n");
  EXPECT_EQ(e.err, "");
}

#if UNDER_TSAN
ended races(const char* name) { return runprogram({"hazard_races", name}); }

TEST(HazardTsan, ARaceIsReportedWithTheMutexesThatWereHeld) {
  ended e = races("two mutexes");
  EXPECT_EQ(e.status, 66);
  EXPECT_TRUE(says(e, "WARNING: ThreadSanitizer: data race"));
  EXPECT_TRUE(says(e, "(mutexes: write M"));
  EXPECT_TRUE(says(e, "Location is global") || says(e, "guarded"));
  // Where each mutex is first locked, and by whom the race is: the user's function and the goroutine's name.
  EXPECT_TRUE(says(e, "created at:"));
  EXPECT_TRUE(says(e, "adds_under"));
  EXPECT_TRUE(says(e, " reader'"));
  EXPECT_TRUE(says(e, " writer'"));
}

TEST(HazardTsan, ARaceUnderReadLocksIsReported) {
  ended e = races("read lock");
  EXPECT_EQ(e.status, 66);
  EXPECT_TRUE(says(e, "(mutexes: read M"));
}

TEST(HazardTsan, WhatIsGuardedIsNot) {
  ended e = races("one mutex");
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.out, "done\n");
  EXPECT_EQ(e.err, "");
}

TEST(HazardTsan, MutexesThatAreTakenInBothOrdersAreReported) {
  ended e = races("inversion");
  EXPECT_EQ(e.status, 66);
  EXPECT_TRUE(says(e, "lock-order-inversion"));
  EXPECT_TRUE(says(e, "locks_both"));
}

TEST(HazardTsan, AMutexIsForgottenWhenItIsDestroyed) {
  ended e = races("short lives");
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.err, "");
}

TEST(HazardTsan, AnUnlockByAnotherIsReported) {
  ended e = races("unlocked by another");
  EXPECT_EQ(e.status, 66);
  EXPECT_TRUE(says(e, "unlock of an unlocked mutex (or by a wrong thread)"));
}
#endif

// ---- idle

// Times that any thread of the process was given a CPU.
[[maybe_unused]] long switches(pid_t pid) {
  long n = 0;
  std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream stat(task.path() / "schedstat");
    long ran = 0, waited = 0, times = 0;
    stat >> ran >> waited >> times;
    n += times;
  }
  return n;
}

#if !SANITIZED  // a sanitizer has threads of its own that wake up
TEST(HazardIdle, AThousandParkedGoroutinesWakeNobody) {
  int out[2];
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  std::string program = beside("hazard_cases");
  char word[] = "idle";
  char* argv[] = {program.data(), word, nullptr};
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, program.c_str(), &actions, nullptr, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  char c;
  ASSERT_EQ(read(out[0], &c, 1), 1);
  // sysmon goes to sleep once it has found nothing for some tens of milliseconds.
  usleep(700'000);
  long before = switches(pid);
  usleep(2'000'000);
  long after = switches(pid);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  close(out[0]);
  EXPECT_GT(before, 0);
  EXPECT_LE(after - before, 4);
}
#endif

#if !SANITIZED  // a sanitizer has threads of its own that wake up
TEST(HazardIdle, WithOtherThreadsHardlyAnybody) {
  ended e = hazard("idlewiththreads");
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_LE(std::atol(e.out.c_str()), 12) << "in a second";
}
#endif

// ---- signals

#if !UNDER_TSAN  // ThreadSanitizer puts signals off
TEST(HazardSignal, AProfilerMayUnwindAtAnyInstruction) {
  ended e = hazard("profiledonasignalstack");
  EXPECT_EQ(e.status, 0) << e.out << e.err;
  e = hazard("profiledonthegoroutinesstack");
  EXPECT_EQ(e.status, 0) << e.out << e.err;
}
#endif

#if !UNDER_TSAN  // ThreadSanitizer runs handlers on the interrupted stack
TEST(HazardSignal, AHandlerThatBlocksIsNamedWithItsGoroutine) {
  struct {
    const char *name, *says;
  } const cases[] = {{"lockinahandler", "sync.Mutex.Lock"},
                     {"recvinahandler", "chan receive"},
                     {"sleepinahandler", "sleep"},
                     {"waitinahandler", "sync.WaitGroup.Wait"}};
  for (auto& c : cases) {
    ended e = hazard(c.name);
    EXPECT_EQ(e.status, 2) << c.name;
    EXPECT_TRUE(says(e, std::string(c.says) + " would block in a signal handler")) << c.name;
    EXPECT_TRUE(says(e, "\"interrupted\" [running]")) << c.name;
  }
}
#endif

#if !SANITIZED  // a sanitizer handles the overflow, or its stacks are another size
TEST(HazardSignal, TheProgramsOwnSignalStackIsKept) {
  ended e = hazard("ownsignalstack");
  EXPECT_EQ(e.out, "kept\n");
  EXPECT_EQ(e.signal, SIGSEGV);
  EXPECT_TRUE(says(e, "goroutine 1 \"main\" overflowed its stack"));
}
#endif

#if !SANITIZED  // a sanitizer's nanosleep is another
TEST(HazardSignal, AsyncpreemptoffSendsNoSignals) {
  EXPECT_EQ(hazard("nanosleeps", {"GODEBUG=asyncpreemptoff=1"}).out, "interrupted 0\n");
  // And with them a wait that nobody announced is cut short, or the line above would mean nothing.
  bool interrupted = false;
  for (int i = 0; i < 5 && !interrupted; i++) interrupted = hazard("nanosleeps").out != "interrupted 0\n";
  EXPECT_TRUE(interrupted);
}
#endif

// ---- stacks

#if !SANITIZED  // frames have another size in a sanitizer's build
TEST(HazardStack, PastTheEndIsReportedUnderEveryGuard) {
  for (const char* guard : {"mprotect", "madvise", "canary"}) {
    ended e = hazard("pasttheend", {std::string("GODEBUG=stackguard=") + guard});
    bool canary = std::string(guard) == "canary" || says(e, "canary word") == testing::AssertionSuccess();
    EXPECT_EQ(e.signal, canary ? 0 : SIGSEGV) << guard;
    EXPECT_EQ(e.status, canary ? 2 : -1) << guard;
    EXPECT_TRUE(says(e, "\"deep\" overflowed its stack")) << guard;
    EXPECT_TRUE(says(e, "created by")) << guard << ": no traceback";
  }
}
#endif

#if !SANITIZED  // frames have another size in a sanitizer's build
TEST(HazardStack, FramesLargerThanTheGuardMeetItWithClashProtection) {
  ended e = runprogram({"hazard_clash", "bigframes"});
  EXPECT_EQ(e.signal, SIGSEGV) << e.out;
  EXPECT_TRUE(says(e, "\"wide\" overflowed its stack"));
}
#endif

#if !SANITIZED  // a sanitizer's process leaves no core
TEST(HazardStack, TheCoreOfAnOverflowExplainsItself) {
  std::string gdb = which("gdb");
  if (gdb.empty()) GTEST_SKIP() << "no gdb here";
  std::string pattern;
  std::getline(std::ifstream("/proc/sys/kernel/core_pattern") >> std::ws, pattern);
  if (pattern.empty() || pattern[0] == '|' || pattern.find('/') != std::string::npos)
    GTEST_SKIP() << "cores do not go to the current directory: " << pattern;
  char dir[] = "/tmp/vitrine-overflow-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  std::string program = beside("hazard_cases");
  pid_t pid = fork();
  if (pid == 0) {
    rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &all);
    if (chdir(dir) != 0 || freopen("/dev/null", "w", stderr) == nullptr) _exit(90);
    execl(program.c_str(), program.c_str(), "overflow", nullptr);
    _exit(91);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  std::string core;
  for (const auto& file : std::filesystem::directory_iterator(dir)) core = file.path();
  if (core.empty()) GTEST_SKIP() << "no core was written (RLIMIT_CORE?)";
  ended e = runprogram({gdb, "-q", "-nx", "-batch", "-iex", "set auto-load off", "-ex", "bt 6", program, core});
  EXPECT_NE(e.out.find("#0  vitrine::rt::goroutine_overflowed_its_stack ("), std::string::npos) << e.out << e.err;
  EXPECT_NE(e.out.find("<signal handler called>"), std::string::npos) << e.out;
  EXPECT_NE(e.out.find("recurse ("), std::string::npos) << e.out;
  std::filesystem::remove_all(dir);
}
#endif

// ---- how a program is put together

TEST(HazardLink, ASharedObjectMayHoldTheWholeRuntime) {
  ended e = runprogram({"hazard_own", beside("hazard_plugin_own.so")});
  EXPECT_EQ(e.status, 5) << e.err;
}

TEST(HazardLink, ASharedObjectStartsGoroutinesOnTheProgramsRuntime) {
  ended e = runprogram({"hazard_host", beside("hazard_plugin.so")});
  EXPECT_EQ(e.status, 5) << e.err;
}

#if !SANITIZED  // sanitizers replace parts of the C++ library
TEST(HazardLink, AStaticCppLibraryHasItsExceptionStateMovedToo) {
  ended e = runprogram({"hazard_static"});
  EXPECT_EQ(e.status, 0) << e.out << e.err;
}
#endif

TEST(HazardLink, NoShadowStackIsPromised) {
  std::string readelf = which("readelf");
  if (readelf.empty()) GTEST_SKIP() << "no readelf here";
  ended e = runprogram({readelf, "-n", beside("hazard_busy")});
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_NE(e.out.find("NT_GNU_BUILD_ID"), std::string::npos) << e.out;
  EXPECT_EQ(e.out.find("SHSTK"), std::string::npos) << "the switch does not keep a shadow stack\n" << e.out;
}

}  // namespace
