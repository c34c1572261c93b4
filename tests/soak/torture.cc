// torture.cc: gc_torture [SECONDS [SEED [KIND…]]]: every kind of collection, against goroutines that do with managed
// objects whatever may be done (torture_parts.cc). Objects that are found dead are overwritten (clobberfree) and each
// cycle is checked (gccheckmark). Each kind is a process of its own, begun again and again with another seed:
//
//   beside     one collection after another, marking beside the program, is asked for by a goroutine
//   tight      … with a single part, so that there are many
//   heap       they begin by themselves, every half megabyte, and who allocates has to assist
//   stopped    marking with the world stopped
//   every      at every fifth allocation
//   polite     no preemption signals: goroutines are waited for
//   one        a single P
//   procs      the number of Ps changes all the time
//   time       when the last one is 1 ms ago, instead of 2 minutes (looked at by sysmon, every 10 ms at the latest)
//
// Prints a line for each process, and at the end `N cycles in S s, L losses`. A process that ends otherwise than it
// should is a loss; the line says how to have it again. SECONDS: 10; SEED: of the first process, from the clock.
#include "torture.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "mgc.h"

namespace torture {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

struct Kind {
  const char* name;
  const char* godebug;  // beside the checks
  int procs;
  bool asked;  // somebody calls gc::collect all the time
  int percent;
  bool alone = false;
  std::int64_t period = 0;  // ns, of collections that come by time; 0: 2 minutes
};
constexpr Kind kKinds[] = {{"beside", "", 4, true, 100},
                           {"tight", "", 2, true, 100, true},
                           {"heap", "", 4, false, 10},
                           {"stopped", "gcstoptheworld=1,", 4, true, 100},
                           {"every", "gcevery=5,", 3, false, 100},
                           {"polite", "asyncpreemptoff=1,", 4, true, 100},
                           {"one", "", 1, true, 100},
                           {"procs", "", 4, true, 100},
                           {"time", "", 4, false, 100'000, false, 1'000'000}};

std::atomic<bool> ending;
const char* this_kind = "?";
std::uint64_t this_seed;

}  // namespace

bool over() { return ending.load(std::memory_order_relaxed); }

void lost(const char* part, const char* claim, std::uint64_t a, std::uint64_t b) {
  std::printf("lost: %s, seed %llu: %s: %s (%llu, %llu)\n", this_kind, static_cast<unsigned long long>(this_seed), part,
              claim, static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
  std::fflush(stdout);
  std::abort();
}

namespace {

// In the process of one kind. Exits with 0, and has written the number of cycles to fd.
int one(const Kind& kind, std::uint64_t seed, double seconds, int fd) {
  this_kind = kind.name;
  this_seed = seed;
  alarm(static_cast<unsigned>(seconds) + 60);  // who hangs dies by it
  return vitrine::run({.procs = kind.procs}, [&] {
    gc::set_percent(kind.percent);
    if (kind.period != 0) {
      gc::collect();  // what the next one's time is counted from
      __atomic_store_n(&vitrine::rt::forcegcperiod, kind.period, __ATOMIC_RELAXED);
    }
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    vitrine::wait_group group;
    std::uint64_t number = seed;
    Dice dice(seed);
    // About half of them each time: fewer are more cycles.
    for (std::size_t i = 0, first = dice(kPartCount); i < kPartCount; i++) {
      if (i != first && (kind.alone || dice.one_in(2))) continue;
      for (int k = 0; k < kParts[i].goroutines; k++)
        group.go([part = &kParts[i], own = Dice(++number)] { part->run(own); });
    }
    if (kind.asked)
      group.go([] {
        while (!over()) gc::collect();
      });
    if (std::strcmp(kind.name, "procs") == 0)
      group.go([dice = Dice(seed)]() mutable {
        while (!over()) {
          vitrine::gomaxprocs(1 + static_cast<int>(dice(4)));
          vitrine::sleep_for(std::chrono::microseconds(dice(2000)));
        }
      });
    while (Clock::now() < end) vitrine::sleep_for(5ms);
    ending = true;
    group.wait();
    std::uint64_t made = 0, ended = 0;
    // Words that are left on some stack may keep a few.
    for (int i = 0; i < 400 && !settled(made, ended); i++) {
      gc::collect();
      vitrine::sleep_for(1ms);
    }
    require(made - ended < 16, "finalizers", "finalizers and destructors run", made, ended);
    const std::uint64_t cycles = gc::stats().num_gc;
    return write(fd, &cycles, sizeof cycles) == sizeof cycles ? 0 : 1;
  });
}

// Runs it in another process; the number of its cycles, -1: a loss.
std::int64_t process(const char* self, const Kind& kind, std::uint64_t seed, double seconds) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    const char* more = std::getenv("VITRINE_TORTURE_GODEBUG");
    setenv("GODEBUG",
           (std::string("clobberfree=1,gccheckmark=1,") + kind.godebug + (more != nullptr ? more : "")).c_str(), 1);
    unsetenv("GOGC");
    unsetenv("GOMAXPROCS");
    execl(self, self, "--one", kind.name, std::to_string(seed).c_str(), std::to_string(seconds).c_str(),
          std::to_string(ends[1]).c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  std::uint64_t cycles = 0;
  const bool told = pid > 0 && read(ends[0], &cycles, sizeof cycles) == sizeof cycles;
  close(ends[0]);
  int status = 0;
  if (pid > 0) waitpid(pid, &status, 0);
  if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0) return static_cast<std::int64_t>(cycles);
  std::printf("LOSS: %s, seed %llu: status %#x; again: %s %g %llu %s\n", kind.name,
              static_cast<unsigned long long>(seed), static_cast<unsigned>(status), program_invocation_name, seconds,
              static_cast<unsigned long long>(seed), kind.name);
  return -1;
}

const Kind* kind_of(const char* name) {
  const auto* kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return name == std::string(k.name); });
  if (kind != std::end(kKinds)) return kind;
  std::fprintf(stderr, "gc_torture: no such kind: %s\n", name);
  std::exit(2);
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
  using namespace torture;
  if (argc == 6 && std::strcmp(argv[1], "--one") == 0)
    return one(*kind_of(argv[2]), std::strtoull(argv[3], nullptr, 0), std::atof(argv[4]), std::atoi(argv[5]));
  const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
  std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0)
                                : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() / 1us);
  std::vector<const Kind*> kinds;
  for (int i = 3; i < argc; i++) kinds.push_back(kind_of(argv[i]));
  if (kinds.empty())
    for (const Kind& kind : kKinds) kinds.push_back(&kind);
  const auto begin = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  // Each kind several times if there is time for it.
  const double each = std::clamp(seconds / static_cast<double>(kinds.size()), 0.3, 5.0);
  std::int64_t cycles = 0, losses = 0;
  for (std::size_t i = 0; i < kinds.size() || passed() + each <= seconds; i++, seed++) {
    const Kind& kind = *kinds[i % kinds.size()];
    const std::int64_t n = process("/proc/self/exe", kind, seed, each);
    if (n < 0)
      losses++;
    else
      std::printf("%s, seed %llu: %lld cycles\n", kind.name, static_cast<unsigned long long>(seed),
                  static_cast<long long>(n));
    cycles += std::max<std::int64_t>(n, 0);
  }
  std::printf("%lld cycles in %.0f s, %lld losses\n", static_cast<long long>(cycles), passed(),
              static_cast<long long>(losses));
  return losses == 0 ? 0 : 1;
}
