// proc_syscall.cc: goroutines that go on without a P — in a blocking system call that said so (blocking_scope), or
// because they computed for too long and ignored the request to yield. Follows Go's reentersyscall and exitsyscall.
//
// In both cases the M lets go of its P without looking for a successor: it stores Psyscall into p.status (release) and
// from then on the P is anybody's who CASes the status: this M when it comes back (takeback), sysmon (retake) or who
// stops the world. The M keeps running its goroutine meanwhile; what the goroutine does must not need a P.
//
// A blocking_scope is announced by the goroutine: status Gsyscall, syscallpc/sp/bp where it did. If it calls the
// runtime all the same, its entry() ends the scope early: stackguard0 is poisoned, as for a preemption.
//
// Preemption. A goroutine that has run for 10 ms is asked to yield: preempt = 1, stackguard0 = stackPreempt, which
// entry() sees at the next call of the runtime. Unlike Go, whose compiler can tell where a goroutine may be stopped,
// and which moves it off its thread there: C++ code may hold a lock of the C library or be in the middle of malloc, so
// no stack is ever switched in a signal handler. If the goroutine ignores the request for another 10 ms, sysmon sends
// SIGURG to its thread, and the handler takes only the P away: g.noproc = 1, status stays Grunning. The goroutine
// computes on, as one thread more than GOMAXPROCS, until its next entry(), which takes the old P back if nobody did, or
// an idle one, or else queues the goroutine like any other.
//
// Why the handler may do that at any instruction of user code, and of most of the runtime: it runs on the very thread
// whose m.p it changes, so the only question is which code looks at m.p twice and expects the same. All of it does so
// on g0 (the handler sees getg() == g0), or pinned (m.locks > 0). Between the two, on a goroutine's stack, m.p is only
// looked at through acquirem and pinnedp. In the middle of mcall the current g is still the goroutine: the P may go
// there, and what runs on g0 then (schedule) finds itself without one and gets one.
//
// A signal interrupts a blocking call for good (nanosleep and the like are never restarted), so none may arrive once a
// goroutine has entered a blocking_scope. m.signalPending counts the signals sent and says how far the last one is:
// announced, sent, handled. Who sends announces it, looks whether the M still has the P, and takes it back if not;
// reentersyscall gives the P up and then looks for an announced signal. All four accesses are sequentially consistent:
// one of the two sees the other. If it is reentersyscall, it waits for the handler, which is near: once tgkill has
// returned, the thread's next return from the kernel runs it, unless the program blocks the signal.
#include "proc.h"

namespace vitrine::rt {

enum : uint32 { signalHandled = 0, signalAnnounced = 1, signalSent = 2, signalStage = 3, signalOne = 4 };

static void wakesysmonlocked() {
  lock(&sched.lock);
  wakesysmon();
  unlock(&sched.lock);
}

// ---- letting go

static void entersyscall_gcwait(void* arg) {
  p* pp = static_cast<p*>(arg);
  lock(&sched.lock);
  uint32 syscall = Psyscall;
  if (sched.stopwait > 0 &&
      __atomic_compare_exchange_n(&pp->status, &syscall, uint32(Pgcstop), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    store_relaxed(pp->syscalltick, pp->syscalltick + 1);
    if (tracing()) traceProcSteal(pp);
    if (--sched.stopwait == 0) notewakeup(&sched.stopnote);
  }
  unlock(&sched.lock);
}

// The signal that may be on its way to mp, this M, is handled when this returns, or blocked by the program.
static void awaitsignal(m* mp) {
  for (;;) {
    uint32 v = mp->signalPending.load();
    if ((v & signalStage) == signalHandled) return;
    osyield();
    if ((v & signalStage) == signalSent) return;
  }
}

// From here to exitsyscall the goroutine counts as in a system call. pc, sp, bp: the frame that debuggers and
// tracebacks start from.
void reentersyscall(uintptr pc, uintptr sp, uintptr bp) {
  g* gp = getg();
  m* mp = acquirem();
  gp->syscallpc = pc;
  gp->syscallsp = sp;
  gp->syscallbp = bp;
  store_relaxed(gp->waitsince, sched.lastnow.load(__ATOMIC_RELAXED));
  if (tracing()) traceGoSysCall(gp);
  casgstatus(gp, Grunning, Gsyscall);
  p* pp = mp->p;
  if (pp != nullptr) {
    mp->oldp = pp;
    mp->p = nullptr;
    store_relaxed(pp->m, nullptr);
    // Sequentially consistent: who stops the world sets gcwaiting, then looks at the status; we the other way round.
    __atomic_store_n(&pp->status, uint32(Psyscall), __ATOMIC_SEQ_CST);
  }
  awaitsignal(mp);
  if (pp != nullptr) {
    if (sched.gcwaiting.load() != 0) systemstack(entersyscall_gcwait, pp);
    if (sched.sysmonwait.load() != 0) wakesysmonlocked();
  }
  store_relaxed(gp->stackguard0, stackPreempt);
  releasem(mp);
}

VITRINE_NOINLINE bool entersyscall() {
  entry();
  g* gp = getg();
  if (gp == nullptr || gp == gp->m->g0 || gp->m->locks != 0) return false;
  // What the caller has in callee-saved registers, which the collector could not find otherwise: all of them are now in
  // this frame, right below the saved rbp.
  __builtin_unwind_init();
  auto* saved = static_cast<const uintptr*>(__builtin_frame_address(0)) - 5;
  for (int32 i = 0; i < 5; i++) gp->syscallregs[i] = saved[i];
  san_scanned(gp);
  reentersyscall(uintptr(__builtin_return_address(0)), uintptr(__builtin_frame_address(0)) + 16,
                 *static_cast<uintptr*>(__builtin_frame_address(0)));
  return true;
}

// ---- coming back

// Gets this M, which is pinned, a P without waiting: the one it let go of, else an idle one.
static bool takeback(m* mp) {
  p* oldp = mp->oldp;
  mp->oldp = nullptr;
  uint32 syscall = Psyscall;
  if (oldp != nullptr && load_relaxed(oldp->status) == Psyscall &&  // it may be running elsewhere: spare it the CAS
      __atomic_compare_exchange_n(&oldp->status, &syscall, uint32(Pidle), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    reacquirep(oldp);
    store_relaxed(oldp->syscalltick, oldp->syscalltick + 1);
    return true;
  }
  if (!acquireidlep()) return false;
  store_relaxed(mp->p->syscalltick, mp->p->syscalltick + 1);
  return true;
}

static void resetguard(g* gp) {
  store_relaxed(gp->stackguard0, load_relaxed(gp->preempt) != 0 ? stackPreempt : gp->stack.lo + stackGuard);
}

// No P for gp: it is queued, and this M sleeps, or, if it is locked to gp, waits to be handed a P with it.
static void exitsyscall0(g* gp) {
  m* mp = getg()->m;
  leaving(gp);
  uint32 status = readgstatus(gp) & ~uint32(Gscan);
  if (tracing()) status == Gsyscall ? traceGoSysExitBlocked(gp) : traceGoPreempt(gp);
  casgstatus(gp, status, Grunnable);
  dropg(gp);
  lock(&sched.lock);
  p* pp = sched.gcwaiting.load() == 0 ? pidleget() : nullptr;
  if (pp == nullptr) globrunqput(gp);
  unlock(&sched.lock);
  if (pp != nullptr) {
    acquirep(pp);
    execute(gp, false);
  }
  // No P has become idle since we looked: that takes sched.lock, and another look at the global queue.
  if (mp->lockedg != nullptr) {
    stoplockedm();
    execute(gp, false);
  }
  stopm();
  schedule();
}

void exitsyscall() {
  g* gp = getg();
  if (gp == nullptr || readgstatus(gp) != Gsyscall) return;  // entry() ended it before
  m* mp = acquirem();
  if (takeback(mp)) {
    store_relaxed(gp->noproc, 0);  // the signal may have come between entersyscall's entry() and its pin
    if (tracing()) traceGoSysExit(gp);
    casgstatus(gp, Gsyscall, Grunning);
    resetguard(gp);
    releasem(mp);
  } else {
    releasem(mp);
    switch_to_g0(exitsyscall0);
  }
  gp->syscallsp = 0;
  gp->syscallpc = 0;
  gp->syscallbp = 0;
}

// The current goroutine lost its P to the preemption signal.
static void regainp(g* gp) {
  m* mp = acquirem();
  if (takeback(mp)) {
    store_relaxed(gp->noproc, 0);
    resetguard(gp);
    releasem(mp);
  } else {
    releasem(mp);
    switch_to_g0(exitsyscall0);
  }
}

void entry_slow() {
  g* gp = getg();
  if (gp == nullptr) {
    if (sched.exiting.load() == forkedchild) badfork();
    return;
  }
  m* mp = gp->m;
  if (gp == mp->g0 || gp == mp->gsignal) return;
  uint32 exiting = sched.exiting.load(__ATOMIC_RELAXED);
  if (exiting == forkedchild) badfork();
  if (mp->locks != 0) {
    // Not now. releasem poisons the guard again.
    if (readgstatus(gp) == Grunning && gp->noproc == 0) store_relaxed(gp->stackguard0, gp->stack.lo + stackGuard);
    return;
  }
  if (readgstatus(gp) == Gsyscall) exitsyscall();
  if (exiting != 0) freezeforexit(gp);
  if (gp->noproc != 0) regainp(gp);
  if (load_relaxed(gp->preempt) != 0 && gp->preemptoff == 0)
    gopreempt();
  else
    store_relaxed(gp->stackguard0, gp->stack.lo + stackGuard);
}

// ---- preemption

// From sysmon, or who stops the world: asks the goroutine that runs on pp to yield. It may be another one by the time
// the flags are set, which costs that one a yield.
bool preemptone(p* pp) {
  m* mp = __atomic_load_n(&pp->m, __ATOMIC_ACQUIRE);
  if (mp == nullptr || mp == getg()->m) return false;
  g* gp = __atomic_load_n(&mp->curg, __ATOMIC_ACQUIRE);
  if (gp == nullptr) return false;
  store_relaxed(gp->preempt, 1);
  store_relaxed(gp->stackguard0, stackPreempt);
  return true;
}

// Whether a further signal may be sent. ThreadSanitizer keeps a signal that comes on one goroutine's stack, or g0's, until
// that stack runs again, which it may never do; so there a signal that was sent does not count as on its way.
static bool maysignal(uint32 v) {
  return (v & signalStage) == signalHandled || ((v & signalStage) == signalSent && san_keepssignals());
}

// Sends the signal to the M that runs pp, if none is on its way.
void preemptsignal(p* pp) {
  m* mp = __atomic_load_n(&pp->m, __ATOMIC_ACQUIRE);
  if (mp == nullptr || mp == getg()->m || debug.asyncpreemptoff != 0) return;
  uint32 v = mp->signalPending.load();
  uint32 handled = (v & ~uint32(signalStage)) + signalOne;
  if (!maysignal(v) || !mp->signalPending.cas(v, handled + signalAnnounced)) return;
  v = handled;
  if (__atomic_load_n(&pp->status, __ATOMIC_SEQ_CST) != Prunning || load_relaxed(pp->m) != mp) {
    mp->signalPending.cas(v + signalAnnounced, v);
    return;
  }
  signalM(mp);
  mp->signalPending.cas(v + signalAnnounced, v + signalSent);  // it may be handled already
}

// As preemptsignal, to the M of a goroutine that has no P and is to be frozen (proc_freeze.cc). It may have entered a
// blocking_scope meanwhile: status and signalPending are then as p.status and signalPending are above.
void signalannounced(m* mp, g* gp) {
  if (debug.asyncpreemptoff != 0) return;
  uint32 v = mp->signalPending.load();
  uint32 handled = (v & ~uint32(signalStage)) + signalOne;
  if (!maysignal(v) || !mp->signalPending.cas(v, handled + signalAnnounced)) return;
  v = handled;
  if (gp->atomicstatus.load() != Grunning || load_relaxed(gp->m) != mp) {
    mp->signalPending.cas(v + signalAnnounced, v);
    return;
  }
  signalM(mp);
  mp->signalPending.cas(v + signalAnnounced, v + signalSent);
}

// In the handler, on mp's thread: whether a signal was announced to it, which is handled now.
bool signalarrived(m* mp) {
  uint32 v = mp->signalPending.load();
  for (; (v & signalStage) != signalHandled; v = mp->signalPending.load())
    if (mp->signalPending.cas(v, v & ~uint32(signalStage))) return true;
  return false;
}

void preemptall(bool bysignal) {
  for (int64 i = 0; i < nallp(); i++) {
    p* pp = allp.array[i];
    if (load_relaxed(pp->status) != Prunning) continue;
    preemptone(pp);
    if (bysignal) preemptsignal(pp);
  }
}

// In the signal handler, on the thread of the goroutine gp that it interrupted (signal.cc).
void sigpreempted(g* gp) {
  m* mp = gp->m;
  if (gp == mp->g0 || gp == mp->gsignal || mp->curg != gp) return;
  if (mp->locks != 0 || gp->preemptoff != 0 || load_relaxed(gp->preempt) == 0) return;
  p* pp = mp->p;
  if (pp == nullptr || readgstatus(gp) != Grunning) return;
  if (tracing()) traceProcLost(gp, pp);
  store_relaxed(gp->noproc, 1);
  mp->oldp = pp;
  mp->p = nullptr;
  mp->npreempt++;
  store_relaxed(pp->m, nullptr);
  store_relaxed(gp->stackguard0, stackPreempt);
  __atomic_store_n(&pp->status, uint32(Psyscall), __ATOMIC_SEQ_CST);     // from here on it is not ours
  if (sched.gcwaiting.load() != 0) futexwakeup(&sched.stopnote.key, 1);  // stopTheWorldWithSema looks, soon or at once
}

}  // namespace vitrine::rt
