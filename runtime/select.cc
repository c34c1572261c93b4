// select.cc: waiting for several channels. Follows Go's select.go.
//
// A case is a channel, a direction and the place of the value. Under its channel's lock a case can proceed if a send or
// a receive could (chan.cc). The whole, for a select that has to wait:
//   1. Look at every case without locks. One that seems able to proceed — if several do, one drawn among them — is
//      tried, with only its own channel locked. Taking a case that can proceed is right at any moment, so most selects
//      that need not wait end here.
//   2. Lock all channels, in the order of their addresses, each once; so two selects cannot each hold what the other
//      wants. Look again, draw again, and carry out. Only with all locks held may "none can proceed" be said: it has to
//      be true of all channels at one moment.
//   3. Otherwise queue a sudog on each channel, chained through waitlink from g.waiting in the order of the cases.
//      Start a new number in g.selectDone, and park. The unlocking (selparkcommit) is done on g0, when the g is
//      Gwaiting.
//   4. Whoever finds one of the sudogs — a sender, receiver or closer, with the channel's lock — has to win the select
//      before he may use it: the CAS in winselect sets bit 0 of selectDone. The winner moves the value, leaves the
//      sudog in g.param, and readies the g. The others drop the sudog, which is stale, and look at the next.
//   5. Awake again: for each sudog lock the channel and take it off the queue, unless it is off. g.param says which
//      case was carried out; null: the time is over.
//
// Fairness: the draw is uniform among the cases that can proceed at the time of the look: the k-th found replaces the
// earlier choice with probability 1/k. Unlike Go: no shuffled order to go by, which costs a random number a case.
//
// Why may others write into a parked goroutine's frame (sudog.elem, and the arrays here)? Only its winner writes to it,
// and only while the g is Gwaiting and nobody else can ready it, because to win is the only way to that right. The
// loser's chance ended with the CAS; he has not touched elem. After the goready the winner touches neither. A sudog may
// be looked at (isSelect, g, the links) by anybody with the channel's lock as long as it is queued, so the g does not
// give it up before it has taken it off under that lock (step 5).
// selparkcommit reads the lock order from the frame of a g that may be readied as soon as the first channel is
// unlocked, or the timer is in its heap. That g cannot leave step 5 before it has had every channel's lock, so not
// before selparkcommit has released the last; and selparkcommit reads nothing after that. With no channels there is
// nothing to read after the timer was armed.
//
// The timeout is a timer on the frame (time.cc says when that may go), armed when the g is Gwaiting. Its function takes
// part in step 4 like any other: it CASes selectDone from the number, even, that it was armed with, to won. So it loses
// against a channel's partner, or wins and the partners skip the sudogs. If the g cancels the timer too late, its
// function may run when the g is in another select, or is another goroutine: then the number is another, as 2^31
// selects would have to pass before it comes again. g's are never freed.
//
// Handles: a case refers to a channel by the caller's handle. What a partner has received may be his sign to destroy
// the caller's handles to the other channels, so nothing of theirs may be touched once a partner can go on. In step 2
// the locks of the others are therefore released before that of the case's own. In step 3 the select takes a reference
// to each channel and returns it after step 5.
#include <algorithm>

#include "chan_ops.h"

namespace vitrine::rt {

static bool looksready(const scase& k) {
  return k.issend != 0 ? !full(k.c) || isclosed(k.c) : !empty(k.c) || isclosed(k.c);
}

// One of the cases that seem able to proceed; -1: none does.
static int32 draw(const scase* cases, int32 n) {
  int32 drawn = -1;
  uint32 seen = 0;
  for (int32 i = 0; i < n; i++)
    if (looksready(cases[i]) && (++seen == 1 || fastrandn(seen) == 0)) drawn = i;
  return drawn;
}

static chanresult trylocked(const scase& k, g** wake) {
  return k.issend != 0 ? sendlocked(k.c, k.elem, wake) : recvlocked(k.c, k.elem, wake);
}

static chanresult tryone(const scase& k, bool block) {
  return k.issend != 0 ? chansend(k.c, k.elem, block) : chanrecv(k.c, k.elem, block);
}

// The channels of the cases, each once, by address; returns how many.
static int32 sortchannels(const scase* cases, hchan** order, int32 n) {
  for (int32 i = 0; i < n; i++) order[i] = cases[i].c;
  std::sort(order, order + n);
  return int32(std::unique(order, order + n) - order);
}

static void lockall(hchan** order, int32 n) {
  for (int32 i = 0; i < n; i++) lock(&order[i]->lock);
}

static void unlockall(hchan** order, int32 n, hchan* last) {
  for (int32 i = 0; i < n; i++)
    if (order[i] != last) unlock(&order[i]->lock);
  if (last != nullptr) unlock(&last->lock);
}

namespace {
struct parking {
  hchan** order;
  int32 n;
  timer* t;  // null: no timeout
};
}  // namespace

static bool selparkcommit(g*, void* arg) {
  auto [order, n, t] = *static_cast<parking*>(arg);
  int64 when = 0;
  if (t != nullptr) {
    when = t->when;
    if (!armtimer(t)) when = 0;
  }
  for (int32 i = 0; i < n; i++) unlock(&order[i]->lock);
  if (when != 0) wakePoller(when);
  return true;
}

static void selecttimeout(void* arg, uint64 seq) {
  g* gp = static_cast<g*>(arg);
  if (gp->selectDone.cas(uint32(seq), uint32(seq) | 1, __ATOMIC_ACQ_REL)) goready(gp);
}

// Steps 3 and 4: all channels are locked on entry, none on return. The sudogs stay, on gp->waiting. Returns the one
// that was won; null: timeout.
static sudog* selectpark(g* gp, const scase* cases, int32 n, hchan** order, int32 nlocks, int64 ns) {
  uint32 number = (gp->selectDone.load(__ATOMIC_RELAXED) | 1) + 1;
  gp->selectDone.store(number, __ATOMIC_RELAXED);  // published by the locks
  gp->param = nullptr;
  sudog** link = &gp->waiting;
  for (int32 i = 0; i < n; i++) {
    sudog* sg = acquireSudog();
    sg->g = gp;
    sg->isSelect = 1;
    sg->elem = cases[i].elem;
    sg->c = cases[i].c;
    *link = sg;
    link = &sg->waitlink;
    waitq_enqueue(cases[i].issend != 0 ? &sg->c->sendq : &sg->c->recvq, sg);
  }
  for (int32 i = 0; i < nlocks; i++) chanretain(order[i]);
  timer t;
  parking park{order, nlocks, nullptr};
  if (ns > 0) {
    t = {};
    t.when = timeafter(ns);
    t.f = selecttimeout;
    t.arg = gp;
    t.seq = number;
    t.index = -1;
    t.kind = timerSelect;
    t.goid = gp->goid;
    park.t = gp->timer_ = &t;
  }
  gopark(selparkcommit, &park, waitReasonSelect, nullptr);
  if (ns > 0) {
    deltimer(&t);
    gp->timer_ = nullptr;
  }
  auto* won = static_cast<sudog*>(gp->param);
  gp->param = nullptr;
  return won;
}

static void unqueue(waitq* q, sudog* sg) {
  if (sg->prev == nullptr && sg->next == nullptr && q->first != sg) return;  // somebody has met it
  if (sg->prev != nullptr)
    sg->prev->next = sg->next;
  else
    waitq_setfirst(q, sg->next);
  if (sg->next != nullptr)
    sg->next->prev = sg->prev;
  else
    q->last = sg->prev;
}

// Step 5.
static selected finish(g* gp, const scase* cases, int32 n, sudog* won) {
  selected r{-1, false};
  sudog* sg = gp->waiting;
  gp->waiting = nullptr;
  for (int32 i = 0; i < n; i++) {
    hchan* c = cases[i].c;
    lock(&c->lock);
    if (sg != won) unqueue(cases[i].issend != 0 ? &c->sendq : &c->recvq, sg);
    unlock(&c->lock);
    if (sg == won) r = {i, sg->success != 0};
    sudog* next = sg->waitlink;
    releaseSudog(sg);
    sg = next;
  }
  return r;
}

selected selectgo(scase* cases, hchan** order, int32 n, int64 ns) {
  entry();
  if (int32 i = draw(cases, n); i >= 0)
    if (chanresult r = tryone(cases[i], false); r != chanWouldBlock) return {i, r == chanOk};

  int32 nlocks = sortchannels(cases, order, n);
  lockall(order, nlocks);
  for (;;) {
    int32 i = draw(cases, n);
    if (i < 0) break;
    g* wake = nullptr;
    chanresult r = trylocked(cases[i], &wake);
    if (r == chanWouldBlock) continue;  // what seemed to be a partner was stale, and is off the queue now
    unlockall(order, nlocks, cases[i].c);
    if (wake != nullptr) goready(wake);
    return {i, r == chanOk};
  }
  if (ns == 0) {
    unlockall(order, nlocks, nullptr);
    return {-1, false};
  }
  g* gp = parkable("select");
  if (n == 0 && ns < 0) {
    gopark(nullptr, nullptr, waitReasonSelectNoCases, nullptr);
    throw_("select without cases came to an end");
  }
  sudog* won = selectpark(gp, cases, n, order, nlocks, ns);
  selected r = finish(gp, cases, n, won);
  for (int32 i = 0; i < nlocks; i++) chanrelease(order[i]);
  return r;
}

selected selectone(const scase& k, int64 ns) {
  if (ns > 0) {
    hchan* order;
    scase cases = k;
    return selectgo(&cases, &order, 1, ns);
  }
  chanresult r = tryone(k, ns < 0);
  return {r == chanWouldBlock ? -1 : 0, r == chanOk};
}

}  // namespace vitrine::rt
