// mgclarge.cc: the treap of free spans. Follows Go's mgclarge.go (1.12).
//
// A treap is a search tree by key and a heap by random priority, which keeps it balanced on average: with n spans a
// search visits about 2 ln n nodes. The key is (npages, address), so the first node at or above (n, 0) is the best fit:
// the smallest span with n pages and, of equals, the lowest, which packs the heap towards low addresses.
//
//   insert   as a leaf; rotated up while its priority is less than its parent's
//   remove   rotated down, the child of lesser priority up, until it is a leaf
//   find(n)  npagesKey < n: right; else remember it, left. The last one remembered
//
// Free spans that have memory and scavenged ones are in one treap: what fits best is taken, whichever it is.
// All under mheap_.lock. Nodes come from treapalloc.
#include "mem.h"

namespace vitrine::rt {

// Priorities; of its own, because who frees a span may be a thread without an M.
static uint32 treaprand() {
  static uint64 state = 0x9e3779b97f4a7c15;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return uint32(state >> 32);
}

static bool less(const mspan* a, uintptr anpages, const treapNode* t) {
  return anpages != t->npagesKey ? anpages < t->npagesKey : a->base() < t->spanKey->base();
}

void mTreap::insert(mspan* s) {
  treapNode* parent = nullptr;
  treapNode** at = &treap;
  while (treapNode* t = *at) {
    if (t->spanKey == s) throw_("treap: a span is inserted twice");
    parent = t;
    at = less(s, s->npages, t) ? &t->left : &t->right;
  }
  auto* t = static_cast<treapNode*>(mheap_.treapalloc.alloc());
  t->parent = parent;
  t->npagesKey = s->npages;
  t->spanKey = s;
  t->priority = treaprand();
  *at = t;
  while (t->parent != nullptr && t->parent->priority > t->priority) {
    if (t->parent->left == t)
      rotateRight(t->parent);
    else
      rotateLeft(t->parent);
  }
}

void mTreap::removeNode(treapNode* t) {
  if (t->spanKey->npages != t->npagesKey) throw_("treap: a span changed while it was in");
  while (t->left != nullptr || t->right != nullptr) {
    if (t->right == nullptr || (t->left != nullptr && t->left->priority < t->right->priority))
      rotateRight(t);
    else
      rotateLeft(t);
  }
  rotated(t->parent, t, nullptr);
  mheap_.treapalloc.free(t);
}

treapNode* mTreap::find(uintptr npages) const {
  treapNode* best = nullptr;
  for (treapNode* t = treap; t != nullptr;) {
    if (t->npagesKey < npages) {
      t = t->right;
    } else {
      best = t;
      t = t->left;
    }
  }
  return best;
}

treapNode* mTreap::findSpan(const mspan* s) const {
  treapNode* t = treap;
  while (t != nullptr && t->spanKey != s) t = less(s, s->npages, t) ? t->left : t->right;
  return t;
}

void mTreap::removeSpan(mspan* s) {
  treapNode* t = findSpan(s);
  if (t == nullptr) throw_("treap: a span to remove is not there");
  removeNode(t);
}

treapNode* mTreap::end() const {
  treapNode* t = treap;
  while (t != nullptr && t->right != nullptr) t = t->right;
  return t;
}

treapNode* treappred(treapNode* t) {
  if (t->left != nullptr) {
    for (t = t->left; t->right != nullptr;) t = t->right;
    return t;
  }
  while (t->parent != nullptr && t->parent->left == t) t = t->parent;
  return t->parent;
}

treapNode* treapsucc(treapNode* t) {
  if (t->right != nullptr) {
    for (t = t->right; t->left != nullptr;) t = t->left;
    return t;
  }
  while (t->parent != nullptr && t->parent->right == t) t = t->parent;
  return t->parent;
}

// parent's child `from` becomes `to`.
void mTreap::rotated(treapNode* parent, treapNode* from, treapNode* to) {
  if (to != nullptr) to->parent = parent;
  if (parent == nullptr) {
    if (treap != from) throw_("treap: the root is another");
    treap = to;
  } else if (parent->left == from) {
    parent->left = to;
  } else {
    if (parent->right != from) throw_("treap: not a child of its parent");
    parent->right = to;
  }
}

// (x a (y b c)) → (y (x a b) c)
void mTreap::rotateLeft(treapNode* x) {
  treapNode* y = x->right;
  treapNode* b = y->left;
  rotated(x->parent, x, y);
  y->left = x;
  x->parent = y;
  x->right = b;
  if (b != nullptr) b->parent = x;
}

// (y (x a b) c) → (x a (y b c))
void mTreap::rotateRight(treapNode* y) {
  treapNode* x = y->left;
  treapNode* b = x->right;
  rotated(y->parent, y, x);
  x->right = y;
  y->parent = x;
  y->left = b;
  if (b != nullptr) b->parent = y;
}

}  // namespace vitrine::rt
