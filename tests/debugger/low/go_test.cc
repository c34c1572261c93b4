// A program that the Go toolchain built: types, globals and stacks without any help from its side.
#include <algorithm>

#include "fixture.h"

namespace vitrine::inspect {
namespace {

const char* kSource = R"(package main

import "time"

func receiver(ch chan int, n int) int {
	if n > 0 {
		return receiver(ch, n-1) + 1
	}
	return <-ch
}

func main() {
	ch := make(chan int)
	for i := 0; i < 10; i++ {
		go receiver(ch, i)
	}
	time.Sleep(100 * time.Millisecond)
	println("ready")
	time.Sleep(1000 * time.Second)
}
)";

bool have_go() { return contains(run_command({"go", "version"}), "go version"); }

TEST(Go, TypesGlobalsAndStacksAreRead) {
  if (!have_go()) GTEST_SKIP() << "no Go toolchain on PATH";
  Scratch dir;
  std::ofstream(dir / "main.go") << kSource;
  if (!std::getenv("HOME")) setenv("GOCACHE", (dir / "cache").c_str(), 0);
  setenv("GOFLAGS", "-mod=mod", 0);
  const std::string built = run_command({"go", "build", "-o", dir / "prog", dir / "main.go"}, dir.path());
  ASSERT_EQ(access((dir / "prog").c_str(), X_OK), 0) << built;
  Child child({dir / "prog"});
  ASSERT_TRUE(child.wait_for("ready")) << child.output();
  auto target = open_process(child.pid(), true);
  ASSERT_TRUE(target) << target.error().message;
  auto program = Program::open(**target);
  Memory memory(**target);

  const Type* g = program->type("runtime.g");
  ASSERT_NE(g, nullptr);
  EXPECT_EQ(g->name, "runtime.g");
  const Field *goid = g->field("goid"), *sched = g->field("sched"), *stack = g->field("stack");
  ASSERT_TRUE(goid && sched && stack);
  EXPECT_EQ(goid->type->size, 8u);
  EXPECT_EQ(sched->type->name, "runtime.gobuf");
  ASSERT_NE(g->field("m")->type->element, nullptr);
  EXPECT_EQ(g->field("m")->type->element->name, "runtime.m");

  const auto allgs = program->variable("runtime.allgs");  // its location is a block, which libdw's own reader refuses
  ASSERT_EQ(allgs.size(), 1u);
  EXPECT_EQ(allgs[0].address, program->symbol("runtime.allgs"));
  EXPECT_EQ(allgs[0].type->field("len")->offset, 8u);
  const std::uint64_t array = memory.get<std::uint64_t>(allgs[0].address).value_or(0);
  const std::uint64_t len = memory.get<std::uint64_t>(allgs[0].address + 8).value_or(0);
  ASSERT_GE(len, 11u);

  Unwinder u(*program, memory);
  std::vector<std::size_t> depths;
  for (std::uint64_t i = 0; i < len; i++) {
    const std::uint64_t gp = memory.get<std::uint64_t>(array + 8 * i).value_or(0);
    const auto word = [&](const Field* f, const char* inner) {
      return memory.get<std::uint64_t>(gp + f->offset + f->type->field(inner)->offset).value_or(0);
    };
    Registers regs;
    regs.set(kRip, word(sched, "pc"));
    regs.set(kRsp, word(sched, "sp"));
    regs.set(kRbp, word(sched, "bp"));
    const StackWalk s = u.walk(regs, false, {word(stack, "lo"), word(stack, "hi")});
    const auto names = functions_of(*program, s);
    const auto n = static_cast<std::size_t>(std::count(names.begin(), names.end(), "main.receiver"));
    if (n == 0) continue;
    depths.push_back(n);
    EXPECT_EQ(s.end, StackEnd::bottom) << s.explain();
    EXPECT_EQ(names.front(), "runtime.gopark") << testing::PrintToString(names);
    EXPECT_NE(std::find(names.begin(), names.end(), "runtime.goexit"), names.end());
    EXPECT_EQ(program->language(s.frames.front().lookup_pc()), "go");
  }
  std::sort(depths.begin(), depths.end());
  EXPECT_EQ(depths, (std::vector<std::size_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

}  // namespace
}  // namespace vitrine::inspect
