// The workloads of ../../gc/README.md in Go; the same counts as in the C++ programs, the same command line:
//
//	gc --list
//	gc NAME [SECONDS]
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type random uint64

func (r *random) below(n int64) int64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) % uint64(n))
}

func procs() int64 { return int64(runtime.GOMAXPROCS(0)) }

type stopwatch struct {
	cpu   int64
	begin time.Time
}

func cpuNow() int64 {
	const processCPUTime = 2
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, processCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}
func start() stopwatch                   { return stopwatch{cpuNow(), time.Now()} }
func (s stopwatch) wall(n int64) float64 { return float64(time.Since(s.begin)) / float64(n) }
func (s stopwatch) ofCPU(n int64) float64 {
	return float64(cpuNow()-s.cpu) / float64(n)
}

func rssMiB() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "RssAnon:") {
			kib, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kib / 1024
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

// ---- what is printed

type report struct{ text strings.Builder }

func result(name string, ns float64, ops int64) *report {
	r := &report{}
	fmt.Fprintf(&r.text, "{\"name\": %q, \"ns_per_op\": %.6g, \"ops\": %d", name, ns, ops)
	return r
}
func (r *report) add(name string, value float64) *report {
	fmt.Fprintf(&r.text, ", %q: %.6g", name, value)
	return r
}
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
func (r *report) quantiles(what string, ns []float64) *report {
	sort.Float64s(ns)
	return r.add(what+"_p50_us", quantile(ns, 0.5)/1e3).add(what+"_p99_us", quantile(ns, 0.99)/1e3).
		add(what+"_max_us", quantile(ns, 1)/1e3)
}

// Of the last n cycles.
func (r *report) pauses(n int64) *report {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	var ns []float64
	for i := int64(0); i < n && i < int64(len(stats.Pause)); i++ {
		ns = append(ns, float64(stats.Pause[i]))
	}
	return r.quantiles("pause", ns)
}
func (r *report) end() { fmt.Println(r.text.String() + "}") }

func cycles() int64 {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return stats.NumGC
}

var anchor unsafe.Pointer

// ---- trees/DEPTH

type tree struct{ left, right *tree }

func bottomUp(depth int) *tree {
	t := new(tree)
	if depth > 0 {
		t.left = bottomUp(depth - 1)
		t.right = bottomUp(depth - 1)
	}
	return t
}
func (t *tree) count() int64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func trees(name string, depth int) {
	const least = 4
	before := cycles()
	watch := start()
	made := bottomUp(depth + 1).count()
	longlived := bottomUp(depth)
	anchor = unsafe.Pointer(longlived)
	for d := least; d <= depth; d += 4 {
		each := int64(1) << (depth - d + least) / procs()
		parallel(func(int64) {
			n := int64(0)
			for i := int64(0); i < each; i++ {
				n += bottomUp(d).count()
			}
			atomic.AddInt64(&made, n)
		})
	}
	made += longlived.count()
	wall, cpu := watch.wall(made), watch.ofCPU(made)
	n := cycles() - before
	result(name, wall, made).add("cpu_ns", cpu).add("rss_mib", rssMiB()).add("cycles", float64(n)).pauses(n).end()
}

// ---- mark/SHAPE/MIB

type link struct {
	next   *link
	number [3]uint64
}
type vertex struct {
	to     [4]*vertex
	number [4]uint64
}
type block struct{ to [1024]*block }

func list(bytes int64) unsafe.Pointer {
	var head *link
	for i := int64(0); i < bytes/int64(unsafe.Sizeof(link{})); i++ {
		head = &link{next: head}
	}
	return unsafe.Pointer(head)
}

func wide(bytes int64) unsafe.Pointer {
	n := bytes / int64(unsafe.Sizeof(vertex{})+8)
	all := make([]*vertex, n)
	anchor = unsafe.Pointer(&all[0])
	for i := range all {
		all[i] = new(vertex)
	}
	r := random(1)
	for _, v := range all {
		for k := range v.to {
			v.to[k] = all[r.below(n)]
		}
	}
	return unsafe.Pointer(&all[0])
}

func pointers(bytes int64) unsafe.Pointer {
	n := bytes / int64(unsafe.Sizeof(block{}))
	all := make([]*block, n)
	anchor = unsafe.Pointer(&all[0])
	for i := range all {
		all[i] = new(block)
	}
	r := random(1)
	for _, b := range all {
		for k := range b.to {
			b.to[k] = all[r.below(n)]
		}
	}
	return unsafe.Pointer(&all[0])
}

// Medians of collections, for each of n.
func collections(name string, n int64, times int) {
	var wall, cpu []float64
	runtime.GC()
	for i := 0; i < times; i++ {
		watch := start()
		runtime.GC()
		wall = append(wall, watch.wall(n))
		cpu = append(cpu, watch.ofCPU(n))
	}
	sort.Float64s(wall)
	sort.Float64s(cpu)
	result(name, wall[times/2], n).add("cpu_ns", cpu[times/2]).add("rss_mib", rssMiB()).pauses(int64(times)).end()
}

func mark(name string, build func(int64) unsafe.Pointer, mib int64) {
	anchor = build(mib << 20)
	collections(name, mib, 3)
}

// ---- barrier/off, barrier/on, barrier/differ

const slots = 1024
const batch = 20 * slots

//go:noinline
func store(to *[slots]*link, a, b *link) {
	for i := 0; i < batch; i += 2 {
		to[i%slots] = a
		to[(i+1)%slots] = b
	}
}

//go:noinline
func exchange(to *[slots]*link, a, b *link) {
	for i := 0; i < batch; i += slots {
		for k := 0; k < slots; k += 2 {
			to[k] = a
			to[k+1] = b
		}
		a, b = b, a
	}
}

func stores(name string, on, differ bool) {
	to := new([slots]*link)
	anchor = unsafe.Pointer(to)
	a, b := new(link), new(link)
	var big unsafe.Pointer
	if on {
		big = list(512 << 20)
	}
	debug.SetGCPercent(-1)
	type sample struct {
		at time.Time
		ns float64
	}
	samples := make([]sample, 0, 1<<20)
	run := func() {
		t := time.Now()
		if differ {
			exchange(to, a, b)
		} else {
			store(to, a, b)
		}
		samples = append(samples, sample{t, float64(time.Since(t)) / batch})
	}
	for i := 0; i < 200; i++ {
		run()
	}
	samples = samples[:0]
	var begin, end time.Time
	if on {
		var over int32
		go func() {
			begin = time.Now()
			runtime.GC()
			end = time.Now()
			atomic.StoreInt32(&over, 1)
		}()
		for atomic.LoadInt32(&over) == 0 && len(samples) < 1<<20 {
			run()
		}
	} else {
		for i := 0; i < 5000; i++ {
			run()
		}
	}
	var good []float64
	for _, s := range samples {
		if !on || (s.at.Sub(begin) > end.Sub(begin)/5 && s.at.Sub(begin) < end.Sub(begin)*3/5) {
			good = append(good, s.ns)
		}
	}
	sort.Float64s(good)
	runtime.KeepAlive(big)
	result(name, quantile(good, 0.5), int64(len(good))*batch).end()
}

// ---- pause/MIB

type record struct {
	older, other *record
	number       [14]uint64
}

func pause(name string, mib int64, seconds float64) {
	n := (mib << 20) / int64(unsafe.Sizeof(record{})+8)
	live := make([]*record, n)
	for i := range live {
		live[i] = new(record)
	}
	runtime.GC()
	const rate = 1e9
	const chunk = 512
	before, threads := cycles(), procs()
	stalls := make([][]float64, threads)
	made := int64(0)
	watch := start()
	parallel(func(self int64) {
		r := random(self + 1)
		mine := make([]float64, 0, int(seconds*rate/chunk/float64(unsafe.Sizeof(record{}))))
		begin := time.Now()
		chunks := int64(0)
		for t := begin; t.Sub(begin) < time.Duration(seconds*1e9); chunks++ {
			for i := 0; i < chunk; i++ {
				r1 := new(record)
				if i%8 == 0 {
					place := &live[r.below(n)]
					r1.number[0] = (*place).number[0] + 1
					*place = r1
				} else {
					sinks[self][0] = r1
				}
			}
			done := time.Now()
			mine = append(mine, float64(done.Sub(t)))
			t = done
			due := time.Duration(float64(chunks+1) * chunk * float64(unsafe.Sizeof(record{})) * float64(threads) / rate * 1e9)
			if rest := due - t.Sub(begin); rest > 50*time.Microsecond {
				time.Sleep(rest)
				t = time.Now()
			}
		}
		stalls[self] = mine
		atomic.AddInt64(&made, chunks*chunk)
	})
	wall, cpu, whole := watch.wall(made), watch.ofCPU(made), watch.wall(1)
	count := cycles() - before
	var all []float64
	for _, s := range stalls {
		all = append(all, s...)
	}
	result(name, wall, made).add("cpu_ns", cpu).add("rss_mib", rssMiB()).add("cycles", float64(count)).
		add("mb_per_s", float64(made)*float64(unsafe.Sizeof(record{}))/1e6/(whole/1e9)).
		pauses(count).quantiles("chunk", all).end()
	runtime.KeepAlive(live)
}

// One for each worker, on a cache line of its own: what is made must not stay on the stack.
var sinks [64][16]*record

// ---- stacks/N

//go:noinline
func descend(depth int, bottom func(), from *link) {
	var numbers [8]uint64
	for i := range numbers {
		numbers[i] = uint64(depth)
	}
	mine := &link{next: from}
	if depth == 0 {
		bottom()
	} else {
		descend(depth-1, bottom, mine)
	}
	runtime.KeepAlive(mine)
	keep(&numbers)
}

//go:noinline
func keep(*[8]uint64) {}

func stacks(name string, n int64) {
	const deep = 100
	var down, up sync.WaitGroup
	gate := make(chan int)
	down.Add(int(n))
	up.Add(int(n))
	for i := int64(0); i < n; i++ {
		go func() {
			descend(deep, func() {
				down.Done()
				<-gate
			}, nil)
			up.Done()
		}()
	}
	down.Wait()
	collections(name, n, 5)
	close(gate)
	up.Wait()
}

// ----

var shapes = map[string]func(int64) unsafe.Pointer{"list": list, "wide": wide, "pointers": pointers}

func run(name string, seconds float64) bool {
	parts := strings.Split(name, "/")
	n := int64(0)
	if len(parts) > 1 {
		n, _ = strconv.ParseInt(parts[len(parts)-1], 10, 64)
	}
	switch parts[0] {
	case "trees":
		trees(name, int(n))
	case "mark":
		mark(name, shapes[parts[1]], n)
	case "barrier":
		stores(name, parts[1] != "off", parts[1] == "differ")
	case "pause":
		pause(name, n, 20*seconds)
	case "stacks":
		stacks(name, n)
	default:
		return false
	}
	return true
}

func list1() {
	for _, depth := range []int{16, 20} {
		fmt.Printf("trees/%d\n", depth)
	}
	for _, mib := range []int{100, 1024, 4096} {
		for _, shape := range []string{"list", "wide", "pointers"} {
			fmt.Printf("mark/%s/%d\n", shape, mib)
		}
	}
	fmt.Print("barrier/off\nbarrier/on\nbarrier/differ\npause/256\nstacks/10000\n")
}

func main() {
	if len(os.Args) >= 2 && os.Args[1] == "--list" {
		list1()
		return
	}
	seconds := 0.5
	if len(os.Args) >= 3 {
		seconds, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	if len(os.Args) < 2 || !run(os.Args[1], seconds) {
		fmt.Fprintf(os.Stderr, "usage: %s --list | NAME [SECONDS]\n", os.Args[0])
		os.Exit(2)
	}
}
