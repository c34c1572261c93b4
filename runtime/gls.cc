// gls.cc: goroutine-local values. Each gls<T> object has a key, a number given out at its first use and never again, so
// that a later object at the same address finds none of its values. g.gls points to the goroutine's own values: a hash
// table from key to node with open addressing, and the nodes in the order of their making, newest first. Only the owner
// touches them, so there is no lock; they move from thread to thread with the goroutine.
//
// The end: goexit1 calls glsdestroy on the goroutine's own stack while it is an ordinary running goroutine, so a
// destructor may park. Values are destroyed newest first, each after it has been taken out of the table; one that a
// destructor makes is destroyed next. A thread that is no goroutine has its values in a thread-local and a pthread key
// whose destructor does the same.
//
// The thread-local is read by a function of its own, never inlined: compilers keep addresses of thread-locals across
// calls, and a goroutine may change threads in any. (A thread that is no goroutine stays what it is.)
#include <pthread.h>

#include "include/vitrine/detail/rt.h"
#include "proc.h"

namespace vitrine::rt {

struct glsnode {
  uint64 key;
  void* value;
  void (*destroy)(void* value);
  glsnode* older;
};

struct gls {
  glsnode** table;  // key % cap on, up to the first null
  uint64 cap;       // a power of two
  uint64 n;         // in use; at most cap / 2
  glsnode* newest;
};

// A destructor that uses its own gls makes it again; there has to be an end.
constexpr int32 maxRemade = 1000;

static atomic<uint64> lastkey;
static __thread gls* threadvalues;
static pthread_key_t threadkey;
static pthread_once_t threadonce = PTHREAD_ONCE_INIT;

static void destroyall(gls** where);

VITRINE_NOINLINE static gls** threadslot() { return &threadvalues; }

static void endthread(void*) { destroyall(threadslot()); }
static void makekey() {
  if (pthread_key_create(&threadkey, endthread) != 0) throw_("gls: no thread-specific key is left");
}

static gls** current() {
  g* gp = getg();
  return gp != nullptr ? &gp->gls : threadslot();
}

static uint64 slotof(const gls* v, uint64 key) {
  uint64 i = key & (v->cap - 1);
  while (v->table[i] != nullptr && v->table[i]->key != key) i = (i + 1) & (v->cap - 1);
  return i;
}

void* glsget(atomic<uint64>* key) {
  entry();
  gls* v = *current();
  uint64 k = key->load(__ATOMIC_RELAXED);
  if (v == nullptr || k == 0) return nullptr;
  glsnode* node = v->table[slotof(v, k)];
  return node != nullptr ? node->value : nullptr;
}

static uint64 keyof(atomic<uint64>* key) {
  uint64 k = key->load(__ATOMIC_RELAXED);
  if (k != 0) return k;
  k = lastkey.add(1, __ATOMIC_RELAXED);
  return key->cas(0, k, __ATOMIC_RELAXED) ? k : key->load(__ATOMIC_RELAXED);
}

// Empties slot i, and moves up those behind it that would not be found across the gap.
static void erase(gls* v, uint64 i) {
  uint64 mask = v->cap - 1;
  v->table[i] = nullptr;
  for (uint64 j = (i + 1) & mask; v->table[j] != nullptr; j = (j + 1) & mask) {
    glsnode* node = v->table[j];
    v->table[j] = nullptr;
    v->table[slotof(v, node->key)] = node;
  }
}

// Fills a table of that size anew from the list of nodes.
static void rehash(gls* v, uint64 cap) {
  rawfree(v->table);
  v->table = static_cast<glsnode**>(rawalloc(cap * sizeof(glsnode*)));
  v->cap = cap;
  for (glsnode* node = v->newest; node != nullptr; node = node->older) v->table[slotof(v, node->key)] = node;
}

void glsput(atomic<uint64>* key, void* value, void (*destroy)(void* value)) {
  entry();
  gls** where = current();
  if (*where == nullptr) {
    *where = static_cast<gls*>(rawalloc(sizeof(gls)));
    if (getg() == nullptr) {
      pthread_once(&threadonce, makekey);
      pthread_setspecific(threadkey, *where);
    }
  }
  gls* v = *where;
  if ((v->n + 1) * 2 > v->cap) rehash(v, v->cap == 0 ? 4 : v->cap * 2);
  auto* node = static_cast<glsnode*>(rawalloc(sizeof(glsnode)));
  node->key = keyof(key);
  node->value = value;
  node->destroy = destroy;
  node->older = v->newest;
  v->newest = node;
  v->n++;
  v->table[slotof(v, node->key)] = node;
}

// Destructors are user code: they may park, and make values.
static void destroyall(gls** where) {
  gls* v = *where;
  int32 remade = 0;
  while (glsnode* node = v->newest) {
    uint64 before = --v->n;
    v->newest = node->older;
    erase(v, slotof(v, node->key));
    node->destroy(node->value);
    rawfree(node);
    if (v->n > before && ++remade == maxRemade) fatal("gls: destructors make new values without end");
  }
  *where = nullptr;
  rawfree(v->table);
  rawfree(v);
}

void glsdestroy(g* gp) { destroyall(&gp->gls); }

}  // namespace vitrine::rt
