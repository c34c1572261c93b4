// sanitize.cc: tells AddressSanitizer, ThreadSanitizer and Valgrind which stack a thread stands on. The sanitizers'
// hooks are weak symbols: a program built with a sanitizer brings them, any other leaves them null and pays one test
// per switch. Valgrind watches the stack pointer, so it is told of stacks, not of switches, and only if it is there.
//
// Order on a switch, all on the leaving thread: san_leave(to) on the old stack, the switch, san_arrived(self) first
// thing on the new one. ASan keeps the left stack's fake frames in g->fakestack. TSan's fibers are g->tsanfiber; every
// g has one, a g0's is its thread's own.
//
// TSan also learns who holds which vitrine::mutex and rw_mutex, by its interface for locks that are not pthread's: a
// data race is then reported with the mutexes that were held, two that are taken in different orders as a lock-order
// inversion. It takes a mutex for its locker's, which a goroutine's fiber is, on whatever thread it runs; so one that
// another goroutine unlocks is reported. Between "locking" and "locked" TSan would look away; but the goroutine may
// park there, and the scheduler's own accesses must be seen, hence the diverts. A vitrine::mutex of a program that is
// compiled with TSan has a destructor (sync.h), by which TSan forgets it: memory of a stack is never freed in TSan's
// eyes, and two mutexes that lived at one address would be one.
//
// Runtime files are built without TSan's function entry and exit calls (runtime/CMakeLists.txt): functions that leave
// by gogo never return, and TSan's shadow call stack of g0 would overflow.
//
// Valgrind's memcheck takes a far jump of the stack pointer for a switch if both ends lie in stacks that it knows
// (those of threads it knows by itself); else it warns and takes what is between them for popped. A goroutine's stack
// is known from its creation to its death. What a dead goroutine popped is "not addressable" to memcheck, and newproc
// writes there before the next one runs: so a death makes the whole stack addressable again, with undefined contents
// (except the canary's word, which is read later). Memory of goroutines that run() abandons is found by the leak check:
// their stacks are anonymous memory, which memcheck searches. Without <valgrind/valgrind.h> at build time none of this
// is there, and valgrind is not supported.
#include "include/vitrine/detail/rt.h"
#include "proc.h"
#include "syncwait.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define VITRINE_VALGRIND 1
#else
#define VITRINE_VALGRIND 0
#endif

extern "C" {
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom_old, size_t* size_old);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* addr, size_t size);
__attribute__((weak)) void* __asan_get_current_fake_stack(void);
__attribute__((weak)) void* __asan_addr_is_in_fake_stack(void* fake_stack, void* addr, void** beg, void** end);
__attribute__((weak)) void __lsan_register_root_region(const void* begin, size_t size);
__attribute__((weak)) void* __tsan_get_current_fiber(void);
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void* fiber);
__attribute__((weak)) void __tsan_set_fiber_name(void* fiber, const char* name);
__attribute__((weak)) void __tsan_func_entry(void* pc);
__attribute__((weak)) void __tsan_func_exit(void*);  // takes nothing; as gcc has it
__attribute__((weak)) void __tsan_mutex_post_lock(void* mu, unsigned flags, int recursion);
__attribute__((weak)) int __tsan_mutex_pre_unlock(void* mu, unsigned flags);
__attribute__((weak)) void __tsan_mutex_post_unlock(void* mu, unsigned flags);
__attribute__((weak)) void __tsan_mutex_pre_divert(void* mu, unsigned flags);
__attribute__((weak)) void __tsan_mutex_post_divert(void* mu, unsigned flags);
__attribute__((weak)) void __tsan_mutex_destroy(void* mu, unsigned flags);
}

namespace vitrine::rt {

static bool asan() { return __sanitizer_start_switch_fiber != nullptr; }
static bool tsan() { return __tsan_switch_to_fiber != nullptr; }

bool san_sanitized() { return asan() || tsan(); }
bool san_keepssignals() { return tsan(); }

__attribute__((no_sanitize("thread", "address"))) static void leave_for(g* self, g* to) {
  if (asan())
    __sanitizer_start_switch_fiber(self != nullptr ? &self->fakestack : nullptr, reinterpret_cast<void*>(to->stack.lo),
                                   to->stack.hi - to->stack.lo);
  if (tsan()) __tsan_switch_to_fiber(to->tsanfiber, 0);
}

__attribute__((no_sanitize("thread", "address"))) void san_leave_slow(g* to) { leave_for(getg(), to); }

// The goroutine will not come back: ASan may free its fake stack.
__attribute__((no_sanitize("thread", "address"))) void san_leave_dying(g* to) {
  if (asan() || tsan()) leave_for(nullptr, to);
}

__attribute__((no_sanitize("thread", "address"))) void san_arrived_slow(g* self) {
  if (asan()) __sanitizer_finish_switch_fiber(self->fakestack, nullptr, nullptr);
}

// gp, which runs on this thread, is about to be scanned by a collector, who finds its fake frames by this.
void san_scanned(g* gp) {
  if (asan() && __asan_get_current_fake_stack != nullptr) gp->fakestack = __asan_get_current_fake_stack();
}

#if VITRINE_VALGRIND
static bool runsonvalgrind() { return RUNNING_ON_VALGRIND != 0; }

VITRINE_NOINLINE static void vg_newg(g* gp) {
  gp->valgrindStackID = VALGRIND_STACK_REGISTER(gp->stack.lo, gp->stack.hi);
}

VITRINE_NOINLINE static void vg_deadg(g* gp) {
  VALGRIND_STACK_DEREGISTER(gp->valgrindStackID);
  gp->valgrindStackID = 0;
  uintptr lo = gp->stack.lo + (gp->stackcanary != 0 ? sizeof(uint64) : 0);
  VALGRIND_MAKE_MEM_UNDEFINED(lo, gp->stack.hi - lo);
}
#else
static bool runsonvalgrind() { return false; }
static void vg_newg(g*) {}
static void vg_deadg(g*) {}
#endif

static const bool onvalgrind = runsonvalgrind();  // before main(), so before any goroutine

// Also before this file's constructors have run.
bool san_watched() {
  static uint8 known;  // 1 + the answer
  uint8 k = load_relaxed(known);
  if (__builtin_expect(k == 0, 0)) store_relaxed(known, k = uint8(1 + runsonvalgrind()));
  return k == 2;
}

void san_newg(g* gp) {
  if (__builtin_expect(onvalgrind, 0)) vg_newg(gp);
  gp->fakestack = nullptr;
  if (asan() && __asan_unpoison_memory_region != nullptr)
    __asan_unpoison_memory_region(reinterpret_cast<void*>(gp->stack.lo), gp->stack.hi - gp->stack.lo);
  if (!tsan()) return;
  if (gp->tsanfiber == nullptr) gp->tsanfiber = __tsan_create_fiber(0);
  san_named(gp);
}

// TSan's reports call the goroutine "17 reader".
void san_named(g* gp) {
  if (!tsan() || gp->tsanfiber == nullptr) return;
  char name[gnamelen + 24];
  uint64 n = 0, id = gp->goid;
  char digits[20];
  do digits[n++] = char('0' + id % 10);
  while ((id /= 10) != 0);
  for (uint64 i = 0; i < n; i++) name[i] = digits[n - 1 - i];
  if (gp->name[0] != 0) name[n++] = ' ';
  for (const char* from = gp->name; *from != 0;) name[n++] = *from++;
  name[n] = 0;
  __tsan_set_fiber_name(gp->tsanfiber, name);
}

void san_deadg(g* gp) {
  if (__builtin_expect(onvalgrind, 0)) vg_deadg(gp);
  if (tsan() && gp->tsanfiber != nullptr) {
    __tsan_destroy_fiber(gp->tsanfiber);
    gp->tsanfiber = nullptr;
  }
}

void san_m0(g* g0p) {
  if (tsan()) g0p->tsanfiber = __tsan_get_current_fiber();
}

// LeakSanitizer knows threads and their stacks; what else may hold the only pointer to a block it has to be told of.
void san_root(void* p, uint64 size) {
  if (__lsan_register_root_region != nullptr) __lsan_register_root_region(p, size);
}

// The locals of an abandoned goroutine may be in frames of its fake stack, which a leak checker knows of threads only.
// Each function keeps the address of its frame there on the stack proper.
__attribute__((no_sanitize("address", "thread"))) static void fakeframes(g* gp, uintptr sp) {
  if (gp->fakestack == nullptr || __asan_addr_is_in_fake_stack == nullptr) return;
  void* last = nullptr;
  for (uintptr at = sp & ~uintptr(7); at < gp->stack.hi; at += 8) {
    void *lo, *hi;
    if (__asan_addr_is_in_fake_stack(gp->fakestack, *reinterpret_cast<void**>(at), &lo, &hi) == nullptr || lo == last)
      continue;
    san_root(lo, uintptr(hi) - uintptr(lo));
    last = lo;
  }
}

// run() is over: what the abandoned goroutines have on their stacks is not leaked.
void san_exit() {
  if (__lsan_register_root_region == nullptr) return;
  for (int64 i = 0, n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE); i < n; i++) {
    g* gp = allgs.array[i];
    uint32 status = readgstatus(gp) & ~uint32(Gscan);
    if (status == Gdead || status == Gidle || gp->stack.lo == 0) continue;
    bool parked = status == Gwaiting || status == Grunnable;
    uintptr lo = parked ? gp->sched.sp : gp->stack.lo;
    if (parked) fakeframes(gp, lo);
    san_root(reinterpret_cast<void*>(lo), gp->stack.hi - lo);
  }
}

bool san_has_background_thread() { return tsan(); }

// ---- mutexes. pc: where the user's function called; this file makes no entries in TSan's shadow call stack.

// Also for kinds that do not wait: then TSan has heard nothing before.
static bool tries(lockkind kind) { return (uint32(kind) & uint32(lockkind::trywrite)) != 0; }

__attribute__((no_sanitize("thread"))) void san_locking_slow(void* mu, lockkind kind, void* pc) {
  __tsan_func_entry(pc);
  __tsan_mutex_pre_lock(mu, unsigned(kind));
  __tsan_mutex_pre_divert(mu, 0);
  __tsan_func_exit(nullptr);
}

__attribute__((no_sanitize("thread"))) void san_locked_slow(void* mu, lockkind kind, void* pc) {
  __tsan_func_entry(pc);
  if (tries(kind))
    __tsan_mutex_pre_lock(mu, unsigned(kind));
  else
    __tsan_mutex_post_divert(mu, 0);
  __tsan_mutex_post_lock(mu, unsigned(kind), 0);
  __tsan_func_exit(nullptr);
}

__attribute__((no_sanitize("thread"))) void san_unlocking_slow(void* mu, lockkind kind, void* pc) {
  __tsan_func_entry(pc);
  __tsan_mutex_pre_unlock(mu, unsigned(kind));
  __tsan_mutex_post_unlock(mu, unsigned(kind));
  __tsan_func_exit(nullptr);
}

// Once run() is over, goroutines that it abandoned may hold a mutex for good.
static void gone(void* mu, bool locked) {
  if (tsan() && !locked && sched.exiting.load(__ATOMIC_RELAXED) == 0) __tsan_mutex_destroy(mu, 0);
}

void mutexgone(syncMutex* mu) { gone(mu, (mu->state.load(__ATOMIC_RELAXED) & mutexLocked) != 0); }
void rwgone(syncRWMutex* rw) { gone(rw, rw->state.load(__ATOMIC_RELAXED) != 0); }

__attribute__((no_sanitize("thread"))) void switch_to_g0_slow(void (*fn)(g*)) {
  leave_for(getg(), getg()->m->g0);
  mcall(fn);
  san_arrived(getg());
}

}  // namespace vitrine::rt
