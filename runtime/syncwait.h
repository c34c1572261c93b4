// syncwait.h: what the primitives of sync*.cc share.
#pragma once
#include "waitq.h"

namespace vitrine::rt {

// A wait with a timeout; on the waiter's stack. sync_timed.cc has the protocol.
struct timedwait {
  timer t;
  mutex* lock;  // guards the queue, sg->success, expired
  waitq* q;
  sudog* sg;                // set sg->success when taking it off the queue
  void (*dropped)(void*);   // called under lock, when sg was taken off the queue because time was over; may be null
  void* object;             // its argument, and the park's waitobject
  bool expired;             // the timeout won
  atomic<uint32> finished;  // the timeout came too late, and no longer looks at this
};

// As goparkunlock, for a waiter that has just queued sg under tw->lock, until tw->t.when. True: somebody took sg off
// the queue. False: time was over first, and sg is off the queue.
bool parktimed(timedwait* tw, waitReason reason);

// sync.cc: mutexlock without entry(), shown as another kind of wait: the mutex is a part of `object`.
void mutexlockas(syncMutex* mu, waitReason reason, void* object);
// mutexunlock without entry(): the caller may hold a lock of the runtime.
void mutexunlock1(syncMutex* mu);

// Who calls, for an `owner` field.
inline uint64 ownerid() {
  g* gp = getg();
  return __builtin_expect(gp != nullptr, 1) ? gp->goid : callergoid();
}

}  // namespace vitrine::rt
