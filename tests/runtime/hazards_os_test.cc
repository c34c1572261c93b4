// What the kernel keeps per thread, and what a signal or a fork does to a goroutine: docs/hazards.md names each test
// with the hazard that it stands for.
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <vector>

#include "fixture.h"
#include "proc.h"

extern char** environ;

using vitrine::chan;
using vitrine::go;

namespace {

class HazardOs : public Goroutines {};

// ---- what a thread owns

TEST_F(HazardOs, LibrariesThatInsistOnTheirThreadGetIt) {
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

TEST_F(HazardOs, ForeignThreadKeepsItsSignalStack) {
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

TEST_F(HazardOs, StacksHaveNoHugePages) {
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

TEST_F(HazardOs, StackTopsAreColoured) {
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

TEST_F(HazardOs, LargeStacksGiveTheirMemoryBack) {
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
// Each comes back for a P after it has lost one, else nobody would want one after a while.
struct crowd {
  std::atomic<bool> stop{false};
  vitrine::wait_group wg;
  crowd() {
    for (int i = 0; i < vitrine::gomaxprocs() + 4; i++)
      wg.go([this] {
        while (!stop) {
          for (auto end = std::chrono::steady_clock::now() + 25ms; std::chrono::steady_clock::now() < end;) {
            if (underTsan)
              usleep(50);
            else
              rt::procyield(10);
          }
          vitrine::checkpoint();
        }
      });
  }
  ~crowd() {
    stop = true;
    wg.wait();
  }
};

TEST_F(HazardOs, SignalDoesNotInterruptAnAccept) {
  if (underTsan) GTEST_SKIP() << "ThreadSanitizer puts signals off until the call has returned";
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "vitrine-hazard-%d", int(getpid()));
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  int got = -2, error = 0;
  std::atomic<rt::g*> who{nullptr};
  bool signalled = false;
  std::thread late;
  {
    crowd c;
    late = std::thread([&] {
      signalled = eventually([&] { return who != nullptr && rt::load_relaxed(who.load()->noproc) != 0; });
      int fd = socket(AF_UNIX, SOCK_STREAM, 0);
      EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
      close(fd);
    });
    vitrine::wait_group wg;
    wg.go([&] {
      who = rt::getg();
      got = accept(listener, nullptr, nullptr);
      error = errno;  // no wait of the runtime's was in between
    });
    wg.wait();
  }
  late.join();
  EXPECT_TRUE(signalled);
  EXPECT_GE(got, 0) << std::strerror(error);
  close(got);
  close(listener);
}

TEST_F(HazardOs, NothingInterruptsAnAnnouncedWait) {
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

TEST_F(HazardOs, ASignalSentWhileAWaitIsAnnouncedComesBeforeIt) {
  // The signal is sent, again and again, at whatever instruction the waiting goroutine's thread has reached.
  vitrine::gomaxprocs(2);
  std::atomic<int> interrupted{0};
  std::atomic<bool> done{false};
  vitrine::wait_group wg;
  wg.go([&] {
    vitrine::no_preempt keep;
    while (!done) {
      for (rt::int64 i = 0; i < 2; i++) rt::preemptsignal(rt::allp.array[i]);
      if (underTsan) usleep(1);
    }
  });
  wg.go([&] {
    for (int k = 0; k < 5000; k++) {
      vitrine::blocking_scope scope;
      timespec d{0, 1'000};
      interrupted += nanosleep(&d, nullptr) != 0;
    }
    done = true;
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

TEST_F(HazardOs, EveryWayToStartAProgramWorks) {
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

TEST_F(HazardOs, ForkedChildIsToldWhateverItCalls) {
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
