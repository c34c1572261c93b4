// mix.cc: soak_mix [SECONDS]: a program that never rests, for the soak of `info sched -check`: everything that moves
// goroutines, Ms and Ps at once, and everything they wait for. mix_*.cc say which groups there are, mix.h how one is
// made.
//
// Runs until SIGTERM, or for the seconds that its argument says. Then all groups end, their sums are looked at, and the
// last line is `whole after S s: GROUP N, …`, with status 0. Every ten seconds a line says what each group has done.
// A thread that never calls the runtime watches: a group that stands still for a minute, more threads, goroutines,
// descriptors or memory than the groups can need, or groups that do not end, are losses too. A loss is one line
// `lost: GROUP: CLAIM (A, B)`, what all goroutines do, and an abort.
#include "mix.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

namespace mix {

using namespace std::chrono_literals;

vitrine::wait_group everybody;

namespace {

std::atomic<bool> ending;
std::atomic<std::uint64_t> sink;
Group memory{"memory"};  // has no turns: it is a name for what the watcher finds

Group* const kGroups[] = {&rings,   &lockers,    &sleepers,  &births, &hogs,    &away,    &locked,     &world,
                          &market,  &broadcasts, &readers,   &queues, &onces,   &permits, &exceptions, &timers,
                          &tickers, &streams,    &listeners, &pipes,  &threads, &trees,   &collections};
constexpr std::size_t kCount = std::size(kGroups);
constexpr auto kLook = 100ms;
constexpr int kStill = 600, kReport = 100;  // looks
// Generous: a loss grows without a bound.
constexpr long kMostThreads = 300, kMostGoroutines = 5000, kMostFiles = 1000, kMostMemory = 1000;  // MiB

long entries(const char* directory) {
  DIR* dir = opendir(directory);
  if (dir == nullptr) return 0;
  long n = 0;
  while (readdir(dir) != nullptr) ++n;
  closedir(dir);
  return n;
}

long resident() {
  long pages = 0;
  if (FILE* statm = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(statm, "%*d %ld", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  return pages * sysconf(_SC_PAGESIZE) >> 20;
}

std::string totals() {
  std::string all;
  for (const Group* g : kGroups) all += (all.empty() ? "" : ", ") + (g->name + (" " + std::to_string(g->turns())));
  return all;
}

void bounds() {
  const long tasks = entries("/proc/self/task"), files = entries("/proc/self/fd"), now = resident();
  const auto goroutines = static_cast<long>(vitrine::num_goroutine());
  require(tasks <= kMostThreads, memory, "threads are not too many", tasks, kMostThreads);
  require(goroutines <= kMostGoroutines, memory, "goroutines are not too many", goroutines, kMostGoroutines);
  require(files <= kMostFiles, memory, "descriptors are not too many", files, kMostFiles);
  require(now <= kMostMemory, memory, "MiB in memory are not too many", now, kMostMemory);
  std::printf("%ld threads, %ld goroutines, %ld descriptors, %ld MiB: %s\n", tasks, goroutines, files, now,
              totals().c_str());
  std::fflush(stdout);
}

void watch() {
  std::uint64_t last[kCount] = {};
  int still[kCount] = {}, since_end = 0;
  for (int look = 1;; ++look) {
    std::this_thread::sleep_for(kLook);
    if (over()) {
      ++since_end;
      require(since_end < kStill, memory, "everybody ends", since_end);
      continue;
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      const std::uint64_t now = kGroups[i]->turns();
      still[i] = now == last[i] ? still[i] + 1 : 0;
      last[i] = now;
      require(still[i] < kStill, *kGroups[i], "a group gets on", static_cast<std::int64_t>(now));
    }
    if (look % kReport == 0) bounds();
  }
}

}  // namespace

bool over() { return ending.load(std::memory_order_relaxed); }

std::uint64_t seed() {
  static const std::uint64_t given = [] {
    const char* text = std::getenv("VITRINE_SOAK_SEED");
    return text == nullptr ? 0 : std::strtoull(text, nullptr, 0);
  }();
  return given;
}

void compute(std::uint64_t turns) {
  std::uint64_t x = turns;
  for (std::uint64_t i = 0; i < turns; ++i) asm volatile("" : "+r"(x));
  sink.fetch_add(x, std::memory_order_relaxed);
}

void lost(const Group& group, const char* claim, std::int64_t a, std::int64_t b) {
  static std::atomic_flag told;
  if (told.test_and_set()) {
    for (;;) pause();
  }
  std::printf("lost: %s: %s (%lld, %lld)\n", group.name, claim, static_cast<long long>(a), static_cast<long long>(b));
  std::fflush(stdout);
  vitrine::runtime::dump_stacks(STDOUT_FILENO);
  std::abort();
}

}  // namespace mix

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGTERM, [](int) { mix::ending.store(true); });
  const auto begin = std::chrono::steady_clock::now();
  const auto end = argc > 1 ? begin + std::chrono::seconds(std::atoi(argv[1])) : begin + 24h * 365;
  return vitrine::run({.procs = 4}, [begin, end] {
    std::thread(mix::watch).detach();
    mix::start_sched();
    mix::start_wait();
    mix::start_time();
    mix::start_io();
    mix::start_gc();
    while (!mix::over() && std::chrono::steady_clock::now() < end) vitrine::sleep_for(20ms);
    mix::ending.store(true);
    mix::everybody.wait();
    for (const mix::Group* g : mix::kGroups)
      if (g->sums != nullptr) g->sums();
    std::printf("whole after %lld s: %s\n", static_cast<long long>((std::chrono::steady_clock::now() - begin) / 1s),
                mix::totals().c_str());
    return 0;
  });
}
