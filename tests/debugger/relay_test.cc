// Text that one thread makes and another prints.
#include "relay.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "caller.h"

namespace vitrine::inspect {
namespace {

TEST(Relay, HandsOverAllPiecesInOrderOnTheCallersThread) {
  Caller sink;
  std::string want;
  std::thread::id maker;
  const bool whole = Relay(sink, [] { return false; }).run([&](Sink& out, const std::function<bool()>& stopped) {
    maker = std::this_thread::get_id();
    for (int i = 0; i < 1000 && !stopped(); ++i) {
      const std::string piece = std::to_string(i) + std::string(static_cast<std::size_t>(i) * 7 % 50, '.');
      want += piece;
      out.out(piece);
    }
  });
  EXPECT_TRUE(whole);
  EXPECT_EQ(sink.text, want);
  EXPECT_FALSE(sink.elsewhere);
  EXPECT_NE(maker, std::this_thread::get_id());
}

TEST(Relay, StopsAMakerThatWouldGoOnForEver) {
  Caller sink;
  EXPECT_FALSE(
      Relay(sink, [&] { return sink.text.size() > 5000; }).run([](Sink& out, const std::function<bool()>& stopped) {
        while (!stopped()) out.out("row\n");
      }));
  EXPECT_FALSE(sink.elsewhere);
}

TEST(Relay, StopsAMakerThatMakesNothing) {
  Caller sink;
  std::atomic<int> asked{0};
  EXPECT_FALSE(Relay(sink, [&] { return ++asked > 2; }).run([](Sink&, const std::function<bool()>& stopped) {
    while (!stopped()) std::this_thread::yield();
  }));
}

TEST(Relay, ThrowsWhatTheSinkThrows) {
  struct : Sink {
    void out(std::string_view) override { throw std::runtime_error("full"); }
    void err(std::string_view) override {}
  } sink;
  EXPECT_THROW(Relay(sink, [] { return false; }).run([](Sink& out, const std::function<bool()>& stopped) {
    while (!stopped()) out.out("row\n");
  }),
               std::runtime_error);
}

TEST(Relay, ThrowsWhatTheMakerThrows) {
  Caller sink;
  EXPECT_THROW(Relay(sink, [] { return false; }).run([](Sink& out, const std::function<bool()>&) {
    out.out("first");
    throw std::runtime_error("second");
  }),
               std::runtime_error);
  EXPECT_EQ(sink.text, "first");
}

}  // namespace
}  // namespace vitrine::inspect
