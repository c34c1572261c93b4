// proc_m.cc: Ms and Ps — who looks for work, who sleeps, who is woken. Follows Go's proc.go (findrunnable, wakep,
// startm, stopm, procresize, wirep).
//
// Work must not be lost between "it was queued" and "the last idle M went to sleep". The protocol, both sides:
//   submitter:  1. put the g on a queue (release store, or under sched.lock)
//               2. full fence
//               3. wakep: if some P is idle and no M spins, make one M spin and start it
//   an M that found nothing:
//               1. release its P, put it on the idle list, under sched.lock, after a last look at the global queue
//               2. if it was spinning: nmspinning-- (seq_cst), fence
//               3. look at everything again: global queue, every P's ring, every P's timers
//               4. only then sleep
// Either the submitter's step 3 sees nmspinning == 0 (and wakes somebody), or its put is before the M's step 3 (which
// finds it). An M that turns from spinning to running does wakep itself (resetspinning), because the submitters that
// saw it spinning relied on it.
//
// Timers: an M about to sleep computes the earliest timer of all Ps. One M at a time — the one that exchanges
// sched.lastpoll to 0 — sleeps on sched.pollnote until then (pollUntil); the others sleep on m.park. Who adds an
// earlier timer wakes the poller (wakePoller), or, if nobody polls, starts an M that will. A network poller later
// replaces only that sleep.
//
// Unlike Go: no sysmon yet. A goroutine that computes without end keeps its P; the others share what is left.
#include <pthread.h>

#include <csignal>
#include <cstring>

#include "proc.h"

namespace vitrine::rt {

static bool mask_get(atomic<uint32>* mask, int32 id) { return mask[id / 32].load() >> (id % 32) & 1; }
static void mask_set(atomic<uint32>* mask, int32 id) {
  __atomic_fetch_or(&mask[id / 32].value, 1u << (id % 32), __ATOMIC_SEQ_CST);
}
static void mask_clear(atomic<uint32>* mask, int32 id) {
  __atomic_fetch_and(&mask[id / 32].value, ~(1u << (id % 32)), __ATOMIC_SEQ_CST);
}

// ---- P ↔ M --------------------------------------------------------------------------------------------------------

void wirep(p* pp) {
  m* mp = getg()->m;
  if (mp->p != nullptr) throw_("wirep: this M already has a P");
  if (pp->m != nullptr || pp->status != Pidle) {
    print("runtime: wirep: p ", pp->id, " status ", pp->status, " m ", (const void*)pp->m, "\n");
    throw_("wirep: the P is not idle");
  }
  mp->p = pp;
  pp->m = mp;
  __atomic_store_n(&pp->status, uint32(Prunning), __ATOMIC_RELAXED);
}

void acquirep(p* pp) { wirep(pp); }

p* releasep() {
  m* mp = getg()->m;
  p* pp = mp->p;
  if (pp == nullptr) throw_("releasep: this M has no P");
  if (pp->m != mp || pp->status != Prunning) throw_("releasep: the P is not ours");
  mp->oldp = pp;
  mp->p = nullptr;
  pp->m = nullptr;
  __atomic_store_n(&pp->status, uint32(Pidle), __ATOMIC_RELAXED);
  return pp;
}

void pidleput(p* pp) {
  if (!runqempty(pp)) throw_("pidleput: the P has a non-empty run queue");
  if (pp->timers.len.load() == 0) mask_clear(timerpMask, pp->id);
  mask_set(idlepMask, pp->id);
  pp->link = sched.pidle;
  sched.pidle = pp;
  sched.npidle.add(1);
}

p* pidleget() {
  p* pp = sched.pidle;
  if (pp == nullptr) return nullptr;
  // It may get timers as soon as it runs; the bit is set before, so that nobody misses them.
  mask_set(timerpMask, pp->id);
  mask_clear(idlepMask, pp->id);
  sched.pidle = pp->link;
  pp->link = nullptr;
  sched.npidle.add(-1);
  return pp;
}

p* procresize(int32 nprocs) {
  if (nprocs <= 0 || nprocs > MaxGomaxprocs) throw_("procresize: invalid number of Ps");
  if (allp.len != 0) throw_("procresize: the number of Ps is fixed once the scheduler runs");
  allp.array = static_cast<p**>(persistentalloc(sizeof(p*) * uint64(nprocs), 8));
  for (int32 i = 0; i < nprocs; i++) {
    p* pp = static_cast<p*>(persistentalloc(sizeof(p), 64));
    pp->id = i;
    pp->status = Pgcstop;
    runtimers_init(pp);
    allp.array[i] = pp;
  }
  allp.len = allp.cap = nprocs;
  gomaxprocs = nprocs;
  sched.procresizetime = nanotime();
  p* first = allp.array[0];
  first->status = Pidle;
  acquirep(first);
  mask_set(timerpMask, 0);
  for (int32 i = nprocs - 1; i > 0; i--) {
    allp.array[i]->status = Pidle;
    pidleput(allp.array[i]);
  }
  return nullptr;  // no P has runnable goroutines: that is for a resize while running
}

// ---- Ms -----------------------------------------------------------------------------------------------------------

static int64 mReserveID() {
  if (sched.mnext + 1 > sched.maxmcount) {
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
  mp->procid = gettid_();
  mp->thread = pthread_self();
  uintptr fsbase;
  asm volatile("movq %%fs:0, %0" : "=r"(fsbase));
  mp->tls[0] = fsbase;
  mp->tls[1] = uintptr(&vitrine_tls_g);
  san_m0(mp->g0);
  minitsignals(mp);
}

static m* mget() {
  m* mp = sched.midle;
  if (mp != nullptr) {
    sched.midle = mp->schedlink;
    mp->schedlink = nullptr;
    sched.nmidle--;
  }
  return mp;
}

// False: nothing runs any more, but a foreign thread might still ready a goroutine; look again later.
static bool mput(m* mp) {
  mp->schedlink = sched.midle;
  sched.midle = mp;
  sched.nmidle++;
  return checkdead();
}

// The first function of a new M's thread, on its g0.
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

static m* allocm(void (*fn)(), int64 id) {
  m* mp = static_cast<m*>(persistentalloc(sizeof(m), 64));
  mp->g0 = static_cast<g*>(persistentalloc(sizeof(g), 64));
  mp->g0->m = mp;
  mp->g0->issystem = 1;
  mp->mstartfn = fn;
  mcommoninit(mp, id);
  return mp;
}

static void newm(void (*fn)(), p* pp, int64 id) {
  m* mp = allocm(fn, id);
  mp->nextp = pp;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  // A thread starts with its creator's signal mask and would deliver signals before it is set up: block them over the
  // creation; mstart1's minitsignals opens them again.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  memcpy(&mp->sigmask, &old, sizeof mp->sigmask);
  int err = pthread_create(&thread, &attr, mstart_thread, mp);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attr);
  if (err != 0) {
    print("runtime: cannot create a thread for an M: errno ", int32(err), "\n");
    throw_("newm: pthread_create failed");
  }
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
  mp->spinning = spinning;
  mp->nextp = pp;
  notewakeup(&mp->park);  // release: pairs with notesleep's acquire in stopm, which then reads nextp
}

void wakep() {
  // Full fence: the g that was just queued before the loads of npidle and nmspinning (see the head comment).
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (sched.npidle.load() == 0) return;
  if (sched.nmspinning.load() != 0 || !sched.nmspinning.cas(0, 1)) return;
  startm(nullptr, true);
}

void resetspinning() {
  m* mp = getg()->m;
  mp->spinning = 0;
  if (sched.nmspinning.add(-1) < 0) throw_("resetspinning: negative nmspinning");
  wakep();
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
  for (;;) {
    if (!notetsleep(&mp->park, sure ? -1 : 200'000'000)) {
      lock(&sched.lock);
      sure = checkdead();
      unlock(&sched.lock);
      continue;
    }
    noteclear(&mp->park);
    if (mp->nextp != nullptr) break;
    if (sched.exiting.load()) stopforexit();
  }
  acquirep(mp->nextp);
  mp->nextp = nullptr;
}

// ---- finding work --------------------------------------------------------------------------------------------------

static void becomeSpinning(m* mp) {
  mp->spinning = 1;
  sched.nmspinning.add(1);
  sched.needspinning.store(0);
}

// One pass over the others, four tries, in random order; timers and runnext only on the last.
static g* stealWork(m* mp, p* pp, int64* now, bool* ranTimer) {
  constexpr int tries = 4;
  for (int i = 0; i < tries; i++) {
    bool last = i == tries - 1;
    uint32 n = uint32(gomaxprocs);
    uint32 start = fastrandn(n);
    for (uint32 k = 0; k < n; k++) {
      uint32 id = (start + k) % n;
      p* victim = allp.array[id];
      if (sched.exiting.load(__ATOMIC_RELAXED)) stopforexit();
      if (victim == pp) continue;
      if (last && mask_get(timerpMask, int32(id))) {
        int64 until;
        bool ran = false;
        *now = checkTimers(victim, *now, &until, &ran);
        if (ran) {
          // Running a timer readied goroutines onto our own queue.
          bool inherit;
          if (g* gp = runqget(pp, &inherit)) return gp;
          *ranTimer = true;
        }
      }
      if (!mask_get(idlepMask, int32(id)))
        if (g* gp = runqsteal(pp, victim, last)) return gp;
    }
  }
  (void)mp;
  return nullptr;
}

// Work of a P that has started no time slice since somebody last looked: its goroutine computes without end, and what
// it queued would wait as long. The others' ticks are at least fairTick of this P's apart.
static g* stealFromStuck(p* pp) {
  // Unlike in stealWork our own queue need not be empty: runqsteal may bring up to half a ring.
  uint32 queued = pp->runqtail.load(__ATOMIC_RELAXED) - pp->runqhead.load(__ATOMIC_ACQUIRE);
  if (queued >= runqsize_ / 2) return nullptr;
  uint32 id = fastrandn(uint32(gomaxprocs));
  p* victim = allp.array[id];
  if (victim == pp || mask_get(idlepMask, int32(id))) return nullptr;
  uint32 tick = __atomic_load_n(&victim->schedtick, __ATOMIC_RELAXED);
  if (__atomic_exchange_n(&victim->seentick, tick, __ATOMIC_RELAXED) != tick) return nullptr;
  return runqsteal(pp, victim, true);
}

// Runs the timers of every P that are due.
static void runLateTimers(int64* now) {
  int64 first = timeSleepUntil();
  if (first == 0) return;
  if (*now == 0) *now = nanotime();
  if (first > *now) return;
  for (int32 id = 0; id < gomaxprocs; id++) {
    int64 until;
    bool ran;
    if (mask_get(timerpMask, id)) *now = checkTimers(allp.array[id], *now, &until, &ran);
  }
}

// The M has no P and nothing to do until `until` (0: for ever). Sleeps as the poller if nobody does yet; returns false
// if another M has that office (or there is no timer) and this one should stop.
static bool pollsleep(int64 until) {
  if (until == 0) return false;
  if (sched.lastpoll.xchg(0) == 0) {
    int64 polled = sched.pollUntil.load();
    if (polled == 0 || polled > until) notewakeup(&sched.pollnote);
    return false;
  }
  sched.pollUntil.store(until);
  // Once more, now that adders of timers can see that we poll: one that came before had nobody to wake.
  int64 t = timeSleepUntil();
  int64 now = nanotime();
  sched.lastnow.store(now, __ATOMIC_RELAXED);
  if (t != 0 && t < until) sched.pollUntil.store(until = t);
  if (t != 0 && until > now) notetsleep(&sched.pollnote, until - now);
  noteclear(&sched.pollnote);
  sched.pollUntil.store(0);
  sched.lastpoll.store(nanotime());
  return true;
}

void wakePoller(int64 when) {
  if (sched.lastpoll.load() == 0) {
    // 0: the poller is still on its way to sleep and has not published; it looks again after that, or wakes at once.
    int64 until = sched.pollUntil.load();
    if (until == 0 || until > when) notewakeup(&sched.pollnote);
    return;
  }
  wakep();
}

// Finds a goroutine to run; sleeps until there is one. On g0, with a P on entry and on return.
g* findrunnable(bool* inheritTime) {
  m* mp = getg()->m;
  *inheritTime = false;
top:
  p* pp = mp->p;
  if (sched.exiting.load(__ATOMIC_RELAXED)) stopforexit();
  int64 now = 0, pollUntil = 0;
  bool ran = false;
  if (pp->timers.len.load() != 0) now = checkTimers(pp, now, &pollUntil, &ran);
  if (pp->schedtick % fairTick == 0) {
    // Once in a while what nobody else might look at: timers of a P whose goroutine computes without end, and the
    // global queue, which two goroutines that ready each other could keep waiting for ever.
    runLateTimers(&now);
    if (g* gp = stealFromStuck(pp)) return gp;
    if (sched.runqsize.load(__ATOMIC_RELAXED) > 0) {
      lock(&sched.lock);
      g* gp = globrunqget(pp, 1);
      unlock(&sched.lock);
      if (gp != nullptr) return gp;
    }
  }
  if (g* gp = runqget(pp, inheritTime)) return gp;
  if (sched.runqsize.load(__ATOMIC_RELAXED) != 0) {
    lock(&sched.lock);
    g* gp = globrunqget(pp, 0);
    unlock(&sched.lock);
    if (gp != nullptr) return gp;
  }
  // Steal, but let at most half of the busy Ps' number spin: more only burn.
  if (mp->spinning || 2 * sched.nmspinning.load() < gomaxprocs - sched.npidle.load()) {
    if (!mp->spinning) becomeSpinning(mp);
    bool ranTimer = false;
    if (g* gp = stealWork(mp, pp, &now, &ranTimer)) return gp;
    if (ranTimer) goto top;
  }

  lock(&sched.lock);
  if (sched.runqsize.load(__ATOMIC_RELAXED) != 0) {
    g* gp = globrunqget(pp, 0);
    unlock(&sched.lock);
    return gp;
  }
  if (!mp->spinning && sched.needspinning.load() == 1) {
    becomeSpinning(mp);
    unlock(&sched.lock);
    goto top;
  }
  releasep();
  pidleput(pp);
  unlock(&sched.lock);

  bool wasSpinning = mp->spinning;
  if (wasSpinning) {
    mp->spinning = 0;
    if (sched.nmspinning.add(-1) < 0) throw_("findrunnable: negative nmspinning");
  }
  // The last look (step 3 of the head comment). nmspinning's seq_cst decrement is the fence.
  bool again = false;
  if (sched.runqsize.load() != 0) again = true;
  for (int64 i = 0; !again && i < allp.len; i++)
    if (!mask_get(idlepMask, int32(i)) && !runqempty(allp.array[i])) again = true;
  if (again) {
    lock(&sched.lock);
    p* idle = pidleget();
    unlock(&sched.lock);
    if (idle != nullptr) {
      acquirep(idle);
      if (wasSpinning) becomeSpinning(mp);
      goto top;
    }
  }
  if (sched.exiting.load()) stopforexit();
  if (pollsleep(timeSleepUntil())) {
    if (sched.exiting.load()) stopforexit();
    lock(&sched.lock);
    p* idle = pidleget();
    unlock(&sched.lock);
    if (idle != nullptr) {
      acquirep(idle);
      becomeSpinning(mp);  // so that it looks at the timers of every P
      goto top;
    }
  }
  stopm();
  goto top;
}

// ---- the end of run()

static atomic<uint32> m0stopped;

void stopforexit() {
  m* mp = getg()->m;
  // Acquire: what main did before exitrun stored `exiting` is before what m0 does after run(). Callers looked relaxed.
  if (sched.exiting.load(__ATOMIC_ACQUIRE) == 0) throw_("stopforexit: run() is not over");
  if (mp->spinning) {
    mp->spinning = 0;
    sched.nmspinning.add(-1);
  }
  if (mp->p != nullptr) releasep();
  if (mp == &m0) {
    m0stopped.store(1);
    g0.sched.ret = 1;
    gogo(&g0.sched);  // mstart returns into rt0_go
  }
  note never{};
  for (;;) notesleep(&never);
}

static void freeze(g* gp) {
  san_arrived(getg());
  casgstatus(gp, Grunning, Gwaiting);
  dropg(gp);
  stopforexit();
}

void entry_slow() {
  g* gp = getg();
  if (gp == nullptr || gp == gp->m->g0 || gp == gp->m->gsignal || gp->m->locks != 0) return;
  gp->waitreason = waitReasonStoppingTheWorld;
  switch_to_g0(freeze);
}

// Main returned: every M stops at its next entry into the runtime, and m0 goes back to run()'s caller. On g0.
void exitrun(g* gp) {
  san_arrived(getg());
  gp->waitreason = waitReasonStoppingTheWorld;
  casgstatus(gp, Grunning, Gwaiting);
  dropg(gp);
  m* mp = getg()->m;
  releasep();
  sched.exiting.store(1);
  notewakeup(&sched.pollnote);
  notewakeup(&m0.park);
  if (mp != &m0) {
    // run() can only return on m0. If a goroutine keeps m0 in user code, all that is left of run() is its value.
    int64 deadline = nanotime() + exitGrace;
    while (m0stopped.load() == 0) {
      if (nanotime() > deadline) exitprocess(sched.exitcode);
      usleep_(50);
    }
  }
  stopforexit();
}

// On m0, before run() returns: goroutines that are in user code get a moment to arrive; what computes on after that is
// left running.
void awaitexit() {
  int64 deadline = nanotime() + exitGrace;
  for (bool running = true; running && nanotime() < deadline;) {
    running = false;
    for (int64 i = 0; i < allp.len; i++)
      if (__atomic_load_n(&allp.array[i]->status, __ATOMIC_ACQUIRE) == Prunning) running = true;
    if (running) usleep_(50);
  }
}

}  // namespace vitrine::rt
