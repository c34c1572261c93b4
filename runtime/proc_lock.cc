// proc_lock.cc: goroutines that ask the scheduler to leave something as it is: the thread they run on, or the P.
// Follows Go's LockOSThread; how locked goroutines are scheduled is in proc_m.cc (stoplockedm, startlockedm).
//
// g.lockedm and m.lockedg point at each other while lockedExt (locks that the program holds) or lockedInt (the
// runtime's own) is not 0. Only the goroutine itself, on that M, changes them.
#include "include/vitrine/detail/rt.h"
#include "proc.h"

namespace vitrine::rt {

static void dolockOSThread(g* gp) {
  store_relaxed(gp->m->lockedg, gp);
  store_relaxed(gp->lockedm, gp->m);
}

static void dounlockOSThread(g* gp) {
  if (gp->m->lockedInt != 0 || gp->m->lockedExt != 0) return;
  store_relaxed(gp->m->lockedg, nullptr);
  store_relaxed(gp->lockedm, nullptr);
}

void lockOSThread() {
  g* gp = getg();
  gp->m->lockedInt++;
  dolockOSThread(gp);
}

void unlockOSThread() {
  g* gp = getg();
  if (gp->m->lockedInt == 0) throw_("unlockOSThread: not locked");
  gp->m->lockedInt--;
  dounlockOSThread(gp);
}

void LockOSThread() {
  entry();
  g* gp = curgoroutine();
  if (gp == nullptr) return;  // a thread that is no M has itself
  startTemplateThread();      // while this thread is still as the others
  if (++gp->m->lockedExt <= 0) fatal("os_thread_lock: nested too deeply");
  dolockOSThread(gp);
}

void UnlockOSThread() {
  entry();
  g* gp = curgoroutine();
  if (gp == nullptr) return;
  if (gp->m->lockedExt == 0 || gp->lockedm != gp->m) fatal("os_thread_lock: unlocked on another goroutine");
  gp->m->lockedExt--;
  dounlockOSThread(gp);
}

void disablepreempt() {
  entry();
  g* gp = curgoroutine();
  if (gp == nullptr) return;
  if (gp->preemptoff == UINT8_MAX) fatal("no_preempt: nested too deeply");
  gp->preemptoff++;
}

void enablepreempt() {
  g* gp = curgoroutine();
  if (gp == nullptr) return;
  if (gp->preemptoff == 0) fatal("no_preempt: ended on another goroutine");
  // A request that came meanwhile was put off.
  if (--gp->preemptoff == 0 && load_relaxed(gp->preempt) != 0) store_relaxed(gp->stackguard0, stackPreempt);
  entry();
}

}  // namespace vitrine::rt
