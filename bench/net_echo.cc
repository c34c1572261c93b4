// net_echo.cc: the echo server that net_bench.py measures: one goroutine a connection. Prints its port.
#include <vitrine/vitrine.h>

#include <array>
#include <cstdio>

int main() {
  return vitrine::run([] {
    auto listener = vitrine::net::listen_tcp("127.0.0.1", 0);
    std::printf("%u\n", unsigned(listener.local_port()));
    std::fflush(stdout);
    for (;;)
      vitrine::go([c = listener.accept()]() mutable {
        std::array<char, 4096> buffer;
        try {
          while (std::size_t n = c.read(buffer)) c.write(std::span(buffer).first(n));
        } catch (const std::system_error&) {
        }
      });
  });
}
