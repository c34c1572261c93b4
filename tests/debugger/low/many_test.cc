// All stacks of a real program at once: exactly those that it built, where a frame-pointer walk gets them wrong.
#include <algorithm>
#include <mutex>
#include <set>

#include "corewriter.h"
#include "fixture.h"

namespace vitrine::inspect {
namespace {

std::uint64_t number_after(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

std::uint64_t offset_of(const Type* t, std::initializer_list<const char*> path) {
  std::uint64_t offset = 0;
  for (const char* name : path) {
    const Field* f = t ? t->field(name) : nullptr;
    if (!f) {
      ADD_FAILURE() << "no field " << name;
      return 0;
    }
    offset += f->offset;
    t = f->type;
  }
  return offset;
}

// The contexts of the goroutines that wait.
std::vector<Unwinder::Context> contexts_of(Program& program, Memory& memory) {
  std::vector<Unwinder::Context> out;
  const Type* g = program.type("vitrine::rt::g");
  const auto allgs = program.variable("vitrine::rt::allgs");
  if (!g || allgs.size() != 1) {
    ADD_FAILURE() << "no runtime in this program";
    return out;
  }
  const std::uint64_t array = memory.get<std::uint64_t>(allgs[0].address).value_or(0);
  const std::uint64_t len = memory.get<std::uint64_t>(allgs[0].address + 8).value_or(0);
  for (std::uint64_t i = 0; i < len; i++) {
    const std::uint64_t gp = memory.get<std::uint64_t>(array + 8 * i).value_or(0);
    const auto word = [&](std::initializer_list<const char*> path) {
      return memory.get<std::uint64_t>(gp + offset_of(g, path)).value_or(0);
    };
    if ((word({"atomicstatus"}) & 0xfff) != 4) continue;
    out.push_back({word({"sched", "pc"}),
                   word({"sched", "sp"}),
                   word({"sched", "bp"}),
                   {word({"stack", "lo"}), word({"stack", "hi"})}});
  }
  return out;
}

struct Found {
  std::set<std::vector<std::uint64_t>> stacks;
  std::size_t count = 0, broken = 0;
};

Found walk_all(Program& program, Memory& memory) {
  Found found;
  std::mutex mutex;
  Unwinder u(program, memory);
  EXPECT_TRUE(u.walk_many(contexts_of(program, memory),
                          [&](std::size_t, const std::uint64_t* pcs, std::size_t n, StackEnd end, std::uint64_t) {
                            std::lock_guard lock(mutex);
                            found.stacks.emplace(pcs, pcs + n);
                            found.count++;
                            found.broken += end != StackEnd::bottom;
                          },
                          {}));
  return found;
}

TEST(ManyStacks, OfACoreAreExactlyThoseThatWereBuilt) {
  Scratch dir;
  std::string output;
  const std::string core = make_core({MANYSTACKS, "3000"}, dir, &output);
  if (core.empty()) GTEST_SKIP() << "no core file could be made here (core_pattern, ulimit -c)";
  auto target = open_core(core, "", false);
  ASSERT_TRUE(target) << target.error().message;
  auto program = Program::open(**target);
  Memory memory(**target);
  const Found found = walk_all(*program, memory);
  EXPECT_EQ(found.count, number_after(output, "\"goroutines\":")) << output;
  EXPECT_EQ(found.stacks.size(), number_after(output, "\"stacks\":")) << output;
  EXPECT_GT(found.stacks.size(), 2500u);
  EXPECT_EQ(found.broken, 0u);
  for (const auto& s : found.stacks) ASSERT_EQ(program->locate(s.back()).back().function, "vitrine::rt::goexit");

  // By frame pointers alone the same stacks come out wrong: the fixture has none.
  std::set<std::vector<std::uint64_t>> by_frame_pointer;
  for (const Unwinder::Context& c : contexts_of(*program, memory)) {
    std::vector<std::uint64_t> pcs{c.pc};
    for (std::uint64_t bp = c.bp; bp >= c.bounds.lo && bp + 16 <= c.bounds.hi && pcs.size() < 100;) {
      const std::uint64_t next = memory.get<std::uint64_t>(bp).value_or(0);
      pcs.push_back(memory.get<std::uint64_t>(bp + 8).value_or(0));
      if (next <= bp) break;
      bp = next;
    }
    by_frame_pointer.insert(pcs);
  }
  EXPECT_LT(by_frame_pointer.size(), found.stacks.size() / 2);
}

TEST(ManyStacks, OfAProcessAndOfOurOwnCoreAreTheSame) {
  Scratch dir;
  Child child({MANYSTACKS, "-wait", "3000"});
  ASSERT_TRUE(child.wait_for("]}")) << child.output();
  auto live = open_process(child.pid(), true);
  ASSERT_TRUE(live) << live.error().message;
  auto program = Program::open(**live);
  Memory memory(**live);
  const Found now = walk_all(*program, memory);
  EXPECT_EQ(now.broken, 0u);
  EXPECT_GE(now.stacks.size(), number_after(child.output(), "\"stacks\":")) << "and the one that waits with them";
  ASSERT_TRUE(write_core(child.pid(), **live, dir / "core", {}));
  auto core = open_core(dir / "core", "", false);
  ASSERT_TRUE(core) << core.error().message;
  auto core_program = Program::open(**core);
  Memory core_memory(**core);
  const Found later = walk_all(*core_program, core_memory);
  EXPECT_EQ(later.stacks, now.stacks);
  EXPECT_EQ(later.count, now.count);
  EXPECT_EQ(later.broken, 0u);
}

}  // namespace
}  // namespace vitrine::inspect
