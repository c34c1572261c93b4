// mgc.h: the shapes and functions of the collector, bottom-up, as mem.h lists those of the allocator. Follows Go's
// mgc.go, mgcmark.go, mgcwork.go, mgcsweep.go and mfinal.go (1.12 to 1.14). What a cycle does is told in mgc.cc.
//
// Lock order: worldsema (proc_world.cc), then what mheap.h and runtime2.h say. gcroots.lock and finlock.lock are taken
// without any other; the collector holds gcroots.lock or mheap_.mcache0lock while the world is stopped.
#pragma once
#include "include/vitrine/detail/rt.h"
#include "mem.h"

namespace vitrine::rt {

enum gcPhase : uint32 {
  GCoff = 0,              // sweeping, or nothing at all
  GCmark = 1,             // marking; the world is stopped
  GCmarktermination = 2,  // all is marked
};

// ---- mgcwork.cc: objects that are marked, and whose pointers are still to be followed

constexpr uint32 workbufSlots = 510;
struct workbuf {
  workbuf* next;  // on work.full or work.empty
  uint64 nobj;
  uintptr obj[workbufSlots];  // addresses of objects
};
static_assert(sizeof(workbuf) == 4096);

// What one marker has in hand: two buffers, so that a marker that goes up and down by a few objects need not exchange
// one each time.
struct gcWork {
  workbuf* wbuf1;  // null: none yet
  workbuf* wbuf2;
  uint64 bytesMarked;
  uint64 scanWork;  // bytes of objects looked at

  void put(uintptr obj);
  uintptr tryGet();  // 0: nothing is left
  void dispose();
};

// ---- mgc.cc: the cycle

struct workType {
  workbuf* full;   // buffers with objects. The marker's, with the world stopped
  workbuf* empty;  // without
  uint64 nbufs;    // ever made
  gcWork gcw;      // the marker's
  uint32 cycles;   // collections that were begun
  uint32 nforced;  // of these, by gc::collect
  uint8 userForced;
  uintptr startersp;  // gcStart's: what the goroutine that collects knew is from here up
  // Of the present or last cycle; nanotime and bytes.
  int64 tSweepTerm;       // begins: the world is being stopped
  int64 tMark;            // it is stopped, and all is swept
  int64 tMarkTerm;        // all is marked
  int64 tEnd;             // the world goes on
  uint64 heap0;           // heap_live at the beginning
  uint64 heap1;           // at the end of marking
  uint64 heap2;           // what is marked
  uint64 stacksScanned;   // bytes
  uint64 globalsScanned;  // bytes
  int64 pauseTotal;       // ns, of all cycles
};

// When the next collection begins.
struct gcControllerState {
  int32 gcPercent;     // GOGC; -1: only when asked
  uint64 heapMinimum;  // no collection below
  uint64 heapMarked;   // bytes that the last one kept
  uint64 heapGoal;     // heap_live at which the next one begins, ~0: never
};

struct gcTrigger {
  enum kind_ : uint32 { heap, cycle, time } kind;
  uint32 n;  // cycle: begin number n if it was not begun yet
  bool test() const;
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
extern atomic<uint32> gcphase;  // gcPhase; changes with the world stopped
extern workType work;
extern gcControllerState gcController;
extern gcsegments_ gcsegments;
extern struct gcroots_ {
  rt::mutex lock;
  gcroot head;  // head.next is the first, head.prev the last; an empty list points to the head
  uint64 n;
} gcroots;
#pragma GCC visibility pop

void gcenable();  // the first managed object is about to be made: the collector comes to life
void* gcalloc1(const _type* t, uintptr n, bool array);  // gcalloc's long way: may collect
void gcStart(gcTrigger t);                              // asm_amd64.S: from a goroutine that is not pinned; parks
void gcStart1(gcTrigger t, uintptr sp);
void startsystemgoroutine(void (*fn)(void*), uintptr startpc, const char* name, uint64 stack);

// ---- mgcmark.cc

void gcMarkRoots(g* stopper);
void gcDrain();
void scanblock(uintptr b, uintptr n);                                    // conservatively
void scanobject(uintptr b, mspan* s, uintptr index);                     // by its pointer bits
uintptr findObject(uintptr p, mspan** s, uintptr* index, bool precise);  // base of p's object; 0: none
void gcenumsegments();                                                   // with the world running

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
void markfinalizers();         // roots: what finalizers will see
bool sweepspecials(mspan* s);  // before its bits are swapped
void wakefing();

}  // namespace vitrine::rt
