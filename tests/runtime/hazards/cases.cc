// cases.cc CASE: programs that meet what C++, the C library and the kernel have in store for a runtime that moves
// stacks between threads, and end in their own way. hazards_exec_test.cc runs each. Public API only.
#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <unwind.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using vitrine::chan;
using vitrine::go;
using vitrine::run;

// ---- idle

// Times that a thread of this process was given a CPU.
long switches() {
  long n = 0;
  DIR* tasks = opendir("/proc/self/task");
  for (dirent* e; (e = readdir(tasks)) != nullptr;) {
    if (e->d_name[0] == '.') continue;
    std::ifstream stat(std::string("/proc/self/task/") + e->d_name + "/schedstat");
    long ran = 0, waited = 0, times = 0;
    stat >> ran >> waited >> times;
    n += times;
  }
  closedir(tasks);
  return n;
}

// A thousand goroutines are parked and main sleeps. The test looks on from outside: here somebody would have to be
// awake.
int idle() {
  return run({.procs = 4}, [] {
    chan<int> c;
    for (int i = 0; i < 1000; i++) go([c] { c.recv(); });
    std::printf("parked\n");
    std::fflush(stdout);
    vitrine::sleep_for(1h);
    return 0;
  });
}

// With a thread about that is no goroutine one M looks five times a second whether it is a deadlock.
int idlewiththreads() {
  return run({.procs = 4}, [] {
    chan<int> c, done;
    for (int i = 0; i < 1000; i++) go([c] { c.recv(); });
    std::thread watcher([&] {
      usleep(300'000);
      long before = switches();
      usleep(1'000'000);
      std::printf("%ld\n", switches() - before);
      done.send(1);
    });
    done.recv();
    watcher.join();
    return 0;
  });
}

// ---- a profiler's signal at any instruction

std::atomic<long> samples{0}, frames{0}, endless{0};

_Unwind_Reason_Code step(_Unwind_Context*, void* depth) {
  int& n = *static_cast<int*>(depth);
  return ++n < 200 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void profile(int) {
  int saved = errno, n = 0;
  _Unwind_Backtrace(step, &n);
  samples++;
  frames += n;
  endless += n >= 200;
  errno = saved;
}

int profiled(int flags) {
  struct sigaction sa {};
  sa.sa_handler = profile;
  sa.sa_flags = SA_RESTART | flags;
  sigaction(SIGPROF, &sa, nullptr);
  return run({.procs = 4}, [] {
    itimerval timer{{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &timer, nullptr);
    // The timer comes at the kernel's ticks; this one at any time.
    std::atomic<bool> stop{false};
    std::thread pest([&] {
      while (!stop) {
        kill(getpid(), SIGPROF);
        usleep(200);
      }
    });
    vitrine::wait_group wg;
    for (int i = 0; i < 16; i++)
      wg.go([&, i] {
        chan<int> c;
        go([=] {
          for (int v : c) (void)v;
        });
        for (int k = 0; !stop; k++) {
          c.send(k);
          vitrine::yield();
          if (k % 64 == i) vitrine::sleep_for(50us);
          try {
            if (k % 256 == i) throw k;
          } catch (int) {
            vitrine::yield();
          }
          if (k % 32 == 0) vitrine::spawn([] { vitrine::yield(); }).join();
        }
        c.close();
      });
    vitrine::sleep_for(1s);
    stop = true;
    pest.join();
    wg.wait();
    timer = {};
    setitimer(ITIMER_PROF, &timer, nullptr);
    std::printf("samples %ld frames %ld endless %ld\n", samples.load(), frames.load(), endless.load());
    return samples > 100 && frames > samples && endless == 0 ? 0 : 1;
  });
}

int profiledonasignalstack() { return profiled(SA_ONSTACK); }
int profiledonthegoroutinesstack() { return profiled(0); }

// ---- signal handlers that block

vitrine::mutex held;
chan<int> empty;

void lockinhandler(int) { held.lock(); }
void recvinhandler(int) { empty.recv(); }
void sleepinhandler(int) { vitrine::sleep_for(1ms); }
void joininhandler(int) {
  vitrine::wait_group wg;
  wg.add(1);
  wg.wait();
}

int blocking(void (*handler)(int)) {
  return run([handler] {
    struct sigaction sa {};
    sa.sa_handler = handler;
    sa.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &sa, nullptr);
    held.lock();
    vitrine::wait_group wg;
    wg.go([] {
      vitrine::set_name("interrupted");
      raise(SIGUSR1);
    });
    wg.wait();
    return 0;
  });
}

int lockinahandler() { return blocking(lockinhandler); }
int recvinahandler() { return blocking(recvinhandler); }
int sleepinahandler() { return blocking(sleepinhandler); }
int waitinahandler() { return blocking(joininhandler); }

// ---- stacks

[[gnu::noinline]] int recurse(int n) {
  volatile char frame[512];
  frame[0] = char(n);
  return n == 0 ? 0 : recurse(n - 1) + frame[0];
}

int overflow() {
  return run([] {
    go({.name = "deep"}, [] { recurse(1 << 20); });
    empty.recv();
    return 0;
  });
}

// Just past the end and back: with a guard it faults, with a canary it is noticed when the goroutine next leaves.
[[gnu::noinline]] void fill(std::uintptr_t down) {
  volatile char frame[256];
  for (volatile char& c : frame) c = 1;
  if (std::uintptr_t(frame) > down) fill(down);
  frame[1] = 2;
}

int pasttheend() {
  return run({.procs = 1}, [] {
    // A neighbour below takes the damage where nothing guards: parked, so that it does not run on what is left.
    go({.name = "neighbour"}, [] { empty.recv(); });
    vitrine::yield();
    go({.name = "deep"}, [] {
      fill(std::uintptr_t(__builtin_frame_address(0)) - (66 << 10));
      vitrine::yield();
    });
    empty.recv();
    return 0;
  });
}

// One frame that is larger than the stack and its guard; only the far end is touched. (-fstack-clash-protection, or the
// guard is not met.)
[[gnu::noinline]] int bigframe(int n) {
  volatile char frame[160 << 10];
  asm volatile("" : : "r"(frame) : "memory");  // or clang leaves it out
  frame[0] = char(n);
  return frame[0];
}

int bigframes() {
  return run([] {
    // Stacks are handed out upwards: these lie below.
    for (int i = 0; i < 8; i++) go([] { empty.recv(); });
    vitrine::yield();
    go({.name = "wide"}, [] {
      std::printf("survived %d\n", bigframe(3));
      std::fflush(stdout);
      _exit(3);
    });
    empty.recv();
    return 0;
  });
}

// The program had given the first thread a signal stack of its own before run().
int ownsignalstack() {
  static char memory[256 << 10];
  stack_t mine{};
  mine.ss_sp = memory;
  mine.ss_size = sizeof memory;
  sigaltstack(&mine, nullptr);
  pid_t first = gettid();
  return run({.procs = 1}, [first] {
    for (int i = 0; i < 1000 && gettid() != first; i++) vitrine::sleep_for(1ms);
    stack_t now{};
    sigaltstack(nullptr, &now);
    std::printf("%s\n", gettid() == first && now.ss_sp == memory ? "kept" : "lost");
    std::fflush(stdout);
    recurse(1 << 20 << 4);
    return 0;
  });
}

// ---- EINTR

// Waits that nobody announced, on threads whose Ps others want.
int nanosleeps() {
  return run({.procs = 2}, [] {
    std::atomic<bool> stop{false};
    std::atomic<int> interrupted{0};
    vitrine::wait_group wg, sleepers;
    for (int i = 0; i < 3; i++)
      wg.go([&] {
        while (!stop) vitrine::sleep_for(100us);
      });
    for (int i = 0; i < 2; i++)
      sleepers.go([&] {
        timespec d{0, 300'000'000};
        interrupted += nanosleep(&d, nullptr) != 0;
      });
    sleepers.wait();
    stop = true;
    wg.wait();
    std::printf("interrupted %d\n", interrupted.load());
    return 0;
  });
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(f) \
  { #f, f }
    CASE(idle),
    CASE(idlewiththreads),
    CASE(profiledonasignalstack),
    CASE(profiledonthegoroutinesstack),
    CASE(lockinahandler),
    CASE(recvinahandler),
    CASE(sleepinahandler),
    CASE(waitinahandler),
    CASE(overflow),
    CASE(pasttheend),
    CASE(bigframes),
    CASE(ownsignalstack),
    CASE(nanosleeps),
#undef CASE
};

}  // namespace

int main(int argc, char** argv) {
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  std::fprintf(stderr, "usage: %s CASE\n", argv[0]);
  return 64;
}
