// runtime.h: questions to and settings of the runtime itself.
//
//   vitrine::runtime::dump_stacks();      where is everybody? also: kill -QUIT, which ends the program as well
//   vitrine::runtime::mem_stats().sys     how much memory is where?
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

}  // namespace vitrine::runtime
