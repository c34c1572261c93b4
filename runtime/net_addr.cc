// net_addr.cc: see net_addr.h. Numeric addresses are recognised by inet_pton and cost no thread; anything else goes to
// getaddrinfo in a blocking_scope, because it may ask a server for seconds.
#include "net_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "include/vitrine/net.h"
#include "include/vitrine/thread.h"

namespace vitrine::net {

namespace {

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

const char* detail::resolver_category::text(int code) { return gai_strerror(code); }

const std::error_category& resolve_category() noexcept {
  static const detail::resolver_category category;
  return category;
}

void raise(const char* operation, const char* what, int err, const std::error_category& category) {
  char text[sizeof(nametext) + 64];
  std::snprintf(text, sizeof text, "%s%s%s", operation, *what != 0 ? " " : "", what);
  throw std::system_error(err, category, text);
}

nametext copied(std::string_view s) {
  nametext out{};
  std::memcpy(out.s, s.data(), std::min(s.size(), sizeof out.s - 1));
  return out;
}

nametext hostport(std::string_view host, std::uint16_t port) {
  bool bare6 = host.find(':') != host.npos && host.front() != '[';
  nametext out{};
  std::snprintf(out.s, sizeof out.s, bare6 ? "[%.*s]:%u" : "%.*s:%u", int(std::min(host.size(), std::size_t(260))),
                host.data(), unsigned(port));
  return out;
}

addresses::addresses(const char* operation, std::string_view host, std::uint16_t port, bool passive) : port_(port) {
  if (host.empty()) {
    in_addr any4{htonl(passive ? INADDR_ANY : INADDR_LOOPBACK)};
    address all[] = {v6(passive ? in6addr_any : in6addr_loopback, port), v4(any4, port)};
    fixed_[0] = all[passive ? 0 : 1];
    fixed_[1] = all[passive ? 1 : 0];
    nfixed_ = 2;
    return;
  }
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  nametext name = copied(host);
  if (host.size() >= sizeof name.s || host.find('\0') != host.npos) raise(operation, name.s, EINVAL);
  in_addr a4{};
  in6_addr a6{};
  if (inet_pton(AF_INET, name.s, &a4) == 1) {
    fixed_[nfixed_++] = v4(a4, port);
    return;
  }
  if (inet_pton(AF_INET6, name.s, &a6) == 1) {
    fixed_[nfixed_++] = v6(a6, port);
    return;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  int err, system;
  {
    blocking_scope scope;
    err = getaddrinfo(name.s, nullptr, &hints, &found_);
    system = errno;
  }
  if (err == EAI_SYSTEM) raise(operation, name.s, system);
  if (err != 0) raise(operation, name.s, err, resolve_category());
  rest_ = found_;
}

addresses::~addresses() {
  if (found_ != nullptr) freeaddrinfo(found_);
}

bool addresses::next(address* a) {
  if (at_ < nfixed_) {
    *a = fixed_[at_++];
    return true;
  }
  while (rest_ != nullptr) {
    addrinfo* at = rest_;
    rest_ = at->ai_next;
    if (at->ai_family != AF_INET && at->ai_family != AF_INET6) continue;
    *a = {};
    std::memcpy(&a->storage, at->ai_addr, a->len = at->ai_addrlen);  // with the scope of a link-local one
    if (at->ai_family == AF_INET)
      reinterpret_cast<sockaddr_in*>(&a->storage)->sin_port = htons(port_);
    else
      reinterpret_cast<sockaddr_in6*>(&a->storage)->sin6_port = htons(port_);
    return true;
  }
  return false;
}

address unixaddress(const char* operation, std::string_view path) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  // A path needs its NUL; an abstract name does not, and is as long as the address says.
  bool abstract = !path.empty() && path.front() == '@';
  if (path.empty() || (!abstract && path.find('\0') != path.npos)) raise(operation, copied(path).s, EINVAL);
  if (path.size() + (abstract ? 0 : 1) > sizeof un.sun_path) raise(operation, copied(path).s, ENAMETOOLONG);
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

nametext text(const address& a) {
  nametext out{};
  char ip[INET6_ADDRSTRLEN];
  if (a.len == 0) return out;
  if (a.storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&a.storage)->sin_addr, ip, sizeof ip);
    std::snprintf(out.s, sizeof out.s, "%s:%u", ip, unsigned(portof(a)));
  } else if (a.storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&a.storage)->sin6_addr, ip, sizeof ip);
    std::snprintf(out.s, sizeof out.s, "[%s]:%u", ip, unsigned(portof(a)));
  } else if (a.storage.ss_family == AF_UNIX && a.len > offsetof(sockaddr_un, sun_path)) {
    const char* path = reinterpret_cast<const sockaddr_un*>(&a.storage)->sun_path;
    std::memcpy(out.s, path, a.len - offsetof(sockaddr_un, sun_path));
    if (path[0] == 0) out.s[0] = '@';
  }
  return out;
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
