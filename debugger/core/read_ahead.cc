// read_ahead.cc: see read_ahead.h. A buffer belongs to whoever took its range, until it is filled, and then to the caller
// until the next call of next(), which makes it free for the range four further on.
#include "read_ahead.h"

#include <algorithm>

#include "quiet_thread.h"

namespace vitrine::inspect {

ReadAhead::ReadAhead(Target& target, std::vector<Range> ranges) : target_(target), ranges_(std::move(ranges)) {
  std::size_t bytes = 0;
  for (const Range& r : ranges_) bytes += r.size;
  if (bytes < kMinBytes || !target_.concurrent()) return;
  free_until_ = buffers_.size();
  start_quiet_thread(thread_, [this] { run(); });
}

ReadAhead::~ReadAhead() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ReadAhead::fill(Buffer& buffer, const Range& range) {
  if (buffer.bytes.size() < range.size) buffer.bytes.resize(range.size);
  buffer.got = target_.read(range.addr, std::span(buffer.bytes).first(range.size), Space::data);
}

// Reads the next range that nobody has taken; false: there is none, or no buffer for it.
bool ReadAhead::fill_next(std::unique_lock<std::mutex>& lock) {
  if (taken_ >= std::min(free_until_, ranges_.size())) return false;
  const std::size_t i = taken_++;
  Buffer& buffer = buffers_[i % buffers_.size()];
  lock.unlock();
  fill(buffer, ranges_[i]);
  lock.lock();
  buffer.filled = true;
  changed_.notify_all();
  return true;
}

void ReadAhead::run() {
  std::unique_lock lock(mutex_);
  while (!stop_ && taken_ < ranges_.size()) {
    if (!fill_next(lock)) changed_.wait(lock);
  }
}

std::span<const std::byte> ReadAhead::next() {
  Buffer& buffer = buffers_[given_ % buffers_.size()];
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    if (given_ > 0) buffers_[(given_ - 1) % buffers_.size()].filled = false;
    free_until_ = given_ + buffers_.size();  // the one that was given last is free again
    changed_.notify_all();
    while (!buffer.filled) {
      if (!fill_next(lock)) changed_.wait(lock);
    }
  } else {
    fill(buffer, ranges_[given_]);
  }
  ++given_;
  return std::span(buffer.bytes).first(buffer.got);
}

}  // namespace vitrine::inspect
