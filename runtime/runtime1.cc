// runtime1.cc: what the environment tells the runtime — GODEBUG and GOTRACEBACK. Follows Go's runtime1.go.
//
//   GODEBUG=name=value,name=value   later ones win; a name that does not exist here is ignored, as Go does, because one
//                                   setting may be meant for many programs; so is a value that is no number
//   GOTRACEBACK=none|single|all|system|crash|0|1|2   how much a fatal end prints (traceback.cc):
//                                        level  all  crash
//     none, 0    nothing                   0     -     -
//     single     the current goroutine     1     -     -     (the default; also for an empty value)
//     all, 1     every user's goroutine    1     yes   -
//     system, 2  … and the runtime's own   2     yes   -
//     crash      … and then abort()        2     yes   yes
//   Any other word counts as 0, any other number as that level with all, as in Go. When the runtime itself is broken
//   (throw_) that is level 2 with all, whatever was asked for. Only crash leaves a core; without it the status is 2.
//
// Both are read once, before the first goroutine exists; nothing here is locked or allocated. Also here: the version
// and the limit of threads, which a program asks for and sets (vitrine/runtime.h).
#include <climits>
#include <cstring>
#include <utility>

#include "include/vitrine/detail/rt.h"
#include "proc.h"

namespace vitrine::rt {

extern const string buildVersion;
const string buildVersion = {VITRINE_VERSION, sizeof VITRINE_VERSION - 1};

debugvars debug = {
    .stackguard = 0,
    .stackguardbudget = 8192,
    .schedtrace = 0,
    .scheddetail = 0,
    .asyncpreemptoff = 0,
    .traceback_level = 1,
    .traceback_all = 0,
    .traceback_crash = 0,
    .efence = 0,
    .sbrk = 0,
    .allocfreetrace = 0,
    .gctrace = 0,
    .clobberfree = 0,
    .gcstoptheworld = 0,
    .gccheckmark = 0,
    .invalidptr = 1,
    .gcevery = 0,
    .disablethp = 0,
    .flightrecorder = -1,
};

namespace {

struct word {
  const char* at;
  size_t len;
  bool is(const char* text) const { return strlen(text) == len && memcmp(at, text, len) == 0; }
};

// A decimal number of at most 32 bits, all of w; false otherwise.
bool number(word w, int32* out) {
  bool negative = w.len > 0 && w.at[0] == '-';
  int64 v = 0;
  size_t i = negative ? 1 : 0;
  if (i == w.len) return false;
  for (; i < w.len; i++) {
    if (w.at[i] < '0' || w.at[i] > '9') return false;
    v = v * 10 + (w.at[i] - '0');
    if (v > INT_MAX) return false;
  }
  *out = int32(negative ? -v : v);
  return true;
}

constexpr struct {
  const char* name;
  int32 debugvars::*field;
} dbgvars[] = {
    {"stackguardbudget", &debugvars::stackguardbudget},
    {"schedtrace", &debugvars::schedtrace},
    {"scheddetail", &debugvars::scheddetail},
    {"asyncpreemptoff", &debugvars::asyncpreemptoff},
    {"efence", &debugvars::efence},
    {"sbrk", &debugvars::sbrk},
    {"allocfreetrace", &debugvars::allocfreetrace},
    {"gctrace", &debugvars::gctrace},
    {"clobberfree", &debugvars::clobberfree},
    {"gcstoptheworld", &debugvars::gcstoptheworld},
    {"gccheckmark", &debugvars::gccheckmark},
    {"invalidptr", &debugvars::invalidptr},
    {"gcevery", &debugvars::gcevery},
    {"disablethp", &debugvars::disablethp},
};

// A decimal number with K, KiB, M, MiB, G or GiB behind it; UINT64_MAX: more than that. False: it is none.
bool size(word w, uint64* out) {
  uint64 unit = 1, v = 0;
  for (auto [text, bytes] : {std::pair{"KiB", 1 << 10},
                             {"K", 1 << 10},
                             {"MiB", 1 << 20},
                             {"M", 1 << 20},
                             {"GiB", 1 << 30},
                             {"G", 1 << 30}}) {
    const size_t n = strlen(text);
    if (w.len <= n || memcmp(w.at + w.len - n, text, n) != 0) continue;
    w.len -= n;
    unit = uint64(bytes);
    break;
  }
  if (w.len == 0) return false;
  bool over = false;
  for (size_t i = 0; i < w.len; i++) {
    if (w.at[i] < '0' || w.at[i] > '9') return false;
    over |= __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, uint64(w.at[i] - '0'), &v);
  }
  over |= __builtin_mul_overflow(v, unit, &v);
  *out = over ? UINT64_MAX : v;
  return true;
}

// Unlike Go, which takes no notice of a value that it does not understand: who asks for a recording wants one.
void setflightrecorder(word value) {
  uint64 bytes;
  const string said{value.at, int64(value.len)};
  if (!size(value, &bytes)) {
    print("runtime: GODEBUG: flightrecorder=", said, " is no size (0, 1, 64K, 4MiB): as if it were not there\n");
    return;
  }
  if (bytes > traceMaxSize) {
    print("runtime: GODEBUG: flightrecorder=", said, ": rings have ", traceMaxSize, " bytes at most\n");
    bytes = traceMaxSize;
  }
  debug.flightrecorder = int32(bytes);
}

void setdebugvar(word name, word value) {
  if (name.is("stackguard")) {
    if (value.is("mprotect")) debug.stackguard = gguardMprotect;
    if (value.is("madvise")) debug.stackguard = gguardMadvise;
    if (value.is("canary")) debug.stackguard = gguardCanary;
    return;
  }
  if (name.is("flightrecorder")) return setflightrecorder(value);
  for (auto& v : dbgvars)
    if (int32 n; name.is(v.name) && number(value, &n) && n >= 0) debug.*v.field = n;
}

}  // namespace

void setTraceback(const char* level) {
  word w{level, strlen(level)};
  int32 n = 0;
  auto set = [](int32 lv, int32 all, int32 crash) {
    debug.traceback_level = lv;
    debug.traceback_all = all;
    debug.traceback_crash = crash;
  };
  if (w.is("none")) return set(0, 0, 0);
  if (w.is("single") || w.len == 0) return set(1, 0, 0);
  if (w.is("all")) return set(1, 1, 0);
  if (w.is("system")) return set(2, 1, 0);
  if (w.is("crash")) return set(2, 1, 1);
  set(number(w, &n) && n >= 0 ? n : 0, 1, 0);
}

void parsedebugvars() {
  const char* s = gogetenv("GODEBUG");
  while (s != nullptr && *s != 0) {
    const char* end = strchrnul(s, ',');
    const char* eq = static_cast<const char*>(memchr(s, '=', size_t(end - s)));
    if (eq != nullptr) setdebugvar({s, size_t(eq - s)}, {eq + 1, size_t(end - eq - 1)});
    s = *end == 0 ? end : end + 1;
  }
  if (const char* level = gogetenv("GOTRACEBACK"); level != nullptr) setTraceback(level);
}

string version() { return buildVersion; }

int32 setMaxThreads(int32 n) {
  entry();
  lock(&sched.lock);
  int32 old = sched.maxmcount;
  int64 have = sched.mnext - sched.nmfreed;
  sched.maxmcount = n;
  unlock(&sched.lock);
  if (have > n) {
    print("runtime: program has ", have, " threads, more than the limit of ", n, " that it now sets\n");
    fatal("thread exhaustion");
  }
  return old;
}

}  // namespace vitrine::rt
