// A program that parks, switches and uses the system stack, for steps.py to single-step through.
#include <vitrine/vitrine.h>

#include "proc.h"

__attribute__((noinline)) void on_system_stack(void* arg) { *static_cast<int*>(arg) += 1; }

__attribute__((noinline)) void use_system_stack() {
  int n = 0;
  vitrine::rt::systemstack(on_system_stack, &n);
  asm volatile("" : : "r"(n));
}

__attribute__((noinline)) void partner(vitrine::chan<int> c) {
  for (int v : c) asm volatile("" : : "r"(v));
}

__attribute__((noinline)) int body() {
  vitrine::chan<int> c;
  vitrine::go(partner, c);
  for (int i = 0; i < 3; i++) c.send(i);
  use_system_stack();
  c.close();
  return 0;
}

int main() {
  return vitrine::run({.procs = 1}, [] {
    vitrine::no_preempt keep;  // under a debugger everything takes longer than a time slice
    return body();
  });
}
