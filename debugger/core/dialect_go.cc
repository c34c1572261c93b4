// dialect_go.cc: programs that the Go toolchain built, as their own DWARF describes them.
//
// Go's runtime has the names that ours took over, behind `runtime.`; what differs is said here:
//   * Status numbers and the like are constants of the package, not enumerators. `_Gscanrunning` and its kin are a
//     status with the scan bit: only the bit is taken.
//   * A stack ends at goexit (or where a thread's own stack does). The words above are what the stack's last owner left
//     there, so that a debugger which goes on by CFI alone invents frames.
//   * Which goroutines are the runtime's own is not in g: they are those that began in a function of the runtime,
//     except for the main goroutine and those that call the user's code.
//   * g.waitsince is set by the collector when it first meets a g that waits, to the time of the cycle before (in the
//     program's second cycle or later). The wait began between the two, or before both if that was the first cycle of
//     all: an age is "about", and unknown before the second.
//   * The standard library is plumbing: WHERE looks for code of the program. A module whose path begins with one of the
//     library's words would be taken for it.
#include <algorithm>
#include <array>
#include <cctype>

#include "dialect.h"

namespace vitrine::inspect {
namespace {

constexpr std::string_view kLibrary[] = {
    "archive",  "bufio",    "bytes",  "cmp",     "compress", "container", "context", "crypto",  "database", "debug",
    "embed",    "encoding", "errors", "expvar",  "flag",     "fmt",       "hash",    "html",    "image",    "index",
    "internal", "io",       "iter",   "log",     "maps",     "math",      "mime",    "net",     "os",       "path",
    "plugin",   "reflect",  "regexp", "runtime", "slices",   "sort",      "strconv", "strings", "structs",  "sync",
    "syscall",  "testing",  "text",   "time",    "unicode",  "unique",    "unsafe",  "vendor",  "weak"};

// Rows that our own runtime has and Go's has in no version; a word that ends in a dot is a whole type.
constexpr std::string_view kLacks =
    "allpolldescs g.issystem g.guard g.waitobject g.name g.noproc g.foreigntid g.isforeign m.nsteal m.npreempt "
    "p.nsteal schedt.exiting schedt.starttime schedt.nforeignparked timer.index timer.kind timer.zombie timer.goid "
    "pollDesc.alllink pollDesc.open pollDesc.goid hchan.refs chantype.name.str chantype.name.len syncMutex.lock "
    "syncMutex.waitq.first syncMutex.waitq.last syncMutex.owner syncRWMutex.state syncRWMutex.lock syncRWMutex.owner "
    "syncRWMutex.readq.first syncRWMutex.readq.last syncRWMutex.writeq.first syncRWMutex.writeq.last "
    "syncRWMutex.writers.waitq.first syncRWMutex.writers.waitq.last syncCond. syncOnce. syncSema. "
    "taskState. syncWaitGroup.lock syncWaitGroup.waitq.first syncWaitGroup.waitq.last mspan.scavenged mspan.incache "
    "mspan.owner mspan.unusedsince mspan.slotguard mheap.free.treap mheap.sweepdone mheap.sweepers mheap.largealloc "
    "mheap.nlargealloc mheap.largefree mheap.nlargefree mheap.runtime mheap.treapalloc.inuse mheap.mcache0lock "
    "mheap.mcache0 heapArena.base mcentral.lock mcentral.nonempty mcentral.empty mcentral.nmalloc mcentral.nfree "
    "mcentralPadded. stackpoolPadded. stackLargeT. mcache.local_rawallocs mcache.local_rawfrees mcache.rawcache "
    "metadata metadataEntry. metadataBlock. p.sudogcache.head mcache.ahead spansAhead. rawCache. stackfreelist.n "
    "stackfreelist.slot treapNode. specialprofile. mstats.heap_sys "
    "mstats.heap_idle "
    "mstats.heap_inuse mstats.heap_released mstats.stacks_inuse mstats.runtime_inuse mstats.manual_inuse "
    "mstats.heap_live mstats.gc_sys traceBuf. tracePoint. traceRecord. tracet. g.syscallregs workType.nforced "
    "workType.startersp workType.tMark workType.heap0 workType.heap1 workType.heap2 workType.stacksScanned "
    "workType.globalsScanned workType.pauseTotal workType.tSweepTerm workType.tMarkTerm sweepdata. sweep scavengedata. "
    "scavenge forcegcstate. finalizers finalizers_. finalizer. gcroots gcroots_. gcroot. gcsegments gcsegments_. "
    "gcsegment. specialfinalizer. specialdestructor. finblock.";

class Go : public Dialect {
 public:
  std::string_view name() const override { return "go"; }
  std::string_view title() const override { return "Go"; }
  // The types that the language has by itself stand in no package.
  std::string type_name(std::string_view canonical) const override {
    if (canonical == "string") return "string";
    if (canonical == "chantype") return "internal/abi.Type|runtime._type";
    if (canonical == "syncMutex") return "internal/sync.Mutex|sync.Mutex";
    if (canonical == "syncRWMutex") return "sync.RWMutex";
    if (canonical == "syncWaitGroup") return "sync.WaitGroup";
    if (canonical.starts_with("sync") || canonical == "taskState") return "?";
    return "runtime." + std::string(canonical);
  }
  std::string variable_name(std::string_view canonical) const override { return "runtime." + std::string(canonical); }
  std::string enumerator_text(std::string_view enumerator, std::string_view prefix) const override {
    enumerator = bare(enumerator);
    if (enumerator.starts_with('_')) enumerator.remove_prefix(1);
    if (enumerator.starts_with(prefix)) enumerator.remove_prefix(prefix.size());
    std::string text(enumerator);
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  }
  std::string_view bare(std::string_view name) const override {
    if (name.starts_with("runtime.")) name.remove_prefix(8);
    return name;
  }
  std::string_view runtime_function(std::string_view function) const override {
    std::string_view name = bare(function);
    if (name.size() == function.size()) return {};
    name = name.substr(0, name.find(".func"));  // what it hands to systemstack is a part of it
    // Functions that ours has by another word, and parts of such: one row per version's way of writing it.
    struct Row {
      std::string_view go, ours;
    };
    static constexpr Row kRows[] = {{"findRunnable", "findrunnable"},
                                    {"mPark", "mpark"},
                                    {"(*p).destroy", "destroy"},
                                    {"entersyscallblock", "reentersyscall"},
                                    {"entersyscallblock_handoff", "reentersyscall"},
                                    {"futex", "futexsleep"},
                                    {"usleep", "usleep_"},
                                    {"exitsyscallfast", "exitsyscall"},
                                    {"exitsyscallfast_pidle", "exitsyscall"},
                                    {"exitsyscallfast_reacquired", "exitsyscall"},
                                    {"exitsyscallTryGetP", "exitsyscall"},
                                    {"exitsyscallNoP", "exitsyscall0"},
                                    {"goschedImpl", "gosched_m"},
                                    {"goyield_m", "gosched_m"},
                                    // It calls that on the system stack, where its own frame is not seen.
                                    {"runSafePointFn", "reentersyscall"}};
    for (const Row& row : kRows) {
      if (row.go == name) return row.ours;
    }
    return name;
  }
  std::optional<UserType> user_type(std::string_view name) const override {
    if (name.starts_with("chan ") || name.starts_with("<-chan ") || name.starts_with("chan<- "))
      return UserType{"hchan", true};
    if (name == "runtime.hchan" || name.starts_with("hchan<")) return UserType{"hchan", false};
    if (name == "sync.Mutex" || name == "internal/sync.Mutex") return UserType{"syncMutex", false};
    if (name == "sync.RWMutex") return UserType{"syncRWMutex", false};
    if (name == "sync.WaitGroup") return UserType{"syncWaitGroup", false};
    return std::nullopt;
  }
  bool plumbing(std::string_view function) const override {
    auto end = function.find_first_of("./");
    if (end == function.npos) return true;  // what assembly and C bring along: _rt0_amd64_linux, crosscall2
    std::string_view first = function.substr(0, end);
    // "go.uber.org/zap.New": only a module's path has a dot before its first slash.
    std::string_view path = function.substr(0, function.find_first_of("[("));
    if (function[end] == '.' && path.find('/', end) != path.npos) return false;
    return first.starts_with("_cgo") || first == "go" || first.starts_with("go:") ||
           std::binary_search(std::begin(kLibrary), std::end(kLibrary), first);
  }
  std::span<const std::string_view> constants_units() const override {
    static constexpr std::string_view kUnits[] = {"runtime", "sync", "internal/sync"};
    return kUnits;
  }
  std::string_view enumeration_of(std::string_view constant) const override {
    std::string_view name = bare(constant);
    for (std::string_view package : {"sync.", "internal/sync."}) {
      if (!name.starts_with(package)) continue;
      std::string_view what = name.substr(package.size());
      return what.starts_with("mutex") ? "syncMutexState" : what.starts_with("rwmutex") ? "syncRWMutexState" : "";
    }
    if (name.starts_with("_Gscan") && name != "_Gscan") return {};
    auto follows = [&](std::string_view prefix) {
      return name.size() > prefix.size() && name.starts_with(prefix) && std::islower(name[prefix.size()]);
    };
    if (follows("_G")) return "gstatus";
    if (follows("_P")) return "pstatus";
    if (name == "mSpanDead" || name == "mSpanInUse" || name == "mSpanManual") return "mSpanState";
    if (name.starts_with("_GC")) return "gcPhase";
    if (name == "timerZombie" || name == "timerDeleted" || name == "timerRemoving" || name == "timerRemoved" ||
        name == "timerModifiedEarlier" || name == "timerModifiedLater")
      return "timerState";
    if (name == "pageSize" || name == "_PageSize" || name == "heapArenaBytes") return "constant";
    return {};
  }
  std::span<const std::string_view> outermost() const override {
    static constexpr std::string_view kNames[] = {"runtime.goexit", "runtime.mstart", "runtime.rt0_go",
                                                  "_rt0_amd64_linux"};
    return kNames;
  }
  std::span<const std::string_view> leaving() const override {
    static constexpr std::string_view kNames[] = {"runtime.mcall", "runtime.morestack", "runtime.systemstack"};
    return kNames;
  }
  std::span<const std::string_view> borrowing() const override {
    static constexpr std::string_view kNames[] = {"runtime.nanotime1", "runtime.vgetrandom1", "time.now"};
    return kNames;
  }
  std::span<const std::string_view> staying() const override {
    static constexpr std::string_view kNames[] = {"gosave_systemstack_switch"};
    return kNames;
  }
  bool resumes(std::string_view function) const override { return function == "gogo" || function == "runtime.gogo"; }
  std::span<const std::string_view> waits_running() const override {
    static constexpr std::string_view kFunctions[] = {"systemstack", "gcMarkTermination"};
    return kFunctions;
  }
  std::span<const std::string_view> injected() const override {
    static constexpr std::string_view kNames[] = {"runtime.sigpanic", "runtime.sigpanic0", "runtime.asyncPreempt",
                                                  "runtime.debugCallV2"};
    return kNames;
  }
  std::pair<std::string_view, std::uint32_t> mark() const override { return {"Go", 4}; }
  bool first_has_no_creator() const override { return true; }
  bool marks_beside() const override { return true; }
  bool systems_by_entry() const override { return true; }
  bool system_entry(std::string_view function) const override {
    static constexpr std::string_view kUsers[] = {"runtime.main", "runtime.handleAsyncEvent", "runtime.corostart"};
    return function.starts_with("runtime.") &&
           std::find(std::begin(kUsers), std::end(kUsers), function) == std::end(kUsers);
  }
  std::string_view labels_type() const override { return "runtime/pprof.labelMap"; }
  bool tls_is_block() const override { return true; }
  bool waits_about() const override { return true; }
  bool functions_are_closures() const override { return true; }
  std::string_view timer_kind(std::string_view function) const override {
    struct Row {
      std::string_view function, kind;
    };
    static constexpr Row kRows[] = {{"runtime.goroutineReady", "sleep"},
                                    {"time.goFunc", "func"},
                                    {"time.sendTime", "chan"},
                                    {"runtime.netpollDeadline", "deadline"},
                                    {"runtime.netpollReadDeadline", "deadline"},
                                    {"runtime.netpollWriteDeadline", "deadline"}};
    for (const Row& row : kRows) {
      if (row.function == function) return row.kind;
    }
    return {};
  }
  std::string moved_variable(std::string_view name) const override { return "&" + std::string(name); }
  std::string_view waits_in(std::string_view function) const override {
    struct Row {
      std::string_view function, wait;
    };
    static constexpr Row kRows[] = {{"internal/sync.(*Mutex).Lock", "mutex"},
                                    {"internal/sync.(*Mutex).lockSlow", "mutex"},
                                    {"sync.(*Mutex).Lock", "mutex"},
                                    {"sync.(*Mutex).lockSlow", "mutex"},
                                    {"sync.(*RWMutex).Lock", "rw_mutex write"},
                                    {"sync.(*RWMutex).RLock", "rw_mutex read"},
                                    {"sync.(*WaitGroup).Wait", "wait_group"}};
    for (const Row& row : kRows) {
      if (row.function == function) return row.wait;
    }
    return {};
  }
  // The index counts from the lowest address of the canonical form.
  std::optional<std::uint64_t> arena_base(std::uint64_t index, std::uint64_t bytes) const override {
    return index * bytes + 0xffff800000000000;
  }
  bool sizes_may_be_zero() const override { return true; }
  bool masks_are_slices() const override { return true; }
  bool lacks(std::string_view row) const override {
    std::string_view rest = kLacks;
    while (!rest.empty()) {
      std::string_view word = rest.substr(0, rest.find(' '));
      if (word.ends_with('.') ? row.starts_with(word) : row == word) return true;
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
    return false;
  }
  std::string_view note_owner() const override { return {}; }
  std::span<const std::string_view> limits() const override {
    static constexpr std::string_view kLimits[] = {
        "Go's runtime notes a wait only as its collector comes by, and then the time of the collection before: AGE is "
        "about so long (~), and unknown before the second collection",
        "who holds a sync.Mutex is recorded nowhere"};
    return kLimits;
  }
};

}  // namespace

const Dialect* go_dialect() {
  static const Go go;
  return &go;
}

}  // namespace vitrine::inspect
