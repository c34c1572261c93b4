// session.cc: see session.h. What is made for a stop is made in one order — modules and files, layout, goroutines,
// stacks — and dropped together when the stop id changes. Files are opened again only when the list of modules changed.
#include "session.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>

#include "describe.h"
#include "heap_state.h"
#include "layout.h"
#include "model.h"
#include "stacks.h"
#include "target_file.h"

namespace vitrine::inspect {
namespace {

std::int64_t clock_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * std::int64_t{1000000000} + t.tv_nsec;
}

}  // namespace

Session::Session() = default;
Session::~Session() {
  describer_.reset();
  heap_.reset();
  stacks_.reset();
  model_.reset();
  unwinder_.reset();
  layout_.reset();
  program_.reset();
  memory_.reset();
  target_.reset();
}

void Session::set_target(std::unique_ptr<Target> target, std::uint64_t stop_id) {
  target_ = std::move(target);
  memory_ = std::make_unique<Memory>(*target_);
  stop_id_ = stop_id;
  stopped_at_ = clock_now();
}

void Session::drop_stop_caches() {
  describer_.reset();
  heap_.reset();
  stacks_.reset();
  model_.reset();
  if (memory_) memory_->flush();
}

void Session::set_stop(std::uint64_t stop_id, std::int64_t stopped_at) {
  if (stopped_at > 0) stopped_at_ = std::min(stopped_at, clock_now());
  if (stop_id == stop_id_) return;
  stop_id_ = stop_id;
  if (stopped_at <= 0) stopped_at_ = clock_now();
  deselect();
  drop_stop_caches();
  if (stop_hook) stop_hook(stop_id);
  if (!program_) return;
  if (module_names() != program_modules_) {
    unwinder_.reset();
    layout_.reset();
    program_.reset();
  }
}

Program& Session::program() {
  if (!program_) {
    progress("reading the program's files");
    program_modules_ = module_names();
    program_ = Program::open(*target_);
    progress("");
  }
  return *program_;
}

void Session::use_program(std::unique_ptr<Program> program) {
  drop_stop_caches();
  unwinder_.reset();
  layout_.reset();
  program_ = std::move(program);
  program_modules_ = module_names();
}

std::vector<std::string> Session::module_names() {
  std::vector<std::string> names;
  for (const Module& m : target_->modules()) names.push_back(fmt::format("{}@{:#x}", m.path, m.bias));
  return names;
}

Unwinder& Session::unwinder() {
  if (!unwinder_) unwinder_ = std::make_unique<Unwinder>(program(), memory());
  return *unwinder_;
}

Result<Layout*> Session::layout() {
  if (!target_) {
    return Error{program_file.empty() ? "there is no program: nothing to inspect"
                                      : "the program does not run, and there is no core: nothing to inspect",
                 {}};
  }
  if (!layout_) {
    auto found = Layout::find(program());
    if (!found) return found.error();
    layout_ = std::move(*found);
  }
  return layout_.get();
}

Result<Model*> Session::model() {
  if (model_) return model_.get();
  auto where = layout();
  if (!where) return where.error();
  // The goroutines' clock stood still with them: what we, or the user, took since then has made nobody wait longer.
  const std::int64_t now = local_pid <= 0 ? 0 : moving ? clock_now() : stopped_at_;
  auto made = Model::load(**where, memory(), now, [this] { return cancelled(); });
  if (!made) {
    Error why = made.error();
    for (const std::string& w : target_->warnings()) why.message += "; " + w;  // a core that was cut, often enough
    return why;
  }
  model_ = std::move(*made);
  return model_.get();
}

Result<Stacks*> Session::stacks() {
  if (stacks_) return stacks_.get();
  auto m = model();
  if (!m) return m.error();
  stacks_ = std::make_unique<Stacks>(*this, **m, program(), unwinder());
  return stacks_.get();
}

Result<HeapState*> Session::heap() {
  if (heap_) return heap_.get();
  auto m = model();
  if (!m) return m.error();
  progress("reading the heap's spans");
  auto made = HeapState::load(*this, **m);
  progress("");
  if (!made) return made.error();
  heap_ = std::move(*made);
  return heap_.get();
}

Describer& Session::describer() {
  if (!describer_) describer_ = std::make_unique<Describer>(*this);
  return *describer_;
}

Session* Session::of_file(std::string& why) {
  if (file_) return file_.get();
  if (program_file.empty()) {
    why = "there is no program: nothing to inspect";
    return nullptr;
  }
  auto opened = open_file(program_file);
  if (!opened) {
    why = opened.error().message;
    return nullptr;
  }
  file_ = std::make_unique<Session>();
  file_->set_target(std::move(*opened));
  return file_.get();
}

void Session::begin_command() {
  while (!queues_.empty() && !queues_.back().executing) queues_.pop_back();
  if (queues_.empty()) cancelled_ = false;  // else it is one of a command's, and that shall see that this was stopped
  queues_.emplace_back();
}

void Session::set_actions(std::unique_ptr<ActionSource> source) {
  if (queues_.empty()) queues_.emplace_back();
  queues_.back().source = std::move(source);
}

Action Session::next_action() {
  if (queues_.empty() || queues_.back().executing) return {};
  Queue& queue = queues_.back();
  Action action = queue.source ? queue.source->next() : Action{};
  if (action.kind == Action::Kind::none) {
    queues_.pop_back();
    return action;
  }
  queue.waiting = true;
  queue.executing = action.kind == Action::Kind::execute;
  if (action.kind == Action::Kind::select) select(action.goid, action.g);
  if (action.kind == Action::Kind::deselect) deselect();
  return action;
}

void Session::action_done(bool ok, std::string_view message, Sink& sink) {
  while (!queues_.empty() && !queues_.back().waiting) queues_.pop_back();
  if (queues_.empty()) return;
  Queue& queue = queues_.back();
  queue.waiting = queue.executing = false;
  queue.source->done(ok, message, sink);
}

}  // namespace vitrine::inspect
