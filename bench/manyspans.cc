// manyspans.cc: a heap for heap_bench.py to look at; prints what it made as one line of JSON, and waits to be killed.
//
//   manyspans spans [N]      N objects of 8 KiB, each a span of its own (1,310,720: 10 GiB, of which no page has
//                            memory); every eighth is dropped and collected, so that the treap is large too
//   manyspans objects [MIB]  so much (1024) in objects of 16 to 1,024 bytes, written to; every eighth is dropped
//   manyspans managed [N]    N objects (10,000,000: 1 GiB): trees with names and tables, a thousand goroutines that wait for
//                            each other on channels that nobody else has
#include <vitrine/vitrine.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct page {
  page() noexcept {}
  char bytes[8192];
};

template <std::size_t Size>
struct block {
  block() noexcept {}
  void* next;
  char rest[Size - 8];
};

}  // namespace

template <>
struct vitrine::gc::type_traits<page> : vitrine::gc::noscan {};
template <std::size_t Size>
struct vitrine::gc::type_traits<block<Size>> {
  static void fields(auto& visit, block<Size>& b) { visit(reinterpret_cast<vitrine::gc::ptr<char>&>(b.next)); }
};

namespace {

// What is kept is a list through the first words.
template <std::size_t Size>
__attribute__((noinline)) void* blocks(long n, void* list) {
  for (long i = 0; i < n; i++) {
    block<Size>* b = vitrine::gc::make<block<Size>>().get();
    std::memset(b->rest, 1, sizeof b->rest);
    if (i % 8 == 0) continue;
    b->next = list;
    list = b;
  }
  return list;
}

void* volatile kept;

__attribute__((noinline)) void spans(long n) {
  auto all = vitrine::gc::make_array<vitrine::gc::ptr<page>>(static_cast<std::size_t>(n));
  kept = all.get();
  for (long i = 0; i < n; i++) {
    auto p = vitrine::gc::make<page>();
    if (i % 8 != 0) all.get()[i] = p;
  }
}

__attribute__((noinline)) void objects(long mib) {
  const long each = (mib << 20) / 4;
  kept = blocks<1024>(each / 1024, blocks<256>(each / 256, blocks<64>(each / 64, blocks<16>(each / 16, nullptr))));
}

// Four kinds, 107 bytes on average: a name of 16 to 240 bytes without pointers; a leaf; a branch; a table.
struct name {
  name() noexcept {}
  char text[112];
};
struct leaf {
  vitrine::gc::ptr<name> called;
  vitrine::gc::ptr<char> text;
  std::array<long, 4> numbers;
};
struct branch {
  std::array<vitrine::gc::ptr<branch>, 8> below;
  vitrine::gc::ptr<leaf> of;
  vitrine::gc::ptr<branch> parent;
  std::array<long, 4> numbers;
};

branch* volatile tree;
const void* volatile deep;  // what heap why is asked for

}  // namespace
template <>
struct vitrine::gc::type_traits<name> : vitrine::gc::noscan {};
namespace {

// Breadth first: each branch has a parent above it, a leaf, a name, and text of its own.
__attribute__((noinline)) void managed(long n) {
  const long branches = n / 4;
  auto all = vitrine::gc::make_array<vitrine::gc::ptr<branch>>(static_cast<std::size_t>(branches));
  for (long i = 0; i < branches; i++) {
    branch* b = all.get()[i] = vitrine::gc::make<branch>();
    b->of = vitrine::gc::make<leaf>();
    b->of->called = vitrine::gc::make<name>();
    b->of->text = vitrine::gc::make_array<char>(static_cast<std::size_t>(15 + i % 16 * 12));
    if (i > 0) {
      b->parent = all.get()[(i - 1) / 8];
      b->parent->below[static_cast<std::size_t>((i - 1) % 8)] = b;
    }
  }
  tree = all.get()[0];
  deep = all.get()[branches - 1]->of->called.get();
  for (int i = 0; i < 1000; i++) vitrine::go([in = vitrine::chan<int>(0)]() mutable { in.recv(); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string heap = argc > 1 ? argv[1] : "spans";
  const long n = argc > 2 ? std::atol(argv[2]) : heap == "spans" ? 10 << 17 : heap == "objects" ? 1024 : 10'000'000;
  return vitrine::run([&] {
    vitrine::gc::set_percent(-1);
    if (heap == "managed")
      managed(n);
    else
      heap == "objects" ? objects(n) : spans(n);
    vitrine::gc::collect();
    const auto st = vitrine::runtime::mem_stats();
    std::printf("{\"heap\": \"%s\", \"n\": %ld, \"heap_sys\": %llu, \"heap_live\": %llu, \"deep\": \"%p\"}\n",
                heap.c_str(), n, static_cast<unsigned long long>(st.heap_sys),
                static_cast<unsigned long long>(vitrine::gc::stats().heap_live), const_cast<const void*>(deep));
    std::fflush(stdout);
    for (;;) vitrine::sleep_for(std::chrono::hours(1));
  });
}
