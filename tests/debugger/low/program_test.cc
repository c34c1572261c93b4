// Types, variables, functions and symbols, from DWARF 5, compressed DWARF 4, and debug information in a file of its
// own.
#include <algorithm>

#include "elf_image.h"
#include "fixture.h"
#include "program_names.h"

namespace vitrine::inspect {
namespace {

// A program as if loaded at its own addresses plus a bias: no process is needed to read what files say.
class FileTarget : public Target {
 public:
  explicit FileTarget(const std::string& path, std::uint64_t bias = 0x10000000) {
    auto image = read_elf_file(path);
    if (!image) {
      ADD_FAILURE() << image.error().message;
      return;
    }
    Module m;
    m.path = path;
    m.bias = bias;
    m.lo = bias + image->lowest();
    m.hi = bias + image->highest();
    m.build_id = image->build_id;
    m.main = true;
    modules_.push_back(m);
  }
  Kind kind() const override { return Kind::core; }
  std::string describe() const override { return "file"; }
  std::size_t read(std::uint64_t, std::span<std::byte>, Space) override { return 0; }
  const std::vector<Thread>& threads() override { return threads_; }
  const std::vector<Module>& modules() override { return modules_; }
  std::vector<Module> modules_;

 private:
  std::vector<Thread> threads_;
};

class Files : public testing::TestWithParam<const char*> {
 protected:
  FileTarget target_{GetParam()};
  std::unique_ptr<Program> program_ = Program::open(target_);
};
std::string file_name(const testing::TestParamInfo<const char*>& info) {
  static const char* names[] = {"Dwarf5", "CompressedDwarf4", "Apart"};
  return names[info.index];
}
INSTANTIATE_TEST_SUITE_P(Program, Files, testing::Values(LOW_TARGET, LOW_TARGET_DWARF4, LOW_TARGET_APART), file_name);

TEST_P(Files, AStructureHasItsFieldsThoseOfItsBaseAndOfItsUnnamedUnion) {
  const Type* t = program_->type("low::shape");
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t->name, "low::shape");
  EXPECT_EQ(t->kind, Type::Kind::structure);
  const auto offset = [&](const char* name) { return t->field(name) ? static_cast<int>(t->field(name)->offset) : -1; };
  EXPECT_EQ(offset("base_field"), 0);
  EXPECT_EQ(offset("in"), 8);
  EXPECT_EQ(offset("next"), 24);
  EXPECT_EQ(offset("u_int"), offset("u_float"));
  EXPECT_GT(offset("u_int"), offset("grid"));
  EXPECT_EQ(t->field("instance"), nullptr) << "a static member has no place in the object";
  EXPECT_EQ(t->field("nonsense"), nullptr);
}

TEST_P(Files, TypedefsAndQualifiersArePeeled) {
  const Type* t = program_->type("low::shape");
  ASSERT_NE(t, nullptr);
  const Type* next = t->field("next")->type;
  EXPECT_EQ(next->kind, Type::Kind::pointer);
  EXPECT_EQ(next->size, 8u);
  ASSERT_NE(next->element, nullptr);
  EXPECT_EQ(next->element->name, "low::inner");
  EXPECT_EQ(t->field("self")->type->element, t) << "a cycle closes";
  EXPECT_EQ(t->field("w")->type->kind, Type::Kind::unsigned_integer);
  EXPECT_EQ(t->field("flag")->type->kind, Type::Kind::boolean);
  EXPECT_EQ(t->field("u_float")->type->kind, Type::Kind::floating);
  EXPECT_EQ(program_->type("low::word")->size, 8u);
}

TEST_P(Files, EnumerationsHaveTheirEnumeratorsWithTheirSigns) {
  const Type* c = program_->type("low::colour");
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->kind, Type::Kind::enumeration);
  EXPECT_EQ(c->size, 1u);
  ASSERT_EQ(c->enumerators.size(), 3u);
  EXPECT_EQ(c->enumerators[2].name, "blue");
  EXPECT_EQ(c->enumerators[2].value, 200);
  const Type* s = program_->type("low::sign");
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(s->enumerators.at(0).value, -3);
}

TEST_P(Files, ArraysNest) {
  const Type* a = program_->type("low::shape")->field("grid")->type;
  ASSERT_EQ(a->kind, Type::Kind::array);
  EXPECT_EQ(a->count, 3u);
  EXPECT_EQ(a->size, 48u);
  ASSERT_NE(a->element, nullptr);
  EXPECT_EQ(a->element->count, 4u);
  EXPECT_EQ(a->element->element->kind, Type::Kind::integer);
}

TEST_P(Files, ATypeInsideAClassIsFoundByItsQualifiedName) {
  const Type* n = program_->type("low::shape::nested");
  ASSERT_NE(n, nullptr);
  EXPECT_EQ(n->name, "low::shape::nested");
  EXPECT_NE(n->field("x"), nullptr);
}

TEST_P(Files, ADeclarationIsResolvedToTheDefinitionInAnotherUnit) {
  const Type* hidden = program_->type("low::shape")->field("hidden")->type;
  ASSERT_NE(hidden->element, nullptr);
  EXPECT_EQ(hidden->element->name, "low::opaque");
  EXPECT_NE(hidden->element->field("revealed"), nullptr);
}

TEST_P(Files, VariablesAreFoundWhereverTheyWereDefined) {
  const std::uint64_t bias = target_.modules_[0].bias;
  const auto global = program_->variable("low::global_shape");  // declared in a header, defined in the namespace
  ASSERT_EQ(global.size(), 1u);
  EXPECT_EQ(global[0].type, program_->type("low::shape"));
  if (const std::uint64_t symbol = program_->symbol("_ZN3low12global_shapeE")) {
    EXPECT_EQ(global[0].address, symbol);
  }
  EXPECT_GT(global[0].address, bias);
  const auto instance = program_->variable("low::shape::instance");  // a static member
  ASSERT_EQ(instance.size(), 1u);
  EXPECT_EQ(instance[0].type->kind, Type::Kind::pointer);
  EXPECT_EQ(program_->variable("low::constant").size(), 1u);
  EXPECT_TRUE(program_->variable("low::nonsense").empty());
  EXPECT_TRUE(program_->variable("global_shape").empty()) << "names are qualified";
}

TEST_P(Files, WhatIsNotThereIsNull) {
  EXPECT_EQ(program_->type("low::nonsense"), nullptr);
  EXPECT_EQ(program_->type("shape"), nullptr);
  EXPECT_EQ(program_->type(""), nullptr);
  EXPECT_EQ(program_->type("::"), nullptr);
  EXPECT_EQ(program_->symbol("nonsense"), 0u);
}

TEST_P(Files, AFunctionIsNamedAndHasItsStart) {
  EXPECT_TRUE(program_->has_debug_info());
  const std::uint64_t first = program_->symbol("_ZN3low5firstEi");
  if (!first) GTEST_SKIP() << "no symbol table in this build";
  const auto& at = program_->locate(first + 4);
  ASSERT_EQ(at.size(), 1u);
  EXPECT_EQ(at[0].function, "low::first");
  EXPECT_GT(at[0].line, 0);
  EXPECT_EQ(program_->function_start(first + 4), first);
  EXPECT_EQ(program_->language(first), "c++");
  EXPECT_EQ(&program_->locate(first + 4), &at) << "answers are kept";
}

TEST_P(Files, APcOutsideOfTheProgramIsUnknownAndNoMore) {
  for (std::uint64_t pc : {0ull, 1ull, 0x42ull, ~0ull}) {
    const auto& at = program_->locate(pc);
    ASSERT_EQ(at.size(), 1u);
    EXPECT_EQ(at[0].function, "");
    EXPECT_EQ(program_->function_start(pc), 0u);
    EXPECT_EQ(program_->cfi(pc), nullptr);
    EXPECT_EQ(program_->language(pc), "");
  }
}

// The whole text, PLT included: nothing crashes, and every row makes sense.
TEST_P(Files, EveryInstructionHasARowThatCanBeFollowedOrNone) {
  auto image = read_elf_file(GetParam());
  ASSERT_TRUE(image);
  int rows = 0, slow = 0;
  for (const Elf64_Phdr& p : image->phdrs) {
    if (p.p_type != PT_LOAD || !(p.p_flags & PF_X)) continue;
    for (std::uint64_t at = 0; at < p.p_memsz; at++) {
      const CfiRow* r = program_->cfi(target_.modules_[0].bias + p.p_vaddr + at);
      if (!r) continue;
      rows++;
      slow += r->complex_rules;
      EXPECT_TRUE(r->end || r->cfa != CfiRow::Cfa::none);
      if (!r->end && !r->complex_rules) {
        EXPECT_EQ(r->offset[kRip], -8);
      }
    }
  }
  EXPECT_GT(rows, 500);
  EXPECT_GT(slow, 0) << "the PLT's rows are expressions";
  EXPECT_LT(slow, rows / 2);
}

TEST_P(Files, TheBuildIdIsFoundAsANote) {
  const auto notes = program_->notes("GNU", NT_GNU_BUILD_ID);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(to_hex(notes[0].desc), target_.modules_[0].build_id);
  EXPECT_GT(notes[0].address, target_.modules_[0].bias);
  EXPECT_TRUE(program_->notes("Vitrine", 12345).empty());
}

TEST(Program, AFileThatIsNotTheOneLoadedIsNotUsedAndNamed) {
  FileTarget target(LOW_TARGET);
  target.modules_[0].build_id = "00112233";
  auto program = Program::open(target);
  EXPECT_EQ(program->type("low::shape"), nullptr);
  EXPECT_FALSE(program->has_debug_info());
  ASSERT_EQ(program->warnings().size(), 1u);
  EXPECT_TRUE(contains(program->warnings()[0], "00112233")) << program->warnings()[0];
  EXPECT_TRUE(contains(program->warnings()[0], LOW_TARGET));
}

TEST(Program, AModuleWithoutAFileIsAWarning) {
  FileTarget target(LOW_TARGET);
  target.modules_[0].path = "/nowhere/at/all";
  auto program = Program::open(target);
  EXPECT_EQ(program->symbol("main"), 0u);
  EXPECT_EQ(program->cfi(target.modules_[0].lo + 0x1100), nullptr);
  ASSERT_EQ(program->warnings().size(), 1u);
  EXPECT_EQ(program->warnings()[0], "/nowhere/at/all: No such file or directory");
}

TEST(Program, StrippedOfItsDebugInformationAProgramStillHasItsCfi) {
  Scratch dir;
  std::filesystem::copy_file(LOW_TARGET_APART, dir / "alone");  // the .debug file stays behind
  FileTarget target(dir / "alone"), whole(LOW_TARGET_APART);
  auto program = Program::open(target), with = Program::open(whole);
  EXPECT_FALSE(program->has_debug_info());
  EXPECT_TRUE(with->has_debug_info());
  const std::uint64_t first = with->symbol("_ZN3low5firstEi");
  ASSERT_NE(first, 0u) << "the debug file has the symbols";
  EXPECT_NE(program->cfi(first + 4), nullptr);
  EXPECT_EQ(program->locate(first + 4).size(), 1u);
}

TEST(Program, ADebugFileOfAnotherBuildIsNotTaken) {
  Scratch dir;
  const std::string base = std::filesystem::path(LOW_TARGET_APART).filename().string();
  std::filesystem::copy_file(LOW_TARGET_APART, dir / base);
  std::filesystem::copy_file(LOW_TARGET, dir / (base + ".debug"));
  FileTarget target(dir / base);
  EXPECT_FALSE(Program::open(target)->has_debug_info());
  std::filesystem::remove(dir / (base + ".debug"));
  std::filesystem::create_directory(dir / ".debug");
  std::filesystem::copy_file(std::string(LOW_TARGET_APART) + ".debug", dir / (".debug/" + base + ".debug"));
  FileTarget again(dir / base);
  EXPECT_TRUE(Program::open(again)->has_debug_info()) << "in .debug/ beside it";
}

// libdebuginfod takes a file: URL for a server.
TEST(Program, ADebuginfodServerIsAskedIfTheUserWantsIt) {
  Scratch dir;
  std::filesystem::copy_file(LOW_TARGET_APART, dir / "alone");
  FileTarget target(dir / "alone");
  const std::string id = build_id_text(target.modules()[0].build_id);
  std::filesystem::create_directories(dir / ("server/buildid/" + id));
  std::filesystem::copy_file(std::string(LOW_TARGET_APART) + ".debug", dir / ("server/buildid/" + id + "/debuginfo"));
  setenv("DEBUGINFOD_URLS", ("file://" + (dir / "server")).c_str(), 1);
  setenv("DEBUGINFOD_CACHE_PATH", (dir / "cache").c_str(), 1);
  EXPECT_FALSE(Program::open(target)->has_debug_info()) << "unasked";
  setenv("VITRINE_DEBUGINFOD", "1", 1);
  EXPECT_TRUE(Program::open(target)->has_debug_info());
  for (const char* name : {"DEBUGINFOD_URLS", "DEBUGINFOD_CACHE_PATH", "VITRINE_DEBUGINFOD"}) unsetenv(name);
}

}  // namespace
}  // namespace vitrine::inspect
