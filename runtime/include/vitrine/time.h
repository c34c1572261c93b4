// time.h: sleeping, timers, tickers. The clock is CLOCK_MONOTONIC, which is std::chrono::steady_clock; sleeps never
// end, and timers never fire, early. Any goroutine may use all of this, and any other thread of the program; timers
// only after run() has begun.
#pragma once
#include <chrono>
#include <limits>
#include <type_traits>
#include <utility>

#include "chan.h"
#include "detail/call.h"

namespace vitrine {

namespace rt {

// In nanoseconds, rounded up; the longest possible when it does not fit (about 292 years); 0 for NaN.
template <class Rep, class Period>
constexpr int64 nanoseconds(const std::chrono::duration<Rep, Period>& d) {
  using wide = std::chrono::duration<long double, std::nano>;
  long double n = wide(d).count();
  if (!(n > 0)) return 0;
  if (n >= static_cast<long double>(std::numeric_limits<int64>::max())) return std::numeric_limits<int64>::max();
  return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}

}  // namespace rt

// Parks this goroutine for at least d; returns at once when d is not positive.
template <class Rep, class Period>
inline void sleep_for(const std::chrono::duration<Rep, Period>& d) {
  rt::timeSleep(rt::nanoseconds(d));
  rt::keepframe();
}

// Parks this goroutine until its clock, which may be any, says t. A clock that is set back makes it sleep again; one
// that is set forward is noticed only after the time that was left when the sleep began.
template <class Clock, class Duration>
inline void sleep_until(const std::chrono::time_point<Clock, Duration>& t) {
  for (auto now = Clock::now(); now < t; now = Clock::now()) sleep_for(t - now);
}

namespace rt {

// What a timer runs; its owner derives from it.
struct timerfunc {
  void (*call)(timerfunc*);
  void (*destroy)(timerfunc*);
  uintptr startpc;
  uintptr gopc;
  atomic<int32> refs;
};

template <class F>
struct timerclosure : timerfunc {
  F f;
  template <class G>
  explicit timerclosure(G&& g) : timerfunc{run, end, 0, 0, {0}}, f(std::forward<G>(g)) {
    startpc = funcpc(f, run);
  }
  static void run(timerfunc* self) { static_cast<void>(static_cast<timerclosure*>(self)->f()); }
  static void end(timerfunc* self) { deleteheld(static_cast<timerclosure*>(self)); }
};

using instant = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
static_assert(sizeof(instant) == sizeof(int64) && std::is_same_v<instant, std::chrono::steady_clock::time_point>);

inline hchan* maketimechan() { return makechan(&chantypeof<instant>, 1); }

}  // namespace rt

// Does something once, later: runs a function, on a goroutine of its own, or sends the time on a channel.
//
//   vitrine::timer t(30s, [&] { connection.shutdown(); });      // until t is stopped or destroyed
//   vitrine::timer t(30s);
//   vitrine::select(vitrine::on_recv(answers, use), vitrine::on_recv(t.channel(), [&](auto) { give_up(); }));
//
// The destructor stops the timer; a function that runs already runs on. d <= 0: at once.
class timer {
 public:
  template <class Rep, class Period>
  explicit timer(const std::chrono::duration<Rep, Period>& d)
      : t_(rt::newchantimer(rt::nanoseconds(d), 0, rt::maketimechan())) {
    rt::keepframe();
  }
  template <class Rep, class Period, class F>
  timer(const std::chrono::duration<Rep, Period>& d, F&& f) {
    static_assert(std::is_invocable_v<std::decay_t<F>&>, "vitrine::timer: the function must take no arguments");
    t_ = rt::newfunctimer(rt::nanoseconds(d), rt::newheld<rt::timerclosure<std::decay_t<F>>>(std::forward<F>(f)));
    rt::keepframe();
  }
  timer(timer&& other) noexcept : t_(std::exchange(other.t_, nullptr)) {}
  timer& operator=(timer&& other) noexcept {
    timer old(std::move(*this));
    t_ = std::exchange(other.t_, nullptr);
    return *this;
  }
  ~timer() {
    if (t_ == nullptr) return;
    rt::timerstop(t_);
    rt::timerrelease(t_);
  }

  // Receives the time at which it fired. Of capacity 1. Throws std::logic_error when the timer has a function.
  chan<std::chrono::steady_clock::time_point> channel() const {
    return rt::chanaccess::handle<rt::instant>(rt::timerchannel(t_));
  }

  // True: it had not fired, or nobody had received its time, and it will not. False: it had, or was stopped. Either way
  // no time is received after this. Does not wait for a function that has been started.
  bool stop() { return t_ != nullptr && rt::timerstop(t_); }

  // stop(), then fires in d. A function may so be started while it still runs.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) {
    return rt::timerreset(t_, rt::nanoseconds(d), 0);
  }

 private:
  rt::usertimer* t_;
};

// Sends the time on a channel every d, first in d from now. A tick for which there is no room in the channel, of
// capacity 1, is dropped. The destructor stops it; the channel is not closed.
class ticker {
 public:
  // Throws std::logic_error when d is not positive.
  template <class Rep, class Period>
  explicit ticker(const std::chrono::duration<Rep, Period>& d) : t_(start(period(d))) {
    rt::keepframe();
  }
  ticker(ticker&& other) noexcept : t_(std::exchange(other.t_, nullptr)) {}
  ticker& operator=(ticker&& other) noexcept {
    ticker old(std::move(*this));
    t_ = std::exchange(other.t_, nullptr);
    return *this;
  }
  ~ticker() {
    if (t_ == nullptr) return;
    rt::timerstop(t_);
    rt::timerrelease(t_);
  }

  chan<std::chrono::steady_clock::time_point> channel() const {
    return rt::chanaccess::handle<rt::instant>(rt::timerchannel(t_));
  }

  // No ticks any more, not even one that is in the channel.
  void stop() {
    if (t_ != nullptr) rt::timerstop(t_);
  }

  // stop(), then ticks every d from now on.
  template <class Rep, class Period>
  void reset(const std::chrono::duration<Rep, Period>& d) {
    rt::timerreset(t_, period(d), period(d));
  }

 private:
  template <class Rep, class Period>
  static rt::int64 period(const std::chrono::duration<Rep, Period>& d) {
    rt::int64 ns = rt::nanoseconds(d);
    if (ns <= 0) rt::panicticker();
    return ns;
  }
  static rt::usertimer* start(rt::int64 ns) { return rt::newchantimer(ns, ns, rt::maketimechan()); }

  rt::usertimer* t_;
};

// A channel that receives the time once, in d.
template <class Rep, class Period>
[[nodiscard]] inline chan<std::chrono::steady_clock::time_point> after(const std::chrono::duration<Rep, Period>& d) {
  rt::usertimer* t = rt::newchantimer(rt::nanoseconds(d), 0, rt::maketimechan());
  auto c = rt::chanaccess::handle<rt::instant>(rt::timerchannel(t));
  rt::timerrelease(t);
  return c;
}

}  // namespace vitrine
