// manystacks.cc: parks N goroutines on many different stacks and leaves a core, for bench/inspect_bench.py and for the
// test that an unwinder finds exactly the stacks that were built.
//
//   manystacks [-wait] [N]     N goroutines (default 1,000); then abort(), or with -wait: sleep until killed
//
// 1. There are 12,000 walks. Walk w is `1 + w % 40` calls deep; the digits, to base 6, of w / 40 and of what a small
//    mixing step makes of it choose which of six functions is called at each depth. A walk is its sequence of
//    functions, so at small depths walks coincide: the program counts the different ones itself, over the goroutines it
//    starts.
// 2. The six functions call one another through a switch, one call site per callee, so two stacks have the same return
//    addresses if and only if they are the same walk. Their frames differ in size and in the registers they save, the
//    callee's result is used after the call (no tail calls), and the file is built -O2 -fomit-frame-pointer: who
//    follows frame pointers gets these stacks wrong.
// 3. At its end each goroutine receives from one channel on which nobody sends.
// 4. When all are parked, one line of JSON says what was built:
//    {"goroutines":N, "stacks":K, "depths":[0, n1, …, n40]} with n_d the number of goroutines d calls deep.
#include <sys/resource.h>
#include <vitrine/vitrine.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int functions = 6;
constexpr int deepest = 40;
constexpr int walks = 12'000;

struct walk {
  std::uint8_t depth;
  std::uint8_t step[deepest];
};

walk walk_of(int index) {
  walk w{};
  w.depth = static_cast<std::uint8_t>(1 + index % deepest);
  std::uint64_t digits = static_cast<std::uint64_t>(index / deepest);
  std::uint64_t mixed = digits;
  for (int i = 0; i < w.depth; i++) {
    if (i % 4 == 0 && i > 0) mixed = digits * 2654435761u + static_cast<std::uint64_t>(i) * 40503u;
    w.step[i] = static_cast<std::uint8_t>(mixed % functions);
    mixed /= functions;
  }
  return w;
}

vitrine::chan<int>* nobody_sends;
std::atomic<int> arrived;

long call_next(const walk& w, int at);
long alpha(const walk& w, int at);
long bravo(const walk& w, int at);
long charlie(const walk& w, int at);
long delta(const walk& w, int at);
long echo(const walk& w, int at);
long foxtrot(const walk& w, int at);

__attribute__((noinline)) long park(const walk& w) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  return nobody_sends->recv().value_or(w.depth);
}

// Inlined into each function, so that each has its own seven call sites.
__attribute__((always_inline)) inline long call_next(const walk& w, int at) {
  if (at == w.depth) return park(w);
  switch (w.step[at]) {
    case 0:
      return alpha(w, at + 1);
    case 1:
      return bravo(w, at + 1);
    case 2:
      return charlie(w, at + 1);
    case 3:
      return delta(w, at + 1);
    case 4:
      return echo(w, at + 1);
    default:
      return foxtrot(w, at + 1);
  }
}

// Each keeps `words` words on its stack and `kept` values across the call: other frame sizes, other saved registers.
template <int words, int kept>
__attribute__((always_inline)) inline long body(const walk& w, int at) {
  volatile long local[words];
  local[at % words] = at;
  long across[kept];
  for (int i = 0; i < kept; i++) asm volatile("" : "=r"(across[i]) : "0"(static_cast<long>(at + i)));
  long sum = call_next(w, at);
  for (int i = 0; i < kept; i++) {
    asm volatile("" : : "r"(across[i]));
    sum += across[i];
  }
  return sum + local[at % words];
}

__attribute__((noinline)) long alpha(const walk& w, int at) { return body<1, 1>(w, at); }
__attribute__((noinline)) long bravo(const walk& w, int at) { return body<2, 2>(w, at); }
__attribute__((noinline)) long charlie(const walk& w, int at) { return body<3, 3>(w, at); }
__attribute__((noinline)) long delta(const walk& w, int at) { return body<5, 4>(w, at); }
__attribute__((noinline)) long echo(const walk& w, int at) { return body<8, 1>(w, at); }
__attribute__((noinline)) long foxtrot(const walk& w, int at) { return body<11, 5>(w, at); }

__attribute__((noinline)) long start(int index) {
  walk w = walk_of(index);
  return call_next(w, 0);
}

void print_what_was_built(int n) {
  std::set<std::string> different;
  std::vector<long> depths(deepest + 1);
  for (int i = 0; i < n; i++) {
    walk w = walk_of(i % walks);
    depths[w.depth]++;
    if (i < walks) different.emplace(reinterpret_cast<const char*>(w.step), w.depth);
  }
  std::printf("{\"goroutines\":%d, \"stacks\":%zu, \"depths\":[", n, different.size());
  for (int d = 0; d <= deepest; d++) std::printf("%s%ld", d ? "," : "", depths[d]);
  std::printf("]}\n");
  std::fflush(stdout);
}

int run_bench(int n, bool wait) {
  vitrine::chan<int> channel;
  nobody_sends = &channel;
  for (int i = 0; i < n; i++) {
    vitrine::go({.stack_size = 16 << 10}, [i] { std::exit(static_cast<int>(start(i % walks))); });
    if (i % 1024 == 0) vitrine::yield();
  }
  while (arrived.load(std::memory_order_relaxed) < n) vitrine::sleep_for(std::chrono::milliseconds(1));
  vitrine::sleep_for(std::chrono::milliseconds(200));  // the last to arrive are parked by now
  print_what_was_built(n);
  if (!wait) std::abort();
  for (;;) vitrine::sleep_for(std::chrono::hours(1));
}

}  // namespace

int main(int argc, char** argv) {
  bool wait = argc > 1 && std::strcmp(argv[1], "-wait") == 0;
  const char* count = argc > 1 + wait ? argv[1 + wait] : "1000";
  int n = std::atoi(count);
  if (n <= 0) {
    std::fprintf(stderr, "usage: manystacks [-wait] [N]\n");
    return 2;
  }
  rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &unlimited);
  return vitrine::run([=] { return run_bench(n, wait); });
}
