// time.h: sleeping. The clock is CLOCK_MONOTONIC; sleeps never end early.
#pragma once
#include <chrono>
#include <limits>

#include "detail/rt.h"

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

}  // namespace vitrine
