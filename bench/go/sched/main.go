// The workloads of ../../sched/README.md in Go; the same counts as in the C++ programs, the same command line:
//
//	sched --list
//	sched NAME [SECONDS]
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

type figure struct {
	name  string
	value float64
}

type result struct {
	nsPerOp, ops float64
	more         []figure
}

type workload struct {
	name string
	run  func(seconds float64) result
}

var all []workload

func add(name string, run func(seconds float64) result) {
	all = append(all, workload{name, run})
}

var epoch = time.Now()

// now is CLOCK_MONOTONIC in ns, less a constant.
func now() int64 { return int64(time.Since(epoch)) }

func cpuNow() int64 {
	const processCPUTime = 2
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, processCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func procs() int64 { return int64(runtime.GOMAXPROCS(0)) }

// body(n) does n operations. The first of its kind in the process counts.
func once(n int64, body func(n int64)) result {
	cpu, begin := cpuNow(), now()
	body(n)
	ns := float64(now() - begin)
	return result{ns / float64(n), float64(n), []figure{{"cpu_ns", float64(cpuNow()-cpu) / float64(n)}}}
}

// Larger and larger n, multiples of unit, until one call takes that long; that one counts, and there is one before it.
func grow(seconds float64, unit int64, body func(n int64)) result {
	for n := unit; ; {
		r := once(n, body)
		ns, goal := r.nsPerOp*float64(n), seconds*1e9
		if n > unit && ns >= goal {
			return r
		}
		if ns < 1 {
			ns = 1
		}
		factor := 1.2 * goal / ns
		if factor < 2 {
			factor = 2
		}
		if factor > 10 {
			factor = 10
		}
		n = int64(float64(n)*factor) / unit * unit
	}
}

func latency(samples []float64) result {
	if len(samples) == 0 {
		samples = []float64{0}
	}
	sort.Float64s(samples)
	at := func(q float64) float64 { return samples[int(q*float64(len(samples)-1))] }
	return result{at(0.5), float64(len(samples)), []figure{{"p50_us", at(0.5) / 1e3}, {"p99_us", at(0.99) / 1e3}}}
}

// random is splitmix64, as in sched_bench.h.
type random uint64

func (r *random) below(n int64) int64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) % uint64(n))
}

// compute is some 10 µs of arithmetic.
func compute(x uint64) uint64 {
	for i := 0; i < 8000; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

func main() {
	addSpawn()
	addChannels()
	addSelect()
	addSync()
	addTimers()
	addParked()
	addThreads()
	if len(os.Args) >= 2 && os.Args[1] == "--list" {
		for _, w := range all {
			fmt.Println(w.name)
		}
		return
	}
	seconds := 0.5
	if len(os.Args) >= 3 {
		seconds, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	for _, w := range all {
		if len(os.Args) >= 2 && w.name == os.Args[1] {
			r := w.run(seconds)
			fmt.Printf("{\"name\": %q, \"ns_per_op\": %.6g, \"ops\": %.0f", w.name, r.nsPerOp, r.ops)
			for _, f := range r.more {
				fmt.Printf(", %q: %.6g", f.name, f.value)
			}
			fmt.Println("}")
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: sched --list | NAME [SECONDS]")
	os.Exit(2)
}
