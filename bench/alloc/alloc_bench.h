// alloc_bench.h: the workloads of README.md, for whatever makes objects. The program defines
//
//   struct maker {
//     template <std::size_t Size, bool Pointers> static void* make();   // zeroed
//     static void drop(void*);                                          // with a collector: nothing
//     static void settle();                                             // memory of what was dropped may be used again
//     static void collecting(bool on);                                  // off: memory only grows
//     static constexpr bool pointers;                                   // knows objects with pointers
//   };
//   template <class F> void parallel(F f);                              // f(0) … f(procs() - 1), at the same time
//
// ../go/alloc is the same in Go; alloc_bench.py runs them all.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "../sched/sched_bench.h"
#include "sizes.h"

namespace alloc_bench {

using sched_bench::procs;
using sched_bench::result;
using sched_bench::stopwatch;
using sched_bench::table;

// What one run makes, all threads together.
constexpr std::int64_t volume = 64 << 20;
// Of which a ring keeps this much, in at most so many objects.
constexpr std::int64_t kept = 4 << 20, slots = 1 << 16;

// The value of a key of /proc/self/status, in bytes.
inline double status(const char* key) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;)
    if (word == key) {
      double kib = 0;
      file >> kib;
      return kib * 1024;
    }
  return 0;
}
inline double rss() { return status("RssAnon:"); }

// Objects that a ring keeps; a collector finds them here.
inline std::array<std::atomic<void*>, slots> ring;

// Every page of the object gets memory.
template <std::size_t Size>
inline void touch(void* p) {
  for (std::size_t at = 0; at < Size; at += 4096) static_cast<volatile char*>(p)[at] = 1;
}

template <class Maker, std::size_t Size, bool Pointers>
__attribute__((noinline)) void fill(std::int64_t n) {
  for (std::int64_t i = 0; i < n; i++) touch<Size>(Maker::template make<Size, Pointers>());
}

// As fill, but drops each: those of malloc are on a list through themselves until then.
template <class Maker, std::size_t Size, bool Pointers>
__attribute__((noinline)) void fill_and_drop(std::int64_t n) {
  void* all = nullptr;
  for (std::int64_t i = 0; i < n; i++) {
    void* p = Maker::template make<Size, Pointers>();
    touch<Size>(p);
    if constexpr (!Maker::pointers) *static_cast<void**>(p) = all, all = p;
  }
  while (all != nullptr) Maker::drop(std::exchange(all, *static_cast<void**>(all)));
}

template <class F>
result measured(std::int64_t n, F&& body) {
  const double before = rss();
  result r = sched_bench::once(n, body);
  r.more.push_back({"rss_mib", (rss() - before) / (1 << 20)});
  return r;
}

template <class Maker, std::size_t Size, bool Pointers, class Parallel>
void add_fill(table& t, Parallel parallel) {
  const std::string rest = (Pointers ? "pointers/" : "noscan/") + std::to_string(Size);
  t.push_back({"fresh/" + rest, [=](double) {
                 Maker::collecting(false);
                 const std::int64_t each = volume / std::int64_t(Size) / procs();
                 return measured(each * procs(),
                                 [&](std::int64_t) { parallel([&](auto) { fill<Maker, Size, Pointers>(each); }); });
               }});
  t.push_back({"again/" + rest, [=](double) {
                 Maker::collecting(false);
                 const std::int64_t each = volume / std::int64_t(Size) / procs();
                 const double before = rss();
                 parallel([&](auto) { fill_and_drop<Maker, Size, Pointers>(each); });
                 Maker::settle();
                 result r = sched_bench::once(
                     each * procs(), [&](std::int64_t) { parallel([&](auto) { fill<Maker, Size, Pointers>(each); }); });
                 r.more.push_back({"rss_mib", (rss() - before) / (1 << 20)});
                 return r;
               }});
}

// How a ring chooses whom the new object replaces.
enum class order { lifo, fifo, random, cross };

template <class Maker, std::size_t Size, order Order>
__attribute__((noinline)) void turn(std::int64_t n, std::int64_t self, std::int64_t workers) {
  const std::int64_t all = std::min(kept / std::int64_t(Size), slots), mine = all / workers, base = self * mine;
  sched_bench::random random(std::uint64_t(self) + 1);
  for (std::int64_t i = 0; i < n; i++) {
    void* p = Maker::template make<Size, false>();
    touch<Size>(p);
    if constexpr (Order == order::cross) {
      if (void* old = ring[std::size_t(random.below(all))].exchange(p)) Maker::drop(old);
    } else {
      std::int64_t at = i % mine;
      if constexpr (Order == order::random) at = random.below(mine);
      // Up, and then down again: what was made last goes first.
      if constexpr (Order == order::lifo) at = i / mine % 2 == 0 ? at : mine - 1 - at;
      auto& slot = ring[std::size_t(base + at)];
      void* old = slot.load(std::memory_order_relaxed);
      slot.store(p, std::memory_order_relaxed);
      if (old != nullptr) Maker::drop(old);
    }
  }
}

template <class Maker, std::size_t Size, order Order, class Parallel>
void add_turn(table& t, const char* name, Parallel parallel) {
  t.push_back({name + ("/" + std::to_string(Size)), [=](double) {
                 Maker::collecting(true);
                 const std::int64_t each = 2 * volume / std::int64_t(Size) / procs();
                 return measured(each * procs(), [&](std::int64_t) {
                   parallel([&](std::int64_t self) { turn<Maker, Size, Order>(each, self, procs()); });
                 });
               }});
}

template <class Maker, class Parallel, std::size_t... I>
void add_all(table& t, Parallel parallel, std::index_sequence<I...>) {
  (add_fill<Maker, sizes[I], false>(t, parallel), ...);
  if constexpr (Maker::pointers) (add_fill<Maker, sizes[I], true>(t, parallel), ...);
}

template <class Maker, class Parallel>
table workloads(Parallel parallel) {
  table t;
  add_all<Maker>(t, parallel, std::make_index_sequence<sizes.size()>());
  const auto turns = [&]<std::size_t Size>() {
    add_turn<Maker, Size, order::lifo>(t, "lifo", parallel);
    add_turn<Maker, Size, order::fifo>(t, "fifo", parallel);
    add_turn<Maker, Size, order::random>(t, "random", parallel);
    add_turn<Maker, Size, order::cross>(t, "cross", parallel);
  };
  turns.template operator()<16>();
  turns.template operator()<64>();
  turns.template operator()<512>();
  turns.template operator()<8192>();
  return t;
}

}  // namespace alloc_bench
