// vitrine_stacks.cc: the stack workloads, by the runtime's own functions: a goroutine would cost more than its stack.
#include "mem.h"
#include "proc.h"
#include "vitrine_bench.h"

namespace alloc_bench {

// n stacks of one size: taken for the first time, a page of each used, given back; then one taken and given back again
// and again.
result stacks(std::uint64_t size, std::int64_t n) {
  std::vector<vitrine::rt::g*> gs;
  for (std::int64_t i = 0; i < n; i++)
    gs.push_back(static_cast<vitrine::rt::g*>(std::calloc(1, sizeof(vitrine::rt::g))));
  const auto take = [&](vitrine::rt::g* gp) {
    if (!vitrine::rt::stackalloc(gp, size)) std::abort();
  };
  const double before = rss();
  result r = sched_bench::once(n, [&](std::int64_t) {
    for (auto* gp : gs) take(gp);
  });
  stopwatch touching;
  for (auto* gp : gs) *reinterpret_cast<volatile char*>(gp->stack.hi - 8) = 1;
  r.more.push_back({"touch_ns", touching.wall(double(n))});
  r.more.push_back({"rss_bytes", (rss() - before) / double(n)});
  stopwatch freeing;
  for (auto* gp : gs) vitrine::rt::stackfree(gp);
  r.more.push_back({"free_ns", freeing.wall(double(n))});
  r.more.push_back({"rss_free_bytes", (rss() - before) / double(n)});
  constexpr int pairs = 100'000;
  stopwatch again;
  for (int i = 0; i < pairs; i++) {
    take(gs[0]);
    vitrine::rt::stackfree(gs[0]);
  }
  r.more.push_back({"pair_ns", again.wall(pairs)});
  for (auto* gp : gs) std::free(gp);
  return r;
}

}  // namespace alloc_bench
