// lock_futex.cc: the runtime's own lock and one-shot note, both on a futex word. They block the thread (the M), never
// the goroutine, and so are held only for short, bounded work. Follows Go's lock_futex.go.
//
// mutex.key: 0 free, 1 held, 2 held and somebody may sleep. lock() spins briefly, then sets 2 and sleeps while it is 2;
// unlock() exchanges 0 in and wakes one sleeper if it saw 2. The acquire exchange in lock pairs with the release
// exchange in unlock.
//
// note.key: 0 not yet, 1 woken. notewakeup's release store pairs with notesleep's acquire load. Unlike Go: a second
// notewakeup is allowed and does nothing, because run()'s end wakes m0 without knowing who else might.
#include "runtime.h"

namespace vitrine::rt {

static int32 activeSpin() { return ncpu > 1 ? 4 : 0; }

void lock(mutex* l) {
  if (g* gp = getg()) gp->m->locks++;
  if (l->key.cas(0, 1, __ATOMIC_ACQUIRE)) return;
  uint32 wait = 1;  // becomes 2 once we have slept: others may sleep too, and the wake must be handed on
  for (;;) {
    for (int32 i = 0, n = activeSpin(); i < n; i++) {
      if (l->key.load(__ATOMIC_RELAXED) == 0 && l->key.cas(0, wait, __ATOMIC_ACQUIRE)) return;
      procyield(30);
    }
    if (l->key.xchg(2, __ATOMIC_ACQUIRE) == 0) return;
    wait = 2;
    futexsleep(&l->key, 2, -1);
  }
}

void unlock(mutex* l) {
  uint32 v = l->key.xchg(0, __ATOMIC_RELEASE);
  if (v == 0) throw_("unlock of unlocked lock");
  if (v == 2) futexwakeup(&l->key, 1);
  if (g* gp = getg()) {
    m* mp = gp->m;
    unpin(mp, gp);
    if (mp->locks < 0) throw_("runtime: lock count below zero");
  }
}

void assertLockHeld(mutex* l) {
  if (l->key.load(__ATOMIC_RELAXED) == 0) throw_("a lock that must be held is not");
}

void noteclear(note* n) { n->key.store(0, __ATOMIC_RELEASE); }

void notewakeup(note* n) {
  if (n->key.xchg(1, __ATOMIC_RELEASE) == 0) futexwakeup(&n->key, 1);
}

void notesleep(note* n) { notetsleep(n, -1); }

static bool sleepon(note* n, int64 ns, bool once) {
  g* gp = getg();
  if (gp != nullptr && gp != gp->m->g0) throw_("notesleep not on g0");
  if (n->key.load(__ATOMIC_ACQUIRE) != 0) return true;
  int64 deadline = ns < 0 ? 0 : timeafter(ns);
  if (gp != nullptr) gp->m->blocked = 1;
  bool woken = true;
  while (n->key.load(__ATOMIC_ACQUIRE) == 0) {
    futexsleep(&n->key, 0, ns);
    if (n->key.load(__ATOMIC_ACQUIRE) != 0) break;
    if (ns >= 0) {
      ns = deadline - nanotime();
      if (ns <= 0 || once) {
        woken = false;
        break;
      }
    }
  }
  if (gp != nullptr) gp->m->blocked = 0;
  return woken;
}

bool notetsleep(note* n, int64 ns) { return sleepon(n, ns, false); }
bool notetsleeponce(note* n, int64 ns) { return sleepon(n, ns, true); }

}  // namespace vitrine::rt
