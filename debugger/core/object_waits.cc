// object_waits.cc: the half of objects.h that goes from goroutines to objects and back: what each waits for, who holds
// that, which objects are waited on, and what an expression of the user's names.
//
// What kind of object a goroutine waits on follows from its wait reason, whose texts the runtime never changes into
// another meaning. A select names no object; its cases are the sudogs of g.waiting, linked through waitlink.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <unordered_set>

#include "expressions.h"
#include "layout.h"
#include "objects.h"
#include "render.h"
#include "words.h"

namespace vitrine::inspect {
namespace {

constexpr std::size_t kMaxCases = 1 << 16;
constexpr std::size_t kMaxSemas = 1 << 26;

struct Reason {
  std::string_view text;
  ObjectKind kind;
  Side side;
};
constexpr Reason kReasons[] = {
    {"chan receive", ObjectKind::chan, Side::receive},
    {"chan send", ObjectKind::chan, Side::send},
    {"sync.Mutex.Lock", ObjectKind::mutex, Side::lock},
    {"sync.RWMutex.RLock", ObjectKind::rw_mutex, Side::read},
    {"sync.RWMutex.Lock", ObjectKind::rw_mutex, Side::write},
    {"sync.Cond.Wait", ObjectKind::cond, Side::wait},
    {"sync.Once.Do", ObjectKind::once, Side::wait},
    {"semaphore", ObjectKind::semaphore, Side::wait},
    {"semacquire", ObjectKind::semaphore, Side::wait},
    {"sync.WaitGroup.Wait", ObjectKind::wait_group, Side::wait},
    {"task join", ObjectKind::task, Side::join},
};
constexpr std::string_view kSelect = "select";

// "const vitrine::chan<int> *&" → "vitrine::chan<int>", 1 star.
std::string_view peel(std::string_view type, int& stars, bool& reference) {
  stars = 0;
  reference = false;
  for (bool again = true; again;) {
    again = false;
    auto drop = [&](std::string_view tail) {
      if (!type.ends_with(tail)) return false;
      type.remove_suffix(tail.size());
      return again = true;
    };
    if (drop("*")) ++stars;
    if (drop("&")) reference = true;
    drop(" ");
    drop(" const");
    drop(" volatile");
    for (std::string_view head : {"const ", "volatile ", "struct ", "class ", "::"}) {
      if (!type.starts_with(head)) continue;
      type.remove_prefix(head.size());
      again = true;
    }
  }
  return type;
}

}  // namespace

Holder Objects::holder(const SyncObject& object) const {
  Holder h;
  auto is = [&](const char* bit) { return object.state & model_.layout().constant(bit).value_or(0); };
  auto held = [&](std::string_view who) {
    if (!object.owner) {
      h.why = fmt::format("the runtime has not written down {}", who);
      return h;
    }
    h.how = Holder::How::goroutine;
    h.goid = object.owner;
    h.goroutine = model_.find_goid(object.owner);
    return h;
  };
  auto nobody = [&] {
    h.how = Holder::How::nobody;
    return h;
  };
  auto unknown = [&](const char* why) {
    h.why = why;
    return h;
  };
  switch (object.kind) {
    case ObjectKind::mutex:
      if (!object.owner && model_.layout().constant("mutexLocked") && !is("mutexLocked")) return nobody();
      return held("who locked it");
    case ObjectKind::rw_mutex:
      if (object.owner) return held("who writes");
      if (object.readers ? !object.readers->hold && !object.readers->writer : object.state == 0) return nobody();
      if (object.readers && !object.readers->hold) return unknown("who writes is not written down");
      return unknown("readers are not written down");
    case ObjectKind::once:
      if (!object.running) return nobody();
      return held("who runs its function");
    case ObjectKind::task:
      if (object.state) return nobody();
      return held("which goroutine computes it");
    case ObjectKind::chan:
      return unknown("any goroutine with a handle may act");
    case ObjectKind::cond:
      return unknown("any goroutine may signal it");
    case ObjectKind::semaphore:
      return unknown("permits have no owner");
    case ObjectKind::wait_group:
      return unknown("any goroutine may call done");
    case ObjectKind::unknown:
      break;
  }
  return unknown("what it is is not known");
}

std::string Objects::state_text(const SyncObject& object) const {
  const Layout& layout = model_.layout();
  std::string text;
  auto add = [&](std::string part) { text += (text.empty() ? "" : ", ") + part; };
  switch (object.kind) {
    case ObjectKind::chan:
      add(fmt::format("{} of {} buffered", object.qcount, object.dataqsiz));
      add(object.closed ? "closed" : "open");
      break;
    case ObjectKind::mutex: {
      auto locked = layout.constant("mutexLocked"), woken = layout.constant("mutexWoken"),
           waiters = layout.constant("mutexWaiters"), starving = layout.constant("mutexStarving"),
           shift = layout.constant("mutexWaiterShift");
      if (locked && woken && starving && shift && *shift < 32) {  // a runtime that counts them
        add(object.state & *locked ? "locked" : "free");
        if (object.state & *woken) add("woken");
        if (object.state & *starving) add("starving");
        if (std::uint64_t n = object.state >> *shift) add(fmt::format("{} waiting", n));
        break;
      }
      if (!locked || !woken || !waiters) {
        add(fmt::format("state {:#x}", object.state));
        break;
      }
      add(object.state & *locked ? "locked" : "free");
      if (object.state & *woken) add("a waiter is awake");
      if (object.state & *waiters) add("waiters");
      if (starving && (object.state & *starving)) add("handed over in turn");
      if (std::uint64_t rest = object.state & ~std::uint64_t{*locked | *woken | *waiters | starving.value_or(0)}) {
        add(fmt::format("unknown bits {:#x}", rest));
      }
      break;
    }
    case ObjectKind::rw_mutex:
      add(rw_text(object));
      break;
    case ObjectKind::once:
      add(object.state ? "done" : object.running ? "running" : "not begun");
      break;
    case ObjectKind::semaphore:
      // A negative count says that somebody waits; what is free then is its complement.
      add(plural(static_cast<std::int64_t>(object.state) < 0 ? ~object.state : object.state, "permit") + " free");
      break;
    case ObjectKind::wait_group:
      add(fmt::format("counter {}", static_cast<std::int32_t>(object.state >> 32)));
      break;
    case ObjectKind::task:
      add(object.state ? "done" : "computing");
      break;
    case ObjectKind::cond:
    case ObjectKind::unknown:
      break;
  }
  if (object.busy) add("being changed (its inner lock is held)");
  return text;
}

// What a reader-writer lock's word says, if the program names its parts; else the number.
std::string Objects::rw_text(const SyncObject& object) const {
  if (object.owner) return "held by a writer";
  if (const auto& r = object.readers) {
    if (!r->writer) return r->hold ? "held by " + plural(static_cast<std::uint64_t>(r->hold), "reader") : "free";
    std::string text = r->hold
                           ? "held by " + plural(static_cast<std::uint64_t>(r->hold), "reader") + ", a writer is next"
                           : "held by a writer";
    if (r->behind) text += fmt::format(", {} behind it", plural(static_cast<std::uint64_t>(r->behind), "reader"));
    return text;
  }
  auto writer = model_.layout().constant("rwWriter"), shift = model_.layout().constant("rwReaderShift");
  if (!writer || !shift || *shift > 63) return object.state ? fmt::format("state {:#x}", object.state) : "free";
  std::uint64_t readers = object.state >> *shift;
  // A writer that has announced itself waits for the readers; with none of them it holds the lock, whoever it is.
  bool write = (object.state & *writer) != 0;
  if (readers) return "held by " + plural(readers, "reader") + (write ? ", a writer is next" : "");
  return write ? "held by a writer" : "free";
}

std::uint32_t Objects::goroutine_at(std::uint64_t g) {
  const Goroutines& all = model_.goroutines();
  if (by_addr_.size() != all.size()) {
    by_addr_.clear();
    for (std::uint32_t i = 0; i < all.size(); ++i) by_addr_.emplace_back(all[i].addr, i);
    std::sort(by_addr_.begin(), by_addr_.end());
  }
  auto it = std::lower_bound(by_addr_.begin(), by_addr_.end(), std::pair<std::uint64_t, std::uint32_t>(g, 0));
  return it == by_addr_.end() || it->first != g ? kNone : it->second;
}

bool Objects::foreign(const Goroutine& g) const {
  if (g.is(Goroutine::unreadable)) return false;
  return model_.layout().get(session_.memory(), g.addr, F::g_isforeign).value_or(0) != 0;
}

bool Objects::served(const Goroutine& g) {
  const Layout& layout = model_.layout();
  if (!layout.has(F::g_waiting) || !layout.has(F::sudog_success)) return false;
  auto sudog = layout.get(session_.memory(), g.addr, F::g_waiting);
  return sudog && *sudog && layout.get(session_.memory(), *sudog, F::sudog_success).value_or(0) != 0;
}

// Which queue of its channel a sudog stands on. At most one of them has anybody, but for a select with both sides.
Side Objects::side_in_chan(std::uint64_t chan, std::uint64_t sudog) {
  const Layout& layout = model_.layout();
  auto head = [&](F f) { return layout.get(session_.memory(), chan, f).value_or(0); };
  std::uint64_t receivers = head(F::hchan_recvq_first), senders = head(F::hchan_sendq_first);
  if (!receivers && !senders) return Side::unknown;
  if (!senders) return Side::receive;
  if (!receivers) return Side::send;
  std::unordered_set<std::uint64_t> seen;
  for (std::uint64_t at = senders; at && seen.insert(at).second && seen.size() < kMaxCases;) {
    if (at == sudog) return Side::send;
    at = layout.get(session_.memory(), at, F::sudog_next).value_or(0);
  }
  return Side::receive;
}

// Go queues those that wait for a lock by the address of its semaphore: in one table of treaps, whose nodes are the first
// waiter of each address; the others hang on it by waitlink.
void Objects::read_semas() {
  if (semas_read_) return;
  semas_read_ = true;
  const Layout& layout = model_.layout();
  const Layout::Elements table = layout.elements(Root::semtable);
  Memory& memory = session_.memory();
  auto get = [&](std::uint64_t at, F f) { return layout.get(memory, at, f).value_or(0); };
  std::vector<std::uint64_t> todo;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(table.count, 1 << 16) && layout.has(F::semaRoot_treap); ++i)
    todo.push_back(get(layout.root(Root::semtable) + i * table.size, F::semaRoot_treap));
  std::unordered_set<std::uint64_t> seen;
  while (!todo.empty() && seen.size() < kMaxSemas) {
    std::uint64_t node = todo.back();
    todo.pop_back();
    if (!node || !seen.insert(node).second) continue;
    std::uint64_t sema = get(node, F::sudog_elem);
    todo.push_back(get(node, F::sudog_prev));
    todo.push_back(get(node, F::sudog_next));
    for (std::uint64_t at = node; at; at = get(at, F::sudog_waitlink)) {
      if (at != node && !seen.insert(at).second) break;
      by_sema_.push_back({sema, get(at, F::sudog_g)});
    }
  }
  by_g_ = by_sema_;
  std::stable_sort(by_g_.begin(), by_g_.end(), [](const AtSema& a, const AtSema& b) { return a.g < b.g; });
  std::stable_sort(by_sema_.begin(), by_sema_.end(), [](const AtSema& a, const AtSema& b) { return a.sema < b.sema; });
  std::vector<std::uint32_t> waiting;
  for (const AtSema& w : by_g_) {
    if (std::uint32_t i = goroutine_at(w.g); i != kNone) waiting.push_back(i);
  }
  auto stacks = session_.stacks();
  if (stacks && (*stacks)->ensure(waiting)) stacks_ = *stacks;
}

std::uint64_t Objects::sema_of(std::uint64_t g) {
  read_semas();
  auto it = std::lower_bound(by_g_.begin(), by_g_.end(), g, [](const AtSema& w, std::uint64_t at) { return w.g < at; });
  return it == by_g_.end() || it->g != g ? 0 : it->sema;
}

// The library's functions that wait, from the innermost outwards. A writer first takes the mutex inside of its lock.
std::optional<Objects::SemaUse> Objects::sema_use_by_stack(std::uint32_t shape) {
  auto [it, fresh] = uses_.try_emplace(shape);
  if (!fresh) return it->second;
  const Layout& layout = model_.layout();
  std::string_view known;
  bool inner = false;
  for (const SourceFrame& frame : stacks_->frames(shape)) {
    if (!layout.dialect().plumbing(frame.function)) break;
    std::string_view wait = layout.dialect().waits_in(frame.function);
    if (wait.empty() && !known.empty()) break;
    inner = inner || (known == "mutex" && wait != known);
    if (!wait.empty()) known = wait;
  }
  auto use = [&](ObjectKind kind, Side side, F sema) {
    if (layout.has(sema)) it->second = SemaUse{kind, side, layout.place(sema).offset};
  };
  if (known == "mutex") use(ObjectKind::mutex, Side::lock, F::syncMutex_sema);
  if (known == "wait_group") use(ObjectKind::wait_group, Side::wait, F::syncWaitGroup_sema);
  if (known == "rw_mutex read") use(ObjectKind::rw_mutex, Side::read, F::syncRWMutex_readerSem);
  if (known == "rw_mutex write")
    use(ObjectKind::rw_mutex, Side::write, inner ? F::syncRWMutex_innerSem : F::syncRWMutex_writerSem);
  return it->second;
}

Objects::SemaUse Objects::sema_use(std::uint64_t g, ObjectKind kind, Side side) {
  read_semas();
  if (std::uint32_t i = stacks_ ? goroutine_at(g) : kNone; i != kNone && stacks_->shape_of(i) != kNone) {
    if (auto use = sema_use_by_stack(stacks_->shape_of(i))) return *use;
  }
  const Layout& layout = model_.layout();
  const F sema = kind == ObjectKind::mutex        ? F::syncMutex_sema
                 : kind == ObjectKind::wait_group ? F::syncWaitGroup_sema
                 : side == Side::read             ? F::syncRWMutex_readerSem
                                                  : F::syncRWMutex_writerSem;
  const bool known = kind == ObjectKind::mutex || kind == ObjectKind::wait_group || kind == ObjectKind::rw_mutex;
  if (!known || !layout.has(sema)) return {ObjectKind::semaphore, side, 0};
  return {kind, side, layout.place(sema).offset};
}

void Objects::take_waiters(SyncObject& object) {
  read_semas();
  const Layout& layout = model_.layout();
  auto take = [&](std::uint64_t sema, Side side) {
    auto it = std::lower_bound(by_sema_.begin(), by_sema_.end(), sema,
                               [](const AtSema& w, std::uint64_t at) { return w.sema < at; });
    for (; it != by_sema_.end() && it->sema == sema; ++it) {
      Waiter w;
      w.g = it->g;
      w.side = side;
      w.goroutine = goroutine_at(it->g);
      if (w.goroutine == kNone)
        object.errors.push_back(fmt::format("the table of semaphores has a g at {:#x}, where no goroutine is", it->g));
      object.waiters.push_back(w);
    }
  };
  auto by = [&](F sema, Side side) {
    if (layout.has(sema)) take(object.addr + layout.place(sema).offset, side);
  };
  switch (object.kind) {
    case ObjectKind::mutex:
      return by(F::syncMutex_sema, Side::lock);
    case ObjectKind::wait_group:
      return by(F::syncWaitGroup_sema, Side::wait);
    case ObjectKind::rw_mutex:  // a writer that waits for readers is before those who wait for that writer
      by(F::syncRWMutex_writerSem, Side::write);
      by(F::syncRWMutex_readerSem, Side::read);
      return by(F::syncRWMutex_innerSem, Side::write);
    case ObjectKind::semaphore:
      return take(object.addr, Side::wait);
    default:
      return;
  }
}

Waits Objects::waits_of(const Goroutine& g) {
  Waits waits;
  if (g.is(Goroutine::unreadable) || !model_.waiting(g)) return waits;
  const Layout& layout = model_.layout();
  std::string_view reason = model_.wait_text(g);
  if (reason == kSelect) {
    waits.select = true;
    if (!layout.has(F::g_waiting) || !layout.has(F::sudog_c)) return waits;
    auto at = layout.get(session_.memory(), g.addr, F::g_waiting);
    std::unordered_set<std::uint64_t> seen;
    while (at && *at) {
      if (!seen.insert(*at).second || seen.size() > kMaxCases) {
        waits.errors.push_back(fmt::format("its list of cases comes back to the sudog at {:#x}; cut there", *at));
        return waits;
      }
      auto chan = layout.get(session_.memory(), *at, F::sudog_c);
      if (!chan) {
        waits.errors.push_back(fmt::format("the case at {:#x} is unreadable: {}", *at, chan.error().message));
        return waits;
      }
      waits.on.push_back({ObjectKind::chan, side_in_chan(*chan, *at), *chan});
      at = layout.get(session_.memory(), *at, F::sudog_waitlink);
    }
    if (!at) waits.errors.push_back(fmt::format("its list of cases: {}", at.error().message));
    return waits;
  }
  for (const Reason& r : kReasons) {
    if (reason != r.text) continue;
    if (!layout.has(F::g_waitobject)) {
      if (r.kind == ObjectKind::chan) {
        if (auto c = model_.waiting_on(g)) waits.on.push_back({r.kind, r.side, *c});
      } else if (std::uint64_t sema = sema_of(g.addr)) {
        const SemaUse use = sema_use(g.addr, r.kind, r.side);
        waits.on.push_back({use.kind, use.side, sema - use.offset});
      }
      return waits;
    }
    auto object = layout.get(session_.memory(), g.addr, F::g_waitobject);
    if (!object) {
      waits.errors.push_back(fmt::format("what it waits on: {}", object.error().message));
    } else if (*object) {
      waits.on.push_back({r.kind, r.side, *object});
    }
    return waits;
  }
  return waits;
}

std::optional<std::vector<Objects::WaitedOn>> Objects::waited_on(std::vector<std::string>& errors) {
  std::vector<WaitedOn> all;
  std::unordered_set<std::uint64_t> seen;
  std::size_t n = 0;
  for (const Goroutine& g : model_.goroutines()) {
    if (++n % 4096 == 0 && session_.cancelled()) return std::nullopt;
    Waits waits = waits_of(g);
    for (std::string& e : waits.errors) errors.push_back(fmt::format("goroutine {}: {}", g.goid, e));
    for (const Wait& w : waits.on) {
      // The kind takes part: a structure and its first member share an address.
      if (seen.insert(w.object * 16 + static_cast<std::uint64_t>(w.kind)).second) all.push_back({w.kind, w.object});
    }
  }
  return all;
}

ObjectKind Objects::kind_by_waiters(std::uint64_t addr, std::uint32_t& who) {
  for (std::uint32_t i = 0; i < model_.goroutines().size(); ++i) {
    for (const Wait& w : waits_of(model_.goroutines()[i]).on) {
      if (w.object != addr) continue;
      who = i;
      return w.kind;
    }
  }
  return ObjectKind::unknown;
}

namespace {

// Of a structure with several members: the one that is embedded, which has its type's name; null: none, or several.
const Field* embedded(const Layout& layout, const Type& type) {
  const Field* only = nullptr;
  for (const Field& f : type.fields) {
    if (!f.type || !f.type->name.ends_with("." + f.name) || !layout.dialect().user_type(f.type->name)) continue;
    if (only) return nullptr;
    only = &f;
  }
  return only;
}

// " Its members are: mu (sync.Mutex) at 0x…", of those that goroutines may wait on.
std::string members_text(const Layout& layout, const Type* type, std::uint64_t addr) {
  std::string all;
  for (const Field& f : type && type->kind == Type::Kind::structure ? type->fields : std::vector<Field>()) {
    if (f.type && layout.dialect().user_type(f.type->name))
      all += fmt::format("{}{} ({}) at {:#x}", all.empty() ? "" : ", ", f.name, f.type->name, addr + f.offset);
  }
  return all.empty() ? "; cast its address if it is one" : "; in it there is " + all;
}

// An object of a user's type at addr: one of ours, or a structure whose only member (or base) is, or that embeds one.
Result<ObjectPlace> of_type(Session& session, const Layout& layout, std::string_view name, const Type* type,
                            std::uint64_t addr) {
  std::string whole(name);
  for (int depth = 0; depth < 8; ++depth) {
    if (auto user = layout.dialect().user_type(name)) {
      std::uint64_t at = addr;
      if (user->handle) {
        auto to = session.memory().get<std::uint64_t>(addr);
        if (!to) return Error{fmt::format("the {} at {:#x} is unreadable: {}", whole, addr, to.error().message), addr};
        if (!*to) return Error{fmt::format("the {} at {:#x} is a handle of nothing", whole, addr), addr};
        at = *to;
      }
      return ObjectPlace{kind_of_type(user->type), at, whole};
    }
    if (!type && (type = session.program().type(name))) {  // perhaps by another name, which a typedef gave it
      name = type->name;
      continue;
    }
    if (!type || type->kind != Type::Kind::structure) break;
    const Field* in = type->fields.size() == 1 ? type->fields.data() : embedded(layout, *type);
    if (!in || !in->type) break;
    addr += in->offset;
    type = in->type;
    name = type->name;
  }
  return Error{
      fmt::format("an object of type {} is none that goroutines wait on{}", whole, members_text(layout, type, addr)),
      {}};
}

Result<ObjectPlace> of_value(Session& session, const Layout& layout, const Session::Evaluated& value) {
  int stars = 0;
  bool reference = false;
  std::string_view name = peel(value.type, stars, reference);
  std::uint64_t at = value.value;
  if (stars && !at) return Error{fmt::format("it is a null pointer ({})", value.type), {}};
  for (int i = 1; i < stars; ++i) {
    auto to = session.memory().get<std::uint64_t>(at);
    if (!to) return to.error();
    at = *to;
  }
  if (stars && (name == "void" || name == "char" || name == "unsigned char")) {
    return ObjectPlace{ObjectKind::unknown, at, value.type};
  }
  return of_type(session, layout, name, nullptr, at);
}

Result<ObjectPlace> of_variable(Session& session, const Layout& layout, const Variable& v) {
  const Type* type = v.type;
  std::uint64_t at = v.address;
  for (int i = 0; type && type->kind == Type::Kind::pointer && i < 4; ++i) {
    auto to = session.memory().get<std::uint64_t>(at);
    if (!to) return to.error();
    if (!*to) return Error{fmt::format("the pointer at {:#x} is null", at), {}};
    at = *to;
    type = type->element;
    if (!type) return ObjectPlace{ObjectKind::unknown, at, "void *"};
  }
  if (!type) return Error{fmt::format("the type of the variable at {:#x} is not known", at), {}};
  return of_type(session, layout, type->name, type, at);
}

}  // namespace

Result<ObjectPlace> find_object(Session& session, Objects& objects, std::string_view expression) {
  const Layout& layout = objects.model().layout();
  if (auto number = parse_number(expression)) {
    if (!*number) return Error{"there is nothing at address 0", {}};
    return ObjectPlace{ObjectKind::unknown, *number, {}};
  }
  if (could_act(expression)) return acts(expression);
  if (auto value = evaluated(session, expression)) return of_value(session, layout, *value);
  std::string_view name = expression.substr(expression.starts_with('&') ? 1 : 0);
  auto found = global_named(session, name);
  if (!found) return found.error();
  if (*found) return of_variable(session, layout, **found);
  if (std::uint64_t at = session.program().symbol(name)) return ObjectPlace{ObjectKind::unknown, at, {}};
  return names_nothing(session, expression);
}

}  // namespace vitrine::inspect
