// net_load.cc: net_load PORT CONNECTIONS SECONDS [BYTES [WINDOW]]: the load of net_bench.py. One thread, plain epoll,
// no library: every server faces the same client. On each connection WINDOW messages are under way (1: ping-pong; more:
// streaming); for each that has come back whole another one goes. Prints the messages per second of the last SECONDS,
// after a fifth of that as warm-up.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

[[noreturn]] static void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int port = std::atoi(argv[1]), connections = std::atoi(argv[2]);
  const double seconds = std::atof(argv[3]);
  const std::size_t bytes = argc > 4 ? std::size_t(std::atoi(argv[4])) : 512;
  const std::size_t window = bytes * (argc > 5 ? std::size_t(std::atoi(argv[5])) : 1);
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int ep = epoll_create1(0);
  std::vector<char> messages(window, 'x'), buffer(window);
  std::vector<std::size_t> got(65536);  // of a message that has not come back whole, by descriptor
  for (int i = 0; i < connections; i++) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<unsigned short>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) die("connect");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event ev{};
    ev.events = EPOLLIN;
    ev.data.fd = fd;
    if (std::size_t(fd) >= got.size() || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
    if (send(fd, messages.data(), window, 0) != ssize_t(window)) die("send");
  }
  const double start = now() + seconds / 5, end = start + seconds;
  std::size_t count = 0;
  bool warm = false;
  for (double t = now(); t < end; t = now()) {
    if (!warm && t >= start) {
      warm = true;
      count = 0;
    }
    epoll_event events[256];
    const int n = epoll_wait(ep, events, 256, 1000);
    for (int i = 0; i < n; i++) {
      const int fd = events[i].data.fd;
      const ssize_t k = recv(fd, buffer.data(), window, 0);
      if (k <= 0) die("recv");
      const std::size_t have = got[std::size_t(fd)] + std::size_t(k), whole = have / bytes;
      got[std::size_t(fd)] = have % bytes;
      count += whole;
      if (whole != 0 && send(fd, messages.data(), whole * bytes, 0) != ssize_t(whole * bytes)) die("send");
    }
  }
  std::printf("%.0f\n", double(count) / seconds);
}
