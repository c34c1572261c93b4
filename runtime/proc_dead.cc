// proc_dead.cc: "all goroutines are asleep - deadlock!" and the listing of goroutines that goes with it.
//
// When the last running M goes to sleep, nothing inside the runtime can ready a goroutine again: no timer is pending
// (an M would sleep as the poller then, and not count as idle). Only a thread that is no M could: one that the program
// started itself. So the verdict needs /proc/self/task: every task must be an M's, or ThreadSanitizer's own.
#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "proc.h"

namespace vitrine::rt {

static const char* const statusNames[] = {"idle", "runnable", "running",   "syscall",   "waiting", "moribund",
                                          "dead", "enqueue",  "copystack", "preempted", "leaked",  "deadextra"};

// A name between quotes; control characters as \xNN, so that no name can forge lines or drive a terminal.
void printname(const char* name) {
  print("\"");
  for (; *name != 0; name++) {
    uint8 c = uint8(*name);
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') {
      char escaped[] = {'\\', 'x', "0123456789abcdef"[c / 16], "0123456789abcdef"[c % 16], 0};
      print(static_cast<const char*>(escaped));
    } else {
      char one[] = {char(c), 0};
      print(static_cast<const char*>(one));
    }
  }
  print("\"");
}

extern "C" {
__attribute__((weak)) extern const char __executable_start[], etext[];  // the linker's: where the program lies
}

// A code address, and, for one in the program itself, what addr2line -e PROGRAM wants.
static void code(uintptr pc) {
  print(hex{pc});
  uintptr lo = uintptr(__executable_start);
  if (lo != 0 && pc >= lo && pc < uintptr(etext)) print(" (program+", hex{pc - lo}, ")");
}

void goroutineheader(g* gp) {
  uint32 status = readgstatus(gp) & ~uint32(Gscan);
  print("goroutine ", gp->goid, " ");
  if (gp->name[0] != 0) {
    printname(gp->name);
    print(" ");
  }
  print("[");
  if (status == Gwaiting && gp->waitreason < waitReasonCount)
    print(waitReasonStrings[gp->waitreason]);
  else if (status < sizeof statusNames / sizeof *statusNames)
    print(statusNames[status]);
  else
    print("status ", status);
  print("]:");
  if (gp->isforeign) {
    print("\n\ta thread of the program");
    if (gp->waitobject != nullptr) print(", waiting on ", (const void*)gp->waitobject);
    print("\n");
    return;
  }
  print("\n\tstarted at ");
  code(gp->startpc);
  if (gp->waitobject != nullptr) print(", waiting on ", (const void*)gp->waitobject);
  if (status == Gwaiting || status == Grunnable) print(", sp ", hex{gp->sched.sp});
  print("\n\tcreated ");
  if (gp->parentGoid != 0) print("by goroutine ", gp->parentGoid, " ");
  print("at ");
  code(gp->gopc);
  print("\n");
}

void dumpgoroutines() {
  int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE);
  constexpr int64 most = 1000;
  int64 shown = 0, left = 0;
  for (int64 i = 0; i < n; i++) {
    g* gp = allgs.array[i];
    uint32 status = readgstatus(gp) & ~uint32(Gscan);
    if (status == Gdead || (gp->issystem && !(gp->isforeign && status == Gwaiting))) continue;
    if (shown == most) {
      left++;
      continue;
    }
    shown++;
    print("\n");
    goroutineheader(gp);
  }
  if (left != 0) print("\n", shown, " of ", shown + left, " goroutines shown\n");
}

static bool isM(int64 tid) {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink)
    if (mp->procid == tid) return true;
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
  for (int64 i = 0; i < allp.len; i++)
    if (!runqempty(allp.array[i]) || allp.array[i]->timers.len.load() != 0) return true;
  // Counted before nforeignparked is read: a thread that parks has readied others first, so one that is not parked is
  // seen by one of the two.
  int foreign = foreignthreads();
  if (foreign < 0 || foreign != sched.nforeignparked.load()) return false;
  unlock(&sched.lock);
  print("fatal error: all goroutines are asleep - deadlock!\n");
  dumpgoroutines();
  _exit(2);
}

}  // namespace vitrine::rt
