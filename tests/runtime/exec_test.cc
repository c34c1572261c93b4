// How programs end: each test runs a case of progs/cases.cc in a process of its own and looks at its exit status and
// what it said.
#include "runcase.h"

namespace {

ended runcase(std::vector<std::string> words, const std::vector<std::string>& settings = {}) {
  words.insert(words.begin(), "runtime_cases");
  return runprogram(words, settings);
}

TEST(Run, ReturnsTheMainFunctionsValue) {
  EXPECT_EQ(runcase({"returnsvalue"}).status, 7);
  EXPECT_EQ(runcase({"returnsvoid"}).status, 0);
}

TEST(Run, ReturnsOnTheFirstThread) { EXPECT_EQ(runcase({"returnsonthefirstthread"}).status, 0); }

TEST(Run, ReturnsWithTheRoundingModeItWasCalledWith) { EXPECT_EQ(runcase({"returnswiththeroundingmode"}).status, 0); }

TEST(Run, EndsTheValuesOfGoroutineOne) {
  ended e = runcase({"glsofmain"});
  EXPECT_EQ(e.status, 5);
  EXPECT_EQ(e.out, "gone\nafter run\n");
}

TEST(Run, IsOncePerProcess) {
  ended e = runcase({"runtwice"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "run"));
}

TEST(Run, GoBeforeItIsAFatalError) {
  ended e = runcase({"gobeforerun"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "run"));
}

TEST(Run, FreezesTheOtherGoroutinesWhenItReturns) {
  for (int i = 0; i < 5; i++) EXPECT_EQ(runcase({"frozen"}).status, 5);
}

TEST(Run, DoesNotWaitForABusyGoroutine) { EXPECT_EQ(runcase({"busyatexit"}).status, 6); }

TEST(Run, StaticObjectsThatAreWaitedInDoNotKeepTheProgram) { EXPECT_EQ(runcase({"waitedinatexit"}).status, 8); }

TEST(Run, HandlesOutliveIt) { EXPECT_EQ(runcase({"handlesoutliverun"}).status, 0); }

TEST(Procs, GomaxprocsIsHonoured) {
  EXPECT_EQ(runcase({"procs"}, {"GOMAXPROCS=1"}).out, "gomaxprocs 1\n");
  EXPECT_EQ(runcase({"procs"}, {"GOMAXPROCS=5"}).out, "gomaxprocs 5\n");
  // By default the CPUs, or fewer where affinity or a container's quota says so (cgroup_test has the rule).
  std::string usual = runcase({"procs"}).out;
  int n = 0;
  ASSERT_EQ(std::sscanf(usual.c_str(), "gomaxprocs %d\n", &n), 1) << usual;
  EXPECT_GE(n, 1);
  EXPECT_LE(n, sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_EQ(runcase({"procs"}, {"GOMAXPROCS=nonsense"}).out, usual);
}

TEST(Procs, OptionComesBeforeTheEnvironment) {
  EXPECT_EQ(runcase({"procsoption"}, {"GOMAXPROCS=1"}).out, "gomaxprocs 3 3 9\n");
}

TEST(Procs, ThereMayBeAThousand) {
  ended e = runcase({"procs"}, {"GOMAXPROCS=1024"});
  EXPECT_EQ(e.out, "gomaxprocs 1024\n");
  EXPECT_EQ(e.err, "");
}

TEST(Procs, ThatAreTooManyAreCutWithAWord) {
  ended e = runcase({"procs"}, {"GOMAXPROCS=5000"});
  EXPECT_EQ(e.out, "gomaxprocs 1024\n");
  EXPECT_EQ(e.err, "runtime: GOMAXPROCS 5000 is more than 1024: there will be 1024\n");
}

TEST(Procs, WhatAComputingGoroutineQueuedRunsElsewhere) {
  for (int i = 0; i < 20; i++) {
    ended e = runcase({"stuckp"});
    ASSERT_EQ(e.out, "ran\n") << "run " << i;
    ASSERT_EQ(e.status, 4);
  }
}

TEST(Deadlock, IsReportedWithEveryGoroutine) {
  ended e = runcase({"deadlock"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: all goroutines are asleep - deadlock!"));
  EXPECT_TRUE(says(e, "goroutine 1 "));
  EXPECT_TRUE(says(e, "[sync.WaitGroup.Wait]"));
  EXPECT_TRUE(says(e, "\"reader\" [chan receive]"));
  EXPECT_TRUE(says(e, "\"locker\" [sync.Mutex.Lock]"));
}

TEST(Deadlock, IsFoundAfterTheLastTimerToo) {
  ended e = runcase({"deadlockaftersleep"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "all goroutines are asleep"));
  EXPECT_TRUE(says(e, "[task join]"));
}

TEST(Deadlock, IsNotDeclaredWhileAThreadOfTheProgramLives) { EXPECT_EQ(runcase({"foreignthreadmaywake"}).status, 3); }

TEST(ForeignThread, ThatWaitsIsPartOfADeadlock) {
  ended e = runcase({"foreigndeadlock"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "all goroutines are asleep"));
  EXPECT_TRUE(says(e, "\"thread "));
}

TEST(ForeignThread, ThatWouldWaitBeforeRunIsToldSo) {
  ended e = runcase({"foreignbeforerun"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "sync.Mutex.Lock would block before vitrine::run()"));
}

TEST(Escape, TerminatesAndNamesTheGoroutine) {
  ended e = runcase({"escape"});
  EXPECT_EQ(e.signal, SIGABRT);
  EXPECT_TRUE(says(e, "\"thrower\""));
  EXPECT_TRUE(says(e, "boom"));
  e = runcase({"escapefrommain"});
  EXPECT_EQ(e.signal, SIGABRT);
  EXPECT_TRUE(says(e, "goroutine 1 "));
}

TEST(Escape, ChainsToTheFormerHandlerOnTheThrowersStack) {
  ended e = runcase({"escapechained"});
  EXPECT_EQ(e.status, 33) << "34: the thrower's frame was gone\n" << e.err;
  EXPECT_TRUE(says(e, "\"thrower\""));
}

// What a stack of `kib` KiB is in this build: sanitizers make it four times as large.
std::string stackof(int kib) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  const int scale = 2;
#elif defined(NDEBUG)
  const int scale = 0;
#else
  const int scale = 1;
#endif
  return "stack size " + std::to_string(kib << scale) + " KiB (" +
         (scale != 0 ? "in this build " + std::to_string(1 << scale) + " times as large as asked; " : "") +
         "go_options";
}

TEST(Overflow, IsReportedBeforeTheProcessDiesOfIt) {
  ended e = runcase({"overflow"});
  EXPECT_EQ(e.signal, SIGSEGV);
  EXPECT_TRUE(says(e, "stack overflow"));
  EXPECT_TRUE(says(e, "\"deep\""));
  EXPECT_TRUE(says(e, stackof(64)));
  e = runcase({"overflowsmall"});
  EXPECT_EQ(e.signal, SIGSEGV);
  EXPECT_TRUE(says(e, "\"small\""));
  EXPECT_TRUE(says(e, stackof(16)));
}

TEST(Overflow, OtherFaultsAreNoOverflow) {
  ended e = runcase({"otherfault"});
  EXPECT_TRUE(e.signal == SIGSEGV || e.status > 0) << "a sanitizer may turn the signal into an exit";
  EXPECT_EQ(e.err.find("overflow"), std::string::npos) << e.err;
}

bool kernelHasGuards() {
  void* p = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  bool has = madvise(p, 4096, 102) == 0;
  munmap(p, 8192);
  return has;
}

TEST(Guard, EachPolicyCanBeForced) {
  EXPECT_EQ(runcase({"guards"}).out, "none 0 mprotect 100 madvise 0 canary 0\n");
  EXPECT_EQ(runcase({"guards"}, {"GODEBUG=stackguard=mprotect"}).out, "none 0 mprotect 100 madvise 0 canary 0\n");
  EXPECT_EQ(runcase({"guards"}, {"GODEBUG=stackguard=canary"}).out, "none 0 mprotect 0 madvise 0 canary 100\n");
}

TEST(Guard, MadviseCanBeForced) {
  if (!kernelHasGuards()) GTEST_SKIP() << "this kernel has no MADV_GUARD_INSTALL";
  EXPECT_EQ(runcase({"guards"}, {"GODEBUG=stackguard=madvise"}).out, "none 0 mprotect 0 madvise 100 canary 0\n");
  ended e = runcase({"overflow"}, {"GODEBUG=stackguard=madvise"});
  EXPECT_EQ(e.signal, SIGSEGV);
  EXPECT_TRUE(says(e, "\"deep\""));
}

TEST(Guard, OverwrittenCanaryIsNoticedAtTheNextSwitch) {
  ended e = runcase({"canary"}, {"GODEBUG=stackguard=canary"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "\"overwriter\""));
  EXPECT_TRUE(says(e, "overflow"));
}

#if !defined(__SANITIZE_THREAD__)
TEST(Guard, AHundredThousandStacksFitUnderEachPolicy) {
#ifdef __SANITIZE_ADDRESS__
  const std::string many = "20000";
#else
  const std::string many = "100000";
#endif
  const std::string ran = many + " ran\n";
  EXPECT_EQ(runcase({"many", many}).out, ran);
  EXPECT_EQ(runcase({"many", many}, {"GODEBUG=stackguard=canary"}).out, ran);
  EXPECT_EQ(runcase({"many", "20000"}, {"GODEBUG=stackguard=mprotect"}).out, "20000 ran\n");
  if (kernelHasGuards()) {
    EXPECT_EQ(runcase({"many", many}, {"GODEBUG=stackguard=madvise"}).out, ran);
  }
}
#endif

TEST(Exec, BadUseOfAPrimitiveNamesItAndTheGoroutine) {
  for (auto [use, message] : {std::pair{"rwunlock", "sync: unlock of unlocked rw_mutex"},
                              {"runlock", "sync: unlock_shared of an rw_mutex that nobody reads"},
                              {"semaphore", "sync: semaphore overflow"},
                              {"cond", "sync: cond wait with a mutex that the caller has not locked"},
                              {"once", "sync: deadlock: once waits for itself"}}) {
    ended e = runcase({"badsync", use});
    EXPECT_EQ(e.status, 2) << use;
    EXPECT_TRUE(says(e, message)) << use << ": " << e.err;
    EXPECT_TRUE(says(e, "careless")) << use << ": " << e.err;
  }
}

TEST(Misuse, OfAWaitGroupOrMutexIsFatal) {
  ended e = runcase({"negativewaitgroup"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: sync: negative WaitGroup counter"));
  e = runcase({"unlockunlocked"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: sync: unlock of unlocked mutex"));
}

}  // namespace
