// gotrace on a real process that stands still, through a target whose nth read fails: whichever it is, there is an
// answer, and no fact in it that the undisturbed answer does not have. -live and -step run on a made-up run control that
// reports switches to that process's goroutines.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <regex>
#include <set>
#include <sstream>

#include "answer.h"
#include "run_control.h"

namespace vitrine::inspect {
namespace {

constexpr int kRdi = 5;

class Faulty : public Target {
 public:
  explicit Faulty(std::unique_ptr<Target> inner) : inner_(std::move(inner)) {}
  void fail_read(std::size_t n) {
    countdown_ = n;
    bad_ = end_ = 0;
  }
  bool faulted() const { return end_ != 0; }
  Kind kind() const override { return Kind::live; }
  std::string describe() const override { return inner_->describe(); }
  const std::vector<Thread>& threads() override { return inner_->threads(); }
  const std::vector<Module>& modules() override { return inner_->modules(); }
  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space space) override {
    if (countdown_ && --countdown_ == 0) {  // all that was asked for stays unreadable: a second try is no way around
      bad_ = addr & ~0xfffull;
      end_ = addr + out.size();
    }
    if (addr < end_ && addr + out.size() > bad_) {
      if (addr >= bad_) return 0;
      out = out.first(bad_ - addr);
    }
    return inner_->read(addr, out, space);
  }

 private:
  std::unique_ptr<Target> inner_;
  std::size_t countdown_ = 0;
  std::uint64_t bad_ = 0, end_ = 0;
};

// Reports a switch to each of some contexts; nothing really runs.
class MadeUp : public RunControl {
 public:
  std::vector<std::uint64_t> contexts;
  std::uint64_t routine = 0;
  int planted = 0;
  std::optional<std::uint64_t> plant(std::uint64_t) override { return ++planted; }
  bool remove(std::uint64_t) override { return planted-- > 0; }
  Stop run(std::uint32_t, const Hit& hit) override {
    for (std::uint64_t c : contexts)
      if (!hit(100, *at(c))) return {Stop::Why::done, 100, ""};
    return {Stop::Why::exited, 0, ""};
  }
  Stop step(std::int64_t) override { return {Stop::Why::failed, 0, "no step"}; }
  std::optional<Registers> registers(std::int64_t) override { return at(contexts.front()); }

 private:
  std::optional<Registers> at(std::uint64_t context) const {
    Registers regs;
    regs.set(kRdi, context);
    regs.set(kRsp, context);
    regs.set(kRip, routine);
    return regs;
  }
};

class TraceFaults : public testing::Test {
 protected:
  void SetUp() override {
    int out[2];
    ASSERT_EQ(pipe(out), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      setenv("VITRINE_FIXTURE", "wait", 1);
      execl(VITRINE_TEST_BIN "/../fixtures/parked-O2", "parked-O2", nullptr);
      _exit(127);
    }
    close(out[1]);
    char ready[6];
    ASSERT_EQ(::read(out[0], ready, sizeof ready), 6) << "the fixture did not come to its stop";
    close(out[0]);
    auto process = open_process(pid_, true);
    ASSERT_TRUE(process) << process.error().message;
    auto faulty = std::make_unique<Faulty>(std::move(*process));
    target = faulty.get();
    session.set_target(std::move(faulty), 1);
    session.run_control = &control;
    for (int goid : {2, 4, 5}) {
      std::string text = run(session, "gotrace gogo " + std::to_string(goid)).out;
      std::smatch m;
      ASSERT_TRUE(std::regex_search(text, m, std::regex("rdi = buf \\(gobuf\\*\\) = 0x([0-9a-f]+)"))) << text;
      control.contexts.push_back(std::stoull(m[1], nullptr, 16));
      ASSERT_TRUE(std::regex_search(text, m, std::regex("gogo  0x([0-9a-f]+)"))) << text;
      control.routine = std::stoull(m[1], nullptr, 16);
    }
  }
  void TearDown() override {
    session.set_target(nullptr);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  // Addresses, and goroutines by number: what a command claims about the process.
  static std::set<std::string> facts(std::string text) {
    text =
        std::regex_replace(text, std::regex("unreadable 0x[0-9a-f]+|(cannot be read|unreadable) at 0x[0-9a-f]+"), "");
    static const std::regex kFact("0x[0-9a-f]{5,16}|goroutine \\d+|→ \\d+|buf->\\w+|\\w+ at \\w+\\.(?:cc|S|h):\\d+");
    std::set<std::string> out;
    for (std::sregex_iterator i(text.begin(), text.end(), kFact), end; i != end; ++i) out.insert(i->str());
    return out;
  }

  std::uint64_t stop = 1;
  Session session;
  MadeUp control;
  Faulty* target = nullptr;

 private:
  pid_t pid_ = -1;
};

TEST_F(TraceFaults, WhicheverReadFailsThereIsAnAnswerAndNoWrongFact) {
  const std::pair<const char*, const char*> kCommands[] = {
      {"gotrace gogo", "jumps to buf->pc"},
      {"gotrace gogo 4", "jumps to buf->pc = 0x"},
      {"gotrace mcall 4", "saved in g->sched.pc"},
      {"gotrace gogo 4 -json", "\"differences\":[]"},
      {"gotrace gogo -live -n 3", "3 switches in"},
      {"gotrace gogo -live -stacks", "the process has ended"},
      {"gotrace gogo -step", "switches to goroutine 2"},
  };
  for (const auto& [command, part] : kCommands) {
    target->fail_read(0);
    session.set_stop(++stop);
    Answer good = run(session, command);
    ASSERT_TRUE(contains(good.out, part)) << command << "\n" << good.out << good.err;
    ASSERT_FALSE(contains(good.out, "DIFFERS")) << good.out;
    const std::set<std::string> known = facts(good.out + good.err);
    std::size_t n = 1, disturbed = 0;
    for (; n < 1000; ++n) {
      session.set_stop(++stop);
      target->fail_read(n);
      Answer a = run(session, command);
      if (!target->faulted()) break;
      const std::string all = a.out + a.err;
      EXPECT_FALSE(all.empty()) << command << ": silent, read " << n;
      EXPECT_EQ(control.planted, 0) << command << ", read " << n;
      EXPECT_FALSE(contains(a.out, "DIFFERS")) << command << ", read " << n << "\n" << a.out;
      disturbed += all != good.out + good.err;
      for (const std::string& fact : facts(a.out))
        EXPECT_TRUE(known.contains(fact)) << command << ", read " << n << ": " << fact << " in\n" << all;
    }
    EXPECT_GT(disturbed, 0u) << command << ": the faults did not reach it";
    EXPECT_LT(n, 1000u) << command << ": it never stops reading";
  }
}

}  // namespace
}  // namespace vitrine::inspect
