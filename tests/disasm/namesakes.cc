// namesakes.cc: several functions of one name: two here, one more of the same symbol in namesakes_too.cc.
#define KEPT __attribute__((noinline, used))

namespace {
KEPT int measure(int v) { return v + 1; }
KEPT int measure(long v) { return static_cast<int>(v) + 2; }
}  // namespace

extern "C" {
KEPT static int weigh() { return 3; }
KEPT int only_here() { return 4; }
}

// As gcc calls what it splits off, here by hand, so that it is there whatever the compiler does.
extern "C" KEPT int split_part() __asm__("split.part.0");
int split_part() { return 5; }
extern "C" KEPT int split() { return split_part(); }

int other();
int main() { return measure(1) + measure(2L) + weigh() + only_here() + split() + other(); }
