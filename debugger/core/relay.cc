// relay.cc: see relay.h.
#include "relay.h"

#include <chrono>
#include <exception>
#include <thread>

#include "quiet_thread.h"

namespace vitrine::inspect {
namespace {

constexpr auto kPollEvery = std::chrono::milliseconds(20);

}  // namespace

// The maker's end.
class Relay::Entry : public Sink {
 public:
  explicit Entry(Relay& relay) : relay_(relay) {}
  void out(std::string_view text) override {
    std::unique_lock lock(relay_.mutex_);
    relay_.changed_.wait(lock, [&] { return relay_.stop_ || relay_.ready_.size() < kWaiting; });
    if (relay_.stop_) return;
    relay_.ready_.emplace_back(text);
    relay_.changed_.notify_all();
  }
  void err(std::string_view) override {}  // a table has no messages

 private:
  Relay& relay_;
};

// Ends the maker, whatever happens to the caller.
struct Relay::Joined {
  ~Joined() {
    {
      std::lock_guard lock(relay.mutex_);
      relay.stop_ = true;
      relay.changed_.notify_all();
    }
    thread.join();
  }
  Relay& relay;
  std::thread& thread;
};

bool Relay::run(const Make& make) {
  std::exception_ptr thrown;
  std::thread thread;
  const bool made = start_quiet_thread(thread, [&] {
    Entry entry(*this);
    try {
      make(entry, [this] {
        std::lock_guard lock(mutex_);
        return stop_;
      });
    } catch (...) {
      thrown = std::current_exception();
    }
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  });
  if (!made) {
    make(to_, cancelled_);
    return !cancelled_();
  }
  bool cancelled = false;
  {
    const Joined joined{*this, thread};
    auto polled = std::chrono::steady_clock::now();
    while (!cancelled) {
      std::string piece;
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kPollEvery, [&] { return ended_ || !ready_.empty(); });
        if (ready_.empty() && ended_) break;
        if (!ready_.empty()) {
          piece = std::move(ready_.front());
          ready_.pop_front();
          changed_.notify_all();
        }
      }
      if (!piece.empty()) to_.out(piece);
      if (const auto now = std::chrono::steady_clock::now(); now - polled >= kPollEvery) {
        polled = now;
        cancelled = cancelled_();
      }
    }
  }
  if (thrown) std::rethrow_exception(thrown);
  return !cancelled;
}

}  // namespace vitrine::inspect
