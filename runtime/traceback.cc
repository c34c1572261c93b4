// traceback.cc: prints goroutines and where they are, in the running program, without a debugger. Follows the role of
// Go's traceback.go; the format is Go's but for the frames, which take one line each:
//
//     goroutine 17 "reader" [chan receive, 2 minutes]:
//             waiting on 0x7f1c2c0012a0
//             read_all(vitrine::chan<int>&)+0x1d (program+0x4f1c)
//     created by main::{lambda()#1}::operator()() const+0x33 (program+0x5012) in goroutine 1
//
// `+0x1d` is how far into the function the saved address is; `program+0x4f1c` is what addr2line takes for the line that
// is being executed: for a return address that of the call, one byte before.
//
// How a stack is walked: by the unwinder of the C++ runtime and the .eh_frame of the program, which every C++ program
// has, so frame pointers are not needed.
//   * The goroutine that runs here: from where we stand (through systemstack: its CFI crosses over).
//   * One that is saved (parked, queued, in a system call): vitrine_tracecontext pretends to have been called from the
//     saved context. While we read its stack we hold Gscan, so nobody can make it run: casgstatus waits. A walk ends
//     as soon as a frame is not within [stack.lo, stack.hi], so a broken stack is not followed elsewhere.
//   * One that runs on another thread: not at all. It is named with its thread; nothing is frozen.
//
// One dump at a time: `panicking` holds the thread id of who prints. A second thread waits for it; the thread itself
// (a fault in the middle of a dump) goes on without. A dump that ends the process never lets go of it.
//
// Who may print what: a dump in a signal handler allocates nothing and takes no lock (mangled names); any other runs on
// g0's stack, because a goroutine's may be small, and demangles.
#include "traceback.h"

#include <unistd.h>
#include <unwind.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "include/vitrine/detail/rt.h"

extern "C" int vitrine_tracecontext(const vitrine::rt::gobuf* at, _Unwind_Trace_Fn fn, void* arg);

namespace vitrine::rt {

atomic<uint32> panicking;  // kernel thread id of the thread that prints a dump; 0: none

static printsink sink;  // guarded by panicking

// What this dump shows: debug.traceback_level, or more for a broken runtime or a request. Guarded by panicking.
static int32 level;

bool dumpbegin(bool maymalloc, int32 atleast, int32 fd) {
  uint32 me = uint32(gettid_());
  // relaxed is enough for the comparison with our own id; the CAS acquires what the last dump released.
  for (int i = 0; !panicking.cas(0, me); i++) {
    if (panicking.load() == me || i == 10000) return false;
    usleep_(1000);
  }
  symbegin(maymalloc);
  level = debug.traceback_level > atleast ? debug.traceback_level : atleast;
  sink.fd = fd;
  printto(&sink);
  return true;
}

void dumpend() {
  printto(nullptr);
  symend();
  panicking.store(0);
}

static const char* const statusNames[] = {"idle", "runnable", "running",   "syscall",   "waiting", "moribund",
                                          "dead", "enqueue",  "copystack", "preempted", "leaked",  "deadextra"};

// A name between quotes; control characters as \xNN, so that no name can forge lines or drive a terminal.
void printname(const char* name) {
  print("\"");
  for (; *name != 0; name++) {
    uint8 c = uint8(*name);
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') {
      char escaped[] = {'\\', 'x', "0123456789abcdef"[c / 16], "0123456789abcdef"[c % 16], 0};
      print(static_cast<const char*>(escaped));
    } else {
      char one[] = {char(c), 0};
      print(static_cast<const char*>(one));
    }
  }
  print("\"");
}

// gp may be running, and ending.
void goroutineheader(g* gp) {
  uint32 status = readgstatus(gp) & ~uint32(Gscan);
  print("goroutine ", load_relaxed(gp->goid), " ");
  char name[sizeof gp->name];
  for (uintptr i = 0; i < sizeof name; i++) name[i] = load_relaxed(gp->name[i]);
  name[sizeof name - 1] = 0;
  if (name[0] != 0) {
    printname(name);
    print(" ");
  }
  if (level >= 2) {
    print("gp=", (const void*)gp, " m=");
    if (m* mp = load_relaxed(gp->m); mp != nullptr)
      print(mp->id, " ");
    else
      print("nil ");
  }
  print("[");
  waitReason reason = load_relaxed(gp->waitreason);
  if (status == Gwaiting && reason != 0 && reason < waitReasonCount)
    print(waitReasonStrings[reason]);
  else if (status < sizeof statusNames / sizeof *statusNames)
    print(statusNames[status]);
  else
    print("status ", status);
  if (int64 since = load_relaxed(gp->waitsince); (status == Gwaiting || status == Gsyscall) && since != 0) {
    int64 minutes = (nanotime() - since) / 60'000'000'000;
    if (minutes >= 1) print(", ", minutes, " minutes");
  }
  if (load_relaxed(gp->lockedm) != nullptr) print(", locked to thread");
  print("]:\n");
}

// ---- walking -------------------------------------------------------------------------------------------------------

namespace {

constexpr int64 shownends = 50;  // frames printed at each end of a deep stack

// The frames of one walk; in it the first and the last ones of a deep stack.
struct walk {
  uintptr lo, hi;  // the stack: sp of every frame is within
  uintptr bottom;  // the return address that ends it; 0: any
  int64 n;         // frames seen
  bool ended;      // the bottom was reached
  uintptr lastsp;
  bool skipped;  // vitrine_tracecontext's own frame, which comes first
  struct frame {
    uintptr pc;
    bool exact;  // pc is the instruction itself, not a return address
  } first[shownends], last[shownends];
} frames;  // guarded by panicking

_Unwind_Reason_Code onframe(_Unwind_Context* context, void* skipfirst) {
  if (skipfirst != nullptr && !frames.skipped) {
    frames.skipped = true;
    return _URC_NO_REASON;
  }
  uintptr sp = _Unwind_GetCFA(context);
  if (sp < frames.lo || sp > frames.hi || sp < frames.lastsp) return frames.n == 0 ? _URC_NO_REASON : _URC_END_OF_STACK;
  int exact = 0;
  uintptr pc = _Unwind_GetIPInfo(context, &exact);
  if (pc == 0) return _URC_END_OF_STACK;
  if (pc == frames.bottom) {
    frames.ended = true;
    return _URC_END_OF_STACK;
  }
  walk::frame f{pc, exact != 0};
  if (frames.n < shownends) frames.first[frames.n] = f;
  frames.last[frames.n % shownends] = f;
  frames.n++;
  frames.lastsp = sp;
  return _URC_NO_REASON;
}

void beginwalk(uintptr lo, uintptr hi, uintptr bottom) {
  frames.lo = lo;
  frames.hi = hi;
  frames.bottom = bottom;
  frames.n = 0;
  frames.ended = false;
  frames.lastsp = 0;
  frames.skipped = false;
}

void walkfrom(const gobuf* from) {
  if (from->sp < frames.lo || from->sp > frames.hi || from->pc == 0) return;
  vitrine_tracecontext(from, onframe, &frames);
}

bool isruntime(const char* name) {
  return name != nullptr && (strncmp(name, "_ZN7vitrine2rt", 14) == 0 || strncmp(name, "_ZNK7vitrine2rt", 15) == 0);
}

// The entry functions of goroutines: the user's function may have been inlined into them.
bool isentry(const char* name) {
  constexpr const char* entries[] = {"_ZN7vitrine2rt7gostartI", "_ZN7vitrine2rt11mainclosureI",
                                     "_ZN7vitrine2rt11taskclosureI"};
  for (const char* e : entries)
    if (strncmp(name, e, strlen(e)) == 0) return true;
  return false;
}

void printpc(uintptr pc, const symbol& s) {
  if (s.name != nullptr) {
    printsymname(s.name);
    print("+", hex{pc - s.entry});
  } else {
    print(hex{pc});
  }
  if (s.vaddr != 0) print(" (", s.file, "+", hex{s.vaddr}, ")");
}

symbol symof(uintptr pc, bool exact) { return findsym(exact ? pc : pc - 1); }

bool sawstart;  // the goroutine's start function was among the frames

void printframe(const walk::frame& f, uintptr startpc) {
  symbol s = symof(f.pc, f.exact);
  if (s.entry != 0 && s.entry == startpc) sawstart = true;
  if (level < 2 && isruntime(s.name) && !(isentry(s.name) && !sawstart)) return;
  print("\t");
  printpc(f.pc, s);
  print("\n");
}

// Prints from[i] of i in [begin, end), the same place many times over (a recursion) once with their number.
void printrange(const walk::frame* from, int64 begin, int64 end, uintptr startpc) {
  for (int64 i = begin, next; i < end; i = next) {
    const walk::frame& f = from[i % shownends];
    for (next = i + 1; next < end && from[next % shownends].pc == f.pc;) next++;
    printframe(f, startpc);
    if (next - i > 2)
      print("\t... and ", next - i - 1, " more of the same ...\n");
    else if (next - i == 2)
      printframe(f, startpc);
  }
}

void printframes(uintptr startpc) {
  sawstart = false;
  int64 head = frames.n < shownends ? frames.n : shownends;
  printrange(frames.first, 0, head, startpc);
  int64 from = frames.n - shownends > head ? frames.n - shownends : head;
  if (from > head) print("\t... ", from - head, " frames left out ...\n");
  printrange(frames.last, from, frames.n, startpc);
  if (!frames.ended && frames.bottom != 0)
    print("\t(the rest is not known: ", frames.n == 0 ? "no saved context" : "no unwind table here, or a broken stack",
          ")\n");
}

void createdby(g* gp) {
  uintptr gopc = load_relaxed(gp->gopc);
  if (gopc == 0) return;
  print("created by ");
  printpc(gopc, symof(gopc, false));
  if (gp->parentGoid != 0) print(" in goroutine ", gp->parentGoid);
  print("\n");
}

// A goroutine that has not begun: its context is the trampoline, which says nothing.
bool fresh(g* gp) { return gp->sched.pc == uintptr(goentry) + 1; }

void walksaved(g* gp, uint32 status) {
  if (status == Gsyscall && gp->syscallsp != 0) {
    gobuf b{};
    b.sp = gp->syscallsp;
    b.pc = gp->syscallpc;
    b.bp = gp->syscallbp;
    walkfrom(&b);
  } else {
    walkfrom(&gp->sched);
  }
}

}  // namespace

// Level 0 prints nothing at all.
void traceg(g* gp, const gobuf* from) {
  if (level == 0) return;
  print("\n");
  goroutineheader(gp);
  g* me = getg();
  bool current = me != nullptr && me->m != nullptr && (gp == me || gp == me->m->curg);
  beginwalk(gp->stack.lo, gp->stack.hi, gp->isforeign ? 0 : uintptr(goexit) + 1);
  if (from != nullptr) {
    if (from->sp < frames.lo && from->sp >= frames.lo - guardsize(gp)) frames.lo = from->sp;  // it overflowed
    walkfrom(from);
    printframes(load_relaxed(gp->startpc));
  } else if (current) {
    _Unwind_Backtrace(onframe, nullptr);
    if (frames.n == 0) walkfrom(&gp->sched);  // it came to g0 by mcall
    printframes(load_relaxed(gp->startpc));
  } else {
    uint32 status = readgstatus(gp);
    bool held = (status == Gwaiting || status == Grunnable || status == Gsyscall || status == Gpreempted) &&
                castogscanstatus(gp, status);
    const void* object = load_relaxed(gp->waitobject);
    bool begun = !fresh(gp) || level >= 2;
    if (held) {
      if (begun) walksaved(gp, status);
      casfrom_Gscanstatus(gp, status | Gscan, status);
      // Printed when it may run again: who reads our output may be this very goroutine.
      if (object != nullptr) print("\twaiting on ", object, "\n");
      if (begun) {
        printframes(load_relaxed(gp->startpc));
      } else {
        print("\t");
        uintptr start = load_relaxed(gp->startpc);
        printpc(start, symof(start, true));
        print("\n");
      }
    } else if (m* mp = load_relaxed(gp->m); mp != nullptr) {
      print("\trunning on thread ", load_relaxed(mp->procid), ": its stack is not read\n");
    } else {
      print("\tits state is just changing: its stack is not read\n");
    }
  }
  createdby(gp);
}

void tracethread() {
  if (level == 0) return;
  print("\nthread ", gettid_(), " [running]:\n");
  beginwalk(0, ~uintptr(0), 0);
  _Unwind_Backtrace(onframe, nullptr);
  printframes(0);
}

void traceothers(g* but) {
  if (level == 0) return;
  int64 n = __atomic_load_n(&allgs.len, __ATOMIC_ACQUIRE);
  constexpr int64 most = 1000;
  int64 shown = 0, left = 0;
  for (int64 i = 0; i < n; i++) {
    g* gp = allgs.array[i];
    uint32 status = readgstatus(gp) & ~uint32(Gscan);
    if (gp == but || status == Gdead || status == Gidle || load_relaxed(gp->goid) == 0) continue;
    if (load_relaxed(gp->issystem) != 0 && !(gp->isforeign && status == Gwaiting) && level < 2) continue;
    if (shown == most) {
      left++;
      continue;
    }
    shown++;
    traceg(gp, nullptr);
  }
  if (left != 0) print("\n", shown, " of ", shown + left, " goroutines shown\n");
}

void tracehint() {
  if (level == 0 || programpath()[0] == 0) return;
  print("\nSource lines: addr2line -Cfpie ", programpath(), " 0x...   (the numbers after \"program+\")",
        demangled() ? "\n" : "; names: c++filt\n");
}

static void dodump(void* fd) {
  if (!dumpbegin(true, 1, *static_cast<int32*>(fd))) return;
  g* gp = getg() == nullptr ? nullptr : getg()->m->curg;
  if (gp != nullptr)
    traceg(gp, nullptr);
  else
    tracethread();
  traceothers(gp);
  tracehint();
  dumpend();
}

void dumpstacks(int32 fd) {
  entry();
  if (getg() == nullptr) return dodump(&fd);
  m* mp = acquirem();
  systemstack(dodump, &fd);
  releasem(mp);
}

// The listing of a deadlock.
VITRINE_NOINLINE void dumpgoroutines() {
  traceothers(nullptr);
  tracehint();
}

// ---- faults and requests
// ---------------------------------------------------------------------------------------------

// ucontext's registers as a context to walk from.
static gobuf contextof(void* ucontext) {
  auto* uc = static_cast<ucontext_t*>(ucontext);
  gobuf b{};
  b.sp = uintptr(uc->uc_mcontext.gregs[REG_RSP]);
  b.pc = uintptr(uc->uc_mcontext.gregs[REG_RIP]);
  b.bp = uintptr(uc->uc_mcontext.gregs[REG_RBP]);
  return b;
}

void tracebackfault(g* gp, void* ucontext) {
  if (!dumpbegin(false)) return;
  gobuf b = contextof(ucontext);
  traceg(gp, &b);
  if (debug.traceback_all != 0) traceothers(gp);
  tracehint();
  dumpend();
}

static void sigquit(int, siginfo_t* info, void* ucontext) {
  if (!dumpbegin(false)) _exit(2);
  gobuf b = contextof(ucontext);
  print("SIGQUIT: quit\nPC=", hex{b.pc});
  g* gp = getg();
  if (gp != nullptr) print(" m=", gp->m->id);
  print(" sigcode=", int32(info->si_code), "\n");
  g* user = gp == nullptr ? nullptr : gp == gp->m->g0 ? gp->m->curg : gp;
  if (user != nullptr) traceg(user, user == gp ? &b : nullptr);
  traceothers(user);
  tracehint();
  printto(nullptr);
  if (debug.traceback_crash != 0) abort();
  _exit(2);
}

// SIGQUIT is ours only if nobody asked for it: not a handler of the program, not nohup's SIG_IGN.
void initsigquit() {
  struct sigaction sa, old;
  if (sigaction(SIGQUIT, nullptr, &old) != 0 || (old.sa_flags & SA_SIGINFO) != 0 || old.sa_handler != SIG_DFL) return;
  memset(&sa, 0, sizeof sa);
  sa.sa_sigaction = sigquit;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&sa.sa_mask);
  sigdelset(&sa.sa_mask, SIGSEGV);
  sigdelset(&sa.sa_mask, SIGBUS);
  sigaction(SIGQUIT, &sa, nullptr);
}

}  // namespace vitrine::rt
