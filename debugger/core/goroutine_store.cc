// goroutine_store.cc: see goroutine_store.h.
#include "goroutine_store.h"

#include <algorithm>

namespace vitrine::inspect {

std::size_t Goroutines::Hash::operator()(const Kind& k) const {
  std::uint64_t h = k.pc;
  for (std::uint64_t v : {k.gopc, k.startpc, std::uint64_t{k.stack_size} << 32 | k.status,
                          std::uint64_t{k.machine} << 32 | std::uint64_t{k.flags} << 8 | k.wait_reason}) {
    h = (h ^ h >> 29 ^ v) * 0x9e3779b97f4a7c15ull;
  }
  return h ^ h >> 32;
}

std::uint32_t Goroutines::pack(std::uint64_t at, std::uint64_t stack_lo) {
  if (at >= stack_lo && at - stack_lo < kAside) return static_cast<std::uint32_t>(at - stack_lo);
  if (at == 0) return kAside;
  aside_.push_back(at);
  return kAside | static_cast<std::uint32_t>(aside_.size() - 1);
}

Goroutines::Slot Goroutines::pack(const Goroutine& g) {
  const Kind kind{g.pc, g.gopc, g.startpc, g.stack_size, g.status, g.machine, g.wait_reason, g.flags};
  if (kinds_.empty() || kinds_[last_] != kind) {
    auto [it, fresh] = kind_of_.try_emplace(kind, static_cast<std::uint32_t>(kinds_.size()));
    if (fresh) kinds_.push_back(kind);
    last_ = it->second;
  }
  return {g.addr, g.goid, g.stack_lo, g.waitsince, pack(g.sp, g.stack_lo), pack(g.bp, g.stack_lo), last_};
}

Goroutine Goroutines::operator[](std::size_t i) const {
  const Slot& s = slots_[i];
  const Kind& k = kinds_[s.kind];
  Goroutine g;
  g.addr = s.addr;
  g.goid = s.goid;
  g.stack_lo = s.stack_lo;
  g.sp = unpack(s.sp, s.stack_lo);
  g.bp = unpack(s.bp, s.stack_lo);
  g.pc = k.pc;
  g.gopc = k.gopc;
  g.startpc = k.startpc;
  g.waitsince = s.waitsince;
  g.stack_size = k.stack_size;
  g.status = k.status;
  g.machine = k.machine;
  g.wait_reason = k.wait_reason;
  g.flags = k.flags;
  return g;
}

void Goroutines::sort() {
  const auto less = [this](const Slot& a, const Slot& b) {
    const bool ua = kinds_[a.kind].flags & Goroutine::unreadable, ub = kinds_[b.kind].flags & Goroutine::unreadable;
    if (ua != ub) return ub;
    return a.goid != b.goid ? a.goid < b.goid : a.addr < b.addr;
  };
  if (!std::is_sorted(slots_.begin(), slots_.end(), less)) std::sort(slots_.begin(), slots_.end(), less);
}

}  // namespace vitrine::inspect
