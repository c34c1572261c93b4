// fiber_channels.cc: values from fiber to fiber.
#include <deque>

#include "fiber_bench.h"

namespace sched_bench {
namespace {

namespace fibers = boost::fibers;
using channel = fibers::unbuffered_channel<std::int64_t>;

void ring(std::int64_t n) {
  constexpr std::size_t members = 503;
  std::deque<channel> to(members);
  channel done;
  group all;
  for (std::size_t i = 0; i < members; i++) {
    all.go([&in = to[i], &out = to[(i + 1) % members], &done] {
      for (std::int64_t token; in.pop(token) == fibers::channel_op_status::success;) {
        if (token == 0)
          done.push(0);
        else
          out.push(token - 1);
      }
    });
  }
  to[0].push(n);
  std::int64_t end;
  done.pop(end);
  for (channel& c : to) c.close();
  all.wait();
}

void pingpong(std::int64_t n) {
  channel ping, pong;
  group partner;
  partner.go([&] {
    for (std::int64_t i = 0, value; i < n; i++) {
      ping.pop(value);
      pong.push(value);
    }
  });
  for (std::int64_t i = 0, value; i < n; i++) {
    ping.push(i);
    pong.pop(value);
  }
  partner.wait();
}

// A channel of Boost's of size k holds k - 1 values, and k is a power of two: 2 for one value, else a value less.
void stream(std::int64_t n, std::size_t capacity, int producers, int consumers) {
  fibers::buffered_channel<std::int64_t> c(std::max<std::size_t>(capacity, 2));
  group all;
  for (int i = 0; i < producers; i++) {
    all.go([&c, each = n / producers] {
      for (std::int64_t k = 0; k < each; k++) c.push(k);
    });
  }
  for (int i = 0; i < consumers; i++) {
    all.go([&c, each = n / consumers] {
      for (std::int64_t k = 0, value; k < each; k++) c.pop(value);
    });
  }
  all.wait();
}

}  // namespace

void add_channels(table& t) {
  t.push_back({"ring/503", [](double seconds) { return grow(seconds, 1, ring); }});
  t.push_back({"pingpong", [](double seconds) { return grow(seconds, 1, pingpong); }});
  for (std::size_t capacity : {1, 64, 1024})
    for (auto [producers, consumers] : {std::pair{1, 1}, {2, 1}, {8, 1}, {8, 8}})
      t.push_back(
          {"chan/" + std::to_string(capacity) + "/" + std::to_string(producers) + "x" + std::to_string(consumers),
           [=, producers = producers, consumers = consumers](double seconds) {
             return grow(seconds, 8, [=](std::int64_t n) { stream(n, capacity, producers, consumers); });
           }});
}

}  // namespace sched_bench
