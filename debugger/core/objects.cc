// objects.cc: see objects.h. Reading structures and their queues; what goroutines wait for is in object_waits.cc.
#include "objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "layout.h"
#include "render.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kExtraStar = 2;  // in a type's flags: its name begins with a star that is not meant

constexpr std::size_t kMaxQueue = 1 << 26;
constexpr int kMaxStrangers = 16;  // sudogs of goroutines that do not exist, in one queue

struct KindRow {
  ObjectKind kind;
  std::string_view word, type;
};
constexpr KindRow kKinds[] = {
    {ObjectKind::chan, "chan", "hchan"},
    {ObjectKind::mutex, "mutex", "syncMutex"},
    {ObjectKind::rw_mutex, "rw_mutex", "syncRWMutex"},
    {ObjectKind::cond, "cond", "syncCond"},
    {ObjectKind::once, "once", "syncOnce"},
    {ObjectKind::semaphore, "semaphore", "syncSema"},
    {ObjectKind::wait_group, "wait_group", "syncWaitGroup"},
    {ObjectKind::task, "task", "taskState"},
};
const KindRow* row_of(ObjectKind kind) {
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) return &row;
  }
  return nullptr;
}

}  // namespace

std::string_view kind_text(ObjectKind kind) {
  const KindRow* row = row_of(kind);
  return row ? row->word : "object";
}

std::span<const std::string_view> kind_words() {
  static const auto words = [] {
    std::array<std::string_view, std::size(kKinds)> all;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = kKinds[i].word;
    return all;
  }();
  return words;
}

std::optional<ObjectKind> kind_of_word(std::string_view word) {
  for (const KindRow& row : kKinds) {
    if (row.word == word) return row.kind;
  }
  return std::nullopt;
}

ObjectKind kind_of_type(std::string_view runtime_type) {
  for (const KindRow& row : kKinds) {
    if (row.type == runtime_type) return row.kind;
  }
  return ObjectKind::unknown;
}

std::string_view side_text(Side side) {
  switch (side) {
    case Side::receive:
      return "receive";
    case Side::send:
      return "send";
    case Side::lock:
      return "lock";
    case Side::read:
      return "read";
    case Side::write:
      return "write";
    case Side::wait:
      return "wait";
    case Side::join:
      return "join";
    case Side::unknown:
      return "?";
  }
  return "?";
}

std::uint64_t SyncObject::buffered() const {
  bool ring = dataqsiz && elemsize && recvx < dataqsiz && dataqsiz <= (std::uint64_t{1} << 47) / elemsize;
  return ring ? std::min(qcount, dataqsiz) : 0;
}

std::uint64_t SyncObject::value_at(std::uint64_t i) const {
  std::uint64_t left = dataqsiz - recvx;  // before the ring begins again
  return buf + (i < left ? recvx + i : i - left) * elemsize;
}

std::size_t SyncObject::on(Side side) const {
  return static_cast<std::size_t>(
      std::count_if(waiters.begin(), waiters.end(), [&](const Waiter& w) { return w.side == side; }));
}

// The bytes of one structure of the runtime's.
class Objects::Structure {
 public:
  static Result<Structure> read(Session& session, const Layout& layout, const char* type, std::uint64_t addr) {
    Structure s(layout);
    std::uint64_t size = layout.size_of(type);
    if (!size || size > 4096)
      return Error{fmt::format("this program does not describe the runtime's type {}", type), {}};
    s.bytes_.resize(size);
    if (addr + size < addr) return Error{fmt::format("there is no memory at {:#x}", addr), addr};
    if (auto ok = session.memory().read(addr, s.bytes_); !ok) return ok.error();
    return s;
  }
  std::uint64_t operator[](F f) const { return layout_->take(bytes_.data(), f); }

 private:
  explicit Structure(const Layout& layout) : layout_(&layout) {}
  const Layout* layout_;
  std::vector<std::byte> bytes_;
};

void Objects::walk(SyncObject& object, const char* queue, std::uint64_t first, std::uint64_t last, Side side) {
  const Layout& layout = model_.layout();
  std::unordered_set<std::uint64_t> seen;
  std::uint64_t before = 0;
  int strangers = 0;
  auto say = [&](std::string text) { object.errors.push_back(std::move(text)); };
  for (std::uint64_t at = first; at;) {
    if (!seen.insert(at).second) {
      return say(fmt::format("{} comes back to the sudog at {:#x}; cut there", queue, at));
    }
    if (seen.size() > kMaxQueue) return say(fmt::format("{} has over {} entries; cut there", queue, kMaxQueue));
    if (seen.size() % 4096 == 0 && session_.cancelled()) return say(fmt::format("{}: stopped by Ctrl-C", queue));
    auto sudog = Structure::read(session_, layout, "sudog", at);
    if (!sudog) {
      return say(fmt::format("{}: the sudog at {:#x} is unreadable ({}); cut there", queue, at, sudog.error().message));
    }
    Waiter w;
    w.sudog = at;
    w.g = (*sudog)[F::sudog_g];
    w.elem = (*sudog)[F::sudog_elem];
    w.select = (*sudog)[F::sudog_isSelect] != 0;
    w.side = side;
    w.goroutine = goroutine_at(w.g);
    if (w.goroutine == kNone) {
      say(fmt::format("{}: the sudog at {:#x} is of a g at {:#x}, where no goroutine is", queue, at, w.g));
      if (++strangers == kMaxStrangers) return say(fmt::format("{}: cut after {} such", queue, strangers));
    }
    if (layout.has(F::sudog_prev) && (*sudog)[F::sudog_prev] != before) {
      say(fmt::format("{}: the sudog at {:#x} has prev {:#x}, but stands behind {:#x}", queue, at,
                      (*sudog)[F::sudog_prev], before));
    }
    object.waiters.push_back(w);
    before = at;
    at = (*sudog)[F::sudog_next];
  }
  if (before != last) say(fmt::format("{}.last is {:#x}, but the list ends at {:#x}", queue, last, before));
}

void Objects::check_chan(SyncObject& object) {
  auto say = [&](std::string text) { object.errors.push_back(std::move(text)); };
  if (object.elemsize == 0 && !model_.layout().dialect().sizes_may_be_zero()) say("its elements have no size");
  if (object.elemsize && object.dataqsiz > (std::uint64_t{1} << 47) / object.elemsize) {
    say(fmt::format("no memory could hold its {} places of {} bytes", object.dataqsiz, object.elemsize));
    return;
  }
  if (object.qcount > object.dataqsiz) {
    say(fmt::format("it claims {} values in {} places", object.qcount, object.dataqsiz));
  }
  if (object.recvx > object.dataqsiz || (object.dataqsiz && object.recvx == object.dataqsiz)) {
    say(fmt::format("its next value is in place {} of {}", object.recvx, object.dataqsiz));
  } else if (object.dataqsiz && object.qcount <= object.dataqsiz && !object.busy &&
             (object.recvx + object.qcount) % object.dataqsiz != object.sendx) {
    say(fmt::format("recvx {} and {} values do not lead to sendx {}", object.recvx, object.qcount, object.sendx));
  }
}

// A writer announces itself by making the count negative, and notes how many readers it has to wait for.
void Objects::count_readers(SyncObject& object, const Structure& s) const {
  const auto count = static_cast<std::int32_t>(s[F::syncRWMutex_readerCount]),
             wait = static_cast<std::int32_t>(s[F::syncRWMutex_readerWait]);
  const std::int64_t most = model_.layout().constant("rwmutexMaxReaders").value_or(1 << 30);
  SyncObject::Readers r;
  r.writer = count < 0;
  const std::int64_t all = r.writer ? count + most : count;
  r.hold = r.writer ? wait : all;
  r.behind = all - r.hold;
  if (all < 0 || r.hold < 0 || r.behind < 0)
    object.errors.push_back(fmt::format("readerCount {} and readerWait {} do not go together", count, wait));
  r.hold = std::max<std::int64_t>(r.hold, 0);
  r.behind = std::max<std::int64_t>(r.behind, 0);
  object.readers = r;
}

Result<SyncObject> Objects::read(ObjectKind kind, std::uint64_t addr, bool queues) {
  const Layout& layout = model_.layout();
  const KindRow* row = row_of(kind);
  if (!row) return Error{fmt::format("what is at {:#x} is not known", addr), addr};
  if (kind == ObjectKind::semaphore && !layout.size_of(std::string(row->type))) {
    auto count = session_.memory().get<std::uint32_t>(addr);  // Go's are a bare count
    if (!count) return count.error();
    SyncObject bare;
    bare.kind = kind;
    bare.addr = addr;
    bare.state = *count;
    bare.queues_read = queues;
    if (queues) take_waiters(bare);
    return bare;
  }
  auto read = Structure::read(session_, layout, std::string(row->type).c_str(), addr);
  if (!read) {
    return Error{fmt::format("the {} at {:#x} is unreadable: {}", row->word, addr, read.error().message),
                 read.error().address};
  }
  const Structure& s = *read;
  SyncObject object;
  object.kind = kind;
  object.addr = addr;
  object.queues_read = queues;
  struct Queue {
    const char* name;
    F first, last;
    Side side;
  };
  std::vector<Queue> of;
  switch (kind) {
    case ObjectKind::chan: {
      object.qcount = s[F::hchan_qcount];
      object.dataqsiz = s[F::hchan_dataqsiz];
      object.buf = s[F::hchan_buf];
      object.elemsize = s[F::hchan_elemsize];
      object.recvx = s[F::hchan_recvx];
      object.sendx = s[F::hchan_sendx];
      object.handles = static_cast<std::int32_t>(s[F::hchan_refs]);
      object.closed = s[F::hchan_closed] != 0;
      object.busy = s[F::hchan_lock] != 0;
      if (!queues) return object;
      check_chan(object);
      std::uint64_t type = s[F::hchan_elemtype];
      if (auto t = Structure::read(session_, layout, "chantype", type)) {
        const std::uint64_t len = (*t)[F::chantype_name_len];
        if (layout.has(F::chantype_str)) {
          object.type = type_name(type, static_cast<std::uint32_t>((*t)[F::chantype_str]),
                                  (*t)[F::chantype_tflag] & kExtraStar, object.errors);
        } else if (len > 4096) {
          object.errors.push_back(fmt::format("the name of the element type at {:#x} has {} bytes", type, len));
        } else {
          object.type.resize(len);
          if (auto ok =
                  session_.memory().read((*t)[F::chantype_name_str], std::as_writable_bytes(std::span(object.type)));
              !ok) {
            object.type.clear();
            object.errors.push_back(fmt::format("the name of the element type: {}", ok.error().message));
          }
        }
        for (std::size_t at; (at = object.type.find("{anonymous}")) != object.type.npos;) {  // gcc's word for it
          object.type.replace(at, 11, "(anonymous namespace)");
        }
        if ((*t)[F::chantype_size] != object.elemsize) {
          object.errors.push_back(fmt::format("its elements have {} bytes, those of its type at {:#x} {}",
                                              object.elemsize, type, (*t)[F::chantype_size]));
          object.type.clear();
        }
      } else {
        object.errors.push_back(fmt::format("the element type at {:#x} is unreadable: {}", type, t.error().message));
      }
      of = {{"recvq", F::hchan_recvq_first, F::hchan_recvq_last, Side::receive},
            {"sendq", F::hchan_sendq_first, F::hchan_sendq_last, Side::send}};
      break;
    }
    case ObjectKind::mutex:
      object.state = s[F::syncMutex_state];
      object.owner = s[F::syncMutex_owner];
      object.busy = s[F::syncMutex_lock] != 0;
      of = {{"waitq", F::syncMutex_first, F::syncMutex_last, Side::lock}};
      break;
    case ObjectKind::rw_mutex:
      object.state = s[F::syncRWMutex_state];
      object.owner = s[F::syncRWMutex_owner];
      object.busy = s[F::syncRWMutex_lock] != 0;
      if (layout.has(F::syncRWMutex_readerCount) && layout.has(F::syncRWMutex_readerWait)) count_readers(object, s);
      of = {{"readq", F::syncRWMutex_readq_first, F::syncRWMutex_readq_last, Side::read},
            {"writeq", F::syncRWMutex_writeq_first, F::syncRWMutex_writeq_last, Side::write},
            {"writers.waitq", F::syncRWMutex_others_first, F::syncRWMutex_others_last, Side::write}};
      break;
    case ObjectKind::cond:
      object.busy = s[F::syncCond_lock] != 0;
      of = {{"waitq", F::syncCond_first, F::syncCond_last, Side::wait}};
      break;
    case ObjectKind::once:
      object.state = s[F::syncOnce_done];
      object.running = s[F::syncOnce_running] != 0;
      object.owner = s[F::syncOnce_runner];
      object.busy = s[F::syncOnce_lock] != 0;
      of = {{"waitq", F::syncOnce_first, F::syncOnce_last, Side::wait}};
      break;
    case ObjectKind::semaphore:
      object.state = s[F::syncSema_count];
      object.busy = s[F::syncSema_lock] != 0;
      of = {{"waitq", F::syncSema_first, F::syncSema_last, Side::wait}};
      break;
    case ObjectKind::wait_group:
      object.state = s[F::syncWaitGroup_state];
      object.busy = s[F::syncWaitGroup_lock] != 0;
      of = {{"waitq", F::syncWaitGroup_first, F::syncWaitGroup_last, Side::wait}};
      break;
    case ObjectKind::task:
      object.state = s[F::taskState_done];
      object.owner = s[F::taskState_goid];
      object.busy = s[F::taskState_lock] != 0;
      of = {{"waitq", F::taskState_first, F::taskState_last, Side::join}};
      break;
    case ObjectKind::unknown:
      break;
  }
  if (!queues) return object;
  for (const Queue& q : of) walk(object, q.name, s[q.first], s[q.last], q.side);
  if (kind != ObjectKind::chan && !layout.has(F::g_waitobject)) take_waiters(object);
  return object;
}

// Go's way: a type's name is an offset into its module's type data, where a byte of flags, the length as a varint and the
// text lie. A flag says that it begins with a star that is not meant.
std::string Objects::type_name(std::uint64_t type, std::uint32_t offset, bool star, std::vector<std::string>& errors) {
  const Layout& layout = model_.layout();
  std::uint64_t module = layout.root(Root::firstmoduledata);
  auto lo = layout.get(session_.memory(), module, F::moduledata_types);
  auto hi = layout.get(session_.memory(), module, F::moduledata_etypes);
  if (!module || !lo || !hi || type < *lo || type >= *hi) return {};  // of a plugin's module, or made by reflection
  std::uint64_t at = *lo + offset;
  std::array<std::byte, 4> head{};
  std::size_t got = session_.memory().read_prefix(at, head);
  std::uint64_t len = 0;
  std::size_t used = 1;
  for (unsigned shift = 0; used < got; shift += 7) {
    auto b = static_cast<std::uint64_t>(head[used++]);
    len |= (b & 0x7f) << shift;
    if (!(b & 0x80)) break;
  }
  std::string name(std::min<std::uint64_t>(len, 4096), '\0');
  if (got < 2 || !session_.memory().read(at + used, std::as_writable_bytes(std::span(name)))) {
    errors.push_back(fmt::format("the name of the element type at {:#x} is unreadable", type));
    return {};
  }
  return star && name.starts_with('*') ? name.substr(1) : name;
}

Values::Described Objects::described_type(std::uint64_t type) {
  const Layout& layout = model_.layout();
  auto t = Structure::read(session_, layout, "chantype", type);
  if (!t || !layout.has(F::chantype_str)) return {};
  std::vector<std::string> errors;
  std::string name =
      type_name(type, static_cast<std::uint32_t>((*t)[F::chantype_str]), (*t)[F::chantype_tflag] & kExtraStar, errors);
  auto first = layout.get(session_.memory(), layout.root(Root::firstmoduledata), F::moduledata_types);
  return {name, name.empty() || !first ? nullptr : session_.program().described_type(type - *first)};
}

bool Objects::looks_like_chan(std::uint64_t addr) {
  auto object = read(ObjectKind::chan, addr, false);
  if (!object || !object->elemsize || object->qcount > object->dataqsiz) return false;
  auto type = model_.layout().get(session_.memory(), addr, F::hchan_elemtype);
  auto t = type ? Structure::read(session_, model_.layout(), "chantype", *type) : Result<Structure>(type.error());
  return t && (*t)[F::chantype_size] == object->elemsize;
}

}  // namespace vitrine::inspect
