// mix_gc.cc: managed objects, made and dropped all the time, on all Ps and on goroutines that lost theirs.
//
//   trees        each builds trees and lists of managed objects, keeps some, and looks whether they are what they were;
//                they pass between goroutines through channels
//   collections  somebody asks for one every now and then; weak pointers and destructors agree with what lives
#include <chrono>

#include "mix.h"

namespace mix {

using namespace std::chrono_literals;
namespace gc = vitrine::gc;

namespace {

struct branch {
  gc::ptr<branch> left, right;
  gc::ptr<std::uint64_t> leaves;
  std::uint64_t number;
};

constexpr std::uint64_t kLeaves = 6;

branch* grow(std::uint64_t number, int depth) {
  auto b = gc::make<branch>();
  b->number = number;
  b->leaves = gc::make_array<std::uint64_t>(kLeaves);
  for (std::uint64_t i = 0; i < kLeaves; ++i) b->leaves[i] = number * kLeaves + i;
  if (depth > 0) {
    b->left = grow(2 * number, depth - 1);
    b->right = grow(2 * number + 1, depth - 1);
  }
  return b;
}

void look(const branch* b, std::uint64_t number) {
  require(b->number == number, trees, "a branch is what it was", static_cast<std::int64_t>(b->number),
          static_cast<std::int64_t>(number));
  for (std::uint64_t i = 0; i < kLeaves; ++i)
    require(b->leaves[i] == number * kLeaves + i, trees, "a leaf is what it was",
            static_cast<std::int64_t>(b->leaves[i]), static_cast<std::int64_t>(number));
  if (b->left) look(b->left, 2 * number);
  if (b->right) look(b->right, 2 * number + 1);
}

void gardener(Dice dice, vitrine::chan<gc::ptr<branch>> swap) {
  branch* kept[4] = {};
  while (!over()) {
    branch*& here = kept[dice(4)];
    switch (dice(6)) {
      case 0:
        here = nullptr;
        break;
      case 1:
        if (here != nullptr && swap.try_send(here)) here = nullptr;
        break;
      case 2:
        if (gc::ptr<branch> got; swap.try_recv(got) == vitrine::chan_status::ok) here = got;
        break;
      case 3:
        if (here != nullptr && dice.one_in(4)) compute(dice(3'000'000));
        break;
      default:
        here = grow(1, static_cast<int>(dice(7)));
    }
    for (const branch* b : kept)
      if (b != nullptr) look(b, 1);
    trees.turn();
    if (dice.one_in(10)) vitrine::sleep_for(dice.up_to(300us));
  }
}

std::atomic<std::int64_t> living;
struct counted {
  gc::ptr<counted> other;
  counted() { ++living; }
  ~counted() {
    require(other == nullptr, collections, "a destructor finds null pointers");
    --living;
  }
  VITRINE_GC_FIELDS(counted, other);
};

void collector(Dice dice) {
  gc::root<counted> kept;
  while (!over()) {
    kept = gc::make<counted>();
    kept->other = gc::make<counted>();
    kept->other->other = kept.get();
    gc::weak<counted> weak(kept.get());
    gc::collect();
    require(weak.lock() == kept.get(), collections, "a weak pointer knows its object while that lives");
    collections.turn();
    vitrine::sleep_for(dice.up_to(20'000us));
  }
}

}  // namespace

Group trees{"trees"};
Group collections{"collections"};

void start_gc() {
  vitrine::chan<gc::ptr<branch>> swap(2);
  for (std::uint64_t i = 1; i <= 3; ++i) start(trees, [i, swap] { gardener(Dice(i), swap); });
  start(collections, [] { collector(Dice(1)); });
}

}  // namespace mix
