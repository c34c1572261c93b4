// Core files: what is read from where, what bad ones get, and stacks that only CFI gets right.
#include <elf.h>

#include <algorithm>

#include "elf_image.h"
#include "fixture.h"

namespace vitrine::inspect {
namespace {

struct Opened {
  std::unique_ptr<Target> target;
  std::unique_ptr<Program> program;
  std::unique_ptr<Memory> memory;
  explicit Opened(Result<std::unique_ptr<Target>> t) {
    if (!t) {
      ADD_FAILURE() << t.error().message;
      return;
    }
    target = std::move(*t);
    program = Program::open(*target);
    memory = std::make_unique<Memory>(*target);
  }
  StackWalk walk() {
    Unwinder u(*program, *memory);
    const Thread* t = current_thread(*target);
    return t ? u.walk(t->regs, true, {}) : StackWalk{};
  }
};

#define CORE_OR_SKIP(core) \
  if ((core).empty()) GTEST_SKIP() << "no core file could be made here (core_pattern, ulimit -c)"

// One core for all tests that only read it.
class Core : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new Scratch;
    path_ = make_core({LOW_TARGET, "abort"}, *dir_);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  void SetUp() override { CORE_OR_SKIP(path_); }
  static Scratch* dir_;
  static std::string path_;
};
Scratch* Core::dir_;
std::string Core::path_;

const std::vector<std::string> kChain{
    "low::fourth", "low::third::{lambda#2}", "low::third", "low::second", "low::first", "main"};

TEST_F(Core, StacksWithoutFramePointersAreWalkedRightWhereAFramePointerWalkIsWrong) {
  Opened o(open_core(path_, "", false));
  const StackWalk s = o.walk();
  EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
  EXPECT_EQ(between(functions_of(*o.program, s), "low::fourth", "main"), kChain);
  // The same from fourth's frame on by frame pointers.
  Registers regs = current_thread(*o.target)->regs, caller;
  Unwinder u(*o.program, *o.memory);
  How how;
  std::uint64_t bad;
  bool exact = true;
  while (o.program->locate(exact ? regs.r[kRip] : regs.r[kRip] - 1).back().function != "low::fourth") {
    ASSERT_TRUE(u.step(regs, exact, caller, how, bad));
    regs = caller;
    exact = how == How::signal;
  }
  std::vector<std::string> by_frame_pointer;
  for (std::uint64_t bp = regs.r[kRbp], i = 0; i < 10; i++) {
    const auto next = o.memory->get<std::uint64_t>(bp), ra = o.memory->get<std::uint64_t>(bp + 8);
    if (!next || !ra) break;
    by_frame_pointer.push_back(o.program->locate(*ra - 1).back().function);
    bp = *next;
  }
  EXPECT_EQ(std::count(by_frame_pointer.begin(), by_frame_pointer.end(), "low::second"), 0)
      << "the fixture is there to mislead a frame-pointer walk";
}

TEST_F(Core, InlinedFramesHaveTheLineOfTheirCall) {
  Opened o(open_core(path_, LOW_TARGET, false));
  const StackWalk s = o.walk();
  bool seen = false;
  for (const Frame& f : s.frames) {
    const auto& at = o.program->locate(f.lookup_pc());
    if (at.back().function != "low::second") continue;
    seen = true;
    ASSERT_EQ(at.size(), 3u);
    EXPECT_TRUE(at[0].inlined && at[1].inlined);
    EXPECT_FALSE(at[2].inlined);
    const std::string source = slurp(at[0].file);
    EXPECT_TRUE(at[0].file.ends_with("fixtures/low_target.cc")) << at[0].file;
    const auto line = [&](int n) {
      std::stringstream in(source);
      std::string text;
      for (int i = 0; i < n; i++) std::getline(in, text);
      return text;
    };
    EXPECT_TRUE(contains(line(at[0].line), "fourth(k + n)")) << at[0].line;
    EXPECT_TRUE(contains(line(at[1].line), "two(one(n))")) << at[1].line;
    EXPECT_TRUE(contains(line(at[2].line), "third(n)")) << at[2].line;
  }
  EXPECT_TRUE(seen);
}

TEST_F(Core, TheCrashedThreadIsFirstAndHasItsSignal) {
  Opened o(open_core(path_, "", false));
  const Thread* t = current_thread(*o.target);
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t, &o.target->threads()[0]);
  EXPECT_EQ(t->signal, SIGABRT);
  EXPECT_NE(t->fs_base.value_or(0), 0u);
  EXPECT_EQ(o.target->kind(), Target::Kind::core);
}

TEST_F(Core, CodeAndConstantsThatTheCoreLacksComeFromTheFiles) {
  Opened o(open_core(path_, "", false));
  const auto main =
      std::find_if(o.target->modules().begin(), o.target->modules().end(), [](auto& m) { return m.main; });
  ASSERT_NE(main, o.target->modules().end());
  EXPECT_EQ(std::filesystem::canonical(main->path), std::filesystem::canonical(LOW_TARGET));
  const std::string file = slurp(LOW_TARGET);
  auto image = read_elf_file(LOW_TARGET);
  ASSERT_TRUE(image);
  EXPECT_EQ(main->build_id, image->build_id);
  int compared = 0;
  for (const Elf64_Phdr& p : image->phdrs) {
    if (p.p_type != PT_LOAD || (p.p_flags & PF_W)) continue;
    std::vector<std::byte> bytes(p.p_filesz);
    ASSERT_TRUE(o.memory->read(main->bias + p.p_vaddr, bytes)) << p.p_vaddr;
    EXPECT_EQ(0, std::memcmp(bytes.data(), file.data() + p.p_offset, bytes.size()));
    EXPECT_NE(o.target->view(main->bias + p.p_vaddr, 16), nullptr);
    compared++;
  }
  EXPECT_GE(compared, 3);
}

TEST_F(Core, AGuardPageInsideAMappingIsAHoleAndNothingMore) {
  Opened o(open_core(path_, "", false));
  const auto guarded = o.program->variable("low::guarded");
  ASSERT_EQ(guarded.size(), 1u);
  const std::uint64_t at = o.memory->get<std::uint64_t>(guarded[0].address).value_or(0);
  std::vector<std::byte> bytes(4096);
  ASSERT_TRUE(o.memory->read(at, bytes));
  EXPECT_EQ(bytes[4095], std::byte{0x5a});
  ASSERT_TRUE(o.memory->read(at + 8192, bytes));
  EXPECT_EQ(bytes[0], std::byte{0x5a});
}

TEST_F(Core, AWrongProgramIsRefusedWithBothBuildIdsUnlessForced) {
  const auto refused = open_core(path_, LOW_TARGET_DWARF4, false);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(contains(refused.error().message, "is not the program")) << refused.error().message;
  EXPECT_TRUE(contains(refused.error().message, read_elf_file(LOW_TARGET)->build_id));
  EXPECT_TRUE(contains(refused.error().message, read_elf_file(LOW_TARGET_DWARF4)->build_id));
  Opened o(open_core(path_, LOW_TARGET_DWARF4, true));
  ASSERT_FALSE(o.target->warnings().empty());
  EXPECT_TRUE(contains(o.target->warnings()[0], "read all the same"));
  EXPECT_NE(o.program->type("low::shape"), nullptr) << "forced: the named file is used";
}

TEST_F(Core, AProgramThatIsGoneLeavesWhatTheCoreHas) {
  Scratch dir;
  const std::string program = dir / "gone";
  std::filesystem::copy_file(LOW_TARGET, program);
  const std::string core = make_core({program, "abort"}, dir);
  CORE_OR_SKIP(core);
  std::filesystem::rename(program, dir / "moved");
  Opened o(open_core(core, "", false));
  bool named = false;
  for (const std::string& w : o.target->warnings()) named |= contains(w, program);
  EXPECT_TRUE(named);
  EXPECT_NE(current_thread(*o.target), nullptr);
  EXPECT_GE(o.walk().frames.size(), 2u) << "libc's frames are still found";
  // Named by the user, or put beside the core, it is found again.
  Opened named_again(open_core(core, dir / "moved", false));
  EXPECT_EQ(between(functions_of(*named_again.program, named_again.walk()), "low::fourth", "main"), kChain);
  std::filesystem::create_directory(dir / "elsewhere");
  std::filesystem::rename(core, dir / "elsewhere/core");
  std::filesystem::copy_file(dir / "moved", dir / "elsewhere/gone");
  Opened beside(open_core(dir / "elsewhere/core", "", false));
  EXPECT_EQ(between(functions_of(*beside.program, beside.walk()), "low::fourth", "main"), kChain);
}

TEST_F(Core, ATruncatedCoreAnswersWithWhatIsThereAndSaysHowMuch) {
  Scratch dir;
  const std::uint64_t whole = std::filesystem::file_size(path_);
  auto image = read_elf_file(path_);
  ASSERT_TRUE(image);
  std::uint64_t first = ~0ull;  // where memory begins
  for (const Elf64_Phdr& p : image->phdrs)
    if (p.p_type == PT_LOAD) first = std::min(first, p.p_offset);
  for (std::uint64_t size : {whole - 1, whole * 3 / 4, whole / 2, first + 5000, first}) {
    const std::string cut = dir / ("cut" + std::to_string(size));
    std::filesystem::copy_file(path_, cut);
    std::filesystem::resize_file(cut, size);
    Opened o(open_core(cut, LOW_TARGET, false));
    ASSERT_NE(o.target, nullptr) << size;
    const std::string want =
        "the core is truncated: " + std::to_string(size) + " of " + std::to_string(whole) + " bytes";
    const auto warnings = o.target->warnings();
    EXPECT_EQ(std::count(warnings.begin(), warnings.end(), want), 1) << want;
    EXPECT_EQ(o.target->threads().size(), 1u);
    const StackWalk s = o.walk();
    EXPECT_GE(s.frames.size(), 1u);
    if (s.end == StackEnd::unreadable) {
      EXPECT_TRUE(contains(s.explain(), "0x")) << s.explain();
    }
    // Every address is answered or refused, none crashes.
    for (const Elf64_Phdr& p : image->phdrs) {
      std::vector<std::byte> bytes(std::min<std::uint64_t>(p.p_memsz, 1 << 16));
      EXPECT_LE(o.memory->read_prefix(p.p_vaddr, bytes), bytes.size());
    }
  }
  for (std::uint64_t size :
       {first / 2, std::uint64_t{200}, std::uint64_t{70}, std::uint64_t{64}, std::uint64_t{10}, std::uint64_t{3}}) {
    const std::string cut = dir / ("head" + std::to_string(size));
    std::filesystem::copy_file(path_, cut);
    std::filesystem::resize_file(cut, size);
    const auto t = open_core(cut, "", false);
    if (!t) {
      EXPECT_TRUE(t.error().message.starts_with(cut + ": ")) << t.error().message;
    }
  }
}

TEST_F(Core, DamagedHeadersNeverCrash) {
  Scratch dir;
  const std::string bytes = slurp(path_).substr(0, 64 << 10);
  std::uint32_t state = 12345;
  const auto next = [&] { return state = state * 1664525 + 1013904223; };
  for (int round = 0; round < 200; round++) {
    std::string damaged = bytes;
    for (int i = 0; i < 20; i++) damaged[next() % (i < 10 ? 2000 : damaged.size())] = static_cast<char>(next() >> 24);
    const std::string file = dir / "damaged";
    std::ofstream(file, std::ios::binary) << damaged;
    auto t = open_core(file, "", false);
    if (!t) {
      EXPECT_TRUE(contains(t.error().message, file)) << t.error().message;
      continue;
    }
    Opened o(std::move(t));
    o.walk();
    std::vector<std::byte> some(1 << 16);
    EXPECT_LE(o.memory->read_prefix(next() * 4096ull, some), some.size());
  }
}

TEST(CoreErrors, SayWhatIsWrongWithTheFile) {
  Scratch dir;
  const auto message = [](const std::string& path) {
    auto t = open_core(path, "", false);
    return t ? std::string("opened") : t.error().message;
  };
  EXPECT_EQ(message(dir / "none"), (dir / "none") + ": No such file or directory");
  std::ofstream(dir / "empty");
  EXPECT_EQ(message(dir / "empty"), (dir / "empty") + ": the file is empty");
  std::ofstream(dir / "text") << "hello, this is no core";
  EXPECT_EQ(message(dir / "text"), (dir / "text") + ": not an ELF file");
  EXPECT_EQ(message(LOW_TARGET), std::string(LOW_TARGET) + ": an ELF file, but not a core");
  EXPECT_EQ(message(dir.path()), dir.path() + ": not a regular file");
}

TEST(CoreStacks, CrossASignalHandlerToTheFaultingInstruction) {
  Scratch dir;
  const std::string core = make_core({LOW_TARGET, "handler"}, dir);
  CORE_OR_SKIP(core);
  Opened o(open_core(core, "", false));
  const StackWalk s = o.walk();
  EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
  auto names = between(functions_of(*o.program, s), "low::on_fault", "main");
  ASSERT_EQ(names.size(), 5u) << testing::PrintToString(names);
  EXPECT_EQ(names[2], "low::fault");
  EXPECT_EQ(names[3], "low::call");
  for (const Frame& f : s.frames) {
    const bool at_fault = o.program->locate(f.lookup_pc()).back().function == "low::fault";
    EXPECT_EQ(f.exact, at_fault || &f == &s.frames[0]);
    EXPECT_EQ(f.how == How::signal, at_fault);
  }
}

TEST(CoreStacks, ShowTheCallerOfANullPointer) {
  Scratch dir;
  const std::string core = make_core({LOW_TARGET, "null"}, dir);
  CORE_OR_SKIP(core);
  Opened o(open_core(core, "", false));
  const StackWalk s = o.walk();
  ASSERT_GE(s.frames.size(), 3u);
  EXPECT_EQ(s.frames[0].pc, 0u);
  EXPECT_EQ(s.frames[1].how, How::return_slot);
  EXPECT_EQ(between(functions_of(*o.program, s), "low::call", "main"), (std::vector<std::string>{"low::call", "main"}));
}

TEST(CoreStacks, AreTheSameInACoreThatGdbWrote) {
  Scratch dir;
  run_command({"gdb", "-batch", "-nx", "-ex", "run", "-ex", "generate-core-file " + (dir / "core"), "-ex", "kill",
               "--args", LOW_TARGET, "abort"},
              dir.path());
  if (access((dir / "core").c_str(), R_OK) != 0) GTEST_SKIP() << "gdb wrote no core here";
  Opened o(open_core(dir / "core", "", false));
  const StackWalk s = o.walk();
  EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
  EXPECT_EQ(between(functions_of(*o.program, s), "low::fourth", "main"), kChain);
}

}  // namespace
}  // namespace vitrine::inspect
