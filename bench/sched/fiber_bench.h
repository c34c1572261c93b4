// fiber_bench.h: the parts of the Boost.Fiber program, one a file; each adds its workloads to the table.
#pragma once
#include <boost/fiber/all.hpp>

#include "sched_bench.h"

namespace sched_bench {

void add_switch(table& t);
void add_spawn(table& t);
void add_channels(table& t);
void add_sync(table& t);
void add_parked(table& t);

// Boost's default allocator with this runtime's default size.
inline boost::fibers::fixedsize_stack stacks() { return boost::fibers::fixedsize_stack(64 << 10); }

// How goroutines begin: the new fiber is queued and its creator goes on.
template <class F>
boost::fibers::fiber start(F&& f) {
  return boost::fibers::fiber(boost::fibers::launch::post, std::allocator_arg, stacks(), std::forward<F>(f));
}

// Fibers that are joined together; they are joined by handle, there is no wait group.
class group {
 public:
  template <class F>
  void go(F&& f) {
    all_.push_back(start(std::forward<F>(f)));
  }
  void wait() {
    for (auto& f : all_) f.join();
    all_.clear();
  }

 private:
  std::vector<boost::fibers::fiber> all_;
};

// Waits until done() was called n times, for fibers that nobody joins.
class countdown {
 public:
  explicit countdown(std::int64_t n) : left_(n) {}
  void done() {
    std::unique_lock lock(mutex_);
    if (--left_ == 0) zero_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    zero_.wait(lock, [&] { return left_ == 0; });
  }

 private:
  boost::fibers::mutex mutex_;
  boost::fibers::condition_variable zero_;
  std::int64_t left_;
};

}  // namespace sched_bench
