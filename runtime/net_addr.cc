// net_addr.cc: see net_addr.h. Numeric addresses are recognised by inet_pton and cost no thread; anything else goes to
// getaddrinfo in a blocking_scope, because it may ask a server for seconds.
#include "net_addr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "include/vitrine/net.h"
#include "include/vitrine/thread.h"

namespace vitrine::net {

namespace {

class resolver_category : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return gai_strerror(code); }
};

address v4(in_addr a, std::uint16_t port) {
  address out{};
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr = a;
  std::memcpy(&out.storage, &in, out.len = sizeof in);
  return out;
}

address v6(in6_addr a, std::uint16_t port) {
  address out{};
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_addr = a;
  std::memcpy(&out.storage, &in, out.len = sizeof in);
  return out;
}

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const resolver_category category;
  return category;
}

std::vector<address> resolve(const char* operation, std::string_view host, std::uint16_t port, bool passive) {
  in_addr a4{};
  in6_addr a6{};
  if (host.empty()) {
    if (passive) return {v6(in6addr_any, port), v4({htonl(INADDR_ANY)}, port)};
    return {v4({htonl(INADDR_LOOPBACK)}, port), v6(in6addr_loopback, port)};
  }
  std::string name(host.size() > 1 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2)
                                                                                : host);
  if (inet_pton(AF_INET, name.c_str(), &a4) == 1) return {v4(a4, port)};
  if (inet_pton(AF_INET6, name.c_str(), &a6) == 1) return {v6(a6, port)};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  int err, system;
  {
    blocking_scope scope;
    err = getaddrinfo(name.c_str(), nullptr, &hints, &found);
    system = errno;
  }
  if (err != 0) {
    std::string what = std::string(operation) + " " + name + ": lookup";
    if (err == EAI_SYSTEM) throw std::system_error(system, std::generic_category(), what);
    throw std::system_error(err, resolve_category(), what);
  }
  std::vector<address> all;
  for (addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if (at->ai_family == AF_INET) {
      sockaddr_in in;
      std::memcpy(&in, at->ai_addr, sizeof in);
      all.push_back(v4(in.sin_addr, port));
    } else if (at->ai_family == AF_INET6) {
      address a{};
      std::memcpy(&a.storage, at->ai_addr, a.len = sizeof(sockaddr_in6));  // with the scope of a link-local one
      reinterpret_cast<sockaddr_in6*>(&a.storage)->sin6_port = htons(port);
      all.push_back(a);
    }
  }
  freeaddrinfo(found);
  if (all.empty()) throw std::system_error(EAI_NONAME, resolve_category(), std::string(operation) + " " + name);
  return all;
}

address unixaddress(const char* operation, std::string_view path) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  // A path needs its NUL; an abstract name does not, and is as long as the address says.
  bool abstract = !path.empty() && path.front() == '@';
  if (path.empty() || path.size() + (abstract ? 0 : 1) > sizeof un.sun_path ||
      (!abstract && path.find('\0') != path.npos))
    throw std::system_error(path.empty()                   ? EINVAL
                            : path.find('\0') != path.npos ? EINVAL
                                                           : ENAMETOOLONG,
                            std::generic_category(), std::string(operation) + " " + std::string(path));
  std::memcpy(un.sun_path, path.data(), path.size());
  if (abstract) un.sun_path[0] = 0;
  address out{};
  out.len = socklen_t(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  std::memcpy(&out.storage, &un, out.len);
  return out;
}

std::uint16_t portof(const address& a) {
  if (a.len == 0) return 0;
  if (a.storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&a.storage)->sin_port);
  if (a.storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&a.storage)->sin6_port);
  return 0;
}

std::string text(const address& a) {
  char buffer[INET6_ADDRSTRLEN];
  if (a.len == 0) return "";
  if (a.storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&a.storage)->sin_addr, buffer, sizeof buffer);
    return std::string(buffer) + ":" + std::to_string(portof(a));
  }
  if (a.storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&a.storage)->sin6_addr, buffer, sizeof buffer);
    return "[" + std::string(buffer) + "]:" + std::to_string(portof(a));
  }
  if (a.storage.ss_family != AF_UNIX || a.len <= offsetof(sockaddr_un, sun_path)) return "";
  const char* path = reinterpret_cast<const sockaddr_un*>(&a.storage)->sun_path;
  std::size_t n = a.len - offsetof(sockaddr_un, sun_path);
  if (path[0] == 0) return "@" + std::string(path + 1, n - 1);
  return std::string(path, strnlen(path, n));
}

address localof(int fd) {
  address a{};
  a.len = sizeof a.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.len) < 0) a.len = 0;
  return a;
}

address remoteof(int fd) {
  address a{};
  a.len = sizeof a.storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.len) < 0) a.len = 0;
  return a;
}

}  // namespace vitrine::net
