// vitrine_switch.cc: what the assembly of a switch costs, without the scheduler: mcall saves a goroutine and gogo
// continues another. This is the one file of the suite that looks inside the runtime.
//
// Two goroutines, `here` and `there`, take turns on one thread:
//   1. `there` parks, as any goroutine does; its status stays Gwaiting throughout, so nobody else runs it.
//   2. `here` pins itself (acquirem), so that neither a preemption signal nor sysmon moves it, and lends `there` its M,
//      which is all that mcall needs to find g0.
//   3. Each turn: mcall(to_there) saves `here` and calls to_there on g0's stack, which gogo()s into `there`; and back.
//      Between the pin and its end `there` calls nothing of the runtime but mcall.
//   4. At the end `there` has left its context in sched, as one that parked; `here` takes the M back and readies it.
#include <atomic>

#include "proc.h"
#include "vitrine_bench.h"

namespace sched_bench {
namespace {

namespace rt = vitrine::rt;

struct two {
  rt::g* here;
  rt::g* there;
  std::atomic<bool> parked;
  bool stop;
};
two turns;

void to_there(rt::g*) { rt::gogo(&turns.there->sched); }
void to_here(rt::g*) { rt::gogo(&turns.here->sched); }

void raw_switches(std::int64_t n) {
  turns.parked = false;
  turns.stop = false;
  vitrine::wait_group done;
  done.go([] {
    turns.there = rt::getg();
    // Called on g0 once `there` has left its M: from here on its g may be touched by others.
    rt::gopark([](rt::g*, void*) { return turns.parked = true; }, nullptr, rt::waitReasonZero, nullptr);
    do rt::mcall(to_here);
    while (!turns.stop);
  });
  while (!turns.parked) vitrine::yield();
  rt::m* mp = rt::acquirem();
  turns.here = rt::getg();
  turns.there->m = mp;
  for (std::int64_t i = 0; i < n / 2; i++) rt::mcall(to_there);
  turns.there->m = nullptr;
  turns.stop = true;
  rt::releasem(mp);
  rt::goready(turns.there);
  done.wait();
}

}  // namespace

void add_switch(table& t) {
  t.push_back({"switch", [](double seconds) { return grow(seconds, 2, raw_switches); }});
}

}  // namespace sched_bench
