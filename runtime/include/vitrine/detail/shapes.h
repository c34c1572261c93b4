// shapes.h: the few structures of the runtime that live inside objects of the user — a mutex, a wait group, a task — or
// are described by them (a channel's element type). runtime2.h includes this file for all the others.
//
// They are plain on purpose: a debugger reads them in a core by their field names. Their functions are in rt.h; no user
// code touches a field.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vitrine::rt {

using uintptr = std::uintptr_t;
using int32 = std::int32_t;
using int64 = std::int64_t;
using uint8 = std::uint8_t;
using uint16 = std::uint16_t;
using uint32 = std::uint32_t;
using uint64 = std::uint64_t;

// One word that several threads use. Plain member `value`, as in Go's internal/runtime/atomic, so that tools need no
// knowledge of a C++ library. Orders are named at each call; the default is seq_cst.
template <class T>
struct atomic {
  T value;
  T load(int order = __ATOMIC_SEQ_CST) const { return __atomic_load_n(&value, order); }
  void store(T v, int order = __ATOMIC_SEQ_CST) { __atomic_store_n(&value, v, order); }
  T xchg(T v, int order = __ATOMIC_SEQ_CST) { return __atomic_exchange_n(&value, v, order); }
  T add(T d, int order = __ATOMIC_SEQ_CST) { return __atomic_add_fetch(&value, d, order); }
  bool cas(T old, T v, int order = __ATOMIC_SEQ_CST) {
    return __atomic_compare_exchange_n(&value, &old, v, false, order,
                                       order == __ATOMIC_SEQ_CST ? __ATOMIC_SEQ_CST : __ATOMIC_RELAXED);
  }
};

struct string {
  const char* str;
  int64 len;
};

struct hchan;
struct sudog;

// A futex word: 0 unlocked, 1 locked, 2 locked with sleepers. Blocks the M. Usable by foreign threads.
struct mutex {
  atomic<uint32> key;
};

// Goroutines that wait, first come first served; linked through sudog.next and prev.
struct waitq {
  sudog* first;
  sudog* last;
};

// How elements of a channel are moved: one place, so that a barrier can be added once.
struct chantype {
  uint64 size;
  void (*move)(void* dst, void* src);  // construct dst from src, which stays to be destroyed; null: copy size bytes
  void (*destroy)(void* p);            // null: trivial
  string name;                         // as the compiler spells it
  uint64 align;
};

// What a type tells the allocator and the collector (gc.h).
enum typeKind : uint8 {
  kindNoPointers = 1 << 7,
};
struct _type {
  uintptr size;
  uintptr ptrdata;  // bytes of the prefix that has all its pointers; 0: none
  uint8 align;
  uint8 kind;           // typeKind bits
  const uint8* gcdata;  // bit i: word i is a pointer; ptrdata / 8 bits
  rt::string name;
};

// A gc::root: a pointer to a collected object in memory that the collector does not look at. On the list of gcroots.
struct gcroot {
  void* p;  // atomic; guarded by gcroots.lock
  gcroot* next;
  gcroot* prev;
};

struct weakHandle;

// Bits of syncMutex.state.
enum syncMutexState : uint32 {
  mutexLocked = 1,
  mutexWoken = 2,     // somebody is awake and about to try: do not wake another
  mutexWaiters = 4,   // waitq is not empty
  mutexStarving = 8,  // unlock hands the mutex to the first waiter
};

// vitrine::mutex.
struct syncMutex {
  atomic<uint32> state;  // syncMutexState
  rt::mutex lock;        // guards waitq, and the bits Waiters and Starving
  rt::waitq waitq;
  uint64 owner;  // goid of the holder (a thread's: its proxy's), for debuggers; 0: free, or locked before run()
};

// vitrine::wait_group.
struct syncWaitGroup {
  atomic<uint64> state;  // counter << 32 | goroutines on waitq
  rt::mutex lock;        // guards waitq, and every change of state that touches waiters or ends with counter 0 while
                         // there are some
  rt::waitq waitq;
};

// The low half of syncRWMutex.state; the high half (state >> 32) is the number of readers that hold it, to which one
// that is just arriving may add itself for a moment.
enum syncRWMutexState : uint64 {
  rwWriter = 1,        // a writer holds it (owner), or waits as writeq.first for the readers to leave: no new readers
  rwQueued = 2,        // readq is not empty
  rwReaderShift = 32,  // above it: how many hold it to read; one that just arrived counts for a moment
  rwReader = uint64(1) << rwReaderShift,
};

// vitrine::rw_mutex. Who waits: readq to read; to write, writeq (at most one: it has announced itself, and is next) and
// then writers.waitq. The waitobject of each of them is the syncRWMutex.
struct syncRWMutex {
  atomic<uint64> state;  // syncRWMutexState
  rt::mutex lock;        // guards the two queues and the step at which rwWriter goes while there are readers
  rt::waitq readq;       // goroutines that wait to read
  rt::waitq writeq;      // the goroutine that waits for the readers to leave
  uint64 owner;          // goid of the writer, for debuggers; 0: none, or it is not known
  syncMutex writers;     // held by the writer and by the one in writeq; the others that want to write wait for it
};

// vitrine::cond.
struct syncCond {
  rt::mutex lock;  // guards waitq
  rt::waitq waitq;
};

// vitrine::once.
struct syncOnce {
  atomic<uint32> done;
  rt::mutex lock;  // guards waitq, running and runner
  rt::waitq waitq;
  uint32 running;  // a call of the function is under way
  uint64 runner;   // goid of who runs it
};

// vitrine::semaphore.
struct syncSema {
  atomic<int64> count;   // c >= 0: c permits are free and nobody waits. c < 0: somebody waits, and ~c are free, fewer
                         // than the first on waitq wants
  rt::mutex lock;        // guards waitq, and every change of count from or to a negative value
  rt::waitq waitq;       // a waiter's sudog.ticket is how many permits it wants
  atomic<uint32> nwait;  // goroutines on waitq
};

// What a vitrine::task and its goroutine share.
struct taskState {
  atomic<uint32> done;
  rt::mutex lock;  // guards waitq; done becomes 1 under it
  rt::waitq waitq;
  atomic<int32> refs;  // the handle and the goroutine
  uint64 goid;         // the goroutine that computes the result
};

}  // namespace vitrine::rt
