// recorder_chrome.cc: see recorder_chrome.h. The format: an object with "traceEvents", each with a phase `ph`, a time
// `ts` and a length `dur` in microseconds (fractions are nanoseconds), and a track named by `pid` and `tid`:
//   M  names a process or a track               X  a slice with a length
//   s  an arrow leaves the slice around it      f  it arrives at the slice around it (bp "e")
//   i  a moment
// The processors are process 1, its tracks the Ps; the threads process 2, its tracks the Ms; what stopped the world is
// process 3. Track 1 and
// below mean nothing: the threads that are no Ms are "M -1".
#include "recorder_chrome.h"

#include <fmt/format.h>

#include <map>
#include <set>

namespace vitrine::inspect {
namespace {

constexpr int kProcessors = 1, kThreads = 2, kWorld = 3;

class Writer {
 public:
  Writer(Session& session, Recorder& recorder, Stacks& stacks, Buffered& out, ChromeCounts& counts)
      : session_(session), recorder_(recorder), stacks_(stacks), out_(out), counts_(counts) {}

  bool run() {
    out_.add("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    for (auto [pid, name] : {std::pair{kProcessors, "Ps"}, {kThreads, "Ms"}, {kWorld, "the world"}}) {
      emit(fmt::format(R"("ph":"M","pid":{},"tid":0,"name":"process_name","args":{{"name":"{}"}})", pid, name));
      emit(fmt::format(R"("ph":"M","pid":{0},"tid":0,"name":"process_sort_index","args":{{"sort_index":{0}}})", pid));
    }
    for (std::size_t i = 0; i < recorder_.events().size(); ++i) {
      event(recorder_.events()[i]);
      if (i % 4096 == 4095 && session_.cancelled()) return false;
    }
    for (auto& [m, slice] : running_) close(m, slice, recorder_.end(), "");
    if (world_) track(kWorld, -1, "stopped");
    for (std::int64_t p : ps_) track(kProcessors, p, fmt::format("P {}", p));
    std::map<std::int64_t, const Ring*> rings;
    for (const Ring& r : recorder_.rings()) rings[r.m] = &r;
    for (std::int64_t m : ms_) {
      auto ring = rings.find(m);
      std::string name = m < 0 ? "threads that are no Ms" : fmt::format("M {}", m);
      if (ring != rings.end() && m >= 0)
        name += fmt::format(" (thread {}{})", ring->second->tid, ring->second->live ? "" : ", ended");
      track(kThreads, m, name);
    }
    out_.add("\n]}\n");
    return true;
  }

 private:
  struct Slice {
    std::uint64_t goid = 0;  // 0: nothing runs
    std::int64_t begin = 0;
    std::int32_t p = -1;
    bool syscall = false;
  };
  struct Wake {
    std::int64_t time = 0, m = 0;
    std::int32_t p = -1;
    std::uint64_t by = 0;
  };

  static std::string micros(std::int64_t ns) {
    return fmt::format("{}{}.{:03}", ns < 0 ? "-" : "", (ns < 0 ? -ns : ns) / 1000, (ns < 0 ? -ns : ns) % 1000);
  }
  void emit(std::string_view fields) {
    out_.add(first_ ? "\n{" : ",\n{");
    out_.add(fields);
    out_.add("}");
    first_ = false;
  }
  static std::int64_t tid(std::int64_t number) { return number + 2; }
  void track(int pid, std::int64_t number, const std::string& name) {
    emit(fmt::format(R"("ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":"{}"}})", pid, tid(number),
                     name));
    emit(fmt::format(R"("ph":"M","pid":{},"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}})", pid,
                     tid(number), number));
  }
  // As a JSON string, with its quotes.
  std::string text(std::string_view raw) {
    struct Collect : Sink {
      std::string all;
      void out(std::string_view t) override { all += t; }
      void err(std::string_view) override {}
    } sink;
    {
      Buffered buffer(sink);
      Json(buffer).value(raw);
    }
    return sink.all;
  }
  const std::string& name(std::uint64_t goid) {
    auto [it, fresh] = names_.try_emplace(goid);
    if (fresh) {
      std::string own = recorder_.goroutine_text(stacks_, goid);
      it->second = text(own.empty() ? fmt::format("g{}", goid) : fmt::format("g{} {}", goid, own));
    }
    return it->second;
  }
  void slice(int pid, std::int64_t number, const Slice& s, std::int64_t end, std::string_view why) {
    emit(fmt::format(R"("ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"cat":"{}","name":{},"args":{{"goid":{}{}}})", pid,
                     tid(number), micros(s.begin), micros(std::max<std::int64_t>(0, end - s.begin)),
                     s.syscall ? "syscall" : "running",
                     s.syscall ? text(fmt::format("g{} syscall", s.goid)) : name(s.goid), s.goid,
                     why.empty() ? "" : fmt::format(R"(,"ends":{})", text(why))));
    ++counts_.slices;
  }
  void close(std::int64_t m, Slice& s, std::int64_t end, std::string_view why) {
    if (s.goid == 0) return;
    ms_.insert(m);
    slice(kThreads, m, s, end, why);
    if (s.p >= 0 && !s.syscall) {
      ps_.insert(s.p);
      slice(kProcessors, s.p, s, end, why);
    }
    s = {};
  }
  void open(const Event& e, bool syscall) {
    Slice& s = running_[e.m];
    close(e.m, s, e.time, "");
    s = {e.goid, e.time, e.p, syscall};
  }
  void moment(const Event& e, std::string_view what) {
    ms_.insert(e.m);
    emit(fmt::format(R"("ph":"i","s":"t","pid":{},"tid":{},"ts":{},"cat":"event","name":{})", kThreads, tid(e.m),
                     micros(e.time), text(what)));
  }
  // From the P on which it was readied to the P on which it starts; the same between Ms.
  void arrow(const Wake& from, const Event& to) {
    auto pair = [&](int pid, std::int64_t a, std::int64_t b) {
      const std::uint64_t id = ++counts_.arrows;
      emit(fmt::format(R"("ph":"s","id":{},"pid":{},"tid":{},"ts":{},"cat":"wake","name":"wakes g{}")", id, pid, tid(a),
                       micros(from.time), to.goid));
      emit(fmt::format(R"("ph":"f","bp":"e","id":{},"pid":{},"tid":{},"ts":{},"cat":"wake","name":"wakes g{}")", id,
                       pid, tid(b), micros(to.time), to.goid));
    };
    pair(kThreads, from.m, to.m);
    if (from.p >= 0 && to.p >= 0) pair(kProcessors, from.p, to.p);
  }

  void event(const Event& e) {
    switch (e.kind) {
      case Ev::create:
      case Ev::unblock:
        if (e.by != 0 && running_[e.m].goid == e.by)
          wakes_[e.goid] = {e.time, e.m, running_[e.m].p, e.by};
        else
          moment(e, fmt::format("{} g{}", recorder_.event_text(e), e.goid));
        break;
      case Ev::start: {
        open(e, false);
        if (auto wake = wakes_.find(e.goid); wake != wakes_.end()) {
          arrow(wake->second, e);
          wakes_.erase(wake);
        }
        break;
      }
      case Ev::stop:
      case Ev::block:
      case Ev::destroy:
        leave(e);
        break;
      case Ev::syscall_begin:
        open(e, true);
        break;
      case Ev::syscall_end:
      case Ev::status:
        open(e, false);
        break;
      case Ev::syscall_end_blocked:
        leave(e);
        break;
      case Ev::stw_begin:
        stopped_ = e.time;
        why_ = recorder_.stw_reason(e);
        break;
      case Ev::stw_end:
        if (stopped_ >= 0) {
          world_ = true;
          emit(fmt::format(R"("ph":"X","pid":{},"tid":1,"ts":{},"dur":{},"cat":"stw","name":{})", kWorld,
                           micros(stopped_), micros(e.time - stopped_), text("stopped: " + why_)));
        }
        stopped_ = -1;
        break;
      case Ev::proc_steal:
        moment(e, fmt::format("steals P {}", e.p));
        break;
      default:
        break;
    }
  }
  void leave(const Event& e) {
    Slice& s = running_[e.m];
    if (s.goid != e.goid) s = {};  // when it began is not known
    const std::string_view why = e.kind == Ev::block ? recorder_.reason_text(e) : recorder_.event_text(e);
    close(e.m, s, e.time, why);
  }

  Session& session_;
  Recorder& recorder_;
  Stacks& stacks_;
  Buffered& out_;
  ChromeCounts& counts_;
  bool first_ = true, world_ = false;
  std::map<std::int64_t, Slice> running_;  // by M
  std::map<std::uint64_t, Wake> wakes_;    // by goid
  std::map<std::uint64_t, std::string> names_;
  std::set<std::int64_t> ps_, ms_;
  std::int64_t stopped_ = -1;
  std::string why_;
};

}  // namespace

bool write_chrome(Session& session, Recorder& recorder, Stacks& stacks, Buffered& out, ChromeCounts& counts) {
  return Writer(session, recorder, stacks, out, counts).run();
}

}  // namespace vitrine::inspect
