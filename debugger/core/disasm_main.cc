// disasm_main.cc: vitrine-disasm, the annotator on a program's file: no process, no core.
//
//   vitrine-disasm PROGRAM SYMBOL [OPTION…]      what gotrace takes: -limit N, -json, -conventions
//
// Exit status: 0 done; 1 not; 2 the words make no sense.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>
#include <vector>

#include "commands.h"
#include "session.h"
#include "words.h"

using namespace vitrine::inspect;

namespace {

class Terminal : public Sink {
 public:
  void out(std::string_view text) override { std::fwrite(text.data(), 1, text.size(), stdout); }
  void err(std::string_view message) override {
    std::fflush(stdout);
    std::fprintf(stderr, "vitrine-disasm: %.*s\n", static_cast<int>(message.size()), message.data());
  }
};

constexpr const char* kUsage =
    "usage: vitrine-disasm PROGRAM SYMBOL [-limit N] [-conventions] [-json[=full]]\n"
    "\n"
    "Decodes a function of a program: each instruction with what it does, then the whole. SYMBOL is a function's\n"
    "name, FILE:NAME where there are several, its symbol, or 0xADDRESS; gogo, mcall, systemstack … are those of the\n"
    "program's runtime.\n"
    "\n"
    "Example: vitrine-disasm ./server gogo\n";

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 2 && (!std::strcmp(argv[1], "--help") || !std::strcmp(argv[1], "-h"))) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc < 3) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Terminal terminal;
  Session session;
  session.program_file = argv[1];
  session.colour = isatty(1) && !std::getenv("NO_COLOR");
  std::vector<const char*> words = {"gotrace"};
  words.insert(words.end(), argv + 2, argv + argc);
  Outcome outcome = run_command(session, join(words), terminal);
  if (std::fflush(stdout) != 0) return 1;
  return outcome == Outcome::ok && !session.incomplete ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "vitrine-disasm: failed: %s\n", e.what());
  return 1;
}
