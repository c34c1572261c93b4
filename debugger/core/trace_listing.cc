// trace_listing.cc: see trace_listing.h. One line an instruction: where, what the machine code is, what that does; a
// line of its own wherever control or the stack becomes another one; then what the routine does as a whole.
#include "trace_listing.h"

#include <fmt/format.h>

#include <algorithm>

#include "stacks.h"
#include "trace_facts.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kTextWidth = 28;
constexpr std::size_t kMaxParts = 3;
constexpr std::size_t kLineWidth = 100;

using disasm::Fact;
using disasm::Note;
using disasm::Side;

void print_note(const Note& note, const disasm::Routine& routine, bool colour, Buffered& out) {
  if (!note.heading.empty())
    out.add(fmt::format("{}  ── {} ──{}\n", colour ? "\x1b[1m" : "", note.heading, colour ? "\x1b[0m" : ""));
  const char* mark = note.side == Side::other ? "▌" : " ";
  std::string line = fmt::format("{} +{:#04x}  {}", mark, note.insn.address - routine.start, note.insn.text);
  const std::size_t used = line.size() - (note.side == Side::other ? 2 : 0);  // the mark is three bytes wide
  if (!note.says.empty()) {
    const std::size_t column = 10 + kTextWidth;
    line += std::string(used < column ? column - used : 2, ' ') + note.says;
  } else if (note.side == Side::unreached && note.insn.known) {
    const std::size_t column = 10 + kTextWidth;
    line += std::string(used < column ? column - used : 2, ' ') + "(nothing leads here)";
  }
  out.add(line + "\n");
}

// "key   a; b; c" over as many lines as it takes.
void print_facts(std::string_view key, const std::vector<std::string>& items, Buffered& out) {
  if (items.empty()) return;
  std::string line = fmt::format("{:<10} ", key);
  const std::string indent(11, ' ');
  bool first = true;
  for (const std::string& item : items) {
    if (!first && line.size() + item.size() + 2 > kLineWidth) {
      out.add(line + ";\n");
      line = indent + item;
    } else {
      line += (first ? "" : "; ") + item;
    }
    first = false;
  }
  out.add(line + "\n");
}

std::vector<std::string> as_text(const std::vector<Fact>& facts, const std::function<std::string(const Fact&)>& one) {
  std::vector<std::string> out;
  for (const Fact& f : facts) {
    std::string text = one(f);
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
  }
  return out;
}

std::string list_of(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& i : items) out += (out.empty() ? "" : " ") + i;
  return out;
}

void print_summary(const disasm::Routine& r, Buffered& out) {
  const disasm::Summary& s = r.summary;
  auto at = [&](const Fact& f) { return fmt::format("+{:#04x}", f.at - r.start); };
  auto value = [](const Fact& f) { return f.where.empty() ? "an unknown value" : f.where; };
  print_facts("saves", as_text(s.saved, [](const Fact& f) { return f.what + " → " + f.where; }), out);
  print_facts("restores", as_text(s.restored, [](const Fact& f) { return f.what + " ← " + f.where; }), out);
  print_facts(
      "switches",
      as_text(s.switches, [&](const Fact& f) { return fmt::format("{} {}: SP ← {}", at(f), f.what, value(f)); }), out);
  print_facts("current g", as_text(s.current, [&](const Fact& f) { return fmt::format("{} ← {}", at(f), f.where); }),
              out);
  print_facts("sets", as_text(s.set, [](const Fact& f) { return f.what + " ← " + f.where; }), out);
  print_facts("clears", as_text(s.cleared, [](const Fact& f) { return f.what; }), out);
  print_facts("calls",
              as_text(s.calls,
                      [](const Fact& f) {
                        return (f.what.empty() ? "an unknown address" : f.what) +
                               (f.where.empty() ? "" : " " + f.where);
                      }),
              out);
  print_facts("leaves",
              as_text(s.exits,
                      [&](const Fact& f) {
                        return fmt::format("{} {}{}{}", at(f), f.what, f.where.empty() ? "" : " ", f.where);
                      }),
              out);
  if (s.bottom) print_facts("unwinding", {"ends here: the row of CFI has no return address"}, out);
  std::string checked;
  if (!s.agree.empty()) checked = fmt::format("the saved context's {} as in DWARF", list_of(s.agree));
  if (s.cfi_rows) checked += fmt::format("{}{} rows of CFI", checked.empty() ? "" : "; ", s.cfi_rows);
  if (!checked.empty())
    out.add(fmt::format("{:<10} {}{}\n", "checked", checked, s.differences.empty() ? ": all agree" : ""));
  for (const std::string& d : s.differences) out.add(fmt::format("{:<10} {}\n", "DIFFERS", d));
}

}  // namespace

Listing make_listing(TraceFacts& facts, Program& program, const Program::Function& f) {
  Listing out;
  out.go = facts.names() && facts.names()->go_abi;
  facts.enter(f);
  out.parts.push_back(disasm::annotate(facts, facts.shown(f), f.start, f.size));
  const Location& at = program.locate(f.start).back();
  if (!at.file.empty() && at.line) out.where = fmt::format("{}:{}", basename_of(at.file), at.line);
  while (out.parts.size() < kMaxParts && out.parts.back().tail_only) {
    const disasm::Routine& last = out.parts.back();
    Program::Function next = program.function_at(*last.tail);
    if (next.start != *last.tail || std::any_of(out.parts.begin(), out.parts.end(),
                                                [&](const disasm::Routine& r) { return r.start == next.start; }))
      break;
    out.parts.push_back(disasm::annotate(facts, facts.shown(next), next.start, next.size, &last));
  }
  return out;
}

bool keep_part(Listing& listing, Program& program, const std::string& routine) {
  disasm::Routine& r = listing.parts.front();
  listing.parts.resize(1);
  std::erase_if(r.notes, [&](const Note& note) {
    const auto& chain = program.locate(note.insn.address);
    return std::none_of(chain.begin(), chain.end(), [&](const Location& l) { return l.function == routine; });
  });
  r.name = fmt::format("{}, which Go's compiler made a part of {}", routine, r.name);
  r.summary = {};
  r.entry.clear();
  return !r.notes.empty();
}

void print_listing(const Listing& listing, std::uint64_t limit, bool colour, Buffered& out) {
  for (std::size_t i = 0; i < listing.parts.size(); ++i) {
    const disasm::Routine& r = listing.parts[i];
    out.add(fmt::format("{}{}  {:#x}, {} bytes{}\n", i ? "\n" : "", r.name, r.start, r.size,
                        i == 0 && !listing.where.empty() ? ", " + listing.where : ""));
    if (i == 0 && !listing.subject.empty()) out.add("with the values of " + listing.subject + "\n");
    if (!r.entry.empty()) {
      std::string entry;
      for (const std::string& e : r.entry) entry += (entry.empty() ? "" : ", ") + e;
      out.add((i ? "arrives with " : "called with ") + entry + "\n");
    }
    const std::size_t n = limit ? std::min<std::size_t>(limit, r.notes.size()) : r.notes.size();
    for (std::size_t k = 0; k < n; ++k) print_note(r.notes[k], r, colour, out);
    if (n < r.notes.size()) out.add(fmt::format("{} of {} instructions shown (-limit 0 for all)\n", n, r.notes.size()));
    if (!r.cut.empty()) out.add("the listing is not whole: " + r.cut + "\n");
    if (i + 1 == listing.parts.size()) print_summary(r, out);
  }
  if (!listing.resumes.empty()) {
    out.add("goes on in\n");
    for (std::size_t i = 0; i < listing.resumes.size(); ++i)
      out.add(fmt::format("  #{:<2} {}\n", i, listing.resumes[i]));
  }
  if (listing.go) out.add("(Go's routine: trace ROUTINE -conventions says how its assembly is written)\n");
}

void print_conventions(Buffered& out) {
  out.add(
      "How Go writes assembly, beside what the machine runs:\n"
      "  TEXT name(SB), FLAGS, $frame-args   begins a routine: so many bytes of locals, so many of arguments and "
      "results\n"
      "  SB       static base: name(SB) is a symbol's address; name<>(SB) is known in its own file only\n"
      "  FP       name+0(FP) is the first argument, results follow the arguments; on the machine 8 bytes above the\n"
      "           SP of the entry, since the return address lies between\n"
      "  SP       name-8(SP) is the pseudo register: the top of the locals. Without a name, 8(SP) is the machine's SP\n"
      "  PC       the next instruction; a jump's label or distance\n"
      "  NOSPLIT  4: no check whether the stack must grow; NOFRAME 512: no frame, SP is the entry's; WRAPPER 32;\n"
      "           NEEDCTXT 64: a closure, whose variables rdx points to; TOPFRAME 2048: unwinding ends here\n"
      "  GLOBL name(SB), FLAGS, $size        makes a variable; DATA name+off(SB)/width, $value fills it in;\n"
      "           NOPTR 16: no pointers in it, RODATA 8: read-only\n"
      "  Symbols that end in .abi0 take arguments on the stack, 8(SP) at the entry being the first. Others take them "
      "in\n"
      "  rax rbx rcx rdi rsi r8 r9 r10 r11 and have the current g in r14; no register but rsp, rbp and r14 outlives a "
      "call.\n");
}

namespace {

void json_facts(std::string_view key, const std::vector<Fact>& facts, std::uint64_t start, Json& json) {
  json.key(key).open_array();
  for (const Fact& f : facts) {
    json.open_object().key("what").value(std::string_view(f.what)).key("where").text_or_null(f.where).key("offset");
    if (f.at >= start && f.at) {
      json.value(f.at - start);
    } else {
      json.null();
    }
    json.close_object();
  }
  json.close_array();
}

void json_note(const Note& note, std::uint64_t start, Json& json) {
  json.open_object().key("offset").value(note.insn.address - start).key("address").address(note.insn.address);
  std::string bytes;
  for (int i = 0; i < note.insn.size && i < 16; ++i) bytes += fmt::format("{:02x}", note.insn.bytes[i]);
  json.key("bytes").value(std::string_view(bytes)).key("text").value(std::string_view(note.insn.text));
  json.key("says").text_or_null(note.says).key("heading").text_or_null(note.heading);
  json.key("stack").text_or_null(note.side == Side::unreached ? std::string() : note.stack);
  json.key("side").value(note.side == Side::own ? "own" : note.side == Side::other ? "other" : "unreached");
  json.key("operands").open_array();
  for (const Note::Access& a : note.accesses) {
    json.open_object().key("path").value(std::string_view(a.path)).key("write").value(a.write).key("value");
    json.address_or_null(a.value);
    json.close_object();
  }
  json.close_array().close_object();
}

}  // namespace

void json_listing(const Listing& listing, Json& json) {
  for (const disasm::Routine& r : listing.parts) {
    const disasm::Summary& s = r.summary;
    json.line_break().open_object().key("routine").value(std::string_view(r.name)).key("address").address(r.start);
    json.key("size").value(r.size).key("where").text_or_null(listing.where);
    json.key("subject").text_or_null(listing.subject).key("entry").open_array();
    for (const std::string& e : r.entry) json.value(std::string_view(e));
    json.close_array().key("instructions").open_array();
    for (const Note& n : r.notes) json_note(n, r.start, json);
    json.close_array();
    json_facts("saves", s.saved, r.start, json);
    json_facts("restores", s.restored, r.start, json);
    json_facts("switches", s.switches, r.start, json);
    json_facts("current_g", s.current, r.start, json);
    json_facts("sets", s.set, r.start, json);
    json_facts("clears", s.cleared, r.start, json);
    json_facts("calls", s.calls, r.start, json);
    json_facts("exits", s.exits, r.start, json);
    json.key("agree").open_array();
    for (const std::string& a : s.agree) json.value(std::string_view(a));
    json.close_array().key("cfi_rows").value(std::uint64_t{s.cfi_rows}).key("differences").open_array();
    for (const std::string& d : s.differences) json.value(std::string_view(d));
    json.close_array().key("resumes").open_array();
    for (const std::string& f : listing.resumes) json.value(std::string_view(f));
    json.close_array().key("errors").open_array();
    if (!r.cut.empty()) json.value(std::string_view(r.cut));
    json.close_array().close_object();
  }
}

}  // namespace vitrine::inspect
