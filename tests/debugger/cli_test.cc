// vitrine-inspect as a shell sees it: exit status, one clear message on stderr, nothing else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Done {
  int status = -1;  // -1: killed
  std::string out, err;
};

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Done inspect(std::vector<std::string> args) {
  std::string out = testing::TempDir() + "cli_out." + std::to_string(getpid());
  std::string err = testing::TempDir() + "cli_err." + std::to_string(getpid());
  args.insert(args.begin(), VITRINE_TEST_BIN "/vitrine-inspect");
  pid_t pid = fork();
  if (pid == 0) {
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    int o = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600),
        e = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(o, 1);
    dup2(e, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  Done done{WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
  unlink(out.c_str());
  unlink(err.c_str());
  return done;
}

TEST(Cli, HelpAndVersionNeedNoTarget) {
  Done d = inspect({"help"});
  EXPECT_EQ(d.status, 0);
  EXPECT_NE(d.out.find("goroutine stacks"), std::string::npos);
  EXPECT_EQ(inspect({"vitrine", "version"}).status, 0);
  EXPECT_EQ(inspect({"--help"}).status, 0);
  EXPECT_EQ(inspect({"--version"}).out.rfind("vitrine ", 0), 0u);
}

TEST(Cli, WordsThatMakeNoSenseAreStatusTwoAndOneLine) {
  for (auto& args : std::vector<std::vector<std::string>>{{},
                                                          {"--frobnicate"},
                                                          {"--pid", "zero", "info", "goroutines"},
                                                          {"--pid"},
                                                          {"--core", "x", "--pid", "1", "info", "goroutines"},
                                                          {"--nostop", "info", "goroutines"},
                                                          {"bogus"},
                                                          {"info"}}) {
    Done d = inspect(args);
    EXPECT_EQ(d.status, 2) << d.err;
    EXPECT_EQ(d.out, "");
    EXPECT_EQ(d.err.rfind("vitrine-inspect: ", 0), 0u) << d.err;
    EXPECT_EQ(std::count(d.err.begin(), d.err.end(), '\n'), 1) << d.err;
  }
}

TEST(Cli, WhatCannotBeOpenedIsNamed) {
  Done d = inspect({"--core", "/nonexistent/core", "info", "goroutines"});
  EXPECT_EQ(d.status, 1);
  EXPECT_NE(d.err.find("/nonexistent/core"), std::string::npos) << d.err;
  d = inspect({"--core", VITRINE_TEST_BIN "/pipeline", "info", "goroutines"});
  EXPECT_EQ(d.status, 1) << "a program is no core";
  EXPECT_NE(d.err.find("pipeline"), std::string::npos) << d.err;
  d = inspect({"--pid", "999999999", "info", "goroutines"});
  EXPECT_EQ(d.status, 1);
  EXPECT_NE(d.err.find("999999999"), std::string::npos) << d.err;
  d = inspect({"info", "goroutines"});
  EXPECT_EQ(d.status, 1);
  EXPECT_EQ(d.err, "vitrine-inspect: there is no program: nothing to inspect\n");
}

// A process without our runtime: said, status 1, and it lives on.
TEST(Cli, AProcessWithoutOurRuntimeIsSaidAndGoesOn) {
  pid_t pid = fork();
  if (pid == 0) {
    execl("/bin/sleep", "sleep", "1000", nullptr);
    _exit(127);
  }
  usleep(100000);
  for (const char* stop : {"--nostop", ""}) {
    std::vector<std::string> args = {"--pid", std::to_string(pid), "info", "goroutines"};
    if (*stop) args.insert(args.begin(), stop);
    Done d = inspect(args);
    EXPECT_EQ(d.status, 1);
    EXPECT_EQ(d.err,
              "vitrine-inspect: no goroutine runtime found in this program: neither DWARF of one nor a layout note\n");
  }
  Done d = inspect({"--pid", std::to_string(pid), "doctor"});
  EXPECT_EQ(d.status, 1);
  EXPECT_NE(d.out.find("! runtime"), std::string::npos) << d.out;
  d = inspect({"--nostop", "--pid", std::to_string(pid), "vitrine", "core", testing::TempDir() + "never"});
  EXPECT_EQ(d.status, 1);
  EXPECT_NE(d.err.find("stand still"), std::string::npos) << d.err;
  std::string state = slurp("/proc/" + std::to_string(pid) + "/stat");
  EXPECT_NE(state.find(") S"), std::string::npos) << "it sleeps, and is not left stopped: " << state;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(Cli, OutputThatCannotBeWrittenIsAFailure) {
  std::string command = VITRINE_TEST_BIN "/vitrine-inspect help > /dev/full 2>/dev/null";
  int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
