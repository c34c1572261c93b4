// trace_facts.cc: see trace_facts.h. The arguments of a function of C++ are read off its mangled name, which is there
// without DWARF as well; a pointer to a structure that DWARF knows is followed, everything else is a word with a name.
#include "trace_facts.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <tuple>

#include "program_names.h"
#include "stacks.h"
#include "words.h"

namespace vitrine::inspect {
namespace {

using disasm::Reg;

constexpr std::size_t kShownNamesakes = 30;

// "two.cc:measure" → {"two.cc", "measure"}; {"", word}: no file is named.
std::pair<std::string_view, std::string_view> file_and_name(std::string_view word) {
  const std::size_t colon = word.find(':');
  if (colon == 0 || colon == word.npos || colon + 1 == word.size() || word[colon + 1] == ':') return {"", word};
  return {word.substr(0, colon), word.substr(colon + 1)};
}

bool is_file(std::string_view path, std::string_view wanted) {
  return path.ends_with(wanted) && (path.size() == wanted.size() || path[path.size() - wanted.size() - 1] == '/');
}

std::string signature(const std::string& symbol) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status),
                                                   std::free);
  return status == 0 && text ? text.get() : symbol;
}

constexpr Reg kSysv[] = {Reg::rdi, Reg::rsi, Reg::rdx, Reg::rcx, Reg::r8, Reg::r9};
constexpr Reg kGo[] = {Reg::rax, Reg::rbx, Reg::rcx, Reg::rdi, Reg::rsi, Reg::r8, Reg::r9, Reg::r10, Reg::r11};

// "ns::f(a*, b<c, d>)" → {"a*", "b<c, d>"}; nullopt: there is no parameter list.
std::optional<std::vector<std::string>> parameters_of(std::string_view signature) {
  const std::size_t close = signature.rfind(')');
  if (close == signature.npos) return std::nullopt;
  int depth = 0;
  std::size_t open = close;
  for (;; --open) {
    if (signature[open] == ')') ++depth;
    if (signature[open] == '(' && --depth == 0) break;
    if (open == 0) return std::nullopt;
  }
  std::vector<std::string> out;
  std::string one;
  depth = 0;
  for (char c : signature.substr(open + 1, close - open - 1)) {
    if (c == '(' || c == '<' || c == '[') ++depth;
    if (c == ')' || c == '>' || c == ']') --depth;
    if (c == ',' && depth == 0) {
      out.push_back(std::move(one));
      one.clear();
    } else if (!(c == ' ' && one.empty())) {
      one += c;
    }
  }
  if (!one.empty()) out.push_back(std::move(one));
  return out;
}

// The structure that a field leads into next, the smallest one that covers the offset: of a union, or of a base class
// and its members, that is the most particular.
const Field* field_at(const Type& type, std::uint64_t offset) {
  const Field* best = nullptr;
  for (const Field& f : type.fields) {
    if (!f.type || offset < f.offset || offset - f.offset >= std::max<std::uint64_t>(f.type->size, 1)) continue;
    if (!best || f.type->size < best->type->size) best = &f;
  }
  return best;
}

}  // namespace

TraceFacts::TraceFacts(Program& program, Memory& memory)
    : program_(program), memory_(memory), names_(trace_names(program)) {
  if (!names_) return;
  slot_ = program_.thread_local_offset(names_->current_g);
  if (!slot_) slot_ = names_->usual_slot;
  const Type* context = type(names_->context);
  context_.type = context;
  context_.name = names_->context;
  auto role = [&](std::string_view field) -> std::optional<disasm::ContextFacts::Role> {
    const Field* f = context->field(field);
    if (!f) return std::nullopt;
    return disasm::ContextFacts::Role{std::string(field), f->offset};
  };
  context_.sp = role(names_->sp);
  context_.pc = role(names_->pc);
  context_.bp = role(names_->bp);
  context_.current = role(names_->owner);
}

const Type* TraceFacts::type(std::string_view bare) {
  return program_.type(std::string(names_->prefix) + std::string(bare));
}

std::string TraceFacts::bare(std::string_view name) const {
  if (names_ && name.starts_with(names_->prefix)) name.remove_prefix(names_->prefix.size());
  return std::string(name);
}

// All that are meant by one word, each with what tells it from the others.
std::string TraceFacts::namesakes(std::string_view word, std::vector<Program::Function>& found) {
  std::sort(found.begin(), found.end(),
            [](const Program::Function& a, const Program::Function& b) { return a.start < b.start; });
  auto place = [&](const Program::Function& f) -> const Location& { return program_.locate(f.start).back(); };
  bool same_file_name = false, files_differ = false;  // in several directories; at all
  for (const Program::Function& f : found) {
    const std::string &a = place(found[0]).file, &b = place(f).file;
    files_differ = files_differ || a != b;
    same_file_name = same_file_name || (a != b && basename_of(a) == basename_of(b));
  }
  std::string out = fmt::format("'{}' names {} functions; say which by its address", word, found.size());
  if (files_differ && !place(found[0]).file.empty())
    out += fmt::format(" or its file, like {}:{}", basename_of(place(found[0]).file), word);
  std::vector<std::string> texts;
  for (const Program::Function& f : found) {
    const Location& at = place(f);
    texts.push_back(signature(f.symbol));
    if (!at.file.empty())
      texts.back() +=
          fmt::format(" at {}:{}", same_file_name ? std::string_view(at.file) : basename_of(at.file), at.line);
  }
  for (std::size_t i = 0; i < found.size() && i < kShownNamesakes; ++i) {
    out += fmt::format("\n  {:#x}  {}", found[i].start, texts[i]);
    // Constructors and destructors come as several that do different work.
    if (std::count(texts.begin(), texts.end(), texts[i]) > 1) out += fmt::format(", {}", found[i].symbol);
  }
  if (found.size() > kShownNamesakes) out += fmt::format("\n  {} of {} shown", kShownNamesakes, found.size());
  return out;
}

Result<Program::Function> TraceFacts::find(std::string_view given) {
  std::string_view file, word = given;
  // (Go has functions with a colon in their names.)
  if (program_.functions(given).empty()) std::tie(file, word) = file_and_name(given);
  if (word.starts_with("0x")) {
    auto address = parse_number(word);
    if (!address) return Error{fmt::format("'{}' is no address", word), {}};
    Program::Function f = program_.function_at(*address);
    if (!f.start) return Error{fmt::format("no function is known at {:#x}", *address), *address};
    return f;
  }
  std::vector<std::string> tries;
  auto of_runtime = [&](const TraceNames& names) {
    tries.push_back(std::string(names.prefix) + std::string(word));
    if (names.go_abi) tries.push_back(tries.back() + ".abi0");
  };
  // A routine that switches is the runtime's; any other word is the user's own function first.
  const auto routines = trace_routines();
  const bool own_first = std::find(routines.begin(), routines.end(), word) == routines.end();
  if (own_first) tries.emplace_back(word);
  if (own_first && names_ && !names_->own_prefix.empty()) tries.push_back(std::string(names_->own_prefix) + tries[0]);
  if (names_) {
    of_runtime(*names_);
  } else {
    for (const TraceNames& names : all_trace_names()) of_runtime(names);
  }
  if (!own_first) tries.emplace_back(word);
  if (names_) {
    for (const TraceNames::Other& o : names_->others)
      if (o.routine == word && !o.symbol.empty()) tries.emplace_back(o.symbol);
  }
  bool elsewhere = false;
  for (const std::string& name : tries) {
    auto found = program_.functions(name);
    std::erase_if(found, [&](const Program::Function& part) {  // it and what was split off it are one function
      return std::any_of(found.begin(), found.end(), [&](const auto& f) { return made_of(part.symbol, f.symbol); });
    });
    elsewhere = elsewhere || (!found.empty() && !file.empty());
    std::erase_if(found, [&](const Program::Function& f) {
      return !file.empty() && !is_file(program_.locate(f.start).back().file, file);
    });
    if (found.empty()) continue;
    const auto own = [&](const Program::Function& f) { return f.symbol == name; };
    if (std::count_if(found.begin(), found.end(), own) == 1) return *std::find_if(found.begin(), found.end(), own);
    if (found.size() == 1) return found[0];
    return Error{namesakes(word, found), {}};
  }
  if (elsewhere) return Error{fmt::format("there is a function '{}', but none in a file '{}'", word, file), {}};
  for (const TraceNames::Other& o : names_ ? names_->others : std::span<const TraceNames::Other>()) {
    if (o.routine != word || !o.symbol.empty()) continue;
    return Error{
        fmt::format("there is no function '{}': Go's compiler makes it a part of the functions that call it", word),
        {}};
  }
  if (names_) return Error{fmt::format("there is no function '{}'", word), {}};
  if (!program_.functions("main").empty()) return Error{fmt::format("there is no function '{}'", word), {}};
  return Error{
      fmt::format("there is no function '{}': the program's symbols are stripped, or it has no code of its own", word),
      {}};
}

std::optional<TraceFacts::Part> TraceFacts::part(std::string_view word) {
  for (const TraceNames::Other& o : names_ ? names_->others : std::span<const TraceNames::Other>()) {
    if (o.routine != word || !o.symbol.empty() || o.in.empty()) continue;
    auto in = find(o.in);
    const std::string routine = std::string(names_->prefix) + std::string(word);
    if (!in || !program_.functions(routine).empty()) continue;
    return Part{routine, *in};
  }
  return std::nullopt;
}

std::string TraceFacts::shown(const Program::Function& f) const { return f.name.empty() ? f.symbol : f.name; }

void TraceFacts::add_argument(int n, std::string name, const Type* to) {
  arguments_[n] = {std::move(name), to && to->kind == Type::Kind::structure ? to : nullptr};
}

void TraceFacts::arguments_from_name(const std::string& symbol) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status),
                                                   std::free);
  if (status != 0 || !text) return;
  auto parameters = parameters_of(text.get());
  if (!parameters) return;
  int n = 0;
  std::string_view function(text.get());
  function = function.substr(0, function.find('('));
  if (auto colons = function.rfind("::"); colons != function.npos) {
    const Type* scope = program_.type(function.substr(0, colons));
    if (scope && scope->kind == Type::Kind::structure) add_argument(n++, "this", scope);
  }
  std::map<std::string, int> used;
  for (std::string p : *parameters) {
    if (n >= static_cast<int>(std::size(kSysv))) return;
    std::string_view t = p;
    while (t.ends_with(" const")) t.remove_suffix(6);
    if (t == "float" || t == "double" || t == "..." || t == "void") continue;
    const Type* to = nullptr;
    std::string name = t.find("(*)") != t.npos ? "fn" : "";
    if ((t.ends_with('*') || t.ends_with('&')) && name.empty()) {
      t.remove_suffix(1);
      while (t.ends_with(" const")) t.remove_suffix(6);
      to = program_.type(t);
      const std::string last = bare(t);
      if (to && to->kind == Type::Kind::structure) {
        name = usual_name(last);
        if (name.empty() && last.find('<') == last.npos) name = last.substr(last.rfind(':') + 1);
      }
    }
    if (name.empty()) name = fmt::format("arg{}", n + 1);
    if (int again = used[name]++) name += std::to_string(again + 1);
    add_argument(n++, name, to);
  }
}

// Of a function that Go's compiler made: where DWARF says that each parameter is when it begins. One of several words (a
// string, a slice) is in a register for each, or not told.
void TraceFacts::arguments_from_dwarf(std::uint64_t entry) {
  const std::span<const Reg> order = argument_order();
  const std::size_t own = program_.locate(entry).size() - 1;  // not of what is inlined at its beginning
  for (const Local& l : program_.locals(entry, false)) {
    if (!l.parameter || !l.type || l.function != own) continue;
    std::uint64_t offset = 0;
    for (const Local::Piece& piece : l.pieces) {
      std::string name = l.name;
      const Type* type = l.type;
      if (l.pieces.size() > 1) {
        const Field* f = type->kind == Type::Kind::structure ? field_at(*type, offset) : nullptr;
        if (!f || f->offset != offset) break;
        name += "." + f->name;
        type = f->type;
      }
      offset += piece.size;
      if (piece.place != Local::Place::reg || !type) continue;
      auto at = std::find(order.begin(), order.end(), static_cast<Reg>(piece.at));
      if (at == order.end()) continue;
      add_argument(static_cast<int>(at - order.begin()), name,
                   type->kind == Type::Kind::pointer ? type->element : nullptr);
    }
  }
}

void TraceFacts::enter(const Program::Function& f) {
  arguments_.clear();
  std::string_view symbol = f.symbol;
  on_stack_ = names_ && names_->go_abi && symbol.ends_with(".abi0");
  arguments_from_name(f.symbol);
  if (!names_) return;
  if (names_->go_abi && !on_stack_) arguments_from_dwarf(f.start);
  std::string routine = bare(f.name.empty() ? f.symbol : f.name);
  if (on_stack_) routine.resize(routine.size() - std::string_view(".abi0").size());
  for (const TraceNames::Argument& a : names_->arguments) {
    if (a.routine == routine) add_argument(a.n, std::string(a.name), a.type.empty() ? nullptr : type(a.type));
  }
}

void TraceFacts::look_at(Model& model, std::uint32_t goroutine) {
  const Goroutine& g = model.goroutines()[goroutine];
  model_ = &model;
  values_ = true;
  g_ = g.addr;
  resume_ = {g.pc, g.sp};
}

void TraceFacts::look_at_thread(Model* model, const Registers& regs, std::uint64_t current_g) {
  model_ = model;
  values_ = true;
  regs_ = regs;
  g_ = current_g;
  resume_ = {};
}

std::size_t TraceFacts::code(std::uint64_t address, std::span<std::byte> out) {
  return memory_.read_prefix(address, out, Space::code);
}

std::optional<disasm::Typed> TraceFacts::at_entry(Reg r) {
  std::optional<std::uint64_t> value;
  if (regs_ && regs_->has(disasm::index_of(r))) value = regs_->r[disasm::index_of(r)];
  // Go keeps the current g in a register everywhere but in what is called as if from assembly.
  if (names_ && names_->go_abi && r == Reg::r14 && !on_stack_)
    return disasm::Typed{"g", type(names_->g), "g*", values_ ? std::optional(g_) : std::nullopt};
  std::span<const Reg> order = argument_order();
  auto at = std::find(order.begin(), order.end(), r);
  if (at == order.end() || on_stack_) return std::nullopt;
  auto found = arguments_.find(static_cast<int>(at - order.begin()));
  if (found == arguments_.end()) return std::nullopt;
  const auto& [name, to] = found->second;
  if (!value && values_ && !regs_ && to && names_) {  // the goroutine's own context, or itself
    value = own_address(to);
  }
  return disasm::Typed{name, to, {}, value};
}

std::optional<disasm::Typed> TraceFacts::argument_on_stack(std::int64_t offset) {
  if (!on_stack_ || offset < 8 || offset % 8) return std::nullopt;
  auto found = arguments_.find(static_cast<int>(offset / 8 - 1));
  if (found == arguments_.end()) return std::nullopt;
  const auto& [name, to] = found->second;
  std::optional<std::uint64_t> value;
  if (values_ && !regs_ && to) value = own_address(to);
  return disasm::Typed{name, to, {}, value};
}

// Where the goroutine that is looked at has a structure of that type: itself, or its saved context.
std::optional<std::uint64_t> TraceFacts::own_address(const Type* to) {
  const Type* g = type(names_->g);
  if (g && to->name == g->name) return g_;
  const Type* context = static_cast<const Type*>(context_.type);
  auto in = context && to->name == context->name ? context_in(g) : std::nullopt;
  if (in) return g_ + *in;
  return std::nullopt;
}

std::optional<disasm::Typed> TraceFacts::thread_local_slot(std::int64_t offset) {
  if (!names_ || !slot_ || offset != *slot_) return std::nullopt;
  return disasm::Typed{"g", type(names_->g), "g*", values_ ? std::optional(g_) : std::nullopt};
}

std::optional<disasm::Member> TraceFacts::member(disasm::TypeId id, std::uint64_t offset) {
  const Type* type = static_cast<const Type*>(id);
  if (!type || offset >= type->size) return std::nullopt;
  disasm::Member out;
  for (int depth = 0; depth < 16 && type; ++depth) {
    if (type->kind == Type::Kind::array && type->element && type->element->size) {
      const std::uint64_t i = offset / type->element->size;
      if (i >= type->count) break;
      out.steps.push_back({type, fmt::format("[{}]", i), i * type->element->size});
      offset -= i * type->element->size;
      type = type->element;
      continue;
    }
    if (type->kind != Type::Kind::structure) break;
    const Field* f = field_at(*type, offset);
    if (!f) return std::nullopt;  // padding
    const bool wrapper = type->fields.size() == 1 && f->name == "value";
    out.steps.push_back({type, wrapper ? std::string() : f->name, f->offset});
    if (names_) {
      const std::string in = bare(type->name);
      for (const TraceNames::Untyped& u : names_->untyped) {
        if (u.in == in && u.field == f->name && offset == f->offset) out.pointee = this->type(u.to);
      }
    }
    offset -= f->offset;
    type = f->type;
  }
  if (out.steps.empty() || !type) return std::nullopt;
  out.rest = offset;
  out.size = type->size;
  out.is_pointer = type->kind == Type::Kind::pointer;
  if (out.is_pointer && type->element && type->element->kind == Type::Kind::structure) out.pointee = type->element;
  return out;
}

std::string TraceFacts::type_name(disasm::TypeId id) {
  return id ? bare(static_cast<const Type*>(id)->name) : std::string();
}

std::optional<std::uint64_t> TraceFacts::context_in(disasm::TypeId id) {
  if (!id || !context_.type) return std::nullopt;
  // By name: each unit of DWARF has a description of its own of the same structure.
  const std::string& context = static_cast<const Type*>(context_.type)->name;
  if (static_cast<const Type*>(id)->name == context) return 0;
  for (const Field& f : static_cast<const Type*>(id)->fields)
    if (f.type && f.type->name == context) return f.offset;
  return std::nullopt;
}

std::string TraceFacts::symbol(std::uint64_t address) {
  auto named = [&](const std::string& name, std::uint64_t start) {
    return address == start ? bare(name) : fmt::format("{}+{:#x}", bare(name), address - start);
  };
  Program::Function f = program_.function_at(address);
  if (f.start && address - f.start < std::max<std::uint64_t>(f.size, 1)) return named(shown(f), f.start);
  // Behind the last function, or behind a mark like etext, are data.
  if (Program::Symbol s = program_.data_symbol(address); !s.name.empty()) return named(s.name, s.start);
  if (Program::Symbol s = program_.section(address); !s.name.empty()) return named(s.name, s.start);
  return {};
}

std::optional<disasm::Facts::Extent> TraceFacts::routine_at(std::uint64_t address) {
  Program::Function f = program_.function_at(address);
  if (!f.start) return std::nullopt;
  return Extent{f.start, f.size};
}

std::optional<disasm::CfiFacts> TraceFacts::cfi(std::uint64_t pc) {
  const CfiRow* row = program_.cfi(pc);
  if (!row) return std::nullopt;
  disasm::CfiFacts out;
  out.undefined_pc = row->end || (row->undefined >> kRip & 1);
  if (row->complex_rules || row->cfa != CfiRow::Cfa::reg_offset) {
    // The rules themselves are not to be had; what they answer to registers with telling values is.
    constexpr std::uint64_t kMark = 0x5151000000000000, kApart = 0x100000;
    Registers in, caller;
    for (int n = 0; n < kRegs; ++n) in.set(n, kMark + static_cast<std::uint64_t>(n) * kApart);
    in.set(kRip, pc);
    if (!program_.unwind_slow(pc, in, memory_, caller)) return std::nullopt;
    auto holder = [&](std::uint64_t v) {
      return v >= kMark && (v - kMark) % kApart == 0 && (v - kMark) / kApart < 16
                 ? static_cast<Reg>((v - kMark) / kApart)
                 : Reg::none;
    };
    for (int n = 0; n < kRegs; ++n) {
      if (n == kRsp || !caller.has(n)) continue;
      const Reg h = holder(caller.r[n]);
      if (h != Reg::none && disasm::index_of(h) != n) out.rules.push_back({static_cast<Reg>(n), true, h, 0});
    }
    const std::uint64_t near = (caller.r[kRsp] - kMark + kApart / 2) / kApart;
    if (!caller.has(kRsp) || near >= 16) return std::nullopt;
    out.has_cfa = true;
    out.cfa_reg = static_cast<Reg>(near);
    out.cfa_offset = static_cast<std::int64_t>(caller.r[kRsp] - kMark - near * kApart);
    return out;
  }
  out.has_cfa = true;
  out.cfa_reg = static_cast<Reg>(row->cfa_reg);
  out.cfa_offset = row->cfa_offset;
  std::uint32_t same = names_ && names_->go_abi ? 0 : preserved() & ~disasm::bit(Reg::rsp);
  for (int n = 0; n < kRegs; ++n) {
    if (row->saved >> n & 1 && n != kRip) out.rules.push_back({static_cast<Reg>(n), false, Reg::none, row->offset[n]});
    if ((row->saved >> n & 1) || (row->undefined >> n & 1)) same &= ~(1u << n);
  }
  out.same = same;
  return out;
}

std::optional<std::uint64_t> TraceFacts::constant(std::uint64_t address) {
  if (!program_.in_got(address)) return std::nullopt;
  auto v = memory_.get<std::uint64_t>(address);
  if (!v || *v == 0) return std::nullopt;
  return *v;
}

std::optional<std::uint64_t> TraceFacts::word(std::uint64_t address, std::uint8_t size) {
  if (!values_ || size == 0 || size > 8) return std::nullopt;
  std::uint64_t v = 0;
  if (!memory_.read(address, std::as_writable_bytes(std::span(&v, 1)).first(size))) return std::nullopt;
  return v;
}

std::string TraceFacts::about(std::uint64_t value) {
  if (!values_ || !model_ || value == 0) return {};
  if (std::uint32_t i = model_->find_addr(value); i != kNone)
    return fmt::format("goroutine {}", model_->goroutines()[i].goid);
  for (const Machine& m : model_->machines()) {
    if (value == m.addr) return fmt::format("M{}", m.id);
    if (value == m.g0) return fmt::format("g0 of M{}", m.id);
  }
  // Stacks lie side by side, those of g0s among them: where one begins, another ends.
  for (const Goroutine& g : model_->goroutines()) {
    if (g.stack_lo && value == g.stack_lo) return fmt::format("the low end of the stack of goroutine {}", g.goid);
  }
  for (const Machine& m : model_->machines()) {
    if (m.g0_lo && value > m.g0_lo && value <= m.g0_hi) return fmt::format("on g0's stack of M{}", m.id);
  }
  for (const Goroutine& g : model_->goroutines()) {
    if (g.stack_lo && value > g.stack_lo && value <= g.stack_hi())
      return fmt::format("on the stack of goroutine {}", g.goid);
  }
  if (Program::Function f = program_.function_at(value); f.start) return symbol(value);
  return {};
}

std::span<const Reg> TraceFacts::argument_order() const {
  if (names_ && names_->go_abi) return kGo;
  return kSysv;
}

std::uint32_t TraceFacts::preserved() const {
  using disasm::bit;
  if (names_ && names_->go_abi) return bit(Reg::rsp) | bit(Reg::rbp) | bit(Reg::r14);
  return Facts::preserved();
}

}  // namespace vitrine::inspect
