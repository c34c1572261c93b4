// heap_cases.cc CASE [N]: programs that run out of memory, misuse it, or use it under GODEBUG. exec_heap_test.cc looks
// at what each says and how it ends.
#include <sys/resource.h>
#include <vitrine/vitrine.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "mem.h"

namespace {

namespace rt = vitrine::rt;

std::size_t number = 0;

// No more than so many MiB of address space from here on.
void limit(std::size_t mib) {
  rlimit r{mib << 20, mib << 20};
  setrlimit(RLIMIT_AS, &r);
}

int small() {
  return vitrine::run([] {
    limit(1500);
    for (;;) rt::mallocgc(number, nullptr, true);
    return 0;
  });
}

int byhand() {
  return vitrine::run([] {
    limit(1500);
    for (;;) rt::allocobject(number);
    return 0;
  });
}

int stacks() {
  return vitrine::run([] {
    limit(1500);
    for (;;) vitrine::go({.stack_size = 1 << 20}, [] { vitrine::sleep_for(std::chrono::hours(1)); });
    return 0;
  });
}

// There is room for the program as it is now and 16 MiB: the heap's index has none.
int atstart() {
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  std::size_t pages = 0;
  if (f == nullptr || std::fscanf(f, "%zu", &pages) != 1) return 1;
  limit((pages >> 8) + 16);
  return vitrine::run([] { return 0; });
}

int twice() {
  return vitrine::run([] {
    void* p = rt::allocobject(48);
    rt::freeobject(p);
    rt::freeobject(p);
    return 0;
  });
}

int twicelater() {
  return vitrine::run([] {
    std::vector<void*> all;
    for (int i = 0; i < 200; i++) all.push_back(rt::allocobject(48));
    for (int i = 0; i < 200; i++) rt::freeobject(all[i % 100]);
    return 0;
  });
}

int notours() {
  return vitrine::run([] {
    static int variable;
    rt::freeobject(&variable);
    return 0;
  });
}

int collected() {
  return vitrine::run([] {
    rt::freeobject(rt::mallocgc(100, nullptr, true));
    return 0;
  });
}

int useafterfree() {
  return vitrine::run([] {
    auto* p = static_cast<volatile char*>(rt::allocobject(48));
    p[0] = 1;
    rt::freeobject(const_cast<char*>(p));
    std::printf("freed\n");
    std::fflush(stdout);
    p[0] = 2;
    return 0;
  });
}

int fence() {
  return vitrine::run([] {
    void* a = rt::mallocgc(24, nullptr, true);
    void* b = rt::mallocgc(24, nullptr, true);
    std::printf("%d %d\n", std::uintptr_t(a) % 8192 == 0, std::uintptr_t(b) % 8192 == 0);
    return 0;
  });
}

int spans() {
  return vitrine::run([] {
    void* a = rt::mallocgc(24, nullptr, true);
    std::printf("%s\n", rt::spanOf(std::uintptr_t(a)) == nullptr ? "no span" : "a span");
    return 0;
  });
}

int trace() {
  return vitrine::run([] {
    static const rt::_type t{40, 0, 8, 0, nullptr, {"thing", 5}};
    rt::newobject(&t);
    rt::freeobject(rt::allocobject(77));
    return 0;
  });
}

// Before run(), while it runs, and after, and on a thread that is none of its.
int early() {
  void* before = rt::allocobject(64);
  void* collected = rt::mallocgc(64, nullptr, true);
  int bad = vitrine::run([&] {
    rt::freeobject(before);
    before = rt::allocobject(64);
    void* mine = nullptr;
    std::thread([&] { mine = rt::allocobject(64); }).join();
    rt::freeobject(mine);
    return rt::checkheap();
  });
  rt::freeobject(before);
  rt::freeobject(rt::allocobject(64));
  std::printf("%d %d\n", bad, collected != nullptr);
  return 0;
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(name) \
  { #name, name }
    CASE(small),     CASE(byhand),       CASE(stacks), CASE(atstart), CASE(twice), CASE(twicelater), CASE(notours),
    CASE(collected), CASE(useafterfree), CASE(fence),  CASE(spans),   CASE(trace), CASE(early),
#undef CASE
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) number = std::strtoull(argv[2], nullptr, 10);
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  return 64;
}
