// proc_m.cc: Ms and Ps — how threads are made, how an M comes by a P and gives it up, who sleeps. Follows Go's proc.go
// (startm, newm, allocm, stopm, mexit, wirep, handoffp). How an M finds work is in proc_find.cc.
//
// A P is owned by one M at a time: m.p and p.m point at each other, p.status is Prunning. It changes hands
//   * on the M itself: acquirep and releasep (Pidle between them, and then on sched.pidle, under sched.lock);
//   * through m.nextp: startm fills it and wakes the M's note; the wakeup's release pairs with the sleeper's acquire;
//   * through Psyscall (proc_syscall.cc): the M has let go of a P that anybody may take by a CAS of the status — the M
//     when it comes back, sysmon, or who stops the world.
// Ms are never freed: their number is the most threads that were ever needed at once. The structure of one whose thread
// ended (mexit) waits on sched.freem until the thread is through with it, and then serves a new thread.
#include <pthread.h>

#include <csignal>
#include <cstring>

#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

bool mask_get(atomic<uint32>* mask, int32 id) { return mask[id / 32].load() >> (id % 32) & 1; }
void mask_set(atomic<uint32>* mask, int32 id) {
  __atomic_fetch_or(&mask[id / 32].value, 1u << (id % 32), __ATOMIC_SEQ_CST);
}
void mask_clear(atomic<uint32>* mask, int32 id) {
  __atomic_fetch_and(&mask[id / 32].value, ~(1u << (id % 32)), __ATOMIC_SEQ_CST);
}

// ---- P ↔ M --------------------------------------------------------------------------------------------------------

void wirep(p* pp) {
  m* mp = getg()->m;
  if (mp->p != nullptr) throw_("wirep: this M already has a P");
  if (pp->m != nullptr || load_relaxed(pp->status) != Pidle) {
    print("runtime: wirep: p ", pp->id, " status ", pp->status, " m ", (const void*)pp->m, "\n");
    throw_("wirep: the P is not idle");
  }
  __atomic_store_n(&pp->m, mp, __ATOMIC_RELEASE);  // pairs with who looks at other Ps' Ms (preemptone): it may be new
  store_relaxed(pp->status, Prunning);
  mp->p = pp;
}

// The P was this M's a moment ago, and nobody took it meanwhile: no news for the flight recorder.
void reacquirep(p* pp) {
  wirep(pp);
  pp->mcache->prepareForSweep();  // before anything is allocated from spans that are to be swept
}

void acquirep(p* pp) {
  reacquirep(pp);
  if (tracing()) traceProcStart();
}

p* releasep() {
  m* mp = getg()->m;
  p* pp = mp->p;
  if (pp == nullptr) throw_("releasep: this M has no P");
  if (pp->m != mp || load_relaxed(pp->status) != Prunning) throw_("releasep: the P is not ours");
  if (tracing()) traceProcStop(pp);
  mp->oldp = pp;
  mp->p = nullptr;
  store_relaxed(pp->m, nullptr);
  store_relaxed(pp->status, Pidle);
  return pp;
}

void pidleput(p* pp) {
  assertLockHeld(&sched.lock);
  if (!runqempty(pp)) throw_("pidleput: the P has a non-empty run queue");
  if (pp->timers.len.load() == 0) {
    // Somebody without a P may add a timer to any P: it stores len, then sets the bit. We clear the bit, then look at
    // len again: either we see its len, or its bit is set after our clear.
    mask_clear(timerpMask, pp->id);
    if (pp->timers.len.load() != 0) mask_set(timerpMask, pp->id);
  }
  mask_set(idlepMask, pp->id);
  pp->link = sched.pidle;
  sched.pidle = pp;
  sched.npidle.add(1);
}

p* pidleget() {
  assertLockHeld(&sched.lock);
  p* pp = sched.pidle;
  if (pp == nullptr) return nullptr;
  // It may get timers as soon as it runs; the bit is set before, so that nobody misses them.
  mask_set(timerpMask, pp->id);
  mask_clear(idlepMask, pp->id);
  sched.pidle = pp->link;
  pp->link = nullptr;
  sched.npidle.add(-1);
  wakesysmon();
  return pp;
}

// Takes an idle P if there is one.
bool acquireidlep() {
  if (sched.npidle.load() == 0) return false;
  lock(&sched.lock);
  p* pp = pidleget();
  unlock(&sched.lock);
  if (pp == nullptr) return false;
  acquirep(pp);
  return true;
}

// ---- Ms -----------------------------------------------------------------------------------------------------------

// sched.lock held, as the number of Ms must not pass the limit.
static int64 mReserveID() {
  if (sched.mnext - sched.nmfreed + 1 > sched.maxmcount) {
    print("runtime: program exceeds ", sched.maxmcount, "-thread limit\n");
    throw_("thread exhaustion");
  }
  return sched.mnext++;
}

void mcommoninit(m* mp, int64 id) {
  lock(&sched.lock);
  mp->id = id >= 0 ? id : mReserveID();
  mp->fastrand = 0x9e3779b97f4a7c15ull * uint64(mp->id + 1) ^ uint64(nanotime());
  if (mp->fastrand == 0) mp->fastrand = 1;
  mp->alllink = allm;
  __atomic_store_n(&allm, mp, __ATOMIC_RELEASE);  // pairs with readers that walk allm without sched.lock
  unlock(&sched.lock);
}

void minit(m* mp) {
  store_relaxed(mp->procid, gettid_());
  mp->thread = pthread_self();
  uintptr fsbase;
  asm volatile("movq %%fs:0, %0" : "=r"(fsbase));
  mp->tls[0] = fsbase;
  mp->tls[1] = uintptr(&vitrine_tls_g);
  threadstate(mp);
  san_m0(mp->g0);
  minitsignals(mp);
}

static m* mget() {
  assertLockHeld(&sched.lock);
  m* mp = sched.midle;
  if (mp != nullptr) {
    sched.midle = mp->schedlink;
    mp->schedlink = nullptr;
    sched.nmidle--;
  }
  return mp;
}

// For procresize: an idle M for a P with work, or null; sched.lock held.
m* midleget() { return mget(); }

// False: nothing runs any more, but a foreign thread might still ready a goroutine; look again later.
static bool mput(m* mp) {
  mp->schedlink = sched.midle;
  sched.midle = mp;
  sched.nmidle++;
  return checkdead();
}

// The first function of a new M's thread, on its g0. Returns when the thread is to end (mexit).
VITRINE_NOINLINE static void* mstart_thread(void* arg) {
  m* mp = static_cast<m*>(arg);
  vitrine_tls_g = mp->g0;
  pthread_attr_t attr;
  if (pthread_getattr_np(pthread_self(), &attr) == 0) {
    void* lo;
    size_t size;
    pthread_attr_getstack(&attr, &lo, &size);
    mp->g0->stack = {uintptr(lo), uintptr(lo) + size};
    pthread_attr_destroy(&attr);
  }
  mstart();
  vitrine_tls_g = nullptr;
  unminitsignals(mp);
  // Release: the next user of the structure (allocm) has all that this thread did with it behind it.
  mp->freeWait.store(0, __ATOMIC_RELEASE);
  return nullptr;
}

// Runs on g0 below mstart's frame; never returns.
void mstart1() {
  m* mp = getg()->m;
  minit(mp);
  if (mp->mstartfn != nullptr) mp->mstartfn();
  if (mp != &m0) {
    acquirep(mp->nextp);
    mp->nextp = nullptr;
  }
  schedule();
}

static void mspinning() { getg()->m->spinning = 1; }

// An M structure whose thread is gone for good, or null. sched.lock held.
static m* freemget() {
  for (m** at = &sched.freem; *at != nullptr; at = &(*at)->freelink) {
    m* mp = *at;
    if (mp->freeWait.load(__ATOMIC_ACQUIRE) != 0) continue;
    *at = mp->freelink;
    mp->freelink = nullptr;
    return mp;
  }
  return nullptr;
}

static m* allocm(void (*fn)(), int64 id) {
  lock(&sched.lock);
  m* mp = freemget();
  unlock(&sched.lock);
  if (mp != nullptr) {
    g* gp0 = mp->g0;
    g* gsignal = mp->gsignal;
    memset(static_cast<void*>(mp), 0, sizeof *mp);
    mp->g0 = gp0;
    mp->gsignal = gsignal;
  } else {
    mp = static_cast<m*>(persistentalloc(sizeof(m), 64, "m"));
    mp->g0 = static_cast<g*>(persistentalloc(sizeof(g), 64, "g"));
    mp->g0->m = mp;
    mp->g0->issystem = 1;
  }
  mp->mstartfn = fn;
  mcommoninit(mp, id);
  return mp;
}

// Starts the thread of mp.
static void newm1(m* mp) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  // A thread starts with its creator's signal mask and would deliver signals before it is set up: block them over the
  // creation; mstart1's minitsignals opens them again.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  mp->sigmask = m0.sigmask;
  int err = pthread_create(&thread, &attr, mstart_thread, mp);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attr);
  if (err != 0) {
    print("runtime: cannot create a thread for an M: errno ", int32(err), "\n");
    throw_("newm: pthread_create failed");
  }
}

// A thread inherits of its creator what the kernel keeps per thread: CPU affinity, scheduling policy, namespaces. A
// goroutine that is locked to its thread may have changed those, so such an M has its new threads made by the template
// thread, an M that runs nothing and was started when the first lock was taken.
static struct {
  mutex lock;
  m* newm;  // waiting to be started, by schedlink; guarded by lock
  uint8 waiting;
  note wake;
  atomic<uint32> have;
} newmHandoff;

static void templateThread() {
  lock(&sched.lock);
  sched.nmsys++;
  checkdead();
  unlock(&sched.lock);
  for (;;) {
    lock(&newmHandoff.lock);
    while (m* mp = newmHandoff.newm) {
      newmHandoff.newm = nullptr;
      unlock(&newmHandoff.lock);
      while (mp != nullptr) {
        m* next = mp->schedlink;
        mp->schedlink = nullptr;
        newm1(mp);
        mp = next;
      }
      lock(&newmHandoff.lock);
    }
    newmHandoff.waiting = 1;
    noteclear(&newmHandoff.wake);
    unlock(&newmHandoff.lock);
    notesleep(&newmHandoff.wake);
  }
}

void startTemplateThread() {
  if (newmHandoff.have.load(__ATOMIC_RELAXED) == 0 && newmHandoff.have.xchg(1) == 0) newm(templateThread, nullptr, -1);
}

void newm(void (*fn)(), p* pp, int64 id) {
  m* mp = allocm(fn, id);
  mp->nextp = pp;
  g* gp = getg();
  if (gp == nullptr || gp->m->lockedExt == 0 || fn == templateThread) return newm1(mp);
  lock(&newmHandoff.lock);
  mp->schedlink = newmHandoff.newm;
  newmHandoff.newm = mp;
  if (newmHandoff.waiting) {
    newmHandoff.waiting = 0;
    notewakeup(&newmHandoff.wake);
  }
  unlock(&newmHandoff.lock);
}

// Starts an M on pp, or on an idle P when pp is null (none: nothing to do). spinning: the caller has counted the new M
// in nmspinning; it is given back if no M is started.
void startm(p* pp, bool spinning) {
  lock(&sched.lock);
  if (pp == nullptr) {
    pp = pidleget();
    if (pp == nullptr) {
      if (spinning) sched.needspinning.store(1);
      unlock(&sched.lock);
      if (spinning && sched.nmspinning.add(-1) < 0) throw_("startm: negative nmspinning");
      return;
    }
  }
  m* mp = mget();
  if (mp == nullptr) {
    // Reserve the id now: an M that is being made counts as running, so that checkdead does not fire.
    int64 id = mReserveID();
    unlock(&sched.lock);
    newm(spinning ? mspinning : nullptr, pp, id);
    return;
  }
  unlock(&sched.lock);
  if (mp->spinning) throw_("startm: an idle M is spinning");
  if (mp->nextp != nullptr) throw_("startm: an idle M has a P");
  store_relaxed(mp->spinning, uint8(spinning));  // m0 may be on its way out of run()
  __atomic_store_n(&mp->nextp, pp, __ATOMIC_RELEASE);
  notewakeup(&mp->park);  // release: pairs with notesleep's acquire in mpark, after which nextp is read
}

// Sleeps until somebody has put a P into nextp, and takes it. sure: nobody need look for a deadlock again.
static void mpark(bool sure) {
  m* mp = getg()->m;
  for (;;) {
    if (!notetsleep(&mp->park, sure ? -1 : 200'000'000)) {
      lock(&sched.lock);
      sure = checkdead();
      unlock(&sched.lock);
      continue;
    }
    noteclear(&mp->park);
    // Acquire: the wakeup may have been run()'s end, so the note does not order us after who filled nextp.
    if (__atomic_load_n(&mp->nextp, __ATOMIC_ACQUIRE) != nullptr) break;
    if (sched.exiting.load()) stopforexit();
  }
  acquirep(mp->nextp);
  mp->nextp = nullptr;
  sched.lastnow.store(nanotime(), __ATOMIC_RELAXED);
}

// Puts this M to sleep until startm hands it a P.
void stopm() {
  m* mp = getg()->m;
  if (mp->locks != 0) throw_("stopm: holding locks");
  if (mp->p != nullptr) throw_("stopm: holding a P");
  if (mp->spinning) throw_("stopm: spinning");
  lock(&sched.lock);
  bool sure = mput(mp);
  unlock(&sched.lock);
  mpark(sure);
}

// pp is nobody's (just retaken from a system call, or given up by an M that is locked or ends): finds it an M if it has
// or might have work, else makes it idle. Any M, with or without a P of its own.
void handoffp(p* pp) {
  if (!runqempty(pp) || sched.runqsize.load() != 0) return startm(pp, false);
  // Nobody looks for work and no P is idle: this one's M should, as work may be queued on a P that computes.
  if (sched.nmspinning.load() + sched.npidle.load() == 0 && sched.nmspinning.cas(0, 1)) {
    sched.needspinning.store(0);
    return startm(pp, true);
  }
  lock(&sched.lock);
  if (sched.gcwaiting.load() != 0) {
    store_relaxed(pp->status, Pgcstop);
    if (--sched.stopwait == 0) notewakeup(&sched.stopnote);
    unlock(&sched.lock);
    return;
  }
  // The last P that was not idle, and nobody polls: then this M should.
  bool nobodypolls =
      sched.npidle.load() == load_relaxed(gomaxprocs) - 1 && sched.lastpoll.load() != 0 && netpollinited();
  if (sched.runqsize.load() != 0 || nobodypolls) {
    unlock(&sched.lock);
    return startm(pp, false);
  }
  int64 when = pp->timers.minWhen.load();
  pidleput(pp);
  unlock(&sched.lock);
  if (when != 0) wakePoller(when);
}

// ---- goroutines that are locked to their thread ---------------------------------------------------------------------

// As mput's result.
static bool incidlelocked(int32 d) {
  lock(&sched.lock);
  sched.nmidlelocked += d;
  bool sure = d < 0 || checkdead();
  unlock(&sched.lock);
  return sure;
}

// sysmon takes a P away, or readies goroutines, and for that moment counts as one more running M: without it a locked M
// that goes to sleep meanwhile could see a deadlock.
void busysysmon(bool on) {
  lock(&sched.lock);
  sched.nmidlelocked += on ? -1 : 1;
  unlock(&sched.lock);
}

// This M is locked to a goroutine that cannot run now. Gives its P away and sleeps until another M schedules that
// goroutine (startlockedm), which brings a P along.
void stoplockedm() {
  m* mp = getg()->m;
  if (mp->lockedg == nullptr || mp->lockedg->lockedm != mp) throw_("stoplockedm: inconsistent locking");
  if (mp->p != nullptr) handoffp(releasep());
  mpark(incidlelocked(1));
  if ((readgstatus(mp->lockedg) & ~uint32(Gscan)) != Grunnable) {
    print("runtime: stoplockedm: goroutine ", mp->lockedg->goid, " has status ", readgstatus(mp->lockedg), "\n");
    throw_("stoplockedm: woken without a runnable goroutine");
  }
}

// Hands this M's P to the M that gp is locked to, which runs it; then sleeps.
void startlockedm(g* gp) {
  m* mp = gp->lockedm;
  if (mp == getg()->m) throw_("startlockedm: locked to me");
  if (mp->nextp != nullptr) throw_("startlockedm: the M has a P");
  p* pp = releasep();
  __atomic_store_n(&mp->nextp, pp, __ATOMIC_RELEASE);
  incidlelocked(-1);
  notewakeup(&mp->park);
  stopm();
}

// Ends this M's thread: its goroutine ended while it was locked to it, and may have changed the thread in ways that
// nobody else must meet. On g0. m0 only goes to sleep: run() has to return on it.
void mexit() {
  m* mp = getg()->m;
  mp->lockedg = nullptr;
  mp->lockedExt = 0;
  wbMexit(mp);
  if (mp->p != nullptr) handoffp(releasep());
  if (mp != &m0) traceMexit(mp);
  lock(&sched.lock);
  if (mp != &m0) {
    m** at = &allm;
    while (*at != mp) at = &(*at)->alllink;
    __atomic_store_n(at, mp->alllink, __ATOMIC_RELEASE);
    mp->freeWait.store(1, __ATOMIC_RELAXED);
    mp->freelink = sched.freem;
    sched.freem = mp;
  }
  sched.nmfreed++;
  checkdead();
  unlock(&sched.lock);
  if (mp == &m0) {
    // The look comes first: the wakeup at run()'s end may have been one with the wakeup that brought the goroutine.
    for (;;) {
      if (sched.exiting.load()) stopforexit();
      notesleep(&mp->park);
      noteclear(&mp->park);
    }
  }
  mp->g0->sched.ret = 1;
  gogo(&mp->g0->sched);  // mstart returns into mstart_thread
}

}  // namespace vitrine::rt
