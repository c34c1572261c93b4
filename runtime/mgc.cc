// mgc.cc: the collector's cycle. Follows Go's mgc.go (1.12 to 1.19).
//
// One cycle, begun by gcStart, on the goroutine that allocates when heap_live has reached the trigger (mgcpacer.cc), or
// calls gc::collect():
//   1. what the last cycle left unswept is swept (mgcsweep.cc), the workers are there, and the segments with global data
//      are listed
//   2. gcBegin. stopTheWorld (proc_world.cc): no P is used. freezegoroutines (proc_freeze.cc): goroutines that run without
//      one stand still too. Threads that are no goroutines go on; they can neither make nor store managed objects (gc.h).
//      GCmark: the write barrier goes on (mbarrier.cc), and roots that have no barrier are read (mgcroot.cc)
//   3. the world goes on. Workers, and who allocates, mark the rest of the roots and everything that they reach
//      (mgcmark.cc, mgcworker.cc). New objects are born marked
//   4. gcMarkDone, on the last marker that found nothing more. gcFinish, with the world stopped: what is in the barrier's
//      buffers is marked. If that is much, the world goes on, and back to 3
//   5. GCmarktermination: every mcache gives its spans up, so that no span is in use while it is unswept; heap_live
//      becomes what is marked, and the trigger of the next cycle follows from it; all spans are unswept from here on; free
//      large stacks go back to the heap
//   6. GCoff: the barrier is off, the world goes on. bgsweep and those who allocate sweep
//
// What is free then could not be reached at 2: an object that dies while the cycle marks lives until the next one.
//
// The collector comes to life with the first managed object (gcenable): a program without any has no goroutine for it.
//
// gcsema: one goroutine at a time begins or ends a cycle. What begins checks again that it still should.
//
// GODEBUG: gctrace=1 prints a line for each cycle (mgctrace.cc). gcstoptheworld=1 marks in step 2, with the world stopped.
// gccheckmark=1 looks in step 5 whether something was missed (mgccheck.cc). clobberfree=1 overwrites what is found dead.
// gcevery=N collects at every Nth allocation. invalidptr=0: a pointer to nothing that is met in an object does not end
// the program.
#include "mgc.h"

#include <cstring>

#include "proc.h"
#include "syncwait.h"

namespace vitrine::rt {

atomic<uint32> gcphase, gcBlackenEnabled, gcmarkhold;
workType work;

static syncMutex gcsema;

// Goroutines that wait for the end of a mark phase.
static struct {
  mutex lock;
  gList list;
} markwaiters;

static int32 readGOGC() {
  const char* s = gogetenv("GOGC");
  if (s == nullptr || *s == 0) return 100;
  if (strcmp(s, "off") == 0) return -1;
  bool ok;
  int32 n = atoi32(s, &ok);
  return ok ? n : 100;
}

void startsystemgoroutine(void (*fn)(void*), uintptr startpc, const char* name, uint64 stack) {
  newproc(fn, nullptr, startpc, uintptr(__builtin_return_address(0)), name, strlen(name), stack);
}

static void bgsweepmain(void* arg) {
  sched.ngsys.add(1);
  store_relaxed(getg()->issystem, 1);
  bgsweep(arg);
}

static void enable() {
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  if (load_relaxed(sweep.g_) == nullptr) {
    store_relaxed(gcController.gcPercent, readGOGC());  // sysmon may look already
    startsystemgoroutine(bgsweepmain, uintptr(bgsweepmain), "bgsweep", 0);
    startsystemgoroutine(bgscavenge, uintptr(bgscavenge), "bgscavenge", 0);
    startsystemgoroutine(forcegchelper, uintptr(forcegchelper), "forcegc", 0);
    while (load_relaxed(scavenge.g_) == nullptr || load_relaxed(forcegc.g_) == nullptr) gosched();
    while (load_relaxed(sweep.g_) == nullptr) gosched();
    gcController.setTrigger();
    mallocshort(GCoff);
  }
  mutexunlock1(&gcsema);
}

void gcenable() {
  if (__builtin_expect(load_relaxed(sweep.g_) == nullptr, 0)) enable();
}

// f(c) for each mcache. mcache0lock held by who writes: threads that are no goroutines allocate with mcache0.
template <class F>
static void eachmcache(F f) {
  f(mheap_.mcache0);
  for (int64 i = 0; i < nallp(); i++)
    if (mcache* c = load_relaxed(allp.array[i]->mcache); c != nullptr) f(c);
}

// ---- before the world is stopped

// What will be read with the world stopped is out of the caches by now: it comes into them, and its pages into the TLB,
// while nobody waits. By loads, since prefetches of pages that are not in the TLB were found to do nothing. What is read
// may be written meanwhile, and means nothing.
__attribute__((no_sanitize("thread", "address"))) static void warm(uintptr p, uintptr size) {
  for (uintptr end = p + size; p < end; p += 64) *reinterpret_cast<const volatile uint8*>(p);
}

static void warmheap() {
  eachmcache([](mcache* c) {
    warm(uintptr(c), sizeof *c);
    for (mspan*& s : c->alloc) warm(uintptr(load_relaxed(s)), sizeof(mspan));
  });
  warm(uintptr(&mheap_), sizeof mheap_);
}

static void warmglobals() {
  for (uint32 i = 0; i < gcsegments.n; i++) warm(gcsegments.at[i].lo, gcsegments.at[i].hi - gcsegments.at[i].lo);
}

// ---- with the world stopped, on g0

// Markers shall not find what is being allocated.
static void preparemcaches() {
  eachmcache([](mcache* c) {
    for (mspan* s : c->alloc)
      if (s != &emptymspan) __atomic_store_n(&s->freeIndexForScan, uint16(s->freeindex), __ATOMIC_RELEASE);
  });
}

// Every span in an mcache goes back to where it is from, and free objects of the runtime's so large that those that nobody
// takes again would add up.
static void flushmcaches() {
  eachmcache([](mcache* c) {
    c->releaseAll();
    rawcacheflush(c, 2048);
  });
}

static void setflushgen() {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  eachmcache([sg](mcache* c) { c->flushGen.store(sg, __ATOMIC_RELAXED); });
}

static void setphase(gcPhase phase) {
  gcphase.store(phase);
  store_relaxed(writeBarrier, phase == GCmark);
  gcBlackenEnabled.store(phase == GCmark && gcmarkhold.load(__ATOMIC_RELAXED) == 0);
  mallocshort(phase);
}

static void notepause(int64 ns) {
  work.pauseNS += ns;
  store_relaxed(work.pauseTotal, work.pauseTotal + ns);
}

// All is marked.
static void gcMarkTermination(gcWork* w) {
  setphase(GCmarktermination);
  w->dispose();
  if (gcMarkWorkAvailable(nullptr)) throw_("gc: objects are left that nobody scanned");
  if (debug.gccheckmark != 0) gccheckmarks();
  flushmcaches();
  work.heap1 = load_relaxed(memstats.heap_live);
  work.heap2 = work.bytesMarked.load(__ATOMIC_RELAXED);
  gcController.endCycle();
  uint64 lastgoal = work.goal;
  store_relaxed(gcController.heapMarked, work.heap2);
  store_relaxed(memstats.heap_live, work.heap2);
  store_relaxed(memstats.heap_scan, uint64(gcController.scanWork.load(__ATOMIC_RELAXED)));
  gcController.setTrigger();
  gcPaceScavenger(lastgoal);
  gcSweep();
  setflushgen();
  freeStackSpans();
  setphase(GCoff);
  int64 now = nanotime();
  notepause(now - (work.stopped != 0 ? work.tSweepTerm : work.tMarkTerm));
  work.pauses[(work.cycles + gcpauses - 1) % gcpauses] = uint64(work.pauseNS);
  store_relaxed(work.tEnd, now);
}

static void gcBegin(void*) {
  m* mp = getg()->m;
  gcWork* w = &mp->p->gcw;
  freezegoroutines();
  lock(&mheap_.mcache0lock);
  finishsweep_m();
  preparemcaches();
  store_relaxed(work.cycles, work.cycles + 1);
  work.heap0 = load_relaxed(memstats.heap_live);
  work.goal = gcController.heapGoal;
  work.globalsScanned = 0;
  work.stacksScanned.store(0);
  work.bytesMarked.store(0);
  work.nproc.store(~uint32(0));
  work.nwait.store(~uint32(0));
  work.pauseNS = 0;
  gcController.startCycle();
  gcsetheaprange();
  gcwbinit();
  store_relaxed(work.markrootJobs, gcPrepareRoots());
  work.markrootNext.store(0);
  work.stopped = debug.gcstoptheworld != 0;
  setphase(GCmark);
  if (work.stopped != 0) store_relaxed(work.tMark, nanotime());
  gcMarkRootsStopped(mp->curg, w);
  if (work.stopped != 0) {
    gcDrain(w, 0);
    store_relaxed(work.tMarkTerm, nanotime());
    gcMarkTermination(w);
  } else {
    w->dispose();
    store_relaxed(work.tMark, nanotime());
    notepause(work.tMark - work.tSweepTerm);
  }
  unlock(&mheap_.mcache0lock);
  thawgoroutines();
}

// *again: there is more to mark than can be done while the world waits.
static void gcFinish(void* again) {
  gcWork* w = &getg()->m->p->gcw;
  freezegoroutines();
  lock(&mheap_.mcache0lock);
  gcMarkRootFrozen(w);
  for (int64 i = 0; i < nallp(); i++) {
    p* pp = allp.array[i];
    wbBufFlush(pp, w);
    if (&pp->gcw != w) pp->gcw.dispose();
  }
  wbSharedFlush(w);
  gcDrain(w, drainBounded);
  *static_cast<bool*>(again) = !w->empty() || gcMarkWorkAvailable(nullptr);
  if (*static_cast<bool*>(again)) {
    w->dispose();
    notepause(nanotime() - work.tMarkTerm);
  } else {
    gcMarkTermination(w);
  }
  unlock(&mheap_.mcache0lock);
  thawgoroutines();
}

// ---- beginning and ending one

// The world goes on after a cycle. gcsema held.
static void ended() {
  gcWakeAllAssists();
  lock(&markwaiters.lock);
  gList waiters = markwaiters.list;
  markwaiters.list = {};
  unlock(&markwaiters.lock);
  injectglist(&waiters);
  if (debug.gctrace > 0) gctrace();
}

void gcStart1(gcTrigger t, uintptr sp) {
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  if (!t.test()) return mutexunlock1(&gcsema);
  while (sweepone() != ~uintptr(0)) {
  }
  gcBgMarkStartWorkers();
  gcenumsegments();
  san_scanned(getg());
  work.startersp = sp;
  work.userForced = t.kind == gcTrigger::cycle;
  if (work.userForced) store_relaxed(work.nforced, work.nforced + 1);
  warmheap();
  warmglobals();
  store_relaxed(work.tSweepTerm, nanotime());
  withworldstopped("GC sweep termination", gcBegin, nullptr);
  bool over = work.stopped != 0;
  if (over) ended();
  mutexunlock1(&gcsema);
  if (over) wakebgsweep();
}

void gcMarkDone() {
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  bool again = true;
  while (again) {
    // Somebody else was here, or there is work, whose markers come here in their turn.
    if (gcphase.load() != GCmark || work.nwait.load() != work.nproc.load() || gcMarkWorkAvailable(nullptr)) break;
    warmheap();
    store_relaxed(work.tMarkTerm, nanotime());
    withworldstopped("GC mark termination", gcFinish, &again);
  }
  if (!again) ended();
  mutexunlock1(&gcsema);
  if (!again) wakebgsweep();
}

// Until cycle n has marked all.
static void gcWaitOnMark(uint32 n) {
  for (;;) {
    lock(&markwaiters.lock);
    uint32 done = load_relaxed(work.cycles) - (gcphase.load() != GCoff ? 1 : 0);
    if (int32(done - n) >= 0) return unlock(&markwaiters.lock);
    g* gp = getg();
    gp->schedlink = markwaiters.list.head;
    markwaiters.list.head = gp;
    goparkunlock(&markwaiters.lock, waitReasonWaitForGCCycle, &gcsema);
  }
}

static bool mayCollect(g* gp) { return gp->m->locks == 0 && gp->preemptoff == 0; }

static void needgoroutine(const char* what) {
  if (curgoroutine() != nullptr) return;
  print("fatal error: ", what, ": this thread is no goroutine; it may keep managed objects by gc::root only\n");
  fatal("gc on a thread that is no goroutine");
}

void gccollect() {
  entry();
  needgoroutine("gc::collect");
  gcenable();
  // One that is under way may have begun before what the caller wants to be rid of became unreachable.
  uint32 n = load_relaxed(work.cycles);
  gcWaitOnMark(n);
  gcStart({gcTrigger::cycle, n + 1});
  gcWaitOnMark(n + 1);
  // What it found dead is free when this returns, and finalizers are under way.
  while (load_relaxed(work.cycles) == n + 1 && sweepone() != ~uintptr(0)) gosched();
  while (load_relaxed(work.cycles) == n + 1 && mheap_.sweepers.load() != 0) gosched();
  wakefing();
}

int32 gcsetpercent(int32 percent) {
  entry();
  needgoroutine("gc::set_percent");
  gcenable();
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  int32 old = gcController.gcPercent;
  store_relaxed(gcController.gcPercent, percent < 0 ? -1 : percent);
  gcController.setTrigger();
  if (gcBlackenEnabled.load() != 0) gcController.revise();
  mutexunlock1(&gcsema);
  if (gcTrigger t{gcTrigger::heap, 0}; t.test() && mayCollect(getg())) gcStart(t);
  return old;
}

void readgcstats(gcStats* st) {
  *st = {};
  st->num_gc = load_relaxed(work.cycles);
  st->num_forced = load_relaxed(work.nforced);
  st->pause_total_ns = uint64(load_relaxed(work.pauseTotal));
  st->last_pause_ns = uint64(load_relaxed(work.pauseNS));
  for (uint32 i = 0; i < gcpauses; i++) st->pause_ns[i] = load_relaxed(work.pauses[i]);
  st->heap_live = load_relaxed(memstats.heap_live);
  st->heap_marked = load_relaxed(gcController.heapMarked);
  st->heap_goal = load_relaxed(gcController.heapGoal);
  st->finalizers_queued = load_relaxed(finalizers.queued);
  st->finalizers_run = __atomic_load_n(&finalizers.run, __ATOMIC_ACQUIRE);
}

// ---- managed objects

VITRINE_NOINLINE static void collectforalloc(bool every) {
  if (!mayCollect(getg())) return;
  if (!every) return gcStart({gcTrigger::heap, 0});
  uint32 n = load_relaxed(work.cycles);
  gcWaitOnMark(n);  // or it would begin none
  gcStart({gcTrigger::cycle, n + 1});
}

// While a cycle marks: what is about to be allocated has to be paid for.
VITRINE_NOINLINE static void chargeforalloc(uintptr size) {
  g* gp = getg();
  if (gp->gcAssistCycle != load_relaxed(work.cycles)) {
    gp->gcAssistCycle = load_relaxed(work.cycles);
    gp->gcAssistBytes = 0;
  }
  gp->gcAssistBytes -= int64(size);
  if (gp->gcAssistBytes < 0 && mayCollect(gp)) gcAssistAlloc(gp);
}

void* gcalloc1(const _type* t, uintptr n, bool array) {
  entry();
  if (curgoroutine() == nullptr) needgoroutine("gc::make");
  gcenable();
  uintptr size;
  if (__builtin_mul_overflow(n, t->size, &size) || size >= uintptr(1) << heapAddrBits) {
    outofmemory(size);
    fatal("out of memory");
  }
  if (array || size == 0) size++;
  // Only sizes that are powers of two are aligned to more than 16; large objects to a page.
  if (t->align > 16 && size <= maxSmallSize) {
    uintptr p = t->align;
    while (p < size) p *= 2;
    size = p;
  }
  static uint32 allocations;
  if (__builtin_expect(debug.gcevery > 0, 0)) {
    if (__atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) % uint32(debug.gcevery) == 0) collectforalloc(true);
  } else if (__builtin_expect(load_relaxed(memstats.heap_live) >= load_relaxed(gcController.trigger), 0)) {
    if (gcTrigger{gcTrigger::heap, 0}.test()) collectforalloc(false);
  }
  if (__builtin_expect(gcBlackenEnabled.load(__ATOMIC_RELAXED) != 0, 0)) chargeforalloc(size);
  void* x = mallocgc(size, n == 0 ? nullptr : t, true);
  if (__builtin_expect(mheap_.ncold.load(__ATOMIC_RELAXED) != 0, 0))
    mheap_.touchCold(spanOfUnchecked(uintptr(x)), mayCollect(getg()));
  return x;
}

}  // namespace vitrine::rt
