// print.cc: output for messages that must work anywhere — inside a signal handler, with a lock held, on a stack that
// just overflowed. Each call formats into a small buffer on the stack and write(2)s it; nothing is allocated or locked,
// so lines of several threads may interleave. The message kinds are Go's print builtins.
#include <unistd.h>

#include <cstring>

#include "runtime.h"

namespace vitrine::rt {

static void gwrite(const char* p, size_t n) {
  while (n > 0) {
    ssize_t w = ::write(2, p, n);
    if (w <= 0) return;
    p += w;
    n -= size_t(w);
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
