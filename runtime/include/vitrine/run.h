// run.h: the entry to the runtime.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

#include "detail/call.h"

namespace vitrine {

struct options {
  int procs = 0;                     // goroutines that run at once; 0: $GOMAXPROCS, else the number of CPUs
  std::size_t main_stack = 1 << 20;  // bytes of stack of goroutine 1
};

namespace rt {

// Whether the file that calls run() is compiled without optimisation and with its assertions: then the flight recorder
// runs from the start (runtime.h).
#if !defined(NDEBUG) && !defined(__OPTIMIZE__)
constexpr bool debugbuild = true;
#else
constexpr bool debugbuild = false;
#endif

template <class F>
struct mainclosure {
  F* f;

  static int start(void* arg) {
    auto* self = static_cast<mainclosure*>(arg);
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      (*self->f)();
      return 0;
    } else {
      int result = (*self->f)();
      keepframe();
      return result;
    }
  }
};

}  // namespace rt

// Boots the runtime, runs `main` as goroutine 1 and returns its int (0 when it returns void) on the calling thread.
// Once per process: a second call ends the program. When it returns, the other goroutines are abandoned where they are:
// each freezes for good at its next call of this library, and one that makes none within 100 ms is left running; if it
// runs on the calling thread, run() cannot return there, and the process exits with main's value.
template <class F>
int run(options opt, F&& main) {
  using fn = std::remove_reference_t<F>;
  static_assert(std::is_invocable_v<fn&>, "vitrine::run: the main function must be callable without arguments");
  using result = std::invoke_result_t<fn&>;
  static_assert(std::is_void_v<result> || std::is_convertible_v<result, int>,
                "vitrine::run: the main function must return int or void");
  if constexpr (std::is_function_v<fn>) {
    auto* f = &main;
    return run(opt, f);
  } else {
    rt::mainclosure<fn> m{&main};
    auto start = &rt::mainclosure<fn>::start;
    return rt::rt0_run(opt.procs, opt.main_stack, start, &m, rt::funcpc<std::remove_const_t<fn>>(main, start),
                       rt::debugbuild);
  }
}

template <class F>
int run(F&& main) {
  return run(options{}, std::forward<F>(main));
}

}  // namespace vitrine
