// task.cc: the entries by which user code starts goroutines and speaks of the current one, and the join of a task.
//
// A task's goroutine and its handle share a taskState, counted, so that either may go first. Joining: under ts->lock
// the joiner either finds done set or queues itself; taskdone sets done and takes the queue under the same lock, so one
// of the two sees the other. The release store of done pairs with the acquire load at the top of taskwait, which is how
// a joiner that comes late sees the result.
#include "include/vitrine/detail/rt.h"
#include "waitq.h"

namespace vitrine::rt {

// How many bytes of a name to keep: at most gnamelen - 1, and not the first bytes of a UTF-8 character without its
// last.
static uint64 keptname(const char* name, uint64 len) {
  if (len < uint64(gnamelen)) return len;
  uint64 n = gnamelen - 1;
  while (n > 0 && (uint8(name[n]) & 0xc0) == 0x80) n--;  // name[n], the first byte dropped, continues a character
  return n;
}

VITRINE_NOINLINE uint64 startgoroutine(void (*fn)(void*), void* arg, uintptr startpc, const char* name, uint64 namelen,
                                       uint64 stacksize) {
  entry();
  auto callerpc = reinterpret_cast<uintptr>(__builtin_return_address(0));
  return newproc(fn, arg, startpc, callerpc, name, keptname(name, namelen), stacksize);
}

void checkpoint() { entry(); }

uint64 goid() {
  g* gp = curgoroutine();
  return gp == nullptr ? 0 : gp->goid;
}

void setname(const char* name, uint64 namelen) {
  g* gp = curgoroutine();
  if (gp == nullptr) return;
  uint64 n = keptname(name, namelen);
  // By bytes: who lists goroutines may be looking, and may see a part of it.
  for (uintptr i = 0; i < sizeof gp->name; i++) store_relaxed(gp->name[i], i < n ? name[i] : 0);
  san_named(gp);
}

uint64 numgoroutine() { return uint64(gcount()); }

void taskwait(taskState* ts) {
  entry();
  if (ts->done.load(__ATOMIC_ACQUIRE) != 0) return;
  g* gp = parkable("task join");
  sudog* sg = acquireSudog();
  sg->g = gp;
  lock(&ts->lock);
  if (ts->done.load(__ATOMIC_ACQUIRE) != 0) {
    unlock(&ts->lock);
  } else {
    waitq_enqueue(&ts->waitq, sg);
    gp->waiting = sg;
    goparkunlock(&ts->lock, waitReasonTaskJoin, ts);
    gp->waiting = nullptr;
  }
  releaseSudog(sg);
}

// Of a task that goes. After run() its goroutine may be frozen for good.
void taskleave(taskState* ts) {
  if (sched.exiting.load(__ATOMIC_ACQUIRE) != 1) taskwait(ts);
}

void taskdone(taskState* ts) {
  entry();
  lock(&ts->lock);
  ts->done.store(1, __ATOMIC_RELEASE);
  sudog* all = waitq_takeall(&ts->waitq);
  unlock(&ts->lock);
  waitq_readyall(all);
}

}  // namespace vitrine::rt
