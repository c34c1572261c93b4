// heap_movers.h: the functions of the runtime that change the heap; what disagrees while a thread is in one of them may
// only be on its way (heap_check.h). They are the dialect's words for functions.
#pragma once
#include <string_view>

namespace vitrine::inspect::movers {

inline constexpr std::string_view kHeap[] = {
    // spans and the treap
    "mheap::alloc", "mheap::alloc_m", "mheap::allocManual", "mheap::allocSpanLocked", "mheap::freeSpan",
    "mheap::freeManual", "mheap::freeSpanLocked", "mheap::coalesce", "mheap::grow", "mheap::sysAlloc",
    "mheap::scavengeLocked", "scavengeAll", "mheap::init", "mallocinit",
    // mcentrals and mcaches
    "mcentral::cacheSpan", "mcentral::uncacheSpan", "mcentral::grow", "mcache::refill", "mcache::releaseAll",
    "mcache::prepareForSweep", "allocmcache", "freemcache", "rawcacheflush",
    // objects
    "mallocgc", "newobject", "largeAlloc", "nextFree", "profilealloc", "allocobject", "freeobject", "takeobjects",
    "giveobjects", "alloclarge", "freelarge",
    // stacks
    "stackalloc", "stackfree", "stackcacherefill", "stackcacherelease", "stackcache_clear", "stackpoolalloc",
    "stackpoolfree", "poolalloc", "poolfree", "largealloc", "largefree", "freestackspan", "malg", "newproc1", "gfput",
    "gfget", "goexit0", "newproxy", "endproxy", "procresize", "destroy"};

}  // namespace vitrine::inspect::movers
