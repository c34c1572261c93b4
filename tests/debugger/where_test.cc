// -where: grammar, types, precedence, three-valued logic, and what mistakes are told.
#include "where.h"

#include <gtest/gtest.h>

#include <map>

namespace vitrine::inspect {
namespace {

constexpr ColumnSpec kColumns[] = {
    {"goid", "GOID", ColumnType::number},
    {"status", "STATUS", ColumnType::text},
    {"age", "AGE", ColumnType::duration},
    {"addr", "ADDR", ColumnType::address},
    {"system", "SYSTEM", ColumnType::flag},
    {"stack", "STACK", ColumnType::size, true, true},
    {"free", "FREE%", ColumnType::number, true, false, "", "free_percent"},
};

struct Row : RowView {
  std::map<int, Value> values;
  Tri frames = Tri::unknown;
  mutable int asked = 0;
  Value value(int column) override {
    ++asked;
    auto it = values.find(column);
    return it == values.end() ? Value{} : it->second;
  }
  Tri frames_match(int, const Pattern& p) override { return p.matches("worker") ? frames : Tri::no; }
};

Row sample() {
  Row row;
  row.values[0] = Value::number(17);
  row.values[1] = Value::string("waiting");
  row.values[3] = Value::number(static_cast<std::int64_t>(0xffff800000000000ull));
  row.values[4] = Value::number(0);
  row.values[5] = Value::number(2048);
  row.frames = Tri::yes;
  return row;
}

char eval(std::string_view text) {
  auto where = Where::parse(text, kColumns);
  if (!where) return '!';
  Row row = sample();
  switch (where->eval(row)) {
    case Tri::yes:
      return 'y';
    case Tri::no:
      return 'n';
    case Tri::unknown:
      return '?';
  }
  return '!';
}
std::string error(std::string_view text) {
  auto where = Where::parse(text, kColumns);
  return where ? "none" : where.error().message;
}

TEST(Where, ComparesByType) {
  EXPECT_EQ(eval("goid = 17"), 'y');
  EXPECT_EQ(eval("goid=0x11"), 'y');
  EXPECT_EQ(eval("goid == 17"), 'y');
  EXPECT_EQ(eval("goid > -1"), 'y');
  EXPECT_EQ(eval("goid != 17"), 'n');
  EXPECT_EQ(eval("goid <= 16"), 'n');
  EXPECT_EQ(eval("goid >= 17"), 'y');
  EXPECT_EQ(eval("status = waiting"), 'y');
  EXPECT_EQ(eval("status < x"), 'y');
  EXPECT_EQ(eval("addr > 0x1000"), 'y') << "addresses compare unsigned";
  EXPECT_EQ(eval("stack = 2KiB"), 'y');
  EXPECT_EQ(eval("stack < 1M"), 'y');
  EXPECT_EQ(eval("system"), 'n');
  EXPECT_EQ(eval("system = false"), 'y');
}

TEST(Where, RegularExpressionsMatchAnywhereInAText) {
  EXPECT_EQ(eval("status ~ ait"), 'y');
  EXPECT_EQ(eval("status !~ ^ait"), 'y');
  EXPECT_EQ(eval("status ~ 'w.*g$'"), 'y');
  EXPECT_EQ(eval("stack ~ work"), 'y') << "stack looks at frames";
  EXPECT_EQ(eval("stack !~ work"), 'n');
}

TEST(Where, NotBindsTighterThanAndThanOr) {
  EXPECT_EQ(eval("goid = 17 or goid = 1 and goid = 2"), 'y');
  EXPECT_EQ(eval("(goid = 17 or goid = 1) and goid = 2"), 'n');
  EXPECT_EQ(eval("not goid = 1 and goid = 2"), 'n');
  EXPECT_EQ(eval("not (goid = 1 and goid = 2)"), 'y');
  EXPECT_EQ(eval("not not system"), 'n');
}

TEST(Where, UnknownIsNeitherYesNorNo) {
  EXPECT_EQ(eval("age > 10s"), '?');
  EXPECT_EQ(eval("not age > 10s"), '?');
  EXPECT_EQ(eval("age > 10s or goid = 17"), 'y');
  EXPECT_EQ(eval("goid = 17 or age > 10s"), 'y');
  EXPECT_EQ(eval("age > 10s or goid = 1"), '?');
  EXPECT_EQ(eval("goid = 1 or age > 10s"), '?');
  EXPECT_EQ(eval("age > 10s and goid = 17"), '?');
  EXPECT_EQ(eval("age > 10s and goid = 1"), 'n');
  EXPECT_EQ(eval("goid = 1 and age > 10s"), 'n');
}

TEST(Where, MistakesAreNamed) {
  EXPECT_EQ(error("foo = 1"), "-where: unknown column 'foo'; columns: goid status age addr system stack free");
  EXPECT_EQ(error("s = 1"), "-where: ambiguous column 's'; columns: status system stack");
  EXPECT_EQ(error("age > fast"), "-where: age needs a duration such as 10s, 5ms or 2m, not 'fast'");
  EXPECT_EQ(error("age > 10"), "-where: age needs a duration such as 10s, 5ms or 2m, not '10'");
  EXPECT_EQ(error("goid"), "-where: what of goid? It is a number such as 17, so compare it: goid = …");
  EXPECT_EQ(error("goid ~ 1"), "-where: ~ wants a text column, goid is a number such as 17");
  EXPECT_EQ(error("status ~ '('").substr(0, 40), "-where: bad regular expression '(': miss");
  EXPECT_EQ(error("(system"), "-where: a ( is not closed");
  EXPECT_EQ(error("system)"), "-where: 'and' or 'or' is expected at: )");
  EXPECT_EQ(error("system system"), "-where: 'and' or 'or' is expected at: system");
  EXPECT_EQ(error(""), "-where: the expression ends too early");
  EXPECT_EQ(error("system and"), "-where: the expression ends too early");
  EXPECT_EQ(error("goid ="), "-where: goid = needs a number such as 17");
  EXPECT_EQ(error("status = 'open"), "-where: no closing ' for the one at: 'open");
  EXPECT_EQ(error("! system"), "-where: cannot read '!' at: ! system");
}

TEST(Where, ColumnsHaveTheirHeadingsAndJsonKeysAsWell) {
  auto column = [](std::string_view name) {
    auto found = find_column(name, kColumns);
    return found ? *found : -1;
  };
  EXPECT_EQ(column("GOID"), 0);
  EXPECT_EQ(column("age_ns"), 2);
  EXPECT_EQ(column("goid_ns"), -1);
  EXPECT_EQ(column("FREE%"), 6);
  EXPECT_EQ(column("free_percent"), 6);
  EXPECT_EQ(column("fr"), 6);
  EXPECT_EQ(column("Goid"), -1);
  EXPECT_EQ(eval("GOID = 17 and age_ns > 1s"), '?');
}

TEST(Where, DeepNestingIsRefusedNotFatal) {
  std::string deep(100000, '(');
  EXPECT_EQ(error(deep), "-where: nested too deeply");
  std::string nots;
  for (int i = 0; i < 100000; ++i) nots += "not ";
  EXPECT_EQ(error(nots + "system"), "-where: nested too deeply");
}

TEST(Where, SaysWhichColumnsItUses) {
  auto where = Where::parse("goid = 1 and stack ~ x", kColumns);
  ASSERT_TRUE(where);
  EXPECT_TRUE(where->uses(0));
  EXPECT_FALSE(where->uses(1));
  EXPECT_FALSE(where->uses(5)) << "frames, not the size";
  EXPECT_TRUE(where->uses_frames());
}

TEST(Literals, DurationsAndSizes) {
  EXPECT_EQ(parse_duration("10s"), 10'000'000'000);
  EXPECT_EQ(parse_duration("1h30m"), 5'400'000'000'000);
  EXPECT_EQ(parse_duration("1.5ms"), 1'500'000);
  EXPECT_EQ(parse_duration("0"), 0);
  EXPECT_EQ(parse_duration("10"), std::nullopt);
  EXPECT_EQ(parse_duration("-1s"), std::nullopt);
  EXPECT_EQ(parse_duration(""), std::nullopt);
  EXPECT_EQ(parse_duration("99999999999h"), std::nullopt);
  EXPECT_EQ(parse_size("64KiB"), 65536);
  EXPECT_EQ(parse_size("1.5K"), 1536);
  EXPECT_EQ(parse_size("512"), 512);
  EXPECT_EQ(parse_size("1X"), std::nullopt);
}

}  // namespace
}  // namespace vitrine::inspect
