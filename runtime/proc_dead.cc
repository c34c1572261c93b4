// proc_dead.cc: when "all goroutines are asleep - deadlock!" is true. Follows checkdead of Go's proc.go.
//
// When the last running M goes to sleep, nothing inside the runtime can ready a goroutine again: no timer is pending
// (an M would sleep as the poller then, and not count as idle). Only a thread that is no M could: one that the program
// started itself. So the verdict needs /proc/self/task: every task must be an M's, or ThreadSanitizer's own.
#include <dirent.h>

#include "proc.h"

namespace vitrine::rt {

static bool isM(int64 tid) {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink)
    if (load_relaxed(mp->procid) == tid) return true;
  return false;
}

// Tasks of this process that are neither Ms nor ThreadSanitizer's background thread; -1: cannot tell.
static int foreignthreads() {
  DIR* d = opendir("/proc/self/task");
  if (d == nullptr) return -1;
  int64 first = 0;  // ThreadSanitizer starts its thread before anything else of the program runs
  int n = 0;
  while (dirent* e = readdir(d)) {
    bool ok;
    int32 tid = atoi32(e->d_name, &ok);
    if (!ok || isM(tid)) continue;
    if (san_has_background_thread() && (first == 0 || tid < first)) {
      if (first == 0) n--;
      first = tid;
    }
    n++;
  }
  closedir(d);
  return n;
}

bool checkdead() {
  if (sched.exiting.load() != 0) return true;
  int64 run = sched.mnext - sched.nmfreed - sched.nmidle - sched.nmidlelocked - sched.nmsys;
  if (run > 0) return true;
  if (run < 0) {
    print("runtime: checkdead: nmidle=", sched.nmidle, " mcount=", sched.mnext, "\n");
    throw_("checkdead: inconsistent counts");
  }
  if (!mainStarted || sched.runqsize.load() != 0) return true;
  for (int64 i = 0; i < nallp(); i++)
    if (!runqempty(allp.array[i]) || allp.array[i]->timers.len.load() != 0) return true;
  // Counted before nforeignparked is read: a thread that parks has readied others first, so one that is not parked is
  // seen by one of the two.
  int foreign = foreignthreads();
  if (foreign < 0 || foreign != sched.nforeignparked.load()) return false;
  unlock(&sched.lock);
  deadlock();
}

}  // namespace vitrine::rt
