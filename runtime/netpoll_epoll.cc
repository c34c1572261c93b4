// netpoll_epoll.cc: the network poller on Linux: one epoll descriptor, and an eventfd to end a wait. Follows Go's
// netpoll_epoll.go.
//
// An event carries 64 bits: the pollDesc, of whose address the low 6 bits are 0 and the top 16 are, and 22 bits of its
// fdseq. A sequence that comes round after four million uses of one pollDesc during one epoll_wait would be taken for
// the old one; the result is a readiness that is none, which waiters bear (netpoll.cc).
//
// netpollBreak: several breaks before one wakeup are one (`breaking`). The M that waits reads the eventfd and only then
// clears the word: a break that comes between the two is merged into a wakeup that has just happened, and the M looks
// at everything after it. An M that polls without waiting leaves the eventfd as it is: the break is for the one who
// waits, and the eventfd is registered level-triggered, so that one sees it still.
//
// Unlike Go: a wait goes on after events that ready nobody (each edge of a connection whose goroutine is running is
// one: it will read before it waits), instead of sending the M, with a P, to look for work.
// Unlike Go: waits of less than a millisecond are exact (epoll_pwait2), where the kernel has that (5.11); otherwise
// they are rounded up to milliseconds.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

#include "netpoll.h"

namespace vitrine::rt {

static int32 epfd = -1;
static int32 breakfd = -1;
static atomic<uint32> breaking;  // a break is on its way
static atomic<uint32> nopwait2;  // the kernel does not have it

constexpr int tagBits = 22;
constexpr uint64 tagMask = (uint64(1) << tagBits) - 1;

void netpollinit() {
  epfd = epoll_create1(EPOLL_CLOEXEC);
  breakfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event ev{};
  ev.events = EPOLLIN;
  ev.data.u64 = 0;  // no pollDesc
  if (epfd < 0 || breakfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, breakfd, &ev) != 0) {
    print("runtime: cannot set up epoll: errno ", int32(errno), "\n");
    throw_("netpollinit failed");
  }
}

uint64 netpolltag(pollDesc* pd) { return uint64(pd) >> 6 << tagBits | (pd->fdseq.load() & tagMask); }

pollDesc* netpolluntag(uint64 tag) {
  auto* pd = reinterpret_cast<pollDesc*>(tag >> tagBits << 6);
  return (pd->fdseq.load() & tagMask) == (tag & tagMask) ? pd : nullptr;
}

int32 netpollopen(int32 fd, pollDesc* pd) {
  epoll_event ev{};
  ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  ev.data.u64 = netpolltag(pd);
  return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : errno;
}

int32 netpollclose(int32 fd) {
  epoll_event ev{};
  return epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &ev) == 0 ? 0 : errno;
}

void netpollBreak() {
  if (!netpollinited() || breaking.load() != 0 || !breaking.cas(0, 1)) return;
  uint64 one = 1;
  while (write(breakfd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static int wait(epoll_event* events, int n, int64 delay) {
  if (delay > 0 && nopwait2.load(__ATOMIC_RELAXED) == 0) {
    timespec ts{delay / 1'000'000'000, delay % 1'000'000'000};
    int got = int(syscall(SYS_epoll_pwait2, epfd, events, n, &ts, nullptr, 0));
    if (got >= 0 || errno != ENOSYS) return got;
    nopwait2.store(1, __ATOMIC_RELAXED);
  }
  int ms = delay < 0                             ? -1
           : delay == 0                          ? 0
           : delay >= int64(INT_MAX) * 1'000'000 ? INT_MAX
                                                 : int((delay + 999'999) / 1'000'000);
  return epoll_wait(epfd, events, n, ms);
}

// Hands what came to netpollready; true: there was a break.
static bool deliver(readyList* ready, const epoll_event* events, int n, bool waited) {
  bool broken = false;
  for (int i = 0; i < n; i++) {
    uint32 what = events[i].events;
    if (events[i].data.u64 == 0) {
      if (!waited) continue;
      uint64 count;
      if (read(breakfd, &count, sizeof count) < 0 && errno != EAGAIN && errno != EINTR) throw_("netpoll: bad eventfd");
      breaking.store(0);
      broken = true;
      continue;
    }
    // A hang-up or an error ends the waits of both sides: their system calls will say what it is.
    int32 modes = 0;
    if ((what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) modes |= pollRead;
    if ((what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) modes |= pollWrite;
    if (pollDesc* pd = netpolluntag(events[i].data.u64); pd != nullptr && modes != 0) netpollready(ready, pd, modes);
  }
  return broken;
}

gList netpoll(int64 delay) {
  readyList ready{};
  if (!netpollinited()) return ready.list;
  int64 until = delay > 0 ? timeafter(delay) : 0;
  for (;;) {
    epoll_event events[128];
    int n = wait(events, 128, delay);
    if (n < 0 && errno != EINTR) {
      print("runtime: epoll_wait failed: errno ", int32(errno), "\n");
      throw_("netpoll failed");
    }
    bool broken = n > 0 && deliver(&ready, events, n, delay != 0);
    if (ready.list.head != nullptr || broken || delay == 0 || n == 0) return ready.list;
    if (delay > 0 && (delay = until - nanotime()) <= 0) return ready.list;
  }
}

}  // namespace vitrine::rt
