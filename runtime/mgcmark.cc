// mgcmark.cc: from the roots to all that can be reached. Follows Go's mgcmark.go. With the world stopped and every
// goroutine that has no P frozen (proc_freeze.cc), on the g0 of the M that collects.
//
// Roots, and how each is read:
//   gc::root objects             precisely; they are in memory of the program that nobody else could find
//   finalizers, queued or set    precisely: what they will see
//   data and bss                 conservatively: of the program and its shared objects, as dl_iterate_phdr lists them
//   held memory (malloc_raw.cc)  conservatively: closures of goroutines, channels' buffers, results of tasks, gls values
//   stacks                       conservatively, from the saved stack pointer up, with the saved registers
//     waiting or runnable   mcall pushed the callee-saved registers; others hold nothing over a call
//     the collecting one    gcStart pushed them; what is below is the collector's and only knows where spans begin
//     without a P, frozen   the signal's context has all registers; 128 bytes below the stack pointer are in use too
//     in a blocking_scope   what it had when the scope began: registers are in g.syscallregs, frames from syscallsp up
//     the caller of run()   the first thread's stack above mstart: locals that goroutine 1 was given by reference
// Not roots: stacks of threads that are no goroutines, and of the collector's; thread-locals; memory from malloc.
//
// Conservatively: any word that is an address inside an object that is allocated keeps it, wherever in it it points.
// Words are aligned; a pointer in a packed struct is not found. Precisely: by the heap bitmap. There a pointer to
// nothing that is allocated cannot come from a program that keeps the rules of gc.h, and ends it ("found bad pointer").
//
// No function here is instrumented by a sanitizer: frames are read as they are, red zones and all, and what runs
// meanwhile (threads that are no goroutines) may write what is read.
#include <link.h>
#include <ucontext.h>

#include "mgc.h"
#include "proc.h"

#define NOSAN __attribute__((no_sanitize("thread", "address")))

extern "C" __attribute__((weak)) void* __asan_addr_is_in_fake_stack(void* fake_stack, void* addr, void** beg,
                                                                    void** end);

namespace vitrine::rt {

gcsegments_ gcsegments;

// ---- one pointer

NOSAN static inline bool marked(const mspan* s, uintptr i) { return (s->gcmarkBits[i / 8] >> i % 8 & 1) != 0; }

NOSAN static inline void greyobject(uintptr obj, mspan* s, uintptr index) {
  if (marked(s, index)) return;
  s->gcmarkBits[index / 8] |= gcBits(1 << index % 8);
  work.gcw.bytesMarked += s->elemsize;
  if (!spannoscan(s->spanclass)) work.gcw.put(obj);
}

NOSAN static inline bool isobject(const mspan* s, uintptr p) {
  return s->state.load(__ATOMIC_ACQUIRE) == mSpanInUse && p >= s->base() && p < s->limit;
}

NOSAN uintptr findObject(uintptr p, mspan** sp, uintptr* index, bool precise) {
  mspan* s = spanOf(p);
  if (s == nullptr) return 0;
  *sp = s;
  if (!isobject(s, p)) {
    // A pointer to a stack, or to what the runtime keeps, is none of ours.
    if (precise && s->state.load(__ATOMIC_ACQUIRE) != mSpanManual) *index = ~uintptr(0);
    return 0;
  }
  uintptr i = s->objIndex(p);
  if (s->isFree(i)) {
    if (precise) *index = ~uintptr(0);
    return 0;
  }
  *index = i;
  return s->base() + i * s->elemsize;
}

static const char* statename(const mspan* s) {
  switch (s->state.load(__ATOMIC_RELAXED)) {
    case mSpanInUse:
      return "in use";
    case mSpanManual:
      return "manual";
    case mSpanFree:
      return "free";
    default:
      return "dead";
  }
}

NOSAN static void badPointer(uintptr p, const mspan* s, uintptr obj, uintptr off, const mspan* from) {
  print("runtime: pointer ", hex{p}, " to ", isobject(s, p) ? "a free object" : "an unallocated span",
        ": span.base=", hex{s->base()}, " span.limit=", hex{s->limit}, " span.elemsize=", uint64(s->elemsize),
        " span.state=", statename(s), "\nruntime: found in object at *(", hex{obj}, "+", hex{off}, ") of ",
        uint64(from->elemsize), " bytes\n");
  for (uintptr i = 0; i < from->elemsize && i < 128 * ptrSize; i += ptrSize)
    print(" *(object+", uint64(i), ") = ", hex{*reinterpret_cast<uintptr*>(obj + i)}, i == off ? " <==\n" : "\n");
  throw_("found bad pointer in the heap (was the object only known to memory that the collector does not see?)");
}

NOSAN void scanobject(uintptr b, mspan* s, uintptr) {
  uintptr n = s->elemsize;
  const uint8* bitp = nullptr;
  for (uintptr i = 0; i < n;) {
    uintptr addr = b + i;
    if (bitp == nullptr || addr % heapArenaBytes == 0)
      bitp = &arenaOf(addr)->bitmap[addr / (ptrSize * 4) % heapArenaBitmapBytes];
    uint32 shift = uint32(addr / ptrSize % 4);
    uint32 bits = uint32(*bitp++) >> shift;
    for (; shift < 4 && i < n; shift++, i += ptrSize, bits >>= 1) {
      if ((bits & bitScan) == 0) {
        work.gcw.scanWork += i;
        return;
      }
      if ((bits & bitPointer) == 0) continue;
      uintptr p = *reinterpret_cast<uintptr*>(b + i);
      if (p - b < n || p == 0) continue;
      mspan* to;
      uintptr index = 0;
      if (uintptr obj = findObject(p, &to, &index, true); obj != 0)
        greyobject(obj, to, index);
      else if (index != 0 && debug.invalidptr != 0)
        badPointer(p, to, b, i, s);
    }
  }
  work.gcw.scanWork += n;
}

// From the lowest arena to the end of the highest: most words are none of these. Kept as the address before, since this
// is scanned as well, and the first object may begin at that one.
static uintptr belowheap, heapbytes;

static void setheaprange() {
  uintptr lo = ~uintptr(0), hi = 0;
  int64 n = __atomic_load_n(&mheap_.allArenas.len, __ATOMIC_ACQUIRE);
  uintptr* bases = __atomic_load_n(&mheap_.allArenas.array, __ATOMIC_ACQUIRE);
  for (int64 i = 0; i < n; i++) {
    uintptr base = bases[i];
    if (base < lo) lo = base;
    if (base + heapArenaBytes > hi) hi = base + heapArenaBytes;
  }
  belowheap = lo - 1;
  heapbytes = hi > lo ? hi - lo : 0;
}

NOSAN static inline void markconservative(uintptr p) {
  if (__builtin_expect(p - 1 - belowheap >= heapbytes, 1)) return;
  mspan* s;
  uintptr index = 0;
  if (uintptr obj = findObject(p, &s, &index, false); obj != 0) greyobject(obj, s, index);
}

NOSAN void scanblock(uintptr b, uintptr n) {
  uintptr end = alignDown(b + n, ptrSize);
  for (b = alignUp(b, ptrSize); b < end; b += ptrSize) markconservative(*reinterpret_cast<uintptr*>(b));
}

NOSAN void gcDrain() {
  while (uintptr obj = work.gcw.tryGet()) {
    mspan* s = spanOfUnchecked(obj);
    scanobject(obj, s, 0);
  }
}

// ---- data and bss

// With the world running: dl_iterate_phdr takes a lock that a goroutine which is about to be frozen may hold.
void gcenumsegments() {
  gcsegments.n = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) -> int {
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& ph = info->dlpi_phdr[i];
          if (ph.p_type != PT_LOAD || (ph.p_flags & PF_W) == 0 || ph.p_memsz == 0) continue;
          if (gcsegments.n == maxsegments) fatal("gc: too many shared objects");
          uintptr lo = info->dlpi_addr + ph.p_vaddr;
          gcsegments.at[gcsegments.n++] = {lo, lo + ph.p_memsz};
        }
        return 0;
      },
      nullptr);
}

// Without the heap's own structure: it knows where arenas begin, which may be where an object does.
NOSAN static void scansegment(const gcsegment& seg) {
  uintptr heap = uintptr(&mheap_), end = heap + sizeof mheap_;
  work.globalsScanned += seg.hi - seg.lo;
  if (heap < seg.lo || seg.hi <= heap) return scanblock(seg.lo, seg.hi - seg.lo);
  scanblock(seg.lo, heap - seg.lo);
  scanblock(end, seg.hi - end);
}

// ---- stacks

// With AddressSanitizer's fake stacks a frame's locals are elsewhere, and the frame has the address.
NOSAN static void scanstackblock(g* gp, uintptr b, uintptr end) {
  work.stacksScanned += end - b;
  for (b = alignUp(b, ptrSize); b + ptrSize <= end; b += ptrSize) {
    uintptr p = *reinterpret_cast<uintptr*>(b);
    markconservative(p);
    if (__builtin_expect(__asan_addr_is_in_fake_stack != nullptr && gp->fakestack != nullptr, 0)) {
      void *lo, *hi;
      if (__asan_addr_is_in_fake_stack(gp->fakestack, reinterpret_cast<void*>(p), &lo, &hi) != nullptr)
        scanblock(uintptr(lo), uintptr(hi) - uintptr(lo));
    }
  }
}

// The registers that the kernel saved for a signal handler, the vector registers included.
NOSAN static void scancontext(const ucontext_t* ctx) {
  scanblock(uintptr(&ctx->uc_mcontext.gregs), sizeof ctx->uc_mcontext.gregs);
  auto fp = uintptr(ctx->uc_mcontext.fpregs);
  if (fp == 0) return;
  // The kernel notes the size of the whole in the bytes that are left to software, behind a magic number.
  constexpr uintptr legacybytes = 512, swreserved = 464;
  constexpr uint32 magic = 0x46505853;
  uint32 found = *reinterpret_cast<uint32*>(fp + swreserved);
  uint32 size = *reinterpret_cast<uint32*>(fp + swreserved + 4);
  scanblock(fp, found == magic && size < 64 << 10 ? size : legacybytes);
}

NOSAN static void scanframes(g* gp, uintptr sp) {
  if (sp < gp->stack.lo || sp > gp->stack.hi) {
    print("runtime: goroutine ", gp->goid, " has status ", readgstatus(gp), " and sp ", hex{sp}, ", stack [",
          hex{gp->stack.lo}, ", ", hex{gp->stack.hi}, ")\n");
    throw_("gc: a goroutine's stack pointer is not in its stack");
  }
  scanstackblock(gp, sp, gp->stack.hi);
}

// The collector's own goroutines know no objects, only spans: what their calls leave on the stack are addresses of spans,
// which would keep the first object of each. Nor does the one that runs finalizers, between two of them: what they left
// on its stack would keep what they have just let go.
static bool knowsnoobjects(const g* gp) {
  if (gp == finalizers.fing) return finalizers.running.object == nullptr;
  return gp == sweep.g_ || gp == scavenge.g_ || gp == forcegc.g_;
}

NOSAN static void scanstack(g* gp, g* stopper) {
  if (gp->isforeign || knowsnoobjects(gp)) return;
  switch (readgstatus(gp) & ~uint32(Gscan)) {
    case Gidle:
    case Gdead:
      return;
    case Gsyscall:
      scanblock(uintptr(gp->syscallregs), sizeof gp->syscallregs);
      markconservative(gp->syscallbp);
      return scanframes(gp, gp->syscallsp);
    case Grunning:
      if (gp == stopper) return scanframes(gp, work.startersp);
      if (gp->m->gcstop.load(__ATOMIC_ACQUIRE) != freezeDone) throw_("gc: a goroutine runs in a stopped world");
      if (gp->m->gcucontext != nullptr) scancontext(static_cast<ucontext_t*>(gp->m->gcucontext));
      return scanframes(gp, gp->m->gcsp);
    case Grunnable:
    case Gwaiting:
      return scanframes(gp, gp->sched.sp);
    default:
      print("runtime: goroutine ", gp->goid, " has status ", readgstatus(gp), "\n");
      throw_("gc: a goroutine's status is none that it can have in a stopped world");
  }
}

// ---- all of it

NOSAN void gcMarkRoots(g* stopper) {
  setheaprange();
  lock(&gcroots.lock);
  for (gcroot* r = gcroots.head.next; r != nullptr && r != &gcroots.head; r = r->next) markconservative(uintptr(r->p));
  unlock(&gcroots.lock);
  gcDrain();
  markfinalizers();
  for (uint32 i = 0; i < gcsegments.n; i++) {
    scansegment(gcsegments.at[i]);
    gcDrain();
  }
  eachheld([](uintptr p, uintptr size) { scanblock(p, size); });
  gcDrain();
  int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE);
  g** gs = __atomic_load_n(&allgs.array, __ATOMIC_ACQUIRE);
  for (int64 i = 0; i < n; i++) {
    scanstack(gs[i], stopper);
    gcDrain();
  }
  if (g0.sched.sp >= g0.stack.lo && g0.sched.sp < g0.stack.hi) scanblock(g0.sched.sp, g0.stack.hi - g0.sched.sp);
  gcDrain();
}

}  // namespace vitrine::rt
