// dialect.cc: see dialect.h. One class a runtime.
#include "dialect.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace vitrine::inspect {
namespace {

bool any_prefix(std::string_view text, std::span<const std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return text.starts_with(p); });
}

class Vitrine : public Dialect {
 public:
  std::string_view name() const override { return "vitrine"; }
  std::string type_name(std::string_view canonical) const override { return "vitrine::rt::" + std::string(canonical); }
  std::string variable_name(std::string_view canonical) const override {
    return "vitrine::rt::" + std::string(canonical);
  }
  std::string enumerator_text(std::string_view enumerator, std::string_view prefix) const override {
    if (auto colons = enumerator.rfind("::"); colons != enumerator.npos) enumerator.remove_prefix(colons + 2);
    if (enumerator.starts_with(prefix)) enumerator.remove_prefix(prefix.size());
    std::string text(enumerator);
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  }
  std::string_view bare(std::string_view name) const override {
    constexpr std::string_view kNamespace = "vitrine::rt::";
    if (name.starts_with(kNamespace)) name.remove_prefix(kNamespace.size());
    return name;
  }
  std::string_view runtime_function(std::string_view function) const override {
    std::string_view name = bare(function);
    if (name.size() == function.size()) return {};
    // What a compiler hangs on to a clone's name, and a symbol's parameters.
    return name.substr(0, std::min(name.find_first_of("(.["), name.size()));
  }
  std::optional<UserType> user_type(std::string_view name) const override {
    struct Row {
      std::string_view name;
      UserType is;
    };
    static constexpr Row kRows[] = {
        {"vitrine::chan<", {"hchan", true}},
        {"vitrine::task<", {"taskState", true}},
        {"vitrine::mutex", {"syncMutex", false}},
        {"vitrine::rw_mutex", {"syncRWMutex", false}},
        {"vitrine::cond", {"syncCond", false}},
        {"vitrine::once", {"syncOnce", false}},
        {"vitrine::semaphore", {"syncSema", false}},
        {"vitrine::wait_group", {"syncWaitGroup", false}},
        {"vitrine::rt::taskresult<", {"taskState", false}},
        {"vitrine::rt::hchan", {"hchan", false}},
        {"vitrine::rt::taskState", {"taskState", false}},
        {"vitrine::rt::syncMutex", {"syncMutex", false}},
        {"vitrine::rt::syncRWMutex", {"syncRWMutex", false}},
        {"vitrine::rt::syncCond", {"syncCond", false}},
        {"vitrine::rt::syncOnce", {"syncOnce", false}},
        {"vitrine::rt::syncSema", {"syncSema", false}},
        {"vitrine::rt::syncWaitGroup", {"syncWaitGroup", false}},
    };
    for (const Row& row : kRows) {
      bool open = row.name.ends_with('<');
      if (open ? name.starts_with(row.name) && name.ends_with('>') : name == row.name) return row.is;
    }
    return std::nullopt;
  }
  std::span<const PrintedType> printed_types() const override {
    static constexpr PrintedType kRows[] = {
        {"chan", "vitrine::chan<%>", Printed::object},
        {"task", "vitrine::task<%>", Printed::object},
        {"mutex", "vitrine::mutex", Printed::object},
        {"rw_mutex", "vitrine::rw_mutex", Printed::object},
        {"cond", "vitrine::cond", Printed::object},
        {"once", "vitrine::once", Printed::object},
        {"semaphore", "vitrine::semaphore", Printed::object},
        {"wait_group", "vitrine::wait_group", Printed::object},
        {"gc::ptr", "vitrine::gc::ptr<%>", Printed::collected},
        {"gc::root", "vitrine::gc::root<%>", Printed::collected},
        {"gc::weak", "vitrine::gc::weak<%>", Printed::collected},
        {"hchan", "vitrine::rt::hchan", Printed::object, true},
        {"sync", "vitrine::rt::sync%", Printed::object, true},
        {"taskState", "vitrine::rt::taskState", Printed::object, true},
        {"slice", "vitrine::rt::slice<%>", Printed::slice},
        {"string", "vitrine::rt::string", Printed::string},
        {"atomic", "vitrine::rt::atomic<%>", Printed::atomic},
        {"g", "vitrine::rt::g", Printed::goroutine, true},
        {"g", "vitrine::rt::g *", Printed::goroutine},
        {"m", "vitrine::rt::m", Printed::machine, true},
        {"m", "vitrine::rt::m *", Printed::machine},
        {"p", "vitrine::rt::p", Printed::processor, true},
        {"p", "vitrine::rt::p *", Printed::processor},
        {"mspan", "vitrine::rt::mspan", Printed::span, true},
        {"mspan", "vitrine::rt::mspan *", Printed::span},
    };
    return kRows;
  }
  std::string task_result(std::string_view type) const override {
    constexpr std::string_view kTask = "vitrine::task<";
    return type.starts_with(kTask) ? "vitrine::rt::taskresult<" + std::string(type.substr(kTask.size()))
                                   : std::string();
  }
  bool plumbing(std::string_view function) const override {
    static constexpr std::array<std::string_view, 8> kPrefixes = {
        "vitrine::", "vitrine_", "std::", "__gnu_cxx::", "__cxxabiv1::", "__cxa_", "_Unwind_", "__"};
    static constexpr std::array<std::string_view, 8> kRoutines = {"mcall",  "gogo",    "goexit", "systemstack",
                                                                  "gosave", "gostart", "_start", "start_thread"};
    return any_prefix(function, kPrefixes) ||
           std::find(kRoutines.begin(), kRoutines.end(), function) != kRoutines.end();
  }
  // What Go's runtime has and ours has not.
  bool lacks(std::string_view row) const override {
    static constexpr std::array<std::string_view, 27> kLacks = {"moduledata.",
                                                                "m.vdsoPC",
                                                                "semaRoot.",
                                                                "chantype.str",
                                                                "chantype.tflag",
                                                                "firstmoduledata",
                                                                "semtable",
                                                                "runtimeInitTime",
                                                                "gcControllerState.heapInUse",
                                                                "gcControllerState.heapFree",
                                                                "gcControllerState.heapReleased",
                                                                "gcControllerState.heapLive",
                                                                "g.labels",
                                                                "m.vdsoSP",
                                                                "spanInlineMarkBits.",
                                                                "mstats.numgc",
                                                                "timer.state",
                                                                "timer.nextwhen",
                                                                "syncMutex.sema",
                                                                "syncRWMutex.writerSem",
                                                                "syncRWMutex.readerSem",
                                                                "syncRWMutex.readerCount",
                                                                "syncRWMutex.readerWait",
                                                                "syncRWMutex.w.mu.sema",
                                                                "syncWaitGroup.sema",
                                                                "stackfreelist.list",
                                                                "gcrash"};
    return any_prefix(row, kLacks);
  }
  std::optional<std::string_view> collected_pointer(std::string_view type) const override {
    for (std::string_view head : {"vitrine::gc::ptr<", "vitrine::gc::root<"}) {
      if (!type.starts_with(head) || !type.ends_with('>')) continue;
      type.remove_prefix(head.size());
      type.remove_suffix(1);
      while (type.ends_with(' ')) type.remove_suffix(1);
      return type;
    }
    return std::nullopt;
  }
  std::string_view destroyed_type(std::string_view function) const override {
    constexpr std::string_view kHead = "vitrine::gc::detail::destroy<";
    auto at = function.find(kHead);
    if (at == function.npos) return {};
    function.remove_prefix(at + kHead.size());
    int open = 1;
    for (std::size_t i = 0; i < function.size(); ++i) {
      if (function[i] == '<') ++open;
      if (function[i] == '>' && --open == 0) return function.substr(0, i);
    }
    return {};
  }
  std::string_view note_owner() const override { return "Vitrine"; }
  std::span<const std::string_view> limits() const override {
    static constexpr std::array<std::string_view, 1> kLimits = {
        "a goroutine that never calls the runtime is not stopped: it loses its P (noproc) and goes on beside the "
        "others"};
    return kLimits;
  }
};

}  // namespace

const Dialect::PrintedType* Dialect::printed_type(std::string_view type) const {
  for (const PrintedType& row : printed_types()) {
    const auto any = row.pattern.find('%');
    if (any == row.pattern.npos ? type == row.pattern
                                : type.size() > row.pattern.size() && type.starts_with(row.pattern.substr(0, any)) &&
                                      type.ends_with(row.pattern.substr(any + 1)))
      return &row;
  }
  return nullptr;
}

std::span<const Dialect* const> dialects() {
  static const Vitrine vitrine;
  static const std::array<const Dialect*, 2> all = {&vitrine, go_dialect()};
  return all;
}

bool plumbing_module(std::string_view path) {
  static constexpr std::array<std::string_view, 12> kNames = {"libc.so",  "libc-",      "libstdc++.", "libgcc_s",
                                                              "ld-linux", "libpthread", "libm.so",    "libm-",
                                                              "libtsan",  "libasan",    "libubsan",   "linux-vdso"};
  if (path.find("vdso") != path.npos) return true;
  if (auto slash = path.rfind('/'); slash != path.npos) path.remove_prefix(slash + 1);
  return any_prefix(path, kNames);
}

}  // namespace vitrine::inspect
