// gc_state.cc: see gc_state.h.
#include "gc_state.h"

#include <fmt/format.h>

#include "render.h"

namespace vitrine::inspect {

GcState::GcState(HeapState& heap) : heap_(heap), layout_(heap.layout()) {
  work_ = read(Root::gcwork, "workType");
  controller_ = read(Root::gcController, "gcControllerState");
  sweep_ = read(Root::gcsweep, "sweepdata");
  scavenge_ = read(Root::gcscavenge, "scavengedata");
  force_ = read(Root::gcforce, "forcegcstate");
  finalizers_ = read(Root::gcfinalizers, "finalizers_");
  roots_ = read(Root::gcroots, "gcroots_");
  if (const std::uint64_t at = layout_.root(Root::gcphase)) {
    phase_known_ = true;
    if (auto phase = heap_.session().memory().get<std::uint32_t>(at)) {
      phase_ = *phase;
    } else {
      heap_.warn(fmt::format("the collector's phase at {:#x}: {}", at, phase.error().message));
    }
  }
  for (const Span& s : heap_.spans()) {
    const SpanKind k = heap_.kind(s);
    if (k != SpanKind::small && k != SpanKind::large) continue;
    switch (static_cast<std::int32_t>(s.sweepgen - heap_.sweepgen())) {
      case -2:
      case 1:
        ++sweep_counts_.to_sweep;
        break;
      case -1:
        ++sweep_counts_.sweeping;
        break;
      default:
        ++sweep_counts_.swept;
    }
  }
}

std::optional<std::uint32_t> GcState::phase(HeapState& heap) {
  const std::uint64_t at = heap.layout().root(Root::gcphase);
  auto phase = at ? heap.session().memory().get<std::uint32_t>(at) : Result<std::uint32_t>(Error{"", {}});
  return phase ? std::optional(*phase) : std::nullopt;
}

GcState::Bytes GcState::read(Root root, const char* type) {
  Bytes bytes;
  const std::uint64_t at = layout_.root(root), size = layout_.size_of(type);
  if (!at || !size || size > 1 << 20) return bytes;
  bytes.resize(size);
  if (auto ok = heap_.session().memory().read(at, bytes); !ok) {
    heap_.warn(fmt::format("the collector's {} at {:#x}: {}", type, at, ok.error().message));
    bytes.clear();
  }
  return bytes;
}

std::optional<std::uint64_t> GcState::take(const Bytes& bytes, F f) const {
  const FieldPlace& p = layout_.place(f);
  if (!p.present || bytes.size() < p.offset + std::uint64_t{p.size}) return std::nullopt;
  return layout_.take(bytes.data(), f);
}

std::string GcState::phase_text() const { return phase_ ? layout_.gc_phase(*phase_) : std::string("?"); }

bool GcState::alive() const { return sweeper(F::sweepdata_g).value_or(1) != 0; }

std::optional<std::uint64_t> GcState::live() const {
  auto live = heap_.stat(F::mstats_heap_live);
  return live ? live : controller(F::gcController_heapLive);
}

std::uint64_t GcState::running_object() const {
  const FieldPlace &in = layout_.place(F::finalizers_running), &object = layout_.place(F::finalizer_object);
  if (!in.present || !object.present || finalizers_.size() < in.offset + std::uint64_t{object.offset} + 8) return 0;
  return layout_.take(finalizers_.data() + in.offset, F::finalizer_object);
}

std::optional<std::int64_t> GcState::span(F from, F to) const {
  auto a = work(from), b = work(to);
  if (!a || !b || !*a || *b < *a) return std::nullopt;
  return static_cast<std::int64_t>(*b - *a);
}

std::string GcState::doubt() const {
  if (phase_known_ && !phase_) return "the collector's phase is unreadable: the heap may be in the middle of a cycle";
  if (collecting())
    return fmt::format("a collection is in its phase {}: marks are on their way, and what is dead is not known yet",
                       phase_text());
  if (sweep_counts_.sweeping)
    return fmt::format("{} being swept: what is free in {} is not settled",
                       sweep_counts_.sweeping == 1 ? "1 span is" : fmt::format("{} spans are", sweep_counts_.sweeping),
                       sweep_counts_.sweeping == 1 ? "it" : "them");
  return {};
}

}  // namespace vitrine::inspect
