// proc_freeze.cc: what a collector needs beyond a stopped world: goroutines that go on without a P (proc_syscall.cc)
// have to stand still too, with their registers where they can be scanned. No Ancestor in Go, whose goroutines have a P
// whenever they run Go code.
//
// With all Ps stopped, a goroutine whose status is Grunning is the one that stops the world, the proxy of a thread that
// is no M, or one that lost its P to the preemption signal. It may compute without end. It is asked by m.gcstop =
// freezeAsked and SIGURG; the handler, on the goroutine's own thread, publishes where its registers and its stack
// pointer are (m.gcucontext, m.gcsp), stores freezeDone with release, and sleeps on the futex of that word until
// thawgoroutines. No stack is switched.
//
// The handler refuses, and is asked again, while the goroutine is in the middle of something of the runtime: pinned
// (m.locks), or with a stack pointer outside of its stack (in gogo). That ends soon: what is pinned is short and waits
// only for locks that nobody holds for long. At its next entry() a goroutine without a P finds none and is queued:
// Grunnable, and its stack as for any other. Whoever is in mcall is still found as the goroutine with its registers.
//
// The signal is announced in m.signalPending like any other, so that none arrives in a blocking_scope: see
// proc_syscall.cc.
//
// A goroutine that is frozen may hold locks of the C library or of the program. So between freeze and thaw the runtime
// calls nothing there that locks: no malloc, no dl_iterate_phdr.
//
// What a program can do against it: block SIGURG on a thread, or GODEBUG=asyncpreemptoff=1, which sends no signals.
// Then a collection waits until the goroutine enters the runtime.
#include <ucontext.h>

#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

// On the goroutine's thread, in the handler.
void sigfreeze(g* gp, void* context) {
  m* mp = gp->m;
  if (mp->gcstop.load(__ATOMIC_ACQUIRE) != freezeAsked) return;
  if (gp == mp->g0 || gp == mp->gsignal || mp->curg != gp || mp->locks != 0 || mp->p != nullptr) return;
  if (readgstatus(gp) != Grunning) return;
  auto here = uintptr(__builtin_frame_address(0));
  auto sp = uintptr(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]) - 128;
  // ThreadSanitizer calls handlers later than the signal came, from within a function that the goroutine calls.
  if (here >= gp->stack.lo && here < gp->stack.hi && here < sp) sp = here;
  if (sp < gp->stack.lo || sp >= gp->stack.hi) return;
  san_scanned(gp);
  mp->gcsp = sp;
  mp->gcucontext = context;
  mp->gcstop.store(freezeDone, __ATOMIC_RELEASE);
  futexwakeup(&mp->gcstop, 1);
  while (mp->gcstop.load(__ATOMIC_ACQUIRE) == freezeDone) futexsleep(&mp->gcstop, freezeDone, -1);
}

// Whether gp can do nothing any more until the world goes on.
static bool still(g* gp, g* stopper) {
  if (gp == stopper || gp->isforeign) return true;
  if ((readgstatus(gp) & ~uint32(Gscan)) != Grunning) return true;
  m* mp = load_relaxed(gp->m);
  return mp != nullptr && load_relaxed(mp->curg) == gp && mp->gcstop.load(__ATOMIC_ACQUIRE) == freezeDone;
}

static void freeze(g* gp, g* stopper) {
  for (uint32 tries = 0; !still(gp, stopper); tries++) {
    m* mp = load_relaxed(gp->m);
    if (mp == nullptr || load_relaxed(mp->curg) != gp) {
      osyield();  // it is about to be Grunnable
      continue;
    }
    mp->gcstop.cas(freezeNone, freezeAsked);
    signalannounced(mp, gp);
    // Woken by the handler; a refusal is asked again.
    futexsleep(&mp->gcstop, freezeAsked, tries < 20 ? 20'000 : 1'000'000);
  }
}

void freezegoroutines() {
  // Whoever runs is on a thread; no other can begin to, since that takes a P. An M that has let go of one, in dropg or at
  // its end, stored that with release: what it did before, in the buffer of its barrier, is seen from here on.
  g* stopper = getg()->m->curg;
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink)
    if (g* gp = __atomic_load_n(&mp->curg, __ATOMIC_ACQUIRE); gp != nullptr) freeze(gp, stopper);
}

void thawgoroutines() {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink)
    if (mp->gcstop.load(__ATOMIC_RELAXED) != freezeNone && mp->gcstop.xchg(freezeNone, __ATOMIC_ACQ_REL) == freezeDone)
      futexwakeup(&mp->gcstop, 1);
}

}  // namespace vitrine::rt
