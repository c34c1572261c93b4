// dialect.h: how one runtime writes what all of them have. The rest of the core speaks of "g", "allgs" and "waiting";
// a dialect maps those to the names in the program (`vitrine::rt::g`, `runtime.g`), tells the user's own code from the
// runtime's, and turns enumerators into the words that users know. No other file knows a runtime's name.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace vitrine::inspect {

class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view name() const = 0;                            // "vitrine", in JSON
  virtual std::string_view title() const { return name(); }             // in sentences
  virtual std::string type_name(std::string_view canonical) const = 0;  // may be "a|b": whichever exists
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
  // A type whose values are printed in words (describe.h).
  enum class Printed : std::uint8_t {
    object,     // what goroutines wait on, as user_type() says
    collected,  // a pointer to a collected object: as collected_pointer() says, or one that does not keep it
    slice,
    string,
    atomic,  // one word, of the type that is its template argument
    goroutine,
    machine,
    processor,
    span
  };
  struct PrintedType {
    std::string_view name;     // by which a user can turn the printer off
    std::string_view pattern;  // of the type's whole name, where % stands for anything
    Printed how;
    bool whole = false;  // a structure of the runtime's, of which the members are shown as well
  };
  virtual std::span<const PrintedType> printed_types() const { return {}; }
  const PrintedType* printed_type(std::string_view type) const;  // null: none of them
  // What a task<R> points to when it is done: "taskresult<R>", of which one member is the result; "": no such type.
  virtual std::string task_result(std::string_view) const { return {}; }
  // True for a function of the runtime, of the language's library or a thunk: not what the user wrote.
  virtual bool plumbing(std::string_view function) const = 0;
  // What a variable or constant of the units constants_units() belongs to, as Layout::add_enumerator calls it; "": nothing
  // of ours. For languages that have constants where C++ has enumerations.
  virtual std::span<const std::string_view> constants_units() const { return {}; }
  virtual std::string_view enumeration_of(std::string_view) const { return {}; }
  // Functions that are the outermost of a stack, whatever lies above them in memory.
  virtual std::span<const std::string_view> outermost() const { return {}; }
  // Functions that change to another stack to call something there, of which they are the outermost then.
  virtual std::span<const std::string_view> leaving() const { return {}; }
  // Functions that call C on another stack and keep their own stack pointer in r12 meanwhile, of which CFI says nothing.
  virtual std::span<const std::string_view> borrowing() const { return {}; }
  // Functions that those call first, on the stack that they come from.
  virtual std::span<const std::string_view> staying() const { return {}; }
  // The routine that resumes a goroutine: from its change of stack to its last jump, no CFI says where it came from.
  virtual bool resumes(std::string_view) const { return false; }
  // Functions of the scheduler in which a goroutine that a machine runs may be said to wait: for what the machine does.
  virtual std::span<const std::string_view> waits_running() const { return {}; }
  // Functions that a signal handler made a goroutine call: who seems to call them was interrupted.
  virtual std::span<const std::string_view> injected() const { return {}; }
  // Owner and type of an ELF note that every program of this kind has, with or without DWARF; {}: there is none.
  virtual std::pair<std::string_view, std::uint32_t> mark() const { return {}; }
  // The first goroutine is the runtime's start itself; what its g says of a creator is how the start was written.
  virtual bool first_has_no_creator() const { return false; }
  // The collector marks while the program runs, by workers and assists: only what is before and after is a pause.
  virtual bool marks_beside() const { return false; }
  // Whether a goroutine is the runtime's own follows from its entry function, not from a field.
  virtual bool systems_by_entry() const { return false; }
  virtual bool system_entry(std::string_view) const { return false; }
  // The type that g.labels points to; "": goroutines have no labels.
  virtual std::string_view labels_type() const { return {}; }
  // m.tls is the thread's block itself, not a pointer to it.
  virtual bool tls_is_block() const { return false; }
  // g.waitsince is about when the wait began, before or after it, or not set.
  virtual bool waits_about() const { return false; }
  // A function value is a pointer to a closure, whose first word is the code.
  virtual bool functions_are_closures() const { return false; }
  // What kind of timer calls this function when due: "sleep", "func", "chan", "deadline"; "": not known by that.
  virtual std::string_view timer_kind(std::string_view) const { return {}; }
  // What the compiler calls the pointer to a variable that it has moved to the heap; "": it moves none.
  virtual std::string moved_variable(std::string_view) const { return {}; }
  // Where those who wait are queued by a word of the object: what a function of the library waits for, as `mutex`,
  // `rw_mutex read`, `rw_mutex write`, `wait_group`; "": not known by its name.
  virtual std::string_view waits_in(std::string_view) const { return {}; }
  // Where an arena of so many bytes begins whose index in the list of arenas this is. nullopt: the list has addresses.
  virtual std::optional<std::uint64_t> arena_base(std::uint64_t, std::uint64_t) const { return std::nullopt; }
  // A type may have no size, and so may a channel's elements.
  virtual bool sizes_may_be_zero() const { return false; }
  // Masks of Ps are slices, not arrays.
  virtual bool masks_are_slices() const { return false; }
  // Rows of the table ("syncMutex.owner", or "treapNode." for a whole type) that this runtime never has.
  virtual bool lacks(std::string_view) const { return false; }
  // Of a type that is a pointer to a collected object, in its first word: the type that it points to. nullopt: it is none
  // such.
  virtual std::optional<std::string_view> collected_pointer(std::string_view) const { return std::nullopt; }
  // Of the function that ends collected objects of one type: that type. "": it is none such.
  virtual std::string_view destroyed_type(std::string_view) const { return {}; }
  // The owner of the layout note, "" when there is none.
  virtual std::string_view note_owner() const = 0;
  // What a user should know about this runtime's present limits.
  virtual std::span<const std::string_view> limits() const = 0;
};

std::span<const Dialect* const> dialects();
const Dialect* go_dialect();  // of programs that the Go toolchain built

// True for a shared library that no user wrote: libc, libstdc++, libgcc, the loader, sanitizers, the vdso.
bool plumbing_module(std::string_view path);

}  // namespace vitrine::inspect
