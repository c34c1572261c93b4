// doctor.h: what the inspector found in this target, what is missing, and what that costs.
#pragma once
#include <string>
#include <vector>

#include "session.h"

namespace vitrine::inspect {

struct Finding {
  std::string about;  // "runtime", "stacks", "core dumps"
  std::string text;
  bool problem = false;
};
// found_runtime: false when there is no runtime to inspect, or it has not started.
std::vector<Finding> examine(Session& session, bool& found_runtime, bool& cancelled);

}  // namespace vitrine::inspect
