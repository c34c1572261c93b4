// mix_io.cc: what waits for descriptors, and threads that come and go.
//
//   streams    clients of an echo server, over TCP and Unix sockets: what comes back is what was sent; deadlines that
//              pass, connections closed by others while somebody reads, ends of stream, peers that do not read
//   listeners  live for some connections, and are closed while somebody accepts
//   pipes      poll::fd: bytes in order, with deadlines, and closed while somebody reads
//   threads    std::threads that use channels, locks, semaphores, select, tasks and sleeps, and end
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "mix.h"

namespace mix {

using namespace std::chrono_literals;
using vitrine::net::conn;
using vitrine::net::listener;
using vitrine::poll::clock;

namespace {

template <class F>
std::error_code error_of(F f) {
  try {
    f();
    return {};
  } catch (const std::system_error& e) {
    return e.code();
  }
}

bool gone(const std::error_code& e) { return e == std::errc::connection_reset || e == std::errc::broken_pipe; }

// ---- streams

constexpr int kClients = 6;  // of each kind
std::atomic<int> clients_left{2 * kClients};
std::atomic<std::int64_t> accepted, ended;

void echo(conn c) {
  std::vector<char> buffer(16384);
  const std::error_code e = error_of([&] {
    while (std::size_t n = c.read(buffer)) c.write(std::span(buffer).first(n));
  });
  require(!e || gone(e), streams, "an echo ends when its client does", e.value());
  c.close();
  ++ended;
}

void serve(listener& l) {
  for (;;) {
    conn c;
    if (const std::error_code e = error_of([&] { c = l.accept(); })) {
      if (gone(e) || e == std::errc::connection_aborted) continue;
      require(e == std::errc::operation_canceled, streams, "accepting ends by close", e.value());
      return;
    }
    ++accepted;
    start(streams, [c = std::move(c)]() mutable { echo(std::move(c)); });
  }
}

void letters(conn& c, Dice& dice) {
  std::vector<char> sent(1 + dice(8000)), back(sent.size());
  for (std::size_t i = 0, first = dice(100); i < sent.size(); ++i) sent[i] = static_cast<char>(first + i);
  c.write(sent);
  const std::size_t n = c.read_full(back);
  require(n == sent.size() && back == sent, streams, "what comes back was sent", static_cast<std::int64_t>(n));
}

// More than the buffers of both sides hold: who writes waits for who reads.
void parcel(conn& c, Dice& dice) {
  std::vector<char> sent(500'000 + dice(1'000'000), 'x'), back(sent.size());
  sent.back() = 'y';
  vitrine::wait_group wg;
  wg.go([&] { c.write(sent); });
  const std::size_t n = c.read_full(back);
  wg.wait();
  require(n == sent.size() && back == sent, streams, "a large piece comes back whole", static_cast<std::int64_t>(n));
}

void read_until_a_deadline(conn& c, Dice& dice) {
  char byte[1];
  c.set_read_deadline(clock::now() + dice.up_to(500us));
  const std::error_code e = error_of([&] { c.read(byte); });
  require(e == std::errc::timed_out, streams, "a deadline ends a read", e.value());
  c.set_read_deadline(vitrine::poll::no_deadline);
}

// These end the connection.
void write_until_a_deadline(conn& c, Dice& dice) {
  const std::vector<char> much(1 << 20, 'x');
  c.set_write_deadline(clock::now() + dice.up_to(3000us));
  const std::error_code e = error_of([&] {
    for (;;) c.write(much);
  });
  require(e == std::errc::timed_out, streams, "a deadline ends a write", e.value());
}

void read_until_a_close(conn& c, Dice& dice) {
  char byte[1];
  vitrine::wait_group wg;
  wg.go([&c, d = dice.up_to(300us)] {
    vitrine::sleep_for(d);
    c.close();
  });
  const std::error_code e = error_of([&] { c.read(byte); });
  wg.wait();
  require(e == std::errc::operation_canceled, streams, "a close ends a read", e.value());
}

void read_the_end(conn& c) {
  char byte[1];
  c.shutdown_write();
  require(c.read(byte) == 0, streams, "the end of a stream is read");
}

template <class Connect>
void client(Dice dice, Connect connect) {
  while (!over()) {
    conn c = connect();
    for (bool open = true; open && !over();) {
      switch (dice(16)) {
        case 0:
          write_until_a_deadline(c, dice);
          open = false;
          break;
        case 1:
          read_until_a_close(c, dice);
          open = false;
          break;
        case 2:
          read_the_end(c);
          open = false;
          break;
        case 3:
          parcel(c, dice);
          break;
        case 4:
        case 5:
          read_until_a_deadline(c, dice);
          break;
        default:
          letters(c, dice);
      }
      streams.turn();
      vitrine::sleep_for(dice.up_to(4000us));
    }
  }
}

void start_streams() {
  auto tcp = std::make_shared<listener>(vitrine::net::listen_tcp("127.0.0.1", 0));
  const std::string path = "@vitrine-soak-" + std::to_string(getpid());
  auto local = std::make_shared<listener>(vitrine::net::listen_unix(path));
  start(streams, [tcp] { serve(*tcp); });
  start(streams, [local] { serve(*local); });
  auto leave = [tcp, local] {
    if (--clients_left != 0) return;
    tcp->close();
    local->close();
  };
  for (std::uint64_t i = 1; i <= kClients; ++i) {
    auto by_tcp = [i, leave, port = tcp->local_port()] {
      client(Dice(i), [&] { return vitrine::net::connect_tcp("127.0.0.1", port, clock::now() + 60s); });
      leave();
    };
    auto by_path = [i, leave, path] {
      client(Dice(100 + i), [&] { return vitrine::net::connect_unix(path); });
      leave();
    };
    if (i == 1) {
      start_thread(by_tcp);
      start_thread(by_path);
    } else {
      start(streams, by_tcp);
      start(streams, by_path);
    }
  }
}

// ---- listeners

void short_lived_listener(Dice& dice) {
  listener l = vitrine::net::listen_tcp("127.0.0.1", 0);
  const std::uint16_t port = l.local_port();
  std::atomic<int> came{0};
  vitrine::wait_group all;
  for (std::uint32_t i = 1 + dice(3); i > 0; --i)
    all.go([&] {
      for (;;) {
        const std::error_code e = error_of([&] { l.accept(); });
        if (!e) {
          ++came;
        } else if (e != std::errc::timed_out) {
          require(e == std::errc::operation_canceled, listeners, "a close ends an accept", e.value());
          return;
        } else {
          vitrine::sleep_for(200us);
        }
      }
    });
  if (dice.one_in(2)) {
    l.set_deadline(clock::now() + dice.up_to(1000us));
    vitrine::sleep_for(dice.up_to(2000us));
    l.set_deadline(vitrine::poll::no_deadline);
  }
  const int visits = static_cast<int>(dice(4));
  for (int i = 0; i < visits; ++i) {
    conn c = vitrine::net::connect_tcp("127.0.0.1", port);
    char byte[1];
    std::size_t n = 0;
    const std::error_code e = error_of([&] { n = c.read(byte); });
    require(n == 0 && (!e || gone(e)), listeners, "a connection that was accepted and dropped ends", e.value());
  }
  vitrine::sleep_for(dice.up_to(500us));
  l.close();
  all.wait();
  require(came == visits, listeners, "every connection was accepted", came, visits);
  listeners.turn();
}

// ---- pipes

struct Pipe {
  vitrine::poll::fd in, out;
  Pipe() {
    int ends[2];
    require(pipe2(ends, O_CLOEXEC) == 0, pipes, "there is a pipe", errno);
    in = vitrine::poll::fd(ends[0], vitrine::poll::own);
    out = vitrine::poll::fd(ends[1], vitrine::poll::own);
  }
};

constexpr std::uint64_t kPattern = 251;

void pump(Dice& dice) {
  Pipe p;
  const std::uint64_t length = 1 + dice(200'000);
  vitrine::wait_group wg;
  wg.go([&p, length, dice]() mutable {
    std::vector<unsigned char> buffer(20'000);
    for (std::uint64_t at = 0; at < length;) {
      const auto n = std::min<std::uint64_t>(1 + dice(20'000), length - at);
      for (std::uint64_t i = 0; i < n; ++i) buffer[i] = static_cast<unsigned char>((at + i) % kPattern);
      p.out.write(buffer.data(), n);
      at += n;
      if (dice.one_in(4)) vitrine::sleep_for(dice.up_to(300us));
    }
    p.out.close();
  });
  std::vector<unsigned char> buffer(20'000);
  std::uint64_t at = 0;
  for (;;) {
    const bool hurried = dice.one_in(3);
    if (hurried) p.in.set_read_deadline(clock::now() + dice.up_to(200us));
    std::size_t n = 0;
    const std::error_code e = error_of([&] {
      if (dice.one_in(3)) p.in.wait_readable();
      n = p.in.read(buffer.data(), 1 + dice(20'000));
    });
    if (hurried) p.in.set_read_deadline(vitrine::poll::no_deadline);
    require(!e || (hurried && e == std::errc::timed_out), pipes, "a read of a pipe succeeds", e.value());
    if (e) continue;
    if (n == 0) break;
    for (std::size_t i = 0; i < n; ++i)
      require(buffer[i] == (at + i) % kPattern, pipes, "bytes arrive in order", static_cast<std::int64_t>(at + i));
    at += n;
  }
  wg.wait();
  require(at == length, pipes, "every byte arrives", static_cast<std::int64_t>(at), static_cast<std::int64_t>(length));
}

void closed_while_somebody_waits(Dice& dice) {
  Pipe p;
  vitrine::wait_group wg;
  wg.go([&p, d = dice.up_to(300us)] {
    vitrine::sleep_for(d);
    p.in.close();
  });
  char byte;
  const std::error_code e = error_of([&] {
    if (dice.one_in(2))
      p.in.wait_readable();
    else
      p.in.read(&byte, 1);
  });
  require(e == std::errc::operation_canceled, pipes, "a close ends a read of a pipe", e.value());
  wg.wait();
  const std::error_code w = error_of([&] { p.out.write("x", 1); });
  require(w == std::errc::broken_pipe, pipes, "a pipe that nobody reads is broken", w.value());
}

void pumping(Dice dice) {
  while (!over()) {
    if (dice.one_in(4))
      closed_while_somebody_waits(dice);
    else
      pump(dice);
    pipes.turn();
  }
}

// ---- threads

vitrine::mutex door;
vitrine::semaphore places(2);

void on_a_thread(Dice dice, vitrine::chan<int> question, vitrine::chan<int> answer) {
  for (std::uint32_t i = dice(6); i > 0; --i) {
    switch (dice(5)) {
      case 0: {
        std::lock_guard hold(door);
        vitrine::yield();
        break;
      }
      case 1:
        if (places.try_acquire_for(dice.up_to(300us))) places.release();
        break;
      case 2:
        vitrine::sleep_for(dice.up_to(300us));
        break;
      case 3: {
        const int n = vitrine::spawn([] {
                        vitrine::yield();
                        return 7;
                      }).get();
        require(n == 7, threads, "a thread gets a task's result", n);
        break;
      }
      default:
        vitrine::select(vitrine::on_recv(vitrine::chan<int>(), [](auto) {}),
                        vitrine::on_timeout(dice.up_to(300us), [] {}));
    }
  }
  answer.send(*question.recv() + 1);
}

void host(Dice dice) {
  for (int turn = 0; !over(); ++turn) {
    const vitrine::chan<int> question, answer(dice(2));
    std::thread t(on_a_thread, Dice(dice(1u << 30)), question, answer);
    vitrine::chan<int>(question).send(turn);
    if (dice.one_in(2)) {
      std::lock_guard hold(door);
      vitrine::sleep_for(dice.up_to(200us));
    }
    const auto n = vitrine::chan<int>(answer).recv();
    require(n == turn + 1, threads, "a thread answers", *n, turn + 1);
    {
      vitrine::blocking_scope scope;
      t.join();
    }
    threads.turn();
    vitrine::sleep_for(dice.up_to(5000us));
  }
}

}  // namespace

Group streams{"streams", [] { require(accepted == ended, streams, "every connection has ended", accepted, ended); }};
Group listeners{"listeners"}, pipes{"pipes"}, threads{"threads"};

void start_io() {
  start_streams();
  for (std::uint64_t i = 1; i <= 2; ++i)
    start(listeners, [dice = Dice(i)]() mutable {
      while (!over()) {
        short_lived_listener(dice);
        vitrine::sleep_for(dice.up_to(20ms));
      }
    });
  for (std::uint64_t i = 1; i <= 3; ++i) start(pipes, [i] { pumping(Dice(i)); });
  start_thread([] { pumping(Dice(100)); });
  for (std::uint64_t i = 1; i <= 3; ++i) start(threads, [i] { host(Dice(i)); });
}

}  // namespace mix
