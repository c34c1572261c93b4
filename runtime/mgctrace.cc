// mgctrace.cc: what GODEBUG=gctrace=1 prints, in the format of Go's mgc.go:
//     gc 3 @0.512s 4%: 0.011+2.1+0.020 ms clock, 0.022+0.3/2.1/0+0.040 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P
// Number and time of the cycle; the share of the CPU that the collector took since the program began; for how long the
// world was stopped, marking went on, the world was stopped again; the same as CPU time, marking as assists / workers with
// a share of their own / workers on idle Ps; the heap when it began, when it ended, and what of it was kept; its goal.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

// As Go prints times: 0; from 0.001 to 0.099, 0.10 to 0.99, 1.0 to 9.9 ms; whole ones from 10 on.
static void printms(int64 ns) {
  if (ns >= 10'000'000) return print(ns / 1'000'000);
  int64 x = ns / 1000;
  if (x <= 0) return print("0");
  int64 unit = 1000;
  for (; x >= 100; x /= 10) unit /= 10;
  print(x / unit, ".");
  while ((unit /= 10) > 0) print(x / unit % 10);
}

static void printsec(int64 ns) {
  int64 ms = ns / 1'000'000;
  print(ms / 1000, ".", ms % 1000 < 100 ? "0" : "", ms % 1000 < 10 ? "0" : "", ms % 1000, "s");
}

void gctrace() {
  int64 clock[] = {work.tMark - work.tSweepTerm, work.tMarkTerm - work.tMark, work.tEnd - work.tMarkTerm};
  int64 run = work.tEnd - sched.starttime, procs = gomaxprocs;
  auto mb = [](uint64 bytes) { return bytes >> 20; };
  print("gc ", work.cycles, " @");
  printsec(work.tEnd - sched.starttime);
  int64 cpu = load_relaxed(work.markCPU) + work.pauseTotal * procs;
  print(" ", cpu * 100 / (run > 0 ? run * procs : 1), "%: ");
  printms(clock[0]);
  print("+");
  printms(clock[1]);
  print("+");
  printms(clock[2]);
  print(" ms clock, ");
  printms(clock[0] * procs);
  print("+");
  printms(work.assistTime.load(__ATOMIC_RELAXED));
  print("/");
  // With the world stopped one thread works.
  printms(work.stopped != 0
              ? clock[1]
              : work.dedicatedMarkTime.load(__ATOMIC_RELAXED) + work.fractionalMarkTime.load(__ATOMIC_RELAXED));
  print("/");
  printms(work.idleMarkTime.load(__ATOMIC_RELAXED));
  print("+");
  printms(clock[2] * procs);
  print(" ms cpu, ", mb(work.heap0), "->", mb(work.heap1), "->", mb(work.heap2), " MB, ",
        mb(work.goal == ~uint64(0) ? 0 : work.goal), " MB goal, ", mb(work.stacksScanned.load(__ATOMIC_RELAXED)),
        " MB stacks, ", mb(work.globalsScanned), " MB globals, ", gomaxprocs, " P",
        work.userForced != 0 ? " (forced)" : "", "\n");
}

}  // namespace vitrine::rt
