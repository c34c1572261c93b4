// gc_final_test.cc: finalizers, destructors, weak pointers: what is called, when, in which order, with what.
#include <string>

#include "gcfixture.h"

namespace {

class GcFinal : public Gc {};

struct thing {
  gc::ptr<thing> other;
  int number;
};

std::vector<int>* finalized;  // by the finalizer goroutine, read when it is at rest
gc::root<thing>* kept;

void note(thing* t) { finalized->push_back(t->number); }
void keep(thing* t) {
  finalized->push_back(t->number);
  *kept = t;
}

// Not in line: the statistics are kilobytes of frame, in which old addresses would lie.
__attribute__((noinline)) bool atrest() { return gc::stats().finalizers_run == gc::stats().finalizers_queued; }
void collectandrun() {
  collect();
  ASSERT_TRUE(eventually(atrest));
}

TEST_F(GcFinal, FinalizersRunOnceOutermostFirst) {
  std::vector<int> seen;
  finalized = &seen;
  std::vector<Hidden> all = elsewhere([] {
    auto a = gc::make<thing>(), b = gc::make<thing>(), c = gc::make<thing>();
    a->number = 1;
    b->number = 2;
    c->number = 3;
    a->other = b;
    b->other = c;
    gc::set_finalizer(c, note);
    gc::set_finalizer(a, [](thing* t) {
      finalized->push_back(t->number);
      finalized->push_back(t->other->other->number * 10);  // all that it refers to is there
    });
    gc::set_finalizer(b, note);
    return std::vector{Hidden(a.get()), Hidden(b.get()), Hidden(c.get())};
  });
  collectandrun();
  EXPECT_EQ(seen, (std::vector{1, 30}));
  collectandrun();
  EXPECT_EQ(seen, (std::vector{1, 30, 2}));
  EXPECT_FALSE(alive(all[0]));
  collectandrun();
  EXPECT_EQ(seen, (std::vector{1, 30, 2, 3}));
  collectandrun();
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_FALSE(alive(all[2]));
}

TEST_F(GcFinal, AFinalizerMayKeepItsObject) {
  std::vector<int> seen;
  gc::root<thing> saved;
  finalized = &seen;
  kept = &saved;
  Hidden h = elsewhere([] {
    auto a = gc::make<thing>();
    a->number = 5;
    gc::set_finalizer(a, keep);
    return Hidden(a.get());
  });
  collectandrun();
  EXPECT_TRUE(elsewhere([&] { return pointsto(saved.get(), h); }));
  collectandrun();
  EXPECT_TRUE(alive(h));
  EXPECT_EQ(elsewhere([&] { return saved->number; }), 5);
  saved = nullptr;
  collectandrun();
  EXPECT_FALSE(alive(h));
  EXPECT_EQ(seen.size(), 1u);
}

TEST_F(GcFinal, ReplacedAndCleared) {
  std::vector<int> seen;
  finalized = &seen;
  elsewhere([] {
    auto a = gc::make<thing>(), b = gc::make<thing>();
    a->number = 1;
    gc::set_finalizer(a, keep);
    gc::set_finalizer(a, note);
    gc::set_finalizer(b, note);
    gc::clear_finalizer(b.get());
    return 0;
  });
  collectandrun();
  collectandrun();
  EXPECT_EQ(seen, std::vector{1});
}

TEST_F(GcFinal, RingsOfFinalizersNeverRun) {
  std::vector<int> seen;
  finalized = &seen;
  Hidden h = elsewhere([] {
    auto a = gc::make<thing>(), b = gc::make<thing>();
    a->other = b;
    b->other = a;
    gc::set_finalizer(a, note);
    gc::set_finalizer(b, note);
    return Hidden(a.get());
  });
  collectandrun();
  collectandrun();
  EXPECT_TRUE(seen.empty());
  EXPECT_TRUE(alive(h));
  elsewhere([&] {
    gc::clear_finalizer(static_cast<thing*>(h.address()));
    gc::clear_finalizer(static_cast<thing*>(h.address())->other.get());
    return 0;
  });
}

// ---- destructors

std::atomic<int> destroyed, notnull;
struct owner {
  gc::ptr<owner> next;
  std::string text;
  explicit owner(const char* t) : text(t) {}
  ~owner() {
    if (next != nullptr || text.empty()) notnull++;
    destroyed++;
  }
  VITRINE_GC_FIELDS(owner, next);
};

TEST_F(GcFinal, DestructorsRunOnceWithNullPointersRingsToo) {
  destroyed = notnull = 0;
  auto h = elsewhere([] {
    auto a = gc::make<owner>("a text that is too long for a small string");
    a->next = gc::make<owner>("another one of these long texts, on the heap");
    a->next->next = a;
    return std::pair(Hidden(a.get()), Hidden(a->next.get()));
  });
  EXPECT_EQ(destroyed, 0);
  collectandrun();
  EXPECT_EQ(destroyed, 2);
  EXPECT_EQ(notnull, 0);
  collectandrun();
  EXPECT_EQ(destroyed, 2);
  EXPECT_FALSE(alive(h.first));
  EXPECT_FALSE(alive(h.second));
}

struct counted {
  counted() = default;
  ~counted() { destroyed++; }
  char c;
  VITRINE_GC_FIELDS(counted);
};

TEST_F(GcFinal, DestructorsOfArraysAndOfTinyObjects) {
  destroyed = 0;
  elsewhere([] {
    gc::make_array<counted>(1000);
    for (int i = 0; i < 100; i++) gc::make<counted>();
    return 0;
  });
  collectandrun();
  collectandrun();
  // The last block of tiny objects may be one that another goroutine's object shares.
  EXPECT_GE(destroyed, 1080);
  EXPECT_LE(destroyed, 1100);
}

TEST_F(GcFinal, AFinalizerComesBeforeTheDestructor) {
  destroyed = 0;
  static std::string text;
  elsewhere([] {
    auto a = gc::make<owner>("text");
    gc::set_finalizer(a, [](owner* o) { text = o->text + std::to_string(destroyed.load()); });
    return 0;
  });
  collectandrun();
  EXPECT_EQ(text, "text0");
  EXPECT_EQ(destroyed, 0);
  collectandrun();
  EXPECT_EQ(destroyed, 1);
}

struct thrower {
  gc::ptr<thrower> p;
  thrower() { throw 5; }
  ~thrower() { destroyed++; }
  VITRINE_GC_FIELDS(thrower, p);
};

TEST_F(GcFinal, AnObjectWhoseConstructorThrewIsNotDestroyed) {
  destroyed = 0;
  elsewhere([] {
    EXPECT_THROW(gc::make<thrower>(), int);
    return 0;
  });
  collectandrun();
  EXPECT_EQ(destroyed, 0);
}

// ---- weak

TEST_F(GcFinal, WeakPointersAreNullWhenTheirObjectIsGone) {
  gc::root<thing> r;
  gc::weak<thing> w, same, other;
  elsewhere([&] {
    r = gc::make<thing>().get();
    w = gc::weak<thing>(r.get());
    same = gc::weak<thing>(r.get());
    other = gc::weak<thing>(gc::make<thing>());
    return 0;
  });
  collect();
  EXPECT_EQ(elsewhere([&] { return w.lock() == r.get() && same.lock() == r.get() && other.lock() == nullptr; }), true);
  gc::weak<thing> copy = w;
  w = nullptr;
  r = nullptr;
  collect();
  EXPECT_EQ(copy.lock(), nullptr);
  EXPECT_EQ(same.lock(), nullptr);
  EXPECT_EQ(w.lock(), nullptr);
}

TEST_F(GcFinal, AWeakPointerNeverShowsADeadObjectThatIsNotSweptYet) {
  std::vector<gc::weak<thing>> all;
  elsewhere([&] {
    for (int i = 0; i < 20'000; i++) all.emplace_back(gc::make<thing>());
    return 0;
  });
  wipe();
  rt::gcStart({rt::gcTrigger::cycle, rt::work.cycles + 1});  // waits for nothing
  EXPECT_TRUE(eventually([] { return rt::gcphase.load() == rt::GCoff; }));
  int living = 0;
  for (auto& w : all) living += w.lock() != nullptr;
  EXPECT_LE(living, 2);
}

TEST_F(GcFinal, WeakIsGoneBeforeTheFinalizerRuns) {
  static gc::weak<thing> w;
  static int seen;
  seen = 0;
  elsewhere([] {
    auto a = gc::make<thing>();
    w = gc::weak<thing>(a);
    gc::set_finalizer(a, [](thing*) { seen = w.lock() == nullptr ? 1 : 2; });
    return 0;
  });
  collectandrun();
  EXPECT_EQ(seen, 1);
  w = nullptr;
}

TEST_F(GcFinal, AWeakPointerThatIsLockedKeeps) {
  gc::weak<thing> w;
  elsewhere([&] {
    auto a = gc::make<thing>();
    w = gc::weak<thing>(a);
    a = nullptr;
    gc::ptr<thing> locked = w.lock();
    collect();
    EXPECT_EQ(w.lock(), locked);
    return 0;
  });
  collect();
  EXPECT_EQ(w.lock(), nullptr);
}

}  // namespace
