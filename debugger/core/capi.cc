// capi.cc: the C ABI over a Session. Every entry catches what is thrown, checks the sizes its caller compiled with, and
// turns Session's notions (Outcome, Action, Sink) into those of capi.h. What a host lends becomes a Target in
// host_target.cc; nothing here knows a runtime's structures.
#include "capi.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <string>

#include "commands.h"
#include "commands_trace.h"
#include "describe.h"
#include "functions.h"
#include "host_run.h"
#include "host_target.h"
#include "session.h"
#include "settings.h"
#include "version.h"
#include "words.h"

using namespace vitrine::inspect;

struct vi_session {
  Session session;
  vi_host host{};
  std::unique_ptr<HostRun> run;
  std::string action_text;
  std::string value_text, summary, part_name, part_type;
};

namespace {

// Copies at most as many bytes as both sides know; the rest of `to` stays zero.
template <class T>
bool take(T& to, const T* from) {
  if (!from || from->size < sizeof(std::uint32_t)) return false;
  std::memcpy(static_cast<void*>(&to), from, std::min<std::size_t>(from->size, sizeof(T)));
  return true;
}
template <class T>
void give(T* to, const T& from) {
  std::uint32_t size = to->size;
  std::memcpy(static_cast<void*>(to), &from, std::min<std::size_t>(size, sizeof(T)));
  to->size = size;
}

class CSink : public Sink {
 public:
  explicit CSink(const vi_sink* sink) { take(sink_, sink); }
  void out(std::string_view text) override {
    if (sink_.out) sink_.out(sink_.ctx, std::string(text).c_str());
  }
  void err(std::string_view message) override {
    if (sink_.err) sink_.err(sink_.ctx, std::string(message).c_str());
  }

 private:
  vi_sink sink_{};
};

vi_status status_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return VI_OK;
    case Outcome::error:
      return VI_ERROR;
    case Outcome::cancelled:
      return VI_CANCELLED;
    case Outcome::not_ours:
      return VI_NOT_OURS;
  }
  return VI_ERROR;
}

std::uint32_t kind_of(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::none:
      return VI_ACTION_NONE;
    case Action::Kind::select:
      return VI_ACTION_SELECT;
    case Action::Kind::deselect:
      return VI_ACTION_DESELECT;
    case Action::Kind::execute:
      return VI_ACTION_EXECUTE;
    case Action::Kind::show_frame:
      return VI_ACTION_SHOW_FRAME;
    case Action::Kind::print:
      return VI_ACTION_PRINT;
  }
  return VI_ACTION_NONE;
}

vi_status told(Sink& sink, const std::exception& e) {
  sink.err(std::string("the inspector failed: ") + e.what());
  return VI_ERROR;
}

// Words that come before the raw text of a command: "info goroutines" + "-limit 5".
Line line_of(const char* command, const char* text) {
  std::string raw = command;
  if (text && *text) raw += std::string(" ") + text;
  return split(raw);
}

bool may_decline(std::string_view command) {
  for (const CommandSpec& c : command_table())
    if (c.flags & kMayDecline && command == c.words) return true;
  return false;
}

}  // namespace

extern "C" {

uint32_t vi_abi_version(void) { return VI_ABI_VERSION; }
const char* vi_version(void) { return version(); }

vi_status vi_open(const vi_host* host, const vi_target* target, const vi_sink* sink, vi_session** session) {
  CSink out(sink);
  if (!session) return VI_BAD_ARGUMENT;
  *session = nullptr;
  try {
    auto made = std::make_unique<vi_session>();
    take(made->host, host);
    vi_host& lent = made->host;
    Session& s = made->session;
    if (lent.cancelled) s.cancelled_hook = [&lent] { return lent.cancelled(lent.ctx) != 0; };
    if (lent.progress) {
      s.progress_hook = [&lent](std::string_view text) { lent.progress(lent.ctx, std::string(text).c_str()); };
    }
    if (lent.eval) {
      s.eval_hook = [&lent](const std::string& expression) -> std::optional<Session::Evaluated> {
        std::uint64_t value = 0;
        char type[4096] = "";
        std::int32_t done = 0;
        lent.eval(lent.ctx, expression.c_str(), &value, type, sizeof type, &done);
        if (done != 1) return std::nullopt;
        type[sizeof type - 1] = 0;
        return Session::Evaluated{value, type};
      };
    }
    s.host_has_frames = true;
    if (target) {
      vi_target wanted{};
      if (!take(wanted, target)) return VI_BAD_ARGUMENT;
      if (wanted.kind < VI_TARGET_LIVE || wanted.kind > VI_TARGET_FILE) return VI_BAD_ARGUMENT;
      if (wanted.kind == VI_TARGET_FILE) {
        if (wanted.program) s.program_file = wanted.program;
        *session = made.release();
        return VI_OK;
      }
      auto opened = open_host_target(lent, wanted);
      if (!opened) {
        fail(out, opened.error());
        return VI_ERROR;
      }
      s.local_pid = (*opened)->local_pid();
      s.stop_hook = [lent_target = opened->get()](std::uint64_t stop_id) { lent_target->stopped(stop_id); };
      s.set_target(std::move(*opened), wanted.stop_id);
    }
    *session = made.release();
    return VI_OK;
  } catch (const std::exception& e) {
    return told(out, e);
  }
}

void vi_close(vi_session* session) { delete session; }

void vi_set_stop(vi_session* session, uint64_t stop_id, int64_t stopped_at) {
  if (!session) return;
  try {
    session->session.set_stop(stop_id, stopped_at);
  } catch (const std::exception&) {
    session->session.deselect();
  }
}

void vi_set_terminal(vi_session* session, uint32_t width, uint32_t colour) {
  if (!session) return;
  session->session.width = width;
  session->session.colour = colour != 0;
}

void vi_set_frames(vi_session* session, uint32_t first, uint32_t flags) {
  if (!session) return;
  session->session.first_frame = first;
  session->session.counts_inlined = (flags & VI_FRAMES_C_ONLY) == 0;
}

vi_status vi_lend_run_control(vi_session* session, const vi_run_control* control) {
  if (!session) return VI_BAD_ARGUMENT;
  session->session.run_control = nullptr;
  session->run.reset();
  if (!control) return VI_OK;
  vi_run_control lent{};
  if (!take(lent, control) || !lent.plant || !lent.remove || !lent.run || !lent.step || !lent.registers)
    return VI_BAD_ARGUMENT;
  session->run = std::make_unique<HostRun>(lent);
  session->session.run_control = session->run.get();
  return VI_OK;
}

vi_status vi_run(vi_session* session, int argc, const char* const* argv, const vi_sink* sink) {
  if (!session || argc < 0 || (argc && !argv)) return VI_BAD_ARGUMENT;
  if (std::find(argv, argv + argc, nullptr) != argv + argc) return VI_BAD_ARGUMENT;
  CSink out(sink);
  try {
    return status_of(run_command(session->session, join({argv, static_cast<std::size_t>(argc)}), out));
  } catch (const std::exception& e) {
    return told(out, e);
  }
}

vi_status vi_run_line(vi_session* session, const char* command, const char* text, const vi_sink* sink) {
  if (!session || !command) return VI_BAD_ARGUMENT;
  CSink out(sink);
  try {
    Line line = line_of(command, text);
    // By its bare name only: `vitrine trace …` can mean nothing else. And before any abbreviation is resolved.
    if (may_decline(command) && !claims_trace(line, 1)) return VI_NOT_OURS;
    return status_of(run_command(session->session, line, out));
  } catch (const std::exception& e) {
    return told(out, e);
  }
}

vi_status vi_next_action(vi_session* session, vi_action* action) {
  if (!session || !action) return VI_BAD_ARGUMENT;
  try {
    Action next = session->session.next_action();
    vi_action made{};
    made.kind = kind_of(next.kind);
    made.goid = next.goid;
    made.g = next.g;
    made.tid = next.tid;
    made.known = next.regs.known;
    made.flags = next.exact ? VI_ACTION_EXACT : 0;
    std::copy(std::begin(next.regs.r), std::end(next.regs.r), made.regs);
    session->action_text = std::move(next.text);
    made.text = session->action_text.c_str();
    made.outer_sp = next.outer_sp;
    made.link_rbp = next.link_rbp;
    give(action, made);
    return VI_OK;
  } catch (const std::exception&) {
    return VI_ERROR;
  }
}

void vi_action_done(vi_session* session, int ok, const char* message, const vi_sink* sink) {
  if (!session) return;
  CSink out(sink);
  try {
    session->session.action_done(ok != 0, message ? message : "", out);
  } catch (const std::exception& e) {
    told(out, e);
  }
}

void vi_get_selection(vi_session* session, vi_selection* out) {
  if (!session || !out) return;
  const Selection& s = session->session.selection();
  vi_selection made{};
  made.selected = s.selected;
  made.goid = s.goid;
  made.g = s.g;
  made.stop_id = s.stop_id;
  give(out, made);
}

vi_status vi_command_at(uint32_t i, vi_command* out) {
  if (!out) return VI_BAD_ARGUMENT;
  auto table = command_table();
  if (i >= table.size()) return VI_BAD_ARGUMENT;
  vi_command made{};
  made.words = table[i].words;
  made.summary = table[i].summary;
  made.help = table[i].help;
  made.flags = table[i].flags;
  give(out, made);
  return VI_OK;
}

vi_status vi_complete(vi_session* session, const char* command, const char* text, const vi_sink* sink) {
  if (!session || !command) return VI_BAD_ARGUMENT;
  CSink out(sink);
  try {
    Line line = line_of(command, text);
    std::string partial;
    bool open_word = line.error || (!line.words.empty() && line.words.back().end == line.raw.size());
    if (text && *text && open_word) {  // the last word is being typed; after a blank a new one begins
      if (line.error) return VI_OK;
      partial = line.words.back().text;
      line.words.pop_back();
    }
    complete_command(session->session, line, partial, [&](std::string_view word) { out.out(word); });
    return VI_OK;
  } catch (const std::exception& e) {
    return told(out, e);
  }
}

vi_status vi_setting_at(uint32_t i, vi_setting* out) {
  if (!out || i >= setting_table().size()) return VI_BAD_ARGUMENT;
  const SettingSpec& s = setting_table()[i];
  vi_setting made{};
  made.kind = s.kind == SettingSpec::Kind::flag ? VI_SETTING_FLAG : VI_SETTING_NUMBER;
  made.name = s.name.data();
  made.summary = s.summary;
  made.help = s.help;
  made.value = settings().*s.value;
  give(out, made);
  return VI_OK;
}

vi_status vi_set(const char* name, const char* value, const vi_sink* sink) {
  if (!name || !value) return VI_BAD_ARGUMENT;
  CSink out(sink);
  try {
    std::string problem;
    const SettingSpec* s = find_setting(name, problem);
    auto ok = s ? set_setting(*s, value) : Status(Error{problem, {}});
    if (!ok) fail(out, ok.error());
    return ok ? VI_OK : VI_ERROR;
  } catch (const std::exception& e) {
    return told(out, e);
  }
}

vi_status vi_function_at(uint32_t i, vi_function* out) {
  if (!out || i >= function_table().size()) return VI_BAD_ARGUMENT;
  const FunctionSpec& f = function_table()[i];
  vi_function made{};
  made.least = f.least;
  made.most = f.most;
  made.name = f.name;
  made.help = f.help;
  give(out, made);
  return VI_OK;
}

vi_status vi_call(vi_session* session, const char* function, const uint64_t* arguments, uint32_t count,
                  const vi_here* here, vi_value* out, const vi_sink* sink) {
  if (!session || !function || !out || (count && !arguments)) return VI_BAD_ARGUMENT;
  CSink to(sink);
  try {
    vi_here where{};
    take(where, here);
    Here at;
    if (where.flags & VI_HERE_THREAD_POINTER) at.thread_pointer = where.thread_pointer;
    at.moving = where.flags & VI_HERE_MOVING;
    auto value = call_function(session->session, function, {arguments, count}, at);
    if (!value) {
      fail(to, value.error());
      return VI_ERROR;
    }
    session->value_text = std::move(value->text);
    vi_value made{};
    made.kind = value->kind == FunctionValue::Kind::number    ? VI_VALUE_NUMBER
                : value->kind == FunctionValue::Kind::pointer ? VI_VALUE_POINTER
                                                              : VI_VALUE_TEXT;
    made.number = value->number;
    made.text = session->value_text.c_str();
    give(out, made);
    return VI_OK;
  } catch (const std::exception& e) {
    return told(to, e);
  }
}

vi_status vi_printed_at(uint32_t i, vi_printed* out) {
  if (!out) return VI_BAD_ARGUMENT;
  try {
    const std::vector<PrintedRow>& rows = printed_rows();
    if (i >= rows.size()) return VI_BAD_ARGUMENT;
    vi_printed made{};
    made.flags = (rows[i].pointer ? VI_PRINTED_POINTER : 0) | (rows[i].elements ? VI_PRINTED_ELEMENTS : 0) |
                 (rows[i].members ? VI_PRINTED_MEMBERS : 0) | (rows[i].part ? VI_PRINTED_PART : 0) |
                 (rows[i].smart ? VI_PRINTED_SMART : 0);
    made.name = rows[i].name.c_str();
    made.pattern = rows[i].pattern.c_str();
    give(out, made);
    return VI_OK;
  } catch (const std::exception&) {
    return VI_BAD_ARGUMENT;
  }
}

vi_status vi_describe(vi_session* session, const char* type, uint64_t address, vi_description* out) {
  if (!session || !type || !out) return VI_BAD_ARGUMENT;
  try {
    auto found = session->session.describer().describe(type, address);
    if (!found) return VI_NOT_OURS;
    session->summary = std::move(found->summary);
    vi_description made{};
    made.shows = found->shows == Shows::text       ? VI_SHOWS_TEXT
                 : found->shows == Shows::elements ? VI_SHOWS_ELEMENTS
                 : found->shows == Shows::members  ? VI_SHOWS_MEMBERS
                                                   : VI_SHOWS_PART;
    made.parts = found->parts;
    made.summary = session->summary.c_str();
    give(out, made);
    return VI_OK;
  } catch (const std::exception&) {
    return VI_NOT_OURS;
  }
}

vi_status vi_part_at(vi_session* session, const char* type, uint64_t address, uint64_t i, vi_part* out) {
  if (!session || !type || !out) return VI_BAD_ARGUMENT;
  try {
    auto found = session->session.describer().part(type, address, i);
    if (!found) return VI_BAD_ARGUMENT;
    session->part_name = std::move(found->name);
    session->part_type = std::move(found->type);
    vi_part made{};
    made.argument = found->argument;
    made.stars = found->stars;
    made.address = found->addr;
    made.index = found->index;
    made.name = session->part_name.c_str();
    made.type = session->part_type.c_str();
    give(out, made);
    return VI_OK;
  } catch (const std::exception&) {
    return VI_BAD_ARGUMENT;
  }
}

}  // extern "C"
