// The splitter, the option grammar, goid lists, and how words find their command.
#include "words.h"

#include <gtest/gtest.h>

#include "commands.h"

namespace vitrine::inspect {
namespace {

std::vector<std::string> texts(const Line& line) {
  std::vector<std::string> out;
  for (const Word& w : line.words) out.push_back(w.text);
  return out;
}
using Texts = std::vector<std::string>;

TEST(Splitter, BlanksSeparateAndQuotesJoin) {
  EXPECT_EQ(texts(split("  a  b\tc ")), (Texts{"a", "b", "c"}));
  EXPECT_EQ(texts(split("'a b' \"c d\"e f\\ g")), (Texts{"a b", "c de", "f g"}));
  EXPECT_EQ(texts(split("''")), (Texts{""}));
  EXPECT_EQ(texts(split("")), (Texts{}));
}

TEST(Splitter, SingleQuotesAreLiteralAndDoubleQuotesKnowTwoEscapes) {
  EXPECT_EQ(texts(split(R"('a\"b')")), (Texts{R"(a\"b)"}));
  EXPECT_EQ(texts(split(R"("a\"b\\c\d")")), (Texts{R"(a"b\c\d)"}));
}

TEST(Splitter, AnOpenQuoteKeepsTheWordsBeforeIt) {
  Line line = split("17 print \"it");
  EXPECT_EQ(texts(line), (Texts{"17", "print"}));
  ASSERT_TRUE(line.error);
  EXPECT_EQ(line.error->message, "no closing \" for the one at: \"it");
}

TEST(Splitter, TheRestOfALineIsVerbatim) {
  Line line = split("17  print  \"a  b\"   'c'  ");
  EXPECT_EQ(line.from(1), "print  \"a  b\"   'c'");
  EXPECT_EQ(line.from(9), "");
}

TEST(Splitter, JoinedWordsSplitIntoTheSame) {
  const char* words[] = {"info", "a b", "", "it's", "\"q\"", "back\\slash", "-where=a b", "-"};
  Line joined = join(words);
  Line again = split(joined.raw);
  EXPECT_EQ(texts(joined), texts(again));
  for (std::size_t i = 0; i < again.words.size(); ++i) {
    EXPECT_EQ(joined.words[i].begin, again.words[i].begin) << i;
    EXPECT_EQ(joined.words[i].end, again.words[i].end) << i;
  }
}

constexpr OptionSpec kSpecs[] = {{"where", Takes::value, "EXPR"},
                                 {"json", Takes::maybe, ""},
                                 {"limit", Takes::value, "N"},
                                 {"short", Takes::nothing, ""}};

Result<Options> options(std::string_view text, Mixing mixing = Mixing::anywhere) {
  return parse_options(split(text), 0, kSpecs, mixing);
}

TEST(Options, OneDashOrTwoAndValuesInBothForms) {
  for (const char* text : {"-limit 5", "-limit=5", "--limit 5", "--limit=5", "-lim 5"}) {
    auto o = options(text);
    ASSERT_TRUE(o) << text;
    ASSERT_TRUE(o->get("limit")) << text;
    EXPECT_EQ(*o->get("limit"), "5") << text;
  }
  EXPECT_EQ(*options("-json")->get("json"), "");
  EXPECT_EQ(*options("--json=full")->get("json"), "full");
  EXPECT_EQ(*options("-where 'a = 1'")->get("where"), "a = 1");
}

TEST(Options, WordsOfAnArgumentVectorMayHoldBlanks) {
  const char* words[] = {"-where=age > 1s", "-limit", "3"};
  auto o = parse_options(join(words), 0, kSpecs, Mixing::anywhere);
  ASSERT_TRUE(o);
  EXPECT_EQ(*o->get("where"), "age > 1s");
  EXPECT_TRUE(o->positional.empty());
}

TEST(Options, MistakesNameTheOptionAndTheChoices) {
  EXPECT_EQ(options("-foo").error().message, "unknown option -foo; choose from: -where -json -limit -short");
  EXPECT_EQ(options("-limit").error().message, "option -limit needs a value (N)");
  EXPECT_EQ(options("-short=1").error().message, "option -short takes no value");
}

TEST(Options, TwoDashesEndThemAndAQuotedDashIsNone) {
  auto o = options("-limit 1 -- -short");
  ASSERT_TRUE(o);
  EXPECT_EQ(o->positional, (std::vector<std::size_t>{3}));
  EXPECT_FALSE(o->has("short"));
  EXPECT_EQ(options("'-short'")->positional.size(), 1u);
  EXPECT_EQ(options("-5")->positional.size(), 1u);
}

TEST(Options, BeforeFirstLeavesTheRestAlone) {
  auto o = options("-limit 1 all -short 'open", Mixing::before_first);
  ASSERT_TRUE(o);
  EXPECT_EQ(o->positional, (std::vector<std::size_t>{2}));
  EXPECT_FALSE(o->has("short"));
}

TEST(GoidLists, RangesAreMergedAndSearched) {
  auto list = parse_goid_list("9,1-5,4-6,7");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->ranges, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{1, 7}, {9, 9}}));
  EXPECT_TRUE(list->contains(7));
  EXPECT_FALSE(list->contains(8));
  EXPECT_FALSE(list->contains(0));
  EXPECT_TRUE(parse_goid_list("5")->contains(5));
}

TEST(GoidLists, WhatIsNoListIsSaid) {
  EXPECT_EQ(parse_goid_list("1,,2").error().message, "'1,,2' is no list of goroutines such as 1-5,9");
  EXPECT_EQ(parse_goid_list("5-1").error().message, "the range 5-1 runs backwards");
  EXPECT_FALSE(parse_goid_list("99999999999999999999"));
  EXPECT_FALSE(parse_goid_list("1-"));
  EXPECT_FALSE(parse_goid_list(""));
}

TEST(Commands, UniquePrefixesOfWordsAreEnough) {
  auto words = [](std::string_view text) {
    Match m = match_command(split(text));
    return m.spec ? std::string(m.spec->words) + "+" + std::to_string(m.first) : "! " + m.problem;
  };
  EXPECT_EQ(words("info goroutines"), "info goroutines+2");
  EXPECT_EQ(words("info gor -limit 5"), "info goroutines+2");
  EXPECT_EQ(words("goroutine 17 bt"), "goroutine+1");
  EXPECT_EQ(words("goroutine st"), "goroutine stacks+2");
  EXPECT_EQ(words("goroutine"), "goroutine+1");
  EXPECT_EQ(words("vitrine goroutine stacks"), "goroutine stacks+3");
  EXPECT_EQ(words("vitrine info gor"), "info goroutines+3");
  EXPECT_EQ(words("vitrine doctor"), "vitrine doctor+2");
  EXPECT_EQ(words("doctor"), "vitrine doctor+1");
  EXPECT_EQ(words("info").substr(0, 2), "! ");
  EXPECT_NE(words("bogus").find("unknown command 'bogus'; choose from: "), std::string::npos);
}

TEST(Commands, EachHasASummaryAndAHelpWithAnExample) {
  for (const CommandSpec& c : command_table()) {
    EXPECT_GT(std::string(c.summary).size(), 10u) << c.words;
    EXPECT_NE(std::string(c.help).find("Example"), std::string::npos) << c.words;
    EXPECT_EQ(std::string(c.help).rfind(c.words, 0), 0u) << c.words << ": help begins with the words";
    EXPECT_EQ(std::string(c.help).back(), '\n') << c.words;
  }
}

}  // namespace
}  // namespace vitrine::inspect
