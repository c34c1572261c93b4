// vitrine_main.cc: the workloads of README.md on this runtime.
#include "vitrine_bench.h"

int main(int argc, char** argv) {
  using namespace sched_bench;
  table all;
  for (auto add : {add_switch, add_spawn, add_channels, add_select, add_sync, add_timers, add_parked, add_threads})
    add(all);
  return sched_bench::main(argc, argv, all, [](const std::function<void()>& f) { vitrine::run([&] { f(); }); });
}
