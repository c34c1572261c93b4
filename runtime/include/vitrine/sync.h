// sync.h: mutex, rw_mutex, cond, once, semaphore and wait_group. All park the goroutine, never its thread, are usable
// before run() (constant initialised), and are found by a debugger as what a goroutine waits on. Threads that are no
// goroutines may use them too, and wait (not before run()): the thread sleeps. What waits up to a time measures it with
// CLOCK_MONOTONIC; a time point may be of any clock, and is compared with that clock again before the wait is given up.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <utility>

#include "detail/call.h"
#include "go.h"
#include "time.h"

#if defined(__SANITIZE_THREAD__)
#define VITRINE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VITRINE_THREAD_SANITIZER 1
#endif
#endif

namespace vitrine {

class cond;

namespace rt {
// Waits with wait(ns) until it succeeds or t's clock says t.
template <class Clock, class Duration, class Wait>
bool waituntil(const std::chrono::time_point<Clock, Duration>& t, Wait wait) {
  for (;;) {
    auto now = Clock::now();
    if (wait(now < t ? nanoseconds(t - now) : 0)) return true;
    if (Clock::now() >= t) return false;
  }
}
}  // namespace rt

// Not recursive. TimedLockable, so std::unique_lock, std::lock_guard and std::scoped_lock take it. A goroutine that has
// waited for over a millisecond is handed the mutex by the next unlock; until then a running goroutine may overtake it.
// Who has locked it unlocks it, on whatever thread: debuggers show that goroutine as the holder, and ThreadSanitizer,
// which knows these mutexes, reports an unlock by another.
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
  // False: it was not free for us within that time.
  template <class Rep, class Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& d) {
    bool got = rt::mutextimedlock(&m_, rt::nanoseconds(d));
    rt::keepframe();
    return got;
  }
  template <class Clock, class Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& t) {
    return rt::waituntil(t, [this](rt::int64 ns) { return rt::mutextimedlock(&m_, ns); });
  }
  // Of a mutex that is not locked: ends the program.
  void unlock() { rt::mutexunlock(&m_); }
#ifdef VITRINE_THREAD_SANITIZER
  ~mutex() { rt::mutexgone(&m_); }  // what is at this address next is another mutex
#endif

 private:
  friend class cond;
  rt::syncMutex m_{};
};

// Any number of readers or one writer. SharedLockable and Lockable, so std::shared_lock and std::unique_lock take it.
// Not recursive, not even for readers: a writer that waits stops new readers, and a writer that leaves lets in the
// readers that wait, so neither side starves. To be destroyed only when no call on it is still running.
class rw_mutex {
 public:
  constexpr rw_mutex() = default;
  rw_mutex(const rw_mutex&) = delete;
  rw_mutex& operator=(const rw_mutex&) = delete;

  void lock() {
    rt::rwlock(&m_);
    rt::keepframe();
  }
  // May fail although it is free while a reader is being turned away.
  bool try_lock() { return rt::rwtrylock(&m_); }
  // Of one that is not locked: ends the program. So does unlock_shared of one that nobody reads.
  void unlock() { rt::rwunlock(&m_); }

  void lock_shared() {
    rt::rwrlock(&m_);
    rt::keepframe();
  }
  // Fails also while a writer only waits.
  bool try_lock_shared() { return rt::rwtryrlock(&m_); }
  void unlock_shared() { rt::rwrunlock(&m_); }
#ifdef VITRINE_THREAD_SANITIZER
  ~rw_mutex() { rt::rwgone(&m_); }
#endif

 private:
  rt::syncRWMutex m_{};
};

// Goroutines that wait for a condition on what a vitrine::mutex guards. A notification wakes who has waited longest,
// and nobody wakes without one or a timeout; still another may have changed the condition before the woken one has the
// mutex back, so look again (or pass pred). Every wait needs the lock held by the caller, and ends the program
// otherwise; it is unlocked while waiting and held again on return, also when pred throws.
class cond {
 public:
  constexpr cond() = default;
  cond(const cond&) = delete;
  cond& operator=(const cond&) = delete;

  void wait(std::unique_lock<mutex>& lock) {
    rt::condwait(&c_, held(lock));
    rt::keepframe();
  }
  // Until pred().
  template <class Pred>
  void wait(std::unique_lock<mutex>& lock, Pred pred) {
    while (!pred()) wait(lock);
  }
  // timeout: that time passed, and no notification was spent on this wait.
  template <class Rep, class Period>
  std::cv_status wait_for(std::unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& d) {
    bool notified = rt::condtimedwait(&c_, held(lock), rt::nanoseconds(d));
    rt::keepframe();
    return notified ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  // What pred() said last: false only when that time passed.
  template <class Rep, class Period, class Pred>
  bool wait_for(std::unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& d, Pred pred) {
    rt::int64 left = rt::nanoseconds(d);
    for (auto begin = std::chrono::steady_clock::now(); !pred();) {
      auto gone = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
      if (!rt::condtimedwait(&c_, held(lock), left - gone)) return pred();
    }
    return true;
  }
  template <class Clock, class Duration>
  std::cv_status wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Duration>& t) {
    bool notified = rt::waituntil(t, [&](rt::int64 ns) { return rt::condtimedwait(&c_, held(lock), ns); });
    return notified ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <class Clock, class Duration, class Pred>
  bool wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Duration>& t, Pred pred) {
    while (!pred())
      if (wait_until(lock, t) == std::cv_status::timeout) return pred();
    return true;
  }

  void notify_one() { rt::condsignal(&c_); }
  void notify_all() { rt::condbroadcast(&c_); }

 private:
  static rt::syncMutex* held(std::unique_lock<mutex>& lock) { return lock.owns_lock() ? &lock.mutex()->m_ : nullptr; }
  rt::syncCond c_{};
};

// Runs a function once, whoever comes first; the others wait until it has returned.
class once {
 public:
  constexpr once() = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;

  // An exception of f comes out of this call and leaves it undone: the next caller, or one that waits, calls its f. A
  // call from within f ends the program: it would wait for itself.
  template <class F>
  void call(F&& f) {
    if (o_.done.load(__ATOMIC_ACQUIRE) != 0) return;
    bool mine = rt::oncebegin(&o_);
    rt::keepframe();
    if (!mine) return;
    struct ending {
      rt::syncOnce* o;
      bool done = false;
      ~ending() { rt::onceend(o, done); }
    } end{&o_};
    std::forward<F>(f)();
    end.done = true;
  }

 private:
  rt::syncOnce o_{};
};

// A number of permits, from 0 to 2^31 - 1 free at once (a release beyond that ends the program). First come first
// served: one that wants more permits than are free keeps later ones from overtaking it.
class semaphore {
 public:
  constexpr explicit semaphore(std::int64_t count = 0) {
    if (count < 0 || count > INT32_MAX) rt::semcheck(count);
    s_.count.value = count;
  }
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  void acquire(std::int64_t n = 1) {
    rt::semacquire(&s_, n);
    rt::keepframe();
  }
  bool try_acquire(std::int64_t n = 1) { return rt::semtryacquire(&s_, n); }
  // False: there were not that many for us within that time, and none was taken.
  template <class Rep, class Period>
  bool try_acquire_for(const std::chrono::duration<Rep, Period>& d, std::int64_t n = 1) {
    bool got = rt::semtimedacquire(&s_, n, rt::nanoseconds(d));
    rt::keepframe();
    return got;
  }
  template <class Clock, class Duration>
  bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& t, std::int64_t n = 1) {
    return rt::waituntil(t, [&](rt::int64 ns) { return rt::semtimedacquire(&s_, n, ns); });
  }
  void release(std::int64_t n = 1) { rt::semrelease(&s_, n); }
  // How many are free at this moment.
  std::int64_t available() const { return rt::semfree(&s_); }

 private:
  rt::syncSema s_{};
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
      rt::deleteheld(self);
      wg->done();
    }
  };

  rt::syncWaitGroup wg_{};
};

template <class F>
__attribute__((always_inline)) inline void wait_group::go(F&& f) {
  rt::checkcallable<F>();
  using call = rt::closureof<F>;
  auto* c = rt::newheld<entry<call>, rt::heldkind::closure>(this, call(std::in_place, std::forward<F>(f)));
  add(1);
  rt::startgoroutine(&entry<call>::start, c, rt::funcpc(c->call.f, &entry<call>::start), nullptr, 0, 0);
  rt::keepframe();
}

}  // namespace vitrine

#undef VITRINE_THREAD_SANITIZER
