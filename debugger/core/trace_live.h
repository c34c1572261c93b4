// trace_live.h: the switch routine watched on a live process: a line for each switch, or one switch by instructions.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "commands.h"
#include "program.h"

namespace vitrine::inspect {

struct LiveOptions {
  std::optional<std::uint64_t> count;
  std::optional<std::string> where;
  std::optional<std::uint64_t> goid;  // only switches from or to it
  bool stacks = false;
};

Outcome trace_live(Session& session, const Program::Function& routine, const LiveOptions& options, Sink& sink);
Outcome trace_step(Session& session, const Program::Function& routine, const LiveOptions& options, Sink& sink);

}  // namespace vitrine::inspect
