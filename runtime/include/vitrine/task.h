// task.h: a goroutine with a result.
//
//   vitrine::task<int> t = vitrine::spawn(count, path);
//   int n = t.get();                        // waits; throws what count threw
#pragma once
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/call.h"

namespace vitrine {

template <class R>
class task;

namespace rt {

struct nothing {};

// Shared by the handle and the goroutine; the last of them deletes it.
template <class R>
struct taskresult : taskState {
  using stored = std::conditional_t<std::is_void_v<R>, nothing,
                                    std::conditional_t<std::is_reference_v<R>, std::remove_reference_t<R>*, R>>;
  std::optional<stored> value;
  std::exception_ptr error;

  taskresult() : taskState{} { refs.store(2, __ATOMIC_RELAXED); }
  void drop() {
    if (refs.add(-1, __ATOMIC_ACQ_REL) == 0) deleteheld(this);
  }
};

// The closure of spawn(). Unlike that of go() its entry has a handler: the one place where an exception is kept.
template <class R, class C>
struct taskclosure {
  taskresult<R>* result;
  std::optional<C> call;

  static void start(void* arg) {
    auto* self = static_cast<taskclosure*>(arg);
    taskresult<R>* r = self->result;
    try {
      if constexpr (std::is_void_v<R>) {
        self->call->call();
        r->value.emplace();
      } else if constexpr (std::is_reference_v<R>) {
        r->value.emplace(std::addressof(self->call->call()));
      } else {
        r->value.emplace(self->call->call());
      }
    } catch (...) {
      r->error = std::current_exception();
    }
    deleteheld(self);  // whoever joins finds the captures destroyed
    taskdone(r);
    r->drop();
  }
};

}  // namespace rt

// The handle of a spawned goroutine: move-only; its destructor waits for the goroutine (not after run(), when that may be
// frozen), and drops an exception that nobody asked for. All of it is to be used by one goroutine at a time.
template <class R>
class [[nodiscard]] task {
 public:
  task() = default;  // of nothing: valid() is false
  task(task&& other) noexcept : r_(std::exchange(other.r_, nullptr)) {}
  task& operator=(task&& other) {
    if (this != &other) {
      release();
      r_ = std::exchange(other.r_, nullptr);
    }
    return *this;
  }
  ~task() { release(); }

  bool valid() const { return r_ != nullptr; }
  bool done() const { return r_->done.load(__ATOMIC_ACQUIRE) != 0; }

  // Waits until the goroutine's function has returned; throws what it threw, each time. valid() must be true.
  void join() const {
    rt::taskwait(r_);
    rt::keepframe();
    if (r_->error) std::rethrow_exception(r_->error);
  }

  // join(), then moves the result out; the task is of nothing afterwards, also when this throws.
  R get() {
    task self(std::move(*this));
    self.join();
    if constexpr (std::is_void_v<R>)
      return;
    else if constexpr (std::is_reference_v<R>)
      return static_cast<R>(**self.r_->value);
    else
      return std::move(*self.r_->value);
  }

 private:
  template <class F, class... Args>
  friend auto spawn(F&& f, Args&&... args);

  explicit task(rt::taskresult<R>* r) : r_(r) {}

  void release() {
    if (r_ == nullptr) return;
    rt::taskleave(r_);
    std::exchange(r_, nullptr)->drop();
  }

  rt::taskresult<R>* r_ = nullptr;
};

// Like go(), and returns the task by which its result is had.
template <class F, class... Args>
[[nodiscard]] __attribute__((always_inline)) inline auto spawn(F&& f, Args&&... args) {
  rt::checkcallable<F, Args...>();
  using call = rt::closureof<F, Args...>;
  using R = typename call::result;
  using start = rt::taskclosure<R, call>;
  std::unique_ptr<rt::taskresult<R>, rt::helddelete> result(rt::newheld<rt::taskresult<R>>());
  std::unique_ptr<start, rt::helddelete> c(rt::newheld<start, rt::heldkind::closure>());
  c->call.emplace(std::in_place, std::forward<F>(f), std::forward<Args>(args)...);
  c->result = result.get();
  uintptr_t pc = rt::funcpc(c->call->f, &start::start);
  result->goid = 0;
  std::uint64_t id = rt::startgoroutine(&start::start, c.release(), pc, nullptr, 0, 0);
  result->goid = id;  // for debuggers
  return task<R>(result.release());
}

}  // namespace vitrine
