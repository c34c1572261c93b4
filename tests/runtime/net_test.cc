// Sockets and descriptors for goroutines: net.h and poll.h.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "fixture.h"

namespace net = vitrine::net;
namespace poll = vitrine::poll;

namespace {

using clock_type = std::chrono::steady_clock;

class Net : public Goroutines {
 protected:
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return rt::gcount() == 1; })) << rt::gcount() - 1 << " goroutines are left";
    EXPECT_EQ(rt::netpollWaiters.load(), 0);
    for (rt::pollDesc* pd = rt::allpolldescs; pd != nullptr; pd = pd->alllink)
      EXPECT_EQ(pd->open, 0) << "descriptor " << pd->fd << " is left";
    Goroutines::TearDown();
  }
};

struct pair {
  net::conn a, b;
};

pair tcppair(const char* host = "127.0.0.1") {
  auto l = net::listen_tcp(host, 0);
  pair p;
  p.a = net::connect_tcp(host, l.local_port());
  p.b = l.accept();
  return p;
}

// The code of the std::system_error that f throws; 0: none.
template <class F>
int codeof(F f, std::string* text = nullptr) {
  try {
    f();
  } catch (const std::system_error& e) {
    if (text != nullptr) *text = e.what();
    return e.code().value();
  }
  return 0;
}

std::string readall(net::conn& c) {
  std::string all;
  std::array<char, 1000> buffer;
  while (std::size_t n = c.read(buffer)) all.append(buffer.data(), n);
  return all;
}

void echo(net::listener& l) {
  try {
    for (;;)
      vitrine::go([c = l.accept()]() mutable {
        std::array<char, 4096> buffer;
        try {
          while (std::size_t n = c.read(buffer)) c.write(std::span(buffer).first(n));
        } catch (const std::system_error&) {
        }
      });
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::operation_canceled) << e.what();
  }
}

TEST_F(Net, ABytestreamArrivesWholeAndEnds) {
  for (const char* host : {"127.0.0.1", "::1", "localhost"}) {
    pair p = tcppair(host);
    std::string sent(3'000'000, 'x');
    std::mt19937 random(1);
    for (char& c : sent) c = char(random());
    vitrine::wait_group wg;
    wg.go([&] {
      p.a.write(sent);
      p.a.shutdown_write();
    });
    EXPECT_EQ(readall(p.b), sent) << host;
    wg.wait();
    p.b.write("still open");  // the other direction
    p.b.close();
    EXPECT_EQ(readall(p.a), "still open");
  }
}

TEST_F(Net, UnixSocketsByPathAndAbstractName) {
  std::string path = "/tmp/vitrine-net-test-" + std::to_string(getpid());
  for (std::string name : {path, "@" + path}) {
    auto l = net::listen_unix(name);
    EXPECT_EQ(l.local_address(), name);
    vitrine::wait_group wg;
    wg.go([&] {
      net::conn c = l.accept();
      EXPECT_EQ(c.local_address(), name);
      c.write("hello");
    });
    net::conn c = net::connect_unix(name);
    EXPECT_EQ(readall(c), "hello");
    EXPECT_EQ(c.remote_address(), name);
    wg.wait();
    EXPECT_TRUE(l.close());
    EXPECT_NE(codeof([&] { net::connect_unix(name); }), 0);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0) << "the path is left";
  EXPECT_EQ(codeof([] { net::listen_unix(std::string(200, 'x')); }), ENAMETOOLONG);
}

TEST_F(Net, AddressesAndPortsAreThoseOfTheSockets) {
  auto l = net::listen_tcp("127.0.0.1", 0);
  ASSERT_NE(l.local_port(), 0);
  EXPECT_EQ(l.local_address(), "127.0.0.1:" + std::to_string(l.local_port()));
  net::conn c = net::connect_tcp("127.0.0.1", l.local_port()), s = l.accept();
  EXPECT_EQ(c.remote_port(), l.local_port());
  EXPECT_EQ(s.remote_address(), c.local_address());
  for (net::conn* at : {&c, &s}) {
    int on = 0;
    socklen_t len = sizeof on;
    getsockopt(at->native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, &len);
    EXPECT_NE(on, 0);
  }
  EXPECT_EQ(net::listen_tcp("::1", 0).local_address().rfind("[::1]:", 0), 0u);
}

TEST_F(Net, ErrorsSayOperationAddressAndCode) {
  std::uint16_t port;
  {
    auto l = net::listen_tcp("127.0.0.1", 0);
    port = l.local_port();
    std::string text;
    EXPECT_EQ(codeof([&] { net::listen_tcp("127.0.0.1", port); }, &text), EADDRINUSE);
    EXPECT_NE(text.find("listen 127.0.0.1:" + std::to_string(port)), text.npos) << text;
  }
  std::string text;
  EXPECT_EQ(codeof([&] { net::connect_tcp("127.0.0.1", port); }, &text), ECONNREFUSED);
  EXPECT_NE(text.find("connect 127.0.0.1:" + std::to_string(port)), text.npos) << text;
  net::conn none;
  EXPECT_EQ(codeof([&] { none.write("x"); }), EBADF);
  EXPECT_FALSE(none);
  try {
    net::connect_tcp("no-such-name.invalid", 1);
    ADD_FAILURE() << "resolved";
  } catch (const std::system_error& e) {
    EXPECT_EQ(&e.code().category(), &net::resolve_category()) << e.what();
  }
}

TEST_F(Net, ClosedByAnotherGoroutineEndsEveryWait) {
  pair p = tcppair();
  auto l = net::listen_tcp("127.0.0.1", 0);
  std::atomic<int> canceled = 0;
  vitrine::wait_group wg;
  std::string big(32 << 20, 'x');
  auto expectcancel = [&](auto f) { wg.go([&, f] { canceled += codeof(f) == ECANCELED; }); };
  expectcancel([&] { readall(p.a); });
  expectcancel([&] { readall(p.a); });  // the second reader waits for its turn
  expectcancel([&] { p.a.write(big); });
  expectcancel([&] { l.accept(); });
  EXPECT_TRUE(eventually([] { return rt::netpollWaiters.load() == 3; }));
  std::uint16_t port = l.local_port();
  EXPECT_TRUE(p.a.close());
  EXPECT_TRUE(l.close());
  wg.wait();
  EXPECT_EQ(canceled, 4);
  EXPECT_FALSE(p.a.close());
  EXPECT_EQ(p.a.native_handle(), -1);
  EXPECT_EQ(codeof([&] { readall(p.a); }), ECANCELED);
  EXPECT_EQ(codeof([&] { p.a.write("x"); }), ECANCELED);
  EXPECT_EQ(codeof([&] { p.a.set_deadline(net::no_deadline); }), ECANCELED);
  EXPECT_EQ(net::listen_tcp("127.0.0.1", port).local_port(), port);  // close() has really closed it
}

TEST_F(Net, DeadlinesEndWaitsAndCanBeMoved) {
  pair p = tcppair();
  std::array<char, 8> buffer;
  auto start = clock_type::now();
  p.a.set_read_deadline(start + 20ms);
  EXPECT_EQ(codeof([&] { p.a.read(buffer); }), ETIMEDOUT);
  EXPECT_GE(clock_type::now() - start, 20ms);
  p.b.write("late");
  EXPECT_EQ(codeof([&] { p.a.read(buffer); }), ETIMEDOUT) << "an expired deadline stays";
  p.a.write("writes have their own");
  p.a.set_read_deadline(net::no_deadline);
  EXPECT_EQ(p.a.read(buffer), 4u);
  // While it waits: sooner, then in the past.
  for (auto d : {clock_type::now() + 20ms, clock_type::now() - 1s}) {
    p.a.set_deadline(clock_type::now() + 1h);
    vitrine::wait_group wg;
    wg.go([&] { EXPECT_EQ(codeof([&] { p.a.read(buffer); }), ETIMEDOUT); });
    EXPECT_TRUE(eventually([] { return rt::netpollWaiters.load() == 1; }));
    p.a.set_read_deadline(d);
    wg.wait();
  }
  EXPECT_LT(clock_type::now() - start, 20s);
  std::string big(32 << 20, 'x');
  p.a.set_write_deadline(clock_type::now() + 20ms);
  EXPECT_EQ(codeof([&] { p.a.write(big); }), ETIMEDOUT);
  auto l = net::listen_tcp("127.0.0.1", 0);
  l.set_deadline(clock_type::now() + 5ms);
  EXPECT_EQ(codeof([&] { l.accept(); }), ETIMEDOUT);
}

TEST_F(Net, AConnectThatNobodyAnswersTimesOut) {
  // A listener whose queue is full lets the rest wait.
  std::string name = "@vitrine-full-" + std::to_string(getpid());
  auto l = net::listen_unix(name);
  listen(l.native_handle(), 0);
  net::conn first = net::connect_unix(name);
  auto start = clock_type::now();
  EXPECT_EQ(codeof([&] { net::connect_unix(name, start + 30ms); }), ETIMEDOUT);
  EXPECT_GE(clock_type::now() - start, 30ms);
  vitrine::go([&] {
    vitrine::sleep_for(5ms);
    l.accept();
  });
  net::conn second = net::connect_unix(name, clock_type::now() + 20s);
  EXPECT_TRUE(second);
}

TEST_F(Net, AWriteToAConnectionThatIsGoneIsAnErrorAndNoSignal) {
  pair p = tcppair();
  p.b.close();
  int code = 0;
  EXPECT_TRUE(eventually([&] { return (code = codeof([&] { p.a.write("x"); })) != 0; }));
  EXPECT_TRUE(code == EPIPE || code == ECONNRESET) << code;
}

TEST_F(Net, ReadersTakeTurnsAndWritesDoNotMix) {
  pair p = tcppair();
  constexpr int writers = 4, size = 300'000;
  vitrine::wait_group wg;
  for (int w = 0; w < writers; w++) wg.go([&, w] { p.a.write(std::string(size, char('a' + w))); });
  std::vector<char> buffer(size);
  for (int w = 0; w < writers; w++) {
    ASSERT_EQ(p.b.read_full(buffer), std::size_t(size));
    EXPECT_EQ(std::count(buffer.begin(), buffer.end(), buffer[0]), size);
  }
  wg.wait();
  std::atomic<std::size_t> total = 0;
  for (int r = 0; r < 3; r++)
    wg.go([&] {
      std::array<char, 100> small;
      while (std::size_t n = p.b.read_full(small)) total += n;
    });
  p.a.write(std::string(12345, 'y'));
  p.a.shutdown_write();
  wg.wait();
  EXPECT_EQ(total, 12345u);
}

TEST_F(Net, ThreadsThatAreNoGoroutinesUseItToo) {
  auto l = net::listen_tcp("127.0.0.1", 0);
  vitrine::wait_group wg;
  wg.go([&] { echo(l); });
  std::vector<std::thread> threads;
  std::atomic<int> good = 0, live = 3;
  for (int t = 0; t < 3; t++)
    threads.emplace_back([&] {
      net::conn c = net::connect_tcp("127.0.0.1", l.local_port());
      std::array<char, 4> buffer;
      for (int i = 0; i < 200; i++) {
        c.write("ping");
        good += c.read_full(buffer) == 4;
      }
      c.set_read_deadline(clock_type::now() + 5ms);
      good += codeof([&] { c.read(buffer); }) == ETIMEDOUT;
      live--;
    });
  EXPECT_TRUE(eventually([&] { return live == 0; }));
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 3 * 201);
  l.close();
  wg.wait();
}

// The only P sleeps in the poller, or in no poller at all: a thread's wait must start one.
TEST_F(Net, AThreadIsServedWhileAllGoroutinesWaitForIt) {
  for (int i = 0; i < 20; i++) {
    pair p = tcppair();
    vitrine::chan<int> done;
    std::thread thread([&] {
      std::array<char, 4> buffer;
      EXPECT_EQ(p.a.read_full(buffer), 4u);
      done.send(1);
    });
    std::thread writer([&] {
      std::this_thread::sleep_for(2ms);
      EXPECT_EQ(write(p.b.native_handle(), "ping", 4), 4);
    });
    done.recv();
    thread.join();
    writer.join();
  }
}

TEST_F(Net, EchoWithManyConnections) {
  auto l = net::listen_tcp("127.0.0.1", 0);
  vitrine::wait_group server, clients;
  server.go([&] { echo(l); });
  std::atomic<int> good = 0;
  const int conns = underTsan ? 50 : 200, rounds = 50;
  for (int i = 0; i < conns; i++)
    clients.go([&] {
      net::conn c = net::connect_tcp("127.0.0.1", l.local_port());
      std::array<char, 512> out, in;
      for (int r = 0; r < rounds; r++) {
        out.fill(char(r));
        c.write(out);
        good += c.read_full(in) == 512 && in == out;
      }
    });
  clients.wait();
  EXPECT_EQ(good, conns * rounds);
  l.close();
  server.wait();
}

TEST_F(Net, AMovedConnectionIsTheSameOne) {
  pair p = tcppair();
  net::conn moved = std::move(p.a);
  EXPECT_EQ(codeof([&] { p.a.write("x"); }), EBADF);
  moved.write("x");
  moved = net::conn();
  EXPECT_EQ(readall(p.b), "x");
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  net::conn a = net::adopt(fds[0]), b = net::adopt(fds[1]);
  a.write("y");
  a.close();
  EXPECT_EQ(readall(b), "y");
}

TEST_F(Net, IdleConnectionsCostNoCpu) {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int pairs = underTsan || underAsan ? 100 : limit.rlim_cur >= 4000 ? 1000 : 100;
  std::vector<pair> idle;
  vitrine::wait_group wg;
  for (int i = 0; i < pairs; i++) idle.push_back(tcppair());
  for (pair& p : idle)
    wg.go([&p] {
      char c;
      EXPECT_EQ(p.a.read(std::as_writable_bytes(std::span(&c, 1))), 0u);
    });
  EXPECT_TRUE(eventually([&] { return rt::netpollWaiters.load() == pairs; }));
  auto cpu = [] {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  vitrine::sleep_for(100ms);  // sysmon slows down
  auto before = cpu();
  vitrine::sleep_for(1s);
  EXPECT_LT(cpu() - before, underTsan || underAsan ? 100ms : 30ms);
  for (pair& p : idle) p.b.close();
  wg.wait();
}

// ---- poll::fd

TEST_F(Net, AnyPollableDescriptorCanBeWaitedFor) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  {
    poll::fd in(fds[0], poll::own), out(fds[1]);
    EXPECT_EQ(codeof([&] { poll::fd again(fds[1]); }), EEXIST);
    EXPECT_EQ(codeof([&] { in.wait_readable(clock_type::now() + 5ms); }), ETIMEDOUT);
    out.wait_writable();
    vitrine::wait_group wg;
    wg.go([&] { out.write("abcdef", 6); });
    in.wait_readable();
    char buffer[3];
    EXPECT_EQ(in.read(buffer, 3), 3u);
    in.wait_readable(clock_type::now() + 20s);  // what is left is ready still, though no new event comes
    EXPECT_EQ(in.read(buffer, 3), 3u);
    EXPECT_EQ(std::string(buffer, 3), "def");
    wg.wait();
    wg.go([&] { EXPECT_EQ(codeof([&] { in.read(buffer, 3); }), ECANCELED); });
    EXPECT_TRUE(eventually([] { return rt::netpollWaiters.load() == 1; }));
    in.close();
    wg.wait();
  }
  EXPECT_EQ(fcntl(fds[0], F_GETFL), -1) << "owned, so closed";
  EXPECT_EQ(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0) << "borrowed, so as it was";
  close(fds[1]);
}

TEST_F(Net, ARegularFileIsReadWithoutThePoller) {
  char path[] = "/tmp/vitrine-poll-XXXXXX";
  int file = mkstemp(path);
  unlink(path);
  poll::fd f(file, poll::own);
  f.write("hello", 5);
  lseek(file, 0, SEEK_SET);
  char buffer[10];
  f.wait_readable();
  EXPECT_EQ(f.read(buffer, 10), 5u);
  EXPECT_EQ(f.read(buffer, 10), 0u);
  EXPECT_EQ(codeof([&] { f.set_read_deadline(clock_type::now()); }), EPERM);
}

}  // namespace
