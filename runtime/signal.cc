// signal.cc: SIGSEGV and SIGBUS, to tell a stack overflow from any other fault, and SIGURG, which takes the P of a
// goroutine that computes (proc_syscall.cc). Every M has a signal stack (its gsignal), because the overflowed one has
// no room. Other handlers of the program are chained to.
//
// No goroutine is ever switched in a handler. A fault is looked at, reported, and left to the default action, which
// kills the process with the faulting frame intact for the core.
//
// A child that fork() made has one thread and a scheduler without its Ms: it may exec, and nothing else of the runtime.
// sched.exiting says so at the next entry().
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "proc.h"

namespace vitrine::rt {

static struct sigaction oldsegv, oldbus, oldurg;
constexpr uint64 gsignalBytes = 64 << 10;

// Reports, and dies of the same fault, so that the first frame of the core's backtrace explains itself: the signal's
// address is still that in the guard, and the frame that overflowed is below the signal's.
VITRINE_NOINLINE static void goroutine_overflowed_its_stack(g* gp, int sig, uintptr addr, void* context) {
  print("runtime: goroutine ", gp->goid);
  if (gp->name[0] != 0) {
    print(" ");
    printname(gp->name);
  }
  print(" overflowed its stack: address ", hex{addr}, " is in the guard below [", hex{gp->stack.lo}, ", ",
        hex{gp->stack.hi}, "), stack size ", (uint64(1) << gp->stackclass) / 1024, " KiB (");
  if (stackScale != 0) print("in this build ", 1 << stackScale, " times as large as asked; ");
  print("go_options::stack_size sets it)\nfatal error: stack overflow\n");
  tracebackfault(gp, context);
  signal(sig, SIG_DFL);
  *reinterpret_cast<volatile char*>(addr) = 0;
}

static void chain(int sig, siginfo_t* info, void* context, const struct sigaction& old) {
  if ((old.sa_flags & SA_SIGINFO) != 0 && old.sa_sigaction != nullptr) {
    old.sa_sigaction(sig, info, context);
    return;
  }
  if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) {
    old.sa_handler(sig);
    return;
  }
  // The default action, by the instruction itself: it faults again when we return. A signal that was sent is re-sent.
  signal(sig, SIG_DFL);
  if (info->si_code <= 0) raise(sig);
}

static void sigfault(int sig, siginfo_t* info, void* context) {
  g* gp = getg();
  uintptr addr = uintptr(info->si_addr);
  faultwhileending(addr);
  if (gp != nullptr && info->si_code > 0 && gp->stack.lo != 0 && gp != gp->m->g0) {
    uintptr lo = gp->stack.lo;
    if (addr < lo && addr >= lo - guardsize(gp)) {
      goroutine_overflowed_its_stack(gp, sig, addr, context);
      return;
    }
  }
  chain(sig, info, context, sig == SIGSEGV ? oldsegv : oldbus);
}

// Ours if we asked this M; a socket's urgent data or another sender's signal goes to the program's handler.
static void sigurg(int sig, siginfo_t* info, void* context) {
  int saved = errno;
  g* gp = getg();
  bool ours = gp != nullptr && info->si_code == SI_TKILL && info->si_pid == getpid() && signalarrived(gp->m);
  if (ours) {
    vitrine_tls_g = gp->m->gsignal;
    sigpreempted(gp);
    sigfreeze(gp, context);
    vitrine_tls_g = gp;
  } else if (oldurg.sa_handler != SIG_DFL && oldurg.sa_handler != SIG_IGN) {
    chain(sig, info, context, oldurg);
  }
  errno = saved;
}

void signalM(m* mp) { syscall(SYS_tgkill, getpid(), pid_t(load_relaxed(mp->procid)), SIGURG); }

static void infork() { sched.exiting.store(forkedchild); }

void badfork() {
  print("fatal error: the child of a fork() calls the runtime: its scheduler has no threads; it can only exec\n");
  _exit(2);
}

// The signal mask of the thread that boots, which every new M starts with, whatever its creator has blocked since.
void msigsave(m* mp) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  memcpy(&mp->sigmask, &mask, sizeof mp->sigmask);
}

void initsig() {
  pthread_atfork(nullptr, nullptr, infork);
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_sigaction = sigfault;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
  sigemptyset(&sa.sa_mask);
  sigaction(SIGSEGV, &sa, &oldsegv);
  sigaction(SIGBUS, &sa, &oldbus);
  sa.sa_sigaction = sigurg;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigaction(SIGURG, &sa, &oldurg);
}

void minitsignals(m* mp) {
  stack_t old;
  if (mp->gsignal == nullptr) {
    void* p = mmap(nullptr, gsignalBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw_("minit: no memory for a signal stack");
    mp->gsignal = static_cast<g*>(persistentalloc(sizeof(g), 64, "g"));
    mp->gsignal->m = mp;
    mp->gsignal->issystem = 1;
    mp->gsignal->stack = {uintptr(p), uintptr(p) + gsignalBytes};
  }
  // A program (or sanitizer) that already gave this thread a signal stack keeps it.
  if (sigaltstack(nullptr, &old) == 0 && (old.ss_flags & SS_DISABLE) != 0) {
    stack_t ss;
    memset(&ss, 0, sizeof ss);
    ss.ss_sp = reinterpret_cast<void*>(mp->gsignal->stack.lo);
    ss.ss_size = gsignalBytes;
    sigaltstack(&ss, nullptr);
  }
  if (mp != &m0) {
    sigset_t set;
    sigemptyset(&set);
    memcpy(&set, &mp->sigmask, sizeof mp->sigmask);
    pthread_sigmask(SIG_SETMASK, &set, nullptr);
  }
}

// The thread ends: its signal stack stays with the M.
void unminitsignals(m* mp) {
  stack_t ss;
  if (sigaltstack(nullptr, &ss) != 0 || uintptr(ss.ss_sp) != mp->gsignal->stack.lo) return;
  ss.ss_flags = SS_DISABLE;
  sigaltstack(&ss, nullptr);
}

}  // namespace vitrine::rt
