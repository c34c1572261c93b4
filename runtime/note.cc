// note.cc: the ELF note that describes the layout of the runtime to tools when DWARF was stripped: owner "Vitrine",
// type 1. The format is debugger/core/note_format.md; a test of the inspection core compares the note with DWARF.
//
// Emitted by asm statements of one function that is never called: only there may sizes and offsets of C++ types become
// assembler constants. Volatile asm statements keep their order. The roots are written as distances from themselves, so
// that the note needs no relocation.
#include "mheap.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define IN_NOTE(text) ".pushsection .note.vitrine, \"a\", @note\n" text ".popsection\n"
#define NAME(n) ".ascii \"" n "\"\n.zero 32 - (. - 1b)\n"

#define ROOT(name, mangled) asm volatile(IN_NOTE("1:\n" NAME(name) ".quad " mangled " - .\n"))
#define ENTRY(name, offset, size) \
  asm volatile(IN_NOTE("1:\n" NAME(name) ".long %c0, %c1\n") : : "i"(int64(offset)), "i"(int64(size)))
#define TYPE(type, cxx) ENTRY(#type, 0, sizeof(cxx))
#define FIELD(type, cxx, field) ENTRY(#type "." #field, offsetof(cxx, field), sizeof(cxx::field))
#define MEMBER(type, path) ENTRY(#type "." #path, offsetof(type, path), sizeof(static_cast<type*>(nullptr)->path))
#define VALUE(type, name) ENTRY(#type ":" #name, name, 0)

namespace vitrine::rt {

using gslice = slice<g*>;

__attribute__((noinline, used, retain)) void layoutnote();
// Offsets of members of members are what the note is about.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
void layoutnote() {
  asm volatile(IN_NOTE(".p2align 2\n"
                       ".long 8, .Lvitrine_desc_end - .Lvitrine_desc, 1\n"
                       ".asciz \"Vitrine\"\n"
                       ".Lvitrine_desc:\n"
                       ".ascii \"VTRN\"\n"
                       ".long %c0\n"
                       ".quad 0\n"
                       ".long (.Lvitrine_fields - .Lvitrine_roots) / 40\n"
                       ".long (.Lvitrine_desc_end - .Lvitrine_fields) / 40\n"
                       ".Lvitrine_roots:\n")
               :
               : "i"(layoutVersion));
  ROOT("sched", "_ZN7vitrine2rt5schedE");
  ROOT("allgs", "_ZN7vitrine2rt5allgsE");
  ROOT("allm", "_ZN7vitrine2rt4allmE");
  ROOT("allp", "_ZN7vitrine2rt4allpE");
  ROOT("gslabs", "_ZN7vitrine2rt6gslabsE");
  ROOT("waitReasonStrings", "_ZN7vitrine2rt17waitReasonStringsE");
  ROOT("m0", "_ZN7vitrine2rt2m0E");
  ROOT("gomaxprocs", "_ZN7vitrine2rt10gomaxprocsE");
  ROOT("idlepMask", "_ZN7vitrine2rt9idlepMaskE");
  ROOT("allpolldescs", "_ZN7vitrine2rt12allpolldescsE");
  ROOT("netpollWaiters", "_ZN7vitrine2rt14netpollWaitersE");
  ROOT("mheap_", "_ZN7vitrine2rt6mheap_E");
  ROOT("memstats", "_ZN7vitrine2rt8memstatsE");
  ROOT("stackpool", "_ZN7vitrine2rt9stackpoolE");
  ROOT("stackLarge", "_ZN7vitrine2rt10stackLargeE");
  ROOT("emptymspan", "_ZN7vitrine2rt10emptymspanE");
  ROOT("zerobase", "_ZN7vitrine2rt8zerobaseE");
  asm volatile(IN_NOTE(".Lvitrine_fields:\n"));
  TYPE(g, g);
  ENTRY("g.stack.lo", offsetof(g, stack.lo), sizeof(static_cast<g*>(nullptr)->stack.lo));
  ENTRY("g.stack.hi", offsetof(g, stack.hi), sizeof(static_cast<g*>(nullptr)->stack.hi));
  ENTRY("g.sched.sp", offsetof(g, sched.sp), sizeof(static_cast<g*>(nullptr)->sched.sp));
  ENTRY("g.sched.pc", offsetof(g, sched.pc), sizeof(static_cast<g*>(nullptr)->sched.pc));
  ENTRY("g.sched.bp", offsetof(g, sched.bp), sizeof(static_cast<g*>(nullptr)->sched.bp));
  FIELD(g, g, atomicstatus);
  FIELD(g, g, waitreason);
  FIELD(g, g, issystem);
  FIELD(g, g, guard);
  FIELD(g, g, goid);
  FIELD(g, g, m);
  FIELD(g, g, waitsince);
  FIELD(g, g, gopc);
  FIELD(g, g, startpc);
  FIELD(g, g, parentGoid);
  FIELD(g, g, waitobject);
  FIELD(g, g, schedlink);
  FIELD(g, g, name);
  FIELD(g, g, syscallsp);
  FIELD(g, g, syscallpc);
  FIELD(g, g, syscallbp);
  FIELD(g, g, lockedm);
  FIELD(g, g, stackclass);
  TYPE(m, m);
  FIELD(m, m, g0);
  FIELD(m, m, gsignal);
  FIELD(m, m, tls);
  FIELD(m, m, procid);
  FIELD(m, m, curg);
  FIELD(m, m, p);
  FIELD(m, m, nextp);
  FIELD(m, m, id);
  FIELD(m, m, locks);
  FIELD(m, m, spinning);
  FIELD(m, m, blocked);
  FIELD(m, m, alllink);
  FIELD(m, m, lockedg);
  FIELD(m, m, nsteal);
  TYPE(p, p);
  FIELD(p, p, id);
  FIELD(p, p, status);
  FIELD(p, p, schedtick);
  FIELD(p, p, m);
  FIELD(p, p, runqhead);
  FIELD(p, p, runqtail);
  FIELD(p, p, runnext);
  FIELD(p, p, runq);
  FIELD(p, p, nsteal);
  TYPE(schedt, schedt);
  FIELD(schedt, schedt, goidgen);
  FIELD(schedt, schedt, lastnow);
  FIELD(schedt, schedt, midle);
  FIELD(schedt, schedt, nmidle);
  FIELD(schedt, schedt, mnext);
  FIELD(schedt, schedt, pidle);
  FIELD(schedt, schedt, npidle);
  FIELD(schedt, schedt, nmspinning);
  ENTRY("schedt.runq.head", offsetof(schedt, runq.head), sizeof(static_cast<schedt*>(nullptr)->runq.head));
  ENTRY("schedt.runq.tail", offsetof(schedt, runq.tail), sizeof(static_cast<schedt*>(nullptr)->runq.tail));
  FIELD(schedt, schedt, runqsize);
  FIELD(schedt, schedt, ngsys);
  ENTRY("schedt.gFree.n", offsetof(schedt, gFree.n), sizeof(static_cast<schedt*>(nullptr)->gFree.n));
  FIELD(schedt, schedt, pollUntil);
  FIELD(schedt, schedt, exiting);
  FIELD(schedt, schedt, nsteal);
  TYPE(slice, gslice);
  FIELD(slice, gslice, array);
  FIELD(slice, gslice, len);
  FIELD(slice, gslice, cap);
  TYPE(string, string);
  FIELD(string, string, str);
  FIELD(string, string, len);
  TYPE(gslab, gslab);
  FIELD(gslab, gslab, base);
  FIELD(gslab, gslab, n);
  TYPE(gobuf, gobuf);
  FIELD(gobuf, gobuf, sp);
  FIELD(gobuf, gobuf, pc);
  FIELD(gobuf, gobuf, bp);
  VALUE(gstatus, Gidle);
  VALUE(gstatus, Grunnable);
  VALUE(gstatus, Grunning);
  VALUE(gstatus, Gsyscall);
  VALUE(gstatus, Gwaiting);
  VALUE(gstatus, Gmoribund_unused);
  VALUE(gstatus, Gdead);
  VALUE(gstatus, Genqueue_unused);
  VALUE(gstatus, Gcopystack);
  VALUE(gstatus, Gpreempted);
  VALUE(gstatus, Gleaked);
  VALUE(gstatus, Gdeadextra);
  VALUE(gstatus, Gscan);
  VALUE(pstatus, Pidle);
  VALUE(pstatus, Prunning);
  VALUE(pstatus, Psyscall);
  VALUE(pstatus, Pgcstop);
  VALUE(pstatus, Pdead);
  VALUE(waitReason, waitReasonCount);
  VALUE(gguard, gguardNone);
  VALUE(gguard, gguardMprotect);
  VALUE(gguard, gguardMadvise);
  VALUE(gguard, gguardCanary);
  // What goroutines wait on.
  FIELD(g, g, waiting);
  FIELD(g, g, isforeign);
  TYPE(sudog, sudog);
  FIELD(sudog, sudog, g);
  FIELD(sudog, sudog, next);
  FIELD(sudog, sudog, prev);
  FIELD(sudog, sudog, elem);
  FIELD(sudog, sudog, isSelect);
  FIELD(sudog, sudog, success);
  FIELD(sudog, sudog, waitlink);
  FIELD(sudog, sudog, c);
  TYPE(hchan, hchan);
  FIELD(hchan, hchan, qcount);
  FIELD(hchan, hchan, dataqsiz);
  FIELD(hchan, hchan, buf);
  FIELD(hchan, hchan, elemsize);
  FIELD(hchan, hchan, closed);
  FIELD(hchan, hchan, refs);
  FIELD(hchan, hchan, elemtype);
  FIELD(hchan, hchan, sendx);
  FIELD(hchan, hchan, recvx);
  MEMBER(hchan, recvq.first);
  MEMBER(hchan, recvq.last);
  MEMBER(hchan, sendq.first);
  MEMBER(hchan, sendq.last);
  FIELD(hchan, hchan, lock);
  TYPE(chantype, chantype);
  FIELD(chantype, chantype, size);
  MEMBER(chantype, name.str);
  MEMBER(chantype, name.len);
  TYPE(syncMutex, syncMutex);
  FIELD(syncMutex, syncMutex, state);
  FIELD(syncMutex, syncMutex, lock);
  MEMBER(syncMutex, waitq.first);
  MEMBER(syncMutex, waitq.last);
  FIELD(syncMutex, syncMutex, owner);
  TYPE(syncRWMutex, syncRWMutex);
  FIELD(syncRWMutex, syncRWMutex, state);
  FIELD(syncRWMutex, syncRWMutex, lock);
  MEMBER(syncRWMutex, readq.first);
  MEMBER(syncRWMutex, readq.last);
  MEMBER(syncRWMutex, writeq.first);
  MEMBER(syncRWMutex, writeq.last);
  MEMBER(syncRWMutex, writers.waitq.first);
  MEMBER(syncRWMutex, writers.waitq.last);
  FIELD(syncRWMutex, syncRWMutex, owner);
  TYPE(syncCond, syncCond);
  FIELD(syncCond, syncCond, lock);
  MEMBER(syncCond, waitq.first);
  MEMBER(syncCond, waitq.last);
  TYPE(syncOnce, syncOnce);
  FIELD(syncOnce, syncOnce, done);
  FIELD(syncOnce, syncOnce, lock);
  MEMBER(syncOnce, waitq.first);
  MEMBER(syncOnce, waitq.last);
  FIELD(syncOnce, syncOnce, running);
  FIELD(syncOnce, syncOnce, runner);
  TYPE(syncSema, syncSema);
  FIELD(syncSema, syncSema, count);
  FIELD(syncSema, syncSema, lock);
  MEMBER(syncSema, waitq.first);
  MEMBER(syncSema, waitq.last);
  TYPE(syncWaitGroup, syncWaitGroup);
  FIELD(syncWaitGroup, syncWaitGroup, state);
  FIELD(syncWaitGroup, syncWaitGroup, lock);
  MEMBER(syncWaitGroup, waitq.first);
  MEMBER(syncWaitGroup, waitq.last);
  TYPE(taskState, taskState);
  FIELD(taskState, taskState, done);
  FIELD(taskState, taskState, lock);
  MEMBER(taskState, waitq.first);
  MEMBER(taskState, waitq.last);
  FIELD(taskState, taskState, goid);
  VALUE(syncMutexState, mutexLocked);
  VALUE(syncMutexState, mutexWoken);
  VALUE(syncMutexState, mutexWaiters);
  VALUE(syncMutexState, mutexStarving);
  VALUE(syncRWMutexState, rwWriter);
  VALUE(syncRWMutexState, rwReaderShift);
  // Queues, idle lists, timers, descriptors.
  FIELD(g, g, preempt);
  FIELD(g, g, noproc);
  FIELD(g, g, foreigntid);
  FIELD(m, m, oldp);
  FIELD(m, m, schedlink);
  FIELD(m, m, mstartfn);
  FIELD(m, m, npreempt);
  FIELD(p, p, link);
  FIELD(p, p, syscalltick);
  FIELD(p, p, preempt);
  MEMBER(p, gFree.list);
  MEMBER(p, gFree.n);
  MEMBER(p, timers.lock);
  MEMBER(p, timers.heap.array);
  MEMBER(p, timers.heap.len);
  MEMBER(p, timers.len);
  MEMBER(p, timers.zombies);
  MEMBER(p, timers.minWhen);
  FIELD(schedt, schedt, lastpoll);
  FIELD(schedt, schedt, lock);
  FIELD(schedt, schedt, nmidlelocked);
  FIELD(schedt, schedt, maxmcount);
  FIELD(schedt, schedt, nmfreed);
  FIELD(schedt, schedt, needspinning);
  MEMBER(schedt, gFree.lock);
  MEMBER(schedt, gFree.stack);
  MEMBER(schedt, gFree.noStack);
  FIELD(schedt, schedt, gcwaiting);
  FIELD(schedt, schedt, stopwait);
  FIELD(schedt, schedt, sysmonwait);
  FIELD(schedt, schedt, starttime);
  FIELD(schedt, schedt, nforeignparked);
  TYPE(timer, timer);
  FIELD(timer, timer, when);
  FIELD(timer, timer, period);
  FIELD(timer, timer, f);
  FIELD(timer, timer, arg);
  FIELD(timer, timer, pp);
  FIELD(timer, timer, index);
  FIELD(timer, timer, kind);
  FIELD(timer, timer, zombie);
  FIELD(timer, timer, goid);
  TYPE(timerWhen, timerWhen);
  FIELD(timerWhen, timerWhen, timer);
  FIELD(timerWhen, timerWhen, when);
  TYPE(pollDesc, pollDesc);
  FIELD(pollDesc, pollDesc, alllink);
  FIELD(pollDesc, pollDesc, fd);
  FIELD(pollDesc, pollDesc, closing);
  FIELD(pollDesc, pollDesc, open);
  FIELD(pollDesc, pollDesc, rg);
  FIELD(pollDesc, pollDesc, wg);
  FIELD(pollDesc, pollDesc, rd);
  FIELD(pollDesc, pollDesc, wd);
  FIELD(pollDesc, pollDesc, goid);
  VALUE(timerKind, timerSleep);
  VALUE(timerKind, timerSelect);
  VALUE(timerKind, timerFunc);
  VALUE(timerKind, timerChan);
  VALUE(timerKind, timerDeadline);
  // The heap.
  FIELD(p, p, mcache);
  TYPE(mspan, mspan);
  FIELD(mspan, mspan, next);
  FIELD(mspan, mspan, prev);
  FIELD(mspan, mspan, list);
  FIELD(mspan, mspan, startAddr);
  FIELD(mspan, mspan, npages);
  FIELD(mspan, mspan, freeindex);
  FIELD(mspan, mspan, nelems);
  FIELD(mspan, mspan, allocCache);
  FIELD(mspan, mspan, allocBits);
  FIELD(mspan, mspan, gcmarkBits);
  FIELD(mspan, mspan, sweepgen);
  FIELD(mspan, mspan, allocCount);
  FIELD(mspan, mspan, spanclass);
  FIELD(mspan, mspan, state);
  FIELD(mspan, mspan, needzero);
  FIELD(mspan, mspan, scavenged);
  FIELD(mspan, mspan, incache);
  FIELD(mspan, mspan, owner);
  FIELD(mspan, mspan, elemsize);
  FIELD(mspan, mspan, unusedsince);
  FIELD(mspan, mspan, limit);
  FIELD(mspan, mspan, specials);
  FIELD(mspan, mspan, slotguard);
  TYPE(mheap, mheap);
  FIELD(mheap, mheap, lock);
  MEMBER(mheap, free.treap);
  FIELD(mheap, mheap, sweepgen);
  FIELD(mheap, mheap, sweepdone);
  FIELD(mheap, mheap, sweepers);
  MEMBER(mheap, allspans.array);
  MEMBER(mheap, allspans.len);
  FIELD(mheap, mheap, pagesInUse);
  FIELD(mheap, mheap, largealloc);
  FIELD(mheap, mheap, nlargealloc);
  FIELD(mheap, mheap, largefree);
  FIELD(mheap, mheap, nlargefree);
  FIELD(mheap, mheap, arenas);
  MEMBER(mheap, allArenas.array);
  MEMBER(mheap, allArenas.len);
  MEMBER(mheap, curArena.base);
  MEMBER(mheap, curArena.end);
  FIELD(mheap, mheap, central);
  FIELD(mheap, mheap, runtime);
  MEMBER(mheap, spanalloc.inuse);
  MEMBER(mheap, cachealloc.inuse);
  MEMBER(mheap, treapalloc.inuse);
  FIELD(mheap, mheap, mcache0lock);
  FIELD(mheap, mheap, mcache0);
  TYPE(heapArena, heapArena);
  FIELD(heapArena, heapArena, bitmap);
  FIELD(heapArena, heapArena, spans);
  FIELD(heapArena, heapArena, pageInUse);
  FIELD(heapArena, heapArena, base);
  TYPE(mcentral, mcentral);
  FIELD(mcentral, mcentral, lock);
  FIELD(mcentral, mcentral, spanclass);
  FIELD(mcentral, mcentral, nonempty);
  FIELD(mcentral, mcentral, empty);
  FIELD(mcentral, mcentral, nmalloc);
  FIELD(mcentral, mcentral, nfree);
  TYPE(mcentralPadded, mcentralPadded);
  FIELD(mcentralPadded, mcentralPadded, mcentral);
  TYPE(mSpanList, mSpanList);
  FIELD(mSpanList, mSpanList, first);
  FIELD(mSpanList, mSpanList, last);
  TYPE(stackpoolPadded, stackpoolPadded);
  MEMBER(stackpoolPadded, item.lock);
  MEMBER(stackpoolPadded, item.span);
  TYPE(stackLargeT, stackLargeT);
  FIELD(stackLargeT, stackLargeT, lock);
  FIELD(stackLargeT, stackLargeT, free);
  TYPE(mcache, mcache);
  FIELD(mcache, mcache, tiny);
  FIELD(mcache, mcache, tinyoffset);
  FIELD(mcache, mcache, local_tinyallocs);
  FIELD(mcache, mcache, alloc);
  FIELD(mcache, mcache, stackcache);
  FIELD(mcache, mcache, flushGen);
  FIELD(mcache, mcache, local_rawallocs);
  FIELD(mcache, mcache, local_rawfrees);
  FIELD(mcache, mcache, rawcache);
  TYPE(rawCache, rawCache);
  FIELD(rawCache, rawCache, n);
  FIELD(rawCache, rawCache, slot);
  TYPE(stackfreelist, stackfreelist);
  FIELD(stackfreelist, stackfreelist, n);
  FIELD(stackfreelist, stackfreelist, slot);
  TYPE(treapNode, treapNode);
  FIELD(treapNode, treapNode, right);
  FIELD(treapNode, treapNode, left);
  FIELD(treapNode, treapNode, parent);
  FIELD(treapNode, treapNode, npagesKey);
  FIELD(treapNode, treapNode, spanKey);
  FIELD(treapNode, treapNode, priority);
  TYPE(special, special);
  FIELD(special, special, next);
  FIELD(special, special, offset);
  FIELD(special, special, kind);
  TYPE(specialprofile, specialprofile);
  FIELD(specialprofile, specialprofile, size);
  FIELD(specialprofile, specialprofile, pc);
  FIELD(specialprofile, specialprofile, goid);
  TYPE(mstats, mstats);
  FIELD(mstats, mstats, heap_sys);
  FIELD(mstats, mstats, heap_idle);
  FIELD(mstats, mstats, heap_inuse);
  FIELD(mstats, mstats, heap_released);
  FIELD(mstats, mstats, stacks_inuse);
  FIELD(mstats, mstats, runtime_inuse);
  FIELD(mstats, mstats, manual_inuse);
  FIELD(mstats, mstats, heap_live);
  FIELD(mstats, mstats, mspan_sys);
  FIELD(mstats, mstats, mcache_sys);
  FIELD(mstats, mstats, gc_sys);
  FIELD(mstats, mstats, buckhash_sys);
  FIELD(mstats, mstats, other_sys);
  VALUE(mSpanState, mSpanDead);
  VALUE(mSpanState, mSpanInUse);
  VALUE(mSpanState, mSpanManual);
  VALUE(mSpanState, mSpanFree);
  VALUE(spanOwner, spanNobody);
  VALUE(spanOwner, spanStackPool);
  VALUE(spanOwner, spanStackLarge);
  VALUE(spanOwner, spanRuntime);
  VALUE(spanOwner, spanRuntimeLarge);
  VALUE(spanOwner, spanOther);
  asm volatile(IN_NOTE(".Lvitrine_desc_end:\n"));
}

}  // namespace vitrine::rt
