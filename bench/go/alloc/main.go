// The workloads of ../../alloc/README.md in Go; the same counts as in the C++ programs, the same command line:
//
//	alloc --list
//	alloc NAME [SECONDS]
//
// alloc_bench.py writes sizes.go: for each size the two loops, with the type written out, as a program has it.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	volume = 64 << 20
	kept   = 4 << 20
	slots  = 1 << 16
)

// loop makes n objects of its size, and uses every page of each.
type loop func(n int64, sink *unsafe.Pointer)

type class struct {
	size             int64
	noscan, pointers loop
	one              func() unsafe.Pointer
}

var ring [slots]unsafe.Pointer

// One for each worker, on a cache line of its own.
var sinks [64][16]unsafe.Pointer

type random uint64

func (r *random) below(n int64) int64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) % uint64(n))
}

func procs() int64 { return int64(runtime.GOMAXPROCS(0)) }

func cpuNow() int64 {
	const processCPUTime = 2
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, processCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func rss() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "RssAnon:") {
			kib, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kib * 1024
		}
	}
	return 0
}

func parallel(f func(self int64)) {
	var group sync.WaitGroup
	for i := int64(1); i < procs(); i++ {
		group.Add(1)
		go func(i int64) {
			defer group.Done()
			f(i)
		}(i)
	}
	f(0)
	group.Wait()
}

func report(name string, ops int64, before float64, body func()) {
	cpu, begin := cpuNow(), time.Now()
	body()
	ns, cpuNs := float64(time.Since(begin)), float64(cpuNow()-cpu)
	fmt.Printf("{\"name\": %q, \"ns_per_op\": %.6g, \"ops\": %d, \"cpu_ns\": %.6g, \"rss_mib\": %.6g}\n",
		name, ns/float64(ops), ops, cpuNs/float64(ops), (rss()-before)/(1<<20))
}

func fill(name string, c class, f loop, again bool) {
	debug.SetGCPercent(-1)
	each := volume / c.size / procs()
	work := func() { parallel(func(self int64) { f(each, &sinks[self][0]) }) }
	before := rss()
	if again {
		work()
		runtime.GC()
	}
	report(name, each*procs(), before, work)
}

func turn(order string, c class, n, self, workers int64) {
	all := kept / c.size
	if all > slots {
		all = slots
	}
	mine := all / workers
	base := self * mine
	r := random(self + 1)
	for i := int64(0); i < n; i++ {
		p := c.one()
		switch order {
		case "cross":
			atomic.SwapPointer(&ring[r.below(all)], p)
		case "random":
			ring[base+r.below(mine)] = p
		default:
			at := i % mine
			if order == "lifo" && i/mine%2 != 0 {
				at = mine - 1 - at
			}
			ring[base+at] = p
		}
	}
}

func run(name string) bool {
	parts := strings.Split(name, "/")
	size, _ := strconv.ParseInt(parts[len(parts)-1], 10, 64)
	for _, c := range classes {
		if c.size != size {
			continue
		}
		switch parts[0] {
		case "fresh", "again":
			f := c.noscan
			if parts[1] == "pointers" {
				f = c.pointers
			}
			fill(name, c, f, parts[0] == "again")
		default:
			each := 2 * volume / c.size / procs()
			report(name, each*procs(), rss(), func() {
				parallel(func(self int64) { turn(parts[0], c, each, self, procs()) })
			})
		}
		return true
	}
	return false
}

func list() {
	for _, c := range classes {
		for _, what := range []string{"fresh", "again"} {
			for _, kind := range []string{"noscan", "pointers"} {
				fmt.Printf("%s/%s/%d\n", what, kind, c.size)
			}
		}
	}
	for _, size := range []int{16, 64, 512, 8192} {
		for _, order := range []string{"lifo", "fifo", "random", "cross"} {
			fmt.Printf("%s/%d\n", order, size)
		}
	}
}

func main() {
	if len(os.Args) >= 2 && os.Args[1] == "--list" {
		list()
	} else if len(os.Args) < 2 || !run(os.Args[1]) {
		fmt.Fprintf(os.Stderr, "usage: %s --list | NAME [SECONDS]\n", os.Args[0])
		os.Exit(2)
	}
}
