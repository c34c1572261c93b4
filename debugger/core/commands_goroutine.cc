#include "commands.h"
namespace vitrine::inspect {
std::span<const CommandSpec> goroutine_commands() { return {}; }
}
