// mbitmap.cc: which words of the heap are pointers, and which objects are marked. Follows Go's mbitmap.go (1.12).
//
// heapArena.bitmap has a byte for four words: bit i says that word i is a pointer, bit 4+i that this word or a later
// one of its object may be one (scan). An object without pointers at its end has scan 0 from there on, so a reader
// stops at the first word with scan 0. Objects of noscan spans have no meaningful bits.
//
// heapBitsSetType writes the bits of a new object from its type: gcdata has one bit a word for the first ptrdata bytes.
// Who writes owns the span (its mcache's P, or nobody else knows the object), and spans begin at multiples of 32 bytes,
// so two writers never share a byte. A concurrent marker reads an object's bits only after it was published.
//
// Unlike Go: the scan bit of word 1 has no second meaning. The bits of a value of up to 64 words fit into registers; of
// larger ones eight bytes are made at once; an array's are those of its first elements, copied.
// Unlike Go: spans without pointers are not cleared in the bitmap: nobody may look there, and a large object would
// touch a thirty-second of its size.
#include <cstring>

#include "mem.h"

namespace vitrine::rt {

heapBits heapBitsForAddr(uintptr addr) {
  heapArena* ha = arenaOf(addr);
  if (ha == nullptr) return {};
  return {&ha->bitmap[addr / (ptrSize * 4) % heapArenaBitmapBytes], uint32(addr / ptrSize % 4),
          uint32(arenaIndex(addr).value), &ha->bitmap[heapArenaBitmapBytes - 1]};
}

heapBits heapBits::forward(uintptr n) const {
  uintptr words = shift + n;
  if (words / 4 <= uintptr(last - bitp)) return {bitp + words / 4, uint32(words % 4), arena, last};
  // In a later arena.
  uintptr inarena = heapArenaBitmapBytes - 1 - uintptr(last - bitp);
  return heapBitsForAddr(arenaBase({arena}) + (inarena * 4 + words) * ptrSize);
}

heapBits heapBits::next() const { return forward(1); }

// All bits of the span become 0. A span may cross arenas.
void heapBits::initSpan(mspan* s) const {
  uintptr left = s->bytes() / (ptrSize * 4);
  for (heapBits h = *this; left > 0;) {
    uintptr here = uintptr(h.last - h.bitp) + 1;
    uintptr n = left < here ? left : here;
    memset(h.bitp, 0, n);
    left -= n;
    if (left > 0) h = h.forward(n * 4);
  }
}

// Four bits of a type's bitmap from word i on; those behind its last word are not looked at.
static inline uint8 fourbits(const uint8* gcdata, uintptr i, uintptr words) {
  uint32 bits = uint32(gcdata[i / 8]) >> i % 8;
  if (i % 8 > 4 && (i | 7) + 1 < words) bits |= uint32(gcdata[i / 8 + 1]) << (8 - i % 8);
  return uint8(bits & 0xf);
}

// 32 bits, four to a byte: the lower half of each, as bitmap bytes have those of pointers.
static inline uint64 spread(uint64 bits) {
  bits = (bits | bits << 16) & 0x0000ffff0000ffff;
  bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
  return (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
}
static inline uint64 spreadlow(uint64 bits) { return spread(bits & 0xffffffff); }

// One value of up to 64 words less `shift`, where its first bits are in the byte; the other words' bits there stay.
static void setvalue(uint8* bitp, uint32 shift, uintptr words, const _type* typ) {
  const uintptr ptrwords = typ->ptrdata / ptrSize;
  auto first = [](uintptr n) { return n == 64 ? ~uint64(0) : (uint64(1) << n) - 1; };
  uint64 pointers = 0, scan = first(ptrwords), own = first(words) << shift;
  for (uintptr i = 0; i < (ptrwords + 7) / 8; i++) pointers |= uint64(typ->gcdata[i]) << 8 * i;
  pointers = (pointers & scan) << shift;
  scan <<= shift;
  for (; own != 0; own >>= 32, pointers >>= 32, scan >>= 32) {
    uint64 bits = spreadlow(pointers) * bitPointer | spreadlow(scan) * bitScan;
    uint64 mine = spreadlow(own) * (bitPointer | bitScan);
    if (mine == ~uint64(0)) {
      memcpy(bitp, &bits, 8);
      bitp += 8;
      continue;
    }
    for (; mine != 0; mine >>= 8, bits >>= 8, bitp++) *bitp = uint8((*bitp & ~mine) | bits);
  }
}

void heapBitsSetType(uintptr x, uintptr size, uintptr dataSize, const _type* typ) {
  uintptr words = size / ptrSize, stride = typ->size / ptrSize, ptrwords = typ->ptrdata / ptrSize;
  uint8* bitp = &arenaOf(x)->bitmap[x / (ptrSize * 4) % heapArenaBitmapBytes];
  uint32 shift = uint32(x / ptrSize % 4);
  const bool one = dataSize == typ->size;
  if (one && words + shift <= 64 && (x ^ (x + size - 1)) < heapArenaBytes) return setvalue(bitp, shift, words, typ);
  // The end of the last element's pointers.
  uintptr scanwords = stride == 0 ? 0 : (dataSize / typ->size - 1) * stride + ptrwords;
  // One word after the last says that no more follow; what is behind it was cleared with a large object's span.
  uintptr end = words;
  if (words > maxSmallSize / ptrSize && scanwords < words) end = scanwords + 1;
  // Elements come back to the same place in a byte after so many bytes. first: the first whole one of this arena.
  const uintptr period = stride % 4 == 0 ? stride / 4 : stride % 2 == 0 ? stride / 2 : stride;
  const uint8* first = nullptr;
  uintptr inelem = 0;
  for (uintptr i = 0; i < end;) {
    if (shift == 0 && i < scanwords) {
      if (first == nullptr) first = bitp;
      const uintptr left = (heapArenaBytes - (x + i * ptrSize) % heapArenaBytes) / ptrSize, from = i;
      uintptr n = (left < scanwords - i ? left : scanwords - i) / 4;  // whole bytes
      if (one) {
        for (; n >= 8 && i % 8 == 0; n -= 8, i += 32, bitp += 8) {
          uint32 pointers;
          memcpy(&pointers, typ->gcdata + i / 8, 4);
          const uint64 bits = spread(pointers) * bitPointer | spread(~uint32(0)) * bitScan;
          memcpy(bitp, &bits, 8);
        }
        for (; n > 0; n--, i += 4) *bitp++ = uint8(bitScan * 0xf | fourbits(typ->gcdata, i, ptrwords));
      } else {
        while (n > 0 && uintptr(bitp - first) >= period) {
          const uintptr done = uintptr(bitp - first), back = done - done % period, now = back < n ? back : n;
          memcpy(bitp, bitp - back, now);
          n -= now;
          i += 4 * now;
          bitp += now;
        }
      }
      if (i != from) {
        inelem = i % stride;
        if ((x + i * ptrSize) % heapArenaBytes == 0 && i < end) {
          bitp = arenaOf(x + i * ptrSize)->bitmap;
          first = nullptr;
        }
        continue;
      }
    }
    // The words of one byte.
    uint8 keep = 0xff, bits = 0;
    for (; shift < 4 && i < end; shift++, i++) {
      keep = uint8(keep & ~((bitPointer | bitScan) << shift));
      if (i >= scanwords) continue;
      bits = uint8(bits | bitScan << shift);
      if (inelem < ptrwords) bits = uint8(bits | (typ->gcdata[inelem / 8] >> inelem % 8 & 1) << shift);
      if (++inelem == stride) inelem = 0;
    }
    *bitp = uint8((*bitp & keep) | bits);
    shift = 0;
    if (uintptr next = x + i * ptrSize; next % heapArenaBytes != 0) {
      bitp++;
    } else if (i < end) {
      bitp = arenaOf(next)->bitmap;
      first = nullptr;
    }
  }
}

// Not for ThreadSanitizer: a marker's acquire load of the state, by which it may read these, is not seen by it either.
__attribute__((no_sanitize("thread"))) uintptr mspan::objIndex(uintptr p) const {
  uintptr offset = p - startAddr;
  if (nelems == 1 && divMagic == 0 && divShift == 0) return 0;
  if (divShift != 0) return offset >> divShift;
  return uintptr(uint64(offset) * divMagic >> 32);
}

bool mspan::isFree(uintptr index) const {
  if (index < freeindex) return false;
  return (allocBits[index / 8] >> index % 8 & 1) == 0;
}

// The complement of the 64 bits of allocBits at whichByte, which is a multiple of 8.
void mspan::refillAllocCache(uintptr whichByte) {
  uint64 bits;
  memcpy(&bits, &allocBits[whichByte], 8);
  allocCache = ~bits;
}

// The first free object at or after freeindex, which moves there; nelems: none.
uintptr mspan::nextFreeIndex() {
  uintptr i = freeindex;
  if (i == nelems) return i;
  if (i > nelems) throw_("mspan: freeindex is beyond nelems");
  while (allocCache == 0) {
    i = (i + 64) & ~uintptr(63);
    if (i >= nelems) return freeindex = nelems;
    refillAllocCache(i / 8);
  }
  int bit = __builtin_ctzll(allocCache);
  uintptr result = i + uintptr(bit);
  if (result >= nelems) return freeindex = nelems;
  allocCache >>= bit;
  allocCache >>= 1;  // in two steps: bit + 1 may be 64
  i = result + 1;
  if (i % 64 == 0 && i != nelems) refillAllocCache(i / 8);
  store_relaxed(freeindex, i);
  return result;
}

markBits markBitsForIndex(mspan* s, uintptr index) { return {&s->gcmarkBits[index / 8], uint8(1 << index % 8), index}; }
markBits allocBitsForIndex(mspan* s, uintptr index) { return {&s->allocBits[index / 8], uint8(1 << index % 8), index}; }

}  // namespace vitrine::rt
