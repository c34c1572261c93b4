// chan.h: channels — queues of values between goroutines, with or without room for values in between.
//
//   vitrine::chan<int> c(16);                 // 16 places; chan<int> c; has none: a send waits for its receiver
//   vitrine::go([c] { for (int i = 0; i < 100; i++) c.send(i); c.close(); });
//   for (int v : c) use(v);
//
// A chan<T> is a handle: copies name the same channel, which lives as long as one of them. It may be made before run().
// Any goroutine may use it at any time, and any other thread of the program as well.
//
// A value moves once, from the sender to the buffer or straight into the receiver's frame, under the channel's lock. So
// T's move constructor, and the destructor of a T that was moved from, must not wait and must not use that channel.
#pragma once
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "detail/rt.h"

namespace vitrine {

enum class chan_status { ok, empty, closed };

// Thrown by send on a closed channel, and by close of one.
class chan_closed : public std::exception {
 public:
  explicit chan_closed(const char* what) : what_(what) {}
  ~chan_closed() override;
  const char* what() const noexcept override;

 private:
  const char* what_;
};

namespace rt {

[[noreturn]] void panicchan(const char* what);          // throws chan_closed
[[noreturn]] void panicchansize(std::size_t capacity);  // throws std::length_error

// The compiler's spelling of T, cut out of this function's own signature: "... [with T = int]", "... [T = int]".
template <class T>
constexpr string nameoftype() {
  std::string_view s = __PRETTY_FUNCTION__;
  s.remove_prefix(s.find("T = ") + 4);
  s.remove_suffix(1);
  return {s.data(), static_cast<int64>(s.size())};
}

template <class T>
void moveelem(void* dst, void* src) {
  ::new (dst) T(std::move(*static_cast<T*>(src)));
}

template <class T>
void destroyelem(void* p) {
  static_cast<T*>(p)->~T();
}

template <class T>
inline constexpr chantype chantypeof = {sizeof(T), std::is_trivially_copyable_v<T> ? nullptr : &moveelem<T>,
                                        std::is_trivially_destructible_v<T> ? nullptr : &destroyelem<T>,
                                        nameoftype<T>(), alignof(T)};

struct chanaccess;

// Raw storage that a receive fills.
template <class T>
union slot {
  T value;
  slot() {}
  ~slot() {}
};

}  // namespace rt

template <class T>
class chan {
 public:
  // capacity: how many values fit in before a send waits. Throws std::length_error when no memory could hold them.
  explicit chan(std::size_t capacity = 0) {
    static_assert(std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T> && !std::is_volatile_v<T>,
                  "vitrine::chan<T>: T must be an object type that is neither an array nor const");
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "vitrine::chan<T>: T must be movable and destructible without exceptions (noexcept), because a value "
                  "moves from one goroutine to another, where an exception could be delivered to neither");
    if (capacity > (std::size_t{1} << 47) / sizeof(T)) rt::panicchansize(capacity);
    c_ = rt::makechan(&rt::chantypeof<T>, capacity);
  }
  // Moving copies: there is no handle without a channel.
  chan(const chan& other) noexcept : c_(other.c_) { rt::chanretain(c_); }
  chan& operator=(const chan& other) noexcept {
    rt::chanretain(other.c_);
    rt::chanrelease(std::exchange(c_, other.c_));
    return *this;
  }
  // The last handle destroys the values that are left. If goroutines wait on the channel even then (they used somebody
  // else's handle), they wait for ever and the channel stays with them.
  ~chan() { rt::chanrelease(c_); }

  // Waits for room or a receiver. Throws chan_closed when the channel is closed, or gets closed meanwhile.
  void send(T value) const {
    if (rt::chansend(c_, std::addressof(value), true) != rt::chanOk) rt::panicchan("send on closed channel");
  }

  // Sends if that needs no waiting; moves from its argument only when true. Throws chan_closed.
  bool try_send(T&& value) const {
    rt::chanresult r = rt::chansend(c_, std::addressof(value), false);
    if (r == rt::chanClosed) rt::panicchan("send on closed channel");
    return r == rt::chanOk;
  }
  bool try_send(const T& value) const {
    T copy(value);
    return try_send(std::move(copy));
  }

  // Waits for a value; empty when the channel is closed and drained.
  std::optional<T> recv() const {
    std::optional<T> result;
    rt::slot<T> s;
    if (rt::chanrecv(c_, std::addressof(s.value), true) == rt::chanOk) {
      result.emplace(std::move(s.value));
      s.value.~T();
    }
    return result;
  }

  // Receives if that needs no waiting; assigns to `value` only when ok.
  chan_status try_recv(T& value) const {
    static_assert(std::is_nothrow_move_assignable_v<T>,
                  "vitrine::chan<T>::try_recv: T's move assignment must be noexcept, or a value could be lost");
    rt::slot<T> s;
    switch (rt::chanrecv(c_, std::addressof(s.value), false)) {
      case rt::chanOk:
        value = std::move(s.value);
        s.value.~T();
        return chan_status::ok;
      case rt::chanWouldBlock:
        return chan_status::empty;
      case rt::chanClosed:
        break;
    }
    return chan_status::closed;
  }

  // No more sends; receivers get what is in the channel, then nothing. Throws chan_closed when it was closed already.
  void close() const {
    if (!rt::closechan(c_)) rt::panicchan("close of closed channel");
  }

  // Momentary answers, for displays and tests: another goroutine may change them at any time.
  bool closed() const { return rt::chanclosed(c_); }
  std::size_t size() const { return rt::chanlen(c_); }
  std::size_t capacity() const { return rt::chancap(c_); }

  // Receives a value at begin() and at each increment, until the channel is closed and drained.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    T& operator*() const { return *value_; }
    iterator& operator++() {
      value_ = c_->recv();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) { return !i.value_; }

   private:
    friend chan;
    explicit iterator(const chan* c) : c_(c), value_(c->recv()) {}
    const chan* c_;
    mutable std::optional<T> value_;
  };
  iterator begin() const { return iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend struct rt::chanaccess;
  // Two arguments: with one, chan<T>(0) would be ambiguous.
  chan(const rt::chanaccess&, rt::hchan* c) noexcept : c_(c) {}

  rt::hchan* c_;
};

namespace rt {

// For the other headers of the library.
struct chanaccess {
  template <class T>
  static hchan* of(const chan<T>& c) {
    return c.c_;
  }
  // Takes over a reference.
  template <class T>
  static chan<T> handle(hchan* c) {
    return chan<T>(chanaccess{}, c);
  }
};

}  // namespace rt
}  // namespace vitrine
