// mbarrier.cc: the write barrier. Follows Go's mbarrier.go, mwbbuf.go and the bulk barriers of mbitmap.go.
//
// What a collection finds is what could be reached when it began, and what was made since. It reads objects while the
// program changes them, so a pointer could be moved out of an object that is still to be read into one that was: nobody
// would see it. The barrier of gc::ptr (gc.h) keeps that from happening while a cycle marks:
//     old = *slot; *slot = new; if (writeBarrier) { shade(old); shade(new); }
// Deletion: old was there when the cycle began, or was put there since; shade it, and every object that could be reached
// then is marked, whatever becomes of the pointers to it. Insertion: for a pointer that came by a way which the cycle did
// not see, out of an integer, say, or out of another goroutine's T*.
// Objects that are made while a cycle marks are born marked (gcmarknewobject), so a constructor of a gc::ptr needs none.
//
// Stores come first, the look at writeBarrier after: the value of writeBarrier changes only while the world is stopped
// and every goroutine that runs without a P stands still, in the middle of anything. Stopped before the look, with the
// store done or not: `old` and `new` are in its registers or on its stack, which are scanned then, when the barrier goes
// on (gcMarkRootsStopped) as well as when it is to go off (gcMarkRootFrozen). So no code has to be recognised or run
// again. A goroutine that parks, or is stopped at its entry() to the runtime, is in no store.
//
// Where no barrier is needed, because the cycle read it all while the world stood still: globals, held memory (rings of
// channels, results, gls values), gc::root. Stacks and closures are read by and by, but each before its goroutine runs
// again (gcscangoroutine), so as it was. Who takes a value off another goroutine's stack while that is parked, which the
// receiver of a channel does, has to shade it (gcshadememory).
//
// The buffer. A barrier puts both pointers into its P's wbBuf; when that is full, and when a marker has nothing else to
// do, and with the world stopped at the end, they are looked up and marked. Pinned, so that the P stays. Who has no P —
// a goroutine that lost it — has a buffer of its M: pinned as well, so it is not made to stand still in the middle of a
// change to it (proc_freeze.cc), and nobody else looks at it before. A thread that is no M, which may send on a channel,
// uses wbshared under its lock.
//
// The bulk barriers are for memory that is copied or cleared as bytes: they do for each pointer slot of the destination
// what a store to it would. Each is called right before the copy, by a caller that is pinned from there until the copy is
// done: no cycle can begin or end in between.
#include <cstring>

#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

uint32 writeBarrier;

// The buffers are apart: what is in .bss is a root, and what they held would live on.
static struct {
  mutex lock;
  wbBuf* buf;   // of threads that are no Ms
  wbBuf* free;  // of Ms that ended; linked by their first word
} wbshared;

static wbBuf* newbuf() { return static_cast<wbBuf*>(persistentalloc(sizeof(wbBuf), 64, &memstats.gc_sys, "wbBuf")); }

template <class F>
static void eachmbuf(F f) {
  for (m* mp = __atomic_load_n(&allm, __ATOMIC_ACQUIRE); mp != nullptr; mp = mp->alllink)
    if (wbBuf* b = load_relaxed(mp->wbbuf); b != nullptr) f(b);
}

void gcwbinit() {
  auto renew = [](wbBuf*& b) {
    if (b == nullptr) b = newbuf();
    b->n = 0;
  };
  for (int64 i = 0; i < nallp(); i++) renew(allp.array[i]->wbbuf);
  renew(wbshared.buf);
  eachmbuf([](wbBuf* b) { b->n = 0; });
}

// ---- from buffer to mark bits

static void flush(wbBuf* b, gcWork* w) {
  uint32 n = b->n;
  b->n = 0;
  gcshadeall(b->at, n, w);
}

void wbBufFlush(p* pp, gcWork* w) {
  if (pp->wbbuf != nullptr && pp->wbbuf->n != 0) flush(pp->wbbuf, w);
}

// The lock is for threads that are no Ms, and for Ms that end.
void wbSharedFlush(gcWork* w) {
  lock(&wbshared.lock);
  flush(wbshared.buf, w);
  eachmbuf([w](wbBuf* b) { flush(b, w); });
  unlock(&wbshared.lock);
}

// mp is about to leave allm. What it had is on work.full before wbSharedFlush can have missed it.
void wbMexit(m* mp) {
  wbBuf* b = mp->wbbuf;
  if (b == nullptr) return;
  lock(&wbshared.lock);
  gcWork w{};
  flush(b, &w);
  w.dispose();
  store_relaxed(mp->wbbuf, static_cast<wbBuf*>(nullptr));
  b->at[0] = uintptr(wbshared.free);
  wbshared.free = b;
  unlock(&wbshared.lock);
}

static void flushfull(void* arg) {
  gcWork w{};
  flush(static_cast<wbBuf*>(arg), &w);
  w.dispose();  // no marker may come to this P
}

// ---- one pointer, or two

// That of the P of this pinned M, or its own. Null: it has none.
static inline wbBuf* buffer(m* mp) {
  if (p* pp = mp->p; pp != nullptr && pp->wbbuf != nullptr)
    return pp->wbbuf;  // not a P that came while the cycle marks
  return mp->wbbuf;
}

VITRINE_NOINLINE static wbBuf* firstbuf(m* mp) {
  lock(&wbshared.lock);
  wbBuf* b = wbshared.free;
  if (b != nullptr) wbshared.free = reinterpret_cast<wbBuf*>(b->at[0]);
  unlock(&wbshared.lock);
  if (b == nullptr) b = newbuf();
  b->n = 0;
  store_relaxed(mp->wbbuf, b);
  return b;
}

// This thread's buffer, with room for n more. wbshared.lock held if mp is null.
static wbBuf* room(m* mp, uint32 n) {
  wbBuf* b = mp == nullptr ? wbshared.buf : buffer(mp);
  if (b == nullptr) b = firstbuf(mp);
  if (b->n + n > sizeof b->at / sizeof b->at[0]) cleanstack(flushfull, b);
  return b;
}

static void shade2(void* a, void* b) {
  m* mp = acquirem();
  if (mp == nullptr) lock(&wbshared.lock);
  if (load_relaxed(writeBarrier) != 0) {  // no longer: the cycle ended on the way here
    wbBuf* buf = room(mp, 2);
    if (a != nullptr) buf->at[buf->n++] = uintptr(a);
    if (b != nullptr) buf->at[buf->n++] = uintptr(b);
  }
  if (mp == nullptr) unlock(&wbshared.lock);
  releasem(mp);
}

// shade2 for who has a buffer with room.
void gcwritebarrier(void* old, void* now) {
  g* gp = getg();
  if (__builtin_expect(gp != nullptr, 1)) {
    m* mp = gp->m;
    mp->locks++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);  // which P it is, is known from here on only
    wbBuf* b = buffer(mp);
    bool fits = b != nullptr && b->n + 2 <= sizeof b->at / sizeof b->at[0] && load_relaxed(writeBarrier) != 0;
    if (__builtin_expect(fits, 1)) {
      uint32 n = b->n;
      b->at[n] = uintptr(old);
      n += old != nullptr && old != now;
      b->at[n] = uintptr(now);
      n += now != nullptr;
      b->n = n;
    }
    unpin(mp, gp);
    if (__builtin_expect(fits, 1)) return;
  }
  shade2(old, now);
}

void gcshadeone(void* p) {
  if (__builtin_expect(load_relaxed(writeBarrier) != 0, 0)) shade2(p, nullptr);
}

void gcshadememory(const void* p, uintptr n) {
  if (__builtin_expect(load_relaxed(writeBarrier) == 0, 1)) return;
  auto* words = reinterpret_cast<void* const*>(alignUp(uintptr(p), ptrSize));
  auto* end = reinterpret_cast<void* const*>(alignDown(uintptr(p) + n, ptrSize));
  for (; words < end; words += 2) shade2(words[0], words + 1 < end ? words[1] : nullptr);
}

// ---- many

static void* at(uintptr a) { return __atomic_load_n(reinterpret_cast<void**>(a), __ATOMIC_RELAXED); }

static void needaligned(uintptr dst, uintptr src, uintptr size, const char* what) {
  if (((dst | src | size) & (ptrSize - 1)) == 0) return;
  print("runtime: ", what, ": dst ", hex{dst}, ", src ", hex{src}, ", size ", uint64(size), "\n");
  throw_("bulk barrier: not aligned to words");
}

// The span of objects with pointers that [dst, dst+size) is in; null: none, so the bits are not meaningful.
static mspan* spanforbarrier(uintptr dst, uintptr size) {
  mspan* s = spanOf(dst);
  if (s == nullptr || s->state.load(__ATOMIC_ACQUIRE) != mSpanInUse || dst < s->base() || dst >= s->limit)
    return nullptr;
  if (dst + size > s->base() + s->npages * pageSize) throw_("bulk barrier: goes beyond its object's span");
  return spannoscan(s->spanclass) ? nullptr : s;
}

// Memory [dst, dst+size) of a managed object is about to become that at src, or zero if src is 0. Elsewhere — on a stack,
// in held memory, in a global — there are no pointer bits, and no barrier is needed for what is overwritten; what is
// copied there is shaded, word by word.
void bulkBarrierPreWrite(uintptr dst, uintptr src, uintptr size) {
  if (load_relaxed(writeBarrier) == 0) return;
  needaligned(dst, src, size, "bulkBarrierPreWrite");
  if (spanforbarrier(dst, size) == nullptr) {
    if (src != 0) gcshadememory(reinterpret_cast<void*>(src), size);
    return;
  }
  heapBits h = heapBitsForAddr(dst);
  for (uintptr i = 0; i < size; i += ptrSize) {
    if (h.isPointer()) shade2(at(dst + i), src == 0 ? nullptr : at(src + i));
    if (i + ptrSize < size) h = h.next();
  }
}

// As that, for a destination that is new and zero: nothing is lost there.
void bulkBarrierPreWriteSrcOnly(uintptr dst, uintptr src, uintptr size) {
  if (load_relaxed(writeBarrier) == 0) return;
  needaligned(dst, src, size, "bulkBarrierPreWriteSrcOnly");
  if (spanforbarrier(dst, size) == nullptr) return gcshadememory(reinterpret_cast<void*>(src), size);
  heapBits h = heapBitsForAddr(dst);
  for (uintptr i = 0; i < size; i += ptrSize) {
    if (h.isPointer()) shade2(at(src + i), nullptr);
    if (i + ptrSize < size) h = h.next();
  }
}

// Which words are pointers is said by bits, one a word; bit 0 is maskOffset bytes before dst.
void bulkBarrierBitmap(uintptr dst, uintptr src, uintptr size, uintptr maskOffset, const uint8* bits) {
  if (load_relaxed(writeBarrier) == 0) return;
  needaligned(dst, src, size | maskOffset, "bulkBarrierBitmap");
  for (uintptr i = 0; i < size; i += ptrSize) {
    uintptr word = (maskOffset + i) / ptrSize;
    if ((bits[word / 8] >> word % 8 & 1) != 0) shade2(at(dst + i), src == 0 ? nullptr : at(src + i));
  }
}

// Which words are pointers is said by the type of the values in [dst, dst+size): for a destination without pointer bits,
// where gc::ptrs are all the same.
void typeBitsBulkBarrier(const _type* typ, uintptr dst, uintptr src, uintptr size) {
  if (load_relaxed(writeBarrier) == 0 || typ->ptrdata == 0) return;
  if (typ->size == 0 || size % typ->size != 0) throw_("typeBitsBulkBarrier: not whole values");
  for (uintptr i = 0; i < size; i += typ->size)
    bulkBarrierBitmap(dst + i, src == 0 ? 0 : src + i, typ->ptrdata, 0, typ->gcdata);
}

// ---- what gc.h and the channels call

// In pieces: a pin must be short.
constexpr uintptr pinnedBytes = 64 << 10;

static uintptr piece(const _type* t, uintptr left) {
  uintptr n = pinnedBytes / t->size * t->size;
  if (n == 0) n = t->size;
  return n < left ? n : left;
}

static bool inheap(uintptr p) {
  mspan* s = spanOf(p);
  return s != nullptr && s->state.load(__ATOMIC_ACQUIRE) == mSpanInUse;
}

static void barrierfor(const _type* t, uintptr dst, uintptr src, uintptr size) {
  if (inheap(dst))
    bulkBarrierPreWrite(dst, src, size);
  else
    typeBitsBulkBarrier(t, dst, src, size);
}

// While a cycle marks, word by word: a marker must not see half of a pointer.
static void movebytes(uintptr d, uintptr s, uintptr n, bool up) {
  if (load_relaxed(writeBarrier) == 0 || (d | s | n) % ptrSize != 0) {
    memmove(reinterpret_cast<void*>(d), reinterpret_cast<void*>(s), n);
    return;
  }
  for (uintptr k = 0; k < n; k += ptrSize) {
    uintptr i = up ? k : n - ptrSize - k;
    __atomic_store_n(reinterpret_cast<void**>(d + i), at(s + i), __ATOMIC_RELAXED);
  }
}

// One element of a channel. Its type says nothing of pointers to managed objects, so every word may be one.
void chanmemmove(const chantype* t, void* dst, const void* src) {
  uintptr d = uintptr(dst), s = uintptr(src);
  m* mp = acquirem();
  if (((d | s | t->size) & (ptrSize - 1)) == 0)
    bulkBarrierPreWrite(d, s, t->size);
  else
    gcshadememory(src, t->size);
  movebytes(d, s, t->size, true);
  releasem(mp);
}

// n values of t at src become those at dst; the two may overlap.
void typedmemmove(const _type* t, void* dst, const void* src, uintptr n) {
  uintptr d = uintptr(dst), s = uintptr(src), left = n * t->size;
  if (d == s || left == 0) return;
  if (t->ptrdata == 0) {
    memmove(dst, src, left);
    return;
  }
  bool up = d < s;  // from which end, so that an overlap is read before it is written
  while (left > 0) {
    uintptr bytes = piece(t, left), from = up ? n * t->size - left : left - bytes;
    m* mp = acquirem();
    barrierfor(t, d + from, s + from, bytes);
    movebytes(d + from, s + from, bytes, up);
    releasem(mp);
    left -= bytes;
  }
}

void typedmemclr(const _type* t, void* p, uintptr n) {
  uintptr bytes = n * t->size;
  for (uintptr done = 0; done < bytes;) {
    uintptr now = t->ptrdata == 0 ? bytes : piece(t, bytes - done);
    m* mp = acquirem();
    if (t->ptrdata != 0) barrierfor(t, uintptr(p) + done, 0, now);
    memset(static_cast<char*>(p) + done, 0, now);
    releasem(mp);
    done += now;
  }
}

}  // namespace vitrine::rt
