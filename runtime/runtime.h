// runtime.h: the functions that the runtime's files call of one another, bottom-up. A file may call what is declared
// above its own section; the "upward calls" at the end are the exceptions, each with its reason.
#pragma once
#include <type_traits>

#include "runtime2.h"

#define VITRINE_NOINLINE __attribute__((noinline))

namespace vitrine::rt {

// For plain fields that another thread looks at, or asks through, without a lock.
template <class T>
inline T load_relaxed(const T& at) {
  return __atomic_load_n(&at, __ATOMIC_RELAXED);
}
template <class T>
inline void store_relaxed(T& at, std::type_identity_t<T> v) {
  __atomic_store_n(&at, v, __ATOMIC_RELAXED);
}

// How many Ps there are: allp.array[0 … nallp()). Pairs with the release store in procresize.
inline int64 nallp() { return __atomic_load_n(&allp.len, __ATOMIC_ACQUIRE); }

// ---- print.cc: writes to fd 2 without allocation or locks; usable in signal handlers ------------------------------
struct hex {
  uint64 v;
};
void print1(const char* s);
void print1(string s);
void print1(hex v);
void print1(int64 v);
void print1(uint64 v);
inline void print1(int32 v) { print1(int64(v)); }
inline void print1(uint32 v) { print1(uint64(v)); }
inline void print1(const void* p) { print1(hex{uint64(p)}); }
struct printsink {
  int32 fd;
  uint32 n;
  char buf[1024];
};
// What this thread prints goes to s, by whole lines; null: writes what is left there and goes back to fd 2. Not on a
// goroutine's stack.
void printto(printsink* s);
template <class... A>
void print(A... a) {
  (print1(a), ...);
}

// ---- panic.cc ------------------------------------------------------------------------------------------------------
// "fatal error: <what>", tracebacks of all goroutines, exit status 2 (GOTRACEBACK=crash: SIGABRT). For broken invariants of
// the runtime.
[[noreturn]] void throw_(const char* what);
// As throw_, but for the user's mistake: traces what GOTRACEBACK asks for.
[[noreturn]] void fatal(const char* what);

// ---- os_linux.cc ---------------------------------------------------------------------------------------------------
int64 nanotime();           // CLOCK_MONOTONIC, ns
int64 walltime();           // CLOCK_REALTIME, ns
int64 coarsetime();         // CLOCK_MONOTONIC to a few ms: the cheap clock for waitsince
int64 timeafter(int64 ns);  // nanotime() + ns, ns >= 0, or the end of time where that is earlier
void usleep_(uint32 us);
void osyield();
inline void procyield(int32 n) {
  while (n-- > 0) __builtin_ia32_pause();
}
int64 gettid_();
// Sleeps while *addr == val, at most ns (ns < 0: for ever). Spurious returns are possible. Foreign threads may call.
void futexsleep(atomic<uint32>* addr, uint32 val, int64 ns);
void futexwakeup(atomic<uint32>* addr, uint32 count);
int32 getproccount();
const char* gogetenv(const char* name);  // null: not set
int32 atoi32(const char* s, bool* ok);

// ---- mpersistent.cc
// Zeroed memory from the OS, never returned; ends the program on failure. type, unit: as in mem.h.
void* persistentalloc(uintptr size, uintptr align, const char* type, uintptr unit = 0);

// ---- asm_amd64.S ---------------------------------------------------------------------------------------------------
// The current g: a g0 while scheduling, gsignal in a handler, null on a thread that is no M. Opaque to the optimiser:
// the address of a thread-local must never be kept across a switch.
extern "C" __attribute__((tls_model("initial-exec"))) __thread g* vitrine_tls_g;
inline __attribute__((always_inline)) g* getg() {
  g* gp;
  asm volatile("movq vitrine_tls_g@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(gp) : : "memory");
  return gp;
}

// The goroutine that runs here; null on a scheduling or signal stack and on a thread that is no M.
inline g* curgoroutine() {
  g* gp = getg();
  return gp == nullptr || gp == gp->m->g0 || gp == gp->m->gsignal ? nullptr : gp;
}

// ---- lock_futex.cc -------------------------------------------------------------------------------------------------
void lock(mutex* l);  // any thread; counts m.locks on an M
void unlock(mutex* l);
void assertLockHeld(mutex* l);  // by whomever: that the caller holds it cannot be told
void noteclear(note* n);
void notewakeup(note* n);
void notesleep(note* n);                 // on g0, or a foreign thread
bool notetsleep(note* n, int64 ns);      // false: timed out
bool notetsleeponce(note* n, int64 ns);  // false: that, or its futex was woken without it

// ---- malloc_raw.cc: small objects of the runtime (sudogs, hchans); any thread --------------------------------
void* rawalloc(uintptr size);  // 16-byte aligned, zeroed; ends the program when memory is out
void rawfree(void* p);

// ---- mbarrier.cc: what moves pointers to managed objects behind the collector's back tells it
void gcshadememory(const void* p, uintptr n);
void chanmemmove(const chantype* t, void* dst, const void* src);  // the write barrier is on

// ---- proc*.cc ------------------------------------------------------------------------------------------------------
// To call first thing in every function that user code calls, with nothing locked: it may park. Stops this thread for
// good once run() is returning; yields if sysmon asked for it; takes a P again if this goroutine lost its own.
void entry_slow();
constexpr uintptr stackPreempt = uintptr(-1314);  // in g.stackguard0: the next entry() has something to do
constexpr uintptr stackGuard = 1024;              // g.stackguard0 otherwise: stack.lo and this much
inline void entry() {
  g* gp = getg();
  if (__builtin_expect(gp != nullptr && load_relaxed(gp->stackguard0) == stackPreempt, 0) ||
      __builtin_expect(sched.exiting.load(__ATOMIC_RELAXED) != 0, 0))
    entry_slow();
}
// Pins: until releasem the current goroutine keeps its M and its P. Null, and nothing to release, on a thread that is
// no M. Outside of a pin a goroutine may at any instruction lose its P to the preemption signal, so code on a
// goroutine's stack looks at m->p only while it is pinned, and m->p may be null even then (pinnedp).
m* acquirem();
// The end of one pin of mp by its current goroutine. A request to yield that came meanwhile was put off (entry_slow);
// the next entry() shall see it again.
inline void unpin(m* mp, g* gp) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);  // of this thread: its handler looks at locks
  if (--mp->locks == 0 && load_relaxed(gp->preempt) != 0) store_relaxed(gp->stackguard0, stackPreempt);
}
void releasem(m* mp);
inline p* pinnedp(m* mp) { return mp != nullptr ? mp->p : nullptr; }
uint32 readgstatus(g* gp);
void casgstatus(g* gp, uint32 oldval, uint32 newval);
// Parks the current goroutine: on g0, after the status is Gwaiting, unlockf(gp, lock) is called; false: run on.
// waitobject: what a debugger shows as waited on. On a thread that is no M: parks the thread, as its proxy g (parkable,
// waitq.h, returns the g to queue).
void gopark(bool (*unlockf)(g*, void*), void* lock, waitReason reason, void* waitobject);
bool parkunlock(g*, void* lock);  // unlocks it; true
inline __attribute__((always_inline)) void goparkunlock(mutex* l, waitReason reason, void* waitobject) {
  gopark(parkunlock, l, reason, waitobject);
}
// Makes a parked goroutine runnable. From any thread; from a foreign one it goes to the global queue.
void goready(g* gp);
void gosched();  // what yield() is: lets others run
// Whether the caller, who has spun so many times for a lock, may go on: its holder could be running, and nobody else
// wants the caller's P.
bool canspin(int32 spins);
uint64 newproc(void (*fn)(void*), void* arg, uintptr startpc, uintptr callerpc, const char* name, uint64 namelen,
               uint64 stacksize);
sudog* acquireSudog();  // zeroed
void releaseSudog(sudog* s);
uint32 fastrandn(uint32 n);
// The current goroutine makes a call that may block its thread: its P is free for others meanwhile. False, and nothing
// to end: on a thread that is no M. The next entry() of the goroutine ends it as exitsyscall does.
bool entersyscall();
void exitsyscall();
void lockOSThread();  // the runtime's own: the current goroutine stays on its M
void unlockOSThread();
int32 gcount();                     // goroutines that are neither dead nor the runtime's own
g* foreignproxy(const char* what);  // the g that stands for this thread, which is no M; made at its first use
uint64 callergoid();                // of the current goroutine, or of the thread's proxy; 0 before run()

// ---- time.cc -------------------------------------------------------------------------------------------------------
void timeSleep(int64 ns);  // parks with "sleep"
// Timers are the caller's memory and stay at their place while they are in a heap. f runs on some M's g0 without any
// lock held: it may ready goroutines and change timers, and must not wait. Once f is called, or deltimer has returned,
// the timer's memory is the caller's again; what f's arg points at may still be in use: see time.cc. period is f's to
// use: nothing puts a timer back but f itself.
void addtimer(timer* t);  // to the current P (or any); wakes the poller when t is the earliest
bool armtimer(timer* t);  // addtimer without that wakeup; true: the caller has to call wakePoller(t->when) soon
bool deltimer(timer* t);  // true: it was still to come and will not. False: its f has begun, or it was in no heap
bool modtimer(timer* t, int64 when, int64 period);  // deltimer, then addtimer with these; as deltimer's result
// Gives a timer that is in a heap, as a zombie too, a new time, period and seq. False, and nothing done: it is in none.
// *wake: the caller has to call wakePoller(when) soon.
bool resettimer(timer* t, int64 when, int64 period, uint64 seq, bool* wake);
// As deltimer, but at no cost that grows with the heap: the timer may stay there as a zombie, and its memory with it,
// until t->drop(t) is called, with timers.lock held. False: its f has begun, or it was in no heap; no drop is to come.
bool stoptimer(timer* t);
void movetimers(p* to, p* from);  // the world is stopped: all of from's timers go to `to`
int64 checkTimers(p* pp, int64 now, int64* pollUntil, bool* ran);  // runs what is due; returns now (read if it was 0)
int64 timeSleepUntil();                                            // the earliest timer of all Ps; 0: none
void runtimers_init(p* pp);

// ---- netpoll.cc (epoll): which goroutines may go on because their file descriptor is ready
bool netpollinited();
// The goroutines that became ready, in gList order, still Gwaiting (injectglist readies them). delay < 0: waits until
// there are some or netpollBreak; 0: does not wait; > 0: waits at most so many ns. One M at a time may wait.
gList netpoll(int64 delay);
void netpollBreak();         // ends a wait of netpoll, or the next one
void injectglist(gList* l);  // proc_m.cc: Gwaiting → Grunnable, onto queues; starts Ms for them

// ---- upward calls

// proc_m.cc, from time.cc: a timer was added that is due at `when`; only the scheduler knows who sleeps beyond it.
void wakePoller(int64 when);
// sanitize.cc, from malloc.cc: a leak checker has to hear of memory that may hold the only pointer to a block.
void san_root(void* p, uint64 size);
void san_named(g* gp);  // its name, or its number, has changed

}  // namespace vitrine::rt
