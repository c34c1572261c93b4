// run_control.h: what tracing a live process takes of a host: breakpoints, running, stepping. Apart from Target, which
// only reads; a session has one only while a host lends it (capi.h: vi_run_control).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "target.h"

namespace vitrine::inspect {

struct Stop {
  enum class Why : std::uint8_t { done, other, exited, interrupted, failed };
  Why why = Why::failed;
  std::int64_t tid = 0;
  std::string text;
};

class RunControl {
 public:
  virtual ~RunControl() = default;
  virtual std::optional<std::uint64_t> plant(std::uint64_t address) = 0;  // nullopt: it could not
  virtual bool remove(std::uint64_t id) = 0;
  // Lets all of it run. hit: a planted breakpoint was reached; false: stay there, run() returns `done`.
  using Hit = std::function<bool(std::int64_t tid, const Registers& regs)>;
  virtual Stop run(std::uint32_t wanted, const Hit& hit) = 0;
  virtual Stop step(std::int64_t tid) = 0;
  virtual std::optional<Registers> registers(std::int64_t tid) = 0;
  // What a hit costs here, in microseconds; 0: not known.
  virtual unsigned cost_low() const { return 0; }
  virtual unsigned cost_high() const { return 0; }
};

// A breakpoint that is gone when its object is, whatever ended the command.
class Planted {
 public:
  Planted(RunControl& control, std::uint64_t address) : control_(control), id_(control.plant(address)) {}
  ~Planted() { remove(); }
  Planted(const Planted&) = delete;
  explicit operator bool() const { return id_.has_value(); }
  bool remove() {
    if (!id_) return true;
    const bool gone = control_.remove(*id_);
    id_.reset();
    return gone;
  }

 private:
  RunControl& control_;
  std::optional<std::uint64_t> id_;
};

}  // namespace vitrine::inspect
