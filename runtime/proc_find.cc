// proc_find.cc: how an M finds a goroutine to run, and how it is woken when there is one. Follows Go's proc.go
// (findrunnable, wakep, resetspinning, injectglist).
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
// Fairness. Every fairTick-th time slice of a P looks at the global queue first, which goroutines that ready each other
// could keep waiting for ever. What a goroutine readies runs next in the same time slice (runnext), so a pair that
// talks to each other counts as one; sysmon asks whoever of them runs to yield when the slice is over.
//
// Timers and descriptors: an M about to sleep computes the earliest timer of all Ps. One M at a time — the one that
// exchanges sched.lastpoll to 0 — is the poller: it sleeps until then (pollUntil) in netpoll, or, as long as there is
// no network poller, on sched.pollnote; the others sleep on m.park. Who adds an earlier timer wakes the poller
// (wakePoller), or, if nobody polls, starts an M that will.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

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

static void becomeSpinning(m* mp) {
  mp->spinning = 1;
  sched.nmspinning.add(1);
  sched.needspinning.store(0);
}

// Takes goroutines whose waits netpoll has ended, from any thread: makes them runnable and sees to it that somebody
// runs them.
void injectglist(gList* l) {
  int32 n = 0;
  gQueue q{};
  while (g* gp = l->head) {
    l->head = gp->schedlink;
    gp->schedlink = nullptr;
    if (gp->isforeign) {
      foreignready(gp);
      continue;
    }
    if (tracing()) traceGoUnpark(gp);
    casgstatus(gp, Gwaiting, Grunnable);
    q.pushBack(gp);
    n++;
  }
  if (n == 0) return;
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  // Without a P everything goes to the global queue; with one, what idle Ps can start on goes there, the rest is ours.
  // One look: more may go idle at any moment.
  int32 idle = sched.npidle.load();
  int32 global = pp == nullptr || idle > n ? n : idle;
  if (global > 0) {
    lock(&sched.lock);
    for (int32 i = 0; i < global; i++) globrunqput(q.pop());
    unlock(&sched.lock);
    for (int32 i = 0; i < global && sched.npidle.load() != 0; i++) startm(nullptr, false);
  }
  while (g* gp = q.pop()) runqput(pp, gp, false);
  // Some may have been put where only a spinning M looks.
  wakep();
  releasem(mp);
}

// The first of l is for the caller to run, the others are injected.
static g* takefirst(gList* l) {
  g* gp = l->head;
  while (gp != nullptr && gp->isforeign) {
    l->head = gp->schedlink;
    gp->schedlink = nullptr;
    foreignready(gp);
    gp = l->head;
  }
  if (gp == nullptr) return nullptr;
  l->head = gp->schedlink;
  gp->schedlink = nullptr;
  injectglist(l);
  if (tracing()) traceGoUnpark(gp);
  casgstatus(gp, Gwaiting, Grunnable);
  return gp;
}

// One pass over the others, four tries, in random order; timers and runnext only on the last.
static g* stealWork(p* pp, int64* now, bool* ranTimer) {
  constexpr int tries = 4;
  for (int i = 0; i < tries; i++) {
    bool last = i == tries - 1;
    uint32 n = uint32(nallp());
    uint32 start = fastrandn(n);
    for (uint32 k = 0; k < n; k++) {
      uint32 id = (start + k) % n;
      p* victim = allp.array[id];
      if (sched.exiting.load(__ATOMIC_RELAXED)) stopforexit();
      if (sched.gcwaiting.load(__ATOMIC_RELAXED)) return nullptr;
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
  return nullptr;
}

// ---- the poller

static bool somebodyneedsapoller(int64 until) { return until != 0 || (netpollinited() && netpollWaiters.load() != 0); }

// The M has no P and nothing to do until `until` (0: no timer). Sleeps as the poller if nobody does yet; returns false
// if another M has that office, or there is nothing to poll for, and this one should stop. *l: goroutines whose
// descriptors became ready.
static bool pollsleep(int64 until, gList* l) {
  if (!somebodyneedsapoller(until)) return false;
  if (sched.lastpoll.xchg(0) == 0) {
    if (until != 0) wakePoller(until);
    return false;
  }
  sched.pollUntil.store(until != 0 ? until : INT64_MAX);
  // Once more, now that adders of timers can see that we poll: one that came before had nobody to wake.
  int64 t = timeSleepUntil();
  int64 now = nanotime();
  sched.lastnow.store(now, __ATOMIC_RELAXED);
  if (t != 0 && (until == 0 || t < until)) sched.pollUntil.store(until = t);
  // If the last timer went away meanwhile there is nothing to sleep for, and we look again.
  if (netpollinited()) {
    *l = netpoll(until == 0 ? -1 : t == 0 || until <= now ? 0 : until - now);
  } else {
    if (t != 0 && until > now) notetsleep(&sched.pollnote, until - now);
    noteclear(&sched.pollnote);
  }
  sched.pollUntil.store(0);
  now = nanotime();
  sched.lastnow.store(now, __ATOMIC_RELAXED);
  sched.lastpoll.store(now);
  return true;
}

void breakpoller() {
  if (netpollinited())
    netpollBreak();
  else
    notewakeup(&sched.pollnote);
}

void wakePoller(int64 when) {
  if (sched.lastpoll.load() == 0) {
    // 0: the poller is still on its way to sleep and has not published; it looks again after that, or wakes at once.
    int64 until = sched.pollUntil.load();
    if (until == 0 || until > when) breakpoller();
    return;
  }
  wakep();
}

// ---- the search

// Finds a goroutine to run; sleeps until there is one. On g0, with a P on entry and on return.
g* findrunnable(bool* inheritTime) {
  m* mp = getg()->m;
  *inheritTime = false;
top:
  p* pp = mp->p;
  if (sched.exiting.load(__ATOMIC_RELAXED)) stopforexit();
  if (sched.gcwaiting.load(__ATOMIC_RELAXED) != 0) {
    gcstopm();
    goto top;
  }
  int64 now = 0, pollUntil = 0;
  bool ran = false;
  if (pp->timers.len.load() != 0) now = checkTimers(pp, now, &pollUntil, &ran);
  if (__builtin_expect(gcBlackenEnabled.load(__ATOMIC_RELAXED) != 0, 0))
    if (g* gp = gcFindRunnableWorker(pp)) return gp;
  if (pp->schedtick % fairTick == 0 && sched.runqsize.load(__ATOMIC_RELAXED) > 0) {
    traceflush(mp);
    lock(&sched.lock);
    g* gp = globrunqget(pp, 1);
    unlock(&sched.lock);
    if (gp != nullptr) return gp;
  }
  if (g* gp = runqget(pp, inheritTime)) return gp;
  traceflush(mp);
  if (sched.runqsize.load(__ATOMIC_RELAXED) != 0) {
    lock(&sched.lock);
    g* gp = globrunqget(pp, 0);
    unlock(&sched.lock);
    if (gp != nullptr) return gp;
  }
  // Ready descriptors, before work is taken from others; not while somebody polls already.
  if (netpollinited() && netpollWaiters.load() > 0 && sched.lastpoll.load() != 0) {
    gList l = netpoll(0);
    if (g* gp = takefirst(&l)) return gp;
  }
  // Steal, but let at most half of the busy Ps' number spin: more only burn.
  if (mp->spinning || 2 * sched.nmspinning.load() < load_relaxed(gomaxprocs) - sched.npidle.load()) {
    if (!mp->spinning) becomeSpinning(mp);
    bool ranTimer = false;
    if (g* gp = stealWork(pp, &now, &ranTimer)) return gp;
    if (ranTimer) goto top;
  }
  if (gcBlackenEnabled.load(__ATOMIC_RELAXED) != 0)
    if (g* gp = gcFindIdleWorker(pp)) return gp;

  lock(&sched.lock);
  if (sched.gcwaiting.load() != 0) {
    unlock(&sched.lock);
    goto top;
  }
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
  for (int64 i = 0; !again && i < nallp(); i++)
    if (!mask_get(idlepMask, int32(i)) && !runqempty(allp.array[i])) again = true;
  if (gcBlackenEnabled.load() != 0 && gcMarkWorkAvailable(nullptr)) again = true;
  if (again && acquireidlep()) {
    if (wasSpinning) becomeSpinning(mp);
    goto top;
  }
  if (sched.exiting.load()) stopforexit();
  gList l{};
  if (pollsleep(timeSleepUntil(), &l)) {
    if (sched.exiting.load()) stopforexit();
    if (acquireidlep()) {
      if (g* gp = takefirst(&l)) {
        if (wasSpinning) becomeSpinning(mp);
        return gp;
      }
      becomeSpinning(mp);  // so that it looks at the timers of every P
      goto top;
    }
    injectglist(&l);
  }
  stopm();
  goto top;
}

}  // namespace vitrine::rt
