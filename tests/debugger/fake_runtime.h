// fake_runtime.h: a small runtime made of bytes, for tests of the upper half of the inspection core: types as DWARF
// would describe them (with offsets that are not the real runtime's), goroutines with stacks of chained frames, one M
// on one thread, one P. A test changes what it wants through poke() and puts it into a Session.
//
//   G1 running on M0 (thread 100), user frame main_loop     G2 waiting: chan receive, named "reader", made by G1
//   G3 waiting: sleep, system                               G4 runnable, same stack as G2 but for its status
//   G5 dead
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fake_target.h"
#include "program.h"
#include "session.h"

namespace vitrine::inspect {

class FakeProgram : public Program {
 public:
  struct Function {
    std::uint64_t lo, hi;
    std::string name, file;
    int line;
    bool end = false;
    std::string inlined = {};  // a function that is inlined into it everywhere
  };
  std::vector<Function> functions;
  std::map<std::string, std::unique_ptr<Type>> types;
  std::map<std::string, Variable> variables;
  std::vector<Note> notes_;
  std::set<std::uint64_t> located;
  std::map<std::uint64_t, Symbol> data;  // global variables by address

  Type* add(const std::string& name, std::uint64_t size, Type::Kind kind = Type::Kind::structure) {
    auto& t = types[name];
    t = std::make_unique<Type>();
    t->name = name;
    t->size = size;
    t->kind = kind;
    return t.get();
  }
  const Type* type(std::string_view name) override {
    auto it = types.find(std::string(name));
    return it == types.end() ? nullptr : it->second.get();
  }
  std::map<std::uint64_t, const Type*> described;  // as Go's DWARF says of them
  const Type* described_type(std::uint64_t offset) override {
    auto it = described.find(offset);
    return it == described.end() ? nullptr : it->second;
  }
  std::vector<Variable> variable(std::string_view name) override {
    auto it = variables.find(std::string(name));
    return it == variables.end() ? std::vector<Variable>{} : std::vector<Variable>{it->second};
  }
  std::uint64_t symbol(std::string_view) override { return 0; }
  Symbol data_symbol(std::uint64_t addr) override {
    auto it = data.upper_bound(addr);
    if (it == data.begin() || addr - std::prev(it)->first >= std::prev(it)->second.size) return {};
    return std::prev(it)->second;
  }
  std::vector<Note> notes(std::string_view owner, std::uint32_t type) override {
    return owner == "Vitrine" && type == 1 ? notes_ : std::vector<Note>{};
  }
  const std::vector<Location>& locate(std::uint64_t pc) override {
    located.insert(pc);
    auto [it, fresh] = locations_.try_emplace(pc);
    if (!fresh) return it->second;
    for (const Function& f : functions) {
      if (pc < f.lo || pc >= f.hi) continue;
      if (!f.inlined.empty()) it->second.push_back({f.inlined, "/src/app.cc", 7, true});
      it->second.push_back({f.name, f.file, f.line + static_cast<int>((pc - f.lo) / 16), false});
    }
    if (it->second.empty()) it->second.push_back({});
    return it->second;
  }
  std::uint64_t function_start(std::uint64_t pc) override {
    for (const Function& f : functions) {
      if (pc >= f.lo && pc < f.hi) return f.lo;
    }
    return 0;
  }
  const CfiRow* cfi(std::uint64_t pc) override {
    for (const Function& f : functions) {
      if (pc >= f.lo && pc < f.hi) return f.end ? &end_row_ : &row_;
    }
    return nullptr;
  }
  bool unwind_slow(std::uint64_t, const Registers&, Memory&, Registers&, std::uint64_t*) override { return false; }
  bool has_debug_info() const override { return true; }
  std::vector<std::string> warnings() const override { return {}; }
  std::string language(std::uint64_t) override { return "c++"; }

  FakeProgram() {
    row_.cfa = CfiRow::Cfa::reg_offset;
    row_.cfa_reg = kRbp;
    row_.cfa_offset = 16;
    row_.saved = 1u << kRbp;
    row_.offset[kRbp] = -16;
    row_.offset[16] = -8;
    end_row_ = row_;
    end_row_.end = true;
  }

 private:
  CfiRow row_, end_row_;
  std::map<std::uint64_t, std::vector<Location>> locations_;
};

class FakeRuntime {
 public:
  static constexpr std::uint64_t kAllgs = 0x10000, kSched = 0x11000, kAllm = 0x12000, kAllp = 0x13000,
                                 kReasons = 0x14000, kArray = 0x20000, kPArray = 0x21000, kM = 0x30000, kP = 0x31000,
                                 kG = 0x100000, kGSize = 256, kStack = 0x1000000, kStackStep = 0x10000,
                                 kStackSize = 0x8000, kG0Stack = 0x2000000;
  // Offsets in g.
  enum : std::uint64_t {
    gGoid = 0,
    gLo = 8,
    gHi = 16,
    gStatus = 24,
    gReason = 28,
    gSystem = 29,
    gSp = 32,
    gPc = 40,
    gBp = 48,
    gM = 56,
    gSince = 64,
    gGopc = 72,
    gStart = 80,
    gParent = 88,
    gObject = 96,
    gName = 104,
  };
  static constexpr std::uint32_t kIdle = 0, kRunnable = 1, kRunning = 2, kSyscall = 3, kWaiting = 4, kDead = 6;

  std::unique_ptr<FakeTarget> owned = std::make_unique<FakeTarget>();
  FakeTarget& target = *owned;
  std::unique_ptr<FakeProgram> owned_program = std::make_unique<FakeProgram>();
  FakeProgram& program = *owned_program;

  FakeRuntime() {
    describe_types();
    program.functions = {
        {0x5000, 0x5100, "vitrine::rt::mcall", "/rt/asm.S", 40},
        {0x5100, 0x5200, "vitrine::rt::gopark", "/rt/proc.cc", 100},
        {0x5200, 0x5300, "vitrine::chan<int>::recv", "/rt/chan.h", 30},
        {0x5300, 0x5400, "vitrine::rt::goexit", "/rt/asm.S", 90, true},
        {0x6000, 0x6100, "worker", "/src/app.cc", 10},
        {0x6100, 0x6200, "reader", "/src/app.cc", 30},
        {0x6200, 0x6300, "main_loop", "/src/app.cc", 50},
        {0x6300, 0x6400, "entry", "/src/app.cc", 70},
        {0x6400, 0x6500, "vitrine::rt::gostart", "/rt/call.h", 5},
    };
    target.map(kAllgs, 0x1000).map(kSched, 0x1000).map(kAllm, 0x1000).map(kAllp, 0x1000).map(kReasons, 0x1000);
    target.map(kArray, 0x1000).map(kPArray, 0x1000).map(kM, 0x1000).map(kP, 0x1000).map(kG, 0x2000);
    target.map(kG0Stack, 0x2000);
    poke(kSched, std::int64_t{60'000'000'000});
    poke(kAllgs, kArray);
    poke(kAllp, kPArray);
    poke(kAllp + 8, std::uint64_t{1});
    poke(kPArray, kP);
    poke(kP + 4, std::uint32_t{1});
    poke(kP + 8, kM);
    poke(kAllm, kM);
    poke(kM + 8, std::int64_t{100});  // procid
    poke(kM + 16, g(1));              // curg
    poke(kM + 24, g(0));              // g0
    poke(kM + 32, kP);
    poke(kM + 56, std::uint64_t{0xf5000});  // tls[0]
    poke(g(0) + gLo, kG0Stack);
    poke(g(0) + gHi, kG0Stack + 0x2000);
    static const char* const kTexts[] = {"", "chan receive", "sleep"};
    std::uint64_t text = kReasons + 0x200;
    for (std::uint64_t i = 0; i < 3; ++i) {
      std::string s = kTexts[i];
      poke(kReasons + i * 16, text);
      poke(kReasons + i * 16 + 8, std::uint64_t{s.size()});
      target.text(text, s.c_str());
      text += 64;
    }
    goroutine(1, kRunning, {0x6210, 0x6420, 0x5301});
    poke(g(1) + gM, kM);
    goroutine(2, kWaiting, {0x5010, 0x5110, 0x5220, 0x6130, 0x6420, 0x5301});
    poke(g(2) + gReason, std::uint8_t{1});
    poke(g(2) + gSince, std::int64_t{48'000'000'000});
    poke(g(2) + gParent, std::uint64_t{1});
    poke(g(2) + gObject, std::uint64_t{0xc0de00});
    target.text(g(2) + gName, "reader");
    goroutine(3, kWaiting, {0x5010, 0x5110, 0x6420, 0x5301});
    poke(g(3) + gReason, std::uint8_t{2});
    poke(g(3) + gSystem, std::uint8_t{1});
    goroutine(4, kRunnable, {0x5010, 0x5110, 0x5220, 0x6130, 0x6420, 0x5301});
    goroutine(5, kDead, {0x5010, 0x5301});
    Thread t;
    t.tid = 100;
    t.current = true;
    t.fs_base = 0xf5000;
    t.regs.set(kRip, 0x6210);
    t.regs.set(kRsp, sp_[1]);
    t.regs.set(kRbp, bp_[1]);
    target.threads_ = {t};
    target.modules_ = {Module{"/src/app", 0, 0x1000, 0x10000, "", true}};
  }

  static std::uint64_t g(std::uint64_t goid) { return kG + goid * kGSize; }
  template <class T>
  void poke(std::uint64_t addr, T value) {
    target.put(addr, value);
  }
  void count(std::uint64_t n) { poke(kAllgs + 8, n); }
  std::uint64_t sp(std::uint64_t goid) const { return sp_.at(goid); }

  // A goroutine with these pcs, innermost first, each frame 64 bytes above the last.
  void goroutine(std::uint64_t goid, std::uint32_t status, const std::vector<std::uint64_t>& pcs) {
    std::uint64_t lo = kStack + goid * kStackStep, hi = lo + kStackSize;
    if (goid >= 0x20) return;
    target.map(lo, kStackSize);
    std::uint64_t bp = hi - 16 - 64 * (pcs.size() - 1), sp = bp - 32;
    poke(g(goid) + gGoid, goid);
    poke(g(goid) + gLo, lo);
    poke(g(goid) + gHi, hi);
    poke(g(goid) + gStatus, status);
    poke(g(goid) + gSp, sp);
    poke(g(goid) + gPc, pcs[0]);
    poke(g(goid) + gBp, bp);
    poke(g(goid) + gGopc, std::uint64_t{0x6221});
    poke(g(goid) + gStart, std::uint64_t{0x6300});
    sp_[goid] = sp;
    bp_[goid] = bp;
    for (std::size_t i = 1; i < pcs.size(); ++i, bp += 64) {
      poke(bp, bp + 64);
      poke(bp + 8, pcs[i]);
    }
    poke(kArray + 8 * (goid - 1), g(goid));
    if (goid > n_) n_ = goid;
    count(n_);
  }

  // Gives target and program away; the runtime can still be poked through `target`.
  std::unique_ptr<Session> session() {
    auto s = std::make_unique<Session>();
    s->set_target(std::move(owned), 1);
    s->use_program(std::move(owned_program));
    return s;
  }

 private:
  void describe_types() {
    auto word = [&](const char* name, std::uint64_t size, Type::Kind kind = Type::Kind::unsigned_integer) {
      return program.add(name, size, kind);
    };
    Type *u64 = word("u64", 8), *u32 = word("u32", 4), *u8 = word("u8", 1), *i64 = word("i64", 8, Type::Kind::integer);
    Type* ptr = word("ptr", 8, Type::Kind::pointer);
    Type* chars = word("chars", 32, Type::Kind::array);
    Type* words6 = word("words6", 48, Type::Kind::array);
    Type* atomic32 = program.add("vitrine::rt::atomic<u32>", 4);
    atomic32->fields = {{"value", 0, u32}};
    Type* atomic64 = program.add("vitrine::rt::atomic<i64>", 8);
    atomic64->fields = {{"value", 0, i64}};
    Type* stack = program.add("vitrine::rt::stack", 16);
    stack->fields = {{"lo", 0, u64}, {"hi", 8, u64}};
    Type* gobuf = program.add("vitrine::rt::gobuf", 24);
    gobuf->fields = {{"sp", 0, u64}, {"pc", 8, u64}, {"bp", 16, u64}};
    Type* gt = program.add("vitrine::rt::g", kGSize);
    gt->fields = {{"goid", gGoid, u64},
                  {"stack", gLo, stack},
                  {"atomicstatus", gStatus, atomic32},
                  {"waitreason", gReason, u8},
                  {"issystem", gSystem, u8},
                  {"sched", gSp, gobuf},
                  {"m", gM, ptr},
                  {"waitsince", gSince, i64},
                  {"gopc", gGopc, u64},
                  {"startpc", gStart, u64},
                  {"parentGoid", gParent, u64},
                  {"waitobject", gObject, ptr},
                  {"name", gName, chars}};
    Type* mt = program.add("vitrine::rt::m", 256);
    mt->fields = {{"id", 0, i64}, {"procid", 8, i64},   {"curg", 16, ptr},  {"g0", 24, ptr},
                  {"p", 32, ptr}, {"alllink", 40, ptr}, {"nextp", 48, ptr}, {"tls", 56, words6}};
    Type* pt = program.add("vitrine::rt::p", 64);
    pt->fields = {{"id", 0, u32}, {"status", 4, u32}, {"m", 8, ptr}};
    Type* sched = program.add("vitrine::rt::schedt", 64);
    sched->fields = {{"lastnow", 0, atomic64}};
    Type* slice = program.add("vitrine::rt::slice<g*>", 24);
    slice->fields = {{"array", 0, ptr}, {"len", 8, i64}, {"cap", 16, i64}};
    Type* string = program.add("vitrine::rt::string", 16);
    string->fields = {{"str", 0, ptr}, {"len", 8, i64}};
    Type* reasons = program.add("reasons", 48, Type::Kind::array);
    reasons->element = string;
    reasons->count = 3;
    Type* status = program.add("vitrine::rt::gstatus", 4, Type::Kind::enumeration);
    status->enumerators = {{"Gidle", 0},    {"Grunnable", 1}, {"Grunning", 2},  {"Gsyscall", 3},
                           {"Gwaiting", 4}, {"Gdead", 6},     {"Gscan", 0x1000}};
    auto variable = [&](const char* name, std::uint64_t address, const Type* type) {
      program.variables[std::string("vitrine::rt::") + name] = {address, type};
    };
    variable("allgs", kAllgs, slice);
    variable("allm", kAllm, ptr);
    variable("allp", kAllp, slice);
    variable("sched", kSched, sched);
    variable("waitReasonStrings", kReasons, reasons);
  }

  std::uint64_t n_ = 0;
  std::map<std::uint64_t, std::uint64_t> sp_, bp_;
};

// Collects what a command says.
class Collected : public Sink {
 public:
  std::string text, errors;
  void out(std::string_view t) override { text += t; }
  void err(std::string_view m) override { errors += std::string(m) + "\n"; }
};

}  // namespace vitrine::inspect
