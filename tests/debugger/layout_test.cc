// The layout table: from DWARF, from the note, both against the runtime that was built, and what is wrong is named.
#include "layout.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fake_runtime.h"

namespace vitrine::inspect {
namespace {

void put(std::vector<std::byte>& bytes, const void* from, std::size_t n) {
  auto* p = static_cast<const std::byte*>(from);
  bytes.insert(bytes.end(), p, p + n);
}

// A note that describes the fake runtime, made from the layout that DWARF gives.
Program::Note note_of(const Layout& layout, std::uint64_t address) {
  Program::Note note{address, {}};
  auto u32 = [&](std::uint32_t v) { put(note.desc, &v, 4); };
  auto u64 = [&](std::uint64_t v) { put(note.desc, &v, 8); };
  auto name = [&](std::string n) {
    n.resize(32);
    put(note.desc, n.data(), 32);
  };
  std::uint32_t nroots = 0, nfields = 0;
  for (const RootSpec& r : root_table()) nroots += layout.root(r.id) != 0;
  for (const FieldSpec& f : field_table()) nfields += layout.has(f.id);
  put(note.desc, "VTRN", 4);
  u32(7);
  u64(0);
  u32(nroots);
  u32(nfields + 4 + 2);
  for (const RootSpec& r : root_table()) {
    if (!layout.root(r.id)) continue;
    name(r.variable);
    u64(layout.root(r.id) - (address + note.desc.size()));
  }
  for (const FieldSpec& f : field_table()) {
    if (!layout.has(f.id)) continue;
    name(f.name());
    u32(layout.place(f.id).offset);
    u32(layout.place(f.id).size);
  }
  for (const char* type : {"g", "m", "p", "string"}) {
    name(type);
    u32(0);
    u32(static_cast<std::uint32_t>(layout.size_of(type)));
  }
  name("gstatus:Gwaiting");
  u32(4);
  u32(0);
  name("waitReason:waitReasonCount");
  u32(3);
  u32(0);
  return note;
}

void expect_same(const Layout& a, const Layout& b) {
  for (const FieldSpec& f : field_table()) {
    EXPECT_EQ(a.has(f.id), b.has(f.id)) << f.name();
    EXPECT_EQ(a.place(f.id).offset, b.place(f.id).offset) << f.name();
    EXPECT_EQ(a.place(f.id).size, b.place(f.id).size) << f.name();
  }
  for (const RootSpec& r : root_table()) EXPECT_EQ(a.root(r.id), b.root(r.id)) << r.variable;
  for (const char* type : {"g", "m", "p", "string"}) EXPECT_EQ(a.size_of(type), b.size_of(type)) << type;
  EXPECT_EQ(a.wait_reasons(), b.wait_reasons());
}

TEST(Layout, UnwrapsSingleMembersAndNests) {
  FakeRuntime runtime;
  auto layout = Layout::find(runtime.program);
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ((*layout)->source(), Layout::Source::dwarf);
  EXPECT_EQ((*layout)->place(F::g_sched_pc).offset, 40u);
  EXPECT_EQ((*layout)->place(F::g_atomicstatus).size, 4u);
  EXPECT_EQ((*layout)->g_status(4), "waiting");
  EXPECT_EQ((*layout)->g_status(99), "99");
  EXPECT_EQ((*layout)->scan_bit(), 0x1000u);
  EXPECT_FALSE((*layout)->has(F::g_syscallsp));
}

TEST(Layout, ARequiredFieldThatIsAbsentIsNamed) {
  FakeRuntime runtime;
  auto& fields = runtime.program.types["vitrine::rt::g"]->fields;
  std::erase_if(fields, [](const Field& f) { return f.name == "goid"; });
  EXPECT_EQ(Layout::find(runtime.program).error().message, "the runtime's field g.goid is not described");
  FakeRuntime other;
  other.program.variables.erase("vitrine::rt::allgs");
  EXPECT_EQ(Layout::find(other.program).error().message, "the runtime's variable vitrine::rt::allgs is not described");
}

TEST(Layout, TheNoteServesWhenDwarfIsStripped) {
  FakeRuntime runtime;
  auto dwarf = Layout::find(runtime.program);
  ASSERT_TRUE(dwarf);
  runtime.program.notes_ = {note_of(**dwarf, 0x400000)};
  runtime.program.types.clear();
  runtime.program.variables.clear();
  auto note = Layout::find(runtime.program);
  ASSERT_TRUE(note) << note.error().message;
  EXPECT_EQ((*note)->source(), Layout::Source::note);
  EXPECT_EQ((*note)->version(), 7u);
  expect_same(**dwarf, **note);
}

TEST(Layout, ABrokenNoteIsSaidWithItsAddress) {
  FakeRuntime runtime;
  auto dwarf = Layout::find(runtime.program);
  ASSERT_TRUE(dwarf);
  auto whole = note_of(**dwarf, 0x400000);
  runtime.program.types.clear();
  for (std::size_t n = 0; n < whole.desc.size(); n += 7) {
    auto cut = whole;
    cut.desc.resize(n);
    runtime.program.notes_ = {cut};
    auto layout = Layout::find(runtime.program);
    ASSERT_FALSE(layout) << n;
    EXPECT_NE(layout.error().message.find("0x400000"), std::string::npos) << layout.error().message;
  }
  auto wrong = whole;
  wrong.desc[0] = std::byte{'X'};
  runtime.program.notes_ = {wrong};
  EXPECT_EQ(Layout::find(runtime.program).error().message,
            "the layout note at 0x400000 begins with 0x4e525458, not with VTRN");
  auto absurd = whole;
  std::fill(absurd.desc.begin() + 16, absurd.desc.begin() + 24, std::byte{0xff});
  runtime.program.notes_ = {absurd};
  EXPECT_EQ(Layout::find(runtime.program).error().message, "the layout note at 0x400000 is cut short");
}

// A target with nothing but the file of a program that this build made.
FakeTarget program_file(const std::string& path) {
  FakeTarget target;
  target.modules_ = {Module{path, 0, 0, 1 << 30, "", true}};
  return target;
}

TEST(Layout, TheBuiltRuntimeHasAllOfTheTableAndItsNoteAgreesWithItsDwarf) {
  FakeTarget target = program_file(VITRINE_TEST_BIN "/pipeline");
  auto program = Program::open(target);
  const Dialect& dialect = *dialects()[0];
  auto dwarf = Layout::from_dwarf(*program, dialect);
  ASSERT_TRUE(dwarf) << dwarf.error().message;
  EXPECT_EQ((*dwarf)->missing(), std::vector<std::string>{}) << "our own runtime has every optional row, too";
  auto note = Layout::from_note(*program, dialect);
  ASSERT_TRUE(note) << note.error().message;
  expect_same(**dwarf, **note);
  for (std::uint32_t status = 0; status < 12; ++status) {
    EXPECT_EQ((*dwarf)->g_status(status), (*note)->g_status(status)) << status;
    EXPECT_EQ((*dwarf)->p_status(status), (*note)->p_status(status)) << status;
    EXPECT_EQ((*dwarf)->guard(status), (*note)->guard(status)) << status;
  }
  EXPECT_EQ((*dwarf)->scan_bit(), (*note)->scan_bit());
  EXPECT_EQ((*note)->g_status(4), "waiting");
}

TEST(Layout, AStrippedProgramIsDescribedByItsNote) {
  std::string stripped = testing::TempDir() + "pipeline_stripped";
  ASSERT_EQ(std::system(("strip -o " + stripped + " " VITRINE_TEST_BIN "/pipeline").c_str()), 0);
  FakeTarget target = program_file(stripped);
  auto program = Program::open(target);
  auto layout = Layout::find(*program);
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ((*layout)->source(), Layout::Source::note);
  std::remove(stripped.c_str());
}

TEST(Dialect, TellsPlumbingFromUserCode) {
  const Dialect& d = *dialects()[0];
  for (const char* name : {"vitrine::chan<int>::recv", "vitrine::rt::mcall", "std::__invoke<int>", "__gnu_cxx::x",
                           "__libc_start_main", "goexit"}) {
    EXPECT_TRUE(d.plumbing(name)) << name;
  }
  for (const char* name :
       {"main", "main::{lambda#1}", "(anonymous namespace)::worker", "stdx::f", "vitrinex::f", "Server::vitrine"}) {
    EXPECT_FALSE(d.plumbing(name)) << name;
  }
  EXPECT_TRUE(plumbing_module("/lib/x86_64-linux-gnu/libc.so.6"));
  EXPECT_TRUE(plumbing_module("/lib64/ld-linux-x86-64.so.2"));
  EXPECT_TRUE(plumbing_module("[vdso]"));
  EXPECT_FALSE(plumbing_module("/opt/app/libserver.so"));
}

TEST(Dialect, TellsGosLibraryFromModulesWithLikeNames) {
  const Dialect& d = *go_dialect();
  for (const char* name : {"runtime.gopark", "net.(*conn).Read", "net/http.(*conn).serve", "go/ast.Walk", "time.goFunc",
                           "slices.SortFunc[go.shape.*uint8,example.com/x.T]", "go:struct.eq", "_rt0_amd64_linux",
                           "internal/poll.(*FD).Read", "path.Join"}) {
    EXPECT_TRUE(d.plumbing(name)) << name;
  }
  for (const char* name : {"main.main", "go.etcd.io/etcd/server/v3/lease.NewLessor", "go.uber.org/zap.New",
                           "time.example/x/y.F", "github.com/a/b.(*T).F", "gopkg.in/yaml%2ev3.Marshal"}) {
    EXPECT_FALSE(d.plumbing(name)) << name;
  }
}

// So that info sched -check knows a thread that is about to change what disagrees.
TEST(Dialect, KnowsGosFunctionsByOurWords) {
  const Dialect& d = *go_dialect();
  EXPECT_EQ(d.runtime_function("runtime.exitsyscallfast.func1"), "exitsyscall");
  EXPECT_EQ(d.runtime_function("runtime.exitsyscallfast_pidle"), "exitsyscall");
  EXPECT_EQ(d.runtime_function("runtime.exitsyscallTryGetP"), "exitsyscall");
  EXPECT_EQ(d.runtime_function("runtime.findRunnable"), "findrunnable");
  EXPECT_EQ(d.runtime_function("runtime.goschedImpl"), "gosched_m");
  EXPECT_EQ(d.runtime_function("runtime.goyield_m"), "gosched_m");
  EXPECT_EQ(d.runtime_function("runtime.runSafePointFn"), "reentersyscall");
  EXPECT_EQ(d.runtime_function("runtime.handoffp"), "handoffp");
  EXPECT_EQ(d.runtime_function("main.funcs"), "");
}

}  // namespace
}  // namespace vitrine::inspect
