// gc.h: objects that nobody deletes.
//
//   struct node { vitrine::gc::ptr<node> left, right; int value; };
//   auto tree = vitrine::gc::make<node>();       // in a goroutine
//   tree->left = vitrine::gc::make<node>();
//
// A managed object lives as long as it can be reached; rings are no obstacle. Pointers to it may point into its middle.
// Where a pointer may be:
//   gc::ptr<T>  in managed objects (the collector reads these by the type's map), and on goroutines' stacks
//   T*          on goroutines' stacks; in what a goroutine was started with, channels' elements, results of tasks and gls
//               values; in globals. A gc::ptr may be there too. The collector takes every word there for a pointer
//   gc::root<T> anywhere else: in memory from malloc (std::vector, std::shared_ptr, exceptions), on other threads
// A pointer somewhere else keeps nothing alive: in memory from malloc, in thread-locals, on stacks of threads that are no
// goroutines, in an integer that was computed from it. Nor does one that is not aligned.
//
// Only goroutines make managed objects, and store pointers to them. Another thread may hold a gc::root, copy it, and read
// what that keeps. In a blocking_scope a goroutine may use what it had when the scope began, and may neither store to a
// gc::ptr nor load from one.
//
// Destructors. A type may have one: it is called once, on a goroutine of the runtime's, some time after the object became
// unreachable, in no particular order, and finds every gc::ptr in the object null. It may not be called at all if the
// program ends before. What is to happen at a certain time does not belong there.
//
// When: as soon as as much was made as lived after the last collection (GOGC=100), 4 MiB at least; see collect,
// set_percent. It marks while goroutines run; a gc::ptr tells it what is stored (docs/collector.md has the rules that follow
// for copies as bytes, and for another goroutine's variables). make and the others may collect, mark, and wait.
#pragma once
#include <compare>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "chan.h"
#include "detail/gctype.h"

namespace vitrine::gc {

// A specialisation says where in T pointers to managed objects are:
//   template <> struct vitrine::gc::type_traits<list> {
//     static void fields(auto& visit, list& l) { visit(l.head, l.tail); }
//   };
// or that there are none: template <> struct vitrine::gc::type_traits<list> : vitrine::gc::noscan {};
template <class T>
struct type_traits;

struct noscan {
  static void fields(auto&, auto&) {}
};

// A pointer in a managed object or on a stack. Converts from and to T*.
template <class T>
class ptr {
 public:
  using element_type = T;

  constexpr ptr() noexcept : p_(nullptr) { check(); }
  constexpr ptr(std::nullptr_t) noexcept : p_(nullptr) { check(); }
  ptr(T* p) noexcept : p_(p) { check(); }
  ptr(const ptr& other) noexcept : p_(other.get()) { check(); }
  template <class U>
  requires std::is_convertible_v<U*, T*> ptr(const ptr<U>& other)
  noexcept : p_(other.get()) { check(); }
  ptr& operator=(T* p) noexcept {
    store(p);
    return *this;
  }
  ptr& operator=(std::nullptr_t) noexcept {
    store(nullptr);
    return *this;
  }
  ptr& operator=(const ptr& other) noexcept {
    store(other.get());
    return *this;
  }
  template <class U>
  requires std::is_convertible_v<U*, T*> ptr& operator=(const ptr<U>& other) noexcept {
    store(other.get());
    return *this;
  }

  T* get() const noexcept { return p_; }
  operator T*() const noexcept { return p_; }
  T* operator->() const noexcept { return p_; }
  std::add_lvalue_reference_t<T> operator*() const noexcept { return *p_; }

 private:
  // The one place where a pointer of a managed object changes, and the write barrier. The order matters, and the fence
  // keeps it: rt's mbarrier.cc says why.
  void store(T* p) noexcept {
    T* old = __atomic_load_n(&p_, __ATOMIC_RELAXED);
    __atomic_store_n(&p_, p, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&rt::writeBarrier, __ATOMIC_RELAXED) != 0, 0))
      rt::gcwritebarrier(address(old), address(p));
  }
  static void* address(T* p) noexcept { return const_cast<std::remove_cv_t<T>*>(p); }

  // With -DVITRINE_GC_CHECK: this gc::ptr is where the collector will find it, or the program ends.
  constexpr void check() const noexcept {
#ifdef VITRINE_GC_CHECK
    if (!std::is_constant_evaluated()) rt::gccheckslot(this);
#endif
  }

  T* p_;
};

namespace detail {

// Before main(), so that it is there at once for everybody.
template <class T>
inline const rt::gctype<T> typeof_{rt::nameoftype<T>()};

template <class T>
void destroy(void* p, std::size_t n) {
  std::destroy_n(static_cast<T*>(p), n);
}

template <class T>
constexpr void checktype() {
  static_assert(std::is_object_v<T> && !std::is_array_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "vitrine::gc: T must be an object type without const; gc::make_array makes arrays");
  static_assert(std::is_nothrow_destructible_v<T>, "vitrine::gc: T's destructor must not throw");
  static_assert(alignof(T) <= 128, "vitrine::gc: no object is aligned to more than 128 bytes");
}

}  // namespace detail

// A new T, constructed from args. Ends the program when memory is out; what T's constructor throws comes out.
template <class T, class... Args>
ptr<T> make(Args&&... args) {
  detail::checktype<T>();
  void* memory = rt::gcalloc(&detail::typeof_<T>.type, 1, false);
  T* p;
  if constexpr (std::is_constructible_v<T, Args...> && !std::is_aggregate_v<T>)
    p = ::new (memory) T(std::forward<Args>(args)...);
  else
    p = ::new (memory) T{std::forward<Args>(args)...};
  if constexpr (!std::is_trivially_destructible_v<T>) rt::gcdestructor(p, 1, &detail::destroy<T>);
  return p;
}

// n new values of T in a row, value-initialised (numbers are 0, pointers null); the address of the first. An address one
// past the last keeps them alive too. What T's constructor throws comes out, after the ones before were destroyed.
template <class T>
ptr<T> make_array(std::size_t n) {
  detail::checktype<T>();
  auto* p = static_cast<T*>(rt::gcalloc(&detail::typeof_<T>.type, n, true));
  std::uninitialized_value_construct_n(p, n);
  if constexpr (!std::is_trivially_destructible_v<T>)
    if (n > 0) rt::gcdestructor(p, n, &detail::destroy<T>);
  return p;
}

// n values of T at from become those at to, as std::memmove does it: faster than an assignment for each when T has many
// gc::ptrs. T must be such that this is right: no destructor, no pointer into itself. The two ranges may overlap.
template <class T>
void copy(T* to, const T* from, std::size_t n) {
  detail::checktype<T>();
  static_assert(std::is_trivially_destructible_v<T>, "vitrine::gc::copy: T has a destructor");
  rt::typedmemmove(&detail::typeof_<T>.type, to, from, n);
}
// n values of T at p become zero: numbers 0, pointers null.
template <class T>
void clear(T* p, std::size_t n) {
  detail::checktype<T>();
  static_assert(std::is_trivially_destructible_v<T>, "vitrine::gc::clear: T has a destructor");
  rt::typedmemclr(&detail::typeof_<T>.type, p, n);
}

// A pointer that keeps its object alive wherever it is itself. Each is on a list, under a lock: cheap enough for handles,
// not for links of a data structure. In a managed object it keeps what it points to alive even when only that object
// could be reached through it; use gc::ptr there.
template <class T>
class root : rt::gcroot {
 public:
  using element_type = T;

  root() noexcept : root(nullptr) {}
  root(std::nullptr_t) noexcept { rt::gcrootadd(this, nullptr); }
  root(T* p) noexcept { rt::gcrootadd(this, address(p)); }
  root(const ptr<T>& p) noexcept : root(p.get()) {}
  root(const root& other) noexcept : root(other.get()) {}
  template <class U>
  requires std::is_convertible_v<U*, T*> root(const root<U>& other)
  noexcept : root(static_cast<T*>(other.get())) {}
  root(root&& other) noexcept { rt::gcrootmove(this, &other); }
  root& operator=(T* p) noexcept {
    rt::gcrootset(this, address(p));
    return *this;
  }
  root& operator=(const ptr<T>& p) noexcept { return *this = p.get(); }
  root& operator=(const root& other) noexcept { return *this = other.get(); }
  root& operator=(root&& other) noexcept {
    if (this == &other) return *this;
    rt::gcrootset(this, other.p);
    rt::gcrootset(&other, nullptr);
    return *this;
  }
  ~root() { rt::gcrootdrop(this); }

  T* get() const noexcept { return static_cast<T*>(__atomic_load_n(&p, __ATOMIC_RELAXED)); }
  operator T*() const noexcept { return get(); }
  T* operator->() const noexcept { return get(); }
  std::add_lvalue_reference_t<T> operator*() const noexcept { return *get(); }

 private:
  static void* address(T* p) { return const_cast<std::remove_cv_t<T>*>(p); }
};

// A pointer that does not keep its object alive, and is null once it is gone. It may be anywhere. An object with a
// finalizer is gone for it when the finalizer is due.
template <class T>
class weak {
 public:
  weak() noexcept = default;
  weak(std::nullptr_t) noexcept {}
  // p points to or into a managed object, or is null. Like lock, on goroutines only.
  weak(T* p) : h_(rt::gcweak(const_cast<std::remove_cv_t<T>*>(p))) {}
  weak(const ptr<T>& p) : weak(p.get()) {}
  weak(const weak& other) noexcept : h_(other.h_) { rt::gcweakretain(h_); }
  weak(weak&& other) noexcept : h_(std::exchange(other.h_, nullptr)) {}
  weak& operator=(weak other) noexcept {
    std::swap(h_, other.h_);
    return *this;
  }
  ~weak() { rt::gcweakrelease(h_); }

  // The object, or null.
  ptr<T> lock() const { return static_cast<T*>(rt::gcweakget(h_)); }

 private:
  rt::weakHandle* h_ = nullptr;
};

// Calls fn(p) once, on a goroutine of the runtime's, some time after *p became unreachable. Until it has returned *p and
// all that it refers to are there, and fn may make them reachable again. So of two objects with finalizers of which one
// refers to the other, that one's runs first; those of a ring never run. Replaces an earlier one of p. fn is a function,
// or a lambda without captures. Before p's destructor, if it has one.
template <class T>
void set_finalizer(T* p, void (*fn)(std::type_identity_t<T>*)) {
  rt::gcsetfinalizer(
      p, [](void* object, void* f) { reinterpret_cast<void (*)(T*)>(f)(static_cast<T*>(object)); },
      reinterpret_cast<void*>(fn));
}
template <class T>
void set_finalizer(const ptr<T>& p, void (*fn)(std::type_identity_t<T>*)) {
  set_finalizer(p.get(), fn);
}
template <class T>
void clear_finalizer(T* p) {
  rt::gcsetfinalizer(p, nullptr, nullptr);
}

// Collects now. When it returns, memory that was found unreachable is free, and finalizers and destructors have been
// queued, but not all called. Goroutines only.
inline void collect() {
  rt::gccollect();
  rt::keepframe();
}

// GOGC: a collection begins when the heap has grown by so many hundredths since the last one; negative: only collect()
// begins one. Returns what it was.
inline int set_percent(int percent) { return rt::gcsetpercent(percent); }

// How the collector is doing; rt.h has each number. From any thread.
inline rt::gcStats stats() {
  rt::gcStats st;
  rt::readgcstats(&st);
  return st;
}

// Library types whose memory has no pointers to managed objects, and vitrine's own.
template <class T>
struct type_traits<root<T>> : noscan {};
template <class T>
struct type_traits<weak<T>> : noscan {};
template <class T>
struct type_traits<chan<T>> : noscan {};

}  // namespace vitrine::gc

// In a class, names its fields that are, or contain, gc::ptr: VITRINE_GC_FIELDS(tree, left, right). Those of a base class:
// static_cast<base&>(*this). A field that is not named is not looked at.
#define VITRINE_GC_FIELDS(T, ...)            \
  using vitrine_gc_type = T;                 \
  template <class V>                         \
  void vitrine_gc_fields(V& vitrine_visit) { \
    vitrine_visit(__VA_ARGS__);              \
  }                                          \
  template <std::size_t>                     \
  friend struct ::vitrine::rt::mapper
