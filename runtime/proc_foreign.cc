// proc_foreign.cc: threads that are no Ms — a std::thread of the program, or the first thread before run(). They may
// start goroutines, send, receive, lock and wait as goroutines do.
//
// What needs no waiting needs no g either: with getg() null the runtime's functions go without a P. To wait, a thread
// needs something that can stand on a queue: its proxy, a g that never runs on an M. It is made at the thread's first
// wait, is Grunning while the thread runs, Gwaiting while it is parked, and sleeps on a note of its own instead of
// being switched away from. Who readies it (ready) need not know: foreignready wakes the note instead of queueing it.
// Unlike Go: no needm and dropm. A thread that waits needs no M and no P, so none is made for it.
//
// A parked proxy's sched is the thread's context in foreignpark, so a debugger walks it like any other; its stack is
// the thread's. When the thread ends the proxy becomes an ordinary dead g without a stack.
//
// Deadlock: threads that are parked here cannot ready anybody. sched.nforeignparked counts them, one less as soon as
// somebody readies one, so that checkdead can tell them from threads that may still do something. It is never too high.
#include <pthread.h>
#include <unistd.h>

#include <cstring>

#include "proc.h"
#include "waitq.h"

namespace vitrine::rt {

static __thread g* proxy;
static pthread_key_t proxykey;
static pthread_once_t proxyonce = PTHREAD_ONCE_INIT;

static void endproxy(void* arg) {
  g* gp = static_cast<g*>(arg);
  proxy = nullptr;
  gp->isforeign = 0;
  store_relaxed(gp->issystem, 0);
  gp->foreigntid = 0;
  gp->goid = 0;
  gp->name[0] = 0;
  gp->stack = {0, 0};
  casgstatus(gp, Grunning, Gdead);
  sched.ngsys.add(-1);
  lock(&sched.gFree.lock);
  gp->schedlink = sched.gFree.noStack.head;
  sched.gFree.noStack.head = gp;
  __atomic_store_n(&sched.gFree.n, sched.gFree.n + 1, __ATOMIC_RELEASE);
  unlock(&sched.gFree.lock);
}

static void makeproxykey() {
  if (pthread_key_create(&proxykey, endproxy) != 0) throw_("foreignproxy: no thread-specific key is left");
}

static void nameproxy(g* gp) {
  // "thread " and the id, as ps and gdb number threads.
  char digits[20];
  int n = 0;
  for (int64 t = gp->foreigntid; t != 0; t /= 10) digits[n++] = char('0' + t % 10);
  memcpy(gp->name, "thread ", 7);
  for (int i = 0; i < n; i++) gp->name[7 + i] = digits[n - 1 - i];
  gp->name[7 + n] = 0;
}

static g* newproxy() {
  pthread_once(&proxyonce, makeproxykey);
  g* gp = galloc();
  pthread_attr_t attr;
  if (pthread_getattr_np(pthread_self(), &attr) == 0) {
    void* lo;
    size_t size;
    pthread_attr_getstack(&attr, &lo, &size);
    gp->stack = {uintptr(lo), uintptr(lo) + size};
    pthread_attr_destroy(&attr);
  }
  gp->isforeign = 1;
  store_relaxed(gp->issystem, 1);
  gp->foreigntid = gettid_();
  gp->goid = sched.goidgen.add(1);
  nameproxy(gp);
  sched.ngsys.add(1);
  casgstatus(gp, Gidle, Grunning);
  allgadd(gp);
  proxy = gp;
  pthread_setspecific(proxykey, gp);
  return gp;
}

g* foreignproxy(const char* what) {
  if (proxy != nullptr) return proxy;
  if (load_relaxed(gomaxprocs) == 0) {
    print("fatal error: ", what, " would block before vitrine::run(): nothing could ever end the wait\n");
    _exit(2);
  }
  return newproxy();
}

uint64 callergoid() {
  if (g* gp = getg(); gp != nullptr) return gp->goid;
  if (proxy == nullptr && load_relaxed(gomaxprocs) == 0) return 0;
  return foreignproxy("")->goid;
}

void badpark(const char* what) {
  g* gp = getg();
  if (gp == gp->m->g0) throw_("gopark on a scheduling stack");
  print("runtime: ", what, " would block in a signal handler, which interrupted the goroutine below\n");
  fatal("blocking in a signal handler");
}

void foreignpark(bool (*unlockf)(g*, void*), void* lk, waitReason reason, void* waitobject) {
  g* gp = foreignproxy(waitReasonStrings[reason].str);
  store_relaxed(gp->waitreason, reason);
  store_relaxed(gp->waitobject, waitobject);
  store_relaxed(gp->waitsince, coarsetime());
  noteclear(&gp->foreignnote);
  gosave(&gp->sched);
  gp->sched.g = gp;
  if (tracing()) traceGoPark(gp, reason);
  casgstatus(gp, Grunning, Gwaiting);
  if (unlockf != nullptr && !unlockf(gp, lk)) {
    if (tracing()) traceGoStart(gp);
    casgstatus(gp, Gwaiting, Grunning);
  } else {
    // Only now: unlockf may have armed the timer that ends the wait. Who readies us before this makes the count too
    // low for a moment, which no deadlock is declared on.
    sched.nforeignparked.add(1);
    lock(&sched.lock);
    checkdead();
    unlock(&sched.lock);
    notesleep(&gp->foreignnote);
    if (tracing()) traceGoStart(gp);
    casgstatus(gp, Grunnable, Grunning);
  }
  store_relaxed(gp->waitobject, nullptr);
  store_relaxed(gp->waitreason, waitReasonZero);
}

// The thread may run on, and end, as soon as the note is woken.
void foreignready(g* gp) {
  sched.nforeignparked.add(-1);
  if (tracing()) {
    m* mp = acquirem();
    traceGoUnpark(gp);
    releasem(mp);
  }
  casgstatus(gp, Gwaiting, Grunnable);
  notewakeup(&gp->foreignnote);
}

}  // namespace vitrine::rt
