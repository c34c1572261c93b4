// cgroup.cc: how many goroutines may run at once when nobody says — GOMAXPROCS's default. Follows the rule of Go 1.25
// (cgroup_linux.go): the CPUs that this thread may run on, but no more than the container's share of CPU time allows.
//
//   1. /proc/self/cgroup names our group: the version 1 hierarchy that has the cpu controller, else version 2's
//   ("0::").
//   2. /proc/self/mountinfo says where that hierarchy is mounted, and which part of it.
//   3. In the group's directory: cpu.max "QUOTA PERIOD" (version 2), cpu.cfs_quota_us and cpu.cfs_period_us (1); "max"
//      or -1: no limit there.
//   4. quota / period, rounded up, and at least 2: with one P a goroutine that computes would hold up all others
//      although the quota lets two threads run at once for a while.
// Unlike Go: the groups above ours, as far as we can see them, count as well, because the tightest one is what holds.
//
// What is not there or not understood is no limit. Read once, at boot; a quota that changes later is not noticed.
#include <climits>
#include <cstring>

#include "linereader.h"
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

namespace {

constexpr size_t maxpath = 4096;

// Static, because a main program's thread may have a small stack: boot is one thread.
struct {
  char line[2 * maxpath];
  char group[maxpath];  // path of our group in its hierarchy
  char path[2 * maxpath];
} buffers;

// a + b (+ c) into buffers.path; false: too long.
bool compose(const char* a, const char* b, const char* c = "") {
  size_t la = strlen(a), lb = strlen(b), lc = strlen(c);
  if (la + lb + lc + 1 > sizeof buffers.path) return false;
  memmove(buffers.path, a, la);
  memcpy(buffers.path + la, b, lb);
  memcpy(buffers.path + la + lb, c, lc + 1);
  return true;
}

// Whether `list`, separated by commas, has that word.
bool listed(const char* list, const char* word) {
  for (size_t n = strlen(word); *list != 0;) {
    const char* end = strchrnul(list, ',');
    if (size_t(end - list) == n && memcmp(list, word, n) == 0) return true;
    list = *end == 0 ? end : end + 1;
  }
  return false;
}

// buffers.group; 1 or 2: the version of its hierarchy; 0: none.
int findgroup(const char* root) {
  if (!compose(root, "/proc/self/cgroup")) return 0;
  int version = 0;
  linereader r(buffers.path);
  while (r.next(buffers.line, sizeof buffers.line)) {
    // number:controllers:path
    char* controllers = strchr(buffers.line, ':');
    if (controllers == nullptr) return 0;
    *controllers++ = 0;
    char* path = strchr(controllers, ':');
    if (path == nullptr || path[1] != '/' || strlen(path + 1) >= sizeof buffers.group) return 0;
    *path++ = 0;
    if (strcmp(buffers.line, "0") == 0 && *controllers == 0) {
      strcpy(buffers.group, path);
      version = 2;  // unless a version 1 hierarchy has the controller
    } else if (listed(controllers, "cpu")) {
      strcpy(buffers.group, path);
      return 1;
    }
  }
  return version;
}

// Cuts the next word off *s.
char* word(char** s) {
  while (**s == ' ') ++*s;
  char* w = *s;
  while (**s != 0 && **s != ' ') ++*s;
  if (**s != 0) *(*s)++ = 0;
  return w;
}

// \040 and the like, as the kernel writes blanks in paths; in place.
void unescape(char* s) {
  char* to = s;
  auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (; *s != 0; s++) {
    if (s[0] == '\\' && octal(s[1]) && octal(s[2]) && octal(s[3])) {
      *to++ = char((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
      s += 3;
    } else {
      *to++ = *s;
    }
  }
  *to = 0;
}

// What follows `prefix` in path: "" or "/…"; null when it lies elsewhere.
const char* below(const char* path, const char* prefix) {
  size_t n = strcmp(prefix, "/") == 0 ? 0 : strlen(prefix);
  if (strncmp(path, prefix, n) != 0 || (path[n] != 0 && path[n] != '/')) return nullptr;
  return strcmp(path + n, "/") == 0 ? "" : path + n;
}

// The directory of our group into buffers.path, and the length of its part that is the mount point.
bool findmount(const char* root, int version, size_t* mountlen) {
  if (!compose(root, "/proc/self/mountinfo")) return false;
  linereader r(buffers.path);
  while (r.next(buffers.line, sizeof buffers.line)) {
    // id parent dev ROOT MOUNTPOINT options optional… - TYPE source SUPEROPTIONS
    char* s = buffers.line;
    for (int i = 0; i < 3; i++) word(&s);
    char* top = word(&s);
    char* mountpoint = word(&s);
    while (*s != 0 && strcmp(word(&s), "-") != 0) {
    }
    char* type = word(&s);
    word(&s);
    char* superoptions = word(&s);
    if (strcmp(type, version == 2 ? "cgroup2" : "cgroup") != 0) continue;
    if (version == 1 && !listed(superoptions, "cpu")) continue;
    unescape(top);
    unescape(mountpoint);
    const char* rest = below(buffers.group, top);
    if (rest == nullptr || strncmp(rest, "/..", 3) == 0) continue;  // not to be reached through this mount
    if (!compose(root, mountpoint, rest)) return false;
    *mountlen = strlen(root) + strlen(mountpoint);
    return true;
  }
  return false;
}

// The first line of buffers.path + name; the path stays as it was.
bool readline(size_t len, const char* name) {
  if (len + strlen(name) >= sizeof buffers.path) return false;
  strcpy(buffers.path + len, name);
  linereader r(buffers.path);
  bool ok = r.next(buffers.line, sizeof buffers.line);
  buffers.path[len] = 0;
  return ok;
}

// A positive decimal number and nothing else.
bool positive(const char* s, int64* out) {
  int64 v = 0;
  if (*s == 0) return false;
  for (; *s != 0; s++)
    if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
      return false;
  *out = v;
  return v > 0;
}

// quota / period of the group whose directory is buffers.path, rounded up.
bool grouplimit(int version, int64* limit) {
  size_t len = strlen(buffers.path);
  int64 quota, period;
  if (version == 2) {
    if (!readline(len, "/cpu.max")) return false;
    char* s = buffers.line;
    if (!positive(word(&s), &quota) || !positive(word(&s), &period)) return false;
  } else {
    if (!readline(len, "/cpu.cfs_quota_us") || !positive(buffers.line, &quota)) return false;
    if (!readline(len, "/cpu.cfs_period_us") || !positive(buffers.line, &period)) return false;
  }
  *limit = quota / period + (quota % period != 0 ? 1 : 0);
  return true;
}

}  // namespace

int32 cgroupprocs(const char* root) {
  int version = findgroup(root);
  size_t mountlen;
  if (version == 0 || !findmount(root, version, &mountlen)) return 0;
  int64 least = 0;
  for (;;) {
    int64 limit;
    if (grouplimit(version, &limit) && (least == 0 || limit < least)) least = limit;
    char* up = strrchr(buffers.path, '/');
    if (up == nullptr || size_t(up - buffers.path) < mountlen) break;
    *up = 0;
  }
  if (least == 0) return 0;
  return least < 2 ? 2 : least > INT_MAX ? INT_MAX : int32(least);
}

gcsegment cgroupmemory() { return {uintptr(&buffers), uintptr(&buffers + 1)}; }

int32 defaultprocs() {
  int32 limit = cgroupprocs("");
  return limit != 0 && limit < ncpu ? limit : ncpu;
}

}  // namespace vitrine::rt
