// netpoll.h: what the files of the network poller and of descriptors (netpoll.cc, netpoll_epoll.cc, netfd.cc) share.
#pragma once
#include "runtime.h"

namespace vitrine::rt {

// Bits of pollDesc.info: what a waiter has to know without the lock.
enum pollInfo : uint32 {
  pollClosing = 1,
  pollExpiredRead = 2,
  pollExpiredWrite = 4,
};

enum pollMode : int32 { pollRead = 1, pollWrite = 2, pollBoth = 3 };

// ---- netpoll.cc. Errors are errno numbers; 0 is success. Of the reading side of one pollDesc at most one goroutine
// waits, and likewise of the writing side: netfd.cc sees to that.

int32 pollOpen(int32 fd, pollDesc** out);  // EPERM: a kind of file that is always ready
void pollUnblock(pollDesc* pd);            // from here on every wait fails with ECANCELED; wakes both sides
void pollClose(pollDesc* pd);              // after pollUnblock, nobody waits: the pollDesc is free for another file
// Before an attempt at the system call: forgets an old readiness. ECANCELED, ETIMEDOUT: do not try.
int32 pollReset(pollDesc* pd, pollMode mode);
// After the attempt said EAGAIN: parks until there was an event. Spurious returns are possible.
int32 pollWait(pollDesc* pd, pollMode mode);
// when: nanotime; 0: none; < 0, or not in the future: expired now.
void pollSetDeadline(pollDesc* pd, int64 when, pollMode modes);

// For netpoll_epoll.cc: an event for this side or sides came. Goroutines to ready go to the end of the list.
struct readyList {
  gList list;
  g* tail;
};
void netpollready(readyList* ready, pollDesc* pd, int32 modes);

// ---- netpoll_epoll.cc
void netpollinit();
int32 netpollopen(int32 fd, pollDesc* pd);
int32 netpollclose(int32 fd);
uint64 netpolltag(pollDesc* pd);     // names this use of pd in an event
pollDesc* netpolluntag(uint64 tag);  // null: a use that is over

}  // namespace vitrine::rt
