// walk_many_bench.cc: how long the unwinder alone takes over all stacks of a core (or of a process), without listing,
// naming or merging them: the floor of `goroutine stacks`.
//
//   walk_many_bench CORE PROGRAM [REPEAT]      |      walk_many_bench -p PID [REPEAT]
//
// The contexts come from allgs through DWARF. Per repetition one line of JSON: goroutines, frames, distinct stacks,
// stacks that did not end cleanly, seconds, microseconds per goroutine, and the memory that was touched. The first
// repetition is the cold one: its page faults and its CFI rows are not yet there.
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "program.h"
#include "target.h"
#include "unwind.h"

using namespace vitrine::inspect;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

long status_kib(const char* key) {
  std::FILE* f = std::fopen("/proc/self/status", "r");
  char line[256];
  long kib = 0;
  while (f && std::fgets(line, sizeof line, f))
    if (std::strncmp(line, key, std::strlen(key)) == 0) kib = std::atol(line + std::strlen(key) + 1);
  if (f) std::fclose(f);
  return kib;
}

std::uint64_t at(const Type* type, std::initializer_list<const char*> path) {
  std::uint64_t offset = 0;
  for (const char* name : path) {
    const Field* f = type ? type->field(name) : nullptr;
    if (!f) {
      std::fprintf(stderr, "no field %s\n", name);
      std::exit(1);
    }
    offset += f->offset;
    type = f->type;
  }
  return offset;
}

std::vector<Unwinder::Context> contexts_of(Program& program, Memory& memory) {
  const Type* g = program.type("vitrine::rt::g");
  const auto allgs = program.variable("vitrine::rt::allgs");
  if (!g || allgs.empty()) {
    std::fprintf(stderr, "not a program with the runtime\n");
    std::exit(1);
  }
  const std::uint64_t sp = at(g, {"sched", "sp"}), pc = at(g, {"sched", "pc"}), bp = at(g, {"sched", "bp"});
  const std::uint64_t lo = at(g, {"stack", "lo"}), hi = at(g, {"stack", "hi"}), status = at(g, {"atomicstatus"});
  const std::uint64_t array = memory.get<std::uint64_t>(allgs[0].address).value_or(0);
  const std::uint64_t len = memory.get<std::uint64_t>(allgs[0].address + 8).value_or(0);
  std::vector<std::uint64_t> pointers(len);
  std::vector<Unwinder::Context> out;
  if (!memory.read(array, std::as_writable_bytes(std::span(pointers)))) return out;
  out.reserve(len);
  std::vector<std::byte> bytes(g->size);
  for (std::uint64_t p : pointers) {
    if (!memory.read(p, bytes)) continue;
    const auto word = [&](std::uint64_t offset) {
      std::uint64_t v;
      std::memcpy(&v, bytes.data() + offset, 8);
      return v;
    };
    std::uint32_t s;
    std::memcpy(&s, bytes.data() + status, 4);
    if ((s & 0xfff) != 4) continue;  // Gwaiting
    out.push_back({word(pc), word(sp), word(bp), {word(lo), word(hi)}});
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: walk_many_bench CORE PROGRAM [REPEAT] | walk_many_bench -p PID [REPEAT]\n");
    return 2;
  }
  const double start = seconds();
  auto target =
      std::strcmp(argv[1], "-p") == 0 ? open_process(std::atoi(argv[2]), true) : open_core(argv[1], argv[2], false);
  if (!target) {
    std::fprintf(stderr, "%s\n", target.error().message.c_str());
    return 1;
  }
  const int repeat = argc > 3 ? std::atoi(argv[3]) : 3;
  auto program = Program::open(**target);
  Memory memory(**target);
  Unwinder unwinder(*program, memory);
  const double opened = seconds();
  const auto contexts = contexts_of(*program, memory);
  const double read = seconds();
  std::printf("{\"open_s\": %.3f, \"contexts_s\": %.3f, \"goroutines\": %zu}\n", opened - start, read - opened,
              contexts.size());
  for (int i = 0; i < repeat; i++) {
    std::atomic<std::uint64_t> frames{0}, bad{0};
    std::vector<std::uint64_t> hashes(contexts.size());
    const double before = seconds();
    unwinder.walk_many(
        contexts,
        [&](std::size_t index, const std::uint64_t* pcs, std::size_t count, StackEnd end, std::uint64_t) {
          std::uint64_t h = 0;
          for (std::size_t k = 0; k < count; k++) h = (h ^ pcs[k]) * 0x9e3779b97f4a7c15ull + (h >> 29);
          hashes[index] = h;
          frames.fetch_add(count, std::memory_order_relaxed);
          if (end != StackEnd::bottom) bad.fetch_add(1, std::memory_order_relaxed);
        },
        {});
    const double took = seconds() - before;
    const std::unordered_set<std::uint64_t> distinct(hashes.begin(), hashes.end());
    std::printf("{\"frames\": %" PRIu64 ", \"stacks\": %zu, \"not_clean\": %" PRIu64
                ", \"seconds\": %.3f, \"us_per_goroutine\": %.3f, \"ns_per_frame\": %.1f, \"rss_anon_mib\": %ld, "
                "\"rss_file_mib\": %ld}\n",
                frames.load(), distinct.size(), bad.load(), took, took * 1e6 / static_cast<double>(contexts.size()),
                took * 1e9 / static_cast<double>(frames.load()), status_kib("RssAnon:") / 1024,
                status_kib("RssFile:") / 1024);
    std::fflush(stdout);
  }
  return 0;
}
