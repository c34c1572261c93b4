// runtime.h: questions to and settings of the runtime itself.
//
//   vitrine::runtime::dump_stacks();      where is everybody? also: kill -QUIT, which ends the program as well
//   vitrine::runtime::mem_stats().sys     how much memory is where?
//   vitrine::runtime::recorder::start()   what has the scheduler done lately? for a debugger: trace history
#pragma once
#include <string_view>

#include "detail/rt.h"

namespace vitrine::runtime {

// The version of this library, "0.1.0" say.
inline std::string_view version() {
  rt::string v = rt::version();
  return {v.str, std::size_t(v.len)};
}

// Prints every goroutine to the file descriptor: what it waits for and since when, its frames, and who created it; at
// most 1,000 of them, and the number of the others. Goroutines that run on other threads at that moment are named
// without frames. With GOTRACEBACK=system the runtime's own goroutines and frames too. The goroutines go on meanwhile,
// so this is no snapshot; each stack is consistent in itself. From any thread, any number of times; not in a signal
// handler. Errors of writing are ignored.
inline void dump_stacks(int fd = 2) { rt::dumpstacks(fd); }

// The most threads that the runtime may have, those that are blocked in system calls included; 10,000 at first. More
// end the program. Returns what it was before. Ends the program when there are more already. From any thread.
inline int set_max_threads(int n) { return rt::setMaxThreads(n); }

// What the runtime's memory is used for, as Go's runtime.ReadMemStats; see rt.h for each number. The world is not
// stopped: what is allocated during the call may be in one number and not yet in another. From any thread.
inline rt::memStats mem_stats() {
  rt::memStats st;
  rt::readmemstats(&st);
  return st;
}

// The flight recorder: each thread of the runtime keeps its last scheduling events — who ran, blocked and why, woke
// whom, entered a system call, took whose P — in a ring of its own, which a debugger shows from the live process or its
// core: trace history, trace history -chrome FILE, goroutine N history. An event costs 10 to 15 ns while it is on, a
// load and a branch while it is off.
//
// It is on from the start when the file that calls run() is compiled without optimisation and without NDEBUG.
// GODEBUG=flightrecorder=0 turns that off; flightrecorder=1 turns it on, and flightrecorder=4MiB with rings of that
// size.
namespace recorder {

constexpr std::size_t default_bytes = 256 << 10;

// Begins a new recording with rings of so many bytes (a power of two from 4 KiB to 1 GiB, else the next larger one); an
// event takes 32 of them. What was recorded before is not shown any more. Nothing happens when it is on already. The
// rings are mapped when a thread has its first event, touched as they fill, and never unmapped: a larger size later
// leaves the old ones for recordings of their size. From any thread, before run() as well.
inline void start(std::size_t bytes = default_bytes) { rt::tracestart(bytes); }

// Ends the recording; what was recorded stays readable. Threads that are in the middle of an event finish it. From any
// thread.
inline void stop() { rt::tracestop(); }

// Bytes of each ring; 0 while it is off.
inline std::size_t size() { return rt::tracesize(); }

}  // namespace recorder

}  // namespace vitrine::runtime
