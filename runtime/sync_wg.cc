// sync_wg.cc: the wait group. Follows Go's sync.WaitGroup.
//
// state is counter << 32 | waiters. add is a CAS. Only the step to counter 0 with waiters takes the lock,
// under which waiters are added too; so the queue it takes is exactly who waited for that zero, and the group can be
// used again at once, by anybody. Unlike Go: that makes "reused before previous Wait has returned" impossible.
#include "include/vitrine/detail/rt.h"
#include "waitq.h"

namespace vitrine::rt {

static int32 wgcounter(uint64 state) { return int32(uint32(state >> 32)); }
static uint32 wgwaiters(uint64 state) { return uint32(state); }

// The last step to zero with goroutines waiting, and any step that became another one meanwhile.
VITRINE_NOINLINE static void wgaddslow(syncWaitGroup* wg, int64 delta) {
  lock(&wg->lock);
  sudog* all = nullptr;
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_RELAXED);
    int64 counter = wgcounter(old) + delta;
    if (counter < 0) fatal("sync: negative WaitGroup counter");
    uint64 now = counter == 0 ? 0 : uint64(counter) << 32 | wgwaiters(old);
    if (!wg->state.cas(old, now, __ATOMIC_ACQ_REL)) continue;
    if (counter == 0) all = waitq_takeall(&wg->waitq);
    break;
  }
  unlock(&wg->lock);
  waitq_readyall(all);
}

void wgadd(syncWaitGroup* wg, int64 delta) {
  entry();
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_RELAXED);
    int64 counter = wgcounter(old) + delta;
    if (counter < 0) fatal("sync: negative WaitGroup counter");
    if (counter > INT32_MAX) fatal("sync: WaitGroup counter too large");
    if (counter == 0 && wgwaiters(old) != 0) return wgaddslow(wg, delta);
    // Release: what was done before done() is seen after wait(); acquire: so is what other calls of done() released.
    if (wg->state.cas(old, uint64(counter) << 32 | wgwaiters(old), __ATOMIC_ACQ_REL)) return;
  }
}

void wgwait(syncWaitGroup* wg) {
  entry();
  if (wgcounter(wg->state.load(__ATOMIC_ACQUIRE)) == 0) return;
  g* gp = parkable("sync.WaitGroup.Wait");
  sudog* sg = acquireSudog();
  sg->g = gp;
  lock(&wg->lock);
  for (;;) {
    uint64 old = wg->state.load(__ATOMIC_ACQUIRE);
    if (wgcounter(old) == 0) {
      unlock(&wg->lock);
      releaseSudog(sg);
      return;
    }
    if (wg->state.cas(old, old + 1, __ATOMIC_ACQUIRE)) break;
  }
  waitq_enqueue(&wg->waitq, sg);
  gp->waiting = sg;
  goparkunlock(&wg->lock, waitReasonSyncWaitGroupWait, wg);
  gp->waiting = nullptr;
  releaseSudog(sg);
}

}  // namespace vitrine::rt
