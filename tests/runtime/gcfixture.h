// gcfixture.h: what the tests of the collector share. After each test the heap agrees with itself, and everything that
// the test made is found dead.
#pragma once
#include <cstdlib>
#include <cstring>

#include "heapfixture.h"
#include "mgc.h"

namespace gc = vitrine::gc;

// An address that the collector does not know for one.
class Hidden {
 public:
  Hidden() = default;
  explicit Hidden(const void* p) : v_(~std::uintptr_t(p)) {}
  void* address() const { return reinterpret_cast<void*>(~v_); }

 private:
  std::uintptr_t v_ = 0;
};

// Overwrites what earlier calls have left on the stack below this frame, and in registers.
inline __attribute__((noinline)) void wipe() {
  volatile char junk[16 << 10];
  for (std::size_t i = 0; i < sizeof junk; i++) junk[i] = 0;
  asm volatile(
      "xorl %%ebx, %%ebx\n\txorl %%r12d, %%r12d\n\txorl %%r13d, %%r13d\n\txorl %%r14d, %%r14d\n\t"
      "xorl %%r15d, %%r15d"
      :
      :
      : "rbx", "r12", "r13", "r14", "r15", "memory");
}

inline __attribute__((noinline)) bool pointsto(const void* p, Hidden h) { return p == h.address(); }

inline __attribute__((noinline)) void collect() {
  wipe();
  gc::collect();
}

// Calls f on a goroutine of its own, so that nothing of what it did is left on this stack, and returns its result when
// that goroutine is gone, and its stack with it: the result is there a little earlier. In line, so that what starting it
// left below the caller's frame is wiped, all of it: it may know where a span begins.
template <class F>
__attribute__((always_inline)) inline auto elsewhere(F f) {
  std::int32_t before = rt::gcount();
  auto result = vitrine::spawn(std::move(f)).get();
  eventually([&] { return rt::gcount() <= before; });
  wipe();
  return result;
}

// How many of the objects are allocated, when everything is swept. On another goroutine: the caller's frame must not get
// to know an address.
inline int living(const std::vector<Hidden>& all) {
  return elsewhere([&] {
    int n = 0;
    for (Hidden h : all) {
      rt::mspan* s = rt::spanOfHeap(std::uintptr_t(h.address()));
      n += s != nullptr && !s->isFree(s->objIndex(std::uintptr_t(h.address())));
    }
    return n;
  });
}
// Whether AddressSanitizer gives locals fake stacks, whose dead frames are scanned too: a word that an earlier test has left
// in one keeps what has come to lie there.
inline bool fakestacks() {
  const char* options = std::getenv("ASAN_OPTIONS");
  return options != nullptr && std::strstr(options, "detect_stack_use_after_return=1") != nullptr;
}
// n of them are allocated. With fake stacks none is missing: one word keeps what a whole list has.
inline void expectliving(const std::vector<Hidden>& all, int n) {
  if (fakestacks())
    EXPECT_GE(living(all), n);
  else
    EXPECT_EQ(living(all), n);
}
inline bool alive(Hidden h) { return living({h}) == 1; }

// VITRINE_GC_STRESS=N makes N times as many.
inline int rounds(int n) {
  const char* given = std::getenv("VITRINE_GC_STRESS");
  if (underTsan || underAsan) n = n / 4 + 1;
  return given != nullptr ? n * std::atoi(given) : n;
}

class Gc : public Heap {
 protected:
  void TearDown() override {
    Heap::TearDown();
    EXPECT_TRUE(eventually([] {
      collect();
      return gc::stats().finalizers_run == gc::stats().finalizers_queued;
    }));
    EXPECT_EQ(checkedheap(), 0);
  }
};
