// corewriter.h: writes a sparse ELF core of a live process. See corewriter.cc.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "target.h"

namespace vitrine::inspect {

struct CoreStats {
  std::uint64_t apparent = 0;  // length of the file
  std::uint64_t written = 0;   // bytes of memory in it; the rest are holes
  std::uint64_t segments = 0;
  std::uint64_t threads = 0;
  std::uint64_t unreadable = 0;  // bytes of touched pages that could not be read (they read as zeros)
};

// Writes a core of process `pid`, which must stand still (stopped by `target` or by a debugger): memory is read from
// /proc, registers come from target.threads(). Only `file` is written; it is removed on failure and when cancelled.
Result<CoreStats> write_core(int pid, Target& target, const std::string& file, const std::function<bool()>& cancelled);

}  // namespace vitrine::inspect
