// chan.cc: channels. Follows Go's chan.go.
//
// A channel (hchan) is a lock, a ring of dataqsiz elements of which qcount are used, and two queues of parked
// goroutines. Each parked goroutine is there by a sudog whose `elem` points into its own stack: at the value it wants
// to send, or at raw storage for the one it wants. Under the lock these hold:
//   (a) recvq is not empty  ⇒  qcount == 0 and sendq is empty
//   (b) sendq is not empty  ⇒  qcount == dataqsiz and recvq is empty
//   (c) closed              ⇒  both queues are empty
// Sudogs of a select that has been won by another case do not count: they stay queued until the goroutine comes to
// take them off, or somebody who looks for a partner meets them (chandequeue). Nor do, in (a) and (b), those of a
// select that both sends to and receives from the channel: it is no partner of itself.
//
// A receive that has to wait, and its send:
//   1. The receiver takes the lock, finds neither element nor sender, queues its sudog, and parks; the lock is released
//      on g0, after its status is Gwaiting and its stack is no longer used (gopark's unlockf).
//   2. The sender takes the lock, dequeues the sudog, moves the element from its own stack to *elem on the receiver's —
//      nobody else may touch that stack while its owner is parked — and notes success in the sudog.
//   3. It unlocks, and only then readies the receiver: a goroutine that runs must never meet a lock that its waker
//      holds.
//   4. The receiver wakes up with its value in place, and does not touch the channel again. It cannot: the value may
//      have been the sign to destroy the last handle. The same holds for a woken sender, and for the side that does
//      the waking after its unlock.
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
#include <initializer_list>
#include <stdexcept>

#include "chan_ops.h"

namespace vitrine {

chan_closed::~chan_closed() = default;
const char* chan_closed::what() const noexcept { return what_; }

namespace rt {

void panicchan(const char* what) { throw chan_closed(what); }
void panicchansize(std::size_t) { throw std::length_error("vitrine::chan: capacity too large"); }

static uint64 alignup(uint64 n, uint64 a) { return (n + a - 1) & ~(a - 1); }

hchan* makechan(const chantype* t, uint64 size) {
  // One block: the hchan, then the ring. heldalloc aligns to 16 here; a type that wants more gets slack to round up in.
  uint64 slack = t->align > 16 ? t->align : 0;
  // A pointer needs a place of its size.
  heldkind kind = size == 0 || t->size < sizeof(void*) ? heldkind::blank : heldkind::shared;
  auto* c = static_cast<hchan*>(heldalloc(alignup(sizeof(hchan), 16) + slack + size * t->size, 16, kind));
  uintptr buf = alignup(uintptr(c) + sizeof(hchan), t->align > 16 ? t->align : 16);
  // Without a ring its address would be that of the next object: who looks for words that point to that would find it.
  c->buf = size == 0 ? static_cast<void*>(c) : reinterpret_cast<void*>(buf);
  c->elemsize = t->size;
  c->elemtype = t;
  c->dataqsiz = size;
  c->refs.store(1, __ATOMIC_RELAXED);
  return c;
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
  heldfree(c, 16);
}

// Queues gp, which is the caller, with elem, parks it and releases the lock; true: a partner took or filled *elem.
static inline __attribute__((always_inline)) bool chanpark(g* gp, hchan* c, waitq* q, void* elem, waitReason reason) {
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
  g* wake = nullptr;
  chanresult r = sendlocked(c, elem, &wake);
  if (r != chanWouldBlock || !block) {
    unlock(&c->lock);
    if (wake != nullptr) goready(wake);
    return r;
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
  g* wake = nullptr;
  chanresult r = recvlocked(c, elem, &wake);
  if (r != chanWouldBlock || !block) {
    unlock(&c->lock);
    if (wake != nullptr) goready(wake);
    return r;
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
  // Their `success` stays 0: that says closed. Who is there by a select that is won elsewhere is left out.
  sudog* all = nullptr;
  sudog** link = &all;
  for (waitq* q : {&c->recvq, &c->sendq}) {
    while (sudog* sg = chandequeue(q)) {
      *link = sg;
      link = &sg->next;
    }
  }
  unlock(&c->lock);
  waitq_readyall(all);
  return true;
}

bool chanclosed(const hchan* c) { return isclosed(c); }
uint64 chanlen(const hchan* c) { return __atomic_load_n(&c->qcount, __ATOMIC_RELAXED); }
uint64 chancap(const hchan* c) { return c->dataqsiz; }

}  // namespace rt
}  // namespace vitrine
