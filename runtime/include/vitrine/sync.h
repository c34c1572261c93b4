// sync.h: mutex and wait_group. Both park the goroutine, never its thread, are usable before run() (constant
// initialised), and are found by a debugger as what a goroutine waits on. Threads that are no goroutines may use them
// too, and wait (not before run()): the thread sleeps.
#pragma once
#include <type_traits>
#include <utility>

#include "detail/call.h"
#include "go.h"

namespace vitrine {

// Not recursive. Lockable, so std::unique_lock, std::lock_guard and std::scoped_lock take it. A goroutine that has
// waited for over a millisecond is handed the mutex by the next unlock; until then a running goroutine may overtake it.
class mutex {
 public:
  constexpr mutex() = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() {
    rt::mutexlock(&m_);
    rt::keepframe();
  }
  bool try_lock() { return rt::mutextrylock(&m_); }
  // Of a mutex that is not locked: ends the program.
  void unlock() { rt::mutexunlock(&m_); }

 private:
  rt::syncMutex m_{};
};

// Waits for a number of goroutines. add() before they start, done() by each as it ends, wait() until all have.
class wait_group {
 public:
  constexpr wait_group() = default;
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;

  // n may be negative; a count that becomes negative ends the program.
  void add(int n) { rt::wgadd(&wg_, n); }
  void done() { rt::wgadd(&wg_, -1); }
  void wait() {
    rt::wgwait(&wg_);
    rt::keepframe();
  }

  // add(1), then f() on a new goroutine, then, with f destroyed, done(). The wait_group must outlive that.
  template <class F>
  __attribute__((always_inline)) inline void go(F&& f);

 private:
  template <class C>
  struct entry {
    wait_group* wg;
    C call;
    static void start(void* arg) {
      auto* self = static_cast<entry*>(arg);
      wait_group* wg = self->wg;
      self->call.call();
      delete self;
      wg->done();
    }
  };

  rt::syncWaitGroup wg_{};
};

template <class F>
__attribute__((always_inline)) inline void wait_group::go(F&& f) {
  rt::checkcallable<F>();
  using call = rt::closureof<F>;
  auto* c = new entry<call>{this, call(std::in_place, std::forward<F>(f))};
  add(1);
  rt::startgoroutine(&entry<call>::start, c, rt::funcpc(c->call.f, &entry<call>::start), nullptr, 0, 0);
  rt::keepframe();
}

}  // namespace vitrine
