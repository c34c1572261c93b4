// The C ABI as a host sees it: sizes, handles, callbacks that fail, nothing thrown.
#include "capi.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Said {
  std::string out, err;
  vi_sink sink{};
  Said() {
    sink.size = sizeof sink;
    sink.ctx = this;
    sink.out = [](void* ctx, const char* text) { static_cast<Said*>(ctx)->out += text; };
    sink.err = [](void* ctx, const char* text) { static_cast<Said*>(ctx)->err += std::string(text) + "\n"; };
  }
};

TEST(CApi, ASessionWithoutTargetCanHelpAndComplete) {
  Said said;
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(nullptr, nullptr, &said.sink, &session), VI_OK);
  EXPECT_EQ(vi_run_line(session, "vitrine", "help goroutine stacks", &said.sink), VI_OK);
  EXPECT_NE(said.out.find("goroutine stacks [-where EXPR]"), std::string::npos);
  EXPECT_EQ(vi_run_line(session, "info goroutines", "", &said.sink), VI_ERROR);
  EXPECT_EQ(said.err, "there is no program: nothing to inspect\n");
  Said words;
  words.sink.out = [](void* ctx, const char* text) { static_cast<Said*>(ctx)->out += std::string(text) + "|"; };
  EXPECT_EQ(vi_complete(session, "goroutine", "st", &words.sink), VI_OK);
  EXPECT_EQ(words.out, "stacks|");
  words.out.clear();
  EXPECT_EQ(vi_complete(session, "info goroutines", "-so", &words.sink), VI_OK);
  EXPECT_EQ(words.out, "-sort|");
  words.out.clear();
  EXPECT_EQ(vi_complete(session, "info goroutines", "-sort -a", &words.sink), VI_OK);
  EXPECT_EQ(words.out, "-age|-addr|");
  words.out.clear();
  EXPECT_EQ(vi_complete(session, "vitrine", "help goroutine a", &words.sink), VI_OK);
  EXPECT_EQ(words.out, "apply|");
  vi_close(session);
}

TEST(CApi, TheTablesOfSettingsFunctionsAndPrintersEnd) {
  Said said;
  vi_setting setting{};
  setting.size = sizeof setting;
  std::string names;
  for (uint32_t i = 0; vi_setting_at(i, &setting) == VI_OK; ++i) names += std::string(setting.name) + " ";
  EXPECT_EQ(names, "limit progress string-limit system ");
  ASSERT_EQ(vi_set("limit", "7", &said.sink), VI_OK);
  ASSERT_EQ(vi_setting_at(0, &setting), VI_OK);
  EXPECT_EQ(setting.value, 7u);
  EXPECT_EQ(vi_set("limit", "100", nullptr), VI_OK);
  EXPECT_EQ(vi_set("limit", "some", &said.sink), VI_ERROR);
  EXPECT_EQ(said.err, "limit is a number or unlimited, not 'some'\n");
  vi_function function{};
  function.size = sizeof function;
  names.clear();
  for (uint32_t i = 0; vi_function_at(i, &function) == VI_OK; ++i) names += std::string(function.name) + " ";
  EXPECT_EQ(names, "goid goroutine goroutine_name mspan obj ");
  vi_printed printed{};
  printed.size = sizeof printed;
  uint32_t n = 0;
  bool pointer = false;
  for (; vi_printed_at(n, &printed) == VI_OK; ++n)
    pointer =
        pointer || (printed.pattern == std::string("^vitrine::rt::g \\*$") && (printed.flags & VI_PRINTED_POINTER));
  EXPECT_GT(n, 20u);
  EXPECT_TRUE(pointer);
}

TEST(CApi, WithoutATargetNothingIsDescribedAndNoFunctionAnswers) {
  Said said;
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(nullptr, nullptr, &said.sink, &session), VI_OK);
  vi_description description{};
  description.size = sizeof description;
  EXPECT_EQ(vi_describe(session, "vitrine::mutex", 0x1000, &description), VI_NOT_OURS);
  EXPECT_EQ(vi_describe(session, nullptr, 0x1000, &description), VI_BAD_ARGUMENT);
  vi_part part{};
  part.size = sizeof part;
  EXPECT_EQ(vi_part_at(session, "vitrine::chan<int>", 0x1000, 0, &part), VI_BAD_ARGUMENT);
  vi_value value{};
  value.size = sizeof value;
  EXPECT_EQ(vi_call(session, "goid", nullptr, 0, nullptr, &value, &said.sink), VI_ERROR);
  EXPECT_EQ(said.err, "there is no program: nothing to inspect\n");
  EXPECT_EQ(vi_call(session, "goid", nullptr, 1, nullptr, &value, nullptr), VI_BAD_ARGUMENT);
  vi_close(session);
}

TEST(CApi, BadArgumentsAreAnswersNotCrashes) {
  Said said;
  EXPECT_EQ(vi_open(nullptr, nullptr, nullptr, nullptr), VI_BAD_ARGUMENT);
  EXPECT_EQ(vi_run(nullptr, 0, nullptr, nullptr), VI_BAD_ARGUMENT);
  EXPECT_EQ(vi_run_line(nullptr, "x", "", nullptr), VI_BAD_ARGUMENT);
  EXPECT_EQ(vi_next_action(nullptr, nullptr), VI_BAD_ARGUMENT);
  vi_close(nullptr);
  vi_set_stop(nullptr, 1, 0);
  vi_set_terminal(nullptr, 80, 1);
  vi_action_done(nullptr, 1, nullptr, nullptr);
  vi_get_selection(nullptr, nullptr);
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(nullptr, nullptr, nullptr, &session), VI_OK);
  EXPECT_EQ(vi_run(session, 0, nullptr, nullptr), VI_ERROR);
  EXPECT_EQ(vi_run_line(session, "info goroutines", nullptr, nullptr), VI_ERROR);
  const char* words[] = {"vitrine", nullptr};
  EXPECT_EQ(vi_run(session, 2, words, nullptr), VI_BAD_ARGUMENT);
  vi_action_done(session, 1, nullptr, nullptr);
  vi_action action{};
  action.size = sizeof action;
  EXPECT_EQ(vi_next_action(session, &action), VI_OK);
  EXPECT_EQ(action.kind, unsigned{VI_ACTION_NONE});
  vi_close(session);
  vi_target target{};
  target.size = sizeof target;
  target.kind = 77;
  EXPECT_EQ(vi_open(nullptr, &target, &said.sink, &session), VI_BAD_ARGUMENT);
  target.kind = VI_TARGET_LIVE;
  EXPECT_EQ(vi_open(nullptr, &target, &said.sink, &session), VI_ERROR);
  EXPECT_EQ(said.err, "the debugger lends no way to read memory\n");
  EXPECT_EQ(session, nullptr);
}

TEST(CApi, WordsBehindTraceThatAreNotOursAreTheHosts) {
  Said said;
  vi_target target{};
  target.size = sizeof target;
  target.kind = VI_TARGET_FILE;
  target.program = VITRINE_TEST_BIN "/pipeline";
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(nullptr, &target, &said.sink, &session), VI_OK);
  for (const char* theirs : {"", "main", "gogo if x > 1", "gog", "file.cc:17", "h", "'gogo'", "gogo *0x1", "\"open"})
    EXPECT_EQ(vi_run_line(session, "trace", theirs, &said.sink), VI_NOT_OURS) << theirs;
  EXPECT_EQ(said.out + said.err, "");
  EXPECT_EQ(vi_run_line(session, "trace", "gogo", &said.sink), VI_OK);
  EXPECT_NE(said.out.find("jumps to buf->pc"), std::string::npos) << said.out;
  EXPECT_EQ(vi_run_line(session, "trace", "gogo 17", &said.sink), VI_ERROR);
  EXPECT_EQ(vi_run_line(session, "vitrine", "trace gog", &said.sink), VI_ERROR) << "there it can mean nothing else";
  EXPECT_EQ(vi_run_line(session, "trace", "gogo -live -n 3 -where 'to = 1'", &said.sink), VI_ERROR);
  EXPECT_NE(said.err.find("the program does not run: there are no switches to watch"), std::string::npos) << said.err;
  EXPECT_EQ(vi_run_line(session, "info goroutines", "", &said.sink), VI_ERROR) << "a file is no target";
  vi_close(session);
}

TEST(CApi, RunControlIsLentWholeOrNotAtAll) {
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(nullptr, nullptr, nullptr, &session), VI_OK);
  vi_run_control control{};
  EXPECT_EQ(vi_lend_run_control(nullptr, nullptr), VI_BAD_ARGUMENT);
  EXPECT_EQ(vi_lend_run_control(session, &control), VI_BAD_ARGUMENT) << "no size";
  control.size = sizeof control;
  EXPECT_EQ(vi_lend_run_control(session, &control), VI_BAD_ARGUMENT) << "no functions";
  EXPECT_EQ(vi_lend_run_control(session, nullptr), VI_OK);
  vi_close(session);
}

TEST(CApi, AnOlderCallersStructsAreNotOverrun) {
  struct {
    vi_command command;
    unsigned char canary[64];
  } c{};
  std::memset(c.canary, 0x5a, sizeof c.canary);
  c.command.size = 8;  // knows only size and flags
  EXPECT_EQ(vi_command_at(0, &c.command), VI_OK);
  EXPECT_EQ(c.command.size, 8u);
  EXPECT_EQ(c.command.words, nullptr);
  c.command.size = sizeof c;  // a newer caller
  EXPECT_EQ(vi_command_at(0, &c.command), VI_OK);
  EXPECT_STREQ(c.command.words, "info goroutines");
  for (unsigned char byte : c.canary) EXPECT_EQ(byte, 0x5a);
}

TEST(CApi, TheTableEndsAndNamesTheCommandsOfTheDesign) {
  std::vector<std::string> words;
  vi_command c{};
  c.size = sizeof c;
  for (uint32_t i = 0; vi_command_at(i, &c) == VI_OK; ++i) {
    words.push_back(c.words);
    EXPECT_GT(std::string(c.summary).size(), 0u);
    EXPECT_GT(std::string(c.help).size(), 0u);
  }
  for (const char* wanted : {"info goroutines", "goroutine", "goroutine off", "goroutine apply", "goroutine stacks",
                             "vitrine core", "vitrine doctor", "vitrine help", "vitrine threads", "vitrine version"}) {
    EXPECT_NE(std::find(words.begin(), words.end(), wanted), words.end()) << wanted;
  }
  EXPECT_EQ(vi_abi_version(), VI_ABI_VERSION);
  EXPECT_NE(std::string(vi_version()).find("+"), std::string::npos);
}

// A host whose callbacks "fail": they write results but never set *done (a Python callback that raised).
TEST(CApi, ACallbackThatDoesNotSayDoneHasFailed) {
  vi_host host{};
  host.size = sizeof host;
  int reads = 0;
  host.ctx = &reads;
  host.read = [](void* ctx, uint64_t, void* buf, uint64_t len, uint32_t, uint64_t* got, int32_t*) {
    ++*static_cast<int*>(ctx);
    std::memset(buf, 0x41, len);
    *got = len;
  };
  host.modules = [](void*, vi_module_sink sink, void* ctx, int32_t* done) {
    vi_module m{};
    m.size = sizeof m;
    m.main = 1;
    m.path = VITRINE_TEST_BIN "/pipeline";
    m.lo = 0;
    m.hi = 1 << 30;
    sink(ctx, &m);
    *done = 1;
  };
  host.threads = [](void*, vi_thread_sink, void*, int32_t*) {};
  vi_target target{};
  target.size = sizeof target;
  target.kind = VI_TARGET_LIVE;
  Said said;
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(&host, &target, &said.sink, &session), VI_OK) << said.err;
  EXPECT_EQ(vi_run_line(session, "info goroutines", "", &said.sink), VI_ERROR);
  EXPECT_GT(reads, 0);
  EXPECT_NE(said.err.find("unreadable"), std::string::npos) << said.err;
  EXPECT_NE(said.err.find("0x"), std::string::npos) << said.err;
  vi_close(session);
}

TEST(CApi, AReadMayNotClaimMoreThanItWasAskedFor) {
  vi_host host{};
  host.size = sizeof host;
  host.read = [](void*, uint64_t, void*, uint64_t, uint32_t, uint64_t* got, int32_t* done) {
    *got = ~uint64_t{0};
    *done = 1;
  };
  vi_target target{};
  target.size = sizeof target;
  target.kind = VI_TARGET_LIVE;
  Said said;
  vi_session* session = nullptr;
  ASSERT_EQ(vi_open(&host, &target, &said.sink, &session), VI_OK);
  EXPECT_EQ(vi_run_line(session, "vitrine", "doctor", &said.sink), VI_ERROR);
  vi_close(session);
}

}  // namespace
