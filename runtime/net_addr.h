// net_addr.h: socket addresses as text and back; names by getaddrinfo.
#pragma once
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vitrine::net {

struct address {
  sockaddr_storage storage;
  socklen_t len;
  const sockaddr* sa() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// What host and port mean, in the order to try; throws std::system_error with `operation` in its text. passive: to
// listen on ("" is every address), otherwise to connect to ("" is this machine). Blocks no other goroutine.
std::vector<address> resolve(const char* operation, std::string_view host, std::uint16_t port, bool passive);
address unixaddress(const char* operation, std::string_view path);
std::string text(const address& a);
std::uint16_t portof(const address& a);
address localof(int fd);  // len 0: not known
address remoteof(int fd);

}  // namespace vitrine::net
