// recorder_chrome.h: a Recorder's timeline as a file of the trace event format, which Perfetto (ui.perfetto.dev) and
// chrome://tracing open.
#pragma once
#include "json.h"
#include "recorder.h"

namespace vitrine::inspect {

struct ChromeCounts {
  std::uint64_t slices = 0, arrows = 0;
};
// One track a P and one an M, a slice for each stretch that a goroutine runs or is in a system call, arrows from who
// readied it to where it runs. False: cancelled.
bool write_chrome(Session& session, Recorder& recorder, Stacks& stacks, Buffered& out, ChromeCounts& counts);

}  // namespace vitrine::inspect
