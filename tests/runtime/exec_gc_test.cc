// exec_gc_test.cc: what the collector says of mistakes, and what its settings do. Each test runs a case of
// progs/gc_cases.cc in a process of its own.
#include <regex.h>

#include <sstream>

#include "runcase.h"

namespace {

ended gccase(const char* name, const std::vector<std::string>& settings = {}) {
  return runprogram({"runtime_gc_cases", name}, settings);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

TEST(GcCheck, FindsNothingWhereEverythingIsAllowed) {
  ended e = gccase("fine");
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.out, "fine\n");
}

TEST(GcCheck, FindsAPtrInMemoryOfMalloc) {
  if (sanitized) GTEST_SKIP() << "under a sanitizer the runtime's own memory is malloc's";
  ended e = gccase("vector");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: gc: a gc::ptr is in memory that the collector does not see; use gc::root there"));
}

TEST(GcCheck, FindsAFieldThatIsNotInTheMap) {
  ended e = gccase("forgotten");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, ", offset 8 of a managed object of 16 bytes"));
  EXPECT_TRUE(says(e, "fatal error: gc: a gc::ptr in a managed object is not in its type's map"));
}

TEST(GcMistakes, ObjectsMadeByAThreadOrBeforeRun) {
  for (const char* name : {"thread", "early"}) {
    ended e = gccase(name);
    EXPECT_EQ(e.status, 2);
    EXPECT_TRUE(says(e, "gc::make: this thread is no goroutine"));
  }
}

TEST(GcMistakes, ABadPointerIsNamedWithObjectSlotAndSpan) {
  ended e = gccase("badpointer");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, " to a free object: span.base=0x"));
  EXPECT_TRUE(says(e, "runtime: found in object at *(0x"));
  EXPECT_TRUE(says(e, "fatal error: found bad pointer in the heap"));
  EXPECT_TRUE(says(e, " <==\n"));
  EXPECT_EQ(gccase("badpointer", {"GOTRACEBACK=crash"}).signal, SIGABRT);
  EXPECT_EQ(gccase("badpointer", {"GODEBUG=invalidptr=0"}).out, "survived\n");
}

TEST(GcSettings, ClobberfreeOverwritesWhatIsDead) {
  EXPECT_EQ(gccase("clobbered", {"GODEBUG=clobberfree=1"}).out, "deadbeefdeadbeef\n");
  EXPECT_EQ(gccase("clobbered").out, "0\n");
}

TEST(GcSettings, GctracePrintsGosLines) {
  ended e = gccase("trace", {"GODEBUG=gctrace=1"});
  EXPECT_EQ(e.status, 0);
  regex_t line;
  const std::string ms = "(0|0\\.0[0-9]{2}|0\\.[1-9][0-9]|[1-9]\\.[0-9]|[1-9][0-9]+)";
  const std::string form = "^gc [0-9]+ @[0-9]+\\.[0-9]{3}s [0-9]+%: " + ms + "\\+" + ms + "\\+" + ms + " ms clock, " +
                           ms + "\\+" + ms + "/" + ms + "/" + ms + "\\+" + ms +
                           " ms cpu, [0-9]+->[0-9]+->[0-9]+ MB, [0-9]+ MB goal, "
                           "[0-9]+ MB stacks, [0-9]+ MB globals, [0-9]+ P( \\(forced\\))?$";
  ASSERT_EQ(regcomp(&line, form.c_str(), REG_EXTENDED | REG_NOSUB), 0);
  std::istringstream text(e.err);
  int lines = 0;
  for (std::string s; std::getline(text, s); lines++) EXPECT_EQ(regexec(&line, s.c_str(), 0, nullptr, 0), 0) << s;
  regfree(&line);
  EXPECT_GT(lines, 1);
  EXPECT_TRUE(says(e, "3->3->3 MB, 4 MB goal"));
  EXPECT_TRUE(says(e, " (forced)\n"));
  EXPECT_TRUE(says(e, " P\n"));
  EXPECT_EQ(gccase("trace").err, "");
}

TEST(GcSettings, GOGC) {
  EXPECT_EQ(gccase("goal").out, "4194304\n");
  EXPECT_EQ(gccase("goal", {"GOGC=300"}).out, "12582912\n");
  EXPECT_EQ(gccase("goal", {"GOGC=off"}).out, "-1\n");
}

TEST(GcSettings, GceveryCollectsAtEachNth) {
  EXPECT_EQ(gccase("every", {"GODEBUG=gcevery=3"}).out, "10\n");
  EXPECT_EQ(gccase("every").out, "0\n");
}

TEST(GcSettings, EfenceAndSbrk) {
  ended e = gccase("fence", {"GODEBUG=efence=1"});
  EXPECT_EQ(e.out, "collected\n");
  EXPECT_NE(e.status, 0);
  EXPECT_EQ(gccase("sbrk", {"GODEBUG=sbrk=1"}).out, "lives\n");
}

TEST(GcRoots, LocalsOfRunsCallerKeep) { EXPECT_EQ(gccase("caller").out, "0\n"); }

}  // namespace
