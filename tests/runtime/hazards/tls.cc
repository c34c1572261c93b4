// tls.cc: goroutines that move from thread to thread inside loops and inlined functions, and check that nothing is
// taken from the thread they left: which goroutine they are, what channels, mutexes and exceptions give them. Built
// with each compiler at -O2, -O3 and with -flto. Prints how often a goroutine found itself on another thread than at
// its last look, and how often something was wrong.
//
// With PLAIN_TLS the current goroutine is read as an ordinary thread-local variable instead of by getg(). A compiler
// may then fetch the variable's address once and use it after the goroutine has moved (with -fPIC both compilers do):
// the program must find that something is wrong, or it could not find it in getg() either.
#include <sys/syscall.h>
#include <unistd.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>

#ifdef PLAIN_TLS
extern "C" __thread void* vitrine_tls_g;
[[gnu::always_inline]] inline void* current() { return vitrine_tls_g; }
#else
#include "runtime.h"
[[gnu::always_inline]] inline void* current() { return vitrine::rt::getg(); }
#endif

namespace {

using namespace std::chrono_literals;
using vitrine::chan;

std::atomic<long> moved{0}, wrong{0};

struct numbered {
  long n;
};

long thread() { return syscall(SYS_gettid); }

// What is kept across each wait of a goroutine: who it is and where it last ran.
struct self {
  void* g = current();
  std::uint64_t goid = vitrine::goid();
  long tid = thread();

  [[gnu::always_inline]] void check() {
    wrong += current() != g;
    wrong += vitrine::goid() != goid;
    long now = thread();
    moved += now != tid;
    tid = now;
  }
};

[[gnu::always_inline]] inline void pass(self& me, chan<long>& in, chan<long>& out, long i) {
  out.send(i);
  me.check();
  wrong += *in.recv() != i;
  me.check();
}

void worker(chan<long> in, chan<long> out, vitrine::mutex& mu, std::uint64_t& owner, bool first) {
  self me;
  for (long i = 0; i < 1000; i++) {
    if (first)
      pass(me, in, out, i);
    else
      out.send(*in.recv());
    vitrine::yield();
    me.check();
    {
      std::lock_guard lock(mu);
      owner = me.goid;
      if (i % 8 == 0) vitrine::yield();
      wrong += owner != vitrine::goid();
      me.check();
    }
    try {
      if (i % 16 == 0) throw numbered{i};
    } catch (const numbered& e) {
      vitrine::yield();
      me.check();
      wrong += e.n != i || std::uncaught_exceptions() != 0;
      try {
        throw;
      } catch (const numbered& again) {
        wrong += &again != &e;
      }
    }
  }
}

// The tightest loop there is: what a compiler would keep, it keeps over all of it. Who sends computes on afterwards, so
// that another thread takes the receiver over.
[[gnu::noinline]] void roam(const chan<long>& c) {
  self me;
  while (c.recv()) {
    me.check();
    vitrine::yield();
    me.check();
  }
}

[[gnu::noinline]] void carry(const chan<long>& c) {
  for (long i = 0; i < 1000; i++) {
    c.send(thread());
    for (auto end = std::chrono::steady_clock::now() + 20us; std::chrono::steady_clock::now() < end;) asm volatile("");
  }
}

}  // namespace

int main() {
  return vitrine::run({.procs = 4}, [] {
    vitrine::mutex mu;
    std::uint64_t owner = 0;
    vitrine::wait_group wg;
    for (int i = 0; i < 8; i++) {
      chan<long> there, back;
      wg.go([=, &mu, &owner] { worker(back, there, mu, owner, true); });
      wg.go([=, &mu, &owner] { worker(there, back, mu, owner, false); });
    }
    wg.wait();
    chan<long> c;
    vitrine::wait_group roamers;
    for (int i = 0; i < 6; i++) roamers.go([&] { roam(c); });
    for (int i = 0; i < 3; i++) wg.go([&] { carry(c); });
    wg.wait();
    c.close();
    roamers.wait();
    std::printf("moved %ld wrong %ld\n", moved.load(), wrong.load());
    return wrong == 0 ? 0 : 1;
  });
}
