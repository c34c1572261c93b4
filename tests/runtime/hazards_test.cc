// What C++ and its library keep per thread, and what a signal or a fork does to a goroutine: docs/hazards.md names each
// test with the hazard that it stands for. (Programs of their own: hazards_exec_test.cc.)
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cfenv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <vector>

#include "fixture.h"
#include "proc.h"

extern char** environ;

using vitrine::chan;
using vitrine::go;

namespace {

class Hazard : public Goroutines {};

// The address of errno is another thread's after a wait, and the compiler takes it for a constant of the function.
[[gnu::noinline]] int& theerrno() {
  asm volatile("");
  return errno;
}

// Parks until this goroutine is on another M: it is readied by one that then keeps its M busy until we run, so we run
// elsewhere, unless that one had moved itself.
[[gnu::noinline]] bool move() {
  for (int tries = 0; tries < 200; tries++) {
    rt::m* from = rt::getg()->m;
    auto back = std::make_shared<std::atomic<bool>>(false);
    chan<int> c;
    go([back, c] {
      c.send(1);
      auto end = std::chrono::steady_clock::now() + 20ms;
      while (!*back && std::chrono::steady_clock::now() < end) rt::procyield(1);
    });
    c.recv();
    bool moved = rt::getg()->m != from;
    *back = true;
    if (moved) return true;
  }
  return false;
}

// ---- exceptions

struct counted {
  static inline std::atomic<int> live{0};
  int n;
  explicit counted(int k) : n(k) { live++; }
  counted(const counted& o) : n(o.n) { live++; }
  ~counted() { live--; }
};

TEST_F(Hazard, RethrownAfterAMoveIsTheSameException) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 20; i++)
    wg.go([&, i] {
      const counted* thrown = nullptr;
      try {
        try {
          throw counted(i);
        } catch (const counted& e) {
          thrown = &e;
          stayed += !move();
          wrong += std::uncaught_exceptions() != 0 || std::current_exception() == nullptr;
          throw;
        }
      } catch (const counted& e) {
        stayed += !move();
        wrong += &e != thrown || e.n != i;
      }
      wrong += std::current_exception() != nullptr;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted::live, 0);
}

TEST_F(Hazard, NestedHandlersMoveAsOne) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 12; i++)
    wg.go([&, i] {
      try {
        throw counted(i);
      } catch (const counted& a) {
        stayed += !move();
        try {
          throw counted(i + 100);
        } catch (const counted& b) {
          stayed += !move();
          try {
            throw counted(i + 200);
          } catch (const counted& c) {
            stayed += !move();
            wrong += a.n != i || b.n != i + 100 || c.n != i + 200;
          }
          try {
            throw;
          } catch (const counted& again) {
            wrong += &again != &b;
          }
        }
        stayed += !move();
        try {
          throw;
        } catch (const counted& again) {
          wrong += &again != &a;
        }
      }
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted::live, 0);
}

// Leaves by an exception of its own inside each of `depth` destructors that an exception already runs.
struct unwinding {
  std::atomic<int>&wrong, &stayed;
  int depth;
  int before = std::uncaught_exceptions();
  ~unwinding() {
    wrong += std::uncaught_exceptions() != before + 1;
    stayed += !move();
    wrong += std::uncaught_exceptions() != before + 1;
    if (depth == 0) return;
    try {
      unwinding inner{wrong, stayed, depth - 1};
      throw counted(depth);
    } catch (const counted& e) {
      stayed += !move();
      wrong += e.n != depth || std::uncaught_exceptions() != before + 1;
    }
  }
};

TEST_F(Hazard, UncaughtExceptionsMoveWithTheGoroutineThatUnwinds) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0}, caught{0};
  for (int i = 0; i < 12; i++)
    wg.go([&, i] {
      if (i % 3 == 0) {
        stayed += !move();
        wrong += std::uncaught_exceptions() != 0;
        return;
      }
      try {
        unwinding outer{wrong, stayed, 2};
        throw counted(1);
      } catch (const counted& e) {
        caught += e.n;
      }
      wrong += std::uncaught_exceptions() != 0;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(caught, 8);
  EXPECT_EQ(counted::live, 0);
}

TEST_F(Hazard, ExceptionPointersPassBetweenGoroutines) {
  chan<std::exception_ptr> c;
  std::atomic<int> sum{0};
  vitrine::wait_group senders, receivers;
  for (int i = 0; i < 10; i++)
    senders.go([&, i] {
      try {
        throw counted(i);
      } catch (...) {
        for (int k = 0; k < 5; k++) c.send(std::current_exception());
      }
    });
  for (int i = 0; i < 5; i++)
    receivers.go([&] {
      for (std::exception_ptr p : c) try {
          std::rethrow_exception(p);
        } catch (const counted& e) {
          vitrine::yield();
          sum += e.n;
        }
    });
  senders.wait();
  c.close();
  receivers.wait();
  EXPECT_EQ(sum, 5 * 45);
  EXPECT_EQ(counted::live, 0);
}

// ---- errno, floating point

TEST_F(Hazard, ErrnoMovesWithTheGoroutine) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  for (int i = 0; i < 20; i++)
    wg.go([&, i] {
      wrong += theerrno() != 0;
      theerrno() = 1000 + i;
      stayed += !move();
      wrong += theerrno() != 1000 + i;
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
}

TEST_F(Hazard, RoundingModeMovesWithTheGoroutineAndIsNotInherited) {
  vitrine::wait_group wg;
  std::atomic<int> wrong{0}, stayed{0};
  const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (int i = 0; i < 40; i++)
    wg.go([&, i] {
      wrong += std::fegetround() != FE_TONEAREST;
      std::fesetround(modes[i % 4]);
      vitrine::yield();
      if (i < 8) stayed += !move();
      wrong += std::fegetround() != modes[i % 4];
      vitrine::spawn([&] { wrong += std::fegetround() != FE_TONEAREST; }).join();
      wrong += std::fegetround() != modes[i % 4];
    });
  wg.wait();
  EXPECT_EQ(stayed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

// ---- what a thread owns

TEST_F(Hazard, LibrariesThatInsistOnTheirThreadGetIt) {
  std::recursive_mutex owned;  // pthread remembers the owner's thread id
  vitrine::wait_group wg;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; i++)
    wg.go([&] {
      for (int k = 0; k < 20; k++) {
        vitrine::os_thread_lock keep;
        static thread_local int mine;
        int* address = &mine;
        std::thread::id id = std::this_thread::get_id();
        owned.lock();
        vitrine::checkpoint();
        wrong += !owned.try_lock();
        owned.unlock();
        owned.unlock();
        vitrine::yield();
        wrong += &mine != address || std::this_thread::get_id() != id;
      }
    });
  wg.wait();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Hazard, ForeignThreadKeepsItsSignalStack) {
  chan<int> c;
  std::atomic<bool> same{false};
  std::thread thread([&] {
    std::vector<char> memory(64 << 10);
    stack_t mine{}, now{};
    mine.ss_sp = memory.data();
    mine.ss_size = memory.size();
    EXPECT_EQ(sigaltstack(&mine, nullptr), 0);
    for (int i = 0; i < 10; i++) {
      c.send(i);
      c.recv();
    }
    same = sigaltstack(nullptr, &now) == 0 && now.ss_sp == mine.ss_sp && now.ss_flags == 0;
    mine.ss_flags = SS_DISABLE;
    sigaltstack(&mine, nullptr);
  });
  for (int i = 0; i < 10; i++) {
    EXPECT_EQ(c.recv(), i);
    c.send(i);
  }
  thread.join();
  EXPECT_TRUE(same);
}

// ---- stacks

TEST_F(Hazard, StacksHaveNoHugePages) {
  std::uintptr_t sp = std::uintptr_t(__builtin_frame_address(0));
  std::ifstream smaps("/proc/self/smaps");
  bool here = false, found = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t lo, hi;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2) here = lo <= sp && sp < hi;
    if (!here || line.rfind("VmFlags:", 0) != 0) continue;
    found = true;
    EXPECT_NE((line + " ").find(" nh "), std::string::npos) << line;
  }
  EXPECT_TRUE(found);
}

TEST_F(Hazard, StackTopsAreColoured) {
  std::mutex mu;
  std::set<std::uintptr_t> colours;
  vitrine::wait_group wg;
  for (int i = 0; i < 64; i++)
    wg.go([&] {
      std::lock_guard lock(mu);
      colours.insert((rt::getg()->stack.hi - rt::getg()->stktopsp) / 64);
    });
  wg.wait();
  EXPECT_EQ(colours.size(), 8u);
}

std::int64_t rsspages() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t all = 0, rss = 0;
  statm >> all >> rss;
  return rss;
}

TEST_F(Hazard, LargeStacksGiveTheirMemoryBack) {
  if (underTsan || underAsan) GTEST_SKIP() << "the sanitizer's shadow memory stays";
  const int n = 64;
  std::int64_t before = rsspages();
  chan<int> hold;
  vitrine::wait_group wg, ready;
  ready.add(n);
  for (int i = 0; i < n; i++) {
    wg.add(1);
    go({.stack_size = 1 << 20}, [&] {
      {
        volatile char big[900 << 10];
        for (std::size_t k = 0; k < sizeof big; k += 4096) big[k] = 1;
      }
      ready.done();
      hold.recv();
      wg.done();
    });
  }
  ready.wait();
  EXPECT_GT(rsspages() - before, n * 200);
  hold.close();
  wg.wait();
  EXPECT_TRUE(eventually([&] { return rsspages() - before < n * 20; })) << rsspages() - before << " pages are left";
}

// ---- signals and system calls

// All Ps taken by goroutines that compute, and more that want one: whoever ignores a request to yield is signalled.
struct crowd {
  std::atomic<bool> stop{false};
  vitrine::wait_group wg;
  crowd() {
    for (int i = 0; i < vitrine::gomaxprocs() + 1; i++)
      wg.go([this] {
        while (!stop) {
          if (underTsan)
            usleep(50);
          else
            rt::procyield(10);
        }
      });
  }
  ~crowd() {
    stop = true;
    wg.wait();
  }
};

TEST_F(Hazard, SignalDoesNotInterruptAnAccept) {
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "vitrine-hazard-%d", int(getpid()));
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  int got = -2, error = 0;
  std::thread late;
  {
    crowd c;
    late = std::thread([&] {
      usleep(150'000);
      int fd = socket(AF_UNIX, SOCK_STREAM, 0);
      EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
      close(fd);
    });
    vitrine::wait_group wg;
    wg.go([&] {
      got = accept(listener, nullptr, nullptr);
      error = theerrno();
    });
    wg.wait();
  }
  late.join();
  EXPECT_GE(got, 0) << std::strerror(error);
  close(got);
  close(listener);
}

TEST_F(Hazard, NothingInterruptsAnAnnouncedWait) {
  // Nanosleep and the like are never restarted; in a blocking_scope there is no P that a signal could ask for.
  crowd c;
  vitrine::wait_group wg;
  std::atomic<int> interrupted{0};
  for (int i = 0; i < 3; i++)
    wg.go([&] {
      for (int k = 0; k < 2; k++) {
        vitrine::blocking_scope scope;
        timespec d{0, 60'000'000};
        interrupted += nanosleep(&d, nullptr) != 0;
      }
    });
  wg.wait();
  EXPECT_EQ(interrupted, 0);
}

// ---- fork

int waitfor(pid_t pid) {
  int status = 0;
  vitrine::blocking_scope scope;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Hazard, EveryWayToStartAProgramWorks) {
  vitrine::wait_group wg, noise;
  std::atomic<bool> stop{false};
  std::atomic<int> right{0};
  for (int i = 0; i < 4; i++)
    noise.go([&] {
      while (!stop) vitrine::sleep_for(100us);
    });
  for (int i = 0; i < 12; i++)
    wg.go([&, i] {
      std::string code = "exit " + std::to_string(i);
      const char* argv[] = {"sh", "-c", code.c_str(), nullptr};
      char** words = const_cast<char**>(argv);
      if (i % 3 == 0) {
        pid_t pid = 0;
        if (posix_spawn(&pid, "/bin/sh", nullptr, nullptr, words, environ) == 0) right += waitfor(pid) == i;
      } else if (i % 3 == 1) {
        FILE* pipe = popen(("echo " + code + "; " + code).c_str(), "r");
        char line[32] = "";
        vitrine::blocking_scope scope;
        bool said = std::fgets(line, sizeof line, pipe) != nullptr && line == code + "\n";
        int status = pclose(pipe);
        right += said && WIFEXITED(status) && WEXITSTATUS(status) == i;
      } else {
        pid_t pid = vfork();
        if (pid == 0) {
          execve("/bin/sh", words, environ);
          _exit(99);
        }
        right += waitfor(pid) == i;
      }
    });
  wg.wait();
  stop = true;
  noise.wait();
  EXPECT_EQ(right, 12);
}

TEST_F(Hazard, ForkedChildIsToldWhateverItCalls) {
  vitrine::mutex held;
  chan<int> c;
  held.lock();
  void (*const calls[])(vitrine::mutex&, chan<int>&) = {
      [](vitrine::mutex&, chan<int>&) { go([] {}); },
      [](vitrine::mutex& m, chan<int>&) { m.lock(); },
      [](vitrine::mutex&, chan<int>& ch) { ch.recv(); },
      [](vitrine::mutex&, chan<int>&) { vitrine::sleep_for(1ms); },
      [](vitrine::mutex&, chan<int>&) { vitrine::spawn([] {}).join(); },
      [](vitrine::mutex&, chan<int>&) { vitrine::checkpoint(); },
      [](vitrine::mutex&, chan<int>&) { vitrine::gomaxprocs(1); },
      [](vitrine::mutex&, chan<int>&) { vitrine::blocking_scope scope; },
  };
  for (const auto& call : calls) {
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
      alarm(10);
      dup2(fds[1], 2);
      call(held, c);
      _exit(0);
    }
    close(fds[1]);
    std::string said;
    char buf[256];
    for (long n; (n = read(fds[0], buf, sizeof buf)) > 0;) said.append(buf, std::size_t(n));
    close(fds[0]);
    EXPECT_EQ(waitfor(pid), 2) << "call " << int(&call - calls);
    EXPECT_NE(said.find("child of a fork()"), std::string::npos) << said;
  }
  held.unlock();
}

}  // namespace
