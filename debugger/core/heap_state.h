// heap_state.h: the span heap of a stopped target as plain structures — spans, arenas, mcaches, mcentrals, stack pools,
// the treap of free spans — read in bulk. One load:
//   1. The words of the one heap structure and of its statistics, in one read each; what is not described is unknown.
//   2. The list of all spans in one read; the spans themselves sorted by address and read in blocks, as goroutines are:
//      a million take some tenths of a second and about 160 bytes each. A span that cannot be read stays in the list.
//   3. Spans that have pages sorted by these: which span an address is in is one binary search.
// Mcaches, who uses which stack, lists and the treap are read when a command asks for them. Every walk is bounded, ends
// at a link that cannot be read or was seen before, and says so.
//
// Who has a span is said by the span itself (its state, its owner, which list it says it is on): one look at each span,
// never at all lists for each. That lists and spans agree is `mheap check`'s business (heap_check.h).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "model.h"
#include "sched_state.h"
#include "session.h"

namespace vitrine::inspect {

struct Span {
  std::uint64_t addr = 0;  // of the structure
  std::uint64_t base = 0, npages = 0, limit = 0;
  std::uint64_t list = 0, next = 0, prev = 0;
  std::uint64_t freeindex = 0, nelems = 0, elemsize = 0, alloc_cache = 0;
  std::uint64_t alloc_bits = 0, mark_bits = 0, slotguard = 0, specials = 0;
  std::int64_t unused_since = 0;
  std::uint64_t manual_free = 0;  // Go: the first of its free stacks, linked through their first words
  std::uint32_t sweepgen = 0;
  std::uint16_t alloc_count = 0;
  std::uint8_t spanclass = 0, state = 0, owner = 0;
  bool scavenged = false, incache = false, needzero = false, unreadable = false;
  std::uint8_t sizeclass() const { return spanclass >> 1; }
  bool noscan() const { return spanclass & 1; }
};
static_assert(sizeof(Span) <= 160, "a million of these must stay under 160 MB");

// What a span is, whatever number the program has for it.
enum class SpanKind : std::uint8_t {
  unreadable,
  dead,
  free,
  small,          // objects of one class
  large,          // one object
  stack_pool,     // stacks of one size
  stack_large,    // one stack
  runtime,        // the runtime's own objects of one class
  runtime_large,  // one of them
  other
};

// A per-P cache.
struct HeapCache {
  std::uint64_t addr = 0;
  std::uint32_t processor = kNone;                  // index of its P; kNone: the one for who has no P
  std::vector<std::uint64_t> alloc;                 // by span class: the span; 0: none
  std::vector<std::vector<std::uint64_t>> ahead;    // by span class: spans that come after that; the last is next
  std::vector<std::vector<std::uint64_t>> objects;  // by size class: free objects of the runtime
  std::vector<std::vector<std::uint64_t>> stacks;   // by order: bases of free stacks
  std::uint64_t tiny = 0, tiny_offset = 0, tiny_allocs = 0;
  std::optional<std::uint64_t> flush_gen, raw_allocs, raw_frees;
  std::string error;
};

// One of the heap's lists of spans.
enum class ListKind : std::uint8_t {
  none,
  central_nonempty,
  central_empty,
  runtime_nonempty,
  runtime_empty,
  pool,
  large
};
struct ListName {
  ListKind kind = ListKind::none;  // none: no list that the heap has
  std::uint32_t index = 0;         // span class, size class, order or log2 of pages
};

constexpr std::uint64_t kAddressBits = 57;  // no address has more

struct Arena {
  std::uint64_t base = 0, addr = 0;  // addr: of its metadata; 0: the index has none
  std::string error;
};

struct TreapNode {
  std::uint64_t addr = 0, left = 0, right = 0, parent = 0, npages = 0, span = 0;
  std::uint32_t priority = 0, depth = 0;
  std::uint64_t reached_from = 0;
  std::string error;
};

// How the stacks of one span are used.
struct StackUse {
  std::uint32_t live = 0, cached = 0, dead = 0;
  std::uint32_t own = 0;            // the runtime's: Ms' g0's, those that signals are handled on, that of fatal errors
  std::uint32_t goroutine = kNone;  // one of the live
  std::uint64_t dead_g = 0;         // one of the dead
};

// The objects or stacks of one span, one letter each.
struct Slots {
  static constexpr char allocated = '#', marked = 'm', free = '.', cached = 'c', unknown = '?';
  std::string map;
  std::vector<std::string> errors;
  std::size_t count(char c) const;
};

struct KeptGraph;

class HeapState {
 public:
  ~HeapState();
  static Result<std::unique_ptr<HeapState>> load(Session& session, Model& model);

  Session& session() { return session_; }
  Model& model() { return model_; }
  Layout& layout() { return layout_; }
  std::uint64_t root() const { return mheap_; }
  // By address of their pages; then the dead ones and those that are unreadable.
  const std::vector<Span>& spans() const { return spans_; }
  std::size_t with_pages() const { return with_pages_; }
  std::optional<std::uint64_t> word(F f) const;  // of the heap
  std::optional<std::uint64_t> stat(F f) const;  // of the statistics
  std::uint32_t sweepgen() const { return static_cast<std::uint32_t>(word(F::mheap_sweepgen).value_or(0)); }
  std::uint64_t page_size() const { return page_size_; }
  std::uint64_t arena_bytes() const { return arena_bytes_; }

  SpanKind kind(const Span& s) const;
  std::string state_text(const Span& s) const;  // "free", "inuse", "manual", "dead", "3"
  std::string sweep_text(const Span& s) const;  // "" for spans that no sweep looks at
  std::string owner_text(const Span& s);
  std::string flaw(const Span& s) const;  // what cannot be in it, with its address; "" when it is believable
  std::uint64_t bytes(const Span& s) const { return s.npages * page_size_; }
  std::uint64_t end(const Span& s) const { return s.base + bytes(s); }
  bool has_objects(const Span& s) const;  // of one class, or one
  // How many objects it is believed to have: as many as it has room for at most.
  std::uint64_t nelems(const Span& s) const;
  std::uint32_t at_address(std::uint64_t addr) const;  // index of the span with that page; kNone
  std::uint32_t at_structure(std::uint64_t mspan);
  std::vector<std::byte> bits(std::uint64_t at, std::uint64_t n, std::string& error);
  void add_inline_marks(const Span& s, std::vector<std::byte>& marked);
  Slots slots(const Span& s);
  static bool bit(const std::vector<std::byte>& bits, std::uint64_t i) {
    return i / 8 < bits.size() && (std::to_integer<unsigned>(bits[i / 8]) >> i % 8 & 1);
  }

  const std::vector<HeapCache>& caches();
  std::string cache_name(const HeapCache& c) const;                 // "P 2", "no P"
  const HeapCache* cache_of(std::uint64_t span_structure);          // that has it as a span to allocate from; null
  const HeapCache* cache_with(std::uint64_t object);                // that has this free object or stack; null
  const std::unordered_map<std::uint32_t, StackUse>& stack_uses();  // by span index
  // The stack that an address is in, guard included, by the goroutine that has it.
  struct StackOf {
    std::uint32_t goroutine = kNone;  // index; kNone: of a dead one, or of nobody
    std::uint64_t dead_g = 0;
    std::uint32_t machine = kNone;  // index: a stack of an M's own
    bool signal = false;            // the one that it handles signals on, not its g0's
    bool fatal = false;             // the one that the runtime dies on, if there is no room on another
  };
  StackOf stack_of(std::uint64_t base);  // by the slot's first address

  std::size_t central_count() const { return area(ListKind::central_nonempty).count; }
  std::size_t runtime_count() const { return area(ListKind::runtime_nonempty).count; }
  std::size_t pool_count() const { return area(ListKind::pool).count; }
  std::size_t large_count() const { return area(ListKind::large).count; }
  std::uint64_t central(std::size_t i, bool runtime) const;
  std::uint64_t list_address(ListName name) const;
  ListName list_at(std::uint64_t list) const;
  std::string list_text(ListName name) const;
  ListWalk walk(ListName name);
  std::uint64_t lock_address(ListName name) const;
  std::optional<std::uint64_t> get(std::uint64_t structure, F f);  // nullopt: not described, or unreadable (a warning)

  const std::vector<Arena>& arenas();
  const std::vector<TreapNode>& treap();  // in the order of its keys
  const std::vector<std::string>& warnings() const { return warnings_; }
  bool spans_lost() const { return spans_lost_; }  // part of their list is unreadable: sums over them are too small
  void warn(std::string text);

  // What the commands about objects found, until the process runs; null: nothing yet.
  std::unique_ptr<KeptGraph>& kept_graph() { return kept_graph_; }

 private:
  HeapState(Session& session, Model& model);
  Status read_words();
  Status read_spans();
  void decode(const std::byte* bytes, std::uint64_t addr);
  void find_extents();
  bool in_arenas(std::uint64_t lo, std::uint64_t hi) const;
  // Where the lists of one kind lie: the first's structure, the distance to the next; list and lock within it.
  struct ListArea {
    std::uint64_t first = 0, stride = 0;
    std::size_t count = 0;
    std::uint64_t list = 0, lock = 0;
  };
  std::size_t count(F array, const char* element) const;
  void find_lists();
  const ListArea& area(ListKind kind) const { return areas_[static_cast<std::size_t>(kind)]; }
  void read_cache(std::uint64_t addr, std::uint32_t processor);

  Session& session_;
  Model& model_;
  Layout& layout_;
  std::uint64_t mheap_;
  std::uint64_t page_size_ = 0, arena_bytes_ = 0;
  std::vector<std::byte> words_, stats_;
  std::vector<Span> spans_;
  std::size_t with_pages_ = 0;
  std::optional<std::uint32_t> inuse_, manual_, free_, dead_;
  std::optional<std::uint32_t> pool_, large_, runtime_, runtime_large_;
  std::array<ListArea, 7> areas_;      // by ListKind
  std::vector<std::uint32_t> walked_;  // by span: the last walk of a list that met it
  std::uint32_t walks_ = 0;
  std::optional<std::vector<HeapCache>> caches_;
  std::unordered_map<std::uint64_t, std::uint32_t> cached_spans_, cached_objects_;
  std::unordered_map<std::uint64_t, std::uint32_t> by_structure_;
  std::optional<std::unordered_map<std::uint32_t, StackUse>> stack_uses_;
  std::unordered_map<std::uint64_t, StackOf> stacks_;
  std::optional<std::vector<Arena>> arenas_;
  bool arenas_lost_ = false;                                      // part of their list is unreadable
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents_;  // of arenas, [from, to), in order
  std::optional<std::vector<TreapNode>> treap_;
  std::vector<TreapNode> treap_part_;  // when Ctrl-C came meanwhile
  std::vector<std::string> warnings_;
  bool spans_lost_ = false;
  std::unique_ptr<KeptGraph> kept_graph_;
};

}  // namespace vitrine::inspect
