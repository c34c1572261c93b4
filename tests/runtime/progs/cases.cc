// cases.cc CASE: small programs that end in their own way — by a value, a deadlock, a fatal error, an exception, a
// fault. exec_test.cc runs each and looks at its output and exit status.
#include <unistd.h>
#include <unwind.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime.h"

namespace {

namespace rt = vitrine::rt;
using namespace std::chrono_literals;
using vitrine::chan;
using vitrine::go;
using vitrine::run;

const char* argument = "";

int returnsvalue() {
  return run([] { return 7; });
}

int returnsvoid() {
  return run([] {});
}

int returnsonthefirstthread() {
  pid_t first = gettid(), on = 0;
  std::vector<pid_t> ran(50);
  run({.procs = 4}, [&] {
    for (pid_t& tid : ran) {
      vitrine::sleep_for(100us);
      tid = gettid();
    }
  });
  on = gettid();
  return on == first ? 0 : 1;
}

// The control words are callee-saved, and run() is a function like any other.
int returnswiththeroundingmode() {
  std::fesetround(FE_DOWNWARD);
  int inside = -1;
  run({.procs = 1}, [&] {
    inside = std::fegetround();
    std::fesetround(FE_UPWARD);
  });
  return inside == FE_TONEAREST && std::fegetround() == FE_DOWNWARD ? 0 : 1;
}

int procs() {
  return run([] {
    std::printf("gomaxprocs %d\n", vitrine::gomaxprocs());
    return 0;
  });
}

int procsoption() {
  return run({.procs = 3}, [] {
    int asked = vitrine::gomaxprocs(), before = vitrine::gomaxprocs(9), now = vitrine::gomaxprocs();
    std::printf("gomaxprocs %d %d %d\n", asked, before, now);
    return 0;
  });
}

int deadlock() {
  chan<int> c;
  vitrine::mutex m;
  vitrine::wait_group wg;
  return run([&] {
    m.lock();
    wg.add(1);
    go({.name = "reader"}, [&] { c.recv(); });
    go([&] { c.recv(); });
    go({.name = "locker"}, [&] { m.lock(); });
    wg.wait();
    return 0;
  });
}

int deadlockaftersleep() {
  return run([] {
    auto t = vitrine::spawn([] { chan<int>().recv(); });
    vitrine::timer stopped(1h), another(1h);
    stopped.stop();
    another.stop();
    vitrine::sleep_for(20ms);
    t.join();
    return 0;
  });
}

// A thread that the program started may still ready somebody: no deadlock is declared while it lives.
int foreignthreadmaywake() {
  return run([] {
    chan<int> c;
    std::thread t([c] {
      usleep(200000);
      go([c] { c.send(3); });
    });
    int v = *c.recv();
    t.join();
    return v;
  });
}

// Nobody is left to send: a thread that waits itself is no hope for the goroutines.
int foreigndeadlock() {
  return run([] {
    std::thread([] { chan<int>().recv(); }).detach();
    chan<int>().recv();
    return 0;
  });
}

int foreignbeforerun() {
  static vitrine::mutex m;
  m.lock();
  m.lock();
  return 0;
}

// The values of goroutine 1 end with its function, before run() returns.
int glsofmain() {
  struct speaks {
    ~speaks() { std::printf("gone\n"); }
  };
  static vitrine::gls<speaks> value;
  int status = run([] {
    (void)value.get();
    return 5;
  });
  std::printf("after run\n");
  return status;
}

int runtwice() {
  run([] {});
  return run([] {});
}

int gobeforerun() {
  go([] {});
  return run([] {});
}

// After run() no goroutine makes a step.
int frozen() {
  static std::atomic<long> steps{0};
  int code = run({.procs = 4}, [] {
    for (int i = 0; i < 8; i++)
      go([] {
        for (;;) {
          steps++;
          vitrine::yield();
        }
      });
    for (int i = 0; i < 4; i++)
      go([] {
        for (;;) {
          steps++;
          vitrine::sleep_for(1ms);
        }
      });
    vitrine::sleep_for(20ms);
    return 5;
  });
  long before = steps;
  usleep(100000);
  return before > 0 && steps == before ? code : 99;
}

// A goroutine that never enters the runtime again does not keep run() from returning.
int busyatexit() {
  static volatile bool forever = true;
  std::atomic<bool> busy{false};
  return run({.procs = 2}, [&] {
    go([&] {
      busy = true;
      while (forever) {
      }
    });
    while (!busy) vitrine::yield();
    return 6;
  });
}

// Static objects that goroutines are still waiting in when the program ends.
vitrine::net::listener global_listener;
vitrine::task<void> global_task;

int waitedinatexit() {
  return run([] {
    global_listener = vitrine::net::listen_tcp("127.0.0.1", 0);
    go([] { global_listener.accept(); });
    global_task = vitrine::spawn([] { vitrine::sleep_for(1h); });
    vitrine::sleep_for(20ms);
    return 8;
  });
}

chan<std::string> global(4);

int handlesoutliverun() {
  run([] { global.send("left over"); });
  return global.size() == 1 && global.recv() == "left over" ? 0 : 1;
}

__attribute__((noinline)) void thrower() { throw std::runtime_error("boom"); }

int escape() {
  return run([] {
    go({.name = "thrower"}, thrower);
    chan<int>().recv();
    return 0;
  });
}

int escapefrommain() {
  return run([]() -> int { throw std::runtime_error("boom"); });
}

_Unwind_Reason_Code find(_Unwind_Context* context, void* found) {
  void* pc = reinterpret_cast<void*>(_Unwind_GetIP(context) - 1);
  if (_Unwind_FindEnclosingFunction(pc) == reinterpret_cast<void*>(&thrower)) *static_cast<bool*>(found) = true;
  return _URC_NO_REASON;
}

// The handler that was there before is called too, and the thrower's frame is still on the stack then.
int escapechained() {
  std::set_terminate([] {
    bool found = false;
    _Unwind_Backtrace(find, &found);
    _exit(found ? 33 : 34);
  });
  return run([] {
    go({.name = "thrower"}, [] { thrower(); });
    chan<int>().recv();
    return 0;
  });
}

__attribute__((noinline)) int recurse(int n) {
  volatile char frame[512];
  frame[0] = char(n);
  return n == 0 ? 0 : recurse(n - 1) + frame[0];
}

int overflow() {
  return run([] {
    go({.name = "deep"}, [] { recurse(1 << 20); });
    chan<int>().recv();
    return 0;
  });
}

int overflowsmall() {
  return run([] {
    go({.name = "small", .stack_size = 16 << 10}, [] { recurse(1 << 20); });
    chan<int>().recv();
    return 0;
  });
}

int otherfault() {
  return run([] {
    volatile int* p = reinterpret_cast<int*>(0x1234);
    return *p;
  });
}

int canary() {
  return run([] {
    go({.name = "overwriter"}, [] {
      *reinterpret_cast<volatile std::uint64_t*>(rt::getg()->stackcanary) = 0;
      vitrine::yield();
    });
    chan<int>().recv();
    return 0;
  });
}

// Prints which guards a hundred goroutines got.
int guards() {
  return run([] {
    vitrine::wait_group wg;
    std::atomic<int> kinds[4] = {};
    for (int i = 0; i < 100; i++) wg.go([&] { kinds[rt::getg()->guard]++; });
    wg.wait();
    std::printf("none %d mprotect %d madvise %d canary %d\n", int(kinds[0]), int(kinds[1]), int(kinds[2]),
                int(kinds[3]));
    return 0;
  });
}

int many() {
  return run([] {
    int n = std::atoi(argument);
    chan<int> hold;
    std::atomic<int> running{0};
    vitrine::wait_group wg;
    for (int i = 0; i < n; i++)
      wg.go([&] {
        running++;
        hold.recv();
      });
    while (running < n) vitrine::sleep_for(1ms);
    hold.close();
    wg.wait();
    std::printf("%d ran\n", n);
    return 0;
  });
}

int negativewaitgroup() {
  return run([] {
    vitrine::wait_group wg;
    wg.done();
    return 0;
  });
}

// What each primitive says to bad use, by argument.
int badsync() {
  std::string what = argument;
  return run([&] {
    vitrine::set_name("careless");
    vitrine::rw_mutex rw;
    vitrine::semaphore sema(2147483647);
    if (what == "rwunlock") rw.unlock();
    if (what == "runlock") rw.unlock_shared();
    if (what == "semaphore") sema.release();
    if (what == "cond") {
      vitrine::mutex m;
      vitrine::cond c;
      std::unique_lock lock(m, std::defer_lock);
      c.wait(lock);
    }
    if (what == "once") {
      vitrine::once o;
      o.call([&] { o.call([] {}); });
    }
  });
}

int unlockunlocked() {
  return run([] {
    vitrine::mutex m;
    m.unlock();
    return 0;
  });
}

// A goroutine queues another behind itself and a timer, and then computes without end; main only yields.
int stuckp() {
  static std::atomic<bool> behind{false}, slept{false}, begun{false};
  return run({.procs = 2}, [] {
    go([] {
      go([] { behind = true; });
      go([] {
        vitrine::sleep_for(2ms);
        slept = true;
      });
      begun = true;
#if defined(__SANITIZE_THREAD__)
      for (;;) usleep(50);  // ThreadSanitizer delivers signals at calls that it knows
#else
      for (;;) asm volatile("");
#endif
    });
    while (!begun || !behind || !slept) vitrine::yield();
    std::printf("ran\n");
    std::fflush(stdout);
    return 4;
  });
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(f) \
  { #f, f }
    CASE(returnsvalue),
    CASE(returnsvoid),
    CASE(returnsonthefirstthread),
    CASE(returnswiththeroundingmode),
    CASE(procs),
    CASE(procsoption),
    CASE(deadlock),
    CASE(foreigndeadlock),
    CASE(deadlockaftersleep),
    CASE(foreignthreadmaywake),
    CASE(foreignbeforerun),
    CASE(glsofmain),
    CASE(runtwice),
    CASE(gobeforerun),
    CASE(frozen),
    CASE(busyatexit),
    CASE(waitedinatexit),
    CASE(handlesoutliverun),
    CASE(escape),
    CASE(escapefrommain),
    CASE(escapechained),
    CASE(overflow),
    CASE(overflowsmall),
    CASE(otherfault),
    CASE(canary),
    CASE(guards),
    CASE(many),
    CASE(unlockunlocked),
    CASE(badsync),
    CASE(negativewaitgroup),
    CASE(stuckp),
#undef CASE
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) argument = argv[2];
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  std::fprintf(stderr, "usage: %s CASE [ARGUMENT]\n", argv[0]);
  return 64;
}
