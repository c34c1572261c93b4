// mix_sched.cc: what moves goroutines, Ms and Ps.
//
//   rings     goroutines that pass tokens over buffered and unbuffered channels
//   lockers   fight for one mutex, some holding it over a sleep; threads that are no Ms as well
//   sleepers  sleeps of 10 µs to 5 ms: the timer heaps
//   births    goroutines that live for one yield, with results that are waited for, and with stacks of all sizes
//   hogs      loops without a call of the runtime: they lose their P to the preemption signal
//   away      blocking_scope: system calls whose P is retaken
//   locked    goroutines that are locked to their thread, for a while or until they end
//   world     gomaxprocs goes up and down
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "mix.h"

namespace mix {

using namespace std::chrono_literals;

// ---- rings

namespace {

std::atomic<int> tokens_made, tokens_back;

struct Ring {
  std::vector<vitrine::chan<int>> links;
  std::atomic<int> tokens;  // still under way
};

}  // namespace

Group rings{"rings",
            [] { require(tokens_made == tokens_back, rings, "every token came back", tokens_made, tokens_back); }};

static void ring(int length, std::size_t capacity, int tokens) {
  auto r = std::make_shared<Ring>();
  r->tokens = tokens;
  tokens_made += tokens;
  for (int i = 0; i < length; ++i) r->links.emplace_back(capacity);
  for (int i = 0; i < length; ++i) {
    start(rings, [r, in = r->links[i], out = r->links[(i + 1) % length]] {
      while (auto hops = in.recv()) {
        rings.turn();
        if (!over()) {
          out.send(*hops + 1);
          continue;
        }
        ++tokens_back;
        if (--r->tokens == 0)
          for (auto& link : r->links) link.close();
      }
    });
  }
  for (int i = 0; i < tokens; ++i) start(rings, [out = r->links[i * length / tokens]] { out.send(0); });
}

// ---- lockers

namespace {

vitrine::mutex shared;
std::int64_t guarded;  // by shared
std::atomic<std::int64_t> lockings;

void locker(Dice dice, bool on_a_thread) {
  std::int64_t mine = 0;
  while (!over()) {
    std::unique_lock hold(shared, std::defer_lock);
    switch (dice(8)) {
      case 0:
        if (!hold.try_lock()) continue;
        break;
      case 1:
        if (!hold.try_lock_for(dice.up_to(200us))) continue;
        break;
      default:
        hold.lock();
    }
    ++guarded;
    ++mine;
    if (dice.one_in(50)) vitrine::sleep_for(50us);
    hold.unlock();
    lockers.turn();
    if (dice.one_in(4)) vitrine::yield();
    if (on_a_thread && dice.one_in(16)) std::this_thread::sleep_for(100us);
    compute(dice(2000));
  }
  lockings += mine;
}

}  // namespace

Group lockers{"lockers", [] { require(guarded == lockings, lockers, "each locking was alone", guarded, lockings); }};

// ---- sleepers

Group sleepers{"sleepers"};

static void sleeper(Dice dice) {
  while (!over()) {
    const std::chrono::microseconds d(10 + dice(5000));
    const auto begin = std::chrono::steady_clock::now();
    vitrine::sleep_for(d);
    const auto slept = std::chrono::steady_clock::now() - begin;
    require(slept >= d, sleepers, "no sleep ends early", slept / 1ns, d / 1ns);
    sleepers.turn();
  }
}

// ---- births

Group births{"births"};

static void parent(Dice dice) {
  while (!over()) {
    vitrine::wait_group all;
    std::atomic<int> lived{0};
    const int children = 1 + static_cast<int>(dice(40));
    for (int i = 0; i < children; ++i)
      all.go([&] {
        vitrine::yield();
        ++lived;
      });
    auto answer = vitrine::spawn([] { return 42; });
    vitrine::chan<int> large;
    if (dice.one_in(4))
      vitrine::go({.name = "large", .stack_size = std::size_t{16384} << dice(6)}, [large] { large.send(1); });
    else
      vitrine::go([large] { large.send(1); });
    const int result = answer.get();
    require(result == 42, births, "a task's result arrives", result);
    all.wait();
    require(lived == children, births, "who is waited for has lived", lived, children);
    large.recv();
    births.turn();
    if (dice.one_in(8)) vitrine::sleep_for(1ms);
  }
}

// ---- hogs, away, locked, world

Group hogs{"hogs"}, away{"away"}, locked{"locked"}, world{"world"};

static void hog(Dice dice) {
  while (!over()) {
    if (dice.one_in(8)) {
      vitrine::no_preempt stay;
      compute(10'000'000);
    } else {
      compute(5'000'000 + dice(60'000'000));
    }
    hogs.turn();
    vitrine::sleep_for(20ms);
  }
}

static void away_for(Dice dice) {
  while (!over()) {
    {
      vitrine::blocking_scope scope;
      std::this_thread::sleep_for(dice.up_to(3000us));
      if (dice.one_in(8)) vitrine::yield();  // ends the scope early
    }
    away.turn();
    vitrine::yield();
  }
}

static void locked_for(Dice dice) {
  while (!over()) {
    vitrine::wait_group done;
    const bool until_the_end = dice.one_in(4);
    done.go([&] {
      alignas(vitrine::os_thread_lock) std::byte place[sizeof(vitrine::os_thread_lock)];
      auto* lock = new (place) vitrine::os_thread_lock;
      const pid_t thread = gettid();
      for (std::uint32_t i = dice(20); i > 0; --i) {
        vitrine::yield();
        if (i % 5 == 0) vitrine::sleep_for(100us);
        if (i % 7 == 0) {
          vitrine::blocking_scope scope;
          std::this_thread::sleep_for(50us);
        }
        require(gettid() == thread, locked, "a locked goroutine stays on its thread", gettid(), thread);
      }
      if (!until_the_end) lock->~os_thread_lock();  // else the thread ends with it
    });
    done.wait();
    locked.turn();
    vitrine::sleep_for(1ms);
  }
}

static void change_the_world(Dice dice) {
  int now = vitrine::gomaxprocs();
  while (!over()) {
    const int next = 1 + static_cast<int>(dice(6));
    const int before = vitrine::gomaxprocs(next);
    require(before == now, world, "gomaxprocs is what was set", before, now);
    now = next;
    world.turn();
    vitrine::sleep_for(1ms + dice.up_to(20ms));
  }
}

void start_sched() {
  ring(8, 0, 3);
  ring(50, 2, 20);
  for (std::uint64_t i = 1; i <= 8; ++i) start(lockers, [i] { locker(Dice(i), false); });
  for (std::uint64_t i = 1; i <= 2; ++i) start_thread([i] { locker(Dice(100 + i), true); });
  for (std::uint64_t i = 1; i <= 40; ++i) start(sleepers, [i] { sleeper(Dice(i)); });
  for (std::uint64_t i = 1; i <= 3; ++i) start(births, [i] { parent(Dice(i)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(hogs, [i] { hog(Dice(i)); });
  for (std::uint64_t i = 1; i <= 4; ++i) start(away, [i] { away_for(Dice(i)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(locked, [i] { locked_for(Dice(i)); });
  start(world, [] { change_the_world(Dice(1)); });
}

}  // namespace mix
