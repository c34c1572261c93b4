// busy.cc [GOROUTINES]: a little of everything that a runtime does — many goroutines, channels, mutexes, select,
// timers, exceptions, tasks, threads that are no goroutines, blocking calls — and an exit that abandons parked
// goroutines which own memory. Prints how many rounds were right. For memory checkers, which must find nothing.
#include <unistd.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using vitrine::chan;

std::atomic<int> right{0};

// Frames of different depth, so that stacks are used anew at different heights.
[[gnu::noinline]] int deep(int n) {
  volatile char frame[64];
  frame[0] = char(n);
  if (n > 0) return deep(n - 1) + (frame[0] == char(n));
  vitrine::yield();
  return 0;
}

void exchange(int i, chan<std::string> c) {
  if (i % 2 == 0)
    c.send("a string that is too long for the small buffer, from " + std::to_string(i));
  else
    right += c.recv()->size() > 40;
}

void throwing(int i) {
  try {
    deep(i % 30);
    throw std::runtime_error(std::to_string(i));
  } catch (const std::runtime_error& e) {
    vitrine::sleep_for(std::chrono::microseconds(i % 300));
    right += e.what() == std::to_string(i);
  }
}

void selecting(int i, chan<int> a, chan<int> b) {
  if (i % 2 == 0) {
    a.send(i);
    b.send(i);
    return;
  }
  for (int got = 0; got < 2;)
    vitrine::select(vitrine::on_recv(a, [&](std::optional<int> v) { got += v.has_value(); }),
                    vitrine::on_recv(b, [&](std::optional<int> v) { got += v.has_value(); }),
                    vitrine::on_timeout(50ms, [] {}));
  right++;
}

int body(int n) {
  vitrine::mutex mu;
  std::int64_t guarded = 0;
  chan<std::string> strings;
  chan<int> a, b;
  {
    vitrine::wait_group wg;
    for (int i = 0; i < n; i++)
      wg.go([&, i] {
        exchange(i, strings);
        throwing(i);
        for (int k = 0; k < 3; k++) {
          std::lock_guard lock(mu);
          guarded++;
          if (k == 1) vitrine::yield();
        }
        selecting(i, a, b);
      });
    wg.wait();
  }
  right += guarded == 3 * n;
  std::vector<vitrine::task<int>> tasks;
  for (int i = 0; i < 50; i++) tasks.push_back(vitrine::spawn([i] { return deep(i); }));
  int sum = 0;
  for (auto& t : tasks) sum += t.get();
  right += sum == 49 * 50 / 2;
  std::thread foreign([&] {
    for (int i = 0; i < 20; i++) a.send(i);
  });
  for (int i = 0; i < 20; i++) right += a.recv() == i;
  foreign.join();
  {
    vitrine::blocking_scope scope;
    usleep(2000);
  }
  // Abandoned at exit: their captures are known only to their stacks, or to what the runtime made of them.
  chan<int> never;
  for (int i = 0; i < 20; i++)
    vitrine::go([never, text = std::make_unique<std::string>(100, 'x')] {
      auto own = std::make_unique<int>(7);
      never.recv();
      right += *own + int(text->size());
    });
  vitrine::sleep_for(20ms);
  std::printf("right %d of %d\n", right.load(), n / 2 + n + n / 2 + 1 + 1 + 20);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int n = argc > 1 ? std::atoi(argv[1]) : 1000;
  return vitrine::run({.procs = 4}, [n] { return body(n); });
}
