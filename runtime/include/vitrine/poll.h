// poll.h: waiting for a file descriptor — a pipe, a socket, an eventfd, an inotify or timer descriptor — without
// blocking a thread.
//
//   vitrine::poll::fd events{inotify_init1(IN_CLOEXEC), vitrine::poll::own};
//   std::size_t n = events.read(buffer);   // other goroutines run until there is something
#pragma once
#include <chrono>
#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include "detail/netfd.h"

namespace vitrine::poll {

// When to give up; the clock of all deadlines. A time that has passed: at once, even if the descriptor is ready.
using clock = std::chrono::steady_clock;
using deadline = clock::time_point;
inline constexpr deadline no_deadline = deadline::max();

enum ownership : bool { borrow = false, own = true };

// A descriptor that goroutines and threads may use at the same time: one reads and one writes at once, more take turns.
// A copyable file number in a move-only handle. Functions but the constructors and close throw std::system_error with
// the operation in its text:
//   errc::timed_out           the deadline of that side has passed
//   errc::operation_canceled  close() was called, before or while this waited
//   errc::bad_file_descriptor the handle is empty (default-constructed or moved from)
//   others                    what the system call said
// A regular file is always ready; its reads and writes block a thread, not the other goroutines, and it has no
// deadlines (errc::operation_not_permitted).
class fd {
 public:
  fd() = default;
  // Makes the descriptor nonblocking, for all who share its open file. A borrowed one gets its mode back at close(); it
  // must stay open until then. One that is in use by another poll::fd: errc::file_exists. When this throws, the
  // descriptor is still the caller's.
  explicit fd(int native, ownership o = borrow);
  fd(fd&& other) noexcept : f_(std::exchange(other.f_, nullptr)) {}
  fd& operator=(fd&& other) noexcept {
    if (this != &other) {
      release();
      f_ = std::exchange(other.f_, nullptr);
    }
    return *this;
  }
  ~fd() { release(); }  // closes; no call may be in progress

  // Return when it is ready for that operation, has an error, or its other end is gone.
  void wait_readable(deadline d = no_deadline);
  void wait_writable(deadline d = no_deadline);
  // Bytes read, at least one; 0: the end (or an empty buffer).
  std::size_t read(std::span<std::byte> buffer);
  std::size_t read(void* buffer, std::size_t bytes) { return read({static_cast<std::byte*>(buffer), bytes}); }
  // All of it. A pipe that nobody reads raises SIGPIPE, as write(2) does.
  void write(std::span<const std::byte> data);
  void write(const void* data, std::size_t bytes) { write({static_cast<const std::byte*>(data), bytes}); }
  // For this side's calls from now on, those that wait already included. Stays until it is set again.
  void set_read_deadline(deadline d);
  void set_write_deadline(deadline d);
  // Ends the waits of others; the descriptor is closed, or given back, when this returns. False: it was before.
  bool close();
  explicit operator bool() const { return f_ != nullptr && rt::fdnative(f_) >= 0; }
  int native_handle() const { return f_ == nullptr ? -1 : rt::fdnative(f_); }  // -1: closed or empty

 private:
  void release() {
    if (f_ != nullptr) rt::fdrelease(std::exchange(f_, nullptr));
  }
  rt::netFD* f_ = nullptr;
};

}  // namespace vitrine::poll
