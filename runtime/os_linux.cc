// os_linux.cc: what the runtime asks of the kernel and of libc's environment, and nothing else. Follows Go's
// os_linux.go. Every wrapper keeps the caller's errno: a goroutine may be between a libc call and its look at errno.
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "runtime.h"

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

// A bump allocator over mmapped chunks; what it gives is never returned.
static struct {
  mutex lock;
  uintptr base, end;
} persistent;

void* persistentalloc(uintptr size, uintptr align) {
  constexpr uintptr chunk = 256 << 10;
  if (size >= chunk / 2) {
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
      print("runtime: cannot map ", uint64(size), " bytes: errno ", int32(errno), "\n");
      throw_("out of memory");
    }
    san_root(p, size);
    return p;
  }
  lock(&persistent.lock);
  uintptr p = (persistent.base + align - 1) & ~(align - 1);
  if (persistent.base == 0 || p + size > persistent.end) {
    void* v = mmap(nullptr, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v == MAP_FAILED) {
      print("runtime: cannot map ", uint64(chunk), " bytes: errno ", int32(errno), "\n");
      throw_("out of memory");
    }
    san_root(v, chunk);
    p = uintptr(v);
    persistent.end = p + chunk;
  }
  persistent.base = p + size;
  unlock(&persistent.lock);
  return reinterpret_cast<void*>(p);
}

}  // namespace vitrine::rt
