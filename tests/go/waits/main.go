// waits: a goroutine in every wait that a program can bring about by itself, each in a function of its own. It prints
// runtime.Stack(all), then `ready`, and stays so until a signal ends it. truth.py compares what the inspector says of it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

type pair struct {
	name string
	n    int
	list []int
}

//go:noinline
func receives(c chan int, p pair) int { return <-c + p.n }

//go:noinline
func sends(c chan string, s string) { c <- s }

//go:noinline
func selects(a chan int, b chan string) {
	select {
	case <-a:
	case b <- "x":
	}
}

//go:noinline
func locks(m *sync.Mutex) { m.Lock() }

//go:noinline
func readLocks(m *sync.RWMutex) { m.RLock() }

//go:noinline
func waits(w *sync.WaitGroup) { w.Wait() }

// An RWMutex inside of a structure. main reads; one writer waits for it, a reader for that writer, and a second writer
// for the mutex that the first one holds.
type guarded struct {
	n int
	sync.RWMutex
	name string
}

var shared guarded
var busy, idle sync.Mutex
var held struct{ one, two sync.Mutex }

//go:noinline
func writes(g *guarded) { g.Lock() }

//go:noinline
func readsBehind(g *guarded) { g.RLock() }

//go:noinline
func writesNext(g *guarded) { g.Lock() }

//go:noinline
func locksFirst() { busy.Lock() }

//go:noinline
func locksSecond(now chan bool) {
	<-now
	busy.Lock()
}

//go:noinline
func use2(idle *sync.Mutex, held *struct{ one, two sync.Mutex }) {}

func guards() {
	shared.RLock()
	busy.Lock()
	go writes(&shared)
	settled()
	go readsBehind(&shared)
	go writesNext(&shared)
	now := make(chan bool)
	go locksSecond(now)
	go locksFirst()
	settled()
	close(now)
	settled()
	use2(&idle, &held)
}

//go:noinline
func waitsCond(c *sync.Cond) {
	c.L.Lock()
	c.Wait()
}

//go:noinline
func sleeps() { time.Sleep(time.Hour) }

//go:noinline
func readsPipe(f *os.File) { f.Read(make([]byte, 1)) }

//go:noinline
func readsBlocking(fd int) { syscall.Read(fd, make([]byte, 1)) }

//go:noinline
func lockedToThread(c chan int) {
	runtime.LockOSThread()
	<-c
}

//go:noinline
func nilChannel() {
	var c chan int
	<-c
}

//go:noinline
func noCases() { select {} }

//go:noinline
func nested(n int, c chan int) {
	if n > 0 {
		nested(n-1, c)
		return
	}
	<-c
}

func inlined(c chan int) int { return <-c }

//go:noinline
func callsInlined(c chan int) { inlined(c) }

// Inlined, with variables that are used after the wait.
func scaled(c chan int, factor int, label string) int {
	twice := factor * 2
	return <-c*twice + len(label)
}

//go:noinline
func callsScaled(c chan int, base int, label string) int {
	sum := base + 1
	return scaled(c, sum, label) + sum
}

// Inlined, with a result that has no name: Go's DWARF has its parts under names of their own, "~r0.ptr".
func cut(s string, n int) string {
	if n > len(s) {
		return s
	}
	return s[n:]
}

//go:noinline
func cuts(c chan int, s string, n int) string {
	rest := cut(s, n)
	<-c
	return rest + s
}

// A frame of 100 KiB, so that its stack has been copied.
//
//go:noinline
func grown(c chan int) {
	var big [100 << 10]byte
	big[len(os.Args)] = 1
	<-c
	runtime.KeepAlive(&big)
}

// Its variables are on the stack and used after the wait.
//
//go:noinline
func holds(c chan int, suffix string) string {
	text, numbers, both, ages := "kept", []int{4, 5, 6}, pair{"inner", 7, nil}, map[string]int{"one": 1}
	many := make(map[int]bool)
	for n := 0; n < 1000; n++ {
		many[n] = true
	}
	var boxed, number, nothing any = both, 17, nil
	failed := os.ErrNotExist
	var opened error = &os.PathError{Op: "open", Path: "/none", Err: syscall.ENOENT}
	wrapped := fmt.Errorf("reading: %w", opened)
	more := variety{later, nil, make(chan string, 3), [3]int16{1, 2, 3}, complex(1, -2), []byte("bytes"), nil}
	more.named <- "first"
	larges, in, at := map[large]large{{1}: {2}}, any(ages), &pair{"pointed", 9, nil}
	use(&text, &numbers, &both, &ages, &many)
	useBoxed(&boxed, &number, &nothing, &failed)
	useErrors(&opened, &wrapped)
	useMore(&more, &larges, &in, &at)
	<-c
	use(&text, &numbers, &both, &ages, &many)
	useBoxed(&boxed, &number, &nothing, &failed)
	useErrors(&opened, &wrapped)
	useMore(&more, &larges, &in, &at)
	return text + suffix
}

// Of so many bytes that a map has pointers to them.
type large [20]int64

type variety struct {
	f     func()
	none  func(int) bool
	named chan string
	three [3]int16
	z     complex128
	raw   []byte
	empty map[string]int
}

//go:noinline
func useMore(more *variety, larges *map[large]large, in *any, at **pair) {}

//go:noinline
func use(text *string, numbers *[]int, both *pair, ages *map[string]int, many *map[int]bool) {}

// Elements of no size, two of them waiting.
//
//go:noinline
func signals(c, full chan struct{}) {
	full <- struct{}{}
	full <- struct{}{}
	full <- struct{}{}
	<-c
}

//go:noinline
func labelled(c chan int) { <-c }

//go:noinline
func useBoxed(boxed, number, nothing *any, failed *error) {}

//go:noinline
func useErrors(opened, wrapped *error) {}

type method struct{ c chan int }

//go:noinline
func (m *method) waits() { <-m.c }

//go:noinline
func deferred(c chan int) {
	defer func() { <-c }()
}

//go:noinline
func panicking(c chan int) {
	defer func() {
		<-c
		recover()
	}()
	panic("waits while it panics")
}

func later()   {}
func stopped() {}
func sooner()  {}

// Timers, of which one is stopped and one was put off to an earlier time: both stay where they are in the heap.
func timers() {
	for n := 4; n < 16; n++ {
		time.AfterFunc(time.Duration(n)*time.Hour, later)
	}
	time.AfterFunc(20*time.Hour, stopped).Stop()
	time.AfterFunc(21*time.Hour, sooner).Reset(30 * time.Minute)
}

func main() {
	numbers, texts := make(chan int), make(chan string)
	var mutex sync.Mutex
	var rw sync.RWMutex
	var group sync.WaitGroup
	mutex.Lock()
	rw.Lock()
	group.Add(1)
	r, w, err := os.Pipe()
	var fds [2]int
	if err != nil || syscall.Pipe(fds[:]) != nil {
		os.Exit(2)
	}
	go receives(numbers, pair{"hello", 42, []int{1, 2, 3}})
	go sends(texts, "payload")
	go selects(numbers, make(chan string))
	go locks(&mutex)
	go readLocks(&rw)
	go waits(&group)
	go waitsCond(sync.NewCond(&sync.Mutex{}))
	go sleeps()
	go readsPipe(r)
	go readsBlocking(fds[0])
	go lockedToThread(numbers)
	go nilChannel()
	go noCases()
	go nested(20, numbers)
	go callsInlined(numbers)
	go callsScaled(numbers, 20, "metre")
	go grown(numbers)
	go (&method{numbers}).waits()
	go deferred(numbers)
	go panicking(numbers)
	go holds(numbers, "!")
	go func() { <-numbers }()
	go signals(make(chan struct{}), make(chan struct{}, 2))
	go cuts(numbers, os.Args[0], 2)
	go pprof.Do(context.Background(), pprof.Labels("job", "seven", "who", "me"), func(context.Context) { labelled(numbers) })
	guards()
	timers()
	buffered := make(chan int, 4)
	buffered <- 7
	buffered <- 8
	for settled(); runtime.NumGoroutine() != 31; settled() {
	}
	buf := make([]byte, 1<<20)
	os.Stdout.Write(buf[:runtime.Stack(buf, true)])
	threads := pprof.Lookup("threadcreate").Count()
	fmt.Printf("threads %d, stacks in use %d\n", threads, stacks())
	fmt.Println("ready")
	mutex.Lock()
	runtime.KeepAlive(buffered)
	runtime.KeepAlive(w) // or its finalizer ends the wait of who reads
}

// What Go counts of stacks, once no thread and no stack is made any more.
func stacks() uint64 {
	var before, now runtime.MemStats
	for same := 0; same < 5; before = now {
		time.Sleep(time.Millisecond)
		runtime.ReadMemStats(&now)
		if same++; now.StackInuse != before.StackInuse {
			same = 0
		}
	}
	return now.StackInuse
}

// Lets others run until all but this one wait.
func settled() {
	buf := make([]byte, 1<<20)
	for {
		runtime.Gosched()
		if all := buf[:runtime.Stack(buf, true)]; bytes.Count(all, []byte("[runnable")) == 0 && bytes.Count(all, []byte("[running")) == 1 {
			return
		}
	}
}
