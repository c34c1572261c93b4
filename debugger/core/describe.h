// describe.h: values of the runtime's own types as a debugger prints them — `print jobs`, `info locals`, `frame variable` —
// in words: a summary, and what the host shows below it. A host asks with the type's name, as it spells it, and an address.
//
//   Shows::text      the summary is all
//   Shows::elements  parts() values, the ith by part(i): what a channel has in its buffer
//   Shows::members   the value's own members, by the host's means
//   Shows::part      part 0 instead of the value, without a summary: the word in an atomic
//
// A part is at an address; its type is one that the host can build from that of the value: a template argument and stars.
// So its text, its format and its own printers are the host's. Elements are not cut here: how many there are is in the
// summary, and hosts show as many as their settings say.
//
// What is broken is said in the summary ("<unreadable 0x…>", "damaged: …"); nothing is an error but a type that is not
// ours. Only what a description needs is read; the list of goroutines is, for their names, once a stop.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dialect.h"
#include "objects.h"
#include "session.h"

namespace vitrine::inspect {

enum class Shows : std::uint8_t { text, elements, members, part };

struct Description {
  std::string summary;
  Shows shows = Shows::text;
  std::uint64_t parts = 0;
};

struct Part {
  std::string name;  // "[3]", "get()"
  std::uint64_t addr = 0;
  int argument = 0;         // of the value's type: which template argument the part's type is made of; < 0: none
  unsigned stars = 0;       // pointers to it
  std::uint64_t index = 0;  // so many values of that type behind addr
  std::string type;         // argument < 0: its name
};

// The types of all runtimes, for hosts to register printers.
struct PrintedRow {
  std::string name, pattern;  // a regular expression
  bool pointer = false, elements = false, members = false, part = false, smart = false;
};
const std::vector<PrintedRow>& printed_rows();

// Lives as long as a stop.
class Describer {
 public:
  explicit Describer(Session& session) : session_(session) {}
  // nullopt: not a type of ours, or there is nothing to say (no process, no layout, a null pointer).
  std::optional<Description> describe(std::string_view type, std::uint64_t addr);
  std::optional<Part> part(std::string_view type, std::uint64_t addr, std::uint64_t i);

 private:
  bool ready();
  std::string object(ObjectKind kind, std::uint64_t addr);
  Result<std::uint64_t> object_address(Dialect::UserType is, std::uint64_t addr);
  std::optional<Part> result_of_task(std::string_view type, std::uint64_t state);
  Result<std::uint64_t> collected(std::string_view type, std::uint64_t addr, bool& expired);
  std::string goroutine(std::uint64_t g);
  std::string machine(std::uint64_t m);
  std::string processor(std::uint64_t p);
  std::string span(std::uint64_t mspan);
  const SyncObject* chan(std::uint64_t addr);

  Session& session_;
  Model* model_ = nullptr;
  std::unique_ptr<Objects> objects_;
  SyncObject last_chan_;  // whose parts are asked for, one by one
};

}  // namespace vitrine::inspect
