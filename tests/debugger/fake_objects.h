// fake_objects.h: what goroutines wait on, made of bytes, on top of fake_runtime.h: the structures with offsets of
// their own, a channel of ints with values in its buffer, queues of sudogs, mutexes. Everything lies in one region.
#pragma once
#include "fake_runtime.h"

namespace vitrine::inspect {

class FakeObjects : public FakeRuntime {
 public:
  static constexpr std::uint64_t kBase = 0x4000000, kChan = kBase, kElemType = kBase + 0x100, kTypeName = kBase + 0x140,
                                 kRing = kBase + 0x200, kElems = kBase + 0x400, kMutexes = kBase + 0x800,
                                 kOthers = kBase + 0xc00, kSudogs = kBase + 0x1000, kReasonTexts = kBase + 0x8000;
  static constexpr std::uint64_t kChanSize = 120, kSudogSize = 72, kMutexSize = 40;
  // Wait reasons of this runtime.
  enum : std::uint8_t {
    rNone,
    rReceive,
    rSleep,
    rSend,
    rMutex,
    rSelect,
    rTask,
    rOnce,
    rWaitGroup,
    rRead,
    rWrite,
    rSemaphore,
    rCond,
    rCount
  };

  FakeObjects() {
    target.map(kBase, 0x10000);
    poke(g(2) + gObject, std::uint64_t{0});
    describe();
    static const char* const kTexts[] = {"",
                                         "chan receive",
                                         "sleep",
                                         "chan send",
                                         "sync.Mutex.Lock",
                                         "select",
                                         "task join",
                                         "sync.Once.Do",
                                         "sync.WaitGroup.Wait",
                                         "sync.RWMutex.RLock",
                                         "sync.RWMutex.Lock",
                                         "semaphore",
                                         "sync.Cond.Wait"};
    std::uint64_t text = kReasonTexts + 0x400;
    for (std::uint64_t i = 0; i < rCount; ++i, text += 64) {
      std::string s = kTexts[i];
      poke(kReasonTexts + i * 16, text);
      poke(kReasonTexts + i * 16 + 8, std::uint64_t{s.size()});
      target.text(text, s.c_str());
    }
    poke(kElemType, std::uint64_t{4});
    poke(kElemType + 8, kTypeName);
    poke(kElemType + 16, std::uint64_t{3});
    target.text(kTypeName, "int");
    // 3 of 4: 11 in place 3, then 12 and 13 in places 0 and 1.
    channel(kChan, 3, 4, 3);
    poke(kRing + 12, std::int32_t{11});
    poke(kRing, std::int32_t{12});
    poke(kRing + 4, std::int32_t{-13});
  }

  void channel(std::uint64_t at, std::uint64_t count, std::uint64_t places, std::uint64_t recvx) {
    poke(at, count);
    poke(at + 8, places);
    poke(at + 16, kRing);
    poke(at + 24, std::uint64_t{4});
    poke(at + 36, std::int32_t{2});  // refs
    poke(at + 40, kElemType);
    poke(at + 48, places ? (recvx + count) % places : 0);
    poke(at + 56, recvx);
  }
  static std::uint64_t sudog(std::uint64_t n) { return kSudogs + n * kSudogSize; }
  static std::uint64_t mutex(std::uint64_t n) { return kMutexes + n * kMutexSize; }

  // Appends sudog n of goroutine goid to the queue whose first is at `first` and last behind it.
  void enqueue(std::uint64_t first, std::uint64_t n, std::uint64_t goid, std::uint64_t elem = 0) {
    std::uint64_t last = word(first + 8);
    poke(sudog(n), g(goid));
    poke(sudog(n) + 16, last);
    poke(sudog(n) + 24, elem);
    if (last) {
      poke(last + 8, sudog(n));
    } else {
      poke(first, sudog(n));
    }
    poke(first + 8, sudog(n));
    put_word(first + 8, sudog(n));
  }
  void waits(std::uint64_t goid, std::uint8_t reason, std::uint64_t object) {
    goroutine(goid, kWaiting, {0x5010, 0x5110, 0x5220, 0x6130, 0x6420, 0x5301});
    poke(g(goid) + gReason, reason);
    poke(g(goid) + gSince, std::int64_t{48'000'000'000});
    poke(g(goid) + gObject, object);
  }
  // Locked by `owner`; a waiter for it is goroutine `goid`, with sudog `goid`.
  void lock(std::uint64_t n, std::uint64_t owner) {
    poke(mutex(n), std::uint32_t{1});
    poke(mutex(n) + 8, owner);
  }
  void wait_for(std::uint64_t n, std::uint64_t goid) {
    poke(mutex(n), std::uint32_t{5});
    waits(goid, rMutex, mutex(n));
    enqueue(mutex(n) + 16, goid, goid);
    poke(g(goid) + gWaiting, sudog(goid));
  }
  static constexpr std::uint64_t gWaiting = 160, gForeign = 168;
  static constexpr std::uint64_t chanRecvq = 64, chanSendq = 80;

 private:
  std::uint64_t word(std::uint64_t addr) { return words_[addr]; }
  void put_word(std::uint64_t addr, std::uint64_t v) { words_[addr] = v; }

  void describe() {
    const Type *u64 = program.type("u64"), *u32 = program.type("u32"), *u8 = program.type("u8"),
               *ptr = program.type("ptr");
    Type* queue = program.add("vitrine::rt::waitq", 16);
    queue->fields = {{"first", 0, ptr}, {"last", 8, ptr}};
    Type* gt = program.types["vitrine::rt::g"].get();
    gt->fields.push_back({"waiting", gWaiting, ptr});
    gt->fields.push_back({"isforeign", gForeign, u8});
    program.add("vitrine::rt::sudog", kSudogSize)->fields = {
        {"g", 0, ptr},        {"next", 8, ptr},    {"prev", 16, ptr},     {"elem", 24, ptr},
        {"isSelect", 32, u8}, {"success", 33, u8}, {"waitlink", 40, ptr}, {"c", 48, ptr}};
    program.add("vitrine::rt::hchan", kChanSize)->fields = {
        {"qcount", 0, u64},          {"dataqsiz", 8, u64},        {"buf", 16, ptr},
        {"elemsize", 24, u64},       {"closed", 32, u32},         {"refs", 36, u32},
        {"elemtype", 40, ptr},       {"sendx", 48, u64},          {"recvx", 56, u64},
        {"recvq", chanRecvq, queue}, {"sendq", chanSendq, queue}, {"lock", 96, u32}};
    Type* string = program.types["vitrine::rt::string"].get();
    program.add("vitrine::rt::chantype", 32)->fields = {{"size", 0, u64}, {"name", 8, string}};
    program.add("vitrine::rt::syncMutex", kMutexSize)->fields = {
        {"state", 0, u32}, {"lock", 4, u32}, {"owner", 8, u64}, {"waitq", 16, queue}};
    Type* mutex = program.types["vitrine::rt::syncMutex"].get();
    program.add("vitrine::rt::syncRWMutex", 56 + kMutexSize)->fields = {{"state", 0, u64},    {"lock", 8, u32},
                                                                        {"readq", 16, queue}, {"writeq", 32, queue},
                                                                        {"owner", 48, u64},   {"writers", 56, mutex}};
    program.add("vitrine::rt::syncCond", 24)->fields = {{"lock", 0, u32}, {"waitq", 8, queue}};
    program.add("vitrine::rt::syncOnce", 48)->fields = {
        {"done", 0, u32}, {"lock", 4, u32}, {"waitq", 8, queue}, {"running", 24, u32}, {"runner", 32, u64}};
    program.add("vitrine::rt::syncSema", 40)->fields = {{"count", 0, u64}, {"lock", 8, u32}, {"waitq", 16, queue}};
    program.add("vitrine::rt::syncWaitGroup", 40)->fields = {{"state", 0, u64}, {"lock", 8, u32}, {"waitq", 16, queue}};
    program.add("vitrine::rt::taskState", 40)->fields = {
        {"done", 0, u32}, {"lock", 4, u32}, {"waitq", 8, queue}, {"goid", 24, u64}};
    Type* bits = program.add("vitrine::rt::syncMutexState", 4, Type::Kind::enumeration);
    bits->enumerators = {{"mutexLocked", 1}, {"mutexWoken", 2}, {"mutexWaiters", 4}};
    bits = program.add("vitrine::rt::syncRWMutexState", 8, Type::Kind::enumeration);
    bits->enumerators = {{"rwWriter", 1}, {"rwReaderShift", 32}};
    Type* reasons = program.add("reasons", 16 * rCount, Type::Kind::array);
    reasons->element = string;
    reasons->count = rCount;
    program.variables["vitrine::rt::waitReasonStrings"] = {kReasonTexts, reasons};
  }

  std::map<std::uint64_t, std::uint64_t> words_;  // the queues' lasts as they were put
};

}  // namespace vitrine::inspect
