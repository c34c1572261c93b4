// traceback.h: printing where goroutines are (traceback.cc) and what the code at an address is called (symtab.cc).
#pragma once
#include "proc.h"

namespace vitrine::rt {

// ---- symtab.cc. All of it between symbegin and symend, by the one thread that holds `panicking`.
void symbegin(bool maymalloc);  // maymalloc: names are demangled, which allocates
void symend();

struct symbol {
  const char* name;  // as in the symbol table; null: none is known
  uintptr entry;     // run-time address of its first byte
  uintptr vaddr;     // of the address asked for, in its file: what addr2line takes; 0: in no file
  const char* file;  // path of the file; "program" for the program itself
};
symbol findsym(uintptr pc);
void printsymname(const char* name);
bool demangled();
const char* programpath();

// ---- traceback.cc

// Becomes the one thread that prints a dump. False: it already is (a fault while it prints), or another thread has
// been at it for ten seconds. A thread that is about to end the process never calls dumpend. atleast: a traceback level
// that goes before a lower one of GOTRACEBACK.
bool dumpbegin(bool maymalloc, int32 atleast = 0, int32 fd = 2);
void dumpend();

// Between the two: the header of a goroutine and its frames.
void traceg(g* gp, const gobuf* from);  // from null: where it is saved, or, for the current one, where it runs
void tracethread();                     // this thread, which is no M
void traceothers(g* but);               // every goroutine but that one, the runtime's too at level 2
void tracehint();                       // how to get source lines

}  // namespace vitrine::rt
