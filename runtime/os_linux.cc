// os_linux.cc: what the runtime asks of the kernel and of libc's environment, and nothing else. Follows Go's
// os_linux.go. Every wrapper keeps the caller's errno: a goroutine may be between a libc call and its look at errno.
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "mem.h"

namespace vitrine::rt {

namespace {
struct KeepErrno {
  int saved = errno;
  ~KeepErrno() { errno = saved; }
};

int64 clock_ns(clockid_t id) {
  timespec ts;
  clock_gettime(id, &ts);
  return int64(ts.tv_sec) * 1000000000 + ts.tv_nsec;
}
}  // namespace

int64 nanotime() { return clock_ns(CLOCK_MONOTONIC); }
int64 walltime() { return clock_ns(CLOCK_REALTIME); }
int64 coarsetime() { return clock_ns(CLOCK_MONOTONIC_COARSE); }

int64 timeafter(int64 ns) {
  int64 when;
  return __builtin_add_overflow(nanotime(), ns, &when) ? INT64_MAX : when;
}

void usleep_(uint32 us) {
  KeepErrno keep;
  timespec ts{time_t(us / 1000000), long(us % 1000000) * 1000};
  nanosleep(&ts, nullptr);
}

void osyield() {
  KeepErrno keep;
  sched_yield();
}

int64 gettid_() { return syscall(SYS_gettid); }

void futexsleep(atomic<uint32>* addr, uint32 val, int64 ns) {
  KeepErrno keep;
  timespec ts;
  timespec* tsp = nullptr;
  if (ns >= 0) {
    ts.tv_sec = ns / 1000000000;
    ts.tv_nsec = ns % 1000000000;
    tsp = &ts;
  }
  syscall(SYS_futex, &addr->value, FUTEX_WAIT_PRIVATE, val, tsp, nullptr, 0);
}

void futexwakeup(atomic<uint32>* addr, uint32 count) {
  KeepErrno keep;
  syscall(SYS_futex, &addr->value, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

int32 getproccount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

uintptr getPageSize() { return uintptr(sysconf(_SC_PAGESIZE)); }

const char* gogetenv(const char* name) { return getenv(name); }

int32 atoi32(const char* s, bool* ok) {
  *ok = false;
  if (s == nullptr || *s == 0) return 0;
  KeepErrno keep;
  char* end;
  errno = 0;
  long v = strtol(s, &end, 10);
  if (*end != 0 || errno != 0 || v > INT32_MAX || v < INT32_MIN) return 0;
  *ok = true;
  return int32(v);
}

}  // namespace vitrine::rt
