// gc_inherited_map.cc: a class that has only its base's map.
#include <vitrine/vitrine.h>

class base {
 public:
  base() = default;
  VITRINE_GC_FIELDS(base, next_);

 private:
  vitrine::gc::ptr<base> next_;
};
class thing : public base {
  vitrine::gc::ptr<base> other_;
};

int main() {
  return vitrine::run([] { vitrine::gc::make<thing>(); });
}
