// Channels: what send, recv, close and the try_ operations promise, and where an element is on its way.
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "fixture.h"

using vitrine::chan;
using vitrine::chan_closed;
using vitrine::chan_status;
using vitrine::go;

namespace {

class Chan : public Goroutines {};

chan<int> madeBeforeRun(2);

TEST_F(Chan, UnbufferedSendWaitsForItsReceiver) {
  chan<int> c;
  std::atomic<bool> sent{false};
  startedparked(rt::waitReasonChanSend, [&, c] {
    c.send(7);
    sent = true;
  });
  EXPECT_FALSE(sent);
  EXPECT_EQ(c.recv(), 7);
  EXPECT_TRUE(eventually([&] { return sent.load(); }));
}

TEST_F(Chan, ReceiveWaitsForASender) {
  chan<int> c;
  std::atomic<int> got{0};
  startedparked(rt::waitReasonChanReceive, [&, c] { got = *c.recv(); });
  c.send(9);
  EXPECT_TRUE(eventually([&] { return got == 9; }));
}

TEST_F(Chan, ALiteralZeroIsACapacity) {
  chan<int> c(0);
  EXPECT_EQ(c.capacity(), 0u);
  EXPECT_FALSE(c.try_send(1));
}

TEST_F(Chan, BufferedSendsWaitOnlyWhenFull) {
  chan<int> c(3);
  EXPECT_EQ(c.capacity(), 3u);
  for (int i = 0; i < 3; i++) c.send(i);
  EXPECT_EQ(c.size(), 3u);
  EXPECT_FALSE(c.try_send(3));
  startedparked(rt::waitReasonChanSend, [c] { c.send(3); });
  for (int i = 0; i < 4; i++) EXPECT_EQ(c.recv(), i);
  EXPECT_EQ(c.size(), 0u);
}

TEST_F(Chan, ParkedSendersOfAFullChannelKeepTheOrder) {
  chan<int> c(2);
  c.send(0);
  c.send(1);
  for (int i = 2; i < 6; i++) startedparked(rt::waitReasonChanSend, [c, i] { c.send(i); });
  for (int i = 0; i < 6; i++) EXPECT_EQ(c.recv(), i);
}

TEST_F(Chan, ReceiversAreServedFirstComeFirstServed) {
  chan<int> c;
  std::vector<int> order(5, -1);
  vitrine::wait_group wg;
  for (int i = 0; i < 5; i++) {
    wg.add(1);
    startedparked(rt::waitReasonChanReceive, [&, c, i] {
      order[i] = *c.recv();
      wg.done();
    });
  }
  for (int i = 0; i < 5; i++) c.send(i);
  wg.wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_F(Chan, CloseWakesEveryReceiverWithNothing) {
  chan<int> c;
  std::atomic<int> empty{0};
  for (int i = 0; i < 4; i++) startedparked(rt::waitReasonChanReceive, [&, c] { empty += c.recv() == std::nullopt; });
  c.close();
  EXPECT_TRUE(c.closed());
  EXPECT_TRUE(eventually([&] { return empty == 4; }));
}

TEST_F(Chan, CloseWakesAParkedSenderWithAnException) {
  chan<std::unique_ptr<int>> c;
  std::atomic<bool> threw{false};
  startedparked(rt::waitReasonChanSend, [&, c] {
    try {
      c.send(std::make_unique<int>(1));
    } catch (const chan_closed& e) {
      threw = std::string(e.what()) == "send on closed channel";
    }
  });
  c.close();
  EXPECT_TRUE(eventually([&] { return threw.load(); }));
}

TEST_F(Chan, ClosedChannelIsDrainedFirst) {
  chan<int> c(3);
  c.send(1);
  c.send(2);
  c.close();
  EXPECT_THROW(c.send(3), chan_closed);
  EXPECT_THROW(c.try_send(3), chan_closed);
  EXPECT_THROW(c.close(), chan_closed);
  EXPECT_EQ(c.recv(), 1);
  int v = 0;
  EXPECT_EQ(c.try_recv(v), chan_status::ok);
  EXPECT_EQ(v, 2);
  EXPECT_EQ(c.try_recv(v), chan_status::closed);
  EXPECT_EQ(c.recv(), std::nullopt);
}

TEST_F(Chan, TryRecvTellsEmptyFromClosedAndLeavesTheValueAlone) {
  chan<int> c;
  int v = 5;
  EXPECT_EQ(c.try_recv(v), chan_status::empty);
  c.close();
  EXPECT_EQ(c.try_recv(v), chan_status::closed);
  EXPECT_EQ(v, 5);
}

TEST_F(Chan, TryRecvMissesNoValueSentBeforeClose) {
  for (int i = 0; i < (underTsan ? 200 : 5000); i++) {
    chan<int> c(1);
    go([c] {
      c.send(1);
      c.close();
    });
    int v = 0;
    chan_status status;
    while ((status = c.try_recv(v)) == chan_status::empty) vitrine::checkpoint();
    ASSERT_EQ(status, chan_status::ok);
    ASSERT_EQ(c.recv(), std::nullopt);
  }
}

TEST_F(Chan, TrySendMovesFromItsArgumentOnlyWhenTrue) {
  chan<std::unique_ptr<int>> c(1);
  auto p = std::make_unique<int>(1);
  EXPECT_TRUE(c.try_send(std::move(p)));
  EXPECT_EQ(p, nullptr);
  p = std::make_unique<int>(2);
  EXPECT_FALSE(c.try_send(std::move(p)));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(*p, 2);
}

TEST_F(Chan, TrySendFindsAParkedReceiver) {
  chan<int> c;
  EXPECT_FALSE(c.try_send(1));
  std::atomic<int> got{0};
  startedparked(rt::waitReasonChanReceive, [&, c] { got = *c.recv(); });
  EXPECT_TRUE(c.try_send(2));
  EXPECT_TRUE(eventually([&] { return got == 2; }));
}

TEST_F(Chan, TryRecvFindsAParkedSender) {
  chan<int> c;
  startedparked(rt::waitReasonChanSend, [c] { c.send(3); });
  int v = 0;
  EXPECT_EQ(c.try_recv(v), chan_status::ok);
  EXPECT_EQ(v, 3);
}

TEST_F(Chan, RangeForEndsWhenClosedAndDrained) {
  chan<std::string> c(4);
  go([c] {
    for (int i = 0; i < 100; i++) c.send(std::to_string(i));
    c.close();
  });
  int n = 0;
  for (const std::string& s : c) EXPECT_EQ(s, std::to_string(n++));
  EXPECT_EQ(n, 100);
}

TEST_F(Chan, MadeBeforeRunWorks) {
  madeBeforeRun.send(4);
  EXPECT_EQ(madeBeforeRun.recv(), 4);
}

TEST_F(Chan, CopiesOfAHandleNameOneChannel) {
  chan<int> a(1);
  chan<int> b = a, moved = std::move(a), other;
  other = b;
  other.send(6);
  EXPECT_EQ(moved.recv(), 6);
  EXPECT_TRUE(a.try_send(1)) << "a moved-from handle still names its channel";
}

// Counts constructions, moves and destructions.
struct counted {
  static inline std::atomic<int> live{0}, moves{0};
  int v;
  explicit counted(int n) : v(n) { live++; }
  counted(counted&& o) noexcept : v(std::exchange(o.v, -1)) {
    live++;
    moves++;
  }
  counted& operator=(counted&&) noexcept = default;
  ~counted() { live--; }
};

TEST_F(Chan, LastHandleDestroysWhatIsLeft) {
  counted::live = 0;
  {
    chan<counted> c(8);
    for (int i = 0; i < 6; i++) c.send(counted(i));
    c.recv();
    c.recv();
    for (int i = 0; i < 3; i++) c.send(counted(i));  // wraps around
    EXPECT_EQ(counted::live, 7);
  }
  EXPECT_EQ(counted::live, 0);
}

TEST_F(Chan, ElementGoesStraightIntoTheParkedReceiversFrame) {
  chan<counted> c(4);
  counted::live = counted::moves = 0;
  std::atomic<int> got{0};
  rt::g* gp = startedparked(rt::waitReasonChanReceive, [&, c] { got = c.recv()->v; });
  rt::sudog* sg = gp->waiting;
  ASSERT_NE(sg, nullptr);
  EXPECT_EQ(sg->g, gp);
  EXPECT_EQ(sg->c, gp->waitobject);
  if (!underAsan) {
    EXPECT_GE(std::uintptr_t(sg->elem), gp->stack.lo);
    EXPECT_LT(std::uintptr_t(sg->elem), gp->stack.hi);
  }
  c.send(counted(8));
  EXPECT_TRUE(eventually([&] { return got == 8; }));
  EXPECT_EQ(counted::moves, 2) << "once across the stacks, once into the optional";
  EXPECT_TRUE(eventually([] { return counted::live == 0; }));
}

struct alignas(64) wide {
  std::uint64_t v[8];
};

TEST_F(Chan, OverAlignedElementsStayAligned) {
  static std::atomic<int> misaligned{0};
  struct checked : wide {
    checked() { note(); }
    checked(checked&& o) noexcept : wide(o) { note(); }
    void note() { misaligned += std::uintptr_t(this) % 64 != 0; }
  };
  chan<checked> c(5);
  for (int i = 0; i < 5; i++) c.send(checked());
  for (int i = 0; i < 5; i++) c.recv();
  EXPECT_EQ(misaligned, 0);
}

TEST_F(Chan, ThrowingCopyLeavesTheChannelAlone) {
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::runtime_error("copy"); }
    thrower(thrower&&) noexcept {}
  };
  chan<thrower> c(1);
  thrower t;
  EXPECT_THROW(c.try_send(t), std::runtime_error);
  EXPECT_EQ(c.size(), 0u);
  EXPECT_TRUE(c.try_send(thrower()));
}

TEST_F(Chan, ImpossibleCapacityThrows) { EXPECT_THROW(chan<int> c(SIZE_MAX / 2), std::length_error); }

struct node {
  chan<node> reply;
  int v;
};

TEST_F(Chan, ElementMayHoldChannelsOfItsOwnType) {
  chan<node> c(1);
  c.send(node{chan<node>(1), 1});
  node n = *c.recv();
  n.reply.send(node{c, 2});
  EXPECT_EQ(n.reply.recv()->v, 2);
}

TEST_F(Chan, TypeDescriptorNamesTheElement) {
  const rt::chantype& t = rt::chantypeof<std::unique_ptr<int>>;
  EXPECT_NE(std::string(t.name.str, t.name.len).find("unique_ptr<int"), std::string::npos);
  EXPECT_EQ(t.size, sizeof(void*));
  EXPECT_NE(t.move, nullptr);
  EXPECT_EQ(rt::chantypeof<int>.move, nullptr);
  EXPECT_EQ(std::string(rt::chantypeof<int>.name.str, rt::chantypeof<int>.name.len), "int");
}

TEST_F(Chan, ForeignThreadMaySendAndReceiveWhatNeedsNoWait) {
  chan<int> c(2), parkedOn;
  std::atomic<int> got{0};
  startedparked(rt::waitReasonChanReceive, [&, parkedOn] { got = *parkedOn.recv(); });
  std::thread([=] {
    c.send(1);
    parkedOn.send(2);
  }).join();
  EXPECT_EQ(c.recv(), 1);
  EXPECT_TRUE(eventually([&] { return got == 2; }));
  c.send(5);
  int v = 0;
  std::thread([&, c] { v = *c.recv(); }).join();
  EXPECT_EQ(v, 5);
}

TEST_F(Chan, HandleMayDieAsSoonAsTheLastValueIsThere) {
  for (int i = 0; i < 2000; i++) {
    chan<int> c;
    go([&c, i] { c.send(i); });
    ASSERT_EQ(c.recv(), i);
  }
}

TEST_F(Chan, WaitersOutliveTheLastHandle) {
  rt::g* gp;
  rt::hchan* c;
  {
    auto handle = std::make_unique<chan<int>>();
    gp = startedparked(rt::waitReasonChanReceive, [p = handle.get()] { EXPECT_EQ(p->recv(), std::nullopt); });
    c = static_cast<rt::hchan*>(gp->waitobject);
  }
  EXPECT_TRUE(parked(gp, rt::waitReasonChanReceive));
  EXPECT_EQ(c->recvq.first, gp->waiting) << "the channel is left to who waits on it";
  rt::closechan(c);
  EXPECT_TRUE(eventually([] { return rt::gcount() == 1; }));
  rt::heldfree(c, 16);
}

TEST_F(Chan, EveryValueArrivesOnceWhateverTheCapacity) {
  constexpr int producers = 4, consumers = 3, each = underTsan ? 500 : 5000;
  for (std::size_t capacity : {0, 1, 7, 1024}) {
    chan<int> c(capacity);
    vitrine::wait_group sending, receiving;
    std::vector<std::atomic<int>> seen(producers * each);
    for (int p = 0; p < producers; p++)
      sending.go([&, p] {
        for (int i = 0; i < each; i++) c.send(p * each + i);
      });
    for (int k = 0; k < consumers; k++)
      receiving.go([&] {
        for (int v : c) seen[v]++;
      });
    sending.wait();
    c.close();
    receiving.wait();
    for (auto& n : seen) ASSERT_EQ(n, 1);
  }
}

}  // namespace
