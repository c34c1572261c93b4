// proc_world.cc: stopping all Ps, and changing their number. Follows Go's stopTheWorldWithSema, startTheWorldWithSema,
// gcstopm and procresize.
//
// The world is stopped when every P is Pgcstop. Who stops it holds worldsema (one at a time), sets gcwaiting and counts
// in stopwait the Ps that are still to stop. Each is stopped by whoever has it:
//   * the stopper: its own, the idle ones (from sched.pidle), those in system calls (CAS Psyscall → Pgcstop);
//   * an M that runs goroutines: in gcstopm, at its next round of the scheduler, to which preemption brings it;
//   * an M on its way into a system call, or out of one, sees gcwaiting or finds its P gone;
//   * handoffp, with a P that it was just given.
// The last one wakes the stopper. A goroutine that computes without end does not delay it for long: the preemption
// signal takes its P, and the goroutine computes on without. So "the world is stopped" means that no P is used, not
// that no user code runs; whoever has to stop that as well (a collector) must stop the threads themselves.
#include "include/vitrine/detail/rt.h"
#include "mgc.h"
#include "proc.h"
#include "syncwait.h"

namespace vitrine::rt {

static syncMutex worldsema;

// An M with a P, on g0, when the world is to stop.
void gcstopm() {
  m* mp = getg()->m;
  if (sched.gcwaiting.load() == 0) throw_("gcstopm: the world is not to stop");
  if (mp->spinning) {
    mp->spinning = 0;
    // Whoever counted on us to find its work finds the Ps started anew with the world.
    if (sched.nmspinning.add(-1) < 0) throw_("gcstopm: negative nmspinning");
  }
  p* pp = releasep();
  lock(&sched.lock);
  store_relaxed(pp->status, Pgcstop);
  if (--sched.stopwait == 0) notewakeup(&sched.stopnote);
  unlock(&sched.lock);
  stopm();
}

// sched.lock held.
static void stopsyscalls() {
  for (int64 i = 0; i < nallp(); i++) {
    p* pp = allp.array[i];
    uint32 syscall = Psyscall;
    if (__atomic_compare_exchange_n(&pp->status, &syscall, uint32(Pgcstop), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED)) {
      store_relaxed(pp->syscalltick, pp->syscalltick + 1);
      if (tracing()) traceProcSteal(pp);
      sched.stopwait--;
    }
  }
}

// On g0, its M pinned, with a P and worldsema.
static void stopTheWorldWithSema(void*) {
  m* mp = getg()->m;
  lock(&sched.lock);
  sched.stopwait = gomaxprocs;
  sched.gcwaiting.store(1);
  preemptall(false);
  store_relaxed(mp->p->status, Pgcstop);
  sched.stopwait--;
  stopsyscalls();
  while (p* pp = pidleget()) {
    store_relaxed(pp->status, Pgcstop);
    sched.stopwait--;
  }
  bool wait = sched.stopwait > 0;
  unlock(&sched.lock);
  // First politely, then by signal: most of those who run are in the runtime, or will soon be, and a goroutine that keeps
  // its P need not be frozen (proc_freeze.cc). A signal may come while its receiver is pinned, so it is repeated. A P that
  // the handler let go of is in Psyscall and has nobody to stop it but us; the handler ends our sleep, but not by the note.
  for (int tries = 0; wait; tries++) {
    if (notetsleeponce(&sched.stopnote, tries == 0 ? 20'000 : 100'000)) {
      noteclear(&sched.stopnote);
      break;
    }
    preemptall(true);
    lock(&sched.lock);
    stopsyscalls();
    bool done = sched.stopwait == 0;
    unlock(&sched.lock);
    if (done) {
      noteclear(&sched.stopnote);
      break;
    }
  }
  if (sched.stopwait != 0) throw_("stopTheWorld: not stopped");
  for (int64 i = 0; i < nallp(); i++)
    if (load_relaxed(allp.array[i]->status) != Pgcstop) throw_("stopTheWorld: a P is not stopped");
}

static int32 newprocs;

static void startTheWorldWithSema(void*) {
  if (netpollinited()) {
    gList l = netpoll(0);
    injectglist(&l);
  }
  lock(&sched.lock);
  int32 procs = newprocs != 0 ? newprocs : gomaxprocs;
  newprocs = 0;
  p* withwork = procresize(procs);
  sched.gcwaiting.store(0);
  wakesysmon();
  unlock(&sched.lock);
  while (withwork != nullptr) {
    p* pp = withwork;
    withwork = pp->link;
    pp->link = nullptr;
    if (m* mp = pp->m; mp != nullptr) {
      store_relaxed(pp->m, nullptr);
      if (mp->nextp != nullptr) throw_("startTheWorld: the M has a P");
      __atomic_store_n(&mp->nextp, pp, __ATOMIC_RELEASE);
      notewakeup(&mp->park);
    } else {
      newm(nullptr, pp, -1);
    }
  }
  // Somebody may have queued a goroutine while no P could be woken.
  wakep();
}

// Stops all Ps but the caller's, which must be a goroutine; it stays pinned to its M until startTheWorld.
static m* stopTheWorld(const char* reason) {
  mutexlockas(&worldsema, waitReasonSyncMutexLock, &worldsema);
  for (;;) {
    m* mp = acquirem();
    if (mp->p != nullptr) {
      mp->preemptoff = reason;
      if (tracing()) traceSTWStart(reason);
      systemstack(stopTheWorldWithSema, nullptr);
      return mp;
    }
    releasem(mp);
    entry();
  }
}

static void startTheWorld(m* mp) {
  systemstack(startTheWorldWithSema, nullptr);
  if (tracing()) traceSTWDone();
  mp->preemptoff = nullptr;
  releasem(mp);
  mutexunlock1(&worldsema);
}

void withworldstopped(const char* reason, void (*fn)(void*), void* arg) {
  entry();
  m* mp = stopTheWorld(reason);
  systemstack(fn, arg);
  startTheWorld(mp);
}

// ---- the number of Ps

// All that pp has goes to others: it will not run again unless the number grows.
static void destroy(p* pp) {
  bool inherit;
  // To the head of the global queue, last first, so that their order stays.
  g* first = nullptr;
  g* last = nullptr;
  while (g* gp = runqget(pp, &inherit)) {
    gp->schedlink = nullptr;
    if (last != nullptr)
      last->schedlink = gp;
    else
      first = gp;
    last = gp;
    sched.runqsize.add(1);
  }
  if (first != nullptr) {
    last->schedlink = sched.runq.head;
    if (sched.runq.tail == nullptr) sched.runq.tail = last;
    sched.runq.head = first;
  }
  movetimers(getg()->m->p, pp);
  mask_clear(timerpMask, pp->id);
  mask_set(idlepMask, pp->id);
  gfpurge(pp);
  wbBufFlush(pp, &pp->gcw);
  pp->gcw.dispose();
  while (sudog* s = pp->sudogcache.head) {
    pp->sudogcache.head = s->next;
    rawfree(s);
  }
  pp->sudogcache.n = 0;
  freemcache(pp->mcache);
  store_relaxed(pp->mcache, nullptr);
  store_relaxed(pp->status, Pdead);
}

// As many Ps of those that were asked for as there can be.
int32 mostprocs(int32 asked) {
  if (asked <= MaxGomaxprocs) return asked;
  print("runtime: GOMAXPROCS ", asked, " is more than ", MaxGomaxprocs, ": there will be ", MaxGomaxprocs, "\n");
  return MaxGomaxprocs;
}

// Sets the number of Ps. At boot, or with the world stopped and sched.lock held. Every P but the caller's becomes idle;
// returns, linked, those that have goroutines to run, each with an idle M in its m if there is one.
p* procresize(int32 nprocs) {
  int32 old = gomaxprocs;
  if (nprocs <= 0 || nprocs > MaxGomaxprocs) throw_("procresize: invalid number of Ps");
  int64 now = nanotime();
  if (sched.procresizetime != 0) sched.totaltime += int64(old) * (now - sched.procresizetime);
  sched.procresizetime = now;
  // Readers walk allp without a lock: it never moves, a P is there before len says so, and Ps are never freed.
  if (allp.array == nullptr) {
    allp.array = static_cast<p**>(persistentalloc(sizeof(p*) * MaxGomaxprocs, 64, "p*", sizeof(p*)));
    allp.cap = MaxGomaxprocs;
  }
  for (int32 i = 0; i < nprocs; i++) {
    p* pp = allp.array[i];
    if (pp == nullptr) {
      pp = static_cast<p*>(persistentalloc(sizeof(p), 64, "p"));
      pp->id = i;
      runtimers_init(pp);
      allp.array[i] = pp;
    }
    if (i >= old) store_relaxed(pp->status, Pgcstop);
    if (pp->mcache == nullptr) store_relaxed(pp->mcache, allocmcache());
  }
  if (nprocs > allp.len) __atomic_store_n(&allp.len, int64(nprocs), __ATOMIC_RELEASE);

  m* mp = getg()->m;
  if (mp->p != nullptr && mp->p->id < nprocs) {
    store_relaxed(mp->p->status, Prunning);
  } else {
    if (mp->p != nullptr) {
      store_relaxed(mp->p->m, nullptr);
      mp->p = nullptr;
    }
    p* first = allp.array[0];
    store_relaxed(first->m, nullptr);
    store_relaxed(first->status, Pidle);
    acquirep(first);
  }
  mask_set(timerpMask, mp->p->id);
  mask_clear(idlepMask, mp->p->id);
  for (int32 i = nprocs; i < old; i++) destroy(allp.array[i]);
  if (nprocs < allp.len) __atomic_store_n(&allp.len, int64(nprocs), __ATOMIC_RELEASE);
  __atomic_store_n(&gomaxprocs, nprocs, __ATOMIC_RELAXED);

  p* withwork = nullptr;
  for (int32 i = nprocs - 1; i >= 0; i--) {
    p* pp = allp.array[i];
    if (pp == mp->p) continue;
    store_relaxed(pp->status, Pidle);
    if (runqempty(pp)) {
      pidleput(pp);
    } else {
      mask_set(timerpMask, i);
      __atomic_store_n(&pp->m, midleget(), __ATOMIC_RELEASE);
      pp->link = withwork;
      withwork = pp;
    }
  }
  return withwork;
}

namespace {
// A call of gomaxprocs from a thread that is no goroutine; shared with the goroutine that makes it.
struct procscall {
  int32 n, result;
  taskState done;
  void drop() {
    if (done.refs.add(-1, __ATOMIC_ACQ_REL) == 0) rawfree(this);
  }
};
}  // namespace

static void procsentry(void* arg) {
  auto* c = static_cast<procscall*>(arg);
  c->result = procs(c->n);
  taskdone(&c->done);
  c->drop();
}

int32 procs(int32 n) {
  entry();
  n = mostprocs(n);
  if (n <= 0 || n == load_relaxed(gomaxprocs) || load_relaxed(gomaxprocs) == 0) return load_relaxed(gomaxprocs);
  if (getg() == nullptr) {
    // A thread that is no goroutine has no P to keep: one does it for it.
    auto* c = static_cast<procscall*>(rawalloc(sizeof(procscall)));
    c->n = n;
    c->done.refs.store(2);
    newproc(procsentry, c, uintptr(procsentry), uintptr(__builtin_return_address(0)), "gomaxprocs", 10, 0);
    taskwait(&c->done);
    int32 old = c->result;
    c->drop();
    return old;
  }
  m* mp = stopTheWorld("GOMAXPROCS");
  int32 old = gomaxprocs;
  if (n != old) sched.gomaxprocschanged++;
  newprocs = n;
  startTheWorld(mp);
  return old;
}

}  // namespace vitrine::rt
