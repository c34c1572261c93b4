// mgcroot.cc: where marking begins. Follows the roots of Go's mgcmark.go.
//
// Roots, and how each is read:
//   gc::root objects             precisely; they are in memory of the program that nobody else could find
//   finalizers, queued or set    precisely: what they will see
//   data and bss                 conservatively: of the program and its shared objects, as dl_iterate_phdr lists them
//   held memory (malloc_raw.cc)  conservatively: channels' buffers, results of tasks, gls values, timers' functions
//   closures                     conservatively, with the stack of the goroutine that has, or makes, them
//   stacks                       conservatively, from the saved stack pointer up, with the saved registers
//     waiting or runnable   mcall pushed the callee-saved registers; others hold nothing over a call
//     the collecting one    gcStart pushed them; what is below is the collector's and only knows where spans begin
//     without a P, frozen   the signal's context has all registers; 128 bytes below the stack pointer are in use too
//     in a blocking_scope   what it had when the scope began: registers are in g.syscallregs, frames from syscallsp up
//     the caller of run()   the first thread's stack above mstart: locals that goroutine 1 was given by reference
// Not roots: stacks of threads that are no goroutines, and of the collector's; thread-locals; memory from malloc.
//
// When. All of them count as they were when the world stood still at the beginning of the cycle. What can change without
// a barrier is read right then (gcMarkRootsStopped): gc::roots, globals, held memory, goroutines on threads. What cannot
// is left to the markers, as jobs (markroot): goroutines that are parked or queued, and finalizers. For each goroutine
// g.gcscan says how far that is; who sets it from before to "cycle × 2" scans the stack, and then sets "cycle × 2 + 1".
// execute() runs no goroutine whose stack is not scanned: it scans it first, or waits for who does (gcscangoroutine). A
// goroutine that begins while the cycle marks has nothing that is not marked or in somebody's hands (gcbornscanned).
// That leaves what another goroutine does to the variables of one that is parked: gc.h says what it may.
#include <link.h>
#include <ucontext.h>

#include "mgc.h"
#include "proc.h"

#define NOSAN __attribute__((no_sanitize("thread", "address")))

extern "C" __attribute__((weak)) void* __asan_addr_is_in_fake_stack(void* fake_stack, void* addr, void** beg,
                                                                    void** end);

namespace vitrine::rt {

gcsegments_ gcsegments;

constexpr uint32 goroutinesPerJob = 32, spansPerJob = 512;

// ---- data and bss

// Large memory of the runtime's own among it, which knows nothing of the program's: reading it takes time, and the heap's
// own structure knows where arenas begin, which may be where an object does. By address.
static uint32 ownmemory(gcsegment* own) {
  gcsegment all[] = {{uintptr(&mheap_), uintptr(&mheap_ + 1)},
                     {uintptr(&gcsegments), uintptr(&gcsegments + 1)},
                     symtabmemory(),
                     cgroupmemory()};
  uint32 n = 0;
  for (const gcsegment& one : all) {
    uint32 at = n++;
    for (; at > 0 && own[at - 1].lo > one.lo; at--) own[at] = own[at - 1];
    own[at] = one;
  }
  return n;
}

static void addsegment(uintptr lo, uintptr hi) {
  if (lo >= hi) return;
  if (gcsegments.n == maxsegments) fatal("gc: too many shared objects");
  gcsegments.at[gcsegments.n++] = {lo, hi};
}

// With the world running: dl_iterate_phdr takes a lock that a goroutine which is about to be frozen may hold.
void gcenumsegments() {
  gcsegments.n = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) -> int {
        // What the dynamic linker has written, and made read-only before the program began. Where that ends is rounded
        // down to a page.
        gcsegment relro{};
        for (int i = 0; i < info->dlpi_phnum; i++)
          if (const auto& ph = info->dlpi_phdr[i]; ph.p_type == PT_GNU_RELRO) {
            relro.lo = info->dlpi_addr + ph.p_vaddr;
            relro.hi = alignDown(relro.lo + ph.p_memsz, physPageSize);
          }
        gcsegment own[8];
        uint32 nown = ownmemory(own);
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& ph = info->dlpi_phdr[i];
          if (ph.p_type != PT_LOAD || (ph.p_flags & PF_W) == 0 || ph.p_memsz == 0) continue;
          uintptr lo = info->dlpi_addr + ph.p_vaddr, hi = lo + ph.p_memsz;
          if (relro.lo <= lo && lo < relro.hi) lo = relro.hi;
          for (uint32 k = 0; k < nown; k++) {
            if (own[k].lo < lo || own[k].hi > hi) continue;
            addsegment(lo, own[k].lo);
            lo = own[k].hi;
          }
          addsegment(lo, hi);
        }
        return 0;
      },
      nullptr);
}

// ---- stacks

// With AddressSanitizer's fake stacks a frame's locals are elsewhere, and the frame has the address.
NOSAN static void scanfakeframes(g* gp, uintptr b, uintptr end, gcWork* w) {
  for (b = alignUp(b, ptrSize); b + ptrSize <= end; b += ptrSize) {
    void *lo, *hi;
    auto* p = *reinterpret_cast<void**>(b);
    if (__asan_addr_is_in_fake_stack(gp->fakestack, p, &lo, &hi) != nullptr)
      scanblock(uintptr(lo), uintptr(hi) - uintptr(lo), w);
  }
}

// The registers that the kernel saved for a signal handler, the vector registers included.
NOSAN static void scancontext(const ucontext_t* ctx, gcWork* w) {
  scanblock(uintptr(&ctx->uc_mcontext.gregs), sizeof ctx->uc_mcontext.gregs, w);
  auto fp = uintptr(ctx->uc_mcontext.fpregs);
  if (fp == 0) return;
  // The kernel notes the size of the whole in the bytes that are left to software, behind a magic number.
  constexpr uintptr legacybytes = 512, swreserved = 464;
  constexpr uint32 magic = 0x46505853;
  uint32 found = *reinterpret_cast<uint32*>(fp + swreserved);
  uint32 size = *reinterpret_cast<uint32*>(fp + swreserved + 4);
  scanblock(fp, found == magic && size < 64 << 10 ? size : legacybytes, w);
}

NOSAN static void scanframes(g* gp, uintptr sp, gcWork* w) {
  if (sp < gp->stack.lo || sp > gp->stack.hi) {
    print("runtime: goroutine ", gp->goid, " has status ", readgstatus(gp), " and sp ", hex{sp}, ", stack [",
          hex{gp->stack.lo}, ", ", hex{gp->stack.hi}, ")\n");
    throw_("gc: a goroutine's stack pointer is not in its stack");
  }
  work.stacksScanned.add(gp->stack.hi - sp, __ATOMIC_RELAXED);
  scanblock(sp, gp->stack.hi - sp, w);
  if (__builtin_expect(__asan_addr_is_in_fake_stack != nullptr && gp->fakestack != nullptr, 0))
    scanfakeframes(gp, sp, gp->stack.hi, w);
}

// What gp was given, and what it makes for others that do not have it yet.
NOSAN void eachclosure(const g* gp, void (*f)(uintptr p, uintptr size, void* arg), void* arg) {
  auto one = [&](const void* p) {
    uintptr lo, hi;
    closurememory(p, &lo, &hi);
    if (lo != hi) f(lo, hi - lo, arg);
  };
  if (void* own = load_relaxed(gp->closure)) one(own);
  for (uint32 i = 0, n = load_relaxed(gp->nnascent); i < n; i++) one(gp->nascent[i]);
}

// The collector's own goroutines know no objects, only spans: what their calls leave on the stack are addresses of spans,
// which would keep the first object of each. Nor does the one that runs finalizers, between two of them: what they left
// on its stack would keep what they have just let go.
static bool knowsnoobjects(const g* gp) {
  if (gp == load_relaxed(finalizers.fing)) return finalizers.running.object == nullptr;
  return gp == sweep.g_ || gp == scavenge.g_ || gp == forcegc.g_ || gp->startfn == gcBgMarkWorkerFn;
}

NOSAN static void scanstack(g* gp, g* stopper, gcWork* w) {
  if (gp->isforeign || knowsnoobjects(gp)) return;
  uint32 status = readgstatus(gp) & ~uint32(Gscan);
  if (status == Gidle || status == Gdead) return;
  eachclosure(
      gp, [](uintptr p, uintptr size, void* to) { scanblock(p, size, static_cast<gcWork*>(to)); }, w);
  switch (status) {
    case Gsyscall:
      scanblock(uintptr(gp->syscallregs), sizeof gp->syscallregs, w);
      scanblock(uintptr(&gp->syscallbp), ptrSize, w);
      return scanframes(gp, gp->syscallsp, w);
    case Grunning:
      if (gp == stopper) return scanframes(gp, work.startersp, w);
      if (gp->m->gcstop.load(__ATOMIC_ACQUIRE) != freezeDone) throw_("gc: a goroutine runs in a stopped world");
      if (gp->m->gcucontext != nullptr) scancontext(static_cast<ucontext_t*>(gp->m->gcucontext), w);
      return scanframes(gp, gp->m->gcsp, w);
    case Grunnable:
    case Gwaiting:
      return scanframes(gp, gp->sched.sp, w);
    default:
      print("runtime: goroutine ", gp->goid, " has status ", readgstatus(gp), "\n");
      throw_("gc: a goroutine has a status in which its stack cannot be scanned");
  }
}

// ---- whose turn it is to scan a goroutine

static uint32 scanning() { return load_relaxed(work.cycles) * 2; }

// True: the caller scans gp, and then calls scanned. False: it is scanned, by somebody else, when this returns, unless
// nowait.
static bool claim(g* gp, bool wait) {
  uint32 now = scanning();
  for (;;) {
    uint32 v = gp->gcscan.load(__ATOMIC_ACQUIRE);
    if (v == now + 1) return false;
    if (v != now) {
      if (gp->gcscan.cas(v, now, __ATOMIC_ACQ_REL)) return true;
    } else if (wait) {
      procyield(10);
    } else {
      return false;
    }
  }
}

static void scanned(g* gp) { gp->gcscan.store(scanning() + 1, __ATOMIC_RELEASE); }

// On g0, with a P: gp, Grunnable, is about to run here.
void gcscangoroutine(g* gp, gcWork* w) {
  if (!claim(gp, true)) return;
  scanstack(gp, nullptr, w);
  scanned(gp);
}

void gcbornscanned(g* gp) {
  if (claim(gp, true)) scanned(gp);
}

// ---- with the world stopped

// Every goroutine that is on a thread: the others are parked or queued.
NOSAN static void scanonthreads(g* stopper, gcWork* w) {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink) {
    g* gp = load_relaxed(mp->curg);
    if (gp == nullptr || gp->isforeign) continue;
    uint32 status = readgstatus(gp) & ~uint32(Gscan);
    if ((status != Grunning && status != Gsyscall) || !claim(gp, true)) continue;
    scanstack(gp, stopper, w);
    scanned(gp);
  }
}

NOSAN void gcMarkRootsStopped(g* stopper, gcWork* w) {
  lock(&gcroots.lock);
  for (gcroot* r = gcroots.head.next; r != nullptr && r != &gcroots.head; r = r->next) gcshade(uintptr(r->p), w);
  unlock(&gcroots.lock);
  for (uint32 i = 0; i < gcsegments.n; i++) {
    uintptr n = gcsegments.at[i].hi - gcsegments.at[i].lo;
    work.globalsScanned += n;
    scanblock(gcsegments.at[i].lo, n, w);
  }
  eachheld([](uintptr p, uintptr size, void* to) { scanblock(p, size, static_cast<gcWork*>(to)); }, w);
  scanonthreads(stopper, w);
  if (g0.sched.sp >= g0.stack.lo && g0.sched.sp < g0.stack.hi) scanblock(g0.sched.sp, g0.stack.hi - g0.sched.sp, w);
}

// Those that stand still in the middle of something may have stored a pointer and not told the barrier yet.
NOSAN void gcMarkRootFrozen(gcWork* w) {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink) {
    g* gp = load_relaxed(mp->curg);
    if (gp != nullptr && mp->gcstop.load(__ATOMIC_ACQUIRE) == freezeDone && readgstatus(gp) == Grunning)
      scanstack(gp, nullptr, w);
  }
}

// ---- jobs

uint32 gcPrepareRoots() {
  auto jobs = [](int64 n, uint32 each) { return uint32((n + each - 1) / each); };
  work.nStackJobs = jobs(__atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE), goroutinesPerJob);
  work.nSpanJobs = jobs(__atomic_load_n(&mheap_.allspans.len, __ATOMIC_ACQUIRE), spansPerJob);
  return work.nStackJobs + work.nSpanJobs + 1;
}

NOSAN static void markgoroutines(gcWork* w, uint32 job) {
  g** gs = __atomic_load_n(&allgs.array, __ATOMIC_ACQUIRE);
  int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE), begin = int64(job) * goroutinesPerJob;
  for (int64 i = begin; i < n && i < begin + goroutinesPerJob; i++) {
    g* gp = gs[i];
    if (!claim(gp, false)) continue;
    scanstack(gp, nullptr, w);
    scanned(gp);
  }
}

NOSAN static void markspans(gcWork* w, uint32 job) {
  mspan** all = __atomic_load_n(&mheap_.allspans.array, __ATOMIC_ACQUIRE);
  int64 n = __atomic_load_n(&mheap_.allspans.len, __ATOMIC_ACQUIRE), begin = int64(job) * spansPerJob;
  for (int64 i = begin; i < n && i < begin + spansPerJob; i++) {
    mspan* s = all[i];
    auto state = __atomic_load_n(&s->state.value, __ATOMIC_ACQUIRE);  // it may be no span at the moment
    if (state == mSpanInUse && __atomic_load_n(&s->specials, __ATOMIC_RELAXED) != nullptr) markspecials(s, w);
  }
}

NOSAN void markroot(gcWork* w, uint32 job) {
  if (job < work.nStackJobs) return markgoroutines(w, job);
  job -= work.nStackJobs;
  if (job < work.nSpanJobs) return markspans(w, job);
  markqueuedfinalizers(w);
}

}  // namespace vitrine::rt
