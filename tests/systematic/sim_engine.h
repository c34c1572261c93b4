// sim_engine.h: what the simulator's own files share. See sim.h.
#pragma once
#include <cstdarg>
#include <vector>

#include "sim.h"

namespace vitrine::sim {

enum class Op : std::uint8_t { Load, Store, Rmw, Cas, Fence, Read, Write, Sleep, Wake, Yield, Other };

struct BufferedStore {
  std::uintptr_t addr;
  std::uint64_t value;
  int size;
  std::int64_t since;  // step
};

// First in, first out. No allocation: operator delete is a flush (sim_os.cc).
struct StoreBuffer {
  static constexpr unsigned most = 32;
  BufferedStore stores[most];
  unsigned first = 0, n = 0;
  bool empty() const { return n == 0; }
  bool full() const { return n == most; }
  BufferedStore& at(unsigned i) { return stores[(first + i) % most]; }
  BufferedStore pop() {
    BufferedStore s = at(0);
    first++;
    n--;
    return s;
  }
  void push(const BufferedStore& s) { stores[(first + n++) % most] = s; }
};

enum class State : std::uint8_t { Ready, Futex, Asleep, Polling, Joining, Frozen, Done };

struct Thread {
  int id = 0;
  const char* name = "";
  State state = State::Ready;
  void* sp = nullptr;
  char* stack = nullptr;
  std::function<void()> fn;
  std::uintptr_t waitaddr = 0;  // Futex
  std::int64_t deadline = -1;   // Futex, Asleep, Polling: virtual ns; -1: none
  std::uint64_t events = 0;     // Polling: Engine.events when it began
  int joins = -1;               // Joining
  std::int64_t priority = 0;    // PCT
  std::int64_t awake = 0;       // points since it last waited
  StoreBuffer buffer;
  bool signalled = false;  // a preemption signal is pending
  bool inhandler = false;
  // Its share of what is one per kernel thread.
  std::vector<char> tls;
  int error = 0;
  void* eh[2] = {};
};

struct Step {
  std::uint64_t seed;
  std::int64_t step, time;
  std::uintptr_t addr, pc;
  std::uint64_t value;
  std::int16_t thread;
  Op op;
  std::uint8_t size;
};
constexpr int traceLength = 16384;

// Shared between the child that runs and the parent that reports.
struct Shared {
  char message[512];
  std::uint64_t seed;
  std::int64_t steps, longest, runs, time;
  int done, failed, finished;  // finished: the exhaustive search has seen everything
  Step trace[traceLength];
  char threadnames[32][24];
  int nthreads;
  struct {
    std::uintptr_t addr, size;
    char name[24];
  } names[64];
  int nnames;
};

constexpr std::size_t stackBytes = 256 << 10;

struct Choice {
  int taken, of;
};

struct Engine {
  Options options;
  Shared* shared = nullptr;
  bool active = false;
  std::vector<Thread*> threads;
  Thread* current = nullptr;
  void* mainsp = nullptr;
  std::uint64_t random = 1;
  std::int64_t now = 0, steps = 0, floor = 0;
  std::uint64_t events = 0;  // that a poller may wait for
  // The schedule of this run.
  bool pct = false;
  std::uint32_t switchodds = 4;  // random walk: 1 in so many
  std::uint32_t flushodds = 0;   // 1 in so many points, the oldest store of a buffer becomes visible; 0: not so
  std::uint32_t jumpodds = 0;    // 1 in so many points, time jumps to the next deadline
  std::vector<std::int64_t> changes;
  // Exhaustive
  bool exhaustive = false;
  std::vector<Choice> path;
  std::size_t depth = 0;
  int left = 0;
};
extern Engine engine;

Thread* newthread(const char* name, std::function<void()> fn);
void point(Op op, const void* addr, std::uintptr_t pc, bool plain);  // a scheduling point before an operation
void record(Op op, const void* addr, std::uint64_t value, int size, std::uintptr_t pc);
void block();            // the current thread's state says why; returns when it is Ready again
void yieldpoint(Op op);  // others first
void flush(Thread* t);   // its buffered stores become visible
void flushone(Thread* t);
bool delaystore();  // exhaustive: whether this store waits
void run(const std::function<void()>& body, std::uint64_t seed);
bool nextpath();  // exhaustive: false: all seen
std::uint64_t rnd();
void nameobjects();    // sim_os.cc: for the trace: the runtime's Ps, Ms and goroutines
void deliversignal();  // sim_os.cc: runs the program's SIGURG handler on the current thread

}  // namespace vitrine::sim
