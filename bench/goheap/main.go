// goheap MIB: so many MiB of objects of a few kinds, half of them small, all reachable; then an end by a SIGABRT that Go's
// runtime does not see, so that the kernel writes a core.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

type leaf struct {
	next *leaf
	n    int
}

type entry struct {
	first *leaf
	text  string
	pad   [4]int
}

type table struct {
	entries []*entry
	data    [96]int64
}

var tables []*table

func main() {
	mib, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	for bytes := 0; bytes < mib<<20; bytes += 896 + 32 {
		t := &table{}
		for n := 0; n < 4; n++ {
			t.entries = append(t.entries, &entry{first: &leaf{n: n}, text: fmt.Sprint("text ", bytes)})
			bytes += 64 + 16 + 16
		}
		tables = append(tables, t)
	}
	var defaultAction [4]uintptr
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGABRT), uintptr(unsafe.Pointer(&defaultAction)), 0, 8, 0, 0)
	syscall.Kill(os.Getpid(), syscall.SIGABRT)
	select {}
}
