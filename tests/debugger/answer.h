// answer.h: one command on a session, or on a fake that makes one, and what it said.
#pragma once
#include <string>
#include <string_view>

#include "commands.h"
#include "fake_runtime.h"

namespace vitrine::inspect {

struct Answer {
  Outcome outcome;
  std::string out, err;
  bool incomplete;
};

inline Answer run(Session& session, std::string_view line) {
  Collected sink;
  session.incomplete = false;
  Outcome outcome = run_command(session, split(line), sink);
  return {outcome, sink.text, sink.errors, session.incomplete};
}

// A fake gives its memory away to the session that it makes: one command each.
inline Answer run(FakeRuntime& fake, std::string_view line) { return run(*fake.session(), line); }

inline bool contains(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace vitrine::inspect
