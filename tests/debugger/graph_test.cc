// goroutine graph: holders, deadlocks, what is behind them, Graphviz; and that it is linear.
#include "graph.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "answer.h"
#include "commands.h"
#include "fake_objects.h"

namespace vitrine::inspect {
namespace {

using O = FakeObjects;

// 6 waits for 7, 7 for 8, 8 for 6; 9 waits for 7; 10 waits for 1, which runs.
void ring(FakeObjects& o) {
  o.lock(0, 7);
  o.lock(1, 8);
  o.lock(2, 6);
  o.lock(3, 1);
  o.wait_for(0, 6);
  o.wait_for(1, 7);
  o.wait_for(2, 8);
  o.wait_for(0, 9);
  o.wait_for(3, 10);
  o.target.text(O::g(6) + O::gName, "a");
  o.target.text(O::g(7) + O::gName, "b");
}

TEST(Graph, ACycleIsADeadlockWithItsChain) {
  FakeObjects o;
  ring(o);
  auto session = o.session();
  std::string out = run(*session, "goroutine graph").out;
  EXPECT_TRUE(
      out.starts_with("deadlock: goroutine 6 \"a\" waits for mutex 0x4000800 held by goroutine 7 \"b\" waits for "
                      "mutex 0x4000828 held by goroutine 8 waits for mutex 0x4000850 held by goroutine 6\n\n"
                      "goroutine 6 \"a\" (waiting: sync.Mutex.Lock, 12.0s+) in reader at app.cc:32 [deadlock 1]\n"
                      "  mutex 0x4000800, held by goroutine 7 \"b\" (waiting: sync.Mutex.Lock, in reader at "
                      "app.cc:32)\n"
                      "goroutine 7 \"b\""))
      << out;
  EXPECT_TRUE(
      contains(out, "\ngoroutine 9 (waiting: sync.Mutex.Lock, 12.0s+) in reader at app.cc:32 [behind deadlock 1]\n"));
  EXPECT_TRUE(contains(out, "\n  mutex 0x4000878, held by goroutine 1 (running, in main_loop at app.cc:51)\n"));
  EXPECT_TRUE(out.ends_with("\n5 blocked goroutines, 1 deadlock\n")) << out;
}

TEST(Graph, OneThatWaitsForItselfIsADeadlockUnlessItHasBeenServed) {
  FakeObjects o;
  o.lock(0, 6);
  o.wait_for(0, 6);
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "goroutine graph").out,
                       "deadlock: goroutine 6 waits for mutex 0x4000800 held by goroutine 6\n"));
  FakeObjects served;
  served.lock(0, 6);
  served.wait_for(0, 6);
  served.poke(O::sudog(6) + 33, std::uint8_t{1});
  auto second = served.session();
  EXPECT_FALSE(contains(run(*second, "goroutine graph").out, "deadlock:"));
}

TEST(Graph, ACycleThroughATaskAndAOnceIsFound) {
  FakeObjects o;
  o.poke(O::kOthers + 24, std::uint32_t{1});  // once, run by 7
  o.poke(O::kOthers + 32, std::uint64_t{7});
  o.waits(6, O::rOnce, O::kOthers);
  o.poke(O::kOthers + 128 + 24, std::uint64_t{6});  // a task that 6 computes
  o.waits(7, O::rTask, O::kOthers + 128);
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "goroutine graph").out,
                       "deadlock: goroutine 6 waits for once 0x4000c00 run by goroutine 7 waits for task 0x4000c80 "
                       "computed by goroutine 6\n"));
}

TEST(Graph, AChainEndsWhereItComesBackAndWhereTheLimitSays) {
  FakeObjects o;
  ring(o);
  auto session = o.session();
  Answer r = run(*session, "goroutine graph 9");
  EXPECT_TRUE(contains(r.out, "\n  goroutine 7 \"b\"")) << r.out;
  EXPECT_TRUE(contains(r.out, "\n      goroutine 6 \"a\"")) << r.out;
  EXPECT_TRUE(contains(run(*session, "goroutine graph 9 -limit 2").out,
                       "2 lines of a longer chain shown (-limit 0 for all)\n"));
  EXPECT_EQ(run(*session, "goroutine graph 1").out, "goroutine 1 (running) in main_loop at app.cc:51\n");
  EXPECT_EQ(run(*session, "goroutine graph 99").err, "there is no goroutine '99': info goroutines lists them\n");
}

TEST(Graph, TheLimitIsSaid) {
  FakeObjects o;
  ring(o);
  auto session = o.session();
  std::string out = run(*session, "goroutine graph -limit 1").out;
  EXPECT_TRUE(contains(out, "1 of 5 blocked goroutines shown (-limit 0 for all), 1 deadlock\n")) << out;
}

TEST(Graph, AHolderThatIsGoneEndsTheChain) {
  FakeObjects o;
  o.lock(0, 4711);
  o.wait_for(0, 6);
  auto session = o.session();
  EXPECT_TRUE(contains(run(*session, "goroutine graph 6").out,
                       "\n  mutex 0x4000800, held by goroutine 4711, which does not exist (any more)\n"));
}

TEST(Graph, AThreadThatIsNoGoroutineTakesPart) {
  FakeObjects o;
  o.lock(0, 6);
  o.lock(1, 7);
  o.wait_for(1, 6);
  o.wait_for(0, 7);
  o.poke(O::g(7) + O::gSystem, std::uint8_t{1});
  o.wait_for(0, 8);
  o.poke(O::g(8) + O::gSystem, std::uint8_t{1});
  o.poke(O::g(8) + O::gForeign, std::uint8_t{1});
  o.wait_for(0, 9);
  o.poke(O::g(9) + O::gSystem, std::uint8_t{1});
  auto session = o.session();
  std::string out = run(*session, "goroutine graph").out;
  EXPECT_TRUE(contains(out, "\ngoroutine 7 (waiting")) << "system, but in a deadlock";
  EXPECT_TRUE(contains(out, "\ngoroutine 8 (waiting")) << "a thread";
  EXPECT_FALSE(contains(out, "\ngoroutine 9 (waiting"));
  EXPECT_TRUE(contains(out, "; 1 system goroutine not shown (-all)\n")) << out;
}

TEST(Graph, GraphvizHasEachNodeOnceAndEscapesNames) {
  FakeObjects o;
  ring(o);
  o.target.text(O::g(6) + O::gName, "q\"\\");
  auto session = o.session();
  std::string out = run(*session, "goroutine graph -dot -").out;
  EXPECT_TRUE(out.starts_with("digraph goroutines {\n"));
  EXPECT_TRUE(
      contains(out, "  g6 [label=\"goroutine 6 \\\"q\\\"\\\\\\\"\\nwaiting: sync.Mutex.Lock\" shape=box color=red];\n"))
      << out;
  EXPECT_TRUE(contains(out, "  g6 -> o4000800_mutex [label=\"lock\" color=red];\n"));
  EXPECT_TRUE(contains(out, "  o4000800_mutex -> g7 [label=\"held by\" color=red];\n"));
  std::size_t first = out.find("  o4000800_mutex [");
  EXPECT_NE(first, out.npos);
  EXPECT_EQ(out.find("  o4000800_mutex [", first + 1), out.npos);
  std::string path = testing::TempDir() + "graph.dot";
  EXPECT_EQ(run(*session, "goroutine graph -dot " + path).outcome, Outcome::ok);
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), out);
  std::remove(path.c_str());
  EXPECT_TRUE(
      contains(run(*session, "goroutine graph -dot /nonexistent/x.dot").err, "/nonexistent/x.dot cannot be written"));
}

}  // namespace
}  // namespace vitrine::inspect
