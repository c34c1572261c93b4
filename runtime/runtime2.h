// runtime2.h: the shapes of the scheduler — g, m, p, schedt, gobuf, sudog, hchan — and the globals that own them.
// (The few that user objects contain — atomic, string, mutex, waitq, chantype — are in vitrine/detail/shapes.h.)
// Follows Go's runtime2.go: the field names, status numbers and wait reasons are Go's, because every document about
// that runtime and every debugger of it uses those words. debugger/core reads these structures through DWARF (or, in a
// stripped program, through the ELF note of asm_amd64.S); it never includes this file.
//
// Rules of the shapes:
//   * What a tool reads is plain: atomic<T> has one member `value`, slice<T> is {array, len, cap}, string is
//     {str, len}.
//   * g, m and p objects are type-stable and never freed, so a stale pointer to one always reads as the same type.
//   * The fields of g that a listing needs lie in its first four cache lines; sizeof(g) is fixed, with reserved bytes.
//   * A g's stack belongs to whoever owns its status: while Grunning the M that runs it, while Gwaiting or Grunnable
//     nobody may touch it except the one that moves the status on (or holds the Gscan bit).
//
// Lock order (outer first): hchan.lock, waiters' lists → sched.lock → timers.lock; allglock. Below each of them: the
// locks of the memory system, whose order is in mheap.h.
#pragma once
#include "include/vitrine/detail/shapes.h"

namespace vitrine::rt {

template <class T>
struct slice {
  T* array;
  int64 len;
  int64 cap;
};

struct g;
struct m;
struct p;
struct timer;
struct gls;
struct mcache;
struct traceBuf;
struct workbuf;
struct wbBuf;

// Status of a g. A status acts as a lock on the goroutine's stack; Gscan is or-ed in by whoever inspects the stack.
enum gstatus : uint32 {
  Gidle = 0,      // allocated, never initialised
  Grunnable = 1,  // on a run queue; not executing; the stack is not owned
  Grunning = 2,   // executing user code; owns its stack; has an m, and a p unless it lost it (noproc)
  Gsyscall = 3,   // in a system call; owns its stack; has an m
  Gwaiting = 4,   // parked; recorded somewhere (a wait queue, a timer), so that it can be readied
  Gmoribund_unused = 5,
  Gdead = 6,  // on a free list or being initialised; may have no stack
  Genqueue_unused = 7,
  Gcopystack = 8,
  Gpreempted = 9,
  Gleaked = 10,
  Gdeadextra = 11,
  Gscan = 0x1000,
};

enum pstatus : uint32 { Pidle = 0, Prunning = 1, Psyscall = 2, Pgcstop = 3, Pdead = 4 };

// Why a g waits. Numbers are never reused; new reasons go to the end. waitReasonStrings (proc_layout.cc) has the text.
enum waitReason : uint8 {
  waitReasonZero = 0,
  waitReasonGCAssistMarking = 1,
  waitReasonIOWait = 2,
  waitReasonChanReceiveNilChan = 3,
  waitReasonChanSendNilChan = 4,
  waitReasonDumpingHeap = 5,
  waitReasonGarbageCollection = 6,
  waitReasonGarbageCollectionScan = 7,
  waitReasonPanicWait = 8,
  waitReasonSelect = 9,
  waitReasonSelectNoCases = 10,
  waitReasonGCAssistWait = 11,
  waitReasonGCSweepWait = 12,
  waitReasonGCScavengeWait = 13,
  waitReasonChanReceive = 14,
  waitReasonChanSend = 15,
  waitReasonFinalizerWait = 16,
  waitReasonForceGCIdle = 17,
  waitReasonSemacquire = 18,
  waitReasonSleep = 19,
  waitReasonSyncCondWait = 20,
  waitReasonSyncMutexLock = 21,
  waitReasonSyncRWMutexRLock = 22,
  waitReasonSyncRWMutexLock = 23,
  waitReasonSyncWaitGroupWait = 24,
  waitReasonTraceReaderBlocked = 25,
  waitReasonWaitForGCCycle = 26,
  waitReasonGCWorkerIdle = 27,
  waitReasonGCWorkerActive = 28,
  waitReasonPreempted = 29,
  waitReasonDebugCall = 30,
  waitReasonStoppingTheWorld = 31,
  waitReasonTaskJoin = 32,
  waitReasonSyncOnceDo = 33,
  waitReasonSyncSemaphore = 34,
  waitReasonGomaxprocs = 35,
  waitReasonCount
};
extern const string waitReasonStrings[waitReasonCount] __attribute__((visibility("hidden")));

// One-shot sleep and wakeup of an M: notesleep waits until notewakeup was called; noteclear arms it again.
struct note {
  atomic<uint32> key;
};

struct stack {
  uintptr lo, hi;  // [lo, hi), guard not included
};

// A saved context. For a g that parked: sp is the stack pointer after mcall's pushes, pc mcall's resume label, bp the
// frame pointer in mcall's frame. The offsets are known to asm_amd64.S (asm_offsets.h).
struct gobuf {
  uintptr sp;
  uintptr pc;
  rt::g* g;
  void* ctxt;  // argument for the function at pc when the g starts
  uintptr ret;
  uintptr lr;
  uintptr bp;
};

// The thrower's state of libstdc++ and libc++abi (__cxa_eh_globals), kept per g across a park.
struct ehglobals {
  void* caughtExceptions;
  uint64 uncaughtExceptions;
};

constexpr int gnamelen = 32;

constexpr int gnascent = 3;

struct g {
  // The first two lines are all that a switch touches.
  rt::stack stack;              // guarded by status; lo == 0: no stack
  gobuf sched;                  // valid while Grunnable or Gwaiting; owner of the status
  atomic<uint32> atomicstatus;  // gstatus | Gscan
  rt::waitReason waitreason;    // set before Gwaiting
  uint8 preempt;                // asked to yield at its next chance
  uint8 noproc;                 // runs on without a P: it ignored `preempt`, and its M's signal handler gave the P away
  uint8 haseh;                  // eh is not empty
  rt::m* m;                     // while running
  uintptr stackguard0;          // stack.lo + stackGuard, or stackPreempt: entry() has something to do
  uint64 goid;
  int64 waitsince;  // nanotime when it blocked (approximate: the scheduler's tick)
  rt::m* lockedm;
  int32 errno_;      // saved when it leaves an M
  uint8 issystem;    // the runtime's own; not counted, not shown by default
  uint8 guard;       // gguard: how the low end of the stack is protected
  uint8 isforeign;   // the proxy of a thread that is no M: parks that thread; runs on no M
  uint8 preemptoff;  // depth of no_preempt
  // Third and fourth line: what else a listing reads of every goroutine, and a park needs.
  uintptr gopc;     // return address of the go() that created it
  uintptr startpc;  // the user's function
  uint64 parentGoid;
  void* waitobject;     // what it waits on: hchan, mutex, wait_group, …; 0 when nothing
  rt::g* schedlink;     // next on a run queue, free list or wait list
  ehglobals eh;         // guarded by status: saved when it leaves an M
  void* param;          // passed by the one that readies it (a sudog, or 0 for "closed")
  char name[gnamelen];  // set_name; NUL-terminated; empty: none
  sudog* waiting;       // the sudogs it waits with
  void* startfn;        // entry: void (*)(void* arg)
  void* startarg;
  rt::gls* gls;  // its gls<T> values; owner only
  // The rest
  uintptr stktopsp;  // sp at entry
  uintptr syscallsp, syscallpc, syscallbp;
  void* fakestack;  // ASan's fake stack of this g while it is off the M
  void* tsanfiber;
  uint64 valgrindStackID;
  uintptr stackcanary;  // address of the canary word when guard is gguardCanary
  timer* timer_;        // the sleep timer, on its own stack while it sleeps
  int64 runnabletime;
  uint32 stackclass;          // log2 of the slot size
  uint32 eventseq;            // trace.cc: events told of it; guarded by status
  note foreignnote;           // where the thread of a proxy sleeps
  atomic<uint32> selectDone;  // bit 0: the select that it is parked in has been won; the rest: that one's number
  int64 foreigntid;           // the kernel thread id of a proxy
  uintptr syscallregs[5];     // the callee-saved registers where it entered its blocking_scope; its collector's
  int64 gcAssistBytes;        // credit for allocating while a collection marks; negative: debt. Owner
  uint32 gcAssistCycle;       // the cycle that gcAssistBytes is of: what is left of another counts for nothing
  atomic<uint32> gcscan;      // cycle × 2: its stack is being scanned; + 1: need not be any more (mgcroot.cc)
  void* closure;              // startarg, if that is scanned with the stack; until heldfree. Owner
  void* nascent[gnascent];    // closures that it makes for others, which do not have them yet. Owner
  uint32 nnascent;            // owner
  uint8 reserved[60];         // room for later fields: sizeof(g) is part of the layout note
};
static_assert(sizeof(g) == 512, "sizeof(g) is fixed: take new fields from `reserved`");
static_assert(offsetof(g, gopc) == 128 && offsetof(g, stktopsp) == 256, "g's fields are where its comments say");

enum gguard : uint8 { gguardNone = 0, gguardMprotect = 1, gguardMadvise = 2, gguardCanary = 3 };

constexpr int tlsSlots = 6;

struct m {
  g* g0;                  // scheduling stack
  g* gsignal;             // signal stack (sigaltstack)
  uintptr tls[tlsSlots];  // [0] thread pointer (%fs base), [1] address of this thread's current-g slot
  int64 procid;           // kernel thread id
  g* curg;                // current running goroutine
  rt::p* p;               // attached p while executing Go code; null if not
  rt::p* nextp;           // p handed over by startm before the wakeup
  rt::p* oldp;
  int64 id;
  int32 mallocing;
  int32 throwing;
  const char* preemptoff;
  int32 locks;  // > 0: no park, no preemption
  int32 dying;
  uint8 spinning;  // out of work and looking for some
  uint8 blocked;   // blocked on a note
  uint8 inwb;
  uint8 incgo;
  void (*mstartfn)();
  note park;
  rt::m* alllink;    // on allm
  rt::m* schedlink;  // on sched.midle
  g* lockedg;
  bool (*waitunlockf)(g*, void*);
  void* waitlock;
  uint64 fastrand;
  uint64 thread;  // pthread_t
  uint64 nsteal;  // goroutines taken from other Ps' queues by this M
  rt::m* freelink;
  int32 lockedExt, lockedInt;    // os_thread_locks held by lockedg; the runtime's own
  uint64 sigmask;                // signals blocked on the thread that made this M
  atomic<uint32> freeWait;       // freeMStack…: whether the thread still uses this structure; on sched.freem
  atomic<uint32> signalPending;  // preemption signals sent to the thread × 4 + the last one's stage (proc_syscall.cc)
  uint64 npreempt;               // Ps that its signal handler gave away
  rt::ehglobals* ehp;            // the thread's own exception state
  int32* errnoaddr;              // the thread's &errno
  void* gcucontext;              // while gcstop is freezeDone: the signal's ucontext_t, with the goroutine's registers
  uintptr gcsp;                  // … and where its stack is used from
  atomic<uint32> gcstop;         // a collection asks curg, which has no P, to stand still (proc_freeze.cc)
  rt::traceBuf* tracebuf;        // trace.h: its ring of the flight recorder; null until it has something to tell
  rt::wbBuf* wbbuf;              // mbarrier.cc: of stores without a P; null before the first. curg, pinned
  uint8 reserved[16];
};

#ifdef VITRINE_SYSTEMATIC
constexpr uint32 runqsize_ = 4;  // tests/systematic: a ring that is full, and wraps, at once
#else
constexpr uint32 runqsize_ = 256;
#endif
constexpr uint64 GoidCacheBatch = 16;

struct gList {
  rt::g* head;
};
struct gQueue {
  rt::g* head;
  rt::g* tail;

  void pushBack(rt::g* gp) {
    gp->schedlink = nullptr;
    if (tail != nullptr)
      tail->schedlink = gp;
    else
      head = gp;
    tail = gp;
  }
  rt::g* pop() {  // null: empty
    rt::g* gp = head;
    if (gp == nullptr) return nullptr;
    head = gp->schedlink;
    if (head == nullptr) tail = nullptr;
    gp->schedlink = nullptr;
    return gp;
  }
};

enum timerKind : uint32 {
  timerSleep = 0,     // arg is the g that sleeps
  timerSelect = 1,    // arg is the g whose select has a timeout
  timerFunc = 2,      // arg belongs to a vitrine::timer with a function
  timerChan = 3,      // arg is the hchan that a vitrine::timer or ticker sends to
  timerDeadline = 4,  // arg is the pollDesc whose read or write deadline it is
  timerWait = 5,      // arg is the g whose wait for a mutex, cond or semaphore has a timeout
};

// A timer in a P's 4-ary heap. Guarded by timers.lock of the P that `pp` names.
struct timer {
  int64 when;  // nanotime; the heap may have an earlier time for it, never a later one
  int64 period;
  void (*f)(void* arg, uint64 seq);
  void* arg;
  uint64 seq;
  rt::p* pp;
  int64 index;           // in the heap, -1 when out of it
  uint32 kind;           // timerKind: what arg is, for debuggers
  uint32 zombie;         // stopped, and still in the heap
  uint64 goid;           // the goroutine that started it
  void (*drop)(timer*);  // stoptimer: called when a zombie leaves the heap
};
struct timerWhen {
  rt::timer* timer;
  int64 when;
};
struct timers {
  rt::mutex lock;
  slice<timerWhen> heap;  // 4-ary, least `when` first
  atomic<uint32> len;     // timers that are to come: heap.len - zombies; read without the lock
  uint32 zombies;         // stopped timers in the heap; 0 when all of them are
  atomic<int64> minWhen;  // heap.array[0].when or 0; read without the lock
};

struct sudogcache_ {
  sudog* head;
  int32 n;
};

struct gFree_ {
  gList list;
  int32 n;
};

// What sysmon saw of a P when it last looked. Sysmon only.
struct sysmontick {
  uint32 schedtick;
  uint32 syscalltick;
  int64 schedwhen;
  int64 syscallwhen;
  int64 signalwhen;  // when its M was last sent a preemption signal, or is first due for one
};

// What one marker has in hand: two buffers, so that one that goes up and down by a few objects need not exchange a buffer
// each time. mgcwork.cc.
struct gcWork {
  workbuf* wbuf1;  // null: none yet
  workbuf* wbuf2;
  uint64 bytesMarked;
  int64 scanWork;     // bytes of objects looked at
  uint8 flushedWork;  // gave a buffer to others since somebody asked

  void put(uintptr obj);
  uintptr tryGet();  // 0: nothing is left
  void balance();    // others have nothing: some of it goes to them
  void dispose();    // all of it does
  bool empty() const;
};

struct p {
  int32 id;
  uint32 status;     // pstatus
  rt::p* link;       // on sched.pidle
  uint32 schedtick;  // bumped on every scheduler call that starts a new time slice
  uint32 syscalltick;
  rt::m* m;          // back link; null if idle
  uint64 goidcache;  // [goidcache, goidcacheend) are ids for new goroutines
  uint64 goidcacheend;
  gFree_ gFree;  // dead g's with stacks of the default class; owner P only
  sudogcache_ sudogcache;
  uint8 preempt;
  uint8 pad0[3];
  rt::sysmontick sysmontick;
  // Run queue. Owner puts at tail; owner and thieves take from head by CAS.
  alignas(64) atomic<uint32> runqhead;  // acquire/release: pairs in runqget, runqgrab, runqputslow
  atomic<uint32> runqtail;              // release by the owner: publishes runq slots; acquire by thieves
  atomic<g*> runnext;                   // next to run, inherits the time slice; only the owner sets it non-null
  g* runq[runqsize_];
  alignas(64) rt::timers timers;
  uint64 nsteal;               // goroutines stolen from this P by others
  rt::mcache* mcache;          // mheap.h; null while the P is Pdead
  rt::gcWork gcw;              // of markers on this P. Owner; with the world stopped the collector
  rt::wbBuf* wbbuf;            // mbarrier.cc: pointers that the write barrier met. Owner
  int64 gcFractionalMarkTime;  // ns of its fractional workers in this cycle
  int64 gcAssistTime;          // ns of assists that were not told to gcController yet
  uint8 reserved[48];
};

struct sudog {
  rt::g* g;
  sudog* next;
  sudog* prev;
  void* elem;  // data element: points into a stack, or at a temporary
  int64 acquiretime;
  int64 releasetime;
  uint32 ticket;
  uint8 isSelect;
  uint8 success;  // woken because communication happened (false: channel closed)
  sudog* parent;
  sudog* waitlink;
  sudog* waittail;
  hchan* c;
};

struct hchan {
  uint64 qcount;    // elements in the buffer
  uint64 dataqsiz;  // capacity
  void* buf;
  uint64 elemsize;
  uint32 closed;
  atomic<int32> refs;  // handles
  const chantype* elemtype;
  uint64 sendx;
  uint64 recvx;
  waitq recvq;
  waitq sendq;
  rt::mutex lock;  // guards all fields above but refs, and the sudogs queued on it. While it is held no other g's
                   // status may change except by goready after the unlock.
};

// One file descriptor that goroutines wait for; type-stable and never freed, so that a late event finds a pollDesc.
// rg and wg: 0 nobody; pdReady: an event came and nobody has taken it; pdWait: a goroutine is about to park; else the
// g that is parked. CASed by the waiter and by whoever readies (netpoll, a deadline, close).
struct pollDesc {
  pollDesc* link;        // on the free list
  pollDesc* alllink;     // on allpolldescs, append-only
  atomic<uint32> fdseq;  // tells this use of the pollDesc from earlier ones
  int32 fd;
  atomic<uint32> info;  // pollInfo bits, read without the lock
  rt::mutex lock;       // guards everything below
  uint8 closing;
  uint8 open;  // in use
  atomic<uintptr> rg, wg;
  int64 rd, wd;       // deadlines: nanotime; 0 none; -1 past
  uint32 rseq, wseq;  // tell a deadline's timer from a stale one
  timer rt, wt;
  uint64 goid;  // the goroutine that opened it
};
enum : uintptr { pdReady = 1, pdWait = 2 };

struct schedFree {
  rt::mutex lock;
  gList stack;  // with a stack of the default class
  gList noStack;
  int32 n;
};

struct schedt {
  // Read at every call of the runtime, hardly ever written.
  atomic<uint32> gcwaiting;  // the world is to stop, or stopped
  atomic<uint32> exiting;    // run() is returning: every M stops at its next runtime entry; 2: the child of a fork
  int32 exitcode;
  int32 maxmcount;
  int64 starttime;  // nanotime at schedinit
  int64 startwall;  // CLOCK_REALTIME at schedinit
  uint8 pad0[32];
  // Written every now and then, read at every park.
  atomic<int64> lastnow;  // CLOCK_MONOTONIC ns, by sysmon and by Ms that were idle: the time of parks, a core's "now"
  uint8 pad1[56];
  atomic<uint64> goidgen;
  atomic<int64> lastpoll;   // time of the last poll; 0 while an M sleeps as the poller
  atomic<int64> pollUntil;  // when that M wakes up by itself
  note pollnote;            // where the poller sleeps
  rt::mutex lock;
  m* freem;            // Ms whose threads have ended or are about to (m.freeWait); guarded by lock
  m* midle;            // idle Ms; guarded by lock
  int32 nmidle;        // guarded by lock
  int32 nmidlelocked;  // guarded by lock
  int64 mnext;         // number of Ms made; next id; guarded by lock
  int32 nmsys;
  int64 nmfreed;
  atomic<int32> ngsys;  // system goroutines
  p* pidle;             // idle Ps; guarded by lock
  atomic<int32> npidle;
  atomic<int32> nmspinning;
  atomic<uint32> needspinning;
  gQueue runq;  // global run queue; guarded by lock
  atomic<int32> runqsize;
  schedFree gFree;
  int32 stopwait;
  note stopnote;
  atomic<uint32> sysmonwait;
  note sysmonnote;
  atomic<uint64> nsteal;
  int64 procresizetime;
  int64 totaltime;
  int64 gomaxprocschanged;       // times that gomaxprocs(n) changed something
  atomic<int32> nforeignparked;  // proxies of threads that are parked
  uint32 unused;
  uint8 reserved[104];
};

// g's are cut from slabs, so that a tool can read them in bulk.
struct gslab {
  uintptr base;
  uint64 n;  // g's in it
};
constexpr uint64 gslabBytes = 1 << 20;

// Hidden: the layout note refers to them by distance, also in a shared object.
#pragma GCC visibility push(hidden)
alignas(64) extern schedt sched;
extern slice<g*> allgs;      // append-only: the slot is written, then len is release-stored
extern rt::mutex allglock;   // guards appends to allgs
extern slice<gslab> gslabs;  // append-only, guarded by allglock
extern m* allm;              // all Ms, by alllink; append-only
extern slice<p*> allp;       // never moves; a P is there before len says so; len changes with the world stopped
extern int32 gomaxprocs;
extern int32 ncpu;
extern pollDesc* allpolldescs;        // every pollDesc ever made, by alllink; append-only
extern atomic<int32> netpollWaiters;  // goroutines parked in netpoll
extern m m0;
extern g g0;                                           // the g0 of m0
constexpr int32 MaxGomaxprocs = 1024;                  // more than that is cut, with a word on stderr
extern atomic<uint32> idlepMask[MaxGomaxprocs / 32];   // bit id: P is idle
extern atomic<uint32> timerpMask[MaxGomaxprocs / 32];  // bit id: P may have timers
#pragma GCC visibility pop

// Version of these shapes, in the ELF note; grows when a tool must know.
constexpr uint32 layoutVersion = 1;

}  // namespace vitrine::rt
