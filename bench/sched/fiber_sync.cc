// fiber_sync.cc: locks and conditions.
#include "fiber_bench.h"

namespace sched_bench {
namespace {

namespace fibers = boost::fibers;

result mutexes(double seconds, std::int64_t count, bool yields) {
  return grow(seconds, count, [=](std::int64_t n) {
    fibers::mutex m;
    volatile std::int64_t shared = 0;
    group all;
    for (std::int64_t g = 0; g < count; g++) {
      all.go([&, each = n / count] {
        for (std::int64_t i = 0; i < each; i++) {
          std::lock_guard lock(m);
          shared = shared + 1;
          if (yields) boost::this_fiber::yield();
        }
      });
    }
    all.wait();
    if (shared != n) std::abort();
  });
}

result broadcasts(double seconds) {
  constexpr std::int64_t waiters = 64;
  return grow(seconds, waiters, [](std::int64_t n) {
    fibers::mutex m;
    fibers::condition_variable turn, complete;
    std::int64_t generation = 0, waiting = 0;
    group all;
    for (int w = 0; w < waiters; w++) {
      all.go([&, rounds = n / waiters] {
        std::unique_lock lock(m);
        for (std::int64_t seen = 0; seen < rounds; seen = generation) {
          if (++waiting == waiters) complete.notify_one();
          while (generation == seen) turn.wait(lock);
        }
      });
    }
    for (std::int64_t round = 0; round < n / waiters; round++) {
      std::unique_lock lock(m);
      while (waiting < waiters) complete.wait(lock);
      waiting = 0;
      generation++;
      turn.notify_all();
    }
    all.wait();
  });
}

}  // namespace

void add_sync(table& t) {
  for (std::int64_t count : {1, 2, 16, 256})
    t.push_back({"mutex/" + std::to_string(count), [=](double seconds) { return mutexes(seconds, count, false); }});
  t.push_back({"mutex_yield/16", [](double seconds) { return mutexes(seconds, 16, true); }});
  t.push_back({"cond_broadcast/64", broadcasts});
}

}  // namespace sched_bench
