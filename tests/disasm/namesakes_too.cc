// namesakes_too.cc: see namesakes.cc.
#define KEPT __attribute__((noinline, used))

namespace {
KEPT int measure(int v) { return v + 6; }
}  // namespace

extern "C" {
KEPT static int weigh() { return 7; }
}

int other() { return measure(1) + weigh(); }
