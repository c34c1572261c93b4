// bdwgc_main.cc: the workloads of README.md on the Boehm-Demers-Weiser collector, with a thread for each of GOMAXPROCS,
// and as many markers. It has no write barrier unless it is asked to collect incrementally, which it is not here.
#define GC_THREADS
#include <gc.h>

#include "gc_bench.h"

namespace {

std::vector<double> all_pauses;
std::int64_t stopped_at;

void on_event(GC_EventType event) {
  if (event == GC_EVENT_PRE_STOP_WORLD) stopped_at = gc_bench::now();
  if (event == GC_EVENT_POST_START_WORLD) all_pauses.push_back(double(gc_bench::now() - stopped_at));
}

struct heap {
  template <class T>
  using ptr = T*;
  template <class T>
  static T* make() {
    return static_cast<T*>(GC_MALLOC(sizeof(T)));
  }
  template <class T>
  static T* array(std::size_t n) {
    return static_cast<T*>(GC_MALLOC(n * sizeof(T)));
  }
  static void collect() { GC_gcollect(); }
  static std::int64_t cycles() { return std::int64_t(all_pauses.size()); }
  static std::vector<double> pauses(std::int64_t n) {
    return {all_pauses.end() - std::min(std::int64_t(all_pauses.size()), n), all_pauses.end()};
  }
  static void percent(int) { GC_disable(); }
  static void sleep(std::int64_t ns) { std::this_thread::sleep_for(std::chrono::nanoseconds(ns)); }
  static void stacks(std::int64_t, const std::function<void()>&) {}
  static constexpr bool concurrent = false, many = false;
};

const auto parallel = [](auto f) {
  struct job {
    decltype(f)* what;
    std::int64_t self;
  };
  std::vector<job> jobs;
  for (std::int64_t i = 0; i < gc_bench::procs(); i++) jobs.push_back({&f, i});
  std::vector<pthread_t> threads(std::size_t(gc_bench::procs() - 1));
  for (std::size_t i = 0; i < threads.size(); i++)
    GC_pthread_create(
        &threads[i], nullptr,
        [](void* arg) -> void* {
          auto* j = static_cast<job*>(arg);
          (*j->what)(j->self);
          return nullptr;
        },
        &jobs[i + 1]);
  f(std::int64_t(0));
  for (pthread_t thread : threads) GC_pthread_join(thread, nullptr);
};

}  // namespace

int main(int argc, char** argv) {
  GC_set_markers_count(unsigned(gc_bench::procs()));
  GC_INIT();
  all_pauses.reserve(1 << 20);
  GC_set_on_collection_event(on_event);
  return sched_bench::main(argc, argv, gc_bench::workloads<heap>(parallel, [](auto) {}),
                           [](const std::function<void()>& f) { f(); });
}
