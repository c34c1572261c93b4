// malloc_main.cc: the workloads of README.md on the C library's malloc, or on whatever LD_PRELOAD puts in its place.
// calloc, because all others give zeroed memory too.
#include <pthread.h>

#include <thread>

#include "alloc_bench.h"

namespace {

struct maker {
  static constexpr bool pointers = false;
  template <std::size_t Size, bool>
  static void* make() {
    void* p = std::calloc(1, Size);
    asm volatile("" : "+r"(p));
    if (p == nullptr) std::abort();
    return p;
  }
  static void drop(void* p) { std::free(p); }
  static void settle() {}
  static void collecting(bool) {}
};

const auto parallel = [](auto f) {
  std::vector<std::thread> others;
  for (std::int64_t i = 1; i < alloc_bench::procs(); i++) others.emplace_back(f, i);
  f(std::int64_t(0));
  for (auto& t : others) t.join();
};

}  // namespace

int main(int argc, char** argv) {
  return sched_bench::main(argc, argv, alloc_bench::workloads<maker>(parallel),
                           [](const std::function<void()>& f) { f(); });
}
