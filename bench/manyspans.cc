// manyspans.cc: a heap for heap_bench.py to look at; prints what it made as one line of JSON, and waits to be killed.
//
//   manyspans spans [N]      N objects of 8 KiB, each a span of its own (1,310,720: 10 GiB, of which no page has
//                            memory); every eighth is dropped and collected, so that the treap is large too
//   manyspans objects [MIB]  so much (1024) in objects of 16 to 1,024 bytes, written to; every eighth is dropped
#include <vitrine/vitrine.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

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

}  // namespace

int main(int argc, char** argv) {
  const bool many = argc < 2 || std::strcmp(argv[1], "objects") != 0;
  const long n = argc > 2 ? std::atol(argv[2]) : many ? 10 << 17 : 1024;
  return vitrine::run([&] {
    vitrine::gc::set_percent(-1);
    many ? spans(n) : objects(n);
    vitrine::gc::collect();
    const auto st = vitrine::runtime::mem_stats();
    std::printf("{\"heap\": \"%s\", \"n\": %ld, \"heap_sys\": %llu, \"heap_live\": %llu}\n", many ? "spans" : "objects",
                n, static_cast<unsigned long long>(st.heap_sys),
                static_cast<unsigned long long>(vitrine::gc::stats().heap_live));
    std::fflush(stdout);
    for (;;) vitrine::sleep_for(std::chrono::hours(1));
  });
}
