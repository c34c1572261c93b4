// host.cc OBJECT: loads a shared object at run time and calls it: plugin_sum on a goroutine of this program's runtime,
// or, without one (WITHOUT_RUNTIME), plugin_run, which brings its own. Exit status 5: right.
#include <dlfcn.h>

#include <cstdio>

#ifndef WITHOUT_RUNTIME
#include <vitrine/vitrine.h>
#endif

int main(int, char** argv) {
#ifdef WITHOUT_RUNTIME
  void* object = dlopen(argv[1], RTLD_NOW);
  auto run = object != nullptr ? reinterpret_cast<int (*)(int)>(dlsym(object, "plugin_run")) : nullptr;
  if (run != nullptr) return run(200);
#else
  int code = vitrine::run([&] {
    // What the object needs of the runtime is the program's: a runtime of its own would not know this goroutine.
    void* object = dlopen(argv[1], RTLD_NOW);
    auto sum = object != nullptr ? reinterpret_cast<int (*)(int)>(dlsym(object, "plugin_sum")) : nullptr;
    return sum == nullptr ? 99 : vitrine::spawn([sum] { return sum(200); }).get() == 199 * 100 ? 5 : 1;
  });
  if (code != 99) return code;
#endif
  std::fprintf(stderr, "%s\n", dlerror());
  return 99;
}
