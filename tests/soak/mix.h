// mix.h: what the groups of soak_mix share. A group is some goroutines, or threads, that do one kind of thing over and
// over until over(), check what they can each time, and end; then the group's sums must be right (mix.cc looks).
//
//   * turns() of a group counts what it has done. One that stands still for a minute has lost something.
//   * require() ends the program with a message that says group, claim and numbers: what must hold at every moment.
//   * A group's `sums` is called when all goroutines and threads have ended: what must hold then.
#pragma once
#include <vitrine/vitrine.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace mix {

struct Group {
  const char* name;
  void (*sums)() = nullptr;
  std::atomic<std::uint64_t> done{0};
  void turn() { done.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t turns() const { return done.load(std::memory_order_relaxed); }
};

bool over();
std::uint64_t seed();  // $VITRINE_SOAK_SEED

[[noreturn]] void lost(const Group& group, const char* claim, std::int64_t a, std::int64_t b);
// claim: what `holds` says; a, b: the numbers that it is about.
inline void require(bool holds, const Group& group, const char* claim, std::int64_t a = 0, std::int64_t b = 0) {
  if (!holds) [[unlikely]]
    lost(group, claim, a, b);
}

class Dice {
 public:
  explicit Dice(std::uint64_t number) : state_((number ^ seed()) * 0x9e3779b97f4a7c15ull | 1) {}
  std::uint32_t operator()(std::uint32_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ >> 16) % n);
  }
  bool one_in(std::uint32_t n) { return (*this)(n) == 0; }
  std::chrono::microseconds up_to(std::chrono::microseconds d) {
    return std::chrono::microseconds((*this)(static_cast<std::uint32_t>(d.count())));
  }

 private:
  std::uint64_t state_;
};

void compute(std::uint64_t turns);

// Until f has returned the program does not end.
extern vitrine::wait_group everybody;

template <class F>
void start(const Group& group, F f) {
  everybody.add(1);
  vitrine::go({.name = group.name}, [f = std::move(f)]() mutable {
    f();
    everybody.done();
  });
}

template <class F>
void start_thread(F f) {
  everybody.add(1);
  std::thread([f = std::move(f)]() mutable {
    f();
    everybody.done();
  }).detach();
}

// Each starts some groups; the list of all groups is in mix.cc.
extern Group rings, lockers, sleepers, births, hogs, away, locked, world;      // mix_sched.cc
extern Group market, broadcasts, readers, queues, onces, permits, exceptions;  // mix_wait.cc
extern Group timers, tickers;                                                  // mix_time.cc
extern Group streams, listeners, pipes, threads;                               // mix_io.cc
extern Group trees, collections;                                               // mix_gc.cc
void start_sched();
void start_wait();
void start_time();
void start_io();
void start_gc();

}  // namespace mix
