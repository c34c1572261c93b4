// netfd.cc: a descriptor that several goroutines use and any of them may close. Follows Go's internal/poll (FD,
// fdMutex).
//
// state is operations in progress << 1 | closed. An operation counts itself in, which fails once it is closed, and out.
// The descriptor is given back by whoever brings state to "closed, none in progress": that happens once, because
// nothing counts itself in after `closed`. So no system call ever meets a number that belongs to another file by then.
// close sets `closed`, wakes both sides (pollUnblock), and waits (`gone`) until the descriptor is really closed, so
// that its address can be used again at once; operations that wait by the poller leave soon. A descriptor that epoll
// does not take (a regular file) may be inside of a blocking call: nobody waits for that.
//
// refs keeps the memory: one for the handle, one for the descriptor.
//
// rmu and wmu: one goroutine at a time reads and one writes; more are served in turn. Both are ordinary mutexes, so a
// debugger shows who waits for whom. A write has its mutex until all is written, so writes do not mix.
//
// An operation: count in, lock the side, then: pollReset, try; EAGAIN: pollWait, try again. The try comes first: under
// load there is mostly something to read and nothing is ever registered or asked again.
//
// System calls are in functions of their own that return -errno: `errno` is a thread-local, whose address compilers
// keep, and after a park the thread may be another.
#include "include/vitrine/detail/netfd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "netpoll.h"
#include "syncwait.h"

namespace vitrine::rt {

struct netFD {
  atomic<uint64> state;
  atomic<int32> refs;
  int32 fd;
  pollDesc* pd;  // null: epoll does not take it
  uint8 own;
  uint8 issocket;
  uint8 wasblocking;  // O_NONBLOCK is to be taken off a borrowed descriptor again
  syncMutex rmu, wmu;
  syncWaitGroup gone;
};

// ---- system calls

VITRINE_NOINLINE static int64 sysread(netFD* f, void* buf, uint64 n) {
  int64 got = f->issocket != 0 ? recv(f->fd, buf, n, 0) : read(f->fd, buf, n);
  return got < 0 ? -errno : got;
}

VITRINE_NOINLINE static int64 syswrite(netFD* f, const void* buf, uint64 n) {
  int64 put = f->issocket != 0 ? send(f->fd, buf, n, MSG_NOSIGNAL) : write(f->fd, buf, n);
  return put < 0 ? -errno : put;
}

VITRINE_NOINLINE static int64 sysaccept(netFD* f) {
  int fd = accept4(f->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

VITRINE_NOINLINE static int64 syspoll(netFD* f, bool write) {
  pollfd p{f->fd, short(write ? POLLOUT : POLLIN | POLLRDHUP), 0};
  int n = poll(&p, 1, 0);
  return n < 0 ? -errno : n == 0 ? -EAGAIN : 0;
}

VITRINE_NOINLINE static int64 sysconnect(netFD* f, const void* addr, uint32 len) {
  return connect(f->fd, static_cast<const sockaddr*>(addr), len) < 0 ? -errno : 0;
}

// How a connect in progress ended; EAGAIN: it has not.
VITRINE_NOINLINE static int64 sysconnected(netFD* f) {
  int err = 0;
  socklen_t len = sizeof err;
  if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) return -errno;
  if (err != 0) return err == EINPROGRESS || err == EALREADY || err == EINTR ? -EAGAIN : -err;
  sockaddr_storage peer;
  len = sizeof peer;
  if (getpeername(f->fd, reinterpret_cast<sockaddr*>(&peer), &len) == 0) return 0;
  return errno == ENOTCONN ? -EAGAIN : -errno;
}

VITRINE_NOINLINE static int32 setnonblock(int fd, bool on, bool* was) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return errno;
  *was = (flags & O_NONBLOCK) != 0;
  if (*was == on) return 0;
  return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0 ? errno : 0;
}

// ---- life

netFD* fdnew(int fd, bool own, bool issocket, int32* err) {
  entry();
  bool nonblock;
  *err = setnonblock(fd, true, &nonblock);
  if (*err != 0) return nullptr;
  pollDesc* pd;
  *err = pollOpen(fd, &pd);
  if (*err == EPERM) *err = 0;
  if (*err != 0 || pd == nullptr) {
    bool was;
    if (!nonblock) setnonblock(fd, false, &was);
  }
  if (*err != 0) return nullptr;
  auto* f = static_cast<netFD*>(rawalloc(sizeof(netFD)));
  f->fd = fd;
  f->pd = pd;
  f->own = own;
  f->issocket = issocket;
  f->wasblocking = !nonblock && pd != nullptr;
  f->refs.store(2, __ATOMIC_RELAXED);
  wgadd(&f->gone, 1);
  return f;
}

static void drop(netFD* f) {
  if (f->refs.add(-1, __ATOMIC_ACQ_REL) == 0) rawfree(f);
}

// Closed, and no operation in progress: ours alone.
static void destroy(netFD* f) {
  if (f->pd != nullptr) pollClose(f->pd);
  bool was;
  if (f->own != 0)
    close(f->fd);
  else if (f->wasblocking != 0)
    setnonblock(f->fd, false, &was);
  wgadd(&f->gone, -1);
  drop(f);
}

static bool countin(netFD* f) {
  uint64 old = f->state.load(__ATOMIC_RELAXED);
  do {
    if ((old & 1) != 0) return false;
  } while (!__atomic_compare_exchange_n(&f->state.value, &old, old + 2, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
  return true;
}

static void countout(netFD* f) {
  if (f->state.add(uint64(-2), __ATOMIC_ACQ_REL) == 1) destroy(f);
}

int32 fdclose(netFD* f) {
  entry();
  uint64 old = f->state.load(__ATOMIC_RELAXED);
  do {
    if ((old & 1) != 0) return ECANCELED;
    // Counts itself in: the descriptor must be there for pollUnblock.
  } while (
      !__atomic_compare_exchange_n(&f->state.value, &old, (old + 2) | 1, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  if (f->pd != nullptr) pollUnblock(f->pd);
  // After run() nobody leaves an operation any more: a static object's destructor would wait for ever.
  bool wait = f->pd != nullptr && sched.exiting.load(__ATOMIC_ACQUIRE) != 1;
  countout(f);
  if (wait) wgwait(&f->gone);
  return 0;
}

void fdrelease(netFD* f) {
  fdclose(f);
  drop(f);
}

int fdnative(netFD* f) { return (f->state.load(__ATOMIC_RELAXED) & 1) != 0 ? -1 : f->fd; }
bool fdpollable(netFD* f) { return f->pd != nullptr; }

// ---- operations

// Runs attempt(), which returns a count or -errno, until it says something else than EAGAIN. The side is locked.
template <class F>
static int64 attempts(netFD* f, pollMode mode, F attempt) {
  if (f->pd == nullptr) {
    for (;;) {
      bool entered = entersyscall();
      int64 n = attempt();
      if (entered) exitsyscall();
      if (n != -EINTR) return n;
    }
  }
  if (int32 err = pollReset(f->pd, mode); err != 0) return -err;
  for (;;) {
    int64 n = attempt();
    if (n == -EINTR) continue;
    if (n != -EAGAIN) return n;
    if (int32 err = pollWait(f->pd, mode); err != 0) return -err;
  }
}

// Runs body() with the side locked and the descriptor kept.
template <class F>
static int64 operation(netFD* f, pollMode mode, F body) {
  entry();
  if (!countin(f)) return -ECANCELED;
  syncMutex* mu = mode == pollRead ? &f->rmu : &f->wmu;
  mutexlockas(mu, waitReasonSyncMutexLock, mu);
  int64 n = (f->state.load(__ATOMIC_RELAXED) & 1) != 0 ? -ECANCELED : body();
  mutexunlock1(mu);
  countout(f);
  return n;
}

int64 fdread(netFD* f, void* buf, uint64 n) {
  return operation(f, pollRead, [&] { return attempts(f, pollRead, [&] { return sysread(f, buf, n); }); });
}

int32 fdreadfull(netFD* f, void* buf, uint64 n, uint64* done) {
  *done = 0;
  return int32(-operation(f, pollRead, [&]() -> int64 {
    while (*done < n) {
      int64 got = attempts(f, pollRead, [&] { return sysread(f, static_cast<char*>(buf) + *done, n - *done); });
      if (got < 0) return got;
      if (got == 0) break;
      *done += uint64(got);
    }
    return 0;
  }));
}

int32 fdwrite(netFD* f, const void* buf, uint64 n, uint64* done) {
  *done = 0;
  return int32(-operation(f, pollWrite, [&]() -> int64 {
    while (*done < n) {
      int64 put = attempts(f, pollWrite, [&] { return syswrite(f, static_cast<const char*>(buf) + *done, n - *done); });
      if (put < 0) return put;
      *done += uint64(put);
    }
    return 0;
  }));
}

int32 fdaccept(netFD* f, int* fd) {
  int64 n = operation(f, pollRead, [&] {
    return attempts(f, pollRead, [&] {
      // A connection that was given up before anybody took it is no error of the listener.
      int64 got;
      do got = sysaccept(f);
      while (got == -ECONNABORTED);
      return got;
    });
  });
  if (n < 0) return int32(-n);
  *fd = int(n);
  return 0;
}

int32 fdconnect(netFD* f, const void* addr, uint32 len) {
  return int32(-operation(f, pollWrite, [&]() -> int64 {
    if (int32 err = pollReset(f->pd, pollWrite); err != 0) return -err;
    for (;;) {
      int64 n = sysconnect(f, addr, len);
      if (n == 0 || n == -EISCONN) return 0;
      if (n == -EINPROGRESS || n == -EALREADY || n == -EINTR) break;
      if (n != -EAGAIN) return n;
      // A Unix socket whose listener has a full backlog: the kernel tells nobody when it has room.
      timeSleep(1'000'000);
      if (int32 err = pollReset(f->pd, pollWrite); err != 0) return -err;
    }
    return attempts(f, pollWrite, [&] { return sysconnected(f); });
  }));
}

int32 fdwait(netFD* f, fdside side, int64 when) {
  pollMode mode = side == fdRead ? pollRead : pollWrite;
  return int32(-operation(f, mode, [&]() -> int64 {
    if (f->pd == nullptr) return 0;
    if (when != fdNoDeadline) pollSetDeadline(f->pd, when, mode);
    int64 n = attempts(f, mode, [&] { return syspoll(f, mode == pollWrite); });
    if (when != fdNoDeadline) pollSetDeadline(f->pd, fdNoDeadline, mode);
    return n;
  }));
}

int32 fdsetdeadline(netFD* f, int64 when, fdside sides) {
  entry();
  if (!countin(f)) return ECANCELED;
  int32 err = f->pd == nullptr ? EPERM : 0;
  if (err == 0) pollSetDeadline(f->pd, when, pollMode(sides));
  countout(f);
  return err;
}

VITRINE_NOINLINE static int32 sysshutdown(int fd) { return shutdown(fd, SHUT_WR) < 0 ? errno : 0; }

int32 fdshutdownwrite(netFD* f) {
  entry();
  if (!countin(f)) return ECANCELED;
  int32 err = sysshutdown(f->fd);
  countout(f);
  return err;
}

}  // namespace vitrine::rt
