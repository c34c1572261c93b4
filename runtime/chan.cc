// chan.cc: channels. Follows Go's chan.go.
//
// A channel (hchan) is a lock, a ring of dataqsiz elements of which qcount are used, and two queues of parked
// goroutines. Each parked goroutine is there by a sudog whose `elem` points into its own stack: at the value it wants
// to send, or at raw storage for the one it wants. Under the lock these hold:
//   (a) recvq is not empty  ⇒  qcount == 0 and sendq is empty
//   (b) sendq is not empty  ⇒  qcount == dataqsiz and recvq is empty
//   (c) closed              ⇒  both queues are empty
//
// A receive that has to wait, and its send:
//   1. The receiver takes the lock, finds neither element nor sender, queues its sudog, and parks; the lock is released
//      on g0, after its status is Gwaiting and its stack is no longer used (gopark's unlockf).
//   2. The sender takes the lock, dequeues the sudog, moves the element from its own stack to *elem on the receiver's —
//      nobody else may touch that stack while its owner is parked — and notes success in the sudog.
//   3. It unlocks, and only then readies the receiver: a goroutine that runs must never meet a lock that its waker
//   holds.
//   4. The receiver wakes up with its value in place, and does not touch the channel again. It cannot: the value may
//   have
//      been the sign to destroy the last handle. The same holds for a woken sender, and for the side that does the
//      waking after its unlock.
// A send that has to wait is the mirror image; when it waits at a full ring, the receiver takes the ring's first
// element and moves the sender's to the ring's end, so values stay in order.
//
// Without the lock: a try_ operation that must fail anyway fails without taking it. Its loads of `closed`, `qcount` and
// the queues' `first` are single words, each stored atomically under the lock.
//   * send: "not closed" is read first, then "full". A channel can go from open to closed between them, but a full one
//     seen after an open one means that there was a moment, at the first load, when it was open and could not be sent
//     to, or at the second, when it was closed already after having been so; failing is right for either moment. Both
//     loads are acquire, so the second is not done before the first.
//   * receive: "empty" is read first, then `closed` (acquire; pairs with the release store in closechan). If it is not
//     closed now, it was open and empty at the first load: would block. If it is closed, values may have come in
//     between the two loads, but none can come any more, so a second look at "empty" decides between closed and the
//     locked path.
//
// Unlike Go: there is no nil channel — a handle always has one — so nothing here waits for ever on purpose. Elements
// move by their move constructor, under the lock, hence noexcept. Handles are counted; a channel whose last handle goes
// while goroutines are still queued is left to them.
#include "include/vitrine/chan.h"

#include <stdexcept>

#include "waitq.h"

namespace vitrine {

chan_closed::~chan_closed() = default;
const char* chan_closed::what() const noexcept { return what_; }

namespace rt {

void panicchan(const char* what) { throw chan_closed(what); }
void panicchansize(std::size_t) { throw std::length_error("vitrine::chan: capacity too large"); }

static uint64 alignup(uint64 n, uint64 a) { return (n + a - 1) & ~(a - 1); }

hchan* makechan(const chantype* t, uint64 size) {
  // One block: the hchan, then the ring. rawalloc aligns to 16; a type that wants more gets slack to round up in.
  uint64 slack = t->align > 16 ? t->align : 0;
  auto* c = static_cast<hchan*>(rawalloc(alignup(sizeof(hchan), 16) + slack + size * t->size));
  uintptr buf = alignup(uintptr(c) + sizeof(hchan), t->align > 16 ? t->align : 16);
  c->buf = reinterpret_cast<void*>(buf);
  c->elemsize = t->size;
  c->elemtype = t;
  c->dataqsiz = size;
  c->refs.store(1, __ATOMIC_RELAXED);
  return c;
}

static void* chanbuf(hchan* c, uint64 i) { return static_cast<char*>(c->buf) + i * c->elemsize; }

static void setqcount(hchan* c, uint64 n) { __atomic_store_n(&c->qcount, n, __ATOMIC_RELAXED); }

static void destroyelem(const chantype* t, void* p) {
  if (t->destroy != nullptr) t->destroy(p);
}

// Constructs *dst from *src; *src is still to be destroyed, by whoever owns it.
static void moveelem(const chantype* t, void* dst, void* src) {
  if (t->move != nullptr)
    t->move(dst, src);
  else
    __builtin_memcpy(dst, src, t->size);
}

static uint64 nextx(hchan* c, uint64 i) { return i + 1 == c->dataqsiz ? 0 : i + 1; }

static void bufput(hchan* c, void* elem) {
  moveelem(c->elemtype, chanbuf(c, c->sendx), elem);
  c->sendx = nextx(c, c->sendx);
  setqcount(c, c->qcount + 1);
}

static void bufget(hchan* c, void* elem) {
  void* slot = chanbuf(c, c->recvx);
  moveelem(c->elemtype, elem, slot);
  destroyelem(c->elemtype, slot);
  c->recvx = nextx(c, c->recvx);
  setqcount(c, c->qcount - 1);
}

void chanretain(hchan* c) { c->refs.add(1, __ATOMIC_RELAXED); }

// The acquire-release decrement orders every use of the other handles before the end.
void chanrelease(hchan* c) {
  if (c->refs.add(-1, __ATOMIC_ACQ_REL) != 0) return;
  if (c->recvq.first != nullptr || c->sendq.first != nullptr) return;
  for (; c->qcount > 0; c->qcount--) {
    destroyelem(c->elemtype, chanbuf(c, c->recvx));
    c->recvx = nextx(c, c->recvx);
  }
  rawfree(c);
}

static bool isclosed(const hchan* c) { return __atomic_load_n(&c->closed, __ATOMIC_ACQUIRE) != 0; }

// Whether a send would wait. Without the lock: true of some moment since the call began.
static bool full(const hchan* c) {
  if (c->dataqsiz == 0) return __atomic_load_n(&c->recvq.first, __ATOMIC_ACQUIRE) == nullptr;
  return __atomic_load_n(&c->qcount, __ATOMIC_ACQUIRE) == c->dataqsiz;
}

// Whether a receive would wait, were the channel open. Without the lock, as full().
static bool empty(const hchan* c) {
  if (c->dataqsiz == 0) return __atomic_load_n(&c->sendq.first, __ATOMIC_ACQUIRE) == nullptr;
  return __atomic_load_n(&c->qcount, __ATOMIC_ACQUIRE) == 0;
}

// Queues gp, which is the caller, with elem, parks it and releases the lock; true: a partner took or filled *elem.
static bool chanpark(g* gp, hchan* c, waitq* q, void* elem, waitReason reason) {
  sudog* mysg = acquireSudog();
  mysg->g = gp;
  mysg->elem = elem;
  mysg->c = c;
  gp->waiting = mysg;
  waitq_enqueue(q, mysg);
  goparkunlock(&c->lock, reason, c);
  gp->waiting = nullptr;
  bool success = mysg->success != 0;
  releaseSudog(mysg);
  return success;
}

chanresult chansend(hchan* c, void* elem, bool block) {
  entry();
  if (!block && !isclosed(c) && full(c)) return chanWouldBlock;

  lock(&c->lock);
  if (c->closed != 0) {
    unlock(&c->lock);
    return chanClosed;
  }
  if (sudog* sg = waitq_dequeue(&c->recvq)) {
    moveelem(c->elemtype, sg->elem, elem);
    sg->success = 1;
    g* gp = sg->g;
    unlock(&c->lock);
    goready(gp);
    return chanOk;
  }
  if (c->qcount < c->dataqsiz) {
    bufput(c, elem);
    unlock(&c->lock);
    return chanOk;
  }
  if (!block) {
    unlock(&c->lock);
    return chanWouldBlock;
  }
  return chanpark(parkable("chan send"), c, &c->sendq, elem, waitReasonChanSend) ? chanOk : chanClosed;
}

chanresult chanrecv(hchan* c, void* elem, bool block) {
  entry();
  if (!block && empty(c)) {
    if (!isclosed(c)) return chanWouldBlock;
    if (empty(c)) return chanClosed;
  }

  lock(&c->lock);
  if (sudog* sg = waitq_dequeue(&c->sendq)) {
    if (c->dataqsiz == 0) {
      moveelem(c->elemtype, elem, sg->elem);
    } else {
      bufget(c, elem);
      bufput(c, sg->elem);
    }
    sg->success = 1;
    g* gp = sg->g;
    unlock(&c->lock);
    goready(gp);
    return chanOk;
  }
  if (c->qcount > 0) {
    bufget(c, elem);
    unlock(&c->lock);
    return chanOk;
  }
  if (c->closed != 0 || !block) {
    bool closed = c->closed != 0;
    unlock(&c->lock);
    return closed ? chanClosed : chanWouldBlock;
  }
  return chanpark(parkable("chan receive"), c, &c->recvq, elem, waitReasonChanReceive) ? chanOk : chanClosed;
}

bool closechan(hchan* c) {
  entry();
  lock(&c->lock);
  if (c->closed != 0) {
    unlock(&c->lock);
    return false;
  }
  __atomic_store_n(&c->closed, 1u, __ATOMIC_RELEASE);  // pairs with the acquire in isclosed
  // By (a) and (b) at most one of the queues has anybody. Their `success` stays 0: that says closed.
  sudog* receivers = waitq_takeall(&c->recvq);
  sudog* senders = waitq_takeall(&c->sendq);
  unlock(&c->lock);
  waitq_readyall(receivers);
  waitq_readyall(senders);
  return true;
}

bool chanclosed(const hchan* c) { return isclosed(c); }
uint64 chanlen(const hchan* c) { return __atomic_load_n(&c->qcount, __ATOMIC_RELAXED); }
uint64 chancap(const hchan* c) { return c->dataqsiz; }

}  // namespace rt
}  // namespace vitrine
