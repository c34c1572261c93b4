// faults: ends by itself in the way that its argument names, with a core (GOTRACEBACK=crash), or stays in some state.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

type node struct {
	next  *node
	value int
}

//go:noinline
func reads(n *node) int { return n.next.value }

//go:noinline
func recurses(n int) int {
	var pad [64]int
	pad[n%64] = n
	return recurses(n+1) + pad[(n+1)%64]
}

//go:noinline
func spins(stop *bool) {
	for n := 0; !*stop; n++ {
		if n%(1<<20) == 0 {
			runtime.Gosched()
		}
	}
}

//go:noinline
func asks(last *time.Time) {
	for {
		*last = time.Now()
	}
}

//go:noinline
func none() {}

//go:noinline
func starts() {
	for ; ; runtime.Gosched() {
		go none()
	}
}

//go:noinline
func calls(fd int) {
	for buf := make([]byte, 1<<14); ; {
		syscall.Read(fd, buf)
	}
}

//go:noinline
func fresh(c chan int) { <-c }

var kept []*os.File

func main() {
	waits := make(chan int)
	go func() { <-waits }()
	time.Sleep(time.Millisecond)
	switch os.Args[1] {
	case "nil":
		fmt.Println(reads(&node{}))
	case "overflow":
		fmt.Println(recurses(0))
	case "deadlock":
		<-waits
	case "panic":
		panic("as asked")
	case "fresh": // with GODEBUG=asyncpreemptoff=1 it never gets to run
		runtime.GOMAXPROCS(1)
		go fresh(waits)
		ready := []byte("ready\n") // by a call that does not give the P away
		syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)))
		for n := 0; n >= 0; n++ {
		}
	case "poll": // a thousand that wait for their descriptor
		for n := 0; n < 1000; n++ {
			r, w, err := os.Pipe()
			if err != nil {
				panic(err)
			}
			kept = append(kept, w)
			go r.Read(make([]byte, 1))
		}
		time.Sleep(50 * time.Millisecond)
		fmt.Println("ready")
		<-waits
	case "aged": // the wait is dated to a collection before it began
		runtime.GC()
		runtime.GC()
		time.Sleep(400 * time.Millisecond)
		go fresh(waits)
		time.Sleep(20 * time.Millisecond)
		runtime.GC()
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "collect": // it is nearly always in some phase of a collection
		var list *node
		for n := 0; n < 1<<18; n++ {
			list = &node{list, n}
		}
		go func() {
			for {
				runtime.GC()
			}
		}()
		fmt.Println("ready")
		<-waits
		runtime.KeepAlive(list)
	case "calls": // in system calls, or on the way into one or out of it
		runtime.GOMAXPROCS(4)
		random, err := os.Open("/dev/urandom")
		if err != nil {
			panic(err)
		}
		go calls(int(random.Fd()))
		fmt.Println("ready")
		<-waits
	case "time": // it is nearly always in the vDSO, for which its thread goes to another stack
		var last time.Time
		runtime.Gosched()
		go asks(&last)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "shrinks": // Ps go away that have somebody to run next
		for n := 0; n < 4; n++ {
			go starts()
		}
		for n := 0; ; n++ {
			runtime.GOMAXPROCS(1 + n%2*3)
			time.Sleep(time.Millisecond)
		}
	case "spin":
		var stop bool
		go spins(&stop)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	}
}
