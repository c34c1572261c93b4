// fiber_switch.cc: Boost.Context's own switch, the assembly under Boost.Fiber.
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fixedsize_stack.hpp>

#include "fiber_bench.h"

namespace sched_bench {
namespace {

namespace context = boost::context;

void bounce(context::detail::transfer_t from) {
  for (;;) from = context::detail::jump_fcontext(from.fctx, nullptr);
}

void raw_switches(std::int64_t n) {
  context::fixedsize_stack allocator(64 << 10);
  auto stack = allocator.allocate();
  context::detail::transfer_t other{context::detail::make_fcontext(stack.sp, stack.size, bounce), nullptr};
  for (std::int64_t i = 0; i < n / 2; i++) other = context::detail::jump_fcontext(other.fctx, nullptr);
  allocator.deallocate(stack);
}

}  // namespace

void add_switch(table& t) {
  t.push_back({"switch", [](double seconds) { return grow(seconds, 2, raw_switches); }});
}

}  // namespace sched_bench
