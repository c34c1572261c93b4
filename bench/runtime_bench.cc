// runtime_bench.cc: what the basic operations of the runtime cost. First figures, to see changes by; a comparison with
// other runtimes comes with the whole scheduler. All of it runs inside vitrine::run, on the main goroutine.
#include <benchmark/benchmark.h>
#include <vitrine/vitrine.h>

namespace {

// One goroutine yields to itself: through the run queue and back.
void Yield(benchmark::State& state) {
  for (auto _ : state) vitrine::yield();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Yield);

// The main goroutine yields among n that do nothing else: n + 1 switches an iteration.
void YieldAmong(benchmark::State& state) {
  bool stop = false;
  vitrine::wait_group others;
  for (int i = 0; i < state.range(0); i++) {
    others.go([&stop] {
      while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) vitrine::yield();
    });
  }
  for (auto _ : state) vitrine::yield();
  __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
  others.wait();
}
BENCHMARK(YieldAmong)->Arg(1)->Arg(100);

// A value to another goroutine and one back, over two unbuffered channels: two handovers an iteration.
void PingPong(benchmark::State& state) {
  vitrine::chan<int> ping, pong;
  vitrine::wait_group partner;
  partner.go([&] {
    for (int value : ping) pong.send(value + 1);
  });
  for (auto _ : state) {
    ping.send(1);
    benchmark::DoNotOptimize(pong.recv());
  }
  ping.close();
  partner.wait();
}
BENCHMARK(PingPong);

// One sender, one receiver, a buffer of `capacity` elements.
void Buffered(benchmark::State& state) {
  vitrine::chan<long> values(static_cast<std::size_t>(state.range(0)));
  vitrine::wait_group receiver;
  long sum = 0;
  receiver.go([&] {
    for (long value : values) sum += value;
  });
  for (auto _ : state) values.send(1);
  values.close();
  receiver.wait();
  if (sum != static_cast<long>(state.iterations())) state.SkipWithError("elements were lost");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Buffered)->Arg(1)->Arg(64)->Arg(1024);

// Starts n goroutines that do nothing, and waits for them.
void Spawn(benchmark::State& state) {
  for (auto _ : state) {
    vitrine::wait_group all;
    for (int i = 0; i < state.range(0); i++) all.go([] {});
    all.wait();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Spawn)->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace

int main(int argc, char** argv) {
  return vitrine::run(vitrine::options{.main_stack = 8 << 20}, [&] {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  });
}
