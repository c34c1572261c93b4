// pipeline.cc: a small data pipeline with a goroutine for everything that waits, as a server would have. It is what
// `./dev demo` stops, and a program worth stopping: half way through its input over a thousand goroutines wait in
// channels, for a mutex, for wait groups and in sleeps, at many call depths.
//
//   feed-K       8 readers hand each document out in two chunks; between the halves they wait at a gate
//   parse-NNNN   1,200 parsers, one document each: nested lists of numbers, parsed by recursive descent. When the text
//                at hand is used up, next() receives the next chunk: so a parser waits wherever in the recursion it is
//   aggregate-K  4 of them take results from a channel and add them to a table that a mutex guards
//   snapshot     writes the table out while it holds the mutex; the disk is slow
//   stage-…      close a stage's channel when its wait group says that everybody before it is done
//   heartbeat-K  50 timers that sleep most of the time
//
//   pipeline           parses everything, prints the totals, which are checked against a direct computation
//   pipeline --abort   aborts half way, where it leaves a core
#include <vitrine/vitrine.h>

#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

using namespace std::chrono_literals;

constexpr int documents = 1200;
constexpr int readers = 8;
constexpr int aggregators = 4;
constexpr int heartbeats = 50;
constexpr int deepest = 12;

struct summary {
  int document;
  int depth;
  long sum;
};

static std::string numbered(const char* what, int n, int width) {
  char text[32];
  std::snprintf(text, sizeof text, "%s-%0*d", what, width, n);
  return text;
}

// The lists of document n are nested n % 12 + 1 deep: "(7 (8 (9 9) 8) 7)".
static int depth_of(int n) { return n % deepest + 1; }

static std::string write_document(int n) {
  std::string open, close;
  for (int level = 0; level < depth_of(n); level++) {
    std::string number = std::to_string(n + level);
    open += "(" + number + " ";
    close = number + ") " + close;
  }
  return open + close;
}

static long expected_sum(int n) {
  long sum = 0;
  for (int level = 0; level < depth_of(n); level++) sum += 2L * (n + level);
  return sum;
}

// The text of one document, received chunk by chunk.
class source {
 public:
  explicit source(vitrine::chan<std::string> chunks) : chunks_(std::move(chunks)) {}

  // The next character, 0 at the end. Waits for another chunk when this one is used up.
  char next() {
    while (at_ == chunk_.size()) {
      std::optional<std::string> more = chunks_.recv();
      if (!more) return 0;
      chunk_ = std::move(*more);
      at_ = 0;
    }
    return chunk_[at_++];
  }

 private:
  vitrine::chan<std::string> chunks_;
  std::string chunk_;
  std::size_t at_ = 0;
};

static long parse_number(source& in, char first, char& after) {
  long value = first - '0';
  while (std::isdigit(static_cast<unsigned char>(after = in.next()))) value = value * 10 + (after - '0');
  return value;
}

// One list, after its opening parenthesis.
static long parse_list(source& in, int depth, int& deepest_seen) {
  if (depth > deepest_seen) deepest_seen = depth;
  long sum = 0;
  char c = in.next();
  while (c != 0 && c != ')') {
    if (c == '(') {
      sum += parse_list(in, depth + 1, deepest_seen);
      c = in.next();
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      sum += parse_number(in, c, c);
    } else {
      c = in.next();
    }
  }
  return sum;
}

struct table {
  vitrine::mutex lock;
  std::array<long, deepest + 1> sum_by_depth{};
  int rows = 0;
};

struct pipeline {
  std::vector<vitrine::chan<std::string>> inputs;
  vitrine::chan<summary> results{64};
  vitrine::chan<int> gate;  // closed when the second half may come
  vitrine::wait_group parsers;
  vitrine::wait_group aggregating;
  table totals;
};

static void parse_document(pipeline& line, int document) {
  source in(line.inputs[document]);
  int depth = 0;
  long sum = 0;
  while (char c = in.next()) {
    if (c == '(') sum += parse_list(in, 1, depth);
  }
  line.results.send(summary{document, depth, sum});
  line.parsers.done();
}

static void wait_at(vitrine::chan<int>& gate) {
  while (gate.recv()) {
  }
}

static void feed(pipeline& line, int reader) {
  for (int half = 0; half < 2; half++) {
    if (half == 1) wait_at(line.gate);
    for (int n = reader; n < documents; n += readers) {
      std::string text = write_document(n);
      bool whole = n % 10 == 0;  // a short document: all of it fits into the first chunk
      std::size_t cut = whole ? text.size() : text.size() / 2;
      if (half == 0) line.inputs[n].send(text.substr(0, cut));
      if (half == 1 && !whole) line.inputs[n].send(text.substr(cut));
      if (half == 1 || whole) {
        if (!line.inputs[n].closed()) line.inputs[n].close();
      }
    }
  }
}

static void aggregate(pipeline& line) {
  for (summary& one : line.results) {
    std::lock_guard hold(line.totals.lock);
    line.totals.sum_by_depth[one.depth] += one.sum;
    line.totals.rows++;
  }
  line.aggregating.done();
}

static void write_page(int page) {
  constexpr auto disk = 500ms;
  (void)page;
  vitrine::sleep_for(disk);
}

static void snapshot(pipeline& line, vitrine::chan<int> holding) {
  std::lock_guard hold(line.totals.lock);
  holding.send(line.totals.rows);
  for (int page = 0; page < 2; page++) write_page(page);
}

static void heartbeat(int shard) {
  for (auto every = 1min + shard * 1s;;) vitrine::sleep_for(every);
}

// Where a debugger stops, and where --abort ends.
__attribute__((noinline)) static void half_way(bool abort_here) {
  asm volatile("" ::: "memory");
  if (abort_here) std::abort();
}

static int run_pipeline(bool abort_here) {
  pipeline line;
  for (int n = 0; n < documents; n++) line.inputs.emplace_back(1);

  vitrine::chan<int> holding;
  vitrine::go({.name = "snapshot"}, [&] { snapshot(line, holding); });
  holding.recv();

  line.parsers.add(documents);
  line.aggregating.add(aggregators);
  vitrine::chan<int> finished;
  vitrine::go({.name = "stage-results"}, [&] {
    line.parsers.wait();
    line.results.close();
  });
  vitrine::go({.name = "stage-totals"}, [&] {
    line.aggregating.wait();
    finished.close();
  });
  for (int i = 0; i < aggregators; i++) vitrine::go({.name = numbered("aggregate", i, 1)}, [&] { aggregate(line); });
  for (int i = 0; i < readers; i++) vitrine::go({.name = numbered("feed", i, 1)}, [&line, i] { feed(line, i); });
  for (int n = 0; n < documents; n++) {
    vitrine::go({.name = numbered("parse", n, 4)}, [&line, n] { parse_document(line, n); });
  }
  for (int i = 0; i < heartbeats; i++) vitrine::go({.name = numbered("heartbeat", i, 2)}, heartbeat, i);

  vitrine::sleep_for(200ms);  // by now everybody waits
  half_way(abort_here);
  line.gate.close();
  wait_at(finished);

  long sum = 0, expected = 0;
  for (long part : line.totals.sum_by_depth) sum += part;
  for (int n = 0; n < documents; n++) expected += expected_sum(n);
  std::printf("%d documents, sum %ld\n", line.totals.rows, sum);
  if (sum != expected || line.totals.rows != documents) {
    std::printf("expected %d documents, sum %ld\n", documents, expected);
    return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  bool abort_here = argc == 2 && std::strcmp(argv[1], "--abort") == 0;
  if (argc > 1 && !abort_here) {
    std::fprintf(stderr, "usage: pipeline [--abort]\n");
    return 2;
  }
  return vitrine::run([abort_here] { return run_pipeline(abort_here); });
}
