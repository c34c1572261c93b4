// mix_wait.cc: what waits for each other.
//
//   market      goroutines and threads that pass 40 goods over four channels by select: several cases on both sides,
//               timeouts, `otherwise`
//   broadcasts  a channel that is closed while others select on it
//   readers     an rw_mutex: readers never see half of a writer's work
//   queues      a bounded queue made of a mutex and two conds, some waits with a timeout
//   onces       many callers of one once, whose function sometimes throws
//   permits     a semaphore of three, taken by one to three, some with a timeout
//   exceptions  thrown, caught, rethrown and passed on, with waits in handlers and in destructors
#include <array>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>

#include "mix.h"

namespace mix {

using namespace std::chrono_literals;

// ---- market

namespace {

constexpr int kGoods = 40, kTraders = 12, kThreads = 2;
constexpr std::uint64_t kAllGoods = (std::uint64_t{1} << kGoods) - 1;
vitrine::chan<int> stalls[4] = {vitrine::chan<int>(0), vitrine::chan<int>(1), vitrine::chan<int>(3),
                                vitrine::chan<int>(64)};
std::atomic<int> traders_left{kTraders + kThreads};
std::atomic<std::uint64_t> found;  // a bit for each good

void keep(int good) {
  const std::uint64_t bit = std::uint64_t{1} << good;
  require((found.fetch_or(bit) & bit) == 0, market, "no good is there twice", good);
}

void trader(Dice dice) {
  std::array<int, 3> stock;
  std::size_t n = 0;
  auto take = [&](std::optional<int> good) {
    require(good.has_value(), market, "a channel that nobody closed is open");
    stock[n++] = *good;
  };
  auto& [a, b, c, d] = stalls;
  while (!over()) {
    auto sold = [&] { --n; };
    if (n == 0) {
      vitrine::select(vitrine::on_recv(a, take), vitrine::on_recv(b, take), vitrine::on_recv(c, take),
                      vitrine::on_recv(d, take), vitrine::on_timeout(dice.up_to(2000us), [] {}));
    } else if (n == stock.size()) {
      vitrine::select(vitrine::on_send(a, stock[n - 1], sold), vitrine::on_send(b, stock[n - 1], sold),
                      vitrine::on_send(c, stock[n - 1], sold), vitrine::on_send(d, stock[n - 1], sold),
                      vitrine::on_timeout(dice.up_to(2000us), [] {}));
    } else if (dice.one_in(3)) {
      vitrine::select(vitrine::on_send(b, stock[n - 1], sold), vitrine::on_recv(c, take), vitrine::otherwise([] {}));
    } else {
      vitrine::select(vitrine::on_recv(a, take), vitrine::on_send(b, stock[n - 1], sold), vitrine::on_recv(c, take),
                      vitrine::on_send(d, stock[n - 1], sold), vitrine::on_recv(b, take),
                      vitrine::on_timeout(dice.up_to(500us), [] {}));
    }
    market.turn();
    if (dice.one_in(8)) vitrine::yield();
    if (dice.one_in(100)) vitrine::sleep_for(dice.up_to(1000us));
  }
  while (n > 0) keep(stock[--n]);
  if (--traders_left != 0) return;
  for (auto& stall : stalls)
    for (int good; stall.try_recv(good) == vitrine::chan_status::ok;) keep(good);
}

}  // namespace

Group market{"market", [] {
               require(found == kAllGoods, market, "every good is found again", static_cast<std::int64_t>(found.load()),
                       static_cast<std::int64_t>(kAllGoods));
             }};

// ---- broadcasts

Group broadcasts{"broadcasts"};

static void broadcaster(Dice dice) {
  const vitrine::chan<int> never;
  while (!over()) {
    const vitrine::chan<int> news;
    vitrine::wait_group all;
    std::atomic<int> told{0};
    const int listeners = 1 + static_cast<int>(dice(6));
    for (int i = 0; i < listeners; ++i)
      all.go([&] {
        vitrine::select(vitrine::on_recv(never, [](auto) { lost(broadcasts, "nothing comes from nowhere", 0, 0); }),
                        vitrine::on_recv(news, [&](auto v) { told += !v.has_value(); }));
      });
    vitrine::sleep_for(dice.up_to(1000us));
    vitrine::chan<int>(news).close();
    all.wait();
    require(told == listeners, broadcasts, "all hear of a close", told, listeners);
    broadcasts.turn();
  }
}

// ---- readers

namespace {

vitrine::rw_mutex book;
std::int64_t pages, copies;  // by book
std::atomic<std::int64_t> written;

void reader(Dice dice) {
  while (!over()) {
    {
      std::shared_lock hold(book, std::defer_lock);
      if (!dice.one_in(6))
        hold.lock();
      else if (!hold.try_lock())
        continue;
      const std::int64_t p = pages;
      if (dice.one_in(40)) vitrine::sleep_for(20us);
      require(p == copies, readers, "a reader sees whole writes", p, copies);
    }
    readers.turn();
    if (dice.one_in(3)) vitrine::yield();
    compute(dice(3000));
  }
}

void writer(Dice dice) {
  while (!over()) {
    {
      std::unique_lock hold(book, std::defer_lock);
      if (!dice.one_in(6))
        hold.lock();
      else if (!hold.try_lock())
        continue;
      ++pages;
      if (dice.one_in(10)) vitrine::yield();
      ++copies;
      ++written;
    }
    vitrine::sleep_for(dice.up_to(300us));
  }
}

}  // namespace

Group readers{"readers", [] { require(pages == written, readers, "each write was alone", pages, written); }};

// ---- queues

namespace {

constexpr std::size_t kRoom = 8;
vitrine::mutex desk;
vitrine::cond filled, drained;
std::deque<std::int64_t> letters;  // by desk, as the next
int writers_left = 3;
std::atomic<std::int64_t> posted, delivered;

void poster(Dice dice) {
  std::int64_t mine = 0;
  while (!over()) {
    std::unique_lock hold(desk);
    if (dice.one_in(4)) {
      if (!drained.wait_for(hold, dice.up_to(500us), [] { return letters.size() < kRoom; })) continue;
    } else {
      drained.wait(hold, [] { return letters.size() < kRoom; });
    }
    require(letters.size() < kRoom, queues, "a queue has its room", static_cast<std::int64_t>(letters.size()), kRoom);
    const auto letter = static_cast<std::int64_t>(dice(1000));
    letters.push_back(letter);
    mine += letter;
    filled.notify_one();
    hold.unlock();
    if (dice.one_in(20)) vitrine::sleep_for(dice.up_to(200us));
  }
  posted += mine;
  std::lock_guard hold(desk);
  if (--writers_left == 0) filled.notify_all();
}

void postman(Dice dice) {
  std::int64_t mine = 0;
  for (;;) {
    std::unique_lock hold(desk);
    while (letters.empty() && writers_left != 0) {
      if (dice.one_in(4))
        filled.wait_for(hold, dice.up_to(500us));
      else
        filled.wait(hold);
    }
    if (letters.empty()) break;
    mine += letters.front();
    letters.pop_front();
    drained.notify_one();
    queues.turn();
  }
  delivered += mine;
  drained.notify_all();
}

}  // namespace

Group queues{"queues", [] { require(posted == delivered, queues, "all letters arrive", posted, delivered); }};

// ---- onces

Group onces{"onces"};

static void callers(Dice dice) {
  while (!over()) {
    vitrine::once first;
    std::atomic<int> ran{0}, threw{0};
    vitrine::wait_group all;
    const int n = 1 + static_cast<int>(dice(10));
    for (int i = 0; i < n; ++i)
      all.go([&, fails = dice.one_in(3), waits = dice.one_in(2)] {
        try {
          first.call([&] {
            if (waits) vitrine::sleep_for(20us);
            if (fails) throw std::runtime_error("once");
            ++ran;
          });
          require(ran == 1, onces, "who comes back finds it done", ran);
        } catch (const std::runtime_error&) {
          ++threw;
        }
      });
    all.wait();
    require(ran == (threw < n ? 1 : 0), onces, "a once runs once", ran, threw);
    onces.turn();
    vitrine::sleep_for(dice.up_to(500us));
  }
}

// ---- permits

namespace {

constexpr int kPermits = 3;
vitrine::semaphore gate(kPermits);
std::atomic<int> inside;

void visitor(Dice dice) {
  while (!over()) {
    const int n = 1 + static_cast<int>(dice(kPermits));
    if (!dice.one_in(3))
      gate.acquire(n);
    else if (!gate.try_acquire_for(dice.up_to(300us), n))
      continue;
    const int now = inside += n;
    require(now <= kPermits, permits, "no more are inside than may be", now);
    if (dice.one_in(8))
      vitrine::sleep_for(dice.up_to(100us));
    else if (dice.one_in(2))
      vitrine::yield();
    inside -= n;
    gate.release(n);
    permits.turn();
  }
}

}  // namespace

Group permits{"permits", [] {
                require(gate.available() == kPermits, permits, "every permit is back", gate.available(), kPermits);
              }};

// ---- exceptions

Group exceptions{"exceptions"};

namespace {

void wait_somehow(Dice& dice) {
  switch (dice(3)) {
    case 0:
      return vitrine::yield();
    case 1:
      return vitrine::sleep_for(dice.up_to(300us));
    default:
      vitrine::chan<int> c;
      vitrine::go([c] { c.send(1); });
      c.recv();
  }
}

struct WaitsWhenItGoes {
  Dice& dice;
  ~WaitsWhenItGoes() {
    const int before = std::uncaught_exceptions();
    wait_somehow(dice);
    require(std::uncaught_exceptions() == before && before == 1, exceptions, "one exception is under way", before);
  }
};

void throws(Dice& dice, const std::string& what, int depth) {
  WaitsWhenItGoes here{dice};
  if (depth > 0) throws(dice, what, depth - 1);
  throw std::runtime_error(what);
}

void is(const std::exception& e, const std::string& what) {
  require(e.what() == what, exceptions, "an exception is the one that was thrown");
}

void thrower(Dice dice, int number) {
  const vitrine::chan<std::exception_ptr> passed;
  for (int turn = 0; !over(); ++turn) {
    const std::string what = std::to_string(number) + "." + std::to_string(turn);
    try {
      try {
        throws(dice, what, static_cast<int>(dice(4)));
      } catch (const std::exception& e) {
        wait_somehow(dice);
        is(e, what);
        try {
          throws(dice, what + " inner", 0);
        } catch (const std::exception& inner) {
          wait_somehow(dice);
          is(inner, what + " inner");
        }
        is(e, what);
        throw;
      }
    } catch (const std::exception& e) {
      is(e, what);
      vitrine::go([passed, p = std::current_exception()] { passed.send(p); });
      wait_somehow(dice);
    }
    require(std::uncaught_exceptions() == 0, exceptions, "no exception is left");
    const auto p = *passed.recv();
    try {
      std::rethrow_exception(p);
    } catch (const std::exception& e) {
      wait_somehow(dice);
      is(e, what);
    }
    exceptions.turn();
  }
}

}  // namespace

void start_wait() {
  start(market, [] {
    for (int i = 0; i < kGoods; ++i) stalls[3].send(i);
  });
  for (std::uint64_t i = 1; i <= kTraders; ++i) start(market, [i] { trader(Dice(i)); });
  for (std::uint64_t i = 1; i <= kThreads; ++i) start_thread([i] { trader(Dice(100 + i)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(broadcasts, [i] { broadcaster(Dice(i)); });
  for (std::uint64_t i = 1; i <= 6; ++i) start(readers, [i] { reader(Dice(i)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(readers, [i] { writer(Dice(100 + i)); });
  start_thread([] { reader(Dice(200)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(queues, [i] { poster(Dice(i)); });
  start_thread([] { poster(Dice(3)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(queues, [i] { postman(Dice(100 + i)); });
  start_thread([] { postman(Dice(103)); });
  for (std::uint64_t i = 1; i <= 2; ++i) start(onces, [i] { callers(Dice(i)); });
  for (std::uint64_t i = 1; i <= 6; ++i) start(permits, [i] { visitor(Dice(i)); });
  start_thread([] { visitor(Dice(100)); });
  for (int i = 1; i <= 4; ++i) start(exceptions, [i] { thrower(Dice(static_cast<std::uint64_t>(i)), i); });
}

}  // namespace mix
