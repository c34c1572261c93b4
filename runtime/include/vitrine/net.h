// net.h: stream sockets, TCP over IPv4 and IPv6 and Unix, for goroutines. A call that has to wait parks its goroutine;
// threads that are no goroutines may call everything too (not before run()).
//
//   auto l = vitrine::net::listen_tcp("localhost", 8080);
//   for (;;)
//     vitrine::go([c = l.accept()]() mutable {
//       std::array<char, 4096> buffer;
//       while (std::size_t n = c.read(buffer)) c.write(std::span(buffer).first(n));
//     });
//
// Errors are std::system_error with the operation and the addresses in the text. Their codes:
//   errc::timed_out           the deadline has passed
//   errc::operation_canceled  closed, before the call or by another goroutine while it waited
//   errc::bad_file_descriptor the object is empty (default-constructed or moved from)
//   net::resolve_category()   a name could not be resolved: getaddrinfo's EAI_ numbers
//   others                    what the system call said. No call raises SIGPIPE: a write to a connection that is gone
//                             is errc::broken_pipe or connection_reset.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "poll.h"

namespace vitrine::net {

using poll::deadline;
using poll::no_deadline;

const std::error_category& resolve_category() noexcept;

namespace detail {

class resolver_category : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return text(code); }
  static const char* text(int code);
};

// What listener and conn have in common.
class socket {
 public:
  socket() = default;
  socket(rt::netFD* f, const char* what) : f_(f), what_(what) {}
  socket(socket&& other) noexcept : f_(std::exchange(other.f_, nullptr)), what_(std::move(other.what_)) {}
  socket& operator=(socket&& other) noexcept;
  ~socket();

  // Ends the calls of others that wait on this object; the descriptor is closed when it returns. False: it was before.
  bool close();
  explicit operator bool() const { return native_handle() >= 0; }
  int native_handle() const { return f_ == nullptr ? -1 : rt::fdnative(f_); }  // -1: closed or empty
  // "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract"; "" for the unnamed end of a Unix connection, or closed.
  std::string local_address() const { return addresstext(false); }
  std::uint16_t local_port() const;  // 0: not TCP, or closed

 protected:
  [[noreturn]] void fail(const char* operation, int err) const;
  rt::netFD* checked(const char* operation) const;
  void describe(bool remote, char* s, std::size_t n) const;
  std::string addresstext(bool remote) const {
    char s[160];
    describe(remote, s, sizeof s);
    return s;
  }
  rt::netFD* f_ = nullptr;
  std::string what_;  // the addresses, for the texts of errors
};

template <class R>
concept buffer = requires(R&& r) {
  std::span(r);
  requires std::is_trivially_copyable_v<typename decltype(std::span(r))::element_type>;
};

}  // namespace detail

// A connection. One goroutine may read while another writes; more readers, or writers, take turns. Destroying or moving
// it while a call is in progress is an error of the program; close() is not.
class conn : public detail::socket {
 public:
  conn() = default;

  // Bytes read, at least one; 0: the other side has ended its stream (or buffer is empty).
  std::size_t read(std::span<std::byte> buffer);
  // As many bytes as the buffer has, fewer only at the end of the stream.
  std::size_t read_full(std::span<std::byte> buffer);
  // All of it.
  void write(std::span<const std::byte> data);
  // Arrays, vectors and spans of trivially copyable elements, by their bytes.
  template <detail::buffer R>
  std::size_t read(R&& r) {
    std::span<std::byte> bytes = std::as_writable_bytes(std::span(r));
    return read(bytes);
  }
  template <detail::buffer R>
  std::size_t read_full(R&& r) {
    std::span<std::byte> bytes = std::as_writable_bytes(std::span(r));
    return read_full(bytes);
  }
  template <detail::buffer R>
  requires(!std::is_convertible_v<R, std::string_view>) void write(R&& r) {
    std::span<const std::byte> bytes = std::as_bytes(std::span(r));
    write(bytes);
  }
  void write(std::string_view data) { write(std::as_bytes(std::span(data.data(), data.size()))); }

  // For calls from now on, those that wait already included; no_deadline: none. It stays after it has passed: set
  // another one to go on.
  void set_deadline(deadline d);
  void set_read_deadline(deadline d);
  void set_write_deadline(deadline d);
  void shutdown_write();       // the other side reads the end; reading goes on
  void set_no_delay(bool on);  // TCP_NODELAY, on by default; nothing on a Unix socket
  std::string remote_address() const { return addresstext(true); }
  std::uint16_t remote_port() const;

 private:
  friend class listener;
  friend conn connect_tcp(std::string_view, std::uint16_t, deadline);
  friend conn connect_unix(std::string_view, deadline);
  friend conn adopt(int);
  using socket::socket;
};

class listener : public detail::socket {
 public:
  listener() = default;
  ~listener();
  listener(listener&&) noexcept = default;
  listener& operator=(listener&& other) noexcept;
  conn accept();
  void set_deadline(deadline d);  // for accept, as conn's
  bool close();                   // removes the path of a Unix socket, too

 private:
  friend listener listen_tcp(std::string_view, std::uint16_t);
  friend listener listen_unix(std::string_view);
  listener(rt::netFD* f, const char* what, const char* path) : socket(f, what), path_(path) {}
  std::string path_;
};

// host: an address of either kind, a name, or "" (every address, of IPv6 and IPv4 where the system has both). port 0:
// any that is free; local_port() says which. SO_REUSEADDR is set. A name is looked up by getaddrinfo, on a thread that
// may block; several addresses are tried in its order.
listener listen_tcp(std::string_view host, std::uint16_t port);
// The path must not exist; close() removes it. A name that begins with '@' is abstract: without a file.
listener listen_unix(std::string_view path);
// The deadline is for connecting only, and not for the lookup of a name.
conn connect_tcp(std::string_view host, std::uint16_t port, deadline d = no_deadline);
conn connect_unix(std::string_view path, deadline d = no_deadline);
// A stream socket that is connected already (socketpair); it is owned from here on, unless this throws.
conn adopt(int fd);

}  // namespace vitrine::net
