// trace.h: the shapes of the flight recorder, and the checks by which the scheduler calls it. trace.cc says how a
// record is written and read; the debugger's half is debugger/core/recorder.h.
#pragma once
#include "runtime.h"

namespace vitrine::rt {

// What a record tells; Go's trace-v2 vocabulary. g and other are goroutines (a traceG) unless it says otherwise.
enum traceEv : uint8 {
  traceEvNone = 0,
  traceEvGoCreate = 1,             // g is new; other: its function's address
  traceEvGoStart = 2,              // g runs here; nobody stopped for it
  traceEvGoStop = 3,               // g goes to a queue: it yielded, or was preempted (reason); other runs here now
  traceEvGoBlock = 4,              // g parks (reason); other runs here now
  traceEvGoDestroy = 5,            // g ends; other runs here now
  traceEvGoUnblock = 6,            // g was readied by other; 0: by the scheduler itself (a timer, a descriptor); reason
                                   // traceEarlier: later than `time`, and before the ring's next event
  traceEvGoSyscallBegin = 7,       // g; its P may be stolen from here on
  traceEvGoSyscallEnd = 8,         // g goes on
  traceEvGoSyscallEndBlocked = 9,  // g found no P, and goes to a queue
  traceEvProcStart = 10,           // this M has the P
  traceEvProcStop = 11,            // this M gives the P up; reason preempted: the signal handler, and g runs on
  traceEvProcSteal = 12,           // the P was taken from the M that is in a system call; g: nothing
  traceEvSTWBegin = 13,            // the world is stopped; other: why, a NUL-terminated text's address
  traceEvSTWEnd = 14,
  traceEvThread = 15,    // from here on the ring is that of M number g, kernel thread other
  traceEvGoStatus = 16,  // g ran here already when the recording began
  traceEvReadied =
      0x80,  // or-ed to GoStop, GoBlock, GoDestroy: g had readied other, after the ring's event before this
};

// One event: 32 bytes, so two a cache line, and none in two.
struct traceRecord {
  uint64 time;   // trace.clock's ticks
  uint64 g;      // goid | seq << traceSeqShift
  uint64 other;  // the same of the goroutine that starts, for the kinds that say so
  uint64 what;   // traceEv | reason << 8 | P's id << 16 (traceNoP: none) | tracecheck << 32
};
constexpr uint32 traceSeqShift = 44;  // below it the goid's low bits
constexpr uint32 traceNoP = 0xffff;
constexpr uint32 traceEarlier = 1;

// The ring of one M, or of the threads that are no Ms. Never freed: the next M takes over that of one that ended.
struct traceBuf {
  atomic<uint64> head;  // records ever written; the next one goes to records[head & mask]
  uint64 mask;
  traceRecord* records;
  uint64 first;  // records before this number are of an earlier recording
  uint32 gen;    // trace.enabled when it was last written to
  uint32 live;   // 0: the M whose ring it was has ended
  int64 mid;     // M's number; -1: threads that are no Ms, which write with trace.foreignlock held
  int64 tid;
  // What has happened and is not recorded yet, as it may become one record with what follows. Owner only.
  uint64 stoptime, stopg;  // a goroutine has left this M
  uint32 stopwhat;         // 0: none
  uint32 quick;            // the next goroutine to be readied gets `last` for a time
  uint64 last;             // the last time that was read
  uint64 readytime;        // a goroutine was readied, by `readier`
  uint64 readyg, readier;  // readyg 0: none
  traceBuf* alllink;       // on trace.bufs
  traceBuf* freelink;      // on trace.free
};

// The same moment on three clocks.
struct tracePoint {
  uint64 ticks;
  int64 mono, wall;  // nanotime, walltime
};

enum traceClock : uint32 { traceClockTSC = 0, traceClockMonotonic = 1 };

constexpr uint32 traceVersion = 1;
struct tracet {
  atomic<uint32> enabled{};       // 0: off; else the number of the recording
  uint32 version = traceVersion;  // of traceRecord and traceBuf
  rt::traceClock clock = traceClockTSC;
  uint32 ngen = 0;           // recordings begun; guarded by lock
  uint64 size = 0;           // bytes of each new ring; guarded by lock
  traceBuf* bufs = nullptr;  // all, by alllink; append-only
  tracePoint base{};         // when the first recording began; written before `enabled`
  tracePoint point[2]{};
  atomic<uint32> lastpoint{};  // 1 + the newest of point[]; 0: none yet
  atomic<uint32> pointing{};   // somebody writes the other one
  rt::mutex lock{};
  traceBuf* free = nullptr;     // rings whose Ms have ended; guarded by lock
  rt::mutex foreignlock{};      // guards the ring of threads that are no Ms
  traceBuf* foreign = nullptr;  // guarded by foreignlock
  atomic<uint64> dropped{};     // times that there was no memory for a ring
  uint64 reserved[4]{};
};
#pragma GCC visibility push(hidden)
alignas(64) extern tracet trace;
#pragma GCC visibility pop
constexpr uint64 traceDefaultSize = 256 << 10;
constexpr uint64 traceMinSize = 4 << 10, traceMaxSize = 1 << 30;

// All that a switch pays for while nothing records.
inline __attribute__((always_inline)) bool tracing() {
#ifdef VITRINE_SYSTEMATIC
  return false;
#else
  return __builtin_expect(trace.enabled.load(__ATOMIC_RELAXED) != 0, 0);
#endif
}

// By which a reader tells a whole record from one half written or left from the round before, or memory that was never
// written: i is the record's number.
inline uint32 tracecheck(uint64 i, const traceRecord& r) {
  uint64 x = r.time ^ (r.g << 21 | r.g >> 43) ^ (r.other << 42 | r.other >> 22) ^ uint64(uint32(r.what)) << 32;
  return uint32((x + i + 1) * 0x9e3779b97f4a7c15 >> 32);
}
void tracewrite(traceBuf* b, traceRecord r);

// The events. Each on the M that does it: on g0, or it pins itself. gp is the caller's: its status is not moved on yet.
void traceGoCreate(g* gp, uintptr pc);
void traceGoStart(g* gp);
void traceGoSched(g* gp);
void traceGoPreempt(g* gp);
void traceGoPark(g* gp, waitReason reason);
void traceGoEnd(g* gp);
void traceGoUnpark(g* gp);
void traceGoSysCall(g* gp);
void traceGoSysExit(g* gp);
void traceGoSysExitBlocked(g* gp);
void traceProcStart();
void traceProcStop(p* pp);
void traceProcLost(g* gp, p* pp);  // in the preemption signal's handler
void traceProcSteal(p* pp);
void traceSTWStart(const char* reason);
void traceSTWDone();
void traceMexit(m* mp);
void traceflush_slow(m* mp);
// Before a search that may take time: who left this M has left it now.
inline void traceflush(m* mp) {
  if (tracing()) traceflush_slow(mp);
}
void tracecalibrate();  // every now and then

void tracestart(uint64 bytes);  // what runtime::recorder::start is
void tracestop();
uint64 tracesize();
void traceinit(bool debugbuild);  // at boot: GODEBUG=flightrecorder, else whether the program is a debug build

}  // namespace vitrine::rt
