// Goroutines that block their thread, or that are locked to it; and what fork leaves.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <vector>

#include "fixture.h"
#include "proc.h"

using vitrine::chan;
using vitrine::go;

namespace {

class Syscall : public Goroutines {};
class ThreadLock : public Goroutines {};
class Fork : public Goroutines {};

struct pipepair {
  int fds[2];
  pipepair() { EXPECT_EQ(pipe(fds), 0); }
  ~pipepair() {
    close(fds[0]);
    close(fds[1]);
  }
  bool read1() {
    char c;
    return read(fds[0], &c, 1) == 1;
  }
  bool write1() { return write(fds[1], "x", 1) == 1; }
};

TEST_F(Syscall, OthersRunWhileThreadsBlock) {
  // Twice as many blocked threads as Ps; what ends their wait comes from a goroutine that needs a P.
  const std::size_t n = 2 * std::size_t(vitrine::gomaxprocs());
  std::vector<std::unique_ptr<pipepair>> pipes;
  for (std::size_t i = 0; i < n; i++) pipes.push_back(std::make_unique<pipepair>());
  vitrine::wait_group wg;
  std::vector<std::atomic<rt::g*>> gs(n);
  std::atomic<int> ended{0};
  for (std::size_t i = 0; i < n; i++)
    wg.go([&, i] {
      gs[i] = rt::getg();
      vitrine::blocking_scope scope;
      if (pipes[i]->read1()) ended++;
    });
  EXPECT_TRUE(eventually([&] {
    for (auto& gp : gs)
      if (gp == nullptr || rt::readgstatus(gp) != rt::Gsyscall) return false;
    return true;
  }));
  for (auto& gp : gs) {
    EXPECT_NE(gp.load()->syscallsp, 0u);
    EXPECT_GE(gp.load()->syscallsp, gp.load()->stack.lo);
    EXPECT_LT(gp.load()->syscallsp, gp.load()->stack.hi);
  }
  EXPECT_EQ(ended, 0);
  for (auto& p : pipes) EXPECT_TRUE(p->write1());
  wg.wait();
  EXPECT_EQ(ended, int(n));
}

TEST_F(Syscall, ShortOnesKeepTheirP) {
  rt::p* own = rt::getg()->m->p;
  int same = 0;
  constexpr int n = 2000;
  for (int i = 0; i < n; i++) {
    own = rt::getg()->m->p;
    {
      vitrine::blocking_scope scope;
      EXPECT_EQ(rt::getg()->m->p, nullptr);
      EXPECT_EQ(rt::readgstatus(rt::getg()), rt::Gsyscall);
    }
    ASSERT_EQ(rt::readgstatus(rt::getg()), rt::Grunning);
    ASSERT_NE(rt::getg()->m->p, nullptr);
    same += rt::getg()->m->p == own;
  }
  EXPECT_GT(same, n / 2);
}

TEST_F(Syscall, CallsOfTheRuntimeEndTheScope) {
  chan<int> c;
  go([c] { c.send(4); });
  {
    vitrine::blocking_scope scope;
    EXPECT_EQ(c.recv(), 4);
    EXPECT_EQ(rt::readgstatus(rt::getg()), rt::Grunning);
  }
  EXPECT_EQ(rt::readgstatus(rt::getg()), rt::Grunning);
  { vitrine::blocking_scope outer, inner; }
  EXPECT_EQ(rt::readgstatus(rt::getg()), rt::Grunning);
}

TEST_F(Syscall, ScopesNestWithExceptions) {
  vitrine::wait_group wg;
  std::atomic<int> caught{0};
  for (int i = 0; i < 50; i++)
    wg.go([&] {
      try {
        vitrine::blocking_scope scope;
        usleep(100);
        throw 1;
      } catch (int) {
        vitrine::yield();
        caught++;
      }
    });
  wg.wait();
  EXPECT_EQ(caught, 50);
}

// The address of errno is another thread's after a wait, and the compiler takes it for a constant of the function.
[[gnu::noinline]] void seterrno(int e) {
  asm volatile("");
  errno = e;
}
[[gnu::noinline]] int geterrno() {
  asm volatile("");
  return errno;
}

TEST_F(Syscall, ErrnoSurvivesTheWayBack) {
  vitrine::wait_group wg;
  std::atomic<int> right{0};
  for (int i = 0; i < 40; i++)
    wg.go([&, i] {
      {
        vitrine::blocking_scope scope;
        usleep(200);
        seterrno(1000 + i);
      }
      if (geterrno() == 1000 + i) right++;
    });
  wg.wait();
  EXPECT_EQ(right, 40);
}

TEST_F(ThreadLock, StaysOnItsThread) {
  vitrine::wait_group wg, noise;
  std::atomic<bool> stop{false};
  for (int i = 0; i < 20; i++)
    noise.go([&] {
      while (!stop) vitrine::sleep_for(50us);
    });
  std::atomic<int> moved{0}, intruders{0};
  for (int i = 0; i < 6; i++)
    wg.go([&] {
      vitrine::os_thread_lock lock;
      std::int64_t tid = rt::gettid_();
      rt::m* mp = rt::getg()->m;
      for (int k = 0; k < 50; k++) {
        switch (k % 4) {
          case 0:
            vitrine::yield();
            break;
          case 1:
            vitrine::sleep_for(20us);
            break;
          case 2:
            vitrine::spawn([&] {
              if (rt::gettid_() == tid) intruders++;
            }).join();
            break;
          default: {
            vitrine::blocking_scope scope;
            usleep(30);
          }
        }
        if (rt::gettid_() != tid || rt::getg()->m != mp) moved++;
      }
    });
  wg.wait();
  stop = true;
  noise.wait();
  EXPECT_EQ(moved, 0);
  EXPECT_EQ(intruders, 0);
}

TEST_F(ThreadLock, Nests) {
  vitrine::spawn([] {
    rt::g* gp = rt::getg();
    {
      vitrine::os_thread_lock outer;
      {
        vitrine::os_thread_lock inner;
        EXPECT_EQ(gp->m->lockedExt, 2);
      }
      EXPECT_EQ(gp->lockedm, gp->m);
    }
    EXPECT_EQ(gp->lockedm, nullptr);
    EXPECT_EQ(gp->m->lockedg, nullptr);
  }).join();
}

TEST_F(ThreadLock, GoroutineThatEndsLockedTakesItsThreadAlong) {
  auto threads = [] {
    std::int64_t n = 0;
    rt::lock(&rt::sched.lock);
    for (rt::m* mp = rt::allm; mp != nullptr; mp = mp->alllink) n++;
    EXPECT_EQ(n, rt::sched.mnext - rt::sched.nmfreed);
    rt::unlock(&rt::sched.lock);
    return n;
  };
  threads();
  int roundsonm0 = 0;
  for (int round = 0; round < 20; round++) {
    std::atomic<std::int64_t> tid{0};
    std::atomic<bool> onm0{false};
    go([&] {
      alignas(vitrine::os_thread_lock) char place[sizeof(vitrine::os_thread_lock)];
      new (place) vitrine::os_thread_lock;  // never unlocked
      onm0 = rt::getg()->m == &rt::m0;
      tid = rt::gettid_();
    });
    ASSERT_TRUE(eventually([&] { return tid != 0; }));
    ASSERT_TRUE(eventually([] { return rt::gcount() == 1; }));
    if (onm0) {  // which from then on only sleeps
      EXPECT_EQ(++roundsonm0, 1);
      continue;
    }
    std::string path = "/proc/self/task/" + std::to_string(tid.load());
    EXPECT_TRUE(eventually([&] { return access(path.c_str(), F_OK) != 0; })) << "the thread lives";
  }
  // Where m0 took part it is one less than the threads that there are.
  rt::lock(&rt::sched.lock);
  std::int64_t n = 0;
  for (rt::m* mp = rt::allm; mp != nullptr; mp = mp->alllink) n++;
  EXPECT_LE(n - (rt::sched.mnext - rt::sched.nmfreed), 1);
  rt::unlock(&rt::sched.lock);
}

cpu_set_t affinityof(std::int64_t tid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(pid_t(tid), sizeof set, &set);
  return set;
}

TEST_F(ThreadLock, WhatItDoesToItsThreadIsNotInherited) {
  cpu_set_t before = affinityof(0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "one CPU";
  std::atomic<std::int64_t> restricted{0};
  vitrine::wait_group wg;
  pipepair block;
  wg.go([&] {
    vitrine::os_thread_lock lock;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int c = 0; c < CPU_SETSIZE && CPU_COUNT(&one) == 0; c++)
      if (CPU_ISSET(c, &before)) CPU_SET(c, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    restricted = rt::gettid_();
    // More blocked threads than there can be Ms so far, each woken by somebody on this thread.
    std::vector<std::int64_t> tids;
    auto threads = [&] {
      tids.clear();
      rt::lock(&rt::sched.lock);
      for (rt::m* mp = rt::allm; mp != nullptr; mp = mp->alllink) tids.push_back(rt::load_relaxed(mp->procid));
      rt::unlock(&rt::sched.lock);
      return tids.size();
    };
    const std::size_t had = threads();
    vitrine::wait_group blocked;
    std::atomic<int> in{0};
    const int n = int(had) + 4;
    for (int i = 0; i < n; i++)
      blocked.go([&] {
        vitrine::blocking_scope scope;
        in++;
        block.read1();
      });
    EXPECT_TRUE(eventually([&] { return in == n; }));
    EXPECT_GT(threads(), had);
    for (std::int64_t tid : tids) {
      if (tid == 0 || tid == restricted) continue;
      cpu_set_t now = affinityof(tid);
      EXPECT_TRUE(CPU_EQUAL(&now, &before)) << "thread " << tid;
    }
    for (int i = 0; i < n; i++) block.write1();
    blocked.wait();
    sched_setaffinity(0, sizeof before, &before);
  });
  wg.wait();
}

TEST_F(Fork, ChildMayExec) {
  // From several goroutines at once, while others work.
  vitrine::wait_group wg;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; i++)
    wg.go([&, i] {
      pid_t pid = fork();
      if (pid == 0) {
        char code[] = "exit 0";
        code[5] = char('0' + i);
        execl("/bin/sh", "sh", "-c", code, nullptr);
        _exit(99);
      }
      int status = 0;
      vitrine::blocking_scope scope;
      if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == i) right++;
    });
  wg.wait();
  EXPECT_EQ(right, 8);
}

TEST_F(Fork, ChildThatCallsTheRuntimeIsToldSo) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(fds[1], 2);
    vitrine::yield();
    _exit(0);
  }
  close(fds[1]);
  std::string said;
  char buf[256];
  for (long n; (n = read(fds[0], buf, sizeof buf)) > 0;) said.append(buf, std::size_t(n));
  close(fds[0]);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_NE(said.find("child of a fork()"), std::string::npos) << said;
}

}  // namespace
