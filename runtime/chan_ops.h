// chan_ops.h: what chan.cc and select.cc do with a channel whose lock they hold. The rules are in chan.cc's and
// select.cc's head comments.
#pragma once
#include "include/vitrine/chan.h"
#include "waitq.h"

namespace vitrine::rt {

inline void* chanbuf(hchan* c, uint64 i) { return static_cast<char*>(c->buf) + i * c->elemsize; }

inline void setqcount(hchan* c, uint64 n) { __atomic_store_n(&c->qcount, n, __ATOMIC_RELAXED); }

inline void destroyelem(const chantype* t, void* p) {
  if (t->destroy != nullptr) t->destroy(p);
}

// Constructs *dst from *src; *src is still to be destroyed, by whoever owns it.
inline void moveelem(const chantype* t, void* dst, void* src) {
  if (t->move != nullptr)
    t->move(dst, src);
  else if (__builtin_expect(load_relaxed(writeBarrier) != 0, 0))
    chanmemmove(t, dst, src);
  else if (t->size == 8)
    __builtin_memcpy(dst, src, 8);
  else
    __builtin_memcpy(dst, src, t->size);
}

inline uint64 nextx(hchan* c, uint64 i) { return i + 1 == c->dataqsiz ? 0 : i + 1; }

inline void bufput(hchan* c, void* elem) {
  moveelem(c->elemtype, chanbuf(c, c->sendx), elem);
  c->sendx = nextx(c, c->sendx);
  setqcount(c, c->qcount + 1);
}

inline void bufget(hchan* c, void* elem) {
  void* slot = chanbuf(c, c->recvx);
  moveelem(c->elemtype, elem, slot);
  destroyelem(c->elemtype, slot);
  c->recvx = nextx(c, c->recvx);
  setqcount(c, c->qcount - 1);
}

// The looks without the lock: each true of some moment since the caller's call began.
inline bool isclosed(const hchan* c) { return __atomic_load_n(&c->closed, __ATOMIC_ACQUIRE) != 0; }

// Whether a send would wait. No: there is room, or somebody is queued, who may be through with his select.
inline bool full(const hchan* c) {
  if (c->dataqsiz == 0) return __atomic_load_n(&c->recvq.first, __ATOMIC_ACQUIRE) == nullptr;
  return __atomic_load_n(&c->qcount, __ATOMIC_ACQUIRE) == c->dataqsiz;
}

// Whether a receive would wait, were the channel open.
inline bool empty(const hchan* c) {
  if (c->dataqsiz == 0) return __atomic_load_n(&c->sendq.first, __ATOMIC_ACQUIRE) == nullptr;
  return __atomic_load_n(&c->qcount, __ATOMIC_ACQUIRE) == 0;
}

// g.selectDone is the number of the g's present select, in the upper 31 bits, and bit 0: it is won. True: we have won
// it, for the sudog that we hold, and ready its g. acq_rel: pairs with the store by the g, and orders the winners.
inline bool winselect(g* gp) {
  uint32 v = gp->selectDone.load(__ATOMIC_RELAXED);
  return (v & 1) == 0 && gp->selectDone.cas(v, v | 1, __ATOMIC_ACQ_REL);
}

// The first on q whom the caller may complete and has to ready; he finds out from g.param by which sudog.
inline sudog* chandequeue(waitq* q) {
  while (sudog* sg = waitq_dequeue(q)) {
    if (sg->isSelect != 0 && !winselect(sg->g)) continue;
    sg->g->param = sg;
    return sg;
  }
  return nullptr;
}

// Sends or receives if that needs no waiting, else chanWouldBlock and nothing done. *wake: whom to ready when the lock
// is released; stays as it is when there is nobody.
inline chanresult sendlocked(hchan* c, void* elem, g** wake) {
  if (c->closed != 0) return chanClosed;
  if (sudog* sg = chandequeue(&c->recvq)) {
    moveelem(c->elemtype, sg->elem, elem);
    sg->success = 1;
    *wake = sg->g;
    return chanOk;
  }
  if (c->qcount == c->dataqsiz) return chanWouldBlock;
  bufput(c, elem);
  return chanOk;
}

inline chanresult recvlocked(hchan* c, void* elem, g** wake) {
  if (sudog* sg = chandequeue(&c->sendq)) {
    // It is on the stack of a goroutine that is parked, and is not there any more when that stack is scanned.
    gcshadememory(sg->elem, c->elemsize);
    if (c->dataqsiz == 0) {
      moveelem(c->elemtype, elem, sg->elem);
    } else {
      bufget(c, elem);
      bufput(c, sg->elem);
    }
    sg->success = 1;
    *wake = sg->g;
    return chanOk;
  }
  if (c->qcount > 0) {
    bufget(c, elem);
    return chanOk;
  }
  return c->closed != 0 ? chanClosed : chanWouldBlock;
}

}  // namespace vitrine::rt
