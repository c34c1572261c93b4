// sched_movers.h: which functions of the runtime make which changes, so that a disagreement that `info sched -check`
// finds can be laid at the door of the thread that is in one of them. A dialect maps them to a program's own names. A
// test holds each of them against the runtime's sources, so that a function that is renamed is noticed.
#pragma once
#include <string_view>

namespace vitrine::inspect::movers {

// Take a runnable goroutine from, or on the way to, a run queue: one at a time.
inline constexpr std::string_view kRunnable[] = {
    "execute",      "schedule",    "findrunnable", "runqget",   "runqput",   "ready",  "goready",
    "globrunqput",  "globrunqpop", "newproc",      "newproc1",  "gosched_m", "park_m", "exitsyscall0",
    "startlockedm", "stoplockedm", "stealWork",    "takefirst", "gogo"};
// The same for many goroutines at once.
inline constexpr std::string_view kRunnableMany[] = {"runqsteal",   "runqgrab",   "runqputslow", "globrunqget",
                                                     "injectglist", "procresize", "destroy",     "takefirst"};
// Fill the slots past a ring's tail before they are published.
inline constexpr std::string_view kThief[] = {"runqsteal", "runqgrab"};
// Put a goroutine on its M or take it off; the M's own thread does.
inline constexpr std::string_view kCurrent[] = {"execute",      "park_m", "dropg",   "gosched_m", "goexit0",
                                                "exitsyscall0", "freeze", "exitrun", "gogo",      "schedule"};
// Give a P to an M, take it away, or carry it between the two.
inline constexpr std::string_view kProcessor[] = {"wirep",
                                                  "acquirep",
                                                  "releasep",
                                                  "acquireidlep",
                                                  "pidleget",
                                                  "pidleput",
                                                  "startm",
                                                  "newm",
                                                  "allocm",
                                                  "handoffp",
                                                  "retake",
                                                  "findrunnable",
                                                  "stopm",
                                                  "mpark",
                                                  "gcstopm",
                                                  "takeback",
                                                  "exitsyscall",
                                                  "exitsyscall0",
                                                  "mstart1",
                                                  "mexit",
                                                  "reentersyscall",
                                                  "entersyscall_gcwait",
                                                  "sigpreempted",
                                                  "procresize",
                                                  "destroy",
                                                  "stoplockedm",
                                                  "startlockedm",
                                                  "stopforexit",
                                                  "startTheWorldWithSema",
                                                  "stopTheWorldWithSema",
                                                  "stopsyscalls",
                                                  "exitrun",
                                                  "regainp",
                                                  "entry_slow"};
// Change the Ps of a world that is stopped, or that starts again.
inline constexpr std::string_view kWorld[] = {
    "startTheWorldWithSema", "stopTheWorldWithSema", "procresize", "destroy", "gcstopm",
    "stopsyscalls",          "entersyscall_gcwait"};
// Empty the queue of a P that goes away; Go's clears runnext after that goroutine is queued elsewhere.
inline constexpr std::string_view kDestroys[] = {"destroy"};
// Move the timers of Ps that go away, in a stopped world without a lock.
inline constexpr std::string_view kTimers[] = {"procresize"};
// Count themselves, or an M that they start, as looking for work.
inline constexpr std::string_view kSpinning[] = {
    "wakep",          "startm",  "newm",     "allocm",      "handoffp", "resetspinning", "findrunnable",
    "becomeSpinning", "gcstopm", "schedule", "stopforexit", "mstart1",  "mspinning"};
// Make an M, or end one.
inline constexpr std::string_view kMachine[] = {"startm", "newm",      "allocm", "mcommoninit",
                                                "mexit",  "schedinit", "mstart1"};
inline constexpr std::string_view kMachineEnd[] = {"mexit"};
// Tie a goroutine to its M, or free it.
inline constexpr std::string_view kLocked[] = {"goexit0", "mexit"};
// Make or end the g of a thread that is no M, and park it.
inline constexpr std::string_view kProxy[] = {"newproxy", "endproxy", "foreignproxy"};
inline constexpr std::string_view kForeign[] = {"foreignpark", "foreignready"};
// Take a dead g from a free list or put it there.
inline constexpr std::string_view kFree[] = {"gfget",   "gfput",   "gfpurge",  "newproc1", "newproc",
                                             "goexit0", "destroy", "endproxy", "malg",     "globalget"};

}  // namespace vitrine::inspect::movers
