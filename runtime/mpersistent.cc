// mpersistent.cc: persistentalloc, memory for ever, and what all of the runtime's own memory is. Follows the end of Go's
// malloc.go.
//
// persistentalloc cuts from chunks of 256 KiB; what is half of that or larger is a mapping of its own.
//
// Unlike Go: each piece is written down, in blocks of records that only grow: address, size, the type of what is in it,
// and the fixalloc that cuts it further, if one does. Nothing here reads them. They are for who looks at a stopped
// program or a core and has an address (`obj`): mspans and mcaches could be found by their lists, but not a bitmap, a
// record of a finalizer, or an array that was given up for a larger one. A record is 40 bytes for 16 KiB and more, or for
// what there is one of for each thread, processor, or 2 KiB of the collector's buffers.
//
// A chunk is a record without a type. Its pieces come after it and lie inside: the smallest that has an address is right.
#include "mem.h"
#include "proc.h"

namespace vitrine::rt {

metadataBlock metadata;

static struct {
  mutex lock;
  uintptr base, end;    // lock
  metadataBlock* last;  // lock; null: &metadata
} persistent;

// lock held.
static uintptr cut(uintptr size, uintptr align);

static void note(uintptr base, uintptr size, const char* type, uintptr unit, fixalloc* owner) {
  metadataBlock* b = persistent.last != nullptr ? persistent.last : &metadata;
  if (b->n == metadataEntries) {
    auto* next = reinterpret_cast<metadataBlock*>(cut(sizeof(metadataBlock), 64));
    __atomic_store_n(&b->next, next, __ATOMIC_RELEASE);
    persistent.last = b = next;
    note(uintptr(next), sizeof *next, "metadataBlock", sizeof *next, nullptr);
  }
  b->entry[b->n] = {base, size, unit == 0 ? size : unit, type, owner};
  __atomic_store_n(&b->n, b->n + 1, __ATOMIC_RELEASE);
}

static uintptr chunk(uintptr size) {
  void* p = sysAlloc(size, nullptr);
  if (p == nullptr) {
    outofmemory(size);
    fatal("out of memory");
  }
  san_root(p, size);
  return uintptr(p);
}

static uintptr cut(uintptr size, uintptr align) {
  uintptr p = alignUp(persistent.base, align);
  if (persistent.base == 0 || p + size > persistent.end) {
    p = chunk(persistentChunkSize);
    persistent.end = p + persistentChunkSize;
    persistent.base = p + size;
    note(p, persistentChunkSize, nullptr, 0, nullptr);  // may cut a block of records from it
    return p;
  }
  persistent.base = p + size;
  return p;
}

void* persistentalloc(uintptr size, uintptr align, uint64* stat, const char* type, uintptr unit, fixalloc* owner) {
  if (align == 0) align = 8;
  if ((align & (align - 1)) != 0 || align > pageSize) throw_("persistentalloc: bad alignment");
  mSysStatInc(stat, size);
  bool own = size >= persistentChunkSize / 2;
  uintptr p = own ? chunk(size) : 0;
  lock(&persistent.lock);
  if (!own) p = cut(size, align);
  if (type != nullptr) note(p, size, type, unit, owner);
  unlock(&persistent.lock);
  return reinterpret_cast<void*>(p);
}

void* persistentalloc(uintptr size, uintptr align, const char* type, uintptr unit) {
  return persistentalloc(size, align, &memstats.other_sys, type, unit);
}

void metadatanote(const void* p, uintptr size, const char* type, uintptr unit) {
  lock(&persistent.lock);
  note(uintptr(p), size, type, unit, nullptr);
  unlock(&persistent.lock);
}

}  // namespace vitrine::rt
