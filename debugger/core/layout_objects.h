// layout_objects.h: the rows of layout.h's table for what goroutines wait on — channels and the sync objects — and for
// their queues. All optional: a program that lacks one of the types only loses the commands that look at it.
#pragma once

// X(name, type, path, kind, need)
#define VITRINE_OBJECT_FIELDS(X)                                                       \
  X(g_waiting, "g", "waiting", pointer, optional)                                      \
  X(g_isforeign, "g", "isforeign", word, optional)                                     \
  X(sudog_g, "sudog", "g", pointer, optional)                                          \
  X(sudog_next, "sudog", "next", pointer, optional)                                    \
  X(sudog_prev, "sudog", "prev", pointer, optional)                                    \
  X(sudog_elem, "sudog", "elem.vu|elem", pointer, optional)                            \
  X(sudog_isSelect, "sudog", "isSelect", word, optional)                               \
  X(sudog_success, "sudog", "success", word, optional)                                 \
  X(sudog_waitlink, "sudog", "waitlink", pointer, optional)                            \
  X(sudog_c, "sudog", "c.maybeTraceablePtr.vu|c", pointer, optional)                   \
  X(hchan_qcount, "hchan", "qcount", word, optional)                                   \
  X(hchan_dataqsiz, "hchan", "dataqsiz", word, optional)                               \
  X(hchan_buf, "hchan", "buf", pointer, optional)                                      \
  X(hchan_elemsize, "hchan", "elemsize", word, optional)                               \
  X(hchan_closed, "hchan", "closed", word, optional)                                   \
  X(hchan_refs, "hchan", "refs", word, optional)                                       \
  X(hchan_elemtype, "hchan", "elemtype", pointer, optional)                            \
  X(hchan_sendx, "hchan", "sendx", word, optional)                                     \
  X(hchan_recvx, "hchan", "recvx", word, optional)                                     \
  X(hchan_recvq_first, "hchan", "recvq.first", pointer, optional)                      \
  X(hchan_recvq_last, "hchan", "recvq.last", pointer, optional)                        \
  X(hchan_sendq_first, "hchan", "sendq.first", pointer, optional)                      \
  X(hchan_sendq_last, "hchan", "sendq.last", pointer, optional)                        \
  X(hchan_lock, "hchan", "lock", word, optional)                                       \
  X(chantype_size, "chantype", "size|Size_", word, optional)                           \
  X(chantype_str, "chantype", "str|Str", word, optional)                               \
  X(chantype_tflag, "chantype", "tflag|TFlag", word, optional)                         \
  X(chantype_name_str, "chantype", "name.str", pointer, optional)                      \
  X(chantype_name_len, "chantype", "name.len", word, optional)                         \
  X(syncMutex_state, "syncMutex", "state", word, optional)                             \
  X(syncMutex_lock, "syncMutex", "lock", word, optional)                               \
  X(syncMutex_first, "syncMutex", "waitq.first", pointer, optional)                    \
  X(syncMutex_last, "syncMutex", "waitq.last", pointer, optional)                      \
  X(syncMutex_owner, "syncMutex", "owner", word, optional)                             \
  X(syncMutex_sema, "syncMutex", "sema", word, optional)                               \
  X(syncRWMutex_writerSem, "syncRWMutex", "writerSem", word, optional)                 \
  X(syncRWMutex_readerSem, "syncRWMutex", "readerSem", word, optional)                 \
  X(syncRWMutex_readerCount, "syncRWMutex", "readerCount", word, optional)             \
  X(syncRWMutex_readerWait, "syncRWMutex", "readerWait", word, optional)               \
  X(syncRWMutex_innerSem, "syncRWMutex", "w.mu.sema|w.sema", word, optional)           \
  X(syncWaitGroup_sema, "syncWaitGroup", "sema|state2", word, optional)                \
  X(syncRWMutex_state, "syncRWMutex", "state", word, optional)                         \
  X(syncRWMutex_lock, "syncRWMutex", "lock", word, optional)                           \
  X(syncRWMutex_readq_first, "syncRWMutex", "readq.first", pointer, optional)          \
  X(syncRWMutex_readq_last, "syncRWMutex", "readq.last", pointer, optional)            \
  X(syncRWMutex_writeq_first, "syncRWMutex", "writeq.first", pointer, optional)        \
  X(syncRWMutex_writeq_last, "syncRWMutex", "writeq.last", pointer, optional)          \
  X(syncRWMutex_others_first, "syncRWMutex", "writers.waitq.first", pointer, optional) \
  X(syncRWMutex_others_last, "syncRWMutex", "writers.waitq.last", pointer, optional)   \
  X(syncRWMutex_owner, "syncRWMutex", "owner", word, optional)                         \
  X(syncCond_lock, "syncCond", "lock", word, optional)                                 \
  X(syncCond_first, "syncCond", "waitq.first", pointer, optional)                      \
  X(syncCond_last, "syncCond", "waitq.last", pointer, optional)                        \
  X(syncOnce_done, "syncOnce", "done", word, optional)                                 \
  X(syncOnce_lock, "syncOnce", "lock", word, optional)                                 \
  X(syncOnce_first, "syncOnce", "waitq.first", pointer, optional)                      \
  X(syncOnce_last, "syncOnce", "waitq.last", pointer, optional)                        \
  X(syncOnce_running, "syncOnce", "running", word, optional)                           \
  X(syncOnce_runner, "syncOnce", "runner", word, optional)                             \
  X(syncSema_count, "syncSema", "count", word, optional)                               \
  X(syncSema_lock, "syncSema", "lock", word, optional)                                 \
  X(syncSema_first, "syncSema", "waitq.first", pointer, optional)                      \
  X(syncSema_last, "syncSema", "waitq.last", pointer, optional)                        \
  X(syncWaitGroup_state, "syncWaitGroup", "state|state1", word, optional)              \
  X(syncWaitGroup_lock, "syncWaitGroup", "lock", word, optional)                       \
  X(syncWaitGroup_first, "syncWaitGroup", "waitq.first", pointer, optional)            \
  X(syncWaitGroup_last, "syncWaitGroup", "waitq.last", pointer, optional)              \
  X(taskState_done, "taskState", "done", word, optional)                               \
  X(taskState_lock, "taskState", "lock", word, optional)                               \
  X(taskState_first, "taskState", "waitq.first", pointer, optional)                    \
  X(taskState_last, "taskState", "waitq.last", pointer, optional)                      \
  X(taskState_goid, "taskState", "goid", word, optional)

// The types of these rows that the rows of layout.h do not name.
#define VITRINE_OBJECT_TYPES                                                                                     \
  "sudog", "hchan", "chantype", "syncMutex", "syncRWMutex", "syncCond", "syncOnce", "syncSema", "syncWaitGroup", \
      "taskState"
