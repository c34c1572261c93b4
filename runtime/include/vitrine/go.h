// go.h: starting goroutines, and what a goroutine can say about itself.
//
//   vitrine::go([] { … });
//   vitrine::go(worker, std::ref(queue), 7);
//   vitrine::go({.name = "reader", .stack_size = 256 << 10}, read_all, fd);
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "detail/call.h"

namespace vitrine {

struct go_options {
  std::string_view name = {};  // shown by debuggers; at most 31 bytes are kept
  std::size_t stack_size = 0;  // bytes; 0: 64 KiB. Doubled in a debug build, four times that with a sanitizer
};

// Runs f(args...) on a new goroutine; from any thread once run() began. The callable and its arguments are copied or
// moved here, in the caller; what that throws, std::bad_alloc too, comes out of this call and no goroutine is started.
// A stack that cannot be had ends the program with a message.
// An exception that escapes f ends the program (std::terminate).
//
// Always inlined, so that the goroutine is known to have been created by the function that says `go`.
template <class F, class... Args>
__attribute__((always_inline)) inline void go(go_options opt, F&& f, Args&&... args) {
  rt::checkcallable<F, Args...>();
  using closure = rt::closureof<F, Args...>;
  auto* c = rt::newheld<closure, rt::heldkind::closure>(std::in_place, std::forward<F>(f), std::forward<Args>(args)...);
  rt::startgoroutine(&rt::gostart<closure>, c, rt::funcpc(c->f, &rt::gostart<closure>), opt.name.data(),
                     opt.name.size(), opt.stack_size);
  rt::keepframe();
}

template <class F, class... Args>
requires(!std::same_as<std::remove_cvref_t<F>, go_options>)
    __attribute__((always_inline)) inline void go(F&& f, Args&&... args) {
  rt::checkcallable<F, Args...>();
  using closure = rt::closureof<F, Args...>;
  auto* c = rt::newheld<closure, rt::heldkind::closure>(std::in_place, std::forward<F>(f), std::forward<Args>(args)...);
  rt::startgoroutine(&rt::gostart<closure>, c, rt::funcpc(c->f, &rt::gostart<closure>), nullptr, 0, 0);
  rt::keepframe();
}

// Lets other goroutines run. On a thread that is no goroutine: as std::this_thread::yield.
inline void yield() {
  rt::gosched();
  rt::keepframe();
}

// For loops that call nothing of this library: yields if this goroutine has run for 10 ms and others wait. Without it
// such a loop goes on beside the others, as one thread more than gomaxprocs().
inline void checkpoint() {
  rt::checkpoint();
  rt::keepframe();
}

// The number of this goroutine; 1 is run()'s main function; 0 on a thread that is no goroutine.
inline std::uint64_t goid() { return rt::goid(); }

// Names this goroutine for debuggers: at most 31 bytes are kept, and no half of a UTF-8 character. No effect on a
// thread that is no goroutine.
inline void set_name(std::string_view name) { rt::setname(name.data(), name.size()); }

// How many goroutines may run at once, before this call; 0 before run(). n > 0 changes it, at most to 1024 (more is said
// on stderr): that stops all goroutines for a moment.
inline int gomaxprocs(int n = 0) { return rt::procs(n); }

// Goroutines that exist now, the main one included. Who gets 1 sees what the others had done before they ended.
inline std::size_t num_goroutine() { return rt::numgoroutine(); }

}  // namespace vitrine
