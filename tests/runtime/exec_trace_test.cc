// What programs say about their goroutines: tracebacks of fatal ends, SIGQUIT, dump_stacks, and GODEBUG's scheduler
// lines. Each test runs a case of progs/trace_cases.cc, built with -O0 and with -O2 -fomit-frame-pointer.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "runcase.h"

namespace {

class Traceback : public testing::TestWithParam<const char*> {
 protected:
  ended runcase(const std::string& name, const std::vector<std::string>& settings = {}, int send = 0) {
    return runprogram({std::string("runtime_trace_") + GetParam(), name}, settings, send);
  }
};
INSTANTIATE_TEST_SUITE_P(, Traceback, testing::Values("O0", "O2"), [](const auto& info) { return info.param; });

// The part of the text from `begin` up to the next blank line.
std::string paragraph(const std::string& text, const std::string& begin) {
  size_t at = text.find(begin);
  if (at == std::string::npos) return "";
  size_t end = text.find("\n\n", at);
  return text.substr(at, end == std::string::npos ? end : end - at);
}

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) n++;
  return n;
}

testing::AssertionResult has(const std::string& text, const std::string& what) {
  if (text.find(what) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "`" << what << "` is not in:\n" << text;
}

TEST_P(Traceback, OfBadUseNamesTheUsersFunction) {
  struct {
    const char *name, *message, *function;
  } uses[] = {{"unlock", "fatal error: sync: unlock of unlocked mutex", "\tunlocks_twice(vitrine::mutex&)+0x"},
              {"done", "fatal error: sync: negative WaitGroup counter", "\tdone_too_often(vitrine::wait_group&)+0x"},
              {"handler", "in a signal handler", "gets_a_signal"}};
  for (auto& use : uses) {
    ended e = runcase(use.name);
    EXPECT_EQ(e.status, 2) << e.err;
    EXPECT_TRUE(says(e, use.message));
    std::string g = paragraph(e.err, "goroutine 2 \"bad\" [running]:\n");
    EXPECT_TRUE(has(g, use.function)) << e.err;
    EXPECT_TRUE(has(g, " in goroutine 1"));
    EXPECT_EQ(count(e.err, "\ngoroutine "), 1) << e.err;  // GOTRACEBACK=single
    EXPECT_EQ(count(g, "vitrine::rt::fatal"), 0) << g;
  }
}

TEST_P(Traceback, OfAnEscapedExceptionNamesTheThrower) {
  struct {
    const char *name, *function;
  } uses[] = {{"closed", "\tcloses_twice(vitrine::chan<int>&)+0x"},
              {"sent", "\tsends_on_closed(vitrine::chan<int>&)+0x"}};
  for (auto& use : uses) {
    ended e = runcase(use.name);
    EXPECT_EQ(e.signal, SIGABRT);
    EXPECT_TRUE(says(e, "runtime: std::terminate: an exception escaped in"));
    EXPECT_TRUE(has(paragraph(e.err, "goroutine 2 \"bad\" [running]:\n"), use.function)) << e.err;
  }
}

TEST_P(Traceback, OfAThreadThatIsNoGoroutine) {
  ended e = runcase("early");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: go() before vitrine::run()"));
  EXPECT_TRUE(has(paragraph(e.err, "thread "), "\tstarts_too_early()+0x")) << e.err;
}

TEST_P(Traceback, OfABrokenRuntimeShowsItsFrames) {
  ended e = runcase("broken");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: made up"));
  std::string g = paragraph(e.err, "goroutine 2 \"bad\" gp=0x");
  EXPECT_TRUE(has(g, "\tvitrine::rt::throw_(char const*)+0x")) << e.err;
  EXPECT_TRUE(has(g, "\tbreaks_the_runtime()+0x"));
  EXPECT_TRUE(has(g, "\tgoentry") || has(g, "\tvitrine::rt::goentry()+0x"));
  EXPECT_TRUE(says(e, "\ngoroutine 1 \"main\" gp=0x")) << "not all goroutines";
  EXPECT_TRUE(says(e, "GOTRACEBACK=crash leaves a core of this.\n"));
  EXPECT_EQ(runcase("broken", {"GOTRACEBACK=crash"}).signal, SIGABRT);
  e = runcase("broken", {"GOTRACEBACK=none"});
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "\tbreaks_the_runtime()+0x"));
}

TEST_P(Traceback, OfAnOverflowIsThere) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer reports overflows itself";
#endif
  ended e = runcase("overflow");
  EXPECT_EQ(e.signal, SIGSEGV);
  EXPECT_TRUE(says(e, "goroutine 2 \"deep\" overflowed its stack"));
  std::string g = paragraph(e.err, "goroutine 2 \"deep\" [running]:\n");
  EXPECT_TRUE(has(g, "recurses")) << e.err;
  EXPECT_TRUE(has(g, "more of the same"));
  EXPECT_TRUE(has(g, "frames left out"));
  EXPECT_EQ(count(g, "not known"), 0) << g;
}

TEST_P(Traceback, OfADeadlockShowsEveryFrameOfEveryParkedGoroutine) {
  ended e = runcase("deadlock");
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 \"main\" [chan receive]:\n"));
  std::string g = paragraph(e.err, "\"reader\" [chan receive]:\n");
  EXPECT_TRUE(has(g, "\twaiting on 0x"));
  EXPECT_EQ(count(g, "\treceives(vitrine::chan<int>&, int, int)+0x"), 1) << e.err;
  EXPECT_EQ(count(g, "\tcalls_receives(vitrine::chan<int>&, int)+0x") + (count(g, "more of the same") ? 4 : 0), 6) << g;
  EXPECT_EQ(count(g, "gopark"), 0) << g;
  EXPECT_EQ(count(g, "not known"), 0) << g;
  EXPECT_TRUE(has(paragraph(e.err, "\"thread "), "\twaits_outside(vitrine::chan<int>&)+0x")) << e.err;
}

// The number behind "program+" is what addr2line takes, and its line is that of the call.
TEST_P(Traceback, GivesAddressesThatAddr2lineUnderstands) {
  ended e = runcase("unlock");
  std::string frame = e.err.substr(std::min(e.err.find("\tunlocks_twice"), e.err.size()));
  size_t plus = frame.find("program+");
  ASSERT_LT(plus, frame.find('\n')) << e.err;
  std::string address = frame.substr(plus + 8, frame.find(')', plus) - plus - 8);
  std::string program = beside((std::string("runtime_trace_") + GetParam()).c_str());
  FILE* p = popen(("addr2line -Cfpie " + program + " " + address + " 2>&1").c_str(), "r");
  std::string answer;
  char line[512];
  while (fgets(line, sizeof line, p) != nullptr) answer += line;
  int status = pclose(p);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) GTEST_SKIP() << "no addr2line here";
  std::ifstream source(TRACE_CASES);
  std::string text;
  int second = 0;  // the line of the second m.unlock()
  for (int n = 1, seen = 0; std::getline(source, text); n++)
    if (has(text, "m.unlock();") && ++seen == 2) second = n;
  std::string where = answer.substr(std::min(answer.find("unlocks_twice"), answer.size()));
  EXPECT_TRUE(has(where.substr(0, where.find('\n')), "trace_cases.cc:" + std::to_string(second))) << answer;
  EXPECT_TRUE(says(e, "Source lines: addr2line -Cfpie " + program + " 0x"));
}

void everygoroutine(const std::string& text, bool demangled) {
  std::string reader = paragraph(text, "\"reader\" [chan receive]:\n");
  EXPECT_TRUE(has(reader, demangled ? "\treceives(vitrine::chan<int>&, int, int)+0x" : "receives")) << text;
  EXPECT_TRUE(has(reader, "calls_receives"));
  EXPECT_TRUE(has(text, "\"long\" [chan receive, 2 minutes]:\n"));
  EXPECT_TRUE(has(text, "goroutine 1 \"main\" ["));
  EXPECT_EQ(count(text, "goroutine 0 "), 0) << text;
  std::string busy = paragraph(text, "\"busy\" [");
  EXPECT_TRUE(busy.find("running on thread") != std::string::npos || busy.find("computes") != std::string::npos)
      << text;
}

TEST_P(Traceback, SigquitShowsEveryGoroutineAndExits2) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer holds a signal back until the thread's next call that it intercepts";
#endif
  ended e = runcase("quit", {}, SIGQUIT);
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(says(e, "SIGQUIT: quit\nPC=0x"));
  everygoroutine(e.err, false);
  EXPECT_TRUE(has(paragraph(e.err, "goroutine 1 \"main\""), "[sleep]:\n"));
}

TEST_P(Traceback, SigquitIsTheProgramsIfItWantsIt) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer holds a signal back until the thread's next call that it intercepts";
#endif
  ended e = runcase("ownquit", {}, SIGQUIT);
  EXPECT_EQ(e.status, 77) << e.err;
  e = runcase("ignoredquit", {}, SIGQUIT);
  EXPECT_EQ(e.status, 9) << e.err;
}

TEST_P(Traceback, DumpStacksShowsEveryGoroutineAndGoesOn) {
  ended e = runcase("dump", {"GOTRACEBACK=none"});
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_EQ(e.err, "");
  everygoroutine(e.out, true);
  EXPECT_TRUE(has(paragraph(e.out, "goroutine 1 \"main\" [running]:\n"), "\tdumps(int)+0x")) << e.out;
  EXPECT_TRUE(has(e.out, "\"fresh\" ["));
}

TEST_P(Traceback, DumpsOfSeveralThreadsAreWholeWhileGoroutinesMove) {
  ended e = runcase("hammer");
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_EQ(e.out, "100 dumps full\n");
}

TEST_P(Traceback, GotracebackDecidesHowMuch) {
  ended e = runcase("unlock", {"GOTRACEBACK=none"});
  EXPECT_EQ(e.err, "fatal error: sync: unlock of unlocked mutex\n");
  EXPECT_EQ(runcase("unlock", {"GOTRACEBACK=0"}).err, e.err);
  e = runcase("unlock", {"GOTRACEBACK=all"});
  EXPECT_EQ(e.status, 2);
  EXPECT_EQ(count(e.err, "\ngoroutine "), 2) << e.err;
  EXPECT_EQ(count(e.err, "vitrine::rt::fatal("), 0) << e.err;
  EXPECT_EQ(count(runcase("unlock", {"GOTRACEBACK=1"}).err, "\ngoroutine "), 2);
  for (const char* level : {"system", "2", "crash"}) {
    e = runcase("unlock", {std::string("GOTRACEBACK=") + level});
    EXPECT_TRUE(says(e, "\tvitrine::rt::fatal(char const*)+0x")) << level;
    EXPECT_TRUE(says(e, "vitrine::rt::gopark(")) << level;
    EXPECT_EQ(e.signal, *level == 'c' ? SIGABRT : 0);
  }
}

TEST_P(Traceback, SetMaxThreadsReturnsTheFormerLimitAndHolds) {
  ended e = runcase("threads");
  EXPECT_EQ(e.status, 2) << e.err;
  EXPECT_TRUE(says(e, "more than the limit of 1 "));
  EXPECT_TRUE(says(e, "fatal error: thread exhaustion"));
  EXPECT_TRUE(says(e, "\tlimits_threads()+0x"));
}

// ---- the scheduler's lines, held against those of a real Go program

const char* const goprogram = R"go(package main

import "time"

func main() {
	c := make(chan int)
	for i := 0; i < 3; i++ {
		go func() { <-c }()
	}
	time.Sleep(130 * time.Millisecond)
}
)go";

// What lies between `from` and `to` becomes `by`.
void blank(std::string& line, const std::string& from, const std::string& to, const std::string& by) {
  size_t begin = line.find(from), end = begin == std::string::npos ? begin : line.find(to, begin + from.size());
  if (end != std::string::npos) line.replace(begin, end + to.size() - begin, by);
}

// A number, nil, true or false, and the name of what has it, as one sign for all values that it may have.
std::string shapeof(const std::string& word) {
  size_t eq = word.find('=');
  std::string key = word.substr(0, eq == std::string::npos ? 0 : eq + 1), value = word.substr(key.size());
  if (value == "true" || value == "false") return key + "BOOL";
  if (value == "nil") return key + "N";
  if (value.size() > 1 && value[0] == '-' && value[1] != '-') value.erase(0, 1);  // of a number
  std::string shape = key;
  for (size_t i = 0; i < value.size(); i++) {
    bool digit = std::isdigit(static_cast<unsigned char>(value[i]));
    if (!digit)
      shape += value[i];
    else if (i == 0 || !std::isdigit(static_cast<unsigned char>(value[i - 1])))
      shape += 'N';
  }
  return shape;
}

// The kinds of lines in the text, with the values taken out. Of a list of numbers one is left.
std::set<std::string> shapes(const std::string& text) {
  std::set<std::string> kinds;
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));  // the program may have ended within a line
  for (std::string line; std::getline(lines, line);) {
    blank(line, "(", ") m=", "(WHY) m=");
    blank(line, "preemptoff=", " locks", "preemptoff= locks");
    std::string shape, last;
    for (size_t at = 0; at <= line.size();) {
      size_t end = std::min(line.find(' ', at), line.size());
      std::string word = shapeof(line.substr(at, end - at));
      if (word != "N" || last != "N") shape += word + ' ';
      last = word;
      at = end + 1;
    }
    kinds.insert(shape);
  }
  return kinds;
}

TEST_P(Traceback, SchedtraceHasTheShapeOfGos) {
  namespace fs = std::filesystem;
  if (std::system("go version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no Go toolchain here";
  fs::path dir = fs::temp_directory_path() / ("vitrine_schedtrace_" + std::to_string(getpid()) + GetParam());
  fs::create_directories(dir);
  std::ofstream(dir / "main.go") << goprogram;
  std::string build = "cd " + dir.string() + " && go build -o prog main.go >/dev/null 2>&1";
  bool built = std::system(build.c_str()) == 0;
  ended brief, detailed;
  if (built) {
    brief = runprogram({dir / "prog"}, {"GODEBUG=schedtrace=50"});
    detailed = runprogram({dir / "prog"}, {"GODEBUG=schedtrace=50,scheddetail=1"});
  }
  fs::remove_all(dir);
  if (!built) GTEST_SKIP() << "go cannot build here";
  if (!has(brief.err, "schedticks")) GTEST_SKIP() << "this Go is older than the format";
  std::set<std::string> theirs = shapes(brief.err), all = shapes(detailed.err);
  theirs.insert(all.begin(), all.end());
  ASSERT_EQ(theirs.size(), 5u) << brief.err << detailed.err;  // SCHED twice, P, M, G
  EXPECT_EQ(shapes(runcase("schedtrace").err), theirs);
}

TEST_P(Traceback, GodebugSchedtracePrintsAtItsInterval) {
  ended e = runcase("sleeps", {"GODEBUG=schedtrace=50,unknownkey=7,scheddetail=nonsense"});
  EXPECT_EQ(e.status, 0);
  int lines = count(e.err, "SCHED ");
  EXPECT_GE(lines, 3) << e.err;
  EXPECT_LE(lines, 8) << e.err;
  EXPECT_EQ(count(e.err, "\n"), lines) << "no detail was asked for\n" << e.err;
  e = runcase("sleeps", {"GODEBUG=schedtrace=50,scheddetail=1"});
  EXPECT_GE(count(e.err, "  G1: status=4(sleep) m=nil lockedm=nil\n"), 2) << e.err;
  EXPECT_EQ(runcase("sleeps").err, "");
}

TEST_P(Traceback, GodebugFlightrecorderTakesASizeAndSaysWhatItDoesNotTake) {
  const std::string nosize = " is no size (0, 1, 64K, 4MiB): as if it were not there\n";
  const std::string most = ": rings have 1073741824 bytes at most\n";
  const std::string byitself = runcase("recorder").out;
  struct {
    std::string value, size, says;
  } cases[] = {{"0", "0\n", ""},
               {"1", "262144\n", ""},
               {"2", "4096\n", ""},
               {"5000", "8192\n", ""},
               {"64K", "65536\n", ""},
               {"64KiB", "65536\n", ""},
               {"2M", "2097152\n", ""},
               {"1G", "1073741824\n", ""},
               {"2GiB", "1073741824\n", most},
               {"99999999999999999999", "1073741824\n", most},
               {"", byitself, nosize},
               {"K", byitself, nosize},
               {"-1", byitself, nosize},
               {"on", byitself, nosize},
               {"4kB", byitself, nosize}};
  for (auto& c : cases) {
    ended e = runcase("recorder", {"GODEBUG=flightrecorder=" + c.value});
    EXPECT_EQ(e.status, 0) << c.value;
    EXPECT_EQ(e.out, c.size) << c.value;
    EXPECT_EQ(e.err, c.says.empty() ? "" : "runtime: GODEBUG: flightrecorder=" + c.value + c.says);
  }
}

}  // namespace
