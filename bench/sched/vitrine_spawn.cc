// vitrine_spawn.cc: yields, and goroutines that begin and end.
#include "vitrine_bench.h"

namespace sched_bench {
namespace {

result yields(double seconds, std::int64_t per_p) {
  const std::int64_t count = per_p * procs();
  return grow(seconds, count, [=](std::int64_t n) {
    vitrine::wait_group all;
    for (std::int64_t i = 0; i < count; i++) {
      all.go([each = n / count] {
        for (std::int64_t k = 0; k < each; k++) vitrine::yield();
      });
    }
    all.wait();
  });
}

void spawn_batch(std::int64_t batch) {
  vitrine::wait_group all;
  for (std::int64_t i = 0; i < batch; i++) all.go([] {});
  all.wait();
}

result spawns(double seconds, std::int64_t batch) {
  return grow(seconds, batch, [=](std::int64_t n) {
    for (; n > 0; n -= batch) spawn_batch(batch);
  });
}

void skynet(vitrine::chan<std::int64_t> result, std::int64_t first, std::int64_t size) {
  if (size == 1) return result.send(first);
  vitrine::chan<std::int64_t> sub;
  for (std::int64_t i = 0; i < 10; i++) vitrine::go(skynet, sub, first + i * (size / 10), size / 10);
  std::int64_t sum = 0;
  for (int i = 0; i < 10; i++) sum += *sub.recv();
  result.send(sum);
}

void skynet_run(std::int64_t leaves) {
  vitrine::chan<std::int64_t> result;
  vitrine::go(skynet, result, std::int64_t{0}, leaves);
  if (*result.recv() != leaves * (leaves - 1) / 2) std::abort();
}

void chain_link(std::int64_t left, vitrine::wait_group& done) {
  if (left == 0) return done.done();
  vitrine::go(chain_link, left - 1, std::ref(done));
}

void chain_run(std::int64_t length) {
  vitrine::wait_group done;
  done.add(1);
  vitrine::go(chain_link, length - 1, std::ref(done));
  done.wait();
}

}  // namespace

void add_spawn(table& t) {
  for (std::int64_t k : {1, 2, 1000})
    t.push_back({"yield/" + std::to_string(k), [=](double seconds) { return yields(seconds, k); }});
  for (std::int64_t k : {1, 100, 10'000})
    t.push_back({"spawn/" + std::to_string(k), [=](double seconds) { return spawns(seconds, k); }});
  t.push_back({"spawn/1000000", [](double) { return once(1'000'000, spawn_batch); }});
  t.push_back({"skynet/10000", [](double seconds) {
                 return grow(seconds, 10'000, [](std::int64_t n) {
                   for (; n > 0; n -= 10'000) skynet_run(10'000);
                 });
               }});
  t.push_back({"skynet/1000000", [](double) { return once(1'000'000, skynet_run); }});
  t.push_back({"chain/100000", [](double seconds) {
                 return grow(seconds, 100'000, [](std::int64_t n) {
                   for (; n > 0; n -= 100'000) chain_run(100'000);
                 });
               }});
}

}  // namespace sched_bench
