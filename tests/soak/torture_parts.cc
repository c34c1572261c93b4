// torture_parts.cc: who torments the collector.
//
//   graph       nodes that point to any others; pointers move, are exchanged, copied and cleared as bytes
//   lists       lists that pass between goroutines through channels and select, and lose their head or their tail
//   arrays      arrays, large ones too, that only a pointer to their middle, or past their end, keeps
//   weak        weak pointers, and what they say of objects that come and go
//   finalizers  chains, whose finalizers must run from the outermost in; destructors, also of rings
//   registers   an object that only a callee-saved register of a parked goroutine knows
//   spinners    … or a register of one that computes and loses its P
//   exceptions  … or an exception that is thrown through frames which wait
//   births      … or the closure of a goroutine, the result of a task, a gls value, or the function of a timer
//   tiny        objects of a few bytes, which share blocks
#include <stdexcept>
#include <vector>

#include "torture.h"

// void* torture_hold_REG(uintptr hidden, void (*fn)(void*), void* arg): calls fn(arg) with ~hidden in the callee-saved
// register, and nowhere else; returns what is there afterwards.
#define HOLD(REG)                                                                                                   \
  extern "C" void* torture_hold_##REG(std::uintptr_t hidden, void (*fn)(void*), void* arg);                         \
  asm(".text\n.globl torture_hold_" #REG "\n.type torture_hold_" #REG ", @function\ntorture_hold_" #REG             \
      ":\n.cfi_startproc\npushq %rbp\n.cfi_adjust_cfa_offset 8\nmovq %rsp, %rbp\npushq %" #REG "\npushq %" #REG     \
      "\n.cfi_adjust_cfa_offset 16\nmovq %rdi, %" #REG "\nnotq %" #REG "\nmovq %rdx, %rdi\ncall *%rsi\nmovq %" #REG \
      ", %rax\npopq %" #REG "\npopq %" #REG                                                                         \
      "\npopq %rbp\n.cfi_adjust_cfa_offset -24\nret\n.cfi_endproc\n.size "                                          \
      "torture_hold_" #REG ", . - torture_hold_" #REG "\n")
HOLD(rbx);
HOLD(r12);
HOLD(r13);
HOLD(r14);
HOLD(r15);

// void* torture_spin(uintptr hidden, uintptr turns): counts, with ~hidden in a register that no call keeps.
extern "C" void* torture_spin(std::uintptr_t hidden, std::uintptr_t turns);
asm(R"(
.text
.globl torture_spin
.type torture_spin, @function
torture_spin:
  .cfi_startproc
  movq %rdi, %r10
  notq %r10
  xorl %edi, %edi
1: decq %rsi
  jnz 1b
  movq %r10, %rax
  ret
  .cfi_endproc
.size torture_spin, . - torture_spin
)");

namespace torture {

using namespace std::chrono_literals;

namespace {

std::uintptr_t hide(const void* p) { return ~reinterpret_cast<std::uintptr_t>(p); }
__attribute__((noinline)) std::uintptr_t hidden_node(std::uint64_t number) {
  return hide(make(number, make(number + 1)));
}

// ---- graph

constexpr std::uint64_t kSlots = 64;

void graph(Dice dice) {
  auto all = gc::make_array<gc::ptr<Node>>(kSlots);
  std::uint64_t made = 0;
  while (!over()) {
    gc::ptr<Node>& slot = all.get()[dice(kSlots)];
    switch (dice(8)) {
      case 0:
      case 1:
        slot = make(++made, slot);
        break;
      case 2:
        if (slot != nullptr) slot = slot->next;
        break;
      case 3: {  // from one to another, by way of the stack
        Node* moved = slot;
        slot = nullptr;
        gc::ptr<Node>& to = all.get()[dice(kSlots)];
        if (moved != nullptr) moved->other = to;
        to = moved;
        break;
      }
      case 4:
        if (slot != nullptr) std::swap(slot->next, slot->other);
        break;
      case 5:
        if (dice.one_in(4)) gc::clear(all.get() + dice(kSlots - 16), 16);
        break;
      case 6:
        if (dice.one_in(4)) gc::copy(all.get() + dice(kSlots - 16), all.get() + dice(kSlots - 16), 16);
        break;
      default:
        if (slot != nullptr && slot->next != nullptr) slot->next->next = nullptr;  // nothing gets long
    }
    int depth = 0;
    for (Node *at = slot, *then = nullptr; at != nullptr && depth < 8; at = then, depth++) {
      require_sound(at, "graph");
      then = dice.one_in(3) ? at->other : at->next;
    }
    if (dice.one_in(8)) vitrine::yield();
  }
}

// ---- lists

vitrine::chan<gc::ptr<Node>>& belt(std::size_t i) {
  static vitrine::chan<gc::ptr<Node>> belts[] = {vitrine::chan<gc::ptr<Node>>(0), vitrine::chan<gc::ptr<Node>>(3)};
  return belts[i];
}

void lists(Dice dice) {
  Node* mine = nullptr;
  std::uint64_t made = 0;
  while (!over()) {
    switch (dice(5)) {
      case 0:
      case 1:
        mine = make(++made, mine);
        break;
      case 2:
        if (mine != nullptr) mine = mine->next;
        break;
      case 3: {
        Node* last = mine;
        for (int i = 0; i < 10 && last != nullptr; i++) last = last->next;
        if (last != nullptr) last->next = nullptr;
        break;
      }
      default:
        vitrine::select(vitrine::on_send(belt(0), gc::ptr<Node>(mine), [&] { mine = nullptr; }),
                        vitrine::on_send(belt(1), gc::ptr<Node>(mine), [&] { mine = nullptr; }),
                        vitrine::on_recv(belt(0), [&](auto got) { mine = got ? got->get() : nullptr; }),
                        vitrine::on_recv(belt(1), [&](auto got) { mine = got ? got->get() : nullptr; }),
                        vitrine::on_timeout(100us, [] {}));
    }
    int length = 0;
    for (Node* at = mine; at != nullptr; at = at->next) {
      require_sound(at, "lists");
      if (++length == 30) at->next = nullptr;
    }
  }
}

// ---- arrays

struct Pair {
  gc::ptr<Node> first;
  std::uint64_t number;
};

void arrays(Dice dice) {
  constexpr std::size_t lengths[] = {1, 3, 50, 700, 5000};
  while (!over()) {
    const std::size_t n = lengths[dice(dice.one_in(20) ? 5 : 4)], at = dice(n), step = 1 + n / 20;
    const std::size_t known = dice.one_in(3) ? n : at;  // n: past the end
    Pair* middle = [&] {
      auto array = gc::make_array<Pair>(n);
      for (std::size_t i = 0; i < n; i += step) array.get()[i] = {make(i), i};
      return array.get() + known;
    }();
    for (int i = 0; i < 3; i++) vitrine::yield();
    if (dice.one_in(16)) gc::collect();
    Pair* array = middle - known;
    for (std::size_t i = 0; i < n; i += step) {
      require(array[i].number == i && array[i].first->number == i, "arrays", "an element is what it was",
              array[i].number, i);
      require_sound(array[i].first, "arrays");
    }
    // An element's node, and a word of its middle only.
    const std::uint64_t* inside = &array[0].first->check;
    array = middle = nullptr;
    vitrine::yield();
    require(*inside == check_of(0), "arrays", "a word in a node keeps it", *inside);
  }
}

// ---- weak

void weak(Dice dice) {
  constexpr std::size_t kept = 16;
  std::vector<gc::root<Node>> roots(kept);
  std::vector<gc::weak<Node>> weaks(kept);
  std::uint64_t made = 0;
  while (!over()) {
    const std::size_t i = dice(kept);
    switch (dice(4)) {
      case 0:
        roots[i] = make(++made);
        weaks[i] = roots[i].get();
        break;
      case 1:
        roots[i] = nullptr;
        break;
      case 2:
        if (roots[i] != nullptr)
          require(weaks[i].lock() == roots[i].get(), "weak", "a weak pointer knows its object while that lives",
                  roots[i]->number);
        break;
      default:
        // Only the weak pointer may have it; if it gives it, that is enough.
        if (Node* n = weaks[i].lock()) {
          roots[i] = nullptr;
          vitrine::yield();
          require_sound(n, "weak");
        }
    }
    if (dice.one_in(4)) vitrine::yield();
  }
}

// ---- finalizers, destructors

constexpr std::uint64_t kChain = 4;
std::atomic<std::uint64_t> to_end, ended;

struct Chain {  // malloc's: the nodes are dead when it is asked
  std::uint64_t next = 0;
};
struct Linked {
  gc::ptr<Linked> inner;
  Chain* chain;
  std::uint64_t place, check;
};
}  // namespace
}  // namespace torture
template <>
struct vitrine::gc::type_traits<torture::Linked> {
  static void fields(auto& visit, torture::Linked& l) { visit(l.inner); }
};
namespace torture {
namespace {

struct Ring {
  gc::ptr<Ring> other;
  Ring() { to_end++; }
  ~Ring() {
    require(other == nullptr, "finalizers", "a destructor finds null pointers");
    ended++;
  }
  VITRINE_GC_FIELDS(Ring, other);
};

void finalize(Linked* l) {
  require(l->check == check_of(l->place), "finalizers", "a finalizer finds its object as it was", l->place, l->check);
  require(l->chain->next == l->place, "finalizers", "finalizers run from the outermost in", l->chain->next, l->place);
  if (l->inner != nullptr) require(l->inner->place == l->place + 1, "finalizers", "… and find what it refers to");
  if (++l->chain->next == kChain) delete l->chain;
  ended++;
}

__attribute__((noinline)) void chain() {
  auto* c = new Chain;
  Linked* inner = nullptr;
  for (std::uint64_t i = kChain; i-- > 0;) {
    inner = gc::make<Linked>(inner, c, i, check_of(i));
    to_end++;
    gc::set_finalizer(inner, finalize);
  }
}

void finalizers(Dice dice) {
  while (!over()) {
    if (to_end - ended < 2000) {
      chain();
      auto one = gc::make<Ring>();
      one->other = gc::make<Ring>();
      one->other->other = one;
    }
    vitrine::sleep_for(std::chrono::microseconds(dice(500)));
  }
}

// ---- registers

void registers(Dice dice) {
  using holder = void* (*)(std::uintptr_t, void (*)(void*), void*);
  constexpr holder holders[] = {torture_hold_rbx, torture_hold_r12, torture_hold_r13, torture_hold_r14,
                                torture_hold_r15};
  constexpr void (*waits[])(void*) = {
      [](void*) { vitrine::yield(); },
      [](void* us) { vitrine::sleep_for(std::chrono::microseconds(*static_cast<std::uint64_t*>(us))); },
      [](void*) { gc::collect(); },
      [](void* us) {
        vitrine::blocking_scope scope;
        timespec t{0, static_cast<long>(*static_cast<std::uint64_t*>(us) * 1000)};
        nanosleep(&t, nullptr);
      }};
  while (!over()) {
    const std::uint64_t number = dice(1 << 30);
    std::uint64_t us = dice(200);
    auto* n = static_cast<Node*>(holders[dice(5)](hidden_node(number), waits[dice(4)], &us));
    require(n->number == number, "registers", "it is the node", n->number, number);
    require_sound(n, "registers");
    require_sound(n->next, "registers");
  }
}

void spinners(Dice dice) {
  while (!over()) {
    const std::uint64_t number = dice(1 << 30);
    auto* n = static_cast<Node*>(torture_spin(hidden_node(number), 1 + dice(dice.one_in(40) ? 30'000'000 : 60'000)));
    require(n->number == number, "spinners", "it is the node", n->number, number);
    require_sound(n, "spinners");
    require_sound(n->next, "spinners");
  }
}

// ---- exceptions

struct Thrown {
  gc::root<Node> node;
};

__attribute__((noinline)) void thrower(std::uint64_t number, int depth, bool wait) {
  struct Waits {  // while the exception passes
    bool wait;
    ~Waits() {
      if (wait) vitrine::yield();
    }
  } waits{wait};
  if (depth == 0) throw Thrown{gc::root<Node>(make(number, make(number)))};
  thrower(number, depth - 1, wait);
}

void exceptions(Dice dice) {
  while (!over()) {
    const std::uint64_t number = dice(1 << 30);
    std::exception_ptr later;
    try {
      thrower(number, static_cast<int>(dice(5)), dice.one_in(2));
    } catch (const Thrown& t) {
      vitrine::yield();
      require(t.node->number == number, "exceptions", "it is the node", t.node->number, number);
      require_sound(t.node->next, "exceptions");
      later = std::current_exception();
    }
    if (dice.one_in(4)) gc::collect();
    try {
      std::rethrow_exception(later);
    } catch (const Thrown& t) {
      require_sound(t.node, "exceptions");
    }
    vitrine::sleep_for(std::chrono::microseconds(dice(100)));
  }
}

// ---- births

vitrine::gls<gc::ptr<Node>> own;

void births(Dice dice) {
  while (!over()) {
    const std::uint64_t number = dice(1 << 30);
    vitrine::wait_group group;
    auto look = [number](Node* n) {
      require(n->number == number, "births", "it is the node", n->number, number);
      require_sound(n, "births");
    };
    group.add(3);
    vitrine::go([&, n = make(number)] {
      own.get() = n->next = make(number);
      vitrine::yield();
      look(own.get());
      look(n);
      group.done();
    });
    vitrine::go([&, look, n = gc::ptr<Node>(make(number))] {
      look(n);
      group.done();
    });
    vitrine::timer timer(std::chrono::microseconds(dice(300)), [&, look, n = gc::ptr<Node>(make(number))] {
      look(n);
      group.done();
    });
    auto task = vitrine::spawn([number] { return make(number); });
    vitrine::yield();
    look(task.get());
    group.wait();
  }
}

// ---- tiny

void tiny(Dice dice) {
  constexpr std::size_t kept = 32;
  auto bytes = gc::make_array<gc::ptr<std::uint8_t>>(kept);
  auto words = gc::make_array<gc::ptr<std::uint32_t>>(kept);
  std::uint32_t values[kept] = {};
  std::uint64_t turns = 0;
  while (!over()) {
    const std::size_t i = dice(kept);
    if (values[i] != 0) {
      require(*words[i] == values[i], "tiny", "a word is what it was", *words[i], values[i]);
      require(*bytes[i] == static_cast<std::uint8_t>(values[i]), "tiny", "a byte is what it was", *bytes[i], values[i]);
    }
    values[i] = static_cast<std::uint32_t>(1 + dice(1 << 30));
    words[i] = gc::make<std::uint32_t>(values[i]);
    bytes[i] = gc::make<std::uint8_t>(static_cast<std::uint8_t>(values[i]));
    if (++turns % 8 == 0) vitrine::yield();
  }
}

}  // namespace

const Part kParts[] = {{"graph", graph, 2},       {"lists", lists, 3},           {"arrays", arrays, 2},
                       {"weak", weak, 1},         {"finalizers", finalizers, 1}, {"registers", registers, 3},
                       {"spinners", spinners, 1}, {"exceptions", exceptions, 1}, {"births", births, 1},
                       {"tiny", tiny, 1}};
const std::size_t kPartCount = std::size(kParts);

bool settled(std::uint64_t& made, std::uint64_t& seen) {
  made = to_end;
  seen = ended;
  return made == seen;
}

}  // namespace torture
