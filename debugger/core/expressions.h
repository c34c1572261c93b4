// expressions.h: what an argument that is an address or an expression means: a number, an expression that the host
// evaluates, or the name of a global. Nothing that could call or assign is evaluated.
#pragma once
#include <optional>
#include <string_view>

#include "session.h"

namespace vitrine::inspect {

bool could_act(std::string_view expression);
// The variable of that name, also of an unnamed namespace, or a member of one (`table.lock`); nullopt: none; an error
// when there are several.
Result<std::optional<Variable>> global_named(Session& session, std::string_view name);
// The address that it is: a pointer's value (a collected pointer's too), else where the object lies; and the type of what
// is there, if known.
Result<Session::Evaluated> address_of(Session& session, std::string_view expression);

// What the host makes of an expression; nullopt: there is no host, or it cannot. A variable that its compiler moved to
// the heap is found by its own name.
std::optional<Session::Evaluated> evaluated(Session& session, std::string_view expression);

Error acts(std::string_view expression);
Error names_nothing(Session& session, std::string_view expression);

}  // namespace vitrine::inspect
