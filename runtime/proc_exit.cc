// proc_exit.cc: the end of run(). Unlike Go, where the process ends with main: there is a program around us. Every M
// stops at its next entry into the runtime and sleeps for good, its goroutine Gwaiting; m0 goes back to run()'s caller.
#include "proc.h"

namespace vitrine::rt {

static atomic<uint32> m0stopped;

void stopforexit() {
  m* mp = getg()->m;
  // Acquire: what main did before exitrun stored `exiting` is before what m0 does after run(). Callers looked relaxed.
  if (sched.exiting.load(__ATOMIC_ACQUIRE) == 0) throw_("stopforexit: run() is not over");
  if (load_relaxed(mp->spinning) != 0) {
    store_relaxed(mp->spinning, 0);
    sched.nmspinning.add(-1);
  }
  if (mp->p != nullptr) releasep();
  if (mp == &m0) {
    m0stopped.store(1);
    g0.sched.ret = 1;
    gogo(&g0.sched);  // mstart returns into rt0_go
  }
  note never{};
  for (;;) notesleep(&never);
}

static void freeze(g* gp) {
  san_arrived(getg());
  if (tracing()) traceGoPark(gp, waitReasonStoppingTheWorld);
  casgstatus(gp, Grunning, Gwaiting);
  dropg(gp);
  stopforexit();
}

// The current goroutine stops here for good.
void freezeforexit(g* gp) {
  store_relaxed(gp->waitreason, waitReasonStoppingTheWorld);
  switch_to_g0(freeze);
}

// Main returned: every M stops at its next entry into the runtime, and m0 goes back to run()'s caller. On g0.
void exitrun(g* gp) {
  san_arrived(getg());
  store_relaxed(gp->waitreason, waitReasonStoppingTheWorld);
  if (tracing()) traceGoPark(gp, waitReasonStoppingTheWorld);
  casgstatus(gp, Grunning, Gwaiting);
  dropg(gp);
  m* mp = getg()->m;
  if (mp->p != nullptr) releasep();
  sched.exiting.store(1);
  breakpoller();
  notewakeup(&m0.park);
  if (mp != &m0) {
    // run() can only return on m0. If a goroutine keeps m0 in user code, all that is left of run() is its value.
    int64 deadline = nanotime() + exitGrace;
    while (m0stopped.load() == 0) {
      if (nanotime() > deadline) exitprocess(sched.exitcode);
      usleep_(50);
    }
  }
  stopforexit();
}

// On m0, before run() returns: goroutines that are in user code get a moment to arrive; what computes on after that is
// left running.
void awaitexit() {
  int64 deadline = nanotime() + exitGrace;
  for (bool running = true; running && nanotime() < deadline;) {
    running = false;
    for (int64 i = 0; i < nallp(); i++)
      if (__atomic_load_n(&allp.array[i]->status, __ATOMIC_ACQUIRE) == Prunning) running = true;
    if (running) usleep_(50);
  }
}

}  // namespace vitrine::rt
