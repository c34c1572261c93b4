// read_ahead.cc: see read_ahead.h. A buffer belongs to the thread from free_until_'s passing its range to filled_'s, and
// to the caller from then on to the next call of next().
#include "read_ahead.h"

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

void ReadAhead::run() {
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || i < free_until_; });
      if (stop_) return;
    }
    fill(buffers_[i % buffers_.size()], ranges_[i]);
    {
      std::lock_guard lock(mutex_);
      filled_ = i + 1;
    }
    changed_.notify_all();
  }
}

std::span<const std::byte> ReadAhead::next() {
  Buffer& buffer = buffers_[given_ % buffers_.size()];
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    free_until_ = given_ + buffers_.size();  // the one that was given last is free again
    changed_.notify_all();
    changed_.wait(lock, [&] { return filled_ > given_; });
  } else {
    fill(buffer, ranges_[given_]);
  }
  ++given_;
  return std::span(buffer.bytes).first(buffer.got);
}

}  // namespace vitrine::inspect
