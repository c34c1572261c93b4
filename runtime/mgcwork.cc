// mgcwork.cc: what is marked and still to be scanned. Follows Go's mgcwork.go.
//
// A gcWork has two buffers. put fills wbuf1; when it is full the two are exchanged, and if that one is full too it goes
// to work.full and an empty one takes its place. tryGet empties wbuf1 likewise. So an exchange with the lists happens
// at most once for each workbufSlots objects, whichever way the marker goes. balance gives half of what is there away
// when work.full is empty, so that others find something.
//
// A P's gcWork belongs to who runs on the P, pinned or on g0; with the world stopped to the collector. The lists are
// under work.lock; `full` is also looked at without, to see whether a search is worth while.
//
// Buffers come from persistentalloc, outside of the heap, and stay on work.empty between cycles: there are as many as
// the deepest mark so far needed.
#include <cstring>

#include "mgc.h"

namespace vitrine::rt {

static workbuf* getempty() {
  lock(&work.lock);
  workbuf* b = work.empty;
  if (b != nullptr)
    work.empty = b->next;
  else
    work.nbufs++;
  unlock(&work.lock);
  if (b == nullptr) b = static_cast<workbuf*>(persistentalloc(sizeof(workbuf), 64, &memstats.gc_sys, "workbuf"));
  b->next = nullptr;
  b->nobj = 0;
  return b;
}

static void putfull(gcWork* w, workbuf* b) {
  lock(&work.lock);
  b->next = work.full;
  store_relaxed(work.full, b);
  unlock(&work.lock);
  w->flushedWork = 1;
}

static void putempty(workbuf* b) {
  lock(&work.lock);
  b->next = work.empty;
  work.empty = b;
  unlock(&work.lock);
}

static workbuf* getfull() {
  if (load_relaxed(work.full) == nullptr) return nullptr;
  lock(&work.lock);
  workbuf* b = work.full;
  if (b != nullptr) store_relaxed(work.full, b->next);
  unlock(&work.lock);
  return b;
}

static void exchange(gcWork* w) {
  workbuf* b = w->wbuf1;
  w->wbuf1 = w->wbuf2;
  w->wbuf2 = b;
}

void gcWork::put(uintptr obj) {
  if (wbuf1 == nullptr) {
    wbuf1 = getempty();
    wbuf2 = getempty();
  }
  if (wbuf1->nobj == workbufSlots) {
    exchange(this);
    if (wbuf1->nobj == workbufSlots) {
      putfull(this, wbuf1);
      wbuf1 = getempty();
    }
  }
  wbuf1->obj[wbuf1->nobj++] = obj;
}

uintptr gcWork::tryGet() {
  if (wbuf1 == nullptr) {
    if (load_relaxed(work.full) == nullptr) return 0;
    wbuf1 = getempty();
    wbuf2 = getempty();
  }
  if (wbuf1->nobj == 0) {
    exchange(this);
    if (wbuf1->nobj == 0) {
      workbuf* b = getfull();
      if (b == nullptr) return 0;
      putempty(wbuf1);
      wbuf1 = b;
    }
  }
  return wbuf1->obj[--wbuf1->nobj];
}

void gcWork::balance() {
  if (wbuf1 == nullptr) return;
  if (wbuf2->nobj != 0) {
    putfull(this, wbuf2);
    wbuf2 = getempty();
  } else if (wbuf1->nobj > 4) {
    workbuf* b = getempty();
    uint64 n = wbuf1->nobj / 2;
    wbuf1->nobj -= n;
    memcpy(b->obj, wbuf1->obj + wbuf1->nobj, n * sizeof b->obj[0]);
    b->nobj = n;
    putfull(this, wbuf1);
    wbuf1 = b;
  }
}

bool gcWork::empty() const { return wbuf1 == nullptr || (wbuf1->nobj == 0 && wbuf2->nobj == 0); }

void gcWork::dispose() {
  for (workbuf** b : {&wbuf1, &wbuf2}) {
    if (*b == nullptr) continue;
    if ((*b)->nobj != 0)
      putfull(this, *b);
    else
      putempty(*b);
    *b = nullptr;
  }
  if (bytesMarked != 0) work.bytesMarked.add(bytesMarked, __ATOMIC_RELAXED);
  if (scanWork != 0) gcController.scanWork.add(scanWork, __ATOMIC_RELAXED);
  bytesMarked = 0;
  scanWork = 0;
}

}  // namespace vitrine::rt
