// vitrine_channels.cc: values from goroutine to goroutine, through channels and through pipes.
#include <unistd.h>

#include "vitrine_bench.h"

namespace sched_bench {
namespace {

using channel = vitrine::chan<std::int64_t>;

void ring(std::int64_t n) {
  constexpr int members = 503;
  std::vector<channel> to(members);
  channel done;
  vitrine::wait_group all;
  for (int i = 0; i < members; i++) {
    all.go([in = to[i], out = to[(i + 1) % members], done] {
      for (auto token : in) {
        if (token == 0)
          done.send(0);
        else
          out.send(token - 1);
      }
    });
  }
  to[0].send(n);
  done.recv();
  for (channel& c : to) c.close();
  all.wait();
}

void pingpong(std::int64_t n) {
  channel ping, pong;
  vitrine::wait_group partner;
  partner.go([=] {
    for (std::int64_t i = 0; i < n; i++) pong.send(*ping.recv());
  });
  for (std::int64_t i = 0; i < n; i++) {
    ping.send(i);
    pong.recv();
  }
  partner.wait();
}

void stream(std::int64_t n, std::size_t capacity, int producers, int consumers) {
  channel c(capacity);
  vitrine::wait_group all;
  for (int i = 0; i < producers; i++) {
    all.go([c, each = n / producers] {
      for (std::int64_t k = 0; k < each; k++) c.send(k);
    });
  }
  for (int i = 0; i < consumers; i++) {
    all.go([c, each = n / consumers] {
      for (std::int64_t k = 0; k < each; k++) c.recv();
    });
  }
  all.wait();
}

struct pipe_ends {
  vitrine::poll::fd in, out;
  pipe_ends() {
    int fds[2];
    if (pipe(fds) < 0) std::abort();
    in = vitrine::poll::fd(fds[0], vitrine::poll::own);
    out = vitrine::poll::fd(fds[1], vitrine::poll::own);
  }
};

void pipe_pingpong(std::int64_t n) {
  pipe_ends ping, pong;
  vitrine::wait_group partner;
  partner.go([&] {
    char byte;
    for (std::int64_t i = 0; i < n; i++) {
      ping.in.read(&byte, 1);
      pong.out.write(&byte, 1);
    }
  });
  char byte = 0;
  for (std::int64_t i = 0; i < n; i++) {
    ping.out.write(&byte, 1);
    pong.in.read(&byte, 1);
  }
  partner.wait();
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
  t.push_back({"pipe", [](double seconds) { return grow(seconds, 1, pipe_pingpong); }});
}

}  // namespace sched_bench
