// sim_report.cc: runs children with seeds and says what went wrong in one (sim.h). Names in a trace come from the
// executable's symbol table: functions by the address of the operation, globals by that of the word; the words of g, m
// and p objects by their fields.
#include <cxxabi.h>
#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "runtime2.h"
#include "sim_engine.h"

namespace vitrine::sim {

namespace {

struct Symbol {
  std::uintptr_t addr, size;
  std::string name;
};

// Functions and objects of this program, by address.
const std::vector<Symbol>& symbols() {
  static const std::vector<Symbol> all = [] {
    std::vector<Symbol> out;
    std::ifstream in("/proc/self/exe", std::ios::binary);
    std::string image((std::istreambuf_iterator<char>(in)), {});
    if (image.size() < sizeof(Elf64_Ehdr)) return out;
    std::uintptr_t base = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* p) {
          *static_cast<std::uintptr_t*>(p) = info->dlpi_addr;
          return 1;
        },
        &base);
    auto* eh = reinterpret_cast<const Elf64_Ehdr*>(image.data());
    auto* sh = reinterpret_cast<const Elf64_Shdr*>(image.data() + eh->e_shoff);
    for (int i = 0; i < eh->e_shnum; i++) {
      if (sh[i].sh_type != SHT_SYMTAB) continue;
      auto* sym = reinterpret_cast<const Elf64_Sym*>(image.data() + sh[i].sh_offset);
      const char* names = image.data() + sh[sh[i].sh_link].sh_offset;
      for (std::size_t k = 0; k < sh[i].sh_size / sizeof *sym; k++) {
        int type = ELF64_ST_TYPE(sym[k].st_info);
        if ((type != STT_FUNC && type != STT_OBJECT) || sym[k].st_size == 0) continue;
        int status = 0;
        char* plain = abi::__cxa_demangle(names + sym[k].st_name, nullptr, nullptr, &status);
        std::string name = status == 0 ? plain : names + sym[k].st_name;
        free(plain);
        if (auto paren = name.find('('); paren != std::string::npos && paren != 0) name.resize(paren);
        if (name.rfind("vitrine::rt::", 0) == 0) name.erase(0, 13);
        out.push_back({base + sym[k].st_value, sym[k].st_size, name});
      }
    }
    std::sort(out.begin(), out.end(), [](const Symbol& a, const Symbol& b) { return a.addr < b.addr; });
    return out;
  }();
  return all;
}

const Symbol* symbolat(std::uintptr_t addr) {
  const auto& all = symbols();
  auto at =
      std::upper_bound(all.begin(), all.end(), addr, [](std::uintptr_t a, const Symbol& s) { return a < s.addr; });
  if (at == all.begin()) return nullptr;
  --at;
  return addr < at->addr + at->size ? &*at : nullptr;
}

struct Field {
  std::size_t offset;
  const char* name;
};
#define FIELD(type, field) \
  { offsetof(rt::type, field), #field }
constexpr Field schedfields[] = {FIELD(schedt, gcwaiting), FIELD(schedt, exiting),      FIELD(schedt, lastnow),
                                 FIELD(schedt, goidgen),   FIELD(schedt, lastpoll),     FIELD(schedt, pollUntil),
                                 FIELD(schedt, pollnote),  FIELD(schedt, lock),         FIELD(schedt, midle),
                                 FIELD(schedt, nmidle),    FIELD(schedt, nmidlelocked), FIELD(schedt, pidle),
                                 FIELD(schedt, npidle),    FIELD(schedt, nmspinning),   FIELD(schedt, needspinning),
                                 FIELD(schedt, runq),      FIELD(schedt, runqsize),     FIELD(schedt, stopwait),
                                 FIELD(schedt, stopnote),  FIELD(schedt, sysmonwait),   FIELD(schedt, sysmonnote)};
constexpr Field pfields[] = {FIELD(p, id),          FIELD(p, status), FIELD(p, link),     FIELD(p, schedtick),
                             FIELD(p, syscalltick), FIELD(p, m),      FIELD(p, runqhead), FIELD(p, runqtail),
                             FIELD(p, runnext),     FIELD(p, runq),   FIELD(p, timers)};
constexpr Field gfields[] = {FIELD(g, stack),       FIELD(g, sched),     FIELD(g, atomicstatus), FIELD(g, preempt),
                             FIELD(g, m),           FIELD(g, param),     FIELD(g, schedlink),    FIELD(g, noproc),
                             FIELD(g, stackguard0), FIELD(g, selectDone)};
constexpr Field mfields[] = {FIELD(m, curg),     FIELD(m, p),    FIELD(m, nextp),         FIELD(m, locks),
                             FIELD(m, spinning), FIELD(m, park), FIELD(m, signalPending), FIELD(m, freeWait)};

template <std::size_t N>
std::string within(const Field (&fields)[N], std::size_t offset) {
  const Field* best = nullptr;
  for (const Field& f : fields)
    if (f.offset <= offset) best = &f;
  if (best == nullptr) return "+" + std::to_string(offset);
  return "." + std::string(best->name) + (offset == best->offset ? "" : "+" + std::to_string(offset - best->offset));
}

std::string place(const Shared& s, std::uintptr_t addr) {
  if (addr == 0) return "";
  for (int i = 0; i < s.nnames; i++) {
    auto& n = s.names[i];
    if (addr - n.addr >= n.size) continue;
    std::size_t offset = addr - n.addr;
    if (n.size == sizeof(rt::p)) return n.name + within(pfields, offset);
    if (n.size == sizeof(rt::m)) return n.name + within(mfields, offset);
    if (n.size == sizeof(rt::g)) return n.name + within(gfields, offset);
    return n.name + (offset == 0 ? std::string() : "+" + std::to_string(offset));
  }
  if (const Symbol* at = symbolat(addr)) {
    std::size_t offset = addr - at->addr;
    if (at->name == "sched") return "sched" + within(schedfields, offset);
    if (at->name == "m0") return "m0" + within(mfields, offset);
    return at->name + (offset == 0 ? "" : "+" + std::to_string(offset));
  }
  char text[24];
  snprintf(text, sizeof text, "0x%lx", long(addr));
  return text;
}

const char* opname(Op op) {
  constexpr const char* names[] = {"load",  "store", "rmw",  "cas",   "fence", "read",
                                   "write", "sleep", "wake", "yield", "other"};
  return names[int(op)];
}

long fromenv(const char* name) {
  const char* s = getenv(name);
  return s == nullptr ? 0 : atol(s);
}

std::string contents(int fd) {
  std::string text(4096, 0);
  ssize_t n = pread(fd, text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : std::size_t(n));
  return text;
}

std::string traceof(const Shared& s) {
  long n = fromenv("VITRINE_TRACE");
  if (n <= 0) n = 60;
  n = std::min<long>(n, traceLength);
  std::string out;
  for (std::int64_t i = std::max<std::int64_t>(1, s.steps - n + 1); i <= s.steps; i++) {
    const Step& step = s.trace[i % traceLength];
    if (step.step != i || step.seed != s.seed) continue;  // a plain access, or nothing
    const Symbol* fn = symbolat(step.pc);
    char line[300];
    snprintf(line, sizeof line, "  %10.3f us  %2d %-8s %-5s %-28s %-18lx %s\n", double(step.time) / 1000, step.thread,
             step.thread < 32 ? s.threadnames[step.thread] : "", opname(step.op), place(s, step.addr).c_str(),
             static_cast<unsigned long>(step.value), fn == nullptr ? "" : fn->name.c_str());
    out += line;
  }
  return out;
}

// Why the child ended, empty if all is well.
std::string verdict(const Shared& s, int status) {
  if (s.failed != 0) return s.message;
  if (WIFSIGNALED(status)) return std::string("killed by signal ") + strsignal(WTERMSIG(status));
  if (s.done == 0) return "exited with status " + std::to_string(WEXITSTATUS(status)) + " in the middle of a run";
  return "";
}

[[noreturn]] void child(const Options& o, const std::function<void()>& body, std::uint64_t seed, int n) {
  if (o.preemptions < 0) alarm(100);
  if (o.preemptions >= 0) {
    engine.exhaustive = true;
    long most = fromenv("VITRINE_SYSTEMATIC_SEEDS");
    long only = fromenv("VITRINE_SEED");
    if (only != 0) most = only;
    if (most == 0) most = o.runs;
    do {
      run(body, std::uint64_t(++seed));
      engine.shared->finished = nextpath() ? 0 : 1;
    } while (engine.shared->finished == 0 && (most == 0 || long(seed) < most));
  } else {
    for (int i = 0; i < n; i++) run(body, seed + std::uint64_t(i));
  }
  engine.shared->done = 1;
  _exit(0);
}

}  // namespace

void check(const Options& options, const std::function<void()>& body) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* s = static_cast<Shared*>(memory);
  engine.shared = s;
  engine.options = options;
  int err = memfd_create("stderr", MFD_CLOEXEC);
  long only = fromenv("VITRINE_SEED"), total = fromenv("VITRINE_SYSTEMATIC_SEEDS");
  if (total == 0) total = options.runs;
  int batch = options.batch;
  if (only != 0) batch = 1;
  std::uint64_t first = only != 0 && options.preemptions < 0 ? std::uint64_t(only) : 1;
  if (only != 0 || options.preemptions >= 0) total = 1;
  if (options.preemptions >= 0) first = 0;
  fflush(nullptr);
  for (long i = 0; i < total && !testing::Test::HasFatalFailure(); i += batch) {
    s->done = s->failed = s->nthreads = 0;
    int n = int(std::min<long>(batch, total - i));
    pid_t pid = fork();
    if (pid == 0) {
      rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      dup2(err, 2);
      child(options, body, first + std::uint64_t(i), n);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
    }
    std::string why = verdict(*s, status);
    if (!why.empty()) {
      ADD_FAILURE() << why << "\n"
                    << contents(err) << "seed " << s->seed << " (VITRINE_SEED=" << s->seed << " replays it), step "
                    << s->steps << "; the last steps:\n"
                    << traceof(*s);
      break;
    }
    if (ftruncate(err, 0) != 0) break;
    lseek(err, 0, SEEK_SET);
  }
  printf("    %ld runs, at most %ld steps%s\n", long(s->runs), long(s->longest),
         options.preemptions < 0 ? ""
         : s->finished != 0      ? ", all schedules"
                                 : ", not all schedules");
  close(err);
  munmap(memory, sizeof(Shared));
}

}  // namespace vitrine::sim
