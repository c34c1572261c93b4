// Must not compile: goroutines pass copies of their arguments, which do not bind to a plain reference.
#include <vitrine/vitrine.h>

int main() {
  int n = 0;
  vitrine::go([](int&) {}, n);
}
