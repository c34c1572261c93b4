// mix_time.cc: timers and tickers.
//
//   timers   with a function or a channel, reset and stopped at random: each arming ends in one firing or one stop
//   tickers  tick, are reset to another period, and stopped
#include <chrono>
#include <memory>

#include "mix.h"

namespace mix {

using namespace std::chrono_literals;

Group timers{"timers"}, tickers{"tickers"};

namespace {

void function_timer(Dice& dice) {
  auto fired = std::make_shared<std::atomic<int>>(0);
  vitrine::timer t(dice.up_to(2000us), [fired] { ++*fired; });
  int armed = 1, stopped = 0;
  for (std::uint32_t i = dice(4); i > 0; --i) {
    vitrine::sleep_for(dice.up_to(1500us));
    if (dice.one_in(2)) {
      stopped += t.reset(dice.up_to(2000us));
      ++armed;
    } else {
      stopped += t.stop();
    }
  }
  stopped += t.stop();
  // A function that was started runs on a goroutine of its own, which may be about to.
  for (int tries = 0; *fired + stopped < armed && tries < 20000; ++tries) vitrine::sleep_for(1ms);
  require(*fired + stopped == armed, timers, "each arming fires or is stopped", *fired + stopped, armed);
  vitrine::sleep_for(100us);
  require(*fired + stopped == armed, timers, "a stopped timer does not fire", *fired + stopped, armed);
}

void channel_timer(Dice& dice) {
  vitrine::timer t(dice.up_to(1000us));
  bool fired = false;
  vitrine::select(vitrine::on_recv(t.channel(), [&](auto) { fired = true; }),
                  vitrine::on_timeout(dice.up_to(1000us), [] {}));
  if (fired) return require(!t.stop(), timers, "what was received had fired");
  if (dice.one_in(2)) {
    require(t.stop(), timers, "what was not received is stopped");
    std::chrono::steady_clock::time_point late;
    require(t.channel().try_recv(late) == vitrine::chan_status::empty, timers, "nothing comes after a stop");
  } else {
    require(t.reset(500us), timers, "what was not received is reset");
    require(t.channel().recv().has_value(), timers, "a timer fires again after a reset");
  }
}

void abandoned_timers(Dice& dice) {
  for (std::uint32_t i = dice(20); i > 0; --i) {
    vitrine::timer t(dice.up_to(100us) + 1us, [] {});
    if (dice.one_in(3)) vitrine::yield();
  }
  vitrine::after(dice.up_to(500us)).recv();
}

void keeper(Dice dice) {
  while (!over()) {
    switch (dice(3)) {
      case 0:
        function_timer(dice);
        break;
      case 1:
        channel_timer(dice);
        break;
      default:
        abandoned_timers(dice);
    }
    timers.turn();
  }
}

void ticking(Dice dice) {
  while (!over()) {
    vitrine::ticker t(200us + dice.up_to(2000us));
    for (std::uint32_t i = 1 + dice(5); i > 0; --i) {
      require(t.channel().recv().has_value(), tickers, "a ticker ticks");
      tickers.turn();
      if (dice.one_in(4)) t.reset(100us + dice.up_to(3000us));
    }
    t.stop();
    std::chrono::steady_clock::time_point late;
    require(t.channel().try_recv(late) == vitrine::chan_status::empty, tickers, "no tick comes after a stop");
  }
}

}  // namespace

void start_time() {
  for (std::uint64_t i = 1; i <= 10; ++i) start(timers, [i] { keeper(Dice(i)); });
  start_thread([] { keeper(Dice(100)); });
  for (std::uint64_t i = 1; i <= 3; ++i) start(tickers, [i] { ticking(Dice(i)); });
}

}  // namespace mix
