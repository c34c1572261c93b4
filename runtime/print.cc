// print.cc: output for messages that must work anywhere — inside a signal handler, with a lock held, on a stack that
// just overflowed. Each call formats into a small buffer on the stack and write(2)s it; nothing is allocated or locked,
// so lines of several threads may interleave. The message kinds are Go's print builtins.
//
// printto gives this thread a sink: what it prints is then gathered and written by whole lines, to the sink's file. For
// dumps (traceback.cc), which are long and may go elsewhere than fd 2. On g0, in a handler or on a foreign thread only:
// the thread-local would not follow a goroutine.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime.h"

namespace vitrine::rt {

static __thread __attribute__((tls_model("initial-exec"))) printsink* current;

static void writeall(int fd, const char* p, size_t n) {
  int saved = errno;
  while (n > 0) {
    ssize_t w = ::write(fd, p, n);
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0) break;
    p += w;
    n -= size_t(w);
  }
  errno = saved;
}

static void flush(printsink* s) {
  writeall(s->fd, s->buf, s->n);
  s->n = 0;
}

void printto(printsink* s) {
  if (current != nullptr) flush(current);
  current = s;
  if (s != nullptr) s->n = 0;
}

static void gwrite(const char* p, size_t n) {
  printsink* s = current;
  if (s == nullptr) return writeall(2, p, n);
  for (size_t i = 0; i < n; i++) {
    if (s->n == sizeof s->buf) flush(s);
    s->buf[s->n++] = p[i];
    if (p[i] == '\n') flush(s);
  }
}

void print1(const char* s) { gwrite(s, strlen(s)); }
void print1(string s) { gwrite(s.str, size_t(s.len)); }

void print1(uint64 v) {
  char buf[20];
  size_t i = sizeof buf;
  do buf[--i] = char('0' + v % 10);
  while (v /= 10);
  gwrite(buf + i, sizeof buf - i);
}

void print1(int64 v) {
  if (v < 0) {
    gwrite("-", 1);
    print1(uint64(0) - uint64(v));
    return;
  }
  print1(uint64(v));
}

void print1(hex h) {
  char buf[18];
  size_t i = sizeof buf;
  uint64 v = h.v;
  do buf[--i] = "0123456789abcdef"[v % 16];
  while (v /= 16);
  buf[--i] = 'x';
  buf[--i] = '0';
  gwrite(buf + i, sizeof buf - i);
}

}  // namespace vitrine::rt
