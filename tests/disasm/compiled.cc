// compiled.cc: a routine as compilers make it, at -O0 and -O2, by gcc and clang: the annotator must find the same fields.
namespace shop {

struct context {
  unsigned long sp, pc;
  void* argument;
};
struct order {
  context saved;
  order* next;
  int number;
};

void prepare(order* o, void (*fn)(), void* argument) {
  o->saved.sp -= sizeof(void*);
  *reinterpret_cast<unsigned long*>(o->saved.sp) = o->saved.pc;
  o->saved.pc = reinterpret_cast<unsigned long>(fn);
  o->saved.argument = argument;
  if (o->next) o->next->number = 7;
}

}  // namespace shop

int main() {
  unsigned long stack[4] = {};
  shop::order o{{reinterpret_cast<unsigned long>(stack + 3), 1, nullptr}, nullptr, 0};
  shop::prepare(&o, nullptr, &o);
  return o.saved.pc != 0;
}
