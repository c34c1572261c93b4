// Long tables, whose rows another thread may make.
#include "listing.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "caller.h"
#include "fake_target.h"
#include "plain_rows.h"
#include "words.h"

namespace vitrine::inspect {
namespace {

class Numbers : public PlainRows {
 public:
  static constexpr ColumnSpec kColumns[] = {{"n", "N", ColumnType::number, true, false, ""},
                                            {"square", "SQUARE", ColumnType::number, true, false, ""}};
  Numbers(std::size_t size, bool anywhere) : PlainRows(kColumns), size_(size), anywhere_(anywhere) {}
  std::atomic<int> others = 0;  // cells that another thread made
  std::string_view noun() const override { return "number"; }
  std::string_view schema() const override { return "numbers"; }
  std::size_t size() const override { return size_; }
  std::vector<int> default_columns() const override { return {0, 1}; }
  Value value(std::uint32_t row, int column) override {
    if (std::this_thread::get_id() != self_) others++;
    return number(column ? std::uint64_t{row} * row : row);
  }
  bool any_thread(const std::vector<int>&) const override { return anywhere_; }
  void json(std::uint32_t, Json& json) override { json.null(); }
  std::string short_text(std::uint32_t row) override { return std::to_string(row); }

 protected:
  std::string error(std::uint32_t) const override { return {}; }
  int last_column() const override { return 1; }

 private:
  std::size_t size_;
  bool anywhere_;
  std::thread::id self_ = std::this_thread::get_id();
};

struct Listed {
  Outcome outcome;
  std::string text;
  bool by_another, elsewhere;
};

Listed list(std::size_t size, bool concurrent, bool anywhere, std::size_t enough = ~std::size_t{0}) {
  Session session;
  auto target = std::make_unique<FakeTarget>();
  target->concurrent_ = concurrent;
  session.set_target(std::move(target));
  Caller sink;
  session.cancelled_hook = [&] { return sink.text.size() >= enough; };
  Numbers rows(size, anywhere);
  const Line line = split("info numbers -limit 0");
  auto options = parse_options(line, 2, listing_options(), Mixing::anywhere);
  const Outcome outcome = run_listing(session, sink, rows, *options, {});
  return {outcome, sink.text, rows.others > 0, sink.elsewhere};
}

TEST(Listing, ByTwoThreadsIsTheSameText) {
  const Listed one = list(50000, false, true), two = list(50000, true, true);
  EXPECT_FALSE(one.by_another);
  EXPECT_TRUE(two.by_another);
  EXPECT_FALSE(two.elsewhere);
  EXPECT_EQ(one.text, two.text);
  EXPECT_TRUE(two.text.ends_with("\n50000 numbers\n")) << two.text.substr(two.text.size() - 100);
}

TEST(Listing, FewRowsAndThoseThatAskTheHostAreMadeByItsThread) {
  EXPECT_FALSE(list(500, true, true).by_another);
  EXPECT_FALSE(list(50000, true, false).by_another);
}

TEST(Listing, ByTwoThreadsIsStopped) {
  const Listed cut = list(5'000'000, true, true, 1 << 20);
  EXPECT_EQ(cut.outcome, Outcome::cancelled);
  EXPECT_FALSE(cut.elsewhere);
  EXPECT_LT(cut.text.size(), 60u << 20);
}

}  // namespace
}  // namespace vitrine::inspect
