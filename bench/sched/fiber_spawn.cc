// fiber_spawn.cc: yields, and fibers that begin and end.
#include "fiber_bench.h"

namespace sched_bench {
namespace {

namespace fibers = boost::fibers;
using channel = fibers::unbuffered_channel<std::int64_t>;

result yields(double seconds, std::int64_t per_p) {
  const std::int64_t count = per_p * procs();
  return grow(seconds, count, [=](std::int64_t n) {
    group all;
    for (std::int64_t i = 0; i < count; i++) {
      all.go([each = n / count] {
        for (std::int64_t k = 0; k < each; k++) boost::this_fiber::yield();
      });
    }
    all.wait();
  });
}

void spawn_batch(std::int64_t batch) {
  group all;
  for (std::int64_t i = 0; i < batch; i++) all.go([] {});
  all.wait();
}

// Started by `dispatch`, as in Boost's own version of this benchmark: the new fiber runs at once, so that the tree is
// walked depth first and there is never a million of stacks.
void skynet(channel& result, std::int64_t first, std::int64_t size) {
  if (size == 1) {
    result.push(first);
    return;
  }
  channel sub;
  for (std::int64_t i = 0; i < 10; i++)
    fibers::fiber(fibers::launch::dispatch, std::allocator_arg, stacks(), [&sub, first, size, i] {
      skynet(sub, first + i * (size / 10), size / 10);
    }).detach();
  std::int64_t sum = 0, value = 0;
  for (int i = 0; i < 10; i++) {
    sub.pop(value);
    sum += value;
  }
  result.push(sum);
}

void skynet_run(std::int64_t leaves) {
  channel result;
  fibers::fiber root = start([&] { skynet(result, 0, leaves); });
  std::int64_t sum = 0;
  result.pop(sum);
  if (sum != leaves * (leaves - 1) / 2) std::abort();
  root.join();
}

void chain_link(std::int64_t left, countdown& done) {
  if (left == 0) return done.done();
  start([left, &done] { chain_link(left - 1, done); }).detach();
}

void chain_run(std::int64_t length) {
  countdown done(1);
  start([length, &done] { chain_link(length - 1, done); }).detach();
  done.wait();
}

template <class F>
std::function<result(double)> repeated(std::int64_t size, F run) {
  return [=](double seconds) {
    return grow(seconds, size, [=](std::int64_t n) {
      for (; n > 0; n -= size) run(size);
    });
  };
}

}  // namespace

void add_spawn(table& t) {
  for (std::int64_t k : {1, 2, 1000})
    t.push_back({"yield/" + std::to_string(k), [=](double seconds) { return yields(seconds, k); }});
  for (std::int64_t k : {1, 100, 10'000}) t.push_back({"spawn/" + std::to_string(k), repeated(k, spawn_batch)});
  t.push_back({"spawn/1000000", [](double) { return once(1'000'000, spawn_batch); }});
  t.push_back({"skynet/10000", repeated(10'000, skynet_run)});
  t.push_back({"skynet/1000000", [](double) { return once(1'000'000, skynet_run); }});
  t.push_back({"chain/100000", repeated(100'000, chain_run)});
}

}  // namespace sched_bench
