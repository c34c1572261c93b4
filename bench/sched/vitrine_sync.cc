// vitrine_sync.cc: locks and conditions.
#include <mutex>
#include <shared_mutex>

#include "vitrine_bench.h"

namespace sched_bench {
namespace {

template <class F>
void with_goroutines(std::int64_t n, std::int64_t count, F each) {
  vitrine::wait_group all;
  for (std::int64_t i = 0; i < count; i++) all.go([=] { each(n / count); });
  all.wait();
}

// A goroutine that yields while it holds the lock meets others that want it, on one processor too.
result mutexes(double seconds, std::int64_t count, bool yields) {
  return grow(seconds, count, [=](std::int64_t n) {
    vitrine::mutex m;
    volatile std::int64_t shared = 0;
    with_goroutines(n, count, [&](std::int64_t each) {
      for (std::int64_t i = 0; i < each; i++) {
        std::lock_guard lock(m);
        shared = shared + 1;
        if (yields) vitrine::yield();
      }
    });
    if (shared != n) std::abort();
  });
}

result rw_mutexes(double seconds) {
  return grow(seconds, 160, [](std::int64_t n) {
    vitrine::rw_mutex m;
    volatile std::int64_t shared = 0;
    with_goroutines(n, 16, [&](std::int64_t each) {
      std::int64_t seen = 0;
      for (std::int64_t i = 0; i < each; i++) {
        if (i % 10 == 0) {
          std::unique_lock lock(m);
          shared = shared + 1;
        } else {
          std::shared_lock lock(m);
          seen += shared;
        }
      }
      if (seen < 0) std::abort();
    });
    if (shared != n / 10) std::abort();
  });
}

result broadcasts(double seconds) {
  constexpr std::int64_t waiters = 64;
  return grow(seconds, waiters, [](std::int64_t n) {
    vitrine::mutex m;
    vitrine::cond turn, complete;
    std::int64_t generation = 0, waiting = 0;
    vitrine::wait_group all;
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
  t.push_back({"rw_mutex/16", rw_mutexes});
  t.push_back({"cond_broadcast/64", broadcasts});
}

}  // namespace sched_bench
