// syncwait.h: what the primitives of sync*.cc share.
#pragma once
#include "waitq.h"

extern "C" {
__attribute__((weak)) void __tsan_mutex_pre_lock(void* mu, unsigned flags);
}

namespace vitrine::rt {

// sanitize.cc: telling ThreadSanitizer who holds a vitrine::mutex or rw_mutex, so that its reports name it. `mu` is the
// address that the user sees. Around each locking, and before each unlocking, in the functions that the user calls;
// what the runtime itself locks (mutexlockas, mutexunlock1) it need not know. The values are TSan's flags.
enum class lockkind : uint32 { write = 0, read = 1 << 3, trywrite = 1 << 4, tryread = 1 << 3 | 1 << 4 };
void san_locking_slow(void* mu, lockkind kind, void* pc);
void san_locked_slow(void* mu, lockkind kind, void* pc);
void san_unlocking_slow(void* mu, lockkind kind, void* pc);
inline __attribute__((always_inline)) bool san_locks() { return __builtin_expect(__tsan_mutex_pre_lock != nullptr, 0); }
// lock(mu), with TSan told before and after; a function apart, so that without TSan a locking keeps no registers for
// it.
template <auto lock, class T>
VITRINE_NOINLINE void lock_told(T* mu, lockkind kind, void* pc) {
  san_locking_slow(mu, kind, pc);
  lock(mu);
  san_locked_slow(mu, kind, pc);
}
template <auto lock, class T>
inline __attribute__((always_inline)) void lock_and_tell(T* mu, lockkind kind) {
  if (san_locks())
    lock_told<lock>(mu, kind, __builtin_return_address(0));
  else
    lock(mu);
}
inline __attribute__((always_inline)) void san_locked(void* mu, lockkind kind) {
  if (san_locks()) san_locked_slow(mu, kind, __builtin_return_address(0));
}
// Of what is not locked the runtime says so itself, so TSan is not told.
inline __attribute__((always_inline)) void san_unlocking(void* mu, lockkind kind) {
  if (san_locks()) san_unlocking_slow(mu, kind, __builtin_return_address(0));
}

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
bool mutextrylock1(syncMutex* mu);
// mutexunlock without entry(): the caller may hold a lock of the runtime.
void mutexunlock1(syncMutex* mu);

// Who calls, for an `owner` field.
inline uint64 ownerid() {
  g* gp = getg();
  return __builtin_expect(gp != nullptr, 1) ? gp->goid : callergoid();
}

}  // namespace vitrine::rt
