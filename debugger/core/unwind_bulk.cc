#include "unwind.h"
namespace vitrine::inspect {
bool Unwinder::walk_many(const std::vector<Context>& contexts, const BulkSink& sink, const std::function<bool()>&) {
  for (std::size_t i = 0; i < contexts.size(); i++) sink(i, &contexts[i].pc, 1, StackEnd::no_rule, contexts[i].pc);
  return true;
}
}  // namespace vitrine::inspect
