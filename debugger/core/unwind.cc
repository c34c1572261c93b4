#include "unwind.h"
namespace vitrine::inspect {
struct Unwinder::Impl {};
Unwinder::Unwinder(Program&, Memory&) : impl_(new Impl) {}
Unwinder::~Unwinder() { delete impl_; }
StackWalk Unwinder::walk(const Registers& start, bool exact, StackBounds, std::size_t) {
  StackWalk w;
  w.frames.push_back({start.r[kRip], start.r[kRsp], How::start, exact});
  w.end = StackEnd::no_rule;
  return w;
}
bool Unwinder::step(const Registers&, bool, Registers&, How&, std::uint64_t&) { return false; }
std::string StackWalk::explain() const { return ""; }
}  // namespace vitrine::inspect
