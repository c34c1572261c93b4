// goroutine_rows.cc: see goroutine_rows.h. A value that does not apply (the M of a parked goroutine, the age of a
// running one) is unknown; texts that do not apply (name, wait) are empty and known, so that `name = ""` works.
#include "goroutine_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "render.h"
#include "session.h"

namespace vitrine::inspect {
namespace {

enum Column : int {
  kMark,
  kGoid,
  kStatus,
  kWait,
  kAge,
  kM,
  kP,
  kStack,
  kWhere,
  kName,
  kAddr,
  kThread,
  kSystem,
  kFunction,
  kFile,
  kLine,
  kUsed,
  kTotal,
  kGuard,
  kDepth,
  kWaitingOn,
  kParent,
  kCreated,
  kStart,
  kScan,
  kForeign,
  kNoproc,
  kLocked,
  kLabels,
  kErrors,
};

constexpr ColumnSpec kColumns[] = {
    {"current", "*", ColumnType::flag, false, false, "it is selected, or the current thread runs it"},
    {"goid", "GOID", ColumnType::number, true, false, "its number"},
    {"status", "STATUS", ColumnType::text, false, false, "idle runnable running syscall waiting …"},
    {"wait", "WAIT", ColumnType::text, false, false, "why it waits", "wait_reason"},
    {"age", "AGE", ColumnType::duration, true, false, "how long it has waited; + means at least"},
    {"m", "M", ColumnType::number, true, false, "the M that runs it"},
    {"p", "P", ColumnType::number, true, false, "the P of that M"},
    {"stack", "STACK", ColumnType::size, true, true,
     "bytes used/total; `stack ~ RE` looks at the functions of all frames"},
    {"where", "WHERE", ColumnType::text, false, false, "function at file:line, the first of the user's own code"},
    {"name", "NAME", ColumnType::text, false, false, "set_name"},
    {"addr", "ADDR", ColumnType::address, true, false, "address of its g"},
    {"thread", "THREAD", ColumnType::number, true, false, "kernel thread of its M"},
    {"system", "SYSTEM", ColumnType::flag, false, false, "the runtime's own"},
    {"function", "FUNCTION", ColumnType::text, false, false, "the function of where"},
    {"file", "FILE", ColumnType::text, false, false, "the file of where"},
    {"line", "LINE", ColumnType::number, true, false, "the line of where"},
    {"used", "USED", ColumnType::size, true, false, "bytes of stack in use"},
    {"total", "TOTAL", ColumnType::size, true, false, "bytes of stack"},
    {"guard", "GUARD", ColumnType::text, false, false, "how the stack's low end is protected"},
    {"depth", "DEPTH", ColumnType::number, true, false, "number of frames, inlined ones not counted"},
    {"waiting_on", "WAITING_ON", ColumnType::address, true, false, "the object it waits on"},
    {"parent", "PARENT", ColumnType::number, true, false, "the goroutine that created it"},
    {"created", "CREATED", ColumnType::text, false, false, "where it was created", "created_by"},
    {"start", "START", ColumnType::text, false, false, "its entry function"},
    {"scan", "SCAN", ColumnType::flag, false, false, "someone inspects its stack"},
    {"foreign", "FOREIGN", ColumnType::flag, false, false, "it stands for a thread that is none of the runtime's"},
    {"noproc", "NOPROC", ColumnType::flag, false, false, "it runs on although its P was taken: it did not yield"},
    {"locked", "LOCKED", ColumnType::number, true, false, "the M that it is locked to", "locked_m"},
    {"labels", "LABELS", ColumnType::text, false, false, "what runtime/pprof was told of it, key=value"},
    {"errors", "ERRORS", ColumnType::number, true, false, "how many things are wrong with it"},
};

bool needs_stack(int column) {
  switch (column) {
    case Rows::kFrames:
    case kWhere:
    case kFunction:
    case kFile:
    case kLine:
    case kDepth:
    case kErrors:
      return true;
    default:
      return false;
  }
}

}  // namespace

GoroutineRows::GoroutineRows(Session& session, Model& model, Stacks& stacks) : model_(model), stacks_(stacks) {
  marked_ = session.selection().selected ? model.find_addr(session.selection().g) : model.current();
}

std::span<const ColumnSpec> goroutine_columns() { return kColumns; }
std::span<const ColumnSpec> GoroutineRows::columns() const { return kColumns; }
int GoroutineRows::hidden_column() const { return kSystem; }

// A thread that waits is the program's, although the g that stands for it is the runtime's.
bool GoroutineRows::hidden(std::uint32_t row) const {
  const Goroutine& g = at(row);
  return g.is(Goroutine::system) && !(g.is(Goroutine::foreign) && model_.waiting(g));
}

std::vector<int> GoroutineRows::default_columns() const {
  return {kMark, kGoid, kStatus, kWait, kAge, kM, kP, kStack, kWhere, kName};
}

bool GoroutineRows::prepare(const std::vector<std::uint32_t>& rows, const std::vector<int>& columns) {
  for (int c : columns) {
    if (needs_stack(c)) return stacks_.ensure(rows);
  }
  return true;
}

// What is read of the target only now is for the session's thread: a host may have to be asked.
bool GoroutineRows::any_thread(const std::vector<int>& columns) const {
  return std::all_of(columns.begin(), columns.end(),
                     [&](int c) { return c <= kWhere || (c == kName && !model_.layout().has(F::g_name)); });
}

Value GoroutineRows::text(std::string text) {
  scratch_ = std::move(text);
  return Value::string(scratch_);
}

Value GoroutineRows::value(std::uint32_t row, int column) {
  const Goroutine& g = at(row);
  auto number = [](auto v) { return Value::number(static_cast<std::int64_t>(v)); };
  if (column == kAddr) return number(g.addr);
  if (column == kMark) return number(row == marked_);
  if (column == kErrors) return number(errors(row).size());
  if (g.is(Goroutine::unreadable)) return {};
  auto frame = [&](auto pick) -> Value {
    SourceFrame f = stacks_.where(row);
    return f.valid() ? pick(f) : Value{};
  };
  switch (column) {
    case kGoid:
      return number(g.goid);
    case kStatus:
      return Value::string(model_.status_text(g));
    case kWait:
      return Value::string(model_.wait_text(g));
    case kAge:
      if (auto age = model_.age(g)) return number(*age);
      return {};
    case kM:
      if (const Machine* m = model_.machine(g)) return number(m->id);
      return {};
    case kP:
      if (const Machine* m = model_.machine(g)) {
        if (const Processor* p = model_.processor(*m)) return number(p->id);
      }
      return {};
    case kThread:
      if (const Thread* t = model_.thread(g)) return number(t->tid);
      return {};
    case kStack:
    case kUsed:
      if (auto used = model_.stack_used(g)) return number(*used);
      return {};
    case kTotal:
      return g.is(Goroutine::bad_stack) || !g.stack_size ? Value{} : number(g.stack_size);
    case kGuard:
      return text(model_.guard(g));
    case kWhere:
      return frame([&](const SourceFrame& f) { return text(describe(f)); });
    case kFunction:
      return frame([&](const SourceFrame& f) { return text(std::string(f.function)); });
    case kFile:
      return frame([&](const SourceFrame& f) { return text(std::string(f.file)); });
    case kLine:
      return frame([&](const SourceFrame& f) { return f.line ? number(f.line) : Value{}; });
    case kDepth:
      if (stacks_.shape_of(row) == kNone) return {};
      return number(stacks_.shape(stacks_.shape_of(row)).pcs.size());
    case kName:
      return text(model_.name(g));
    case kSystem:
      return number(g.is(Goroutine::system));
    case kScan:
      return number(g.is(Goroutine::scan));
    case kForeign:
      return number(g.is(Goroutine::foreign));
    case kNoproc:
      return number(g.is(Goroutine::noproc));
    case kLocked:
      if (const Machine* m = model_.locked_machine(g)) return number(m->id);
      return {};
    case kWaitingOn:
      if (auto on = model_.waiting_on(g)) return number(*on);
      return {};
    case kParent:
      if (auto p = model_.parent(g)) return number(*p);
      return {};
    case kCreated:
      return g.gopc ? text(describe(stacks_.creator(g))) : Value{};
    case kLabels:
      return text(describe(stacks_.labels(g)));
    case kStart:
      return g.startpc ? text(describe(stacks_.at(g.startpc, true))) : Value{};
    default:
      return {};
  }
}

Tri GoroutineRows::frames_match(std::uint32_t row, int, const Pattern& pattern) {
  std::uint32_t shape = stacks_.shape_of(row);
  if (shape == kNone) return Tri::unknown;
  if (memo_.size() <= pattern.index) memo_.resize(pattern.index + 1);
  std::vector<std::uint8_t>& memo = memo_[pattern.index];
  if (memo.size() <= shape) memo.resize(stacks_.shape_count());
  if (memo[shape]) return static_cast<Tri>(memo[shape] - 1);
  Tri found = stacks_.shape(shape).end == StackEnd::bottom ? Tri::no : Tri::unknown;
  for (const SourceFrame& f : stacks_.frames(shape)) {
    if (!f.function.empty() && pattern.matches(f.function)) found = Tri::yes;
  }
  memo[shape] = static_cast<std::uint8_t>(1 + static_cast<int>(found));
  return found;
}

std::vector<std::string> GoroutineRows::errors(std::uint32_t row) {
  std::vector<std::string> errors = model_.errors_of(at(row));
  if (std::string problem = stacks_.problem(row); !problem.empty()) errors.push_back(std::move(problem));
  damaged_ = damaged_ || !errors.empty();
  return errors;
}

// WHERE by itself, which is the same for all that have one stack.
void GoroutineRows::add_where(std::string& out, std::uint32_t row) {
  const std::uint32_t shape = stacks_.shape_of(row);
  if (shape == kNone || !stacks_.user_frame(shape).valid()) {
    if (SourceFrame f = stacks_.where(row); f.valid()) add_printable(out, describe(f));
    return;
  }
  if (where_.size() <= shape) where_.resize(stacks_.shape_count());
  if (where_[shape].empty()) where_[shape] = printable(describe(stacks_.user_frame(shape)));
  out += where_[shape];
}

void GoroutineRows::add_cell(std::string& out, std::uint32_t row, int column) {
  const Goroutine& g = at(row);
  const std::size_t begin = out.size();
  if (column == kMark) {
    if (row == marked_) out += '*';
    return;
  }
  const bool readable = !g.is(Goroutine::unreadable);
  if (column == kStack) {
    if (auto used = model_.stack_used(g))
      add_size(out, *used);
    else
      out += '?';
    out += '/';
    if (!g.is(Goroutine::bad_stack) && g.stack_size && readable)
      add_size(out, g.stack_size);
    else
      out += '?';
    return;
  }
  if (column == kWhere) {
    if (!readable) {
      out += fmt::format("<unreadable {:#x}>", g.addr);
      return;
    }
    add_where(out, row);
    auto wrong = errors(row);
    if (!wrong.empty()) out += fmt::format("{}<{}>", out.size() == begin ? "" : " ", wrong[0]);
    if (wrong.size() > 1) out += fmt::format(" (+{} more, see -json)", wrong.size() - 1);
    return;
  }
  const Value v = value(row, column);
  if (!v.known) {
    out += readable ? '-' : '?';
    return;
  }
  switch (kColumns[column].type) {
    case ColumnType::text:
      add_printable(out, v.text);
      break;
    case ColumnType::number:
      if (column == kGoid)
        add_number(out, static_cast<std::uint64_t>(v.n));
      else
        add_number(out, v.n);
      break;
    case ColumnType::address:
      out += fmt::format("{:#x}", static_cast<std::uint64_t>(v.n));
      break;
    case ColumnType::flag:
      out += v.n ? "yes" : "no";
      break;
    case ColumnType::duration:
      if (model_.age_about()) out += '~';
      add_duration(out, v.n);
      if (model_.age_at_least()) out += '+';
      break;
    case ColumnType::size:
      add_size(out, static_cast<std::uint64_t>(v.n));
      break;
  }
}

void json_frame_keys(Json& json, const SourceFrame& frame) {
  json.key("pc").address(frame.pc);
  json.key("function").text_or_null(frame.function);
  json.key("file").text_or_null(frame.file);
  json.key("line");
  if (frame.line) {
    json.value(std::int64_t{frame.line});
  } else {
    json.null();
  }
}

void json_labels(Json& json, const Labels& labels) {
  json.open_array();
  for (const auto& [key, value] : labels)
    json.open_object()
        .key("key")
        .value(std::string_view(key))
        .key("value")
        .value(std::string_view(value))
        .close_object();
  json.close_array();
}

void json_frame(Json& json, const SourceFrame& frame) {
  if (!frame.valid()) {
    json.null();
    return;
  }
  json.open_object();
  json_frame_keys(json, frame);
  json.close_object();
}

void GoroutineRows::json(std::uint32_t row, Json& json) {
  const Goroutine& g = at(row);
  bool readable = !g.is(Goroutine::unreadable);
  auto number = [&](const char* key, int column) {
    json.key(key);
    Value v = value(row, column);
    if (v.known) {
      json.value(v.n);
    } else {
      json.null();
    }
  };
  json.open_object();
  json.key("goid");
  if (readable) {
    json.value(g.goid);
  } else {
    json.null();
  }
  json.key("addr").address(g.addr);
  json.key("status").text_or_null(readable ? model_.status_text(g) : std::string_view());
  json.key("wait_reason").text_or_null(readable ? model_.wait_text(g) : std::string_view());
  json.key("waiting_on");
  if (auto on = model_.waiting_on(g); on && readable) {
    json.address(*on);
  } else {
    json.null();
  }
  number("age_ns", kAge);
  number("m", kM);
  number("p", kP);
  number("thread", kThread);
  json.key("current").value(row == marked_);
  json.key("system");
  if (readable) {
    json.value(g.is(Goroutine::system));
  } else {
    json.null();
  }
  json.key("foreign").value(g.is(Goroutine::foreign)).key("noproc").value(g.is(Goroutine::noproc));
  number("locked_m", kLocked);
  json.key("name").text_or_null(model_.name(g));
  json.key("stack");
  if (readable && g.stack_lo) {
    json.open_object().key("lo").address(g.stack_lo).key("hi");
    if (g.is(Goroutine::bad_stack)) {
      json.null();
    } else {
      json.address(g.stack_hi());
    }
    number("used", kUsed);
    json.close_object();
  } else {
    json.null();
  }
  json.key("where");
  json_frame(json, readable ? stacks_.where(row) : SourceFrame{});
  json.key("start");
  json_frame(json, g.startpc ? stacks_.at(g.startpc, true) : SourceFrame{});
  json.key("created_by");
  if (g.gopc) {
    json.open_object();
    number("goid", kParent);
    json_frame_keys(json, stacks_.creator(g));
    json.close_object();
  } else {
    json.null();
  }
  json.key("labels");
  json_labels(json, readable ? stacks_.labels(g) : Labels{});
  json.key("errors").open_array();
  for (const std::string& e : errors(row)) json.value(std::string_view(e));
  json.close_array();
  json.close_object();
}

std::string GoroutineRows::short_text(std::uint32_t row) {
  return at(row).is(Goroutine::unreadable) ? fmt::format("{:#x}", at(row).addr) : std::to_string(at(row).goid);
}

std::vector<std::string> all_warnings(Session& session, const Model& model) {
  std::vector<std::string> all = session.target().warnings();
  for (auto& more : {session.program().warnings(), model.warnings()}) all.insert(all.end(), more.begin(), more.end());
  if (model.layout().source() == Layout::Source::note) {
    all.push_back("the program has no debug information: most functions and all lines are unknown (vitrine doctor)");
  }
  session.incomplete = session.incomplete || !all.empty();
  return all;
}

}  // namespace vitrine::inspect
