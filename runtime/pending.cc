// pending.cc: weak stand-ins for parts that are being written. Goes away with the last of them.
#include "proc.h"
namespace vitrine::rt {
__attribute__((weak)) bool netpollinited() { return false; }
__attribute__((weak)) gList netpoll(int64) { return {}; }
__attribute__((weak)) void netpollBreak() {}
__attribute__((weak)) atomic<int32> netpollWaiters;
__attribute__((weak)) void movetimers(p*, p*) {}
}  // namespace vitrine::rt
