// recorder.cc: see recorder.h.
#include "recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>
#include <unordered_set>

#include "render.h"
#include "stacks.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxRings = 100'000;
constexpr std::uint64_t kMaxRecords = std::uint64_t{1} << 26;
constexpr unsigned kSeqShift = 44;
constexpr std::uint64_t kGoidMask = (std::uint64_t{1} << kSeqShift) - 1;
constexpr std::uint32_t kSeqMask = 0xfffff;
constexpr std::uint32_t kEarlier = 1;  // a GoUnblock's reason

constexpr std::string_view kNames[] = {
    "",          "GoCreate",  "GoStart",        "GoStop",       "GoBlock",
    "GoDestroy", "GoUnblock", "GoSyscallBegin", "GoSyscallEnd", "GoSyscallEndBlocked",
    "ProcStart", "ProcStop",  "ProcSteal",      "STWBegin",     "STWEnd",
    "Thread",    "GoStatus"};
static_assert(std::size(kNames) == static_cast<std::size_t>(Ev::count));

constexpr std::uint64_t rotate(std::uint64_t v, unsigned by) { return v << by | v >> (64 - by); }

// Over a record's words and its number, as the runtime computes it.
std::uint32_t check_of(std::uint64_t number, std::uint64_t time, std::uint64_t g, std::uint64_t other,
                       std::uint32_t what) {
  std::uint64_t x = time ^ rotate(g, 21) ^ rotate(other, 42) ^ std::uint64_t{what} << 32;
  return static_cast<std::uint32_t>((x + number + 1) * 0x9e3779b97f4a7c15 >> 32);
}

}  // namespace

std::string_view life_word(LifeState state) {
  constexpr std::string_view kWords[] = {"unknown", "runnable", "running", "waiting", "syscall", "dead"};
  return kWords[static_cast<std::size_t>(state)];
}

struct Recorder::Context {
  std::int64_t m = 0;
  bool m_known = false;  // a Thread record has been seen
  std::size_t begin = 0;
  std::uint64_t last_time = 0;           // of the record before; 0: unknown
  std::int64_t last_p = -1;              // the M's P then
  std::optional<std::uint64_t> current;  // the goroutine that runs on this M; 0: none
};

Result<std::unique_ptr<Recorder>> Recorder::load(Session& session, Model& model) {
  std::unique_ptr<Recorder> r(new Recorder(session, model));
  const Layout& layout = r->layout_;
  const std::uint64_t trace = layout.root(Root::trace);
  for (F f : {F::trace_version, F::trace_bufs, F::trace_ngen, F::trace_base, F::traceBuf_head, F::traceBuf_mask,
              F::traceBuf_records, F::traceBuf_alllink, F::traceRecord_time, F::traceRecord_g, F::traceRecord_other,
              F::traceRecord_what, F::tracePoint_ticks, F::tracePoint_mono}) {
    if (!trace || !layout.has(f)) return Error{"this program has no flight recorder", {}};
  }
  for (std::size_t i = 1; i < std::size(kNames); ++i) {
    if (auto n = layout.trace_event_number(kNames[i]); n && *n < r->kinds_.size())
      r->kinds_[*n] = static_cast<std::uint8_t>(i);
  }
  r->readied_ = layout.trace_event_number("Readied").value_or(0);
  auto version = layout.get(session.memory(), trace, F::trace_version);
  if (!version) return version.error();
  if (*version != kVersion) {
    return Error{fmt::format("the flight recorder at {:#x} writes version {} of its records; this inspector reads {}",
                             trace, *version, kVersion),
                 trace};
  }
  auto generation = layout.get(session.memory(), trace, F::trace_ngen);
  if (!generation) return generation.error();
  if (*generation == 0) {
    return Error{
        "the flight recorder never ran: start the program with GODEBUG=flightrecorder=1, or call "
        "vitrine::runtime::recorder::start()",
        {}};
  }
  r->generation_ = static_cast<std::uint32_t>(*generation);
  r->recording_ = layout.get(session.memory(), trace, F::trace_enabled).value_or(0) != 0;
  r->dropped_ = layout.get(session.memory(), trace, F::trace_dropped).value_or(0);
  if (auto ok = r->read_clock(trace); !ok) return ok.error();
  const std::size_t of_clock = r->warnings_.size();
  if (auto ok = r->read_rings(trace); !ok) return ok.error();
  r->cut_ = r->warnings_.size() > of_clock;
  if (session.cancelled()) return Error{"stopped by Ctrl-C", {}};
  if (r->events_.empty()) {
    std::string lost = r->lost_text();
    if (lost.empty() && r->cut_) lost = r->warnings_[of_clock];
    if (!lost.empty()) return Error{fmt::format("of the flight recorder nothing is left: {}", lost), {}};
  }
  r->merge();
  return r;
}

// ---- the clock

Status Recorder::read_clock(std::uint64_t trace) {
  const std::uint64_t size = layout_.size_of("tracePoint");
  const FieldPlace &base = layout_.place(F::trace_base), &points = layout_.place(F::trace_point);
  if (size == 0 || size > 256) return Error{"the size of the flight recorder's clock points is not known", {}};
  auto point = [&](std::uint64_t addr, std::uint64_t& ticks, std::int64_t& mono, std::int64_t& wall) -> Status {
    std::vector<std::byte> bytes(size);
    if (auto ok = session_.memory().read(addr, bytes); !ok) return ok.error();
    ticks = layout_.take(bytes.data(), F::tracePoint_ticks);
    mono = static_cast<std::int64_t>(layout_.take(bytes.data(), F::tracePoint_mono));
    wall = static_cast<std::int64_t>(layout_.take(bytes.data(), F::tracePoint_wall));
    return Ok{};
  };
  if (auto ok = point(trace + base.offset, base_ticks_, mono_base_, wall_base_); !ok) return ok.error();
  std::uint64_t ticks = 0;
  std::int64_t mono = 0, wall = 0;
  const std::uint64_t last = layout_.get(session_.memory(), trace, F::trace_lastpoint).value_or(0);
  bool have = last >= 1 && points.present && last * size <= points.size &&
              point(trace + points.offset + (last - 1) * size, ticks, mono, wall);
  const double dt = have ? static_cast<double>(static_cast<std::int64_t>(ticks - base_ticks_)) : 0;
  const double dn = have ? static_cast<double>(mono - mono_base_) : 0;
  if (dt > 0 && dn > 0 && dn / dt < 1000 && dn / dt > 1e-3) {
    ns_per_tick_ = dn / dt;
  } else if (layout_.get(session_.memory(), trace, F::trace_clock).value_or(0) == 0) {
    warnings_.push_back(
        fmt::format("how long a tick of the recorder's clock is cannot be told from the flight recorder at {:#x}: "
                    "times are ticks, not nanoseconds",
                    trace));
  }
  return Ok{};
}

std::int64_t Recorder::to_ns(std::uint64_t ticks) const {
  const long double ns = static_cast<long double>(static_cast<std::int64_t>(ticks - base_ticks_)) * ns_per_tick_;
  constexpr long double kMost = 4e18L;  // differences of two of these fit as well
  return static_cast<std::int64_t>(std::clamp(ns, -kMost, kMost));
}

// ---- rings

Status Recorder::read_rings(std::uint64_t trace) {
  const std::uint64_t size = layout_.size_of("traceBuf");
  if (size == 0 || size > 4096) return Error{"the size of the flight recorder's rings is not known", {}};
  auto at = layout_.get(session_.memory(), trace, F::trace_bufs);
  if (!at) return at.error();
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::byte> head(size);
  for (std::uint64_t addr = *at; addr != 0;) {
    if (!seen.insert(addr).second) {
      warnings_.push_back(fmt::format("the list of rings comes back to {:#x}", addr));
      break;
    }
    if (seen.size() > kMaxRings) {
      warnings_.push_back(fmt::format("the list of rings is cut at {:#x}, after {}", addr, kMaxRings));
      break;
    }
    if (auto ok = session_.memory().read(addr, head); !ok) {
      warnings_.push_back(fmt::format("the list of rings is cut: {}", ok.error().message));
      break;
    }
    // One of an earlier recording that nobody has written to since.
    if (layout_.take(head.data(), F::traceBuf_gen) == generation_) {
      Ring ring;
      ring.addr = addr;
      read_ring(head, ring);
      rings_.push_back(ring);
    }
    if (session_.cancelled()) break;
    session_.progress(fmt::format("{} read", plural(rings_.size(), "ring")));
    addr = layout_.take(head.data(), F::traceBuf_alllink);
  }
  return Ok{};
}

void Recorder::read_ring(const std::vector<std::byte>& head, Ring& ring) {
  auto field = [&](F f) { return layout_.take(head.data(), f); };
  ring.m = static_cast<std::int64_t>(field(F::traceBuf_mid));
  ring.tid = static_cast<std::int64_t>(field(F::traceBuf_tid));
  ring.live = field(F::traceBuf_live) != 0;
  const std::uint64_t mask = field(F::traceBuf_mask), records = field(F::traceBuf_records), slots = mask + 1;
  const std::uint64_t h0 = field(F::traceBuf_head), first = field(F::traceBuf_first);
  const std::uint64_t record = layout_.size_of("traceRecord");
  if (slots == 0 || (slots & mask) != 0 || slots > kMaxRecords || record == 0 || record > 256) {
    warnings_.push_back(fmt::format("the ring at {:#x} claims to have {} records", ring.addr, slots));
    return;
  }
  if (h0 > std::uint64_t{1} << 62) {
    warnings_.push_back(fmt::format("the ring at {:#x} claims that {} records were written", ring.addr, h0));
    return;
  }
  if (first > h0) {
    warnings_.push_back(fmt::format("the ring at {:#x} begins with record {}, after its end {}", ring.addr, first, h0));
    return;
  }
  ring.written = h0 - first;
  // Only the slots that were ever written.
  const std::uint64_t used = std::min(slots, h0);
  std::vector<std::byte> bytes(used * record);
  std::vector<bool> page_lost;
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t n = session_.memory().read_prefix(records + at, std::span(bytes).subspan(at));
    at += n;
    if (at >= bytes.size()) break;
    // One page is skipped; what follows may be there.
    page_lost.resize(bytes.size() / kPage + 2);
    const std::size_t next = (((records + at) / kPage + 1) * kPage) - records;
    page_lost[at / kPage] = page_lost[std::min(next - 1, bytes.size() - 1) / kPage] = true;
    at = next;
  }
  std::uint64_t h1 = h0;
  if (session_.moving) {
    session_.memory().flush();
    h1 = std::max(h0, layout_.get(session_.memory(), ring.addr, F::traceBuf_head).value_or(h0));
  }
  const std::uint64_t lo = std::min(h0, std::max(first, h1 + 1 > slots ? h1 + 1 - slots : 0));
  ring.overwritten = lo - first;
  Context context;
  context.m = ring.m;
  context.begin = events_.size();
  for (std::uint64_t n = lo; n < h0; ++n) {
    if (n % 65536 == 65535 && session_.cancelled()) return;
    const std::size_t at = (n & mask) * record;
    const bool lost = !page_lost.empty() && (page_lost[at / kPage] || page_lost[(at + record - 1) / kPage]);
    const std::byte* b = bytes.data() + at;
    const Raw raw{layout_.take(b, F::traceRecord_time), layout_.take(b, F::traceRecord_g),
                  layout_.take(b, F::traceRecord_other), layout_.take(b, F::traceRecord_what)};
    const auto what = static_cast<std::uint32_t>(raw.what);
    if (lost || check_of(n, raw.time, raw.g, raw.other, what) != raw.what >> 32) {
      if (lost && ring.unreadable == 0) ring.first_unreadable = records + at;
      ++(lost ? ring.unreadable : ring.torn);
      context.current.reset();
      context.last_time = 0;
      continue;
    }
    ++ring.shown;
    add(raw, context);
  }
  // What has happened and is no record yet. The M may be in the middle of writing these words.
  if (field(F::traceBuf_readyg) != 0 && h0 == h1)
    add({field(F::traceBuf_readytime), field(F::traceBuf_readyg), field(F::traceBuf_readier),
         layout_.trace_event_number("GoUnblock").value_or(0) | kEarlier << 8 | 0xffff0000u},
        context);
  if (field(F::traceBuf_stopwhat) != 0 && h0 == h1)
    add({field(F::traceBuf_stoptime), field(F::traceBuf_stopg), 0, field(F::traceBuf_stopwhat)}, context);
}

void Recorder::add(const Raw& raw, Context& context) {
  auto number = static_cast<std::uint8_t>(raw.what);
  const bool readied = readied_ != 0 && (number & readied_) != 0 && kinds_[number] == 0;
  if (readied) number = static_cast<std::uint8_t>(number & ~readied_);
  Event e;
  e.number = number;
  e.kind = static_cast<Ev>(kinds_[number]);
  e.reason = static_cast<std::uint8_t>(raw.what >> 8);
  e.p = static_cast<std::int16_t>(raw.what >> 16);
  e.m = context.m;
  auto put = [&](Event event, std::uint64_t ticks) {
    event.time = static_cast<std::int64_t>(ticks);  // ticks until merge()
    events_.push_back(event);
  };
  auto set_g = [](Event& event, std::uint64_t word) {
    event.goid = word & kGoidMask;
    event.seq = static_cast<std::uint32_t>(word >> kSeqShift);
  };
  if (e.kind == Ev::thread) {
    // Before the first of these that is left, the ring was that of the M that it names.
    e.m = static_cast<std::int64_t>(raw.g);
    if (!context.m_known)
      for (std::size_t i = context.begin; i < events_.size(); ++i) events_[i].m = e.m;
    context.m_known = true;
    if (context.m != e.m) context.current.reset();
    context.m = e.m;
    e.arg = raw.other;
    e.p = -1;
    put(e, raw.time);
    context.last_time = raw.time;
    context.last_p = -1;
    return;
  }
  const bool about_g = e.kind != Ev::proc_start && e.kind != Ev::proc_steal && e.kind != Ev::stw_begin &&
                       e.kind != Ev::stw_end && e.kind != Ev::proc_stop && e.kind != Ev::other;
  if (about_g) set_g(e, raw.g);
  if (e.kind == Ev::proc_stop) e.by = raw.g & kGoidMask;  // whose P the signal handler took
  if (e.kind == Ev::unblock) {
    e.early = e.reason == kEarlier;
    e.reason = 0;
    e.by = raw.other & kGoidMask;
    // It was written later than it has its time: on the P with which the time slice began, as the record before says.
    if (e.early && e.p < 0 && raw.time == context.last_time) e.p = static_cast<decltype(e.p)>(context.last_p);
  }
  if (e.kind == Ev::create) {
    e.arg = raw.other;
    e.by = context.current.value_or(0);
  }
  if (e.kind == Ev::stw_begin) e.arg = raw.other;
  const bool leaves = e.kind == Ev::stop || e.kind == Ev::block || e.kind == Ev::destroy;
  if (leaves && readied && raw.other != 0) {
    Event u;
    u.kind = Ev::unblock;
    u.number = static_cast<std::uint8_t>(layout_.trace_event_number(kNames[static_cast<int>(Ev::unblock)]).value_or(0));
    u.m = e.m;
    u.p = e.p;
    u.by = e.goid;
    u.early = true;
    set_g(u, raw.other);
    u.seq = (u.seq - 1) & kSeqMask;
    put(u, context.last_time != 0 ? context.last_time : raw.time);
  }
  put(e, raw.time);
  if (e.kind == Ev::start || e.kind == Ev::status) context.current = e.goid;
  if (leaves || e.kind == Ev::syscall_end_blocked) context.current = 0;
  if (leaves && raw.other != 0) {
    Event s;
    s.kind = Ev::start;
    s.number = static_cast<std::uint8_t>(layout_.trace_event_number(kNames[static_cast<int>(Ev::start)]).value_or(0));
    s.m = e.m;
    s.p = e.p;
    set_g(s, raw.other);
    put(s, raw.time);
    context.current = s.goid;
  }
  context.last_time = raw.time;
  context.last_p = e.p;
}

// ---- the timeline

void Recorder::merge() {
  struct Key {
    std::int64_t ticks;
    std::uint32_t index, tie;
  };
  std::vector<Key> keys(events_.size());
  for (std::uint32_t i = 0; i < keys.size(); ++i) keys[i] = {events_[i].time, i, 0};
  auto earlier = [](const Key& a, const Key& b) {
    return std::tie(a.ticks, a.tie, a.index) < std::tie(b.ticks, b.tie, b.index);
  };
  std::stable_sort(keys.begin(), keys.end(), earlier);
  // An early unblock behind the event before it of its goroutine.
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> at;  // positions in keys
  for (std::uint32_t i = 0; i < keys.size(); ++i)
    if (std::uint64_t goid = events_[keys[i].index].goid) at[goid].push_back(i);
  for (auto& [goid, positions] : at) {
    for (std::size_t k = 0; k < positions.size(); ++k) {
      const Event& u = events_[keys[positions[k]].index];
      if (!u.early) continue;
      for (std::size_t j = k + 1; j < positions.size() && j < k + 8; ++j) {
        const Key& before = keys[positions[j]];
        if (events_[before.index].seq != ((u.seq - 1) & kSeqMask)) continue;
        keys[positions[k]].ticks = before.ticks;
        keys[positions[k]].tie = 1;
        break;
      }
    }
  }
  std::stable_sort(keys.begin(), keys.end(), earlier);
  std::vector<Event> merged;
  merged.reserve(events_.size());
  for (const Key& k : keys) {
    Event e = events_[k.index];
    e.time = to_ns(static_cast<std::uint64_t>(k.ticks));
    merged.push_back(e);
  }
  events_ = std::move(merged);
  for (std::uint32_t i = 0; i < events_.size(); ++i) {
    const Event& e = events_[i];
    end_ = std::max(end_, e.time);
    if (e.goid == 0 || e.kind == Ev::thread) continue;
    auto& list = by_goid_[e.goid];
    if (!list.empty() && e.kind != Ev::create && e.kind != Ev::status) {
      const std::uint32_t step = (e.seq - events_[list.back()].seq) & kSeqMask;
      if (step == 0 || step > kSeqMask / 2) ++out_of_order_;
    }
    list.push_back(i);
  }
  std::int64_t now;
  if (model_.now() > 0 && !__builtin_sub_overflow(model_.now(), mono_base_, &now) && now < 4'000'000'000'000'000'000)
    end_ = std::max(end_, now);
  if (out_of_order_ != 0) {
    warnings_.push_back(fmt::format("{} in an order that cannot be: the processors' clocks may differ",
                                    plural(out_of_order_, "event")));
  }
}

std::vector<Stretch> Recorder::life(std::uint64_t goid) const {
  std::vector<Stretch> out;
  auto it = by_goid_.find(goid);
  if (it == by_goid_.end()) return out;
  const std::vector<std::uint32_t>& list = it->second;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Event& e = events_[list[i]];
    if (!out.empty()) {
      Stretch& before = out.back();
      before.end = e.time;
      before.end_early = e.early;
      const std::uint32_t lost = (e.seq - events_[list[i - 1]].seq - 1) & kSeqMask;
      if (lost != 0 && e.kind != Ev::create && e.kind != Ev::status) {
        before.state = LifeState::unknown;
        before.lost = lost > kSeqMask / 2 ? 0 : lost;
        before.first = list[i];
      }
    }
    Stretch s;
    s.begin = e.time;
    s.begin_early = e.early;
    s.first = list[i];
    switch (e.kind) {
      case Ev::create:
      case Ev::unblock:
      case Ev::stop:
      case Ev::syscall_end_blocked:
        s.state = LifeState::runnable;
        break;
      case Ev::start:
      case Ev::status:
      case Ev::syscall_end:
        s.state = LifeState::running;
        break;
      case Ev::block:
        s.state = LifeState::waiting;
        break;
      case Ev::syscall_begin:
        s.state = LifeState::syscall;
        break;
      case Ev::destroy:
        s.state = LifeState::dead;
        break;
      default:
        s.state = LifeState::unknown;
    }
    out.push_back(s);
  }
  // After the recording's end nothing is known.
  out.back().end = out.back().begin;
  if (recording_) {
    out.back().open = true;
    out.back().end = std::max(out.back().begin, end_);
  }
  return out;
}

// ---- words

std::string_view Recorder::event_text(const Event& e) const {
  if (e.kind != Ev::other) return kNames[static_cast<std::size_t>(e.kind)];
  return layout_.trace_event(e.number);
}

std::string Recorder::goroutine_text(Stacks& stacks, std::uint64_t goid) {
  auto [it, fresh] = names_.try_emplace(goid);
  if (!fresh) return it->second;
  if (std::uint32_t index = model_.find_goid(goid); index != kNone) {
    const Goroutine& g = model_.goroutines()[index];
    it->second = model_.name(g);
    if (it->second.empty() && g.startpc) it->second = std::string(stacks.at(g.startpc, true).function);
    return it->second;
  }
  if (auto list = by_goid_.find(goid); list != by_goid_.end()) {
    const Event& e = events_[list->second.front()];
    if (e.kind == Ev::create && e.arg != 0) it->second = std::string(stacks.at(e.arg, true).function);
  }
  return it->second;
}

std::string Recorder::stw_reason(const Event& e) {
  auto text = session_.memory().c_string(e.arg, 64);
  return text ? printable(*text) : std::string();
}

std::string Recorder::lost_text() const {
  std::uint64_t torn = 0, unreadable = 0, first = 0;
  for (const Ring& r : rings_) {
    torn += r.torn;
    if (unreadable == 0) first = r.first_unreadable;
    unreadable += r.unreadable;
  }
  std::string out;
  auto say = [&](std::uint64_t n, std::string_view what) {
    if (n != 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", plural(n, "record"), what);
  };
  say(torn, "torn and not shown");
  say(unreadable, fmt::format("on pages that cannot be read, the first at {:#x}", first));
  if (dropped_ != 0)
    out += fmt::format("{}no memory for a ring, {}", out.empty() ? "" : ", ", plural(dropped_, "time"));
  return out;
}

}  // namespace vitrine::inspect
