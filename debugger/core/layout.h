// layout.h: what is read of a runtime, as one table — (type, field path, kind, required or optional) — and where it all
// is in this target. The table is the only place that names a field; the rest of the core asks "is it there", never
// "which version". A test checks the table against the built runtime, and its two sources against each other:
//   1. DWARF: types and globals by the dialect's names; single-member structures are unwrapped.
//   2. the layout note (note_format.md), for programs whose DWARF was stripped.
// A row may name alternatives, "a|b": the first that exists counts.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "dialect.h"
#include "layout_gc.h"
#include "layout_heap.h"
#include "layout_objects.h"
#include "layout_recorder.h"
#include "program.h"
#include "target.h"

namespace vitrine::inspect {

// X(name, type, path, kind, need)
#define VITRINE_FIELD_TABLE(X)                                                                  \
  X(g_stack_lo, "g", "stack.lo", word, required)                                                \
  X(g_stack_hi, "g", "stack.hi", word, required)                                                \
  X(g_sched_sp, "g", "sched.sp", word, required)                                                \
  X(g_sched_pc, "g", "sched.pc", word, required)                                                \
  X(g_sched_bp, "g", "sched.bp", word, optional)                                                \
  X(g_atomicstatus, "g", "atomicstatus", word, required)                                        \
  X(g_waitreason, "g", "waitreason", word, optional)                                            \
  X(g_issystem, "g", "issystem", word, optional)                                                \
  X(g_guard, "g", "guard", word, optional)                                                      \
  X(g_goid, "g", "goid", word, required)                                                        \
  X(g_m, "g", "m", pointer, optional)                                                           \
  X(g_waitsince, "g", "waitsince", word, optional)                                              \
  X(g_gopc, "g", "gopc", word, optional)                                                        \
  X(g_startpc, "g", "startpc", word, optional)                                                  \
  X(g_parentGoid, "g", "parentGoid", word, optional)                                            \
  X(g_labels, "g", "labels", pointer, optional)                                                 \
  X(g_waitobject, "g", "waitobject", pointer, optional)                                         \
  X(g_name, "g", "name", bytes, optional)                                                       \
  X(g_syscallsp, "g", "syscallsp", word, optional)                                              \
  X(g_syscallpc, "g", "syscallpc", word, optional)                                              \
  X(g_syscallbp, "g", "syscallbp", word, optional)                                              \
  X(g_lockedm, "g", "lockedm", pointer, optional)                                               \
  X(g_schedlink, "g", "schedlink", pointer, optional)                                           \
  X(g_preempt, "g", "preempt", word, optional)                                                  \
  X(g_noproc, "g", "noproc", word, optional)                                                    \
  X(g_foreigntid, "g", "foreigntid", word, optional)                                            \
  X(m_g0, "m", "g0", pointer, required)                                                         \
  X(m_gsignal, "m", "gsignal", pointer, optional)                                               \
  X(m_tls, "m", "tls", bytes, optional)                                                         \
  X(m_vdsoPC, "m", "vdsoPC", word, optional)                                                    \
  X(m_procid, "m", "procid", word, required)                                                    \
  X(m_curg, "m", "curg", pointer, required)                                                     \
  X(m_p, "m", "p", pointer, optional)                                                           \
  X(m_nextp, "m", "nextp", pointer, optional)                                                   \
  X(m_id, "m", "id", word, required)                                                            \
  X(m_spinning, "m", "spinning", word, optional)                                                \
  X(m_blocked, "m", "blocked", word, optional)                                                  \
  X(m_alllink, "m", "alllink", pointer, required)                                               \
  X(m_lockedg, "m", "lockedg", pointer, optional)                                               \
  X(m_oldp, "m", "oldp", pointer, optional)                                                     \
  X(m_schedlink, "m", "schedlink", pointer, optional)                                           \
  X(m_idlelink, "m", "idleNode.next|schedlink", pointer, optional)                              \
  X(m_vdsoSP, "m", "vdsoSP", word, optional)                                                    \
  X(m_locks, "m", "locks", word, optional)                                                      \
  X(m_mstartfn, "m", "mstartfn", pointer, optional)                                             \
  X(m_nsteal, "m", "nsteal", word, optional)                                                    \
  X(m_npreempt, "m", "npreempt", word, optional)                                                \
  X(p_id, "p", "id", word, required)                                                            \
  X(p_status, "p", "status", word, required)                                                    \
  X(p_schedtick, "p", "schedtick", word, optional)                                              \
  X(p_m, "p", "m", pointer, optional)                                                           \
  X(p_link, "p", "link", pointer, optional)                                                     \
  X(p_syscalltick, "p", "syscalltick", word, optional)                                          \
  X(p_preempt, "p", "preempt", word, optional)                                                  \
  X(p_runqhead, "p", "runqhead", word, optional)                                                \
  X(p_runqtail, "p", "runqtail", word, optional)                                                \
  X(p_runnext, "p", "runnext", pointer, optional)                                               \
  X(p_runq, "p", "runq", bytes, optional)                                                       \
  X(p_gfree_list, "p", "gFree.list|gFree.head|gFree.gList.head|gFree.gList", pointer, optional) \
  X(p_gfree_n, "p", "gFree.n|gFree.size", word, optional)                                       \
  X(p_timers_lock, "p", "timers.lock|timers.mu|timersLock", word, optional)                     \
  X(p_timers_array, "p", "timers.heap.array|timers.array", pointer, optional)                   \
  X(p_sudogcache_head, "p", "sudogcache.head", pointer, optional)                               \
  X(p_timers_heaplen, "p", "timers.heap.len|timers.len", word, optional)                        \
  X(p_timers_len, "p", "timers.len|numTimers", word, optional)                                  \
  X(p_timers_zombies, "p", "timers.zombies|deletedTimers", word, optional)                      \
  X(p_timers_minwhen, "p", "timers.minWhen|timers.minWhenHeap|timer0When", word, optional)      \
  X(p_nsteal, "p", "nsteal", word, optional)                                                    \
  X(p_sysmon_schedwhen, "p", "sysmontick.schedwhen", word, optional)                            \
  X(p_sysmon_syscallwhen, "p", "sysmontick.syscallwhen", word, optional)                        \
  X(schedt_lastnow, "schedt", "lastnow|lastpoll", word, optional)                               \
  X(schedt_ngsys, "schedt", "ngsys", word, optional)                                            \
  X(schedt_nmidle, "schedt", "nmidle", word, optional)                                          \
  X(schedt_npidle, "schedt", "npidle", word, optional)                                          \
  X(schedt_nmspinning, "schedt", "nmspinning", word, optional)                                  \
  X(schedt_runqsize, "schedt", "runqsize|runq.size", word, optional)                            \
  X(schedt_lastpoll, "schedt", "lastpoll", word, optional)                                      \
  X(schedt_pollUntil, "schedt", "pollUntil", word, optional)                                    \
  X(schedt_lock, "schedt", "lock", word, optional)                                              \
  X(schedt_midle, "schedt", "midle.obj|midle", pointer, optional)                               \
  X(schedt_nmidlelocked, "schedt", "nmidlelocked", word, optional)                              \
  X(schedt_mnext, "schedt", "mnext", word, optional)                                            \
  X(schedt_maxmcount, "schedt", "maxmcount", word, optional)                                    \
  X(schedt_nmfreed, "schedt", "nmfreed", word, optional)                                        \
  X(schedt_pidle, "schedt", "pidle", pointer, optional)                                         \
  X(schedt_needspinning, "schedt", "needspinning", word, optional)                              \
  X(schedt_runq_head, "schedt", "runq.head", pointer, optional)                                 \
  X(schedt_runq_tail, "schedt", "runq.tail", pointer, optional)                                 \
  X(schedt_gfree_lock, "schedt", "gFree.lock", word, optional)                                  \
  X(schedt_gfree_stack, "schedt", "gFree.stack.head|gFree.stack", pointer, optional)            \
  X(schedt_gfree_nostack, "schedt", "gFree.noStack.head|gFree.noStack", pointer, optional)      \
  X(schedt_gfree_n, "schedt", "gFree.n", word, optional)                                        \
  X(schedt_gcwaiting, "schedt", "gcwaiting", word, optional)                                    \
  X(schedt_stopwait, "schedt", "stopwait", word, optional)                                      \
  X(schedt_sysmonwait, "schedt", "sysmonwait", word, optional)                                  \
  X(schedt_exiting, "schedt", "exiting", word, optional)                                        \
  X(schedt_starttime, "schedt", "starttime", word, optional)                                    \
  X(schedt_nforeignparked, "schedt", "nforeignparked", word, optional)                          \
  X(timer_when, "timer", "when", word, optional)                                                \
  X(timer_period, "timer", "period", word, optional)                                            \
  X(timer_f, "timer", "f", pointer, optional)                                                   \
  X(timer_arg, "timer", "arg.data|arg", pointer, optional)                                      \
  X(timer_pp, "timer", "pp", pointer, optional)                                                 \
  X(timer_index, "timer", "index", word, optional)                                              \
  X(timer_kind, "timer", "kind", word, optional)                                                \
  X(timer_zombie, "timer", "zombie", word, optional)                                            \
  X(timer_goid, "timer", "goid", word, optional)                                                \
  X(timer_state, "timer", "state|status", word, optional)                                       \
  X(timer_nextwhen, "timer", "nextwhen", word, optional)                                        \
  X(timerWhen_timer, "timerWhen", "timer", pointer, optional)                                   \
  X(timerWhen_when, "timerWhen", "when", word, optional)                                        \
  X(pollDesc_alllink, "pollDesc", "alllink", pointer, optional)                                 \
  X(pollDesc_fd, "pollDesc", "fd", word, optional)                                              \
  X(pollDesc_closing, "pollDesc", "closing", word, optional)                                    \
  X(pollDesc_open, "pollDesc", "open", word, optional)                                          \
  X(pollDesc_rg, "pollDesc", "rg", word, optional)                                              \
  X(pollDesc_wg, "pollDesc", "wg", word, optional)                                              \
  X(pollDesc_rd, "pollDesc", "rd", word, optional)                                              \
  X(pollDesc_wd, "pollDesc", "wd", word, optional)                                              \
  X(pollDesc_goid, "pollDesc", "goid", word, optional)                                          \
  X(moduledata_types, "moduledata", "types", word, optional)                                    \
  X(moduledata_etypes, "moduledata", "etypes", word, optional)                                  \
  X(semaRoot_treap, "semaRoot", "treap", pointer, optional)                                     \
  X(slice_array, "slice", "array", pointer, required)                                           \
  X(slice_len, "slice", "len", word, required)                                                  \
  X(slice_cap, "slice", "cap", word, optional)                                                  \
  X(string_str, "string", "str", pointer, optional)                                             \
  X(string_len, "string", "len", word, optional)                                                \
  VITRINE_OBJECT_FIELDS(X)                                                                      \
  VITRINE_HEAP_FIELDS(X)                                                                        \
  VITRINE_GC_ROWS(X)                                                                            \
  VITRINE_RECORDER_FIELDS(X)

// X(name, variable, need)
#define VITRINE_ROOT_TABLE(X)                         \
  X(sched, "sched", optional)                         \
  X(allgs, "allgs", required)                         \
  X(allm, "allm", required)                           \
  X(allp, "allp", optional)                           \
  X(waitReasonStrings, "waitReasonStrings", optional) \
  X(gomaxprocs, "gomaxprocs", optional)               \
  X(m0, "m0", optional)                               \
  X(idlepMask, "idlepMask", optional)                 \
  X(allpolldescs, "allpolldescs", optional)           \
  X(netpollWaiters, "netpollWaiters", optional)       \
  X(firstmoduledata, "firstmoduledata", optional)     \
  X(semtable, "semtable", optional)                   \
  X(runtimeInitTime, "runtimeInitTime", optional)     \
  X(gcrash, "gcrash", optional)                       \
  VITRINE_HEAP_ROOTS(X)                               \
  VITRINE_GC_ROOTS(X)                                 \
  VITRINE_RECORDER_ROOTS(X)

enum class F : std::uint16_t {
#define X(name, type, path, kind, need) name,
  VITRINE_FIELD_TABLE(X)
#undef X
      count
};
enum class Root : std::uint16_t {
#define X(name, variable, need) name,
  VITRINE_ROOT_TABLE(X)
#undef X
      count
};
enum class FieldKind : std::uint8_t { word, pointer, bytes };
enum class Need : std::uint8_t { required, optional };

struct FieldSpec {
  F id;
  const char* type;
  const char* path;
  FieldKind kind;
  Need need;
  std::string name() const {  // by the first of its alternatives
    std::string_view first(path);
    return std::string(type) + "." + std::string(first.substr(0, first.find('|')));
  }
};
struct RootSpec {
  Root id;
  const char* variable;
  Need need;
};
std::span<const FieldSpec> field_table();
std::span<const RootSpec> root_table();

struct FieldPlace {
  bool present = false;
  std::uint32_t offset = 0, size = 0;
};

class Layout {
 public:
  enum class Source { dwarf, note };
  // Error: what is missing. The first dialect whose "g" is found is the program's.
  static Result<std::unique_ptr<Layout>> find(Program& program);
  // One source only, for the test that compares both.
  static Result<std::unique_ptr<Layout>> from_dwarf(Program& program, const Dialect& dialect);
  static Result<std::unique_ptr<Layout>> from_note(Program& program, const Dialect& dialect);

  // Of a dialect where that follows from the entry function: whether such a goroutine is the runtime's own.
  bool system_entry(std::uint64_t entry);
  // The first instruction of a function: as a saved pc it is no return address (Go's goroutines that never ran).
  bool is_entry(std::uint64_t pc);
  bool resumes(std::uint64_t pc);  // in the routine that resumes goroutines, when nothing else describes it

  const Dialect& dialect() const { return *dialect_; }
  Source source() const { return source_; }
  std::uint32_t version() const { return version_; }  // of the note; 0 from DWARF
  bool has(F f) const { return place(f).present; }
  const FieldPlace& place(F f) const { return places_[static_cast<std::size_t>(f)]; }
  std::uint64_t root(Root r) const { return roots_[static_cast<std::size_t>(r)]; }
  // Of a variable that is an array; {0, 0}: it is none, or not known to be.
  struct Elements {
    std::uint64_t size = 0, count = 0;
  };
  Elements elements(Root r) const { return root_arrays_[static_cast<std::size_t>(r)]; }
  std::uint64_t size_of(const std::string& type) const;                 // 0: unknown
  const std::vector<std::string>& missing() const { return missing_; }  // optional rows that are not there

  // A field out of the bytes of its structure, zero-extended; 0 when the field is absent.
  std::uint64_t take(const std::byte* structure, F f) const {
    const FieldPlace& p = place(f);
    std::uint64_t v = 0;
    if (p.present) std::memcpy(&v, structure + p.offset, p.size < 8 ? p.size : 8);
    return v;
  }
  // The same from the target. Error when it cannot be read; absent: 0.
  Result<std::uint64_t> get(Memory& memory, std::uint64_t structure, F f) const;

  // Words for numbers, as the program itself names them: "waiting", "idle", "mprotect"; unknown: the number.
  std::string g_status(std::uint32_t number) const { return word(g_status_, number); }
  std::string p_status(std::uint32_t number) const { return word(p_status_, number); }
  std::string guard(std::uint32_t number) const { return word(guard_, number); }
  std::string timer_kind(std::uint32_t number) const { return word(timer_kind_, number); }
  // Of a timer's state, where it has one: it was stopped, though it is in the heap still; its time is `nextwhen`.
  bool timer_stopped(std::uint64_t state) const;
  bool timer_moved(std::uint64_t state) const;
  std::string span_state(std::uint32_t number) const { return word(span_state_, number); }
  std::string gc_phase(std::uint32_t number) const { return word(gc_phase_, number); }
  // The number of a status word; nullopt: the program has none of that name.
  std::optional<std::uint32_t> g_status_number(std::string_view word) const { return number(g_status_, word); }
  std::optional<std::uint32_t> p_status_number(std::string_view word) const { return number(p_status_, word); }
  std::optional<std::uint32_t> span_state_number(std::string_view word) const { return number(span_state_, word); }
  std::optional<std::uint32_t> span_owner_number(std::string_view word) const { return number(span_owner_, word); }
  // The value of an enumerator of those that describe objects ("mutexLocked"); nullopt: the program has none.
  std::optional<std::uint32_t> constant(std::string_view enumerator) const;
  // The flight recorder's events: "GoStart"; "" and nullopt: the program has none of that number or name.
  std::string_view trace_event(std::uint32_t number) const {
    auto it = trace_event_.find(number);
    return it == trace_event_.end() ? std::string_view() : std::string_view(it->second);
  }
  std::optional<std::uint32_t> trace_event_number(std::string_view event) const { return number(trace_event_, event); }
  std::uint32_t scan_bit() const { return scan_bit_; }
  std::uint32_t wait_reasons() const { return wait_reasons_; }

 private:
  static Result<std::unique_ptr<Layout>> find_any(Program& program);
  static std::string word(const std::map<std::uint32_t, std::string>& words, std::uint32_t number);
  static std::optional<std::uint32_t> number(const std::map<std::uint32_t, std::string>& words, std::string_view word);
  void add_enumerator(std::string_view enumeration, std::string_view name, std::uint32_t value);
  Status check();

  const Dialect* dialect_ = nullptr;
  Source source_ = Source::dwarf;
  std::uint32_t version_ = 0;
  std::array<FieldPlace, static_cast<std::size_t>(F::count)> places_;
  std::array<std::uint64_t, static_cast<std::size_t>(Root::count)> roots_{};
  std::array<Elements, static_cast<std::size_t>(Root::count)> root_arrays_{};
  std::map<std::string, std::uint64_t> sizes_;
  std::map<std::uint32_t, std::string> g_status_, p_status_, guard_, timer_kind_, span_state_, span_owner_,
      trace_event_, gc_phase_;
  std::map<std::string, std::uint32_t, std::less<>> constants_;
  std::uint32_t scan_bit_ = 0, wait_reasons_ = 0;
  std::vector<std::string> missing_;
  Program* program_ = nullptr;  // of find()
  std::unordered_map<std::uint64_t, bool> system_entries_, entries_;
};

}  // namespace vitrine::inspect
