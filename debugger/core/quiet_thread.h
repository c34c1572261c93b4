// quiet_thread.h: a worker thread inside a debugger. All signals are blocked in it: a debugger's handlers belong to its
// own threads.
#pragma once
#include <pthread.h>

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

namespace vitrine::inspect {

// False: there is no thread to be had.
template <class F>
bool start_quiet_thread(std::thread& thread, F&& work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool made = true;
  try {
    thread = std::thread(std::forward<F>(work));
  } catch (const std::system_error&) {
    made = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return made;
}

}  // namespace vitrine::inspect
