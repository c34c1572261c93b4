// model.cc: the bulk part of model.h — reading allgs, allm, allp, and matching Ms with threads. Facts about one
// goroutine are in model_facts.cc.
//
// Bounds: allgs is read as far as it is readable; allm stops at a repeated or unreadable M, or after a million; a
// pointer that occurs twice in allgs is shown once and said.
#include "model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "read_ahead.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kMaxGoroutines = 1ull << 28;
constexpr std::size_t kMaxMachines = 1 << 20;
constexpr std::uint64_t kBlock = 256 << 10;  // g's are read in pieces of at most this, which stay in the cache
constexpr std::uint64_t kGap = 64 << 10;     // and a hole of this size ends a piece

}  // namespace

Result<std::unique_ptr<Model>> Model::load(Layout& layout, Memory& memory, std::int64_t now,
                                           const std::function<bool()>& cancelled) {
  std::unique_ptr<Model> model(new Model(layout, memory));
  model->waiting_status_ = layout.g_status_number("waiting");
  model->running_status_ = layout.g_status_number("running");
  model->syscall_status_ = layout.g_status_number("syscall");
  model->dead_status_ = layout.g_status_number("dead");
  model->idle_status_ = layout.g_status_number("idle");
  model->extra_status_ = layout.g_status_number("deadextra");
  model->now_ = now;
  model->now_exact_ = now != 0;
  model->age_about_ = layout.dialect().waits_about();
  model->age_at_least_ = now == 0 && !model->age_about_;
  model->by_entry_ = layout.dialect().systems_by_entry();
  model->read_wait_reasons();
  model->read_machines();
  model->read_processors();
  model->read_last_now();
  if (auto ok = model->read_goroutines(cancelled); !ok) return ok.error();
  model->match_threads();
  return model;
}

Status Model::read_goroutines(const std::function<bool()>& cancelled) {
  std::uint64_t root = layout_.root(Root::allgs);
  auto array = layout_.get(memory_, root, F::slice_array);
  auto len = layout_.get(memory_, root, F::slice_len);
  if (!array || !len) {
    const Error& e = !array ? array.error() : len.error();
    return Error{fmt::format("allgs at {:#x} is unreadable: {}", root, e.message), e.address};
  }
  if (*len == 0) {
    if (machines_.empty()) return Error{"the runtime has not started yet (no M and no goroutine exists)", {}};
    return Ok{};
  }
  std::uint64_t wanted = std::min(*len, kMaxGoroutines);
  // A length that cannot be is not believed further than there is room in the array. (No cap: it is not described.)
  if (auto cap = layout_.get(memory_, root, F::slice_cap); cap && *cap) wanted = std::min(wanted, *cap);
  if (wanted != *len) {
    warnings_.push_back(fmt::format("allgs at {:#x} claims {} goroutines; reading as far as it goes", root, *len));
  }
  std::vector<std::uint64_t> pointers;
  constexpr std::uint64_t kChunk = 1 << 17;
  pointers.reserve(std::min<std::uint64_t>(wanted, 1 << 23));
  for (std::uint64_t done = 0; done < wanted;) {
    std::uint64_t now = std::min(kChunk, wanted - done);
    pointers.resize(done + now);
    std::size_t got = memory_.read_prefix(*array + 8 * done, std::as_writable_bytes(std::span(pointers).subspan(done)));
    done += got / 8;
    if (got < now * 8) {
      pointers.resize(done);
      lost_ = *len - done;
      warnings_.push_back(
          fmt::format("allgs: {} of {} entries are unreadable, from {:#x} on", *len - done, *len, *array + 8 * done));
      break;
    }
    if (cancelled && cancelled()) return Error{"stopped by Ctrl-C", {}};
  }
  std::size_t listed = pointers.size();
  std::erase(pointers, 0);
  if (pointers.size() != listed) {
    warnings_.push_back(fmt::format("allgs: {} entries are null", listed - pointers.size()));
  }
  if (!std::is_sorted(pointers.begin(), pointers.end())) std::sort(pointers.begin(), pointers.end());
  listed = pointers.size();
  pointers.erase(std::unique(pointers.begin(), pointers.end()), pointers.end());
  if (pointers.size() != listed) {
    warnings_.push_back(fmt::format("allgs: {} entries occur more than once", listed - pointers.size()));
  }

  goroutines_.reserve(pointers.size());
  const std::uint64_t size = layout_.size_of("g");
  std::vector<std::size_t> ends;  // the g's of a range: up to this one
  std::vector<ReadAhead::Range> ranges;
  for (std::size_t i = 0; i < pointers.size();) {
    const std::uint64_t lo = pointers[i];
    std::size_t j = i + 1;
    while (j < pointers.size() && pointers[j] - lo + size <= kBlock && pointers[j] - pointers[j - 1] <= size + kGap)
      ++j;
    const std::uint64_t bytes = pointers[j - 1] + size - lo;
    ranges.push_back({lo, lo + bytes > lo ? bytes : 0});
    ends.push_back(i = j);
  }
  ReadAhead reader(memory_.target(), ranges);
  std::vector<std::byte> buffer, alone(size);
  for (std::size_t range = 0, i = 0; range < ranges.size(); ++range) {
    // Not what view() may give: a page of a mapped core is dearer at its first touch than a copy.
    std::span<const std::byte> bytes = reader.next();
    const std::uint64_t lo = ranges[range].addr;
    if (bytes.size() < ranges[range].size) {  // what is behind an odd page may be known to the cache, or the host
      buffer.assign(ranges[range].size, std::byte{0});
      std::copy(bytes.begin(), bytes.end(), buffer.begin());
      bytes = std::span(buffer).first(bytes.size() +
                                      memory_.read_prefix(lo + bytes.size(), std::span(buffer).subspan(bytes.size())));
    }
    const std::byte* at = bytes.data();
    const std::size_t got = bytes.size();
    for (; i < ends[range]; ++i) {
      std::uint64_t offset = pointers[i] - lo;
      if (offset + size <= got) {
        decode(at + offset, pointers[i]);
      } else if (memory_.read(pointers[i], alone)) {  // past a hole
        decode(alone.data(), pointers[i]);
      } else {
        Goroutine g;
        g.addr = pointers[i];
        g.flags = Goroutine::unreadable;
        goroutines_.add(g);
      }
    }
    if (range % 4 == 0 && cancelled && cancelled()) return Error{"stopped by Ctrl-C", {}};
  }
  goroutines_.sort();
  return Ok{};
}

void Model::decode(const std::byte* bytes, std::uint64_t addr) {
  Goroutine g;
  g.addr = addr;
  std::uint64_t raw = layout_.take(bytes, F::g_atomicstatus);
  g.status = static_cast<std::uint32_t>(raw) & ~layout_.scan_bit();
  if (raw & layout_.scan_bit()) g.flags |= Goroutine::scan;
  if (g.status == dead_status_ || g.status == idle_status_ || g.status == extra_status_) {
    dead_.push_back(addr);
    return;
  }
  g.goid = layout_.take(bytes, F::g_goid);
  g.stack_lo = layout_.take(bytes, F::g_stack_lo);
  std::uint64_t hi = layout_.take(bytes, F::g_stack_hi);
  if (hi < g.stack_lo || hi - g.stack_lo > 1ull << 31) {
    g.flags |= Goroutine::bad_stack;
    g.stack_size = kNone;
  } else {
    g.stack_size = static_cast<std::uint32_t>(hi - g.stack_lo);
  }
  g.sp = layout_.take(bytes, F::g_sched_sp);
  g.pc = layout_.take(bytes, F::g_sched_pc);
  g.bp = layout_.take(bytes, F::g_sched_bp);
  if (in_syscall(g)) {
    if (std::uint64_t sp = layout_.take(bytes, F::g_syscallsp)) {
      g.sp = sp;
      g.pc = layout_.take(bytes, F::g_syscallpc);
      g.bp = layout_.take(bytes, F::g_syscallbp);
    }
  }
  if (g.goid != 1 || !layout_.dialect().first_has_no_creator()) g.gopc = layout_.take(bytes, F::g_gopc);
  g.startpc = layout_.take(bytes, F::g_startpc);
  g.waitsince = static_cast<std::int64_t>(layout_.take(bytes, F::g_waitsince));
  g.wait_reason = static_cast<std::uint8_t>(layout_.take(bytes, F::g_waitreason));
  if (by_entry_ ? layout_.system_entry(g.startpc) : layout_.take(bytes, F::g_issystem) != 0) {
    g.flags |= Goroutine::system;
    ++system_;
  }
  if (layout_.take(bytes, F::g_isforeign)) g.flags |= Goroutine::foreign;
  if (layout_.take(bytes, F::g_noproc)) g.flags |= Goroutine::noproc;
  if (layout_.take(bytes, F::g_lockedm)) g.flags |= Goroutine::locked;
  bool saved = !running(g) && !in_syscall(g);
  if (saved && g.stack_size && !g.is(Goroutine::bad_stack) && (g.sp < g.stack_lo || g.sp > g.stack_hi())) {
    g.flags |= Goroutine::bad_sp;
  }
  if (std::uint64_t m = layout_.take(bytes, F::g_m)) {
    auto it = machine_at_.find(m);
    if (it != machine_at_.end()) {
      g.machine = it->second;
    } else if (!machines_cut_) {
      g.flags |= Goroutine::bad_m;
    }
  }
  goroutines_.add(g);
}

void Model::read_machines() {
  std::uint64_t root = layout_.root(Root::allm);
  std::uint64_t next = 0;
  if (auto ok = memory_.get<std::uint64_t>(root)) {
    next = *ok;
  } else {
    machines_cut_ = true;
    warnings_.push_back(fmt::format("allm at {:#x} is unreadable: {}", root, ok.error().message));
    return;
  }
  while (next) {
    if (machine_at_.count(next)) {
      warnings_.push_back(fmt::format("allm: the list comes back to the M at {:#x}; cut there", next));
      return;
    }
    if (machines_.size() == kMaxMachines) {
      warnings_.push_back(fmt::format("allm: cut after {} Ms", kMaxMachines));
      return;
    }
    Machine m;
    m.addr = next;
    std::optional<Error> bad;
    auto read = [&](F f) -> std::uint64_t {
      auto v = layout_.get(memory_, m.addr, f);
      if (!v) {
        if (!bad) bad = v.error();
        return 0;
      }
      return *v;
    };
    m.id = static_cast<std::int64_t>(read(F::m_id));
    m.procid = static_cast<std::int64_t>(read(F::m_procid));
    m.curg = read(F::m_curg);
    m.g0 = read(F::m_g0);
    m.gsignal = read(F::m_gsignal);
    m.p = read(F::m_p);
    m.nextp = read(F::m_nextp);
    m.lockedg = read(F::m_lockedg);
    m.vdso_sp = read(F::m_vdsoSP);
    m.vdso_pc = read(F::m_vdsoPC);
    m.spinning = read(F::m_spinning) != 0;
    m.blocked = read(F::m_blocked) != 0;
    const FieldPlace& tls = layout_.place(F::m_tls);
    m.thread_pointer = !layout_.dialect().tls_is_block() ? read(F::m_tls) : tls.present ? m.addr + tls.offset + 8 : 0;
    next = read(F::m_alllink);
    if (bad) {
      machines_cut_ = true;
      warnings_.push_back(fmt::format("the M at {:#x} is unreadable ({}); allm is cut there", m.addr, bad->message));
      return;
    }
    auto bounds = [&](std::uint64_t g, std::uint64_t& lo, std::uint64_t& hi) {
      if (!g) return;
      auto a = layout_.get(memory_, g, F::g_stack_lo), b = layout_.get(memory_, g, F::g_stack_hi);
      if (a && b && *a < *b) {
        lo = *a;
        hi = *b;
      } else if (!a || !b) {
        warnings_.push_back(fmt::format("M{}: the g at {:#x} is unreadable", m.id, g));
      }
    };
    bounds(m.g0, m.g0_lo, m.g0_hi);
    bounds(m.gsignal, m.signal_lo, m.signal_hi);
    machine_at_[m.addr] = static_cast<std::uint32_t>(machines_.size());
    machines_.push_back(m);
  }
}

// The latest time that the runtime wrote down: as it looked at the clock, polled (0 while somebody does), watched a P,
// ended a collection.
void Model::read_last_now() {
  auto at = [&](std::uint64_t object, F f, std::string_view what) {
    if (!object || !layout_.has(f)) return;
    auto time = layout_.get(memory_, object, f);
    if (time) {
      now_ = std::max(now_, static_cast<std::int64_t>(*time));
    } else if (!what.empty()) {
      warnings_.push_back(fmt::format("{}: {}", what, time.error().message));
    }
  };
  at(layout_.root(Root::sched), F::schedt_lastnow, "sched.lastnow");
  if (now_exact_) return;
  at(layout_.root(Root::gcwork), F::work_tEnd, "");
  for (const Processor& p : processors_) {
    at(p.addr, F::p_sysmon_schedwhen, "");
    at(p.addr, F::p_sysmon_syscallwhen, "");
  }
}

void Model::read_processors() {
  std::uint64_t root = layout_.root(Root::allp);
  if (!root) return;
  auto array = layout_.get(memory_, root, F::slice_array);
  auto len = layout_.get(memory_, root, F::slice_len);
  if (!array || !len) {
    processors_cut_ = true;
    warnings_.push_back(fmt::format("allp at {:#x} is unreadable", root));
    return;
  }
  if (*len > kMaxProcessors) {
    warnings_.push_back(fmt::format("allp at {:#x} claims {} Ps; reading the first {}", root, *len, kMaxProcessors));
  }
  std::size_t bad = 0;
  std::uint64_t first_bad = 0;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(*len, kMaxProcessors); ++i) {
    auto addr = memory_.get<std::uint64_t>(*array + 8 * i);
    if (!addr) {
      processors_cut_ = true;
      warnings_.push_back(fmt::format("allp is unreadable from entry {} on: {}", i, addr.error().message));
      break;
    }
    if (!*addr) continue;
    Processor p;
    p.addr = *addr;
    auto id = layout_.get(memory_, *addr, F::p_id);
    auto status = layout_.get(memory_, *addr, F::p_status);
    auto m = layout_.get(memory_, *addr, F::p_m);
    if (!id || !status || !m) {
      if (!bad++) first_bad = *addr;
      continue;
    }
    p.id = static_cast<std::int32_t>(*id);
    p.status = static_cast<std::uint32_t>(*status);
    p.m = *m;
    processors_.push_back(p);
  }
  processors_cut_ = processors_cut_ || bad;
  if (bad) warnings_.push_back(fmt::format("{} Ps are unreadable, the first at {:#x}", bad, first_bad));
}

void Model::read_wait_reasons() {
  std::uint64_t root = layout_.root(Root::waitReasonStrings);
  if (!root || !layout_.has(F::string_str) || !layout_.has(F::string_len)) return;
  std::uint64_t stride = layout_.size_of("string");
  if (!stride) return;
  for (std::uint32_t i = 0; i < std::min(layout_.wait_reasons(), 256u); ++i) {
    std::uint64_t at = root + i * stride;
    auto str = layout_.get(memory_, at, F::string_str);
    auto len = layout_.get(memory_, at, F::string_len);
    std::string text;
    if (str && len && *str && *len <= 128) {
      text.resize(*len);
      if (!memory_.read(*str, std::as_writable_bytes(std::span(text)))) text.clear();
    }
    if (!str || !len) {
      warnings_.push_back(fmt::format("waitReasonStrings at {:#x} is unreadable", at));
      return;
    }
    wait_reasons_.push_back(std::move(text));
  }
}

void Model::match_threads() {
  for (std::size_t i = 0; i < goroutines_.size(); ++i) {
    const Goroutine g = goroutines_[i];
    if (g.machine != kNone && machines_[g.machine].curg == g.addr) {
      machines_[g.machine].goroutine = static_cast<std::uint32_t>(i);
    }
  }
  const std::vector<Thread>& threads = memory_.target().threads();
  std::vector<bool> taken(threads.size());
  auto match = [&](const char* how, auto same) {
    for (Machine& m : machines_) {
      if (m.thread != kNone) continue;
      for (std::size_t t = 0; t < threads.size(); ++t) {
        if (taken[t] || !same(m, threads[t])) continue;
        m.thread = static_cast<std::uint32_t>(t);
        m.matched_by = how;
        taken[t] = true;
        break;
      }
    }
  };
  match("thread pointer", [](const Machine& m, const Thread& t) {
    return m.thread_pointer && t.fs_base && *t.fs_base == m.thread_pointer;
  });
  match("stack", [&](const Machine& m, const Thread& t) {
    if (!t.regs.has(kRsp)) return false;
    std::uint64_t sp = t.regs.r[kRsp];
    if (m.g0_lo && sp >= m.g0_lo && sp < m.g0_hi) return true;
    if (m.signal_lo && sp >= m.signal_lo && sp < m.signal_hi) return true;
    if (m.goroutine == kNone) return false;
    const Goroutine& g = goroutines_[m.goroutine];
    return sp >= g.stack_lo && sp < g.stack_hi();
  });
  match("thread id", [](const Machine& m, const Thread& t) { return m.procid && m.procid == t.tid; });

  for (std::size_t t = 0; t < threads.size(); ++t) {
    if (!threads[t].current) continue;
    for (const Machine& m : machines_) {
      if (m.thread == t && m.goroutine != kNone) current_ = m.goroutine;
    }
  }
  if (current_ != kNone) {
    Goroutine g = goroutines_[current_];
    g.flags |= Goroutine::current;
    goroutines_.replace(current_, g);
  }
}

std::uint32_t Model::find_goid(std::uint64_t goid) const {
  std::size_t lo = 0, hi = goroutines_.size();
  while (lo < hi) {
    const std::size_t mid = lo + (hi - lo) / 2;
    if (goroutines_.readable(mid) && goroutines_.goid(mid) < goid) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == goroutines_.size() || goroutines_.goid(lo) != goid || !goroutines_.readable(lo)) return kNone;
  return static_cast<std::uint32_t>(lo);
}

std::uint32_t Model::find_addr(std::uint64_t addr) const {
  for (std::size_t i = 0; i < goroutines_.size(); ++i) {
    if (goroutines_.addr(i) == addr) return static_cast<std::uint32_t>(i);
  }
  return kNone;
}

}  // namespace vitrine::inspect
