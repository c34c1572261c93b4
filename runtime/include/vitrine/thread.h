// thread.h: what a goroutine can say about the thread under it. All three are scopes, for a local variable of the
// goroutine; on a thread that is no goroutine they do nothing.
#pragma once
#include "detail/rt.h"

namespace vitrine {

// Around a call that may block the thread (read, a library's wait, a heavy computation): other goroutines run meanwhile
// on another thread. Costs some 100 ns. A call of this library inside the scope ends it early.
class blocking_scope {
 public:
  blocking_scope() : entered_(rt::entersyscall()) { rt::keepframe(); }
  ~blocking_scope() {
    if (entered_) rt::exitsyscall();
  }
  blocking_scope(const blocking_scope&) = delete;
  blocking_scope& operator=(const blocking_scope&) = delete;

 private:
  bool entered_;
};

// The goroutine stays on its present thread, and no other goroutine runs on that, until the scope ends; scopes nest.
// For libraries that keep state by thread. A goroutine that ends while it is locked takes the thread with it.
class os_thread_lock {
 public:
  os_thread_lock() { rt::LockOSThread(); }
  ~os_thread_lock() { rt::UnlockOSThread(); }
  os_thread_lock(const os_thread_lock&) = delete;
  os_thread_lock& operator=(const os_thread_lock&) = delete;
};

// The goroutine is not asked to yield, and does not lose its processor, however long it computes; it may still wait.
// Keep it short: everything that stops the world waits for it.
class no_preempt {
 public:
  no_preempt() { rt::disablepreempt(); }
  ~no_preempt() { rt::enablepreempt(); }
  no_preempt(const no_preempt&) = delete;
  no_preempt& operator=(const no_preempt&) = delete;
};

}  // namespace vitrine
