// proc.h: what the scheduler's own files (proc*.cc, stack.cc, sanitize.cc, panic.cc, signal.cc, rt0.cc) share.
#pragma once
#include "runtime.h"
#include "trace.h"

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, size_t size);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}

namespace vitrine::rt {

// asm_amd64.S
void mcall(void (*fn)(g*));
[[noreturn]] void gogo(gobuf* buf);
uintptr gosave(gobuf* buf);
void systemstack(void (*fn)(void*), void* arg);
void goexit();
void goentry();
void mstart();

// Calls fn(arg), from a goroutine on its M's g0, for what must leave nothing on a goroutine's stack.
inline void cleanstack(void (*fn)(void*), void* arg) {
  g* gp = getg();
  if (gp != nullptr && gp == gp->m->curg && !gp->isforeign)
    systemstack(fn, arg);
  else
    fn(arg);
}

// proc.cc
void leaving(g* gp);  // first thing on g0, of every way off the M
void gopreempt();     // yields, as sysmon asked
bool castogscanstatus(g* gp, uint32 oldval);
void casfrom_Gscanstatus(g* gp, uint32 oldval, uint32 newval);
void dropg(g* gp);
void ready(g* gp, bool next);
[[noreturn]] void execute(g* gp, bool inheritTime);
[[noreturn]] void schedule();

// proc_foreign.cc
void foreignpark(bool (*unlockf)(g*, void*), void* lock, waitReason reason, void* waitobject);
void foreignready(g* gp);

// proc_runq.cc
bool runqempty(p* pp);
void runqput(p* pp, g* gp, bool next);
g* runqget(p* pp, bool* inheritTime);
g* runqsteal(p* pp, p* victim, bool stealRunNext);
void globrunqput(g* gp);           // sched.lock held
g* globrunqget(p* pp, int32 max);  // sched.lock held

// proc_m.cc
bool mask_get(atomic<uint32>* mask, int32 id);  // idlepMask, timerpMask
void mask_set(atomic<uint32>* mask, int32 id);
void mask_clear(atomic<uint32>* mask, int32 id);
bool acquireidlep();
m* midleget();  // sched.lock held
void newm(void (*fn)(), p* pp, int64 id);
void startTemplateThread();
void handoffp(p* pp);
void busysysmon(bool on);
void stoplockedm();
void startlockedm(g* gp);
[[noreturn]] void mexit();

// proc_find.cc
void threadstate(m* mp);         // notes where this thread keeps its errno and exception state
constexpr uint32 fairTick = 61;  // every so many time slices a P looks at what it could neglect
g* findrunnable(bool* inheritTime);
void resetspinning();
void wakep();
void startm(p* pp, bool spinning);
void stopm();
void acquirep(p* pp);
void reacquirep(p* pp);
p* releasep();
void wirep(p* pp);
void pidleput(p* pp);  // sched.lock held
p* pidleget();         // sched.lock held
void wakePoller(int64 when);
void breakpoller();               // the poller wakes up
[[noreturn]] void stopforexit();  // on g0: this M runs no more code of the program
void exitrun(g* gp);              // run() is over: called by runtime.main through mcall
void mstart1();
void mcommoninit(m* mp, int64 id);
void minit(m* mp);

// proc_exit.cc
void freezeforexit(g* gp);

// proc_world.cc
int32 mostprocs(int32 asked);
p* procresize(int32 nprocs);
// Calls fn on g0 while no P is used. From a goroutine; fn must not wait.
void withworldstopped(const char* reason, void (*fn)(void*), void* arg);
void gcstopm();

// proc_syscall.cc
void reentersyscall(uintptr pc, uintptr sp, uintptr bp);
bool preemptone(p* pp);
void preemptsignal(p* pp);
void preemptall(bool bysignal);
bool signalarrived(m* mp);
void signalannounced(m* mp, g* gp);
void sigpreempted(g* gp);

// proc_freeze.cc
void sigfreeze(g* gp, void* context);  // in the handler

// mgcscavenge.cc
void gcsysmon(int64 now);  // what the collector has sysmon do
bool gcwantssysmon();

// sysmon.cc
void sysmon();
void wakesysmon();  // sched.lock held

// proc_new.cc
void goexit1();
void gostarted();
void gostartcall(gobuf* buf, void (*fn)(), void* ctxt);
void gostartcallfn(gobuf* buf, g* newg);
g* malg(uint64 stacksize);
void allgadd(g* gp);
g* galloc();
g* gfget(p* pp);
void gfput(p* pp, g* gp);
void gfpurge(p* pp);

// stack.cc
constexpr uint64 defaultStack = 64 << 10;
extern uint32 stackScale;  // a stack is 1 << this times as large as asked: frames of such a program are (stack.cc)
bool stackalloc(g* gp, uint64 size);  // sets stack, guard, stackclass; false: no memory or address space
void stackfree(g* gp);
uint32 stackclassof(uint64 size);  // log2 of the slot for a stack of which `size` bytes were asked

// stack_guard.cc
constexpr uint64 guardBytes = 4096;
void stackinit();
uint8 installguard(uintptr base);                                                // a gguard
void removeguards(uintptr base, uintptr bytes, const uint8* guards, uintptr n);  // of a span; its pages go as well
void setcanary(g* gp);
void checkcanary_slow(g* gp);
inline void checkcanary(g* gp) {
  if (__builtin_expect(gp->guard == gguardCanary, 0)) checkcanary_slow(gp);
}
uint64 guardsize(const g* gp);  // bytes below stack.lo that fault; 0 for a canary

// sanitize.cc: telling ASan, TSan and Valgrind about stacks. san_leave just before this thread moves to `to`'s stack,
// san_arrived first thing on it.
inline __attribute__((always_inline)) bool sanitized() {
  return __sanitizer_start_switch_fiber != nullptr || __tsan_switch_to_fiber != nullptr;
}
void san_leave_slow(g* to);
void san_arrived_slow(g* self);
inline __attribute__((always_inline)) void san_leave(g* to) {
  if (__builtin_expect(sanitized(), 0)) san_leave_slow(to);
}
inline __attribute__((always_inline)) void san_arrived(g* self) {
  if (__builtin_expect(sanitized(), 0)) san_arrived_slow(self);
}
void san_leave_dying(g* to);  // as san_leave, from a goroutine that will not come back
void san_scanned(g* gp);
void san_newg(g* gp);
void san_deadg(g* gp);
void san_m0(g* g0p);  // g0p is this thread's g0
void san_exit();      // run() is over
bool san_has_background_thread();
bool san_sanitized();     // the program has ASan or TSan
bool san_keepssignals();  // a signal's handler runs when the stack on which it came runs again
bool san_watched();       // Valgrind watches
// mcall with the announcements around it.
void switch_to_g0_slow(void (*fn)(g*));
// Inline: each return address that a goroutine comes back through after a switch is one that the CPU predicts wrongly.
inline __attribute__((always_inline)) void switch_to_g0(void (*fn)(g*)) {
  if (__builtin_expect(!sanitized(), 1))
    mcall(fn);
  else
    switch_to_g0_slow(fn);
}

// proc_dead.cc
constexpr int64 exitGrace = 100'000'000;  // ns that a goroutine in user code may delay run()'s return
void awaitexit();
// sched.lock held. Fatal if nothing can ever run again; false: only a foreign thread could change that.
bool checkdead();

// traceback.cc
void printname(const char* name);
void goroutineheader(g* gp);                 // "goroutine 17 "reader" [chan receive]:"
void dumpgoroutines();                       // every goroutine with its traceback; panicking is ours
void tracebackfault(g* gp, void* ucontext);  // in a fault's handler: gp, from where the fault is
void initsigquit();

// panic.cc
void faultwhileending(uintptr addr);  // a fault of this thread: ends, if it was printing its last
[[noreturn]] void deadlock();
void initterminate();
[[noreturn]] void exitprocess(int code);  // exit(3), with this thread no longer an M

// signal.cc
void initsig();
void minitsignals(m* mp);
void unminitsignals(m* mp);
void signalM(m* mp);  // sends it the preemption signal
void msigsave(m* mp);
constexpr uint32 forkedchild = 2;  // sched.exiting in a child that fork() made
[[noreturn]] void badfork();

// gls.cc
void glsdestroy(g* gp);  // on gp, which is about to end

// proc_dwarf.cc
void forcedwarf();

// runtime1.cc: from GODEBUG and GOTRACEBACK; written before the first goroutine exists
struct debugvars {
  int32 stackguard;        // a gguard that every stack gets; 0: by budget
  int32 stackguardbudget;  // stacks that may have an mprotect guard
  int32 schedtrace;        // sysmon calls schedtrace() every so many ms; 0: never
  int32 scheddetail;       // != 0: with every P, M and G
  int32 asyncpreemptoff;   // != 0: no preemption signals
  int32 traceback_level;   // 0: no frames; 1: the user's; 2: the runtime's too
  int32 traceback_all;     // != 0: of every goroutine, not only the current one
  int32 traceback_crash;   // != 0: a fatal end is an abort(), for a core
  int32 efence;            // != 0: each object has pages of its own, which are never used again
  int32 sbrk;              // != 0: heap objects are never freed, and bare of a span
  int32 allocfreetrace;    // != 0: prints each allocation
  int32 gctrace;           // != 0: a line for each collection
  int32 clobberfree;       // != 0: what is found dead is overwritten
  int32 gcstoptheworld;    // != 0: a collection marks with the world stopped
  int32 gccheckmark;       // != 0: each collection looks whether it missed something
  int32 invalidptr;        // 0: a pointer to nothing that the collector meets in an object does not end the program
  int32 gcevery;           // n > 0: collects at every nth allocation
  int32 disablethp;        // != 0: no huge pages in the heap
  int32 flightrecorder;    // 0: off; bytes of each ring, 1: the default; < 0: nobody said
};
void parsedebugvars();
void schedtrace(bool detailed);        // schedtrace.cc: the SCHED lines of GODEBUG=schedtrace, on fd 2
void setTraceback(const char* level);  // as GOTRACEBACK
extern debugvars debug;
extern bool mainStarted;

// cgroup.cc
int32 cgroupprocs(const char* root);  // what the CPU quota allows, at least 2; 0: no limit. root: of /proc and /sys
int32 defaultprocs();                 // GOMAXPROCS when nobody says; ncpu is known

}  // namespace vitrine::rt
