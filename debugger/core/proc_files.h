// proc_files.h: what /proc/PID says, parsed: used by the live target and by the core writer.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "result.h"

namespace vitrine::inspect {

struct ProcMapping {
  std::uint64_t lo = 0, hi = 0;
  bool r = false, w = false, x = false, shared = false;
  std::uint64_t offset = 0;
  std::uint64_t device = 0;  // as stat's st_dev
  std::uint64_t inode = 0;   // 0: anonymous
  std::string path;          // "[stack]", "[vdso]", "/usr/lib/…", "" …
};

Result<std::vector<ProcMapping>> proc_maps(int pid);
// A whole file below /proc (whose size is not known beforehand).
Result<std::string> proc_file(int pid, std::string_view name);
// The thread ids in /proc/PID/task, sorted.
std::vector<int> proc_threads(int pid);
// The value of a line "Key:\tvalue" of /proc/PID/status (or of a task's status: "task/7/status"); "" when absent.
std::string proc_status(int pid, std::string_view key, std::string_view file = "status");
// A path that opens the very file that a mapping shows: its own path, or one below /proc when that was replaced or
// lies in another mount namespace. `path` itself when nothing better is found.
std::string proc_real_path(int pid, const ProcMapping& mapping);

}  // namespace vitrine::inspect
