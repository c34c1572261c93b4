// call.h: from a callable and its arguments to what a goroutine starts with — a closure on the heap, an entry function
// that takes its address, and the address of the user's own function for debuggers.
//
// The entry function is the first frame of a goroutine in C++. It has neither a handler nor noexcept, so an exception
// that escapes the user's function finds no handler anywhere: the search ends at goexit and std::terminate is called
// with the thrower's frames still on the stack. The destructors of its locals do not matter there, because cleanups run
// only after a handler was found.
//
// Arguments are decayed and copied (or moved) by the goroutine that calls go(); an exception of that copy is that
// goroutine's. The new one passes them on as rvalues, as std::thread does.
#pragma once
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "rt.h"

namespace vitrine::rt {

// Code address behind a pointer to member function (Itanium C++ ABI: the first word; odd when it is virtual), or 0.
template <class M>
uintptr memberpc(M fn) {
  static_assert(std::is_member_function_pointer_v<M> && sizeof fn >= sizeof(uintptr));
  uintptr pc;
  std::memcpy(&pc, &fn, sizeof pc);
  return (pc & 1) != 0 ? 0 : pc;
}

// The user's function behind a callable: what a debugger shows as the goroutine's start. `otherwise` when it has no
// single address (an overloaded or generic call operator, a virtual one).
template <class F, class Entry>
uintptr funcpc(const F& f, Entry* otherwise) {
  uintptr pc = 0;
  if constexpr (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>) {
    pc = reinterpret_cast<uintptr>(f);
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    pc = memberpc(f);
  } else if constexpr (requires { &F::operator(); }) {
    pc = memberpc(&F::operator());
  }
  return pc != 0 ? pc : reinterpret_cast<uintptr>(otherwise);
}

// A decayed callable with its arguments.
template <class F, class... A>
struct closure {
  F f;
  [[no_unique_address]] std::tuple<A...> args;

  template <class G, class... B>
  explicit closure(std::in_place_t, G&& g, B&&... b) : f(std::forward<G>(g)), args(std::forward<B>(b)...) {}

  using result = std::invoke_result_t<F, A...>;

  // Inlined into the entry function, so that this machinery adds no frame between it and the user's function.
  __attribute__((always_inline)) result call() { return call(std::index_sequence_for<A...>()); }

  template <std::size_t... I>
  __attribute__((always_inline)) result call(std::index_sequence<I...>) {
    if constexpr (std::is_member_pointer_v<F>)
      return std::invoke(std::move(f), std::get<I>(std::move(args))...);
    else
      return std::move(f)(std::get<I>(std::move(args))...);
  }
};

template <class F, class... A>
using closureof = closure<std::decay_t<F>, std::decay_t<A>...>;

// The entry of go(): the closure dies when the function has returned. By hand: after an exception nobody frees
// anything, and a cleanup would give this function a cold part, whose frames LLDB 19 misreads.
template <class C>
void gostart(void* arg) {
  auto* c = static_cast<C*>(arg);
  c->call();
  deleteheld(c);
}

template <class F, class... A>
constexpr void checkcallable() {
  static_assert(
      std::is_invocable_v<std::decay_t<F>, std::decay_t<A>...>,
      "vitrine: the function cannot be called with these arguments. They are copied for the new goroutine and "
      "passed as rvalues: use std::ref for a reference");
}

}  // namespace vitrine::rt
