// sched_bench.h: what the C++ programs of the scheduler benchmark share: a table of workloads, and a main that runs one
// of them. README.md defines each workload; ../go/sched has the same in Go, with the same counts.
//
//   PROG --list              the names, one a line
//   PROG NAME [SECONDS]      runs it; prints {"name": …, "ns_per_op": …, "ops": …, further figures}
//
// One workload a process, so that none finds the memory, threads or caches of another. GOMAXPROCS is the number of
// processors in every program, Boost.Fiber's too.
#pragma once
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sched_bench {

using figure = std::pair<const char*, double>;

struct result {
  double ns_per_op;
  double ops;
  std::vector<figure> more = {};
};

struct workload {
  std::string name;
  std::function<result(double seconds)> run;
};
using table = std::vector<workload>;

inline std::int64_t clock_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return std::int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
inline std::int64_t now() { return clock_ns(CLOCK_MONOTONIC); }

// Wall and CPU time since its making, for each of n operations. cpu: of all threads, which a busy machine does not
// change much, and which shows who spins.
class stopwatch {
 public:
  double wall(double n) const { return double(now() - wall_) / n; }
  double cpu(double n) const { return double(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_) / n; }

 private:
  std::int64_t cpu_ = clock_ns(CLOCK_PROCESS_CPUTIME_ID), wall_ = now();
};

inline std::int64_t procs() {
  const char* s = std::getenv("GOMAXPROCS");
  return s != nullptr && std::atoi(s) > 0 ? std::atoi(s) : 2;
}

// body(n) does n operations. The first of its kind in the process counts.
template <class F>
result once(std::int64_t n, F&& body) {
  stopwatch watch;
  body(n);
  return {watch.wall(double(n)), double(n), {{"cpu_ns", watch.cpu(double(n))}}};
}

// Larger and larger n, multiples of unit, until one call takes that long; that one counts, and those before it, of
// which there is at least one, have warmed everything up.
template <class F>
result grow(double seconds, std::int64_t unit, F&& body) {
  for (std::int64_t n = unit;;) {
    result r = once(n, body);
    const double ns = std::max(r.ns_per_op * double(n), 1.0), goal = seconds * 1e9;
    if (n > unit && ns >= goal) return r;
    n = std::int64_t(double(n) * std::clamp(1.2 * goal / ns, 2.0, 10.0)) / unit * unit;
  }
}

// Of what took no time to measure but is one: the latencies of `samples`, in ns.
inline result latency(std::vector<double> samples) {
  if (samples.empty()) samples.push_back(0);
  std::sort(samples.begin(), samples.end());
  auto at = [&](double q) { return samples[std::size_t(q * double(samples.size() - 1))]; };
  return {at(0.5), double(samples.size()), {{"p50_us", at(0.5) / 1e3}, {"p99_us", at(0.99) / 1e3}}};
}

// The same sequence of numbers in every program (splitmix64).
class random {
 public:
  explicit random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  std::int64_t below(std::int64_t n) { return std::int64_t(next() % std::uint64_t(n)); }

 private:
  std::uint64_t state_;
};

// Some 10 µs of arithmetic that nobody can shorten.
inline std::uint64_t compute(std::uint64_t x) {
  for (int i = 0; i < 8'000; i++) x = x * 6364136223846793005 + 1442695040888963407;
  return x;
}

// A field of /proc/self/status ("RssAnon:", "VmPTE:"), in bytes.
inline double status_bytes(const char* field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, std::strlen(field), field) == 0) return 1024.0 * std::atof(line.c_str() + std::strlen(field));
  return 0;
}

inline double maps_lines() {
  std::ifstream file("/proc/self/maps");
  double n = 0;
  for (std::string line; std::getline(file, line);) n++;
  return n;
}

// The CPU time and the voluntary context switches of a stretch of time.
class idle_meter {
 public:
  result end() const {
    const double wall = watch_.wall(1e9), cpu = watch_.cpu(1);
    return {cpu / wall, wall, {{"cpu_ms", cpu / 1e6}, {"switches_per_s", double(switches() - switches_) / wall}}};
  }

 private:
  static long switches() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
  }
  stopwatch watch_;
  long switches_ = switches();
};

// in: runs what it is given inside the runtime that is measured.
inline int main(int argc, char** argv, const table& all, const std::function<void(const std::function<void()>&)>& in) {
  if (argc >= 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const workload& w : all) std::printf("%s\n", w.name.c_str());
    return 0;
  }
  const double seconds = argc >= 3 ? std::atof(argv[2]) : 0.5;
  for (const workload& w : all)
    if (argc >= 2 && w.name == argv[1]) {
      in([&] {
        result r = w.run(seconds);
        std::printf("{\"name\": \"%s\", \"ns_per_op\": %.6g, \"ops\": %.0f", w.name.c_str(), r.ns_per_op, r.ops);
        for (auto& [name, value] : r.more) std::printf(", \"%s\": %.6g", name, value);
        std::printf("}\n");
        std::fflush(stdout);
      });
      return 0;
    }
  std::fprintf(stderr, "usage: %s --list | NAME [SECONDS]\n", argv[0]);
  return 2;
}

}  // namespace sched_bench
