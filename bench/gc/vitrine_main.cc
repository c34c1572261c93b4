// vitrine_main.cc: the workloads of README.md on this runtime.
#include <vitrine/vitrine.h>

#include "gc_bench.h"

namespace {

namespace gc = vitrine::gc;

struct heap {
  template <class T>
  using ptr = gc::ptr<T>;
  template <class T>
  static T* make() {
    return gc::make<T>();
  }
  template <class T>
  static T* array(std::size_t n) {
    return gc::make_array<T>(n);
  }
  static void collect() { gc::collect(); }
  static std::int64_t cycles() { return std::int64_t(gc::stats().num_gc); }
  static std::vector<double> pauses(std::int64_t n) {
    const auto st = gc::stats();
    std::vector<double> ns;
    for (std::int64_t i = 0; i < n && i < 256 && i < std::int64_t(st.num_gc); i++)
      ns.push_back(double(st.pause_ns[(std::int64_t(st.num_gc) - i + 255) % 256]));
    return ns;
  }
  static void percent(int n) { gc::set_percent(n); }
  static void sleep(std::int64_t ns) { vitrine::sleep_for(std::chrono::nanoseconds(ns)); }
  static void stacks(std::int64_t n, const std::function<void()>& f) {
    vitrine::wait_group down, up;
    vitrine::chan<int> gate(0);
    down.add(n);
    for (std::int64_t i = 0; i < n; i++)
      up.go([&] {
        const std::function<void()> bottom = [&] {
          down.done();
          gate.recv();
        };
        gc_bench::descend<heap>(gc_bench::deep, bottom, nullptr);
      });
    down.wait();
    f();
    gate.close();
    up.wait();
  }
  static constexpr bool concurrent = true, many = true;
};

const auto parallel = [](auto f) {
  vitrine::wait_group group;
  for (std::int64_t i = 1; i < gc_bench::procs(); i++) group.go([=] { f(i); });
  f(std::int64_t(0));
  group.wait();
};

}  // namespace

int main(int argc, char** argv) {
  return sched_bench::main(argc, argv, gc_bench::workloads<heap>(parallel, [](auto f) { vitrine::go(f); }),
                           [](const std::function<void()>& f) { vitrine::run([&] { f(); }); });
}
