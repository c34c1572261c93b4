// mgc.h: the shapes and functions of the collector, bottom-up, as mem.h lists those of the allocator. Follows Go's
// mgc.go, mgcmark.go, mgcpacer.go, mgcwork.go, mbarrier.go, mgcsweep.go and mfinal.go (1.12 to 1.19). What a cycle does is
// told in mgc.cc.
//
// Lock order: gcsema and worldsema (mgc.cc, proc_world.cc), then what mheap.h and runtime2.h say. The collector's own —
// gcroots.lock, finlock.lock, work.lock, wbshared.lock, the queues' — are taken with any of those held, work.lock last.
#pragma once
#include "include/vitrine/detail/rt.h"
#include "mem.h"

namespace vitrine::rt {

enum gcPhase : uint32 {
  GCoff = 0,              // sweeping, or nothing at all
  GCmark = 1,             // marking, beside the program: the write barrier is on, new objects are born marked
  GCmarktermination = 2,  // all is marked; the world is stopped
};

// ---- mgcwork.cc: objects that are marked, and whose pointers are still to be followed

constexpr uint32 workbufSlots = 510;
struct workbuf {
  workbuf* next;  // on work.full or work.empty
  uint64 nobj;
  uintptr obj[workbufSlots];  // addresses of objects, or of parts of large ones (maxOblet)
};
static_assert(sizeof(workbuf) == 4096);

#pragma GCC visibility push(hidden)
extern atomic<uint32> gcphase;           // gcPhase; changes with the world stopped
extern atomic<uint32> gcmarkhold;        // a test's: != 0: who sets gcBlackenEnabled is the test
extern atomic<uint32> gcBlackenEnabled;  // workers and assists may mark; changes with the world stopped
#pragma GCC visibility pop

// ---- mgcpacer.cc: when the next collection begins, and who works how much in this one

enum gcMarkWorkerMode : uint32 {
  gcMarkWorkerNotWorker = 0,
  gcMarkWorkerDedicated = 1,   // has its P until it is done
  gcMarkWorkerFractional = 2,  // … for a share of the time
  gcMarkWorkerIdle = 3,        // … as long as the P has nothing else
};

struct gcControllerState {
  int32 gcPercent;      // GOGC; -1: only when asked
  uint64 heapMinimum;   // no collection below
  uint64 heapMarked;    // bytes that the last one kept
  uint64 heapGoal;      // what heap_live should not grow beyond by the end of the next (or present) one; ~0: no goal
  uint64 trigger;       // heap_live at which the next one begins; ~0: never
  double triggerRatio;  // trigger / heapMarked - 1, as the last cycles taught
  // Of the present cycle. Work is counted in bytes scanned.
  atomic<int64> scanWork;
  atomic<int64> bgScanCredit;  // done in the background and not used up by assists
  int64 markStartTime;
  atomic<int64> dedicatedMarkWorkersNeeded;
  double fractionalUtilizationGoal;  // of each P; 0: no fractional workers
  double assistWorkPerByte;          // what allocating one byte costs
  double assistBytesPerWork;

  void startCycle();
  void endCycle();
  void revise();
  void setTrigger();  // and the goal
};

struct gcTrigger {
  enum kind_ : uint32 { heap, cycle, time } kind;
  uint32 n;  // cycle: begin number n if it was not begun yet
  bool test() const;
};

// ---- mgc.cc: the cycle

// A goroutine that marks in the background.
struct gcworker {
  gcworker* next;  // in the pool; gcworkers.lock
  g* g_;
  uint32 mode;  // gcMarkWorkerMode: set by who takes it out of the pool
};

constexpr uint32 gcpauses = 256;

struct workType {
  rt::mutex lock;              // guards full, empty, nbufs
  workbuf* full;               // buffers with objects
  workbuf* empty;              // without
  uint64 nbufs;                // ever made
  atomic<uint64> bytesMarked;  // in this cycle, without what the Ps' gcWorks have
  // Roots that are scanned beside the program, in jobs: first of goroutines, then of spans, then the finalizers' queue.
  atomic<uint32> markrootNext;
  uint32 markrootJobs, nStackJobs, nSpanJobs;
  atomic<uint32> nproc, nwait;  // markers, and those of them that found nothing more to do
  uint32 cycles;                // collections that were begun
  uint32 nforced;               // of these, by gc::collect
  uint8 userForced;
  uint8 stopped;      // GODEBUG=gcstoptheworld: this cycle marks with the world stopped
  uintptr startersp;  // gcStart's: what the goroutine that collects knew is from here up
  // Of the present or last cycle; nanotime and bytes.
  int64 tSweepTerm;              // begins: the world is being stopped
  int64 tMark;                   // roots are known; marking goes on beside the program
  int64 tMarkTerm;               // all is marked, or so it seemed: the world is being stopped again
  int64 tEnd;                    // the world goes on
  int64 pauseNS;                 // for how long the world was stopped in it
  uint64 heap0;                  // heap_live at the beginning
  uint64 heap1;                  // at the end of marking
  uint64 heap2;                  // what is marked
  uint64 goal;                   // heapGoal at the beginning
  atomic<uint64> stacksScanned;  // bytes
  uint64 globalsScanned;         // bytes
  atomic<int64> assistTime, dedicatedMarkTime, fractionalMarkTime, idleMarkTime;  // ns of CPU
  int64 pauseTotal;                                                               // ns, of all cycles
  int64 markCPU;            // ns that workers and assists took, of all cycles
  uint64 pauses[gcpauses];  // ns; of cycle n at (n + 255) % 256
};

// Writable data of the program and its shared objects, as of the beginning of the cycle.
constexpr uint32 maxsegments = 1024;
struct gcsegment {
  uintptr lo, hi;
};
struct gcsegments_ {
  uint32 n;
  gcsegment at[maxsegments];
};

#pragma GCC visibility push(hidden)
extern workType work;
extern gcControllerState gcController;
extern gcsegments_ gcsegments;
extern struct gcroots_ {
  rt::mutex lock;
  gcroot head;  // head.next is the first, head.prev the last; an empty list points to the head
  uint64 n;
} gcroots;
#pragma GCC visibility pop

void mallocshort(gcPhase phase);  // malloc.cc: from now on gc::make may take the short way, or may not
void gcenable();                  // the first managed object is about to be made: the collector comes to life
void* gcalloc1(const _type* t, uintptr n, bool array);  // gcalloc's long way: may collect
void gcStart(gcTrigger t);                              // asm_amd64.S: from a goroutine that is not pinned; parks
void gcStart1(gcTrigger t, uintptr sp);
void gcMarkDone();  // from a goroutine that is not pinned, when there seems to be nothing left to mark; parks
void startsystemgoroutine(void (*fn)(void*), uintptr startpc, const char* name, uint64 stack);

// ---- mgcmark.cc

bool gcMarkWorkAvailable(p* pp);                       // pp null: that others than a P could take
uintptr findObject(uintptr p, mspan** s, uintptr* i);  // base of p's object; 0: none
void gcshade(uintptr p, gcWork* w);                    // marks what p points to, if that is an object
void gcshadeall(const uintptr* p, uintptr n, gcWork* w);
void scanblock(uintptr b, uintptr n, gcWork* w);               // conservatively
void scanreferents(mspan* s, uintptr obj, gcWork* w);          // what obj refers to, by its pointer bits
inline void gcmarknewobject(mspan* s, uintptr i, gcWork* w) {  // object i of s, which nobody has seen yet
  __atomic_fetch_or(&s->gcmarkBits[i / 8], gcBits(1 << i % 8), __ATOMIC_RELAXED);
  w->bytesMarked += s->elemsize;
}
enum : uint32 {
  drainUntilPreempt = 1,  // returns when the goroutine is asked to yield
  drainIdle = 2,          // … when the P has other work
  drainFractional = 4,    // … when the P's share is used up
  drainBounded = 8,       // … with the world stopped, before it has been so for long
};
void gcDrain(gcWork* w, uint32 flags);      // on g0, with a P
int64 gcDrainN(gcWork* w, int64 scanWork);  // … about so much work; returns what was done
void gcsetheaprange();                      // the world stopped

// ---- mgcroot.cc

void gcMarkRootsStopped(g* stopper, gcWork* w);  // those that are read with the world stopped
void gcMarkRootFrozen(gcWork* w);                // goroutines without a P, once more
uint32 gcPrepareRoots();                         // the jobs of this cycle
void markroot(gcWork* w, uint32 job);
void gcscangoroutine(g* gp, gcWork* w);  // which is about to run
void gcbornscanned(g* gp);               // which is about to be made runnable for the first time
void gcenumsegments();                   // with the world running
void eachclosure(const g* gp, void (*f)(uintptr p, uintptr size, void* arg), void* arg);
gcsegment symtabmemory();  // symtab.cc, cgroup.cc: their static memory
gcsegment cgroupmemory();

// ---- mbarrier.cc

struct wbBuf {
  uint32 n;
  uintptr at[512];
};
void wbBufFlush(p* pp, gcWork* w);  // marks what is in it. On g0
void wbSharedFlush(gcWork* w);      // … and in those of who has no P. With the world stopped
void wbMexit(m* mp);                // mp ends
void gcwbinit();                    // with the world stopped: each P gets a buffer
// What was or will be a pointer in a place that the collector may have looked at already, or not yet, goes to one where it
// looks no more: marked now. With the barrier off nothing is done.
void gcshadeone(void* p);
void gcshadememory(const void* p, uintptr n);
void bulkBarrierPreWrite(uintptr dst, uintptr src, uintptr size);
void bulkBarrierPreWriteSrcOnly(uintptr dst, uintptr src, uintptr size);
void bulkBarrierBitmap(uintptr dst, uintptr src, uintptr size, uintptr maskOffset, const uint8* bits);
void typeBitsBulkBarrier(const _type* typ, uintptr dst, uintptr src, uintptr size);

// ---- mgcworker.cc

extern void* const gcBgMarkWorkerFn;
void gcBgMarkStartWorkers();           // and waits until each is ready. gcsema held
g* gcFindRunnableWorker(p* pp);        // for schedule: a worker whose turn it is; null: none
g* gcFindIdleWorker(p* pp);            // for a P that has nothing else
void gcAssistAlloc(g* gp);             // gp, the caller, is in debt
void gcWakeAllAssists();               // the cycle is over
void gcFlushBgCredit(int64 scanWork);  // done in the background

// ---- mgctrace.cc

void gctrace();  // the line of GODEBUG=gctrace=1, for the cycle that has just ended

// ---- mgccheck.cc

void gccheckmarks();  // GODEBUG=gccheckmark=1: with the world stopped and all marked, nothing marked refers to what is not

// ---- proc_freeze.cc: goroutines that run without a P stand still

enum : uint32 { freezeNone = 0, freezeAsked = 1, freezeDone = 2 };
void freezegoroutines();  // on g0, all Ps stopped
void thawgoroutines();

// ---- mgcsweep.cc

struct sweepdata {
  rt::mutex lock;
  g* g_;               // bgsweep; null: not started
  uint8 parked;        // lock
  uint64 nbgsweep;     // spans swept by it
  uint64 npausesweep;  // … while the world was stopped
};
#pragma GCC visibility push(hidden)
extern sweepdata sweep;
#pragma GCC visibility pop
uintptr sweepone();  // pages that went back to the heap; ~0: nothing is left to sweep
bool isSweepDone();
void finishsweep_m();
void gcSweep();       // a cycle has ended: the world is stopped, everything is to be swept
void wakebgsweep();   // and runs again
void bgsweep(void*);  // a goroutine's function
void deductSweepCredit(uintptr spanBytes, uintptr callerSweepPages);

// ---- mgcscavenge.cc

struct scavengedata {
  rt::mutex lock;
  g* g_;            // bgscavenge; null: not started
  uint8 parked;     // lock
  uint64 goal;      // bytes that the heap may keep; ~0: all
  uint64 released;  // bytes given back by bgscavenge
};
struct forcegcstate {
  rt::mutex lock;
  g* g_;         // forcegchelper; null: not started
  uint8 parked;  // lock
};
#pragma GCC visibility push(hidden)
extern scavengedata scavenge;
extern forcegcstate forcegc;
extern int64 forcegcperiod;  // ns
#pragma GCC visibility pop
uint64 gcRetained();
void gcPaceScavenger(uint64 lastgoal);
void bgscavenge(void*);     // a goroutine's function
void forcegchelper(void*);  // a goroutine's function

// ---- mfinal.cc

struct finalizer {
  void (*fn)(void* object, void* arg);  // null: destroy
  void (*destroy)(void* object, uintptr n);
  void* object;
  union {
    void* arg;
    uintptr n;
  };
};
constexpr uint32 finblockSlots = 126;
struct finblock {
  finblock* next;     // on finq or finc
  finblock* alllink;  // on allfin
  uint64 cnt;
  uint64 pad;
  finalizer fin[finblockSlots];
};
#pragma GCC visibility push(hidden)
extern struct finalizers_ {
  rt::mutex lock;
  g* fing;             // the goroutine that runs them; null: not started
  uint8 parked;        // lock
  finblock* finq;      // to be run; lock
  finblock* finc;      // free blocks; lock
  finblock* allfin;    // every block; lock, append-only
  finalizer running;   // fing's; object is null when it runs none
  uint64 queued, run;  // counts
} finalizers;
#pragma GCC visibility pop
void markqueuedfinalizers(gcWork* w);    // roots: what finalizers that are due will see
void markspecials(mspan* s, gcWork* w);  // … those that are set
bool sweepspecials(mspan* s);            // before its bits are swapped
void wakefing();

}  // namespace vitrine::rt
