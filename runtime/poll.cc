// poll.cc: vitrine::poll::fd, a thin skin over netfd.cc that turns errno numbers into exceptions.
#include "include/vitrine/poll.h"

#include <cerrno>
#include <cstdio>

#include "runtime.h"

namespace vitrine::rt {

// steady_clock is CLOCK_MONOTONIC, the clock of nanotime.
int64 fddeadline(std::chrono::steady_clock::time_point d) {
  if (d == std::chrono::steady_clock::time_point::max()) return fdNoDeadline;
  int64 ns = std::chrono::duration_cast<std::chrono::nanoseconds>(d.time_since_epoch()).count();
  return ns <= 0 ? -1 : ns;
}

}  // namespace vitrine::rt

namespace vitrine::poll {

[[noreturn]] static void fail(const char* operation, rt::int32 err) {
  char text[64];
  std::snprintf(text, sizeof text, "vitrine::poll::fd: %s", operation);
  throw std::system_error(err, std::generic_category(), text);
}

static rt::netFD* checked(rt::netFD* f, const char* operation) {
  if (f == nullptr) fail(operation, EBADF);
  return f;
}

fd::fd(int native, ownership o) {
  rt::int32 err;
  f_ = rt::fdnew(native, o == own, false, &err);
  if (f_ == nullptr) fail("open", err);
}

void fd::wait_readable(deadline d) {
  if (auto err = rt::fdwait(checked(f_, "wait_readable"), rt::fdRead, rt::fddeadline(d))) fail("wait_readable", err);
}

void fd::wait_writable(deadline d) {
  if (auto err = rt::fdwait(checked(f_, "wait_writable"), rt::fdWrite, rt::fddeadline(d))) fail("wait_writable", err);
}

std::size_t fd::read(std::span<std::byte> buffer) {
  rt::int64 n = rt::fdread(checked(f_, "read"), buffer.data(), buffer.size());
  if (n < 0) fail("read", rt::int32(-n));
  return std::size_t(n);
}

void fd::write(std::span<const std::byte> data) {
  rt::uint64 done;
  if (auto err = rt::fdwrite(checked(f_, "write"), data.data(), data.size(), &done)) fail("write", err);
}

void fd::set_read_deadline(deadline d) {
  if (auto err = rt::fdsetdeadline(checked(f_, "deadline"), rt::fddeadline(d), rt::fdRead)) fail("deadline", err);
}

void fd::set_write_deadline(deadline d) {
  if (auto err = rt::fdsetdeadline(checked(f_, "deadline"), rt::fddeadline(d), rt::fdWrite)) fail("deadline", err);
}

bool fd::close() { return f_ != nullptr && rt::fdclose(f_) == 0; }

}  // namespace vitrine::poll
