// fake_target.h: a target made of bytes, for tests. Regions are laid down with map/bytes/put, threads and modules are
// given; reads follow Target's prefix rule. Faults on demand:
//   * bad(lo, hi)      — a hole in a region (a guard page, a piece that the core lacks);
//   * fail_read(n)     — the nth read from now on fails, and the page that it touched stays unreadable (so that a
//                        retry does not hide the fault). Run a command for n = 1, 2, … until faulted() says no.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "target.h"

namespace vitrine::inspect {

class FakeTarget : public Target {
 public:
  Kind kind_ = Kind::core;
  bool viewable_ = false;    // view() hands out the bytes, as a mmapped core does
  bool concurrent_ = false;  // reads may come from several threads: then no fault by count
  std::vector<Thread> threads_;
  std::vector<Module> modules_;
  std::vector<std::string> warnings_;
  std::uint64_t stop_id_ = 1;

  // A region of zeros.
  FakeTarget& map(std::uint64_t addr, std::size_t size) {
    regions_[addr].assign(size, std::byte{0});
    return *this;
  }
  FakeTarget& bytes(std::uint64_t addr, std::span<const std::byte> b) {
    regions_[addr].assign(b.begin(), b.end());
    return *this;
  }
  // Writes into a region that exists; a value outside of all regions gets one of its own.
  template <class T>
  FakeTarget& put(std::uint64_t addr, const T& value) {
    auto* r = find(addr);
    if (r && addr + sizeof value <= r->first + r->second.size()) {
      std::memcpy(r->second.data() + (addr - r->first), &value, sizeof value);
      return *this;
    }
    return bytes(addr, std::as_bytes(std::span(&value, 1)));
  }
  FakeTarget& text(std::uint64_t addr, const char* s) {
    for (;; addr++, s++) {
      put(addr, *s);
      if (!*s) return *this;
    }
  }
  void bad(std::uint64_t lo, std::uint64_t hi) { bad_.emplace_back(lo, hi); }
  void fail_read(std::size_t n) { countdown_ = n; }
  bool faulted() const { return faulted_; }
  void heal() {
    bad_.clear();
    countdown_ = 0;
    faulted_ = false;
  }
  std::size_t reads() const { return reads_; }

  Kind kind() const override { return kind_; }
  std::string describe() const override { return "fake target"; }
  bool concurrent() const override { return concurrent_; }
  const std::vector<Thread>& threads() override { return threads_; }
  const std::vector<Module>& modules() override { return modules_; }
  std::uint64_t stop_id() override { return stop_id_; }
  std::vector<std::string> warnings() override { return warnings_; }

  std::size_t read(std::uint64_t addr, std::span<std::byte> out, Space) override {
    if (!concurrent_) {
      reads_++;
      if (countdown_ && --countdown_ == 0) {
        faulted_ = true;
        bad_.emplace_back(addr & ~0xfffull, (addr & ~0xfffull) + 0x1000);
      }
    }
    std::size_t done = 0;
    while (done < out.size()) {
      const std::size_t n = readable(addr + done, out.size() - done);
      if (n == 0) break;
      const auto* r = find(addr + done);
      std::memcpy(out.data() + done, r->second.data() + (addr + done - r->first), n);
      done += n;
    }
    return done;
  }

  // Gives no more than many_ bytes of a piece, as a target may.
  std::size_t many_ = ~std::size_t{0};
  std::size_t many_calls_ = 0;
  void read_many(std::span<Piece> pieces) override {
    if (!concurrent_) many_calls_++;
    for (Piece& p : pieces) p.got = read(p.addr, p.out.first(std::min(p.out.size(), many_)), Space::data);
  }

  const std::byte* view(std::uint64_t addr, std::size_t len) override {
    if (!viewable_ || readable(addr, len) < len) return nullptr;
    const auto* r = find(addr);
    return r->second.data() + (addr - r->first);
  }

 private:
  using Region = std::pair<const std::uint64_t, std::vector<std::byte>>;
  Region* find(std::uint64_t addr) {
    auto it = regions_.upper_bound(addr);
    if (it == regions_.begin()) return nullptr;
    --it;
    return addr - it->first < it->second.size() ? &*it : nullptr;
  }
  // How many bytes of one region are readable from addr on, at most len.
  std::size_t readable(std::uint64_t addr, std::size_t len) {
    const auto* r = find(addr);
    if (!r) return 0;
    std::uint64_t n = std::min<std::uint64_t>(r->second.size() - (addr - r->first), len);
    for (auto [lo, hi] : bad_) {
      if (addr >= lo && addr < hi) return 0;
      if (lo > addr) n = std::min(n, lo - addr);
    }
    return static_cast<std::size_t>(n);
  }

  std::map<std::uint64_t, std::vector<std::byte>> regions_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> bad_;
  std::size_t countdown_ = 0, reads_ = 0;
  bool faulted_ = false;
};

}  // namespace vitrine::inspect
