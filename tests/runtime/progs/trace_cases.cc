// trace_cases.cc CASE: programs that end, or are made to print where they are, inside functions whose names the test
// (exec_trace_test.cc) looks for. Built with -O0 and with -O2 -fomit-frame-pointer. The functions have external linkage
// and are not inlined, so that their names are in the symbol table at both.
#include <unistd.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

#include "proc.h"

namespace rt = vitrine::rt;
using namespace std::chrono_literals;
using vitrine::chan;
using vitrine::go;
using vitrine::run;

#define NAMED __attribute__((noinline))

NAMED void unlocks_twice(vitrine::mutex& m) {
  m.lock();
  m.unlock();
  m.unlock();
  asm volatile("");
}
NAMED void done_too_often(vitrine::wait_group& wg) {
  wg.done();
  asm volatile("");
}
NAMED void closes_twice(chan<int>& c) {
  c.close();
  c.close();
  asm volatile("");
}
NAMED void sends_on_closed(chan<int>& c) {
  c.close();
  c.send(1);
  asm volatile("");
}
NAMED void starts_too_early() {
  go([] {});
  asm volatile("");
}
NAMED void breaks_the_runtime() {
  rt::throw_("made up");
  asm volatile("");
}
NAMED void limits_threads() {
  vitrine::runtime::set_max_threads(1);
  asm volatile("");
}

// Registers that a caller needs across the wait are in mcall's frame only: a walk without unwind tables loses it.
NAMED int receives(chan<int>& c, int a, int b) {
  int v = c.recv().value_or(0);
  asm volatile("" : "+r"(a), "+r"(b));
  return v + a * b;
}
NAMED int calls_receives(chan<int>& c, int depth) {
  volatile char room[200];
  room[depth] = 1;
  int v = depth == 0 ? receives(c, depth, 3) : calls_receives(c, depth - 1);
  return v + room[depth];
}

NAMED int recurses(int n) {
  volatile char frame[512];
  frame[0] = char(n);
  return n == 0 ? 0 : recurses(n - 1) + frame[0];
}

chan<int> never;

NAMED void waits_in_a_handler(int) {
  never.recv();
  asm volatile("");
}
NAMED void gets_a_signal() {
  raise(SIGUSR1);
  asm volatile("");
}

NAMED void computes(std::atomic<bool>& on) {
  on = true;
  for (;;) asm volatile("");
}

NAMED void waits_outside(chan<int>& c) {
  c.recv();
  asm volatile("");
}

NAMED void dumps(int fd) {
  vitrine::runtime::dump_stacks(fd);
  asm volatile("");
}

void say(const char* text) {
  if (write(1, text, strlen(text)) < 0) abort();
}

template <class F>
int misuse(F f) {
  return run([f] {
    go({.name = "bad"}, [f] {
      vitrine::sleep_for(std::chrono::milliseconds(50));  // so that main has parked
      f();
    });
    chan<int>().recv();
    return 0;
  });
}

int unlock() {
  return misuse([] {
    vitrine::mutex m;
    unlocks_twice(m);
  });
}
int done() {
  return misuse([] {
    vitrine::wait_group wg;
    done_too_often(wg);
  });
}
int closed() {
  return misuse([] {
    chan<int> c;
    closes_twice(c);
  });
}
int sent() {
  return misuse([] {
    chan<int> c;
    sends_on_closed(c);
  });
}
int early() {
  starts_too_early();
  return 0;
}
int broken() {
  return misuse([] { breaks_the_runtime(); });
}
int threads() {
  return run([] {
    if (vitrine::runtime::set_max_threads(500) != 10000 || vitrine::runtime::set_max_threads(400) != 500) return 1;
    limits_threads();
    return 0;
  });
}

int overflow() {
  return run([] {
    go({.name = "deep"}, [] { recurses(1 << 20); });
    chan<int>().recv();
    return 0;
  });
}

int handler() {
  return misuse([] {
    struct sigaction sa {};
    sa.sa_handler = waits_in_a_handler;
    sa.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &sa, nullptr);
    gets_a_signal();
  });
}

int deadlock() {
  static chan<int> c;
  return run([] {
    go({.name = "reader"}, [] { calls_receives(c, 5); });
    std::thread([] { waits_outside(c); }).detach();
    chan<int>().recv();
    return 0;
  });
}

// Every kind of goroutine, and then what the argument says.
int everything(void (*then)()) {
  static std::atomic<bool> on{false};
  return run({.procs = 2}, [then] {
    static vitrine::wait_group parked;
    go({.name = "reader"}, [] { calls_receives(never, 5); });
    go({.name = "long"}, [] {
      parked.add(1);
      rt::g* self = rt::getg();
      std::thread([self] {
        while (rt::readgstatus(self) != rt::Gwaiting) usleep(1000);
        self->waitsince -= 130'000'000'000;
        parked.done();
      }).detach();
      calls_receives(never, 0);
    });
    go({.name = "busy"}, [] { computes(on); });
    while (!on) vitrine::yield();
    vitrine::sleep_for(50ms);
    parked.wait();
    go({.name = "fresh"}, [] { never.recv(); });
    then();
    return 0;
  });
}
int quit() {
  return everything([] {
    vitrine::sleep_for(20ms);
    // Said by another thread once this goroutine sleeps: the signal may come as soon as it is said.
    rt::g* self = rt::getg();
    std::thread([self] {
      while (rt::readgstatus(self) != rt::Gwaiting) usleep(1000);
      say("ready\n");
    }).detach();
    vitrine::sleep_for(30s);
  });
}
int dump() {
  return everything([] { dumps(1); });
}

void onquit(int) { _exit(77); }
int ownquit() {
  signal(SIGQUIT, onquit);
  return quit();
}
int ignoredquit() {
  signal(SIGQUIT, SIG_IGN);
  return run([] {
    say("ready\n");
    vitrine::sleep_for(300ms);
    return 9;
  });
}

// Goroutines and a thread dump again and again while others are parked, readied and moved.
int hammer() {
  int fds[2];
  if (pipe(fds) != 0) return 1;
  static std::atomic<bool> over{false};
  static std::atomic<long> headers{0}, hints{0};
  std::thread reader([&] {
    FILE* f = fdopen(fds[0], "r");
    char line[4096];
    std::set<long> ids;  // a dump, which ends with the hint, names each goroutine once
    while (fgets(line, sizeof line, f) != nullptr) {
      if (strncmp(line, "goroutine ", 10) == 0) {
        if (!ids.insert(std::atol(line + 10)).second) exit(3);
        headers++;
      }
      if (strncmp(line, "Source lines", 12) == 0) {
        ids.clear();
        hints++;
      }
    }
  });
  int code = run({.procs = 4}, [&] {
    vitrine::wait_group wg;
    for (int i = 0; i < 4; i++) {
      chan<int> a, b;
      go({.name = "ping"}, [a, b]() mutable {
        for (int v = 0; !over; v++) {
          a.send(v);
          b.recv();
        }
        a.close();
      });
      go({.name = "pong"}, [a, b]() mutable {
        while (auto v = a.recv()) b.send(*v);
      });
    }
    for (int i = 0; i < 3; i++)
      go({.name = "sleeper"}, [] {
        while (!over) vitrine::sleep_for(100us);
      });
    for (int i = 0; i < 2; i++) {
      wg.add(1);
      go({.name = "dumper"}, [&] {
        for (int n = 0; n < 40; n++) dumps(fds[1]);
        wg.done();
      });
    }
    std::thread outside([&] {
      for (int n = 0; n < 20; n++) dumps(fds[1]);
    });
    wg.wait();
    outside.join();
    over = true;
    return 0;
  });
  close(fds[1]);
  reader.join();
  std::printf("%ld dumps %s\n", hints.load(), headers > 100 * 5 ? "full" : "empty");
  return code;
}

int schedtrace() {
  return run({.procs = 2}, [] {
    chan<int> c;
    for (int i = 0; i < 3; i++) go([c]() mutable { c.recv(); });
    vitrine::sleep_for(100ms);
    auto trace = [](void*) {
      rt::schedtrace(false);
      rt::schedtrace(true);
    };
    rt::systemstack(trace, nullptr);
    return 0;
  });
}
int sleeps() {
  return run({.procs = 2}, [] {
    for (int i = 0; i < 3; i++) go([] { never.recv(); });
    vitrine::sleep_for(250ms);
    return 0;
  });
}

int recorder() {
  return run({.procs = 1}, [] {
    std::printf("%zu\n", vitrine::runtime::recorder::size());
    return 0;
  });
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(f) \
  { #f, f }
    CASE(unlock),  CASE(done),     CASE(closed),  CASE(sent),        CASE(early),      CASE(broken),
    CASE(threads), CASE(overflow), CASE(handler), CASE(deadlock),    CASE(quit),       CASE(dump),
    CASE(ownquit), CASE(hammer),   CASE(sleeps),  CASE(ignoredquit), CASE(schedtrace), CASE(recorder),
#undef CASE
};

int main(int argc, char** argv) {
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  std::fprintf(stderr, "usage: %s CASE\n", argv[0]);
  return 64;
}
