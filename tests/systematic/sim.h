// sim.h: a seeded scheduler that runs the real runtime one step at a time.
//
// What is simulated. The sources of the runtime, all of them, are compiled a second time with -fsanitize=thread, but
// linked without ThreadSanitizer: the calls that the compiler puts before every memory access and in place of every
// atomic operation end in sim_hooks.cc. Each is a scheduling point. Threads are simulated too: each has a stack and the
// thread-locals of its own, and all of them take turns on one thread of the kernel, so exactly one runs, a switch costs
// nanoseconds, and the same seed gives the same run. Futexes, clocks, sleeps, pthread_create, epoll_wait and the
// preemption signal are replaced at link time (sim_os.cc); time is virtual. Nothing of the runtime is copied or
// modelled: mcall and gogo are the real ones.
//
// Memory. Interleavings of whole operations are not enough: on x86 a store may become visible after later loads of its
// thread, which is what the runtime's fences are for. So atomic stores weaker than seq_cst wait in a buffer of their
// thread (first in, first out) until a locked instruction, a fence, a system call, or chance. A thread sees its own
// buffer. Plain stores are visible at once: who reads them without a race cannot tell.
//
// Schedules, drawn from the seed:
//   * random walk: at each point the running thread goes on, or, with a probability of the run, another does;
//   * PCT (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010): the
//     ready thread of the highest priority runs; priorities are random, and at d - 1 random points of the run the
//     running thread falls below all others. A bug that needs d ordered steps is found with known probability;
//   * exhaustive: depth-first through all schedules with at most so many preemptions, for small scenarios. A store that
//     waits in the buffer counts as a preemption.
//
// What is a failure: throw_, fatal, deadlock() and require() of the scenario; a fault; all threads blocked and none
// with a timeout (a lost wakeup); a run that does not end within maxsteps points or maxtime of virtual time (a wakeup
// that only a timeout made good, or a livelock).
//
// Each run is a child of fork(), so it starts with a runtime never booted, and whatever breaks is contained. Small
// scenarios that reset what they use set `batch`, and share a child.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace vitrine::sim {

struct Options {
  int runs = 400;                      // seeds in the short mode
  int batch = 1;                       // runs that share a child process
  int preemptions = -1;                // >= 0: exhaustive, with so many
  std::int64_t maxsteps = 400'000;     // scheduling points
  std::int64_t maxtime = 500'000'000;  // virtual ns
  bool sysmon = true;                  // false: sysmon's thread never gets to run, so it rescues nothing
  int jumpodds = -1;                   // 1 in so many points time jumps to the next timeout; 0: never; -1: drawn
  int cpus = 2;                        // that the runtime believes in; 1: it does not spin
};

// Runs `body` as the first simulated thread, under many schedules; a failure is a failure of the present test, with the
// seed and the last steps. Environment: VITRINE_SEED=S runs that one; VITRINE_SYSTEMATIC_SEEDS=N so many, from 1;
// VITRINE_TRACE=N prints so many of the last steps.
void check(const Options& options, const std::function<void()>& body);

// ---- within a scenario

int spawn(const char* name, std::function<void()> fn);  // another simulated thread
void join(int thread);
void joinall();
void require(bool holds, const char* what);  // ends the run if not
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::int64_t now();                                                 // virtual ns
std::uint32_t draw(std::uint32_t n);                                // of the run's seed: 0 … n-1
void name(const void* object, std::size_t size, const char* what);  // for the trace

}  // namespace vitrine::sim
