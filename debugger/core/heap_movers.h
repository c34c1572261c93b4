// heap_movers.h: the functions of the runtime that change the heap; what disagrees while a thread is in one of them may
// only be on its way (heap_check.h). They are the dialect's words for functions.
#pragma once
#include <string_view>

namespace vitrine::inspect::movers {

// Take a lock of the heap: of the heap itself, of an mcentral, of a pool of stacks.
inline constexpr std::string_view kHeapLocked[] = {"mheap::alloc",
                                                   "mheap::alloc_m",
                                                   "mheap::allocSmall",
                                                   "mheap::takePages",
                                                   "mheap::allocManual",
                                                   "mheap::allocSpanLocked",
                                                   "mheap::freeSpan",
                                                   "mheap::freeManual",
                                                   "mheap::freeSpanLocked",
                                                   "mheap::coalesce",
                                                   "mheap::grow",
                                                   "mheap::sysAlloc",
                                                   "mheap::scavengeLocked",
                                                   "scavengeAll",
                                                   "mheap::init",
                                                   "mallocinit",
                                                   "mcentral::cacheSpan",
                                                   "mcentral::uncacheSpan",
                                                   "mcentral::grow",
                                                   "mcache::refill",
                                                   "mcache::releaseAll",
                                                   "mcache::prepareForSweep",
                                                   "allocmcache",
                                                   "freemcache",
                                                   "rawcacheflush",
                                                   "takeobjects",
                                                   "giveobjects",
                                                   "profilealloc",
                                                   "stackcacherefill",
                                                   "stackcacherelease",
                                                   "stackcache_clear",
                                                   "stackpoolalloc",
                                                   "stackpoolfree",
                                                   "largealloc",
                                                   "largefree",
                                                   "freestackspan",
                                                   "mcentral::takeSpan",
                                                   "mcentral::freeSpan",
                                                   "takeforcache",
                                                   "freeStackSpans",
                                                   "flushmcaches"};
// Change what no lock guards: an mcache, an object's bits, whose a stack is.
inline constexpr std::string_view kHeapUnlocked[] = {
    "mallocgc",     "newobject",  "largeAlloc", "nextFree",  "allocobject", "freeobject", "alloclarge",
    "freelarge",    "stackalloc", "stackfree",  "poolalloc", "poolfree",    "malg",       "newproc1",
    "gfput",        "gfget",      "goexit0",    "newproxy",  "endproxy",    "procresize", "destroy",
    "mspan::sweep", "sweepone",   "sweepone_m", "gcCycle",   "gcSweep",     "mallocfast"};
// Change the mcache of a P that need not be their own.
inline constexpr std::string_view kAnyCache[] = {"flushmcaches", "freemcache"};

}  // namespace vitrine::inspect::movers
