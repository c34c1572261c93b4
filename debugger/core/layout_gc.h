// layout_gc.h: the rows of layout.h's table for the collector — its cycle, what decides when the next one begins, its
// roots, finalizers. All optional: a program that lacks one of the types only loses the commands that look at it.
#pragma once

// X(name, type, path, kind, need)
#define VITRINE_GC_ROWS(X)                                                                    \
  X(g_syscallregs, "g", "syscallregs", bytes, optional)                                       \
  X(mheap_pagesSwept, "mheap", "pagesSwept", word, optional)                                  \
  X(gcController_gcPercent, "gcControllerState", "gcPercent", word, optional)                 \
  X(gcController_heapMinimum, "gcControllerState", "heapMinimum", word, optional)             \
  X(gcController_heapMarked, "gcControllerState", "heapMarked", word, optional)               \
  X(gcController_heapGoal, "gcControllerState", "heapGoal|gcPercentHeapGoal", word, optional) \
  X(gcController_trigger, "gcControllerState", "trigger", word, optional)                     \
  X(work_assistTime, "workType", "assistTime", word, optional)                                \
  X(work_dedicatedMarkTime, "workType", "dedicatedMarkTime", word, optional)                  \
  X(work_fractionalMarkTime, "workType", "fractionalMarkTime", word, optional)                \
  X(work_idleMarkTime, "workType", "idleMarkTime", word, optional)                            \
  X(g_gcAssistCycle, "g", "gcAssistCycle", word, optional)                                    \
  X(g_gcAssistBytes, "g", "gcAssistBytes", word, optional)                                    \
  X(work_stopped, "workType", "stopped", word, optional)                                      \
  X(work_pauseNS, "workType", "pauseNS", word, optional)                                      \
  X(work_nproc, "workType", "nproc", word, optional)                                          \
  X(work_nwait, "workType", "nwait", word, optional)                                          \
  X(work_cycles, "workType", "cycles", word, optional)                                        \
  X(work_nforced, "workType", "nforced", word, optional)                                      \
  X(work_userForced, "workType", "userForced", word, optional)                                \
  X(work_startersp, "workType", "startersp", word, optional)                                  \
  X(work_tSweepTerm, "workType", "tSweepTerm", word, optional)                                \
  X(work_tMark, "workType", "tMark", word, optional)                                          \
  X(work_tMarkTerm, "workType", "tMarkTerm", word, optional)                                  \
  X(work_tEnd, "workType", "tEnd", word, optional)                                            \
  X(work_heap0, "workType", "heap0", word, optional)                                          \
  X(work_heap1, "workType", "heap1", word, optional)                                          \
  X(work_heap2, "workType", "heap2", word, optional)                                          \
  X(work_stacksScanned, "workType", "stacksScanned", word, optional)                          \
  X(work_globalsScanned, "workType", "globalsScanned", word, optional)                        \
  X(work_pauseTotal, "workType", "pauseTotal", word, optional)                                \
  X(sweepdata_g, "sweepdata", "g_", pointer, optional)                                        \
  X(sweepdata_nbgsweep, "sweepdata", "nbgsweep", word, optional)                              \
  X(sweepdata_npausesweep, "sweepdata", "npausesweep", word, optional)                        \
  X(scavengedata_g, "scavengedata", "g_", pointer, optional)                                  \
  X(scavengedata_released, "scavengedata", "released", word, optional)                        \
  X(forcegcstate_g, "forcegcstate", "g_", pointer, optional)                                  \
  X(finalizers_fing, "finalizers_", "fing", pointer, optional)                                \
  X(finalizers_finq, "finalizers_", "finq", pointer, optional)                                \
  X(finalizers_running, "finalizers_", "running", bytes, optional)                            \
  X(finalizers_queued, "finalizers_", "queued", word, optional)                               \
  X(finalizers_run, "finalizers_", "run", word, optional)                                     \
  X(finblock_next, "finblock", "next", pointer, optional)                                     \
  X(finblock_cnt, "finblock", "cnt", word, optional)                                          \
  X(finblock_fin, "finblock", "fin", bytes, optional)                                         \
  X(finalizer_object, "finalizer", "object", pointer, optional)                               \
  X(gcroots_head, "gcroots_", "head", bytes, optional)                                        \
  X(gcroots_n, "gcroots_", "n", word, optional)                                               \
  X(gcroot_p, "gcroot", "p", pointer, optional)                                               \
  X(gcroot_next, "gcroot", "next", pointer, optional)                                         \
  X(gcsegments_n, "gcsegments_", "n", word, optional)                                         \
  X(gcsegments_at, "gcsegments_", "at", bytes, optional)                                      \
  X(gcsegment_lo, "gcsegment", "lo", word, optional)                                          \
  X(gcsegment_hi, "gcsegment", "hi", word, optional)                                          \
  X(specialfinalizer_arg, "specialfinalizer", "arg", pointer, optional)                       \
  X(specialdestructor_destroy, "specialdestructor", "destroy", pointer, optional)             \
  X(specialdestructor_n, "specialdestructor", "n", word, optional)

// X(name, variable, need)
#define VITRINE_GC_ROOTS(X)               \
  X(gcwork, "work", optional)             \
  X(gcsweep, "sweep", optional)           \
  X(gcscavenge, "scavenge", optional)     \
  X(gcforce, "forcegc", optional)         \
  X(gcfinalizers, "finalizers", optional) \
  X(gcroots, "gcroots", optional)         \
  X(gcsegments, "gcsegments", optional)   \
  X(g0, "g0", optional)

// The types of these rows that the rows of layout.h do not name.
#define VITRINE_GC_TYPES                                                                                       \
  "workType", "sweepdata", "scavengedata", "forcegcstate", "finalizers_", "finblock", "finalizer", "gcroots_", \
      "gcroot", "gcsegments_", "gcsegment", "specialfinalizer", "specialdestructor"
