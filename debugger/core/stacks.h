// stacks.h: the stacks of goroutines, each different one kept once. A million goroutines have some thousand stacks;
// what is costly — names and lines, regular expressions — is done once per shape, not per goroutine.
//
//   1. ensure(goroutines): walks those not walked yet, in bulk; running ones one by one from their thread's registers
//      (or, when the thread stands on g0, from the saved context).
//   2. Each walk is interned: equal pcs and equal ends give the same shape (compared in full, not only by hash).
//   3. frames(shape) and user_frame(shape) ask the program for names, once.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "go_values.h"
#include "model.h"
#include "program.h"
#include "unwind.h"

namespace vitrine::inspect {

class Session;

// One source-level frame. function "": unknown. pc: as a debugger prints it (the return address).
struct SourceFrame {
  std::uint64_t pc = 0;
  std::string_view function;  // live as long as the Program's cache
  std::string_view file;
  int line = 0;
  bool inlined = false;
  bool valid() const { return pc != 0; }
};

struct Shape {
  std::vector<std::uint64_t> pcs;  // lookup pcs, innermost first
  bool exact = false;              // pcs[0] is an interrupted instruction, not in front of a return address
  StackEnd end = StackEnd::bottom;
};

class Stacks {
 public:
  Stacks(Session& session, Model& model, Program& program, Unwinder& unwinder);
  // False: cancelled.
  bool ensure(const std::vector<std::uint32_t>& goroutines);
  std::uint32_t shape_of(std::uint32_t goroutine) const { return shape_of_[goroutine]; }  // kNone: no stack
  const Shape& shape(std::uint32_t id) const { return *shapes_[id]; }
  std::size_t shape_count() const { return shapes_.size(); }
  // Why the walk of this goroutine ended early, with the address; "" when it did not.
  std::string problem(std::uint32_t goroutine) const;

  const std::vector<SourceFrame>& frames(std::uint32_t shape);
  // The first frame of the user's own code; invalid when there is none. Looks no deeper than it must.
  const SourceFrame& user_frame(std::uint32_t shape);
  // WHERE of a goroutine: user_frame, else its entry function; invalid: not known.
  SourceFrame where(std::uint32_t goroutine);
  // A code address by itself: exact (a function's entry) or a return address. Innermost inlined function first.
  SourceFrame at(std::uint64_t pc, bool exact);
  // What runtime/pprof was told of a goroutine; it inherits them from the one that created it.
  const Labels& labels(const Goroutine& g);
  // The function and line that called go(): past plumbing inlined around it.
  SourceFrame creator(const Goroutine& g);

 private:
  struct Lazy {
    std::vector<SourceFrame> frames;
    SourceFrame user;
    bool have_frames = false, have_user = false;
  };
  std::uint64_t display_pc(const Shape& shape, std::size_t frame);  // as a debugger prints it
  std::uint32_t intern(const std::uint64_t* pcs, std::size_t count, bool exact, StackEnd end);
  bool plumbing(const Location& location, std::uint64_t pc);

  Session& session_;
  Model& model_;
  Program& program_;
  Unwinder& unwinder_;
  std::vector<std::uint32_t> shape_of_;
  std::vector<bool> walked_;
  std::vector<std::unique_ptr<Shape>> shapes_;  // by number; guarded by mutex_ during a walk
  std::vector<Lazy> lazy_;
  struct Known {
    const Shape* shape;
    std::uint32_t id;
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_multimap<std::uint64_t, Known> by_hash;
  };
  std::array<Shard, 64> shards_;
  struct Bad {
    StackEnd end;
    std::uint64_t address;
  };
  std::unordered_map<std::uint32_t, Bad> bad_;
  std::unordered_map<std::uint64_t, Labels> labels_;  // by address
  std::vector<std::pair<std::uint64_t, std::uint64_t>> plumbing_ranges_;
  std::mutex mutex_;
};

// "function at file:line", "function", "0x401234", whichever is known.
std::string describe(const SourceFrame& frame);
std::string_view basename_of(std::string_view path);
// "key=value key=value"
std::string describe(const Labels& labels);

}  // namespace vitrine::inspect
