// vitrine_bench.h: the parts of the vitrine program.
#pragma once
#include "alloc_bench.h"

namespace alloc_bench {

result stacks(std::uint64_t size, std::int64_t n);

}  // namespace alloc_bench
