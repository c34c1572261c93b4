// mgchandle.cc: the list of gc::root objects.
//
// Under gcroots.lock, from any thread. A cycle reads the whole list when it begins, with the world stopped; handles that are
// set or moved after that need no barrier: what they get could be reached then, or was made since.
#include "mgc.h"

namespace vitrine::rt {

gcroots_ gcroots;

static void rootlink(gcroot* r) {
  gcroot* head = &gcroots.head;
  if (head->next == nullptr) head->next = head->prev = head;
  r->next = head;
  r->prev = head->prev;
  head->prev->next = r;
  head->prev = r;
  gcroots.n++;
}

void gcrootadd(gcroot* r, void* p) {
  lock(&gcroots.lock);
  store_relaxed(r->p, p);
  rootlink(r);
  unlock(&gcroots.lock);
}

void gcrootmove(gcroot* r, gcroot* from) {
  lock(&gcroots.lock);
  store_relaxed(r->p, from->p);
  store_relaxed(from->p, nullptr);
  rootlink(r);
  unlock(&gcroots.lock);
}

void gcrootset(gcroot* r, void* p) {
  lock(&gcroots.lock);
  store_relaxed(r->p, p);
  unlock(&gcroots.lock);
}

void gcrootdrop(gcroot* r) {
  lock(&gcroots.lock);
  r->prev->next = r->next;
  r->next->prev = r->prev;
  r->next = r->prev = nullptr;
  store_relaxed(r->p, nullptr);  // the next use of this memory may leave the word as it is, on a stack
  gcroots.n--;
  unlock(&gcroots.lock);
}

}  // namespace vitrine::rt
