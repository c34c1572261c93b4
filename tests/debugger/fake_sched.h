// fake_sched.h: fake_runtime.h with queues, lists, timers and counters, at rest and in order: what info sched and its
// kin show, and what -check must find wrong when one field is changed.
//
//   P0 running on M0 with G1; runnext G4, ring G6 G7       P1 idle, on the list
//   M0 (thread 100)    M1 (thread 101) idle, on the list
//   global queue G8 G9; G5 and G10 dead: G5 on P0's free list, G10 on the global one
//   timers: P0 has three, of G2 (sleep), a channel, and a function; P1 none
//   descriptors: fd 5, G2 waits to read; fd 6, an event is ready
#pragma once
#include "fake_runtime.h"

namespace vitrine::inspect {

class FakeSched : public FakeRuntime {
 public:
  static constexpr std::uint64_t kM1 = 0x30400, kP1 = 0x32000, kBig = 0x40000, kTimer = 0x60000, kHeap = 0x61000,
                                 kMask = 0x62000, kPolls = 0x63000, kPoll = 0x64000, kProcs = 0x65000,
                                 kG0Second = 0x66000, kChannel = 0x67000;
  // Offsets that FakeRuntime does not have. p: 0 id, 4 status, 8 m.
  enum : std::uint64_t {
    gLink = 136,
    gNoproc = 144,
    gForeign = 145,
    gTid = 152,
    gLockedm = 160,
    mSpinning = 104,
    mBlocked = 105,
    mLockedg = 112,
    mOldp = 120,
    mLink = 128,
    mLocks = 136,
    mSignal = 144,
    pLink = 16,
    pHead = 24,
    pTail = 28,
    pNext = 32,
    pRing = 40,  // 4 slots
    pFree = 72,
    pFreeN = 80,
    pTimersLock = 84,
    pHeap = 88,  // array, len
    pLen = 104,
    pZombies = 108,
    pMin = 112,
    pTick = 120,
    sLock = 8,
    sMidle = 16,
    sNmidle = 24,
    sPidle = 32,
    sNpidle = 40,
    sNmspinning = 44,
    sHead = 48,
    sTail = 56,
    sSize = 64,
    sFreeLock = 68,
    sFreeStack = 72,
    sFreeNone = 80,
    sFreeN = 88,
    sWaiting = 92,
    sNgsys = 96,
    sNforeign = 100,
    sMnext = 104,
    sNmfreed = 112,
    sStart = 120,
    sExiting = 128,
    tWhen = 0,
    tPeriod = 8,
    tF = 16,
    tArg = 24,
    tPp = 32,
    tIndex = 40,
    tKind = 48,
    tZombie = 52,
    tGoid = 56,
  };
  static constexpr std::uint64_t timer(std::uint64_t n) { return kTimer + 64 * n; }

  FakeSched() {
    describe();
    target.map(kMask, 64).map(kTimer, 0x1000).map(kHeap, 0x1000).map(kPolls, 64).map(kPoll, 0x1000).map(kProcs, 64);
    target.map(kP1, 0x1000).map(kG0Second, 0x1000).map(kSched, 0x1000).map(kM, 0x1000);
    // What FakeRuntime wrote and the larger maps wiped.
    poke(kSched, std::int64_t{60'000'000'000});
    poke(kM + 8, std::int64_t{100});
    poke(kM + 16, g(1));
    poke(kM + 24, g(0));
    poke(kM + 32, kP);
    poke(kM + 56, std::uint64_t{0xf5000});
    poke(kM + 40, kM1);
    poke(g(0) + gM, kM);
    poke(kM1, std::int64_t{1});
    poke(kM1 + 8, std::int64_t{101});
    poke(kM1 + 24, kG0Second);
    poke(kM1 + 56, std::uint64_t{0xf6000});
    poke(kM1 + mBlocked, std::uint8_t{1});
    poke(kG0Second + gM, kM1);
    poke(kProcs, std::int32_t{2});
    poke(kAllp + 8, std::uint64_t{2});
    poke(kPArray + 8, kP1);
    poke(kP1, std::uint32_t{1});
    poke(kMask, std::uint32_t{2});
    for (std::uint64_t i = 6; i <= 9; ++i) goroutine(i, kRunnable, {0x5010, 0x5110, 0x6130, 0x6420, 0x5301});
    goroutine(10, kDead, {0x5010, 0x5301});
    poke(kP + pHead, std::uint32_t{7});
    poke(kP + pTail, std::uint32_t{9});
    poke(kP + pNext, g(4));
    ring(7, g(6));
    ring(8, g(7));
    poke(kP + pFree, g(5));
    poke(kP + pFreeN, std::int32_t{1});
    poke(kSched + sFreeNone, g(10));
    poke(kSched + sFreeN, std::int32_t{1});
    poke(kSched + sMidle, kM1);
    poke(kSched + sNmidle, std::int32_t{1});
    poke(kSched + sPidle, kP1);
    poke(kSched + sNpidle, std::int32_t{1});
    poke(kSched + sHead, g(8));
    poke(g(8) + gLink, g(9));
    poke(kSched + sTail, g(9));
    poke(kSched + sSize, std::int32_t{2});
    poke(kSched + sNgsys, std::int32_t{1});
    poke(kSched + sMnext, std::int64_t{2});
    poke(kSched + sStart, std::int64_t{20'000'000'000});
    poke(kP + pHeap, kHeap);
    poke(kP + pHeap + 8, std::int64_t{3});
    poke(kP + pLen, std::uint32_t{3});
    poke(kP + pMin, std::int64_t{61'000'000'000});
    set_timer(0, 61'000'000'000, 0, g(2), 0);
    set_timer(1, 59'000'000'000, 3, kChannel, 5'000'000'000);
    set_timer(2, 90'000'000'000, 2, 0xabc0, 0);
    poke(kHeap + 8, std::int64_t{61'000'000'000});
    set_timer(1, 65'000'000'000, 3, kChannel, 5'000'000'000);
    Thread t;
    t.tid = 101;
    t.fs_base = 0xf6000;
    target.threads_.push_back(t);
    program.functions.push_back({0x7000, 0x7100, "vitrine::rt::runqsteal", "/rt/proc.cc", 300});
    program.functions.push_back({0x7100, 0x7200, "vitrine::rt::execute", "/rt/proc.cc", 320});
    program.functions.push_back({0x7200, 0x7300, "vitrine::rt::notetsleep", "/rt/note.cc", 340});
    program.functions.push_back({0x7300, 0x7400, "vitrine::rt::schedule", "/rt/proc.cc", 360});
    program.functions.push_back({0x7400, 0x7500, "vitrine::rt::startm", "/rt/proc.cc", 380});
    program.functions.push_back({0x7500, 0x7600, "vitrine::rt::newproc1", "/rt/proc.cc", 400});
    program.functions.push_back({0x7600, 0x7700, "vitrine::rt::mstart1", "/rt/proc.cc", 420});
    program.functions.push_back({0x7700, 0x7800, "vitrine::rt::sysmon", "/rt/proc.cc", 440});
    program.functions.push_back({0x7800, 0x7900, "vitrine::rt::retake", "/rt/proc.cc", 460});
    program.functions.push_back({0x7900, 0x7a00, "vitrine::rt::usleep_", "/rt/proc.cc", 480});
    poke(kPolls, kPoll);
    poke(kPoll, kPoll + 0x100);
    poke(kPoll + 8, std::int32_t{5});
    poke(kPoll + 12, std::uint8_t{1});
    poke(kPoll + 16, g(2));
    poke(kPoll + 32, std::int64_t{63'000'000'000});
    poke(kPoll + 0x100 + 8, std::int32_t{6});
    poke(kPoll + 0x100 + 12, std::uint8_t{1});
    poke(kPoll + 0x100 + 24, std::uint64_t{1});
    poke(kPoll + 0x100 + 40, std::int64_t{-1});
    stand(1, {0x7210, 0x7310});
  }

  void ring(std::uint64_t at, std::uint64_t g) { poke(kP + pRing + 8 * (at % 4), g); }
  void set_timer(std::uint64_t n, std::int64_t when, std::uint32_t kind, std::uint64_t arg, std::int64_t period) {
    poke(kHeap + 16 * n, timer(n));
    poke(kHeap + 16 * n + 8, when);
    poke(timer(n) + tWhen, when);
    poke(timer(n) + tPeriod, period);
    poke(timer(n) + tF, std::uint64_t{0x6100});
    poke(timer(n) + tArg, arg);
    poke(timer(n) + tPp, kP);
    poke(timer(n) + tIndex, static_cast<std::int64_t>(n));
    poke(timer(n) + tKind, kind);
    poke(timer(n) + tGoid, std::uint64_t{1});
  }
  // Puts thread n on a stack of its own with these pcs, innermost first.
  void stand(std::size_t n, const std::vector<std::uint64_t>& pcs) {
    std::uint64_t lo = 0x3000000 + n * 0x10000, hi = lo + 0x8000;
    target.map(lo, 0x8000);
    std::uint64_t bp = hi - 16 - 64 * pcs.size(), sp = bp - 32;
    Thread& t = target.threads_[n];
    t.regs = {};
    t.regs.set(kRip, pcs[0]);
    t.regs.set(kRsp, sp);
    t.regs.set(kRbp, bp);
    for (std::size_t i = 1; i <= pcs.size(); ++i, bp += 64) {
      poke(bp, bp + 64);
      poke(bp + 8, i < pcs.size() ? pcs[i] : 0x5301ull);
    }
  }

 private:
  void describe() {
    auto type = [&](const char* name) { return program.types.at(name).get(); };
    Type *u64 = type("u64"), *u32 = type("u32"), *u8 = type("u8"), *i64 = type("i64"), *ptr = type("ptr");
    Type* i32 = program.add("i32", 4, Type::Kind::integer);
    Type* slots = program.add("slots", 32, Type::Kind::array);
    Type* heap = program.add("heap", 16);
    heap->fields = {{"array", 0, ptr}, {"len", 8, i64}};
    Type* timers = program.add("vitrine::rt::timers", 40);
    timers->fields = {
        {"lock", 0, u32}, {"heap", 4, heap}, {"len", 20, u32}, {"zombies", 24, u32}, {"minWhen", 28, i64}};
    Type* gfree = program.add("gfree", 16);
    gfree->fields = {{"list", 0, ptr}, {"n", 8, i32}};
    Type* queue = program.add("gqueue", 16);
    queue->fields = {{"head", 0, ptr}, {"tail", 8, ptr}};
    Type* schedfree = program.add("schedfree", 32);
    schedfree->fields = {{"lock", 0, u32}, {"stack", 4, ptr}, {"noStack", 12, ptr}, {"n", 20, i32}};
    auto more = [&](const char* name, std::vector<Field> fields, std::uint64_t size) {
      Type* t = type(name);
      t->fields.insert(t->fields.end(), fields.begin(), fields.end());
      t->size = size;
    };
    more("vitrine::rt::g",
         {{"schedlink", gLink, ptr},
          {"noproc", gNoproc, u8},
          {"isforeign", gForeign, u8},
          {"foreigntid", gTid, i64},
          {"lockedm", gLockedm, ptr}},
         kGSize);
    more("vitrine::rt::m",
         {{"spinning", mSpinning, u8},
          {"blocked", mBlocked, u8},
          {"lockedg", mLockedg, ptr},
          {"oldp", mOldp, ptr},
          {"schedlink", mLink, ptr},
          {"locks", mLocks, i32},
          {"gsignal", mSignal, ptr}},
         256);
    more("vitrine::rt::p",
         {{"link", pLink, ptr},
          {"runqhead", pHead, u32},
          {"runqtail", pTail, u32},
          {"runnext", pNext, ptr},
          {"runq", pRing, slots},
          {"gFree", pFree, gfree},
          {"timers", pTimersLock, timers},
          {"schedtick", pTick, u32}},
         256);
    more("vitrine::rt::schedt",
         {{"lock", sLock, u32},
          {"midle", sMidle, ptr},
          {"nmidle", sNmidle, i32},
          {"pidle", sPidle, ptr},
          {"npidle", sNpidle, i32},
          {"nmspinning", sNmspinning, i32},
          {"runq", sHead, queue},
          {"runqsize", sSize, i32},
          {"gFree", sFreeLock, schedfree},
          {"gcwaiting", sWaiting, u32},
          {"ngsys", sNgsys, i32},
          {"nforeignparked", sNforeign, i32},
          {"mnext", sMnext, i64},
          {"nmfreed", sNmfreed, i64},
          {"starttime", sStart, i64},
          {"exiting", sExiting, u32}},
         256);
    program.add("vitrine::rt::timer", 64)->fields = {
        {"when", tWhen, i64}, {"period", tPeriod, i64}, {"f", tF, ptr},
        {"arg", tArg, ptr},   {"pp", tPp, ptr},         {"index", tIndex, i64},
        {"kind", tKind, u32}, {"zombie", tZombie, u32}, {"goid", tGoid, u64}};
    program.add("vitrine::rt::timerWhen", 16)->fields = {{"timer", 0, ptr}, {"when", 8, i64}};
    program.add("vitrine::rt::pollDesc", 64)->fields = {{"alllink", 0, ptr}, {"fd", 8, i32},  {"open", 12, u8},
                                                        {"closing", 13, u8}, {"rg", 16, u64}, {"wg", 24, u64},
                                                        {"rd", 32, i64},     {"wd", 40, i64}};
    Type* status = program.add("vitrine::rt::pstatus", 4, Type::Kind::enumeration);
    status->enumerators = {{"Pidle", 0}, {"Prunning", 1}, {"Psyscall", 2}, {"Pgcstop", 3}, {"Pdead", 4}};
    Type* kind = program.add("vitrine::rt::timerKind", 4, Type::Kind::enumeration);
    kind->enumerators = {
        {"timerSleep", 0}, {"timerSelect", 1}, {"timerFunc", 2}, {"timerChan", 3}, {"timerDeadline", 4}};
    auto variable = [&](const char* name, std::uint64_t address, const Type* t) {
      program.variables[std::string("vitrine::rt::") + name] = {address, t};
    };
    variable("idlepMask", kMask, u32);
    variable("allpolldescs", kPolls, ptr);
    variable("gomaxprocs", kProcs, i32);
  }
};

}  // namespace vitrine::inspect
