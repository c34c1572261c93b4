// sim_hooks.cc: what code compiled with -fsanitize=thread calls before each plain access and instead of each atomic
// operation. See sim.h: scheduling points, and the store buffers.
#include <cstring>

#include "runtime.h"
#include "sim_engine.h"

using namespace vitrine::sim;
using vitrine::rt::vitrine_tls_g;

namespace {

using uptr = std::uintptr_t;

bool overlaps(const BufferedStore& s, uptr addr, int size) {
  return s.addr < addr + uptr(size) && addr < s.addr + uptr(s.size);
}

bool buffered(Thread* t, uptr addr, int size) {
  for (unsigned i = 0; i < t->buffer.n; i++)
    if (overlaps(t->buffer.at(i), addr, size)) return true;
  return false;
}

// Near the top of the stack of the thread or goroutine that runs: nobody else's business. Exact about the end of the
// stack: what lies beyond depends on where the kernel put things, and a run must not.
bool onstack(const void* addr) {
  uptr sp = uptr(__builtin_frame_address(0));
  uptr lo = uptr(engine.current->stack), hi = lo + stackBytes;
  if (sp < lo || sp >= hi) {
    vitrine::rt::g* gp = vitrine_tls_g;
    if (gp == nullptr || sp < gp->stack.lo || sp >= gp->stack.hi) return false;
    hi = gp->stack.hi;
  }
  return uptr(addr) < hi && uptr(addr) - sp + 1024 < (8 << 10);
}

// A plain access: its thread has to see its own stores, which is all that a buffer must not hide.
void plain(Op op, const void* addr, int size, void* pc) {
  if (!engine.active || onstack(addr)) return;
  if (!engine.exhaustive) point(op, addr, uptr(pc), true);
  if (!engine.current->buffer.empty() && buffered(engine.current, uptr(addr), size)) flush(engine.current);
}

template <class T>
T load(const volatile T* at, int, void* pc) {
  const void* addr = const_cast<const T*>(at);
  if (!engine.active) return __atomic_load_n(at, __ATOMIC_SEQ_CST);
  point(Op::Load, addr, uptr(pc), false);
  T v = __atomic_load_n(at, __ATOMIC_SEQ_CST);
  StoreBuffer& buffer = engine.current->buffer;
  for (unsigned i = buffer.n; i-- > 0;) {
    const BufferedStore* s = &buffer.at(i);
    if (s->addr == uptr(addr) && s->size == int(sizeof(T))) {
      memcpy(&v, &s->value, sizeof v);
      break;
    }
    if (overlaps(*s, uptr(addr), sizeof(T))) {
      flush(engine.current);
      v = __atomic_load_n(at, __ATOMIC_SEQ_CST);
      break;
    }
  }
  record(Op::Load, addr, std::uint64_t(v), sizeof(T), uptr(pc));
  return v;
}

template <class T>
void store(volatile T* at, T v, int order, void* pc) {
  const void* addr = const_cast<const T*>(at);
  if (engine.active) {
    point(Op::Store, addr, uptr(pc), false);
    record(Op::Store, addr, std::uint64_t(v), sizeof(T), uptr(pc));
    if (order == __ATOMIC_SEQ_CST) {
      flush(engine.current);
    } else if (delaystore()) {
      std::uint64_t value = 0;
      memcpy(&value, &v, sizeof v);
      if (engine.current->buffer.full()) flushone(engine.current);
      engine.current->buffer.push({uptr(addr), value, int(sizeof(T)), engine.steps});
      return;
    } else {
      flush(engine.current);
    }
  }
  __atomic_store_n(at, v, __ATOMIC_SEQ_CST);
}

template <class T, class F>
T rmw(volatile T* at, void* pc, F&& f) {
  const void* addr = const_cast<const T*>(at);
  if (engine.active) {
    point(Op::Rmw, addr, uptr(pc), false);
    flush(engine.current);
  }
  T old = *at;
  *at = f(old);
  if (engine.active) record(Op::Rmw, addr, std::uint64_t(*at), sizeof(T), uptr(pc));
  return old;
}

template <class T>
int cas(volatile T* at, T* expected, T desired, void* pc) {
  const void* addr = const_cast<const T*>(at);
  if (engine.active) {
    point(Op::Cas, addr, uptr(pc), false);
    flush(engine.current);
  }
  T old = *at;
  bool done = old == *expected;
  if (done)
    *at = desired;
  else
    *expected = old;
  if (engine.active) record(done ? Op::Cas : Op::Load, addr, std::uint64_t(*at), sizeof(T), uptr(pc));
  return done;
}

}  // namespace

#define HERE __builtin_return_address(0)
#define PLAIN(n)                                                            \
  void __tsan_read##n(void* a) { plain(Op::Read, a, n, HERE); }             \
  void __tsan_write##n(void* a) { plain(Op::Write, a, n, HERE); }           \
  void __tsan_read_write##n(void* a) { plain(Op::Write, a, n, HERE); }      \
  void __tsan_unaligned_read##n(void* a) { plain(Op::Read, a, n, HERE); }   \
  void __tsan_unaligned_write##n(void* a) { plain(Op::Write, a, n, HERE); } \
  void __tsan_volatile_read##n(void* a) { plain(Op::Read, a, n, HERE); }    \
  void __tsan_volatile_write##n(void* a) { plain(Op::Write, a, n, HERE); }
#define RMW(bits, T, what, expression)                           \
  T __tsan_atomic##bits##_##what(volatile T* a, T v, int) {      \
    return rmw(a, HERE, [v](T old) -> T { return expression; }); \
  }
#define ATOMIC(bits, T)                                                                                                \
  T __tsan_atomic##bits##_load(const volatile T* a, int order) { return load(a, order, HERE); }                        \
  void __tsan_atomic##bits##_store(volatile T* a, T v, int order) { store(a, v, order, HERE); }                        \
  RMW(bits, T, exchange, (void(old), v))                                                                               \
  RMW(bits, T, fetch_add, T(old + v))                                                                                  \
  RMW(bits, T, fetch_sub, T(old - v))                                                                                  \
  RMW(bits, T, fetch_and, T(old& v))                                                                                   \
  RMW(bits, T, fetch_or, T(old | v))                                                                                   \
  RMW(bits, T, fetch_xor, T(old ^ v))                                                                                  \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* a, T* e, T d, int, int) { return cas(a, e, d, HERE); } \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* a, T* e, T d, int, int) { return cas(a, e, d, HERE); }   \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* a, T e, T d, int, int) {                                    \
    cas(a, &e, d, HERE);                                                                                               \
    return e;                                                                                                          \
  }

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_read_range(void* a, unsigned long n) { plain(Op::Read, a, int(n), HERE); }
void __tsan_write_range(void* a, unsigned long n) { plain(Op::Write, a, int(n), HERE); }
void* __tsan_memcpy(void* d, const void* s, unsigned long n) {
  plain(Op::Read, s, int(n), HERE);
  plain(Op::Write, d, int(n), HERE);
  return memcpy(d, s, n);
}
void* __tsan_memmove(void* d, const void* s, unsigned long n) {
  plain(Op::Read, s, int(n), HERE);
  plain(Op::Write, d, int(n), HERE);
  return memmove(d, s, n);
}
void* __tsan_memset(void* d, int c, unsigned long n) {
  plain(Op::Write, d, int(n), HERE);
  return memset(d, c, n);
}
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
ATOMIC(8, std::uint8_t)
ATOMIC(16, std::uint16_t)
ATOMIC(32, std::uint32_t)
ATOMIC(64, std::uint64_t)
void __tsan_atomic_thread_fence(int order) {
  if (!engine.active) return;
  point(Op::Fence, nullptr, uptr(HERE), false);
  record(Op::Fence, nullptr, 0, 0, uptr(HERE));
  if (order == __ATOMIC_SEQ_CST) flush(engine.current);
}
void __tsan_atomic_signal_fence(int) {}
}
