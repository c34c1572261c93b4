// vitrine_parked.cc: goroutines that do nothing: what they cost in memory, and in CPU time.
#include "vitrine_bench.h"

namespace sched_bench {
namespace {

result parked(std::int64_t count) {
  vitrine::chan<std::int64_t> c;
  vitrine::wait_group started, finished;
  const double rss = status_bytes("RssAnon:"), pte = status_bytes("VmPTE:");
  stopwatch creating;
  started.add(int(count));
  for (std::int64_t i = 0; i < count; i++) {
    finished.go([&started, &c] {
      started.done();
      c.recv();
    });
  }
  started.wait();
  const double n = double(count), create = creating.wall(n), create_cpu = creating.cpu(n);
  vitrine::sleep_for(std::chrono::milliseconds(100));  // the last ones park
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

result idle(double seconds) {
  vitrine::chan<std::int64_t> c;
  vitrine::wait_group all;
  for (int i = 0; i < 1000; i++) all.go([c] { c.recv(); });
  vitrine::sleep_for(std::chrono::milliseconds(100));
  idle_meter meter;
  vitrine::sleep_for(std::chrono::duration<double>(10 * seconds));
  result r = meter.end();
  c.close();
  all.wait();
  return r;
}

}  // namespace

void add_parked(table& t) {
  for (std::int64_t count : {10'000, 100'000, 1'000'000})
    t.push_back({"parked/" + std::to_string(count), [=](double) { return parked(count); }});
  t.push_back({"idle/1000", idle});
}

}  // namespace sched_bench
