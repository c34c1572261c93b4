// vitrine_main.cc: the workloads of README.md on gc::make, and those of stacks, by the runtime's own functions.
#include <vitrine/vitrine.h>

#include "alloc_bench.h"
#include "mem.h"
#include "proc.h"

namespace {

// The constructor does nothing: gc::make gives zeroed memory, and so do the others.
template <std::size_t Size>
struct bytes {
  bytes() noexcept {}
  char b[Size];
};
// Pointers as far as it goes, all of them null.
template <std::size_t Size>
struct links {
  links() noexcept {}
  void* p[Size / 8];
};

}  // namespace

template <std::size_t Size>
struct vitrine::gc::type_traits<bytes<Size>> : vitrine::gc::noscan {};
template <std::size_t Size>
struct vitrine::gc::type_traits<links<Size>> {
  static void fields(auto& visit, links<Size>& l) { visit(reinterpret_cast<vitrine::gc::ptr<char>(&)[Size / 8]>(l.p)); }
};

namespace {

struct maker {
  static constexpr bool pointers = true;
  template <std::size_t Size, bool Pointers>
  static void* make() {
    void* p;
    if constexpr (Pointers)
      p = vitrine::gc::make<links<Size>>().get();
    else
      p = vitrine::gc::make<bytes<Size>>().get();
    asm volatile("" : "+r"(p));
    return p;
  }
  static void drop(void*) {}
  static void settle() { vitrine::gc::collect(); }
  static void collecting(bool on) { vitrine::gc::set_percent(on ? 100 : -1); }
};

const auto parallel = [](auto f) {
  vitrine::wait_group group;
  for (std::int64_t i = 1; i < alloc_bench::procs(); i++) group.go([=] { f(i); });
  f(std::int64_t(0));
  group.wait();
};

// n stacks of one size: taken for the first time, a page of each used, given back; then one taken and given back again
// and again.
sched_bench::result stacks(std::uint64_t size, std::int64_t n) {
  std::vector<vitrine::rt::g*> gs;
  for (std::int64_t i = 0; i < n; i++) gs.push_back(static_cast<vitrine::rt::g*>(std::calloc(1, sizeof(vitrine::rt::g))));
  const auto take = [&](vitrine::rt::g* gp) {
    if (!vitrine::rt::stackalloc(gp, size)) std::abort();
  };
  const double before = alloc_bench::rss();
  sched_bench::result r = sched_bench::once(n, [&](std::int64_t) {
    for (auto* gp : gs) take(gp);
  });
  sched_bench::stopwatch touching;
  for (auto* gp : gs) *reinterpret_cast<volatile char*>(gp->stack.hi - 8) = 1;
  r.more.push_back({"touch_ns", touching.wall(double(n))});
  r.more.push_back({"rss_bytes", (alloc_bench::rss() - before) / double(n)});
  sched_bench::stopwatch freeing;
  for (auto* gp : gs) vitrine::rt::stackfree(gp);
  r.more.push_back({"free_ns", freeing.wall(double(n))});
  r.more.push_back({"rss_free_bytes", (alloc_bench::rss() - before) / double(n)});
  constexpr int pairs = 100'000;
  sched_bench::stopwatch again;
  for (int i = 0; i < pairs; i++) {
    take(gs[0]);
    vitrine::rt::stackfree(gs[0]);
  }
  r.more.push_back({"pair_ns", again.wall(pairs)});
  for (auto* gp : gs) std::free(gp);
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  auto all = alloc_bench::workloads<maker>(parallel);
  for (const char* guard : {"mprotect", "madvise", "canary"})
    for (std::uint64_t kib : {16, 32, 64, 128, 256}) {
      const std::string name = "stack/" + std::to_string(kib) + "K/" + guard;
      // How stacks are guarded is decided when the runtime starts.
      if (argc > 1 && name == argv[1]) setenv("GODEBUG", ("stackguard=" + std::string(guard)).c_str(), 1);
      all.push_back({name, [=](double) { return stacks(kib << 10, 4096); }});
    }
  return sched_bench::main(argc, argv, all, [](const std::function<void()>& f) { vitrine::run([&] { f(); }); });
}
