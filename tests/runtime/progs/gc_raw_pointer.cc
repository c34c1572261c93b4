// gc_raw_pointer.cc: a plain aggregate that has a raw pointer.
#include <vitrine/vitrine.h>

struct thing {
  vitrine::gc::ptr<thing> next;
  thing* previous;
};

int main() {
  return vitrine::run([] { vitrine::gc::make<thing>(); });
}
