// fixture.h: what the tests of the runtime share. They all run on goroutine 1 of one run() (main.cc). A fixture derived
// from Goroutines checks after each test that nothing of it is left: no goroutine, no timer, and that the counts agree
// with a walk over allgs.
#pragma once
#include <gtest/gtest.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "runtime.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr bool underAsan = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool underAsan = true;
#else
constexpr bool underAsan = false;
#endif
#else
constexpr bool underAsan = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool underTsan = true;  // gcc's has room for some 8,000 fibers
#else
constexpr bool underTsan = false;
#endif

namespace rt = vitrine::rt;
using namespace std::chrono_literals;

// Yields and sleeps until cond() holds; false after 20 s.
template <class F>
bool eventually(F cond) {
  auto end = std::chrono::steady_clock::now() + 20s;
  for (int i = 0; !cond(); i++) {
    if (std::chrono::steady_clock::now() > end) return false;
    if (i < 100)
      vitrine::yield();
    else
      vitrine::sleep_for(200us);
  }
  return true;
}

inline std::int64_t livegoroutines() {
  std::int64_t n = 0;
  for (std::int64_t i = 0, len = __atomic_load_n(&rt::allgs.len, __ATOMIC_ACQUIRE); i < len; i++) {
    rt::g* gp = rt::allgs.array[i];
    std::uint32_t status = rt::readgstatus(gp) & ~std::uint32_t(rt::Gscan);
    if (status != rt::Gdead && status != rt::Gidle && rt::load_relaxed(gp->issystem) == 0) n++;
  }
  return n;
}

inline std::int64_t pendingtimers() {
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < rt::allp.len; i++) n += rt::allp.array[i]->timers.len.load();
  return n;
}

// Whether gp is parked for that reason.
inline bool parked(rt::g* gp, rt::waitReason reason) {
  return rt::readgstatus(gp) == rt::Gwaiting && gp->waitreason == reason;
}

// Starts f on a goroutine and returns that as soon as it runs.
template <class F>
rt::g* started(F f) {
  auto gp = std::make_shared<std::atomic<rt::g*>>(nullptr);
  vitrine::go([gp, f = std::move(f)]() mutable {
    gp->store(rt::getg());
    gp.reset();
    f();
  });
  eventually([&] { return gp->load() != nullptr; });
  return gp->load();
}

// The same, and waits until it is parked.
template <class F>
rt::g* startedparked(rt::waitReason reason, F f) {
  rt::g* gp = started(std::move(f));
  EXPECT_TRUE(eventually([&] { return parked(gp, reason); })) << "goroutine " << gp->goid << " did not park";
  return gp;
}

inline bool systemHasHugePages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  return std::getline(file, text) && text.find("[never]") == std::string::npos;
}

class Goroutines : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return rt::gcount() == 1; })) << rt::gcount() - 1 << " goroutines are left";
    EXPECT_EQ(livegoroutines(), rt::gcount()) << "the count and a walk over allgs disagree";
    EXPECT_EQ(pendingtimers(), 0);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  }
};
