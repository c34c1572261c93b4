// mgcwork.cc: what is marked and still to be scanned. Follows Go's mgcwork.go.
//
// A gcWork has two buffers. put fills wbuf1; when it is full the two are exchanged, and if that one is full too it goes
// to work.full and an empty one takes its place. tryGet empties wbuf1 likewise. So an exchange with the lists happens
// at most once for each workbufSlots objects, whichever way the marker goes.
//
// Buffers come from persistentalloc, outside of the heap, and stay on work.empty between cycles: there are as many as
// the deepest mark so far needed.
#include "mgc.h"

namespace vitrine::rt {

static workbuf* getempty() {
  workbuf* b = work.empty;
  if (b != nullptr) {
    work.empty = b->next;
  } else {
    b = static_cast<workbuf*>(persistentalloc(sizeof(workbuf), 64, &memstats.gc_sys));
    work.nbufs++;
  }
  b->next = nullptr;
  b->nobj = 0;
  return b;
}

static void putto(workbuf** list, workbuf* b) {
  b->next = *list;
  *list = b;
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
      putto(&work.full, wbuf1);
      wbuf1 = getempty();
    }
  }
  wbuf1->obj[wbuf1->nobj++] = obj;
}

uintptr gcWork::tryGet() {
  if (wbuf1 == nullptr) return 0;
  if (wbuf1->nobj == 0) {
    exchange(this);
    if (wbuf1->nobj == 0) {
      workbuf* b = work.full;
      if (b == nullptr) return 0;
      work.full = b->next;
      putto(&work.empty, wbuf1);
      wbuf1 = b;
    }
  }
  return wbuf1->obj[--wbuf1->nobj];
}

// Both buffers go back; nothing may be in them.
void gcWork::dispose() {
  for (workbuf** b : {&wbuf1, &wbuf2}) {
    if (*b == nullptr) continue;
    if ((*b)->nobj != 0) throw_("gcWork: objects are left that nobody scanned");
    putto(&work.empty, *b);
    *b = nullptr;
  }
}

}  // namespace vitrine::rt
