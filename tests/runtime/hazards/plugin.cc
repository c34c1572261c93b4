// plugin.cc: goroutines in a shared object. Built twice: without the runtime, for a program that has it
// (hazard_host: the object starts goroutines on the host's); and with all of it inside (run() is called in the object,
// in a program that knows nothing of it).
#include <vitrine/vitrine.h>

#include <stdexcept>

extern "C" int plugin_sum(int n) {
  vitrine::chan<int> c(n);
  vitrine::wait_group wg;
  for (int i = 0; i < n; i++)
    wg.go([=] {
      try {
        vitrine::yield();
        throw std::runtime_error("through the object");
      } catch (const std::exception&) {
        vitrine::yield();
        c.send(i);
      }
    });
  wg.wait();
  c.close();
  int sum = 0;
  for (int v : c) sum += v;
  return sum;
}

#ifdef WITH_RUNTIME
extern "C" int plugin_run(int n) {
  return vitrine::run({.procs = 3}, [n] { return plugin_sum(n) == n * (n - 1) / 2 ? 5 : 1; });
}
#endif
