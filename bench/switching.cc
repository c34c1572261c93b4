// switching.cc: two goroutines that yield to each other for ever; trace_bench.py watches them.
#include <vitrine/vitrine.h>

int main() {
  return vitrine::run({.procs = 1}, [] {
    vitrine::go([] {
      for (;;) vitrine::yield();
    });
    for (;;) vitrine::yield();
  });
}
