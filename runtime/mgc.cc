// mgc.cc: the collector's cycle, and when it begins. Follows Go's mgc.go (1.12), with GODEBUG=gcstoptheworld=2: all of a
// cycle but the sweep happens with the world stopped.
//
// One cycle, gcStart, on the goroutine that allocates when heap_live has reached its goal, or calls gc::collect():
//   1. what the last cycle left unswept is swept (mgcsweep.cc), and the segments with global data are listed
//   2. stopTheWorld (proc_world.cc): no P is used. freezegoroutines (proc_freeze.cc): goroutines that run without one
//      stand still too. Threads that are no goroutines go on; they can neither make nor store managed objects (gc.h)
//   3. every mcache gives its spans up, so that no span is in use while it is unswept
//   4. GCmark: from the roots to everything that they reach (mgcmark.cc)
//   5. GCmarktermination: heap_live becomes what is marked, the goal of the next cycle follows from it; gcSweep: all
//      spans are unswept from here on; free large stacks go back to the heap
//   6. GCoff: the world goes on. bgsweep and those who allocate sweep
//
// The goal: as much again as is live, in hundredths by GOGC, at least 4 MiB × GOGC / 100. GOGC=off: only when asked.
//
// The collector comes to life with the first managed object (gcenable): a program without any has no goroutine for it.
//
// GODEBUG: gctrace=1 prints a line for each cycle, in Go's format:
//     gc 3 @0.512s 4%: 0.011+2.1+0.020 ms clock, 0.022+0/2.1/0+0.040 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P
// The three times: stopping the world and finishing the sweep; marking; the rest, all with the world stopped.
// clobberfree=1 overwrites what is found dead. gcevery=N collects at every Nth allocation. invalidptr=0: a pointer to
// nothing that is met in an object does not end the program.
#include "mgc.h"

#include <link.h>

#include <cstring>

#include "proc.h"
#include "syncwait.h"

namespace vitrine::rt {

atomic<uint32> gcphase;
workType work;
gcControllerState gcController = {100, 4 << 20, 0, ~uint64(0)};

static syncMutex gcsema;  // one cycle at a time is prepared

// ---- when

constexpr uint64 defaultHeapMinimum = 4 << 20;

static void setgoal() {
  int32 percent = load_relaxed(gcController.gcPercent);
  if (percent < 0) {
    store_relaxed(gcController.heapGoal, ~uint64(0));
    return;
  }
  gcController.heapMinimum = defaultHeapMinimum * uint64(percent) / 100;
  uint64 goal = gcController.heapMarked + gcController.heapMarked * uint64(percent) / 100;
  store_relaxed(gcController.heapGoal, goal > gcController.heapMinimum ? goal : gcController.heapMinimum);
}

bool gcTrigger::test() const {
  if (kind == heap) return load_relaxed(memstats.heap_live) >= load_relaxed(gcController.heapGoal);
  if (kind == time)
    return load_relaxed(gcController.gcPercent) >= 0 && load_relaxed(work.tEnd) != 0 &&
           nanotime() - load_relaxed(work.tEnd) > load_relaxed(forcegcperiod);
  return int32(n - load_relaxed(work.cycles)) > 0;
}

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
    setgoal();
    mallocshort();
  }
  mutexunlock1(&gcsema);
}

void gcenable() {
  if (__builtin_expect(load_relaxed(sweep.g_) == nullptr, 0)) enable();
}

// ---- a cycle

// Everything in mcaches goes back to where it is from.
static void flushmcaches() {
  auto flush = [](mcache* c) {
    if (c == nullptr) return;
    c->releaseAll();
    rawcacheflush(c);
  };
  flush(mheap_.mcache0);
  for (int64 i = 0; i < nallp(); i++) flush(allp.array[i]->mcache);
}

static void setflushgen() {
  uint32 sg = load_relaxed(mheap_.sweepgen);
  mheap_.mcache0->flushGen.store(sg, __ATOMIC_RELAXED);
  for (int64 i = 0; i < nallp(); i++)
    if (mcache* c = allp.array[i]->mcache; c != nullptr) c->flushGen.store(sg, __ATOMIC_RELAXED);
}

// On g0, the world stopped.
static void gcCycle(void*) {
  g* stopper = getg()->m->curg;
  freezegoroutines();
  lock(&mheap_.mcache0lock);  // threads that are no goroutines allocate with it
  finishsweep_m();
  flushmcaches();
  store_relaxed(work.cycles, work.cycles + 1);
  work.heap0 = load_relaxed(memstats.heap_live);
  work.stacksScanned = work.globalsScanned = 0;
  work.gcw.bytesMarked = work.gcw.scanWork = 0;
  work.tMark = nanotime();
  gcphase.store(GCmark);
  gcMarkRoots(stopper);
  work.gcw.dispose();
  gcphase.store(GCmarktermination);
  work.tMarkTerm = nanotime();
  work.heap1 = load_relaxed(memstats.heap_live);
  work.heap2 = work.gcw.bytesMarked;
  store_relaxed(gcController.heapMarked, work.heap2);
  store_relaxed(memstats.heap_live, work.heap2);
  store_relaxed(memstats.heap_scan, 0);
  uint64 lastgoal = gcController.heapGoal;
  setgoal();
  gcPaceScavenger(lastgoal);
  gcSweep();
  setflushgen();
  freeStackSpans();
  gcphase.store(GCoff);
  unlock(&mheap_.mcache0lock);
  thawgoroutines();
  store_relaxed(work.tEnd, nanotime());
  store_relaxed(work.pauseTotal, work.pauseTotal + (work.tEnd - work.tSweepTerm));
}

// ---- gctrace

// As Go prints times: of ms, at least two digits that matter, at most three decimals.
static void printms(int64 ns) {
  if (ns >= 10'000'000) return print(ns / 1'000'000);
  int64 us = ns / 1000, ms = us / 1000, rest = us % 1000;
  int32 digits = us >= 1000 ? 1 : us >= 100 ? 2 : 3;
  for (int32 i = digits; i < 3; i++) rest /= 10;
  print(ms);
  if (rest == 0) return;
  while (rest % 10 == 0) {
    rest /= 10;
    digits--;
  }
  print(".");
  for (; digits > 1; digits--) {
    int64 width = 1;
    for (int32 k = 1; k < digits; k++) width *= 10;
    if (rest < width) print("0");
  }
  print(rest);
}

static void printsec(int64 ns) {
  int64 ms = ns / 1'000'000;
  print(ms / 1000, ".", ms % 1000 < 100 ? "0" : "", ms % 1000 < 10 ? "0" : "", ms % 1000, "s");
}

static void gctrace(uint64 goal, bool forced) {
  int64 clock[] = {work.tMark - work.tSweepTerm, work.tMarkTerm - work.tMark, work.tEnd - work.tMarkTerm};
  int64 run = work.tEnd - sched.starttime, procs = gomaxprocs;
  auto mb = [](uint64 bytes) { return bytes >> 20; };
  print("gc ", work.cycles, " @");
  printsec(work.tEnd - sched.starttime);
  // One thread works; the others' time counts as the collector's too, because they are stopped.
  print(" ", work.pauseTotal * 100 / (run > 0 ? run : 1), "%: ");
  printms(clock[0]);
  print("+");
  printms(clock[1]);
  print("+");
  printms(clock[2]);
  print(" ms clock, ");
  printms(clock[0] * procs);
  print("+0/");
  printms(clock[1]);
  print("/0+");
  printms(clock[2] * procs);
  print(" ms cpu, ", mb(work.heap0), "->", mb(work.heap1), "->", mb(work.heap2), " MB, ", mb(goal), " MB goal, ",
        mb(work.stacksScanned), " MB stacks, ", mb(work.globalsScanned), " MB globals, ", gomaxprocs, " P",
        forced ? " (forced)" : "", "\n");
}

// ---- beginning one

void gcStart1(gcTrigger t, uintptr sp) {
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  if (!t.test()) return mutexunlock1(&gcsema);
  while (sweepone() != ~uintptr(0)) {
  }
  gcenumsegments();
  san_scanned(getg());
  uint64 goal = gcController.heapGoal;
  work.startersp = sp;
  work.userForced = t.kind == gcTrigger::cycle;
  if (work.userForced) store_relaxed(work.nforced, work.nforced + 1);
  store_relaxed(work.tSweepTerm, nanotime());
  withworldstopped("GC", gcCycle, nullptr);
  if (debug.gctrace > 0) gctrace(goal == ~uint64(0) ? 0 : goal, work.userForced != 0);
  mutexunlock1(&gcsema);
  wakebgsweep();
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
  gcStart({gcTrigger::cycle, load_relaxed(work.cycles) + 1});
  // What it found dead is free when this returns, and finalizers are under way.
  while (sweepone() != ~uintptr(0)) gosched();
  while (mheap_.sweepers.load() != 0) gosched();
  wakefing();
}

int32 gcsetpercent(int32 percent) {
  entry();
  needgoroutine("gc::set_percent");
  gcenable();
  mutexlockas(&gcsema, waitReasonWaitForGCCycle, &gcsema);
  int32 old = gcController.gcPercent;
  store_relaxed(gcController.gcPercent, percent < 0 ? -1 : percent);
  setgoal();
  mutexunlock1(&gcsema);
  if (gcTrigger t{gcTrigger::heap, 0}; t.test() && mayCollect(getg())) gcStart(t);
  return old;
}

void readgcstats(gcStats* st) {
  *st = {};
  st->num_gc = load_relaxed(work.cycles);
  st->num_forced = load_relaxed(work.nforced);
  st->pause_total_ns = uint64(load_relaxed(work.pauseTotal));
  st->last_pause_ns = uint64(load_relaxed(work.tEnd) - load_relaxed(work.tSweepTerm));
  st->heap_live = load_relaxed(memstats.heap_live);
  st->heap_marked = load_relaxed(gcController.heapMarked);
  st->heap_goal = load_relaxed(gcController.heapGoal);
  st->finalizers_queued = load_relaxed(finalizers.queued);
  st->finalizers_run = __atomic_load_n(&finalizers.run, __ATOMIC_ACQUIRE);
}

// ---- managed objects

VITRINE_NOINLINE static void collectforalloc(bool every) {
  if (!mayCollect(getg())) return;
  if (every)
    gcStart({gcTrigger::cycle, load_relaxed(work.cycles) + 1});
  else
    gcStart({gcTrigger::heap, 0});
}

void* gcalloc1(const _type* t, uintptr n, bool array) {
  entry();
  if (curgoroutine() == nullptr) needgoroutine("gc::make");
  gcenable();
  static uint32 allocations;
  if (__builtin_expect(debug.gcevery > 0, 0)) {
    if (__atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) % uint32(debug.gcevery) == 0) collectforalloc(true);
  } else if (__builtin_expect(load_relaxed(memstats.heap_live) >= load_relaxed(gcController.heapGoal), 0)) {
    collectforalloc(false);
  }
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
  return mallocgc(size, n == 0 ? nullptr : t, true);
}

// ---- -DVITRINE_GC_CHECK

static bool insegment(uintptr addr) {
  return dl_iterate_phdr(
             [](dl_phdr_info* info, size_t, void* arg) -> int {
               for (int i = 0; i < info->dlpi_phnum; i++) {
                 const auto& ph = info->dlpi_phdr[i];
                 uintptr lo = info->dlpi_addr + ph.p_vaddr;
                 if (ph.p_type == PT_LOAD && *static_cast<uintptr*>(arg) - lo < ph.p_memsz) return 1;
               }
               return 0;
             },
             &addr) != 0;
}

// A gc::ptr is made at slot: will a collection see it?
void gccheckslot(const void* slot) {
  auto a = uintptr(slot);
  auto within = [a](const stack& s) { return a >= s.lo && a < s.hi; };
  mspan* s = spanOf(a);
  if (s != nullptr && s->state.load(__ATOMIC_ACQUIRE) == mSpanInUse && a >= s->base() && a < s->limit) {
    if (!spannoscan(s->spanclass) && heapBitsForAddr(a).isPointer()) return;
    uintptr offset = a - (s->base() + s->objIndex(a) * s->elemsize);
    print("runtime: a gc::ptr at ", slot, ", offset ", uint64(offset), " of a managed object of ", uint64(s->elemsize),
          " bytes\n");
    fatal("gc: a gc::ptr in a managed object is not in its type's map");
  }
  if (s != nullptr || debug.sbrk != 0) return;  // a stack, or held memory
  if (load_relaxed(gomaxprocs) == 0) return;    // before run(): of its caller
  g* gp = curgoroutine();
  if ((gp != nullptr && within(gp->stack)) || within(g0.stack) || sanitized() || san_watched() || insegment(a)) return;
  print("runtime: a gc::ptr at ", slot, "\n");
  fatal("gc: a gc::ptr is in memory that the collector does not see; use gc::root there");
}

// ---- gc::root

gcroots_ gcroots;

static void rootlink(gcroot* r) {
  gcroot* head = &gcroots.head;
  if (head->next == nullptr) head->next = head->prev = head;
  r->next = head;
  r->prev = head->prev;
  head->prev->next = r;
  head->prev = r;
  gcroots.n++;
}

void gcrootadd(gcroot* r, void* p) {
  lock(&gcroots.lock);
  store_relaxed(r->p, p);
  rootlink(r);
  unlock(&gcroots.lock);
}

void gcrootmove(gcroot* r, gcroot* from) {
  lock(&gcroots.lock);
  store_relaxed(r->p, from->p);
  store_relaxed(from->p, nullptr);
  rootlink(r);
  unlock(&gcroots.lock);
}

void gcrootset(gcroot* r, void* p) {
  lock(&gcroots.lock);
  store_relaxed(r->p, p);
  unlock(&gcroots.lock);
}

void gcrootdrop(gcroot* r) {
  lock(&gcroots.lock);
  r->prev->next = r->next;
  r->next->prev = r->prev;
  r->next = r->prev = nullptr;
  store_relaxed(r->p, nullptr);  // the next use of this memory may leave the word as it is, on a stack
  gcroots.n--;
  unlock(&gcroots.lock);
}

}  // namespace vitrine::rt
