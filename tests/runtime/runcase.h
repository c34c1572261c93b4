// runcase.h: running a program of many cases in a process of its own, and what it left behind.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

extern char** environ;

struct ended {
  int status = -1;    // exit status, or
  int signal = 0;     // the signal that killed it
  bool late = false;  // it had to be killed after a minute
  std::string out, err;
};

inline std::string beside(const char* program) {
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  std::string path(self, n > 0 ? n : 0);
  return path.substr(0, path.rfind('/') + 1) + program;
}

inline void drain(int fd, std::string* text) {
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text->append(buffer, n);
  close(fd);
}

// Runs `words`, a program beside this one and its arguments, with these variables instead of any GO… of ours. send: a
// signal that it gets as soon as it has written something to its output.
inline ended runprogram(std::vector<std::string> words, const std::vector<std::string>& settings = {}, int send = 0) {
  rlimit nocore{0, 0};
  setrlimit(RLIMIT_CORE, &nocore);
  if (words[0][0] != '/') words[0] = beside(words[0].c_str());
  std::vector<char*> argv, env;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  std::vector<std::string> own = settings;
  own.push_back("TSAN_OPTIONS=atexit_sleep_ms=0");  // a second for each program otherwise
  for (auto& s : own) env.push_back(s.data());
  for (char** e = environ; *e != nullptr; e++)
    if (std::string(*e).rfind("GO", 0) != 0 && std::string(*e).rfind("TSAN_", 0) != 0) env.push_back(*e);
  env.push_back(nullptr);

  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) abort();
  if (fcntl(out[0], F_SETPIPE_SZ, 1 << 20) < 0 || fcntl(err[0], F_SETPIPE_SZ, 1 << 20) < 0) abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t pid = 0;
  int failed = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  ended e;
  if (failed != 0) {
    e.err = "cannot run " + words[0];
    return e;
  }
  // What these programs print fits into a pipe, so they can be read one after the other once the process has ended.
  if (send != 0) {
    pollfd ready{out[0], POLLIN, 0};
    if (poll(&ready, 1, 30000) == 1) kill(pid, send);
  }
  for (int tenths = 0;; tenths++) {
    int status;
    if (waitpid(pid, &status, tenths < 600 ? WNOHANG : 0) == pid) {
      if (WIFEXITED(status)) e.status = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) e.signal = WTERMSIG(status);
      break;
    }
    if (tenths == 599) {
      e.late = true;
      kill(pid, SIGKILL);
    }
    pollfd readable{err[0], 0, 0};
    poll(&readable, 1, 100);
  }
  drain(out[0], &e.out);
  drain(err[0], &e.err);
  return e;
}

inline testing::AssertionResult says(const ended& e, const std::string& text) {
  if (e.err.find(text) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "`" << text << "` is not in:\n" << e.err;
}
