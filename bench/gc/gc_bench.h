// gc_bench.h: the workloads of README.md, for a collector. The program defines
//
//   struct heap {
//     template <class T> using ptr = …;                     // a pointer in an object
//     template <class T> static T* make();                  // zeroed
//     template <class T> static T* array(std::size_t n);    // zeroed
//     static void collect();                                // to the end
//     static std::int64_t cycles();                         // begun so far
//     static std::vector<double> pauses(std::int64_t n);    // ns that the world stood still in each of the last n cycles
//     static void percent(int);                             // GOGC
//     static void stacks(std::int64_t n, f);                // f() while n threads, `deep` calls deep, wait
//     static constexpr bool concurrent, many;               // marks beside the program; can have 10,000 threads
//   };
//   template <class F> void parallel(F f);                  // f(0) … f(procs() - 1), at the same time
//
// ../go/gc is the same in Go; gc_bench.py runs them all.
#pragma once
#include <array>
#include <atomic>
#include <thread>

#include "../sched/sched_bench.h"

namespace gc_bench {

using sched_bench::figure;
using sched_bench::now;
using sched_bench::procs;
using sched_bench::result;
using sched_bench::stopwatch;
using sched_bench::table;

constexpr int deep = 100;  // calls

inline double rss_mib() { return sched_bench::status_bytes("RssAnon:") / (1 << 20); }

// What everything that is built hangs on: a collector finds it here.
inline void* volatile anchor;

inline double quantile(std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0 : sorted[std::size_t(q * double(sorted.size() - 1) + 0.5)];
}
inline void add_quantiles(result& r, std::vector<double> ns, const char* p50, const char* p99, const char* max) {
  std::sort(ns.begin(), ns.end());
  r.more.push_back({p50, quantile(ns, 0.5) / 1e3});
  r.more.push_back({p99, quantile(ns, 0.99) / 1e3});
  r.more.push_back({max, quantile(ns, 1) / 1e3});
}
// "pause_p50_us" and so on, of the last n cycles.
template <class H>
void add_pauses(result& r, std::int64_t n) {
  add_quantiles(r, H::pauses(n), "pause_p50_us", "pause_p99_us", "pause_max_us");
}

// ---- trees/DEPTH

template <class H>
struct tree {
  typename H::template ptr<tree> left, right;
};

template <class H>
tree<H>* bottom_up(int depth) {
  auto* t = H::template make<tree<H>>();
  if (depth > 0) {
    t->left = bottom_up<H>(depth - 1);
    t->right = bottom_up<H>(depth - 1);
  }
  return t;
}
template <class H>
std::int64_t count(const tree<H>* t) {
  return t->left == nullptr ? 1 : 1 + count<H>(t->left) + count<H>(t->right);
}

template <class H, class Parallel>
result trees(int depth, Parallel parallel) {
  constexpr int least = 4;
  std::atomic<std::int64_t> made{0};
  const std::int64_t before = H::cycles();
  stopwatch watch;
  made += count<H>(bottom_up<H>(depth + 1));
  tree<H>* longlived = bottom_up<H>(depth);
  anchor = longlived;
  for (int d = least; d <= depth; d += 4) {
    const std::int64_t each = (std::int64_t(1) << (depth - d + least)) / procs();
    parallel([&, d, each](std::int64_t) {
      std::int64_t n = 0;
      for (std::int64_t i = 0; i < each; i++) n += count<H>(bottom_up<H>(d));
      made += n;
    });
  }
  made += count<H>(longlived);
  const double n = double(made.load());
  result r{watch.wall(n), n, {{"cpu_ns", watch.cpu(n)}, {"rss_mib", rss_mib()}}};
  const std::int64_t cycles = H::cycles() - before;
  r.more.push_back({"cycles", double(cycles)});
  add_pauses<H>(r, cycles);
  anchor = nullptr;
  return r;
}

// ---- mark/SHAPE/MIB

template <class H>
struct link {  // 32 bytes
  typename H::template ptr<link> next;
  std::array<std::uint64_t, 3> number;
};
template <class H>
struct vertex {  // 64 bytes
  std::array<typename H::template ptr<vertex>, 4> to;
  std::array<std::uint64_t, 4> number;
};
constexpr std::size_t page = 1024;  // pointers, 8 KiB
template <class H>
struct block {
  std::array<typename H::template ptr<block>, page> to;
};

template <class H>
void* list(std::size_t bytes) {
  link<H>* head = nullptr;
  for (std::size_t i = 0; i < bytes / sizeof(link<H>); i++) {
    auto* l = H::template make<link<H>>();
    l->next = head;
    head = l;
  }
  return head;
}
// A table of all, and four edges from each to any.
template <class H>
void* wide(std::size_t bytes) {
  using vertices = typename H::template ptr<vertex<H>>;
  const std::size_t n = bytes / (sizeof(vertex<H>) + sizeof(void*));
  auto* all = H::template array<vertices>(n);
  anchor = all;
  for (std::size_t i = 0; i < n; i++) all[i] = H::template make<vertex<H>>();
  sched_bench::random random(1);
  for (std::size_t i = 0; i < n; i++)
    for (auto& to : all[i]->to) to = static_cast<vertex<H>*>(all[std::size_t(random.below(std::int64_t(n)))]);
  return all;
}
// Blocks of nothing but pointers, each to any of them.
template <class H>
void* pointers(std::size_t bytes) {
  using blocks = typename H::template ptr<block<H>>;
  const std::size_t n = bytes / sizeof(block<H>);
  auto* all = H::template array<blocks>(n);
  anchor = all;
  for (std::size_t i = 0; i < n; i++) all[i] = H::template make<block<H>>();
  sched_bench::random random(1);
  for (std::size_t i = 0; i < n; i++)
    for (auto& to : all[i]->to) to = static_cast<block<H>*>(all[std::size_t(random.below(std::int64_t(n)))]);
  return all;
}

template <class H>
result mark(void* (*build)(std::size_t), std::int64_t mib) {
  anchor = build(std::size_t(mib) << 20);
  H::collect();
  constexpr int times = 3;
  std::vector<double> wall, cpu;
  for (int i = 0; i < times; i++) {
    stopwatch watch;
    H::collect();
    wall.push_back(watch.wall(double(mib)));
    cpu.push_back(watch.cpu(double(mib)));
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  result r{wall[times / 2], double(mib), {{"cpu_ns", cpu[times / 2]}, {"rss_mib", rss_mib()}}};
  add_pauses<H>(r, times);
  anchor = nullptr;
  return r;
}

// ---- barrier/off, barrier/on, barrier/differ

constexpr std::size_t slots = 1024;
constexpr std::int64_t batch = 20 * slots;

template <class H>
__attribute__((noinline)) void store(typename H::template ptr<link<H>>* to, link<H>* a, link<H>* b) {
  for (std::int64_t i = 0; i < batch; i += 2) {
    to[std::size_t(i) % slots] = a;
    to[std::size_t(i + 1) % slots] = b;
    asm volatile("" ::: "memory");
  }
}

// As many, each of another pointer than is there.
template <class H>
__attribute__((noinline)) void exchange(typename H::template ptr<link<H>>* to, link<H>* a, link<H>* b) {
  for (std::int64_t i = 0; i < batch; i += slots) {
    for (std::size_t k = 0; k < slots; k += 2) {
      to[k] = a;
      to[k + 1] = b;
      asm volatile("" ::: "memory");
    }
    std::swap(a, b);
  }
}

// Stores in batches; each counts with its own time, so a marker that takes the processor meanwhile does no harm.
template <class H>
result stores(bool on, bool differ, std::function<void(std::function<void()>)> beside) {
  using slot = typename H::template ptr<link<H>>;
  auto* to = H::template array<slot>(slots);
  link<H>*a = H::template make<link<H>>(), *b = H::template make<link<H>>();
  if (on) anchor = list<H>(std::size_t(512) << 20);
  H::percent(-1);
  struct sample {
    std::int64_t at;
    double ns;
  };
  std::vector<sample> samples;
  samples.reserve(1 << 20);
  std::atomic<std::int64_t> begin{0}, end{0};
  auto run = [&] {
    const std::int64_t t = now();
    differ ? exchange<H>(to, a, b) : store<H>(to, a, b);
    samples.push_back({t, double(now() - t) / double(batch)});
  };
  for (int i = 0; i < 200; i++) run();
  samples.clear();
  if (on) {
    beside([&] {
      begin = now();
      H::collect();
      end = now();
    });
    while (end == 0 && samples.size() < (1 << 20)) run();
  } else {
    for (int i = 0; i < 5000; i++) run();
  }
  // In the middle of the collection it marks.
  std::vector<double> good;
  for (auto& s : samples)
    if (!on || (s.at > begin + (end - begin) / 5 && s.at < begin + (end - begin) * 3 / 5)) good.push_back(s.ns);
  std::sort(good.begin(), good.end());
  anchor = to;
  result r{quantile(good, 0.5), double(good.size()) * double(batch), {}};
  anchor = nullptr;
  return r;
}

// ---- pause/MIB

template <class H>
struct record {  // 128 bytes
  typename H::template ptr<record> older, other;
  std::array<std::uint64_t, 14> number;
};

// `mib` live, and about a gigabyte a second is made: every eighth record takes the place of a live one.
template <class H, class Parallel>
result pause(std::int64_t mib, double seconds, Parallel parallel) {
  using slot = typename H::template ptr<record<H>>;
  const std::int64_t n = (mib << 20) / std::int64_t(sizeof(record<H>) + sizeof(slot));
  auto* live = H::template array<slot>(std::size_t(n));
  anchor = live;
  for (std::int64_t i = 0; i < n; i++) live[std::size_t(i)] = H::template make<record<H>>();
  H::collect();
  constexpr double rate = 1e9;
  constexpr int chunk = 512;  // records, 64 KiB
  const std::int64_t before = H::cycles(), threads = procs();
  std::vector<std::vector<double>> stalls(static_cast<std::size_t>(threads));
  std::atomic<std::int64_t> made{0};
  stopwatch watch;
  parallel([&](std::int64_t self) {
    sched_bench::random random(std::uint64_t(self) + 1);
    auto& mine = stalls[std::size_t(self)];
    mine.reserve(std::size_t(seconds * rate / chunk / sizeof(record<H>)));
    const std::int64_t begin = now(), end = begin + std::int64_t(seconds * 1e9);
    std::int64_t chunks = 0;
    for (std::int64_t t = begin; t < end; chunks++) {
      for (int i = 0; i < chunk; i++) {
        auto* r = H::template make<record<H>>();
        if (i % 8 == 0) {
          auto& place = live[std::size_t(random.below(n))];
          r->number[0] = place->number[0] + 1;
          place = r;
        }
      }
      const std::int64_t done = now();
      mine.push_back(double(done - t));
      t = done;
      const std::int64_t due =
          begin + std::int64_t(double(chunks + 1) * chunk * sizeof(record<H>) * double(threads) / rate * 1e9);
      if (due - t > 50'000) {
        H::sleep(due - t);
        t = now();
      }
    }
    made += chunks * chunk;
  });
  const double objects = double(made.load());
  result r{watch.wall(objects), objects, {{"cpu_ns", watch.cpu(objects)}, {"rss_mib", rss_mib()}}};
  const std::int64_t cycles = H::cycles() - before;
  r.more.push_back({"cycles", double(cycles)});
  r.more.push_back({"mb_per_s", objects * sizeof(record<H>) / 1e6 / (watch.wall(1) / 1e9)});
  add_pauses<H>(r, cycles);
  std::vector<double> all;
  for (auto& s : stalls) all.insert(all.end(), s.begin(), s.end());
  add_quantiles(r, std::move(all), "chunk_p50_us", "chunk_p99_us", "chunk_max_us");
  anchor = nullptr;
  return r;
}

// ---- stacks/N

// Each frame has a pointer to an object of its own, and eight numbers.
template <class H>
__attribute__((noinline)) void descend(int depth, const std::function<void()>& bottom, link<H>* from) {
  volatile std::uint64_t numbers[8];
  for (auto& n : numbers) n = std::uint64_t(depth);
  auto* mine = H::template make<link<H>>();
  mine->next = from;
  if (depth == 0)
    bottom();
  else
    descend<H>(depth - 1, bottom, mine);
  asm volatile("" ::"r"(mine), "r"(numbers[0]) : "memory");
}

template <class H>
result stacks(std::int64_t n) {
  result r{};
  H::stacks(n, [&] {
    H::collect();
    constexpr int times = 5;
    std::vector<double> wall, cpu;
    for (int i = 0; i < times; i++) {
      stopwatch watch;
      H::collect();
      wall.push_back(watch.wall(double(n)));
      cpu.push_back(watch.cpu(double(n)));
    }
    std::sort(wall.begin(), wall.end());
    std::sort(cpu.begin(), cpu.end());
    r = {wall[times / 2], double(n), {{"cpu_ns", cpu[times / 2]}, {"rss_mib", rss_mib()}}};
    add_pauses<H>(r, times);
  });
  return r;
}

template <class H, class Parallel, class Beside>
table workloads(Parallel parallel, Beside beside) {
  table t;
  for (int depth : {16, 20})
    t.push_back({"trees/" + std::to_string(depth), [=](double) { return trees<H>(depth, parallel); }});
  for (std::int64_t mib : {100, 1024, 4096}) {
    const std::string size = "/" + std::to_string(mib);
    t.push_back({"mark/list" + size, [=](double) { return mark<H>(list<H>, mib); }});
    t.push_back({"mark/wide" + size, [=](double) { return mark<H>(wide<H>, mib); }});
    t.push_back({"mark/pointers" + size, [=](double) { return mark<H>(pointers<H>, mib); }});
  }
  t.push_back({"barrier/off", [=](double) { return stores<H>(false, false, beside); }});
  if (H::concurrent) t.push_back({"barrier/on", [=](double) { return stores<H>(true, false, beside); }});
  if (H::concurrent) t.push_back({"barrier/differ", [=](double) { return stores<H>(true, true, beside); }});
  t.push_back({"pause/256", [=](double seconds) { return pause<H>(256, 20 * seconds, parallel); }});
  if (H::many) t.push_back({"stacks/10000", [=](double) { return stacks<H>(10'000); }});
  return t;
}

}  // namespace gc_bench
