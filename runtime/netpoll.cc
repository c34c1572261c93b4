// netpoll.cc: goroutines that wait for a file descriptor. Follows Go's netpoll.go; how the kernel is asked is in
// netpoll_epoll.cc, who may wait in netfd.cc.
//
// A pollDesc stands for one open descriptor. It is registered once, edge-triggered, for both directions: waiting costs
// no system call. rg is the word of the reading side, wg that of the writing side; each is
//   0        nobody waits, nothing came
//   pdReady  an event came since the last pollReset; the next wait returns at once and takes it
//   pdWait   a goroutine is on its way to park
//   g*       it is parked
//
// One read that has to wait:
//   1. pollReset: rg = 0.
//   2. recv says EAGAIN.
//   3. pollWait: CAS 0 → pdWait. If that meets pdReady an event came after step 1: CAS pdReady → 0 and back to recv.
//   4. Look at `info` once more: closed, or past the deadline? Then do not park.
//   5. gopark; on g0, with the g Gwaiting, CAS pdWait → g. If it fails the word is pdReady or 0: run on.
//   6. netpoll on some M gets the event and CASes g → pdReady; it owns the wakeup of g, and lists it.
//   7. g exchanges the word with 0 and goes back to recv.
//
// No readiness is lost. The kernel reports an edge after the state changed. If data came before step 2's recv looked,
// recv had it. If it came after, the event is delivered after step 1, and meets the word as 0 (step 3 finds pdReady),
// pdWait (step 5's CAS fails) or g (step 6). The reset itself can only drop an event whose data recv is about to see.
//
// No end of the wait is lost. Close and deadlines store their bit in `info`, then CAS the word; the waiter CASes the
// word to pdWait, then loads `info`. All four are sequentially consistent, so either the waiter sees the bit or the
// other finds pdWait or g and puts 0: a pdWait that becomes 0 makes step 5 fail.
//
// Nobody is readied twice: only who moved the word away from g readies g, and only g itself puts it there.
//
// Reuse. pollDescs are never freed, so an event that an M has fetched just before the descriptor was closed finds
// memory of the right kind; it carries fdseq, which close has moved on, and is dropped. An M may have compared the
// sequence just before and be late with its CAS: then the next use sees one readiness that is none, tries its system
// call and gets EAGAIN. A deadline's timer carries rseq or wseq, compared under the lock.
//
// netpollWaiters counts who is in steps 4 to 6: idle Ms look at it to know whether somebody has to poll. A goroutine
// counts itself before it parks, while its M runs; a foreign thread, before it parks, also starts an M if nobody polls.
// Whoever takes the g out of the word counts it off. When a close or a deadline took the last one, the poller is
// sent back, so that a program that is deadlocked is found out.
//
// Locks: pollDesc.lock is outside of timers.lock and sched.lock; goroutines are readied after it is released.
#include "netpoll.h"

#include <cerrno>
#include <initializer_list>

#include "proc.h"
#include "waitq.h"

namespace vitrine::rt {

pollDesc* allpolldescs;
atomic<int32> netpollWaiters;

static mutex pollcachelock;  // guards pollfree, appends to allpolldescs, and the first initialisation
static pollDesc* pollfree;
static atomic<uint32> inited;

bool netpollinited() { return inited.load(__ATOMIC_ACQUIRE) != 0; }

// An M that sleeps as the poller on the note does not hear of descriptors: it has to come round.
static void netpollGenericInit() {
  if (netpollinited()) return;
  lock(&pollcachelock);
  bool first = !netpollinited();
  if (first) {
    netpollinit();
    inited.store(1);
  }
  unlock(&pollcachelock);
  if (first) notewakeup(&sched.pollnote);
}

// ---- the life of a pollDesc

constexpr uint64 pollBlockSize = 4096;

static pollDesc* allocpolldesc() {
  lock(&pollcachelock);
  if (pollfree == nullptr) {
    constexpr uint64 size = (sizeof(pollDesc) + 63) & ~uint64(63);
    auto* block = static_cast<char*>(persistentalloc(pollBlockSize, 64, "pollDesc", size));
    for (uint64 at = 0; at + size <= pollBlockSize; at += size) {
      auto* pd = reinterpret_cast<pollDesc*>(block + at);
      pd->rt.index = -1;
      pd->wt.index = -1;
      pd->alllink = allpolldescs;
      __atomic_store_n(&allpolldescs, pd, __ATOMIC_RELEASE);  // for readers without the lock
      pd->link = pollfree;
      pollfree = pd;
    }
  }
  pollDesc* pd = pollfree;
  pollfree = pd->link;
  pd->link = nullptr;
  unlock(&pollcachelock);
  return pd;
}

static void freepolldesc(pollDesc* pd) {
  lock(&pollcachelock);
  pd->link = pollfree;
  pollfree = pd;
  unlock(&pollcachelock);
}

int32 pollOpen(int32 fd, pollDesc** out) {
  netpollGenericInit();
  pollDesc* pd = allocpolldesc();
  lock(&pd->lock);
  if (pd->rg.load() > pdReady || pd->wg.load() > pdReady) throw_("pollOpen: somebody waits on a free pollDesc");
  pd->fd = fd;
  pd->closing = 0;
  pd->open = 1;
  pd->rg.store(0);
  pd->wg.store(0);
  pd->rd = 0;
  pd->wd = 0;
  pd->goid = callergoid();
  pd->info.store(0);
  unlock(&pd->lock);
  int32 err = netpollopen(fd, pd);
  *out = pd;
  if (err != 0) {
    lock(&pd->lock);
    pd->open = 0;
    pd->fd = -1;
    unlock(&pd->lock);
    freepolldesc(pd);
    *out = nullptr;
  }
  return err;
}

void pollClose(pollDesc* pd) {
  if (pd->closing == 0) throw_("pollClose: not unblocked");
  if (pd->rg.load() > pdReady || pd->wg.load() > pdReady) throw_("pollClose: somebody waits");
  netpollclose(pd->fd);
  lock(&pd->lock);
  pd->fdseq.add(1);
  pd->open = 0;
  pd->fd = -1;
  unlock(&pd->lock);
  freepolldesc(pd);
}

// ---- the word

static atomic<uintptr>* word(pollDesc* pd, pollMode mode) { return mode == pollRead ? &pd->rg : &pd->wg; }

static int32 checkerr(pollDesc* pd, pollMode mode) {
  uint32 info = pd->info.load();
  if ((info & pollClosing) != 0) return ECANCELED;
  if ((info & (mode == pollRead ? pollExpiredRead : pollExpiredWrite)) != 0) return ETIMEDOUT;
  return 0;
}

// Ends the present wait of this side: because of an event (isready), which is kept if nobody waits, or because waiting
// is over. Returns the g that the caller now has to ready.
static g* netpollunblock(pollDesc* pd, pollMode mode, bool isready) {
  atomic<uintptr>* w = word(pd, mode);
  for (;;) {
    uintptr old = w->load();
    if (old == pdReady || (old == 0 && !isready)) return nullptr;
    if (!w->cas(old, isready ? uintptr(pdReady) : 0)) continue;
    if (old == 0 || old == pdWait) return nullptr;
    netpollWaiters.add(-1);
    return reinterpret_cast<g*>(old);
  }
}

void netpollready(readyList* ready, pollDesc* pd, int32 modes) {
  for (pollMode mode : {pollRead, pollWrite}) {
    if ((modes & mode) == 0) continue;
    g* gp = netpollunblock(pd, mode, true);
    if (gp == nullptr) continue;
    gp->schedlink = nullptr;
    if (ready->tail == nullptr)
      ready->list.head = gp;
    else
      ready->tail->schedlink = gp;
    ready->tail = gp;
  }
}

int32 pollReset(pollDesc* pd, pollMode mode) {
  int32 err = checkerr(pd, mode);
  if (err == 0 && word(pd, mode)->load(__ATOMIC_RELAXED) != 0) word(pd, mode)->store(0);
  return err;
}

static bool netpollblockcommit(g* gp, void* w) {
  if (static_cast<atomic<uintptr>*>(w)->cas(pdWait, uintptr(gp))) return true;
  netpollWaiters.add(-1);
  return false;
}

int32 pollWait(pollDesc* pd, pollMode mode) {
  g* gp = parkable("network wait");
  atomic<uintptr>* w = word(pd, mode);
  for (;;) {
    if (w->cas(pdReady, 0)) return checkerr(pd, mode);
    if (w->cas(0, pdWait)) break;
    if (uintptr now = w->load(); now != pdReady && now != 0) throw_("pollWait: two wait on one side");
  }
  if (checkerr(pd, mode) == 0) {
    netpollWaiters.add(1);
    // seq_cst: an M that goes idle marks that nobody polls, then looks at netpollWaiters.
    if (gp->isforeign && sched.lastpoll.load() != 0) wakep();
    gopark(netpollblockcommit, w, waitReasonIOWait, pd);
  }
  if (w->xchg(0) > pdWait) throw_("pollWait: the word names a goroutine that runs");
  return checkerr(pd, mode);
}

// ---- deadlines and close

static void publishinfo(pollDesc* pd) {
  pd->info.store((pd->closing != 0 ? uint32(pollClosing) : 0) | (pd->rd < 0 ? uint32(pollExpiredRead) : 0) |
                 (pd->wd < 0 ? uint32(pollExpiredWrite) : 0));
}

// For goroutines whose wait ended without an event; pd->lock is not held.
static void readyboth(g* rg, g* wg) {
  if (rg == nullptr && wg == nullptr) return;
  if (rg != nullptr) goready(rg);
  if (wg != nullptr) goready(wg);
  if (netpollWaiters.load() == 0 && sched.lastpoll.load() == 0) netpollBreak();
}

// A timer's function, on some M's g0.
template <pollMode mode>
static void deadline(void* arg, uint64 seq) {
  auto* pd = static_cast<pollDesc*>(arg);
  lock(&pd->lock);
  if (uint32(seq) != (mode == pollRead ? pd->rseq : pd->wseq)) {
    unlock(&pd->lock);
    return;
  }
  (mode == pollRead ? pd->rd : pd->wd) = -1;
  publishinfo(pd);
  g* gp = netpollunblock(pd, mode, false);
  unlock(&pd->lock);
  readyboth(gp, nullptr);
}

// pd->lock is held. The sequence moves on first: a timer that fires at this moment finds another number. True: the
// caller has to wakePoller(*d).
static bool settimer(pollDesc* pd, int64* d, int64 when, uint32* seq, timer* t, void (*f)(void*, uint64)) {
  ++*seq;
  *d = when;
  if (when <= 0) {
    deltimer(t);
    return false;
  }
  bool wake;
  if (resettimer(t, when, 0, *seq, &wake)) return wake;
  t->when = when;
  t->f = f;
  t->arg = pd;
  t->seq = *seq;
  t->kind = timerDeadline;
  return armtimer(t);
}

void pollSetDeadline(pollDesc* pd, int64 when, pollMode modes) {
  if (when > 0 && when <= nanotime()) when = -1;
  g *rg = nullptr, *wg = nullptr;
  bool wake = false;
  lock(&pd->lock);
  if (pd->closing != 0) {
    unlock(&pd->lock);
    return;
  }
  if ((modes & pollRead) != 0) wake |= settimer(pd, &pd->rd, when, &pd->rseq, &pd->rt, deadline<pollRead>);
  if ((modes & pollWrite) != 0) wake |= settimer(pd, &pd->wd, when, &pd->wseq, &pd->wt, deadline<pollWrite>);
  publishinfo(pd);
  if ((modes & pollRead) != 0 && when < 0) rg = netpollunblock(pd, pollRead, false);
  if ((modes & pollWrite) != 0 && when < 0) wg = netpollunblock(pd, pollWrite, false);
  unlock(&pd->lock);
  if (wake) wakePoller(when);
  readyboth(rg, wg);
}

void pollUnblock(pollDesc* pd) {
  lock(&pd->lock);
  if (pd->closing != 0) throw_("pollUnblock: already closing");
  pd->closing = 1;
  settimer(pd, &pd->rd, 0, &pd->rseq, &pd->rt, nullptr);
  settimer(pd, &pd->wd, 0, &pd->wseq, &pd->wt, nullptr);
  publishinfo(pd);
  g* rg = netpollunblock(pd, pollRead, false);
  g* wg = netpollunblock(pd, pollWrite, false);
  unlock(&pd->lock);
  readyboth(rg, wg);
}

}  // namespace vitrine::rt
