// fiber_main.cc: the workloads of README.md on Boost.Fiber, as far as it has such a thing. With GOMAXPROCS=1 its
// default scheduler (round_robin); else work_stealing over as many threads, which steal from each other as long as the
// program runs. Such a thread never sleeps, except for idle/1000: with its option to sleep, a thread is not woken when
// another one has work to share.
#include <thread>

#include "fiber_bench.h"

namespace fibers = boost::fibers;

int main(int argc, char** argv) {
  using namespace sched_bench;
  table all;
  for (auto add : {add_switch, add_spawn, add_channels, add_sync, add_parked}) add(all);
  const bool sleeps = argc >= 2 && std::strncmp(argv[1], "idle", 4) == 0;
  return sched_bench::main(argc, argv, all, [&](const std::function<void()>& f) {
    const auto threads = std::uint32_t(procs());
    if (threads == 1) {
      start(f).join();
      return;
    }
    fibers::mutex mutex;
    fibers::condition_variable_any ended;
    bool end = false;
    std::vector<std::thread> others;
    for (std::uint32_t i = 1; i < threads; i++) {
      others.emplace_back([&] {
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads, sleeps);
        std::unique_lock lock(mutex);
        ended.wait(lock, [&] { return end; });
      });
    }
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads, sleeps);
    start(f).join();
    {
      std::unique_lock lock(mutex);
      end = true;
    }
    ended.notify_all();
    for (auto& t : others) t.join();
  });
}
