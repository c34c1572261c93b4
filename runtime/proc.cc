// proc.cc: the life of a goroutine between run queues — status changes, parking, readying, and the scheduler's round.
// Follows Go's proc.go.
//
// One park and one wakeup, step by step (a receive on an empty channel, then a send):
//   1. gopark (on the goroutine) records why and what it waits for, and mcall()s park_m: the context goes into
//      g->sched, the thread is on g0's stack.
//   2. park_m: Grunning → Gwaiting, then dropg, and only then unlockf (it unlocks the channel). From that unlock on
//      another thread may ready the g, so nothing of it is touched any more; its stack is no longer ours.
//   3. schedule finds another g; execute makes it Grunning and gogo()s into it.
//   4. The sender takes the sudog off the channel under its lock, writes the element, unlocks, and calls goready:
//      Gwaiting → Grunnable, runqput(next), wakep.
//   5. Some M takes it off a queue and executes it; mcall "returns" into gopark.
//
// Memory order of a hand-over: everything the parked side wrote is before its casgstatus(Gwaiting) and the unlock in
// unlockf; the waker acquires that lock; the run queues publish with a release store of runqtail (proc_runq.cc).
//
// C++ state of a thread that belongs to a goroutine — the exception globals and errno — moves with it: execute loads
// it, dropg saves it, both on g0 in functions that are never inlined, so that no thread-local address survives a
// switch.
#include "proc.h"

#include <cerrno>
#include <cstring>

#include "mgc.h"

namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals* __cxa_get_globals() noexcept;
}  // namespace __cxxabiv1

extern "C" {
__attribute__((tls_model("initial-exec"))) __thread vitrine::rt::g* vitrine_tls_g;
}

namespace vitrine::rt {

alignas(64) schedt sched;
slice<g*> allgs;
mutex allglock;
slice<gslab> gslabs;
m* allm;
slice<p*> allp;
int32 gomaxprocs;
int32 ncpu;
m m0;
g g0;
atomic<uint32> idlepMask[MaxGomaxprocs / 32];
atomic<uint32> timerpMask[MaxGomaxprocs / 32];

m* acquirem() {
  g* gp = getg();
  if (gp == nullptr) return nullptr;
  gp->m->locks++;
  return gp->m;
}

void releasem(m* mp) {
  if (mp == nullptr) return;
  unpin(mp, getg());
  if (mp->locks < 0) throw_("releasem: lock count below zero");
}

uint32 readgstatus(g* gp) { return gp->atomicstatus.load(__ATOMIC_ACQUIRE); }

// Moves gp from oldval to newval; waits while a scanner holds the Gscan bit. The acquire-release CAS hands the stack
// over: what the old owner wrote is visible to the new one.
void casgstatus(g* gp, uint32 oldval, uint32 newval) {
  if ((oldval & Gscan) != 0 || (newval & Gscan) != 0 || oldval == newval) {
    print("runtime: casgstatus: oldval=", hex{oldval}, " newval=", hex{newval}, " g=", (const void*)gp, "\n");
    throw_("casgstatus: bad incoming values");
  }
  for (int64 i = 0; !gp->atomicstatus.cas(oldval, newval, __ATOMIC_ACQ_REL); i++) {
    uint32 now = readgstatus(gp);
    if ((now & ~uint32(Gscan)) != oldval) {
      print("runtime: casgstatus: goroutine ", gp->goid, " is ", now, ", expected ", oldval, " → ", newval, "\n");
      throw_("casgstatus: wrong status");
    }
    if (i < 64)
      procyield(10);
    else
      osyield();
  }
}

bool castogscanstatus(g* gp, uint32 oldval) { return gp->atomicstatus.cas(oldval, oldval | Gscan, __ATOMIC_ACQ_REL); }

// What the assembly calls when it finds itself where it must not be.
void badmcall(void (*)(g*)) { throw_("mcall called on a scheduling stack"); }
void badmcall2(void (*)(g*)) { throw_("mcall: the function returned"); }
void badsystemstack() {
  throw_("systemstack called from a stack that is neither g0, gsignal nor the current goroutine");
}

void casfrom_Gscanstatus(g* gp, uint32 oldval, uint32 newval) {
  if ((oldval & Gscan) == 0 || !gp->atomicstatus.cas(oldval, newval, __ATOMIC_ACQ_REL))
    throw_("casfrom_Gscanstatus: status was not held");
}

// Where they are is fixed for the life of a thread, so each M looks once.
void threadstate(m* mp) {
  mp->ehp = reinterpret_cast<ehglobals*>(__cxxabiv1::__cxa_get_globals());
  mp->errnoaddr = &errno;
}

// While no goroutine is on the thread its exception state is empty, as that of most goroutines is.
static void save_thread_state(m* mp, g* gp) {
  if (mp->ehp->caughtExceptions != nullptr || mp->ehp->uncaughtExceptions != 0) {
    gp->eh = *mp->ehp;
    *mp->ehp = {};
    gp->haseh = 1;
  }
  gp->errno_ = *mp->errnoaddr;
}

static void load_thread_state(m* mp, g* gp) {
  if (gp->haseh != 0) {
    *mp->ehp = gp->eh;
    gp->haseh = 0;
  }
  *mp->errnoaddr = gp->errno_;
}

// Takes the current goroutine off this M. The caller has already moved its status on, or is about to, and still owns
// it.
void dropg(g* gp) {
  m* mp = getg()->m;
  save_thread_state(mp, gp);
  store_relaxed(gp->noproc, 0);
  store_relaxed(gp->m, nullptr);
  __atomic_store_n(&mp->curg, nullptr, __ATOMIC_RELEASE);  // pairs with freezegoroutines
}

// What every way off the M has in common, on g0, while the g is still Grunning and ours.
void leaving(g* gp) {
  san_arrived(getg());
  checkcanary(gp);
  store_relaxed(gp->waitsince, sched.lastnow.load(__ATOMIC_RELAXED));
}

static void park_m(g* gp) {
  m* mp = getg()->m;
  leaving(gp);
  if (tracing()) traceGoPark(gp, gp->waitreason);
  auto fn = mp->waitunlockf;
  void* lk = mp->waitlock;
  mp->waitunlockf = nullptr;
  mp->waitlock = nullptr;
  casgstatus(gp, Grunning, Gwaiting);
  dropg(gp);
  if (fn != nullptr && !fn(gp, lk)) {
    if (tracing()) traceGoUnpark(gp);
    casgstatus(gp, Gwaiting, Grunnable);
    if (mp->p != nullptr) execute(gp, true);
    lock(&sched.lock);
    globrunqput(gp);
    unlock(&sched.lock);
    wakep();
  }
  schedule();
}

void gopark(bool (*unlockf)(g*, void*), void* lk, waitReason reason, void* waitobject) {
  g* gp = getg();
  if (gp == nullptr) return foreignpark(unlockf, lk, reason, waitobject);
  m* mp = gp->m;
  if (gp == mp->g0 || gp == mp->gsignal) throw_("gopark on a scheduling or signal stack");
  uint32 status = readgstatus(gp);
  if (status != Grunning) throw_("gopark: the current goroutine is not running");
  mp->waitlock = lk;
  mp->waitunlockf = unlockf;
  store_relaxed(gp->waitreason, reason);
  store_relaxed(gp->waitobject, waitobject);
  switch_to_g0(park_m);
  store_relaxed(gp->waitobject, nullptr);
  store_relaxed(gp->waitreason, waitReasonZero);
}

bool parkunlock(g*, void* lk) {
  unlock(static_cast<mutex*>(lk));
  return true;
}

void ready(g* gp, bool next) {
  if ((readgstatus(gp) & ~uint32(Gscan)) != Gwaiting) {
    print("runtime: goready: goroutine ", gp->goid, " has status ", readgstatus(gp), "\n");
    throw_("goready: the goroutine is not waiting");
  }
  if (gp->isforeign) return foreignready(gp);
  m* mp = acquirem();
  if (tracing()) traceGoUnpark(gp);
  casgstatus(gp, Gwaiting, Grunnable);
  if (p* pp = pinnedp(mp); pp != nullptr) {
    runqput(pp, gp, next);
  } else {
    lock(&sched.lock);
    globrunqput(gp);
    unlock(&sched.lock);
  }
  wakep();
  releasem(mp);
}

void goready(g* gp) { ready(gp, true); }

// To the tail of this P's queue: who yields wants the others of its P to run, and leaves the rest of the order alone.
static void gosched_m(g* gp) {
  m* mp = getg()->m;
  leaving(gp);
  if (tracing()) traceGoSched(gp);
  casgstatus(gp, Grunning, Grunnable);
  dropg(gp);
  if (mp->p != nullptr) {
    runqput(mp->p, gp, false);
  } else {
    lock(&sched.lock);
    globrunqput(gp);
    unlock(&sched.lock);
  }
  schedule();
}

// To the tail of the global queue: it has had its time slice.
static void gopreempt_m(g* gp) {
  leaving(gp);
  if (tracing()) traceGoPreempt(gp);
  casgstatus(gp, Grunning, Grunnable);
  dropg(gp);
  lock(&sched.lock);
  globrunqput(gp);
  unlock(&sched.lock);
  schedule();
}

// The count of time slices, by which sysmon sees that the P gets on.
static uint32 bumpschedtick(p* pp) {
  uint32 tick = pp->schedtick + 1;
  __atomic_store_n(&pp->schedtick, tick, __ATOMIC_RELAXED);
  return tick;
}

static bool worth_yielding(p* pp) {
  return !runqempty(pp) || sched.runqsize.load(__ATOMIC_RELAXED) != 0 || pp->timers.len.load(__ATOMIC_RELAXED) != 0;
}

// Unlike Go: with nothing else to run the round trip over g0 is saved. The schedule tick still advances, so that a
// goroutine that only yields does not look stuck and the rare looks of findrunnable are not missed.
void gosched() {
  entry();
  g* gp = getg();
  if (gp == nullptr) return osyield();
  m* mp = gp->m;
  if (gp == mp->g0 || gp == mp->gsignal) return;
  // As acquirem and releasem do, without their calls.
  mp->locks++;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  p* pp = mp->p;
  bool alone = pp != nullptr && bumpschedtick(pp) % fairTick != 0 && !worth_yielding(pp);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  unpin(mp, gp);
  if (!alone) switch_to_g0(gosched_m);
}

void gopreempt() { switch_to_g0(gopreempt_m); }

// Runs gp on this M, for ever as far as the caller is concerned. inheritTime: within the current time slice.
void execute(g* gp, bool inheritTime) {
  m* mp = getg()->m;
  if (__builtin_expect(gcphase.load(__ATOMIC_RELAXED) == GCmark, 0)) gcscangoroutine(gp, &mp->p->gcw);
  store_relaxed(gp->m, mp);
  if (tracing()) traceGoStart(gp);
  casgstatus(gp, Grunnable, Grunning);
  store_relaxed(gp->preempt, 0);
  store_relaxed(gp->stackguard0, gp->stack.lo + stackGuard);
  __atomic_store_n(&mp->curg, gp, __ATOMIC_RELEASE);  // pairs with preemptone: gp may be new
  if (!inheritTime) bumpschedtick(mp->p);
  load_thread_state(mp, gp);
  san_leave(gp);
  gogo(&gp->sched);
  __builtin_unreachable();
}

// One round of the scheduler: find a runnable goroutine and run it. On g0; never returns.
void schedule() {
  m* mp = getg()->m;
  if (mp->locks != 0) {
    print("runtime: schedule: m ", mp->id, " holds ", mp->locks, " locks\n");
    throw_("schedule: holding locks");
  }
  for (;;) {
    if (__builtin_expect(sched.exiting.load(__ATOMIC_RELAXED), 0)) stopforexit();
    if (mp->lockedg != nullptr) {
      stoplockedm();
      execute(mp->lockedg, false);
    }
    // The goroutine that was here had lost its P.
    if (mp->p == nullptr && !acquireidlep()) stopm();
    bool inheritTime;
    g* gp = findrunnable(&inheritTime);
    if (mp->spinning) resetspinning();
    if (gp->lockedm == nullptr) execute(gp, inheritTime);
    startlockedm(gp);
  }
}

uint32 fastrandn(uint32 n) {
  g* gp = getg();
  static atomic<uint64> foreign{88172645463325252ull};
  uint64 x = gp != nullptr ? gp->m->fastrand : foreign.load(__ATOMIC_RELAXED);
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  if (gp != nullptr)
    gp->m->fastrand = x;
  else
    foreign.store(x, __ATOMIC_RELAXED);
  return uint32((uint64(uint32(x >> 16)) * n) >> 32);
}

}  // namespace vitrine::rt
