// relay.h: text that is made by a thread of its own while the caller's thread hands what is ready to a sink. Half of what a
// long table costs is its making, the other half the debugger's printing: neither waits for the other.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "session.h"

namespace vitrine::inspect {

class Relay {
 public:
  // `to` and `cancelled` are called on the thread that calls run(), and on no other.
  Relay(Sink& to, std::function<bool()> cancelled) : to_(to), cancelled_(std::move(cancelled)) {}
  Relay(const Relay&) = delete;

  // make(sink, stopped) fills the sink, and returns as soon as it sees that stopped() is true; nothing else of the session
  // may be used by the caller meanwhile. False: cancelled. What make throws is thrown here.
  using Make = std::function<void(Sink& sink, const std::function<bool()>& stopped)>;
  bool run(const Make& make);

 private:
  class Entry;
  struct Joined;
  static constexpr std::size_t kWaiting = 8;  // pieces that are not handed over yet, at most

  Sink& to_;
  std::function<bool()> cancelled_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> ready_;      // guarded by mutex_
  bool stop_ = false, ended_ = false;  // guarded by mutex_
};

}  // namespace vitrine::inspect
