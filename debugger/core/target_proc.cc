#include "target.h"
namespace vitrine::inspect {
Result<std::unique_ptr<Target>> open_process(int, bool) { return Error{"cannot attach yet", {}}; }
}  // namespace vitrine::inspect
