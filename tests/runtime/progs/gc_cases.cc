// gc_cases.cc: programs of the collector that end, or print, in ways of their own; compiled with VITRINE_GC_CHECK. The
// first argument says which; exec_gc_test.cc knows what must come of it.
#include <vitrine/vitrine.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "mgc.h"

namespace {

namespace gc = vitrine::gc;
namespace rt = vitrine::rt;

struct node {
  gc::ptr<node> next;
  std::uint64_t value;
};

class forgetful {
 public:
  forgetful() = default;
  VITRINE_GC_FIELDS(forgetful, named);
  gc::ptr<node> named;
  gc::ptr<node> notnamed;
};

gc::ptr<node> global;

// Everything that is allowed, before what is not.
void allowed() {
  gc::ptr<node> local = gc::make<node>();
  local->next = gc::make<node>();
  global = local;
  static gc::ptr<node> inside;
  inside = local;
  if (inside != global) std::abort();
  vitrine::chan<gc::ptr<node>> c(1);
  c.send(local);
  c.recv();
  vitrine::spawn([local] { return local; }).get();
  vitrine::gls<gc::ptr<node>> value;
  value.get() = local;
  auto array = gc::make_array<gc::ptr<node>>(10);
  array[9] = local;
}

int fine() {
  gc::ptr<node> ofcaller;
  return vitrine::run([&] {
    allowed();
    ofcaller = gc::make<node>();
    std::puts("fine");
  });
}

int vector() {
  return vitrine::run([] {
    allowed();
    std::vector<gc::ptr<node>> v;
    v.emplace_back(gc::make<node>());
  });
}

int forgotten() {
  return vitrine::run([] {
    allowed();
    gc::make<forgetful>();
  });
}

int thread() {
  return vitrine::run([] { std::thread([] { gc::make<node>(); }).join(); });
}

int early() {
  gc::make<node>();
  return 0;
}

VITRINE_NOINLINE std::uint64_t hide(void* p) { return ~std::uint64_t(p); }

// What f returns, on a goroutine of its own, when that and its stack are gone: the result is there a little earlier.
template <class F>
std::uint64_t elsewhere(F f) {
  std::uint64_t result = vitrine::spawn(f).get();
  while (vitrine::num_goroutine() > 1) vitrine::yield();
  return result;
}

// A pointer that only an integer kept; then it is in an object again. On one P both are in one span, which so stays.
int badpointer() {
  return vitrine::run({.procs = 1}, [] {
    gc::root<node> holder = gc::make<node>();
    std::uint64_t hidden = elsewhere([] { return hide(gc::make<node>()); });
    gc::collect();
    holder->next = reinterpret_cast<node*>(~hidden);
    gc::collect();
    std::puts("survived");
  });
}

int clobbered() {
  return vitrine::run({.procs = 1}, [] {
    gc::root<std::uint64_t> neighbour;  // or the span goes, and its pages with it
    std::uint64_t hidden = elsewhere([&] {
      neighbour = gc::make_array<std::uint64_t>(4);
      return hide(gc::make_array<std::uint64_t>(4));
    });
    gc::collect();
    std::printf("%lx\n", (unsigned long)reinterpret_cast<std::uint64_t*>(~hidden)[3]);
  });
}

int trace() {
  return vitrine::run([] {
    gc::root<char> megabytes = gc::make_array<char>(3 << 20);
    gc::collect();
    for (int i = 0; i < 10; i++) gc::make_array<char>(1 << 20);
  });
}

// A local of run()'s caller, by reference.
int caller() {
  node* list = nullptr;
  int status = vitrine::run([&] {
    vitrine::spawn([&] {
      for (int i = 0; i < 1000; i++) {
        auto n = gc::make<node>();
        n->value = std::uint64_t(i);
        n->next = list;
        list = n;
      }
    }).get();
    for (int k = 0; k < 5; k++) {
      gc::collect();
      vitrine::spawn([] {
        for (int i = 0; i < 5000; i++) gc::make<node>()->value = 77;
      }).get();
    }
    std::uint64_t expected = 1000;
    for (node* n = list; n != nullptr; n = n->next)
      if (n->value != --expected) return 1;
    return int(expected);
  });
  std::printf("%d\n", status);
  return 0;
}

int every() {
  return vitrine::run([] {
    auto before = gc::stats().num_gc;
    for (int i = 0; i < 30; i++) gc::make<node>();
    std::printf("%d\n", int(gc::stats().num_gc - before));
  });
}

int goal() {
  return vitrine::run([] {
    gc::make<node>();
    std::printf("%ld\n", long(gc::stats().heap_goal));
  });
}

int fence() {
  return vitrine::run([] {
    std::uint64_t hidden = elsewhere([] { return hide(gc::make<node>()); });
    gc::collect();
    std::puts("collected");
    std::fflush(stdout);
    return int(reinterpret_cast<node*>(~hidden)->value);
  });
}

int sbrk() {
  return vitrine::run([] {
    struct owner {
      ~owner() { std::puts("destroyed"); }
    };
    auto a = gc::make<node>();
    gc::make<owner>();
    gc::weak<node> w(a);
    gc::set_finalizer(a, [](node*) {});
    gc::collect();
    std::puts(w.lock() == a ? "lives" : "dead");
  });
}

constexpr struct {
  const char* name;
  int (*function)();
} cases[] = {
#define CASE(name) \
  { #name, name }
    CASE(fine),  CASE(vector), CASE(forgotten), CASE(thread), CASE(early), CASE(badpointer), CASE(clobbered),
    CASE(trace), CASE(caller), CASE(every),     CASE(goal),   CASE(fence), CASE(sbrk),
#undef CASE
};

}  // namespace

int main(int argc, char** argv) {
  for (auto& c : cases)
    if (argc > 1 && std::strcmp(argv[1], c.name) == 0) return c.function();
  return 64;
}
