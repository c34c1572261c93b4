// host_run.h: a host's run-control table (capi.h) as a RunControl.
#pragma once
#include <algorithm>
#include <cstring>
#include <exception>

#include "capi.h"
#include "run_control.h"

namespace vitrine::inspect {

class HostRun : public RunControl {
 public:
  explicit HostRun(const vi_run_control& lent) : lent_(lent) {}
  std::optional<std::uint64_t> plant(std::uint64_t address) override {
    std::uint64_t id = 0;
    std::int32_t done = 0;
    lent_.plant(lent_.ctx, address, &id, &done);
    if (done != 1) return std::nullopt;
    return id;
  }
  bool remove(std::uint64_t id) override {
    std::int32_t done = 0;
    lent_.remove(lent_.ctx, id, &done);
    return done == 1;
  }
  Stop run(std::uint32_t wanted, const Hit& hit) override {
    vi_stop stop{};
    stop.size = sizeof stop;
    std::int32_t done = 0;
    struct Call {
      const Hit& hit;
      bool failed = false;
    } call{hit};
    auto on_hit = [](void* ctx, const vi_thread* thread) -> std::int32_t {
      Call& c = *static_cast<Call*>(ctx);
      try {
        return thread && c.hit(thread->tid, registers_of(*thread)) ? 1 : 0;
      } catch (const std::exception&) {  // nothing is thrown across the boundary: the run ends
        c.failed = true;
        return 0;
      }
    };
    lent_.run(lent_.ctx, wanted, on_hit, &call, &stop, &done);
    Stop out = taken(stop, done);
    if (call.failed) out = {Stop::Why::failed, out.tid, "the inspector failed at a breakpoint"};
    return out;
  }
  Stop step(std::int64_t tid) override {
    vi_stop stop{};
    stop.size = sizeof stop;
    std::int32_t done = 0;
    lent_.step(lent_.ctx, tid, &stop, &done);
    return taken(stop, done);
  }
  std::optional<Registers> registers(std::int64_t tid) override {
    vi_thread thread{};
    thread.size = sizeof thread;
    std::int32_t done = 0;
    lent_.registers(lent_.ctx, tid, &thread, &done);
    if (done != 1) return std::nullopt;
    return registers_of(thread);
  }
  unsigned cost_low() const override { return lent_.hit_cost_low; }
  unsigned cost_high() const override { return lent_.hit_cost_high; }

 private:
  static Registers registers_of(const vi_thread& t) {
    Registers out;
    for (int n = 0; n < kRegs; ++n)
      if (t.known >> n & 1) out.set(n, t.regs[n]);
    return out;
  }
  static Stop taken(vi_stop& stop, std::int32_t done) {
    if (done != 1) return {Stop::Why::failed, 0, "the debugger could not let the process run"};
    stop.text[sizeof stop.text - 1] = 0;
    Stop out{Stop::Why::failed, stop.tid, stop.text};
    if (stop.why <= VI_STOP_FAILED) out.why = static_cast<Stop::Why>(stop.why);
    return out;
  }
  vi_run_control lent_;
};

}  // namespace vitrine::inspect
