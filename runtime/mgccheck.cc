// mgccheck.cc: does the collector see everything? Two checks for who works on it, or doubts its own program.
//
// GODEBUG=gccheckmark=1, after each mark phase, while the world is stopped: no object that is marked, no global, no held
// memory and no gc::root refers to an object that is not. If one does, an object that lives would be freed: a barrier is
// missing, or a pointer went where no barrier is (gc.h). Stacks are not asked: a frame that is new may have old words in it
// which nobody uses.
//
// -DVITRINE_GC_CHECK, in the program: each gc::ptr is where the collector will find it.
#include <link.h>

#include "mgc.h"
#include "proc.h"

#define NOSAN __attribute__((no_sanitize("thread", "address")))

namespace vitrine::rt {

// ---- gccheckmark

NOSAN static void checkword(uintptr p, const char* where, uintptr at, uintptr offset) {
  mspan* s;
  uintptr index;
  uintptr obj = findObject(p, &s, &index);
  if (obj == 0 || markBitsForIndex(s, index).isMarked()) return;
  print("runtime: checkmark found unmarked object ", hex{obj}, " of ", uint64(s->elemsize), " bytes in span ",
        hex{s->base()}, "\nruntime: pointer ", hex{p}, " to it in ", where, " at *(", hex{at}, "+", hex{offset}, ")\n");
  throw_("checkmark found unmarked object");
}

NOSAN static void checkblock(uintptr b, uintptr n, const char* where) {
  uintptr end = alignDown(b + n, ptrSize);
  for (uintptr at = alignUp(b, ptrSize); at < end; at += ptrSize)
    checkword(*reinterpret_cast<uintptr*>(at), where, b, at - b);
}

NOSAN static void checkobject(mspan* s, uintptr index) {
  uintptr b = s->base() + index * s->elemsize;
  heapBits h = heapBitsForAddr(b);
  for (uintptr i = 0; i < s->elemsize && h.morePointers(); i += ptrSize) {
    if (h.isPointer()) checkword(*reinterpret_cast<uintptr*>(b + i), "object", b, i);
    if (i + ptrSize < s->elemsize) h = h.next();
  }
}

NOSAN void gccheckmarks() {
  for (gcroot* r = gcroots.head.next; r != nullptr && r != &gcroots.head; r = r->next)
    checkword(uintptr(r->p), "gc::root", uintptr(r), 0);
  for (uint32 i = 0; i < gcsegments.n; i++)
    checkblock(gcsegments.at[i].lo, gcsegments.at[i].hi - gcsegments.at[i].lo, "global");
  for (int64 i = 0; i < allgs.len; i++)
    if (g* gp = allgs.array[i]; (readgstatus(gp) & ~uint32(Gscan)) != Gdead)
      eachclosure(
          gp, [](uintptr p, uintptr size, void*) { checkblock(p, size, "closure"); }, nullptr);
  eachheld([](uintptr p, uintptr size, void*) { checkblock(p, size, "held memory"); }, nullptr);
  for (int64 k = 0; k < mheap_.allspans.len; k++) {
    mspan* s = mheap_.allspans.array[k];
    if (s->state.load(__ATOMIC_ACQUIRE) != mSpanInUse || spannoscan(s->spanclass)) continue;
    for (uintptr i = 0; i < s->nelems; i++)
      if (markBitsForIndex(s, i).isMarked()) checkobject(s, i);
  }
}

// ---- -DVITRINE_GC_CHECK

static bool insegment(uintptr addr) {
  return dl_iterate_phdr(
             [](dl_phdr_info* info, size_t, void* arg) -> int {
               for (int i = 0; i < info->dlpi_phnum; i++) {
                 const auto& ph = info->dlpi_phdr[i];
                 uintptr lo = info->dlpi_addr + ph.p_vaddr;
                 if (ph.p_type == PT_LOAD && *static_cast<uintptr*>(arg) - lo < ph.p_memsz) return 1;
               }
               return 0;
             },
             &addr) != 0;
}

// A gc::ptr is made at slot: will a collection see it?
void gccheckslot(const void* slot) {
  auto a = uintptr(slot);
  auto within = [a](const stack& s) { return a >= s.lo && a < s.hi; };
  mspan* s = spanOf(a);
  if (s != nullptr && s->state.load(__ATOMIC_ACQUIRE) == mSpanInUse && a >= s->base() && a < s->limit) {
    if (!spannoscan(s->spanclass) && heapBitsForAddr(a).isPointer()) return;
    uintptr offset = a - (s->base() + s->objIndex(a) * s->elemsize);
    print("runtime: a gc::ptr at ", slot, ", offset ", uint64(offset), " of a managed object of ", uint64(s->elemsize),
          " bytes\n");
    fatal("gc: a gc::ptr in a managed object is not in its type's map");
  }
  if (s != nullptr || debug.sbrk != 0) return;  // a stack, or held memory
  if (load_relaxed(gomaxprocs) == 0) return;    // before run(): of its caller
  g* gp = curgoroutine();
  if ((gp != nullptr && within(gp->stack)) || within(g0.stack) || sanitized() || san_watched() || insegment(a)) return;
  print("runtime: a gc::ptr at ", slot, "\n");
  fatal("gc: a gc::ptr is in memory that the collector does not see; use gc::root there");
}

}  // namespace vitrine::rt
