// sim.cc: the engine of the simulator (sim.h): threads, choices, time. Compiled without instrumentation; nothing in
// here is a scheduling point but the calls of point, block and yieldpoint.
#include "sim.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "sim_engine.h"

// void vitrine_sim_switch(void** save, void* to): saves the callee-saved registers here, continues there.
asm(R"(
        .text
        .globl vitrine_sim_switch
        .type vitrine_sim_switch, @function
vitrine_sim_switch:
        pushq %rbp
        pushq %rbx
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, (%rdi)
        movq %rsi, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbx
        popq %rbp
        ret
        .size vitrine_sim_switch, . - vitrine_sim_switch
)");
extern "C" void vitrine_sim_switch(void** save, void* to);

namespace vitrine::sim {

Engine engine;

// Not memcpy, which is a flush here (sim_os.cc).
static void copy(void* to, const void* from, std::size_t n) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

// splitmix64
std::uint64_t rnd() {
  std::uint64_t z = (engine.random += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
static bool chance(std::uint32_t odds) { return odds != 0 && rnd() % odds == 0; }
std::uint32_t draw(std::uint32_t n) { return std::uint32_t(rnd() % n); }
std::int64_t now() { return engine.now; }

void fail(const char* format, ...) {
  engine.active = false;
  Shared* s = engine.shared;
  va_list args;
  va_start(args, format);
  vsnprintf(s->message, sizeof s->message, format, args);
  va_end(args);
  s->failed = 1;
  nameobjects();
  s->steps = engine.steps;
  s->time = engine.now;
  _exit(1);
}

void require(bool holds, const char* what) {
  if (!holds) fail("%s", what);
}

void record(Op op, const void* addr, std::uint64_t value, int size, std::uintptr_t pc) {
  engine.shared->trace[engine.steps % traceLength] = Step{engine.shared->seed,
                                                          engine.steps,
                                                          engine.now,
                                                          std::uintptr_t(addr),
                                                          pc,
                                                          value,
                                                          std::int16_t(engine.current->id),
                                                          op,
                                                          std::uint8_t(size)};
}

// ---- threads

// The executable's thread-local block ends at the thread pointer.
static std::size_t tlssize() {
  static const std::size_t size = [] {
    std::size_t n = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto& ph = info->dlpi_phdr[i];
            if (ph.p_type == PT_TLS)
              *static_cast<std::size_t*>(out) = (ph.p_memsz + ph.p_align - 1) / ph.p_align * ph.p_align;
          }
          return 1;  // the first is the executable
        },
        &n);
    return n;
  }();
  return size;
}
static char* tlsblock() { return static_cast<char*>(__builtin_thread_pointer()) - tlssize(); }

static void leave(Thread* t) {
  copy(t->tls.data(), tlsblock(), t->tls.size());
  t->error = errno;
  copy(t->eh, abi::__cxa_get_globals(), sizeof t->eh);
}
static void arrive(Thread* t) {
  copy(tlsblock(), t->tls.data(), t->tls.size());
  errno = t->error;
  copy(static_cast<void*>(abi::__cxa_get_globals()), t->eh, sizeof t->eh);
}

static void switchto(Thread* t) {
  Thread* from = engine.current;
  if (t == from) return;
  leave(from);
  engine.current = t;
  arrive(t);
  vitrine_sim_switch(&from->sp, t->sp);
}

static void threadmain() {
  Thread* t = engine.current;
  t->fn();
  flush(t);
  t->state = State::Done;
  for (Thread* other : engine.threads)
    if (other->state == State::Joining && other->joins == t->id) other->state = State::Ready;
  if (t->id == 0) {
    void* unused;
    leave(t);
    vitrine_sim_switch(&unused, engine.mainsp);
  }
  block();
  abort();
}

Thread* newthread(const char* name, std::function<void()> fn) {
  auto* t = new Thread;
  t->id = int(engine.threads.size());
  t->name = name;
  t->fn = std::move(fn);
  t->tls.assign(tlssize(), 0);
  t->priority = std::int64_t(rnd() >> 2) + 1;
  static std::vector<char*> stacks;  // kept for the next run of this process
  if (stacks.size() <= std::size_t(t->id)) {
    void* p = mmap(nullptr, stackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail("no memory for a simulated thread");
    stacks.push_back(static_cast<char*>(p));
  }
  t->stack = stacks[std::size_t(t->id)];
  auto* top = reinterpret_cast<void**>(t->stack + stackBytes);
  *--top = nullptr;  // where a caller would be: rsp is 8 mod 16 at threadmain's entry
  *--top = reinterpret_cast<void*>(&threadmain);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  t->sp = top;
  engine.threads.push_back(t);
  if (t->id < 32) {
    strncpy(engine.shared->threadnames[t->id], name, 23);
    engine.shared->nthreads = t->id + 1;
  }
  return t;
}

int spawn(const char* name, std::function<void()> fn) {
  Thread* t = newthread(name, std::move(fn));
  point(Op::Other, nullptr, 0, false);
  return t->id;
}

void join(int thread) {
  Thread* t = engine.threads[std::size_t(thread)];
  if (t->state == State::Done) return;
  engine.current->state = State::Joining;
  engine.current->joins = thread;
  block();
}

void joinall() {
  for (std::size_t i = 1; i < engine.threads.size(); i++) join(int(i));
}

void name(const void* object, std::size_t size, const char* what) {
  Shared* s = engine.shared;
  if (s->nnames == 64) return;
  auto& n = s->names[s->nnames++];
  n.addr = std::uintptr_t(object);
  n.size = size;
  strncpy(n.name, what, sizeof n.name - 1);
}

// ---- store buffers

void flushone(Thread* t) {
  BufferedStore s = t->buffer.pop();
  copy(reinterpret_cast<void*>(s.addr), &s.value, std::size_t(s.size));
}

void flush(Thread* t) {
  while (!t->buffer.empty()) flushone(t);
}

// No store waits for ever.
constexpr std::int64_t oldestStore = 400;  // steps

static void agebuffers() {
  for (Thread* t : engine.threads)
    while (!t->buffer.empty() && (chance(engine.flushodds) || t->buffer.at(0).since + oldestStore < engine.steps))
      flushone(t);
}

// ---- choices

static bool timed(const Thread* t) {
  return t->deadline >= 0 && (t->state == State::Futex || t->state == State::Asleep || t->state == State::Polling);
}

// Threads whose wait is over become ready.
static void wakedue() {
  for (Thread* t : engine.threads) {
    if (t->state == State::Polling && t->events != engine.events) t->state = State::Ready;
    if (timed(t) && t->deadline <= engine.now) t->state = State::Ready;
  }
}

// To the earliest deadline; false: there is none, or none before `limit`.
static bool jump(std::int64_t limit = INT64_MAX) {
  std::int64_t first = -1;
  for (Thread* t : engine.threads)
    if (timed(t) && (first < 0 || t->deadline < first)) first = t->deadline;
  if (first < 0 || first > limit) return false;
  if (first > engine.now) engine.now = first;
  if (engine.now > engine.options.maxtime) fail("nothing happens but timeouts: a wakeup was lost");
  wakedue();
  return true;
}

static void candidates(std::vector<Thread*>* out) {
  out->clear();
  for (Thread* t : engine.threads)
    if (t->state == State::Ready) out->push_back(t);
}

static Thread* highest(const std::vector<Thread*>& ready) {
  Thread* best = ready[0];
  for (Thread* t : ready)
    if (t->priority > best->priority) best = t;
  return best;
}

static int choose(int of) {
  if (engine.depth == engine.path.size()) engine.path.push_back({0, of});
  Choice& c = engine.path[engine.depth++];
  if (c.of != of) fail("the scenario is not deterministic: %d choices instead of %d at %zu", of, c.of, engine.depth);
  return c.taken;
}

bool nextpath() {
  while (!engine.path.empty() && engine.path.back().taken + 1 >= engine.path.back().of) engine.path.pop_back();
  if (engine.path.empty()) return false;
  engine.path.back().taken++;
  return true;
}

bool delaystore() {
  if (!engine.exhaustive) return engine.flushodds != 1;
  if (engine.left == 0 || choose(2) == 0) return false;
  engine.left--;
  return true;
}

// The current thread cannot go on.
static Thread* other() {
  static std::vector<Thread*> ready;
  for (;;) {
    candidates(&ready);
    if (!ready.empty()) break;
    for (Thread* t : engine.threads) flush(t);
    if (jump()) continue;
    std::string stuck;
    for (Thread* t : engine.threads)
      if (t->state == State::Futex || t->state == State::Polling || t->state == State::Joining)
        stuck += " " + std::to_string(t->id) + " (" + t->name + ")";
    fail("all threads wait and nothing can wake them:%s", stuck.c_str());
  }
  if (engine.exhaustive) return ready[std::size_t(ready.size() == 1 ? 0 : choose(int(ready.size())))];
  if (engine.pct) return highest(ready);
  return ready[draw(std::uint32_t(ready.size()))];
}

// Another ready thread than the current one, or the current one.
static Thread* preempt(bool plain) {
  static std::vector<Thread*> ready;
  Thread* me = engine.current;
  if (engine.exhaustive) {
    if (engine.left == 0 || plain) return me;
    candidates(&ready);
    if (ready.size() == 1) return me;
    int i = choose(int(ready.size()));
    if (i == 0) return me;
    engine.left--;
    // Choice 0 is to go on; i counts the others.
    for (Thread* t : ready)
      if (t != me && --i == 0) return t;
    return me;
  }
  if (engine.pct) {
    for (std::int64_t at : engine.changes)
      if (at == engine.steps) me->priority = --engine.floor;
    if (++me->awake > 2000) {  // it may wait in a loop for something that a lower one has to do
      me->priority = --engine.floor;
      me->awake = 0;
    }
    candidates(&ready);
    return highest(ready);
  }
  if (!chance(plain ? engine.switchodds * 8 : engine.switchodds)) return me;
  candidates(&ready);
  return ready[draw(std::uint32_t(ready.size()))];
}

constexpr std::int64_t stepNs = 10;
// A thread that could run is kept from it for so long at most.
constexpr std::int64_t longestJump = 20'000'000;

static void tick() {
  if (++engine.steps > engine.options.maxsteps)
    fail("no end after %ld steps and %ld us: a livelock, or a wakeup was lost", long(engine.steps),
         long(engine.now / 1000));
  engine.now += stepNs;
  if (chance(engine.jumpodds)) jump(engine.now + longestJump);
  wakedue();
  if (!engine.exhaustive) agebuffers();
}

static void aftersignal() {
  Thread* me = engine.current;
  if (!me->signalled || me->inhandler) return;
  me->signalled = false;
  me->inhandler = true;
  deliversignal();
  me->inhandler = false;
}

void point(Op, const void*, std::uintptr_t, bool plain) {
  if (!engine.active) return;
  tick();
  switchto(preempt(plain));
  aftersignal();
}

void block() {
  tick();
  flush(engine.current);
  engine.current->awake = 0;
  if (engine.current->state != State::Ready) switchto(other());
  aftersignal();
}

void yieldpoint(Op) {
  if (!engine.active) return;
  tick();
  flush(engine.current);
  engine.current->priority = --engine.floor;
  static std::vector<Thread*> ready;
  candidates(&ready);
  Thread* to = engine.current;
  if (engine.pct) {
    to = highest(ready);
  } else if (engine.exhaustive) {
    for (Thread* t : ready)
      if (t->id > engine.current->id) {
        to = t;
        break;
      }
    if (to == engine.current) to = ready[0];
  } else {
    to = ready[draw(std::uint32_t(ready.size()))];
  }
  switchto(to);
  aftersignal();
}

// ---- one run

static void drawschedule(std::uint64_t seed) {
  engine.random = seed * 0x2545f4914f6cdd1dull;
  engine.pct = engine.exhaustive ? false : seed % 2 == 0;
  constexpr std::uint32_t flushes[] = {0, 8, 64, 1};
  engine.flushodds = flushes[rnd() % 4];
  constexpr std::uint32_t switches[] = {2, 4, 16, 64};
  engine.switchodds = switches[rnd() % 4];
  engine.jumpodds = rnd() % 2 == 0 ? 0 : 3000;
  engine.changes.clear();
  constexpr std::int64_t lengths[] = {100, 500, 2000, 5000};
  std::int64_t length = lengths[rnd() % 4];
  for (int d = int(rnd() % 6); d > 0; d--) engine.changes.push_back(std::int64_t(rnd() % std::uint64_t(length)));
  if (engine.options.jumpodds >= 0) engine.jumpodds = std::uint32_t(engine.options.jumpodds);
  if (engine.exhaustive) engine.jumpodds = 0;
}

void run(const std::function<void()>& body, std::uint64_t seed) {
  engine.shared->seed = seed;
  engine.shared->nnames = 0;
  for (Thread* t : engine.threads) delete t;
  engine.threads.clear();
  engine.now = 1'000'000;
  engine.steps = engine.floor = 0;
  engine.depth = 0;
  engine.left = engine.options.preemptions;
  drawschedule(seed);
  Thread* first = newthread("main", body);
  engine.current = first;
  Thread outside;
  outside.tls.assign(tlssize(), 0);
  leave(&outside);
  // The simulated main thread starts with thread-locals as they are.
  first->tls = outside.tls;
  arrive(first);
  engine.active = true;
  vitrine_sim_switch(&engine.mainsp, first->sp);
  engine.active = false;
  arrive(&outside);
  if (engine.steps > engine.shared->longest) engine.shared->longest = engine.steps;
  engine.shared->runs++;
}

}  // namespace vitrine::sim
