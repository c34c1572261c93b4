// The flight recorder: what a known program leaves in the rings, in order, and that a reader which copies a ring while
// its M writes accepts whole records only.
#include <algorithm>
#include <map>
#include <vector>

#include "fixture.h"
#include "proc.h"

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"  // it does not model fences; all words are read atomically
#endif

namespace recorder = vitrine::runtime::recorder;

namespace {

constexpr std::uint64_t goidMask = (std::uint64_t(1) << rt::traceSeqShift) - 1;

struct Read {
  std::vector<std::pair<std::uint64_t, rt::traceRecord>> records;  // by number
  std::uint64_t torn = 0;                                          // within the limits of the protocol, and wrong
};

// As trace.cc tells readers to.
Read readring(rt::traceBuf* b) {
  Read out;
  const std::uint64_t size = b->mask + 1, h0 = b->head.load(__ATOMIC_ACQUIRE);
  std::vector<rt::traceRecord> copy(size);
  for (std::uint64_t i = 0; i < size; i++)
    copy[i] = {rt::load_relaxed(b->records[i].time), rt::load_relaxed(b->records[i].g),
               rt::load_relaxed(b->records[i].other), rt::load_relaxed(b->records[i].what)};
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  const std::uint64_t h1 = b->head.load(__ATOMIC_RELAXED);
  const std::uint64_t lo = std::max(h1 + 1 > size ? h1 + 1 - size : 0, rt::load_relaxed(b->first));
  for (std::uint64_t i = lo; i < h0; i++) {
    rt::traceRecord r = copy[i & b->mask];
    if (rt::tracecheck(i, r) != r.what >> 32)
      out.torn++;
    else
      out.records.push_back({i, r});
  }
  return out;
}

// The rings of the recording that is on.
std::vector<rt::traceBuf*> rings() {
  std::vector<rt::traceBuf*> out;
  for (rt::traceBuf* b = __atomic_load_n(&rt::trace.bufs, __ATOMIC_ACQUIRE); b != nullptr; b = b->alllink)
    if (rt::load_relaxed(b->gen) == rt::trace.enabled.load()) out.push_back(b);
  return out;
}

class Recorder : public Goroutines {
 protected:
  void TearDown() override {
    recorder::stop();
    Goroutines::TearDown();
  }
};

// What happened to a goroutine, out of all rings: by its event numbers.
std::map<std::uint32_t, std::string> life(std::uint64_t goid) {
  std::map<std::uint32_t, std::string> out;
  auto add = [&](std::uint64_t g, std::string what) {
    if ((g & goidMask) == goid) out[std::uint32_t(g >> rt::traceSeqShift)] += what;
  };
  for (rt::traceBuf* b : rings()) {
    for (auto& [n, r] : readring(b).records) {
      const auto kind = rt::traceEv(r.what & 0x7f);
      const std::string reason = std::to_string(r.what >> 8 & 0xff);
      const bool stops = kind >= rt::traceEvGoStop && kind <= rt::traceEvGoDestroy;
      if (kind == rt::traceEvGoCreate) add(r.g, "create");
      if (kind == rt::traceEvGoStart) add(r.g, "start");
      if (kind == rt::traceEvGoStop) add(r.g, "stop " + reason);
      if (kind == rt::traceEvGoBlock) add(r.g, "block " + reason);
      if (kind == rt::traceEvGoDestroy) add(r.g, "destroy");
      if (kind == rt::traceEvGoUnblock) add(r.g, "unblock by " + std::to_string(r.other & goidMask));
      if (kind == rt::traceEvGoSyscallBegin) add(r.g, "syscall");
      if (kind == rt::traceEvGoSyscallEnd) add(r.g, "back");
      if (kind == rt::traceEvGoSyscallEndBlocked) add(r.g, "back, queued");
      if (stops && r.other != 0) add(r.other, "start");
      if (r.what & rt::traceEvReadied)
        add(r.other - (std::uint64_t(1) << rt::traceSeqShift), "unblock by " + std::to_string(r.g & goidMask));
    }
  }
  return out;
}

std::vector<std::string> texts(const std::map<std::uint32_t, std::string>& events) {
  std::vector<std::string> out;
  for (auto& [seq, text] : events) out.push_back(text);
  return out;
}

TEST_F(Recorder, TellsTheLifeOfAGoroutineInOrder) {
  recorder::start();
  vitrine::chan<int> c;
  std::atomic<std::uint64_t> id{0};
  rt::g* gp = startedparked(rt::waitReasonChanReceive, [&] {
    id = vitrine::goid();
    c.recv();
  });
  c.send(1);
  ASSERT_TRUE(eventually([&] { return rt::readgstatus(gp) == rt::Gdead; }));
  // The record of the end comes with the next start on that M, or with its search for one.
  ASSERT_TRUE(eventually([&] { return life(id).contains(6); }));
  const std::string me = std::to_string(vitrine::goid());
  EXPECT_EQ(texts(life(id)),
            (std::vector<std::string>{"create", "start", "block " + std::to_string(rt::waitReasonChanReceive),
                                      "unblock by " + me, "start", "destroy"}));
}

TEST_F(Recorder, TellsYieldsSystemCallsAndSleeps) {
  recorder::start();
  std::atomic<std::uint64_t> id{0};
  std::atomic<bool> done{false};
  vitrine::go([&] {
    id = vitrine::goid();
    rt::switch_to_g0([](rt::g* gp) {
      // A yield that is one even with nobody else about.
      rt::san_arrived(rt::getg());
      rt::traceGoSched(gp);
      rt::casgstatus(gp, rt::Grunning, rt::Grunnable);
      rt::dropg(gp);
      rt::lock(&rt::sched.lock);
      rt::globrunqput(gp);
      rt::unlock(&rt::sched.lock);
      rt::schedule();
    });
    { vitrine::blocking_scope away; }
    vitrine::sleep_for(1ms);
    done = true;
  });
  ASSERT_TRUE(eventually([&] { return done && life(id).size() >= 10; }));
  auto events = texts(life(id));
  if (events.size() > 5 && events[5] == "back, queued") events[5] = "back", events.erase(events.begin() + 6);
  // A preemption may come in between on a slow machine.
  for (std::size_t i = 0; i + 1 < events.size(); i++)
    if (events[i] == "stop " + std::to_string(rt::waitReasonPreempted))
      events.erase(events.begin() + std::ptrdiff_t(i), events.begin() + std::ptrdiff_t(i) + 2), i--;
  EXPECT_EQ(events, (std::vector<std::string>{"create", "start", "stop 0", "start", "syscall", "back",
                                              "block " + std::to_string(rt::waitReasonSleep), "unblock by 0", "start",
                                              "destroy"}));
}

TEST_F(Recorder, ANewRecordingForgetsTheOldOne) {
  recorder::start();
  vitrine::go([] {});
  recorder::stop();
  EXPECT_EQ(recorder::size(), 0u);
  recorder::start(1000);
  EXPECT_EQ(recorder::size(), 4096u);
  recorder::start(1 << 20);  // it is on: no change
  EXPECT_EQ(recorder::size(), 4096u);
  vitrine::yield();
  for (rt::traceBuf* b : rings()) {
    Read r = readring(b);
    if (r.records.empty()) continue;
    EXPECT_EQ(r.records[0].second.what & 0xff, rt::traceEvThread);
    EXPECT_EQ(std::int64_t(r.records[0].second.g), rt::load_relaxed(b->mid));
  }
}

// Each writer's records are a function of their numbers: the second log.
rt::traceRecord logged(std::uint64_t i) {
  const std::uint64_t x = i * 0x9e3779b97f4a7c15;
  return {x, x >> 7, ~x, (x >> 32) & 0xffffffff};
}

TEST_F(Recorder, AReaderOfARingThatIsWrittenAcceptsWholeRecordsOnly) {
  constexpr int writers = 3;
  std::vector<rt::traceRecord> slots[writers];
  rt::traceBuf bufs[writers]{};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; w++) {
    slots[w].resize(std::size_t(8) << (3 * w));
    bufs[w].records = slots[w].data();
    bufs[w].mask = slots[w].size() - 1;
    threads.emplace_back([&, w] {
      while (!stop) rt::tracewrite(&bufs[w], logged(bufs[w].head.load(__ATOMIC_RELAXED)));
    });
  }
  std::uint64_t accepted = 0;
  std::uint64_t torn = 0;
  for (int i = 0; i < (underTsan ? 300 : 4'000) || accepted == 0; i++)
    for (rt::traceBuf& b : bufs) {
      Read r = readring(&b);
      torn += r.torn;
      for (auto& [n, record] : r.records) {
        const rt::traceRecord want = logged(n);
        if (record.time != want.time || record.g != want.g || record.other != want.other ||
            std::uint32_t(record.what) != want.what) {
          stop = true;
          ADD_FAILURE() << "record " << n << " of a ring of " << b.mask + 1 << " is not what was written";
        }
        accepted++;
      }
    }
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_GT(accepted, 0u);
  EXPECT_EQ(torn, 0u) << "of " << accepted;
}

TEST_F(Recorder, ACopyWithoutCareIsCaughtByTheChecks) {
  // Any mixture of two records of one slot, and one of another round.
  const std::uint64_t size = 64;
  for (std::uint64_t i = 0; i < 1000; i++) {
    rt::traceRecord a = logged(i), b = logged(i + size);
    a.what |= std::uint64_t(rt::tracecheck(i, a)) << 32;
    b.what |= std::uint64_t(rt::tracecheck(i + size, b)) << 32;
    for (int mix = 0; mix < 15; mix++) {  // 15: all of b
      rt::traceRecord r{mix & 1 ? b.time : a.time, mix & 2 ? b.g : a.g, mix & 4 ? b.other : a.other,
                        mix & 8 ? b.what : a.what};
      EXPECT_NE(rt::tracecheck(i + size, r), r.what >> 32) << i << " " << mix;
      if (mix == 0) continue;  // all of a
      EXPECT_NE(rt::tracecheck(i, r), r.what >> 32) << i << " " << mix;
    }
  }
}

// Each worker logs in which order the token came; the rings are read by a thread that is no M meanwhile.
TEST_F(Recorder, WhatAllMsWroteAgreesWithTheProgramsOwnLog) {
  recorder::start(1 << 20);
  constexpr int workers = 8;
  const int rounds = underTsan ? 50 : 300;
  std::vector<vitrine::chan<int>> to(workers);
  std::vector<std::uint64_t> ids(workers);
  std::vector<std::uint64_t> log;  // who had the token; guarded by the token
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> torn{0}, seen{0};
  std::thread reader([&] {
    while (!stop)
      for (rt::traceBuf* b : rings()) {
        Read r = readring(b);
        torn += r.torn;
        seen += r.records.size();
      }
  });
  vitrine::wait_group all, busy;
  std::atomic<bool> over{false};
  for (int i = 0; i < 3; i++)
    busy.go([&] {
      while (!over) vitrine::yield();
    });
  for (int i = 0; i < workers; i++)
    all.go([&, i] {
      ids[i] = vitrine::goid();
      for (int k = 0; k < rounds; k++) {
        to[i].recv();
        log.push_back(vitrine::goid());
        if (i + 1 < workers || k + 1 < rounds) to[(i + 1) % workers].send(0);
      }
    });
  to[0].send(0);
  all.wait();
  over = true;
  busy.wait();
  ASSERT_TRUE(eventually([&] { return seen > 0; }));
  stop = true;
  reader.join();
  recorder::stop();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(log.size(), std::size_t(workers * rounds));
  // Every goroutine's events are numbered without a gap, and each is one that may follow the one before.
  for (std::uint64_t id : ids) {
    std::uint32_t next = 1;
    std::string before = "unblock";
    int blocks = 0;
    rt::trace.enabled.store(rt::trace.ngen);  // life() looks at the recording that is on
    auto events = life(id);
    rt::trace.enabled.store(0);
    for (auto& [seq, text] : events) {
      ASSERT_EQ(seq, next++) << "goroutine " << id << " after " << before;
      const bool queued = before.starts_with("unblock") || before == "create" || before.starts_with("stop");
      const bool fits = seq == 1                      ? text == "create"
                        : text == "start"             ? queued
                        : text.starts_with("unblock") ? before.starts_with("block")
                                                      : before == "start";
      EXPECT_TRUE(fits) << before << ", then " << text;
      if (text == "block " + std::to_string(rt::waitReasonChanReceive)) blocks++;
      before = text;
    }
    EXPECT_LE(blocks, rounds);
    EXPECT_GT(blocks, 0);
  }
}

}  // namespace
