// vitrine_bench.h: the parts of the vitrine program, one a file; each adds its workloads to the table.
#pragma once
#include <vitrine/vitrine.h>

#include "sched_bench.h"

namespace sched_bench {

void add_switch(table& t);
void add_spawn(table& t);
void add_channels(table& t);
void add_select(table& t);
void add_sync(table& t);
void add_timers(table& t);
void add_parked(table& t);
void add_threads(table& t);

}  // namespace sched_bench
