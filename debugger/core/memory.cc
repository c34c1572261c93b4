// memory.cc: exact and typed reads over a Target, with a page cache in front.
//
// How one read goes:
//   1. A target whose bytes lie in memory of ours (a mmapped core) is copied from directly; nothing is cached, because
//      the page cache of the kernel already is one and a core may be larger than RAM.
//   2. A long read goes straight to the target. A guard page or a hole makes such a read short although bytes follow
//      that are not wanted, so what is missing is then asked for page by page.
//   3. A short read takes whole pages from the cache. A miss asks for a block of pages at once, since one callback of
//      a debugger costs the same for 4 KiB as for 64 KiB; when the block is short, only for the page at hand.
//   4. A page that cannot be read as a whole is not cached; the wanted bytes are read on their own, so a target whose
//      regions do not end at page boundaries (tests, odd cores) loses nothing.
// Data and code are cached apart: a live host hides its breakpoints in code only. The cache is dropped when it has
// grown to its limit and by flush(); eviction by age was not worth its bookkeeping for commands that last seconds.
#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "target.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kBlock = 16 * kPage;  // asked for at once on a miss
constexpr std::size_t kDirect = 4 * kPage;    // reads from this length on bypass the cache
constexpr std::size_t kMaxPages = 16384;      // 64 MiB

std::uint64_t page_of(std::uint64_t addr) { return addr & ~(kPage - 1); }

// Bytes from addr to the end of its page, at most len.
std::size_t in_page(std::uint64_t addr, std::size_t len) {
  return static_cast<std::size_t>(std::min<std::uint64_t>(len, kPage - (addr & (kPage - 1))));
}

}  // namespace

struct Memory::Cache {
  using Page = std::array<std::byte, kPage>;
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages[2];  // by space

  std::byte* find(std::uint64_t page, Space space) {
    auto& m = pages[space == Space::code];
    auto it = m.find(page);
    return it == m.end() ? nullptr : it->second->data();
  }

  void put(std::uint64_t page, Space space, const std::byte* bytes) {
    auto& m = pages[space == Space::code];
    if (m.size() >= kMaxPages) m.clear();
    auto& slot = m[page];
    if (!slot) slot = std::make_unique<Page>();
    std::memcpy(slot->data(), bytes, kPage);
  }

  // Brings the page in, and its block when the target gives all of it. Null: the page is not wholly readable.
  std::byte* load(Target& target, std::uint64_t page, Space space) {
    std::array<std::byte, kBlock> block;
    const std::uint64_t start = page & ~(kBlock - 1);
    if (!target.concurrent()) {
      const std::size_t got = target.read(start, block, space);
      if (start + got >= page + kPage) {
        for (std::size_t at = 0; at + kPage <= got; at += kPage) put(start + at, space, block.data() + at);
        return find(page, space);
      }
    }
    const std::size_t got = target.read(page, std::span(block).first(kPage), space);
    if (got < kPage) return nullptr;
    put(page, space, block.data());
    return find(page, space);
  }
};

std::size_t Memory::read_prefix(std::uint64_t addr, std::span<std::byte> out, Space space) {
  if (addr + out.size() < addr) out = out.first(static_cast<std::size_t>(-addr));  // the end of the address space
  if (out.empty()) return 0;
  if (const std::byte* bytes = target_.view(addr, out.size())) {
    std::memcpy(out.data(), bytes, out.size());
    return out.size();
  }
  std::size_t done = 0;
  if (out.size() >= kDirect) done = std::min(target_.read(addr, out, space), out.size());
  if (!cache_) cache_ = std::make_shared<Cache>();
  while (done < out.size()) {
    const std::uint64_t at = addr + done;
    auto piece = out.subspan(done, in_page(at, out.size() - done));
    std::size_t got = 0;
    if (const std::byte* bytes = target_.view(at, piece.size())) {
      std::memcpy(piece.data(), bytes, piece.size());
      got = piece.size();
    } else {
      std::byte* page = cache_->find(page_of(at), space);
      if (!page) page = cache_->load(target_, page_of(at), space);
      if (page) {
        std::memcpy(piece.data(), page + (at - page_of(at)), piece.size());
        got = piece.size();
      } else {
        got = std::min(target_.read(at, piece, space), piece.size());
      }
    }
    done += got;
    if (got < piece.size()) break;
  }
  return done;
}

Status Memory::read(std::uint64_t addr, std::span<std::byte> out, Space space) {
  const std::size_t got = read_prefix(addr, out, space);
  if (got == out.size()) return Ok{};
  char text[64];
  std::snprintf(text, sizeof text, "cannot read memory at 0x%llx", static_cast<unsigned long long>(addr + got));
  return Error{text, addr + got};
}

Result<std::string> Memory::c_string(std::uint64_t addr, std::size_t max) {
  std::string s;
  std::array<char, 256> buf;
  while (s.size() < max) {
    const std::uint64_t at = addr + s.size();
    const std::size_t want = in_page(at, std::min(buf.size(), max - s.size()));
    const std::size_t got = read_prefix(at, std::as_writable_bytes(std::span(buf).first(want)));
    const char* end = static_cast<const char*>(std::memchr(buf.data(), 0, got));
    s.append(buf.data(), end ? static_cast<std::size_t>(end - buf.data()) : got);
    if (end) return s;
    if (got < want) {
      char text[64];
      std::snprintf(text, sizeof text, "cannot read memory at 0x%llx", static_cast<unsigned long long>(at + got));
      return Error{text, at + got};
    }
  }
  return s;
}

void Memory::flush() { cache_.reset(); }

}  // namespace vitrine::inspect
