// Whole listings by vitrine-disasm against files in golden/; addresses and lines are masked. To make the files anew:
//   VITRINE_GOLDEN=write build/tests/disasm/disasm_golden_test
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

namespace {

std::string run(const std::string& command) {
  std::string out;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return "cannot run " + command;
  char buffer[4096];
  for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  pclose(pipe);
  return out;
}

std::string disasm(const std::string& program, const std::string& words) {
  return run(std::string(VITRINE_TEST_BIN) + "/vitrine-disasm " + program + " " + words);
}

std::string masked(std::string text) {
  text = std::regex_replace(text, std::regex("0x[0-9a-f]{4,15}\\b"), "ADDR");
  text = std::regex_replace(text, std::regex("(\\.[Ss]|\\.cc|\\.h|\\.go):[0-9]+"), "$1:N");
  return std::regex_replace(text, std::regex(", [0-9]+ bytes"), ", N bytes");
}

void expect_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(VITRINE_TEST_SOURCE) + "/tests/disasm/golden/" + name + ".txt";
  if (const char* how = std::getenv("VITRINE_GOLDEN"); how && std::string(how) == "write") {
    std::ofstream(path) << masked(text);
    GTEST_SKIP() << "golden files are being written";
  }
  std::ifstream in(path);
  std::stringstream wanted;
  wanted << in.rdbuf();
  EXPECT_EQ(masked(text), wanted.str()) << path;
}

TEST(Golden, OurRoutines) {
  std::string text;
  for (const char* routine : {"gogo", "mcall", "systemstack", "gosave", "goexit", "goentry"})
    text += disasm(VITRINE_TEST_PIPELINE, routine) + "\n";
  expect_golden("ours", text);
}

TEST(Golden, GccAndClangWithAndWithoutOptimisation) {
  expect_golden("gcc-O0", disasm(COMPILED_GCC_O0, "shop::prepare"));
  expect_golden("gcc-O2", disasm(COMPILED_GCC_O2, "shop::prepare"));
  if (std::string(COMPILED_CLANG_O0).empty()) GTEST_SKIP() << "no clang++-14";
  expect_golden("clang-O0", disasm(COMPILED_CLANG_O0, "shop::prepare"));
  expect_golden("clang-O2", disasm(COMPILED_CLANG_O2, "shop::prepare"));
}

// Any compiler, whatever it makes of it: the same fields are stored to.
TEST(Golden, EveryCompilersCodeStoresToTheSameFields) {
  for (const char* program : {COMPILED_GCC_O0, COMPILED_GCC_O2, COMPILED_CLANG_O0, COMPILED_CLANG_O2}) {
    if (!*program) continue;
    const std::string text = disasm(program, "shop::prepare");
    for (const char* part :
         {"order->saved.sp ← ", "order->saved.pc ← fn", "order->saved.argument ← arg3", "order->next->number ← 7"})
      EXPECT_NE(text.find(part), std::string::npos) << program << ": " << part << "\n" << text;
    EXPECT_EQ(text.find("DIFFERS"), std::string::npos) << program << "\n" << text;
  }
}

constexpr const char* kNewestGo = "/usr/local/go/bin/go";
constexpr const char* kOldestGo = "/usr/lib/go-1.19/bin/go";

// Makes a program with that toolchain; "": said what went wrong. The caller removes the directory.
std::string go_program(const char* go) {
  char dir[] = "/tmp/vitrine-disasm-XXXXXX";
  if (!mkdtemp(dir)) return "";
  const std::string at = dir;
  std::ofstream(at + "/main.go") << "package main\n\nfunc main() { select {} }\n";
  std::ofstream(at + "/go.mod") << "module m\n\ngo 1.19\n";
  setenv("GOTOOLCHAIN", "local", 1);
  if (!std::getenv("HOME")) setenv("GOCACHE", (at + "/cache").c_str(), 0);
  const std::string built = run("cd " + at + " && " + go + " build -o prog .");
  if (access((at + "/prog").c_str(), X_OK) == 0) return at;
  ADD_FAILURE() << built;
  return "";
}

// Whole listings of what is written in assembly, of the versions that there are golden files for; what a patch release
// moves is masked.
TEST(Golden, NewestGosRoutines) {
  if (access(kNewestGo, X_OK) != 0) GTEST_SKIP() << "no Go toolchain at " << kNewestGo;
  std::smatch found;
  const std::string says = run(std::string("GOTOOLCHAIN=local ") + kNewestGo + " version");
  ASSERT_TRUE(std::regex_search(says, found, std::regex("go(1\\.[0-9]+)"))) << says;
  const std::string name = "go-" + found[1].str();
  const std::string golden = std::string(VITRINE_TEST_SOURCE) + "/tests/disasm/golden/" + name + ".txt";
  if (!std::getenv("VITRINE_GOLDEN") && access(golden.c_str(), R_OK) != 0)
    GTEST_SKIP() << "there is no golden listing of " << name << " (VITRINE_GOLDEN=write makes it)";
  const std::string at = go_program(kNewestGo);
  ASSERT_FALSE(at.empty());
  std::string text;
  for (const char* routine : {"gogo", "mcall", "systemstack", "gosave", "goexit"})
    text += disasm(at + "/prog", routine) + "\n";
  run("rm -rf " + at);
  // How far away something is, and so how wide that is printed, is the linker's.
  text = std::regex_replace(text, std::regex("rip\\+0x[0-9a-f]+"), "rip+ADDR");
  expect_golden(name, std::regex_replace(text, std::regex("  +"), "  "));
}

TEST(Golden, GosRoutines) {
  const std::pair<const char*, const char*> kToolchains[] = {{kNewestGo, "go-newest"}, {kOldestGo, "go-1.19"}};
  int found = 0;
  for (const auto& [go, name] : kToolchains) {
    if (access(go, X_OK) != 0) continue;
    ++found;
    const std::string at = go_program(go);
    ASSERT_FALSE(at.empty());
    std::string text;
    for (const char* routine : {"gogo", "mcall", "systemstack"}) text += disasm(at + "/prog", routine) + "\n";
    const std::string compiled = disasm(at + "/prog", "runtime.execute");
    EXPECT_NE(compiled.find("called with rax = gp (g*), rbx = inheritTime, r14 = g (g*)"), std::string::npos)
        << go << ": what DWARF says of the parameters\n"
        << compiled;
    EXPECT_NE(compiled.find("[CFA] ← gp\n"), std::string::npos) << go << "\n" << compiled;
    EXPECT_NE(compiled.find("compares writeBarrier with 0"), std::string::npos) << go << "\n" << compiled;
    EXPECT_EQ(compiled.find("etext+"), std::string::npos) << "data named by the end of the code\n" << compiled;
    EXPECT_EQ(disasm(at + "/prog", "main").rfind("main.main  0x", 0), 0u) << go << ": the user's, not the runtime's";
    EXPECT_NE(disasm(at + "/prog", "gosave").find("the caller's SP → g->sched.sp"), std::string::npos) << go;
    const std::string part = disasm(at + "/prog", "gostartcall");
    for (const char* words : {"runtime.gostartcall, which Go's compiler made a part of runtime.gostartcallfn",
                              "buf->sp ← buf->sp-0x8", "*(buf->sp-0x8) ← buf->pc", "buf->pc ← "})
      EXPECT_NE(part.find(words), std::string::npos) << go << ": " << words << "\n" << part;
    EXPECT_NE(text.find("checked    the saved context's sp pc bp g as in DWARF"), std::string::npos) << go << "\n"
                                                                                                     << text;
    run("rm -rf " + at);
    for (const char* part : {"current g ← buf->g", "SP ← buf->sp: now on that stack", "jumps to buf->pc",
                             "g->sched.pc ← the return address", "g->sched.bp ← the caller's rbp",
                             "current g ← g->m->g0", "SP ← g->m->g0->sched.sp", "compares g with g->m->curg"})
      EXPECT_NE(text.find(part), std::string::npos) << go << ": " << part << "\n" << text;
    if (std::string(name) == "go-1.19") expect_golden(name, text);
  }
  if (!found) GTEST_SKIP() << "no Go toolchain";
}

TEST(Golden, AnOffsetThatIsNotTheStructuresIsNoticed) {
  const std::string gogo = disasm(SHIFTED, "gogo");
  EXPECT_NE(
      gogo.find(
          "DIFFERS    +0x44: the frame pointer is loaded from buf->lr, offset +0x28 of gobuf; DWARF has bp at +0x30"),
      std::string::npos)
      << gogo;
  const std::string mcall = disasm(SHIFTED, "mcall");
  EXPECT_NE(mcall.find("the frame pointer is saved to g->sched.lr"), std::string::npos) << mcall;
  EXPECT_EQ(disasm(VITRINE_TEST_PIPELINE, "gogo").find("DIFFERS"), std::string::npos);
}

TEST(Golden, AProgramMayBeNamedFromWithinItsDirectory) {
  const std::string text = run("cd " VITRINE_TEST_BIN " && ./vitrine-disasm pipeline gogo");
  EXPECT_NE(text.find("jumps to buf->pc"), std::string::npos) << text;
}

// 0xADDRESS of the function whose signature or file stands in a line of the message.
std::string address_in(const std::string& message, const std::string& of) {
  std::smatch found;
  std::istringstream lines(message);
  for (std::string line; std::getline(lines, line);)
    if (line.find(of) != line.npos && std::regex_search(line, found, std::regex("0x[0-9a-f]+"))) return found[0];
  return "no address of " + of;
}

TEST(Golden, ANameOfSeveralFunctionsIsAnsweredWithTheirAddressesAndFiles) {
  const std::string measure = disasm(NAMESAKES, "'(anonymous namespace)::measure'");
  EXPECT_EQ(std::regex_replace(measure, std::regex("0x[0-9a-f]+"), "ADDR"),
            "vitrine-disasm: '(anonymous namespace)::measure' names 3 functions; say which by its address or its file, "
            "like namesakes.cc:(anonymous namespace)::measure\n"
            "  ADDR  (anonymous namespace)::measure(int) at namesakes.cc:5\n"
            "  ADDR  (anonymous namespace)::measure(long) at namesakes.cc:6\n"
            "  ADDR  (anonymous namespace)::measure(int) at namesakes_too.cc:5\n");
  EXPECT_NE(disasm(NAMESAKES, address_in(measure, "(long)")).find("namesakes.cc:6\n"), std::string::npos);
  const std::string two = disasm(NAMESAKES, "'namesakes.cc:(anonymous namespace)::measure'");
  EXPECT_NE(two.find("names 2 functions; say which by its address\n"), std::string::npos) << two;
  // Of one symbol, which does not tell them apart.
  const std::string weigh = disasm(NAMESAKES, "weigh");
  EXPECT_NE(weigh.find("'weigh' names 2 functions"), std::string::npos) << weigh;
  for (const char* at : {"namesakes.cc:10", "namesakes_too.cc:9"})
    EXPECT_NE(disasm(NAMESAKES, address_in(weigh, at)).find(at), std::string::npos) << weigh;
  EXPECT_NE(disasm(NAMESAKES, "namesakes_too.cc:weigh").find("namesakes_too.cc:9\n"), std::string::npos);
  EXPECT_EQ(disasm(NAMESAKES, "nowhere.cc:weigh"),
            "vitrine-disasm: there is a function 'weigh', but none in a file 'nowhere.cc'\n");
  EXPECT_NE(disasm(NAMESAKES, "only_here").find("namesakes.cc:11\n"), std::string::npos);
  const std::string split = disasm(NAMESAKES, "split");  // and not the part that was split off it
  EXPECT_EQ(split.rfind("split  0x", 0), 0u) << split;
  EXPECT_EQ(disasm(NAMESAKES, "split.part.0").rfind("split.part.0  0x", 0), 0u);
}

TEST(Golden, BadInputIsOneClearLine) {
  EXPECT_EQ(disasm(VITRINE_TEST_PIPELINE, "nothing_of_that_name"),
            "vitrine-disasm: there is no function 'nothing_of_that_name'\n");
  EXPECT_EQ(disasm(VITRINE_TEST_PIPELINE, "gogo 17"),
            "vitrine-disasm: the program does not run: there are no goroutines\n");
  EXPECT_EQ(disasm(VITRINE_TEST_PIPELINE, "0x10"), "vitrine-disasm: no function is known at 0x10\n");
  EXPECT_EQ(disasm("/dev/null", "gogo").rfind("vitrine-disasm: /dev/null: ", 0), 0u) << disasm("/dev/null", "gogo");
  EXPECT_EQ(disasm("/nowhere", "gogo"), "vitrine-disasm: /nowhere: No such file or directory\n");
  const std::string stripped = disasm(STRIPPED, "gogo");
  EXPECT_EQ(stripped.rfind("vitrine-disasm: there is no function 'gogo': the program's symbols are stripped", 0), 0u)
      << stripped;
}

}  // namespace
