// rw_mutex.
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "fixture.h"

using vitrine::rw_mutex;
using vitrine::wait_group;

namespace {

class RWMutex : public Goroutines {};

const rt::syncRWMutex& shape(const rw_mutex& m) { return reinterpret_cast<const rt::syncRWMutex&>(m); }
std::uint32_t readers(const rw_mutex& m) { return std::uint32_t(shape(m).state.load() >> 32); }

constinit rw_mutex global;

// A pair that a writer changes in two steps: a reader that sees it uneven was not kept out.
struct pair {
  rw_mutex m;
  long a = 0, b = 0;
  std::atomic<long> torn{0}, reads{0};

  void write() {
    std::unique_lock lock(m);
    a++;
    if (a % 64 == 0) vitrine::yield();
    b++;
  }
  void read() {
    std::shared_lock lock(m);
    long x = a;
    if (++reads % 64 == 0) vitrine::yield();
    torn += x != b;
  }
};

TEST_F(RWMutex, ReadersShareAndWritersDoNot) {
  std::shared_lock first(global);
  EXPECT_TRUE(vitrine::spawn([] { return global.try_lock_shared() && (global.unlock_shared(), true); }).get());
  EXPECT_FALSE(global.try_lock());
  first.unlock();
  std::unique_lock writer(global);
  EXPECT_EQ(shape(global).owner, vitrine::goid());
  EXPECT_FALSE(global.try_lock());
  EXPECT_FALSE(global.try_lock_shared());
  writer.unlock();
  EXPECT_EQ(shape(global).owner, 0u);
  EXPECT_EQ(shape(global).state.load(), 0u);
  EXPECT_TRUE(global.try_lock());
  global.unlock();
}

TEST_F(RWMutex, KeepsWritersApartAndReadersOutUnderContention) {
  pair p;
  wait_group wg;
  std::vector<std::thread> threads;
  constexpr int each = underTsan ? 200 : 2000;
  for (int i = 0; i < 24; i++)
    wg.go([&, i] {
      for (int k = 0; k < each; k++) (k + i) % 5 == 0 ? p.write() : p.read();
    });
  for (int i = 0; i < 2; i++)
    threads.emplace_back([&, i] {
      for (int k = 0; k < each; k++) (k + i) % 3 == 0 ? p.write() : p.read();
    });
  wg.wait();
  for (auto& t : threads) t.join();
  EXPECT_EQ(p.torn, 0);
  EXPECT_EQ(p.a, p.b);
  EXPECT_EQ(p.a + p.reads, 26 * each);
  EXPECT_EQ(shape(p.m).state.load(), 0u) << "nothing is left in the word";
  EXPECT_EQ(shape(p.m).writers.state.load(), 0u);
}

TEST_F(RWMutex, AWaitingWriterStopsNewReadersAndALeavingOneLetsThemIn) {
  rw_mutex m;
  wait_group wg;
  std::atomic<int> in{0};
  std::atomic<bool> writing{false};
  vitrine::chan<int> leave;
  m.lock_shared();
  wg.add(4);
  rt::g* writer = startedparked(rt::waitReasonSyncRWMutexLock, [&] {
    m.lock();
    EXPECT_EQ(in, 0);
    writing = true;
    leave.recv();
    m.unlock();
    wg.done();
  });
  EXPECT_EQ(writer->waitobject, &m);
  EXPECT_EQ(shape(m).writeq.first->g, writer);
  EXPECT_EQ(readers(m), 1u);
  EXPECT_FALSE(m.try_lock_shared());
  for (int i = 0; i < 3; i++) {
    rt::g* reader = startedparked(rt::waitReasonSyncRWMutexRLock, [&] {
      m.lock_shared();
      in++;
      leave.recv();
      m.unlock_shared();
      wg.done();
    });
    EXPECT_EQ(reader->waitobject, &m);
    EXPECT_EQ(shape(m).readq.last->g, reader);
  }
  EXPECT_EQ(readers(m), 1u) << "who waits does not hold it";
  m.unlock_shared();
  EXPECT_TRUE(eventually([&] { return writing.load(); }));
  EXPECT_EQ(shape(m).owner, writer->goid);
  EXPECT_EQ(in, 0);
  // The next writer waits behind the readers that were there before.
  wg.add(1);
  rt::g* next = startedparked(rt::waitReasonSyncRWMutexLock, [&] {
    m.lock();
    EXPECT_EQ(in, 3);
    m.unlock();
    wg.done();
  });
  EXPECT_EQ(next->waitobject, &m);
  EXPECT_EQ(shape(m).writers.waitq.first->g, next);
  leave.send(0);
  EXPECT_TRUE(eventually([&] { return in == 3; })) << "all readers that waited are let in at once";
  EXPECT_EQ(readers(m), 3u);
  for (int i = 0; i < 3; i++) leave.send(0);
  wg.wait();
  EXPECT_EQ(shape(m).state.load(), 0u);
}

TEST_F(RWMutex, ReadersThatOverlapForeverDoNotStarveAWriter) {
  rw_mutex m;
  std::atomic<bool> got{false}, stop{false};
  std::atomic<int> inside{0};
  wait_group wg;
  for (int i = 0; i < 3; i++)
    wg.go([&] {
      while (!stop) {
        std::shared_lock lock(m);
        inside++;
        // Leaves only when another is inside, so that there is always one, while no writer stops new ones.
        for (int k = 0; k < 100 && inside < 2; k++) vitrine::yield();
        inside--;
      }
    });
  wg.go([&] {
    std::unique_lock lock(m);
    got = true;
  });
  EXPECT_TRUE(eventually([&] { return got.load(); }));
  stop = true;
  wg.wait();
}

TEST_F(RWMutex, WritersThatFollowEachOtherDoNotStarveAReader) {
  rw_mutex m;
  std::atomic<int> got{0};
  std::atomic<bool> stop{false};
  wait_group wg;
  for (int i = 0; i < 3; i++)
    wg.go([&] {
      while (!stop) {
        std::unique_lock lock(m);
        vitrine::yield();
      }
    });
  for (int i = 0; i < 4; i++)
    wg.go([&] {
      for (int k = 0; k < 50; k++) std::shared_lock lock(m);
      got++;
    });
  EXPECT_TRUE(eventually([&] { return got == 4; }));
  stop = true;
  wg.wait();
}

TEST_F(RWMutex, AForeignWriterIsNamed) {
  rw_mutex m;
  std::atomic<std::uint64_t> id{0};
  std::atomic<bool> go{false};
  std::thread t([&] {
    std::unique_lock lock(m);
    id = rt::callergoid();
    while (!go) std::this_thread::yield();
  });
  EXPECT_TRUE(eventually([&] { return id != 0; }));
  EXPECT_EQ(shape(m).owner, id);
  go = true;
  t.join();
}

}  // namespace
