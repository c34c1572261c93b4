// races.cc CASE: what ThreadSanitizer must say of a program's own locks, or must not.
#include <vitrine/vitrine.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <shared_mutex>
#include <string_view>

namespace {

using namespace std::chrono_literals;

vitrine::mutex first, second;
vitrine::rw_mutex book;
long guarded;

// Waits for the other of two, without an order between what they did before and what they do after.
void meet(std::atomic<int>& ready) {
  ready.fetch_add(1, std::memory_order_relaxed);
  while (ready.load(std::memory_order_relaxed) < 2) vitrine::checkpoint();
}

// Runs both at the same time, on two threads, with nothing but the locks that they take between them.
template <class A, class B>
void together(A a, B b) {
  std::atomic<int> ready{0};
  vitrine::wait_group wg;
  wg.go([&] {
    vitrine::set_name("reader");
    meet(ready);
    a();
  });
  wg.go([&] {
    vitrine::set_name("writer");
    meet(ready);
    b();
  });
  wg.wait();
}

[[gnu::noinline]] void adds_under(vitrine::mutex& mu) {
  for (int i = 0; i < 100; i++) {
    std::lock_guard hold(mu);
    guarded++;
  }
}

[[gnu::noinline]] void locks_both(vitrine::mutex& outer, vitrine::mutex& inner) {
  std::lock_guard a(outer);
  std::lock_guard b(inner);
  guarded++;
}

// A lock whose holder moves to another thread, and one that somebody waits for.
void holds_over_waits(vitrine::mutex& mu) {
  for (int i = 0; i < 30; i++) {
    std::lock_guard hold(mu);
    guarded++;
    vitrine::sleep_for(100us);
    guarded++;
  }
}

void reads_and_writes() {
  long seen = 0;
  for (int i = 0; i < 100; i++) {
    if (i % 4 == 0) {
      std::lock_guard hold(book);
      guarded++;
    } else if (std::shared_lock hold(book, std::try_to_lock); hold) {
      seen += guarded;
    } else {
      std::shared_lock waits(book);
      seen += guarded;
    }
    if (i % 10 == 0) vitrine::yield();
  }
  if (seen < 0) std::puts("?");
}

void waits_for_a_condition(bool mine, vitrine::mutex& mu, vitrine::cond& turned, bool& turn) {
  for (int i = 0; i < 50; i++) {
    std::unique_lock hold(mu);
    while (turn != mine)
      if (i % 2 == 0)
        turned.wait(hold);
      else
        turned.wait_for(hold, 10ms);
    guarded++;
    turn = !mine;
    turned.notify_all();
  }
}

void tries(vitrine::mutex& mu) {
  for (int i = 0; i < 100; i++) {
    std::unique_lock hold(mu, std::defer_lock);
    if (i % 2 == 0 ? hold.try_lock() : hold.try_lock_for(50us)) guarded++;
    if (i % 10 == 0 && hold.owns_lock()) vitrine::yield();
  }
}

// In one order here, in the other at the next call: but they are other mutexes then, at the same addresses.
[[gnu::noinline]] void short_lived(bool turned) {
  vitrine::mutex a, b;
  if (turned)
    locks_both(b, a);
  else
    locks_both(a, b);
}

int body(std::string_view name) {
  if (name == "two mutexes") {
    // Rounds: one in which they do not really overlap has an order, by the scheduler.
    for (int i = 0; i < 10; i++) together([] { adds_under(first); }, [] { adds_under(second); });
  } else if (name == "read lock") {
    for (int i = 0; i < 10; i++) {
      std::atomic<int> inside{0};
      auto writes = [&] {
        std::shared_lock hold(book);
        meet(inside);
        guarded++;
      };
      together(writes, writes);
    }
  } else if (name == "one mutex") {
    together([] { adds_under(first); }, [] { adds_under(first); });
    together([] { holds_over_waits(first); }, [] { holds_over_waits(first); });
    together([] { tries(first); }, [] { tries(first); });
    together(reads_and_writes, reads_and_writes);
    vitrine::cond turned;
    bool turn = false;
    together([&] { waits_for_a_condition(true, first, turned, turn); },
             [&] { waits_for_a_condition(false, first, turned, turn); });
  } else if (name == "inversion") {
    locks_both(first, second);
    locks_both(second, first);
  } else if (name == "short lives") {
    for (int i = 0; i < 4; i++) short_lived(i % 2 != 0);
    for (int i = 0; i < 4; i++) {
      vitrine::wait_group wg;
      wg.go([i] { short_lived(i % 2 != 0); });
      wg.wait();
    }
  } else if (name == "unlocked by another") {
    first.lock();
    vitrine::wait_group wg;
    wg.go([] { first.unlock(); });
    wg.wait();
  } else {
    return 2;
  }
  std::puts("done");
  return 0;
}

}  // namespace

int main(int, char** argv) {
  return vitrine::run({.procs = 2}, [argv] { return body(argv[1]); });
}
