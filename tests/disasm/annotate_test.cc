// What the annotator makes of code: of switches that no runtime has (switches.S), of single instructions, of rubbish.
// The types are made up here; nothing of a program's DWARF is read.
#include "disasm/annotate.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <map>
#include <random>

extern "C" const char other_switch[], other_switch_end[], wrong_switch[], wrong_switch_end[];

namespace vitrine::disasm {
namespace {

struct Shape {
  std::string name;
  struct Part {
    std::string name;
    std::uint64_t offset;
    const Shape* to;
  };
  std::vector<Part> parts;
};

const Shape* fiber() {
  static Shape shape{"fiber", {}};
  if (shape.parts.empty())
    shape.parts = {{"flags", 0, nullptr},
                   {"frame", 8, nullptr},
                   {"resume", 16, nullptr},
                   {"next", 24, &shape},
                   {"stack", 32, nullptr}};
  return &shape;
}

// Bytes of this process or of a vector; types of the shapes above.
class Made : public Facts {
 public:
  Made() {
    context_.type = fiber();
    context_.name = "fiber";
    context_.sp = {"stack", 32};
    context_.pc = {"resume", 16};
    context_.bp = {"frame", 8};
  }
  std::vector<std::byte> bytes;  // at 0x1000; empty: this process
  std::map<Reg, Typed> arguments;
  std::map<std::uint64_t, CfiFacts> rows;
  bool has_context = true;

  std::size_t code(std::uint64_t address, std::span<std::byte> out) override {
    if (bytes.empty()) {
      std::memcpy(out.data(), reinterpret_cast<const void*>(address), out.size());
      return out.size();
    }
    if (address < 0x1000 || address - 0x1000 >= bytes.size()) return 0;
    const std::size_t n = std::min(out.size(), bytes.size() - (address - 0x1000));
    std::memcpy(out.data(), bytes.data() + (address - 0x1000), n);
    return n;
  }
  std::optional<Typed> at_entry(Reg r) override {
    auto found = arguments.find(r);
    return found == arguments.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<Typed> thread_local_slot(std::int64_t at) override {
    return at == -16 ? std::optional(Typed{"fiber", fiber(), "", {}}) : std::nullopt;
  }
  std::optional<Member> member(TypeId type, std::uint64_t at) override {
    const Shape* shape = static_cast<const Shape*>(type);
    for (const Shape::Part& p : shape->parts) {
      if (at < p.offset || at >= p.offset + 8) continue;
      Member m;
      m.steps.push_back({shape, p.name, p.offset});
      m.rest = at - p.offset;
      m.size = 8;
      m.pointee = p.to;
      return m;
    }
    return std::nullopt;
  }
  std::optional<std::uint64_t> context_in(TypeId type) override {
    return type == fiber() ? std::optional<std::uint64_t>(0) : std::nullopt;
  }
  const ContextFacts* context() override { return has_context ? &context_ : nullptr; }
  std::optional<CfiFacts> cfi(std::uint64_t pc) override {
    auto found = rows.find(pc);
    return found == rows.end() ? std::nullopt : std::optional(found->second);
  }
  ContextFacts context_;
};

Routine routine(Made& facts, const char* from, const char* to) {
  facts.arguments[Reg::rsi] = {"save", fiber(), "", {}};
  facts.arguments[Reg::r9] = {"load", fiber(), "", {}};
  return annotate(facts, "r", reinterpret_cast<std::uint64_t>(from), static_cast<std::uint64_t>(to - from));
}

std::string all(const Routine& r) {
  std::string out;
  for (const Note& n : r.notes) {
    if (!n.heading.empty()) out += "-- " + n.heading + "\n";
    out += n.insn.text + " | " + n.says + "\n";
  }
  return out;
}

std::string all(const std::vector<Fact>& facts) {
  std::string out;
  for (const Fact& f : facts) out += f.what + " " + f.where + "; ";
  return out;
}

std::string all(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& t : texts) out += t + "\n";
  return out;
}

// One instruction, after `before` others, with rdi = x (fiber*).
std::string says(std::initializer_list<int> bytes, std::size_t which = 0) {
  Made facts;
  for (int b : bytes) facts.bytes.push_back(static_cast<std::byte>(b));
  facts.arguments[Reg::rdi] = {"x", fiber(), "", {}};
  Routine r = annotate(facts, "r", 0x1000, facts.bytes.size());
  return which < r.notes.size() ? r.notes[which].says : "no such instruction";
}

TEST(Annotate, AnAddressWithoutANameIsSaidOnce) {
  // mov eax, 0x4f9400; mov [rdi+24], rax / lea rax, [rip+0x1000]; mov [rdi+24], rax
  EXPECT_EQ(says({0xb8, 0x00, 0x94, 0x4f, 0x00, 0x48, 0x89, 0x47, 0x18}, 1), "x->next ← rax = 0x4f9400");
  EXPECT_EQ(says({0x48, 0x8d, 0x05, 0x00, 0x10, 0x00, 0x00, 0x48, 0x89, 0x47, 0x18}, 1), "x->next ← 0x2007");
}

TEST(Annotate, ASwitchWithOtherFieldsRegistersAndOrderIsUnderstood) {
  Made facts;
  Routine r = routine(facts, other_switch, other_switch_end);
  const std::string text = all(r);
  for (const char* line :
       {"| [CFA-0x10] ← the caller's r14", "| save->frame ← the caller's rbp", "| r10 ← load",
        "| save->resume ← the address of +0x", "| save->stack ← SP (CFA-0x20)", "| current fiber ← load->next",
        "| r11 ← load->resume", "| rax ← load->stack", "| SP ← load->stack: now on that stack",
        "| jumps to load->resume", "saved in save->resume: a saved context goes on here, SP = CFA-0x20",
        "| rbp ← the caller's rbp, saved at [CFA-0x20]", "| r14 ← the caller's r14, saved at [CFA-0x10]", "| returns\n",
        "-- on the stack saved in load\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  EXPECT_EQ(all(r.summary.agree), "stack\nresume\nframe\n");
  EXPECT_EQ(all(r.summary.differences), "");
  EXPECT_EQ(all(r.summary.saved),
            "the caller's rbp save->frame; the address of +0x3a save->resume; SP (CFA-0x20) "
            "save->stack; the caller's rbp saved SP+0x0; the caller's rbx saved SP+0x8; the "
            "caller's r14 saved SP+0x10; the return address saved SP+0x18; ")
      << text;
  ASSERT_EQ(r.summary.switches.size(), 1u);
  EXPECT_EQ(r.summary.switches[0].where, "load->stack");
}

TEST(Annotate, AnotherThreadLocalWordIsNotWhatRuns) {
  Made facts;
  for (int b : {0x64, 0xc7, 0x04, 0x25, 0xe0, 0xff, 0xff, 0xff, 12,   0,   0, 0,  // mov dword fs:[-0x20], 12
                0x64, 0x48, 0x89, 0x3c, 0x25, 0xf0, 0xff, 0xff, 0xff, 0xc3})      // mov fs:[-0x10], rdi; ret
    facts.bytes.push_back(static_cast<std::byte>(b));
  facts.arguments[Reg::rdi] = {"x", fiber(), "", {}};
  EXPECT_EQ(all(annotate(facts, "r", 0x1000, facts.bytes.size()).summary.current), "current fiber x; ");
}

TEST(Annotate, AStackPointerFromTheWrongFieldAndCrossedSlotsAreTold) {
  Made facts;
  Routine r = routine(facts, wrong_switch, wrong_switch_end);
  const std::string differences = all(r.summary.differences);
  EXPECT_NE(
      differences.find("the stack pointer is loaded from load->frame, offset +0x8 of fiber; DWARF has stack at +0x20"),
      std::string::npos)
      << differences;
  EXPECT_NE(differences.find("rbx goes back as the caller's rbp"), std::string::npos) << differences;
  EXPECT_NE(differences.find("rbp goes back as the caller's rbx"), std::string::npos) << differences;
}

TEST(Annotate, ADifferentOffsetInDwarfIsTold) {
  Made facts;
  facts.context_.pc->offset = 24;
  facts.context_.pc->field = "next";
  Routine r = routine(facts, other_switch, other_switch_end);
  const std::string differences = all(r.summary.differences);
  EXPECT_NE(
      differences.find("the resume address is saved to save->resume, offset +0x10 of fiber; DWARF has next at +0x18"),
      std::string::npos)
      << differences;
}

TEST(Annotate, RowsOfCfiAreComparedWithWhereTheRegistersAre) {
  // push rbx; mov rbp, rax; pop rbx; ret
  Made facts;
  for (int b : {0x53, 0x48, 0x89, 0xc5, 0x5b, 0xc3}) facts.bytes.push_back(static_cast<std::byte>(b));
  CfiFacts row;
  row.has_cfa = true;
  row.cfa_reg = Reg::rsp;
  row.cfa_offset = 8;
  row.same = bit(Reg::rbx) | bit(Reg::rbp);
  facts.rows[0x1000] = row;
  facts.rows[0x1001] = row;  // SP has moved
  row.cfa_offset = 16;
  row.same = 0;
  row.rules = {{Reg::rbx, false, Reg::none, -16}, {Reg::r12, false, Reg::none, -24}};
  facts.rows[0x1004] = row;  // right about rbx, not about r12
  Routine r = annotate(facts, "r", 0x1000, facts.bytes.size());
  EXPECT_EQ(r.summary.cfi_rows, 3u);
  EXPECT_EQ(all(r.summary.differences),
            "+0x1: CFI has the CFA at rsp+0x8; by the code it is at rsp+0x10\n"
            "+0x4: CFI has the caller's r12 at CFA-0x18; the code has put nothing there\n");
}

TEST(Annotate, WhatAFunctionMayPutIntoAStructureIsNoSavedContext) {
  // lea rax, [rsp-8]; mov [rdi+24], rax; mov [rdi], rsp; ret: an address of its frame, stored where it likes
  Made facts;
  for (int b : {0x48, 0x8d, 0x44, 0x24, 0xf8, 0x48, 0x89, 0x47, 0x18, 0x48, 0x89, 0x27, 0xc3})
    facts.bytes.push_back(static_cast<std::byte>(b));
  facts.arguments[Reg::rdi] = {"x", fiber(), "", {}};
  EXPECT_EQ(all(annotate(facts, "r", 0x1000, facts.bytes.size()).summary.differences), "");
}

TEST(Annotate, CapstonesErrorsAreSetRight) {
  Decoder decoder;
  auto decode = [&](std::initializer_list<int> bytes) {
    std::vector<std::byte> code;
    for (int b : bytes) code.push_back(static_cast<std::byte>(b));
    return decoder.decode(code, 0x1000);
  };
  Instruction lea = decode({0x48, 0x8d, 0x47, 0x10});  // lea rax, [rdi+16]
  ASSERT_EQ(lea.operands.size(), 2u);
  EXPECT_FALSE(lea.operands[1].read) << "lea reads no memory";
  Instruction save = decode({0x0f, 0xae, 0x1c, 0x24});  // stmxcsr [rsp]
  EXPECT_TRUE(save.writes_memory);
  EXPECT_TRUE(save.operands[0].write && !save.operands[0].read);
  EXPECT_EQ(decode({0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff}).text, "mov rax, fs:[-8]");
  EXPECT_EQ(decode({0x64, 0x48, 0x8b, 0x04, 0x25, 0xe0, 0xff, 0xff, 0xff}).text, "mov rax, fs:[-0x20]");
  Instruction fs = decode({0x64, 0x48, 0x8b, 0x04, 0x25, 0xf0, 0xff, 0xff, 0xff});  // mov rax, fs:[-16]
  EXPECT_EQ(fs.operands[1].segment, Operand::Segment::fs);
  EXPECT_EQ(fs.operands[1].disp, -16);
  EXPECT_EQ(decode({0xcd, 0x03}).op, Op::trap);
  EXPECT_FALSE(decode({0x06}).known);
  EXPECT_EQ(decode({0x06}).text, ".byte 0x06");
}

TEST(Annotate, OneInstructionInWords) {
  EXPECT_EQ(says({0x48, 0x8b, 0x47, 0x10}), "rax ← x->resume");
  EXPECT_EQ(says({0x48, 0x8d, 0x47, 0x10}), "rax ← &x->resume");
  EXPECT_EQ(says({0x48, 0xc7, 0x47, 0x18, 0, 0, 0, 0}), "x->next ← 0");
  EXPECT_EQ(says({0x64, 0x48, 0x8b, 0x04, 0x25, 0xf0, 0xff, 0xff, 0xff}), "rax ← current fiber");
  EXPECT_EQ(says({0x64, 0x48, 0x8b, 0x04, 0x25, 0xe0, 0xff, 0xff, 0xff}), "rax ← fs:-0x20") << "another slot";
  EXPECT_EQ(says({0x48, 0x83, 0xec, 0x18}), "makes room for 24 bytes");
  EXPECT_EQ(says({0x31, 0xed}), "rbp ← 0: the chain of frames ends here");
  EXPECT_EQ(says({0xc3}), "returns");
  EXPECT_EQ(says({0x48, 0x8b, 0x47, 0x60}), "rax ← *(x+0x60)") << "past its end: no name is made up";
  EXPECT_EQ(says({0x0f, 0x58, 0xc1}), "") << "addps: plain disassembly";
  // mov rax, [rdi+24]; mov rcx, [rax+8]: through a pointer in a field
  EXPECT_EQ(says({0x48, 0x8b, 0x47, 0x18, 0x48, 0x8b, 0x48, 0x08}, 1), "rcx ← x->next->frame");
  // push rdi; mov rdi, 0; mov rax, [rsp]: through a stack slot
  EXPECT_EQ(says({0x57, 0xbf, 0, 0, 0, 0, 0x48, 0x8b, 0x04, 0x24, 0x48, 0x8b, 0x00}, 3), "rax ← x->flags");
  // imul rdi, rdi, 3; mov rax, [rdi]: what is not followed has no name
  EXPECT_EQ(says({0x48, 0x6b, 0xff, 0x03, 0x48, 0x8b, 0x07}, 1), "");
}

TEST(Annotate, StatesThatMeetKeepOnlyWhatTheyAgreeOn) {
  // test rsi, rsi; je +3; mov rdi, rsi; mov rax, [rdi]; mov rcx, [r9]
  Made facts;
  for (int b : {0x48, 0x85, 0xf6, 0x74, 0x03, 0x48, 0x89, 0xf7, 0x48, 0x8b, 0x07, 0x49, 0x8b, 0x09})
    facts.bytes.push_back(static_cast<std::byte>(b));
  facts.arguments[Reg::rdi] = {"x", fiber(), "", {}};
  facts.arguments[Reg::r9] = {"y", fiber(), "", {}};
  Routine r = annotate(facts, "r", 0x1000, facts.bytes.size());
  EXPECT_EQ(r.notes[3].says, "") << all(r);
  EXPECT_EQ(r.notes[4].says, "rcx ← y->flags") << all(r);
}

TEST(Annotate, RubbishTakesBoundedTimeAndHarmsNothing) {
  std::mt19937_64 random(20240817);
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < 400; ++round) {
    Made facts;
    const std::size_t n = random() % 300 + 1;
    for (std::size_t i = 0; i < n; ++i) facts.bytes.push_back(static_cast<std::byte>(random()));
    if (round % 4 == 0) {  // short jumps everywhere
      for (std::size_t i = 0; i + 1 < n; i += 2) facts.bytes[i] = static_cast<std::byte>(0x70 + random() % 16);
    }
    if (round % 4 == 1) {  // stack moves, with stores and loads between
      for (std::size_t i = 0; i + 3 < n; i += 4) {
        facts.bytes[i] = std::byte{0x48};
        facts.bytes[i + 1] = random() % 2 ? std::byte{0x89} : std::byte{0x8b};
      }
    }
    for (int i = 0; i < kRegs; i += 3) facts.arguments[static_cast<Reg>(i)] = {"x", fiber(), "", {}};
    Routine r = annotate(facts, "r", 0x1000, n);
    std::size_t bytes = 0;
    for (const Note& note : r.notes) bytes += note.insn.size;
    ASSERT_LE(bytes, n) << "round " << round;
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(std::chrono::duration_cast<std::chrono::seconds>(took).count(), 60);
}

TEST(Annotate, CodeThatIsCutOrLongIsSaid) {
  Made facts;
  facts.bytes.assign(10, std::byte{0x90});
  EXPECT_NE(annotate(facts, "r", 0x1000, 20).cut.find("cannot be read from 0x100a"), std::string::npos);
  EXPECT_EQ(annotate(facts, "r", 0x5000, 20).notes.size(), 0u);
  facts.bytes.assign(kMaxInstructions + 10, std::byte{0x90});
  EXPECT_NE(annotate(facts, "r", 0x1000, facts.bytes.size()).cut, "");
}

}  // namespace
}  // namespace vitrine::disasm
