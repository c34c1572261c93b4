// layout_recorder.h: the rows of layout.h's table for the flight recorder. All optional: without them there is no
// history.
#pragma once

// X(name, type, path, kind, need)
#define VITRINE_RECORDER_FIELDS(X)                               \
  X(trace_enabled, "tracet", "enabled", word, optional)          \
  X(trace_version, "tracet", "version", word, optional)          \
  X(trace_clock, "tracet", "clock", word, optional)              \
  X(trace_ngen, "tracet", "ngen", word, optional)                \
  X(trace_bufs, "tracet", "bufs", pointer, optional)             \
  X(trace_base, "tracet", "base", bytes, optional)               \
  X(trace_point, "tracet", "point", bytes, optional)             \
  X(trace_lastpoint, "tracet", "lastpoint", word, optional)      \
  X(trace_dropped, "tracet", "dropped", word, optional)          \
  X(tracePoint_ticks, "tracePoint", "ticks", word, optional)     \
  X(tracePoint_mono, "tracePoint", "mono", word, optional)       \
  X(tracePoint_wall, "tracePoint", "wall", word, optional)       \
  X(traceBuf_head, "traceBuf", "head", word, optional)           \
  X(traceBuf_mask, "traceBuf", "mask", word, optional)           \
  X(traceBuf_records, "traceBuf", "records", pointer, optional)  \
  X(traceBuf_first, "traceBuf", "first", word, optional)         \
  X(traceBuf_gen, "traceBuf", "gen", word, optional)             \
  X(traceBuf_live, "traceBuf", "live", word, optional)           \
  X(traceBuf_mid, "traceBuf", "mid", word, optional)             \
  X(traceBuf_tid, "traceBuf", "tid", word, optional)             \
  X(traceBuf_stoptime, "traceBuf", "stoptime", word, optional)   \
  X(traceBuf_stopg, "traceBuf", "stopg", word, optional)         \
  X(traceBuf_stopwhat, "traceBuf", "stopwhat", word, optional)   \
  X(traceBuf_readytime, "traceBuf", "readytime", word, optional) \
  X(traceBuf_readyg, "traceBuf", "readyg", word, optional)       \
  X(traceBuf_readier, "traceBuf", "readier", word, optional)     \
  X(traceBuf_alllink, "traceBuf", "alllink", pointer, optional)  \
  X(traceRecord_time, "traceRecord", "time", word, optional)     \
  X(traceRecord_g, "traceRecord", "g", word, optional)           \
  X(traceRecord_other, "traceRecord", "other", word, optional)   \
  X(traceRecord_what, "traceRecord", "what", word, optional)

// X(name, variable, need)
#define VITRINE_RECORDER_ROOTS(X) X(trace, "trace", optional)

// The types of these rows that the rows of layout.h do not name.
#define VITRINE_RECORDER_TYPES "tracet", "tracePoint", "traceBuf", "traceRecord"
