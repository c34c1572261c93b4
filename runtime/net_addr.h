// net_addr.h: socket addresses as text and back; names by getaddrinfo.
#pragma once
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string_view>
#include <system_error>

namespace vitrine::net {

struct address {
  sockaddr_storage storage;
  socklen_t len;
  const sockaddr* sa() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Room for any address as text, and for the longest host name with its port.
struct nametext {
  char s[288];
};

// "operation what: …" as std::system_error.
[[noreturn]] void raise(const char* operation, const char* what, int err,
                        const std::error_category& category = std::generic_category());

// What host and port mean, in the order to try. passive: to listen on ("" is every address), otherwise to connect to
// ("" is this machine). Blocks no other goroutine. Throws std::system_error.
class addresses {
 public:
  addresses(const char* operation, std::string_view host, std::uint16_t port, bool passive);
  ~addresses();
  addresses(const addresses&) = delete;
  addresses& operator=(const addresses&) = delete;
  bool next(address* a);  // false: that were all

 private:
  address fixed_[2];
  int nfixed_ = 0, at_ = 0;
  std::uint16_t port_;
  addrinfo* found_ = nullptr;
  addrinfo* rest_ = nullptr;
};

address unixaddress(const char* operation, std::string_view path);
nametext text(const address& a);
nametext hostport(std::string_view host, std::uint16_t port);
nametext copied(std::string_view s);
std::uint16_t portof(const address& a);
address localof(int fd);  // len 0: not known
address remoteof(int fd);

}  // namespace vitrine::net
