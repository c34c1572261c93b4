// The commands over a runtime made of bytes: exact text, actions for a host, broken targets.
#include "commands.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "fake_runtime.h"
#include "model.h"
#include "output_file.h"

namespace vitrine::inspect {
namespace {

TEST(InfoGoroutines, CurrentFirstThenByGoid) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines");
  EXPECT_EQ(r.outcome, Outcome::ok);
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out,
            "* GOID  STATUS    WAIT             AGE  M  P    STACK  WHERE                   NAME\n"
            "*    1  running                      -  0  0  176/32K  main_loop at app.cc:51\n"
            "     2  waiting   chan receive  12.0s+  -  -  368/32K  reader at app.cc:32     reader\n"
            "     4  runnable                     -  -  -  368/32K  reader at app.cc:32\n"
            "3 goroutines; 1 system goroutine not shown (-all)\n");
}

TEST(InfoGoroutines, SystemOnesComeWithAllOrWithAnExpressionAboutThem) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -all -count").out, "4\n");
  EXPECT_EQ(run(*session, "info goroutines -where system -short").out, "3\n");
  EXPECT_EQ(run(*session, "info goroutines -count").out, "3\n");
}

TEST(InfoGoroutines, AGoroutineWithoutUserFramesShowsItsEntryFunction) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -where 'goid = 3 and system' -cols where,start").out,
            "WHERE               START\n"
            "entry at app.cc:70  entry at app.cc:70\n"
            "1 goroutine\n");
}

TEST(InfoGoroutines, InlinedUserFunctionsCount) {
  FakeRuntime runtime;
  for (auto& f : runtime.program.functions) {
    if (f.name == "vitrine::chan<int>::recv") f.inlined = "helper";
  }
  auto session = runtime.session();
  EXPECT_TRUE(contains(run(*session, "info goroutines -where 'goid = 2' -cols where").out, "helper at app.cc:7\n"));
}

TEST(InfoGoroutines, TheDefaultLimitIsSaid) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -limit 1 -cols goid");
  EXPECT_EQ(r.out, "GOID\n   1\n1 of 3 shown (-limit 0 for all); 1 system goroutine not shown (-all)\n");
  EXPECT_TRUE(contains(run(*session, "info goroutines -limit 0 -cols goid").out, "3 goroutines"));
}

TEST(InfoGoroutines, SortsByColumnsUnknownLast) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -sort -goid -short").out, "4\n2\n1\n");
  EXPECT_EQ(run(*session, "info goroutines -sort age -short").out, "2\n1\n4\n");
  EXPECT_EQ(run(*session, "info goroutines -sort -age -short").out, "2\n1\n4\n");
  EXPECT_EQ(run(*session, "info goroutines -sort status,-goid -short").out, "4\n1\n2\n");
}

TEST(InfoGoroutines, RowsThatAreUnknownAreCountedNotShown) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -where 'age > 10s' -cols goid");
  EXPECT_EQ(r.out,
            "GOID\n   2\n1 goroutine; 1 system goroutine not shown (-all); 2 not shown: the expression is unknown for "
            "them\n");
}

TEST(InfoGoroutines, AnyFrameCanBeAskedFor) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -where 'stack ~ recv$' -short").out, "2\n4\n");
  EXPECT_EQ(run(*session, "info goroutines -where 'stack !~ recv$' -short").out, "1\n");
}

TEST(InfoGoroutines, OnlyShownRowsAreSymbolised) {
  FakeRuntime runtime;
  FakeProgram& program = runtime.program;
  auto session = runtime.session();
  run(*session, "info goroutines -count");
  EXPECT_TRUE(program.located.empty());
  run(*session, "info goroutines -limit 1");
  EXPECT_EQ(program.located.count(0x5010 - 1), 0u);
}

TEST(InfoGoroutines, MistakesAreOneMessage) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -sort foo").err.substr(0, 27), "-sort: unknown column 'foo'");
  EXPECT_EQ(run(*session, "info goroutines 17").err,
            "info goroutines takes options only, not '17' (goroutine N selects one)\n");
  EXPECT_EQ(run(*session, "info goroutines -limit x").err, "-limit needs a number, not 'x'\n");
  EXPECT_EQ(run(*session, "info goroutines -json=half").err,
            "-json=half is not known; there are -json and -json=full\n");
}

TEST(Stacks, EqualOnesAreMergedMostFrequentFirst) {
  FakeRuntime runtime;
  for (std::uint64_t i = 6; i < 12; ++i) {
    runtime.goroutine(i, FakeRuntime::kWaiting, {0x5010, 0x5110, 0x5220, 0x6130, 0x6420, 0x5301});
    runtime.poke(FakeRuntime::g(i) + FakeRuntime::gReason, std::uint8_t{1});
  }
  auto session = runtime.session();
  Answer r = run(*session, "goroutine stacks");
  EXPECT_EQ(r.out,
            "7 goroutines, waiting: chan receive [2, 6, 7, 8, +3 more]\n"
            "    #0   vitrine::rt::mcall at asm.S:40\n"
            "    #1   vitrine::rt::gopark at proc.cc:100\n"
            "    #2   vitrine::chan<int>::recv at chan.h:31\n"
            "    #3   reader at app.cc:32\n"
            "    #4   vitrine::rt::gostart at call.h:6\n"
            "    #5   vitrine::rt::goexit at asm.S:90\n"
            "    created by main_loop at app.cc:52\n"
            "\n"
            "1 goroutine, running [1]\n"
            "    #0   main_loop at app.cc:51\n"
            "    #1   vitrine::rt::gostart at call.h:6\n"
            "    #2   vitrine::rt::goexit at asm.S:90\n"
            "    created by main_loop at app.cc:52\n"
            "\n"
            "1 goroutine, runnable [4]\n"
            "    #0   vitrine::rt::mcall at asm.S:40\n"
            "    #1   vitrine::rt::gopark at proc.cc:100\n"
            "    #2   vitrine::chan<int>::recv at chan.h:31\n"
            "    #3   reader at app.cc:32\n"
            "    #4   vitrine::rt::gostart at call.h:6\n"
            "    #5   vitrine::rt::goexit at asm.S:90\n"
            "    created by main_loop at app.cc:52\n"
            "\n"
            "9 goroutines in 3 stacks; 1 system goroutine not shown (-all)\n");
  EXPECT_EQ(run(*session, "goroutine stacks -count").out, "9 goroutines in 3 stacks\n");
  EXPECT_TRUE(contains(run(*session, "goroutine stacks -limit 1").out, "in 3 stacks; 1 of 3 shown (-limit 0 for all)"));
}

TEST(Stacks, ADeepDifferenceKeepsThemApart) {
  FakeRuntime runtime;
  std::vector<std::uint64_t> pcs = {0x5010};
  for (int i = 0; i < 30; ++i) pcs.push_back(0x6010);
  pcs.push_back(0x6020);
  pcs.push_back(0x5301);
  auto other = pcs;
  other[31] = 0x6030;
  // Three with the same status and reason to wait, so that only their frames can tell them apart.
  runtime.goroutine(4, FakeRuntime::kWaiting, pcs);
  runtime.goroutine(5, FakeRuntime::kWaiting, other);
  runtime.goroutine(6, FakeRuntime::kWaiting, pcs);
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "goroutine stacks -count -where 'goid > 3'").out, "3 goroutines in 2 stacks\n");
}

TEST(Goroutine, SelectingGivesTheHostTheSavedContext) {
  FakeRuntime runtime;
  std::uint64_t sp = runtime.sp(2);
  auto session = runtime.session();
  session->host_has_frames = true;
  Answer r = run(*session, "goroutine 2");
  EXPECT_EQ(r.outcome, Outcome::ok);
  EXPECT_EQ(r.out,
            "[Switching to goroutine 2 \"reader\" (waiting: chan receive)]\n"
            "created by goroutine 1 at main_loop (app.cc:52)\n");
  Collected sink;
  Action select = session->next_action();
  EXPECT_EQ(select.kind, Action::Kind::select);
  EXPECT_EQ(select.goid, 2u);
  EXPECT_EQ(select.g, FakeRuntime::g(2));
  EXPECT_EQ(select.tid, 0);
  EXPECT_EQ(select.regs.known, 1u << kRip | 1u << kRsp | 1u << kRbp);
  EXPECT_EQ(select.regs.r[kRip], 0x5010u);
  EXPECT_EQ(select.regs.r[kRsp], sp);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::show_frame);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::none);
  EXPECT_TRUE(session->selection().selected);
  EXPECT_EQ(session->selection().goid, 2u);

  EXPECT_EQ(run(*session, "goroutine").out, "goroutine 2 \"reader\" (waiting: chan receive) is selected\n");
  EXPECT_TRUE(contains(run(*session, "info goroutines -cols current,goid").out, "*    2\n"));
  session->set_stop(2);
  EXPECT_FALSE(session->selection().selected) << "any resume drops the selection";
  EXPECT_EQ(run(*session, "goroutine").out, "the current thread runs goroutine 1 (running on M0, thread 100)\n");
}

TEST(Commands, TimeStandsStillWithTheProcess) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->local_pid = getpid();
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  const std::int64_t now = t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
  session->set_stop(5, now / 2);
  EXPECT_EQ((*session->model())->now(), now / 2) << "a long time of thinking makes no goroutine older";
  session->set_stop(6);
  EXPECT_GE((*session->model())->now(), now) << "nobody saw it stop";
  const std::int64_t first = (*session->model())->now();
  usleep(1000);
  session->set_stop(6);
  EXPECT_EQ((*session->model())->now(), first);
}

TEST(Goroutine, ARunningOneSelectsItsThread) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->host_has_frames = true;
  run(*session, "goroutine 0x100100");
  EXPECT_EQ(session->next_action().tid, 100);
}

TEST(Goroutine, OnG0TheSavedContextIsShownAndSaid) {
  FakeRuntime runtime;
  runtime.target.threads_[0].regs.set(kRsp, FakeRuntime::kG0Stack + 0x100);
  auto session = runtime.session();
  session->host_has_frames = true;
  Answer r = run(*session, "goroutine 1");
  EXPECT_TRUE(
      contains(r.out, "thread 100 of M0 stands on its scheduling stack; this is the goroutine's saved context\n"));
  Action a = session->next_action();
  EXPECT_EQ(a.tid, 0);
  EXPECT_EQ(a.regs.r[kRip], 0x6210u);
}

TEST(Goroutine, ACommandRunsVerbatimAndTheOldSelectionComesBack) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->host_has_frames = true;
  Collected sink;
  run(*session, "goroutine 4");
  while (session->next_action().kind != Action::Kind::none) session->action_done(true, "", sink);
  Answer r = run(*session, "goroutine 2 print  \"it's  a");
  EXPECT_EQ(r.outcome, Outcome::ok);
  EXPECT_EQ(r.out, "");
  EXPECT_EQ(session->next_action().goid, 2u);
  session->action_done(true, "", sink);
  Action execute = session->next_action();
  EXPECT_EQ(execute.kind, Action::Kind::execute);
  EXPECT_EQ(execute.text, "print  \"it's  a");
  session->action_done(false, "No symbol", sink);
  EXPECT_EQ(sink.errors, "No symbol\n");
  EXPECT_EQ(session->next_action().goid, 4u);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::none);
  EXPECT_EQ(session->selection().goid, 4u);
}

TEST(Goroutine, ACommandOfOursMayNestInAnExecutedOne) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->host_has_frames = true;
  Collected sink;
  run(*session, "goroutine apply 2,4 goroutine");
  std::string seen;
  for (Action a = session->next_action(); a.kind != Action::Kind::none; a = session->next_action()) {
    if (a.kind == Action::Kind::execute) {
      seen += run(*session, a.text).out;
      EXPECT_EQ(session->next_action().kind, Action::Kind::none);
    }
    session->action_done(true, "", sink);
  }
  EXPECT_EQ(seen, "goroutine 2 \"reader\" (waiting: chan receive) is selected\ngoroutine 4 (runnable) is selected\n");
  EXPECT_FALSE(session->selection().selected);
}

TEST(Goroutine, ApplyGoesOnAfterAFailureAndCountsIt) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->host_has_frames = true;
  Collected sink;
  Answer r = run(*session, "goroutine apply 1-4,77 -- frame 1");
  EXPECT_EQ(r.err, "there is no goroutine 77\n");
  std::string trace;
  for (Action a = session->next_action(); a.kind != Action::Kind::none; a = session->next_action()) {
    trace += a.kind == Action::Kind::select     ? "s" + std::to_string(a.goid)
             : a.kind == Action::Kind::execute  ? "x"
             : a.kind == Action::Kind::print    ? "p"
             : a.kind == Action::Kind::deselect ? "d"
                                                : "?";
    session->action_done(a.kind != Action::Kind::execute || session->selection().goid != 3, "bad", sink);
  }
  EXPECT_EQ(trace, "ps1xps2xps3xps4xd");
  EXPECT_EQ(sink.errors, "bad\nthe command failed for 1 of 4 goroutines\n");
}

TEST(Goroutine, ApplyEndsWhenTheTargetRan) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->host_has_frames = true;
  Collected sink;
  run(*session, "goroutine apply all -quiet");
  run(*session, "goroutine apply -quiet all continue");
  EXPECT_EQ(session->next_action().kind, Action::Kind::select);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::execute);
  session->set_stop(9);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::deselect);
  session->action_done(true, "", sink);
  EXPECT_EQ(session->next_action().kind, Action::Kind::none);
}

TEST(Goroutine, ApplyWhereTakesAnExpression) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Answer r = run(*session, "goroutine apply -where 'wait ~ chan' -- bt 1");
  EXPECT_EQ(r.out,
            "\n[goroutine 2 \"reader\" (waiting: chan receive)]\n"
            "#0  0x0000000000005010 in vitrine::rt::mcall at asm.S:40\n"
            "(5 more frames follow)\n");
  EXPECT_EQ(run(*session, "goroutine apply -where 'wait ~ chan' --").err,
            "which goroutines, and what command? goroutine apply all|LIST|-where EXPR [OPTIONS] [--] COMMAND\n");
  EXPECT_EQ(run(*session, "goroutine apply all").err,
            "what command? goroutine apply all|LIST|-where EXPR [OPTIONS] [--] COMMAND\n");
}

TEST(Goroutine, ApplyTakesOptionsBehindTheSelectorToo) {
  FakeRuntime runtime;
  auto session = runtime.session();
  const std::string wanted = run(*session, "goroutine apply -where 'wait ~ chan' -- bt 1").out;
  for (const char* line :
       {"goroutine apply all -where 'wait ~ chan' bt 1", "goroutine apply -where 'wait ~ chan' all bt 1",
        "goroutine apply 1-9 --where='wait ~ chan' -- bt 1", "goroutine apply -where 'wait ~ chan' 2 bt 1"})
    EXPECT_EQ(run(*session, line).out, wanted) << line;
  EXPECT_EQ(run(*session, "goroutine apply 1,3-9 -where 'wait ~ chan' bt 1").err,
            "no such goroutine: there is nothing to apply the command to\n");
  for (const char* line : {"goroutine apply all -when 'wait ~ chan' bt", "goroutine apply -when 'wait ~ chan' -- bt"})
    EXPECT_EQ(run(*session, line).err,
              "unknown option -when; choose from: -where -limit -quiet -all; goroutine apply all|LIST|-where EXPR "
              "[OPTIONS] [--] COMMAND\n");
  EXPECT_EQ(run(*session, "goroutine apply all -- -where").err,
            "'-where' needs a debugger; without one there is bt [N]\n");
  EXPECT_EQ(run(*session, "goroutine apply -where 'wait ~ chan' -- all").err,
            "'all' needs a debugger; without one there is bt [N]\n");
}

TEST(Goroutine, WithoutADebuggerItPrintsABacktrace) {
  FakeRuntime runtime;
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "goroutine 2").out,
            "[Looking at goroutine 2 \"reader\" (waiting: chan receive)]\n"
            "created by goroutine 1 at main_loop (app.cc:52)\n"
            "#0  0x0000000000005010 in vitrine::rt::mcall at asm.S:40\n"
            "#1  0x0000000000005110 in vitrine::rt::gopark at proc.cc:100\n"
            "#2  0x0000000000005220 in vitrine::chan<int>::recv at chan.h:31\n"
            "#3  0x0000000000006130 in reader at app.cc:32\n"
            "#4  0x0000000000006420 in vitrine::rt::gostart at call.h:6\n"
            "#5  0x0000000000005301 in vitrine::rt::goexit at asm.S:90\n");
  EXPECT_EQ(run(*session, "goroutine 2 bt -1").out, "#5  0x0000000000005301 in vitrine::rt::goexit at asm.S:90\n");
  EXPECT_EQ(run(*session, "goroutine 2 info locals").err,
            "'info locals' needs a debugger; without one there is bt [N]\n");
}

TEST(BadInput, NoSuchGoroutineSaysWhatThereIs) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Answer r = run(*session, "goroutine 99");
  EXPECT_EQ(r.outcome, Outcome::error);
  EXPECT_EQ(r.err, "there is no goroutine 99: 4 goroutines exist, the newest is 4\n");
  EXPECT_EQ(run(*session, "goroutine 0x10").err,
            "there is no goroutine whose g is at 0x10: 4 goroutines exist, the newest is 4\n");
  EXPECT_EQ(run(*session, "goroutine x").err,
            "'x' is no goroutine: give its number, 0xADDRESS of its g, off, stacks, graph or apply\n");
  EXPECT_EQ(run(*session, "goroutine 99999999999999999999").outcome, Outcome::error);
}

TEST(Goroutine, AnExpressionOfTheHostMayNameItsG) {
  FakeRuntime runtime;
  auto session = runtime.session();
  std::string asked;
  session->eval_hook = [&](const std::string& expression) -> std::optional<Session::Evaluated> {
    asked += expression + "|";
    if (expression != "gp") return std::nullopt;
    return Session::Evaluated{FakeRuntime::g(2), "vitrine::rt::g *"};
  };
  EXPECT_TRUE(contains(run(*session, "goroutine gp").out, "goroutine 2 \"reader\""));
  EXPECT_TRUE(contains(run(*session, "goroutine nonsense").err, "'nonsense' is no goroutine"));
  run(*session, "goroutine kill(1)");
  run(*session, "goroutine x=1");
  run(*session, "goroutine x++");
  run(*session, "goroutine 2");
  EXPECT_EQ(asked, "gp|nonsense|") << "nothing that could call or assign is evaluated";
}

TEST(BadInput, NoTargetNoRuntimeNotStarted) {
  Session none;
  EXPECT_EQ(run(none, "info goroutines").err, "there is no program: nothing to inspect\n");
  EXPECT_EQ(run(none, "vitrine help goroutine").outcome, Outcome::ok);
  none.program_file = "/bin/true";  // a debugger has loaded it
  EXPECT_EQ(run(none, "info goroutines").err, "the program does not run, and there is no core: nothing to inspect\n");

  FakeRuntime bare;
  bare.program.types.clear();
  auto session = bare.session();
  EXPECT_EQ(run(*session, "info goroutines").err,
            "no goroutine runtime found in this program: neither DWARF of one nor a layout note\n");
  EXPECT_EQ(run(*session, "vitrine doctor").outcome, Outcome::error);

  FakeRuntime early;
  early.count(0);
  early.poke(FakeRuntime::kAllm, std::uint64_t{0});
  session = early.session();
  EXPECT_EQ(run(*session, "info goroutines").err, "the runtime has not started yet (no M and no goroutine exists)\n");
}

TEST(BadInput, AWildSavedSpSpoilsOneRow) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::g(4) + FakeRuntime::gSp, std::uint64_t{0xdead0000});
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -cols goid,where");
  EXPECT_EQ(r.outcome, Outcome::ok);
  EXPECT_TRUE(contains(r.out, "   2  reader at app.cc:32\n")) << r.out;
  EXPECT_TRUE(contains(r.out, "<the saved sp 0xdead0000 is not in the stack 0x1040000-0x1048000>")) << r.out;
  EXPECT_TRUE(contains(run(*session, "goroutine 4").err,
                       "goroutine 4 (g at 0x100400): the saved sp 0xdead0000 is not in the stack"));
  EXPECT_EQ(run(*session, "goroutine 2").outcome, Outcome::ok);
}

TEST(BadInput, AnUnreadableGIsOneRow) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::kArray + 8 * 3, std::uint64_t{0x7f0000000000});
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -cols goid,status,where");
  EXPECT_TRUE(contains(r.out, "   ?  ?        <unreadable 0x7f0000000000>")) << r.out;
  EXPECT_TRUE(contains(r.out, "   2  waiting  reader at app.cc:32\n")) << r.out;
  EXPECT_TRUE(contains(run(*session, "goroutine stacks").out, "1 goroutine, unreadable: 0x7f0000000000\n"));
  EXPECT_EQ(run(*session, "goroutine 0x7f0000000000").err, "the g at 0x7f0000000000 is unreadable\n");
  // It may be the one that could not be read.
  for (const char* command : {"goroutine 99", "goroutine locals 99"}) {
    EXPECT_EQ(run(*session, command).err,
              "there is no goroutine 99 among those that could be read; 1 of 4 could not\n");
  }
}

TEST(BadInput, ACycleInAllmIsCutAndSaid) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::kM + 40, FakeRuntime::kM);
  auto session = runtime.session();
  EXPECT_TRUE(contains(run(*session, "info goroutines").out,
                       "warning: allm: the list comes back to the M at 0x30000; cut there\n"));
}

TEST(BadInput, AllgsMayRepeatHoldNullsAndLie) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::kArray + 8 * 4, FakeRuntime::g(2));
  runtime.poke(FakeRuntime::kArray + 8 * 2, std::uint64_t{0});
  runtime.count(std::uint64_t{1} << 60);
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -cols goid");
  EXPECT_TRUE(contains(r.out, "claims 1152921504606846976 goroutines")) << r.out;
  EXPECT_TRUE(contains(r.out, "entries are null")) << r.out;
  EXPECT_TRUE(contains(r.out, "entries occur more than once")) << r.out;
  EXPECT_TRUE(contains(r.out, "3 goroutines")) << r.out;
}

TEST(BadInput, AllgsIsReadNoFurtherThanItsCapacity) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::kArray + 8 * 5, std::uint64_t{0x7f0000000000});  // beyond: not a goroutine
  runtime.poke(FakeRuntime::kAllgs + 16, std::uint64_t{5});
  runtime.count(std::uint64_t{1} << 60);
  auto session = runtime.session();
  Answer r = run(*session, "info goroutines -cols goid");
  EXPECT_TRUE(contains(r.out, "claims 1152921504606846976 goroutines")) << r.out;
  EXPECT_FALSE(contains(r.out, "?")) << r.out;
  EXPECT_TRUE(contains(r.out, "3 goroutines")) << r.out;
}

TEST(BadInput, AnUnknownStatusOrReasonIsItsNumber) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::g(4) + FakeRuntime::gStatus, std::uint32_t{77});
  runtime.poke(FakeRuntime::g(2) + FakeRuntime::gReason, std::uint8_t{200});
  runtime.poke(FakeRuntime::g(2) + FakeRuntime::gStatus, std::uint32_t{0x1004});
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -cols goid,status,wait,scan -sort goid -limit 3").out,
            "GOID  STATUS   WAIT  SCAN\n"
            "   1  running        no\n"
            "   2  waiting  200   yes\n"
            "   4  77             no\n"
            "3 goroutines; 1 system goroutine not shown (-all)\n");
}

TEST(BadInput, ALoopingStackEnds) {
  FakeRuntime runtime;
  std::uint64_t bp = FakeRuntime::kStack + 4 * FakeRuntime::kStackStep + FakeRuntime::kStackSize - 16 - 64 * 5;
  runtime.poke(bp, bp);
  auto session = runtime.session();
  Answer r = run(*session, "goroutine 4");
  EXPECT_TRUE(contains(r.out, "the stack ends here: ")) << r.out;
  EXPECT_LT(r.out.size(), 4000u);
}

TEST(Faults, EveryCommandAnswersWhicheverReadFails) {
  const char* commands[] = {
      "info goroutines",
      "info goroutines -json",
      "info goroutines -where 'stack ~ recv' -sort -age",
      "goroutine 2",
      "goroutine",
      "goroutine stacks",
      "goroutine stacks -json",
      "goroutine apply all bt",
      "vitrine doctor",
      "vitrine threads",
      "vitrine threads -json",
      "info goroutines -all -cols goid,name,waiting_on,parent,created,start,errors",
  };
  for (const char* command : commands) {
    bool faulted = true;
    std::size_t n = 1;
    for (; faulted && n < 5000; ++n) {
      FakeRuntime runtime;
      FakeTarget& target = runtime.target;
      auto session = runtime.session();
      target.fail_read(n);
      Answer r = run(*session, command);
      faulted = target.faulted();
      EXPECT_FALSE(r.out.empty() && r.err.empty()) << command << ": silent, read " << n;
      if (r.outcome == Outcome::error) {
        EXPECT_TRUE(contains(r.err, "0x") || contains(r.err, "no goroutine") || contains(r.err, "not started") ||
                    contains(r.err, "failed for"))
            << command << ", read " << n << ": no address in: " << r.err;
      }
    }
    EXPECT_GT(n, 5u) << command << ": the faults did not reach it";
    EXPECT_LT(n, 5000u) << command;
  }
}

TEST(Cancel, CtrlCEndsALongCommand) {
  FakeRuntime runtime;
  auto session = runtime.session();
  session->cancelled_hook = [] { return true; };
  Answer r = run(*session, "goroutine stacks");
  EXPECT_EQ(r.outcome, Outcome::cancelled);
  EXPECT_EQ(r.err, "stopped by Ctrl-C\n");
}

// A file that is only half written goes; what is no regular file stays, whatever it leads to.
TEST(OutputFile, CtrlCLeavesNoHalfFileAndRemovesNothingElse) {
  const std::string file = testing::TempDir() + "output_file", link = testing::TempDir() + "output_link";
  unlink(link.c_str());
  ASSERT_EQ(symlink("/dev/null", link.c_str()), 0);
  for (const std::string& name : {file, link}) {
    Collected sink;
    auto failed = write_file(name, sink, [](Sink& to) {
      to.out("half");
      return false;
    });
    EXPECT_EQ(failed, Outcome::cancelled);
    EXPECT_EQ(sink.errors, "stopped by Ctrl-C\n");
  }
  EXPECT_NE(access(file.c_str(), F_OK), 0);
  EXPECT_EQ(unlink(link.c_str()), 0) << "it was removed";
}

TEST(OutputFile, AFullDeviceIsSaid) {
  Collected sink;
  auto failed = write_file("/dev/full", sink, [](Sink& to) {
    to.out("text");
    return true;
  });
  EXPECT_EQ(failed, Outcome::error);
  EXPECT_EQ(sink.errors, "/dev/full could not be written in full\n");
}

}  // namespace
}  // namespace vitrine::inspect
