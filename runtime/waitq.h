// waitq.h: what every place where goroutines wait shares — the check that there is a goroutine to park, and the queue
// of sudogs. A sudog is on at most one queue; queue and links are guarded by the lock of the object that owns the
// queue.
#pragma once
#include "runtime.h"

namespace vitrine::rt {

[[noreturn]] void badpark(const char* what);  // proc_foreign.cc: there is no goroutine here that could wait

// The g to put on a queue before a park: the current goroutine, or the proxy of a thread that is none. Its one use is
// between here and gopark's return. A signal handler gets a message that says what it tried: `what`.
inline g* parkable(const char* what) {
  g* gp = getg();
  if (gp == nullptr) return foreignproxy(what);
  uintptr sp = uintptr(__builtin_frame_address(0));
  if (sp < gp->stack.lo || sp >= gp->stack.hi || gp == gp->m->g0) badpark(what);
  return gp;
}

// `first` is stored atomically because chan.cc looks at it without the lock; relaxed, because such a look is a hint or
// is followed by an acquire of its own.
inline void waitq_setfirst(waitq* q, sudog* sg) { __atomic_store_n(&q->first, sg, __ATOMIC_RELAXED); }

inline void waitq_enqueue(waitq* q, sudog* sg) {
  sg->next = nullptr;
  sg->prev = q->last;
  if (q->last == nullptr)
    waitq_setfirst(q, sg);
  else
    q->last->next = sg;
  q->last = sg;
}

inline void waitq_pushfront(waitq* q, sudog* sg) {
  sg->prev = nullptr;
  sg->next = q->first;
  if (q->first == nullptr)
    q->last = sg;
  else
    q->first->prev = sg;
  waitq_setfirst(q, sg);
}

inline sudog* waitq_dequeue(waitq* q) {
  sudog* sg = q->first;
  if (sg == nullptr) return nullptr;
  sudog* next = sg->next;
  waitq_setfirst(q, next);
  if (next == nullptr)
    q->last = nullptr;
  else
    next->prev = nullptr;
  sg->next = nullptr;
  sg->prev = nullptr;
  return sg;
}

// Takes a sudog that is on the queue off it, wherever it stands.
inline void waitq_remove(waitq* q, sudog* sg) {
  if (sg->prev == nullptr)
    waitq_setfirst(q, sg->next);
  else
    sg->prev->next = sg->next;
  if (sg->next == nullptr)
    q->last = sg->prev;
  else
    sg->next->prev = sg->prev;
  sg->next = nullptr;
  sg->prev = nullptr;
}

// Takes the whole queue off; returns its first, linked through next.
inline sudog* waitq_takeall(waitq* q) {
  sudog* all = q->first;
  waitq_setfirst(q, nullptr);
  q->last = nullptr;
  return all;
}

// Readies all of a list that waitq_takeall returned, in its order. Each sudog is dead to us once its g is ready.
inline void waitq_readyall(sudog* sg) {
  while (sg != nullptr) {
    sudog* next = sg->next;
    sg->next = nullptr;
    sg->prev = nullptr;
    goready(sg->g);
    sg = next;
  }
}

}  // namespace vitrine::rt
