// mix.cc: a program that never rests, for the soak of `info sched -check`: everything that moves goroutines, Ms and Ps
// at once. Runs until it is killed, or for the seconds that its first argument says.
//
//   pipes     rings of goroutines that pass tokens over buffered and unbuffered channels
//   locks     goroutines that fight for one mutex, some holding it over a sleep
//   sleepers  sleeps of 10 µs to 5 ms: the timer heaps
//   births    goroutines that live for one yield, with results that are waited for
//   hogs      loops without a call of the runtime: they lose their P to the preemption signal
//   away      blocking_scope: system calls whose P is retaken
//   locked    goroutines that are locked to their thread, for a while or until they end
//   world     gomaxprocs goes up and down
//   foreign   threads that are no Ms send, receive and lock
#include <vitrine/vitrine.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

vitrine::mutex shared;
std::uint64_t guarded;
std::atomic<std::uint64_t> sink;

std::uint32_t dice(std::uint64_t& state, std::uint32_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<std::uint32_t>((state >> 16) % n);
}

void compute(std::uint64_t turns) {
  std::uint64_t x = turns;
  for (std::uint64_t i = 0; i < turns; ++i) asm volatile("" : "+r"(x));
  sink += x;
}

void ring(int length, int capacity, int tokens) {
  std::vector<vitrine::chan<int>> links;
  for (int i = 0; i < length; ++i) links.emplace_back(static_cast<std::size_t>(capacity));
  for (int i = 0; i < length; ++i) {
    vitrine::go({.name = "ring"}, [in = links[i], out = links[(i + 1) % length]]() mutable {
      while (auto v = in.recv()) out.send(*v + 1);
    });
  }
  for (int i = 0; i < tokens; ++i) vitrine::go([out = links[i * length / tokens]]() mutable { out.send(0); });
}

void locker(std::uint64_t seed) {
  for (;;) {
    {
      std::lock_guard hold(shared);
      ++guarded;
      if (dice(seed, 50) == 0) vitrine::sleep_for(50us);
    }
    if (dice(seed, 4) == 0) vitrine::yield();
    compute(dice(seed, 2000));
  }
}

void sleeper(std::uint64_t seed) {
  for (;;) vitrine::sleep_for(std::chrono::microseconds(10 + dice(seed, 5000)));
}

void births(std::uint64_t seed) {
  for (;;) {
    vitrine::wait_group all;
    for (std::uint32_t i = 1 + dice(seed, 40); i > 0; --i) all.go([] { vitrine::yield(); });
    auto answer = vitrine::spawn([] { return 42; });
    sink += static_cast<std::uint64_t>(answer.get());
    all.wait();
    if (dice(seed, 8) == 0) vitrine::sleep_for(1ms);
  }
}

void hog(std::uint64_t seed) {
  for (;;) {
    compute(5'000'000 + dice(seed, 60'000'000));
    vitrine::sleep_for(20ms);
  }
}

void away(std::uint64_t seed) {
  for (;;) {
    {
      vitrine::blocking_scope scope;
      std::this_thread::sleep_for(std::chrono::microseconds(dice(seed, 3000)));
    }
    vitrine::yield();
  }
}

void locked(std::uint64_t seed) {
  for (;;) {
    vitrine::wait_group done;
    done.go([&] {
      vitrine::os_thread_lock stay;
      for (std::uint32_t i = dice(seed, 20); i > 0; --i) {
        vitrine::yield();
        if (i % 5 == 0) vitrine::sleep_for(100us);
      }
    });
    done.wait();
    vitrine::sleep_for(1ms);
  }
}

void world(std::uint64_t seed) {
  for (;;) {
    vitrine::gomaxprocs(1 + static_cast<int>(dice(seed, 6)));
    vitrine::sleep_for(std::chrono::milliseconds(1 + dice(seed, 20)));
  }
}

void foreign(vitrine::chan<int> in, vitrine::chan<int> out, std::uint64_t seed) {
  for (;;) {
    if (auto v = in.recv()) out.send(*v);
    std::lock_guard hold(shared);
    ++guarded;
    if (dice(seed, 16) == 0) std::this_thread::sleep_for(100us);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return vitrine::run({.procs = 4}, [argc, argv] {
    ring(8, 0, 3);
    ring(50, 2, 20);
    for (std::uint64_t i = 1; i <= 8; ++i) vitrine::go({.name = "locker"}, locker, i * 7919);
    for (std::uint64_t i = 1; i <= 40; ++i) vitrine::go({.name = "sleeper"}, sleeper, i * 104729);
    for (std::uint64_t i = 1; i <= 3; ++i) vitrine::go({.name = "births"}, births, i * 1299709);
    for (std::uint64_t i = 1; i <= 2; ++i) vitrine::go({.name = "hog"}, hog, i * 15485863);
    for (std::uint64_t i = 1; i <= 4; ++i) vitrine::go({.name = "away"}, away, i * 32452843);
    vitrine::go({.name = "locked"}, locked, std::uint64_t{49979687});
    vitrine::go({.name = "world"}, world, std::uint64_t{67867967});
    for (std::uint64_t i = 1; i <= 2; ++i) {
      vitrine::chan<int> in, out(1);
      std::thread(foreign, in, out, i * 86028121).detach();
      vitrine::go({.name = "partner"}, [in, out]() mutable {
        for (;;) {
          in.send(1);
          out.recv();
        }
      });
    }
    if (argc > 1) {
      vitrine::sleep_for(std::chrono::seconds(std::atoi(argv[1])));
      std::_Exit(0);
    }
    vitrine::chan<int>().recv();
    return 0;
  });
}
