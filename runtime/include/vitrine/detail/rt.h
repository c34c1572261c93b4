// rt.h: what the public headers call in the runtime. Every function here is out of line, in the library: user code is
// compiled without any knowledge of Ps, Ms or thread-locals, which may change under it at any park.
//
// Each of these is a possible park or the end of one, so each is an entry: it may stop the thread for good once run()
// is returning. None throws unless it says so.
#pragma once
#include <new>
#include <type_traits>
#include <utility>

#include "shapes.h"

namespace vitrine::rt {

// ---- rt0.cc

// Boots the runtime on this thread, runs fn(arg) as goroutine 1 on a stack of main_stack bytes, and returns what it
// returned. procs == 0: GOMAXPROCS, else the number of CPUs. startpc: the user's function, for debuggers. debugbuild: the
// flight recorder runs unless GODEBUG says otherwise.
int rt0_run(int procs, std::size_t main_stack, int (*fn)(void*), void* arg, uintptr startpc, bool debugbuild);

// ---- mem_linux.cc

// So many bytes of address space, page-aligned, for as long as somebody computes with addresses in it. It has no memory
// unless that is written to. Before run(), too; ends the program when there is none.
void* borrowaddresses(std::size_t size);
void returnaddresses(void* p, std::size_t size);

// ---- task.cc

// Starts fn(arg) on a goroutine of its own and returns its id. The return address of this call becomes g.gopc: call it
// from code that is inlined into the user's function, and not as the last thing there. At most 31 bytes of the name are
// kept. stacksize == 0: the default.
uint64 startgoroutine(void (*fn)(void*), void* arg, uintptr startpc, const char* name, uint64 namelen,
                      uint64 stacksize);
void gosched();
void checkpoint();
uint64 goid();
void setname(const char* name, uint64 namelen);
int32 procs(int32 n);
uint64 numgoroutine();
bool entersyscall();  // proc_syscall.cc; false: nothing to end
void exitsyscall();
void LockOSThread();  // proc_lock.cc
void UnlockOSThread();
void disablepreempt();
void enablepreempt();
void taskwait(taskState* ts);
void taskleave(taskState* ts);
void taskdone(taskState* ts);

// ---- runtime1.cc, traceback.cc

string version();
int32 setMaxThreads(int32 n);
void dumpstacks(int32 fd);

// ---- mstats.cc

// The names and meanings of Go's MemStats; times and counts of a collector come with it. Bytes, unless it says
// otherwise.
struct memStats {
  uint64 alloc;        // of allocated heap objects; heap_alloc
  uint64 total_alloc;  // ever allocated for heap objects
  uint64 sys;          // address space obtained from the system: the sum of all *_sys and of spans
  uint64 mallocs;      // count of heap objects allocated, tiny ones included
  uint64 frees;        // count
  uint64 heap_alloc;
  uint64 heap_sys;       // in the heap's spans, those of stacks and of the runtime's objects not included
  uint64 heap_idle;      // in free spans
  uint64 heap_inuse;     // in spans with heap objects
  uint64 heap_released;  // of heap_idle, given back to the system or never touched
  uint64 heap_objects;   // count
  uint64 stack_inuse;    // in spans of goroutine stacks; touched or not
  uint64 stack_sys;
  uint64 mspan_inuse, mspan_sys;
  uint64 mcache_inuse, mcache_sys;
  uint64 buck_hash_sys;
  uint64 gc_sys;                          // bitmaps and page maps; touched or not
  uint64 other_sys;                       // goroutines, threads, Ps, and the like
  uint64 runtime_inuse;                   // in spans of the runtime's own objects: channels, closures, timers
  uint64 runtime_mallocs, runtime_frees;  // counts of these
  struct {
    uint32 size;  // of objects of this class
    uint64 mallocs, frees;
  } by_size[68];
};
void readmemstats(memStats* st);

// ---- malloc_raw.cc: memory for objects of C++ that the runtime keeps for the program — a goroutine's closure, a
// channel's buffer, a task's result. The collector looks for pointers in it. Zeroed; any alignment. Ends the program
// when memory is out.

enum class heldkind {
  shared,  // read as it was when the collection began
  closure,  // a new goroutine's argument: is made, and handed to newproc, by the caller; then that goroutine's own, which
            // it frees. Read with the stack of whose it is
  blank,    // has no pointers
};
void* heldalloc(uintptr size, uintptr align, heldkind kind);
void heldfree(void* p, uintptr align);

template <class T, heldkind kind = heldkind::shared, class... A>
T* newheld(A&&... args) {
  void* p = heldalloc(sizeof(T), alignof(T), kind);
  if constexpr (!std::is_aggregate_v<T> && std::is_nothrow_constructible_v<T, A...>) {
    return ::new (p) T(std::forward<A>(args)...);
  } else {
    try {
      if constexpr (std::is_aggregate_v<T>)
        return ::new (p) T{std::forward<A>(args)...};
      else
        return ::new (p) T(std::forward<A>(args)...);
    } catch (...) {
      heldfree(p, alignof(T));
      throw;
    }
  }
}
template <class T>
void deleteheld(T* p) {
  p->~T();
  heldfree(p, alignof(T));
}
struct helddelete {
  template <class T>
  void operator()(T* p) const {
    deleteheld(p);
  }
};

// ---- mgc*.cc, mfinal.cc: what gc.h calls

// Memory for n values of t, one after another, zeroed; from a goroutine only. array: an address just behind the last
// one keeps it alive too. May park, and may collect.
void* gcalloc(const _type* t, uintptr n, bool array);
void gcdestructor(void* p, uintptr n, void (*destroy)(void* p, uintptr n));  // to be called when p's object is dead
void gcsetfinalizer(void* p, void (*fn)(void* p, void* arg), void* arg);     // fn null: none any more
void gccollect();
int32 gcsetpercent(int32 percent);
void gcrootadd(gcroot* r, void* p);
void gcrootmove(gcroot* r, gcroot* from);  // r is new; from becomes null
void gcrootset(gcroot* r, void* p);
void gcrootdrop(gcroot* r);
weakHandle* gcweak(void* p);  // with a reference; null for null
void gcweakretain(weakHandle* h);
void gcweakrelease(weakHandle* h);
void* gcweakget(weakHandle* h);  // null: the object is gone
void gccheckslot(const void* slot);
// mbarrier.cc. writeBarrier != 0: a gc::ptr that was stored to has to tell what it was and is.
extern uint32 writeBarrier;
void gcwritebarrier(void* old, void* now);
void typedmemmove(const _type* t, void* dst, const void* src, uintptr n);  // n values; may overlap
void typedmemclr(const _type* t, void* p, uintptr n);

struct gcStats {
  uint64 num_gc;                             // collections
  uint64 num_forced;                         // of these, by collect()
  uint64 pause_total_ns;                     // for how long the world was stopped, in all
  uint64 last_pause_ns;                      // … in the last one
  uint64 pause_ns[256];                      // … in the last 256: that of collection n is at (n + 255) % 256
  uint64 heap_live;                          // bytes: what the last one kept, and what was allocated since
  uint64 heap_marked;                        // bytes that the last one kept
  uint64 heap_goal;                          // heap_live at which the next one begins; ~0: none does by itself
  uint64 finalizers_queued, finalizers_run;  // destructors included
};
void readgcstats(gcStats* st);
// ---- trace.cc

// vitrine::runtime::recorder, runtime.h
void tracestart(std::uint64_t bytes);
void tracestop();
std::uint64_t tracesize();

// ---- time.cc

void timeSleep(int64 ns);

// ---- timer.cc

struct usertimer;
struct timerfunc;
// Start a timer that is due in ns. They take over c's reference, or fn, and the result is the caller's to release.
usertimer* newchantimer(int64 ns, int64 period, hchan* c);
usertimer* newfunctimer(int64 ns, timerfunc* fn);
hchan* timerchannel(usertimer* t);  // with a reference; throws std::logic_error if it has none
bool timerstop(usertimer* t);
bool timerreset(usertimer* t, int64 ns, int64 period);
void timerrelease(usertimer* t);  // leaves it running
[[noreturn]] void panicticker();  // throws std::logic_error

// ---- chan.cc

enum chanresult : int32 {
  chanOk = 0,
  chanWouldBlock = 1,  // only when asked not to block
  chanClosed = 2,      // send: the channel is closed; receive: closed and drained
};
hchan* makechan(const chantype* t, uint64 size);
void chanretain(hchan* c);
void chanrelease(hchan* c);
// Moves *elem into the channel (chanOk), or leaves it alone.
chanresult chansend(hchan* c, void* elem, bool block);
// Constructs *elem, which must be raw storage, from the next element (chanOk), or leaves it alone.
chanresult chanrecv(hchan* c, void* elem, bool block);
bool closechan(hchan* c);  // false: it was closed already
bool chanclosed(const hchan* c);
uint64 chanlen(const hchan* c);
uint64 chancap(const hchan* c);

// ---- select.cc

struct scase {
  hchan* c;
  void* elem;    // as chansend's or chanrecv's
  int32 issend;  // else a receive
};
struct selected {
  int32 index;  // of the case that was carried out; -1: none was
  bool ok;      // false: its channel is closed
};
// Carries out one of the n cases; ns: for how long to wait until one can proceed (< 0: for ever; 0: not at all).
// lockorder: room for n pointers.
selected selectgo(scase* cases, hchan** lockorder, int32 n, int64 ns);
selected selectone(const scase& k, int64 ns);

// ---- sync*.cc, gls.cc. ns: how long to wait at most; the results of those that take it: false when that was over.

void mutexlock(syncMutex* mu);
bool mutextrylock(syncMutex* mu);
bool mutextimedlock(syncMutex* mu, int64 ns);
void mutexunlock(syncMutex* mu);
void wgadd(syncWaitGroup* wg, int64 delta);
void wgwait(syncWaitGroup* wg);
void rwlock(syncRWMutex* rw);
bool rwtrylock(syncRWMutex* rw);
void rwunlock(syncRWMutex* rw);
void rwrlock(syncRWMutex* rw);
bool rwtryrlock(syncRWMutex* rw);
void rwrunlock(syncRWMutex* rw);
// For ThreadSanitizer: it is destroyed.
void mutexgone(syncMutex* mu);
void rwgone(syncRWMutex* rw);
void condwait(syncCond* c, syncMutex* mu);  // mu null: the caller's lock is not held, which is fatal
bool condtimedwait(syncCond* c, syncMutex* mu, int64 ns);
void condsignal(syncCond* c);
void condbroadcast(syncCond* c);
bool oncebegin(syncOnce* o);  // true: the caller runs the function, and then calls onceend
void onceend(syncOnce* o, bool done);
void semacquire(syncSema* s, int64 n);
bool semtryacquire(syncSema* s, int64 n);
bool semtimedacquire(syncSema* s, int64 n, int64 ns);
void semrelease(syncSema* s, int64 n);
int64 semfree(const syncSema* s);
void semcheck(int64 n);  // fatal if no semaphore could have n permits

// The current goroutine's value (or thread's, outside of goroutines) of the gls that *key is in, or null.
void* glsget(atomic<uint64>* key);
// Gives it one. When it ends, destroy(value) is called on it.
void glsput(atomic<uint64>* key, void* value, void (*destroy)(void* value));

// After a call that may park: keeps it from becoming a jump, so that the function that waits stays on its own stack,
// where a debugger looks for it.
inline __attribute__((always_inline)) void keepframe() { asm volatile(""); }

}  // namespace vitrine::rt
