// graph_text.cc: see graph_text.h.
#include "graph_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "goroutine_rows.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kChainShown = 20;  // goroutines of one deadlock, unless all are asked for
constexpr std::size_t kOthersShown = 3;

}  // namespace

std::string GraphText::deadlock(std::uint32_t id, bool all) {
  const std::vector<std::uint32_t>& members = graph_.cycle(id);
  std::string text = "deadlock: ";
  std::size_t shown = all ? members.size() : std::min(members.size(), kChainShown);
  for (std::size_t i = 0; i < shown; ++i) {
    Waits waits = objects_.waits_of(at(members[i]));
    text += fmt::format("{} waits for {} {} ", label(members[i]), object_name(waits), verb(waits));
  }
  if (shown < members.size()) {
    text += fmt::format("… ({} more goroutines; -limit 0 for all) … ", members.size() - shown);
  }
  return text + fmt::format("goroutine {}\n", at(members[0]).goid);
}

void GraphText::entry(const Blocked& b, Buffered& out) {
  out.add(heading(b.goroutine) + marks(b) + "\n");
  Waits waits = objects_.waits_of(at(b.goroutine));
  if (waits.select && waits.on.empty()) out.add("  select: its cases are not known\n");
  for (const Wait& w : waits.on) out.add("  " + waits_on(w, waits.select) + "\n");
  for (const std::string& e : waits.errors) say_damaged(e, out);
}

bool GraphText::chain(std::uint32_t from, std::uint64_t limit, Buffered& out) {
  std::unordered_set<std::uint32_t> seen;
  std::string indent;
  std::uint64_t lines = 0;
  for (std::uint32_t i = from;;) {
    const Blocked* b = graph_.find(i);
    if (lines++ == limit) return false;
    out.add(indent + heading(i) + (b ? marks(*b) : "") + "\n");
    if (!seen.insert(i).second || !b) return true;
    Waits waits = objects_.waits_of(at(i));
    for (const Wait& w : waits.on) {
      if (lines++ == limit) return false;
      out.add(indent + "  " + waits_on(w, waits.select) + "\n");
    }
    if (b->next == kNone || session_.cancelled()) return true;
    i = b->next;
    if (indent.size() < 64) indent += "  ";
  }
}

void GraphText::json(const Blocked& b, Json& json) {
  const Goroutine& g = at(b.goroutine);
  json.open_object();
  json.key("goid").value(g.goid).key("addr").address(g.addr);
  json.key("name").text_or_null(model_.name(g));
  json.key("foreign").value(objects_.foreign(g));
  json.key("wait_reason").text_or_null(model_.wait_text(g));
  json.key("age_ns").value_or_null(model_.age(g));
  json.key("where");
  json_frame(json, stacks_.where(b.goroutine));
  Waits waits = objects_.waits_of(g);
  json.key("select").value(waits.select);
  json.key("waits_on").open_array();
  for (const Wait& w : waits.on) {
    json.open_object().key("kind").value(kind_text(w.kind)).key("addr").address(w.object);
    json.key("side").value(side_text(w.side));
    auto object = objects_.read(w.kind, w.object, false);
    Holder h = object ? objects_.holder(*object) : Holder{Holder::How::unknown, 0, kNone, object.error().message};
    json.key("holder_goid")
        .value_or_null(h.how == Holder::How::goroutine ? std::optional(static_cast<std::int64_t>(h.goid))
                                                       : std::nullopt);
    json.key("holder_exists");
    if (h.how == Holder::How::goroutine) {
      json.value(h.goroutine != kNone);
    } else {
      json.null();
    }
    json.key("holder_unknown").text_or_null(h.how == Holder::How::unknown ? h.why : std::string());
    json.close_object();
    if (!object) waits.errors.push_back(object.error().message);
  }
  json.close_array();
  auto id = [](std::uint32_t n) { return n == kNone ? std::nullopt : std::optional(std::int64_t{n} + 1); };
  json.key("deadlock").value_or_null(id(b.cycle));
  json.key("behind_deadlock").value_or_null(id(b.behind));
  json.key("errors").open_array();
  for (const std::string& e : waits.errors) json.value(std::string_view(e));
  json.close_array();
  json.close_object();
  damaged = damaged || !waits.errors.empty();
}

bool GraphText::dot(const std::vector<const Blocked*>& rows, Buffered& out) {
  out.add("digraph goroutines {\n  rankdir=LR;\n  node [fontname=\"sans\"];\n");
  std::unordered_set<std::uint64_t> nodes;
  auto goroutine = [&](std::uint32_t i) {
    if (!nodes.insert(at(i).addr).second) return;
    const Blocked* b = graph_.find(i);
    out.add(fmt::format("  g{} [label={} shape=box{}];\n", at(i).goid, quoted(label(i) + "\n" + state(i)),
                        b && b->cycle != kNone ? " color=red" : ""));
  };
  std::size_t n = 0;
  for (const Blocked* b : rows) {
    if (++n % 4096 == 0 && session_.cancelled()) return false;
    goroutine(b->goroutine);
    for (const Wait& w : objects_.waits_of(at(b->goroutine)).on) {
      std::string node = fmt::format("o{:x}_{}", w.object, kind_text(w.kind));
      const char* colour = b->cycle != kNone ? " color=red" : "";
      out.add(fmt::format("  g{} -> {} [label=\"{}\"{}];\n", at(b->goroutine).goid, node, side_text(w.side), colour));
      if (!nodes.insert(w.object * 16 + static_cast<std::uint64_t>(w.kind) + 8).second) continue;
      out.add(fmt::format("  {} [label=\"{} {:#x}\" shape=ellipse];\n", node, kind_text(w.kind), w.object));
      auto object = objects_.read(w.kind, w.object, false);
      Holder h = object ? objects_.holder(*object) : Holder{};
      if (h.how != Holder::How::goroutine) continue;
      if (h.goroutine != kNone) {
        goroutine(h.goroutine);
      } else {
        out.add(fmt::format("  g{} [label=\"goroutine {}, which does not exist\" shape=box style=dashed];\n", h.goid,
                            h.goid));
      }
      out.add(fmt::format("  {} -> g{} [label=\"{}\"{}];\n", node, h.goid, verb_of(w.kind), colour));
    }
  }
  out.add("}\n");
  return true;
}

std::string GraphText::quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

const char* GraphText::verb_of(ObjectKind kind) {
  return kind == ObjectKind::once ? "run by" : kind == ObjectKind::task ? "computed by" : "held by";
}

std::string GraphText::object_name(const Waits& waits) {
  return waits.on.empty() ? "something" : fmt::format("{} {:#x}", kind_text(waits.on[0].kind), waits.on[0].object);
}

std::string GraphText::state(std::uint32_t i) {
  const Goroutine& g = at(i);
  std::string text(model_.status_text(g));
  if (std::string_view wait = model_.wait_text(g); !wait.empty()) text += fmt::format(": {}", wait);
  return text;
}

std::string GraphText::heading(std::uint32_t i) {
  const Goroutine& g = at(i);
  std::string text = fmt::format("{} ({}", label(i), state(i));
  if (auto age = model_.age(g)) text += ", " + model_.age_text(*age);
  text += ")";
  stacks_.ensure({i});
  SourceFrame where = stacks_.where(i);
  if (where.valid()) text += " in " + printable(describe(where));
  return text;
}

std::string GraphText::marks(const Blocked& b) {
  if (b.cycle != kNone) return fmt::format(" [deadlock {}]", b.cycle + 1);
  return b.behind == kNone ? std::string() : fmt::format(" [behind deadlock {}]", b.behind + 1);
}

void GraphText::say_damaged(const std::string& text, Buffered& out) {
  out.add("  damaged: " + text + "\n");
  damaged = true;
}

std::string GraphText::waits_on(const Wait& w, bool select) {
  std::uint64_t key = w.object * 128 + static_cast<std::uint64_t>(w.kind) * 8 + static_cast<std::uint64_t>(w.side);
  auto [it, fresh] = texts_.try_emplace(key);
  if (fresh) it->second = describe_wait(w);
  return select ? "select: " + it->second : it->second;
}

std::string GraphText::describe_wait(const Wait& w) {
  auto object = objects_.read(w.kind, w.object, w.kind == ObjectKind::chan);
  if (!object) {
    damaged = true;
    return fmt::format("{} {:#x}: {}", kind_text(w.kind), w.object, object.error().message);
  }
  damaged = damaged || !object->errors.empty();
  std::string text;
  if (w.kind == ObjectKind::chan) {
    text = fmt::format("{}{} chan {:#x}", side_text(w.side), w.side == Side::send ? " to" : " from", w.object);
    text += fmt::format(" ({}, {})", object->type.empty() ? "type unknown" : printable(object->type),
                        objects_.state_text(*object));
    Side other = w.side == Side::send ? Side::receive : Side::send;
    std::size_t n = object->on(other), shown = 0;
    text += n ? "; on its other side: " : ", holder unknown: nobody is parked on its other side";
    for (const Waiter& o : object->waiters) {
      if (o.side != other || shown == kOthersShown) continue;
      text += fmt::format("{}{}", shown++ ? ", " : "",
                          o.goroutine == kNone ? fmt::format("<no goroutine at {:#x}>", o.g) : label(o.goroutine));
    }
    if (n > shown) text += fmt::format(" and {} more", n - shown);
    return text;
  }
  text = fmt::format("{} {:#x}", kind_text(w.kind), w.object);
  if (w.side == Side::read || w.side == Side::write) text += fmt::format(" (to {})", side_text(w.side));
  Holder h = objects_.holder(*object);
  std::string by = holder_text(model_, stacks_, *object, h);
  if (by.empty()) by = "free: " + objects_.state_text(*object);
  return fmt::format("{}, {}", text, by);
}

}  // namespace vitrine::inspect
