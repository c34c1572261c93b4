// exec_heap_test.cc: how programs end that run out of memory or free what they should not, and what GODEBUG does to
// allocation. Each test runs a case of progs/heap_cases.cc in a process of its own.
#include <fstream>

#include "runcase.h"

namespace {

ended heapcase(std::vector<std::string> words, const std::vector<std::string>& settings = {}) {
  words.insert(words.begin(), "runtime_heap_cases");
  return runprogram(words, settings);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // needs terabytes of address space
#else
constexpr bool sanitized = false;
#endif

TEST(OutOfMemory, SaysHowMuchWasAskedAndIsThereAndExitsWithTwo) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow does not fit into a limited address space";
  ended e = heapcase({"small", "1000"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "runtime: out of memory: cannot allocate 8192-byte block ("));
  EXPECT_TRUE(says(e, " in use)\nfatal error: out of memory"));
  e = heapcase({"small", "10000000"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "runtime: out of memory: cannot allocate 10002432-byte block ("));
  e = heapcase({"small", "18446744073709551000"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "runtime: out of memory: cannot allocate 18446744073709551000-byte block ("));
}

TEST(OutOfMemory, IsSaidAtOnceOfMoreThanTheMachineCouldEverHave) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow is in the way";
  int promises = 0;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> promises;
  if (promises == 1) GTEST_SKIP() << "this kernel promises any amount of memory (vm.overcommit_memory = 1)";
  ended e = heapcase({"unlimited", "35184372088832"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "runtime: out of memory: cannot allocate 35184372088832-byte block ("));
}

TEST(OutOfMemory, OfTheRuntimesObjectsIsTheSame) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow does not fit into a limited address space";
  for (const char* size : {"1000", "100000"}) {
    ended e = heapcase({"byhand", size});
    EXPECT_EQ(e.status, 2);
    EXPECT_TRUE(says(e, "fatal error: out of memory")) << size;
  }
}

TEST(OutOfMemory, OfStacksAndAtTheStartIsTheSame) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow does not fit into a limited address space";
  ended e = heapcase({"stacks"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "runtime: cannot allocate a stack of 1048576 bytes for goroutine number "));
  EXPECT_TRUE(says(e, "-byte block ("));
  EXPECT_TRUE(says(e, " in use)\nfatal error: out of memory"));
  e = heapcase({"atstart"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, " in use)\nfatal error: out of memory"));
}

TEST(Freeing, WhatIsFreeOrOfOthersIsFound) {
  EXPECT_TRUE(says(heapcase({"twice"}), "fatal error: freeobject: freed twice"));
  EXPECT_TRUE(says(heapcase({"twicelater"}), "fatal error: freeobject: not an object that is in use"));
  EXPECT_TRUE(says(heapcase({"notours"}), "fatal error: freeobject: not an object of the runtime"));
  EXPECT_TRUE(says(heapcase({"collected"}), "fatal error: freeobject: not an object of the runtime"));
}

TEST(Memory, ComesAtOnceAndByPageFaultsWhereTheKernelCannot) {
  void* probe = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool can = madvise(probe, 4096, 23) == 0;  // MADV_POPULATE_WRITE
  munmap(probe, 4096);
  if (can) {
    EXPECT_EQ(heapcase({"populate"}).out, "1 0\n");
  }
  EXPECT_EQ(heapcase({"populate", "1"}).out, "0 1\n") << "none has, and one try";
}

TEST(Godebug, DisablethpLeavesHugePagesOut) {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  if (!std::getline(file, text) || text.find("[never]") != std::string::npos) GTEST_SKIP() << "this system has none";
  EXPECT_EQ(heapcase({"huge"}).out, "1\n");
  EXPECT_EQ(heapcase({"huge"}, {"GODEBUG=disablethp=1"}).out, "0\n");
}

TEST(Godebug, EfenceMakesUseAfterFreeFault) {
  ended e = heapcase({"useafterfree"});
  EXPECT_EQ(e.status, 0);
  e = heapcase({"useafterfree"}, {"GODEBUG=efence=1"});
  EXPECT_EQ(e.out, "freed\n");
  EXPECT_NE(e.status, 0);
  EXPECT_EQ(heapcase({"fence"}, {"GODEBUG=efence=1"}).out, "1 1\n");
}

TEST(Godebug, SbrkTakesObjectsFromOutsideOfTheHeap) {
  EXPECT_EQ(heapcase({"spans"}).out, "a span\n");
  EXPECT_EQ(heapcase({"spans"}, {"GODEBUG=sbrk=1"}).out, "no span\n");
}

TEST(Godebug, AllocfreetracePrintsEachAllocation) {
  ended e = heapcase({"trace"}, {"GODEBUG=allocfreetrace=1"});
  EXPECT_EQ(e.status, 0);
  EXPECT_TRUE(says(e, ", 0x28, thing)\n"));
  EXPECT_TRUE(says(e, ", 0x4d)\ntracefree(0x"));
  EXPECT_TRUE(says(e, ", 0x50)\n"));
}

TEST(Early, ObjectsCanBeHadBeforeRunAndAfterIt) { EXPECT_EQ(heapcase({"early"}).out, "0 1\n"); }

}  // namespace
