// host_target.h: a Target made of what a debugger lends. On a local live process data comes from /proc/PID/mem (50 to
// 130 times faster than LLDB's own reads), once a few reads have been compared with the host's; code always comes from
// the host, which hides the breakpoints it planted. A core is read by ourselves; the host only says which thread is
// current.
#pragma once
#include <memory>

#include "capi.h"
#include "target.h"

namespace vitrine::inspect {

class HostTarget : public Target {
 public:
  virtual std::int64_t local_pid() const = 0;  // 0: not a live process of this machine
  virtual void stopped(std::uint64_t stop_id) = 0;
};

// `host` must outlive the target.
Result<std::unique_ptr<HostTarget>> open_host_target(const vi_host& host, const vi_target& wanted);

}  // namespace vitrine::inspect
