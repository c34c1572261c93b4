// dialect.h: how one runtime writes what all of them have. The rest of the core speaks of "g", "allgs" and "waiting";
// a dialect maps those to the names in the program (`vitrine::rt::g`, `runtime.g`), tells the user's own code from the
// runtime's, and turns enumerators into the words that users know. No other file knows a runtime's name.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vitrine::inspect {

class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view name() const = 0;  // "vitrine"
  virtual std::string type_name(std::string_view canonical) const = 0;
  virtual std::string variable_name(std::string_view canonical) const = 0;
  // "Gwaiting" → "waiting", "gguardMprotect" → "mprotect"; prefix: the enumeration's ("G", "P", "gguard").
  virtual std::string enumerator_text(std::string_view enumerator, std::string_view prefix) const = 0;
  // An enumerator or type without the runtime's namespace: "mutexLocked", "hchan".
  virtual std::string_view bare(std::string_view name) const = 0;
  // A function of the scheduler itself by its own word: "vitrine::rt::runqsteal" → "runqsteal"; "" for any other.
  virtual std::string_view runtime_function(std::string_view function) const = 0;
  // What a type of the user's programs is to the runtime: `vitrine::chan<int>` is a handle of (its first word points
  // to) an "hchan", `vitrine::mutex` is (begins with) a "syncMutex". nullopt: nothing that it knows.
  struct UserType {
    std::string_view type;
    bool handle;
  };
  virtual std::optional<UserType> user_type(std::string_view name) const = 0;
  // True for a function of the runtime, of the language's library or a thunk: not what the user wrote.
  virtual bool plumbing(std::string_view function) const = 0;
  // The owner of the layout note, "" when there is none.
  virtual std::string_view note_owner() const = 0;
  // What a user should know about this runtime's present limits.
  virtual std::span<const std::string_view> limits() const = 0;
};

std::span<const Dialect* const> dialects();

// True for a shared library that no user wrote: libc, libstdc++, libgcc, the loader, sanitizers, the vdso.
bool plumbing_module(std::string_view path);

}  // namespace vitrine::inspect
