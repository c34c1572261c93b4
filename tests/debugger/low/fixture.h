// fixture.h: running the fixture programs: a scratch directory, a child with "ready" on its output, a core.
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "proc_files.h"
#include "program.h"
#include "target.h"
#include "unwind.h"

namespace vitrine::inspect {

// A directory that goes away with the test. In memory if possible: to remove a sparse core of thousands of pieces takes
// a journalling file system seconds.
class Scratch {
 public:
  Scratch() {
    const char* tmp = std::getenv("TMPDIR");
    const std::string root = tmp && *tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string name = root + "/vitrine-low-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

// A child process with its output in a pipe; killed and reaped at the end of the test.
class Child {
 public:
  explicit Child(const std::vector<std::string>& argv, const std::string& cwd = "", bool core = false) {
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      dup2(out[1], 2);
      if (!cwd.empty() && chdir(cwd.c_str()) != 0) _exit(126);
      const rlimit limit{core ? RLIM_INFINITY : 0, RLIM_INFINITY};
      setrlimit(RLIMIT_CORE, &limit);
      const rlimit most{2ull << 30, 2ull << 30};  // whatever goes wrong, it shall not fill the disk
      setrlimit(RLIMIT_FSIZE, &most);
      std::vector<char*> args;
      for (const std::string& a : argv) args.push_back(const_cast<char*>(a.c_str()));
      args.push_back(nullptr);
      execvp(args[0], args.data());
      _exit(127);
    }
    close(out[1]);
    out_ = out[0];
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (out_ >= 0) close(out_);
  }
  Child(const Child&) = delete;
  int pid() const { return pid_; }
  // Until the first thread sleeps in the kernel: what it printed may be read while it still comes back from printing.
  bool wait_until_asleep() const {
    for (int tries = 0; tries < 10000; tries++) {
      const std::string stat = proc_file(pid_, "stat").value_or("");
      if (const std::size_t at = stat.rfind(") "); at != std::string::npos && stat.compare(at, 3, ") S") == 0)
        return true;
      usleep(1000);
    }
    return false;
  }
  // Reads output until the text was seen. False: the output ended without it.
  bool wait_for(const std::string& text) {
    char buf[4096];
    while (output_.find(text) == std::string::npos) {
      const ssize_t n = read(out_, buf, sizeof buf);
      if (n <= 0) return false;
      output_.append(buf, static_cast<std::size_t>(n));
    }
    return true;
  }
  // Waits for the end; the exit status as waitpid gives it.
  int finish() {
    wait_for(std::string(1, '\0'));
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  const std::string& output() const { return output_; }

 private:
  int pid_ = -1, out_ = -1;
  std::string output_;
};

// Runs a command to its end; its output.
inline std::string run_command(const std::vector<std::string>& argv, const std::string& cwd = "") {
  Child c(argv, cwd);
  c.finish();
  return c.output();
}

// Runs a program that crashes and gives the path of its core: the kernel's, or, where the kernel pipes cores away, one
// that gdb writes. "": no core could be had. `output`: what the program printed.
inline std::string make_core(const std::vector<std::string>& argv, const Scratch& dir, std::string* output = nullptr) {
  const std::string pattern = slurp("/proc/sys/kernel/core_pattern");
  if (!pattern.starts_with("|") && pattern.find('/') == std::string::npos) {
    Child c(argv, dir.path(), true);
    c.finish();
    if (output) *output = c.output();
    for (const auto& e : std::filesystem::directory_iterator(dir.path()))
      if (e.path().filename().string().starts_with("core")) return e.path().string();
    return "";
  }
  std::vector<std::string> gdb{"gdb", "-batch", "-nx",   "-ex", "run", "-ex", "generate-core-file " + (dir / "core"),
                               "-ex", "kill",   "--args"};
  gdb.insert(gdb.end(), argv.begin(), argv.end());
  const std::string text = run_command(gdb, dir.path());
  if (output) *output = text;
  return access((dir / "core").c_str(), R_OK) == 0 ? dir / "core" : "";
}

// The functions of a walk, innermost first, inlined ones included.
inline std::vector<std::string> functions_of(Program& program, const StackWalk& walk) {
  std::vector<std::string> out;
  for (const Frame& f : walk.frames)
    for (const Location& l : program.locate(f.lookup_pc())) out.push_back(l.function);
  return out;
}

inline const Thread* current_thread(Target& target) {
  for (const Thread& t : target.threads())
    if (t.current) return &t;
  return nullptr;
}

// The part of a list from `from` to `to`, both included.
inline std::vector<std::string> between(const std::vector<std::string>& all, const std::string& from,
                                        const std::string& to) {
  std::vector<std::string> out;
  for (const std::string& s : all) {
    if (out.empty() && s != from) continue;
    out.push_back(s);
    if (s == to) break;
  }
  return out;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace vitrine::inspect
