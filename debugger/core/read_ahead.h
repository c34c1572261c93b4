// read_ahead.h: reads ranges of a target, the next ones by a thread of its own while the caller looks at one, and gives them
// in order. Half of what a million g's cost is the kernel's copying, the other half our decoding: neither waits for the
// other, and a caller whose range is still being read reads the next by itself. On a target that is not for several
// threads, and for few bytes, the caller reads alone.
#pragma once
#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "target.h"

namespace vitrine::inspect {

class ReadAhead {
 public:
  struct Range {
    std::uint64_t addr = 0;
    std::size_t size = 0;
  };
  ReadAhead(Target& target, std::vector<Range> ranges);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;

  // The next range's bytes, as many as Target::read gives, until the next call.
  std::span<const std::byte> next();

 private:
  struct Buffer {
    std::vector<std::byte> bytes;
    std::size_t got = 0;
    bool filled = false;  // guarded by mutex_
  };
  void fill(Buffer& buffer, const Range& range);
  bool fill_next(std::unique_lock<std::mutex>& lock);
  void run();

  static constexpr std::size_t kMinBytes = 4 << 20;  // fewer are not worth a thread
  Target& target_;
  std::vector<Range> ranges_;
  std::array<Buffer, 4> buffers_;  // range i is in i % 4
  std::size_t given_ = 0;          // ranges that next() gave
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t taken_ = 0, free_until_ = 0;  // guarded by mutex_: ranges that somebody reads or has read; that may be
  bool stop_ = false;                       // guarded by mutex_
  std::thread thread_;                      // none: next() reads
};

}  // namespace vitrine::inspect
