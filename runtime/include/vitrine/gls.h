// gls.h: a value per goroutine, as thread_local is one per thread (which under M:N is no use: a goroutine changes its
// thread at any park).
//
//   static vitrine::gls<request> current;
//   current->id = 7;
//
#pragma once
#include <concepts>
#include <type_traits>
#include <utility>

#include "detail/rt.h"

namespace vitrine {

// Each goroutine has its own T, made when that goroutine first asks, and destroyed when it ends, on its own stack and
// in reverse order of making: values of goroutines that are frozen at run()'s end never. A thread that is no goroutine
// has its own too, until it ends. A wait_group, task or channel may say that a goroutine is done before its values are
// gone.
//
// What the making throws comes out of the call, and the next one tries again. Meant to be static: it may be constant
// initialised, and must outlive the calls of its members; values stay valid without it.
template <class T>
class gls {
 public:
  // T's default constructor makes the values.
  constexpr gls() requires std::default_initializable<T>
  = default;
  // Each is a copy of this one.
  explicit gls(T initial) requires std::copy_constructible<T> : maker_(new copier(std::move(initial))) {}
  // Each is what a call of f() returns, on the goroutine that asks.
  template <class F>
  requires(std::is_invocable_r_v<T, F&> && !std::is_convertible_v<F, T>) explicit gls(F f)
      : maker_(new caller<F>(std::move(f))) {}
  gls(const gls&) = delete;
  gls& operator=(const gls&) = delete;
  constexpr ~gls() {
    if (maker_ != nullptr) delete maker_;
  }

  // Of the goroutine (or thread) that calls. The reference holds until that ends.
  T& get() const {
    if (void* value = rt::glsget(&key_); value != nullptr) return *static_cast<T*>(value);
    return make();
  }
  T& operator*() const { return get(); }
  T* operator->() const { return &get(); }

 private:
  struct maker {
    virtual ~maker() = default;
    virtual T* make() = 0;
  };
  struct copier final : maker {
    T initial;
    explicit copier(T&& v) : initial(std::move(v)) {}
    T* make() override { return rt::newheld<T>(initial); }
  };
  template <class F>
  struct caller final : maker {
    F f;
    explicit caller(F&& v) : f(std::move(v)) {}
    T* make() override { return rt::newheld<T>(f()); }
  };

  T& make() const {
    T* value;
    if (maker_ != nullptr) {
      value = maker_->make();
    } else {
      if constexpr (std::default_initializable<T>)
        value = rt::newheld<T>();
      else
        __builtin_unreachable();
    }
    rt::glsput(&key_, value, [](void* v) { rt::deleteheld(static_cast<T*>(v)); });
    return *value;
  }

  mutable rt::atomic<rt::uint64> key_{0};
  maker* maker_ = nullptr;
};

}  // namespace vitrine
