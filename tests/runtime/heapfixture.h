// heapfixture.h: what the tests of the memory system share: a check of the whole heap after each test.
#pragma once
#include <random>
#include <set>
#include <vector>

#include "fixture.h"
#include "mem.h"
#include "proc.h"

inline std::int32_t checkedheap() {
  std::int32_t bad = -1;
  rt::withworldstopped(
      "checkheap", [](void* out) { *static_cast<std::int32_t*>(out) = rt::checkheap(); }, &bad);
  return bad;
}

// A generator whose seed is printed when a test fails; VITRINE_SEED repeats it.
class Random {
 public:
  Random() : seed_(from()), engine_(seed_) {}
  std::uint64_t operator()(std::uint64_t n) { return engine_() % n; }
  std::uint64_t seed() const { return seed_; }

 private:
  static std::uint64_t from() {
    const char* given = std::getenv("VITRINE_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  }
  std::uint64_t seed_;
  std::mt19937_64 engine_;
};

class Heap : public Goroutines {
 protected:
  void TearDown() override {
    Goroutines::TearDown();
    EXPECT_EQ(checkedheap(), 0);
    if (HasFailure()) std::fprintf(stderr, "VITRINE_SEED=%lu\n", random.seed());
  }
  Random random;
};
