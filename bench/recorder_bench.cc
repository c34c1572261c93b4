// recorder_bench.cc: what the flight recorder costs while it is on. One process runs a workload in short stretches, with
// the recorder on in every second one; each pair of neighbours gives a difference and a ratio, and the medians of the
// pairs are printed: a machine that is busy with other things disturbs single pairs, and both halves alike. CPU time of
// the process, one P.
//
//   recorder_bench [PAIRS [BYTES]]     prints JSON: "record_ns" is the difference over the records written:
//                                      a switch with its wakeup, a switch, a creation and an end
#include <vitrine/vitrine.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

std::int64_t cpu() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

void pingpong(std::int64_t n) {
  vitrine::chan<std::int64_t> ping, pong;
  vitrine::wait_group partner;
  partner.go([=] {
    for (std::int64_t i = 0; i < n; i++) pong.send(*ping.recv());
  });
  for (std::int64_t i = 0; i < n; i++) {
    ping.send(i);
    pong.recv();
  }
  partner.wait();
}

void yields(std::int64_t n) {
  vitrine::wait_group other;
  other.go([=] {
    for (std::int64_t i = 0; i < n; i++) vitrine::yield();
  });
  for (std::int64_t i = 0; i < n; i++) vitrine::yield();
  other.wait();
}

void spawns(std::int64_t n) {
  vitrine::wait_group all;
  for (std::int64_t i = 0; i < n; i += 100) {
    for (int k = 0; k < 100; k++) all.go([] {});
    all.wait();
  }
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + std::ptrdiff_t(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// records: how many of them one operation leaves.
void measure(const char* name, void (*work)(std::int64_t), std::int64_t n, double records, int pairs, std::size_t bytes,
             bool last) {
  std::vector<double> off, difference, ratio;
  work(n);
  for (int i = 0; i < pairs; i++) {
    double ns[2];
    for (int k = 0; k < 2; k++) {
      const bool on = (k ^ i) & 1;  // the order alternates
      if (on) vitrine::runtime::recorder::start(bytes);
      const std::int64_t begin = cpu();
      work(n);
      ns[on] = double(cpu() - begin) / double(n);
      vitrine::runtime::recorder::stop();
    }
    off.push_back(ns[0]);
    difference.push_back(ns[1] - ns[0]);
    ratio.push_back(ns[1] / ns[0]);
  }
  std::printf("  \"%s\": {\"off_ns\": %.1f, \"on_ratio\": %.3f, \"record_ns\": %.1f}%s\n", name, median(off),
              median(ratio), median(difference) / records, last ? "" : ",");
}

}  // namespace

int main(int argc, char** argv) {
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 200;
  const std::size_t bytes = argc > 2 ? std::size_t(std::atoll(argv[2])) : vitrine::runtime::recorder::default_bytes;
  vitrine::run({.procs = 1}, [&] {
    vitrine::runtime::recorder::stop();
    std::printf("{\n");
    measure("pingpong", pingpong, 20'000, 2, pairs, bytes, false);
    measure("yield", yields, 50'000, 2, pairs, bytes, false);
    measure("spawn", spawns, 20'000, 2, pairs, bytes, true);
    std::printf("}\n");
  });
}
