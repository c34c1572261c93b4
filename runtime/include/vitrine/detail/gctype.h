// gctype.h: from a C++ type to where its pointers to managed objects are. gc.h says what a program may write.
//
// A mapper walks a type and marks the words of each gc::ptr in it. Which way it takes is decided at compile time:
//   gc::ptr<U>                              its word
//   gc::type_traits<T>, specialised         noscan: nothing; fields(visit, object): what that visits
//   VITRINE_GC_FIELDS in T                  the fields named there
//   numbers, enums, pointers to functions   nothing
//   arrays, std::array                      each element
//   plain aggregates                        each field, found by structured bindings
//   anything else                           does not compile
// It runs once for each type, before main(), over an object that is never constructed: only addresses are taken. A small
// one is a static variable; of a large one there are only the addresses, for as long as it takes.
//
// Plain aggregates: how many fields T has is the greatest number of initialisers that it takes, each of which converts
// to anything. That is not the number of fields if one of them is an array, whose elements take one each, or if T has a
// base class, which takes one. Both are found out by further questions of the same kind, and rejected.
#pragma once
#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "rt.h"

namespace vitrine::gc {

template <class T>
class ptr;
template <class T>
struct type_traits;

}  // namespace vitrine::gc

namespace vitrine::rt {

// ---- how many fields an aggregate has

// Converts to whatever a field wants, but not to T itself.
template <class T>
struct anyfield {
  template <class U>
  requires(!std::is_same_v<std::remove_cvref_t<U>, T> && !std::is_base_of_v<std::remove_cvref_t<U>, T>) constexpr
  operator U() const noexcept;
};
template <class T>
struct anybase {
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_base_of_v<U, T>) constexpr operator U() const noexcept;
};
struct novalue {};

template <class T, std::size_t>
using anyfieldat = anyfield<T>;

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{anyfieldat<T, I>{}...}; };
}
// n fields, then {}, then m fields.
template <class T, std::size_t... I, std::size_t... J>
constexpr bool takesempty(std::index_sequence<I...>, std::index_sequence<J...>) {
  return requires { T{anyfieldat<T, I>{}..., {}, anyfieldat<T, J>{}...}; };
}

constexpr std::size_t maxfields = 16;

template <class T, std::size_t N = maxfields + 1>
constexpr std::size_t fieldcount() {
  if constexpr (takes<T>(std::make_index_sequence<N>()))
    return N;
  else if constexpr (N == 0)
    return 0;
  else
    return fieldcount<T, N - 1>();
}

template <class T, std::size_t N, std::size_t I = 0>
constexpr bool eachisone() {
  if constexpr (I >= N)
    return true;
  else if constexpr (!takesempty<T>(std::make_index_sequence<I>(), std::make_index_sequence<N - I - 1>()))
    return false;
  else
    return eachisone<T, N, I + 1>();
}

template <class T>
constexpr bool hasbase() {
  return requires { T{anybase<T>{}}; };
}

// What structured bindings can take apart.
template <class T>
constexpr bool plainaggregate() {
  if constexpr (!std::is_aggregate_v<T> || std::is_array_v<T> || std::is_union_v<T>)
    return false;
  else if constexpr (hasbase<T>() || fieldcount<T>() > maxfields)
    return false;
  else
    return eachisone<T, fieldcount<T>()>();
}

// Calls f with each field.
template <class F, class T>
void eachfield(F& f, T& o) {
  constexpr std::size_t n = fieldcount<T>();
  if constexpr (n == 0) {
  } else if constexpr (n == 1) {
    auto& [a] = o;
    f(a);
  } else if constexpr (n == 2) {
    auto& [a, b] = o;
    f(a, b);
  } else if constexpr (n == 3) {
    auto& [a, b, c] = o;
    f(a, b, c);
  } else if constexpr (n == 4) {
    auto& [a, b, c, d] = o;
    f(a, b, c, d);
  } else if constexpr (n == 5) {
    auto& [a, b, c, d, e] = o;
    f(a, b, c, d, e);
  } else if constexpr (n == 6) {
    auto& [a, b, c, d, e, g] = o;
    f(a, b, c, d, e, g);
  } else if constexpr (n == 7) {
    auto& [a, b, c, d, e, g, h] = o;
    f(a, b, c, d, e, g, h);
  } else if constexpr (n == 8) {
    auto& [a, b, c, d, e, g, h, i] = o;
    f(a, b, c, d, e, g, h, i);
  } else if constexpr (n == 9) {
    auto& [a, b, c, d, e, g, h, i, j] = o;
    f(a, b, c, d, e, g, h, i, j);
  } else if constexpr (n == 10) {
    auto& [a, b, c, d, e, g, h, i, j, k] = o;
    f(a, b, c, d, e, g, h, i, j, k);
  } else if constexpr (n == 11) {
    auto& [a, b, c, d, e, g, h, i, j, k, l] = o;
    f(a, b, c, d, e, g, h, i, j, k, l);
  } else if constexpr (n == 12) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m] = o;
    f(a, b, c, d, e, g, h, i, j, k, l, m);
  } else if constexpr (n == 13) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, p] = o;
    f(a, b, c, d, e, g, h, i, j, k, l, m, p);
  } else if constexpr (n == 14) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, p, q] = o;
    f(a, b, c, d, e, g, h, i, j, k, l, m, p, q);
  } else if constexpr (n == 15) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, p, q, r] = o;
    f(a, b, c, d, e, g, h, i, j, k, l, m, p, q, r);
  } else {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, p, q, r, s] = o;
    f(a, b, c, d, e, g, h, i, j, k, l, m, p, q, r, s);
  }
}

// ---- which way a type is walked

template <class T>
struct isgcptr : std::false_type {};
template <class U>
struct isgcptr<gc::ptr<U>> : std::true_type {};

template <class T>
struct isstdarray : std::false_type {};
template <class U, std::size_t N>
struct isstdarray<std::array<U, N>> : std::true_type {};

template <class T>
concept hastraits = requires {
  sizeof(gc::type_traits<T>);
};
template <class T>
concept hasfields = requires {
  typename T::vitrine_gc_type;
};

// Marks words of the object at base; Words is how many it has.
template <std::size_t Words>
struct mapper {
  const char* base;
  uint8* bits;
  std::size_t last = 0;  // one past the last word that is a pointer

  template <class... F>
  void operator()(F&... fields) {
    (add(fields), ...);
  }

  template <class F>
  void add(F& field) {
    using T = std::remove_cv_t<F>;
    if constexpr (isgcptr<T>::value) {
      mark(std::size_t(reinterpret_cast<const char*>(&field) - base));
    } else if constexpr (hastraits<T>) {
      gc::type_traits<T>::fields(*this, const_cast<T&>(field));
    } else if constexpr (hasfields<T>) {
      static_assert(
          std::is_same_v<typename T::vitrine_gc_type, T>,
          "vitrine::gc: this class inherits its base's VITRINE_GC_FIELDS and needs one of its own, which names "
          "the base too: static_cast<base&>(*this)");
      const_cast<T&>(field).vitrine_gc_fields(*this);
    } else if constexpr (std::is_array_v<T>) {
      for (auto& e : field) add(e);
    } else if constexpr (isstdarray<T>::value) {
      for (std::size_t i = 0; i < std::tuple_size_v<T>; i++) add(const_cast<T&>(field)[i]);
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_null_pointer_v<T> ||
                         (std::is_pointer_v<T> && std::is_function_v<std::remove_pointer_t<T>>)) {
    } else {
      static_assert(!std::is_pointer_v<T>,
                    "vitrine::gc: a managed object has a field that is a raw pointer, which the collector does not "
                    "follow. Make it a gc::ptr if it points to a managed object; if not, say which fields do with "
                    "VITRINE_GC_FIELDS");
      static_assert(
          std::is_pointer_v<T> || plainaggregate<T>(),
          "vitrine::gc: the collector has to know where in this type its pointers to managed objects are. It "
          "finds out by itself for plain aggregates (no base class, no array, at most 16 fields). For others: "
          "VITRINE_GC_FIELDS(class, field, ...) in the class, or a specialisation of "
          "vitrine::gc::type_traits; if there are none in it, one that derives from vitrine::gc::noscan");
      if constexpr (plainaggregate<T>()) eachfield(*this, const_cast<T&>(field));
    }
  }

  void mark(std::size_t offset) {
    std::size_t word = offset / sizeof(void*);
    bits[word / 8] |= uint8(1u << word % 8);
    if (word + 1 > last) last = word + 1;
  }
};

template <class T>
union unconstructed {
  T value;
  unconstructed() {}
  ~unconstructed() {}
};

// ---- the type as the runtime knows it

template <class T>
struct gctype {
  static constexpr std::size_t words = (sizeof(T) + sizeof(void*) - 1) / sizeof(void*);
  uint8 bits[(words + 7) / 8 + 8] = {};
  _type type = {};

  explicit gctype(string name) {
    mapper<words> m{nullptr, bits};
    auto look = [&](T& value) {
      m.base = reinterpret_cast<const char*>(&value);
      m.add(value);
    };
    if constexpr (sizeof(T) > 256 && alignof(T) <= 4096) {
      void* addresses = borrowaddresses(sizeof(T));
      look(static_cast<unconstructed<T>*>(addresses)->value);
      returnaddresses(addresses, sizeof(T));
    } else {
      static unconstructed<T> object;
      look(object.value);
    }
    type.size = sizeof(T);
    type.ptrdata = m.last * sizeof(void*);
    type.align = uint8(alignof(T));
    type.kind = m.last == 0 ? kindNoPointers : 0;
    type.gcdata = bits;
    type.name = name;
  }
};

}  // namespace vitrine::rt
