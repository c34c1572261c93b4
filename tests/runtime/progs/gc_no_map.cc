// gc_no_map.cc: a class with a private gc::ptr and no map.
#include <vitrine/vitrine.h>

class thing {
 public:
  thing() = default;

 private:
  vitrine::gc::ptr<thing> next_;
};

int main() {
  return vitrine::run([] { vitrine::gc::make<thing>(); });
}
