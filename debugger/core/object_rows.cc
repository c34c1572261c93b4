// object_rows.cc: see object_rows.h. What does not apply to a kind (the capacity of a mutex) is unknown, "-".
#include "object_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "goroutine_rows.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

enum Column : int {
  kAddr,
  kKind,
  kLen,
  kCap,
  kClosed,
  kType,
  kSenders,
  kReceivers,
  kHandles,
  kState,
  kHolder,
  kWaiters,
  kOldest,
  kErrors,
};

constexpr ColumnSpec kColumns[] = {
    {"addr", "ADDR", ColumnType::address, true, false, "where it is"},
    {"kind", "KIND", ColumnType::text, false, false, "chan mutex rw_mutex cond once semaphore wait_group task"},
    {"len", "LEN", ColumnType::number, true, false, "chan: values in its buffer"},
    {"cap", "CAP", ColumnType::number, true, false, "chan: places in its buffer"},
    {"closed", "CLOSED", ColumnType::flag, false, false, "chan: closed"},
    {"type", "TYPE", ColumnType::text, false, false, "chan: type of its elements"},
    {"senders", "SENDERS", ColumnType::number, true, false, "chan: goroutines that wait to send"},
    {"receivers", "RECEIVERS", ColumnType::number, true, false, "chan: goroutines that wait to receive"},
    {"handles", "HANDLES", ColumnType::number, true, false, "chan: handles of it that exist"},
    {"state", "STATE", ColumnType::text, false, false, "in words"},
    {"holder", "HOLDER", ColumnType::number, true, false, "the goroutine that holds it"},
    {"waiters", "WAITERS", ColumnType::number, true, false, "goroutines on its queues"},
    {"oldest", "OLDEST", ColumnType::duration, true, false, "how long the first of them has waited"},
    {"errors", "ERRORS", ColumnType::number, true, false, "how many things are wrong with it"},
};

}  // namespace

std::span<const ColumnSpec> object_columns() { return kColumns; }
std::span<const ColumnSpec> ObjectRows::columns() const { return kColumns; }

ObjectRows::ObjectRows(Session& session, Objects& objects, Stacks& stacks, std::vector<Objects::WaitedOn> rows,
                       ObjectKind only, bool full)
    : session_(session),
      objects_(objects),
      stacks_(stacks),
      values_(session.program(), session.memory(),
              [this](std::uint64_t type) { return objects_.described_type(type); }),
      rows_(std::move(rows)),
      only_(only),
      full_(full) {
  if (only != ObjectKind::unknown) std::erase_if(rows_, [&](const Objects::WaitedOn& w) { return w.kind != only; });
  noun_ = only == ObjectKind::chan      ? "channel"
          : only == ObjectKind::unknown ? "object"
                                        : std::string(kind_text(only)) + " object";
}

std::vector<int> ObjectRows::default_columns() const {
  if (only_ == ObjectKind::chan) return {kAddr, kLen, kCap, kClosed, kType, kSenders, kReceivers};
  return {kKind, kAddr, kState, kHolder, kWaiters, kOldest};
}

const SyncObject& ObjectRows::at(std::uint32_t row) {
  if (read_row_ == row) return read_;
  auto found = objects_.read(rows_[row].kind, rows_[row].addr);
  if (found) {
    read_ = std::move(*found);
  } else {
    read_ = {};
    read_.kind = rows_[row].kind;
    read_.addr = rows_[row].addr;
    read_.errors.push_back(found.error().message);
  }
  damaged_ = damaged_ || !read_.errors.empty();
  read_row_ = row;
  return read_;
}

Value ObjectRows::text(std::string text) {
  scratch_ = std::move(text);
  return Value::string(scratch_);
}

std::optional<std::int64_t> ObjectRows::oldest(const SyncObject& object) {
  std::optional<std::int64_t> most;
  for (const Waiter& w : object.waiters) {
    if (w.goroutine == kNone) continue;
    auto age = objects_.model().age(objects_.model().goroutines()[w.goroutine]);
    if (age && (!most || *age > *most)) most = age;
  }
  return most;
}

Value ObjectRows::value(std::uint32_t row, int column) {
  auto number = [](auto v) { return Value::number(static_cast<std::int64_t>(v)); };
  if (column == kAddr) return number(rows_[row].addr);
  if (column == kKind) return Value::string(kind_text(rows_[row].kind));
  const SyncObject& o = at(row);
  if (column == kErrors) return number(o.errors.size());
  if (!o.queues_read) return {};
  bool chan = o.kind == ObjectKind::chan;
  switch (column) {
    case kLen:
      return chan ? number(o.qcount) : Value{};
    case kCap:
      return chan ? number(o.dataqsiz) : Value{};
    case kClosed:
      return chan ? number(o.closed) : Value{};
    case kType:
      return chan && !o.type.empty() ? text(o.type) : Value{};
    case kSenders:
      return chan ? number(o.on(Side::send)) : Value{};
    case kReceivers:
      return chan ? number(o.on(Side::receive)) : Value{};
    case kHandles:
      return chan && objects_.model().layout().has(F::hchan_refs) ? number(o.handles) : Value{};
    case kState:
      return text(objects_.state_text(o));
    case kHolder: {
      Holder h = objects_.holder(o);
      return h.how == Holder::How::goroutine ? number(h.goid) : Value{};
    }
    case kWaiters:
      return number(o.waiters.size());
    case kOldest:
      if (auto age = oldest(o)) return number(*age);
      return {};
    default:
      return {};
  }
}

std::string ObjectRows::cell(std::uint32_t row, int column) {
  Value v = value(row, column);
  const SyncObject& o = at(row);
  std::string out = "-";
  if (v.known) {
    switch (kColumns[column].type) {
      case ColumnType::text:
        out = printable(v.text);
        break;
      case ColumnType::address:
        out = fmt::format("{:#x}", static_cast<std::uint64_t>(v.n));
        break;
      case ColumnType::flag:
        out = v.n ? "yes" : "no";
        break;
      case ColumnType::duration:
        out = objects_.model().age_text(v.n);
        break;
      default:
        out = column == kHandles ? std::to_string(v.n) : std::to_string(static_cast<std::uint64_t>(v.n));
    }
  } else if (column == kHolder && o.queues_read) {
    out = objects_.holder(o).how == Holder::How::nobody ? "-" : "unknown";
  }
  int last = default_columns().back();
  if (column == last && !o.errors.empty()) {
    out += fmt::format(" <{}>", o.errors[0]);
    if (o.errors.size() > 1) out += fmt::format(" (+{} more, see -json)", o.errors.size() - 1);
  }
  return out;
}

std::string ObjectRows::short_text(std::uint32_t row) { return fmt::format("{:#x}", rows_[row].addr); }

std::string ObjectRows::value_text(const SyncObject& object, std::uint64_t addr) {
  bool bad = false;
  std::string out = values_.text(addr, object.type, object.elemsize, bad);
  damaged_ = damaged_ || bad;
  return out;
}

void ObjectRows::json_holder(const SyncObject& object, Json& json) {
  Holder h = objects_.holder(object);
  json.key("holder");
  if (h.how != Holder::How::goroutine) {
    json.null();
  } else {
    json.open_object().key("goid").value(h.goid);
    bool there = h.goroutine != kNone;
    const auto g = there ? std::optional(objects_.model().goroutines()[h.goroutine]) : std::nullopt;
    json.key("name").text_or_null(there ? objects_.model().name(*g) : std::string());
    json.key("status").text_or_null(there ? objects_.model().status_text(*g) : std::string_view());
    json.key("where");
    if (there) stacks_.ensure({h.goroutine});
    json_frame(json, there ? stacks_.where(h.goroutine) : SourceFrame{});
    json.close_object();
  }
  json.key("holder_unknown").text_or_null(h.how == Holder::How::unknown ? h.why : std::string());
}

void ObjectRows::json_waiters(const SyncObject& object, Json& json) {
  std::vector<std::uint32_t> indexes;
  for (const Waiter& w : object.waiters) {
    if (w.goroutine != kNone) indexes.push_back(w.goroutine);
  }
  stacks_.ensure(indexes);
  json.open_array();
  for (const Waiter& w : object.waiters) {
    const auto g = w.goroutine == kNone ? std::nullopt : std::optional(objects_.model().goroutines()[w.goroutine]);
    json.open_object().key("side").value(side_text(w.side)).key("select").value(w.select);
    json.key("sudog").address(w.sudog).key("g").address(w.g);
    json.key("goid");
    if (g) {
      json.value(g->goid);
    } else {
      json.null();
    }
    json.key("name").text_or_null(g ? objects_.model().name(*g) : std::string());
    json.key("age_ns");
    if (auto age = g ? objects_.model().age(*g) : std::nullopt) {
      json.value(*age);
    } else {
      json.null();
    }
    json.key("value");
    if (w.side == Side::send && w.elem && object.elemsize) {
      json.value(std::string_view(value_text(object, w.elem)));
    } else {
      json.null();
    }
    json.key("where");
    json_frame(json, g ? stacks_.where(w.goroutine) : SourceFrame{});
    json.close_object();
  }
  json.close_array();
}

void ObjectRows::json(std::uint32_t row, Json& json) {
  const SyncObject& o = at(row);
  auto number = [&](const char* key, int column) {
    json.key(key);
    Value v = value(row, column);
    if (!v.known) {
      json.null();
    } else if (kColumns[column].type == ColumnType::flag) {
      json.value(v.n != 0);
    } else if (column == kHandles || column == kOldest) {
      json.value(v.n);
    } else {
      json.value(static_cast<std::uint64_t>(v.n));
    }
  };
  bool chan = o.kind == ObjectKind::chan && o.queues_read;
  json.open_object();
  json.key("addr").address(o.addr);
  json.key("kind").value(kind_text(o.kind));
  json.key("state").text_or_null(o.queues_read ? objects_.state_text(o) : std::string());
  json_holder(o, json);
  json.key("type").text_or_null(o.type);
  json.key("elem_size");
  if (chan) {
    json.value(o.elemsize);
  } else {
    json.null();
  }
  number("len", kLen);
  number("cap", kCap);
  number("closed", kClosed);
  number("handles", kHandles);
  number("senders", kSenders);
  number("receivers", kReceivers);
  number("waiting", kWaiters);
  number("oldest_ns", kOldest);
  json.key("values");
  if (chan && full_) {
    json.open_array();
    for (std::uint64_t i = 0; i < o.buffered(); ++i) {
      json.value(std::string_view(value_text(o, o.value_at(i))));
      if (i % 4096 == 4095 && session_.cancelled()) break;
    }
    json.close_array();
  } else {
    json.null();
  }
  json.key("waiters");
  if (full_ && o.queues_read) {
    json_waiters(o, json);
  } else {
    json.null();
  }
  json.key("errors").open_array();
  for (const std::string& e : o.errors) json.value(std::string_view(e));
  json.close_array();
  json.close_object();
}

// ---- one object as text --------------------------------------------------------------------------------------------

std::string goroutine_label(const Model& model, std::uint32_t goroutine) {
  const Goroutine& g = model.goroutines()[goroutine];
  if (g.is(Goroutine::unreadable)) return fmt::format("the goroutine at {:#x}", g.addr);
  std::string name = model.name(g);
  return fmt::format("goroutine {}{}", g.goid, name.empty() ? "" : fmt::format(" \"{}\"", printable(name)));
}

std::string holder_text(Model& model, Stacks& stacks, const SyncObject& object, const Holder& h) {
  const char* verb = object.kind == ObjectKind::once   ? "run by"
                     : object.kind == ObjectKind::task ? "computed by"
                                                       : "held by";
  switch (h.how) {
    case Holder::How::nobody:
      return {};
    case Holder::How::unknown:
      return "holder unknown: " + h.why;
    case Holder::How::goroutine:
      break;
  }
  if (h.goroutine == kNone) return fmt::format("{} goroutine {}, which does not exist (any more)", verb, h.goid);
  const Goroutine& g = model.goroutines()[h.goroutine];
  std::string state(model.status_text(g));
  if (std::string_view wait = model.wait_text(g); !wait.empty()) state += fmt::format(": {}", wait);
  stacks.ensure({h.goroutine});
  SourceFrame where = stacks.where(h.goroutine);
  if (where.valid()) state += fmt::format(", in {}", printable(describe(where)));
  return fmt::format("{} {} ({})", verb, goroutine_label(model, h.goroutine), state);
}

void ObjectRows::print_values(const SyncObject& object, std::uint64_t limit, Buffered& out) {
  std::uint64_t n = object.buffered(), shown = std::min(n, limit);
  if (n == 0) return;
  out.add("buffered, the next to be received first:\n");
  for (std::uint64_t i = 0; i < shown; ++i) {
    out.add(fmt::format("  {:>3}  {}\n", i, value_text(object, object.value_at(i))));
    if (i % 4096 == 4095 && session_.cancelled()) return;
  }
  if (shown < n) out.add(fmt::format("  {} of {} values shown (-limit 0 for all)\n", shown, n));
}

void ObjectRows::print_waiters(const SyncObject& object, std::uint64_t limit, Buffered& out) {
  Model& model = objects_.model();
  std::uint64_t n = object.waiters.size(), shown = std::min(n, limit);
  std::vector<std::uint32_t> indexes;
  for (std::uint64_t i = 0; i < shown; ++i) {
    if (object.waiters[i].goroutine != kNone) indexes.push_back(object.waiters[i].goroutine);
  }
  if (!stacks_.ensure(indexes)) return;
  bool values = object.on(Side::send) != 0;
  if (shown) {
    std::vector<Table::Column> headings = {{"SIDE", false}, {"GOID", true}, {"NAME", false}, {"AGE", true}};
    if (values) headings.push_back({"VALUE", false});
    headings.push_back({"WHERE", false});
    Table table(out, headings, session_.colour);
    for (std::uint64_t i = 0; i < shown; ++i) {
      const Waiter& w = object.waiters[i];
      const auto g = w.goroutine == kNone ? std::nullopt : std::optional(model.goroutines()[w.goroutine]);
      std::string side(side_text(w.side));
      if (w.select) side += " (select)";
      if (g && !model.waiting(*g)) side += " (woken)";
      auto age = g ? model.age(*g) : std::nullopt;
      std::vector<std::string> cells = {side, g ? std::to_string(g->goid) : "?",
                                        g ? printable(model.name(*g)) : std::string(),
                                        age ? model.age_text(*age) : "-"};
      if (values) cells.push_back(w.side == Side::send && w.elem ? value_text(object, w.elem) : "-");
      SourceFrame where = g ? stacks_.where(w.goroutine) : SourceFrame{};
      cells.push_back(!g              ? fmt::format("<no goroutine at {:#x}>", w.g)
                      : where.valid() ? printable(describe(where))
                                      : "");
      table.row(std::move(cells), false);
    }
  }
  if (shown < n) {
    out.add(fmt::format("{} of {} shown (-limit 0 for all)\n", shown, n));
  } else {
    out.add(n == 0 ? "nobody waits\n" : n == 1 ? "1 waits\n" : fmt::format("{} wait\n", n));
  }
}

Outcome ObjectRows::print(std::uint32_t row, std::uint64_t limit, Sink& sink) {
  const SyncObject& o = at(row);
  if (!o.queues_read) return fail(sink, o.errors[0]);
  Buffered out(sink);
  std::string state = objects_.state_text(o);
  out.add(fmt::format("{} {:#x}{}{}\n", kind_text(o.kind), o.addr, state.empty() ? "" : ": ", state));
  if (o.kind == ObjectKind::chan) {
    const bool counted = objects_.model().layout().has(F::hchan_refs);
    out.add(fmt::format(
        "of {}, {} each{}\n", o.type.empty() ? "an unknown type" : printable(o.type), plural(o.elemsize, "byte"),
        counted ? "; " + plural(static_cast<std::uint64_t>(std::max(o.handles, 0)), "handle") : std::string()));
    print_values(o, limit, out);
  } else if (std::string by = holder_text(objects_.model(), stacks_, o, objects_.holder(o)); !by.empty()) {
    out.add(by + "\n");
  }
  print_waiters(o, limit, out);
  for (const std::string& e : o.errors) out.add("damaged: " + e + "\n");
  if (session_.cancelled()) {
    out.flush();
    fail(sink, "stopped by Ctrl-C");
    return Outcome::cancelled;
  }
  return Outcome::ok;
}

}  // namespace vitrine::inspect
