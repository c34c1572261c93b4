// heap_cases.cc CASE [N]: programs that run out of memory, misuse it, or use it under GODEBUG. exec_heap_test.cc looks
// at what each says and how it ends.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <vitrine/vitrine.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
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

int unlimited() {
  return vitrine::run([] {
    rt::mallocgc(number, nullptr, true);
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

volatile std::sig_atomic_t calls = 0;

// madvise(…, MADV_POPULATE_WRITE) is as on a kernel that does not know it, and counted.
void forbid() {
  struct sigaction sa {};
  sa.sa_flags = SA_SIGINFO;
  sa.sa_sigaction = [](int, siginfo_t*, void* context) {
    calls = calls + 1;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -EINVAL;
  };
  sigaction(SIGSYS, &sa, nullptr);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 2 * 8),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 23, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{sizeof code / sizeof code[0], code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) std::abort();
}

// 16 MiB of objects of 1 KiB: whether most pages of the second half had memory before they were touched, and how often it
// was asked for in vain. N: the kernel does not know how to give it.
int populate() {
  return vitrine::run({.procs = 1}, [] {
    if (number != 0) forbid();
    vitrine::gc::set_percent(-1);
    int had = 0;
    for (int i = 0; i < 16 << 10; i++) {
      void* p = rt::mallocgc(1024, nullptr, true);
      unsigned char in = 0;
      if (i >= 8 << 10 && std::uintptr_t(p) % 4096 == 0 && mincore(p, 1, &in) == 0) had += in & 1;
      *static_cast<volatile char*>(p) = 1;
    }
    std::printf("%d %d\n", had > 1024, int(calls));
    return 0;
  });
}

// 40 MiB of small objects: whether there are huge pages.
int huge() {
  return vitrine::run([] {
    vitrine::gc::set_percent(-1);
    for (int i = 0; i < 40 << 10; i++) rt::mallocgc(1024, nullptr, true);
    bool any = false;
    for (std::int64_t i = 0; i < rt::mheap_.allArenas.len; i++)
      any =
          any || rt::mheap_.hasHuge(rt::mheap_.allArenas.array[i], rt::mheap_.allArenas.array[i] + rt::heapArenaBytes);
    std::printf("%d\n", any);
    return 0;
  });
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(name) \
  { #name, name }
    CASE(small),   CASE(byhand),    CASE(stacks),       CASE(atstart), CASE(twice), CASE(twicelater),
    CASE(notours), CASE(collected), CASE(useafterfree), CASE(fence),   CASE(spans), CASE(trace),
    CASE(early),   CASE(populate),  CASE(unlimited),    CASE(huge),
#undef CASE
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) number = std::strtoull(argv[2], nullptr, 10);
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  return 64;
}
