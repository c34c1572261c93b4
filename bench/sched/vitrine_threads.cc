// vitrine_threads.cc: goroutines that block their thread, and goroutines that do not let others run.
#include <atomic>

#include "vitrine_bench.h"

namespace sched_bench {
namespace {

// Who comes out of its call sends the time; how long until the receiver has it? The sender goes into its next call at
// once, so somebody has to take over its processor for the receiver to run.
result syscalls(double seconds) {
  constexpr int blockers = 8;
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> chunks{0};
  vitrine::chan<std::int64_t> woken(64);
  vitrine::wait_group all, senders;
  for (std::int64_t i = 0; i < procs(); i++) {
    all.go([&, x = std::uint64_t(i)]() mutable {
      for (std::int64_t n = 0;; n++) {
        if (stop.load(std::memory_order_relaxed)) {
          chunks += n + std::int64_t(x == 0);
          return;
        }
        x = compute(x);
        vitrine::yield();
      }
    });
  }
  const std::int64_t begin = now();
  for (int i = 0; i < blockers; i++) {
    senders.go([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        {
          vitrine::blocking_scope blocking;
          const timespec t{0, 50'000};
          nanosleep(&t, nullptr);
        }
        woken.send(now());
      }
    });
  }
  std::vector<double> samples;
  vitrine::wait_group receiver;
  receiver.go([&] {
    for (std::int64_t sent : woken) samples.push_back(double(now() - sent));
  });
  vitrine::sleep_for(std::chrono::duration<double>(2 * seconds));
  stop = true;
  senders.wait();
  const double wall = double(now() - begin);
  woken.close();
  receiver.wait();
  all.wait();
  const double calls = double(samples.size());
  result r = latency(std::move(samples));
  r.ns_per_op = wall / calls;
  r.more.push_back({"compute_ns", wall / double(chunks)});
  return r;
}

// Two that compute and one that sleeps 1 ms at a time.
result hogs(double seconds, bool checkpoints) {
  std::atomic<bool> stop{false};
  vitrine::wait_group all;
  for (int i = 0; i < 2; i++) {
    all.go([&stop, checkpoints] {
      if (checkpoints)
        while (!stop.load(std::memory_order_relaxed)) vitrine::checkpoint();
      else
        while (!stop.load(std::memory_order_relaxed)) {
        }
    });
  }
  std::vector<double> samples;
  const std::int64_t end = now() + std::int64_t(4 * seconds * 1e9);
  for (std::int64_t begin; (begin = now()) < end;) {
    vitrine::sleep_for(std::chrono::milliseconds(1));
    samples.push_back(double(now() - begin - 1'000'000));
  }
  stop = true;
  all.wait();
  return latency(std::move(samples));
}

}  // namespace

void add_threads(table& t) {
  t.push_back({"syscalls/8", syscalls});
  t.push_back({"preempt", [](double seconds) { return hogs(seconds, false); }});
  t.push_back({"preempt_checkpoint", [](double seconds) { return hogs(seconds, true); }});
}

}  // namespace sched_bench
