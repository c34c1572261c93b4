// mheap_check.cc: whether all that the heap says of itself agrees. For tests, and to call from a debugger.
//
// Five walks, each of which could find what another cannot:
//   1. allspans: each span by its state — its pages' entries in spans[], its bits against allocCount, its list
//   2. the treap: order of keys, priorities, parents; each node's span free, with its pages' number as key
//   3. neighbours: after each free span comes none that it could have merged with
//   4. the lists of mcentral, of the runtime's objects, of the stack pool: members' states and owners, free or not
//   5. mcaches: spans cached by one P only; free objects and slots marked as allocated in their spans, none twice
// and the sums of all of it against memstats. Returns the number of contradictions.
#include "mem.h"

namespace vitrine::rt {

namespace {

struct checker {
  int32 bad = 0;
  uint64 idle = 0, inuse = 0, manual = 0, released = 0, freespans = 0, pagesinuse = 0;

  bool check(bool ok, const char* what, uintptr at) {
    if (ok) return true;
    if (bad++ < 20) print("checkheap: ", what, " at ", hex{at}, "\n");
    return false;
  }

  static uintptr popcount(const gcBits* bits, uintptr n) {
    uintptr count = 0;
    for (uintptr i = 0; i < n; i++) count += bits[i / 8] >> i % 8 & 1;
    return count;
  }

  void objects(mspan* s, bool byhand) {
    check(s->nelems * s->elemsize <= s->bytes(), "objects are larger than their span", s->base());
    if (spansizeclass(s->spanclass) != 0)
      check(s->elemsize == class_to_size[spansizeclass(s->spanclass)], "elemsize is not its class's", s->base());
    uintptr n = 0;
    if (byhand)
      n = popcount(s->allocBits, s->nelems);
    else
      for (uintptr i = 0; i < s->nelems; i++) n += !s->isFree(i);
    check(n == s->allocCount, "allocCount is not the number of allocated objects", s->base());
    check(s->freeindex <= s->nelems, "freeindex is beyond nelems", s->base());
    if (byhand)
      for (uintptr i = 0; i < s->freeindex; i++)
        check((s->allocBits[i / 8] >> i % 8 & 1) != 0, "an object before freeindex is free", s->base());
    if (byhand) check((s->list != nullptr), "a span of the runtime's objects is on no list", s->base());
  }

  void inuseSpan(mspan* s) {
    inuse += s->bytes();
    pagesinuse += s->npages;
    objects(s, false);
    if (spansizeclass(s->spanclass) == 0)
      return check(s->list == nullptr, "a large object is on a list", s->base()), void();
    mcentral& c = mheap_.central[s->spanclass].mcentral;
    bool full = s->allocCount == s->nelems;
    check(s->list == &c.empty || s->list == &c.nonempty, "a span in use is on no list of its class", s->base());
    check(s->list != &c.nonempty || !full, "a full span is on nonempty", s->base());
    check(s->list != &c.empty || full || s->incache, "a span with free objects is on empty", s->base());
    check(!s->incache || cached(s) == 1, "a cached span is in no mcache, or in several", s->base());
  }

  template <class F>
  static void mcaches(F f) {
    if (mheap_.mcache0 != nullptr) f(mheap_.mcache0);
    for (int64 i = 0; i < nallp(); i++)
      if (mcache* c = allp.array[i]->mcache; c != nullptr) f(c);
  }

  static int cached(const mspan* s) {
    int n = 0;
    mcaches([&](mcache* c) {
      n += c->alloc[s->spanclass] == s;
      const spansAhead& a = c->ahead[s->spanclass];
      for (uint32 i = 0; i < a.n && i < maxSpansAhead; i++) n += a.slot[i] == s;
    });
    return n;
  }

  void manualSpan(mspan* s) {
    manual += s->bytes();
    check(
        (s->owner != spanStackPool && s->owner != spanStackLarge) || !mheap_.hasHuge(s->base(), s->base() + s->bytes()),
        "stacks are in a block of huge pages", s->base());
    switch (s->owner) {
      case spanRuntime: {
        objects(s, true);
        mcentral& c = mheap_.runtime[spansizeclass(s->spanclass)].mcentral;
        check(s->list == (s->allocCount == s->nelems ? &c.empty : &c.nonempty), "a span is on the wrong list",
              s->base());
        break;
      }
      case spanStackPool:
        check(s->allocCount + uintptr(__builtin_popcountll(s->allocCache)) == s->nelems,
              "allocCount is not the number of stacks", s->base());
        check((s->list == &stackpool[s->spanclass].item.span) == (s->allocCache != 0),
              "a span of stacks is listed and has none, or not and has some", s->base());
        break;
      case spanStackLarge:
        check((s->list != nullptr) == (s->allocCount == 0), "a large stack is listed and in use, or neither",
              s->base());
        break;
      case spanRuntimeLarge:
        check((s->list == &mheap_.runtimelarge) == (s->allocCount != 0), "a large object of the runtime is not listed",
              s->base());
        break;
      default:
        break;
    }
  }

  void freeSpan(mspan* s) {
    idle += s->bytes();
    released += s->released();
    freespans++;
    check(s->scavenged == 0 || !mheap_.hasHuge(s->base(), s->base() + s->bytes()),
          "a scavenged span is in a block of huge pages", s->base());
    check(mheap_.free.findSpan(s) != nullptr, "a free span is not in the treap", s->base());
    mspan* after = spanOf(s->base() + s->bytes());
    if (after != nullptr && after->state.load() == mSpanFree)
      check(after->base() == s->base() + s->bytes() && after->scavenged != s->scavenged, "free spans are not merged",
            s->base());
  }

  void span(mspan* s) {
    mSpanState state = s->state.load();
    if (state == mSpanDead) return;
    check(s->npages > 0 && s->base() % pageSize == 0, "a span has no pages, or a wrong address", uintptr(s));
    for (uintptr i = 0; i < s->npages; i++) {
      if (state == mSpanFree && i != 0 && i != s->npages - 1) continue;
      if (!check(spanOf(s->base() + i * pageSize) == s, "a page does not point to its span", s->base() + i * pageSize))
        break;
    }
    uintptr page = s->base() / pageSize % pagesPerArena;
    bool bit = (arenaOf(s->base())->pageInUse[page / 8] >> page % 8 & 1) != 0;
    check(bit == (state == mSpanInUse), "pageInUse is not the span's state", s->base());
    if (state == mSpanInUse) inuseSpan(s);
    if (state == mSpanManual) manualSpan(s);
    if (state == mSpanFree) freeSpan(s);
  }

  uint64 treap(treapNode* t, treapNode* parent, uint64 depth) {
    if (t == nullptr || !check(depth < 10000, "the treap is too deep", uintptr(t))) return 0;
    mspan* s = t->spanKey;
    check(t->parent == parent, "a treap node has the wrong parent", uintptr(t));
    check(parent == nullptr || parent->priority <= t->priority, "a treap node is above one of less priority",
          uintptr(t));
    check(s->npages == t->npagesKey, "a treap node's key is not its span's pages", uintptr(t));
    check(s->state.load() == mSpanFree, "a span in the treap is not free", s->base());
    if (treapNode* before = treappred(t); before != nullptr)
      check(before->npagesKey < t->npagesKey ||
                (before->npagesKey == t->npagesKey && before->spanKey->base() < s->base()),
            "treap nodes are out of order", uintptr(t));
    return 1 + treap(t->left, t, depth + 1) + treap(t->right, t, depth + 1);
  }

  void list(const mSpanList* l, mSpanState state, spanOwner owner) {
    const mspan* before = nullptr;
    uint64 n = 0, all = uint64(mheap_.allspans.len);
    for (const mspan* s = l->first; s != nullptr && check(n++ <= all, "a list is a cycle", uintptr(l)); s = s->next) {
      check(s->list == l && s->prev == before, "a span's links are wrong", s->base());
      check(s->state.load() == state && s->owner == owner, "a span is on a list of others", s->base());
      before = s;
    }
    check(l->last == before, "a list's end is wrong", uintptr(l));
  }

  void held(mcache* c) {
    auto ours = [&](mspan* s, int32 i) {
      return check(
          s->state.load() == mSpanInUse && s->incache && s->spanclass == i && s->sweepgen.load() == mheap_.sweepgen + 3,
          "an mcache has a span that is not for it", uintptr(s));
    };
    for (int32 i = 0; i < numSpanClasses; i++) {
      if (mspan* s = c->alloc[i]; s != &emptymspan) ours(s, i);
      const spansAhead& a = c->ahead[i];
      if (!check(a.n <= maxSpansAhead, "an mcache has too many spans ahead", uintptr(&a))) continue;
      for (uint32 k = 0; k < a.n; k++)
        if (ours(a.slot[k], i)) check(a.slot[k]->allocCount == 0, "a span ahead has objects", a.slot[k]->base());
    }
    for (int32 sc = 0; sc < numSizeClasses; sc++) {
      rawCache& r = c->rawcache[sc];
      if (!check(r.n <= rawCacheSlots, "a rawcache is overfull", uintptr(&r))) continue;
      for (uint32 i = 0; i < r.n; i++) {
        mspan* s = spanOf(uintptr(r.slot[i]));
        bool ours = s != nullptr && s->owner == spanRuntime && spansizeclass(s->spanclass) == sc;
        if (!check(ours, "a rawcache has what is no object of its class", uintptr(r.slot[i]))) continue;
        uintptr k = s->objIndex(uintptr(r.slot[i]));
        check((s->allocBits[k / 8] >> k % 8 & 1) != 0, "a rawcache has an object that its span has too",
              uintptr(r.slot[i]));
        for (uint32 j = 0; j < i; j++)
          check(r.slot[j] != r.slot[i], "a rawcache has an object twice", uintptr(r.slot[i]));
      }
    }
    for (uint32 order = 0; order < numStackOrders; order++)
      for (uint32 i = 0; i < c->stackcache[order].n; i++) {
        uintptr base = c->stackcache[order].slot[i];
        mspan* s = spanOf(base);
        bool ours = s != nullptr && s->owner == spanStackPool && s->spanclass == order;
        if (check(ours, "a stackcache has what is no stack of its order", base))
          check((s->allocCache >> (base - s->base()) / s->elemsize & 1) == 0, "a stackcache has a slot of the pool",
                base);
      }
  }
};

}  // namespace

int32 checkheap() {
  checker c;
  lock(&mheap_.lock);
  for (int64 i = 0; i < mheap_.allspans.len; i++) c.span(mheap_.allspans.array[i]);
  c.check(c.treap(mheap_.free.treap, nullptr, 0) == c.freespans, "the treap has not as many spans as are free", 0);
  for (auto& padded : mheap_.central) {
    c.list(&padded.mcentral.nonempty, mSpanInUse, spanNobody);
    c.list(&padded.mcentral.empty, mSpanInUse, spanNobody);
  }
  for (auto& padded : mheap_.runtime) {
    c.list(&padded.mcentral.nonempty, mSpanManual, spanRuntime);
    c.list(&padded.mcentral.empty, mSpanManual, spanRuntime);
  }
  for (auto& pool : stackpool) c.list(&pool.item.span, mSpanManual, spanStackPool);
  for (auto& l : stackLarge.free) c.list(&l, mSpanManual, spanStackLarge);
  checker::mcaches([&](mcache* cache) { c.held(cache); });
  c.check(c.idle == memstats.heap_idle, "heap_idle is not what free spans add up to", c.idle);
  c.check(c.inuse == memstats.heap_inuse, "heap_inuse is not what spans in use add up to", c.inuse);
  c.check(c.pagesinuse == mheap_.pagesInUse.load(), "pagesInUse is not what spans in use add up to", c.pagesinuse);
  c.check(c.released == memstats.heap_released, "heap_released is not what scavenged spans add up to", c.released);
  c.check(c.manual == memstats.stacks_inuse + memstats.runtime_inuse + memstats.manual_inuse,
          "manual spans add up to something else than their statistics", c.manual);
  c.check(c.idle + c.inuse + c.manual == memstats.heap_sys, "all spans add up to something else than heap_sys",
          c.idle + c.inuse + c.manual);
  unlock(&mheap_.lock);
  return c.bad;
}

}  // namespace vitrine::rt
