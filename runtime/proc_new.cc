// proc_new.cc: how a goroutine begins and ends. Follows Go's newproc, newproc1, malg, gfget, gfput, goexit0.
//
// A new g looks as if goexit had called goentry, which was then parked before its first instruction:
//     stack.hi − colour →  (padding)
//                          0                     keeps rsp ≡ 8 mod 16 at goentry
//     sched.sp →           goexit+1              goentry's return address
// with sched.pc = goentry+1. goentry calls startfn(startarg); when that returns, goentry returns into goexit.
//
// Stack tops are coloured: goroutine n starts (n mod 8) cache lines lower. Equal stacks at equal page offsets would
// fight over the same cache sets when many goroutines are switched in turn.
//
// g's come from slabs of 1 MiB, each registered in gslabs, and are never freed: a dead g keeps its stack if that is of
// the default size and waits on its P's gFree list (64 there spill 32 to sched.gFree).
#include <cstring>

#include "mem.h"
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

template <class T>
static void append(slice<T>* s, T v, const char* type) {
  if (s->len == s->cap) {
    int64 cap = s->cap == 0 ? 1024 : s->cap * 2;
    T* array = static_cast<T*>(persistentalloc(sizeof(T) * uint64(cap), 64, type, sizeof(T)));
    for (int64 i = 0; i < s->len; i++) array[i] = s->array[i];
    // The old array stays valid for readers that loaded it. New array before new len: pairs with readers that load len
    // (acquire) and then array.
    __atomic_store_n(&s->array, array, __ATOMIC_RELEASE);
    s->cap = cap;
  }
  s->array[s->len] = v;
  __atomic_store_n(&s->len, s->len + 1, __ATOMIC_RELEASE);
}

void allgadd(g* gp) {
  lock(&allglock);
  append(&allgs, gp, "g*");
  unlock(&allglock);
}

g* galloc() {
  static g* next;
  static uint64 left;
  lock(&allglock);
  if (left == 0) {
    next = static_cast<g*>(persistentalloc(gslabBytes, 4096, "g", sizeof(g)));
    left = gslabBytes / sizeof(g);
    append(&gslabs, gslab{uintptr(next), left}, "gslab");
  }
  g* gp = next++;
  left--;
  unlock(&allglock);
  // New pages: one that is read before it is written faults twice.
  __atomic_store_n(&gp->stack.lo, 0, __ATOMIC_RELAXED);
  return gp;
}

g* malg(uint64 stacksize) {
  g* gp = galloc();
  if (!stackalloc(gp, stacksize)) return nullptr;
  return gp;
}

static void glist_push(gList* l, g* gp) {
  gp->schedlink = l->head;
  l->head = gp;
}
static g* glist_pop(gList* l) {
  g* gp = l->head;
  if (gp != nullptr) {
    l->head = gp->schedlink;
    gp->schedlink = nullptr;
  }
  return gp;
}

// sched.gFree.lock held.
static g* globalget() {
  g* gp = glist_pop(&sched.gFree.stack);
  if (gp == nullptr) gp = glist_pop(&sched.gFree.noStack);
  if (gp != nullptr) __atomic_store_n(&sched.gFree.n, sched.gFree.n - 1, __ATOMIC_RELEASE);
  return gp;
}

// gcount reads the counts of all Ps.
static void addfree(p* pp, int32 n) { __atomic_store_n(&pp->gFree.n, pp->gFree.n + n, __ATOMIC_RELEASE); }

// A dead g, or null. pp null: a thread without a P.
g* gfget(p* pp) {
  if (pp == nullptr) {
    lock(&sched.gFree.lock);
    g* gp = globalget();
    unlock(&sched.gFree.lock);
    return gp;
  }
  if (pp->gFree.list.head == nullptr && __atomic_load_n(&sched.gFree.n, __ATOMIC_RELAXED) != 0) {
    lock(&sched.gFree.lock);
    while (pp->gFree.n < 32) {
      g* gp = globalget();
      if (gp == nullptr) break;
      glist_push(&pp->gFree.list, gp);
      addfree(pp, 1);
    }
    unlock(&sched.gFree.lock);
  }
  g* gp = glist_pop(&pp->gFree.list);
  if (gp != nullptr) addfree(pp, -1);
  return gp;
}

// sched.gFree.lock held.
static void globalput(g* gp) {
  glist_push(gp->stack.lo != 0 ? &sched.gFree.stack : &sched.gFree.noStack, gp);
  __atomic_store_n(&sched.gFree.n, sched.gFree.n + 1, __ATOMIC_RELEASE);
}

// pp null: this M has none.
void gfput(p* pp, g* gp) {
  if (readgstatus(gp) != Gdead) throw_("gfput: the goroutine is not dead");
  if (gp->stackclass != stackclassof(defaultStack)) stackfree(gp);
  if (pp == nullptr) {
    lock(&sched.gFree.lock);
    globalput(gp);
    unlock(&sched.gFree.lock);
    return;
  }
  glist_push(&pp->gFree.list, gp);
  addfree(pp, 1);
  if (pp->gFree.n < 64) return;
  lock(&sched.gFree.lock);
  while (pp->gFree.n >= 32) {
    g* old = glist_pop(&pp->gFree.list);
    addfree(pp, -1);
    globalput(old);
  }
  unlock(&sched.gFree.lock);
}

// All of pp's dead g's to the global list: the P goes.
void gfpurge(p* pp) {
  lock(&sched.gFree.lock);
  while (g* gp = glist_pop(&pp->gFree.list)) {
    addfree(pp, -1);
    globalput(gp);
  }
  unlock(&sched.gFree.lock);
}

// Adjusts buf as if it had executed a call to fn with ctxt and stopped before fn's second instruction (the first is the
// nop that unwinders need).
void gostartcall(gobuf* buf, void (*fn)(), void* ctxt) {
  buf->sp -= sizeof(uintptr);
  *reinterpret_cast<uintptr*>(buf->sp) = buf->pc;
  buf->pc = uintptr(fn) + 1;
  buf->ctxt = ctxt;
}

void gostartcallfn(gobuf* buf, g* newg) { gostartcall(buf, goentry, newg->startarg); }

struct newprocargs {
  void (*fn)(void*);
  void* arg;
  uintptr startpc, callerpc;
  const char* name;
  uint64 namelen, stacksize;
};

static g* newproc1(const newprocargs& a, p* pp) {
  uint32 stackclass = stackclassof(a.stacksize);
  g* newg = gfget(pp);
  bool fresh = newg == nullptr;
  if (fresh) newg = galloc();
  if (__builtin_expect(gcphase.load(__ATOMIC_RELAXED) == GCmark, 0)) gcbornscanned(newg);
  if (newg->stack.lo != 0 && newg->stackclass != stackclass) stackfree(newg);
  if (newg->stack.lo == 0 && !stackalloc(newg, a.stacksize)) {
    print("runtime: cannot allocate a stack of ", a.stacksize, " bytes for goroutine number ", uint64(allgs.len + 1),
          ": errno ENOMEM (limits: vm.max_map_count, RLIMIT_AS, memory)\n");
    outofmemory(a.stacksize);
    fatal("out of memory");
  }
  if (fresh) {
    casgstatus(newg, Gidle, Gdead);
    allgadd(newg);  // published dead: nobody looks at its stack
  }
  if (readgstatus(newg) != Gdead) throw_("newproc: a free goroutine is not dead");
  if (pp == nullptr) {
    newg->goid = sched.goidgen.add(1);
  } else {
    if (pp->goidcache == pp->goidcacheend) {
      // goidgen is the last id given out; this batch is (goidgen, goidgen + GoidCacheBatch].
      pp->goidcache = sched.goidgen.add(GoidCacheBatch) - GoidCacheBatch + 1;
      pp->goidcacheend = pp->goidcache + GoidCacheBatch;
    }
    newg->goid = pp->goidcache++;
  }
  memset(&newg->sched, 0, sizeof newg->sched);
  newg->sched.sp = newg->stack.hi - 16 - 64 * (newg->goid % 8);
  *reinterpret_cast<uintptr*>(newg->sched.sp) = 0;
  newg->stktopsp = newg->sched.sp;
  newg->sched.pc = uintptr(goexit) + 1;
  newg->sched.g = newg;
  newg->startfn = reinterpret_cast<void*>(a.fn);
  newg->startarg = a.arg;
  gostartcallfn(&newg->sched, newg);
  newg->gopc = a.callerpc;
  newg->startpc = a.startpc;
  g* me = getg();
  store_relaxed(newg->closure, me != nullptr && heldtake(me, a.arg) ? a.arg : nullptr);
  newg->parentGoid = me != nullptr ? me->goid : 0;
  newg->errno_ = 0;
  store_relaxed(newg->waitsince, 0);
  store_relaxed(newg->waitobject, nullptr);
  store_relaxed(newg->waitreason, waitReasonZero);
  uint64 n = a.namelen < gnamelen - 1 ? a.namelen : gnamelen - 1;
  memset(newg->name, 0, sizeof newg->name);
  if (n != 0) memcpy(newg->name, a.name, n);
  san_newg(newg);
  if (tracing()) traceGoCreate(newg, newg->startpc);
  casgstatus(newg, Gdead, Grunnable);
  return newg;
}

uint64 newproc(void (*fn)(void*), void* arg, uintptr startpc, uintptr callerpc, const char* name, uint64 namelen,
               uint64 stacksize) {
  newprocargs a{fn, arg, startpc, callerpc, name, namelen, stacksize == 0 ? defaultStack : stacksize};
  if (load_relaxed(gomaxprocs) == 0) fatal("go() before vitrine::run()");
  entry();
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  g* newg = newproc1(a, pp);
  uint64 goid = newg->goid;  // before the queue: from then on it is not ours
  if (pp != nullptr) {
    runqput(pp, newg, true);
  } else {
    lock(&sched.lock);
    globrunqput(newg);
    unlock(&sched.lock);
  }
  if (mainStarted) wakep();
  releasem(mp);
  return goid;
}

// ---- the end -------------------------------------------------------------------------------------------------------

static void goexit0(g* gp) {
  san_arrived(getg());
  checkcanary(gp);
  m* mp = getg()->m;
  if (tracing()) traceGoEnd(gp);
  casgstatus(gp, Grunning, Gdead);
  bool locked = gp->lockedm != nullptr;
  store_relaxed(gp->lockedm, nullptr);  // as the others: who lists goroutines may be looking (traceback.cc)
  store_relaxed(gp->noproc, 0);
  gp->preemptoff = 0;
  store_relaxed(gp->m, nullptr);
  __atomic_store_n(&mp->curg, nullptr, __ATOMIC_RELEASE);
  *mp->ehp = {};
  store_relaxed(gp->goid, 0);
  store_relaxed(gp->name[0], 0);
  gp->startfn = nullptr;
  gp->startarg = nullptr;
  gp->closure = nullptr;
  gp->nnascent = 0;
  gp->param = nullptr;
  gp->waiting = nullptr;
  store_relaxed(gp->gopc, 0);
  store_relaxed(gp->startpc, 0);
  san_deadg(gp);
  gfput(mp->p, gp);
  if (locked) mexit();
  schedule();
}

void goexit1() {
  g* gp = getg();
  if (gp->gls != nullptr) glsdestroy(gp);
  san_leave_dying(gp->m->g0);
  mcall(goexit0);
  __builtin_unreachable();
}

// First call on a new goroutine's stack. The floating-point control words are those of whatever ran last on this
// thread: a goroutine starts with the default ones, as a program does (round to nearest, no traps).
void gostarted() {
  const uint32 mxcsr = 0x1f80;
  const uint16 fpucontrol = 0x37f;
  asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(fpucontrol));
  san_arrived(getg());
}

// The loads of gFree.n pair with addfree's store and gfput's: who counts no more than itself sees what the others had
// done before they ended.
int32 gcount() {
  int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE) - __atomic_load_n(&sched.gFree.n, __ATOMIC_ACQUIRE) -
            sched.ngsys.load(__ATOMIC_RELAXED);
  for (int64 i = 0; i < nallp(); i++) n -= __atomic_load_n(&allp.array[i]->gFree.n, __ATOMIC_ACQUIRE);
  return n < 1 ? 1 : int32(n);
}

// ---- sudogs ---------------------------------------------------------------------------------------------------------

sudog* acquireSudog() {
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  sudog* s = pp != nullptr ? pp->sudogcache.head : nullptr;
  if (s != nullptr) {
    pp->sudogcache.head = s->next;
    pp->sudogcache.n--;
    memset(s, 0, sizeof *s);
  } else {
    s = static_cast<sudog*>(rawalloc(sizeof(sudog)));
  }
  releasem(mp);
  return s;
}

void releaseSudog(sudog* s) {
  m* mp = acquirem();
  p* pp = pinnedp(mp);
  if (pp != nullptr && pp->sudogcache.n < 128) {
    s->g = nullptr;
    s->next = pp->sudogcache.head;
    pp->sudogcache.head = s;
    pp->sudogcache.n++;
  } else {
    rawfree(s);
  }
  releasem(mp);
}

}  // namespace vitrine::rt
