// sysmon.cc: the thread that watches the Ps. Follows Go's sysmon and retake.
//
// It is an M without a P, so it must not allocate goroutine memory or wait for anything that needs a P. Every 20 µs to
// 10 ms (the pause doubles after 50 looks that found nothing to do) it
//   * takes Ps from Ms that are in a system call, and gives them to others (handoffp);
//   * asks goroutines that have run for 10 ms to yield, and takes the P of one that ignores it for another 10 ms, if
//     anybody needs it (proc_syscall.cc);
//   * polls descriptors if nobody did for 10 ms;
//   * starts an M if a timer is overdue;
//   * prints GODEBUG=schedtrace's lines.
// When it has found nothing for a few looks and all Ps are idle or stopped, it sleeps on sched.sysmonnote; pidleget
// wakes it, under the sched.lock under which it went to sleep. So an idle program has no thread that wakes up.
#include "proc.h"

namespace vitrine::rt {

constexpr int64 forcePreemptNs = 10'000'000;
constexpr int64 pollPeriodNs = 10'000'000;
constexpr uint32 minDelayUs = 20, maxDelayUs = 10'000;
constexpr uint32 looksBeforeDeepSleep = 10;  // a program that is idle for a moment only is not made to wake sysmon
constexpr int64 deepSleepNs = 60'000'000'000;

// Whether the P of a goroutine that ignores preemption is needed: the world is to stop, or work waits that no idle P
// comes for. Otherwise the thread is left alone: the signal could interrupt a system call that does not expect it.
static bool needed(p* pp, int64 now) {
  if (sched.gcwaiting.load() != 0) return true;
  if (sched.npidle.load() != 0) return false;
  int64 due = pp->timers.minWhen.load();
  return sched.runqsize.load() != 0 || !runqempty(pp) || (due != 0 && due <= now);
}

// Looks at every P; returns how many it took from system calls. watched: the clock by which slices are measured, which
// stands still while sysmon does not run: a debugger that stops the process for a minute has made nobody compute.
static uint32 retake(int64 now, int64 watched) {
  uint32 n = 0;
  for (int64 i = 0; i < nallp(); i++) {
    p* pp = allp.array[i];
    sysmontick* pd = &pp->sysmontick;
    uint32 status = __atomic_load_n(&pp->status, __ATOMIC_ACQUIRE);
    bool sysretake = false;
    if (status == Prunning || status == Psyscall) {
      uint32 tick = load_relaxed(pp->schedtick);
      if (pd->schedtick != tick) {
        pd->schedtick = tick;
        pd->schedwhen = watched;
        pd->signalwhen = watched + forcePreemptNs;
      } else if (pd->schedwhen + forcePreemptNs <= watched) {
        preemptone(pp);
        sysretake = true;
        if (status == Prunning && pd->signalwhen + forcePreemptNs <= watched && needed(pp, now)) {
          pd->signalwhen = watched;
          preemptsignal(pp);
        }
      }
    }
    if (status != Psyscall) continue;
    uint32 tick = load_relaxed(pp->syscalltick);
    if (!sysretake && pd->syscalltick != tick) {
      pd->syscalltick = tick;
      pd->syscallwhen = watched;
      continue;
    }
    // With nothing to do for it, and others looking for work, the P may stay for a while with the M that is away.
    if (runqempty(pp) && sched.nmspinning.load() + sched.npidle.load() > 0 &&
        pd->syscallwhen + forcePreemptNs > watched)
      continue;
    busysysmon(true);
    uint32 syscall = Psyscall;
    if (__atomic_compare_exchange_n(&pp->status, &syscall, uint32(Pidle), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
      n++;
      store_relaxed(pp->syscalltick, pp->syscalltick + 1);
      if (tracing()) traceProcSteal(pp);
      handoffp(pp);
    }
    busysysmon(false);
  }
  return n;
}

// sched.lock held.
void wakesysmon() {
  if (sched.sysmonwait.load(__ATOMIC_RELAXED) == 0) return;
  sched.sysmonwait.store(0, __ATOMIC_RELAXED);
  notewakeup(&sched.sysmonnote);
}

static bool nothingtowatch() { return sched.gcwaiting.load() != 0 || sched.npidle.load() == load_relaxed(gomaxprocs); }

static void deepsleep() {
  lock(&sched.lock);
  if (nothingtowatch()) {
    sched.sysmonwait.store(1, __ATOMIC_RELAXED);
    unlock(&sched.lock);
    notetsleep(&sched.sysmonnote, deepSleepNs);
    lock(&sched.lock);
    sched.sysmonwait.store(0, __ATOMIC_RELAXED);
    noteclear(&sched.sysmonnote);
  }
  unlock(&sched.lock);
}

static void pollifnobodydoes(int64 now) {
  int64 last = sched.lastpoll.load();
  if (!netpollinited() || last == 0 || last + pollPeriodNs > now) return;
  sched.lastpoll.cas(last, now);
  gList l = netpoll(0);
  if (l.head == nullptr) return;
  busysysmon(true);
  injectglist(&l);
  busysysmon(false);
}

// The body of sysmon's M.
void sysmon() {
  lock(&sched.lock);
  sched.nmsys++;
  checkdead();
  unlock(&sched.lock);
  uint32 idle = 0, delay = minDelayUs;
  int64 lasttrace = 0, last = nanotime(), watched = last;
  for (;;) {
    if (idle == 0)
      delay = minDelayUs;
    else if (idle > 50)
      delay = delay * 2 < maxDelayUs ? delay * 2 : maxDelayUs;
    usleep_(delay);
    if (sched.exiting.load() != 0) stopforexit();
    if (debug.schedtrace <= 0 && idle >= looksBeforeDeepSleep && nothingtowatch() && !gcwantssysmon()) {
      deepsleep();
      idle = 0;
      delay = minDelayUs;
      if (sched.exiting.load() != 0) stopforexit();
    }
    int64 now = nanotime();
    sched.lastnow.store(now, __ATOMIC_RELAXED);
    pollifnobodydoes(now);
    gcsysmon(now);
    int64 timer = timeSleepUntil();
    if (timer != 0 && timer < now) {
      // Overdue: perhaps all who could run it compute.
      busysysmon(true);
      startm(nullptr, false);
      busysysmon(false);
    }
    constexpr int64 mostPerRound = 15'000'000;
    watched += now - last < mostPerRound ? now - last : mostPerRound;
    last = now;
    idle = retake(now, watched) != 0 ? 0 : idle + 1;
    if (debug.schedtrace > 0 && lasttrace + int64(debug.schedtrace) * 1'000'000 <= now) {
      lasttrace = now;
      schedtrace(debug.scheddetail != 0);
    }
  }
}

}  // namespace vitrine::rt
