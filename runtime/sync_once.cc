// sync_once.cc: once. The template in sync.h runs the function between oncebegin and onceend.
//
// done is release-stored when the function has returned; the acquire load at the top of oncebegin is all that later
// calls do. Before that everything is under o->lock: who finds nobody running becomes the runner, others park, and are
// all woken at the end. If the function threw, the first of them to come becomes the next runner and the others queue
// again, as std::call_once has it. Unlike Go, where a panic counts as done.
//
// A runner that calls the same once again would wait for itself; that is known here, so it is said.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

bool oncebegin(syncOnce* o) {
  entry();
  for (;;) {
    if (o->done.load(__ATOMIC_ACQUIRE) != 0) return false;
    uint64 me = ownerid();
    lock(&o->lock);
    if (o->done.load(__ATOMIC_RELAXED) != 0) {
      unlock(&o->lock);
      return false;
    }
    if (o->running == 0) {
      o->running = 1;
      o->runner = me;
      unlock(&o->lock);
      return true;
    }
    if (o->runner == me && me != 0) {
      unlock(&o->lock);
      print("runtime: goroutine ", me, " calls a once from within the function that this once is running\n");
      fatal("sync: deadlock: once waits for itself");
    }
    g* gp = parkable("sync.Once.Do");
    sudog* sg = acquireSudog();
    sg->g = gp;
    waitq_enqueue(&o->waitq, sg);
    gp->waiting = sg;
    goparkunlock(&o->lock, waitReasonSyncOnceDo, o);
    gp->waiting = nullptr;
    releaseSudog(sg);
  }
}

void onceend(syncOnce* o, bool done) {
  entry();
  lock(&o->lock);
  o->running = 0;
  o->runner = 0;
  if (done) o->done.store(1, __ATOMIC_RELEASE);
  sudog* all = waitq_takeall(&o->waitq);
  unlock(&o->lock);
  waitq_readyall(all);
}

}  // namespace vitrine::rt
