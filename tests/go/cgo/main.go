// cgo: goroutines in C, and in Go that C called back; threads of C's own call Go as well.
package main

/*
#include <pthread.h>
#include <unistd.h>
extern void waitsForC(int);
static void inner(int n) { waitsForC(n); }
static void calls_back(int n) { inner(n + 1); }
static void sleeps_in_c(void) { for (;;) pause(); }
static void *own_thread(void *unused) { calls_back(40); return unused; }
extern void passes(void);
static void *visits(void *unused) { passes(); for (;;) pause(); return unused; }
static void starts_threads(void) { pthread_t t; pthread_create(&t, 0, own_thread, 0); pthread_create(&t, 0, visits, 0); }
*/
import "C"

import (
	"fmt"
	"runtime"
	"time"
)

var waits = make(chan int)
var there = make(chan int, 8)

//export waitsForC
func waitsForC(n C.int) {
	there <- int(n)
	<-waits
}

// Of a thread that goes back to C: Go (1.21) keeps its goroutine for the next call.
//
//export passes
func passes() { there <- 0 }

//go:noinline
func intoC() { C.calls_back(1) }

//go:noinline
func staysInC() { C.sleeps_in_c() }

func main() {
	go intoC()
	go staysInC()
	C.starts_threads()
	<-there
	<-there
	<-there
	time.Sleep(10 * time.Millisecond)
	fmt.Println("ready")
	runtime.KeepAlive(waits)
	<-make(chan int)
}
