// fake_gc.h: fake_heap.h with a collector at rest and objects that point to each other. The 170 places of 48 bytes at the
// arena's beginning are objects of type `node` {left, right, …}, as many as a test makes; word 0 and 1 of each are its
// pointers. Globals: `head` and `tail` of type node*, `untyped` of type void*; one gc::root handle.
#pragma once
#include "fake_heap.h"

namespace vitrine::inspect {

class FakeGc : public FakeHeap {
 public:
  static constexpr std::uint64_t kGlobals = 0x390000, kPhase = 0x391000, kController = 0x392000, kWork = 0x393000,
                                 kFinalizers = 0x394000, kRoots = 0x395000, kSegments = 0x396000, kSweep = 0x397000,
                                 kHandle = 0x398000, kBlock = 0x399000;
  static constexpr std::uint64_t kHeadVar = kGlobals, kTailVar = kGlobals + 8, kUntypedVar = kGlobals + 16;
  static constexpr std::uint64_t object(std::uint64_t i) { return page(0) + 48 * i; }

  explicit FakeGc(std::uint64_t objects = 8) {
    describe_gc();
    target.map(kGlobals, 0x100).map(kPhase, 0x10).map(kController, 0x40).map(kWork, 0x100).map(kFinalizers, 0x100);
    target.map(kRoots, 0x100).map(kSegments, 0x100).map(kSweep, 0x40).map(kHandle, 0x100).map(kBlock, 0x100);
    poke(kController, std::uint32_t{100});
    poke(kController + 8, std::uint64_t{4} << 20);
    poke(kController + 16, std::uint64_t{480});
    poke(kController + 24, std::uint64_t{4} << 20);
    poke(kWork, std::uint32_t{3});
    poke(kWork + 4, std::uint32_t{1});
    for (std::uint64_t i = 0; i < 4; ++i)
      poke(kWork + 16 + 8 * i, std::int64_t{1'000'000} * static_cast<std::int64_t>(1 + i * i));
    poke(kWork + 48, std::uint64_t{9'000'000});
    poke(kSweep, g(3));
    poke(kRoots + 8, kRoots);  // head.next: an empty list
    poke(kSegments, std::uint32_t{1});
    poke(kSegments + 8, kGlobals);
    poke(kSegments + 16, kGlobals + 0x100);
    poke(span(cached) + sFreeindex, objects);
    poke(span(cached) + sCount, static_cast<std::uint16_t>(objects));
    poke(span(cached) + sCache, objects % 64 ? ~std::uint64_t{0} >> objects % 64 : ~std::uint64_t{0});
    for (std::uint64_t i = 0; i < objects; ++i) {
      for (std::uint64_t w = 0; w < 2; ++w) {
        const std::uint64_t word = 6 * i + w;
        bits_[word / 4] = static_cast<std::uint8_t>(bits_[word / 4] | 0x11u << word % 4);
        poke(kMeta + word / 4, bits_[word / 4]);
      }
    }
  }
  void left(std::uint64_t from, std::uint64_t to) { poke(object(from), object(to)); }
  void right(std::uint64_t from, std::uint64_t to) { poke(object(from) + 8, object(to)); }
  void handle(std::uint64_t to) {
    poke(kRoots + 8, kHandle);
    poke(kRoots + 24, std::uint64_t{1});
    poke(kHandle, to);
    poke(kHandle + 8, kRoots);
  }
  // The heap's objects that do not concern the test are not there.
  void only_nodes() {
    poke(span(partly) + sFreeindex, std::uint64_t{0});
    poke(bits(partly), std::uint64_t{0});
    poke(span(partly) + sCount, std::uint16_t{0});
  }

 private:
  void describe_gc() {
    auto type = [&](const char* name) { return program.types.at(name).get(); };
    Type *u64 = type("u64"), *u32 = type("u32"), *i64 = type("i64"),
         *i32 = program.add("int32", 4, Type::Kind::integer);
    Type* ptr = type("ptr");
    auto rt = [&](const std::string& name, std::uint64_t size, std::vector<Field> fields) {
      Type* t = program.add("vitrine::rt::" + name, size);
      t->fields = std::move(fields);
      return t;
    };
    rt("gcControllerState", 32,
       {{"gcPercent", 0, i32}, {"heapMinimum", 8, u64}, {"heapMarked", 16, u64}, {"heapGoal", 24, u64}});
    rt("workType", 64,
       {{"cycles", 0, u32},
        {"nforced", 4, u32},
        {"tSweepTerm", 16, i64},
        {"tMark", 24, i64},
        {"tMarkTerm", 32, i64},
        {"tEnd", 40, i64},
        {"pauseTotal", 48, i64}});
    Type* finalizer = rt("finalizer", 32, {{"fn", 0, ptr}, {"destroy", 8, ptr}, {"object", 16, ptr}, {"arg", 24, ptr}});
    Type* slots = program.add("finalizers2", 64, Type::Kind::array);
    rt("finblock", 96, {{"next", 0, ptr}, {"cnt", 8, u64}, {"fin", 16, slots}});
    rt("finalizers_", 96,
       {{"fing", 0, ptr}, {"finq", 8, ptr}, {"running", 16, finalizer}, {"queued", 48, u64}, {"run", 56, u64}});
    Type* root = rt("gcroot", 24, {{"p", 0, ptr}, {"next", 8, ptr}, {"prev", 16, ptr}});
    rt("gcroots_", 32, {{"head", 0, root}, {"n", 24, u64}});
    rt("sweepdata", 32, {{"g_", 0, ptr}, {"nbgsweep", 8, u64}, {"npausesweep", 16, u64}});
    rt("gcsegment", 16, {{"lo", 0, u64}, {"hi", 8, u64}});
    Type* segments = program.add("segments4", 64, Type::Kind::array);
    rt("gcsegments_", 72, {{"n", 0, u32}, {"at", 8, segments}});
    rt("specialfinalizer", 32, {{"special", 0, type("vitrine::rt::special")}, {"fn", 16, ptr}, {"arg", 24, ptr}});
    program.add("vitrine::rt::gcPhase", 4, Type::Kind::enumeration)->enumerators = {
        {"GCoff", 0}, {"GCmark", 1}, {"GCmarktermination", 2}};
    program.add("vitrine::rt::specialKind", 1, Type::Kind::enumeration)->enumerators = {
        {"kindSpecialFinalizer", 1}, {"kindSpecialProfile", 2}, {"kindSpecialDestructor", 3}, {"kindSpecialWeak", 4}};
    Type* node = program.add("node", 48);
    Type* to_node = program.add("node*", 8, Type::Kind::pointer);
    to_node->element = node;
    Type* managed = program.add("vitrine::gc::ptr<node>", 8);
    managed->fields = {{"p_", 0, to_node}};
    node->fields = {{"left", 0, managed}, {"right", 8, managed}, {"value", 16, u64}};
    auto variable = [&](const char* name, std::uint64_t address, const Type* t) {
      program.variables[name] = {address, t};
      program.data[address] = {name, address, 8};
    };
    variable("head", kHeadVar, to_node);
    variable("tail", kTailVar, to_node);
    variable("untyped", kUntypedVar, ptr);
    for (auto [name, at] : {std::pair("gcphase", kPhase),
                            {"gcController", kController},
                            {"work", kWork},
                            {"finalizers", kFinalizers},
                            {"gcroots", kRoots},
                            {"gcsegments", kSegments},
                            {"sweep", kSweep}})
      program.variables[std::string("vitrine::rt::") + name] = {at, nullptr};
  }
  std::map<std::uint64_t, std::uint8_t> bits_;
};

}  // namespace vitrine::inspect
