// vitrine_timers.cc: timers in great number, and how late sleepers wake.
#include "vitrine_bench.h"

namespace sched_bench {
namespace {

result timers(std::int64_t count) {
  random r(1);
  auto deadline = [&] { return std::chrono::nanoseconds(r.below(10'000'000'000)); };
  std::vector<vitrine::timer> all;
  all.reserve(std::size_t(count));
  stopwatch total;
  const std::int64_t begin = now();
  for (std::int64_t i = 0; i < count; i++) all.emplace_back(deadline(), [] {});
  const std::int64_t added = now();
  for (vitrine::timer& t : all) t.reset(deadline());
  const std::int64_t reset = now();
  for (vitrine::timer& t : all) t.stop();
  const std::int64_t stopped = now();
  const double cpu = total.cpu(double(count));
  auto each = [&](std::int64_t from, std::int64_t to) { return double(to - from) / double(count); };
  return {each(begin, stopped),
          double(count),
          {{"add_ns", each(begin, added)},
           {"reset_ns", each(added, reset)},
           {"stop_ns", each(reset, stopped)},
           {"cpu_ns", cpu}}};
}

result sleepers(double seconds) {
  constexpr std::size_t count = 1000;
  std::vector<std::vector<double>> late(count);
  const std::int64_t end = now() + std::int64_t(4 * seconds * 1e9);
  vitrine::wait_group all;
  for (std::size_t i = 0; i < count; i++) {
    all.go([&mine = late[i], i, end] {
      random r(i);
      for (std::int64_t begin; (begin = now()) < end;) {
        const std::int64_t ns = 1'000'000 + r.below(199'000'000);
        vitrine::sleep_for(std::chrono::nanoseconds(ns));
        mine.push_back(double(now() - begin - ns));
      }
    });
  }
  all.wait();
  std::vector<double> samples;
  for (auto& mine : late) samples.insert(samples.end(), mine.begin(), mine.end());
  return latency(std::move(samples));
}

}  // namespace

void add_timers(table& t) {
  for (std::int64_t count : {100'000, 1'000'000})
    t.push_back({"timers/" + std::to_string(count), [=](double) { return timers(count); }});
  t.push_back({"sleep_late/1000", sleepers});
}

}  // namespace sched_bench
