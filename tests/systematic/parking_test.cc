// parking_test.cc: places where goroutines and threads wait for each other: channels, select, the synchronisation
// primitives, threads that are no goroutines. The whole runtime, booted anew in each run; sysmon rescues nobody. See
// sim.h.
#include <gtest/gtest.h>

#include "proc.h"
#include "sim.h"
#include "vitrine/vitrine.h"

using namespace vitrine;

namespace {

using flag = rt::atomic<rt::uint32>;

sim::Options quiet(int runs) { return {.runs = runs, .sysmon = false}; }

void sendersAndReceivers(std::size_t capacity) {
  flag sum{};
  run({.procs = 2}, [&] {
    chan<int> c(capacity);
    wait_group senders, receivers;
    for (int i = 0; i < 2; i++)
      senders.go([c, i] {
        for (int k = 0; k < 3; k++) c.send(1 + 3 * i + k);
      });
    for (int i = 0; i < 2; i++)
      receivers.go([&, c] {
        while (auto v = c.recv()) sum.add(rt::uint32(*v));
      });
    senders.wait();
    c.close();
    receivers.wait();
  });
  sim::require(sum.load() == 21, "a value was lost, or came twice");
}

TEST(Chan, HandsEachValueOverOnceAndWakesAllWhenItCloses) {
  sim::check(quiet(1000), [] { sendersAndReceivers(0); });
}

TEST(Chan, KeepsEachValueInItsBuffer) {
  sim::check(quiet(1000), [] { sendersAndReceivers(1); });
}

TEST(Select, OneOfSeveralSendersWinsAndNoValueIsLost) {
  sim::check(quiet(1500), [] {
    int sum = 0;
    run({.procs = 3}, [&] {
      chan<int> a, b;
      go([a] { a.send(1); });
      go([a, b] { select(on_send(a, 10), on_send(b, 100)); });
      go([b] { b.send(1000); });
      for (int i = 0; i < 3; i++)
        select(on_recv(a, [&](std::optional<int> v) { sum += v.value(); }),
               on_recv(b, [&](std::optional<int> v) { sum += v.value(); }));
    });
    sim::require(sum == 1011 || sum == 1101, "a value was lost, or came twice");
  });
}

TEST(Select, ATimeoutAndAPartnerNeverBothWin) {
  sim::check(quiet(1500), [] {
    int sent = 0, received = 0;
    run({.procs = 2}, [&] {
      chan<int> c;
      wait_group wg;
      wg.go([&, c] {
        for (int i = 0; i < 3; i++) {
          sleep_for(std::chrono::microseconds(3));
          select(on_send(c, 1, [&] { sent++; }), on_timeout(std::chrono::microseconds(4)));
        }
      });
      for (int i = 0; i < 3; i++)
        select(on_recv(c, [&](std::optional<int>) { received++; }), on_timeout(std::chrono::microseconds(4)));
      wg.wait();
    });
    sim::require(sent == received, "one side of a select communicated and the other did not");
  });
}

TEST(Sync, MutexCondSemaphoreAndOnceLoseNobody) {
  sim::check(quiet(1000), [] {
    int sum = 0, made = 0;
    run({.procs = 2}, [&] {
      mutex mu;
      cond changed;
      semaphore two(1);
      once first;
      wait_group wg;
      for (int i = 0; i < 3; i++)
        wg.go([&] {
          first.call([&] { made++; });
          two.acquire();
          {
            std::unique_lock<mutex> l(mu);
            sum++;
            changed.notify_one();
          }
          two.release();
        });
      std::unique_lock<mutex> l(mu);
      changed.wait(l, [&] { return sum == 3; });
      l.unlock();
      wg.wait();
    });
    sim::require(sum == 3 && made == 1, "an increment was lost, or the once ran twice");
  });
}

TEST(Sync, WhoLosesTheMutexIsWokenAgain) {
  sim::check(quiet(1000), [] {
    int sum = 0;
    run({.procs = 2}, [&] {
      mutex mu;
      wait_group wg;
      for (int i = 0; i < 3; i++)
        wg.go([&] {
          for (int k = 0; k < 3; k++) {
            std::lock_guard<mutex> guard(mu);
            int before = sum;
            yield();  // others come, and queue
            sum = before + 1;
          }
        });
      wg.wait();
    });
    sim::require(sum == 9, "two held the mutex at once");
  });
}

TEST(Sync, ReadersAndWritersExcludeEachOther) {
  sim::check(quiet(1000), [] {
    run({.procs = 3}, [&] {
      rw_mutex mu;
      flag readers{}, writers{};
      wait_group wg;
      for (int i = 0; i < 2; i++)
        wg.go([&] {
          for (int k = 0; k < 2; k++) {
            mu.lock_shared();
            readers.add(1);
            sim::require(writers.load() == 0, "a reader beside a writer");
            readers.add(rt::uint32(-1));
            mu.unlock_shared();
          }
        });
      for (int k = 0; k < 3; k++) {
        mu.lock();
        writers.add(1);
        sim::require(readers.load() == 0, "a writer beside a reader");
        writers.add(rt::uint32(-1));
        mu.unlock();
      }
      wg.wait();
    });
  });
}

TEST(Foreign, AThreadAndAGoroutineTalkThroughAChannel) {
  sim::check(quiet(1000), [] {
    int sum = 0;
    run({.procs = 2}, [&] {
      static chan<int>*to, *from;
      chan<int> a, b;
      to = &a;
      from = &b;
      sim::spawn("thread", [] {
        for (int i = 0; i < 3; i++) from->send(to->recv().value() * 2);
      });
      for (int i = 1; i <= 3; i++) {
        a.send(i);
        sum += b.recv().value();
      }
    });
    sim::require(sum == 12, "a message was lost");
  });
}

}  // namespace
