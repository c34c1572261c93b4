// cgo: goroutines in C, and in Go that C called back; a thread of C's own calls Go as well.
package main

/*
#include <pthread.h>
#include <unistd.h>
extern void waitsForC(int);
static void inner(int n) { waitsForC(n); }
static void calls_back(int n) { inner(n + 1); }
static void sleeps_in_c(void) { for (;;) pause(); }
static void *own_thread(void *unused) { calls_back(40); return unused; }
static void starts_thread(void) { pthread_t t; pthread_create(&t, 0, own_thread, 0); }
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

//go:noinline
func intoC() { C.calls_back(1) }

//go:noinline
func staysInC() { C.sleeps_in_c() }

func main() {
	go intoC()
	go staysInC()
	C.starts_thread()
	<-there
	<-there
	time.Sleep(10 * time.Millisecond)
	fmt.Println("ready")
	runtime.KeepAlive(waits)
	<-make(chan int)
}
