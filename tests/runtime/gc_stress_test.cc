// gc_stress_test.cc: mutators on every P against the collector, with what each structure must hold checked all along. The
// seed is printed when a test fails; VITRINE_SEED repeats it, VITRINE_GC_STRESS=N makes N times as many rounds.
#include <cstdlib>
#include <map>

#include "gcfixture.h"

namespace {

class GcStress : public Gc {};

struct generator {
  std::uint64_t state;
  std::uint64_t operator()(std::uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
  }
};

// A tree whose nodes know what they are: key order, and a checksum of key that a reused node would not have.
struct treenode {
  gc::ptr<treenode> left, right;
  std::uint64_t key, check;
  gc::ptr<std::uint64_t> payload;
};
std::uint64_t checkof(std::uint64_t key) { return key * 0x9e3779b97f4a7c15 + 1; }

treenode* newnode(std::uint64_t key) {
  auto n = gc::make<treenode>();
  n->key = key;
  n->check = checkof(key);
  n->payload = gc::make_array<std::uint64_t>(1 + key % 20);
  for (std::uint64_t i = 0; i <= key % 20; i++) n->payload[i] = key + i;
  return n.get();
}

bool sound(treenode* n, std::uint64_t lo, std::uint64_t hi, int& count) {
  if (n == nullptr) return true;
  count++;
  if (n->check != checkof(n->key) || n->key < lo || n->key >= hi) return false;
  for (std::uint64_t i = 0; i <= n->key % 20; i++)
    if (n->payload[i] != n->key + i) return false;
  return sound(n->left, lo, n->key, count) && sound(n->right, n->key + 1, hi, count);
}

void insert(gc::ptr<treenode>* at, std::uint64_t key) {
  while (*at != nullptr) {
    if ((*at)->key == key) return;
    at = key < (*at)->key ? &(*at)->left : &(*at)->right;
  }
  *at = newnode(key);
}

// Takes the node out; a node with two children is replaced by a new one.
void erase(gc::ptr<treenode>* at, std::uint64_t key) {
  while (*at != nullptr && (*at)->key != key) at = key < (*at)->key ? &(*at)->left : &(*at)->right;
  treenode* n = *at;
  if (n == nullptr) return;
  if (n->left == nullptr) {
    *at = n->right;
  } else if (n->right == nullptr) {
    *at = n->left;
  } else {
    gc::ptr<treenode>* low = &n->right;
    while ((*low)->left != nullptr) low = &(*low)->left;
    treenode* fresh = newnode((*low)->key);
    *low = (*low)->right;
    fresh->left = n->left;
    fresh->right = n->right;
    *at = fresh;
  }
}

TEST_F(GcStress, TreesChannelsAndListsOnAllPs) {
  std::atomic<int> bad{0};
  std::atomic<bool> stop{false};
  vitrine::wait_group wg;
  vitrine::chan<gc::ptr<treenode>> exchange(4);
  int n = rounds(6000);
  for (int who = 0; who < 4; who++) {
    wg.add(1);
    vitrine::go([&, seed = random(~0ull) | 1] {
      generator next{seed};
      gc::ptr<treenode> tree;
      for (int i = 0; i < n; i++) {
        insert(&tree, next(500));
        if (next(2) == 0) erase(&tree, next(500));
        if (next(50) == 0) {
          // One tree goes out, another comes in; nobody else has it.
          if (exchange.try_send(tree)) tree = nullptr;
          if (gc::ptr<treenode> got; exchange.try_recv(got) == vitrine::chan_status::ok) tree = got;
        }
        if (next(500) == 0) tree = nullptr;
        if (int count = 0; i % 50 == 0 && !sound(tree, 0, 500, count)) bad++;
        if (next(20) == 0) vitrine::yield();
      }
      wg.done();
    });
  }
  // Computes for long stretches, so that it loses its P now and then, with a list that only it knows.
  wg.add(1);
  vitrine::go([&, seed = random(~0ull) | 1] {
    generator next{seed};
    while (!stop) {
      gc::ptr<treenode> list;
      for (int i = 0; i < 200; i++) {
        treenode* fresh = newnode(std::uint64_t(i));
        fresh->left = list;
        list = fresh;
      }
      std::uint64_t spin = 0;
      for (std::uint64_t i = 0, end = next(20'000'000); i < end && !stop; i++) spin += i ^ spin << 3;
      asm volatile("" : : "r"(spin));
      int count = 0;
      for (treenode* t = list; t != nullptr; t = t->left) count += t->check == checkof(t->key);
      if (count != 200) bad++;
    }
    wg.done();
  });
  wg.add(1);
  vitrine::go([&] {
    for (int i = 0; !stop; i++) {
      gc::collect();
      vitrine::sleep_for(std::chrono::microseconds(i % 7 * 300));
    }
    wg.done();
  });
  vitrine::go([&] {
    while (gc::stats().num_gc < 20) vitrine::sleep_for(1ms);
    while (livegoroutines() > 4) vitrine::sleep_for(1ms);
    stop = true;
  });
  EXPECT_TRUE(eventually([&] { return stop.load() || bad != 0; }));
  stop = true;
  wg.wait();
  EXPECT_EQ(bad, 0);
}

struct counted {
  gc::ptr<counted> next;
  std::uint64_t number;
  static std::atomic<int> living;
  explicit counted(std::uint64_t n) : number(n) { living++; }
  ~counted() { living--; }
  VITRINE_GC_FIELDS(counted, next);
};
std::atomic<int> counted::living;

TEST_F(GcStress, WeakMapsDestructorsAndFinalizersWithRandomLives) {
  std::map<std::uint64_t, gc::root<counted>> roots;
  std::map<std::uint64_t, gc::weak<counted>> weaks;
  vitrine::mutex lock;
  int bad = 0, n = rounds(8000);
  vitrine::wait_group wg;
  for (int who = 0; who < 3; who++) {
    wg.add(1);
    vitrine::go([&, seed = random(~0ull) | 1] {
      generator next{seed};
      for (int i = 0; i < n; i++) {
        std::uint64_t key = next(200);
        std::lock_guard guard(lock);
        switch (next(4)) {
          case 0: {
            auto o = gc::make<counted>(key);
            roots.insert_or_assign(key, gc::root<counted>(o));
            weaks.insert_or_assign(key, gc::weak<counted>(o));
            break;
          }
          case 1:
            roots.erase(key);
            break;
          case 2:
            if (auto it = roots.find(key);
                it != roots.end() && (it->second->number != key || weaks[key].lock() != it->second.get()))
              bad++;
            break;
          default:
            if (auto o = weaks[key].lock(); o != nullptr && o->number != key) bad++;
        }
      }
      wg.done();
    });
  }
  wg.add(1);
  std::atomic<bool> stop{false};
  vitrine::go([&] {
    while (!stop) {
      gc::collect();
      vitrine::sleep_for(1ms);
    }
    wg.done();
  });
  eventually([] { return livegoroutines() <= 2; });
  stop = true;
  wg.wait();
  EXPECT_EQ(bad, 0);
  EXPECT_TRUE(eventually([&] {
    collect();
    int more = counted::living - int(roots.size());
    return more == 0 || more == 1;  // a stale word on some stack may keep one
  })) << counted::living
      << " of " << roots.size();
  roots.clear();
  EXPECT_TRUE(eventually([] {
    collect();
    return counted::living <= 1;
  })) << counted::living;
}

}  // namespace
