// main.cc: vitrine-inspect, the commands without a debugger.
//
//   vitrine-inspect [--force] --core CORE [PROGRAM] WORDS…
//   vitrine-inspect [--nostop] --pid PID WORDS…
//   vitrine-inspect WORDS…                          help, version, doctor: what needs no target
//
// Exit status: 0 the command was done; 1 it was not, or only in part, because the target is damaged or incomplete (what
// is wrong is said); 2 the words make no sense; 130 stopped by Ctrl-C. Colours only on a terminal, progress only when
// stderr is one. With --pid every thread is stopped while the command runs and let go afterwards, also after SIGINT:
// the first one ends the command (the target object then lets the threads go on), a second one ends us at once, and the
// kernel lets them go.
#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "session.h"
#include "words.h"

using namespace vitrine::inspect;

namespace {

volatile sig_atomic_t interrupted = 0;

void on_interrupt(int) {
  interrupted = 1;
  signal(SIGINT, SIG_DFL);
}

class Terminal : public Sink {
 public:
  void out(std::string_view text) override {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) broken_ = true;
  }
  void err(std::string_view message) override {
    std::fflush(stdout);
    clear();
    std::fprintf(stderr, "vitrine-inspect: %.*s\n", static_cast<int>(message.size()), message.data());
  }
  void progress(std::string_view text) {
    static const bool shown = isatty(2);
    if (!shown) return;
    clear();
    std::fprintf(stderr, "%.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stderr);
    dirty_ = !text.empty();
  }
  // False: what was printed could not all be written.
  bool close() {
    clear();
    return std::fflush(stdout) == 0 && !broken_;
  }

 private:
  void clear() {
    if (dirty_) std::fputs("\r\x1b[K", stderr);
    dirty_ = false;
  }
  bool dirty_ = false, broken_ = false;
};

constexpr const char* kUsage =
    "usage: vitrine-inspect [--force] --core CORE [PROGRAM] COMMAND…\n"
    "       vitrine-inspect [--nostop] --pid PID COMMAND…\n"
    "       vitrine-inspect help [COMMAND]\n"
    "\n"
    "  --core CORE   a core file; PROGRAM: the program it is of (found by itself when left out)\n"
    "  --force       read a core although PROGRAM is of another build\n"
    "  --pid PID     a running process; its threads stand still meanwhile\n"
    "  --nostop      read it while it runs: what is read may not fit together\n"
    "\n"
    "Example: vitrine-inspect --core core ./server info goroutines -where 'age > 10s'\n";

// As the debuggers name files, so that answers are the same in all three.
std::string absolute(const std::string& path) {
  std::error_code none;
  auto whole = std::filesystem::absolute(path, none);
  return none || access(path.c_str(), F_OK) != 0 ? path : whole.lexically_normal().string();
}

struct Arguments {
  std::string core, program;
  int pid = 0;
  bool force = false, nostop = false, help = false;
  std::vector<const char*> words;
  std::string problem;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    std::string_view arg = argv[i];
    if (arg.starts_with("--")) arg.remove_prefix(1);
    auto value = [&](std::string_view name) -> const char* {
      if (arg.starts_with(name) && arg.size() > name.size() && arg[name.size()] == '=')
        return argv[i] + (strchr(argv[i], '=') - argv[i]) + 1;
      if (arg != name) return nullptr;
      if (i + 1 == argc) {
        a.problem = fmt::format("{} needs a value", argv[i]);
        return "";
      }
      return argv[++i];
    };
    if (const char* core = value("-core")) {
      a.core = absolute(core);
    } else if (const char* pid = value("-pid")) {
      auto number = parse_number(pid);
      if (a.problem.empty() && (!number || *number == 0 || *number > 1u << 30)) {
        a.problem = fmt::format("'{}' is no process id", pid);
      }
      a.pid = static_cast<int>(number.value_or(0));
    } else if (arg == "-force") {
      a.force = true;
    } else if (arg == "-nostop") {
      a.nostop = true;
    } else if (arg == "-help" || arg == "-h") {
      a.help = true;
    } else if (arg == "-version") {
      a.words.push_back("vitrine");
      a.words.push_back("version");
    } else {
      a.problem = fmt::format("unknown option {}", argv[i]);
    }
    if (!a.problem.empty()) return a;
  }
  if (!a.core.empty() && a.pid) a.problem = "--core and --pid exclude each other";
  if (a.nostop && !a.pid) a.problem = "--nostop belongs to --pid";
  if (a.force && a.core.empty()) a.problem = "--force belongs to --core";
  // After a core comes the program, unless it is the first word of a command already.
  if (!a.core.empty() && i < argc) {
    Line rest = join({argv + i, static_cast<std::size_t>(argc - i)});
    bool is_file = access(argv[i], F_OK) == 0;
    if (is_file || strchr(argv[i], '/') || !match_command(rest).spec) a.program = absolute(argv[i++]);
  }
  for (; i < argc; ++i) a.words.push_back(argv[i]);
  return a;
}

int run(int argc, char** argv) {
  Terminal terminal;
  Arguments args = parse(argc, argv);
  if (!args.problem.empty()) {
    terminal.err(args.problem + " (vitrine-inspect --help)");
    return 2;
  }
  if (args.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (args.words.empty()) {
    terminal.err("what command? (vitrine-inspect help lists them)");
    return 2;
  }
  Line line = join(args.words);
  Match match = match_command(line);
  if (!match.spec) {
    terminal.err(match.problem);
    return 2;
  }

  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);

  Session session;
  session.cancelled_hook = [] { return interrupted != 0; };
  session.progress_hook = [&](std::string_view text) { terminal.progress(text); };
  session.colour = isatty(1) && !std::getenv("NO_COLOR");
  winsize size{};
  if (isatty(1) && ioctl(1, TIOCGWINSZ, &size) == 0) session.width = size.ws_col;
  if (!args.core.empty() || args.pid) {
    auto target = args.pid ? open_process(args.pid, !args.nostop) : open_core(args.core, args.program, args.force);
    if (!target) {
      fail(terminal, target.error());
      return 1;
    }
    session.local_pid = args.pid;
    session.moving = args.nostop;
    session.set_target(std::move(*target));
  }
  Outcome outcome = run_command(session, line, terminal);
  if (!terminal.close() && outcome == Outcome::ok) {
    terminal.err("the output could not be written");
    return 1;
  }
  if (outcome == Outcome::cancelled) return 130;
  return outcome == Outcome::ok && !session.incomplete ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try { return run(argc, argv); } catch (const std::exception& e) {
  std::fprintf(stderr, "vitrine-inspect: failed: %s\n", e.what());
  return 1;
}
