// panic.cc: the ways a program ends because of the runtime — throw_ for a broken invariant, fatal for the user's
// mistake, and the terminate handler for an exception that escaped a goroutine. Follows Go's panic.go.
#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "proc.h"

namespace vitrine::rt {

static void current(const char* what) {
  g* gp = getg();
  if (gp == nullptr) return;
  if (gp == gp->m->g0 && gp->m->curg != nullptr) gp = gp->m->curg;
  print("\n");
  if (gp == gp->m->g0)
    print("m ", gp->m->id, " on its scheduling stack", what, "\n");
  else
    goroutineheader(gp);
}

void throw_(const char* what) {
  if (g* gp = getg(); gp != nullptr) gp->m->throwing++;
  print("fatal error: ", what, "\n");
  current("");
  abort();
}

void fatal(const char* what) {
  print("fatal error: ", what, "\n");
  current("");
  _exit(2);
}

void exitprocess(int code) {
  vitrine_tls_g = nullptr;
  exit(code);
}

static std::terminate_handler previous;

static void onterminate() {
  g* gp = getg();
  if (gp != nullptr && gp != gp->m->g0) {
    print("runtime: std::terminate");
    if (std::current_exception() != nullptr) print(": an exception escaped");
    print(" in\n");
    goroutineheader(gp);
  }
  if (previous != nullptr) previous();
  abort();
}

void initterminate() { previous = std::set_terminate(onterminate); }

}  // namespace vitrine::rt
