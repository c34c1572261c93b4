// sync_rw.cc: the readers-writer mutex. Follows Go's sync.RWMutex in its rules: a writer that waits stops new readers,
// and a writer that leaves lets in all readers that wait, before the next writer. So neither side can starve: between
// two writers every reader that was queued has its turn, and a writer waits for the readers of one such turn.
//
// state: the number of readers in its high half, rwWriter and rwQueued in the low one (shapes.h).
//   lock_shared   adds a reader. If rwWriter was not set that is all: one atomic. Else, under rw->lock:
//     – rwWriter has gone meanwhile: it is in, and was counted all along;
//     – else it takes its count back, queues in readq with rwQueued set, and parks. If its count was the last that the
//       writer in writeq waited for, it lets that one in.
//   unlock_shared subtracts one. The last reader that sees rwWriter lets in the writer that waits in writeq, if any.
//   lock          takes rw->writers, an ordinary mutex, so writers compete as they do for a mutex: fast, and fair
//     after a millisecond. Then it adds rwWriter. If there are readers it parks in writeq until they have left.
//   unlock        clears rwWriter — a CAS if nothing else is in the word — and unlocks rw->writers. Else, under
//     rw->lock, in one step, it clears the flags and adds the number of queued readers, which are in when they are
//     readied.
//
// Why nobody sleeps for good. The writer sets rwWriter, and under rw->lock looks at the readers once more before it
// queues; a reader that leaves subtracts itself and then looks for rwWriter, and goes to rw->lock to find the writer.
// Both are read-modify-writes of one word, so one sees the other. A reader queues only under rw->lock with rwWriter
// seen and rwQueued set under that same lock; from then on the writer's CAS fails and it takes the lock. rwWriter goes
// away under rw->lock whenever there is any reader in the word, also one that is only arriving.
//
// The count that an arriving reader takes back makes try_lock fail and writers wait for a moment, never the opposite.
//
// Unlike Go: the reader count is not lowered by a constant to announce a writer, so the number of holders can be read
// off the word at any time.
#include "include/vitrine/detail/rt.h"
#include "syncwait.h"

namespace vitrine::rt {

static uint32 readers(uint64 state) { return uint32(state >> 32); }

// If no reader is left, takes the writer off writeq that waits for that. rw->lock is held.
static g* nextwriter(syncRWMutex* rw, uint64 state) {
  if (readers(state) != 0) return nullptr;
  sudog* sg = waitq_dequeue(&rw->writeq);
  return sg != nullptr ? sg->g : nullptr;
}

VITRINE_NOINLINE static void rlockslow(syncRWMutex* rw) {
  lock(&rw->lock);
  if ((rw->state.load(__ATOMIC_ACQUIRE) & rwWriter) == 0) {
    unlock(&rw->lock);
    return;
  }
  g* gp = parkable("sync.RWMutex.RLock");
  sudog* sg = acquireSudog();
  sg->g = gp;
  uint64 queued = rw->readq.first == nullptr ? uint64(rwQueued) : 0;
  waitq_enqueue(&rw->readq, sg);
  g* writer = nextwriter(rw, rw->state.add(queued - rwReader, __ATOMIC_ACQ_REL));
  if (writer != nullptr) goready(writer);
  gp->waiting = sg;
  goparkunlock(&rw->lock, waitReasonSyncRWMutexRLock, rw);
  gp->waiting = nullptr;
  releaseSudog(sg);
}

static void rlock(syncRWMutex* rw) {
  if ((rw->state.add(rwReader, __ATOMIC_ACQUIRE) & rwWriter) != 0) rlockslow(rw);
}

void rwrlock(syncRWMutex* rw) {
  entry();
  lock_and_tell<rlock>(rw, lockkind::read);
}

bool rwtryrlock(syncRWMutex* rw) {
  entry();
  uint64 old = rw->state.load(__ATOMIC_RELAXED);
  while ((old & rwWriter) == 0) {
    if (rw->state.cas(old, old + rwReader, __ATOMIC_ACQUIRE)) {
      san_locked(rw, lockkind::tryread);
      return true;
    }
    old = rw->state.load(__ATOMIC_RELAXED);
  }
  return false;
}

VITRINE_NOINLINE static void lastreader(syncRWMutex* rw) {
  lock(&rw->lock);
  g* writer = nextwriter(rw, rw->state.load(__ATOMIC_ACQUIRE));
  unlock(&rw->lock);
  if (writer != nullptr) goready(writer);
}

void rwrunlock(syncRWMutex* rw) {
  entry();
  if (san_locks() && readers(rw->state.load(__ATOMIC_RELAXED)) != 0) san_unlocking(rw, lockkind::read);
  // Acquire: the last reader passes on to the writer what all readers have released.
  uint64 now = rw->state.add(-rwReader, __ATOMIC_ACQ_REL);
  if (readers(now) == UINT32_MAX) fatal("sync: unlock_shared of an rw_mutex that nobody reads");
  if (readers(now) == 0 && (now & rwWriter) != 0) lastreader(rw);
}

VITRINE_NOINLINE static void awaitreaders(syncRWMutex* rw) {
  if (ncpu > 1 && gomaxprocs > 1) {
    for (int i = 0; i < 4; i++) {
      procyield(30);
      if (readers(rw->state.load(__ATOMIC_ACQUIRE)) == 0) return;
    }
  }
  lock(&rw->lock);
  if (readers(rw->state.load(__ATOMIC_ACQUIRE)) == 0) {
    unlock(&rw->lock);
    return;
  }
  g* gp = parkable("sync.RWMutex.Lock");
  sudog* sg = acquireSudog();
  sg->g = gp;
  waitq_enqueue(&rw->writeq, sg);
  gp->waiting = sg;
  goparkunlock(&rw->lock, waitReasonSyncRWMutexLock, rw);
  gp->waiting = nullptr;
  releaseSudog(sg);
}

static void wlock(syncRWMutex* rw) {
  mutexlockas(&rw->writers, waitReasonSyncRWMutexLock, rw);
  if (readers(rw->state.add(rwWriter, __ATOMIC_ACQUIRE)) != 0) awaitreaders(rw);
  rw->owner = rw->writers.owner;
}

void rwlock(syncRWMutex* rw) {
  entry();
  lock_and_tell<wlock>(rw, lockkind::write);
}

bool rwtrylock(syncRWMutex* rw) {
  entry();
  if (!mutextrylock1(&rw->writers)) return false;
  if (rw->state.cas(0, rwWriter, __ATOMIC_ACQUIRE)) {
    rw->owner = rw->writers.owner;
    san_locked(rw, lockkind::trywrite);
    return true;
  }
  mutexunlock1(&rw->writers);
  return false;
}

VITRINE_NOINLINE static void letreadersin(syncRWMutex* rw) {
  lock(&rw->lock);
  uint64 flags = rw->readq.first != nullptr ? rwWriter | rwQueued : rwWriter;
  uint64 n = 0;
  sudog* all = waitq_takeall(&rw->readq);
  for (sudog* sg = all; sg != nullptr; sg = sg->next) n++;
  rw->state.add(n * rwReader - flags, __ATOMIC_RELEASE);
  unlock(&rw->lock);
  waitq_readyall(all);
}

void rwunlock(syncRWMutex* rw) {
  entry();
  if ((rw->state.load(__ATOMIC_RELAXED) & rwWriter) == 0) fatal("sync: unlock of unlocked rw_mutex");
  san_unlocking(rw, lockkind::write);
  rw->owner = 0;
  if (!rw->state.cas(rwWriter, 0, __ATOMIC_RELEASE)) letreadersin(rw);
  mutexunlock1(&rw->writers);
}

}  // namespace vitrine::rt
