// panic.cc: the ways a program ends because of the runtime — throw_ for a broken invariant, fatal for the user's
// mistake, a deadlock, and the terminate handler for an exception that escaped a goroutine. Follows Go's panic.go.
//
// Each is: become the one that dumps (a second thread that fails waits for ever, and a failure of the dump itself goes
// straight to the end), say what happened, trace as GOTRACEBACK asks, end. The dump runs on g0's stack, because a
// goroutine's may be too small for it.
//
//     end            traces by default            exit          GOTRACEBACK=crash
//     throw_         all, with the runtime's      status 2      SIGABRT
//                    frames, whatever is asked
//     fatal          the current one              status 2      SIGABRT
//     deadlock       all                          status 2      SIGABRT
//     std::terminate the current one              the previous handler's; SIGABRT
//
// A core is left by GOTRACEBACK=crash, as with Go, so that a service that restarts does not fill its disk. An exception that
// nobody catches is C++'s own end: std::terminate, whose default handler aborts.
#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "traceback.h"

namespace vitrine::rt {

// The goroutine that this thread runs, also seen from its scheduling stack; null: none.
static g* user() {
  g* gp = getg();
  if (gp == nullptr || gp->m == nullptr) return nullptr;
  return gp == gp->m->g0 || gp == gp->m->gsignal ? gp->m->curg : gp;
}

static void tracecurrent() {
  g* gp = user();
  if (gp != nullptr) return traceg(gp, nullptr);
  if (g* me = getg(); me != nullptr && debug.traceback_level != 0)
    print("\nm ", me->m->id, " on its scheduling stack\n");
  tracethread();
}

// On a stack that is neither the goroutine's nor g0's.
static bool inhandler() {
  g* gp = getg();
  if (gp == nullptr || gp->m == nullptr || gp == gp->m->g0) return false;
  uintptr sp = uintptr(__builtin_frame_address(0));
  return sp < gp->stack.lo || sp >= gp->stack.hi;
}

struct bounced {
  void (*fn)(void*);
  void* arg;
  g* gp;
};

static void ong0(void* arg) {
  auto* b = static_cast<bounced*>(arg);
  san_arrived(getg());
  b->fn(b->arg);
  san_leave(b->gp);
}

// Calls fn(arg) on g0's stack, or where we are when that is no goroutine's.
static void onlargestack(void (*fn)(void*), void* arg) {
  g* gp = getg();
  if (gp == nullptr || gp->m == nullptr || gp != gp->m->curg || inhandler()) return fn(arg);
  bounced b{fn, arg, gp};
  san_leave(gp->m->g0);
  systemstack(ong0, &b);
  san_arrived(gp);
}

[[noreturn]] static void finish() {
  printto(nullptr);
  if (debug.traceback_crash != 0) abort();
  _exit(2);
}

// The kernel's id of the thread that prints tracebacks before it ends the process; 0: none.
static atomic<uint32> ending;

void faultwhileending(uintptr addr) {
  if (ending.load(__ATOMIC_RELAXED) != uint32(gettid_())) return;
  print("\n(a fault at ", hex{addr}, " ends this: some stack is overwritten)\n");
  finish();
}

struct problem {
  const char* what;
  int32 level;     // of the traceback, at least
  bool ours;       // the runtime is broken: any goroutine may tell why
  bool inhandler;  // of a signal: allocate nothing
};

// What is wrong, the current goroutine, and the others if they are asked for.
static void report(void* arg) {
  auto* p = static_cast<problem*>(arg);
  bool mine = dumpbegin(!p->inhandler, p->level);
  print("fatal error: ", p->what, "\n");
  if (mine) {
    ending.store(uint32(gettid_()), __ATOMIC_RELAXED);
    tracecurrent();
    if (p->ours || debug.traceback_all != 0) traceothers(user());
    tracehint();
    if (p->ours && debug.traceback_crash == 0) print("GOTRACEBACK=crash leaves a core of this.\n");
  }
  finish();
}

void throw_(const char* what) {
  if (g* gp = getg(); gp != nullptr && gp->m != nullptr) gp->m->throwing++;
  // The runtime's own frames are what matters here, so level 2 also where GOTRACEBACK asks for less, as in Go.
  problem p{what, 2, true, inhandler()};
  onlargestack(report, &p);
  _exit(2);
}

void fatal(const char* what) {
  problem p{what, 0, false, inhandler()};
  onlargestack(report, &p);
  _exit(2);
}

void deadlock() {
  bool mine = dumpbegin(true);
  print("fatal error: all goroutines are asleep - deadlock!\n");
  if (mine) ending.store(uint32(gettid_()), __ATOMIC_RELAXED);
  if (mine) dumpgoroutines();
  finish();
}

void exitprocess(int code) {
  vitrine_tls_g = nullptr;
  exit(code);
}

static std::terminate_handler previous;

static void doterminate(void* exception) {
  if (!dumpbegin(true)) return;
  print("runtime: std::terminate", exception != nullptr ? ": an exception escaped in" : " in", "\n");
  tracecurrent();
  if (debug.traceback_all != 0) traceothers(user());
  tracehint();
  dumpend();
}

static void onterminate() {
  if (user() != nullptr) onlargestack(doterminate, std::current_exception() != nullptr ? &previous : nullptr);
  if (previous != nullptr) previous();
  abort();
}

void initterminate() { previous = std::set_terminate(onterminate); }

}  // namespace vitrine::rt
