// malloc0.cc: memory for the runtime's small objects — sudogs, channels, closures, timer heaps — until the span heap
// takes them over. libc's calloc: thread-safe, and safe under M:N because no goroutine is ever switched inside it.
#include <cstdlib>

#include "runtime.h"

namespace vitrine::rt {

void* rawalloc(uintptr size) {
  void* p = calloc(1, size == 0 ? 1 : size);
  if (p == nullptr) {
    print("runtime: cannot allocate ", uint64(size), " bytes\n");
    throw_("out of memory");
  }
  return p;
}

void rawfree(void* p) { free(p); }

}  // namespace vitrine::rt
