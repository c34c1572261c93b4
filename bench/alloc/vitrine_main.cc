// vitrine_main.cc: the workloads of README.md on gc::make.
#include <vitrine/vitrine.h>

#include "vitrine_bench.h"

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

}  // namespace

int main(int argc, char** argv) {
  auto all = alloc_bench::workloads<maker>(parallel);
  for (const char* guard : {"mprotect", "madvise", "canary"})
    for (std::uint64_t kib : {16, 32, 64, 128, 256}) {
      const std::string name = "stack/" + std::to_string(kib) + "K/" + guard;
      // How stacks are guarded is decided when the runtime starts.
      if (argc > 1 && name == argv[1]) setenv("GODEBUG", ("stackguard=" + std::string(guard)).c_str(), 1);
      all.push_back({name, [=](double) { return alloc_bench::stacks(kib << 10, 4096); }});
    }
  return sched_bench::main(argc, argv, all, [](const std::function<void()>& f) { vitrine::run([&] { f(); }); });
}
