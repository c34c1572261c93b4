// fiber_parked.cc: fibers that sleep, and fibers that do nothing.
#include "fiber_bench.h"

namespace sched_bench {
namespace {

namespace fibers = boost::fibers;
using channel = fibers::unbuffered_channel<std::int64_t>;

result parked(std::int64_t count) {
  channel c;
  countdown started(count), finished(count);
  const double rss = status_bytes("RssAnon:"), pte = status_bytes("VmPTE:");
  stopwatch creating;
  for (std::int64_t i = 0; i < count; i++) {
    start([&] {
      started.done();
      std::int64_t value;
      c.pop(value);
      finished.done();
    }).detach();
  }
  started.wait();
  const double n = double(count), create = creating.wall(n), create_cpu = creating.cpu(n);
  boost::this_fiber::sleep_for(std::chrono::milliseconds(100));
  std::vector<figure> more = {{"rss_bytes", (status_bytes("RssAnon:") - rss) / n},
                              {"pte_bytes", (status_bytes("VmPTE:") - pte) / n},
                              {"vmas", maps_lines()}};
  stopwatch waking;
  c.close();
  finished.wait();
  const double wake = waking.wall(n);
  more.insert(more.end(), {{"create_ns", create}, {"wake_ns", wake}, {"cpu_ns", create_cpu + waking.cpu(n)}});
  return {create + wake, n, std::move(more)};
}

result sleepers(double seconds) {
  constexpr std::size_t count = 1000;
  std::vector<std::vector<double>> late(count);
  const std::int64_t end = now() + std::int64_t(4 * seconds * 1e9);
  group all;
  for (std::size_t i = 0; i < count; i++) {
    all.go([&mine = late[i], i, end] {
      random r(i);
      for (std::int64_t begin; (begin = now()) < end;) {
        const std::int64_t ns = 1'000'000 + r.below(199'000'000);
        boost::this_fiber::sleep_for(std::chrono::nanoseconds(ns));
        mine.push_back(double(now() - begin - ns));
      }
    });
  }
  all.wait();
  std::vector<double> samples;
  for (auto& mine : late) samples.insert(samples.end(), mine.begin(), mine.end());
  return latency(std::move(samples));
}

result idle(double seconds) {
  channel c;
  group all;
  for (int i = 0; i < 1000; i++) {
    all.go([&c] {
      std::int64_t value;
      c.pop(value);
    });
  }
  boost::this_fiber::sleep_for(std::chrono::milliseconds(100));
  idle_meter meter;
  boost::this_fiber::sleep_for(std::chrono::nanoseconds(std::int64_t(10 * seconds * 1e9)));
  result r = meter.end();
  c.close();
  all.wait();
  return r;
}

}  // namespace

void add_parked(table& t) {
  t.push_back({"sleep_late/1000", sleepers});
  for (std::int64_t count : {10'000, 100'000, 1'000'000})
    t.push_back({"parked/" + std::to_string(count), [=](double) { return parked(count); }});
  t.push_back({"idle/1000", idle});
}

}  // namespace sched_bench
