// objects.h: what goroutines wait on — channels, mutexes, rw_mutexes, conds, onces, semaphores, wait groups, tasks — as
// plain structures, and what each goroutine waits for.
//
// Reading one object:
//   1. Its structure is read at once (Objects::read). Unreadable: an Error with the address; nothing can be said.
//   2. Its queues of sudogs are walked from `first` by `next`. A walk ends at the end of the list, at a sudog that
//      cannot be read, at one seen before, or after kMaxQueue; whichever it was is an entry of `errors`, with the
//      address.
//   3. What cannot be (more values than places, a queue whose `last` is not its end, a goroutine that does not exist)
//      is said in `errors` and not believed further; the rest of the object is shown all the same.
//
// Who holds an object is known only where the runtime writes it down: mutex and rw_mutex (its writer), once (who runs
// the function), task (the goroutine that computes it). For the others, and for an owner that is gone, the holder is
// unknown and `why` says why. Nothing here is guessed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model.h"
#include "session.h"
#include "stacks.h"
#include "values.h"

namespace vitrine::inspect {

enum class ObjectKind : std::uint8_t { unknown, chan, mutex, rw_mutex, cond, once, semaphore, wait_group, task };
std::string_view kind_text(ObjectKind kind);  // "chan", "mutex", …; "object" for unknown
std::optional<ObjectKind> kind_of_word(std::string_view word);
std::span<const std::string_view> kind_words();          // all but unknown
ObjectKind kind_of_type(std::string_view runtime_type);  // "hchan"; unknown: none of ours

enum class Side : std::uint8_t { unknown, receive, send, lock, read, write, wait, join };
std::string_view side_text(Side side);

// One goroutine on a queue.
struct Waiter {
  std::uint64_t sudog = 0, g = 0;
  std::uint64_t elem = 0;           // where its value is, or is to go; 0: none
  std::uint32_t goroutine = kNone;  // index; kNone: there is none at g
  Side side = Side::unknown;
  bool select = false;  // by one of several cases
};

struct SyncObject {
  ObjectKind kind = ObjectKind::unknown;
  std::uint64_t addr = 0;
  // chan
  std::uint64_t qcount = 0, dataqsiz = 0, buf = 0, elemsize = 0, recvx = 0, sendx = 0;
  std::int32_t handles = 0;
  bool closed = false;
  std::string type;  // of the elements; "" not known
  // the others
  std::uint64_t state = 0;  // the word that holds it; its meaning is the kind's
  std::uint64_t owner = 0;  // goid as the runtime wrote it down
  bool running = false;     // once
  bool busy = false;        // somebody holds its inner lock: it is being changed
  // A reader-writer lock that counts its readers: how many hold it, how many wait behind the writer that has announced
  // itself, and whether one has. It writes as soon as no reader holds the lock.
  struct Readers {
    std::int64_t hold = 0, behind = 0;
    bool writer = false;
  };
  std::optional<Readers> readers;
  bool queues_read = false;
  std::vector<Waiter> waiters;
  std::vector<std::string> errors;
  // Of the buffer: how many values can be read, at most qcount.
  std::uint64_t buffered() const;
  std::uint64_t value_at(std::uint64_t i) const;  // address of the ith, oldest first
  std::size_t on(Side side) const;
};

struct Holder {
  enum class How : std::uint8_t { nobody, goroutine, unknown };
  How how = How::unknown;
  std::uint64_t goid = 0;
  std::uint32_t goroutine = kNone;  // index; kNone although How::goroutine: goid no longer exists
  std::string why;                  // How::unknown
};

// One thing that a goroutine waits for. A select has several.
struct Wait {
  ObjectKind kind = ObjectKind::unknown;
  Side side = Side::unknown;
  std::uint64_t object = 0;
};
struct Waits {
  bool select = false;
  std::vector<Wait> on;
  std::vector<std::string> errors;
};

class Objects {
 public:
  Objects(Session& session, Model& model) : session_(session), model_(model) {}
  Model& model() { return model_; }

  // queues false: only the structure itself, for walks over all goroutines.
  Result<SyncObject> read(ObjectKind kind, std::uint64_t addr, bool queues = true);
  Holder holder(const SyncObject& object) const;
  // "locked, waiters", "3 of 4 buffered, closed", "2 permits".
  std::string state_text(const SyncObject& object) const;

  Waits waits_of(const Goroutine& g);
  // A goroutine that was readied with what it waited for in hand, but is still marked as waiting.
  bool served(const Goroutine& g);
  bool foreign(const Goroutine& g) const;
  std::uint32_t goroutine_at(std::uint64_t g);  // index by address; kNone

  // Every object that some goroutine waits on, each once, in the order of goroutines. nullopt: cancelled.
  struct WaitedOn {
    ObjectKind kind;
    std::uint64_t addr;
  };
  std::optional<std::vector<WaitedOn>> waited_on(std::vector<std::string>& errors);
  // What kind the object at an address is, by who waits on it; unknown: nobody does. who: one of them.
  ObjectKind kind_by_waiters(std::uint64_t addr, std::uint32_t& who);
  // Whether the memory at an address looks like a channel.
  bool looks_like_chan(std::uint64_t addr);
  // A type by the runtime's own description of it at `type`.
  Values::Described described_type(std::uint64_t type);

 private:
  class Structure;
  void walk(SyncObject& object, const char* queue, std::uint64_t first, std::uint64_t last, Side side);
  void check_chan(SyncObject& object);
  void count_readers(SyncObject& object, const Structure& structure) const;
  std::string rw_text(const SyncObject& object) const;
  Side side_in_chan(std::uint64_t chan, std::uint64_t sudog);

  // Of a runtime that keeps those who wait for locks in one table, by the address of the lock's semaphore.
  void read_semas();
  std::uint64_t sema_of(std::uint64_t g);  // 0: none
  // What a goroutine waits for at its semaphore: by the functions on its stack, else by its wait reason.
  struct SemaUse {
    ObjectKind kind = ObjectKind::semaphore;
    Side side = Side::wait;
    std::uint64_t offset = 0;  // of the semaphore in the object
  };
  SemaUse sema_use(std::uint64_t g, ObjectKind kind, Side side);
  std::optional<SemaUse> sema_use_by_stack(std::uint32_t shape);
  // An object's waiters in that table, in the order of its queues.
  void take_waiters(SyncObject& object);
  std::string type_name(std::uint64_t type, std::uint32_t offset, bool star, std::vector<std::string>& errors);

  Session& session_;
  Model& model_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> by_addr_;
  struct AtSema {
    std::uint64_t sema, g;
  };
  std::vector<AtSema> by_g_, by_sema_;  // the table's entries; by_sema_ keeps the order of each queue
  bool semas_read_ = false;
  Stacks* stacks_ = nullptr;  // of those in the table; null: they could not be walked
  std::unordered_map<std::uint32_t, std::optional<SemaUse>> uses_;  // by shape
};

// What an expression names. addr 0 never comes out.
struct ObjectPlace {
  ObjectKind kind = ObjectKind::unknown;  // unknown: it is an address and nothing more
  std::uint64_t addr = 0;
  std::string type;  // of the expression, as its evaluator says
};
// A number, a host's expression, or the name of a global. Nothing that could call or assign is evaluated.
Result<ObjectPlace> find_object(Session& session, Objects& objects, std::string_view expression);

}  // namespace vitrine::inspect
