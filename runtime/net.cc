// net.cc: vitrine::net, sockets over netfd.cc. What waits is in netfd.cc; here are addresses, options, and the texts of
// errors: `connect 127.0.0.1:9: Connection refused`.
//
// A socket is made nonblocking and close-on-exec, bound or connected, and only then given to its object; until then it
// is in `handle`, which closes it when something throws.
#include "include/vitrine/net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net_addr.h"

namespace vitrine::net {

namespace {

// A descriptor until somebody owns it.
struct handle {
  int fd;
  ~handle() {
    if (fd >= 0) ::close(fd);
  }
  // The address of errno must not be known to a function that parks: it is looked up here.
  __attribute__((noinline)) static int open(int family) {
    int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
  }
};

rt::netFD* give(handle& h, const char* operation, const char* what) {
  rt::int32 err;
  rt::netFD* f = rt::fdnew(h.fd, true, true, &err);
  if (f == nullptr) raise(operation, what, err);
  h.fd = -1;
  return f;
}

void setflag(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

__attribute__((noinline)) int bindandlisten(int fd, const address& a) {
  setflag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  // The any-address of IPv6 takes IPv4 too.
  if (a.storage.ss_family == AF_INET6) setflag(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  return bind(fd, a.sa(), a.len) < 0 || listen(fd, SOMAXCONN) < 0 ? errno : 0;
}

int connectone(const address& a, deadline d, rt::netFD** out, const char* what) {
  handle h{handle::open(a.storage.ss_family)};
  if (h.fd < 0) return -h.fd;
  if (a.storage.ss_family != AF_UNIX) setflag(h.fd, IPPROTO_TCP, TCP_NODELAY, 1);
  rt::netFD* f = give(h, "connect", what);
  int err = 0;
  if (d != no_deadline) err = rt::fdsetdeadline(f, rt::fddeadline(d), rt::fdWrite);
  if (err == 0) err = rt::fdconnect(f, a.sa(), a.len);
  if (err == 0 && d != no_deadline) err = rt::fdsetdeadline(f, rt::fdNoDeadline, rt::fdWrite);
  if (err != 0)
    rt::fdrelease(f);
  else
    *out = f;
  return err;
}

}  // namespace

// ---- socket

namespace detail {

void socket::fail(const char* operation, int err) const { raise(operation, what_.c_str(), err); }

rt::netFD* socket::checked(const char* operation) const {
  if (f_ == nullptr) fail(operation, EBADF);
  return f_;
}

socket& socket::operator=(socket&& other) noexcept {
  if (this != &other) {
    if (f_ != nullptr) rt::fdrelease(f_);
    f_ = std::exchange(other.f_, nullptr);
    what_ = std::move(other.what_);
  }
  return *this;
}

socket::~socket() {
  if (f_ != nullptr) rt::fdrelease(f_);
}

bool socket::close() { return f_ != nullptr && rt::fdclose(f_) == 0; }
void socket::describe(bool remote, char* s, std::size_t n) const {
  int fd = native_handle();
  nametext t = text(remote ? remoteof(fd) : localof(fd));
  std::memcpy(s, t.s, std::min(n, sizeof t.s));
  s[n - 1] = 0;
}
std::uint16_t socket::local_port() const { return portof(localof(native_handle())); }

}  // namespace detail

// ---- conn

std::size_t conn::read(std::span<std::byte> buffer) {
  rt::int64 n = rt::fdread(checked("read"), buffer.data(), buffer.size());
  if (n < 0) fail("read", int(-n));
  return std::size_t(n);
}

std::size_t conn::read_full(std::span<std::byte> buffer) {
  rt::uint64 done;
  if (int err = rt::fdreadfull(checked("read"), buffer.data(), buffer.size(), &done)) fail("read", err);
  return done;
}

void conn::write(std::span<const std::byte> data) {
  rt::uint64 done;
  if (int err = rt::fdwrite(checked("write"), data.data(), data.size(), &done)) fail("write", err);
}

static int setdeadline(rt::netFD* f, deadline d, rt::fdside sides) {
  return rt::fdsetdeadline(f, rt::fddeadline(d), sides);
}

void conn::set_deadline(deadline d) {
  if (int err = setdeadline(checked("set deadline"), d, rt::fdBoth)) fail("set deadline", err);
}
void conn::set_read_deadline(deadline d) {
  if (int err = setdeadline(checked("set deadline"), d, rt::fdRead)) fail("set deadline", err);
}
void conn::set_write_deadline(deadline d) {
  if (int err = setdeadline(checked("set deadline"), d, rt::fdWrite)) fail("set deadline", err);
}

void conn::shutdown_write() {
  if (int err = rt::fdshutdownwrite(checked("shutdown"))) fail("shutdown", err);
}

void conn::set_no_delay(bool on) { setflag(rt::fdnative(checked("set option")), IPPROTO_TCP, TCP_NODELAY, on); }
std::uint16_t conn::remote_port() const { return portof(remoteof(native_handle())); }

conn connect_tcp(std::string_view host, std::uint16_t port, deadline d) {
  nametext what = hostport(host, port);
  int err = 0;
  addresses all("connect", host, port, false);
  for (address a; all.next(&a);) {
    rt::netFD* f;
    int now = connectone(a, d, &f, what.s);
    if (now == 0) return conn(f, what.s);
    if (err == 0) err = now;  // the first is the one that was meant
    if (now == ETIMEDOUT && d != no_deadline) break;
  }
  raise("connect", what.s, err != 0 ? err : EADDRNOTAVAIL);
}

conn connect_unix(std::string_view path, deadline d) {
  rt::netFD* f;
  nametext what = copied(path);
  if (int err = connectone(unixaddress("connect", path), d, &f, what.s)) raise("connect", what.s, err);
  return conn(f, what.s);
}

conn adopt(int fd) {
  rt::int32 err;
  char what[32];
  std::snprintf(what, sizeof what, "descriptor %d", fd);
  rt::netFD* f = rt::fdnew(fd, true, true, &err);
  if (f == nullptr) raise("adopt", what, err);
  return conn(f, what);
}

// ---- listener

listener::~listener() { close(); }

listener& listener::operator=(listener&& other) noexcept {
  if (this != &other) {
    close();
    socket::operator=(std::move(other));
    path_ = std::move(other.path_);
  }
  return *this;
}

bool listener::close() {
  if (f_ == nullptr) return false;
  // First the path: once the socket is closed somebody else may have the name.
  if (!path_.empty() && native_handle() >= 0) unlink(path_.c_str());
  return socket::close();
}

conn listener::accept() {
  handle h{-1};
  if (int err = rt::fdaccept(checked("accept"), &h.fd)) fail("accept", err);
  if (path_.empty()) setflag(h.fd, IPPROTO_TCP, TCP_NODELAY, 1);  // has no effect on an abstract Unix socket
  rt::netFD* f = give(h, "accept", what_.c_str());
  return conn(f, what_.c_str());
}

void listener::set_deadline(deadline d) {
  if (int err = setdeadline(checked("set deadline"), d, rt::fdRead)) fail("set deadline", err);
}

static rt::netFD* listening(const address& a, const char* what, int* err) {
  handle h{handle::open(a.storage.ss_family)};
  *err = h.fd < 0 ? -h.fd : bindandlisten(h.fd, a);
  return *err != 0 ? nullptr : give(h, "listen", what);
}

listener listen_tcp(std::string_view host, std::uint16_t port) {
  nametext what = hostport(host, port);
  int first = 0;
  addresses all("listen", host, port, true);
  for (address a; all.next(&a);) {
    int err;
    if (rt::netFD* f = listening(a, what.s, &err); f != nullptr)
      return listener(f, text(localof(rt::fdnative(f))).s, "");
    if (first == 0) first = err;
  }
  raise("listen", what.s, first != 0 ? first : EADDRNOTAVAIL);
}

listener listen_unix(std::string_view path) {
  nametext what = copied(path);
  int err;
  rt::netFD* f = listening(unixaddress("listen", path), what.s, &err);
  if (f == nullptr) raise("listen", what.s, err);
  return listener(f, what.s, path.front() == '@' ? "" : what.s);
}

}  // namespace vitrine::net
