// commands_obj.cc: obj: what an address is.
#include <fmt/format.h>

#include "backtrace.h"
#include "choose.h"
#include "commands.h"
#include "expressions.h"
#include "heap_commands.h"
#include "render.h"
#include "whereabouts.h"

namespace vitrine::inspect {
namespace {

constexpr OptionSpec kOptions[] = {
    {"json", Takes::maybe, "a JSON array with one row; -json=full adds schema, runtime and warnings"},
};

std::string list_of(const std::vector<std::uint64_t>& words) {
  std::string out;
  for (std::uint64_t w : words) out += fmt::format("{}{}", out.empty() ? "" : " ", w);
  return out;
}

std::string span_line(HeapState& heap, const Span& s) {
  std::string out = fmt::format("{:#x}, {}, {}", s.base, plural(s.npages, "page"), heap.state_text(s));
  if (heap.has_objects(s)) {
    out += s.sizeclass()
               ? fmt::format(", class {} ({} bytes{})", s.sizeclass(), s.elemsize, s.noscan() ? ", noscan" : "")
               : fmt::format(", one object{}", s.noscan() ? ", noscan" : "");
  }
  if (std::string owner = heap.owner_text(s); !owner.empty()) out += "; " + owner;
  if (std::string sweep = heap.sweep_text(s); !sweep.empty()) out += "; " + sweep;
  return out;
}

void print(HeapState& heap, const Whereabouts& w, std::string_view type, Buffered& out) {
  auto line = [&](std::string_view key, std::string text) { out.add(fmt::format("{:<10} {}\n", key, text)); };
  out.add(fmt::format("{:#x}: {}{}\n", w.addr, w.what,
                      w.state.empty() || w.state == "used" || w.state == "below_sp" ? std::string() : ": " + w.state));
  if (w.base) {
    std::string_view word = w.kind == "stack" || w.kind == "guard" || w.kind == "structure" || w.kind == "arena"
                                ? std::string_view(w.kind)
                            : w.kind == "code"   ? "function"
                            : w.kind == "global" ? "variable"
                                                 : "object";
    std::string text = fmt::format("{:#x}", *w.base);
    if (w.size) text += fmt::format("-{:#x}, {} bytes", *w.base + *w.size, *w.size);
    if (w.addr != *w.base) text += fmt::format("; {} bytes from its start", w.addr - *w.base);
    if (w.index && w.count && *w.count > 1) text += fmt::format("; number {} of {}", *w.index, *w.count);
    line(word, text);
  }
  if (w.kind == "structure" && !w.name.empty()) line(w.name.find('.') == w.name.npos ? "type" : "member", w.name);
  if (w.frame) line("frame", fmt::format("#{} {}", *w.frame, describe(w.where)));
  if (w.span != kNone) line("span", span_line(heap, heap.spans()[w.span]));
  if (w.kind == "object" || w.kind == "runtime_object") {
    std::string known = !w.type.empty() ? w.type : std::string(type);
    line("type", known.empty() || known == "void" ? "unknown: the heap does not record types" : printable(known));
  } else if (!w.type.empty()) {
    line("type", printable(w.type));
  }
  if (w.pointers) line("pointers", w.pointers->empty() ? "in none of its words" : "in words " + list_of(*w.pointers));
  if (w.allocated_at.valid() || w.allocated_by) {
    std::string by = w.allocated_at.valid() ? "at " + describe(w.allocated_at) : std::string("somewhere");
    if (w.allocated_by && *w.allocated_by) by += fmt::format(" by goroutine {}", *w.allocated_by);
    line("allocated", by);
  }
  for (const std::string& e : w.errors) out.add("error: " + e + "\n");
}

void json_row(HeapState& heap, const Whereabouts& w, std::string_view type, Json& json) {
  auto address = [&](std::string_view key, std::optional<std::uint64_t> v) { json.key(key).address_or_null(v); };
  auto number = [&](std::string_view key, std::optional<std::uint64_t> v) { json.key(key).value_or_null(v); };
  const Model& model = heap.model();
  json.open_object();
  address("addr", w.addr);
  json.key("kind").value(std::string_view(w.kind)).key("state").text_or_null(w.state);
  json.key("what").text_or_null(w.what);
  address("base", w.base);
  number("size", w.size);
  number("offset", w.base ? std::optional(w.addr - *w.base) : std::nullopt);
  number("index", w.index);
  const Span* s = w.span == kNone ? nullptr : &heap.spans()[w.span];
  address("span", s ? std::optional(s->base) : std::nullopt);
  number("class", s && heap.has_objects(*s) ? std::optional<std::uint64_t>(s->sizeclass()) : std::nullopt);
  json.key("owner").text_or_null(s ? heap.owner_text(*s) : std::string());
  number("goid", w.goroutine == kNone ? std::nullopt : std::optional(model.goroutines()[w.goroutine].goid));
  number("frame", w.frame);
  json.key("where");
  json_frame(json, w.where);
  json.key("name").text_or_null(w.name);
  json.key("type").text_or_null(w.type.empty() && w.kind == "object" && type != "void" ? type : w.type);
  json.key("pointers");
  if (w.pointers) {
    json.open_array();
    for (std::uint64_t word : *w.pointers) json.value(word);
    json.close_array();
  } else {
    json.null();
  }
  json.key("allocated_at");
  json_frame(json, w.allocated_at);
  number("allocated_by", w.allocated_by);
  json.key("errors").open_array();
  for (const std::string& e : w.errors) json.value(std::string_view(e));
  json.close_array().close_object();
}

Outcome run_obj(Session& session, const Line& line, std::size_t first, Sink& sink) {
  auto options = parse_options(line, first, kOptions, Mixing::anywhere);
  if (!options) return fail(sink, options.error());
  if (options->positional.empty()) return fail(sink, "obj ADDR|EXPR: an address or an expression is needed");
  auto mode = json_mode(*options);
  if (!mode) return fail(sink, mode.error());
  const Word& begin = line.words[options->positional.front()];
  std::string expression = options->positional.size() == 1 && begin.quoted
                               ? begin.text
                               : line.raw.substr(begin.begin, line.words[options->positional.back()].end - begin.begin);
  auto heap = look_at_heap(session, sink);
  if (!heap) return Outcome::error;
  auto place = address_of(session, expression);
  if (!place) return fail(sink, place.error());
  Whereabouts w = where_is(**heap, **session.stacks(), place->value);
  std::vector<std::string> warnings = heap_warnings(**heap);
  if (!w.errors.empty()) session.incomplete = true;
  Buffered out(sink);
  if (*mode) {
    Json json(out);
    if (*mode == 2) open_full_json(session, json, "obj", 1, 1, warnings);
    json.open_array();
    json_row(**heap, w, place->type, json);
    json.close_array();
    if (*mode == 2) json.close_object();
  } else {
    print(**heap, w, place->type, out);
  }
  return page_end(out, sink, warnings, *mode);
}

void complete_obj(Session&, const Line&, std::size_t, std::string_view partial, const Complete& offer) {
  complete_options(kOptions, partial, offer);
}

constexpr CommandSpec kCommands[] = {
    {"obj", "What an address is: an object, a stack and its frame, a structure, a variable, code, nothing.",
     "obj ADDR|EXPR [-json[=full]]\n\n"
     "EXPR is evaluated by the debugger: a pointer, a gc::ptr and a gc::root too, means what it points to, anything\n"
     "else where it lies. In vitrine-inspect: an address or a global's name. Nothing that calls or assigns is "
     "evaluated. The answer is\n"
     "  an object       its bounds, how far inside the address is, allocated or free, its span and class, which of\n"
     "                  its words hold pointers, and who allocated it if that allocation was sampled\n"
     "  a stack         whose, and in which frame; a guard page; a free stack, and who keeps it\n"
     "  a structure     g, m, p, mspan, mcache, …, and which member of it; any other of the runtime's own: a buffer "
     "of\n"
     "                  the collector, a bitmap and its span, the index of arenas, a record of a finalizer\n"
     "  code, a global, memory that is none of these, or nothing at all\n\n"
     "Example: what does this pointer point into?\n"
     "  obj p->next\n"
     "  obj 0xc000004044\n"
     "  0xc000004044: in an object of the heap: allocated\n"
     "  object     0xc000004030-0xc000004060, 48 bytes; 20 bytes from its start; number 1 of 170\n"
     "  span       0xc000004000, 1 page, inuse, class 5 (48 bytes); mcache of P 0; cached\n"
     "Next: mheap span ADDR for its neighbours, goroutine N for the one whose stack it is.\n",
     run_obj, complete_obj},
};

}  // namespace

std::span<const CommandSpec> obj_commands() { return kCommands; }

}  // namespace vitrine::inspect
