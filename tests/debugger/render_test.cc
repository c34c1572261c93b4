// How values look: durations, sizes, tables, JSON.
#include "render.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "fake_runtime.h"

namespace vitrine::inspect {
namespace {

TEST(Render, DurationsKeepTwoUnits) {
  EXPECT_EQ(format_duration(7), "7ns");
  EXPECT_EQ(format_duration(12'345), "12us");
  EXPECT_EQ(format_duration(340'000'000), "340ms");
  EXPECT_EQ(format_duration(5'290'000'000), "5.2s");
  EXPECT_EQ(format_duration(192'000'000'000), "3m12s");
  EXPECT_EQ(format_duration(7'500'000'000'000), "2h05m");
  EXPECT_EQ(format_duration(273'600'000'000'000), "3d4h");
}

TEST(Render, PluralsAreOfTheNounItself) {
  EXPECT_EQ(plural(1, "span without pages"), "1 span without pages");
  EXPECT_EQ(plural(2, "span without pages"), "2 spans without pages");
  EXPECT_EQ(plural(2, "system goroutine"), "2 system goroutines");
}

TEST(Render, SizesAreShort) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1023), "1023");
  EXPECT_EQ(format_size(1229), "1.2K");
  EXPECT_EQ(format_size(61440), "60K");
  EXPECT_EQ(format_size(1 << 20), "1M");
  EXPECT_EQ(format_size(3ull << 40), "3T");
}

TEST(Render, SizesAreRoundedToTheNearest) {
  EXPECT_EQ(format_size(1280), "1.2K") << "1.25: a half goes to the even digit";
  EXPECT_EQ(format_size(1792), "1.8K");
  EXPECT_EQ(format_size(~std::uint64_t{0}), "16E");
  EXPECT_EQ(format_size(10188), "9.9K");
  EXPECT_EQ(format_size(10189), "10K");
  for (std::uint64_t unit : {std::uint64_t{1} << 10, std::uint64_t{1} << 20, std::uint64_t{1} << 30}) {
    for (std::uint64_t i = 0; i < 30000; ++i) {
      const std::uint64_t bytes = unit + i * (unit / 1024 * 3 + 1);
      const double value = static_cast<double>(bytes) / static_cast<double>(unit);
      if (value >= 1024) break;
      const bool decimal = value < 9.95 && value != std::floor(value);
      ASSERT_EQ(format_size(bytes), fmt::format("{:.{}f}{}", value, decimal ? 1 : 0,
                                                unit >> 30   ? "G"
                                                : unit >> 20 ? "M"
                                                             : "K"))
          << bytes;
    }
  }
}

TEST(Render, ControlCharactersDoNotReachTheTerminal) { EXPECT_EQ(printable("a\x1b[1m\n"), "a\\x1b[1m\\x0a"); }

TEST(Render, ColumnsAreAlignedByCodePoints) {
  Collected sink;
  {
    Buffered out(sink);
    Table table(out, {{"N", true}, {"NAME", false}, {"X", false}}, false);
    table.row({"1", "é", "a"}, false);
    table.row({"10", "long name", ""}, false);
  }
  EXPECT_EQ(sink.text,
            " N NAME       X\n"
            " 1 é          a\n"
            "10 long name\n");
}

TEST(Render, ColoursOnlyWhenAsked) {
  Collected sink;
  {
    Buffered out(sink);
    Table table(out, {{"N", true}}, true);
    table.row({"1"}, true);
  }
  EXPECT_EQ(sink.text, "\x1b[2mN\x1b[0m\n\x1b[1m1\x1b[0m\n");
}

TEST(Json, EscapesAndReplacesWhatIsNoUtf8) {
  Collected sink;
  {
    Buffered out(sink);
    Json json(out);
    json.open_array();
    json.value("q\" b\\ t\t n\n \x01 \xff é \xed\xa0\x80 \xc0\xaf").null().value(true).address(0xffffffffffffffffull);
    json.value(std::int64_t{-5}).value(~std::uint64_t{0});
    json.close_array();
  }
  auto parsed = nlohmann::json::parse(sink.text);
  EXPECT_EQ(parsed[0],
            "q\" b\\ t\t n\n \x01 \xef\xbf\xbd é \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_TRUE(parsed[1].is_null());
  EXPECT_EQ(parsed[3], "0xffffffffffffffff");
  EXPECT_EQ(parsed[4], -5);
  EXPECT_EQ(parsed[5], ~std::uint64_t{0});
}

}  // namespace
}  // namespace vitrine::inspect
