// gc_state.h: where the collector stands — its phase, its cycle, when the next begins, what it found, its finalizers — as
// it has it in a few structures of its own. Each is read at once; what is not described, or cannot be read, is unknown.
//
// Whether the heap may be walked now is decided here. Outside of a cycle it may: spans that are not swept yet are
// understood (what their marks say is dead is dead). While a cycle marks, or a span is just being swept, marks and
// allocation bits are on their way, and whoever walks says so.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "heap_state.h"

namespace vitrine::inspect {

class GcState {
 public:
  explicit GcState(HeapState& heap);

  bool described() const { return phase_known_ || work_.size(); }  // there is a collector
  std::optional<std::uint32_t> phase() const { return phase_; }
  static std::optional<std::uint32_t> phase(HeapState& heap);  // by itself
  std::string phase_text() const;                              // "off", "mark", "marktermination"; "?"
  bool collecting() const { return phase_.value_or(0) != 0; }
  std::optional<std::uint64_t> work(F f) const { return take(work_, f); }
  std::optional<std::uint64_t> controller(F f) const { return take(controller_, f); }
  std::optional<std::uint64_t> live() const;  // bytes, by now
  std::optional<std::uint64_t> sweeper(F f) const { return take(sweep_, f); }
  std::optional<std::uint64_t> scavenger(F f) const { return take(scavenge_, f); }
  std::optional<std::uint64_t> finalizers(F f) const { return take(finalizers_, f); }
  std::optional<std::uint64_t> handles() const { return take(roots_, F::gcroots_n); }
  std::optional<std::uint64_t> force_g() const { return take(force_, F::forcegcstate_g); }
  std::uint64_t running_object() const;  // that a finalizer is being called with; 0: none
  bool alive() const;                    // the first managed object has been made
  // A pause of the last cycle, or of the present one as far as it has come; ns.
  std::optional<std::int64_t> span(F from, F to) const;
  struct Sweep {
    std::size_t to_sweep = 0, sweeping = 0, swept = 0;  // spans of objects
  };
  const Sweep& sweep() const { return sweep_counts_; }
  // Why the heap cannot be walked with confidence now; "" when it can.
  std::string doubt() const;

 private:
  using Bytes = std::vector<std::byte>;
  std::optional<std::uint64_t> take(const Bytes& bytes, F f) const;
  Bytes read(Root root, const char* type);

  HeapState& heap_;
  Layout& layout_;
  bool phase_known_ = false;
  std::optional<std::uint32_t> phase_;
  Bytes work_, controller_, sweep_, scavenge_, force_, finalizers_, roots_;
  Sweep sweep_counts_;
};

}  // namespace vitrine::inspect
