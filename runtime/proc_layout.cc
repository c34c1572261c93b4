// proc_layout.cc: holds asm_offsets.h against the C++ shapes, and the wait-reason texts.
#include "asm_offsets.h"
#include "runtime2.h"

namespace vitrine::rt {

// g_m and the others are macros of asm_offsets.h.
static_assert(offsetof(g, stack.lo) == g_stack_lo && offsetof(g, stack.hi) == g_stack_hi);
static_assert(offsetof(g, sched) == g_sched && offsetof(g, m) == g_m);
static_assert(offsetof(g, startfn) == g_startfn && offsetof(g, startarg) == g_startarg);
static_assert(offsetof(gobuf, sp) == gobuf_sp && offsetof(gobuf, pc) == gobuf_pc && offsetof(gobuf, g) == gobuf_g);
static_assert(offsetof(gobuf, ctxt) == gobuf_ctxt && offsetof(gobuf, ret) == gobuf_ret);
static_assert(offsetof(gobuf, lr) == gobuf_lr && offsetof(gobuf, bp) == gobuf_bp);
static_assert(offsetof(m, g0) == m_g0 && offsetof(m, gsignal) == m_gsignal && offsetof(m, curg) == m_curg);
static_assert(mcall_ret + 8 == mcall_frame && mcall_frame % 16 == 0);

#define REASON(text) \
  { text, sizeof(text) - 1 }
// In the order of waitReason. A text is never changed into another meaning; new reasons go to the end.
const string waitReasonStrings[waitReasonCount] = {
    REASON(""),
    REASON("GC assist marking"),
    REASON("IO wait"),
    REASON("chan receive (nil chan)"),
    REASON("chan send (nil chan)"),
    REASON("dumping heap"),
    REASON("garbage collection"),
    REASON("garbage collection scan"),
    REASON("panicwait"),
    REASON("select"),
    REASON("select (no cases)"),
    REASON("GC assist wait"),
    REASON("GC sweep wait"),
    REASON("GC scavenge wait"),
    REASON("chan receive"),
    REASON("chan send"),
    REASON("finalizer wait"),
    REASON("force gc (idle)"),
    REASON("semacquire"),
    REASON("sleep"),
    REASON("sync.Cond.Wait"),
    REASON("sync.Mutex.Lock"),
    REASON("sync.RWMutex.RLock"),
    REASON("sync.RWMutex.Lock"),
    REASON("sync.WaitGroup.Wait"),
    REASON("trace reader (blocked)"),
    REASON("wait for GC cycle"),
    REASON("GC worker (idle)"),
    REASON("GC worker (active)"),
    REASON("preempted"),
    REASON("debug call"),
    REASON("stopping the world"),
    REASON("task join"),
    REASON("sync.Once.Do"),
    REASON("semaphore"),
    REASON("gomaxprocs"),
};
static_assert(sizeof waitReasonStrings / sizeof *waitReasonStrings == waitReasonCount);

}  // namespace vitrine::rt
