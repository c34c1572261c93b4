// fixalloc.cc: objects of one size for the runtime's own metadata — mspan, mcache, treapNode, special records. Follows
// Go's mfixalloc.go.
//
// alloc() takes from the list of freed objects, else from the rest of the newest chunk of 16 KiB (or one object, where
// that is more), which comes from persistentalloc. Memory never goes back: an object once is one of its type for ever,
// so a stale pointer to one reads as such. Freed objects are linked through their first word. The caller locks.
#include <cstring>

#include "mem.h"

namespace vitrine::rt {

constexpr uint32 fixAllocChunk = 16 << 10;

void fixalloc::init(uintptr objectSize, const char* name, void (*f)(void*, void*), void* a, uint64* st) {
  size = alignUp(objectSize, ptrSize);
  type = name;
  first = f;
  arg = a;
  list = nullptr;
  chunk = 0;
  nchunk = 0;
  inuse = 0;
  stat = st;
  zero = true;
}

void* fixalloc::alloc() {
  if (size == 0) throw_("fixalloc: used before init");
  if (mlink* v = list; v != nullptr) {
    list = v->next;
    inuse += uint32(size);
    if (zero) memset(static_cast<void*>(v), 0, size);
    return v;
  }
  if (nchunk < size) {
    nchunk = size > fixAllocChunk ? uint32(size) : fixAllocChunk;
    chunk = uintptr(persistentalloc(nchunk, 64, stat, type, size, this));
  }
  void* v = reinterpret_cast<void*>(chunk);
  chunk += size;
  nchunk -= uint32(size);
  inuse += uint32(size);
  if (first != nullptr) first(arg, v);
  return v;
}

void fixalloc::free(void* p) {
  inuse -= uint32(size);
  auto* v = static_cast<mlink*>(p);
  v->next = list;
  list = v;
}

}  // namespace vitrine::rt
