// select.h: waiting for several channels at once.
//
//   vitrine::select(
//       vitrine::on_recv(jobs, [&](std::optional<job> j) { if (j) work(*j); else done = true; }),
//       vitrine::on_send(results, std::move(r), [&] { r = next(); }),
//       vitrine::on_timeout(50ms, [&] { report(); }));
//
// Waits until one of the cases can proceed, carries that one out, calls its function and returns its index among the
// arguments. If several can proceed, each is as likely to be taken. A channel may occur several times, on both sides.
//
// Every case must be written inside the call, as above: it refers to its arguments. Any goroutine may call select, and
// any other thread of the program; neither allocates memory. The functions run on the caller, when the select is over
// and nothing of it is left: they may do anything, and their exceptions are the caller's. What they return is ignored.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "chan.h"
#include "time.h"

namespace vitrine {
namespace rt {

enum class selectkind { recv, send, timeout, otherwise };

struct noaction {
  void operator()() const {}
};

template <class T, class F>
struct recvcase {
  static constexpr selectkind kind = selectkind::recv;
  hchan* c;
  F fn;
  slot<T> s{};

  scase setup() { return {c, std::addressof(s.value), 0}; }
  void run(bool ok) {
    std::optional<T> value;
    if (ok) {
      value.emplace(std::move(s.value));
      s.value.~T();
    }
    static_cast<void>(fn(std::move(value)));
  }
};

// V: T, or a reference to the caller's T, which is left alone unless the case is taken.
template <class T, class V, class F>
struct sendcase {
  static constexpr selectkind kind = selectkind::send;
  hchan* c;
  V v;
  F fn;

  scase setup() { return {c, std::addressof(v), 1}; }
  void run(bool ok) {
    if (!ok) panicchan("send on closed channel");
    static_cast<void>(fn());
  }
};

template <class F>
struct timeoutcase {
  static constexpr selectkind kind = selectkind::timeout;
  int64 ns;
  F fn;
  void run(bool) { static_cast<void>(fn()); }
};

template <class F>
struct otherwisecase {
  static constexpr selectkind kind = selectkind::otherwise;
  F fn;
  void run(bool) { static_cast<void>(fn()); }
};

template <class C>
concept selectcase = requires {
  { C::kind } -> std::convertible_to<selectkind>;
};

template <class... C>
constexpr std::size_t countkind(selectkind kind) {
  return (std::size_t{0} + ... + std::size_t{C::kind == kind});
}

}  // namespace rt

// Receives; fn takes a std::optional<T>, which is empty when the channel is closed and drained.
template <class T, class F>
[[nodiscard]] auto on_recv(const chan<T>& c, F&& fn) {
  static_assert(std::is_invocable_v<std::decay_t<F>&, std::optional<T>>,
                "vitrine::on_recv: the function must take a std::optional<T>");
  return rt::recvcase<T, std::decay_t<F>>{rt::chanaccess::of(c), std::forward<F>(fn)};
}

// Sends v. An rvalue of type T is moved from only if this case is taken; an lvalue is copied beforehand. When the
// channel is closed the case can proceed: select throws chan_closed.
template <class T, class F = rt::noaction>
[[nodiscard]] auto on_send(const chan<T>& c, std::type_identity_t<T>&& v, F&& fn = {}) {
  return rt::sendcase<T, T&, std::decay_t<F>>{rt::chanaccess::of(c), v, std::forward<F>(fn)};
}
template <class T, class F = rt::noaction>
[[nodiscard]] auto on_send(const chan<T>& c, const std::type_identity_t<T>& v, F&& fn = {}) {
  return rt::sendcase<T, T, std::decay_t<F>>{rt::chanaccess::of(c), v, std::forward<F>(fn)};
}

// Taken when no other case can proceed for d; of several, the earliest. d <= 0: the others get one look.
template <class Rep, class Period, class F = rt::noaction>
[[nodiscard]] auto on_timeout(const std::chrono::duration<Rep, Period>& d, F&& fn = {}) {
  return rt::timeoutcase<std::decay_t<F>>{rt::nanoseconds(d), std::forward<F>(fn)};
}

// Taken when no other case can proceed at once: the select does not wait. At most one.
template <class F = rt::noaction>
[[nodiscard]] auto otherwise(F&& fn = {}) {
  return rt::otherwisecase<std::decay_t<F>>{std::forward<F>(fn)};
}

// Waits for ever.
[[noreturn]] inline void select() {
  rt::selectgo(nullptr, nullptr, 0, -1);
  std::terminate();
}

// See the top of this file. Throws chan_closed.
template <class... C>
requires(sizeof...(C) > 0) inline int select(C&&... cases) {
  static_assert((!std::is_lvalue_reference_v<C> && ...),
                "vitrine::select: write every case inside the call, it refers to its arguments");
  static_assert((rt::selectcase<C> && ...),
                "vitrine::select: its arguments are on_recv, on_send, on_timeout and otherwise");
  using rt::selectkind;
  constexpr std::size_t nchan = rt::countkind<C...>(selectkind::recv) + rt::countkind<C...>(selectkind::send);
  constexpr bool haveotherwise = rt::countkind<C...>(selectkind::otherwise) != 0;
  static_assert(rt::countkind<C...>(selectkind::otherwise) <= 1, "vitrine::select: more than one `otherwise`");

  std::array<rt::scase, nchan> sc;
  std::array<int, nchan + 1> argument;  // of a channel case; the last: of who is taken if none is
  rt::int64 ns = -1;
  int arg = 0;
  std::size_t n = 0;
  argument[nchan] = -1;
  auto setup = [&]<class K>(K& k) {
    if constexpr (K::kind == selectkind::timeout) {
      if (ns < 0 || k.ns < ns) {
        ns = k.ns;
        argument[nchan] = arg;
      }
    } else if constexpr (K::kind != selectkind::otherwise) {
      sc[n] = k.setup();
      argument[n++] = arg;
    }
    arg++;
  };
  (setup(cases), ...);
  if constexpr (haveotherwise) {
    if (ns != 0) {
      int at = 0;
      ((C::kind == selectkind::otherwise ? void(argument[nchan] = at++) : void(at++)), ...);
      ns = 0;
    }
  }

  rt::selected r;
  if constexpr (nchan == 1) {
    r = rt::selectone(sc[0], ns);
  } else {
    std::array<rt::hchan*, nchan> lockorder;
    r = rt::selectgo(sc.data(), lockorder.data(), int(nchan), ns);
  }
  rt::keepframe();
  const int taken = argument[r.index < 0 ? nchan : std::size_t(r.index)];
  int at = 0;
  ((at++ == taken ? cases.run(r.ok) : void()), ...);
  return taken;
}

}  // namespace vitrine
