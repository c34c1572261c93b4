// choose.h: what the commands that choose goroutines share: the actions that show one in a host, why one cannot be
// shown, and what is possible without a host.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "commands.h"
#include "model.h"
#include "session.h"
#include "stacks.h"

namespace vitrine::inspect {

struct Scheduler {
  Model* model = nullptr;
  Stacks* stacks = nullptr;
};
// The scheduler of the target; nullopt after having said why there is none to see.
std::optional<Scheduler> look(Session& session, Sink& sink);

Action select_action(Session& session, const Model& model, std::uint32_t index);
// Why a goroutine cannot be shown at all; "" when it can.
// Why the frames of its saved context are not all of them; "": they are, or it runs.
std::string ends_early(Session& session, const Model& model, std::uint32_t index);
// That there is none of this number, or with its g at this address, and how many there are.
std::string no_goroutine(const Model& model, std::uint64_t number, bool address);
std::string cannot_show(Session& session, const Model& model, std::uint32_t index);
// Back to what was selected before a temporary choice.
Action restore_action(Session& session);
// Without a host only a backtrace can be made: bt, backtrace, where, with an optional count (negative: the outermost
// frames, 0: all). nullopt: another command.
std::optional<long> own_backtrace(std::string_view command);
std::string no_host(std::string_view command);

void complete_options(std::span<const OptionSpec> specs, std::string_view partial, const Complete& offer);

}  // namespace vitrine::inspect
