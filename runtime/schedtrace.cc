// schedtrace.cc: the state of the scheduler on fd 2, every GODEBUG=schedtrace=N ms (sysmon asks). The lines are those
// of Go 1.26's schedtrace, byte for byte but for the numbers, so that whatever reads Go's reads ours:
//
//     SCHED 1004ms: gomaxprocs=2 idleprocs=0 threads=4 … runqueue=3 [ 1 0 ] schedticks=[ 26 31 ]
//
// With GODEBUG=scheddetail=1 a line for each P, M and G follows instead of the two lists.
//
// sched.lock is held, so that the lists of Ms and idle Ps stand still; what belongs to a running P, M or G may change
// under us, and every pointer is read once before it is followed. All of these objects stay what they are for good.
// The page that is printed is gathered by lines (printto); a slow reader of fd 2 slows the scheduler down, as in Go.
#include "proc.h"

namespace vitrine::rt {

namespace {

// The id of what p points to, or nil.
template <class T, class Id>
void idornil(T* p, Id T::*id) {
  if (p != nullptr)
    print(p->*id);
  else
    print("nil");
}

// Words that their owners write plainly: what is read is one of the values that they had.
#define LOOKS_AT_OTHERS __attribute__((no_sanitize("thread")))

template <class T>
LOOKS_AT_OTHERS T* once(T* const& field) {
  return __atomic_load_n(&field, __ATOMIC_RELAXED);
}

uint32 queued(p* pp) {
  uint32 h = pp->runqhead.load(__ATOMIC_RELAXED), t = pp->runqtail.load(__ATOMIC_RELAXED);
  return t - h;
}

LOOKS_AT_OTHERS void traceP(int64 i, p* pp) {
  print("  P", i, ": status=", __atomic_load_n(&pp->status, __ATOMIC_RELAXED),
        " schedtick=", __atomic_load_n(&pp->schedtick, __ATOMIC_RELAXED),
        " syscalltick=", __atomic_load_n(&pp->syscalltick, __ATOMIC_RELAXED), " m=");
  idornil(once(pp->m), &m::id);
  print(" runqsize=", queued(pp), " gfreecnt=", __atomic_load_n(&pp->gFree.n, __ATOMIC_RELAXED),
        " timerslen=", pp->timers.len.load(__ATOMIC_RELAXED), "\n");
}

LOOKS_AT_OTHERS void traceM(m* mp) {
  print("  M", mp->id, ": p=");
  idornil(once(mp->p), &p::id);
  print(" curg=");
  idornil(once(mp->curg), &g::goid);
  const char* off = once(mp->preemptoff);
  print(" mallocing=", mp->mallocing, " throwing=", mp->throwing, " preemptoff=", off != nullptr ? off : "",
        " locks=", __atomic_load_n(&mp->locks, __ATOMIC_RELAXED), " dying=", mp->dying,
        " spinning=", mp->spinning ? "true" : "false", " blocked=", mp->blocked ? "true" : "false", " lockedg=");
  idornil(once(mp->lockedg), &g::goid);
  print("\n");
}

LOOKS_AT_OTHERS void traceG(g* gp) {
  uint8 reason = __atomic_load_n(reinterpret_cast<uint8*>(&gp->waitreason), __ATOMIC_RELAXED);
  print("  G", gp->goid, ": status=", readgstatus(gp), "(",
        reason < waitReasonCount ? waitReasonStrings[reason] : string{"unknown wait reason", 19}, ") m=");
  idornil(once(gp->m), &m::id);
  print(" lockedm=");
  idornil(once(gp->lockedm), &m::id);
  print("\n");
}

}  // namespace

// On g0 or a thread that is no goroutine's, without a lock.
__attribute__((no_sanitize("thread"))) void schedtrace(bool detailed) {
  printsink page;
  page.fd = 2;
  lock(&sched.lock);
  int64 procs = load_relaxed(gomaxprocs) < nallp() ? gomaxprocs : nallp();
  printto(&page);
  print("SCHED ", (nanotime() - sched.starttime) / 1'000'000, "ms: gomaxprocs=", gomaxprocs,
        " idleprocs=", sched.npidle.load(), " threads=", sched.mnext - sched.nmfreed,
        " spinningthreads=", sched.nmspinning.load(), " needspinning=", sched.needspinning.load(),
        " idlethreads=", sched.nmidle, " runqueue=", sched.runqsize.load());
  if (detailed) {
    print(" gcwaiting=", sched.gcwaiting.load() != 0 ? "true" : "false", " nmidlelocked=", sched.nmidlelocked,
          " stopwait=", sched.stopwait, " sysmonwait=", sched.sysmonwait.load() != 0 ? "true" : "false", "\n");
    for (int64 i = 0; i < procs; i++) traceP(i, allp.array[i]);
    for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink) traceM(mp);
    int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE);
    for (int64 i = 0; i < n; i++) traceG(allgs.array[i]);
  } else {
    print(" [");
    for (int64 i = 0; i < procs; i++) print(" ", queued(allp.array[i]));
    print(" ] schedticks=[");
    for (int64 i = 0; i < procs; i++) print(" ", __atomic_load_n(&allp.array[i]->schedtick, __ATOMIC_RELAXED));
    print(" ]\n");
  }
  printto(nullptr);
  unlock(&sched.lock);
}

}  // namespace vitrine::rt
