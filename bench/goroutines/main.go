// goroutines N: N goroutines parked in a channel, a select, a mutex and a sleep, at eight depths of stack. Prints `ready`,
// and on `abort` from standard input ends by a SIGABRT that Go's runtime does not see, so that the kernel writes a core
// and no traceback of a million goroutines is printed.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var (
	numbers = make(chan int)
	never   = make(chan int)
	mutex   sync.Mutex
)

//go:noinline
func receives() { <-numbers }

//go:noinline
func selects() {
	select {
	case <-numbers:
	case <-never:
	}
}

//go:noinline
func locks() { mutex.Lock() }

//go:noinline
func sleeps() { time.Sleep(time.Hour) }

//go:noinline
func deep(n, kind int) {
	if n > 0 {
		deep(n-1, kind)
		return
	}
	switch kind {
	case 0:
		receives()
	case 1:
		selects()
	case 2:
		locks()
	default:
		sleeps()
	}
}

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	mutex.Lock()
	for i := 0; i < n; i++ {
		go deep(i/4%8, i%4)
	}
	time.Sleep(time.Duration(n)*2*time.Microsecond + 100*time.Millisecond)
	fmt.Println("ready")
	var line string
	fmt.Scanln(&line)
	if line == "abort" {
		var defaultAction [4]uintptr
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGABRT), uintptr(unsafe.Pointer(&defaultAction)), 0, 8, 0, 0)
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		select {}
	}
}
