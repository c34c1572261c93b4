// turns: two goroutines that hand a number to and fro, with a function between two turns where a debugger stops. Every
// number is checked, so that a register or a word of a stack that a debugger changed ends the program with status 3.
package main

import (
	"os"
	"time"
)

var turns int
var at time.Time

//go:noinline
func tick(turn int) { turns = turn }

//go:noinline
func relay(in, out chan int) {
	for v := range in {
		out <- v + 1
	}
	close(out)
}

// It goes on where no call returns to, behind its usual end.
//
//go:noinline
func recovers() {
	defer func() { recover() }()
	fails()
}

//go:noinline
func fails() { panic("for a moment") }

// Asks the vdso, on the thread's own stack.
//
//go:noinline
func asks() { at = time.Now() }

func main() {
	in, out := make(chan int), make(chan int)
	go relay(in, out)
	for turn := 1; turn <= 200; turn++ {
		tick(turn)
		if turn > 150 {
			recovers()
		}
		if turn > 180 {
			asks()
		}
		in <- turn
		if v := <-out; v != turn+1 {
			os.Exit(3)
		}
	}
	close(in)
	if _, more := <-out; more {
		os.Exit(4)
	}
}
