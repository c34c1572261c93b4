// What a Go interface holds, over types and memory made by hand: how far pointers in it are followed, and what happens if
// they lead nowhere or round.
#include "values.h"

#include <gtest/gtest.h>

#include "fake_runtime.h"

namespace vitrine::inspect {
namespace {

constexpr std::uint64_t kVariable = 0x1000, kFirst = 0x2000, kSecond = 0x2100, kText = 0x3000, kTypes = 0x8000;

// type failure struct { text string; cause any }, *failure and **failure, described at 0x10, 0x20 and 0x30.
struct World {
  FakeTarget target;
  FakeProgram program;
  Memory memory{target};
  const Type* any;
  World() {
    Type* word = program.add("uintptr", 8, Type::Kind::unsigned_integer);
    Type* bytes = program.add("*uint8", 8, Type::Kind::pointer);
    bytes->element = program.add("uint8", 1, Type::Kind::unsigned_integer);
    Type* string = program.add("string", 16);
    string->fields = {{"str", 0, bytes}, {"len", 8, word}};
    Type* interface = program.add("runtime.eface", 16);
    interface->fields = {{"_type", 0, word}, {"data", 8, word}};
    Type* failure = program.add("other.failure", 32);
    failure->fields = {{"text", 0, string}, {"cause", 16, interface}};
    Type* pointer = program.add("*other.failure", 8, Type::Kind::pointer);
    pointer->element = failure;
    Type* further = program.add("**other.failure", 8, Type::Kind::pointer);
    further->element = pointer;
    program.described = {{0x10, failure}, {0x20, pointer}, {0x30, further}};
    any = interface;
    target.map(kVariable, 0x100).map(kFirst, 0x200).map(kText, 0x100).text(kText, "first").text(kText + 8, "second");
  }
  void failure(std::uint64_t at, std::uint64_t text, std::uint64_t len, std::uint64_t type, std::uint64_t cause) {
    target.put(at, text).put(at + 8, len).put(at + 16, type).put(at + 24, cause);
  }
  std::string of(std::uint64_t type, std::uint64_t data, bool* bad = nullptr) {
    static const std::map<std::uint64_t, std::string> kNames = {
        {0x10, "other.failure"}, {0x20, "*other.failure"}, {0x30, "**other.failure"}, {0x40, "*other.unknown"}};
    target.put(kVariable, type).put(kVariable + 8, data);
    memory.flush();
    Values values(program, memory, [&](std::uint64_t at) {
      auto name = kNames.find(at - kTypes);
      return name == kNames.end() ? Values::Described{}
                                  : Values::Described{name->second, program.described_type(at - kTypes)};
    });
    bool unread = false;
    std::string text = values.text(kVariable, *any, unread);
    if (bad) *bad = unread;
    return text;
  }
};

TEST(Values, APointerInAnInterfaceIsFollowedToItsStructure) {
  World w;
  w.failure(kFirst, kText, 5, 0, 0);
  EXPECT_EQ(w.of(kTypes + 0x20, kFirst), "(*other.failure) 0x2000 → {text = \"first\", cause = nil}");
  EXPECT_EQ(w.of(kTypes + 0x10, kFirst), "(other.failure) {text = \"first\", cause = nil}") << "by value";
  w.failure(kFirst, kText, 5, kTypes + 0x20, kSecond);
  w.failure(kSecond, kText + 8, 6, 0, 0);
  EXPECT_EQ(w.of(kTypes + 0x20, kFirst),
            "(*other.failure) 0x2000 → {text = \"first\", cause = (*other.failure) 0x2100}");
  EXPECT_EQ(w.of(kTypes + 0x20, 0), "(*other.failure) nil");
  EXPECT_EQ(w.of(kTypes + 0x40, kFirst), "(*other.unknown) 0x2000") << "DWARF does not have it";
  EXPECT_EQ(w.of(kTypes + 0x50, kFirst), "{of the type at 0x8050, data = 0x2000}");
}

TEST(Values, AnInterfaceThatHoldsItselfOrWhatIsNotThereEnds) {
  World w;
  bool bad = false;
  w.failure(kFirst, kText, 5, kTypes + 0x20, kFirst);
  EXPECT_EQ(w.of(kTypes + 0x20, kFirst, &bad),
            "(*other.failure) 0x2000 → {text = \"first\", cause = (*other.failure) 0x2000}");
  EXPECT_FALSE(bad);
  w.target.put(kSecond, kSecond);  // a pointer to itself
  EXPECT_EQ(w.of(kTypes + 0x30, kSecond), "(**other.failure) 0x2100 → 0x2100");
  EXPECT_EQ(w.of(kTypes + 0x20, 0xdead0000, &bad), "(*other.failure) 0xdead0000");
  EXPECT_FALSE(bad) << "it may not have been set yet";
  w.failure(kFirst, 0xdead0000, 5, 0, 0);
  EXPECT_EQ(w.of(kTypes + 0x20, kFirst, &bad),
            "(*other.failure) 0x2000 → {text = <unreadable 0xdead0000>, cause = nil}");
  EXPECT_TRUE(bad);
}

}  // namespace
}  // namespace vitrine::inspect
