// mfinal.cc: what happens when an object is found dead — finalizers, destructors, weak pointers. Follows Go's mfinal.go
// and the specials of mheap.go; destructors are C++'s.
//
// Each is a special, a record on the list of the object's span, sorted by offset. When a span is swept, sweepspecials
// looks at those of objects that are not marked:
//   weak        the handle's ptr becomes 0, and the special goes, whatever else the object has
//   finalizer   fn(object) is queued, the special goes, and the object is marked after all: it lives until fn has run,
//               and on, if fn made it reachable again. As everything that it refers to: markspecials scanned it. So of
//               objects with finalizers that refer to one another the outermost's runs first, the next one's a cycle
//               later, and those of a ring never do
//   destructor  only once there is no finalizer (any more). The object's pointers to collected objects are set to null,
//               the call is queued, the special goes, and the object is marked for this cycle. What it referred to may be
//               gone already, so rings are no obstacle, and a destructor sees null where a gc::ptr was
//   profile     goes with the object
//
// The queue: blocks of finblockSlots, finq those with calls to be made. One goroutine, fing, makes them one by one, as
// an ordinary goroutine: they may park, and a slow one delays the others. sweepspecials cannot wake it, since it may be
// called with locks of the allocator held; bgsweep and collect do (wakefing).
//
// Guards: a span's list by mspan.speciallock; records of all kinds, and weak handles, by mheap_.speciallock; never both.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

finalizers_ finalizers;

// ---- records

template <class T>
static T* newspecial(fixalloc* from, specialKind kind, uintptr offset) {
  lock(&mheap_.speciallock);
  auto* sp = static_cast<T*>(from->alloc());
  unlock(&mheap_.speciallock);
  sp->special.kind = kind;
  sp->special.offset = uint32(offset);
  return sp;
}

static void freespecial(special* sp) {
  lock(&mheap_.speciallock);
  switch (sp->kind) {
    case kindSpecialFinalizer:
      mheap_.specialfinalizeralloc.free(sp);
      break;
    case kindSpecialProfile:
      mheap_.specialprofilealloc.free(sp);
      break;
    case kindSpecialDestructor:
      mheap_.specialdestructoralloc.free(sp);
      break;
    case kindSpecialWeak:
      mheap_.specialweakalloc.free(sp);
      break;
  }
  unlock(&mheap_.speciallock);
}

// The first special of that kind at that offset; speciallock held.
static special* findspecial(mspan* s, specialKind kind, uintptr offset) {
  special* sp = s->specials;
  while (sp != nullptr && (sp->offset != offset || sp->kind != kind)) sp = sp->next;
  return sp;
}

static void unlinkspecial(mspan* s, special* sp) {
  special** at = &s->specials;
  while (*at != sp) at = &(*at)->next;
  store_relaxed(*at, sp->next);
}

static mspan* spanofobject(void* p, const char* what) {
  mspan* s = spanOfHeap(uintptr(p));
  if (s == nullptr) {
    print("runtime: ", what, ": ", p, " is not in a managed object\n");
    fatal("not a managed object");
  }
  return s;
}

// ---- the queue

static void queuefinalizer(const finalizer& f) {
  lock(&finalizers.lock);
  finblock* b = finalizers.finq;
  if (b == nullptr || b->cnt == finblockSlots) {
    b = finalizers.finc;
    if (b != nullptr) {
      finalizers.finc = b->next;
    } else {
      b = static_cast<finblock*>(persistentalloc(sizeof(finblock), 64, &memstats.gc_sys, "finblock"));
      b->alllink = finalizers.allfin;
      finalizers.allfin = b;
    }
    b->cnt = 0;
    b->next = finalizers.finq;
    finalizers.finq = b;
  }
  b->fin[b->cnt++] = f;
  store_relaxed(finalizers.queued, finalizers.queued + 1);
  unlock(&finalizers.lock);
}

static bool nextfinalizer(finalizer* f) {
  finblock* b = finalizers.finq;
  if (b == nullptr) return false;
  *f = b->fin[--b->cnt];
  gcshadememory(&f->object, 2 * ptrSize);
  b->fin[b->cnt] = {};
  if (b->cnt == 0) {
    finalizers.finq = b->next;
    b->next = finalizers.finc;
    finalizers.finc = b;
  }
  return true;
}

static void runfinq(void*) {
  sched.ngsys.add(1);
  store_relaxed(getg()->issystem, 1);
  store_relaxed(finalizers.fing, getg());
  for (;;) {
    lock(&finalizers.lock);
    if (!nextfinalizer(&finalizers.running)) {
      finalizers.parked = 1;
      goparkunlock(&finalizers.lock, waitReasonFinalizerWait, &finalizers);
      continue;
    }
    unlock(&finalizers.lock);
    finalizer f = finalizers.running;
    if (f.fn != nullptr)
      f.fn(f.object, f.arg);
    else
      f.destroy(f.object, f.n);
    f = {};
    lock(&finalizers.lock);
    finalizers.running = {};
    // Release: who sees the count (readgcstats) sees what the finalizer did.
    __atomic_store_n(&finalizers.run, finalizers.run + 1, __ATOMIC_RELEASE);
    unlock(&finalizers.lock);
  }
}

static void createfing() {
  static atomic<uint32> created;
  if (created.load(__ATOMIC_RELAXED) != 0 || created.xchg(1) != 0) return;
  startsystemgoroutine(runfinq, uintptr(runfinq), "finalizer", 256 << 10);
  while (load_relaxed(finalizers.fing) == nullptr) gosched();
}

// Not pinned and with nothing locked.
void wakefing() {
  if (load_relaxed(finalizers.queued) == load_relaxed(finalizers.run)) return;
  lock(&finalizers.lock);
  bool wake = finalizers.parked != 0 && finalizers.finq != nullptr;
  if (wake) finalizers.parked = 0;
  unlock(&finalizers.lock);
  if (wake) goready(finalizers.fing);
}

// ---- marking

// While a cycle marks: calls that are taken off the queue meanwhile are shaded by who takes them, others are not added.
void markqueuedfinalizers(gcWork* w) {
  lock(&finalizers.lock);
  for (finblock* b = finalizers.finq; b != nullptr; b = b->next)
    for (uint64 i = 0; i < b->cnt; i++) scanblock(uintptr(&b->fin[i].object), 2 * ptrSize, w);
  scanblock(uintptr(&finalizers.running.object), 2 * ptrSize, w);
  unlock(&finalizers.lock);
}

// Who sets a finalizer meanwhile has the object, which is marked then, as all that it refers to.
void markspecials(mspan* s, gcWork* w) {
  // As the caller found it. Here ThreadSanitizer sees, too, that what a span began with was written before its state.
  if (s->state.load(__ATOMIC_ACQUIRE) != mSpanInUse) return;
  lock(&s->speciallock);
  for (special* sp = s->specials; sp != nullptr; sp = sp->next) {
    if (sp->kind != kindSpecialFinalizer) continue;
    uintptr index = s->objIndex(s->base() + sp->offset);
    scanreferents(s, s->base() + index * s->elemsize, w);
    scanblock(uintptr(&reinterpret_cast<specialfinalizer*>(sp)->arg), ptrSize, w);
  }
  unlock(&s->speciallock);
}

// ---- sweeping

// Its pointers to collected objects become null.
static void clearpointers(mspan* s, uintptr index) {
  if (spannoscan(s->spanclass)) return;
  uintptr b = s->base() + index * s->elemsize;
  heapBits h = heapBitsForAddr(b);
  for (uintptr i = 0; i < s->elemsize && h.morePointers(); i += ptrSize) {
    if (h.isPointer()) *reinterpret_cast<void**>(b + i) = nullptr;
    if (i + ptrSize < s->elemsize) h = h.next();
  }
}

static void weakdead(specialweak* w) {
  w->handle->ptr.store(0, __ATOMIC_RELEASE);
  gcweakrelease(w->handle);
}

// The specials of one dead object, taken off the list: what is to be done. Those that stay come back in *keep.
static void deadobject(mspan* s, uintptr index, special* dead, special** keep) {
  bool finalizer_ = false, destructor = false;
  for (special* sp = dead; sp != nullptr; sp = sp->next) {
    finalizer_ |= sp->kind == kindSpecialFinalizer;
    destructor |= sp->kind == kindSpecialDestructor;
  }
  if (destructor && !finalizer_) clearpointers(s, index);
  while (special* sp = dead) {
    dead = sp->next;
    auto* p = reinterpret_cast<void*>(s->base() + sp->offset);
    if (sp->kind == kindSpecialWeak) {
      weakdead(reinterpret_cast<specialweak*>(sp));
    } else if (sp->kind == kindSpecialFinalizer) {
      auto* f = reinterpret_cast<specialfinalizer*>(sp);
      finalizer q{f->fn, nullptr, p, {f->arg}};
      queuefinalizer(q);
    } else if (sp->kind == kindSpecialDestructor && !finalizer_) {
      auto* d = reinterpret_cast<specialdestructor*>(sp);
      finalizer q{nullptr, d->destroy, p, {nullptr}};
      q.n = d->n;
      queuefinalizer(q);
    } else if (finalizer_ || destructor) {
      sp->next = *keep;
      *keep = sp;
      continue;
    }
    freespecial(sp);
  }
  if (finalizer_ || destructor) markBitsForIndex(s, index).setMarked();
}

// Of objects that are not marked. The caller sweeps s. True: there were such.
bool sweepspecials(mspan* s) {
  bool any = false;
  lock(&s->speciallock);
  special* list = s->specials;
  store_relaxed(s->specials, nullptr);
  unlock(&s->speciallock);
  special* keep = nullptr;
  while (list != nullptr) {
    uintptr index = s->objIndex(s->base() + list->offset);
    special* same = nullptr;
    while (list != nullptr && s->objIndex(s->base() + list->offset) == index) {
      special* sp = list;
      list = sp->next;
      sp->next = same;
      same = sp;
    }
    if (!markBitsForIndex(s, index).isMarked()) {
      any = true;
      deadobject(s, index, same, &keep);
      continue;
    }
    while (special* sp = same) {
      same = sp->next;
      sp->next = keep;
      keep = sp;
    }
  }
  while (special* sp = keep) {
    keep = sp->next;
    addspecial(s, sp);
  }
  return any;
}

// ---- what gc.h calls

// GODEBUG=sbrk=1: objects are in no span, and are never freed.
static bool immortal() { return debug.sbrk != 0; }

void gcdestructor(void* p, uintptr n, void (*destroy)(void*, uintptr)) {
  if (immortal()) return;
  createfing();
  m* mp = acquirem();
  mspan* s = spanofobject(p, "gc::make");
  s->ensureSwept();
  auto* sp =
      newspecial<specialdestructor>(&mheap_.specialdestructoralloc, kindSpecialDestructor, uintptr(p) - s->base());
  sp->destroy = destroy;
  sp->n = n;
  addspecial(s, &sp->special);
  releasem(mp);
}

void gcsetfinalizer(void* p, void (*fn)(void*, void*), void* arg) {
  entry();
  if (p == nullptr) fatal("gc::set_finalizer: null");
  if (curgoroutine() == nullptr) fatal("gc::set_finalizer: this thread is no goroutine");
  if (immortal()) return;
  createfing();
  m* mp = acquirem();
  mspan* s = spanofobject(p, "gc::set_finalizer");
  s->ensureSwept();
  uintptr offset = uintptr(p) - s->base();
  specialfinalizer* sp = nullptr;
  if (fn != nullptr) {
    sp = newspecial<specialfinalizer>(&mheap_.specialfinalizeralloc, kindSpecialFinalizer, offset);
    sp->fn = fn;
    sp->arg = arg;
  }
  lock(&s->speciallock);
  special* old = findspecial(s, kindSpecialFinalizer, offset);
  if (old != nullptr) unlinkspecial(s, old);
  unlock(&s->speciallock);
  if (old != nullptr) freespecial(old);
  if (sp != nullptr) addspecial(s, &sp->special);
  releasem(mp);
}

// ---- weak pointers

static weakHandle* newhandle(void* p, int32 refs) {
  lock(&mheap_.speciallock);
  auto* h = static_cast<weakHandle*>(mheap_.weakhandlealloc.alloc());
  unlock(&mheap_.speciallock);
  h->ptr.store(uintptr(p), __ATOMIC_RELAXED);
  h->refs.store(refs, __ATOMIC_RELAXED);
  return h;
}

weakHandle* gcweak(void* p) {
  if (p == nullptr) return nullptr;
  entry();
  if (curgoroutine() == nullptr) fatal("gc::weak: this thread is no goroutine");
  if (immortal()) return newhandle(p, 1);
  m* mp = acquirem();
  mspan* s = spanofobject(p, "gc::weak");
  // What is on the list of a span that is not swept may be of an object that was here before.
  s->ensureSwept();
  uintptr offset = uintptr(p) - s->base();
  auto* fresh = newspecial<specialweak>(&mheap_.specialweakalloc, kindSpecialWeak, offset);
  weakHandle* h = newhandle(p, 2);
  fresh->handle = h;
  lock(&s->speciallock);
  auto* old = reinterpret_cast<specialweak*>(findspecial(s, kindSpecialWeak, offset));
  weakHandle* have = old != nullptr ? old->handle : nullptr;
  if (have != nullptr) {
    have->refs.add(1, __ATOMIC_RELAXED);
  } else {
    special** at = &s->specials;
    while (*at != nullptr && (*at)->offset <= offset) at = &(*at)->next;
    fresh->special.next = *at;
    store_relaxed(*at, &fresh->special);
  }
  unlock(&s->speciallock);
  if (have != nullptr) {
    freespecial(&fresh->special);
    gcweakrelease(h);
    gcweakrelease(h);
    h = have;
  }
  releasem(mp);
  return h;
}

void gcweakretain(weakHandle* h) {
  if (h != nullptr) h->refs.add(1, __ATOMIC_RELAXED);
}

void gcweakrelease(weakHandle* h) {
  if (h == nullptr || h->refs.add(-1, __ATOMIC_ACQ_REL) != 0) return;
  lock(&mheap_.speciallock);
  mheap_.weakhandlealloc.free(h);
  unlock(&mheap_.speciallock);
}

// Pinned from the load of ptr to its return: no collection can begin or end, so a dead object cannot be swept, and a live
// one is on the caller's stack before the next cycle. In the middle of one nobody else may know it: it is shaded.
void* gcweakget(weakHandle* h) {
  if (h == nullptr) return nullptr;
  entry();
  if (curgoroutine() == nullptr) fatal("gc::weak: this thread is no goroutine");
  m* mp = acquirem();
  uintptr p = h->ptr.load(__ATOMIC_ACQUIRE);
  if (p != 0 && !immortal()) {
    spanOfUnchecked(p)->ensureSwept();
    p = h->ptr.load(__ATOMIC_ACQUIRE);
    gcshadeone(reinterpret_cast<void*>(p));
  }
  releasem(mp);
  return reinterpret_cast<void*>(p);
}

}  // namespace vitrine::rt
