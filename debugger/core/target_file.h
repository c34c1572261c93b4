// target_file.h: a program that does not run; see target_file.cc.
#pragma once
#include <memory>
#include <string>

#include "target.h"

namespace vitrine::inspect {

Result<std::unique_ptr<Target>> open_file(const std::string& path);

}  // namespace vitrine::inspect
