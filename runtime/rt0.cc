// rt0.cc: the boot, in the order of Go's rt0_go, and the end of run(). Follows Go's asm_amd64.s (rt0_go), runtime1.go
// (args, check, parsedebugvars) and proc.go (schedinit, main).
//
//   run(main)                  on the process's first thread, which becomes m0; its stack becomes g0's
//   └─ rt0_run → rt0_go:
//      1. m0 and g0 point at each other; the current-g slot holds g0; read back through %fs: TLS works
//      2. check      sizes and atomics are what the code assumes
//      3. args       argc, argv, as the C library gave them to a constructor
//      4. osinit     ncpu
//      5. schedinit  stackinit, mallocinit, mcommoninit(m0), signals, environment, debug variables, procresize: m0 has
//      P 0
//      6. newproc(main)   goroutine 1: runtime main, which calls the user's
//      7. mstart → schedule → gogo: never comes back, until main has returned; then gogo(&g0.sched) does
//
// Unlike Go: there is a program around us. When main returns, run() returns its value on m0; goroutines stay frozen
// where they are, the other threads sleep for good, and this thread is an ordinary one again.
#include <pthread.h>

#include <cstdlib>
#include <cstring>

#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

bool mainStarted;
int32 argc;
char** argv;

static struct {
  int (*fn)(void*);
  void* arg;
} mainfn;

// glibc hands argc, argv and envp to constructors; before run() nobody else could tell us.
__attribute__((constructor)) static void saveargs(int c, char** v, char**) {
  argc = c;
  argv = v;
}

// Each step of the boot is a function that a debugger can stop at, as in the walk of demos/start.py.
VITRINE_NOINLINE static void args(int32 c, char** v) {
  argc = c;
  argv = v;
}

static void check() {
  static_assert(sizeof(atomic<uint32>) == 4 && sizeof(atomic<uint64>) == 8 && sizeof(void*) == 8);
  atomic<uint32> z{1};
  if (!z.cas(1, 2) || z.load() != 2 || z.cas(1, 3) || z.xchg(5) != 2 || z.add(1) != 6) throw_("check: atomics");
  if (offsetof(g, goid) % 8 != 0 || offsetof(p, runqhead) % 64 != 0) throw_("check: alignment");
}

VITRINE_NOINLINE static void osinit() { ncpu = getproccount(); }

VITRINE_NOINLINE static void schedinit(int32 procs, bool debugbuild) {
  sched.maxmcount = 10000;
  parsedebugvars();  // Unlike Go: before stackinit, which it can direct
  stackinit();
  mallocinit();
  mcommoninit(&m0, -1);
  traceinit(debugbuild);
  msigsave(&m0);
  initsig();
  initsigquit();
  initterminate();
  sched.starttime = nanotime();
  sched.startwall = walltime();
  sched.lastpoll.store(sched.starttime);
  sched.lastnow.store(sched.starttime);
  if (procs <= 0) {
    bool ok;
    procs = atoi32(gogetenv("GOMAXPROCS"), &ok);
    if (!ok || procs <= 0) procs = defaultprocs();
  }
  procs = mostprocs(procs);
  lock(&sched.lock);
  if (procresize(procs) != nullptr) throw_("schedinit: unknown runnable goroutine during bootstrap");
  unlock(&sched.lock);
}

// Goroutine 1. The user's main is its only callee, so an exception that escapes finds no handler here.
static void main(void*) {
  // Until the user's main begins this goroutine stays on m0, which is the thread that starts the others.
  lockOSThread();
  if (getg()->m != &m0) throw_("runtime.main not on m0");
  systemstack([](void*) { newm(sysmon, nullptr, -1); }, nullptr);
  mainStarted = true;
  unlockOSThread();
  sched.exitcode = mainfn.fn(mainfn.arg);
  if (g* gp = getg(); gp->gls != nullptr) glsdestroy(gp);
  san_leave(getg()->m->g0);
  mcall(exitrun);
}

static void tlscheck() {
  g* const magic = reinterpret_cast<g*>(0x123);
  vitrine_tls_g = magic;
  if (getg() != magic) abort();  // nothing works without it, not even throw_
}

VITRINE_NOINLINE static void rt0_go(int32 procs, uint64 main_stack, uintptr startpc, uintptr callerpc,
                                    bool debugbuild) {
  tlscheck();
  vitrine_tls_g = &g0;
  m0.g0 = &g0;
  g0.m = &m0;
  g0.issystem = 1;
  pthread_attr_t attr;
  if (pthread_getattr_np(pthread_self(), &attr) == 0) {
    void* lo;
    size_t size;
    pthread_attr_getstack(&attr, &lo, &size);
    g0.stack = {uintptr(lo), uintptr(lo) + size};
    pthread_attr_destroy(&attr);
  }
  check();
  args(argc, argv);
  osinit();
  schedinit(procs, debugbuild);
  newproc(main, nullptr, startpc, callerpc, "main", 4, main_stack);
  mstart();
}

int rt0_run(int procs, uint64 main_stack, int (*fn)(void*), void* arg, uintptr startpc, bool debugbuild) {
  static atomic<uint32> begun;
  if (begun.xchg(1) != 0) fatal("vitrine::run() called twice: a process has one runtime");
  forcedwarf();
  mainfn = {fn, arg};
  rt0_go(procs, main_stack, startpc, uintptr(__builtin_return_address(0)), debugbuild);
  awaitexit();
  san_exit();
  vitrine_tls_g = nullptr;  // an ordinary thread again
  return sched.exitcode;
}

}  // namespace vitrine::rt
