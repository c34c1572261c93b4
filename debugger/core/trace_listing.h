// trace_listing.h: an annotated routine as text and as JSON.
#pragma once
#include <string>
#include <vector>

#include "disasm/annotate.h"
#include "json.h"
#include "session.h"

namespace vitrine::inspect {

class TraceFacts;

// One routine, or several where each goes on in the next by a jump.
struct Listing {
  std::vector<disasm::Routine> parts;
  std::string where;                 // file:line of the first; "": unknown
  bool go = false;                   // made by Go's toolchain
  std::string subject;               // "goroutine 17 "reader" (waiting: …)"; "": nobody's values
  std::vector<std::string> resumes;  // the frames that it goes on in, innermost first
};

// Annotates the routine and those that it goes on in.
Listing make_listing(TraceFacts& facts, Program& program, const Program::Function& f);

// limit: instructions a part, 0: all.
// Keeps what the compiler has made of `routine` inside the listing's; false: there is nothing of it.
bool keep_part(Listing& listing, Program& program, const std::string& routine);
void print_listing(const Listing& listing, std::uint64_t limit, bool colour, Buffered& out);
void print_conventions(Buffered& out);
void json_listing(const Listing& listing, Json& json);

}  // namespace vitrine::inspect
