// netfd.h: a descriptor that goroutines use together; what poll.h and net.h call in the runtime (netfd.cc). Sizes are
// in bytes. Functions that return int64 return a count or, negative, an errno number; those that return int32 an errno
// number or 0. ECANCELED: closed, before or during the call. ETIMEDOUT: the deadline of that side has passed.
#pragma once
#include <chrono>

#include "rt.h"

namespace vitrine::rt {

struct netFD;

enum fdside : int32 { fdRead = 1, fdWrite = 2, fdBoth = 3 };
constexpr int64 fdNoDeadline = 0;  // else nanotime (CLOCK_MONOTONIC); negative or past: expired
int64 fddeadline(std::chrono::steady_clock::time_point d);  // poll.cc

// own: close() closes the descriptor; otherwise it goes back to what it was (O_NONBLOCK). On failure null, *err is set,
// and the descriptor is still the caller's.
netFD* fdnew(int fd, bool own, bool issocket, int32* err);
int32 fdclose(netFD* f);    // ends the waits of others; ECANCELED: it was closed before
void fdrelease(netFD* f);   // the handle goes: closes if need be
int fdnative(netFD* f);     // -1: closed
bool fdpollable(netFD* f);  // false: a regular file, whose calls block their thread
int64 fdread(netFD* f, void* buf, uint64 n);
int32 fdreadfull(netFD* f, void* buf, uint64 n, uint64* done);  // 0 and *done < n: the end came before
int32 fdwrite(netFD* f, const void* buf, uint64 n, uint64* done);
int32 fdaccept(netFD* f, int* fd);
int32 fdconnect(netFD* f, const void* addr, uint32 len);
int32 fdwait(netFD* f, fdside side, int64 when);  // until it is ready; replaces that side's deadline unless it is none
int32 fdsetdeadline(netFD* f, int64 when, fdside sides);
int32 fdshutdownwrite(netFD* f);

}  // namespace vitrine::rt
