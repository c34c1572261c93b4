// Must not compile: the element's move constructor may throw.
#include <vitrine/vitrine.h>

struct element {
  element() = default;
  element(element&&) {}
};

int main() { vitrine::chan<element> c; }
