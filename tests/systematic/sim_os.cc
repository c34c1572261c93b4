// sim_os.cc: what the runtime asks of the kernel, inside a run (sim.h). The linker's --wrap sends the calls here (the
// list is in CMakeLists.txt); outside of a run they go on to the real ones. Descriptors are real, only waiting for them
// is not: who waits looks again after each call that might have changed one.
#include <dirent.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "runtime.h"
#include "sim_engine.h"

namespace vitrine::rt {
void sysmon();
}

using namespace vitrine::sim;
using vitrine::rt::atomic;
using vitrine::rt::int32;
using vitrine::rt::int64;
using vitrine::rt::uint32;

namespace {
constexpr int64 firsttid = 100;  // thread n is task 100 + n

int64 after(int64 ns) {
  int64 t;
  return __builtin_add_overflow(engine.now, ns, &t) ? INT64_MAX : t;
}

// The next to be woken by a wakeup of addr, or null.
Thread* waiter(std::uintptr_t addr) {
  Thread* found = nullptr;
  std::uint32_t n = 0;
  for (Thread* t : engine.threads)
    if (t->state == State::Futex && t->waitaddr == addr && (n++ == 0 || (!engine.exhaustive && draw(n) == 0)))
      found = t;
  return found;
}

// Waits until something may have happened to a descriptor, or the deadline.
void pollblock(int64 deadline) {
  Thread* me = engine.current;
  me->state = State::Polling;
  me->events = engine.events;
  me->deadline = deadline;
  block();
  me->deadline = -1;
}
}  // namespace

#define REAL(result, symbol, ...)      \
  result __real_##symbol(__VA_ARGS__); \
  result __wrap_##symbol(__VA_ARGS__)

extern "C" {

REAL(int64, _ZN7vitrine2rt8nanotimeEv) {
  if (!engine.active) return __real__ZN7vitrine2rt8nanotimeEv();
  point(Op::Other, nullptr, std::uintptr_t(__builtin_return_address(0)), true);
  return engine.now;
}
REAL(int64, _ZN7vitrine2rt8walltimeEv) { return __wrap__ZN7vitrine2rt8nanotimeEv(); }
REAL(int64, _ZN7vitrine2rt10coarsetimeEv) { return __wrap__ZN7vitrine2rt8nanotimeEv(); }
REAL(int64, _ZN7vitrine2rt9timeafterEl, int64 ns) {
  if (!engine.active) return __real__ZN7vitrine2rt9timeafterEl(ns);
  return after(ns);
}
REAL(void, _ZN7vitrine2rt7usleep_Ej, uint32 us) {
  if (!engine.active) return __real__ZN7vitrine2rt7usleep_Ej(us);
  Thread* me = engine.current;
  me->state = State::Asleep;
  me->deadline = after(int64(us) * 1000);
  block();
  me->deadline = -1;
}
REAL(void, _ZN7vitrine2rt7osyieldEv) { yieldpoint(Op::Yield); }
REAL(int64, _ZN7vitrine2rt7gettid_Ev) {
  return engine.active ? firsttid + engine.current->id : __real__ZN7vitrine2rt7gettid_Ev();
}
REAL(int32, _ZN7vitrine2rt12getproccountEv) {
  return engine.active ? engine.options.cpus : __real__ZN7vitrine2rt12getproccountEv();
}

REAL(void, _ZN7vitrine2rt10futexsleepEPNS0_6atomicIjEEjl, atomic<uint32>* addr, uint32 val, int64 ns) {
  if (!engine.active) return __real__ZN7vitrine2rt10futexsleepEPNS0_6atomicIjEEjl(addr, val, ns);
  Thread* me = engine.current;
  auto pc = std::uintptr_t(__builtin_return_address(0));
  point(Op::Sleep, addr, pc, false);
  flush(me);
  record(Op::Sleep, addr, val, 4, pc);
  if (addr->value != val) return;
  if (!engine.exhaustive && draw(32) == 0) return;  // spurious
  me->state = State::Futex;
  me->waitaddr = std::uintptr_t(addr);
  me->deadline = ns < 0 ? -1 : after(ns);
  block();
  me->deadline = -1;
}

REAL(void, _ZN7vitrine2rt11futexwakeupEPNS0_6atomicIjEEj, atomic<uint32>* addr, uint32 count) {
  if (!engine.active) return __real__ZN7vitrine2rt11futexwakeupEPNS0_6atomicIjEEj(addr, count);
  auto pc = std::uintptr_t(__builtin_return_address(0));
  point(Op::Wake, addr, pc, false);
  flush(engine.current);
  record(Op::Wake, addr, count, 4, pc);
  for (; count > 0; count--) {
    Thread* t = waiter(std::uintptr_t(addr));
    if (t == nullptr) break;
    t->state = State::Ready;
  }
}

REAL(void, _ZN7vitrine2rt6throw_EPKc, const char* what) {
  if (engine.active) fail("throw_: %s", what);
  __real__ZN7vitrine2rt6throw_EPKc(what);
}
REAL(void, _ZN7vitrine2rt5fatalEPKc, const char* what) {
  if (engine.active) fail("fatal: %s", what);
  __real__ZN7vitrine2rt5fatalEPKc(what);
}
REAL(void, _ZN7vitrine2rt8deadlockEv) {
  if (engine.active) fail("the runtime says that all goroutines are asleep");
  __real__ZN7vitrine2rt8deadlockEv();
}

REAL(void, _ZN7vitrine2rt11exitprocessEi, int code) {
  if (engine.active) fail("the runtime gives up on m0 and calls exit(%d)", code);
  __real__ZN7vitrine2rt11exitprocessEi(code);
}

// ---- what looks at memory and is not instrumented: the thread sees its own stores

#define SEES(result, symbol, parameters, arguments) \
  result __real_##symbol parameters;                \
  result __wrap_##symbol parameters {               \
    if (engine.active) flush(engine.current);       \
    return __real_##symbol arguments;               \
  }
SEES(void, _ZN7vitrine2rt11systemstackEPFvPvES1_, (void (*fn)(void*), void* arg), (fn, arg))
SEES(void, free, (void* at), (at))
SEES(void, _ZdlPv, (void* at), (at))
SEES(void, _ZdlPvm, (void* at, size_t n), (at, n))
SEES(void*, memset, (void* d, int c, size_t n), (d, c, n))
SEES(void*, memcpy, (void* d, const void* s, size_t n), (d, s, n))
SEES(void*, memmove, (void* d, const void* s, size_t n), (d, s, n))

// ---- threads

REAL(int, pthread_create, pthread_t* thread, const pthread_attr_t* attr, void* (*fn)(void*), void* arg) {
  if (!engine.active) return __real_pthread_create(thread, attr, fn, arg);
  // Only the runtime makes threads here, and what it hands over is an M.
  auto* mp = static_cast<vitrine::rt::m*>(arg);
  bool watcher = mp->mstartfn == vitrine::rt::sysmon;
  flush(engine.current);
  Thread* t = newthread(watcher ? "sysmon" : "M", [fn, arg] { fn(arg); });
  if (watcher && !engine.options.sysmon) t->state = State::Frozen;
  *thread = pthread_t(t->id);
  point(Op::Other, nullptr, 0, false);
  return 0;
}
REAL(int, pthread_getattr_np, pthread_t thread, pthread_attr_t* attr) {
  if (!engine.active) return __real_pthread_getattr_np(thread, attr);
  pthread_attr_init(attr);
  return 0;
}
REAL(int, pthread_attr_getstack, const pthread_attr_t* attr, void** lo, size_t* size) {
  if (!engine.active) return __real_pthread_attr_getstack(attr, lo, size);
  *lo = engine.current->stack;
  *size = stackBytes;
  return 0;
}
REAL(int, pthread_sigmask, int how, const sigset_t* set, sigset_t* old) {
  if (!engine.active) return __real_pthread_sigmask(how, set, old);
  if (old != nullptr) sigemptyset(old);
  return 0;
}

// The tasks of this process: the simulated threads.
REAL(DIR*, opendir, const char* path) {
  if (!engine.active) return __real_opendir(path);
  static std::size_t position;
  position = 0;
  return reinterpret_cast<DIR*>(&position);
}
REAL(dirent*, readdir, DIR* d) {
  if (!engine.active) return __real_readdir(d);
  static dirent entry;
  auto* position = reinterpret_cast<std::size_t*>(d);
  while (*position < engine.threads.size() && engine.threads[*position]->state == State::Done) ++*position;
  if (*position >= engine.threads.size()) return nullptr;
  snprintf(entry.d_name, sizeof entry.d_name, "%ld", long(firsttid + int64((*position)++)));
  return &entry;
}
REAL(int, closedir, DIR* d) { return engine.active ? 0 : __real_closedir(d); }

// ---- descriptors and signals

REAL(int, epoll_wait, int epfd, epoll_event* events, int n, int ms) {
  if (!engine.active) return __real_epoll_wait(epfd, events, n, ms);
  int64 deadline = ms < 0 ? -1 : after(int64(ms) * 1'000'000);
  point(Op::Other, nullptr, std::uintptr_t(__builtin_return_address(0)), false);
  flush(engine.current);
  for (;;) {
    int got = __real_epoll_wait(epfd, events, n, 0);
    if (got != 0 || (deadline >= 0 && engine.now >= deadline)) return got;
    pollblock(deadline);
  }
}

#define CHANGES(result, symbol, parameters, arguments)                               \
  result __real_##symbol parameters;                                                 \
  result __wrap_##symbol parameters {                                                \
    if (engine.active) {                                                             \
      point(Op::Other, nullptr, std::uintptr_t(__builtin_return_address(0)), false); \
      flush(engine.current);                                                         \
      engine.events++;                                                               \
    }                                                                                \
    return __real_##symbol arguments;                                                \
  }
CHANGES(ssize_t, write, (int fd, const void* p, size_t n), (fd, p, n))
CHANGES(ssize_t, read, (int fd, void* p, size_t n), (fd, p, n))
CHANGES(ssize_t, send, (int fd, const void* p, size_t n, int flags), (fd, p, n, flags))
CHANGES(ssize_t, recv, (int fd, void* p, size_t n, int flags), (fd, p, n, flags))
CHANGES(int, close, (int fd), (fd))
CHANGES(int, shutdown, (int fd, int how), (fd, how))

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (engine.active && number == SYS_tgkill) {
    point(Op::Other, nullptr, 0, false);
    std::size_t id = std::size_t(b - firsttid);
    if (id >= engine.threads.size()) fail("signal to task %ld, which is no thread", b);
    if (engine.threads[id]->state != State::Done) engine.threads[id]->signalled = true;
    return 0;
  }
  if (engine.active && number == SYS_epoll_pwait2) {
    errno = ENOSYS;
    return -1;
  }
  return __real_syscall(number, a, b, c, d, e, f);
}
}

namespace vitrine::sim {
void nameobjects() {
  char text[24];
  for (int64 i = 0; i < vitrine::rt::allp.len; i++) {
    snprintf(text, sizeof text, "p%d", int(i));
    name(vitrine::rt::allp.array[i], sizeof(vitrine::rt::p), text);
  }
  for (vitrine::rt::m* mp = vitrine::rt::allm; mp != nullptr; mp = mp->alllink) {
    snprintf(text, sizeof text, "m%ld", long(mp->id));
    name(mp, sizeof(vitrine::rt::m), text);
  }
  for (int64 i = 0; i < vitrine::rt::allgs.len; i++) {
    snprintf(text, sizeof text, "g%ld", long(vitrine::rt::allgs.array[i]->goid));
    name(vitrine::rt::allgs.array[i], sizeof(vitrine::rt::g), text);
  }
}

// The kernel would interrupt the thread here.
void deliversignal() {
  struct sigaction sa;
  sigaction(SIGURG, nullptr, &sa);
  if ((sa.sa_flags & SA_SIGINFO) == 0 || sa.sa_sigaction == nullptr) return;
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_signo = SIGURG;
  info.si_code = SI_TKILL;
  info.si_pid = getpid();
  sa.sa_sigaction(SIGURG, &info, nullptr);
}
}  // namespace vitrine::sim
