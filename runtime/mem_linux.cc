// mem_linux.cc: address space and pages from the kernel. Follows Go's mem_linux.go.
//
// An arena goes through these states; the heap's word for "mapped, not used" is scavenged:
//   reserved   sysReserve   PROT_NONE; costs address space only
//   mapped     sysMap       readable, writable; nothing committed (NORESERVE), no page touched, left out of core dumps.
//                           What is larger than hugeMap is accounted, so that the kernel refuses what it could never give
//   used       sysUsed      in core dumps. sysPopulate: has memory
//   mapped     sysUnused    pages dropped; they read as zero
// Core dumps: a dump that the kernel pipes somewhere would write each untouched page as zeros, and goroutine stacks are
// mostly such pages. So DONTDUMP goes with "has no memory".
//
// Unlike Go: every arena begins without huge pages (MADV_NOHUGEPAGE), whatever the system's default is. Stacks come from the
// same arenas, and a huge page would give each of them 2 MiB of which it touches one page. sysHugePages is for blocks that
// are objects' (mheap.cc).
// Unlike Go: MADV_DONTNEED always, never MADV_FREE: what was given back is zero for certain, and RSS tells the truth.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mem.h"
#include "proc.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace vitrine::rt {

void sysName(void* v, uintptr n, const char* name) {
  int saved = errno;
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, v, n, name);  // EINVAL where the kernel has no such names
  errno = saved;
}

static void* map(void* at, uintptr n, int prot, int flags) {
  int saved = errno;
  void* p = mmap(at, n, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  errno = saved;
  return p == MAP_FAILED ? nullptr : p;
}

static void advise(void* v, uintptr n, int advice) {
  int saved = errno;
  madvise(v, n, advice);
  errno = saved;
}

void* sysAlloc(uintptr n, uint64* stat) {
  void* p = map(nullptr, n, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  if (p == nullptr) return nullptr;
  sysName(p, n, "vitrine: heap metadata");
  if (stat != nullptr) mSysStatInc(stat, n);
  return p;
}

void sysFree(void* v, uintptr n, uint64* stat) {
  if (stat != nullptr) mSysStatDec(stat, n);
  munmap(v, n);
}

void* sysReserve(void* hint, uintptr n) { return map(hint, n, PROT_NONE, MAP_NORESERVE); }

constexpr uintptr hugeMap = uintptr(1) << 32;

bool sysMap(void* v, uintptr n, uint64* stat) {
  if (map(v, n, PROT_READ | PROT_WRITE, (n > hugeMap ? 0 : MAP_NORESERVE) | MAP_FIXED) != v) return false;
  advise(v, n, MADV_NOHUGEPAGE);
  advise(v, n, MADV_DONTDUMP);
  sysName(v, n, "vitrine: heap");
  if (stat != nullptr) mSysStatInc(stat, n);
  return true;
}

void sysUsed(void* v, uintptr n) { advise(v, n, MADV_DODUMP); }

void sysPopulate(void* v, uintptr n) {
  static atomic<bool> can, cannot;
  if (cannot.load(__ATOMIC_RELAXED)) return;
  int saved = errno;
  if (madvise(v, n, MADV_POPULATE_WRITE) == 0) {
    if (!can.load(__ATOMIC_RELAXED)) can.store(true, __ATOMIC_RELAXED);
  } else if (errno != ENOMEM && errno != EINTR && errno != EAGAIN && !can.load(__ATOMIC_RELAXED)) {
    // Not known to an older kernel, or not allowed. Out of memory, a signal, a guard that somebody has put there
    // meanwhile: there will be page faults.
    cannot.store(true, __ATOMIC_RELAXED);
  }
  errno = saved;
}

void sysDrop(void* v, uintptr n) { advise(v, n, MADV_DONTNEED); }

void sysUnused(void* v, uintptr n) {
  sysDrop(v, n);
  advise(v, n, MADV_DONTDUMP);
}

// Whether the system gives huge pages to who asks for them.
static bool hashugepages() {
  if (debug.disablethp != 0) return false;
  int saved = errno;
  char text[64] = {};
  int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  errno = saved;
  return n > 0 && strstr(text, "[never]") == nullptr;
}

// mheap_.lock held.
bool sysHasHugePages() {
  static int32 has;
  if (has == 0) has = hashugepages() ? 1 : -1;
  return has > 0;
}

void sysHugePages(void* v, uintptr n) { advise(v, n, MADV_HUGEPAGE); }

void sysNoHugePages(void* v, uintptr n) { advise(v, n, MADV_NOHUGEPAGE); }

void* borrowaddresses(std::size_t size) {
  void* p = map(nullptr, size, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  if (p == nullptr) {
    outofmemory(size);
    fatal("out of memory");
  }
  return p;
}

void returnaddresses(void* p, std::size_t size) { munmap(p, size); }

void sysFault(void* v, uintptr n) { map(v, n, PROT_NONE, MAP_NORESERVE | MAP_FIXED); }

}  // namespace vitrine::rt
