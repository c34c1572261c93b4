// describe.cc: see describe.h.
#include "describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "layout.h"
#include "model.h"
#include "object_rows.h"
#include "render.h"
#include "values.h"

namespace vitrine::inspect {
namespace {

std::string unreadable(std::uint64_t addr) { return fmt::format("<unreadable {:#x}>", addr); }
std::string unreadable(const Error& error, std::uint64_t addr) { return unreadable(error.address.value_or(addr)); }

std::string waiting(std::uint64_t n, std::string_view who) {
  if (who.empty()) return n == 1 ? "1 waits" : fmt::format("{} wait", n);
  return fmt::format("{} {}", plural(n, who), n == 1 ? "waits" : "wait");
}

}  // namespace

const std::vector<PrintedRow>& printed_rows() {
  static const auto all = [] {
    std::vector<PrintedRow> rows;
    for (const Dialect* dialect : dialects()) {
      for (const Dialect::PrintedType& t : dialect->printed_types()) {
        PrintedRow row;
        row.name = t.name;
        for (char c : t.pattern) row.pattern += c == '%' ? std::string(".+") : c == '*' ? "\\*" : std::string(1, c);
        row.pattern = "^" + row.pattern + "$";
        row.pointer = t.pattern.ends_with('*');
        row.members = t.whole;
        row.part = t.how == Dialect::Printed::atomic;
        row.smart = dialect->collected_pointer(t.pattern).has_value();
        row.elements = !t.whole && (t.how == Dialect::Printed::collected || t.how == Dialect::Printed::slice ||
                                    (t.how == Dialect::Printed::object && t.pattern.ends_with('>')));
        rows.push_back(std::move(row));
      }
    }
    return rows;
  }();
  return all;
}

bool Describer::ready() {
  if (model_) return true;
  auto model = session_.model();
  if (!model) return false;
  model_ = *model;
  objects_ = std::make_unique<Objects>(session_, *model_);
  return true;
}

// Where the object itself lies, for a handle of it. 0: of none.
Result<std::uint64_t> Describer::object_address(Dialect::UserType is, std::uint64_t addr) {
  return is.handle ? session_.memory().get<std::uint64_t>(addr) : Result<std::uint64_t>(addr);
}

std::string Describer::object(ObjectKind kind, std::uint64_t addr) {
  std::string out(kind_text(kind));
  auto read = objects_->read(kind, addr);
  if (!read) return out + " " + unreadable(read.error(), addr);
  if (std::string state = objects_->state_text(*read); !state.empty()) out += " " + state;
  if (Holder h = objects_->holder(*read); h.how == Holder::How::goroutine) {
    const char* verb = kind == ObjectKind::once ? "run by" : kind == ObjectKind::task ? "computed by" : "held by";
    out += fmt::format(", {} {}", verb,
                       h.goroutine != kNone ? goroutine_label(*model_, h.goroutine)
                                            : fmt::format("goroutine {}, which does not exist", h.goid));
  }
  auto say = [&](Side side, std::string_view who) {
    if (std::uint64_t n = read->on(side)) out += ", " + waiting(n, who);
  };
  if (kind == ObjectKind::chan) {
    say(Side::send, "sender");
    say(Side::receive, "receiver");
  } else if (kind == ObjectKind::rw_mutex) {
    say(Side::write, "writer");
    say(Side::read, "reader");
  } else if (!read->waiters.empty()) {
    out += ", " + waiting(read->waiters.size(), {});
  }
  if (!read->errors.empty()) {
    out += ", damaged: " + read->errors[0];
    if (read->errors.size() > 1) out += fmt::format(" (and {} more)", read->errors.size() - 1);
  }
  return out;
}

const SyncObject* Describer::chan(std::uint64_t addr) {
  if (last_chan_.addr == addr && addr) return &last_chan_;
  auto read = objects_->read(ObjectKind::chan, addr, false);
  if (!read) return nullptr;
  last_chan_ = std::move(*read);
  return &last_chan_;
}

// What a task that is done has: a member of the structure whose beginning the state is.
std::optional<Part> Describer::result_of_task(std::string_view type, std::uint64_t state) {
  const Type* whole = session_.program().type(session_.layout().value_or(nullptr)->dialect().task_result(type));
  const Field* value = whole ? whole->field("value") : nullptr;
  if (!value || !value->type || value->type->name.empty()) return std::nullopt;
  return Part{"value", state + value->offset, -1, 0, 0, value->type->name};
}

// The address of the word that is the pointer; expired: it is one that keeps nothing, and its object is gone.
Result<std::uint64_t> Describer::collected(std::string_view type, std::uint64_t addr, bool& expired) {
  const Layout& layout = **session_.layout();
  if (layout.dialect().collected_pointer(type)) return addr;
  auto handle = session_.memory().get<std::uint64_t>(addr);
  if (!handle) return handle;
  if (!*handle) return std::uint64_t{0};
  const Type* t = session_.program().type(layout.dialect().type_name("weakHandle"));
  const Field* to = t ? t->field("ptr") : nullptr;
  const std::uint64_t word = *handle + (to ? to->offset : 0);
  auto p = session_.memory().get<std::uint64_t>(word);
  if (!p) return p;
  expired = *p == 0;
  return word;
}

std::string Describer::goroutine(std::uint64_t g) {
  if (const std::uint32_t i = objects_->goroutine_at(g); i != kNone) {
    const Goroutine& row = model_->goroutines()[i];
    if (row.is(Goroutine::unreadable)) return unreadable(g);
    std::string_view wait = model_->wait_text(row);
    return fmt::format("{} {}{}", goroutine_label(*model_, i), model_->status_text(row),
                       wait.empty() ? std::string() : fmt::format(" ({})", wait));
  }
  for (const Machine& m : model_->machines()) {
    if (m.g0 == g) return fmt::format("g0 of M {}", m.id);
    if (m.gsignal == g) return fmt::format("gsignal of M {}", m.id);
  }
  const auto& dead = model_->dead_addresses();
  if (std::find(dead.begin(), dead.end(), g) != dead.end()) return "dead goroutine";
  if (!session_.memory().get<std::uint64_t>(g)) return unreadable(g);
  return "no goroutine of this program";
}

std::string Describer::machine(std::uint64_t addr) {
  for (const Machine& m : model_->machines()) {
    if (m.addr != addr) continue;
    std::string out = fmt::format("M {}", m.id);
    if (m.procid) out += fmt::format(", thread {}", m.procid);
    if (m.goroutine != kNone) out += fmt::format(", runs {}", goroutine_label(*model_, m.goroutine));
    if (const Processor* p = model_->processor(m)) out += fmt::format(", on P {}", p->id);
    return out;
  }
  return session_.memory().get<std::uint64_t>(addr) ? "no M of this program" : unreadable(addr);
}

std::string Describer::processor(std::uint64_t addr) {
  for (const Processor& p : model_->processors()) {
    if (p.addr != addr) continue;
    std::string out = fmt::format("P {} {}", p.id, model_->layout().p_status(p.status));
    for (const Machine& m : model_->machines()) {
      if (p.m && m.addr == p.m) out += fmt::format(", of M {}", m.id);
    }
    return out;
  }
  return session_.memory().get<std::uint64_t>(addr) ? "no P of this program" : unreadable(addr);
}

std::string Describer::span(std::uint64_t addr) {
  const Layout& layout = model_->layout();
  std::uint64_t bad = 0;
  auto read = [&](F f) {
    auto v = layout.get(session_.memory(), addr, f);
    if (!v && !bad) bad = v.error().address.value_or(addr);
    return v.value_or(0);
  };
  const std::uint64_t start = read(F::mspan_startAddr), pages = read(F::mspan_npages), size = read(F::mspan_elemsize),
                      n = read(F::mspan_nelems), used = read(F::mspan_allocCount);
  const std::string state = layout.span_state(static_cast<std::uint32_t>(read(F::mspan_state)));
  if (bad) return unreadable(bad);
  std::string out = fmt::format("span {:#x}, {}, {}", start, plural(pages, "page"), state);
  if (n && size) out += fmt::format(", {} of {} objects of {} bytes", used, n, size);
  return out;
}

std::optional<Description> Describer::describe(std::string_view type, std::uint64_t addr) {
  auto layout = session_.layout();
  if (!layout || !addr) return std::nullopt;
  const Dialect& dialect = (*layout)->dialect();
  const Dialect::PrintedType* known = dialect.printed_type(type);
  if (!known || !ready()) return std::nullopt;
  Description out;
  switch (known->how) {
    case Dialect::Printed::object: {
      auto is = dialect.user_type(type);
      if (!is) return std::nullopt;
      const ObjectKind kind = kind_of_type(is->type);
      if (!is->handle && known->whole) out.shows = Shows::members;
      auto at = object_address(*is, addr);
      if (!at) {
        out.summary = fmt::format("{} {}", kind_text(kind), unreadable(at.error(), addr));
      } else if (!*at) {
        out.summary = fmt::format("{} of nothing", kind_text(kind));
      } else {
        out.summary = object(kind, *at);
        last_chan_ = {};
        if (kind == ObjectKind::chan && is->handle) {
          out.shows = Shows::elements;
          const SyncObject* c = chan(*at);
          out.parts = c ? c->buffered() : 0;
        } else if (kind == ObjectKind::task && is->handle) {
          auto done = (*layout)->get(session_.memory(), *at, F::taskState_done);
          out.parts = done && *done && result_of_task(type, *at) ? 1 : 0;
          if (out.parts) out.shows = Shows::elements;
        }
      }
      return out;
    }
    case Dialect::Printed::collected: {
      bool expired = false;
      out.summary = known->name;
      auto word = collected(type, addr, expired);
      auto to = word && *word ? session_.memory().get<std::uint64_t>(*word) : word;
      if (!to) {
        out.summary += " " + unreadable(to.error(), addr);
      } else if (expired) {
        out.summary += ", expired";
      } else if (!*to) {
        out.summary += " null";
      } else {
        if (!session_.memory().get<std::uint8_t>(*to)) out.summary += " " + unreadable(*to);
        out.shows = Shows::elements;
        out.parts = 1;
      }
      return out;
    }
    case Dialect::Printed::slice: {
      auto array = (*layout)->get(session_.memory(), addr, F::slice_array);
      auto len = (*layout)->get(session_.memory(), addr, F::slice_len);
      auto cap = (*layout)->get(session_.memory(), addr, F::slice_cap);
      if (!array || !len || !cap) {
        out.summary = "slice " + unreadable(addr);
        return out;
      }
      out.shows = Shows::elements;
      out.summary = fmt::format("slice of length {}, capacity {}", static_cast<std::int64_t>(*len),
                                static_cast<std::int64_t>(*cap));
      if (static_cast<std::int64_t>(*len) < 0 || (*cap && *len > *cap)) {
        out.summary += ", damaged: its length cannot be";
      } else if (*len && !session_.memory().get<std::uint8_t>(*array)) {
        out.summary += " " + unreadable(*array);
      } else {
        out.parts = *len;
      }
      return out;
    }
    case Dialect::Printed::string: {
      const Type* t = session_.program().type(type);
      if (!t) return std::nullopt;
      bool bad = false;
      out.summary = Values(session_.program(), session_.memory()).text(addr, *t, bad);
      return out;
    }
    case Dialect::Printed::atomic:
      out.shows = Shows::part;
      out.parts = 1;
      return out;
    case Dialect::Printed::goroutine:
      out.summary = goroutine(addr);
      break;
    case Dialect::Printed::machine:
      out.summary = machine(addr);
      break;
    case Dialect::Printed::processor:
      out.summary = processor(addr);
      break;
    case Dialect::Printed::span:
      out.summary = span(addr);
      break;
  }
  out.shows = type.ends_with('*') ? Shows::text : Shows::members;
  return out;
}

std::optional<Part> Describer::part(std::string_view type, std::uint64_t addr, std::uint64_t i) {
  auto layout = session_.layout();
  if (!layout || !addr) return std::nullopt;
  const Dialect& dialect = (*layout)->dialect();
  const Dialect::PrintedType* known = dialect.printed_type(type);
  if (!known || !ready()) return std::nullopt;
  switch (known->how) {
    case Dialect::Printed::object: {
      auto is = dialect.user_type(type);
      if (!is) return std::nullopt;
      auto at = object_address(*is, addr);
      if (!at || !*at) return std::nullopt;
      if (kind_of_type(is->type) == ObjectKind::task) return i == 0 ? result_of_task(type, *at) : std::nullopt;
      const SyncObject* c = kind_of_type(is->type) == ObjectKind::chan ? chan(*at) : nullptr;
      if (!c || i >= c->buffered()) return std::nullopt;
      return Part{fmt::format("[{}]", i), c->value_at(i), 0, 0, 0, {}};
    }
    case Dialect::Printed::collected: {
      bool expired = false;
      auto word = collected(type, addr, expired);
      if (i || !word || !*word || expired) return std::nullopt;
      return Part{"get()", *word, 0, 1, 0, {}};
    }
    case Dialect::Printed::slice: {
      auto array = (*layout)->get(session_.memory(), addr, F::slice_array);
      auto len = (*layout)->get(session_.memory(), addr, F::slice_len);
      if (!array || !len || i >= *len) return std::nullopt;
      return Part{fmt::format("[{}]", i), *array, 0, 0, i, {}};
    }
    case Dialect::Printed::atomic:
      if (i) return std::nullopt;
      return Part{"value", addr, 0, 0, 0, {}};
    default:
      return std::nullopt;
  }
}

}  // namespace vitrine::inspect
