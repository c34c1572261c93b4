// fake_rings.h: fake_runtime.h with a flight recorder: two rings of 8 records, to which a test adds.
#pragma once
#include "fake_runtime.h"

namespace vitrine::inspect {

inline std::uint64_t rotate(std::uint64_t v, unsigned by) { return v << by | v >> (64 - by); }

// Two rings of 8 records: of M0, whose records a test adds, and of M1. Ticks are ns from 1000 on.
class FakeRings : public FakeRuntime {
 public:
  static constexpr std::uint64_t kTrace = 0x70000, kBuf = 0x71000, kRecords = 0x73000, kSlots = 8;
  enum : std::uint64_t { create = 1, start, stop, block, destroy, unblock, begin, end, procs = 10, thread = 15 };
  static constexpr std::uint64_t kReadied = 0x80;
  static std::uint64_t buf(int i) { return kBuf + 0x100 * static_cast<std::uint64_t>(i); }
  static std::uint64_t records(int i) { return kRecords + 0x1000 * static_cast<std::uint64_t>(i); }
  static std::uint64_t g(std::uint64_t goid, std::uint64_t seq) { return goid | seq << 44; }

  FakeRings() {
    auto word = [&](std::uint64_t size) {
      return program.add("trace" + std::to_string(size), size, Type::Kind::unsigned_integer);
    };
    Type *u64 = word(8), *u32 = word(4), *points = program.add("points", 48, Type::Kind::array);
    Type* point = program.add("vitrine::rt::tracePoint", 24);
    point->fields = {{"ticks", 0, u64}, {"mono", 8, u64}, {"wall", 16, u64}};
    Type* base = program.add("base", 24, Type::Kind::array);
    Type* trace = program.add("vitrine::rt::tracet", 128);
    trace->fields = {{"enabled", 0, u32},   {"version", 4, u32},    {"clock", 8, u32},
                     {"ngen", 12, u32},     {"bufs", 16, u64},      {"base", 24, base},
                     {"point", 48, points}, {"lastpoint", 96, u32}, {"dropped", 104, u64}};
    Type* buf = program.add("vitrine::rt::traceBuf", 128);
    buf->fields = {{"head", 0, u64},      {"mask", 8, u64},     {"records", 16, u64},  {"first", 24, u64},
                   {"gen", 32, u32},      {"live", 36, u32},    {"mid", 40, u64},      {"tid", 48, u64},
                   {"stoptime", 56, u64}, {"stopg", 64, u64},   {"stopwhat", 72, u32}, {"readytime", 80, u64},
                   {"readyg", 88, u64},   {"readier", 96, u64}, {"alllink", 104, u64}};
    Type* record = program.add("vitrine::rt::traceRecord", 32);
    record->fields = {{"time", 0, u64}, {"g", 8, u64}, {"other", 16, u64}, {"what", 24, u64}};
    Type* events = program.add("vitrine::rt::traceEv", 1, Type::Kind::enumeration);
    const char* const names[] = {"None",      "GoCreate",  "GoStart",        "GoStop",       "GoBlock",
                                 "GoDestroy", "GoUnblock", "GoSyscallBegin", "GoSyscallEnd", "GoSyscallEndBlocked",
                                 "ProcStart", "ProcStop",  "ProcSteal",      "STWBegin",     "STWEnd",
                                 "Thread",    "GoStatus"};
    std::int64_t n = 0;
    for (const char* name : names) events->enumerators.push_back({std::string("traceEv") + name, n++});
    events->enumerators.push_back({"traceEvReadied", 0x80});
    program.variables["vitrine::rt::trace"] = {kTrace, trace};
    target.map(kTrace, 0x1000).map(kBuf, 0x1000).map(kRecords, 0x2000);
    poke(kTrace, std::uint32_t{1});
    poke(kTrace + 4, std::uint32_t{1});
    poke(kTrace + 12, std::uint32_t{1});
    poke(kTrace + 16, FakeRings::buf(0));
    poke(kTrace + 24, std::uint64_t{1000});
    poke(kTrace + 32, std::uint64_t{59'000'000'000});
    poke(kTrace + 40, std::uint64_t{1'700'000'000'000'000'000});
    poke(kTrace + 72, std::uint64_t{2000});  // the second of the later moments
    poke(kTrace + 80, std::uint64_t{59'000'001'000});
    poke(kTrace + 96, std::uint32_t{2});
    for (int i = 0; i < 2; ++i) {
      poke(FakeRings::buf(i) + 8, kSlots - 1);
      poke(FakeRings::buf(i) + 16, records(i));
      poke(FakeRings::buf(i) + 32, std::uint32_t{1});
      poke(FakeRings::buf(i) + 36, std::uint32_t{1});
      poke(FakeRings::buf(i) + 40, std::int64_t{i});
      poke(FakeRings::buf(i) + 48, std::int64_t{100 + i});
    }
    poke(FakeRings::buf(0) + 104, FakeRings::buf(1));
  }

  // At time ns since the recording began.
  void add(int ring, std::uint64_t ns, std::uint64_t kind, std::uint64_t gw, std::uint64_t other = 0,
           std::uint64_t reason = 0, std::uint64_t p = 0) {
    const std::uint64_t number = written_[ring]++, time = 1000 + ns, what = kind | reason << 8 | p << 16;
    const std::uint64_t at = slot(ring, number), x = time ^ rotate(gw, 21) ^ rotate(other, 42) ^ what << 32;
    poke(at, time);
    poke(at + 8, gw);
    poke(at + 16, other);
    poke(at + 24, what | ((x + number + 1) * 0x9e3779b97f4a7c15 >> 32) << 32);
    poke(buf(ring), written_[ring]);
  }
  static std::uint64_t slot(int ring, std::uint64_t number) { return records(ring) + number % kSlots * 32; }
  // M0: G1 runs, readies G2, blocks, G2 runs, ends. M1: G4 makes a system call.
  void little() {
    add(0, 0, thread, 0, 100, 0, 0xffff);
    add(0, 10, start, g(1, 5));
    add(0, 20, create, g(9, 1), 0x6300);
    add(0, 30, block | kReadied, g(1, 6), g(2, 8), 1);
    add(0, 50, destroy, g(2, 9));
    add(1, 5, start, g(4, 1), 0, 0, 1);
    add(1, 25, begin, g(4, 2), 0, 0, 1);
    add(1, 45, end, g(4, 3), 0, 0, 1);
  }

 private:
  std::uint64_t written_[2] = {};
};

}  // namespace vitrine::inspect
